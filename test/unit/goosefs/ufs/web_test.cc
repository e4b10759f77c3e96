// The web UFS against servers that behave, misbehave and change under it.
#include <condition_variable>
#include <string>

#include <gtest/gtest.h>

#include <gfs/base/clock.h>
#include <gfs/ufs/ufs.h>

#include "fake_server.h"

namespace
{

const char kLm[] = "Last-Modified: Sun, 19 May 2024 10:32:11 GMT\r\n";

class WebUfs : public testing::Test
{
  protected:
    void Open(const std::string &url, const gfs_props *props = nullptr)
    {
        gfs_ufs_limits limits;

        gfs_ufs_limits_init(&limits);
        ASSERT_EQ(0,
                  gfs_ufs_open(url.c_str(), props, limits_set_ ? &limits_ : &limits, &ufs_, &err_))
            << err_.text;
    }

    void TearDown() override
    {
        gfs_ufs_close(ufs_);
    }

    gfs_ufs_limits *Limits()
    {
        gfs_ufs_limits_init(&limits_);
        limits_set_ = true;
        return &limits_;
    }

    int Stat(const char *path)
    {
        return gfs_ufs_stat_path(ufs_, path, &stat_, &err_);
    }

    int Read(const char *path, const char *version, uint64_t size, uint64_t offset, uint64_t length)
    {
        gfs_ufs_range range = {path, version, size, offset, length};

        data_.assign(length, '\0');
        return gfs_ufs_read_buffer(ufs_, &range, &data_[0], version_, &err_);
    }

    gfs_ufs *ufs_ = nullptr;
    gfs_ufs_limits limits_;
    bool limits_set_ = false;
    gfs_err err_ = GFS_ERR_INIT;
    gfs_ufs_stat stat_ = {};
    std::string data_;
    char version_[GFS_UFS_VERSION_MAX + 1] = "";
};

// Serves one object by ranges, as a correct server does.
struct Object {
    std::string content;
    std::string headers;

    std::string Answer(const FakeRequest &request) const
    {
        unsigned long long first = 0;
        unsigned long long last = 0;

        if (sscanf(request.range.c_str(), "bytes=%llu-%llu", &first, &last) != 2) {
            return FakeServer::Answer("200 OK", headers, content);
        }
        if (first >= content.size()) {
            return FakeServer::Answer("416 Range Not Satisfiable", "", "");
        }
        last = std::min<unsigned long long>(last, content.size() - 1);
        return FakeServer::Answer("206 Partial Content",
                                  headers + "Content-Range: bytes " + std::to_string(first) + "-" +
                                      std::to_string(last) + "/" + std::to_string(content.size()) +
                                      "\r\n",
                                  content.substr(first, last - first + 1));
    }
};

TEST_F(WebUfs, ConnectionRefusedIsSaid)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in addr = {};
    socklen_t len = sizeof(addr);

    // Bound but not listening: the port is ours, so nobody else answers on it.
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(0, bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)));
    ASSERT_EQ(0, getsockname(fd, reinterpret_cast<sockaddr *>(&addr), &len));

    std::string url = "127.0.0.1:" + std::to_string(ntohs(addr.sin_port)) + "/x/";

    Open("http://user:secret@" + url);
    EXPECT_EQ(GFS_EUNAVAIL, Stat(""));
    EXPECT_EQ("http://" + url + ": cannot connect: Connection refused", err_.text);
    EXPECT_EQ("http://" + url, gfs_ufs_display(ufs_));
    close(fd);
}

TEST_F(WebUfs, MissingForbiddenAndBrokenServersDiffer)
{
    std::string status = "404 Not Found";
    FakeServer server([&](const FakeRequest &) { return FakeServer::Answer(status, "", ""); });

    Open(server.Url());
    EXPECT_EQ(GFS_ENOENT, Stat(""));
    EXPECT_EQ(server.Url() + ": the server answers 404", err_.text);
    status = "403 Forbidden";
    EXPECT_EQ(GFS_EPERM, Stat("x"));
    status = "401 Unauthorized";
    EXPECT_EQ(GFS_EUNAUTH, Stat("x"));
    status = "503 Service Unavailable";
    EXPECT_EQ(GFS_EUNAVAIL, Stat("x"));
    status = "418 Teapot";
    EXPECT_EQ(GFS_EPROTO, Stat("x"));
}

