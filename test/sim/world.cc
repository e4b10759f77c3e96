// The world: time, servers, and carrying out what the cores ask for.
#include "sim.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
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

static void *resize(void *ctx, void *ptr, size_t size)
{
    World *w = static_cast<World *>(ctx);
    if (size == 0) {
        free(ptr);
        return nullptr;
    }
    if (w->memory_may_fail && w->rng.permille(w->opt.no_memory_permille)) {
        return nullptr;
    }
    return realloc(ptr, size);
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

static raft_event start_event(Disk *disk, const std::vector<raft_entry> &entries)
{
    Disk &d = *disk;
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
    return ev;
}

void World::start(raft_id id)
{
    Node &n = node(id);
    assert(!n.alive);

    n.life++;
    n.alive = true;
    n.paused = false;
    raft_options o = core_options(opt, n, opt.same_seed ? opt.seed : rng.next());
    o.alloc = {this, resize};
    memory_may_fail = false;
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

    raft_event ev = start_event(&d, entries);
    say("n" + std::to_string(id) + " starts");
    if (step(id, ev) != 0) {
        fail("the restored state was refused");
    }
    memory_may_fail = true;
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
    if (op == RAFT_ADD_LEARNER || op == RAFT_READMIT) {
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
