/* Memory of one object or one plan: everything in it is freed at once. A manifest, a desired state
 * and a status are each built, used and thrown away whole, so single frees would only be bugs.
 *
 * Not thread-safe. */
#ifndef GFS_CONTROLLER_ARENA_H
#define GFS_CONTROLLER_ARENA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_arena;

/* `max`: bytes handed out over the arena's life. NULL when out of memory. */
struct gfs_arena *gfs_arena_new(size_t max);
struct gfs_arena *gfs_arena_free(struct gfs_arena *arena);

/* Zeroed, aligned for any type. NULL when out of memory or over the maximum. */
void *gfs_arena_alloc(struct gfs_arena *arena, size_t size);

/* Copies with a NUL behind. NULL like alloc. */
char *gfs_arena_dup(struct gfs_arena *arena, const char *s, size_t len);
char *gfs_arena_strdup(struct gfs_arena *arena, const char *s);
char *gfs_arena_printf(struct gfs_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
