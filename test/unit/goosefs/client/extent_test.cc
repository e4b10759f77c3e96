// A local worker's descriptors: good ones, and every way in which they may not be.
#include "unit/goosefs/client/fake_cluster.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace
{

constexpr uint64_t kLength = 5000;

// What a worker on a unix socket answers, field by field.
struct Reply {
    gfs_data_header header = {};
    std::string body;
    std::vector<int> fds;
    size_t cut = SIZE_MAX; // bytes sent before the end
    bool silent = false;
};

class LocalWorker
{
  public:
    LocalWorker(std::string path, std::function<void(const gfs_data_target &, Reply *)> answer)
        : path_(std::move(path)), answer_(std::move(answer))
    {
        listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un addr = {};
        addr.sun_family = AF_UNIX;
        path_.copy(addr.sun_path, sizeof(addr.sun_path) - 1);
        EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), 0);
        EXPECT_EQ(listen(listener_, 8), 0);
        thread_ = std::thread([this] {
            for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
                connections++;
                Serve(fd);
                close(fd);
            }
        });
    }
    ~LocalWorker()
    {
        shutdown(listener_, SHUT_RDWR);
        thread_.join();
        close(listener_);
        unlink(path_.c_str());
    }

    std::atomic<int> connections{0};

  private:
    void Serve(int fd)
    {
        char in[sizeof(gfs_data_header) + GFS_DATA_BODY_MAX];
        gfs_data_header header;
        gfs_data_target target;
        size_t want = sizeof(header), have = 0;
        while (have < want) {
            const ssize_t n = recv(fd, in + have, want - have, 0);
            if (n <= 0) {
                return;
            }
            have += static_cast<size_t>(n);
            memcpy(&header, in, sizeof(header));
            want = sizeof(header) + (have >= sizeof(header) ? header.body_len : 0);
        }
        EXPECT_EQ(header.type, GFS_DATA_OPEN);
        memcpy(&target, in + sizeof(header), sizeof(target));
        EXPECT_EQ(target.inode_id, 77u);
        EXPECT_EQ(target.version_id, 88u);

        Reply reply;
        reply.header.magic = GFS_DATA_MAGIC;
        reply.header.type = header.type;
        reply.header.id = header.id;
        gfs_data_opened opened = {target.offset, kLength};
        reply.body.assign(reinterpret_cast<char *>(&opened), sizeof(opened));
        answer_(target, &reply);
        if (reply.silent) {
            (void)recv(fd, in, 1, 0); // until the client gives up
            return;
        }
        Send(fd, &reply);
    }

    static void Send(int fd, Reply *reply)
    {
        if (reply->header.body_len == 0) {
            reply->header.body_len = static_cast<uint32_t>(reply->body.size());
        }
        std::string all(reinterpret_cast<char *>(&reply->header), sizeof(reply->header));
        all += reply->body;
        all.resize(std::min(all.size(), reply->cut));
        iovec iov = {all.data(), all.size()};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)] = {};
        msghdr msg = {};
        msg.msg_iov = &iov;
        msg.msg_iovlen = 1;
        if (!reply->fds.empty()) {
            const size_t len = sizeof(int) * reply->fds.size();
            msg.msg_control = control;
            msg.msg_controllen = CMSG_SPACE(len);
            cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(len);
            memcpy(CMSG_DATA(c), reply->fds.data(), len);
        }
        (void)sendmsg(fd, &msg, MSG_NOSIGNAL);
    }

    std::string path_;
    std::function<void(const gfs_data_target &, Reply *)> answer_;
    int listener_ = -1;
    std::thread thread_;
};

size_t OpenFds()
{
    size_t n = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ignored;
        const auto target = std::filesystem::read_symlink(entry.path(), ignored).string();
        n += target.find("/gfs-extent-") != std::string::npos ? 1 : 0;
    }
    return n;
}

