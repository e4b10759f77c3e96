// The core by itself, step by step; everything that needs several servers is in test/sim.
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <raft/raft.h>

namespace
{

constexpr uint64_t kMs = 1000000;

struct Budget {
    int left = 1 << 30;
    long live = 0;
};

void *resize(void *ctx, void *ptr, size_t size)
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

raft_config voters(raft_id n)
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

} // namespace

TEST(Options, AreRefusedWhenTheyMakeNoSense)
{
    raft_options good;
    raft_options_init(&good);
    EXPECT_EQ(raft_new(&good), nullptr) << "no id";
    Server s;
    good = s.opt;
    for (int i = 0; i < 5; i++) {
        raft_options o = good;
        switch (i) {
        case 0: o.election_ns = o.heartbeat_ns; break;
        case 1: o.max_inflight_messages = 0; break;
        case 2: memset(&o.cluster, 0, sizeof(o.cluster)); break;
        case 3: o.max_append_entries = RAFT_MAX_MESSAGE_ENTRIES + 1; break;
        default: o.snapshot_chunk_bytes = 0; break;
        }
        EXPECT_EQ(raft_new(&o), nullptr) << i;
    }
}

TEST(Start, RefusesStateThatNoCoreWrites)
{
    raft_entry falling[] = {{2, nullptr, 0, RAFT_ENTRY_NOOP}, {1, nullptr, 0, RAFT_ENTRY_NOOP}};
    raft_event_start cases[5] = {};
    cases[0].entries = falling; /* terms fall */
    cases[0].n_entries = 2;
    cases[0].first_index = 1;
    cases[0].term = 5;
    cases[1] = cases[0]; /* an entry above the term */
    cases[1].n_entries = 1;
    cases[1].term = 1;
    cases[2].snapshot_index = 3; /* without a term */
    cases[3] = cases[0];         /* a gap between snapshot and log */
    cases[3].n_entries = 1;
    cases[3].first_index = 7;
    cases[4].snapshot_term = 9; /* a snapshot from the future */
    cases[4].snapshot_index = 4;
    for (const raft_event_start &c : cases) {
        Server s;
        EXPECT_EQ(s.start(c), RAFT_ERR_INVALID) << &c - cases;
        EXPECT_EQ(s.simple(RAFT_EVENT_TIMEOUT), RAFT_ERR_INVALID) << "still stopped";
    }
}

TEST(Start, TakesALogThatReachesBehindItsSnapshot)
{
    raft_entry log[] = {{1, nullptr, 5, RAFT_ENTRY_COMMAND},
                        {1, nullptr, 5, RAFT_ENTRY_COMMAND},
                        {2, nullptr, 5, RAFT_ENTRY_COMMAND}};
    raft_event_start e = {};
    e.term = 4;
    e.snapshot_index = 9;
    e.snapshot_term = 1;
    e.first_index = 8;
    e.prev_term = 1;
    e.entries = log;
    e.n_entries = 3;
    Server s;
    ASSERT_EQ(s.start(e), 0);
    raft_status st = s.status();
    EXPECT_EQ(st.first_index, 8u);
    EXPECT_EQ(st.last_index, 10u);
    EXPECT_EQ(st.commit_index, 9u);
    EXPECT_EQ(raft_term_at(s.core, 7), 1u);
    EXPECT_EQ(raft_term_at(s.core, 10), 2u);
}

TEST(Start, FailsCleanlyAtEveryAllocation)
{
    raft_entry log[] = {{1, nullptr, 5, RAFT_ENTRY_COMMAND}};
    raft_event_start e = {};
    e.term = 1;
    e.first_index = 1;
    e.entries = log;
    e.n_entries = 1;
    int n = 0;
    for (;; n++) {
        Server s;
        s.budget.left = n;
        int rc = s.start(e);
        if (rc == 0) {
            break;
        }
        EXPECT_EQ(rc, RAFT_ERR_NOMEM);
        ASSERT_LT(n, 100);
    }
    EXPECT_GT(n, 5);
}

