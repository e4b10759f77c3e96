/* Records of the namespace database: little-endian, fixed part first, then the strings. */
#include "ns_store_priv.h"

#include <string.h>

#include <gfs/base/assert.h>

#define STATE_FORMAT UINT64_C(1)

/* Offsets of an inode record's fixed part. Bytes 80..83 and 95 are reserved, zero. */
enum {
    AT_ID = 0,
    AT_LENGTH = 8,
    AT_VERSION_ID = 16,
    AT_CHILDREN = 24,
    AT_LISTING = 32,
    AT_MTIME = 40,
    AT_CTIME = 48,
    AT_SYNCED = 56,
    AT_FLAGS = 64,
    AT_MODE = 68,
    AT_MOUNT = 72,
    AT_GRANULARITY = 76,
    AT_SEEN = 84,
    AT_VERSION_LEN = 92,
    AT_OWNER_LEN = 93,
    AT_GROUP_LEN = 94,
};

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

void gfsi_be64(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(v >> (56 - 8 * i));
    }
}

uint64_t gfsi_from_be64(const uint8_t in[8])
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++) {
        v = v << 8 | in[i];
    }

    return v;
}

void gfsi_edge_key(struct gfsi_edge_key *key, uint64_t parent, const char *name, size_t len)
{
    GFS_ASSERT_LE(len, (size_t)GFSI_NAME_MAX);
    gfsi_be64(key->bytes, parent);
    if (len > 0) {
        memcpy(key->bytes + 8, name, len);
    }

    key->len = 8 + len;
}

size_t gfsi_inode_encode(const struct gfsi_inode *inode, uint8_t rec[GFSI_INODE_REC_MAX])
{
    size_t at = GFSI_INODE_FIXED;
    const struct gfsi_str *strings[] = {&inode->version, &inode->owner, &inode->group};

    GFS_ASSERT_LE(inode->version.len, (size_t)GFSI_VERSION_MAX);
    GFS_ASSERT_LE(inode->owner.len, (size_t)GFSI_OWNER_MAX);
    GFS_ASSERT_LE(inode->group.len, (size_t)GFSI_OWNER_MAX);
    memset(rec, 0, GFSI_INODE_FIXED);
    put64(rec + AT_ID, inode->id);
    put64(rec + AT_LENGTH, inode->length);
    put64(rec + AT_VERSION_ID, inode->version_id);
    put64(rec + AT_CHILDREN, inode->child_count);
    put64(rec + AT_LISTING, inode->listing_id);
    put64(rec + AT_SEEN, inode->seen_id);
    put64(rec + AT_MTIME, (uint64_t)inode->mtime_ms);
    put64(rec + AT_CTIME, (uint64_t)inode->ctime_ms);
    put64(rec + AT_SYNCED, (uint64_t)inode->synced_ms);
    put32(rec + AT_FLAGS, inode->flags);
    put32(rec + AT_MODE, inode->mode);
    put32(rec + AT_MOUNT, inode->mount_id);
    put32(rec + AT_GRANULARITY, inode->mtime_granularity_ms);
    rec[AT_VERSION_LEN] = (uint8_t)inode->version.len;
    rec[AT_OWNER_LEN] = (uint8_t)inode->owner.len;
    rec[AT_GROUP_LEN] = (uint8_t)inode->group.len;

    for (size_t i = 0; i < 3; i++) {
        if (strings[i]->len > 0) {
            memcpy(rec + at, strings[i]->s, strings[i]->len);
            at += strings[i]->len;
        }
    }

    return at;
}

int gfsi_inode_decode(const MDB_val *key, const MDB_val *rec, struct gfsi_inode *out)
{
    const uint8_t *k = key->mv_data;
    const uint8_t *r = rec->mv_data;
    const char *text;

    if (key->mv_size < 8 || key->mv_size > GFSI_EDGE_KEY_MAX || rec->mv_size < GFSI_INODE_FIXED ||
        rec->mv_size !=
            (size_t)GFSI_INODE_FIXED + r[AT_VERSION_LEN] + r[AT_OWNER_LEN] + r[AT_GROUP_LEN]) {
        return GFS_EIO;
    }

    text = (const char *)r + GFSI_INODE_FIXED;
    *out = (struct gfsi_inode){
        .id = get64(r + AT_ID),
        .parent_id = gfsi_from_be64(k),
        .length = get64(r + AT_LENGTH),
        .version_id = get64(r + AT_VERSION_ID),
        .child_count = get64(r + AT_CHILDREN),
        .listing_id = get64(r + AT_LISTING),
        .seen_id = get64(r + AT_SEEN),
        .mtime_ms = (int64_t)get64(r + AT_MTIME),
        .ctime_ms = (int64_t)get64(r + AT_CTIME),
        .synced_ms = (int64_t)get64(r + AT_SYNCED),
        .flags = get32(r + AT_FLAGS),
        .mode = get32(r + AT_MODE),
        .mount_id = get32(r + AT_MOUNT),
        .mtime_granularity_ms = get32(r + AT_GRANULARITY),
        .name = {(const char *)k + 8, key->mv_size - 8},
        .version = {text, r[AT_VERSION_LEN]},
        .owner = {text + r[AT_VERSION_LEN], r[AT_OWNER_LEN]},
        .group = {text + r[AT_VERSION_LEN] + r[AT_OWNER_LEN], r[AT_GROUP_LEN]},
    };

    return 0;
}

