/* The peers room: its table of messages, what comes from the driver, and its clock. */
#include "frontend_peers.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base_check.h"
#include "base_log.h"
#include "frontend_peers_state.h"

enum {
    STATE_NEW = 1,
    STATE_OPENING = 2,
    STATE_SERVING = 4,
    TICK_US = 50000,
    REPORT_EVERY_US = 1000000,
};

static uint32_t state(const void *self)
{
    const lm_frontend_peers_t *room = self;
    if (!room->config) return STATE_NEW;
    return room->listening ? STATE_SERVING : STATE_OPENING;
}

static lm_frontend_peers_t *enter(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = self;
    room->now_us = now_us;
    room->out = out;
    return room;
}

void lm_frontend_peers_finish(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                              lm_bytes_t message)
{
    lm_frontend_figures_handled(&room->figures, handle->method, 0);
    room->driver->ops->finish(room->driver, handle, &(lm_frontend_finish_t){.message = message});
}

void lm_frontend_peers_fail(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                            const lm_frontend_error_t *error)
{
    lm_frontend_figures_handled(&room->figures, handle->method, lm_rc_grpc_status(error->code));
    lm_frontend_error_finish(room->driver, handle, error, room->scratch);
}

lm_frontend_peer_t *lm_frontend_peers_find(lm_frontend_peers_t *room, lm_bytes_t name)
{
    for (size_t i = 0; i < room->n_peers; i++)
        if (lm_bytes_equal(room->peers[i].config->name, name)) return &room->peers[i];
    return NULL;
}

static void report(lm_frontend_peers_t *room);

/* ---- messages -------------------------------------------------------------------------------- */

static void on_start(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message->now_us, out);
    room->config = lm_frontend_config_copy(message->body, room->texts);
    room->peers = lm_arena_alloc(room->texts, (room->config->n_peers + 1) * sizeof *room->peers);
    for (size_t i = 0; i < room->config->n_peers; i++) {
        const lm_bus_peer_config_t *config = &room->config->peers[i];
        if (!lm_bytes_equal(config->name, room->config->node))
            room->peers[room->n_peers++].config = config;
    }
    room->tick_at_us = room->report_at_us = room->now_us;
    lm_frontend_listen_t how = lm_frontend_config_listen(room->config);
    room->driver->ops->listen(room->driver, LM_PEERS, &how);
}

static void on_raft_identity(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message->now_us, out);
    lm_bytes_t bytes = lm_wire_encode(&lm_bus_raft_identity_type, message->body, room->scratch);
    lm_arena_reset(room->identity_texts);
    void *copy = NULL;
    lm_rc_t code =
        lm_wire_decode(&lm_bus_raft_identity_type, lm_arena_copy(room->identity_texts, bytes),
                       room->identity_texts, &copy, NULL);
    LM_CHECK(code == LM_RC_OK, "identity does not survive its copy: %s", lm_rc_name(code));
    room->identity = copy;
    lm_frontend_incoming_recheck(room);
}

static void on_node_mode(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    /* A draining node keeps its links: leadership moves over them. */
    (void)enter(self, message->now_us, out);
}

static void on_peer_up(void *self, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    (void)generation;
    lm_frontend_peers_t *room = enter(self, now_us, out);
    if (peer == LM_RAFT) lm_frontend_link_tell_all(room);
}

static void on_call_failed(void *self, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    if (number == LM_MSG_REGION_HELLO_IN) lm_frontend_region_failed(room, correlation, why);
}

/* ---- the driver's events --------------------------------------------------------------------- */

static void on_listening(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    (void)event;
    room->listening = true;
    lm_outbox_ready(room->out);
    report(room);
}

static void on_not_bound(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_error("%s", event->text);
    lm_outbox_exit(room->out, LM_EXIT_TRY_LATER, event->text);
}

