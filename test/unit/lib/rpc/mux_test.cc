// Calls of one channel that share a stream.
#include <atomic>
#include <memory>
#include <thread>

#include "unit/lib/rpc/echo.h"

extern "C" bool gfsi_mux_is_up(gfs_rpc_channel *channel);

namespace
{

constexpr char kPath[] = "/goosefs.v1.Calls/Multiplex";

gfs_rpc_server_opts ServerOpts(unsigned max_calls = 0)
{
    gfs_rpc_server_opts opts = {};
    opts.multiplex = true;
    opts.max_calls = max_calls;
    return opts;
}

gfs_rpc_channel_opts ChannelOpts(size_t max_message = 0)
{
    gfs_rpc_channel_opts opts = {};
    opts.multiplex = true;
    opts.max_message = max_message;
    opts.max_async = 8192;
    return opts;
}

// Makes calls until they share the stream.
void RaiseStream(Channel *channel)
{
    const int64_t limit = In(kLong);
    while (!gfsi_mux_is_up(channel->get())) {
        ASSERT_LT(gfs_clock_mono(), limit);
        const int rc = channel->Say("x");
        ASSERT_TRUE(rc == 0 || rc == GFS_EUNAVAIL) << channel->err.text;
    }
}

// Calls under way; counts how they end.
struct Calls {
    Counter done;
    std::atomic<int> ok{0}, busy{0}, unavailable{0}, late{0}, cancelled{0}, other{0};
    std::atomic<size_t> bytes{0};

    static void Done(void *arg, const gfs_rpc_result *result, ProtobufCMessage *response)
    {
        auto *self = static_cast<Calls *>(arg);
        EXPECT_EQ(result->code == 0, response != nullptr);
        switch (result->code) {
        case 0: self->ok++; break;
        case GFS_EBUSY: self->busy++; break;
        case GFS_EUNAVAIL: self->unavailable++; break;
        case GFS_ETIMEOUT: self->late++; break;
        case GFS_ECANCELLED: self->cancelled++; break;
        default: self->other++; break;
        }
        if (response != nullptr) {
            self->bytes += reinterpret_cast<Goosefs__Test__SayResponse *>(response)->payload.len;
            protobuf_c_message_free_unpacked(response, nullptr);
        }
        self->done.Add();
    }

    void Start(Channel *channel, const char *method, int n, int64_t deadline = In(kLong),
               uint32_t response_bytes = 0)
    {
        for (int i = 0; i < n; i++) {
            Goosefs__Test__SayRequest request = GOOSEFS__TEST__SAY_REQUEST__INIT;
            request.response_bytes = response_bytes;
            gfs_err err = GFS_ERR_INIT;
            ASSERT_EQ(gfs_rpc_call_async(channel->get(), &goosefs__test__echo__descriptor, method,
                                         &request.base, deadline, Done, this, &err),
                      0)
                << err.text;
        }
    }
};

// Speaks to the stream without the wrapper's client.
struct RawStream {
    Counter opened, closed, received, unblock;
    std::atomic<int> code{0};
    std::atomic<bool> block{false};
    gfs_rpc_stream *stream = nullptr;

