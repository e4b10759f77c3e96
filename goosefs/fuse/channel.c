/* The device as the keeper hands it over: the INIT exchange replayed from the session memfd, and
 * requests a predecessor took along fetched again. See <gfs/mounter/session.h>. */
#include "fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <gfs/base/log.h>

/* Of the FUSE protocol (linux/fuse.h of later kernels than the build's headers may know). */
#define REQUEST_MAX        4096 /* bytes of any request but those that write */
#define FUSE_UNIQUE_RESENT (UINT64_C(1) << 63)
#define FUSE_CODE_RESEND   7
#define FUSE_FLAGS2_RESEND (UINT32_C(1) << 7) /* bit 39 of the INIT flags: kernel 6.9 */
#define FUSE_FLAGS_EXT     (UINT32_C(1) << 30)

struct in_header {
    uint32_t len;
    uint32_t opcode;
    uint64_t unique;
    uint64_t nodeid;
    uint32_t uid, gid, pid;
    uint16_t total_extlen, padding;
};

struct init_in {
    struct in_header header;
    uint32_t major, minor, max_readahead, flags, flags2;
};

/* The reply's fields up to those that matter here. */
struct init_out {
    uint32_t header[4]; /* struct out_header */
    uint32_t major, minor, max_readahead, flags;
    uint16_t max_background, congestion_threshold;
    uint32_t max_write, time_gran;
    uint16_t max_pages, map_alignment;
    uint32_t flags2;
};

struct out_header {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

_Static_assert(sizeof(struct in_header) == 40, "struct fuse_in_header");
_Static_assert(sizeof(struct out_header) == 16, "struct fuse_out_header");

static struct in_header load_header(const void *data)
{
    struct in_header h;

    memcpy(&h, data, sizeof(h));
    return h;
}

static bool kernel_resends(const struct gfs_session *state)
{
    struct init_in init = {.flags = 0};
    size_t len = state->init_len < sizeof(init) ? state->init_len : sizeof(init);

    memcpy(&init, state->init_request, len);
    return (init.flags & FUSE_FLAGS_EXT) != 0 && (init.flags2 & FUSE_FLAGS2_RESEND) != 0;
}

bool gfsi_channel_negotiated(const struct gfs_fuse *fuse, uint64_t flag, bool fallback)
{
    struct init_out reply = {.flags2 = 0};
    uint64_t flags;

    if (fuse->state == NULL || !fuse->swallow) {
        return fallback;
    }
    memcpy(&reply, fuse->state->init_reply,
           fuse->state->init_reply_len < sizeof(reply) ? fuse->state->init_reply_len
                                                       : sizeof(reply));
    flags = reply.flags;
    if ((reply.flags & FUSE_FLAGS_EXT) != 0) {
        flags |= (uint64_t)reply.flags2 << 32;
    }
    return (flags & flag) != 0;
}

static struct gfs_session_slot *own_slot(const struct gfs_fuse *fuse)
{
    const struct gfsi_fuse_worker *w = gfsi_fuse_worker_self();

