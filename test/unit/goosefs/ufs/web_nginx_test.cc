// The web UFS against a real nginx with autoindex, over a tree with every kind of awkward name.
#include <csignal>
#include <fstream>
#include <map>
#include <string>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include <gfs/base/clock.h>
#include <gfs/ufs/ufs.h>

extern char **environ;

namespace
{

const char *const kNames[] = {
    "plain.txt",
    "with space",
    "100% sure",
    "a+b",
    "q?x=1",
    "hash#1",
    "amp&lt;",
    "gr\xC3\xBC\xC3\x9F"
    "e-\xE6\xBC\xA2\xE5\xAD\x97",
    "%41-not-A",
    "quote\"'",
    "colon:name",
    "a-name-that-is-much-longer-than-the-fifty-bytes-nginx-prints.tar.gz"};

class NginxUfs : public testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        char dir[] = "/tmp/gfs_ufs_nginx_XXXXXX";

        ASSERT_NE(nullptr, mkdtemp(dir));
        dir_ = dir;
        ASSERT_EQ(0, chmod(dir, 0755));
        std::filesystem::create_directories(dir_ + "/root/pub/sub dir/deeper");
        for (const char *name : kNames) {
            std::ofstream(dir_ + "/root/pub/" + name) << "content of " << name;
        }
        std::ofstream(dir_ + "/root/pub/empty");
        std::ofstream(dir_ + "/root/pub/sub dir/deeper/leaf") << "leaf";
        std::ofstream big(dir_ + "/root/pub/big.bin", std::ios::binary);
        for (uint32_t i = 0; i < 1024 * 1024; i++) {
            big.write(reinterpret_cast<const char *>(&i), sizeof(i));
        }
        big.close();
        Start();
    }

    // A free port from the kernel; somebody may take it before nginx does, so a few tries.
    static void Start()
    {
        for (int i = 0; i < 10 && !Answers(); i++) {
            Stop();
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in addr = {};
            socklen_t len = sizeof(addr);

            addr.sin_family = AF_INET;
            addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            ASSERT_EQ(0, bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)));
            ASSERT_EQ(0, getsockname(fd, reinterpret_cast<sockaddr *>(&addr), &len));
            port_ = ntohs(addr.sin_port);
            close(fd);
            Spawn();
        }
        ASSERT_TRUE(Answers()) << "nginx did not start; is nginx installed?";
    }

    static void Spawn()
    {
        std::ofstream conf(dir_ + "/nginx.conf");

        conf << "daemon off;\nmaster_process off;\npid " << dir_ << "/pid;\nerror_log " << dir_
             << "/error.log;\nevents { worker_connections 128; }\nhttp {\n  access_log " << dir_
             << "/access.log;\n  client_body_temp_path " << dir_ << "/b;\n  proxy_temp_path "
             << dir_ << "/p;\n  fastcgi_temp_path " << dir_ << "/f;\n  uwsgi_temp_path " << dir_
             << "/u;\n  scgi_temp_path " << dir_ << "/s;\n"
             << "  server {\n    listen 127.0.0.1:" << port_ << ";\n    root " << dir_
             << "/root;\n    autoindex on;\n  }\n}\n";
        conf.close();

        std::string file = dir_ + "/nginx.conf";
        std::string prefix = dir_;
        std::string log = dir_ + "/error.log";
        char *argv[] = {const_cast<char *>("nginx"),
                        const_cast<char *>("-p"),
                        &prefix[0],
                        const_cast<char *>("-e"),
                        &log[0],
                        const_cast<char *>("-c"),
                        &file[0],
                        nullptr};
        setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
        ASSERT_EQ(0, posix_spawnp(&pid_, "nginx", nullptr, nullptr, argv, environ));
    }

    // Waits until the port answers or the process is gone.
    static bool Answers()
    {
        if (pid_ <= 0) {
            return false;
        }

        int64_t deadline = gfs_clock_mono() + 30 * GFS_NS_PER_S;

        while (gfs_clock_mono() < deadline && waitpid(pid_, nullptr, WNOHANG) == 0) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in addr = {};

            addr.sin_family = AF_INET;
            addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            addr.sin_port = htons(static_cast<uint16_t>(port_));

            int rc = connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr));

            close(fd);
            if (rc == 0) {
                return true;
            }
            poll(nullptr, 0, 5); // nothing to wait on but the port itself
        }
        pid_ = -1;
        return false;
    }

    static void Stop()
    {
        if (pid_ > 0) {
            kill(pid_, SIGTERM);
            waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }

    static void TearDownTestSuite()
    {
        Stop();
        std::filesystem::remove_all(dir_);
    }

    void SetUp() override
    {
        std::string url = "http://127.0.0.1:" + std::to_string(port_) + "/pub";

        ASSERT_EQ(0, gfs_ufs_open(url.c_str(), nullptr, nullptr, &ufs_, &err_)) << err_.text;
    }

    void TearDown() override
    {
        gfs_ufs_close(ufs_);
    }

    std::map<std::string, gfs_ufs_stat> List(const char *path)
    {
        std::map<std::string, gfs_ufs_stat> entries;
        gfs_ufs_listing *listing = nullptr;

        EXPECT_EQ(0, gfs_ufs_list(ufs_, path, &listing, &err_)) << err_.text;
        for (size_t i = 0; listing != nullptr && i < gfs_ufs_listing_count(listing); i++) {
            entries[gfs_ufs_listing_at(listing, i)->name] = gfs_ufs_listing_at(listing, i)->stat;
        }
        gfs_ufs_listing_free(listing);
        return entries;
    }

    static std::string dir_;
    static int port_;
    static pid_t pid_;
    gfs_ufs *ufs_ = nullptr;
    gfs_err err_ = GFS_ERR_INIT;
};

