#include "client_stream.h"

#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base_check.h"
#include "base_door.h"
#include "client.h"
#include "client_internal.h"

typedef enum { OPENED, WRITTEN, RECEIVED, ENDED, KINDS } kind_t;

/** Its address is the tag of a batch. */
typedef struct {
    lm_stream_t *stream;
    kind_t kind;
} tag_t;

/** A request that has no answer. */
typedef struct asked {
    TAILQ_ENTRY(asked) in_order;
    void *owner; /* NULL: nobody waits, but the answer may still come */
    uint64_t sent_us;
    size_t id_size;
    uint8_t id[];
} asked_t;

/** A request that is not written yet, or is being written. */
typedef struct written {
    TAILQ_ENTRY(written) in_order;
    grpc_byte_buffer *buffer;
} written_t;

struct lm_stream {
    grpc_call *call;
    tag_t tags[KINDS];
    unsigned under_way; /* batches whose events have not come */
    bool writing, over;
    TAILQ_HEAD(, asked) asked;
    TAILQ_HEAD(, written) writes; /* the first is under way while writing */
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *incoming;
    grpc_status_code status;
    grpc_slice details;
    const char *debug;
};

static void start_batch(lm_stream_t *stream, kind_t kind, const grpc_op *ops, size_t n)
{
    tag_t *tag = &stream->tags[kind];
    stream->under_way++;
    LM_DOOR_LEAVE(tag);
    grpc_call_error error = grpc_call_start_batch(stream->call, ops, n, tag, NULL);
    LM_CHECK(error == GRPC_CALL_OK, "gRPC refuses batch %d of a stream: %d", (int)kind, (int)error);
}

static void receive(lm_stream_t *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->incoming};
    start_batch(stream, RECEIVED, &op, 1);
}

lm_stream_t *lm_stream_open(lm_channels_t *channels, size_t endpoint, grpc_completion_queue *queue)
{
    lm_stream_t *stream = lm_alloc(sizeof *stream);
    *stream = (lm_stream_t){.details = grpc_empty_slice(), .status = GRPC_STATUS_INTERNAL};
    TAILQ_INIT(&stream->asked);
    TAILQ_INIT(&stream->writes);
    for (kind_t kind = 0; kind < KINDS; kind++) stream->tags[kind] = (tag_t){stream, kind};
    grpc_metadata_array_init(&stream->initial);
    grpc_metadata_array_init(&stream->trailing);
    grpc_channel *channel = lm_channels_borrow(channels, endpoint);
    stream->call = grpc_channel_create_call(
        channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
        grpc_slice_from_static_string("/lockmgr.v1.LockService/KeepAliveStream"), NULL,
        gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    lm_channels_give_back(channels);
    grpc_op opening[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                         {.op = GRPC_OP_RECV_INITIAL_METADATA,
                          .data.recv_initial_metadata.recv_initial_metadata = &stream->initial}};
    grpc_op ending = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                      .data.recv_status_on_client = {.trailing_metadata = &stream->trailing,
                                                     .status = &stream->status,
                                                     .status_details = &stream->details,
                                                     .error_string = &stream->debug}};
    start_batch(stream, OPENED, opening, 2);
    start_batch(stream, ENDED, &ending, 1);
    receive(stream);
    return stream;
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool is_of(const asked_t *asked, lm_bytes_t session_id)
{
    return lm_bytes_equal(lm_bytes(asked->id, asked->id_size), session_id);
}

/** Answers come mostly in the order of their requests, so the first is the one, or close to it. */
static asked_t *find(lm_stream_t *stream, lm_bytes_t session_id)
{
    asked_t *asked;
    TAILQ_FOREACH(asked, &stream->asked, in_order)
    if (is_of(asked, session_id)) return asked;
    return NULL;
}

static void drop_asked(lm_stream_t *stream, asked_t *asked)
{
    TAILQ_REMOVE(&stream->asked, asked, in_order);
    free(asked);
}

static void write_next(lm_stream_t *stream)
{
    written_t *first = TAILQ_FIRST(&stream->writes);
    if (stream->writing || !first) return;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE,
                  .flags = TAILQ_NEXT(first, in_order) ? GRPC_WRITE_BUFFER_HINT : 0,
                  .data.send_message.send_message = first->buffer};
    stream->writing = true;
    start_batch(stream, WRITTEN, &op, 1);
}

static void drop_first_write(lm_stream_t *stream)
{
    written_t *first = TAILQ_FIRST(&stream->writes);
    TAILQ_REMOVE(&stream->writes, first, in_order);
    grpc_byte_buffer_destroy(first->buffer);
    free(first);
}

