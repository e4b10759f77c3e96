#include "platform/local/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/version.h>

#define CELL_MAX 1024
#define PODS_MAX (GFSI_ADDRESSES_MAX + 64) /* more than a machine has */

void gfsi_table_fini(struct gfsi_table *table)
{
    for (size_t r = 0; r < table->n_rows; r++) {
        for (size_t c = 0; c < table->n_columns; c++) {
            free(table->rows[r][c]);
        }
        free(table->rows[r]);
    }

    free(table->rows);
    *table = (struct gfsi_table){0};
}

void gfsi_table_row(struct gfsi_table *table)
{
    if (table->n_rows == table->cap) {
        size_t cap = table->cap == 0 ? 16 : table->cap * 2;
        char ***rows = reallocarray(table->rows, cap, sizeof(*rows));

        if (rows == NULL) {
            table->error = GFS_ENOMEM;
            return;
        }
        table->rows = rows;
        table->cap = cap;
    }

    char **row = calloc(table->n_columns, sizeof(*row));

    if (row == NULL) {
        table->error = GFS_ENOMEM;
        return;
    }

    table->rows[table->n_rows++] = row;
}

void gfsi_table_cell(struct gfsi_table *table, size_t column, const char *fmt, ...)
{
    char text[CELL_MAX];
    va_list ap;

    if (table->error < 0 || table->n_rows == 0 || column >= table->n_columns) {
        return;
    }

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    char **cell = &table->rows[table->n_rows - 1][column];

    free(*cell);
    *cell = strdup(text);
    if (*cell == NULL) {
        table->error = GFS_ENOMEM;
    }
}

bool gfsi_query_matches(const struct gfsi_query *query, const char *ns, const char *name)
{
    return (query->all_namespaces || strcmp(query->ns, ns) == 0) &&
           (query->name[0] == '\0' || strcmp(query->name, name) == 0);
}

bool gfsi_runtime_ready(const struct gfsi_pair *pair)
{
    for (int role = 0; role < GFS_ROLES; role++) {
        if (pair->rs.roles[role].phase != GFS_PHASE_READY) {
            return false;
        }
    }

    return true;
}

static const char *age(int64_t since_ms, char buf[32])
{
    if (since_ms == 0) {
        return "<unknown>";
    }

    return gfs_clock_format_age((gfs_clock_wall_ms() - since_ms) / 1000, buf, 32);
}

/* The columns, with NAMESPACE in front when several are shown. Returns where the next one goes. */
static size_t columns(struct gfsi_table *t, const struct gfsi_query *q, const char *const *names)
{
    if (q->all_namespaces) {
        t->columns[t->n_columns++] = "NAMESPACE";
    }

    size_t first = t->n_columns;

    for (; *names != NULL; names++) {
        t->columns[t->n_columns++] = *names;
    }

    return first;
}

static void start_row(struct gfsi_table *t, const struct gfsi_query *q, const char *ns)
{
    gfsi_table_row(t);
    if (q->all_namespaces) {
        gfsi_table_cell(t, 0, "%s", ns);
    }
}

static void get_nodes(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {"NAME", "STATUS", "ROLES", "AGE", "VERSION", NULL};
    struct gfsi_query everywhere = {.ns = "", .name = q->name};
    char buf[32];

    (void)columns(t, &everywhere, plain);
    if (!gfsi_query_matches(&everywhere, "", local->node)) {
        return;
    }

    gfsi_table_row(t);
    gfsi_table_cell(t, 0, "%s", local->node);
    gfsi_table_cell(t, 1, "%s", gfsi_node_ready(local) ? "Ready" : "NotReady");
    gfsi_table_cell(t, 2, "<none>");
    gfsi_table_cell(t, 3, "%s", age(local->started_ms, buf));
    gfsi_table_cell(t, 4, "%s", gfs_version());
}

