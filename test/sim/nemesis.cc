#include "nemesis.h"

#include <algorithm>
#include <sstream>

namespace sim
{

static void random_world(Rng &rng, Options *o)
{
    const int sizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5};
    o->voters = sizes[rng.below(9)];
    o->spares = rng.permille(400) ? static_cast<int>(rng.between(1, 2)) : 0;
    o->clients = static_cast<int>(rng.between(1, 5));
    o->think = rng.between(5, 60) * kMs;
    o->delay_min = rng.between(100, 1000) * kUs;
    o->delay_max = o->delay_min + rng.below(rng.permille(700) ? 2 * kMs : 30 * kMs);
    o->loss_permille = rng.permille(500) ? rng.below(rng.permille(200) ? 450 : 150) : 0;
    o->duplicate_permille = rng.permille(400) ? rng.below(200) : 0;
    o->slow_permille = rng.permille(400) ? rng.below(rng.permille(250) ? 300 : 60) : 0;
    o->hint = rng.permille(500);
    o->wire = rng.permille(200);
    o->disk_min = rng.between(50, 500) * kUs;
    o->disk_max = o->disk_min + rng.below(rng.permille(700) ? 2 * kMs : 40 * kMs);
    o->stall_permille = rng.permille(300) ? rng.below(30) : 0;
    o->max_append_entries = static_cast<uint32_t>(rng.between(1, 64));
    o->max_append_bytes = static_cast<uint32_t>(rng.between(40, 4096));
    o->max_inflight_messages = static_cast<uint32_t>(rng.between(1, 16));
    o->max_inflight_bytes = rng.between(100, 20000);
    o->max_uncommitted_entries = rng.between(4, 256);
    o->trailing = rng.below(40);
    o->snapshot_threshold = rng.permille(700) ? rng.between(5, 80) : 0;
    o->chunk_bytes = static_cast<uint32_t>(rng.between(16, 200));
}

// Round trips as long as elections: several candidates at a time, and late answers to all of them.
static void far_world(Rng &rng, Options *o)
{
    o->delay_min = rng.between(5, 20) * kMs;
    o->delay_max = o->delay_min + rng.below(60 * kMs);
}

// All the same for everybody, to the microsecond: only the cores' own chance breaks a tie.
static void symmetric_world(Options *o)
{
    o->delay_max = o->delay_min;
    o->disk_max = o->disk_min;
    o->loss_permille = o->slow_permille = o->duplicate_permille = o->stall_permille = 0;
}

Plan random_plan(uint64_t seed)
{
    Rng rng(seed * 7919 + 17);
    Plan p;
    p.options.seed = seed;
    random_world(rng, &p.options);
    if (rng.permille(30)) {
        symmetric_world(&p.options);
    } else if (rng.permille(60)) {
        far_world(rng, &p.options);
    }

    Trouble &t = p.trouble;
    uint64_t *kinds[] = {&t.crash,    &t.crash_all,  &t.isolate,    &t.cut_link,
                         &t.split,    &t.pause,      &t.clock_jump, &t.freeze_disk,
                         &t.transfer, &t.membership, &t.snapshot};
    for (uint64_t *k : kinds) {
        *k = rng.permille(500) ? rng.between(1, 10) : 0;
    }
    if (p.options.disk_max == p.options.disk_min && rng.permille(700)) {
        t = Trouble(); // what is equal stays so
    }
    t.heal = rng.between(3, 15);
    /* A recovering server has no vote: with two voters, or fewer by a change, that is a majority.
     */
    if (p.options.voters >= 3 && t.membership == 0 && rng.permille(400)) {
        t.rot = rng.between(1, 5);
    }
    p.options.no_memory_permille = rng.permille(100) ? rng.between(50, 700) : 0;
    p.options.keep_files = rng.permille(500) ? 1 : 2;
    p.options.bad_store_permille = rng.permille(200) ? rng.below(300) : 0;
    t.every = rng.between(20, 400) * kMs;
    p.duration = rng.between(2000, 5000) * kMs;
    return p;
}

