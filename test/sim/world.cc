// The world: time, servers, and carrying out what the cores ask for.
#include "sim.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstring>

extern "C" void raft_set_mutant(struct raft *r, int mutant);

namespace sim
{

World::World(const Options &o) : opt(o), rng(o.seed)
{
    raft_config initial = {};
    for (int i = 0; i < o.voters; i++) {
        raft_server s = {};
        s.id = static_cast<raft_id>(i + 1);
        s.role = RAFT_VOTER;
        snprintf(s.address, sizeof(s.address), "n%d", i + 1);
        raft_config_add(&initial, &s);
    }

    nodes.resize(static_cast<size_t>(o.voters + o.spares));
    for (size_t i = 0; i < nodes.size(); i++) {
        nodes[i].id = i + 1;
        nodes[i].disk.keep_files = o.keep_files;
        if (i < static_cast<size_t>(o.voters)) {
            nodes[i].disk.initial = initial;
        }
    }

    oracle.configs[0] = initial;
    for (int i = 0; i < o.clients; i++) {
        Client c;
        c.id = static_cast<uint64_t>(i + 1);
        clients.push_back(c);
    }
}

World::~World()
{
    for (Node &n : nodes) {
        raft_free(n.core);
    }
}

void World::fail(const std::string &what)
{
    if (failure.empty()) {
        char when[32];
        snprintf(when, sizeof(when), "%.6f s: ", static_cast<double>(now) / 1e9);
        failure = when + what;
        say("FAILED " + what);
    }
}

void World::mix(uint64_t v)
{
    trace_hash ^= v + 0x9E3779B97F4A7C15ull + (trace_hash << 6) + (trace_hash >> 2);
    trace_hash *= 0xFF51AFD7ED558CCDull;
}

// ---- time
// -----------------------------------------------------------------------------------------

void World::at(Time when, std::function<void()> what)
{
    queue_.push(
        {std::max(when, now), order_++, std::make_shared<std::function<void()>>(std::move(what))});
}

bool World::run_one()
{
    if (queue_.empty() || !ok()) {
        return false;
    }
    Scheduled s = queue_.top();
    queue_.pop();
    now = s.when;
    (*s.what)();
    return true;
}

void World::run_for(Time duration)
{
    Time end = now + duration;
    while (ok() && !queue_.empty() && queue_.top().when <= end) {
        run_one();
    }
    if (ok()) {
        now = end;
    }
}

bool World::run_until(const std::function<bool()> &what, Time limit)
{
    Time end = now + limit;
    while (ok() && !what()) {
        if (queue_.empty() || queue_.top().when > end) {
            now = end;
            return false;
        }
        run_one();
    }
    return ok();
}

void World::on_node(raft_id id, uint64_t life, std::function<void(Node &)> what)
{
    Node &n = node(id);
    if (!n.alive || n.life != life) {
        return;
    }
    if (n.paused) {
        n.deferred.push_back([this, id, life, what] { on_node(id, life, what); });
        return;
    }
    what(n);
}

// ---- servers
// --------------------------------------------------------------------------------------

static raft_uuid uuid(uint64_t a, uint64_t b)
{
    raft_uuid u;
    memcpy(u.bytes, &a, 8);
    memcpy(u.bytes + 8, &b, 8);
    return u;
}

static raft_options core_options(const Options &o, const Node &n, uint64_t seed)
{
    raft_options r;
    raft_options_init(&r);
    r.id = n.id;
    r.cluster = uuid(42, 42);
    r.incarnation = uuid(n.id, n.incarnation);
    r.seed = seed;
    r.heartbeat_ns = o.heartbeat;
    r.election_ns = o.election;
    r.max_append_entries = o.max_append_entries;
    r.max_append_bytes = o.max_append_bytes;
    r.max_inflight_messages = o.max_inflight_messages;
    r.max_inflight_bytes = o.max_inflight_bytes;
    r.max_uncommitted_entries = o.max_uncommitted_entries;
    r.max_pending_reads = 64;
    r.trailing_entries = o.trailing;
    r.snapshot_threshold = o.snapshot_threshold ? o.snapshot_threshold : UINT64_MAX / 8;
    r.snapshot_chunk_bytes = o.chunk_bytes;
    return r;
}

void World::start(raft_id id)
{
    Node &n = node(id);
    assert(!n.alive);

    n.life++;
    n.alive = true;
    n.paused = false;
    raft_options o = core_options(opt, n, opt.same_seed ? opt.seed : rng.next());
    n.core = raft_new(&o);
    raft_set_mutant(n.core, opt.mutant);

    Disk &d = n.disk;
    n.log = d.log;
    n.log_first = d.first;
    n.log_prev_term = d.prev_term;
    n.sm = StateMachine();
    n.applied = d.marker;
    n.commit_checked = d.marker;
    if (d.marker > 0 && !StateMachine::parse(d.files[d.marker].data, &n.sm)) {
        fail("a snapshot on disk does not parse");
    }

    std::vector<raft_entry> entries;
    for (const Entry &e : n.log) {
        raft_entry r = {};
        r.term = e.term;
        r.type = e.type;
        r.size = e.size();
        r.data = e.data ? e.data->data() : nullptr;
        entries.push_back(r);
    }

    raft_event ev = {};
    ev.type = RAFT_EVENT_START;
    ev.u.start.term = d.term;
    ev.u.start.vote = d.vote;
    ev.u.start.snapshot_index = d.marker;
    ev.u.start.snapshot_term = d.marker ? d.files[d.marker].term : 0;
    ev.u.start.snapshot_size = d.marker ? d.files[d.marker].data->size() : 0;
    ev.u.start.config = d.marker ? &d.files[d.marker].config : &d.initial;
    ev.u.start.first_index = d.first;
    ev.u.start.prev_term = d.prev_term;
    ev.u.start.entries = entries.data();
    ev.u.start.n_entries = entries.size();
    ev.u.start.recover_until = d.recover_until;
    say("n" + std::to_string(id) + " starts");
    if (step(id, ev) != 0) {
        fail("the restored state was refused");
    }
    for (Node &other : nodes) {
        if (opt.hint && other.alive && other.id != id) {
            raft_event up = {};
            up.type = RAFT_EVENT_LINK_UP;
            up.u.link.peer = id;
            raft_id to = other.id;
            uint64_t life = other.life;
            at(now + opt.delay_min,
               [this, to, life, up] { on_node(to, life, [=](Node &) { step(to, up); }); });
        }
    }
}

void World::start_all()
{
    for (Node &n : nodes) {
        if (!n.alive) {
            start(n.id);
        }
    }
}

void World::crash(raft_id id)
{
    Node &n = node(id);
    if (!n.alive) {
        return;
    }

    say("n" + std::to_string(id) + " crashes");
    n.alive = false;
    n.paused = false;
    raft_free(n.core);
    n.core = nullptr;

    // Of the flush in progress any prefix may have reached the disk; of what waited, nothing.
    size_t batch = n.disk_busy ? n.disk_batch : 0;
    size_t whole = opt.torn ? rng.below(batch + 1) : 0;
    for (size_t i = 0; i < whole; i++) {
        n.disk.apply(n.writes[i], SIZE_MAX);
    }
    if (whole < batch && opt.torn) {
        n.disk.apply(n.writes[whole], rng.below(n.writes[whole].entries.size() + 3));
    }
    n.writes.clear();
    n.disk_busy = false;
    n.disk_frozen = false;
    n.incoming.clear();
    n.snapshotting = false;
    n.waiting_reads.clear();
    n.deferred.clear();
    n.timer_at = UINT64_MAX;
    n.out = raft_effects();

    for (Node &other : nodes) {
        if (opt.hint && other.alive && !cut[id][other.id]) {
            raft_id to = other.id;
            uint64_t life = other.life;
            at(now + opt.delay_min,
               [this, to, life, id] { on_node(to, life, [=](Node &) { link_down(to, id); }); });
        }
    }
}

void World::pause(raft_id id)
{
    say("n" + std::to_string(id) + " is stopped");
    node(id).paused = true;
}

void World::resume(raft_id id)
{
    Node &n = node(id);
    if (!n.paused) {
        return;
    }
    say("n" + std::to_string(id) + " goes on");
    n.paused = false;
    std::vector<std::function<void()>> todo;
    todo.swap(n.deferred);
    for (auto &f : todo) {
        f();
    }
}

void World::wipe(raft_id id)
{
    Node &n = node(id);
    assert(!n.alive);
    n.disk = Disk(); // without a configuration: it may only join, not found a cluster again
    n.incarnation++;
    say("n" + std::to_string(id) + " loses its disk");
}

void World::rot(raft_id id)
{
    Disk &d = node(id).disk;
    assert(!node(id).alive);
    raft_index keep = std::max(d.marker, d.first - 1);
    if (d.last() <= keep) {
        return;
    }
    d.recover_until = std::max(d.recover_until, d.last());
    d.log.resize(keep + rng.below(d.last() - keep) - (d.first - 1));
    say("n" + std::to_string(id) + " loses its log from " + std::to_string(d.last() + 1));
}

raft_id World::leader() const
{
    raft_id found = 0;
    raft_term term = 0;
    for (const Node &n : nodes) {
        if (n.alive && !n.paused && n.out.role == RAFT_LEADER && n.out.term > term) {
            found = n.id;
            term = n.out.term;
        }
    }
    return found;
}

raft_id World::wait_leader(Time limit)
{
    run_until([this] { return leader() != 0; }, limit);
    return leader();
}

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
    ev.u.stored.failed = rng.permille(opt.bad_store_permille);
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
    at(now + rng.between(opt.disk_min, opt.disk_max), [this, id, life, ev, file] {
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

// ---- requests
// -------------------------------------------------------------------------------------

int World::propose(raft_id id, uint64_t value, size_t padding)
{
    Op op;
    op.value = value;
    Bytes data = encode_op(op, padding);
    raft_entry e = {};
    e.type = RAFT_ENTRY_COMMAND;
    e.data = data->data();
    e.size = static_cast<uint32_t>(data->size());
    raft_event ev = {};
    ev.type = RAFT_EVENT_PROPOSE;
    ev.u.propose.entries = &e;
    ev.u.propose.n_entries = 1;
    return step(id, ev);
}

int World::read(raft_id id, uint64_t ctx)
{
    raft_event ev = {};
    ev.type = RAFT_EVENT_READ;
    ev.u.read.ctx = ctx;
    return step(id, ev);
}

int World::change(raft_id id, raft_change_op op, raft_id server, uint64_t ctx)
{
    raft_event ev = {};
    ev.type = RAFT_EVENT_CHANGE;
    ev.u.change.ctx = ctx;
    ev.u.change.op = op;
    ev.u.change.server.id = server;
    if (op == RAFT_ADD_LEARNER) {
        ev.u.change.server.incarnation = uuid(server, node(server).incarnation);
        snprintf(ev.u.change.server.address, sizeof(ev.u.change.server.address), "n%d",
                 static_cast<int>(server));
    }
    return step(id, ev);
}

int World::transfer(raft_id id, raft_id target)
{
    raft_event ev = {};
    ev.type = RAFT_EVENT_TRANSFER;
    ev.u.transfer.target = target;
    return step(id, ev);
}

void World::link_down(raft_id id, raft_id peer)
{
    raft_event ev = {};
    ev.type = RAFT_EVENT_LINK_DOWN;
    ev.u.link.peer = peer;
    step(id, ev);
}

} // namespace sim