TEST_F(WebUfs, PagesThatAreNoIndexAreSaidToBeNone)
{
    FakeServer server([&](const FakeRequest &request) {
        return request.path == "/plain/"
                   ? FakeServer::Answer("200 OK", "Content-Type: text/plain\r\n", "Index of x")
                   : FakeServer::Html("<title>Welcome</title><a href=x>x</a>");
    });
    gfs_ufs_listing *listing = nullptr;

    Open(server.Url());
    EXPECT_EQ(GFS_ENOTDIR, Stat(""));
    EXPECT_EQ(server.Url() + " is not a directory index", err_.text);
    EXPECT_EQ(GFS_ENOTDIR, gfs_ufs_list(ufs_, "plain", &listing, &err_));
    EXPECT_EQ(server.Url("/plain/") + " is not a directory index: its type is 'text/plain'",
              err_.text);
    EXPECT_EQ(nullptr, listing);
}

TEST_F(WebUfs, ServerThatNeverAnswersTimesOut)
{
    FakeServer server([](const FakeRequest &) { return ""; });

    Limits()->metadata_timeout_ns = 200 * GFS_NS_PER_MS;
    limits_.stall_timeout_ns = GFS_NS_PER_S;
    Open(server.Url());
    EXPECT_EQ(GFS_ETIMEOUT, Stat(""));
    EXPECT_EQ(server.Url() + ": the server did not answer in time", err_.text);
    // Reads have no total time limit, the stall does it.
    EXPECT_EQ(GFS_ETIMEOUT, Read("x", nullptr, 10, 0, 5));
}

TEST_F(WebUfs, CancelEndsWhatHangs)
{
    std::mutex mutex;
    std::condition_variable arrived;
    bool in_progress = false;
    FakeServer server([&](const FakeRequest &) {
        std::lock_guard<std::mutex> guard(mutex);

        in_progress = true;
        arrived.notify_all();
        return "";
    });

    Open(server.Url());

    std::thread reader([&] { EXPECT_EQ(GFS_ECANCELLED, Read("x", nullptr, 10, 0, 5)); });
    {
        std::unique_lock<std::mutex> lock(mutex);

        arrived.wait(lock, [&] { return in_progress; });
    }
    gfs_ufs_cancel(ufs_);
    reader.join();
}

TEST_F(WebUfs, ConnectionsAreKeptAlive)
{
    Object object = {std::string(10000, 'x'), "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });

    Open(server.Url());
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(0, Stat("x")) << err_.text;
        ASSERT_EQ(0, Read("x", "\"v1\"", 10000, static_cast<uint64_t>(i) * 100, 100)) << err_.text;
    }
    EXPECT_EQ(100, server.Requests());
    EXPECT_EQ(1, server.Connections());
}

