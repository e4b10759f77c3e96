// Launch mode "process": a real fuse-keeper runs a real FUSE client for the plugin.
#include <thread>

#include "csi_fixture.h"

namespace csi
{

class Keeper : public Fixture
{
  protected:
    pid_t keeper = -1;
    std::string keeper_socket, program;

    void SetUp() override
    {
        Fixture::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (access("/dev/fuse", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "no /dev/fuse here";
        }
        keeper_socket = dir + "/keeper.sock";
        program = dir + "/goosefs-fuse";
        std::ofstream(program) << "#!/bin/sh\n"
                                  "test \"$1\" = --properties && test -r \"$2\" || exit 1\n"
                                  "export ASAN_OPTIONS=detect_leaks=0\n"
                                  "exec " SURVIVAL_CLIENT_PATH " --size 1M --entries 10\n";
        ASSERT_EQ(chmod(program.c_str(), 0755), 0);
        write_config("goosefs.master.rpc.addresses=m:26000\n");
        start_keeper();
        start_plugin();
    }
    void TearDown() override
    {
        if (keeper > 0) {
            int status = 0;
            kill(keeper, SIGTERM);
            waitpid(keeper, &status, 0);
        }
        Fixture::TearDown();
    }
    std::vector<std::string> flags() override
    {
        return {"--keeper-socket=" + keeper_socket, "--fuse-program=" + program};
    }
    void write_config(const std::string &text)
    {
        std::string conf = runtime + "/goosefs/default/hbase/conf";
        std::filesystem::create_directories(conf);
        std::ofstream(conf + "/goosefs-site.properties") << text;
    }
    void start_keeper()
    {
        keeper = fork();
        ASSERT_GE(keeper, 0);
        if (keeper == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            execl(KEEPER_PATH, KEEPER_PATH, "--socket", keeper_socket.c_str(), "--client-user", "0",
                  nullptr);
            _exit(127);
        }
        ASSERT_TRUE(eventually([&] { return exists(keeper_socket); }));
    }
    Volume goosefs(const std::string &pod, const char *policy = "OnDemand")
    {
        Volume v = volume(pod, "fuse.goosefs-fuse");
        v.context.push_back({"fuse_clean_policy", policy});
        return v;
    }
};

TEST_F(Keeper, FullLifeWithARealClient)
{
    Volume v = goosefs("pod-1"), second = goosefs("pod-2");
    second.readonly = true;
    ASSERT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    ASSERT_EQ(client->publish(v), OK) << client->text;
    ASSERT_EQ(client->publish(second), OK) << client->text;
    EXPECT_FALSE(std::filesystem::is_empty(v.target));
    EXPECT_EQ(client->stats(v.id, v.target).code, OK) << client->text;

    EXPECT_EQ(client->unpublish(v), OK);
    EXPECT_EQ(client->unstage(v), FAILED_PRECONDITION) << "still published elsewhere";
    EXPECT_EQ(client->unpublish(second), OK);
    EXPECT_EQ(client->unstage(v), OK) << client->text;
    EXPECT_TRUE(mounts_below(dir).empty()) << "on demand: the mount went with the last use";
}

TEST_F(Keeper, PluginDeathLeavesApplicationsReading)
{
    Volume v = goosefs("pod-1");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    stop_plugin(SIGKILL);
    EXPECT_FALSE(std::filesystem::is_empty(v.target));
    start_plugin();
    EXPECT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(mounts_below(v.target).size(), 1u);
    EXPECT_EQ(client->unpublish(v), OK);
    EXPECT_EQ(client->unstage(v), OK);
    EXPECT_TRUE(mounts_below(dir).empty());
}

TEST_F(Keeper, RuntimeDeletedPolicyKeepsTheMountForTheNextPod)
{
    Volume v = goosefs("pod-1", "OnRuntimeDeleted");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->unstage(v), OK);
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    ASSERT_EQ(client->stage(v), OK);
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
}

TEST_F(Keeper, FuseChangedPolicyLooksAtTheConfiguration)
{
    Volume v = goosefs("pod-1", "OnFuseChanged");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->unstage(v), OK);
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    ASSERT_EQ(client->stage(v), OK);
    write_config("changed=1\n");
    ASSERT_EQ(client->unstage(v), OK) << client->text;
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u)
        << "adopted without its configuration being known: kept";
}

TEST_F(Keeper, AClientThatCannotStartLeavesNothingAndSaysWhy)
{
    std::ofstream(program) << "#!/bin/sh\nexec " SURVIVAL_CLIENT_PATH
                              " --fail 'no master answers'\n";
    Volume v = goosefs("pod-1");
    EXPECT_NE(client->stage(v), OK);
    EXPECT_NE(client->text.find("no master answers"), std::string::npos) << client->text;
    EXPECT_TRUE(mounts_below(dir).empty());
    EXPECT_TRUE(std::filesystem::is_empty(dir + "/state/volumes"));
}

TEST_F(Keeper, WithoutAConfigurationStageIsUnavailable)
{
    std::filesystem::remove_all(runtime + "/goosefs/default/hbase/conf");
    EXPECT_EQ(client->stage(goosefs("pod-1")), UNAVAILABLE);
}

TEST_F(Keeper, ManyPodsStagingAtOnceMountOnce)
{
    std::vector<std::thread> callers;
    for (int i = 0; i < 16; i++) {
        callers.emplace_back([&, i] {
            Client c(socket);
            Volume v = goosefs("pod-" + std::to_string(i));
            v.id = "volume-" + std::to_string(i % 4);
            EXPECT_EQ(c.stage(v), OK) << c.text;
            EXPECT_EQ(c.publish(v), OK) << c.text;
        });
    }
    for (auto &t : callers) {
        t.join();
    }
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    EXPECT_EQ(mounts_below(kubelet).size(), 16u);
}

} // namespace csi