/* Mount record: id, flags, number of properties as 32 bits each, inode id; then NUL-terminated
 * path, URI, key, value, key, value ... */
int gfsi_mount_encode(const struct gfsi_mount *mount, struct gfs_buf *out)
{
    uint8_t head[20];

    put32(head, mount->id);
    put32(head + 4, (mount->read_only ? 1u : 0) | (mount->shared ? 2u : 0));
    put32(head + 8, (uint32_t)mount->n_props);
    put64(head + 12, mount->inode_id);
    (void)gfs_buf_append(out, head, sizeof(head));
    (void)gfs_buf_append(out, mount->path, strlen(mount->path) + 1);
    (void)gfs_buf_append(out, mount->uri, strlen(mount->uri) + 1);
    for (size_t i = 0; i < mount->n_props; i++) {
        (void)gfs_buf_append(out, mount->props[i].key, strlen(mount->props[i].key) + 1);
        (void)gfs_buf_append(out, mount->props[i].value, strlen(mount->props[i].value) + 1);
    }

    return out->error;
}

uint64_t gfsi_mount_inode(const MDB_val *rec)
{
    return get64((const uint8_t *)rec->mv_data + 12);
}

static const char *take_text(const char **p, const char *end)
{
    const char *s = *p;
    const char *nul = s < end ? memchr(s, 0, (size_t)(end - s)) : NULL;

    if (nul != NULL) {
        *p = nul + 1;
    }

    return nul == NULL ? NULL : s;
}

int gfsi_mount_decode(const MDB_val *rec, struct gfsi_mount *out)
{
    const uint8_t *r = rec->mv_data;
    const char *p = (const char *)r + 20;
    const char *end = (const char *)r + rec->mv_size;
    size_t n;

    if (rec->mv_size < 20 || get32(r + 8) > GFSI_PROPS_MAX) {
        return GFS_EIO;
    }

    n = get32(r + 8);
    out->id = get32(r);
    out->read_only = (get32(r + 4) & 1) != 0;
    out->shared = (get32(r + 4) & 2) != 0;
    out->inode_id = get64(r + 12);
    out->n_props = n;
    out->path = take_text(&p, end);
    out->uri = take_text(&p, end);
    if (out->path == NULL || out->uri == NULL) {
        return GFS_EIO;
    }

    for (size_t i = 0; i < n; i++) {
        out->props[i].key = take_text(&p, end);
        out->props[i].value = take_text(&p, end);
        if (out->props[i].key == NULL || out->props[i].value == NULL) {
            return GFS_EIO;
        }
    }

    return 0;
}

void gfsi_state_encode(const struct gfsi_state *st, uint8_t rec[GFSI_STATE_REC_SIZE])
{
    memset(rec, 0, GFSI_STATE_REC_SIZE);
    put64(rec, STATE_FORMAT);
    put64(rec + 8, st->applied_index);
    put64(rec + 16, st->applied_term);
    put64(rec + 24, st->next_id);
    put64(rec + 32, st->next_mount_id);
    put64(rec + 40, st->next_op);
    put64(rec + 48, st->mounts_epoch);
}

int gfsi_state_decode(const MDB_val *rec, struct gfsi_state *out)
{
    const uint8_t *r = rec->mv_data;

    if (rec->mv_size != GFSI_STATE_REC_SIZE) {
        return GFS_ECORRUPT;
    }

    if (get64(r) != STATE_FORMAT) {
        return GFS_EPRECONDITION;
    }

    *out = (struct gfsi_state){
        .applied_index = get64(r + 8),
        .applied_term = get64(r + 16),
        .next_id = get64(r + 24),
        .next_mount_id = get64(r + 32),
        .next_op = get64(r + 40),
        .mounts_epoch = get64(r + 48),
    };

    return 0;
}

/* FNV-1a, then the finaliser of MurmurHash3, because FNV's high bits mix badly. */
uint64_t gfsi_version_id(const char *version, size_t len, uint64_t length)
{
    uint64_t h = UINT64_C(14695981039346656037);
    uint8_t tail[8];

    put64(tail, length);
    for (size_t i = 0; i < len + sizeof(tail); i++) {
        h ^= i < len ? (uint8_t)version[i] : tail[i - len];
        h *= UINT64_C(1099511628211);
    }

    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    h ^= h >> 33;

    return h == 0 ? 1 : h;
}
