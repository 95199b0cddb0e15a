#include "bench_rpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"
#include "bench_route.h"
#include "client_internal.h"

enum { CALL_TIMEOUT_MS = 30000 };

/** Its address is the tag of its batch. */
typedef struct {
    grpc_call *call;
    bool busy, streams;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *payload;
    grpc_status_code status;
    grpc_slice details;
} place_t;

struct bench_rpc {
    size_t n_channels;
    grpc_channel *channels[BENCH_ENDPOINTS_MAX];
    grpc_completion_queue *queue;
    lm_arena_t *arena;
    size_t n_places;
    place_t places[];
};

static grpc_channel *open_channel(const char *endpoint)
{
    /* As many connections as there are entries in the list, as in the C client. */
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(uintptr_t) "grpc.use_local_subchannel_pool",
         .value.integer = 1},
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(uintptr_t) "grpc.enable_retries",
         .value.integer = 0},
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(endpoint, plain, &all);
    grpc_channel_credentials_release(plain);
    return channel;
}

bench_rpc_t *bench_rpc_open(const char *list, size_t places)
{
    size_t size = sizeof(bench_rpc_t) + places * sizeof(place_t);
    bench_rpc_t *rpc = lm_alloc(size);
    char *copy = strdup(list), *rest = copy, *one;
    memset(rpc, 0, size);
    grpc_init();
    rpc->queue = grpc_completion_queue_create_for_next(NULL);
    rpc->arena = lm_arena_new();
    rpc->n_places = places;
    while ((one = strsep(&rest, ",")) != NULL && rpc->n_channels < BENCH_ENDPOINTS_MAX)
        if (*one != '\0') rpc->channels[rpc->n_channels++] = open_channel(one);
    free(copy);
    LM_CHECK(rpc->n_channels > 0, "no endpoint in \"%s\"", list);
    return rpc;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static void open_call(bench_rpc_t *rpc, place_t *p, const char *path, gpr_timespec deadline)
{
    grpc_channel *channel = rpc->channels[(size_t)(p - rpc->places) % rpc->n_channels];
    grpc_metadata_array_init(&p->initial);
    grpc_metadata_array_init(&p->trailing);
    p->details = grpc_empty_slice();
    p->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, rpc->queue,
                                       grpc_slice_from_static_string(path), NULL, deadline, NULL);
}

static void drop_call(place_t *p)
{
    if (!p->call) return;
    grpc_call_cancel(p->call, NULL);
    grpc_call_unref(p->call);
    grpc_metadata_array_destroy(&p->initial);
    grpc_metadata_array_destroy(&p->trailing);
    grpc_slice_unref(p->details);
    p->call = NULL;
    p->streams = false;
}

static void start_batch(place_t *p, grpc_op *ops, size_t n, size_t message, lm_bytes_t request)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)request.data, request.size);
    grpc_byte_buffer *payload = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    ops[message].data.send_message.send_message = payload;
    LM_CHECK(!p->busy, "the place is busy");
    p->busy = true;
    p->payload = NULL;
    grpc_call_error error = grpc_call_start_batch(p->call, ops, n, p, NULL);
    LM_CHECK(error == GRPC_CALL_OK, "gRPC refuses a batch: %d", (int)error);
    grpc_byte_buffer_destroy(payload);
}

void bench_rpc_call(bench_rpc_t *rpc, size_t place, const char *path, lm_bytes_t request)
{
    place_t *p = &rpc->places[place];
    drop_call(p); /* a stream of before */
    open_call(rpc, p, path,
              gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                           gpr_time_from_millis(CALL_TIMEOUT_MS, GPR_TIMESPAN)));
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &p->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &p->payload},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &p->trailing,
                                        .status = &p->status,
                                        .status_details = &p->details}},
    };
    start_batch(p, ops, 6, 1, request);
}

void bench_rpc_stream(bench_rpc_t *rpc, size_t place, const char *path, lm_bytes_t request)
{
    place_t *p = &rpc->places[place];
    bool fresh = !p->streams;
    if (fresh) open_call(rpc, p, path, gpr_inf_future(GPR_CLOCK_REALTIME));
    p->streams = true;
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &p->payload},
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &p->initial},
    };
    start_batch(p, ops, fresh ? 4 : 2, 0, request);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void judge(place_t *p, bool success, bench_rpc_end_t *end)
{
    if (p->streams) {
        end->status = success && p->payload ? GRPC_STATUS_OK : GRPC_STATUS_UNAVAILABLE;
        snprintf(end->text, sizeof end->text, "the stream has ended");
        return;
    }
    end->status = (int)p->status;
    if (end->status == GRPC_STATUS_OK && !p->payload) end->status = GRPC_STATUS_INTERNAL;
    snprintf(end->text, sizeof end->text, "status %d: %.*s", end->status,
             (int)GRPC_SLICE_LENGTH(p->details), (const char *)GRPC_SLICE_START_PTR(p->details));
}

bool bench_rpc_next(bench_rpc_t *rpc, uint64_t wait_us, bench_rpc_end_t *end)
{
    gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                      gpr_time_from_micros((int64_t)wait_us, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_next(rpc->queue, until, NULL);
    if (event.type != GRPC_OP_COMPLETE) return false;
    place_t *p = (place_t *)event.tag;
    lm_arena_reset(rpc->arena);
    end->place = (size_t)(p - rpc->places);
    end->response = lm_bytes(NULL, 0);
    judge(p, event.success, end);
    if (end->status == 0) end->response = lm_client_read_payload(p->payload, rpc->arena);
    if (p->payload) grpc_byte_buffer_destroy(p->payload);
    p->payload = NULL;
    p->busy = false;
    if (!p->streams || end->status != 0) drop_call(p);
    return true;
}

void bench_rpc_close(bench_rpc_t *rpc)
{
    size_t n_busy = 0;
    bench_rpc_end_t end;
    for (size_t i = 0; i < rpc->n_places; i++) {
        if (!rpc->places[i].busy) continue;
        grpc_call_cancel(rpc->places[i].call, NULL);
        n_busy++;
    }
    while (n_busy > 0) n_busy -= bench_rpc_next(rpc, 1000000, &end);
    for (size_t i = 0; i < rpc->n_places; i++) drop_call(&rpc->places[i]);
    for (size_t i = 0; i < rpc->n_channels; i++) grpc_channel_destroy(rpc->channels[i]);
    grpc_completion_queue_shutdown(rpc->queue);
    grpc_completion_queue_next(rpc->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(rpc->queue);
    lm_arena_destroy(&rpc->arena);
    free(rpc);
    grpc_shutdown();
}
