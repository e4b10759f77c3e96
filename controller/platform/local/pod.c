/* One pod: its directories and configuration, its processes, its end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>

#include "desired/desired_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/remove.h"
#include "platform/local/pathf.h"

#define PROPERTIES_MAX (1u << 20)
#define LAST_LINE_MAX  300

static struct gfsi_pod *pod_new(struct gfsi_local *local, struct gfsi_pair *pair, const char *ns,
                                const char *name, enum gfs_role role)
{
    struct gfsi_pod *pod = calloc(1, sizeof(*pod));

    if (pod == NULL) {
        return NULL;
    }

    pod->local = local;
    pod->pair = pair;
    pod->role = role;
    pod->created_ms = gfs_clock_wall_ms();
    (void)snprintf(pod->ns, sizeof(pod->ns), "%s", ns);
    (void)snprintf(pod->name, sizeof(pod->name), "%s", name);
    gfsi_pathf(pod->dir, sizeof(pod->dir), "%s/%s/%s", local->pods_dir, ns, name);
    return pod;
}

void gfsi_pod_free(struct gfsi_pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++) {
        pod->containers[i].child = gfsi_child_free(pod->containers[i].child);
    }
    for (size_t i = 0; i < pod->n_dirs; i++) {
        free(pod->dirs[i]);
    }

    gfsi_timer_clear(pod->local->loop, &pod->held.retry);
    free(pod->dirs);
    free(pod);
}

/* ---- what happens to its processes ---- */

/* The last line a process wrote says most often why it ended. */
static void last_line(const char *path, char *out, size_t size)
{
    char text[LAST_LINE_MAX + 1];
    FILE *f gfs_auto_file = fopen(path, "re");

    out[0] = '\0';
    if (f == NULL || (fseek(f, -LAST_LINE_MAX, SEEK_END) < 0 && fseek(f, 0, SEEK_SET) < 0)) {
        return;
    }

    size_t n = fread(text, 1, LAST_LINE_MAX, f);

    while (n > 0 && text[n - 1] == '\n') {
        n--;
    }
    text[n] = '\0';

    const char *line = strrchr(text, '\n');

    (void)snprintf(out, size, "%s", line != NULL ? line + 1 : text);
}

static void report(struct gfsi_container *c, enum gfsi_child_state state)
{
    struct gfsi_pod *pod = c->pod;
    char message[GFS_ERR_TEXT_MAX];
    char line[LAST_LINE_MAX + 1];

    if (state == GFSI_CHILD_RUNNING) {
        (void)snprintf(message, sizeof(message), "Started container %s", c->name);
        gfsi_local_event(pod->local, pod->ns, "pod", pod->name, false, "Started", message);
    } else if (state == GFSI_CHILD_BACKOFF) {
        line[0] = '\0';
        if (strncmp(gfsi_child_reason(c->child), "exit", 4) == 0) {
            last_line(c->log_path, line, sizeof(line));
        }
        (void)snprintf(message, sizeof(message), "Back-off restarting container %s: %s%s%s",
                       c->name, gfsi_child_reason(c->child), line[0] != '\0' ? ": " : "", line);
        gfsi_local_event(pod->local, pod->ns, "pod", pod->name, true, "BackOff", message);
        gfs_warn("local", "a process ended", "pod=%s container=%s reason=%s log=%s", pod->name,
                 c->name, GFS_Q(gfsi_child_reason(c->child)), GFS_Q(c->log_path));
    }
}

static void on_removed(void *arg)
{
    struct gfsi_pod *pod = arg;

    struct gfs_err err = GFS_ERR_INIT;

    pod->removing = false;
    pod->n_containers = 0;
    if (!pod->keep_data && gfsi_addresses_save(pod->local->addresses, pod->ns, &err) < 0) {
        gfs_warn("local", "cannot write the hosts file", "error=%s", GFS_Q(err.text));
    }
    if (pod->pair != NULL) {
        gfsi_pair_poke(pod->pair);
    }
    gfsi_local_changed(pod->local);
}

