/* What the tests of regions of raft rooms have in common: faults by seed, and what must hold when
 * everything has healed. */
#ifndef LM_RAFT_SCHEDULE_H
#define LM_RAFT_SCHEDULE_H

#include "raft_cluster.h"

typedef unsigned long long ull_t;

/** Logs errors only; with LM_INFO in the environment, everything. For .init of a suite. */
void lm_schedule_quiet(void);
/** Something fails or comes back in a region of that many nodes: raft or lock of a node, a link, a
 *  stream, or the time of a node. */
void lm_schedule_fault(lm_cluster_t *cluster, uint32_t nodes);
/** Everything works again. */
void lm_schedule_heal(lm_cluster_t *cluster, uint32_t nodes);
/** Fails the test unless all nodes have applied the same entries and every acknowledged command is
 *  among them. seed: named in what is said then; 0: there is none. */
void lm_schedule_expect_agreement(lm_cluster_t *cluster, uint32_t nodes, uint64_t seed);

#endif
