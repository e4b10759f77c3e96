#include <fcntl.h>
#include <sys/wait.h>

#include <condition_variable>
#include <mutex>

#include "fakes.h"

namespace
{

class ProberTest : public ::testing::Test
{
  protected:
    TempDir dir;
    struct gfs_csi_prober *prober = nullptr;
    struct gfs_err err = GFS_ERR_INIT;
    int fd = -1;

    void SetUp() override
    {
        ASSERT_EQ(gfs_csi_prober_new(&prober, &err), 0) << err.text;
        fd = open(dir.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
        ASSERT_GE(fd, 0);
    }
    void TearDown() override
    {
        close(fd);
        prober = gfs_csi_prober_free(prober);
    }
    int open_below(const char *path)
    {
        int out = -1;
        mode_t mode = 0;
        int rc = gfsi_prober_open(prober, fd, path, 10 * GFS_NS_PER_S, &out, &mode, &err);
        if (rc == 0) {
            struct stat a, b;
            EXPECT_EQ(fstat(out, &a), 0);
            EXPECT_EQ(stat((dir.path() + "/" + path).c_str(), &b), 0);
            EXPECT_EQ(a.st_ino, b.st_ino);
            EXPECT_EQ(mode, b.st_mode);
            close(out);
        }
        return rc;
    }
};

TEST_F(ProberTest, CheckAnswersForALivingFileSystem)
{
    EXPECT_EQ(gfsi_prober_check(prober, fd, 10 * GFS_NS_PER_S, &err), 0) << err.text;
}

TEST_F(ProberTest, OpenGivesTheDirectoryItself)
{
    dir.make("a/b");
    EXPECT_EQ(open_below("a/b"), 0) << err.text;
    EXPECT_EQ(open_below("a"), 0);
    EXPECT_EQ(open_below("none"), GFS_ENOENT);
}

TEST_F(ProberTest, OpenNeverLeavesTheDirectory)
{
    dir.make("a");
    ASSERT_EQ(symlink("/etc", (dir.path() + "/out").c_str()), 0);
    ASSERT_EQ(symlink("a", (dir.path() + "/in").c_str()), 0);
    EXPECT_EQ(open_below("out"), GFS_EPERM);
    EXPECT_EQ(open_below("in"), GFS_EPERM);
    EXPECT_EQ(open_below("out/passwd"), GFS_EPERM);
    EXPECT_EQ(open_below("../.."), GFS_EPERM);
    EXPECT_EQ(open_below("/etc"), GFS_EPERM);
}

TEST_F(ProberTest, StatfsReportsWhatTheKernelSays)
{
    struct Answer {
        std::mutex m;
        std::condition_variable cv;
        bool done = false;
        struct gfsi_probe_result result;
    } answer;
    ASSERT_EQ(gfsi_prober_statfs(
                  prober, fd, 10 * GFS_NS_PER_S,
                  [](void *arg, const struct gfsi_probe_result *r) {
                      auto *a = static_cast<Answer *>(arg);
                      std::lock_guard<std::mutex> lock(a->m);
                      a->result = *r;
                      a->done = true;
                      a->cv.notify_all();
                  },
                  &answer, &err),
              0);
    std::unique_lock<std::mutex> lock(answer.m);
    answer.cv.wait(lock, [&] { return answer.done; });
    EXPECT_EQ(answer.result.error, 0);
    EXPECT_GT(answer.result.total, 0u);
    EXPECT_GE(answer.result.total, answer.result.available);
}

TEST_F(ProberTest, ManyQuestionsOneAfterTheOtherLeaveNoProcess)
{
    for (int i = 0; i < 100; i++) {
        ASSERT_EQ(gfsi_prober_check(prober, fd, 10 * GFS_NS_PER_S, &err), 0) << i << err.text;
    }
}

TEST_F(ProberTest, APathThatIsTooLongIsRefused)
{
    EXPECT_EQ(open_below(std::string(5000, 'x').c_str()), GFS_ENAMETOOLONG);
}

} // namespace
