// A real keeper, real clients, real mounts, in a directory of their own.
#ifndef SURVIVAL_FIXTURE_H
#define SURVIVAL_FIXTURE_H

#include <gtest/gtest.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gfs/base/clock.h>
#include <gfs/mounter/keeper_client.h>
#include <gfs/mounter/mounttable.h>
#include <gfs/mounter/session.h>

#include "survival_backend.h"

inline int64_t in_seconds(int seconds)
{
    return gfs_clock_mono() + seconds * GFS_NS_PER_S;
}

// Polls until `condition` holds; the bound only ends a test that is broken anyway.
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

// kill(2) of one process: 0 and -1, which a pid that is not there may be, name whole crowds.
inline int KillOne(pid_t pid, int signal)
{
    if (pid <= 1) {
        ADD_FAILURE() << "signal " << signal << " to pid " << pid;
        errno = ESRCH;
        return -1;
    }
    return kill(pid, signal);
}

inline bool process_exists(pid_t pid)
{
    return KillOne(pid, 0) == 0 || errno != ESRCH;
}

// What a client is to be like; becomes a keeper spec.
struct Client {
    std::string id = "test";
    std::string mountpoint;
    std::string program = SURVIVAL_CLIENT_PATH;
    std::vector<std::string> args;
    std::string launch; // "": the keeper starts it
    uint32_t uid = 0;
    uint32_t hang_timeout_ms = 0;
    uint32_t stall_timeout_ms = 0;
    uint32_t start_timeout_ms = 0;
    uint32_t options =
        GFS_KEEPER_ALLOW_OTHER | GFS_KEEPER_READ_ONLY | GFS_KEEPER_DEFAULT_PERMISSIONS;
};

class Survival : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        if (access("/dev/fuse", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "no /dev/fuse here";
        }
        ASSERT_EQ(geteuid(), 0u) << "mounting needs root";
        char pattern[] = "/tmp/gfs-survival-XXXXXX";
        ASSERT_NE(mkdtemp(pattern), nullptr);
        dir_ = pattern;
        ASSERT_EQ(chmod(dir_.c_str(), 0755), 0);
        socket_ = dir_ + "/keeper.sock";
        mountpoint_ = dir_ + "/mnt";
        StartKeeper();
    }

    void TearDown() override
    {
        if (dir_.empty()) {
            return;
        }
        client_ = gfs_keeper_client_free(client_);
        if (keeper_ > 0) {
            StopKeeper(SIGTERM);
        }
        std::ifstream log(dir_ + "/keeper.log");
        std::stringstream text;
        text << log.rdbuf();
        // Sanitizers of the processes under test speak through their log.
        for (const char *bad :
             {"ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", "runtime error:", " FATAL "}) {
            EXPECT_EQ(text.str().find(bad), std::string::npos) << bad;
        }
        // For a look at the log of a test that passes: SURVIVAL_LOG=1.
        if (HasFailure() || getenv("SURVIVAL_LOG") != nullptr) {
            fprintf(stderr, "---- keeper and clients ----\n%s", text.str().c_str());
        }
        // Nothing that a failed test leaves may disturb the next one.
        while (umount2(mountpoint_.c_str(), MNT_DETACH) == 0) {
        }
        std::filesystem::remove_all(dir_);
    }

    void StartKeeper()
    {
        std::string log = dir_ + "/keeper.log";
        keeper_ = fork();
        ASSERT_GE(keeper_, 0);
        if (keeper_ == 0) {
            // If the test is killed the keeper unmounts what there is.
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            std::vector<char *> argv = {const_cast<char *>(KEEPER_PATH),
                                        const_cast<char *>("--socket"), socket_.data()};
            for (auto &a : keeper_args_) {
                argv.push_back(a.data());
            }
            argv.push_back(nullptr);
            execv(KEEPER_PATH, argv.data());
            _exit(127);
        }
        gfs_keeper_client *c = nullptr;
        ASSERT_TRUE(eventually([&] {
            return gfs_keeper_client_connect(socket_.c_str(), in_seconds(60), &c, nullptr) == 0;
        }));
        client_ = gfs_keeper_client_free(client_);
        client_ = c;
    }

    int StopKeeper(int signal)
    {
        int status = 0;
        KillOne(keeper_, signal);
        waitpid(keeper_, &status, 0);
        keeper_ = -1;
        return status;
    }

    int Mount(const Client &c, gfs_keeper_info *info = nullptr, gfs_err *err = nullptr)
    {
        return MountBy(client_, c, info, err);
    }

    int MountBy(gfs_keeper_client *keeper, const Client &c, gfs_keeper_info *info = nullptr,
                gfs_err *err = nullptr)
    {
        std::string mountpoint = c.mountpoint.empty() ? mountpoint_ : c.mountpoint;
        std::vector<const char *> argv = {c.program.c_str()};
        for (const auto &a : c.args) {
            argv.push_back(a.c_str());
        }
        argv.push_back(nullptr);
        const char *env[] = {"PATH=/usr/bin:/bin", "ASAN_OPTIONS=detect_leaks=0", nullptr};
        gfs_keeper_spec spec = {};
        spec.id = c.id.c_str();
        spec.mountpoint = mountpoint.c_str();
        spec.fstype = "fuse.survival";
        spec.source = "survival";
        spec.options = c.options;
        spec.max_read = 1 << 20;
        spec.uid = spec.gid = c.uid;
        spec.hang_timeout_ms = c.hang_timeout_ms;
        spec.start_timeout_ms = c.start_timeout_ms;
        spec.stall_timeout_ms = c.stall_timeout_ms;
        spec.launch = c.launch.c_str();
        spec.argv = argv.data();
        spec.env = env;
        return gfs_keeper_client_mount(keeper, &spec, -1, in_seconds(60), info, err);
    }

    gfs_keeper_info Stat(const char *id = "test")
    {
        gfs_keeper_info info = {};
        EXPECT_EQ(gfs_keeper_client_stat(client_, id, in_seconds(60), &info, nullptr), 0);
        return info;
    }

    // Waits until a client other than `pid` serves; returns what is known then.
    gfs_keeper_info SuccessorOf(uint32_t pid)
    {
        gfs_keeper_info info = {};
        EXPECT_TRUE(eventually([&] {
            info = Stat();
            return info.state == GFS_KEEPER_SERVING && info.pid != pid;
        }));
        return info;
    }

    int Unmount(uint32_t flags = 0, gfs_err *err = nullptr)
    {
        return gfs_keeper_client_unmount(client_, "test", flags, in_seconds(60), err);
    }

    // Does this kernel offer passthrough? As its INIT request to the mount "test" says.
    bool KernelOffersPassthrough()
    {
        int fuse = -1, fd = -1;
        uint32_t flags2 = 0;
        if (gfs_keeper_client_collect(client_, "test", in_seconds(60), &fuse, &fd, nullptr) != 0) {
            return false;
        }
        // struct fuse_init_in behind a header of 40 bytes: major, minor, readahead, flags, flags2.
        off_t at = (off_t)offsetof(gfs_session, init_request) + 40 + 16;
        EXPECT_EQ(pread(fd, &flags2, sizeof(flags2), at), (ssize_t)sizeof(flags2));
        close(fuse);
        close(fd);
        return (flags2 & 1u << 5) != 0;
    }

    size_t MountsBelowDir()
    {
        gfs_mounttable *t = nullptr;
        size_t n = 0;
        EXPECT_EQ(gfs_mounttable_read(nullptr, &t, nullptr), 0);
        gfs_mounttable_below(
            t, dir_.c_str(),
            [](void *arg, const gfs_mount_entry *) {
                ++*static_cast<size_t *>(arg);
                return true;
            },
            &n);
        gfs_mounttable_free(t);
        return n;
    }

    std::string File(unsigned index)
    {
        return mountpoint_ + "/f" + std::to_string(index);
    }

    std::string dir_, socket_, mountpoint_;
    // Clients of tests run as root unless they say otherwise: the build directory may be closed.
    std::vector<std::string> keeper_args_ = {"--client-user", "0"};
    pid_t keeper_ = -1;
    gfs_keeper_client *client_ = nullptr;
};

