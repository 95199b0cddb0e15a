/* The peers room: its table of messages, what comes from the driver, and its clock. */
#include "frontend_peers.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base_check.h"
#include "base_log.h"
#include "frontend_peers_state.h"

enum {
    TICK_US = 50000,
    SETTLED_TICK_US = 500000, /* nothing is about to begin or to be given up */
    REPORT_EVERY_US = 1000000,
};

static uint32_t state(const void *self)
{
    const lm_frontend_peers_t *room = self;
    return lm_frontend_frame_state(&room->frame);
}

static lm_frontend_peers_t *enter(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = self;
    room->frame.now_us = now_us;
    room->frame.out = out;
    return room;
}

lm_frontend_peer_t *lm_frontend_peers_find(lm_frontend_peers_t *room, lm_bytes_t name)
{
    for (size_t i = 0; i < room->n_peers; i++)
        if (lm_bytes_equal(room->peers[i].config->name, name)) return &room->peers[i];
    return NULL;
}

void lm_frontend_peers_refused(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                               lm_bytes_t name, lm_rc_t why)
{
    char reason[32];
    snprintf(reason, sizeof reason, "%s", lm_rc_name(why));
    for (char *c = reason; *c; c++) *c = (char)tolower((unsigned char)*c);
    lm_frontend_audit_line_t line = {
        .reason = reason,
        .identity = handle->party ? handle->party->identity : lm_bytes(NULL, 0),
        .name = name};
    lm_frontend_audit_refused(&room->frame.audit, room->frame.driver, handle, &line,
                              room->frame.now_us);
}

static void report(lm_frontend_peers_t *room);

/* ---- messages -------------------------------------------------------------------------------- */

static void on_start(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message->now_us, out);
    lm_frontend_frame_start(&room->frame, message->body, LM_PEERS);
    room->peers =
        lm_arena_alloc(room->frame.texts, (room->frame.config->n_peers + 1) * sizeof *room->peers);
    for (size_t i = 0; i < room->frame.config->n_peers; i++) {
        const lm_bus_peer_config_t *config = &room->frame.config->peers[i];
        if (!lm_bytes_equal(config->name, room->frame.config->node))
            room->peers[room->n_peers++].config = config;
    }
    lm_frontend_watchdog_start(room);
    room->tick_at_us = room->report_at_us = room->frame.now_us;
}

static void on_raft_identity(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message->now_us, out);
    lm_bytes_t bytes =
        lm_wire_encode(&lm_bus_raft_identity_type, message->body, room->frame.scratch);
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
    if (peer == LM_HEALTH && room->frame.config) report(room);
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
    lm_frontend_frame_listening(&room->frame);
    report(room);
}

static void on_peer_keys(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_tls_keys_t *all = (lm_tls_keys_t *)(void *)event->payload;
    lm_frontend_keys_set(room->frame.keys, all);
    lm_tls_keys_clear(all);
}

/* Its nonces come from a number that is drawn here and never sent. */
static void on_region_keys(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    uint8_t seed[LM_NONCE_BYTES];
    lm_frontend_keys_nonce(room->frame.keys, seed);
    lm_frontend_keys_destroy(&room->region_keys);
    room->region_keys = lm_frontend_keys_new(seed);
    explicit_bzero(seed, sizeof seed);
    lm_tls_keys_t *all = (lm_tls_keys_t *)(void *)event->payload;
    lm_frontend_keys_set(room->region_keys, all);
    lm_tls_keys_clear(all);
}

static void on_called(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    room->frame.driver->ops->consumed(room->frame.driver, event->handle, 0);
    lm_frontend_region_called(room, event);
}

static void on_opened(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
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
    if (lm_frontend_watchdog_answered(room, event)) return;
    if (event->handle->method->stream)
        lm_frontend_link_over(room, event);
    else
        lm_frontend_region_answered(room, event);
}

typedef void on_event_t(lm_frontend_peers_t *room, lm_frontend_event_t *event);
static on_event_t *const events[] = {
    [LM_FRONTEND_PEER_KEYS] = on_peer_keys,     [LM_FRONTEND_REGION_KEYS] = on_region_keys,
    [LM_FRONTEND_LISTENING] = on_listening,     [LM_FRONTEND_CALLED] = on_called,
    [LM_FRONTEND_OPENED] = on_opened,           [LM_FRONTEND_RECEIVED] = on_received,
    [LM_FRONTEND_HALF_CLOSED] = on_half_closed, [LM_FRONTEND_OVER] = on_over,
    [LM_FRONTEND_ANSWERED] = on_answered,

};

