#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "engine_priv.h"

#include <gfs/base/clock.h>

namespace
{

// What the engine runs waits here until the test lets it go.
class Gate
{
  public:
    std::mutex m;
    std::condition_variable cv;
    std::vector<std::string> started; // "stage:volume:path"
    std::vector<std::string> finished;
    int tickets = 0;
    bool open = false;
    int code = 0;

    static int run(void *user, const struct gfsi_request *r, int64_t, struct gfs_err *err)
    {
        auto *g = static_cast<Gate *>(user);
        std::unique_lock<std::mutex> lock(g->m);
        std::string name = std::to_string(r->kind) + ":" + r->volume_id + ":" + r->path;
        g->started.push_back(name);
        g->cv.notify_all();
        g->cv.wait(lock, [&] { return g->open || g->tickets > 0; });
        g->tickets -= g->open ? 0 : 1;
        g->finished.push_back(name);
        return g->code < 0 ? gfs_err_set(err, g->code, "as told") : 0;
    }
    void wait_started(size_t n)
    {
        std::unique_lock<std::mutex> lock(m);
        cv.wait(lock, [&] { return started.size() >= n; });
    }
    void release(int n)
    {
        std::lock_guard<std::mutex> lock(m);
        tickets += n;
        cv.notify_all();
    }
    void open_up()
    {
        std::lock_guard<std::mutex> lock(m);
        open = true;
        cv.notify_all();
    }
};

class Answers
{
  public:
    std::mutex m;
    std::condition_variable cv;
    std::vector<int> codes;

    static void done(void *arg, int code, const struct gfs_err *err)
    {
        auto *a = static_cast<Answers *>(arg);
        std::lock_guard<std::mutex> lock(a->m);
        EXPECT_EQ(err != nullptr, code < 0);
        a->codes.push_back(code);
        a->cv.notify_all();
    }
    void wait(size_t n)
    {
        std::unique_lock<std::mutex> lock(m);
        cv.wait(lock, [&] { return codes.size() >= n; });
    }
    size_t count()
    {
        std::lock_guard<std::mutex> lock(m);
        return codes.size();
    }
};

class EngineTest : public ::testing::Test
{
  protected:
    Gate gate;
    Answers answers;
    struct gfsi_engine *engine = nullptr;
    struct gfs_err err = GFS_ERR_INIT;

    void start(unsigned workers)
    {
        ASSERT_EQ(gfsi_engine_new(workers, 10 * GFS_NS_PER_S, Gate::run, &gate, &engine, &err), 0);
    }
    void TearDown() override
    {
        gate.open_up();
        engine = gfsi_engine_free(engine);
    }
    int submit(enum gfsi_kind kind, const char *volume, const char *path, const char *digest = "d",
               int64_t answer_in = 60 * GFS_NS_PER_S, Answers *to = nullptr)
    {
        auto *r = static_cast<struct gfsi_request *>(calloc(1, sizeof(struct gfsi_request)));
        r->kind = kind;
        snprintf(r->volume_id, sizeof(r->volume_id), "%s", volume);
        snprintf(r->path, sizeof(r->path), "%s", path);
        snprintf(r->digest, sizeof(r->digest), "%s", digest);
        return gfsi_engine_submit(engine, r, gfs_clock_mono() + answer_in, Answers::done,
                                  to != nullptr ? to : &answers, &err);
    }
};

TEST_F(EngineTest, OperationsOfAVolumeRunInOrderOneAtATime)
{
    start(4);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.wait_started(1);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a"), 0);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/b"), 0);
    EXPECT_EQ(gate.started.size(), 1u) << "the queue waits for the one that runs";
    gate.open_up();
    answers.wait(3);
    EXPECT_EQ(gate.started, (std::vector<std::string>{"0:v:/s", "2:v:/a", "2:v:/b"}));
}

TEST_F(EngineTest, VolumesRunInParallel)
{
    start(2);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    ASSERT_EQ(submit(GFSI_STAGE, "w", "/s"), 0);
    gate.wait_started(2); // both, while neither has finished
    EXPECT_EQ(answers.count(), 0u);
}

TEST_F(EngineTest, VolumesTakeTurns)
{
    start(1);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/1"), 0);
    gate.wait_started(1);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/2"), 0);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/3"), 0);
    ASSERT_EQ(submit(GFSI_PUBLISH, "w", "/1"), 0);
    gate.open_up();
    answers.wait(4);
    EXPECT_EQ(gate.finished, (std::vector<std::string>{"2:v:/1", "2:w:/1", "2:v:/2", "2:v:/3"}));
}

TEST_F(EngineTest, ARepeatedCallJoinsTheOneThatRuns)
{
    start(2);
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a"), 0);
        gate.wait_started(1);
    }
    gate.open_up();
    answers.wait(10);
    EXPECT_EQ(gate.finished.size(), 1u);
}