std::string NginxUfs::dir_;
int NginxUfs::port_;
pid_t NginxUfs::pid_ = -1;

TEST_F(NginxUfs, ListsEveryNameWithExactSizes)
{
    auto entries = List("");

    EXPECT_EQ(sizeof(kNames) / sizeof(kNames[0]) + 3, entries.size());
    for (const char *name : kNames) {
        ASSERT_EQ(1u, entries.count(name)) << name;
        EXPECT_TRUE(entries[name].size_known) << name;
        EXPECT_EQ(strlen("content of ") + strlen(name), entries[name].size) << name;
        EXPECT_NE(0, entries[name].mtime_ms) << name;
    }
    EXPECT_TRUE(entries["empty"].size_known);
    EXPECT_EQ(0u, entries["empty"].size);
    EXPECT_EQ(GFS_UFS_DIRECTORY, entries["sub dir"].type);
    EXPECT_EQ(1u, List("sub dir").count("deeper"));
    EXPECT_EQ(1u, List("sub dir/deeper").count("leaf"));
}

TEST_F(NginxUfs, ReadsEveryNameByItsOwnVersion)
{
    auto entries = List("");

    for (const char *name : kNames) {
        gfs_ufs_stat st;
        std::string expected = std::string("content of ") + name;
        std::string data(expected.size(), '\0');

        ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, name, &st, &err_)) << name << ": " << err_.text;
        EXPECT_EQ(GFS_UFS_FILE, st.type);
        EXPECT_TRUE(gfs_ufs_stat_same(&entries[name], &st)) << name;

        gfs_ufs_range range = {name, st.version, st.size, 0, st.size};

        ASSERT_EQ(0, gfs_ufs_read_buffer(ufs_, &range, &data[0], nullptr, &err_)) << err_.text;
        EXPECT_EQ(expected, data);

        // What the row told is accepted too.
        range.version = entries[name].version;
        EXPECT_EQ(0, gfs_ufs_read_buffer(ufs_, &range, &data[0], nullptr, &err_)) << err_.text;
    }
}

TEST_F(NginxUfs, ReadsRangesOfALargeFile)
{
    gfs_ufs_stat st;
    uint32_t words[256];

    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "big.bin", &st, &err_)) << err_.text;
    EXPECT_EQ(4u << 20, st.size);
    for (uint32_t at : {0u, 1000u, 1024u * 1024 - 256}) {
        gfs_ufs_range range = {"big.bin", st.version, st.size, at * 4ull, sizeof(words)};

        ASSERT_EQ(0, gfs_ufs_read_buffer(ufs_, &range, words, nullptr, &err_)) << err_.text;
        EXPECT_EQ(at, words[0]);
        EXPECT_EQ(at + 255, words[255]);
    }
}

TEST_F(NginxUfs, KnowsDirectoriesAndWhatIsMissing)
{
    gfs_ufs_stat st;
    gfs_ufs_listing *listing = nullptr;

    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "sub dir", &st, &err_)) << err_.text;
    EXPECT_EQ(GFS_UFS_DIRECTORY, st.type);
    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "", &st, &err_)) << err_.text;
    EXPECT_EQ(GFS_UFS_DIRECTORY, st.type);
    EXPECT_EQ(GFS_ENOENT, gfs_ufs_stat_path(ufs_, "missing", &st, &err_));
    EXPECT_EQ(GFS_ENOENT, gfs_ufs_list(ufs_, "missing", &listing, &err_));
}

TEST_F(NginxUfs, SeesAFileReplacedBetweenReads)
{
    std::string path = dir_ + "/root/pub/empty";
    gfs_ufs_stat before;
    gfs_ufs_stat now;
    char byte = 0;

    std::ofstream(path) << "one";
    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "empty", &before, &err_)) << err_.text;

    gfs_ufs_range range = {"empty", before.version, before.size, 1, 1};

    ASSERT_EQ(0, gfs_ufs_read_buffer(ufs_, &range, &byte, nullptr, &err_)) << err_.text;
    EXPECT_EQ('n', byte);
    std::ofstream(path) << "three";
    EXPECT_EQ(GFS_ECHANGED, gfs_ufs_read_buffer(ufs_, &range, &byte, nullptr, &err_));
    ASSERT_EQ(0, gfs_ufs_stat_path(ufs_, "empty", &now, &err_)) << err_.text;
    EXPECT_FALSE(gfs_ufs_stat_same(&before, &now));
    std::ofstream(path, std::ios::trunc);
}

} // namespace
