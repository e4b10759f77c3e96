// The life of a Dataset and its runtime, round by round, without any platform.
#include "unit/controller/fixture.h"

#include <memory>
#include <random>
#include <vector>

#include <gfs/controller/reconcile.h>

namespace
{

struct Reconcile : testing::Test {
    Object dataset{sample("dataset.yaml")};
    Object runtime{sample("runtime.yaml")};
    Machine machine;
    Plan plan{dataset, runtime, machine.facts};
    gfs_dataset_status ds = {};
    gfs_runtime_status rs = {};
    gfs_observation seen = {};
    std::unique_ptr<gfs_effects> effects = std::make_unique<gfs_effects>();

    Reconcile()
    {
        seen.now_ms = 1000;
    }

    void round()
    {
        gfs_reconcile(dataset.ptr, plan.ptr, &seen, &ds, &rs, effects.get());
    }

    size_t count(gfs_effect_kind kind) const
    {
        size_t n = 0;

        for (size_t i = 0; i < effects->n; i++) {
            n += effects->items[i].kind == kind;
        }
        return n;
    }

    const gfs_effect *find(gfs_effect_kind kind, const char *reason = nullptr) const
    {
        for (size_t i = 0; i < effects->n; i++) {
            const gfs_effect &e = effects->items[i];

            if (e.kind == kind && (reason == nullptr || std::string(e.reason) == reason)) {
                return &e;
            }
        }
        return nullptr;
    }

    void all_ready()
    {
        for (int role = 0; role < GFS_ROLES; role++) {
            seen.current[role] = seen.ready[role] = plan->desired[role];
        }
        seen.has_leader = true;
    }

