// Figures of the controllers with 300 data sets: memory, requests of a creation, requests a minute
// at rest. The API server is fake/kube_cluster.h; masters answer without a connection.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake/kube_cluster.h"

namespace
{

const int PAIRS = getenv("KUBERNETES_BENCH_PAIRS") != nullptr
                      ? atoi(getenv("KUBERNETES_BENCH_PAIRS")) // NOLINT(cert-err34-c)
                      : 300;
const char DATASETS[] = "/apis/data.fluid.io/v1alpha1/namespaces/default/datasets";
const char RUNTIMES[] = "/apis/data.fluid.io/v1alpha1/namespaces/default/goosefsruntimes";

// One line per figure for the script that runs this: name, value, unit.
void figure(const std::string &name, double value, const char *unit)
{
    const char *path = getenv("KUBERNETES_BENCH_OUT");
    FILE *out = path != nullptr ? fopen(path, "ae") : nullptr;

    fprintf(out != nullptr ? out : stdout, "%s %.3f %s\n", name.c_str(), value, unit);
    if (out != nullptr) {
        fclose(out);
    }
}

double memory_mb(pid_t pid, const std::string &field)
{
    std::ifstream in("/proc/" + std::to_string(pid) + "/status");
    std::string word;
    double kb = -1;

    while (in >> word) {
        if (word == field + ":") {
            in >> kb;
            break;
        }
    }
    return kb / 1024;
}

void create(fake::KubeCluster *cluster, const std::string &name)
{
    cluster->Create(DATASETS, R"({"apiVersion":"data.fluid.io/v1alpha1","kind":"Dataset",
        "metadata":{"name":")" + name +
                                  R"("},
        "spec":{"mounts":[{"mountPoint":"https://origin/path/","name":")" +
                                  name + R"("}]}})");
    cluster->Create(RUNTIMES, R"({"apiVersion":"data.fluid.io/v1alpha1","kind":"GooseFSRuntime",
        "metadata":{"name":")" + name +
                                  R"("},"spec":{"replicas":3,"master":{"replicas":3},
        "tieredstore":{"levels":[{"mediumtype":"HDD","path":"/mnt/disk1","quota":"2G"}]}}})");
}

bool ready(fake::KubeCluster *cluster, const std::string &name)
{
    return cluster->Get(DATASETS + ("/" + name)).text("status", "fileNum") == "42" &&
           cluster->Get(RUNTIMES + ("/" + name)).text("status", "fusePhase") == "Ready";
}

pid_t start(const std::string &config, const char *which)
{
    std::string program = GFS_KUBE_CONTROLLER, file = config, controller = which;
    std::string identity; // no election: what is counted are the objects
    char *argv[] = {program.data(), file.data(), identity.data(), controller.data(), nullptr};
    pid_t pid = -1;

    return posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, environ) == 0 ? pid : -1;
}

void stop(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, nullptr, 0);
}

void setup(fake::KubeCluster *cluster, int from, int to)
{
    for (int i = from; i < to; i++) {
        create(cluster, "set-" + std::to_string(i));
    }
    for (int i = from; i < to; i++) {
        std::string name = "set-" + std::to_string(i);
        bool done = false;

        for (int minute = 0; minute < 20 && !done; minute++) {
            done = cluster->WaitFor([&] { return ready(cluster, name); });
        }
        ASSERT_TRUE(done) << name;
    }
    ASSERT_TRUE(cluster->WaitQuiet());
}

// As they are deployed: two processes.
TEST(KubernetesBench, ManyDatasets)
{
    fake::KubeCluster cluster;
    char config[] = "/tmp/kube-bench-XXXXXX";

    close(mkstemp(config));
    std::ofstream(config) << "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
                          << "clusters: [{name: x, cluster: {server: '" << cluster.Url() << "'}}]\n"
                          << "contexts: [{name: x, context: {cluster: x, user: x}}]\n"
                          << "users: [{name: x, user: {token: secret}}]\n";

    pid_t runtimes = start(config, "runtime");
    pid_t datasets = start(config, "dataset");

    ASSERT_GT(runtimes, 0);
    ASSERT_GT(datasets, 0);
    ASSERT_NO_FATAL_FAILURE(setup(&cluster, 0, PAIRS / 2));
    double half = memory_mb(runtimes, "VmRSS");
    ASSERT_NO_FATAL_FAILURE(setup(&cluster, PAIRS / 2, PAIRS));
    figure("requests_per_dataset", static_cast<double>(cluster.Requests()) / PAIRS, "1");
    for (const auto &kind : cluster.Tally()) {
        fprintf(stderr, "%6zu %s\n", kind.second, kind.first.c_str());
    }

    size_t requests = cluster.Requests();
    size_t writes = cluster.Writes();
    size_t watches = cluster.Watches();

    (void)cluster.WaitFor([] { return false; });
    figure("requests_at_rest", static_cast<double>(cluster.Requests() - requests), "1/min");
    figure("writes_at_rest", static_cast<double>(cluster.Writes() - writes), "1/min");
    figure("watches_at_rest", static_cast<double>(cluster.Watches() - watches), "1/min");
    double rss = memory_mb(runtimes, "VmRSS");
    figure("rss", rss, "MB");
    figure("rss_anon", memory_mb(runtimes, "RssAnon"), "MB");
    figure("rss_peak", memory_mb(runtimes, "VmHWM"), "MB");
    figure("rss_per_dataset", 1024 * (rss - half) / (PAIRS - PAIRS / 2), "KB");
    figure("rss_dataset_controller", memory_mb(datasets, "VmRSS"), "MB");
    stop(runtimes);
    stop(datasets);
    unlink(config);
}

} // namespace
