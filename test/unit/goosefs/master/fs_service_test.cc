#include "cluster_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

class FsService : public testing::Test
{
  protected:
    void SetUp() override
    {
        origin.Write("a file", "hello");
        origin.Write("dir/x", "12345678");
        origin.Write("dir/deep/y", "abc");
        origin.Write("100% \xc3\xa9+", "");
        cluster.StartAll();
    }
    std::string Uri(const std::string &sub = "") const
    {
        return "file://" + origin.path + sub;
    }
    Caller &master()
    {
        return cluster.At(1);
    }
    uint64_t Id(const std::string &path)
    {
        Reply reply = master().Stat(path);
        EXPECT_EQ(reply.code, 0) << reply.text;
        return reply.code == 0 ? reply.As<Goosefs__V1__GetStatusResponse>()->info->id : 0;
    }
    double Metric(const std::string &name)
    {
        std::string text = HttpGet(1, "/metrics");
        size_t at = text.find("\n" + name + " ");
        return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
    }
    Scratch origin;
    Scratch state;
    Cluster cluster{1, state.path};
};

TEST_F(FsService, mounts_and_lists_on_first_access)
{
    Reply reply = master().Mount("/hbase", Uri());
    ASSERT_EQ(reply.code, 0) << reply.text;
    auto *mount = reply.As<Goosefs__V1__MountResponse>()->mount;
    EXPECT_STREQ(mount->path, "/hbase");
    EXPECT_TRUE(mount->read_only);
    EXPECT_EQ(master().Names("/"), Names{"hbase"});
    EXPECT_EQ(master().Names("/hbase"), (Names{"100% \xc3\xa9+", "a file", "dir"}));
    EXPECT_EQ(master().Names("/hbase/dir/deep"), Names{"y"});
    EXPECT_EQ(master().Names("/hbase/a file"), Names{"a file"});
}

TEST_F(FsService, tells_what_an_entry_is)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    Reply reply = master().Stat("/hbase/dir/deep/y"); // two directories not listed before
    ASSERT_EQ(reply.code, 0) << reply.text;
    auto *info = reply.As<Goosefs__V1__GetStatusResponse>()->info;
    EXPECT_STREQ(info->path, "/hbase/dir/deep/y");
    EXPECT_STREQ(info->name, "y");
    EXPECT_STREQ(info->ufs_path, "dir/deep/y");
    EXPECT_EQ(std::string(info->ufs_uri), Uri("/dir/deep/y"));
    EXPECT_FALSE(info->directory);
    EXPECT_EQ(info->length, 3u);
    EXPECT_NE(info->version_id, 0u);
    EXPECT_STRNE(info->version, "");
    EXPECT_EQ(info->block_size, 4u << 20);
    uint64_t id = info->id;
    Reply by_id = master().StatId(id);
    ASSERT_EQ(by_id.code, 0);
    EXPECT_STREQ(by_id.As<Goosefs__V1__GetStatusResponse>()->info->path, "/hbase/dir/deep/y");
    Reply root = master().Stat("/");
    EXPECT_EQ(root.As<Goosefs__V1__GetStatusResponse>()->info->id, 1u);
    EXPECT_STREQ(root.As<Goosefs__V1__GetStatusResponse>()->info->path, "/");
}

TEST_F(FsService, looks_up_names_below_an_id)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    uint64_t dir = Id("/hbase/dir");
    Reply reply = master().Lookup(dir, "x");
    ASSERT_EQ(reply.code, 0) << reply.text;
    EXPECT_EQ(reply.As<Goosefs__V1__LookupResponse>()->info->length, 8u);
    EXPECT_EQ(master().Lookup(dir, "none").code, GFS_ENOENT);
    EXPECT_EQ(master().Lookup(4711, "x").code, GFS_ESTALE);
    EXPECT_EQ(master().Lookup(Id("/hbase/a file"), "x").code, GFS_ENOTDIR);
    EXPECT_EQ(master().Lookup(dir, "").code, GFS_ENOENT);
}

TEST_F(FsService, one_who_knows_ids_waits_for_the_first_mount)
{
    EXPECT_EQ(master().StatId(4711).code, GFS_EUNAVAIL);
    EXPECT_EQ(master().Lookup(4711, "x").code, GFS_EUNAVAIL);
    EXPECT_EQ(master().Lookup(1, "hbase").code, GFS_EUNAVAIL);
    EXPECT_EQ(master().Stat("/hbase").code, GFS_ENOENT);
}

