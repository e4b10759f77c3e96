// What a cluster's pods are given: clients of their own, secrets as files, places on nodes.
#include "unit/controller/fixture.h"

#include <cstring>

extern "C" {
#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects.h"
}

namespace
{

struct Cluster {
    const char *nodes[1] = {""};
    Object dataset, runtime;
    Machine machine;
    json_t *dataset_json, *runtime_json;
    gfsi_kube_objects objects = {};
    gfsi_kube_objects volume = {};
    gfs_err err = GFS_ERR_INIT;

    Cluster(const std::string &dataset_more, const std::string &runtime_more,
            bool launch_pod = false, const char *pull_secrets = "")
        : dataset(sample("dataset.yaml") + dataset_more),
          runtime(sample("runtime.yaml") + runtime_more),
          dataset_json(json_loads(dataset.ptr->json, 0, nullptr)),
          runtime_json(json_loads(runtime.ptr->json, 0, nullptr))
    {
        machine.facts.seed = "";
        machine.facts.nodes = nodes;
        machine.facts.hosts_file = "";
        machine.facts.pods_dir = "";
        machine.facts.one_machine = false;
        json_object_set_new(json_object_get(runtime_json, "metadata"), "uid", json_string("uid-1"));

        Plan plan(dataset, runtime, machine.facts);
        gfsi_kube_place place = {};

        place.image = "goosefs.local/goosefs:1";
        place.mount_root = "/runtime-mnt";
        place.journal_root = "/var/lib/goosefs";
        place.launch_pod = launch_pod;
        place.pull_secrets = pull_secrets;
        EXPECT_EQ(0, plan.rc) << plan.err.text;
        EXPECT_EQ(0, gfsi_kube_objects_build(plan.ptr, dataset_json, runtime_json, &place, &objects,
                                             &err))
            << err.text;
        EXPECT_EQ(0, gfsi_kube_volume_build(plan.ptr, dataset_json, runtime_json, &volume, &err))
            << err.text;
    }

    ~Cluster()
    {
        gfsi_kube_objects_fini(&objects);
        gfsi_kube_objects_fini(&volume);
        json_decref(dataset_json);
        json_decref(runtime_json);
    }

    Cluster(const Cluster &) = delete;
    Cluster &operator=(const Cluster &) = delete;

    const json_t *Spec(const char *kind) const
    {
        return json_object_get(Template(kind), "spec");
    }

    const json_t *Template(const char *kind) const
    {
        for (size_t i = 0; i < objects.n; i++) {
            if (std::strcmp(objects.items[i].resource->kind, kind) == 0) {
                return gfs_kube_at(objects.items[i].json, "spec", "template", nullptr);
            }
        }
        ADD_FAILURE() << kind;
        return nullptr;
    }

    // The volume as text, keys sorted.
    std::string Pv() const
    {
        return Dump(volume.items[0].json);
    }

    static std::string Dump(const json_t *json)
    {
        char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        std::string out = text != nullptr ? text : "";

        std::free(text);
        return out;
    }

