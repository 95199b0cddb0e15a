#include "health_room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_status.h"
#include "base_arena.h"
#include "base_log.h"
#include "health_figures.h"

enum {
    TICK_US = 1000000,
    STUCK_US = 10000000,
    LATE_US = 200000,
    LOOK_US = 5000000,
};

enum { STATE_NEW = 1, STATE_RUNNING = 2 };

/* A message that is kept: its arena is emptied when the next one comes. */
typedef struct {
    lm_arena_t *arena;
    void *message;
} kept_t;

struct health {
    uint32_t state;
    kept_t config, role, children, reports[LM_PARTICIPANTS];
    health_voice_t voices[LM_PARTICIPANTS];
    bool leader_seen;
    int32_t mode;
    lm_arena_t *scratch;
    uint64_t now_us;
    lm_exit_t (*start)(void *arg, const lm_bus_node_config_t *config);
    void (*tick)(void *arg);
    health_look_t look;
    health_dump_t dump;
    void *dump_arg;
    health_system_t system;
    uint64_t look_at_us;
    uint64_t strangers; /* requests without the token that is asked for */
    void *start_arg, *tick_arg;
};

/** Keeps a copy of a body that outlives the turn. */
static const void *keep(kept_t *kept, const lm_wire_type_t *type, const void *body,
                        lm_arena_t *scratch)
{
    if (!kept->arena) kept->arena = lm_arena_new();
    lm_arena_reset(kept->arena);
    lm_bytes_t bytes = lm_wire_encode(type, body, scratch);
    lm_rc_t rc = lm_wire_decode(type, bytes, kept->arena, &kept->message, NULL);
    return rc == LM_RC_OK ? kept->message : NULL;
}

static void on_start(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    health_t *h = room;
    keep(&h->config, &lm_bus_node_config_type, m->body, m->scratch);
    h->state = STATE_RUNNING;
    h->now_us = m->now_us;
    lm_exit_t code = h->start ? h->start(h->start_arg, h->config.message) : LM_EXIT_OK;
    if (code != LM_EXIT_OK) {
        lm_outbox_exit(out, code, "the actuator port cannot be opened");
        return;
    }
    lm_outbox_wake(out, m->now_us); /* or its own figures would be missing for a tick */
    lm_outbox_ready(out);
}

static void on_status_report(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    health_t *h = room;
    lm_participant_t from = m->from.participant;
    (void)out;
    h->voices[from].report =
        keep(&h->reports[from], &lm_bus_status_report_type, m->body, m->scratch);
    h->voices[from].heard_us = m->now_us;
}

static void on_raft_role(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    health_t *h = room;
    (void)out;
    const lm_bus_raft_role_event_t *role =
        keep(&h->role, &lm_bus_raft_role_event_type, m->body, m->scratch);
    h->leader_seen = h->leader_seen || (role && role->leader.size > 0);
}

static void on_node_mode(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    (void)out;
    ((health_t *)room)->mode = ((const lm_bus_node_mode_t *)m->body)->mode;
}

static void on_child_table(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    health_t *h = room;
    (void)out;
    keep(&h->children, &lm_bus_child_table_type, m->body, m->scratch);
}

/* This actor is the one that nobody else can ask: it notes its own report like one that came. */
static void note_self(health_t *h, const lm_outbox_t *out)
{
    lm_bus_metric_t metrics[HEALTH_FIGURES_MAX];
    lm_arena_reset(h->scratch);
    const lm_bus_status_report_t bare = {.state = lm_bytes_of("UP"),
                                         .ready = true,
                                         .n_metrics = health_figures_fill(h, metrics, h->scratch),
                                         .metrics = metrics};
    lm_bus_status_report_t report = lm_status_with_counters(out, &bare, h->scratch);
    h->voices[LM_HEALTH].report =
        keep(&h->reports[LM_HEALTH], &lm_bus_status_report_type, &report, h->scratch);
    h->voices[LM_HEALTH].heard_us = h->now_us;
}

static void on_wake(void *room, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    health_t *h = room;
    if (h->state != STATE_RUNNING) return;
    h->now_us = now_us;
    if (late_us > LATE_US) /* it was this room that slept: nobody else's silence counts */
        for (size_t i = 0; i < LM_PARTICIPANTS; i++) h->voices[i].heard_us = now_us;
    if (h->look && now_us >= h->look_at_us && h->children.message) {
        h->look_at_us = now_us + LOOK_US;
        h->look(h->tick_arg, h->children.message, &h->system);
    }
    note_self(h, out);
    if (h->tick) h->tick(h->tick_arg);
    lm_outbox_wake(out, now_us + TICK_US);
}

static uint32_t state_of(const void *room) { return ((const health_t *)room)->state; }

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, STATE_NEW},
    {LM_MSG_STATUS_REPORT, on_status_report, LM_ANY_STATE},
    {LM_MSG_RAFT_ROLE, on_raft_role, LM_ANY_STATE},
    {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
    {LM_MSG_CHILD_TABLE, on_child_table, LM_ANY_STATE},
};

