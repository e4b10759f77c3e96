// Was a history of concurrent calls linearizable? Wing and Gong's search with Lowe's cache of
// (calls done, state), per partition of independent keys. For histories of real processes; the
// simulator knows the log's order and needs no search.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace linear
{

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

enum class Kind { kRead, kWrite, kCas, kAdd, kMount, kUnmount, kList };

// One call and its answer. Times are of one clock; an answer and a call of the same time count as
// concurrent. A call whose outcome is unknown (time-out, lost connection) has end = kNever: it may
// take effect once, at any time after its start, or never.
struct Op {
    int64_t start = 0;
    int64_t end = kNever;
    Kind kind = Kind::kRead;
    std::string key;
    std::string arg;    // what is written, added, or mounted
    std::string expect; // kCas: the value it replaces
    std::string result; // what was answered
};

// A sequential specification. The state is its canonical text.
class Model
{
  public:
    virtual ~Model() = default;
    // Calls of different partitions are independent.
    virtual std::string Partition(const Op &op) const = 0;
    virtual bool Changes(const Op &op) const = 0;
    // Applies op; false if its answer is not what the specification answers in this state. The
    // answer of an op with an unknown outcome is not looked at.
    virtual bool Step(std::string *state, const Op &op) const = 0;
};

// Per key: kRead -> value ("" at first), kWrite, kCas -> "ok" or "differs", kAdd -> the new value.
const Model &Register();

// The mount table as one object: kMount -> "ok" or "exists", kUnmount -> "ok" or "absent",
// kRead -> what is mounted at the key or "", kList -> "path=origin;..." in order.
const Model &MountTable();

enum class Verdict { kYes, kNo, kTooHard };

struct Result {
    Verdict verdict = Verdict::kYes;
    std::string text; // kNo: the partition, and the answer behind which no order was found
};

// kTooHard when the cache of one partition exceeds `limit` states.
Result Check(const Model &model, const std::vector<Op> &history, size_t limit = 1000000);

} // namespace linear
