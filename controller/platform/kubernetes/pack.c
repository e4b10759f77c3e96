#include "platform/kubernetes/pack.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/err.h>

#define GAP 16 /* fewer zeros cost less than the header of another run */

struct run {
    uint32_t at;
    uint32_t len;
};

/* The next run at or behind `from`; false when only zeros follow. */
static bool next_run(const char *data, size_t size, size_t from, struct run *out)
{
    while (from < size && data[from] == 0) {
        from++;
    }
    if (from == size) {
        return false;
    }

    size_t end = from + 1; /* behind the last byte that is not zero */

    for (size_t i = end; i < size && i < end + GAP; i++) {
        end = data[i] != 0 ? i + 1 : end;
    }

    *out = (struct run){.at = (uint32_t)from, .len = (uint32_t)(end - from)};
    return true;
}

int gfsi_kube_pack(const void *data, size_t size, struct gfsi_kube_packed *p)
{
    struct run run = {0};
    size_t need = 0;

    GFS_ASSERT_LT(size, UINT32_MAX);
    while (next_run(data, size, run.at + run.len, &run)) {
        need += sizeof(run) + run.len;
    }

    char *bytes = malloc(need > 0 ? need : 1);
    char *to = bytes;

    if (bytes == NULL) {
        return GFS_ENOMEM;
    }

    run = (struct run){0};
    while (next_run(data, size, run.at + run.len, &run)) {
        memcpy(to, &run, sizeof(run));
        memcpy(to + sizeof(run), (const char *)data + run.at, run.len);
        to += sizeof(run) + run.len;
    }

    free(p->bytes);
    *p = (struct gfsi_kube_packed){.bytes = bytes, .n = need};
    return 0;
}

void gfsi_kube_unpack(const struct gfsi_kube_packed *p, void *data, size_t size)
{
    struct run run;

    if (size > 0) {
        memset(data, 0, size);
    }
    for (size_t i = 0; i < p->n; i += sizeof(run) + run.len) {
        memcpy(&run, p->bytes + i, sizeof(run));
        GFS_ASSERT(run.at + (size_t)run.len <= size);
        memcpy((char *)data + run.at, p->bytes + i + sizeof(run), run.len);
    }
}

void gfsi_kube_packed_fini(struct gfsi_kube_packed *p)
{
    free(p->bytes);
    *p = (struct gfsi_kube_packed){0};
}
