#include <gtest/gtest.h>

#include "life.h"

namespace
{

constexpr int64_t kMs = GFS_NS_PER_MS;

class Life : public ::testing::Test
{
  protected:
    Life()
    {
        gfs_keeper_spec spec = {};
        spec.start_timeout_ms = 1000;
        spec.hang_timeout_ms = 400;
        gfsi_life_init(&l_, &spec, 1);
    }

    void Check()
    {
        const char *wrong = gfsi_life_check(&l_);
        EXPECT_EQ(wrong, nullptr) << wrong;
    }

    void Serve()
    {
        ASSERT_EQ(gfsi_life_start(&l_, now_), (unsigned)GFSI_LIFE_SPAWN);
        ASSERT_EQ(gfsi_life_ready(&l_, now_), (unsigned)GFSI_LIFE_SERVES);
        Check();
    }

    unsigned Tick(int64_t ms, bool alive = true)
    {
        now_ += ms * kMs;
        unsigned actions = gfsi_life_tick(&l_, now_, alive);
        Check();
        return actions;
    }

    unsigned Exited(bool alive = true, bool progress = false)
    {
        unsigned actions = gfsi_life_exited(&l_, now_, alive, progress);
        Check();
        return actions;
    }

    // Ticks until something is to be done; how long that took, in ms.
    int64_t UntilSpawn()
    {
        int64_t from = now_;
        for (int i = 0; i < 1000; i++) {
            now_ = gfsi_life_next(&l_, now_);
            if (gfsi_life_tick(&l_, now_, true) == GFSI_LIFE_SPAWN) {
                return (now_ - from) / kMs;
            }
        }
        return -1;
    }

    gfsi_life l_;
    int64_t now_ = 1000000 * kMs;
};

TEST_F(Life, AHealthyClientIsReplacedAtOnce)
{
    Serve();
    now_ += GFSI_LIFE_HEALTHY_NS;
    EXPECT_EQ(Exited(), (unsigned)GFSI_LIFE_SPAWN);
    EXPECT_EQ(l_.state, GFS_KEEPER_RESTARTING);
    EXPECT_EQ(gfsi_life_ready(&l_, now_), (unsigned)GFSI_LIFE_SERVES);
    EXPECT_EQ(l_.state, GFS_KEEPER_SERVING);
    EXPECT_EQ(l_.restarts, 1u);
}

TEST_F(Life, OneThatDiesYoungAgainAndAgainIsReplacedMoreAndMoreSlowly)
{
    Serve();
    EXPECT_EQ(Exited(), 0u);
    int64_t first = UntilSpawn();
    int64_t last = first;
    for (int i = 0; i < 15; i++) {
        EXPECT_EQ(Exited(), 0u);
        last = UntilSpawn();
    }
    EXPECT_LE(first, 20);
    EXPECT_GE(last, 2000);
    EXPECT_LE(last, 6000);

    // A long life forgives.
    gfsi_life_ready(&l_, now_);
    now_ += GFSI_LIFE_HEALTHY_NS;
    EXPECT_EQ(Exited(), (unsigned)GFSI_LIFE_SPAWN);
}

TEST_F(Life, OneThatDiesYoungButWorkedIsNeverMissedForLong)
{
    Serve();
    for (int i = 0; i < 30; i++) {
        EXPECT_EQ(Exited(true, true), 0u);
        EXPECT_LE(UntilSpawn(), GFSI_LIFE_PROGRESS_PAUSE_NS / kMs + 1);
        gfsi_life_ready(&l_, now_);
    }
}

TEST_F(Life, TheFirstClientIsNotRetried)
{
    EXPECT_EQ(gfsi_life_start(&l_, now_), (unsigned)GFSI_LIFE_SPAWN);
    EXPECT_EQ(Exited(), (unsigned)GFSI_LIFE_FAILED);
}

TEST_F(Life, AClientThatIsNeverReadyIsKilledOnce)
{
    gfsi_life_start(&l_, now_);
    EXPECT_EQ(Tick(999), 0u);
    EXPECT_EQ(Tick(1), (unsigned)GFSI_LIFE_KILL);
    EXPECT_EQ(Tick(1000), 0u);
    EXPECT_EQ(gfsi_life_ready(&l_, now_), 0u) << "too late";
    EXPECT_EQ(Exited(), (unsigned)GFSI_LIFE_FAILED);
}

TEST_F(Life, AnUnansweredPingKillsAndAnAnsweredOneDoesNot)
{
    Serve();
    EXPECT_EQ(Tick(100), (unsigned)GFSI_LIFE_PING);
    gfsi_life_pong(&l_, now_, 0);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(Tick(100), (unsigned)GFSI_LIFE_PING);
        gfsi_life_pong(&l_, now_, 0);
    }
    EXPECT_EQ(Tick(100), (unsigned)GFSI_LIFE_PING);
    EXPECT_EQ(Tick(399), (unsigned)GFSI_LIFE_PING);
    EXPECT_EQ(Tick(1), (unsigned)(GFSI_LIFE_KILL | GFSI_LIFE_HUNG));
    EXPECT_EQ(l_.hangs, 1u);
    EXPECT_EQ(Exited(), (unsigned)GFSI_LIFE_SPAWN);
}

