// Figures of a whole node under SIGKILL: plugin, keeper and clients. Not a test: it asserts only
// that the runs took place. Each figure is a line "NAME VALUE UNIT" in the file that the
// environment variable SURVIVAL_BENCH_OUT names.
#include "../integration/survival_csi_fixture.h"

namespace csi
{

class SurvivalNodeBench : public SurvivalNode
{
  protected:
    static void Figure(const std::string &name, double value, const char *unit)
    {
        const char *path = getenv("SURVIVAL_BENCH_OUT");
        std::ofstream(path != nullptr ? path : "/dev/stderr", std::ios::app)
            << name << " " << value << " " << unit << "\n";
    }

    static double Ms(int64_t ns)
    {
        return (double)ns / (double)GFS_NS_PER_MS;
    }
};

// 200 volumes, each with a client of its own; readers of one of them all the time.
TEST_F(SurvivalNodeBench, KillPlugin)
{
    constexpr int kVolumes = 200, kKills = 50;
    std::vector<double> ready_ms;
    WriteClient("--threads 2 --delay-us 300");
    for (int i = 0; i < kVolumes; i++) {
        Provide(Dataset("set-" + std::to_string(i), "pod-1"));
    }
    Readers readers(Dataset("set-7", "pod-1").target, kSize, 8);
    for (int i = 0; i < kKills; i++) {
        ASSERT_TRUE(readers.Progress());
        stop_plugin(SIGKILL);
        int64_t from = gfs_clock_mono();
        start_plugin();
        ready_ms.push_back(Ms(gfs_clock_mono() - from));
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    std::sort(ready_ms.begin(), ready_ms.end());
    Figure("kill_plugin_errors", (double)(readers.errors_ + readers.wrong_), "count");
    Figure("plugin_ready_ms", ready_ms[kKills / 2], "ms");
    Figure("plugin_ready_ms_max", ready_ms.back(), "ms");
}

// From the kill until a new open below the pod's target reads again.
TEST_F(SurvivalNodeBench, KillBoth)
{
    int64_t longest = 0;
    size_t depth = 0;
    Volume v = Dataset("hbase", "pod-1");
    Provide(v);
    Container container(v.target, dir + "/container");
    for (int i = 0; i < 10; i++) {
        int64_t from = gfs_clock_mono();
        ASSERT_NO_FATAL_FAILURE(KillKeeperAndClients());
        ASSERT_TRUE(eventually([&] { return Reads(v.target) && container.Reads(); }));
        longest = std::max(longest, gfs_clock_mono() - from);
        depth = std::max(depth, mounts_below(v.target).size());
    }
    Figure("kill_both_recovery_ms", Ms(longest), "ms");
    Figure("kill_both_stack_depth", (double)depth, "count");
    Figure("kill_both_repaired_metric", (double)Metric("fluid_csi_binds_repaired_total"), "count");
}

} // namespace csi
