/* The supervision policy, told stories without a single fork. */
#include "core_restart.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RAFT, LOCK, GATEWAY, FRONTEND, HEALTH, CHILDREN };
enum { ROOM_RAFT = 2, ROOM_LOCK, ROOM_GATEWAY, ROOM_CLIENTS, ROOM_PEERS, ROOM_HEALTH, ROOMS_END };

#define MS UINT64_C(1000)
#define S UINT64_C(1000000)

#define TIMES                                                                                      \
    .hello_within_us = 10 * S, .ready_within_us = 60 * S, .ping_every_us = 100 * MS, .hang_us = S, \
    .hang_blocking_us = 30 * S

static const lm_restart_spec_t specs[CHILDREN] = {
    {"raft", {ROOM_RAFT}, 1, 2, true, TIMES, .stop_us = 2 * S},
    {"lock", {ROOM_LOCK}, 1, 1, false, TIMES, .stop_us = S},
    {"gateway", {ROOM_GATEWAY}, 1, 0, false, TIMES, .stop_us = 2 * S},
    {"frontend", {ROOM_CLIENTS, ROOM_PEERS}, 2, 0, false, TIMES, .stop_us = 2500 * MS},
    {"health", {ROOM_HEALTH}, 1, 0, false, TIMES, .stop_us = 2 * S},
};

/* A node whose children live only here. */
static lm_restart_t *machine;
static lm_restart_wishes_t out;
static uint64_t now_us;
static bool blocking[CHILDREN];
static bool silent[CHILDREN]; /* does not answer pings */

static void setup(void)
{
    static const uint32_t counters[CHILDREN] = {7, 0, 0, 41, 0};
    now_us = 1000 * S;
    memset(blocking, 0, sizeof blocking);
    memset(silent, 0, sizeof silent);
    machine = lm_restart_new(specs, CHILDREN, counters);
    out.n = 0;
    lm_restart_begin(machine, now_us, &out);
}

static void teardown(void) { lm_restart_destroy(&machine); }

TestSuite(core_restart, .init = setup, .fini = teardown);

static lm_child_state_t state(size_t child) { return lm_restart_view(machine, child).state; }
static uint32_t counter(size_t child) { return lm_restart_view(machine, child).counter; }

static size_t count(lm_restart_wish_kind_t kind)
{
    size_t n = 0;
    for (size_t i = 0; i < out.n; i++) n += out.items[i].kind == kind;
    return n;
}

static size_t child_of(uint32_t room)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        for (size_t j = 0; j < specs[i].n_rooms; j++) {
            if (specs[i].rooms[j] == room) return i;
        }
    }
    cr_assert_fail("room %u", room);
    return CHILDREN;
}

static const lm_restart_wish_t *find(lm_restart_wish_kind_t kind, size_t child)
{
    for (size_t i = 0; i < out.n; i++) {
        const lm_restart_wish_t *item = &out.items[i];
        bool same = item->room ? child_of(item->room) == child : item->child == child;
        if (item->kind == kind && same) return item;
    }
    return NULL;
}

static void hello(uint32_t room)
{
    lm_restart_hello(machine, room, counter(child_of(room)), now_us, &out);
}

static void ready(uint32_t room)
{
    lm_restart_ready(machine, room, counter(child_of(room)), now_us, &out);
}

static void grow_up(size_t child)
{
    for (size_t j = 0; j < specs[child].n_rooms; j++) hello(specs[child].rooms[j]);
    for (size_t j = 0; j < specs[child].n_rooms; j++) ready(specs[child].rooms[j]);
}

static void all_grow_up(void)
{
    for (size_t i = 0; i < CHILDREN; i++) grow_up(i);
    out.n = 0;
}

