#include "unit/lib/rpc/echo.h"

TEST(Rpc, InitAndShutdownNest)
{
    for (int i = 0; i < 3; i++) {
        gfs_rpc_init();
        gfs_rpc_init();
        gfs_rpc_shutdown();
        {
            EchoServer server;
            Channel channel(server.target());
            EXPECT_EQ(channel.Say("x"), 0);
        }
        gfs_rpc_shutdown();
    }
}

TEST(Rpc, StatusNamesAreTheCanonicalOnes)
{
    EXPECT_STREQ(gfs_rpc_status_name(0), "OK");
    EXPECT_STREQ(gfs_rpc_status_name(3), "INVALID_ARGUMENT");
    EXPECT_STREQ(gfs_rpc_status_name(16), "UNAUTHENTICATED");
    EXPECT_STREQ(gfs_rpc_status_name(-1), "UNKNOWN");
    EXPECT_STREQ(gfs_rpc_status_name(17), "UNKNOWN");
}

// A nested sub-message costs two bytes on the wire and a structure in memory: the budget answers.
TEST(Rpc, AMessageThatUnfoldsIntoTooMuchMemoryIsRefused)
{
    gfs_rpc_server *server = nullptr;
    gfs_rpc_server_opts opts = {};
    opts.max_message = 2 << 20;
    ASSERT_EQ(gfs_rpc_server_new(&opts, &server, nullptr), 0);
    uint16_t port = 0;
    ASSERT_EQ(gfs_rpc_server_listen(server, "127.0.0.1:0", nullptr, 0, &port, nullptr), 0);
    const ProtobufCMethodDescriptor method = {"Take", &goosefs__test__many__descriptor,
                                              &goosefs__test__many__descriptor};
    const unsigned index[] = {0};
    const ProtobufCServiceDescriptor service = {PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,
                                                "goosefs.test.Many",
                                                "Many",
                                                "many",
                                                "goosefs.test",
                                                1,
                                                &method,
                                                index};
    const gfs_rpc_method methods[] = {
        {"Take", [](gfs_rpc_call *call, const ProtobufCMessage *request,
                    void *) { gfs_rpc_reply(call, request); }},
        {nullptr, nullptr}};
    ASSERT_EQ(gfs_rpc_server_add_service(server, &service, methods, nullptr, nullptr), 0);
    ASSERT_EQ(gfs_rpc_server_start(server, nullptr), 0);

    const std::string target = "127.0.0.1:" + std::to_string(port);
    std::string empty_items;
    for (int i = 0; i < 1000000; i++) {
        empty_items += std::string("\x0a\x00", 2);
    }
    EXPECT_EQ(RawCall(target, "/goosefs.test.Many/Take", empty_items.substr(0, 20000)).status, 0);
    EXPECT_EQ(RawCall(target, "/goosefs.test.Many/Take", empty_items).status, 3);
    gfs_rpc_server_free(server);
}