// Threads that open, read, compare, stat and list without pause, and count what goes wrong.
class Readers
{
  public:
    Readers(std::string mountpoint, uint64_t file_size, unsigned n)
        : mountpoint_(std::move(mountpoint)), size_(file_size)
    {
        for (unsigned i = 0; i < n; i++) {
            threads_.emplace_back([this, i] { Run(i); });
        }
    }

    ~Readers()
    {
        Stop();
    }

    void Stop()
    {
        stop_ = true;
        for (auto &t : threads_) {
            t.join();
        }
        threads_.clear();
    }

    // Until each reader has gone on since the call.
    bool Progress(uint64_t reads = 64)
    {
        uint64_t want = reads_ + reads;
        return eventually([&] { return reads_ >= want; });
    }

    std::atomic<uint64_t> reads_{0}, errors_{0}, wrong_{0};
    std::atomic<int> last_errno_{0};
    std::atomic<int64_t> longest_ns_{0}; // of one open, read or stat

  private:
    // Notes how long what began at `from` took.
    void Took(int64_t from)
    {
        int64_t ns = gfs_clock_mono() - from;
        int64_t known = longest_ns_;
        while (ns > known && !longest_ns_.compare_exchange_weak(known, ns)) {
        }
    }

    void Error()
    {
        last_errno_ = errno;
        errors_++;
    }

    void ReadSome(int fd, uint64_t ino, std::mt19937_64 &random, char *buf, char *expected)
    {
        constexpr size_t kUnit = 4096;
        for (int i = 0; i < 8 && !stop_; i++) {
            uint64_t offset = random() % (size_ / kUnit) * kUnit;
            size_t want = (1 + random() % 16) * kUnit;
            int64_t from = gfs_clock_mono();
            ssize_t n = pread(fd, buf, want, (off_t)offset);
            Took(from);
            if (n < 0) {
                Error();
                return;
            }
            want = std::min<uint64_t>(want, size_ - offset);
            survival_fill(ino, offset, expected, want);
            if ((size_t)n != want || memcmp(buf, expected, want) != 0) {
                wrong_++;
            }
            reads_++;
        }
    }

    void Run(unsigned index)
    {
        std::mt19937_64 random(index);
        void *aligned = nullptr;
        ASSERT_EQ(posix_memalign(&aligned, 4096, 1 << 17), 0);
        std::vector<char> expected(1 << 17);
        while (!stop_) {
            unsigned file = random() % SURVIVAL_FILES;
            std::string path = mountpoint_ + "/f" + std::to_string(file);
            struct stat st;
            int64_t from = gfs_clock_mono();
            if (stat(path.c_str(), &st) != 0) {
                Error();
            } else if ((uint64_t)st.st_size != size_) {
                wrong_++;
            }
            // Half of them past the page cache, so that the client is asked every time.
            int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | (index % 2 == 0 ? O_DIRECT : 0));
            Took(from);
            if (fd < 0) {
                Error();
                continue;
            }
            ReadSome(fd, survival_ino_of_file(file), random, static_cast<char *>(aligned),
                     expected.data());
            close(fd);
        }
        free(aligned);
    }

    std::string mountpoint_;
    uint64_t size_;
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

#endif