/** One tick later; those who are not silent answer at once. Wishes pile up in out. */
static void tick_after(uint64_t us)
{
    now_us += us;
    size_t before = out.n;
    lm_restart_tick(machine, blocking, now_us, &out);
    for (size_t i = before; i < out.n; i++) {
        const lm_restart_wish_t *item = &out.items[i];
        if (item->kind != LM_WISH_PING || silent[child_of(item->room)]) continue;
        lm_restart_pong(machine, item->room, counter(child_of(item->room)), now_us);
    }
    size_t kept = before;
    for (size_t i = before; i < out.n; i++) {
        if (out.items[i].kind != LM_WISH_PING) out.items[kept++] = out.items[i];
    }
    out.n = kept;
}

static void tick(void) { tick_after(LM_RESTART_TICK_US); }

static void pass(uint64_t us)
{
    for (uint64_t end_us = now_us + us; now_us < end_us;) tick();
}

static void exits(size_t child, int code, int signal)
{
    lm_restart_exited(machine, child, code, signal, now_us, &out);
}

/** Lets time pass until the child is wished for again; returns how long that took. */
static uint64_t wait_for_spawn(size_t child)
{
    uint64_t from_us = now_us;
    out.n = 0;
    while (!find(LM_WISH_SPAWN, child)) {
        cr_assert(now_us - from_us < 20 * S, "never spawned again");
        tick();
    }
    return now_us - from_us;
}

/* ---- start and introductions ---- */

Test(core_restart, all_are_spawned_and_counters_go_on)
{
    cr_assert_eq(count(LM_WISH_SPAWN), 5);
    cr_assert_eq(find(LM_WISH_SPAWN, RAFT)->counter, 8);
    cr_assert_eq(find(LM_WISH_SPAWN, LOCK)->counter, 1);
    cr_assert_eq(find(LM_WISH_SPAWN, FRONTEND)->counter, 42);
}

Test(core_restart, hello_is_answered_with_start_and_mode)
{
    out.n = 0;
    hello(ROOM_LOCK);
    cr_assert_eq(out.n, 2);
    cr_assert_eq(out.items[0].kind, LM_WISH_START);
    cr_assert_eq(out.items[1].kind, LM_WISH_MODE);
    cr_assert_eq(out.items[1].mode, LM_NODE_STARTING);
    cr_assert_eq(state(LOCK), LM_CHILD_STARTING);
    hello(ROOM_LOCK);
    cr_assert_eq(out.n, 2, "a second hello of one start says nothing new");
}

Test(core_restart, who_is_ready_is_introduced_to_all_and_to_latecomers)
{
    hello(ROOM_RAFT);
    hello(ROOM_LOCK);
    out.n = 0;
    ready(ROOM_RAFT);
    cr_assert_eq(count(LM_WISH_PEER_UP), 1);
    cr_assert_eq(find(LM_WISH_PEER_UP, LOCK)->about, ROOM_RAFT);
    out.n = 0;
    hello(ROOM_GATEWAY);
    cr_assert_eq(count(LM_WISH_PEER_UP), 1, "lock is not ready yet");
    cr_assert_eq(find(LM_WISH_PEER_UP, GATEWAY)->about, ROOM_RAFT);
}

Test(core_restart, frontend_is_ready_when_both_rooms_are)
{
    hello(ROOM_CLIENTS);
    cr_assert_eq(state(FRONTEND), LM_CHILD_SPAWNING);
    ready(ROOM_CLIENTS);
    hello(ROOM_PEERS);
    cr_assert_eq(state(FRONTEND), LM_CHILD_STARTING);
    ready(ROOM_PEERS);
    cr_assert_eq(state(FRONTEND), LM_CHILD_READY);
}

Test(core_restart, node_serves_when_all_have_been_ready)
{
    for (size_t i = 0; i < HEALTH; i++) grow_up(i);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_STARTING);
    out.n = 0;
    grow_up(HEALTH);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_SERVING);
    cr_assert_eq(count(LM_WISH_MODE), 1 + 6, "health at its hello, then all six rooms");
}

