/* Requests, journal records, updatedb.conf, mountinfo and kubelet's registration from arbitrary
 * bytes: no crash, and what is accepted keeps its promises. The first byte says which. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gfs/base/buf.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/mounter/mounttable.h>

#include "pluginregistration.pb-c.h"

#include "journal_record_priv.h"
#include "path_priv.h"
#include "request_priv.h"
#include "updatedb_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct gfsi_request_rules rules = {
    .kubelet_root = "/var/lib/kubelet",
    .mount_root = "/runtime-mnt",
    .clean_policy = GFS_CSI_CLEAN_ON_RUNTIME_DELETED,
};

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void require_below(const char *path, const char *root)
{
    char normal[GFSI_PATH_MAX + 1];

    require(gfsi_path_below(path, root) != NULL);
    require(gfs_path_normalize(path, normal, sizeof(normal)) == 0 && strcmp(normal, path) == 0);
}

static void check_accepted(const struct gfsi_request *r)
{
    require(r->volume_id[0] != '\0');
    require_below(r->path, rules.kubelet_root);
    if (r->kind == GFSI_UNSTAGE || r->kind == GFSI_UNPUBLISH) {
        return;
    }
    require_below(r->attrs.fluid_path, rules.mount_root);
    require(r->attrs.sub_path[0] != '/' && strstr(r->attrs.sub_path, "..") != r->attrs.sub_path);
    require(r->digest[0] != '\0' && r->capability[0] != '\0');
    require(r->kind == GFSI_PUBLISH || !r->attrs.ephemeral);
    if (r->staging[0] != '\0') {
        require_below(r->staging, rules.kubelet_root);
    }
}

static void try_request(unsigned kind, const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &csi__v1__node_stage_volume_request__descriptor,
        &csi__v1__node_unstage_volume_request__descriptor,
        &csi__v1__node_publish_volume_request__descriptor,
        &csi__v1__node_unpublish_volume_request__descriptor,
    };
    ProtobufCMessage *m = protobuf_c_message_unpack(types[kind], NULL, size, data);
    struct gfsi_request *r = malloc(sizeof(*r));
    struct gfs_err err = GFS_ERR_INIT;
    int rc = 0;

    if (m != NULL && r != NULL) {
        switch (kind) {
        case 0:
            rc = gfsi_request_stage((const Csi__V1__NodeStageVolumeRequest *)m, &rules, r, &err);
            gfsi_request_wipe_stage((Csi__V1__NodeStageVolumeRequest *)m);
            break;
        case 1:
            rc =
                gfsi_request_unstage((const Csi__V1__NodeUnstageVolumeRequest *)m, &rules, r, &err);
            break;
        case 2:
            rc =
                gfsi_request_publish((const Csi__V1__NodePublishVolumeRequest *)m, &rules, r, &err);
            gfsi_request_wipe_publish((Csi__V1__NodePublishVolumeRequest *)m);
            break;
        default:
            rc = gfsi_request_unpublish((const Csi__V1__NodeUnpublishVolumeRequest *)m, &rules, r,
                                        &err);
            break;
        }
        if (rc == 0) {
            check_accepted(r);
        } else {
            require(rc == GFS_EINVAL || rc == GFS_EPRECONDITION);
            require(err.text[0] != '\0');
        }
    }
    if (m != NULL) {
        protobuf_c_message_free_unpacked(m, NULL);
    }
    free(r);
}

/* A record that parses says the same after another round. */
static void try_record(const uint8_t *data, size_t size)
{
    struct gfsi_record *record = NULL;
    struct gfsi_record *again = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    char *text;

    if (gfsi_record_decode((const char *)data, size, "boot", &record, &err) < 0) {
        require(err.text[0] != '\0');
        return;
    }
    text = gfsi_record_encode(record, "boot");
    require(text != NULL);
    require(gfsi_record_decode(text, strlen(text), "boot", &again, &err) == 0);
    require(strcmp(record->id, again->id) == 0);
    require(record->n_uses[GFSI_PUBLISHED] == again->n_uses[GFSI_PUBLISHED]);
    (void)gfsi_record_free(record);
    (void)gfsi_record_free(again);
    free(text);
}

/* Editing twice adds nothing the second time. */
static void try_updatedb(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct gfs_buf once;
    struct gfs_buf twice;

    gfs_buf_init(&once, 4u << 20);
    gfs_buf_init(&twice, 4u << 20);
    if (text != NULL && gfsi_updatedb_edit(text, "fuse.a fuse.b", "/runtime-mnt", &once) >= 0) {
        require(gfsi_updatedb_edit(gfs_buf_str(&once), "fuse.a fuse.b", "/runtime-mnt", &twice) ==
                0);
    }
    gfs_buf_fini(&once);
    gfs_buf_fini(&twice);
    free(text);
}

static bool count_entry(void *arg, const struct gfs_mount_entry *entry)
{
    require(entry->target != NULL && entry->fstype != NULL);
    ++*(size_t *)arg;
    return true;
}

/* What the table says of a path agrees with its entries, and no entry is half there. */
static void try_mountinfo(const uint8_t *data, size_t size)
{
    struct gfs_mounttable *table = NULL;
    char file[64];
    int fd = memfd_create("mountinfo", MFD_CLOEXEC);

    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
    if (gfs_mounttable_read(file, &table, NULL) == 0) {
        for (size_t i = 0; i < gfs_mounttable_count(table); i++) {
            const struct gfs_mount_entry *e = gfs_mounttable_at(table, i);
            const struct gfs_mount_entry *top = gfs_mounttable_find(table, e->target);
            size_t below = 0;

            require(e->root != NULL && e->source != NULL && e->options != NULL &&
                    e->fs_options != NULL);
            require(e->deleted || (top != NULL && strcmp(top->target, e->target) == 0));
            gfs_mounttable_below(table, e->target, count_entry, &below);
            require(below >= gfs_mounttable_depth(table, e->target));
            (void)gfsi_path_check_way(table, rules.kubelet_root, "/var/lib/kubelet/pods/a/b", NULL);
        }
        (void)gfs_mounttable_free(table);
    }
    (void)close(fd);
}

/* What kubelet tells us of our registration becomes a line of the log. */
static void try_registration(const uint8_t *data, size_t size)
{
    Pluginregistration__RegistrationStatus *m =
        pluginregistration__registration_status__unpack(NULL, size, data);
    struct gfs_buf line;

    if (m != NULL) {
        gfs_buf_init(&line, 4u << 20);
        require(m->error != NULL);
        (void)gfs_buf_printf(&line, "error=%s", GFS_Q(m->error));
        require(strchr(gfs_buf_str(&line), '\n') == NULL);
        gfs_buf_fini(&line);
        pluginregistration__registration_status__free_unpacked(m, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0] % 8) {
    case 4: try_record(data + 1, size - 1); break;
    case 5: try_updatedb(data + 1, size - 1); break;
    case 6: try_mountinfo(data + 1, size - 1); break;
    case 7: try_registration(data + 1, size - 1); break;
    default: try_request(data[0] % 8, data + 1, size - 1); break;
    }
    return 0;
}
