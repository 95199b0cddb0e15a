/* Waiting, leaving, abandoning, cancelling: rules S10 to S11b, one schedule after another. */
#include <criterion/criterion.h>

#include "lock_rig.h"
#include "wire_command.h"

#define SAID(call, words) cr_assert_str_eq(rig_said(rig, call), words)

static rig_t *rig;

static void set_up(void) { rig = rig_leading(); }

static void tear_down(void) { rig_destroy(&rig); }

TestSuite(lock_wait, .init = set_up, .fini = tear_down);

static const lm_table_t *table(void) { return lm_lock_room_table(rig->room); }

static uint32_t waiters(const char *name)
{
    const lm_entry_t *lock = lm_table_lock(table(), lm_bytes_of(name));
    return lock ? lm_entry_value(lock)->n_waiters : 0;
}

static uint32_t holders(const char *name)
{
    const lm_entry_t *lock = lm_table_lock(table(), lm_bytes_of(name));
    return lock ? lm_entry_value(lock)->n_holders : 0;
}

static uint64_t wait_for(const char *owner, const char *id, const char *name)
{
    uint64_t call = RIG_ACQUIRE(rig, .owner = owner, .id = id, .name = name, .wait_ms = -1);
    rig_settle(rig);
    SAID(call, "none");
    return call;
}

static uint64_t give_back(uint64_t call, const char *owner, const char *name)
{
    const char *id =
        lm_arena_text(rig->arena, lm_arena_print(rig->arena, "r%llu", (unsigned long long)call));
    return rig_release(
        rig,
        (rig_call_t){.owner = owner, .id = id, .name = name, .hold_id = rig_hold_id(rig, call)});
}

static const lm_command_t *only_command(lm_command_kind_t kind)
{
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 1, "%zu commands", commands.n);
    cr_assert_eq(commands.items[0].kind, kind, "command %d", commands.items[0].kind);
    return &commands.items[0];
}

static void lose_leadership(void)
{
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, rig->term + 1, "n2");
    lm_lock_room_verify(rig->room);
}

static void lead_again(void)
{
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, rig->term + 1, "n1");
    rig_settle(rig);
    cr_assert(lm_lock_room_serves(rig->room));
}

/* ---- S10: listeners belong to the wait ------------------------------------------------------- */

Test(lock_wait, a_waiter_is_granted_at_the_release)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t b = wait_for("b", "1", "x");
    uint64_t c = wait_for("c", "1", "x");
    give_back(a, "a", "x");
    rig_settle(rig);
    SAID(b, "granted");
    SAID(c, "none");
    cr_assert(rig_answer(rig, b)->acquire->token > rig_answer(rig, a)->acquire->token);
    lm_test_advance(rig->host, 30000000);
    rig_settle(rig);
    SAID(c, "granted"); /* by expiry of b's hold */
}

Test(lock_wait, s10_leave_only_when_last_listener_left)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b1 = wait_for("b", "1", "x");
    uint64_t b2 = wait_for("b", "1", "x"); /* a repeat: no second entry */
    cr_assert_eq(waiters("x"), 1);
    rig_gone(rig, b1);
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_gone(rig, b2);
    cr_assert_eq(only_command(LM_COMMAND_LEAVE)->pair.term, 1);
    rig_settle(rig);
    cr_assert_eq(waiters("x"), 0);
    cr_assert_null(lm_table_find(
        table(), &(lm_request_key_t){.owner = lm_bytes_of("b"), .request_id = lm_bytes_of("1")}));
}

Test(lock_wait, s10_a_listener_of_another_id_keeps_the_wait)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t b1 = wait_for("b", "1", "x");
    uint64_t b2 = wait_for("b", "2", "x");
    cr_assert_eq(waiters("x"), 1);
    rig_gone(rig, b1);
    cr_assert_eq(rig_proposed(rig).n, 0);
    give_back(a, "a", "x");
    rig_settle(rig);
    SAID(b2, "granted");
}

