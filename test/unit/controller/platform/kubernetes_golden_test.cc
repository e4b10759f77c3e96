// Every object the controllers write, as golden files: of the document's pair, and of one with
// everything set, in both ways to run clients.
#include "unit/controller/fixture.h"

#include <cstring>
#include <memory>

extern "C" {
#include "platform/kubernetes/cleanup.h"
#include "platform/kubernetes/journal.h"
#include "platform/kubernetes/kube_priv.h"
}

namespace
{

class Pair
{
  public:
    Pair(const std::string &dataset, const std::string &runtime, bool launch_pod)
        : dataset_(dataset), runtime_(runtime), list_(json_array()),
          dataset_json_(json_loads(dataset_.ptr->json, 0, nullptr)),
          runtime_json_(json_loads(runtime_.ptr->json, 0, nullptr))
    {
        machine_.facts.seed = "";
        machine_.facts.nodes = nodes_;
        machine_.facts.hosts_file = "";
        machine_.facts.pods_dir = "";
        machine_.facts.one_machine = false;
        place_.image = "goosefs.local/goosefs:1";
        place_.mount_root = "/runtime-mnt";
        place_.journal_root = "/var/lib/goosefs";
        place_.pull_secrets = "pull-one,pull-two";
        place_.launch_pod = launch_pod;
        json_object_set_new(json_object_get(runtime_json_, "metadata"), "uid",
                            json_string("11111111-2222-3333-4444-555555555555"));
    }
    ~Pair()
    {
        json_decref(list_);
        json_decref(dataset_json_);
        json_decref(runtime_json_);
    }
    Pair(const Pair &) = delete;
    Pair &operator=(const Pair &) = delete;

    std::string Text()
    {
        Plan plan(dataset_, runtime_, machine_.facts);

        EXPECT_EQ(plan.rc, 0) << plan.err.text;
        if (plan.rc == 0) {
            AddObjects(plan);
            AddJournal();
            Add("pod that removes what is left",
                gfsi_kube_cleaner(runtime_json_, runtime_.ptr, "node1", "mwf", &place_));
            AddStatuses(plan);
        }

        char *text = json_dumps(list_, JSON_INDENT(1) | JSON_SORT_KEYS);
        std::string out = std::string(text != nullptr ? text : "") + "\n";

        free(text);
        return out;
    }

  private:
    void Add(const char *what, json_t *json)
    {
        EXPECT_NE(json, nullptr) << what;
        json_array_append_new(list_, json_pack("{s:s, s:o*}", "what", what, "object", json));
    }

    void AddObjects(const Plan &plan)
    {
        gfs_err err = GFS_ERR_INIT;

        for (bool volume : {false, true}) {
            gfsi_kube_objects objects = {};
            int rc = volume ? gfsi_kube_volume_build(plan.ptr, dataset_json_, runtime_json_,
                                                     &objects, &err)
                            : gfsi_kube_objects_build(plan.ptr, dataset_json_, runtime_json_,
                                                      &place_, &objects, &err);

            EXPECT_EQ(rc, 0) << err.text;
            for (size_t i = 0; i < objects.n; i++) {
                Add(objects.items[i].resource->kind, json_incref(objects.items[i].json));
            }
            gfsi_kube_objects_fini(&objects);
        }
    }

    // The volume that answers the first master's claim, whose template is in the StatefulSet.
    void AddJournal()
    {
        json_t *claim = json_pack(
            "{s:{s:s+, s:s, s:s, s:{s:s}}, s:{s:{s:{s:s}}}}", "metadata", "name", "journal-",
            (std::string(runtime_.ptr->name) + "-master-0").c_str(), "namespace", runtime_.ptr->ns,
            "uid", "66666666-7777-8888-9999-000000000000", "labels", "release", runtime_.ptr->name,
            "spec", "resources", "requests", "storage", "30Gi");

        Add("volume of a journal",
            gfsi_kube_journal_volume(claim, runtime_json_, "node1", "node1.example", &place_));
        json_decref(claim);
    }

    void AddStatuses(const Plan &plan)
    {
        gfsi_kube_pair pair = {};
        gfs_observation seen = {};
        auto effects = std::make_unique<gfs_effects>();

        pair.plan = plan.ptr;
        pair.dataset = dataset_.ptr;
        seen.now_ms = 1700000000000;
        gfs_reconcile(dataset_.ptr, plan.ptr, &seen, &pair.ds, &pair.rs, effects.get());
        Add("status of the Dataset before", gfsi_kube_dataset_status(&pair, nullptr));
        Add("status of the runtime before", gfsi_kube_runtime_status(&pair));

        seen = Ready(plan);
        gfs_reconcile(dataset_.ptr, plan.ptr, &seen, &pair.ds, &pair.rs, effects.get());
        for (size_t i = 0; i < dataset_.ptr->dataset->n_mounts; i++) {
            gfs_reconcile_mounted(&pair.ds, i, 0, "", seen.now_ms);
        }
        gfs_reconcile(dataset_.ptr, plan.ptr, &seen, &pair.ds, &pair.rs, effects.get());
        Add("status of the Dataset", gfsi_kube_dataset_status(&pair, nullptr));
        Add("status of the runtime", gfsi_kube_runtime_status(&pair));
    }

    static gfs_observation Ready(const Plan &plan)
    {
        gfs_observation seen = {};

        seen.now_ms = 1700000004711;
        for (int role = 0; role < GFS_ROLES; role++) {
            seen.current[role] = seen.ready[role] = plan->desired[role];
        }
        seen.has_leader = seen.volume_ready = seen.sized = seen.cache_known = true;
        seen.capacity = UINT64_C(6) << 30;
        seen.ufs_total = 52 << 20;
        seen.cached = 26 << 20;
        seen.files = 42;
        return seen;
    }

    const char *nodes_[1] = {""};
    Object dataset_, runtime_;
    Machine machine_;
    gfsi_kube_place place_ = {};
    json_t *list_, *dataset_json_, *runtime_json_;
};

std::string input(const char *name)
{
    return slurp(std::string(GFS_SOURCE_DIR "/test/golden/controller/") + name);
}

TEST(KubernetesGolden, TheDocument)
{
    Pair pair(sample("dataset.yaml"), sample("runtime.yaml"), true);

    expect_golden("document-kubernetes.json", pair.Text());
}

TEST(KubernetesGolden, EverythingSetAndClientsInTheirOwnPods)
{
    Pair pair(input("full-dataset.yaml"), input("full-runtime.yaml"), true);

    expect_golden("full-kubernetes.json", pair.Text());
}

TEST(KubernetesGolden, EverythingSetAndClientsInTheKeepersPod)
{
    Pair pair(input("full-dataset.yaml"), input("full-runtime.yaml"), false);

    expect_golden("full-kubernetes-keeper.json", pair.Text());
}

} // namespace
