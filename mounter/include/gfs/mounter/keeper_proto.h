/* The keeper's wire protocol: what the CSI plugin and the local platform say to fuse-keeper.
 *
 * Transport: a unix SOCK_SEQPACKET socket, mode 0600; the peer must be root or the keeper's own uid
 * (SO_PEERCRED). One message is one packet of at most GFS_KEEPER_MSG_MAX bytes. Integers are
 * little-endian. A message is a header and then fields:
 *
 *   header  magic u32 "GFKP" | version u16 | type u16 | seq u32 | body length u32
 *   field   tag u16 | length u16 | value (u32, u64, NUL-terminated text, or nested fields)
 *
 * A reply has the request's type with GFS_KEEPER_REPLY set and the request's seq; its STATUS is 0
 * or an error code of <gfs/base/err.h>, with TEXT. Unknown tags are skipped, so fields can be added
 * without a new version; a known tag of wrong length, a text without its NUL (or with two), a
 * scalar given twice, or more list items than the maximum make the whole message refused.
 *
 * The first message of a connection is HELLO. A connection has one request in progress: the next
 * one is read after the reply to the last. File descriptors travel as SCM_RIGHTS, only where said.
 *
 * Requests:
 *   HELLO    VERSION                     -> VERSION
 *   MOUNT    the fields of a spec; an fd, if any, becomes the client's stdout and stderr
 *                                        -> INFO, once the client serves
 *   UNMOUNT  ID, FLAGS                   -> nothing
 *   STAT     ID                          -> INFO
 *   LIST     ID (exclusive start, may be absent) -> INFO..., MORE; ordered by id
 *   RESTART  ID, ARG... (absent: as before)      -> INFO, once the new client serves
 *   COLLECT  ID                          -> INFO, and fds: FUSE device, session memfd
 *
 * The keeper's conversation with launchers (launch_proto.h) has the same framing.
 *
 * Encoding and decoding are pure functions; thread: any. */
#ifndef GFS_MOUNTER_KEEPER_PROTO_H
#define GFS_MOUNTER_KEEPER_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_KEEPER_MAGIC       UINT32_C(0x504b4647) /* "GFKP" */
#define GFS_KEEPER_VERSION     1
#define GFS_KEEPER_MSG_MAX     65536
#define GFS_KEEPER_HEADER_SIZE 16
#define GFS_KEEPER_REPLY       0x8000

#define GFS_KEEPER_ID_MAX     127  /* bytes, [A-Za-z0-9._-] */
#define GFS_KEEPER_PATH_MAX   4095 /* bytes */
#define GFS_KEEPER_ARGS_MAX   64   /* argv items, and environment items */
#define GFS_KEEPER_INFOS_MAX  64   /* records in one LIST reply */
#define GFS_KEEPER_MOUNTS_MAX 1024 /* mounts of one keeper; then BUSY */

enum gfs_keeper_type {
    GFS_KEEPER_HELLO = 1,
    GFS_KEEPER_MOUNT = 2,
    GFS_KEEPER_UNMOUNT = 3,
    GFS_KEEPER_STAT = 4,
    GFS_KEEPER_LIST = 5,
    GFS_KEEPER_RESTART = 6,
    GFS_KEEPER_COLLECT = 7,
};

/* Bits of OPTIONS. */
enum gfs_keeper_option {
    GFS_KEEPER_ALLOW_OTHER = 1u << 0,
    GFS_KEEPER_READ_ONLY = 1u << 1,
    GFS_KEEPER_DEFAULT_PERMISSIONS = 1u << 2,
};
#define GFS_KEEPER_OPTIONS_ALL 7u

/* Bits of FLAGS of UNMOUNT. */
enum gfs_keeper_unmount_flag {
    GFS_KEEPER_LAZY = 1u << 0, /* when busy: detach; open files are served until closed */
};
#define GFS_KEEPER_UNMOUNT_FLAGS_ALL 1u

enum gfs_keeper_state {
    GFS_KEEPER_STARTING = 1,   /* mounted, first client not ready yet */
    GFS_KEEPER_SERVING = 2,    /* client ready */
    GFS_KEEPER_RESTARTING = 3, /* client lost, its successor not ready yet; callers wait */
    GFS_KEEPER_STOPPING = 4,   /* unmounted, client still leaving */
    GFS_KEEPER_BROKEN = 5,     /* connection aborted: only UNMOUNT helps */
    GFS_KEEPER_WAITING = 6,    /* client lost, no launcher to start the next; callers wait */
};

