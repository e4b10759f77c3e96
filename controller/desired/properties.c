/* goosefs-site.properties of masters, workers and clients. Names are GooseFS's; what the user wrote
 * in spec.properties and spec.X.properties wins over everything here. */
#include <string.h>

#include <gfs/base/str.h>

#include "desired/desired_priv.h"

#define SOCKET_PATH_MAX 108 /* sun_path, unix(7) */

/* A port of the user's moves container, service and addresses alike: they are all made from what
 * this returns (defect D-18 of the predecessor). */
static uint16_t port(struct gfsi_build *b, const char *property, uint16_t fallback)
{
    const char *text = gfs_kvs_get(&b->runtime->runtime->properties, property);
    int64_t value = 0;

    if (text == NULL) {
        return fallback;
    }
    if (gfs_parse_i64(text, 1, 65535, &value) < 0) {
        if (b->error == 0) {
            b->error = gfs_err_set(b->err, GFS_EINVAL,
                                   "spec.properties: %s '%.40s' is not a port (1 to 65535)",
                                   property, text);
        }
        return fallback;
    }

    return (uint16_t)value;
}

void gfsi_ports_choose(struct gfsi_build *b)
{
    b->master_rpc = port(b, "goosefs.master.rpc.port", GFS_PORT_MASTER_RPC);
    b->master_web = port(b, "goosefs.master.web.port", GFS_PORT_MASTER_WEB);
    b->master_journal = port(b, "goosefs.master.embedded.journal.port", GFS_PORT_MASTER_JOURNAL);
    b->worker_rpc = port(b, "goosefs.worker.rpc.port", GFS_PORT_WORKER_RPC);
    b->worker_web = port(b, "goosefs.worker.web.port", GFS_PORT_WORKER_WEB);
}

static void put_port(struct gfsi_build *b, struct gfs_kvs *kvs, const char *key, uint16_t value)
{
    gfsi_kvs_put(b, kvs, key, gfsi_textf(b, "%u", value));
}

/* What every process of the runtime has to know: where the masters are. */
static void common(struct gfsi_build *b, struct gfs_kvs *kvs)
{
    gfsi_kvs_put(b, kvs, "goosefs.master.rpc.addresses", b->rpc_addresses);
    gfsi_kvs_put(b, kvs, "goosefs.master.embedded.journal.addresses", b->journal_addresses);
    put_port(b, kvs, "goosefs.master.rpc.port", b->master_rpc);
    if (b->facts->hosts_file[0] != '\0') {
        gfsi_kvs_put(b, kvs, "goosefs.network.hosts.file",
                     gfsi_textf(b, "%s", b->facts->hosts_file));
    }
}

void gfsi_properties_master(struct gfsi_build *b, struct gfs_pod *pod)
{
    struct gfs_kvs *kvs = &pod->properties;
    const char *journal = gfsi_pod_dir(b, pod, "journal");
    const char *metastore = gfsi_pod_dir(b, pod, "metastore");

    common(b, kvs);
    gfsi_kvs_put(b, kvs, "goosefs.master.hostname", pod->name);
    put_port(b, kvs, "goosefs.master.web.port", b->master_web);
    put_port(b, kvs, "goosefs.master.embedded.journal.port", b->master_journal);
    gfsi_kvs_put(b, kvs, "goosefs.master.journal.type", "EMBEDDED");
    gfsi_kvs_put(b, kvs, "goosefs.master.journal.folder", journal);
    gfsi_kvs_put(b, kvs, "goosefs.master.metastore.dir", metastore);
    gfsi_pod_add_dir(b, pod, journal);
    gfsi_pod_add_dir(b, pod, metastore);
    gfsi_kvs_merge(b, kvs, &b->runtime->runtime->properties);
    gfsi_kvs_merge(b, kvs, &b->runtime->runtime->master.properties);
}

static bool missing(const struct gfs_facts *facts, const char *path)
{
    for (size_t i = 0; i < facts->n_missing; i++) {
        if (strcmp(facts->missing_paths[i], path) == 0) {
            return true;
        }
    }

    return false;
}

/* {path}/{ns}/{name}, as Fluid does it, so that two datasets may share a disk; on one machine also
 * the pod, so that three workers do not share a directory. */
