#include <gfs/mounter/keeper_proto.h>

#include <string.h>

#include <gfs/base/str.h>

enum field_kind { KIND_U32, KIND_U64, KIND_TEXT, KIND_LIST, KIND_FLAG, KIND_INFO };

/* X(name, tag, kind, maximum of a text's bytes). The tags are the protocol: never renumber. */
#define FIELD_MAP(X)                                                                               \
    X(VERSION, 1, KIND_U32, 0)                                                                     \
    X(ID, 2, KIND_TEXT, GFS_KEEPER_ID_MAX)                                                         \
    X(MOUNTPOINT, 3, KIND_TEXT, GFS_KEEPER_PATH_MAX)                                               \
    X(FSTYPE, 4, KIND_TEXT, 64)                                                                    \
    X(SOURCE, 5, KIND_TEXT, 1023)                                                                  \
    X(OPTIONS, 6, KIND_U32, 0)                                                                     \
    X(MAX_READ, 7, KIND_U32, 0)                                                                    \
    X(UID, 8, KIND_U32, 0)                                                                         \
    X(GID, 9, KIND_U32, 0)                                                                         \
    X(START_TIMEOUT, 10, KIND_U32, 0)                                                              \
    X(HANG_TIMEOUT, 11, KIND_U32, 0)                                                               \
    X(LOG_PATH, 12, KIND_TEXT, GFS_KEEPER_PATH_MAX)                                                \
    X(ARG, 13, KIND_LIST, GFS_KEEPER_PATH_MAX)                                                     \
    X(ENV, 14, KIND_LIST, GFS_KEEPER_PATH_MAX)                                                     \
    X(FLAGS, 15, KIND_U32, 0)                                                                      \
    X(STATUS, 16, KIND_U32, 0)                                                                     \
    X(TEXT, 17, KIND_TEXT, GFS_ERR_TEXT_MAX - 1)                                                   \
    X(MORE, 18, KIND_FLAG, 0)                                                                      \
    X(INFO, 19, KIND_INFO, 0)                                                                      \
    X(STATE, 20, KIND_U32, 0)                                                                      \
    X(PID, 21, KIND_U32, 0)                                                                        \
    X(MINOR, 22, KIND_U32, 0)                                                                      \
    X(RESTARTS, 23, KIND_U64, 0)                                                                   \
    X(RESENDS, 24, KIND_U64, 0)                                                                    \
    X(HANGS, 25, KIND_U64, 0)                                                                      \
    X(LAUNCH, 26, KIND_TEXT, GFS_KEEPER_PATH_MAX)                                                  \
    X(STALL_TIMEOUT, 27, KIND_U32, 0)                                                              \
    X(SIGNAL, 28, KIND_U32, 0)                                                                     \
    X(REMOUNTS, 29, KIND_U64, 0)                                                                   \
    X(WAITING, 30, KIND_U32, 0)                                                                    \
    X(SINCE, 31, KIND_U32, 0)

enum field_tag {
#define FIELD_ENUM(name, tag, kind, max) FIELD_##name = (tag),
    FIELD_MAP(FIELD_ENUM)
#undef FIELD_ENUM
};

struct field_desc {
    const char *name;
    enum field_kind kind;
    size_t max;
};

