#include "sup_room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_check.h"
#include "base_log.h"
#include "sup_node_config.h"
#include "wire_bus.h"

#define CHILD_TABLE_EVERY_US UINT64_C(1000000)
enum { ENDPOINT_MAX_BYTES = 160 };

/** What people see of a child; whatever differs from the last look is news to them. */
typedef struct {
    lm_restart_view_t view;
    uint32_t pid;
} look_t;

struct lm_sup_room {
    const lm_sup_hands_t *hands;
    lm_generation_t self;
    lm_restart_t *machine;
    lm_restart_wishes_t wishes;
    lm_sup_node_config_t node;
    char endpoints[LM_PARTICIPANTS][ENDPOINT_MAX_BYTES];
    bool heard[LM_PARTICIPANTS]; /* said hello since their last start */
    uint64_t drain_call;         /* correlation of the DRAIN that is out; 0: none */
    uint64_t table_at_us;
    look_t looks[LM_SUP_CHILDREN];
    lm_node_mode_t mode;
    bool shown;
};

/* ---- wishes ---- */

static lm_participant_t participant_of(const lm_restart_wish_t *wish)
{
    LM_CHECK(wish->room > LM_SUPERVISOR && wish->room < LM_PARTICIPANTS, "room %u", wish->room);
    return (lm_participant_t)wish->room;
}

static void do_spawn(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                     lm_outbox_t *out)
{
    (void)out;
    for (size_t i = 0; i < lm_sup_children[wish->child].n_rooms; i++)
        room->heard[lm_sup_children[wish->child].rooms[i]] = false;
    if (room->hands->spawn(room->hands->arg, wish->child, wish->counter)) return;
    lm_restart_spawn_failed(room->machine, wish->child, now_us, &room->wishes);
}

static void do_kill(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                    lm_outbox_t *out)
{
    (void)now_us, (void)out;
    room->hands->kill(room->hands->arg, wish->child, wish->why);
}

static void do_start(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                     lm_outbox_t *out)
{
    (void)now_us;
    lm_bus_node_config_t start = room->node.message;
    if (participant_of(wish) != LM_HEALTH) start.n_settings = 0;
    lm_outbox_send(out, participant_of(wish), LM_MSG_START, &start);
}

static void do_ping(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                    lm_outbox_t *out)
{
    (void)room, (void)now_us;
    lm_bus_ping_t ping = {.sequence = wish->sequence};
    lm_outbox_send(out, participant_of(wish), LM_MSG_PING, &ping);
}

static uint32_t counter_of(const lm_sup_room_t *room, uint32_t participant)
{
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) {
        for (size_t j = 0; j < lm_sup_children[i].n_rooms; j++) {
            if (lm_sup_children[i].rooms[j] == participant)
                return lm_restart_view(room->machine, i).counter;
        }
    }
    LM_CHECK(false, "participant %u has no child", participant);
    return 0;
}

static void do_peer_up(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                       lm_outbox_t *out)
{
    (void)now_us;
    lm_bus_generation_t generation = {.boot_id = room->self.boot_id,
                                      .counter = counter_of(room, wish->about)};
    lm_bus_peer_up_t up = {.participant = wish->about,
                           .generation = &generation,
                           .endpoint = lm_bytes_of(room->endpoints[wish->about])};
    lm_outbox_send(out, participant_of(wish), LM_MSG_PEER_UP, &up);
}

static void do_mode(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                    lm_outbox_t *out)
{
    (void)room, (void)now_us;
    lm_bus_node_mode_t mode = {.mode = (int32_t)wish->mode};
    lm_outbox_send(out, participant_of(wish), LM_MSG_NODE_MODE, &mode);
}

static void do_stop(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                    lm_outbox_t *out)
{
    (void)room, (void)now_us;
    lm_bus_stop_t stop = {.grace_ms = (uint32_t)(wish->grace_us / 1000)};
    lm_outbox_send(out, participant_of(wish), LM_MSG_STOP, &stop);
}

static void do_drain(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                     lm_outbox_t *out)
{
    lm_bus_drain_t drain = {.grace_ms = (uint32_t)(wish->grace_us / 1000)};
    if (room->drain_call) lm_outbox_forget(out, room->drain_call);
    room->drain_call =
        lm_outbox_call(out, participant_of(wish), LM_MSG_DRAIN, &drain, now_us + wish->grace_us, 0);
}

static void do_end(lm_sup_room_t *room, const lm_restart_wish_t *wish, uint64_t now_us,
                   lm_outbox_t *out)
{
    (void)room, (void)now_us;
    lm_outbox_exit(out, wish->code, wish->code ? "a child ended in a way no restart can heal" : "");
}