Test(lock_wait, s10_a_lost_clients_room_takes_its_listeners_with_it)
{
    rig_take(rig, "a", "x", 0);
    wait_for("b", "1", "x");
    uint64_t y = RIG_ACQUIRE(rig, .owner = "b", .id = "2", .name = "y");
    (void)y;
    lm_test_restart_peer(rig->host, LM_CLIENTS);
    cr_assert_eq(lm_lock_room_calls(rig->room), 0);
    rig_settle(rig);
    cr_assert_eq(waiters("x"), 0);
    cr_assert_eq(holders("y"), 0); /* granted to nobody, abandoned */
}

Test(lock_wait, s10_a_listener_that_leaves_before_its_acquire_is_applied)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1);
    rig_accept(rig);
    rig_gone(rig, b);
    cr_assert_eq(rig_proposed(rig).n, 0); /* the wait has no number yet */
    rig_deliver(rig, 1);
    only_command(LM_COMMAND_LEAVE);
    rig_settle(rig);
    cr_assert_eq(waiters("x"), 0);
}

Test(lock_wait, s10_a_new_listener_in_between_keeps_it)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1);
    rig_accept(rig);
    rig_gone(rig, b);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1);
    rig_settle(rig);
    cr_assert_eq(waiters("x"), 1);
    SAID(again, "none");
}

Test(lock_wait, s10_the_end_of_the_time_to_wait_is_an_answer)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = 2000);
    rig_settle(rig);
    lm_test_advance(rig->host, 1999000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1000);
    only_command(LM_COMMAND_WAIT_TIMEOUT);
    SAID(b, "none");
    rig_settle(rig);
    SAID(b, "timed out");
    cr_assert_eq(waiters("x"), 0);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = 2000);
    rig_reads(rig);
    SAID(again, "timed out");
}

Test(lock_wait, s10_a_wait_without_a_limit_ends_before_its_call_has_to)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b =
        RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1, .remaining_ms = 1000);
    rig_settle(rig);
    lm_test_advance(rig->host, 950000);
    only_command(LM_COMMAND_WAIT_TIMEOUT);
    rig_settle(rig);
    SAID(b, "timed out");
}

Test(lock_wait, s10_the_longest_of_several_times_counts)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t soon = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = 1000);
    uint64_t late = RIG_ACQUIRE(rig, .owner = "b", .id = "2", .name = "x", .wait_ms = 9000);
    rig_settle(rig);
    lm_test_advance(rig->host, 1000000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    SAID(soon, "timed out");
    give_back(a, "a", "x");
    rig_settle(rig);
    SAID(late, "granted");
}

Test(lock_wait, s10_a_timeout_that_meets_the_grant_is_void)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = 1000);
    rig_settle(rig);
    give_back(a, "a", "x");
    rig_accept(rig);
    lm_test_advance(rig->host, 1000000);
    only_command(LM_COMMAND_WAIT_TIMEOUT);
    rig_settle(rig);
    SAID(b, "granted");
    cr_assert_eq(holders("x"), 1);
}

Test(lock_wait, s10_the_time_was_over_before_the_wait_began)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = 500);
    rig_accept(rig);
    lm_test_advance(rig->host, 600000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_deliver(rig, 1);
    only_command(LM_COMMAND_WAIT_TIMEOUT);
    rig_settle(rig);
    SAID(b, "timed out");
}

/* ---- S10a: abandoning ------------------------------------------------------------------------ */

Test(lock_wait, s10a_a_grant_that_nobody_hears_is_abandoned)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_accept(rig);
    rig_gone(rig, a);
    rig_deliver(rig, 1);
    only_command(LM_COMMAND_ABANDON);
    rig_settle(rig);
    cr_assert_eq(holders("x"), 0);
}

Test(lock_wait, s10a_a_grant_that_was_answered_is_never_abandoned)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    rig_gone(rig, a);
    lm_test_advance(rig->host, 9000000);
    cr_assert_eq(rig_proposed(rig).n, 0);
}

