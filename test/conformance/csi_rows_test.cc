// Reference rows of csi-sanity's Identity and Node services, the specification's second-publish
// table, and tenfold repetition, with real sockets and real binds.
#include <grp.h>

#include "csi_fixture.h"

namespace csi
{

class Rows : public Fixture
{
  protected:
    void SetUp() override
    {
        Fixture::SetUp();
        if (!IsSkipped()) {
            mount_tmpfs(fluid_path);
            start_plugin();
        }
    }
    bool has_capability(int type)
    {
        Csi__V1__NodeGetCapabilitiesRequest m = CSI__V1__NODE_GET_CAPABILITIES_REQUEST__INIT;
        ProtobufCMessage *out = nullptr;
        EXPECT_EQ(client->call(&csi__v1__node__descriptor, "NodeGetCapabilities", &m.base, &out),
                  OK);
        auto *r = reinterpret_cast<Csi__V1__NodeGetCapabilitiesResponse *>(out);
        bool has = false;
        for (size_t i = 0; r != nullptr && i < r->n_capabilities; i++) {
            has |= static_cast<int>(r->capabilities[i]->rpc->type) == type;
        }
        protobuf_c_message_free_unpacked(out, nullptr);
        return has;
    }
};

TEST_F(Rows, IdentityNamesThePlugin)
{
    Csi__V1__GetPluginInfoRequest m = CSI__V1__GET_PLUGIN_INFO_REQUEST__INIT;
    ProtobufCMessage *out = nullptr;
    ASSERT_EQ(client->call(&csi__v1__identity__descriptor, "GetPluginInfo", &m.base, &out), OK);
    auto *r = reinterpret_cast<Csi__V1__GetPluginInfoResponse *>(out);
    EXPECT_STREQ(r->name, "fuse.csi.fluid.io");
    EXPECT_STRNE(r->vendor_version, "");
    protobuf_c_message_free_unpacked(out, nullptr);
}

TEST_F(Rows, IdentityHasNoControllerService)
{
    Csi__V1__GetPluginCapabilitiesRequest m = CSI__V1__GET_PLUGIN_CAPABILITIES_REQUEST__INIT;
    ProtobufCMessage *out = nullptr;
    ASSERT_EQ(client->call(&csi__v1__identity__descriptor, "GetPluginCapabilities", &m.base, &out),
              OK);
    EXPECT_EQ(reinterpret_cast<Csi__V1__GetPluginCapabilitiesResponse *>(out)->n_capabilities, 0u);
    protobuf_c_message_free_unpacked(out, nullptr);

    Csi__V1__ControllerGetCapabilitiesRequest c =
        CSI__V1__CONTROLLER_GET_CAPABILITIES_REQUEST__INIT;
    EXPECT_EQ(client->call(&csi__v1__controller__descriptor, "ControllerGetCapabilities", &c.base),
              UNIMPLEMENTED);
}

TEST_F(Rows, NodeInfoAndCapabilities)
{
    Csi__V1__NodeGetInfoRequest m = CSI__V1__NODE_GET_INFO_REQUEST__INIT;
    ProtobufCMessage *out = nullptr;
    ASSERT_EQ(client->call(&csi__v1__node__descriptor, "NodeGetInfo", &m.base, &out), OK);
    auto *info = reinterpret_cast<Csi__V1__NodeGetInfoResponse *>(out);
    EXPECT_STREQ(info->node_id, "node-1");
    EXPECT_GE(info->max_volumes_per_node, 0);
    EXPECT_EQ(info->accessible_topology, nullptr);
    protobuf_c_message_free_unpacked(out, nullptr);

    Csi__V1__NodeGetCapabilitiesRequest c = CSI__V1__NODE_GET_CAPABILITIES_REQUEST__INIT;
    ASSERT_EQ(client->call(&csi__v1__node__descriptor, "NodeGetCapabilities", &c.base, &out), OK);
    auto *caps = reinterpret_cast<Csi__V1__NodeGetCapabilitiesResponse *>(out);
    std::vector<int> types;
    for (size_t i = 0; i < caps->n_capabilities; i++) {
        types.push_back(caps->capabilities[i]->rpc->type);
    }
    EXPECT_EQ(types, (std::vector<int>{
                         CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME,
                         CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__GET_VOLUME_STATS,
                         CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__SINGLE_NODE_MULTI_WRITER,
                         CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_MOUNT_GROUP}));
    protobuf_c_message_free_unpacked(out, nullptr);
}

TEST_F(Rows, MissingFieldsAreInvalidArguments)
{
    struct {
        const char *what;
        void (*change)(Volume &v);
        int stage, publish, unstage, unpublish;
    } rows[] = {
        {"id", [](Volume &v) { v.id = ""; }, INVALID_ARGUMENT, INVALID_ARGUMENT, INVALID_ARGUMENT,
         INVALID_ARGUMENT},
        {"capability", [](Volume &v) { v.no_capability = true; }, INVALID_ARGUMENT,
         INVALID_ARGUMENT, OK, OK},
        {"target", [](Volume &v) { v.target = ""; }, OK, INVALID_ARGUMENT, OK, INVALID_ARGUMENT},
        {"staging path", [](Volume &v) { v.staging = ""; }, INVALID_ARGUMENT, FAILED_PRECONDITION,
         INVALID_ARGUMENT, OK},
    };
    for (const auto &row : rows) {
        Volume v = volume();
        row.change(v);
        EXPECT_EQ(client->stage(v), row.stage) << row.what;
        EXPECT_EQ(client->text.empty(), row.stage == OK) << "an error has words";
        EXPECT_EQ(client->publish(v), row.publish) << row.what;
        EXPECT_EQ(client->unpublish(v), row.unpublish) << row.what;
        EXPECT_EQ(client->unstage(v), row.unstage) << row.what;
    }
    EXPECT_TRUE(mounts_below(kubelet).empty());
}

TEST_F(Rows, StatsRows)
{
    Volume v = volume();
    EXPECT_EQ(client->stats("", v.target).code, INVALID_ARGUMENT);
    EXPECT_EQ(client->stats(v.id, "").code, INVALID_ARGUMENT);
    EXPECT_EQ(client->stats("unknown", "some/path").code, NOT_FOUND);
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(client->stats(v.id, "some/path").code, NOT_FOUND);
    EXPECT_EQ(client->stats(v.id, kubelet).code, NOT_FOUND);

    Stats s = client->stats(v.id, v.target);
    EXPECT_EQ(s.code, OK) << client->text;
    EXPECT_EQ(s.total, 1 << 20);
    EXPECT_GT(s.used, 0);
    EXPECT_EQ(s.available + s.used, s.total);
    EXPECT_EQ(client->stats(v.id, v.staging).code, OK);
}

TEST_F(Rows, ExpandIsUnimplemented)
{
    Csi__V1__NodeExpandVolumeRequest m = CSI__V1__NODE_EXPAND_VOLUME_REQUEST__INIT;
    EXPECT_EQ(client->call(&csi__v1__node__descriptor, "NodeExpandVolume", &m.base), UNIMPLEMENTED);
}

TEST_F(Rows, UnpublishRemovesTheTarget)
{
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(read_file(v.target + "/hello"), "world");
    ASSERT_EQ(client->unpublish(v), OK) << client->text;
    EXPECT_FALSE(exists(v.target));
    EXPECT_EQ(client->unstage(v), OK);
    EXPECT_TRUE(exists(v.staging)) << "the staging directory is the orchestrator's";
}

TEST_F(Rows, EveryStepTenTimes)
{
    Volume v = volume();
    for (auto step : {&Client::stage, &Client::publish, &Client::unpublish, &Client::unstage}) {
        for (int i = 0; i < 10; i++) {
            ASSERT_EQ((client.get()->*step)(v), OK) << client->text;
        }
        EXPECT_EQ(mounts_below(kubelet).size(), step == &Client::publish ? 1u : 0u);
    }
}

TEST_F(Rows, TheSameTargetWithOtherArgumentsIsAlreadyExists)
{
    Volume v = volume();
    ASSERT_EQ(client->stage(v), OK);
    ASSERT_EQ(client->publish(v), OK);
    Volume other = v;
    other.readonly = true;
    EXPECT_EQ(client->publish(other), ALREADY_EXISTS);
    other = v;
    other.mode = CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__MULTI_NODE_READER_ONLY;
    EXPECT_EQ(client->publish(other), ALREADY_EXISTS);
    other = v;
    other.flags = {"noexec"};
    EXPECT_EQ(client->publish(other), ALREADY_EXISTS);
    other = v;
    other.context.push_back({"something", "else"});
    EXPECT_EQ(client->publish(other), ALREADY_EXISTS);
    other = v;
    other.flags = {"noatime"};
    EXPECT_EQ(client->stage(other), ALREADY_EXISTS);

    // What kubelet changes between two calls of its own does not count; nor do secrets.
    other = v;
    other.context.push_back({"csi.storage.k8s.io/pod.name", "renamed"});
    other.secrets = {{"token", "new"}};
    EXPECT_EQ(client->publish(other), OK) << client->text;
}

TEST_F(Rows, SecondTargetByAccessMode)
{
    for (int mode = 1; mode <= 7; mode++) {
        Volume first = volume("a" + std::to_string(mode));
        Volume second = volume("b" + std::to_string(mode));
        bool multi = mode == 3 || mode == 4 || mode == 5 || mode == 7;
        for (Volume *v : {&first, &second}) {
            v->mode = mode;
            v->id = "mode-" + std::to_string(mode);
        }
        ASSERT_EQ(client->stage(first), OK) << client->text;
        ASSERT_EQ(client->publish(first), OK) << client->text;
        EXPECT_EQ(client->publish(second), multi ? OK : FAILED_PRECONDITION) << "mode " << mode;
        EXPECT_EQ(exists(second.target), multi);
        EXPECT_EQ(client->publish(first), OK) << client->text;
        EXPECT_EQ(client->unpublish(first), OK);
        EXPECT_EQ(client->publish(second), OK) << "the only target now";
        EXPECT_EQ(client->unpublish(second), OK);
        EXPECT_EQ(client->unstage(first), OK);
    }
}

TEST_F(Rows, ReadOnlyIsReallyReadOnly)
{
    Volume rw = volume("rw"), ro = volume("ro");
    ro.readonly = true;
    ASSERT_EQ(client->stage(rw), OK);
    ASSERT_EQ(client->publish(rw), OK) << client->text;
    ASSERT_EQ(client->publish(ro), OK) << client->text;
    EXPECT_EQ(open((ro.target + "/new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644), -1);
    EXPECT_EQ(errno, EROFS);
    int fd = open((rw.target + "/new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    EXPECT_GE(fd, 0) << "the other target stays writable";
    close(fd);
}

TEST_F(Rows, MountsAreNosuidNodevAndTakeAllowedFlags)
{
    Volume v = volume();
    v.flags = {"noexec", "noatime"};
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    struct gfs_mounttable *table = nullptr;
    ASSERT_EQ(gfs_mounttable_read(nullptr, &table, nullptr), 0);
    std::string options = gfs_mounttable_find(table, v.target.c_str())->options;
    gfs_mounttable_free(table);
    for (const char *want : {"nosuid", "nodev", "noexec", "noatime"}) {
        EXPECT_NE(options.find(want), std::string::npos) << want << " in " << options;
    }
    v.flags = {"suid"};
    EXPECT_EQ(client->publish(at_pod(v, "other")), INVALID_ARGUMENT);
}

TEST_F(Rows, AMountGroupGetsAVolumeThatEverybodyMayRead)
{
    Volume v = volume();
    v.group = "2000";
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(chmod(fluid_path.c_str(), 0750), 0);
    EXPECT_EQ(client->publish(v), FAILED_PRECONDITION);
    EXPECT_FALSE(exists(v.target)) << "nothing is left";
    ASSERT_EQ(chmod(fluid_path.c_str(), 0755), 0);
    ASSERT_EQ(client->publish(v), OK) << client->text;

    ASSERT_EQ(chmod((dir + "/..").c_str(), 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        gid_t group = 2000;
        _exit(setgroups(1, &group) == 0 && setgid(65534) == 0 && setuid(65534) == 0 &&
                      open((v.target + "/hello").c_str(), O_RDONLY | O_CLOEXEC) >= 0
                  ? 0
                  : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "a process of the group reads";

    Volume other = volume("pod-2");
    other.group = "3000";
    EXPECT_EQ(client->publish(other), OK) << "pods of several groups share the mount";
    other.group = "wheel";
    EXPECT_EQ(client->publish(at_pod(other, "pod-3")), INVALID_ARGUMENT);
}

TEST_F(Rows, ConditionsAreReportedWhenAskedFor)
{
    auto condition = [&](const Volume &v, std::string *message) {
        Csi__V1__NodeGetVolumeStatsRequest m = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
        ProtobufCMessage *out = nullptr;
        m.volume_id = const_cast<char *>(v.id.c_str());
        m.volume_path = const_cast<char *>(v.target.c_str());
        EXPECT_EQ(client->call(&csi__v1__node__descriptor, "NodeGetVolumeStats", &m.base, &out), OK)
            << client->text;
        auto *r = reinterpret_cast<Csi__V1__NodeGetVolumeStatsResponse *>(out);
        bool there = r != nullptr && r->volume_condition != nullptr;
        *message = there ? r->volume_condition->message : "";
        EXPECT_FALSE(there && r->volume_condition->abnormal);
        protobuf_c_message_free_unpacked(out, nullptr);
        return there;
    };
    Volume v = volume();
    std::string message;
    ASSERT_EQ(client->stage(v), OK);
    ASSERT_EQ(client->publish(v), OK);
    EXPECT_FALSE(condition(v, &message)) << "off: no field";
    EXPECT_FALSE(has_capability(CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION));

    stop_plugin(SIGTERM);
    extra_flags = {"--volume-condition"};
    start_plugin();
    EXPECT_TRUE(has_capability(CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION));
    EXPECT_TRUE(condition(v, &message));
    EXPECT_NE(message, "") << "both fields are wanted";
}

TEST_F(Rows, SubPathShowsOnlyThat)
{
    std::filesystem::create_directories(fluid_path + "/a/b");
    std::ofstream(fluid_path + "/a/b/inner") << "x";
    Volume v = volume();
    v.context.push_back({"fluid_sub_path", "/a/b"});
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_TRUE(exists(v.target + "/inner"));
    EXPECT_FALSE(exists(v.target + "/hello"));
    ASSERT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(mounts_below(kubelet).size(), 1u);

    Volume missing = volume("pod-2");
    missing.id = "other";
    missing.context.push_back({"fluid_sub_path", "/none"});
    ASSERT_EQ(client->stage(missing), OK) << client->text;
    EXPECT_EQ(client->publish(missing), NOT_FOUND);
    EXPECT_FALSE(exists(missing.target));
}

TEST_F(Rows, RegistrationSpeaksToKubelet)
{
    std::string path = kubelet + "/plugins_registry/fuse.csi.fluid.io-reg.sock";
    struct stat st;
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_TRUE(S_ISSOCK(st.st_mode));
    EXPECT_EQ(st.st_mode & 0777, 0600u);

    Client registrar(path);
    Pluginregistration__InfoRequest m = PLUGINREGISTRATION__INFO_REQUEST__INIT;
    ProtobufCMessage *out = nullptr;
    ASSERT_EQ(
        registrar.call(&pluginregistration__registration__descriptor, "GetInfo", &m.base, &out),
        OK);
    auto *info = reinterpret_cast<Pluginregistration__PluginInfo *>(out);
    EXPECT_STREQ(info->type, "CSIPlugin");
    EXPECT_STREQ(info->name, "fuse.csi.fluid.io");
    EXPECT_EQ(info->endpoint, socket);
    ASSERT_EQ(info->n_supported_versions, 1u);
    EXPECT_STREQ(info->supported_versions[0], "1.0.0");
    protobuf_c_message_free_unpacked(out, nullptr);

    Pluginregistration__RegistrationStatus status = PLUGINREGISTRATION__REGISTRATION_STATUS__INIT;
    status.plugin_registered = 1;
    EXPECT_EQ(registrar.call(&pluginregistration__registration__descriptor,
                             "NotifyRegistrationStatus", &status.base),
              OK);
    EXPECT_TRUE(WIFEXITED(stop_plugin(SIGTERM)));
    EXPECT_FALSE(exists(path)) << "a plugin that leaves deregisters";
}

TEST_F(Rows, AnyAuthorityIsAccepted)
{
    for (const char *authority : {"localhost", "unused", "%2Fvar%2Flib%2Fcsi.sock"}) {
        Client c(socket, authority);
        EXPECT_EQ(probe(c), OK) << authority << c.text;
    }
}

} // namespace csi
