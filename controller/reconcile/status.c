/* Conditions and the texts of a status. */
#include <stdio.h>
#include <string.h>

#include <gfs/base/str.h>

#include "reconcile/reconcile_priv.h"

const char *gfs_phase_name(enum gfs_phase phase)
{
    static const char *const names[] = {"", "NotReady", "PartialReady", "Ready"};

    return names[phase];
}

const char *gfs_dataset_phase_name(enum gfs_dataset_phase phase)
{
    return phase == GFS_DATASET_BOUND ? "Bound" : "NotBound";
}

static struct gfs_condition *find(struct gfs_conditions *conditions, const char *type)
{
    for (size_t i = 0; i < conditions->n; i++) {
        if (strcmp(conditions->items[i].type, type) == 0) {
            return &conditions->items[i];
        }
    }

    return NULL;
}

const struct gfs_condition *gfs_conditions_get(const struct gfs_conditions *conditions,
                                               const char *type)
{
    for (size_t i = 0; i < conditions->n; i++) {
        if (strcmp(conditions->items[i].type, type) == 0) {
            return &conditions->items[i];
        }
    }

    return NULL;
}

bool gfsi_condition_set(struct gfs_conditions *conditions, const char *type, bool status,
                        const char *reason, const char *message, int64_t now_ms)
{
    struct gfs_condition *c = find(conditions, type);

    if (c != NULL && c->status == status && strcmp(c->reason, reason) == 0 &&
        strcmp(c->message, message) == 0) {
        return false;
    }

    if (c == NULL) {
        if (conditions->n == GFS_CONDITIONS_MAX) {
            return false;
        }
        c = &conditions->items[conditions->n++];
        c->status = !status;
    }
    if (c->status != status) {
        c->last_transition_ms = now_ms;
    }

    c->status = status;
    (void)snprintf(c->type, sizeof(c->type), "%s", type);
    (void)snprintf(c->reason, sizeof(c->reason), "%s", reason);
    (void)snprintf(c->message, sizeof(c->message), "%s", message);
    return true;
}

const char *gfs_status_size(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }

    (void)snprintf(buf, size, "%.2f%s", value, units[unit]);
    return buf;
}

const char *gfs_status_percent(uint64_t part, uint64_t whole, char *buf, size_t size)
{
    double percent = whole > 0 ? 100.0 * (double)part / (double)whole : 0;

    (void)snprintf(buf, size, "%.1f%%", percent > 100 ? 100.0 : percent);
    return buf;
}
