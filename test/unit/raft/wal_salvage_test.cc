// A damaged log that is cut, and what is remembered of the part that was lost.
#include "wal_disk.h"

namespace raft_test
{
namespace
{

int OpenSalvaging(Disk *disk, raft_wal **wal, raft_wal_state *state)
{
    raft_wal_opts opts = disk->Opts();
    opts.salvage = true;
    return raft_wal_open(&opts, wal, state);
}

// @n batches of two entries, batch b in term b with a vote for b % 3; entries 1 .. 2n.
void Fill(Disk *disk, uint64_t n, size_t len, bool idle)
{
    Log log(disk);
    ASSERT_EQ(0, log.Open());
    for (uint64_t b = 1; b <= n; b++) {
        ASSERT_EQ(0, raft_wal_add_hard_state(log.wal(), b, b % 3));
        ASSERT_EQ(0, log.Add(2 * b - 1, b, len));
        ASSERT_EQ(0, log.Add(2 * b, b, len));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
    }
    if (idle) {
        ASSERT_EQ(0, raft_wal_idle(log.wal()));
    }
}

TEST(WalSalvage, HealthyLogHasLostNothing)
{
    Disk disk;
    Fill(&disk, 5, 100, true);
    raft_wal *wal = nullptr;
    raft_wal_state state;
    ASSERT_EQ(0, OpenSalvaging(&disk, &wal, &state));
    EXPECT_EQ(0u, state.lost_until);
    EXPECT_EQ(10u, state.last_index);
    raft_wal_close(wal);
}

TEST(WalSalvage, DamageInAnyBatchCutsThereAndRemembersHowFarItReached)
{
    const uint64_t n = 40; // several segments
    Disk disk;
    Fill(&disk, n, 1500, true);
    auto segments = disk.Segments();
    ASSERT_GE(segments.size(), 3u);
    std::vector<std::string> good;
    for (auto &path : segments) {
        good.push_back(ReadFile(path));
    }

    uint64_t batch = 0;
    for (size_t s = 0; s < segments.size(); s++) {
        for (size_t at = 4096; at < good[s].size(); at += 4096) {
            if (good[s][at] == 0 && good[s][at + 1] == 0 && good[s][at + 2] == 0) {
                break; // zeros behind the last batch
            }
            if (s + 1 == segments.size() && batch == n) {
                break; // the mark
            }
            batch++;
            SCOPED_TRACE(batch);
            for (size_t i = 0; i < segments.size(); i++) {
                WriteFile(segments[i], good[i]);
            }
            for (auto &path : disk.Segments()) {
                if (std::find(segments.begin(), segments.end(), path) == segments.end()) {
                    std::filesystem::remove(path);
                }
            }
            std::filesystem::remove(disk.dir() + "/recovering");
            std::string bad = good[s];
            bad[at + 1800] ^= 2; // in the batch's second entry
            WriteFile(segments[s], bad);

            raft_wal *wal = nullptr;
            raft_wal_state state;
            ASSERT_EQ(0, OpenSalvaging(&disk, &wal, &state));
            EXPECT_EQ(2 * batch - 1, state.last_index) << "the first entry of the batch is whole";
            EXPECT_EQ(2 * n, state.lost_until);
            EXPECT_EQ(n, state.term) << "no later vote is forgotten";
            EXPECT_EQ(n % 3, state.vote);

            // It can be filled again, is remembered over restarts, and forgotten when told so.
            raft_wal_entry entry = {};
            entry.index = 2 * batch;
            entry.term = n;
            ASSERT_EQ(0, raft_wal_add_entry(wal, &entry));
            ASSERT_EQ(0, raft_wal_flush(wal));
            raft_wal_close(wal);
            ASSERT_EQ(0, OpenSalvaging(&disk, &wal, &state));
            EXPECT_EQ(2 * batch, state.last_index);
            EXPECT_EQ(2 * n, state.lost_until);
            EXPECT_EQ(n, state.term);
            ASSERT_EQ(0, raft_wal_recovered(wal));
            raft_wal_close(wal);
            ASSERT_EQ(0, OpenSalvaging(&disk, &wal, &state));
            EXPECT_EQ(0u, state.lost_until);
            EXPECT_EQ(2 * batch, state.last_index);
            raft_wal_close(wal);
        }
    }
    EXPECT_EQ(n, batch);
}

TEST(WalSalvage, CrashAtEveryCallOfTheCutKeepsTheMemory)
{
    long crashes = 0;
    for (long n = 1;; n++) {
        SCOPED_TRACE(n);
        Disk disk;
        Fill(&disk, 40, 1500, true);
        std::string path = disk.Segments()[1];
        std::string bad = ReadFile(path);
        bad[4096 * 3 + 1800] ^= 2;
        WriteFile(path, bad);

        raft_wal *wal = nullptr;
        raft_wal_state state;
        disk.calls = 0;
        disk.fail_at = n;
        disk.crash = true;
        int err = OpenSalvaging(&disk, &wal, &state);
        bool reached = disk.calls >= n;
        if (err == 0) {
            raft_wal_close(wal);
        }
        disk.Crash(static_cast<uint32_t>(n));
        ASSERT_EQ(0, OpenSalvaging(&disk, &wal, &state));
        EXPECT_EQ(80u, state.lost_until);
        EXPECT_EQ(40u, state.term);
        EXPECT_EQ(40u % 3, state.vote);
        EXPECT_LT(state.last_index, 80u);
        raft_wal_close(wal);
        if (!reached || testing::Test::HasFailure()) {
            break;
        }
        crashes++;
    }
    EXPECT_GT(crashes, 10);
}

TEST(WalSalvage, WhatCannotBeJudgedStaysCorrupt)
{
    Disk disk;
    Fill(&disk, 40, 1500, true);
    auto segments = disk.Segments();
    raft_wal *wal = nullptr;
    raft_wal_state state;
    std::string good = ReadFile(segments[1]);
    std::string bad = good;
    bad[100] ^= 1; // a segment head
    WriteFile(segments[1], bad);
    EXPECT_EQ(RAFT_WAL_CORRUPT, OpenSalvaging(&disk, &wal, &state));
    std::filesystem::remove(segments[1]);
    EXPECT_EQ(RAFT_WAL_CORRUPT, OpenSalvaging(&disk, &wal, &state));
    WriteFile(segments[1], good);
    EXPECT_EQ(0, OpenSalvaging(&disk, &wal, &state));
    EXPECT_EQ(0u, state.lost_until);
    raft_wal_close(wal);
}

} // namespace
} // namespace raft_test
