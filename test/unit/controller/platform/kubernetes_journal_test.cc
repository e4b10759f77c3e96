// Journals that stay with their masters: volumes are provided once, on the node the scheduler
// chose, and go with their claims.
#include "unit/controller/platform/kubernetes_run.h"

namespace kube_run
{
namespace
{

const char VOLUMES[] = "/persistentvolumes/journal-";
const char CLAIMS[] = "/api/v1/namespaces/default/persistentvolumeclaims/journal-";

class KubernetesJournal : public KubernetesRun
{
  protected:
    static std::string master(int i)
    {
        return "hbase-master-" + std::to_string(i);
    }

    fake::Json claim(int i)
    {
        return cluster_->Get(CLAIMS + master(i));
    }

    fake::Json volume(int i)
    {
        return cluster_->Get("/api/v1/persistentvolumes/" + claim(i).text("spec", "volumeName"));
    }

    std::string node(int i)
    {
        return cluster_->Get(std::string(CORE) + "/pods/" + master(i)).text("spec", "nodeName");
    }

    // Of all masters, in their order.
    std::string nodes()
    {
        return node(0) + " " + node(1) + " " + node(2);
    }

    // Where runtimes' files may be, from the runtime's annotation.
    std::string known()
    {
        return cluster_->Get(path(RUNTIMES, "hbase"))
            .text("metadata", "annotations", "goosefs.data.fluid.io/nodes");
    }
};

TEST_F(KubernetesJournal, EveryMasterComesBackToItsLogAndNeedsNoControllerForThat)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 3u);

    std::set<std::string> different = {node(0), node(1), node(2)};
    std::string before = nodes();

    EXPECT_EQ(different.size(), 3u) << before;
    end(SIGKILL);
    for (int i = 0; i < 3; i++) {
        cluster_->Delete(std::string(CORE) + "/pods/" + master(i));
    }
    EXPECT_EQ(nodes(), before);
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 3u);
}

TEST_F(KubernetesJournal, ItsVolumeIsForThatClaimOnThatNode)
{
    create("hbase");
    cluster_->Edit(path(RUNTIMES, "hbase"), R"({"spec":{"master":{"journal":{"path":"/data"}}}})");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();

    fake::Json v = volume(1);
    fake::Json values(json_incref(json_array_get(
        fake::Json(
            json_incref(json_array_get(
                fake::Json(json_incref(json_array_get(
                               v.at("spec", "nodeAffinity", "required", "nodeSelectorTerms"), 0)))
                    .at("matchExpressions"),
                0)))
            .at("values"),
        0)));
    std::string uid = cluster_->Get(path(RUNTIMES, "hbase")).text("metadata", "uid");

    EXPECT_EQ(claim(1).text("spec", "storageClassName"), "goosefs-journal");
    EXPECT_EQ(v.text("spec", "claimRef", "uid"), claim(1).text("metadata", "uid"));
    EXPECT_EQ(v.text("spec", "capacity", "storage"), "30Gi");
    EXPECT_STREQ(json_string_value(values.get()), ("host-" + node(1)).c_str());
    EXPECT_EQ(v.text("metadata", "name").find("journal-default-hbase-master-1-"), 0u);
    EXPECT_EQ(
        v.text("spec", "hostPath", "path").find("/data/default/hbase/" + uid + "/hbase-master-1-"),
        0u);
}

// As when a node is lost for good.
TEST_F(KubernetesJournal, AClaimDeletedWithItsPodGetsANewPlaceAndTheOldVolumeGoes)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();

    std::string old_node = node(1);
    fake::Json old = volume(1);

    // In use it stays.
    cluster_->Delete(CLAIMS + master(1));
    EXPECT_EQ(volume(1).text("metadata", "name"), old.text("metadata", "name"));
    EXPECT_EQ(old.text("status", "phase"), "Bound");

    cluster_->Delete("/api/v1/nodes/" + old_node);
    cluster_->Delete(std::string(CORE) + "/pods/" + master(1));
    ASSERT_TRUE(cluster_->WaitFor([&] {
        return cluster_->Get("/api/v1/persistentvolumes/" + old.text("metadata", "name")).get() ==
                   nullptr &&
               !node(1).empty();
    })) << picture();
    EXPECT_NE(node(1), old_node);
    EXPECT_NE(volume(1).text("spec", "hostPath", "path"), old.text("spec", "hostPath", "path"));
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 3u);
    // What is left there goes with the runtime.
    EXPECT_NE(known().find(old_node + "=m"), std::string::npos) << known();

    cluster_->Delete(path(DATASETS, "hbase"));
    EXPECT_TRUE(cluster_->WaitFor([&] { return cluster_->Paths().empty(); })) << picture();
}

