// Launch mode "pod" of the plugin: the client of a volume runs where its launcher is.
#include "survival_csi_fixture.h"

namespace csi
{

class SurvivalPod : public SurvivalNode
{
  protected:
    std::vector<std::string> flags() override
    {
        auto all = SurvivalNode::flags();
        all.push_back("--launch-mode=pod");
        return all;
    }

    // In the runtime's directory, as the fuse pod has it.
    void StartLauncher()
    {
        std::string runtime_dir = runtime + "/goosefs/default/hbase";
        launcher_ = fork();
        ASSERT_GE(launcher_, 0);
        if (launcher_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
            execl(SURVIVAL_CLIENT_PATH, SURVIVAL_CLIENT_PATH, "--launcher", runtime_dir.c_str(),
                  nullptr);
            _exit(127);
        }
    }

    void StopLauncher(int signal)
    {
        if (launcher_ > 0) {
            kill(launcher_, signal);
            waitpid(launcher_, nullptr, 0);
            launcher_ = -1;
        }
    }

    void TearDown() override
    {
        StopLauncher(SIGKILL);
        SurvivalNode::TearDown();
    }

    pid_t launcher_ = -1;
};

TEST_F(SurvivalPod, AVolumeWaitsForItsPodAndOutlivesIt)
{
    Volume v = Dataset("hbase", "pod-1"), second = v;
    second.target = kubelet + "/pods/pod-2/volumes/kubernetes.io~csi/pv/mount";
    std::filesystem::create_directories(std::filesystem::path(second.target).parent_path());
    ASSERT_EQ(client->stage(v), OK) << client->text;
    StartLauncher();
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_TRUE(Reads(v.target));

    Readers readers(v.target, kSize, 8);
    for (int i = 0; i < 3; i++) {
        ASSERT_TRUE(readers.Progress());
        StopLauncher(i == 1 ? SIGTERM : SIGKILL);
        ASSERT_TRUE(eventually([&] {
            return Metric(
                       "goosefs_keeper_mount_state{mount=\"default.hbase\",state=\"waiting\"}") ==
                   1;
        }));
        // The mount is there, whoever serves it: others get it meanwhile.
        EXPECT_EQ(client->publish(second), OK) << client->text;
        stop_plugin(SIGKILL);
        StartLauncher();
        start_plugin();
        EXPECT_EQ(client->unpublish(second), OK) << client->text;
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u) << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
    EXPECT_EQ(client->unstage(v), OK) << client->text;
}

TEST_F(SurvivalPod, WhenKeeperAndPodDieTogetherThePodsVolumeIsRepaired)
{
    Volume v = Dataset("hbase", "pod-1");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    StartLauncher();
    ASSERT_EQ(client->publish(v), OK) << client->text;
    KillOne(keeper, SIGKILL);
    StopLauncher(SIGKILL);
    (void)StopKeeper(SIGKILL);
    StartKeeper();
    StartLauncher();
    EXPECT_TRUE(eventually([&] { return Reads(v.target); }));
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
}

} // namespace csi
