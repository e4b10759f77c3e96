// Crash images and damage: what may be lost (the unfinished batch), and what must be noticed.
#include "wal_disk.h"

#include <functional>

namespace raft_test
{
namespace
{

// Batches of several entries; after each flush, what was durable then.
struct History {
    std::vector<uint64_t> last; // last[k]: last index after flush k
};

// Writes @n batches; the first starts a vote.
History WriteBatches(Log *log, int n, int per_batch, size_t len)
{
    History history;
    uint64_t index = log->state().last_index;
    EXPECT_EQ(0, raft_wal_add_hard_state(log->wal(), 9, 1));
    for (int b = 0; b < n; b++) {
        for (int i = 0; i < per_batch; i++) {
            index++;
            EXPECT_EQ(0, log->Add(index, 9, len));
        }
        EXPECT_EQ(0, raft_wal_flush(log->wal()));
        history.last.push_back(index);
    }
    return history;
}

void ExpectEntries(Log *log, uint64_t upto)
{
    for (uint64_t i = 1; i <= upto; i++) {
        ASSERT_EQ(9u, raft_wal_term(log->wal(), i)) << i;
        ASSERT_EQ(0u, log->Read(i).find("entry " + std::to_string(i) + " of term 9")) << i;
    }
}

// Opens an image in which only some sectors of the last batch arrived.
class TornImage
{
  public:
    TornImage()
    {
        Log log(&disk_);
        EXPECT_EQ(0, log.Open());
        history_ = WriteBatches(&log, 5, 3, 200);
        path_ = disk_.Segments().back();
        before_ = ReadFile(path_);
        acked_ = history_.last.back();
        // The batch the crash cuts short: several blocks.
        for (uint64_t i = acked_ + 1; i <= acked_ + 6; i++) {
            EXPECT_EQ(0, log.Add(i, 9, 2000));
        }
        EXPECT_EQ(0, raft_wal_flush(log.wal()));
        log.Close();
        after_ = ReadFile(path_);
        EXPECT_EQ(before_.size(), after_.size());
        while (before_[from_] == after_[from_]) {
            from_++;
        }
        from_ = from_ / 4096 * 4096;
        to_ = after_.size();
        while (before_[to_ - 1] == after_[to_ - 1]) {
            to_--;
        }
        to_ = (to_ + kSector - 1) / kSector * kSector;
    }

    // @arrived(k): did sector k of the batch reach the disk?
    void Check(const std::function<bool(size_t)> &arrived)
    {
        std::string image = before_;
        bool all = true;
        for (size_t at = from_, k = 0; at < to_; at += kSector, k++) {
            if (arrived(k)) {
                image.replace(at, kSector, after_, at, kSector);
            } else if (before_.compare(at, kSector, after_, at, kSector) != 0) {
                all = false;
            }
        }
        for (auto &path : disk_.Segments()) {
            std::filesystem::remove(path);
        }
        WriteFile(path_, image);
        Log log(&disk_);
        ASSERT_EQ(0, log.Open());
        EXPECT_GE(log.state().last_index, acked_);
        EXPECT_LE(log.state().last_index, acked_ + 6);
        EXPECT_TRUE(!all || log.state().last_index == acked_ + 6);
        ExpectEntries(&log, log.state().last_index);
        EXPECT_EQ(9u, log.state().term);

        // The log goes on, and what is written now survives too.
        uint64_t next = log.state().last_index + 1;
        ASSERT_EQ(0, log.Add(next, 9));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
        ASSERT_EQ(0, log.Open());
        EXPECT_FALSE(log.state().torn);
        EXPECT_EQ(next, log.state().last_index);
        ExpectEntries(&log, next);
    }

    size_t sectors() const
    {
        return (to_ - from_) / kSector;
    }

  private:
    Disk disk_;
    History history_;
    std::string path_;
    std::string before_;
    std::string after_;
    uint64_t acked_ = 0;
    size_t from_ = 0;
    size_t to_ = 0;
};

TEST(WalCrash, EverySectorPrefixOfTheLastBatchRecovers)
{
    TornImage image;
    ASSERT_GE(image.sectors(), 20u);
    for (size_t n = 0; n <= image.sectors(); n++) {
        SCOPED_TRACE(n);
        image.Check([&](size_t k) { return k < n; });
        if (testing::Test::HasFatalFailure()) {
            return;
        }
    }
}

TEST(WalCrash, EverySectorSuffixOfTheLastBatchRecovers)
{
    TornImage image;
    for (size_t n = 0; n <= image.sectors(); n++) {
        SCOPED_TRACE(n);
        image.Check([&](size_t k) { return k >= n; });
        if (testing::Test::HasFatalFailure()) {
            return;
        }
    }
}

TEST(WalCrash, AnySetOfSectorsOfTheLastBatchRecovers)
{
    TornImage image;
    for (uint32_t seed = 0; seed < 60; seed++) {
        SCOPED_TRACE(seed);
        std::mt19937 rng(seed);
        image.Check([&](size_t) { return rng() % 2 == 0; });
        if (testing::Test::HasFatalFailure()) {
            return;
        }
    }
}

// A flip in each 64-byte piece of everything but the last batch is noticed.
TEST(WalCrash, DamageBehindWhichLaterBatchesLieIsCorruption)
{
    Disk disk;
    {
        Log log(&disk);
        ASSERT_EQ(0, log.Open());
        WriteBatches(&log, 6, 4, 300);
    }
    std::string path = disk.Segments().back();
    std::string good = ReadFile(path);
    size_t batches_end = 4096 + 5 * 4096; // five of six batches, one block each
    int used = 0;
    for (size_t at = 0; at < batches_end; at += 64) {
        size_t bit = at % 61;
        std::string bad = good;
        if (bad[at + bit] == 0 && bad.compare(at, 64, std::string(64, '\0')) == 0 && at >= 4096) {
            continue; // padding
        }
        used++;
        bad[at + bit] = static_cast<char>(bad[at + bit] ^ 0x10);
        WriteFile(path, bad);
        raft_wal_report report;
        ASSERT_EQ(0, raft_wal_scan(disk.dir().c_str(), nullptr, nullptr, &report));
        bool in_padding = false;
        if (!report.corrupt) {
            // Only the zeros between a batch's end and its block's end may be damaged unnoticed.
            in_padding = good[at + bit] == 0 && report.state.last_index == 24;
        }
        EXPECT_TRUE(report.corrupt || in_padding) << "offset " << at + bit;
        if (report.corrupt) {
            Log log(&disk);
            EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open()) << at + bit;
        }
    }
    EXPECT_GT(used, 100);
    WriteFile(path, good);
    Log log(&disk);
    EXPECT_EQ(0, log.Open());
    EXPECT_EQ(24u, log.state().last_index);
}

TEST(WalCrash, DamageInTheLastBatchIsCorruptionOnceTheMarkSaysItWasDurable)
{
    for (bool idle : {false, true}) {
        SCOPED_TRACE(idle);
        Disk disk;
        {
            Log log(&disk);
            ASSERT_EQ(0, log.Open());
            WriteBatches(&log, 3, 2, 300);
            if (idle) {
                ASSERT_EQ(0, raft_wal_idle(log.wal()));
            }
        }
        std::string path = disk.Segments().back();
        std::string bytes = ReadFile(path);
        bytes[4096 * 3 + 200] ^= 1; // in the third batch
        WriteFile(path, bytes);
        Log log(&disk);
        if (idle) {
            EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());
        } else {
            // Not to be told from a crash in the middle of the write.
            EXPECT_EQ(0, log.Open());
            EXPECT_TRUE(log.state().torn);
            EXPECT_GE(log.state().last_index, 4u);
        }
    }
}

