/* goosefs_journal.proto <-> struct gfsi_op. What is decoded here may come from a damaged or hostile
 * file: every rule the state machine relies on is checked here, once. */
#include "journal_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#include "goosefs_journal.pb-c.h"

struct gfsi_journal_entry {
    struct gfsi_op op;
    Goosefs__V1__JournalEntry *message;
    struct gfsi_child *children;
    struct gfsi_prop *props;
};

/* ---- encoding ------------------------------------------------------------------------------- */

/* protobuf-c wants NUL-terminated strings; names come with a length. Copies live until freed. */
struct strings {
    char **v;
    size_t n;
    size_t cap;
};

static char *keep(struct strings *strings, const struct gfsi_str *s)
{
    if (strings->n == strings->cap) {
        return NULL;
    }

    strings->v[strings->n] = strndup(s->len > 0 ? s->s : "", s->len);
    return strings->v[strings->n] == NULL ? NULL : strings->v[strings->n++];
}

static void strings_fini(struct strings *strings)
{
    for (size_t i = 0; i < strings->n; i++) {
        free(strings->v[i]);
    }

    free(strings->v);
}

static int fill_inode(Goosefs__V1__InodeEntry *to, const struct gfsi_child *child,
                      struct strings *strings)
{
    goosefs__v1__inode_entry__init(to);
    to->name.data = (uint8_t *)(uintptr_t)child->name.s;
    to->name.len = child->name.len;
    to->directory = child->directory;
    to->length = child->length;
    to->mode = child->mode;
    to->mtime_ms = child->mtime_ms;
    to->length_unknown = child->length_unknown;
    to->version_exact = child->version_exact;
    to->mtime_granularity_ms = child->mtime_granularity_ms;
    to->version = keep(strings, &child->version);
    to->owner = keep(strings, &child->owner);
    to->group = keep(strings, &child->group);
    return to->version == NULL || to->owner == NULL || to->group == NULL ? GFS_ENOMEM : 0;
}

static int pack(Goosefs__V1__JournalEntry *entry, const struct gfsi_op *op, struct gfs_buf *out)
{
    size_t len;
    char *room;

    if (op->has_id) {
        entry->operation_id.data = (uint8_t *)(uintptr_t)op->id;
        entry->operation_id.len = sizeof(op->id);
    }

    len = goosefs__v1__journal_entry__get_packed_size(entry);
    room = gfs_buf_reserve(out, len);
    if (room == NULL) {
        return out->error;
    }

    gfs_buf_commit(out, goosefs__v1__journal_entry__pack(entry, (uint8_t *)room));
    return 0;
}

static int encode_children(const struct gfsi_op *op, struct gfs_buf *out)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__SyncDirectoryEntry dir = GOOSEFS__V1__SYNC_DIRECTORY_ENTRY__INIT;
    Goosefs__V1__SyncChildEntry one = GOOSEFS__V1__SYNC_CHILD_ENTRY__INIT;
    size_t n = op->n_children;
    struct strings strings = {.v = calloc(3 * n + 1, sizeof(char *)), .cap = 3 * n};
    Goosefs__V1__InodeEntry *inodes = calloc(n + 1, sizeof(*inodes));
    Goosefs__V1__InodeEntry **list = calloc(n + 1, sizeof(Goosefs__V1__InodeEntry *));
    int rc = strings.v == NULL || inodes == NULL || list == NULL ? GFS_ENOMEM : 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        list[i] = &inodes[i];
        rc = fill_inode(&inodes[i], &op->children[i], &strings);
        inodes[i].synced_ms = op->time_ms;
    }

    if (rc == 0 && op->type == GFSI_OP_SYNC_DIRECTORY) {
        dir.directory_id = op->directory_id;
        dir.synced_ms = op->time_ms;
        dir.first = op->first;
        dir.last = op->last;
        dir.listing_id = op->listing_id;
        dir.n_children = n;
        dir.children = list;
        entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_DIRECTORY;
        entry.sync_directory = &dir;
        rc = pack(&entry, op, out);
    } else if (rc == 0) {
        one.directory_id = op->directory_id;
        one.child = list[0];
        one.removed = op->removed;
        entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_CHILD;
        entry.sync_child = &one;
        rc = pack(&entry, op, out);
    }

    strings_fini(&strings);
    free(inodes);
    free(list);
    return rc;
}