const lm_room_t *health_room_definition(void)
{
    static const lm_room_t definition = {
        .self = LM_HEALTH,
        .binds = true,
        .rows = rows,
        .n_rows = sizeof rows / sizeof *rows,
        .state = state_of,
        .on_wake = on_wake,
    };
    return &definition;
}

health_t *health_room_new(void)
{
    health_t *h = lm_alloc(sizeof *h);
    h->state = STATE_NEW;
    h->scratch = lm_arena_new();
    h->mode = LM_BUS_NODE_MODE_MODE_STARTING;
    return h;
}

void health_room_destroy(health_t **health)
{
    health_t *h = *health;
    if (!h) return;
    lm_arena_destroy(&h->scratch);
    lm_arena_destroy(&h->config.arena);
    lm_arena_destroy(&h->role.arena);
    lm_arena_destroy(&h->children.arena);
    for (size_t i = 0; i < LM_PARTICIPANTS; i++) lm_arena_destroy(&h->reports[i].arena);
    free(h);
    *health = NULL;
}

void health_room_on_start(health_t *h, lm_exit_t (*start)(void *, const lm_bus_node_config_t *),
                          void *arg)
{
    h->start = start;
    h->start_arg = arg;
}

void health_room_on_tick(health_t *h, void (*tick)(void *), health_look_t look, void *arg)
{
    h->tick = tick;
    h->look = look;
    h->tick_arg = arg;
}

void health_room_on_dump(health_t *h, health_dump_t dump, void *arg)
{
    h->dump = dump;
    h->dump_arg = arg;
}

/* ---- what follows ---------------------------------------------------------------------------- */

const lm_bus_node_config_t *health_config(const health_t *h) { return h->config.message; }

const health_voice_t *health_voice(const health_t *h, lm_participant_t participant)
{
    return &h->voices[participant];
}

const lm_bus_raft_role_event_t *health_role(const health_t *h) { return h->role.message; }

const lm_bus_child_table_t *health_children(const health_t *h) { return h->children.message; }

const health_threads_t *health_threads(const health_t *h)
{
    return h->dump && h->children.message ? h->dump(h->dump_arg, h->children.message) : NULL;
}

const health_system_t *health_system(const health_t *h) { return &h->system; }

void health_note_stranger(health_t *h) { h->strangers++; }

uint64_t health_strangers(const health_t *h) { return h->strangers; }

health_status_t health_disk(const health_t *h)
{
    if (!h->system.has_disk) return HEALTH_UNKNOWN;
    return h->system.disk_free_bytes < HEALTH_DISK_THRESHOLD ? HEALTH_DOWN : HEALTH_UP;
}

static const char *const status_names[] = {"DOWN", "OUT_OF_SERVICE", "UP", "UNKNOWN"};

const char *health_status_name(health_status_t status) { return status_names[status]; }

health_status_t health_worse(health_status_t a, health_status_t b) { return a < b ? a : b; }

unsigned health_http_code(health_status_t status)
{
    return status <= HEALTH_OUT_OF_SERVICE ? 503 : 200;
}

health_status_t health_component(const health_t *h, lm_participant_t participant)
{
    const lm_bus_status_report_t *report = h->voices[participant].report;
    if (!report) return HEALTH_UNKNOWN;
    for (int i = HEALTH_DOWN; i <= HEALTH_UNKNOWN; i++)
        if (lm_bytes_equal(report->state, lm_bytes_of(status_names[i]))) return (health_status_t)i;
    return HEALTH_UNKNOWN;
}

static bool is_stuck(const health_t *h, lm_participant_t participant)
{
    const health_voice_t *voice = &h->voices[participant];
    return voice->report && h->now_us > voice->heard_us + STUCK_US;
}

health_status_t health_liveness(const health_t *h, const char **reason)
{
    *reason = NULL;
    if (health_component(h, LM_RAFT) == HEALTH_DOWN)
        *reason = "the disk of the log fails";
    else if (is_stuck(h, LM_RAFT))
        *reason = "raft has said nothing for more than 10 s";
    else if (is_stuck(h, LM_LOCK))
        *reason = "lock has said nothing for more than 10 s";
    return *reason ? HEALTH_DOWN : HEALTH_UP;
}

health_status_t health_readiness(const health_t *h, const char **reason)
{
    const lm_bus_status_report_t *lock = h->voices[LM_LOCK].report;
    *reason = NULL;
    if (h->mode == LM_BUS_NODE_MODE_MODE_DRAINING)
        *reason = "the node is about to stop";
    else if (!h->leader_seen)
        *reason = "no leader has been seen yet";
    else if (!lock || !lock->ready)
        *reason = "the locks are not up to date yet";
    return *reason ? HEALTH_OUT_OF_SERVICE : HEALTH_UP;
}
