#include "fakes.h"

class NodeTest : public FakeNode
{
};

// ---- stage ----

TEST_F(NodeTest, StageAsksTheKeeperForTheMount)
{
    ASSERT_EQ(stage(), 0) << err.text;
    EXPECT_EQ(keeper.mounted, 1);
    EXPECT_EQ(keeper.states.count("default.hbase"), 1u);
    ASSERT_GE(keeper.argv.size(), 3u);
    EXPECT_EQ(keeper.argv[0], "/usr/bin/goosefs-fuse");
    EXPECT_EQ(keeper.argv[1], "--properties");
    EXPECT_EQ(keeper.argv[2], runtime + "/goosefs/default/hbase/conf/goosefs-site.properties");
    EXPECT_TRUE(keeper.options & GFS_KEEPER_ALLOW_OTHER);
    EXPECT_NE(mounts.find(fluid_path), nullptr);
}

TEST_F(NodeTest, StageTenTimesMountsOnce)
{
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(stage(), 0) << err.text;
    }
    EXPECT_EQ(keeper.mounted, 1);
}

TEST_F(NodeTest, StageWithOtherParametersAtTheSamePathIsAlreadyExists)
{
    ASSERT_EQ(stage(), 0);
    struct gfsi_request r = request(GFSI_STAGE, staging);
    snprintf(r.digest, sizeof(r.digest), "other");
    EXPECT_EQ(run(r), GFS_EEXIST);

    r = request(GFSI_STAGE, staging);
    snprintf(r.attrs.sub_path, sizeof(r.attrs.sub_path), "sub");
    EXPECT_EQ(run(r), GFS_EEXIST);
}

TEST_F(NodeTest, StageOfAMountThatIsThereAlreadyMountsNothing)
{
    keeper.away = true;
    mounts.add(fluid_path, GFSI_GOOSEFS_TYPE);
    ASSERT_EQ(stage(), 0) << err.text;
    EXPECT_EQ(keeper.mounted, 0);
}

TEST_F(NodeTest, StageWithoutAKeeperIsUnavailableAndLeavesNothing)
{
    keeper.away = true;
    EXPECT_EQ(stage(), GFS_EUNAVAIL);
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);
    EXPECT_EQ(mounts.find(fluid_path), nullptr);
}

TEST_F(NodeTest, StageWithoutTheRuntimesConfigurationIsUnavailable)
{
    ASSERT_EQ(unlink((runtime + "/goosefs/default/hbase/conf/goosefs-site.properties").c_str()), 0);
    EXPECT_EQ(stage(), GFS_EUNAVAIL);
    EXPECT_NE(strstr(err.text, "goosefs-site.properties"), nullptr);
}

TEST_F(NodeTest, StageTellsWhyTheClientDidNotStart)
{
    keeper.client_fails = true;
    EXPECT_EQ(stage(), GFS_EIO);
    EXPECT_NE(strstr(err.text, "the client said no"), nullptr);
}

TEST_F(NodeTest, StageReplacesABrokenMount)
{
    ASSERT_EQ(stage(), 0);
    keeper.states["default.hbase"] = GFS_KEEPER_BROKEN;
    ASSERT_EQ(stage(), 0) << err.text;
    EXPECT_EQ(keeper.mounted, 2);
    EXPECT_EQ(mounts.depth(fluid_path), 1);
}

TEST_F(NodeTest, StageMountsAgainWhatSomebodyUnmounted)
{
    ASSERT_EQ(stage(), 0);
    mounts.remove(fluid_path);
    ASSERT_EQ(stage(), 0) << err.text;
    EXPECT_NE(mounts.find(fluid_path), nullptr);
}

TEST_F(NodeTest, StageRefusesAForeignMountAtFluidPath)
{
    mounts.add(fluid_path, "ext4");
    EXPECT_EQ(stage(), GFS_EPRECONDITION);
    EXPECT_EQ(mounts.depth(fluid_path), 1);
}

