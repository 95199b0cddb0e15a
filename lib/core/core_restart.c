#include "core_restart.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"
#include "base_fault.h"

typedef struct {
    bool helloed;
    bool ready;
    uint64_t heard_us; /* last sign of life */
} room_t;

typedef struct {
    const lm_restart_spec_t *spec;
    lm_child_state_t state;
    room_t rooms[LM_RESTART_ROOMS_MAX];
    uint64_t since_us;
    uint64_t spawned_us;
    uint64_t spawn_at_us; /* while waiting */
    uint64_t ping_at_us;
    uint64_t sequence;
    uint32_t counter;
    uint32_t restarts;
    bool was_blocking;
    bool troubled;
    uint64_t backoff_us; /* before the next restart */
    uint64_t waits_us;   /* the present one */
    /* The last deaths, oldest first: one more than is ordinary. */
    uint64_t deaths_us[LM_RESTART_INTENSITY + 1];
    size_t n_deaths;
} child_t;

typedef enum { PHASE_RUN, PHASE_DRAIN, PHASE_STAGES, PHASE_OVER } phase_t;

struct lm_restart {
    child_t children[LM_RESTART_CHILDREN_MAX];
    size_t n_children;
    lm_node_mode_t mode;
    bool one_death_ends;
    bool serving; /* all have been ready at once since the last trouble */
    uint64_t last_tick_us;
    phase_t phase;
    uint32_t stage; /* of PHASE_STAGES */
    uint64_t stop_within_us, stop_delay_us;
    uint64_t stop_began_us;
    uint64_t phase_ends_us; /* of the present drain or stage */
    lm_exit_t end_code;
};

/* ---- small helpers ---- */

static lm_restart_wish_t *wish(lm_restart_wishes_t *out, lm_restart_wish_kind_t kind)
{
    LM_CHECK(out->n < LM_RESTART_WISHES_MAX, "%zu wishes, the next is of kind %d", out->n, kind);
    lm_restart_wish_t *item = &out->items[out->n++];
    *item = (lm_restart_wish_t){.kind = kind};
    return item;
}

static lm_restart_wish_t *wish_for_room(lm_restart_wishes_t *out, lm_restart_wish_kind_t kind,
                                        uint32_t number)
{
    lm_restart_wish_t *item = wish(out, kind);
    item->room = number;
    return item;
}

static size_t index_of(const lm_restart_t *machine, const child_t *child)
{
    return (size_t)(child - machine->children);
}

static void set_state(child_t *child, lm_child_state_t state, uint64_t now_us)
{
    child->state = state;
    child->since_us = now_us;
}

static bool is_alive(const child_t *child)
{
    return child->state != LM_CHILD_WAITING && child->state != LM_CHILD_GONE;
}

static bool is_at_work(const child_t *child)
{
    return child->state == LM_CHILD_SPAWNING || child->state == LM_CHILD_STARTING ||
           child->state == LM_CHILD_READY;
}

/** True if the room may be spoken to: it has said hello and nobody has killed it. */
static bool listens(const child_t *child, size_t room)
{
    return child->rooms[room].helloed && is_alive(child) && child->state != LM_CHILD_KILLING;
}

static bool all_rooms(const child_t *child, bool ready)
{
    for (size_t i = 0; i < child->spec->n_rooms; i++) {
        if (!(ready ? child->rooms[i].ready : child->rooms[i].helloed)) return false;
    }
    return true;
}

/** Child that hosts a room, and the room's index in it. NULL if the words are not of the present
 *  start of that child (R5), or if nobody hosts the room. */
static child_t *find_room(lm_restart_t *machine, uint32_t number, uint32_t counter, size_t *room)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        child_t *child = &machine->children[i];
        for (size_t j = 0; j < child->spec->n_rooms; j++) {
            if (child->spec->rooms[j] != number) continue;
            *room = j;
            return child->counter == counter ? child : NULL;
        }
    }
    return NULL;
}

static void kill_child(lm_restart_t *machine, child_t *child, const char *why, uint64_t now_us,
                       lm_restart_wishes_t *out)
{
    lm_restart_wish_t *item = wish(out, LM_WISH_KILL);
    item->child = index_of(machine, child);
    item->why = why;
    set_state(child, LM_CHILD_KILLING, now_us);
}