Test(core_restart, words_of_an_earlier_start_change_nothing)
{
    all_grow_up();
    uint32_t old = counter(LOCK);
    exits(LOCK, 0, 9);
    wait_for_spawn(LOCK);
    out.n = 0;
    lm_restart_hello(machine, ROOM_LOCK, old, now_us, &out);
    lm_restart_ready(machine, ROOM_LOCK, old, now_us, &out);
    cr_assert_eq(out.n, 0);
    cr_assert_eq(state(LOCK), LM_CHILD_SPAWNING);
}

/* ---- death and restart ---- */

Test(core_restart, one_death_restarts_one)
{
    all_grow_up();
    exits(LOCK, 0, 9);
    cr_assert_eq(out.n, 0, "mode stays, nobody else is touched");
    uint64_t took_us = wait_for_spawn(LOCK);
    cr_assert(took_us >= 100 * MS && took_us <= 150 * MS, "%lu", (unsigned long)took_us);
    cr_assert_eq(count(LM_WISH_SPAWN), 1);
    grow_up(LOCK);
    cr_assert_eq(lm_restart_view(machine, LOCK).restarts, 1);
    cr_assert_eq(lm_restart_view(machine, RAFT).restarts, 0);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_SERVING);
}

Test(core_restart, restarted_room_is_introduced_again)
{
    all_grow_up();
    exits(LOCK, 0, 9);
    wait_for_spawn(LOCK);
    out.n = 0;
    hello(ROOM_LOCK);
    cr_assert_eq(count(LM_WISH_PEER_UP), 5, "it hears of the five others");
    out.n = 0;
    ready(ROOM_LOCK);
    cr_assert_eq(count(LM_WISH_PEER_UP), 5, "and they of it");
}

Test(core_restart, s17_no_spawn_before_the_predecessor_is_reaped)
{
    all_grow_up();
    silent[RAFT] = true;
    pass(2 * S);
    cr_assert_eq(count(LM_WISH_KILL), 1);
    out.n = 0;
    pass(120 * S);
    cr_assert_eq(state(RAFT), LM_CHILD_KILLING);
    cr_assert_eq(count(LM_WISH_SPAWN), 0, "it hangs in the disk: no second raft on its log");
    exits(RAFT, 0, 9);
    wait_for_spawn(RAFT);
}

Test(core_restart, s17_try_later_is_retried_with_growing_patience)
{
    static const uint64_t expected_ms[] = {100, 200, 400, 800, 1600};
    for (size_t i = 0; i < 5; i++) {
        exits(RAFT, LM_EXIT_TRY_LATER, 0);
        uint64_t took_us = wait_for_spawn(RAFT);
        cr_assert(took_us >= expected_ms[i] * MS && took_us <= (expected_ms[i] + 50) * MS,
                  "%zu: %lu", i, (unsigned long)took_us);
    }
    cr_assert(!lm_restart_is_stopping(machine));
}

Test(core_restart, more_than_five_deaths_in_a_minute_are_trouble)
{
    all_grow_up();
    for (int i = 0; i < 5; i++) {
        exits(GATEWAY, LM_EXIT_ASSERTION, 0);
        wait_for_spawn(GATEWAY);
        grow_up(GATEWAY);
        cr_assert_eq(lm_restart_mode(machine), LM_NODE_SERVING);
    }
    out.n = 0;
    exits(GATEWAY, LM_EXIT_ASSERTION, 0);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_STARTING);
    cr_assert(find(LM_WISH_DRAIN, RAFT), "a node in trouble gives leadership away");
    cr_assert(find(LM_WISH_MODE, HEALTH));
    uint64_t took_us = wait_for_spawn(GATEWAY);
    cr_assert(took_us >= 10 * S && took_us <= 10 * S + 50 * MS);
    grow_up(GATEWAY);
    pass(59 * S);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_STARTING);
    pass(2 * S);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_SERVING, "a healthy minute ends it");
    exits(GATEWAY, 0, 11);
    took_us = wait_for_spawn(GATEWAY);
    cr_assert(took_us <= 150 * MS, "and the back-off is short again");
}