static int encode_mount(const struct gfsi_op *op, struct gfs_buf *out)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__MountEntry mount = GOOSEFS__V1__MOUNT_ENTRY__INIT;
    size_t n = op->n_props;
    Goosefs__V1__MountEntry__PropertiesEntry *props = calloc(n + 1, sizeof(*props));
    Goosefs__V1__MountEntry__PropertiesEntry **list =
        calloc(n + 1, sizeof(Goosefs__V1__MountEntry__PropertiesEntry *));
    int rc = props == NULL || list == NULL ? GFS_ENOMEM : 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        goosefs__v1__mount_entry__properties_entry__init(&props[i]);
        props[i].key = (char *)(uintptr_t)op->props[i].key;
        props[i].value = (char *)(uintptr_t)op->props[i].value;
        list[i] = &props[i];
    }

    if (rc == 0) {
        mount.path = (char *)(uintptr_t)op->path;
        mount.ufs_uri = (char *)(uintptr_t)op->uri;
        mount.read_only = op->read_only;
        mount.shared = op->shared;
        mount.time_ms = op->time_ms;
        mount.begins_numbers = op->begins_numbers;
        mount.n_properties = n;
        mount.properties = list;
        entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_MOUNT;
        entry.mount = &mount;
        rc = pack(&entry, op, out);
    }

    free(props);
    free(list);
    return rc;
}

int gfsi_journal_encode(const struct gfsi_op *op, struct gfs_buf *out)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__UnmountEntry unmount = GOOSEFS__V1__UNMOUNT_ENTRY__INIT;
    Goosefs__V1__SettingEntry setting = GOOSEFS__V1__SETTING_ENTRY__INIT;

    switch (op->type) {
    case GFSI_OP_SYNC_DIRECTORY:
    case GFSI_OP_SYNC_CHILD: return encode_children(op, out);
    case GFSI_OP_MOUNT: return encode_mount(op, out);
    case GFSI_OP_UNMOUNT:
        unmount.path = (char *)(uintptr_t)op->path;
        entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_UNMOUNT;
        entry.unmount = &unmount;
        return pack(&entry, op, out);
    case GFSI_OP_SETTING:
        setting.key = (char *)(uintptr_t)op->key;
        setting.value = (char *)(uintptr_t)op->value;
        entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_SETTING;
        entry.setting = &setting;
        return pack(&entry, op, out);
    }

    return GFS_EINVAL;
}

/* ---- decoding ------------------------------------------------------------------------------- */

static int decode_child(const Goosefs__V1__InodeEntry *from, struct gfsi_child *to)
{
    *to = (struct gfsi_child){
        .name = {(const char *)from->name.data, from->name.len},
        .version = {from->version, strlen(from->version)},
        .owner = {from->owner, strlen(from->owner)},
        .group = {from->group, strlen(from->group)},
        .directory = from->directory,
        .length_unknown = from->length_unknown,
        .version_exact = from->version_exact,
        .mode = from->mode & 07777,
        .mtime_granularity_ms = from->mtime_granularity_ms,
        .length = from->length,
        .mtime_ms = from->mtime_ms,
    };

    return to->name.len > 0 && gfs_name_valid(to->name.s, to->name.len) &&
                   to->version.len <= GFSI_VERSION_MAX && to->owner.len <= GFSI_OWNER_MAX &&
                   to->group.len <= GFSI_OWNER_MAX
               ? 0
               : GFS_EPROTO;
}

static int decode_children(struct gfsi_journal_entry *e, Goosefs__V1__InodeEntry *const *list,
                           size_t n)
{
    if (n > GFSI_BATCH_MAX) {
        return GFS_EPROTO;
    }

    e->children = calloc(n + 1, sizeof(*e->children));
    if (e->children == NULL) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < n; i++) {
        int rc = decode_child(list[i], &e->children[i]);

        if (rc != 0) {
            return rc;
        }
    }

    e->op.children = e->children;
    e->op.n_children = n;
    return 0;
}

static int decode_sync_directory(struct gfsi_journal_entry *e,
                                 const Goosefs__V1__SyncDirectoryEntry *m)
{
    e->op.type = GFSI_OP_SYNC_DIRECTORY;
    e->op.directory_id = m->directory_id;
    e->op.time_ms = m->synced_ms;
    e->op.first = m->first;
    e->op.last = m->last;
    e->op.listing_id = m->listing_id;
    return m->listing_id == 0 ? GFS_EPROTO : decode_children(e, m->children, m->n_children);
}

