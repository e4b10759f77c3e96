#include "unit/goosefs/client/fake_cluster.h"

#include <cstring>

#include <gfs/client/placement.h>

namespace
{

constexpr uint64_t kLength = UINT64_C(3) << 30; // three extents

class FileTest : public MasterTest
{
  protected:
    void SetUp() override
    {
        for (uint64_t id : {11, 22, 33}) {
            workers_.push_back(std::make_unique<FakeWorker>(id));
            cluster_.workers.push_back(workers_.back().get());
        }
        MasterTest::SetUp();
    }
    void TearDown() override
    {
        gfs_client_file_close(file_);
        MasterTest::TearDown();
        workers_.clear();
    }
    void Open(uint64_t length = kLength)
    {
        Goosefs__V1__FileInfo info = GOOSEFS__V1__FILE_INFO__INIT;
        info.id = 77;
        info.version_id = 88;
        info.length = length;
        info.mount_id = 3;
        char path[] = "dir/file name";
        char version[] = "\"etag\"";
        info.ufs_path = path;
        info.version = version;
        ASSERT_EQ(gfs_client_file_open(client_, &info, &file_, &err_), 0);
    }
    ssize_t Read(size_t size, uint64_t offset, int64_t deadline = 0)
    {
        buf_.assign(size, '\0');
        err_ = GFS_ERR_INIT;
        return gfs_client_file_pread(file_, buf_.data(), size, offset, deadline, &err_);
    }
    void ExpectBytes(ssize_t n, uint64_t offset)
    {
        ASSERT_LE(n, static_cast<ssize_t>(buf_.size()));
        for (ssize_t i = 0; i < n; i++) {
            ASSERT_EQ(buf_[static_cast<size_t>(i)], ByteAt(offset + static_cast<uint64_t>(i))) << i;
        }
    }
    // The worker that serves an extent first.
    FakeWorker *Owner(uint64_t extent, uint32_t rank = 0)
    {
        std::vector<uint64_t> ids;
        for (auto &worker : workers_) {
            ids.push_back(worker->id());
        }
        uint32_t order[3];
        gfs_placement_order(ids.data(), ids.size(), 77, extent, order, 3);
        return workers_[order[rank]].get();
    }

    std::vector<std::unique_ptr<FakeWorker>> workers_;
    gfs_client_file *file_ = nullptr;
    std::string buf_;
};

} // namespace

TEST_F(FileTest, ReadsAtTheStartTheEndAndBehind)
{
    Open();
    ASSERT_EQ(Read(100, 0), 100) << err_.text;
    ExpectBytes(100, 0);
    ASSERT_EQ(Read(100, kLength - 10), 10);
    ExpectBytes(10, kLength - 10);
    EXPECT_EQ(Read(100, kLength), 0);
    EXPECT_EQ(Read(100, kLength + 5), 0);
    EXPECT_EQ(Read(0, 5), 0);
    EXPECT_EQ(gfs_client_file_length(file_), kLength);
}

TEST_F(FileTest, AnEmptyFileNeedsNoWorker)
{
    for (auto &worker : workers_) {
        worker->Stop();
    }
    Open(0);
    EXPECT_EQ(Read(100, 0), 0);
}

TEST_F(FileTest, TheRequestCarriesWhatAWorkerNeeds)
{
    std::atomic<int> seen{0};
    for (auto &worker : workers_) {
        worker->check = [&](const gfs_data_target &target, const std::string &path,
                            const std::string &version) {
            EXPECT_EQ(target.inode_id, 77u);
            EXPECT_EQ(target.version_id, 88u);
            EXPECT_EQ(target.file_length, kLength);
            EXPECT_EQ(target.mount_id, 3u);
            EXPECT_EQ(target.offset, 5u);
            EXPECT_EQ(target.length, 10u);
            EXPECT_EQ(path, "dir/file name");
            EXPECT_EQ(version, "\"etag\"");
            seen++;
        };
    }
    Open();
    ASSERT_EQ(Read(10, 5), 10);
    EXPECT_EQ(seen, 1);
}

