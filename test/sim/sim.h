// A deterministic world for the Raft core: virtual time, a network and disks that fail, clients,
// and an oracle that knows the committed log. Everything follows from Options (and its seed): two
// runs of the same options give the same trace, byte for byte.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include <raft/raft.h>

namespace sim
{

using Time = uint64_t;
constexpr Time kUs = 1000;
constexpr Time kMs = 1000 * kUs;
constexpr Time kSec = 1000 * kMs;

constexpr int kMaxNodes = 8;
constexpr int kKeys = 4;
constexpr int kMaxClients = 8;

// splitmix64, the simulator's only source of chance.
class Rng
{
  public:
    explicit Rng(uint64_t seed) : state_(seed)
    {
    }
    uint64_t next();
    uint64_t below(uint64_t n)
    {
        return n ? next() % n : 0;
    }
    uint64_t between(uint64_t low, uint64_t high)
    {
        return low + below(high - low + 1);
    }
    bool permille(uint64_t n)
    {
        return below(1000) < n;
    }

  private:
    uint64_t state_;
};

using Bytes = std::shared_ptr<const std::vector<uint8_t>>;

struct Entry {
    raft_term term = 0;
    uint8_t type = 0;
    Bytes data;

    uint32_t size() const
    {
        return data ? static_cast<uint32_t>(data->size()) : 0;
    }
};

// What a client asks the state machine for.
struct Op {
    uint64_t client = 0;
    uint64_t seq = 0;
    uint64_t key = 0;
    uint64_t value = 0;
};

Bytes encode_op(const Op &op, size_t padding);
Op decode_op(const Entry &e);

// A few registers, and per client the last sequence number, so that a repeated write applies once.
struct StateMachine {
    uint64_t values[kKeys] = {};
    uint64_t sessions[kMaxClients] = {};
    uint64_t chain = 0; // hash of everything applied

    void apply(const Entry &e);
    Bytes serialize() const;
    static bool parse(const Bytes &b, StateMachine *out);
};

struct SnapshotFile {
    raft_index index = 0;
    raft_term term = 0;
    raft_config config = {};
    Bytes data;
};

// One persist request on its way to the disk.
struct Write {
    uint64_t seq = 0;
    bool hard_state = false;
    raft_term term = 0;
    raft_id vote = 0;
    bool marker = false;
    bool reset = false;
    raft_index marker_index = 0;
    raft_index first = 0;
    std::vector<Entry> entries;
    raft_index compact_before = 0;
};

// What survives a crash.
struct Disk {
    raft_term term = 0;
    raft_id vote = 0;
    raft_index marker = 0; // snapshot in force
    raft_index first = 1;  // of log
    raft_term prev_term = 0;
    std::deque<Entry> log;
    std::map<raft_index, SnapshotFile> files;
    size_t keep_files = 2;
    raft_config initial = {};
    raft_index recover_until = 0; // rot: entries up to here were here and are lost

    raft_index last() const
    {
        return first + log.size() - 1;
    }
    raft_term term_at(raft_index i) const;
    bool has(raft_index i, raft_term term) const;
    void apply(const Write &w, size_t records); // the first `records` of it; SIZE_MAX: all
};

struct Message {
    raft_message m = {};
    std::vector<Entry> entries;
    std::shared_ptr<raft_config> config;
    Bytes chunk;
    uint64_t life = 0; // of the receiver when it was sent; 0: whoever lives there
};

struct Options {
    uint64_t seed = 1;
    int voters = 3;
    int spares = 0; // servers that may join
    int clients = 0;
    Time think = 20 * kMs; // mean pause of a client

    // Network: one way.
    Time delay_min = 500 * kUs;
    Time delay_max = 500 * kUs;
    uint64_t loss_permille = 0;
    uint64_t duplicate_permille = 0;
    uint64_t slow_permille = 0; // messages that take very long
    bool hint = false;          // broken connections are noticed
    bool wire = false;          // messages go through their encoded form

