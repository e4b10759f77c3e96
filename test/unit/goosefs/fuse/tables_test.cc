#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "dir_table.h"
#include "file_table.h"
#include "mode_table.h"
#include "version_cache.h"

namespace
{

// One directory (inode 1) of numbered files; versions can be changed, everything is counted.
struct Tree {
    std::atomic<uint64_t> version{4};
    std::atomic<int> opens{0}, closes{0}, lists{0};
    std::atomic<int> fail{0};
    unsigned entries = 0;
};

gfs_fuse_attr Attr(uint64_t ino, uint64_t version)
{
    gfs_fuse_attr a = {};
    a.ino = ino;
    a.version = version;
    a.mode = S_IFREG | 0444;
    return a;
}

std::string Name(unsigned i)
{
    char name[16];
    snprintf(name, sizeof(name), "n%06u", i);
    return name;
}

int TreeOpen(void *ctx, uint64_t ino, gfs_fuse_attr *out, void **file)
{
    Tree *t = static_cast<Tree *>(ctx);
    if (t->fail != 0) {
        return t->fail;
    }
    t->opens++;
    *out = Attr(ino, t->version);
    *file = new uint64_t(t->version);
    return 0;
}

ssize_t TreePread(void *, void *file, void *buf, size_t size, uint64_t)
{
    memset(buf, (int)*static_cast<uint64_t *>(file), size);
    return (ssize_t)size;
}

void TreeClose(void *ctx, void *file)
{
    static_cast<Tree *>(ctx)->closes++;
    delete static_cast<uint64_t *>(file);
}

int TreeList(void *ctx, uint64_t, const char *after, size_t max, gfs_fuse_entry_fn each, void *arg,
             bool *out_end)
{
    Tree *t = static_cast<Tree *>(ctx);
    if (t->fail != 0) {
        return t->fail;
    }
    t->lists++;
    unsigned i = after[0] == '\0' ? 0 : (unsigned)std::stoul(after + 1) + 1;
    for (size_t n = 0; n < max && i < t->entries; n++, i++) {
        gfs_fuse_attr a = Attr(100 + i, 1);
        if (!each(arg, Name(i).c_str(), &a)) {
            break;
        }
    }
    *out_end = i >= t->entries;
    return 0;
}

class Tables : public ::testing::Test
{
  protected:
    Tables()
    {
        ops_.open = TreeOpen;
        ops_.pread = TreePread;
        ops_.close = TreeClose;
        ops_.list = TreeList;
        backend_.ops = &ops_;
        backend_.ctx = &tree_;
        EXPECT_EQ(gfsi_file_table_init(&files_, &backend_), 0);
        EXPECT_EQ(gfsi_dir_table_init(&dirs_, &backend_, 1000), 0);
    }
    ~Tables() override
    {
        gfsi_file_table_fini(&files_);
        gfsi_dir_table_fini(&dirs_);
        EXPECT_EQ(tree_.opens, tree_.closes);
    }

    int ReadByte(uint64_t ino, uint64_t version)
    {
        char byte = 0;
        ssize_t n = gfsi_file_read(&files_, ino, version, &byte, 1, 0);
        return n == 1 ? byte : (int)n;
    }

    // All names from `position` on, through one handle.
    std::vector<std::string> List(uint64_t id, uint64_t position)
    {
        std::vector<std::string> names;
        gfsi_dir *d = nullptr;
        EXPECT_EQ(gfsi_dir_begin(&dirs_, id, 1, &d), 0);
        gfsi_dir_entry e;
        while (gfsi_dir_at(&dirs_, d, position, &e) == 1) {
            names.push_back(e.name);
            EXPECT_EQ(e.attr.ino, 100 + std::stoul(names.back().substr(1)));
            position++;
        }
        gfsi_dir_done(&dirs_, d);
        return names;
    }

