/* Inside file reading: one range of one extent, asked from one worker. */
#ifndef GFSI_CLIENT_FILE_PRIV_H
#define GFSI_CLIENT_FILE_PRIV_H

#include "client_priv.h"

#include <gfs/base/buf.h>

#include <gfs/client/file.h>

struct gfs_client_file {
    struct gfs_client *client;
    uint64_t inode_id;
    uint64_t version_id;
    uint64_t length;
    uint32_t mount_id;
    uint16_t path_len;
    uint16_t version_len;
    char tail[]; /* path, then version, as they follow a gfs_data_target */
};

/* One READ (or LOAD) of at most GFS_DATA_READ_MAX (4 GiB) bytes. */
struct gfsi_chunk {
    uint64_t offset;
    uint32_t length;
    char *buf; /* NULL for LOAD */
    bool done;
};

#define GFSI_CANDIDATES_MAX 8

#define GFSI_CHUNKS_MAX 16 /* in one pipeline: bounds what waits in sockets */

/* Sends all chunks that are not done on one connection to `worker` and reads the answers. Returns 0
 * when all are done; else the worst answer, with the chunks that succeeded marked.
 *
 * A worker may be slow because its origin is: while it is silent it is pinged every 2 s, and it
 * counts as hung (GFS_ETIMEOUT) when it does not answer that, or nothing came for `patience` ns. */
int gfsi_request(const struct gfs_client_file *file, struct gfsi_worker *worker,
                 enum gfs_data_type type, struct gfsi_chunk *chunks, size_t n, int64_t patience,
                 int64_t deadline, struct gfs_err *err);
/* Appends one request's frame. */
void gfsi_request_put(struct gfs_buf *out, const struct gfs_client_file *file,
                      enum gfs_data_type type, uint64_t id, const struct gfsi_chunk *chunk);
/* Reads the text behind the header of an error answer. Returns its code, or what broke the
 * connection, also in *out_broken. */
int gfsi_request_failure(struct gfs_client *client, struct gfsi_conn *conn,
                         const struct gfs_data_header *header, int64_t deadline, int *out_broken,
                         struct gfs_err *err);

/* file.c: the workers of an extent in the order to ask them: as placed, but those that just failed
 * last. At most GFSI_CANDIDATES_MAX. */
size_t gfsi_file_candidates(const struct gfsi_workers *workers, uint64_t inode_id, uint64_t extent,
                            struct gfsi_worker **out);

#endif
