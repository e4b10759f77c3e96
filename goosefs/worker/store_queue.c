/* What is to be fetched, and the threads that do it. Fills of reads come before background ranges;
 * at most half of the threads work on ranges, which take turns block by block. */
#include <stdlib.h>

#include "store_priv.h"

int gfsi_fill_enqueue(struct gfsi_store *store, struct gfsi_extent *extent, uint32_t block,
                      struct gfsi_wait *wait, struct gfs_err *err)
{
    struct gfsi_fill *fill = extent->fills;

    while (fill != NULL && fill->block != block) {
        fill = fill->next_in_extent;
    }
    if (fill == NULL) {
        if (store->cancelled) {
            return gfs_err_set(err, GFS_ECANCELLED, "worker is stopping");
        }
        if (store->n_queued >= store->config.queue_max) {
            return gfs_err_set(err, GFS_EBUSY, "%u fetches are waiting already", store->n_queued);
        }
        fill = calloc(1, sizeof(*fill));
        if (fill == NULL) {
            return gfs_err_set(err, GFS_ENOMEM, "out of memory");
        }
        fill->extent = extent;
        fill->block = block;
        fill->suspect = extent->blocks[block] == GFSI_BLOCK_SUSPECT;
        fill->queued = true;
        fill->next_in_extent = extent->fills;
        extent->fills = fill;
        extent->blocks[block] = GFSI_BLOCK_FILLING;
        gfsi_extent_pin(extent);
        if (store->queue_tail != NULL) {
            store->queue_tail->next_in_queue = fill;
        } else {
            store->queue_head = fill;
        }
        store->queue_tail = fill;
        store->n_queued++;
        (void)pthread_cond_signal(&store->work);
    }
    wait->next = fill->waits;
    fill->waits = wait;
    wait->read->pending++;
    return 0;
}

int gfsi_range_enqueue(struct gfsi_store *store, struct gfsi_extent *extent, uint32_t block,
                       uint32_t end)
{
    if (store->cancelled) {
        return GFS_ECANCELLED;
    }
    for (const struct gfsi_range *r = store->ranges_head; r != NULL; r = r->next) {
        if (r->extent == extent && r->block <= block && end <= r->end) {
            return 0;
        }
    }
    if (store->n_ranges >= GFSI_RANGES_MAX) {
        return GFS_EBUSY;
    }

    struct gfsi_range *range = calloc(1, sizeof(*range));

    if (range == NULL) {
        return GFS_ENOMEM;
    }
    *range = (struct gfsi_range){.extent = extent, .block = block, .end = end};
    gfsi_extent_pin(extent);
    if (store->ranges_tail != NULL) {
        store->ranges_tail->next = range;
    } else {
        store->ranges_head = range;
    }
    store->ranges_tail = range;
    store->n_ranges++;
    (void)pthread_cond_signal(&store->work);
    return 0;
}

static struct gfsi_fill *pop_fill(struct gfsi_store *store)
{
    struct gfsi_fill *fill = store->queue_head;

    if (fill != NULL) {
        store->queue_head = fill->next_in_queue;
        if (store->queue_head == NULL) {
            store->queue_tail = NULL;
        }
        fill->next_in_queue = NULL;
        fill->queued = false;
        store->n_queued--;
    }
    return fill;
}

static struct gfsi_range *pop_range(struct gfsi_store *store)
{
    struct gfsi_range *range = store->ranges_head;

    store->ranges_head = range->next;
    if (store->ranges_head == NULL) {
        store->ranges_tail = NULL;
    }
    range->next = NULL;
    store->n_ranges--;
    return range;
}

static void push_range(struct gfsi_store *store, struct gfsi_range *range)
{
    if (store->ranges_tail != NULL) {
        store->ranges_tail->next = range;
    } else {
        store->ranges_head = range;
    }
    store->ranges_tail = range;
    store->n_ranges++;
}

/* The next block of a range as a fill nobody waits for yet; the range goes behind the others. */
static struct gfsi_fill *next_background(struct gfsi_store *store)
{
    while (store->ranges_head != NULL) {
        struct gfsi_range *range = pop_range(store);
        struct gfsi_extent *extent = range->extent;

        while (range->block < range->end && extent->blocks[range->block] != GFSI_BLOCK_EMPTY &&
               extent->blocks[range->block] != GFSI_BLOCK_SUSPECT) {
            range->block++;
        }

        struct gfsi_fill *fill =
            range->block < range->end && !extent->space.leaving ? calloc(1, sizeof(*fill)) : NULL;

        if (fill == NULL) {
            gfsi_extent_unpin(store, extent);
            free(range);
            continue;
        }
        fill->extent = extent;
        fill->block = range->block;
        fill->suspect = extent->blocks[range->block] == GFSI_BLOCK_SUSPECT;
        fill->next_in_extent = extent->fills;
        extent->fills = fill;
        extent->blocks[range->block] = GFSI_BLOCK_FILLING;
        gfsi_extent_pin(extent);
        range->block++;
        push_range(store, range);
        return fill;
    }
    return NULL;
}

void *gfsi_fetch_main(void *arg)
{
    struct gfsi_store *store = arg;
    unsigned background_max = store->config.fetch_threads > 1 ? store->config.fetch_threads / 2 : 1;

    (void)pthread_mutex_lock(&store->mutex);
    for (;;) {
        struct gfsi_fill *fill = pop_fill(store);

        if (fill != NULL) {
            gfsi_fill_run(store, fill);
            continue;
        }
        if (store->n_background < background_max && (fill = next_background(store)) != NULL) {
            store->n_background++;
            gfsi_fill_run(store, fill);
            store->n_background--;
            (void)pthread_cond_signal(&store->work);
            continue;
        }
        if (store->closing) {
            break;
        }
        (void)pthread_cond_broadcast(&store->settled);
        (void)pthread_cond_wait(&store->work, &store->mutex);
    }
    (void)pthread_mutex_unlock(&store->mutex);
    return NULL;
}

void gfsi_fills_cancel(struct gfsi_store *store)
{
    struct gfsi_fill *fill = NULL;

    while (store->ranges_head != NULL) {
        struct gfsi_range *range = pop_range(store);

        gfsi_extent_unpin(store, range->extent);
        free(range);
    }
    while ((fill = pop_fill(store)) != NULL) {
        gfsi_fill_run(store, fill); /* ends at once: the store is cancelled */
    }
}
