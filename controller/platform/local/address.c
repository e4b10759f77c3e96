#include "platform/local/address.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "desired/desired_priv.h"
#include "platform/local/pathf.h"

#define FILE_MAX  (1u << 20)
#define TRIES_MAX 1000
#define NAME_SIZE 64

struct entry {
    char ns[NAME_SIZE];
    char name[NAME_SIZE];
    uint32_t address; /* host byte order */
};

struct gfsi_addresses {
    char *dir;
    char *seed;
    struct entry entries[GFSI_ADDRESSES_MAX];
    size_t n;
};

void gfsi_addresses_path(const char *dir, const char *ns, char *out, size_t size)
{
    if (strcmp(ns, "default") == 0) {
        gfsi_pathf(out, size, "%s/hosts", dir);
    } else {
        gfsi_pathf(out, size, "%s/hosts-%s", dir, ns);
    }
}

static bool in_range(uint32_t address)
{
    return (address & 0xffc00000u) == 0x7f400000u; /* 127.64.0.0/10 */
}

static void load_line(struct gfsi_addresses *a, const char *ns, char *line)
{
    char *save = NULL;
    const char *address = strtok_r(line, " \t", &save);
    const char *name = address != NULL ? strtok_r(NULL, " \t", &save) : NULL;
    struct in_addr in;

    if (name == NULL || address[0] == '#' || inet_pton(AF_INET, address, &in) != 1 ||
        !in_range(ntohl(in.s_addr)) || a->n == GFSI_ADDRESSES_MAX) {
        return;
    }

    struct entry *e = &a->entries[a->n];

    if (gfs_str_copy(e->ns, sizeof(e->ns), ns) == 0 &&
        gfs_str_copy(e->name, sizeof(e->name), name) == 0) {
        e->address = ntohl(in.s_addr);
        a->n++;
    }
}

static int load_file(struct gfsi_addresses *a, const char *ns, struct gfs_err *err)
{
    char path[PATH_MAX];
    struct gfs_buf text gfs_auto_buf;

    gfs_buf_init(&text, FILE_MAX);
    gfsi_addresses_path(a->dir, ns, path, sizeof(path));

    int rc = gfs_file_read(path, &text, err);

    if (rc < 0) {
        return rc == GFS_ENOENT ? 0 : rc;
    }

    char *rest = text.data;
    char *line = NULL;

    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL) {
        load_line(a, ns, line);
    }

    return 0;
}

static int load_all(struct gfsi_addresses *a, struct gfs_err *err)
{
    DIR *dir gfs_auto_dir = opendir(a->dir);
    int rc = load_file(a, "default", err);

    for (struct dirent *e = NULL; rc == 0 && dir != NULL && (e = readdir(dir)) != NULL;) {
        if (gfs_str_has_prefix(e->d_name, "hosts-") && gfs_dns1035_valid(e->d_name + 6)) {
            rc = load_file(a, e->d_name + 6, err);
        }
    }

    return rc;
}

int gfsi_addresses_load(const char *dir, const char *seed, struct gfsi_addresses **out,
                        struct gfs_err *err)
{
    struct gfsi_addresses *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    a->dir = strdup(dir);
    a->seed = strdup(seed);

    int rc = a->dir != NULL && a->seed != NULL ? load_all(a, err) : GFS_ENOMEM;

    if (rc < 0) {
        (void)gfsi_addresses_free(a);
        return rc;
    }

    *out = a;
    return 0;
}

struct gfsi_addresses *gfsi_addresses_free(struct gfsi_addresses *a)
{
    if (a != NULL) {
        free(a->dir);
        free(a->seed);
        free(a);
    }

    return NULL;
}

static struct entry *find(struct gfsi_addresses *a, const char *ns, const char *name)
{
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->entries[i].name, name) == 0 && strcmp(a->entries[i].ns, ns) == 0) {
            return &a->entries[i];
        }
    }

    return NULL;
}

static bool taken(const struct gfsi_addresses *a, uint32_t address)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->entries[i].address == address) {
            return true;
        }
    }

    return false;
}

/* As a server does it, so that connections in TIME_WAIT are no obstacle. */
static bool can_bind(uint32_t address, const uint16_t *ports)
{
    for (; *ports != 0; ports++) {
        struct sockaddr_in in = {
            .sin_family = AF_INET, .sin_port = htons(*ports), .sin_addr.s_addr = htonl(address)};
        int fd gfs_auto_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int one = 1;

        if (fd < 0) {
            return true; /* not about the port: the server will say what is wrong */
        }

        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (const struct sockaddr *)&in, sizeof(in)) < 0) {
            return false;
        }
    }

    return true;
}