TEST_F(NodeTest, InPodModeTheKeeperIsToldWhoStartsTheClientAndStageDoesNotWaitForIt)
{
    // The pod itself brings the configuration.
    ASSERT_EQ(unlink((runtime + "/goosefs/default/hbase/conf/goosefs-site.properties").c_str()), 0);
    node.launch_mode = GFS_CSI_LAUNCH_POD;
    keeper.no_launcher = true;
    ASSERT_EQ(stage(), 0) << err.text;
    EXPECT_EQ(keeper.launch, runtime + "/goosefs/default/hbase");
    EXPECT_EQ(publish(target("p1")), GFS_EUNAVAIL);
    EXPECT_FALSE(exists(target("p1")));

    keeper.no_launcher = false;
    EXPECT_EQ(publish(target("p1")), 0) << err.text;
    EXPECT_EQ(keeper.mounted, 1);

    // While the pod is replaced the mount is as good as any: its users wait.
    keeper.states.begin()->second = GFS_KEEPER_WAITING;
    EXPECT_EQ(publish(target("p2")), 0) << err.text;
    EXPECT_EQ(keeper.mounted, 1);
}

TEST_F(NodeTest, StageInPodModeLabelsTheNodeAndDoesNotWait)
{
    node.keeper.mount = nullptr; // pods mount by themselves
    std::vector<std::string> labels;
    struct gfs_csi_node_labeler labeler = {};
    labeler.self = &labels;
    labeler.set = [](void *self, const char *key, int64_t, struct gfs_err *) {
        static_cast<std::vector<std::string> *>(self)->push_back(key);
        return 0;
    };
    labeler.remove = [](void *self, const char *, int64_t, struct gfs_err *) {
        static_cast<std::vector<std::string> *>(self)->clear();
        return 0;
    };
    node.launch_mode = GFS_CSI_LAUNCH_POD;
    node.labeler = &labeler;
    ASSERT_EQ(stage(), 0) << err.text;
    EXPECT_EQ(labels, std::vector<std::string>{"fluid.io/f-default-hbase"});
    EXPECT_EQ(keeper.mounted, 0);

    // Publishing waits, and says so when nothing comes.
    EXPECT_EQ(publish(target("p1")), GFS_EUNAVAIL);
    EXPECT_FALSE(exists(target("p1")));

    mounts.add(fluid_path, GFSI_GOOSEFS_TYPE);
    EXPECT_EQ(publish(target("p1")), 0) << err.text;
    EXPECT_EQ(unpublish(target("p1")), 0);
    EXPECT_EQ(unstage(), 0);
    EXPECT_EQ(labels.size(), 1u) << "OnRuntimeDeleted keeps the pod";
}

TEST_F(NodeTest, StageNeedsNoApiServerWhereTheMountIs)
{
    struct gfs_csi_node_labeler labeler = {};
    labeler.set = [](void *, const char *, int64_t, struct gfs_err *e) {
        return gfs_err_set(e, GFS_EUNAVAIL, "no API server");
    };
    labeler.remove = [](void *, const char *, int64_t, struct gfs_err *) { return 0; };
    node.labeler = &labeler;
    auto mount = node.keeper.mount;
    node.keeper.mount = nullptr;
    node.launch_mode = GFS_CSI_LAUNCH_POD;
    EXPECT_EQ(stage(), GFS_EUNAVAIL) << "nothing would start the pod";
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);
    mounts.add(fluid_path, GFSI_GOOSEFS_TYPE);
    EXPECT_EQ(stage(), 0) << err.text;
    EXPECT_EQ(unstage(), 0);
    mounts.remove(fluid_path);

    node.keeper.mount = mount;
    EXPECT_EQ(stage(), 0) << "the keeper found who mounts: " << err.text;
}

// ---- publish ----

TEST_F(NodeTest, PublishBindsAndIsIdempotent)
{
    ASSERT_EQ(stage(), 0);
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(publish(target("p1")), 0) << err.text;
    }
    EXPECT_EQ(mounts.depth(target("p1")), 1);
    EXPECT_EQ(mounts.find(target("p1"))->fstype, GFSI_GOOSEFS_TYPE);
}

TEST_F(NodeTest, PublishReadOnlyIsReadOnly)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1"), true), 0) << err.text;
    EXPECT_EQ(mounts.find(target("p1"))->options.substr(0, 2), "ro");
}

TEST_F(NodeTest, PublishAgainWithOtherParametersIsAlreadyExists)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    EXPECT_EQ(publish(target("p1"), true), GFS_EEXIST);
    EXPECT_EQ(mounts.depth(target("p1")), 1);
}

TEST_F(NodeTest, PublishOfAnotherVolumeAtATakenTargetIsAlreadyExists)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    struct gfsi_request r = request(GFSI_PUBLISH, target("p1"));
    snprintf(r.volume_id, sizeof(r.volume_id), "other");
    EXPECT_EQ(run(r), GFS_EEXIST);
}

