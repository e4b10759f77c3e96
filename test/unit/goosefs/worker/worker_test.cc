// A whole worker, and two in one process: a fake master, a local directory as origin, real sockets.
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <gfs/base/clock.h>
#include <gfs/rpc/server.h>
#include <gfs/worker/worker.h>

#include <goosefs_master.pb-c.h>

#include "data_client.h"

namespace
{

// Answers heartbeats with a mount table, remembers what was said.
class FakeMaster
{
  public:
    FakeMaster()
    {
        gfs_err err = GFS_ERR_INIT;
        const gfs_rpc_method methods[] = {{"Heartbeat", OnHeartbeat}, {nullptr, nullptr}};

        EXPECT_EQ(0, gfs_rpc_server_new(nullptr, &server_, &err)) << err.text;
        EXPECT_EQ(0, gfs_rpc_server_listen(server_, "127.0.0.1:0", nullptr, 0, &port_, &err))
            << err.text;
        EXPECT_EQ(0, gfs_rpc_server_add_service(server_, &goosefs__v1__worker_master__descriptor,
                                                methods, this, &err))
            << err.text;
        EXPECT_EQ(0, gfs_rpc_server_start(server_, &err)) << err.text;
    }

    ~FakeMaster()
    {
        gfs_rpc_server_free(server_);
    }

    std::string Address() const
    {
        return "127.0.0.1:" + std::to_string(port_);
    }

    void Mount(uint32_t mount_id, const std::string &uri)
    {
        std::lock_guard<std::mutex> guard(mutex_);

        mounts_[mount_id] = uri;
        epoch_++;
    }

    void Free(uint64_t inode)
    {
        std::lock_guard<std::mutex> guard(mutex_);

        free_.push_back(inode);
    }

    void Forget()
    {
        std::lock_guard<std::mutex> guard(mutex_);

        resend_ = true;
        cached.clear();
    }

    template <typename Predicate> void Wait(Predicate predicate)
    {
        std::unique_lock<std::mutex> lock(mutex_);

        changed_.wait(lock, predicate);
    }

    // Under the mutex: in predicates.
    int beats = 0;
    std::vector<uint64_t> sequences;
    std::string host;
    std::string data_address;
    std::string local_socket;
    uint32_t web_port = 0;
    uint64_t id = 0;
    bool leaving = false;
    uint64_t capacity = 0;
    std::map<uint64_t, uint64_t> cached;

  private:
    static void OnHeartbeat(gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
    {
        auto *m = static_cast<FakeMaster *>(user);
        auto *q = reinterpret_cast<const Goosefs__V1__WorkerHeartbeatRequest *>(message);
        Goosefs__V1__WorkerHeartbeatResponse response =
            GOOSEFS__V1__WORKER_HEARTBEAT_RESPONSE__INIT;
        std::vector<Goosefs__V1__MountInfo> infos;
        std::vector<Goosefs__V1__MountInfo *> pointers;
        std::vector<Goosefs__V1__FreeFile> files;
        std::vector<Goosefs__V1__FreeFile *> file_pointers;
        std::lock_guard<std::mutex> guard(m->mutex_);

        m->Take(q);
        response.mounts_epoch = m->epoch_;
        response.resend_all = m->resend_;
        m->resend_ = false;
        if (q->mounts_epoch < m->epoch_) {
            response.mounts_changed = true;
            for (auto &mount : m->mounts_) {
                Goosefs__V1__MountInfo info = GOOSEFS__V1__MOUNT_INFO__INIT;

                info.id = mount.first;
                info.ufs_uri = &mount.second[0];
                infos.push_back(info);
            }
            for (auto &info : infos) {
                pointers.push_back(&info);
            }
            response.n_mounts = pointers.size();
            response.mounts = pointers.data();
        }
        for (uint64_t inode : m->free_) {
            Goosefs__V1__FreeFile f = GOOSEFS__V1__FREE_FILE__INIT;

            f.inode_id = inode;
            files.push_back(f);
        }
        m->free_.clear();
        for (auto &f : files) {
            file_pointers.push_back(&f);
        }
        response.n_free = file_pointers.size();
        response.free = file_pointers.data();
        gfs_rpc_reply(call, &response.base);
        m->changed_.notify_all();
    }

    void Take(const Goosefs__V1__WorkerHeartbeatRequest *q)
    {
        beats++;
        sequences.push_back(q->sequence);
        host = q->worker->host;
        data_address = q->worker->data_address;
        local_socket = q->worker->local_socket;
        web_port = q->worker->web_port;
        id = q->worker->id;
        leaving = q->worker->leaving;
        capacity = q->worker->n_tiers > 0 ? q->worker->tiers[0]->capacity : 0;
        for (size_t i = 0; i < q->n_cached; i++) {
            cached[q->cached[i]->inode_id] = q->cached[i]->bytes;
        }
    }

    gfs_rpc_server *server_ = nullptr;
    uint16_t port_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<uint32_t, std::string> mounts_;
    std::vector<uint64_t> free_;
    uint64_t epoch_ = 1;
    bool resend_ = false;
};

class Worker : public testing::Test
{
  protected:
    void SetUp() override
    {
        char shm[] = "/dev/shm/gfs_wk_XXXXXX";
        char tmp[] = "/tmp/gfs_wk_XXXXXX";
        char *dir = mkdtemp(shm);

        dir = dir != nullptr ? dir : mkdtemp(tmp);
        ASSERT_NE(nullptr, dir);
        dir_ = dir;
        std::filesystem::create_directories(dir_ + "/origin/sub");
        for (int i = 0; i < 300000; i++) {
            content_ += static_cast<char>(i * 7 + i / 100);
        }
        std::ofstream(dir_ + "/origin/sub/file", std::ios::binary) << content_;
        metrics_ = gfs_metrics_new();
    }