    explicit RawStream(Channel *channel)
    {
        const gfs_rpc_stream_client callbacks = {
            [](gfs_rpc_stream *, void *user) { static_cast<RawStream *>(user)->opened.Add(); },
            [](gfs_rpc_stream *, void *user, const void *, size_t) {
                auto *self = static_cast<RawStream *>(user);
                if (self->block) {
                    EXPECT_TRUE(self->unblock.WaitFor(1));
                }
                self->received.Add();
            },
            [](gfs_rpc_stream *, void *user, int why, const char *) {
                auto *self = static_cast<RawStream *>(user);
                self->code = why;
                self->closed.Add();
            }};
        EXPECT_EQ(
            gfs_rpc_stream_open(channel->get(), kPath, nullptr, &callbacks, this, &stream, nullptr),
            0);
        EXPECT_TRUE(opened.WaitFor(1));
    }
    ~RawStream()
    {
        gfs_rpc_stream_close(stream);
        EXPECT_TRUE(closed.WaitFor(1));
        gfs_rpc_stream_unref(stream);
    }
    int Send(const std::string &bytes)
    {
        return gfs_rpc_stream_send(stream, bytes.data(), bytes.size());
    }
};

std::string CallFrame(uint32_t id, const std::string &path, const std::string &request)
{
    std::string frame(16, '\0');
    frame[0] = 1;
    frame[1] = static_cast<char>(path.size());
    frame[4] = static_cast<char>(id & 0xff);
    frame[5] = static_cast<char>(id >> 8 & 0xff);
    return frame + path + request;
}

} // namespace

TEST(Multiplexed, CallsEndAsUnaryOnesDo)
{
    EchoServer server(ServerOpts());
    Channel unary(server.target());
    Channel shared(server.target(), ChannelOpts());
    RaiseStream(&shared);

    struct {
        int code, status;
        const char *text, *leader;
    } cases[] = {
        {GFS_ENOTLEADER, 0, "ask another", "m2:26000"},
        {GFS_ENOSPC, 0, "", ""},
        {GFS_EUNKNOWN, 0, "tab\tbell\a", ""},
        {0, 12, "no", "m1:1"},
        {0, 16, "", ""},
    };
    for (const auto &c : cases) {
        const int code = unary.Fail(c.code, c.status, c.text, c.leader);
        EXPECT_EQ(shared.Fail(c.code, c.status, c.text, c.leader), code);
        EXPECT_EQ(shared.result.grpc_status, unary.result.grpc_status);
        EXPECT_STREQ(shared.result.leader, unary.result.leader);
        EXPECT_STREQ(shared.err.text, unary.err.text);
    }
    std::string out;
    EXPECT_EQ(shared.Say("hello", &out), 0);
    EXPECT_EQ(out, "hello");
    EXPECT_EQ(shared.Say("", &out), 0);
    EXPECT_EQ(out, "");
    EXPECT_EQ(shared.Say("x", nullptr, In(kLong), "Unserved"), GFS_EUNSUPPORTED);
    EXPECT_NE(server.last_peer(), "");
    EXPECT_TRUE(gfsi_mux_is_up(shared.get()));
}

TEST(Multiplexed, AFewCallsOpenNoStream)
{
    EchoServer server(ServerOpts());
    Channel channel(server.target(), ChannelOpts());
    EXPECT_EQ(channel.Say("x"), 0);
    EXPECT_EQ(channel.Say("x"), 0);
    EXPECT_FALSE(gfsi_mux_is_up(channel.get()));
    RaiseStream(&channel);
}

TEST(Multiplexed, LargeMessagesPassAndLimitsHold)
{
    EchoServer server(ServerOpts());
    Channel channel(server.target(), ChannelOpts(1 << 20));
    RaiseStream(&channel);
    std::string out;
    for (const size_t size : {65000, 65536, 65537, 131072, 1000000}) {
        const std::string payload(size, 'p');
        EXPECT_EQ(channel.Say(payload, &out), 0) << size << channel.err.text;
        EXPECT_EQ(out, payload);
        EXPECT_EQ(channel.Say("", &out, In(kLong), "Say", static_cast<uint32_t>(size)), 0) << size;
        EXPECT_EQ(out.size(), size);
    }
    EXPECT_EQ(channel.Say("", &out, In(kLong), "Say", 2 << 20), GFS_EBUSY) << channel.err.text;
    EXPECT_EQ(channel.Say("", &out, In(kLong), "Say", 5 << 20), GFS_EBUSY) << channel.err.text;
    EXPECT_EQ(channel.Say("after", &out), 0) << channel.err.text;
    EXPECT_EQ(out, "after");
    EXPECT_TRUE(gfsi_mux_is_up(channel.get()));
}

