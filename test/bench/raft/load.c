/* Throughput with many clients, latency with one, and an overloaded machine. */
#include "client_priv.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#define CHANNELS    2
#define WARM_UP     (1 * GFS_NS_PER_S)
#define FLUSH_BYTES 4096
#define FLUSH_FILE  (1 << 20)

/* ---- closed loops --------------------------------------------------------------------------- */

struct load {
    bool read;
    atomic_bool stop;
    atomic_ulong done;
    atomic_ulong failed;
    struct gfs_rpc_channel *channels[CHANNELS];
};

struct loop {
    struct load *load;
    struct gfs_rpc_channel *channel;
    uint64_t random;
};

static void next_call(struct loop *loop);

static void answered(void *arg, const struct gfs_rpc_result *result, ProtobufCMessage *response)
{
    struct loop *loop = arg;

    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    (void)atomic_fetch_add(result->code == 0 ? &loop->load->done : &loop->load->failed, 1);
    if (!atomic_load(&loop->load->stop)) {
        next_call(loop);
    }
}

static void next_call(struct loop *loop)
{
    struct bench_put put;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    int64_t deadline = gfs_clock_mono() + 10 * GFS_NS_PER_S;

    loop->random = loop->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    bench_put_init(&put, loop->random >> 33);
    range.key = put.message.key;
    if (gfs_rpc_call_async(loop->channel, &etcdserverpb__kv__descriptor,
                           loop->load->read ? "Range" : "Put",
                           loop->load->read ? &range.base : &put.message.base, deadline, answered,
                           loop, NULL) != 0) {
        (void)atomic_fetch_add(&loop->load->failed, 1);
    }
}

/* CPU time all nodes have used, seconds. */
static double nodes_cpu(const struct cluster *c)
{
    double ticks = 0;

    for (unsigned i = 0; i < NODES; i++) {
        char path[64];
        char line[1024];
        const char *end;
        unsigned long user, kernel;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)c->pids[i]);
        FILE *file gfs_auto_file = fopen(path, "re");
        if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
            continue;
        }

        end = strrchr(line, ')'); /* the name may hold anything; utime and stime are 14 and 15 */
        if (end != NULL && sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                  &user, &kernel) == 2) {
            ticks += (double)(user + kernel);
        }
    }

    return ticks / (double)sysconf(_SC_CLK_TCK);
}

struct rate {
    double per_s;  /* calls answered */
    double cpu_us; /* CPU time of all nodes per call */
};

static struct rate run(struct cluster *c, bool read, unsigned clients, unsigned seconds)
{
    struct load load = {.read = read};
    struct loop *loops gfs_auto_free = calloc(clients, sizeof(*loops));
    unsigned leader = cluster_settled(c, NULL);
    unsigned long before;
    unsigned long done;
    int64_t begin;
    double cpu;
    double took;

    for (unsigned i = 0; i < CHANNELS; i++) {
        load.channels[i] = cluster_channel(c, leader);
    }

    for (unsigned i = 0; loops != NULL && i < clients; i++) {
        loops[i] = (struct loop){&load, load.channels[i % CHANNELS], i + 1};
        next_call(&loops[i]);
    }

    gfs_clock_sleep_until(gfs_clock_mono() + WARM_UP);
    before = atomic_load(&load.done);
    cpu = nodes_cpu(c);
    begin = gfs_clock_mono();
    gfs_clock_sleep_until(begin + seconds * GFS_NS_PER_S);
    done = atomic_load(&load.done) - before;
    took = (double)(gfs_clock_mono() - begin) / (double)GFS_NS_PER_S;
    cpu = nodes_cpu(c) - cpu;
    atomic_store(&load.stop, true);
    for (unsigned i = 0; i < CHANNELS; i++) {
        load.channels[i] = gfs_rpc_channel_free(load.channels[i]);
    }

    if (atomic_load(&load.failed) > clients) { /* those cut off at the end are none */
        (void)fprintf(stderr, "raft_bench_client: %lu calls failed\n", atomic_load(&load.failed));
    }

    return (struct rate){(double)done / took, done == 0 ? 0 : cpu * 1e6 / (double)done};
}