static void on_inlet(void *self, void *item, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    lm_frontend_event_t *event = item;
    if (event->kind == LM_FRONTEND_NOT_BOUND) lm_error("%s", event->text); /* both rooms hear it */
    if (!lm_frontend_frame_ends(&room->frame, event, "clients")) events[event->kind](room, event);
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
        {"unauthenticated", room->unproven},
    };
    lm_frontend_report_t *all = lm_arena_alloc(room->frame.scratch, sizeof *all);
    all->arena = room->frame.scratch;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        lm_frontend_report_add(all, "lockmgr_peer_links_refused_total",
                               "Links and messages of peers that were refused.",
                               LM_BUS_METRIC_KIND_COUNTER, "reason", lm_bytes_of(refused[i].reason),
                               (double)refused[i].value);
    report_links(room, all);
    lm_frontend_report_figures(all, room->frame.driver->ops->figures(room->frame.driver), LM_PEERS);
    lm_frontend_report_send(all, room->frame.listening ? "UP" : "UNKNOWN",
                            room->frame.listening ? "" : "the ports are not open yet",
                            room->frame.listening && !room->frame.stopping, room->frame.out);
}

static void on_wake(void *self, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    if (!room->frame.config) return;
    if (now_us >= room->report_at_us) {
        room->report_at_us = now_us + REPORT_EVERY_US;
        report(room);
        lm_frontend_audit_tick(&room->frame.audit, now_us);
    }
    room->tick_at_us = now_us + SETTLED_TICK_US;
    if (!room->frame.listening) return;
    lm_frontend_link_tick(room);
    lm_frontend_incoming_tick(room);
    lm_frontend_watchdog_tick(room, late_us);
}

static bool is_settled(const lm_frontend_peers_t *room)
{
    return room->frame.listening && lm_frontend_link_is_settled(room) &&
           lm_frontend_incoming_is_settled(room);
}

/* After every turn, since any of them may have unsettled it. */
static void wake_for_tick(lm_frontend_peers_t *room)
{
    uint64_t soon_us = room->frame.now_us + TICK_US;
    if (room->tick_at_us > soon_us && !is_settled(room)) room->tick_at_us = soon_us;
    lm_outbox_wake(room->frame.out, room->tick_at_us);
}

static void on_turn_end(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    if (room->frame.config) wake_for_tick(room);
    lm_arena_reset(room->frame.scratch);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_stop(void *self, uint64_t now_us, uint64_t grace_us, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, now_us, out);
    room->frame.stopping = true;
    lm_frontend_incoming_end_all(room, LM_RC_DRAINING);
    for (size_t i = 0; i < room->n_peers; i++)
        if (room->peers[i].handle)
            room->frame.driver->ops->cancel(room->frame.driver, room->peers[i].handle);
    room->frame.driver->ops->shut(room->frame.driver, grace_us / 4);
}

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, LM_FRONTEND_NEW},
    {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
    {LM_MSG_RAFT_IDENTITY, on_raft_identity, LM_FRONTEND_OPENING | LM_FRONTEND_SERVING},
    {LM_MSG_PEER_SEND, lm_frontend_link_on_send, LM_FRONTEND_SERVING},
    {LM_MSG_REGION_HELLO_OUT, lm_frontend_region_on_out, LM_FRONTEND_SERVING},
    {LM_MSG_REGION_HELLO_ANSWER, lm_frontend_region_on_answer,
     LM_FRONTEND_OPENING | LM_FRONTEND_SERVING},
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
    lm_frontend_frame_init(&room->frame);
    room->identity_texts = lm_arena_new();
    return room;
}

void lm_frontend_peers_set_driver(lm_frontend_peers_t *room, lm_frontend_driver_t *driver)
{
    room->frame.driver = driver;
}

void lm_frontend_peers_set_keys(lm_frontend_peers_t *room, lm_frontend_keys_t *keys)
{
    room->frame.keys = keys;
}

void lm_frontend_peers_destroy(lm_frontend_peers_t **self)
{
    lm_frontend_peers_t *room = *self;
    if (!room) return;
    lm_frontend_incoming_t *incoming, *next_incoming;
    DL_FOREACH_SAFE(room->incoming, incoming, next_incoming) free(incoming);
    lm_frontend_hello_t *hello, *next_hello;
    DL_FOREACH_SAFE(room->hellos, hello, next_hello) lm_frontend_region_free(hello);
    lm_frontend_greeting_t *greeting, *next_greeting;
    HASH_ITER(hh, room->greetings, greeting, next_greeting)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
        HASH_DEL(room->greetings, greeting);
        free(greeting);
    }
    lm_frontend_frame_clear(&room->frame);
    lm_arena_destroy(&room->identity_texts);
    lm_frontend_keys_destroy(&room->region_keys);
    lm_frontend_challenges_destroy(&room->challenges);
    free(room);
    *self = NULL;
}
