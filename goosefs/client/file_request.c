/* The client's half of the data protocol: frames out, answers in. */
#include "file_priv.h"

#include <endian.h>
#include <string.h>

#include <gfs/base/buf.h>
#include <gfs/base/clock.h>

#define TEXT_MAX   16384
#define SILENCE_NS (2 * GFS_NS_PER_S) /* before a ping, and until its answer; at most try_ns */

/* Little endian on the wire; every machine this runs on is, so the structures go out as they are.
 */
_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "data_proto.h is little endian");

void gfsi_request_put(struct gfs_buf *out, const struct gfs_client_file *file,
                      enum gfs_data_type type, uint64_t id, const struct gfsi_chunk *chunk)
{
    const size_t tail = (size_t)file->path_len + file->version_len;
    const struct gfs_data_header header = {
        .magic = GFS_DATA_MAGIC,
        .type = (uint16_t)type,
        .id = id,
        .body_len = (uint32_t)(sizeof(struct gfs_data_target) + tail),
    };
    const struct gfs_data_target target = {
        .inode_id = file->inode_id,
        .version_id = file->version_id,
        .file_length = file->length,
        .offset = chunk->offset,
        .length = chunk->length,
        .mount_id = file->mount_id,
        .path_len = file->path_len,
        .version_len = file->version_len,
    };
    (void)gfs_buf_append(out, &header, sizeof(header));
    (void)gfs_buf_append(out, &target, sizeof(target));
    (void)gfs_buf_append(out, file->tail, tail);
}

/* Sends the requests; ids are first_id + index. */
static int send_requests(const struct gfs_client_file *file, struct gfsi_conn *conn,
                         enum gfs_data_type type, const struct gfsi_chunk *chunks, size_t n,
                         uint64_t first_id, int64_t deadline, struct gfs_err *err)
{
    struct gfs_buf out gfs_auto_buf;
    gfs_buf_init(&out, GFSI_CHUNKS_MAX * (sizeof(struct gfs_data_header) + GFS_DATA_BODY_MAX));
    for (size_t i = 0; i < n; i++) {
        if (!chunks[i].done) {
            gfsi_request_put(&out, file, type, first_id + i, &chunks[i]);
        }
    }
    if (out.error < 0) {
        return gfs_err_set(err, out.error, "out of memory");
    }
    return gfsi_conn_send(file->client, conn, out.data, out.len, deadline, err);
}

int gfsi_request_failure(struct gfs_client *client, struct gfsi_conn *conn,
                         const struct gfs_data_header *header, int64_t deadline, int *out_broken,
                         struct gfs_err *err)
{
    char text[TEXT_MAX + 1];
    if (header->body_len > TEXT_MAX) {
        *out_broken = GFS_EPROTO;
        return gfs_err_set(err, GFS_EPROTO, "the worker's answer breaks the data protocol");
    }
    const int rc = gfsi_conn_recv(client, conn, text, header->body_len, deadline, err);
    if (rc < 0) {
        *out_broken = rc;
        return rc;
    }
    text[header->body_len] = '\0';
    const int code = header->status >= GFS_EUNKNOWN ? header->status : GFS_EPROTO;
    return gfs_err_set(err, code, "%s", text[0] != '\0' ? text : gfs_err_string(code));
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Waits for the next header as long as the worker is alive. */
static int wait_header(struct gfs_client *client, struct gfsi_worker *worker,
                       struct gfsi_conn *conn, struct gfs_data_header *header, int64_t deadline,
                       struct gfs_err *err)
{
    const int64_t silence = earlier(SILENCE_NS, client->try_ns);
    for (;;) {
        int rc =
            gfsi_conn_readable(client, conn, earlier(deadline, gfs_clock_mono() + silence), err);
        if (rc == 0) {
            return gfsi_conn_recv(client, conn, header, sizeof(*header), deadline, err);
        }
        if (rc != GFS_ETIMEOUT || gfs_clock_mono() >= deadline) {
            return rc;
        }
        rc = gfsi_worker_ping(client, worker, earlier(deadline, gfs_clock_mono() + silence));
        if (rc < 0) {
            return gfs_err_set(err, rc == GFS_ECANCELLED ? rc : GFS_ETIMEOUT,
                               "the worker answers nothing, not even a ping");
        }
    }
}

/* One answer. *out_broken: the connection is of no further use. */
static int read_answer(struct gfs_client *client, struct gfsi_worker *worker,
                       struct gfsi_conn *conn, enum gfs_data_type type, struct gfsi_chunk *chunks,
                       size_t n, uint64_t first_id, int64_t deadline, int *out_broken,
                       struct gfs_err *err)
{
    struct gfs_data_header header;
    int rc = wait_header(client, worker, conn, &header, deadline, err);
    if (rc < 0) {
        *out_broken = rc;
        return rc;
    }
    struct gfsi_chunk *chunk = header.id - first_id < n ? &chunks[header.id - first_id] : NULL;
    const uint32_t expected = chunk != NULL && chunk->buf != NULL ? chunk->length : 0;
    const bool valid =
        header.magic == GFS_DATA_MAGIC && header.type == type && chunk != NULL && !chunk->done &&
        header.status <= 0 &&
        (header.status < 0 ? header.body_len <= TEXT_MAX : header.body_len == expected);
    if (!valid) {
        *out_broken = GFS_EPROTO;
        return gfs_err_set(err, GFS_EPROTO, "the worker's answer breaks the data protocol");
    }
    if (header.status < 0) {
        return gfsi_request_failure(client, conn, &header, deadline, out_broken, err);
    }

