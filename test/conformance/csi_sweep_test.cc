// Dead mounts that nobody knows are taken down; whatever somebody may know stays.
#include "csi_keeper_fixture.h"
#include "csi_test_fuse.h"

namespace csi
{

class Sweep : public Keeper
{
  protected:
    static constexpr const char *kType = "fuse.goosefs-fuse", *kSource = "goosefs-fuse";

    std::string target_of(const std::string &pod)
    {
        std::string path = volume(pod).target;
        std::filesystem::create_directories(path);
        return path;
    }
    std::string origin_of(const std::string &name)
    {
        std::string path = runtime + "/goosefs/default/" + name + "/goosefs-fuse";
        std::filesystem::create_directories(path);
        return path;
    }
    // A mount whose client has died.
    void make_dead(const std::string &at, const char *type = kType, const char *source = kSource)
    {
        TestFuse(at, type, source).die();
        ASSERT_EQ(access(at.c_str(), F_OK), -1);
        ASSERT_EQ(errno, ENOTCONN);
    }
    void end_keeper_and_client()
    {
        std::string name = std::to_string(keeper);
        std::ifstream in("/proc/" + name + "/task/" + name + "/children");
        std::vector<pid_t> clients;
        for (pid_t pid; in >> pid;) {
            clients.push_back(pid);
        }
        ASSERT_FALSE(clients.empty());
        int status = 0;
        kill(keeper, SIGKILL);
        waitpid(keeper, &status, 0);
        keeper = -1;
        for (pid_t pid : clients) {
            kill(pid, SIGKILL);
        }
    }
    static size_t depth(const std::string &at)
    {
        return mounts_below(at).size();
    }
    bool swept(const std::string &at)
    {
        return eventually([&] { return depth(at) == 0; });
    }
    void SetUp() override
    {
        Keeper::SetUp();
        if (!IsSkipped()) {
            stop_plugin(SIGKILL);
        }
    }
};

TEST_F(Sweep, ADeadTargetInNoRecordIsTakenDownAndNothingElseIs)
{
    std::string kubelets = target_of("kubelets"), other_type = target_of("type"),
                other_source = target_of("source"), alive = target_of("alive"),
                hung = target_of("hung"), outside = kubelet + "/elsewhere",
                deeper = kubelet + "/pods/p/volumes/kubernetes.io~csi/pv/mount/deeper",
                foreign = kubelet + "/pods/p/volumes/kubernetes.io~nfs/pv/mount",
                orphan = target_of("orphan");
    std::filesystem::create_directories(outside);
    std::filesystem::create_directories(deeper);
    std::filesystem::create_directories(foreign);
    std::ofstream(std::filesystem::path(kubelets).parent_path().string() + "/vol_data.json")
        << "{}";
    make_dead(kubelets);
    make_dead(other_type, "fuse.other");
    make_dead(other_source, kType, "other");
    make_dead(outside);
    make_dead(deeper);
    make_dead(foreign);
    TestFuse living(alive, kType, kSource), hanging(hung, kType, kSource);
    hanging.hang();
    make_dead(orphan); // the last in the table, so the others have been looked at before

    start_plugin();
    EXPECT_TRUE(swept(orphan)) << log_text();
    EXPECT_TRUE(eventually([&] { return !exists(orphan); })) << "and its directory";
    for (const auto &stays :
         {kubelets, other_type, other_source, alive, hung, outside, deeper, foreign}) {
        EXPECT_EQ(depth(stays), 1u) << stays;
    }
    EXPECT_EQ(stop_plugin(SIGTERM), 0);
}

TEST_F(Sweep, ADirectoryWithSomebodysDataAndAMountBelowStay)
{
    std::string data = target_of("data"), stacked = target_of("stacked");
    std::ofstream(data + "/precious") << "data";
    make_dead(data);
    mount_tmpfs(stacked);
    make_dead(stacked);

    start_plugin();
    EXPECT_TRUE(swept(data)) << log_text();
    EXPECT_TRUE(eventually([&] { return depth(stacked) == 1; })) << log_text();
    EXPECT_EQ(read_file(data + "/precious"), "data");
    EXPECT_EQ(read_file(stacked + "/hello"), "world") << "of another type: not ours";
}

TEST_F(Sweep, APublishedTargetStaysForTheRepairAndGoesWithoutItsRecord)
{
    start_plugin();
    Volume v = goosefs("pod-1");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    stop_plugin(SIGKILL);

    // The keeper forgets the mount, its client ends: what the pod has is dead for good.
    end_keeper_and_client();
    ASSERT_EQ(umount2(fluid_path.c_str(), MNT_DETACH), 0);
    ASSERT_TRUE(
        eventually([&] { return access(v.target.c_str(), F_OK) == -1 && errno == ENOTCONN; }));
    std::string orphan = target_of("orphan");
    make_dead(orphan);

    start_plugin();
    EXPECT_TRUE(swept(orphan)) << log_text();
    EXPECT_EQ(depth(v.target), 1u) << "in the journal: kubelet will ask for it";
    stop_plugin(SIGKILL);
    std::filesystem::remove_all(dir + "/state");
    start_plugin();
    EXPECT_TRUE(swept(v.target)) << log_text();
}

TEST_F(Sweep, ADeadDatasetMountNobodyUsesIsTakenDown)
{
    std::string gone = origin_of("gone"), alive = origin_of("alive"),
                outside = runtime + "/elsewhere/goosefs-fuse", type = origin_of("type"),
                last = origin_of("last");
    std::filesystem::create_directories(outside);
    start_plugin();
    Volume held = goosefs("pod-1", "OnRuntimeDeleted");
    ASSERT_EQ(client->stage(held), OK) << client->text;
    ASSERT_EQ(client->unstage(held), OK) << client->text;
    stop_plugin(SIGKILL);
    make_dead(gone);
    make_dead(outside);
    make_dead(type, "fuse.other");
    TestFuse living(alive, kType, kSource);
    make_dead(last);

    start_plugin();
    EXPECT_TRUE(swept(last)) << log_text();
    EXPECT_TRUE(swept(gone)) << log_text();
    EXPECT_EQ(depth(alive), 1u);
    EXPECT_EQ(depth(outside), 1u) << "no runtime's path";
    EXPECT_EQ(depth(type), 1u);
    EXPECT_EQ(depth(fluid_path), 1u) << "the keeper's";
}

} // namespace csi
