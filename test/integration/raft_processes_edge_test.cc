// Three real masters: replaced by a newer program under load, and asked for more than they can do.
#include "raft_processes_fixture.h"

#include <arpa/inet.h>
#include <atomic>
#include <csignal>
#include <fstream>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/rpc/client.h>

namespace raft_processes
{
namespace
{

struct Flood {
    std::atomic<int> ok{0}, busy{0}, other{0};
    std::atomic<int> last_other{0};
    int Answers() const
    {
        return ok + busy + other;
    }
};

void OnAnswer(void *arg, const gfs_rpc_result *result, ProtobufCMessage *response)
{
    auto *flood = static_cast<Flood *>(arg);
    if (response != nullptr) {
        protobuf_c_message_free_unpacked(response, nullptr);
    }
    if (result->code == 0) {
        flood->ok++;
    } else if (result->code == GFS_EBUSY) {
        flood->busy++;
    } else {
        flood->last_other = result->code;
        flood->other++;
    }
}

// n reads of the mount table at master 1, on a connection of their own.
gfs_rpc_channel *Send(int n, int number, Flood *flood)
{
    gfs_rpc_channel_opts opts{};
    opts.max_async = static_cast<unsigned>(n);
    opts.wait_for_ready = true;
    const std::string authority =
        "c" + std::to_string(number); // channels that differ share nothing
    opts.authority = authority.c_str();
    gfs_rpc_channel *channel = nullptr;
    EXPECT_EQ(gfs_rpc_channel_new(Masters::Rpc(1).c_str(), &opts, &channel, nullptr), 0);
    Goosefs__V1__ListMountsRequest q = GOOSEFS__V1__LIST_MOUNTS_REQUEST__INIT;
    for (int i = 0; i < n; i++) {
        EXPECT_EQ(gfs_rpc_call_async(channel, &goosefs__v1__file_system_master__descriptor,
                                     "ListMounts", &q.base, gfs_clock_mono() + kLong, OnAnswer,
                                     flood, nullptr),
                  0);
    }
    return channel;
}

class Edge : public RaftProcesses
{
  protected:
    // Whether master i leads; if not, whoever does is asked to hand over to it.
    bool Lead(int i)
    {
        if (masters_->Leader() == i) {
            return true;
        }
        const Client client = Masters::Connect(Masters::All());
        const std::string address = Masters::Raft(i);
        Goosefs__V1__TransferLeadershipRequest q = GOOSEFS__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
        Goosefs__V1__TransferLeadershipResponse *r = nullptr;
        q.raft_address = const_cast<char *>(address.c_str());
        (void)gfs_client_transfer_leadership(client.get(), &q, &r, 0, nullptr);
        goosefs__v1__transfer_leadership_response__free_unpacked(r, nullptr);
        return false;
    }

    uint64_t Rss(int i)
    {
        std::ifstream file("/proc/" + std::to_string(masters_->pid(i)) + "/statm");
        uint64_t size = 0, resident = 0;
        file >> size >> resident;
        return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    }
};

// As an operator, or the controller, does it: followers first, the leader last, which hands over.
TEST_F(Edge, masters_are_replaced_one_by_one_without_a_failed_call)
{
    const std::string newer = dir_ + "/goosefs-master-newer";
    std::filesystem::copy_file(masters_->binary, newer);
    masters_->StartAll();
    load_->Start();
    EXPECT_TRUE(load_->MoreWrites(kSome));
    const int leader = masters_->Leader();
    masters_->binary = newer;
    for (int k = 1; k <= kMasters; k++) {
        const int i = (leader - 1 + k) % kMasters + 1;
        const uint64_t known = masters_->Ask(leader).commit;
        masters_->Stop(i);
        masters_->Start(i);
        EXPECT_TRUE(Eventually([&] { return masters_->Ask(i).applied >= known; }));
        EXPECT_TRUE(load_->MoreWrites(kSome));
    }
    for (int i = 1; i <= kMasters; i++) {
        EXPECT_EQ(
            std::filesystem::read_symlink("/proc/" + std::to_string(masters_->pid(i)) + "/exe"),
            newer);
    }
    ExpectHealthy();
    EXPECT_EQ(load_->unanswered(), 0);
}

// All of them are in the master before it can answer the first: a read needs a majority, and the
// others stand still. The leader's timeout is long, so that it goes on to lead.
TEST_F(Edge, of_5000_calls_at_once_those_beyond_the_limit_are_told_busy)
{
    constexpr int kChannels = 10, kEach = 500, kLeader = 1, kLimit = 2000;
    masters_->extra[kLeader] = {"--election-timeout=60s", "--rpc-calls=" + std::to_string(kLimit)};
    masters_->StartAll();
    ASSERT_TRUE(Eventually([&] { return Lead(kLeader); }));
    const uint64_t before = Rss(kLeader);
    masters_->Signal(2, SIGSTOP);
    masters_->Signal(3, SIGSTOP);

    Flood flood;
    std::vector<gfs_rpc_channel *> channels;
    for (int c = 0; c < kChannels; c++) {
        channels.push_back(Send(kEach, c, &flood));
    }
    // Refusals need no majority.
    EXPECT_TRUE(Eventually([&] { return flood.busy >= kChannels * kEach - kLimit; }));
    EXPECT_EQ(flood.ok, 0);
    masters_->Signal(2, SIGCONT);
    masters_->Signal(3, SIGCONT);
    EXPECT_TRUE(Eventually([&] { return flood.Answers() == kChannels * kEach; }))
        << flood.Answers();
    for (gfs_rpc_channel *channel : channels) {
        gfs_rpc_channel_free(channel);
    }
    EXPECT_EQ(flood.other, 0) << gfs_err_name(flood.last_other);
    EXPECT_GT(flood.ok, 0) << "those within the limit were only late";
    EXPECT_LT(Rss(kLeader), before + (uint64_t{512} << 20)) << "a sanitizer's memory included";

    load_->Start();
    ExpectHealthy();
}

TEST_F(Edge, a_thousand_idle_connections_cost_no_call)
{
    constexpr int kIdle = 1000;
    masters_->StartAll();
    const int leader = masters_->Leader();
    std::vector<int> idle;
    for (int i = 0; i < kIdle; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_GE(fd, 0);
        idle.push_back(fd);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        const std::string rpc = Masters::Rpc(leader);
        to.sin_port = htons(static_cast<uint16_t>(stoi(rpc.substr(rpc.find(':') + 1))));
        ASSERT_EQ(inet_pton(AF_INET, rpc.substr(0, rpc.find(':')).c_str(), &to.sin_addr), 1);
        ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof(to)), 0) << i;
    }
    load_->Start();
    ExpectHealthy();
    for (int fd : idle) {
        close(fd);
    }
}

} // namespace
} // namespace raft_processes
