#include <gfs/base/hosts.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace
{
std::string WriteTemp(const std::string &text)
{
    char name[] = "/tmp/gfs-hosts-test-XXXXXX";
    int fd = mkstemp(name);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(static_cast<ssize_t>(text.size()), write(fd, text.data(), text.size()));
    close(fd);
    return name;
}

TEST(Hosts, NamesInTheTableBecomeAddresses)
{
    std::string file = WriteTemp("# local pods\n127.64.0.1\thbase-master-0 alias\n::1 six\n\n");
    struct gfs_hosts *hosts = nullptr;
    ASSERT_EQ(GFS_OK, gfs_hosts_load(file.c_str(), &hosts, nullptr));
    char out[64];
    EXPECT_EQ(GFS_OK, gfs_hosts_target(hosts, "hbase-master-0:26000", out, sizeof out));
    EXPECT_STREQ("127.64.0.1:26000", out);
    EXPECT_EQ(GFS_OK, gfs_hosts_target(hosts, "ALIAS:1", out, sizeof out));
    EXPECT_STREQ("127.64.0.1:1", out);
    EXPECT_EQ(GFS_OK, gfs_hosts_target(hosts, "six:1", out, sizeof out));
    EXPECT_STREQ("[::1]:1", out);
    EXPECT_EQ(GFS_OK, gfs_hosts_target(hosts, "other:1", out, sizeof out));
    EXPECT_STREQ("other:1", out);
    gfs_hosts_free(hosts);
    unlink(file.c_str());
}

TEST(Hosts, AnErrorNamesFileAndLine)
{
    std::string file = WriteTemp("127.0.0.1 ok\nnonsense name\n");
    struct gfs_hosts *hosts = nullptr;
    struct gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(GFS_EINVAL, gfs_hosts_load(file.c_str(), &hosts, &err));
    EXPECT_NE(std::string::npos, std::string(err.text).find(file + ":2: 'nonsense'"));
    EXPECT_EQ(nullptr, hosts);
    unlink(file.c_str());
}

TEST(Hosts, AnEmptyTableIsFine)
{
    struct gfs_hosts *hosts = nullptr;
    ASSERT_EQ(GFS_OK, gfs_hosts_load("", &hosts, nullptr));
    EXPECT_EQ(nullptr, gfs_hosts_find(hosts, "x"));
    EXPECT_EQ(nullptr, gfs_hosts_find(nullptr, "x"));
    gfs_hosts_free(hosts);
}

TEST(Hosts, AddressesSplitIntoHostAndPort)
{
    char host[16];
    uint16_t port = 0;
    EXPECT_EQ(GFS_OK, gfs_hostport_split("a:65535", host, sizeof host, &port));
    EXPECT_STREQ("a", host);
    EXPECT_EQ(65535, port);
    EXPECT_EQ(GFS_OK, gfs_hostport_split("[::1]:2", host, sizeof host, &port));
    EXPECT_STREQ("::1", host);
    for (const char *bad : {"", "a", ":1", "a:", "a:x", "a:65536", "::1:2", "[::1", "a:-1"}) {
        EXPECT_EQ(GFS_EINVAL, gfs_hostport_split(bad, host, sizeof host, &port)) << bad;
    }
    EXPECT_EQ(GFS_ENAMETOOLONG, gfs_hostport_split("0123456789abcdef:1", host, sizeof host, &port));
}
} // namespace
