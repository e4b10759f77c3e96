/*
 * Linearizable reads without the log: ReadIndex, thesis 6.4.
 *
 * A read takes the commit index, then waits until a majority has confirmed the leader in a round
 * that began after the read came. Rounds are numbers that never repeat within a term and are echoed
 * by whatever answers them, so a delayed answer confirms nothing but its own round (etcd #20418).
 * One round serves all reads that came while the one before was out.
 */
#include <string.h>

#include "core_priv.h"

/* Questions of one follower in the queue; more are dropped, it asks again. */
#define MAX_READS_PER_PEER 4

static void result(struct raft *r, uint64_t ctx, int code, raft_index index)
{
    r->read_results[r->n_read_results++] = (struct raft_read_result){
        .ctx = ctx,
        .result = code,
        .index = index,
    };
}

static void answer(struct raft *r, raft_id to, uint64_t nonce, uint64_t seq, raft_index index,
                   bool refused)
{
    struct raft_message *m = raft_message_new(r, to, RAFT_MSG_READ_REPLY);

    if (m) {
        m->u.read_reply = (struct raft_msg_read_reply){
            .nonce = nonce,
            .seq = seq,
            .index = index,
            .refused = refused,
        };
    }
}

/* ---- leader -----------------------------------------------------------------------------------
 */

/* The latest round that a majority of voters has echoed. */
static uint64_t confirmed_round(const struct raft *r)
{
    const struct raft_config *c = raft_config_current(r);
    uint64_t rounds[RAFT_MAX_SERVERS];
    uint32_t n = 0;
    uint32_t quorum = raft_quorum(r);

    if (RAFT_MUTANT(r, READ_WITHOUT_ROUND)) {
        return r->round;
    }

    if (raft_self_votes(r)) {
        rounds[n++] = r->round;
    }

    for (uint32_t i = 0; i < r->n_peers; i++) {
        uint64_t round = r->peers[i].acked_round;
        uint32_t at;

        if (!raft_config_is_voter(c, r->peers[i].id)) {
            continue;
        }

        for (at = n++; at > 0 && rounds[at - 1] < round; at--) {
            rounds[at] = rounds[at - 1];
        }
        rounds[at] = round;
    }

    return n >= quorum ? rounds[quorum - 1] : 0;
}

static void deliver(struct raft *r, const struct raft_read *read)
{
    if (read->from == 0) {
        result(r, read->ctx, RAFT_OK, read->index);
    } else {
        answer(r, read->from, read->nonce, read->ctx, read->index, false);
    }
}

/* Serves what is confirmed, and starts the next round if someone waits for it. */
void raft_reads_round(struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        return;
    }

    for (;;) {
        uint64_t confirmed = confirmed_round(r);
        uint32_t done = 0;

        while (done < r->n_reads && r->reads[done].phase == RAFT_READ_WAIT_ROUND &&
               r->reads[done].round <= confirmed) {
            deliver(r, &r->reads[done]);
            done++;
        }

        r->n_reads -= done;
        memmove(r->reads, r->reads + done, r->n_reads * sizeof(r->reads[0]));

        if (r->n_reads == 0 || r->reads[0].phase != RAFT_READ_WAIT_ROUND ||
            r->reads[0].round <= r->round) {
            return;
        }

        r->round = r->reads[0].round;
        raft_heartbeat(r);
    }
}

void raft_reads_own_term(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_reads; i++) {
        struct raft_read *read = &r->reads[i];

        if (read->phase == RAFT_READ_WAIT_TERM) {
            read->phase = RAFT_READ_WAIT_ROUND;
            read->index = r->commit;
            read->round = r->round + 1;
        }
    }

    raft_reads_round(r);
}

