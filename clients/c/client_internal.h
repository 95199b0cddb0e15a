/* What the files of the client share. */
#ifndef LM_CLIENT_INTERNAL_H
#define LM_CLIENT_INTERNAL_H

#include <grpc/grpc.h>

#include "client_channels.h"

/** A row per method. */
typedef struct {
    const char *path;
    const lm_wire_type_t *request;
    const lm_wire_type_t *response;
} lm_client_row_t;

const lm_client_row_t *lm_client_row(lm_client_method_t method);

lm_channels_t *lm_client_channels(const lm_client_t *client);
/** The request as it goes over the wire, with a request id if it should have one. */
lm_bytes_t lm_client_encode(lm_client_method_t method, const void *request, lm_arena_t *arena);

/** The streams on which its sessions share keep-alives (client_keeps.h). */
struct lm_keeps *lm_client_keeps(lm_client_t *client);

/** The endpoint that answered last; and going on to the next one, unless somebody has already. */
size_t lm_client_current(lm_client_t *client);
void lm_client_leave(lm_client_t *client, size_t n);

/** Whether another attempt is worth its while: UNAVAILABLE, whoever says it, and an outcome that
 *  lockmgr does not know; another attempt with the same id gets the one true answer. */
bool lm_client_repeats(const lm_client_result_t *result);
/** How long to wait before that: random, longer with each attempt, at most some 1.2 s. */
uint64_t lm_client_pause_ms(const lm_client_t *client, const lm_client_result_t *result);
/** Whether that may be made now, or must wait until calls have earned it (K4). */
bool lm_client_may_repeat(lm_client_t *client, const lm_client_result_t *result);
/** Calls earn repeats: once for each. */
void lm_client_count_call(lm_client_t *client);

/** Everything one attempt receives; grpc core writes into it until it is over, so it stays where it
 *  is. */
typedef struct {
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *payload;
    grpc_status_code status;
    grpc_slice details;
    const char *debug;
    uint64_t sent_us;
} lm_attempt_t;

/** Starts an attempt; its end is an event of the queue with the attempt as its tag. False: there
 *  will be no event. lm_attempt_end is to be called in either case. */
bool lm_attempt_begin(lm_attempt_t *attempt, lm_channels_t *channels, size_t endpoint,
                      const lm_client_row_t *row, lm_bytes_t request, uint64_t timeout_ms,
                      grpc_completion_queue *queue);
/** After its event: as lm_attempt_make, and gives everything back. */
void lm_attempt_end(lm_attempt_t *attempt, const lm_client_row_t *row, lm_arena_t *arena,
                    const void **response, lm_client_result_t *result);

/** A copy of what came, in the arena; empty if nothing did. */
lm_bytes_t lm_client_read_payload(grpc_byte_buffer *payload, lm_arena_t *arena);

/** One attempt at one endpoint; fills everything in result but endpoint and attempts. */
void lm_attempt_make(lm_channels_t *channels, size_t endpoint, const lm_client_row_t *row,
                     lm_bytes_t request, uint64_t timeout_ms, lm_arena_t *arena,
                     const void **response, lm_client_result_t *result);

#endif
