// From what is there to what should be: which actions, in which order.
#include "unit/controller/fixture.h"

#include <vector>

namespace
{

std::vector<std::string> diff(const std::vector<gfs_observed_pod> &observed, const gfs_plan *plan)
{
    static const char *const verbs[] = {"delete", "create", "replace"};
    std::vector<gfs_action> actions(observed.size() + (plan != nullptr ? plan->n_pods : 0) + 1);
    size_t n = gfs_diff(observed.data(), observed.size(), plan, actions.data(), actions.size());
    std::vector<std::string> out;

    for (size_t i = 0; i < n; i++) {
        const char *name =
            actions[i].pod != nullptr ? actions[i].pod->name : actions[i].observed->name;

        out.push_back(std::string(verbs[actions[i].kind]) + " " + name);
    }
    return out;
}

struct Diff : testing::Test {
    Object dataset{sample("dataset.yaml")};
    Object runtime{sample("runtime.yaml")};
    Machine machine;
    Plan plan{dataset, runtime, machine.facts};

    std::vector<gfs_observed_pod> all() const
    {
        std::vector<gfs_observed_pod> out;

        for (size_t i = 0; i < plan->n_pods; i++) {
            const gfs_pod &pod = plan->pods[i];

            out.push_back({pod.ns, pod.name, pod.role, pod.hash});
        }
        return out;
    }
};

TEST_F(Diff, NothingThereCreatesMastersThenWorkersThenClients)
{
    std::vector<std::string> actions = diff({}, plan.ptr);

    ASSERT_EQ(actions.size(), 7u);
    EXPECT_EQ(actions[0], "create hbase-master-0");
    EXPECT_EQ(actions[2], "create hbase-master-2");
    EXPECT_EQ(actions[3].rfind("create hbase-worker-", 0), 0u);
    EXPECT_EQ(actions[6].rfind("create hbase-fuse-", 0), 0u);
}

TEST_F(Diff, EverythingThereNeedsNothing)
{
    EXPECT_TRUE(diff(all(), plan.ptr).empty());
}

TEST_F(Diff, NoPlanDeletesClientsThenWorkersThenMasters)
{
    std::vector<std::string> actions = diff(all(), nullptr);

    ASSERT_EQ(actions.size(), 7u);
    EXPECT_EQ(actions[0].rfind("delete hbase-fuse-", 0), 0u);
    EXPECT_EQ(actions[1].rfind("delete hbase-worker-", 0), 0u);
    EXPECT_EQ(actions[4], "delete hbase-master-0");
}

TEST_F(Diff, AnotherHashReplacesThatPodOnly)
{
    std::vector<gfs_observed_pod> observed = all();

    observed[4].hash++;
    EXPECT_EQ(diff(observed, plan.ptr),
              std::vector<std::string>{std::string("replace ") + plan->pods[4].name});
}

TEST_F(Diff, FewerReplicasDeleteTheHighestIndexes)
{
    Object smaller("apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: "
                   "hbase}\nspec: {replicas: 1, master: {replicas: 3}, tieredstore: {levels: "
                   "[{mediumtype: HDD, path: /mnt/disk1, quota: 2G, high: '0.8', low: '0.7'}]}}\n");
    Plan less(dataset, smaller, machine.facts);

    ASSERT_EQ(less.rc, 0);
    EXPECT_EQ(diff(all(), less.ptr),
              (std::vector<std::string>{std::string("delete ") + plan->pods[4].name,
                                        std::string("delete ") + plan->pods[5].name}));
}

TEST_F(Diff, NeverWritesMoreThanTheRoomGiven)
{
    gfs_action actions[2];

    EXPECT_EQ(gfs_diff(nullptr, 0, plan.ptr, actions, 2), 2u);
}

} // namespace
