/* The room's table, its life, and what is done at the end of each turn.
 *
 * Invariants
 *   R1  Whatever came in a turn, its consequences are worked out once, in settle(), in an order
 *       in which nobody hears of a role before what hangs on it has been settled.
 *   R2  A fault of the disk or of the engine ends the actor with its last words; nothing is
 *       retried. */
#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "base_log.h"
#include "raft_state.h"

lm_raft_room_t *lm_raft_room_new(lm_raft_random_t *random, void *random_arg)
{
    lm_raft_room_t *room = lm_alloc(sizeof *room);
    room->phase = LM_RAFT_NEW;
    room->random = random;
    room->random_arg = random_arg;
    room->scratch = lm_arena_new();
    room->last_read = &room->reads;
    room->piece_bytes = LM_RAFT_IMAGE_PIECE_BYTES;
    return room;
}

void lm_raft_room_destroy(lm_raft_room_t **room)
{
    lm_raft_room_t *self = *room;
    if (!self) return;
    lm_raft_reads_free(self);
    lm_raft_done_destroy(&self->loaded);
    lm_raft_engine_destroy(&self->engine);
    lm_arena_destroy(&self->scratch);
    free(self);
    *room = NULL;
}

void lm_raft_room_set_disk(lm_raft_room_t *room, lm_raft_disk_t *disk) { room->disk = disk; }

void lm_raft_room_set_writes(lm_raft_room_t *room,
                             const lm_histogram_t *(*writes)(const lm_raft_disk_t *))
{
    room->writes = writes;
}

void lm_raft_room_set_small(lm_raft_room_t *room, size_t piece_bytes, bool small_bounds)
{
    room->piece_bytes = piece_bytes;
    room->small_bounds = small_bounds;
}

void lm_raft_room_fail(lm_raft_room_t *room, const lm_raft_fault_t *fault)
{
    if (room->phase == LM_RAFT_ENDED) return;
    room->phase = LM_RAFT_ENDED;
    lm_raft_report_settle(room);
    lm_outbox_exit(room->out, fault->code, fault->words);
}

static uint32_t state(const void *self) { return ((const lm_raft_room_t *)self)->phase; }

/* ---- START ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void refuse_config(lm_raft_room_t *room,
                                                                const char *format, ...)
{
    lm_raft_fault_t fault = {.code = LM_EXIT_CONFIG};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault.words, sizeof fault.words, format, arguments);
    va_end(arguments);
    lm_raft_room_fail(room, &fault);
}

static bool copy(char *into, size_t size, lm_bytes_t text)
{
    if (text.size >= size || text.size == 0) return false;
    memcpy(into, text.data, text.size);
    into[text.size] = 0;
    return true;
}

static bool take_node(lm_raft_room_t *room, const lm_bus_peer_config_t *config)
{
    lm_raft_node_t *node = &room->nodes[room->n_nodes++];
    *node = (lm_raft_node_t){.link_up = true};
    if (!copy(node->name, sizeof node->name, config->name)) return false;
    snprintf(node->address, sizeof node->address, "%.*s:%u", LM_BYTES_ARG(config->host),
             config->grpc_port);
    return room->n_nodes == 1 || strcmp(node[-1].name, node->name) < 0;
}

static uint64_t between(uint64_t low, uint64_t value, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void take_sizes(lm_raft_room_t *room, const lm_bus_node_config_t *config)
{
    uint64_t bytes = config->snapshot_bytes ? config->snapshot_bytes : LM_RAFT_SNAPSHOT_BYTES;
    /* Not all nodes at once. */
    room->snapshot_bytes = bytes + bytes * room->self / (2 * room->n_nodes);
    room->trailing_entries =
        config->trailing_entries ? config->trailing_entries : LM_RAFT_TRAILING_ENTRIES;
    room->fetch_bytes = between(room->small_bounds ? 0 : LM_RAFT_FETCH_BYTES_MIN,
                                LM_RAFT_FETCH_TIMES * bytes, LM_RAFT_FETCH_BYTES_MAX);
    room->undelivered_bytes_max =
        between(room->small_bounds ? 0 : LM_RAFT_UNDELIVERED_BYTES_MIN,
                LM_RAFT_UNDELIVERED_TIMES * bytes, LM_RAFT_UNDELIVERED_BYTES_MAX);
    room->log_bytes_max =
        between(LM_RAFT_LOG_BYTES_MIN, LM_RAFT_LOG_TIMES * bytes, LM_RAFT_LOG_BYTES_MAX);
}

