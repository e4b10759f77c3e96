// Lives of data sets in which everything goes wrong that can: requests fail, events come in any
// order, objects are deleted and edited by hand, the controller is killed. While it goes on being
// like that, all ends as it does in peace, and what is deleted leaves nothing.
//
// GFS_FUZZ_SEEDS=N: N more seeds for each density, GFS_FUZZ_FIRST=S from S on. With it every second
// request fails too: most of that is waiting for back-offs.
#include "unit/controller/platform/kubernetes_run.h"

#include <random>

namespace kube_run
{

struct Density {
    size_t n;    // every n-th request fails
    bool by_lot; // one in n instead
};

std::ostream &operator<<(std::ostream &out, const Density &d)
{
    return out << (d.by_lot ? "one in " : "every ") << d.n;
}

size_t number(const char *name, size_t otherwise)
{
    const char *text = getenv(name);

    return text != nullptr ? std::stoul(text) : otherwise;
}

class KubernetesFuzz : public KubernetesRun, public testing::WithParamInterface<Density>
{
  protected:
    static const int STEPS = 10;

    // What a life in peace comes to.
    std::string peace()
    {
        create("hbase");
        start();
        EXPECT_TRUE(wait_ready("hbase")) << picture();
        end(SIGKILL);
        return picture();
    }

    bool patient(const std::function<bool()> &what)
    {
        bool done = false;

        for (int minute = 0; minute < 3 && !done; minute++) {
            done = cluster_->WaitFor(what);
        }
        return done;
    }

    // What users write goes as they want, and a claim that a pod has waits for the pod's end:
    // nobody can take that back.
    static bool may_go(const std::string &object)
    {
        return object.find("data.fluid.io") == std::string::npos &&
               object.find("/journal-") == std::string::npos;
    }

    void delete_one()
    {
        std::vector<std::string> all = cluster_->Paths("/default");

        if (!all.empty()) {
            const std::string &victim = all[random_() % all.size()];

            if (may_go(victim)) {
                cluster_->Delete(victim);
            }
        }
    }

    void scale(int replicas)
    {
        cluster_->Edit(path(RUNTIMES, "hbase"),
                       R"({"spec":{"replicas":)" + std::to_string(replicas) + "}}");
    }

    void step()
    {
        switch (random_() % 6) {
        case 0: scale(static_cast<int>(1 + random_() % 3)); break;
        case 1:
            end(SIGKILL);
            start();
            break;
        case 2:
            cluster_->Edit("/api/v1/nodes/node" + std::to_string(1 + random_() % 3),
                           R"({"metadata":{"labels":{"fluid.io/s-default-hbase":null}}})");
            break;
        case 3:
            if (cluster_->Paths("/datasets/spark").empty() &&
                cluster_->Paths("/goosefsruntimes/spark").empty()) {
                create("spark");
            } else {
                cluster_->Delete(path(random_() % 2 == 0 ? DATASETS : RUNTIMES, "spark"));
            }
            break;
        default: delete_one(); break;
        }

        // The next one comes somewhere in the middle of what this one brought about.
        size_t writes = cluster_->Writes() + random_() % 12;

        ASSERT_TRUE(patient([&] { return cluster_->Writes() >= writes || ready("hbase"); }))
            << picture();
    }

    void live(const Density &d, unsigned seed, const std::string &wanted)
    {
        SCOPED_TRACE("seed " + std::to_string(seed));
        fresh();
        random_.seed(seed);
        if (d.by_lot) {
            cluster_->FailSome(d.n, seed);
        } else {
            cluster_->FailEvery(d.n, seed);
        }
        cluster_->Shuffle(seed);
        create("hbase");
        create("spark");
        start();
        for (int i = 0; i < STEPS; i++) {
            ASSERT_NO_FATAL_FAILURE(step());
        }

        cluster_->Delete(path(DATASETS, "spark"));
        cluster_->Delete(path(RUNTIMES, "spark"));
        scale(3);
        ASSERT_TRUE(patient([&] { return ready("hbase") && picture() == wanted; }))
            << picture() << "\nis not\n"
            << wanted;
        cluster_->Delete(path(seed % 2 == 0 ? DATASETS : RUNTIMES, "hbase"));
        cluster_->Delete(path(DATASETS, "hbase"));
        ASSERT_TRUE(patient([&] { return cluster_->Paths().empty() && labels().empty(); }))
            << picture() << labels();
        end(SIGKILL);
    }

    std::mt19937 random_;
};

TEST_P(KubernetesFuzz, AllEndsAsItDoesInPeace)
{
    if (GetParam().n == 2 && getenv("GFS_FUZZ_SEEDS") == nullptr) {
        GTEST_SKIP() << "for minutes: GFS_FUZZ_SEEDS";
    }

    std::string wanted = peace();
    size_t first = number("GFS_FUZZ_FIRST", 1);
    size_t seeds = 1 + number("GFS_FUZZ_SEEDS", 0);

    for (size_t seed = first; seed < first + seeds; seed++) {
        fprintf(stderr, "%zu requests, %s, seed %zu\n", GetParam().n,
                GetParam().by_lot ? "by lot" : "each", seed);
        ASSERT_NO_FATAL_FAILURE(live(GetParam(), static_cast<unsigned>(seed), wanted));
    }
}

INSTANTIATE_TEST_SUITE_P(Failures, KubernetesFuzz,
                         testing::Values(Density{2, false}, Density{3, false}, Density{5, false},
                                         Density{7, false}, Density{2, true}, Density{4, true}));

} // namespace kube_run
