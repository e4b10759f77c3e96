// One server under a test's hand: its time, its disk, its allocator.
#pragma once

#include <cstdlib>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <raft/raft.h>

namespace raft_test
{

constexpr uint64_t kMs = 1000000;

struct Budget {
    int left = 1 << 30;
    long live = 0;
};

inline void *resize(void *ctx, void *ptr, size_t size)
{
    Budget *b = static_cast<Budget *>(ctx);
    if (size == 0) {
        b->live -= ptr != nullptr;
        free(ptr);
        return nullptr;
    }
    if (b->left-- <= 0) {
        return nullptr;
    }
    b->live += ptr == nullptr;
    return realloc(ptr, size);
}

inline raft_config voters(raft_id n)
{
    raft_config c = {};
    for (raft_id id = 1; id <= n; id++) {
        raft_server s = {};
        s.id = id;
        s.role = RAFT_VOTER;
        raft_config_add(&c, &s);
    }
    return c;
}

// One server (id 1), whose disk completes only when told to.
struct Server {
    Budget budget;
    raft_options opt;
    raft *core = nullptr;
    raft_effects out = {};
    uint64_t now = 1000 * kMs;
    raft_config config;

    explicit Server(raft_id n_voters = 3) : config(voters(n_voters))
    {
        raft_options_init(&opt);
        opt.id = 1;
        memset(opt.cluster.bytes, 1, 16);
        memset(opt.incarnation.bytes, 2, 16);
        opt.seed = 3;
        opt.alloc = {&budget, resize};
    }
    ~Server()
    {
        raft_free(core);
        EXPECT_EQ(budget.live, 0);
    }

    int step(const raft_event &ev)
    {
        int rc = raft_step(core, now, &ev, &out);
        EXPECT_STREQ(raft_check_invariants(core), nullptr);
        return rc;
    }
    int start(raft_event_start s = {})
    {
        core = raft_new(&opt);
        if (!core) {
            return RAFT_ERR_NOMEM;
        }
        raft_event ev = {};
        ev.type = RAFT_EVENT_START;
        if (!s.config) {
            s.config = &config;
        }
        ev.u.start = s;
        return step(ev);
    }
    int simple(raft_event_type type)
    {
        raft_event ev = {};
        ev.type = type;
        return step(ev);
    }
    void timeout()
    {
        now = out.deadline_ns;
        simple(RAFT_EVENT_TIMEOUT);
    }
    void persisted(uint64_t seq)
    {
        raft_event ev = {};
        ev.type = RAFT_EVENT_PERSISTED;
        ev.u.persisted.seq = seq;
        step(ev);
    }
    raft_message from(raft_id id, raft_term term, uint8_t type)
    {
        raft_message m = {};
        m.cluster = opt.cluster;
        memset(m.incarnation.bytes, 2, 16);
        m.from = id;
        m.to = 1;
        m.term = term;
        m.type = type;
        return m;
    }
    void message(const raft_message &m)
    {
        raft_event ev = {};
        ev.type = RAFT_EVENT_MESSAGE;
        ev.u.message = &m;
        step(ev);
    }
    const raft_message *sent(uint8_t type) const
    {
        for (size_t i = 0; i < out.n_messages; i++) {
            if (out.messages[i].type == type) {
                return &out.messages[i];
            }
        }
        return nullptr;
    }
    raft_status status() const
    {
        raft_status st;
        raft_get_status(core, &st);
        return st;
    }
    int propose(uint32_t size, size_t n = 1)
    {
        static char bytes[1 << 16];
        std::vector<raft_entry> e(n);
        for (raft_entry &x : e) {
            x = {0, bytes, size, RAFT_ENTRY_COMMAND};
        }
        raft_event ev = {};
        ev.type = RAFT_EVENT_PROPOSE;
        ev.u.propose.entries = e.data();
        ev.u.propose.n_entries = n;
        int rc = step(ev);
        out.persist.entries = nullptr;
        return rc;
    }
    // Wins an election against two others that agree at once.
    void lead()
    {
        while (out.role != RAFT_PRECANDIDATE) {
            timeout();
        }
        raft_message m = from(2, out.term, RAFT_MSG_VOTE_REPLY);
        m.u.vote_reply = {out.term + 1, true, true};
        message(m);
        persisted(out.persist.seq);
        m = from(2, out.term, RAFT_MSG_VOTE_REPLY);
        m.u.vote_reply = {out.term, false, true};
        message(m);
        ASSERT_EQ(out.role, RAFT_LEADER);
        uint64_t seq = out.persist.seq;
        m = from(2, out.term, RAFT_MSG_APPEND_REPLY);
        m.u.append_reply.match = status().last_index;
        m.u.append_reply.received = m.u.append_reply.match;
        message(m);
        persisted(seq);
        ASSERT_EQ(out.commit_index, status().last_index);
    }
};

} // namespace raft_test