TEST_F(EngineTest, ACallWithOtherParametersDoesNotJoin)
{
    start(2);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a", "d1"), 0);
    gate.wait_started(1);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a", "d2"), 0);
    gate.open_up();
    answers.wait(2);
    EXPECT_EQ(gate.finished.size(), 2u);
}

TEST_F(EngineTest, ARepeatDoesNotJoinAcrossTheOpposite)
{
    start(1);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.wait_started(1);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a"), 0);
    ASSERT_EQ(submit(GFSI_UNPUBLISH, "v", "/a"), 0);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a"), 0);
    gate.open_up();
    answers.wait(4);
    EXPECT_EQ(gate.finished, (std::vector<std::string>{"0:v:/s", "2:v:/a", "3:v:/a", "2:v:/a"}));
}

TEST_F(EngineTest, TheOppositeOfWhatRunsIsAborted)
{
    start(2);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a"), 0);
    gate.wait_started(1);
    EXPECT_EQ(submit(GFSI_UNPUBLISH, "v", "/a"), GFS_EABORTED);
    EXPECT_EQ(submit(GFSI_UNPUBLISH, "v", "/b"), 0) << "another path waits in line";
    EXPECT_EQ(submit(GFSI_UNPUBLISH, "w", "/a"), 0) << "another volume does not care";
    EXPECT_EQ(submit(GFSI_UNSTAGE, "v", "/a"), 0) << "not the opposite of publish";
}

TEST_F(EngineTest, ACallerHearsItsDeadlineAndTheOperationGoesOn)
{
    Answers early;
    start(1);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.wait_started(1);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s", "d", 1 * GFS_NS_PER_MS, &early), 0);
    early.wait(1);
    EXPECT_EQ(early.codes[0], GFS_ETIMEOUT);
    EXPECT_EQ(answers.count(), 0u);
    EXPECT_EQ(gfsi_engine_pending(engine), 1u);

    // Work that nobody waits for is not dropped; the retry joins it and gets its result.
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.open_up();
    answers.wait(2);
    EXPECT_EQ(answers.codes, (std::vector<int>{0, 0}));
    EXPECT_EQ(gate.finished.size(), 1u);
}

TEST_F(EngineTest, ErrorsReachEveryCaller)
{
    start(1);
    gate.code = GFS_EPRECONDITION;
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.open_up();
    answers.wait(2);
    EXPECT_EQ(answers.codes, (std::vector<int>{GFS_EPRECONDITION, GFS_EPRECONDITION}));
}

TEST_F(EngineTest, LimitsAreBusy)
{
    start(1);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.wait_started(1);
    for (int i = 1; i < GFSI_ENGINE_WAITERS_MAX; i++) {
        ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    }
    EXPECT_EQ(submit(GFSI_STAGE, "v", "/s"), GFS_EBUSY);

    for (int i = 1; i < GFSI_ENGINE_OPS_MAX; i++) {
        ASSERT_EQ(submit(GFSI_PUBLISH, "v", ("/" + std::to_string(i)).c_str()), 0);
    }
    EXPECT_EQ(submit(GFSI_PUBLISH, "v", "/more"), GFS_EBUSY);
    EXPECT_EQ(submit(GFSI_PUBLISH, "w", "/more"), GFS_EBUSY);
    gate.open_up();
    answers.wait(GFSI_ENGINE_WAITERS_MAX + GFSI_ENGINE_OPS_MAX - 1);
}

TEST_F(EngineTest, StopFinishesWhatItCanAndAnswersTheRest)
{
    start(1);
    ASSERT_EQ(submit(GFSI_STAGE, "v", "/s"), 0);
    gate.wait_started(1);
    ASSERT_EQ(submit(GFSI_STAGE, "w", "/s"), 0);
    ASSERT_EQ(submit(GFSI_PUBLISH, "v", "/a"), 0);
    gfsi_engine_stop(engine, gfs_clock_mono()); // no time: what has not started never will
    answers.wait(2);
    EXPECT_EQ(answers.codes, (std::vector<int>{GFS_EUNAVAIL, GFS_EUNAVAIL}));
    EXPECT_EQ(submit(GFSI_STAGE, "x", "/s"), GFS_EUNAVAIL);
    gate.open_up();
    answers.wait(3);
    EXPECT_EQ(answers.codes[2], 0);
}

TEST_F(EngineTest, StopWaitsForWhatIsQueued)
{
    start(2);
    gate.open_up();
    for (int i = 0; i < 100; i++) {
        ASSERT_EQ(submit(GFSI_PUBLISH, std::to_string(i % 7).c_str(), std::to_string(i).c_str()),
                  0);
    }
    gfsi_engine_stop(engine, gfs_clock_mono() + 60 * GFS_NS_PER_S);
    EXPECT_EQ(answers.count(), 100u);
    EXPECT_EQ(gfsi_engine_pending(engine), 0u);
}

} // namespace
