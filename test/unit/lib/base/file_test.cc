#include <gfs/base/file.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <sys/stat.h>

namespace
{
class File : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        char name[] = "/tmp/gfs-file-test-XXXXXX";
        ASSERT_NE(nullptr, mkdtemp(name));
        dir = name;
    }

    void TearDown() override
    {
        std::filesystem::remove_all(dir);
    }

    std::string dir;
};

TEST_F(File, AnAtomicWriteReplacesTheWholeFile)
{
    std::string path = dir + "/f";
    ASSERT_EQ(GFS_OK, gfs_file_write_atomic(path.c_str(), "one", 3, 0600, nullptr));
    ASSERT_EQ(GFS_OK, gfs_file_write_atomic(path.c_str(), "three", 5, 0640, nullptr));
    struct gfs_buf b;
    gfs_buf_init(&b, 100);
    ASSERT_EQ(GFS_OK, gfs_file_read(path.c_str(), &b, nullptr));
    EXPECT_STREQ("three", gfs_buf_str(&b));
    gfs_buf_fini(&b);
    struct stat st;
    ASSERT_EQ(0, stat(path.c_str(), &st));
    EXPECT_EQ(0640u, st.st_mode & 07777);
    EXPECT_EQ(1, std::distance(std::filesystem::directory_iterator(dir), {}));
}

TEST_F(File, AFailedWriteSaysWhereAndLeavesNothing)
{
    struct gfs_err err = GFS_ERR_INIT;
    std::string path = dir + "/missing/f";
    EXPECT_EQ(GFS_ENOENT, gfs_file_write_atomic(path.c_str(), "x", 1, 0600, &err));
    EXPECT_NE(std::string::npos, std::string(err.text).find("missing/f"));
    ASSERT_EQ(0, mkdir((dir + "/d").c_str(), 0700));
    EXPECT_LT(gfs_file_write_atomic((dir + "/d").c_str(), "x", 1, 0600, &err), 0);
    EXPECT_EQ(1, std::distance(std::filesystem::directory_iterator(dir), {}));
}

TEST_F(File, AReadIsBoundedByItsBuffer)
{
    std::string path = dir + "/big";
    std::ofstream(path) << std::string(100, 'x');
    struct gfs_buf b;
    gfs_buf_init(&b, 99);
    struct gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(GFS_ERANGE, gfs_file_read(path.c_str(), &b, &err));
    EXPECT_NE(std::string::npos, std::string(err.text).find("larger than 99 bytes"));
    gfs_buf_fini(&b);
}

TEST_F(File, MkdirsMakesParentsAndAcceptsWhatIsThere)
{
    std::string path = dir + "/a/b/c";
    EXPECT_EQ(GFS_OK, gfs_mkdirs(path.c_str(), 0700, nullptr));
    EXPECT_EQ(GFS_OK, gfs_mkdirs((path + "/").c_str(), 0700, nullptr));
    EXPECT_TRUE(std::filesystem::is_directory(path));
    std::ofstream(dir + "/file") << "x";
    struct gfs_err err = GFS_ERR_INIT;
    EXPECT_LT(gfs_mkdirs((dir + "/file/x").c_str(), 0700, &err), 0);
    EXPECT_NE(std::string::npos, std::string(err.text).find("/file"));
}
} // namespace
