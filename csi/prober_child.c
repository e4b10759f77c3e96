#include "prober_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <poll.h>
#include <unistd.h>

long gfsi_prober_send(int socket, const void *data, size_t len, int fd, int flags)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    do {
        n = sendmsg(socket, &msg, MSG_NOSIGNAL | flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

long gfsi_prober_recv(int socket, void *data, size_t len, int *fd)
{
    struct iovec iov = {.iov_base = data, .iov_len = len};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);

    *fd = -1;
    if (n < 0) {
        return -errno;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int))) {
            memcpy(fd, CMSG_DATA(c), sizeof(*fd));
        }
    }
    return n;
}

static void ask_statfs(int fd, struct gfsi_probe_result *result)
{
    struct statfs st;

    if (fstatfs(fd, &st) < 0) {
        result->error = errno;
        return;
    }
    result->total = (uint64_t)st.f_blocks * (uint64_t)st.f_bsize;
    result->free = (uint64_t)st.f_bfree * (uint64_t)st.f_bsize;
    result->available = (uint64_t)st.f_bavail * (uint64_t)st.f_bsize;
    result->inodes = st.f_files;
    result->inodes_free = st.f_ffree;
}

static int ask_open(int fd, const char *sub_path, struct gfsi_probe_result *result)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    struct stat st;
    int opened = (int)syscall(SYS_openat2, fd, sub_path, &how, sizeof(how));

    if (opened < 0 || fstat(opened, &st) < 0) {
        result->error = errno;
        return -1;
    }
    result->mode = st.st_mode;
    return opened;
}

/* The child of one question. */
static void ask(int socket, const struct gfsi_probe_question *question, int fd)
{
    struct gfsi_probe_answer answer = {.id = question->id, .result = {.fd = -1}};
    int opened = -1;

    if (fd < 0) {
        answer.result.error = EBADF;
    } else if (question->kind == GFSI_PROBE_STATFS) {
        ask_statfs(fd, &answer.result);
    } else {
        opened = ask_open(fd, question->sub_path, &answer.result);
    }
    (void)gfsi_prober_send(socket, &answer, sizeof(answer), opened, 0);
}

struct child {
    pid_t pid; /* 0: free */
    uint64_t id;
};

static void reap(struct child *children)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (int i = 0; i < GFSI_PROBES_MAX; i++) {
            if (children[i].pid == pid) {
                children[i].pid = 0;
            }
        }
    }
}

/* `kill` only what has not been reaped: its number cannot have been given to another process. */
static void kill_child(struct child *children, uint64_t id)
{
    for (int i = 0; i < GFSI_PROBES_MAX; i++) {
        if (children[i].pid > 0 && children[i].id == id) {
            (void)kill(children[i].pid, SIGKILL);
        }
    }
}

static void start_child(struct child *children, int socket,
                        const struct gfsi_probe_question *question, int fd)
{
    struct gfsi_probe_answer answer = {.id = question->id, .result = {.fd = -1, .error = EAGAIN}};

    for (int i = 0; i < GFSI_PROBES_MAX; i++) {
        if (children[i].pid != 0) {
            continue;
        }
        children[i].pid = fork();
        if (children[i].pid == 0) {
            ask(socket, question, fd);
            _exit(0);
        }
        if (children[i].pid > 0) {
            children[i].id = question->id;
            return;
        }
        children[i].pid = 0;
        break;
    }
    (void)gfsi_prober_send(socket, &answer, sizeof(answer), -1, MSG_DONTWAIT);
}

/* Nothing to do: its arrival ends ppoll, which is what is wanted. */
static void on_child_exit(int number)
{
    (void)number;
}

static void shutdown_children(const struct child *children)
{
    for (int i = 0; i < GFSI_PROBES_MAX; i++) {
        if (children[i].pid > 0) {
            (void)kill(children[i].pid, SIGKILL);
        }
    }
    _exit(0);
}

void gfsi_prober_child_main(int socket)
{
    static struct child children[GFSI_PROBES_MAX];
    struct sigaction act = {.sa_handler = on_child_exit};
    struct pollfd poll_fd = {.fd = socket, .events = POLLIN};
    struct gfsi_probe_question question;
    sigset_t blocked, none;

    (void)prctl(PR_SET_NAME, "csi-prober");
    (void)sigemptyset(&none);
    (void)sigfillset(&blocked);
    (void)sigprocmask(SIG_SETMASK, &blocked, NULL);
    (void)sigaction(SIGCHLD, &act, NULL);
    /* Signals to the process group (Ctrl-C) are for the plugin: its end of the socket closes when
     * it leaves. Only the end of children gets through, and only during ppoll. */
    none = blocked;
    (void)sigdelset(&none, SIGCHLD);

    for (;;) {
        int fd;
        long n;

        reap(children);
        if (ppoll(&poll_fd, 1, NULL, &none) < 0) {
            continue;
        }
        n = gfsi_prober_recv(socket, &question, sizeof(question), &fd);
        if (n <= 0 && n != -EINTR) {
            shutdown_children(children);
        }
        if (n == (long)sizeof(question)) {
            question.sub_path[sizeof(question.sub_path) - 1] = '\0';
            if (question.kind == GFSI_PROBE_KILL) {
                kill_child(children, question.id);
            } else {
                start_child(children, socket, &question, fd);
            }
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
}
