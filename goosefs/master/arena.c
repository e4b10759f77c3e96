/* Memory that lives until the reply is sent. */
#include "request_priv.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)64 << 10)

struct gfsi_arena_chunk {
    struct gfsi_arena_chunk *next;
    size_t used;
    size_t cap;
    char data[] __attribute__((aligned(16)));
};

void *gfsi_arena_alloc(struct gfsi_arena *arena, size_t size)
{
    struct gfsi_arena_chunk *chunk = arena->chunks;
    void *p;

    size = (size + 15) & ~(size_t)15;
    if (chunk == NULL || chunk->cap - chunk->used < size) {
        size_t cap = size > CHUNK ? size : CHUNK;

        chunk = calloc(1, sizeof(*chunk) + cap);
        if (chunk == NULL) {
            return NULL;
        }

        chunk->cap = cap;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }

    p = chunk->data + chunk->used;
    chunk->used += size;
    arena->bytes += size;
    return p;
}

char *gfsi_arena_text(struct gfsi_arena *arena, const char *s, size_t len)
{
    char *copy = gfsi_arena_alloc(arena, len + 1);

    if (copy != NULL && len > 0) {
        memcpy(copy, s, len);
    }

    return copy;
}

void gfsi_arena_fini(struct gfsi_arena *arena)
{
    while (arena->chunks != NULL) {
        struct gfsi_arena_chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }

    arena->bytes = 0;
}
