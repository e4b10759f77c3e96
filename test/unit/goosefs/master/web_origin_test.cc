#include <atomic>
#include <condition_variable>
#include <mutex>

#include <gfs/http/http.h>

#include "cluster_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

// A web server whose index pages are as a test says.
class Origin
{
  public:
    Origin()
    {
        http_ = gfs_http_new();
        for (const char *path : {"/m/", "/page/"}) {
            gfs_http_route(http_, path, Handle, this);
        }
        gfs_err err = GFS_ERR_INIT;
        EXPECT_EQ(gfs_http_start(http_, "127.0.0.1:0", &err), 0) << err.text;
    }
    ~Origin()
    {
        Release();
        gfs_http_free(http_);
    }
    std::string Uri(const std::string &path) const
    {
        return "http://127.0.0.1:" + std::to_string(gfs_http_port(http_)) + path;
    }
    void Page(const std::string &path, const std::string &body)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        pages_[path] = body;
    }
    // An nginx index of rows {name, date, size}.
    void Index(const std::string &path, const std::vector<std::array<std::string, 3>> &rows)
    {
        std::string body = "<html><head><title>Index of " + path + "</title></head><body><h1>" +
                           "Index of " + path + "</h1><hr><pre><a href=\"../\">../</a>\n";
        for (const auto &row : rows) {
            body += "<a href=\"" + row[0] + "\">" + row[0] + "</a>      " + row[1] + "      " +
                    row[2] + "\n";
        }
        Page(path, body + "</pre><hr></body></html>");
    }
    // Requests for this path hang until Release.
    void Hang(const std::string &path)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        hang_ = path;
    }
    void Release()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        hang_.clear();
        changed_.notify_all();
    }
    std::atomic<int> hanging{0};

  private:
    static void Handle(const gfs_http_request *request, gfs_http_response *response, void *user)
    {
        auto *self = static_cast<Origin *>(user);
        std::unique_lock<std::mutex> lock(self->mutex_);
        if (self->hang_ == request->path) {
            self->hanging++;
            self->changed_.wait(lock, [&] { return self->hang_.empty(); });
        }
        auto page = self->pages_.find(request->path);
        if (page == self->pages_.end()) {
            response->status = 404;
            return;
        }
        response->content_type = "text/html";
        gfs_buf_append(&response->body, page->second.data(), page->second.size());
    }
    gfs_http *http_ = nullptr;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::string> pages_;
    std::string hang_;
};

class WebOrigin : public testing::Test
{
  protected:
    void SetUp() override
    {
        origin.Index("/m/",
                     {{"d/", "01-Nov-2026 10:00", "-"}, {"f.tgz", "02-Nov-2026 11:30", "7000"}});
        origin.Index("/m/d/", {{"g", "03-Nov-2026 00:00", "5"}});
        cluster.StartAll();
    }
    Caller &master()
    {
        return cluster.At(1);
    }
    struct Version {
        uint64_t id, version, length;
        bool operator==(const Version &o) const
        {
            return id == o.id && version == o.version && length == o.length;
        }
    };
    Version Of(const std::string &path)
    {
        Reply reply = master().Stat(path);
        EXPECT_EQ(reply.code, 0) << reply.text;
        auto *info = reply.As<Goosefs__V1__GetStatusResponse>()->info;
        return {info->id, info->version_id, info->length};
    }
    Origin origin;
    Scratch state;
    Cluster cluster{1, state.path};
};

TEST_F(WebOrigin, is_mounted_and_listed)
{
    Reply mount = master().Mount("/hbase", origin.Uri("/m/"));
    ASSERT_EQ(mount.code, 0) << mount.text;
    EXPECT_EQ(master().Names("/hbase", true), (Names{"/hbase/d", "/hbase/d/g", "/hbase/f.tgz"}));
    EXPECT_EQ(Of("/hbase/f.tgz").length, 7000u);
}

TEST_F(WebOrigin, that_cannot_be_mounted_says_why)
{
    origin.Page("/page/", "<html><head><title>Welcome</title></head><body>hello</body></html>");
    Reply gone = master().Mount("/a", origin.Uri("/none/"));
    EXPECT_EQ(gone.code, GFS_ENOENT);
    EXPECT_NE(gone.text.find("mount /a: " + origin.Uri("/none/")), std::string::npos) << gone.text;
    EXPECT_NE(gone.text.find("404"), std::string::npos) << gone.text;
    Reply page = master().Mount("/b", origin.Uri("/page/"));
    EXPECT_EQ(page.code, GFS_ENOTDIR) << page.text;
    EXPECT_NE(page.text.find("index"), std::string::npos) << page.text;
    EXPECT_EQ(master().Names("/"), Names{});
}

TEST_F(WebOrigin, shows_changes_and_only_changes)
{
    ASSERT_EQ(master().Mount("/hbase", origin.Uri("/m/")).code, 0);
    Version before = Of("/hbase/f.tgz");
    ASSERT_EQ(master().Names("/hbase", false, 0, 0).size(), 2u);
    EXPECT_TRUE(Of("/hbase/f.tgz") == before); // compared, the same
    origin.Index("/m/", {{"f.tgz", "05-Nov-2026 11:30", "7000"}});
    EXPECT_EQ(master().Names("/hbase", false, 0, 0), Names{"f.tgz"});
    Version after = Of("/hbase/f.tgz");
    EXPECT_EQ(after.id, before.id);
    EXPECT_NE(after.version, before.version);
}

TEST_F(WebOrigin, that_hangs_does_not_keep_a_master_from_stopping)
{
    ASSERT_EQ(master().Mount("/hbase", origin.Uri("/m/")).code, 0);
    origin.Hang("/m/d/");
    std::vector<std::thread> callers;
    std::atomic<int> failed{0};
    for (int i = 0; i < 4; i++) {
        callers.emplace_back([&] {
            Caller caller(Cluster::Rpc(1));
            failed += caller.List("/hbase/d").code != 0 ? 1 : 0;
        });
    }
    ASSERT_TRUE(Eventually([&] { return origin.hanging > 0; }));
    EXPECT_EQ(master().Names("/hbase"), (Names{"d", "f.tgz"})); // others are served meanwhile
    cluster.Stop(1, 1000);
    for (std::thread &t : callers) {
        t.join();
    }
    EXPECT_EQ(failed, 4);
    EXPECT_EQ(origin.hanging, 1); // one listing for all four
}

} // namespace
