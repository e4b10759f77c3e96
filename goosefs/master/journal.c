/* The Raft node of this master: its state machine is the namespace, its log the journal. */
#include "master_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "journal_priv.h"
#include "quorum_priv.h"

#define APPLY_MAX 1024 /* entries in one transaction */

/* Raft's default of what is kept behind a checkpoint; more than a checkpoint's worth has no use. */
#define TRAILING 10000

/* ---- state machine -------------------------------------------------------------------------- */

static int fsm_apply(void *arg, const struct raft_node_entry *entries, size_t n,
                     int64_t *out_results)
{
    struct gfs_master *m = arg;
    struct gfsi_ns_entry *batch gfs_auto_free = calloc(n, sizeof(*batch));
    struct gfs_err err = GFS_ERR_INIT;
    int64_t begin = gfs_clock_mono();

    if (batch == NULL) {
        gfs_error(GFSI_LOG, "out of memory while applying", "entries=%zu", n);
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < n; i++) {
        batch[i] = (struct gfsi_ns_entry){entries[i].index, entries[i].term, entries[i].data,
                                          entries[i].len};
    }

    for (size_t at = 0; at < n; at += APPLY_MAX) {
        size_t part = n - at < APPLY_MAX ? n - at : APPLY_MAX;
        int rc = gfsi_ns_apply(m->ns, batch + at, part, out_results + at, &err);

        if (rc != 0) {
            gfs_error(GFSI_LOG, "journal cannot be applied", "why=%s", GFS_Q(err.text));
            return rc;
        }
    }

    gfs_metric_observe(m->count.apply_ns, gfs_clock_mono() - begin);
    return 0;
}

static uint64_t fsm_applied_index(void *arg)
{
    struct gfs_master *m = arg;

    return gfsi_ns_applied(m->ns);
}

static int fsm_snapshot_write(void *arg, int fd, uint64_t *out_index)
{
    struct gfs_master *m = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfsi_ns_snapshot(m->ns, fd, out_index, &err);

    if (rc != 0) {
        gfs_warn(GFSI_LOG, "snapshot failed", "why=%s", GFS_Q(err.text));
    }

    return rc;
}

static int fsm_snapshot_restore(void *arg, int fd, uint64_t index, uint64_t term)
{
    struct gfs_master *m = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfsi_ns_restore(m->ns, fd, index, &err);

    if (rc != 0) {
        gfs_error(GFSI_LOG, "snapshot cannot be restored", "why=%s", GFS_Q(err.text));
        return rc;
    }

    gfs_info(GFSI_LOG, "snapshot restored", "index=%" PRIu64 " term=%" PRIu64, index, term);
    return 0;
}

/* ---- what Raft tells ------------------------------------------------------------------------ */

static void on_change(void *arg, enum raft_node_role role, uint64_t term, uint64_t leader_id)
{
    static const char *const names[] = {"follower", "candidate", "leader", "learner"};
    struct gfs_master *m = arg;
    const struct gfsi_member *leader = gfsi_members_find(&m->members, leader_id);
    enum raft_node_role before;
    uint64_t leader_before;

    (void)pthread_mutex_lock(&m->mutex);
    before = m->role;
    leader_before = m->leader_id;
    m->role = role;
    m->term = term;
    m->leader_id = leader_id;
    m->role_since_ms = role != before ? gfs_clock_wall_ms() : m->role_since_ms;
    (void)pthread_cond_broadcast(&m->changed);
    (void)pthread_mutex_unlock(&m->mutex);

    if (role == RAFT_NODE_LEADER && before != RAFT_NODE_LEADER) {
        gfs_metric_add(m->count.leader_changes, 1);
        gfs_info(GFSI_LOG, "became leader", "term=%" PRIu64, term);
        return;
    }

    if (before == RAFT_NODE_LEADER && role != RAFT_NODE_LEADER) {
        gfs_info(GFSI_LOG, "leadership lost", "term=%" PRIu64 " role=%s", term, names[role]);
    }

    if (leader_id != leader_before) {
        gfs_info(GFSI_LOG, leader_id == 0 ? "no leader known" : "following",
                 "term=%" PRIu64 " leader=%s role=%s", term, leader == NULL ? "-" : leader->rpc,
                 names[role]);
    }
}

static void on_fatal(void *arg, int status, const char *why)
{
    struct gfs_master *m = arg;

    gfs_error(GFSI_LOG, "this master cannot go on", "why=%s status=%s", GFS_Q(why),
              raft_node_strerror(status));
    if (m->opts.on_fatal == NULL) {
        abort();
    }

    m->opts.on_fatal(m->opts.on_fatal_arg, why);
}

