#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <raft/raft.h>

namespace
{

struct Sample {
    raft_message m = {};
    std::vector<raft_entry> entries;
    raft_config config = {};
};

raft_config three_servers()
{
    raft_config c = {};
    for (raft_id id : {3, 1, 2}) {
        raft_server s = {};
        s.id = id;
        s.role = id == 3 ? RAFT_LEARNER : RAFT_VOTER;
        s.incarnation.bytes[0] = static_cast<uint8_t>(id);
        snprintf(s.address, sizeof(s.address), "10.0.0.%d:26001", static_cast<int>(id));
        EXPECT_EQ(raft_config_add(&c, &s), 0);
    }
    return c;
}

const char kPayload[] = "payload of an entry";

void fill(Sample *s, uint8_t type)
{
    raft_message &m = s->m;
    memset(m.cluster.bytes, 7, sizeof(m.cluster.bytes));
    memset(m.incarnation.bytes, 9, sizeof(m.incarnation.bytes));
    m.from = 1;
    m.to = 2;
    m.term = 5;
    m.type = type;
    s->config = three_servers();
    switch (type) {
    case RAFT_MSG_VOTE: m.u.vote = {5, 17, 4, false, true}; break;
    case RAFT_MSG_VOTE_REPLY: m.u.vote_reply = {6, true, true}; break;
    case RAFT_MSG_APPEND:
        s->entries = {{4, kPayload, 19, RAFT_ENTRY_COMMAND}, {5, nullptr, 0, RAFT_ENTRY_NOOP}};
        m.u.append = {17, 4, 16, 99, true, 5, 2, s->entries.data()};
        break;
    case RAFT_MSG_APPEND_REPLY: m.u.append_reply = {true, 17, 12, 13, 11, 3, 99, true}; break;
    case RAFT_MSG_SNAPSHOT: m.u.snapshot = {10, 3, 1000, 500, 19, &s->config, kPayload}; break;
    case RAFT_MSG_SNAPSHOT_REPLY: m.u.snapshot_reply = {10, 519, true, 10}; break;
    case RAFT_MSG_READ: m.u.read = {77, 3}; break;
    case RAFT_MSG_READ_REPLY: m.u.read_reply = {77, 3, 15, true}; break;
    default: break;
    }
}

std::vector<uint8_t> encode(const raft_message &m)
{
    std::vector<uint8_t> b(raft_message_size(&m));
    EXPECT_EQ(raft_message_encode(&m, b.data(), b.size()), static_cast<int64_t>(b.size()));
    return b;
}

struct Decoder {
    raft_message m = {};
    std::vector<raft_entry> entries = std::vector<raft_entry>(64);
    raft_message_room room = {};
    size_t skip = 0;

    int64_t run(const std::vector<uint8_t> &b)
    {
        room.entries = entries.data();
        room.max_entries = entries.size();
        return raft_message_decode(b.data(), b.size(), &m, &room, &skip);
    }
};

std::string type_name(const ::testing::TestParamInfo<int> &param)
{
    return raft_message_type_name(static_cast<uint8_t>(param.param));
}

} // namespace

class MessageOfType : public ::testing::TestWithParam<int>
{
};

TEST_P(MessageOfType, ComesBackAsItWasSent)
{
    Sample s;
    Decoder d;
    fill(&s, static_cast<uint8_t>(GetParam()));
    std::vector<uint8_t> b = encode(s.m);

    ASSERT_EQ(d.run(b), static_cast<int64_t>(b.size()));
    EXPECT_EQ(d.m.type, s.m.type);
    EXPECT_EQ(d.m.from, 1u);
    EXPECT_EQ(d.m.to, 2u);
    EXPECT_EQ(d.m.term, 5u);
    EXPECT_TRUE(raft_uuid_equal(&d.m.cluster, &s.m.cluster));
    /* The whole content: encoded again it gives the same bytes. */
    EXPECT_EQ(encode(d.m), b);
}

