// Three real processes, killed again and again while clients mount: what was acknowledged is there
// on every master afterwards, once.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "cluster_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

extern char **environ;

namespace
{

constexpr int kKills = 10;
constexpr int kAcksBetween = 15;
constexpr int kClients = 3;

class Processes
{
  public:
    explicit Processes(const std::string &dir) : dir_(dir)
    {
        for (int i = 1; i <= 3; i++) {
            Start(i);
        }
    }
    ~Processes()
    {
        for (int i = 1; i <= 3; i++) {
            Kill(i, SIGTERM);
        }
    }
    void Start(int i)
    {
        std::string host = Host(i);
        std::string addresses;
        for (int k = 1; k <= 3; k++) {
            addresses += (k > 1 ? "," : "") + Host(k) + ":" + std::to_string(kJournal);
        }
        std::vector<std::string> args = {GOOSEFS_MASTER,
                                         "--hostname=" + host,
                                         "--bind-host=" + host,
                                         "--rpc-port=" + std::to_string(kRpc),
                                         "--web-port=" + std::to_string(kWeb),
                                         "--journal-port=" + std::to_string(kJournal),
                                         "--journal-addresses=" + addresses,
                                         "--journal-folder=" + dir_ + "/" + std::to_string(i),
                                         "--checkpoint-entries=40",
                                         "--log-level=warn"};
        std::vector<char *> argv;
        for (std::string &a : args) {
            argv.push_back(a.data());
        }
        argv.push_back(nullptr);
        ASSERT_EQ(posix_spawn(&pid_[i], GOOSEFS_MASTER, nullptr, nullptr, argv.data(), environ), 0);
    }
    void Kill(int i, int signal_number)
    {
        int status = 0;
        ASSERT_EQ(kill(pid_[i], signal_number), 0);
        ASSERT_EQ(waitpid(pid_[i], &status, 0), pid_[i]);
        if (signal_number == SIGTERM) {
            EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
        }
    }

  private:
    std::string dir_;
    pid_t pid_[4] = {0, 0, 0, 0};
};

// Mounts PREFIX-0, PREFIX-1 ... one after the other until told to stop, each until acknowledged.
class Client
{
  public:
    Client(int id, const std::string &uri) : id_(id), uri_(uri)
    {
        for (int i = 1; i <= 3; i++) {
            masters_.push_back(std::make_unique<Caller>(Cluster::Rpc(i)));
        }
    }
    void Run(const std::atomic<bool> &stop, std::atomic<int> &acked)
    {
        for (int n = 0; !stop; n++) {
            std::string name = "c" + std::to_string(id_) + "-" + std::to_string(n);
            if (!MountOne(name)) {
                return;
            }
            done.push_back(name);
            acked++;
        }
    }
    Names done;
    std::string failure;

  private:
    bool MountOne(const std::string &name)
    {
        std::string id = name;
        id.resize(16, '#');
        int64_t deadline = gfs_clock_mono() + kLong;
        while (gfs_clock_mono() < deadline) {
            Reply r = masters_[static_cast<size_t>(at_)]->Mount("/" + name, uri_, id);
            if (r.code == 0) {
                return true;
            }
            if (!gfs_err_retryable(r.code)) {
                failure = name + ": " + r.text;
                return false;
            }
            at_ = (at_ + 1) % 3;
            for (int i = 1; i <= 3; i++) {
                at_ = r.leader == Cluster::Rpc(i) ? i - 1 : at_;
            }
            gfs_clock_sleep_until(gfs_clock_mono() + 3 * GFS_NS_PER_MS);
        }
        failure = name + ": not acknowledged in time";
        return false;
    }
    int id_;
    int at_ = 0;
    std::string uri_;
    std::vector<std::unique_ptr<Caller>> masters_;
};

int LeaderNow()
{
    for (int i = 1; i <= 3; i++) {
        Reply r = Caller(Cluster::Rpc(i)).Info();
        for (int k = 1; r.code == 0 && k <= 3; k++) {
            if (r.As<Goosefs__V1__GetMasterInfoResponse>()->leader_rpc_address == Cluster::Rpc(k)) {
                return k;
            }
        }
    }
    return 1;
}

TEST(Crash, what_was_acknowledged_survives_kills)
{
    Scratch origin, state;
    origin.Write("f", "x");
    Processes masters(state.path);
    std::atomic<bool> stop{false};
    std::atomic<int> acked{0};
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<std::thread> threads;
    for (int c = 0; c < kClients; c++) {
        clients.push_back(std::make_unique<Client>(c, "file://" + origin.path));
        threads.emplace_back([&, c] { clients[static_cast<size_t>(c)]->Run(stop, acked); });
    }
    for (int k = 1; k <= kKills; k++) {
        EXPECT_TRUE(Eventually([&] { return acked >= k * kAcksBetween; })) << "after kill " << k;
        int victim = k % 2 == 1 ? LeaderNow() : k / 2 % 3 + 1;
        masters.Kill(victim, SIGKILL);
        masters.Start(victim);
    }
    stop = true;
    Names all;
    for (int c = 0; c < kClients; c++) {
        threads[static_cast<size_t>(c)].join();
        EXPECT_EQ(clients[static_cast<size_t>(c)]->failure, "");
        for (const std::string &name : clients[static_cast<size_t>(c)]->done) {
            all.push_back(name);
        }
    }
    std::sort(all.begin(), all.end());
    for (int i = 1; i <= 3; i++) {
        Caller caller(Cluster::Rpc(i));
        EXPECT_TRUE(Eventually([&] { return caller.Names("/") == all; })) << "master " << i;
    }
}

} // namespace
