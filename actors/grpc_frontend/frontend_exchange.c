/* One call or stream on gRPC: its batches in flight, what waits to be written, and its end.
 *
 *      accept/call/open --> reading, writing --> finish or cancel --> ended --> over --> dropped
 *
 * Invariants
 *   FX1  Of each kind of batch (read, write, finish, start) at most one is in flight.
 *   FX2  The last event is sent when end_tag has come and no other batch is in flight; nothing of
 *        gRPC happens on this exchange after that.
 *   FX3  The gRPC thread alone sends events, so a room hears of one exchange in order.
 */
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_host.h"
#include "base_check.h"
#include "base_door.h"
#include "frontend_driver_internal.h"
#include "frontend_limits.h"

/* What a queued event weighs besides its payload. */
enum { EVENT_WEIGHT_BYTES = 256 };

static lm_exchange_t *exchange_of(lm_frontend_handle_t *handle)
{
    return (lm_exchange_t *)(void *)handle;
}

static void start_batch(lm_exchange_t *exchange, const grpc_op *ops, size_t n_ops, lm_tag_t *tag)
{
    LM_DOOR_LEAVE(tag);
    grpc_call_error error = grpc_call_start_batch(exchange->call, ops, n_ops, tag, NULL);
    LM_CHECK(error == GRPC_CALL_OK, "%s: batch refused: %s", exchange->handle.method->path,
             grpc_call_error_to_string(error));
}

/* ---- the end --------------------------------------------------------------------------------- */

/* A finish that gRPC has taken may have arrived, whatever gRPC says of it later: answers share
 * writes, and one that breaks off in the middle fails for all of them. */
static lm_frontend_event_t *over_event(lm_exchange_t *exchange)
{
    lm_frontend_event_t *event = lm_frontend_event_new(LM_FRONTEND_OVER, &exchange->handle, 0);
    event->undelivered = !exchange->finish_started;
    return event;
}

static grpc_slice *find_details(lm_exchange_t *exchange)
{
    for (size_t i = 0; i < exchange->trailing.count; i++) {
        grpc_metadata *entry = &exchange->trailing.metadata[i];
        if (grpc_slice_str_cmp(entry->key, "grpc-status-details-bin") == 0) return &entry->value;
    }
    return NULL;
}

static void set_text(lm_frontend_event_t *event, grpc_slice text)
{
    size_t size = GRPC_SLICE_LENGTH(text);
    if (size >= sizeof event->text) size = sizeof event->text - 1;
    memcpy(event->text, GRPC_SLICE_START_PTR(text), size);
}

static lm_frontend_event_t *answered_event(lm_exchange_t *exchange)
{
    lm_frontend_event_t *event;
    grpc_slice *details = exchange->status == GRPC_STATUS_OK ? NULL : find_details(exchange);
    if (details) {
        size_t size = GRPC_SLICE_LENGTH(*details);
        event = lm_frontend_event_new(LM_FRONTEND_ANSWERED, &exchange->handle, size);
        memcpy(event->payload, GRPC_SLICE_START_PTR(*details), size);
    } else {
        /* A message whose status never came is no answer, and must not pass for details. */
        bool whole = exchange->status == GRPC_STATUS_OK;
        event = lm_exchange_event_of(LM_FRONTEND_ANSWERED, exchange,
                                     whole ? exchange->incoming : NULL, LM_MESSAGE_BYTES_MAX);
    }
    event->status = (int)exchange->status;
    set_text(event, exchange->status_text);
    if (exchange->sent_us && exchange->ended_us > exchange->sent_us)
        event->round_trip_us = exchange->ended_us - exchange->sent_us;
    return event;
}

/* Outgoing calls belong to the room that made them, not to the one that serves the method. */
static lm_participant_t asking_room(const lm_exchange_t *exchange)
{
    bool forward = exchange->channel->target.kind == LM_CHANNEL_FORWARD;
    return forward ? LM_CLIENTS : LM_PEERS;
}

