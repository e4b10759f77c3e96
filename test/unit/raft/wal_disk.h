// A directory on the real file system behind struct raft_wal_io, with faults: fail the n-th call,
// run out of space, crash at the n-th call losing any part of what was not flushed.
#ifndef TEST_UNIT_RAFT_WAL_DISK_H
#define TEST_UNIT_RAFT_WAL_DISK_H

#include <gtest/gtest.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <raft/wal.h>

namespace raft_test
{

constexpr size_t kSegment = 64 << 10;
constexpr size_t kSector = 512;

inline std::string ReadFile(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline void WriteFile(const std::string &path, const std::string &bytes)
{
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class Disk
{
  public:
    Disk()
    {
        std::string pattern = ::testing::TempDir() + "raft_wal_XXXXXX";
        root_ = mkdtemp(pattern.data());
        io_ = *raft_wal_io_posix();
        io_.arg = this;
        io_.openat = Openat;
        io_.close = Close;
        io_.pread = Pread;
        io_.pwrite = Pwrite;
        io_.fdatasync = Fdatasync;
        io_.fsync = Fsync;
        io_.renameat = Renameat;
        io_.unlinkat = Unlinkat;
    }

    ~Disk()
    {
        std::filesystem::remove_all(root_);
    }

    std::string dir() const
    {
        return root_ + "/wal";
    }

    raft_wal_opts Opts()
    {
        raft_wal_opts opts = {};
        dir_ = dir();
        opts.dir = dir_.c_str();
        opts.cluster_id = 7;
        opts.node_id = 1;
        opts.segment_bytes = kSegment;
        opts.inline_spare = true;
        opts.io = faulty ? &io_ : nullptr;
        return opts;
    }

    // Segment files in order.
    std::vector<std::string> Segments() const
    {
        std::vector<std::string> names;
        for (auto &it : std::filesystem::directory_iterator(dir())) {
            if (it.path().extension() == ".wal") {
                names.push_back(it.path().string());
            }
        }
        std::sort(names.begin(), names.end());
        return names;
    }

    bool faulty = true; // false: plain system calls, for tests with threads
    long fail_at = 0;   // 1-based number of the call that fails; 0 = none
    int fail_errno = EIO;
    bool crash = false;   // every call behind it fails too
    bool nospace = false; // creating files and growing them fails with ENOSPC
    long calls = 0;

    // What the crash left: parts of unflushed writes and names are lost, by sectors.
    void Crash(uint32_t seed)
    {
        std::mt19937 rng(seed);
        for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
            if (!it->from.empty()) {
                if (rng() % 2 == 0) {
                    std::filesystem::rename(it->path, it->from);
                    for (auto &other : undo_) {
                        if (other.path == it->path && &other != &*it) {
                            other.path = it->from;
                        }
                    }
                }
                continue;
            }
            int fd = open(it->path.c_str(), O_WRONLY | O_CLOEXEC);
            if (fd < 0) {
                continue; // the file itself is gone
            }
            for (size_t at = 0; at < it->old.size(); at += kSector) {
                size_t len = std::min(kSector, it->old.size() - at);
                if (rng() % 2 == 0) {
                    EXPECT_EQ(
                        static_cast<ssize_t>(len),
                        pwrite(fd, it->old.data() + at, len, it->offset + static_cast<off_t>(at)));
                }
            }
            close(fd);
        }
        undo_.clear();
        fail_at = 0;
        crash = false;
    }

  private:
    struct Undo {
        std::string path;
        std::string from; // a rename, if not empty
        off_t offset = 0;
        std::string old;
    };

    int Fault()
    {
        calls++;
        if (fail_at != 0 && (calls == fail_at || (crash && calls > fail_at))) {
            return -fail_errno;
        }
        return 0;
    }

    static std::string PathOf(int fd)
    {
        char buf[4096];
        std::string link = "/proc/self/fd/" + std::to_string(fd);
        ssize_t n = readlink(link.c_str(), buf, sizeof buf);
        return n < 0 ? "" : std::string(buf, static_cast<size_t>(n));
    }

    static int Openat(void *arg, int dirfd, const char *name, int flags, mode_t mode)
    {
        auto *self = static_cast<Disk *>(arg);
        int err = self->Fault();
        if (err == 0 && self->nospace && (flags & O_CREAT) != 0) {
            err = -ENOSPC;
        }
        return err != 0 ? err : raft_wal_io_posix()->openat(nullptr, dirfd, name, flags, mode);
    }

    static int Close(void *, int fd)
    {
        return raft_wal_io_posix()->close(nullptr, fd);
    }

    static ssize_t Pread(void *arg, int fd, void *buf, size_t len, off_t offset)
    {
        int err = static_cast<Disk *>(arg)->Fault();
        return err != 0 ? err : raft_wal_io_posix()->pread(nullptr, fd, buf, len, offset);
    }

    static ssize_t Pwrite(void *arg, int fd, const void *buf, size_t len, off_t offset)
    {
        auto *self = static_cast<Disk *>(arg);
        int err = self->Fault();
        if (err != 0 && !self->crash) {
            return err;
        }
        Undo undo;
        undo.path = PathOf(fd);
        undo.offset = offset;
        undo.old.assign(len, '\0');
        (void)!pread(fd, undo.old.data(), len, offset);
        self->undo_.push_back(undo);
        // Crashed in the middle of the write: any part of it may have arrived.
        if (err != 0 && self->calls > self->fail_at) {
            return err;
        }
        ssize_t n = raft_wal_io_posix()->pwrite(nullptr, fd, buf, len, offset);
        return err != 0 ? err : n;
    }

    void Flushed(const std::string &path)
    {
        for (size_t i = 0; i < undo_.size();) {
            if (undo_[i].path == path && undo_[i].from.empty()) {
                undo_.erase(undo_.begin() + static_cast<long>(i));
            } else {
                i++;
            }
        }
    }

    static int Fdatasync(void *arg, int fd)
    {
        auto *self = static_cast<Disk *>(arg);
        int err = self->Fault();
        if (err == 0) {
            self->Flushed(PathOf(fd));
        }
        return err;
    }

    static int Fsync(void *arg, int fd)
    {
        auto *self = static_cast<Disk *>(arg);
        int err = self->Fault();
        if (err == 0) {
            std::string path = PathOf(fd);
            self->Flushed(path);
            if (std::filesystem::is_directory(path)) {
                for (size_t i = 0; i < self->undo_.size();) {
                    if (!self->undo_[i].from.empty()) {
                        self->undo_.erase(self->undo_.begin() + static_cast<long>(i));
                    } else {
                        i++;
                    }
                }
            }
        }
        return err;
    }

    static int Renameat(void *arg, int dirfd, const char *from, const char *to)
    {
        auto *self = static_cast<Disk *>(arg);
        int err = self->Fault();
        if (err != 0) {
            return err;
        }
        std::string base = PathOf(dirfd) + "/";
        for (auto &undo : self->undo_) {
            if (undo.path == base + from) {
                undo.path = base + to;
            }
        }
        Undo undo;
        undo.path = base + to;
        undo.from = base + from;
        self->undo_.push_back(undo);
        return raft_wal_io_posix()->renameat(nullptr, dirfd, from, to);
    }

    static int Unlinkat(void *arg, int dirfd, const char *name)
    {
        auto *self = static_cast<Disk *>(arg);
        int err = self->Fault();
        return err != 0 ? err : raft_wal_io_posix()->unlinkat(nullptr, dirfd, name);
    }

    std::string root_;
    std::string dir_;
    raft_wal_io io_;
    std::vector<Undo> undo_;
};

// A log on such a disk, with the model of what it has to remember.
class Log
{
  public:
    explicit Log(Disk *disk) : disk_(disk)
    {
    }
    ~Log()
    {
        raft_wal_close(wal_);
    }

    int Open()
    {
        Close();
        raft_wal_opts opts = disk_->Opts();
        return raft_wal_open(&opts, &wal_, &state_);
    }

    void Close()
    {
        raft_wal_close(wal_);
        wal_ = nullptr;
    }

    static std::string Payload(uint64_t index, uint64_t term, size_t len)
    {
        std::string text = "entry " + std::to_string(index) + " of term " + std::to_string(term);
        text.resize(std::max(text.size(), len), 'x');
        return text;
    }

    int Add(uint64_t index, uint64_t term, size_t len = 0)
    {
        std::string data = Payload(index, term, len);
        raft_wal_entry entry = {};
        entry.index = index;
        entry.term = term;
        entry.type = 1;
        entry.data = data.data();
        entry.len = data.size();
        return raft_wal_add_entry(wal_, &entry);
    }

    // The payload of @index; empty if it is not there or damaged.
    std::string Read(uint64_t index)
    {
        std::string buf(raft_wal_max_entry(wal_) + RAFT_WAL_READ_OVERHEAD, '\0');
        raft_wal_entry entry = {};
        size_t n = 0;
        if (raft_wal_read(wal_, index, &entry, 1, buf.data(), buf.size(), &n) != 0 || n != 1) {
            return "";
        }
        return {static_cast<const char *>(entry.data), entry.len};
    }

    raft_wal *wal() const
    {
        return wal_;
    }
    const raft_wal_state &state() const
    {
        return state_;
    }

  private:
    Disk *disk_;
    raft_wal *wal_ = nullptr;
    raft_wal_state state_ = {};
};

} // namespace raft_test

#endif
