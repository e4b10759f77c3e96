/* The namespace: the replicated state machine over LMDB. Private to goosefs/master.
 *
 *   meta     "state"                  -> counters, applied index, epoch (struct gfsi_state)
 *   edge     parent id be64, name     -> inode record: a listing is one cursor walk
 *   inode    id be64                  -> key of its edge
 *   mount    id be32                  -> mount record
 *   setting  key                      -> value
 *   op       operation id             -> result
 *   oplog    sequence be64            -> operation id: the order in which `op` forgets
 *
 * One writer (the apply thread), any number of readers, each on its own MVCC snapshot. The journal
 * is the truth: the database is not synced, and thrown away when it may have lost writes. */
#ifndef GFSI_NS_PRIV_H
#define GFSI_NS_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_ROOT_ID         UINT64_C(1)
#define GFSI_NAME_MAX        255   /* bytes of one component */
#define GFSI_PATH_MAX        4096  /* bytes of a path, NUL included */
#define GFSI_VERSION_MAX     128   /* bytes of a version text */
#define GFSI_OWNER_MAX       64    /* bytes of owner and group each */
#define GFSI_URI_MAX         2048  /* bytes of a UFS URI, NUL included */
#define GFSI_PROPS_MAX       256   /* properties of one mount ... */
#define GFSI_PROPS_BYTES_MAX 65536 /* ... and their bytes altogether */
#define GFSI_MOUNTS_MAX      1024
#define GFSI_BATCH_MAX       1000  /* children in one SyncDirectory entry */
#define GFSI_OPS_MAX         10000 /* completed operations remembered */
#define GFSI_OP_ID_SIZE      16

/* ---- operations: what a journal entry means ------------------------------------------------- */

struct gfsi_str {
    const char *s; /* not NUL-terminated in general */
    size_t len;
};

enum gfsi_op_type {
    GFSI_OP_SYNC_DIRECTORY = 1,
    GFSI_OP_SYNC_CHILD,
    GFSI_OP_MOUNT,
    GFSI_OP_UNMOUNT,
    GFSI_OP_SETTING,
};

struct gfsi_child {
    struct gfsi_str name;
    struct gfsi_str version;
    struct gfsi_str owner;
    struct gfsi_str group;
    bool directory;
    bool length_unknown;
    bool version_exact;
    uint32_t mode;
    uint32_t mtime_granularity_ms;
    uint64_t length;
    int64_t mtime_ms;
};

struct gfsi_prop {
    const char *key; /* NUL-terminated */
    const char *value;
};

/* One decoded operation; strings are borrowed from where it was decoded. */
struct gfsi_op {
    enum gfsi_op_type type;
    bool has_id;
    uint8_t id[GFSI_OP_ID_SIZE];

    /* sync directory, sync child */
    uint64_t directory_id;
    int64_t time_ms; /* when the listing was asked for; also of a mount */
    uint64_t listing_id;
    bool first;
    bool last;
    bool removed; /* sync child */
    const struct gfsi_child *children;
    size_t n_children;

    /* mount, unmount */
    const char *path;
    const char *uri;
    bool read_only;
    bool shared;
    bool begins_numbers; /* if it is the first mount */
    const struct gfsi_prop *props;
    size_t n_props;

    /* setting */
    const char *key;
    const char *value;
};

/* ---- what readers see ----------------------------------------------------------------------- */

enum gfsi_inode_flags {
    GFSI_DIRECTORY = 1u << 0,
    GFSI_LOADED = 1u << 1,      /* the children have been listed at the UFS */
    GFSI_MOUNT_POINT = 1u << 2, /* root of mount `mount_id` */
    GFSI_LOCAL = 1u << 3,       /* made here (parents of mount points): no UFS behind it */
    GFSI_LENGTH_UNKNOWN = 1u << 4,
    GFSI_VERSION_EXACT = 1u << 5,
};

/* Strings point into the database: valid while the view is open. */
struct gfsi_inode {
    uint64_t id;
    uint64_t parent_id; /* 0 for the root */
    uint64_t length;
    uint64_t version_id;
    uint64_t child_count;
    uint64_t listing_id; /* directory: listing in progress, 0 = none */
    uint64_t seen_id;    /* listing of the parent that last saw it */
    int64_t mtime_ms;
    int64_t ctime_ms;
    int64_t synced_ms; /* directory: start of its last complete listing */
    uint32_t flags;
    uint32_t mode;
    uint32_t mount_id; /* 0: none */
    uint32_t mtime_granularity_ms;
    struct gfsi_str name;
    struct gfsi_str version;
    struct gfsi_str owner;
    struct gfsi_str group;
};

struct gfsi_mount {
    uint32_t id;
    uint64_t inode_id;
    bool read_only;
    bool shared;
    const char *path;
    const char *uri;
    size_t n_props;
    struct gfsi_prop props[GFSI_PROPS_MAX];
};

struct gfsi_state {
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t next_id;
    uint64_t next_mount_id;
    uint64_t next_op;
    uint64_t mounts_epoch; /* rises with each change of the mount table; starts at 1 */
};

/* ---- life ----------------------------------------------------------------------------------- */

struct gfsi_ns;

struct gfsi_ns_opts {
    const char *dir;      /* created if missing */
    const char *identity; /* of the journal it belongs to: with another one it is rebuilt */
    const char *boot_id;  /* NULL: the machine's; tests give their own */
    size_t map_bytes;     /* 0: 64 GiB of address space */
};