TEST_F(NodeTest, SecondTargetIsAllowedForMultiModesOnly)
{
    // CSI__V1__...__MODE: 1 SINGLE_NODE_WRITER ... 7 SINGLE_NODE_MULTI_WRITER
    for (int mode = 1; mode <= 7; mode++) {
        struct gfsi_request first = request(GFSI_PUBLISH, target("a" + std::to_string(mode)));
        struct gfsi_request second = request(GFSI_PUBLISH, target("b" + std::to_string(mode)));
        bool multi = mode == 3 || mode == 4 || mode == 5 || mode == 7;

        for (struct gfsi_request *r : {&first, &second}) {
            r->access_mode = mode;
            snprintf(r->volume_id, sizeof(r->volume_id), "volume-%d", mode);
        }
        ASSERT_EQ(run(first), 0) << err.text;
        EXPECT_EQ(run(second), multi ? 0 : GFS_EPRECONDITION) << "mode " << mode;
        EXPECT_EQ(run(first), 0) << "the first target stays idempotent";
    }
}

TEST_F(NodeTest, SecondTargetWithAnotherCapabilityIsFailedPrecondition)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    struct gfsi_request r = request(GFSI_PUBLISH, target("p2"));
    snprintf(r.capability, sizeof(r.capability), "c2");
    EXPECT_EQ(run(r), GFS_EPRECONDITION);
}

TEST_F(NodeTest, PublishFromAPathWhereTheVolumeIsNotStagedIsFailedPrecondition)
{
    ASSERT_EQ(stage(), 0);
    struct gfsi_request r = request(GFSI_PUBLISH, target("p1"));
    snprintf(r.staging, sizeof(r.staging), "%s/plugins/elsewhere", kubelet.c_str());
    EXPECT_EQ(run(r), GFS_EPRECONDITION);
}

TEST_F(NodeTest, PublishAfterTheJournalWasLostHealsItself)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    ASSERT_EQ(std::system(("rm -rf " + dir.path() + "/state").c_str()), 0);
    open_journal();

    ASSERT_EQ(publish(target("p1")), 0) << err.text;
    EXPECT_EQ(mounts.depth(target("p1")), 1) << "the mount that was there is taken over";
    EXPECT_EQ(publish(target("p2")), 0);
    EXPECT_EQ(stage(), 0) << "kubelet may stage again";
    EXPECT_EQ(unpublish(target("p1")), 0);
    EXPECT_EQ(unpublish(target("p2")), 0);
    EXPECT_EQ(unstage(), 0);
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);
}

TEST_F(NodeTest, PublishWithSubPathShowsOnlyThat)
{
    dir.make("runtime-mnt/goosefs/default/hbase/goosefs-fuse/a/b");
    struct gfsi_request r = request(GFSI_STAGE, staging);
    snprintf(r.attrs.sub_path, sizeof(r.attrs.sub_path), "a/b");
    ASSERT_EQ(run(r), 0);
    struct gfsi_request p = request(GFSI_PUBLISH, target("p1"));
    snprintf(p.attrs.sub_path, sizeof(p.attrs.sub_path), "a/b");
    ASSERT_EQ(run(p), 0) << err.text;
    EXPECT_EQ(mounts.find(target("p1"))->root, "/a/b");
    EXPECT_EQ(run(p), 0);
    EXPECT_EQ(mounts.depth(target("p1")), 1);
}

TEST_F(NodeTest, PublishWithAMissingSubPathIsNotFoundAndLeavesNoDirectory)
{
    struct gfsi_request p = request(GFSI_PUBLISH, target("p1"));
    snprintf(p.attrs.sub_path, sizeof(p.attrs.sub_path), "missing");
    EXPECT_EQ(run(p), GFS_ENOENT);
    EXPECT_FALSE(exists(target("p1")));
}

TEST_F(NodeTest, PublishRefusesASubPathThatIsALink)
{
    ASSERT_EQ(symlink("/etc", (fluid_path + "/link").c_str()), 0);
    struct gfsi_request p = request(GFSI_PUBLISH, target("p1"));
    snprintf(p.attrs.sub_path, sizeof(p.attrs.sub_path), "link");
    EXPECT_EQ(run(p), GFS_EPERM);
    EXPECT_FALSE(exists(target("p1")));
}