TEST_F(FileTest, LargeReadsAreCutAtBlocksAndExtentsAndPipelined)
{
    for (auto &worker : workers_) {
        worker->reverse = true;
    }
    Open();
    const size_t size = 30u << 20;
    const uint64_t offset = GFS_EXTENT_SIZE - (13u << 20) - 7;
    ASSERT_EQ(Read(size, offset), static_cast<ssize_t>(size)) << err_.text;
    ExpectBytes(static_cast<ssize_t>(size), offset);
}

TEST_F(FileTest, ExtentsGoWhereTheyArePlaced)
{
    Open();
    for (uint64_t extent = 0; extent < 3; extent++) {
        const int before = Owner(extent)->requests;
        ASSERT_EQ(Read(10, extent * GFS_EXTENT_SIZE), 10);
        EXPECT_EQ(Owner(extent)->requests, before + 1);
    }
}

TEST_F(FileTest, TheNextWorkerServesForOneThatIsDown)
{
    Open();
    ASSERT_EQ(Read(10, 0), 10);
    Owner(0)->Stop();
    ASSERT_EQ(Read(10, 0), 10) << err_.text;
    ExpectBytes(10, 0);
    EXPECT_GE(Owner(0, 1)->requests, 1);
}

TEST_F(FileTest, EveryWayAWorkerFailsSendsTheReadToTheNext)
{
    Open();
    FakeWorker *owner = Owner(0);
    const std::pair<const char *, std::function<void(bool)>> ways[] = {
        {"unavailable", [&](bool on) { owner->status = on ? GFS_EUNAVAIL : 0; }},
        {"busy", [&](bool on) { owner->status = on ? GFS_EBUSY : 0; }},
        {"io", [&](bool on) { owner->status = on ? GFS_EIO : 0; }},
        {"corrupt", [&](bool on) { owner->status = on ? GFS_ECORRUPT : 0; }},
        {"garbage", [&](bool on) { owner->garbage = on; }},
        {"cut", [&](bool on) { owner->cut = on; }},
    };
    for (const auto &[name, set] : ways) {
        set(true);
        ASSERT_EQ(Read(9u << 20, 1), 9 << 20) << name << ": " << err_.text;
        ExpectBytes(9 << 20, 1);
        set(false);
    }
}

TEST_F(FileTest, ErrorsAboutTheFileComeBackAtOnce)
{
    Open();
    for (int code : {GFS_ECHANGED, GFS_ENOENT, GFS_EPERM, GFS_ERANGE}) {
        Owner(0)->status = code;
        EXPECT_EQ(Read(10, 0), code);
        EXPECT_NE(std::string(err_.text).find("worker told to fail"), std::string::npos);
        EXPECT_NE(std::string(err_.text).find(Owner(0)->address()), std::string::npos);
    }
    EXPECT_EQ(Owner(0, 1)->requests, 0);
}

TEST_F(FileTest, AnErrorThatStaysOnEveryWorkerIsTheAnswer)
{
    Open();
    for (auto &worker : workers_) {
        worker->status = GFS_EIO;
    }
    EXPECT_EQ(Read(10, 0), GFS_EIO);
}

TEST_F(FileTest, WaitsForWorkersToComeBack)
{
    Open();
    ASSERT_EQ(Read(10, 0), 10);
    for (auto &worker : workers_) {
        worker->status = GFS_EUNAVAIL;
    }
    std::thread healer([&] {
        for (auto &worker : workers_) {
            while (worker->requests < 3) {
                std::this_thread::yield();
            }
        }
        for (auto &worker : workers_) {
            worker->status = 0;
        }
    });
    ASSERT_EQ(Read(10, 0), 10) << err_.text;
    healer.join();
}

TEST_F(FileTest, AReadOutlivesTheRestartOfEveryWorker)
{
    Open();
    for (int round = 0; round < 3; round++) {
        ASSERT_EQ(Read(100, 0), 100) << err_.text;
        for (auto &worker : workers_) {
            worker->Stop();
            worker->Start();
        }
    }
}