static void on_log(void *arg, enum raft_node_log_level level, const char *line)
{
    static const enum gfs_log_level levels[] = {
        [RAFT_NODE_LOG_DEBUG] = GFS_LOG_DEBUG,
        [RAFT_NODE_LOG_INFO] = GFS_LOG_INFO,
        [RAFT_NODE_LOG_WARN] = GFS_LOG_WARN,
        [RAFT_NODE_LOG_ERROR] = GFS_LOG_ERROR,
    };

    (void)arg;
    if (gfs_log_enabled(levels[level], "raft")) {
        gfs_log_write(levels[level], "raft", line, "%s", "");
    }
}

/* ---- transport ------------------------------------------------------------------------------ */

static int send_frame(void *arg, uint64_t peer_id, const struct iovec *iov, int iovcnt)
{
    struct gfs_master *m = arg;

    return gfsi_transport_send(m->transport, peer_id, iov, iovcnt);
}

static void peers_changed(void *arg, const uint64_t *ids, const char *const *addresses, size_t n)
{
    struct gfs_master *m = arg;
    const char *list[GFSI_MEMBERS_MAX];
    uint64_t list_ids[GFSI_MEMBERS_MAX];
    bool member = false;

    for (size_t i = 0; i < n; i++) {
        gfsi_members_learn(&m->members, ids[i], addresses[i]);
        member = member || ids[i] == m->members.self;
    }

    if (atomic_exchange(&m->member, member) && !member) {
        gfs_warn(GFSI_LOG, "removed from the masters", "id=%" PRIu64, m->members.self);
    }

    if (n > 0) {
        gfsi_transport_peers(m->transport, ids, addresses, n);
        return;
    }

    /* Nobody has told who the masters are: whoever leads is in the list. */
    for (size_t i = 0; i < m->members.n; i++) {
        list_ids[i] = i + 1;
        list[i] = m->members.v[i].raft;
    }

    gfsi_transport_peers(m->transport, list_ids, list, m->members.n);
}

static void on_frame(void *arg, uint64_t peer, const void *data, size_t len)
{
    struct gfs_master *m = arg;

    (void)peer;
    (void)raft_node_receive(m->node, data, len); /* full: dropped, Raft sends again */
}

static void on_link(void *arg, uint64_t peer, bool up)
{
    struct gfs_master *m = arg;

    if (up) {
        raft_node_link_up(m->node, peer);
        return;
    }

    raft_node_link_down(m->node, peer);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* Whether this master may found the group: its journal exists, or nobody knows of another one. */
static bool may_found(struct gfs_master *m, const char *dir)
{
    enum gfsi_standing standing;

    if (access(dir, F_OK) == 0 || m->members.n == 1) {
        return true; /* of an existing journal only its own word counts, not the list */
    }

    standing = gfsi_standing_ask(m, NULL);
    if (standing == GFSI_STANDING_FOUNDER) {
        return true;
    }

    gfs_warn(GFSI_LOG,
             standing == GFSI_STANDING_LOST
                 ? "the journal is empty, but the masters know this one: it comes back as a learner"
                 : "the masters do not know this one: it waits to be added",
             "dir=%s", GFS_Q(dir));
    return false;
}

static int open_node(struct gfs_master *m, struct gfs_err *err)
{
    struct raft_node_peer voters[GFSI_MEMBERS_MAX];
    char dir[GFSI_PATH_MAX];
    struct raft_node_opts opts = {
        .dir = dir,
        .id = m->members.self,
        .cluster_id = gfsi_hash_text(m->cluster),
        .voters = voters,
        .n_voters = m->members.n,
        .fsm = {m, fsm_apply, fsm_applied_index, fsm_snapshot_write, fsm_snapshot_restore},
        .transport = {m, send_frame, peers_changed},
        .on_change = on_change,
        .on_change_arg = m,
        .on_fatal = on_fatal,
        .on_fatal_arg = m,
        .log = on_log,
        .heartbeat_ms = m->opts.heartbeat_ms,
        .election_ms = m->opts.election_ms,
        .max_entry_bytes = GFSI_ENTRY_MAX,
        .snapshot_entries = m->opts.checkpoint_entries,
        .trailing_entries = m->opts.checkpoint_entries < TRAILING ? m->opts.checkpoint_entries : 0,
        .caller_turns = true, /* the transport's callbacks hold no lock */
    };
    int rc;

    if (gfs_path_join(dir, sizeof(dir), m->opts.journal_dir, "raft") != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "goosefs.master.journal.folder is too long");
    }

    for (size_t i = 0; i < m->members.n; i++) {
        voters[i] = (struct raft_node_peer){.id = i + 1, .address = m->members.v[i].raft};
    }

    if (!may_found(m, dir)) {
        opts.n_voters = 0;
    }

    rc = raft_node_open(&opts, &m->node);
    switch (rc) {
    case RAFT_NODE_OK: return 0;
    case RAFT_NODE_LOCKED:
        return gfs_err_set(
            err, GFS_EBUSY,
            "journal %s is in use by another process: stop that master, or give this "
            "one its own goosefs.master.journal.folder",
            m->opts.journal_dir);
    case RAFT_NODE_MISMATCH:
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "journal %s belongs to another cluster, master or version: check "
                           "goosefs.master.journal.folder",
                           m->opts.journal_dir);
    case RAFT_NODE_CORRUPT:
        return gfs_err_set(
            err, GFS_ECORRUPT,
            "journal %s is corrupt: this master must not vote; keep the directory for "
            "inspection and let the master join again from the others",
            dir);
    case RAFT_NODE_FULL: return gfs_err_set(err, GFS_ENOSPC, "journal %s: no space left", dir);
    default: return gfs_err_set(err, GFS_EIO, "journal %s: %s", dir, raft_node_strerror(rc));
    }
}