/* A status that nobody wished, or that never went out, is the caller's: it has gone. */
static void count_end(lm_exchange_t *exchange)
{
    int status = exchange->finish_started ? exchange->finish_status : GRPC_STATUS_CANCELLED;
    lm_frontend_figures_end(&exchange->driver->figures, exchange->handle.method, status,
                            exchange->ended_us - exchange->arrived_us);
}

/* To be called at the end of each completion, with the lock held; releases it. */
static void unlock_and_maybe_end(lm_exchange_t *exchange)
{
    bool last = exchange->ended && exchange->pending == 0 && !exchange->over;
    if (last) exchange->over = true;
    if (last && exchange->handle.incoming) count_end(exchange);
    lm_driver_t *driver = exchange->driver;
    lm_participant_t room = exchange->handle.method ? exchange->handle.method->room : LM_NOBODY;
    bool refused = exchange->refused;
    lm_frontend_event_t *event = NULL;
    if (last && !refused)
        event = exchange->handle.incoming ? over_event(exchange) : answered_event(exchange);
    if (event && !exchange->handle.incoming) room = asking_room(exchange);
    pthread_mutex_unlock(&exchange->lock);
    if (event) lm_driver_tell(driver, room, event);
    if (last && refused) lm_exchange_free(exchange);
}

static void credit(lm_exchange_t *exchange, int64_t bytes)
{
    lm_frontend_sentry_credit(atomic_load(&exchange->driver->sentry), exchange->connection, bytes);
}

void lm_exchange_vouch(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    lm_frontend_sentry_vouch(atomic_load(&exchange->driver->sentry), exchange->connection);
}

/* Of the calls of its connection. */
static void count(lm_exchange_t *exchange, int more)
{
    const lm_frontend_method_t *method = exchange->handle.method;
    bool wait = method && method->id == LM_METHOD_ACQUIRE;
    lm_frontend_sentry_count(atomic_load(&exchange->driver->sentry), exchange->connection, more,
                             wait);
}

static void on_end(lm_tag_t *tag, bool ok)
{
    (void)ok; /* always true, says gRPC */
    lm_exchange_t *exchange = LM_TAG_OWNER(tag, lm_exchange_t, end_tag);
    count(exchange, -1);
    if (exchange->cancelled) credit(exchange, -(int64_t)exchange->weight);
    pthread_mutex_lock(&exchange->lock);
    exchange->ended = true;
    exchange->ended_us = lm_clock_us();
    unlock_and_maybe_end(exchange);
}

static void on_start(lm_tag_t *tag, bool ok)
{
    lm_exchange_t *exchange = LM_TAG_OWNER(tag, lm_exchange_t, start_tag);
    pthread_mutex_lock(&exchange->lock);
    exchange->pending--;
    if (ok && !exchange->sent_us) exchange->sent_us = lm_clock_us();
    unlock_and_maybe_end(exchange);
}

/* ---- reading --------------------------------------------------------------------------------- */