    const gfs_condition &ready() const
    {
        const gfs_condition *c = gfs_conditions_get(&ds.conditions, "Ready");

        EXPECT_NE(c, nullptr);
        return *c;
    }
};

TEST_F(Reconcile, StartsNotBoundAndNotReady)
{
    round();
    EXPECT_EQ(ds.phase, GFS_DATASET_NOT_BOUND);
    for (int role = 0; role < GFS_ROLES; role++) {
        EXPECT_STREQ(gfs_phase_name(rs.roles[role].phase), "NotReady");
    }
    EXPECT_STREQ(ready().message, "no leader master yet");
    EXPECT_EQ(count(GFS_EFFECT_MOUNT), 0u);
}

TEST_F(Reconcile, BecomesBoundStepByStep)
{
    all_ready();
    round();
    ASSERT_EQ(count(GFS_EFFECT_MOUNT), 1u);
    EXPECT_EQ(ds.mounts[0].state, GFS_MOUNT_TRYING);

    round(); // the attempt is on its way: not a second one
    EXPECT_EQ(count(GFS_EFFECT_MOUNT), 0u);

    gfs_reconcile_mounted(&ds, 0, 0, "", 1100);
    round();
    EXPECT_EQ(count(GFS_EFFECT_CREATE_VOLUME), 1u);
    EXPECT_EQ(ds.phase, GFS_DATASET_NOT_BOUND);

    seen.volume_ready = true;
    seen.now_ms = 1500;
    round();
    EXPECT_EQ(ds.phase, GFS_DATASET_BOUND);
    EXPECT_TRUE(ready().status);
    EXPECT_STREQ(ready().reason, "DatasetReady");
    EXPECT_EQ(rs.setup_ms, 500);
    EXPECT_EQ(count(GFS_EFFECT_LOAD_METADATA), 1u);
    EXPECT_NE(find(GFS_EFFECT_EVENT, "Succeed"), nullptr);

    round(); // at rest nothing happens
    EXPECT_EQ(effects->n, 0u);
}

TEST_F(Reconcile, PhasesFollowTheCounts)
{
    all_ready();
    seen.ready[GFS_ROLE_MASTER] = 2;
    seen.ready[GFS_ROLE_WORKER] = 0;
    round();
    EXPECT_EQ(rs.roles[GFS_ROLE_MASTER].phase, GFS_PHASE_PARTIAL);
    EXPECT_EQ(rs.roles[GFS_ROLE_WORKER].phase, GFS_PHASE_NOT_READY);
    EXPECT_EQ(rs.roles[GFS_ROLE_FUSE].phase, GFS_PHASE_READY);
    EXPECT_STREQ(gfs_conditions_get(&rs.conditions, "MasterReady")->message, "2 of 3 ready");
    EXPECT_TRUE(gfs_conditions_get(&rs.conditions, "FusesReady")->status);
}

TEST_F(Reconcile, TwoMastersOfThreeAreEnoughToBind)
{
    all_ready();
    seen.ready[GFS_ROLE_MASTER] = 2;
    seen.volume_ready = true;
    round();
    gfs_reconcile_mounted(&ds, 0, 0, "", 1100);
    round();
    EXPECT_EQ(ds.phase, GFS_DATASET_BOUND);
}

TEST_F(Reconcile, AMountThatFailsIsSaidOnceAndTriedAgainWithGrowingPauses)
{
    const char *text = "http://h/x: 404 Not Found";

    all_ready();
    round();
    gfs_reconcile_mounted(&ds, 0, GFS_ENOENT, text, seen.now_ms);
    round();
    EXPECT_EQ(count(GFS_EFFECT_MOUNT), 0u);
    EXPECT_FALSE(ready().status);
    EXPECT_STREQ(ready().reason, "DatasetFailedToSetup");
    EXPECT_STREQ(ready().message, "/hbase: http://h/x: 404 Not Found");

    const gfs_effect *event = find(GFS_EFFECT_EVENT, "RuntimeMountUfsFailed");

    ASSERT_NE(event, nullptr);
    EXPECT_TRUE(event->warning);
    EXPECT_STREQ(event->message, "/hbase: http://h/x: 404 Not Found");

    const gfs_effect *wake = find(GFS_EFFECT_WAKE);

    ASSERT_NE(wake, nullptr);
    EXPECT_EQ(wake->at_ms, 1000 + GFS_MOUNT_RETRY_FIRST_MS);

    int64_t last = 0;

    for (int i = 0; i < 12; i++) {
        int64_t pause = ds.mounts[0].next_try_ms - seen.now_ms;

        EXPECT_GE(pause, last);
        EXPECT_LE(pause, GFS_MOUNT_RETRY_MAX_MS);
        last = pause;
        seen.now_ms = ds.mounts[0].next_try_ms;
        round();
        ASSERT_EQ(count(GFS_EFFECT_MOUNT), 1u);
        EXPECT_EQ(find(GFS_EFFECT_EVENT), nullptr) << "the same words again are no news";
        gfs_reconcile_mounted(&ds, 0, GFS_ENOENT, text, seen.now_ms);
    }
    EXPECT_EQ(last, GFS_MOUNT_RETRY_MAX_MS);

    seen.now_ms = ds.mounts[0].next_try_ms;
    seen.volume_ready = true;
    round();
    gfs_reconcile_mounted(&ds, 0, 0, "", seen.now_ms);
    round();
    EXPECT_EQ(ds.phase, GFS_DATASET_BOUND);
}

TEST_F(Reconcile, AFailoverIsNoNewsButALongLossOfTheLeaderIs)
{
    all_ready();
    seen.volume_ready = true;
    round();
    gfs_reconcile_mounted(&ds, 0, 0, "", 1000);
    round();
    ASSERT_EQ(ds.phase, GFS_DATASET_BOUND);

    seen.has_leader = false;
    seen.now_ms = 5000;
    round();
    EXPECT_TRUE(ready().status);
    ASSERT_NE(find(GFS_EFFECT_WAKE), nullptr);
    EXPECT_EQ(find(GFS_EFFECT_WAKE)->at_ms, 5000 + GFS_LEADER_GRACE_MS);

    seen.now_ms = 5000 + GFS_LEADER_GRACE_MS;
    round();
    EXPECT_FALSE(ready().status);
    EXPECT_NE(find(GFS_EFFECT_EVENT, "RuntimeNotReady"), nullptr);
    EXPECT_EQ(ds.phase, GFS_DATASET_BOUND);

    seen.has_leader = true;
    round();
    EXPECT_TRUE(ready().status);
}

TEST_F(Reconcile, ScalingSetsConditionsAndAnEvent)
{
    all_ready();
    round();
    plan->desired[GFS_ROLE_WORKER] = 5;
    round();
    EXPECT_EQ(rs.roles[GFS_ROLE_WORKER].phase, GFS_PHASE_PARTIAL);
    EXPECT_STREQ(gfs_conditions_get(&rs.conditions, "WorkersScaledOut")->reason,
                 "Workers scaled out");
    ASSERT_NE(find(GFS_EFFECT_EVENT, "Succeed"), nullptr);
    EXPECT_STREQ(find(GFS_EFFECT_EVENT, "Succeed")->message,
                 "Runtime scaled out. current replicas: 3, desired replicas: 5.");

    plan->desired[GFS_ROLE_WORKER] = 1;
    round();
    EXPECT_NE(gfs_conditions_get(&rs.conditions, "WorkersScaledIn"), nullptr);
}

TEST_F(Reconcile, ClientsOnDemandAreReadyWhenNoneIsUsed)
{
    plan->fuse_global = false;
    all_ready();
    seen.current[GFS_ROLE_FUSE] = seen.ready[GFS_ROLE_FUSE] = 0;
    round();
    EXPECT_EQ(rs.roles[GFS_ROLE_FUSE].desired, 0u);
    EXPECT_EQ(rs.roles[GFS_ROLE_FUSE].phase, GFS_PHASE_READY);
}

TEST_F(Reconcile, UnbindForgetsWhatTheRuntimeKnew)
{
    all_ready();
    seen.volume_ready = true;
    seen.sized = true;
    seen.ufs_total = 7;
    round();
    gfs_reconcile_mounted(&ds, 0, 0, "", 1000);
    round();
    ASSERT_EQ(ds.phase, GFS_DATASET_BOUND);
    gfs_reconcile_unbind(&ds, 2000);
    EXPECT_EQ(ds.phase, GFS_DATASET_NOT_BOUND);
    EXPECT_FALSE(ds.sized);
    EXPECT_EQ(ds.mounts[0].state, GFS_MOUNT_UNKNOWN);
    EXPECT_FALSE(ready().status);
}

// Whatever order things happen in: Bound only with everything in place, never more than one attempt
// of a mount at a time, and a dataset that has all it needs gets bound.
TEST_F(Reconcile, RandomOrdersKeepTheInvariants)
{
    std::mt19937 rng(20260131);

    for (int run = 0; run < 300; run++) {
        ds = {};
        rs = {};
        seen = {};
        seen.now_ms = 1;

        bool trying = false;

        for (int step = 0; step < 60; step++) {
            seen.now_ms += rng() % 2000;
            seen.has_leader = rng() % 3 != 0;
            for (int role = 0; role < GFS_ROLES; role++) {
                seen.current[role] = rng() % (plan->desired[role] + 1);
                seen.ready[role] = rng() % (plan->desired[role] + 1);
            }
            if (trying && rng() % 2 == 0) {
                gfs_reconcile_mounted(&ds, 0, rng() % 2 == 0 ? 0 : GFS_EUNAVAIL, "x", seen.now_ms);
                trying = false;
            }

            bool was_bound = ds.phase == GFS_DATASET_BOUND;

            round();
            ASSERT_LE(count(GFS_EFFECT_MOUNT), trying ? 0u : 1u);
            trying = trying || count(GFS_EFFECT_MOUNT) == 1;
            if (count(GFS_EFFECT_CREATE_VOLUME) == 1) {
                seen.volume_ready = true;
            }
            if (ds.phase == GFS_DATASET_BOUND && !was_bound) {
                ASSERT_EQ(ds.mounts[0].state, GFS_MOUNT_MOUNTED);
                ASSERT_TRUE(seen.has_leader && seen.volume_ready);
                ASSERT_GT(rs.roles[GFS_ROLE_WORKER].ready, 0u);
            }
            ASSERT_TRUE(!was_bound || ds.phase == GFS_DATASET_BOUND);
        }

        all_ready();
        for (int step = 0; step < 4; step++) {
            seen.now_ms += GFS_MOUNT_RETRY_MAX_MS;
            round();
            if (count(GFS_EFFECT_MOUNT) == 1 || trying) {
                gfs_reconcile_mounted(&ds, 0, 0, "", seen.now_ms);
                trying = false;
            }
            if (count(GFS_EFFECT_CREATE_VOLUME) == 1) {
                seen.volume_ready = true;
            }
        }
        ASSERT_EQ(ds.phase, GFS_DATASET_BOUND);
    }
}

TEST(StatusText, SizesAndPercentages)
{
    char buf[32];

    EXPECT_STREQ(gfs_status_size(0, buf, sizeof(buf)), "0.00B");
    EXPECT_STREQ(gfs_status_size(1023, buf, sizeof(buf)), "1023.00B");
    EXPECT_STREQ(gfs_status_size(2ull << 30, buf, sizeof(buf)), "2.00GiB");
    EXPECT_STREQ(gfs_status_size(571224064, buf, sizeof(buf)), "544.76MiB");
    EXPECT_STREQ(gfs_status_size(UINT64_MAX, buf, sizeof(buf)), "16777216.00TiB");
    EXPECT_STREQ(gfs_status_percent(1, 0, buf, sizeof(buf)), "0.0%");
    EXPECT_STREQ(gfs_status_percent(541, 1000, buf, sizeof(buf)), "54.1%");
    EXPECT_STREQ(gfs_status_percent(3, 2, buf, sizeof(buf)), "100.0%");
}

} // namespace
