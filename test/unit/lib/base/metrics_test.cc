#include <gfs/base/metrics.h>

#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace
{
std::string Print(struct gfs_metrics *m)
{
    struct gfs_buf b;
    gfs_buf_init(&b, 1 << 20);
    EXPECT_EQ(0, gfs_metrics_print(m, &b));
    std::string text = gfs_buf_str(&b);
    gfs_buf_fini(&b);
    return text;
}

TEST(Metrics, SamplesOfOneNameStandTogetherUnderOneHeader)
{
    struct gfs_metrics *m = gfs_metrics_new();
    struct gfs_metric *a = gfs_metrics_get(m, GFS_METRIC_COUNTER, "ops_total", "op=\"a\"", "Ops.");
    struct gfs_metric *g = gfs_metrics_get(m, GFS_METRIC_GAUGE, "used_bytes", "", "Used.");
    struct gfs_metric *b = gfs_metrics_get(m, GFS_METRIC_COUNTER, "ops_total", "op=\"b\"", "Ops.");
    EXPECT_EQ(a, gfs_metrics_get(m, GFS_METRIC_COUNTER, "ops_total", "op=\"a\"", "Ops."));
    gfs_metric_add(a, 2);
    gfs_metric_add(b, 3);
    gfs_metric_set(g, -1);
    EXPECT_EQ("# HELP ops_total Ops.\n# TYPE ops_total counter\nops_total{op=\"a\"} 2\n"
              "ops_total{op=\"b\"} 3\n# HELP used_bytes Used.\n# TYPE used_bytes gauge\n"
              "used_bytes -1\n",
              Print(m));
    gfs_metrics_free(m);
}

TEST(Metrics, HistogramsAreCumulativeAndInSeconds)
{
    struct gfs_metrics *m = gfs_metrics_new();
    struct gfs_metric *h = gfs_metrics_get(m, GFS_METRIC_HISTOGRAM, "t_seconds", "", "T.");
    gfs_metric_observe(h, 5000);
    gfs_metric_observe(h, 15000);
    gfs_metric_observe(h, INT64_C(100000000000));
    std::string text = Print(m);
    EXPECT_NE(std::string::npos, text.find("t_seconds_bucket{le=\"1e-05\"} 1\n"));
    EXPECT_NE(std::string::npos, text.find("t_seconds_bucket{le=\"4e-05\"} 2\n"));
    EXPECT_NE(std::string::npos, text.find("t_seconds_bucket{le=\"+Inf\"} 3\n"));
    EXPECT_NE(std::string::npos, text.find("t_seconds_sum 100.000020000\n"));
    EXPECT_NE(std::string::npos, text.find("t_seconds_count 3\n"));
    gfs_metrics_free(m);
}

TEST(Metrics, AFullRegistryIgnoresFurtherMetrics)
{
    struct gfs_metrics *m = gfs_metrics_new();
    for (int i = 0; i < GFS_METRICS_MAX; i++) {
        std::string label = "i=\"" + std::to_string(i) + "\"";
        ASSERT_NE(nullptr, gfs_metrics_get(m, GFS_METRIC_COUNTER, "x_total", label.c_str(), "X."));
    }
    struct gfs_metric *over = gfs_metrics_get(m, GFS_METRIC_COUNTER, "y_total", "", "Y.");
    EXPECT_EQ(nullptr, over);
    gfs_metric_add(over, 1);
    EXPECT_EQ(0, gfs_metric_value(over));
    gfs_metrics_free(m);
}

TEST(Metrics, UpdatesFromManyThreadsAllCount)
{
    struct gfs_metrics *m = gfs_metrics_new();
    struct gfs_metric *c = gfs_metrics_get(m, GFS_METRIC_COUNTER, "x_total", "", "X.");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([c] {
            for (int i = 0; i < 10000; i++) {
                gfs_metric_add(c, 1);
            }
        });
    }
    for (auto &t : threads) {
        t.join();
    }
    EXPECT_EQ(40000, gfs_metric_value(c));
    gfs_metrics_free(m);
}
} // namespace
