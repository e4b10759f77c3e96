// Stand-ins for the kernel's mount table and for fuse-keeper, and a node on a directory of its own.
#ifndef TEST_CSI_FAKES_H
#define TEST_CSI_FAKES_H

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "node_priv.h"

#include <gfs/base/clock.h>

// A directory that goes with the object. Nothing is ever mounted below it by these tests.
class TempDir
{
  public:
    TempDir()
    {
        char name[] = "/tmp/gfs-csi-XXXXXX";
        if (mkdtemp(name) == nullptr) {
            abort();
        }
        path_ = name;
    }
    ~TempDir()
    {
        std::string command = "rm -rf --one-file-system " + path_;
        if (std::system(command.c_str()) != 0) {
            std::fprintf(stderr, "cannot remove %s\n", path_.c_str());
        }
    }
    const std::string &path() const
    {
        return path_;
    }
    std::string make(const std::string &relative) const
    {
        std::string command = "mkdir -p '" + path_ + "/" + relative + "'";
        if (std::system(command.c_str()) != 0) {
            abort();
        }
        return path_ + "/" + relative;
    }

  private:
    std::string path_;
};

inline bool exists(const std::string &path)
{
    struct stat st;
    return lstat(path.c_str(), &st) == 0;
}

// Fails the n-th call of anything that asks it (1: the first), for sweeping faults.
struct Faults {
    int countdown = 0; // 0: none
    int code = GFS_EIO;
    bool fired = false;

    int hit(struct gfs_err *err)
    {
        if (countdown > 0 && --countdown == 0) {
            fired = true;
            return gfs_err_set(err, code, "injected");
        }
        return 0;
    }
};

struct FakeMount {
    std::string root, target, fstype, options;
    unsigned minor;
};

class FakeMounts
{
  public:
    explicit FakeMounts(const std::string &dir, Faults *faults)
        : file_(dir + "/mountinfo"), faults_(faults)
    {
    }

    std::vector<FakeMount> mounts;
    int busy = 0; // this many unmounts answer "busy"
    int lazy = 0; // lazy unmounts seen
    unsigned next_minor = 100;

    void add(const std::string &target, const std::string &fstype)
    {
        mounts.push_back({"/", target, fstype, "rw,nosuid,nodev", next_minor++});
    }
    void remove(const std::string &target)
    {
        for (size_t i = mounts.size(); i-- > 0;) {
            if (mounts[i].target == target) {
                mounts.erase(mounts.begin() + static_cast<long>(i));
                return;
            }
        }
    }
    const FakeMount *find(const std::string &target) const
    {
        for (size_t i = mounts.size(); i-- > 0;) {
            if (mounts[i].target == target) {
                return &mounts[i];
            }
        }
        return nullptr;
    }
    int depth(const std::string &target) const
    {
        int n = 0;
        for (const auto &m : mounts) {
            n += m.target == target ? 1 : 0;
        }
        return n;
    }
    struct gfsi_mounts table()
    {
        struct gfsi_mounts t = {};
        t.self = this;
        t.read = [](void *self, struct gfs_mounttable **out, struct gfs_err *err) {
            return static_cast<FakeMounts *>(self)->read(out, err);
        };
        t.bind = [](void *self, const struct gfsi_bind *bind, struct gfs_err *err) {
            return static_cast<FakeMounts *>(self)->bind(bind, err);
        };
        t.unmount = [](void *self, const struct gfsi_place *, const char *path, bool lazily,
                       struct gfs_err *err) {
            return static_cast<FakeMounts *>(self)->unmount(path, lazily, err);
        };
        return t;
    }

  private:
    int read(struct gfs_mounttable **out, struct gfs_err *err)
    {
        if (int rc = faults_->hit(err); rc < 0) {
            return rc;
        }
        FILE *f = fopen(file_.c_str(), "w");
        fprintf(f, "1 0 8:1 / / rw - ext4 /dev/sda rw\n");
        int id = 10;
        for (const auto &m : mounts) {
            fprintf(f, "%d 1 0:%u %s %s %s - %s src rw\n", id++, m.minor, m.root.c_str(),
                    m.target.c_str(), m.options.c_str(), m.fstype.c_str());
        }
        fclose(f);
        return gfs_mounttable_read(file_.c_str(), out, err);
    }
    int bind(const struct gfsi_bind *bind, struct gfs_err *err)
    {
        if (int rc = faults_->hit(err); rc < 0) {
            return rc;
        }
        char link[64], real[4096];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", bind->source);
        ssize_t n = readlink(link, real, sizeof(real) - 1);
        EXPECT_GT(n, 0);
        std::string source(real, static_cast<size_t>(n));
        const FakeMount *fuse = find(bind->source_path);
        FakeMount m = {"/", bind->target_path, fuse ? fuse->fstype : "ext4",
                       bind->flags.read_only ? "ro,nosuid,nodev" : "rw,nosuid,nodev",
                       fuse ? fuse->minor : 1};
        if (source != bind->source_path) {
            m.root = source.substr(strlen(bind->source_path));
        }
        mounts.push_back(m);
        return 0;
    }
    int unmount(const std::string &path, bool lazily, struct gfs_err *err)
    {
        if (int rc = faults_->hit(err); rc < 0) {
            return rc;
        }
        if (busy > 0 && !lazily) {
            busy--;
            return gfs_err_set(err, GFS_EPRECONDITION, "busy");
        }
        lazy += lazily ? 1 : 0;
        remove(path);
        return 0;
    }