/* Opens or creates. A database of another journal, or one that was open when the machine went down,
 * is dropped: gfsi_ns_applied() is 0 then and the journal replays. PRECONDITION: made by another
 * version. */
int gfsi_ns_open(const struct gfsi_ns_opts *opts, struct gfsi_ns **out, struct gfs_err *err);

/* Syncs and marks clean; no view may be open. NULL is fine. */
void gfsi_ns_close(struct gfsi_ns *ns);

/* The same without sync or mark: as if the process had been killed. */
void gfsi_ns_abandon(struct gfsi_ns *ns);

/* Index of the last applied entry. Any thread. */
uint64_t gfsi_ns_applied(struct gfsi_ns *ns);

struct gfsi_ns_entry {
    uint64_t index;
    uint64_t term;
    const void *data; /* JournalEntry */
    size_t len;
};

/* Applies a batch in one transaction. results[i]: >= 0, or the negative gfs error the operation
 * ended with (it changed nothing then). A negative answer is fatal: an entry that does not parse,
 * or the database failed; nothing was applied. One thread. */
int gfsi_ns_apply(struct gfsi_ns *ns, const struct gfsi_ns_entry *entries, size_t n,
                  int64_t *results, struct gfs_err *err);

/* Writes a compact image to fd (offset 0) and says what it is consistent at. Any thread. */
int gfsi_ns_snapshot(struct gfsi_ns *ns, int fd, uint64_t *out_index, struct gfs_err *err);

/* Replaces the whole state by the image in fd. Open views keep the old state. CORRUPT when it is
 * not an image of `index`. On the apply thread. */
int gfsi_ns_restore(struct gfsi_ns *ns, int fd, uint64_t index, struct gfs_err *err);

/* ---- reading -------------------------------------------------------------------------------- */

struct gfsi_view;

/* BUSY when too many views are open. Short-lived: a view pins old pages. */
int gfsi_view_open(struct gfsi_ns *ns, struct gfsi_view **out, struct gfs_err *err);
void gfsi_view_close(struct gfsi_view *view); /* NULL is fine */
static inline void gfsi_view_auto(struct gfsi_view **view)
{
    gfsi_view_close(*view);
}
#define gfsi_auto_view __attribute__((cleanup(gfsi_view_auto)))

void gfsi_view_state(const struct gfsi_view *view, struct gfsi_state *out);

/* NOENT, or an error of the database (IO). */
int gfsi_view_inode(struct gfsi_view *view, uint64_t id, struct gfsi_inode *out);
int gfsi_view_child(struct gfsi_view *view, uint64_t parent, const char *name, size_t len,
                    struct gfsi_inode *out);

/* Absolute path of an inode. */
int gfsi_view_path(struct gfsi_view *view, uint64_t id, char *out, size_t size);

/* Path below its mount's URI; PRECONDITION when no mount is above it. */
int gfsi_view_ufs_path(struct gfsi_view *view, const struct gfsi_inode *inode, char *out,
                       size_t size);

/* Follows a normalised path as far as it is known. 0: *out is it. NOENT: *out is the deepest known
 * ancestor, *rest points at the first missing component. NOTDIR: *out is a file in the way. */
int gfsi_view_resolve(struct gfsi_view *view, const char *path, struct gfsi_inode *out,
                      const char **rest);

int gfsi_view_mount(struct gfsi_view *view, uint32_t id, struct gfsi_mount *out);
/* Calls back in order of ids; non-zero ends and is returned. */
int gfsi_view_mounts(struct gfsi_view *view, int (*each)(void *arg, const struct gfsi_mount *m),
                     void *arg);

/* Result of a completed operation; NOENT when it is not (or no more) known. */
int gfsi_view_op(struct gfsi_view *view, const uint8_t id[GFSI_OP_ID_SIZE], int64_t *out_result);

int gfsi_view_setting(struct gfsi_view *view, const char *key, char *out, size_t size);

/* Children in byte order of their names, behind `after` ("" = from the first). */
struct gfsi_cursor;
int gfsi_cursor_open(struct gfsi_view *view, uint64_t dir, const char *after, size_t after_len,
                     struct gfsi_cursor **out);
int gfsi_cursor_next(struct gfsi_cursor *c, struct gfsi_inode *out); /* 1, 0 at the end, error */
void gfsi_cursor_close(struct gfsi_cursor *c);                       /* NULL is fine */

/* Everything below a directory, depth first, names in byte order. */
struct gfsi_walk;
int gfsi_walk_open(struct gfsi_view *view, uint64_t dir, struct gfsi_walk **out);
/* Continues behind this path (relative to the directory) instead of at the first. */
int gfsi_walk_after(struct gfsi_walk *w, const char *path);
/* 1 with *out and its path relative to the start (borrowed until the next call); 0 at the end. */
int gfsi_walk_next(struct gfsi_walk *w, struct gfsi_inode *out, const char **path);
void gfsi_walk_close(struct gfsi_walk *w);

/* Files and directories, the root included. */
uint64_t gfsi_view_inodes(struct gfsi_view *view);

/* Digest over every table: equal on two masters at the same applied index, or one of them is
 * wrong. Reads everything. */
int gfsi_view_digest(struct gfsi_view *view, uint64_t *out);

/* 64-bit id of one version of a file; never 0. */
uint64_t gfsi_version_id(const char *version, size_t len, uint64_t length);

#ifdef __cplusplus
}
#endif
#endif
