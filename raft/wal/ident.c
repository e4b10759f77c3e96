/*
 * The incarnation file binds a data directory to one cluster, one node and one random 128-bit
 * identity, so that a node whose disk was wiped can't come back as the voter it was (a vote or an
 * acknowledgement it gave would be forgotten: Vanlightly, raft-tlaplus). It is written last when a
 * directory is made: where it exists, at least one segment has to exist.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "wal/crc32c.h"
#include "wal/wal_priv.h"

#define IDENT_NAME "incarnation"
#define IDENT_MAX  256

int rafti_wal_random(void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return RAFT_WAL_IO;
        }
        p += n;
        len -= (size_t)n;
    }
    return RAFT_WAL_OK;
}

static int format_ident(const struct raft_wal *wal, const uint8_t *incarnation, char *out)
{
    char hex[33];

    for (int i = 0; i < 16; i++) {
        snprintf(hex + 2 * i, 3, "%02x", incarnation[i]);
    }
    int n = snprintf(out, IDENT_MAX,
                     "raft data directory, format %u\ncluster %016" PRIx64 "\nnode %016" PRIx64
                     "\nincarnation %s\n",
                     RAFTI_WAL_VERSION, wal->cluster_id, wal->node_id, hex);
    return n +
           snprintf(out + n, IDENT_MAX - (size_t)n, "crc %08x\n", rafti_crc32c(0, out, (size_t)n));
}

static bool parse_hex(const char *hex, uint8_t *out)
{
    for (int i = 0; i < 16; i++) {
        if (sscanf(hex + 2 * i, "%2hhx", &out[i]) != 1) {
            return false;
        }
    }
    return true;
}

int rafti_wal_ident_read(struct raft_wal *wal)
{
    char text[IDENT_MAX + 1];
    int err = rafti_wal_text_read(wal, IDENT_NAME, text, sizeof text);

    if (err != RAFT_WAL_OK) {
        return err;
    }

    unsigned version;
    unsigned crc;
    int crc_at = 0;
    uint64_t cluster;
    uint64_t node;
    char hex[33];
    uint8_t incarnation[16];
    if (sscanf(text,
               "raft data directory, format %u\ncluster %" SCNx64 "\nnode %" SCNx64
               "\nincarnation %32[0-9a-f]\n%ncrc %x",
               &version, &cluster, &node, hex, &crc_at, &crc) != 5 ||
        strlen(hex) != 32 || !parse_hex(hex, incarnation) ||
        crc != rafti_crc32c(0, text, (size_t)crc_at)) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal incarnation file is damaged dir=%s", wal->dir);
        return RAFT_WAL_CORRUPT;
    }
    if (version != RAFTI_WAL_VERSION || cluster != wal->cluster_id || node != wal->node_id) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR,
                      "wal directory of another owner dir=%s format=%u cluster=%016" PRIx64
                      " node=%" PRIu64 " want_cluster=%016" PRIx64 " want_node=%" PRIu64,
                      wal->dir, version, cluster, node, wal->cluster_id, wal->node_id);
        return RAFT_WAL_MISMATCH;
    }
    memcpy(wal->incarnation, incarnation, 16);
    return RAFT_WAL_OK;
}

int rafti_wal_ident_write(struct raft_wal *wal)
{
    char text[IDENT_MAX];
    int len = format_ident(wal, wal->incarnation, text);

    return rafti_wal_text_write(wal, IDENT_NAME, text, (size_t)len);
}