static bool take_config(lm_raft_room_t *room, const lm_bus_node_config_t *config)
{
    if (config->n_peers == 0 || config->n_peers > LM_RAFT_SERVERS_MAX ||
        !copy(room->region, sizeof room->region, config->region) ||
        !copy(room->data_dir, sizeof room->data_dir, config->data_dir))
        return false;
    bool found = false;
    for (size_t i = 0; i < config->n_peers; i++) {
        if (!take_node(room, &config->peers[i])) return false;
        if (!lm_bytes_equal(config->peers[i].name, config->node)) continue;
        room->self = (uint32_t)i;
        found = true;
    }
    room->n_known = room->n_nodes;
    room->election_ms = config->election_timeout_ms;
    room->heartbeat_ms = config->heartbeat_interval_ms;
    take_sizes(room, config);
    return found && room->heartbeat_ms > 0 && room->heartbeat_ms < room->election_ms;
}

static void on_start(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    if (!take_config(room, message->body)) {
        refuse_config(room, "raft was given a configuration that contradicts itself");
        return;
    }
    room->phase = LM_RAFT_OPENING;
    room->disk->open(room->disk, room->data_dir, room->region, room->nodes[room->self].name);
}

static void on_node_mode(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_node_mode_t *body = message->body;
    room->draining = body->mode == LM_BUS_NODE_MODE_MODE_DRAINING;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void on_opened(lm_raft_room_t *room, const lm_raft_done_t *done)
{
    if (lm_raft_outside_part(room, &done->identity)) lm_raft_forming_begin(room, &done->identity);
}

static void on_inlet(void *self, void *item, uint64_t now_us, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, now_us, out);
    lm_raft_done_t *done = item;
    if (room->phase != LM_RAFT_ENDED) {
        switch (done->kind) {
        case LM_RAFT_DONE_OPENED: on_opened(room, done); break;
        case LM_RAFT_DONE_IDENTITY: lm_raft_forming_saved(room); break;
        case LM_RAFT_DONE_LOADED: lm_raft_forming_loaded(room, &done); break;
        case LM_RAFT_DONE_METADATA:
        case LM_RAFT_DONE_APPENDED: lm_raft_engine_done(room->engine, done, now_us); break;
        case LM_RAFT_DONE_IMAGE_BEGUN:
        case LM_RAFT_DONE_IMAGE_WRITTEN:
        case LM_RAFT_DONE_IMAGE_FINISHED:
        case LM_RAFT_DONE_IMAGE_BAD: lm_raft_image_reported(room, done); break;
        case LM_RAFT_DONE_IMAGE_DATA: lm_raft_image_was_read(room, done); break;
        case LM_RAFT_DONE_FAILED: lm_raft_room_fail(room, &done->fault); break;
        }
    }
    lm_raft_done_destroy(&done);
}

/* ---- the end of a turn ----------------------------------------------------------------------- */

static bool may_campaign(const lm_raft_room_t *room)
{
    bool fit = lm_raft_attach_is_fit(room) || LM_FAULT(CAMPAIGN_ALONE);
    return fit && !room->draining && !lm_raft_loss_is(room);
}

static void settle_engine(lm_raft_room_t *room)
{
    const lm_raft_fault_t *fault = lm_raft_engine_fault(room->engine);
    if (fault->code != LM_EXIT_OK) {
        lm_raft_room_fail(room, fault);
        return;
    }
    lm_raft_loss_settle(room);
    lm_raft_fetch_settle(room);
    if (room->phase == LM_RAFT_ENDED) return;
    lm_raft_attach_unpark(room);
    lm_raft_attach_watch(room);
    lm_raft_engine_may_campaign(room->engine, may_campaign(room));
    lm_raft_propose_settle(room);
    lm_raft_handover_settle(room);
    lm_raft_reads_settle(room);
    lm_raft_peers_tell_state(room);
}

/* The engine says when it needs a tick: a leader's for every heartbeat. What else is left to do is
 * to notice that this process stood still, for which a look in the time of two is enough. */
static uint64_t next_wake(const lm_raft_room_t *room)
{
    uint64_t next = room->now_us + 2 * room->heartbeat_ms * 1000ull;
    uint64_t engine = room->engine ? lm_raft_engine_wake_us(room->engine) : next;
    if (engine < room->now_us) engine = room->now_us;
    return engine < next ? engine : next;
}

/* What had been sent while this process stood still is handled before the late tick itself, so that
 * every turn looks whether it comes late. */