/** Does what the machine wishes; a spawn that fails may add to the wishes on the way. */
static void fulfil(lm_sup_room_t *room, uint64_t now_us, lm_outbox_t *out)
{
    static void (*const acts[])(lm_sup_room_t *, const lm_restart_wish_t *, uint64_t,
                                lm_outbox_t *) = {
        [LM_WISH_SPAWN] = do_spawn, [LM_WISH_KILL] = do_kill,       [LM_WISH_START] = do_start,
        [LM_WISH_PING] = do_ping,   [LM_WISH_PEER_UP] = do_peer_up, [LM_WISH_MODE] = do_mode,
        [LM_WISH_STOP] = do_stop,   [LM_WISH_DRAIN] = do_drain,     [LM_WISH_END] = do_end,
    };
    for (size_t i = 0; i < room->wishes.n; i++) {
        lm_restart_wish_t wish = room->wishes.items[i];
        acts[wish.kind](room, &wish, now_us, out);
    }
    room->wishes.n = 0;
}

/* ---- the bus ---- */

static bool is_mine(const lm_sup_room_t *room, const lm_message_t *message)
{
    return message->from.generation.boot_id == room->self.boot_id;
}

static void on_actor_hello(void *arg, const lm_message_t *message, lm_outbox_t *out)
{
    lm_sup_room_t *room = arg;
    if (!is_mine(room, message)) return;
    lm_participant_t who = message->from.participant;
    room->heard[who] = true;
    lm_restart_hello(room->machine, who, message->from.generation.counter, message->now_us,
                     &room->wishes);
    fulfil(room, message->now_us, out);
}

static void on_actor_ready(void *arg, const lm_message_t *message, lm_outbox_t *out)
{
    lm_sup_room_t *room = arg;
    const lm_bus_actor_ready_t *ready = message->body;
    if (!is_mine(room, message)) return;
    lm_participant_t who = message->from.participant;
    if (ready->endpoint.size >= ENDPOINT_MAX_BYTES) {
        lm_error("%s is ready at an endpoint of %zu bytes, which is too long",
                 lm_participant_name(who), ready->endpoint.size);
        return;
    }
    snprintf(room->endpoints[who], ENDPOINT_MAX_BYTES, "%.*s", LM_BYTES_ARG(ready->endpoint));
    lm_restart_ready(room->machine, who, message->from.generation.counter, message->now_us,
                     &room->wishes);
    fulfil(room, message->now_us, out);
}

static void on_pong(void *arg, const lm_message_t *message, lm_outbox_t *out)
{
    (void)out;
    lm_sup_room_t *room = arg;
    if (!is_mine(room, message)) return;
    lm_restart_pong(room->machine, message->from.participant, message->from.generation.counter,
                    message->now_us);
}

static void end_drain(lm_sup_room_t *room, bool done, uint64_t now_us, lm_outbox_t *out)
{
    room->drain_call = 0;
    lm_info(done ? "raft has drained" : "leadership was not handed over");
    lm_restart_drained(room->machine, now_us, &room->wishes);
    fulfil(room, now_us, out);
}

static void on_drained(void *arg, const lm_message_t *message, lm_outbox_t *out)
{
    lm_sup_room_t *room = arg;
    const lm_bus_drained_t *drained = message->body;
    if (message->from.correlation == room->drain_call)
        end_drain(room, drained->done, message->now_us, out);
}

static void on_call_failed(void *arg, lm_message_number_t number, uint64_t correlation, lm_rc_t why,
                           uint64_t now_us, lm_outbox_t *out)
{
    lm_sup_room_t *room = arg;
    if (number != LM_MSG_DRAIN || correlation != room->drain_call) return;
    lm_warn("raft did not answer the request to drain: %s", lm_rc_text(why));
    end_drain(room, false, now_us, out);
}

/* ---- news ---- */

lm_sup_news_t *lm_sup_news_new(lm_sup_news_kind_t kind, const lm_sup_death_t *death)
{
    LM_CHECK((kind == LM_SUP_DEATH) == (death != NULL), "news of kind %d", (int)kind);
    lm_sup_news_t *news = lm_alloc(sizeof *news);
    news->kind = kind;
    if (death) news->death = *death;
    return news;
}

static void on_begin(lm_sup_room_t *room, const lm_sup_news_t *news, uint64_t now_us)
{
    (void)news;
    lm_restart_begin(room->machine, now_us, &room->wishes);
}

static void on_death(lm_sup_room_t *room, const lm_sup_news_t *news, uint64_t now_us)
{
    const lm_sup_death_t *death = &news->death;
    lm_restart_exited(room->machine, death->child, death->code, death->signal, now_us,
                      &room->wishes);
    lm_restart_view_t view = lm_restart_view(room->machine, death->child);
    lm_sup_obituary_log(death, &view);
}

static void on_stop_asked(lm_sup_room_t *room, const lm_sup_news_t *news, uint64_t now_us)
{
    (void)news;
    lm_restart_stop(room->machine, now_us, &room->wishes);
}

