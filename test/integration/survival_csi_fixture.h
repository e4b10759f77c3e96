// The whole node: a real plugin, a real keeper, real clients, pods that read through binds.
#ifndef SURVIVAL_CSI_FIXTURE_H
#define SURVIVAL_CSI_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/statvfs.h>

#include "conformance/csi_fixture.h"
#include "integration/survival_fixture.h"

namespace csi
{

class SurvivalNode : public Fixture
{
  protected:
    static constexpr uint64_t kSize = 1 << 20;

    pid_t keeper = -1;
    std::string keeper_socket, program, metrics_address;

    void SetUp() override
    {
        Fixture::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (access("/dev/fuse", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "no /dev/fuse here";
        }
        // As on a node: what is mounted below kubelet's directory can reach containers.
        ASSERT_EQ(mount(kubelet.c_str(), kubelet.c_str(), nullptr, MS_BIND, nullptr), 0);
        ASSERT_EQ(mount(nullptr, kubelet.c_str(), nullptr, MS_SHARED, nullptr), 0);
        keeper_socket = dir + "/keeper.sock";
        program = dir + "/goosefs-fuse";
        metrics_address = "127.0.0.1:" + std::to_string(FreePort());
        WriteClient("");
        StartKeeper();
        start_plugin();
    }

    void TearDown() override
    {
        if (keeper > 0) {
            (void)StopKeeper(SIGTERM);
        }
        Fixture::TearDown();
    }

    std::vector<std::string> flags() override
    {
        return {"--keeper-socket=" + keeper_socket, "--fuse-program=" + program,
                "--metrics-addr=" + metrics_address};
    }

    // Stands for goosefs-fuse.
    void WriteClient(const std::string &options)
    {
        std::ofstream(program) << "#!/bin/sh\nexport ASAN_OPTIONS=detect_leaks=0\n"
                               << "exec " SURVIVAL_CLIENT_PATH " --uncached --size " << kSize << " "
                               << options << "\n";
        ASSERT_EQ(chmod(program.c_str(), 0755), 0);
    }

    void StartKeeper()
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
        ASSERT_TRUE(eventually([&] {
            gfs_keeper_client *c = nullptr;
            int rc = gfs_keeper_client_connect(keeper_socket.c_str(), in_seconds(60), &c, nullptr);
            gfs_keeper_client_free(c);
            return rc == 0;
        }));
    }

    int StopKeeper(int signal)
    {
        int status = 0;
        KillOne(keeper, signal);
        waitpid(keeper, &status, 0);
        keeper = -1;
        return status;
    }

    // Pids of all clients the keeper runs.
    std::vector<pid_t> Clients()
    {
        std::vector<pid_t> pids;
        gfs_keeper_client *c = nullptr;
        EXPECT_EQ(gfs_keeper_client_connect(keeper_socket.c_str(), in_seconds(60), &c, nullptr), 0);
        EXPECT_EQ(gfs_keeper_client_list(
                      c, in_seconds(60),
                      [](void *arg, const gfs_keeper_info *info) {
                          static_cast<std::vector<pid_t> *>(arg)->push_back((pid_t)info->pid);
                          return true;
                      },
                      &pids, nullptr),
                  0);
        gfs_keeper_client_free(c);
        return pids;
    }

    // Keeper and all clients die; then there is a new keeper.
    void KillKeeperAndClients()
    {
        std::vector<pid_t> pids = Clients();
        ASSERT_FALSE(pids.empty());
        KillOne(keeper, SIGKILL);
        for (pid_t pid : pids) {
            KillOne(pid, SIGKILL);
        }
        (void)StopKeeper(SIGKILL);
        StartKeeper();
    }

    // Volume `name`, of its own runtime, as pod `pod` has it.
    Volume Dataset(const std::string &name, const std::string &pod)
    {
        Volume v;
        std::string runtime_dir = runtime + "/goosefs/default/" + name;
        std::filesystem::create_directories(runtime_dir + "/conf");
        std::filesystem::create_directories(runtime_dir + "/goosefs-fuse");
        std::ofstream(runtime_dir + "/conf/goosefs-site.properties") << "a=b\n";
        v.id = "default-" + name;
        v.staging = kubelet + "/plugins/kubernetes.io/csi/" + name + "/globalmount";
        v.context = {{"fluid_path", runtime_dir + "/goosefs-fuse"},
                     {"mount_type", "fuse.goosefs-fuse"}};
        std::string parent = kubelet + "/pods/" + pod + "/volumes/kubernetes.io~csi/" + v.id;
        std::filesystem::create_directories(v.staging);
        std::filesystem::create_directories(parent);
        v.target = parent + "/mount";
        return v;
    }

