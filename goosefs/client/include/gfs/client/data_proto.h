/* The data protocol between clients and workers: framed, little-endian, over TCP (goosefs.worker
 * data port) or a unix stream socket on the same node, where OPEN can hand out a file descriptor.
 *
 *   client                                   worker
 *     | gfs_data_request {header, body} ---->  |     many may be outstanding on one connection;
 *     | <---- gfs_data_response {header, body} |     answers come in any order, tied by request id
 *
 * READ answers with exactly the bytes asked for, or with an error and no bytes; a range that ends
 * behind the file's length is an error of the caller (RANGE). A worker serves any extent by reading
 * through to the UFS; it answers CHANGED when the object at the UFS is no longer the version asked
 * for, so bytes of two versions never meet in one answer.
 *
 * Limits: a request body is at most GFS_DATA_BODY_MAX, a READ at most GFS_DATA_READ_MAX, at most
 * GFS_DATA_PIPELINE_MAX requests are outstanding on a connection (a worker stops reading beyond).
 * A frame that breaks a rule ends the connection. */
#ifndef GFS_CLIENT_DATA_PROTO_H
#define GFS_CLIENT_DATA_PROTO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_DATA_MAGIC        UINT32_C(0x31444647) /* "GFD1" */
#define GFS_DATA_BODY_MAX     UINT32_C(16384)      /* of a request */
#define GFS_DATA_READ_MAX     UINT32_C(4194304)    /* bytes of one READ */
#define GFS_DATA_PIPELINE_MAX 64
#define GFS_DATA_PATH_MAX     4096 /* UFS path, bytes */
#define GFS_DATA_VERSION_MAX  256

/* Unit of placement, tiering, eviction and hand-out: aligned, at most this much of a file. */
#define GFS_EXTENT_SIZE (UINT64_C(1) << 30)

enum gfs_data_type {
    GFS_DATA_PING = 1, /* body empty; answers with an empty body */
    GFS_DATA_READ = 2, /* body gfs_data_target; answers with the bytes */
    GFS_DATA_OPEN = 3, /* body gfs_data_target, unix sockets only: the extent at offset /
                          EXTENT_SIZE when it is sealed; the answer's body is a gfs_data_opened and
                          carries one descriptor (SCM_RIGHTS, read-only). PRECONDITION while it is
                          not sealed; with length 0 the worker then starts to fill it. */
    GFS_DATA_LOAD = 4, /* body gfs_data_target: fill the range in the background; answers at once */
};

struct gfs_data_header {
    uint32_t magic;
    uint16_t type;     /* enum gfs_data_type, the same in the answer */
    int16_t status;    /* answer: 0 or a gfs_err code; request: 0 */
    uint64_t id;       /* of the request, chosen by the client */
    uint32_t body_len; /* bytes behind the header; with an error: its text, no NUL */
    uint32_t reserved; /* 0 */
} __attribute__((packed));

/* What to read. Carries all a worker needs, so that any worker can serve any extent. Behind it
 * follow path_len bytes of the path below the mount's URI and version_len bytes of the version. */
struct gfs_data_target {
    uint64_t inode_id;
    uint64_t version_id;
    uint64_t file_length;
    uint64_t offset;
    uint32_t length; /* READ: 1..GFS_DATA_READ_MAX, may cross extents */
    uint32_t mount_id;
    uint16_t path_len;
    uint16_t version_len;
    uint32_t reserved; /* 0 */
} __attribute__((packed));

struct gfs_data_opened {
    uint64_t extent_offset; /* of the file; the descriptor's byte 0 */
    uint64_t extent_length;
} __attribute__((packed));

#ifdef __cplusplus
}
#endif
#endif