TEST_F(WebUfs, ReadsExactRangesAndTellsTheVersion)
{
    Object object = {"0123456789", "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });

    Open(server.Url());
    ASSERT_EQ(0, Stat("a b%+?.bin")) << err_.text;
    EXPECT_EQ(10u, stat_.size);
    EXPECT_TRUE(stat_.version_exact);
    EXPECT_STREQ("\"v1\"", stat_.version);
    ASSERT_EQ(0, Read("x", stat_.version, 10, 3, 4)) << err_.text;
    EXPECT_EQ("3456", data_);
    EXPECT_STREQ("\"v1\"", version_);
    ASSERT_EQ(0, Read("x", nullptr, GFS_UFS_SIZE_ANY, 0, 10)) << err_.text;
    EXPECT_EQ("0123456789", data_);
}

TEST_F(WebUfs, ServerWithoutRangesIsReadBySkipping)
{
    std::string content = "0123456789";
    FakeServer server(
        [&](const FakeRequest &) { return FakeServer::Answer("200 OK", kLm, content); });

    Open(server.Url());
    ASSERT_EQ(0, Read("x", "m1716114731000-10", 10, 6, 3)) << err_.text;
    EXPECT_EQ("678", data_);
}

TEST_F(WebUfs, ChangedObjectIsNeverRead)
{
    Object object = {"0123456789", "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });

    Open(server.Url());
    ASSERT_EQ(0, Read("x", "\"v1\"", 10, 0, 4));
    object.headers = "ETag: \"v2\"\r\n";
    EXPECT_EQ(GFS_ECHANGED, Read("x", "\"v1\"", 10, 4, 4));
    EXPECT_EQ(server.Url("/x") + ": changed: version \"v2\" is not \"v1\"", err_.text);
    object = {"0123456", "ETag: \"v1\"\r\n"}; // a server that lies about its ETag
    EXPECT_EQ(GFS_ECHANGED, Read("x", "\"v1\"", 10, 0, 4));
    EXPECT_EQ(GFS_ECHANGED, Read("x", "\"v1\"", 10, 8, 2));
    object = {"0123456789", ""};
    EXPECT_EQ(GFS_ECHANGED, Read("x", "\"v1\"", 10, 0, 4));
}

TEST_F(WebUfs, TimesAndSizesAreVersionsWithoutEtags)
{
    Object object = {"0123456789", kLm};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });

    Open(server.Url());
    ASSERT_EQ(0, Stat("x"));
    EXPECT_STREQ("m1716114731000-10", stat_.version);
    ASSERT_EQ(0, Read("x", stat_.version, 10, 0, 4));
    // A row tells the minute, in a zone it does not name.
    ASSERT_EQ(0, Read("x", "~1716114720000/60000-10", 10, 0, 4)) << err_.text;
    ASSERT_EQ(0, Read("x", "~1716143520000/60000-10", 10, 0, 4)) << err_.text; // UTC+8
    EXPECT_EQ(GFS_ECHANGED, Read("x", "~1716114780000/60000-10", 10, 0, 4));   // a minute later
    EXPECT_EQ(GFS_ECHANGED, Read("x", "~1716114720000/60000-11", GFS_UFS_SIZE_ANY, 0, 4));
    EXPECT_EQ(GFS_ECHANGED, Read("x", "~nonsense", 10, 0, 4));
    object.headers = "Last-Modified: Sun, 19 May 2024 10:32:12 GMT\r\n";
    EXPECT_EQ(GFS_ECHANGED, Read("x", "m1716114731000-10", 10, 0, 4));
}

TEST_F(WebUfs, EtagsCanBeSwitchedOff)
{
    Object object = {"0123456789", std::string(kLm) + "ETag: \"backend-7\"\r\n"};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });
    gfs_props *props = gfs_props_new();

    ASSERT_EQ(0, gfs_props_set(props, "goosefs.underfs.web.etag.enabled", "false"));
    Open(server.Url(), props);
    gfs_props_free(props);
    ASSERT_EQ(0, Stat("x"));
    EXPECT_STREQ("m1716114731000-10", stat_.version);
    object.headers = std::string(kLm) + "ETag: \"backend-8\"\r\n";
    EXPECT_EQ(0, Read("x", stat_.version, 10, 0, 4)) << err_.text;
}

TEST_F(WebUfs, ConnectionCutInTheMiddleIsUnavailable)
{
    std::string answer = "HTTP/1.1 200 OK\r\nX-Cut: 1\r\nContent-Length: 10\r\n\r\n0123";
    FakeServer server([&](const FakeRequest &) { return answer; });

    Open(server.Url());
    EXPECT_EQ(GFS_EUNAVAIL, Read("x", nullptr, 10, 0, 10));
    answer = "close";
    EXPECT_EQ(GFS_EUNAVAIL, Stat("x"));
}

