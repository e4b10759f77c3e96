/* Host names to addresses: a static table in the form of /etc/hosts first, then the resolver.
 * The local platform gives each "pod" a 127.x address and a name without touching /etc/hosts; the
 * file's path is the property goosefs.network.hosts.file.
 *
 * Thread: a table is read-only after loading; any thread may look up. */
#ifndef GFS_BASE_HOSTS_H
#define GFS_BASE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_HOSTS_MAX     4096 /* entries in one file */
#define GFS_HOST_NAME_MAX 253  /* RFC 1035 */

struct gfs_hosts;

/* `file` may be "" or NULL: an empty table. *out is freed with gfs_hosts_free. */
int gfs_hosts_load(const char *file, struct gfs_hosts **out, struct gfs_err *err);
struct gfs_hosts *gfs_hosts_free(struct gfs_hosts *hosts);

/* The address of `name` in the table as text, NULL when it is not there. Borrowed. `hosts` may be
 * NULL. Does not ask the resolver. */
const char *gfs_hosts_find(const struct gfs_hosts *hosts, const char *name);

/* Splits "host:port" or "[v6]:port" into parts. */
int gfs_hostport_split(const char *address, char *host, size_t host_size, uint16_t *out_port);

/* "name:port" -> "127.1.0.1:port" when the table has the name, else a copy of the input: what a
 * client connects to. */
int gfs_hosts_target(const struct gfs_hosts *hosts, const char *address, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
