// Clients started by a launcher in another container: whichever of the three dies, readers wait.
#include "survival_fixture.h"

#include <sched.h>

#include <gfs/mounter/launch_proto.h>

namespace
{

constexpr uint64_t kSize = 4 << 20;

class LaunchedSurvival : public Survival
{
  protected:
    void SetUp() override
    {
        Survival::SetUp();
        if (dir_.empty()) {
            return;
        }
        runtime_ = dir_ + "/runtime";
        mountpoint_ = runtime_ + "/goosefs-fuse";
        ASSERT_EQ(mkdir(runtime_.c_str(), 0755), 0);
        // The build directory may be closed to the user of the launcher.
        program_ = dir_ + "/client";
        std::filesystem::copy_file(SURVIVAL_CLIENT_PATH, program_);
    }

    void TearDown() override
    {
        StopLauncher(SIGKILL);
        Survival::TearDown();
    }

    // As a fuse pod: process 1 of a pid namespace, own mount namespace, no privilege.
    [[noreturn]] void BeLauncher()
    {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
        // What HostToContainer propagation would do at the unmount.
        umount2(mountpoint_.c_str(), MNT_DETACH);
        mount("proc", "/proc", "proc", 0, nullptr);
        int fd = open((dir_ + "/keeper.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(fd, 1);
        dup2(fd, 2);
        if (setresgid(GFS_LAUNCH_ID, GFS_LAUNCH_ID, GFS_LAUNCH_ID) != 0 ||
            setresuid(GFS_LAUNCH_ID, GFS_LAUNCH_ID, GFS_LAUNCH_ID) != 0) {
            _exit(126);
        }
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        execl(program_.c_str(), program_.c_str(), "--launcher", runtime_.c_str(), nullptr);
        _exit(127);
    }

    void StartLauncher()
    {
        int pipe_fds[2];
        ASSERT_EQ(pipe(pipe_fds), 0);
        launcher_parent_ = fork();
        ASSERT_GE(launcher_parent_, 0);
        if (launcher_parent_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            // Files that readers have open here would keep the mount busy.
            dup2(pipe_fds[1], 3);
            close_range(4, ~0U, 0);
            if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) {
                _exit(125);
            }
            pid_t inner = fork();
            if (inner == 0) {
                BeLauncher();
            }
            int status = 0;
            (void)!write(3, &inner, sizeof(inner));
            waitpid(inner, &status, 0);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
        }
        close(pipe_fds[1]);
        ASSERT_EQ(read(pipe_fds[0], &launcher_, sizeof(launcher_)), (ssize_t)sizeof(launcher_));
        close(pipe_fds[0]);
    }

    // Its exit status, 99 when it was killed.
    int StopLauncher(int signal)
    {
        int status = 0;
        if (launcher_parent_ <= 0) {
            return -1;
        }
        kill(launcher_, signal);
        waitpid(launcher_parent_, &status, 0);
        launcher_parent_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    Client Launched(bool slow = true)
    {
        Client c;
        c.launch = runtime_;
        c.uid = GFS_LAUNCH_ID;
        c.program = "/not/used";
        c.args = {"--size", std::to_string(kSize), "--uncached"};
        if (slow) {
            c.args.insert(c.args.end(), {"--delay-us", "300"});
        }
        return c;
    }

    bool Serves()
    {
        return eventually([&] { return Stat().state == GFS_KEEPER_SERVING; });
    }

    std::string runtime_, program_;
    pid_t launcher_parent_ = -1, launcher_ = -1;
};

TEST_F(LaunchedSurvival, AClientInAnotherContainerServesWithoutAnyPrivilege)
{
    StartLauncher();
    gfs_keeper_info info = {};
    gfs_err err = GFS_ERR_INIT;
    ASSERT_EQ(Mount(Launched(), &info, &err), 0) << err.text;
    EXPECT_STREQ(info.launch, runtime_.c_str());

    std::ifstream status("/proc/" + std::to_string(info.pid) + "/status");
    std::stringstream text;
    text << status.rdbuf();
    EXPECT_NE(text.str().find("Uid:\t64532\t64532\t64532\t64532"), std::string::npos) << text.str();
    EXPECT_NE(text.str().find("CapEff:\t0000000000000000"), std::string::npos);
    EXPECT_NE(text.str().find("NoNewPrivs:\t1"), std::string::npos);

    struct stat st;
    ASSERT_EQ(stat((runtime_ + "/launch").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0750u);
    EXPECT_EQ(st.st_gid, (gid_t)GFS_LAUNCH_ID);
    ASSERT_EQ(stat((runtime_ + "/launch/keeper.sock").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0660u);
    EXPECT_EQ(st.st_gid, (gid_t)GFS_LAUNCH_ID);

    pid_t pid = (pid_t)info.pid;
    Readers readers(mountpoint_, kSize, 4);
    EXPECT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_ + readers.wrong_, 0u);
    EXPECT_EQ(Unmount(), 0);
    EXPECT_EQ(MountsBelowDir(), 0u);
    EXPECT_TRUE(eventually([&] { return !process_exists(pid); }));
    EXPECT_TRUE(
        eventually([&] { return access((runtime_ + "/launch/keeper.sock").c_str(), F_OK) != 0; }));
    EXPECT_EQ(Mount(Launched()), 0) << "and again, with the same launcher";
}

TEST_F(LaunchedSurvival, AMountWaitsForItsLauncherAndGivesUpAfterTheStartTimeout)
{
    Client c = Launched();
    c.start_timeout_ms = 200;
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_EUNAVAIL);
    EXPECT_NE(std::string(err.text).find("no launcher"), std::string::npos) << err.text;
    EXPECT_EQ(MountsBelowDir(), 0u);

    c.start_timeout_ms = 60000;
    std::thread mounter([&] {
        gfs_keeper_client *k = nullptr;
        gfs_err why = GFS_ERR_INIT;
        ASSERT_EQ(gfs_keeper_client_connect(socket_.c_str(), in_seconds(60), &k, nullptr), 0);
        EXPECT_EQ(MountBy(k, c, nullptr, &why), 0) << why.text;
        gfs_keeper_client_free(k);
    });
    StartLauncher();
    mounter.join();
    EXPECT_EQ(Stat().state, (uint32_t)GFS_KEEPER_SERVING);
}

TEST_F(LaunchedSurvival, AClientThatCannotStartSaysWhy)
{
    StartLauncher();
    Client c = Launched();
    c.args = {"--fail", "no master answers"};
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_EUNAVAIL);
    EXPECT_NE(std::string(err.text).find("no master answers"), std::string::npos) << err.text;
    EXPECT_EQ(MountsBelowDir(), 0u);
}

TEST_F(LaunchedSurvival, ClientLauncherAndKeeperKilledInTurnAndReadersSeeNothing)
{
    StartLauncher();
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Launched(), &info), 0);
    Readers readers(mountpoint_, kSize, 8);