static void spawn_child(lm_restart_t *machine, child_t *child, uint64_t now_us,
                        lm_restart_wishes_t *out)
{
    LM_CHECK(child->state == LM_CHILD_WAITING, "%s is %s", child->spec->name,
             lm_child_state_name(child->state));
    memset(child->rooms, 0, sizeof child->rooms);
    child->counter++;
    child->spawned_us = now_us;
    child->ping_at_us = now_us;
    child->was_blocking = false;
    set_state(child, LM_CHILD_SPAWNING, now_us);
    lm_restart_wish_t *item = wish(out, LM_WISH_SPAWN);
    item->child = index_of(machine, child);
    item->counter = child->counter;
}

const char *lm_child_state_name(lm_child_state_t state)
{
    static const char *const names[] = {"waiting",  "spawning", "starting", "ready",
                                        "stopping", "killing",  "gone"};
    LM_CHECK((size_t)state < sizeof names / sizeof *names, "state %d", (int)state);
    return names[state];
}

/* ---- mode ---- */

static void tell_mode(const lm_restart_t *machine, lm_restart_wishes_t *out)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        const child_t *child = &machine->children[i];
        for (size_t j = 0; j < child->spec->n_rooms; j++) {
            if (!listens(child, j)) continue;
            wish_for_room(out, LM_WISH_MODE, child->spec->rooms[j])->mode = machine->mode;
        }
    }
}

/** A time of a stop that lasts as long as usual, for one that lasts as long as it may. */
static uint64_t scaled(const lm_restart_t *machine, uint64_t us)
{
    uint64_t steps_us = machine->stop_within_us - machine->stop_delay_us;
    return us * (steps_us / 1000) / (LM_RESTART_STOP_US / 1000);
}

static uint64_t drain_us(const lm_restart_t *machine)
{
    uint64_t us = scaled(machine, LM_RESTART_DRAIN_US);
    return us < LM_RESTART_DRAIN_US ? us : LM_RESTART_DRAIN_US;
}

/** Asks every child that can hand over leadership to do so. Returns how many were asked. */
static size_t ask_to_drain(const lm_restart_t *machine, lm_restart_wishes_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < machine->n_children; i++) {
        const child_t *child = &machine->children[i];
        if (!child->spec->drains || child->state != LM_CHILD_READY) continue;
        wish_for_room(out, LM_WISH_DRAIN, child->spec->rooms[0])->grace_us = drain_us(machine);
        n++;
    }
    return n;
}

static bool any_troubled(const lm_restart_t *machine)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        if (machine->children[i].troubled) return true;
    }
    return false;
}

static bool all_ready(const lm_restart_t *machine)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        if (machine->children[i].state != LM_CHILD_READY) return false;
    }
    return true;
}

/** An ordinary restart does not change the mode: calls wait for the new start. Trouble does, and a
 *  node in trouble should not lead. */
static void settle_mode(lm_restart_t *machine, lm_restart_wishes_t *out)
{
    if (machine->phase != PHASE_RUN) return;
    bool troubled = any_troubled(machine);
    if (troubled) machine->serving = false;
    if (!troubled && all_ready(machine)) machine->serving = true;
    lm_node_mode_t mode = machine->serving ? LM_NODE_SERVING : LM_NODE_STARTING;
    if (mode == machine->mode) return;
    machine->mode = mode;
    tell_mode(machine, out);
    if (troubled) ask_to_drain(machine, out);
}

/* ---- the ordered stop ---- */

static bool stage_exists(const lm_restart_t *machine, uint32_t stage)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        if (machine->children[i].spec->stop_stage >= stage) return true;
    }
    return false;
}

static bool stage_is_gone(const lm_restart_t *machine, uint32_t stage)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        const child_t *child = &machine->children[i];
        if (child->spec->stop_stage == stage && is_alive(child)) return false;
    }
    return true;
}

/** A child that has not said hello has nothing to put in order, and cannot be asked. */
static void stop_child(lm_restart_t *machine, child_t *child, uint64_t now_us,
                       lm_restart_wishes_t *out)
{
    if (!is_at_work(child)) return;
    if (child->state == LM_CHILD_SPAWNING) {
        kill_child(machine, child, "the node stops", now_us, out);
        return;
    }
    uint64_t stop_us = scaled(machine, child->spec->stop_us);
    for (size_t j = 0; j < child->spec->n_rooms; j++)
        wish_for_room(out, LM_WISH_STOP, child->spec->rooms[j])->grace_us = stop_us;
    set_state(child, LM_CHILD_STOPPING, now_us);
    if (machine->phase_ends_us < now_us + stop_us) machine->phase_ends_us = now_us + stop_us;
}

