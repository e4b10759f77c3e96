/* Values: errors, ids, configurations. No struct raft here. */
#include <raft/raft.h>

#include <string.h>

#include "wire_priv.h"

#define CONFIG_VERSION 1

const char *raft_strerror(int err)
{
    switch (err) {
    case RAFT_OK: return "success";
#define RAFT_X(name, value, text)                                                                  \
    case name: return text;
        RAFT_ERRORS(RAFT_X)
#undef RAFT_X
    default: return "unknown error";
    }
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {
        [RAFT_STOPPED] = "stopped",
        [RAFT_FOLLOWER] = "follower",
        [RAFT_PRECANDIDATE] = "precandidate",
        [RAFT_CANDIDATE] = "candidate",
        [RAFT_LEADER] = "leader",
    };

    return (unsigned)role <= RAFT_LEADER ? names[role] : "unknown";
}

bool raft_uuid_is_zero(const struct raft_uuid *u)
{
    static const struct raft_uuid zero;

    return memcmp(u, &zero, sizeof(zero)) == 0;
}

bool raft_uuid_equal(const struct raft_uuid *a, const struct raft_uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static bool server_valid(const struct raft_server *s)
{
    return s->id != 0 && (s->role == RAFT_VOTER || s->role == RAFT_LEARNER) &&
           memchr(s->address, 0, sizeof(s->address)) != NULL;
}

int raft_config_add(struct raft_config *c, const struct raft_server *server)
{
    uint32_t at = 0;

    if (!server_valid(server)) {
        return RAFT_ERR_INVALID;
    }

    if (raft_config_find(c, server->id)) {
        return RAFT_ERR_EXISTS;
    }

    if (c->n_servers >= RAFT_MAX_SERVERS) {
        return RAFT_ERR_BUSY;
    }

    while (at < c->n_servers && c->servers[at].id < server->id) {
        at++;
    }

    memmove(&c->servers[at + 1], &c->servers[at], (c->n_servers - at) * sizeof(c->servers[0]));
    c->servers[at] = *server;
    c->n_servers++;
    return RAFT_OK;
}

int raft_config_remove(struct raft_config *c, raft_id id)
{
    for (uint32_t i = 0; i < c->n_servers; i++) {
        if (c->servers[i].id == id) {
            memmove(&c->servers[i], &c->servers[i + 1],
                    (c->n_servers - i - 1) * sizeof(c->servers[0]));
            c->n_servers--;
            return RAFT_OK;
        }
    }

    return RAFT_ERR_UNKNOWN_SERVER;
}

const struct raft_server *raft_config_find(const struct raft_config *c, raft_id id)
{
    for (uint32_t i = 0; i < c->n_servers; i++) {
        if (c->servers[i].id == id) {
            return &c->servers[i];
        }
    }

    return NULL;
}

bool raft_config_is_voter(const struct raft_config *c, raft_id id)
{
    const struct raft_server *s = raft_config_find(c, id);

    return s && s->role == RAFT_VOTER;
}

uint32_t raft_config_voters(const struct raft_config *c)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->n_servers; i++) {
        n += c->servers[i].role == RAFT_VOTER;
    }

    return n;
}

uint32_t raft_config_quorum(const struct raft_config *c)
{
    return raft_config_voters(c) / 2 + 1;
}

/* version u8, reserved 3 x u8, count u32, then per server id, role, incarnation, address. */
int raft_config_encode(const struct raft_config *c, void *buf, size_t cap)
{
    struct wire_writer w = wire_writer_init(buf, cap);

    if (c->n_servers > RAFT_MAX_SERVERS) {
        return RAFT_ERR_INVALID;
    }

    wire_put_u32(&w, CONFIG_VERSION);
    wire_put_u32(&w, c->n_servers);
    for (uint32_t i = 0; i < c->n_servers; i++) {
        const struct raft_server *s = &c->servers[i];
        size_t len;

        if (!server_valid(s)) {
            return RAFT_ERR_INVALID;
        }

        len = strlen(s->address);
        wire_put_u64(&w, s->id);
        wire_put_u8(&w, s->role);
        wire_put_bytes(&w, s->incarnation.bytes, sizeof(s->incarnation.bytes));
        wire_put_u16(&w, (uint16_t)len);
        wire_put_bytes(&w, s->address, len);
    }

    return w.failed ? RAFT_ERR_NOSPACE : (int)w.len;
}

static bool decode_server(struct wire_reader *rd, struct raft_server *s)
{
    uint16_t len;

    s->id = wire_get_u64(rd);
    s->role = wire_get_u8(rd);
    wire_get_bytes(rd, s->incarnation.bytes, sizeof(s->incarnation.bytes));
    len = wire_get_u16(rd);
    if (rd->failed || len >= RAFT_MAX_ADDRESS) {
        return false;
    }

    wire_get_bytes(rd, s->address, len);
    return !rd->failed && memchr(s->address, 0, len) == NULL && server_valid(s);
}

int raft_config_decode(const void *buf, size_t len, struct raft_config *c)
{
    struct wire_reader rd = wire_reader_init(buf, len);
    struct raft_config found = {0};
    uint32_t version = wire_get_u32(&rd);
    uint32_t n = wire_get_u32(&rd);

    if (rd.failed) {
        return RAFT_ERR_MALFORMED;
    }

    if (version != CONFIG_VERSION) {
        return RAFT_ERR_VERSION;
    }

    if (n > RAFT_MAX_SERVERS) {
        return RAFT_ERR_MALFORMED;
    }

    for (uint32_t i = 0; i < n; i++) {
        if (!decode_server(&rd, &found.servers[i])) {
            return RAFT_ERR_MALFORMED;
        }

        if (i > 0 && found.servers[i].id <= found.servers[i - 1].id) {
            return RAFT_ERR_MALFORMED;
        }
    }

    if (wire_left(&rd) != 0) {
        return RAFT_ERR_MALFORMED;
    }

    found.n_servers = n;
    *c = found;
    return RAFT_OK;
}
