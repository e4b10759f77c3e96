#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "unit/lib/rpc/echo.h"

TEST(UnaryCall, EchoesBytesOfAnySize)
{
    EchoServer server;
    Channel channel(server.target());

    for (size_t size : {size_t{0}, size_t{1}, size_t{1000}, size_t{100000}, size_t{4000000}}) {
        const std::string sent(size, 'a');
        std::string got;
        ASSERT_EQ(channel.Say(sent, &got), 0) << channel.err.text;
        EXPECT_EQ(got, sent);
    }
}

TEST(UnaryCall, ErrorKeepsItsExactCodeTextAndLeader)
{
    EchoServer server;
    Channel channel(server.target());

    for (int code = -1; code >= GFS_ESTALE; code--) {
        ASSERT_EQ(channel.Fail(code, 0, "why it failed: 50% done", "hbase-master-1:26000"), code);
        EXPECT_EQ(channel.result.grpc_status, gfs_err_to_grpc(code));
        EXPECT_STREQ(channel.result.leader, "hbase-master-1:26000");
        EXPECT_STREQ(channel.result.text, "why it failed: 50% done");
    }
}

TEST(UnaryCall, PlainStatusMapsToTheNearestError)
{
    EchoServer server;
    Channel channel(server.target());

    for (int status = 1; status <= 16; status++) {
        EXPECT_EQ(channel.Fail(0, status, "s", ""), gfs_err_from_grpc(status));
        EXPECT_EQ(channel.result.grpc_status, status);
        EXPECT_STREQ(channel.result.leader, "");
    }
}

TEST(UnaryCall, UnknownMethodAndUnservedMethodAreUnimplemented)
{
    EchoServer server;
    Channel channel(server.target());

    EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "Unserved"), GFS_EUNSUPPORTED);
    EXPECT_EQ(channel.result.grpc_status, 12);
    EXPECT_EQ(RawCall(server.target(), "/no.such.Service/Method", "").status, 12);
    EXPECT_EQ(RawCall(server.target(), "/goosefs.test.Echo/SayMore", "").status, 12);
    EXPECT_EQ(RawCall(server.target(), "/" + std::string(2000, 'm'), "").status, 12);
}

TEST(UnaryCall, MalformedRequestIsInvalidArgument)
{
    EchoServer server;
    Channel channel(server.target());

    const RawResult result = RawCall(server.target(), "/goosefs.test.Echo/Say", "\x0a\xff\xff\xff");
    EXPECT_EQ(result.status, 3);
    EXPECT_NE(result.text.find("parse"), std::string::npos);
    std::string got;
    EXPECT_EQ(channel.Say("still works", &got), 0);
}

TEST(UnaryCall, TooLargeRequestIsRefusedAndTheConnectionSurvives)
{
    gfs_rpc_server_opts opts = {};
    opts.max_message = 64 << 10;
    EchoServer server(opts);
    Channel channel(server.target());

    EXPECT_EQ(channel.Say(std::string(65 << 10, 'x')), GFS_EBUSY);
    EXPECT_EQ(channel.result.grpc_status, 8) << channel.result.text;
    EXPECT_EQ(channel.Say(std::string(63 << 10, 'x')), 0);
}

TEST(UnaryCall, TooLargeResponseIsAnErrorNotADrop)
{
    gfs_rpc_server_opts opts = {};
    opts.max_message = 64 << 10;
    EchoServer server(opts);
    Channel channel(server.target());

    EXPECT_EQ(channel.Say("", nullptr, In(kLong), "Say", 65 << 10), GFS_EBUSY);
    EXPECT_NE(std::string(channel.err.text).find("response"), std::string::npos);
    EXPECT_EQ(channel.Say("", nullptr, In(kLong), "Say", 63 << 10), 0);
}

TEST(UnaryCall, TooLargeForTheClientIsAnError)
{
    EchoServer server;
    gfs_rpc_channel_opts opts = {};
    opts.max_message = 1000;
    Channel channel(server.target(), opts);

    EXPECT_EQ(channel.Say("", nullptr, In(kLong), "Say", 2000), GFS_EBUSY);
    EXPECT_EQ(channel.Say("", nullptr, In(kLong), "Say", 900), 0);
}

