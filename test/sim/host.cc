// The host of a core: carries out what it asks for, as raft/node does with threads and files.
#include "sim.h"

#include <algorithm>

namespace sim
{

// ---- the step and its effects
// ---------------------------------------------------------------------

int World::step(raft_id id, const raft_event &ev)
{
    Node &n = node(id);
    raft_effects out;
    Time host = static_cast<Time>(static_cast<int64_t>(now + 1000 * kSec) + n.clock_offset);

    steps++;
    mix(now);
    mix(id * 16 + static_cast<uint64_t>(ev.type));
    int rc = raft_step(n.core, host, &ev, &out);
    mix(static_cast<uint64_t>(rc));
    mix(out.commit_index * 8 + out.role);
    mix(out.term);

    if (opt.trace) {
        note(n, out);
    }
    effects(n, out);
    return rc;
}

void World::effects(Node &n, const raft_effects &out)
{
    do_persist(n, out);
    if (out.compact_before > n.log_first) {
        n.log_prev_term = n.term_at(out.compact_before - 1);
        n.log.erase(n.log.begin(),
                    n.log.begin() + static_cast<long>(out.compact_before - n.log_first));
        n.log_first = out.compact_before;
    }
    check_step(n, out);
    if (on_leader && out.role_changed && out.role == RAFT_LEADER) {
        on_leader(n.id);
    }
    n.out = out;
    if (n.disk.recover_until > 0) {
        raft_get_status(n.core, &n.status);
        n.disk.recover_until = n.status.recovering ? n.disk.recover_until : 0;
    }
    do_messages(n, out);
    do_chunk(n, out);
    do_apply(n, out);
    do_reads(n, out);
    for (size_t i = 0; i < out.n_changes; i++) {
        changes.push_back(out.changes[i]);
    }
    arm_timer(n);
    if (out.snapshot_due) {
        take_snapshot(n.id);
    }
}

void World::do_persist(Node &n, const raft_effects &out)
{
    const raft_persist &p = out.persist;
    if (p.seq == 0) {
        return;
    }

    Write w;
    w.seq = p.seq;
    w.hard_state = p.hard_state;
    w.term = p.term;
    w.vote = p.vote;
    w.marker = p.has_snapshot;
    w.reset = p.reset_log;
    w.marker_index = p.snapshot.index;
    w.compact_before = out.compact_before;
    w.first = p.first_index;
    for (size_t i = 0; i < p.n_entries; i++) {
        const raft_entry &e = p.entries[i];
        const uint8_t *data = static_cast<const uint8_t *>(e.data);
        Bytes bytes;
        if (e.size > 0) {
            bytes = std::make_shared<const std::vector<uint8_t>>(data, data + e.size);
        }
        w.entries.push_back({e.term, e.type, bytes});
    }

    if (p.has_snapshot) {
        check_snapshot(n, p.snapshot);
    }
    if (p.has_snapshot && p.reset_log) {
        n.log.clear();
        n.log_first = p.snapshot.index + 1;
        n.log_prev_term = p.snapshot.term;
    }
    if (p.n_entries > 0) {
        if (p.first_index > n.last() + 1 || p.first_index < n.log_first) {
            fail("n" + std::to_string(n.id) + " leaves a gap in its log");
            return;
        }
        n.log.resize(p.first_index - n.log_first);
        n.log.insert(n.log.end(), w.entries.begin(), w.entries.end());
    }

    n.writes.push_back(std::move(w));
    start_disk(n);
}

void World::start_disk(Node &n)
{
    if (n.disk_busy || n.disk_frozen || n.writes.empty()) {
        return;
    }
    n.disk_busy = true;
    n.disk_batch = n.writes.size();
    Time takes = rng.between(opt.disk_min, opt.disk_max);
    if (rng.permille(opt.stall_permille)) {
        takes += rng.between(100 * kMs, kSec);
    }
    raft_id id = n.id;
    uint64_t life = n.life;
    at(now + takes, [this, id, life] {
        Node &m = node(id);
        if (m.alive && m.life == life) {
            finish_disk(id, life);
        }
    });
}

void World::finish_disk(raft_id id, uint64_t life)
{
    Node &n = node(id);
    if (n.disk_frozen || !n.disk_busy) {
        n.disk_busy = false;
        return;
    }

    raft_event ev = {};
    ev.type = RAFT_EVENT_PERSISTED;
    for (size_t i = 0; i < n.disk_batch; i++) {
        n.disk.apply(n.writes.front(), SIZE_MAX);
        ev.u.persisted.seq = n.writes.front().seq;
        n.writes.pop_front();
    }
    n.disk_busy = false;
    start_disk(n);
    on_node(id, life, [this, id, ev](Node &) { step(id, ev); });
}

void World::disk_freeze(raft_id id, bool frozen)
{
    Node &n = node(id);
    n.disk_frozen = frozen;
    if (!frozen) {
        n.disk_busy = false;
        start_disk(n);
    }
}

void World::do_apply(Node &n, const raft_effects &out)
{
    if (out.restore_index > 0) {
        const SnapshotFile &f = n.disk.files[out.restore_index];
        if (!StateMachine::parse(f.data, &n.sm)) {
            fail("an installed snapshot does not parse");
            return;
        }
        n.applied = out.restore_index;
        if (n.applied > oracle.last() || n.sm.chain != oracle.log[n.applied].chain) {
            fail("n" + std::to_string(n.id) + " restored another state than was committed");
        }
    }

    while (ok() && n.applied < out.apply_index) {
        const Entry *e = n.entry(n.applied + 1);
        if (!e) {
            fail("n" + std::to_string(n.id) + " is to apply an entry it does not have");
            return;
        }
        n.applied++;
        n.sm.apply(*e);
        if (n.sm.chain != oracle.log[n.applied].chain) {
            fail("n" + std::to_string(n.id) + " applied something else at " +
                 std::to_string(n.applied));
        }
        on_applied(n, n.applied, *e);
    }
}

void World::do_reads(Node &n, const raft_effects &out)
{
    for (size_t i = 0; i < out.n_reads; i++) {
        const raft_read_result &r = out.reads[i];
        read_results[r.ctx] = r;
        if (r.result == 0) {
            n.waiting_reads.push_back({r.ctx, r.index});
        } else {
            on_read_failed(r.ctx);
        }
    }

    for (size_t i = 0; i < n.waiting_reads.size();) {
        if (n.waiting_reads[i].index <= n.applied) {
            uint64_t ctx = n.waiting_reads[i].ctx;
            n.waiting_reads.erase(n.waiting_reads.begin() + static_cast<long>(i));
            read_values[ctx] = n.applied;
            on_read_served(n, ctx);
        } else {
            i++;
        }
    }
}

// Stores a chunk of a snapshot; the answer comes after the time of a write.
void World::do_chunk(Node &n, const raft_effects &out)
{
    const raft_snapshot_chunk &c = out.chunk;
    if (!c.present) {
        return;
    }

    if (c.offset == 0) {
        n.incoming.clear();
        n.incoming_failed = false;
    }
    if (c.offset != n.incoming.size()) {
        fail("a chunk does not follow its predecessor");
        return;
    }
    const uint8_t *data = static_cast<const uint8_t *>(c.data);
    n.incoming.insert(n.incoming.end(), data, data + c.len);

    raft_event ev = {};
    ev.type = RAFT_EVENT_SNAPSHOT_STORED;
    ev.u.stored.index = c.meta.index;
    ev.u.stored.end = c.offset + c.len;
    n.incoming_failed = n.incoming_failed || rng.permille(opt.bad_store_permille);
    ev.u.stored.failed = n.incoming_failed;
    SnapshotFile file;
    file.index = c.meta.index;
    file.term = c.meta.term;
    file.config = *c.meta.config;
    if (c.last && !ev.u.stored.failed) {
        StateMachine check;
        file.data = std::make_shared<const std::vector<uint8_t>>(n.incoming);
        if (!StateMachine::parse(file.data, &check)) {
            fail("a snapshot arrived damaged");
            return;
        }
    }
    raft_id id = n.id;
    uint64_t life = n.life;
    n.store_free = std::max(n.store_free, now) + rng.between(opt.disk_min, opt.disk_max);
    at(n.store_free, [this, id, life, ev, file] {
        on_node(id, life, [=](Node &m) {
            if (file.data) {
                m.disk.files[file.index] = file;
            }
            step(id, ev);
        });
    });
}

// A hot copy of the state machine as it is now, durable a little later.
int World::take_snapshot(raft_id id)
{
    Node &n = node(id);
    raft_snapshot_meta meta;
    if (n.snapshotting || n.applied == 0 || n.applied <= n.disk.marker ||
        raft_snapshot_meta_at(n.core, n.applied, &meta) != 0) {
        return -1;
    }

    SnapshotFile file;
    file.index = meta.index;
    file.term = meta.term;
    file.config = *meta.config;
    file.data = n.sm.serialize();
    n.snapshotting = true;
    uint64_t life = n.life;
    at(now + 5 * rng.between(opt.disk_min, opt.disk_max), [this, id, life, file] {
        on_node(id, life, [=](Node &m) {
            m.snapshotting = false;
            raft_status st;
            raft_get_status(m.core, &st);
            if (file.index <= st.snapshot_index) {
                return; /* the leader sent a newer one meanwhile */
            }
            m.disk.files[file.index] = file;
            raft_event ev = {};
            ev.type = RAFT_EVENT_SNAPSHOT_TAKEN;
            ev.u.taken.index = file.index;
            ev.u.taken.size = file.data->size();
            if (step(id, ev) != 0) {
                fail("an own snapshot was refused");
            }
        });
    });
    return 0;
}

void World::arm_timer(Node &n)
{
    Time host_now = static_cast<Time>(static_cast<int64_t>(now + 1000 * kSec) + n.clock_offset);
    Time due = n.out.deadline_ns > host_now ? n.out.deadline_ns - host_now : 0;
    Time when = now + due;
    if (when >= n.timer_at) {
        return; /* comes early, looks again */
    }
    n.timer_at = when;
    raft_id id = n.id;
    uint64_t life = n.life;
    at(when, [this, id, life, when] {
        on_node(id, life, [=](Node &m) {
            if (m.timer_at != when) {
                return;
            }
            m.timer_at = UINT64_MAX;
            Time host = static_cast<Time>(static_cast<int64_t>(now + 1000 * kSec) + m.clock_offset);
            if (host < m.out.deadline_ns) {
                arm_timer(m);
                return;
            }
            raft_event ev = {};
            ev.type = RAFT_EVENT_TIMEOUT;
            step(id, ev);
        });
    });
}

} // namespace sim
