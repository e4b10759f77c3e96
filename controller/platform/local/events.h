/* The last events, the oldest dropped when full; the same event again counts up instead. */
#ifndef GFSI_CONTROLLER_EVENTS_H
#define GFSI_CONTROLLER_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_EVENTS_MAX 1000

struct gfsi_event {
    char ns[64];
    char kind[24]; /* "dataset", "pod" */
    char name[64];
    char reason[48];
    char message[GFS_ERR_TEXT_MAX];
    bool warning;
    unsigned count;
    int64_t first_ms, last_ms;
};

struct gfsi_events {
    struct gfsi_event items[GFSI_EVENTS_MAX];
    size_t n;    /* filled */
    size_t next; /* where the next goes */
};

void gfsi_events_add(struct gfsi_events *events, const char *ns, const char *kind, const char *name,
                     bool warning, const char *reason, const char *message, int64_t now_ms);

/* i = 0 is the oldest. */
const struct gfsi_event *gfsi_events_at(const struct gfsi_events *events, size_t i);

#ifdef __cplusplus
}
#endif
#endif
