#include "unit/goosefs/client/fake_cluster.h"

#include <thread>

TEST_F(MasterTest, CallsWork)
{
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(GetStatus("/hbase/file"), 0) << err_.text;
    }
}

TEST_F(MasterTest, AnswersOfTheMasterComeBackAtOnce)
{
    for (int code : {GFS_ENOENT, GFS_EINVAL, GFS_EPERM, GFS_ENOTDIR, GFS_ENOSPC}) {
        FailWith(code);
        EXPECT_EQ(GetStatus("/x"), code);
        EXPECT_STREQ(err_.text, "told to fail");
    }
    int calls = 0;
    for (auto &master : masters_) {
        calls += master->calls;
    }
    EXPECT_EQ(calls, 5);
}

TEST_F(MasterTest, FollowersThatDoNotReadSendUsToTheLeader)
{
    NoFollowerReads();
    Elect(2);
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(GetStatus("/x"), 0) << err_.text;
    }
    // One detour at most, then straight to the leader.
    EXPECT_EQ(masters_[2]->calls, 10);
    EXPECT_LE(masters_[0]->calls + masters_[1]->calls, 2);
}

TEST_F(MasterTest, SurvivesTheDeathOfAnyMasterAndItsReturn)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            masters_[static_cast<size_t>(i)]->Kill();
            Elect((i + 1) % 3);
            ASSERT_EQ(GetStatus("/x"), 0) << err_.text;
            masters_[static_cast<size_t>(i)]->Start();
            ASSERT_EQ(GetStatus("/x"), 0) << err_.text;
        }
    }
}

TEST_F(MasterTest, WaitsThroughAnElection)
{
    NoFollowerReads();
    Elect(-1);
    std::thread caller([&] { EXPECT_EQ(GetStatus("/x"), 0) << err_.text; });
    // Whoever is asked does not know a leader; once all were asked one is elected.
    while (masters_[0]->info_calls == 0 || masters_[1]->info_calls == 0 ||
           masters_[2]->info_calls == 0) {
        std::this_thread::yield();
    }
    Elect(1);
    caller.join();
}

TEST_F(MasterTest, AHungLeaderIsLeftForTheNewOne)
{
    NoFollowerReads();
    ASSERT_EQ(GetStatus("/x"), 0);
    masters_[0]->Hang(true);
    Elect(2);
    ASSERT_EQ(GetStatus("/x"), 0) << err_.text;
    EXPECT_GE(masters_[2]->calls, 1);
    masters_[0]->Hang(false);
}

TEST_F(MasterTest, ARetriedMountAppliesOnce)
{
    Elect(2);
    Goosefs__V1__MountRequest request = GOOSEFS__V1__MOUNT_REQUEST__INIT;
    uint8_t id[GFS_CLIENT_OPERATION_ID];
    gfs_client_operation_id(id);
    request.operation_id = {sizeof(id), id};
    for (int i = 0; i < 3; i++) {
        Goosefs__V1__MountResponse *response = nullptr;
        ASSERT_EQ(gfs_client_mount(client_, &request, &response, 0, &err_), 0) << err_.text;
        goosefs__v1__mount_response__free_unpacked(response, nullptr);
        Elect(i);
    }
    EXPECT_EQ(cluster_.mounts_applied, 1);
}

TEST_F(MasterTest, WithoutAnyMasterFailsAtTheDeadlineAndSaysWhy)
{
    for (auto &master : masters_) {
        master->Kill();
    }
    const int64_t start = gfs_clock_mono();
    EXPECT_EQ(GetStatus("/x", start + 300 * GFS_NS_PER_MS), GFS_EUNAVAIL);
    EXPECT_LT(gfs_clock_mono() - start, kLong);
    EXPECT_NE(std::string(err_.text).find("no master answered in time"), std::string::npos);
    EXPECT_NE(std::string(err_.text).find("127.0.0.1:"), std::string::npos) << err_.text;
}

TEST_F(MasterTest, CloseEndsCallsThatWait)
{
    for (auto &master : masters_) {
        master->Kill();
    }
    std::thread caller([&] { EXPECT_EQ(GetStatus("/x"), GFS_ECANCELLED); });
    gfs_client_close(client_);
    caller.join();
    EXPECT_EQ(GetStatus("/x"), GFS_ECANCELLED);
}

TEST_F(MasterTest, ManyThreadsThroughAFailover)
{
    NoFollowerReads();
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++) {
        threads.emplace_back([&] {
            Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
            char path[] = "/x";
            target.path = path;
            Goosefs__V1__GetStatusRequest request = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
            request.target = &target;
            for (int i = 0; i < 50; i++) {
                Goosefs__V1__GetStatusResponse *response = nullptr;
                gfs_err err = GFS_ERR_INIT;
                ASSERT_EQ(gfs_client_get_status(client_, &request, &response, 0, &err), 0)
                    << err.text;
                goosefs__v1__get_status_response__free_unpacked(response, nullptr);
                done++;
            }
        });
    }
    while (done < 100) {
        std::this_thread::yield();
    }
    masters_[0]->Kill();
    Elect(1);
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(done, 400);
}

TEST(Client, BadMasterListsAreRefused)
{
    const char *const lists[] = {"", ",", "host", "host:x", "a:1,b", nullptr};
    for (const char *const *list = lists; *list != nullptr; list++) {
        gfs_client_opts opts = {};
        opts.masters = *list;
        gfs_client *client = nullptr;
        gfs_err err = GFS_ERR_INIT;
        EXPECT_EQ(gfs_client_new(&opts, &client, &err), GFS_EINVAL) << *list;
        EXPECT_STRNE(err.text, "");
        EXPECT_EQ(client, nullptr);
    }
    std::string many;
    for (int i = 0; i <= GFS_CLIENT_MASTERS_MAX; i++) {
        many += "h:1,";
    }
    gfs_client_opts opts = {};
    opts.masters = many.c_str();
    gfs_client *client = nullptr;
    EXPECT_EQ(gfs_client_new(&opts, &client, nullptr), GFS_EINVAL);
}

TEST(Client, OperationIdsDiffer)
{
    uint8_t a[GFS_CLIENT_OPERATION_ID], b[GFS_CLIENT_OPERATION_ID];
    gfs_client_operation_id(a);
    gfs_client_operation_id(b);
    EXPECT_NE(memcmp(a, b, sizeof(a)), 0);
}