std::string to_string(const Plan &p)
{
    std::ostringstream s;
    const Options &o = p.options;
    const Trouble &t = p.trouble;
    s << "seed " << o.seed << ": " << o.voters << "+" << o.spares << " servers, " << o.clients
      << " clients, delay " << o.delay_min / kUs << ".." << o.delay_max / kUs << " us, loss "
      << o.loss_permille << ", duplicates " << o.duplicate_permille << ", slow " << o.slow_permille
      << ", hint " << o.hint << ", disk " << o.disk_min / kUs << ".." << o.disk_max / kUs
      << " us, stalls " << o.stall_permille << ", snapshots " << o.snapshot_threshold
      << "; trouble every " << t.every / kMs << " ms: crash " << t.crash << " all " << t.crash_all
      << " isolate " << t.isolate << " cut " << t.cut_link << " split " << t.split << " heal "
      << t.heal << " pause " << t.pause << " clock " << t.clock_jump << " disk " << t.freeze_disk
      << " transfer " << t.transfer << " membership " << t.membership << " snapshot " << t.snapshot
      << " rot " << t.rot;
    return s.str();
}

class Nemesis
{
  public:
    Nemesis(World &w, const Plan &p) : w_(w), t_(p.trouble), end_(p.duration)
    {
    }

    // Changes of membership right after elections are where the bug of 2015 was.
    void watch()
    {
        w_.on_leader = [this](raft_id) {
            if (t_.membership > 0 && w_.now < end_ && w_.rng.permille(300)) {
                w_.at(w_.now + w_.rng.below(5 * kMs), [this] { membership(); });
            }
        };
    }

    void schedule()
    {
        Time next = w_.now + 1 + w_.rng.below(2 * t_.every);
        if (next < end_) {
            w_.at(next, [this] {
                strike();
                schedule();
            });
        }
    }

    // Everything is well again, apart from at most a minority that stays away.
    void stop();
    const std::set<raft_id> &core() const
    {
        return core_;
    }

  private:
    World &w_;
    Trouble t_;
    Time end_;
    std::set<raft_id> core_;

    raft_id any()
    {
        return 1 + w_.rng.below(w_.nodes.size());
    }
    // Often the leader: that is where it hurts.
    raft_id victim()
    {
        raft_id l = w_.leader();
        return l != 0 && w_.rng.permille(500) ? l : any();
    }
    void strike();
    void crash(raft_id id);
    void split();
    void membership();
    void rot(raft_id id);
    void heal();
};

void Nemesis::crash(raft_id id)
{
    World &w = w_;
    if (!w.node(id).alive) {
        return;
    }
    w.crash(id);
    Time away = w.rng.permille(500) ? w.rng.between(1, 10) : w.rng.between(1, 800);
    w.at(w.now + away * kMs, [&w, id] {
        if (!w.node(id).alive) {
            w.start(id);
        }
    });
}

void Nemesis::rot(raft_id id)
{
    for (const Node &n : w_.nodes) {
        if (n.disk.recover_until > 0) {
            return; // more than a minority would stop the cluster, rightly
        }
    }
    if (w_.node(id).alive) {
        crash(id);
        w_.rot(id);
    }
}

void Nemesis::split()
{
    for (const Node &a : w_.nodes) {
        bool left = w_.rng.permille(500);
        for (const Node &b : w_.nodes) {
            if (b.id > a.id && left && w_.rng.permille(500)) {
                w_.set_cut(a.id, b.id);
            }
        }
    }
}

void Nemesis::membership()
{
    raft_id l = w_.leader();
    if (l == 0) {
        return;
    }
    const raft_config *c = raft_config_in_force(w_.node(l).core);
    raft_id id = any();
    const raft_server *s = raft_config_find(c, id);
    raft_change_op op = RAFT_ADD_LEARNER;
    if (s) {
        if (s->role == RAFT_LEARNER) {
            op = w_.rng.permille(700) ? RAFT_PROMOTE : RAFT_REMOVE;
        } else if (raft_config_voters(c) > 1) {
            op = w_.rng.permille(500) ? RAFT_REMOVE : RAFT_DEMOTE;
        }
    }
    w_.change(l, op, id);
    if (w_.rng.permille(200)) {
        membership(); // at once again: to be refused
    }
}

void Nemesis::heal()
{
    w_.heal();
    for (Node &n : w_.nodes) {
        if (n.disk_frozen) {
            w_.disk_freeze(n.id, false);
        }
    }
}