static void on_called(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    room->driver->ops->consumed(room->driver, event->handle, 0);
    lm_frontend_figures_started(&room->figures, event->handle->method);
    lm_frontend_region_called(room, event);
}

static void on_opened(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_figures_started(&room->figures, event->handle->method);
    lm_frontend_incoming_opened(room, event->handle);
}

static void on_received(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    if (event->handle->incoming)
        lm_frontend_incoming_received(room, event);
    else
        lm_frontend_link_received(room, event);
}

static void on_half_closed(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_incoming_half_closed(room, event->handle);
}

static void on_over(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    if (event->handle->method->stream)
        lm_frontend_incoming_over(room, event->handle);
    else
        lm_frontend_region_over(room, event->handle);
}

static void on_answered(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    if (event->handle == room->check)
        lm_frontend_watchdog_answered(room, event);
    else if (event->handle->method->stream)
        lm_frontend_link_over(room, event);
    else
        lm_frontend_region_answered(room, event);
}

static void on_closed(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    (void)event;
    if (room->stopping) lm_outbox_exit(room->out, LM_EXIT_OK, "");
}

static void on_other_ended(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_outbox_exit(room->out, (lm_exit_t)event->status, "the clients room has ended");
}

typedef void on_event_t(lm_frontend_peers_t *room, lm_frontend_event_t *event);
static on_event_t *const events[] = {
    [LM_FRONTEND_LISTENING] = on_listening, [LM_FRONTEND_NOT_BOUND] = on_not_bound,
    [LM_FRONTEND_CALLED] = on_called,       [LM_FRONTEND_OPENED] = on_opened,
    [LM_FRONTEND_RECEIVED] = on_received,   [LM_FRONTEND_HALF_CLOSED] = on_half_closed,
    [LM_FRONTEND_OVER] = on_over,           [LM_FRONTEND_ANSWERED] = on_answered,
    [LM_FRONTEND_CLOSED] = on_closed,       [LM_FRONTEND_OTHER_ENDED] = on_other_ended,
};

