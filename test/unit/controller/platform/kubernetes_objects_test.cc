// The objects of the document for an API server, and what makes them differ.
#include "unit/controller/fixture.h"

#include <cstring>

extern "C" {
#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects.h"
}

namespace
{

struct Json {
    json_t *ptr;

    explicit Json(json_t *json) : ptr(json)
    {
    }
    ~Json()
    {
        json_decref(ptr);
    }
    Json(const Json &) = delete;
    Json &operator=(const Json &) = delete;
};

struct Objects {
    const char *nodes[1] = {""};
    Object dataset;
    Object runtime;
    Machine machine;
    Json dataset_json;
    Json runtime_json;
    gfsi_kube_objects objects = {};
    int rc = 0;
    gfs_err err = GFS_ERR_INIT;

    explicit Objects(const std::string &runtime_text, const char *dataset_file = "dataset.yaml")
        : dataset(sample(dataset_file)), runtime(runtime_text),
          dataset_json(json_loads(dataset.ptr->json, 0, nullptr)),
          runtime_json(json_loads(runtime.ptr->json, 0, nullptr))
    {
        machine.facts.seed = "";
        machine.facts.nodes = nodes;
        machine.facts.hosts_file = "";
        machine.facts.pods_dir = "";
        machine.facts.one_machine = false;
        json_object_set_new(json_object_get(runtime_json.ptr, "metadata"), "uid",
                            json_string("11111111-2222-3333-4444-555555555555"));
        Plan plan(dataset, runtime, machine.facts);
        const gfsi_kube_place place = {"goosefs.local/goosefs:1", "/runtime-mnt",
                                       "/var/lib/goosefs", "", false};

        EXPECT_EQ(plan.rc, 0) << plan.err.text;
        rc = gfsi_kube_objects_build(plan.ptr, dataset_json.ptr, runtime_json.ptr, &place, &objects,
                                     &err);
    }

    ~Objects()
    {
        gfsi_kube_objects_fini(&objects);
    }

    const json_t *find(const char *kind, const char *name) const
    {
        for (size_t i = 0; i < objects.n; i++) {
            if (std::strcmp(objects.items[i].resource->kind, kind) == 0 &&
                std::strcmp(objects.items[i].name, name) == 0) {
                return objects.items[i].json;
            }
        }
        return nullptr;
    }