TEST_F(KubernetesJournal, AMasterOfALostNodeWaitsForIt)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();

    std::string before = node(2);
    fake::Json lost = cluster_->Get("/api/v1/nodes/" + before);

    cluster_->Delete("/api/v1/nodes/" + before);
    cluster_->Delete(std::string(CORE) + "/pods/" + master(2));
    EXPECT_EQ(node(2), "");
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 3u);

    char *text = json_dumps(lost.get(), 0);
    cluster_->Create("/api/v1/nodes", text);
    free(text);
    EXPECT_EQ(node(2), before);
}

TEST_F(KubernetesJournal, ANodeThatIsGoneIsChosenAgainAndAnEventTells)
{
    cluster_->ChooseNext("node9");
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();
    EXPECT_TRUE(
        cluster_->Told("ProvisioningFailed", "node node9, chosen for the journal, is gone"));
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 3u);
}

TEST_F(KubernetesJournal, ANodeWithoutItsHostnameHoldsNoJournal)
{
    cluster_->Edit("/api/v1/nodes/node2",
                   R"({"metadata":{"labels":{"kubernetes.io/hostname":null}}})");
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();
    EXPECT_TRUE(cluster_->Told("ProvisioningFailed", "node2 has no label kubernetes.io/hostname"));
    EXPECT_EQ(nodes().find("node2"), std::string::npos) << nodes();
}

TEST_F(KubernetesJournal, JournalsOfOtherKindsAreNobodysBusiness)
{
    create("hbase");
    create("spark");
    cluster_->Edit(path(RUNTIMES, "hbase"),
                   R"({"spec":{"master":{"journal":{"volumeType":"emptyDir"}}}})");
    cluster_->Edit(path(RUNTIMES, "spark"),
                   R"({"spec":{"master":{"journal":{"storageClass":"fast"}}}})");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();
    EXPECT_EQ(cluster_->Paths(std::string(CLAIMS) + "hbase").size(), 0u);
    ASSERT_TRUE(cluster_->WaitFor(
        [&] { return cluster_->Paths(std::string(CLAIMS) + "spark").size() == 3; }));
    EXPECT_EQ(
        cluster_->Get(std::string(CLAIMS) + "spark-master-0").text("spec", "storageClassName"),
        "fast");
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 0u);

    cluster_->Delete(path(DATASETS, "hbase"));
    cluster_->Delete(path(DATASETS, "spark"));
    EXPECT_TRUE(wait_gone()) << picture();
}

TEST_F(KubernetesJournal, OfARunningRuntimeItStaysAsItIsAndAnEventTells)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();

    cluster_->Edit(path(RUNTIMES, "hbase"), R"({"spec":{"master":{"journal":{"size":"5Gi"}}}})");
    EXPECT_TRUE(cluster_->WaitFor(
        [&] { return cluster_->Told("ErrorValidateSpecFields", "statefulsets/hbase-master"); }));
    cluster_->Edit(path(RUNTIMES, "hbase"), R"({"spec":{"master":{"journal":null},"replicas":2}})");
    EXPECT_TRUE(cluster_->WaitFor([&] { return cluster_->Paths("hbase-worker-").size() == 2; }));
    EXPECT_EQ(cluster_->Paths(VOLUMES).size(), 3u);
}

// Somebody took the finalizer off; no controller was there.
TEST_F(KubernetesJournal, VolumesWhoseRuntimeWentUnseenGoAtTheNextStart)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();
    end(SIGKILL);
    for (const char *collection : {RUNTIMES, DATASETS}) {
        cluster_->Edit(path(collection, "hbase"), R"({"metadata":{"finalizers":null}})");
        cluster_->Delete(path(collection, "hbase"));
    }
    for (int i = 0; i < 3; i++) {
        cluster_->Delete(CLAIMS + master(i));
    }
    ASSERT_EQ(cluster_->Paths(VOLUMES).size(), 3u) << picture();

    start();
    EXPECT_TRUE(cluster_->WaitFor([&] { return cluster_->Paths(VOLUMES).empty(); })) << picture();
}

} // namespace
} // namespace kube_run