/* One mount to hold. Texts are borrowed. Two specs are the same when all but log_path are. */
struct gfs_keeper_spec {
    const char *id;            /* e.g. "default-hbase"; the key */
    const char *mountpoint;    /* absolute, normalised, no symbolic links; created if missing */
    const char *fstype;        /* "fuse.SUBTYPE", e.g. "fuse.goosefs-fuse" */
    const char *source;        /* first column of the mount table */
    uint32_t options;          /* enum gfs_keeper_option */
    uint32_t max_read;         /* bytes, 0: the kernel's default */
    uint32_t uid, gid;         /* what the client runs as; 0: the keeper's --client-user */
    uint32_t start_timeout_ms; /* from start to ready; 0: 30 s */
    uint32_t hang_timeout_ms;  /* no answer to a ping for so long: replaced; 0: never */
    uint32_t stall_timeout_ms; /* a request served for so long: replaced; 0: --stall-timeout */
    const char *log_path;      /* appended to by the client's stdout and stderr; "": the keeper's */
    const char *launch;        /* ""; or a directory (absolute, plain): clients are started by its
                                  launcher, see launch_proto.h; argv[0] and log_path are not used */
    const char *const *argv;   /* NULL-terminated; argv[0] is the absolute path of the program */
    const char *const *env;    /* NULL-terminated "NAME=value": the client's whole environment but
                                  for GFS_KEEPER_* (see session.h) */
};

/* What the keeper knows of one mount. Texts are borrowed. */
struct gfs_keeper_info {
    const char *id;
    const char *mountpoint;
    uint32_t state;     /* enum gfs_keeper_state */
    uint32_t pid;       /* of the client, 0 when none runs */
    uint32_t minor;     /* device minor = name below /sys/fs/fuse/connections; 0 unknown */
    uint64_t restarts;  /* clients started after the first */
    uint64_t resends;   /* requests of a dead client answered by a later one */
    uint64_t hangs;     /* clients replaced because they did not answer */
    uint64_t remounts;  /* times the mount was made anew: keeper and client had died together */
    uint32_t waiting;   /* requests that the kernel waits for now; 0 also if it does not tell */
    uint32_t since_ms;  /* how long it has been in this state, at most UINT32_MAX */
    const char *launch; /* of the spec; NULL is "" */
};

/* A decoded message. Texts point into the decoded bytes. */
struct gfs_keeper_msg {
    uint16_t type; /* with GFS_KEEPER_REPLY in replies */
    uint32_t seq;
    uint32_t version;            /* VERSION of HELLO */
    struct gfs_keeper_spec spec; /* absent texts are ""; argv and env point below, never NULL */
    uint32_t flags;
    int status;       /* replies */
    const char *text; /* replies; "" when absent */
    uint32_t pid;     /* launch_proto.h */
    uint32_t signal;
    bool more; /* LIST replies: ask again, starting after the last id */
    size_t n_infos;
    struct gfs_keeper_info infos[GFS_KEEPER_INFOS_MAX];
    size_t n_argv, n_env;
    const char *argv[GFS_KEEPER_ARGS_MAX + 1];
    const char *env[GFS_KEEPER_ARGS_MAX + 1];
};

/* Builds a message in `out` (cleared first; its max must be GFS_KEEPER_MSG_MAX). */
void gfs_keeper_msg_begin(struct gfs_buf *out, uint16_t type, uint32_t seq);
void gfs_keeper_msg_put_version(struct gfs_buf *out, uint32_t version);
void gfs_keeper_msg_put_spec(struct gfs_buf *out, const struct gfs_keeper_spec *spec);
void gfs_keeper_msg_put_id(struct gfs_buf *out, const char *id);
void gfs_keeper_msg_put_argv(struct gfs_buf *out, const char *const *argv);
void gfs_keeper_msg_put_flags(struct gfs_buf *out, uint32_t flags);
void gfs_keeper_msg_put_status(struct gfs_buf *out, int status, const char *text);
void gfs_keeper_msg_put_more(struct gfs_buf *out);
void gfs_keeper_msg_put_env(struct gfs_buf *out, const char *const *env);
void gfs_keeper_msg_put_pid(struct gfs_buf *out, uint32_t pid);
void gfs_keeper_msg_put_signal(struct gfs_buf *out, uint32_t signal);

/* False, and `out` as before, when the record does not fit any more. */
bool gfs_keeper_msg_put_info(struct gfs_buf *out, const struct gfs_keeper_info *info);

/* Completes the header. GFS_ERANGE when something did not fit. */
int gfs_keeper_msg_end(struct gfs_buf *out);

/* Decodes `len` bytes. GFS_EPROTO for anything malformed, GFS_EUNSUPPORTED for another version
 * (type and seq are then set, so that a reply can say so). `data` need not be aligned and must
 * outlive *out. Checks form only; gfs_keeper_spec_check checks meaning. */
int gfs_keeper_msg_decode(const void *data, size_t len, struct gfs_keeper_msg *out,
                          struct gfs_err *err);

/* Is the spec one a keeper can accept? GFS_EINVAL with the reason. */
int gfs_keeper_spec_check(const struct gfs_keeper_spec *spec, struct gfs_err *err);
bool gfs_keeper_id_valid(const char *id);
/* May a client be given this environment (NULL-terminated, may be NULL)? */
bool gfs_keeper_env_valid(const char *const *env);

/* "starting", "serving", ...; "unknown" for other numbers. */
const char *gfs_keeper_state_name(uint32_t state);

#ifdef __cplusplus
}
#endif
#endif