void measure_load(struct cluster *c, unsigned clients, unsigned seconds)
{
    struct rate writes = run(c, false, clients, seconds);
    struct rate reads = run(c, true, clients, seconds);

    (void)printf("writes_per_s %.0f\nreads_per_s %.0f\n", writes.per_s, reads.per_s);
    (void)printf("write_cpu_us %.1f\nread_cpu_us %.1f\n", writes.cpu_us, reads.cpu_us);
}

/* ---- one client ----------------------------------------------------------------------------- */

/* A file as a log segment is: allocated and written before, on the nodes' disk. */
static int flush_file(const struct cluster *c)
{
    static const char zero[FLUSH_FILE];
    char path[512];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/flush", c->dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, zero, sizeof(zero)) != (ssize_t)sizeof(zero) || fsync(fd) != 0) {
        perror(path);
        exit(1);
    }

    return fd;
}

static int64_t one_flush(int fd, unsigned number)
{
    static const char block[FLUSH_BYTES] = "x";
    int64_t begin = gfs_clock_mono();
    off_t at = (off_t)(number % (FLUSH_FILE / FLUSH_BYTES)) * FLUSH_BYTES;

    if (pwrite(fd, block, sizeof(block), at) != (ssize_t)sizeof(block) || fdatasync(fd) != 0) {
        perror("flush");
        exit(1);
    }

    return gfs_clock_mono() - begin;
}

static int64_t one_write(struct cluster *c, unsigned leader, unsigned number)
{
    struct bench_put put;
    ProtobufCMessage *response = NULL;
    int64_t begin = gfs_clock_mono();
    struct gfs_err err = GFS_ERR_INIT;

    bench_put_init(&put, number);
    if (gfs_rpc_call_sync(c->channels[leader], &etcdserverpb__kv__descriptor, "Put",
                          &put.message.base, &response, begin + 10 * GFS_NS_PER_S, &err) != 0) {
        (void)fprintf(stderr, "raft_bench_client: put: %s\n", err.text);
        return gfs_clock_mono() - begin;
    }

    protobuf_c_message_free_unpacked(response, NULL);
    return gfs_clock_mono() - begin;
}

void measure_latency(struct cluster *c, unsigned rounds)
{
    struct samples flush, trip, put;
    unsigned leader = cluster_settled(c, NULL);
    int fd gfs_auto_fd = flush_file(c);

    samples_init(&flush, rounds);
    samples_init(&trip, rounds);
    samples_init(&put, rounds);
    for (unsigned i = 0; i < rounds; i++) { /* interleaved: the same moments of machine and disk */
        samples_add(&flush, one_flush(fd, i));
        samples_add(&trip, cluster_round_trip(c, leader));
        samples_add(&put, one_write(c, leader, i));
    }

    (void)printf("flush_us %.1f\n", samples_quantile(&flush, 0.5) / 1000);
    (void)printf("round_trip_us %.1f\n", samples_quantile(&trip, 0.5) / 1000);
    (void)printf("write_us %.1f\n", samples_quantile(&put, 0.5) / 1000);
    (void)printf("write_latency_ratio %.3f\n",
                 samples_quantile(&put, 0.5) /
                     (samples_quantile(&flush, 0.5) + samples_quantile(&trip, 0.5)));
    samples_free(&flush);
    samples_free(&trip);
    samples_free(&put);
}

/* ---- no core left --------------------------------------------------------------------------- */

struct spinner {
    atomic_bool stop;
};

static void *spin(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
    }

    return NULL;
}

void measure_calm(struct cluster *c, unsigned seconds)
{
    pthread_t threads[64];
    struct spinner spinner = {.stop = false};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
    uint64_t before, after;

    (void)cluster_settled(c, &before);
    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, spin, &spinner) != 0) {
            n = i;
        }
    }

    (void)run(c, false, 16, seconds);
    atomic_store(&spinner.stop, true);
    for (unsigned i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }

    (void)cluster_settled(c, &after);
    (void)printf("false_elections %llu\n", (unsigned long long)(after - before));
}