TEST_F(FileTest, MastersAreNotNeededOnceTheWorkersAreKnown)
{
    Open();
    ASSERT_EQ(Read(10, 0), 10);
    for (auto &master : masters_) {
        master->Kill();
    }
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(Read(10, static_cast<uint64_t>(i) * 4096), 10) << err_.text;
    }
}

TEST_F(FileTest, WithoutWorkersFailsAtTheDeadline)
{
    for (auto &worker : workers_) {
        worker->live = false;
    }
    Open();
    EXPECT_EQ(Read(10, 0, In(300 * GFS_NS_PER_MS)), GFS_EUNAVAIL);
    EXPECT_NE(std::string(err_.text).find("worker"), std::string::npos);
}

TEST_F(FileTest, AHungWorkerIsLeftAfterItsPing)
{
    Open();
    Owner(0)->hang = true;
    ASSERT_EQ(Read(10, 0), 10) << err_.text;
    ExpectBytes(10, 0);
    EXPECT_EQ(Owner(0)->pings, 1);

    // And is asked last for a while: nobody waits for it again.
    ASSERT_EQ(Read(10, 0), 10) << err_.text;
    EXPECT_EQ(Owner(0)->requests, 1);
}

TEST_F(FileTest, ASlowWorkerThatLivesIsWaitedFor)
{
    Open();
    Owner(0)->slow = true;
    ASSERT_EQ(Read(10, 0), 10) << err_.text;
    EXPECT_EQ(Owner(0)->requests, 1);
    EXPECT_EQ(Owner(0, 1)->requests, 0);
}

TEST_F(FileTest, CloseEndsAReadThatWaits)
{
    Open();
    for (auto &worker : workers_) {
        worker->hang = true;
    }
    std::thread reader([&] { EXPECT_EQ(Read(10, 0), GFS_ECANCELLED) << err_.text; });
    while (Owner(0)->requests == 0) {
        std::this_thread::yield();
    }
    gfs_client_close(client_);
    reader.join();
}

TEST_F(FileTest, ManyReadersShareTheConnections)
{
    Open();
    std::vector<std::thread> threads;
    for (int t = 0; t < 16; t++) {
        threads.emplace_back([&, t] {
            std::string buf(100000, '\0');
            for (int i = 0; i < 20; i++) {
                const uint64_t offset = static_cast<uint64_t>(t * 1000003 + i * 7919);
                gfs_err err = GFS_ERR_INIT;
                ASSERT_EQ(gfs_client_file_pread(file_, buf.data(), buf.size(), offset, 0, &err),
                          static_cast<ssize_t>(buf.size()))
                    << err.text;
                for (size_t k = 0; k < buf.size(); k += 997) {
                    ASSERT_EQ(buf[k], ByteAt(offset + k));
                }
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    int connections = 0;
    for (auto &worker : workers_) {
        connections += worker->connections;
    }
    EXPECT_LE(connections, 16 + 2);
}

TEST_F(FileTest, LoadReachesEveryByteOnce)
{
    Open();
    ASSERT_EQ(gfs_client_file_load(file_, 0, 0, 0, &err_), 0) << err_.text;
    uint64_t loaded = 0;
    for (auto &worker : workers_) {
        loaded += worker->loaded;
    }
    EXPECT_EQ(loaded, kLength);
}

TEST_F(FileTest, DirectoriesAndOverlongNamesAreNotOpened)
{
    Goosefs__V1__FileInfo info = GOOSEFS__V1__FILE_INFO__INIT;
    gfs_client_file *file = nullptr;
    info.directory = true;
    EXPECT_EQ(gfs_client_file_open(client_, &info, &file, &err_), GFS_EISDIR);
    info.directory = false;
    std::string path(GFS_DATA_PATH_MAX + 1, 'x');
    info.ufs_path = path.data();
    EXPECT_EQ(gfs_client_file_open(client_, &info, &file, &err_), GFS_ENAMETOOLONG);
}
