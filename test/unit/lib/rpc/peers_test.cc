#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <thread>

#include "unit/lib/rpc/echo.h"

namespace
{

class Peers : public ::testing::Test
{
  protected:
    TempDir dir;
    std::string path = dir / "x.sock";

    // A server for `uids` on the unix socket; its other address is not used.
    std::unique_ptr<EchoServer> Serve(std::vector<uid_t> uids)
    {
        return std::make_unique<EchoServer>(
            gfs_rpc_server_opts{}, "127.0.0.1:0", [this, uids](gfs_rpc_server *server) {
                gfs_err err = GFS_ERR_INIT;
                ASSERT_EQ(gfs_rpc_server_listen_peers(server, ("unix://" + path).c_str(), 0666,
                                                      uids.data(), uids.size(), &err),
                          0)
                    << err.text;
            });
    }
    int Connect()
    {
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path.c_str());
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
        return fd;
    }
};

} // namespace

TEST_F(Peers, TheRightUserIsServed)
{
    auto server = Serve({geteuid() + 1, geteuid()});
    Channel channel("unix://" + path);
    for (int i = 0; i < 3; i++) {
        std::string got;
        ASSERT_EQ(channel.Say("hello", &got), 0) << channel.err.text;
        EXPECT_EQ(got, "hello");
    }
    struct stat st;
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0666u);
    server.reset();
    EXPECT_NE(stat(path.c_str(), &st), 0) << "the socket went with its server";
}

TEST_F(Peers, OthersAreCutOff)
{
    auto server = Serve({geteuid() + 1});
    for (int i = 0; i < 3; i++) {
        int fd = Connect();
        char byte;
        EXPECT_LE(read(fd, &byte, 1), 0) << "closed without a word";
        close(fd);
    }
}

TEST_F(Peers, ACallIsFinishedWhenTheServerStops)
{
    auto server = Serve({geteuid()});
    Channel channel("unix://" + path);
    std::thread caller(
        [&] { EXPECT_EQ(channel.Say("x", nullptr, In(kLong), "Hold"), 0) << channel.err.text; });
    ASSERT_TRUE(server->held.WaitFor(1));
    std::thread stopper([&] { server->Stop(In(kLong)); });
    server->ReleaseHeld();
    caller.join();
    stopper.join();
}

TEST_F(Peers, AnotherAddressOrNobodyIsRefused)
{
    gfs_rpc_server *server = nullptr;
    ASSERT_EQ(gfs_rpc_server_new(nullptr, &server, nullptr), 0);
    uid_t uid = 0;
    EXPECT_EQ(gfs_rpc_server_listen_peers(server, "127.0.0.1:0", 0600, &uid, 1, nullptr),
              GFS_EINVAL);
    EXPECT_EQ(
        gfs_rpc_server_listen_peers(server, ("unix://" + path).c_str(), 0600, &uid, 0, nullptr),
        GFS_EINVAL);
    EXPECT_LT(gfs_rpc_server_listen_peers(server, "unix:///nowhere/at/all/x.sock", 0600, &uid, 1,
                                          nullptr),
              0);
    gfs_rpc_server_free(server);
}
