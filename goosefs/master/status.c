/* The status of the cluster as this master sees it: one picture, as a page and as JSON. */
#include "master_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/base/version.h>
#include <gfs/http/http.h>

struct mount_row {
    char path[GFSI_PATH_MAX];
    char uri[GFSI_URI_MAX]; /* without user and password */
    bool read_only;
};

struct picture {
    struct raft_node_info raft;
    struct gfsi_worker *workers;
    size_t n_workers;
    struct mount_row *mounts;
    size_t n_mounts;
    uint64_t inodes;
};

/* User and password of a URI are not for everybody who can reach the web port. */
static void hide_userinfo(const char *uri, char *out, size_t size)
{
    const char *host = strstr(uri, "://");
    const char *at = host == NULL ? NULL : strchr(host + 3, '@');
    const char *slash = host == NULL ? NULL : strchr(host + 3, '/');
    struct gfs_buf buf gfs_auto_buf;

    gfs_buf_init(&buf, size - 1);
    if (at != NULL && (slash == NULL || at < slash)) {
        (void)gfs_buf_append(&buf, uri, (size_t)(host + 3 - uri));
        (void)gfs_buf_puts(&buf, at + 1);
    } else {
        (void)gfs_buf_puts(&buf, uri);
    }

    (void)gfs_str_copy(out, size, gfs_buf_str(&buf));
}

static int add_mount(void *arg, const struct gfsi_mount *mount)
{
    struct picture *p = arg;
    struct mount_row *row;

    if (p->n_mounts == GFSI_MOUNTS_MAX) {
        return GFS_ERANGE;
    }

    row = &p->mounts[p->n_mounts++];
    hide_userinfo(mount->uri, row->uri, sizeof(row->uri));
    row->read_only = mount->read_only;
    return gfs_str_copy(row->path, sizeof(row->path), mount->path);
}

static void picture_fini(struct picture *p)
{
    free(p->workers);
    free(p->mounts);
}

static int take_picture(struct gfs_master *m, struct picture *p)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    int rc;

    raft_node_status(m->node, &p->raft);
    p->mounts = calloc(GFSI_MOUNTS_MAX, sizeof(*p->mounts));
    rc = p->mounts == NULL ? GFS_ENOMEM : gfsi_view_open(m->ns, &view, NULL);
    rc = rc != 0 ? rc : gfsi_view_mounts(view, add_mount, p);
    rc = rc != 0 ? rc
                 : gfsi_registry_list(m->registry, gfs_clock_mono() / GFS_NS_PER_MS, &p->workers,
                                      &p->n_workers);
    if (rc == 0) {
        p->inodes = gfsi_view_inodes(view);
    }

    return rc;
}

static const char *role_of(const struct picture *p, uint64_t id)
{
    return id == p->raft.leader_id ? "LEADER" : "FOLLOWER";
}

static const struct raft_node_peer_status *peer_of(const struct picture *p, uint64_t id)
{
    for (size_t i = 0; i < p->raft.n_peers; i++) {
        if (p->raft.peers[i].id == id) {
            return &p->raft.peers[i];
        }
    }

    return NULL;
}

/* Entries a follower is behind; only the leader knows (-1 else). */
static int64_t lag_of(const struct picture *p, uint64_t id)
{
    const struct raft_node_peer_status *peer = peer_of(p, id);

    if (id == p->raft.id && p->raft.role == RAFT_NODE_LEADER) {
        return 0;
    }

    return p->raft.role == RAFT_NODE_LEADER && peer != NULL && peer->match <= p->raft.last_index
               ? (int64_t)(p->raft.last_index - peer->match)
               : -1;
}

/* ---- HTML ----------------------------------------------------------------------------------- */

static void cell(struct gfs_buf *out, const char *text)
{
    (void)gfs_buf_puts(out, "<td>");
    (void)gfs_http_escape(out, text);
    (void)gfs_buf_puts(out, "</td>");
}

