// file:// on a temporary directory.
#include <cstdio>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <gfs/ufs/ufs.h>

namespace
{

class LocalUfs : public testing::Test
{
  protected:
    void SetUp() override
    {
        char dir[] = "/tmp/gfs_ufs_local_XXXXXX";

        ASSERT_NE(nullptr, mkdtemp(dir));
        root_ = dir;
        Write("a b+c%.txt", "hello world");
        Write("empty", "");
        ASSERT_EQ(0, mkdir((root_ + "/sub").c_str(), 0755));
        Write("sub/deep", "deep");
        ASSERT_EQ(0, symlink("/etc/passwd", (root_ + "/leads-out").c_str()));
        ASSERT_EQ(0, symlink("sub/deep", (root_ + "/inside").c_str()));
        ASSERT_EQ(0, mkfifo((root_ + "/pipe").c_str(), 0644));
        ASSERT_EQ(0,
                  gfs_ufs_open(("file://" + root_ + "/").c_str(), nullptr, nullptr, &ufs_, &err_))
            << err_.text;
    }

    void TearDown() override
    {
        gfs_ufs_close(ufs_);
        for (const char *name :
             {"/a b+c%.txt", "/empty", "/sub/deep", "/sub", "/leads-out", "/inside", "/pipe", ""}) {
            (void)remove((root_ + name).c_str());
        }
    }

    void Write(const std::string &name, const std::string &content)
    {
        std::ofstream(root_ + "/" + name) << content;
    }

    std::string Read(const char *path, const char *version, uint64_t offset, uint64_t length,
                     int expected = 0)
    {
        std::string data(length, '\0');
        gfs_ufs_range range = {path, version, GFS_UFS_SIZE_ANY, offset, length};

        EXPECT_EQ(expected, gfs_ufs_read_buffer(ufs_, &range, &data[0], nullptr, &err_))
            << err_.text;
        return data;
    }

    std::string root_;
    gfs_ufs *ufs_ = nullptr;
    gfs_err err_ = GFS_ERR_INIT;
};

TEST_F(LocalUfs, ListsInByteOrderWithoutWhatLeadsOut)
{
    gfs_ufs_listing *listing = nullptr;

    ASSERT_EQ(0, gfs_ufs_list(ufs_, "", &listing, &err_)) << err_.text;
    ASSERT_EQ(4u, gfs_ufs_listing_count(listing));
    EXPECT_STREQ("a b+c%.txt", gfs_ufs_listing_at(listing, 0)->name);
    EXPECT_EQ(11u, gfs_ufs_listing_at(listing, 0)->stat.size);
    EXPECT_STREQ("empty", gfs_ufs_listing_at(listing, 1)->name);
    EXPECT_STREQ("inside", gfs_ufs_listing_at(listing, 2)->name);
    EXPECT_EQ(4u, gfs_ufs_listing_at(listing, 2)->stat.size);
    EXPECT_STREQ("sub", gfs_ufs_listing_at(listing, 3)->name);
    EXPECT_EQ(GFS_UFS_DIRECTORY, gfs_ufs_listing_at(listing, 3)->stat.type);
    EXPECT_EQ(nullptr, gfs_ufs_listing_at(listing, 4));
    gfs_ufs_listing_free(listing);
}

TEST_F(LocalUfs, ReadsRanges)
{
    EXPECT_EQ("hello world", Read("a b+c%.txt", nullptr, 0, 11));
    EXPECT_EQ("o w", Read("a b+c%.txt", nullptr, 4, 3));
}

TEST_F(LocalUfs, RefusesToLeaveTheRoot)
{
    gfs_ufs_stat st;

    EXPECT_EQ(GFS_EPERM, gfs_ufs_stat_path(ufs_, "leads-out", &st, &err_));
    EXPECT_EQ(GFS_EINVAL, gfs_ufs_stat_path(ufs_, "../etc", &st, &err_));
    EXPECT_EQ(GFS_EINVAL, gfs_ufs_stat_path(ufs_, "/etc", &st, &err_));
    EXPECT_EQ(GFS_EINVAL, gfs_ufs_stat_path(ufs_, "sub/", &st, &err_));
    EXPECT_EQ(GFS_ENOENT, gfs_ufs_stat_path(ufs_, "nothing", &st, &err_));
}

TEST_F(LocalUfs, AnotherVersionIsNotRead)
{
    gfs_ufs_stat before;
    gfs_ufs_stat now;

    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "a b+c%.txt", &before, &err_));
    EXPECT_EQ("hello", Read("a b+c%.txt", before.version, 0, 5));
    Write("a b+c%.txt", "HELLO WORLD, longer");
    Read("a b+c%.txt", before.version, 0, 5, GFS_ECHANGED);
    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "a b+c%.txt", &now, &err_));
    EXPECT_FALSE(gfs_ufs_stat_same(&before, &now));
    EXPECT_TRUE(gfs_ufs_stat_same(&now, &now));
}

TEST_F(LocalUfs, RangeBehindTheEndIsAChange)
{
    Read("a b+c%.txt", nullptr, 5, 100, GFS_ECHANGED);
    Read("sub", nullptr, 0, 1, GFS_EISDIR);
    Read("", nullptr, 0, 1, GFS_EISDIR);
}

TEST_F(LocalUfs, RangesThatMakeNoSenseAreRefused)
{
    char byte = 0;
    gfs_ufs_range empty = {"empty", nullptr, GFS_UFS_SIZE_ANY, 0, 0};
    gfs_ufs_range overflow = {"empty", nullptr, GFS_UFS_SIZE_ANY, UINT64_MAX, 2};
    gfs_ufs_range behind = {"empty", nullptr, 10, 9, 2};

    EXPECT_EQ(GFS_ERANGE, gfs_ufs_read_buffer(ufs_, &empty, &byte, nullptr, nullptr));
    EXPECT_EQ(GFS_ERANGE, gfs_ufs_read_buffer(ufs_, &overflow, &byte, nullptr, nullptr));
    EXPECT_EQ(GFS_ERANGE, gfs_ufs_read_buffer(ufs_, &behind, &byte, nullptr, nullptr));
}

TEST_F(LocalUfs, CancelEndsEverything)
{
    gfs_ufs_stat st;

    gfs_ufs_cancel(ufs_);
    EXPECT_EQ(GFS_ECANCELLED, gfs_ufs_stat_path(ufs_, "empty", &st, &err_));
}

TEST(UfsOpen, UnknownSchemesNameTheKnownOnes)
{
    gfs_ufs *ufs = nullptr;
    gfs_err err = GFS_ERR_INIT;

    EXPECT_EQ(GFS_EUNSUPPORTED, gfs_ufs_open("cosn://bucket/", nullptr, nullptr, &ufs, &err));
    EXPECT_STREQ("scheme 'cosn' is not supported: http, https and file are", err.text);
    EXPECT_EQ(GFS_EINVAL, gfs_ufs_open("no-uri", nullptr, nullptr, &ufs, &err));
    EXPECT_EQ(GFS_EINVAL, gfs_ufs_open("", nullptr, nullptr, &ufs, &err));
    EXPECT_EQ(GFS_EINVAL, gfs_ufs_open("file://host/x", nullptr, nullptr, &ufs, &err));
    EXPECT_EQ(nullptr, ufs);
}

} // namespace
