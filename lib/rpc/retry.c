/* Pace of retries. See "gRFC A6: client retries" for the token bucket; unlike there an empty bucket
 * slows down and does not give up: callers promise their users to try until the deadline. */
#include <gfs/rpc/client.h>

#define BASE_NS     (20 * GFS_NS_PER_MS)
#define MAX_NS      (1 * GFS_NS_PER_S)
#define FAIL_TOKENS 10
#define OK_TOKENS   1

void gfs_rpc_retry_init(struct gfs_rpc_retry *retry, int64_t deadline,
                        struct gfs_rpc_retry_budget *budget)
{
    *retry = (struct gfs_rpc_retry){.deadline = deadline, .budget = budget};
    gfs_backoff_init(&retry->backoff, BASE_NS, MAX_NS,
                     (uint64_t)gfs_clock_mono() ^ (uint64_t)(uintptr_t)retry);
}

/* Books the outcome; whether the bucket is above half. */
static bool book(struct gfs_rpc_retry_budget *budget, bool success)
{
    const int32_t delta = success ? OK_TOKENS : -FAIL_TOKENS;
    int32_t old = __atomic_load_n(&budget->tokens, __ATOMIC_RELAXED);
    int32_t now;
    do {
        now = old + delta;
        now = now < 0 ? 0 : now;
        now = now > GFS_RPC_RETRY_TOKENS ? GFS_RPC_RETRY_TOKENS : now;
    } while (!__atomic_compare_exchange_n(&budget->tokens, &old, now, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return now > GFS_RPC_RETRY_TOKENS / 2;
}

bool gfs_rpc_retry_delay(struct gfs_rpc_retry *retry, int code, int64_t *out_delay)
{
    const bool failed = code < 0 && gfs_err_retryable(code);
    const bool plenty = retry->budget == NULL || book(retry->budget, !failed);
    if (!failed) {
        return false;
    }

    int64_t delay = gfs_backoff_next(&retry->backoff);
    if (!plenty && delay < retry->backoff.max_ns / 2) {
        delay += retry->backoff.max_ns / 2;
    }
    const int64_t now = gfs_clock_mono();
    if (retry->deadline != GFS_RPC_NO_DEADLINE && retry->deadline - now <= delay) {
        return false;
    }
    retry->tries++;
    *out_delay = delay;
    return true;
}

bool gfs_rpc_retry_again(struct gfs_rpc_retry *retry, int code)
{
    int64_t delay;
    if (!gfs_rpc_retry_delay(retry, code, &delay)) {
        return false;
    }
    gfs_clock_sleep_until(gfs_clock_mono() + delay);
    return true;
}
