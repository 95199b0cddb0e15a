/* The clients room: its table of messages, what comes from the driver, and its clock. */
#include "frontend_clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base_check.h"
#include "base_log.h"
#include "frontend_clients_state.h"

enum {
    REPORT_EVERY_US = 1000000,
};

static uint32_t state(const void *self)
{
    const lm_frontend_clients_t *room = self;
    return lm_frontend_frame_state(&room->frame);
}

static lm_frontend_clients_t *enter(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = self;
    room->frame.now_us = now_us;
    room->frame.out = out;
    return room;
}

/* ---- what the files of the room share -------------------------------------------------------- */

lm_frontend_attempt_t *lm_frontend_clients_ask(lm_frontend_clients_t *room,
                                               lm_message_number_t number, const void *body,
                                               uint64_t deadline_us, lm_frontend_call_t *call)
{
    lm_frontend_attempt_t *attempt = lm_alloc(sizeof *attempt);
    attempt->call = call;
    attempt->correlation = lm_outbox_call(room->frame.out, LM_LOCK, number, body, deadline_us, 0);
    HASH_ADD(hh, room->attempts, correlation, sizeof attempt->correlation, attempt);
    return attempt;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void report(lm_frontend_clients_t *room);

static void on_start(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = enter(self, message->now_us, out);
    lm_frontend_frame_start(&room->frame, message->body, LM_CLIENTS);
    lm_frontend_status_ask(room);
    report(room);
}

static void on_node_mode(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = enter(self, message->now_us, out);
    room->mode = ((const lm_bus_node_mode_t *)message->body)->mode;
    lm_frontend_health_look(room);
}

static void on_peer_up(void *self, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    (void)generation;
    lm_frontend_clients_t *room = enter(self, now_us, out);
    if (peer == LM_HEALTH && room->frame.config) report(room);
    if (peer != LM_LOCK) return;
    if (room->lock_present) lm_frontend_call_lock_replaced(room);
    room->lock_present = true;
    lm_frontend_status_ask(room);
}

static void on_call_failed(void *self, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = enter(self, now_us, out);
    lm_frontend_attempt_t *attempt;
    HASH_FIND(hh, room->attempts, &correlation, sizeof correlation, attempt);
    if (!attempt) return;
    if (number == LM_MSG_STATUS_QUERY)
        lm_frontend_status_failed(room, attempt, why);
    else
        lm_frontend_call_failed(room, attempt, why);
}

/* ---- the driver's events --------------------------------------------------------------------- */

static void on_called(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_handle_t *handle = event->handle;
    room->frame.driver->ops->consumed(room->frame.driver, handle, 0);
    lm_frontend_error_t error;
    if (!lm_frontend_access_admit(room, handle, &error)) {
        lm_frontend_frame_fail(&room->frame, handle, &error);
        lm_frontend_event_free(event);
        return;
    }
    switch (handle->method->id) {
    case LM_METHOD_HEALTH_CHECK: lm_frontend_health_check(room, event); break;
    case LM_METHOD_GET_STATUS: lm_frontend_status_begin(room, event); break;
    case LM_METHOD_UNDELIVERED:
        lm_frontend_undelivered_begin(room, event);
        lm_frontend_event_free(event);
        break;
    default: lm_frontend_call_begin(room, event);
    }
}

static void on_over(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_handle_t *handle = event->handle;
    if (handle->method->stream)
        lm_frontend_stream_over(room, handle);
    else if (handle->owner)
        lm_frontend_call_over(handle->owner, event->undelivered);
    else
        room->frame.driver->ops->drop(room->frame.driver,
                                      handle); /* was refused or answered at once */
}

static void on_opened(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_stream_opened(room, event->handle);
}

static void on_access(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    if (!lm_frontend_access_read(room, event))
        lm_outbox_exit(room->frame.out, LM_EXIT_TRY_LATER, "the file of access cannot be used");
}

static void on_received(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_stream_received(room, event);
}

static void on_half_closed(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_stream_half_closed(room, event->handle);
}

static void on_listening(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    (void)event;
    lm_frontend_frame_listening(&room->frame);
    report(room);
}

static void on_answered(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    if (event->handle->method->id == LM_METHOD_UNDELIVERED)
        lm_frontend_undelivered_reported(room, event->handle);
    else
        lm_frontend_forward_answered(room, event);
}

/* Those that keep the event are marked; the others give it back here. */
static const struct {
    void (*on)(lm_frontend_clients_t *room, lm_frontend_event_t *event);
    bool keeps;
} events[] = {
    [LM_FRONTEND_LISTENING] = {on_listening, false},
    [LM_FRONTEND_ACCESS] = {on_access, false},
    [LM_FRONTEND_CALLED] = {on_called, true},
    [LM_FRONTEND_OPENED] = {on_opened, false},
    [LM_FRONTEND_RECEIVED] = {on_received, true},
    [LM_FRONTEND_HALF_CLOSED] = {on_half_closed, false},
    [LM_FRONTEND_OVER] = {on_over, false},
    [LM_FRONTEND_ANSWERED] = {on_answered, false},
};

static void on_inlet(void *self, void *item, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = enter(self, now_us, out);
    lm_frontend_event_t *event = item;
    bool ends = lm_frontend_frame_ends(&room->frame, event, "peers");
    bool keeps = !ends && events[event->kind].keeps;
    if (!ends) events[event->kind].on(room, event);
    if (!keeps) lm_frontend_event_free(event);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void report(lm_frontend_clients_t *room)
{
    lm_frontend_timers_set(&room->timers, &room->report_timer,
                           room->frame.now_us + REPORT_EVERY_US);
    lm_frontend_audit_tick(&room->frame.audit, room->frame.now_us);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"lockmgr_frontend_undecodable_total", "Requests that could not be decoded.",
         room->undecodable},
        {"lockmgr_frontend_oversized_total", "Requests that were too large.", room->oversized},
        {"lockmgr_frontend_invalid_total", "Requests that broke a rule.", room->invalid},
        {"lockmgr_frontend_forwards_total", "Calls passed on to the leader.", room->forwards},
        {"lockmgr_frontend_forwards_failed_total", "Calls passed on that got no answer.",
         room->forwards_failed},
        {"lockmgr_frontend_forwards_refused_unknown_peer_total",
         "Calls passed on by a node that is not configured here.", room->unknown_peers},
        {"lockmgr_frontend_forwards_refused_wrong_cluster_total",
         "Calls passed on by a node of another cluster.", room->wrong_cluster},
        {"lockmgr_frontend_retries_total", "Attempts that were planned again.", room->retries},
        {"lockmgr_frontend_undelivered_total", "Grants that found nobody.", room->undelivered},
        {"lockmgr_frontend_late_grants_total", "Grants by other nodes that came too late.",
         room->late_grants},
        {"lockmgr_frontend_reports_total",
         "Other nodes told that a grant of theirs found nobody, or may have.", room->reports},
        {"lockmgr_frontend_reports_unknown_total",
         "Such reports by other nodes about nothing that this node remembers.",
         room->reports_unknown},
        {"lockmgr_frontend_shed_acquires_total",
         "Acquires refused because the node has more to do than it can.",
         room->admission.refused[1] + room->frame.driver->ops->refused(room->frame.driver).shed},
        {"lockmgr_frontend_shed_reads_total",
         "Reads refused because the node has more to do than it can.", room->admission.refused[0]},
        {"lockmgr_frontend_overloaded_total", "Client calls refused beyond the bound.",
         room->frame.driver->ops->refused(room->frame.driver).overloaded},
        {"lockmgr_frontend_unknown_method_total",
         "Calls of methods that do not exist on that port.",
         room->frame.driver->ops->refused(room->frame.driver).unknown_method},
    };
    lm_frontend_report_t *all = lm_arena_alloc(room->frame.scratch, sizeof *all);
    all->arena = room->frame.scratch;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        lm_frontend_report_add(all, rows[i].name, rows[i].help, LM_BUS_METRIC_KIND_COUNTER, NULL,
                               lm_bytes(NULL, 0), (double)rows[i].value);
    lm_frontend_report_add(all, "lockmgr_frontend_calls", "Client calls that are open.",
                           LM_BUS_METRIC_KIND_GAUGE, NULL, lm_bytes(NULL, 0),
                           (double)room->n_calls);
    lm_frontend_refused_t refused = room->frame.driver->ops->refused(room->frame.driver);
    const struct {
        const char *reason;
        uint64_t value;
    } ended[] = {{"wasteful", refused.wasteful},
                 {"descriptors", refused.crowded},
                 {"address", refused.beyond_address},
                 {"age", refused.aged}};
    for (size_t i = 0; i < sizeof ended / sizeof *ended; i++)
        lm_frontend_report_add(all, "lockmgr_frontend_connections_ended_total",
                               "Connections of others that were ended: they did harm, or their "
                               "calls outlived their age.",
                               LM_BUS_METRIC_KIND_COUNTER, "reason", lm_bytes_of(ended[i].reason),
                               (double)ended[i].value);
    lm_frontend_report_add(all, "lockmgr_frontend_connections",
                           "Connections that others have to the gRPC and region ports.",
                           LM_BUS_METRIC_KIND_GAUGE, NULL, lm_bytes(NULL, 0),
                           (double)refused.connections);
    lm_frontend_report_add(all, "lockmgr_frontend_shed_ratio",
                           "Share of new acquires that is refused for load; above 1 of reads too.",
                           LM_BUS_METRIC_KIND_GAUGE, NULL, lm_bytes(NULL, 0),
                           (double)room->admission.share / 1024);
    lm_frontend_report_add(all, "lockmgr_frontend_delay_seconds",
                           "Least time that a call took in the last tenth of a second.",
                           LM_BUS_METRIC_KIND_GAUGE, NULL, lm_bytes(NULL, 0),
                           (double)room->admission.delay_us / 1e6);
    lm_frontend_access_report(room, all);
    lm_frontend_report_figures(all, room->frame.driver->ops->figures(room->frame.driver),
                               LM_CLIENTS);
    lm_frontend_report_send(all, room->frame.listening ? "UP" : "UNKNOWN",
                            room->frame.listening ? "" : "the ports are not open yet",
                            room->frame.listening && !room->frame.stopping, room->frame.out);
}

