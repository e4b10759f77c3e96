#include <gfs/http/http.h>

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace
{
size_t Collect(char *data, size_t size, size_t n, void *user)
{
    static_cast<std::string *>(user)->append(data, size * n);
    return size * n;
}

struct Answer {
    long status = 0;
    std::string body;
    std::string type;
};

class Http : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        http = gfs_http_new();
        ASSERT_NE(nullptr, http);
    }

    void TearDown() override
    {
        gfs_http_free(http);
    }

    void Start()
    {
        struct gfs_err err = GFS_ERR_INIT;
        ASSERT_EQ(GFS_OK, gfs_http_start(http, "127.0.0.1:0", &err)) << err.text;
    }

    Answer Get(const std::string &path, const char *method = "GET", const char *body = nullptr)
    {
        Answer a;
        CURL *c = curl_easy_init();
        std::string url = "http://127.0.0.1:" + std::to_string(gfs_http_port(http)) + path;
        curl_easy_setopt(c, CURLOPT_URL, url.c_str());
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, Collect);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, &a.body);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, 30L);
        if (body != nullptr) {
            curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
        }
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a.status);
        char *type = nullptr;
        curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
        a.type = type != nullptr ? type : "";
        curl_easy_cleanup(c);
        return a;
    }

    struct sockaddr_in AddressOfServer() const
    {
        struct sockaddr_in sa = {};
        sa.sin_family = AF_INET;
        sa.sin_port = htons(gfs_http_port(http));
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sa;
    }

    int Connect()
    {
        struct sockaddr_in sa = AddressOfServer();
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(0, connect(fd, reinterpret_cast<struct sockaddr *>(&sa), sizeof sa));
        return fd;
    }

    // All of what comes until the server closes.
    static std::string ReadAll(int fd)
    {
        std::string all;
        char buffer[4096];
        for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
            all.append(buffer, static_cast<size_t>(n));
        }
        close(fd);
        return all;
    }

    std::string Raw(const std::string &request)
    {
        int fd = Connect();
        EXPECT_EQ(static_cast<ssize_t>(request.size()),
                  send(fd, request.data(), request.size(), MSG_NOSIGNAL));
        return ReadAll(fd);
    }

    struct gfs_http *http = nullptr;
};

void Echo(const struct gfs_http_request *request, struct gfs_http_response *response, void *user)
{
    const char *q = gfs_http_query(request, "q");
    gfs_buf_printf(&response->body, "%s %s %s", static_cast<const char *>(user), request->path,
                   q != nullptr ? q : "-");
}

void Flood(const struct gfs_http_request *, struct gfs_http_response *response, void *)
{
    std::string lots(GFS_HTTP_BODY_MAX, 'x');
    gfs_buf_append(&response->body, lots.data(), lots.size());
    gfs_buf_puts(&response->body, "x");
}

TEST_F(Http, RoutesAnswerTheirPathAndDirectoriesWhatIsBelow)
{
    char a[] = "a", b[] = "b";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/b/", Echo, b));
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/", Echo, a));
    Start();
    EXPECT_EQ("a /a 1 2", Get("/a?q=1%202").body);
    EXPECT_EQ("b /b/c d -", Get("/b/c%20d").body);
    EXPECT_EQ("a / -", Get("/").body);
    EXPECT_EQ(404, Get("/ab").status);
    EXPECT_EQ(404, Get("/nothing").status);
}

TEST_F(Http, OnlyReadingMethodsWithoutABody)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    Start();
    EXPECT_EQ(405, Get("/a", "DELETE").status);
    EXPECT_NE(200, Get("/a", "POST", "x=1").status);
    EXPECT_EQ(200, Get("/a").status);
}

TEST_F(Http, MetricsAreServedInTheExpositionFormat)
{
    struct gfs_metrics *m = gfs_metrics_new();
    gfs_metric_add(gfs_metrics_get(m, GFS_METRIC_COUNTER, "x_total", "", "X."), 3);
    ASSERT_EQ(GFS_OK, gfs_http_route_metrics(http, m));
    Start();
    Answer a = Get("/metrics");
    EXPECT_EQ("# HELP x_total X.\n# TYPE x_total counter\nx_total 3\n", a.body);
    EXPECT_EQ("text/plain; version=0.0.4; charset=utf-8", a.type);
    gfs_http_stop(http);
    gfs_metrics_free(m);
}

