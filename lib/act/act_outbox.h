/* The outbox from inside: what the two hosts and the dispatcher see of it.
 *
 * Invariants
 *   O1  A wish is addressed to one generation of its receiver: the one known when it was made. Only
 *       what was made before any was known goes to whichever comes first.
 *   O2  Wishes and their bodies live in the arena of the turn.
 */
#ifndef LM_ACT_OUTBOX_H
#define LM_ACT_OUTBOX_H

#include "act_calls.h"
#include "act_counters.h"
#include "act_room.h"

/** One message that waits for the end of the turn. */
typedef struct lm_wish {
    struct lm_wish *next;
    uint64_t order; /* grows with every wish of the room */
    const lm_register_row_t *row;
    lm_participant_t to;
    lm_generation_t to_generation; /* none: whichever comes first */
    uint64_t correlation;
    uint64_t deadline_us;
    uint64_t trace_id;
    lm_rc_t refused;
    lm_bytes_t body;
} lm_wish_t;

/** What a room knows of another participant. */
typedef struct {
    lm_generation_t generation; /* none: never seen */
    bool there;                 /* can be sent to */
    bool full;                  /* its pipe is full: STOP messages are not taken */
    bool stopped;               /* the room was told so, and hears when there is room again */
    lm_wish_t *first, **last;
} lm_peer_t;

struct lm_outbox {
    lm_participant_t self;
    lm_generation_t generation;
    uint64_t now_us;
    lm_arena_t *arena;
    lm_calls_t *calls;
    lm_counters_t *counters;
    lm_peer_t peers[LM_PARTICIPANTS];
    uint64_t order;
    uint64_t wake_at_us; /* UINT64_MAX: not asked for */
    bool ready;
    bool ended;
    lm_exit_t exit_code;
    char words[512];
};

/** An empty outbox of a room. The other parts are the dispatcher's and must outlive it. */
void lm_outbox_init(lm_outbox_t *out, lm_participant_t self, lm_generation_t generation,
                    lm_arena_t *arena, lm_calls_t *calls, lm_counters_t *counters);

/** Puts a call of the table out (again), to the generation that is there now. */
void lm_outbox_put_call(lm_outbox_t *out, lm_call_t *call, lm_bytes_t body);

/** Answers a call by a refusal of the runtime. row is that of the call. */
void lm_outbox_refuse(lm_outbox_t *out, const lm_caller_t *to, const lm_register_row_t *row,
                      lm_rc_t why);

/** Takes the oldest wish for a peer out of the outbox; NULL if there is none. */
lm_wish_t *lm_outbox_take(lm_outbox_t *out, lm_participant_t to);

/** Serializes the envelope of a wish, addressed to that generation (none: left out). */
lm_bytes_t lm_outbox_envelope(const lm_outbox_t *out, const lm_wish_t *wish,
                              lm_generation_t to_generation, lm_arena_t *arena);

#endif