static void on_due(lm_frontend_clients_t *room, lm_frontend_timer_t *timer)
{
    if (timer == &room->ask_timer) {
        lm_frontend_status_ask(room);
        lm_frontend_health_look(room);
    } else if (timer == &room->report_timer) {
        report(room);
    } else {
        lm_frontend_call_due((lm_frontend_call_t *)(void *)timer);
    }
}

static void on_wake(void *self, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    (void)late_us;
    lm_frontend_clients_t *room = enter(self, now_us, out);
    lm_frontend_timer_t *timer;
    while ((timer = lm_frontend_timers_take(&room->timers, now_us))) on_due(room, timer);
}

/* Tells the driver how much is shed; returns when to look again. */
static uint64_t shed(lm_frontend_clients_t *room)
{
    uint32_t share = lm_frontend_admission_share(&room->admission, room->frame.now_us);
    if (share != room->shed_told) room->frame.driver->ops->shed(room->frame.driver, share);
    room->shed_told = share;
    return share > 0 ? room->admission.window_end_us : UINT64_MAX;
}

static void on_turn_end(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = enter(self, now_us, out);
    uint64_t next_us = lm_frontend_timers_next(&room->timers), look_us = shed(room);
    if (look_us < next_us) next_us = look_us;
    if (next_us != UINT64_MAX) lm_outbox_wake(out, next_us);
    lm_arena_reset(room->frame.scratch);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_stop(void *self, uint64_t now_us, uint64_t grace_us, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = enter(self, now_us, out);
    room->frame.stopping = true;
    lm_frontend_health_look(room);
    lm_frontend_call_stop_all(room);
    lm_frontend_stream_t *stream;
    DL_FOREACH(room->streams, stream)
    {
        if (stream->finished) continue;
        stream->finished = true;
        lm_frontend_frame_fail(&room->frame, stream->handle,
                               &(lm_frontend_error_t){.code = LM_RC_DRAINING});
    }
    room->frame.driver->ops->shut(room->frame.driver, grace_us / 4);
}

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, LM_FRONTEND_NEW},
    {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
    {LM_MSG_LOCK_ANSWER, lm_frontend_call_on_answer, LM_ANY_STATE},
    {LM_MSG_STATUS_ANSWER, lm_frontend_status_on_answer, LM_ANY_STATE},
};