TEST_F(Life, ARestartOnRequestKillsThenStartsAtOnce)
{
    Serve();
    EXPECT_TRUE(gfsi_life_can_restart(&l_));
    EXPECT_EQ(gfsi_life_restart(&l_, now_, true), (unsigned)GFSI_LIFE_KILL);
    EXPECT_FALSE(gfsi_life_can_restart(&l_)) << "one at a time";
    EXPECT_EQ(Exited(), (unsigned)GFSI_LIFE_SPAWN);
    EXPECT_FALSE(gfsi_life_can_restart(&l_)) << "on probation";
    EXPECT_EQ(gfsi_life_ready(&l_, now_), (unsigned)GFSI_LIFE_SERVES);
    EXPECT_TRUE(gfsi_life_can_restart(&l_));
}

TEST_F(Life, NewArgumentsThatFailAreTakenBack)
{
    Serve();
    gfsi_life_restart(&l_, now_, true);
    Exited();
    EXPECT_EQ(Exited(), (unsigned)(GFSI_LIFE_REVERT | GFSI_LIFE_SPAWN));
    EXPECT_EQ(gfsi_life_ready(&l_, now_), (unsigned)GFSI_LIFE_SERVES);
}

TEST_F(Life, ARestartWhileNoClientRunsStartsOne)
{
    Serve();
    EXPECT_EQ(Exited(), 0u);
    ASSERT_EQ(l_.state, GFS_KEEPER_RESTARTING);
    EXPECT_EQ(gfsi_life_restart(&l_, now_, false), (unsigned)GFSI_LIFE_SPAWN);
    Check();
}

TEST_F(Life, TheEndOfTheConnectionBreaksAServedMount)
{
    Serve();
    EXPECT_EQ(Tick(10, false), (unsigned)(GFSI_LIFE_KILL | GFSI_LIFE_BROKE));
    EXPECT_EQ(l_.state, GFS_KEEPER_BROKEN);
    EXPECT_EQ(Exited(false), 0u);
    EXPECT_EQ(Tick(100000, false), 0u);
    EXPECT_EQ(gfsi_life_unmounted(&l_), (unsigned)GFSI_LIFE_GONE);
}

TEST_F(Life, AnUnmountedMountIsGoneWhenItsClientIs)
{
    Serve();
    EXPECT_EQ(gfsi_life_unmounted(&l_), 0u);
    EXPECT_EQ(Exited(false), (unsigned)GFSI_LIFE_GONE);
}

TEST_F(Life, AClientThatStaysAfterTheUnmountIsKilled)
{
    Serve();
    gfsi_life_unmounted(&l_);
    EXPECT_EQ(Tick(10, false), 0u);
    EXPECT_EQ(Tick(1999, false) & GFSI_LIFE_KILL, 0u);
    EXPECT_EQ(Tick(1, false) & GFSI_LIFE_KILL, (unsigned)GFSI_LIFE_KILL);
    EXPECT_EQ(Exited(false), (unsigned)GFSI_LIFE_GONE);
}

TEST_F(Life, WithoutALauncherTheFirstClientIsWaitedForAndThenGivenUp)
{
    gfsi_life_launcher(&l_, now_, false);
    EXPECT_EQ(gfsi_life_start(&l_, now_), 0u);
    Check();
    EXPECT_EQ(Tick(999), 0u);
    EXPECT_EQ(Tick(1), (unsigned)GFSI_LIFE_FAILED);
}

TEST_F(Life, ALauncherThatComesStartsTheFirstClient)
{
    gfsi_life_launcher(&l_, now_, false);
    EXPECT_EQ(gfsi_life_start(&l_, now_), 0u);
    EXPECT_EQ(gfsi_life_launcher(&l_, now_, true), (unsigned)GFSI_LIFE_SPAWN);
    Check();
    EXPECT_EQ(gfsi_life_ready(&l_, now_), (unsigned)GFSI_LIFE_SERVES);
}

