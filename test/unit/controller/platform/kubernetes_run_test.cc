// The controllers, as they run, against an API server: whole lives of data sets while the
// controller is killed and objects are changed by hand.
#include "unit/controller/platform/kubernetes_run.h"

namespace kube_run
{

// How many steps a sweep leaves out: all are for who has the time.
size_t stride()
{
    return getenv("GFS_SWEEP_ALL") != nullptr ? 1 : 4;
}

TEST_F(KubernetesRun, ADatasetAndItsRuntimeBecomeReadyAndGoWithoutATrace)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase")) << picture();
    EXPECT_EQ(cluster_->Paths("/pods/").size(), 9u);
    EXPECT_EQ(cluster_->Paths("/persistentvolumes/").size(), 4u); // three journals
    EXPECT_NE(labels().find("fluid.io/s-default-hbase"), std::string::npos) << labels();

    cluster_->Delete(path(DATASETS, "hbase"));
    EXPECT_TRUE(wait_gone()) << picture();
    EXPECT_EQ(end(SIGTERM), 0);
}

TEST_F(KubernetesRun, KilledAtAnyWriteOfACreationTheNextOneFinishesIt)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase"));
    end(SIGKILL);

    std::string wanted = picture();
    size_t writes = cluster_->Writes();

    ASSERT_GT(writes, 10u);
    for (size_t step = 1; step <= writes; step += stride()) {
        bool after = (step / stride()) % 2 == 1;

        SCOPED_TRACE("write " + std::to_string(step) + (after ? ", after it" : ", before it"));
        fresh();
        create("hbase");
        start();
        std::atomic<bool> killed = false;
        kill_at(step, after, &killed);
        ASSERT_TRUE(cluster_->WaitFor([&] { return killed || ready("hbase"); }));
        cluster_->AtWrite(0, false, nullptr); // first: it names a process
        end(SIGKILL);
        start();
        ASSERT_TRUE(wait_ready("hbase")) << picture();
        EXPECT_EQ(picture(), wanted);
        end(SIGKILL);
    }
}

TEST_F(KubernetesRun, KilledAtAnyWriteOfADeletionTheNextOneLeavesNothing)
{
    size_t writes = 50; // more than there are

    for (size_t step = 1; step <= writes; step += stride()) {
        size_t nth = step / stride();
        bool after = nth % 2 == 1;

        SCOPED_TRACE("write " + std::to_string(step) + (after ? ", after it" : ", before it"));
        create("hbase");
        start();
        ASSERT_TRUE(wait_ready("hbase")) << picture();
        std::atomic<bool> killed = false;
        size_t before = cluster_->Writes();
        kill_at(step, after, &killed);
        cluster_->Delete(path(nth % 3 == 0 ? RUNTIMES : DATASETS, "hbase"));
        if (nth % 3 == 0) {
            cluster_->Delete(path(DATASETS, "hbase"));
        }
        ASSERT_TRUE(cluster_->WaitFor([&] { return killed || cluster_->Paths().empty(); }))
            << picture();
        if (!killed) {
            writes = std::min(writes, cluster_->Writes() - before);
        }
        cluster_->AtWrite(0, false, nullptr); // first: it names a process
        end(SIGKILL);
        start();
        ASSERT_TRUE(wait_gone()) << picture();
        end(SIGKILL);
    }
}

TEST_F(KubernetesRun, WhatIsDeletedOrEditedByHandIsPutBack)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase"));

    std::string wanted = picture();

    for (const auto &object : cluster_->Paths()) {
        if (object.find("data.fluid.io") != std::string::npos) {
            continue; // the users'
        }
        cluster_->Delete(object);
    }
    EXPECT_TRUE(cluster_->WaitFor([&] { return picture() == wanted; })) << picture();

    cluster_->Edit(path(APPS, "statefulsets/hbase-master"), R"({"spec":{"replicas":1}})");
    cluster_->Edit(path(APPS, "replicasets/hbase-worker"),
                   R"({"spec":{"template":{"spec":{"nodeSelector":null,"affinity":null}}}})");
    cluster_->Edit(path(CORE, "configmaps/hbase-config"), R"({"data":{"master.properties":"x"}})");
    cluster_->Edit(path(CORE, "services/hbase-master-1"), R"({"spec":{"selector":{"role":"y"}}})");
    EXPECT_TRUE(cluster_->WaitFor([&] { return picture() == wanted; })) << picture();
    EXPECT_TRUE(wait_ready("hbase"));
}

