/* A client from goosefs-site.properties. */
#include "client_priv.h"

#include <stdio.h>
#include <string.h>

#include <gfs/base/buf.h>
#include <gfs/base/str.h>

#define RPC_PORT "9200"

struct props {
    const char *(*get)(void *arg, const char *key);
    void *arg;
};

static const char *prop(const struct props *props, const char *key, const char *fallback)
{
    const char *value = props->get(props->arg, key);
    return value != NULL && value[0] != '\0' ? value : fallback;
}

/* "h1:9202,h2:9202" with another port: "h1:26000,h2:26000". */
static int with_port(struct gfs_buf *out, const char *addresses, const char *port)
{
    const char *p = addresses;
    while (*p != '\0') {
        p += strspn(p, ", ");
        const size_t len = strcspn(p, ", ");
        const char *colon = memrchr(p, ':', len);
        if (len > 0) {
            const size_t host = colon != NULL ? (size_t)(colon - p) : len;
            (void)gfs_buf_printf(out, "%s%.*s:%s", out->len > 0 ? "," : "", (int)host, p, port);
        }
        p += len;
    }
    return out->error;
}

static int masters_of(const struct props *props, struct gfs_buf *out, struct gfs_err *err)
{
    const char *port = prop(props, "goosefs.master.rpc.port", RPC_PORT);
    uint64_t number;
    if (gfs_parse_u64(port, UINT16_MAX, &number) < 0 || number == 0) {
        return gfs_err_set(err, GFS_EINVAL, "goosefs.master.rpc.port: '%.32s' is not a port", port);
    }

    const char *rpc = prop(props, "goosefs.master.rpc.addresses", NULL);
    const char *journal = prop(props, "goosefs.master.embedded.journal.addresses", NULL);
    int rc;
    if (rpc != NULL) {
        rc = gfs_buf_puts(out, rpc);
    } else if (journal != NULL) {
        rc = with_port(out, journal, port);
    } else {
        rc =
            gfs_buf_printf(out, "%s:%s", prop(props, "goosefs.master.hostname", "localhost"), port);
    }
    return rc < 0 ? gfs_err_set(err, rc, "the list of masters is too long") : 0;
}

int gfs_client_new_from_props(const char *(*get)(void *arg, const char *key), void *arg,
                              struct gfs_metrics *metrics, struct gfs_client **out,
                              struct gfs_err *err)
{
    const struct props props = {.get = get, .arg = arg};
    struct gfs_buf masters gfs_auto_buf;
    gfs_buf_init(&masters, 8192);
    int rc = masters_of(&props, &masters, err);
    if (rc < 0) {
        return rc;
    }
    int64_t retry_ns;
    const char *retry = prop(&props, "goosefs.user.rpc.retry.max.duration", "2min");
    if (gfs_parse_duration(retry, &retry_ns) < 0 || retry_ns <= 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.user.rpc.retry.max.duration: '%.32s' is not a duration", retry);
    }

    struct gfs_hosts *hosts = NULL;
    rc = gfs_hosts_load(prop(&props, "goosefs.network.hosts.file", ""), &hosts, err);
    if (rc < 0) {
        return gfs_err_wrap(err, rc, "goosefs.network.hosts.file");
    }
    const struct gfs_client_opts opts = {
        .masters = gfs_buf_str(&masters), .hosts = hosts, .retry_ns = retry_ns, .metrics = metrics};
    struct gfs_client *client = NULL;
    rc = gfs_client_new(&opts, &client, err);
    if (rc < 0) {
        gfs_hosts_free(hosts);
        return rc;
    }
    client->own_hosts = hosts;
    *out = client;
    return 0;
}