    Time disk_min = 200 * kUs;
    Time disk_max = 200 * kUs;
    uint64_t stall_permille = 0;     // flushes that take very long
    bool torn = true;                // a crash keeps a prefix of the write in progress
    uint64_t bad_store_permille = 0; // received chunks that cannot be stored
    size_t keep_files = 2;           // snapshots kept
    uint64_t no_memory_permille = 0; // allocations that fail, once a server runs

    Time heartbeat = 30 * kMs;
    Time election = 150 * kMs;
    uint32_t max_append_entries = 64;
    uint32_t max_append_bytes = 4096;
    uint32_t max_inflight_messages = 8;
    uint64_t max_inflight_bytes = 16384;
    uint64_t max_uncommitted_entries = 256;
    uint64_t trailing = 20;
    uint64_t snapshot_threshold = 0; // 0: never
    uint32_t chunk_bytes = 48;
    bool same_seed = false; // every core gets the same random numbers: for exact ties
    bool trace = false;
    int mutant = 0;
};

class World;

struct Node {
    raft_id id = 0;
    bool alive = false;
    bool paused = false;
    uint64_t life = 0;
    uint64_t incarnation = 1;
    raft *core = nullptr;
    int64_t clock_offset = 0;
    raft_effects out = {};
    raft_status status = {};

    Disk disk;
    bool disk_busy = false;
    bool disk_frozen = false; // completes nothing until told otherwise
    size_t disk_batch = 0;
    std::deque<Write> writes;

    raft_index log_first = 1; // volatile copy of the log, unflushed entries included
    raft_term log_prev_term = 0;
    std::deque<Entry> log;
    StateMachine sm;
    raft_index applied = 0;
    raft_index commit_checked = 0;

    std::vector<uint8_t> incoming; // snapshot in pieces
    bool incoming_failed = false;  // nothing is stored behind a piece that was not
    Time store_free = 0;           // pieces are stored one after the other
    bool snapshotting = false;

    Time timer_at = UINT64_MAX;
    std::vector<std::function<void()>> deferred; // while paused

    struct WaitingRead {
        uint64_t ctx;
        raft_index index;
    };
    std::vector<WaitingRead> waiting_reads;

    raft_index last() const
    {
        return log_first + log.size() - 1;
    }
    raft_term term_at(raft_index i) const;
    const Entry *entry(raft_index i) const;
};

// A client does one operation at a time and repeats it until it knows the outcome.
struct Client {
    uint64_t id = 0;
    uint64_t seq = 0;
    bool busy = false;
    bool read = false;
    bool stopped = false;
    Op op;
    raft_index floor = 0; // everything committed before the operation began
    uint64_t attempt = 0;
    uint64_t ctx = 0; // of the read attempt
    size_t target = 0;
    uint64_t completed = 0;
};

// What is known to be committed, and who led when.
class Oracle
{
  public:
    struct Committed {
        raft_term term = 0;
        uint64_t content = 0;
        uint64_t chain = 0;
        raft_term by_term = 0; // term of the leader that committed it
    };
    std::vector<Committed> log = std::vector<Committed>(1);
    std::map<raft_term, raft_id> leaders;
    std::map<std::pair<raft_term, raft_id>, std::set<raft_id>> votes; // durable when they left
    std::map<std::pair<uint64_t, uint64_t>, raft_index> applied_ops;
    std::map<raft_index, raft_config> configs; // committed ones
    raft_index last() const
    {
        return log.size() - 1;
    }
};

class World
{
  public:
    explicit World(const Options &o);
    ~World();
    World(const World &) = delete;
    World &operator=(const World &) = delete;

    Options opt;
    Rng rng;
    Time now = 0;
    uint64_t steps = 0;
    uint64_t trace_hash = 0;
    std::vector<std::string> narrative; // filled with opt.trace
    std::string failure;                // the first broken rule, empty if none
    std::vector<Node> nodes;            // nodes[i].id == i + 1
    std::vector<Client> clients;
    Oracle oracle;
    uint64_t acked_writes = 0;
    uint64_t served_reads = 0;
    uint64_t refused_busy = 0;
    std::vector<raft_change_result> changes; // results of change requests
    std::map<uint64_t, raft_read_result> read_results;
    std::map<uint64_t, uint64_t> read_values; // ctx -> applied index at which it was served
    bool memory_may_fail = false;

