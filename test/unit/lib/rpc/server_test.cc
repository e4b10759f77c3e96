#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <thread>

#include "unit/lib/rpc/echo.h"

namespace
{

int Listen(const std::string &address, gfs_err *err, const gfs_hosts *hosts = nullptr)
{
    gfs_rpc_server *server = nullptr;
    EXPECT_EQ(gfs_rpc_server_new(nullptr, &server, nullptr), 0);
    *err = GFS_ERR_INIT;
    const int rc = gfs_rpc_server_listen(server, address.c_str(), hosts, 0, nullptr, err);
    gfs_rpc_server_free(server);
    return rc;
}

// Leaves a socket file behind, as a killed process does.
void MakeStaleSocket(const std::string &path)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un addr = {};
    addr.sun_family = AF_UNIX;
    path.copy(addr.sun_path, sizeof(addr.sun_path) - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    close(fd);
}

} // namespace

TEST(Server, ServesUnixSocketWithItsModeAndRemovesItAtTheEnd)
{
    TempDir dir;
    const std::string path = dir / "csi.sock";
    {
        EchoServer server({}, "unix://" + path);
        struct stat st;
        ASSERT_EQ(stat(path.c_str(), &st), 0);
        EXPECT_EQ(st.st_mode & 0777, 0600u);
        Channel channel(server.target());
        EXPECT_EQ(channel.Say("x"), 0) << channel.err.text;
        EXPECT_EQ(server.last_peer().rfind("unix:", 0), 0u) << server.last_peer();
    }
    EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(Server, TakesAStaleSocketOver)
{
    TempDir dir;
    MakeStaleSocket(dir / "s");
    EchoServer server({}, "unix://" + (dir / "s"));
    Channel channel(server.target());
    EXPECT_EQ(channel.Say("x"), 0);
}

TEST(Server, LeavesALiveSocketAlone)
{
    TempDir dir;
    EchoServer server({}, "unix://" + (dir / "s"));
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Listen("unix://" + (dir / "s"), &err), GFS_EBUSY);
    EXPECT_NE(std::string(err.text).find("listening on"), std::string::npos) << err.text;
    Channel channel(server.target());
    EXPECT_EQ(channel.Say("x"), 0);
}

TEST(Server, LeavesOtherFilesAlone)
{
    TempDir dir;
    close(open((dir / "f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Listen("unix://" + (dir / "f"), &err), GFS_EEXIST);
    EXPECT_EQ(access((dir / "f").c_str(), F_OK), 0);
    EXPECT_EQ(Listen("unix://" + (dir / "no/such/dir/s"), &err) < 0, true);
    EXPECT_EQ(Listen("unix:///" + std::string(200, 'x'), &err), GFS_ENAMETOOLONG);
}

TEST(Server, APortInUseIsNamed)
{
    EchoServer server;
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(Listen(server.target(), &err), GFS_EBUSY);
    EXPECT_NE(std::string(err.text).find("in use"), std::string::npos) << err.text;
    EXPECT_NE(std::string(err.text).find(server.target()), std::string::npos) << err.text;
}

TEST(Server, BadAddressesAreRefusedWithTheReason)
{
    gfs_err err = GFS_ERR_INIT;
    for (const char *address : {"", ":1", "host", "127.0.0.1:99999", "127.0.0.1:x", "unix:x"}) {
        EXPECT_EQ(Listen(address, &err), GFS_EINVAL) << address;
        EXPECT_STRNE(err.text, "") << address;
    }
    EXPECT_LT(Listen("192.0.2.1:1", &err), 0);
    EXPECT_NE(std::string(err.text).find("192.0.2.1:1"), std::string::npos) << err.text;
}

TEST(Server, NamesComeFromTheHostsTable)
{
    TempDir dir;
    FILE *f = fopen((dir / "hosts").c_str(), "we");
    fputs("127.1.2.3 hbase-master-0\n", f);
    fclose(f);
    gfs_hosts *hosts = nullptr;
    ASSERT_EQ(gfs_hosts_load((dir / "hosts").c_str(), &hosts, nullptr), 0);

    gfs_rpc_server *server = nullptr;
    ASSERT_EQ(gfs_rpc_server_new(nullptr, &server, nullptr), 0);
    uint16_t port = 0;
    gfs_err err = GFS_ERR_INIT;
    ASSERT_EQ(gfs_rpc_server_listen(server, "hbase-master-0:0", hosts, 0, &port, &err), 0)
        << err.text;
    const gfs_rpc_method none[] = {{nullptr, nullptr}};
    ASSERT_EQ(gfs_rpc_server_add_service(server, &goosefs__test__echo__descriptor, none, nullptr,
                                         nullptr),
              0);
    ASSERT_EQ(gfs_rpc_server_start(server, nullptr), 0);
    {
        gfs_rpc_channel_opts opts = {};
        opts.hosts = hosts;
        Channel channel("hbase-master-0:" + std::to_string(port), opts);
        EXPECT_EQ(channel.Say("x"), GFS_EUNSUPPORTED) << channel.err.text;
        Channel direct("127.1.2.3:" + std::to_string(port));
        EXPECT_EQ(direct.Say("x"), GFS_EUNSUPPORTED) << direct.err.text;
    }
    gfs_rpc_server_free(server);
    gfs_hosts_free(hosts);
}

TEST(Server, RefusesMethodsTheServiceDoesNotHaveOrHasTwice)
{
    gfs_rpc_server *server = nullptr;
    ASSERT_EQ(gfs_rpc_server_new(nullptr, &server, nullptr), 0);
    const auto handler = [](gfs_rpc_call *, const ProtobufCMessage *, void *) {};
    const gfs_rpc_method unknown[] = {{"NoSuch", handler}, {nullptr, nullptr}};
    const gfs_rpc_method say[] = {{"Say", handler}, {nullptr, nullptr}};
    const auto *echo = &goosefs__test__echo__descriptor;
    EXPECT_EQ(gfs_rpc_server_add_service(server, echo, unknown, nullptr, nullptr), GFS_EINVAL);
    EXPECT_EQ(gfs_rpc_server_add_service(server, echo, say, nullptr, nullptr), 0);
    EXPECT_EQ(gfs_rpc_server_add_service(server, echo, say, nullptr, nullptr), GFS_EEXIST);
    gfs_rpc_server_free(server);
}

TEST(Server, StartsAndStopsManyTimes)
{
    const int fds_before =
        static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                       std::filesystem::directory_iterator()));
    for (int i = 0; i < 300; i++) {
        EchoServer server;
        if (i % 10 == 0) {
            Channel channel(server.target());
            ASSERT_EQ(channel.Say("x"), 0) << channel.err.text;
        }
    }
    const int fds_after =
        static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                       std::filesystem::directory_iterator()));
    EXPECT_LT(fds_after, fds_before + 20);
}