    return fuse->use_slots && w != NULL ? &fuse->state->slots[w->index] : NULL;
}

/* Has the pages that a request is copied to present and writable. A process that is killed while
 * the kernel copies a request to it does not fault pages in any more: the copy fails, and the
 * kernel ends the request with EIO instead of keeping it for the successor. Requests of a read-only
 * mount are smaller than a page, so two pages are all. Locking keeps them while the thread waits
 * for a request, perhaps for hours; where the limit does not allow it they are at least there now.
 */
static void make_present(void *buf, size_t size)
{
    struct gfsi_fuse_worker *w = gfsi_fuse_worker_self();
    volatile char *bytes = buf;
    size_t last = size < REQUEST_MAX ? size - 1 : REQUEST_MAX - 1;

    /* A thread's buffer is the same for all its life. */
    if (w != NULL && w->locked != buf) {
        (void)mlock(buf, last + 1);
        w->locked = buf;
    }
    bytes[0] = 0;
    bytes[last] = 0;
}

static void make_slot_present(struct gfs_session_slot *slot)
{
    volatile unsigned char *bytes = slot->data;

    bytes[0] = 0;
    bytes[sizeof(slot->data) - 1] = 0;
}

/* Slot first, rest behind: the kernel copies the request into the memfd itself, so there is no
 * moment in which a request is taken but not recorded. */
static ssize_t read_recorded(int fd, struct gfs_session_slot *slot, char *buf, size_t size)
{
    struct iovec iov[2] = {
        {.iov_base = slot->data, .iov_len = sizeof(slot->data)},
        {.iov_base = buf + sizeof(slot->data), .iov_len = size - sizeof(slot->data)},
    };
    ssize_t n;

    memset(slot->data, 0, sizeof(uint32_t));
    make_slot_present(slot);
    n = readv(fd, iov, 2);
    if (n > 0) {
        memcpy(buf, slot->data, (size_t)n < sizeof(slot->data) ? (size_t)n : sizeof(slot->data));
    }
    return n;
}

static void note_again(bool again)
{
    struct gfsi_fuse_worker *w = gfsi_fuse_worker_self();

    if (w != NULL) {
        w->again = again;
    }
}

static ssize_t channel_read(int fd, void *buf, size_t size, void *userdata)
{
    struct gfs_fuse *fuse = userdata;
    struct gfs_session *state = fuse->state;
    struct gfs_session_slot *slot = own_slot(fuse);
    ssize_t n;

    if (fuse->replaying) {
        fuse->replaying = false;
        if (state->init_len > size || state->init_len > sizeof(state->init_request)) {
            errno = EINVAL;
            return -1;
        }
        memcpy(buf, state->init_request, state->init_len);
        return (ssize_t)state->init_len;
    }
    make_present(buf, size);
    n = slot != NULL && size > sizeof(slot->data) ? read_recorded(fd, slot, buf, size)
                                                  : read(fd, buf, size);
    if (n >= (ssize_t)sizeof(struct in_header)) {
        __atomic_add_fetch(&state->taken, 1, __ATOMIC_RELAXED);
        note_again((load_header(buf).unique & FUSE_UNIQUE_RESENT) != 0);
        if ((load_header(buf).unique & FUSE_UNIQUE_RESENT) != 0) {
            __atomic_add_fetch(&state->resent, 1, __ATOMIC_RELAXED);
            gfs_metric_add(fuse->resent, 1);
        }
    }
    return n;
}

static size_t gather(const struct iovec *iov, int count, unsigned char *out, size_t size)
{
    size_t len = 0;
    int i;

    for (i = 0; i < count; i++) {
        if (iov[i].iov_len > size - len) {
            return 0;
        }
        memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    return len;
}

/* The reply to INIT. What was negotiated with the kernel once holds for the mount's whole life, so
 * a successor must come to the very same reply, or not serve. Returns bytes or -1 and errno. */
static ssize_t reply_init(struct gfs_fuse *fuse, int fd, struct iovec *iov, int count)
{
    struct gfs_session *state = fuse->state;
    unsigned char reply[GFS_SESSION_INIT_MAX];
    size_t len = gather(iov, count, reply, sizeof(reply));
    ssize_t n;

    if (len == 0) {
        errno = EINVAL;
        return -1;
    }
    if (fuse->swallow) {
        fuse->swallow = false;
        if (len != state->init_reply_len || memcmp(reply, state->init_reply, len) != 0) {
            fuse->start_error = EPROTO;
        }
        return (ssize_t)len;
    }
    memcpy(state->init_reply, reply, len);
    state->init_reply_len = (uint32_t)len;
    n = writev(fd, iov, count);
    if (n < 0 && errno == ENOENT) {
        n = (ssize_t)len; /* a predecessor sent it and died before it could note so */
    }
    if (n > 0) {
        __atomic_store_n(&state->init_state, (uint32_t)GFS_SESSION_INIT_REPLIED, __ATOMIC_RELEASE);
    }
    return n;
}

static ssize_t channel_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct gfs_fuse *fuse = userdata;
    struct gfs_session *state = fuse->state;
    struct gfs_session_slot *slot = own_slot(fuse);
    struct out_header h;
    ssize_t n;

    memcpy(&h, iov[0].iov_base, sizeof(h));
    if (h.unique != 0 && h.unique == load_header(state->init_request).unique) {
        return reply_init(fuse, fd, iov, count);
    }
    n = writev(fd, iov, count);
    if (slot != NULL && h.unique != 0 && h.unique == load_header(slot->data).unique) {
        memset(slot->data, 0, sizeof(uint32_t));
    }
    if (n > 0 && h.unique != 0) {
        __atomic_add_fetch(&state->answered, 1, __ATOMIC_RELAXED);
    }
    return n;
}

/* A whole reply, from a pipe. */
static ssize_t channel_splice_send(int fdin, off_t *offin, int fdout, off_t *offout, size_t len,
                                   unsigned int flags, void *userdata)
{
    struct gfs_fuse *fuse = userdata;
    struct gfs_session_slot *slot = own_slot(fuse);
    ssize_t n = splice(fdin, offin, fdout, offout, len, flags);

    if (n >= 0 && slot != NULL) {
        memset(slot->data, 0, sizeof(uint32_t));
    }
    if (n > 0) {
        __atomic_add_fetch(&fuse->state->answered, 1, __ATOMIC_RELAXED);
    }
    return n;
}

int gfsi_channel_open(struct gfs_fuse *fuse, struct gfs_err *err)
{
    static const struct fuse_custom_io io = {
        .read = channel_read, .writev = channel_writev, .splice_send = channel_splice_send};
    struct gfs_session *state;
    struct stat st;
    int rc;

    if (fstat(GFS_SESSION_STATE_FD, &st) != 0 || st.st_size < (off_t)sizeof(*state)) {
        return gfs_err_set(err, GFS_EPROTO, "no session memfd at descriptor %d",
                           GFS_SESSION_STATE_FD);
    }
    state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, GFS_SESSION_STATE_FD, 0);
    if (state == MAP_FAILED) {
        return gfs_err_set_errno(err, errno, "mapping the session memfd");
    }
    fuse->state = state;
    if (state->magic != GFS_SESSION_MAGIC || state->version != GFS_SESSION_VERSION) {
        return gfs_err_set(err, GFS_EUNSUPPORTED, "session version %u, here it is %d",
                           state->version, GFS_SESSION_VERSION);
    }
    fuse->replaying = true;
    fuse->swallow =
        __atomic_load_n(&state->init_state, __ATOMIC_ACQUIRE) == (uint32_t)GFS_SESSION_INIT_REPLIED;
    fuse->use_slots = fuse->config.no_resend || !kernel_resends(state);
    rc = fuse_session_custom_io(fuse->session, &io, sizeof(io), GFS_SESSION_FUSE_FD);
    if (rc != 0) {
        return gfs_err_set_errno(err, -rc, "FUSE session on the inherited device");
    }
    return 0;
}

