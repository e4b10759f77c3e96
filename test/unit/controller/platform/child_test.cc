// The supervisor of one process, with real processes.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/clock.h>

#include "platform/local/child.h"
#include "platform/local/pidfile.h"

namespace
{

const int64_t LIMIT = 60 * GFS_NS_PER_S; // generous: only a hang runs into it

bool alive(pid_t pid)
{
    return pid > 0 && gfsi_process_start(pid) != 0 && kill(pid, 0) == 0;
}

struct Child : testing::Test {
    gfsi_loop *loop = nullptr;
    std::string dir;
    std::vector<gfsi_child *> children;
    std::function<bool()> until;
    gfsi_timer limit = {};
    bool timed_out = false;
    uint64_t hash = 1;
    int64_t grace = 0;
    int64_t backoff = 1 * GFS_NS_PER_MS;

    void SetUp() override
    {
        char name[] = "/tmp/gfs-child-XXXXXX";

        ASSERT_EQ(gfsi_loop_new(&loop, nullptr), 0);
        ASSERT_NE(mkdtemp(name), nullptr);
        dir = name;
    }

    void TearDown() override
    {
        for (gfsi_child *child : children) {
            gfsi_child_stop(child);
            wait([&] { return gfsi_child_state(child) == GFSI_CHILD_STOPPED; });
            gfsi_child_free(child);
        }
        gfsi_loop_free(loop);
        for (const char *file : {"/log", "/pid"}) {
            unlink((dir + file).c_str());
        }
        EXPECT_EQ(rmdir(dir.c_str()), 0) << "something was left in " << dir;
    }

    static void on_change(void *arg, gfsi_child *child)
    {
        Child *self = static_cast<Child *>(arg);

        (void)child;
        if (self->until && self->until()) {
            self->done = true;
        }
    }

    static void on_limit(void *arg)
    {
        static_cast<Child *>(arg)->timed_out = true;
        static_cast<Child *>(arg)->done = true;
    }

    bool done = false;

    gfsi_child *make(const char *mode, const char *program = GFS_CHILD_PROGRAM)
    {
        const char *argv[] = {program, mode, nullptr};
        const char *env[] = {"GFS_TEST=yes", nullptr};
        std::string log = dir + "/log";
        std::string pid = dir + "/pid";
        gfsi_child_spec spec = {};
        gfsi_child *child = nullptr;

        spec.program = program;
        spec.argv = argv;
        spec.env = env;
        spec.directory = dir.c_str();
        spec.log_path = log.c_str();
        spec.pid_path = pid.c_str();
        spec.hash = hash;
        spec.grace_ns = grace;
        spec.backoff_ns = backoff;
        EXPECT_EQ(gfsi_child_new(loop, &spec, on_change, this, &child), 0);
        children.push_back(child);
        return child;
    }

    // Turns the loop until `condition`, which is asked after every change of state.
    void wait(std::function<bool()> condition)
    {
        if (condition()) {
            return;
        }
        until = condition;
        done = false;
        gfsi_timer_set(loop, &limit, gfs_clock_mono() + LIMIT, on_limit, this);
        while (!done) {
            gfsi_loop_turn(loop);
        }
        gfsi_timer_clear(loop, &limit);
        until = nullptr;
        ASSERT_FALSE(timed_out);
    }

    std::string log() const
    {
        std::ifstream in(dir + "/log");
        std::stringstream out;

        out << in.rdbuf();
        return out.str();
    }

