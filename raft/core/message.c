/*
 * Wire form of messages, version 1, all integers little-endian:
 *
 *   u8 magic  u8 version  u8 type  u8 0  u32 total length  16 cluster  16 incarnation
 *   u64 from  u64 to  u64 term  u16 length of the fixed part  fixed part  variable part
 *
 * The fixed part may grow at its end in later versions of a type: readers skip what they don't
 * know.
 */
#include <raft/message.h>

#include "wire_priv.h"

#define WIRE_MAGIC        0xA7u
#define WIRE_VERSION      1u
#define WIRE_LENGTH_AT    4u
#define WIRE_HEADER       (8u + 16u + 16u + 24u + 2u)
#define WIRE_ENTRY_HEADER 13u

static const uint16_t fixed_sizes[] = {
    [RAFT_MSG_VOTE] = 26,         [RAFT_MSG_VOTE_REPLY] = 10, [RAFT_MSG_APPEND] = 37,
    [RAFT_MSG_APPEND_REPLY] = 50, [RAFT_MSG_SNAPSHOT] = 38,   [RAFT_MSG_SNAPSHOT_REPLY] = 25,
    [RAFT_MSG_TIMEOUT_NOW] = 0,   [RAFT_MSG_READ] = 16,       [RAFT_MSG_READ_REPLY] = 25,
};

static bool known_type(uint8_t type)
{
    return type >= RAFT_MSG_VOTE && type <= RAFT_MSG_READ_REPLY;
}

const char *raft_message_type_name(uint8_t type)
{
    static const char *const names[] = {
        [RAFT_MSG_VOTE] = "VOTE",
        [RAFT_MSG_VOTE_REPLY] = "VOTE_REPLY",
        [RAFT_MSG_APPEND] = "APPEND",
        [RAFT_MSG_APPEND_REPLY] = "APPEND_REPLY",
        [RAFT_MSG_SNAPSHOT] = "SNAPSHOT",
        [RAFT_MSG_SNAPSHOT_REPLY] = "SNAPSHOT_REPLY",
        [RAFT_MSG_TIMEOUT_NOW] = "TIMEOUT_NOW",
        [RAFT_MSG_READ] = "READ",
        [RAFT_MSG_READ_REPLY] = "READ_REPLY",
    };

    return known_type(type) ? names[type] : "UNKNOWN";
}

static size_t config_size(const struct raft_config *c)
{
    size_t n = 8;

    for (uint32_t i = 0; i < c->n_servers && i < RAFT_MAX_SERVERS; i++) {
        n += 8 + 1 + 16 + 2 + strnlen(c->servers[i].address, RAFT_MAX_ADDRESS);
    }

    return n;
}

size_t raft_message_size(const struct raft_message *m)
{
    size_t n = WIRE_HEADER;

    if (!known_type(m->type)) {
        return n;
    }

    n += fixed_sizes[m->type];
    if (m->type == RAFT_MSG_APPEND && m->u.append.entries) {
        for (uint32_t i = 0; i < m->u.append.n_entries; i++) {
            n += WIRE_ENTRY_HEADER + m->u.append.entries[i].size;
        }
    }

    if (m->type == RAFT_MSG_SNAPSHOT && m->u.snapshot.config) {
        n += config_size(m->u.snapshot.config) + m->u.snapshot.len;
    }

    return n;
}

/* ---- encoding ---------------------------------------------------------------------------------
 */

static void put_vote(struct wire_writer *w, const struct raft_msg_vote *v)
{
    wire_put_u64(w, v->campaign_term);
    wire_put_u64(w, v->last_index);
    wire_put_u64(w, v->last_term);
    wire_put_u8(w, v->pre);
    wire_put_u8(w, v->transfer);
}

static void put_vote_reply(struct wire_writer *w, const struct raft_msg_vote_reply *v)
{
    wire_put_u64(w, v->campaign_term);
    wire_put_u8(w, v->pre);
    wire_put_u8(w, v->granted);
}

static void put_append(struct wire_writer *w, const struct raft_msg_append *a)
{
    wire_put_u64(w, a->prev_index);
    wire_put_u64(w, a->prev_term);
    wire_put_u64(w, a->commit);
    wire_put_u64(w, a->round);
    wire_put_u8(w, a->quiet);
    wire_put_u32(w, a->n_entries);
    for (uint32_t i = 0; i < a->n_entries; i++) {
        const struct raft_entry *e = &a->entries[i];

        wire_put_u64(w, e->term);
        wire_put_u32(w, e->size);
        wire_put_u8(w, e->type);
        wire_put_bytes(w, e->data, e->size);
    }
}