static void on_inlet(void *arg, void *item, uint64_t now_us, lm_outbox_t *out)
{
    static void (*const handlers[])(lm_sup_room_t *, const lm_sup_news_t *, uint64_t) = {
        [LM_SUP_BEGIN] = on_begin, [LM_SUP_DEATH] = on_death, [LM_SUP_STOP] = on_stop_asked};
    lm_sup_room_t *room = arg;
    lm_sup_news_t *news = item;
    handlers[news->kind](room, news, now_us);
    fulfil(room, now_us, out);
    if (news->kind == LM_SUP_BEGIN) lm_outbox_wake(out, now_us + LM_RESTART_TICK_US);
    free(news);
}

static void on_wake(void *arg, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    (void)late_us; /* the machine counts by itself, so that it can be tested by itself */
    lm_sup_room_t *room = arg;
    bool blocking[LM_SUP_CHILDREN];
    if (room->hands->beat) room->hands->beat(room->hands->arg, now_us);
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++)
        blocking[i] = room->hands->is_blocking(room->hands->arg, i);
    lm_restart_tick(room->machine, blocking, now_us, &room->wishes);
    fulfil(room, now_us, out);
    lm_outbox_wake(out, now_us + LM_RESTART_TICK_US);
}

/* ---- showing ---- */

uint32_t lm_sup_room_pid(const lm_sup_room_t *room, size_t child)
{
    return room->hands->pid(room->hands->arg, child);
}

const lm_restart_t *lm_sup_room_machine(const lm_sup_room_t *room) { return room->machine; }

static bool looks_alike(const look_t *a, const look_t *b)
{
    return a->pid == b->pid && a->view.state == b->view.state &&
           a->view.counter == b->view.counter && a->view.since_us == b->view.since_us &&
           a->view.restarts == b->view.restarts && a->view.troubled == b->view.troubled;
}

/** Looks at everything people see; true if anything has changed since the last time. */
static bool look(lm_sup_room_t *room)
{
    lm_node_mode_t mode = lm_restart_mode(room->machine);
    bool changed = !room->shown || mode != room->mode;
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) {
        look_t now = {.view = lm_restart_view(room->machine, i), .pid = lm_sup_room_pid(room, i)};
        changed |= !looks_alike(&now, &room->looks[i]);
        room->looks[i] = now;
    }
    room->mode = mode;
    room->shown = true;
    return changed;
}

static void send_table(lm_sup_room_t *room, uint64_t now_us, lm_outbox_t *out)
{
    lm_bus_child_t rows[LM_SUP_CHILDREN], *children = rows;
    room->table_at_us = now_us + CHILD_TABLE_EVERY_US;
    if (!room->heard[LM_HEALTH]) return;
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++)
        rows[i] =
            (lm_bus_child_t){.name = lm_bytes_of(lm_sup_children[i].name),
                             .pid = room->looks[i].pid,
                             .state = lm_bytes_of(lm_child_state_name(room->looks[i].view.state)),
                             .restarts = room->looks[i].view.restarts,
                             .since_us = room->looks[i].view.since_us};
    lm_bus_child_table_t table = {.n_children = LM_SUP_CHILDREN, .children = children};
    lm_outbox_send(out, LM_HEALTH, LM_MSG_CHILD_TABLE, &table);
}

static void on_turn_end(void *arg, uint64_t now_us, lm_outbox_t *out)
{
    lm_sup_room_t *room = arg;
    bool changed = look(room);
    if (changed) room->hands->show(room->hands->arg, room, now_us);
    if (changed || now_us >= room->table_at_us) send_table(room, now_us, out);
}

/* ---- the room ---- */

static const lm_room_row_t rows[] = {
    {LM_MSG_ACTOR_HELLO, on_actor_hello, LM_ANY_STATE},
    {LM_MSG_ACTOR_READY, on_actor_ready, LM_ANY_STATE},
    {LM_MSG_PONG, on_pong, LM_ANY_STATE},
    {LM_MSG_DRAINED, on_drained, LM_ANY_STATE},
};

const lm_room_t lm_sup_room_definition = {
    .self = LM_SUPERVISOR,
    .binds = true,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .on_wake = on_wake,
    .on_turn_end = on_turn_end,
    .on_call_failed = on_call_failed,
    .on_inlet = on_inlet,
};

lm_sup_room_t *lm_sup_room_new(const lm_sup_config_t *config, const lm_sup_hands_t *hands,
                               lm_generation_t self, const uint32_t *counters)
{
    lm_sup_room_t *room = lm_alloc(sizeof *room);
    memset(room, 0, sizeof *room);
    room->hands = hands;
    room->self = self;
    room->machine = lm_restart_new(lm_sup_children, LM_SUP_CHILDREN, counters);
    lm_restart_stop_within(room->machine, config->stop_timeout_ms * UINT64_C(1000));
    lm_restart_stop_delay(room->machine, config->stop_delay_ms * UINT64_C(1000));
    if (hands->one_death_ends) lm_restart_one_death_ends(room->machine);
    lm_sup_node_config_fill(&room->node, config);
    return room;
}

void lm_sup_room_destroy(lm_sup_room_t **room)
{
    if (!*room) return;
    lm_restart_destroy(&(*room)->machine);
    free(*room);
    *room = NULL;
}