TEST(UnaryCall, DeadlineIsSeenByBothSides)
{
    EchoServer server;
    Channel channel(server.target());

    ASSERT_EQ(channel.Say("warm"), 0);
    const int64_t deadline = In(50 * kSecond);
    ASSERT_EQ(channel.Say("x", nullptr, deadline), 0);
    EXPECT_LT(std::abs(server.last_deadline() - deadline), 40 * kSecond);
    ASSERT_EQ(channel.Say("x", nullptr, GFS_RPC_NO_DEADLINE), 0);
    EXPECT_EQ(server.last_deadline(), GFS_RPC_NO_DEADLINE);

    EXPECT_EQ(channel.Say("x", nullptr, In(kSecond), "Hold"), GFS_ETIMEOUT);
    EXPECT_TRUE(server.cancelled.WaitFor(1));
    EXPECT_TRUE(server.released.WaitFor(1));
    EXPECT_EQ(channel.Say("x", nullptr, gfs_clock_mono() - 1), GFS_ETIMEOUT);
}

TEST(UnaryCall, DeferredReplyComesFromAnotherThread)
{
    EchoServer server;
    Channel channel(server.target());

    std::thread caller([&] { EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "Hold"), 0); });
    ASSERT_TRUE(server.held.WaitFor(1));
    EXPECT_EQ(gfs_rpc_server_running(server.get()), 1u);
    server.ReleaseHeld();
    caller.join();
    EXPECT_TRUE(server.released.WaitFor(1));
    EXPECT_EQ(server.cancelled.value(), 0);
}

TEST(UnaryCall, ClosingTheChannelCancelsTheCallAtTheServer)
{
    EchoServer server;
    Channel channel(server.target());

    std::thread caller(
        [&] { EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "Hold"), GFS_ECANCELLED); });
    ASSERT_TRUE(server.held.WaitFor(1));
    gfs_rpc_channel_close(channel.get());
    caller.join();
    EXPECT_TRUE(server.cancelled.WaitFor(1));
    EXPECT_EQ(channel.Say("x"), GFS_ECANCELLED);
}

TEST(UnaryCall, ReplyAfterCancellationGoesNowhere)
{
    EchoServer server;
    server.reply_on_cancel = false;
    Channel channel(server.target());

    std::thread caller(
        [&] { EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "Hold"), GFS_ECANCELLED); });
    ASSERT_TRUE(server.held.WaitFor(1));
    gfs_rpc_channel_close(channel.get());
    caller.join();
    ASSERT_TRUE(server.cancelled.WaitFor(1));
    server.ReleaseHeld();
    EXPECT_TRUE(server.released.WaitFor(1));
}

TEST(UnaryCall, TooManyCallsAreRefusedAndTheRestServed)
{
    gfs_rpc_server_opts opts = {};
    opts.max_calls = 2;
    EchoServer server(opts);
    Channel a(server.target()), b(server.target()), c(server.target());

    std::thread first([&] { EXPECT_EQ(a.Say("x", nullptr, In(kLong), "Hold"), 0); });
    std::thread second([&] { EXPECT_EQ(b.Say("x", nullptr, In(kLong), "Hold"), 0); });
    ASSERT_TRUE(server.held.WaitFor(2));
    EXPECT_EQ(c.Say("x"), GFS_EBUSY);
    EXPECT_EQ(c.result.grpc_status, 8);
    server.ReleaseHeld();
    first.join();
    second.join();
    ASSERT_TRUE(server.released.WaitFor(2));
    int rc;
    do {
        rc = c.Say("x");
    } while (rc == GFS_EBUSY);
    EXPECT_EQ(rc, 0);
}

TEST(UnaryCall, AnyAuthorityIsAccepted)
{
    EchoServer server;
    for (const char *authority : {"localhost", "unix", "%2Fvar%2Frun%2Fcsi.sock", "a.b.c:1", "-"}) {
        gfs_rpc_channel_opts opts = {};
        opts.authority = authority;
        Channel channel(server.target(), opts);
        EXPECT_EQ(channel.Say("x"), 0) << authority << ": " << channel.err.text;
    }
}

TEST(UnaryCall, PeerNamesTheClient)
{
    EchoServer server;
    Channel channel(server.target());
    ASSERT_EQ(channel.Say("x"), 0);
    EXPECT_EQ(server.last_peer().rfind("ipv4:127.0.0.1:", 0), 0u) << server.last_peer();
}

