/* FUSE_INTERRUPT: somebody who waits for a reply got a signal, perhaps one that kills. The kernel
 * lets nobody go whose request a client has taken, not even a process that is being killed, so the
 * request is answered EINTR when its backend call has lasted for the grace time. (Not at once:
 * programs that get signals all the time would see EINTR from a healthy file system, which no other
 * file system gives them.) The call goes on in its thread until it ends by itself; what it then
 * says finds no request any more (ENOENT) and is dropped. The pool grows meanwhile (worker.c).
 *
 * The library's own handling is not used: it takes one lock for all requests, and its callback
 * runs under it. */
#include "fuse_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/clock.h>

#define OPCODE_INTERRUPT 36 /* linux/fuse.h */
#define LOOK_MS          50 /* between looks, while somebody waits */

struct in_header {
    uint32_t len;
    uint32_t opcode;
    uint64_t unique;
    uint64_t nodeid;
    uint32_t uid, gid, pid;
    uint16_t total_extlen, padding;
};

struct out_header {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

static ssize_t answer(const struct gfs_fuse *fuse, uint64_t unique, int error)
{
    struct out_header h = {.len = sizeof(h), .error = -error, .unique = unique};

    return write(fuse_session_fd(fuse->session), &h, sizeof(h));
}

/* The worker that has the request, NULL when none has it (any more, or yet). */
static struct gfsi_fuse_worker *find_worker(struct gfs_fuse *fuse, uint64_t unique)
{
    unsigned n = atomic_load(&fuse->pool_started);
    unsigned i;

    for (i = 0; i < n; i++) {
        if (atomic_load(&fuse->pool[i].unique) == unique) {
            return &fuse->pool[i];
        }
    }
    return NULL;
}

void gfsi_interrupt_begin(struct gfsi_fuse_worker *w, const struct fuse_buf *buf)
{
    struct in_header h = {.unique = 0};

    if (buf->size >= sizeof(h)) {
        memcpy(&h, buf->mem, sizeof(h));
    }
    atomic_store(&w->since, gfs_clock_mono());
    atomic_store(&w->unique, h.unique);
}

void gfsi_interrupt_end(struct gfsi_fuse_worker *w)
{
    atomic_store(&w->unique, 0);
    atomic_store(&w->since, 0);
}

bool gfsi_interrupt_take(struct gfs_fuse *fuse, const struct fuse_buf *buf)
{
    struct {
        struct in_header header;
        uint64_t unique;
    } in;
    struct gfsi_fuse_worker *w;
    uint64_t one = 1;

    if (buf->size < sizeof(in)) {
        return false;
    }
    memcpy(&in, buf->mem, sizeof(in));
    if (in.header.opcode != OPCODE_INTERRUPT) {
        return false;
    }
    w = find_worker(fuse, in.unique);
    if (w == NULL) {
        /* The kernel sends it again, unless the request was answered meanwhile (ENOENT). */
        (void)answer(fuse, in.header.unique, EAGAIN);
        return true;
    }
    atomic_store(&w->interrupted, in.unique);
    (void)!write(fuse->interrupt_fd, &one, sizeof(one));
    return true;
}

int gfsi_interrupt_look(struct gfs_fuse *fuse)
{
    unsigned n = atomic_load(&fuse->pool_started);
    int64_t now = gfs_clock_mono();
    int timeout = -1;
    uint64_t count;
    unsigned i;

    (void)!read(fuse->interrupt_fd, &count, sizeof(count));
    for (i = 0; i < n; i++) {
        struct gfsi_fuse_worker *w = &fuse->pool[i];
        uint64_t unique = atomic_load(&w->unique);

        if (unique == 0 || atomic_load(&w->interrupted) != unique) {
            continue;
        }
        if (now - atomic_load(&w->since) < fuse->config.interrupt_grace_ns) {
            timeout = LOOK_MS;
            continue;
        }
        /* A thread that went on to its next request since: the number says which one is meant. */
        (void)atomic_compare_exchange_strong(&w->interrupted, &unique, 0);
        if (answer(fuse, unique, EINTR) > 0) {
            gfs_metric_add(fuse->interrupts, 1);
        }
    }
    return timeout;
}