    void TearDown() override
    {
        for (gfs_worker *w : workers_) {
            gfs_worker_stop(w);
        }
        gfs_metrics_free(metrics_);
        std::filesystem::remove_all(dir_);
    }

    gfs_worker *Start(const std::string &name, const std::vector<std::string> &masters)
    {
        gfs_worker_config c = {};
        gfs_worker *w = nullptr;
        gfs_err err = GFS_ERR_INIT;

        snprintf(c.hostname, sizeof(c.hostname), "%s", name.c_str());
        snprintf(c.bind_host, sizeof(c.bind_host), "127.0.0.1");
        snprintf(c.web_bind_host, sizeof(c.web_bind_host), "127.0.0.1");
        for (const std::string &m : masters) {
            snprintf(c.masters[c.n_masters], sizeof(c.masters[0]), "%s", m.c_str());
            c.n_masters++;
        }
        c.n_tiers = 1;
        snprintf(c.tiers[0].alias, sizeof(c.tiers[0].alias), "HDD");
        snprintf(c.tiers[0].path, sizeof(c.tiers[0].path), "%s/%s", dir_.c_str(), name.c_str());
        c.tiers[0].quota = 10 << 20;
        c.tiers[0].high = 0.8;
        c.tiers[0].low = 0.7;
        snprintf(c.data_folder, sizeof(c.data_folder), "goosefsworker");
        c.block_size = 65536;
        c.fetch_threads = 4;
        c.readahead_blocks = 2;
        c.send_threads = 2;
        c.connections_max = 100;
        c.read_through_max = 1 << 20;
        c.heartbeat_ns = 20 * GFS_NS_PER_MS;
        c.drain_ns = 5 * GFS_NS_PER_S;
        EXPECT_EQ(0, gfs_worker_start(&c, nullptr, metrics_, &w, &err)) << err.text;
        workers_.push_back(w);
        return w;
    }

    void Stop(gfs_worker *w)
    {
        gfs_worker_stop(w);
        workers_.erase(std::find(workers_.begin(), workers_.end(), w));
    }

    DataClient::Target Target(uint64_t offset, uint32_t length, uint32_t mount = 5)
    {
        DataClient::Target t;

        t.inode_id = 77;
        t.file_length = content_.size();
        t.offset = offset;
        t.length = length;
        t.mount_id = mount;
        t.path = "sub/file";
        t.version = "";
        return t;
    }

    std::string Origin() const
    {
        return "file://" + dir_ + "/origin";
    }