TEST_F(WebUfs, AnswerForAnotherRangeIsRefused)
{
    FakeServer server([&](const FakeRequest &) {
        return FakeServer::Answer("206 Partial Content", "Content-Range: bytes 0-3/10\r\n", "0123");
    });

    Open(server.Url());
    EXPECT_EQ(GFS_EPROTO, Read("x", nullptr, 10, 4, 4));
}

TEST_F(WebUfs, DirectoriesAreToldByTheRedirect)
{
    FakeServer server([&](const FakeRequest &request) {
        if (request.path == "/a%20dir" || request.path == "/gone") {
            return FakeServer::Answer(
                "301 Moved",
                request.path == "/gone" ? "Location: /\r\n" : "Location: /a%20dir/\r\n", "");
        }
        return FakeServer::Html("<title>Index of</title>");
    });

    Open(server.Url());
    ASSERT_EQ(0, Stat("a dir")) << err_.text;
    EXPECT_EQ(GFS_UFS_DIRECTORY, stat_.type);
    ASSERT_EQ(0, Stat("page.html")) << err_.text;
    EXPECT_EQ(GFS_UFS_FILE, stat_.type);
    EXPECT_EQ(GFS_ENOENT, Stat("gone"));
}

TEST_F(WebUfs, RedirectsEnd)
{
    FakeServer server([&](const FakeRequest &request) {
        return FakeServer::Answer("302 Found",
                                  request.path == "/file" ? "Location: file:///etc/passwd\r\n"
                                                          : "Location: /again\r\n",
                                  "");
    });

    Open(server.Url());
    EXPECT_EQ(GFS_EPROTO, Stat("x"));
    EXPECT_EQ(server.Url("/x") + ": more than 5 redirects", err_.text);
    EXPECT_EQ(GFS_EPROTO, Stat("file"));
}

TEST_F(WebUfs, CredentialsDoNotFollowARedirectToAnotherServer)
{
    std::string seen = "unset";
    FakeServer other([&](const FakeRequest &request) {
        seen = request.authorization;
        return FakeServer::Answer("200 OK", kLm, "x");
    });
    std::string first;
    FakeServer server([&](const FakeRequest &request) {
        first = request.authorization;
        return FakeServer::Answer("302 Found", "Location: " + other.Url("/x") + "\r\n", "");
    });
    std::string url = server.Url();

    Open(url.replace(0, 7, "http://user:secret@"));
    ASSERT_EQ(0, Stat("x")) << err_.text;
    EXPECT_EQ("Basic dXNlcjpzZWNyZXQ=", first);
    EXPECT_EQ("", seen);
}

TEST_F(WebUfs, HeadsAreSentOnlyWhereTheRowDoesNotTell)
{
    std::atomic<int> heads{0};
    Object object = {"0123456789", "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) {
        if (request.path == "/") {
            return FakeServer::Html(
                "<title>Index of /</title><pre><a href=\"../\">../</a>\n"
                "<a href=\"exact\">exact</a> 19-May-2024 10:32 10\n"
                "<a href=\"rounded\">rounded</a> 19-May-2024 10:32 1.2K\n"
                "<a href=\"gone\">gone</a>\n<a href=\"secret\">secret</a>\n</pre>");
        }
        heads++;
        if (request.path == "/gone") {
            return FakeServer::Answer("404 Not Found", "", "");
        }
        if (request.path == "/secret") {
            return FakeServer::Answer("403 Forbidden", "", "");
        }
        return object.Answer(request);
    });
    gfs_ufs_listing *listing = nullptr;

    Open(server.Url());
    ASSERT_EQ(0, gfs_ufs_list(ufs_, "", &listing, &err_)) << err_.text;
    EXPECT_EQ(3, heads);
    ASSERT_EQ(3u, gfs_ufs_listing_count(listing));

    const gfs_ufs_entry *exact = gfs_ufs_listing_at(listing, 0);
    const gfs_ufs_entry *rounded = gfs_ufs_listing_at(listing, 1);
    const gfs_ufs_entry *secret = gfs_ufs_listing_at(listing, 2);

    EXPECT_STREQ("exact", exact->name);
    EXPECT_EQ(10u, exact->stat.size);
    EXPECT_FALSE(exact->stat.version_exact);
    EXPECT_STREQ("~1716114720000/60000-10", exact->stat.version);
    EXPECT_STREQ("rounded", rounded->name);
    EXPECT_EQ(10u, rounded->stat.size);
    EXPECT_TRUE(rounded->stat.version_exact);
    EXPECT_STREQ("secret", secret->name);
    EXPECT_FALSE(secret->stat.size_known);
    gfs_ufs_listing_free(listing);
}

