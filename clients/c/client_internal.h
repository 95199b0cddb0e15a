/* What the files of the client share. */
#ifndef LM_CLIENT_INTERNAL_H
#define LM_CLIENT_INTERNAL_H

#include <grpc/grpc.h>

#include "client.h"

/** A row per method. */
typedef struct {
    const char *path;
    const lm_wire_type_t *request;
    const lm_wire_type_t *response;
} lm_client_row_t;

const lm_client_row_t *lm_client_row(lm_client_method_t method);

/** One attempt on one channel; fills everything in result but endpoint and attempts. */
void lm_attempt_make(grpc_channel *channel, const lm_client_row_t *row, lm_bytes_t request,
                     uint64_t timeout_ms, lm_arena_t *arena, const void **response,
                     lm_client_result_t *result);

#endif
