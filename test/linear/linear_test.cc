#include "linear/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace linear
{
namespace
{

Op Read(int64_t start, int64_t end, const char *result, const char *key = "x")
{
    return {start, end, Kind::kRead, key, "", "", result};
}

Op Write(int64_t start, int64_t end, const char *value, const char *key = "x")
{
    return {start, end, Kind::kWrite, key, value, "", ""};
}

Op Cas(int64_t start, int64_t end, const char *expect, const char *value, const char *result)
{
    return {start, end, Kind::kCas, "x", value, expect, result};
}

Op Add(int64_t start, int64_t end, const char *by, const char *result)
{
    return {start, end, Kind::kAdd, "x", by, "", result};
}

Op Meta(int64_t start, int64_t end, Kind kind, const char *key, const char *arg, const char *result)
{
    return {start, end, kind, key, arg, "", result};
}

Verdict Judge(const std::vector<Op> &history)
{
    return Check(Register(), history).verdict;
}

// The definition itself: some order of some of the calls, all answered ones among them.
bool Naive(const Model &model, const std::vector<Op> &ops)
{
    std::vector<size_t> order(ops.size());
    std::iota(order.begin(), order.end(), 0);
    do {
        for (size_t n = 0; n <= ops.size(); n++) {
            std::string state;
            bool fits = true;
            for (size_t i = 0; i < ops.size() && fits; i++) {
                const Op &op = ops[order[i]];
                fits = i < n ? model.Step(&state, op) : op.end == kNever;
                for (size_t k = i + 1; k < n && fits; k++) {
                    fits = ops[order[k]].end >= op.start;
                }
            }
            if (fits) {
                return true;
            }
        }
    } while (std::next_permutation(order.begin(), order.end()));
    return false;
}

} // namespace

TEST(Linear, AcceptsWhatIsInOrder)
{
    EXPECT_EQ(Judge({}), Verdict::kYes);
    EXPECT_EQ(Judge({Read(1, 2, ""), Write(3, 4, "1"), Read(5, 6, "1")}), Verdict::kYes);
    EXPECT_EQ(Judge({Cas(1, 2, "", "1", "ok"), Cas(3, 4, "", "2", "differs"), Read(5, 6, "1")}),
              Verdict::kYes);
}

TEST(Linear, ConcurrentCallsMayGoEitherWay)
{
    EXPECT_EQ(Judge({Write(1, 10, "1"), Read(2, 3, "")}), Verdict::kYes);
    EXPECT_EQ(Judge({Write(1, 10, "1"), Read(2, 3, "1")}), Verdict::kYes);
    EXPECT_EQ(Judge({Write(1, 2, "1"), Read(2, 3, "")}), Verdict::kYes) << "same time: concurrent";
}

TEST(Linear, RejectsAStaleRead)
{
    EXPECT_EQ(Judge({Write(1, 2, "1"), Write(3, 4, "2"), Read(5, 6, "1")}), Verdict::kNo);
    // New, then old, while the write still runs.
    EXPECT_EQ(Judge({Write(1, 10, "1"), Read(2, 3, "1"), Read(4, 5, "")}), Verdict::kNo);
}

TEST(Linear, RejectsALostUpdate)
{
    EXPECT_EQ(Judge({Cas(1, 10, "", "1", "ok"), Cas(2, 9, "", "2", "ok")}), Verdict::kNo);
    EXPECT_EQ(Judge({Add(1, 10, "1", "1"), Add(2, 9, "1", "1")}), Verdict::kNo);
    EXPECT_EQ(Judge({Write(1, 2, "1"), Read(3, 4, "")}), Verdict::kNo);
}

TEST(Linear, RejectsADoubleApply)
{
    EXPECT_EQ(Judge({Add(1, 2, "1", "1"), Read(3, 4, "2")}), Verdict::kNo);
    // An unknown outcome is at most one effect, too.
    EXPECT_EQ(Judge({Add(1, kNever, "1", ""), Read(3, 4, "1"), Read(5, 6, "2")}), Verdict::kNo);
    // A retried write that comes back over a later one.
    EXPECT_EQ(Judge({Write(1, 2, "1"), Write(3, 4, "2"), Read(5, 6, "2"), Read(7, 8, "1")}),
              Verdict::kNo);
}

TEST(Linear, RejectsAReadFromTheFuture)
{
    EXPECT_EQ(Judge({Read(1, 2, "1"), Write(3, 4, "1")}), Verdict::kNo);
    EXPECT_EQ(Judge({Read(1, 2, "1"), Write(3, kNever, "1")}), Verdict::kNo);
    EXPECT_EQ(Judge({Read(1, 2, "never written")}), Verdict::kNo);
}

TEST(Linear, AnUnknownOutcomeTakesEffectLateOrNever)
{
    const Op lost = Write(1, kNever, "1");
    EXPECT_EQ(Judge({lost, Read(5, 6, "")}), Verdict::kYes);
    EXPECT_EQ(Judge({lost, Read(5, 6, ""), Read(7, 8, "1")}), Verdict::kYes);
    EXPECT_EQ(Judge({lost, Read(5, 6, "1"), Read(7, 8, "")}), Verdict::kNo);
    EXPECT_EQ(Judge({Read(1, kNever, ""), Read(2, 3, "")}), Verdict::kYes);
}

TEST(Linear, KeysAreIndependentAndTheBrokenOneIsNamed)
{
    const Result r = Check(Register(), {Write(1, 2, "1", "a"), Write(1, 2, "2", "b"),
                                        Read(3, 4, "1", "a"), Read(3, 4, "1", "b")});
    EXPECT_EQ(r.verdict, Verdict::kNo);
    EXPECT_EQ(r.text, "key 'b': no order explains the answer '1' at 4");
}

TEST(Linear, TheMountTableIsOneObject)
{
    const auto judge = [](const std::vector<Op> &ops) { return Check(MountTable(), ops).verdict; };
    const Op a = Meta(1, 2, Kind::kMount, "/a", "A", "ok");
    const Op b = Meta(3, 4, Kind::kMount, "/b", "B", "ok");
    EXPECT_EQ(judge({a, b, Meta(5, 6, Kind::kList, "", "", "/a=A;/b=B;")}), Verdict::kYes);
    EXPECT_EQ(judge({a, b, Meta(5, 6, Kind::kList, "", "", "/b=B;")}), Verdict::kNo);
    EXPECT_EQ(judge({a, Meta(3, 4, Kind::kMount, "/a", "C", "exists"),
                     Meta(5, 6, Kind::kRead, "/a", "", "A")}),
              Verdict::kYes);
    EXPECT_EQ(judge({a, Meta(3, 4, Kind::kMount, "/a", "C", "ok")}), Verdict::kNo);
    EXPECT_EQ(judge({a, Meta(3, 9, Kind::kUnmount, "/a", "", "ok"),
                     Meta(3, 9, Kind::kUnmount, "/a", "", "ok")}),
              Verdict::kNo);
    // Two listings that disagree about what came first: no per-path check sees it.
    EXPECT_EQ(
        judge({Meta(1, 20, Kind::kMount, "/a", "A", "ok"),
               Meta(1, 20, Kind::kMount, "/b", "B", "ok"), Meta(2, 9, Kind::kList, "", "", "/a=A;"),
               Meta(2, 9, Kind::kList, "", "", "/b=B;")}),
        Verdict::kNo);
}

// Each client alone sees nothing strange.
TEST(Linear, RejectsReadsThatGoBackFromClientToClient)
{
    const Op writes[] = {Write(1, 2, "1"), Write(3, 20, "2")};
    EXPECT_EQ(Judge({writes[0], writes[1], Read(4, 5, "2"), Read(6, 7, "1")}), Verdict::kNo);
    EXPECT_EQ(Judge({writes[0], writes[1], Read(4, 7, "2"), Read(6, 8, "1")}), Verdict::kYes)
        << "they overlap";
    // Two clients that see two concurrent writes in two orders.
    EXPECT_EQ(Judge({Write(1, 20, "1"), Write(1, 20, "2"), Read(2, 3, "1"), Read(4, 5, "2"),
                     Read(6, 7, "1")}),
              Verdict::kNo);
}

// What a deposed leader, or a retry beside its own first try, makes of the mount table.
TEST(Linear, RejectsARefusalFromThePast)
{
    const auto judge = [](const std::vector<Op> &ops) { return Check(MountTable(), ops).verdict; };
    const Op a = Meta(1, 2, Kind::kMount, "/a", "A", "ok");
    const Op gone = Meta(3, 4, Kind::kUnmount, "/a", "", "ok");
    EXPECT_EQ(judge({a, gone, Meta(5, 6, Kind::kMount, "/a", "B", "exists")}), Verdict::kNo);
    EXPECT_EQ(judge({a, gone, Meta(5, 6, Kind::kUnmount, "/a", "", "ok")}), Verdict::kNo);
    EXPECT_EQ(judge({Meta(1, 2, Kind::kMount, "/a", "A", "exists"),
                     Meta(3, 4, Kind::kRead, "/a", "", "A")}),
              Verdict::kNo)
        << "it was refused, and is there";
    // Unmounted although nobody got an answer, and there again.
    EXPECT_EQ(
        judge({a, Meta(3, kNever, Kind::kUnmount, "/a", "", ""),
               Meta(5, 6, Kind::kList, "", "", ""), Meta(7, 8, Kind::kList, "", "", "/a=A;")}),
        Verdict::kNo);
}

TEST(Linear, FindsOneWrongAnswerInALongHistory)
{
    std::vector<Op> ops;
    const int n = 4000;
    for (int i = 0; i < n; i++) {
        // Four clients, each overlapping its neighbours.
        const std::string value = std::to_string(i + 1);
        ops.push_back(Add(10 * i, 10 * i + 35, "1", value.c_str()));
    }
    EXPECT_EQ(Judge(ops), Verdict::kYes);
    ops[n / 2].result = std::to_string(n / 2);
    EXPECT_EQ(Judge(ops), Verdict::kNo);
}

TEST(Linear, GivesUpAtItsLimitRatherThanGuess)
{
    std::vector<Op> ops;
    for (int i = 0; i < 16; i++) {
        ops.push_back(Write(1, kNever, std::to_string(i).c_str()));
    }
    ops.push_back(Read(5, 6, "none of them"));
    EXPECT_EQ(Check(Register(), ops, 1000).verdict, Verdict::kTooHard);
}

TEST(Linear, AgreesWithTheDefinitionOnRandomHistories)
{
    std::mt19937 random(1);
    const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    int yes = 0, no = 0;
    for (int round = 0; round < 1500; round++) {
        std::vector<Op> ops;
        for (int i = 2 + pick(4); i > 0; i--) {
            const int64_t start = pick(8);
            Op op = {start, start + 1 + pick(6), Kind::kRead, "x", "", "", ""};
            const std::string value = std::to_string(pick(3));
            op.kind = std::vector<Kind>{Kind::kRead, Kind::kWrite, Kind::kCas, Kind::kAdd}[pick(4)];
            op.arg = op.kind == Kind::kAdd ? "1" : value;
            op.expect = std::to_string(pick(3));
            op.result = op.kind == Kind::kCas ? (pick(2) ? "ok" : "differs") : value;
            op.end = pick(5) == 0 ? kNever : op.end;
            ops.push_back(op);
        }
        const bool naive = Naive(Register(), ops);
        (naive ? yes : no)++;
        ASSERT_EQ(Judge(ops) == Verdict::kYes, naive) << "round " << round;
    }
    EXPECT_GT(yes, 100);
    EXPECT_GT(no, 100);
}

} // namespace linear