TEST(Multiplexed, ManyThreadsAndCallbacksGetTheirOwnAnswers)
{
    EchoServer server(ServerOpts());
    Channel shared(server.target(), ChannelOpts());
    RaiseStream(&shared);
    Calls calls;
    std::vector<std::thread> threads;
    for (int t = 0; t < 16; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 200; i++) {
                Goosefs__Test__SayRequest request = GOOSEFS__TEST__SAY_REQUEST__INIT;
                std::string payload = std::to_string(t) + ":" + std::to_string(i);
                payload.resize(static_cast<size_t>(i), '.');
                request.payload.data = reinterpret_cast<uint8_t *>(payload.data());
                request.payload.len = payload.size();
                ProtobufCMessage *message = nullptr;
                gfs_err err = GFS_ERR_INIT;
                ASSERT_EQ(gfs_rpc_call_sync(shared.get(), &goosefs__test__echo__descriptor, "Say",
                                            &request.base, &message, In(kLong), &err),
                          0)
                    << err.text;
                const auto *say = reinterpret_cast<Goosefs__Test__SayResponse *>(message);
                EXPECT_EQ(
                    std::string(reinterpret_cast<char *>(say->payload.data), say->payload.len),
                    payload);
                protobuf_c_message_free_unpacked(message, nullptr);
            }
        });
    }
    calls.Start(&shared, "Say", 2000, In(kLong), 10);
    for (auto &thread : threads) {
        thread.join();
    }
    ASSERT_TRUE(calls.done.WaitFor(2000));
    EXPECT_EQ(calls.ok, 2000);
    EXPECT_EQ(calls.bytes, 20000U);
}

TEST(Multiplexed, ADeadlineEndsTheCallOnBothSides)
{
    EchoServer server(ServerOpts());
    server.reply_on_cancel = true;
    Channel channel(server.target(), ChannelOpts());
    RaiseStream(&channel);

    EXPECT_EQ(channel.Say("x", nullptr, In(20 * GFS_NS_PER_MS), "Hold"), GFS_ETIMEOUT);
    EXPECT_EQ(channel.result.grpc_status, 4);
    ASSERT_TRUE(server.cancelled.WaitFor(1));

    Calls calls;
    calls.Start(&channel, "Hold", 10, In(20 * GFS_NS_PER_MS));
    calls.Start(&channel, "Hold", 1, In(40 * GFS_NS_PER_MS));
    ASSERT_TRUE(calls.done.WaitFor(11));
    EXPECT_EQ(calls.late, 11);
    ASSERT_TRUE(server.cancelled.WaitFor(12));
    ASSERT_TRUE(server.released.WaitFor(12));
    EXPECT_EQ(channel.Say("x", nullptr, gfs_clock_mono() - 1), GFS_ETIMEOUT);
    EXPECT_TRUE(gfsi_mux_is_up(channel.get()));
}

TEST(Multiplexed, AServerThatDoesNotKnowItGetsUnaryCalls)
{
    EchoServer server;
    Channel channel(server.target(), ChannelOpts());
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(channel.Say("x"), 0) << channel.err.text;
    }
    EXPECT_FALSE(gfsi_mux_is_up(channel.get()));
}

TEST(Multiplexed, OverloadIsAnsweredAndNothingIsLost)
{
    EchoServer server(ServerOpts(4));
    Channel channel(server.target(), ChannelOpts());
    RaiseStream(&channel);
    Calls calls;
    calls.Start(&channel, "Hold", 10);
    ASSERT_TRUE(calls.done.WaitFor(6));
    EXPECT_EQ(calls.busy, 6);
    EXPECT_EQ(gfs_rpc_server_running(server.get()), 4U);
    server.ReleaseHeld();
    ASSERT_TRUE(calls.done.WaitFor(10));
    EXPECT_EQ(calls.ok, 4);
}

