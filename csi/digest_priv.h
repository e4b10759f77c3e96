/* Canonical digests of call parameters, to tell a repeated call from a different one. 128 bits of
 * FNV-1a: a collision would only make a changed call look repeated, to the one who made both.
 *
 * Pure. Fields are length-prefixed, so that moving a byte from one to the next changes the digest.
 */
#ifndef GFSI_CSI_DIGEST_PRIV_H
#define GFSI_CSI_DIGEST_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "attrs_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_DIGEST_SIZE 33 /* hex and NUL */

struct gfsi_digest {
    uint64_t a, b;
};

void gfsi_digest_init(struct gfsi_digest *d);
void gfsi_digest_bytes(struct gfsi_digest *d, const void *data, size_t len);
void gfsi_digest_text(struct gfsi_digest *d, const char *text);
void gfsi_digest_number(struct gfsi_digest *d, uint64_t number);

/* In the order of keys, without volatile ones (gfsi_attr_is_volatile). Sorts `pairs`. */
void gfsi_digest_map(struct gfsi_digest *d, struct gfsi_pair *pairs, size_t n);
void gfsi_digest_hex(const struct gfsi_digest *d, char out[GFSI_DIGEST_SIZE]);

#ifdef __cplusplus
}
#endif
#endif
