#include "linear/linear.h"

#include <algorithm>
#include <map>
#include <unordered_set>

namespace linear
{
namespace
{

class RegisterModel : public Model
{
  public:
    std::string Partition(const Op &op) const override
    {
        return op.key;
    }

    bool Changes(const Op &op) const override
    {
        return op.kind != Kind::kRead;
    }

    bool Step(std::string *state, const Op &op) const override
    {
        const bool unknown = op.end == kNever;
        switch (op.kind) {
        case Kind::kRead: return unknown || op.result == *state;
        case Kind::kWrite: *state = op.arg; return true;
        case Kind::kCas: {
            const bool same = *state == op.expect;
            *state = same ? op.arg : *state;
            return unknown || op.result == (same ? "ok" : "differs");
        }
        case Kind::kAdd:
            *state = std::to_string((state->empty() ? 0 : std::stoll(*state)) + std::stoll(op.arg));
            return unknown || op.result == *state;
        default: return false;
        }
    }
};

// The state is what kList answers.
class MountTableModel : public Model
{
  public:
    std::string Partition(const Op &) const override
    {
        return "";
    }

    bool Changes(const Op &op) const override
    {
        return op.kind == Kind::kMount || op.kind == Kind::kUnmount;
    }

    bool Step(std::string *state, const Op &op) const override
    {
        std::map<std::string, std::string> table = Parse(*state);
        const auto at = table.find(op.key);
        const bool there = at != table.end();
        std::string answer;
        switch (op.kind) {
        case Kind::kRead: answer = there ? at->second : ""; break;
        case Kind::kList: answer = *state; break;
        case Kind::kMount:
            answer = there ? "exists" : "ok";
            table.emplace(op.key, op.arg);
            break;
        case Kind::kUnmount:
            answer = there ? "ok" : "absent";
            table.erase(op.key);
            break;
        default: return false;
        }
        *state = Print(table);
        return op.end == kNever || op.result == answer;
    }

  private:
    static std::map<std::string, std::string> Parse(const std::string &text)
    {
        std::map<std::string, std::string> table;
        for (size_t from = 0; from < text.size();) {
            const size_t equals = text.find('=', from), end = text.find(';', equals);
            table[text.substr(from, equals - from)] = text.substr(equals + 1, end - equals - 1);
            from = end + 1;
        }
        return table;
    }

    static std::string Print(const std::map<std::string, std::string> &table)
    {
        std::string text;
        for (const auto &[path, origin] : table) {
            text += path + "=" + origin + ";";
        }
        return text;
    }
};

// Calls and answers in the order of time, as a list from which calls are lifted and put back.
struct Event {
    const Op *op;
    size_t number; // of the op
    bool answer;
    int64_t time;
    Event *next = nullptr, *prev = nullptr;
    Event *match = nullptr; // a call's answer; none when the outcome is unknown
};

class Search
{
  public:
    Search(const Model &model, const std::vector<const Op *> &ops) : model_(model)
    {
        for (size_t i = 0; i < ops.size(); i++) {
            events_.push_back({ops[i], i, false, ops[i]->start});
            if (ops[i]->end != kNever) {
                events_.push_back({ops[i], i, true, ops[i]->end});
                unanswered_++;
            }
        }
        std::stable_sort(events_.begin(), events_.end(), [](const Event &a, const Event &b) {
            return a.time != b.time ? a.time < b.time : a.answer < b.answer;
        });
        std::vector<Event *> calls(ops.size());
        Event *last = &head_;
        for (Event &event : events_) {
            last->next = &event;
            event.prev = last;
            last = &event;
            if (event.answer) {
                calls[event.number]->match = &event;
            } else {
                calls[event.number] = &event;
            }
        }
        done_.assign(ops.size(), '0');
    }

    Verdict Run(size_t limit)
    {
        Event *at = head_.next;
        while (unanswered_ > 0) {
            if (at == nullptr || at->answer) {
                Blocked(at);
                if (stack_.empty()) {
                    return Verdict::kNo;
                }
                at = PutBack()->next;
            } else if (TryCall(at)) {
                at = head_.next;
            } else {
                at = at->next;
            }
            if (seen_.size() > limit) {
                return Verdict::kTooHard;
            }
        }
        return Verdict::kYes;
    }

    const Op *blocked() const
    {
        return blocked_;
    }

  private:
    // Takes the call next in the order, if the state allows it and this was not tried before.
    bool TryCall(Event *call)
    {
        std::string state = state_;
        if (!model_.Step(&state, *call->op)) {
            return false;
        }
        done_[call->number] = '1';
        if (!seen_.insert(Key(state)).second) {
            done_[call->number] = '0';
            return false;
        }
        stack_.push_back({call, state_});
        state_ = state;
        Unlink(call);
        if (call->match != nullptr) {
            Unlink(call->match);
            unanswered_--;
        }
        return true;
    }

    // What is done, and the state. All calls before the first that is not done are: they need not
    // be written down, nor those behind the last; so a long history takes little memory.
    std::string Key(const std::string &state) const
    {
        const size_t first = done_.find('0');
        const size_t last = done_.rfind('1');
        if (first == std::string::npos || last < first) {
            return std::to_string(std::min(first, done_.size())) + ":" + state;
        }
        return std::to_string(first) + "/" + done_.substr(first, last - first + 1) + ":" + state;
    }

    Event *PutBack()
    {
        Event *call = stack_.back().first;
        state_ = stack_.back().second;
        stack_.pop_back();
        done_[call->number] = '0';
        if (call->match != nullptr) {
            Link(call->match);
            unanswered_++;
        }
        Link(call);
        return call;
    }

    void Blocked(const Event *at)
    {
        if (at != nullptr && (blocked_ == nullptr || stack_.size() > depth_)) {
            blocked_ = at->op;
            depth_ = stack_.size();
        }
    }

    static void Unlink(Event *event)
    {
        event->prev->next = event->next;
        if (event->next != nullptr) {
            event->next->prev = event->prev;
        }
    }

    static void Link(Event *event)
    {
        event->prev->next = event;
        if (event->next != nullptr) {
            event->next->prev = event;
        }
    }

    const Model &model_;
    std::vector<Event> events_;
    Event head_{nullptr, 0, false, 0};
    size_t unanswered_ = 0;
    std::string state_, done_;
    std::vector<std::pair<Event *, std::string>> stack_;
    std::unordered_set<std::string> seen_;
    const Op *blocked_ = nullptr;
    size_t depth_ = 0;
};

} // namespace

const Model &Register()
{
    static const RegisterModel model;
    return model;
}

const Model &MountTable()
{
    static const MountTableModel model;
    return model;
}

Result Check(const Model &model, const std::vector<Op> &history, size_t limit)
{
    std::map<std::string, std::vector<const Op *>> partitions;
    for (const Op &op : history) {
        // What changes nothing and was not answered says nothing.
        if (op.end != kNever || model.Changes(op)) {
            partitions[model.Partition(op)].push_back(&op);
        }
    }

    Result result;
    for (auto &[name, ops] : partitions) {
        std::stable_sort(ops.begin(), ops.end(),
                         [](const Op *a, const Op *b) { return a->start < b->start; });
        Search search(model, ops);
        const Verdict verdict = search.Run(limit);
        if (verdict == Verdict::kNo) {
            const Op *op = search.blocked();
            return {verdict, "key '" + op->key + "': no order explains the answer '" + op->result +
                                 "' at " + std::to_string(op->end)};
        }
        if (verdict == Verdict::kTooHard) {
            result = {verdict,
                      "key '" + name + "': more than " + std::to_string(limit) + " states"};
        }
    }
    return result;
}

} // namespace linear
