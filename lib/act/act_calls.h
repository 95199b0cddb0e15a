/* The calls of one room that have no answer yet.
 *
 * Invariants
 *   C1  A call is in the table from its making to its end, and ends once: replied, forgotten, or
 *       failed and told (A4). A failed call stays until the room has been told, so that until then
 *       it can be forgotten.
 *   C2  Bytes of a body are kept where they may be needed again: of calls that are repeated, and of
 *       calls that have not left yet.
 *   C3  Order is order of making, also when calls are sent again.
 */
#ifndef LM_ACT_CALLS_H
#define LM_ACT_CALLS_H

#include <uthash.h>

#include "act_room.h"

typedef struct lm_call {
    uint64_t correlation;
    const lm_register_row_t *row;
    lm_participant_t to;
    bool sent; /* handed to some generation of the receiver */
    uint64_t deadline_us;
    uint64_t trace_id;
    lm_bytes_t body; /* owned; empty if it is not kept */
    size_t heap_at;  /* place in the heap of deadlines */
    lm_rc_t why;     /* not OK: it has failed with this, and waits in the list of failures */
    struct lm_call *prev, *next;
    UT_hash_handle hh;
} lm_call_t;

typedef struct {
    lm_call_t *by_correlation; /* in order of making */
    lm_call_t **heap;          /* of the calls that have not failed, earliest deadline first */
    size_t n_heap, heap_room;
    lm_call_t *failed; /* in order of failing */
    uint64_t last_correlation;
    size_t kept_bytes;
} lm_calls_t;

/** Frees what the table holds, not the struct itself. */
void lm_calls_destroy(lm_calls_t *calls);

/** Notes a call; its body is copied if keep is true. The deadline is not 0. */
lm_call_t *lm_calls_add(lm_calls_t *calls, const lm_register_row_t *row, lm_participant_t to,
                        uint64_t deadline_us, uint64_t trace_id, lm_bytes_t body, bool keep);

/** The unanswered call of that correlation that has not failed; NULL if there is none. */
lm_call_t *lm_calls_find(lm_calls_t *calls, uint64_t correlation);

/** Removes and frees a call; *call becomes NULL. */
void lm_calls_end(lm_calls_t *calls, lm_call_t **call);

/** Removes a call whether it has failed or not; nothing happens if there is none. */
void lm_calls_forget(lm_calls_t *calls, uint64_t correlation);

/** Marks a call as failed. Nothing happens if it has failed already. */
void lm_calls_fail(lm_calls_t *calls, lm_call_t *call, lm_rc_t why);

/** Fails every call whose deadline is not after now. */
void lm_calls_expire(lm_calls_t *calls, uint64_t now_us);

/** Earliest deadline; UINT64_MAX if no call waits. */
uint64_t lm_calls_next_deadline(const lm_calls_t *calls);

#endif
