#include "unit/lib/rpc/echo.h"

TEST(Retry, StopsAtSuccessAndAtErrorsThatStay)
{
    gfs_rpc_retry retry;
    int64_t delay = -1;
    gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, nullptr);
    EXPECT_FALSE(gfs_rpc_retry_delay(&retry, 0, &delay));
    EXPECT_FALSE(gfs_rpc_retry_delay(&retry, GFS_ENOENT, &delay));
    EXPECT_FALSE(gfs_rpc_retry_delay(&retry, GFS_EINVAL, &delay));
    EXPECT_EQ(delay, -1);
    EXPECT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
    EXPECT_TRUE(gfs_rpc_retry_delay(&retry, GFS_ENOTLEADER, &delay));
    EXPECT_EQ(retry.tries, 2u);
}

TEST(Retry, DelaysGrowUpToASecond)
{
    gfs_rpc_retry retry;
    gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, nullptr);
    int64_t first = 0, last = 0;
    ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &first));
    EXPECT_LE(first, 20 * GFS_NS_PER_MS);
    EXPECT_GT(first, 0);
    for (int i = 0; i < 20; i++) {
        ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &last));
        ASSERT_LE(last, GFS_NS_PER_S);
    }
    EXPECT_GE(last, GFS_NS_PER_S / 2);
}

TEST(Retry, GivesUpWhenTheDeadlineLeavesNoRoom)
{
    gfs_rpc_retry retry;
    int64_t delay;
    gfs_rpc_retry_init(&retry, gfs_clock_mono() - 1, nullptr);
    EXPECT_FALSE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
    gfs_rpc_retry_init(&retry, In(kLong), nullptr);
    EXPECT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
}

TEST(Retry, AnEmptyBudgetSlowsDownButNeverGivesUp)
{
    gfs_rpc_retry_budget budget = GFS_RPC_RETRY_BUDGET_INIT;
    int64_t delay = 0;
    for (int i = 0; i < 1000; i++) {
        gfs_rpc_retry retry;
        gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
        ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
    }
    EXPECT_GE(delay, GFS_NS_PER_S / 2);

    for (int i = 0; i < 20000; i++) {
        gfs_rpc_retry retry;
        gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
        EXPECT_FALSE(gfs_rpc_retry_delay(&retry, 0, &delay));
    }
    gfs_rpc_retry retry;
    gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
    ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
    EXPECT_LE(delay, 20 * GFS_NS_PER_MS);
}

TEST(Retry, CallsThatFailTogetherKeepTheirOwnPace)
{
    gfs_rpc_retry_budget budget = GFS_RPC_RETRY_BUDGET_INIT;
    for (int i = 0; i < 100; i++) {
        gfs_rpc_retry retry;
        gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
        for (int64_t step = 20; step <= 80; step *= 2) {
            int64_t delay = 0;
            ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
            ASSERT_LE(delay, step * GFS_NS_PER_MS);
        }
    }
}

TEST(Retry, AnEmptyBudgetKeepsToTheLongestStepOfTheCaller)
{
    gfs_rpc_retry_budget budget = {0};
    gfs_rpc_retry retry;
    int64_t delay = 0;
    gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
    retry.backoff.max_ns = 200 * GFS_NS_PER_MS;
    for (int i = 0; i < 10; i++) {
        ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
        EXPECT_GE(delay, 100 * GFS_NS_PER_MS);
        EXPECT_LE(delay, 200 * GFS_NS_PER_MS);
    }
}
