// The data server over real sockets: right bytes, right errors, bounded behaviour.
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include <gfs/base/clock.h>

extern "C" {
#include "server.h"
}

#include "data_client.h"
#include "fake_origin.h"

namespace
{

constexpr uint32_t kBlock = 65536;
constexpr uint64_t kExtent = 64 * kBlock;

class Server : public testing::Test
{
  protected:
    void SetUp() override
    {
        char shm[] = "/dev/shm/gfs_srv_XXXXXX";
        char tmp[] = "/tmp/gfs_srv_XXXXXX";
        char *dir = mkdtemp(shm);

        dir = dir != nullptr ? dir : mkdtemp(tmp);
        ASSERT_NE(nullptr, dir);
        dir_ = dir;
        snprintf(tier_.alias, sizeof(tier_.alias), "MEM");
        snprintf(tier_.path, sizeof(tier_.path), "%s", dir);
        tier_.quota = 64 << 20;
        tier_.high = 0.9;
        tier_.low = 0.8;
        store_config_.tiers = &tier_;
        store_config_.n_tiers = 1;
        store_config_.data_folder = "w";
        store_config_.block_size = kBlock;
        store_config_.extent_size = kExtent;
        store_config_.fetch_threads = 4;
        store_config_.queue_max = 1000;
        store_config_.read_through_max = 64 << 20;
        store_config_.open_files = 16;
        store_config_.extents_max = 1000;
        store_config_.fetch = FakeOrigin::Fetch;
        store_config_.fetch_arg = &origin_;
        socket_ = dir_ + "/data.sock";
        server_config_.address = "127.0.0.1:0";
        server_config_.local_socket = socket_.c_str();
        server_config_.send_threads = 3;
        server_config_.connections_max = 20;
        server_config_.stall_ns = 60 * GFS_NS_PER_S;
    }

    void Start()
    {
        ASSERT_EQ(0, gfsi_store_open(&store_config_, &store_, &err_)) << err_.text;
        server_config_.store = store_;
        ASSERT_EQ(0, gfsi_server_start(&server_config_, &server_, &err_)) << err_.text;
        port_ = gfsi_server_port(server_);
    }

    void Stop()
    {
        if (store_ != nullptr) {
            gfsi_store_cancel(store_);
        }
        server_ = gfsi_server_stop(server_);
        store_ = gfsi_store_close(store_);
    }

    void TearDown() override
    {
        Stop();
        std::filesystem::remove_all(dir_);
    }

    static DataClient::Target Target(uint64_t inode, uint64_t length, uint64_t offset, uint32_t n)
    {
        DataClient::Target t;

        t.inode_id = inode;
        t.file_length = length;
        t.offset = offset;
        t.length = n;
        return t;
    }

    static std::string Expected(uint64_t offset, uint64_t n)
    {
        return FakeOrigin::Expected("dir/file", "\"v1\"", offset, n);
    }

