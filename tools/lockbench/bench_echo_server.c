/* The echo server: one thread, one completion queue, unary calls, nothing else.
 *
 *   WAITING --a call--> READING --its message--> ANSWERING --sent--> WAITING
 *
 * Invariant
 *   E1  Every slot has exactly one batch or request under way, whose tag is the slot. */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"
#include "base_exit.h"
#include "bench_targets.h"

enum { SLOTS = 512, LOOK_MS = 100 };

typedef enum { WAITING, READING, ANSWERING } state_t;

typedef struct {
    state_t state;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    int cancelled;
} slot_t;

typedef struct {
    grpc_server *server;
    grpc_completion_queue *queue;
    size_t n_under_way;
    bool closing;
    slot_t slots[SLOTS];
} server_t;

static void start(slot_t *slot, const grpc_op *ops, size_t n)
{
    grpc_call_error error = grpc_call_start_batch(slot->call, ops, n, slot, NULL);
    LM_CHECK(error == GRPC_CALL_OK, "gRPC refuses a batch: %d", (int)error);
}

static void wait_for_call(server_t *s, slot_t *slot)
{
    slot->state = WAITING;
    grpc_call_details_init(&slot->details);
    grpc_metadata_array_init(&slot->metadata);
    s->n_under_way++;
    grpc_call_error error = grpc_server_request_call(s->server, &slot->call, &slot->details,
                                                     &slot->metadata, s->queue, s->queue, slot);
    LM_CHECK(error == GRPC_CALL_OK, "gRPC takes no request for a call: %d", (int)error);
}

static void read_message(slot_t *slot)
{
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &slot->payload},
    };
    slot->state = READING;
    slot->payload = NULL;
    start(slot, ops, 2);
}

static void answer(slot_t *slot)
{
    grpc_op ops[] = {
        {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
         .data.recv_close_on_server.cancelled = &slot->cancelled},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
         .data.send_status_from_server.status =
             slot->payload ? GRPC_STATUS_OK : GRPC_STATUS_INVALID_ARGUMENT},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = slot->payload},
    };
    slot->state = ANSWERING;
    start(slot, ops, slot->payload ? 3 : 2);
}

static void forget_call(slot_t *slot)
{
    if (slot->payload) grpc_byte_buffer_destroy(slot->payload);
    slot->payload = NULL;
    grpc_call_unref(slot->call);
    slot->call = NULL;
}

static void on_event(server_t *s, slot_t *slot, bool success)
{
    switch (slot->state) {
    case WAITING:
        grpc_call_details_destroy(&slot->details);
        grpc_metadata_array_destroy(&slot->metadata);
        if (success)
            read_message(slot);
        else
            s->n_under_way--;
        return;
    case READING: answer(slot); return;
    case ANSWERING:
        forget_call(slot);
        s->n_under_way--;
        if (!s->closing) wait_for_call(s, slot);
        return;
    }
}

/** Handles one event if there is one soon; returns its tag. */
static void *step(server_t *s, int wait_ms)
{
    gpr_timespec until =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(wait_ms, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_next(s->queue, until, NULL);
    if (event.type != GRPC_OP_COMPLETE) return NULL;
    if (event.tag != s) on_event(s, (slot_t *)event.tag, event.success);
    return event.tag;
}

static void shut(server_t *s)
{
    bool told = false;
    s->closing = true;
    grpc_server_shutdown_and_notify(s->server, s->queue, s);
    grpc_server_cancel_all_calls(s->server);
    while (!told || s->n_under_way > 0) told |= step(s, LOOK_MS) == s;
    grpc_server_destroy(s->server);
    grpc_completion_queue_shutdown(s->queue);
    grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(s->queue);
}

int bench_echo_serve(const char *address, const volatile int *stop)
{
    grpc_arg alone = {.type = GRPC_ARG_INTEGER,
                      .key = (char *)(uintptr_t) "grpc.so_reuseport",
                      .value.integer = 0};
    grpc_channel_args args = {.num_args = 1, .args = &alone};
    server_t *s = lm_alloc(sizeof *s);
    memset(s, 0, sizeof *s);
    grpc_init();
    s->queue = grpc_completion_queue_create_for_next(NULL);
    s->server = grpc_server_create(&args, NULL);
    grpc_server_register_completion_queue(s->server, s->queue, NULL);
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    bool bound = grpc_server_add_http2_port(s->server, address, plain) != 0;
    grpc_server_credentials_release(plain);
    grpc_server_start(s->server);
    if (!bound) fprintf(stderr, "lockbench: cannot listen at %s\n", address);
    for (size_t i = 0; bound && i < SLOTS; i++) wait_for_call(s, &s->slots[i]);
    while (bound && !*stop) step(s, LOOK_MS);
    shut(s);
    free(s);
    grpc_shutdown();
    return bound ? LM_EXIT_OK : LM_EXIT_SYSTEM;
}
