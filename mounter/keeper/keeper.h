/* The keeper as a library, for its program and tests. */
#ifndef GFSI_KEEPER_H
#define GFSI_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_keeper;

struct gfsi_keeper_config {
    const char *socket_path; /* borrowed for the keeper's life */
    const char *state_dir;   /* made if missing; NULL or "": socket_path + ".d" */
    bool leave;              /* at SIGTERM leave the mounts and their clients */
    uint32_t client_uid;     /* of clients whose spec says 0; 0: root */
    uint32_t client_gid;
    int64_t stall_timeout_ns; /* of specs that say 0: a request served for so long; 0: never */
    unsigned max_failures; /* clients in a row that serve nothing: then it aborts; 0: any number */
};

/* Takes over what an earlier keeper left, listens, and blocks SIGTERM, SIGINT and SIGCHLD for the
 * calling process, which must have one thread. GFS_EEXIST when another keeper answers at the
 * socket. */
int gfsi_keeper_new(const struct gfsi_keeper_config *config, struct gfsi_keeper **out,
                    struct gfs_err *err);

/* Serves until SIGTERM or SIGINT, then unmounts (unless `leave`), stops the clients and returns 0.
 */
int gfsi_keeper_run(struct gfsi_keeper *k, struct gfs_err *err);

struct gfsi_keeper *gfsi_keeper_free(struct gfsi_keeper *k);

#ifdef __cplusplus
}
#endif
#endif
