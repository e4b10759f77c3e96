/* Life of the namespace: which database is in force, when it may be trusted, snapshots.
 *
 *   DIR/STATE          "format identity boot generation clean", replaced atomically
 *   DIR/ns-GENERATION/ the LMDB environment
 *
 *   open ── identity or boot id differ, not clean ──> drop, start empty at applied 0
 *     └──── else ──> use as it is; STATE says "in use under this boot id" from here on
 *   restore: image -> new generation, then STATE, then the old generation goes with its last view
 *
 * A killed process loses nothing (the pages are in the kernel); a machine that went down may have
 * lost any part of an unsynced database, hence the boot id. */
#include "ns_store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define LOG               "metastore"
#define STATE_VERSION     1
#define STATE_MAX         1024
#define DEFAULT_MAP_BYTES (sizeof(void *) >= 8 ? (size_t)64 << 30 : (size_t)1 << 30)

static int generation_dir(const struct gfsi_ns *ns, uint64_t generation, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/ns-%" PRIu64, ns->dir, generation);

    return n < 0 || (size_t)n >= size ? GFS_ENAMETOOLONG : 0;
}

static int write_state(struct gfsi_ns *ns, bool clean, struct gfs_err *err)
{
    char path[GFSI_PATH_MAX];
    char text[STATE_MAX];
    int n = snprintf(text, sizeof(text),
                     "format=%d\nidentity=%s\nboot=%s\ngeneration=%" PRIu64 "\nclean=%d\n",
                     STATE_VERSION, ns->identity, ns->boot_id, ns->generation, clean ? 1 : 0);

    if (n < 0 || (size_t)n >= sizeof(text) ||
        gfs_path_join(path, sizeof(path), ns->dir, "STATE") != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "metastore %s: name too long", ns->dir);
    }

    return gfs_file_write_atomic(path, text, (size_t)n, 0600, err);
}

/* Value of "key=" in the text of STATE, as a new string; NULL when it is not there. */
static char *state_value(const char *text, const char *key)
{
    size_t len = strlen(key);

    while (*text != '\0') {
        const char *end = strchrnul(text, '\n');

        if (strncmp(text, key, len) == 0 && text[len] == '=') {
            return strndup(text + len + 1, (size_t)(end - text) - len - 1);
        }

        text = *end == '\0' ? end : end + 1;
    }

    return NULL;
}

/* Reads STATE. *usable: the database of `generation` is whole. No file: not usable. */
static int read_state(struct gfsi_ns *ns, bool *usable, struct gfs_err *err)
{
    char path[GFSI_PATH_MAX];
    struct gfs_buf text gfs_auto_buf;
    char *format gfs_auto_free = NULL;
    char *identity gfs_auto_free = NULL;
    char *boot gfs_auto_free = NULL;
    char *generation gfs_auto_free = NULL;
    char *clean gfs_auto_free = NULL;
    int rc;

    gfs_buf_init(&text, STATE_MAX);
    *usable = false;
    if (gfs_path_join(path, sizeof(path), ns->dir, "STATE") != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "metastore %s: name too long", ns->dir);
    }

    rc = gfs_file_read(path, &text, NULL);
    if (rc == GFS_ENOENT) {
        return 0;
    }

    if (rc != 0) {
        return gfs_err_set(err, rc, "metastore: cannot read %s: %s", path, gfs_err_string(rc));
    }

    format = state_value(gfs_buf_str(&text), "format");
    identity = state_value(gfs_buf_str(&text), "identity");
    boot = state_value(gfs_buf_str(&text), "boot");
    generation = state_value(gfs_buf_str(&text), "generation");
    clean = state_value(gfs_buf_str(&text), "clean");
    if (format == NULL || strcmp(format, "1") != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "metastore %s was written by another version (format %s, this one reads "
                           "%d): use that version, or remove the directory, it is rebuilt from the "
                           "journal",
                           ns->dir, format == NULL ? "unknown" : format, STATE_VERSION);
    }

    if (identity == NULL || boot == NULL || generation == NULL || clean == NULL ||
        gfs_parse_u64(generation, UINT64_MAX, &ns->generation) != 0) {
        return gfs_err_set(err, GFS_ECORRUPT,
                           "metastore: %s is damaged: remove %s, it is rebuilt "
                           "from the journal",
                           path, ns->dir);
    }

    if (strcmp(identity, ns->identity) != 0) {
        gfs_info(LOG, "belongs to another journal, rebuilding", "dir=%s", GFS_Q(ns->dir));
        return 0;
    }

    *usable = strcmp(clean, "1") == 0 || strcmp(boot, ns->boot_id) == 0;
    if (!*usable) {
        gfs_info(LOG, "machine went down while it was open, rebuilding", "dir=%s", GFS_Q(ns->dir));
    }

    return 0;
}

