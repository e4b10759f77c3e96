/* Methods of MetaMaster that change the Raft group, and the way back into it. */
#ifndef GFSI_QUORUM_PRIV_H
#define GFSI_QUORUM_PRIV_H

#include "request_priv.h"

#include "goosefs_master.pb-c.h"

void gfsi_on_quorum_info(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_transfer(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_add_server(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_promote_server(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_remove_server(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_rejoin(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_checkpoint(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);

/* meta_service.c; strings and bytes stay with @m and @peer. */
void gfsi_info_master(const struct gfs_master *m, const struct raft_node_peer_status *peer,
                      Goosefs__V1__MasterAddress *out);

/* ---- rejoin.c ------------------------------------------------------------------------------- */

/* What the other masters think of the one at this address. */
enum gfsi_standing {
    GFSI_STANDING_FOUNDER,  /* nobody knows of a journal of its: it may found the group with them */
    GFSI_STANDING_LOST,     /* they know it by a journal that it does not have */
    GFSI_STANDING_STRANGER, /* there is a group, and it is not in it */
    GFSI_STANDING_MEMBER,   /* they know it by the journal it has */
};

/* Asks the other masters of the list; who does not answer soon is left out. `incarnation`: of the
 * own journal, NULL when there is none. Blocks for a moment for each that is silent. */
enum gfsi_standing gfsi_standing_ask(struct gfs_master *m, const uint8_t *incarnation);

/* A thread that ends once this master is a voter by the journal it has. */
int gfsi_rejoin_start(struct gfs_master *m, struct gfs_err *err);
void gfsi_rejoin_join(struct gfs_master *m); /* after m->stopped */

#endif
