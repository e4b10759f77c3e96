#include <gfs/base/hosts.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX_BYTES (1024 * 1024)

struct entry {
    char name[GFS_HOST_NAME_MAX + 1];
    char address[INET6_ADDRSTRLEN];
};

struct gfs_hosts {
    struct entry *entries;
    size_t n;
};

static int add(struct gfs_hosts *hosts, const char *name, const char *address)
{
    if (hosts->n == GFS_HOSTS_MAX) {
        return GFS_ERANGE;
    }
    struct entry *entries = reallocarray(hosts->entries, hosts->n + 1, sizeof *entries);
    if (entries == NULL) {
        return GFS_ENOMEM;
    }
    hosts->entries = entries;

    struct entry *e = &entries[hosts->n];
    if (gfs_str_copy(e->name, sizeof e->name, name) < 0 ||
        gfs_str_copy(e->address, sizeof e->address, address) < 0) {
        return GFS_ERANGE;
    }
    hosts->n++;
    return GFS_OK;
}

static bool is_address(const char *s)
{
    unsigned char buf[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1;
}

/* "address name [alias...] [# comment]" */
static int parse_line(struct gfs_hosts *hosts, char *line, const char *file, size_t number,
                      struct gfs_err *err)
{
    line[strcspn(line, "#")] = '\0';
    char *rest = line;
    const char *address = NULL;
    for (char *word = strsep(&rest, " \t\r"); word != NULL; word = strsep(&rest, " \t\r")) {
        if (*word == '\0') {
            continue;
        }
        if (address == NULL) {
            if (!is_address(word)) {
                return gfs_err_set(err, GFS_EINVAL, "%s:%zu: '%s' is not an IP address", file,
                                   number, word);
            }
            address = word;
            continue;
        }
        int rc = add(hosts, word, address);
        if (rc < 0) {
            return gfs_err_set(err, rc, "%s:%zu: name too long or more than %d names", file, number,
                               GFS_HOSTS_MAX);
        }
    }
    return GFS_OK;
}

int gfs_hosts_load(const char *file, struct gfs_hosts **out, struct gfs_err *err)
{
    struct gfs_hosts *hosts = calloc(1, sizeof *hosts);
    if (hosts == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (file == NULL || file[0] == '\0') {
        *out = hosts;
        return GFS_OK;
    }

    struct gfs_buf text gfs_auto_buf;
    gfs_buf_init(&text, FILE_MAX_BYTES);
    int rc = gfs_file_read(file, &text, err);
    char *rest = text.data;
    size_t number = 0;
    while (rc == GFS_OK && rest != NULL) {
        rc = parse_line(hosts, strsep(&rest, "\n"), file, ++number, err);
    }
    if (rc < 0) {
        (void)gfs_hosts_free(hosts);
        return rc;
    }
    *out = hosts;
    return GFS_OK;
}

struct gfs_hosts *gfs_hosts_free(struct gfs_hosts *hosts)
{
    if (hosts != NULL) {
        free(hosts->entries);
        free(hosts);
    }
    return NULL;
}

const char *gfs_hosts_find(const struct gfs_hosts *hosts, const char *name)
{
    for (size_t i = 0; hosts != NULL && i < hosts->n; i++) {
        if (strcasecmp(hosts->entries[i].name, name) == 0) {
            return hosts->entries[i].address;
        }
    }
    return NULL;
}

int gfs_hostport_split(const char *address, char *host, size_t host_size, uint16_t *out_port)
{
    const char *begin = address;
    const char *end = strrchr(address, ':');
    const char *port = end;
    if (end == NULL) {
        return GFS_EINVAL;
    }
    if (*begin == '[') {
        if (end[-1] != ']') {
            return GFS_EINVAL;
        }
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) != NULL) {
        return GFS_EINVAL; /* a v6 address without brackets is ambiguous */
    }

    uint64_t number = 0;
    size_t len = (size_t)(end - begin);
    if (len == 0 || gfs_parse_u64(port + 1, UINT16_MAX, &number) < 0) {
        return GFS_EINVAL;
    }
    if (len >= host_size) {
        return GFS_ENAMETOOLONG;
    }
    memcpy(host, begin, len);
    host[len] = '\0';
    *out_port = (uint16_t)number;
    return GFS_OK;
}

int gfs_hosts_target(const struct gfs_hosts *hosts, const char *address, char *out, size_t size)
{
    char host[GFS_HOST_NAME_MAX + 1];
    uint16_t port = 0;
    int rc = gfs_hostport_split(address, host, sizeof host, &port);
    if (rc < 0) {
        return rc;
    }
    const char *found = gfs_hosts_find(hosts, host);
    if (found == NULL) {
        return gfs_str_copy(out, size, address);
    }
    bool v6 = strchr(found, ':') != NULL;
    int k = snprintf(out, size, v6 ? "[%s]:%u" : "%s:%u", found, port);
    return k < 0 || (size_t)k >= size ? GFS_ERANGE : GFS_OK;
}
