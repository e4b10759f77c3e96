#include "platform/local/events.h"

#include <stdio.h>
#include <string.h>

#define SAME_WITHIN 32 /* how far back the same event is looked for */

const struct gfsi_event *gfsi_events_at(const struct gfsi_events *events, size_t i)
{
    size_t oldest = events->n < GFSI_EVENTS_MAX ? 0 : events->next;

    return &events->items[(oldest + i) % GFSI_EVENTS_MAX];
}

static bool same(const struct gfsi_event *e, const char *ns, const char *kind, const char *name,
                 const char *reason, const char *message)
{
    return strcmp(e->name, name) == 0 && strcmp(e->ns, ns) == 0 && strcmp(e->kind, kind) == 0 &&
           strcmp(e->reason, reason) == 0 &&
           strncmp(e->message, message, sizeof(e->message) - 1) == 0;
}

void gfsi_events_add(struct gfsi_events *events, const char *ns, const char *kind, const char *name,
                     bool warning, const char *reason, const char *message, int64_t now_ms)
{
    for (size_t back = 1; back <= SAME_WITHIN && back <= events->n; back++) {
        struct gfsi_event *e =
            &events->items[(events->next + GFSI_EVENTS_MAX - back) % GFSI_EVENTS_MAX];

        if (same(e, ns, kind, name, reason, message)) {
            e->count++;
            e->last_ms = now_ms;
            return;
        }
    }

    struct gfsi_event *e = &events->items[events->next];

    *e = (struct gfsi_event){.warning = warning, .count = 1, .first_ms = now_ms, .last_ms = now_ms};
    (void)snprintf(e->ns, sizeof(e->ns), "%s", ns);
    (void)snprintf(e->kind, sizeof(e->kind), "%s", kind);
    (void)snprintf(e->name, sizeof(e->name), "%s", name);
    (void)snprintf(e->reason, sizeof(e->reason), "%s", reason);
    (void)snprintf(e->message, sizeof(e->message), "%s", message);
    events->next = (events->next + 1) % GFSI_EVENTS_MAX;
    if (events->n < GFSI_EVENTS_MAX) {
        events->n++;
    }
}
