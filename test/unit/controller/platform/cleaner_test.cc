// What a runtime leaves on nodes is named exactly, and removed by a real shell.
#include "unit/controller/fixture.h"

#include <cstring>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include "platform/kubernetes/cleanup.h"
#include "platform/kubernetes/kube_priv.h"
}

namespace
{

const char kRuntime[] = "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\n"
                        "metadata: {name: hbase}\nspec:\n  replicas: 1\n";
const char kTiers[] = "  tieredstore:\n    levels:\n"
                      "      - {mediumtype: MEM, path: /dev/shm, quota: 1G}\n"
                      "      - {mediumtype: SSD, path: '/mnt/a,/mnt/b', quota: 2G}\n";

struct Runtime {
    Object parsed;
    json_t *json;

    explicit Runtime(const std::string &more)
        : parsed(kRuntime + more), json(json_loads(parsed.ptr->json, 0, nullptr))
    {
        json_object_set_new(json_object_get(json, "metadata"), "uid", json_string("uid-1"));
    }
    ~Runtime()
    {
        json_decref(json);
    }
    Runtime(const Runtime &) = delete;
    Runtime &operator=(const Runtime &) = delete;

    json_t *Cleaner(const char *letters, const char *root = "/runtime-mnt") const
    {
        gfsi_kube_place place = {};

        place.image = "image";
        place.mount_root = root;
        place.journal_root = "/var/lib/goosefs";
        return gfsi_kube_cleaner(json, parsed.ptr, "node-1", letters, &place);
    }

