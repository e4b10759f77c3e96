/* CRC32C (Castagnoli), as iSCSI and ext4 use it. */
#ifndef RAFT_WAL_CRC32C_H
#define RAFT_WAL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Checksum of @len bytes, continuing @crc (0 at the start). */
uint32_t rafti_crc32c(uint32_t crc, const void *data, size_t len);

/* The same without special instructions; tests compare the two. */
uint32_t rafti_crc32c_portable(uint32_t crc, const void *data, size_t len);

#ifdef __cplusplus
}
#endif

#endif