TEST_F(FsService, what_does_not_exist_is_named)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    Reply reply = master().Stat("/hbase/none/x");
    EXPECT_EQ(reply.code, GFS_ENOENT);
    EXPECT_NE(reply.text.find("/hbase/none/x"), std::string::npos) << reply.text;
    EXPECT_EQ(master().Stat("/nothing").code, GFS_ENOENT);
    EXPECT_EQ(master().Stat("relative").code, GFS_EINVAL);
    EXPECT_EQ(master().StatId(4711).code, GFS_ESTALE);
}

TEST_F(FsService, a_mount_that_does_not_work_fails_and_leaves_nothing)
{
    Reply gone = master().Mount("/a", "file:///does/not/exist");
    EXPECT_EQ(gone.code, GFS_ENOENT) << gone.text;
    EXPECT_EQ(gone.text.rfind("mount /a: ", 0), 0u) << gone.text;
    Reply refused = master().Mount("/b", "http://127.0.0.1:1/");
    EXPECT_EQ(refused.code, GFS_EUNAVAIL) << refused.text;
    EXPECT_NE(refused.text.find("http://127.0.0.1:1/"), std::string::npos) << refused.text;
    Reply scheme = master().Mount("/c", "gopher://x/");
    EXPECT_EQ(scheme.code, GFS_EUNSUPPORTED) << scheme.text;
    EXPECT_EQ(master().Mount("c", Uri()).code, GFS_EINVAL);
    EXPECT_EQ(master().Mount("/d", "").code, GFS_EINVAL);
    EXPECT_EQ(master().Mount("/e", Uri("/a file")).code, GFS_ENOTDIR);
    EXPECT_EQ(master().Names("/"), Names{});
}

TEST_F(FsService, a_retried_mount_is_one_mount)
{
    Reply first = master().Mount("/hbase", Uri(), "0123456789abcdef");
    Reply again = master().Mount("/hbase", Uri(), "0123456789abcdef");
    ASSERT_EQ(first.code, 0) << first.text;
    ASSERT_EQ(again.code, 0) << again.text;
    EXPECT_EQ(first.As<Goosefs__V1__MountResponse>()->mount->id,
              again.As<Goosefs__V1__MountResponse>()->mount->id);
    Reply other = master().Mount("/hbase", Uri(), "another-retry-16");
    EXPECT_EQ(other.code, GFS_EEXIST) << other.text;
    EXPECT_EQ(master().Mount("/x", Uri(), "short").code, GFS_EINVAL);
}

// The answer was lost, and somebody else was faster than the retry.
TEST_F(FsService, a_retried_mount_that_was_unmounted_since_has_happened)
{
    Reply first = master().Mount("/hbase", Uri(), "0123456789abcdef");
    ASSERT_EQ(first.code, 0) << first.text;
    ASSERT_EQ(master().Unmount("/hbase").code, 0);
    Reply again = master().Mount("/hbase", Uri(), "0123456789abcdef");
    ASSERT_EQ(again.code, 0) << again.text;
    auto *mount = again.As<Goosefs__V1__MountResponse>()->mount;
    EXPECT_EQ(mount->id, first.As<Goosefs__V1__MountResponse>()->mount->id);
    EXPECT_STREQ(mount->path, "/hbase");
    EXPECT_STREQ(mount->ufs_uri, Uri().c_str());
    EXPECT_EQ(master().Names("/"), Names{}) << "and did not happen again";
}

TEST_F(FsService, unmount_takes_the_subtree_away)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    ASSERT_EQ(master().Mount("/hbase/dir/nested", Uri("/dir")).code, 0);
    Reply nested = master().Unmount("/hbase");
    EXPECT_EQ(nested.code, GFS_EPRECONDITION) << nested.text;
    EXPECT_EQ(master().Unmount("/hbase/dir/nested").code, 0);
    EXPECT_EQ(master().Unmount("/hbase").code, 0);
    EXPECT_EQ(master().Names("/"), Names{});
    Reply none = master().Unmount("/hbase");
    EXPECT_EQ(none.text, "/hbase is not a mount point");
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    EXPECT_EQ(master().Names("/hbase/dir"), (Names{"deep", "x"}));
}

