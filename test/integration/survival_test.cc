// Whichever process dies, hangs or is replaced: applications see a pause, not an error.
#include "survival_fixture.h"

namespace
{

constexpr uint64_t kSize = 4 << 20;

int Kills()
{
    return getenv("GFS_SURVIVAL_FULL") != nullptr ? 100 : 25;
}

std::vector<std::string> SlowTree(uint64_t size = kSize)
{
    return {"--size", std::to_string(size), "--delay-us", "300", "--uncached"};
}

struct Way {
    const char *name;
    const char *option;
};

class KilledClient : public Survival, public ::testing::WithParamInterface<Way>
{
};

// With FUSE_NOTIFY_RESEND, as on kernels that do not have it, and from backing files in both ways.
INSTANTIATE_TEST_SUITE_P(AllWays, KilledClient,
                         ::testing::Values(Way{"WithResend", nullptr},
                                           Way{"WithoutResend", "--no-resend"},
                                           Way{"WithSplice", "--splice"},
                                           Way{"WithPassthrough", "--passthrough"}),
                         [](const auto &i) { return std::string(i.param.name); });

// 25 times; GFS_SURVIVAL_FULL (script/test survival): 100 times, one every 100 ms.
TEST_P(KilledClient, ManyTimesAndEightReadersSeeNoErrorAndNoWrongByte)
{
    Client c;
    // Small with splice: each new client makes its backing files first.
    const uint64_t size = strcmp(GetParam().name, "WithSplice") == 0 ? kSize / 8 : kSize;
    c.args = SlowTree(size);
    if (GetParam().option != nullptr) {
        c.args.push_back(GetParam().option);
    }
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    uint32_t pid = info.pid;

    const int kills = Kills();
    Readers readers(mountpoint_, size, 8);
    for (int i = 0; i < kills; i++) {
        int64_t next = gfs_clock_mono() + 100 * GFS_NS_PER_MS;
        ASSERT_TRUE(readers.Progress()) << "after " << i << " kills";
        if (kills == 100) {
            gfs_clock_sleep_until(next);
        }
        ASSERT_EQ(KillOne((pid_t)pid, SIGKILL), 0);
        info = SuccessorOf(pid);
        ASSERT_NE(info.pid, pid);
        pid = info.pid;
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();

    info = Stat();
    EXPECT_EQ(readers.errors_, 0u) << "last: " << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(info.restarts, (uint64_t)kills);
    EXPECT_GT(info.resends, 0u) << "no request was ever in flight: the test shows nothing";
    EXPECT_EQ(Unmount(), 0);
    EXPECT_EQ(MountsBelowDir(), 0u);
    EXPECT_FALSE(process_exists((pid_t)pid));
}

TEST_F(Survival, AHandleOpenedBeforeTheKillReadsOnAfterIt)
{
    Client c;
    c.args = SlowTree();
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    int fd = open((mountpoint_ + "/big").c_str(), O_RDONLY);
    ASSERT_GE(fd, 0);
    std::vector<char> got(65536), want(65536);

    for (uint64_t i = 0; i < 4; i++) {
        // Also behind 4 GiB.
        uint64_t offset = i * 1300000000;
        KillOne((pid_t)info.pid, SIGKILL);
        info = SuccessorOf(info.pid);
        ASSERT_EQ(pread(fd, got.data(), got.size(), (off_t)offset), (ssize_t)got.size());
        survival_fill(survival_ino_of_big(), offset, want.data(), want.size());
        EXPECT_EQ(got, want) << "offset " << offset;
    }
    close(fd);
}

TEST_F(Survival, APassthroughFileIsReadWithoutTheClientAndSurvivesItsDeath)
{
    Client c;
    c.args = {"--size", std::to_string(kSize), "--passthrough", "--uncached"};
    c.uid = 65534; // the keeper opens the backing file: the client needs no capability
    c.program = dir_ + "/client";
    std::filesystem::copy_file(SURVIVAL_CLIENT_PATH, c.program);
    gfs_keeper_info info = {};
    gfs_err err = GFS_ERR_INIT;
    ASSERT_EQ(Mount(c, &info, &err), 0) << err.text;
    if (!KernelOffersPassthrough()) {
        GTEST_SKIP() << "this kernel has no FUSE passthrough";
    }
    int fd = open(File(2).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(KillOne((pid_t)info.pid, SIGSTOP), 0);
    std::vector<char> got(kSize), want(kSize);
    ASSERT_EQ(pread(fd, got.data(), kSize, 0), (ssize_t)kSize) << "by the kernel alone";
    survival_fill(survival_ino_of_file(2), 0, want.data(), kSize);
    EXPECT_EQ(got, want);

    KillOne((pid_t)info.pid, SIGKILL);
    info = SuccessorOf(info.pid);
    // The new client must name the same backing file while the old open lives.
    int second = open(File(2).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(second, 0) << strerror(errno);
    StopKeeper(SIGKILL);
    StartKeeper();
    int third = open(File(2).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(third, 0) << strerror(errno);
    KillOne((pid_t)Stat().pid, SIGSTOP);
    for (int each : {fd, second, third}) {
        std::fill(got.begin(), got.end(), 0);
        EXPECT_EQ(pread(each, got.data(), kSize, 0), (ssize_t)kSize);
        EXPECT_EQ(got, want);
    }
    KillOne((pid_t)Stat().pid, SIGCONT);
    close(fd);
    close(second);
    close(third);
    // And again from nothing.
    fd = open(File(2).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << strerror(errno);
    EXPECT_EQ(pread(fd, got.data(), kSize, 0), (ssize_t)kSize);
    EXPECT_EQ(got, want);
    close(fd);
}

TEST_F(Survival, WithoutABackingFileReadsGoThroughTheClient)
{
    // The keeper gives none for a mount that is not read-only.
    Client c;
    c.args = {"--size", std::to_string(kSize), "--passthrough"};
    c.options = GFS_KEEPER_ALLOW_OTHER;
    ASSERT_EQ(Mount(c), 0);
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress(512));
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u);
    EXPECT_EQ(readers.wrong_, 0u);
}

TEST_F(Survival, AListingGoesOnThroughAKillWithoutLossOrRepetition)
{
    Client c;
    c.args = {"--entries", "3000", "--uncached"};
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    DIR *d = opendir((mountpoint_ + "/many").c_str());
    ASSERT_NE(d, nullptr);
    std::vector<std::string> names;

    while (struct dirent *e = readdir(d)) {
        names.push_back(e->d_name);
        if (names.size() % 1000 == 500) {
            KillOne((pid_t)info.pid, SIGKILL);
            info = SuccessorOf(info.pid);
        }
    }
    closedir(d);
    ASSERT_EQ(names.size(), 3002u);
    EXPECT_EQ(names[0], ".");
    EXPECT_EQ(names[1], "..");
    EXPECT_EQ(names[2], "e0000000");
    EXPECT_EQ(names[3001], "e0002999");
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

TEST_F(Survival, AStoppedClientIsReplacedAndItsReadersGoOn)
{
    Client c;
    c.args = SlowTree();
    c.hang_timeout_ms = 500;
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);

    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());
    ASSERT_EQ(KillOne((pid_t)info.pid, SIGSTOP), 0);
    info = SuccessorOf(info.pid);
    ASSERT_TRUE(readers.Progress());
    readers.Stop();

    EXPECT_EQ(readers.errors_, 0u);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(info.hangs, 1u);
}

TEST_F(Survival, ALiveUpgradeIsNotNoticedByReaders)
{
    Client c;
    c.args = SlowTree();
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    uint32_t old_pid = info.pid;
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());

    std::string size = std::to_string(kSize);
    const char *argv[] = {SURVIVAL_CLIENT_PATH, "--size", size.c_str(), "--threads", "4",
                          "--uncached",         nullptr};
    ASSERT_EQ(gfs_keeper_client_restart(client_, "test", argv, in_seconds(60), &info, nullptr), 0);
    EXPECT_NE(info.pid, old_pid);
    ASSERT_TRUE(readers.Progress());
    readers.Stop();

    EXPECT_EQ(readers.errors_, 0u);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(info.restarts, 1u);
}

TEST_F(Survival, AnUpgradeThatCannotStartIsTakenBack)
{
    Client c;
    c.args = SlowTree();
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());

    const char *argv[] = {SURVIVAL_CLIENT_PATH, "--fail", "wrong cluster", nullptr};
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(gfs_keeper_client_restart(client_, "test", argv, in_seconds(60), nullptr, &err),
              GFS_EUNAVAIL);
    EXPECT_NE(std::string(err.text).find("wrong cluster"), std::string::npos) << err.text;
    EXPECT_TRUE(eventually([&] { return Stat().state == GFS_KEEPER_SERVING; }));
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u);
    EXPECT_EQ(readers.wrong_, 0u);
}