    std::string dir_;
    std::string content_;
    gfs_metrics *metrics_ = nullptr;
    std::vector<gfs_worker *> workers_;
};

TEST_F(Worker, TellsEveryMasterWhoItIsAndWhatItHas)
{
    FakeMaster a;
    FakeMaster b;

    a.Mount(5, Origin());
    b.Mount(5, Origin());

    gfs_worker *w = Start("hbase-worker-0", {a.Address(), b.Address()});

    for (FakeMaster *m : {&a, &b}) {
        m->Wait([&] { return m->beats > 0; });
        m->Wait([&] {
            EXPECT_EQ(0u, m->sequences[0]);
            EXPECT_EQ("hbase-worker-0", m->host);
            EXPECT_EQ("hbase-worker-0:" + std::to_string(gfs_worker_data_port(w)), m->data_address);
            EXPECT_EQ(gfs_worker_web_port(w), m->web_port);
            EXPECT_EQ(10u << 20, m->capacity);
            EXPECT_NE(0u, m->id);
            return true;
        });
    }

    DataClient c(gfs_worker_data_port(w));
    DataClient::Answer answer = c.Call(GFS_DATA_READ, 1, Target(1000, 200000));

    ASSERT_EQ(0, answer.header.status) << answer.body;
    EXPECT_EQ(content_.substr(1000, 200000), answer.body);
    for (FakeMaster *m : {&a, &b}) {
        m->Wait([&] { return m->cached[77] >= 200000; });
    }

    // Over the socket the masters were told of, too.
    std::string path;

    a.Wait([&] {
        path = a.local_socket;
        return true;
    });

    DataClient local(path);

    EXPECT_EQ(content_.substr(5, 10), local.Call(GFS_DATA_READ, 1, Target(5, 10)).body);
}

TEST_F(Worker, FreesWhatAMasterSays)
{
    FakeMaster m;

    m.Mount(5, Origin());

    gfs_worker *w = Start("w0", {m.Address()});
    DataClient c(gfs_worker_data_port(w));

    ASSERT_EQ(0, c.Call(GFS_DATA_READ, 1, Target(0, 10)).header.status);
    m.Wait([&] { return m.cached[77] > 0; });
    m.Free(77);
    m.Wait([&] { return m.cached[77] == 0; });
}

TEST_F(Worker, ResendsAllToAMasterThatForgot)
{
    FakeMaster m;

    m.Mount(5, Origin());

    gfs_worker *w = Start("w0", {m.Address()});
    DataClient c(gfs_worker_data_port(w));

    ASSERT_EQ(0, c.Call(GFS_DATA_READ, 1, Target(0, 10)).header.status);
    m.Wait([&] { return m.cached[77] > 0; });
    m.Forget();
    m.Wait([&] { return m.cached[77] > 0; });
    m.Wait([&] { return std::count(m.sequences.begin(), m.sequences.end(), 0u) == 2; });
}

TEST_F(Worker, ReadThatComesBeforeItsMountWaits)
{
    FakeMaster m;
    gfs_worker *w = Start("w0", {m.Address()});

    m.Wait([&] { return m.beats > 1; });

    DataClient c(gfs_worker_data_port(w));

    ASSERT_TRUE(c.Request(GFS_DATA_READ, 1, Target(0, 10)));
    m.Mount(5, Origin());
    EXPECT_EQ(content_.substr(0, 10), c.Receive().body);
}

TEST_F(Worker, MountThatCannotBeOpenedSaysWhy)
{
    FakeMaster m;

    m.Mount(5, "cosn://bucket/x");

    gfs_worker *w = Start("w0", {m.Address()});
    DataClient c(gfs_worker_data_port(w));
    DataClient::Answer a = c.Call(GFS_DATA_READ, 1, Target(0, 10));

    EXPECT_EQ(GFS_EUNSUPPORTED, a.header.status);
    EXPECT_EQ("scheme 'cosn' is not supported: http, https and file are", a.body);

    // The mount is corrected at the masters.
    m.Mount(5, Origin());
    while (a.header.status != 0) {
        a = c.Call(GFS_DATA_READ, 2, Target(0, 10));
        ASSERT_TRUE(a.ok);
    }
    EXPECT_EQ(content_.substr(0, 10), a.body);
}

TEST_F(Worker, TwoInOneProcessAndARestartKeepsIdentityAndCache)
{
    FakeMaster m;

    m.Mount(5, Origin());

    gfs_worker *one = Start("w1", {m.Address()});

    uint64_t id = 0;

    m.Wait([&] {
        id = m.id;
        return m.host == "w1";
    });

    gfs_worker *two = Start("w2", {m.Address()});

    m.Wait([&] { return m.host == "w2" && m.id != id; });
    for (gfs_worker *w : {one, two}) {
        DataClient c(gfs_worker_data_port(w));

        EXPECT_EQ(content_.substr(0, 1000), c.Call(GFS_DATA_READ, 1, Target(0, 1000)).body);
    }
    Stop(one);
    std::filesystem::remove_all(dir_ + "/origin");
    one = Start("w1", {m.Address()});
    m.Wait([&] { return m.host == "w1" && m.id == id; });

    DataClient c(gfs_worker_data_port(one));

    EXPECT_EQ(content_.substr(0, 1000), c.Call(GFS_DATA_READ, 1, Target(0, 1000)).body);
}

// Masters need not find out by its silence; one that is away does not hold it up.
TEST_F(Worker, SaysToEveryMasterThatItLeaves)
{
    FakeMaster a;
    FakeMaster b;
    gfs_worker *w = Start("w0", {a.Address(), b.Address(), "127.0.0.1:1"});

    for (FakeMaster *m : {&a, &b}) {
        m->Wait([&] { return m->beats > 0; });
        m->Wait([&] { return !m->leaving; });
    }
    Stop(w);
    for (FakeMaster *m : {&a, &b}) {
        m->Wait([&] { return m->leaving; });
    }
}

TEST_F(Worker, MastersThatAreDownDoNotKeepItFromServingAndAreFoundLater)
{
    gfs_worker *w = Start("w0", {"127.0.0.1:1"});

    DataClient c(gfs_worker_data_port(w));

    ASSERT_TRUE(c.Send(DataClient::Frame(GFS_DATA_PING, 1, "")));
    EXPECT_TRUE(c.Receive().ok);
}

} // namespace
