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

TEST_F(SurvivalBench, KillBoth)
{
    int64_t longest = 0;
    for (int i = 0; i < 10; i++) {
        gfs_keeper_info info = {};
        ASSERT_EQ(Mount(Tree(nullptr), &info), 0);
        int64_t from = gfs_clock_mono();
        KillOne(keeper_, SIGKILL);
        KillOne((pid_t)info.pid, SIGKILL);
        StopKeeper(SIGKILL);
        StartKeeper();
        struct stat st;
        ASSERT_TRUE(eventually([&] { return stat(File(0).c_str(), &st) == 0; }));
        longest = std::max(longest, gfs_clock_mono() - from);
    }
    Figure("kill_both_recovery_ms", Ms(longest), "ms");
    Figure("kill_both_stack_depth", (double)MountsBelowDir(), "count");
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
    std::ifstream status("/proc/" + std::to_string(keeper_) + "/status");
    std::string line;
    while (std::getline(status, line)) {
        if (line.rfind("VmRSS:", 0) == 0) {
            Figure("keeper_rss_mb_200_mounts", std::stod(line.substr(6)) / 1024, "MiB");
        }
    }
    int64_t from = gfs_clock_mono();
    StopKeeper(SIGKILL);
    StartKeeper();
    Figure("keeper_ready_ms_200_mounts", Ms(gfs_clock_mono() - from), "ms");
}

} // namespace
