// The core by itself: what it says to peers and when, and what it takes from them.
#include <random>

#include "unit/raft/core_server.h"

using namespace raft_test;

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

TEST(Time, ALateHostHearsItsQueueBeforeItCampaigns)
{
    Server s;
    ASSERT_EQ(s.start(), 0);
    s.now = s.out.deadline_ns + 100 * kMs;
    s.simple(RAFT_EVENT_TIMEOUT);
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
    EXPECT_EQ(s.out.deadline_ns, s.now + s.opt.heartbeat_ns);
    raft_message m = s.from(2, 1, RAFT_MSG_APPEND); // it was waiting all the time
    s.message(m);
    s.persisted(s.out.persist.seq);
    EXPECT_GE(s.out.deadline_ns, s.now + s.opt.election_ns);

    s.now = s.out.deadline_ns + 100 * kMs;
    s.simple(RAFT_EVENT_TIMEOUT);
    EXPECT_EQ(s.out.role, RAFT_FOLLOWER);
    s.now = s.out.deadline_ns + 100 * kMs; // late again: not twice
    s.simple(RAFT_EVENT_TIMEOUT);
    EXPECT_EQ(s.out.role, RAFT_PRECANDIDATE);
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
