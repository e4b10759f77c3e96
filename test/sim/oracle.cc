// What must hold across servers, checked after every step (reference: Raft paper, figure 3).
#include "sim.h"

#include <algorithm>
#include <cstring>

namespace sim
{

static uint64_t mix64(uint64_t h, uint64_t v)
{
    h ^= v + 0x9E3779B97F4A7C15ull + (h << 6) + (h >> 2);
    h *= 0xFF51AFD7ED558CCDull;
    return h ^ (h >> 32);
}

static uint64_t content(const Entry &e)
{
    uint64_t h = mix64(e.type, e.size());
    if (e.data) {
        for (size_t i = 0; i + 8 <= e.data->size() && i < 32; i += 8) {
            uint64_t v;
            memcpy(&v, e.data->data() + i, 8);
            h = mix64(h, v);
        }
    }
    return h;
}

void World::check_step(Node &n, const raft_effects &out)
{
    const char *broken = raft_check_invariants(n.core);
    if (broken) {
        fail("n" + std::to_string(n.id) + ": " + broken);
        return;
    }
    if (out.role_changed && out.role == RAFT_LEADER) {
        check_leader(n, out);
    }
    if (out.commit_index > n.commit_checked) {
        check_commit(n, out);
    }
}

// Election safety, and leader completeness for what earlier terms' leaders had committed.
void World::check_leader(const Node &n, const raft_effects &out)
{
    auto known = oracle.leaders.find(out.term);
    if (known != oracle.leaders.end() && known->second != n.id) {
        fail("two leaders in term " + std::to_string(out.term));
        return;
    }
    oracle.leaders[out.term] = n.id;

    const raft_config *c = raft_config_in_force(n.core);
    std::set<raft_id> voted = oracle.votes[{out.term, n.id}];
    voted.insert(n.id);
    uint32_t votes = 0;
    for (raft_id id : voted) {
        votes += raft_config_is_voter(c, id);
    }
    if (votes * 2 <= raft_config_voters(c)) {
        fail("n" + std::to_string(n.id) + " leads term " + std::to_string(out.term) + " with " +
             std::to_string(votes) + " of " + std::to_string(raft_config_voters(c)) + " votes");
        return;
    }

    raft_index i = oracle.last();
    while (i > 0 && oracle.log[i].by_term >= out.term) {
        i--;
    }
    if (i > 0 && i >= n.log_first && n.term_at(i) != oracle.log[i].term) {
        fail("the leader of term " + std::to_string(out.term) + " lacks committed entry " +
             std::to_string(i));
        return;
    }
    check_logs_match();
}

// What a server holds committed is what every other one does; the first to say so must have it on
// the disks of a majority.
void World::check_commit(Node &n, const raft_effects &out)
{
    for (raft_index i = n.commit_checked + 1; i <= out.commit_index; i++) {
        const Entry *e = n.entry(i);
        if (!e) {
            if (i <= oracle.last()) {
                continue; /* covered by a snapshot, whose state is compared when it is loaded */
            }
            fail("n" + std::to_string(n.id) + " commits an entry nobody has");
            return;
        }
        if (i <= oracle.last()) {
            if (oracle.log[i].term != e->term || oracle.log[i].content != content(*e)) {
                fail("n" + std::to_string(n.id) + " commits another entry at " + std::to_string(i));
                return;
            }
            continue;
        }
        StateMachine scratch;
        scratch.chain = oracle.log.back().chain;
        scratch.apply(*e);
        oracle.log.push_back({e->term, content(*e), scratch.chain, out.term});
        if (e->type == RAFT_ENTRY_CONFIG) {
            raft_config c;
            if (raft_config_decode(e->data->data(), e->data->size(), &c) == 0) {
                oracle.configs[i] = c;
            }
        }
        if (e->type == RAFT_ENTRY_COMMAND) {
            Op op = decode_op(*e);
            oracle.applied_ops.insert({{op.client, op.seq}, i});
        }
    }
    bool news = out.commit_index == oracle.last() && oracle.log.back().by_term == out.term;
    n.commit_checked = out.commit_index;
    if (!news || out.role != RAFT_LEADER) {
        return;
    }

    const raft_config *c = raft_config_in_force(n.core);
    uint32_t voters = 0, have = 0;
    for (uint32_t k = 0; k < c->n_servers; k++) {
        if (c->servers[k].role == RAFT_VOTER) {
            voters++;
            const Disk &d = node(c->servers[k].id).disk;
            have += d.has(out.commit_index, n.term_at(out.commit_index)) ||
                    d.recover_until >= out.commit_index; // had it, and has no vote without it
        }
    }
    if (have * 2 <= voters) {
        fail("n" + std::to_string(n.id) + " commits " + std::to_string(out.commit_index) +
             " which only " + std::to_string(have) + " of " + std::to_string(voters) +
             " voters have on disk");
    }
}

// A snapshot carries the configuration that was in force at its index, neither older nor newer.
void World::check_snapshot(const Node &n, const raft_snapshot_meta &meta)
{
    auto it = oracle.configs.upper_bound(meta.index);
    const raft_config &want = (--it)->second;
    uint8_t a[RAFT_MAX_CONFIG_BYTES], b[RAFT_MAX_CONFIG_BYTES];
    int na = raft_config_encode(&want, a, sizeof(a));
    int nb = raft_config_encode(meta.config, b, sizeof(b));
    if (na != nb || memcmp(a, b, static_cast<size_t>(na)) != 0) {
        fail("n" + std::to_string(n.id) + " has another configuration in snapshot " +
             std::to_string(meta.index) + " than was in force");
    }
}

// Nothing a peer may rely on leaves before it is on disk.
void World::check_message(const Node &n, const raft_message &m)
{
    mix(m.to * 32 + m.type);
    if (m.term > n.disk.term) {
        fail("n" + std::to_string(n.id) + " speaks of term " + std::to_string(m.term) +
             " before it is on disk");
    }
    if (m.type == RAFT_MSG_VOTE_REPLY && !m.u.vote_reply.pre && m.u.vote_reply.granted &&
        (n.disk.term != m.u.vote_reply.campaign_term || n.disk.vote != m.to)) {
        fail("n" + std::to_string(n.id) + " grants a vote that is not on disk");
    }
    if (m.type == RAFT_MSG_VOTE_REPLY && !m.u.vote_reply.pre && m.u.vote_reply.granted) {
        oracle.votes[{m.u.vote_reply.campaign_term, m.to}].insert(n.id);
    }
    // A leader that has removed itself has to go; one that hands over leaves nothing in doubt.
    if (m.type == RAFT_MSG_TIMEOUT_NOW &&
        raft_config_is_voter(raft_config_in_force(n.core), n.id)) {
        raft_status st;
        raft_get_status(n.core, &st);
        if (st.commit_index != st.last_index) {
            fail("n" + std::to_string(n.id) + " hands over with accepted proposals in doubt");
        }
    }
    if (m.type == RAFT_MSG_APPEND_REPLY && m.u.append_reply.match > 0) {
        raft_index match = m.u.append_reply.match;
        raft_term term = match + 1 < n.log_first ? oracle.log[match].term : n.term_at(match);
        if (match > n.disk.marker && (match > n.disk.last() || n.disk.term_at(match) != term)) {
            fail("n" + std::to_string(n.id) + " acknowledges entry " + std::to_string(match) +
                 " that is not on disk");
        }
    }
}

// Log matching: the same (index, term) means the same entries up to it.
bool World::check_logs_match()
{
    for (const Node &a : nodes) {
        for (const Node &b : nodes) {
            if (!a.alive || !b.alive || a.id >= b.id) {
                continue;
            }
            raft_index first = std::max(a.log_first, b.log_first);
            bool equal_above = false;
            for (raft_index i = std::min(a.last(), b.last()); i >= first && i > 0; i--) {
                bool equal = a.term_at(i) == b.term_at(i);
                if (equal_above && (!equal || content(*a.entry(i)) != content(*b.entry(i)))) {
                    fail("logs of n" + std::to_string(a.id) + " and n" + std::to_string(b.id) +
                         " differ below a common entry");
                    return false;
                }
                equal_above = equal;
            }
        }
    }
    return true;
}

bool World::converged(const std::set<raft_id> &who) const
{
    for (raft_id id : who) {
        const Node &n = nodes[id - 1];
        if (!n.alive || n.applied != oracle.last()) {
            return false;
        }
    }
    return true;
}

raft_config World::committed_config() const
{
    const Node *best = nullptr;
    for (const Node &n : nodes) {
        if (n.alive && (!best || n.out.commit_index > best->out.commit_index)) {
            best = &n;
        }
    }
    return best ? *raft_config_in_force(best->core) : raft_config();
}

} // namespace sim
