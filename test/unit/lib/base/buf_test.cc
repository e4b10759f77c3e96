#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <string>

TEST(Buf, GrowsAndStaysTerminated)
{
    struct gfs_buf b;
    gfs_buf_init(&b, 10000);
    EXPECT_STREQ("", gfs_buf_str(&b));
    std::string expected;
    for (int i = 0; i < 500; i++) {
        ASSERT_EQ(GFS_OK, gfs_buf_printf(&b, "%d,", i));
        expected += std::to_string(i) + ",";
    }
    EXPECT_EQ(expected, gfs_buf_str(&b));
    EXPECT_EQ(expected.size(), b.len);
    gfs_buf_fini(&b);
}

TEST(Buf, RefusesMoreThanItsMaximumAndKeepsTheError)
{
    struct gfs_buf b;
    gfs_buf_init(&b, 4);
    EXPECT_EQ(GFS_OK, gfs_buf_append(&b, "abcd", 4));
    EXPECT_EQ(GFS_ERANGE, gfs_buf_append(&b, "e", 1));
    EXPECT_EQ(GFS_ERANGE, gfs_buf_puts(&b, ""));
    EXPECT_EQ(nullptr, gfs_buf_take(&b));
    EXPECT_STREQ("abcd", gfs_buf_str(&b));
    gfs_buf_clear(&b);
    EXPECT_EQ(GFS_OK, gfs_buf_puts(&b, "xy"));
    EXPECT_STREQ("xy", gfs_buf_str(&b));
    gfs_buf_fini(&b);
}

TEST(Buf, HugeLengthsDoNotOverflow)
{
    struct gfs_buf b;
    gfs_buf_init(&b, 100);
    ASSERT_EQ(GFS_OK, gfs_buf_puts(&b, "x"));
    EXPECT_EQ(nullptr, gfs_buf_reserve(&b, SIZE_MAX));
    EXPECT_EQ(GFS_ERANGE, b.error);
    gfs_buf_fini(&b);
}

TEST(Buf, TakeMovesTheMemory)
{
    struct gfs_buf b;
    gfs_buf_init(&b, 100);
    char *empty = gfs_buf_take(&b);
    EXPECT_STREQ("", empty);
    free(empty);
    ASSERT_EQ(GFS_OK, gfs_buf_puts(&b, "hello"));
    char *text = gfs_buf_take(&b);
    EXPECT_STREQ("hello", text);
    EXPECT_EQ(0u, b.len);
    free(text);
    gfs_buf_fini(&b);
}
