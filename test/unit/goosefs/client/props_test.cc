#include <gtest/gtest.h>

#include <map>
#include <string>

#include <gfs/client/client.h>

namespace
{

using Props = std::map<std::string, std::string>;

std::string MastersOf(const Props &props, gfs_err *err = nullptr)
{
    gfs_client *client = nullptr;
    const auto get = [](void *arg, const char *key) -> const char * {
        const auto &map = *static_cast<const Props *>(arg);
        const auto it = map.find(key);
        return it == map.end() ? nullptr : it->second.c_str();
    };
    const int rc =
        gfs_client_new_from_props(get, const_cast<Props *>(&props), nullptr, &client, err);
    if (rc < 0) {
        return "error " + std::to_string(rc);
    }
    std::string text;
    for (size_t i = 0; i < gfs_client_n_masters(client); i++) {
        text += std::string(gfs_client_master(client, i)) + " ";
    }
    gfs_client_free(client);
    return text;
}

} // namespace

TEST(ClientProps, RpcAddressesComeFirst)
{
    EXPECT_EQ(MastersOf({{"goosefs.master.rpc.addresses", "a:1, b:2"},
                         {"goosefs.master.embedded.journal.addresses", "c:9202"},
                         {"goosefs.master.hostname", "d"}}),
              "a:1 b:2 ");
}

TEST(ClientProps, JournalHostsGetTheRpcPort)
{
    EXPECT_EQ(MastersOf({{"goosefs.master.embedded.journal.addresses", "a:9202,b:9202"},
                         {"goosefs.master.rpc.port", "26000"}}),
              "a:26000 b:26000 ");
}

TEST(ClientProps, HostNameAndDefaults)
{
    EXPECT_EQ(MastersOf({{"goosefs.master.hostname", "m"}}), "m:9200 ");
    EXPECT_EQ(MastersOf({}), "localhost:9200 ");
}

TEST(ClientProps, BadValuesNameTheProperty)
{
    const Props bad[] = {
        {{"goosefs.master.rpc.port", "x"}},
        {{"goosefs.master.rpc.port", "0"}},
        {{"goosefs.master.rpc.port", "70000"}},
        {{"goosefs.user.rpc.retry.max.duration", "soon"}},
        {{"goosefs.user.rpc.retry.max.duration", "-1"}},
        {{"goosefs.network.hosts.file", "/no/such/file"}},
    };
    for (const auto &props : bad) {
        gfs_err err = GFS_ERR_INIT;
        EXPECT_EQ(MastersOf(props, &err).rfind("error", 0), 0u);
        EXPECT_NE(std::string(err.text).find(props.begin()->first), std::string::npos) << err.text;
    }
}