TEST(UnaryCall, MetricsCountCallsAndErrors)
{
    gfs_metrics *metrics = gfs_metrics_new();
    {
        gfs_rpc_server_opts opts = {};
        opts.metrics = metrics;
        EchoServer server(opts);
        Channel channel(server.target());
        ASSERT_EQ(channel.Say("x"), 0);
        ASSERT_EQ(channel.Say("x"), 0);
        ASSERT_LT(channel.Fail(GFS_EIO, 0, "", ""), 0);
    }
    const auto value = [&](gfs_metric_type type, const char *name, const char *labels) {
        return gfs_metric_value(gfs_metrics_get(metrics, type, name, labels, ""));
    };
    EXPECT_EQ(value(GFS_METRIC_HISTOGRAM, "goosefs_rpc_server_seconds",
                    "method=\"goosefs.test.Echo/Say\""),
              2);
    EXPECT_EQ(value(GFS_METRIC_COUNTER, "goosefs_rpc_server_errors_total",
                    "method=\"goosefs.test.Echo/Fail\""),
              1);
    gfs_metrics_free(metrics);
}

TEST(UnaryCall, TrailersAreLimitedAndChecked)
{
    struct Seen {
        int rc[GFS_RPC_TRAILERS_MAX + 5];
    } seen = {};
    gfs_rpc_server *server = nullptr;
    ASSERT_EQ(gfs_rpc_server_new(nullptr, &server, nullptr), 0);
    uint16_t port = 0;
    ASSERT_EQ(gfs_rpc_server_listen(server, "127.0.0.1:0", nullptr, 0, &port, nullptr), 0);
    const gfs_rpc_method methods[] = {
        {"Say",
         [](gfs_rpc_call *call, const ProtobufCMessage *, void *user) {
             int *rc = static_cast<Seen *>(user)->rc;
             *rc++ = gfs_rpc_call_set_trailer(call, "Upper", "v");
             *rc++ = gfs_rpc_call_set_trailer(call, "grpc-status", "0");
             *rc++ = gfs_rpc_call_set_trailer(call, "k", "line\nbreak");
             *rc++ =
                 gfs_rpc_call_set_trailer(call, "k", std::string(GFS_RPC_TRAILER_MAX, 'x').c_str());
             for (int i = 0; i < GFS_RPC_TRAILERS_MAX + 1; i++) {
                 *rc++ = gfs_rpc_call_set_trailer(call, "k", "v");
             }
             Goosefs__Test__SayResponse response = GOOSEFS__TEST__SAY_RESPONSE__INIT;
             gfs_rpc_reply(call, &response.base);
         }},
        {nullptr, nullptr}};
    ASSERT_EQ(gfs_rpc_server_add_service(server, &goosefs__test__echo__descriptor, methods, &seen,
                                         nullptr),
              0);
    ASSERT_EQ(gfs_rpc_server_start(server, nullptr), 0);
    {
        Channel channel("127.0.0.1:" + std::to_string(port));
        ASSERT_EQ(channel.Say("x"), 0) << channel.err.text;
    }
    server = gfs_rpc_server_free(server);
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ(seen.rc[i], GFS_EINVAL) << i;
    }
    for (int i = 0; i < GFS_RPC_TRAILERS_MAX; i++) {
        EXPECT_EQ(seen.rc[4 + i], 0);
    }
    EXPECT_EQ(seen.rc[4 + GFS_RPC_TRAILERS_MAX], GFS_EBUSY);
}

TEST(UnaryCall, GarbageOnTheSocketDoesNotDisturbOthers)
{
    EchoServer server;
    const int port = std::stoi(server.target().substr(server.target().rfind(':') + 1));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in addr = {};
    addr.sin_family = AF_INET;
    addr.sin_port = htons(static_cast<uint16_t>(port));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), 0);
    const std::string junk = "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(5000, '\xff');
    ASSERT_GT(send(fd, junk.data(), junk.size(), MSG_NOSIGNAL), 0);
    char buf[1024];
    while (recv(fd, buf, sizeof(buf), 0) > 0) {
    }
    close(fd);

    Channel channel(server.target());
    EXPECT_EQ(channel.Say("x"), 0);
}
