#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "request_priv.h"

namespace
{

const struct gfsi_request_rules kRules = {"/var/lib/kubelet", "/runtime-mnt",
                                          GFS_CSI_CLEAN_ON_RUNTIME_DELETED, nullptr, nullptr};
const char kStaging[] = "/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount";
const char kTarget[] = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv/mount";
const char kFluidPath[] = "/runtime-mnt/goosefs/default/hbase/goosefs-fuse";

using Pairs = std::vector<std::pair<std::string, std::string>>;

// A message with all that is required; tests take away or change.
template <typename Entry> struct Map {
    std::vector<Entry> entries;
    std::vector<Entry *> list;

    void fill(const Pairs &pairs, const ProtobufCMessageDescriptor *descriptor)
    {
        entries.resize(pairs.size());
        list.clear();
        for (size_t i = 0; i < pairs.size(); i++) {
            protobuf_c_message_init(descriptor, &entries[i].base);
            entries[i].key = const_cast<char *>(pairs[i].first.c_str());
            entries[i].value = const_cast<char *>(pairs[i].second.c_str());
            list.push_back(&entries[i]);
        }
    }
};

struct Message {
    std::string id = "default-hbase", staging = kStaging, target = kTarget;
    Pairs context = {{"fluid_path", kFluidPath}, {"mount_type", "fuse.goosefs-fuse"}};
    Pairs publish_context, secrets;
    std::vector<std::string> flags;
    std::string fs_type, group;
    int mode = 5;
    bool has_capability = true, has_mode = true, has_type = true, block = false, readonly = false;

    Csi__V1__VolumeCapability capability;
    Csi__V1__VolumeCapability__MountVolume mount;
    Csi__V1__VolumeCapability__BlockVolume block_volume;
    Csi__V1__VolumeCapability__AccessMode access_mode;
    std::vector<char *> flag_list;
    std::unique_ptr<struct gfsi_request> out{new struct gfsi_request};
    struct gfs_err err = GFS_ERR_INIT;

