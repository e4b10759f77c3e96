/* The parts of the control socket: control.c (the calls) and waiters.c (those answered later). */
#ifndef GFSI_CONTROLLER_CONTROL_PRIV_H
#define GFSI_CONTROLLER_CONTROL_PRIV_H

#include <gfs/rpc/server.h>

struct gfsi_local;

enum gfsi_condition { GFSI_WAIT_READY, GFSI_WAIT_BOUND, GFSI_WAIT_NOT_BOUND, GFSI_WAIT_DELETE };

/* "condition=Ready", "phase=Bound", ...: GFS_EINVAL for others. */
int gfsi_condition_parse(const char *text, enum gfsi_condition *out);

const char *gfsi_namespace(const char *ns); /* "default" for "" */

/* A resource, or -1 and the call is answered. */
int gfsi_resource_or_fail(struct gfs_rpc_call *call, const char *name);

/* On the loop; the call is answered once it is so. */
void gfsi_control_delete(struct gfsi_local *local, struct gfs_rpc_call *call,
                         const ProtobufCMessage *message);
void gfsi_control_wait(struct gfsi_local *local, struct gfs_rpc_call *call,
                       const ProtobufCMessage *message);
void gfsi_waiters_drop(struct gfsi_local *local); /* the end */

#endif