/* One process at a time: two would take each other's generations away. Held until close. */
static int lock_dir(struct gfsi_ns *ns, struct gfs_err *err)
{
    char path[GFSI_PATH_MAX];

    if (gfs_path_join(path, sizeof(path), ns->dir, "LOCK") != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "metastore %s: name too long", ns->dir);
    }

    ns->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (ns->lock_fd < 0) {
        return gfs_err_set_errno(err, errno, "metastore: cannot open %s", path);
    }

    if (flock(ns->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return gfs_err_set(err, GFS_EBUSY,
                           "metastore %s is in use by another process: stop that master, or give "
                           "this one its own goosefs.master.journal.folder and "
                           "goosefs.master.metastore.dir",
                           ns->dir);
    }

    return 0;
}

static char *machine_boot_id(void)
{
    struct gfs_buf text gfs_auto_buf;

    gfs_buf_init(&text, 256);
    if (gfs_file_read("/proc/sys/kernel/random/boot_id", &text, NULL) != 0 || text.len < 2) {
        return strdup("unknown-boot"); /* never equal to a real one: rebuilt unless clean */
    }

    return strndup(text.data, strcspn(text.data, "\n"));
}

static int load_applied(struct gfsi_ns *ns, struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_state st;
    int rc = gfsi_view_open(ns, &view, err);

    if (rc != 0) {
        return rc;
    }

    gfsi_view_state(view, &st);
    atomic_store(&ns->applied, st.applied_index);
    return 0;
}

static int open_database(struct gfsi_ns *ns, struct gfs_err *err)
{
    char dir[GFSI_PATH_MAX];
    bool usable;
    int rc = read_state(ns, &usable, err);

    if (rc != 0) {
        return rc;
    }

    if (!usable) {
        if (generation_dir(ns, ns->generation, dir, sizeof(dir)) == 0) {
            gfsi_env_remove_dir(dir);
        }
        ns->generation++;
    }

    /* What an interrupted restore may have left behind. */
    if (generation_dir(ns, ns->generation + 1, dir, sizeof(dir)) == 0) {
        gfsi_env_remove_dir(dir);
    }

    rc = write_state(ns, false, err);
    if (rc != 0) {
        return rc;
    }

    rc = generation_dir(ns, ns->generation, dir, sizeof(dir));
    if (rc != 0) {
        return gfs_err_set(err, rc, "metastore %s: name too long", ns->dir);
    }

    if (!usable) {
        gfsi_env_remove_dir(dir);
    }

    rc = gfsi_env_open(dir, ns->map_bytes, &ns->env, err);
    return rc != 0 ? rc : load_applied(ns, err);
}

int gfsi_ns_open(const struct gfsi_ns_opts *opts, struct gfsi_ns **out, struct gfs_err *err)
{
    struct gfsi_ns *ns;
    int rc = gfs_mkdirs(opts->dir, 0700, err);

    if (rc != 0) {
        return rc;
    }

    ns = calloc(1, sizeof(*ns));
    if (ns == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "metastore %s: out of memory", opts->dir);
    }

    (void)pthread_mutex_init(&ns->mutex, NULL);
    ns->lock_fd = -1;
    ns->dir = strdup(opts->dir);
    ns->identity = strdup(opts->identity);
    ns->boot_id = opts->boot_id != NULL ? strdup(opts->boot_id) : machine_boot_id();
    ns->map_bytes = opts->map_bytes != 0 ? opts->map_bytes : DEFAULT_MAP_BYTES;
    if (ns->dir == NULL || ns->identity == NULL || ns->boot_id == NULL) {
        rc = gfs_err_set(err, GFS_ENOMEM, "metastore %s: out of memory", opts->dir);
    } else {
        rc = lock_dir(ns, err);
        rc = rc != 0 ? rc : open_database(ns, err);
    }

    if (rc != 0) {
        gfsi_ns_abandon(ns);
        return rc;
    }

    *out = ns;
    return 0;
}

void gfsi_ns_abandon(struct gfsi_ns *ns)
{
    if (ns == NULL) {
        return;
    }

    gfsi_env_unref(ns->env);
    if (ns->lock_fd >= 0) {
        (void)close(ns->lock_fd);
    }

    (void)pthread_mutex_destroy(&ns->mutex);
    free(ns->dir);
    free(ns->identity);
    free(ns->boot_id);
    free(ns);
}

void gfsi_ns_close(struct gfsi_ns *ns)
{
    struct gfs_err err = GFS_ERR_INIT;

    if (ns == NULL) {
        return;
    }

    /* Failing here only costs a rebuild at the next start. */
    if (mdb_env_sync(ns->env->mdb, 1) != 0 || write_state(ns, true, &err) != 0) {
        gfs_warn(LOG, "could not be closed cleanly, will be rebuilt after a reboot", "dir=%s",
                 GFS_Q(ns->dir));
    }

    gfsi_ns_abandon(ns);
}

