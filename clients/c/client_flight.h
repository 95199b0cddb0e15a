/* Many calls at one time, driven by one thread: for programs that put a region under load.
 *
 * A flight has a fixed number of places. A call takes a place until its end has been fetched.
 * Keep-alives of sessions may share streams.
 * Nothing is repeated and no other endpoint is tried: what ends without a result is for the caller
 * to judge.
 *
 * Invariants
 *   F1  A flight belongs to one thread. The client must outlive it.
 *   F2  Every call that was started ends exactly once in lm_flight_next, or in lm_flight_close.
 */
#ifndef LM_CLIENT_FLIGHT_H
#define LM_CLIENT_FLIGHT_H

#include "client.h"

typedef struct lm_flight lm_flight_t;

/** Keep-alives on streams leave at multiples of this, together, as those of the library's sessions
 *  do. */
enum { LM_FLIGHT_PACK_US = 25000 };

/** The end of a call. */
typedef struct {
    size_t place;
    lm_client_method_t method;
    const void *response; /* in the arena; NULL unless result.grpc_status is 0 */
    lm_client_result_t result;
} lm_flight_end_t;

lm_flight_t *lm_flight_open(lm_client_t *client, size_t places);
/** Cancels what is under way, and waits until it has ended. */
void lm_flight_close(lm_flight_t **flight);

/** Sends a request to the n-th endpoint of the client; the place must be free. Each endpoint has a
 *  connection of its own, also one that the client's list names twice. */
void lm_flight_start(lm_flight_t *flight, size_t place, size_t endpoint, lm_client_method_t method,
                     const void *request, uint64_t timeout_ms);

/** The same for a KeepAlive, on the one stream that the flight has to that endpoint, together with
 *  those that are begun soon after it; as a call if the node knows no such stream. It has no
 *  timeout on the stream. */
void lm_flight_keep(lm_flight_t *flight, size_t place, size_t endpoint,
                    const lm_api_keep_alive_request_t *request, uint64_t timeout_ms);

/** Fetches the next end; its place is free then. Returns false if there was none for wait_us. */
bool lm_flight_next(lm_flight_t *flight, uint64_t wait_us, lm_arena_t *arena, lm_flight_end_t *end);

/** Whether another attempt with the same request may end otherwise: nobody leads, a connection is
 *  lost, too much is under way, the outcome is unknown. */
bool lm_flight_is_passing(const lm_client_result_t *result);

#endif
