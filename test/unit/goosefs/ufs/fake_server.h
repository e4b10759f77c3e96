// A small HTTP/1.1 server for tests: a handler per request, counts of connections and requests.
#ifndef GFS_TEST_UFS_FAKE_SERVER_H
#define GFS_TEST_UFS_FAKE_SERVER_H

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

struct FakeRequest {
    std::string method;
    std::string path;  // as sent, encoded
    std::string range; // "" or "bytes=0-9"
    std::string authorization;
};

class FakeServer
{
  public:
    // The raw answer with status line; "" never answers, "close" closes the connection.
    using Handler = std::function<std::string(const FakeRequest &)>;

    explicit FakeServer(Handler handler) : handler_(std::move(handler))
    {
        sockaddr_in addr = {};
        socklen_t len = sizeof(addr);

        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        addr.sin_family = AF_INET;
        addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        (void)bind(listener_, reinterpret_cast<sockaddr *>(&addr), sizeof(addr));
        (void)listen(listener_, 64);
        (void)getsockname(listener_, reinterpret_cast<sockaddr *>(&addr), &len);
        port_ = ntohs(addr.sin_port);
        acceptor_ = std::thread([this] { Accept(); });
    }

    ~FakeServer()
    {
        (void)shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        for (int fd : fds_) {
            (void)shutdown(fd, SHUT_RDWR);
        }
        for (std::thread &t : threads_) {
            t.join();
        }
        for (int fd : fds_) {
            (void)close(fd);
        }
        (void)close(listener_);
    }

    std::string Url(const std::string &path = "/") const
    {
        return "http://127.0.0.1:" + std::to_string(port_) + path;
    }

    int Connections() const
    {
        return connections_;
    }

    int Requests() const
    {
        return requests_;
    }

    static std::string Answer(const std::string &status, const std::string &headers,
                              const std::string &body)
    {
        return "HTTP/1.1 " + status + "\r\n" + headers +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }

    static std::string Html(const std::string &body)
    {
        return Answer("200 OK", "Content-Type: text/html\r\n", body);
    }

  private:
    void Accept()
    {
        for (;;) {
            int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);

            if (fd < 0) {
                return;
            }
            connections_++;
            fds_.push_back(fd);
            threads_.emplace_back([this, fd] { Serve(fd); });
        }
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

    void Serve(int fd)
    {
        std::string in;
        char buf[4096];

        for (;;) {
            size_t end = in.find("\r\n\r\n");

            if (end == std::string::npos) {
                ssize_t n = recv(fd, buf, sizeof(buf), 0);

                if (n <= 0) {
                    return;
                }
                in.append(buf, static_cast<size_t>(n));
                continue;
            }

            std::string head = in.substr(0, end + 2);
            size_t sp = head.find(' ');
            FakeRequest request;

            in.erase(0, end + 4);
            request.method = head.substr(0, sp);
            request.path = head.substr(sp + 1, head.find(' ', sp + 1) - sp - 1);
            request.range = Header(head, "Range");
            request.authorization = Header(head, "Authorization");
            requests_++;

            std::string answer = handler_(request);

            if (answer == "close") {
                (void)shutdown(fd, SHUT_RDWR);
                return;
            }
            if (request.method == "HEAD") {
                answer = answer.substr(0, answer.find("\r\n\r\n") + 4);
            }
            for (size_t sent = 0; sent < answer.size();) {
                ssize_t n = send(fd, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);

                if (n <= 0) {
                    return;
                }
                sent += static_cast<size_t>(n);
            }
            if (answer.find("X-Cut: ") != std::string::npos) { // ends behind what was sent
                (void)shutdown(fd, SHUT_RDWR);
                return;
            }
        }
    }

    Handler handler_;
    int listener_ = -1;
    int port_ = 0;
    std::atomic<int> connections_{0};
    std::atomic<int> requests_{0};
    std::vector<int> fds_; // of the acceptor thread, then of the destructor
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

#endif
