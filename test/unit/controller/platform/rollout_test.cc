// Which pod goes next when a template has changed.
#include <string>
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "platform/kubernetes/rollout.h"
}

namespace
{

struct Pods {
    std::vector<gfsi_rollout_pod> list;

    Pods &Add(const char *name, bool ready, bool stale, bool leader = false)
    {
        list.push_back({name, ready, stale, leader});
        return *this;
    }

    // "replace NAME", "hand over NAME" or "nothing".
    std::string Next(size_t wanted) const
    {
        size_t i = 0;

        switch (gfsi_rollout_next(list.data(), list.size(), wanted, &i)) {
        case GFSI_ROLLOUT_REPLACE: return std::string("replace ") + list[i].name;
        case GFSI_ROLLOUT_HAND_OVER: return std::string("hand over ") + list[i].name;
        default: return "nothing";
        }
    }
};

TEST(Rollout, FollowersGoBeforeTheLeaderFromTheHighestNumberDown)
{
    EXPECT_EQ(
        "replace m-2",
        Pods().Add("m-0", true, true).Add("m-1", true, true, true).Add("m-2", true, true).Next(3));
    EXPECT_EQ(
        "replace m-0",
        Pods().Add("m-0", true, true).Add("m-1", true, true, true).Add("m-2", true, false).Next(3));
    EXPECT_EQ("replace m-10",
              Pods().Add("m-9", true, true).Add("m-10", true, true).Add("m-0", true, true).Next(3));
}

TEST(Rollout, TheLeaderHandsOverBeforeItGoes)
{
    EXPECT_EQ("hand over m-1", Pods()
                                   .Add("m-0", true, false)
                                   .Add("m-1", true, true, true)
                                   .Add("m-2", true, false)
                                   .Next(3));
    EXPECT_EQ("replace m-1", Pods()
                                 .Add("m-0", true, false, true)
                                 .Add("m-1", true, true)
                                 .Add("m-2", true, false)
                                 .Next(3));
}

TEST(Rollout, OneMasterHasNobodyToHandOverTo)
{
    EXPECT_EQ("replace m-0", Pods().Add("m-0", true, true, true).Next(1));
}

TEST(Rollout, NothingGoesWhileAnotherIsNotReadyOrMissing)
{
    EXPECT_EQ("nothing", Pods()
                             .Add("m-0", true, true)
                             .Add("m-1", true, true, true)
                             .Add("m-2", false, false)
                             .Next(3));
    EXPECT_EQ("nothing", Pods().Add("m-0", true, true).Add("m-1", true, true, true).Next(3));
}

TEST(Rollout, ATemplateThatDoesNotRunCostsOnePodAndIsCuredByTheNext)
{
    // m-2 has the bad template; a better one makes it stale like the others.
    EXPECT_EQ(
        "replace m-2",
        Pods().Add("m-0", true, true).Add("m-1", true, true, true).Add("m-2", false, true).Next(3));
    // Bad from the start: none of them serves, so each may go.
    EXPECT_EQ(
        "replace m-1",
        Pods().Add("m-0", false, true).Add("m-1", false, true).Add("m-2", false, false).Next(3));
    // Two of three away, one serves: whatever it is, it is not made worse.
    EXPECT_EQ(
        "nothing",
        Pods().Add("m-0", true, true).Add("m-1", false, true).Add("m-2", false, true).Next(3));
}

TEST(Rollout, AtRestThereIsNothingToDo)
{
    EXPECT_EQ("nothing", Pods().Add("m-0", true, false, true).Next(1));
    EXPECT_EQ("nothing", Pods().Next(3));
}

// From any state each step leaves a majority, and the end is reached.
TEST(Rollout, EveryWayEndsWithAllPodsReplacedAndNeverLessThanAMajority)
{
    for (size_t n : {1u, 3u, 5u}) {
        for (size_t leader = 0; leader < n; leader++) {
            std::vector<std::string> names;
            Pods pods;
            int steps = 0;

            for (size_t i = 0; i < n; i++) {
                names.push_back("m-" + std::to_string(i));
            }
            for (size_t i = 0; i < n; i++) {
                pods.Add(names[i].c_str(), true, true, i == leader);
            }
            for (;; steps++) {
                size_t i = 0;
                auto action = gfsi_rollout_next(pods.list.data(), n, n, &i);

                ASSERT_LE(steps, static_cast<int>(n) + 1);
                if (action == GFSI_ROLLOUT_NOTHING) {
                    break;
                }
                ASSERT_TRUE(pods.list[i].stale);
                if (action == GFSI_ROLLOUT_HAND_OVER) {
                    pods.list[i].leader = false;
                    pods.list[(i + 1) % n].leader = true;
                    continue;
                }
                ASSERT_TRUE(n == 1 || !pods.list[i].leader);
                pods.list[i].ready = false;
                pods.list[i].stale = false;
                EXPECT_EQ("nothing", pods.Next(n));
                pods.list[i].ready = true;
            }
            for (const auto &pod : pods.list) {
                EXPECT_FALSE(pod.stale);
            }
        }
    }
}

} // namespace
