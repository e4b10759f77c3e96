#include "client_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void samples_init(struct samples *s, size_t max)
{
    *s = (struct samples){.v = calloc(max, sizeof(*s->v)), .max = max};
    if (s->v == NULL) {
        abort();
    }
}

void samples_add(struct samples *s, int64_t value)
{
    if (s->n < s->max) {
        s->v[s->n++] = value;
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

double samples_quantile(struct samples *s, double q)
{
    if (s->n == 0) {
        return 0;
    }

    qsort(s->v, s->n, sizeof(*s->v), compare);
    return (double)s->v[(size_t)(q * (double)(s->n - 1) + 0.5)];
}

void samples_free(struct samples *s)
{
    free(s->v);
    s->v = NULL;
}

size_t bench_key(uint64_t number, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "bench/%06u", (unsigned)(number % KEYS));
}

void bench_put_init(struct bench_put *put, uint64_t number)
{
    put->message = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    put->message.key.len = bench_key(number, put->key, sizeof(put->key));
    put->message.key.data = (uint8_t *)put->key;
    memset(put->value, (int)('a' + number % 26), sizeof(put->value));
    put->message.value = (ProtobufCBinaryData){.len = sizeof(put->value), .data = put->value};
}