static void put_append_reply(struct wire_writer *w, const struct raft_msg_append_reply *a)
{
    wire_put_u8(w, a->rejected);
    wire_put_u64(w, a->prev_index);
    wire_put_u64(w, a->match);
    wire_put_u64(w, a->received);
    wire_put_u64(w, a->hint_index);
    wire_put_u64(w, a->hint_term);
    wire_put_u64(w, a->round);
    wire_put_u8(w, a->recovering);
}

static void put_snapshot(struct wire_writer *w, const struct raft_msg_snapshot *s)
{
    uint8_t config[RAFT_MAX_CONFIG_BYTES];
    int config_len = raft_config_encode(s->config, config, sizeof(config));

    if (config_len < 0) {
        w->failed = true;
        return;
    }

    wire_put_u64(w, s->index);
    wire_put_u64(w, s->index_term);
    wire_put_u64(w, s->total);
    wire_put_u64(w, s->offset);
    wire_put_u32(w, s->len);
    wire_put_u16(w, (uint16_t)config_len);
    wire_put_bytes(w, config, (size_t)config_len);
    wire_put_bytes(w, s->data, s->len);
}

static void put_snapshot_reply(struct wire_writer *w, const struct raft_msg_snapshot_reply *s)
{
    wire_put_u64(w, s->index);
    wire_put_u64(w, s->next_offset);
    wire_put_u8(w, s->installed);
    wire_put_u64(w, s->match);
}

static void put_body(struct wire_writer *w, const struct raft_message *m)
{
    switch ((enum raft_message_type)m->type) {
    case RAFT_MSG_VOTE: put_vote(w, &m->u.vote); break;
    case RAFT_MSG_VOTE_REPLY: put_vote_reply(w, &m->u.vote_reply); break;
    case RAFT_MSG_APPEND: put_append(w, &m->u.append); break;
    case RAFT_MSG_APPEND_REPLY: put_append_reply(w, &m->u.append_reply); break;
    case RAFT_MSG_SNAPSHOT: put_snapshot(w, &m->u.snapshot); break;
    case RAFT_MSG_SNAPSHOT_REPLY: put_snapshot_reply(w, &m->u.snapshot_reply); break;
    case RAFT_MSG_TIMEOUT_NOW: break;
    case RAFT_MSG_READ:
        wire_put_u64(w, m->u.read.nonce);
        wire_put_u64(w, m->u.read.seq);
        break;
    case RAFT_MSG_READ_REPLY:
        wire_put_u64(w, m->u.read_reply.nonce);
        wire_put_u64(w, m->u.read_reply.seq);
        wire_put_u64(w, m->u.read_reply.index);
        wire_put_u8(w, m->u.read_reply.refused);
        break;
    }
}

/* The payloads the host had to set, and whether they are still those the core meant. */
static int check_payload(const struct raft_message *m)
{
    if (!known_type(m->type)) {
        return RAFT_ERR_INVALID;
    }

    if (m->type == RAFT_MSG_SNAPSHOT) {
        const struct raft_msg_snapshot *s = &m->u.snapshot;

        return s->config && (s->data || s->len == 0) ? RAFT_OK : RAFT_ERR_INVALID;
    }

    if (m->type == RAFT_MSG_APPEND && m->u.append.n_entries > 0) {
        const struct raft_msg_append *a = &m->u.append;

        if (!a->entries) {
            return RAFT_ERR_INVALID;
        }

        if (a->n_entries > RAFT_MAX_MESSAGE_ENTRIES) {
            return RAFT_ERR_TOO_BIG;
        }

        return a->entries[a->n_entries - 1].term == a->last_term ? RAFT_OK : RAFT_ERR_STALE;
    }

    return RAFT_OK;
}

int64_t raft_message_encode(const struct raft_message *m, void *buf, size_t cap)
{
    struct wire_writer w = wire_writer_init(buf, cap);
    int rc = check_payload(m);
    size_t size;

    if (rc != RAFT_OK) {
        return rc;
    }

    size = raft_message_size(m);
    if (size > RAFT_MAX_MESSAGE_BYTES) {
        return RAFT_ERR_TOO_BIG;
    }

    if (size > cap) {
        return RAFT_ERR_NOSPACE;
    }

    wire_put_u8(&w, WIRE_MAGIC);
    wire_put_u8(&w, WIRE_VERSION);
    wire_put_u8(&w, m->type);
    wire_put_u8(&w, 0);
    wire_put_u32(&w, (uint32_t)size);
    wire_put_bytes(&w, m->cluster.bytes, sizeof(m->cluster.bytes));
    wire_put_bytes(&w, m->incarnation.bytes, sizeof(m->incarnation.bytes));
    wire_put_u64(&w, m->from);
    wire_put_u64(&w, m->to);
    wire_put_u64(&w, m->term);
    wire_put_u16(&w, fixed_sizes[m->type]);
    put_body(&w, m);

    if (w.failed || w.len != size) {
        return RAFT_ERR_INVALID;
    }

    return (int64_t)w.len;
}