static void head(struct gfs_buf *out, const char *title, const char *const *names, size_t n)
{
    (void)gfs_buf_printf(out, "<h2>%s</h2><table><tr>", title);
    for (size_t i = 0; i < n; i++) {
        (void)gfs_buf_printf(out, "<th>%s</th>", names[i]);
    }

    (void)gfs_buf_puts(out, "</tr>\n");
}

static const char *rpc_of(const struct gfs_master *m, uint64_t id)
{
    const struct gfsi_member *member = gfsi_members_find(&m->members, id);

    return member == NULL ? "" : member->rpc;
}

static void masters_table(struct gfs_master *m, const struct picture *p, struct gfs_buf *out)
{
    static const char *const names[] = {"Address", "Role", "Entries behind", "Last heard of"};

    head(out, "Masters", names, 4);
    for (size_t i = 0; i < p->raft.n_peers; i++) {
        const struct raft_node_peer_status *peer = &p->raft.peers[i];
        uint64_t id = peer->id;
        int64_t lag = lag_of(p, id);

        (void)gfs_buf_puts(out, "<tr>");
        cell(out, rpc_of(m, id));
        cell(out, role_of(p, id));
        if (lag >= 0) {
            (void)gfs_buf_printf(out, "<td>%" PRId64 "</td>", lag);
        } else {
            cell(out, "-");
        }

        if (id == p->raft.id) {
            cell(out, "this master");
        } else if (peer->last_contact_ms >= 0) {
            (void)gfs_buf_printf(out, "<td>%" PRId64 " ms ago</td>", peer->last_contact_ms);
        } else {
            cell(out, "-");
        }

        (void)gfs_buf_puts(out, "</tr>\n");
    }

    (void)gfs_buf_puts(out, "</table>\n");
}

static void workers_table(const struct picture *p, struct gfs_buf *out)
{
    static const char *const names[] = {"Worker", "State", "Last heartbeat", "Tiers",
                                        "Cached files"};
    char used[32];
    char capacity[32];

    head(out, "Workers", names, 5);
    for (size_t i = 0; i < p->n_workers; i++) {
        const struct gfsi_worker *w = &p->workers[i];

        (void)gfs_buf_puts(out, "<tr>");
        cell(out, w->host);
        cell(out, w->live ? "ACTIVE" : "LOST");
        (void)gfs_buf_printf(out, "<td>%" PRId64 " ms ago</td><td>", w->age_ms);
        for (size_t t = 0; t < w->n_tiers; t++) {
            (void)gfs_http_escape(out, w->tiers[t].alias);
            (void)gfs_buf_printf(out, " %s of %s ",
                                 gfs_format_size(w->tiers[t].used, used, sizeof(used)),
                                 gfs_format_size(w->tiers[t].capacity, capacity, sizeof(capacity)));
        }
        (void)gfs_buf_printf(out, "</td><td>%zu</td></tr>\n", w->cached_files);
    }

    (void)gfs_buf_puts(out, "</table>\n");
}

static void mounts_table(const struct picture *p, struct gfs_buf *out)
{
    static const char *const names[] = {"Path", "Under file system", "Access"};

    head(out, "Mounts", names, 3);
    for (size_t i = 0; i < p->n_mounts; i++) {
        (void)gfs_buf_puts(out, "<tr>");
        cell(out, p->mounts[i].path);
        cell(out, p->mounts[i].uri);
        cell(out, p->mounts[i].read_only ? "read only" : "read write");
        (void)gfs_buf_puts(out, "</tr>\n");
    }

    (void)gfs_buf_puts(out, "</table>\n");
}

