/* The metrics of a master. */
#include "master_priv.h"

#include <stdlib.h>

#include <gfs/base/clock.h>

void gfsi_counters_init(struct gfsi_counters *count, struct gfs_metrics *metrics)
{
    const struct {
        struct gfs_metric **at;
        enum gfs_metric_type type;
        const char *name;
        const char *help;
    } table[] = {
        {&count->is_leader, GFS_METRIC_GAUGE, "goosefs_master_is_leader", "1 on the leader"},
        {&count->term, GFS_METRIC_GAUGE, "goosefs_master_raft_term", "present Raft term"},
        {&count->commit_index, GFS_METRIC_GAUGE, "goosefs_master_raft_commit_index",
         "last committed journal entry"},
        {&count->applied_index, GFS_METRIC_GAUGE, "goosefs_master_raft_applied_index",
         "last journal entry in the namespace"},
        {&count->leader_changes, GFS_METRIC_COUNTER, "goosefs_master_became_leader_total",
         "times this master became leader"},
        {&count->inodes, GFS_METRIC_GAUGE, "goosefs_master_inodes", "files and directories known"},
        {&count->mounts, GFS_METRIC_GAUGE, "goosefs_master_mounts", "mounts"},
        {&count->workers_live, GFS_METRIC_GAUGE, "goosefs_master_workers_live", "live workers"},
        {&count->workers_lost, GFS_METRIC_GAUGE, "goosefs_master_workers_lost", "lost workers"},
        {&count->proposals, GFS_METRIC_COUNTER, "goosefs_master_proposals_total",
         "operations proposed to the journal"},
        {&count->apply_ns, GFS_METRIC_HISTOGRAM, "goosefs_master_apply_seconds",
         "applying one batch of journal entries"},
        {&count->loads, GFS_METRIC_COUNTER, "goosefs_master_ufs_loads_total",
         "directories listed and files looked up at their origin"},
        {&count->load_failures, GFS_METRIC_COUNTER, "goosefs_master_ufs_load_failures_total",
         "of them failed"},
        {&count->load_ns, GFS_METRIC_HISTOGRAM, "goosefs_master_ufs_load_seconds",
         "one of them, the journal included"},
        {&count->loaded_entries, GFS_METRIC_COUNTER, "goosefs_master_ufs_entries_total",
         "entries seen in listings"},
        {&count->reads_waiting, GFS_METRIC_GAUGE, "goosefs_master_reads_waiting",
         "reads waiting for their barrier"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        *table[i].at = gfs_metrics_get(metrics, table[i].type, table[i].name, "", table[i].help);
    }
}

static int count_mount(void *arg, const struct gfsi_mount *mount)
{
    int64_t *n = arg;

    (void)mount;
    (*n)++;
    return 0;
}

static void refresh_workers(struct gfs_master *m)
{
    struct gfsi_worker *list = NULL;
    size_t n = 0;
    int64_t live = 0;

    if (gfsi_registry_list(m->registry, gfs_clock_mono() / GFS_NS_PER_MS, &list, &n) != 0) {
        return;
    }

    for (size_t i = 0; i < n; i++) {
        live += list[i].live ? 1 : 0;
    }

    free(list);
    gfs_metric_set(m->count.workers_live, live);
    gfs_metric_set(m->count.workers_lost, (int64_t)n - live);
}

void gfsi_counters_refresh(struct gfs_master *m)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct raft_node_info info;
    int64_t mounts = 0;

    raft_node_status(m->node, &info);
    gfs_metric_set(m->count.is_leader, raft_node_is_leader(m->node) ? 1 : 0);
    gfs_metric_set(m->count.term, (int64_t)info.term);
    gfs_metric_set(m->count.commit_index, (int64_t)info.commit_index);
    gfs_metric_set(m->count.applied_index, (int64_t)info.applied_index);
    refresh_workers(m);
    if (gfsi_view_open(m->ns, &view, NULL) == 0) {
        gfs_metric_set(m->count.inodes, (int64_t)gfsi_view_inodes(view));
        if (gfsi_view_mounts(view, count_mount, &mounts) == 0) {
            gfs_metric_set(m->count.mounts, mounts);
        }
    }
}