TEST(Propose, WithoutMemoryChangesNothing)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    s.lead();
    raft_index last = s.status().last_index;
    int failed = 0;
    for (int n = 0; n < 4; n++) {
        s.budget.left = n;
        int rc = s.propose(1, 500);
        if (rc == 0) {
            EXPECT_EQ(s.out.proposed_first, last + 1);
            EXPECT_EQ(s.status().last_index, last + 500);
            break;
        }
        failed++;
        EXPECT_EQ(rc, RAFT_ERR_NOMEM);
        EXPECT_EQ(s.status().last_index, last);
        EXPECT_EQ(s.out.persist.seq, 0u);
    }
    EXPECT_GT(failed, 0);
    EXPECT_LT(failed, 4);
    s.budget.left = 1 << 30;
}

TEST(Append, WithoutMemoryIsLikeALostMessage)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    raft_entry e[200];
    for (raft_entry &x : e) {
        x = {1, nullptr, 0, RAFT_ENTRY_COMMAND};
    }
    raft_message m = s.from(2, 1, RAFT_MSG_APPEND);
    m.u.append.n_entries = 200;
    m.u.append.entries = e;
    s.budget.left = 0;
    s.message(m);
    EXPECT_EQ(s.status().last_index, 0u);
    EXPECT_EQ(s.out.persist.n_entries, 0u);
    s.budget.left = 1 << 30;
    s.message(m);
    EXPECT_EQ(s.status().last_index, 200u);
}

TEST(Propose, IsRefusedAtTheCapsAndTakenAgainWhenDrained)
{
    Server s;
    s.opt.max_uncommitted_bytes = 1000;
    s.opt.max_uncommitted_entries = 10;
    ASSERT_EQ(s.start(), 0);
    s.lead();
    EXPECT_EQ(s.propose(600), 0);
    EXPECT_EQ(s.propose(600), RAFT_ERR_BUSY);
    EXPECT_EQ(s.propose(100, 9), RAFT_ERR_BUSY);
    EXPECT_EQ(s.propose(10, 9), 0);
    EXPECT_EQ(s.propose(0), RAFT_ERR_BUSY);
    EXPECT_EQ(s.status().uncommitted_bytes, 690u);

    s.persisted(s.out.persist.seq ? s.out.persist.seq : 4);
    raft_message m = s.from(2, s.out.term, RAFT_MSG_APPEND_REPLY);
    m.u.append_reply.match = m.u.append_reply.received = s.status().last_index;
    s.message(m);
    m = s.from(3, s.out.term, RAFT_MSG_APPEND_REPLY);
    m.u.append_reply.match = m.u.append_reply.received = s.status().last_index;
    s.message(m);
    EXPECT_EQ(s.status().uncommitted_bytes, 0u);
    EXPECT_EQ(s.propose(600), 0);
}

TEST(Propose, OfWhatIsNoCommandIsInvalid)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    EXPECT_EQ(s.propose(1), RAFT_ERR_NOT_LEADER);
    s.lead();
    raft_entry e = {0, nullptr, 0, RAFT_ENTRY_CONFIG};
    raft_event ev = {};
    ev.type = RAFT_EVENT_PROPOSE;
    ev.u.propose.entries = &e;
    ev.u.propose.n_entries = 1;
    EXPECT_EQ(s.step(ev), RAFT_ERR_INVALID);
    ev.u.propose.n_entries = 0;
    EXPECT_EQ(s.step(ev), RAFT_ERR_INVALID);
    e = {0, nullptr, RAFT_MAX_ENTRY_BYTES + 1, RAFT_ENTRY_COMMAND};
    ev.u.propose.n_entries = 1;
    EXPECT_EQ(s.step(ev), RAFT_ERR_TOO_BIG);
}

TEST(Candidate, TellsNobodyBeforeItsOwnVoteIsDurable)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    while (s.out.role != RAFT_PRECANDIDATE) {
        s.timeout();
    }
    ASSERT_NE(s.sent(RAFT_MSG_VOTE), nullptr);
    EXPECT_TRUE(s.sent(RAFT_MSG_VOTE)->u.vote.pre);
    EXPECT_EQ(s.out.persist.seq, 0u) << "a pre-vote leaves no trace";

    raft_message m = s.from(2, 0, RAFT_MSG_VOTE_REPLY);
    m.u.vote_reply = {1, true, true};
    s.message(m);
    EXPECT_EQ(s.out.role, RAFT_CANDIDATE);
    EXPECT_TRUE(s.out.persist.hard_state);
    EXPECT_EQ(s.out.persist.vote, 1u);
    EXPECT_EQ(s.out.n_messages, 0u);
    s.persisted(s.out.persist.seq);
    ASSERT_NE(s.sent(RAFT_MSG_VOTE), nullptr);
    EXPECT_FALSE(s.sent(RAFT_MSG_VOTE)->u.vote.pre);
}