TEST(Multiplexed, CallsBeyondTheTableAreUnaryOnes)
{
    EchoServer server(ServerOpts());
    Channel channel(server.target(), ChannelOpts());
    RaiseStream(&channel);
    Calls calls;
    calls.Start(&channel, "Hold", 1500);
    ASSERT_TRUE(server.held.WaitFor(1500));
    EXPECT_EQ(channel.Say("x"), 0) << channel.err.text;
    server.ReleaseHeld();
    ASSERT_TRUE(calls.done.WaitFor(1500));
    EXPECT_EQ(calls.ok, 1500);
}

TEST(Multiplexed, StopLetsRunningCallsFinishAndRefusesLaterOnes)
{
    auto server = std::make_unique<EchoServer>(ServerOpts());
    server->reply_on_cancel = false;
    Channel channel(server->target(), ChannelOpts());
    RaiseStream(&channel);
    Calls calls;
    calls.Start(&channel, "Hold", 100);
    ASSERT_TRUE(server->held.WaitFor(100));

    std::thread stop([&] { server->Stop(In(kLong)); });
    while (gfsi_mux_is_up(channel.get())) { /* until the client was told */
        std::this_thread::yield();
    }
    EXPECT_EQ(channel.Say("x"), GFS_EUNAVAIL) << channel.err.text;
    server->ReleaseHeld();
    stop.join();
    ASSERT_TRUE(calls.done.WaitFor(100));
    EXPECT_EQ(calls.ok, 100);
}

TEST(Multiplexed, StopWithoutTimeCancelsWhatRuns)
{
    EchoServer server(ServerOpts());
    server.reply_on_cancel = false;
    Channel channel(server.target(), ChannelOpts());
    RaiseStream(&channel);
    Calls calls;
    calls.Start(&channel, "Hold", 50);
    ASSERT_TRUE(server.held.WaitFor(50));
    server.Stop(0);
    EXPECT_EQ(server.cancelled.value(), 50);
    server.ReleaseHeld(); /* goes nowhere */
    ASSERT_TRUE(server.released.WaitFor(50));
    ASSERT_TRUE(calls.done.WaitFor(50));
    EXPECT_EQ(calls.unavailable, 50);
}

TEST(Multiplexed, ABrokenStreamEndsItsCallsAndAnotherOneOpens)
{
    auto server = std::make_unique<EchoServer>(ServerOpts());
    const std::string target = server->target();
    Channel channel(target, ChannelOpts());
    for (int round = 0; round < 3; round++) {
        RaiseStream(&channel);
        std::thread caller([&] {
            Goosefs__Test__SayRequest request = GOOSEFS__TEST__SAY_REQUEST__INIT;
            ProtobufCMessage *message = nullptr;
            EXPECT_EQ(gfs_rpc_call_sync(channel.get(), &goosefs__test__echo__descriptor, "Hold",
                                        &request.base, &message, In(kLong), nullptr),
                      GFS_EUNAVAIL);
        });
        ASSERT_TRUE(server->held.WaitFor(1));
        server->Free();
        caller.join();
        EXPECT_EQ(channel.Say("x"), GFS_EUNAVAIL);
        server = std::make_unique<EchoServer>(ServerOpts(), target);
    }
}

TEST(Multiplexed, ClosingTheChannelCancelsItsCallsOnly)
{
    EchoServer server(ServerOpts());
    Channel first(server.target(), ChannelOpts());
    Channel second(server.target(), ChannelOpts());
    RaiseStream(&first);
    RaiseStream(&second);
    Calls closed, kept;
    closed.Start(&first, "Hold", 20);
    kept.Start(&second, "Hold", 20);
    ASSERT_TRUE(server.held.WaitFor(40));

    gfs_rpc_channel_close(first.get());
    ASSERT_TRUE(closed.done.WaitFor(20));
    EXPECT_EQ(closed.cancelled, 20);
    EXPECT_EQ(first.Say("x"), GFS_ECANCELLED);
    ASSERT_TRUE(server.cancelled.WaitFor(20));
    EXPECT_EQ(kept.done.value(), 0);

    server.ReleaseHeld();
    ASSERT_TRUE(kept.done.WaitFor(20));
    EXPECT_EQ(kept.ok, 20);
    EXPECT_EQ(second.Say("x"), 0);
}