/* ---- decoding ---------------------------------------------------------------------------------
 */

static bool get_bool(struct wire_reader *r)
{
    uint8_t v = wire_get_u8(r);

    if (v > 1) {
        r->failed = true;
    }

    return v == 1;
}

static void get_vote(struct wire_reader *r, struct raft_msg_vote *v)
{
    v->campaign_term = wire_get_u64(r);
    v->last_index = wire_get_u64(r);
    v->last_term = wire_get_u64(r);
    v->pre = get_bool(r);
    v->transfer = get_bool(r);
}

static void get_append_reply(struct wire_reader *r, struct raft_msg_append_reply *a)
{
    a->rejected = get_bool(r);
    a->prev_index = wire_get_u64(r);
    a->match = wire_get_u64(r);
    a->received = wire_get_u64(r);
    a->hint_index = wire_get_u64(r);
    a->hint_term = wire_get_u64(r);
    a->round = wire_get_u64(r);
    a->recovering = get_bool(r);
}

static bool entry_type_known(uint8_t type)
{
    return type >= RAFT_ENTRY_COMMAND && type <= RAFT_ENTRY_CONFIG;
}

/* Terms never fall along a log, and none is above the sender's. */
static int get_entries(struct wire_reader *r, struct raft_message *m,
                       struct raft_message_room *room)
{
    struct raft_msg_append *a = &m->u.append;
    raft_term term = a->prev_term;

    if (a->n_entries > RAFT_MAX_MESSAGE_ENTRIES ||
        a->n_entries > wire_left(r) / WIRE_ENTRY_HEADER) {
        return RAFT_ERR_MALFORMED;
    }

    if (a->n_entries > room->max_entries) {
        return RAFT_ERR_TOO_BIG;
    }

    for (uint32_t i = 0; i < a->n_entries; i++) {
        struct raft_entry *e = &room->entries[i];

        e->term = wire_get_u64(r);
        e->size = wire_get_u32(r);
        e->type = wire_get_u8(r);
        e->data = wire_get_span(r, e->size);
        if (r->failed || e->size > RAFT_MAX_ENTRY_BYTES || !entry_type_known(e->type) ||
            e->term == 0 || e->term < term || e->term > m->term) {
            return RAFT_ERR_MALFORMED;
        }
        term = e->term;
    }

    a->entries = a->n_entries > 0 ? room->entries : NULL;
    a->last_term = a->n_entries > 0 ? term : 0;
    return wire_left(r) == 0 ? RAFT_OK : RAFT_ERR_MALFORMED;
}

static void get_append(struct wire_reader *r, struct raft_msg_append *a)
{
    a->prev_index = wire_get_u64(r);
    a->prev_term = wire_get_u64(r);
    a->commit = wire_get_u64(r);
    a->round = wire_get_u64(r);
    a->quiet = get_bool(r);
    a->n_entries = wire_get_u32(r);
}

/* The fixed part; *config_len is the first of the variable part's two lengths. */
static void get_snapshot(struct wire_reader *r, struct raft_msg_snapshot *s, uint16_t *config_len)
{
    s->index = wire_get_u64(r);
    s->index_term = wire_get_u64(r);
    s->total = wire_get_u64(r);
    s->offset = wire_get_u64(r);
    s->len = wire_get_u32(r);
    *config_len = wire_get_u16(r);
}

static int get_snapshot_data(struct wire_reader *r, struct raft_msg_snapshot *s,
                             uint16_t config_len, struct raft_message_room *room)
{
    const uint8_t *config = wire_get_span(r, config_len);

    if (!config || wire_left(r) != s->len || s->offset > s->total ||
        s->len > s->total - s->offset || s->index == 0) {
        return RAFT_ERR_MALFORMED;
    }

    if (raft_config_decode(config, config_len, &room->config) != RAFT_OK) {
        return RAFT_ERR_MALFORMED;
    }

    s->config = &room->config;
    s->data = wire_get_span(r, s->len);
    return RAFT_OK;
}

