#include "wal_disk.h"

#include <atomic>
#include <thread>

extern "C" {
#include "wal/crc32c.h"
}

namespace raft_test
{
namespace
{

TEST(Crc32c, KnownVectorAndBothImplementationsAgree)
{
    EXPECT_EQ(0xe3069283u, rafti_crc32c(0, "123456789", 9)); // RFC 3720 B.4
    std::string bytes(1000, '\0');
    for (size_t i = 0; i < bytes.size(); i++) {
        bytes[i] = static_cast<char>(i * 131 + i / 7);
    }
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; len < 80; len++) {
            EXPECT_EQ(rafti_crc32c_portable(5, bytes.data() + from, len),
                      rafti_crc32c(5, bytes.data() + from, len));
        }
    }
}

TEST(Wal, NewDirectoryIsEmptyAndRemembersItsIdentity)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    EXPECT_TRUE(log.state().created);
    EXPECT_EQ(1u, log.state().first_index);
    EXPECT_EQ(0u, log.state().last_index);
    raft_wal_state first = log.state();
    ASSERT_EQ(0, log.Open());
    EXPECT_FALSE(log.state().created);
    EXPECT_EQ(0, memcmp(first.incarnation, log.state().incarnation, 16));
}

TEST(Wal, EntriesAndHardStateSurviveReopening)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, raft_wal_add_hard_state(log.wal(), 3, 2));
    for (uint64_t i = 1; i <= 10; i++) {
        ASSERT_EQ(0, log.Add(i, 3, i * 17));
    }
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(3u, log.state().term);
    EXPECT_EQ(2u, log.state().vote);
    EXPECT_EQ(1u, log.state().first_index);
    EXPECT_EQ(10u, log.state().last_index);
    EXPECT_FALSE(log.state().torn);
    for (uint64_t i = 1; i <= 10; i++) {
        EXPECT_EQ(Log::Payload(i, 3, i * 17), log.Read(i));
        EXPECT_EQ(3u, raft_wal_term(log.wal(), i));
    }
    EXPECT_EQ(0u, raft_wal_term(log.wal(), 11));
}

TEST(Wal, WhatWasNotFlushedIsNotVisible)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, log.Add(1, 1));
    EXPECT_EQ("", log.Read(1));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    EXPECT_EQ(Log::Payload(1, 1, 0), log.Read(1));
}

TEST(Wal, LowerIndexReplacesTheTail)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    for (uint64_t i = 1; i <= 10; i++) {
        ASSERT_EQ(0, log.Add(i, 1));
    }
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, log.Add(6, 2));
    ASSERT_EQ(0, log.Add(7, 2));
    EXPECT_EQ(RAFT_WAL_INVALID, log.Add(9, 2)) << "a gap";
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    for (int again = 0; again < 2; again++) {
        uint64_t first;
        uint64_t last;
        raft_wal_bounds(log.wal(), &first, &last);
        EXPECT_EQ(7u, last);
        EXPECT_EQ(Log::Payload(5, 1, 0), log.Read(5));
        EXPECT_EQ(Log::Payload(6, 2, 0), log.Read(6));
        EXPECT_EQ("", log.Read(8));
        ASSERT_EQ(0, log.Open());
    }
}

TEST(Wal, RollsSegmentsAndReleasesThem)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, raft_wal_add_hard_state(log.wal(), 5, 3));
    for (uint64_t i = 1; i <= 100; i++) {
        ASSERT_EQ(0, log.Add(i, 5, 3000));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
    }
    size_t before = disk.Segments().size();
    EXPECT_GE(before, 5u);
    ASSERT_EQ(0, raft_wal_release(log.wal(), 60));
    uint64_t first;
    uint64_t last;
    raft_wal_bounds(log.wal(), &first, &last);
    EXPECT_LT(disk.Segments().size(), before);
    EXPECT_GT(first, 40u);
    EXPECT_LE(first, 61u);

    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(first, log.state().first_index);
    EXPECT_EQ(100u, log.state().last_index);
    EXPECT_EQ(5u, log.state().prev_term);
    EXPECT_EQ(5u, log.state().term) << "repeated in each segment head";
    EXPECT_EQ(3u, log.state().vote);
    for (uint64_t i = first; i <= 100; i++) {
        EXPECT_EQ(Log::Payload(i, 5, 3000), log.Read(i));
    }
    ASSERT_EQ(0, raft_wal_release(log.wal(), 100));
    EXPECT_EQ(1u, disk.Segments().size());
    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(100u, log.state().last_index);
    ASSERT_EQ(0, log.Add(101, 5));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
}