static void pod_row(const struct gfsi_pod *pod, const struct gfsi_query *q, struct gfsi_table *t,
                    size_t at)
{
    size_t ready = 0;
    char buf[32];
    char pids[64] = "";
    int len = 0;

    if (!gfsi_query_matches(q, pod->ns, pod->name)) {
        return;
    }

    for (size_t i = 0; i < pod->n_containers; i++) {
        ready += gfsi_pod_container_ready(pod, i);
        len += snprintf(pids + len, sizeof(pids) - (size_t)len, "%s%d", i > 0 ? "," : "",
                        (int)gfsi_pod_pid(pod, i));
    }

    start_row(t, q, pod->ns);
    gfsi_table_cell(t, at, "%s", pod->name);
    gfsi_table_cell(t, at + 1, "%zu/%zu", ready, pod->n_containers);
    gfsi_table_cell(t, at + 2, "%s", gfsi_pod_status(pod));
    gfsi_table_cell(t, at + 3, "%u", gfsi_pod_restarts(pod));
    gfsi_table_cell(t, at + 4, "%s", age(pod->created_ms, buf));
    if (q->wide) {
        gfsi_table_cell(t, at + 5, "%s", pod->address[0] != '\0' ? pod->address : "<none>");
        gfsi_table_cell(t, at + 6, "%s", pod->local->node);
        gfsi_table_cell(t, at + 7, "%s", pids);
    }
}

struct pod_ref {
    const struct gfsi_pod *pod;
};

static int by_pod_name(const void *a, const void *b)
{
    const struct gfsi_pod *x = ((const struct pod_ref *)a)->pod;
    const struct gfsi_pod *y = ((const struct pod_ref *)b)->pod;
    int ns = strcmp(x->ns, y->ns);

    return ns != 0 ? ns : strcmp(x->name, y->name);
}

static void get_pods(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {"NAME", "READY", "STATUS", "RESTARTS", "AGE", NULL};
    static const char *const wide[] = {"NAME", "READY", "STATUS", "RESTARTS", "AGE",
                                       "IP",   "NODE",  "PID",    NULL};
    size_t at = columns(t, q, q->wide ? wide : plain);
    struct pod_ref *all = calloc(PODS_MAX, sizeof(*all));
    size_t n = 0;

    if (all == NULL) {
        t->error = GFS_ENOMEM;
        return;
    }

    for (struct gfsi_pod *pod = local->system_pods; pod != NULL; pod = pod->next) {
        all[n++].pod = pod;
    }
    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        for (struct gfsi_pod *pod = pair->pods; pod != NULL && n < PODS_MAX; pod = pod->next) {
            all[n++].pod = pod;
        }
    }

    /* As kubectl lists them, and the document: by name. */
    qsort(all, n, sizeof(*all), by_pod_name);
    for (size_t i = 0; i < n; i++) {
        pod_row(all[i].pod, q, t, at);
    }

    free(all);
}

static void get_datasets(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {
        "NAME", "UFS TOTAL SIZE", "CACHED", "CACHE CAPACITY", "CACHED PERCENTAGE", "PHASE", "AGE",
        NULL};
    static const char *const wide[] = {"NAME",
                                       "UFS TOTAL SIZE",
                                       "CACHED",
                                       "CACHE CAPACITY",
                                       "CACHED PERCENTAGE",
                                       "PHASE",
                                       "HCFS URL",
                                       "TOTAL FILES",
                                       "AGE",
                                       NULL};
    size_t at = columns(t, q, q->wide ? wide : plain);
    char buf[32];

    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        const struct gfs_dataset_status *ds = &pair->ds;
        bool bound = ds->phase == GFS_DATASET_BOUND;
        size_t c = at;

        if (pair->dataset == NULL || !gfsi_query_matches(q, pair->ns, pair->name)) {
            continue;
        }

        start_row(t, q, pair->ns);
        gfsi_table_cell(t, c++, "%s", pair->name);
        gfsi_table_cell(t, c++, "%s",
                        ds->sized ? gfs_status_size(ds->ufs_total, buf, sizeof(buf))
                        : bound   ? "[Calculating]"
                                  : "");
        gfsi_table_cell(t, c++, "%s",
                        ds->cache_known ? gfs_status_size(ds->cached, buf, sizeof(buf)) : "");
        gfsi_table_cell(t, c++, "%s",
                        ds->cache_known ? gfs_status_size(ds->capacity, buf, sizeof(buf)) : "");
        gfsi_table_cell(t, c++, "%s",
                        ds->cache_known && ds->sized
                            ? gfs_status_percent(ds->cached, ds->ufs_total, buf, sizeof(buf))
                            : "");
        gfsi_table_cell(t, c++, "%s", gfs_dataset_phase_name(ds->phase));
        if (q->wide) {
            gfsi_table_cell(t, c++, "%s", bound && pair->plan != NULL ? pair->plan->hcfs : "");
            if (ds->sized) {
                gfsi_table_cell(t, c, "%llu", (unsigned long long)ds->files);
            } else {
                gfsi_table_cell(t, c, "%s", bound ? "[Calculating]" : "");
            }
            c++;
        }
        gfsi_table_cell(t, c, "%s", age(pair->dataset_created_ms, buf));
    }
}

