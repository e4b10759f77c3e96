/*
 * Known bugs that can be switched back in, one at a time, in the test variant of the library only
 * (RAFT_MUTANTS): the simulator must find every one of them. In the real library RAFT_MUTANT() is
 * the constant 0 and nothing of this exists.
 *
 * Each has bitten a named implementation or the literature; see raft/README.md.
 */
#ifndef RAFT_MUTANT_PRIV_H
#define RAFT_MUTANT_PRIV_H

/* X(NAME, what is wrong) */
#define RAFT_MUTANT_LIST(X)                                                                        \
    X(COMMIT_OLD_TERM, "an entry of an earlier term on a majority counts as committed")            \
    X(CONFIG_BEFORE_OWN_COMMIT, "a new leader changes the configuration at once")                  \
    X(TWO_CHANGES, "a second configuration change while one is pending")                           \
    X(TRUNCATE_ALWAYS, "everything after prev is cut, not only from the first conflict")           \
    X(ACK_LAST_INDEX, "a follower acknowledges its last index instead of the verified one")        \
    X(COMMIT_UNVERIFIED, "a follower commits what the leader has not verified")                    \
    X(VOTE_BEFORE_DURABLE, "a vote leaves before it is on disk")                                   \
    X(STEP_DOWN_CLEARS_VOTE, "stepping down within a term forgets the vote")                       \
    X(PRE_VOTE_COUNTS, "a pre-vote reply counts as a vote")                                        \
    X(STALE_VOTE_COUNTS, "a vote reply of an earlier term counts")                                 \
    X(PRE_VOTE_SETS_TERM, "answering a pre-vote raises the term")                                  \
    X(LONGER_LOG_WINS, "logs are compared by length only")                                         \
    X(ANY_LOG_WINS, "votes are granted without comparing logs")                                    \
    X(READ_BEFORE_OWN_COMMIT, "a new leader serves reads before its no-op is committed")           \
    X(READ_WITHOUT_ROUND, "a read needs no confirmation of leadership")                            \
    X(READ_ANY_ROUND, "a late reply of an earlier round confirms a read")                          \
    X(READ_NO_NONCE, "an answer to an earlier life of the follower confirms its reads")            \
    X(ACK_BEFORE_DURABLE, "a follower acknowledges what is not on disk")                           \
    X(SELF_ACK_BEFORE_DURABLE, "the leader counts itself before its own flush")                    \
    X(STALE_COMPLETION, "a late completion acknowledges entries that replaced the written ones")   \
    X(OLD_SNAPSHOT_INSTALLED, "a snapshot behind the commit index replaces the log")               \
    X(SNAPSHOT_WITHOUT_CONFIG, "installing a snapshot keeps the old configuration")                \
    X(SNAPSHOT_NEWEST_CONFIG,                                                                      \
      "a snapshot carries the newest configuration, not that of its index")                        \
    X(CONFIG_NO_ROLLBACK, "an overwritten configuration entry stays in force")                     \
    X(EVEN_QUORUM, "half of an even number of voters is a majority")                               \
    X(LEARNER_COUNTS, "learners count for the commit index")                                       \
    X(REMOVED_LEADER_COUNTS, "a leader that removes itself counts itself")                         \
    X(OLD_LEADER_ACCEPTED, "appends of an earlier term are accepted")                              \
    X(NO_STEP_DOWN, "a leader without a majority stays leader")                                    \
    X(SAME_TIMEOUT, "election timeouts are not random")                                            \
    X(STUCK_PROBE, "a lost probe is never repeated")                                               \
    X(TRANSFER_IN_DOUBT, "leadership is handed over before all accepted is committed")

enum raft_mutant {
    RAFT_MUTANT_NONE = 0,
#define RAFT_X(name, text) RAFT_MUTANT_##name,
    RAFT_MUTANT_LIST(RAFT_X)
#undef RAFT_X
        RAFT_MUTANT_COUNT
};

#ifdef RAFT_MUTANTS
#define RAFT_MUTANT(r, name) ((r)->mutant == RAFT_MUTANT_##name)
#else
#define RAFT_MUTANT(r, name) (false)
#endif

struct raft;

/* Test variant only: switches one mutant on (enum raft_mutant) for this instance. */
void raft_set_mutant(struct raft *r, int mutant);

#endif
