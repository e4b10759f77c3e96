#include <gfs/controller/arena.h>

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (16u << 10)
#define ALIGN       _Alignof(max_align_t)

struct block {
    struct block *next;
    size_t used;
    size_t size;
    _Alignas(max_align_t) char data[];
};

struct gfs_arena {
    struct block *blocks; /* newest first; small allocations come from the first */
    size_t total;
    size_t max;
};

struct gfs_arena *gfs_arena_new(size_t max)
{
    struct gfs_arena *arena = calloc(1, sizeof(*arena));

    if (arena != NULL) {
        arena->max = max;
    }

    return arena;
}

struct gfs_arena *gfs_arena_free(struct gfs_arena *arena)
{
    if (arena == NULL) {
        return NULL;
    }

    while (arena->blocks != NULL) {
        struct block *block = arena->blocks;

        arena->blocks = block->next;
        free(block);
    }

    free(arena);
    return NULL;
}

static struct block *add_block(struct gfs_arena *arena, size_t need)
{
    size_t size = need > BLOCK_BYTES ? need : BLOCK_BYTES;
    struct block *block = calloc(1, sizeof(*block) + size);

    if (block != NULL) {
        block->size = size;
        block->next = arena->blocks;
        arena->blocks = block;
    }

    return block;
}

void *gfs_arena_alloc(struct gfs_arena *arena, size_t size)
{
    size_t need = (size + ALIGN - 1) / ALIGN * ALIGN;

    if (need < size || need > arena->max - arena->total) {
        return NULL;
    }

    struct block *block = arena->blocks;

    if (block == NULL || block->size - block->used < need) {
        block = add_block(arena, need);
    }
    if (block == NULL) {
        return NULL;
    }

    void *p = block->data + block->used;

    block->used += need;
    arena->total += need;
    return p;
}

char *gfs_arena_dup(struct gfs_arena *arena, const char *s, size_t len)
{
    char *copy = len < SIZE_MAX ? gfs_arena_alloc(arena, len + 1) : NULL;

    if (copy != NULL && len > 0) {
        memcpy(copy, s, len);
    }

    return copy;
}

char *gfs_arena_strdup(struct gfs_arena *arena, const char *s)
{
    return gfs_arena_dup(arena, s, strlen(s));
}

char *gfs_arena_printf(struct gfs_arena *arena, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);

    int len = vsnprintf(NULL, 0, fmt, ap);
    char *text = len >= 0 ? gfs_arena_alloc(arena, (size_t)len + 1) : NULL;

    if (text != NULL) {
        (void)vsnprintf(text, (size_t)len + 1, fmt, again);
    }

    va_end(again);
    va_end(ap);
    return text;
}
