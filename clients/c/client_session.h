/* Sessions: one lease for any number of locks, kept alive by the library.
 *
 *     lm_session_t *s = lm_session_open(client, &(lm_session_options_t){.own_thread = true}, NULL);
 *     lm_session_acquire(s, "a/lock", LM_API_LOCK_MODE_EXCLUSIVE, -1, 10000, arena, &grant);
 *     ...                                  while lm_session_state(s) is not LM_SESSION_LOST
 *     lm_session_close(&s, 5000);
 *
 * A session is *safe*; it is in *jeopardy* when two thirds of its length have passed since the last
 * acknowledged keep-alive was sent; it is *lost* when the region has said that it ended, or at the
 * deadline of docs/API.md, whichever comes first. Its locks may be used until it is lost.
 *
 * Who runs it, of two: with own_thread the library does, with two threads of its own. Otherwise the
 * caller's loop: whenever lm_session_fd is readable it calls lm_session_step, which never blocks.
 * Keep-alives of all sessions of a client share a stream to the node that they ask, and a thread
 * that reads it; they are calls where a node has no such stream, or leaves one without an answer.
 *
 * Any thread may make any call but lm_session_close, which must be the last one.
 *
 * Invariants
 *   Q1  Lost is final.
 *   Q2  A session that the library has opened is the library's alone: what the region says it holds
 *       and no caller of lm_session_acquire has or waits for, is given back (S12c).
 *   Q3  Requests have numbers, at most 16 that are not settled (S12b); while a long wait takes up
 *       that window, further ones have random ids.
 */
#ifndef LM_CLIENT_SESSION_H
#define LM_CLIENT_SESSION_H

#include "client.h"

typedef struct lm_session lm_session_t;

typedef enum { LM_SESSION_SAFE, LM_SESSION_JEOPARDY, LM_SESSION_LOST } lm_session_state_t;

/** "safe", "jeopardy", "lost". */
const char *lm_session_state_name(lm_session_state_t state);

typedef struct {
    const char *client;  /* who opens it, for people, at most 256 bytes; NULL: host and process */
    int64_t ttl_ms;      /* 1000 to 86400000; 0: 30000 */
    uint64_t timeout_ms; /* for opening it; 0: 5000 */
    bool own_thread;
    /* A session that somebody else has opened: it is kept alive, its requests have ids in place of
     * numbers, and nothing that others hold in it is touched. Both or neither; client and ttl_ms
     * count for nothing then. */
    const char *session_id, *secret;
    /* Called for each change of the state, in order, by the library's thread or, without
     * own_thread, by one that steps, acquires or releases. It must only look at the session. NULL:
     * nobody is called. */
    void (*on_change)(void *arg, lm_session_state_t state);
    void *arg;
} lm_session_options_t;

/** Opens a session, or takes part in one. The client must outlive it. Waits until it is open;
 *  returns NULL if it is not. result, which may be NULL, gets how that call ended. */
lm_session_t *lm_session_open(lm_client_t *client, const lm_session_options_t *options,
                              lm_client_result_t *result);

/** Ends what runs it, and the session itself with all it holds if timeout_ms is above 0: so long it
 *  waits for that. With 0 the region is told nothing. Returns true if the session was not lost. */
bool lm_session_close(lm_session_t **session, uint64_t timeout_ms);

/** Readable when lm_session_step should be called: with own_thread after each change of the state,
 *  otherwise whenever there is something to do. Belongs to the session. */
int lm_session_fd(const lm_session_t *session);
/** Does what is to be done, without waiting, and returns the state. */
lm_session_state_t lm_session_step(lm_session_t *session);

/** The state at this moment, whether or not anybody steps. */
lm_session_state_t lm_session_state(lm_session_t *session);
/** Why it is lost, for people; empty while it is not. Valid until the session is closed. */
const char *lm_session_cause(lm_session_t *session);
/** Until when it may be used if nothing is acknowledged any more: CLOCK_BOOTTIME, microseconds. */
uint64_t lm_session_deadline_us(lm_session_t *session);
const char *lm_session_id(const lm_session_t *session);
const char *lm_session_secret(const lm_session_t *session);
const char *lm_session_client(const lm_session_t *session);
int64_t lm_session_ttl_ms(lm_session_t *session);

/** Takes a lock in the session, and waits for it as Acquire does with wait_ms. One request per name
 *  at a time: a name that the session has or waits for is refused with INVALID_ARGUMENT. A name of
 *  which an earlier request was given up is waited for until that is settled.
 *
 *  timeout_ms   for the whole call, attempts and all; at least 1
 *  arena        the response is decoded into it
 *  response     set if result.grpc_status is 0; the lock is held if its result is GRANTED
 *
 *  Returns early, with SESSION_ENDED, when the session is lost. Without own_thread the session is
 *  stepped meanwhile. */
lm_client_result_t lm_session_acquire(lm_session_t *session, const char *name,
                                      lm_api_lock_mode_t mode, int64_t wait_ms, uint64_t timeout_ms,
                                      lm_arena_t *arena,
                                      const lm_api_acquire_response_t **response);

/** Gives back what lm_session_acquire got. A name that the session does not hold is refused with
 *  STALE_HOLD. Whatever comes of the call: it is not held any more, and the session goes on
 *  giving it back until the region has said that it is. */
lm_client_result_t lm_session_release(lm_session_t *session, const char *name, uint64_t timeout_ms);

/** True if the session has that lock and may use it at this moment. */
bool lm_session_holds(lm_session_t *session, const char *name);
/** How many holds the region told of that nobody here had asked for any more (S12c). */
uint64_t lm_session_orphans(lm_session_t *session);

#endif
