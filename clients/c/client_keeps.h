/* Keep-alives of all sessions of a client, over one stream to each node.
 *
 * A thread of its own, begun with the first of them, reads the streams; it leaves answers with the
 * keep-alives they are for and rings their owners' bells. It judges nothing: whoever gets no answer
 * makes a call instead.
 *
 * Invariants
 *   N1  A keep-alive is written by that thread only while it is under way here, so it may go away
 *       when it has been collected or forgotten.
 *   N2  The mutex of a session may be held when that of the streams is taken, never the other way.
 *   N3  A node that does not know the stream is not asked for one again.
 */
#ifndef LM_CLIENT_KEEPS_H
#define LM_CLIENT_KEEPS_H

#include "client_internal.h"

typedef struct lm_keeps lm_keeps_t;

/** One keep-alive; the caller's own. */
typedef struct {
    int bell;          /* an eventfd, rung when it has ended */
    lm_arena_t *arena; /* the response is decoded into it */
    bool under_way;    /* sent, and neither collected nor forgotten */
    bool ended;        /* it has an answer, or the stream has none */
    size_t endpoint;
    uint64_t sent_us;
    const lm_api_keep_alive_response_t *response; /* NULL: there is no answer */
} lm_keep_t;

lm_keeps_t *lm_keeps_new(lm_client_t *client);
/** Ends the streams. None of their keep-alives may be under way. */
void lm_keeps_destroy(lm_keeps_t **keeps);

/** Sends an encoded KeepAliveRequest of that session to that node, over its stream. False: it does
 *  not know the stream, or has not answered the last one of the session yet; make a call. */
bool lm_keeps_send(lm_keeps_t *keeps, size_t endpoint, lm_bytes_t session_id, lm_bytes_t request,
                   lm_keep_t *keep);
/** True once it has ended: it is not under way any more, and response says how. */
bool lm_keeps_collect(lm_keeps_t *keeps, lm_keep_t *keep);
/** Waits for it no longer. The stream goes with it if it was silent: others make calls then. */
void lm_keeps_forget(lm_keeps_t *keeps, lm_keep_t *keep, bool silent);

#endif