TEST_F(Survival, AKilledKeeperIsNotNoticedAndItsSuccessorLooksAfterTheClient)
{
    Client c;
    c.args = SlowTree();
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    uint32_t pid = info.pid;
    Readers readers(mountpoint_, kSize, 8);

    for (int i = 0; i < 20; i++) {
        ASSERT_TRUE(readers.Progress());
        StopKeeper(SIGKILL);
        ASSERT_TRUE(readers.Progress()) << "nobody keeps, all goes on";
        StartKeeper();
        info = Stat();
        EXPECT_EQ(info.pid, pid);
        EXPECT_EQ(info.state, (uint32_t)GFS_KEEPER_SERVING);
        if (i % 4 == 3) {
            KillOne((pid_t)pid, SIGKILL);
            pid = SuccessorOf(pid).pid;
        }
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u) << "last: " << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(Mount(c, &info), 0) << "still the same mount";
    EXPECT_EQ(info.pid, pid);
    EXPECT_EQ(Stat().restarts, 5u);
    EXPECT_EQ(Unmount(), 0);
    EXPECT_TRUE(eventually([&] { return !process_exists((pid_t)pid); }));
    EXPECT_EQ(MountsBelowDir(), 0u);
}

TEST_F(Survival, AClientStoppedOrUpgradedUnderAnEarlierKeeperIsStillLookedAfter)
{
    Client c;
    c.args = SlowTree();
    c.hang_timeout_ms = 500;
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(c, &info), 0);
    std::string size = std::to_string(kSize);
    const char *argv[] = {SURVIVAL_CLIENT_PATH, "--size", size.c_str(), "--uncached", nullptr};
    ASSERT_EQ(gfs_keeper_client_restart(client_, "test", argv, in_seconds(60), &info, nullptr), 0);
    uint32_t pid = info.pid;

    StopKeeper(SIGKILL);
    StartKeeper();
    EXPECT_EQ(Mount(c, &info), 0) << "the arguments of the upgrade are no other specification";
    EXPECT_EQ(info.pid, pid);
    Readers readers(mountpoint_, kSize, 8);
    ASSERT_TRUE(readers.Progress());
    KillOne((pid_t)pid, SIGSTOP);
    info = SuccessorOf(pid);
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u);
    EXPECT_EQ(info.hangs, 1u);
}

