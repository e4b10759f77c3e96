/* Parsing the address lists. */
#include "members_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <gfs/base/str.h>

#define JOURNAL_PROPERTY "goosefs.master.embedded.journal.addresses"
#define RPC_PROPERTY     "goosefs.master.rpc.addresses"

/* Copies the next element of a comma-separated list, without blanks. 1, 0 at the end. */
static int next_address(const char **list, const char *property, char *out, size_t size,
                        struct gfs_err *err)
{
    const char *begin = *list + strspn(*list, " ,\t");
    size_t len = strcspn(begin, ",");
    char host[GFS_HOST_NAME_MAX + 1];
    uint16_t port;

    *list = begin + len;
    while (len > 0 && (begin[len - 1] == ' ' || begin[len - 1] == '\t')) {
        len--;
    }

    if (len == 0) {
        return 0;
    }

    if (len >= size) {
        return gfs_err_set(err, GFS_EINVAL, "%s: an address is longer than %zu bytes", property,
                           size - 1);
    }

    memcpy(out, begin, len);
    out[len] = '\0';
    if (gfs_hostport_split(out, host, sizeof(host), &port) != 0 || port == 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s: '%s' is not host:port", property, out);
    }

    return 1;
}

static int default_rpc_address(struct gfsi_member *member, uint16_t port, struct gfs_err *err)
{
    char host[GFS_HOST_NAME_MAX + 1];
    uint16_t ignored;
    int n;

    (void)gfs_hostport_split(member->raft, host, sizeof(host), &ignored);
    n = snprintf(member->rpc, sizeof(member->rpc), strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                 host, port);
    return n > 0 && (size_t)n < sizeof(member->rpc)
               ? 0
               : gfs_err_set(err, GFS_EINVAL, "%s: '%s' is too long", JOURNAL_PROPERTY,
                             member->raft);
}

static int parse_journal(const struct gfsi_members_config *config, struct gfsi_members *out,
                         struct gfs_err *err)
{
    const char *list = config->journal_addresses;
    char address[GFSI_MEMBER_ADDRESS_MAX];
    int rc;

    while ((rc = next_address(&list, JOURNAL_PROPERTY, address, sizeof(address), err)) == 1) {
        if (out->n == GFSI_MEMBERS_MAX) {
            return gfs_err_set(err, GFS_EINVAL, "%s: more than %d masters", JOURNAL_PROPERTY,
                               GFSI_MEMBERS_MAX);
        }

        if (gfsi_members_by_raft(out, address) != 0) {
            return gfs_err_set(err, GFS_EINVAL, "%s: '%s' is there twice", JOURNAL_PROPERTY,
                               address);
        }

        (void)gfs_str_copy(out->v[out->n].raft, sizeof(out->v[0].raft), address);
        rc = default_rpc_address(&out->v[out->n], config->rpc_port, err);
        if (rc != 0) {
            return rc;
        }

        out->n++;
    }

    if (rc == 0 && out->n % 2 == 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "%s names %zu masters: the number has to be odd (1, 3, 5), so that a "
                           "majority is clear",
                           JOURNAL_PROPERTY, out->n);
    }

    return rc;
}

static int parse_rpc(const struct gfsi_members_config *config, struct gfsi_members *out,
                     struct gfs_err *err)
{
    const char *list = config->rpc_addresses;
    char address[GFSI_MEMBER_ADDRESS_MAX];
    size_t n = 0;
    int rc;

    while ((rc = next_address(&list, RPC_PROPERTY, address, sizeof(address), err)) == 1) {
        if (n < out->n) {
            (void)gfs_str_copy(out->v[n].rpc, sizeof(out->v[n].rpc), address);
        }
        n++;
    }

    if (rc == 0 && n != 0 && n != out->n) {
        return gfs_err_set(err, GFS_EINVAL,
                           "%s has %zu addresses, %s has %zu: both name the same masters in the "
                           "same order",
                           RPC_PROPERTY, n, JOURNAL_PROPERTY, out->n);
    }

    return rc;
}

int gfsi_members_parse(const struct gfsi_members_config *config, struct gfsi_members *out,
                       struct gfs_err *err)
{
    struct gfsi_members members = {.n = 0};
    char self[GFS_HOST_NAME_MAX + 8];
    int rc;

    (void)snprintf(self, sizeof(self), strchr(config->hostname, ':') != NULL ? "[%s]:%u" : "%s:%u",
                   config->hostname, config->journal_port);
    if (*config->journal_addresses == '\0') {
        struct gfsi_members_config alone = *config;

        alone.journal_addresses = self;
        rc = parse_journal(&alone, &members, err);
    } else {
        rc = parse_journal(config, &members, err);
    }

    rc = rc != 0 ? rc : parse_rpc(config, &members, err);
    if (rc != 0) {
        return rc;
    }

    members.self = gfsi_members_by_raft(&members, self);
    if (members.self == 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "'%s' is not in %s=%s: goosefs.master.hostname and "
                           "goosefs.master.embedded.journal.port have to name one of them",
                           self, JOURNAL_PROPERTY, config->journal_addresses);
    }

    members.rpc_port = config->rpc_port;
    *out = members;
    return 0;
}

void gfsi_members_learn(struct gfsi_members *members, uint64_t id, const char *raft_address)
{
    const struct gfsi_member *known = gfsi_members_find(members, id);
    size_t n = members->n_learnt;
    struct gfsi_member *member;

    if ((known != NULL && strcmp(known->raft, raft_address) == 0) || n == GFSI_MEMBERS_LEARNT) {
        return;
    }

    members->learnt[n].id = id;
    member = &members->learnt[n].member;
    if (gfs_str_copy(member->raft, sizeof(member->raft), raft_address) != 0 ||
        default_rpc_address(member, members->rpc_port, NULL) != 0) {
        return;
    }

    __atomic_store_n(&members->n_learnt, n + 1, __ATOMIC_RELEASE);
}

const struct gfsi_member *gfsi_members_find(const struct gfsi_members *members, uint64_t id)
{
    /* The latest word first. */
    for (size_t i = __atomic_load_n(&members->n_learnt, __ATOMIC_ACQUIRE); i > 0; i--) {
        if (members->learnt[i - 1].id == id) {
            return &members->learnt[i - 1].member;
        }
    }

    return id >= 1 && id <= members->n ? &members->v[id - 1] : NULL;
}

uint64_t gfsi_members_by_raft(const struct gfsi_members *members, const char *address)
{
    for (size_t i = 0; i < members->n; i++) {
        if (strcmp(members->v[i].raft, address) == 0) {
            return i + 1;
        }
    }

    return 0;
}

uint64_t gfsi_hash_text(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *text != '\0'; text++) {
        h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
    }

    return h == 0 ? 1 : h;
}