uint64_t gfsi_ns_applied(struct gfsi_ns *ns)
{
    return atomic_load(&ns->applied);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

/* The state record of a database file, read through its own environment. */
static int image_state(const char *file, struct gfsi_state *out)
{
    MDB_val key = {.mv_size = 5, .mv_data = (void *)(uintptr_t) "state"};
    MDB_val value;
    MDB_txn *txn = NULL;
    MDB_env *mdb;
    MDB_dbi meta;
    int rc;

    if (mdb_env_create(&mdb) != 0) {
        return GFS_ENOMEM;
    }

    (void)mdb_env_set_maxdbs(mdb, GFSI_N_TABLES);
    rc = mdb_env_open(mdb, file, MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR, 0600);
    rc = rc != 0 ? rc : mdb_txn_begin(mdb, NULL, MDB_RDONLY, &txn);
    rc = rc != 0 ? rc : mdb_dbi_open(txn, "meta", 0, &meta);
    rc = rc != 0 ? rc : mdb_get(txn, meta, &key, &value);
    rc = rc != 0 ? GFS_ECORRUPT : gfsi_state_decode(&value, out);
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }

    mdb_env_close(mdb);
    return rc;
}

int gfsi_ns_snapshot(struct gfsi_ns *ns, int fd, uint64_t *out_index, struct gfs_err *err)
{
    struct gfsi_env *env;
    struct gfsi_state st;
    char self[64];
    int rc;

    (void)pthread_mutex_lock(&ns->mutex);
    env = gfsi_env_ref(ns->env);
    (void)pthread_mutex_unlock(&ns->mutex);

    (void)pthread_rwlock_rdlock(&env->lock);
    rc = mdb_env_copyfd2(env->mdb, fd, MDB_CP_COMPACT);
    (void)pthread_rwlock_unlock(&env->lock);
    gfsi_env_unref(env);
    if (rc != 0) {
        return gfs_err_set(err, GFS_EIO, "metastore %s: snapshot: %s", ns->dir, mdb_strerror(rc));
    }

    /* The copy chose its own moment; the image itself says which. */
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    rc = image_state(self, &st);
    if (rc != 0) {
        return gfs_err_set(err, rc, "metastore %s: the snapshot just written can't be read",
                           ns->dir);
    }

    *out_index = st.applied_index;
    return 0;
}

static int copy_image(int fd, const char *dir, struct gfs_err *err)
{
    static const size_t chunk = (size_t)256 << 10;
    char path[GFSI_PATH_MAX];
    char *buf gfs_auto_free = malloc(chunk);
    int to gfs_auto_fd = -1;
    off_t at = 0;
    int rc = gfs_mkdirs(dir, 0700, err);

    if (rc != 0) {
        return rc;
    }

    if (buf == NULL || gfs_path_join(path, sizeof(path), dir, "data.mdb") != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "metastore %s: out of memory", dir);
    }

    to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) {
        return gfs_err_set_errno(err, errno, "metastore: cannot create %s", path);
    }

    for (;;) {
        ssize_t n = pread(fd, buf, chunk, at);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0) {
            return gfs_err_set_errno(err, errno, "metastore: cannot read the snapshot");
        }

        if (n == 0) {
            break;
        }

        rc = gfs_write_all(to, buf, (size_t)n);
        if (rc != 0) {
            return gfs_err_set(err, rc, "metastore: cannot write %s: %s", path, gfs_err_string(rc));
        }

        at += n;
    }

    /* STATE will name this generation under the present boot id, which vouches for the page cache;
     * only STATE itself has to be durable. */
    return 0;
}

int gfsi_ns_restore(struct gfsi_ns *ns, int fd, uint64_t index, struct gfs_err *err)
{
    char dir[GFSI_PATH_MAX];
    char file[GFSI_PATH_MAX];
    struct gfsi_env *fresh = NULL;
    struct gfsi_env *old;
    struct gfsi_state st;
    int rc = generation_dir(ns, ns->generation + 1, dir, sizeof(dir));

    if (rc != 0 || gfs_path_join(file, sizeof(file), dir, "data.mdb") != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "metastore %s: name too long", ns->dir);
    }

    gfsi_env_remove_dir(dir);
    rc = copy_image(fd, dir, err);
    if (rc != 0) {
        return rc;
    }

    rc = image_state(file, &st);
    if (rc != 0 || st.applied_index != index) {
        gfsi_env_remove_dir(dir);
        return gfs_err_set(err, GFS_ECORRUPT,
                           "metastore %s: the snapshot is not an image of index %" PRIu64, ns->dir,
                           index);
    }

    rc = gfsi_env_open(dir, ns->map_bytes, &fresh, err);
    if (rc != 0) {
        return rc;
    }

    ns->generation++;
    rc = write_state(ns, false, err);
    if (rc != 0) {
        ns->generation--;
        fresh->remove = true;
        gfsi_env_unref(fresh);
        return rc;
    }

    (void)pthread_mutex_lock(&ns->mutex);
    old = ns->env;
    ns->env = fresh;
    (void)pthread_mutex_unlock(&ns->mutex);
    old->remove = true;
    gfsi_env_unref(old);
    atomic_store(&ns->applied, index);
    return 0;
}