static void enter_stage(lm_restart_t *machine, uint32_t stage, uint64_t now_us,
                        lm_restart_wishes_t *out)
{
    machine->phase = PHASE_STAGES;
    machine->stage = stage;
    machine->phase_ends_us = now_us;
    for (size_t i = 0; i < machine->n_children; i++) {
        child_t *child = &machine->children[i];
        if (child->spec->stop_stage == stage) stop_child(machine, child, now_us, out);
    }
}

/** Kills what is left of a stage, or of all when any is set. */
static void kill_leftovers(lm_restart_t *machine, bool any, uint64_t now_us,
                           lm_restart_wishes_t *out)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        child_t *child = &machine->children[i];
        if (!any && child->spec->stop_stage != machine->stage) continue;
        if (is_alive(child) && child->state != LM_CHILD_KILLING)
            kill_child(machine, child, "it did not stop in time", now_us, out);
    }
}

static void end_node(lm_restart_t *machine, lm_restart_wishes_t *out)
{
    machine->phase = PHASE_OVER;
    wish(out, LM_WISH_END)->code = machine->end_code;
}

/** A killed process that cannot die, as in a hanging disk, must not keep the others from their
 *  orderly end: after a while the next stage begins without it. */
static bool stage_is_over(const lm_restart_t *machine, uint64_t now_us)
{
    if (stage_is_gone(machine, machine->stage)) return true;
    return now_us >= machine->phase_ends_us + scaled(machine, LM_RESTART_REAP_US);
}

static void settle_stop(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out)
{
    if (machine->phase == PHASE_RUN || machine->phase == PHASE_OVER) return;
    if (now_us >= machine->stop_began_us + machine->stop_within_us) {
        kill_leftovers(machine, true, now_us, out);
        end_node(machine, out);
        return;
    }
    if (machine->phase == PHASE_DRAIN && now_us >= machine->phase_ends_us)
        enter_stage(machine, 0, now_us, out);
    while (machine->phase == PHASE_STAGES) {
        if (now_us >= machine->phase_ends_us) kill_leftovers(machine, false, now_us, out);
        if (!stage_is_over(machine, now_us)) return;
        if (!stage_exists(machine, machine->stage + 1)) break;
        enter_stage(machine, machine->stage + 1, now_us, out);
    }
    bool left = false;
    for (size_t i = 0; i < machine->n_children; i++) left |= is_alive(&machine->children[i]);
    if (machine->phase == PHASE_STAGES && !left) end_node(machine, out);
}

/** When the first stage may begin, with leadership handed over by now_us or given up. What does not
 *  serve sends nobody away by closing its ports. */
static uint64_t end_of_service_us(const lm_restart_t *machine, uint64_t now_us)
{
    bool serves = machine->serving && machine->end_code == LM_EXIT_OK;
    uint64_t delayed_us = machine->stop_began_us + machine->stop_delay_us;
    return serves && delayed_us > now_us ? delayed_us : now_us;
}

static void begin_stop(lm_restart_t *machine, lm_exit_t code, uint64_t now_us,
                       lm_restart_wishes_t *out)
{
    if (machine->end_code == LM_EXIT_OK) machine->end_code = code;
    if (machine->phase != PHASE_RUN) return;
    machine->stop_began_us = now_us;
    machine->mode = LM_NODE_DRAINING;
    for (size_t i = 0; i < machine->n_children; i++) {
        child_t *child = &machine->children[i];
        if (child->state == LM_CHILD_WAITING) set_state(child, LM_CHILD_GONE, now_us);
    }
    tell_mode(machine, out);
    machine->phase = PHASE_DRAIN;
    bool asked = ask_to_drain(machine, out) > 0;
    machine->phase_ends_us =
        end_of_service_us(machine, asked ? now_us + drain_us(machine) : now_us);
}

/* ---- deaths ---- */

