/* Between the keeper and the FUSE client it runs: inherited descriptors, the control socket's
 * messages, and the session memfd.
 *
 * The client is exec'ed with these descriptors (and 0 = /dev/null, 1 and 2 = its log), nothing
 * else, and with GFS_KEEPER_ENV=GFS_SESSION_VERSION in its environment:
 *
 *   3  control: SOCK_SEQPACKET, struct gfs_control_msg in both directions
 *   4  the mounted FUSE device, shared with the keeper and with the client's successors. Never
 *      change its flags (O_NONBLOCK is shared), never FUSE_DEV_IOC_CLONE it: requests read through
 *      a dead clone are lost.
 *   5  the session memfd, struct gfs_session, sealed against resizing
 *   6  the other end of 3, which the client only keeps open: when the keeper dies nothing of the
 *      conversation is lost, and its successor takes device, memfd and this end from the client
 *      (pidfd_getfd) and goes on
 *
 * Life of a mount. The keeper reads the kernel's INIT request into the memfd. Every client, the
 * first and each successor, feeds it to its FUSE library as the first request:
 *
 *     init_state RECORDED:  the reply goes to the kernel, a copy to the memfd, then REPLIED. If the
 *                           kernel says ENOENT a predecessor died between the two: as REPLIED.
 *     init_state REPLIED:   the reply must be equal to the copy (what was negotiated is for ever; a
 *                           client that negotiates otherwise FAILs) and is dropped. Then requests
 * the predecessor took along are fetched again: FUSE_NOTIFY_RESEND.
 *
 * Then it sends READY, and serves. If the keeper goes away (end of file on 3) the client goes on;
 * if the client goes away the keeper starts another. At unmount the device says ENODEV and the
 * client exits with status 0.
 *
 * Nothing in the memfd is trusted by the keeper but as a number to report: the client may be
 * another user. Fields after the first block are written by the client while the keeper reads them,
 * each an aligned word of its own (use __atomic builtins). */
#ifndef GFS_MOUNTER_SESSION_H
#define GFS_MOUNTER_SESSION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_KEEPER_ENV      "GFS_KEEPER_SESSION"
#define GFS_SESSION_VERSION 1
#define GFS_SESSION_MAGIC   UINT32_C(0x53534647) /* "GFSS" */

enum gfs_session_fd {
    GFS_SESSION_CONTROL_FD = 3,
    GFS_SESSION_FUSE_FD = 4,
    GFS_SESSION_STATE_FD = 5,
    GFS_SESSION_KEEPER_FD = 6,
};

enum gfs_session_init_state {
    GFS_SESSION_INIT_NONE = 0,
    GFS_SESSION_INIT_RECORDED = 1,
    GFS_SESSION_INIT_REPLIED = 2,
};

#define GFS_SESSION_INIT_MAX 512 /* bytes of an INIT request or reply; the protocol's are < 128 */
#define GFS_SESSION_SLOTS    128 /* requests in progress: the most threads a client may have */
#define GFS_SESSION_SLOT_SIZE                                                                      \
    1024 /* bytes kept of a request: all of any a read-only mount sees                             \
          */
#define GFS_SESSION_OPENS_MAX    8192 /* inodes whose I/O mode is known; then direct I/O */
#define GFS_SESSION_OPENS_BUCKET 8    /* an inode's entry is within its bucket of so many */

/* A request between read(2) and the reply. On kernels without FUSE_NOTIFY_RESEND (before 6.9) the
 * successor executes these again: every operation of a read-only client may run twice. The kernel
 * copies the request straight into `data`; data's first word, the request's length, is zeroed
 * before each read and after each reply, so that a slot is either empty or complete. */
struct gfs_session_slot {
    unsigned char data[GFS_SESSION_SLOT_SIZE];
};

/* An inode that has files open, in one of two ways that the kernel does not let mix: through its
 * page cache (backing_id 0) or in passthrough mode, where all opens must name the same backing id.
 * It has to be known over any number of clients, so it is here. A client that is killed between
 * counting and replying leaves `opens` too high, never too low: the inode then keeps its mode until
 * the unmount. `ino` is written last and cleared first. */
struct gfs_session_open {
    uint64_t ino;        /* 0: free */
    uint64_t version;    /* of the backing file */
    uint32_t backing_id; /* 0: cached */
    uint32_t opens;
};

/* The memfd. Sizes and offsets are part of GFS_SESSION_VERSION. */
struct gfs_session {
    uint32_t magic;
    uint32_t version;
    uint64_t size;       /* of the whole memfd */
    uint32_t generation; /* 1 for the first client, one more for each successor; by the keeper */
    uint32_t max_read;   /* of the mount, bytes, 0: the kernel's default */
    uint32_t init_len;   /* bytes of init_request; by the keeper before the first client starts */
    uint32_t reserved0;
    uint64_t cookie; /* random: a keeper recognises its own session by it */
    unsigned char init_request[GFS_SESSION_INIT_MAX];

    uint32_t init_state;     /* enum gfs_session_init_state; by the client from here on */
    uint32_t init_reply_len; /* bytes of init_reply; valid from REPLIED on */
    unsigned char init_reply[GFS_SESSION_INIT_MAX];
    uint64_t taken;    /* requests read from the device, by all generations */
    uint64_t answered; /* replies written, by all generations */
    uint64_t resent;   /* requests taken again from a predecessor */
    uint64_t reserved1[5];

    struct gfs_session_slot slots[GFS_SESSION_SLOTS];
    struct gfs_session_open opens[GFS_SESSION_OPENS_MAX];
};

/* Where in `opens` the bucket of inode `ino` begins. */
static inline uint32_t gfs_session_bucket(uint64_t ino)
{
    return (uint32_t)((ino * UINT64_C(0x9e3779b97f4a7c15) >> 32) %
                      (GFS_SESSION_OPENS_MAX / GFS_SESSION_OPENS_BUCKET)) *
           GFS_SESSION_OPENS_BUCKET;
}

enum gfs_control_type {
    GFS_CONTROL_READY = 1,        /* client: the INIT exchange is done, requests are served */
    GFS_CONTROL_FAIL = 2,         /* client: cannot start, `status` and `text` say why; it exits */
    GFS_CONTROL_PING = 3,         /* keeper: answer with a PONG of the same `value` */
    GFS_CONTROL_PONG = 4,         /* client; `extra` is how many ms it has worked at the oldest of
                                     its requests, `status` how many it works at */
    GFS_CONTROL_BACKING_OPEN = 5, /* client, with one fd: inode `value` is to be backed by it;
                                     `extra` is the client's to choose */
    GFS_CONTROL_BACKING_OPENED = 6, /* keeper: inode `value`, the same `extra`; `status` is the
                                       backing id (> 0), the one given before as long as the inode
                                       has one, or an error. Each takes a reference */
    GFS_CONTROL_BACKING_CLOSE = 7,  /* client: gives back one reference of inode `value` */
};

#define GFS_CONTROL_TEXT_MAX 400

/* One packet, always of this size; other sizes are ignored. */
struct gfs_control_msg {
    uint32_t magic; /* GFS_SESSION_MAGIC */
    uint16_t version;
    uint16_t type;
    int32_t status;
    uint32_t extra;
    uint64_t value;
    char text[GFS_CONTROL_TEXT_MAX]; /* NUL-terminated */
};

#ifdef __cplusplus
}
#endif
#endif
