/* What stands where in the log on disk: for each entry its term, and a checksum of it and of all
 * before it, back to a base. Two logs with the same sum at an index are the same up to it; entries
 * that were moved, exchanged or left out show.
 *
 * Invariants
 *   H1  The sum at the base is given; every further one follows from the entries behind it.
 */
#ifndef LM_RAFT_CHAIN_H
#define LM_RAFT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base_bytes.h"

typedef struct {
    uint64_t term;
    uint32_t sum;
} lm_raft_link_t;

/** Zeroed: empty, behind entry 0. */
typedef struct {
    uint64_t base;
    lm_raft_link_t at_base;
    lm_raft_link_t *links; /* of entries base + 1, ... */
    size_t n, n_max;
} lm_raft_chain_t;

/** Empty, behind entry base. */
void lm_raft_chain_reset(lm_raft_chain_t *chain, uint64_t base, uint64_t term, uint32_t sum);
void lm_raft_chain_free(lm_raft_chain_t *chain);
void lm_raft_chain_add(lm_raft_chain_t *chain, uint64_t term, uint32_t type, lm_bytes_t data);
/** Removes entries from index on, which is behind the base. */
void lm_raft_chain_cut(lm_raft_chain_t *chain, uint64_t index);
/** Moves the base up to index, if it is behind it; index is at most the last. */
void lm_raft_chain_trim(lm_raft_chain_t *chain, uint64_t index);

/** Index of the last entry; that of the base if there is none. */
uint64_t lm_raft_chain_last(const lm_raft_chain_t *chain);
/** Term and sum at an index; false if it is before the base or behind the last. */
bool lm_raft_chain_at(const lm_raft_chain_t *chain, uint64_t index, lm_raft_link_t *link);

#endif
