#include "cluster_fixture.h"

using namespace gfs_test;

namespace
{

class WorkerService : public testing::Test
{
  protected:
    void SetUp() override
    {
        Start(3600 * 1000);
    }
    void Start(int64_t worker_timeout_ms)
    {
        origin.Write("f", std::string(1000, 'x'));
        origin.Write("d/g", std::string(500, 'y'));
        cluster.StartAll([=](gfs_master_opts &o) { o.worker_timeout_ms = worker_timeout_ms; });
        ASSERT_EQ(master().Mount("/m", "file://" + origin.path).code, 0);
    }
    Caller &master()
    {
        return cluster.At(1);
    }
    struct Cached {
        uint64_t inode, version, bytes;
    };
    Reply Beat(uint64_t id, uint64_t sequence, std::vector<Cached> cached = {}, uint64_t epoch = 0,
               bool leaving = false)
    {
        Goosefs__V1__WorkerHeartbeatRequest q = GOOSEFS__V1__WORKER_HEARTBEAT_REQUEST__INIT;
        Goosefs__V1__WorkerInfo w = GOOSEFS__V1__WORKER_INFO__INIT;
        Goosefs__V1__TierInfo tier = GOOSEFS__V1__TIER_INFO__INIT;
        Goosefs__V1__TierInfo *tiers[] = {&tier};
        std::vector<Goosefs__V1__CachedFile> files(cached.size());
        std::vector<Goosefs__V1__CachedFile *> list;
        std::string host = "hbase-worker-" + std::to_string(id);
        std::string data = "127.0.0.1:" + std::to_string(26003 + id);
        char alias[] = "HDD";
        for (size_t i = 0; i < cached.size(); i++) {
            goosefs__v1__cached_file__init(&files[i]);
            files[i].inode_id = cached[i].inode;
            files[i].version_id = cached[i].version;
            files[i].bytes = cached[i].bytes;
            list.push_back(&files[i]);
        }
        tier.alias = alias;
        tier.capacity = 2048;
        tier.used = 100;
        w.id = id;
        w.leaving = leaving;
        w.host = host.data();
        w.data_address = data.data();
        w.n_tiers = 1;
        w.tiers = tiers;
        q.worker = &w;
        q.sequence = sequence;
        q.n_cached = list.size();
        q.cached = list.data();
        q.mounts_epoch = epoch;
        return master().Call(goosefs__v1__worker_master__descriptor, "Heartbeat", &q.base);
    }
    Reply Workers()
    {
        Goosefs__V1__ListWorkersRequest q = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
        return master().Call(goosefs__v1__worker_master__descriptor, "ListWorkers", &q.base);
    }
    Reply Free(const std::string &path, bool recursive)
    {
        Goosefs__V1__FreeRequest q = GOOSEFS__V1__FREE_REQUEST__INIT;
        q.path = const_cast<char *>(path.c_str());
        q.recursive = recursive;
        return master().Call(goosefs__v1__worker_master__descriptor, "Free", &q.base);
    }
    Cached File(const std::string &path, uint64_t bytes)
    {
        Reply reply = master().Stat(path);
        EXPECT_EQ(reply.code, 0) << reply.text;
        auto *info = reply.As<Goosefs__V1__GetStatusResponse>()->info;
        return {info->id, info->version_id, bytes};
    }
    uint64_t CachedBytes(const std::string &path)
    {
        Reply reply = master().Stat(path);
        return reply.As<Goosefs__V1__GetStatusResponse>()->info->cached_bytes;
    }
    Scratch origin;
    Scratch state;
    Cluster cluster{1, state.path};
};

TEST_F(WorkerService, a_worker_is_listed_and_gets_the_mounts)
{
    Reply reply = Beat(1, 0);
    ASSERT_EQ(reply.code, 0) << reply.text;
    auto *beat = reply.As<Goosefs__V1__WorkerHeartbeatResponse>();
    EXPECT_FALSE(beat->resend_all);
    EXPECT_TRUE(beat->mounts_changed);
    ASSERT_EQ(beat->n_mounts, 1u);
    EXPECT_STREQ(beat->mounts[0]->path, "/m");
    uint64_t epoch = beat->mounts_epoch;
    reply = Beat(1, 1, {}, epoch);
    EXPECT_FALSE(reply.As<Goosefs__V1__WorkerHeartbeatResponse>()->mounts_changed);
    ASSERT_EQ(master().Mount("/n", "file://" + origin.path).code, 0);
    reply = Beat(1, 2, {}, epoch);
    EXPECT_EQ(reply.As<Goosefs__V1__WorkerHeartbeatResponse>()->n_mounts, 2u);

    reply = Workers();
    auto *workers = reply.As<Goosefs__V1__ListWorkersResponse>();
    ASSERT_EQ(workers->n_workers, 1u);
    EXPECT_STREQ(workers->workers[0]->host, "hbase-worker-1");
    EXPECT_EQ(workers->workers[0]->tiers[0]->capacity, 2048u);
}

TEST_F(WorkerService, a_gap_in_the_beats_asks_for_everything)
{
    EXPECT_TRUE(Beat(1, 5).As<Goosefs__V1__WorkerHeartbeatResponse>()->resend_all);
    EXPECT_FALSE(Beat(1, 0).As<Goosefs__V1__WorkerHeartbeatResponse>()->resend_all);
    EXPECT_FALSE(Beat(1, 1).As<Goosefs__V1__WorkerHeartbeatResponse>()->resend_all);
    EXPECT_FALSE(Beat(1, 1).As<Goosefs__V1__WorkerHeartbeatResponse>()->resend_all);
    EXPECT_TRUE(Beat(1, 3).As<Goosefs__V1__WorkerHeartbeatResponse>()->resend_all);
}

TEST_F(WorkerService, a_beat_that_says_nothing_is_refused)
{
    Goosefs__V1__WorkerHeartbeatRequest q = GOOSEFS__V1__WORKER_HEARTBEAT_REQUEST__INIT;
    Reply reply = master().Call(goosefs__v1__worker_master__descriptor, "Heartbeat", &q.base);
    EXPECT_EQ(reply.code, GFS_EINVAL) << reply.text;
}

TEST_F(WorkerService, cached_bytes_add_up_over_live_workers)
{
    Cached f = File("/m/f", 600);
    ASSERT_EQ(Beat(1, 0, {f}).code, 0);
    EXPECT_EQ(CachedBytes("/m/f"), 600u);
    ASSERT_EQ(Beat(2, 0, {{f.inode, f.version, 300}}).code, 0);
    EXPECT_EQ(CachedBytes("/m/f"), 900u);
    ASSERT_EQ(Beat(2, 1, {{f.inode, f.version, 1000}}).code, 0);
    EXPECT_EQ(CachedBytes("/m/f"), 1000u); // at most its length
    ASSERT_EQ(Beat(2, 2, {{f.inode, f.version, 0}}).code, 0);
    EXPECT_EQ(CachedBytes("/m/f"), 600u);
    Reply count = master().Count("/m");
    EXPECT_EQ(count.As<Goosefs__V1__CountResponse>()->cached_bytes, 600u);
    ASSERT_EQ(Beat(1, 0).code, 0); // started again, with nothing
    EXPECT_EQ(CachedBytes("/m/f"), 0u);
}

TEST_F(WorkerService, a_worker_that_leaves_is_not_live_at_once_and_may_start_again)
{
    auto live = [this] {
        Reply reply = Workers();
        auto *workers = reply.As<Goosefs__V1__ListWorkersResponse>();
        return workers->n_workers == 1 && workers->workers[0]->live;
    };
    Cached f = File("/m/f", 600);
    ASSERT_EQ(Beat(1, 0, {f}).code, 0);
    EXPECT_TRUE(live());
    ASSERT_EQ(Beat(1, 1, {}, 0, true).code, 0);
    EXPECT_FALSE(live());
    EXPECT_EQ(CachedBytes("/m/f"), 0u);
    ASSERT_EQ(Beat(1, 2, {}, 0, true).code, 0); // says it again
    EXPECT_FALSE(live());
    EXPECT_EQ(CachedBytes("/m/f"), 0u);
    ASSERT_EQ(Beat(1, 0, {f}).code, 0);
    EXPECT_TRUE(live());
    EXPECT_EQ(CachedBytes("/m/f"), 600u);
}

class SilentWorker : public WorkerService
{
  protected:
    void SetUp() override
    {
        Start(200);
    }
};

TEST_F(SilentWorker, is_lost_and_may_come_back)
{
    Cached f = File("/m/f", 600);
    ASSERT_EQ(Beat(1, 0, {f}).code, 0);
    EXPECT_TRUE(Eventually([&] {
        Reply reply = Workers();
        auto *workers = reply.As<Goosefs__V1__ListWorkersResponse>();
        return workers->n_workers == 1 && !workers->workers[0]->live && CachedBytes("/m/f") == 0;
    }));
    uint64_t sequence = 0;
    EXPECT_TRUE(Eventually([&] { // on a slow machine it may be lost again before we look
        return Beat(1, ++sequence).code == 0 && CachedBytes("/m/f") == 600;
    }));
}

TEST_F(WorkerService, what_is_to_be_freed_goes_out_with_the_beat)
{
    Cached f = File("/m/f", 600);
    Cached g = File("/m/d/g", 500);
    ASSERT_EQ(Beat(1, 0, {f, g}).code, 0);
    EXPECT_EQ(Free("/m", false).code, GFS_EISDIR);
    Reply reply = Free("/m", true);
    ASSERT_EQ(reply.code, 0) << reply.text;
    EXPECT_EQ(reply.As<Goosefs__V1__FreeResponse>()->files, 2u);
    EXPECT_EQ(Beat(1, 1).As<Goosefs__V1__WorkerHeartbeatResponse>()->n_free, 2u);
    EXPECT_EQ(Beat(1, 1).As<Goosefs__V1__WorkerHeartbeatResponse>()->n_free, 2u); // repeated
    EXPECT_EQ(Beat(1, 2).As<Goosefs__V1__WorkerHeartbeatResponse>()->n_free, 0u);
    ASSERT_EQ(Free("/m/f", false).code, 0);
    reply = Beat(1, 3);
    ASSERT_EQ(reply.As<Goosefs__V1__WorkerHeartbeatResponse>()->n_free, 1u);
    EXPECT_EQ(reply.As<Goosefs__V1__WorkerHeartbeatResponse>()->free[0]->inode_id, f.inode);
    EXPECT_EQ(Free("/none", false).code, GFS_ENOENT);
}

} // namespace