int gfsi_status_html(struct gfs_master *m, struct gfs_buf *out)
{
    struct picture p __attribute__((cleanup(picture_fini))) = {.n_workers = 0};
    const char *leader = gfsi_leader_address(m);
    char age[16];
    int rc = take_picture(m, &p);

    if (rc != 0) {
        return rc;
    }

    (void)gfs_buf_puts(
        out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>GooseFS "
             "master</title><style>body{font:14px sans-serif;margin:2em}table{border-collapse:"
             "collapse}td,th{border:1px solid #ccc;padding:3px 8px;text-align:left}</style></head>"
             "<body><h1>GooseFS master ");
    (void)gfs_http_escape(out, m->members.v[m->members.self - 1].rpc);
    (void)gfs_buf_puts(out, "</h1><p>Leader: ");
    (void)gfs_http_escape(out, *leader == '\0' ? "none" : leader);
    (void)gfs_buf_printf(
        out,
        "<br>Term %" PRIu64 ", committed %" PRIu64 ", applied %" PRIu64 "<br>Paths: %" PRIu64
        "<br>Up %s, version %s<br>Cluster ",
        p.raft.term, p.raft.commit_index, p.raft.applied_index, p.inodes,
        gfs_clock_format_age((gfs_clock_wall_ms() - m->start_ms) / 1000, age, sizeof(age)),
        gfs_version());
    (void)gfs_http_escape(out, m->cluster);
    (void)gfs_buf_puts(out, "</p>\n");
    masters_table(m, &p, out);
    workers_table(&p, out);
    mounts_table(&p, out);
    (void)gfs_buf_puts(out, "<p><a href=\"/metrics\">metrics</a> "
                            "<a href=\"/api/v1/master/info\">JSON</a></p></body></html>\n");
    return out->error;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *masters_json(struct gfs_master *m, const struct picture *p)
{
    json_t *list = json_array();

    for (size_t i = 0; i < p->raft.n_peers; i++) {
        const struct raft_node_peer_status *peer = &p->raft.peers[i];

        (void)json_array_append_new(list,
                                    json_pack("{s:I,s:s,s:s,s:s,s:I}", "id", (json_int_t)peer->id,
                                              "rpcAddress", rpc_of(m, peer->id), "raftAddress",
                                              peer->address, "role", role_of(p, peer->id),
                                              "entriesBehind", (json_int_t)lag_of(p, peer->id)));
    }

    return list;
}

static json_t *workers_json(const struct picture *p)
{
    json_t *list = json_array();

    for (size_t i = 0; i < p->n_workers; i++) {
        const struct gfsi_worker *w = &p->workers[i];
        json_t *tiers = json_array();

        for (size_t t = 0; t < w->n_tiers; t++) {
            (void)json_array_append_new(tiers,
                                        json_pack("{s:s,s:I,s:I}", "alias", w->tiers[t].alias,
                                                  "capacity", (json_int_t)w->tiers[t].capacity,
                                                  "used", (json_int_t)w->tiers[t].used));
        }

        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:I,s:o}", "host", w->host,
                                                    "dataAddress", w->data_address, "live",
                                                    w->live ? 1 : 0, "lastHeartbeatMs",
                                                    (json_int_t)w->age_ms, "tiers", tiers));
    }

    return list;
}

static json_t *mounts_json(const struct picture *p)
{
    json_t *list = json_array();

    for (size_t i = 0; i < p->n_mounts; i++) {
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:b}", "path", p->mounts[i].path,
                                                    "ufs", p->mounts[i].uri, "readOnly",
                                                    p->mounts[i].read_only ? 1 : 0));
    }

    return list;
}

int gfsi_status_json(struct gfs_master *m, struct gfs_buf *out)
{
    struct picture p __attribute__((cleanup(picture_fini))) = {.n_workers = 0};
    json_t *root;
    char *text;
    int rc = take_picture(m, &p);

    if (rc != 0) {
        return rc;
    }

    root = json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:o,s:o,s:o}", "leader",
                     gfsi_leader_address(m), "thisMaster", m->members.v[m->members.self - 1].rpc,
                     "isLeader", raft_node_is_leader(m->node) ? 1 : 0, "term",
                     (json_int_t)p.raft.term, "commitIndex", (json_int_t)p.raft.commit_index,
                     "appliedIndex", (json_int_t)p.raft.applied_index, "paths",
                     (json_int_t)p.inodes, "startTimeMs", (json_int_t)m->start_ms, "version",
                     gfs_version(), "clusterId", m->cluster, "masters", masters_json(m, &p),
                     "workers", workers_json(&p), "mounts", mounts_json(&p));
    text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (text == NULL) {
        return GFS_ENOMEM;
    }

    rc = gfs_buf_puts(out, text);
    free(text);
    return rc;
}
