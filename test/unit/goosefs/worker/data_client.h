// A blocking client of the data protocol for tests.
#ifndef GFS_TEST_WORKER_DATA_CLIENT_H
#define GFS_TEST_WORKER_DATA_CLIENT_H

#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/err.h>
#include <gfs/client/data_proto.h>

class DataClient
{
  public:
    explicit DataClient(uint16_t port)
    {
        sockaddr_in addr = {};

        addr.sin_family = AF_INET;
        addr.sin_port = htons(port);
        addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Connect(reinterpret_cast<sockaddr *>(&addr), sizeof(addr));
    }

    explicit DataClient(const std::string &path)
    {
        sockaddr_un addr = {};

        addr.sun_family = AF_UNIX;
        snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path.c_str());
        fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Connect(reinterpret_cast<sockaddr *>(&addr), sizeof(addr));
    }

    DataClient(const DataClient &) = delete;
    DataClient &operator=(const DataClient &) = delete;

    ~DataClient()
    {
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    struct Target {
        uint64_t inode_id = 1;
        uint64_t version_id = 1;
        uint64_t file_length = 0;
        uint64_t offset = 0;
        uint32_t length = 0;
        uint32_t mount_id = 1;
        std::string path = "dir/file";
        std::string version = "\"v1\"";
    };

    struct Answer {
        bool ok = false; // a frame came
        gfs_data_header header = {};
        std::string body;
        int fd = -1;
    };

    static std::string Frame(uint16_t type, uint64_t id, const std::string &body)
    {
        gfs_data_header h = {};

        h.magic = GFS_DATA_MAGIC;
        h.type = type;
        h.id = id;
        h.body_len = static_cast<uint32_t>(body.size());
        return std::string(reinterpret_cast<char *>(&h), sizeof(h)) + body;
    }

    static std::string Body(const Target &t)
    {
        gfs_data_target w = {};

        w.inode_id = t.inode_id;
        w.version_id = t.version_id;
        w.file_length = t.file_length;
        w.offset = t.offset;
        w.length = t.length;
        w.mount_id = t.mount_id;
        w.path_len = static_cast<uint16_t>(t.path.size());
        w.version_len = static_cast<uint16_t>(t.version.size());
        return std::string(reinterpret_cast<char *>(&w), sizeof(w)) + t.path + t.version;
    }

    bool Send(const std::string &bytes)
    {
        return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(bytes.size());
    }

    bool Request(uint16_t type, uint64_t id, const Target &t)
    {
        return Send(Frame(type, id, Body(t)));
    }

    Answer Receive()
    {
        Answer a;
        char control[CMSG_SPACE(sizeof(int))];
        iovec iov = {&a.header, 1};
        msghdr msg = {};

        msg.msg_iov = &iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        if (recvmsg(fd_, &msg, MSG_CMSG_CLOEXEC) != 1) {
            return a;
        }
        for (cmsghdr *c = CMSG_FIRSTHDR(&msg); c != nullptr; c = CMSG_NXTHDR(&msg, c)) {
            if (c->cmsg_type == SCM_RIGHTS) {
                memcpy(&a.fd, CMSG_DATA(c), sizeof(int));
            }
        }
        if (!ReadAll(reinterpret_cast<char *>(&a.header) + 1, sizeof(a.header) - 1)) {
            return a;
        }
        a.body.resize(a.header.body_len);
        a.ok = ReadAll(&a.body[0], a.body.size());
        return a;
    }

    Answer Call(uint16_t type, uint64_t id, const Target &t)
    {
        Request(type, id, t);
        return Receive();
    }

    // True when the worker ends the connection.
    bool Closed()
    {
        char byte;

        return recv(fd_, &byte, 1, 0) <= 0;
    }

    bool Connected() const
    {
        return connected_;
    }

    int fd() const
    {
        return fd_;
    }

  private:
    void Connect(const sockaddr *addr, socklen_t len)
    {
        connected_ = connect(fd_, addr, len) == 0;
    }

    bool ReadAll(char *p, size_t len)
    {
        while (len > 0) {
            ssize_t n = recv(fd_, p, len, 0);

            if (n <= 0) {
                return false;
            }
            p += n;
            len -= static_cast<size_t>(n);
        }
        return true;
    }

    int fd_ = -1;
    bool connected_ = false;
};

#endif
