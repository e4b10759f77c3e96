/* A file tree made up by arithmetic, the same in every process: what survival_client serves and
 * survival_test compares with.
 *
 *   /f0 .. /f7      SIZE bytes each            /empty          0 bytes
 *   /big            5 GiB                      /many/e0000000 .. ENTRIES small files
 *   /deep/a/b/leaf  100 bytes                  /nnn..n         255 letters, 100 bytes */
#ifndef SURVIVAL_BACKEND_H
#define SURVIVAL_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/fuse/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SURVIVAL_FILES    8
#define SURVIVAL_BIG_SIZE (UINT64_C(5) << 30)

struct survival_tree {
    uint64_t size;               /* of f0..f7 */
    uint64_t entries;            /* of /many */
    unsigned delay_us;           /* of each read */
    const char *stuck;           /* while there is such a file reads never end; NULL: none */
    const char *hang;            /* reads do not come back while this file exists; may be NULL */
    const char *renumber;        /* once there is such a file all ids are other ones; may be NULL */
    int backing[SURVIVAL_FILES]; /* descriptor + 1 of a file's copy, 0: not made yet */
};

extern const struct gfs_fuse_backend_ops survival_backend_ops; /* ctx: struct survival_tree * */

/* The same with backing files for f0..f7. */
extern const struct gfs_fuse_backend_ops survival_backing_ops;

/* The bytes of inode `ino` at `offset`. */
void survival_fill(uint64_t ino, uint64_t offset, void *buf, size_t size);
uint64_t survival_ino_of_file(unsigned index); /* of /f<index> */
uint64_t survival_ino_of_big(void);

#ifdef __cplusplus
}
#endif
#endif
