#include "digest_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FNV_PRIME UINT64_C(0x100000001b3)
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)

void gfsi_digest_init(struct gfsi_digest *d)
{
    d->a = FNV_BASIS;
    d->b = ~FNV_BASIS;
}

static void mix(struct gfsi_digest *d, const void *data, size_t len)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++) {
        d->a = (d->a ^ bytes[i]) * FNV_PRIME;
        d->b = (d->b ^ bytes[i] ^ (d->a >> 56)) * FNV_PRIME;
    }
}

void gfsi_digest_number(struct gfsi_digest *d, uint64_t number)
{
    mix(d, &number, sizeof(number));
}

void gfsi_digest_bytes(struct gfsi_digest *d, const void *data, size_t len)
{
    gfsi_digest_number(d, len);
    mix(d, data, len);
}

void gfsi_digest_text(struct gfsi_digest *d, const char *text)
{
    gfsi_digest_bytes(d, text, strlen(text));
}

static int compare_pairs(const void *left, const void *right)
{
    const struct gfsi_pair *a = left;
    const struct gfsi_pair *b = right;
    int order = strcmp(a->key, b->key);

    return order != 0 ? order : strcmp(a->value, b->value);
}

void gfsi_digest_map(struct gfsi_digest *d, struct gfsi_pair *pairs, size_t n)
{
    uint64_t counted = 0;

    if (n > 1) {
        qsort(pairs, n, sizeof(pairs[0]), compare_pairs);
    }

    for (size_t i = 0; i < n; i++) {
        if (gfsi_attr_is_volatile(pairs[i].key)) {
            continue;
        }
        gfsi_digest_text(d, pairs[i].key);
        gfsi_digest_text(d, pairs[i].value);
        counted++;
    }
    gfsi_digest_number(d, counted);
}

void gfsi_digest_hex(const struct gfsi_digest *d, char out[GFSI_DIGEST_SIZE])
{
    (void)snprintf(out, GFSI_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, d->a, d->b);
}
