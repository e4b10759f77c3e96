// The core by itself: what it accepts at start and from its host. Everything that needs several
// servers is in test/sim.
#include "unit/raft/core_server.h"

using namespace raft_test;

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

TEST(Timers, JudgeNobodysSilenceWhileMoreEventsWait)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    raft_message beat = s.from(2, 1, RAFT_MSG_APPEND);
    s.message(beat);
    s.persisted(s.out.persist.seq);
    s.now = s.out.deadline_ns + kMs; /* late by less than the core forgives of its own accord */

    raft_event ev = {};
    ev.type = RAFT_EVENT_LINK_UP;
    ev.more = true;
    ev.u.link.peer = 3;
    s.step(ev);
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER) << "the leader's heartbeat is behind it";
    EXPECT_EQ(s.out.deadline_ns, s.now) << "but do not forget me";
    s.message(beat);
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
    EXPECT_GT(s.out.deadline_ns, s.now);

    s.now = s.out.deadline_ns + kMs;
    s.step(ev);
    s.simple(RAFT_EVENT_TIMEOUT); /* no heartbeat after all */
    EXPECT_EQ(s.out.role, RAFT_PRECANDIDATE);
}

TEST(Timers, OfALeaderAreNotHeldButItsStepDownIs)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    s.lead();
    for (uint64_t end = s.now + 3 * s.opt.election_ns; s.now < end;) {
        s.now = s.out.deadline_ns;
        raft_event ev = {};
        ev.type = RAFT_EVENT_TIMEOUT;
        ev.more = true;
        s.step(ev);
        EXPECT_NE(s.sent(RAFT_MSG_APPEND), nullptr);
        ASSERT_EQ(s.out.role, RAFT_LEADER);
    }
    while (s.out.role == RAFT_LEADER && s.now < 5000 * kMs) {
        s.timeout();
    }
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
}