/** Notes a death; true if there were more in the period than are ordinary. */
static bool count_death(child_t *child, uint64_t now_us)
{
    if (child->n_deaths > LM_RESTART_INTENSITY) {
        memmove(child->deaths_us, child->deaths_us + 1,
                LM_RESTART_INTENSITY * sizeof child->deaths_us[0]);
        child->n_deaths--;
    }
    child->deaths_us[child->n_deaths++] = now_us;
    return child->n_deaths > LM_RESTART_INTENSITY &&
           now_us - child->deaths_us[0] <= LM_RESTART_PERIOD_US;
}

static void wait_for_restart(child_t *child, uint64_t now_us)
{
    if (count_death(child, now_us)) child->troubled = true;
    child->waits_us = child->troubled ? LM_RESTART_BACKOFF_MAX_US : child->backoff_us;
    child->spawn_at_us = now_us + child->waits_us;
    child->backoff_us *= 2;
    if (child->backoff_us > LM_RESTART_BACKOFF_MAX_US)
        child->backoff_us = LM_RESTART_BACKOFF_MAX_US;
    child->restarts++;
    set_state(child, LM_CHILD_WAITING, now_us);
}

/** Exit classes that a restart cannot heal. */
static bool is_final(int code, int signal)
{
    return signal == 0 &&
           (code == LM_EXIT_USAGE || code == LM_EXIT_CONFIG || code == LM_EXIT_DAMAGED);
}

static void bury(lm_restart_t *machine, child_t *child, int code, int signal, uint64_t now_us,
                 lm_restart_wishes_t *out)
{
    memset(child->rooms, 0, sizeof child->rooms);
    if (is_final(code, signal)) {
        set_state(child, LM_CHILD_GONE, now_us);
        begin_stop(machine, (lm_exit_t)code, now_us, out);
    } else if (machine->one_death_ends && machine->phase == PHASE_RUN) {
        set_state(child, LM_CHILD_GONE, now_us);
        begin_stop(machine, signal || !code ? LM_EXIT_ASSERTION : (lm_exit_t)code, now_us, out);
    } else if (machine->phase != PHASE_RUN) {
        set_state(child, LM_CHILD_GONE, now_us);
    } else {
        wait_for_restart(child, now_us);
    }
    /* Nobody is left to answer the request to drain. */
    if (machine->phase == PHASE_DRAIN && child->spec->drains) machine->phase_ends_us = now_us;
}

/* ---- life ---- */

/** Everything that was counted before a pause of our own is counted anew (S9). */
static void forgive_pause(lm_restart_t *machine, uint64_t now_us)
{
    uint64_t due_us = machine->last_tick_us + LM_RESTART_TICK_US;
    uint64_t late_us = now_us > due_us ? now_us - due_us : 0;
    machine->last_tick_us = now_us;
    if (late_us <= LM_RESTART_LATE_US || LM_FAULT(LATE_TICKS_COUNT)) return;
    for (size_t i = 0; i < machine->n_children; i++) {
        child_t *child = &machine->children[i];
        child->spawned_us += late_us;
        if (child->spawned_us > now_us) child->spawned_us = now_us;
        for (size_t j = 0; j < LM_RESTART_ROOMS_MAX; j++) child->rooms[j].heard_us = now_us;
    }
}

static uint64_t silence_us(const child_t *child, uint64_t now_us)
{
    uint64_t longest_us = 0;
    for (size_t j = 0; j < child->spec->n_rooms; j++) {
        const room_t *room = &child->rooms[j];
        if (room->helloed && now_us - room->heard_us > longest_us)
            longest_us = now_us - room->heard_us;
    }
    return longest_us;
}

/** Why the child has to be killed; NULL if it need not. */
static const char *find_fault(const child_t *child, bool blocking, uint64_t now_us)
{
    const lm_restart_spec_t *spec = child->spec;
    uint64_t age_us = now_us - child->spawned_us;
    uint64_t limit_us = blocking ? spec->hang_blocking_us : spec->hang_us;
    if (silence_us(child, now_us) > limit_us)
        return blocking ? "it was in blocking I/O for too long" : "it did not answer pings";
    if (child->state == LM_CHILD_SPAWNING && age_us > spec->hello_within_us)
        return "it did not say hello in time";
    if (child->state != LM_CHILD_READY && !blocking && age_us > spec->ready_within_us)
        return "it was not ready in time";
    return NULL;
}

/** The end of blocking I/O is a sign of life: the answers to our pings are still on their way. */
static void note_blocking(child_t *child, bool blocking, uint64_t now_us)
{
    if (child->was_blocking && !blocking) {
        for (size_t j = 0; j < LM_RESTART_ROOMS_MAX; j++) child->rooms[j].heard_us = now_us;
    }
    child->was_blocking = blocking;
}

