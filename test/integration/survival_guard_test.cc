// What a client may not do, and what becomes of one that does nothing.
#include "survival_fixture.h"

namespace
{

constexpr uint64_t kSize = 1 << 20;

int ExitStatusOf(const std::vector<std::string> &args)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        std::vector<char *> argv = {const_cast<char *>(SURVIVAL_CLIENT_PATH)};
        for (const auto &a : args) {
            argv.push_back(const_cast<char *>(a.c_str()));
        }
        argv.push_back(nullptr);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        execv(SURVIVAL_CLIENT_PATH, argv.data());
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Confinement, AClientIsDeniedWhatItHasNoUseFor)
{
    EXPECT_EQ(ExitStatusOf({"--denied"}), 42);
}

TEST_F(Survival, EveryThreadOfAClientRunsUnderTheSystemCallFilter)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    size_t threads = 0;
    for (const auto &task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(info.pid) + "/task")) {
        std::ifstream status(task.path() / "status");
        std::stringstream text;
        text << status.rdbuf();
        EXPECT_NE(text.str().find("Seccomp:\t2"), std::string::npos) << task.path();
        threads++;
    }
    EXPECT_GT(threads, 8u);
}

TEST_F(Survival, APoolThatIsStuckIsReplacedThoughItsHeartBeats)
{
    std::string stuck = dir_ + "/stuck";
    Client c;
    c.args = {"--size", std::to_string(kSize), "--uncached", "--threads", "2", "--stuck", stuck};
    c.hang_timeout_ms = 400;
    c.stall_timeout_ms = 600;
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    uint32_t pid = info.pid;
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());

    std::ofstream(stuck) << "";
    ASSERT_TRUE(eventually([&] { return Stat().hangs >= 1; }));
    std::filesystem::remove(stuck);
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_NE(Stat().pid, pid);
    EXPECT_EQ(readers.errors_, 0u) << "last: " << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
}

TEST_F(Survival, ABackingFileThatItsClientDiedWithIsGivenBack)
{
    Client c;
    c.args = {"--size",     std::to_string(kSize), "--passthrough",
              "--uncached", "--grab-backing",      "2"};
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    if (!KernelOffersPassthrough()) {
        GTEST_SKIP() << "this kernel has no FUSE passthrough";
    }
    ASSERT_EQ(kill((pid_t)info.pid, SIGKILL), 0);
    // The second client takes a backing file for f0, another one than the third will have, and
    // dies.
    ASSERT_TRUE(
        eventually([&] { return Stat().restarts >= 2 && Stat().state == GFS_KEEPER_SERVING; }));

    int fd = open(File(0).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << strerror(errno);
    pid_t pid = (pid_t)Stat().pid;
    ASSERT_EQ(kill(pid, SIGSTOP), 0);
    // Without the client: so f0 has its backing file, and the one that died holds none.
    std::vector<char> got(kSize), want(kSize);
    std::atomic<bool> done{false};
    std::thread reader([&] {
        EXPECT_EQ(pread(fd, got.data(), kSize, 0), (ssize_t)kSize);
        done = true;
    });
    EXPECT_TRUE(eventually([&] { return done.load(); }, 20));
    kill(pid, SIGCONT);
    reader.join();
    close(fd);
    survival_fill(survival_ino_of_file(0), 0, want.data(), kSize);
    EXPECT_EQ(got, want);
}

class GivingUp : public Survival
{
  protected:
    GivingUp()
    {
        keeper_args_.insert(keeper_args_.end(), {"--max-failures", "3"});
    }
};

TEST_F(GivingUp, WhenNoClientCanBeHadWhoWaitsGetsAnError)
{
    Client c;
    c.args = {"--size", std::to_string(kSize), "--uncached", "--first-only"};
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    int fd = open(File(0).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(kill((pid_t)info.pid, SIGKILL), 0);
    void *buf = nullptr;
    ASSERT_EQ(posix_memalign(&buf, 4096, 4096), 0);
    EXPECT_EQ(pread(fd, buf, 4096, 0), -1) << "it waited, and then got an error";
    EXPECT_TRUE(errno == ENOTCONN || errno == ECONNABORTED) << strerror(errno);
    free(buf);
    close(fd);
    EXPECT_TRUE(eventually([&] { return Stat().state == GFS_KEEPER_BROKEN; }));
    EXPECT_EQ(Mount(c, &info), 0) << "and a new mount repairs it";
    EXPECT_EQ(info.state, (uint32_t)GFS_KEEPER_SERVING);
}

} // namespace
