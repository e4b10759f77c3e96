/* Tiers of the workers, and the report about them. */
#include "cli_priv.h"

#include <inttypes.h>
#include <string.h>

#include <gfs/base/str.h>

static void tier_add(struct gfsi_tiers *tiers, const Goosefs__V1__TierInfo *tier)
{
    size_t i = 0;
    while (i < tiers->n && strcmp(tiers->tier[i].alias, tier->alias) != 0) {
        i++;
    }
    if (i == GFSI_TIERS_MAX) {
        return;
    }
    if (i == tiers->n) {
        (void)snprintf(tiers->tier[i].alias, sizeof(tiers->tier[i].alias), "%s", tier->alias);
        tiers->n++;
    }
    tiers->tier[i].capacity += tier->capacity;
    tiers->tier[i].used += tier->used;
    tiers->capacity += tier->capacity;
    tiers->used += tier->used;
}

void gfsi_tiers_sum(struct gfsi_tiers *tiers, const Goosefs__V1__ListWorkersResponse *workers)
{
    *tiers = (struct gfsi_tiers){0};
    for (size_t i = 0; i < workers->n_workers; i++) {
        for (size_t k = 0; workers->workers[i]->live && k < workers->workers[i]->n_tiers; k++) {
            tier_add(tiers, workers->workers[i]->tiers[k]);
        }
    }
}

void gfsi_tiers_print(struct gfsi_cli *cli, const char *label, const struct gfsi_tiers *tiers,
                      bool used)
{
    char size[32];
    (void)fprintf(cli->out, "    %s: %s\n", label,
                  gfs_format_size(used ? tiers->used : tiers->capacity, size, sizeof(size)));
    for (size_t i = 0; i < tiers->n; i++) {
        (void)fprintf(cli->out, "        Tier: %s  Size: %s\n", tiers->tier[i].alias,
                      gfs_format_size(used ? tiers->tier[i].used : tiers->tier[i].capacity, size,
                                      sizeof(size)));
    }
}

static void tiers_of(struct gfsi_tiers *tiers, const Goosefs__V1__WorkerInfo *worker)
{
    *tiers = (struct gfsi_tiers){0};
    for (size_t i = 0; i < worker->n_tiers; i++) {
        tier_add(tiers, worker->tiers[i]);
    }
}

static const char *used_text(uint64_t used, uint64_t capacity, char *buf, size_t size)
{
    char bytes[32];
    (void)snprintf(buf, size, "%s (%u%%)", gfs_format_size(used, bytes, sizeof(bytes)),
                   capacity > 0 ? gfsi_percent(used, capacity) : 0);
    return buf;
}

/* One column per tier, behind a total when there are several. */
static void print_columns(FILE *out, const struct gfsi_tiers *all, const struct gfsi_tiers *worker,
                          bool used)
{
    char text[64];
    if (all->n > 1) {
        (void)fprintf(out, "%-16s ",
                      used ? used_text(worker->used, worker->capacity, text, sizeof(text))
                           : gfs_format_size(worker->capacity, text, sizeof(text)));
    }
    for (size_t i = 0; i < all->n; i++) {
        uint64_t capacity = 0, in_use = 0;
        for (size_t k = 0; k < worker->n; k++) {
            if (strcmp(worker->tier[k].alias, all->tier[i].alias) == 0) {
                capacity = worker->tier[k].capacity;
                in_use = worker->tier[k].used;
            }
        }
        (void)fprintf(out, "%-16s%s",
                      used ? used_text(in_use, capacity, text, sizeof(text))
                           : gfs_format_size(capacity, text, sizeof(text)),
                      i + 1 < all->n ? " " : "");
    }
    (void)fputc('\n', out);
}

static void print_table(struct gfsi_cli *cli, const Goosefs__V1__ListWorkersResponse *list,
                        const struct gfsi_tiers *all)
{
    int width = 16;
    for (size_t i = 0; i < list->n_workers; i++) {
        const int len = (int)strlen(list->workers[i]->host);
        width = len + 5 > width ? len + 5 : width;
    }
    (void)fprintf(cli->out, "%-*s %-16s %-13s ", width, "Worker Name", "Last Heartbeat", "Storage");
    if (all->n > 1) {
        (void)fprintf(cli->out, "%-16s ", "Total");
    }
    for (size_t i = 0; i < all->n; i++) {
        (void)fprintf(cli->out, "%-16s%s", all->tier[i].alias, i + 1 < all->n ? " " : "");
    }
    (void)fputc('\n', cli->out);

    for (size_t i = 0; i < list->n_workers; i++) {
        const Goosefs__V1__WorkerInfo *worker = list->workers[i];
        struct gfsi_tiers tiers;
        tiers_of(&tiers, worker);
        (void)fprintf(cli->out, "%-*s %-16" PRId64 " %-13s ", width, worker->host,
                      worker->last_heartbeat_ms / 1000, "capacity");
        print_columns(cli->out, all, &tiers, false);
        (void)fprintf(cli->out, "%-*s %-16s %-13s ", width, "", "", "used");
        print_columns(cli->out, all, &tiers, true);
    }
}

int gfsi_report_capacity(struct gfsi_cli *cli)
{
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    const Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
    Goosefs__V1__ListWorkersResponse *list = NULL;
    rc = gfs_client_list_workers(client, &request, &list, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    if (list->n_workers == 0) {
        (void)fprintf(cli->out, "No workers found.\n");
    } else {
        struct gfsi_tiers all;
        gfsi_tiers_sum(&all, list);
        const unsigned used = all.capacity > 0 ? gfsi_percent(all.used, all.capacity) : 0;
        (void)fprintf(cli->out, "Capacity information for all workers: \n");
        gfsi_tiers_print(cli, "Total Capacity", &all, false);
        gfsi_tiers_print(cli, "Used Capacity", &all, true);
        (void)fprintf(cli->out, "    Used Percentage: %u%%\n    Free Percentage: %u%%\n\n", used,
                      100 - used);
        print_table(cli, list, &all);
    }
    goosefs__v1__list_workers_response__free_unpacked(list, NULL);
    return 0;
}
