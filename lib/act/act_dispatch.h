/* What both hosts do alike: check what comes in, call the room, keep its calls.
 *
 * A turn: begin, any number of messages, peers, items and wake-ups, end; then the host takes the
 * wishes out of the outbox and calls lm_dispatch_clear.
 *
 * Invariants
 *   D1  A message reaches a handler only if it passed every check; if not, it is in one counter,
 *       and a CALL whose sender is known is answered with a refusal.
 *   D2  Messages from or for another generation change nothing and are not answered.
 *   D3  PING, STOP and PEER_UP are done here, in every state of the room.
 */
#ifndef LM_ACT_DISPATCH_H
#define LM_ACT_DISPATCH_H

#include "act_outbox.h"

/** A tick later than this is late (S9). */
enum { LM_LATE_US = 200 * 1000 };

/** What a host does besides; each may be NULL. */
typedef struct {
    /** PEER_UP told of a newer generation of a participant this room connects to: connect to it. */
    void (*connect)(void *host, lm_participant_t peer, lm_generation_t generation,
                    lm_bytes_t endpoint);
    /** START has come; body is lm_bus_node_config_t. Called before the room's handler. */
    void (*on_start)(void *host, const void *body);
} lm_dispatch_host_t;

typedef struct {
    const lm_room_t *definition;
    void *room;
    const lm_room_row_t *rows[LM_MESSAGE_NUMBERS];
    const lm_dispatch_host_t *functions;
    void *host;
    lm_arena_t *arena; /* of the turn */
    lm_counters_t counters;
    lm_calls_t calls;
    lm_outbox_t out;
    uint64_t stop_at_us; /* 0: nobody asked for the end */
} lm_dispatch_t;

/** Checks the definition against the register; a definition that contradicts it stops the process.
 *  The dispatcher must not be moved afterwards. functions may be NULL. */
void lm_dispatch_init(lm_dispatch_t *d, const lm_room_t *definition, void *room,
                      lm_generation_t generation, const lm_dispatch_host_t *functions, void *host);
void lm_dispatch_destroy(lm_dispatch_t *d);

/** A turn begins at that time. */
void lm_dispatch_begin(lm_dispatch_t *d, uint64_t now_us);

/** Handles one message. connection is who stands at the other end as far as the host knows;
 *  LM_NOBODY if it does not. Of a known connection the host has adopted the generation before.
 *  Returns LM_RC_OK if a handler had it. */
lm_rc_t lm_dispatch_message(lm_dispatch_t *d, lm_participant_t connection, lm_bytes_t envelope,
                            lm_bytes_t body);

/** A participant can be reached and has a newer generation than before. Older: nothing happens. */
void lm_dispatch_peer_up(lm_dispatch_t *d, lm_participant_t peer, lm_generation_t generation);

/** There is room again in the pipe to a peer. */
void lm_dispatch_room_again(lm_dispatch_t *d, lm_participant_t peer);

/** Hands an item of the inlet to the room, which owns it from here on. */
void lm_dispatch_inlet(lm_dispatch_t *d, void *item);

/** Wakes the room if the time it asked for has come. */
void lm_dispatch_wake(lm_dispatch_t *d);

/** Ends the turn: calls that are out of time, failures, on_turn_end. */
void lm_dispatch_end(lm_dispatch_t *d);

/** Forgets the turn's memory; the outbox must be empty. */
void lm_dispatch_clear(lm_dispatch_t *d);

/** When something is due again: 0 at once, UINT64_MAX never. */
uint64_t lm_dispatch_next_us(const lm_dispatch_t *d);

#endif
