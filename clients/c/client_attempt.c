/* One unary call on one channel, and what its end means. */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>

#include "base_door.h"
#include "client_internal.h"
#include "wire_pb.h"
#include "wire_rpc.h"

static const char error_info_url[] = "type.googleapis.com/google.rpc.ErrorInfo";

static lm_bytes_t bytes_of_slice(const grpc_slice *slice)
{
    return lm_bytes(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

static bool start_batch(lm_attempt_t *r, lm_bytes_t request)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)request.data, request.size);
    grpc_byte_buffer *payload = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = payload},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &r->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &r->payload},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &r->trailing,
                                        .status = &r->status,
                                        .status_details = &r->details,
                                        .error_string = &r->debug}},
    };
    LM_DOOR_LEAVE(r);
    bool started = grpc_call_start_batch(r->call, ops, 6, r, NULL) == GRPC_CALL_OK;
    grpc_byte_buffer_destroy(payload);
    return started;
}

lm_bytes_t lm_client_read_payload(grpc_byte_buffer *payload, lm_arena_t *arena)
{
    grpc_byte_buffer_reader reader;
    if (!payload || !grpc_byte_buffer_reader_init(&reader, payload)) return lm_bytes(NULL, 0);
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    lm_bytes_t copy = lm_arena_copy(arena, bytes_of_slice(&all));
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);
    return copy;
}

/** lockmgr's own reason, out of grpc-status-details-bin. */
static bool read_reason(const lm_attempt_t *r, lm_arena_t *arena, lm_rc_t *code)
{
    for (size_t i = 0; i < r->trailing.count; i++) {
        const grpc_metadata *entry = &r->trailing.metadata[i];
        if (!lm_bytes_equal(bytes_of_slice(&entry->key), lm_bytes_of("grpc-status-details-bin")))
            continue;
        void *status_message = NULL;
        if (lm_wire_decode(&lm_rpc_status_type, bytes_of_slice(&entry->value), arena,
                           &status_message, NULL) != LM_RC_OK)
            return false;
        const lm_rpc_status_t *status = status_message;
        for (size_t k = 0; k < status->n_details; k++) {
            void *info_message = NULL;
            if (!lm_bytes_equal(status->details[k].type_url, lm_bytes_of(error_info_url)) ||
                lm_wire_decode(&lm_rpc_error_info_type, status->details[k].value, arena,
                               &info_message, NULL) != LM_RC_OK)
                continue;
            const lm_rpc_error_info_t *info = info_message;
            return lm_bytes_equal(info->domain, lm_bytes_of("lockmgr")) &&
                   lm_rc_parse(info->reason, code);
        }
    }
    return false;
}

static void judge(const lm_client_row_t *row, const lm_attempt_t *r, lm_arena_t *arena,
                  const void **response, lm_client_result_t *result)
{
    result->grpc_status = (int)r->status;
    result->code = LM_RC_INTERNAL;
    if (r->status != GRPC_STATUS_OK) {
        lm_bytes_t text = bytes_of_slice(&r->details);
        snprintf(result->text, sizeof result->text, "%.*s", LM_BYTES_ARG(text));
        result->own = read_reason(r, arena, &result->code);
        result->not_applied = result->own && lm_rc_not_applied(result->code);
        return;
    }
    void *message = NULL;
    lm_wire_error_t error;
    lm_bytes_t bytes = lm_client_read_payload(r->payload, arena);
    if (lm_wire_decode(row->response, bytes, arena, &message, &error) != LM_RC_OK) {
        result->grpc_status = GRPC_STATUS_INTERNAL;
        snprintf(result->text, sizeof result->text, "the answer is damaged: %s %s", error.field,
                 error.rule);
        return;
    }
    result->code = LM_RC_OK;
    result->own = true;
    *response = message;
}

bool lm_attempt_begin(lm_attempt_t *attempt, lm_channels_t *channels, size_t endpoint,
                      const lm_client_row_t *row, lm_bytes_t request, uint64_t timeout_ms,
                      grpc_completion_queue *queue)
{
    *attempt = (lm_attempt_t){.details = grpc_empty_slice(), .status = GRPC_STATUS_INTERNAL};
    grpc_metadata_array_init(&attempt->initial);
    grpc_metadata_array_init(&attempt->trailing);
    gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                         gpr_time_from_millis((int64_t)timeout_ms, GPR_TIMESPAN));
    grpc_slice path = grpc_slice_from_static_string(row->path);
    attempt->sent_us = lm_client_clock_us();
    grpc_channel *channel = lm_channels_borrow(channels, endpoint);
    attempt->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, path,
                                             NULL, deadline, NULL);
    lm_channels_give_back(channels);
    return start_batch(attempt, request);
}

void lm_attempt_end(lm_attempt_t *attempt, const lm_client_row_t *row, lm_arena_t *arena,
                    const void **response, lm_client_result_t *result)
{
    LM_DOOR_ARRIVE(attempt);
    result->sent_us = attempt->sent_us;
    judge(row, attempt, arena, response, result);
    grpc_call_unref(attempt->call);
    grpc_metadata_array_destroy(&attempt->initial);
    grpc_metadata_array_destroy(&attempt->trailing);
    if (attempt->payload) grpc_byte_buffer_destroy(attempt->payload);
    grpc_slice_unref(attempt->details);
    gpr_free((void *)(uintptr_t)attempt->debug);
}

void lm_attempt_make(lm_channels_t *channels, size_t endpoint, const lm_client_row_t *row,
                     lm_bytes_t request, uint64_t timeout_ms, lm_arena_t *arena,
                     const void **response, lm_client_result_t *result)
{
    lm_attempt_t attempt;
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_REALTIME);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    if (lm_attempt_begin(&attempt, channels, endpoint, row, request, timeout_ms, queue))
        grpc_completion_queue_pluck(queue, &attempt, never, NULL);
    lm_attempt_end(&attempt, row, arena, response, result);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_pluck(queue, NULL, never, NULL);
    grpc_completion_queue_destroy(queue);
}