static void notice_lateness(lm_raft_room_t *room)
{
    bool late = room->wake_us != 0 && room->now_us > room->wake_us + LM_RAFT_LATE_US;
    if (!late) return;
    lm_raft_attach_late(room);
    room->wake_us = room->now_us;
}

static void settle(lm_raft_room_t *room)
{
    if (room->phase == LM_RAFT_NEW || room->phase == LM_RAFT_ENDED) return;
    notice_lateness(room);
    if (room->engine) settle_engine(room);
    if (room->phase == LM_RAFT_ENDED) return;
    lm_raft_report_settle(room);
    if (room->engine) lm_raft_attach_deliver(room);
    if (room->engine && room->phase != LM_RAFT_ENDED) lm_raft_snapshot_settle(room);
    if (room->phase == LM_RAFT_ENDED) return;
    room->wake_us = next_wake(room);
    lm_outbox_wake(room->out, room->wake_us);
}

static void on_turn_end(void *self, uint64_t now_us, lm_outbox_t *out)
{
    settle(lm_raft_room_enter(self, now_us, out));
}

static void on_wake(void *self, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, now_us, out);
    bool late = late_us > room->heartbeat_ms * 1000ull;
    if (late) room->figures.late_ticks++;
    lm_histogram_note(&room->figures.lateness, late_us);
    notice_lateness(room);
    if (room->phase >= LM_RAFT_FORMING && room->phase < LM_RAFT_RUNNING &&
        now_us >= room->forming_us + LM_RAFT_FORMING_US) {
        room->forming_us = now_us;
        lm_raft_bootstrap_tick(&room->forming);
        lm_raft_forming_serve(room);
    }
    if (room->engine) {
        lm_raft_attach_watch(room);
        lm_raft_engine_may_campaign(room->engine, may_campaign(room));
        lm_raft_engine_tick(room->engine, now_us, late);
    }
}

static void on_peer_up(void *self, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, now_us, out);
    if (peer == LM_LOCK && lm_generation_compare(generation, room->lock.generation) != 0)
        lm_raft_attach_gone(room);
    if (peer == LM_PEERS) lm_raft_peers_forget_epochs(room);
    if (room->phase < LM_RAFT_FORMING || room->phase == LM_RAFT_ENDED) return;
    if (peer == LM_PEERS) lm_raft_peers_tell_identity(room);
    if (peer == LM_HEALTH) lm_raft_report_status(room);
    if (peer == LM_LOCK || peer == LM_HEALTH) lm_raft_report_role(room, peer);
}

static void on_room_again(void *self, lm_participant_t peer, uint64_t now_us, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, now_us, out);
    if (peer == LM_LOCK) room->lock.blocked = false;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define FORMED (LM_RAFT_FORMING | LM_RAFT_LOADING | LM_RAFT_RUNNING)

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, LM_RAFT_NEW},
    {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
    {LM_MSG_DRAIN, lm_raft_handover_on_drain, LM_ANY_STATE},
    {LM_MSG_ATTACH, lm_raft_attach_on_attach, LM_RAFT_RUNNING},
    {LM_MSG_CREDIT, lm_raft_attach_on_credit, LM_RAFT_RUNNING},
    {LM_MSG_LOCK_STATE, lm_raft_attach_on_state, LM_RAFT_RUNNING},
    {LM_MSG_SNAPSHOT_PART, lm_raft_snapshot_on_part, LM_RAFT_RUNNING},
    {LM_MSG_SNAPSHOT_DROP, lm_raft_snapshot_on_drop, LM_RAFT_RUNNING},
    {LM_MSG_IMAGE_READ, lm_raft_image_on_read, LM_RAFT_RUNNING},
    {LM_MSG_PROPOSE, lm_raft_propose_on_propose, LM_RAFT_RUNNING},
    {LM_MSG_READ_INDEX, lm_raft_reads_on_read_index, LM_RAFT_RUNNING},
    {LM_MSG_PEER_RECEIVE, lm_raft_peers_on_receive, FORMED},
    {LM_MSG_PEER_LINK, lm_raft_peers_on_link, LM_RAFT_OPENING | FORMED},
};

const lm_room_t lm_raft_room = {
    .self = LM_RAFT,
    .binds = true,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .state = state,
    .on_wake = on_wake,
    .on_turn_end = on_turn_end,
    .on_peer_up = on_peer_up,
    .on_inlet = on_inlet,
    .on_room_again = on_room_again,
};
