// The controllers, as they run, against an API server, with what tests do to both.
#ifndef GFS_TEST_KUBERNETES_RUN_H
#define GFS_TEST_KUBERNETES_RUN_H

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake/kube_cluster.h"

namespace kube_run
{

const char DATASETS[] = "/apis/data.fluid.io/v1alpha1/namespaces/default/datasets";
const char RUNTIMES[] = "/apis/data.fluid.io/v1alpha1/namespaces/default/goosefsruntimes";
const char CORE[] = "/api/v1/namespaces/default";
const char LEASE[] =
    "/apis/coordination.k8s.io/v1/namespaces/fluid-system/leases/goosefs.data.fluid.io";
const char APPS[] = "/apis/apps/v1/namespaces/default";

inline std::string path(const std::string &collection, const std::string &name)
{
    return collection + "/" + name;
}

class KubernetesRun : public testing::Test
{
  protected:
    void SetUp() override
    {
        char name[] = "/tmp/kube-run-XXXXXX";

        dir_ = mkdtemp(name);
        fresh();
    }

    // A new cluster: the same objects get the same uids in it.
    void fresh()
    {
        cluster_ = std::make_unique<fake::KubeCluster>();
        std::ofstream(dir_ + "/kubeconfig")
            << "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
            << "clusters: [{name: x, cluster: {server: '" << cluster_->Url() << "'}}]\n"
            << "contexts: [{name: x, context: {cluster: x, user: x}}]\n"
            << "users: [{name: x, user: {token: secret}}]\n";
    }

    void TearDown() override
    {
        while (!pids_.empty()) {
            end(SIGKILL);
        }
        unlink((dir_ + "/kubeconfig").c_str());
        rmdir(dir_.c_str());
    }

    // One more controller; with an identity it takes part in the election.
    void start(const std::string &identity = "")
    {
        std::string config = dir_ + "/kubeconfig";
        std::string program = GFS_KUBE_CONTROLLER;
        std::string id = identity;
        char *argv[] = {program.data(), config.data(), id.data(), nullptr};
        pid_t pid = -1;

        ASSERT_EQ(posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, environ), 0);
        pids_.push_back(pid);
    }

    // The eldest goes; returns how waitpid saw it end.
    int end(int signal)
    {
        int status = 0;
        pid_t pid = pids_.empty() ? -1 : pids_.front();

        if (pid > 0) {
            pids_.erase(pids_.begin());
            kill(pid, signal);
            waitpid(pid, &status, 0);
        }
        return status;
    }

    // The controller is killed at its n-th write from now on. It is no more once `then` is true.
    void kill_at(size_t n, bool after, std::atomic<bool> *then)
    {
        pid_t pid = pids_.empty() ? -1 : pids_.front();

        ASSERT_GT(pid, 0);
        cluster_->AtWrite(n, after, [pid, then] { *then = kill(pid, SIGKILL) == 0; });
    }

    void create(const std::string &name)
    {
        cluster_->Create(DATASETS, R"({"apiVersion":"data.fluid.io/v1alpha1","kind":"Dataset",
            "metadata":{"name":")" + name +
                                       R"("},
            "spec":{"mounts":[{"mountPoint":"https://origin/path/","name":")" +
                                       name + R"("}]}})");
        cluster_->Create(RUNTIMES, R"({"apiVersion":"data.fluid.io/v1alpha1",
            "kind":"GooseFSRuntime","metadata":{"name":")" +
                                       name + R"("},
            "spec":{"replicas":3,"master":{"replicas":3},"tieredstore":{"levels":[
            {"mediumtype":"HDD","path":"/mnt/disk1","quota":"2G","high":"0.8","low":"0.7"}]}}})");
    }

    std::string status(const std::string &collection, const std::string &name, const char *field)
    {
        return cluster_->Get(path(collection, name)).text("status", field);
    }

    bool ready(const std::string &name)
    {
        return status(DATASETS, name, "phase") == "Bound" &&
               status(DATASETS, name, "fileNum") == "42" &&
               status(RUNTIMES, name, "masterPhase") == "Ready" &&
               status(RUNTIMES, name, "workerPhase") == "Ready" &&
               status(RUNTIMES, name, "fusePhase") == "Ready";
    }

    bool wait_ready(const std::string &name)
    {
        return cluster_->WaitFor([&] { return ready(name); });
    }

    // Who may work.
    std::string holder()
    {
        return cluster_->Get(LEASE).text("spec", "holderIdentity");
    }

    // What the nodes' labels say.
    std::string labels()
    {
        std::string out;

        for (int n = 1; n <= 3; n++) {
            fake::Json node = cluster_->Get("/api/v1/nodes/node" + std::to_string(n));
            const char *key = nullptr;
            json_t *value = nullptr;

            json_object_foreach(node.at("metadata", "labels"), key, value)
            {
                if (std::string(key) != "kubernetes.io/hostname") {
                    out += std::string(key) + " ";
                }
            }
        }
        return out;
    }

    bool wait_gone()
    {
        return cluster_->WaitFor([&] { return cluster_->Paths().empty() && labels().empty(); });
    }

    // Everything but versions, pods' names and what the two kinds users write say of themselves.
    std::string picture()
    {
        std::string out;
        size_t pods = 0;

        for (const auto &object : cluster_->Paths()) {
            if (object.find("/pods/") != std::string::npos) {
                pods++;
                continue;
            }
            fake::Json json = cluster_->Get(object);
            for (const char *noise : {"resourceVersion", "uid", "ownerReferences", "generation"}) {
                json_object_del(json.at("metadata"), noise);
            }
            json_object_del(json.get(), "status");
            json_object_del(json.at("spec", "claimRef"), "uid");
            json_object_del(json.at("metadata", "annotations"), "pv.kubernetes.io/bind-completed");
            if (object.find("/persistentvolumes/journal-") != std::string::npos) {
                // Where it is, and for which of the claims that had its name, differs.
                out += object.substr(0, object.rfind('-')) + "\n";
                continue;
            }
            if (object.find("/persistentvolumeclaims/journal-") != std::string::npos) {
                json_object_del(json.at("metadata"), "annotations");
                json_object_del(json.at("spec"), "volumeName");
            }
            if (object.find("/data.fluid.io/") != std::string::npos) {
                json_object_del(json.at("metadata"), "annotations"); // in the order of pods
            }
            char *text = json_dumps(json.get(), JSON_INDENT(1) | JSON_SORT_KEYS);
            out += object + "\n" + text + "\n";
            free(text);
        }

        return out + std::to_string(pods) + " pods\n";
    }

    std::unique_ptr<fake::KubeCluster> cluster_;
    std::string dir_;
    std::vector<pid_t> pids_;
};

} // namespace kube_run
#endif
