/* Requests: bytes from outside become targets for the store. Everything is checked here once. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#include "server_priv.h"

int gfsi_target_decode(const char *body, size_t len, struct gfsi_owned_target *out)
{
    struct gfs_data_target wire;

    if (len < sizeof(wire)) {
        return GFS_EPROTO;
    }
    memcpy(&wire, body, sizeof(wire));

    size_t path_len = le16toh(wire.path_len);
    size_t version_len = le16toh(wire.version_len);
    const char *path = body + sizeof(wire);
    const char *version = path + path_len;

    if (path_len > GFS_DATA_PATH_MAX || version_len > GFS_DATA_VERSION_MAX ||
        len != sizeof(wire) + path_len + version_len || memchr(path, '\0', path_len) != NULL ||
        memchr(version, '\0', version_len) != NULL) {
        return GFS_EPROTO;
    }
    memcpy(out->path, path, path_len);
    out->path[path_len] = '\0';
    memcpy(out->version, version, version_len);
    out->version[version_len] = '\0';
    out->target = (struct gfsi_target){
        .inode_id = le64toh(wire.inode_id),
        .version_id = le64toh(wire.version_id),
        .file_length = le64toh(wire.file_length),
        .offset = le64toh(wire.offset),
        .length = le32toh(wire.length),
        .mount_id = le32toh(wire.mount_id),
        .path = out->path,
        .version = out->version,
    };
    return 0;
}

static void fail(struct gfsi_response *r, int code, const char *text)
{
    size_t len = strlen(text);

    r->header.status = (int16_t)code;
    r->header.body_len = (uint32_t)len;
    memcpy(r->head + sizeof(r->header), text, len);
    r->prepared = true;
    gfsi_response_ready(r);
}

static void read_done(void *arg, struct gfsi_read *read)
{
    (void)read; /* r->read, set before */
    gfsi_response_ready(arg);
}

static void start_read(struct gfsi_response *r, const struct gfsi_target *target)
{
    struct gfs_err err = GFS_ERR_INIT;

    if (target->length > GFS_DATA_READ_MAX) {
        fail(r, GFS_ERANGE, "a read is at most 4 MiB");
        return;
    }

    int rc = gfsi_store_read(r->conn->server->store, target, read_done, r, &r->read, &err);

    if (rc < 0) {
        fail(r, rc, gfs_err_text(&err, rc));
    } else if (rc == 1) {
        gfsi_response_ready(r);
    }
}

static void start_load(struct gfsi_response *r, const struct gfsi_target *target)
{
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfsi_store_load(r->conn->server->store, target, &err);

    if (rc < 0) {
        fail(r, rc, gfs_err_text(&err, rc));
        return;
    }
    r->prepared = true;
    gfsi_response_ready(r);
}

/* Opening a file touches the disk: the sender does it. */
static void start_open(struct gfsi_response *r, struct gfsi_owned_target *owned)
{
    if (!r->conn->local) {
        fail(r, GFS_EUNSUPPORTED, "a descriptor can be handed out over a unix socket only");
        return;
    }

    struct gfsi_owned_target *copy = malloc(sizeof(*copy));

    if (copy == NULL) {
        fail(r, GFS_ENOMEM, "out of memory");
        return;
    }
    *copy = *owned;
    copy->target.path = copy->path;
    copy->target.version = copy->version;
    r->target = &copy->target; /* the first member: freed as one */
    gfsi_response_ready(r);
}

static int handle(struct gfsi_conn *conn, const struct gfs_data_header *header, const char *body)
{
    struct gfsi_server *server = conn->server;
    struct gfsi_owned_target owned;
    bool has_target = header->type != GFS_DATA_PING;

    if (header->type < GFS_DATA_PING || header->type > GFS_DATA_LOAD ||
        (!has_target && header->body_len != 0) ||
        (has_target && gfsi_target_decode(body, header->body_len, &owned) < 0)) {
        return GFS_EPROTO;
    }

    struct gfsi_response *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return GFS_ENOMEM;
    }
    r->conn = conn;
    r->fd = -1;
    r->started = gfs_clock_mono();
    r->header =
        (struct gfs_data_header){.magic = GFS_DATA_MAGIC, .type = header->type, .id = header->id};
    (void)pthread_mutex_lock(&conn->mutex);
    conn->outstanding++;
    (void)pthread_mutex_lock(&server->mutex);
    conn->refs++;
    server->outstanding++;
    (void)pthread_mutex_unlock(&server->mutex);
    (void)pthread_mutex_unlock(&conn->mutex);
    gfs_metric_add(server->m_requests[header->type], 1);
    switch (header->type) {
    case GFS_DATA_READ: start_read(r, &owned.target); break;
    case GFS_DATA_LOAD: start_load(r, &owned.target); break;
    case GFS_DATA_OPEN: start_open(r, &owned); break;
    default: r->prepared = true; gfsi_response_ready(r);
    }
    return 0;
}

/* Whether one more request may be taken; else reading pauses until answers are out. */
static bool may_take(struct gfsi_conn *conn)
{
    (void)pthread_mutex_lock(&conn->mutex);
    (void)pthread_mutex_lock(&conn->server->mutex);

    bool draining = conn->server->draining;

    (void)pthread_mutex_unlock(&conn->server->mutex);

    bool may = conn->outstanding < GFS_DATA_PIPELINE_MAX && !draining;

    if (!may && !conn->paused) {
        conn->paused = true;
        gfsi_conn_interest(conn);
    }
    (void)pthread_mutex_unlock(&conn->mutex);
    return may;
}

int gfsi_conn_parse(struct gfsi_conn *conn)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && conn->in_len - at >= sizeof(struct gfs_data_header)) {
        struct gfs_data_header header;

        memcpy(&header, conn->in + at, sizeof(header));
        header.magic = le32toh(header.magic);
        header.type = le16toh(header.type);
        header.id = le64toh(header.id);
        header.body_len = le32toh(header.body_len);
        if (header.magic != GFS_DATA_MAGIC || header.status != 0 || header.reserved != 0 ||
            header.body_len > GFS_DATA_BODY_MAX) {
            rc = GFS_EPROTO;
            break;
        }
        if (conn->in_len - at - sizeof(header) < header.body_len) {
            break;
        }
        if (!may_take(conn)) {
            rc = 1;
            break;
        }
        rc = handle(conn, &header, conn->in + at + sizeof(header));
        at += sizeof(header) + header.body_len;
    }
    if (at > 0) {
        memmove(conn->in, conn->in + at, conn->in_len - at);
        conn->in_len -= at;
    }
    return rc;
}
