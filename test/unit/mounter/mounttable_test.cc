#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <vector>

#include <gfs/mounter/mounttable.h>

namespace
{

class TempDir
{
  public:
    TempDir()
    {
        char pattern[] = "/tmp/gfs-mounttable-XXXXXX";
        path = mkdtemp(pattern);
    }
    ~TempDir()
    {
        for (auto it = made.rbegin(); it != made.rend(); ++it) {
            if (rmdir(it->c_str()) != 0) {
                unlink(it->c_str());
            }
        }
        rmdir(path.c_str());
    }
    std::string Dir(const std::string &name)
    {
        std::string full = path + "/" + name;
        EXPECT_EQ(mkdir(full.c_str(), 0755), 0) << full;
        made.push_back(full);
        return full;
    }
    std::string File(const std::string &name, const std::string &text)
    {
        std::string full = path + "/" + name;
        std::ofstream(full) << text;
        made.push_back(full);
        return full;
    }
    std::string path;
    std::vector<std::string> made;
};

class Table
{
  public:
    explicit Table(const char *file)
    {
        EXPECT_EQ(gfs_mounttable_read(file, &t, nullptr), 0);
    }
    ~Table()
    {
        gfs_mounttable_free(t);
    }
    gfs_mounttable *t = nullptr;
};

const char kTable[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "40 22 0:41 / /mnt/a rw,nosuid shared:7 propagate_from:3 - fuse.goosefs-fuse src rw\n"
    "41 40 0:42 /sub /mnt/a/b ro,nosuid - fuse.x src rw\n"
    "42 22 0:43 / /mnt/ab rw - tmpfs tmpfs ro\n"
    "43 40 0:44 / /mnt/a rw - fuse.y none rw\n"
    "44 22 0:45 / /mnt/with\\040space rw - tmpfs tmpfs rw\n"
    "45 22 0:46 / /mnt/gone//deleted rw - tmpfs tmpfs rw\n";

TEST(MountTable, EntriesAreDecodedAndTheTopOfAStackIsFound)
{
    TempDir dir;
    Table table(dir.File("mountinfo", kTable).c_str());
    ASSERT_EQ(gfs_mounttable_count(table.t), 7u);

    const gfs_mount_entry *e = gfs_mounttable_find(table.t, "/mnt/a");
    ASSERT_NE(e, nullptr);
    EXPECT_STREQ(e->fstype, "fuse.y");
    EXPECT_EQ(e->dev_minor, 44u);
    EXPECT_EQ(gfs_mounttable_depth(table.t, "/mnt/a"), 2u);

    e = gfs_mounttable_find(table.t, "/mnt/a/b");
    ASSERT_NE(e, nullptr);
    EXPECT_STREQ(e->root, "/sub");
    EXPECT_TRUE(e->read_only);
    EXPECT_EQ(e->parent, 40);
    EXPECT_TRUE(gfs_mounttable_find(table.t, "/mnt/ab")->read_only) << "by the file system";
    EXPECT_FALSE(gfs_mounttable_find(table.t, "/")->read_only);
    EXPECT_NE(gfs_mounttable_find(table.t, "/mnt/with space"), nullptr);
    EXPECT_EQ(gfs_mounttable_find(table.t, "/mnt"), nullptr);
    EXPECT_EQ(gfs_mounttable_at(table.t, 7), nullptr);
}

TEST(MountTable, BelowIsByWholeComponentsAndNewestFirst)
{
    TempDir dir;
    Table table(dir.File("mountinfo", kTable).c_str());
    std::vector<int> ids;
    auto each = [](void *arg, const gfs_mount_entry *e) {
        static_cast<std::vector<int> *>(arg)->push_back(e->id);
        return true;
    };
    gfs_mounttable_below(table.t, "/mnt/a", each, &ids);
    EXPECT_EQ(ids, (std::vector<int>{43, 41, 40}));
    ids.clear();
    gfs_mounttable_below(table.t, "/", each, &ids);
    EXPECT_EQ(ids.size(), 7u);
}

TEST(MountTable, AMissingFileIsAnError)
{
    gfs_mounttable *t = nullptr;
    gfs_err err = GFS_ERR_INIT;
    EXPECT_LT(gfs_mounttable_read("/nonexistent/mountinfo", &t, &err), 0);
    EXPECT_EQ(t, nullptr);
    EXPECT_NE(err.text[0], '\0');
}

// Mounts go into a namespace of the test's own: nothing it does is seen outside or outlives it.
class Bind : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            GTEST_SKIP() << "no mount namespace without privileges";
        }
    }

    TempDir dir_;
};

