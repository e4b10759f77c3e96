// Labels that somebody took away while volumes are staged come back.
#include <poll.h>

#include <mutex>
#include <set>

#include "fakes.h"
#include "relabel_priv.h"

namespace
{

// A Node with labels, which anybody may strip.
struct FakeLabels {
    std::mutex mutex;
    std::set<std::string> present;
    int checks = 0, failing = 0;
    struct gfs_csi_node_labeler table = {};

    FakeLabels()
    {
        table.self = this;
        table.set = [](void *self, const char *key, int64_t, struct gfs_err *) {
            auto *l = static_cast<FakeLabels *>(self);
            std::lock_guard<std::mutex> guard(l->mutex);
            l->present.insert(key);
            return 0;
        };
        table.remove = [](void *self, const char *key, int64_t, struct gfs_err *) {
            auto *l = static_cast<FakeLabels *>(self);
            std::lock_guard<std::mutex> guard(l->mutex);
            l->present.erase(key);
            return 0;
        };
        table.check = [](void *self, const char *const *keys, size_t n, int64_t,
                         struct gfs_err *e) {
            auto *l = static_cast<FakeLabels *>(self);
            std::lock_guard<std::mutex> guard(l->mutex);
            l->checks++;
            if (l->failing > 0) {
                l->failing--;
                return gfs_err_set(e, GFS_EUNAVAIL, "no API server");
            }
            l->present.insert(keys, keys + n);
            return 0;
        };
    }
    bool has(const std::string &key)
    {
        std::lock_guard<std::mutex> guard(mutex);
        return present.count(key) > 0;
    }
    void strip()
    {
        std::lock_guard<std::mutex> guard(mutex);
        present.clear();
    }
    int seen()
    {
        std::lock_guard<std::mutex> guard(mutex);
        return checks;
    }
};

class Relabel : public FakeNode
{
  protected:
    static constexpr const char *kLabel = "fluid.io/f-default-hbase";
    FakeLabels labels;
    struct gfsi_relabel *relabel = nullptr;

    void SetUp() override
    {
        FakeNode::SetUp();
        node.labeler = &labels.table;
        ASSERT_EQ(gfsi_relabel_start(&node, 2 * GFS_NS_PER_MS, &relabel, &err), 0) << err.text;
    }
    void TearDown() override
    {
        relabel = gfsi_relabel_stop(relabel);
        FakeNode::TearDown();
    }
    int unstage_on_demand()
    {
        struct gfsi_request r = request(GFSI_STAGE, staging);
        r.attrs.clean_policy = GFS_CSI_CLEAN_ON_DEMAND;
        int rc = run(r);
        return rc == 0 ? unstage() : rc;
    }
    // The bound ends a broken test only.
    template <typename Condition> static bool Eventually(Condition condition)
    {
        int64_t end = gfs_clock_mono() + 60 * GFS_NS_PER_S;
        while (!condition() && gfs_clock_mono() < end) {
            (void)poll(nullptr, 0, 1);
        }
        return condition();
    }
};

} // namespace

TEST_F(Relabel, ALabelThatWasStrippedComesBackWhileTheVolumeIsStaged)
{
    ASSERT_EQ(stage(), 0) << err.text;
    for (int i = 0; i < 3; i++) {
        labels.strip();
        EXPECT_TRUE(Eventually([&] { return labels.has(kLabel); })) << i;
    }
}

TEST_F(Relabel, AnApiServerThatWasAwayIsAskedAgain)
{
    labels.failing = 3;
    ASSERT_EQ(stage(), 0) << err.text;
    labels.strip();
    EXPECT_TRUE(Eventually([&] { return labels.has(kLabel); }));
    EXPECT_GE(labels.seen(), 4);
}

TEST_F(Relabel, NothingStagedNothingAsked)
{
    ASSERT_EQ(stage(), 0);
    ASSERT_TRUE(Eventually([&] { return labels.seen() > 0; }));
    ASSERT_EQ(unstage(), 0);
    int seen = labels.seen();
    (void)poll(nullptr, 0, 50);
    EXPECT_LE(labels.seen(), seen + 1) << "one may have been under way";
}

// The check runs beside every unstage that takes the label away; it must never come back.
TEST_F(Relabel, ALabelThatWasTakenAwayStaysAway)
{
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(unstage_on_demand(), 0) << err.text;
        EXPECT_FALSE(labels.has(kLabel)) << i;
    }
    int seen = labels.seen();
    (void)poll(nullptr, 0, 20);
    EXPECT_FALSE(labels.has(kLabel)) << seen;
}
