#include "ns_fixture.h"

#include <atomic>
#include <fcntl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

std::vector<std::string> Script()
{
    std::vector<std::string> script = {
        MountEntry("/m", "http://m/", "0123456789abcdef"),
        SettingEntry("a", "b"),
    };
    for (uint64_t i = 0; i < 20; i++) {
        std::vector<Child> children;
        for (uint64_t j = 0; j < 30; j++) {
            std::string name = "n" + std::to_string((i * 7 + j * 3) % 50);
            children.push_back(j % 4 == 0 ? Dir(name) : File(name, j, "v" + std::to_string(i % 3)));
        }
        script.push_back(SyncEntry(2 + i % 4, children, i % 3 == 0, i % 2 == 0, 100 + i / 3));
        script.push_back(ChildEntry(2, File("n" + std::to_string(i), i, "w"), i % 5 == 0));
    }
    return script;
}

// A snapshot of `from` in an unnamed file.
int Image(gfsi_ns *from, uint64_t *index)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    gfs_err err = GFS_ERR_INIT;
    EXPECT_GE(fd, 0);
    EXPECT_EQ(gfsi_ns_snapshot(from, fd, index, &err), 0) << err.text;
    return fd;
}

TEST(Namespace, the_same_entries_give_the_same_database)
{
    TempDir one, two;
    Namespace a(one.path), b(two.path);
    std::vector<int64_t> in_one_batch = a.ApplyAll(Script());
    std::vector<int64_t> one_by_one;
    for (const std::string &entry : Script()) {
        one_by_one.push_back(b.Apply(entry));
    }
    EXPECT_EQ(in_one_batch, one_by_one);
    EXPECT_EQ(a.Digest(), b.Digest());
    b.Apply(SettingEntry("a", "c"));
    EXPECT_NE(a.Digest(), b.Digest());
}

TEST(Namespace, a_killed_process_loses_nothing)
{
    TempDir tmp;
    Namespace ns(tmp.path);
    ns.ApplyAll(Script());
    uint64_t digest = ns.Digest();
    uint64_t applied = gfsi_ns_applied(ns.ns);
    ns.Kill();
    ns.Open();
    ASSERT_EQ(ns.rc, 0) << ns.error;
    EXPECT_EQ(gfsi_ns_applied(ns.ns), applied);
    EXPECT_EQ(ns.Digest(), digest);
}

TEST(Namespace, after_the_machine_went_down_it_starts_empty)
{
    TempDir tmp;
    Namespace before(tmp.path, "j", "boot-1");
    before.ApplyAll(Script());
    before.Kill();
    Namespace after(tmp.path, "j", "boot-2");
    ASSERT_EQ(after.rc, 0) << after.error;
    EXPECT_EQ(gfsi_ns_applied(after.ns), 0u);
    EXPECT_TRUE(after.List("/").empty());
    after.ApplyAll(Script());
    TempDir tmp2;
    Namespace fresh(tmp2.path);
    fresh.ApplyAll(Script());
    EXPECT_EQ(after.Digest(), fresh.Digest());
}

TEST(Namespace, a_clean_close_survives_a_reboot)
{
    TempDir tmp;
    Namespace before(tmp.path, "j", "boot-1");
    before.ApplyAll(Script());
    uint64_t digest = before.Digest();
    before.Close();
    Namespace after(tmp.path, "j", "boot-2");
    EXPECT_EQ(after.Digest(), digest);
}

TEST(Namespace, of_another_journal_is_dropped)
{
    TempDir tmp;
    Namespace before(tmp.path, "journal-1");
    before.ApplyAll(Script());
    before.Close();
    Namespace after(tmp.path, "journal-2");
    ASSERT_EQ(after.rc, 0);
    EXPECT_EQ(gfsi_ns_applied(after.ns), 0u);
}

TEST(Namespace, of_another_version_is_refused_with_advice)
{
    TempDir tmp;
    Namespace ns(tmp.path);
    ns.Close();
    int fd = open((tmp.path + "/STATE").c_str(), O_WRONLY | O_TRUNC);
    ASSERT_EQ(write(fd, "format=9\n", 9), 9);
    close(fd);
    ns.Open();
    EXPECT_EQ(ns.rc, GFS_EPRECONDITION);
    EXPECT_NE(ns.error.find("another version"), std::string::npos) << ns.error;
    EXPECT_NE(ns.error.find("remove the directory"), std::string::npos) << ns.error;
}

TEST(Namespace, is_used_by_one_at_a_time)
{
    TempDir tmp;
    Namespace first(tmp.path);
    first.Apply(MountEntry("/m", "http://m/"));
    {
        Namespace second(tmp.path);
        EXPECT_EQ(second.rc, GFS_EBUSY);
        EXPECT_NE(second.error.find("in use"), std::string::npos) << second.error;
    }
    first.Close();
    Namespace third(tmp.path);
    EXPECT_EQ(third.rc, 0) << third.error;
    EXPECT_EQ(third.List("/"), Names{"m"});
}

TEST(Namespace, an_entry_that_cannot_be_read_changes_nothing)
{
    TempDir tmp;
    Namespace ns(tmp.path);
    uint64_t digest = ns.Digest();
    ns.ApplyAll({MountEntry("/m", "http://m/"), "\xff\xff"});
    EXPECT_EQ(ns.rc, GFS_EPROTO);
    EXPECT_NE(ns.error.find("journal entry 2"), std::string::npos) << ns.error;
    EXPECT_EQ(ns.Digest(), digest);
    EXPECT_EQ(gfsi_ns_applied(ns.ns), 0u);
}

