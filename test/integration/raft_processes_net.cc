#include "raft_processes_net.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/base/clock.h>

namespace raft_processes
{
namespace
{

constexpr size_t kMtu = 9000; // fewer packets, less work for the switch
constexpr size_t kDelayedMax = 20000;

std::string Failed(const char *what)
{
    return std::string(what) + ": " + strerror(errno);
}

ifreq Request(const char *name)
{
    ifreq request{};
    strncat(request.ifr_name, name, IFNAMSIZ - 1);
    return request;
}

void SetAddress(ifreq *request, const std::string &address)
{
    auto *in = reinterpret_cast<sockaddr_in *>(&request->ifr_addr);
    in->sin_family = AF_INET;
    inet_pton(AF_INET, address.c_str(), &in->sin_addr);
}

bool SetUp(int socket, const char *name)
{
    ifreq request = Request(name);
    if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) {
        return false;
    }
    request.ifr_flags |= IFF_UP;
    return ioctl(socket, SIOCSIFFLAGS, &request) == 0;
}

// In the namespace of the calling thread.
std::string MakeTun(const std::string &address, int *out)
{
    const int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) {
        return Failed("/dev/net/tun");
    }
    *out = tun;
    ifreq request = Request("gfs0");
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(tun, TUNSETIFF, &request) != 0) {
        return Failed("tun device");
    }

    const int in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq own = Request("gfs0"), mask = Request("gfs0"), mtu = Request("gfs0");
    SetAddress(&own, address);
    SetAddress(&mask, "255.255.255.0");
    mtu.ifr_mtu = kMtu;
    std::string why;
    if (ioctl(in, SIOCSIFADDR, &own) != 0 || ioctl(in, SIOCSIFNETMASK, &mask) != 0 ||
        ioctl(in, SIOCSIFMTU, &mtu) != 0 || !SetUp(in, "gfs0") || !SetUp(in, "lo")) {
        why = Failed("address of the tun device");
    }
    close(in);
    return why;
}

} // namespace

std::string Network::Address(int end)
{
    return "10.77.0." + std::to_string(end + 1);
}

std::unique_ptr<Network> Network::Open(std::string *why)
{
    std::unique_ptr<Network> network(new Network());
    *why = network->Make();
    if (!why->empty()) {
        return nullptr;
    }
    return network;
}

// A namespace belongs to the thread that makes it: one thread per end, which then ends.
std::string Network::MakeEnd(int end)
{
    std::string why;
    std::thread([&] {
        if (unshare(CLONE_NEWNET) != 0) {
            why = Failed("network namespace");
            return;
        }
        space_[end] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        why = space_[end] < 0 ? Failed("/proc/thread-self/ns/net") : "";
        why = why.empty() ? MakeTun(Address(end), &tun_[end]) : why;
    }).join();
    return why;
}

std::string Network::Make()
{
    for (int end = 0; end < kEnds; end++) {
        const std::string why = MakeEnd(end);
        if (!why.empty()) {
            return why;
        }
    }
    stop_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread_ = std::thread([this] { Run(); });
    return "";
}

Network::~Network()
{
    if (thread_.joinable()) {
        const uint64_t one = 1;
        (void)!write(stop_, &one, sizeof(one));
        thread_.join();
    }
    for (int end = 0; end < kEnds; end++) {
        close(tun_[end]);
        close(space_[end]);
    }
    close(stop_);
}

bool Network::Enter(int end) const
{
    return setns(space_[end], CLONE_NEWNET) == 0;
}

void Network::Set(int from, int to, const Link &link)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    links_[from][to] = link;
}

void Network::SetBoth(int a, int b, const Link &link)
{
    Set(a, b, link);
    Set(b, a, link);
}

void Network::Heal()
{
    const std::lock_guard<std::mutex> guard(mutex_);
    for (auto &row : links_) {
        for (Link &link : row) {
            link = {};
        }
    }
    delayed_ = {};
}

bool Network::Chance(int permille)
{
    return permille > 0 && static_cast<int>(random_() % 1000) < permille;
}

void Network::Run()
{
    pollfd fds[kEnds + 1];
    for (int end = 0; end < kEnds; end++) {
        fds[end] = {tun_[end], POLLIN, 0};
    }
    fds[kEnds] = {stop_, POLLIN, 0};
    for (;;) {
        (void)poll(fds, kEnds + 1, SendDue());
        if ((fds[kEnds].revents & POLLIN) != 0) {
            return;
        }
        for (int end = 0; end < kEnds; end++) {
            if ((fds[end].revents & POLLIN) != 0) {
                Receive(end);
            }
        }
    }
}

void Network::Receive(int from)
{
    constexpr int kAtOnce = 64; // then the others
    uint8_t buffer[kMtu + 64];
    for (int i = 0; i < kAtOnce; i++) {
        const ssize_t n = read(tun_[from], buffer, sizeof(buffer));
        if (n <= 0) {
            return;
        }
        Forward(from, std::vector<uint8_t>(buffer, buffer + n));
    }
}

void Network::Forward(int from, std::vector<uint8_t> bytes)
{
    constexpr size_t kDestination = 16; // in an IPv4 header, whose last byte is our end's number
    if (bytes.size() < 20 || bytes[0] >> 4 != 4) {
        return;
    }
    const int to = bytes[kDestination + 3] - 1;
    if (to < 0 || to >= kEnds || bytes[kDestination] != 10) {
        return;
    }

    const std::lock_guard<std::mutex> guard(mutex_);
    const Link &link = links_[from][to];
    if (link.cut || Chance(link.loss_permille) || delayed_.size() >= kDelayedMax) {
        lost_++;
        return;
    }
    const int copies = Chance(link.twice_permille) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        if (link.delay_ns == 0) {
            Deliver(to, bytes);
            continue;
        }
        const int64_t jitter =
            link.jitter_ns == 0
                ? 0
                : static_cast<int64_t>(random_() % static_cast<uint64_t>(link.jitter_ns));
        delayed_.push({gfs_clock_mono() + link.delay_ns + jitter, from, to, bytes});
    }
}

void Network::Deliver(int to, const std::vector<uint8_t> &bytes)
{
    if (write(tun_[to], bytes.data(), bytes.size()) < 0) {
        lost_++;
    }
}

int Network::SendDue()
{
    const std::lock_guard<std::mutex> guard(mutex_);
    const int64_t now = gfs_clock_mono();
    while (!delayed_.empty() && delayed_.top().due <= now) {
        const Packet &packet = delayed_.top();
        if (links_[packet.from][packet.to].cut) {
            lost_++;
        } else {
            Deliver(packet.to, packet.bytes);
        }
        delayed_.pop();
    }
    if (delayed_.empty()) {
        return -1;
    }
    return static_cast<int>((delayed_.top().due - now) / GFS_NS_PER_MS) + 1;
}

} // namespace raft_processes