static const char *tier_dir(struct gfsi_build *b, const struct gfs_pod *pod, const char *path)
{
    const char *base = path;

    if (missing(b->facts, path)) {
        base = gfsi_textf(b, "%s%s", b->facts->stand_in_dir, path);
        gfsi_note(b, gfsi_textf(b,
                                "%s does not exist on this machine, %s stands in for it: create "
                                "the directory and apply the runtime again to use it",
                                path, base));
    }

    return b->facts->one_machine
               ? gfsi_textf(b, "%s/%s/%s/%s", base, pod->ns, b->plan->name, pod->name)
               : gfsi_textf(b, "%s/%s/%s", base, pod->ns, b->plan->name);
}

static void put_tier(struct gfsi_build *b, struct gfs_pod *pod, size_t level)
{
    const struct gfs_tier *tier = &b->runtime->runtime->tiers[level];
    const char *prefix = gfsi_textf(b, "goosefs.worker.tieredstore.level%zu", level);
    const char *media = "";
    const char *dirs = "";
    const char *quotas = "";

    for (size_t i = 0; i < tier->n_paths; i++) {
        const char *comma = i > 0 ? "," : "";
        const char *dir = tier_dir(b, pod, tier->paths[i]);

        media = gfsi_textf(b, "%s%s%s", media, comma, gfs_medium_name(tier->medium));
        dirs = gfsi_textf(b, "%s%s%s", dirs, comma, dir);
        quotas = gfsi_textf(b, "%s%s%llu", quotas, comma, (unsigned long long)tier->quotas[i]);
        gfsi_pod_add_dir(b, pod, dir);
    }

    const char *const fields[][2] = {
        {"alias", gfs_medium_name(tier->medium)},
        {"dirs.mediumtype", media},
        {"dirs.path", dirs},
        {"dirs.quota", quotas},
        {"watermark.high.ratio", tier->high_text},
        {"watermark.low.ratio", tier->low_text},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        gfsi_kvs_put(b, &pod->properties, gfsi_textf(b, "%s.%s", prefix, fields[i][0]),
                     gfsi_textf(b, "%s", fields[i][1]));
    }
}

/* Where clients of the same machine are handed files: in a cluster in the runtime's directory,
 * which worker and client have under one name. A path that is too long for a socket leaves them
 * with the network. */
static void put_local_socket(struct gfsi_build *b, struct gfs_pod *pod)
{
    const char *path = b->facts->pods_dir[0] != '\0'
                           ? gfsi_pod_dir(b, pod, "data.sock")
                           : gfsi_textf(b, "%s/goosefs/%s/%s/worker/data.sock",
                                        b->facts->mount_root, b->plan->ns, b->plan->name);

    if (strlen(path) < SOCKET_PATH_MAX) {
        gfsi_kvs_put(b, &pod->properties, "goosefs.worker.data.server.domain.socket.address", path);
    }
}

void gfsi_properties_worker(struct gfsi_build *b, struct gfs_pod *pod)
{
    const struct gfs_runtime *runtime = b->runtime->runtime;
    struct gfs_kvs *kvs = &pod->properties;

    common(b, kvs);
    gfsi_kvs_put(b, kvs, "goosefs.worker.hostname", pod->name);
    put_port(b, kvs, "goosefs.worker.rpc.port", b->worker_rpc);
    put_port(b, kvs, "goosefs.worker.web.port", b->worker_web);
    put_local_socket(b, pod);
    gfsi_kvs_put(b, kvs, "goosefs.worker.tieredstore.levels",
                 gfsi_textf(b, "%zu", runtime->n_tiers));
    for (size_t i = 0; i < runtime->n_tiers; i++) {
        put_tier(b, pod, i);
    }

    gfsi_kvs_merge(b, kvs, &runtime->properties);
    gfsi_kvs_merge(b, kvs, &runtime->worker.properties);
}

void gfsi_properties_client(struct gfsi_build *b, struct gfs_kvs *out)
{
    const struct gfs_runtime *runtime = b->runtime->runtime;

    common(b, out);
    gfsi_kvs_put(b, out, "goosefs.fuse.mount.point", b->plan->fuse_path);
    gfsi_kvs_put(b, out, "goosefs.fuse.mount.goosefs.path", "/");
    gfsi_kvs_put(b, out, "goosefs.user.file.replication.max",
                 gfsi_textf(b, "%d", runtime->data_replicas));
    gfsi_kvs_merge(b, out, &runtime->properties);
    gfsi_kvs_merge(b, out, &runtime->fuse.properties);
}

/* Keys and values hold no line breaks: the objects were checked (api/fields.c). */
void gfs_properties_print(const struct gfs_kvs *kvs, struct gfs_buf *out)
{
    for (size_t i = 0; i < kvs->n; i++) {
        (void)gfs_buf_printf(out, "%s=%s\n", kvs->items[i].key, kvs->items[i].value);
    }
}
