#include <atomic>
#include <memory>
#include <thread>

#include "unit/lib/rpc/echo.h"

namespace
{

struct Async {
    Counter done;
    std::atomic<int> ok{0};
    std::atomic<int> last_code{0};

    static void Done(void *arg, const gfs_rpc_result *result, ProtobufCMessage *response)
    {
        auto *self = static_cast<Async *>(arg);
        EXPECT_EQ(result->code == 0, response != nullptr);
        self->ok += result->code == 0 ? 1 : 0;
        self->last_code = result->code;
        if (response != nullptr) {
            protobuf_c_message_free_unpacked(response, nullptr);
        }
        self->done.Add();
    }

    int Start(gfs_rpc_channel *channel, const char *method, int64_t deadline = In(kLong),
              gfs_err *err = nullptr)
    {
        Goosefs__Test__SayRequest request = GOOSEFS__TEST__SAY_REQUEST__INIT;
        return gfs_rpc_call_async(channel, &goosefs__test__echo__descriptor, method, &request.base,
                                  deadline, Done, this, err);
    }
};

// An address nobody listens on.
std::string Nowhere()
{
    EchoServer server;
    return server.target();
}

} // namespace

TEST(ClientCall, RefusedConnectionIsUnavailableAtOnceAndNamesTheTarget)
{
    const std::string target = Nowhere();
    Channel channel(target);
    const int64_t deadline = In(kLong);
    EXPECT_EQ(channel.Say("x", nullptr, deadline), GFS_EUNAVAIL);
    EXPECT_LT(gfs_clock_mono(), deadline);
    EXPECT_NE(std::string(channel.err.text).find(target), std::string::npos) << channel.err.text;

    Channel unix_channel("unix:///no/such/socket");
    EXPECT_EQ(unix_channel.Say("x"), GFS_EUNAVAIL) << unix_channel.err.text;
}

TEST(ClientCall, BadTargetsAreRefused)
{
    for (const char *target : {"", "x", "host:", "host:99999", ":26000", "unix:relative"}) {
        gfs_rpc_channel *channel = nullptr;
        gfs_err err = GFS_ERR_INIT;
        EXPECT_EQ(gfs_rpc_channel_new(target, nullptr, &channel, &err), GFS_EINVAL) << target;
        EXPECT_EQ(channel, nullptr);
    }
}

TEST(ClientCall, WaitForReadyWaitsForTheServer)
{
    const std::string target = Nowhere();
    gfs_rpc_channel_opts opts = {};
    opts.wait_for_ready = true;
    Channel channel(target, opts);
    EXPECT_EQ(channel.Say("x", nullptr, In(100 * GFS_NS_PER_MS)), GFS_ETIMEOUT);

    std::thread caller([&] { EXPECT_EQ(channel.Say("x"), 0) << channel.err.text; });
    EchoServer server({}, target);
    caller.join();
}

TEST(ClientCall, AWrongRequestTypeOrMethodIsInvalid)
{
    EchoServer server;
    Channel channel(server.target());
    Goosefs__Test__FailRequest request = GOOSEFS__TEST__FAIL_REQUEST__INIT;
    ProtobufCMessage *response = nullptr;
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(gfs_rpc_call_sync(channel.get(), &goosefs__test__echo__descriptor, "Say",
                                &request.base, &response, In(kLong), &err),
              GFS_EINVAL);
    EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "NoSuchMethod"), GFS_EINVAL);
}

TEST(ClientCall, AsyncCallsComeBackOnceEach)
{
    EchoServer server;
    Channel channel(server.target());
    Async async;
    for (int i = 0; i < 200; i++) {
        ASSERT_EQ(async.Start(channel.get(), "Say"), 0);
    }
    ASSERT_TRUE(async.done.WaitFor(200));
    EXPECT_EQ(async.ok, 200);
}

TEST(ClientCall, AsyncIsBounded)
{
    EchoServer server;
    gfs_rpc_channel_opts opts = {};
    opts.max_async = 3;
    Channel channel(server.target(), opts);
    Async async;
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(async.Start(channel.get(), "Hold"), 0);
    }
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(async.Start(channel.get(), "Say", In(kLong), &err), GFS_EBUSY);
    EXPECT_STRNE(err.text, "");
    ASSERT_TRUE(server.held.WaitFor(3));
    server.ReleaseHeld();
    ASSERT_TRUE(async.done.WaitFor(3));
}

TEST(ClientCall, FreeingTheChannelEndsAsyncCalls)
{
    EchoServer server;
    Async async;
    {
        Channel channel(server.target());
        for (int i = 0; i < 5; i++) {
            ASSERT_EQ(async.Start(channel.get(), "Hold"), 0);
        }
        ASSERT_TRUE(server.held.WaitFor(5));
    }
    EXPECT_EQ(async.done.value(), 5);
    EXPECT_EQ(async.ok, 0);
    EXPECT_EQ(async.last_code, GFS_ECANCELLED);
    EXPECT_TRUE(server.cancelled.WaitFor(5));
}

TEST(ClientCall, AsyncErrorsAndDeadlinesReachTheCallback)
{
    Async async;
    {
        Channel channel(Nowhere());
        ASSERT_EQ(async.Start(channel.get(), "Say"), 0);
        ASSERT_TRUE(async.done.WaitFor(1));
        EXPECT_EQ(async.last_code, GFS_EUNAVAIL);
    }
    EchoServer server;
    Channel channel(server.target());
    ASSERT_EQ(async.Start(channel.get(), "Hold", In(50 * GFS_NS_PER_MS)), 0);
    ASSERT_TRUE(async.done.WaitFor(2));
    EXPECT_EQ(async.last_code, GFS_ETIMEOUT);
}

TEST(ClientCall, ServerDeathFailsCallsInFlight)
{
    auto server = std::make_unique<EchoServer>();
    Channel channel(server->target());
    std::thread caller([&] { EXPECT_LT(channel.Say("x", nullptr, In(kLong), "Hold"), 0); });
    ASSERT_TRUE(server->held.WaitFor(1));
    server.reset();
    caller.join();
}

// gRPC by itself looks after its sockets every 5 s only while no thread waits in a queue.
TEST(ClientCall, ReconnectsBetweenCallsSoonAfterTheServerIsThere)
{
    const std::string target = Nowhere();
    Channel channel(target);
    ASSERT_EQ(channel.Say("x"), GFS_EUNAVAIL);
    EchoServer server({}, target);
    gfs_rpc_retry retry;
    gfs_rpc_retry_init(&retry, In(kLong), nullptr);
    int rc;
    do {
        rc = channel.Say("x");
    } while (gfs_rpc_retry_again(&retry, rc));
    EXPECT_EQ(rc, 0) << channel.err.text;
    EXPECT_LE(retry.tries, 7u); // 20 ms doubling: about two seconds
}