    // ---- time
    void at(Time when, std::function<void()> what);
    bool run_one();
    void run_for(Time duration);
    bool run_until(const std::function<bool()> &what, Time limit);

    // ---- servers
    Node &node(raft_id id)
    {
        return nodes[id - 1];
    }
    void start(raft_id id);
    void start_all();
    void crash(raft_id id);
    void pause(raft_id id);
    void resume(raft_id id);
    void wipe(raft_id id);  // crashed server: an empty disk, another incarnation
    void rot(raft_id id);   // crashed server: loses the end of its durable log, and knows it
    raft_id leader() const; // alive, of the highest term; 0: none
    raft_id wait_leader(Time limit = 10 * kSec);

    // ---- network
    bool cut[kMaxNodes + 1][kMaxNodes + 1] = {};
    void set_cut(raft_id a, raft_id b, bool both = true);
    void isolate(raft_id id);
    void heal();
    // Sees every message before it is sent; false: it is lost.
    std::function<bool(const Message &)> filter;
    std::function<void(raft_id)> on_leader; // a server became leader
    void deliver(const Message &m);
    void send(const Message &m);

    // ---- requests
    int step(raft_id id, const raft_event &ev);
    int propose(raft_id id, uint64_t value = 0, size_t padding = 0);
    int read(raft_id id, uint64_t ctx);
    int change(raft_id id, raft_change_op op, raft_id server, uint64_t ctx = 0);
    int transfer(raft_id id, raft_id target = 0);
    int take_snapshot(raft_id id);
    void link_down(raft_id id, raft_id peer);
    void disk_freeze(raft_id id, bool frozen);

    void fail(const std::string &what);
    bool ok() const
    {
        return failure.empty();
    }
    void say(const std::string &line);
    bool check_logs_match();
    bool converged(const std::set<raft_id> &who) const;
    raft_config committed_config() const;

    // ---- clients (client.cc)
    void start_clients();
    void stop_clients();
    void client_next(size_t i);
    void client_try(size_t i);
    void client_reply(size_t i, raft_index index);
    void on_read_served(Node &n, uint64_t ctx);
    void on_read_failed(uint64_t ctx);
    void on_applied(Node &n, raft_index index, const Entry &e);

  private:
    friend class Nemesis;
    struct Scheduled {
        Time when;
        uint64_t order;
        std::shared_ptr<std::function<void()>> what;
        bool operator>(const Scheduled &o) const
        {
            return when != o.when ? when > o.when : order > o.order;
        }
    };
    std::priority_queue<Scheduled, std::vector<Scheduled>, std::greater<Scheduled>> queue_;
    uint64_t order_ = 0;
    uint64_t ctx_ = 0;

    void effects(Node &n, const raft_effects &out);
    void do_persist(Node &n, const raft_effects &out);
    void do_messages(Node &n, const raft_effects &out);
    void do_apply(Node &n, const raft_effects &out);
    void do_reads(Node &n, const raft_effects &out);
    void do_chunk(Node &n, const raft_effects &out);
    void arm_timer(Node &n);
    void start_disk(Node &n);
    void finish_disk(raft_id id, uint64_t life);
    bool fill(Node &n, const raft_message &m, Message *out);
    void note(const Node &n, const raft_effects &out);
    void on_node(raft_id id, uint64_t life, std::function<void(Node &)> what);

    // oracle.cc
    void check_step(Node &n, const raft_effects &out);
    void check_message(const Node &n, const raft_message &m);
    void check_commit(Node &n, const raft_effects &out);
    void check_snapshot(const Node &n, const raft_snapshot_meta &meta);
    void check_leader(const Node &n, const raft_effects &out);
    void mix(uint64_t v);
};

} // namespace sim