TEST_F(WebUfs, ServerWithoutHeadIsAskedForOneByte)
{
    Object object = {"0123456789", "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) {
        return request.method == "HEAD" ? FakeServer::Answer("405 Method Not Allowed", "", "")
                                        : object.Answer(request);
    });

    Open(server.Url());
    ASSERT_EQ(0, Stat("x")) << err_.text;
    EXPECT_EQ(10u, stat_.size);
    EXPECT_TRUE(stat_.size_known);
}

TEST_F(WebUfs, IndexPagesHaveALimit)
{
    FakeServer server([&](const FakeRequest &) {
        return FakeServer::Html("<title>Index of</title>" + std::string(100000, ' '));
    });

    Limits()->index_bytes = 50000;
    Open(server.Url());
    EXPECT_EQ(GFS_ERANGE, Stat(""));
    EXPECT_EQ(server.Url() + ": the index page is larger than 50000 bytes", err_.text);
}

TEST_F(WebUfs, ManyReadersShareFewConnections)
{
    Object object = {std::string(1000, 'y'), "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });
    std::vector<std::thread> readers;

    Limits()->connections = 3;
    Open(server.Url());
    for (int i = 0; i < 12; i++) {
        readers.emplace_back([&] {
            char buf[100];
            gfs_ufs_range range = {"x", "\"v1\"", 1000, 500, sizeof(buf)};

            for (int n = 0; n < 20; n++) {
                EXPECT_EQ(0, gfs_ufs_read_buffer(ufs_, &range, buf, nullptr, nullptr));
            }
        });
    }
    for (std::thread &t : readers) {
        t.join();
    }
    EXPECT_EQ(240, server.Requests());
    EXPECT_LE(server.Connections(), 3);
}

TEST_F(WebUfs, BadPropertiesAreRefusedByName)
{
    struct {
        const char *key;
        const char *value;
    } bad[] = {{"goosefs.underfs.web.connnection.timeout", "soon"},
               {"goosefs.underfs.web.stall.timeout", "-1"},
               {"goosefs.underfs.web.connections", "0"},
               {"goosefs.underfs.web.etag.enabled", "maybe"}};

    for (const auto &b : bad) {
        gfs_props *props = gfs_props_new();

        ASSERT_EQ(0, gfs_props_set(props, b.key, b.value));
        EXPECT_EQ(GFS_EINVAL, gfs_ufs_open("http://h/", props, nullptr, &ufs_, &err_)) << b.key;
        EXPECT_NE(nullptr, strstr(err_.text, b.key)) << err_.text;
        gfs_props_free(props);
    }
    EXPECT_EQ(nullptr, ufs_);
}

TEST_F(WebUfs, SinkCanStopARead)
{
    Object object = {std::string(100000, 'y'), "ETag: \"v1\"\r\n"};
    FakeServer server([&](const FakeRequest &request) { return object.Answer(request); });
    gfs_ufs_range range = {"x", nullptr, 100000, 0, 100000};

    Open(server.Url());
    EXPECT_EQ(GFS_ENOSPC,
              gfs_ufs_read(
                  ufs_, &range, [](void *, const void *, size_t) -> int { return GFS_ENOSPC; },
                  nullptr, nullptr, &err_));
}

} // namespace