static void get_runtimes(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {"NAME",       "MASTER PHASE", "WORKER PHASE",
                                        "FUSE PHASE", "AGE",          NULL};
    static const char *const wide[] = {"NAME",         "READY MASTERS", "DESIRED MASTERS",
                                       "MASTER PHASE", "READY WORKERS", "DESIRED WORKERS",
                                       "WORKER PHASE", "READY FUSES",   "DESIRED FUSES",
                                       "FUSE PHASE",   "AGE",           NULL};
    size_t at = columns(t, q, q->wide ? wide : plain);
    char buf[32];

    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        size_t c = at;

        if (pair->runtime == NULL || !gfsi_query_matches(q, pair->ns, pair->name)) {
            continue;
        }

        start_row(t, q, pair->ns);
        gfsi_table_cell(t, c++, "%s", pair->name);
        for (int role = 0; role < GFS_ROLES; role++) {
            const struct gfs_role_status *rs = &pair->rs.roles[role];

            if (q->wide) {
                gfsi_table_cell(t, c++, "%zu", rs->ready);
                gfsi_table_cell(t, c++, "%zu", rs->desired);
            }
            gfsi_table_cell(t, c++, "%s", gfs_phase_name(rs->phase));
        }
        gfsi_table_cell(t, c, "%s", age(pair->runtime_created_ms, buf));
    }
}

/* "ROX", as kubectl abbreviates. */
static const char *short_modes(const struct gfs_volume *v, char *buf, size_t size)
{
    static const char *const table[][2] = {{"ReadOnlyMany", "ROX"},
                                           {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOnce", "RWO"},
                                           {"ReadWriteOncePod", "RWOP"}};
    size_t len = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < v->n_access_modes; i++) {
        for (size_t k = 0; k < sizeof(table) / sizeof(table[0]) && len < size; k++) {
            if (strcmp(v->access_modes[i], table[k][0]) == 0) {
                len += (size_t)snprintf(buf + len, size - len, "%s%s", len > 0 ? "," : "",
                                        table[k][1]);
            }
        }
    }

    return buf;
}

static void get_pvs(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {"NAME",           "CAPACITY", "ACCESS MODES",
                                        "RECLAIM POLICY", "STATUS",   "CLAIM",
                                        "STORAGECLASS",   "AGE",      NULL};
    struct gfsi_query everywhere = {.ns = "", .name = q->name};
    char buf[32];

    (void)columns(t, &everywhere, plain);
    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        if (!pair->volume || pair->plan == NULL ||
            !gfsi_query_matches(&everywhere, "", pair->plan->volume.pv)) {
            continue;
        }

        const struct gfs_volume *v = &pair->plan->volume;

        gfsi_table_row(t);
        gfsi_table_cell(t, 0, "%s", v->pv);
        gfsi_table_cell(t, 1, "%s", v->capacity);
        gfsi_table_cell(t, 2, "%s", short_modes(v, buf, sizeof(buf)));
        gfsi_table_cell(t, 3, "Retain");
        gfsi_table_cell(t, 4, "Bound");
        gfsi_table_cell(t, 5, "%s/%s", v->ns, v->pvc);
        gfsi_table_cell(t, 6, GFS_STORAGE_CLASS);
        gfsi_table_cell(t, 7, "%s", age(pair->volume_created_ms, buf));
    }
}

