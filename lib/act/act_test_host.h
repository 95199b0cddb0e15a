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

uint64_t lm_test_now(const lm_test_host_t *host);

/** Delivers a message as one turn. For a CALL returns the correlation its reply will carry (deadline
 *  5 s from now unless deadline_us is not 0). lm_test_refused says how it was received. */
uint64_t lm_test_deliver(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                         const void *body, uint64_t deadline_us);
/** The same without ending the turn: several of these and lm_test_turn are one turn. */
uint64_t lm_test_feed(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                      const void *body, uint64_t deadline_us);
void lm_test_turn(lm_test_host_t *host);
/** Delivers the reply to a call the room made. */
void lm_test_reply(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                   uint64_t correlation, const void *body);
/** Puts an item into the room's inlet and runs a turn. */
void lm_test_inlet(lm_test_host_t *host, void *item);
/** Raw bytes of envelope and body, for hostile input. */
void lm_test_raw(lm_test_host_t *host, lm_bytes_t envelope, lm_bytes_t body);

/** Result of the last delivery: LM_RC_OK, or why the runtime did not hand it to a handler. */
lm_rc_t lm_test_refused(const lm_test_host_t *host);

/** Lets time pass, waking the room whenever it asked for it. */
void lm_test_advance(lm_test_host_t *host, uint64_t us);
/** A participant restarts: its generation's counter grows by one, on_peer_up is called, calls that
 *  may be repeated are put out again, the others fail. */
void lm_test_restart_peer(lm_test_host_t *host, lm_participant_t peer);

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

bool lm_test_is_ready(const lm_test_host_t *host);
/** True if the room has asked to end; sets *code if it is not NULL. */
bool lm_test_has_ended(const lm_test_host_t *host, lm_exit_t *code);

#endif
