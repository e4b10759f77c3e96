// The keeper's promises to those who ask it: idempotent, clear errors, nothing left behind.
#include "survival_fixture.h"

namespace
{

TEST_F(Survival, TheSameMountAgainIsTheSameMount)
{
    gfs_keeper_info first = {}, second = {};
    ASSERT_EQ(Mount(Client(), &first), 0);
    uint32_t pid = first.pid;
    ASSERT_EQ(Mount(Client(), &second), 0);
    EXPECT_EQ(second.pid, pid);
    EXPECT_EQ(MountsBelowDir(), 1u);
}

TEST_F(Survival, AnotherSpecificationOrMountpointInUseIsRefused)
{
    ASSERT_EQ(Mount(Client()), 0);
    Client other;
    other.args = {"--threads", "3"};
    EXPECT_EQ(Mount(other), GFS_EEXIST);
    Client elsewhere;
    elsewhere.id = "other";
    EXPECT_EQ(Mount(elsewhere), GFS_EEXIST);
    EXPECT_EQ(MountsBelowDir(), 1u);
}

TEST_F(Survival, AClientThatCannotStartSaysWhyAndLeavesNothing)
{
    Client c;
    c.args = {"--fail", "no master answers at hbase-master-0:26000"};
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_EUNAVAIL);
    EXPECT_NE(std::string(err.text).find("no master answers"), std::string::npos) << err.text;
    EXPECT_EQ(MountsBelowDir(), 0u);
    EXPECT_NE(access(mountpoint_.c_str(), F_OK), 0);
    gfs_keeper_info info = {};
    EXPECT_EQ(gfs_keeper_client_stat(client_, "test", in_seconds(60), &info, nullptr), GFS_ENOENT);

    c.args = {"--exit", "42"};
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_EINTERNAL);
    EXPECT_NE(std::string(err.text).find("status 42"), std::string::npos) << err.text;

    c.args.clear();
    c.program = "/nonexistent/goosefs-fuse";
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_ENOENT);
    EXPECT_NE(std::string(err.text).find("/nonexistent/goosefs-fuse"), std::string::npos)
        << err.text;
    EXPECT_EQ(MountsBelowDir(), 0u);

    EXPECT_EQ(Mount(Client()), 0) << "and the next attempt is not disturbed";
}

TEST_F(Survival, AClientThatNeverGetsReadyIsGivenUp)
{
    Client c;
    c.program = "/usr/bin/sleep";
    c.args = {"1000"};
    c.start_timeout_ms = 200;
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_EINTERNAL);
    EXPECT_NE(std::string(err.text).find("before it was ready"), std::string::npos) << err.text;
    EXPECT_EQ(MountsBelowDir(), 0u);
}

TEST_F(Survival, UnmountRefusesWhileBusyUnlessLazyAndThenServesWhatIsOpen)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    pid_t pid = (pid_t)info.pid;
    int fd = open(File(1).c_str(), O_RDONLY | O_DIRECT);
    ASSERT_GE(fd, 0);

    EXPECT_EQ(Unmount(), GFS_EPRECONDITION);
    EXPECT_EQ(MountsBelowDir(), 1u);
    EXPECT_EQ(Unmount(GFS_KEEPER_LAZY), 0);
    EXPECT_EQ(MountsBelowDir(), 0u);
    EXPECT_EQ(Unmount(), GFS_ENOENT);

    void *buf = nullptr;
    ASSERT_EQ(posix_memalign(&buf, 4096, 4096), 0);
    EXPECT_EQ(pread(fd, buf, 4096, 8192), 4096);
    // The same id again while the old one is still read from.
    EXPECT_EQ(Mount(Client()), 0);
    EXPECT_EQ(pread(fd, buf, 4096, 4096), 4096);
    free(buf);
    close(fd);
    EXPECT_TRUE(eventually([&] { return !process_exists(pid); }));
}

TEST_F(Survival, ABindMountKeepsTheFilesServedAfterTheUnmount)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    pid_t pid = (pid_t)info.pid;
    std::string pod = dir_ + "/pod";
    ASSERT_EQ(mkdir(pod.c_str(), 0755), 0);
    gfs_bind bind = {};
    bind.source = mountpoint_.c_str();
    bind.target = pod.c_str();
    bind.read_only = true;
    ASSERT_EQ(gfs_mount_bind(&bind, nullptr), 0);

    EXPECT_EQ(Unmount(), 0);
    struct stat st;
    EXPECT_EQ(stat((pod + "/f3").c_str(), &st), 0);
    EXPECT_TRUE(process_exists(pid));
    EXPECT_EQ(gfs_mount_unmount(pod.c_str(), 0, nullptr), 0);
    EXPECT_TRUE(eventually([&] { return !process_exists(pid); }));
    EXPECT_EQ(MountsBelowDir(), 0u);
}