    std::string dir_;
    std::string socket_;
    FakeOrigin origin_;
    gfs_worker_tier tier_ = {};
    gfsi_store_config store_config_ = {};
    gfsi_server_config server_config_ = {};
    gfsi_store *store_ = nullptr;
    gfsi_server *server_ = nullptr;
    uint16_t port_ = 0;
    gfs_err err_ = GFS_ERR_INIT;
};

TEST_F(Server, AnswersPing)
{
    Start();

    DataClient c(port_);

    ASSERT_TRUE(c.Send(DataClient::Frame(GFS_DATA_PING, 7, "")));

    DataClient::Answer a = c.Receive();

    ASSERT_TRUE(a.ok);
    EXPECT_EQ(GFS_DATA_MAGIC, a.header.magic);
    EXPECT_EQ(GFS_DATA_PING, a.header.type);
    EXPECT_EQ(0, a.header.status);
    EXPECT_EQ(7u, a.header.id);
    EXPECT_EQ(0u, a.header.body_len);
}

TEST_F(Server, ReadsOverTcpAndUnix)
{
    Start();

    DataClient tcp(port_);
    DataClient local(socket_);

    for (DataClient *c : {&tcp, &local}) {
        DataClient::Answer a = c->Call(GFS_DATA_READ, 1, Target(1, 1000000, 1234, 200000));

        ASSERT_TRUE(a.ok);
        EXPECT_EQ(0, a.header.status) << a.body;
        EXPECT_EQ(Expected(1234, 200000), a.body);
    }
    EXPECT_EQ(4, origin_.fetches);
}

TEST_F(Server, LargestReadAcrossExtents)
{
    Start();

    DataClient c(port_);
    uint64_t length = 3 * kExtent;

    for (int i = 0; i < 3; i++) {
        DataClient::Answer a =
            c.Call(GFS_DATA_READ, 1, Target(1, length, kExtent / 2 + 5, GFS_DATA_READ_MAX));

        ASSERT_TRUE(a.ok);
        ASSERT_EQ(0, a.header.status) << a.body;
        EXPECT_EQ(Expected(kExtent / 2 + 5, GFS_DATA_READ_MAX), a.body);
    }
}

TEST_F(Server, PipelinedRequestsAreAllAnswered)
{
    Start();

    DataClient c(port_);
    std::set<uint64_t> ids;
    std::string frames;
    const int kRequests = 500; // far more than may be outstanding

    std::thread sender([&] {
        for (uint64_t id = 0; id < kRequests; id++) {
            ASSERT_TRUE(c.Request(GFS_DATA_READ, id, Target(1, 1000000, id * 1000, 5000)));
        }
    });

    for (int i = 0; i < kRequests; i++) {
        DataClient::Answer a = c.Receive();

        ASSERT_TRUE(a.ok);
        ASSERT_EQ(0, a.header.status) << a.body;
        ASSERT_EQ(Expected(a.header.id * 1000, 5000), a.body);
        ids.insert(a.header.id);
    }
    sender.join();
    EXPECT_EQ(static_cast<size_t>(kRequests), ids.size());
}

TEST_F(Server, CachedReadsDoNotWaitForSlowOnes)
{
    Start();

    DataClient c(port_);

    ASSERT_EQ(0, c.Call(GFS_DATA_READ, 1, Target(1, 1000, 0, 1000)).header.status);
    origin_.CloseGate();
    ASSERT_TRUE(c.Request(GFS_DATA_READ, 2, Target(2, 1000, 0, 1000)));
    ASSERT_TRUE(c.Request(GFS_DATA_READ, 3, Target(1, 1000, 0, 1000)));
    EXPECT_EQ(3u, c.Receive().header.id);
    origin_.OpenGate();

    DataClient::Answer slow = c.Receive();

    EXPECT_EQ(2u, slow.header.id);
    EXPECT_EQ(Expected(0, 1000), slow.body);
}

TEST_F(Server, ErrorsCarryCodeAndText)
{
    Start();

    DataClient c(port_);
    DataClient::Answer a = c.Call(GFS_DATA_READ, 1, Target(1, 1000, 999, 2));

    EXPECT_EQ(GFS_ERANGE, a.header.status);
    EXPECT_NE(std::string::npos, a.body.find("not within the file's 1000")) << a.body;
    EXPECT_EQ(
        GFS_ERANGE,
        c.Call(GFS_DATA_READ, 1, Target(1, 100 << 20, 0, GFS_DATA_READ_MAX + 1)).header.status);
    origin_.SetVersion("\"v2\"");
    a = c.Call(GFS_DATA_READ, 2, Target(1, 1000, 0, 10));
    EXPECT_EQ(GFS_ECHANGED, a.header.status);
    EXPECT_EQ("dir/file changed", a.body);
    origin_.fail_next = 1;
    EXPECT_EQ(GFS_EUNAVAIL, c.Call(GFS_DATA_READ, 3, Target(2, 1000, 0, 10)).header.status);
    EXPECT_EQ(GFS_EUNSUPPORTED, c.Call(GFS_DATA_OPEN, 4, Target(2, 1000, 0, 0)).header.status);
}

TEST_F(Server, BrokenFramesEndTheConnection)
{
    std::string good = DataClient::Frame(GFS_DATA_PING, 1, "");
    std::string target = DataClient::Body(Target(1, 1000, 0, 10));
    std::vector<std::string> broken;
    auto damaged = [&](size_t at, char value) {
        std::string frame = good;

        frame[at] = value;
        return frame;
    };

    broken.push_back(damaged(0, 'X'));                                   // magic
    broken.push_back(damaged(4, 99));                                    // type
    broken.push_back(damaged(4, 0));                                     // type
    broken.push_back(damaged(6, 1));                                     // status
    broken.push_back(damaged(19, 1));                                    // body length
    broken.push_back(damaged(20, 1));                                    // reserved
    broken.push_back(DataClient::Frame(GFS_DATA_PING, 1, "x"));          // no body expected
    broken.push_back(DataClient::Frame(GFS_DATA_READ, 1, ""));           // none there
    broken.push_back(DataClient::Frame(GFS_DATA_READ, 1, target + "x")); // too long
    broken.push_back(DataClient::Frame(GFS_DATA_READ, 1, target.substr(0, target.size() - 1)));
    std::string nul = target;
    nul[sizeof(gfs_data_target) + 2] = '\0';
    broken.push_back(DataClient::Frame(GFS_DATA_READ, 1, nul));
    Start();
    for (size_t i = 0; i < broken.size(); i++) {
        DataClient c(port_);

        ASSERT_TRUE(c.Send(broken[i]));
        EXPECT_TRUE(c.Closed()) << i;
    }
    DataClient c(port_);

    EXPECT_EQ(0, c.Call(GFS_DATA_READ, 1, Target(1, 1000, 0, 10)).header.status);
}

TEST_F(Server, FramesMayArriveByteByByte)
{
    Start();

    DataClient c(port_);

    for (char byte : DataClient::Frame(GFS_DATA_READ, 9, DataClient::Body(Target(1, 99, 1, 98)))) {
        ASSERT_TRUE(c.Send(std::string(1, byte)));
    }
    EXPECT_EQ(Expected(1, 98), c.Receive().body);
}

TEST_F(Server, HandsOutSealedExtentsOverTheUnixSocket)
{
    Start();

    DataClient c(socket_);
    DataClient::Answer a = c.Call(GFS_DATA_OPEN, 1, Target(1, kExtent + 1000, kExtent + 5, 0));

    EXPECT_EQ(GFS_EPRECONDITION, a.header.status);
    EXPECT_EQ(-1, a.fd);
    gfsi_store_settle(store_);
    a = c.Call(GFS_DATA_OPEN, 2, Target(1, kExtent + 1000, kExtent + 5, 0));
    ASSERT_EQ(0, a.header.status) << a.body;
    ASSERT_EQ(sizeof(gfs_data_opened), a.body.size());
    ASSERT_GE(a.fd, 0);

    gfs_data_opened opened;
    std::string data(1000, '\0');

    memcpy(&opened, a.body.data(), sizeof(opened));
    EXPECT_EQ(kExtent, opened.extent_offset);
    EXPECT_EQ(1000u, opened.extent_length);
    EXPECT_EQ(1000, pread(a.fd, &data[0], 1000, 0));
    EXPECT_EQ(Expected(kExtent, 1000), data);
    EXPECT_EQ(-1, pwrite(a.fd, "x", 1, 0));
    close(a.fd);
}

TEST_F(Server, LoadAnswersAtOnceAndFills)
{
    Start();

    DataClient c(port_);

    origin_.CloseGate();
    EXPECT_EQ(0, c.Call(GFS_DATA_LOAD, 1, Target(1, 10 * kBlock, 0, 10 * kBlock)).header.status);
    origin_.OpenGate();
    gfsi_store_settle(store_);
    EXPECT_EQ(10, origin_.fetches);
}

TEST_F(Server, ConnectionsHaveALimit)
{
    server_config_.connections_max = 2;
    Start();

    DataClient a(port_);
    DataClient b(port_);

    ASSERT_TRUE(a.Send(DataClient::Frame(GFS_DATA_PING, 1, "")));
    ASSERT_TRUE(a.Receive().ok);
    ASSERT_TRUE(b.Send(DataClient::Frame(GFS_DATA_PING, 1, "")));
    ASSERT_TRUE(b.Receive().ok);

    DataClient c(port_);

    EXPECT_TRUE(c.Closed());
    EXPECT_EQ(2u, gfsi_server_connections(server_));
}

TEST_F(Server, ClientThatTakesNothingIsCutOffAndDoesNotHoldOthersUp)
{
    server_config_.send_threads = 1;
    server_config_.stall_ns = 100 * GFS_NS_PER_MS;
    Start();

    DataClient lazy(port_);
    DataClient busy(port_);

    for (uint64_t id = 0; id < 16; id++) { // more than any socket buffer takes
        ASSERT_TRUE(lazy.Request(GFS_DATA_READ, id, Target(1, kExtent, 0, 4 << 20)));
    }
    for (uint64_t id = 0; id < 20; id++) {
        ASSERT_EQ(0, busy.Call(GFS_DATA_READ, id, Target(2, 1000, 0, 1000)).header.status);
    }
    // The end of the stream comes, before all answers have.
    int answers = 0;

    while (lazy.Receive().ok) {
        answers++;
        ASSERT_LT(answers, 16);
        if (answers == 1) {
            // Not reading any more until the worker has given up on us.
            while (gfsi_server_connections(server_) == 2) {
                ASSERT_TRUE(busy.Send(DataClient::Frame(GFS_DATA_PING, 1, "")));
                ASSERT_TRUE(busy.Receive().ok);
            }
        }
    }
}

TEST_F(Server, DeadClientsAreForgotten)
{
    Start();
    origin_.CloseGate();
    {
        DataClient c(port_);

        for (uint64_t id = 0; id < 10; id++) {
            ASSERT_TRUE(c.Request(GFS_DATA_READ, id, Target(id + 1, 1000, 0, 1000)));
        }
        origin_.WaitForFetches(4);
    }
    DataClient watcher(port_);

    while (gfsi_server_connections(server_) != 1) {
        ASSERT_TRUE(watcher.Send(DataClient::Frame(GFS_DATA_PING, 1, "")));
        ASSERT_TRUE(watcher.Receive().ok);
    }
    origin_.OpenGate();
    gfsi_store_settle(store_);
}

TEST_F(Server, DrainFinishesWhatIsInProgress)
{
    Start();

    DataClient c(port_);

    origin_.CloseGate();
    ASSERT_TRUE(c.Request(GFS_DATA_READ, 1, Target(1, 1000, 0, 1000)));
    origin_.WaitForFetches(1);

    std::thread drainer([&] { gfsi_server_drain(server_, gfs_clock_mono() + 60 * GFS_NS_PER_S); });

    origin_.OpenGate();
    EXPECT_EQ(Expected(0, 1000), c.Receive().body);
    drainer.join();
    Stop();
    EXPECT_TRUE(c.Closed());

    DataClient late(port_);

    EXPECT_FALSE(late.Connected());
    EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(Server, StopWhileTheOriginHangsAnswersNobodyButEnds)
{
    Start();

    DataClient c(port_);

    origin_.CloseGate();
    ASSERT_TRUE(c.Request(GFS_DATA_READ, 1, Target(1, 1000, 0, 1000)));
    origin_.WaitForFetches(1);
    gfsi_server_drain(server_, gfs_clock_mono()); // no patience

    std::thread opener([&] { origin_.OpenGate(); });

    Stop();
    opener.join();
}

TEST_F(Server, VanishedFileIsFetchedAgain)
{
    Start();

    DataClient c(port_);

    store_config_.open_files = 0;
    ASSERT_EQ(0, c.Call(GFS_DATA_READ, 1, Target(1, 1000, 0, 1000)).header.status);
    gfsi_store_settle(store_);
    Stop();
    Start();
    for (const auto &e : std::filesystem::recursive_directory_iterator(dir_ + "/w/extents")) {
        if (e.is_regular_file()) {
            std::filesystem::remove(e.path());
        }
    }

    DataClient again(port_);

    EXPECT_EQ(GFS_EABORTED, again.Call(GFS_DATA_READ, 1, Target(1, 1000, 0, 1000)).header.status);
    EXPECT_EQ(Expected(0, 1000), again.Call(GFS_DATA_READ, 2, Target(1, 1000, 0, 1000)).body);
}

TEST_F(Server, PortInUseNamesIt)
{
    Start();

    std::string address = "127.0.0.1:" + std::to_string(port_);
    gfsi_server_config config = server_config_;
    gfsi_server *other = nullptr;

    config.address = address.c_str();
    config.local_socket = "";
    EXPECT_EQ(GFS_EBUSY, gfsi_server_start(&config, &other, &err_));
    EXPECT_EQ("address " + address + " is in use by another process", err_.text);
    config.address = "127.0.0.1:0";
    config.local_socket = socket_.c_str();
    EXPECT_EQ(GFS_EBUSY, gfsi_server_start(&config, &other, &err_));
    EXPECT_NE(nullptr, strstr(err_.text, socket_.c_str())) << err_.text;
}

TEST_F(Server, SocketFileLeftBehindIsReplacedAndOtherFilesAreNot)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un addr = {};

    addr.sun_family = AF_UNIX;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", socket_.c_str());
    ASSERT_EQ(0, bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)));
    close(fd);
    Start();
    EXPECT_TRUE(DataClient(socket_).Connected());
    Stop();
    std::ofstream(socket_.c_str()) << "precious";
    ASSERT_EQ(0, gfsi_store_open(&store_config_, &store_, &err_)) << err_.text;
    server_config_.store = store_;
    EXPECT_EQ(GFS_EEXIST, gfsi_server_start(&server_config_, &server_, &err_));
    EXPECT_TRUE(std::filesystem::exists(socket_));
}

} // namespace
