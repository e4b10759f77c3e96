// Callers and pods that mean harm, and callers of another version.
#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <atomic>
#include <thread>

#include "csi_fixture.h"

namespace csi
{

class Hostile : public Fixture
{
  protected:
    void SetUp() override
    {
        Fixture::SetUp();
        if (!IsSkipped()) {
            mount_tmpfs(fluid_path);
            start_plugin();
        }
    }
    int connect_raw()
    {
        struct sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket.c_str());
        int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(fd, reinterpret_cast<struct sockaddr *>(&address), sizeof(address)), 0);
        return fd;
    }
};

TEST_F(Hostile, PathsThatLeadElsewhereAreRefused)
{
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    for (const std::string &path :
         {std::string("/etc"), kubelet, kubelet + "/../x", kubelet + "/pods/../../x",
          kubelet + "/./pods/x", kubelet + "//pods/x", kubelet + "/pods/x/",
          std::string("relative"), kubelet + "/" + std::string(4200, 'x'), kubelet + "/a\nb",
          kubelet + "/\xff\xfe", fluid_path + "/x"}) {
        Volume bad = v;
        bad.target = path;
        EXPECT_EQ(client->publish(bad), INVALID_ARGUMENT) << path;
        EXPECT_EQ(client->unpublish(bad), INVALID_ARGUMENT) << path;
        bad = v;
        bad.staging = path;
        EXPECT_EQ(client->stage(bad), INVALID_ARGUMENT) << path;
        EXPECT_EQ(client->unstage(bad), INVALID_ARGUMENT) << path;
    }
    for (const std::string &path :
         {std::string("/etc"), runtime, runtime + "/../kubelet", kubelet}) {
        Volume bad = v;
        bad.id = "other";
        bad.context[0].second = path;
        EXPECT_EQ(client->stage(bad), INVALID_ARGUMENT) << path;
    }
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

// microk8s has a link at /var/lib/kubelet; the mount table knows real paths only.
TEST_F(Hostile, RootsMayBeLinks)
{
    std::string real_kubelet = kubelet, real_fluid = fluid_path;
    stop_plugin(SIGTERM);
    ASSERT_EQ(symlink(kubelet.c_str(), (dir + "/kubelet-link").c_str()), 0);
    ASSERT_EQ(symlink(runtime.c_str(), (dir + "/mnt-link").c_str()), 0);
    kubelet = dir + "/kubelet-link";
    runtime = dir + "/mnt-link";
    fluid_path = runtime + "/goosefs/default/hbase/goosefs-fuse";
    start_plugin();
    Volume v = volume();
    for (int i = 0; i < 2; i++) {
        ASSERT_EQ(client->stage(v), OK) << client->text;
        ASSERT_EQ(client->publish(v), OK) << client->text;
    }
    EXPECT_EQ(mounts_below(real_kubelet).size(), 1u);
    EXPECT_EQ(client->stats(v.id, v.target).code, OK) << client->text;
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
    EXPECT_EQ(client->unstage(v), OK) << client->text;
    EXPECT_TRUE(mounts_below(real_kubelet).empty());
}

TEST_F(Hostile, VolumeIdsAreNoPaths)
{
    Volume v = volume();
    v.id = "../../../../" + dir.substr(1) + "/escaped";
    ASSERT_EQ(client->stage(v), OK) << client->text;
    EXPECT_FALSE(exists(dir + "/escaped"));
    EXPECT_FALSE(exists(dir + "/escaped.json"));
    ASSERT_EQ(client->publish(v), OK);
    ASSERT_EQ(client->unpublish(v), OK);
    ASSERT_EQ(client->unstage(v), OK);
}

TEST_F(Hostile, ATargetParentSwappedForALinkNeverMountsOutside)
{
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    std::string pod = kubelet + "/pods/evil";
    std::filesystem::create_directories(pod + "/dir");
    std::filesystem::create_directories(dir + "/outside");
    ASSERT_EQ(symlink((dir + "/outside").c_str(), (pod + "/link").c_str()), 0);
    v.target = pod + "/dir/mount";

    std::atomic<bool> stop{false};
    std::thread swapper([&] {
        while (!stop) {
            (void)syscall(SYS_renameat2, AT_FDCWD, (pod + "/dir").c_str(), AT_FDCWD,
                          (pod + "/link").c_str(), RENAME_EXCHANGE);
        }
    });
    for (int i = 0; i < 200; i++) {
        int code = client->publish(v);
        EXPECT_TRUE(code == OK || code == PERMISSION_DENIED || code == FAILED_PRECONDITION ||
                    code == INTERNAL)
            << code << client->text;
        code = client->unpublish(v);
        EXPECT_TRUE(code == OK || code == PERMISSION_DENIED || code == FAILED_PRECONDITION ||
                    code == RESOURCE_EXHAUSTED || code == INTERNAL)
            << code << client->text;
        EXPECT_TRUE(mounts_below(dir + "/outside").empty());
        EXPECT_FALSE(exists(dir + "/outside/mount"));
    }
    stop = true;
    swapper.join();
}

// The last component of the target, swapped between a directory and a link to somewhere else.
TEST_F(Hostile, ATargetSwappedForALinkNeverMountsOutside)
{
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    std::filesystem::create_directories(dir + "/outside");
    std::string link = v.target + ".link";
    ASSERT_EQ(symlink((dir + "/outside").c_str(), link.c_str()), 0);

    std::atomic<bool> stop{false};
    std::thread swapper([&] {
        while (!stop) {
            (void)mkdir(v.target.c_str(), 0750);
            (void)syscall(SYS_renameat2, AT_FDCWD, v.target.c_str(), AT_FDCWD, link.c_str(),
                          RENAME_EXCHANGE);
        }
    });
    for (int i = 0; i < 100; i++) {
        (void)client->publish(v);
        EXPECT_TRUE(mounts_below(dir + "/outside").empty());
        (void)client->unpublish(v);
        EXPECT_TRUE(std::filesystem::is_empty(dir + "/outside"));
    }
    stop = true;
    swapper.join();
    EXPECT_TRUE(exists(dir + "/outside")) << "what a link leads to is never removed";
}

// fluid_sub_path belongs to whoever may write to the dataset.
TEST_F(Hostile, ASubPathSwappedForALinkNeverLeadsOutside)
{
    std::filesystem::create_directories(fluid_path + "/sub");
    std::filesystem::create_directories(dir + "/outside");
    std::ofstream(dir + "/outside/secret") << "x";
    ASSERT_EQ(symlink((dir + "/outside").c_str(), (fluid_path + "/link").c_str()), 0);
    Volume v = volume();
    v.context.push_back({"fluid_sub_path", "sub"});
    ASSERT_EQ(client->stage(v), OK) << client->text;

    std::atomic<bool> stop{false};
    std::thread swapper([&] {
        while (!stop) {
            (void)syscall(SYS_renameat2, AT_FDCWD, (fluid_path + "/sub").c_str(), AT_FDCWD,
                          (fluid_path + "/link").c_str(), RENAME_EXCHANGE);
        }
    });
    int published = 0;
    for (int i = 0; i < 100; i++) {
        int code = client->publish(v);
        EXPECT_TRUE(code == OK || code == PERMISSION_DENIED || code == FAILED_PRECONDITION ||
                    code == NOT_FOUND || code == ALREADY_EXISTS || code == INVALID_ARGUMENT)
            << code << client->text;
        EXPECT_FALSE(exists(v.target + "/secret"));
        published += code == OK;
        EXPECT_EQ(client->unpublish(v), OK) << client->text;
    }
    stop = true;
    swapper.join();
    EXPECT_GT(published, 0);
}

TEST_F(Hostile, TextsWithANulOrNoUtf8AreRefusedWholly)
{
    const std::string nul = dir.substr(1) + std::string("\0/x", 3), bad = "\xc3(";
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    for (const std::string &text : {nul, bad}) {
        Volume a = v;
        a.raw = {1, text}; // volume_id of each request
        EXPECT_EQ(client->stage(a), INVALID_ARGUMENT);
        EXPECT_EQ(client->publish(a), INVALID_ARGUMENT);
        EXPECT_EQ(client->unpublish(a), INVALID_ARGUMENT);
        EXPECT_EQ(client->unstage(a), INVALID_ARGUMENT);
        EXPECT_NE(client->text.find("volume_id"), std::string::npos) << client->text;
        a.raw = {2, "/" + text}; // staging_target_path of unstage, target_path of unpublish
        EXPECT_EQ(client->unpublish(a), INVALID_ARGUMENT);
        EXPECT_EQ(client->unstage(a), INVALID_ARGUMENT);
        a.raw = {4, "/" + text}; // target_path of publish
        EXPECT_EQ(client->publish(a), INVALID_ARGUMENT);
    }
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

TEST_F(Hostile, PathsOfTheGreatestLengthWork)
{
    for (size_t length : {size_t{1024}, size_t{4000}, size_t{4095}}) {
        Volume v = volume();
        v.id = "long-" + std::to_string(length);
        ASSERT_EQ(client->stage(v), OK) << client->text;
        std::string parent = kubelet + "/pods";
        int at = open(parent.c_str(), O_PATH | O_CLOEXEC);
        while (parent.size() + 7 < length) { // "/mount" and no shorter than a component
            std::string part(std::min<size_t>(200, length - parent.size() - 7), 'd');
            (void)mkdirat(at, part.c_str(), 0750);
            int next = openat(at, part.c_str(), O_PATH | O_CLOEXEC);
            close(at);
            at = next;
            parent += "/" + part;
        }
        close(at);
        v.target = parent + "/mount" + std::string(length - parent.size() - 6, 't');
        ASSERT_EQ(v.target.size(), length);
        EXPECT_EQ(client->publish(v), OK) << length << " " << client->text.substr(0, 100);
        EXPECT_EQ(client->stats(v.id, v.target).code, OK) << length;
        EXPECT_EQ(client->unpublish(v), OK) << length;
        EXPECT_TRUE(mounts_below(kubelet).empty());
    }
}

TEST_F(Hostile, OversizeIsRefused)
{
    Volume v = volume();
    v.context.push_back({"x", std::string(5000, 'y')});
    EXPECT_EQ(client->stage(v), INVALID_ARGUMENT);
    v = volume();
    v.secrets = {{"x", std::string(100000, 'y')}};
    EXPECT_EQ(client->stage(v), RESOURCE_EXHAUSTED) << "over the message limit";
    v = volume();
    for (int i = 0; i < 200; i++) {
        v.context.push_back({"key-" + std::to_string(i), ""});
    }
    EXPECT_EQ(client->stage(v), INVALID_ARGUMENT) << "many small entries";
    v = volume();
    v.context.push_back({"fluid_path", fluid_path});
    EXPECT_EQ(client->stage(v), INVALID_ARGUMENT) << "a key twice";
    v = volume();
    v.flags.assign(65, "noexec");
    EXPECT_EQ(client->stage(v), INVALID_ARGUMENT) << "many flags";
    v = volume();
    v.id = std::string(129, 'v');
    EXPECT_EQ(client->stage(v), INVALID_ARGUMENT);
    EXPECT_EQ(client->stage(volume()), OK) << client->text;
}

TEST_F(Hostile, UnknownFieldsAreToleratedUnknownModesAreNot)
{
    Volume v = volume();
    v.unknown_fields = true;
    EXPECT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(client->publish(v), OK) << client->text;
    v = volume("pod-2");
    v.id = "other";
    v.mode = 77;
    EXPECT_EQ(client->stage(v), FAILED_PRECONDITION);
}

TEST_F(Hostile, SecretsFlagsAndTokensAreInNoLogAndNoFile)
{
    Volume v = volume();
    v.secrets = {{"accessKey", "hunter2-secret"}};
    v.context.push_back({"csi.storage.k8s.io/serviceAccount.tokens", "hunter2-token"});
    EXPECT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(client->publish(v), OK);
    v.flags = {"password=hunter2-flag"};
    EXPECT_EQ(client->publish(v), INVALID_ARGUMENT);
    EXPECT_EQ(client->text.find("hunter2"), std::string::npos);
    v.flags = {};
    v.context.push_back({"node_publish_method", "hunter2-attr"});
    EXPECT_EQ(client->publish(v), INVALID_ARGUMENT);
    EXPECT_EQ(client->text.find("hunter2"), std::string::npos);

    EXPECT_NE(log_text().find("operation done"), std::string::npos);
    EXPECT_EQ(log_text().find("hunter2"), std::string::npos);
    for (const auto &e : std::filesystem::recursive_directory_iterator(dir + "/state")) {
        if (e.is_regular_file()) {
            EXPECT_EQ(read_file(e.path()).find("hunter2"), std::string::npos) << e.path();
        }
    }
}

TEST_F(Hostile, IdleAndHalfOpenConnectionsDelayNobody)
{
    std::vector<int> fds;
    for (int i = 0; i < 1000; i++) {
        int fd = connect_raw();
        if (i % 3 == 1) {
            EXPECT_GT(send(fd, "PRI * HTTP/2.0\r\n", 16, MSG_NOSIGNAL), 0);
        } else if (i % 3 == 2) {
            (void)!send(fd, "\x16\x03\x01garbage\xff\xff", 12, MSG_NOSIGNAL);
        }
        fds.push_back(fd);
    }
    Volume v = volume();
    EXPECT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(client->publish(v), OK) << client->text;
    Client fresh(socket);
    EXPECT_EQ(fresh.unpublish(v), OK) << fresh.text;
    for (int fd : fds) {
        close(fd);
    }
    EXPECT_EQ(probe(*client), OK);
}

TEST_F(Hostile, OnlyRootGetsIn)
{
    struct stat st;
    ASSERT_EQ(stat(socket.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    // Where mode and directory let everybody in, the kernel's word on who connected counts.
    ASSERT_EQ(chmod(socket.c_str(), 0666), 0);
    for (const auto &d : {dir, dir + "/..", dir + "/csi"}) {
        ASSERT_EQ(chmod(d.c_str(), 0755), 0);
    }
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        int ok = setgid(65534) == 0 && setuid(65534) == 0;
        int fd = connect_raw();
        _exit(ok && fd >= 0 && read(fd, &byte, 1) <= 0 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "cut off";
    EXPECT_TRUE(eventually([&] {
        return log_text().find("connection refused server=csi uid=65534") != std::string::npos;
    }));
    EXPECT_EQ(probe(*client), OK);

    ASSERT_EQ(stat((dir + "/state/volumes").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(Hostile, DataAtATargetIsNeverRemoved)
{
    Volume v = volume();
    std::filesystem::create_directories(v.target + "/sub");
    std::ofstream(v.target + "/sub/precious") << "data";
    EXPECT_EQ(client->unpublish(v), FAILED_PRECONDITION);
    EXPECT_EQ(read_file(v.target + "/sub/precious"), "data");
}

} // namespace csi