TEST_P(MessageOfType, CutShortAnywhereIsRefused)
{
    Sample s;
    fill(&s, static_cast<uint8_t>(GetParam()));
    std::vector<uint8_t> b = encode(s.m);
    for (size_t n = 0; n < b.size(); n++) {
        Decoder d;
        std::vector<uint8_t> part(b.begin(), b.begin() + static_cast<long>(n));
        EXPECT_EQ(d.run(part), RAFT_ERR_TRUNCATED) << n;
        EXPECT_EQ(d.m.type, 0) << "touched";
    }
}

TEST_P(MessageOfType, WithAShorterTotalLengthIsMalformed)
{
    Sample s;
    fill(&s, static_cast<uint8_t>(GetParam()));
    std::vector<uint8_t> b = encode(s.m);
    for (uint32_t n = 0; n < b.size(); n++) {
        Decoder d;
        std::vector<uint8_t> part = b;
        memcpy(&part[4], &n, 4);
        EXPECT_EQ(d.run(part), RAFT_ERR_MALFORMED) << n;
    }
}

TEST_P(MessageOfType, DoesNotFitIntoLessThanItsSize)
{
    Sample s;
    fill(&s, static_cast<uint8_t>(GetParam()));
    std::vector<uint8_t> b(raft_message_size(&s.m) - 1, 0xEE);
    EXPECT_EQ(raft_message_encode(&s.m, b.data(), b.size()), RAFT_ERR_NOSPACE);
    EXPECT_EQ(b[0], 0xEE);
}