static int queue_read(struct raft *r, struct raft_read read)
{
    if (r->n_reads >= r->opt.max_pending_reads) {
        return RAFT_ERR_BUSY;
    }

    read.phase = RAFT_READ_WAIT_TERM;
    if (raft_committed_own_term(r) || RAFT_MUTANT(r, READ_BEFORE_OWN_COMMIT)) {
        read.phase = RAFT_READ_WAIT_ROUND;
        read.index = r->commit;
        read.round = r->round + 1;
    }

    r->reads[r->n_reads++] = read;
    raft_reads_round(r);
    return RAFT_OK;
}

void raft_reads_fail(struct raft *r, int code)
{
    for (uint32_t i = 0; i < r->n_reads; i++) {
        const struct raft_read *read = &r->reads[i];

        if (read->from == 0) {
            result(r, read->ctx, code, 0);
        } else {
            answer(r, read->from, read->nonce, read->ctx, 0, true);
        }
    }

    r->n_reads = 0;
}

void raft_on_read(struct raft *r, const struct raft_message *m)
{
    uint32_t queued = 0;

    if (r->role != RAFT_LEADER || !raft_peer_find(r, m->from)) {
        answer(r, m->from, m->u.read.nonce, m->u.read.seq, 0, true);
        return;
    }

    for (uint32_t i = 0; i < r->n_reads; i++) {
        queued += r->reads[i].from == m->from;
    }

    if (queued >= MAX_READS_PER_PEER || queue_read(r, (struct raft_read){
                                                          .from = m->from,
                                                          .nonce = m->u.read.nonce,
                                                          .ctx = m->u.read.seq,
                                                      }) != RAFT_OK) {
        r->dropped++;
    }
}

/* ---- follower ---------------------------------------------------------------------------------
 */

/*
 * One question is out at a time; it stands for all reads that came before it was asked. Sequence
 * numbers belong to one life of this server: the nonce tells an answer to an earlier life.
 */
void raft_forward(struct raft *r)
{
    struct raft_message *m;

    if (r->n_forwards == 0 || r->leader == 0 || r->role != RAFT_FOLLOWER) {
        return;
    }

    r->forward_deadline = r->now + r->opt.election_ns;
    m = raft_message_new(r, r->leader, RAFT_MSG_READ);
    if (m) {
        r->forward_sent = r->forwards[r->n_forwards - 1].seq;
        m->u.read = (struct raft_msg_read){.nonce = r->nonce, .seq = r->forward_sent};
    }
}

static void finish_forwards(struct raft *r, uint64_t seq, int code, raft_index index)
{
    uint32_t done = 0;

    while (done < r->n_forwards && r->forwards[done].seq <= seq) {
        result(r, r->forwards[done].ctx, code, index);
        done++;
    }

    r->n_forwards -= done;
    memmove(r->forwards, r->forwards + done, r->n_forwards * sizeof(r->forwards[0]));
}

void raft_forwards_fail(struct raft *r, int code)
{
    finish_forwards(r, UINT64_MAX, code, 0);
    r->forward_sent = 0;
}

void raft_on_read_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_read_reply *a = &m->u.read_reply;

    if ((a->nonce != r->nonce && !RAFT_MUTANT(r, READ_NO_NONCE)) || a->seq > r->forward_seq) {
        r->dropped++;
        return;
    }

    finish_forwards(r, a->seq, a->refused ? RAFT_ERR_NOT_LEADER : RAFT_OK, a->index);
    if (a->seq >= r->forward_sent) {
        r->forward_sent = 0;
        raft_forward(r);
    }
}

int raft_read_request(struct raft *r, const struct raft_event_read *e)
{
    if (r->role == RAFT_LEADER) {
        return queue_read(r, (struct raft_read){.ctx = e->ctx});
    }

    if (r->leader == 0 || r->role != RAFT_FOLLOWER) {
        return RAFT_ERR_NO_LEADER;
    }

    if (r->n_forwards >= r->opt.max_pending_reads) {
        return RAFT_ERR_BUSY;
    }

    r->forward_seq++;
    r->forwards[r->n_forwards++] = (struct raft_forward){.ctx = e->ctx, .seq = r->forward_seq};
    if (r->forward_sent == 0) {
        raft_forward(r);
    }

    return RAFT_OK;
}