class ExtentTest : public MasterTest
{
  protected:
    void SetUp() override
    {
        char pattern[] = "/tmp/gfs-extent-XXXXXX";
        ASSERT_NE(mkdtemp(pattern), nullptr);
        dir_ = pattern;
        worker_.local_socket = dir_ + "/data.sock";
        cluster_.workers.push_back(&worker_);
        std::ofstream(dir_ + "/extent") << std::string(kLength, 'x');
        std::ofstream(dir_ + "/short") << std::string(kLength - 1, 'x');
        MasterTest::SetUp();
    }
    void TearDown() override
    {
        local_.reset();
        gfs_client_file_close(file_);
        for (int fd : fds_) {
            close(fd);
        }
        EXPECT_EQ(OpenFds(), 0u) << "a descriptor was not closed";
        MasterTest::TearDown();
        std::filesystem::remove_all(dir_);
    }
    int Fd(const std::string &name, int flags = O_RDONLY)
    {
        fds_.push_back(open((dir_ + "/" + name).c_str(), flags | O_CLOEXEC));
        EXPECT_GE(fds_.back(), 0) << name;
        return fds_.back();
    }
    void Serve(std::function<void(const gfs_data_target &, Reply *)> answer)
    {
        local_.reset();
        local_ = std::make_unique<LocalWorker>(worker_.local_socket, std::move(answer));
    }
    // What the call makes of one answer.
    int Ask(uint64_t extent = 0, uint64_t length = kLength, bool fill = false, int64_t deadline = 0)
    {
        Goosefs__V1__FileInfo info = GOOSEFS__V1__FILE_INFO__INIT;
        char path[] = "file", version[] = "v";
        info.id = 77;
        info.version_id = 88;
        info.length = length;
        info.ufs_path = path;
        info.version = version;
        file_ = gfs_client_file_close(file_);
        EXPECT_EQ(gfs_client_file_open(client_, &info, &file_, &err_), 0);
        err_ = GFS_ERR_INIT;
        out_fd_ = -2;
        const int rc =
            gfs_client_file_open_extent(file_, extent, fill, deadline, &out_fd_, &out_, &err_);
        if (rc != 0) {
            EXPECT_EQ(out_fd_, -2) << "outputs are untouched on failure";
        } else {
            close(out_fd_);
        }
        return rc;
    }

    FakeWorker worker_{11};
    std::unique_ptr<LocalWorker> local_;
    std::string dir_;
    std::vector<int> fds_;
    gfs_client_file *file_ = nullptr;
    int out_fd_ = -1;
    uint64_t out_ = 0;
};

} // namespace

TEST_F(ExtentTest, ASealedExtentComesAsADescriptor)
{
    std::atomic<uint32_t> length{99};
    const int extent = Fd("extent");
    Serve([&](const gfs_data_target &target, Reply *reply) {
        length = target.length;
        reply->fds = {extent};
    });
    ASSERT_EQ(Ask(), 0) << err_.text;
    EXPECT_EQ(out_, kLength);
    EXPECT_EQ(length, 1u) << "nothing is to be filled";
    ASSERT_EQ(Ask(0, kLength, true), 0) << err_.text;
    EXPECT_EQ(length, 0u) << "fill";
}

TEST_F(ExtentTest, TheLastExtentOfALargeFile)
{
    const int extent = Fd("extent");
    Serve([&](const gfs_data_target &, Reply *reply) { reply->fds = {extent}; });
    ASSERT_EQ(Ask(1, GFS_EXTENT_SIZE + kLength), 0) << err_.text;
    EXPECT_EQ(out_, kLength);
    EXPECT_EQ(Ask(2, GFS_EXTENT_SIZE + kLength), GFS_ERANGE);
    EXPECT_EQ(Ask(UINT64_MAX, kLength), GFS_ERANGE);
    EXPECT_EQ(Ask(0, 0), GFS_ERANGE);
}

TEST_F(ExtentTest, AWorkersErrorIsTheAnswer)
{
    for (int code : {GFS_EPRECONDITION, GFS_EUNSUPPORTED, GFS_EBUSY}) {
        Serve([&](const gfs_data_target &, Reply *reply) {
            reply->header.status = static_cast<int16_t>(code);
            reply->body = "because";
        });
        EXPECT_EQ(Ask(), code);
        EXPECT_NE(strstr(err_.text, "because"), nullptr) << err_.text;
    }
}

TEST_F(ExtentTest, WithoutASocketHereItIsUnsupported)
{
    EXPECT_EQ(Ask(), GFS_EUNSUPPORTED) << "no such file";
    std::ofstream(worker_.local_socket) << "a file";
    EXPECT_EQ(Ask(), GFS_EUNAVAIL) << "nobody listens";
}

TEST_F(ExtentTest, AWorkerThatNamesNoSocketIsNotAsked)
{
    worker_.local_socket.clear();
    EXPECT_EQ(Ask(), GFS_EUNSUPPORTED);
    worker_.local_socket = std::string(200, 'x');
    EXPECT_EQ(Ask(), GFS_EUNSUPPORTED);
}

