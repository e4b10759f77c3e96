// Clients: one operation at a time, repeated until its outcome is known. The oracle compares real
// time with log order: an operation comes after everything that was committed when it began. (That
// is a little more than linearizability, which speaks of completed operations only, and exactly
// what ReadIndex promises.)
#include "sim.h"

namespace sim
{

void World::start_clients()
{
    for (size_t i = 0; i < clients.size(); i++) {
        at(now + rng.below(opt.think + 1), [this, i] { client_next(i); });
    }
}

void World::stop_clients()
{
    for (Client &c : clients) {
        c.stopped = true;
    }
}

void World::client_next(size_t i)
{
    Client &c = clients[i];
    if (c.stopped || c.busy) {
        return;
    }
    c.busy = true;
    c.read = rng.permille(400);
    c.floor = oracle.last();
    if (!c.read) {
        c.seq++;
        c.op = {c.id, c.seq, rng.below(kKeys), c.id * 1000000 + c.seq};
    }
    client_try(i);
}

void World::client_try(size_t i)
{
    Client &c = clients[i];
    if (!c.busy) {
        return;
    }

    uint64_t attempt = ++c.attempt;
    raft_id to = leader();
    std::vector<raft_id> claim; // who calls itself leader, rightly or not
    for (const Node &n : nodes) {
        if (n.alive && n.out.role == RAFT_LEADER) {
            claim.push_back(n.id);
        }
    }
    if (claim.size() > 1) {
        to = claim[rng.below(claim.size())];
    }
    if (to == 0 || rng.permille(c.read ? 500 : 100)) {
        to = 1 + rng.below(nodes.size());
    }

    Node &n = node(to);
    Time again = 10 * kMs;
    if (n.alive && !n.paused) {
        int rc;
        if (c.read) {
            c.ctx = (++ctx_ << 8) | i;
            rc = read(to, c.ctx);
        } else {
            Bytes data = encode_op(c.op, rng.below(64));
            raft_entry e = {};
            e.type = RAFT_ENTRY_COMMAND;
            e.data = data->data();
            e.size = static_cast<uint32_t>(data->size());
            raft_event ev = {};
            ev.type = RAFT_EVENT_PROPOSE;
            ev.u.propose.entries = &e;
            ev.u.propose.n_entries = 1;
            rc = step(to, ev);
        }
        refused_busy += rc == RAFT_ERR_BUSY;
        again = rc == 0 ? 400 * kMs : 10 * kMs;
    }

    at(now + again + rng.below(10 * kMs), [this, i, attempt] {
        if (clients[i].attempt == attempt) {
            client_try(i);
        }
    });
}

// The operation of client i took effect at `index` (or, a read, saw the state after it).
void World::client_reply(size_t i, raft_index index)
{
    Client &c = clients[i];
    if (index < c.floor || (!c.read && index == c.floor)) {
        fail(std::string(c.read ? "a stale read" : "a write out of order") + ": client " +
             std::to_string(c.id) + " got " + std::to_string(index) + " after " +
             std::to_string(c.floor) + " was known");
        return;
    }
    if (c.read) {
        served_reads++;
    } else {
        acked_writes++;
    }
    c.busy = false;
    c.completed++;
    c.attempt++;
    at(now + rng.below(2 * opt.think + 1), [this, i] { client_next(i); });
}

// The leader that applies a client's entry tells the client; by session it tells repeats as well.
void World::on_applied(Node &n, raft_index index, const Entry &e)
{
    (void)index;
    if (e.type != RAFT_ENTRY_COMMAND || n.out.role != RAFT_LEADER) {
        return;
    }
    Op op = decode_op(e);
    if (op.client == 0 || op.client > clients.size()) {
        return;
    }
    Client &c = clients[op.client - 1];
    if (c.busy && !c.read && c.seq == op.seq) {
        client_reply(op.client - 1, oracle.applied_ops[{op.client, op.seq}]);
    }
}

void World::on_read_served(Node &n, uint64_t ctx)
{
    size_t i = ctx & 0xff;
    if (ctx <= 0xff || i >= clients.size()) {
        return;
    }
    Client &c = clients[i];
    if (c.busy && c.read && c.ctx == ctx) {
        client_reply(i, n.applied);
    }
}

void World::on_read_failed(uint64_t ctx)
{
    size_t i = ctx & 0xff;
    if (ctx <= 0xff || i >= clients.size()) {
        return;
    }
    Client &c = clients[i];
    if (c.busy && c.read && c.ctx == ctx) {
        uint64_t attempt = ++c.attempt;
        at(now + 10 * kMs, [this, i, attempt] {
            if (clients[i].attempt == attempt) {
                client_try(i);
            }
        });
    }
}

} // namespace sim
