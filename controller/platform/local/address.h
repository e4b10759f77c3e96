/* One address of 127.64.0.0/10 per pod name, the same on every start: chosen by hash, free of
 * collisions within one state directory, and kept in the hosts file that tells every process of the
 * pods where the others are. */
#ifndef GFSI_CONTROLLER_ADDRESS_H
#define GFSI_CONTROLLER_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_ADDRESSES_MAX 4096 /* pods on one machine */
#define GFSI_ADDRESS_SIZE  16   /* "127.127.255.255" */

struct gfsi_addresses;

/* Reads {dir}/hosts and {dir}/hosts-NAMESPACE. `seed` sets this directory apart from others on the
 * machine. */
int gfsi_addresses_load(const char *dir, const char *seed, struct gfsi_addresses **out,
                        struct gfs_err *err);
struct gfsi_addresses *gfsi_addresses_free(struct gfsi_addresses *a);

/* The address of a pod, chosen now if it has none. A new one is one on which `ports` (ending with
 * 0) can be bound. GFS_EBUSY when GFSI_ADDRESSES_MAX are taken. Does not write the file. */
int gfsi_addresses_get(struct gfsi_addresses *a, const char *ns, const char *name,
                       const uint16_t *ports, char out[GFSI_ADDRESS_SIZE], struct gfs_err *err);
void gfsi_addresses_drop(struct gfsi_addresses *a, const char *ns, const char *name);

/* Writes the hosts file of a namespace if anything in it changed: 1 then, else 0. */
int gfsi_addresses_save(struct gfsi_addresses *a, const char *ns, struct gfs_err *err);

/* {dir}/hosts for "default", {dir}/hosts-NS for others. */
void gfsi_addresses_path(const char *dir, const char *ns, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