/* Off the loop: a cache may be many files. */
static void remove_dirs(void *arg)
{
    struct gfsi_pod *pod = arg;
    struct gfs_err err = GFS_ERR_INIT;

    for (size_t i = 0; i < pod->n_dirs; i++) {
        if (gfsi_remove_tree(pod->dirs[i], 2, &err) < 0) {
            gfs_warn("local", "cannot remove a directory", "error=%s", GFS_Q(err.text));
        }
    }
    if (gfsi_remove_tree(pod->dir, 0, &err) < 0) {
        gfs_warn("local", "cannot remove a directory", "error=%s", GFS_Q(err.text));
    }
}

static void free_children(struct gfsi_pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++) {
        pod->containers[i].child = gfsi_child_free(pod->containers[i].child);
    }
}

bool gfsi_pod_stopped(const struct gfsi_pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++) {
        const struct gfsi_child *child = pod->containers[i].child;

        if (child != NULL && gfsi_child_state(child) != GFSI_CHILD_STOPPED) {
            return false;
        }
    }

    return !pod->removing && !pod->held.known && !pod->held.busy;
}

/* A child must not be freed in its own callback: the next round of the loop does it. */
static void finish_deletion(void *arg)
{
    struct gfsi_pod *pod = arg;

    if (!gfsi_pod_stopped(pod)) {
        return;
    }

    free_children(pod);
    if (pod->keep_data) {
        on_removed(pod);
        return;
    }

    gfsi_addresses_drop(pod->local->addresses, pod->ns, pod->name);
    pod->removing = true;
    if (gfsi_jobs_run(pod->local->jobs, remove_dirs, on_removed, pod) < 0) {
        remove_dirs(pod);
        on_removed(pod);
    }
}

void gfsi_pod_finish(struct gfsi_pod *pod)
{
    gfsi_timer_set(pod->local->loop, &pod->held.retry, 1, finish_deletion, pod);
}

static void on_child(void *arg, struct gfsi_child *child)
{
    struct gfsi_container *c = arg;
    struct gfsi_pod *pod = c->pod;
    enum gfsi_child_state state = gfsi_child_state(child);

    if (state != c->seen || gfsi_child_restarts(child) != c->restarts_seen) {
        c->seen = state;
        c->restarts_seen = gfsi_child_restarts(child);
        c->ready = false;
        report(c, state);
    }
    if (pod->deleting && gfsi_pod_stopped(pod) && !pod->removing) {
        gfsi_pod_finish(pod);
    }
    if (pod->pair != NULL) {
        if (pod->pair->masters != NULL) {
            gfsi_masters_hurry(pod->pair->masters);
        }
        gfsi_pair_poke(pod->pair);
    }

    gfsi_local_changed(pod->local);
}

/* ---- making one ---- */

static int write_properties(const struct gfsi_pod *pod, const struct gfs_kvs *kvs,
                            struct gfs_err *err)
{
    struct gfs_buf text gfs_auto_buf;
    char path[PATH_MAX + 32];

    gfs_buf_init(&text, PROPERTIES_MAX);
    gfs_properties_print(kvs, &text);
    if (text.error < 0) {
        return gfs_err_set(err, text.error, "properties of %s are too large", pod->name);
    }

    gfsi_pathf(path, sizeof(path), "%s/goosefs-site.properties", pod->dir);
    return gfs_file_write_atomic(path, gfs_buf_str(&text), text.len, 0600, err);
}