TEST_F(Bind, AReadOnlyBindIsReadOnlyAndItsSourceIsNot)
{
    std::string source = dir_.Dir("source"), target = dir_.Dir("target");
    gfs_bind bind = {};
    bind.source = source.c_str();
    bind.target = target.c_str();
    bind.read_only = bind.nosuid = bind.nodev = bind.noexec = true;
    ASSERT_EQ(gfs_mount_bind(&bind, nullptr), 0);

    bool mounted = false;
    EXPECT_EQ(gfs_mount_is_mounted(target.c_str(), nullptr, &mounted, nullptr), 0);
    EXPECT_TRUE(mounted);
    EXPECT_EQ(gfs_mount_is_mounted(target.c_str(), "fuse.goosefs-fuse", &mounted, nullptr), 0);
    EXPECT_FALSE(mounted);
    Table table(nullptr);
    const gfs_mount_entry *e = gfs_mounttable_find(table.t, target.c_str());
    ASSERT_NE(e, nullptr);
    EXPECT_TRUE(e->read_only);
    for (const char *flag : {"nosuid", "nodev", "noexec"}) {
        EXPECT_NE(std::string(e->options).find(flag), std::string::npos) << flag;
    }

    EXPECT_NE(mkdir((target + "/x").c_str(), 0755), 0);
    EXPECT_EQ(errno, EROFS);
    EXPECT_EQ(mkdir((source + "/x").c_str(), 0755), 0);
    EXPECT_EQ(rmdir((source + "/x").c_str()), 0);
    EXPECT_EQ(gfs_mount_unmount(target.c_str(), 0, nullptr), 0);
    EXPECT_EQ(gfs_mount_unmount(target.c_str(), 0, nullptr), 0) << "idempotent";
}

TEST_F(Bind, ASubPathThatLeadsOutIsRefused)
{
    std::string source = dir_.Dir("source"), target = dir_.Dir("target");
    dir_.Dir("source/in");
    std::string out = source + "/out";
    ASSERT_EQ(symlink("../target", out.c_str()), 0);
    dir_.made.push_back(out);
    gfs_bind bind = {};
    bind.source = source.c_str();
    bind.target = target.c_str();

    for (const char *sub : {"..", "../target", "out", "/etc", "in/../.."}) {
        bind.sub_path = sub;
        EXPECT_EQ(gfs_mount_bind(&bind, nullptr), GFS_EINVAL) << sub;
    }
    bind.sub_path = "missing";
    EXPECT_EQ(gfs_mount_bind(&bind, nullptr), GFS_ENOENT);
    bind.sub_path = "in";
    EXPECT_EQ(gfs_mount_bind(&bind, nullptr), 0);
    Table table(nullptr);
    std::string root = gfs_mounttable_find(table.t, target.c_str())->root;
    EXPECT_EQ(root.substr(root.size() - 10), "/source/in");
    EXPECT_EQ(gfs_mount_unmount(target.c_str(), 0, nullptr), 0);
}

TEST_F(Bind, KindsMustAgree)
{
    std::string d = dir_.Dir("d"), f = dir_.File("f", "x");
    gfs_bind bind = {};
    bind.source = d.c_str();
    bind.target = f.c_str();
    EXPECT_EQ(gfs_mount_bind(&bind, nullptr), GFS_ENOTDIR);
    std::swap(bind.source, bind.target);
    EXPECT_EQ(gfs_mount_bind(&bind, nullptr), GFS_EISDIR);
    std::string missing = dir_.path + "/missing";
    bind.target = missing.c_str();
    EXPECT_EQ(gfs_mount_bind(&bind, nullptr), GFS_ENOENT);
}

TEST_F(Bind, UnmountTakesOneLayerOrAllAndDetachesWhatIsBusyOnlyWhenAllowed)
{
    std::string source = dir_.Dir("source"), target = dir_.Dir("target");
    gfs_bind bind = {};
    bind.source = source.c_str();
    bind.target = target.c_str();
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(gfs_mount_bind(&bind, nullptr), 0);
    }
    auto depth = [&] {
        Table table(nullptr);
        return gfs_mounttable_depth(table.t, target.c_str());
    };
    EXPECT_EQ(gfs_mount_unmount(target.c_str(), 0, nullptr), 0);
    EXPECT_EQ(depth(), 2u);
    int busy = open(target.c_str(), O_RDONLY);
    EXPECT_EQ(gfs_mount_unmount(target.c_str(), GFS_UNMOUNT_ALL, nullptr), GFS_EPRECONDITION);
    EXPECT_EQ(depth(), 2u);
    EXPECT_EQ(gfs_mount_unmount(target.c_str(), GFS_UNMOUNT_ALL | GFS_UNMOUNT_LAZY, nullptr), 0);
    EXPECT_EQ(depth(), 0u);
    close(busy);
}

} // namespace
