// State machine, log storage and what a crash leaves of it.
#include "sim.h"

#include <algorithm>
#include <cstring>

namespace sim
{

uint64_t Rng::next()
{
    state_ += 0x9E3779B97F4A7C15ull;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static uint64_t mix64(uint64_t h, uint64_t v)
{
    h ^= v + 0x9E3779B97F4A7C15ull + (h << 6) + (h >> 2);
    h *= 0xFF51AFD7ED558CCDull;
    return h ^ (h >> 32);
}

Bytes encode_op(const Op &op, size_t padding)
{
    std::vector<uint8_t> b(sizeof(op) + padding);
    std::memcpy(b.data(), &op, sizeof(op));
    return std::make_shared<const std::vector<uint8_t>>(std::move(b));
}

Op decode_op(const Entry &e)
{
    Op op;
    if (e.data && e.data->size() >= sizeof(op)) {
        std::memcpy(&op, e.data->data(), sizeof(op));
    }
    return op;
}

void StateMachine::apply(const Entry &e)
{
    chain = mix64(mix64(chain, e.term), e.type);
    if (e.type != RAFT_ENTRY_COMMAND) {
        return;
    }

    Op op = decode_op(e);
    chain = mix64(mix64(chain, op.client), op.value);
    if (op.client > 0 && op.client <= kMaxClients) {
        uint64_t &last = sessions[op.client - 1];
        if (op.seq <= last) {
            return;
        }
        last = op.seq;
    }
    values[op.key % kKeys] = op.value;
}

Bytes StateMachine::serialize() const
{
    std::vector<uint8_t> b(sizeof(*this) + 8);
    std::memcpy(b.data(), this, sizeof(*this));
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(*this); i++) {
        sum = mix64(sum, b[i]);
    }
    std::memcpy(b.data() + sizeof(*this), &sum, 8);
    return std::make_shared<const std::vector<uint8_t>>(std::move(b));
}

bool StateMachine::parse(const Bytes &b, StateMachine *out)
{
    if (!b || b->size() != sizeof(*out) + 8) {
        return false;
    }
    uint64_t sum = 0, want;
    for (size_t i = 0; i < sizeof(*out); i++) {
        sum = mix64(sum, (*b)[i]);
    }
    std::memcpy(&want, b->data() + sizeof(*out), 8);
    std::memcpy(out, b->data(), sizeof(*out));
    return sum == want;
}

raft_term Disk::term_at(raft_index i) const
{
    if (i + 1 == first) {
        return prev_term;
    }
    return i >= first && i <= last() ? log[i - first].term : 0;
}

bool Disk::has(raft_index i, raft_term t) const
{
    return i <= marker || term_at(i) == t;
}

// A write is a sequence of records: hard state, marker, entries. A torn one keeps a prefix.
void Disk::apply(const Write &w, size_t records)
{
    size_t left = records;

    if (w.hard_state) {
        if (left == 0) {
            return;
        }
        left--;
        term = w.term;
        vote = w.vote;
    }

    if (w.marker) {
        if (left == 0) {
            return;
        }
        left--;
        marker = w.marker_index;
        if (w.reset) {
            log.clear();
            first = marker + 1;
            prev_term = files[marker].term;
        }
    }

    for (size_t i = 0; i < w.entries.size(); i++) {
        if (left == 0) {
            return;
        }
        left--;
        raft_index index = w.first + i;
        if (index <= last()) {
            log.resize(index - first);
        }
        log.push_back(w.entries[i]);
    }

    if (left > 0 && w.compact_before > first) {
        prev_term = term_at(w.compact_before - 1);
        log.erase(log.begin(), log.begin() + static_cast<long>(w.compact_before - first));
        first = w.compact_before;
        while (files.size() > keep_files && files.begin()->first < marker) {
            files.erase(files.begin());
        }
    }
}

raft_term Node::term_at(raft_index i) const
{
    if (i + 1 == log_first) {
        return log_prev_term;
    }
    return i >= log_first && i <= last() ? log[i - log_first].term : 0;
}

const Entry *Node::entry(raft_index i) const
{
    return i >= log_first && i <= last() ? &log[i - log_first] : nullptr;
}

} // namespace sim
