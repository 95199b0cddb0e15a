/* How many threads a node takes for the share of processors it may use.
 *
 * Busy threads beyond the share do harm: a group that has used up its time stands still for the
 * rest of the period, ticks of consensus included. What works in a node is a fixed number of
 * threads, one for each room and one for gRPC; only the disk has a pool.
 */
#ifndef LM_SUP_SHARE_H
#define LM_SUP_SHARE_H

#include "base_quota.h"

/** Threads of the pool for the disk, 2 to 4: one beyond the share, because they mostly wait, and
 *  never one alone, so that a long write does not keep the log waiting. */
unsigned lm_sup_share_disk_threads(const lm_quota_t *quota);

enum { LM_SUP_SHARE_TEXT_MAX = 512 };

/** The sentence about the share and what is made of it. */
void lm_sup_share_print(const lm_quota_t *quota, unsigned disk_threads,
                        char text[LM_SUP_SHARE_TEXT_MAX]);

/** Looks at the share, logs the sentence, and says the number to those who will make the pool, by
 *  the variable UV_THREADPOOL_SIZE; one that is set already stays. Before any thread exists. */
void lm_sup_share_take(void);

#endif