    Tree tree_;
    gfs_fuse_backend_ops ops_ = {};
    gfs_fuse_backend backend_ = {};
    gfsi_file_table files_;
    gfsi_dir_table dirs_;
};

TEST_F(Tables, AnOpenHandleKeepsItsVersionWhenTheFileChanges)
{
    uint64_t v1 = 0, v2 = 0;
    ASSERT_EQ(gfsi_file_open(&files_, 7, &v1, nullptr), 0);
    tree_.version = 8;
    ASSERT_EQ(gfsi_file_open(&files_, 7, &v2, nullptr), 0);
    EXPECT_NE(v1, v2);
    EXPECT_EQ(ReadByte(7, v1), 4);
    EXPECT_EQ(ReadByte(7, v2), 8);
    gfsi_file_release(&files_, 7, v1);
    gfsi_file_release(&files_, 7, v2);
}

TEST_F(Tables, APredecessorsHandleIsOpenedOnceAndServed)
{
    EXPECT_EQ(ReadByte(7, 4), 4);
    EXPECT_EQ(ReadByte(7, 4), 4);
    EXPECT_EQ(tree_.opens, 1);
    gfsi_file_release(&files_, 7, 4);
    gfsi_file_release(&files_, 8, 4);
    EXPECT_EQ(ReadByte(7, 4), 4);
}

TEST_F(Tables, APredecessorsHandleOfAnOldVersionIsChanged)
{
    tree_.version = 8;
    EXPECT_EQ(ReadByte(7, 4), GFS_ECHANGED);
    EXPECT_EQ(ReadByte(7, 8), 8);
}

TEST_F(Tables, ErrorsOfTheBackendPassThrough)
{
    uint64_t v = 99;
    tree_.fail = GFS_EUNAVAIL;
    EXPECT_EQ(gfsi_file_open(&files_, 7, &v, nullptr), GFS_EUNAVAIL);
    EXPECT_EQ(v, 99u);
    EXPECT_EQ(ReadByte(7, 4), GFS_EUNAVAIL);
}

TEST_F(Tables, IdleFilesAreBounded)
{
    for (uint64_t ino = 1; ino <= 4 * GFSI_FILES_IDLE_MAX; ino++) {
        uint64_t v;
        ASSERT_EQ(gfsi_file_open(&files_, ino, &v, nullptr), 0);
        gfsi_file_release(&files_, ino, v);
    }
    EXPECT_EQ(tree_.opens - tree_.closes, GFSI_FILES_IDLE_MAX);
    // The youngest are the ones kept.
    int opens = tree_.opens;
    EXPECT_EQ(ReadByte(4 * GFSI_FILES_IDLE_MAX, 4), 4);
    EXPECT_EQ(tree_.opens, opens);
    EXPECT_EQ(ReadByte(1, 4), 4);
    EXPECT_EQ(tree_.opens, opens + 1);
}

TEST_F(Tables, ALocalFileIsHeldAsLongAsTheFileIsOpen)
{
    uint64_t version = 0, length = 0;
    gfsi_file *file = nullptr;
    int pipes[2], fd = -1, got = -1;
    ASSERT_EQ(gfsi_file_open(&files_, 7, &version, nullptr), 0);
    EXPECT_TRUE(gfsi_file_local_wants(&files_, 7, version));
    EXPECT_FALSE(gfsi_file_local_begin(&files_, 7, version, &file, &got, &length));

    fd = memfd_create("local", MFD_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, 5000), 0);
    gfsi_file_local_keep(&files_, 7, version, fd);
    EXPECT_FALSE(gfsi_file_local_wants(&files_, 7, version)) << "there is one";
    ASSERT_EQ(pipe2(pipes, O_CLOEXEC), 0);
    gfsi_file_local_keep(&files_, 7, version, pipes[0]);
    EXPECT_EQ(fcntl(pipes[0], F_GETFD), -1) << "a second one is closed";
    close(pipes[1]);

    ASSERT_TRUE(gfsi_file_local_begin(&files_, 7, version, &file, &got, &length));
    EXPECT_EQ(got, fd);
    EXPECT_EQ(length, 5000u);
    gfsi_file_release(&files_, 7, version);
    EXPECT_GE(fcntl(fd, F_GETFD), 0) << "a read is using it";
    gfsi_file_local_end(&files_, file);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "nobody has the file open any more";
    EXPECT_EQ(files_.locals, 0u);
}

TEST_F(Tables, ThreadsMayOpenReadAndReleaseTheSameFiles)
{
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 3000; i++) {
                uint64_t ino = 1 + (uint64_t)(i * (t + 1)) % 600, v = 0;
                if (gfsi_file_open(&files_, ino, &v, nullptr) != 0 || ReadByte(ino, v) != (int)v) {
                    wrong++;
                }
                gfsi_file_release(&files_, ino, v);
            }
        });
    }
    for (auto &t : threads) {
        t.join();
    }
    EXPECT_EQ(wrong, 0);
}

TEST_F(Tables, ALargeDirectoryIsReadInPages)
{
    tree_.entries = 5 * GFSI_DIR_PAGE + 3;
    uint64_t id;
    ASSERT_EQ(gfsi_dir_open(&dirs_, 1, &id), 0);
    std::vector<std::string> names = List(id, GFSI_DIR_FIRST);
    ASSERT_EQ(names.size(), tree_.entries);
    EXPECT_EQ(names.front(), Name(0));
    EXPECT_EQ(names.back(), Name(tree_.entries - 1));
    EXPECT_EQ(tree_.lists, 6);
    gfsi_dir_release(&dirs_, id);
}