TEST_F(ExtentTest, AnotherWorkerHereIsAskedWhenThePlacedOneIsElsewhere)
{
    FakeWorker other{12};
    const int extent = Fd("extent");
    std::atomic<int> asked{0};
    // One of the two is placed first; neither way round matters.
    worker_.local_socket = dir_ + "/nobody.sock";
    other.local_socket = dir_ + "/other.sock";
    cluster_.workers.push_back(&other);
    LocalWorker local(other.local_socket, [&](const gfs_data_target &, Reply *reply) {
        asked++;
        reply->fds = {extent};
    });
    EXPECT_EQ(Ask(), 0) << err_.text;
    EXPECT_GE(asked, 1);
    cluster_.workers.pop_back();
}

TEST_F(ExtentTest, AWorkerThatIsSilentIsGivenUpAndLeftAlone)
{
    Serve([&](const gfs_data_target &, Reply *reply) { reply->silent = true; });
    EXPECT_EQ(Ask(), GFS_ETIMEOUT);
    EXPECT_EQ(Ask(), GFS_EUNAVAIL);
    EXPECT_EQ(local_->connections, 1);
}

// Each hostile answer is refused, and no descriptor is kept.
struct Hostile {
    const char *name;
    int expected;
    std::function<void(Reply *, const std::function<int(const char *, int)> &)> make;
};

class HostileExtentTest : public ExtentTest, public ::testing::WithParamInterface<Hostile>
{
};

TEST_P(HostileExtentTest, IsRefused)
{
    std::mutex mutex;
    std::vector<int> mine;
    Serve([&](const gfs_data_target &, Reply *reply) {
        GetParam().make(reply, [&](const char *name, int flags) {
            std::lock_guard<std::mutex> guard(mutex);
            const std::string path = name[0] == '/' ? name : dir_ + "/" + name;
            mine.push_back(open(path.c_str(), flags | O_CLOEXEC));
            EXPECT_GE(mine.back(), 0) << path;
            return mine.back();
        });
    });
    EXPECT_EQ(Ask(), GetParam().expected) << err_.text;
    local_.reset();
    for (int fd : mine) {
        close(fd);
    }
}

using Open = const std::function<int(const char *, int)> &;

INSTANTIATE_TEST_SUITE_P(
    Answers, HostileExtentTest,
    ::testing::Values(
        Hostile{"NoDescriptor", GFS_EPROTO, [](Reply *, Open) {}},
        Hostile{"TwoDescriptors", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY), open("extent", O_RDONLY)};
                }},
        Hostile{"SixDescriptors", GFS_EPROTO,
                [](Reply *r, Open open) { r->fds.assign(6, open("extent", O_RDONLY)); }},
        Hostile{"Writable", GFS_EPROTO, [](Reply *r, Open open) { r->fds = {open("extent", O_RDWR)}; }},
        Hostile{"WriteOnly", GFS_EPROTO,
                [](Reply *r, Open open) { r->fds = {open("extent", O_WRONLY)}; }},
        Hostile{"PathOnly", GFS_EPROTO, [](Reply *r, Open open) { r->fds = {open("extent", O_PATH)}; }},
        Hostile{"Directory", GFS_EPROTO, [](Reply *r, Open open) { r->fds = {open(".", O_RDONLY)}; }},
        Hostile{"Device", GFS_EPROTO,
                [](Reply *r, Open open) { r->fds = {open("/dev/zero", O_RDONLY)}; }},
        Hostile{"WrongSize", GFS_EPROTO, [](Reply *r, Open open) { r->fds = {open("short", O_RDONLY)}; }},
        Hostile{"AnotherExtent", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->body[0] ^= 1;
                }},
        Hostile{"AnotherLength", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->body[8] ^= 1;
                }},
        Hostile{"ErrorWithADescriptor", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->header.status = GFS_EPRECONDITION;
                }},
        Hostile{"PositiveStatus", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->header.status = 5;
                }},
        Hostile{"LongError", GFS_EPROTO,
                [](Reply *r, Open) {
                    r->header.status = GFS_EBUSY;
                    r->header.body_len = UINT32_MAX;
                }},
        Hostile{"UnknownError", GFS_EPROTO, [](Reply *r, Open) { r->header.status = INT16_MIN; }},
        Hostile{"LongBody", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->body += "more";
                }},
        Hostile{"AnotherId", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->header.id += 1;
                }},
        Hostile{"NoFrame", GFS_EPROTO,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->header.magic = 0;
                }},
        Hostile{"CutInTheHeader", GFS_EUNAVAIL,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->cut = 7;
                }},
        Hostile{"CutInTheBody", GFS_EUNAVAIL,
                [](Reply *r, Open open) {
                    r->fds = {open("extent", O_RDONLY)};
                    r->cut = sizeof(gfs_data_header) + 3;
                }}),
    [](const ::testing::TestParamInfo<Hostile> &each) { return each.param.name; });
