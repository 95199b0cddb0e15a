/* The room itself: its rows, its clock, and who is up. */
#include "lock_room.h"

#include <stdlib.h>

#include "base_check.h"
#include "lock_state.h"

enum { STATE_NEW = 1, STATE_RUNNING = 2, STATE_ENDED = 4 };

static uint32_t state_of(const void *self)
{
    const lm_lock_room_t *room = self;
    if (room->unreadable) return STATE_ENDED;
    return room->started ? STATE_RUNNING : STATE_NEW;
}

static void enter(lm_lock_room_t *room, uint64_t now_us, lm_outbox_t *out)
{
    room->now_us = now_us;
    room->out = out;
}

const void *lm_lock_room_keep(lm_lock_room_t *room, const lm_wire_type_t *type, const void *body,
                              lm_arena_t *arena)
{
    lm_bytes_t bytes = lm_wire_encode(type, body, room->scratch);
    lm_arena_reset(arena);
    void *kept = NULL;
    lm_rc_t rc = lm_wire_decode(type, lm_arena_copy(arena, bytes), arena, &kept, NULL);
    LM_CHECK(rc == LM_RC_OK, "%s cannot be kept: %s", lm_wire_name(type), lm_rc_name(rc));
    return kept;
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void on_tick(void *self, lm_lock_timer_t *timer)
{
    lm_lock_room_t *room = self;
    lm_lock_timer_set(&room->timers, timer, room->now_us + LM_LOCK_TICK_US, on_tick);
    lm_lock_deliver_credit(room, true);
    lm_lock_deliver_tell_cluster(room);
    lm_lock_status_report(room);
    room->state_changed = true;
}

/* Renewals that waited while this process stood still are in the queue or on their way by now, and
 * keep their leases from ending (S9): the host reads the inbox empty before it wakes late. */
static void on_wake(void *self, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    (void)late_us;
    lm_lock_room_t *room = self;
    enter(room, now_us, out);
    lm_lock_timer_run(&room->timers, now_us, LM_LOCK_TIMERS_PER_WAKE_MAX, room);
    lm_lock_lease_run(room);
    lm_lock_session_run(room);
}

static void on_turn_end(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_lock_room_t *room = self;
    enter(room, now_us, out);
    lm_lock_walk_step(room);
    lm_lock_session_step(room);
    lm_lock_propose_flush(room);
    lm_lock_read_flush(room);
    lm_lock_snapshot_step(room);
    if (room->state_changed) lm_lock_deliver_state(room);
    lm_outbox_wake(out, lm_lock_timer_next(&room->timers));
    lm_outbox_wake(out, lm_lock_heap_next(&room->lease_clock));
    lm_outbox_wake(out, lm_lock_heap_next(&room->session_clock));
    lm_arena_reset(room->scratch);
}

/* ---- what others are ------------------------------------------------------------------------- */

static void on_start(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    room->config = lm_lock_room_keep(room, &lm_bus_node_config_type, message->body, room->texts);
    room->started = true;
    lm_lock_deliver_attach(room);
    lm_lock_timer_set(&room->timers, &room->tick, room->now_us, on_tick);
    lm_outbox_ready(out);
}

static void on_node_mode(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_node_mode_t *body = message->body;
    room->draining = body->mode == LM_BUS_NODE_MODE_MODE_DRAINING;
    room->state_changed = true;
}

static void on_peer_up(void *self, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    lm_lock_room_t *room = self;
    enter(room, now_us, out);
    if (peer == LM_RAFT) {
        lm_lock_deliver_detach(room);
        lm_lock_deliver_attach(room);
    } else if (peer == LM_CLIENTS) {
        lm_lock_calls_drop_older(room, generation);
    } else if (peer == LM_GATEWAY) {
        lm_lock_deliver_tell_cluster(room);
    } else if (peer == LM_HEALTH && room->started) {
        lm_lock_status_report(room);
    }
}

static void on_call_failed(void *self, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    lm_lock_room_t *room = self;
    enter(room, now_us, out);
    if (number == LM_MSG_PROPOSE)
        lm_lock_propose_call_failed(room, correlation, why);
    else if (number == LM_MSG_READ_INDEX)
        lm_lock_read_call_failed(room, correlation);
    else if (number == LM_MSG_SNAPSHOT_PART)
        lm_lock_snapshot_call_failed(room, correlation, why);
    else if (number == LM_MSG_IMAGE_READ)
        lm_lock_restore_call_failed(room, correlation, why);
    else
        lm_lock_deliver_call_failed(room, correlation);
}

/* ---- the definition -------------------------------------------------------------------------- */

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, STATE_NEW},
    {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
    {LM_MSG_ATTACHED, lm_lock_deliver_on_attached, STATE_RUNNING},
    {LM_MSG_ATTACH_AGAIN, lm_lock_deliver_on_again, STATE_RUNNING},
    {LM_MSG_IMAGE_DATA, lm_lock_restore_on_data, STATE_RUNNING},
    {LM_MSG_SNAPSHOT_TAKE, lm_lock_snapshot_on_take, STATE_RUNNING},
    {LM_MSG_SNAPSHOT_PART_DONE, lm_lock_snapshot_on_part_done, STATE_RUNNING},
    {LM_MSG_SNAPSHOT_DROP, lm_lock_snapshot_on_drop, STATE_RUNNING},
    {LM_MSG_RAFT_ROLE, lm_lock_lead_on_role, STATE_RUNNING},
    {LM_MSG_COMMITTED, lm_lock_deliver_on_committed, STATE_RUNNING},
    {LM_MSG_PROPOSED, lm_lock_propose_on_proposed, STATE_RUNNING},
    {LM_MSG_READ_INDEX_DONE, lm_lock_read_on_done, STATE_RUNNING},
    {LM_MSG_REGION_TABLE, lm_lock_status_on_regions, STATE_RUNNING},
    {LM_MSG_LOCK_CALL, lm_lock_calls_on_lock_call, STATE_RUNNING},
    {LM_MSG_LISTENER_GONE, lm_lock_calls_on_listener_gone, STATE_RUNNING},
    {LM_MSG_ANSWER_UNDELIVERED, lm_lock_told_on_undelivered, STATE_RUNNING},
    {LM_MSG_STATUS_QUERY, lm_lock_status_on_query, STATE_RUNNING},
};