TEST_F(FsService, mounts_at_the_root_beside_others)
{
    ASSERT_EQ(master().Mount("/sub/m", Uri("/dir")).code, 0);
    Reply reply = master().Mount("/", Uri());
    ASSERT_EQ(reply.code, 0) << reply.text;
    EXPECT_EQ(master().Names("/"), (Names{"100% \xc3\xa9+", "a file", "dir", "sub"}));
    EXPECT_EQ(master().Names("/dir/deep"), Names{"y"});
    EXPECT_EQ(master().Names("/sub/m"), (Names{"deep", "x"}));
    Reply stat = master().Stat("/dir/x");
    EXPECT_STREQ(stat.As<Goosefs__V1__GetStatusResponse>()->info->ufs_path, "dir/x");
    EXPECT_EQ(master().Mount("/", Uri()).code, GFS_EEXIST);
    EXPECT_EQ(master().Unmount("/").code, 0);
    EXPECT_EQ(master().Names("/"), Names{"sub"});
}

TEST_F(FsService, pages_go_on_where_the_one_before_ended)
{
    Names all;
    for (int i = 0; i < 2500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%04d", i);
        origin.Write("many/" + std::string(name), "");
        all.emplace_back(name);
    }
    ASSERT_EQ(master().Mount("/m", Uri("/many")).code, 0);
    EXPECT_EQ(master().Names("/m"), all);
    EXPECT_EQ(master().Names("/m", false, 7), all);
    Reply page = master().List("/m", false, "f2498", 10);
    EXPECT_EQ(page.As<Goosefs__V1__ListStatusResponse>()->n_entries, 1u);
    EXPECT_EQ(page.As<Goosefs__V1__ListStatusResponse>()->directory->child_count, 2500u);
}

TEST_F(FsService, lists_and_counts_a_subtree_it_has_not_seen)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    Names all = {"/hbase/100% \xc3\xa9+", "/hbase/a file",     "/hbase/dir",
                 "/hbase/dir/deep",       "/hbase/dir/deep/y", "/hbase/dir/x"};
    EXPECT_EQ(master().Names("/hbase", true), all);
    EXPECT_EQ(master().Names("/hbase", true, 1), all);
    Reply reply = master().Count("/");
    ASSERT_EQ(reply.code, 0) << reply.text;
    auto *count = reply.As<Goosefs__V1__CountResponse>();
    EXPECT_EQ(count->files, 4u);
    EXPECT_EQ(count->directories, 4u);
    EXPECT_EQ(count->length, 16u);
    EXPECT_EQ(count->cached_bytes, 0u);
}

TEST_F(FsService, sees_changes_when_asked_to_compare)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    ASSERT_EQ(master().Names("/hbase/dir"), (Names{"deep", "x"}));
    uint64_t id = Id("/hbase/dir/x");
    origin.Write("dir/x", "changed length");
    origin.Write("dir/z", "");
    EXPECT_EQ(master().Names("/hbase/dir"), (Names{"deep", "x"})); // never compared by default
    Reply stat = master().Stat("/hbase/dir/x", 0);
    ASSERT_EQ(stat.code, 0) << stat.text;
    EXPECT_EQ(stat.As<Goosefs__V1__GetStatusResponse>()->info->length, 14u);
    EXPECT_EQ(stat.As<Goosefs__V1__GetStatusResponse>()->info->id, id);
    EXPECT_EQ(master().Stat("/hbase/dir/z").code, GFS_ENOENT);
    EXPECT_EQ(master().Stat("/hbase/dir/z", 0).code, 0);
    EXPECT_EQ(master().Names("/hbase/dir", false, 0, 0), (Names{"deep", "x", "z"}));
    std::filesystem::remove(origin.Sub("dir/x"));
    EXPECT_EQ(master().Stat("/hbase/dir/x", 0).code, GFS_ENOENT);
    EXPECT_EQ(master().Names("/hbase/dir"), (Names{"deep", "z"}));
    EXPECT_EQ(master().Names("/hbase/dir", false, 0, 3600 * 1000), (Names{"deep", "z"}));
}