static void ping_child(child_t *child, uint64_t now_us, lm_restart_wishes_t *out)
{
    if (now_us < child->ping_at_us) return;
    child->ping_at_us = now_us + child->spec->ping_every_us - LM_RESTART_TICK_US / 2;
    child->sequence++;
    for (size_t j = 0; j < child->spec->n_rooms; j++) {
        if (!child->rooms[j].helloed) continue;
        wish_for_room(out, LM_WISH_PING, child->spec->rooms[j])->sequence = child->sequence;
    }
}

static void watch_child(lm_restart_t *machine, child_t *child, bool blocking, uint64_t now_us,
                        lm_restart_wishes_t *out)
{
    note_blocking(child, blocking, now_us);
    const char *fault = find_fault(child, blocking, now_us);
    if (fault) {
        if (LM_FAULT(UNBURIED))
            wait_for_restart(child, now_us);
        else
            kill_child(machine, child, fault, now_us, out);
        return;
    }
    ping_child(child, now_us, out);
    if (child->state != LM_CHILD_READY || now_us - child->since_us < LM_RESTART_PERIOD_US) return;
    child->backoff_us = LM_RESTART_BACKOFF_MIN_US;
    child->troubled = false; /* its deaths are older than the period by now */
}

/* ---- events ---- */

void lm_restart_one_death_ends(lm_restart_t *machine) { machine->one_death_ends = true; }

lm_restart_t *lm_restart_new(const lm_restart_spec_t *specs, size_t n_children,
                             const uint32_t *counters)
{
    LM_CHECK(n_children > 0 && n_children <= LM_RESTART_CHILDREN_MAX, "%zu children", n_children);
    lm_restart_t *machine = lm_alloc(sizeof *machine);
    memset(machine, 0, sizeof *machine);
    machine->n_children = n_children;
    machine->stop_within_us = LM_RESTART_STOP_US;
    for (size_t i = 0; i < n_children; i++) {
        child_t *child = &machine->children[i];
        LM_CHECK(specs[i].n_rooms > 0 && specs[i].n_rooms <= LM_RESTART_ROOMS_MAX,
                 "%s has %zu rooms", specs[i].name, specs[i].n_rooms);
        for (size_t j = 0; j < specs[i].n_rooms; j++)
            LM_CHECK(specs[i].rooms[j] > 0 && specs[i].rooms[j] < LM_RESTART_ROOM_NUMBERS,
                     "%s has room %u", specs[i].name, specs[i].rooms[j]);
        child->spec = &specs[i];
        child->counter = counters[i];
        child->backoff_us = LM_RESTART_BACKOFF_MIN_US;
    }
    return machine;
}

void lm_restart_destroy(lm_restart_t **machine)
{
    free(*machine);
    *machine = NULL;
}

void lm_restart_begin(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out)
{
    machine->last_tick_us = now_us;
    for (size_t i = 0; i < machine->n_children; i++)
        spawn_child(machine, &machine->children[i], now_us, out);
}

void lm_restart_spawn_failed(lm_restart_t *machine, size_t child, uint64_t now_us,
                             lm_restart_wishes_t *out)
{
    lm_restart_exited(machine, child, LM_EXIT_SYSTEM, 0, now_us, out);
}

/** Tells a newcomer who is there already. It may need them to become ready itself. */
static void introduce(const lm_restart_t *machine, uint32_t newcomer, lm_restart_wishes_t *out)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        const child_t *child = &machine->children[i];
        for (size_t j = 0; j < child->spec->n_rooms; j++) {
            uint32_t number = child->spec->rooms[j];
            if (number == newcomer || !child->rooms[j].ready || !listens(child, j)) continue;
            wish_for_room(out, LM_WISH_PEER_UP, newcomer)->about = number;
        }
    }
}

/** Tells everybody else of a room that has become ready. */
static void announce(const lm_restart_t *machine, uint32_t about, lm_restart_wishes_t *out)
{
    for (size_t i = 0; i < machine->n_children; i++) {
        const child_t *child = &machine->children[i];
        for (size_t j = 0; j < child->spec->n_rooms; j++) {
            uint32_t number = child->spec->rooms[j];
            if (number == about || !listens(child, j)) continue;
            wish_for_room(out, LM_WISH_PEER_UP, number)->about = about;
        }
    }
}