/* Where each server listens: at the pod's own address only. */
static void bind_properties(const struct gfsi_pod *pod, struct gfs_buf *text)
{
    static const char *const master[] = {"goosefs.master.bind.host", "goosefs.master.web.bind.host",
                                         "goosefs.master.embedded.journal.bind.host", NULL};
    static const char *const worker[] = {"goosefs.worker.bind.host", "goosefs.worker.web.bind.host",
                                         NULL};
    const char *const *names = pod->role == GFS_ROLE_MASTER ? master : worker;

    for (; *names != NULL; names++) {
        (void)gfs_buf_printf(text, "%s=%s\n", *names, pod->address);
    }
}

static int make_dirs(struct gfsi_pod *pod, const struct gfs_pod *wanted, struct gfs_err *err)
{
    int rc = 0;

    pod->dirs = calloc(wanted->n_dirs + 1, sizeof(*pod->dirs));
    if (pod->dirs == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    for (size_t i = 0; rc == 0 && i < wanted->n_dirs; i++) {
        pod->dirs[i] = strdup(wanted->dirs[i]);
        if (pod->dirs[i] == NULL) {
            return gfs_err_set(err, GFS_ENOMEM, "out of memory");
        }
        pod->n_dirs++;
        rc = gfs_mkdirs(wanted->dirs[i], 0700, err);
    }

    return rc;
}

int gfsi_pod_add_process(struct gfsi_pod *pod, const char *name, const char *program,
                         const char *const *argv, const struct gfs_kvs *env, uint64_t hash,
                         struct gfs_err *err)
{
    struct gfsi_container *c = &pod->containers[pod->n_containers];
    char path[PATH_MAX * 2];
    char pid_path[PATH_MAX + 128];
    char **environment = gfsi_environment(env, pod->dir);

    if (environment == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    gfsi_pathf(path, sizeof(path), "%s/%s", pod->local->opts.bin_dir, program);
    (void)snprintf(c->name, sizeof(c->name), "%s", name);
    gfsi_pathf(c->log_path, sizeof(c->log_path), "%s/%s.log", pod->dir, name);
    gfsi_pathf(pid_path, sizeof(pid_path), "%s/%s.pid", pod->dir, name);
    c->pod = pod;

    struct gfsi_child_spec spec = {
        .program = path,
        .argv = argv,
        .env = (const char *const *)environment,
        .directory = pod->dir,
        .log_path = c->log_path,
        .pid_path = pid_path,
        .hash = hash,
    };
    int rc = gfsi_child_new(pod->local->loop, &spec, on_child, c, &c->child);

    gfsi_environment_free(environment);
    if (rc < 0) {
        return gfs_err_set(err, rc, "out of memory");
    }

    pod->n_containers++;
    return 0;
}

static int add_server(struct gfsi_pod *pod, const struct gfs_pod *wanted, struct gfs_err *err)
{
    const uint16_t ports[] = {wanted->rpc_port, 0};
    struct gfs_buf text gfs_auto_buf;
    char properties[PATH_MAX + 32];
    int rc =
        gfsi_addresses_get(pod->local->addresses, pod->ns, pod->name, ports, pod->address, err);

    rc = rc < 0 ? rc : gfsi_addresses_save(pod->local->addresses, pod->ns, err);
    if (rc < 0) {
        return rc;
    }

    gfs_buf_init(&text, PROPERTIES_MAX);
    bind_properties(pod, &text); /* first: the user's own come later in the file and win */
    gfs_properties_print(&wanted->properties, &text);
    if (text.error < 0) {
        return gfs_err_set(err, text.error, "properties of %s are too large", pod->name);
    }

    gfsi_pathf(properties, sizeof(properties), "%s/goosefs-site.properties", pod->dir);
    rc = gfs_file_write_atomic(properties, gfs_buf_str(&text), text.len, 0600, err);

    const char *program = wanted->containers[0].program;
    const char *const argv[] = {program, "--properties", properties, NULL};

    return rc < 0 ? rc
                  : gfsi_pod_add_process(pod, wanted->containers[0].name, program, argv,
                                         &wanted->env, wanted->hash, err);
}

/* The keeper runs the client; its log is in the pod's directory. */
static int add_client(struct gfsi_pod *pod, const struct gfs_pod *wanted, struct gfs_err *err)
{
    struct gfsi_container *c = &pod->containers[pod->n_containers++];
    int rc = write_properties(pod, &wanted->properties, err);

    c->pod = pod;
    (void)snprintf(c->name, sizeof(c->name), "%s", wanted->containers[0].name);
    gfsi_pathf(c->log_path, sizeof(c->log_path), "%s/%s.log", pod->dir, c->name);
    return rc;
}

int gfsi_pod_create(struct gfsi_pair *pair, const struct gfs_pod *wanted, struct gfs_err *err)
{
    struct gfsi_pod *pod = pod_new(pair->local, pair, wanted->ns, wanted->name, wanted->role);

    if (pod == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    pod->index = wanted->index;
    pod->hash = wanted->hash;

    int rc = gfs_mkdirs(pod->dir, 0755, err);

    if (rc == 0) {
        rc = wanted->role == GFS_ROLE_FUSE ? add_client(pod, wanted, err)
                                           : add_server(pod, wanted, err);
    }

    /* After its properties, from which a later instance learns what is to be removed. */
    rc = rc < 0 ? rc : make_dirs(pod, wanted, err);
    if (rc < 0) {
        gfsi_pod_free(pod);
        return rc;
    }

    /* At the end, so that a list of pods is in the order of their creation. */
    struct gfsi_pod **tail = &pair->pods;

    while (*tail != NULL) {
        tail = &(*tail)->next;
    }
    *tail = pod;
    gfsi_pod_start(pod);
    return 0;
}

void gfsi_pod_start(struct gfsi_pod *pod)
{
    if (pod->role == GFS_ROLE_FUSE) {
        gfsi_client_mount(pod);
        return;
    }

    for (size_t i = 0; i < pod->n_containers; i++) {
        struct gfsi_child *child = pod->containers[i].child;

        if (child == NULL) {
            continue;
        }
        gfsi_child_start(child);
        if (gfsi_child_started_ms(child) != 0 && gfsi_child_started_ms(child) < pod->created_ms) {
            pod->created_ms = gfsi_child_started_ms(child); /* adopted */
        }
    }
}

void gfsi_system_pod_name(const struct gfsi_local *local, const char *owner, char out[64])
{
    char suffix[GFS_POD_SUFFIX_LEN + 1];

    gfs_pod_suffix(local->opts.state_dir, GFS_FLUID_NAMESPACE, owner, 0, 0, suffix);
    (void)snprintf(out, 64, "%s-%s", owner, suffix);
}

struct gfsi_pod *gfsi_pod_create_system(struct gfsi_local *local, const char *owner)
{
    char name[64];

    gfsi_system_pod_name(local, owner, name);

    struct gfsi_pod *pod = pod_new(local, NULL, GFS_FLUID_NAMESPACE, name, GFS_ROLE_SYSTEM);

    if (pod != NULL) {
        struct gfsi_pod **tail = &local->system_pods;

        while (*tail != NULL) {
            tail = &(*tail)->next;
        }
        *tail = pod;
    }

    return pod;
}

void gfsi_pod_delete(struct gfsi_pod *pod, bool keep_data)
{
    if (pod->deleting) {
        return;
    }

    pod->deleting = true;
    pod->keep_data = keep_data;
    gfsi_local_event(pod->local, pod->ns, "pod", pod->name, false, "Killing",
                     "Stopping its containers");
    if (pod->role == GFS_ROLE_FUSE) {
        gfsi_client_unmount(pod);
        return;
    }

    for (size_t i = 0; i < pod->n_containers; i++) {
        if (pod->containers[i].child != NULL) {
            gfsi_child_stop(pod->containers[i].child);
        }
    }
    if (gfsi_pod_stopped(pod)) {
        gfsi_pod_finish(pod);
    }
}