static int open_ns(struct gfs_master *m, struct gfs_err *err)
{
    struct gfsi_identity identity;
    char dir[GFSI_PATH_MAX];
    struct gfsi_ns_opts opts = {
        .dir = dir, .identity = identity.uuid, .map_bytes = m->opts.metastore_map_bytes};
    int rc = gfsi_identity_open(m->opts.journal_dir, m->cluster, &m->members, &identity, err);

    if (rc != 0) {
        return rc;
    }

    rc = *m->opts.metastore_dir != '\0'
             ? gfs_str_copy(dir, sizeof(dir), m->opts.metastore_dir)
             : gfs_path_join(dir, sizeof(dir), m->opts.journal_dir, "metastore");
    if (rc != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "goosefs.master.metastore.dir is too long");
    }

    return gfsi_ns_open(&opts, &m->ns, err);
}

int gfsi_journal_start(struct gfs_master *m, struct gfs_err *err)
{
    char listen[GFS_HOST_NAME_MAX + 8];
    struct gfsi_transport_opts opts = {
        .cluster = m->cluster,
        .self = m->members.self,
        .listen = listen,
        .hosts = m->opts.hosts,
        .metrics = m->metrics,
        .on_frame = on_frame,
        .on_link = on_link,
        .arg = m,
    };
    int rc = gfsi_bind_address(m, m->opts.journal_bind_host, m->opts.journal_port, listen,
                               sizeof(listen), err);

    rc = rc != 0 ? rc : open_ns(m, err);
    rc = rc != 0 ? rc : open_node(m, err);
    if (rc != 0) {
        return rc;
    }

    opts.max_frame = raft_node_max_frame(m->node);
    rc = gfsi_transport_new(&opts, &m->transport, err);
    if (rc != 0) {
        return gfs_err_wrap(err, rc, "goosefs.master.embedded.journal.port");
    }

    rc = raft_node_start(m->node);
    if (rc != 0) {
        return gfs_err_set(err, GFS_EIO, "journal: %s", raft_node_strerror(rc));
    }

    return gfsi_transport_start(m->transport, err);
}

void gfsi_journal_hand_over(struct gfs_master *m, uint32_t timeout_ms)
{
    int64_t begin = gfs_clock_mono();
    int rc;

    if (m->node == NULL || timeout_ms == 0 || !raft_node_is_leader(m->node)) {
        return;
    }

    rc = raft_node_hand_over(m->node, timeout_ms);
    if (rc == RAFT_NODE_OK) {
        gfs_info(GFSI_LOG, "leadership handed over", "to=%s ms=%.1f", gfsi_leader_address(m),
                 (double)(gfs_clock_mono() - begin) / (double)GFS_NS_PER_MS);
    } else if (m->members.n > 1) {
        gfs_warn(GFSI_LOG, "leadership not handed over", "why=%s", raft_node_strerror(rc));
    }
}