static uint32_t candidate(const struct gfsi_addresses *a, const char *ns, const char *name,
                          unsigned salt)
{
    char number[16];
    uint64_t hash = gfsi_hash(gfsi_hash(gfsi_hash(GFSI_HASH_INIT, a->seed), ns), name);

    (void)snprintf(number, sizeof(number), "%u", salt);
    hash = gfsi_hash(hash, number);

    uint32_t host = (uint32_t)(hash ^ (hash >> 32)) & 0x003fffffu;

    /* No .0 and .255 at the end: they look like networks to people. */
    if ((host & 0xff) == 0 || (host & 0xff) == 0xff) {
        host ^= 0x10;
    }

    return 0x7f400000u | host;
}

static void print_address(uint32_t address, char out[GFSI_ADDRESS_SIZE])
{
    struct in_addr in = {.s_addr = htonl(address)};

    (void)inet_ntop(AF_INET, &in, out, GFSI_ADDRESS_SIZE);
}

int gfsi_addresses_get(struct gfsi_addresses *a, const char *ns, const char *name,
                       const uint16_t *ports, char out[GFSI_ADDRESS_SIZE], struct gfs_err *err)
{
    const struct entry *known = find(a, ns, name);

    if (known != NULL) {
        print_address(known->address, out);
        return 0;
    }
    if (a->n == GFSI_ADDRESSES_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "more than %d pods on one machine", GFSI_ADDRESSES_MAX);
    }

    for (unsigned salt = 0; salt < TRIES_MAX; salt++) {
        uint32_t address = candidate(a, ns, name, salt);
        struct entry *e = &a->entries[a->n];

        if (taken(a, address) || !can_bind(address, ports)) {
            continue;
        }
        if (gfs_str_copy(e->ns, sizeof(e->ns), ns) < 0 ||
            gfs_str_copy(e->name, sizeof(e->name), name) < 0) {
            return gfs_err_set(err, GFS_ENAMETOOLONG, "name of pod %s/%s", ns, name);
        }

        e->address = address;
        a->n++;
        print_address(address, out);
        return 0;
    }

    return gfs_err_set(err, GFS_EBUSY,
                       "port %u is in use on every address tried for %s/%s: is a program listening "
                       "on 0.0.0.0:%u? Stop it, or set another port in spec.properties",
                       ports[0], ns, name, ports[0]);
}

void gfsi_addresses_drop(struct gfsi_addresses *a, const char *ns, const char *name)
{
    struct entry *e = find(a, ns, name);

    if (e != NULL) {
        *e = a->entries[--a->n];
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct entry *const *)a)->name, (*(struct entry *const *)b)->name);
}

int gfsi_addresses_save(struct gfsi_addresses *a, const char *ns, struct gfs_err *err)
{
    char path[PATH_MAX];
    struct gfs_buf text gfs_auto_buf;
    struct gfs_buf old gfs_auto_buf;
    struct entry **sorted gfs_auto_free = calloc(a->n + 1, sizeof(struct entry *));
    size_t n = 0;

    gfs_buf_init(&text, FILE_MAX);
    gfs_buf_init(&old, FILE_MAX);
    if (sorted == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->entries[i].ns, ns) == 0) {
            sorted[n++] = &a->entries[i];
        }
    }

    qsort(sorted, n, sizeof(struct entry *), by_name);
    for (size_t i = 0; i < n; i++) {
        char address[GFSI_ADDRESS_SIZE];

        print_address(sorted[i]->address, address);
        (void)gfs_buf_printf(&text, "%s %s %s.%s\n", address, sorted[i]->name, sorted[i]->name, ns);
    }
    if (text.error < 0) {
        return gfs_err_set(err, text.error, "hosts file");
    }

    gfsi_addresses_path(a->dir, ns, path, sizeof(path));
    if (gfs_file_read(path, &old, NULL) == 0 && old.len == text.len &&
        memcmp(gfs_buf_str(&old), gfs_buf_str(&text), text.len) == 0) {
        return 0;
    }

    int rc = gfs_file_write_atomic(path, gfs_buf_str(&text), text.len, 0644, err);

    return rc < 0 ? rc : 1;
}
