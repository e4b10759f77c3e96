/* State files written, removed, and at the start read: a new keeper takes over the clients of the
 * one before it, and mounts anew what has no client any more. */
#include "keeper_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "session_take.h"
#include "spec_dup.h"
#include "state.h"

static int state_path(const struct gfsi_keeper *k, const char *id, const char *suffix, char *out,
                      size_t size)
{
    int n = snprintf(out, size, "%s/%s%s", k->state_dir, id, suffix);

    return n < 0 || (size_t)n >= size ? GFS_ENAMETOOLONG : 0;
}

int gfsi_recover_read_boot_id(char *out, size_t size)
{
    struct gfs_buf text gfs_auto_buf;
    int rc;

    gfs_buf_init(&text, 128);
    rc = gfs_file_read("/proc/sys/kernel/random/boot_id", &text, NULL);
    if (rc != 0 || text.len == 0) {
        return rc != 0 ? rc : GFS_EIO;
    }
    text.data[strcspn(text.data, "\n")] = '\0';
    return gfs_str_copy(out, size, text.data);
}

static int write_file(const char *temporary, const char *path, const struct gfs_buf *content)
{
    int fd gfs_auto_fd =
        openat(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0) {
        return gfs_err_from_errno(errno);
    }
    if (gfs_write_all(fd, content->data, content->len) != 0 || rename(temporary, path) != 0) {
        int saved = errno;

        (void)unlink(temporary);
        return gfs_err_from_errno(saved);
    }
    return 0;
}

void gfsi_recover_save(const struct gfsi_held *h)
{
    const struct gfsi_keeper *k = h->keeper;
    struct gfsi_state state = {
        .cookie = h->session->cookie,
        .pid = h->client.pid,
        .minor = h->dev.minor,
        .made_dir = h->dev.made_dir,
        .spec = h->spec,
        .argv = h->argv,
    };
    struct gfs_buf content gfs_auto_buf;
    char temporary[PATH_MAX];
    char path[PATH_MAX];
    int rc;

    gfs_buf_init(&content, GFSI_STATE_MAX);
    rc = gfsi_state_encode(&state, k->boot_id, &content);
    if (rc == 0) {
        rc = state_path(k, h->spec->id, "", path, sizeof(path));
    }
    if (rc == 0) {
        rc = state_path(k, "", ".new", temporary, sizeof(temporary));
    }
    if (rc == 0) {
        rc = write_file(temporary, path, &content);
    }
    if (rc != 0) {
        gfs_warn("keeper", "state not written, a successor will not find this mount",
                 "id=%s directory=%s error=%s", h->spec->id, GFS_Q(k->state_dir),
                 GFS_Q(gfs_err_string(rc)));
    }
}

void gfsi_recover_forget(const struct gfsi_keeper *k, const char *id)
{
    char path[PATH_MAX];

    if (state_path(k, id, "", path, sizeof(path)) == 0) {
        (void)unlink(path);
    }
}

/* ---- taking over ----------------------------------------------------------------------------- */

static int take_fd(int pidfd, int number)
{
    return (int)syscall(SYS_pidfd_getfd, pidfd, number, 0U);
}

/* The session of a process that claims to be our client: the cookie proves it. */
static int take_session(struct gfsi_held *h, const struct gfsi_state *state, struct gfs_err *err)
{
    h->session_fd = take_fd(h->client.pidfd, GFS_SESSION_STATE_FD);
    if (h->session_fd < 0) {
        return gfs_err_set_errno(err, errno, "taking descriptors of process %d", state->pid);
    }
    return gfsi_session_take(h->session_fd, state->cookie, &h->session, err);
}

static int take_client(struct gfsi_held *h, const struct gfsi_state *state, struct gfs_err *err)
{
    int rc;

    h->client.pidfd = (int)syscall(SYS_pidfd_open, state->pid, 0U);
    if (h->client.pidfd < 0) {
        return gfs_err_set_errno(err, errno, "process %d", state->pid);
    }
    h->client.pid = state->pid;
    rc = take_session(h, state, err);
    if (rc != 0) {
        return rc;
    }
    h->dev = (struct gfsi_fusedev){
        .fd = take_fd(h->client.pidfd, GFS_SESSION_FUSE_FD),
        .minor = state->minor,
        .made_dir = state->made_dir,
    };
    h->client.control_fd = take_fd(h->client.pidfd, GFS_SESSION_KEEPER_FD);
    h->log_fd = take_fd(h->client.pidfd, STDERR_FILENO);
    if (h->dev.fd < 0 || h->client.control_fd < 0) {
        return gfs_err_set_errno(err, errno, "taking descriptors of process %d", state->pid);
    }
    if (!gfsi_fusedev_alive(&h->dev)) {
        return gfs_err_set(err, GFS_EIO, "connection of process %d has ended", state->pid);
    }
    return 0;
}

