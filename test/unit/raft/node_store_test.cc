// Snapshot files: what a crash or damage leaves behind, and the way over the wire.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <raft/node.h>

extern "C" {
#include "node/snapmeta_priv.h"
#include "node/snapstore_priv.h"
}

namespace raft_test
{
namespace
{

constexpr uint64_t kCluster = 0x77;

class SnapStore : public testing::Test
{
  protected:
    void SetUp() override
    {
        std::string pattern = ::testing::TempDir() + "raft_snap_XXXXXX";
        dir_ = mkdtemp(pattern.data());
        for (int i = 1; i <= 3; i++) {
            raft_server server = {};
            server.id = static_cast<uint64_t>(i);
            server.role = RAFT_VOTER;
            snprintf(server.address, sizeof server.address, "n%d:1", i);
            ASSERT_EQ(0, raft_config_add(&config_, &server));
        }
    }

    void TearDown() override
    {
        std::filesystem::remove_all(dir_);
    }

    // A store in @name under the test's directory.
    struct Store {
        Store(const std::string &dir)
        {
            std::filesystem::create_directories(dir);
            int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            status = rafti_snapstore_init(&store, fd, kCluster);
            close(fd);
        }
        ~Store()
        {
            rafti_snapstore_fini(&store);
        }
        rafti_snapstore store = {};
        int status;
    };

    std::string Dir(const std::string &name)
    {
        return dir_ + "/" + name;
    }

    int Take(rafti_snapstore *store, uint64_t index, const std::string &image)
    {
        int fd = rafti_snapstore_begin(store);
        EXPECT_GE(fd, 0);
        EXPECT_EQ(static_cast<ssize_t>(image.size()), write(fd, image.data(), image.size()));
        rafti_snap snap = {};
        snap.index = index;
        snap.term = 3;
        snap.config = config_;
        int err = rafti_snapstore_commit(store, fd, &snap);
        close(fd);
        return err;
    }

    static std::string Image(size_t len)
    {
        std::string image(len, '\0');
        for (size_t i = 0; i < len; i++) {
            image[i] = static_cast<char>(i * 31 + i / 251);
        }
        return image;
    }

    static std::string Restore(rafti_snapstore *store, uint64_t index, int *out_status)
    {
        int fd = rafti_snapstore_open_image(store, index);
        *out_status = fd < 0 ? fd : 0;
        std::string image;
        char buf[4096];
        ssize_t n;
        while (fd >= 0 && (n = read(fd, buf, sizeof buf)) > 0) {
            image.append(buf, static_cast<size_t>(n));
        }
        if (fd >= 0) {
            close(fd);
        }
        return image;
    }

    static void Flip(const std::string &path, size_t at)
    {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(at));
        char c = static_cast<char>(file.get() ^ 4);
        file.seekp(static_cast<std::streamoff>(at));
        file.put(c);
    }

    static std::string Find(const std::string &dir, const std::string &suffix)
    {
        std::string found;
        for (auto &it : std::filesystem::directory_iterator(dir)) {
            if (it.path().extension() == suffix && it.path().string() > found) {
                found = it.path().string();
            }
        }
        return found;
    }

