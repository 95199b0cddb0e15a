/* Looks through the data directory before the engine's disk code reads it: repairs what a crash in
 * the middle of a truncation, of a snapshot or of an installation leaves, and refuses what that
 * code would mistake or choke on.
 *
 * Repaired: twins and leftovers of a truncation or installation that was not completed; halves of
 * snapshots, images that no snapshot names; a damaged snapshot, as long as the log still reaches
 * back to the one before it.
 * Refused, by name: files that are not ours; term-and-vote files that contradict themselves or each
 * other; any segment that is not what its name says; one that is still open and ends inside a
 * batch, or has a good batch behind a bad one (an unfinished last batch is no damage: nobody was
 * told that it was written); gaps; a snapshot that is needed and not whole; a log that is not the
 * one that the watermark tells of. A log that is that one and ends too early is a loss: it is told,
 * and not refused. */
#ifndef LM_RAFT_SCAN_H
#define LM_RAFT_SCAN_H

#include "raft_disk.h"
#include "raft_fault.h"
#include "raft_identity.h"
#include "raft_watermark.h"

/** What the files say; zeros if there are none. */
typedef struct {
    uint64_t term, voted_for;
    lm_raft_image_t image; /* of the newest snapshot that is whole */
    lm_raft_mark_t mark;
    uint64_t first_index, last_index; /* of the log; the first is behind the last if it is empty */
    uint32_t last_sum;
    uint64_t lost_index;
    bool has_log; /* there are segments with entries, or a snapshot */
} lm_raft_scan_t;

/** Scans directory path, which must be locked. identity says who may have been voted for. False
 *  with a fault: DAMAGED, or SYSTEM if something cannot be read. */
bool lm_raft_scan(const char *path, const lm_raft_identity_t *identity, lm_raft_scan_t *result,
                  lm_raft_fault_t *fault);

#endif