static int decode_sync_child(struct gfsi_journal_entry *e, const Goosefs__V1__SyncChildEntry *m)
{
    if (m->child == NULL) {
        return GFS_EPROTO;
    }

    e->op.type = GFSI_OP_SYNC_CHILD;
    e->op.directory_id = m->directory_id;
    e->op.removed = m->removed;
    e->op.time_ms = m->child->synced_ms;
    return decode_children(e, &m->child, 1);
}

static int check_path(const char *path)
{
    char normal[GFSI_PATH_MAX];
    const char *p = path;

    if (gfs_path_normalize(path, normal, sizeof(normal)) != 0 || strcmp(normal, path) != 0) {
        return GFS_EPROTO;
    }

    while (*p == '/' && p[1] != '\0') {
        size_t len = strcspn(p + 1, "/");

        if (!gfs_name_valid(p + 1, len)) {
            return GFS_EPROTO;
        }

        p += 1 + len;
    }

    return 0;
}

static int decode_mount(struct gfsi_journal_entry *e, const Goosefs__V1__MountEntry *m)
{
    size_t bytes = 0;
    int rc = check_path(m->path);

    if (rc != 0 || m->n_properties > GFSI_PROPS_MAX || strlen(m->ufs_uri) >= GFSI_URI_MAX) {
        return GFS_EPROTO;
    }

    e->props = calloc(m->n_properties + 1, sizeof(*e->props));
    if (e->props == NULL) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < m->n_properties; i++) {
        e->props[i].key = m->properties[i]->key;
        e->props[i].value = m->properties[i]->value;
        bytes += strlen(e->props[i].key) + strlen(e->props[i].value);
    }

    e->op.type = GFSI_OP_MOUNT;
    e->op.path = m->path;
    e->op.uri = m->ufs_uri;
    e->op.read_only = m->read_only;
    e->op.shared = m->shared;
    e->op.time_ms = m->time_ms;
    e->op.begins_numbers = m->begins_numbers;
    e->op.props = e->props;
    e->op.n_props = m->n_properties;
    return bytes > GFSI_PROPS_BYTES_MAX ? GFS_EPROTO : 0;
}

static int decode_setting(struct gfsi_journal_entry *e, const Goosefs__V1__SettingEntry *m)
{
    e->op.type = GFSI_OP_SETTING;
    e->op.key = m->key;
    e->op.value = m->value;
    return *m->key == '\0' || strlen(m->key) > 255 || strlen(m->value) > 65536 ? GFS_EPROTO : 0;
}

static int decode_body(struct gfsi_journal_entry *e)
{
    const Goosefs__V1__JournalEntry *m = e->message;

    if (m->operation_id.len != 0 && m->operation_id.len != GFSI_OP_ID_SIZE) {
        return GFS_EPROTO;
    }

    e->op.has_id = m->operation_id.len == GFSI_OP_ID_SIZE;
    if (e->op.has_id) {
        memcpy(e->op.id, m->operation_id.data, GFSI_OP_ID_SIZE);
    }

    switch (m->body_case) {
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_DIRECTORY:
        return decode_sync_directory(e, m->sync_directory);
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_CHILD: return decode_sync_child(e, m->sync_child);
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_MOUNT: return decode_mount(e, m->mount);
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_UNMOUNT:
        e->op.type = GFSI_OP_UNMOUNT;
        e->op.path = m->unmount->path;
        return check_path(m->unmount->path);
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_SETTING: return decode_setting(e, m->setting);
    default: return GFS_EUNSUPPORTED;
    }
}

int gfsi_journal_decode(const void *data, size_t len, struct gfsi_journal_entry **out)
{
    struct gfsi_journal_entry *e;
    int rc;

    if (len > GFSI_ENTRY_MAX) {
        return GFS_EPROTO;
    }

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return GFS_ENOMEM;
    }

    e->message = goosefs__v1__journal_entry__unpack(NULL, len, data);
    rc = e->message == NULL ? GFS_EPROTO : decode_body(e);
    if (rc != 0) {
        gfsi_journal_free(e);
        return rc;
    }

    *out = e;
    return 0;
}

const struct gfsi_op *gfsi_journal_op(const struct gfsi_journal_entry *entry)
{
    return &entry->op;
}

void gfsi_journal_free(struct gfsi_journal_entry *entry)
{
    if (entry == NULL) {
        return;
    }

    if (entry->message != NULL) {
        goosefs__v1__journal_entry__free_unpacked(entry->message, NULL);
    }

    free(entry->children);
    free(entry->props);
    free(entry);
}
