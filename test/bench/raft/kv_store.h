/* The state machine of raft_bench_node: keys and values in memory. Thread: any. */
#ifndef BENCH_KV_STORE_H
#define BENCH_KV_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <raft/node.h>

#define BENCH_KV_BUCKETS   16384 /* chains; entries are limited by BENCH_KV_MAX */
#define BENCH_KV_MAX       65536 /* keys; beyond, a put is refused with -1 */
#define BENCH_KV_KEY_MAX   255
#define BENCH_KV_VALUE_MAX 1024

struct bench_kv;

struct bench_kv *bench_kv_new(void);
void bench_kv_free(struct bench_kv *kv); /* accepts NULL */

/* The log entry of a put, into @out of at least BENCH_KV_ENTRY_MAX bytes. Its length; 0 when key or
 * value are too long. */
#define BENCH_KV_ENTRY_MAX (1 + BENCH_KV_KEY_MAX + BENCH_KV_VALUE_MAX)
size_t bench_kv_entry(uint8_t *out, const void *key, size_t key_len, const void *value,
                      size_t value_len);

/* Copies the value into @out (BENCH_KV_VALUE_MAX bytes). Its length, or -1 when there is none. */
int bench_kv_get(struct bench_kv *kv, const void *key, size_t key_len, uint8_t *out);

/* The functions Raft calls. */
struct raft_fsm bench_kv_fsm(struct bench_kv *kv);

#endif
