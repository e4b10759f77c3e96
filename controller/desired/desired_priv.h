/* Inside desired/: the plan while it is being built. */
#ifndef GFSI_CONTROLLER_DESIRED_PRIV_H
#define GFSI_CONTROLLER_DESIRED_PRIV_H

#include <gfs/controller/desired.h>

#define GFSI_HASH_INIT UINT64_C(0xcbf29ce484222325)

uint64_t gfsi_hash(uint64_t hash, const char *text);

struct gfsi_build {
    struct gfs_plan *plan;
    const struct gfs_object *dataset;
    const struct gfs_object *runtime;
    const struct gfs_facts *facts;
    struct gfs_err *err;
    int error; /* sticky */
    uint16_t master_rpc, master_web, master_journal, worker_rpc, worker_web;
    const char *journal_addresses; /* "hbase-master-0:26002,..." */
    const char *rpc_addresses;
};

/* Text in the plan's arena; "" and a sticky error when it cannot be had. */
const char *gfsi_textf(struct gfsi_build *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void *gfsi_zalloc(struct gfsi_build *b, size_t size);

/* Adds, or replaces the value of a key that is there. */
void gfsi_kvs_put(struct gfsi_build *b, struct gfs_kvs *kvs, const char *key, const char *value);
void gfsi_kvs_merge(struct gfsi_build *b, struct gfs_kvs *kvs, const struct gfs_kvs *from);

/* properties.c */
void gfsi_ports_choose(struct gfsi_build *b);
void gfsi_properties_master(struct gfsi_build *b, struct gfs_pod *pod);
void gfsi_properties_worker(struct gfsi_build *b, struct gfs_pod *pod);
void gfsi_properties_client(struct gfsi_build *b, struct gfs_kvs *out);

/* volume.c */
void gfsi_volume(struct gfsi_build *b);

/* The directory of a pod's own data. */
const char *gfsi_pod_dir(struct gfsi_build *b, const struct gfs_pod *pod, const char *leaf);
void gfsi_pod_add_dir(struct gfsi_build *b, struct gfs_pod *pod, const char *dir);
void gfsi_note(struct gfsi_build *b, const char *note);

#endif
