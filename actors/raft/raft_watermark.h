/* The watermark: how far the log reached when this node last said that it has an entry, so that a
 * log that is shorter, or another one, is not taken for the whole of it (SAFETY S19).
 *
 * Two slots are written in turn, each with a sequence number and a checksum, in blocks of their
 * own: a slot that was torn leaves the other. The sum is that of the chain of entries from the base
 * on, so that not only the length of the log is known but also what it held. Term and vote are
 * kept as well, for the engine's files of them have no checksum.
 *
 * Invariants
 *   W1  The slot that counts is never beyond what the log has had: it is written after the log, and
 *       lowered in both slots, durably, before the log is.
 *   W2  A loss that was found stays in it until it is made good.
 */
#ifndef LM_RAFT_WATERMARK_H
#define LM_RAFT_WATERMARK_H

#include "raft_chain.h"
#include "raft_datadir.h"

#define LM_RAFT_WATERMARK_FILE "watermark"
#define LM_RAFT_WATERMARK_RECENT 16

typedef struct {
    uint64_t index;
    uint32_t sum;
} lm_raft_sum_t;

typedef struct {
    uint64_t last_index, last_term;
    uint32_t last_sum;
    lm_raft_sum_t base; /* index 0: the chain begins with the log */
    uint64_t lost_index;
    uint64_t term, vote; /* in the engine's own files they have no checksum */
    uint32_t n_recent;
    lm_raft_sum_t recent[LM_RAFT_WATERMARK_RECENT]; /* where the writes before the last ended */
} lm_raft_mark_t;

typedef struct {
    lm_raft_folder_t folder;
    int fd; /* -1: closed */
    uint64_t sequence;
} lm_raft_watermark_t;

/** Makes the file, durably. */
bool lm_raft_watermark_make(lm_raft_watermark_t *watermark, lm_raft_folder_t folder,
                            const lm_raft_mark_t *mark, lm_raft_fault_t *fault);
/** Opens it and reads the newer good slot. False with a fault: DAMAGED if there is none, or SYSTEM.
 */
bool lm_raft_watermark_open(lm_raft_watermark_t *watermark, lm_raft_folder_t folder,
                            lm_raft_mark_t *mark, lm_raft_fault_t *fault);
/** Writes the older slot. It is durable after a sync. */
bool lm_raft_watermark_write(lm_raft_watermark_t *watermark, const lm_raft_mark_t *mark,
                             lm_raft_fault_t *fault);
bool lm_raft_watermark_sync(const lm_raft_watermark_t *watermark, lm_raft_fault_t *fault);
/** Writes both slots, one after the other, each durably. */
bool lm_raft_watermark_settle(lm_raft_watermark_t *watermark, const lm_raft_mark_t *mark,
                              lm_raft_fault_t *fault);
void lm_raft_watermark_close(lm_raft_watermark_t *watermark);

/** The mark of a log whose last written entry is last: at or behind the chain's base. ends: up to
 *  n_ends indexes at which writes ended, those before the base or behind last are left out. */
lm_raft_mark_t lm_raft_watermark_of(const lm_raft_chain_t *chain, uint64_t last,
                                    uint64_t lost_index, const uint64_t *ends, size_t n_ends);

typedef enum {
    LM_RAFT_MARK_GOOD,
    LM_RAFT_MARK_LOST,  /* the log ends before the mark; what there is, is right */
    LM_RAFT_MARK_WRONG, /* it is not the log that the mark tells of */
} lm_raft_mark_state_t;

/** Compares a log with the mark. The chain begins at the mark's base if the log reaches back to it,
 *  else with sum 0 anywhere, and is then not compared. named: all entries are in files whose names
 *  tell their indexes. */
lm_raft_mark_state_t lm_raft_watermark_compare(const lm_raft_mark_t *mark,
                                               const lm_raft_chain_t *chain, bool named);

#endif
