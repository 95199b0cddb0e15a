/* Looks through the data directory before the engine's disk code reads it: repairs what a crash in
 * the middle of a truncation leaves, and refuses what that code would mistake or choke on.
 *
 * Refused, by name: files that are not ours; term-and-vote files that contradict themselves or each
 * other; a segment that is still open and ends inside a batch, or has a good batch behind a bad one
 * (an unfinished last batch is no damage: nobody was told that it was written); gaps. */
#ifndef LM_RAFT_SCAN_H
#define LM_RAFT_SCAN_H

#include "raft_fault.h"
#include "raft_identity.h"

/** What the term-and-vote files say; zeros if there are none. */
typedef struct {
    uint64_t term, voted_for;
    bool has_log; /* there are segments with entries */
} lm_raft_scan_t;

/** Scans directory path, which must be locked. identity says who may have been voted for. False
 * with a fault: DAMAGED, or SYSTEM if something cannot be read. */
bool lm_raft_scan(const char *path, const lm_raft_identity_t *identity, lm_raft_scan_t *result,
                  lm_raft_fault_t *fault);

#endif
