#include <gfs/base/str.h>

#include <climits>
#include <cstring>
#include <gtest/gtest.h>
#include <string>

TEST(Str, CopyFitsOrLeavesTheTargetAlone)
{
    char buf[4] = "old";
    EXPECT_EQ(GFS_ERANGE, gfs_str_copy(buf, sizeof buf, "four"));
    EXPECT_STREQ("old", buf);
    EXPECT_EQ(GFS_OK, gfs_str_copy(buf, sizeof buf, "new"));
    EXPECT_STREQ("new", buf);
}

TEST(Str, NumbersAreWholeStringsInRange)
{
    int64_t v = 7;
    for (const char *bad : {"", "-", "+1", " 1", "1 ", "0x10", "1e3", "three", "--1"}) {
        EXPECT_EQ(GFS_EINVAL, gfs_parse_i64(bad, INT64_MIN, INT64_MAX, &v)) << bad;
    }
    EXPECT_EQ(GFS_ERANGE, gfs_parse_i64("99999999999999999999", INT64_MIN, INT64_MAX, &v));
    EXPECT_EQ(GFS_ERANGE, gfs_parse_i64("11", 0, 10, &v));
    EXPECT_EQ(7, v);
    EXPECT_EQ(GFS_OK, gfs_parse_i64("-12", -20, 0, &v));
    EXPECT_EQ(-12, v);
    uint64_t u = 0;
    EXPECT_EQ(GFS_EINVAL, gfs_parse_u64("-1", UINT64_MAX, &u));
    EXPECT_EQ(GFS_OK, gfs_parse_u64("18446744073709551615", UINT64_MAX, &u));
    EXPECT_EQ(UINT64_MAX, u);
}

TEST(Str, SizesAreBinaryAsGooseFSReadsThem)
{
    uint64_t v = 0;
    struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"0", 0},
                 {"4096", 4096},
                 {"2G", 2ull << 30},
                 {"2Gi", 2ull << 30},
                 {"2GB", 2ull << 30},
                 {"512MB", 512 << 20},
                 {"1.5k", 1536},
                 {"10TiB", 10ull << 40},
                 {"7B", 7},
                 {"2 G", 2ull << 30}};
    for (auto &c : cases) {
        EXPECT_EQ(GFS_OK, gfs_parse_size(c.text, &v)) << c.text;
        EXPECT_EQ(c.bytes, v) << c.text;
    }
    for (const char *bad : {"", "G", "-1G", "2X", "2GG", "1e9", ".", "2G ", "lots", "2iB"}) {
        EXPECT_EQ(GFS_EINVAL, gfs_parse_size(bad, &v)) << bad;
    }
    EXPECT_EQ(GFS_ERANGE, gfs_parse_size("9000000E", &v));
}

TEST(Str, SizesPrintAsGooseFSPrintsThem)
{
    char buf[32];
    EXPECT_STREQ("0B", gfs_format_size(0, buf, sizeof buf));
    EXPECT_STREQ("5120B", gfs_format_size(5120, buf, sizeof buf));
    EXPECT_STREQ("5.00KB", gfs_format_size(5121, buf, sizeof buf));
    EXPECT_STREQ("4096.00MB", gfs_format_size(4ull << 30, buf, sizeof buf));
    EXPECT_STREQ("10.50GB", gfs_format_size(21ull << 29, buf, sizeof buf));
}

TEST(Str, DurationsHaveGooseFSUnits)
{
    int64_t v = 0;
    struct {
        const char *text;
        int64_t ns;
    } cases[] = {{"20s", 20000000000},
                 {"100ms", 100000000},
                 {"2min", 120000000000},
                 {"1h", 3600000000000},
                 {"2day", 172800000000000},
                 {"300sec", 300000000000},
                 {"5", 5000000},
                 {"-1", -1}};
    for (auto &c : cases) {
        EXPECT_EQ(GFS_OK, gfs_parse_duration(c.text, &v)) << c.text;
        EXPECT_EQ(c.ns, v) << c.text;
    }
    for (const char *bad : {"", "s", "-2s", "1y", "10 s", "1h30m"}) {
        EXPECT_EQ(GFS_EINVAL, gfs_parse_duration(bad, &v)) << bad;
    }
    EXPECT_EQ(GFS_ERANGE, gfs_parse_duration("99999999999day", &v));
}