Test(core_restart, five_deaths_in_more_than_a_minute_are_ordinary)
{
    all_grow_up();
    for (int i = 0; i < 12; i++) {
        exits(HEALTH, 0, 9);
        wait_for_spawn(HEALTH);
        grow_up(HEALTH);
        pass(13 * S);
    }
    cr_assert(!lm_restart_view(machine, HEALTH).troubled);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_SERVING);
}

Test(core_restart, spawn_that_fails_is_tried_again)
{
    lm_restart_spawn_failed(machine, HEALTH, now_us, &out);
    cr_assert_eq(state(HEALTH), LM_CHILD_WAITING);
    wait_for_spawn(HEALTH);
}

/* ---- life ---- */

Test(core_restart, silent_child_is_killed_and_replaced_within_a_second_and_a_half)
{
    all_grow_up();
    pass(5 * S);
    silent[FRONTEND] = true;
    uint64_t from_us = now_us;
    out.n = 0;
    while (!find(LM_WISH_KILL, FRONTEND)) tick();
    cr_assert_eq(count(LM_WISH_KILL), 1);
    exits(FRONTEND, 0, 9);
    wait_for_spawn(FRONTEND);
    cr_assert(now_us - from_us <= 1350 * MS, "%lu us", (unsigned long)(now_us - from_us));
}

Test(core_restart, one_silent_room_of_two_is_enough)
{
    all_grow_up();
    for (int i = 0; i < 40 && !find(LM_WISH_KILL, FRONTEND); i++) {
        tick();
        lm_restart_pong(machine, ROOM_PEERS, counter(FRONTEND), now_us);
        silent[FRONTEND] = true;
    }
    cr_assert(find(LM_WISH_KILL, FRONTEND));
}

Test(core_restart, pings_go_out_every_100_ms_from_hello_on)
{
    hello(ROOM_LOCK);
    out.n = 0;
    for (int i = 0; i < 20; i++) {
        now_us += LM_RESTART_TICK_US;
        lm_restart_tick(machine, blocking, now_us, &out);
        lm_restart_pong(machine, ROOM_LOCK, counter(LOCK), now_us);
    }
    cr_assert_eq(count(LM_WISH_PING), 10);
    cr_assert_eq(out.items[9].sequence - out.items[0].sequence, 9);
}

Test(core_restart, no_hello_in_time_is_a_fault)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        if (i != LOCK) grow_up(i);
    }
    out.n = 0;
    pass(10 * S + 100 * MS);
    cr_assert_eq(count(LM_WISH_KILL), 1);
    cr_assert(find(LM_WISH_KILL, LOCK));
}

Test(core_restart, not_ready_in_time_is_a_fault_unless_it_works_on_the_disk)
{
    for (size_t i = 0; i < CHILDREN; i++) hello(specs[i].rooms[0]);
    hello(ROOM_PEERS);
    for (size_t i = 0; i < CHILDREN; i++) {
        if (i != RAFT && i != LOCK) {
            for (size_t j = 0; j < specs[i].n_rooms; j++) ready(specs[i].rooms[j]);
        }
    }
    blocking[RAFT] = true;
    out.n = 0;
    pass(61 * S);
    cr_assert(find(LM_WISH_KILL, LOCK));
    cr_assert(!find(LM_WISH_KILL, RAFT));
}

/* ---- S9 ---- */

Test(core_restart, s9_whole_node_frozen_kills_nobody)
{
    all_grow_up();
    pass(S);
    tick_after(5 * S); /* pings of before the pause are unanswered, and nobody is to blame */
    cr_assert_eq(count(LM_WISH_KILL), 0);
    pass(2 * S);
    cr_assert_eq(count(LM_WISH_KILL), 0);
}

Test(core_restart, s9_every_late_tick_begins_the_count_again)
{
    all_grow_up();
    silent[LOCK] = true;
    for (int i = 0; i < 20; i++) tick_after(251 * MS);
    cr_assert_eq(count(LM_WISH_KILL), 0, "a supervisor that is always late is no witness");
    pass(1100 * MS);
    cr_assert_eq(count(LM_WISH_KILL), 1);
}

