// The plugin as a process of its own, in a mount namespace of the tests' own, spoken to over its
// socket as kubelet does.
#ifndef CSI_FIXTURE_H
#define CSI_FIXTURE_H

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "csi.pb-c.h"
#include "pluginregistration.pb-c.h"

#include <gfs/base/clock.h>
#include <gfs/mounter/mounttable.h>
#include <gfs/rpc/client.h>

namespace csi
{

// gRPC codes CSI speaks of.
enum Code {
    OK = 0,
    CANCELLED = 1,
    INVALID_ARGUMENT = 3,
    DEADLINE_EXCEEDED = 4,
    NOT_FOUND = 5,
    ALREADY_EXISTS = 6,
    PERMISSION_DENIED = 7,
    RESOURCE_EXHAUSTED = 8,
    FAILED_PRECONDITION = 9,
    ABORTED = 10,
    UNIMPLEMENTED = 12,
    INTERNAL = 13,
    UNAVAILABLE = 14,
};

inline int64_t in_seconds(int seconds)
{
    return gfs_clock_mono() + seconds * GFS_NS_PER_S;
}

// The bound only ends a test that is broken anyway.
inline bool eventually(const std::function<bool()> &condition, int seconds = 60)
{
    int64_t deadline = in_seconds(seconds);

    while (!condition()) {
        if (gfs_clock_mono() > deadline) {
            return false;
        }
        (void)poll(nullptr, 0, 2);
    }
    return true;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// What a call says; a test sets what it wants to be different.
struct Volume {
    std::string id = "default-hbase";
    std::string staging, target;
    Pairs context, secrets;
    std::vector<std::string> flags;
    int mode = CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__MULTI_NODE_MULTI_WRITER;
    bool readonly = false;
    bool no_capability = false;
    bool unknown_fields = false;
    std::string group;               // volume_mount_group
    std::pair<int, std::string> raw; // a text field of the request with any bytes; 0: none
};

struct Stats {
    int code;
    int64_t total = -1, available = -1, used = -1;
};

// Keeps what protobuf-c messages point to.
template <typename Entry> struct Map {
    std::vector<Entry> entries;
    std::vector<Entry *> list;

    Map(const Pairs &pairs, const ProtobufCMessageDescriptor *descriptor) : entries(pairs.size())
    {
        for (size_t i = 0; i < pairs.size(); i++) {
            protobuf_c_message_init(descriptor, &entries[i].base);
            entries[i].key = const_cast<char *>(pairs[i].first.c_str());
            entries[i].value = const_cast<char *>(pairs[i].second.c_str());
            list.push_back(&entries[i]);
        }
    }
};

struct Capability {
    Csi__V1__VolumeCapability message = CSI__V1__VOLUME_CAPABILITY__INIT;
    Csi__V1__VolumeCapability__MountVolume mount = CSI__V1__VOLUME_CAPABILITY__MOUNT_VOLUME__INIT;
    Csi__V1__VolumeCapability__AccessMode mode = CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__INIT;
    std::vector<char *> flags;

    explicit Capability(const Volume &v)
    {
        for (const auto &f : v.flags) {
            flags.push_back(const_cast<char *>(f.c_str()));
        }
        mount.volume_mount_group = const_cast<char *>(v.group.c_str());
        mount.n_mount_flags = flags.size();
        mount.mount_flags = flags.data();
        mode.mode = static_cast<Csi__V1__VolumeCapability__AccessMode__Mode>(v.mode);
        message.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
        message.mount = &mount;
        message.access_mode = &mode;
    }
    Capability(const Capability &) = delete;
};

// Fields protobuf-c packs as they are: one of a CSI to come, and texts no C string can hold.
struct Raw {
    std::vector<ProtobufCMessageUnknownField> fields;
    std::string bytes;

    Raw(const Volume &v, ProtobufCMessage *message)
    {
        static uint8_t hello[] = {5, 'h', 'e', 'l', 'l', 'o'};
        if (v.unknown_fields) {
            fields.push_back({4000, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, sizeof(hello), hello});
        }
        if (v.raw.first != 0) {
            bytes = static_cast<char>(v.raw.second.size()) + v.raw.second; // < 128 bytes
            fields.push_back({static_cast<uint32_t>(v.raw.first),
                              PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, bytes.size(),
                              reinterpret_cast<uint8_t *>(&bytes[0])});
        }
        message->n_unknown_fields = static_cast<unsigned>(fields.size());
        message->unknown_fields = fields.data();
    }
    Raw(const Raw &) = delete;
};

// One connection to the plugin.
class Client
{
  public:
    explicit Client(const std::string &socket, const char *authority = "localhost")
    {
        struct gfs_rpc_channel_opts opts = {};
        opts.authority = authority;
        /* A call made while the plugin starts again waits for it, as long as it has time. */
        opts.wait_for_ready = true;
        EXPECT_EQ(gfs_rpc_channel_new(("unix://" + socket).c_str(), &opts, &channel_, nullptr), 0);
    }
    ~Client()
    {
        (void)gfs_rpc_channel_free(channel_);
    }
    Client(const Client &) = delete;

    std::string text; // of the last error
    int64_t timeout_ns = 100 * GFS_NS_PER_S;

    int call(const ProtobufCServiceDescriptor *service, const char *method,
             const ProtobufCMessage *request, ProtobufCMessage **out = nullptr)
    {
        struct gfs_rpc_result result = {};
        ProtobufCMessage *response = nullptr;
        int rc = gfs_rpc_call_sync_result(channel_, service, method, request, &response,
                                          gfs_clock_mono() + timeout_ns, &result, nullptr);

        text = result.text;
        if (rc == 0 && out != nullptr) {
            *out = response;
        } else if (rc == 0) {
            protobuf_c_message_free_unpacked(response, nullptr);
        }
        return rc == 0 ? OK : result.grpc_status != 0 ? result.grpc_status : gfs_err_to_grpc(rc);
    }

    int stage(const Volume &v)
    {
        Csi__V1__NodeStageVolumeRequest m = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
        Map<Csi__V1__NodeStageVolumeRequest__VolumeContextEntry> c(
            v.context, &csi__v1__node_stage_volume_request__volume_context_entry__descriptor);
        Map<Csi__V1__NodeStageVolumeRequest__SecretsEntry> s(
            v.secrets, &csi__v1__node_stage_volume_request__secrets_entry__descriptor);
        Capability capability(v);
        Raw raw(v, &m.base);
        m.volume_id = const_cast<char *>(v.id.c_str());
        m.staging_target_path = const_cast<char *>(v.staging.c_str());
        m.volume_capability = v.no_capability ? nullptr : &capability.message;
        m.n_volume_context = c.list.size();
        m.volume_context = c.list.data();
        m.n_secrets = s.list.size();
        m.secrets = s.list.data();
        return call(&csi__v1__node__descriptor, "NodeStageVolume", &m.base);
    }
    int publish(const Volume &v)
    {
        Csi__V1__NodePublishVolumeRequest m = CSI__V1__NODE_PUBLISH_VOLUME_REQUEST__INIT;
        Map<Csi__V1__NodePublishVolumeRequest__VolumeContextEntry> c(
            v.context, &csi__v1__node_publish_volume_request__volume_context_entry__descriptor);
        Map<Csi__V1__NodePublishVolumeRequest__SecretsEntry> s(
            v.secrets, &csi__v1__node_publish_volume_request__secrets_entry__descriptor);
        Capability capability(v);
        Raw raw(v, &m.base);
        m.volume_id = const_cast<char *>(v.id.c_str());
        m.staging_target_path = const_cast<char *>(v.staging.c_str());
        m.target_path = const_cast<char *>(v.target.c_str());
        m.volume_capability = v.no_capability ? nullptr : &capability.message;
        m.readonly = v.readonly;
        m.n_volume_context = c.list.size();
        m.volume_context = c.list.data();
        m.n_secrets = s.list.size();
        m.secrets = s.list.data();
        return call(&csi__v1__node__descriptor, "NodePublishVolume", &m.base);
    }
    int unstage(const Volume &v)
    {
        Csi__V1__NodeUnstageVolumeRequest m = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;
        m.volume_id = const_cast<char *>(v.id.c_str());
        m.staging_target_path = const_cast<char *>(v.staging.c_str());
        Raw raw(v, &m.base);
        return call(&csi__v1__node__descriptor, "NodeUnstageVolume", &m.base);
    }
    int unpublish(const Volume &v)
    {
        Csi__V1__NodeUnpublishVolumeRequest m = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
        m.volume_id = const_cast<char *>(v.id.c_str());
        m.target_path = const_cast<char *>(v.target.c_str());
        Raw raw(v, &m.base);
        return call(&csi__v1__node__descriptor, "NodeUnpublishVolume", &m.base);
    }
    Stats stats(const std::string &id, const std::string &path)
    {
        Csi__V1__NodeGetVolumeStatsRequest m = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
        ProtobufCMessage *out = nullptr;
        Stats result;
        m.volume_id = const_cast<char *>(id.c_str());
        m.volume_path = const_cast<char *>(path.c_str());
        result.code = call(&csi__v1__node__descriptor, "NodeGetVolumeStats", &m.base, &out);
        if (out != nullptr) {
            auto *r = reinterpret_cast<Csi__V1__NodeGetVolumeStatsResponse *>(out);
            for (size_t i = 0; i < r->n_usage; i++) {
                EXPECT_NE(r->usage[i]->unit, CSI__V1__VOLUME_USAGE__UNIT__UNKNOWN);
                if (r->usage[i]->unit == CSI__V1__VOLUME_USAGE__UNIT__BYTES) {
                    result.total = r->usage[i]->total;
                    result.available = r->usage[i]->available;
                    result.used = r->usage[i]->used;
                }
            }
            protobuf_c_message_free_unpacked(out, nullptr);
        }
        return result;
    }

  private:
    struct gfs_rpc_channel *channel_ = nullptr;
};

// The mounts of a failed test must not be anybody else's: the whole test process has a namespace of
// its own, made before it has threads.
inline bool isolate()
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

class Fixture : public ::testing::Test
{
  protected:
    std::string dir, kubelet, runtime, fluid_path, socket, log;
    pid_t plugin = -1;
    std::vector<std::string> extra_flags;
    std::unique_ptr<Client> client;

    void SetUp() override
    {
        if (geteuid() != 0) {
            GTEST_SKIP() << "mounting needs root";
        }
        static const bool isolated = isolate();
        ASSERT_TRUE(isolated);
        char pattern[] = "/tmp/gfs-conformance-XXXXXX";
        ASSERT_NE(mkdtemp(pattern), nullptr);
        // In memory: a disk that others use makes a run with many directories take minutes.
        base_ = pattern;
        ASSERT_EQ(mount("tmpfs", pattern, "tmpfs", 0, "size=1g,mode=700"), 0) << strerror(errno);
        dir = base_ + "/node";
        kubelet = dir + "/kubelet";
        runtime = dir + "/runtime-mnt";
        fluid_path = runtime + "/goosefs/default/hbase/goosefs-fuse";
        socket = dir + "/csi/csi.sock";
        log = dir + "/plugin.log";
        for (const auto &d : {kubelet + "/pods", kubelet + "/plugins", fluid_path}) {
            std::filesystem::create_directories(d);
        }
    }
    void TearDown() override
    {
        if (dir.empty()) {
            return;
        }
        client.reset();
        stop_plugin(SIGKILL);
        EXPECT_EQ(log_text().find("Sanitizer:"), std::string::npos);
        if (HasFailure()) {
            fprintf(stderr, "---- plugin ----\n%s", log_text().c_str());
        }
        for (const auto &m : mounts_below(dir)) {
            (void)umount2(m.c_str(), MNT_DETACH);
        }
        (void)umount2(base_.c_str(), MNT_DETACH);
        (void)rmdir(base_.c_str());
    }

    virtual std::vector<std::string> flags()
    {
        return {"--launch-mode=pod", "--keeper-socket="};
    }
    void spawn_plugin()
    {
        std::vector<std::string> args = {CSI_PLUGIN_PATH,
                                         "start",
                                         "--nodeid=node-1",
                                         "--endpoint=unix://" + socket,
                                         "--kubelet-root=" + kubelet,
                                         "--mount-root=" + runtime,
                                         "--state-dir=" + dir + "/state",
                                         "--log-level=debug"};
        for (const auto &f : flags()) {
            args.push_back(f);
        }
        for (const auto &f : extra_flags) {
            args.push_back(f);
        }
        std::vector<char *> argv;
        for (auto &a : args) {
            argv.push_back(const_cast<char *>(a.c_str()));
        }
        argv.push_back(nullptr);
        plugin = fork();
        ASSERT_GE(plugin, 0);
        if (plugin == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            execv(argv[0], argv.data());
            _exit(127);
        }
    }
    void start_plugin()
    {
        spawn_plugin();
        client = std::make_unique<Client>(socket);
        ASSERT_TRUE(eventually([&] { return probe(*client) == OK || plugin_died(); }))
            << log_text();
        ASSERT_FALSE(plugin_died()) << log_text();
    }
    int stop_plugin(int signal)
    {
        int status = 0;
        if (plugin > 0) {
            kill(plugin, signal);
            waitpid(plugin, &status, 0);
        }
        plugin = -1;
        return status;
    }
    static int probe(Client &c)
    {
        Csi__V1__ProbeRequest m = CSI__V1__PROBE_REQUEST__INIT;
        return c.call(&csi__v1__identity__descriptor, "Probe", &m.base);
    }
    std::string log_text()
    {
        std::ifstream in(log);
        std::stringstream out;
        out << in.rdbuf();
        return out.str();
    }

    // A file system that stands in for a FUSE mount made by a pod.
    void mount_tmpfs(const std::string &at)
    {
        std::filesystem::create_directories(at);
        ASSERT_EQ(mount("tmpfs", at.c_str(), "tmpfs", 0, "size=1m"), 0) << strerror(errno);
        std::ofstream(at + "/hello") << "world";
    }
    Volume volume(const std::string &pod = "pod-1", const std::string &type = "tmpfs")
    {
        Volume v;
        v.staging = kubelet + "/plugins/kubernetes.io/csi/hash/globalmount";
        v.context = {{"fluid_path", fluid_path}, {"mount_type", type}};
        return at_pod(v, pod);
    }
    Volume at_pod(Volume v, const std::string &pod)
    {
        std::string parent = kubelet + "/pods/" + pod + "/volumes/kubernetes.io~csi/" + "pv";
        std::filesystem::create_directories(v.staging);
        std::filesystem::create_directories(parent);
        v.target = parent + "/mount";
        return v;
    }
    static std::vector<std::string> mounts_below(const std::string &prefix)
    {
        std::vector<std::string> out;
        struct gfs_mounttable *table = nullptr;
        EXPECT_EQ(gfs_mounttable_read(nullptr, &table, nullptr), 0);
        gfs_mounttable_below(
            table, prefix.c_str(),
            [](void *arg, const struct gfs_mount_entry *e) {
                static_cast<std::vector<std::string> *>(arg)->push_back(e->target);
                return true;
            },
            &out);
        gfs_mounttable_free(table);
        return out;
    }
    static bool exists(const std::string &path)
    {
        struct stat st;
        return lstat(path.c_str(), &st) == 0;
    }
    static std::string read_file(const std::string &path)
    {
        std::ifstream in(path);
        std::stringstream out;
        out << in.rdbuf();
        return out.str();
    }

  private:
    std::string base_;

    bool plugin_died()
    {
        siginfo_t info = {};
        return waitid(P_PID, static_cast<id_t>(plugin), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == plugin;
    }
};

} // namespace csi

#endif