TEST(Namespace, the_map_grows)
{
    TempDir small, large;
    Namespace a(small.path, "j", "b", 256 << 10), b(large.path);
    std::vector<std::string> script = {MountEntry("/m", "http://m/")};
    for (int i = 0; i < 10; i++) {
        std::vector<Child> children;
        for (int j = 0; j < 1000; j++) {
            children.push_back(File("file-" + std::to_string(i * 1000 + j), 1, "version"));
        }
        script.push_back(SyncEntry(2, children, i == 0, i == 9));
    }
    a.ApplyAll(script);
    ASSERT_EQ(a.rc, 0) << a.error;
    b.ApplyAll(script);
    EXPECT_EQ(a.Digest(), b.Digest());
    EXPECT_EQ(a.Path("/m").children, 10000u);
}

TEST(Namespace, a_snapshot_restores_the_same_state)
{
    TempDir one, two;
    Namespace a(one.path), b(two.path);
    a.ApplyAll(Script());
    b.Apply(MountEntry("/other", "http://other/"));
    uint64_t index = 0;
    int fd = Image(a.ns, &index);
    EXPECT_EQ(index, gfsi_ns_applied(a.ns));
    gfs_err err = GFS_ERR_INIT;
    ASSERT_EQ(gfsi_ns_restore(b.ns, fd, index, &err), 0) << err.text;
    EXPECT_EQ(b.Digest(), a.Digest());
    EXPECT_EQ(gfsi_ns_applied(b.ns), index);
    b.Kill();
    b.Open();
    EXPECT_EQ(b.Digest(), a.Digest());
    b.Apply(SettingEntry("later", "1"));
    a.Apply(SettingEntry("later", "1"));
    EXPECT_EQ(b.Digest(), a.Digest());
    close(fd);
}

TEST(Namespace, a_damaged_snapshot_is_refused_and_changes_nothing)
{
    TempDir one, two;
    Namespace a(one.path), b(two.path);
    a.ApplyAll(Script());
    uint64_t index = 0;
    uint64_t before = b.Digest();
    int fd = Image(a.ns, &index);
    EXPECT_EQ(gfsi_ns_restore(b.ns, fd, index + 1, nullptr), GFS_ECORRUPT);
    ASSERT_EQ(ftruncate(fd, 100), 0);
    EXPECT_EQ(gfsi_ns_restore(b.ns, fd, index, nullptr), GFS_ECORRUPT);
    EXPECT_EQ(b.Digest(), before);
    close(fd);
}

TEST(Namespace, a_view_outlives_a_restore)
{
    TempDir one, two;
    Namespace a(one.path), b(two.path);
    a.ApplyAll(Script());
    b.Apply(MountEntry("/other", "http://other/"));
    gfsi_view *view = nullptr;
    gfsi_inode inode{};
    const char *rest = nullptr;
    ASSERT_EQ(gfsi_view_open(b.ns, &view, nullptr), 0);
    uint64_t index = 0;
    int fd = Image(a.ns, &index);
    ASSERT_EQ(gfsi_ns_restore(b.ns, fd, index, nullptr), 0);
    EXPECT_EQ(gfsi_view_resolve(view, "/other", &inode, &rest), 0);
    gfsi_view_close(view);
    b.Path("/other");
    EXPECT_EQ(b.rc, GFS_ENOENT);
    close(fd);
}

TEST(Namespace, readers_snapshots_and_growth_go_on_during_applies)
{
    TempDir tmp;
    Namespace ns(tmp.path, "j", "b", 256 << 10);
    ASSERT_EQ(ns.Apply(MountEntry("/m", "http://m/")), 1);
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; t++) {
        threads.emplace_back([&] {
            while (!stop) {
                gfsi_view *view = nullptr;
                gfsi_cursor *cursor = nullptr;
                gfsi_inode dir{}, child{};
                uint64_t n = 0;
                if (gfsi_view_open(ns.ns, &view, nullptr) != 0 ||
                    gfsi_view_inode(view, 2, &dir) != 0 ||
                    gfsi_cursor_open(view, 2, "", 0, &cursor) != 0) {
                    wrong++;
                    stop = true;
                    break;
                }
                while (gfsi_cursor_next(cursor, &child) == 1) {
                    n++;
                }
                wrong += n == dir.child_count ? 0 : 1; // each view is one moment
                gfsi_cursor_close(cursor);
                gfsi_view_close(view);
            }
        });
    }
    threads.emplace_back([&] {
        while (!stop) {
            uint64_t index = 0;
            close(Image(ns.ns, &index));
            wrong += index > 0 ? 0 : 1;
        }
    });
    for (int i = 0; i < 40; i++) {
        std::vector<Child> children;
        for (int j = 0; j < 200; j++) {
            children.push_back(File("file-" + std::to_string(i * 200 + j), 1, "version"));
        }
        ns.Apply(SyncEntry(2, children, i == 0, false));
        ASSERT_EQ(ns.rc, 0) << ns.error;
    }
    stop = true;
    for (std::thread &t : threads) {
        t.join();
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(ns.Path("/m").children, 8000u);
}

} // namespace
