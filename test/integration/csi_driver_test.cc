// A kubelet-like driver: many volumes, many pods, calls in any order, doubled, given up, against
// each other and against the rules, while plugin, keeper and FUSE clients are killed. No wrong
// answer; at the end no mount, directory, descriptor or memory is left.
//
// Environment: GFS_CSI_DRIVER_SECONDS (otherwise a short run by number of calls) and, when it is
// set, the scale: GFS_CSI_DRIVER_VOLUMES (1,000), _PODS of each (20), _WORKERS of kubelet (8),
// _STEPS of a volume between its first stage and its last unstage (20). GFS_CSI_DRIVER_SEED.
#include <gfs/mounter/keeper_client.h>

#include "integration/csi_driver_model.h"

namespace csi
{

class Driver : public Keeper
{
  protected:
    int seconds = 0, n_volumes = 30, n_pods = 4, n_real = 2, n_workers = 6, steps = 12;
    size_t most_targets = 0, most_volumes = 0; // mounted at once
    unsigned seed = 1;
    Weather weather;
    Tally tally;
    std::vector<std::unique_ptr<VolumeModel>> volumes;
    std::vector<std::unique_ptr<KubeletWorker>> workers;
    std::mt19937 rng;

    static int setting(const char *name, int otherwise)
    {
        const char *text = getenv(name);
        return text != nullptr ? std::stoi(text) : otherwise;
    }
    void SetUp() override
    {
        seconds = setting("GFS_CSI_DRIVER_SECONDS", 0);
        seed = static_cast<unsigned>(setting("GFS_CSI_DRIVER_SEED", 1));
        rng.seed(seed);
        if (seconds > 0) {
            n_volumes = setting("GFS_CSI_DRIVER_VOLUMES", 1000);
            n_pods = setting("GFS_CSI_DRIVER_PODS", 20);
            n_workers = setting("GFS_CSI_DRIVER_WORKERS", 8);
            steps = setting("GFS_CSI_DRIVER_STEPS", 20);
            n_real = 8;
        }
        /* Freed memory kept aside by the sanitizer would look like a leak. */
        const char *asan = getenv("ASAN_OPTIONS");
        setenv("ASAN_OPTIONS",
               ((asan != nullptr ? asan + std::string(":") : "") + "quarantine_size_mb=2").c_str(),
               1);
        extra_flags = {"--log-level=warn"};
        Keeper::SetUp();
        if (IsSkipped()) {
            return;
        }
        for (int i = 0; i < n_real; i++) {
            write_config_at(real_path(i));
        }
        mount_tmpfs(fluid_path);
        make_volumes();
    }

    // ---- the cluster's idea ----

    std::string real_path(int i)
    {
        return runtime + "/goosefs/real/d" + std::to_string(i) + "/goosefs-fuse";
    }
    void write_config_at(const std::string &path)
    {
        std::string conf = std::filesystem::path(path).parent_path().string() + "/conf";
        std::filesystem::create_directories(conf);
        std::filesystem::create_directories(path);
        std::ofstream(conf + "/goosefs-site.properties") << "a=b\n";
    }
    void make_volumes()
    {
        for (int i = 0; i < n_volumes; i++) {
            auto v = std::make_unique<VolumeModel>();
            v->real = i % 5 == 0;
            v->single = i % 7 == 3;
            v->symlink = i % 11 == 4 && !v->real;
            v->base.id = "volume-" + std::to_string(i);
            v->base.staging = kubelet + "/plugins/" + v->base.id + "/globalmount";
            v->base.context = {{"fluid_path", v->real ? real_path(i / 5 % n_real) : fluid_path},
                               {"mount_type", v->real ? "fuse.goosefs-fuse" : "tmpfs"},
                               {"fuse_clean_policy", i % 2 == 0 ? "OnDemand" : "OnRuntimeDeleted"}};
            if (!v->real) {
                v->base.context[2].second = "OnRuntimeDeleted"; // the file system is the test's
            }
            if (v->symlink) {
                v->base.context.push_back({"node_publish_method", "symlink"});
            }
            if (v->single) {
                v->base.mode =
                    CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__SINGLE_NODE_SINGLE_WRITER;
            }
            std::filesystem::create_directories(v->base.staging);
            v->pods.resize(static_cast<size_t>(n_pods));
            for (int pod = 0; pod < n_pods; pod++) {
                std::string parent = kubelet + "/pods/" + std::to_string(i) + "-" +
                                     std::to_string(pod) + "/volumes/kubernetes.io~csi/pv";
                std::filesystem::create_directories(parent);
                v->targets.push_back(parent + "/mount");
            }
            volumes.push_back(std::move(v));
        }
        for (int w = 0; w < n_workers; w++) {
            workers.push_back(std::make_unique<KubeletWorker>(
                socket, seed * 100 + static_cast<unsigned>(w), weather, tally));
            for (int i = w; i < n_volumes; i += n_workers) {
                workers.back()->volumes.push_back(volumes[static_cast<size_t>(i)].get());
            }
            std::shuffle(workers.back()->volumes.begin(), workers.back()->volumes.end(), rng);
        }
    }

