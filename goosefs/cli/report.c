/* fsadmin report. Fluid reads these lines by position and prefix: they keep GooseFS 1.x's form. */
#include "cli_priv.h"

#include <inttypes.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#define ASK_NS (2 * GFS_NS_PER_S) /* each master for its own row */

static void print_uptime(FILE *out, int64_t ms)
{
    const int64_t s = ms > 0 ? ms / 1000 : 0;
    (void)fprintf(out,
                  "    Uptime: %" PRId64 " day(s), %" PRId64 " hour(s), %" PRId64
                  " minute(s), and %" PRId64 " second(s)\n",
                  s / 86400, s / 3600 % 24, s / 60 % 60, s % 60);
}

/* One row per master: its state as the leader is known, its version as it says itself. */
static void print_masters(struct gfsi_cli *cli, struct gfs_client *client,
                          const Goosefs__V1__GetMasterInfoResponse *leader)
{
    (void)fprintf(cli->out, "    %-32s %-8s %-32s\n", "Master Address", "State", "Version");
    for (size_t i = 0; i < gfs_client_n_masters(client); i++) {
        const char *address = gfs_client_master(client, i);
        const Goosefs__V1__GetMasterInfoRequest request =
            GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
        ProtobufCMessage *message = NULL;
        const int rc =
            gfs_client_call_master(client, i, GFS_CLIENT_METHOD_get_master_info, &request.base,
                                   &message, gfs_clock_mono() + ASK_NS, NULL);
        const Goosefs__V1__GetMasterInfoResponse *info =
            (const Goosefs__V1__GetMasterInfoResponse *)(const void *)message;
        const bool leads = strcmp(address, leader->leader_rpc_address) == 0;
        (void)fprintf(cli->out, "    %-32s %-8s %-32s\n", address,
                      rc < 0 ? "LOST" : (leads ? "PRIMARY" : "STANDBY"),
                      rc < 0 ? "" : info->version);
        if (rc == 0) {
            protobuf_c_message_free_unpacked(message, NULL);
        }
    }
}

static void print_summary_head(struct gfsi_cli *cli, const Goosefs__V1__GetMasterInfoResponse *info)
{
    char date[32];
    (void)fprintf(cli->out,
                  "GooseFS cluster summary: \n    Master Address: %s\n    Web Port: %u\n"
                  "    Rpc Port: %u\n",
                  info->leader_rpc_address, info->web_port, info->rpc_port);
    (void)fprintf(cli->out, "    Started: %s\n",
                  gfs_clock_format_goosefs(info->start_time_ms, date, sizeof(date)));
    print_uptime(cli->out, gfs_clock_wall_ms() - info->start_time_ms);
    (void)fprintf(cli->out,
                  "    Version: %s\n    Safe Mode: %s\n    Zookeeper Enabled: false\n"
                  "    Raft-based Journal: true\n    Raft Journal Addresses: \n",
                  info->version, info->safe_mode ? "true" : "false");
    for (size_t i = 0; i < info->n_masters; i++) {
        (void)fprintf(cli->out, "        %s\n", info->masters[i]->raft_address);
    }
}

static void print_workers(struct gfsi_cli *cli, const Goosefs__V1__ListWorkersResponse *list)
{
    size_t live = 0;
    for (size_t i = 0; i < list->n_workers; i++) {
        live += list->workers[i]->live ? 1 : 0;
    }
    struct gfsi_tiers tiers;
    gfsi_tiers_sum(&tiers, list);
    (void)fprintf(cli->out, "    Live Workers: %zu\n    Lost Workers: %zu\n", live,
                  list->n_workers - live);
    gfsi_tiers_print(cli, "Total Capacity", &tiers, false);
    gfsi_tiers_print(cli, "Used Capacity", &tiers, true);
    char size[32];
    (void)fprintf(cli->out, "    Free Capacity: %s\n",
                  gfs_format_size(tiers.capacity - tiers.used, size, sizeof(size)));
}

/* The leader's own start time, ports and version; what another master says of it when it is silent.
 */