lm_frontend_event_t *lm_exchange_event_of(lm_frontend_event_kind_t kind, lm_exchange_t *exchange,
                                          grpc_byte_buffer *buffer, size_t bytes_max)
{
    /* gRPC may hand over no buffer at all after the other side has gone. */
    size_t size = buffer ? grpc_byte_buffer_length(buffer) : 0;
    bool oversized = size > bytes_max;
    lm_frontend_event_t *event =
        lm_frontend_event_new(kind, &exchange->handle, oversized ? 0 : size);
    event->missing = !buffer;
    event->oversized = oversized;
    grpc_byte_buffer_reader reader;
    if (oversized || size == 0 || !grpc_byte_buffer_reader_init(&reader, buffer)) return event;
    size_t filled = 0;
    grpc_slice *slice;
    while (grpc_byte_buffer_reader_peek(&reader, &slice)) {
        memcpy(event->payload + filled, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
        filled += GRPC_SLICE_LENGTH(*slice);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    LM_CHECK(filled == size, "%zu of %zu bytes read", filled, size);
    return event;
}

static lm_participant_t reader_room(const lm_exchange_t *exchange)
{
    return exchange->handle.method->room;
}

/* With the lock held. */
static void read_next(lm_exchange_t *exchange)
{
    if (exchange->reading || exchange->read_closed || exchange->ended || exchange->over) return;
    size_t unread_max =
        reader_room(exchange) == LM_CLIENTS ? LM_CLIENT_UNREAD_BYTES_MAX : LM_UNREAD_BYTES_MAX;
    if (exchange->unread_bytes >= unread_max) return;
    exchange->reading = true;
    exchange->pending++;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE,
                  .data.recv_message.recv_message = &exchange->incoming};
    start_batch(exchange, &op, 1, &exchange->read_tag);
}

static void on_read(lm_tag_t *tag, bool ok)
{
    lm_exchange_t *exchange = LM_TAG_OWNER(tag, lm_exchange_t, read_tag);
    pthread_mutex_lock(&exchange->lock);
    exchange->reading = false;
    exchange->pending--;
    lm_frontend_event_t *event = NULL;
    if (ok && exchange->incoming) {
        size_t bytes_max = reader_room(exchange) == LM_CLIENTS
                               ? exchange->driver->how.request_bytes_max
                               : LM_MESSAGE_BYTES_MAX;
        event = lm_exchange_event_of(LM_FRONTEND_RECEIVED, exchange, exchange->incoming, bytes_max);
        exchange->unread_bytes += event->size + EVENT_WEIGHT_BYTES;
        size_t size = grpc_byte_buffer_length(exchange->incoming);
        if (exchange->handle.incoming)
            credit(exchange, (int64_t)size + LM_STREAM_MESSAGE_BYTES_EXTRA);
    } else {
        exchange->read_closed = true;
        if (exchange->handle.incoming)
            event = lm_frontend_event_new(LM_FRONTEND_HALF_CLOSED, &exchange->handle, 0);
    }
    if (exchange->incoming) grpc_byte_buffer_destroy(exchange->incoming);
    exchange->incoming = NULL;
    if (event) lm_driver_tell(exchange->driver, reader_room(exchange), event);
    read_next(exchange);
    unlock_and_maybe_end(exchange);
}

void lm_exchange_consumed(lm_frontend_driver_t *face, lm_frontend_handle_t *handle, size_t size)
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    pthread_mutex_lock(&exchange->lock);
    if (exchange->in_backlog) {
        exchange->in_backlog = false;
        atomic_fetch_sub(&exchange->driver->client_backlog, 1);
    } else if (handle->method->stream) {
        size_t weight = size + EVENT_WEIGHT_BYTES;
        exchange->unread_bytes -= weight < exchange->unread_bytes ? weight : exchange->unread_bytes;
        read_next(exchange);
    }
    pthread_mutex_unlock(&exchange->lock);
}

/* ---- writing --------------------------------------------------------------------------------- */

static grpc_byte_buffer *buffer_of(lm_bytes_t bytes)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.size);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static void forget_first(lm_exchange_t *exchange)
{
    lm_written_t *first = exchange->queue;
    exchange->queue = first->next;
    if (!exchange->queue) exchange->queue_end = &exchange->queue;
    exchange->queued_bytes -= first->size;
    grpc_byte_buffer_destroy(first->buffer);
    free(first);
}

static size_t add_metadata_op(lm_exchange_t *exchange, grpc_op *ops)
{
    if (exchange->metadata_sent || !exchange->handle.incoming) return 0;
    exchange->metadata_sent = true;
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    return 1;
}