void gfsi_journal_stop(struct gfs_master *m, uint32_t timeout_ms)
{
    if (m->node != NULL) {
        raft_node_stop(m->node, timeout_ms);
    }
}

void gfsi_journal_close(struct gfs_master *m, bool clean)
{
    gfsi_transport_free(m->transport);
    m->transport = NULL;
    raft_node_free(m->node);
    m->node = NULL;
    if (clean) {
        gfsi_ns_close(m->ns);
    } else {
        gfsi_ns_abandon(m->ns);
    }
    m->ns = NULL;
}

/* ---- proposals ------------------------------------------------------------------------------ */

int gfsi_journal_error(int raft_status, struct gfs_err *err)
{
    switch (raft_status) {
    case RAFT_NODE_OK: return 0;
    case RAFT_NODE_NOT_LEADER: return gfs_err_set(err, GFS_ENOTLEADER, "not the leader");
    case RAFT_NODE_BUSY: return gfs_err_set(err, GFS_EBUSY, "the journal's queue is full");
    case RAFT_NODE_UNKNOWN:
        return gfs_err_set(err, GFS_EUNKNOWN,
                           "leadership was lost: the operation may or may not have happened");
    case RAFT_NODE_FULL: return gfs_err_set(err, GFS_ENOSPC, "no space left for the journal");
    case RAFT_NODE_TOO_BIG:
        return gfs_err_set(err, GFS_ERANGE, "the operation does not fit into a journal entry");
    default: return gfs_err_set(err, GFS_EUNAVAIL, "journal: %s", raft_node_strerror(raft_status));
    }
}

struct proposal {
    gfsi_proposed done;
    void *arg;
};

static void on_proposed(void *arg, int status, uint64_t index, int64_t result)
{
    struct proposal *p = arg;

    (void)index;
    p->done(p->arg, gfsi_journal_error(status, NULL), result);
    free(p);
}

void gfsi_propose(struct gfs_master *m, const struct gfsi_op *op, gfsi_proposed done, void *arg)
{
    struct proposal *p = malloc(sizeof(*p));
    struct gfs_buf entry gfs_auto_buf;
    int rc;

    gfs_buf_init(&entry, GFSI_ENTRY_MAX);
    rc = p == NULL ? GFS_ENOMEM : gfsi_journal_encode(op, &entry);
    if (rc != 0) {
        free(p);
        done(arg, rc, 0);
        return;
    }

    p->done = done;
    p->arg = arg;
    gfs_metric_add(m->count.proposals, 1);
    raft_node_propose(m->node, entry.data, entry.len, on_proposed, p);
}

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    int rc;
    int64_t result;
};

static void wake(void *arg, int rc, int64_t result)
{
    struct waiting *w = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&w->mutex);

    w->done = true;
    w->rc = rc;
    w->result = result;
    (void)pthread_cond_signal(&w->cond);
}

static void await(struct waiting *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->done) {
        (void)pthread_cond_wait(&w->cond, &w->mutex);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_cond_destroy(&w->cond);
    (void)pthread_mutex_destroy(&w->mutex);
}

int gfsi_propose_wait(struct gfs_master *m, const struct gfsi_op *op, int64_t *out_result,
                      struct gfs_err *err)
{
    struct waiting w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0};

    gfsi_propose(m, op, wake, &w);
    await(&w);
    if (w.rc != 0) {
        return gfs_err_set(err, w.rc, "%s", gfs_err_string(w.rc));
    }

    if (w.result < 0) {
        return gfs_err_set(err, (int)w.result, "%s", gfs_err_string((int)w.result));
    }

    *out_result = w.result;
    return 0;
}

static void on_barrier(void *arg, int status, uint64_t read_index)
{
    (void)read_index;
    wake(arg, gfsi_journal_error(status, NULL), 0);
}

int gfsi_barrier_wait(struct gfs_master *m, struct gfs_err *err)
{
    struct waiting w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0};

    raft_node_read(m->node, on_barrier, &w);
    await(&w);
    /* A read that was not answered has not happened, whatever Raft could not tell. */
    w.rc = w.rc == GFS_EUNKNOWN ? GFS_ENOTLEADER : w.rc;
    return w.rc == 0 ? 0 : gfs_err_set(err, w.rc, "%s", gfs_err_string(w.rc));
}

const char *gfsi_leader_address(const struct gfs_master *m)
{
    const struct gfsi_member *leader =
        m->node == NULL ? NULL : gfsi_members_find(&m->members, raft_node_leader(m->node));

    return leader == NULL ? "" : leader->rpc;
}
