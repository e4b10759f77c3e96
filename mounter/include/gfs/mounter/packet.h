/* One packet of a SOCK_SEQPACKET socket with the descriptors that go along. Never waits. Thread:
 * one at a time per socket. */
#ifndef GFS_MOUNTER_PACKET_H
#define GFS_MOUNTER_PACKET_H

#include <stddef.h>
#include <sys/types.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_PACKET_FDS_MAX 4

/* Sends all or nothing; the descriptors stay the caller's. GFS_EUNAVAIL when the peer is gone, or
 * does not read and its socket is full. */
int gfs_packet_send(int socket_fd, const void *data, size_t len, const int *fds, size_t n_fds);

/* Bytes received into `buf`, 0 at the end of the conversation, GFS_ETIMEOUT when there is nothing
 * now, GFS_EPROTO for a packet that is longer than `size`. *n_fds: how many of `fds` (room for
 * GFS_PACKET_FDS_MAX) came along, close-on-exec and the caller's to close, also with GFS_EPROTO;
 * more than that are closed. */
ssize_t gfs_packet_recv(int socket_fd, void *buf, size_t size, int *fds, size_t *n_fds);

#ifdef __cplusplus
}
#endif
#endif