static void on_inlet(void *self, void *item, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    lm_frontend_event_t *event = item;
    events[event->kind](room, event);
    lm_frontend_event_free(event);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void report_links(lm_frontend_peers_t *room, lm_frontend_report_t *all)
{
    for (size_t i = 0; i < room->n_peers; i++) {
        const lm_frontend_peer_t *peer = &room->peers[i];
        lm_bytes_t name = peer->config->name;
        lm_frontend_report_add(all, "lockmgr_peer_link_up", "Whether the link to a peer is up.",
                               LM_BUS_METRIC_KIND_GAUGE, "peer", name, peer->state == LM_LINK_UP);
        lm_frontend_report_add(all, "lockmgr_peer_frames_sent_total", "Frames sent to a peer.",
                               LM_BUS_METRIC_KIND_COUNTER, "peer", name, (double)peer->frames_out);
        lm_frontend_report_add(all, "lockmgr_peer_frames_received_total",
                               "Frames received from a peer.", LM_BUS_METRIC_KIND_COUNTER, "peer",
                               name, (double)peer->frames_in);
        lm_frontend_report_add(all, "lockmgr_peer_frames_dropped_total",
                               "Frames not sent: no link, or too much waits.",
                               LM_BUS_METRIC_KIND_COUNTER, "peer", name, (double)peer->dropped);
        lm_frontend_report_add(all, "lockmgr_peer_link_attempts_total",
                               "Attempts to open a link to a peer.", LM_BUS_METRIC_KIND_COUNTER,
                               "peer", name, (double)peer->opened);
    }
}

static void report(lm_frontend_peers_t *room)
{
    const struct {
        const char *reason;
        uint64_t value;
    } refused[] = {
        {"undecodable", room->undecodable},    {"oversized", room->oversized},
        {"unknown_peer", room->unknown_peers}, {"wrong_cluster", room->wrong_cluster},
        {"wrong_region", room->wrong_region},  {"replaced", room->replaced},
    };
    lm_frontend_report_t *all = lm_arena_alloc(room->scratch, sizeof *all);
    all->arena = room->scratch;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        lm_frontend_report_add(all, "lockmgr_peer_links_refused_total",
                               "Links and messages of peers that were refused.",
                               LM_BUS_METRIC_KIND_COUNTER, "reason", lm_bytes_of(refused[i].reason),
                               (double)refused[i].value);
    report_links(room, all);
    lm_frontend_report_figures(all, &room->figures, LM_PEERS);
    lm_frontend_report_runtime(all, room->out, LM_PEERS);
    lm_frontend_report_send(all, room->listening ? "UP" : "UNKNOWN",
                            room->listening ? "" : "the ports are not open yet",
                            room->listening && !room->stopping, room->out);
}

static void on_wake(void *self, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    if (!room->config) return;
    if (now_us >= room->report_at_us) {
        room->report_at_us = now_us + REPORT_EVERY_US;
        report(room);
    }
    room->tick_at_us = now_us + TICK_US;
    if (!room->listening) return;
    lm_frontend_link_tick(room);
    lm_frontend_incoming_tick(room);
    lm_frontend_watchdog_tick(room, late_us);
}

static void on_turn_end(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    if (room->config) lm_outbox_wake(out, room->tick_at_us);
    lm_arena_reset(room->scratch);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_stop(void *self, uint64_t now_us, uint64_t grace_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    room->stopping = true;
    lm_frontend_incoming_end_all(room, LM_RC_DRAINING);
    for (size_t i = 0; i < room->n_peers; i++)
        if (room->peers[i].handle) room->driver->ops->cancel(room->driver, room->peers[i].handle);
    room->driver->ops->shut(room->driver, grace_us / 4);
}

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, STATE_NEW},
    {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
    {LM_MSG_RAFT_IDENTITY, on_raft_identity, STATE_OPENING | STATE_SERVING},
    {LM_MSG_PEER_SEND, lm_frontend_link_on_send, STATE_SERVING},
    {LM_MSG_REGION_HELLO_OUT, lm_frontend_region_on_out, STATE_SERVING},
    {LM_MSG_REGION_HELLO_ANSWER, lm_frontend_region_on_answer, STATE_OPENING | STATE_SERVING},
};

const lm_room_t lm_frontend_peers_room = {
    .self = LM_PEERS,
    .binds = false,
    .connects = 1U << LM_RAFT | 1U << LM_GATEWAY,
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

lm_frontend_peers_t *lm_frontend_peers_new(uint32_t counter, uint64_t seed)
{
    lm_frontend_peers_t *room = lm_alloc(sizeof *room);
    room->counter = counter;
    room->seed = seed;
    room->scratch = lm_arena_new();
    room->texts = lm_arena_new();
    room->identity_texts = lm_arena_new();
    return room;
}

void lm_frontend_peers_set_driver(lm_frontend_peers_t *room, lm_frontend_driver_t *driver)
{
    room->driver = driver;
}

void lm_frontend_peers_destroy(lm_frontend_peers_t **self)
{
    lm_frontend_peers_t *room = *self;
    if (!room) return;
    lm_frontend_incoming_t *incoming, *next_incoming;
    DL_FOREACH_SAFE(room->incoming, incoming, next_incoming) free(incoming);
    lm_frontend_hello_t *hello, *next_hello;
    DL_FOREACH_SAFE(room->hellos, hello, next_hello) free(hello);
    lm_frontend_greeting_t *greeting, *next_greeting;
    HASH_ITER(hh, room->greetings, greeting, next_greeting)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
        HASH_DEL(room->greetings, greeting);
        free(greeting);
    }
    lm_arena_destroy(&room->scratch);
    lm_arena_destroy(&room->texts);
    lm_arena_destroy(&room->identity_texts);
    free(room);
    *self = NULL;
}
