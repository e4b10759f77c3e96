#include "trail_priv.h"

#include <assert.h>

#define TRAIL_MIN_CAP 64u

void raft_trail_reset(struct raft_trail *t, raft_index index, raft_term term)
{
    t->first = index + 1;
    t->last = index;
    t->prev_term = term;
    t->runs_head = 0;
    t->runs_count = 0;
}

void raft_trail_free(struct raft_trail *t, const struct raft_alloc *a)
{
    a->resize(a->ctx, t->runs, 0);
    a->resize(a->ctx, t->sizes, 0);
    *t = (struct raft_trail){0};
}

static uint64_t round_up(uint64_t n)
{
    uint64_t cap = TRAIL_MIN_CAP;

    while (cap < n) {
        cap *= 2;
    }

    return cap;
}

static int grow_runs(struct raft_trail *t, const struct raft_alloc *a, uint64_t need)
{
    struct raft_trail_run *runs;
    uint64_t cap = round_up(need);

    runs = a->resize(a->ctx, NULL, cap * sizeof(*runs));
    if (!runs) {
        return RAFT_ERR_NOMEM;
    }

    for (uint64_t i = 0; i < t->runs_count; i++) {
        runs[i] = t->runs[(t->runs_head + i) & (t->runs_cap - 1)];
    }

    a->resize(a->ctx, t->runs, 0);
    t->runs = runs;
    t->runs_cap = cap;
    t->runs_head = 0;
    return RAFT_OK;
}

static int grow_sizes(struct raft_trail *t, const struct raft_alloc *a, uint64_t need)
{
    uint32_t *sizes;
    uint64_t cap = round_up(need);

    sizes = a->resize(a->ctx, NULL, cap * sizeof(*sizes));
    if (!sizes) {
        return RAFT_ERR_NOMEM;
    }

    for (raft_index i = t->first; i <= t->last; i++) {
        sizes[i & (cap - 1)] = t->sizes[i & (t->sizes_cap - 1)];
    }

    a->resize(a->ctx, t->sizes, 0);
    t->sizes = sizes;
    t->sizes_cap = cap;
    return RAFT_OK;
}

int raft_trail_reserve(struct raft_trail *t, const struct raft_alloc *a, uint64_t n)
{
    uint64_t entries = t->last + 1 - t->first + n;

    if (t->runs_count + n > t->runs_cap && grow_runs(t, a, t->runs_count + n) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    if (entries > t->sizes_cap && grow_sizes(t, a, entries) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    return RAFT_OK;
}

static struct raft_trail_run *run_at(const struct raft_trail *t, uint64_t i)
{
    return &t->runs[(t->runs_head + i) & (t->runs_cap - 1)];
}

void raft_trail_append(struct raft_trail *t, raft_term term, uint32_t size)
{
    raft_term last_term = raft_trail_last_term(t);

    assert(term >= last_term);
    assert(t->last + 1 - t->first < t->sizes_cap);

    t->last++;
    t->sizes[t->last & (t->sizes_cap - 1)] = size;

    if (t->runs_count == 0 || term != last_term) {
        assert(t->runs_count < t->runs_cap);
        t->runs_count++;
        *run_at(t, t->runs_count - 1) = (struct raft_trail_run){.first = t->last, .term = term};
    }
}

void raft_trail_truncate(struct raft_trail *t, raft_index last)
{
    assert(last + 1 >= t->first);

    if (last >= t->last) {
        return;
    }

    t->last = last;
    while (t->runs_count > 0 && run_at(t, t->runs_count - 1)->first > last) {
        t->runs_count--;
    }
}

void raft_trail_trim(struct raft_trail *t, raft_index first)
{
    assert(first <= t->last + 1);

    if (first <= t->first) {
        return;
    }

    t->prev_term = raft_trail_term(t, first - 1);
    t->first = first;

    /* A run goes when the next one (or nothing) covers the new first entry. */
    while (t->runs_count > 1 && run_at(t, 1)->first <= first) {
        t->runs_head = (t->runs_head + 1) & (t->runs_cap - 1);
        t->runs_count--;
    }

    if (t->first > t->last) {
        t->runs_count = 0;
    } else if (run_at(t, 0)->first < first) {
        run_at(t, 0)->first = first;
    }
}

/* The run that holds `index`, which is in the trail: the last one that does not begin after it. */
static uint64_t find_run(const struct raft_trail *t, raft_index index)
{
    uint64_t low = 0;
    uint64_t high = t->runs_count;

    /* Most questions are about the end of the log. */
    if (run_at(t, high - 1)->first <= index) {
        return high - 1;
    }

    while (high - low > 1) {
        uint64_t mid = low + (high - low) / 2;

        if (run_at(t, mid)->first <= index) {
            low = mid;
        } else {
            high = mid;
        }
    }

    return low;
}

raft_term raft_trail_term(const struct raft_trail *t, raft_index index)
{
    if (index + 1 == t->first) {
        return t->prev_term;
    }

    if (index < t->first || index > t->last) {
        return 0;
    }

    return run_at(t, find_run(t, index))->term;
}

uint32_t raft_trail_size(const struct raft_trail *t, raft_index index)
{
    assert(index >= t->first && index <= t->last);

    return t->sizes[index & (t->sizes_cap - 1)];
}

raft_term raft_trail_last_term(const struct raft_trail *t)
{
    return t->runs_count > 0 ? run_at(t, t->runs_count - 1)->term : t->prev_term;
}

raft_index raft_trail_meet(const struct raft_trail *t, raft_index index, raft_term term)
{
    uint64_t run;

    if (index > t->last) {
        index = t->last;
    }

    if (index < t->first) {
        return index;
    }

    run = find_run(t, index);
    if (run_at(t, run)->term <= term) {
        return index;
    }

    while (run > 0 && run_at(t, run)->term > term) {
        run--;
    }

    if (run_at(t, run)->term > term) {
        return t->first - 1;
    }

    return run_at(t, run + 1)->first - 1;
}
