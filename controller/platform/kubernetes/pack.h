/* A structure that is mostly zeros, kept as what is not. The statuses of a pair are 53 KiB with
 * room for 64 mounts and 32 conditions; 1 to 3 KiB of them are used. Pure. */
#ifndef GFSI_CONTROLLER_PACK_H
#define GFSI_CONTROLLER_PACK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_kube_packed {
    char *bytes; /* owned; NULL: nothing was packed */
    size_t n;
};

/* Replaces what `p` holds. GFS_ENOMEM: it stays as it was. */
int gfsi_kube_pack(const void *data, size_t size, struct gfsi_kube_packed *p);

/* Fills all of `data`, with zeros where nothing was kept. `size` is the one that was packed. */
void gfsi_kube_unpack(const struct gfsi_kube_packed *p, void *data, size_t size);

void gfsi_kube_packed_fini(struct gfsi_kube_packed *p);

#ifdef __cplusplus
}
#endif
#endif