Test(lock_wait, s10a_grants_of_before_the_own_takeover_are_never_abandoned)
{
    lose_leadership();
    lm_command_t commands[] = {
        {.kind = LM_COMMAND_TAKEOVER,
         .pair = {.term = 2, .boot_id = 9, .counter = 1},
         .settings = lm_settings_default()},
        {.kind = LM_COMMAND_ACQUIRE,
         .pair = {.term = 2, .boot_id = 9, .counter = 1},
         .key = {.owner = lm_bytes_of("a"), .request_id = lm_bytes_of("1")},
         .name = lm_bytes_of("x"),
         .mode = LM_MODE_EXCLUSIVE,
         .ttl_ms = 20000},
    };
    rig_append(rig, 2, commands, 2);
    rig_deliver(rig, 1);
    cr_assert_eq(holders("x"), 1);
    lead_again();
    lm_test_advance(rig->host, 19000000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1000000);
    only_command(LM_COMMAND_EXPIRE); /* at most one lease */
}

Test(lock_wait, s10a_a_follower_abandons_nothing)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_accept(rig);
    lose_leadership();
    SAID(a, "forward n2 maybe");
    rig_deliver(rig, 1);
    cr_assert_eq(holders("x"), 1);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lead_again();
    lm_test_advance(rig->host, 10000000);
    cr_assert_eq(rig_proposed(rig).n, 0);
}

/* ---- S10b ------------------------------------------------------------------------------------ */

Test(lock_wait, s10b_a_foreign_takeover_ends_every_listener_first)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t b = wait_for("b", "1", "x");
    uint64_t read = rig_get(rig, (rig_call_t){.name = "x"});
    lm_pair_t foreign = {.term = 2, .boot_id = 9, .counter = 1};
    lm_command_t commands[] = {
        {.kind = LM_COMMAND_TAKEOVER, .pair = foreign, .settings = lm_settings_default()},
        {.kind = LM_COMMAND_RELEASE,
         .pair = foreign,
         .key = {.owner = lm_bytes_of("a"), .request_id = lm_bytes_of("r")},
         .name = lm_bytes_of("x"),
         .hold = rig_answer(rig, a)->acquire->header->op_seq},
    };
    rig_append(rig, 2, commands, 2); /* raft has not said yet that it does not lead */
    rig_deliver(rig, 1);
    cr_assert_eq(holders("x"), 1);
    cr_assert_eq(waiters("x"), 0); /* b was granted by that very entry */
    SAID(b, "forward maybe");
    SAID(read, "forward");
    cr_assert_not(lm_lock_room_serves(rig->room));
    cr_assert_eq(rig_proposed(rig).n, 0);
}

Test(lock_wait, s10b_losing_the_term_ends_every_listener)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = wait_for("b", "1", "x");
    uint64_t c = RIG_ACQUIRE(rig, .owner = "c", .id = "1", .name = "y", .stamped = true, .stamp = 1,
                             .seen = false);
    lose_leadership();
    SAID(b, "forward n2 maybe");
    SAID(c, "forward n2 maybe");
    cr_assert_eq(rig_answer(rig, c)->stamp, 1);
    cr_assert_eq(lm_lock_room_calls(rig->room), 0);
}

/* ---- S10d ------------------------------------------------------------------------------------ */

static uint64_t cancel(const char *owner, const char *id)
{
    return rig_cancel(rig, (rig_call_t){.owner = owner, .id = id});
}

Test(lock_wait, s10d_a_cancel_before_the_acquire)
{
    uint64_t c = cancel("a", "1");
    rig_settle(rig);
    SAID(c, "cancel cancelled");
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_reads(rig);
    SAID(a, "cancelled");
    cr_assert_eq(holders("x"), 0);
}

Test(lock_wait, s10d_a_cancel_of_one_that_waits)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = wait_for("b", "1", "x");
    uint64_t c = cancel("b", "1");
    rig_settle(rig);
    SAID(c, "cancel cancelled");
    SAID(b, "cancelled");
    cr_assert_eq(waiters("x"), 0);
}