TEST_F(Tables, AnyPositionIsFoundAgainAlsoThroughAnUnknownHandle)
{
    tree_.entries = 3 * GFSI_DIR_PAGE;
    uint64_t id;
    ASSERT_EQ(gfsi_dir_open(&dirs_, 1, &id), 0);
    for (uint64_t position : {(uint64_t)GFSI_DIR_PAGE + 50, (uint64_t)10, (uint64_t)GFSI_DIR_FIRST,
                              (uint64_t)2 * GFSI_DIR_PAGE + 1}) {
        for (uint64_t handle : {id, (uint64_t)77}) {
            std::vector<std::string> names = List(handle, position);
            ASSERT_FALSE(names.empty());
            EXPECT_EQ(names.front(), Name((unsigned)(position - GFSI_DIR_FIRST)));
            EXPECT_EQ(names.size(), tree_.entries - (position - GFSI_DIR_FIRST));
        }
    }
    gfsi_dir_release(&dirs_, id);
    gfsi_dir_release(&dirs_, 77);
    gfsi_dir_release(&dirs_, 78);
}

TEST_F(Tables, AnEmptyDirectoryEndsAtOnceAndAFailedPageIsTriedAgain)
{
    uint64_t id;
    ASSERT_EQ(gfsi_dir_open(&dirs_, 1, &id), 0);
    EXPECT_TRUE(List(id, GFSI_DIR_FIRST).empty());

    tree_.entries = GFSI_DIR_PAGE + 1;
    ASSERT_EQ(gfsi_dir_open(&dirs_, 1, &id), 0);
    gfsi_dir *d = nullptr;
    gfsi_dir_entry e;
    ASSERT_EQ(gfsi_dir_begin(&dirs_, id, 1, &d), 0);
    tree_.fail = GFS_EUNAVAIL;
    EXPECT_EQ(gfsi_dir_at(&dirs_, d, GFSI_DIR_FIRST, &e), GFS_EUNAVAIL);
    tree_.fail = 0;
    EXPECT_EQ(gfsi_dir_at(&dirs_, d, GFSI_DIR_FIRST, &e), 1);
    gfsi_dir_done(&dirs_, d);
    EXPECT_EQ(List(id, GFSI_DIR_FIRST).size(), tree_.entries);
}

TEST_F(Tables, OpenDirectoriesAreBounded)
{
    uint64_t id;
    std::vector<uint64_t> ids;
    while (gfsi_dir_open(&dirs_, 1, &id) == 0) {
        ids.push_back(id);
    }
    EXPECT_EQ(ids.size(), (size_t)GFSI_DIRS_MAX);
    EXPECT_EQ(std::set<uint64_t>(ids.begin(), ids.end()).size(), ids.size());
    EXPECT_EQ(gfsi_dir_open(&dirs_, 1, &id), GFS_EBUSY);
    gfsi_dir_release(&dirs_, ids[0]);
    EXPECT_EQ(gfsi_dir_open(&dirs_, 1, &id), 0);
}

class Modes : public ::testing::Test
{
  protected:
    Modes()
    {
        EXPECT_EQ(gfsi_mode_table_init(&t_, nullptr), 0);
    }
    ~Modes() override
    {
        gfsi_mode_table_fini(&t_);
    }
    bool Join(uint64_t ino, uint64_t version)
    {
        return gfsi_mode_join(&t_, ino, version, &mode_, &id_);
    }
    bool Decide(uint64_t ino, uint64_t version, uint32_t id)
    {
        return gfsi_mode_decide(&t_, ino, version, id, &mode_, &id_);
    }
    uint32_t Leave(uint64_t ino)
    {
        uint32_t id = 99;
        gfsi_mode_leave(&t_, ino, &id);
        return id;
    }

    gfsi_mode_table t_;
    gfsi_io_mode mode_ = GFSI_IO_DIRECT;
    uint32_t id_ = 0;
};

TEST_F(Modes, AllOpensOfAnInodeNameTheSameBackingFileUntilTheLastIsGone)
{
    EXPECT_FALSE(Join(5, 4));
    EXPECT_TRUE(Decide(5, 4, 17));
    EXPECT_EQ(mode_, GFSI_IO_PASSTHROUGH);
    EXPECT_TRUE(Join(5, 4));
    EXPECT_EQ(mode_, GFSI_IO_PASSTHROUGH);
    EXPECT_EQ(id_, 17u);
    EXPECT_FALSE(Decide(5, 4, 18)) << "somebody was faster: the reference goes back";
    EXPECT_EQ(id_, 17u);
    EXPECT_EQ(Leave(5), 0u);
    EXPECT_EQ(Leave(5), 0u);
    EXPECT_EQ(Leave(5), 17u);
    EXPECT_FALSE(Join(5, 4));
    EXPECT_EQ(Leave(5), 0u) << "unknown inodes are fine";
}