static int adopt(struct gfsi_keeper *k, const struct gfsi_state *state, struct gfs_err *err)
{
    struct gfsi_held *h = gfsi_held_alloc(k, state->spec);
    int rc;

    if (h == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "mount '%s'", state->spec->id);
    }
    if (state->argv != NULL) {
        h->argv = gfsi_args_dup(state->argv);
    }
    rc = state->argv != NULL && h->argv == NULL ? gfs_err_set(err, GFS_ENOMEM, "mount")
                                                : take_client(h, state, err);
    if (rc == 0) {
        rc = gfsi_held_adopted(h, err);
    }
    if (rc != 0) {
        gfsi_held_free(h);
    }
    return rc;
}

/* Keeper and client died together, and the connection with them. */
static int mount_anew(struct gfsi_keeper *k, const struct gfsi_state *state, struct gfs_err *err)
{
    struct gfsi_held *h;
    int rc = gfsi_held_new(k, state->spec, -1, &h, err);

    if (rc != 0) {
        return rc;
    }
    if (state->argv != NULL) {
        h->argv = gfsi_args_dup(state->argv);
    }
    h->dev.made_dir = h->dev.made_dir || state->made_dir;
    h->remounts++;
    gfsi_held_start(h);
    return 0;
}

/* What there is of it, its launcher has: it will come. */
static int remember(struct gfsi_keeper *k, const struct gfsi_state *state, struct gfs_err *err)
{
    const struct gfsi_held_memory memory = {
        .spec = state->spec,
        .argv = state->argv,
        .cookie = state->cookie,
        .minor = state->minor,
        .made_dir = state->made_dir,
    };
    int rc = gfsi_held_remember(k, &memory, err);

    if (rc == 0) {
        gfs_info("keeper", "mount remembered, waiting for its launcher", "id=%s", state->spec->id);
    }
    return rc;
}

static void recover_one(struct gfsi_keeper *k, const char *id, struct gfsi_state_file *file,
                        struct gfs_buf *content)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_err why = GFS_ERR_INIT;
    char path[PATH_MAX];
    int rc = state_path(k, id, "", path, sizeof(path));

    gfs_buf_clear(content);
    if (rc == 0) {
        rc = gfs_file_read(path, content, &err);
    }
    if (rc == 0) {
        rc = gfsi_state_decode(gfs_buf_str(content), content->len, k->boot_id, file, &err);
    }
    if (rc == 0 && strcmp(file->state.spec->id, id) != 0) {
        rc = gfs_err_set(&err, GFS_ECORRUPT, "state file of '%s' is named '%s'",
                         file->state.spec->id, id);
    }
    if (rc == 0 && file->state.spec->launch[0] != '\0') {
        rc = remember(k, &file->state, &err);
        if (rc == 0) {
            return;
        }
    }
    if (rc == 0 && adopt(k, &file->state, &why) == 0) {
        gfs_info("keeper", "client taken over", "id=%s pid=%d", id, file->state.pid);
        return;
    }
    if (rc == 0) {
        rc = mount_anew(k, &file->state, &err);
    }
    if (rc == 0) {
        gfs_warn("keeper", "mounted anew, open files of before are lost", "id=%s reason=%s", id,
                 GFS_Q(why.text));
        return;
    }
    gfs_error("keeper", "mount not recovered", "id=%s error=%s", GFS_Q(id),
              GFS_Q(gfs_err_text(&err, rc)));
    (void)unlink(path);
}

void gfsi_recover_all(struct gfsi_keeper *k)
{
    struct gfsi_state_file *file gfs_auto_free = malloc(sizeof(*file));
    struct gfs_buf content gfs_auto_buf;
    DIR *dir gfs_auto_dir = opendir(k->state_dir);
    struct dirent *entry;

    gfs_buf_init(&content, GFSI_STATE_MAX);
    while (dir != NULL && file != NULL && (entry = readdir(dir)) != NULL) {
        if (gfs_keeper_id_valid(entry->d_name) && k->n_helds < GFS_KEEPER_MOUNTS_MAX) {
            recover_one(k, entry->d_name, file, &content);
        }
    }
}
