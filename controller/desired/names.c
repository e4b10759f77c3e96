#include <gfs/controller/desired.h>

#include <stdio.h>
#include <string.h>

#include <gfs/base/assert.h>

#include "desired/desired_priv.h"

#define LABEL_MAX 63 /* characters of a label's name */

/* FNV-1a, 64 bits: small, stable for ever, and good enough to spread names. */
uint64_t gfsi_hash(uint64_t hash, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        hash = (hash ^ *c) * UINT64_C(0x100000001b3);
    }

    /* A separator, so that ("a", "bc") and ("ab", "c") differ. */
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

void gfs_pod_suffix(const char *seed, const char *ns, const char *owner, int index, unsigned salt,
                    char out[GFS_POD_SUFFIX_LEN + 1])
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    char number[32];
    uint64_t hash = GFSI_HASH_INIT;

    (void)snprintf(number, sizeof(number), "%d/%u", index, salt);
    hash = gfsi_hash(hash, seed);
    hash = gfsi_hash(hash, ns);
    hash = gfsi_hash(hash, owner);
    hash = gfsi_hash(hash, number);
    hash ^= hash >> 29; /* the low bits of FNV alone are weak */
    for (int i = 0; i < GFS_POD_SUFFIX_LEN; i++) {
        out[i] = alphabet[hash % (sizeof(alphabet) - 1)];
        hash /= sizeof(alphabet) - 1;
    }

    out[GFS_POD_SUFFIX_LEN] = '\0';
}

void gfs_label_key(const char *prefix, const char *ns, const char *name,
                   char out[GFS_LABEL_KEY_MAX])
{
    char full[512];
    const char *slash = strchr(prefix, '/');
    size_t start = slash != NULL ? (size_t)(slash + 1 - prefix) : 0;

    (void)snprintf(full, sizeof(full), "%s%s-%s", prefix, ns, name);
    if (strlen(full + start) <= LABEL_MAX) {
        (void)snprintf(out, GFS_LABEL_KEY_MAX, "%.*s", GFS_LABEL_KEY_MAX - 1, full);
        return;
    }

    uint64_t hash = gfsi_hash(gfsi_hash(GFSI_HASH_INIT, ns), name);

    (void)snprintf(out, GFS_LABEL_KEY_MAX, "%.*s-%016llx", (int)(start + LABEL_MAX - 17), full,
                   (unsigned long long)hash);
}

const char *gfs_role_name(enum gfs_role role)
{
    static const char *const names[] = {"master", "worker", "fuse", "system"};

    GFS_ASSERT((unsigned)role < sizeof(names) / sizeof(names[0]));
    return names[role];
}
