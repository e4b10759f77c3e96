// An API server of a few dozen lines for tests: stores objects, lists with pages, watches with
// bookmarks, and fails on demand. Plain HTTP on 127.0.0.1, one thread per connection.
#ifndef GFS_TEST_FAKE_KUBE_API_H
#define GFS_TEST_FAKE_KUBE_API_H

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fake
{
struct Request {
    std::string method, path, query, body, authorization, content_type;
};

struct Response {
    int status = 200;
    std::string body;
    // The pieces of Send are sent one by one as they appear, then the connection ends.
    bool stream = false;
    // Half of it is sent, then the connection ends.
    bool cut = false;
    // When set, the answer is a stream of what this returns, until it returns false. It may wait.
    std::function<bool(std::string *)> pull = nullptr;
};

// Serves one HTTP request per accepted connection turn (keep-alive), in threads of its own.
class KubeApi
{
  public:
    using Handler = std::function<Response(const Request &)>;

    KubeApi();
    ~KubeApi();

    std::string Url() const;

    // Answers with `handler` what it does not leave at status 0.
    void Handle(Handler handler);

    // Pieces for the next watches: each watch sends everything queued, then waits for more until
    // EndWatches.
    void Send(const std::string &piece);
    void EndWatches();

    std::vector<Request> Requests();
    // Waits until `n` requests whose path and query contain `text` have come.
    bool WaitForRequests(const std::string &text, size_t n);

  private:
    void Accept();
    void Serve(int fd);
    bool ServeOne(int fd, std::string *buffer);
    void Stream(int fd);

    int listen_fd_ = -1;
    int port_ = 0;
    std::atomic<bool> stop_{false};
    std::thread acceptor_;
    std::mutex mutex_;
    std::condition_variable cond_;
    std::vector<std::thread> threads_;
    std::vector<int> fds_;
    std::vector<Request> requests_;
    std::deque<std::string> pieces_;
    int generation_ = 0;
    Handler handler_;
};
} // namespace fake
#endif
