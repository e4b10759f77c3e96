// The trail against the obvious model: a vector of (term, size).
#include <cstdlib>
#include <random>
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "trail_priv.h"
}

namespace
{

void *resize(void *ctx, void *ptr, size_t size)
{
    int *budget = static_cast<int *>(ctx);
    if (size == 0) {
        free(ptr);
        return nullptr;
    }
    if (budget && (*budget)-- <= 0) {
        return nullptr;
    }
    return realloc(ptr, size);
}

struct Model {
    raft_index first = 1;
    raft_term prev = 0;
    std::vector<std::pair<raft_term, uint32_t>> log;

    raft_index last() const
    {
        return first + log.size() - 1;
    }
    raft_term term(raft_index i) const
    {
        if (i + 1 == first) {
            return prev;
        }
        return i >= first && i <= last() ? log[i - first].first : 0;
    }
    raft_index meet(raft_index i, raft_term t) const
    {
        i = std::min(i, last());
        while (i >= first && term(i) > t) {
            i--;
        }
        return i;
    }
};

void expect_equal(const raft_trail &t, const Model &m)
{
    ASSERT_EQ(t.first, m.first);
    ASSERT_EQ(t.last, m.last());
    for (raft_index i = m.first > 3 ? m.first - 3 : 0; i <= m.last() + 2; i++) {
        ASSERT_EQ(raft_trail_term(&t, i), m.term(i)) << i;
        if (i >= m.first && i <= m.last()) {
            ASSERT_EQ(raft_trail_size(&t, i), m.log[i - m.first].second) << i;
        }
    }
}

} // namespace

TEST(Trail, BehavesLikeAVectorUnderRandomOperations)
{
    raft_alloc alloc = {nullptr, resize};
    for (unsigned seed = 0; seed < 30; seed++) {
        std::mt19937 rng(seed);
        raft_trail t = {};
        Model m;
        raft_trail_reset(&t, 0, 0);
        for (int i = 0; i < 400; i++) {
            switch (rng() % 6) {
            case 0:
                if (!m.log.empty()) {
                    m.log.resize(rng() % m.log.size());
                    raft_trail_truncate(&t, m.last());
                }
                break;
            case 1: {
                raft_index first = m.first + rng() % (m.log.size() / 2 + 1);
                m.prev = m.term(first - 1);
                m.log.erase(m.log.begin(), m.log.begin() + static_cast<long>(first - m.first));
                m.first = first;
                raft_trail_trim(&t, first);
                break;
            }
            default:
                for (unsigned n = rng() % 20; n > 0; n--) {
                    raft_term term = std::max<raft_term>(m.term(m.last()), 1) + (rng() % 3 == 0);
                    uint32_t size = static_cast<uint32_t>(rng() % 1000);
                    ASSERT_EQ(raft_trail_reserve(&t, &alloc, 1), 0);
                    raft_trail_append(&t, term, size);
                    m.log.push_back({term, size});
                }
                break;
            }
            expect_equal(t, m);
            raft_index at = m.first + rng() % (m.log.size() + 3);
            raft_term term = rng() % (m.term(m.last()) + 2);
            if (at >= m.first) {
                ASSERT_EQ(raft_trail_meet(&t, at, term), m.meet(at, term));
            }
        }
        raft_trail_free(&t, &alloc);
    }
}

TEST(Trail, IsUnchangedWhenThereIsNoMemory)
{
    int budget = 1000;
    raft_alloc alloc = {&budget, resize};
    raft_trail t = {};
    Model m;
    raft_trail_reset(&t, 0, 0);
    for (uint32_t i = 0; i < 100; i++) {
        ASSERT_EQ(raft_trail_reserve(&t, &alloc, 1), 0);
        raft_trail_append(&t, i / 3 + 1, i);
        m.log.push_back({i / 3 + 1, i});
    }
    for (int n = 0; n < 2; n++) {
        budget = n;
        EXPECT_EQ(raft_trail_reserve(&t, &alloc, 100000), RAFT_ERR_NOMEM);
        expect_equal(t, m);
    }
    budget = 2;
    EXPECT_EQ(raft_trail_reserve(&t, &alloc, 100000), 0);
    expect_equal(t, m);
    raft_trail_free(&t, &alloc);
}