TEST_F(Http, HealthSaysWhyItFails)
{
    bool healthy = true;
    auto check = [](struct gfs_buf *reason, void *user) {
        gfs_buf_puts(reason, "no leader\n");
        return *static_cast<bool *>(user);
    };
    ASSERT_EQ(GFS_OK, gfs_http_route_health(http, "/healthz", check, &healthy));
    Start();
    EXPECT_EQ(200, Get("/healthz").status);
    EXPECT_EQ("ok\n", Get("/healthz").body);
    healthy = false;
    EXPECT_EQ(503, Get("/healthz").status);
    EXPECT_EQ("no leader\n", Get("/healthz").body);
}

TEST_F(Http, AnAnswerOverItsLimitIsAnErrorNotACutPage)
{
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/flood", Flood, nullptr));
    Start();
    Answer a = Get("/flood");
    EXPECT_EQ(500, a.status);
    EXPECT_EQ("the answer is too large\n", a.body);
}

TEST_F(Http, ALargeAnswerArrivesWhole)
{
    auto lots = [](const struct gfs_http_request *, struct gfs_http_response *response, void *) {
        for (int i = 0; i < 500000; i++) {
            gfs_buf_printf(&response->body, "%09d\n", i);
        }
    };
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/lots", lots, nullptr));
    Start();
    Answer a = Get("/lots");
    EXPECT_EQ(5000000u, a.body.size());
    EXPECT_EQ("000499999\n", a.body.substr(a.body.size() - 10));
}

TEST_F(Http, AHeadRequestIsAnsweredWithoutTheBody)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    Start();
    std::string answer = Raw("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(0u, answer.find("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(std::string::npos, answer.find("Content-Length: 6\r\n")) << answer;
    EXPECT_EQ(answer.size() - 4, answer.find("\r\n\r\n")) << answer;
}

TEST_F(Http, RequestsInPiecesAreServedAndNonsenseIsRefused)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    Start();
    int fd = Connect();
    for (char c : std::string("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")) {
        ASSERT_EQ(1, send(fd, &c, 1, MSG_NOSIGNAL));
    }
    std::string answer = ReadAll(fd);
    EXPECT_NE(std::string::npos, answer.find("\r\n\r\na /a -")) << answer;

    EXPECT_EQ(0u, Raw("nonsense\r\n\r\n").find("HTTP/1.1 400 "));
    EXPECT_EQ(0u, Raw("GET /a%00b HTTP/1.1\r\n\r\n").find("HTTP/1.1 400 "));
    EXPECT_EQ(0u, Raw("GET /a HTTP/1.1\r\nX: " + std::string(8000, 'x') +
                      "\r\nY: " + std::string(400, 'y') + "\r\n\r\n")
                      .find("HTTP/1.1 4"));
    EXPECT_EQ(0u, Raw("GET /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody").find("HTTP/1.1 413 "));
    EXPECT_EQ(0u, Raw("OPTIONS /a HTTP/1.1\r\n\r\n").find("HTTP/1.1 405 "));
}

TEST_F(Http, QueriesAreDecoded)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    Start();
    EXPECT_EQ("a /a &", Get("/a?x=1&q=%26").body);
    EXPECT_EQ("a /a 1 2", Get("/a?q=1+2").body);
    EXPECT_EQ("a /a -", Get("/a?x=1").body);
    EXPECT_EQ("a /a -", Get("/a?").body);
    EXPECT_EQ(200, Get("/a?nothing").status);
}

TEST_F(Http, AClientThatLeavesBeforeTheAnswerHarmsNobody)
{
    char a[] = "a";
    std::string lots(GFS_HTTP_BODY_MAX, 'x');
    auto large = [](const struct gfs_http_request *, struct gfs_http_response *r, void *user) {
        gfs_buf_puts(&r->body, static_cast<std::string *>(user)->c_str());
    };
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/large", large, &lots));
    Start();
    for (int i = 0; i < 20; i++) {
        int fd = Connect();
        std::string request = "GET /large HTTP/1.1\r\n\r\n";
        ASSERT_EQ(static_cast<ssize_t>(request.size()),
                  send(fd, request.data(), request.size(), MSG_NOSIGNAL));
        char first;
        if (i % 2 == 0) {
            ASSERT_EQ(1, read(fd, &first, 1)); // the rest is unread: closing resets
        }
        close(fd);
    }
    EXPECT_EQ(200, Get("/a").status);
}