static void get_pvcs(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {"NAME",         "STATUS",       "VOLUME", "CAPACITY",
                                        "ACCESS MODES", "STORAGECLASS", "AGE",    NULL};
    size_t at = columns(t, q, plain);
    char buf[32];

    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        if (!pair->volume || pair->plan == NULL || !gfsi_query_matches(q, pair->ns, pair->name)) {
            continue;
        }

        const struct gfs_volume *v = &pair->plan->volume;

        start_row(t, q, pair->ns);
        gfsi_table_cell(t, at, "%s", v->pvc);
        gfsi_table_cell(t, at + 1, "Bound");
        gfsi_table_cell(t, at + 2, "%s", v->pv);
        gfsi_table_cell(t, at + 3, "%s", v->capacity);
        gfsi_table_cell(t, at + 4, "%s", short_modes(v, buf, sizeof(buf)));
        gfsi_table_cell(t, at + 5, GFS_STORAGE_CLASS);
        gfsi_table_cell(t, at + 6, "%s", age(pair->volume_created_ms, buf));
    }
}

static void get_events(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t)
{
    static const char *const plain[] = {"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE", NULL};
    size_t at = columns(t, q, plain);
    char buf[32];

    for (size_t i = 0; i < local->events.n; i++) {
        const struct gfsi_event *e = gfsi_events_at(&local->events, i);

        if (!gfsi_query_matches(q, e->ns, e->name)) {
            continue;
        }

        start_row(t, q, e->ns);
        gfsi_table_cell(t, at, "%s", age(e->last_ms, buf));
        gfsi_table_cell(t, at + 1, "%s", e->warning ? "Warning" : "Normal");
        gfsi_table_cell(t, at + 2, "%s", e->reason);
        gfsi_table_cell(t, at + 3, "%s/%s", e->kind, e->name);
        gfsi_table_cell(t, at + 4, "%s", e->message);
    }
}

static const struct {
    const char *name; /* in messages */
    const char *names[5];
    void (*get)(struct gfsi_local *local, const struct gfsi_query *q, struct gfsi_table *t);
} RESOURCES[GFSI_RESOURCES] = {
    [GFSI_RESOURCE_NODE] = {"node", {"nodes", "node", "no"}, get_nodes},
    [GFSI_RESOURCE_POD] = {"pod", {"pods", "pod", "po"}, get_pods},
    [GFSI_RESOURCE_DATASET] = {"dataset.data.fluid.io",
                               {"datasets", "dataset", "ds"},
                               get_datasets},
    [GFSI_RESOURCE_RUNTIME] = {"goosefsruntime.data.fluid.io",
                               {"goosefsruntimes", "goosefsruntime", "goose"},
                               get_runtimes},
    [GFSI_RESOURCE_PV] = {"persistentvolume",
                          {"pv", "persistentvolumes", "persistentvolume"},
                          get_pvs},
    [GFSI_RESOURCE_PVC] = {"persistentvolumeclaim",
                           {"pvc", "persistentvolumeclaims", "persistentvolumeclaim"},
                           get_pvcs},
    [GFSI_RESOURCE_EVENT] = {"event", {"events", "event", "ev"}, get_events},
};

int gfsi_resource_find(const char *name)
{
    size_t len = strcspn(name, "."); /* "datasets.data.fluid.io" */

    for (int r = 0; r < GFSI_RESOURCES; r++) {
        for (const char *const *n = RESOURCES[r].names; *n != NULL; n++) {
            if (strlen(*n) == len && strncmp(*n, name, len) == 0) {
                return r;
            }
        }
    }

    return -1;
}

const char *gfsi_resource_name(enum gfsi_resource resource)
{
    return RESOURCES[resource].name;
}

int gfsi_table_get(struct gfsi_local *local, enum gfsi_resource resource,
                   const struct gfsi_query *query, struct gfsi_table *out, struct gfs_err *err)
{
    struct gfsi_table table = {0};

    RESOURCES[resource].get(local, query, &table);
    if (table.error < 0) {
        int rc = gfs_err_set(err, table.error, "out of memory");

        gfsi_table_fini(&table);
        return rc;
    }
    if (table.n_rows == 0 && query->name[0] != '\0' && resource != GFSI_RESOURCE_EVENT) {
        gfsi_table_fini(&table);
        return gfs_err_set(err, GFS_ENOENT, "%s \"%s\" not found", RESOURCES[resource].name,
                           query->name);
    }

    *out = table;
    return 0;
}
