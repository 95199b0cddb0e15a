/* A room without sockets: tests feed messages and read the outbox; time passes when they say so.
 *
 * Every message is serialized and decoded on its way in and out, and passes the same checks as in
 * production. */
#ifndef LM_ACT_TEST_HOST_H
#define LM_ACT_TEST_HOST_H

#include "act_room.h"

typedef struct lm_test_host lm_test_host_t;

/** Time starts at 1,000,000 us. All participants are there from the beginning with generation
 *  {1, 1}; the room itself has {1, 1} too. */
lm_test_host_t *lm_test_host_new(const lm_room_t *definition, void *room);
void lm_test_host_destroy(lm_test_host_t **host);

/** The host's time, in microseconds. */
uint64_t lm_test_now(const lm_test_host_t *host);

/** Delivers a message as one turn. For a CALL returns the correlation its reply will carry
 *  (deadline 5 s from now unless deadline_us is not 0). lm_test_refused says how it went. */
uint64_t lm_test_deliver(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                         const void *body, uint64_t deadline_us);
/** The same without ending the turn: several of these and lm_test_turn are one turn. */
uint64_t lm_test_feed(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                      const void *body, uint64_t deadline_us);
void lm_test_turn(lm_test_host_t *host);
/** Delivers the reply to a call the room made. */
void lm_test_reply(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                   uint64_t correlation, const void *body);
/** The other side's runtime refuses a call the room made. number is that of the call. */
void lm_test_refuse(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                    uint64_t correlation, lm_rc_t why);
/** Puts an item into the room's inlet and runs a turn. */
void lm_test_inlet(lm_test_host_t *host, void *item);
/** Raw bytes of envelope and body, for hostile input. */
void lm_test_raw(lm_test_host_t *host, lm_bytes_t envelope, lm_bytes_t body);

/** Result of the last delivery: LM_RC_OK, or why the runtime did not hand it to a handler. Those
 *  that the caller of a CALL hears: TOO_LARGE, DEADLINE_EXCEEDED, UNIMPLEMENTED (no row), NOT_READY
 *  (not welcome in this state), MALFORMED and INVALID_ARGUMENT (body). Others: UNKNOWN_PEER (wrong
 *  sender or receiver), CANCELLED (from or for another generation), NOT_FOUND (a reply nobody waits
 *  for). */
lm_rc_t lm_test_refused(const lm_test_host_t *host);

/** Lets time pass, waking the room whenever it asked for it. */
void lm_test_advance(lm_test_host_t *host, uint64_t us);
/** Time passes while the whole process stands still: nothing is woken. What is fed next is handled
 *  first, as after a late tick (S9); the room is woken, late, by the next lm_test_advance. */
void lm_test_freeze(lm_test_host_t *host, uint64_t us);
/** A participant restarts: its generation's counter grows by one, on_peer_up is called, calls that
 *  may be repeated are put out again, the others fail. */
void lm_test_restart_peer(lm_test_host_t *host, lm_participant_t peer);

/** Fills the pipe to a peer, or gives it room again: calls fail with OVERLOADED, MERGE messages are
 *  dropped, STOP messages are not taken until there is room. */
void lm_test_fill_pipe(lm_test_host_t *host, lm_participant_t peer, bool full);

/** What the room sent, oldest first; taking removes it. body is decoded and lives until the host is
 *  destroyed. Returns NULL if there is no such message. number LM_MSG_NONE: the oldest of any. */
typedef struct {
    lm_message_number_t number;
    lm_participant_t to;
    uint64_t correlation;
    uint64_t deadline_us;
    const void *body;
} lm_test_sent_t;
const lm_test_sent_t *lm_test_take(lm_test_host_t *host, lm_message_number_t number);
/** How many of that number wait to be taken. */
size_t lm_test_count(const lm_test_host_t *host, lm_message_number_t number);
/** How many status reports a health actor hears that has just come up, before time passes. Takes
 *  the reports from before. */
size_t lm_test_told_to_new_health(lm_test_host_t *host);

/** True if the room has said that it is ready. */
bool lm_test_is_ready(const lm_test_host_t *host);
/** True if the room has asked to end; sets *code if it is not NULL. */
bool lm_test_has_ended(const lm_test_host_t *host, lm_exit_t *code);

/** Value of a counter of the runtime, for example "lockmgr_bus_stale_generation_total". */
uint64_t lm_test_counter(const lm_test_host_t *host, const char *name);

#endif
