/* The workers, and who caches what: soft state out of heartbeats, on every master. */
#ifndef GFSI_REGISTRY_PRIV_H
#define GFSI_REGISTRY_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_WORKERS_MAX     4096
#define GFSI_TIERS_MAX       8
#define GFSI_CACHED_MAX      ((size_t)8 << 20) /* files known cached on one worker, and overall */
#define GFSI_BEAT_CACHED_MAX 10000
#define GFSI_BEAT_FREE_MAX   10000   /* files to free in one answer */
#define GFSI_FREE_QUEUE_MAX  1000000 /* files waiting to be freed on one worker */
#define GFSI_WORKER_TEXT_MAX 256

struct gfsi_tier {
    char alias[16];
    uint64_t capacity;
    uint64_t used;
};

struct gfsi_worker {
    uint64_t id;
    char host[GFSI_WORKER_TEXT_MAX];
    char data_address[GFSI_WORKER_TEXT_MAX];
    char local_socket[GFSI_WORKER_TEXT_MAX];
    char version[64];
    uint32_t web_port;
    int64_t start_ms;
    size_t n_tiers;
    struct gfsi_tier tiers[GFSI_TIERS_MAX];
    bool leaving; /* its last beat */
    /* set by the registry when listing */
    bool live;
    int64_t age_ms;
    size_t cached_files;
};

struct gfsi_cached {
    uint64_t inode;
    uint64_t version;
    uint64_t bytes;
};

struct gfsi_free_file {
    uint64_t inode;
    uint64_t version;
};

struct gfsi_registry;

/* A worker silent for timeout_ms is lost, after a hundred times that forgotten. */
int gfsi_registry_new(int64_t timeout_ms, struct gfsi_registry **out);
void gfsi_registry_free(struct gfsi_registry *registry); /* NULL is fine */

/* A beat at `now_ms` (monotonic). 0: taken, *out_free (to be freed with free()) are files to free
 * there; *out_first: this worker was not known. ABORTED: report everything again from sequence 0.
 * BUSY: too many workers; INVAL: rubbish. Any thread. */
int gfsi_registry_beat(struct gfsi_registry *registry, const struct gfsi_worker *worker,
                       uint64_t sequence, const struct gfsi_cached *cached, size_t n_cached,
                       int64_t now_ms, struct gfsi_free_file **out_free, size_t *out_n_free,
                       bool *out_first);

/* Valid bytes of this version on live workers (or not yet forgotten ones). */
uint64_t gfsi_registry_cached(struct gfsi_registry *registry, uint64_t inode, uint64_t version);

/* Queues a file for freeing on every worker that holds a version of it. BUSY when a queue is full.
 */
int gfsi_registry_free_file(struct gfsi_registry *registry, uint64_t inode, uint64_t version);

/* All known workers by host name; *out with free(). */
int gfsi_registry_list(struct gfsi_registry *registry, int64_t now_ms, struct gfsi_worker **out,
                       size_t *out_n);

/* Moves workers to lost, forgets the long lost; reports each change. */
void gfsi_registry_expire(struct gfsi_registry *registry, int64_t now_ms,
                          void (*lost)(void *arg, const struct gfsi_worker *worker), void *arg);

#ifdef __cplusplus
}
#endif
#endif