TEST(Wal, ResetStartsBehindASnapshot)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    for (uint64_t i = 1; i <= 5; i++) {
        ASSERT_EQ(0, log.Add(i, 1));
    }
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, raft_wal_add_reset(log.wal(), 1000, 4));
    ASSERT_EQ(0, log.Add(1001, 4));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    for (int again = 0; again < 2; again++) {
        EXPECT_EQ("", log.Read(5));
        EXPECT_EQ(Log::Payload(1001, 4, 0), log.Read(1001));
        ASSERT_EQ(0, log.Open());
        EXPECT_EQ(1001u, log.state().first_index);
        EXPECT_EQ(1001u, log.state().last_index);
        EXPECT_EQ(4u, log.state().prev_term);
    }
}

TEST(Wal, OverwriteBelowTheOldestSegmentIsRecovered)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    uint64_t i = 0;
    while (disk.Segments().size() < 2) {
        i++;
        ASSERT_EQ(0, log.Add(i, 1, 3000));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
    }
    // The last segment begins with entry i; now it is overwritten from i - 3.
    for (uint64_t j = i - 3; j < i + 2; j++) {
        ASSERT_EQ(0, log.Add(j, 2));
    }
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, raft_wal_release(log.wal(), i - 4));
    ASSERT_EQ(1u, disk.Segments().size());
    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(i - 3, log.state().first_index);
    EXPECT_EQ(i + 1, log.state().last_index);
    EXPECT_EQ(0u, log.state().prev_term) << "not known any more";
}

TEST(Wal, LimitsAreToldApart)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    size_t max = raft_wal_max_entry(log.wal());
    EXPECT_EQ(RAFT_WAL_INVALID, log.Add(1, 1, max + 1));
    ASSERT_EQ(0, log.Add(1, 1, max));
    EXPECT_EQ(RAFT_WAL_BATCH_FULL, log.Add(2, 1));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, log.Add(2, 1));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(Log::Payload(1, 1, max), log.Read(1));
    EXPECT_EQ(2u, log.state().last_index);
    ASSERT_EQ(0, raft_wal_add_hard_state(log.wal(), 5, 0));
    EXPECT_EQ(RAFT_WAL_INVALID, raft_wal_add_hard_state(log.wal(), 4, 0)) << "terms never go back";
}

TEST(Wal, ReadStopsAtWhatFits)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    for (uint64_t i = 1; i <= 4; i++) {
        ASSERT_EQ(0, log.Add(i, 1, 1000));
    }
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    std::vector<char> buf(2 * (1000 + RAFT_WAL_READ_OVERHEAD));
    raft_wal_entry out[4];
    size_t n = 99;
    ASSERT_EQ(0, raft_wal_read(log.wal(), 1, out, 4, buf.data(), buf.size(), &n));
    EXPECT_EQ(2u, n);
    ASSERT_EQ(0, raft_wal_read(log.wal(), 1, out, 4, buf.data(), 10, &n));
    EXPECT_EQ(0u, n);
    EXPECT_EQ(1000u, out[0].len);
    EXPECT_EQ(RAFT_WAL_RANGE, raft_wal_read(log.wal(), 5, out, 4, buf.data(), buf.size(), &n));
}

TEST(Wal, DirectoryOfAnotherOwnerIsRefused)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    raft_wal *other = nullptr;
    raft_wal_state state;
    raft_wal_opts opts = disk.Opts();
    EXPECT_EQ(RAFT_WAL_LOCKED, raft_wal_open(&opts, &other, &state));
    log.Close();
    opts.cluster_id = 8;
    EXPECT_EQ(RAFT_WAL_MISMATCH, raft_wal_open(&opts, &other, &state));
    opts.cluster_id = 7;
    opts.node_id = 2;
    EXPECT_EQ(RAFT_WAL_MISMATCH, raft_wal_open(&opts, &other, &state));
    opts.node_id = 1;
    opts.segment_bytes = 5000;
    EXPECT_EQ(RAFT_WAL_INVALID, raft_wal_open(&opts, &other, &state));
    EXPECT_EQ(nullptr, other);
}

TEST(Wal, RemovedIncarnationOrSegmentsAreNotTakenForANewDirectory)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, log.Add(1, 1));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    log.Close();
    std::filesystem::rename(disk.dir() + "/incarnation", disk.dir() + "/kept");
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());
    std::filesystem::rename(disk.dir() + "/kept", disk.dir() + "/incarnation");
    for (auto &path : disk.Segments()) {
        std::filesystem::remove(path);
    }
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());
}

TEST(Wal, FullDiskIsSeenAheadAndIsNotFatal)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    EXPECT_FALSE(raft_wal_is_full(log.wal()));
    disk.nospace = true;
    uint64_t i = 0;
    int err = 0;
    bool seen_ahead = false;
    while (err == 0) {
        i++;
        ASSERT_EQ(0, log.Add(i, 1, 3000));
        err = raft_wal_flush(log.wal());
        seen_ahead = seen_ahead || (err == 0 && raft_wal_is_full(log.wal()));
    }
    EXPECT_EQ(RAFT_WAL_FULL, err);
    EXPECT_TRUE(seen_ahead) << "a whole segment before nothing goes any more";
    EXPECT_EQ(RAFT_WAL_FULL, raft_wal_flush(log.wal()));
    disk.nospace = false;
    EXPECT_EQ(0, raft_wal_flush(log.wal())) << "what was added is kept";
    EXPECT_FALSE(raft_wal_is_full(log.wal()));
    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(i, log.state().last_index);
}

