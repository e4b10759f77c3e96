// Time, death and hanging: callers that give up, a plugin that is killed, mounts whose client is
// gone or does not answer.
#include <atomic>
#include <set>
#include <thread>

#include "csi_fixture.h"
#include "csi_test_fuse.h"

namespace csi
{

class Faults : public Fixture
{
  protected:
    void SetUp() override
    {
        Fixture::SetUp();
        if (!IsSkipped()) {
            start_plugin();
        }
    }
    Volume fuse_volume(const std::string &pod = "pod-1")
    {
        return volume(pod, "fuse.test");
    }
    // Calls that come before an operation runs are queued, not aborted.
    void wait_running(const std::string &op, const Volume &v)
    {
        std::string line = "operation runs op=" + op + " volume=" + v.id;
        ASSERT_TRUE(eventually([&] { return log_text().find(line) != std::string::npos; }));
    }
    // A second volume on a healthy file system: what a bad one must not touch.
    Volume healthy(const std::string &pod)
    {
        std::string path = runtime + "/goosefs/default/healthy/goosefs-fuse";
        if (!exists(path)) {
            mount_tmpfs(path);
        }
        Volume v = volume(pod);
        v.id = "healthy";
        v.staging = kubelet + "/plugins/healthy";
        v.context[0].second = path;
        return v;
    }
};

TEST_F(Faults, TheOppositeOfARunningCallIsAbortedAndARetryJoins)
{
    Volume v = volume(); // nothing is mounted yet: publish waits
    ASSERT_EQ(client->stage(v), OK) << client->text;
    std::thread publisher([&] {
        Client c(socket);
        EXPECT_EQ(c.publish(v), OK) << c.text;
    });
    std::thread retry([&] {
        Client c(socket);
        EXPECT_EQ(c.publish(v), OK) << c.text;
    });
    wait_running("publish", v);
    EXPECT_EQ(client->unpublish(v), ABORTED);

    Volume other = healthy("pod-2");
    EXPECT_EQ(client->stage(other), OK) << "other volumes go on";
    EXPECT_EQ(client->publish(other), OK);

    mount_tmpfs(fluid_path);
    publisher.join();
    retry.join();
    EXPECT_EQ(mounts_below(v.target).size(), 1u);
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
}

TEST_F(Faults, ACallerThatGaveUpFindsTheWorkDone)
{
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    // A call that is given up at once may never have left.
    client->timeout_ns = 100 * GFS_NS_PER_MS;
    std::string line = "operation runs op=publish volume=" + v.id;
    ASSERT_TRUE(eventually([&] {
        EXPECT_EQ(client->publish(v), DEADLINE_EXCEEDED);
        client->timeout_ns *= 2;
        return log_text().find(line) != std::string::npos;
    }));
    mount_tmpfs(fluid_path);
    ASSERT_TRUE(eventually([&] { return mounts_below(v.target).size() == 1; }))
        << "the work goes on without its caller";
    client->timeout_ns = 60 * GFS_NS_PER_S;
    EXPECT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(mounts_below(v.target).size(), 1u);
}

TEST_F(Faults, KilledBetweenAnyTwoStepsNothingIsLost)
{
    mount_tmpfs(fluid_path);
    Volume v = volume();
    auto restart = [&] {
        EXPECT_TRUE(WIFSIGNALED(stop_plugin(SIGKILL)));
        start_plugin();
    };
    ASSERT_EQ(client->stage(v), OK) << client->text;
    restart();
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    restart();
    EXPECT_EQ(read_file(v.target + "/hello"), "world") << "mounts live on";
    EXPECT_EQ(client->stats(v.id, v.target).code, OK) << "and are known";
    Volume other = v;
    other.readonly = true;
    EXPECT_EQ(client->publish(other), ALREADY_EXISTS) << "with their parameters";
    ASSERT_EQ(client->publish(v), OK) << client->text;
    restart();
    ASSERT_EQ(client->unpublish(v), OK) << client->text;
    restart();
    ASSERT_EQ(client->unpublish(v), OK);
    ASSERT_EQ(client->unstage(v), OK);
    EXPECT_TRUE(mounts_below(kubelet).empty());
    EXPECT_TRUE(std::filesystem::is_empty(dir + "/state/volumes"));
}

TEST_F(Faults, WithoutItsJournalThePluginStillTakesEverythingDown)
{
    mount_tmpfs(fluid_path);
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    ASSERT_EQ(client->publish(v), OK);
    stop_plugin(SIGKILL);
    std::filesystem::remove_all(dir + "/state");
    start_plugin();
    EXPECT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(mounts_below(v.target).size(), 1u);
    EXPECT_EQ(client->unpublish(v), OK);
    EXPECT_EQ(client->unstage(v), OK);
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

TEST_F(Faults, KilledAtRandomUnderLoadEveryRetrySucceeds)
{
    mount_tmpfs(fluid_path);
    std::atomic<bool> stop{false};
    std::vector<std::thread> kubelets;
    for (int k = 0; k < 4; k++) {
        kubelets.emplace_back([&, k] {
            Client c(socket);
            Volume v = volume("k" + std::to_string(k));
            v.id = "volume-" + std::to_string(k);
            v.staging += std::to_string(k);
            auto until_ok = [&](int (Client::*step)(const Volume &)) {
                EXPECT_TRUE(eventually([&] {
                    int code = (c.*step)(v);
                    EXPECT_TRUE(code == OK || code == UNAVAILABLE || code == ABORTED ||
                                code == CANCELLED || code == DEADLINE_EXCEEDED)
                        << code << c.text;
                    return code == OK;
                }));
            };
            while (!stop) {
                until_ok(&Client::stage);
                until_ok(&Client::publish);
                EXPECT_EQ(read_file(v.target + "/hello"), "world");
                until_ok(&Client::unpublish);
                EXPECT_FALSE(exists(v.target));
                until_ok(&Client::unstage);
            }
        });
    }
    // From this thread: the plugin is told to die with the thread that started it.
    for (int i = 0; i < 8; i++) {
        (void)poll(nullptr, 0, 30 + 17 * i);
        EXPECT_TRUE(WIFSIGNALED(stop_plugin(SIGKILL)));
        start_plugin();
    }
    stop = true;
    for (auto &t : kubelets) {
        t.join();
    }
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

TEST_F(Faults, ADeadMountIsTakenDownAndReplaced)
{
    auto fuse = std::make_unique<TestFuse>(fluid_path);
    Volume v = fuse_volume();
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(client->stats(v.id, v.target).total, 1000 * 4096);
    fuse->die();

    EXPECT_EQ(client->stats(v.id, v.target).code, OK) << "from the cache";
    EXPECT_EQ(client->stage(v), OK) << client->text;
    EXPECT_FALSE(eventually([&] { return !mounts_below(fluid_path).empty(); }, 0))
        << "the dead mount is gone";
    fuse = std::make_unique<TestFuse>(fluid_path);
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(mounts_below(v.target).size(), 1u) << "not stacked on the dead one";
    struct stat st;
    EXPECT_EQ(stat(v.target.c_str(), &st), 0) << "the target works again";
    fuse->die();
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
    EXPECT_FALSE(exists(v.target));
    EXPECT_EQ(client->unstage(v), OK) << client->text;
}

TEST_F(Faults, AHungMountDelaysNoOtherVolume)
{
    TestFuse fuse(fluid_path);
    Volume v = fuse_volume();
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    fuse.hang();

    // More calls than the plugin has workers, all on the hung mount.
    std::atomic<int> answered{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 12; i++) {
        callers.emplace_back([&, i] {
            Client c(socket);
            Volume more = fuse_volume("hung-" + std::to_string(i));
            more.id = i % 2 == 0 ? v.id : "hung-" + std::to_string(i);
            more.staging = v.staging;
            int code = c.publish(more);
            EXPECT_TRUE(code == UNAVAILABLE || code == DEADLINE_EXCEEDED || code == OK)
                << code << c.text;
            answered++;
        });
    }
    EXPECT_EQ(client->stats(v.id, v.target).code, UNAVAILABLE) << "never asked while it lived";
    EXPECT_EQ(client->stats(v.id, v.target).code, UNAVAILABLE);

    // The mount belongs to a pod that may recover: it is not torn down under the applications, and
    // other volumes are served as if nothing was.
    Volume other = healthy("pod-2");
    EXPECT_EQ(client->stage(other), OK) << client->text;
    EXPECT_EQ(client->publish(other), OK) << client->text;
    EXPECT_EQ(client->stats(other.id, other.target).code, OK);
    EXPECT_EQ(client->unpublish(other), OK);
    for (auto &t : callers) {
        t.join();
    }
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
    EXPECT_FALSE(exists(v.target));
}

// Each kind of call on a mount that hangs gets an answer, and a whole life of another volume is
// served while it is under way.
TEST_F(Faults, EveryCallOnAHungMountIsAnsweredAndOthersMeanwhile)
{
    TestFuse fuse(fluid_path);
    Volume v = fuse_volume(), second = fuse_volume("pod-2"), third = fuse_volume("pod-3");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    ASSERT_EQ(client->publish(second), OK) << client->text;
    ASSERT_EQ(client->stats(v.id, v.target).code, OK);
    fuse.hang();

    Client hung(socket);
    struct {
        const char *what;
        std::function<int()> call;
        std::set<int> right;
    } rows[] = {
        {"publish", [&] { return hung.publish(third); }, {UNAVAILABLE, DEADLINE_EXCEEDED}},
        {"stage", [&] { return hung.stage(v); }, {UNAVAILABLE, DEADLINE_EXCEEDED}},
        {"stats", [&] { return hung.stats(v.id, v.target).code; }, {OK, UNAVAILABLE}},
        {"unstage", [&] { return hung.unstage(v); }, {FAILED_PRECONDITION}},
        {"unpublish", [&] { return hung.unpublish(v); }, {OK}},
        {"probe", [&] { return probe(hung); }, {OK}},
    };
    for (const auto &row : rows) {
        int code = -1;
        std::thread caller([&] { code = row.call(); });
        Volume other = healthy(std::string("beside-") + row.what);
        EXPECT_EQ(client->stage(other), OK) << row.what << client->text;
        EXPECT_EQ(client->publish(other), OK) << row.what << client->text;
        EXPECT_EQ(client->stats(other.id, other.target).code, OK) << row.what;
        EXPECT_EQ(client->unpublish(other), OK) << row.what << client->text;
        EXPECT_EQ(client->unstage(other), OK) << row.what << client->text;
        caller.join();
        EXPECT_EQ(row.right.count(code), 1u) << row.what << " " << code << hung.text;
    }
    EXPECT_FALSE(exists(v.target));
    EXPECT_FALSE(exists(third.target)) << "a publish that failed leaves nothing";

    // A plugin that starts beside it is ready, and puts it away.
    EXPECT_TRUE(WIFSIGNALED(stop_plugin(SIGKILL)));
    start_plugin();
    EXPECT_EQ(client->unpublish(second), OK) << client->text;
    EXPECT_EQ(client->unstage(second), OK) << client->text;
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

TEST_F(Faults, SigtermFinishesWhatRunsAndLeavesTheMounts)
{
    Volume v = volume(), slow = healthy("pod-2");
    mount_tmpfs(fluid_path);
    ASSERT_EQ(client->stage(v), OK);
    ASSERT_EQ(client->publish(v), OK);
    ASSERT_EQ(umount2(slow.context[0].second.c_str(), MNT_DETACH), 0);
    ASSERT_EQ(client->stage(slow), OK);
    std::thread waiting([&] {
        Client c(socket);
        EXPECT_EQ(c.publish(slow), OK) << c.text;
    });
    wait_running("publish", slow);
    kill(plugin, SIGTERM);
    ASSERT_TRUE(eventually([&] { return log_text().find("stopping") != std::string::npos; }));
    mount_tmpfs(slow.context[0].second);
    waiting.join();
    int status = 0;
    waitpid(plugin, &status, 0);
    plugin = -1;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_EQ(mounts_below(kubelet).size(), 2u);
    EXPECT_FALSE(exists(socket));
}

} // namespace csi