    if (expected > 0) {
        rc = gfsi_conn_recv(client, conn, chunk->buf, expected, deadline, err);
        if (rc < 0) {
            *out_broken = rc;
            return rc;
        }
    }
    chunk->done = true;
    return 0;
}

/* One exchange on one connection. */
static int exchange(const struct gfs_client_file *file, struct gfsi_worker *worker,
                    struct gfsi_conn *conn, enum gfs_data_type type, struct gfsi_chunk *chunks,
                    size_t n, int64_t patience, int64_t deadline, int *out_broken,
                    struct gfs_err *err)
{
    const uint64_t first_id = conn->next_id;
    conn->next_id += n;
    size_t outstanding = 0;
    for (size_t i = 0; i < n; i++) {
        outstanding += chunks[i].done ? 0 : 1;
    }
    int64_t limit = earlier(deadline, gfs_clock_mono() + patience);
    int worst = send_requests(file, conn, type, chunks, n, first_id, limit, err);
    if (worst < 0) {
        *out_broken = worst;
        return worst;
    }

    for (; outstanding > 0; outstanding--) {
        struct gfs_err one = GFS_ERR_INIT;
        limit = earlier(deadline, gfs_clock_mono() + patience);
        const int rc = read_answer(file->client, worker, conn, type, chunks, n, first_id, limit,
                                   out_broken, &one);
        /* An error that stays is worth more to the caller than one that may pass. */
        if (rc < 0 && (worst == 0 || (gfs_err_retryable(worst) && !gfs_err_retryable(rc)))) {
            worst = gfs_err_set(err, rc, "%s", one.text);
        }
        if (*out_broken < 0) {
            break;
        }
    }
    return worst;
}

int gfsi_request(const struct gfs_client_file *file, struct gfsi_worker *worker,
                 enum gfs_data_type type, struct gfsi_chunk *chunks, size_t n, int64_t patience,
                 int64_t deadline, struct gfs_err *err)
{
    for (;;) {
        struct gfsi_conn *conn = NULL;
        bool reused = false;
        int rc = gfsi_conn_take(file->client, worker, deadline, &conn, &reused, err);
        if (rc < 0) {
            return rc;
        }
        int broken = 0;
        rc = exchange(file, worker, conn, type, chunks, n, patience, deadline, &broken, err);
        gfsi_conn_give(worker, conn, broken == 0);

        /* A connection that idled may have been closed by a worker that restarted meanwhile: that
         * says nothing about the worker that is there now. */
        if (broken == GFS_EUNAVAIL && reused) {
            gfsi_conn_drop_idle(worker);
            continue;
        }
        return rc;
    }
}
