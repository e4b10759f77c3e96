#include "raft_processes_masters.h"

#include <gtest/gtest.h>

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/clock.h>

namespace raft_processes
{
namespace
{

constexpr int kRpcPort = 26000;
constexpr int kWebPort = 26001;
constexpr int kJournalPort = 26002;
constexpr int kCannotExec = 126;

// Asking a master that does not answer must not hold up the nemesis.
constexpr int64_t kAsk = GFS_NS_PER_S;

} // namespace

bool Eventually(const std::function<bool()> &is_true, int64_t within)
{
    const int64_t deadline = gfs_clock_mono() + within;
    while (!is_true()) {
        if (gfs_clock_mono() > deadline) {
            return false;
        }
        gfs_clock_sleep_until(gfs_clock_mono() + 5 * GFS_NS_PER_MS);
    }
    return true;
}

Masters::Masters(const Network &network, const std::string &dir, std::vector<std::string> options)
    : binary(GOOSEFS_MASTER), network_(network), dir_(dir), options_(std::move(options)),
      admin_(Connect(All()))
{
    for (int i = 1; i <= kMasters; i++) {
        std::filesystem::create_directories(Directory(i));
    }
}

Masters::~Masters()
{
    for (int i = 1; i <= kMasters; i++) {
        if (Runs(i)) {
            kill(pid_[i], SIGCONT);
            Stop(i);
        }
    }
}

std::string Masters::Directory(int i) const
{
    return dir_ + "/" + std::to_string(i);
}

std::string Masters::Journal(int i) const
{
    return Directory(i) + "/raft";
}

std::string Masters::Rpc(int i)
{
    return Network::Address(i) + ":" + std::to_string(kRpcPort);
}

std::string Masters::Raft(int i)
{
    return Network::Address(i) + ":" + std::to_string(kJournalPort);
}

std::string Masters::All()
{
    return Rpc(1) + "," + Rpc(2) + "," + Rpc(3);
}

Client Masters::Connect(const std::string &masters)
{
    gfs_client_opts opts{};
    opts.masters = masters.c_str();
    opts.try_ns = GFS_NS_PER_S;
    gfs_client *client = nullptr;
    EXPECT_EQ(gfs_client_new(&opts, &client, nullptr), 0);
    return Client(client);
}

void Masters::Start(int i)
{
    ASSERT_FALSE(Runs(i));
    std::string addresses;
    for (int k = 1; k <= kMasters; k++) {
        addresses += (k > 1 ? "," : "") + Raft(k);
    }
    std::vector<std::string> args = {binary,
                                     "--hostname=" + Network::Address(i),
                                     "--rpc-port=" + std::to_string(kRpcPort),
                                     "--web-port=" + std::to_string(kWebPort),
                                     "--journal-port=" + std::to_string(kJournalPort),
                                     "--journal-addresses=" + addresses,
                                     "--journal-folder=" + Directory(i)};
    args.insert(args.end(), options_.begin(), options_.end());
    args.insert(args.end(), extra[i].begin(), extra[i].end());
    std::vector<char *> argv;
    for (std::string &arg : args) {
        argv.push_back(arg.data());
    }
    argv.push_back(nullptr);

    said_before_[i] = Said(i).size();
    const std::string log = dir_ + "/" + std::to_string(i) + ".log";
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ASSERT_GE(out, 0);
    const pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (network_.Enter(i) && dup2(out, STDERR_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0) {
            execv(argv[0], argv.data());
        }
        _exit(kCannotExec);
    }
    close(out);
    ASSERT_GT(pid, 0);
    pid_[i] = pid;
}

void Masters::StartAll()
{
    for (int i = 1; i <= kMasters; i++) {
        Start(i);
    }
    ASSERT_NE(Leader(), 0) << Said(1) << Said(2) << Said(3);
}

void Masters::Signal(int i, int number)
{
    ASSERT_TRUE(Runs(i));
    ASSERT_EQ(kill(pid_[i], number), 0);
}

void Masters::Kill(int i)
{
    Signal(i, SIGKILL);
    EXPECT_EQ(Wait(i), 128 + SIGKILL) << Said(i);
}

int Masters::Wait(int i)
{
    int status = 0;
    const bool ended = Eventually([&] { return waitpid(pid_[i], &status, WNOHANG) == pid_[i]; });
    EXPECT_TRUE(ended) << "master " << i << " goes on: " << Said(i);
    if (!ended) {
        (void)kill(pid_[i], SIGKILL);
        (void)waitpid(pid_[i], &status, 0);
    }
    pid_[i] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// A sanitizer that has found something, or a leak, shows in the exit code.
void Masters::Stop(int i)
{
    Signal(i, SIGTERM);
    EXPECT_EQ(Wait(i), 0) << "master " << i << ": " << Said(i);
}

Info Masters::Ask(int i)
{
    Goosefs__V1__GetMasterInfoRequest q = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
    ProtobufCMessage *message = nullptr;
    Info info;
    if (gfs_client_call_master(admin_.get(), static_cast<size_t>(i - 1),
                               GFS_CLIENT_METHOD_get_master_info, &q.base, &message,
                               gfs_clock_mono() + kAsk, nullptr) != 0) {
        return info;
    }
    auto *r = reinterpret_cast<Goosefs__V1__GetMasterInfoResponse *>(message);
    info.answered = true;
    info.leads = r->this_is_leader;
    info.term = r->term;
    info.commit = r->commit_index;
    info.applied = r->applied_index;
    info.leader = r->leader_rpc_address;
    info.started_ms = r->start_time_ms;
    goosefs__v1__get_master_info_response__free_unpacked(r, nullptr);
    return info;
}

int Masters::Leader(int64_t within)
{
    int leader = 0;
    const bool found = Eventually(
        [&] {
            Info info[kMasters + 1];
            for (int i = 1; i <= kMasters; i++) {
                info[i] = Runs(i) ? Ask(i) : Info{};
            }
            for (int i = 1; i <= kMasters; i++) {
                int follow = 0;
                for (int k = 1; k <= kMasters; k++) {
                    follow += info[k].leader == Rpc(i) && info[k].term == info[i].term ? 1 : 0;
                }
                leader = info[i].leads && follow > kMasters / 2 ? i : leader;
            }
            return leader != 0;
        },
        within);
    return found ? leader : 0;
}

int Masters::Follower()
{
    return Leader() % kMasters + 1;
}

uint64_t Masters::Term()
{
    uint64_t term = 0;
    for (int i = 1; i <= kMasters; i++) {
        const Info info = Runs(i) ? Ask(i) : Info{};
        term = info.term > term ? info.term : term;
    }
    return term;
}

std::string Masters::Agree()
{
    std::string why;
    const bool agree = Eventually([&] {
        Info first;
        why = "";
        for (int i = 1; i <= kMasters; i++) {
            const Info info = Ask(i);
            first = i == 1 ? info : first;
            if (!info.answered || info.leader.empty() || info.leader != first.leader ||
                info.term != first.term || info.applied != info.commit ||
                info.commit != first.commit) {
                why += "master " + std::to_string(i) + (info.answered ? "" : " does not answer") +
                       " leader " + info.leader + " term " + std::to_string(info.term) +
                       " commit " + std::to_string(info.commit) + " applied " +
                       std::to_string(info.applied) + "; ";
            }
        }
        return why.empty();
    });
    return agree ? "" : why;
}

std::string Masters::Said(int i) const
{
    std::ifstream file(dir_ + "/" + std::to_string(i) + ".log");
    return std::string(std::istreambuf_iterator<char>(file), {});
}

bool Masters::SaidSince(int i, const std::string &text) const
{
    return Said(i).find(text, said_before_[i]) != std::string::npos;
}

} // namespace raft_processes
