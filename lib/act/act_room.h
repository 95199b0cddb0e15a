/* A room: one actor's state and its handlers, without threads, sockets, clocks or files.
 *
 * Invariants
 *   A1  A host runs one handler of a room at a time, to its end. Handlers never block.
 *   A2  A handler gets only messages that passed every check of the runtime: number, sender,
 *       generation, size, deadline, decoding, and the room's state.
 *   A3  What a handler wishes - messages, a wake-up, its end - it puts in the outbox; the host
 *       sends it when the turn ends, all that is ready for one peer as one ZeroMQ message.
 *   A4  Every CALL a room makes ends in exactly one way: its reply, or on_call_failed.
 *   A5  Time comes in as an argument: CLOCK_MONOTONIC in microseconds, one reading per turn.
 */
#ifndef LM_ACT_ROOM_H
#define LM_ACT_ROOM_H

#include "act_register.h"
#include "base_exit.h"

/** One start of one actor; higher is newer. A generation whose boot_id is 0 means none. */
typedef struct {
    uint64_t boot_id;
    uint32_t counter;
} lm_generation_t;

/** <0, 0, >0 */
int lm_generation_compare(lm_generation_t a, lm_generation_t b);

/** Where a reply goes. A room may keep it as long as it likes; a reply to a caller that has died or
 *  whose deadline has passed is dropped and counted. */
typedef struct {
    lm_participant_t participant;
    lm_generation_t generation;
    uint64_t correlation;
    uint64_t deadline_us; /* 0: none */
    uint64_t trace_id;
} lm_caller_t;

/** A message as a handler sees it. body is the decoded struct of the row's type and lives until the
 *  handler returns; views in it too. */
typedef struct {
    lm_message_number_t number;
    lm_caller_t from; /* of a REPLY, correlation is what lm_outbox_call returned */
    uint64_t now_us;
    const void *body;
    lm_arena_t *scratch; /* emptied after the turn */
} lm_message_t;

typedef struct lm_outbox lm_outbox_t;

typedef void lm_on_message_t(void *room, const lm_message_t *message, lm_outbox_t *out);

typedef struct {
    lm_message_number_t number;
    lm_on_message_t *on;
    uint32_t welcome; /* states in which it is welcome, as bits; in others it is counted, and a CALL
                         is refused with NOT_READY */
} lm_room_row_t;

#define LM_ANY_STATE UINT32_MAX

/** Description of a room. Functions that are NULL do nothing. PING, PEER_UP and STOP are the
 *  runtime's own business; a room may still have rows for PEER_UP-like needs through on_peer_up. */
typedef struct {
    lm_participant_t self;
    bool binds;                /* has a bus socket of its own */
    uint32_t connects;         /* bits 1 << participant it sends to as a consumer (besides the
                                  supervisor and health, which all connect to) */
    const lm_room_row_t *rows; /* includes START */
    size_t n_rows;
    /** The state the room is in, as one bit. */
    uint32_t (*state)(const void *room);
    /** The time asked for by lm_outbox_wake has come. Called after the inbox was read; after a tick
     *  that came more than 200 ms late, after it was read empty. late_us says how late. */
    void (*on_wake)(void *room, uint64_t now_us, uint64_t late_us, lm_outbox_t *out);
    /** All messages of this turn have been handled: the place to batch. Called once per turn. */
    void (*on_turn_end)(void *room, uint64_t now_us, lm_outbox_t *out);
    /** A participant this room connects to, or that connected to it, has a new generation. Called
     *  before unanswered calls are sent again to it. */
    void (*on_peer_up)(void *room, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out);
    /** A call of this room will get no reply: OVERLOADED or NOT_READY (not delivered or refused:
     *  certainly not handled), DEADLINE_EXCEEDED, OUTCOME_UNKNOWN (receiver replaced, or its reply
     *  unusable); after a fault also TOO_LARGE, MALFORMED, INVALID_ARGUMENT or UNIMPLEMENTED
     *  (certainly not handled). Never called from inside lm_outbox_call. */
    void (*on_call_failed)(void *room, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out);
    /** Something a foreign thread put into the room's inlet (act_host.h), in order. */
    void (*on_inlet)(void *room, void *item, uint64_t now_us, lm_outbox_t *out);
    /** The pipe to a participant was full and has room again (WHEN_FULL is STOP). */
    void (*on_room_again)(void *room, lm_participant_t peer, uint64_t now_us, lm_outbox_t *out);
    /** The supervisor asks the actor to end; it ends when the room calls lm_outbox_exit, or after
     *  grace_us. NULL: it ends at once with LM_EXIT_OK. */
    void (*on_stop)(void *room, uint64_t now_us, uint64_t grace_us, lm_outbox_t *out);
} lm_room_t;

/* ---- what a handler may wish --------------------------------------------------------------------
 * Bodies are serialized before the function returns; they may live on the caller's stack. Sending
 * to a participant that is not there yet: CALLs and KEEP messages wait for it (until their
 * deadline), MERGE messages are dropped and counted, STOP messages are not taken.
 *
 * A message is for the generation that was there when it was made. What still waits for one that
 * has been replaced is dropped and counted (calls are not: they are sent again or fail), so
 * on_peer_up is the place to tell a new generation all it must know.
 *
 * A body beyond the limit of its row is never sent: a CALL then fails with TOO_LARGE, as does the
 * call that a REPLY was for; others are dropped, counted and logged. */

/** Sends a CALL. Returns its correlation, never 0, unique for the life of the room.
 *  deadline_us 0 means 5 s from now. */
uint64_t lm_outbox_call(lm_outbox_t *out, lm_participant_t to, lm_message_number_t number,
                        const void *body, uint64_t deadline_us, uint64_t trace_id);
/** Forgets a call: neither its reply nor its failure will be heard of. */
void lm_outbox_forget(lm_outbox_t *out, uint64_t correlation);
/** Answers a CALL. */
void lm_outbox_reply(lm_outbox_t *out, const lm_caller_t *to, lm_message_number_t number,
                     const void *body);
/** Sends a CAST or an EVENT. Returns false if it is STOP and the pipe is full: nothing was sent. */
bool lm_outbox_send(lm_outbox_t *out, lm_participant_t to, lm_message_number_t number,
                    const void *body);
/** Wakes the room at that time; the earliest of several counts, and waking clears it. */
void lm_outbox_wake(lm_outbox_t *out, uint64_t at_us);
/** The actor serves from now on: the runtime reports ACTOR_READY. */
void lm_outbox_ready(lm_outbox_t *out);
/** Ends the actor after this turn's messages are on their way. words: the last ones, copied. */
void lm_outbox_exit(lm_outbox_t *out, lm_exit_t code, const char *words);

/** Counters of the runtime of this room, in a fixed order: what was refused and why. */
typedef struct {
    const char *name; /* for example "lockmgr_bus_undecodable_total" */
    const char *help;
    uint64_t value;
} lm_host_counter_t;
size_t lm_outbox_counters(const lm_outbox_t *out, const lm_host_counter_t **counters);

#endif