TEST_F(Survival, SigtermLeavesNoProcessNoMountAndNoFile)
{
    std::vector<pid_t> pids;
    for (const char *id : {"a", "b", "c"}) {
        Client c;
        c.id = id;
        c.mountpoint = dir_ + "/sub/" + id;
        gfs_keeper_info info = {};
        ASSERT_EQ(Mount(c, &info), 0);
        pids.push_back((pid_t)info.pid);
    }
    // One of them in use.
    int fd = open((dir_ + "/sub/b/f0").c_str(), O_RDONLY | O_DIRECT);
    ASSERT_GE(fd, 0);

    int status = StopKeeper(SIGTERM);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    for (pid_t pid : pids) {
        EXPECT_FALSE(process_exists(pid));
    }
    EXPECT_EQ(MountsBelowDir(), 0u);
    EXPECT_NE(access(socket_.c_str(), F_OK), 0);
    EXPECT_NE(access((socket_ + ".d").c_str(), F_OK), 0);
    EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/sub"));
    char byte;
    EXPECT_LT(pread(fd, &byte, 1, 0), 0) << "nobody serves it any more";
    close(fd);
}

TEST_F(Survival, TheClientRunsAsTheUserAsked)
{
    Client c;
    c.uid = 65534;
    // The build directory may be closed to others: give the client a copy it can execute.
    c.program = dir_ + "/client";
    std::filesystem::copy_file(SURVIVAL_CLIENT_PATH, c.program);
    gfs_keeper_info info = {};
    gfs_err err = GFS_ERR_INIT;
    ASSERT_EQ(Mount(c, &info, &err), 0) << err.text;

    std::ifstream status("/proc/" + std::to_string(info.pid) + "/status");
    std::stringstream text;
    text << status.rdbuf();
    EXPECT_NE(text.str().find("Uid:\t65534\t65534\t65534\t65534"), std::string::npos);
    EXPECT_NE(text.str().find("CapEff:\t0000000000000000"), std::string::npos);
    EXPECT_NE(text.str().find("NoNewPrivs:\t1"), std::string::npos);
    struct stat st;
    EXPECT_EQ(stat(File(0).c_str(), &st), 0);
    // Killed and replaced as well: nothing in the take-over needs a privilege.
    KillOne((pid_t)info.pid, SIGKILL);
    (void)SuccessorOf(info.pid);
    EXPECT_EQ(stat(File(1).c_str(), &st), 0);
}

TEST_F(Survival, ListShowsMountsInOrderAndStopsWhenAsked)
{
    for (const char *id : {"zeta", "alpha", "mid"}) {
        Client c;
        c.id = id;
        c.mountpoint = dir_ + "/m-" + id;
        ASSERT_EQ(Mount(c), 0);
    }
    std::vector<std::string> ids;
    auto each = [](void *arg, const gfs_keeper_info *info) {
        auto *v = static_cast<std::vector<std::string> *>(arg);
        EXPECT_EQ(info->state, (uint32_t)GFS_KEEPER_SERVING);
        v->push_back(info->id);
        return v->size() < 2;
    };
    ASSERT_EQ(gfs_keeper_client_list(client_, in_seconds(60), each, &ids, nullptr), 0);
    EXPECT_EQ(ids, (std::vector<std::string>{"alpha", "mid"}));
}

TEST_F(Survival, CollectedDescriptorsKeepTheMountAliveWithoutTheKeeper)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    pid_t pid = (pid_t)info.pid;
    int fuse = -1, session = -1;
    ASSERT_EQ(gfs_keeper_client_collect(client_, "test", in_seconds(60), &fuse, &session, nullptr),
              0);
    StopKeeper(SIGKILL);
    KillOne(pid, SIGKILL);
    ASSERT_TRUE(eventually([&] { return !process_exists(pid); }));
    struct pollfd p = {fuse, 0, 0};
    EXPECT_EQ(poll(&p, 1, 0), 0) << "the connection ended: " << p.revents;
    close(session);
    close(fuse);
}