Test(lock_wait, s10d_a_cancel_of_one_that_holds_keeps_the_hold)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    lm_test_advance(rig->host, 4000000);
    uint64_t c = cancel("a", "a-x");
    rig_settle(rig);
    SAID(c, "cancel granted");
    const lm_api_cancel_response_t *response = rig_answer(rig, c)->cancel;
    cr_assert_eq(response->token, rig_answer(rig, a)->acquire->token);
    cr_assert_eq(response->lease_remaining_ms, 6000);
    cr_assert(lm_bytes_equal(response->hold_id, rig_answer(rig, a)->acquire->hold_id));
    cr_assert_eq(holders("x"), 1);
    give_back(a, "a", "x");
    rig_settle(rig);
    uint64_t late = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 10000);
    rig_reads(rig);
    SAID(late, "ended RELEASED");
    c = cancel("a", "a-x");
    rig_settle(rig);
    SAID(c, "cancel cancelled");
}

Test(lock_wait, s10d_a_cancel_that_meets_an_abandon_leaves_it_retired)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_accept(rig);
    rig_gone(rig, a);
    uint64_t c = cancel("a", "1");
    rig_accept(rig);
    rig_deliver(rig, 1);
    only_command(LM_COMMAND_ABANDON); /* behind the Cancel */
    rig_accept(rig);
    rig_deliver(rig, 1);
    SAID(c, "forward maybe"); /* granted would not be true for long */
    rig_settle(rig);
    cr_assert_eq(holders("x"), 0);
    c = cancel("a", "1");
    rig_settle(rig);
    SAID(c, "cancel cancelled");
    uint64_t late = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_settle(rig);
    rig_reads(rig);
    cr_assert_str_neq(rig_said(rig, late), "granted");
    cr_assert_str_neq(rig_said(rig, late), "none");
    cr_assert_eq(holders("x"), 0);
}

/* ---- S11 ------------------------------------------------------------------------------------- */

Test(lock_wait, s11_ghosts_leave_in_one_entry_after_three_seconds)
{
    rig_take(rig, "a", "x", 100000);
    for (int i = 0; i < 50; i++)
        wait_for(lm_arena_text(rig->arena, lm_arena_print(rig->arena, "ghost%d", i)), "1", "x");
    lose_leadership();
    lead_again();
    uint64_t live = RIG_ACQUIRE(rig, .owner = "ghost7", .id = "1", .name = "x", .wait_ms = -1);
    lm_test_advance(rig->host, 2999000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1000);
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 49);
    for (size_t i = 0; i < commands.n; i++) cr_assert_eq(commands.items[i].kind, LM_COMMAND_LEAVE);
    rig_settle(rig);
    cr_assert_eq(waiters("x"), 1);
    SAID(live, "none");
}

Test(lock_wait, s11_a_grant_to_a_ghost_is_abandoned_when_the_grace_is_over)
{
    rig_take(rig, "a", "x", 100000);
    wait_for("ghost", "1", "x");
    wait_for("back", "1", "x");
    lose_leadership();
    lead_again();
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 100000);
    rig_reads(rig);
    uint64_t back = wait_for("back", "1", "x");
    rig_reads(rig);
    give_back(again, "a", "x");
    rig_settle(rig);
    cr_assert_eq(holders("x"), 1);
    lm_test_advance(rig->host, 2999000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1000);
    only_command(LM_COMMAND_ABANDON);
    rig_settle(rig);
    SAID(back, "granted");
}

Test(lock_wait, s11_attaching_within_the_grace_saves_the_grant)
{
    rig_take(rig, "a", "x", 100000);
    wait_for("b", "1", "x");
    lose_leadership();
    lead_again();
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 100000);
    rig_reads(rig);
    give_back(again, "a", "x");
    rig_settle(rig);
    lm_test_advance(rig->host, 1000000);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1);
    rig_reads(rig);
    SAID(b, "granted");
    lm_test_advance(rig->host, 5000000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    cr_assert_eq(holders("x"), 1);
}