    for (int i = 0; i < 12; i++) {
        ASSERT_TRUE(readers.Progress()) << "before death " << i;
        uint32_t pid = Stat().pid;
        switch (i % 4) {
        case 0: // the client
            ASSERT_EQ(kill((pid_t)pid, SIGKILL), 0);
            ASSERT_NE(SuccessorOf(pid).pid, pid);
            break;
        case 1: // the launcher, and the client with it
            EXPECT_EQ(StopLauncher(SIGKILL), 99);
            ASSERT_TRUE(eventually([&] { return Stat().state == GFS_KEEPER_WAITING; }));
            StartLauncher();
            ASSERT_TRUE(Serves());
            break;
        case 2: // the keeper; the same client goes on
            StopKeeper(SIGKILL);
            ASSERT_TRUE(readers.Progress()) << "nobody keeps, all goes on";
            StartKeeper();
            ASSERT_TRUE(Serves());
            EXPECT_EQ(Stat().pid, pid);
            break;
        default: // the keeper, and the client while it is away
            StopKeeper(SIGKILL);
            ASSERT_EQ(kill((pid_t)pid, SIGKILL), 0);
            StartKeeper();
            ASSERT_NE(SuccessorOf(pid).pid, pid);
            break;
        }
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    info = Stat();
    EXPECT_EQ(readers.errors_, 0u) << "last: " << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(info.remounts, 0u);
    EXPECT_GT(info.resends, 0u) << "no request was ever in flight: the test shows nothing";
    EXPECT_EQ(Mount(Launched()), 0) << "still the same mount";
    EXPECT_EQ(MountsBelowDir(), 1u);
    EXPECT_EQ(Unmount(), 0);
}

TEST_F(LaunchedSurvival, ALauncherThatIsToldToEndLeavesTheMountToTheNextOne)
{
    StartLauncher();
    ASSERT_EQ(Mount(Launched()), 0);
    Readers readers(mountpoint_, kSize, 8);
    for (int i = 0; i < 3; i++) {
        ASSERT_TRUE(readers.Progress());
        EXPECT_EQ(StopLauncher(SIGTERM), 0);
        StartLauncher();
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u) << "last: " << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
}

TEST_F(LaunchedSurvival, AStoppedClientIsKilledThroughItsLauncherAndReplaced)
{
    StartLauncher();
    Client c = Launched();
    c.hang_timeout_ms = 500;
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());
    uint32_t pid = info.pid;
    ASSERT_EQ(kill((pid_t)pid, SIGSTOP), 0);
    info = SuccessorOf(pid);
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u);
    EXPECT_EQ(info.hangs, 1u);
}