// Connections that say nothing take places, no more than there are, and give them back.
TEST_F(Http, WhoComesWhileAllPlacesAreTakenWaits)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    Start();
    std::vector<int> idle;
    for (int i = 0; i < GFS_HTTP_CONNECTIONS_MAX - 1; i++) {
        idle.push_back(Connect());
    }
    EXPECT_EQ(200, Get("/a").status);

    idle.push_back(Connect());
    std::string request = "GET /a HTTP/1.1\r\n\r\n";
    struct pollfd waiting = {.fd = Connect(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(static_cast<ssize_t>(request.size()),
              send(waiting.fd, request.data(), request.size(), MSG_NOSIGNAL));
    EXPECT_EQ(0, poll(&waiting, 1, 300));
    close(idle.back());
    idle.pop_back();
    EXPECT_EQ(0u, ReadAll(waiting.fd).find("HTTP/1.1 200 "));

    for (int fd : idle) {
        close(fd);
    }
    EXPECT_EQ(200, Get("/a").status);
}

// Accepting fails; it is tried again, and what waited is served.
TEST_F(Http, ItOutlivesALackOfDescriptors)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    Start();
    EXPECT_EQ(200, Get("/a").status);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int lowest_free = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    ASSERT_GE(lowest_free, 0);
    close(lowest_free);
    struct rlimit before, none;
    ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &before));
    none = before;
    none.rlim_cur = static_cast<rlim_t>(lowest_free);

    ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
    struct sockaddr_in sa = AddressOfServer();
    int connected = connect(fd, reinterpret_cast<struct sockaddr *>(&sa), sizeof sa);
    std::string request = "GET /a HTTP/1.1\r\n\r\n";
    ssize_t sent = send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    struct pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
    int answered = poll(&waiting, 1, 300);
    ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &before));

    EXPECT_EQ(0, connected);
    EXPECT_EQ(static_cast<ssize_t>(request.size()), sent);
    EXPECT_EQ(0, answered);
    EXPECT_EQ(0u, ReadAll(fd).find("HTTP/1.1 200 "));
}

TEST_F(Http, AProcessMayHaveSeveral)
{
    char a[] = "a", b[] = "b";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/", Echo, a));
    Start();
    struct gfs_http *first = http;
    http = gfs_http_new();
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/", Echo, b));
    Start();
    EXPECT_NE(gfs_http_port(first), gfs_http_port(http));
    EXPECT_EQ("b / -", Get("/").body);
    std::swap(first, http);
    EXPECT_EQ("a / -", Get("/").body);
    gfs_http_free(first);
    EXPECT_EQ("a / -", Get("/").body);
}

TEST_F(Http, APortInUseIsNamed)
{
    Start();
    struct gfs_http *other = gfs_http_new();
    std::string address = "127.0.0.1:" + std::to_string(gfs_http_port(http));
    struct gfs_err err = GFS_ERR_INIT;
    EXPECT_LT(gfs_http_start(other, address.c_str(), &err), 0);
    EXPECT_NE(std::string::npos, std::string(err.text).find(address)) << err.text;
    EXPECT_NE(std::string::npos, std::string(err.text).find("another process has the port"));
    EXPECT_EQ(GFS_EINVAL, gfs_http_start(other, "nonsense", &err));
    EXPECT_EQ(GFS_EINVAL, gfs_http_start(other, "name:1", &err));
    gfs_http_free(other);
}

TEST_F(Http, ItStopsAndStartsAgain)
{
    char a[] = "a";
    ASSERT_EQ(GFS_OK, gfs_http_route(http, "/a", Echo, a));
    for (int i = 0; i < 5; i++) {
        Start();
        EXPECT_EQ(200, Get("/a").status);
        gfs_http_stop(http);
        EXPECT_EQ(0, gfs_http_port(http));
    }
}

TEST(HttpEscape, MarkupIsEscaped)
{
    struct gfs_buf b;
    gfs_buf_init(&b, 100);
    ASSERT_EQ(GFS_OK, gfs_http_escape(&b, "<a href=\"x\">&'</a>"));
    EXPECT_STREQ("&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;", gfs_buf_str(&b));
    gfs_buf_fini(&b);
}
} // namespace