    // "ROOT BELOW" of each directory that goes.
    std::string Directories(const char *letters) const
    {
        json_t *pod = Cleaner(letters);
        const json_t *spec = json_object_get(pod, "spec");
        const json_t *args =
            json_object_get(json_array_get(json_object_get(spec, "containers"), 0), "args");
        std::string out;

        for (size_t i = 0; i < json_array_size(args); i++) {
            std::string arg = json_string_value(json_array_get(args, i));
            std::string at = "/node/" + std::to_string(i) + "/";

            EXPECT_EQ(0u, arg.find(at)) << arg;
            out += std::string(json_string_value(
                       gfs_kube_at(json_array_get(json_object_get(spec, "volumes"), i), "hostPath",
                                   "path", nullptr))) +
                   " " + arg.substr(at.size()) + "\n";
        }
        json_decref(pod);
        return out;
    }
};

TEST(Cleaner, TakesWhatThePodsOfThatNodeHad)
{
    Runtime r(kTiers);

    EXPECT_EQ("/var/lib/goosefs default/hbase/uid-1\n", r.Directories("m"));
    EXPECT_EQ("/dev/shm default/hbase/uid-1\n/mnt/a default/hbase/uid-1\n"
              "/mnt/b default/hbase/uid-1\n/runtime-mnt goosefs/default/hbase\n",
              r.Directories("w"));
    EXPECT_EQ("/runtime-mnt goosefs/default/hbase\n", r.Directories("f"));
    EXPECT_EQ("/runtime-mnt goosefs/default/hbase\n",
              Runtime("  tieredstore: {levels: [{mediumtype: MEM, path: /dev/shm, quota: 1G, "
                      "volumeType: emptyDir}]}\n")
                  .Directories("w"));
    EXPECT_EQ(
        "/data default/hbase/uid-1\n",
        Runtime("  master: {journal: {volumeType: hostPath, path: /data}}\n").Directories("m"));
}

TEST(Cleaner, JournalsThatAreNotOnTheNodeLeaveNothingThere)
{
    EXPECT_EQ('m', gfsi_kube_leaves(Runtime("").json, GFS_ROLE_MASTER));
    EXPECT_EQ(0, gfsi_kube_leaves(Runtime("  master: {journal: {storageClass: fast}}\n").json,
                                  GFS_ROLE_MASTER));
    EXPECT_EQ(0, gfsi_kube_leaves(Runtime("  master: {journal: {volumeType: emptyDir}}\n").json,
                                  GFS_ROLE_MASTER));
    EXPECT_EQ('w', gfsi_kube_leaves(Runtime("").json, GFS_ROLE_WORKER));
    EXPECT_EQ('f', gfsi_kube_leaves(Runtime("").json, GFS_ROLE_FUSE));
}

TEST(Cleaner, GoesToItsNodePastTaintsAndEnds)
{
    Runtime r("  cleanCachePolicy: {gracePeriodSeconds: 10, maxRetryAttempts: 2}\n");
    json_t *pod = r.Cleaner("f");
    const json_t *spec = json_object_get(pod, "spec");

    EXPECT_STREQ("node-1", json_string_value(json_object_get(spec, "nodeName")));
    EXPECT_EQ(20, json_integer_value(json_object_get(spec, "activeDeadlineSeconds")));
    EXPECT_STREQ("OnFailure", json_string_value(json_object_get(spec, "restartPolicy")));
    EXPECT_STREQ("goosefs-clean", gfsi_kube_meta(pod, "labels", "role"));
    EXPECT_EQ(180, gfsi_kube_clean_seconds(Runtime("").json));
    json_decref(pod);
}

TEST(Cleaner, TheListOfNodesSurvivesItsText)
{
    json_t *nodes = gfsi_kube_nodes_parse("n1=mwf,n2.example=w,,=x,broken,n3=");
    char *text = gfsi_kube_nodes_print(nodes);

    EXPECT_STREQ("n1=mwf,n2.example=w", text);
    std::free(text);
    json_decref(nodes);

    // Whatever comes first, the same places are the same text.
    nodes = gfsi_kube_nodes_parse("n2=fw");
    EXPECT_FALSE(gfsi_kube_nodes_add(nodes, "n2", 'f'));
    EXPECT_TRUE(gfsi_kube_nodes_add(nodes, "n2", 'm'));
    EXPECT_TRUE(gfsi_kube_nodes_add(nodes, "n1", 'w'));
    text = gfsi_kube_nodes_print(nodes);
    EXPECT_STREQ("n1=w,n2=mwf", text);
    std::free(text);
    json_decref(nodes);

    nodes = gfsi_kube_nodes_parse("");
    text = gfsi_kube_nodes_print(nodes);
    EXPECT_STREQ("", text);
    std::free(text);
    for (int i = 0; i < 40000; i++) {
        json_object_set_new(nodes, ("node-" + std::to_string(i)).c_str(), json_string("w"));
    }
    EXPECT_EQ(nullptr, gfsi_kube_nodes_print(nodes));
    json_decref(nodes);
}

// Runs the pod's own command on directories of this machine.
int run(const json_t *pod, const std::vector<std::string> &dirs)
{
    const json_t *c = json_array_get(gfs_kube_at(pod, "spec", "containers", nullptr), 0);
    const json_t *command = json_object_get(c, "command");
    std::vector<char *> argv;

    for (size_t i = 0; i < json_array_size(command); i++) {
        argv.push_back(const_cast<char *>(json_string_value(json_array_get(command, i))));
    }
    for (const std::string &dir : dirs) {
        argv.push_back(const_cast<char *>(dir.c_str()));
    }
    argv.push_back(nullptr);

    pid_t pid = fork();

    if (pid == 0) {
        execvp(argv[0], argv.data());
        _exit(127);
    }

    int status = 0;

    EXPECT_EQ(pid, waitpid(pid, &status, 0));
    return WEXITSTATUS(status);
}

void make(const std::string &path)
{
    for (size_t at = path.find('/', 5); at != std::string::npos; at = path.find('/', at + 1)) {
        mkdir(path.substr(0, at).c_str(), 0755);
    }
    ASSERT_EQ(0, mkdir(path.c_str(), 0755)) << path;
}

bool exists(const std::string &path)
{
    return access(path.c_str(), F_OK) == 0;
}

TEST(Cleaner, RemovesItsDirectoriesAndEmptyParentsOnly)
{
    char root[] = "/tmp/gfs-cleaner-XXXXXX";
    Runtime r("");
    json_t *pod = r.Cleaner("f");

    ASSERT_NE(nullptr, mkdtemp(root));
    std::string base = root;

    make(base + "/a/default/hbase/uid-1/goosefsworker/7");
    std::ofstream(base + "/a/default/hbase/uid-1/goosefsworker/7/block") << "x";
    make(base + "/b/default/hbase/uid-1");
    make(base + "/b/default/hbase/uid-2");
    make(base + "/c/default/spark");
    EXPECT_EQ(0, run(pod, {base + "/a/default/hbase/uid-1", base + "/b/default/hbase/uid-1",
                           base + "/c/default/hbase/uid-1"}));
    EXPECT_FALSE(exists(base + "/a/default"));
    EXPECT_TRUE(exists(base + "/a"));
    EXPECT_TRUE(exists(base + "/b/default/hbase/uid-2"));
    EXPECT_FALSE(exists(base + "/b/default/hbase/uid-1"));
    EXPECT_TRUE(exists(base + "/c/default/spark"));
    for (const char *dir : {"/a", "/b/default/hbase/uid-2", "/b/default/hbase", "/b/default", "/b",
                            "/c/default/spark", "/c/default", "/c", ""}) {
        EXPECT_EQ(0, rmdir((base + dir).c_str())) << dir;
    }
    json_decref(pod);
}

} // namespace