static int leader_info(struct gfsi_cli *cli, struct gfs_client *client,
                       Goosefs__V1__GetMasterInfoResponse **out)
{
    Goosefs__V1__GetMasterInfoResponse *info = NULL;
    const int rc = gfsi_find_leader(cli, &info);
    if (rc < 0) {
        return rc;
    }
    if (info->leader_rpc_address[0] == '\0') {
        goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
        return gfs_err_set(&cli->error, GFS_EUNAVAIL, "the masters have no leader");
    }
    for (size_t i = 0; i < gfs_client_n_masters(client) && !info->this_is_leader; i++) {
        if (strcmp(gfs_client_master(client, i), info->leader_rpc_address) != 0) {
            continue;
        }
        const Goosefs__V1__GetMasterInfoRequest request =
            GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
        ProtobufCMessage *message = NULL;
        if (gfs_client_call_master(client, i, GFS_CLIENT_METHOD_get_master_info, &request.base,
                                   &message, gfs_clock_mono() + ASK_NS, NULL) == 0) {
            goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
            info = (Goosefs__V1__GetMasterInfoResponse *)(void *)message;
            break;
        }
    }
    *out = info;
    return 0;
}

static int list_workers(struct gfsi_cli *cli, struct gfs_client *client,
                        Goosefs__V1__ListWorkersResponse **out)
{
    const Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
    return gfs_client_list_workers(client, &request, out, 0, &cli->error);
}

static int report_summary(struct gfsi_cli *cli)
{
    struct gfs_client *client;
    Goosefs__V1__GetMasterInfoResponse *info = NULL;
    Goosefs__V1__ListWorkersResponse *list = NULL;
    int rc = gfsi_cli_client(cli, &client);
    if (rc == 0) {
        rc = leader_info(cli, client, &info);
    }
    if (rc < 0) {
        return rc;
    }
    rc = list_workers(cli, client, &list);
    if (rc == 0) {
        print_summary_head(cli, info);
        print_masters(cli, client, info);
        print_workers(cli, list);
        goosefs__v1__list_workers_response__free_unpacked(list, NULL);
    }
    goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
    return rc;
}

static int report_ufs(struct gfsi_cli *cli)
{
    struct gfs_client *client;
    Goosefs__V1__GetMasterInfoResponse *info = NULL;
    int rc = gfsi_cli_client(cli, &client);
    if (rc == 0) {
        rc = leader_info(cli, client, &info);
    }
    if (rc < 0) {
        return rc;
    }
    goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
    (void)fprintf(cli->out, "GooseFS under storage system information:\n");
    return gfsi_print_mounts(cli);
}

static void print_metric(struct gfsi_cli *cli, const char *name, uint64_t value, bool bytes)
{
    char text[32];
    if (bytes) {
        (void)gfs_format_size(value, text, sizeof(text));
    } else {
        (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    }
    (void)fprintf(cli->out, "%s  (Type: GAUGE, Value: %s)\n", name, text);
}

/* What masters know themselves. Byte counters of workers are on their /metrics pages. */
static int report_metrics(struct gfsi_cli *cli)
{
    struct gfs_client *client;
    Goosefs__V1__ListWorkersResponse *list = NULL;
    Goosefs__V1__CountResponse *counted = NULL;
    int rc = gfsi_cli_client(cli, &client);
    if (rc == 0) {
        rc = list_workers(cli, client, &list);
    }
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__CountRequest request = GOOSEFS__V1__COUNT_REQUEST__INIT;
    char root[] = "/";
    request.path = root;
    rc = gfs_client_count(client, &request, &counted, 0, &cli->error);
    if (rc == 0) {
        struct gfsi_tiers tiers;
        gfsi_tiers_sum(&tiers, list);
        print_metric(cli, "Cluster.BytesCached", counted->cached_bytes, true);
        print_metric(cli, "Cluster.CapacityFree", tiers.capacity - tiers.used, true);
        print_metric(cli, "Cluster.CapacityTotal", tiers.capacity, true);
        print_metric(cli, "Cluster.CapacityUsed", tiers.used, true);
        print_metric(cli, "Cluster.Workers", list->n_workers, false);
        print_metric(cli, "Master.FilesCompleted", counted->files, false);
        print_metric(cli, "Master.TotalPaths", counted->files + counted->directories, false);
        goosefs__v1__count_response__free_unpacked(counted, NULL);
    }
    goosefs__v1__list_workers_response__free_unpacked(list, NULL);
    return rc;
}

int gfsi_run_report(struct gfsi_cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct gfsi_cli *cli);
    } reports[] = {{"summary", report_summary},
                   {"capacity", gfsi_report_capacity},
                   {"ufs", report_ufs},
                   {"metrics", report_metrics}};
    const char *name = cli->n_operands > 0 ? cli->operands[0] : "summary";
    for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++) {
        if (strcmp(reports[i].name, name) == 0) {
            return reports[i].run(cli);
        }
    }
    return gfs_err_set(&cli->error, GFS_EINVAL,
                       "there is no report '%.32s': summary, capacity, ufs or metrics", name);
}