const lm_room_t *lm_lock_room_definition(void)
{
    static const lm_room_t definition = {
        .self = LM_LOCK,
        .binds = true,
        .connects = 1u << LM_RAFT,
        .rows = rows,
        .n_rows = sizeof rows / sizeof *rows,
        .state = state_of,
        .on_wake = on_wake,
        .on_turn_end = on_turn_end,
        .on_peer_up = on_peer_up,
        .on_call_failed = on_call_failed,
    };
    return &definition;
}

lm_lock_room_t *lm_lock_room_new(lm_generation_t generation, lm_lock_draw_t draw, void *arg)
{
    lm_lock_room_t *room = lm_alloc(sizeof *room);
    memset(room, 0, sizeof *room);
    room->generation = generation;
    room->draw = draw;
    room->draw_arg = arg;
    room->scratch = lm_arena_new();
    room->texts = lm_arena_new();
    room->role_texts = lm_arena_new();
    room->cluster_texts = lm_arena_new();
    room->region_texts = lm_arena_new();
    room->role = LM_API_RAFT_ROLE_AWAY;
    room->table = lm_table_new(0);
    room->piece_bytes_max = LM_LOCK_SNAPSHOT_PIECE_BYTES;
    room->crowd_min = LM_LOCK_CROWD_MIN;
    TAILQ_INIT(&room->queue);
    TAILQ_INIT(&room->all_parties);
    TAILQ_INIT(&room->all_tolds);
    TAILQ_INIT(&room->all);
    TAILQ_INIT(&room->early);
    TAILQ_INIT(&room->reads);
    return room;
}

void lm_lock_room_destroy(lm_lock_room_t **self)
{
    lm_lock_room_t *room = *self;
    if (!room) return;
    room->out = NULL;
    lm_lock_call_t *call;
    while ((call = TAILQ_FIRST(&room->all))) lm_lock_calls_free(room, call);
    lm_lock_propose_forget_all(room);
    lm_lock_read_forget_all(room);
    lm_lock_party_forget_all(room);
    lm_lock_told_forget_all(room);
    lm_lock_lease_forget_all(room);
    lm_lock_session_forget_all(room);
    lm_lock_map_clear(&room->calls);
    lm_lock_map_clear(&room->parties);
    lm_lock_timer_clear(&room->timers);
    lm_lock_restore_end(room);
    lm_lock_queues_forget(room);
    lm_image_drop(room->table);
    lm_table_destroy(&room->table);
    lm_arena_destroy(&room->scratch);
    lm_arena_destroy(&room->texts);
    lm_arena_destroy(&room->role_texts);
    lm_arena_destroy(&room->cluster_texts);
    lm_arena_destroy(&room->region_texts);
    free(room);
    *self = NULL;
}

/* ---- for tests ------------------------------------------------------------------------------- */

const lm_table_t *lm_lock_room_table(const lm_lock_room_t *room) { return room->table; }

bool lm_lock_room_serves(const lm_lock_room_t *room) { return room->serving; }

bool lm_lock_room_gathers(const lm_lock_room_t *room) { return room->gather_until_us != 0; }

bool lm_lock_room_is_taking_snapshot(const lm_lock_room_t *room)
{
    return room->snapshot.mark.index != 0;
}

void lm_lock_room_set_piece(lm_lock_room_t *room, size_t bytes_max)
{
    room->piece_bytes_max = bytes_max;
}

void lm_lock_room_set_crowd(lm_lock_room_t *room, size_t n) { room->crowd_min = n; }

bool lm_lock_room_is_restoring(const lm_lock_room_t *room) { return lm_lock_restore_is_on(room); }

size_t lm_lock_room_calls(const lm_lock_room_t *room) { return room->calls.n; }

size_t lm_lock_room_commands(const lm_lock_room_t *room)
{
    size_t n = room->n_queue;
    for (size_t i = 0; i < room->n_flight; i++) {
        const lm_lock_proposal_t *proposal;
        TAILQ_FOREACH(proposal, &room->flight[i]->proposals, in_list)
        n++;
    }
    return n;
}
