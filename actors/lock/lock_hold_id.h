/* hold_id: how a hold is named to its owner. Opaque outside of this file.
 *
 * It is "<hold>-<claim>" in decimal digits without leading zeros: the op_seq of the grant and how
 * often the hold has been handed back to its owner since (S11b). */
#ifndef LM_LOCK_HOLD_ID_H
#define LM_LOCK_HOLD_ID_H

#include "base_arena.h"

/** The text of a hold, in the arena. */
lm_bytes_t lm_lock_hold_id_make(lm_arena_t *arena, uint64_t hold, uint64_t claim);

/** Reads a text. False if it is none that lm_lock_hold_id_make could have made. */
bool lm_lock_hold_id_parse(lm_bytes_t text, uint64_t *hold, uint64_t *claim);

#endif