    void Provide(const Volume &v)
    {
        ASSERT_EQ(client->stage(v), OK) << client->text;
        ASSERT_EQ(client->publish(v), OK) << client->text;
    }

    // A new open of a file of the volume reads the right bytes.
    static bool Reads(const std::string &target)
    {
        std::vector<char> got(65536), want(65536);
        int fd = open((target + "/f3").c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return false;
        }
        ssize_t n = pread(fd, got.data(), got.size(), 4096);
        close(fd);
        survival_fill(survival_ino_of_file(3), 4096, want.data(), want.size());
        return n == (ssize_t)got.size() && got == want;
    }

    // A line of the plugin's /metrics; -1 when it is not there.
    long Metric(const std::string &name)
    {
        std::string text = HttpGet("/metrics");
        size_t at = text.find("\n" + name + " ");
        return at == std::string::npos ? -1 : std::stol(text.substr(at + name.size() + 2));
    }

  private:
    static uint16_t FreePort()
    {
        sockaddr_in addr = {};
        socklen_t len = sizeof(addr);
        addr.sin_family = AF_INET;
        addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), 0);
        EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&addr), &len), 0);
        close(fd);
        return ntohs(addr.sin_port);
    }

    std::string HttpGet(const std::string &path)
    {
        sockaddr_in addr = {};
        addr.sin_family = AF_INET;
        addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        addr.sin_port =
            htons((uint16_t)std::stoi(metrics_address.substr(metrics_address.find(':') + 1)));
        int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        std::string text, request = "GET " + path + " HTTP/1.0\r\n\r\n";
        char buf[4096];
        if (connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) == 0 &&
            send(fd, request.data(), request.size(), MSG_NOSIGNAL) == (ssize_t)request.size()) {
            for (ssize_t n; (n = recv(fd, buf, sizeof(buf), 0)) > 0;) {
                text.append(buf, (size_t)n);
            }
        }
        close(fd);
        return text;
    }
};

// A process that has a pod's volume in a mount namespace of its own, as a container whose volume
// mount asks for HostToContainer.
class Container
{
  public:
    Container(const std::string &target, const std::string &inside)
    {
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets_), 0);
        std::filesystem::create_directories(inside);
        pid_ = fork();
        EXPECT_GE(pid_, 0);
        if (pid_ == 0) {
            Run(target, inside);
        }
        char answer = 0;
        EXPECT_EQ(recv(sockets_[0], &answer, 1, 0), 1);
        EXPECT_EQ(answer, 'y') << "no mount namespace";
    }
    ~Container()
    {
        int status = 0;
        if (pid_ > 0) {
            KillOne(pid_, SIGKILL);
            waitpid(pid_, &status, 0);
        }
        close(sockets_[0]);
        close(sockets_[1]);
    }
    Container(const Container &) = delete;

    // Opens and reads inside.
    bool Reads()
    {
        char c = '?';
        EXPECT_EQ(send(sockets_[0], &c, 1, MSG_NOSIGNAL), 1);
        EXPECT_EQ(recv(sockets_[0], &c, 1, 0), 1);
        return c == 'y';
    }

  private:
    [[noreturn]] void Run(const std::string &target, const std::string &inside)
    {
        char want[4096], got[4096];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bool ok = unshare(CLONE_NEWNS) == 0 &&
                  mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0 &&
                  mount(target.c_str(), inside.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0 &&
                  mount(nullptr, inside.c_str(), nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
        std::string file = inside + "/f1";
        survival_fill(survival_ino_of_file(1), 0, want, sizeof(want));
        for (char c = ok ? 'y' : 'n'; send(sockets_[1], &c, 1, MSG_NOSIGNAL) == 1;) {
            if (recv(sockets_[1], &c, 1, 0) != 1) {
                break;
            }
            int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
            ssize_t n = fd >= 0 ? pread(fd, got, sizeof(got), 0) : -1;
            c = n == (ssize_t)sizeof(got) && memcmp(got, want, sizeof(got)) == 0 ? 'y' : 'n';
            (void)close(fd);
        }
        _exit(0);
    }

    int sockets_[2] = {-1, -1};
    pid_t pid_ = -1;
};

} // namespace csi

#endif