TEST_F(Modes, AnotherVersionIsReadDirectlyWhileTheOldOneIsOpen)
{
    EXPECT_TRUE(Decide(5, 4, 17));
    EXPECT_TRUE(Join(5, 8));
    EXPECT_EQ(mode_, GFSI_IO_DIRECT_HELD);
    EXPECT_EQ(id_, 17u) << "the kernel refuses an open that does not name it";
    EXPECT_EQ(Leave(5), 0u);
    EXPECT_TRUE(Join(5, 8));
    EXPECT_EQ(mode_, GFSI_IO_DIRECT_HELD) << "as long as one names the old version's";
    EXPECT_EQ(Leave(5), 0u);
    EXPECT_EQ(Leave(5), 17u);
    EXPECT_FALSE(Join(5, 8));
}

TEST_F(Modes, ACachedInodeStaysCachedUntilAllAreClosed)
{
    EXPECT_TRUE(Decide(5, 4, 0));
    EXPECT_EQ(mode_, GFSI_IO_CACHED);
    EXPECT_FALSE(Decide(5, 4, 17)) << "passthrough has to wait";
    EXPECT_EQ(mode_, GFSI_IO_CACHED);
    EXPECT_EQ(Leave(5), 0u);
    EXPECT_EQ(Leave(5), 0u);
    EXPECT_TRUE(Decide(5, 4, 17));
    EXPECT_EQ(mode_, GFSI_IO_PASSTHROUGH);
}

TEST_F(Modes, WithoutRoomIoIsDirect)
{
    uint64_t opened = 0, direct = 0;
    for (uint64_t ino = 1; ino <= 2 * GFS_SESSION_OPENS_MAX; ino++) {
        if (Join(ino, 4)) {
            EXPECT_EQ(mode_, GFSI_IO_DIRECT);
            direct++;
            continue;
        }
        EXPECT_TRUE(Decide(ino, 4, 0));
        opened++;
    }
    EXPECT_LE(opened, (uint64_t)GFS_SESSION_OPENS_MAX);
    EXPECT_GT(opened, (uint64_t)GFS_SESSION_OPENS_MAX / 2);
    EXPECT_EQ(opened + direct, (uint64_t)2 * GFS_SESSION_OPENS_MAX);
}

TEST_F(Modes, ASuccessorFindsThemInTheSharedTable)
{
    std::vector<gfs_session_open> shared(GFS_SESSION_OPENS_MAX);
    gfsi_mode_table first, second;
    ASSERT_EQ(gfsi_mode_table_init(&first, shared.data()), 0);
    EXPECT_TRUE(gfsi_mode_decide(&first, 5, 4, 17, &mode_, &id_));
    gfsi_mode_table_fini(&first);
    ASSERT_EQ(gfsi_mode_table_init(&second, shared.data()), 0);
    EXPECT_TRUE(gfsi_mode_join(&second, 5, 4, &mode_, &id_));
    EXPECT_EQ(id_, 17u);
    gfsi_mode_table_fini(&second);
}

class Versions : public ::testing::Test
{
  protected:
    Versions()
    {
        EXPECT_EQ(gfsi_version_cache_init(&c_), 0);
    }
    ~Versions() override
    {
        gfsi_version_cache_fini(&c_);
    }
    bool Open(uint64_t ino, uint64_t version)
    {
        return gfsi_version_cache_open(&c_, ino, version, &stale_);
    }

    gfsi_version_cache c_;
    bool stale_ = false;
};

TEST_F(Versions, PagesAreKeptOnlyForTheVersionSeenLast)
{
    EXPECT_FALSE(Open(5, 1)) << "nothing is known of a first open";
    EXPECT_TRUE(Open(5, 1));
    EXPECT_FALSE(Open(5, 2));
    EXPECT_FALSE(Open(5, 1));
    for (uint64_t ino = 100; ino < 100 + 4 * GFSI_VERSIONS; ino++) {
        Open(ino, 1);
    }
    EXPECT_FALSE(Open(5, 1)) << "forgetting is always on the safe side";
}

TEST_F(Versions, AttributesToldOfAnotherVersionAreStaleUntilToldAgain)
{
    Open(5, 1);
    EXPECT_FALSE(stale_) << "nothing is known";
    gfsi_version_cache_tell(&c_, 5, 1);
    Open(5, 1);
    EXPECT_FALSE(stale_);
    Open(5, 2);
    EXPECT_TRUE(stale_);
    Open(5, 2);
    EXPECT_FALSE(stale_) << "said once is enough";
    gfsi_version_cache_tell(&c_, 5, 2);
    EXPECT_TRUE(Open(5, 2));
    EXPECT_FALSE(stale_);
}

} // namespace
