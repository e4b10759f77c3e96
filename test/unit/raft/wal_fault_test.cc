// Every system call of a long life fails once, or is the last one before a crash.
#include "wal_disk.h"

namespace raft_test
{
namespace
{

// What was acknowledged: it has to be there after the next open.
struct Promise {
    uint64_t term = 0;
    uint64_t vote = 0;
    uint64_t released = 0;
    std::map<uint64_t, uint64_t> terms; // index -> term
    uint64_t last = 0;
    bool created = false;
};

// Opens, writes, rolls, overwrites, resets, releases. Returns the first error.
int Live(Disk *disk, Promise *promise)
{
    Log log(disk);
    int err = log.Open();
    if (err != 0) {
        return err;
    }
    promise->created = true;
    for (uint64_t round = 1; round <= 40; round++) {
        std::map<uint64_t, uint64_t> terms = promise->terms;
        uint64_t term = round / 8 + 1;
        uint64_t from = promise->last + 1;
        if (round % 8 == 0 && promise->last > promise->released + 3) {
            from = promise->last - 2; // a new leader disagrees
        }
        err = raft_wal_add_hard_state(log.wal(), term, term % 3);
        uint64_t last = from + round % 4;
        terms.erase(terms.lower_bound(from), terms.end());
        for (uint64_t i = from; err == 0 && i <= last; i++) {
            err = log.Add(i, term, 1500);
            terms[i] = term;
        }
        if (err == 0) {
            err = raft_wal_flush(log.wal());
        }
        if (err != 0) {
            // Dead for good.
            EXPECT_EQ(err, raft_wal_flush(log.wal()));
            EXPECT_EQ(err, raft_wal_add_hard_state(log.wal(), 1000, 1));
            return err;
        }
        promise->term = term;
        promise->vote = term % 3;
        promise->terms = terms;
        promise->last = last;
        if (round % 3 == 0) {
            err = raft_wal_idle(log.wal());
        }
        if (err == 0 && round % 10 == 0) {
            promise->released = last - 4;
            err = raft_wal_release(log.wal(), promise->released);
        }
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

void Verify(Disk *disk, const Promise &promise)
{
    Log log(disk);
    int err = log.Open();
    ASSERT_EQ(0, err) << raft_wal_strerror(err);
    EXPECT_GE(log.state().term, promise.term);
    if (log.state().term == promise.term) {
        EXPECT_EQ(promise.vote, log.state().vote);
    }
    EXPECT_LE(log.state().first_index, promise.released + 1);
    // A write that failed may nevertheless have replaced the tail: what is newer wins.
    bool same = true;
    for (auto &it : promise.terms) {
        if (it.first <= promise.released) {
            continue;
        }
        uint64_t term = raft_wal_term(log.wal(), it.first);
        if (same && term != it.second) {
            EXPECT_GT(std::max(term, log.state().term), it.second) << "entry " << it.first;
            same = false;
        }
        if (same) {
            EXPECT_EQ(Log::Payload(it.first, it.second, 1500), log.Read(it.first));
        }
    }
    if (!same) {
        EXPECT_GT(log.state().term, promise.term);
    }
    // And it can go on.
    ASSERT_EQ(0, log.Add(log.state().last_index + 1, log.state().term + 1));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
}

TEST(WalFault, EverySystemCallFailsOnceAndNothingAcknowledgedIsLost)
{
    long faults = 0;
    for (long n = 1;; n++) {
        SCOPED_TRACE(n);
        Disk disk;
        Promise promise;
        disk.fail_at = n;
        int err = Live(&disk, &promise);
        bool reached = disk.calls >= n;
        disk.fail_at = 0;
        if (!reached) {
            EXPECT_EQ(0, err);
            break;
        }
        faults++;
        EXPECT_TRUE(err == RAFT_WAL_IO || err == 0) << err;
        Verify(&disk, promise);
        if (testing::Test::HasFailure()) {
            return;
        }
    }
    EXPECT_GT(faults, 100);
}

TEST(WalFault, CrashAtEverySystemCallLosesOnlyWhatWasNotAcknowledged)
{
    long crashes = 0;
    for (long n = 1;; n++) {
        Disk probe;
        Promise promise;
        probe.fail_at = n;
        probe.crash = true;
        (void)Live(&probe, &promise);
        if (probe.calls < n) {
            break;
        }
        crashes++;
        SCOPED_TRACE(n);
        probe.Crash(static_cast<uint32_t>(n));
        Verify(&probe, promise);
        if (testing::Test::HasFailure()) {
            return;
        }
    }
    EXPECT_GT(crashes, 100);
}

TEST(WalFault, DiskFullAtEveryCallIsReportedAndRecovers)
{
    for (long n = 1;; n++) {
        SCOPED_TRACE(n);
        Disk disk;
        Promise promise;
        disk.fail_at = n;
        disk.fail_errno = ENOSPC;
        int err = Live(&disk, &promise);
        bool reached = disk.calls >= n;
        disk.fail_at = 0;
        if (!reached) {
            break;
        }
        EXPECT_TRUE(err == 0 || err == RAFT_WAL_FULL || err == RAFT_WAL_IO) << err;
        Verify(&disk, promise);
        if (testing::Test::HasFailure()) {
            return;
        }
    }
}

} // namespace
} // namespace raft_test