TEST_F(Survival, WhenKeeperAndClientDieTogetherTheMountComesBack)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    pid_t pid = (pid_t)info.pid;
    StopKeeper(SIGKILL);
    KillOne(pid, SIGKILL);
    ASSERT_TRUE(eventually([&] { return !process_exists(pid); }));
    struct stat st;
    ASSERT_NE(stat(mountpoint_.c_str(), &st), 0);
    ASSERT_EQ(errno, ENOTCONN);

    StartKeeper();
    EXPECT_EQ(stat(File(0).c_str(), &st), 0) << strerror(errno);
    EXPECT_EQ(MountsBelowDir(), 1u);
    ASSERT_EQ(Mount(Client(), &info), 0);
    EXPECT_NE(info.pid, (uint32_t)pid);
}

TEST_F(Survival, AMountThatNobodyRemembersIsReplacedWhenAskedFor)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    pid_t pid = (pid_t)info.pid;
    StopKeeper(SIGKILL);
    KillOne(pid, SIGKILL);
    ASSERT_TRUE(eventually([&] { return !process_exists(pid); }));
    std::filesystem::remove_all(socket_ + ".d");

    StartKeeper();
    struct stat st;
    ASSERT_NE(stat(mountpoint_.c_str(), &st), 0);
    ASSERT_EQ(Mount(Client()), 0);
    EXPECT_EQ(stat(File(0).c_str(), &st), 0);
    EXPECT_EQ(MountsBelowDir(), 1u);
}

TEST_F(Survival, ADamagedStateFileIsDroppedAndDisturbsNobody)
{
    Client other;
    other.id = "other";
    other.mountpoint = dir_ + "/other";
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    uint32_t pid = info.pid;
    ASSERT_EQ(Mount(other, &info), 0);
    pid_t other_pid = (pid_t)info.pid;
    StopKeeper(SIGKILL);
    std::ofstream(socket_ + ".d/other") << "rubbish";

    StartKeeper();
    EXPECT_EQ(Stat().pid, pid);
    EXPECT_EQ(gfs_keeper_client_stat(client_, "other", in_seconds(60), &info, nullptr), GFS_ENOENT);
    EXPECT_EQ(umount2(other.mountpoint.c_str(), 0), 0);
    EXPECT_TRUE(eventually([&] { return !process_exists(other_pid); }));
}

TEST_F(Survival, AnAbortedConnectionIsReportedAndMountingAgainRepairsIt)
{
    gfs_keeper_info info = {};
    ASSERT_EQ(Mount(Client(), &info), 0);
    ASSERT_EQ(umount2(mountpoint_.c_str(), MNT_FORCE | MNT_DETACH), 0);
    EXPECT_TRUE(eventually([&] { return Stat().state == GFS_KEEPER_BROKEN; }));
    ASSERT_EQ(Mount(Client(), &info), 0);
    EXPECT_EQ(info.state, (uint32_t)GFS_KEEPER_SERVING);
    struct stat st;
    EXPECT_EQ(stat(File(0).c_str(), &st), 0);
}

} // namespace