TEST(Str, RatiosLieBetweenZeroAndOne)
{
    double v = 0;
    EXPECT_EQ(GFS_OK, gfs_parse_ratio("0.8", &v));
    EXPECT_DOUBLE_EQ(0.8, v);
    EXPECT_EQ(GFS_OK, gfs_parse_ratio("1", &v));
    EXPECT_EQ(GFS_ERANGE, gfs_parse_ratio("1.01", &v));
    for (const char *bad : {"", "-0.1", "nan", "inf", "0,8", "80%"}) {
        EXPECT_EQ(GFS_EINVAL, gfs_parse_ratio(bad, &v)) << bad;
    }
}

TEST(Str, NamesAreOnePathComponent)
{
    EXPECT_TRUE(gfs_name_valid("a b%+\xc3\xa9", 7));
    EXPECT_TRUE(gfs_name_valid("...", 3));
    EXPECT_TRUE(gfs_name_valid(std::string(255, 'x').c_str(), 255));
    EXPECT_FALSE(gfs_name_valid(std::string(256, 'x').c_str(), 256));
    EXPECT_FALSE(gfs_name_valid("", 0));
    EXPECT_FALSE(gfs_name_valid(".", 1));
    EXPECT_FALSE(gfs_name_valid("..", 2));
    EXPECT_FALSE(gfs_name_valid("a/b", 3));
    EXPECT_FALSE(gfs_name_valid("a\0b", 3));
}

TEST(Str, Utf8IsStrict)
{
    auto valid = [](const std::string &s) { return gfs_utf8_valid(s.data(), s.size()); };
    EXPECT_TRUE(valid("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"));
    for (const char *bad : {"\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                            "\xc3", "\xf8\x88\x80\x80\x80", "a\x01", "\x7f"}) {
        EXPECT_FALSE(valid(bad)) << bad;
    }
    EXPECT_FALSE(valid(std::string("a\0b", 3)));
}

TEST(Str, Dns1035Labels)
{
    EXPECT_TRUE(gfs_dns1035_valid("hbase"));
    EXPECT_TRUE(gfs_dns1035_valid("a-1"));
    EXPECT_TRUE(gfs_dns1035_valid(std::string(63, 'a').c_str()));
    for (const char *bad : {"", "1a", "-a", "a-", "A", "a_b", "a.b"}) {
        EXPECT_FALSE(gfs_dns1035_valid(bad)) << bad;
    }
    EXPECT_FALSE(gfs_dns1035_valid(std::string(64, 'a').c_str()));
}

TEST(Str, PathsAreNormalised)
{
    char out[64];
    struct {
        const char *in, *out;
    } cases[] = {{"/", "/"},        {"//", "/"},        {"/a//b/", "/a/b"},  {"/a/./b", "/a/b"},
                 {"/a/../b", "/b"}, {"/../../a", "/a"}, {"/a/b/../..", "/"}, {"/a/..b", "/a/..b"}};
    for (auto &c : cases) {
        EXPECT_EQ(GFS_OK, gfs_path_normalize(c.in, out, sizeof out)) << c.in;
        EXPECT_STREQ(c.out, out) << c.in;
    }
    EXPECT_EQ(GFS_EINVAL, gfs_path_normalize("a", out, sizeof out));
    EXPECT_EQ(GFS_EINVAL, gfs_path_normalize("", out, sizeof out));
    EXPECT_EQ(GFS_ENAMETOOLONG, gfs_path_normalize("/abcd", out, 5));
}

TEST(Str, PathsJoinWithOneSlash)
{
    char out[16];
    EXPECT_EQ(GFS_OK, gfs_path_join(out, sizeof out, "/a/", "/b"));
    EXPECT_STREQ("/a/b", out);
    EXPECT_EQ(GFS_OK, gfs_path_join(out, sizeof out, "/", "b"));
    EXPECT_STREQ("/b", out);
    EXPECT_EQ(GFS_ENAMETOOLONG, gfs_path_join(out, 4, "/a", "bc"));
}