TEST_F(FsService, an_error_of_the_origin_is_told_and_not_remembered)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    std::filesystem::rename(origin.Sub("dir"), origin.Sub("away"));
    Names gone = master().Names("/hbase/dir");
    ASSERT_EQ(gone.size(), 1u);
    EXPECT_EQ(gone[0].rfind("!NOENT mount /hbase: ", 0), 0u) << gone[0];
    std::filesystem::rename(origin.Sub("away"), origin.Sub("dir"));
    EXPECT_EQ(master().Names("/hbase", false, 0, 0).back(), "dir");
    EXPECT_EQ(master().Names("/hbase/dir"), (Names{"deep", "x"}));
}

TEST_F(FsService, many_who_ask_at_once_cause_few_listings)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    std::vector<std::thread> threads;
    std::atomic<int> ok{0};
    for (int i = 0; i < 8; i++) {
        threads.emplace_back([&] {
            Caller caller(Cluster::Rpc(1));
            ok += caller.Names("/hbase/dir") == Names{"deep", "x"} ? 1 : 0;
        });
    }
    for (std::thread &t : threads) {
        t.join();
    }
    EXPECT_EQ(ok, 8);
    EXPECT_EQ(Metric("goosefs_master_ufs_loads_total"), 1);
}

TEST_F(FsService, loads_metadata_on_request)
{
    Goosefs__V1__LoadMetadataRequest q = GOOSEFS__V1__LOAD_METADATA_REQUEST__INIT;
    char path[] = "/hbase";
    q.path = path;
    q.recursive = true;
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    Reply reply = master().Fs("LoadMetadata", &q.base);
    ASSERT_EQ(reply.code, 0) << reply.text;
    EXPECT_EQ(reply.As<Goosefs__V1__LoadMetadataResponse>()->files, 4u);
    EXPECT_EQ(reply.As<Goosefs__V1__LoadMetadataResponse>()->directories, 3u);
    origin.Write("dir/deep/new", "1");
    reply = master().Fs("LoadMetadata", &q.base);
    EXPECT_EQ(reply.As<Goosefs__V1__LoadMetadataResponse>()->files, 4u);
    q.force = true;
    reply = master().Fs("LoadMetadata", &q.base);
    EXPECT_EQ(reply.As<Goosefs__V1__LoadMetadataResponse>()->files, 5u);
}

TEST_F(FsService, survives_a_restart_and_a_lost_metastore)
{
    ASSERT_EQ(master().Mount("/hbase", Uri()).code, 0);
    ASSERT_EQ(master().Names("/hbase/dir"), (Names{"deep", "x"}));
    uint64_t id = Id("/hbase/dir/x");
    for (const char *how : {"killed", "stopped", "metastore lost"}) {
        cluster.Stop(1, std::string(how) == "killed" ? 0 : 5000);
        if (std::string(how) == "metastore lost") {
            std::filesystem::remove_all(state.Sub("journal-1/metastore"));
        }
        ASSERT_EQ(cluster.Start(1), 0) << cluster.error;
        ASSERT_EQ(cluster.Leader(), 1);
        Reply stat = cluster.OnLeader([](Caller &c) { return c.Stat("/hbase/dir/x"); });
        ASSERT_EQ(stat.code, 0) << how << ": " << stat.text;
        EXPECT_EQ(stat.As<Goosefs__V1__GetStatusResponse>()->info->id, id) << how;
    }
}

TEST_F(FsService, tells_metrics_health_and_status)
{
    origin.Write("<b>", "");
    ASSERT_EQ(master().Mount("/<b>", Uri()).code, 0);
    EXPECT_NE(HttpGet(1, "/healthz").find(" 200 "), std::string::npos);
    EXPECT_NE(HttpGet(1, "/readyz").find(" 200 "), std::string::npos);
    std::string page = HttpGet(1, "/");
    EXPECT_NE(page.find("LEADER"), std::string::npos) << page;
    EXPECT_NE(page.find("/&lt;b&gt;"), std::string::npos) << page;
    EXPECT_EQ(page.find("/<b>"), std::string::npos) << page;
    std::string json = HttpGet(1, "/api/v1/master/info");
    EXPECT_NE(json.find("\"isLeader\": true"), std::string::npos) << json;
    EXPECT_NE(HttpGet(1, "/nothing").find(" 404 "), std::string::npos);
    EXPECT_EQ(Metric("goosefs_master_is_leader"), 1);
    EXPECT_EQ(Metric("goosefs_master_mounts"), 1);
}

} // namespace
