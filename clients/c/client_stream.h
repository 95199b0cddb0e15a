/* A stream of keep-alives to one node, which any number of sessions share.
 *
 * Its events come out of a completion queue, by lm_stream_event. One message is written at a time;
 * those that wait meanwhile leave together.
 *
 * Invariants
 *   M1  A request that was taken ends once: by its answer, by lm_stream_forget, or, when the stream
 *       is over, by lm_stream_take.
 *   M2  A session has at most one request without an answer on a stream. So its id tells which one
 *       an answer is for, and from when the lease counts (S6).
 *   M3  A stream that is over takes nothing more; it is destroyed behind its last event, which
 *       comes soon after.
 *   M4  Its caller sees to it that one thread at a time uses it.
 */
#ifndef LM_CLIENT_STREAM_H
#define LM_CLIENT_STREAM_H

#include "client_channels.h"

typedef struct lm_stream lm_stream_t;

/** Opens one; whether there is anybody shows later. Its tags are addresses of its own. */
lm_stream_t *lm_stream_open(lm_channels_t *channels, size_t endpoint, grpc_completion_queue *queue);

/** Takes an encoded KeepAliveRequest of that session, to be sent by lm_stream_flush. False: the
 *  stream is over, or the session has an unanswered request on it; it is not taken. owner is given
 *  back with the answer, not NULL. */
bool lm_stream_add(lm_stream_t *stream, lm_bytes_t session_id, lm_bytes_t request, void *owner);
/** Sends what was taken, all in one piece if nothing is being sent. */
void lm_stream_flush(lm_stream_t *stream);
/** Nobody waits for the answer to that owner's request any more; it may still be applied, and the
 *  session has no other request here before its answer has come, which would be taken for it. */
void lm_stream_forget(lm_stream_t *stream, const void *owner);
/** Ends it early; it is over when its events say so. */
void lm_stream_cancel(lm_stream_t *stream);
/** Of a stream that is over: the owner of a request that has no answer. NULL: there are no more. */
void *lm_stream_take(lm_stream_t *stream);

/** What an event meant. */
typedef struct {
    lm_stream_t *stream;
    void *owner;       /* whose request is answered; NULL: nobody's */
    uint64_t sent_us;  /* when that was taken, by lm_client_clock_us */
    lm_bytes_t answer; /* an encoded KeepAliveResponse, in the arena */
    bool over;         /* once for each stream: what is unanswered can be taken */
    bool last;         /* no event comes any more: it is to be destroyed */
    int status;        /* of gRPC, with over */
    char text[256];    /* for people, with over */
} lm_stream_news_t;

/** To be called with the tag and the success of each event of its queue. */
lm_stream_news_t lm_stream_event(void *tag, bool success, lm_arena_t *arena);
void lm_stream_destroy(lm_stream_t **stream);

#endif