/* Requests that a predecessor read and did not answer go back into the kernel's queue. */
static int ask_for_resend(struct gfs_err *err)
{
    struct out_header notify = {.len = sizeof(notify), .error = FUSE_CODE_RESEND, .unique = 0};

    if (write(GFS_SESSION_FUSE_FD, &notify, sizeof(notify)) < 0) {
        return gfs_err_set_errno(err, errno, "FUSE_NOTIFY_RESEND");
    }
    return 0;
}

int gfsi_channel_handshake(struct gfs_fuse *fuse, struct gfs_err *err)
{
    struct fuse_buf buf = {.mem = NULL};
    bool successor = fuse->swallow;
    int n = fuse_session_receive_buf(fuse->session, &buf);

    if (n <= 0) {
        return gfs_err_set_errno(err, n < 0 ? -n : ENODEV, "replaying FUSE INIT");
    }
    fuse_session_process_buf(fuse->session, &buf);
    free(buf.mem);
    if (fuse->start_error != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "this client negotiates other FUSE features than the mount has");
    }
    if (fuse_session_exited(fuse->session) ||
        __atomic_load_n(&fuse->state->init_state, __ATOMIC_ACQUIRE) !=
            (uint32_t)GFS_SESSION_INIT_REPLIED) {
        return gfs_err_set(err, GFS_EIO, "the FUSE INIT exchange failed");
    }
    return successor && !fuse->use_slots ? ask_for_resend(err) : 0;
}

void gfsi_channel_recover_slots(struct gfs_fuse *fuse, unsigned index)
{
    unsigned char copy[GFS_SESSION_SLOT_SIZE];
    unsigned i;

    if (!fuse->use_slots) {
        return;
    }
    for (i = index; i < GFS_SESSION_SLOTS; i += fuse->config.threads) {
        struct gfs_session_slot *slot = &fuse->state->slots[i];
        struct fuse_buf buf = {.mem = copy};
        struct in_header h;

        memcpy(copy, slot->data, sizeof(copy));
        h = load_header(copy);
        if (h.len >= sizeof(h) && h.len <= sizeof(copy)) {
            __atomic_add_fetch(&fuse->state->resent, 1, __ATOMIC_RELAXED);
            gfs_metric_add(fuse->resent, 1);
            buf.size = h.len;
            note_again(true);
            fuse_session_process_buf(fuse->session, &buf);
        }
        memset(slot->data, 0, sizeof(uint32_t));
    }
}
