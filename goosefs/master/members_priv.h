/* The masters as configured, and which of them this is. */
#ifndef GFSI_MEMBERS_PRIV_H
#define GFSI_MEMBERS_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_MEMBERS_MAX        15
#define GFSI_MEMBER_ADDRESS_MAX 104 /* "host:port" with NUL, as in Raft's configuration */

struct gfsi_member {
    char raft[GFSI_MEMBER_ADDRESS_MAX];
    char rpc[GFSI_MEMBER_ADDRESS_MAX];
};

/* More addresses than this that are not in the list are not remembered in one life. */
#define GFSI_MEMBERS_LEARNT 32

/*
 * Raft ids are positions in the list, counted from 1. The list founds the group; who belongs to it
 * later is Raft's to say. Addresses it names that are not in the list are added behind it and stay:
 * one thread learns, all may look.
 */
struct gfsi_members {
    size_t n;
    uint64_t self;
    struct gfsi_member v[GFSI_MEMBERS_MAX];
    uint16_t rpc_port; /* of whom the list does not know */
    size_t n_learnt;   /* published with release order */
    struct {
        uint64_t id;
        struct gfsi_member member;
    } learnt[GFSI_MEMBERS_LEARNT];
};

struct gfsi_members_config {
    const char *hostname;
    const char *journal_addresses; /* "" = this one alone */
    const char *rpc_addresses;     /* "" = the journal hosts with rpc_port */
    uint16_t rpc_port;
    uint16_t journal_port;
};

/* INVAL with a text that names the property: a count that is not odd, a duplicate, not in the list,
 * lists of different lengths. */
int gfsi_members_parse(const struct gfsi_members_config *config, struct gfsi_members *out,
                       struct gfs_err *err);

/* Raft says that this is the address of `id`. */
void gfsi_members_learn(struct gfsi_members *members, uint64_t id, const char *raft_address);

/* The member with this id, NULL when nothing is known of it. Valid as long as `members`. */
const struct gfsi_member *gfsi_members_find(const struct gfsi_members *members, uint64_t id);

/* The id of the master with this Raft address in the list, 0 when there is none. */
uint64_t gfsi_members_by_raft(const struct gfsi_members *members, const char *address);

/* Whose directory this is: made on first use, compared later. */
struct gfsi_identity {
    char uuid[33];
};

/* PRECONDITION when `dir` belongs to another cluster, master or version, with what to do. */
int gfsi_identity_open(const char *dir, const char *cluster, const struct gfsi_members *members,
                       struct gfsi_identity *out, struct gfs_err *err);

/* FNV-1a of a text, never 0. */
uint64_t gfsi_hash_text(const char *text);

#ifdef __cplusplus
}
#endif
#endif