void lm_restart_hello(lm_restart_t *machine, uint32_t room, uint32_t counter, uint64_t now_us,
                      lm_restart_wishes_t *out)
{
    size_t j;
    child_t *child = find_room(machine, room, counter, &j);
    if (!child || child->state != LM_CHILD_SPAWNING || child->rooms[j].helloed) return;
    child->rooms[j] = (room_t){.helloed = true, .heard_us = now_us};
    wish_for_room(out, LM_WISH_START, room);
    wish_for_room(out, LM_WISH_MODE, room)->mode = machine->mode;
    introduce(machine, room, out);
    if (all_rooms(child, false)) set_state(child, LM_CHILD_STARTING, now_us);
}

void lm_restart_ready(lm_restart_t *machine, uint32_t room, uint32_t counter, uint64_t now_us,
                      lm_restart_wishes_t *out)
{
    size_t j;
    child_t *child = find_room(machine, room, counter, &j);
    if (!child || !listens(child, j) || child->rooms[j].ready) return;
    child->rooms[j].ready = true;
    child->rooms[j].heard_us = now_us;
    announce(machine, room, out);
    if (child->state == LM_CHILD_STARTING && all_rooms(child, true))
        set_state(child, LM_CHILD_READY, now_us);
    settle_mode(machine, out);
}

void lm_restart_pong(lm_restart_t *machine, uint32_t room, uint32_t counter, uint64_t now_us)
{
    size_t j;
    child_t *child = find_room(machine, room, counter, &j);
    if (child && listens(child, j)) child->rooms[j].heard_us = now_us;
}

void lm_restart_exited(lm_restart_t *machine, size_t child, int code, int signal, uint64_t now_us,
                       lm_restart_wishes_t *out)
{
    LM_CHECK(child < machine->n_children, "child %zu of %zu", child, machine->n_children);
    LM_CHECK(is_alive(&machine->children[child]), "%s died twice",
             machine->children[child].spec->name);
    bury(machine, &machine->children[child], code, signal, now_us, out);
    settle_mode(machine, out);
    settle_stop(machine, now_us, out);
}

void lm_restart_tick(lm_restart_t *machine, const bool *blocking, uint64_t now_us,
                     lm_restart_wishes_t *out)
{
    forgive_pause(machine, now_us);
    for (size_t i = 0; i < machine->n_children; i++) {
        child_t *child = &machine->children[i];
        if (child->state == LM_CHILD_WAITING && machine->phase == PHASE_RUN &&
            now_us >= child->spawn_at_us)
            spawn_child(machine, child, now_us, out);
        else if (is_at_work(child))
            watch_child(machine, child, blocking[i], now_us, out);
    }
    settle_mode(machine, out);
    settle_stop(machine, now_us, out);
}

void lm_restart_stop_within(lm_restart_t *machine, uint64_t total_us)
{
    machine->stop_within_us = total_us;
}

void lm_restart_stop_delay(lm_restart_t *machine, uint64_t delay_us)
{
    LM_CHECK(delay_us < machine->stop_within_us, "%" PRIu64 " of %" PRIu64 " us", delay_us,
             machine->stop_within_us);
    machine->stop_delay_us = delay_us;
}

void lm_restart_stop(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out)
{
    begin_stop(machine, LM_EXIT_OK, now_us, out);
    settle_stop(machine, now_us, out);
}

void lm_restart_drained(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out)
{
    if (machine->phase != PHASE_DRAIN) return;
    machine->phase_ends_us = end_of_service_us(machine, now_us);
    settle_stop(machine, now_us, out);
}

/* ---- reading ---- */

lm_restart_view_t lm_restart_view(const lm_restart_t *machine, size_t child)
{
    LM_CHECK(child < machine->n_children, "child %zu of %zu", child, machine->n_children);
    const child_t *it = &machine->children[child];
    return (lm_restart_view_t){.state = it->state,
                               .counter = it->counter,
                               .restarts = it->restarts,
                               .since_us = it->since_us,
                               .backoff_us = it->waits_us,
                               .troubled = it->troubled};
}

lm_node_mode_t lm_restart_mode(const lm_restart_t *machine) { return machine->mode; }

bool lm_restart_is_stopping(const lm_restart_t *machine) { return machine->phase != PHASE_RUN; }