TEST(Server, NewFreedWithoutStartLeavesNothing)
{
    for (int i = 0; i < 50; i++) {
        gfs_err err = GFS_ERR_INIT;
        ASSERT_EQ(Listen("127.0.0.1:0", &err), 0) << err.text;
    }
}

TEST(Server, TheSamePortServesAgainAfterStop)
{
    auto server = std::make_unique<EchoServer>();
    const std::string target = server->target();
    Channel channel(target);
    ASSERT_EQ(channel.Say("x"), 0);
    for (int i = 0; i < 5; i++) {
        server.reset();
        EXPECT_EQ(channel.Say("x"), GFS_EUNAVAIL) << channel.err.text;
        server = std::make_unique<EchoServer>(gfs_rpc_server_opts{}, target);
        gfs_rpc_retry retry;
        gfs_rpc_retry_init(&retry, In(kLong), nullptr);
        int rc;
        do {
            rc = channel.Say("x");
        } while (gfs_rpc_retry_again(&retry, rc));
        EXPECT_EQ(rc, 0) << channel.err.text;
    }
}

TEST(Server, StopLetsRunningCallsFinish)
{
    EchoServer server;
    Channel channel(server.target());
    std::thread caller([&] { EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "Hold"), 0); });
    ASSERT_TRUE(server.held.WaitFor(1));
    std::thread stopper([&] { server.Stop(In(kLong)); });

    // Once a new connection is refused the stop is under way.
    int rc;
    do {
        Channel other(server.target());
        rc = other.Say("x");
    } while (rc == 0);
    // A connection that meets the shutdown half way is told CANCELLED by gRPC instead of refused.
    EXPECT_TRUE(rc == GFS_EUNAVAIL || rc == GFS_ECANCELLED) << rc;
    EXPECT_EQ(server.n_held(), 1u);
    server.ReleaseHeld();
    caller.join();
    stopper.join();
    EXPECT_EQ(server.cancelled.value(), 0);
}

TEST(Server, StopCancelsWhatDoesNotFinish)
{
    EchoServer server;
    std::vector<std::thread> callers;
    for (int i = 0; i < 10; i++) {
        callers.emplace_back([&] {
            Channel channel(server.target());
            EXPECT_LT(channel.Say("x", nullptr, In(kLong), "Hold"), 0);
        });
    }
    ASSERT_TRUE(server.held.WaitFor(10));
    server.Stop(In(20 * GFS_NS_PER_MS));
    EXPECT_EQ(server.cancelled.value(), 10);
    for (auto &caller : callers) {
        caller.join();
    }
}

TEST(Server, AHandlerMayReplyAfterTheServerIsGone)
{
    EchoServer server;
    server.reply_on_cancel = false;
    {
        Channel channel(server.target());
        std::thread caller([&] { EXPECT_LT(channel.Say("x", nullptr, In(kLong), "Hold"), 0); });
        ASSERT_TRUE(server.held.WaitFor(1));
        server.Free();
        caller.join();
    }
    EXPECT_EQ(server.released.value(), 0);
    server.ReleaseHeld();
    EXPECT_EQ(server.released.value(), 1);
}

TEST(Server, StopWithIdleConnectionsDoesNotWaitForTheDeadline)
{
    EchoServer server;
    Channel channel(server.target());
    ASSERT_EQ(channel.Say("x"), 0);
    const int64_t deadline = In(kLong);
    server.Stop(deadline);
    EXPECT_LT(gfs_clock_mono(), deadline);
}

TEST(Server, ManyThreadsOnManyChannelsAllGetTheirOwnAnswer)
{
    EchoServer server;
    Channel shared(server.target());
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++) {
        threads.emplace_back([&, t] {
            gfs_rpc_channel *channel = shared.get();
            for (int i = 0; i < 100; i++) {
                const std::string payload = std::to_string(t) + ":" + std::to_string(i);
                Goosefs__Test__SayRequest request = GOOSEFS__TEST__SAY_REQUEST__INIT;
                request.payload.data = (uint8_t *)payload.data();
                request.payload.len = payload.size();
                ProtobufCMessage *m = nullptr;
                ASSERT_EQ(gfs_rpc_call_sync(channel, &goosefs__test__echo__descriptor, "Say",
                                            &request.base, &m, In(kLong), nullptr),
                          0);
                auto *response = reinterpret_cast<Goosefs__Test__SayResponse *>(m);
                EXPECT_EQ(std::string(reinterpret_cast<char *>(response->payload.data),
                                      response->payload.len),
                          payload);
                protobuf_c_message_free_unpacked(m, nullptr);
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
}
