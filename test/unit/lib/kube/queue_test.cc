#include <gfs/base/clock.h>
#include <gfs/kube/queue.h>

#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace
{
class Queue : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        q = gfs_kube_queue_new(4, GFS_NS_PER_MS, 8 * GFS_NS_PER_MS);
        ASSERT_NE(nullptr, q);
    }

    void TearDown() override
    {
        gfs_kube_queue_free(q);
    }

    std::string Take()
    {
        char key[GFS_KUBE_KEY_MAX];
        return gfs_kube_queue_take(q, key, sizeof key) ? key : "(stopped)";
    }

    struct gfs_kube_queue *q = nullptr;
};

TEST_F(Queue, AKeyWaitsOnce)
{
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, "a"));
    }
    EXPECT_EQ(1u, gfs_kube_queue_length(q));
    EXPECT_EQ("a", Take());
    EXPECT_EQ(0u, gfs_kube_queue_length(q));
}

TEST_F(Queue, AKeyAddedWhileWorkedOnComesBackOnceDone)
{
    ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, "a"));
    ASSERT_EQ("a", Take());
    ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, "a"));
    ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, "a"));
    EXPECT_EQ(0u, gfs_kube_queue_length(q));
    gfs_kube_queue_done(q, "a");
    EXPECT_EQ(1u, gfs_kube_queue_length(q));
    EXPECT_EQ("a", Take());
    gfs_kube_queue_done(q, "a");
    EXPECT_EQ(0u, gfs_kube_queue_length(q));
}

TEST_F(Queue, AnEarlierTimeWins)
{
    ASSERT_EQ(GFS_OK, gfs_kube_queue_add_after(q, "late", 3600 * GFS_NS_PER_S));
    ASSERT_EQ(GFS_OK, gfs_kube_queue_add_after(q, "soon", GFS_NS_PER_MS));
    EXPECT_EQ("soon", Take());
    ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, "late"));
    EXPECT_EQ("late", Take());
}

TEST_F(Queue, AFullQueueRefusesNewKeysOnly)
{
    for (const char *key : {"a", "b", "c", "d"}) {
        ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, key));
    }
    EXPECT_EQ(GFS_ERANGE, gfs_kube_queue_add(q, "e"));
    EXPECT_EQ(GFS_OK, gfs_kube_queue_add(q, "a"));
    EXPECT_EQ(GFS_ERANGE, gfs_kube_queue_add(q, std::string(GFS_KUBE_KEY_MAX, 'x').c_str()));
    EXPECT_EQ(4u, gfs_kube_queue_length(q));
}

TEST_F(Queue, RetriesBackOffUntilForgotten)
{
    int64_t last = 0;
    for (int i = 0; i < 6; i++) {
        int64_t start = gfs_clock_mono();
        ASSERT_EQ(GFS_OK, gfs_kube_queue_retry(q, "a"));
        ASSERT_EQ("a", Take());
        last = gfs_clock_mono() - start;
        gfs_kube_queue_done(q, "a");
    }
    EXPECT_GE(last, 8 * GFS_NS_PER_MS);
    gfs_kube_queue_forget(q, "a");
    ASSERT_EQ(GFS_OK, gfs_kube_queue_retry(q, "a"));
    EXPECT_EQ("a", Take());
}

// Changes come in while the server stumbles: each is tried at once, and fails.
TEST_F(Queue, FailingEarlyDoesNotLengthenTheBackOff)
{
    const int64_t hour = 3600 * GFS_NS_PER_S;
    struct gfs_kube_queue *own = gfs_kube_queue_new(4, 20 * GFS_NS_PER_MS, hour);
    char key[GFS_KUBE_KEY_MAX];
    for (int i = 0; i < 40; i++) {
        ASSERT_EQ(GFS_OK, gfs_kube_queue_retry(own, "a"));
        ASSERT_EQ(GFS_OK, gfs_kube_queue_add(own, "a"));
        ASSERT_TRUE(gfs_kube_queue_take(own, key, sizeof key));
        gfs_kube_queue_done(own, key);
    }
    // Counted each time, this one would come in an hour.
    ASSERT_EQ(GFS_OK, gfs_kube_queue_retry(own, "a"));
    EXPECT_TRUE(gfs_kube_queue_take(own, key, sizeof key));
    gfs_kube_queue_done(own, key);
    gfs_kube_queue_free(own);
}

TEST_F(Queue, StopWakesEveryWorker)
{
    std::vector<std::thread> workers;
    std::atomic<int> stopped{0};
    for (int i = 0; i < 4; i++) {
        workers.emplace_back([&] { stopped += Take() == "(stopped)"; });
    }
    gfs_kube_queue_stop(q);
    for (auto &w : workers) {
        w.join();
    }
    EXPECT_EQ(4, stopped);
}

TEST_F(Queue, NoKeyIsWorkedOnByTwoAtOnce)
{
    std::atomic<int> inside{0}, overlaps{0}, done{0};
    std::vector<std::thread> workers;
    for (int i = 0; i < 4; i++) {
        workers.emplace_back([&] {
            while (Take() == "a") {
                overlaps += ++inside > 1;
                inside--;
                done++;
                gfs_kube_queue_done(q, "a");
            }
        });
    }
    for (int i = 0; i < 20000; i++) {
        ASSERT_EQ(GFS_OK, gfs_kube_queue_add(q, "a"));
    }
    while (done == 0 || gfs_kube_queue_length(q) > 0) {
        std::this_thread::yield();
    }
    gfs_kube_queue_stop(q);
    for (auto &w : workers) {
        w.join();
    }
    EXPECT_EQ(0, overlaps);
    EXPECT_GT(done, 0);
}
} // namespace