TEST_F(Life, WithoutALauncherASuccessorIsWaitedForForEver)
{
    Serve();
    now_ += GFSI_LIFE_HEALTHY_NS;
    gfsi_life_launcher(&l_, now_, false);
    EXPECT_EQ(Exited(), 0u);
    EXPECT_EQ(l_.state, GFS_KEEPER_WAITING);
    EXPECT_FALSE(gfsi_life_can_restart(&l_));
    for (int i = 0; i < 1000; i++) {
        EXPECT_EQ(Tick(1000000), 0u);
    }
    EXPECT_EQ(gfsi_life_launcher(&l_, now_, true), (unsigned)GFSI_LIFE_SPAWN);
    EXPECT_EQ(l_.state, GFS_KEEPER_RESTARTING);
    EXPECT_EQ(gfsi_life_ready(&l_, now_), (unsigned)GFSI_LIFE_SERVES);
    Check();
}

TEST_F(Life, ALauncherThatGoesDuringTheBackOffIsWaitedForToo)
{
    Serve();
    EXPECT_EQ(Exited(), 0u) << "it died young: a pause";
    EXPECT_EQ(gfsi_life_launcher(&l_, now_, false), 0u);
    Check();
    EXPECT_EQ(l_.state, GFS_KEEPER_WAITING);
    EXPECT_EQ(Tick(100000), 0u);
    EXPECT_EQ(gfsi_life_unmounted(&l_), 0u) << "its users may have files open";
    EXPECT_EQ(Tick(1, false), (unsigned)GFSI_LIFE_GONE);
}

TEST_F(Life, AClientAtOneRequestForTooLongIsReplacedThoughItAnswers)
{
    l_.stall_timeout = 5000 * kMs;
    Serve();
    EXPECT_EQ(gfsi_life_pong(&l_, now_, 4999 * kMs), 0u);
    EXPECT_EQ(gfsi_life_pong(&l_, now_, 5000 * kMs), (unsigned)(GFSI_LIFE_KILL | GFSI_LIFE_HUNG));
    EXPECT_EQ(gfsi_life_pong(&l_, now_, 5001 * kMs), 0u) << "once";
    EXPECT_EQ(l_.hangs, 1u);
}

TEST_F(Life, ClientsThatServeNothingEndWithTheConnection)
{
    l_.max_failures = 3;
    Serve();
    EXPECT_EQ(Exited(), 0u) << "it was ready: no failure";
    for (int i = 0; i < 2; i++) {
        ASSERT_GE(UntilSpawn(), 0);
        EXPECT_EQ(Exited(), 0u);
    }
    ASSERT_GE(UntilSpawn(), 0);
    EXPECT_EQ(Exited(), (unsigned)(GFSI_LIFE_ABORT | GFSI_LIFE_BROKE));
    EXPECT_EQ(l_.state, GFS_KEEPER_BROKEN);
}

TEST_F(Life, OneThatServedInBetweenForgivesTheFailures)
{
    l_.max_failures = 3;
    Serve();
    EXPECT_EQ(Exited(), 0u);
    for (int i = 0; i < 10; i++) {
        ASSERT_GE(UntilSpawn(), 0);
        EXPECT_EQ(Exited(), 0u);
        ASSERT_GE(UntilSpawn(), 0);
        gfsi_life_ready(&l_, now_);
        EXPECT_EQ(Exited(true, true), 0u);
    }
}

TEST_F(Life, AClientThatCannotBeKilledEndsWithTheConnection)
{
    l_.max_failures = 3;
    Serve();
    EXPECT_NE(Tick(100) & GFSI_LIFE_PING, 0u);
    EXPECT_EQ(Tick(400) & GFSI_LIFE_KILL, (unsigned)GFSI_LIFE_KILL);
    EXPECT_EQ(Tick(GFSI_LIFE_UNKILLABLE_NS / kMs - 1), 0u);
    EXPECT_EQ(Tick(1), (unsigned)(GFSI_LIFE_ABORT | GFSI_LIFE_BROKE));
    EXPECT_EQ(Exited(false), 0u);
}

TEST_F(Life, ADetachedMountInUseKeepsBeingServed)
{
    Serve();
    gfsi_life_unmounted(&l_);
    now_ += GFSI_LIFE_HEALTHY_NS;
    EXPECT_EQ(Exited(true), (unsigned)GFSI_LIFE_SPAWN);
    EXPECT_EQ(gfsi_life_ready(&l_, now_), 0u);
    EXPECT_EQ(l_.state, GFS_KEEPER_STOPPING);
    EXPECT_EQ(Exited(false), (unsigned)GFSI_LIFE_GONE);
}

} // namespace
