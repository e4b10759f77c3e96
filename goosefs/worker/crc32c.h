/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): of each cached block. */
#ifndef GFSI_WORKER_CRC32C_H
#define GFSI_WORKER_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over the bytes. Thread: any. */
uint32_t gfsi_crc32c(uint32_t crc, const void *data, size_t len);

/* The portable form, which the other one is tested against. */
uint32_t gfsi_crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
