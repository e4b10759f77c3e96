// Network namespaces of this process, joined by a switch that misbehaves on request.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <queue>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace raft_processes
{

// What happens to packets of one direction between two ends.
struct Link {
    bool cut = false; // dropped silently: no reset, no ICMP tells
    int64_t delay_ns = 0;
    int64_t jitter_ns = 0; // packets overtake each other
    int loss_permille = 0;
    int twice_permille = 0;
};

// Ends 0 .. kEnds - 1, each in a namespace of its own whose only way out is a tun device that the
// switch's thread reads. Nothing outside of this process is touched: with the last process in them
// the namespaces are gone.
class Network
{
  public:
    static constexpr int kEnds = 4;

    // nullptr and the reason where the kernel or our rights do not allow it.
    static std::unique_ptr<Network> Open(std::string *why);
    ~Network();

    static std::string Address(int end);

    // Moves the calling thread, and the threads and processes it starts later, to an end.
    // Async-signal-safe.
    bool Enter(int end) const;

    void Set(int from, int to, const Link &link);
    void SetBoth(int a, int b, const Link &link);
    void Heal(); // all links as at the beginning; delayed packets are lost

    // Packets that the switch threw away so far.
    int64_t lost() const
    {
        return lost_;
    }

  private:
    struct Packet {
        int64_t due;
        int from, to;
        std::vector<uint8_t> bytes;
        bool operator<(const Packet &other) const
        {
            return due > other.due;
        }
    };

    Network() = default;
    std::string Make();
    std::string MakeEnd(int end);
    void Run();
    void Receive(int from);
    void Forward(int from, std::vector<uint8_t> bytes);
    void Deliver(int to, const std::vector<uint8_t> &bytes);
    int SendDue(); // ms until the next packet is due, -1: none
    bool Chance(int permille);

    int space_[kEnds] = {-1, -1, -1, -1};
    int tun_[kEnds] = {-1, -1, -1, -1};
    int stop_ = -1;
    std::thread thread_;
    std::mutex mutex_;
    Link links_[kEnds][kEnds];
    std::priority_queue<Packet> delayed_;
    std::mt19937_64 random_{1};
    std::atomic<int64_t> lost_{0};
};

} // namespace raft_processes