TEST_P(MessageOfType, DamagedAtRandomIsRefusedOrMeansWhatItSays)
{
    std::mt19937 rng(static_cast<unsigned>(GetParam()));
    Sample s;
    fill(&s, static_cast<uint8_t>(GetParam()));
    std::vector<uint8_t> good = encode(s.m);
    size_t accepted = 0;
    for (int i = 0; i < 20000; i++) {
        Decoder d;
        std::vector<uint8_t> b = good;
        for (unsigned k = 0; k < 1 + rng() % 3; k++) {
            b[rng() % b.size()] = static_cast<uint8_t>(rng() % 4 ? rng() % 8 : rng());
        }
        int64_t n = d.run(b);
        if (n > 0) {
            accepted++;
            ASSERT_LE(n, static_cast<int64_t>(b.size()));
            std::vector<uint8_t> again = encode(d.m);
            if (again.size() == static_cast<size_t>(n)) {
                b[3] = 0; /* reserved: ignored */
                EXPECT_TRUE(std::equal(again.begin(), again.end(), b.begin()));
            }
        }
    }
    EXPECT_GT(accepted, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, MessageOfType,
                         ::testing::Range<int>(RAFT_MSG_VOTE, RAFT_MSG_READ_REPLY + 1), type_name);

TEST(Message, S69_OfAnUnknownTypeOrVersionIsSkipped)
{
    Sample s;
    fill(&s, RAFT_MSG_READ);
    for (size_t at : {1, 2}) {
        Decoder d;
        std::vector<uint8_t> b = encode(s.m);
        b[at] = 200;
        EXPECT_EQ(d.run(b), RAFT_ERR_VERSION);
        EXPECT_EQ(d.skip, b.size());
    }
}

TEST(Message, S69_WithALongerFixedPartOfALaterVersionIsUnderstood)
{
    Sample s;
    Decoder d;
    fill(&s, RAFT_MSG_READ);
    std::vector<uint8_t> b = encode(s.m);
    uint16_t fixed = 16 + 4;
    uint32_t total = static_cast<uint32_t>(b.size()) + 4;
    b.insert(b.end(), 4, 0xAB);
    memcpy(&b[64], &fixed, 2);
    memcpy(&b[4], &total, 4);
    ASSERT_EQ(d.run(b), static_cast<int64_t>(b.size()));
    EXPECT_EQ(d.m.u.read.nonce, 77u);
    EXPECT_EQ(d.m.u.read.seq, 3u);
}

TEST(Message, SeveralInARowAreTakenOneByOne)
{
    std::vector<uint8_t> all;
    for (uint8_t type = RAFT_MSG_VOTE; type <= RAFT_MSG_READ_REPLY; type++) {
        Sample s;
        fill(&s, type);
        std::vector<uint8_t> b = encode(s.m);
        all.insert(all.end(), b.begin(), b.end());
    }
    size_t at = 0;
    uint8_t expected = RAFT_MSG_VOTE;
    while (at < all.size()) {
        Decoder d;
        int64_t n = d.run(std::vector<uint8_t>(all.begin() + static_cast<long>(at), all.end()));
        ASSERT_GT(n, 0);
        EXPECT_EQ(d.m.type, expected++);
        at += static_cast<size_t>(n);
    }
    EXPECT_EQ(expected, RAFT_MSG_READ_REPLY + 1);
}

TEST(Message, WhoseEntriesWereOverwrittenIsStale)
{
    Sample s;
    uint8_t b[512];
    fill(&s, RAFT_MSG_APPEND);
    s.m.u.append.last_term = 4; /* as the core meant it; the log now says 5 */
    EXPECT_EQ(raft_message_encode(&s.m, b, sizeof(b)), RAFT_ERR_STALE);
    s.m.u.append.entries = nullptr;
    EXPECT_EQ(raft_message_encode(&s.m, b, sizeof(b)), RAFT_ERR_INVALID);
}

TEST(Message, WithMoreEntriesThanThereIsRoomForIsTooBig)
{
    Sample s;
    Decoder d;
    fill(&s, RAFT_MSG_APPEND);
    d.entries.resize(1);
    EXPECT_EQ(d.run(encode(s.m)), RAFT_ERR_TOO_BIG);
}

TEST(Config, KeepsServersInOrderAndCountsVoters)
{
    raft_config c = three_servers();
    EXPECT_EQ(c.servers[0].id, 1u);
    EXPECT_EQ(c.servers[2].id, 3u);
    EXPECT_EQ(raft_config_voters(&c), 2u);
    EXPECT_EQ(raft_config_quorum(&c), 2u);
    EXPECT_TRUE(raft_config_is_voter(&c, 1));
    EXPECT_FALSE(raft_config_is_voter(&c, 3));
    EXPECT_EQ(raft_config_add(&c, &c.servers[0]), RAFT_ERR_EXISTS);
    EXPECT_EQ(raft_config_remove(&c, 9), RAFT_ERR_UNKNOWN_SERVER);
    EXPECT_EQ(raft_config_remove(&c, 1), 0);
    EXPECT_EQ(c.n_servers, 2u);
}

TEST(Config, IsFullAtItsMaximum)
{
    raft_config c = {};
    raft_server s = {};
    s.role = RAFT_VOTER;
    for (s.id = 1; s.id <= RAFT_MAX_SERVERS; s.id++) {
        EXPECT_EQ(raft_config_add(&c, &s), 0);
    }
    EXPECT_EQ(raft_config_add(&c, &s), RAFT_ERR_BUSY);
}

TEST(Config, DamagedBytesNeverChangeTheResult)
{
    std::mt19937 rng(1);
    raft_config c = three_servers();
    std::vector<uint8_t> good(RAFT_MAX_CONFIG_BYTES);
    int n = raft_config_encode(&c, good.data(), good.size());
    ASSERT_GT(n, 0);
    good.resize(static_cast<size_t>(n));
    raft_config back = {};
    ASSERT_EQ(raft_config_decode(good.data(), good.size(), &back), 0);
    EXPECT_EQ(memcmp(&back, &c, sizeof(c)), 0);

    for (int i = 0; i < 20000; i++) {
        std::vector<uint8_t> b = good;
        b[rng() % b.size()] = static_cast<uint8_t>(rng());
        b.resize(rng() % 4 ? b.size() : rng() % b.size());
        raft_config out;
        memset(&out, 0x5A, sizeof(out));
        raft_config before = out;
        if (raft_config_decode(b.data(), b.size(), &out) != 0) {
            EXPECT_EQ(memcmp(&out, &before, sizeof(out)), 0);
        } else {
            EXPECT_LE(out.n_servers, static_cast<uint32_t>(RAFT_MAX_SERVERS));
        }
    }
}

TEST(Errors, HaveTexts)
{
    EXPECT_STREQ(raft_strerror(0), "success");
    EXPECT_STREQ(raft_strerror(RAFT_ERR_NOT_LEADER), "this server is not the leader");
    EXPECT_STREQ(raft_strerror(-9999), "unknown error");
}
