// A state machine that keeps a list of strings in memory: after a restart everything has to come
// back from snapshot and log.
#ifndef TEST_UNIT_RAFT_NODE_FSM_H
#define TEST_UNIT_RAFT_NODE_FSM_H

#include <gtest/gtest.h>

#include <unistd.h>

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <raft/node.h>

namespace raft_test
{

class Fsm
{
  public:
    explicit Fsm(std::function<void()> notify) : notify_(std::move(notify))
    {
    }

    raft_fsm vtable()
    {
        raft_fsm fsm = {};
        fsm.arg = this;
        fsm.apply = apply;
        fsm.applied_index = applied_index;
        fsm.snapshot_write = snapshot_write;
        fsm.snapshot_restore = snapshot_restore;
        return fsm;
    }

    std::vector<std::string> values()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return values_;
    }

    uint64_t applied()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return applied_;
    }

    int restores()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return restores_;
    }

  private:
    static int apply(void *arg, const raft_node_entry *entries, size_t n, int64_t *out_results);
    static uint64_t applied_index(void *arg)
    {
        return static_cast<Fsm *>(arg)->applied();
    }
    static int snapshot_write(void *arg, int fd, uint64_t *out_index);
    static int snapshot_restore(void *arg, int fd, uint64_t index, uint64_t term);

    std::function<void()> notify_;
    std::mutex mutex_;
    std::vector<std::string> values_;
    uint64_t applied_ = 0;
    int restores_ = 0;
};

inline int Fsm::apply(void *arg, const raft_node_entry *entries, size_t n, int64_t *out_results)
{
    auto *self = static_cast<Fsm *>(arg);
    {
        std::lock_guard<std::mutex> lock(self->mutex_);
        for (size_t i = 0; i < n; i++) {
            EXPECT_GT(entries[i].index, self->applied_);
            self->values_.emplace_back(static_cast<const char *>(entries[i].data), entries[i].len);
            self->applied_ = entries[i].index;
            out_results[i] = static_cast<int64_t>(self->values_.size());
        }
    }
    self->notify_();
    return 0;
}

// Image: count, then length and bytes of each value.
inline int Fsm::snapshot_write(void *arg, int fd, uint64_t *out_index)
{
    auto *self = static_cast<Fsm *>(arg);
    std::lock_guard<std::mutex> lock(self->mutex_);
    std::string image;
    auto put = [&](uint64_t v) { image.append(reinterpret_cast<const char *>(&v), sizeof v); };
    put(self->values_.size());
    for (const std::string &value : self->values_) {
        put(value.size());
        image += value;
    }
    *out_index = self->applied_;
    return write(fd, image.data(), image.size()) == static_cast<ssize_t>(image.size()) ? 0 : -1;
}

inline int Fsm::snapshot_restore(void *arg, int fd, uint64_t index, uint64_t)
{
    auto *self = static_cast<Fsm *>(arg);
    {
        std::lock_guard<std::mutex> lock(self->mutex_);
        auto get = [&](void *to, size_t len) {
            return read(fd, to, len) == static_cast<ssize_t>(len);
        };
        uint64_t n;
        if (!get(&n, sizeof n)) {
            return -1;
        }
        std::vector<std::string> values;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t len;
            if (!get(&len, sizeof len)) {
                return -1;
            }
            std::string value(len, '\0');
            if (!get(value.data(), len)) {
                return -1;
            }
            values.push_back(value);
        }
        char extra;
        if (read(fd, &extra, 1) != 0) {
            return -1; // the file has to end with the image
        }
        self->values_ = std::move(values);
        self->applied_ = index;
        self->restores_++;
    }
    self->notify_();
    return 0;
}

} // namespace raft_test

#endif
