/* Session memfds that come from somebody else: a client, a launcher. */
#ifndef GFSI_SESSION_TAKE_H
#define GFSI_SESSION_TAKE_H

#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/mounter/session.h>

/* Maps the memfd if it is the session with `cookie`, of the right size and sealed against another
 * one: a shrinking file would make reading it fatal. */
int gfsi_session_take(int fd, uint64_t cookie, struct gfs_session **out, struct gfs_err *err);

/* Are both the same file? */
int gfsi_session_same(int ours, int theirs, struct gfs_err *err);

#endif
