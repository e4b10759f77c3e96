#include <gfs/base/clock.h>

#include <cstdlib>
#include <ctime>
#include <gtest/gtest.h>
#include <string>

static std::string age(int64_t seconds)
{
    char buf[32];
    return gfs_clock_format_age(seconds, buf, sizeof buf);
}

TEST(Clock, AgesReadAsKubectlPrintsThem)
{
    EXPECT_EQ("0s", age(-5));
    EXPECT_EQ("84s", age(84));
    EXPECT_EQ("104s", age(104));
    EXPECT_EQ("2m", age(120));
    EXPECT_EQ("2m5s", age(125));
    EXPECT_EQ("15m", age(15 * 60 + 12));
    EXPECT_EQ("8h", age(8 * 3600 + 100));
    EXPECT_EQ("7d14h", age(7 * 86400 + 14 * 3600 + 59));
    EXPECT_EQ("30d", age(30 * 86400 + 3600));
}

TEST(Clock, DatesHaveTheGooseFSForm)
{
    setenv("TZ", "UTC", 1);
    tzset();
    char buf[32];
    EXPECT_STREQ("04-28-2021 04:00:35:156",
                 gfs_clock_format_goosefs(INT64_C(1619582435156), buf, sizeof buf));
    EXPECT_STREQ("2021-04-28T04:00:35Z",
                 gfs_clock_format_rfc3339(INT64_C(1619582435156), buf, sizeof buf));
}

TEST(Clock, BackoffGrowsToItsMaximumWithJitterAndResets)
{
    struct gfs_backoff b;
    gfs_backoff_init(&b, 100, 1000, 42);
    int64_t expected = 100;
    for (int i = 0; i < 20; i++) {
        int64_t step = gfs_backoff_next(&b);
        EXPECT_GE(step, expected / 2);
        EXPECT_LE(step, expected);
        expected = expected * 2 > 1000 ? 1000 : expected * 2;
    }
    gfs_backoff_reset(&b);
    EXPECT_LE(gfs_backoff_next(&b), 100);
}

TEST(Clock, SleepEndsAtOrAfterItsDeadline)
{
    int64_t deadline = gfs_clock_mono() + GFS_NS_PER_MS;
    gfs_clock_sleep_until(deadline);
    EXPECT_GE(gfs_clock_mono(), deadline);
}