/* With the lock held: sends the status, once everything queued before it has been written. */
static void start_finish(lm_exchange_t *exchange)
{
    grpc_op ops[3];
    size_t n_ops = add_metadata_op(exchange, ops);
    if (exchange->finish_message) {
        ops[n_ops++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE,
                                 .data.send_message.send_message = exchange->finish_message};
    }
    grpc_metadata trailing[2];
    size_t n_trailing = 0;
    if (GRPC_SLICE_LENGTH(exchange->finish_details) > 0) {
        trailing[n_trailing++] =
            (grpc_metadata){.key = grpc_slice_from_static_string("grpc-status-details-bin"),
                            .value = exchange->finish_details};
    }
    char digits[16];
    grpc_slice pushback = grpc_empty_slice();
    if (exchange->finish_pushback_ms) {
        snprintf(digits, sizeof digits, "%u", exchange->finish_pushback_ms);
        pushback = grpc_slice_from_copied_string(digits);
        trailing[n_trailing++] = (grpc_metadata){
            .key = grpc_slice_from_static_string("grpc-retry-pushback-ms"), .value = pushback};
    }
    grpc_slice text =
        grpc_slice_from_copied_string(exchange->finish_text ? exchange->finish_text : "");
    ops[n_ops++] = (grpc_op){
        .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
        .data.send_status_from_server = {.trailing_metadata_count = n_trailing,
                                         .trailing_metadata = trailing,
                                         .status = (grpc_status_code)exchange->finish_status,
                                         .status_details = &text}};
    exchange->finish_started = true;
    exchange->pending++;
    start_batch(exchange, ops, n_ops, &exchange->finish_tag);
    grpc_slice_unref(text);
    grpc_slice_unref(pushback);
}

/* With the lock held: writes the next message, or the status if none is left. */
static void write_next(lm_exchange_t *exchange)
{
    if (exchange->writing || exchange->ended || exchange->over) return;
    if (!exchange->queue) {
        if (exchange->finishing && !exchange->finish_started) start_finish(exchange);
        return;
    }
    grpc_op ops[2];
    size_t n_ops = add_metadata_op(exchange, ops);
    ops[n_ops++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE,
                             .flags = exchange->queue->next ? GRPC_WRITE_BUFFER_HINT : 0,
                             .data.send_message.send_message = exchange->queue->buffer};
    exchange->writing = true;
    exchange->pending++;
    start_batch(exchange, ops, n_ops, &exchange->write_tag);
}

static void on_written(lm_tag_t *tag, bool ok)
{
    lm_exchange_t *exchange = LM_TAG_OWNER(tag, lm_exchange_t, write_tag);
    pthread_mutex_lock(&exchange->lock);
    exchange->writing = false;
    exchange->pending--;
    forget_first(exchange);
    if (!ok) exchange->write_failed = true;
    while (exchange->write_failed && exchange->queue) forget_first(exchange);
    write_next(exchange);
    unlock_and_maybe_end(exchange);
}

static void on_finished(lm_tag_t *tag, bool ok)
{
    (void)ok;
    lm_exchange_t *exchange = LM_TAG_OWNER(tag, lm_exchange_t, finish_tag);
    pthread_mutex_lock(&exchange->lock);
    exchange->pending--;
    unlock_and_maybe_end(exchange);
}

bool lm_exchange_send(lm_frontend_driver_t *face, lm_frontend_handle_t *handle, lm_bytes_t message,
                      size_t queue_bytes_max)
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    pthread_mutex_lock(&exchange->lock);
    bool taken = !exchange->over && !exchange->ended && !exchange->finishing &&
                 !exchange->write_failed &&
                 exchange->queued_bytes + message.size <= queue_bytes_max;
    if (taken) {
        lm_written_t *written = lm_alloc(sizeof *written);
        *written = (lm_written_t){
            .buffer = buffer_of(message), .size = message.size, .since_us = lm_clock_us()};
        *exchange->queue_end = written;
        exchange->queue_end = &written->next;
        exchange->queued_bytes += message.size;
        write_next(exchange);
    }
    pthread_mutex_unlock(&exchange->lock);
    return taken;
}

/* With the lock held. A failure does not wait behind messages that nobody reads. */
static bool finish_by_cancelling(lm_exchange_t *exchange, const lm_frontend_finish_t *how)
{
    if (how->status == GRPC_STATUS_OK || !exchange->queue) return false;
    grpc_call_cancel_with_status(exchange->call, (grpc_status_code)how->status,
                                 how->text ? how->text : "", NULL);
    return true;
}