Test(core_restart, s9_a_tick_within_200_ms_is_not_late)
{
    all_grow_up();
    silent[LOCK] = true;
    for (int i = 0; i < 5; i++) tick_after(250 * MS);
    cr_assert(find(LM_WISH_KILL, LOCK));
}

Test(core_restart, s9_pause_prolongs_the_time_to_start)
{
    for (size_t i = 1; i < CHILDREN; i++) grow_up(i);
    out.n = 0;
    tick_after(60 * S);
    cr_assert_eq(count(LM_WISH_KILL), 0, "raft could not say hello while everything stood still");
    pass(11 * S);
    cr_assert(find(LM_WISH_KILL, RAFT));
}

Test(core_restart, s9_blocking_io_has_thirty_seconds)
{
    all_grow_up();
    silent[RAFT] = blocking[RAFT] = true;
    pass(29 * S);
    cr_assert_eq(count(LM_WISH_KILL), 0);
    pass(2 * S);
    cr_assert(find(LM_WISH_KILL, RAFT));
}

Test(core_restart, s9_end_of_blocking_io_is_a_sign_of_life)
{
    all_grow_up();
    silent[RAFT] = blocking[RAFT] = true;
    pass(5 * S);
    blocking[RAFT] = false;
    tick();
    cr_assert_eq(count(LM_WISH_KILL), 0, "its answers are on their way");
    silent[RAFT] = false;
    pass(2 * S);
    cr_assert_eq(count(LM_WISH_KILL), 0);
}

/* ---- the end ---- */

Test(core_restart, stop_is_ordered_drain_edge_lock_raft)
{
    all_grow_up();
    lm_restart_stop(machine, now_us, &out);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_DRAINING);
    cr_assert_eq(count(LM_WISH_MODE), 6);
    cr_assert(find(LM_WISH_DRAIN, RAFT));
    cr_assert_eq(count(LM_WISH_STOP), 0);

    out.n = 0;
    lm_restart_drained(machine, now_us, &out);
    cr_assert_eq(count(LM_WISH_STOP), 4, "gateway, both rooms of the frontend, health");
    cr_assert(!find(LM_WISH_STOP, LOCK) && !find(LM_WISH_STOP, RAFT));

    out.n = 0;
    exits(GATEWAY, 0, 0);
    exits(FRONTEND, 0, 0);
    cr_assert_eq(out.n, 0);
    exits(HEALTH, 0, 0);
    cr_assert_eq(out.n, 1);
    cr_assert(find(LM_WISH_STOP, LOCK));

    out.n = 0;
    exits(LOCK, 0, 0);
    cr_assert(find(LM_WISH_STOP, RAFT));
    out.n = 0;
    exits(RAFT, 0, 0);
    cr_assert_eq(out.items[out.n - 1].kind, LM_WISH_END);
    cr_assert_eq(out.items[out.n - 1].code, LM_EXIT_OK);
}

Test(core_restart, stop_overtakes_restarts_that_wait)
{
    all_grow_up();
    exits(LOCK, 0, 9);
    lm_restart_stop(machine, now_us, &out);
    cr_assert_eq(state(LOCK), LM_CHILD_GONE);
    pass(S);
    cr_assert_eq(count(LM_WISH_SPAWN), 0);
}

Test(core_restart, death_during_a_stop_is_no_restart)
{
    all_grow_up();
    lm_restart_stop(machine, now_us, &out);
    exits(LOCK, LM_EXIT_ASSERTION, 0);
    pass(S);
    cr_assert_eq(count(LM_WISH_SPAWN), 0);
}

Test(core_restart, drain_waits_two_seconds_at_most)
{
    all_grow_up();
    lm_restart_stop(machine, now_us, &out);
    pass(1900 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 0);
    pass(150 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 4);
}