    // ---- bad weather ----

    bool keeper_answers()
    {
        struct gfs_keeper_client *c = nullptr;
        int rc = gfs_keeper_client_connect(keeper_socket.c_str(), in_seconds(1), &c, nullptr);
        (void)gfs_keeper_client_free(c);
        return rc == 0;
    }
    void kill_keeper()
    {
        int status = 0;
        kill(keeper, SIGKILL);
        waitpid(keeper, &status, 0);
        start_keeper();
        EXPECT_TRUE(eventually([&] { return keeper_answers(); }));
    }
    void kill_client()
    {
        std::string path =
            "/proc/" + std::to_string(keeper) + "/task/" + std::to_string(keeper) + "/children";
        std::ifstream in(path);
        std::vector<pid_t> pids;
        for (pid_t pid; in >> pid;) {
            pids.push_back(pid);
        }
        if (!pids.empty()) {
            kill(pids[rng() % pids.size()], SIGKILL);
        }
    }
    void restart_plugin(int signal)
    {
        int status = stop_plugin(signal);
        if (signal == SIGTERM) {
            EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
        }
        start_plugin();
    }
    void disturb()
    {
        unsigned what = static_cast<unsigned>(rng() % 10);
        weather.begun++;
        if (what < 4) {
            restart_plugin(SIGKILL);
        } else if (what < 5) {
            restart_plugin(SIGTERM);
        } else if (what < 7) {
            kill_keeper();
        } else {
            kill_client();
        }
        weather.over++;
    }

    // ---- work ----

    // All workers go through their volumes, each on from where it stopped; `more(sessions)` of this
    // call says whether there is a next one. One volume in five is left as it is for its next
    // session or for the end.
    void work(const std::function<bool(size_t)> &more, const std::function<void()> &aside)
    {
        std::atomic<int> running{n_workers};
        std::vector<std::thread> threads;
        for (auto &w : workers) {
            threads.emplace_back([&, worker = w.get()] {
                for (size_t n = 0; more(n); n++) {
                    VolumeModel &v = *worker->volumes[worker->turn++ % worker->volumes.size()];
                    worker->session(v, steps);
                    if (worker->pick(5) != 0) {
                        worker->tear_down(v);
                    }
                }
                for (auto *v : worker->volumes) {
                    worker->tear_down(*v);
                }
                running--;
            });
        }
        while (running > 0 && tally.wrong == 0) {
            aside();
            count_mounted();
        }
        for (auto &t : threads) {
            t.join();
        }
    }
    void work_for(int64_t ns, const std::function<void()> &aside)
    {
        int64_t end = gfs_clock_mono() + ns;
        size_t each = static_cast<size_t>(n_volumes / n_workers);
        work(
            [&](size_t n) {
                return tally.wrong == 0 && (seconds > 0 ? gfs_clock_mono() < end : n < each);
            },
            aside);
    }
    void count_mounted()
    {
        std::set<std::string> ids; // {kubelet}/pods/VOLUME-POD/...
        size_t skip = kubelet.size() + sizeof("/pods/") - 1;
        std::vector<std::string> mounts = mounts_below(kubelet + "/pods");
        for (const auto &m : mounts) {
            ids.insert(m.substr(skip, m.find('-', skip) - skip));
        }
        most_targets = std::max(most_targets, mounts.size());
        most_volumes = std::max(most_volumes, ids.size());
    }
    size_t volumes_used() const
    {
        size_t n = 0;
        for (const auto &v : volumes) {
            n += v->sessions > 0;
        }
        return n;
    }