TEST_F(NodeTest, PublishRefusesALinkOnTheWayToTheTarget)
{
    dir.make("outside");
    dir.make("kubelet/pods/p1");
    ASSERT_EQ(symlink((dir.path() + "/outside").c_str(), (kubelet + "/pods/p1/volumes").c_str()),
              0);
    EXPECT_EQ(publish(kubelet + "/pods/p1/volumes/mount"), GFS_EPERM);
    EXPECT_FALSE(exists(dir.path() + "/outside/mount"));
}

TEST_F(NodeTest, PublishReplacesTheMountOfAClientThatIsGone)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    unsigned old = mounts.find(target("p1"))->minor;
    keeper.states["default.hbase"] = GFS_KEEPER_BROKEN;
    ASSERT_EQ(publish(target("p1")), 0) << err.text;
    EXPECT_NE(mounts.find(target("p1"))->minor, old);
    EXPECT_EQ(mounts.depth(target("p1")), 1) << "no layers are stacked";
}

TEST_F(NodeTest, PublishDoesNotTouchAForeignMountAtTheTarget)
{
    ASSERT_EQ(stage(), 0);
    std::string path = target("p1");
    ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
    mounts.add(path, "ext4");
    EXPECT_EQ(publish(path), GFS_EEXIST);
    EXPECT_EQ(mounts.depth(path), 1);
}

TEST_F(NodeTest, PublishRefusesATargetInsideAnotherFuseMount)
{
    ASSERT_EQ(stage(), 0);
    std::string inside = dir.make("kubelet/pods/p1/hung/dir");
    mounts.add(kubelet + "/pods/p1/hung", "fuse.hung");
    EXPECT_EQ(publish(inside + "/mount"), GFS_EINVAL);
}

TEST_F(NodeTest, PublishAsLinkAndBack)
{
    ASSERT_EQ(stage(), 0);
    struct gfsi_request r = request(GFSI_PUBLISH, target("p1"));
    r.attrs.method = GFSI_METHOD_SYMLINK;
    ASSERT_EQ(run(r), 0) << err.text;
    ASSERT_EQ(run(r), 0) << err.text;
    char link[4096] = {0};
    ASSERT_GT(readlink(target("p1").c_str(), link, sizeof(link) - 1), 0);
    EXPECT_EQ(std::string(link), fluid_path);
    ASSERT_EQ(unpublish(target("p1")), 0) << err.text;
    EXPECT_FALSE(exists(target("p1")));
    EXPECT_TRUE(exists(fluid_path));
}

TEST_F(NodeTest, UnstageWhileALinkIsThereIsFailedPrecondition)
{
    ASSERT_EQ(stage(), 0);
    struct gfsi_request r = request(GFSI_PUBLISH, target("p1"));
    r.attrs.method = GFSI_METHOD_SYMLINK;
    ASSERT_EQ(run(r), 0) << err.text;
    EXPECT_EQ(unstage(), GFS_EPRECONDITION);
    ASSERT_EQ(unlink(target("p1").c_str()), 0);
    EXPECT_EQ(unstage(), 0) << err.text;
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);
}

TEST_F(NodeTest, PublishReadOnlyAsLinkToAWritableMountIsFailedPrecondition)
{
    ASSERT_EQ(stage(), 0);
    struct gfsi_request r = request(GFSI_PUBLISH, target("p1"));
    r.attrs.method = GFSI_METHOD_SYMLINK;
    r.read_only = true;
    EXPECT_EQ(run(r), GFS_EPRECONDITION);
}

// ---- unpublish ----

TEST_F(NodeTest, UnpublishTenTimesIsOk)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(unpublish(target("p1")), 0) << err.text;
        EXPECT_FALSE(exists(target("p1")));
    }
    EXPECT_EQ(gfsi_journal_count_uses(node.journal, kVolume, GFSI_PUBLISHED), 0u);
}

TEST_F(NodeTest, UnpublishOfAnUnknownVolumeIsOkAndRemovesTheTarget)
{
    std::string path = target("p1");
    ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
    EXPECT_EQ(unpublish(path), 0) << err.text;
    EXPECT_FALSE(exists(path));
    EXPECT_EQ(unpublish(kubelet + "/pods/never/was/here"), 0);
}

TEST_F(NodeTest, UnpublishTakesAwayWholeStacks)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    mounts.add(target("p1"), GFSI_GOOSEFS_TYPE);
    mounts.add(target("p1"), GFSI_GOOSEFS_TYPE);
    ASSERT_EQ(unpublish(target("p1")), 0) << err.text;
    EXPECT_EQ(mounts.depth(target("p1")), 0);
}

