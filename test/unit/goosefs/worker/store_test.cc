// The store: every byte right, one fetch per block, quotas kept, restarts survived.
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

extern "C" {
#include "store.h"
}

#include "fake_origin.h"

namespace
{

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kExtent = 16 * kBlock;

std::atomic<int> g_write_errno{0};

long FailingWrite(void *, int fd, const void *data, size_t len, uint64_t offset)
{
    if (g_write_errno != 0) {
        errno = g_write_errno;
        return -1;
    }
    return pwrite(fd, data, len, static_cast<off_t>(offset));
}

// One read and the wait for it.
struct Pending {
    std::mutex mutex;
    std::condition_variable done;
    bool ready = false;
    gfsi_read *read = nullptr;

    static void Done(void *arg, gfsi_read *)
    {
        auto *p = static_cast<Pending *>(arg);
        std::lock_guard<std::mutex> guard(p->mutex);

        p->ready = true;
        p->done.notify_all();
    }

    void Wait()
    {
        std::unique_lock<std::mutex> lock(mutex);

        done.wait(lock, [&] { return ready; });
    }
};

class Store : public testing::Test
{
  protected:
    void SetUp() override
    {
        // In memory where that is possible: the index is synced at each write.
        char shm[] = "/dev/shm/gfs_store_XXXXXX";
        char tmp[] = "/tmp/gfs_store_XXXXXX";
        char *dir = mkdtemp(shm);

        dir = dir != nullptr ? dir : mkdtemp(tmp);
        ASSERT_NE(nullptr, dir);
        dir_ = dir;
        g_write_errno = 0;
        config_ = {};
        config_.data_folder = "goosefsworker";
        config_.block_size = kBlock;
        config_.extent_size = kExtent;
        config_.fetch_threads = 4;
        config_.queue_max = 100;
        config_.read_through_max = 1 << 20;
        config_.open_files = 4;
        config_.extents_max = 1000;
        config_.fetch = FakeOrigin::Fetch;
        config_.fetch_arg = &origin_;
        config_.boot_id = "boot-1";
        AddTier("HDD", "hdd", 100 * kBlock, 0.8, 0.7);
    }

    void TearDown() override
    {
        Close();
        std::filesystem::remove_all(dir_);
    }

    void AddTier(const char *alias, const char *name, uint64_t quota, double high, double low)
    {
        gfs_worker_tier tier = {};

        snprintf(tier.alias, sizeof(tier.alias), "%s", alias);
        snprintf(tier.path, sizeof(tier.path), "%s/%s", dir_.c_str(), name);
        tier.quota = quota;
        tier.high = high;
        tier.low = low;
        tiers_.push_back(tier);
    }

    int TryOpen()
    {
        config_.tiers = tiers_.data();
        config_.n_tiers = tiers_.size();
        return gfsi_store_open(&config_, &store_, &err_);
    }

    void Open()
    {
        ASSERT_EQ(0, TryOpen()) << err_.text;
    }

    void Close()
    {
        if (store_ != nullptr) {
            EXPECT_TRUE(gfsi_store_consistent(store_));
        }
        store_ = gfsi_store_close(store_);
    }

    gfsi_target Target(uint64_t inode, uint64_t length, uint64_t offset, uint64_t n,
                       const char *version = "\"v1\"")
    {
        gfsi_target t = {};

        t.inode_id = inode;
        t.version_id = 1;
        t.file_length = length;
        t.offset = offset;
        t.length = n;
        t.mount_id = 1;
        t.path = "dir/file";
        t.version = version;
        return t;
    }

    // Waits and takes the bytes; an error comes back as its name.
    std::string Finish(int rc, Pending *p)
    {
        if (rc < 0) {
            return gfs_err_name(rc);
        }
        if (rc == 0) {
            p->Wait();
        }

        const char *text = nullptr;
        std::string data;

        rc = gfsi_read_result(p->read, &text);
        if (rc < 0) {
            p->read = gfsi_read_free(p->read);
            return gfs_err_name(rc);
        }

        gfsi_piece pieces[GFSI_PIECES_MAX];
        int n = gfsi_read_pieces(p->read, pieces, &err_);

        EXPECT_GE(n, 1) << err_.text;
        for (int i = 0; i < n; i++) {
            std::string part(pieces[i].len, '\0');

            if (pieces[i].fd < 0) {
                part.assign(pieces[i].data, pieces[i].len);
                memory_pieces_++;
            } else {
                EXPECT_EQ(static_cast<ssize_t>(part.size()),
                          pread(pieces[i].fd, &part[0], part.size(),
                                static_cast<off_t>(pieces[i].offset)));
            }
            data += part;
        }
        p->read = gfsi_read_free(p->read);
        return data;
    }