TEST(WalCrash, MarkIsOverwrittenByTheNextBatchAndLeavesNoTrace)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    for (uint64_t i = 1; i <= 50; i++) {
        ASSERT_EQ(0, log.Add(i, 9, 100));
        ASSERT_EQ(0, raft_wal_flush(log.wal()));
        ASSERT_EQ(0, raft_wal_idle(log.wal()));
        if (i % 7 == 0) {
            ASSERT_EQ(0, log.Open());
            EXPECT_FALSE(log.state().torn);
            ASSERT_EQ(i, log.state().last_index);
        }
    }
    ExpectEntries(&log, 50);
}

TEST(WalCrash, DamagedOrMissingSegmentsAreCorruption)
{
    Disk disk;
    {
        Log log(&disk);
        ASSERT_EQ(0, log.Open());
        WriteBatches(&log, 60, 1, 3000);
    }
    auto segments = disk.Segments();
    ASSERT_GE(segments.size(), 3u);
    Log log(&disk);

    std::string good = ReadFile(segments[1]);
    std::string bad = good;
    bad[4096 + 50] ^= 1; // first batch of a middle segment
    WriteFile(segments[1], bad);
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());

    bad = good;
    bad[100] ^= 1; // its head
    WriteFile(segments[1], bad);
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());

    WriteFile(segments[1], good.substr(0, good.size() / 2));
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());

    std::filesystem::remove(segments[1]);
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());

    // The last batch of a segment that is not the last one is not "torn".
    bad = good;
    size_t end = bad.find_last_not_of('\0');
    bad[end] ^= 1;
    WriteFile(segments[1], bad);
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());

    WriteFile(segments[1], good);
    EXPECT_EQ(0, log.Open());
}

TEST(WalCrash, BytesOfAnotherLogAreNotTakenForRecords)
{
    Disk disk;
    Disk other;
    {
        Log log(&disk);
        ASSERT_EQ(0, log.Open());
        WriteBatches(&log, 5, 1, 3000);
        Log longer(&other);
        ASSERT_EQ(0, longer.Open());
        WriteBatches(&longer, 10, 1, 3000);
    }
    // A misdirected write: batch 8 of another log, behind the end of this one's batch 5. Only the
    // salt tells that it does not prove the loss of batches 6 and 7.
    std::string from = ReadFile(other.Segments()[0]);
    std::string path = disk.Segments()[0];
    std::string to = ReadFile(path);
    to.replace(8 * 4096, 4096, from, 8 * 4096, 4096);
    WriteFile(path, to);
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    EXPECT_EQ(5u, log.state().last_index);
    ExpectEntries(&log, 5);
}

TEST(WalCrash, BlockThatFellBackToAnEarlierVersionIsCorruption)
{
    Disk disk;
    Log log(&disk);
    ASSERT_EQ(0, log.Open());
    WriteBatches(&log, 2, 1, 100);
    log.Close();
    std::string path = disk.Segments()[0];
    std::string before = ReadFile(path);

    // Two histories of batch 3, of which the second is continued.
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, log.Add(3, 9, 100));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    log.Close();
    std::string first = ReadFile(path);
    WriteFile(path, before);
    ASSERT_EQ(0, log.Open());
    ASSERT_EQ(0, log.Add(3, 10, 100));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    ASSERT_EQ(0, log.Add(4, 10, 100));
    ASSERT_EQ(0, raft_wal_flush(log.wal()));
    log.Close();

    // Every checksum is right; only the chain of batch 4 does not fit the batch before it.
    std::string bad = ReadFile(path);
    bad.replace(3 * 4096, 4096, first, 3 * 4096, 4096);
    WriteFile(path, bad);
    EXPECT_EQ(RAFT_WAL_CORRUPT, log.Open());
}

} // namespace
} // namespace raft_test
