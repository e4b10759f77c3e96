// The network, and the story it tells.
#include "sim.h"

#include <cstdio>
#include <cstring>

namespace sim
{

void World::set_cut(raft_id a, raft_id b, bool both)
{
    cut[a][b] = true;
    if (both) {
        cut[b][a] = true;
    }
}

void World::isolate(raft_id id)
{
    for (const Node &n : nodes) {
        if (n.id != id) {
            set_cut(id, n.id);
        }
    }
}

void World::heal()
{
    memset(cut, 0, sizeof(cut));
}

// The host's part of an outgoing message: entries from the log, bytes of the snapshot.
bool World::fill(Node &n, const raft_message &m, Message *out)
{
    out->m = m;
    if (m.type == RAFT_MSG_APPEND) {
        for (uint32_t i = 0; i < m.u.append.n_entries; i++) {
            const Entry *e = n.entry(m.u.append.prev_index + 1 + i);
            if (!e) {
                fail("n" + std::to_string(n.id) + " sends an entry it does not have");
                return false;
            }
            out->entries.push_back(*e);
        }
    }

    if (m.type == RAFT_MSG_SNAPSHOT) {
        auto file = n.disk.files.find(m.u.snapshot.index);
        if (file == n.disk.files.end()) {
            raft_event ev = {};
            ev.type = RAFT_EVENT_SNAPSHOT_GONE;
            ev.u.gone.index = m.u.snapshot.index;
            raft_id id = n.id;
            uint64_t life = n.life;
            at(now, [this, id, life, ev] { on_node(id, life, [=](Node &) { step(id, ev); }); });
            return false;
        }
        out->config = std::make_shared<raft_config>(*m.u.snapshot.config);
        out->chunk = file->second.data;
    }
    return true;
}

void World::do_messages(Node &n, const raft_effects &out)
{
    for (size_t i = 0; i < out.n_messages && ok(); i++) {
        Message m;
        check_message(n, out.messages[i]);
        if (!fill(n, out.messages[i], &m)) {
            continue;
        }
        if (filter && !filter(m)) {
            continue;
        }
        send(m);
    }
}

void World::send(const Message &m)
{
    if (cut[m.m.from][m.m.to] || m.m.to > nodes.size() || rng.permille(opt.loss_permille)) {
        return;
    }

    int copies = rng.permille(opt.duplicate_permille) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        Time delay = rng.between(opt.delay_min, opt.delay_max);
        /* Slow ones are already beyond the place where the network is cut later. */
        uint64_t often = m.m.type == RAFT_MSG_READ_REPLY ? 5 : 1; // one is enough to do harm
        bool slow = rng.permille(i == 0 ? opt.slow_permille * often : 300);
        if (slow) {
            delay += rng.between(50 * kMs, 2 * kSec);
        }
        auto copy = std::make_shared<Message>(m);
        at(now + delay, [this, copy, slow] {
            if (slow || !cut[copy->m.from][copy->m.to]) {
                deliver(*copy);
            }
        });
    }
}

// Through the encoded form and back, if asked for: then what the codec loses is lost here too.
static bool through_wire(Message *m, std::vector<uint8_t> *buf, std::vector<raft_entry> *entries,
                         raft_message_room *room)
{
    size_t size = raft_message_size(&m->m);
    buf->resize(size);
    if (raft_message_encode(&m->m, buf->data(), size) != static_cast<int64_t>(size)) {
        return false;
    }
    entries->resize(RAFT_MAX_MESSAGE_ENTRIES);
    room->entries = entries->data();
    room->max_entries = entries->size();
    return raft_message_decode(buf->data(), size, &m->m, room, nullptr) ==
           static_cast<int64_t>(size);
}

void World::deliver(const Message &message)
{
    Node &n = node(message.m.to);
    if (!n.alive) {
        return;
    }

    auto copy = std::make_shared<Message>(message);
    on_node(n.id, n.life, [this, copy](Node &to) {
        Message &m = *copy;
        std::vector<raft_entry> entries;
        std::vector<uint8_t> buf;
        std::vector<raft_entry> decoded;
        raft_message_room room;
        for (const Entry &e : m.entries) {
            raft_entry r = {};
            r.term = e.term;
            r.type = e.type;
            r.size = e.size();
            r.data = e.data ? e.data->data() : nullptr;
            entries.push_back(r);
        }
        if (m.m.type == RAFT_MSG_APPEND) {
            m.m.u.append.entries = entries.data();
        }
        if (m.m.type == RAFT_MSG_SNAPSHOT) {
            m.m.u.snapshot.config = m.config.get();
            m.m.u.snapshot.data = m.chunk->data() + m.m.u.snapshot.offset;
        }
        if (opt.wire && !through_wire(&m, &buf, &decoded, &room)) {
            fail("a message does not survive encoding");
            return;
        }
        raft_event ev = {};
        ev.type = RAFT_EVENT_MESSAGE;
        ev.u.message = &m.m;
        step(to.id, ev);
    });
}

