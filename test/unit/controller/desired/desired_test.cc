// The plan for the document's objects, as golden files, and what it must not do.
#include "unit/controller/fixture.h"

#include <cstring>
#include <set>

namespace
{

TEST(Desired, TheDocumentOnOneMachine)
{
    Object dataset(sample("dataset.yaml"));
    Object runtime(sample("runtime.yaml"));
    Machine machine;

    machine.facts.n_missing = 1;

    Plan plan(dataset, runtime, machine.facts);

    ASSERT_EQ(plan.rc, 0) << plan.err.text;
    expect_golden("document-one-machine.json", plan.print());
    ASSERT_EQ(plan->n_notes, 1u);
    EXPECT_STREQ(plan->notes[0],
                 "/mnt/disk1 does not exist on this machine, /state/disks/mnt/disk1 stands in for "
                 "it: create the directory and apply the runtime again to use it");
}

TEST(Desired, TheDocumentOnThreeNodes)
{
    const char *nodes[] = {"192.168.1.145", "192.168.1.146", "192.168.1.147"};
    Object dataset(sample("dataset.yaml"));
    Object runtime(sample("runtime.yaml"));
    Machine machine;

    machine.facts.nodes = nodes;
    machine.facts.n_nodes = 3;
    machine.facts.pods_dir = "";
    machine.facts.hosts_file = "";
    machine.facts.one_machine = false;

    Plan plan(dataset, runtime, machine.facts);

    ASSERT_EQ(plan.rc, 0) << plan.err.text;
    expect_golden("document-three-nodes.json", plan.print());
    EXPECT_EQ(plan->n_notes, 0u);
    EXPECT_EQ(plan->desired[GFS_ROLE_FUSE], 3u);
}

TEST(Desired, TheSameInputGivesTheSamePlan)
{
    Object dataset(sample("dataset.yaml"));
    Object runtime(sample("runtime.yaml"));
    Machine machine;
    Plan a(dataset, runtime, machine.facts);
    Plan b(dataset, runtime, machine.facts);

    ASSERT_EQ(a.rc, 0);
    EXPECT_EQ(a.print(), b.print());
    for (size_t i = 0; i < a->n_pods; i++) {
        EXPECT_EQ(a->pods[i].hash, b->pods[i].hash);
    }
}

TEST(Desired, SuffixesUseTheKubernetesAlphabetAndDoNotCollide)
{
    Object dataset(sample("dataset.yaml"));
    Object runtime("apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: "
                   "hbase}\nspec: {replicas: 1000}\n");
    Machine machine;
    Plan plan(dataset, runtime, machine.facts);
    std::set<std::string> names;

    ASSERT_EQ(plan.rc, 0) << plan.err.text;
    for (size_t i = 0; i < plan->n_pods; i++) {
        const gfs_pod &pod = plan->pods[i];

        EXPECT_TRUE(names.insert(pod.name).second) << pod.name;
        if (pod.role == GFS_ROLE_WORKER) {
            const char *suffix = pod.name + strlen("hbase-worker-");

            ASSERT_EQ(strlen(suffix), 5u);
            EXPECT_EQ(strspn(suffix, "bcdfghjklmnpqrstvwxz2456789"), 5u) << pod.name;
        }
    }
    EXPECT_EQ(names.size(), 1u + 1000u + 1u);
}

TEST(Desired, PropertiesOfTheUserWinAndMovePortsEverywhere)
{
    Object dataset(sample("dataset.yaml"));
    Object runtime("apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: "
                   "hbase}\nspec: {properties: {goosefs.master.rpc.port: '27000', a: '1'}, "
                   "master: {properties: {a: '2'}}, fuse: {properties: {b: '3'}}}\n");
    Machine machine;
    Plan plan(dataset, runtime, machine.facts);

    ASSERT_EQ(plan.rc, 0) << plan.err.text;

    const gfs_pod &master = plan->pods[0];

    EXPECT_EQ(master.rpc_port, 27000);
    EXPECT_STREQ(gfs_kvs_get(&master.properties, "goosefs.master.rpc.addresses"),
                 "hbase-master-0:27000");
    EXPECT_EQ(plan->services[0].ports[0].port, 27000);
    EXPECT_STREQ(gfs_kvs_get(&master.properties, "a"), "2");
    EXPECT_STREQ(gfs_kvs_get(&plan->conf, "a"), "1");
    EXPECT_STREQ(gfs_kvs_get(&plan->conf, "b"), "3");
    EXPECT_EQ(gfs_kvs_get(&master.properties, "b"), nullptr);
    EXPECT_STREQ(plan->hcfs, "goosefs://hbase-master-0.default:27000");
}

TEST(Desired, APortThatIsNoneIsRefused)
{
    Object dataset(sample("dataset.yaml"));
    Object runtime("apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: "
                   "hbase}\nspec: {properties: {goosefs.master.web.port: '70000'}}\n");
    Machine machine;
    Plan plan(dataset, runtime, machine.facts);

    EXPECT_EQ(plan.rc, GFS_EINVAL);
    EXPECT_EQ(plan.ptr, nullptr);
    EXPECT_STREQ(plan.err.text,
                 "spec.properties: goosefs.master.web.port '70000' is not a port (1 to 65535)");
}

TEST(Desired, LabelKeysOfLongNamesStayWithinTheirLimitAndDiffer)
{
    std::string ns(40, 'n');
    Machine machine;
    std::set<std::string> keys;

    for (const char *name : {"a", "b"}) {
        std::string full = std::string(40, 'x') + name;
        Object dataset("apiVersion: data.fluid.io/v1alpha1\nkind: Dataset\nmetadata: {name: " +
                           full + "}\nspec: {mounts: [{mountPoint: 'http://h/', name: x}]}\n",
                       ns.c_str());
        Object runtime(
            "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: " + full +
                "}\n",
            ns.c_str());
        Plan plan(dataset, runtime, machine.facts);

        ASSERT_EQ(plan.rc, 0) << plan.err.text;

        std::string key = gfs_kvs_get(&plan->volume.attributes, "mount_pod_node_selector_key");

        EXPECT_EQ(key.rfind("fluid.io/f-nnnn", 0), 0u) << key;
        EXPECT_LE(key.size() - strlen("fluid.io/"), 63u);
        EXPECT_TRUE(keys.insert(key).second);
    }
}

} // namespace