TEST_F(NodeTest, UnpublishDetachesWhatStaysBusy)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    mounts.busy = 100;
    ASSERT_EQ(unpublish(target("p1")), 0) << err.text;
    EXPECT_EQ(mounts.lazy, 1);
    EXPECT_FALSE(exists(target("p1")));
}

TEST_F(NodeTest, UnpublishNeverRemovesData)
{
    std::string path = target("p1");
    ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
    write(path + "/precious", "data");
    EXPECT_EQ(unpublish(path), GFS_ENOTEMPTY);
    EXPECT_TRUE(exists(path + "/precious"));
}

// ---- unstage ----

TEST_F(NodeTest, UnstageKeepsTheMountUnlessOnDemand)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(unstage(), 0);
    ASSERT_EQ(unstage(), 0);
    EXPECT_EQ(keeper.unmounted, 0);
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);

    struct gfsi_request r = request(GFSI_STAGE, staging);
    r.attrs.clean_policy = GFS_CSI_CLEAN_ON_DEMAND;
    ASSERT_EQ(run(r), 0);
    mounts.busy = 1;
    ASSERT_EQ(unstage(), 0) << err.text;
    EXPECT_EQ(keeper.unmounted, 1);
    EXPECT_EQ(mounts.find(fluid_path), nullptr);
}

TEST_F(NodeTest, UnstageWhilePublishedIsFailedPrecondition)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(publish(target("p1")), 0);
    EXPECT_EQ(unstage(), GFS_EPRECONDITION);
    mounts.remove(target("p1"));
    EXPECT_EQ(unstage(), 0) << "what is in the journal only does not count";
}

TEST_F(NodeTest, UnstageKeepsAMountThatAnotherVolumeUses)
{
    struct gfsi_request r = request(GFSI_STAGE, staging);
    r.attrs.clean_policy = GFS_CSI_CLEAN_ON_DEMAND;
    struct gfsi_request other = request(GFSI_STAGE, kubelet + "/plugins/other");
    snprintf(other.volume_id, sizeof(other.volume_id), "other");
    other.attrs.clean_policy = GFS_CSI_CLEAN_ON_DEMAND;
    ASSERT_EQ(run(r), 0);
    ASSERT_EQ(run(other), 0);
    ASSERT_EQ(unstage(), 0);
    EXPECT_EQ(keeper.unmounted, 0);
    other.kind = GFSI_UNSTAGE;
    ASSERT_EQ(run(other), 0);
    EXPECT_EQ(keeper.unmounted, 1);
}

TEST_F(NodeTest, TwoStagingPathsNeedTwoUnstages)
{
    struct gfsi_request second = request(GFSI_STAGE, kubelet + "/plugins/old-layout");
    ASSERT_EQ(stage(), 0);
    ASSERT_EQ(run(second), 0);
    ASSERT_EQ(unstage(), 0);
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), 0);
    second.kind = GFSI_UNSTAGE;
    ASSERT_EQ(run(second), 0);
    EXPECT_EQ(gfsi_journal_find(node.journal, kVolume, nullptr), GFS_ENOENT);
}

TEST(KeeperIdTest, NamesFollowTheDatasetAndNeverCollide)
{
    char a[GFS_KEEPER_ID_MAX + 1], b[GFS_KEEPER_ID_MAX + 1];
    gfsi_fuse_keeper_id("/runtime-mnt", "/runtime-mnt/goosefs/a-b/c/goosefs-fuse", a);
    gfsi_fuse_keeper_id("/runtime-mnt", "/runtime-mnt/goosefs/a/b-c/goosefs-fuse", b);
    EXPECT_STREQ(a, "a-b.c");
    EXPECT_STREQ(b, "a.b-c");

    for (const char *path :
         {"/runtime-mnt/goosefs/a/b/c/goosefs-fuse", "/runtime-mnt/goosefs/goosefs-fuse",
          "/runtime-mnt/goosefs//a/goosefs-fuse", "/runtime-mnt/other/a/b/goosefs-fuse",
          "/elsewhere/x", "/runtime-mnt/goosefs/A.B/c/goosefs-fuse"}) {
        gfsi_fuse_keeper_id("/runtime-mnt", path, a);
        EXPECT_EQ(strlen(a), 32u) << path;
        EXPECT_TRUE(gfs_keeper_id_valid(a)) << path;
    }
}
