#include <gfs/base/err.h>
#include <gfs/base/log.h>

#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace
{
class Log : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(0, pipe(fds));
        gfs_log_set_fd(fds[1]);
    }

    void TearDown() override
    {
        gfs_log_set_fd(STDERR_FILENO);
        ASSERT_EQ(GFS_OK, gfs_log_configure("info"));
        close(fds[0]);
        close(fds[1]);
    }

    std::string Line()
    {
        char buf[4096];
        ssize_t n = read(fds[0], buf, sizeof buf);
        return std::string(buf, n > 0 ? static_cast<size_t>(n) : 0);
    }

    int fds[2];
};

TEST_F(Log, ALineIsAFactAndItsValues)
{
    gfs_log_write(GFS_LOG_INFO, "raft", "leader elected", "term=%d leader=%s", 3, "m-0");
    std::string line = Line();
    EXPECT_EQ('Z', line[23]);
    EXPECT_EQ(" INFO  raft: leader elected term=3 leader=m-0\n", line.substr(24));
}

TEST_F(Log, LongLinesAreCutAndEndWithANewline)
{
    gfs_log_write(GFS_LOG_WARN, "x", "long", "v=%s", std::string(5000, 'y').c_str());
    std::string line = Line();
    EXPECT_LE(line.size(), 2048u);
    EXPECT_EQ('\n', line.back());
}

TEST_F(Log, LevelsApplyPerComponent)
{
    ASSERT_EQ(GFS_OK, gfs_log_configure("warn,raft=debug"));
    EXPECT_FALSE(gfs_log_enabled(GFS_LOG_INFO, "rpc"));
    EXPECT_TRUE(gfs_log_enabled(GFS_LOG_WARN, "rpc"));
    EXPECT_TRUE(gfs_log_enabled(GFS_LOG_DEBUG, "raft"));
}

TEST_F(Log, ABadSpecChangesNothing)
{
    ASSERT_EQ(GFS_OK, gfs_log_configure("error"));
    EXPECT_EQ(GFS_EINVAL, gfs_log_configure("loud"));
    EXPECT_EQ(GFS_EINVAL, gfs_log_configure("info,raft=loud"));
    EXPECT_FALSE(gfs_log_enabled(GFS_LOG_WARN, "raft"));
}

TEST(LogQuote, PlainValuesStayAsTheyAre)
{
    char buf[64];
    const char *s = "hbase-master-0:26000";
    EXPECT_EQ(s, gfs_log_quote(buf, sizeof buf, s));
    EXPECT_STREQ("-", gfs_log_quote(buf, sizeof buf, nullptr));
}

TEST(LogQuote, HostileValuesAreEscapedAndCut)
{
    char buf[32];
    EXPECT_STREQ("\"\"", gfs_log_quote(buf, sizeof buf, ""));
    EXPECT_STREQ("\"a b\\x0a\\\"\"", gfs_log_quote(buf, sizeof buf, "a b\n\""));
    std::string lots(100, ' ');
    std::string cut = gfs_log_quote(buf, sizeof buf, lots.c_str());
    EXPECT_LT(cut.size(), sizeof buf);
    EXPECT_EQ("...\"", cut.substr(cut.size() - 4));
}
} // namespace