TEST(Voter, AnswersWhenItsVoteIsDurableAndThenStaysWithIt)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    raft_message m = s.from(2, 7, RAFT_MSG_VOTE);
    m.u.vote.campaign_term = 7;
    s.message(m);
    EXPECT_EQ(s.out.n_messages, 0u);
    EXPECT_EQ(s.out.persist.term, 7u);
    EXPECT_EQ(s.out.persist.vote, 2u);
    s.persisted(s.out.persist.seq);
    ASSERT_NE(s.sent(RAFT_MSG_VOTE_REPLY), nullptr);
    EXPECT_TRUE(s.sent(RAFT_MSG_VOTE_REPLY)->u.vote_reply.granted);

    m.from = 3;
    s.message(m);
    ASSERT_NE(s.sent(RAFT_MSG_VOTE_REPLY), nullptr);
    EXPECT_FALSE(s.sent(RAFT_MSG_VOTE_REPLY)->u.vote_reply.granted);
    m.from = 2; /* asks again: its answer was lost */
    s.message(m);
    EXPECT_TRUE(s.sent(RAFT_MSG_VOTE_REPLY)->u.vote_reply.granted);
}

TEST(Voter, ThatIsRecoveringNeitherVotesNorCampaigns)
{
    raft_event_start e = {};
    e.term = 3;
    e.recover_until = 10;
    Server s;
    ASSERT_EQ(s.start(e), 0);
    EXPECT_TRUE(s.status().recovering);
    for (int i = 0; i < 10; i++) {
        s.timeout();
        EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
    }
    raft_message m = s.from(2, 7, RAFT_MSG_VOTE);
    m.u.vote.campaign_term = 7;
    m.u.vote.last_index = 100;
    m.u.vote.last_term = 6;
    s.message(m);
    s.persisted(s.out.persist.seq);
    EXPECT_EQ(s.status().vote, 0u);

    raft_entry log[12];
    for (raft_entry &x : log) {
        x = {7, nullptr, 0, RAFT_ENTRY_COMMAND};
    }
    m = s.from(2, 7, RAFT_MSG_APPEND);
    m.u.append.n_entries = 12;
    m.u.append.entries = log;
    s.message(m);
    uint64_t seq = s.out.persist.seq;
    s.persisted(seq);
    EXPECT_TRUE(s.status().recovering) << "durable, but not known to be committed";
    m.u.append = {12, 7, 12, 0, false, 0, 0, nullptr};
    s.message(m);
    EXPECT_FALSE(s.status().recovering);
}

TEST(Time, NeverGoesBack)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    uint64_t deadline = s.out.deadline_ns;
    uint64_t left = deadline - s.now;
    s.now -= 900 * kMs;
    s.simple(RAFT_EVENT_TIMEOUT);
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
    EXPECT_EQ(s.out.deadline_ns - s.now, left) << "waits for as long as before the jump";
}

TEST(Time, OneJumpAheadIsNoReasonForAnElection)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    s.now += 3600000 * kMs;
    s.simple(RAFT_EVENT_TIMEOUT);
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
    s.timeout();
    EXPECT_EQ(s.out.role, RAFT_PRECANDIDATE);
}

TEST(Message, OfAStrangerIsDropped)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    raft_message good = s.from(2, 9, RAFT_MSG_APPEND);
    raft_message bad[4] = {good, good, good, good};
    bad[0].cluster.bytes[3] ^= 1;
    bad[1].to = 2;
    bad[2].from = 0;
    bad[3].from = 1;
    for (int i = 0; i < 4; i++) {
        uint64_t dropped = s.status().messages_dropped;
        s.message(bad[i]);
        EXPECT_EQ(s.status().messages_dropped, dropped + 1) << i;
        EXPECT_EQ(s.out.term, 0u) << i;
    }
    s.message(good);
    EXPECT_EQ(s.out.term, 9u);
    EXPECT_EQ(s.out.leader, 2u);
}