void lm_exchange_finish(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                        const lm_frontend_finish_t *how)
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    pthread_mutex_lock(&exchange->lock);
    bool may = !exchange->over && !exchange->ended && !exchange->finishing;
    if (may && finish_by_cancelling(exchange, how)) {
        exchange->finishing = exchange->finish_started = true;
        exchange->finish_status = how->status;
    } else if (may) {
        exchange->finishing = true;
        exchange->finish_status = how->status;
        exchange->finish_text = how->text ? strdup(how->text) : NULL;
        exchange->finish_details = grpc_slice_from_copied_buffer(
            how->details.size ? (const char *)how->details.data : "", how->details.size);
        exchange->finish_pushback_ms = how->pushback_ms;
        bool unary = exchange->handle.method && !exchange->handle.method->stream;
        if (unary && how->status == GRPC_STATUS_OK)
            exchange->finish_message = buffer_of(how->message);
        write_next(exchange);
    }
    pthread_mutex_unlock(&exchange->lock);
}

bool lm_exchange_stalled(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                         uint64_t since_us)
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    pthread_mutex_lock(&exchange->lock);
    bool stalled = exchange->queue && exchange->queue->since_us < since_us;
    pthread_mutex_unlock(&exchange->lock);
    return stalled;
}

void lm_exchange_address(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                         char address[LM_ADDRESS_BYTES])
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    pthread_mutex_lock(&exchange->lock);
    char *peer = exchange->over ? NULL : grpc_call_get_peer(exchange->call);
    pthread_mutex_unlock(&exchange->lock);
    snprintf(address, LM_ADDRESS_BYTES, "%s", peer ? peer : "");
    gpr_free(peer);
}

/* ---- life ------------------------------------------------------------------------------------ */

lm_exchange_t *lm_exchange_new(lm_driver_t *driver, const lm_frontend_method_t *method,
                               grpc_call *call, bool incoming)
{
    lm_exchange_t *exchange = lm_alloc(sizeof *exchange);
    exchange->handle = (lm_frontend_handle_t){.method = method, .incoming = incoming};
    lm_frontend_tls_t *tls = incoming ? atomic_load(&driver->tls) : NULL;
    bool as_node = method && method->between_nodes;
    if (tls) exchange->handle.party = lm_frontend_tls_party(tls, call, as_node);
    exchange->driver = driver;
    exchange->call = call;
    if (incoming) {
        exchange->arrived_us = lm_clock_us();
        lm_frontend_figures_begin(&driver->figures, method);
    }
    exchange->queue_end = &exchange->queue;
    exchange->finish_details = grpc_empty_slice();
    exchange->status_text = grpc_empty_slice();
    pthread_mutex_init(&exchange->lock, NULL);
    bool first = method && method->room == LM_PEERS;
    exchange->start_tag = (lm_tag_t){on_start, first};
    exchange->end_tag = (lm_tag_t){on_end, first};
    exchange->read_tag = (lm_tag_t){on_read, first};
    exchange->write_tag = (lm_tag_t){on_written, first};
    exchange->finish_tag = (lm_tag_t){on_finished, first};
    pthread_mutex_lock(&driver->lock);
    exchange->next = driver->exchanges;
    if (exchange->next) exchange->next->prev = exchange;
    driver->exchanges = exchange;
    pthread_mutex_unlock(&driver->lock);
    return exchange;
}

void lm_exchange_weigh(lm_exchange_t *exchange, uint16_t port, size_t bytes)
{
    char *peer = grpc_call_get_peer(exchange->call);
    exchange->connection = lm_frontend_sentry_key(peer, port);
    gpr_free(peer);
    exchange->weight = (uint32_t)bytes;
    credit(exchange, (int64_t)bytes);
    count(exchange, 1);
}

void lm_exchange_accept(lm_exchange_t *exchange)
{
    pthread_mutex_lock(&exchange->lock);
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                  .data.recv_close_on_server.cancelled = &exchange->cancelled};
    start_batch(exchange, &op, 1, &exchange->end_tag);
    if (exchange->handle.method && exchange->handle.method->stream) read_next(exchange);
    pthread_mutex_unlock(&exchange->lock);
}

