/* Only in the test variant of the library. */
#include "core_priv.h"

void raft_set_mutant(struct raft *r, int mutant)
{
#ifdef RAFT_MUTANTS
    r->mutant = mutant;
#else
    (void)r;
    (void)mutant;
#endif
}