    // ---- what may leak ----

    struct Usage {
        size_t fds = 0, threads = 0;
        double rss_mb = 0;
    };
    static size_t count_in(const std::string &path)
    {
        size_t n = 0;
        std::error_code ignored;
        for (auto it = std::filesystem::directory_iterator(path, ignored);
             it != std::filesystem::directory_iterator(); it.increment(ignored)) {
            n++;
        }
        return n;
    }
    static Usage usage(pid_t pid)
    {
        std::string proc = "/proc/" + std::to_string(pid);
        std::ifstream in(proc + "/status");
        Usage u;
        u.fds = count_in(proc + "/fd");
        u.threads = count_in(proc + "/task");
        for (std::string word; in >> word;) {
            if (word == "VmRSS:") {
                in >> u.rss_mb;
                u.rss_mb /= 1024;
            }
        }
        return u;
    }
    void expect_nothing_left()
    {
        std::vector<std::string> left = mounts_below(kubelet);
        EXPECT_TRUE(left.empty()) << left.size() << " mounts, first " << left.front();
        EXPECT_EQ(count_in(dir + "/state/volumes"), 0u);
        EXPECT_LE(mounts_below(runtime).size(), static_cast<size_t>(n_real) + 1)
            << "file systems mounted over each other";
        for (const auto &v : volumes) {
            for (const auto &target : v->targets) {
                EXPECT_FALSE(exists(target)) << target;
                EXPECT_FALSE(exists(target + "-elsewhere")) << target;
            }
        }
    }
};

TEST_F(Driver, NoWrongAnswerAndNothingLeft)
{
    int64_t share = static_cast<int64_t>(seconds) * GFS_NS_PER_S / 4;

    // Half of the time with kills, then two quiet quarters: what grows from one to the next leaks.
    work_for(2 * share, [&] {
        (void)poll(nullptr, 0, static_cast<int>(100 + rng() % 900));
        disturb();
    });
    EXPECT_EQ(tally.wrong, 0u) << tally.first_wrong;
    expect_nothing_left();
    restart_plugin(SIGTERM);

    auto quiet = [] { (void)poll(nullptr, 0, 100); };
    work_for(share, quiet);
    Usage plugin_before = usage(plugin), keeper_before = usage(keeper);
    work_for(share, quiet);
    expect_nothing_left();
    EXPECT_TRUE(eventually([&] { return usage(plugin).fds <= plugin_before.fds; }, 20))
        << usage(plugin).fds << " descriptors, before " << plugin_before.fds;
    EXPECT_TRUE(eventually([&] { return usage(keeper).fds <= keeper_before.fds + n_real * 8; }, 20))
        << usage(keeper).fds << " descriptors of the keeper, before " << keeper_before.fds;
    Usage after = usage(plugin);
    EXPECT_LE(after.rss_mb, plugin_before.rss_mb * 1.25 + 8);
    Usage keeper_after = usage(keeper);
    EXPECT_LE(keeper_after.rss_mb, keeper_before.rss_mb * 1.25 + 8);
    EXPECT_LE(after.threads, plugin_before.threads + n_workers);

    EXPECT_EQ(tally.wrong, 0u) << tally.first_wrong;
    EXPECT_LE(tally.stray * 100, tally.calls + 400) << "unavailable without a reason";
    printf(
        "seed %u: %u calls in %u sessions on %zu of %d volumes with %d pods each, at most %zu "
        "volumes with %zu targets at once; %u kills; unavailable %u (%u stray), aborted %u, given "
        "up %u, late %u, wrong %u\n",
        seed, tally.calls.load(), tally.sessions.load(), volumes_used(), n_volumes, n_pods,
        most_volumes, most_targets, weather.over.load(), tally.unavailable.load(),
        tally.stray.load(), tally.aborted.load(), tally.timeouts.load(), tally.late.load(),
        tally.wrong.load());
    printf("plugin %.1f -> %.1f MB, %zu -> %zu descriptors, %zu -> %zu threads; keeper %.1f -> "
           "%.1f MB\n",
           plugin_before.rss_mb, after.rss_mb, plugin_before.fds, after.fds, plugin_before.threads,
           after.threads, keeper_before.rss_mb, keeper_after.rss_mb);

    int status = stop_plugin(SIGTERM);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

} // namespace csi