Test(core_restart, raft_that_dies_in_the_drain_ends_the_drain)
{
    all_grow_up();
    lm_restart_stop(machine, now_us, &out);
    exits(RAFT, LM_EXIT_ASSERTION, 0);
    cr_assert_eq(count(LM_WISH_STOP), 4);
}

Test(core_restart, nobody_listens_and_the_stop_still_ends_in_ten_seconds)
{
    all_grow_up();
    uint64_t from_us = now_us;
    lm_restart_stop(machine, now_us, &out);
    while (count(LM_WISH_END) == 0) {
        cr_assert(now_us - from_us <= 10 * S);
        tick();
    }
    cr_assert_eq(count(LM_WISH_KILL), 5, "each once, although none could be reaped");
    cr_assert_eq(count(LM_WISH_STOP), 6, "and each was asked first");
    tick();
    cr_assert_eq(count(LM_WISH_END), 1);
}

static uint64_t time_of_a_stubborn_stop(uint64_t within_us)
{
    all_grow_up();
    uint64_t from_us = now_us;
    lm_restart_stop_within(machine, within_us);
    lm_restart_stop(machine, now_us, &out);
    while (count(LM_WISH_END) == 0 && now_us - from_us <= 2 * within_us) tick();
    return now_us - from_us;
}

Test(core_restart, a_stop_keeps_within_the_time_it_may_take)
{
    cr_assert_leq(time_of_a_stubborn_stop(3 * S), 3 * S + 50 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 6, "everybody was still asked");
    cr_assert_eq(find(LM_WISH_DRAIN, RAFT)->grace_us, 600 * MS);
    cr_assert_eq(find(LM_WISH_STOP, RAFT)->grace_us, 600 * MS);
}

Test(core_restart, a_long_stop_hands_over_within_two_seconds_all_the_same)
{
    cr_assert_leq(time_of_a_stubborn_stop(60 * S), 60 * S);
    cr_assert_eq(find(LM_WISH_DRAIN, RAFT)->grace_us, 2 * S);
    cr_assert_eq(find(LM_WISH_STOP, RAFT)->grace_us, 12 * S);
}

Test(core_restart, a_node_that_stops_serves_on_for_the_delay)
{
    all_grow_up();
    lm_restart_stop_delay(machine, 3 * S);
    lm_restart_stop(machine, now_us, &out);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_DRAINING, "who asks hears of it at once");
    lm_restart_drained(machine, now_us, &out);
    pass(2900 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 0);
    pass(150 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 4);
}

Test(core_restart, leadership_that_stays_makes_the_delay_no_longer)
{
    all_grow_up();
    lm_restart_stop_delay(machine, 3 * S);
    lm_restart_stop(machine, now_us, &out);
    pass(2900 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 0);
    pass(150 * MS);
    cr_assert_eq(count(LM_WISH_STOP), 4);
}

Test(core_restart, a_stop_with_a_delay_keeps_within_its_time)
{
    lm_restart_stop_delay(machine, 3 * S);
    cr_assert_leq(time_of_a_stubborn_stop(6 * S), 6 * S);
    cr_assert_eq(count(LM_WISH_STOP), 6, "everybody was still asked");
    cr_assert_eq(find(LM_WISH_STOP, RAFT)->grace_us, 600 * MS);
}

Test(core_restart, what_does_not_serve_has_no_delay)
{
    lm_restart_stop_delay(machine, 3 * S);
    out.n = 0;
    lm_restart_stop(machine, now_us, &out);
    cr_assert_eq(count(LM_WISH_KILL), 3, "the children of the first stage");
}

Test(core_restart, stop_before_anybody_spoke_kills_all)
{
    out.n = 0;
    lm_restart_stop(machine, now_us, &out);
    cr_assert_eq(count(LM_WISH_KILL), 3);
    exits(GATEWAY, 0, 9);
    exits(FRONTEND, 0, 9);
    exits(HEALTH, 0, 9);
    exits(LOCK, 0, 9);
    exits(RAFT, 0, 9);
    cr_assert_eq(count(LM_WISH_END), 1);
}