bool lm_stream_add(lm_stream_t *stream, lm_bytes_t session_id, lm_bytes_t request, void *owner)
{
    if (stream->over || find(stream, session_id)) return false;
    asked_t *asked = lm_alloc(sizeof *asked + session_id.size);
    *asked = (asked_t){.owner = owner, .sent_us = lm_client_clock_us(), .id_size = session_id.size};
    memcpy(asked->id, session_id.data, session_id.size);
    TAILQ_INSERT_TAIL(&stream->asked, asked, in_order);
    written_t *written = lm_alloc(sizeof *written);
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)request.data, request.size);
    written->buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    TAILQ_INSERT_TAIL(&stream->writes, written, in_order);
    return true;
}

void lm_stream_flush(lm_stream_t *stream)
{
    if (!stream->over) write_next(stream);
}

void lm_stream_forget(lm_stream_t *stream, const void *owner)
{
    asked_t *asked;
    TAILQ_FOREACH(asked, &stream->asked, in_order)
    if (asked->owner == owner) asked->owner = NULL;
}

void lm_stream_cancel(lm_stream_t *stream) { grpc_call_cancel(stream->call, NULL); }

void *lm_stream_take(lm_stream_t *stream)
{
    LM_CHECK(stream->over, "unanswered requests of a stream that is not over");
    void *owner = NULL;
    while (!owner && !TAILQ_EMPTY(&stream->asked)) {
        owner = TAILQ_FIRST(&stream->asked)->owner;
        drop_asked(stream, TAILQ_FIRST(&stream->asked));
    }
    return owner;
}

/* ---- events ---------------------------------------------------------------------------------- */

/** What cannot be read, or that nobody asked for, is passed over: whoever waits does so in vain. */
static void on_received(lm_stream_t *stream, lm_arena_t *arena, lm_stream_news_t *news)
{
    void *message = NULL;
    if (!stream->incoming) return; /* there will be no more */
    lm_bytes_t bytes = lm_client_read_payload(stream->incoming, arena);
    grpc_byte_buffer_destroy(stream->incoming);
    stream->incoming = NULL;
    if (!stream->over) receive(stream);
    if (lm_wire_decode(&lm_api_keep_alive_response_type, bytes, arena, &message, NULL) != LM_RC_OK)
        return;
    asked_t *asked = find(stream, ((lm_api_keep_alive_response_t *)message)->session_id);
    if (!asked) return;
    news->owner = asked->owner;
    news->sent_us = asked->sent_us;
    news->answer = bytes;
    drop_asked(stream, asked);
}

static void on_written(lm_stream_t *stream, bool success)
{
    stream->writing = false;
    drop_first_write(stream);
    while (!success && !TAILQ_EMPTY(&stream->writes)) drop_first_write(stream);
    if (!stream->over) write_next(stream);
}

static void on_ended(lm_stream_t *stream, lm_stream_news_t *news)
{
    stream->over = news->over = true;
    news->status = (int)stream->status;
    snprintf(news->text, sizeof news->text, "%.*s", (int)GRPC_SLICE_LENGTH(stream->details),
             (const char *)GRPC_SLICE_START_PTR(stream->details));
}

lm_stream_news_t lm_stream_event(void *tag, bool success, lm_arena_t *arena)
{
    tag_t *which = tag;
    LM_DOOR_ARRIVE(which);
    lm_stream_t *stream = which->stream;
    lm_stream_news_t news = {.stream = stream};
    stream->under_way--;
    if (which->kind == RECEIVED) on_received(stream, arena, &news);
    if (which->kind == WRITTEN) on_written(stream, success);
    if (which->kind == ENDED) on_ended(stream, &news);
    news.last = stream->under_way == 0;
    return news;
}

void lm_stream_destroy(lm_stream_t **self)
{
    lm_stream_t *stream = *self;
    asked_t *asked;
    LM_CHECK(stream->under_way == 0, "a stream with %u batches under way", stream->under_way);
    while ((asked = TAILQ_FIRST(&stream->asked))) drop_asked(stream, asked);
    while (!TAILQ_EMPTY(&stream->writes)) drop_first_write(stream);
    if (stream->incoming) grpc_byte_buffer_destroy(stream->incoming);
    grpc_metadata_array_destroy(&stream->initial);
    grpc_metadata_array_destroy(&stream->trailing);
    grpc_slice_unref(stream->details);
    gpr_free((void *)(uintptr_t)stream->debug);
    grpc_call_unref(stream->call);
    free(stream);
    *self = NULL;
}