const lm_room_t lm_frontend_clients_room = {
    .self = LM_CLIENTS,
    .binds = false,
    .connects = 1U << LM_LOCK,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .state = state,
    .on_wake = on_wake,
    .on_turn_end = on_turn_end,
    .on_peer_up = on_peer_up,
    .on_call_failed = on_call_failed,
    .on_inlet = on_inlet,
    .on_stop = on_stop,
};

lm_frontend_clients_t *lm_frontend_clients_new(const uint64_t seed[2])
{
    lm_frontend_clients_t *room = lm_alloc(sizeof *room);
    room->seed[0] = seed[0];
    room->seed[1] = seed[1];
    lm_frontend_frame_init(&room->frame);
    room->given = lm_alloc(LM_GIVEN_MAX * sizeof *room->given);
    return room;
}

void lm_frontend_clients_set_driver(lm_frontend_clients_t *room, lm_frontend_driver_t *driver)
{
    room->frame.driver = driver;
}

void lm_frontend_clients_set_keys(lm_frontend_clients_t *room, lm_frontend_keys_t *keys)
{
    room->frame.keys = keys;
}

void lm_frontend_clients_destroy(lm_frontend_clients_t **self)
{
    lm_frontend_clients_t *room = *self;
    if (!room) return;
    lm_frontend_call_t *call, *next_call;
    DL_FOREACH_SAFE(room->calls, call, next_call) lm_frontend_call_free(call);
    lm_frontend_forward_t *forward, *next_forward;
    DL_FOREACH_SAFE(room->on_their_way, forward, next_forward) free(forward);
    lm_frontend_stream_t *stream, *next_stream;
    DL_FOREACH_SAFE(room->streams, stream, next_stream) free(stream);
    lm_frontend_attempt_t *attempt, *next_attempt;
    HASH_ITER(hh, room->attempts, attempt, next_attempt)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
        HASH_DEL(room->attempts, attempt);
        free(attempt);
    }
    lm_frontend_timers_clear(&room->timers);
    lm_access_destroy(&room->access);
    free(room->given);
    lm_frontend_frame_clear(&room->frame);
    free(room);
    *self = NULL;
}