static void expect_end_with(int code)
{
    all_grow_up();
    exits(RAFT, code, 0);
    cr_assert_eq(lm_restart_mode(machine), LM_NODE_DRAINING);
    cr_assert_eq(count(LM_WISH_DRAIN), 0, "raft itself is gone");
    exits(GATEWAY, 0, 0);
    exits(FRONTEND, 0, 0);
    exits(HEALTH, 0, 0);
    exits(LOCK, 0, 0);
    cr_assert_eq(out.items[out.n - 1].kind, LM_WISH_END);
    cr_assert_eq((int)out.items[out.n - 1].code, code);
    cr_assert_eq(count(LM_WISH_SPAWN), 0);
}

Test(core_restart, usage_error_of_a_child_ends_the_node) { expect_end_with(LM_EXIT_USAGE); }
Test(core_restart, wrong_configuration_ends_the_node) { expect_end_with(LM_EXIT_CONFIG); }
Test(core_restart, damaged_state_ends_the_node) { expect_end_with(LM_EXIT_DAMAGED); }

Test(core_restart, damage_found_while_stopping_is_still_told)
{
    all_grow_up();
    lm_restart_stop(machine, now_us, &out);
    lm_restart_drained(machine, now_us, &out);
    exits(GATEWAY, 0, 0);
    exits(FRONTEND, 0, 0);
    exits(HEALTH, 0, 0);
    exits(LOCK, 0, 0);
    exits(RAFT, LM_EXIT_DAMAGED, 0);
    cr_assert_eq(out.items[out.n - 1].code, LM_EXIT_DAMAGED);
}

Test(core_restart, a_signal_numbered_like_an_exit_class_is_a_signal)
{
    all_grow_up();
    exits(RAFT, LM_EXIT_DAMAGED, 6);
    cr_assert_eq(state(RAFT), LM_CHILD_WAITING);
}

/* ---- children that live and die together ---- */

Test(core_restart, one_death_ends_a_node_of_threads_in_order_with_its_exit_class)
{
    lm_restart_one_death_ends(machine);
    all_grow_up();
    exits(LOCK, LM_EXIT_TRY_LATER, 0);
    cr_assert_eq(state(LOCK), LM_CHILD_GONE);
    cr_assert_eq(count(LM_WISH_SPAWN), 0);
    cr_assert(find(LM_WISH_DRAIN, RAFT));
    lm_restart_drained(machine, now_us, &out);
    exits(GATEWAY, 0, 0);
    exits(FRONTEND, 0, 0);
    exits(HEALTH, 0, 0);
    exits(RAFT, 0, 0);
    cr_assert_eq(out.items[out.n - 1].kind, LM_WISH_END);
    cr_assert_eq(out.items[out.n - 1].code, LM_EXIT_TRY_LATER);
}

Test(core_restart, a_thread_that_ends_unasked_is_a_broken_invariant)
{
    lm_restart_one_death_ends(machine);
    all_grow_up();
    exits(RAFT, 0, 0);
    exits(GATEWAY, 0, 0);
    exits(FRONTEND, 0, 0);
    exits(HEALTH, 0, 0);
    exits(LOCK, 0, 0);
    cr_assert_eq(out.items[out.n - 1].code, LM_EXIT_ASSERTION);
}

Test(core_restart, one_death_during_a_stop_changes_nothing_for_threads)
{
    lm_restart_one_death_ends(machine);
    all_grow_up();
    lm_restart_stop(machine, now_us, &out);
    lm_restart_drained(machine, now_us, &out);
    exits(GATEWAY, 0, 9);
    exits(FRONTEND, 0, 0);
    exits(HEALTH, 0, 0);
    exits(LOCK, 0, 0);
    exits(RAFT, 0, 0);
    cr_assert_eq(out.items[out.n - 1].code, LM_EXIT_OK);
}
