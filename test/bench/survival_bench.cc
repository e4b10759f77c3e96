// Figures of survival: how often readers saw an error, and how long they waited. Not a test: it
// asserts only that the runs took place. Each figure is a line "NAME VALUE UNIT" in the file that
// the environment variable SURVIVAL_BENCH_OUT names.
#include "../integration/survival_fixture.h"

namespace
{

constexpr uint64_t kSize = 256 << 10; // small: each new client makes its backing files first

class SurvivalBench : public Survival
{
  protected:
    static void Figure(const std::string &name, double value, const char *unit)
    {
        const char *path = getenv("SURVIVAL_BENCH_OUT");
        std::ofstream(path != nullptr ? path : "/dev/stderr", std::ios::app)
            << name << " " << value << " " << unit << "\n";
    }

    static double Ms(int64_t ns)
    {
        return (double)ns / (double)GFS_NS_PER_MS;
    }

    static double RssMb(pid_t pid)
    {
        std::ifstream status("/proc/" + std::to_string(pid) + "/status");
        std::string line;
        while (std::getline(status, line)) {
            if (line.rfind("VmRSS:", 0) == 0) {
                return std::stod(line.substr(6)) / 1024;
            }
        }
        return -1;
    }

    Client Tree(const char *option)
    {
        Client c;
        c.args = {"--size", std::to_string(kSize), "--delay-us", "300", "--uncached"};
        if (option != nullptr) {
            c.args.push_back(option);
        }
        return c;
    }

    // 100 kills, one every 100 ms.
    void KillClient(const std::string &name, const char *option)
    {
        gfs_keeper_info info = {};
        ASSERT_EQ(Mount(Tree(option), &info), 0);
        Readers readers(mountpoint_, kSize, 8);
        ASSERT_TRUE(readers.Progress());
        readers.longest_ns_ = 0;
        for (int i = 0; i < 100; i++) {
            int64_t next = gfs_clock_mono() + 100 * GFS_NS_PER_MS;
            KillOne((pid_t)info.pid, SIGKILL);
            info = SuccessorOf(info.pid);
            gfs_clock_sleep_until(next);
        }
        ASSERT_TRUE(readers.Progress());
        readers.Stop();
        Figure("kill_client_errors" + name, (double)(readers.errors_ + readers.wrong_), "count");
        Figure("kill_client_pause_ms_max" + name, Ms(readers.longest_ns_), "ms");
    }
};

TEST_F(SurvivalBench, KillClient)
{
    KillClient("", nullptr);
}

TEST_F(SurvivalBench, KillClientSplice)
{
    KillClient("_splice", "--splice");
}

TEST_F(SurvivalBench, KillClientPassthrough)
{
    KillClient("_passthrough", "--passthrough");
}

TEST_F(SurvivalBench, KillClientWithoutResend)
{
    KillClient("_no_resend", "--no-resend");
}

TEST_F(SurvivalBench, KillKeeper)
{
    ASSERT_EQ(Mount(Tree(nullptr)), 0);
    Readers readers(mountpoint_, kSize, 8);
    for (int i = 0; i < 20; i++) {
        ASSERT_TRUE(readers.Progress());
        StopKeeper(SIGKILL);
        ASSERT_TRUE(readers.Progress());
        StartKeeper();
    }
    readers.Stop();
    Figure("kill_keeper_errors", (double)(readers.errors_ + readers.wrong_), "count");
}

TEST_F(SurvivalBench, HangClient)
{
    Client c = Tree(nullptr);
    c.hang_timeout_ms = 2000;
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());
    int64_t from = gfs_clock_mono();
    KillOne((pid_t)info.pid, SIGSTOP);
    (void)SuccessorOf(info.pid);
    ASSERT_TRUE(readers.Progress(8));
    Figure("hang_recovery_ms", Ms(gfs_clock_mono() - from), "ms");
    readers.Stop();
    Figure("hang_errors", (double)(readers.errors_ + readers.wrong_), "count");
}

TEST_F(SurvivalBench, KeeperMemory)
{
    for (int i = 0; i < 200; i++) {
        Client c;
        c.id = "m" + std::to_string(i);
        c.mountpoint = dir_ + "/" + c.id;
        c.args = {"--threads", "1"};
        ASSERT_EQ(Mount(c), 0);
    }
    Figure("keeper_rss_mb_200_mounts", RssMb(keeper_), "MiB");
    int64_t from = gfs_clock_mono();
    StopKeeper(SIGKILL);
    StartKeeper();
    Figure("keeper_ready_ms_200_mounts", Ms(gfs_clock_mono() - from), "ms");
}

// A million names looked up once each, then 100,000 of the files opened and read.
TEST_F(SurvivalBench, ClientMemory)
{
    constexpr unsigned kNames = 1000000, kFiles = 100000;
    Client c;
    c.args = {"--entries", std::to_string(kNames), "--threads", "16"};
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    Figure("client_rss_mb_at_start", RssMb((pid_t)info.pid), "MiB");
    auto visit = [&](unsigned from, unsigned to, bool reading) {
        char name[64], buf[4096];
        int dir = open((mountpoint_ + "/many").c_str(), O_PATH | O_CLOEXEC | O_DIRECTORY);
        unsigned failed = 0;
        for (unsigned i = from; i < to; i++) {
            struct stat st;
            (void)snprintf(name, sizeof(name), "e%07u", i);
            if (!reading) {
                failed += fstatat(dir, name, &st, 0) != 0 || (unsigned)st.st_size != i ? 1 : 0;
                continue;
            }
            int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
            ssize_t want = std::min<ssize_t>((ssize_t)sizeof(buf), (ssize_t)i);
            failed += fd < 0 || pread(fd, buf, sizeof(buf), 0) != want ? 1 : 0;
            close(fd);
        }
        close(dir);
        EXPECT_EQ(failed, 0u);
    };
    for (bool reading : {false, true}) {
        constexpr unsigned kThreads = 4;
        unsigned share = (reading ? kFiles : kNames) / kThreads;
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kThreads; t++) {
            threads.emplace_back([&, t] { visit(t * share, (t + 1) * share, reading); });
        }
        for (auto &t : threads) {
            t.join();
        }
        Figure(reading ? "client_rss_mb" : "client_rss_mb_after_lookups", RssMb((pid_t)info.pid),
               "MiB");
    }
}

} // namespace