    std::string Read(const gfsi_target &t)
    {
        Pending p;
        int rc = gfsi_store_read(store_, &t, Pending::Done, &p, &p.read, &err_);

        return Finish(rc, &p);
    }

    std::string Read(uint64_t inode, uint64_t length, uint64_t offset, uint64_t n)
    {
        return Read(Target(inode, length, offset, n));
    }

    static std::string Expected(uint64_t offset, uint64_t n)
    {
        return FakeOrigin::Expected("dir/file", "\"v1\"", offset, n);
    }

    uint64_t Used()
    {
        gfsi_tier_usage usage[4];
        uint64_t used = 0;
        size_t n = gfsi_store_usage(store_, usage, 4);

        for (size_t i = 0; i < n; i++) {
            used += usage[i].used;
        }
        return used;
    }

    // What the files really take.
    uint64_t OnDisk()
    {
        uint64_t bytes = 0;

        for (const auto &e : std::filesystem::recursive_directory_iterator(dir_)) {
            struct stat st;

            if (e.is_regular_file() && e.path().string().find("/extents/") != std::string::npos &&
                stat(e.path().c_str(), &st) == 0) {
                bytes += static_cast<uint64_t>(st.st_blocks) * 512;
            }
        }
        return bytes;
    }

    int Files()
    {
        int n = 0;

        for (const auto &e : std::filesystem::recursive_directory_iterator(dir_)) {
            n += e.is_regular_file() && e.path().string().find("/extents/") != std::string::npos;
        }
        return n;
    }