TEST(Wal, ScanShowsEveryRecordWithoutTouchingAnything)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, raft_wal_add_hard_state(log.wal(), 2, 1));
    for (uint64_t i = 1; i <= 30; i++) {
        ASSERT_EQ(0, log.Add(i, 2, 4000));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
    }
    struct Seen {
        std::vector<uint64_t> entries;
        int segments = 0;
        int hard = 0;
    } seen;
    raft_wal_visitor visitor = {};
    visitor.arg = &seen;
    visitor.segment = [](void *arg, const raft_wal_segment_info *info) {
        static_cast<Seen *>(arg)->segments++;
        return info->cluster_id == 7 && info->node_id == 1 ? 0 : -99;
    };
    visitor.record = [](void *arg, const raft_wal_record *record) {
        auto *s = static_cast<Seen *>(arg);
        if (record->type == RAFT_WAL_RECORD_ENTRY) {
            s->entries.push_back(record->index);
        }
        s->hard += record->type == RAFT_WAL_RECORD_HARD;
        return 0;
    };
    raft_wal_report report;
    ASSERT_EQ(0, raft_wal_scan(disk.dir().c_str(), nullptr, &visitor, &report)); // while open
    EXPECT_FALSE(report.corrupt);
    EXPECT_FALSE(report.torn);
    EXPECT_EQ(30u, report.batches);
    EXPECT_EQ(30u, report.state.last_index);
    EXPECT_EQ(2u, report.state.term);
    EXPECT_EQ(30u, seen.entries.size());
    EXPECT_EQ(30, seen.hard);
    EXPECT_EQ(static_cast<int>(disk.Segments().size()), seen.segments);
    EXPECT_EQ(RAFT_WAL_IO, raft_wal_scan("/nonexistent", nullptr, &visitor, &report));
}

TEST(Wal, ReadersWorkWhileTheWriterWritesAndReleases)
{
    Disk disk;
    disk.faulty = false;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, log.Add(1, 1, 2000));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    std::atomic<bool> done{false};
    std::atomic<uint64_t> reads{0};
    std::thread reader([&] {
        std::vector<char> buf(8 * (2000 + RAFT_WAL_READ_OVERHEAD));
        raft_wal_entry out[8];
        do {
            uint64_t first;
            uint64_t last;
            size_t n;
            raft_wal_bounds(log.wal(), &first, &last);
            int err = raft_wal_read(log.wal(), first, out, 8, buf.data(), buf.size(), &n);
            EXPECT_TRUE(err == 0 || err == RAFT_WAL_RANGE) << err;
            for (size_t i = 0; err == 0 && i < n; i++) {
                std::string have(static_cast<const char *>(out[i].data), out[i].len);
                EXPECT_EQ(Log::Payload(first + i, 1, 2000), have);
                reads++;
            }
        } while (!done.load());
    });
    for (uint64_t i = 2; i <= 400; i++) {
        ASSERT_EQ(0, log.Add(i, 1, 2000));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
        if (i % 20 == 0) {
            ASSERT_EQ(0, raft_wal_release(log.wal(), i - 10));
        }
    }
    done = true;
    reader.join();
    EXPECT_GT(reads.load(), 0u);
}

TEST(Wal, BackgroundSpareKeepsUpWithRolls)
{
    Disk disk;
    raft_wal_opts opts = disk.Opts();
    opts.io = nullptr;
    opts.inline_spare = false;
    raft_wal *wal = nullptr;
    raft_wal_state state;
    ASSERT_EQ(0, raft_wal_open(&opts, &wal, &state));
    std::string data(3000, 'd');
    for (uint64_t i = 1; i <= 200; i++) {
        raft_wal_entry entry = {};
        entry.index = i;
        entry.term = 1;
        entry.data = data.data();
        entry.len = data.size();
        ASSERT_EQ(0, raft_wal_add_entry(wal, &entry));
        ASSERT_EQ(0, raft_wal_flush(wal));
    }
    raft_wal_stats stats;
    raft_wal_get_stats(wal, &stats);
    EXPECT_EQ(200u, stats.flushes);
    EXPECT_EQ(200u, stats.entries);
    EXPECT_GE(stats.segments, 10u);
    raft_wal_close(wal);
    ASSERT_EQ(0, raft_wal_open(&opts, &wal, &state));
    EXPECT_EQ(200u, state.last_index);
    raft_wal_close(wal);
}

} // namespace
} // namespace raft_test