static const struct field_desc field_descs[] = {
#define FIELD_DESC(name_, tag, kind_, max_)                                                        \
    [tag] = {.name = #name_, .kind = (kind_), .max = (max_)},
    FIELD_MAP(FIELD_DESC)
#undef FIELD_DESC
};
#define N_FIELDS (sizeof(field_descs) / sizeof(field_descs[0]))

#define FIELD_HEADER 4

static void store16(unsigned char *p, uint16_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static void store32(unsigned char *p, uint32_t v)
{
    store16(p, (uint16_t)v);
    store16(p + 2, (uint16_t)(v >> 16));
}

static uint16_t load16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t load32(const unsigned char *p)
{
    return load16(p) | (uint32_t)load16(p + 2) << 16;
}

static uint64_t load64(const unsigned char *p)
{
    return load32(p) | (uint64_t)load32(p + 4) << 32;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static void put_field(struct gfs_buf *out, enum field_tag tag, const void *value, size_t len)
{
    unsigned char header[FIELD_HEADER];

    if (len > UINT16_MAX) {
        out->error = GFS_ERANGE;
        return;
    }
    store16(header, (uint16_t)tag);
    store16(header + 2, (uint16_t)len);
    (void)gfs_buf_append(out, header, sizeof(header));
    (void)gfs_buf_append(out, value, len);
}

static void put_u32(struct gfs_buf *out, enum field_tag tag, uint32_t v)
{
    unsigned char value[4];

    store32(value, v);
    put_field(out, tag, value, sizeof(value));
}

static void put_u64(struct gfs_buf *out, enum field_tag tag, uint64_t v)
{
    unsigned char value[8];

    store32(value, (uint32_t)v);
    store32(value + 4, (uint32_t)(v >> 32));
    put_field(out, tag, value, sizeof(value));
}

static void put_text(struct gfs_buf *out, enum field_tag tag, const char *text)
{
    size_t len = strlen(text);

    if (len > field_descs[tag].max) {
        out->error = GFS_ERANGE;
        return;
    }
    put_field(out, tag, text, len + 1);
}

static void put_list(struct gfs_buf *out, enum field_tag tag, const char *const *items)
{
    size_t i;

    for (i = 0; items != NULL && items[i] != NULL; i++) {
        if (i == GFS_KEEPER_ARGS_MAX) {
            out->error = GFS_ERANGE;
            return;
        }
        put_text(out, tag, items[i]);
    }
}

void gfs_keeper_msg_begin(struct gfs_buf *out, uint16_t type, uint32_t seq)
{
    unsigned char header[GFS_KEEPER_HEADER_SIZE];

    gfs_buf_clear(out);
    store32(header, GFS_KEEPER_MAGIC);
    store16(header + 4, GFS_KEEPER_VERSION);
    store16(header + 6, type);
    store32(header + 8, seq);
    store32(header + 12, 0);
    (void)gfs_buf_append(out, header, sizeof(header));
}

void gfs_keeper_msg_put_version(struct gfs_buf *out, uint32_t version)
{
    put_u32(out, FIELD_VERSION, version);
}

void gfs_keeper_msg_put_spec(struct gfs_buf *out, const struct gfs_keeper_spec *spec)
{
    put_text(out, FIELD_ID, spec->id);
    put_text(out, FIELD_MOUNTPOINT, spec->mountpoint);
    put_text(out, FIELD_FSTYPE, spec->fstype);
    put_text(out, FIELD_SOURCE, spec->source);
    put_u32(out, FIELD_OPTIONS, spec->options);
    put_u32(out, FIELD_MAX_READ, spec->max_read);
    put_u32(out, FIELD_UID, spec->uid);
    put_u32(out, FIELD_GID, spec->gid);
    put_u32(out, FIELD_START_TIMEOUT, spec->start_timeout_ms);
    put_u32(out, FIELD_HANG_TIMEOUT, spec->hang_timeout_ms);
    put_u32(out, FIELD_STALL_TIMEOUT, spec->stall_timeout_ms);
    if (spec->log_path != NULL) {
        put_text(out, FIELD_LOG_PATH, spec->log_path);
    }
    if (spec->launch != NULL && spec->launch[0] != '\0') {
        put_text(out, FIELD_LAUNCH, spec->launch);
    }
    put_list(out, FIELD_ARG, spec->argv);
    put_list(out, FIELD_ENV, spec->env);
}

void gfs_keeper_msg_put_id(struct gfs_buf *out, const char *id)
{
    put_text(out, FIELD_ID, id);
}

void gfs_keeper_msg_put_argv(struct gfs_buf *out, const char *const *argv)
{
    put_list(out, FIELD_ARG, argv);
}

void gfs_keeper_msg_put_flags(struct gfs_buf *out, uint32_t flags)
{
    put_u32(out, FIELD_FLAGS, flags);
}

void gfs_keeper_msg_put_status(struct gfs_buf *out, int status, const char *text)
{
    put_u32(out, FIELD_STATUS, (uint32_t)status);
    if (text != NULL && text[0] != '\0') {
        put_text(out, FIELD_TEXT, text);
    }
}

void gfs_keeper_msg_put_more(struct gfs_buf *out)
{
    put_field(out, FIELD_MORE, "", 0);
}

void gfs_keeper_msg_put_env(struct gfs_buf *out, const char *const *env)
{
    put_list(out, FIELD_ENV, env);
}

void gfs_keeper_msg_put_pid(struct gfs_buf *out, uint32_t pid)
{
    put_u32(out, FIELD_PID, pid);
}

void gfs_keeper_msg_put_signal(struct gfs_buf *out, uint32_t signal)
{
    put_u32(out, FIELD_SIGNAL, signal);
}

bool gfs_keeper_msg_put_info(struct gfs_buf *out, const struct gfs_keeper_info *info)
{
    size_t before = out->len;
    size_t len;
    struct gfs_buf body __attribute__((cleanup(gfs_buf_fini)));

    /* Room is left for a MORE field behind the record. */
    gfs_buf_init(&body, GFS_KEEPER_MSG_MAX);
    put_text(&body, FIELD_ID, info->id);
    put_text(&body, FIELD_MOUNTPOINT, info->mountpoint);
    put_u32(&body, FIELD_STATE, info->state);
    put_u32(&body, FIELD_PID, info->pid);
    put_u32(&body, FIELD_MINOR, info->minor);
    put_u64(&body, FIELD_RESTARTS, info->restarts);
    put_u64(&body, FIELD_RESENDS, info->resends);
    put_u64(&body, FIELD_HANGS, info->hangs);
    put_u64(&body, FIELD_REMOUNTS, info->remounts);
    put_u32(&body, FIELD_WAITING, info->waiting);
    put_u32(&body, FIELD_SINCE, info->since_ms);
    if (info->launch != NULL && info->launch[0] != '\0') {
        put_text(&body, FIELD_LAUNCH, info->launch);
    }
    len = body.len + (size_t)2 * FIELD_HEADER;
    if (body.error != 0 || out->error != 0 || before + len > GFS_KEEPER_MSG_MAX) {
        return false;
    }

    put_field(out, FIELD_INFO, body.data, body.len);
    return true;
}

int gfs_keeper_msg_end(struct gfs_buf *out)
{
    if (out->error != 0) {
        return out->error;
    }
    store32((unsigned char *)out->data + 12, (uint32_t)(out->len - GFS_KEEPER_HEADER_SIZE));
    return 0;
}

/* ---- decoding -------------------------------------------------------------------------------- */

struct field {
    uint16_t tag;
    const unsigned char *value;
    size_t len;
};

struct cursor {
    const unsigned char *data;
    size_t left;
};

/* 1: *out is the next field; 0: end; negative: malformed. Checks length by the kind of known tags.
 */
static int next_field(struct cursor *in, struct field *out, struct gfs_err *err)
{
    const struct field_desc *desc;
    bool ok = true;

    if (in->left == 0) {
        return 0;
    }
    if (in->left < FIELD_HEADER) {
        return gfs_err_set(err, GFS_EPROTO, "keeper message: cut off in a field's header");
    }
    out->tag = load16(in->data);
    out->len = load16(in->data + 2);
    out->value = in->data + FIELD_HEADER;
    if (out->len > in->left - FIELD_HEADER) {
        return gfs_err_set(err, GFS_EPROTO, "keeper message: field %u is cut off", out->tag);
    }
    in->data += FIELD_HEADER + out->len;
    in->left -= FIELD_HEADER + out->len;
    if (out->tag >= N_FIELDS || field_descs[out->tag].name == NULL) {
        return 1;
    }

    desc = &field_descs[out->tag];
    switch (desc->kind) {
    case KIND_U32: ok = out->len == 4; break;
    case KIND_U64: ok = out->len == 8; break;
    case KIND_FLAG: ok = out->len == 0; break;
    case KIND_INFO: break;
    case KIND_TEXT:
    case KIND_LIST:
        ok = out->len >= 1 && out->len <= desc->max + 1 &&
             memchr(out->value, '\0', out->len) == out->value + out->len - 1;
        break;
    }
    if (!ok) {
        return gfs_err_set(err, GFS_EPROTO, "keeper message: field %s is malformed", desc->name);
    }
    return 1;
}

/* Scalars and texts may come once per message or record. */
static bool first_time(const struct field *f, uint64_t *seen)
{
    bool once = f->tag < N_FIELDS && field_descs[f->tag].name != NULL &&
                field_descs[f->tag].kind != KIND_LIST && field_descs[f->tag].kind != KIND_INFO;
    uint64_t bit = once ? UINT64_C(1) << f->tag : 0;

    if ((*seen & bit) != 0) {
        return false;
    }
    *seen |= bit;
    return true;
}
_Static_assert(N_FIELDS <= 64, "`seen` has one bit per tag");

static int decode_info(const struct field *record, struct gfs_keeper_info *out, struct gfs_err *err)
{
    struct cursor in = {.data = record->value, .left = record->len};
    struct gfs_keeper_info info = {.id = "", .mountpoint = "", .launch = ""};
    struct field f = {0};
    uint64_t seen = 0;
    int rc;

    while ((rc = next_field(&in, &f, err)) > 0) {
        if (!first_time(&f, &seen)) {
            return gfs_err_set(err, GFS_EPROTO, "keeper message: field %u given twice", f.tag);
        }
        switch (f.tag) {
        case FIELD_ID: info.id = (const char *)f.value; break;
        case FIELD_MOUNTPOINT: info.mountpoint = (const char *)f.value; break;
        case FIELD_STATE: info.state = load32(f.value); break;
        case FIELD_PID: info.pid = load32(f.value); break;
        case FIELD_MINOR: info.minor = load32(f.value); break;
        case FIELD_RESTARTS: info.restarts = load64(f.value); break;
        case FIELD_RESENDS: info.resends = load64(f.value); break;
        case FIELD_HANGS: info.hangs = load64(f.value); break;
        case FIELD_REMOUNTS: info.remounts = load64(f.value); break;
        case FIELD_WAITING: info.waiting = load32(f.value); break;
        case FIELD_SINCE: info.since_ms = load32(f.value); break;
        case FIELD_LAUNCH: info.launch = (const char *)f.value; break;
        default: break;
        }
    }
    if (rc == 0) {
        *out = info;
    }
    return rc;
}

static int decode_list_item(const struct field *f, const char **items, size_t *n,
                            struct gfs_err *err)
{
    if (*n == GFS_KEEPER_ARGS_MAX) {
        return gfs_err_set(err, GFS_EPROTO, "keeper message: more than %d items of %s",
                           GFS_KEEPER_ARGS_MAX, field_descs[f->tag].name);
    }
    items[(*n)++] = (const char *)f->value;
    return 0;
}

static int decode_field(const struct field *f, struct gfs_keeper_msg *out, struct gfs_err *err)
{
    struct gfs_keeper_spec *spec = &out->spec;
    const char *text = (const char *)f->value;

    switch (f->tag) {
    case FIELD_VERSION: out->version = load32(f->value); break;
    case FIELD_ID: spec->id = text; break;
    case FIELD_MOUNTPOINT: spec->mountpoint = text; break;
    case FIELD_FSTYPE: spec->fstype = text; break;
    case FIELD_SOURCE: spec->source = text; break;
    case FIELD_OPTIONS: spec->options = load32(f->value); break;
    case FIELD_MAX_READ: spec->max_read = load32(f->value); break;
    case FIELD_UID: spec->uid = load32(f->value); break;
    case FIELD_GID: spec->gid = load32(f->value); break;
    case FIELD_START_TIMEOUT: spec->start_timeout_ms = load32(f->value); break;
    case FIELD_HANG_TIMEOUT: spec->hang_timeout_ms = load32(f->value); break;
    case FIELD_STALL_TIMEOUT: spec->stall_timeout_ms = load32(f->value); break;
    case FIELD_LOG_PATH: spec->log_path = text; break;
    case FIELD_LAUNCH: spec->launch = text; break;
    case FIELD_ARG: return decode_list_item(f, out->argv, &out->n_argv, err);
    case FIELD_ENV: return decode_list_item(f, out->env, &out->n_env, err);
    case FIELD_FLAGS: out->flags = load32(f->value); break;
    case FIELD_STATUS: out->status = (int)(int32_t)load32(f->value); break;
    case FIELD_TEXT: out->text = text; break;
    case FIELD_PID: out->pid = load32(f->value); break;
    case FIELD_SIGNAL: out->signal = load32(f->value); break;
    case FIELD_MORE: out->more = true; break;
    case FIELD_INFO:
        if (out->n_infos == GFS_KEEPER_INFOS_MAX) {
            return gfs_err_set(err, GFS_EPROTO, "keeper message: more than %d records",
                               GFS_KEEPER_INFOS_MAX);
        }
        if (decode_info(f, &out->infos[out->n_infos], err) != 0) {
            return GFS_EPROTO;
        }
        out->n_infos++;
        break;
    default: break;
    }
    return 0;
}

int gfs_keeper_msg_decode(const void *data, size_t len, struct gfs_keeper_msg *out,
                          struct gfs_err *err)
{
    const unsigned char *header = data;
    struct cursor in;
    struct field f = {0};
    uint64_t seen = 0;
    int rc;

    if (len < GFS_KEEPER_HEADER_SIZE || len > GFS_KEEPER_MSG_MAX ||
        load32(header) != GFS_KEEPER_MAGIC || load32(header + 12) != len - GFS_KEEPER_HEADER_SIZE) {
        return gfs_err_set(err, GFS_EPROTO, "not a keeper message");
    }

    *out = (struct gfs_keeper_msg){
        .type = load16(header + 6),
        .seq = load32(header + 8),
        .text = "",
        .spec =
            {.id = "", .mountpoint = "", .fstype = "", .source = "", .log_path = "", .launch = ""},
    };
    out->spec.argv = out->argv;
    out->spec.env = out->env;
    if (load16(header + 4) != GFS_KEEPER_VERSION) {
        return gfs_err_set(err, GFS_EUNSUPPORTED, "keeper protocol version %u, here it is %d",
                           load16(header + 4), GFS_KEEPER_VERSION);
    }

    in = (struct cursor){.data = header + GFS_KEEPER_HEADER_SIZE,
                         .left = len - GFS_KEEPER_HEADER_SIZE};
    while ((rc = next_field(&in, &f, err)) > 0) {
        if (!first_time(&f, &seen)) {
            return gfs_err_set(err, GFS_EPROTO, "keeper message: field %u given twice", f.tag);
        }
        rc = decode_field(&f, out, err);
        if (rc != 0) {
            return rc;
        }
    }
    return rc;
}