    std::string Text(const char *kind) const
    {
        return Dump(Spec(kind));
    }
};

const json_t *first(const json_t *spec, const char *list)
{
    return json_array_get(json_object_get(spec, list), 0);
}

bool has(const std::string &text, const char *part)
{
    return text.find(part) != std::string::npos;
}

TEST(KubernetesPods, TheClientsOwnPodHasNobodysRights)
{
    Cluster c("", "", true);
    const json_t *spec = c.Spec("DaemonSet");
    const json_t *security = json_object_get(first(spec, "containers"), "securityContext");

    EXPECT_EQ("[\"goosefs-fuse\",\"launcher\",\"--directory=/runtime-mnt/goosefs/default/hbase\"]",
              Cluster::Dump(json_object_get(first(spec, "containers"), "command")));
    EXPECT_EQ("{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},"
              "\"runAsGroup\":64532,\"runAsNonRoot\":true,\"runAsUser\":64532,"
              "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}",
              Cluster::Dump(security));
    EXPECT_TRUE(has(c.Text("DaemonSet"), "\"mountPropagation\":\"HostToContainer\""));
    EXPECT_TRUE(has(c.Text("DaemonSet"), "\"priorityClassName\":\"system-node-critical\""));
    // The configuration is there before the launcher, put by who may write kubelet's directory.
    EXPECT_TRUE(has(Cluster::Dump(first(spec, "initContainers")), "conf/goosefs-site.properties"));
    EXPECT_TRUE(has(Cluster::Dump(first(spec, "initContainers")), "\"runAsUser\":0"));
}

TEST(KubernetesPods, InLaunchModeProcessThePodOnlyBringsTheConfiguration)
{
    Cluster c("", "");

    EXPECT_EQ(nullptr, json_object_get(c.Spec("DaemonSet"), "initContainers"));
    EXPECT_FALSE(has(c.Text("DaemonSet"), "launcher"));
    EXPECT_FALSE(has(c.Text("DaemonSet"), "privileged"));
}

// The client's pod and the keeper's have the directory under the same name; the client's group may
// connect.
TEST(KubernetesPods, TheWorkersSocketLiesWhereClientsOfTheNodeFindIt)
{
    Cluster c("", "");
    std::string worker = c.Text("ReplicaSet");

    EXPECT_TRUE(has(worker, "{\"mountPath\":\"/runtime-mnt/goosefs/default/hbase/worker\",\"name\":"
                            "\"socket\"}"));
    EXPECT_TRUE(has(worker, "{\"hostPath\":{\"path\":\"/runtime-mnt/goosefs/default/hbase/worker\","
                            "\"type\":\"DirectoryOrCreate\"},\"name\":\"socket\"}"));
    EXPECT_TRUE(has(worker, "\"runAsGroup\":64532"));

    for (size_t i = 0; i < c.objects.n; i++) {
        if (std::strcmp(c.objects.items[i].resource->kind, "ConfigMap") == 0) {
            EXPECT_TRUE(has(Cluster::Dump(c.objects.items[i].json),
                            "domain.socket.address=/runtime-mnt/goosefs/default/hbase/worker/"
                            "data.sock"));
        }
    }
}

TEST(KubernetesPods, ASocketOfTheUsersOwnNeedsNoDirectoryOfOurs)
{
    Cluster c("", " properties: {goosefs.worker.data.server.domain.socket.address: /mnt/x.sock}\n");

    EXPECT_FALSE(has(c.Text("ReplicaSet"), "\"socket\""));
}

TEST(KubernetesPods, WorkersAreKnownByTheirPodAndReachedAtItsAddress)
{
    std::string worker = Cluster("", "").Text("ReplicaSet");

    EXPECT_TRUE(has(worker, "{\"name\":\"GOOSEFS_WORKER_HOSTNAME\",\"valueFrom\":{\"fieldRef\":{"
                            "\"fieldPath\":\"metadata.name\"}}}"));
    EXPECT_TRUE(has(worker, "{\"name\":\"GOOSEFS_WORKER_CONTAINER_HOSTNAME\",\"valueFrom\":{"
                            "\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}}"));
}

const char kSecrets[] = "     options: {plain: value, both: plain}\n"
                        "     encryptOptions:\n"
                        "       - {name: both, valueFrom: {secretKeyRef: {name: web, key: user}}}\n"
                        "       - {name: pass, valueFrom: {secretKeyRef: {name: web, key: pass}}}\n"
                        "       - {name: more, valueFrom: {secretKeyRef: {name: other, key: x}}}\n"
                        " sharedEncryptOptions:\n"
                        "   - {name: pass, valueFrom: {secretKeyRef: {name: shared, key: p}}}\n";

TEST(KubernetesPods, SecretsAreFilesOfMastersAndWorkersOnly)
{
    Cluster c(kSecrets, "");

    for (const char *kind : {"StatefulSet", "ReplicaSet"}) {
        std::string text = c.Text(kind);

        EXPECT_TRUE(has(text, "\"items\":[{\"key\":\"user\",\"path\":\"user\"},{\"key\":\"pass\","
                              "\"path\":\"pass\"}],\"secretName\":\"web\""))
            << text;
        EXPECT_TRUE(has(text, "{\"mountPath\":\"/etc/fluid/secrets/web\",\"name\":\"secret-"));
        EXPECT_TRUE(has(text, "\"secretName\":\"other\""));
        EXPECT_TRUE(has(text, "\"secretName\":\"shared\""));
        EXPECT_TRUE(has(text, "\"defaultMode\":256")); // 0400
    }
    EXPECT_FALSE(has(c.Text("DaemonSet"), "secret"));
    // Neither name nor value of an option is anywhere but in the Dataset and in the masters.
    for (size_t i = 0; i < c.objects.n; i++) {
        EXPECT_FALSE(has(Cluster::Dump(c.objects.items[i].json), "\"both\""));
    }
    EXPECT_STREQ("web/user", gfs_kvs_get(&c.dataset.ptr->dataset->mounts[0].secrets, "both"));
    EXPECT_STREQ("web/pass", gfs_kvs_get(&c.dataset.ptr->dataset->mounts[0].secrets, "pass"));
}

TEST(KubernetesPods, TheVolumeIsForNodesWhereCacheAndClientsMayBe)
{
    const char affinity[] =
        " nodeAffinity:\n   required:\n     nodeSelectorTerms:\n"
        "       - matchExpressions: [{key: hbase-cache, operator: In, values: [\"true\"]}]\n"
        "       - matchExpressions: [{key: zone, operator: Exists}]\n";

    EXPECT_FALSE(has(Cluster("", "").Pv(), "nodeAffinity"));
    EXPECT_TRUE(
        has(Cluster(affinity, "").Pv(),
            "\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{"
            "\"key\":\"hbase-cache\",\"operator\":\"In\",\"values\":[\"true\"]}]},{"
            "\"matchExpressions\":[{\"key\":\"zone\",\"operator\":\"Exists\"}]}]}}"));
    EXPECT_TRUE(has(Cluster("", " fuse: {nodeSelector: {kubernetes.io/hostname: n2}}\n").Pv(),
                    "\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":"
                    "\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"n2\"]}]}]"));

    // Clients said to be everywhere: so is the volume (T13 of fluid.md).
    EXPECT_FALSE(has(Cluster(affinity, " fuse: {global: true}\n").Pv(), "nodeAffinity"));
    EXPECT_TRUE(has(Cluster(affinity, " fuse: {global: false}\n").Pv(), "hbase-cache"));

    // Terms are alternatives: each carries the selector, and the data set's object stays as it is.
    Cluster both(affinity, " fuse: {nodeSelector: {disk: ssd}}\n");
    std::string pv = both.Pv();

    EXPECT_TRUE(has(pv, "{\"key\":\"zone\",\"operator\":\"Exists\"},{\"key\":\"disk\""));
    EXPECT_TRUE(has(pv, "\"values\":[\"true\"]},{\"key\":\"disk\""));
    EXPECT_FALSE(has(Cluster::Dump(both.dataset_json), "disk"));
}

TEST(KubernetesPods, PlacementKeepsDataSetsApartOrLetsThemShare)
{
    std::string exclusive = Cluster("", "").Text("ReplicaSet");
    std::string shared = Cluster(" placement: Shared\n", "").Text("ReplicaSet");

    EXPECT_TRUE(has(exclusive, "{\"key\":\"fluid.io/dataset\",\"operator\":\"Exists\"}"));
    EXPECT_FALSE(has(exclusive, "fluid.io/dataset-placement\",\"operator\""));
    EXPECT_TRUE(has(shared,
                    "{\"key\":\"fluid.io/dataset-placement\",\"operator\":\"In\",\"values\":"
                    "[\"Exclusive\"]}"));
    // Elsewhere if there is room.
    EXPECT_TRUE(has(shared, "\"weight\":50"));
    // Where a client is already.
    EXPECT_TRUE(has(exclusive,
                    "{\"key\":\"fluid.io/f-default-hbase\",\"operator\":\"In\",\"values\":"
                    "[\"true\"]}"));
}

TEST(KubernetesPods, TolerationsOfTheDataSetAreItsPods)
{
    Cluster c(" tolerations: [{key: hbase, operator: Equal, value: \"true\"}]\n", "");
    const char wanted[] = "\"tolerations\":[{\"key\":\"hbase\",\"operator\":\"Equal\",\"value\":"
                          "\"true\"}]";

    EXPECT_TRUE(has(c.Text("StatefulSet"), wanted));
    EXPECT_TRUE(has(c.Text("ReplicaSet"), wanted));
    EXPECT_TRUE(has(c.Text("DaemonSet"), "\"tolerations\":[{\"operator\":\"Exists\"}]"));
}

TEST(KubernetesPods, ImagesArePulledWithTheClustersSecrets)
{
    const char wanted[] = "\"imagePullSecrets\":[{\"name\":\"a\"},{\"name\":\"b\"}]";
    Cluster c("", "", false, "a, b");

    for (const char *kind : {"StatefulSet", "ReplicaSet", "DaemonSet"}) {
        EXPECT_TRUE(has(c.Text(kind), wanted)) << kind;
        EXPECT_FALSE(has(Cluster("", "").Text(kind), "imagePullSecrets")) << kind;
    }
}

TEST(KubernetesPods, AnnotationsOfAComponentAreItsPodsAndOursStay)
{
    Cluster c("",
              " worker: {annotations: {example.com/a: b, sidecar.istio.io/inject: \"true\"}}\n");
    std::string notes = Cluster::Dump(c.Template("ReplicaSet"));

    EXPECT_TRUE(has(notes, "\"example.com/a\":\"b\""));
    EXPECT_FALSE(has(notes, "\"sidecar.istio.io/inject\":\"true\""));
    EXPECT_FALSE(has(Cluster::Dump(c.Template("StatefulSet")), "example.com"));
}

TEST(KubernetesPods, AnyChangeOfATemplateIsAnotherRevision)
{
    auto revision = [](const Cluster &c) {
        for (size_t i = 0; i < c.objects.n; i++) {
            if (std::strcmp(c.objects.items[i].resource->kind, "ReplicaSet") == 0) {
                return Cluster::Dump(gfs_kube_at(c.objects.items[i].json, "spec", "template",
                                                 "metadata", "annotations",
                                                 "goosefs.data.fluid.io/revision", nullptr));
            }
        }
        return std::string();
    };
    std::string before = revision(Cluster("", ""));

    EXPECT_EQ(18u, before.size());
    EXPECT_EQ(before, revision(Cluster("", "")));
    EXPECT_NE(before, revision(Cluster("", " goosefsVersion: {image: other, imageTag: v2}\n")));
    EXPECT_NE(before, revision(Cluster("", " properties: {goosefs.worker.heartbeat: 2s}\n")));
    EXPECT_NE(before, revision(Cluster(kSecrets, "")));
    EXPECT_EQ(before, revision(Cluster("", " fuse: {global: false}\n")));
}

} // namespace