    std::string file_;
    Faults *faults_;
};

class FakeKeeper
{
  public:
    FakeKeeper(FakeMounts *mounts, Faults *faults) : mounts_(mounts), faults_(faults)
    {
    }

    std::map<std::string, uint32_t> states; // by id
    std::map<std::string, std::string> mountpoints;
    std::vector<std::string> argv; // of the last mount
    std::string launch;            // ... and who starts the client
    bool no_launcher = false;
    uint32_t options = 0;
    int mounted = 0, unmounted = 0;
    bool away = false;
    bool client_fails = false;

    struct gfsi_keeper table()
    {
        struct gfsi_keeper t = {};
        t.self = this;
        t.mount = [](void *self, const struct gfs_keeper_spec *spec, int64_t, struct gfs_err *err) {
            return static_cast<FakeKeeper *>(self)->mount(spec, err);
        };
        t.state = [](void *self, const char *id, int64_t, uint32_t *out, struct gfs_err *err) {
            return static_cast<FakeKeeper *>(self)->state(id, out, err);
        };
        t.unmount = [](void *self, const char *id, uint32_t flags, int64_t, struct gfs_err *err) {
            return static_cast<FakeKeeper *>(self)->unmount(id, flags, err);
        };
        return t;
    }

  private:
    int mount(const struct gfs_keeper_spec *spec, struct gfs_err *err)
    {
        if (int rc = faults_->hit(err); rc < 0) {
            return rc;
        }
        if (int rc = gfs_keeper_spec_check(spec, err); rc < 0) {
            return rc;
        }
        if (away) {
            return gfs_err_set(err, GFS_EUNAVAIL, "nobody there");
        }
        if (client_fails) {
            return gfs_err_set(err, GFS_EIO, "the client said no");
        }
        argv.clear();
        for (int i = 0; spec->argv[i] != nullptr; i++) {
            argv.push_back(spec->argv[i]);
        }
        options = spec->options;
        launch = spec->launch != nullptr ? spec->launch : "";
        if (states.count(spec->id) == 0) {
            mounts_->add(spec->mountpoint, spec->fstype);
            mounted++;
        }
        states[spec->id] = no_launcher ? GFS_KEEPER_STARTING : GFS_KEEPER_SERVING;
        mountpoints[spec->id] = spec->mountpoint;
        if (no_launcher) {
            return gfs_err_set(err, GFS_ETIMEOUT, "nobody came in time");
        }
        return 0;
    }
    int state(const std::string &id, uint32_t *out, struct gfs_err *err)
    {
        if (int rc = faults_->hit(err); rc < 0) {
            return rc;
        }
        if (away) {
            return gfs_err_set(err, GFS_EUNAVAIL, "nobody there");
        }
        auto it = states.find(id);
        if (it == states.end()) {
            return gfs_err_set(err, GFS_ENOENT, "not held");
        }
        *out = it->second;
        return 0;
    }
    int unmount(const std::string &id, uint32_t flags, struct gfs_err *err)
    {
        if (int rc = faults_->hit(err); rc < 0) {
            return rc;
        }
        if (states.count(id) == 0) {
            return gfs_err_set(err, GFS_ENOENT, "not held");
        }
        if (mounts_->busy > 0 && (flags & GFS_KEEPER_LAZY) == 0) {
            mounts_->busy--;
            return gfs_err_set(err, GFS_EPRECONDITION, "busy");
        }
        mounts_->remove(mountpoints[id]);
        states.erase(id);
        unmounted++;
        return 0;
    }

    FakeMounts *mounts_;
    Faults *faults_;
};

