#include "state.h"

#include <string.h>

#include <gfs/base/str.h>

#define STATE_MAGIC   UINT32_C(0x534b4647) /* "GFKS" */
#define STATE_VERSION 1
#define BOOT_ID_SIZE  40

/* Read and written by the same program on the same machine: the machine's own layout. Behind it the
 * MOUNT message, and the RESTART message if restart_len is not 0. */
struct state_header {
    uint32_t magic;
    uint32_t version;
    uint64_t cookie;
    int32_t pid;
    uint32_t minor;
    uint32_t made_dir;
    uint32_t mount_len;
    uint32_t restart_len;
    uint32_t reserved;
    char boot_id[BOOT_ID_SIZE];
};

static int append_message(struct gfs_buf *message, struct gfs_buf *out, uint32_t *out_len)
{
    int rc = gfs_keeper_msg_end(message);

    if (rc == 0) {
        rc = gfs_buf_append(out, message->data, message->len);
    }
    *out_len = (uint32_t)message->len;
    return rc;
}

int gfsi_state_encode(const struct gfsi_state *state, const char *boot_id, struct gfs_buf *out)
{
    struct state_header h = {
        .magic = STATE_MAGIC,
        .version = STATE_VERSION,
        .cookie = state->cookie,
        .pid = state->pid,
        .minor = state->minor,
        .made_dir = state->made_dir ? 1 : 0,
    };
    struct gfs_buf message __attribute__((cleanup(gfs_buf_fini)));
    int rc = gfs_str_copy(h.boot_id, sizeof(h.boot_id), boot_id);

    gfs_buf_init(&message, GFS_KEEPER_MSG_MAX);
    gfs_buf_clear(out);
    if (rc == 0) {
        rc = gfs_buf_append(out, &h, sizeof(h));
    }
    if (rc == 0) {
        gfs_keeper_msg_begin(&message, GFS_KEEPER_MOUNT, 0);
        gfs_keeper_msg_put_spec(&message, state->spec);
        rc = append_message(&message, out, &h.mount_len);
    }
    if (rc == 0 && state->argv != NULL) {
        gfs_keeper_msg_begin(&message, GFS_KEEPER_RESTART, 0);
        gfs_keeper_msg_put_argv(&message, state->argv);
        rc = append_message(&message, out, &h.restart_len);
    }
    if (rc == 0) {
        memcpy(out->data, &h, sizeof(h));
    }
    return rc;
}

static int bad(struct gfs_err *err, const char *what)
{
    return gfs_err_set(err, GFS_ECORRUPT, "keeper state: %s", what);
}

static int decode_messages(const char *at, const struct state_header *h,
                           struct gfsi_state_file *out, struct gfs_err *err)
{
    int rc = gfs_keeper_msg_decode(at, h->mount_len, &out->mount, err);

    if (rc == 0) {
        rc = gfs_keeper_spec_check(&out->mount.spec, err);
    }
    if (rc == 0 && h->restart_len > 0) {
        rc = gfs_keeper_msg_decode(at + h->mount_len, h->restart_len, &out->restart, err);
        if (rc == 0 && (out->restart.n_argv == 0 || out->restart.argv[0][0] != '/')) {
            rc = bad(err, "no program to restart");
        }
    }
    return rc;
}

int gfsi_state_decode(const void *data, size_t len, const char *boot_id,
                      struct gfsi_state_file *out, struct gfs_err *err)
{
    struct state_header h;
    int rc;

    if (len < sizeof(h)) {
        return bad(err, "too short");
    }
    memcpy(&h, data, sizeof(h));
    if (h.magic != STATE_MAGIC || h.version != STATE_VERSION || h.pid < 0 ||
        memchr(h.boot_id, '\0', sizeof(h.boot_id)) == NULL ||
        (uint64_t)h.mount_len + h.restart_len != len - sizeof(h)) {
        return bad(err, "not a state file");
    }
    if (strcmp(h.boot_id, boot_id) != 0) {
        return gfs_err_set(err, GFS_ENOENT, "keeper state: of another boot");
    }
    rc = decode_messages((const char *)data + sizeof(h), &h, out, err);
    if (rc == 0 && h.pid == 0 && out->mount.spec.launch[0] == '\0') {
        rc = bad(err, "no client");
    }
    if (rc != 0) {
        return rc;
    }
    out->state = (struct gfsi_state){
        .cookie = h.cookie,
        .pid = h.pid,
        .minor = h.minor,
        .made_dir = h.made_dir != 0,
        .spec = &out->mount.spec,
        .argv = h.restart_len > 0 ? out->restart.argv : NULL,
    };
    return 0;
}