void Nemesis::strike()
{
    const uint64_t weights[] = {
        t_.crash,      t_.crash_all,   t_.isolate,  t_.cut_link,   t_.split,    t_.heal, t_.pause,
        t_.clock_jump, t_.freeze_disk, t_.transfer, t_.membership, t_.snapshot, t_.rot};
    uint64_t sum = 0, pick = 0;
    for (uint64_t x : weights) {
        sum += x;
    }
    uint64_t dice = w_.rng.below(sum);
    while (dice >= weights[pick]) {
        dice -= weights[pick++];
    }

    raft_id id = victim();
    World &w = w_;
    Node &n = w.node(id);
    switch (pick) {
    case 0: crash(id); break;
    case 1:
        for (const Node &each : w.nodes) {
            crash(each.id);
        }
        break;
    case 2: w.isolate(id); break;
    case 3: w.set_cut(id, any(), w.rng.permille(400)); break;
    case 4: split(); break;
    case 5: heal(); break;
    case 6:
        if (n.alive && !n.paused) {
            w.pause(id);
            w.at(w.now + w.rng.between(10, 1500) * kMs, [&w, id] { w.resume(id); });
        }
        break;
    case 7:
        n.clock_offset +=
            static_cast<int64_t>(w.rng.below(20 * kSec)) - 10000 * static_cast<int64_t>(kMs);
        break;
    case 8: w.disk_freeze(id, !n.disk_frozen); break;
    case 9:
        if (w.leader() != 0) {
            w.transfer(w.leader(), w.rng.permille(500) ? 0 : any());
        }
        break;
    case 10: membership(); break;
    case 12: rot(id); break;
    default:
        if (n.alive && !n.paused) {
            w.take_snapshot(id);
        }
        break;
    }
}

void Nemesis::stop()
{
    w_.opt.loss_permille = 0;
    w_.opt.slow_permille = 0;
    w_.opt.duplicate_permille = 0;
    w_.opt.stall_permille = 0;
    w_.opt.bad_store_permille = 0;
    w_.opt.no_memory_permille = 0;
    w_.opt.disk_max = std::min(w_.opt.disk_max, w_.opt.disk_min + kMs);
    heal();
    for (Node &n : w_.nodes) {
        w_.resume(n.id);
    }
    w_.start_all();
    for (const Node &n : w_.nodes) {
        core_.insert(n.id);
    }
}

static bool clients_idle(const World &w)
{
    return std::all_of(w.clients.begin(), w.clients.end(), [](const Client &c) { return !c.busy; });
}

// Liveness: a leader, every pending operation resolved, new ones served, everybody up to date.
static void demand_progress(World &w, Nemesis &nemesis)
{
    const Time limit = 30 * kSec;
    uint64_t before = w.acked_writes + w.served_reads;

    nemesis.stop();
    if (!w.run_until([&] { return w.acked_writes + w.served_reads >= before + 20; }, limit)) {
        w.fail("no progress after healing");
        return;
    }

    w.stop_clients();
    if (!w.run_until([&] { return clients_idle(w); }, limit)) {
        w.fail("an operation is never answered");
        return;
    }

    auto settled = [&] {
        raft_config c = w.committed_config();
        std::set<raft_id> members;
        for (uint32_t i = 0; i < c.n_servers; i++) {
            members.insert(c.servers[i].id);
        }
        return w.leader() != 0 && w.converged(members);
    };
    if (!w.run_until(settled, limit)) {
        w.fail("the servers do not become equal");
        return;
    }
    w.check_logs_match();
}

Outcome run_plan(const Plan &p)
{
    World w(p.options);
    Nemesis nemesis(w, p);

    w.start_all();
    w.start_clients();
    nemesis.watch();
    nemesis.schedule();
    while (w.ok() && w.now < p.duration && w.run_one()) {
    }
    if (w.ok()) {
        demand_progress(w, nemesis);
    }

    Outcome out;
    out.failure = w.failure;
    out.trace_hash = w.trace_hash;
    out.steps = w.steps;
    out.acked_writes = w.acked_writes;
    out.served_reads = w.served_reads;
    out.leaders = w.oracle.leaders.size();
    out.commits = w.oracle.last();
    out.narrative = std::move(w.narrative);
    return out;
}

} // namespace sim
