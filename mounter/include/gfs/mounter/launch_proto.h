/* What a keeper and a launcher say to each other. A launcher starts FUSE clients where the keeper
 * cannot: in the pod NAME-fuse-xxxxx, without privileges (`goosefs-fuse launcher --directory DIR`).
 *
 * Place: a mount whose spec names `launch` = DIR has its clients started by the launcher of DIR.
 * The keeper listens at DIR/GFS_LAUNCH_SUBDIR/GFS_LAUNCH_SOCKET (directory 0750, socket 0660, both
 * of the group the client runs as) as long as it holds such a mount; only the launcher's pod has
 * DIR, so the path authenticates, and SO_PEERCRED must be the client's uid or root. One launcher
 * per DIR at a time: the second is closed and tries again.
 *
 * Transport and framing are those of <gfs/mounter/keeper_proto.h>; nothing is a reply but HELLO's.
 *
 *   launcher: HELLO    VERSION           first; answered with STATUS, VERSION
 *   launcher: HELD     ID, PID           for each mount it already has, after an earlier keeper:
 *                                        PID 0, or of the client that runs. Descriptors: FUSE
 *                                        device, session memfd, the keeper's end of the control
 *                                        socket, and a pidfd if PID is not 0
 *   launcher: READY                      no more HELD: may be given SPAWN
 *   keeper:   SPAWN    ID, ARG..., ENV...  start a client: the launcher's own program with these
 *                                        arguments behind its name and this environment only.
 *                                        Descriptors: FUSE device, session memfd, the client's end
 *                                        of the control socket, the keeper's end. The launcher
 *                                        keeps all but the third until DROP or the next SPAWN
 *   launcher: STARTED  ID, PID           `seq` of the SPAWN; descriptor: pidfd
 *   launcher: EXITED   ID, PID, STATUS, TEXT  `seq` of the SPAWN; PID 0: it could not be started,
 *                                        STATUS is an error code; else STATUS is as of waitpid(2)
 *   keeper:   KILL     ID, SIGNAL        to the client of ID, if one runs
 *   keeper:   DROP     ID                unmounted: close the descriptors kept
 *
 * PID is of the launcher's pid namespace: to report only; who must know watches the pidfd, which
 * works across namespaces.
 *
 * Deaths. The launcher's: its clients die with it (they are its pid namespace, and have asked for
 * SIGKILL at its death); the keeper waits for the next one, callers wait. The keeper's: the
 * launcher and its clients go on; the next keeper gets HELD. Both: the connection is lost, and
 * mounted anew when keeper and launcher have found each other. */
#ifndef GFS_MOUNTER_LAUNCH_PROTO_H
#define GFS_MOUNTER_LAUNCH_PROTO_H

#include <gfs/mounter/keeper_proto.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_LAUNCH_SUBDIR     "launch"
#define GFS_LAUNCH_SOCKET     "keeper.sock"
#define GFS_LAUNCH_ID         64532 /* uid and gid of clients without privileges, unless said */
#define GFS_LAUNCH_MOUNTS_MAX 16    /* of one launcher; then EXITED with BUSY */
#define GFS_LAUNCH_FDS_MAX    4     /* of one message */

/* Message types, beside GFS_KEEPER_HELLO. */
enum gfs_launch_type {
    GFS_LAUNCH_HELD = 32,
    GFS_LAUNCH_READY = 33,
    GFS_LAUNCH_SPAWN = 34,
    GFS_LAUNCH_STARTED = 35,
    GFS_LAUNCH_EXITED = 36,
    GFS_LAUNCH_KILL = 37,
    GFS_LAUNCH_DROP = 38,
};

#ifdef __cplusplus
}
#endif
#endif