Test(lock_wait, s11_who_attaches_and_leaves_again_does_not_wait_for_the_grace)
{
    rig_take(rig, "a", "x", 100000);
    wait_for("b", "1", "x");
    lose_leadership();
    lead_again();
    uint64_t b = wait_for("b", "1", "x");
    rig_gone(rig, b);
    only_command(LM_COMMAND_LEAVE);
}

Test(lock_wait, s11_after_the_grace_an_unheard_grant_is_abandoned_at_once)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    lm_test_advance(rig->host, 4000000);
    uint64_t b = wait_for("b", "1", "x");
    give_back(a, "a", "x");
    rig_accept(rig);
    rig_gone(rig, b); /* the Leave comes too late */
    rig_accept(rig);
    rig_deliver(rig, 1);
    cr_assert_eq(holders("x"), 1);
    rig_deliver(rig, 1); /* void */
    only_command(LM_COMMAND_ABANDON);
    rig_settle(rig);
    cr_assert_eq(holders("x"), 0);
}

/* ---- S11b ------------------------------------------------------------------------------------ */

Test(lock_wait, s11b_a_second_acquire_returns_the_hold_with_the_next_claim)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    lm_test_advance(rig->host, 3000000);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "other", .name = "x", .ttl_ms = 10000);
    rig_settle(rig);
    SAID(again, "granted");
    const lm_api_acquire_response_t *first = rig_answer(rig, a)->acquire;
    const lm_api_acquire_response_t *second = rig_answer(rig, again)->acquire;
    cr_assert_eq(first->token, second->token);
    cr_assert_eq(second->lease_remaining_ms, 7000); /* the TTL goes on */
    cr_assert_not(lm_bytes_equal(first->hold_id, second->hold_id));
    uint64_t late = give_back(a, "a", "x"); /* a Release that was delayed */
    rig_settle(rig);
    SAID(late, "error STALE_HOLD");
    cr_assert_eq(holders("x"), 1);
    uint64_t right = give_back(again, "a", "x");
    rig_settle(rig);
    SAID(right, "released");
}

Test(lock_wait, s11b_an_acquire_in_flight_gets_its_own_answer_with_the_current_claim)
{
    uint64_t first = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .wait_ms = -1);
    uint64_t second = RIG_ACQUIRE(rig, .owner = "a", .id = "2", .name = "x", .wait_ms = -1);
    rig_accept(rig);
    rig_deliver(rig, 1);
    SAID(first, "granted");
    SAID(second, "none");
    rig_deliver(rig, 1);
    SAID(second, "granted");
    uint64_t release = give_back(second, "a", "x");
    rig_settle(rig);
    SAID(release, "released");
}

Test(lock_wait, s11b_another_mode_is_refused)
{
    rig_take(rig, "a", "x", 0);
    uint64_t again =
        RIG_ACQUIRE(rig, .owner = "a", .id = "2", .name = "x", .mode = LM_API_LOCK_MODE_SHARED);
    rig_settle(rig);
    SAID(again, "error MODE_MISMATCH");
}

Test(lock_wait, s11b_who_waits_already_and_does_not_want_to_wait_is_told_held)
{
    rig_take(rig, "a", "x", 0);
    uint64_t waits = wait_for("b", "1", "x");
    uint64_t not = RIG_ACQUIRE(rig, .owner = "b", .id = "2", .name = "x");
    rig_settle(rig);
    SAID(not, "held");
    SAID(waits, "none");
    cr_assert_eq(waiters("x"), 1);
}

Test(lock_wait, shared_holders_are_granted_together)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1,
                             .mode = LM_API_LOCK_MODE_SHARED);
    uint64_t c = RIG_ACQUIRE(rig, .owner = "c", .id = "1", .name = "x", .wait_ms = -1,
                             .mode = LM_API_LOCK_MODE_SHARED);
    rig_settle(rig);
    give_back(a, "a", "x");
    rig_settle(rig);
    SAID(b, "granted");
    SAID(c, "granted");
    cr_assert_eq(rig_answer(rig, b)->acquire->token, rig_answer(rig, c)->acquire->token);
}
