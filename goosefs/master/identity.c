/* JOURNAL/IDENTITY: which cluster and which master a journal directory belongs to. It ties the
 * metastore to the journal, too: a metastore made for another one is rebuilt. */
#include "members_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#define IDENTITY_MAX 4096

static int create(const char *path, const char *cluster, const struct gfsi_members *members,
                  struct gfsi_identity *out, struct gfs_err *err)
{
    uint8_t random[16];
    char text[IDENTITY_MAX];
    int n;

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return gfs_err_set_errno(err, errno, "journal: no random numbers");
    }

    for (size_t i = 0; i < sizeof(random); i++) {
        (void)snprintf(out->uuid + 2 * i, 3, "%02x", random[i]);
    }

    n = snprintf(text, sizeof(text), "format=1\ncluster=%s\nid=%" PRIu64 "\naddress=%s\nuuid=%s\n",
                 cluster, members->self, members->v[members->self - 1].raft, out->uuid);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        return gfs_err_set(err, GFS_EINVAL, "goosefs.master.cluster.id is too long");
    }

    return gfs_file_write_atomic(path, text, (size_t)n, 0600, err);
}

static const char *value(char *text, const char *key)
{
    size_t len = strlen(key);
    char *line = text;

    while (line != NULL && *line != '\0') {
        char *end = strchr(line, '\n');

        if (strncmp(line, key, len) == 0 && line[len] == '=') {
            if (end != NULL) {
                *end = '\0';
            }
            return line + len + 1;
        }

        line = end == NULL ? NULL : end + 1;
    }

    return "";
}

/* The value as a new string, so that look-ups do not cut the text for each other. */
static char *get(const struct gfs_buf *text, const char *key)
{
    char *copy gfs_auto_free = strdup(gfs_buf_str(text));

    return copy == NULL ? NULL : strdup(value(copy, key));
}

static int check(const struct gfs_buf *text, const char *dir, const char *cluster,
                 const struct gfsi_members *members, struct gfsi_identity *out, struct gfs_err *err)
{
    char *format gfs_auto_free = get(text, "format");
    char *its_cluster gfs_auto_free = get(text, "cluster");
    char *id gfs_auto_free = get(text, "id");
    char *address gfs_auto_free = get(text, "address");
    char *uuid gfs_auto_free = get(text, "uuid");
    uint64_t number;

    if (format == NULL || its_cluster == NULL || id == NULL || address == NULL || uuid == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "journal %s: out of memory", dir);
    }

    if (strcmp(format, "1") != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "journal %s was written by another version (format '%s', this one reads "
                           "1): start that version, or give goosefs.master.journal.folder an empty "
                           "directory",
                           dir, format);
    }

    if (strcmp(its_cluster, cluster) != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "journal %s belongs to cluster '%s', not '%s': check "
                           "goosefs.master.journal.folder and the list of masters",
                           dir, its_cluster, cluster);
    }

    if (gfs_parse_u64(id, GFSI_MEMBERS_MAX, &number) != 0 || number != members->self ||
        strlen(uuid) != sizeof(out->uuid) - 1) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "journal %s belongs to master %s (%s), this is master %" PRIu64
                           " (%s): each needs its own goosefs.master.journal.folder, and the order "
                           "of the list of masters must not change",
                           dir, id, address, members->self, members->v[members->self - 1].raft);
    }

    return gfs_str_copy(out->uuid, sizeof(out->uuid), uuid);
}

int gfsi_identity_open(const char *dir, const char *cluster, const struct gfsi_members *members,
                       struct gfsi_identity *out, struct gfs_err *err)
{
    char path[4096];
    struct gfs_buf text gfs_auto_buf;
    int rc = gfs_mkdirs(dir, 0700, err);

    gfs_buf_init(&text, IDENTITY_MAX);
    if (rc != 0) {
        return rc;
    }

    if (gfs_path_join(path, sizeof(path), dir, "IDENTITY") != 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "goosefs.master.journal.folder is too long");
    }

    rc = gfs_file_read(path, &text, err);
    if (rc == GFS_ENOENT) {
        return create(path, cluster, members, out, err);
    }

    return rc != 0 ? rc : check(&text, dir, cluster, members, out, err);
}
