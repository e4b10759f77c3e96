#include "info_priv.h"

#include <string.h>

static char *text(struct gfsi_arena *arena, const struct gfsi_str *s)
{
    return s->len == 0 ? (char *)(uintptr_t)protobuf_c_empty_string
                       : gfsi_arena_text(arena, s->s, s->len);
}

static char *copy(struct gfsi_arena *arena, const char *s)
{
    struct gfsi_str str = {s, s == NULL ? 0 : strlen(s)};

    return text(arena, &str);
}

int gfsi_info_file(struct gfs_master *m, struct gfsi_arena *arena, const struct gfsi_inode *inode,
                   const char *path, const char *ufs_path, Goosefs__V1__FileInfo *out)
{
    bool directory = (inode->flags & GFSI_DIRECTORY) != 0;

    goosefs__v1__file_info__init(out);
    out->id = inode->id;
    out->parent_id = inode->parent_id;
    out->name = text(arena, &inode->name);
    out->path = copy(arena, path);
    out->directory = directory;
    out->length = inode->length;
    out->mode = inode->mode;
    out->owner = text(arena, &inode->owner);
    out->group = text(arena, &inode->group);
    out->mtime_ms = inode->mtime_ms;
    out->ctime_ms = inode->ctime_ms;
    out->version = text(arena, &inode->version);
    out->version_id = inode->version_id;
    out->version_exact = (inode->flags & GFSI_VERSION_EXACT) != 0;
    out->mount_id = inode->mount_id;
    out->ufs_path = copy(arena, ufs_path);
    out->child_count = inode->child_count;
    out->children_loaded = (inode->flags & GFSI_LOADED) != 0;
    out->mount_point = (inode->flags & GFSI_MOUNT_POINT) != 0;
    out->block_size = m->opts.block_size;
    if (!directory) {
        uint64_t cached = gfsi_registry_cached(m->registry, inode->id, inode->version_id);

        out->cached_bytes = cached < inode->length ? cached : inode->length;
    }

    return out->name == NULL || out->path == NULL || out->owner == NULL || out->group == NULL ||
                   out->version == NULL || out->ufs_path == NULL
               ? GFS_ENOMEM
               : 0;
}

char *gfsi_info_join(struct gfsi_arena *arena, const char *dir, const struct gfsi_str *name)
{
    size_t len = strlen(dir);
    size_t slash = len > 0 && dir[len - 1] != '/' ? 1 : 0;
    char *out = gfsi_arena_alloc(arena, len + slash + name->len + 1);

    if (out == NULL) {
        return NULL;
    }

    memcpy(out, dir, len + 1);
    if (slash != 0) {
        out[len] = '/';
    }

    if (name->len > 0) {
        memcpy(out + len + slash, name->s, name->len);
    }

    return out;
}

int gfsi_info_mount(struct gfsi_arena *arena, const struct gfsi_mount *mount,
                    Goosefs__V1__MountInfo *out)
{
    Goosefs__V1__KeyValue *pairs =
        gfsi_arena_alloc(arena, (mount->n_props + 1) * sizeof(Goosefs__V1__KeyValue));
    bool whole;

    goosefs__v1__mount_info__init(out);
    out->id = mount->id;
    out->path = copy(arena, mount->path);
    out->ufs_uri = copy(arena, mount->uri);
    out->read_only = mount->read_only;
    out->shared = mount->shared;
    out->properties =
        gfsi_arena_alloc(arena, (mount->n_props + 1) * sizeof(Goosefs__V1__KeyValue *));
    whole = pairs != NULL && out->properties != NULL && out->path != NULL && out->ufs_uri != NULL;
    for (size_t i = 0; i < mount->n_props && whole; i++) {
        goosefs__v1__key_value__init(&pairs[i]);
        pairs[i].key = copy(arena, mount->props[i].key);
        pairs[i].value = copy(arena, mount->props[i].value);
        out->properties[i] = &pairs[i];
        whole = pairs[i].key != NULL && pairs[i].value != NULL;
    }

    out->n_properties = whole ? mount->n_props : 0;
    return whole ? 0 : GFS_ENOMEM;
}

struct mounts {
    struct gfsi_arena *arena;
    Goosefs__V1__MountInfo **list;
    size_t n;
};

static int add_mount(void *arg, const struct gfsi_mount *mount)
{
    struct mounts *mounts = arg;
    Goosefs__V1__MountInfo *info;

    if (mounts->n == GFSI_MOUNTS_MAX) {
        return GFS_ERANGE;
    }

    info = gfsi_arena_alloc(mounts->arena, sizeof(*info));
    if (info == NULL) {
        return GFS_ENOMEM;
    }

    mounts->list[mounts->n++] = info;
    return gfsi_info_mount(mounts->arena, mount, info);
}

int gfsi_info_mounts(struct gfsi_arena *arena, struct gfsi_view *view,
                     Goosefs__V1__MountInfo ***out, size_t *out_n)
{
    struct mounts mounts = {
        arena, gfsi_arena_alloc(arena, GFSI_MOUNTS_MAX * sizeof(Goosefs__V1__MountInfo *)), 0};
    int rc = mounts.list == NULL ? GFS_ENOMEM : gfsi_view_mounts(view, add_mount, &mounts);

    if (rc == 0) {
        *out = mounts.list;
        *out_n = mounts.n;
    }

    return rc;
}

int gfsi_info_worker(struct gfsi_arena *arena, const struct gfsi_worker *w,
                     Goosefs__V1__WorkerInfo *out)
{
    Goosefs__V1__TierInfo *tiers =
        gfsi_arena_alloc(arena, (w->n_tiers + 1) * sizeof(Goosefs__V1__TierInfo));

    goosefs__v1__worker_info__init(out);
    out->id = w->id;
    out->host = copy(arena, w->host);
    out->data_address = copy(arena, w->data_address);
    out->local_socket = copy(arena, w->local_socket);
    out->version = copy(arena, w->version);
    out->web_port = w->web_port;
    out->start_time_ms = w->start_ms;
    out->last_heartbeat_ms = w->age_ms;
    out->live = w->live;
    out->tiers = gfsi_arena_alloc(arena, (w->n_tiers + 1) * sizeof(Goosefs__V1__TierInfo *));
    if (tiers == NULL || out->host == NULL || out->data_address == NULL ||
        out->local_socket == NULL || out->version == NULL || out->tiers == NULL) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < w->n_tiers; i++) {
        goosefs__v1__tier_info__init(&tiers[i]);
        tiers[i].alias = copy(arena, w->tiers[i].alias);
        tiers[i].capacity = w->tiers[i].capacity;
        tiers[i].used = w->tiers[i].used;
        out->tiers[i] = &tiers[i];
        if (tiers[i].alias == NULL) {
            return GFS_ENOMEM;
        }
    }

    out->n_tiers = w->n_tiers;
    return 0;
}