TEST(Multiplexed, TwoServersInOneProcessDoNotMeet)
{
    auto a = std::make_unique<EchoServer>(ServerOpts());
    EchoServer b(ServerOpts());
    Channel to_a(a->target(), ChannelOpts());
    Channel to_b(b.target(), ChannelOpts());
    RaiseStream(&to_a);
    RaiseStream(&to_b);
    Calls calls;
    calls.Start(&to_b, "Hold", 10);
    ASSERT_TRUE(b.held.WaitFor(10));
    a.reset();
    EXPECT_EQ(to_a.Say("x"), GFS_EUNAVAIL);
    EXPECT_EQ(to_b.Say("x"), 0);
    b.ReleaseHeld();
    ASSERT_TRUE(calls.done.WaitFor(10));
    EXPECT_EQ(calls.ok, 10);
}

TEST(Multiplexed, WhatIsNoFrameEndsTheStreamAndNothingElse)
{
    EchoServer server(ServerOpts());
    Channel channel(server.target());
    const std::string reply("\x03\0\0\0\x01\0\0\0", 8), goaway("\x04\0\0\0\0\0\0\0", 8);
    for (const std::string &bytes :
         {std::string(), std::string("x"), std::string(8, '\xff'), reply, goaway,
          CallFrame(1, "/p", "").substr(0, 17), CallFrame(1, "", "")}) {
        RawStream raw(&channel);
        ASSERT_EQ(raw.Send(bytes), 0);
        EXPECT_TRUE(raw.closed.WaitFor(1));
        EXPECT_EQ(raw.code, GFS_EUNAVAIL);
    }
    RawStream raw(&channel);
    ASSERT_EQ(raw.Send(CallFrame(1, "/goosefs.test.Echo/Nope", "")), 0);
    ASSERT_EQ(raw.Send(CallFrame(2, kPath, "")), 0);                        /* itself a stream */
    ASSERT_EQ(raw.Send(CallFrame(3, "/goosefs.test.Echo/Say", "\xff")), 0); /* does not parse */
    ASSERT_EQ(raw.Send(CallFrame(3, "/goosefs.test.Echo/Say", "")), 0);
    EXPECT_TRUE(raw.received.WaitFor(4));
    EXPECT_EQ(raw.closed.value(), 0);
}

TEST(Multiplexed, AClientThatDoesNotReadIsNotListenedTo)
{
    constexpr int kCalls = 300;
    EchoServer server(ServerOpts());
    Channel other(server.target());
    Channel channel(server.target());
    RawStream raw(&channel);
    raw.block = true;
    /* response_bytes = 100000, and a payload so that few calls share a message */
    const std::string request =
        std::string("\x10\xa0\x8d\x06\x0a\x80\x80\x01", 8) + std::string(16384, 'p');
    for (uint32_t i = 0; i < kCalls; i++) {
        ASSERT_EQ(raw.Send(CallFrame(i, "/goosefs.test.Echo/Say", request)), 0);
    }
    ASSERT_TRUE(server.said_large.WaitFor(1));

    /* Until the server does not come forward while others are served. */
    int before;
    do {
        before = server.said_large.value();
        for (int i = 0; i < 200; i++) {
            ASSERT_EQ(other.Say("x"), 0);
        }
    } while (server.said_large.value() > before);
    EXPECT_LT(before, kCalls);

    raw.block = false;
    raw.unblock.Add();
    EXPECT_TRUE(raw.received.WaitFor(2 * kCalls)); /* two pieces each */
}
