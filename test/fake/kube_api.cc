#include "fake/kube_api.h"

#include <arpa/inet.h>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fake
{
KubeApi::KubeApi()
{
    listen_fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = {};
    sa.sin_family = AF_INET;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof sa;
    if (bind(listen_fd_, reinterpret_cast<sockaddr *>(&sa), len) != 0 ||
        listen(listen_fd_, 64) != 0 ||
        getsockname(listen_fd_, reinterpret_cast<sockaddr *>(&sa), &len) != 0) {
        abort();
    }
    port_ = ntohs(sa.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
}

KubeApi::~KubeApi()
{
    stop_ = true;
    shutdown(listen_fd_, SHUT_RDWR);
    acceptor_.join();
    close(listen_fd_);
    {
        std::lock_guard<std::mutex> lock(mutex_);
        generation_++;
        for (int fd : fds_) {
            shutdown(fd, SHUT_RDWR);
        }
        cond_.notify_all();
    }
    for (auto &t : threads_) {
        t.join();
    }
}

std::string KubeApi::Url() const
{
    return "http://127.0.0.1:" + std::to_string(port_);
}

void KubeApi::Handle(Handler handler)
{
    std::lock_guard<std::mutex> lock(mutex_);
    handler_ = std::move(handler);
}

void KubeApi::Send(const std::string &piece)
{
    std::lock_guard<std::mutex> lock(mutex_);
    pieces_.push_back(piece);
    cond_.notify_all();
}

void KubeApi::EndWatches()
{
    std::lock_guard<std::mutex> lock(mutex_);
    generation_++;
    cond_.notify_all();
}

std::vector<Request> KubeApi::Requests()
{
    std::lock_guard<std::mutex> lock(mutex_);
    return requests_;
}

bool KubeApi::WaitForRequests(const std::string &text, size_t n)
{
    std::unique_lock<std::mutex> lock(mutex_);
    return cond_.wait_for(lock, std::chrono::seconds(60), [&] {
        size_t found = 0;
        for (const auto &r : requests_) {
            found += (r.path + "?" + r.query).find(text) != std::string::npos;
        }
        return found >= n;
    });
}

void KubeApi::Accept()
{
    while (!stop_) {
        int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        std::lock_guard<std::mutex> lock(mutex_);
        fds_.push_back(fd);
        threads_.emplace_back([this, fd] { Serve(fd); });
    }
}

void KubeApi::Serve(int fd)
{
    std::string buffer;
    while (!stop_ && ServeOne(fd, &buffer)) {
    }
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto &open : fds_) {
        if (open == fd) {
            open = -1;
        }
    }
    close(fd);
}

static bool Fill(int fd, std::string *buffer)
{
    char chunk[65536];
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n <= 0) {
        return false;
    }
    buffer->append(chunk, static_cast<size_t>(n));
    return true;
}

static std::string Header(const std::string &head, const std::string &name)
{
    size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) {
        return "";
    }
    at += name.size() + 4;
    return head.substr(at, head.find("\r\n", at) - at);
}

static bool SendAll(int fd, const std::string &data)
{
    size_t at = 0;
    while (at < data.size()) {
        ssize_t n = send(fd, data.data() + at, data.size() - at, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        at += static_cast<size_t>(n);
    }
    return true;
}

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

bool KubeApi::ServeOne(int fd, std::string *buffer)
{
    size_t end = 0;
    while ((end = buffer->find("\r\n\r\n")) == std::string::npos) {
        if (!Fill(fd, buffer)) {
            return false;
        }
    }
    std::string head = buffer->substr(0, end + 2);
    size_t length = 0;
    if (!Header(head, "Content-Length").empty()) {
        length = std::stoul(Header(head, "Content-Length"));
    }
    while (buffer->size() < end + 4 + length) {
        if (!Fill(fd, buffer)) {
            return false;
        }
    }
    Request r;
    r.body = buffer->substr(end + 4, length);
    buffer->erase(0, end + 4 + length);
    r.method = head.substr(0, head.find(' '));
    size_t from = r.method.size() + 1;
    std::string target = head.substr(from, head.find(' ', from) - from);
    r.path = target.substr(0, target.find('?'));
    r.query = r.path.size() < target.size() ? target.substr(r.path.size() + 1) : "";
    r.authorization = Header(head, "Authorization");
    r.content_type = Header(head, "Content-Type");

    Handler handler;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        requests_.push_back(r);
        handler = handler_;
        cond_.notify_all();
    }
    Response response = handler ? handler(r) : Response{404, "{}", false};
    if (response.status == 0) {
        return false; // the connection just ends
    }
    if (response.stream) {
        SendAll(fd, STREAM_HEAD);
        Stream(fd);
        return false;
    }
    if (response.pull) {
        std::string piece;
        bool open = SendAll(fd, STREAM_HEAD);
        while (open && !stop_ && response.pull(&piece)) {
            open = SendAll(fd, piece);
        }
        return false;
    }
    std::string answer = "HTTP/1.1 " + std::to_string(response.status) +
                         " X\r\nContent-Type: application/json\r\nContent-Length: " +
                         std::to_string(response.body.size()) + "\r\n\r\n";
    SendAll(fd, answer + response.body.substr(0, response.body.size() / (response.cut ? 2 : 1)));
    return !response.cut;
}

static bool Closed(int fd)
{
    char byte = 0;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void KubeApi::Stream(int fd)
{
    std::unique_lock<std::mutex> lock(mutex_);
    int generation = generation_;
    for (;;) {
        // A watch that begins while the server ends has the last generation already.
        cond_.wait(lock, [&] { return !pieces_.empty() || generation_ != generation || stop_; });
        if (stop_ || Closed(fd)) {
            return; // what comes is for whoever watches now
        }
        while (!pieces_.empty()) {
            std::string piece = pieces_.front();
            pieces_.pop_front();
            lock.unlock();
            SendAll(fd, piece);
            lock.lock();
        }
        if (generation_ != generation) {
            return;
        }
    }
}
} // namespace fake