// A node whose kernel and keeper are the fakes, with the directories kubelet and a controller make.
class FakeNode : public ::testing::Test
{
  protected:
    static constexpr const char *kVolume = "default-hbase";

    TempDir dir;
    Faults faults;
    FakeMounts mounts{dir.path(), &faults};
    FakeKeeper keeper{&mounts, &faults};
    std::string kubelet = dir.make("kubelet");
    std::string runtime = dir.make("runtime-mnt");
    std::string fluid_path = dir.make("runtime-mnt/goosefs/default/hbase/goosefs-fuse");
    std::string staging = dir.make("kubelet/plugins/staging");
    std::string state = dir.path() + "/state";
    struct gfsi_node node = {};
    struct gfs_csi_prober *prober = nullptr;
    struct gfs_err err = GFS_ERR_INIT;

    void SetUp() override
    {
        ASSERT_EQ(gfs_csi_prober_new(&prober, &err), 0) << err.text;
        node.rules = {kubelet.c_str(), runtime.c_str(), GFS_CSI_CLEAN_ON_RUNTIME_DELETED, nullptr,
                      nullptr};
        node.state_dir = state.c_str();
        node.fuse_program = "/usr/bin/goosefs-fuse";
        node.fuse_log_dir = "";
        node.launch_mode = GFS_CSI_LAUNCH_PROCESS;
        node.probe_ns = 5 * GFS_NS_PER_S;
        node.wait_max = 4;
        node.wait_ns = 50 * GFS_NS_PER_MS;
        node.mounts = mounts.table();
        node.keeper = keeper.table();
        node.prober = prober;
        gfsi_holds_init(&node.holds);
        open_journal();
        write(dir.make("runtime-mnt/goosefs/default/hbase/conf") + "/goosefs-site.properties",
              "goosefs.master.rpc.addresses=m:26000\n");
    }
    void TearDown() override
    {
        node.journal = gfsi_journal_free(node.journal);
        gfsi_holds_fini(&node.holds);
        prober = gfs_csi_prober_free(prober);
    }

    void open_journal()
    {
        node.journal = gfsi_journal_free(node.journal);
        ASSERT_EQ(gfsi_journal_open(state.c_str(), &node.journal, &err), 0) << err.text;
    }
    static void write(const std::string &path, const std::string &text)
    {
        FILE *f = fopen(path.c_str(), "w");
        ASSERT_NE(f, nullptr);
        fputs(text.c_str(), f);
        fclose(f);
    }
    std::string target(const std::string &pod)
    {
        return dir.make("kubelet/pods/" + pod + "/volumes/kubernetes.io~csi/pv") + "/mount";
    }

    // Requests as the checks would make them.
    struct gfsi_request request(enum gfsi_kind kind, const std::string &path)
    {
        struct gfsi_request r = {};
        r.kind = kind;
        snprintf(r.volume_id, sizeof(r.volume_id), "%s", kVolume);
        snprintf(r.path, sizeof(r.path), "%s", path.c_str());
        snprintf(r.attrs.fluid_path, sizeof(r.attrs.fluid_path), "%s", fluid_path.c_str());
        snprintf(r.attrs.mount_type, sizeof(r.attrs.mount_type), "%s", GFSI_GOOSEFS_TYPE);
        snprintf(r.attrs.label_key, sizeof(r.attrs.label_key), "fluid.io/f-default-hbase");
        r.access_mode = 5; // MULTI_NODE_MULTI_WRITER
        snprintf(r.digest, sizeof(r.digest), "%s", "d1");
        snprintf(r.capability, sizeof(r.capability), "%s", "c1");
        if (kind == GFSI_PUBLISH) {
            snprintf(r.staging, sizeof(r.staging), "%s", staging.c_str());
        }
        return r;
    }
    int run(const struct gfsi_request &r)
    {
        err = GFS_ERR_INIT;
        return gfsi_node_run(&node, &r, gfs_clock_mono() + 20 * GFS_NS_PER_S, &err);
    }
    int stage()
    {
        return run(request(GFSI_STAGE, staging));
    }
    int unstage()
    {
        return run(request(GFSI_UNSTAGE, staging));
    }
    int publish(const std::string &path, bool read_only = false)
    {
        struct gfsi_request r = request(GFSI_PUBLISH, path);
        r.read_only = read_only;
        if (read_only) {
            snprintf(r.digest, sizeof(r.digest), "%s", "d1-ro");
        }
        return run(r);
    }
    int unpublish(const std::string &path)
    {
        return run(request(GFSI_UNPUBLISH, path));
    }
};

#endif
