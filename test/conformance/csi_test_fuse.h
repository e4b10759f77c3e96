#ifndef CSI_TEST_FUSE_H
#define CSI_TEST_FUSE_H

#include <linux/fuse.h>

#include <atomic>
#include <thread>

#include "csi_fixture.h"

namespace csi
{

// A FUSE file system served by the test: answers INIT and, while `serving`, STATFS and GETATTR of
// the root; then nothing.
class TestFuse
{
  public:
    explicit TestFuse(const std::string &at, const char *type = "fuse.test",
                      const char *source = "test")
    {
        char options[128];
        fd_ = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        EXPECT_GE(fd_, 0);
        snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
                 fd_);
        EXPECT_EQ(mount(source, at.c_str(), type, MS_NOSUID | MS_NODEV, options), 0)
            << strerror(errno);
        thread_ = std::thread([this] { serve(); });
    }
    ~TestFuse()
    {
        die();
    }
    void hang()
    {
        serving_ = false;
    }
    // As a client that crashed: the last descriptor closes, the connection is aborted.
    void die()
    {
        if (fd_ >= 0) {
            stop_ = true;
            thread_.join();
            close(fd_);
            fd_ = -1;
        }
    }

  private:
    void serve()
    {
        std::vector<char> buffer(1 << 17);
        while (!stop_) {
            struct pollfd p = {fd_, POLLIN, 0};
            if (poll(&p, 1, 5) <= 0 || !serving_) {
                continue;
            }
            ssize_t n = read(fd_, buffer.data(), buffer.size());
            if (n < static_cast<ssize_t>(sizeof(struct fuse_in_header))) {
                continue;
            }
            struct fuse_in_header in;
            memcpy(&in, buffer.data(), sizeof(in));
            answer(in);
        }
    }
    void answer(const struct fuse_in_header &in)
    {
        struct {
            struct fuse_out_header header;
            union {
                struct fuse_init_out init;
                struct fuse_statfs_out statfs;
                struct fuse_attr_out attr;
                char bytes[128];
            };
        } out = {};
        size_t len = 0;

        out.header.unique = in.unique;
        if (in.opcode == FUSE_INIT) {
            out.init.major = 7;
            out.init.minor = 31;
            out.init.max_write = 65536;
            len = sizeof(out.init);
        } else if (in.opcode == FUSE_STATFS) {
            out.statfs.st.blocks = 1000;
            out.statfs.st.bfree = 400;
            out.statfs.st.bavail = 300;
            out.statfs.st.bsize = out.statfs.st.frsize = 4096;
            len = sizeof(out.statfs);
        } else if (in.opcode == FUSE_GETATTR) {
            out.attr.attr.ino = 1;
            out.attr.attr.mode = S_IFDIR | 0755;
            out.attr.attr.nlink = 2;
            len = sizeof(out.attr);
        } else if (in.opcode == FUSE_FORGET || in.opcode == FUSE_BATCH_FORGET) {
            return;
        } else {
            out.header.error = -ENOSYS;
        }
        out.header.len = static_cast<uint32_t>(sizeof(out.header) + len);
        (void)!write(fd_, &out, out.header.len);
    }

    int fd_ = -1;
    std::atomic<bool> serving_{true}, stop_{false};
    std::thread thread_;
};

} // namespace csi

#endif