TEST(Message, ReplyOfAServerThatLostItsDiskDoesNotCount)
{
    Server s;
    memset(s.config.servers[1].incarnation.bytes, 0xAA, 16); /* bound to another directory */
    ASSERT_EQ(s.start(), 0);
    while (s.out.role != RAFT_PRECANDIDATE) {
        s.timeout();
    }
    raft_message m = s.from(2, 0, RAFT_MSG_VOTE_REPLY);
    m.u.vote_reply = {1, true, true};
    s.message(m);
    EXPECT_EQ(s.out.role, RAFT_PRECANDIDATE);
    memset(m.incarnation.bytes, 0xAA, 16);
    s.message(m);
    EXPECT_EQ(s.out.role, RAFT_CANDIDATE);
}

// Peers that say anything at all: the core may be led astray, but not out of its own bounds.
TEST(Message, FromHostilePeersCannotBreakTheCore)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        std::mt19937_64 rng(seed);
        Server s;
        ASSERT_EQ(s.start(), 0);
        auto small = [&] { return rng() % 8 == 0 ? rng() : rng() % 12; };
        for (int i = 0; i < 3000; i++) {
            raft_entry log[8];
            raft_config config = voters(1 + rng() % 5);
            raft_message m = s.from(2 + rng() % 2, rng() % 40 == 0 ? small() : s.out.term,
                                    static_cast<uint8_t>(1 + rng() % RAFT_MSG_READ_REPLY));
            uint64_t *words = reinterpret_cast<uint64_t *>(&m.u);
            for (size_t w = 0; w < sizeof(m.u) / 8; w++) {
                words[w] = small();
            }
            if (m.type == RAFT_MSG_VOTE) {
                m.u.vote = {small(), small(), small(), rng() % 2 == 0, rng() % 2 == 0};
            } else if (m.type == RAFT_MSG_VOTE_REPLY) {
                m.u.vote_reply = {s.out.term + rng() % 2, rng() % 2 == 0, rng() % 2 == 0};
            } else if (m.type == RAFT_MSG_APPEND) {
                for (raft_entry &e : log) {
                    e = {small(), nullptr, 0, static_cast<uint8_t>(1 + rng() % 3)};
                }
                m.u.append = {small(),
                              small(),
                              small(),
                              small(),
                              rng() % 2 == 0,
                              0,
                              static_cast<uint32_t>(rng() % 8),
                              log};
            } else if (m.type == RAFT_MSG_APPEND_REPLY) {
                m.u.append_reply.rejected = rng() % 2;
                m.u.append_reply.recovering = rng() % 2;
            } else if (m.type == RAFT_MSG_SNAPSHOT) {
                m.u.snapshot = {
                    small(), small(), small(), small(), static_cast<uint32_t>(rng() % 5),
                    &config, log};
            } else if (m.type == RAFT_MSG_SNAPSHOT_REPLY) {
                m.u.snapshot_reply.installed = rng() % 2;
            } else if (m.type == RAFT_MSG_READ_REPLY) {
                m.u.read_reply.refused = rng() % 2;
            }
            raft_event ev = {};
            ev.type = RAFT_EVENT_MESSAGE;
            ev.u.message = &m;
            raft_step(s.core, s.now, &ev, &s.out);
            ASSERT_LE(s.out.apply_index, s.out.commit_index);
            ASSERT_LE(s.out.commit_index, s.status().last_index);

            uint64_t seq = s.out.persist.seq;
            raft_snapshot_chunk chunk = s.out.chunk;
            if (chunk.present) {
                ev = {};
                ev.type = RAFT_EVENT_SNAPSHOT_STORED;
                ev.u.stored = {chunk.meta.index, chunk.offset + chunk.len, rng() % 4 == 0};
                raft_step(s.core, s.now, &ev, &s.out);
                seq = s.out.persist.seq ? s.out.persist.seq : seq;
            }
            if (seq && rng() % 3) {
                ev = {};
                ev.type = RAFT_EVENT_PERSISTED;
                ev.u.persisted.seq = seq;
                raft_step(s.core, s.now, &ev, &s.out);
            }
            if (rng() % 20 == 0) {
                s.now = std::max(s.now, s.out.deadline_ns);
                ev = {};
                ev.type = RAFT_EVENT_TIMEOUT;
                raft_step(s.core, s.now, &ev, &s.out);
            }
        }
    }
}