TEST_F(LaunchedSurvival, KeeperAndLauncherGoneTogetherMakeTheMountAnew)
{
    StartLauncher();
    ASSERT_EQ(Mount(Launched()), 0);
    StopKeeper(SIGKILL);
    EXPECT_EQ(StopLauncher(SIGKILL), 99);
    struct stat st;
    ASSERT_TRUE(
        eventually([&] { return stat(mountpoint_.c_str(), &st) != 0 && errno == ENOTCONN; }));

    StartKeeper();
    EXPECT_EQ(Stat().state, (uint32_t)GFS_KEEPER_STARTING) << "it waits for the launcher";
    StartLauncher();
    ASSERT_EQ(Mount(Launched()), 0);
    EXPECT_EQ(stat(File(0).c_str(), &st), 0) << strerror(errno);
    EXPECT_EQ(MountsBelowDir(), 1u);
    EXPECT_EQ(Stat().remounts, 1u);
}

TEST_F(LaunchedSurvival, AMountWhoseLauncherNeverComesBackCanBeUnmounted)
{
    StartLauncher();
    ASSERT_EQ(Mount(Launched()), 0);
    EXPECT_EQ(StopLauncher(SIGKILL), 99);
    ASSERT_TRUE(eventually([&] { return Stat().state == GFS_KEEPER_WAITING; }));
    EXPECT_EQ(Unmount(), 0);
    EXPECT_EQ(MountsBelowDir(), 0u);

    // The same when only an earlier keeper knew it.
    StartLauncher();
    ASSERT_EQ(Mount(Launched()), 0);
    StopKeeper(SIGKILL);
    EXPECT_EQ(StopLauncher(SIGKILL), 99);
    StartKeeper();
    EXPECT_EQ(Unmount(GFS_KEEPER_LAZY), 0);
    EXPECT_EQ(MountsBelowDir(), 0u);
}

TEST_F(LaunchedSurvival, AStrangerInTheLaunchDirectoryChangesNothing)
{
    StartLauncher();
    ASSERT_EQ(Mount(Launched()), 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/launch/keeper.sock", runtime_.c_str());
    for (const char *words : {"GET / HTTP/1.1\r\n\r\n", ""}) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        ASSERT_EQ(connect(fd, (sockaddr *)&address, sizeof(address)), 0);
        (void)!write(fd, words, strlen(words));
        char reply[64];
        EXPECT_LE(recv(fd, reply, sizeof(reply), 0), 0) << "there is a launcher already";
        close(fd);
    }
    Readers readers(mountpoint_, kSize, 4);
    EXPECT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_ + readers.wrong_, 0u);
    EXPECT_EQ(Stat().restarts, 0u);
}

} // namespace
