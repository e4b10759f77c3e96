// Every step of the operations failing in turn, a journal that cannot be written, a start after a
// death.
#include "fakes.h"

class NodeFaultsTest : public FakeNode
{
};

// Whatever fails in a stage, nothing stays that was not there before; and the retry succeeds.
TEST_F(NodeFaultsTest, AnyFaultInStageLeavesNothing)
{
    for (int n = 1;; n++) {
        faults = {n, GFS_EIO, false};
        int rc = stage();
        bool fired = faults.fired;
        faults = {};
        if (!fired) {
            ASSERT_EQ(rc, 0) << err.text;
            EXPECT_GT(n, 3);
            return;
        }
        ASSERT_LT(rc, 0);
        EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);
        EXPECT_EQ(mounts.find(fluid_path), nullptr) << "fault " << n;
        ASSERT_EQ(stage(), 0) << err.text;
        ASSERT_EQ(unstage(), 0);
        keeper.states.clear();
        mounts.mounts.clear();
    }
}

TEST_F(NodeFaultsTest, AnyFaultInPublishLeavesNothing)
{
    ASSERT_EQ(stage(), 0);
    for (int n = 1;; n++) {
        std::string path = target("p" + std::to_string(n));
        faults = {n, GFS_EIO, false};
        int rc = publish(path);
        bool fired = faults.fired;
        faults = {};
        if (!fired) {
            ASSERT_EQ(rc, 0) << err.text;
            EXPECT_GT(n, 4);
            return;
        }
        ASSERT_LT(rc, 0);
        EXPECT_EQ(mounts.depth(path), 0) << "fault " << n;
        EXPECT_FALSE(exists(path)) << "fault " << n;
        EXPECT_EQ(
            gfsi_journal_find_use(node.journal, kVolume, GFSI_PUBLISHED, path.c_str(), nullptr),
            GFS_ENOENT);
        ASSERT_EQ(publish(path), 0) << err.text;
    }
}

TEST_F(NodeFaultsTest, AFaultInUnpublishIsRepairedByTheRetry)
{
    ASSERT_EQ(stage(), 0);
    for (int n = 1;; n++) {
        std::string path = target("p1");
        ASSERT_EQ(publish(path), 0) << err.text;
        faults = {n, GFS_EIO, false};
        int rc = unpublish(path);
        bool fired = faults.fired;
        faults = {};
        ASSERT_EQ(unpublish(path), 0) << err.text;
        EXPECT_EQ(mounts.depth(path), 0);
        EXPECT_FALSE(exists(path));
        if (!fired) {
            ASSERT_EQ(rc, 0);
            return;
        }
    }
}

// The journal cannot be written: the volume must not stay published.
TEST_F(NodeFaultsTest, PublishWithoutAJournalIsUndone)
{
    ASSERT_EQ(stage(), 0);
    std::string volumes = dir.path() + "/state/volumes";
    ASSERT_EQ(std::system(("rm -rf " + volumes + " && touch " + volumes).c_str()), 0);
    EXPECT_LT(publish(target("p1")), 0);
    EXPECT_EQ(mounts.depth(target("p1")), 0);
    EXPECT_FALSE(exists(target("p1")));
    EXPECT_EQ(gfsi_journal_count_uses(node.journal, kVolume, GFSI_PUBLISHED), 0u);
}

TEST_F(NodeFaultsTest, ReconcileForgetsTargetsThatAreNotMounted)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    ASSERT_EQ(publish(target("p2")), 0);
    mounts.remove(target("p1"));
    open_journal();
    ASSERT_EQ(gfsi_node_reconcile(&node, &err), 0);
    EXPECT_EQ(gfsi_journal_count_uses(node.journal, kVolume, GFSI_PUBLISHED), 1u);
    EXPECT_EQ(gfsi_journal_count_uses(node.journal, kVolume, GFSI_STAGED), 1u);
}

TEST_F(NodeFaultsTest, ReconcileForgetsLinksThatAreGone)
{
    ASSERT_EQ(stage(), 0);
    for (const char *pod : {"p1", "p2"}) {
        struct gfsi_request r = request(GFSI_PUBLISH, target(pod));
        r.attrs.method = GFSI_METHOD_SYMLINK;
        ASSERT_EQ(run(r), 0) << err.text;
    }
    ASSERT_EQ(unlink(target("p1").c_str()), 0);
    open_journal();
    ASSERT_EQ(gfsi_node_reconcile(&node, &err), 0);
    EXPECT_EQ(gfsi_journal_count_uses(node.journal, kVolume, GFSI_PUBLISHED), 1u);
}