    std::string dir_;
    FakeOrigin origin_;
    std::vector<gfs_worker_tier> tiers_;
    gfsi_store_config config_;
    gfsi_store *store_ = nullptr;
    gfs_err err_ = GFS_ERR_INIT;
    int memory_pieces_ = 0;
};

TEST_F(Store, ReadsThroughAndThenFromTheCache)
{
    Open();
    EXPECT_EQ(Expected(100, 9000), Read(1, 50000, 100, 9000));
    EXPECT_EQ(3, origin_.fetches);
    EXPECT_EQ(Expected(0, 12288), Read(1, 50000, 0, 12288));
    EXPECT_EQ(3, origin_.fetches);
    EXPECT_EQ(3 * kBlock, Used());
}

TEST_F(Store, RangesAcrossExtentsAndTheShortLastBlock)
{
    uint64_t length = 2 * kExtent + 5000;

    Open();
    EXPECT_EQ(Expected(kExtent - 10, 20), Read(1, length, kExtent - 10, 20));
    EXPECT_EQ(Expected(2 * kExtent - 1, 5001), Read(1, length, 2 * kExtent - 1, 5001));
    EXPECT_EQ(Expected(length - 1, 1), Read(1, length, length - 1, 1));
}

TEST_F(Store, BadTargetsAreRefused)
{
    Open();
    EXPECT_EQ("RANGE", Read(1, 100, 100, 1));
    EXPECT_EQ("RANGE", Read(1, 100, 99, 2));
    EXPECT_EQ("RANGE", Read(1, 100, 0, 0));
    EXPECT_EQ("INVAL", Read(1, UINT64_MAX, 0, 1));
    EXPECT_EQ(Expected(0, 10), Read(1, 100, 0, 10));
    EXPECT_EQ("INVAL", Read(1, 200, 0, 10)); // another length of the same version
}

TEST_F(Store, OneFetchPerBlockHoweverManyWait)
{
    std::vector<std::unique_ptr<Pending>> pending;
    std::vector<int> results;

    Open();
    origin_.CloseGate();
    for (int i = 0; i < 20; i++) {
        gfsi_target t = Target(1, 50000, 0, 100 + static_cast<uint64_t>(i));

        pending.push_back(std::make_unique<Pending>());
        results.push_back(gfsi_store_read(store_, &t, Pending::Done, pending.back().get(),
                                          &pending.back()->read, &err_));
        EXPECT_EQ(0, results.back());
    }
    origin_.OpenGate();
    for (size_t i = 0; i < pending.size(); i++) {
        EXPECT_EQ(Expected(0, 100 + i), Finish(results[i], pending[i].get()));
    }
    EXPECT_EQ(1, origin_.fetches);
}

TEST_F(Store, FailedFetchReachesEveryWaiterAndIsTriedAgain)
{
    Open();
    origin_.fail_next = 1;
    EXPECT_EQ("UNAVAIL", Read(1, 50000, 0, 10));
    EXPECT_EQ(Expected(0, 10), Read(1, 50000, 0, 10));
    gfsi_store_settle(store_);
    EXPECT_EQ(kBlock, Used());
}

TEST_F(Store, ChangedObjectIsSaidAndOldBlocksStay)
{
    Open();
    EXPECT_EQ(Expected(0, 10), Read(1, 50000, 0, 10));
    origin_.SetVersion("\"v2\"");
    EXPECT_EQ("CHANGED", Read(1, 50000, kBlock, 10));
    EXPECT_EQ("CHANGED", Read(1, 50000, 0, 2 * kBlock));
    EXPECT_EQ(Expected(0, 10), Read(1, 50000, 0, 10)); // what was cached is that version
}

TEST_F(Store, InexactVersionsArePinnedByTheFirstFetch)
{
    gfsi_target first = Target(1, 50000, 0, 10, "~0/60000-50000");
    gfsi_target second = Target(1, 50000, kBlock, 10, "~0/60000-50000");

    Open();
    EXPECT_EQ(Expected(0, 10), Read(first));
    origin_.SetVersion("\"v2\"");
    EXPECT_EQ("CHANGED", Read(second));
    Close();
    Open(); // remembered across a restart too
    EXPECT_EQ("CHANGED", Read(second));
}

// What a master does when it looks at an object that it knew from a listing.
TEST_F(Store, AnExactVersionTakesOverWhatItsInexactOneHad)
{
    gfsi_target listed = Target(1, 50000, 0, 50000, "~0/60000-50000");
    gfsi_target exact = Target(1, 50000, 0, 50000, "\"v1\"");
    gfsi_cached changes[8];
    uint64_t next = 0;
    bool complete = false;
    gfs_data_opened opened;
    int fd = -1;

    Open();
    exact.version_id = listed.version_id + 1;
    EXPECT_EQ(Expected(0, 50000), Read(listed));
    gfsi_store_settle(store_);
    (void)gfsi_store_changes(store_, 0, changes, 8, &next, &complete);
    int before = origin_.fetches;
    EXPECT_EQ(0, gfsi_store_open_sealed(store_, &exact, &fd, &opened, &err_)) << err_.text;
    close(fd);
    EXPECT_EQ(Expected(0, 50000), Read(exact));
    EXPECT_EQ(Expected(0, 50000), Read(listed)) << "an old handle reads on";
    EXPECT_EQ(before, origin_.fetches);
    ASSERT_EQ(2u, gfsi_store_changes(store_, next, changes, 8, &next, &complete));
    EXPECT_EQ(listed.version_id, changes[0].version_id);
    EXPECT_EQ(0u, changes[0].bytes);
    EXPECT_EQ(exact.version_id, changes[1].version_id);
    EXPECT_EQ(50000u, changes[1].bytes);
    gfsi_store_free(store_, 1, listed.version_id);
    EXPECT_EQ(Expected(0, 50000), Read(exact)) << "the old version's end is not the new one's";
    EXPECT_EQ(before, origin_.fetches);
    EXPECT_TRUE(gfsi_store_consistent(store_));

    Close();
    Open(); // and again, from disk
    EXPECT_EQ(Expected(0, 50000), Read(exact));
    EXPECT_EQ(before, origin_.fetches);
    gfsi_target other = Target(1, 50000, 0, 10, "\"v2\"");
    other.version_id = listed.version_id + 2;
    origin_.SetVersion("\"v2\"");
    (void)Read(other);
    EXPECT_EQ(before + 1, origin_.fetches);
    EXPECT_TRUE(gfsi_store_consistent(store_));
}

TEST_F(Store, QuotaIsNeverExceededAndTheOldestGo)
{
    Open();
    for (uint64_t inode = 1; inode <= 40; inode++) {
        EXPECT_EQ(Expected(0, 5 * kBlock), Read(inode, 5 * kBlock, 0, 5 * kBlock));
        EXPECT_LE(Used(), 100 * kBlock);
        EXPECT_LE(OnDisk(), 100 * kBlock);
        EXPECT_TRUE(gfsi_store_consistent(store_));
    }
    gfsi_store_settle(store_);
    EXPECT_LE(Used(), 80 * kBlock);
    EXPECT_EQ(Used(), OnDisk());

    int before = origin_.fetches;

    EXPECT_EQ(Expected(0, 10), Read(40, 5 * kBlock, 0, 10));
    EXPECT_EQ(before, origin_.fetches);
    EXPECT_EQ(Expected(0, 10), Read(1, 5 * kBlock, 0, 10));
    EXPECT_EQ(before + 1, origin_.fetches);
}

TEST_F(Store, WithoutAnyRoomBytesAreReadThrough)
{
    tiers_[0].quota = 2 * kBlock;
    tiers_[0].high = tiers_[0].low = 1.0;
    Open();

    // One extent that is larger than the tier: it cannot evict itself while it is read.
    EXPECT_EQ(Expected(0, 6 * kBlock), Read(1, 6 * kBlock, 0, 6 * kBlock));
    EXPECT_GT(memory_pieces_, 0);
    EXPECT_LE(Used(), 2 * kBlock);
    EXPECT_EQ(Expected(0, 6 * kBlock), Read(1, 6 * kBlock, 0, 6 * kBlock));
}

TEST_F(Store, ReadThroughHasALimit)
{
    tiers_[0].quota = 100; // less than a block
    config_.read_through_max = 2 * kBlock;
    Open();
    EXPECT_EQ("BUSY", Read(1, 6 * kBlock, 0, 6 * kBlock));
    EXPECT_EQ(Expected(0, 2 * kBlock), Read(1, 6 * kBlock, 0, 2 * kBlock));
}

TEST_F(Store, FullDiskIsReadThrough)
{
    config_.pwrite = FailingWrite;
    Open();
    g_write_errno = ENOSPC;
    EXPECT_EQ(Expected(0, 3 * kBlock), Read(1, 50000, 0, 3 * kBlock));
    EXPECT_GT(memory_pieces_, 0);
    gfsi_store_settle(store_);
    EXPECT_EQ(0u, Used());
    g_write_errno = 0;
    EXPECT_EQ(Expected(0, 3 * kBlock), Read(1, 50000, 0, 3 * kBlock));
    EXPECT_EQ(3 * kBlock, Used());
}

TEST_F(Store, SurvivesARestart)
{
    Open();
    Read(1, 50000, 0, 50000);
    Read(2, 50000, 0, 10);
    Close();

    int before = origin_.fetches;

    Open();
    EXPECT_EQ(14 * kBlock, Used());
    EXPECT_EQ(Expected(0, 50000), Read(1, 50000, 0, 50000));
    EXPECT_EQ(Expected(0, 10), Read(2, 50000, 0, 10));
    EXPECT_EQ(before, origin_.fetches);
}

TEST_F(Store, AnotherBlockSizeStartsEmpty)
{
    Open();
    Read(1, 50000, 0, 50000);
    Close();
    config_.block_size = 2 * kBlock;
    Open();
    EXPECT_EQ(0u, Used());
    EXPECT_EQ(0, Files());
    EXPECT_EQ(Expected(0, 50000), Read(1, 50000, 0, 50000));
}

TEST_F(Store, UnknownFilesAndRecordsWithoutFilesAreDropped)
{
    Open();
    Read(1, 50000, 0, 10);
    Read(2, 50000, 0, 10);
    Close();

    std::vector<std::string> files;

    for (const auto &e : std::filesystem::recursive_directory_iterator(dir_)) {
        if (e.is_regular_file() && e.path().string().find("/extents/") != std::string::npos) {
            files.push_back(e.path());
        }
    }
    ASSERT_EQ(2u, files.size());
    std::filesystem::remove(files[0]);
    std::ofstream(std::filesystem::path(files[1]).parent_path() / "9-9-9-9") << "unknown";
    std::ofstream(std::filesystem::path(files[1]).parent_path() / "garbage") << "unknown";
    Open();
    EXPECT_EQ(1, Files());
    EXPECT_EQ(kBlock, Used());
    EXPECT_EQ(Expected(0, 10), Read(1, 50000, 0, 10));
    EXPECT_EQ(Expected(0, 10), Read(2, 50000, 0, 10));
    EXPECT_EQ(3, origin_.fetches);
}

TEST_F(Store, CorruptIndexStartsEmpty)
{
    Open();
    Read(1, 50000, 0, 50000);
    Close();
    std::ofstream(dir_ + "/hdd/goosefsworker/index/data.mdb", std::ios::trunc)
        << std::string(16384, 'x');
    Open();
    EXPECT_EQ(0u, Used());
    EXPECT_EQ(0, Files());
    EXPECT_EQ(Expected(0, 50000), Read(1, 50000, 0, 50000));
}

TEST_F(Store, AfterABootBlocksAreComparedWithTheirChecksums)
{
    Open();
    Read(1, 2 * kBlock, 0, 2 * kBlock);
    Close();
    for (const auto &e : std::filesystem::recursive_directory_iterator(dir_)) {
        if (e.is_regular_file() && e.path().string().find("/extents/") != std::string::npos) {
            std::fstream f(e.path(), std::ios::in | std::ios::out | std::ios::binary);

            f.seekp(kBlock + 7);
            f.put('!'); // in the second block
        }
    }
    config_.boot_id = "boot-2";
    Open();
    Close();
    Open(); // a restart of the process does not hide that the machine was booted
    EXPECT_EQ(2, origin_.fetches);
    EXPECT_EQ(Expected(0, 2 * kBlock), Read(1, 2 * kBlock, 0, 2 * kBlock));
    EXPECT_EQ(3, origin_.fetches);
    EXPECT_EQ(2 * kBlock, Used());
    EXPECT_EQ(Expected(0, 2 * kBlock), Read(1, 2 * kBlock, 0, 2 * kBlock));
    EXPECT_EQ(3, origin_.fetches);
}

TEST_F(Store, LoweredQuotaShrinksAtTheStart)
{
    Open();
    for (uint64_t inode = 1; inode <= 10; inode++) {
        Read(inode, 5 * kBlock, 0, 5 * kBlock);
    }
    Read(1, 5 * kBlock, 0, 1); // the first is the newest now
    Close();
    tiers_[0].quota = 20 * kBlock;
    Open();
    EXPECT_LE(Used(), 14 * kBlock);

    int before = origin_.fetches;

    EXPECT_EQ(Expected(0, 1), Read(1, 5 * kBlock, 0, 1));
    EXPECT_EQ(before, origin_.fetches);
}

TEST_F(Store, SecondWorkerIsKeptOut)
{
    Open();

    gfsi_store *other = nullptr;

    EXPECT_EQ(GFS_EBUSY, gfsi_store_open(&config_, &other, &err_));
    EXPECT_NE(nullptr, strstr(err_.text, "in use by another goosefs-worker")) << err_.text;
}

TEST_F(Store, DirectoryOfAnotherFormatIsLeftAlone)
{
    Open();
    Close();
    std::ofstream(dir_ + "/hdd/goosefsworker/FORMAT", std::ios::trunc) << "goosefs worker data 9\n";
    EXPECT_EQ(GFS_EPRECONDITION, TryOpen());
    EXPECT_NE(nullptr, strstr(err_.text, "remove the directory")) << err_.text;
    EXPECT_EQ(nullptr, store_);
}

TEST_F(Store, SealedExtentsAreHandedOutAndStayGood)
{
    gfsi_target t = Target(1, kExtent + 100, kExtent, 1);
    gfs_data_opened opened;
    int fd = -1;

    Open();
    EXPECT_EQ(GFS_EPRECONDITION, gfsi_store_open_sealed(store_, &t, &fd, &opened, &err_));
    gfsi_store_settle(store_);
    EXPECT_EQ(0, Files()) << "with a length it is only a question";
    t.length = 0;
    EXPECT_EQ(GFS_EPRECONDITION, gfsi_store_open_sealed(store_, &t, &fd, &opened, &err_));
    gfsi_store_settle(store_); // it began to be filled
    ASSERT_EQ(0, gfsi_store_open_sealed(store_, &t, &fd, &opened, &err_)) << err_.text;
    EXPECT_EQ(kExtent, opened.extent_offset);
    EXPECT_EQ(100u, opened.extent_length);
    EXPECT_EQ(O_RDONLY, fcntl(fd, F_GETFL) & O_ACCMODE);
    gfsi_store_free(store_, 1, 0);
    gfsi_store_settle(store_);
    EXPECT_EQ(0, Files());

    std::string data(100, '\0');

    EXPECT_EQ(100, pread(fd, &data[0], 100, 0));
    EXPECT_EQ(Expected(kExtent, 100), data);
    close(fd);
}

TEST_F(Store, LoadFillsInTheBackground)
{
    gfsi_target t = Target(1, 3 * kExtent, 0, 3 * kExtent);

    Open();
    ASSERT_EQ(0, gfsi_store_load(store_, &t, &err_)) << err_.text;
    gfsi_store_settle(store_);
    EXPECT_EQ(48, origin_.fetches);
    EXPECT_EQ(Expected(kExtent, kExtent), Read(1, 3 * kExtent, kExtent, kExtent));
    EXPECT_EQ(48, origin_.fetches);
}

TEST_F(Store, SequentialReadsAreFetchedAhead)
{
    config_.readahead_blocks = 4;
    Open();
    Read(1, kExtent, 0, kBlock);
    gfsi_store_settle(store_);
    EXPECT_EQ(2, origin_.fetches); // one ahead
    Read(1, kExtent, kBlock, kBlock);
    gfsi_store_settle(store_);
    EXPECT_EQ(4, origin_.fetches); // two ahead
    Read(1, kExtent, 2 * kBlock, kBlock);
    gfsi_store_settle(store_);
    EXPECT_EQ(7, origin_.fetches); // four ahead of block 2

    // A random read fetches itself only.
    Read(2, kExtent, 9 * kBlock, 10);
    gfsi_store_settle(store_);
    EXPECT_EQ(8, origin_.fetches);
}

TEST_F(Store, FullQueueIsBusy)
{
    std::vector<std::unique_ptr<Pending>> pending;
    std::vector<int> results;
    bool busy = false;

    config_.queue_max = 4;
    config_.fetch_threads = 1;
    Open();
    origin_.CloseGate();
    for (uint64_t inode = 1; inode <= 8; inode++) {
        gfsi_target t = Target(inode, 50000, 0, 10);

        pending.push_back(std::make_unique<Pending>());
        results.push_back(gfsi_store_read(store_, &t, Pending::Done, pending.back().get(),
                                          &pending.back()->read, &err_));
        busy = busy || results.back() == GFS_EBUSY;
    }
    EXPECT_TRUE(busy);
    origin_.OpenGate();
    for (size_t i = 0; i < pending.size(); i++) {
        std::string result = Finish(results[i], pending[i].get());

        EXPECT_TRUE(result == "BUSY" || result == Expected(0, 10)) << result;
    }
}

TEST_F(Store, TableOfExtentsHasALimit)
{
    config_.extents_max = 4;
    Open();
    for (uint64_t inode = 1; inode <= 20; inode++) {
        EXPECT_EQ(Expected(0, 10), Read(inode, 50000, 0, 10));
    }
    gfsi_store_settle(store_);
    EXPECT_LE(Files(), 4);
    EXPECT_EQ(Expected(0, 10), Read(20, 50000, 0, 10));
    EXPECT_EQ(20, origin_.fetches);
}

TEST_F(Store, FreeWhileReadingLetsTheReaderFinish)
{
    gfsi_target t = Target(1, 50000, 0, 10);
    Pending p;

    Open();
    origin_.CloseGate();

    int rc = gfsi_store_read(store_, &t, Pending::Done, &p, &p.read, &err_);

    origin_.WaitForFetches(1);
    gfsi_store_free(store_, 1, 1);
    origin_.OpenGate();
    EXPECT_EQ(Expected(0, 10), Finish(rc, &p));
    gfsi_store_settle(store_);
    EXPECT_EQ(0u, Used());
    EXPECT_EQ(0, Files());
}

TEST_F(Store, CancelEndsWaitingReads)
{
    gfsi_target t = Target(1, 50000, 0, 5 * kBlock);
    Pending p;

    config_.fetch_threads = 1;
    Open();
    origin_.CloseGate();

    int rc = gfsi_store_read(store_, &t, Pending::Done, &p, &p.read, &err_);

    origin_.WaitForFetches(1);
    gfsi_store_cancel(store_);
    origin_.OpenGate();
    EXPECT_EQ("CANCELLED", Finish(rc, &p));
    EXPECT_EQ("CANCELLED", Read(2, 50000, 0, 10));
}

TEST_F(Store, ChangesTellWhatIsCached)
{
    gfsi_cached cached[10];
    uint64_t next = 0;
    bool complete = false;

    Open();
    Read(1, 50000, 0, 10);
    Read(2, 50000, 0, 50000);
    ASSERT_EQ(2u, gfsi_store_changes(store_, 0, cached, 10, &next, &complete));
    EXPECT_TRUE(complete);
    EXPECT_EQ(1u, cached[0].inode_id);
    EXPECT_EQ(kBlock, cached[0].bytes);
    EXPECT_EQ(2u, cached[1].inode_id);
    EXPECT_EQ(50000u, cached[1].bytes);

    uint64_t seen = next;

    EXPECT_EQ(0u, gfsi_store_changes(store_, seen, cached, 10, &next, &complete));
    gfsi_store_free(store_, 2, 0);
    ASSERT_EQ(1u, gfsi_store_changes(store_, seen, cached, 10, &next, &complete));
    EXPECT_EQ(2u, cached[0].inode_id);
    EXPECT_EQ(0u, cached[0].bytes);

    // In pages, and from the beginning without what is gone.
    ASSERT_EQ(1u, gfsi_store_changes(store_, 0, cached, 1, &next, &complete));
    EXPECT_EQ(1u, cached[0].inode_id);
}

TEST_F(Store, LowerTiersTakeWhatTheUpperOnesHaveNoRoomFor)
{
    tiers_.clear();
    AddTier("MEM", "mem", 10 * kBlock, 1.0, 0.5);
    AddTier("HDD", "hdd", 100 * kBlock, 1.0, 0.5);
    Open();
    for (uint64_t inode = 1; inode <= 4; inode++) {
        Read(inode, 5 * kBlock, 0, 5 * kBlock);
    }

    gfsi_tier_usage usage[4];

    ASSERT_EQ(2u, gfsi_store_usage(store_, usage, 4));
    EXPECT_STREQ("MEM", usage[0].alias);
    EXPECT_EQ(10 * kBlock, usage[0].used);
    EXPECT_STREQ("HDD", usage[1].alias);
    EXPECT_EQ(10 * kBlock, usage[1].used);
    Close();
    Open();
    EXPECT_EQ(20 * kBlock, Used());
}

TEST_F(Store, ManyThreadsOverAFullCacheReadTheRightBytes)
{
    std::vector<std::thread> threads;

    config_.readahead_blocks = 4;
    tiers_[0].quota = 40 * kBlock;
    Open();
    for (int n = 0; n < 6; n++) {
        threads.emplace_back([this, n] {
            uint64_t rng = static_cast<uint64_t>(n) + 1;

            for (int i = 0; i < 200; i++) {
                rng = rng * UINT64_C(6364136223846793005) + 1;

                uint64_t inode = 1 + (rng >> 40) % 5;
                uint64_t length = 2 * kExtent + 777;
                uint64_t offset = (rng >> 20) % (length - 1);
                uint64_t len = 1 + (rng >> 10) % (3 * kBlock);

                len = std::min(len, length - offset);
                gfsi_target t = Target(inode, length, offset, len);
                Pending p;
                gfs_err err = GFS_ERR_INIT;
                int rc = gfsi_store_read(store_, &t, Pending::Done, &p, &p.read, &err);

                if (rc == 0) {
                    p.Wait();
                }
                ASSERT_GE(rc, 0) << err.text;

                const char *text = nullptr;

                ASSERT_EQ(0, gfsi_read_result(p.read, &text)) << text;
                gfsi_piece pieces[GFSI_PIECES_MAX];
                int np = gfsi_read_pieces(p.read, pieces, &err);
                std::string data;

                ASSERT_GE(np, 1) << err.text;
                for (int k = 0; k < np; k++) {
                    std::string part(pieces[k].len, '\0');

                    if (pieces[k].fd < 0) {
                        part.assign(pieces[k].data, pieces[k].len);
                    } else {
                        ASSERT_EQ(static_cast<ssize_t>(part.size()),
                                  pread(pieces[k].fd, &part[0], part.size(),
                                        static_cast<off_t>(pieces[k].offset)));
                    }
                    data += part;
                }
                gfsi_read_free(p.read);
                ASSERT_EQ(Expected(offset, len), data);
                if (i % 50 == 0) {
                    gfsi_store_free(store_, inode, 0);
                }
            }
        });
    }
    for (std::thread &t : threads) {
        t.join();
    }
    gfsi_store_settle(store_);
    EXPECT_EQ(Used(), OnDisk());
    EXPECT_LE(OnDisk(), 40 * kBlock);
}

} // namespace