    // A process writes without telling the loop.
    void wait_for_log(const std::string &text)
    {
        int64_t end = gfs_clock_mono() + LIMIT;

        while (log().find(text) == std::string::npos) {
            ASSERT_LT(gfs_clock_mono(), end) << log();
            gfs_clock_sleep_until(gfs_clock_mono() + GFS_NS_PER_MS);
        }
    }
};

TEST_F(Child, RunsWithItsEnvironmentDirectoryAndLog)
{
    gfsi_child *child = make("env");

    gfsi_child_start(child);
    wait([&] { return gfsi_child_state(child) == GFSI_CHILD_BACKOFF; });
    EXPECT_EQ(log(), "yes " + dir + "\n");
    EXPECT_STREQ(gfsi_child_reason(child), "exit status 0");
}

TEST_F(Child, StopsOnSigtermAndLeavesNothing)
{
    gfsi_child *child = make("wait");

    gfsi_child_start(child);
    ASSERT_EQ(gfsi_child_state(child), GFSI_CHILD_RUNNING);

    pid_t pid = gfsi_child_pid(child);

    EXPECT_TRUE(alive(pid));
    EXPECT_EQ(access((dir + "/pid").c_str(), F_OK), 0);
    wait_for_log("ready");
    gfsi_child_stop(child);
    wait([&] { return gfsi_child_state(child) == GFSI_CHILD_STOPPED; });
    EXPECT_FALSE(alive(pid));
    EXPECT_NE(access((dir + "/pid").c_str(), F_OK), 0);
    EXPECT_EQ(gfsi_child_restarts(child), 0u);
    EXPECT_STREQ(gfsi_child_reason(child), "exit status 0");
}

TEST_F(Child, IsKilledWhenItDoesNotStop)
{
    grace = 20 * GFS_NS_PER_MS;

    gfsi_child *child = make("stubborn");

    gfsi_child_start(child);
    wait_for_log("ready");
    gfsi_child_stop(child);
    wait([&] { return gfsi_child_state(child) == GFSI_CHILD_STOPPED; });
    EXPECT_STREQ(gfsi_child_reason(child), "signal 9 (Killed)");
}

TEST_F(Child, ACrashLoopIsPausedCountedAndCanBeStopped)
{
    gfsi_child *child = make("crash");

    gfsi_child_start(child);
    wait([&] { return gfsi_child_restarts(child) >= 4; });
    EXPECT_STREQ(gfsi_child_reason(child), "exit status 3");
    gfsi_child_stop(child);
    wait([&] { return gfsi_child_state(child) == GFSI_CHILD_STOPPED; });
}

TEST_F(Child, IsStartedAgainAfterAKill)
{
    gfsi_child *child = make("wait");

    gfsi_child_start(child);

    pid_t first = gfsi_child_pid(child);

    kill(first, SIGKILL);
    wait([&] { return gfsi_child_restarts(child) == 1; });
    EXPECT_EQ(gfsi_child_state(child), GFSI_CHILD_RUNNING);
    EXPECT_NE(gfsi_child_pid(child), first);
    EXPECT_TRUE(alive(gfsi_child_pid(child)));
}

TEST_F(Child, AProgramThatIsNotThereIsAReasonNotAFailure)
{
    gfsi_child *child = make("x", "/nonexistent/program");

    gfsi_child_start(child);
    EXPECT_EQ(gfsi_child_state(child), GFSI_CHILD_BACKOFF);
    EXPECT_STREQ(gfsi_child_reason(child), "cannot start: No such file or directory");
}

// A supervisor that was killed: its process still runs, its pid file still names it. Here the first
// process is started by the test as such a leftover.
pid_t leftover(const std::string &dir, uint64_t hash)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl(GFS_CHILD_PROGRAM, GFS_CHILD_PROGRAM, "wait", static_cast<char *>(nullptr));
        _exit(127);
    }
    EXPECT_EQ(gfsi_pidfile_write((dir + "/pid").c_str(), pid, hash, nullptr), 0);
    return pid;
}

TEST_F(Child, AdoptsALeftoverOfTheSameKind)
{
    pid_t pid = leftover(dir, hash);
    gfsi_child *child = make("wait");

    gfsi_child_start(child);
    EXPECT_EQ(gfsi_child_state(child), GFSI_CHILD_RUNNING);
    EXPECT_EQ(gfsi_child_pid(child), pid);
    kill(pid, SIGKILL);
    wait([&] { return gfsi_child_restarts(child) == 1; });
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    EXPECT_NE(gfsi_child_pid(child), pid);
}

TEST_F(Child, ReplacesALeftoverOfAnotherKind)
{
    pid_t pid = leftover(dir, hash + 1);
    gfsi_child *child = make("wait");

    gfsi_child_start(child);
    EXPECT_EQ(gfsi_child_state(child), GFSI_CHILD_STOPPING);
    wait([&] { return gfsi_child_state(child) == GFSI_CHILD_RUNNING; });
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    EXPECT_NE(gfsi_child_pid(child), pid);
}

TEST_F(Child, AStrangerWithARecycledNumberIsLeftAlone)
{
    pid_t pid = leftover(dir, hash);
    std::ofstream(dir + "/pid") << pid << " 12345 "
                                << "0000000000000001\n";
    gfsi_child *child = make("wait");

    gfsi_child_start(child);
    EXPECT_NE(gfsi_child_pid(child), pid);
    EXPECT_TRUE(alive(pid));
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
}

TEST_F(Child, ReapsALeftoverThatNothingWantsAnyMore)
{
    pid_t pid = leftover(dir, 7);
    std::string path = dir + "/pid";

    EXPECT_TRUE(gfsi_child_reap_leftover(path.c_str(), LIMIT));
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    EXPECT_FALSE(gfsi_child_reap_leftover(path.c_str(), LIMIT));
}

TEST(Pidfile, GarbageMeansNone)
{
    char name[] = "/tmp/gfs-pid-XXXXXX";
    int fd = mkstemp(name);
    gfsi_pidfile file = {};

    for (const char *text : {"", "x", "1 2 3", "-5 1 1", "99 0 1", "12 13"}) {
        ASSERT_EQ(ftruncate(fd, 0), 0);
        ASSERT_EQ(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
        EXPECT_EQ(gfsi_pidfile_read(name, &file), GFS_ENOENT) << text;
    }
    close(fd);
    unlink(name);
    EXPECT_EQ(gfsi_pidfile_read(name, &file), GFS_ENOENT);
}

} // namespace