    std::string text() const
    {
        json_t *list = json_array();

        for (size_t i = 0; i < objects.n; i++) {
            json_array_append(list, objects.items[i].json);
        }

        char *dump = json_dumps(list, JSON_INDENT(2) | JSON_SORT_KEYS);
        std::string out = std::string(dump) + "\n";

        std::free(dump);
        json_decref(list);
        return out;
    }
};

std::string with(const char *more)
{
    return sample("runtime.yaml") + more;
}

const char *text_of(const json_t *json)
{
    const char *text = json_string_value(json);

    return text != nullptr ? text : "";
}

const json_t *template_of(const json_t *set)
{
    return gfs_kube_at(set, "spec", "template", nullptr);
}

TEST(KubernetesObjects, EveryObjectBelongsToTheRuntimeAndSaysSo)
{
    Objects objects(sample("runtime.yaml"));

    ASSERT_EQ(objects.objects.n, 10u);
    for (size_t i = 0; i < objects.objects.n; i++) {
        const json_t *json = objects.objects.items[i].json;
        const json_t *owner =
            json_array_get(gfs_kube_at(json, "metadata", "ownerReferences", nullptr), 0);

        EXPECT_STREQ(text_of(json_object_get(owner, "uid")),
                     "11111111-2222-3333-4444-555555555555");
        EXPECT_STREQ(
            text_of(gfs_kube_at(json, "metadata", "labels", "fluid.io/managed-by", nullptr)),
            "fluid");
        EXPECT_STREQ(text_of(gfs_kube_at(json, "metadata", "labels", "release", nullptr)), "hbase");
    }
}

TEST(KubernetesObjects, ClientsOfOtherNamespacesGetLongerNames)
{
    Objects objects(sample("runtime.yaml"));
    const json_t *config = objects.find("ConfigMap", "hbase-config");
    std::string fuse = text_of(gfs_kube_at(config, "data", "fuse.properties", nullptr));
    std::string master = text_of(gfs_kube_at(config, "data", "master.properties", nullptr));

    EXPECT_NE(fuse.find("goosefs.master.rpc.addresses=hbase-master-0.default:26000,"),
              std::string::npos)
        << fuse;
    EXPECT_EQ(fuse.find("journal.addresses"), std::string::npos) << fuse;
    EXPECT_NE(master.find("goosefs.master.rpc.addresses=hbase-master-0:26000,"), std::string::npos)
        << master;
    /* Each pod knows its own name. */
    EXPECT_EQ(master.find("goosefs.master.hostname"), std::string::npos) << master;
}

TEST(KubernetesObjects, AJournalIsOnAClaimOfTheUsersClassOrOfOurs)
{
    Objects node(sample("runtime.yaml"));
    Objects claim(with("   journal: {storageClass: fast, size: 5Gi}\n"));
    const json_t *set = claim.find("StatefulSet", "hbase-master");
    const json_t *wanted =
        json_array_get(gfs_kube_at(set, "spec", "volumeClaimTemplates", nullptr), 0);

    ASSERT_EQ(claim.rc, 0) << claim.err.text;
    EXPECT_STREQ(text_of(gfs_kube_at(wanted, "spec", "storageClassName", nullptr)), "fast");
    EXPECT_STREQ(text_of(gfs_kube_at(wanted, "spec", "resources", "requests", "storage", nullptr)),
                 "5Gi");
    // Without a class of the user's, of ours: a volume of its own, on one node.
    set = node.find("StatefulSet", "hbase-master");
    wanted = json_array_get(gfs_kube_at(set, "spec", "volumeClaimTemplates", nullptr), 0);
    EXPECT_STREQ(text_of(gfs_kube_at(wanted, "spec", "storageClassName", nullptr)),
                 "goosefs-journal");
    EXPECT_EQ(claim.text().find("goosefs-journal"), std::string::npos);
    EXPECT_EQ(node.text().find("subPathExpr"), std::string::npos);
    EXPECT_NE(claim.text().find("$(POD_NAME)/journal"), std::string::npos);
}

TEST(KubernetesObjects, AnotherPropertyIsAnotherTemplateOfItsRoleOnly)
{
    Objects before(sample("runtime.yaml"));
    Objects after(with("   properties: {goosefs.master.worker.timeout: 5s}\n"));

    EXPECT_FALSE(json_equal(template_of(before.find("StatefulSet", "hbase-master")),
                            template_of(after.find("StatefulSet", "hbase-master"))));
    EXPECT_TRUE(json_equal(template_of(before.find("ReplicaSet", "hbase-worker")),
                           template_of(after.find("ReplicaSet", "hbase-worker"))));
    EXPECT_TRUE(json_equal(template_of(before.find("DaemonSet", "hbase-fuse")),
                           template_of(after.find("DaemonSet", "hbase-fuse"))));
}

TEST(KubernetesObjects, ClientsOnDemandGoWhereTheLabelIsAndTheObjectIsNotTouched)
{
    Objects objects(with(" fuse: {global: false, nodeSelector: {disk: ssd}}\n"));
    const json_t *selector = gfs_kube_at(template_of(objects.find("DaemonSet", "hbase-fuse")),
                                         "spec", "nodeSelector", nullptr);
    const json_t *given =
        gfs_kube_at(objects.runtime_json.ptr, "spec", "fuse", "nodeSelector", nullptr);

    EXPECT_STREQ(text_of(json_object_get(selector, "disk")), "ssd");
    EXPECT_STREQ(text_of(json_object_get(selector, "fluid.io/f-default-hbase")), "true");
    EXPECT_EQ(json_object_size(given), 1u);
}

TEST(KubernetesObjects, OneMasterNeedsNoDisruptionBudget)
{
    Objects one("apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\n"
                "metadata: {name: hbase}\nspec: {replicas: 0}\n");

    ASSERT_EQ(one.rc, 0) << one.err.text;
    EXPECT_EQ(one.find("PodDisruptionBudget", "hbase-master"), nullptr);
    ASSERT_NE(one.find("ReplicaSet", "hbase-worker"), nullptr);
    EXPECT_EQ(json_integer_value(
                  gfs_kube_at(one.find("ReplicaSet", "hbase-worker"), "spec", "replicas", nullptr)),
              0);
}

TEST(KubernetesObjects, PodsOfTheRuntimeHaveNoPrivileges)
{
    Objects objects(sample("runtime.yaml"));

    for (const auto &set :
         {objects.find("StatefulSet", "hbase-master"), objects.find("ReplicaSet", "hbase-worker"),
          objects.find("DaemonSet", "hbase-fuse")}) {
        const json_t *container =
            json_array_get(gfs_kube_at(template_of(set), "spec", "containers", nullptr), 0);

        ASSERT_NE(container, nullptr);
        EXPECT_EQ(gfs_kube_at(container, "securityContext", "privileged", nullptr), nullptr);
        EXPECT_TRUE(json_is_false(
            gfs_kube_at(container, "securityContext", "allowPrivilegeEscalation", nullptr)));
        EXPECT_STREQ(
            text_of(json_array_get(
                gfs_kube_at(container, "securityContext", "capabilities", "drop", nullptr), 0)),
            "ALL");
    }
}

TEST(KubernetesStatus, WhatAFormerInstanceWroteIsWrittenAgainUnchanged)
{
    Objects objects(sample("runtime.yaml"));
    Plan plan(objects.dataset, objects.runtime, objects.machine.facts);
    gfsi_kube_pair before = {};
    gfsi_kube_pair after = {};

    before.plan = after.plan = plan.ptr;
    before.dataset = after.dataset = objects.dataset.ptr;
    before.ds.phase = GFS_DATASET_BOUND;
    before.ds.sized = true;
    before.ds.ufs_total = 52 << 20;
    before.ds.files = 42;
    before.rs.setup_ms = 4711;
    before.rs.roles[GFS_ROLE_MASTER].desired = 3;
    before.ds.conditions.n = 1;
    before.ds.conditions.items[0] = {"Ready", true, "DatasetReady", "The ddc runtime is ready.",
                                     1700000000000};

    Json dataset(
        json_pack("{s:o}", "status", gfsi_kube_dataset_status(&before, objects.dataset_json.ptr)));
    Json runtime(json_pack("{s:o}", "status", gfsi_kube_runtime_status(&before)));

    gfsi_kube_status_restore(dataset.ptr, runtime.ptr, &after);
    EXPECT_EQ(after.ds.phase, GFS_DATASET_BOUND);
    EXPECT_EQ(after.rs.setup_ms, 4711);
    EXPECT_EQ(after.rs.roles[GFS_ROLE_MASTER].desired, 3u);

    /* Not sized yet: the size found before stays until it is known again. */
    Json again(gfsi_kube_dataset_status(&after, dataset.ptr));

    EXPECT_TRUE(json_equal(again.ptr, json_object_get(dataset.ptr, "status")));
}

TEST(KubernetesStatus, MountOptionsAreNotShown)
{
    Objects objects(sample("runtime.yaml"));
    Object dataset("apiVersion: data.fluid.io/v1alpha1\nkind: Dataset\nmetadata: {name: hbase}\n"
                   "spec:\n  mounts:\n    - mountPoint: https://host/path/\n      name: hbase\n"
                   "      options: {secret-key: hunter2}\n");
    Plan plan(dataset, objects.runtime, objects.machine.facts);
    gfsi_kube_pair pair = {};

    pair.plan = plan.ptr;
    pair.dataset = dataset.ptr;
    pair.ds.phase = GFS_DATASET_BOUND;

    Json status(gfsi_kube_dataset_status(&pair, nullptr));
    char *text = json_dumps(status.ptr, 0);

    EXPECT_NE(std::strstr(text, "https://host/path/"), nullptr);
    EXPECT_EQ(std::strstr(text, "hunter2"), nullptr);
    std::free(text);
}

} // namespace
