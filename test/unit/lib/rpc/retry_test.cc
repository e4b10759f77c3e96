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
    for (int i = 0; i < 200; i++) {
        gfs_rpc_retry retry;
        gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
        ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
    }
    EXPECT_GE(delay, GFS_NS_PER_S / 2);

    for (int i = 0; i < 2000; i++) {
        gfs_rpc_retry retry;
        gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
        EXPECT_FALSE(gfs_rpc_retry_delay(&retry, 0, &delay));
    }
    gfs_rpc_retry retry;
    gfs_rpc_retry_init(&retry, GFS_RPC_NO_DEADLINE, &budget);
    ASSERT_TRUE(gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay));
    EXPECT_LE(delay, 20 * GFS_NS_PER_MS);
}
