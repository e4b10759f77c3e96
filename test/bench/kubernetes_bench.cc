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

const int PAIRS = 300;
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

TEST(KubernetesBench, ManyDatasets)
{
    fake::KubeCluster cluster;
    char config[] = "/tmp/kube-bench-XXXXXX";
    char program[] = GFS_KUBE_CONTROLLER;
    char identity[] = ""; // no election: what is counted are the objects
    char *argv[] = {program, config, identity, nullptr};
    pid_t pid = -1;

    close(mkstemp(config));
    std::ofstream(config) << "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
                          << "clusters: [{name: x, cluster: {server: '" << cluster.Url() << "'}}]\n"
                          << "contexts: [{name: x, context: {cluster: x, user: x}}]\n"
                          << "users: [{name: x, user: {token: secret}}]\n";
    for (int i = 0; i < PAIRS; i++) {
        create(&cluster, "set-" + std::to_string(i));
    }
    ASSERT_EQ(posix_spawn(&pid, program, nullptr, nullptr, argv, environ), 0);
    for (int i = 0; i < PAIRS; i++) {
        std::string name = "set-" + std::to_string(i);
        bool done = false;

        for (int minute = 0; minute < 20 && !done; minute++) {
            done = cluster.WaitFor([&] { return ready(&cluster, name); });
        }
        ASSERT_TRUE(done) << name;
    }
    ASSERT_TRUE(cluster.WaitQuiet());
    figure("requests_per_dataset", static_cast<double>(cluster.Requests()) / PAIRS, "1");

    size_t requests = cluster.Requests();
    size_t writes = cluster.Writes();

    (void)cluster.WaitFor([] { return false; });
    figure("requests_at_rest", static_cast<double>(cluster.Requests() - requests), "1/min");
    figure("writes_at_rest", static_cast<double>(cluster.Writes() - writes), "1/min");
    figure("rss", memory_mb(pid, "VmRSS"), "MB");
    figure("rss_peak", memory_mb(pid, "VmHWM"), "MB");
    kill(pid, SIGTERM);
    waitpid(pid, nullptr, 0);
    unlink(config);
}

} // namespace