// ---- the story
// ------------------------------------------------------------------------------------

void World::say(const std::string &line)
{
    if (!opt.trace) {
        return;
    }
    char when[32];
    snprintf(when, sizeof(when), "%8.3f ms  ", static_cast<double>(now) / 1e6);
    narrative.push_back(when + line);
}

static std::string index_term(raft_index i, raft_term t)
{
    return std::to_string(i) + "/" + std::to_string(t);
}

static std::string describe(const raft_message &m)
{
    std::string s = raft_message_type_name(m.type);
    switch (m.type) {
    case RAFT_MSG_VOTE:
        s = m.u.vote.pre ? "would you vote for me in term " : "vote for me in term ";
        s += std::to_string(m.u.vote.campaign_term) + ", log ends at " +
             index_term(m.u.vote.last_index, m.u.vote.last_term);
        return m.u.vote.transfer ? s + " (transfer)" : s;
    case RAFT_MSG_VOTE_REPLY:
        s = m.u.vote_reply.pre ? "would " : "";
        s += m.u.vote_reply.granted ? "vote" : "not vote";
        return s + " in term " + std::to_string(m.u.vote_reply.campaign_term);
    case RAFT_MSG_APPEND:
        s = "append after " + index_term(m.u.append.prev_index, m.u.append.prev_term) + ": " +
            std::to_string(m.u.append.n_entries) + " entries";
        return s + ", commit " + std::to_string(m.u.append.commit);
    case RAFT_MSG_APPEND_REPLY:
        if (m.u.append_reply.rejected) {
            return "no entry " + std::to_string(m.u.append_reply.prev_index) + ", try " +
                   index_term(m.u.append_reply.hint_index, m.u.append_reply.hint_term);
        }
        return "has " + std::to_string(m.u.append_reply.match);
    case RAFT_MSG_SNAPSHOT:
        return "snapshot " + index_term(m.u.snapshot.index, m.u.snapshot.index_term) + " bytes " +
               std::to_string(m.u.snapshot.offset) + "+" + std::to_string(m.u.snapshot.len) +
               " of " + std::to_string(m.u.snapshot.total);
    case RAFT_MSG_SNAPSHOT_REPLY:
        if (m.u.snapshot_reply.installed) {
            return "snapshot " + std::to_string(m.u.snapshot_reply.index) + " installed";
        }
        return "snapshot " + std::to_string(m.u.snapshot_reply.index) + ", next " +
               std::to_string(m.u.snapshot_reply.next_offset);
    case RAFT_MSG_TIMEOUT_NOW: return "campaign now";
    default: return s;
    }
}

static bool is_heartbeat_talk(const raft_message &m, raft_index match_before)
{
    if (m.type == RAFT_MSG_APPEND) {
        return m.u.append.n_entries == 0;
    }
    return m.type == RAFT_MSG_APPEND_REPLY && !m.u.append_reply.rejected &&
           m.u.append_reply.match <= match_before;
}

// Heartbeats are left out: a reader wants to see what changes.
void World::note(const Node &n, const raft_effects &out)
{
    std::string me = "n" + std::to_string(n.id);
    if (out.role_changed) {
        std::string s =
            me + " is " + raft_role_name(out.role) + ", term " + std::to_string(out.term);
        if (out.role == RAFT_FOLLOWER && out.leader != 0) {
            s += ", of n" + std::to_string(out.leader);
        }
        say(s);
    }
    if (out.persist.n_entries > 0) {
        raft_index first = out.persist.first_index;
        std::string s = me + (first <= n.last() ? " replaces from " : " appends ");
        s += index_term(first, out.persist.entries[0].term);
        if (out.persist.n_entries > 1) {
            s += " and " + std::to_string(out.persist.n_entries - 1) + " more";
        }
        say(s);
    }
    if (out.commit_index > n.out.commit_index) {
        say(me + " knows " + std::to_string(out.commit_index) + " committed");
    }
    for (size_t i = 0; i < out.n_messages; i++) {
        const raft_message &m = out.messages[i];
        if (!is_heartbeat_talk(m, n.out.commit_index)) {
            say(me + " -> n" + std::to_string(m.to) + ": " + describe(m));
        }
    }
}

} // namespace sim