TEST_F(Survival, WritesAreRefusedAsReadOnly)
{
    // A mount that is not read-only itself, so that the client has to say it.
    Client c;
    c.options = GFS_KEEPER_ALLOW_OTHER;
    ASSERT_EQ(Mount(c), 0);
    std::string f0 = File(0), fresh = mountpoint_ + "/new";

    auto refused = [](int rc) { return rc < 0 && errno == EROFS; };
    EXPECT_TRUE(refused(open(f0.c_str(), O_RDWR)));
    EXPECT_TRUE(refused(open(f0.c_str(), O_RDONLY | O_TRUNC)));
    EXPECT_TRUE(refused(open(fresh.c_str(), O_CREAT | O_WRONLY, 0644)));
    EXPECT_TRUE(refused(mkdir(fresh.c_str(), 0755)));
    EXPECT_TRUE(refused(unlink(f0.c_str())));
    EXPECT_TRUE(refused(rmdir((mountpoint_ + "/deep").c_str())));
    EXPECT_TRUE(refused(rename(f0.c_str(), fresh.c_str())));
    EXPECT_TRUE(refused(symlink("x", fresh.c_str())));
    EXPECT_TRUE(refused(link(f0.c_str(), fresh.c_str())));
    EXPECT_TRUE(refused(chmod(f0.c_str(), 0777)));
    EXPECT_TRUE(refused(truncate(f0.c_str(), 0)));
    EXPECT_TRUE(refused(mknod(fresh.c_str(), S_IFREG | 0644, 0)));
    EXPECT_TRUE(refused(access(f0.c_str(), W_OK)));
    EXPECT_EQ(access(f0.c_str(), R_OK), 0);
}

TEST_F(Survival, AStrangerOnTheSocketIsToldAndCutOff)
{
    gfs_keeper_client *second = nullptr;
    ASSERT_EQ(gfs_keeper_client_connect(socket_.c_str(), in_seconds(60), &second, nullptr), 0);
    gfs_keeper_client_free(second);

    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_.c_str());
    ASSERT_EQ(connect(fd, (sockaddr *)&address, sizeof(address)), 0);
    ASSERT_EQ(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    char reply[1024];
    EXPECT_GT(recv(fd, reply, sizeof(reply), 0), 0);
    EXPECT_EQ(recv(fd, reply, sizeof(reply), 0), 0);
    close(fd);
    EXPECT_EQ(Mount(Client()), 0);
}

TEST_F(Survival, ASecondKeeperAtTheSameSocketIsRefused)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execl(KEEPER_PATH, KEEPER_PATH, "--socket", socket_.c_str(), nullptr);
        _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 1);
    EXPECT_EQ(Mount(Client()), 0) << "the first one still serves";
}

#ifdef GOOSEFS_FUSE_PATH
TEST_F(Survival, GoosefsFuseWithoutAMasterSaysSoAndLeavesNothing)
{
    Client c;
    c.program = GOOSEFS_FUSE_PATH;
    // A port that was free a moment ago: nobody listens.
    c.args = {"-Dgoosefs.master.rpc.addresses=127.0.0.1:9", "-Dgoosefs.fuse.start.timeout=300ms",
              "mount", mountpoint_};
    gfs_err err = GFS_ERR_INIT;
    int rc = Mount(c, nullptr, &err);
    EXPECT_TRUE(rc == GFS_EUNAVAIL || rc == GFS_ETIMEOUT) << rc;
    EXPECT_NE(std::string(err.text).find("127.0.0.1:9"), std::string::npos) << err.text;
    EXPECT_EQ(MountsBelowDir(), 0u);

    c.args = {"-Dgoosefs.fuse.threads=0", "mount", mountpoint_};
    EXPECT_EQ(Mount(c, nullptr, &err), GFS_ERANGE);
    EXPECT_NE(std::string(err.text).find("goosefs.fuse.threads"), std::string::npos) << err.text;
}
#endif

TEST_F(Survival, AMountOfItsOwnEndsWithSigterm)
{
    ASSERT_EQ(mkdir(mountpoint_.c_str(), 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execl(SURVIVAL_CLIENT_PATH, SURVIVAL_CLIENT_PATH, "--mount", mountpoint_.c_str(), nullptr);
        _exit(127);
    }
    ASSERT_TRUE(eventually([&] { return MountsBelowDir() == 1; }));
    struct stat st;
    EXPECT_EQ(stat(File(0).c_str(), &st), 0);
    EXPECT_NE(mkdir((mountpoint_ + "/x").c_str(), 0755), 0);
    EXPECT_EQ(errno, EROFS);
    KillOne(pid, SIGTERM);
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_EQ(MountsBelowDir(), 0u);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(Survival, TheKeeperStaysBelowTwoMegabytes)
{
    for (int i = 0; i < 20; i++) {
        Client c;
        c.id = "m" + std::to_string(i);
        c.mountpoint = dir_ + "/" + c.id;
        ASSERT_EQ(Mount(c), 0);
    }
    std::ifstream status("/proc/" + std::to_string(keeper_) + "/status");
    std::string line;
    long rss_kb = 0;
    while (std::getline(status, line)) {
        if (line.rfind("VmRSS:", 0) == 0) {
            rss_kb = std::stol(line.substr(6));
        }
    }
    EXPECT_GT(rss_kb, 0);
    EXPECT_LE(rss_kb, 2048);
}
#endif

} // namespace
