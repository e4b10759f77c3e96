// Figures of the node plugin: memory, time of a publish, many unpublishes at once, time to be ready
// after SIGKILL. A file system in memory stands in for the FUSE mounts; binds, journal and sockets
// are real.
//
// Environment: CSI_BENCH_OUT, a file for the figures; CSI_BENCH_STATE_DIR, where the journal is to
// be (an empty directory on a disk; else in memory as everything).
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <thread>

#include "conformance/csi_fixture.h"

namespace csi
{

class Bench : public Fixture
{
  protected:
    static constexpr int kVolumes = 200, kPods = 2, kCallers = 8;

    // One line per figure for the script that runs this: name, value, unit.
    static void figure(const char *name, double value, const char *unit)
    {
        const char *path = getenv("CSI_BENCH_OUT");
        FILE *out = path != nullptr ? fopen(path, "ae") : nullptr;
        fprintf(out != nullptr ? out : stdout, "%s %.3f %s\n", name, value, unit);
        if (out != nullptr) {
            fclose(out);
        }
    }
    double rss_mb()
    {
        std::ifstream in("/proc/" + std::to_string(plugin) + "/status");
        std::string word;
        while (in >> word) {
            if (word == "VmRSS:") {
                double kb = 0;
                in >> kb;
                return kb / 1024;
            }
        }
        return -1;
    }
    // As kubelet, which connects when it sees the socket: a connection that waits for a plugin to
    // come tries again after pauses of its own, and those would be measured.
    void wait_listening()
    {
        struct sockaddr_un sa = {};
        sa.sun_family = AF_UNIX;
        ASSERT_LT(socket.size(), sizeof(sa.sun_path));
        memcpy(sa.sun_path, socket.c_str(), socket.size());
        ASSERT_TRUE(eventually([&] {
            int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            int rc = connect(fd, reinterpret_cast<struct sockaddr *>(&sa), sizeof(sa));
            close(fd);
            return rc == 0;
        })) << log_text();
    }
    static double seconds_since(int64_t start)
    {
        return static_cast<double>(gfs_clock_mono() - start) / 1e9;
    }
    Volume numbered(int i, int pod)
    {
        Volume v = volume("pod-" + std::to_string(i) + "-" + std::to_string(pod));
        v.id = "volume-" + std::to_string(i);
        v.staging = kubelet + "/plugins/" + v.id;
        return v;
    }
    // Every volume's turn, by several callers as kubelet's workers are.
    void in_parallel(const std::function<void(Client &, int)> &each)
    {
        std::vector<std::thread> callers;
        for (int c = 0; c < kCallers; c++) {
            callers.emplace_back([&, c] {
                Client own(socket);
                for (int i = c; i < kVolumes; i += kCallers) {
                    each(own, i);
                }
            });
        }
        for (auto &t : callers) {
            t.join();
        }
    }
};

TEST_F(Bench, Figures)
{
    mount_tmpfs(fluid_path);
    if (const char *state = getenv("CSI_BENCH_STATE_DIR")) {
        extra_flags.push_back("--state-dir=" + std::string(state));
    }
    start_plugin();
    figure("rss_idle_mb", rss_mb(), "MB");

    std::vector<double> publish_ms;
    for (int i = 0; i < kVolumes; i++) {
        Volume v = numbered(i, 0);
        ASSERT_EQ(client->stage(v), OK) << client->text;
        int64_t start = gfs_clock_mono();
        ASSERT_EQ(client->publish(v), OK) << client->text;
        publish_ms.push_back(seconds_since(start) * 1e3);
    }
    std::sort(publish_ms.begin(), publish_ms.end());
    figure("publish_ms_p50", publish_ms[publish_ms.size() / 2], "ms");
    figure("publish_ms_p99", publish_ms[publish_ms.size() * 99 / 100], "ms");
    in_parallel([&](Client &c, int i) { EXPECT_EQ(c.publish(numbered(i, 1)), OK) << c.text; });
    figure("rss_200_mb", rss_mb(), "MB");

    stop_plugin(SIGKILL);
    int64_t start = gfs_clock_mono();
    spawn_plugin();
    wait_listening();
    client = std::make_unique<Client>(socket);
    ASSERT_EQ(probe(*client), OK) << client->text;
    figure("restart_ready_ms", seconds_since(start) * 1e3, "ms");
    EXPECT_EQ(client->publish(numbered(0, 0)), OK) << client->text;

    start = gfs_clock_mono();
    in_parallel([&](Client &c, int i) {
        for (int pod = 0; pod < kPods; pod++) {
            EXPECT_EQ(c.unpublish(numbered(i, pod)), OK) << c.text;
        }
    });
    figure("unpublish_400_s", seconds_since(start), "s");
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

} // namespace csi