static grpc_op status_op(lm_exchange_t *exchange)
{
    return (grpc_op){.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                     .data.recv_status_on_client = {.trailing_metadata = &exchange->trailing,
                                                    .status = &exchange->status,
                                                    .status_details = &exchange->status_text}};
}

static grpc_op initial_op(lm_exchange_t *exchange)
{
    return (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA,
                     .data.recv_initial_metadata.recv_initial_metadata = &exchange->initial};
}

void lm_exchange_call(lm_exchange_t *exchange, lm_bytes_t payload, bool connected)
{
    pthread_mutex_lock(&exchange->lock);
    if (connected) exchange->sent_us = lm_clock_us();
    exchange->finish_message = buffer_of(payload);
    grpc_op out[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = exchange->finish_message},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
    grpc_op in[] = {
        initial_op(exchange),
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &exchange->incoming},
        status_op(exchange)};
    exchange->pending++;
    start_batch(exchange, out, 3, &exchange->start_tag);
    start_batch(exchange, in, 3, &exchange->end_tag);
    pthread_mutex_unlock(&exchange->lock);
}

void lm_exchange_open(lm_exchange_t *exchange)
{
    pthread_mutex_lock(&exchange->lock);
    grpc_op status = status_op(exchange);
    grpc_op start[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, initial_op(exchange)};
    exchange->pending++;
    start_batch(exchange, start, 2, &exchange->start_tag);
    start_batch(exchange, &status, 1, &exchange->end_tag);
    read_next(exchange);
    pthread_mutex_unlock(&exchange->lock);
}

void lm_exchange_cancel(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    lm_exchange_t *exchange = exchange_of(handle);
    pthread_mutex_lock(&exchange->lock);
    if (!exchange->over) grpc_call_cancel(exchange->call, NULL);
    pthread_mutex_unlock(&exchange->lock);
}

void lm_exchange_free(lm_exchange_t *exchange)
{
    lm_driver_t *driver = exchange->driver;
    LM_CHECK(exchange->over, "%s: dropped before its end",
             exchange->handle.method ? exchange->handle.method->path : "?");
    pthread_mutex_lock(&driver->lock);
    grpc_call *call = exchange->call;
    exchange->call = NULL; /* nobody cancels it any more */
    pthread_mutex_unlock(&driver->lock);
    const lm_frontend_method_t *method = exchange->handle.method;
    if (exchange->in_backlog) atomic_fetch_sub(&driver->client_backlog, 1);
    if (exchange->handle.incoming && method && method->admitted && !exchange->refused)
        atomic_fetch_sub(&driver->client_calls, 1);
    while (exchange->queue) forget_first(exchange);
    free(exchange->finish_text);
    free((void *)(uintptr_t)exchange->handle.party);
    free((void *)(uintptr_t)exchange->handle.bearer);
    if (exchange->finish_message) grpc_byte_buffer_destroy(exchange->finish_message);
    if (exchange->incoming) grpc_byte_buffer_destroy(exchange->incoming);
    grpc_slice_unref(exchange->finish_details);
    grpc_slice_unref(exchange->status_text);
    grpc_metadata_array_destroy(&exchange->initial);
    grpc_metadata_array_destroy(&exchange->trailing);
    grpc_call_unref(call);
    if (exchange->channel) lm_channel_release(driver, exchange->channel);
    /* Last: whoever waits for an empty list then takes channels and driver apart. */
    pthread_mutex_lock(&driver->lock);
    if (exchange->prev)
        exchange->prev->next = exchange->next;
    else
        driver->exchanges = exchange->next;
    if (exchange->next) exchange->next->prev = exchange->prev;
    pthread_cond_broadcast(&driver->changed);
    pthread_mutex_unlock(&driver->lock);
    pthread_mutex_destroy(&exchange->lock);
    free(exchange);
}

void lm_exchange_drop(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    lm_exchange_free(exchange_of(handle));
}