    Csi__V1__VolumeCapability *build()
    {
        if (!has_capability) {
            return nullptr;
        }
        csi__v1__volume_capability__init(&capability);
        csi__v1__volume_capability__mount_volume__init(&mount);
        csi__v1__volume_capability__block_volume__init(&block_volume);
        csi__v1__volume_capability__access_mode__init(&access_mode);
        flag_list.clear();
        for (auto &f : flags) {
            flag_list.push_back(const_cast<char *>(f.c_str()));
        }
        mount.n_mount_flags = flag_list.size();
        mount.mount_flags = flag_list.data();
        mount.fs_type = const_cast<char *>(fs_type.c_str());
        mount.volume_mount_group = const_cast<char *>(group.c_str());
        access_mode.mode = static_cast<Csi__V1__VolumeCapability__AccessMode__Mode>(mode);
        capability.access_mode = has_mode ? &access_mode : nullptr;
        if (has_type && block) {
            capability.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK;
            capability.block = &block_volume;
        } else if (has_type) {
            capability.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
            capability.mount = &mount;
        }
        return &capability;
    }
    int stage()
    {
        Csi__V1__NodeStageVolumeRequest m = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
        Map<Csi__V1__NodeStageVolumeRequest__VolumeContextEntry> c;
        Map<Csi__V1__NodeStageVolumeRequest__PublishContextEntry> p;
        Map<Csi__V1__NodeStageVolumeRequest__SecretsEntry> s;
        c.fill(context, &csi__v1__node_stage_volume_request__volume_context_entry__descriptor);
        p.fill(publish_context,
               &csi__v1__node_stage_volume_request__publish_context_entry__descriptor);
        s.fill(secrets, &csi__v1__node_stage_volume_request__secrets_entry__descriptor);
        m.volume_id = const_cast<char *>(id.c_str());
        m.staging_target_path = const_cast<char *>(staging.c_str());
        m.volume_capability = build();
        m.n_volume_context = c.list.size();
        m.volume_context = c.list.data();
        m.n_publish_context = p.list.size();
        m.publish_context = p.list.data();
        m.n_secrets = s.list.size();
        m.secrets = s.list.data();
        err = GFS_ERR_INIT;
        return gfsi_request_stage(&m, &kRules, out.get(), &err);
    }
    int publish()
    {
        Csi__V1__NodePublishVolumeRequest m = CSI__V1__NODE_PUBLISH_VOLUME_REQUEST__INIT;
        Map<Csi__V1__NodePublishVolumeRequest__VolumeContextEntry> c;
        Map<Csi__V1__NodePublishVolumeRequest__PublishContextEntry> p;
        Map<Csi__V1__NodePublishVolumeRequest__SecretsEntry> s;
        c.fill(context, &csi__v1__node_publish_volume_request__volume_context_entry__descriptor);
        p.fill(publish_context,
               &csi__v1__node_publish_volume_request__publish_context_entry__descriptor);
        s.fill(secrets, &csi__v1__node_publish_volume_request__secrets_entry__descriptor);
        m.volume_id = const_cast<char *>(id.c_str());
        m.staging_target_path = const_cast<char *>(staging.c_str());
        m.target_path = const_cast<char *>(target.c_str());
        m.readonly = readonly;
        m.volume_capability = build();
        m.n_volume_context = c.list.size();
        m.volume_context = c.list.data();
        m.n_publish_context = p.list.size();
        m.publish_context = p.list.data();
        m.n_secrets = s.list.size();
        m.secrets = s.list.data();
        err = GFS_ERR_INIT;
        return gfsi_request_publish(&m, &kRules, out.get(), &err);
    }
};

TEST(RequestTest, ACompleteRequestIsAccepted)
{
    Message m;
    ASSERT_EQ(m.stage(), 0) << m.err.text;
    EXPECT_STREQ(m.out->path, kStaging);
    EXPECT_STREQ(m.out->attrs.fluid_path, kFluidPath);
    ASSERT_EQ(m.publish(), 0) << m.err.text;
    EXPECT_STREQ(m.out->path, kTarget);
    EXPECT_STREQ(m.out->staging, kStaging);
}

struct Row {
    const char *what;
    void (*change)(Message &m);
    int stage, publish;
};

const Row kRows[] = {
    {"no volume id", [](Message &m) { m.id = ""; }, GFS_EINVAL, GFS_EINVAL},
    {"volume id of 128 bytes", [](Message &m) { m.id = std::string(128, 'v'); }, 0, 0},
    {"volume id of 129 bytes", [](Message &m) { m.id = std::string(129, 'v'); }, GFS_EINVAL,
     GFS_EINVAL},
    {"volume id that is no UTF-8", [](Message &m) { m.id = "a\xff"; }, GFS_EINVAL, GFS_EINVAL},
    {"volume id with a newline", [](Message &m) { m.id = "a\nb"; }, GFS_EINVAL, GFS_EINVAL},
    {"volume id that looks like a path", [](Message &m) { m.id = "../../etc"; }, 0, 0},
    {"no staging path", [](Message &m) { m.staging = ""; }, GFS_EINVAL, GFS_EPRECONDITION},
    {"no target path", [](Message &m) { m.target = ""; }, 0, GFS_EINVAL},
    {"target outside the kubelet root", [](Message &m) { m.target = "/etc/x"; }, 0, GFS_EINVAL},
    {"target is the kubelet root", [](Message &m) { m.target = "/var/lib/kubelet"; }, 0,
     GFS_EINVAL},
    {"target only looks like below the root", [](Message &m) { m.target = "/var/lib/kubelet2/x"; },
     0, GFS_EINVAL},
    {"relative target", [](Message &m) { m.target = "some/path"; }, 0, GFS_EINVAL},
    {"target with ..", [](Message &m) { m.target = "/var/lib/kubelet/pods/../../x"; }, 0,
     GFS_EINVAL},
    {"target with a final slash", [](Message &m) { m.target = std::string(kTarget) + "/"; }, 0,
     GFS_EINVAL},
    {"target over 4 KiB",
     [](Message &m) { m.target = "/var/lib/kubelet/" + std::string(4096, 'x'); }, 0, GFS_EINVAL},
    {"staging path with ..", [](Message &m) { m.staging = "/var/lib/kubelet/../x"; }, GFS_EINVAL,
     GFS_EINVAL},
    {"no capability", [](Message &m) { m.has_capability = false; }, GFS_EINVAL, GFS_EINVAL},
    {"no access mode", [](Message &m) { m.has_mode = false; }, GFS_EINVAL, GFS_EINVAL},
    {"no access type", [](Message &m) { m.has_type = false; }, GFS_EINVAL, GFS_EINVAL},
    {"unknown access mode", [](Message &m) { m.mode = 0; }, GFS_EINVAL, GFS_EINVAL},
    {"an access mode of the future", [](Message &m) { m.mode = 99; }, GFS_EPRECONDITION,
     GFS_EPRECONDITION},
    {"block volume", [](Message &m) { m.block = true; }, GFS_EPRECONDITION, GFS_EPRECONDITION},
    {"file system type of the mount", [](Message &m) { m.fs_type = "fuse.goosefs-fuse"; }, 0, 0},
    {"another file system type", [](Message &m) { m.fs_type = "ext4"; }, GFS_EINVAL, GFS_EINVAL},
    {"group that is no number", [](Message &m) { m.group = "staff"; }, GFS_EINVAL, GFS_EINVAL},
    {"allowed flags",
     [](Message &m) {
         m.flags = {"ro", "noexec", "noatime"};
     },
     0, 0},
    {"suid", [](Message &m) { m.flags = {"suid"}; }, GFS_EINVAL, GFS_EINVAL},
    {"two flags in one", [](Message &m) { m.flags = {"ro,suid"}; }, GFS_EINVAL, GFS_EINVAL},
    {"65 flags", [](Message &m) { m.flags.assign(65, "ro"); }, GFS_EINVAL, GFS_EINVAL},
    {"no fluid_path",
     [](Message &m) {
         m.context = {{"mount_type", "fuse.x"}};
     },
     GFS_EINVAL, GFS_EINVAL},
    {"fluid_path elsewhere", [](Message &m) { m.context[0].second = "/etc"; }, GFS_EINVAL,
     GFS_EINVAL},
    {"fluid_path with ..", [](Message &m) { m.context[0].second = "/runtime-mnt/../etc"; },
     GFS_EINVAL, GFS_EINVAL},
    {"sub path",
     [](Message &m) {
         m.context.push_back({"fluid_sub_path", "/a//b/"});
     },
     0, 0},
    {"sub path with ..",
     [](Message &m) {
         m.context.push_back({"fluid_sub_path", "a/../b"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"mount type with a blank", [](Message &m) { m.context[1].second = "fuse x"; }, GFS_EINVAL,
     GFS_EINVAL},
    {"publish method",
     [](Message &m) {
         m.context.push_back({"node_publish_method", "hard"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"foreign label",
     [](Message &m) {
         m.context.push_back({"mount_pod_node_selector_key", "node-role.kubernetes.io/master"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"fluid's label",
     [](Message &m) {
         m.context.push_back({"mount_pod_node_selector_key", "fluid.io/f-a-b"});
     },
     0, 0},
    {"skip check",
     [](Message &m) {
         m.context.push_back({"fluid.io/skip-check-mount-ready-target", "MountPod,Sidecar"});
     },
     0, 0},
    {"bad skip check",
     [](Message &m) {
         m.context.push_back({"fluid.io/skip-check-mount-ready-target", "mountpod"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"clean policy",
     [](Message &m) {
         m.context.push_back({"fuse_clean_policy", "Never"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"EFC",
     [](Message &m) {
         m.context.push_back({"efc_sessmgr_workdir", "/x"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"an attribute of the future",
     [](Message &m) {
         m.context.push_back({"new_thing", "1"});
     },
     0, 0},
    {"a key twice",
     [](Message &m) {
         m.context.push_back({"mount_type", "fuse.y"});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"context over 4 KiB",
     [](Message &m) {
         m.context.push_back({"x", std::string(4096, 'y')});
     },
     GFS_EINVAL, GFS_EINVAL},
    {"129 entries",
     [](Message &m) {
         for (int i = 0; i < 127; i++) {
             m.context.push_back({"k" + std::to_string(i), ""});
         }
     },
     GFS_EINVAL, GFS_EINVAL},
    {"kubelet's long tokens",
     [](Message &m) {
         m.context.push_back({"csi.storage.k8s.io/serviceAccount.tokens", std::string(8000, 't')});
     },
     0, 0},
    {"129 secrets",
     [](Message &m) {
         for (int i = 0; i < 129; i++) {
             m.secrets.push_back({"k" + std::to_string(i), ""});
         }
     },
     GFS_EINVAL, GFS_EINVAL},
};

TEST(RequestTest, EveryRowOfTheTable)
{
    for (const Row &row : kRows) {
        Message m;
        row.change(m);
        EXPECT_EQ(m.stage(), row.stage) << "stage: " << row.what << ": " << m.err.text;
        EXPECT_EQ(m.err.text[0] == '\0', row.stage == 0) << row.what;
        EXPECT_EQ(m.publish(), row.publish) << "publish: " << row.what << ": " << m.err.text;
        EXPECT_EQ(m.err.text[0] == '\0', row.publish == 0) << row.what;
    }
}

TEST(RequestTest, ErrorsNeverQuoteFlagsOrAttributeValues)
{
    Message m;
    m.flags = {"password=hunter2"};
    EXPECT_EQ(m.stage(), GFS_EINVAL);
    EXPECT_EQ(strstr(m.err.text, "hunter2"), nullptr);
    m = Message();
    m.context.push_back({"node_publish_method", "hunter2"});
    EXPECT_EQ(m.stage(), GFS_EINVAL);
    EXPECT_EQ(strstr(m.err.text, "hunter2"), nullptr);
}

TEST(RequestTest, ReadOnlyComesFromFlagModeOrMountFlag)
{
    for (int mode = 1; mode <= 7; mode++) {
        Message m;
        m.mode = mode;
        ASSERT_EQ(m.publish(), 0);
        EXPECT_EQ(m.out->read_only, mode == 2 || mode == 3) << mode;
        m.readonly = true;
        ASSERT_EQ(m.publish(), 0);
        EXPECT_TRUE(m.out->read_only);
        m.readonly = false;
        m.flags = {"ro"};
        ASSERT_EQ(m.publish(), 0);
        EXPECT_TRUE(m.out->read_only);
    }
}

// P of the second-publish table: all arguments but secrets, and without what kubelet changes
// between two calls.
TEST(RequestTest, DigestCoversWhatCountsAndNothingElse)
{
    Message base;
    ASSERT_EQ(base.publish(), 0);
    std::string digest = base.out->digest, capability = base.out->capability;

    const struct {
        const char *what;
        void (*change)(Message &m);
        bool same, same_capability;
    } rows[] = {
        {"nothing", [](Message &) {}, true, true},
        {"order of attributes", [](Message &m) { std::swap(m.context[0], m.context[1]); }, true,
         true},
        {"secrets",
         [](Message &m) {
             m.secrets = {{"k", "v"}};
         },
         true, true},
        {"pod info",
         [](Message &m) {
             m.context.push_back({"csi.storage.k8s.io/pod.name", "x"});
         },
         true, true},
        {"an attribute",
         [](Message &m) {
             m.context.push_back({"x", "y"});
         },
         false, true},
        {"publish context",
         [](Message &m) {
             m.publish_context = {{"x", "y"}};
         },
         false, true},
        {"read-only", [](Message &m) { m.readonly = true; }, false, true},
        {"mode", [](Message &m) { m.mode = 3; }, false, false},
        {"flags", [](Message &m) { m.flags = {"noexec"}; }, false, false},
        {"group", [](Message &m) { m.group = "1000"; }, false, true},
        {"staging path", [](Message &m) { m.staging += "2"; }, false, true},
    };
    for (const auto &row : rows) {
        Message m;
        row.change(m);
        ASSERT_EQ(m.publish(), 0) << row.what << m.err.text;
        EXPECT_EQ(digest == m.out->digest, row.same) << row.what;
        EXPECT_EQ(capability == m.out->capability, row.same_capability) << row.what;
    }

    Message a, b;
    a.flags = {"noexec", "noatime"};
    b.flags = {"noatime", "noexec"};
    ASSERT_EQ(a.publish(), 0);
    ASSERT_EQ(b.publish(), 0);
    EXPECT_STREQ(a.out->digest, b.out->digest) << "flags are a set";
}

TEST(RequestTest, InlineVolumesAreHeldToTheirNamespace)
{
    Message m;
    m.staging = "";
    m.context.push_back({"csi.storage.k8s.io/ephemeral", "true"});
    EXPECT_EQ(m.publish(), GFS_EINVAL) << "no pod namespace";
    m.context.push_back({"csi.storage.k8s.io/pod.namespace", "default"});
    ASSERT_EQ(m.publish(), 0) << m.err.text;
    EXPECT_TRUE(m.out->attrs.ephemeral);

    m.context.back().second = "other";
    EXPECT_EQ(m.publish(), GFS_EINVAL) << "another namespace's dataset";
    m.context.back().second = "default";
    m.context.push_back({"node_publish_method", "symlink"});
    EXPECT_EQ(m.publish(), GFS_EINVAL) << "not for a pod's author to say";
    m.context.back() = {"anything", "else"};
    EXPECT_EQ(m.publish(), GFS_EINVAL);
}

TEST(RequestTest, LabelFollowsTheRuntime)
{
    Message m;
    m.context.push_back({"runtime_namespace", "ns"});
    m.context.push_back({"runtime_name", "name"});
    ASSERT_EQ(m.stage(), 0);
    EXPECT_STREQ(m.out->attrs.label_key, "fluid.io/f-ns-name");
}

TEST(RequestTest, SecretsAreWipedInPlace)
{
    Csi__V1__NodeStageVolumeRequest m = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
    Csi__V1__NodeStageVolumeRequest__SecretsEntry e =
        CSI__V1__NODE_STAGE_VOLUME_REQUEST__SECRETS_ENTRY__INIT;
    Csi__V1__NodeStageVolumeRequest__SecretsEntry *list[] = {&e};
    char key[] = "k", value[] = "hunter2";
    e.key = key;
    e.value = value;
    m.n_secrets = 1;
    m.secrets = list;
    gfsi_request_wipe_stage(&m);
    for (char c : value) {
        EXPECT_EQ(c, 0);
    }
}

TEST(RequestTest, StatsWantsAnIdAndAPathOnly)
{
    struct gfs_err err = GFS_ERR_INIT;
    Csi__V1__NodeGetVolumeStatsRequest m = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
    char id[] = "v", path[] = "some/path", none[] = "";
    EXPECT_EQ(gfsi_request_stats(&m, &err), GFS_EINVAL);
    m.volume_id = id;
    EXPECT_EQ(gfsi_request_stats(&m, &err), GFS_EINVAL);
    m.volume_path = path;
    EXPECT_EQ(gfsi_request_stats(&m, &err), 0);
    m.volume_id = none;
    EXPECT_EQ(gfsi_request_stats(&m, &err), GFS_EINVAL);
}

} // namespace