// Kubernetes binds by uid: a volume that remembers a claim that is gone, or a claim whose volume is
// another one, would stay that way.
TEST_F(KubernetesRun, AClaimOrAVolumeMadeAnewIsBoundAgain)
{
    std::string claim = path(CORE, "persistentvolumeclaims/hbase");
    std::string volume = "/api/v1/persistentvolumes/default-hbase";
    auto bound_to = [&](const std::string &before) {
        std::string uid = cluster_->Get(claim).text("metadata", "uid");
        return !uid.empty() && uid != before &&
               cluster_->Get(claim).text("status", "phase") == "Bound" &&
               cluster_->Get(volume).text("status", "phase") == "Bound" &&
               cluster_->Get(volume).text("spec", "claimRef", "uid") == uid;
    };

    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase"));
    ASSERT_TRUE(cluster_->WaitFor([&] { return bound_to(""); }));

    std::string first = cluster_->Get(claim).text("metadata", "uid");

    cluster_->Delete(claim);
    EXPECT_TRUE(cluster_->WaitFor([&] { return bound_to(first); })) << picture();

    first = cluster_->Get(volume).text("metadata", "uid");
    cluster_->Delete(volume);
    EXPECT_TRUE(cluster_->WaitFor([&] {
        return bound_to("") && cluster_->Get(volume).text("metadata", "uid") != first;
    })) << picture();

    cluster_->Delete(path(DATASETS, "hbase"));
    EXPECT_TRUE(wait_gone()) << picture();
}

TEST_F(KubernetesRun, AJournalsClaimWhoseRuntimeIsGoneGoesToo)
{
    cluster_->Create(std::string(CORE) + "/persistentvolumeclaims",
                     R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{
        "name":"journal-hbase-master-0","labels":{"fluid.io/managed-by":"fluid",
        "release":"hbase","role":"goosefs-master"}},"spec":{}})");
    start();
    EXPECT_TRUE(cluster_->WaitFor([&] { return cluster_->Paths().empty(); })) << picture();
}

TEST_F(KubernetesRun, LabelsOfNodesTakenByHandArePutBack)
{
    create("hbase");
    start();
    ASSERT_TRUE(wait_ready("hbase"));
    ASSERT_TRUE(cluster_->WaitQuiet());

    const char key[] = "fluid.io/s-default-hbase";
    auto value = [&](const std::string &node) {
        return cluster_->Get("/api/v1/nodes/" + node).text("metadata", "labels", key);
    };

    ASSERT_EQ(value("node1"), "true");
    cluster_->Edit("/api/v1/nodes/node1",
                   R"({"metadata":{"labels":{"fluid.io/s-default-hbase":null}}})");
    EXPECT_TRUE(cluster_->WaitFor([&] { return value("node1") == "true"; })) << labels();
    cluster_->Edit("/api/v1/nodes/node2",
                   R"({"metadata":{"labels":{"fluid.io/s-default-hbase":"false"}}})");
    EXPECT_TRUE(cluster_->WaitFor([&] { return value("node2") == "true"; })) << labels();
}

TEST_F(KubernetesRun, OfTwoReplicasOneWorksAndTheOtherTakesOver)
{
    start("first");
    ASSERT_TRUE(cluster_->WaitFor([&] { return holder() == "first"; }));
    start("second");
    create("hbase");
    ASSERT_TRUE(wait_ready("hbase"));
    EXPECT_EQ(end(SIGTERM), 0);

    create("spark");
    EXPECT_TRUE(wait_ready("spark"));
    EXPECT_EQ(holder(), "second");
}

TEST_F(KubernetesRun, AtRestNothingIsAskedOrWritten)
{
    const int n = 10;

    for (int i = 0; i < n; i++) {
        create("set-" + std::to_string(i));
    }
    start();
    for (int i = 0; i < n; i++) {
        ASSERT_TRUE(wait_ready("set-" + std::to_string(i)));
    }

    ASSERT_TRUE(cluster_->WaitQuiet());

    // Rounds that find nothing to do ask nothing either. A round that comes late on a busy machine,
    // after what looked like rest, spoils one look, not three.
    size_t asked = 0;

    for (int look = 0; look < 3 && asked != 1; look++) {
        size_t requests = cluster_->Requests();

        for (int i = 0; i < n; i++) {
            cluster_->Edit(path(RUNTIMES, "set-" + std::to_string(i)),
                           R"({"metadata":{"annotations":{"look":")" + std::to_string(look) +
                               R"("}}})");
        }
        cluster_->Delete(path(CORE, "configmaps/set-9-config"));
        EXPECT_TRUE(cluster_->WaitFor(
            [&] { return cluster_->Get(path(CORE, "configmaps/set-9-config")).get() != nullptr; }));
        ASSERT_TRUE(cluster_->WaitQuiet());
        asked = cluster_->Requests() - requests;
    }
    EXPECT_EQ(asked, 1u); // the ConfigMap
}

} // namespace kube_run