    std::string dir_;
    raft_config config_ = {};
};

TEST_F(SnapStore, NewDirectoryHasNoneAndTheBootstrapKeepsTheMembers)
{
    rafti_snap snap;
    {
        Store s(Dir("a"));
        ASSERT_EQ(0, s.status);
        EXPECT_FALSE(rafti_snapstore_newest(&s.store, &snap));
        ASSERT_EQ(0, rafti_snapstore_bootstrap(&s.store, &config_));
    }
    Store s(Dir("a"));
    ASSERT_EQ(0, s.status);
    ASSERT_TRUE(rafti_snapstore_newest(&s.store, &snap));
    EXPECT_EQ(0u, snap.index);
    EXPECT_EQ(3u, snap.config.n_servers);
    EXPECT_STREQ("n2:1", snap.config.servers[1].address);
}

TEST_F(SnapStore, NewestIsFoundAgainAndOlderOnesGo)
{
    std::string image = Image(600000);
    {
        Store s(Dir("a"));
        for (uint64_t i = 1; i <= 4; i++) {
            ASSERT_EQ(0, Take(&s.store, i * 10, image + std::to_string(i)));
        }
    }
    Store s(Dir("a"));
    ASSERT_EQ(0, s.status);
    rafti_snap snap;
    ASSERT_TRUE(rafti_snapstore_newest(&s.store, &snap));
    EXPECT_EQ(40u, snap.index);
    EXPECT_EQ(3u, snap.term);
    int status;
    EXPECT_EQ(image + "4", Restore(&s.store, 40, &status));
    EXPECT_EQ(0, status);
    EXPECT_EQ("", Restore(&s.store, 10, &status));
    EXPECT_EQ(RAFT_NODE_NOT_FOUND, status);
    size_t files = 0;
    for (auto &it : std::filesystem::directory_iterator(Dir("a"))) {
        files += it.is_regular_file();
    }
    EXPECT_EQ(4u, files) << "two images, two meta files";
}

TEST_F(SnapStore, EmptyImageIsASnapshot)
{
    Store s(Dir("a"));
    ASSERT_EQ(0, Take(&s.store, 5, ""));
    int status;
    EXPECT_EQ("", Restore(&s.store, 5, &status));
    EXPECT_EQ(0, status);
}

TEST_F(SnapStore, DamageInTheImageIsFoundBeforeItIsUsed)
{
    Store s(Dir("a"));
    ASSERT_EQ(0, Take(&s.store, 7, Image(300000)));
    Flip(Find(Dir("a"), ".img"), 299999);
    int status;
    Restore(&s.store, 7, &status);
    EXPECT_EQ(RAFT_NODE_CORRUPT, status);
    char byte;
    EXPECT_EQ(0, rafti_snapstore_read(&s.store, 7, 1000, &byte, 1)) << "another chunk";
    EXPECT_EQ(RAFT_NODE_CORRUPT, rafti_snapstore_read(&s.store, 7, 270000, &byte, 1));
}

TEST_F(SnapStore, EveryDamagedByteOfTheMetaFileIsFound)
{
    {
        Store s(Dir("a"));
        ASSERT_EQ(0, Take(&s.store, 7, Image(300000)));
    }
    std::string path = Find(Dir("a"), ".meta");
    size_t size = std::filesystem::file_size(path);
    for (size_t at = 0; at < size; at++) {
        std::filesystem::copy(Dir("a"), Dir("b"));
        Flip(Find(Dir("b"), ".meta"), at);
        {
            Store s(Dir("b"));
            rafti_snap snap;
            bool refused = s.status == RAFT_NODE_MISMATCH ||
                           (s.status == 0 && !rafti_snapstore_newest(&s.store, &snap));
            EXPECT_TRUE(refused) << at;
        }
        std::filesystem::remove_all(Dir("b"));
    }
    Store s(Dir("a"));
    rafti_snap snap;
    EXPECT_TRUE(rafti_snapstore_newest(&s.store, &snap));
    EXPECT_EQ(7u, snap.index);
}

TEST_F(SnapStore, WhenTheNewestIsDamagedTheOneBeforeItCounts)
{
    for (const char *what : {".meta", ".img", "discard"}) {
        std::string dir = Dir(std::string("fall") + what);
        {
            Store s(dir);
            ASSERT_EQ(0, Take(&s.store, 7, Image(3000)));
            ASSERT_EQ(0, Take(&s.store, 9, Image(4000)));
            EXPECT_FALSE(s.store.fell_back);
            if (what[0] == 'd') {
                ASSERT_EQ(0, rafti_snapstore_discard(&s.store));
                EXPECT_TRUE(s.store.fell_back);
            }
        }
        for (auto &it : std::filesystem::directory_iterator(dir)) {
            bool newest = it.path().string().find("0009-") != std::string::npos;
            if (newest && it.path().extension() == ".meta" && what[1] == 'm') {
                Flip(it.path().string(), 30);
            } else if (newest && it.path().extension() == ".img" && what[1] == 'i') {
                std::filesystem::resize_file(it.path(), 3999);
            }
        }
        for (int life = 0; life < 2; life++) {
            Store s(dir);
            rafti_snap snap;
            ASSERT_EQ(0, s.status) << what;
            ASSERT_TRUE(rafti_snapstore_newest(&s.store, &snap)) << what;
            EXPECT_EQ(7u, snap.index) << what;
            EXPECT_TRUE(s.store.fell_back) << what;
            int fd = rafti_snapstore_open_image(&s.store, 7);
            EXPECT_GE(fd, 0) << what;
            close(fd);
        }
    }
}

TEST_F(SnapStore, UnfinishedFilesAreNoSnapshots)
{
    {
        Store s(Dir("a"));
        ASSERT_EQ(0, Take(&s.store, 7, Image(1000)));
        int fd = rafti_snapstore_begin(&s.store); // crash while writing
        ASSERT_EQ(3, write(fd, "abc", 3));
        close(fd);
        ASSERT_EQ(0, rafti_snapstore_receive(&s.store, 0, "part", 4, false, 20, 3));
        // crash between the names of image and meta
        std::ofstream(Dir("a") + "/snapshot-0000000000000009-0000000000000003.img") << "image";
    }
    Store s(Dir("a"));
    ASSERT_EQ(0, s.status);
    rafti_snap snap;
    ASSERT_TRUE(rafti_snapstore_newest(&s.store, &snap));
    EXPECT_EQ(7u, snap.index);
    for (auto &it : std::filesystem::directory_iterator(Dir("a"))) {
        EXPECT_NE(".tmp", it.path().extension());
        EXPECT_EQ(std::string::npos, it.path().string().find("0009")) << "orphan";
    }
}

TEST_F(SnapStore, TravelsInChunksOfAnySize)
{
    std::string image = Image(300001);
    Store from(Dir("from"));
    ASSERT_EQ(0, Take(&from.store, 9, image));
    rafti_snap snap;
    ASSERT_TRUE(rafti_snapstore_newest(&from.store, &snap));
    uint64_t total = rafti_snap_size(&snap);
    for (uint32_t chunk : {1000u, 4096u, 299999u, 300001u, 1u << 20}) {
        SCOPED_TRACE(chunk);
        Store to(Dir("to" + std::to_string(chunk)));
        std::vector<char> buf(chunk);
        for (uint64_t at = 0; at < total; at += chunk) {
            auto len = static_cast<uint32_t>(std::min<uint64_t>(chunk, total - at));
            ASSERT_EQ(0, rafti_snapstore_read(&from.store, 9, at, buf.data(), len));
            ASSERT_EQ(0, rafti_snapstore_receive(&to.store, at, buf.data(), len, at + len == total,
                                                 9, 3));
        }
        int status;
        EXPECT_EQ(image, Restore(&to.store, 9, &status));
        EXPECT_EQ(0, status);
        rafti_snap got;
        ASSERT_TRUE(rafti_snapstore_newest(&to.store, &got));
        EXPECT_EQ(3u, got.config.n_servers);
        EXPECT_EQ(total, rafti_snap_size(&got));
    }
    EXPECT_EQ(RAFT_NODE_NOT_FOUND, rafti_snapstore_read(&from.store, 8, 0, &total, 1));
    EXPECT_EQ(RAFT_NODE_NOT_FOUND, rafti_snapstore_read(&from.store, 9, total, &total, 1));
}

TEST_F(SnapStore, ReceivedDamageGapsAndForeignersAreRefused)
{
    Store from(Dir("from"));
    ASSERT_EQ(0, Take(&from.store, 9, Image(5000)));
    rafti_snap snap;
    ASSERT_TRUE(rafti_snapstore_newest(&from.store, &snap));
    auto total = static_cast<uint32_t>(rafti_snap_size(&snap));
    std::string wire(total, '\0');
    ASSERT_EQ(0, rafti_snapstore_read(&from.store, 9, 0, wire.data(), total));

    Store to(Dir("to"));
    rafti_snap none;
    for (size_t at = 0; at < wire.size(); at += 37) {
        std::string bad = wire;
        bad[at] ^= 1;
        int err = rafti_snapstore_receive(&to.store, 0, bad.data(), total, true, 9, 3);
        EXPECT_TRUE(err == RAFT_NODE_CORRUPT || err == RAFT_NODE_MISMATCH) << at;
    }
    EXPECT_EQ(RAFT_NODE_CORRUPT,
              rafti_snapstore_receive(&to.store, 0, wire.data(), total, true, 10, 3));
    EXPECT_EQ(RAFT_NODE_CORRUPT, rafti_snapstore_receive(&to.store, 0, "x", 1, true, 9, 3));
    ASSERT_EQ(0, rafti_snapstore_receive(&to.store, 0, wire.data(), 100, false, 9, 3));
    EXPECT_EQ(RAFT_NODE_INVALID,
              rafti_snapstore_receive(&to.store, 200, wire.data(), 100, false, 9, 3));
    EXPECT_FALSE(rafti_snapstore_newest(&to.store, &none));
    EXPECT_EQ(0, rafti_snapstore_receive(&to.store, 0, wire.data(), total, true, 9, 3));
    EXPECT_TRUE(rafti_snapstore_newest(&to.store, &none));
}

} // namespace
} // namespace raft_test