static void get_snapshot_reply(struct wire_reader *r, struct raft_msg_snapshot_reply *s)
{
    s->index = wire_get_u64(r);
    s->next_offset = wire_get_u64(r);
    s->installed = get_bool(r);
    s->match = wire_get_u64(r);
}

static int get_body(struct wire_reader *fixed, struct wire_reader *rest, struct raft_message *m,
                    struct raft_message_room *room)
{
    uint16_t config_len = 0;

    switch ((enum raft_message_type)m->type) {
    case RAFT_MSG_VOTE: get_vote(fixed, &m->u.vote); break;
    case RAFT_MSG_VOTE_REPLY:
        m->u.vote_reply.campaign_term = wire_get_u64(fixed);
        m->u.vote_reply.pre = get_bool(fixed);
        m->u.vote_reply.granted = get_bool(fixed);
        break;
    case RAFT_MSG_APPEND: get_append(fixed, &m->u.append); break;
    case RAFT_MSG_APPEND_REPLY: get_append_reply(fixed, &m->u.append_reply); break;
    case RAFT_MSG_SNAPSHOT: get_snapshot(fixed, &m->u.snapshot, &config_len); break;
    case RAFT_MSG_SNAPSHOT_REPLY: get_snapshot_reply(fixed, &m->u.snapshot_reply); break;
    case RAFT_MSG_TIMEOUT_NOW: break;
    case RAFT_MSG_READ:
        m->u.read.nonce = wire_get_u64(fixed);
        m->u.read.seq = wire_get_u64(fixed);
        break;
    case RAFT_MSG_READ_REPLY:
        m->u.read_reply.nonce = wire_get_u64(fixed);
        m->u.read_reply.seq = wire_get_u64(fixed);
        m->u.read_reply.index = wire_get_u64(fixed);
        m->u.read_reply.refused = get_bool(fixed);
        break;
    }

    if (fixed->failed) {
        return RAFT_ERR_MALFORMED;
    }

    if (m->type == RAFT_MSG_APPEND) {
        return get_entries(rest, m, room);
    }

    if (m->type == RAFT_MSG_SNAPSHOT) {
        return get_snapshot_data(rest, &m->u.snapshot, config_len, room);
    }

    return wire_left(rest) == 0 ? RAFT_OK : RAFT_ERR_MALFORMED;
}

/* Frame: magic, total length within the buffer. Fills *total. */
static int check_frame(const uint8_t *buf, size_t len, uint32_t *total)
{
    struct wire_reader r = wire_reader_init(buf, len);

    if (len > 0 && buf[0] != WIRE_MAGIC) {
        return RAFT_ERR_MALFORMED;
    }

    if (len < WIRE_LENGTH_AT + 4) {
        return RAFT_ERR_TRUNCATED;
    }

    r.at = WIRE_LENGTH_AT;
    *total = wire_get_u32(&r);
    if (*total < WIRE_LENGTH_AT + 4 || *total > RAFT_MAX_MESSAGE_BYTES) {
        return RAFT_ERR_MALFORMED;
    }

    return *total > len ? RAFT_ERR_TRUNCATED : RAFT_OK;
}

int64_t raft_message_decode(const void *buf, size_t len, struct raft_message *m,
                            struct raft_message_room *room, size_t *skip)
{
    struct raft_message found = {0};
    struct wire_reader r;
    struct wire_reader fixed;
    const uint8_t *bytes = buf;
    const uint8_t *span;
    uint16_t fixed_len;
    uint32_t total;
    int rc = check_frame(bytes, len, &total);

    if (rc != RAFT_OK) {
        return rc;
    }

    if (bytes[1] != WIRE_VERSION || !known_type(bytes[2])) {
        if (skip) {
            *skip = total;
        }
        return RAFT_ERR_VERSION;
    }

    r = wire_reader_init(bytes, total);
    wire_get_span(&r, WIRE_LENGTH_AT + 4);
    found.type = bytes[2];
    wire_get_bytes(&r, found.cluster.bytes, sizeof(found.cluster.bytes));
    wire_get_bytes(&r, found.incarnation.bytes, sizeof(found.incarnation.bytes));
    found.from = wire_get_u64(&r);
    found.to = wire_get_u64(&r);
    found.term = wire_get_u64(&r);
    fixed_len = wire_get_u16(&r);
    span = wire_get_span(&r, fixed_len);
    if (!span || fixed_len < fixed_sizes[found.type]) {
        return RAFT_ERR_MALFORMED;
    }

    fixed = wire_reader_init(span, fixed_len);
    rc = get_body(&fixed, &r, &found, room);
    if (rc != RAFT_OK) {
        return rc;
    }

    *m = found;
    return total;
}
