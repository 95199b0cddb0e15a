/* The lock actor by messages in and out: delivery, leading, leases, reads. */
#include <criterion/criterion.h>

#include "lock_rig.h"
#include "wire_command.h"

#define SAID(call, words) cr_assert_str_eq(rig_said(rig, call), words)

static rig_t *rig;

static void set_up(void) { rig = rig_leading(); }

static void tear_down(void) { rig_destroy(&rig); }

TestSuite(lock_room, .init = set_up, .fini = tear_down);

static void start_anew(uint32_t counter)
{
    rig_destroy(&rig);
    rig = rig_new(counter);
}

static const lm_api_acquire_response_t *granted(uint64_t call)
{
    SAID(call, "granted");
    return rig_answer(rig, call)->acquire;
}

/* The only command of the next entry. */
static const lm_command_t *only_command(lm_command_kind_t kind)
{
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 1, "%zu commands", commands.n);
    cr_assert_eq(commands.items[0].kind, kind, "command %d", commands.items[0].kind);
    return &commands.items[0];
}

/* ---- one call after another ------------------------------------------------------------------ */

Test(lock_room, grants_holds_and_releases)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .ttl_ms = 10000);
    SAID(a, "none");
    rig_settle(rig);
    cr_assert_eq(granted(a)->lease_remaining_ms, 10000);
    cr_assert_eq(granted(a)->ttl_ms, 10000);
    cr_assert(granted(a)->token > 0);
    cr_assert(lm_bytes_equal(granted(a)->request_id, lm_bytes_of("1")));
    cr_assert(lm_bytes_equal(granted(a)->header->node, lm_bytes_of("n1")));
    cr_assert(lm_bytes_equal(granted(a)->header->cluster_id, lm_bytes_of("c1")));
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x");
    rig_settle(rig);
    SAID(b, "held");
    cr_assert_eq(rig_answer(rig, b)->acquire->n_holders, 1);
    cr_assert(lm_bytes_equal(rig_answer(rig, b)->acquire->holders[0].owner, lm_bytes_of("a")));
    uint64_t r = rig_release(
        rig, (rig_call_t){.owner = "a", .id = "2", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_settle(rig);
    SAID(r, "released");
    cr_assert_eq(rig_answer(rig, r)->release->token, granted(a)->token);
    uint64_t c = RIG_ACQUIRE(rig, .owner = "c", .id = "1", .name = "x");
    rig_settle(rig);
    cr_assert(granted(c)->token > granted(a)->token);
}

Test(lock_room, lease_lengths_are_clamped_and_said)
{
    const struct {
        int64_t asked, applied;
    } rows[] = {{0, 30000},   {1, 1000},        {999, 1000},
                {1000, 1000}, {300000, 300000}, {300001, 300000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *name = lm_arena_text(rig->arena, lm_arena_print(rig->arena, "x%zu", i));
        uint64_t call = rig_take(rig, "a", name, rows[i].asked);
        cr_assert_eq(granted(call)->ttl_ms, rows[i].applied);
    }
}

Test(lock_room, broken_requests_are_refused_by_field)
{
    const struct {
        rig_call_t call;
        const char *field;
    } rows[] = {
        {{.owner = "a", .id = "1", .name = ""}, "name"},
        {{.owner = "", .id = "1", .name = "x"}, "owner"},
        {{.owner = "a", .id = "", .name = "x"}, "request_id"},
        {{.owner = "a", .id = "1", .name = "x", .ttl_ms = -1}, "ttl_ms"},
        {{.owner = "a", .id = "1", .name = "x", .wait_ms = -2}, "wait_ms"},
        {{.owner = "a", .id = "1", .name = "x", .mode = 3}, "mode"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t call = rig_acquire(rig, rows[i].call);
        SAID(call, "error INVALID_ARGUMENT");
        cr_assert(lm_bytes_equal(rig_answer(rig, call)->field, lm_bytes_of(rows[i].field)));
    }
    const char *const hold_ids[] = {"",     "1",    "-", "1-",    "-1",
                                    "01-1", "1-1x", "x", "1-1-1", "18446744073709551616-1"};
    for (size_t i = 0; i < sizeof hold_ids / sizeof *hold_ids; i++) {
        uint64_t call = rig_release(
            rig, (rig_call_t){.owner = "a", .id = "1", .name = "x", .hold_id = hold_ids[i]});
        SAID(call, "error INVALID_ARGUMENT");
        cr_assert(lm_bytes_equal(rig_answer(rig, call)->field, lm_bytes_of("hold_id")));
    }
    cr_assert_eq(rig_proposed(rig).n, 0);
}

Test(lock_room, stale_and_foreign_holds_are_refused)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    const char *hold_id = rig_hold_id(rig, a);
    uint64_t foreign =
        rig_release(rig, (rig_call_t){.owner = "b", .id = "1", .name = "x", .hold_id = hold_id});
    uint64_t stale = rig_renew(rig, (rig_call_t){.owner = "a", .name = "x", .hold_id = "999-0"});
    rig_settle(rig);
    SAID(foreign, "error STALE_HOLD");
    SAID(stale, "error STALE_HOLD");
}

Test(lock_room, one_turn_is_one_entry)
{
    for (int i = 0; i < 5; i++) {
        lm_api_acquire_request_t request = {.name = lm_arena_print(rig->arena, "x%d", i),
                                            .owner = lm_bytes_of("a"),
                                            .request_id = lm_arena_print(rig->arena, "%d", i)};
        lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                    .acquire = &request};
        lm_test_feed(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body, 0);
    }
    lm_test_turn(rig->host);
    cr_assert_eq(rig_proposed(rig).n, 5);
    cr_assert_eq(rig_accept(rig), 1);
}

Test(lock_room, eight_entries_in_flight_and_the_rest_waits)
{
    for (int i = 0; i < 20; i++)
        RIG_ACQUIRE(rig, .owner = "a",
                    .id = lm_arena_text(rig->arena, lm_arena_print(rig->arena, "%d", i)),
                    .name = lm_arena_text(rig->arena, lm_arena_print(rig->arena, "x%d", i)));
    cr_assert_eq(rig_accept(rig), 8);
    rig_deliver(rig, 1);
    cr_assert_eq(rig_proposed(rig).n, 12);
    rig_settle(rig);
    cr_assert_eq(lm_lock_room_calls(rig->room), 0);
    cr_assert_eq(lm_lock_room_commands(rig->room), 0);
}

/* ---- delivery -------------------------------------------------------------------------------- */

Test(lock_room, s15_attaches_with_what_it_has_applied)
{
    rig_take(rig, "a", "x", 0);
    uint64_t applied = rig->delivered;
    lm_test_restart_peer(rig->host, LM_RAFT);
    const lm_bus_attach_t *attach = rig_attach(rig, false, applied);
    cr_assert_eq(attach->applied_index, applied);
    cr_assert_eq(attach->applied_term, 1);
    cr_assert_eq(attach->state_hash, lm_table_hash(lm_lock_room_table(rig->room)));
    cr_assert(lm_bytes_equal(attach->cluster_id, lm_bytes_of("c1")));
    cr_assert(lm_bytes_equal(attach->history_id, lm_bytes_of("h1")));
}

Test(lock_room, s15_a_reset_begins_anew)
{
    rig_take(rig, "a", "x", 0);
    lm_test_restart_peer(rig->host, LM_RAFT);
    rig_attach(rig, true, 0);
    cr_assert_eq(lm_table_op_seq(lm_lock_room_table(rig->room)), 0);
    cr_assert_not(lm_lock_room_serves(rig->room));
}

Test(lock_room, s15_credit_is_absolute_and_comes_again)
{
    start_anew(1);
    rig_attach(rig, false, 0);
    const lm_test_sent_t *sent = lm_test_take(rig->host, LM_MSG_CREDIT);
    cr_assert(sent);
    cr_assert_eq(((const lm_bus_credit_t *)sent->body)->up_to_index, 1024);
    lm_test_advance(rig->host, 600000);
    cr_assert(lm_test_take(rig->host, LM_MSG_CREDIT));
}

Test(lock_room, entries_of_other_types_move_the_index)
{
    uint64_t call = rig_get(rig, (rig_call_t){.name = "x"});
    rig_append(rig, 1,
               &(lm_command_t){.kind = LM_COMMAND_CANCEL,
                               .key = {.owner = lm_bytes_of("a"), .request_id = lm_bytes_of("z")}},
               1);
    rig->log[rig->n_log].type = 2;
    uint64_t op_seq = lm_table_op_seq(lm_lock_room_table(rig->room));
    rig_reads(rig);
    SAID(call, "none");
    rig_deliver(rig, 1);
    SAID(call, "shown");
    cr_assert_eq(lm_table_op_seq(lm_lock_room_table(rig->room)), op_seq);
}

Test(lock_room, tells_raft_and_the_gateway_what_it_knows)
{
    lm_test_advance(rig->host, 600000);
    const lm_test_sent_t *sent, *last = NULL;
    while ((sent = lm_test_take(rig->host, LM_MSG_LOCK_STATE))) last = sent;
    cr_assert(last);
    const lm_bus_lock_state_t *state = last->body;
    cr_assert(state->ready);
    cr_assert_eq(state->applied_index, rig->delivered);
    cr_assert_eq(state->state_hash, lm_table_hash(lm_lock_room_table(rig->room)));
    cr_assert_not(state->give_up);
    cr_assert(lm_test_take(rig->host, LM_MSG_CLUSTER_ID));
    lm_bus_node_mode_t mode = {.mode = LM_BUS_NODE_MODE_MODE_DRAINING};
    lm_test_deliver(rig->host, LM_SUPERVISOR, LM_MSG_NODE_MODE, &mode, 0);
    sent = lm_test_take(rig->host, LM_MSG_LOCK_STATE);
    cr_assert(sent && ((const lm_bus_lock_state_t *)sent->body)->give_up);
}

/* ---- S6 -------------------------------------------------------------------------------------- */

Test(lock_room, s6_a_repeat_hears_what_is_left_and_only_after_a_read)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    lm_test_advance(rig->host, 9000000);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 10000);
    SAID(again, "none");
    cr_assert_eq(rig_proposed(rig).n, 0);
    cr_assert_eq(rig_reads(rig), 1);
    cr_assert_eq(granted(again)->lease_remaining_ms, 1000);
    cr_assert_eq(granted(again)->token, granted(a)->token);
    cr_assert(lm_bytes_equal(granted(again)->hold_id, granted(a)->hold_id));
}

Test(lock_room, s6_what_is_left_is_never_negative)
{
    rig_take(rig, "a", "x", 10000);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 10000);
    lm_test_advance(rig->host, 10500000);
    rig_reads(rig);
    cr_assert_eq(granted(again)->lease_remaining_ms, 0);
}

Test(lock_room, s6_a_repeat_says_that_the_hold_has_ended)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    rig_release(rig,
                (rig_call_t){.owner = "a", .id = "r", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_settle(rig);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 10000);
    rig_reads(rig);
    SAID(again, "ended RELEASED");
    rig_take(rig, "b", "x", 1000);
    lm_test_advance(rig->host, 1000000);
    rig_settle(rig);
    again = RIG_ACQUIRE(rig, .owner = "b", .id = "b-x", .name = "x", .ttl_ms = 1000);
    rig_reads(rig);
    SAID(again, "ended EXPIRED");
}

Test(lock_room, s6_the_lease_begins_at_the_grant_not_at_the_call)
{
    uint64_t a = rig_take(rig, "a", "x", 300000);
    uint64_t b =
        RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .ttl_ms = 30000, .wait_ms = -1);
    rig_settle(rig);
    lm_test_advance(rig->host, 60000000);
    rig_release(rig,
                (rig_call_t){.owner = "a", .id = "r", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_settle(rig);
    cr_assert_eq(granted(b)->lease_remaining_ms, 30000);
    lm_test_advance(rig->host, 29999000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1000);
    only_command(LM_COMMAND_EXPIRE);
}

/* ---- S7 -------------------------------------------------------------------------------------- */

Test(lock_room, s7_a_renewal_is_acknowledged_from_apply)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    lm_test_advance(rig->host, 5000000);
    rig_call_t renew = {.owner = "a", .name = "x", .hold_id = rig_hold_id(rig, a)};
    uint64_t first = rig_renew(rig, renew);
    uint64_t second = rig_renew(rig, renew);
    cr_assert_eq(rig_accept(rig), 2); /* never one for both */
    lm_test_advance(rig->host, 1000000);
    SAID(first, "none");
    rig_deliver(rig, 1);
    SAID(first, "renewed");
    SAID(second, "none");
    cr_assert_eq(rig_answer(rig, first)->renew->lease_remaining_ms, 10000);
    cr_assert_eq(rig_answer(rig, first)->renew->token, granted(a)->token);
    rig_deliver(rig, 1);
    SAID(second, "renewed");
    lm_test_advance(rig->host, 9999000);
    cr_assert_eq(rig_proposed(rig).n, 0);
}

Test(lock_room, s7_a_deposed_leader_acknowledges_nothing)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    uint64_t renew =
        rig_renew(rig, (rig_call_t){.owner = "a", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_accept(rig);
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, 2, "n2");
    SAID(renew, "forward n2 maybe");
    rig_deliver(rig, 1);
}

/* ---- S8 -------------------------------------------------------------------------------------- */

Test(lock_room, s8_nothing_is_served_before_the_own_takeover)
{
    start_anew(1);
    rig_attach(rig, false, 0);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 3, "n1");
    uint64_t early = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    SAID(early, "forward"); /* to nobody: this very node will serve in a moment */
    rig_commands_t takeover = rig_proposed(rig);
    cr_assert(takeover.takeover);
    cr_assert_eq(takeover.n, 1);
    cr_assert_eq(takeover.items[0].kind, LM_COMMAND_TAKEOVER);
    cr_assert_eq(takeover.pair.term, 3);
    cr_assert_eq(takeover.pair.boot_id, 1);
    cr_assert_eq(takeover.items[0].settings.record_ring_size, 64);
    rig_accept(rig);
    SAID(RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x"), "forward");
    rig_deliver(rig, 1);
    uint64_t late = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_settle(rig);
    SAID(late, "granted");
}

Test(lock_room, s8_the_takeover_gives_every_lease_its_full_length)
{
    uint64_t a = rig_take(rig, "a", "x", 10000);
    lm_test_advance(rig->host, 9000000);
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, 2, "n2");
    lm_test_advance(rig->host, 5000000); /* nobody counts here now */
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 3, "n1");
    rig_settle(rig);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 10000);
    rig_reads(rig);
    cr_assert_eq(granted(again)->lease_remaining_ms, 10000);
    cr_assert_eq(granted(again)->token, granted(a)->token);
    lm_test_advance(rig->host, 9999000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1000);
    const lm_command_t *expire = only_command(LM_COMMAND_EXPIRE);
    cr_assert_eq(expire->pair.term, 3);
    rig_settle(rig);
    cr_assert_null(lm_table_lock(lm_lock_room_table(rig->room), lm_bytes_of("x")));
}

Test(lock_room, s8_every_attach_to_a_leading_raft_takes_over)
{
    lm_test_restart_peer(rig->host, LM_RAFT);
    cr_assert_not(lm_lock_room_serves(rig->room));
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 2, "n1"); /* before it has attached */
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_attach(rig, false, 1);
    cr_assert(rig_proposed(rig).takeover);
    rig_settle(rig);
    cr_assert(lm_lock_room_serves(rig->room));
}

static void append_takeover(uint64_t term, uint32_t counter)
{
    lm_command_t command = {.kind = LM_COMMAND_TAKEOVER,
                            .pair = {.term = term, .boot_id = 1, .counter = counter},
                            .settings = lm_settings_default()};
    rig_append(rig, term, &command, 1);
}

Test(lock_room, s8_a_late_takeover_of_the_predecessor_is_void)
{
    start_anew(2);
    rig_attach(rig, false, 0);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 1, "n1");
    rig_settle(rig);
    rig_take(rig, "a", "x", 10000);
    append_takeover(1, 1);
    rig_deliver(rig, 1);
    cr_assert(lm_lock_room_serves(rig->room));
    rig_take(rig, "b", "y", 10000);
}

Test(lock_room, s8_a_successor_of_the_same_term_serves_and_expires)
{
    start_anew(2);
    rig_attach(rig, false, 2);
    lm_command_t hold = {.kind = LM_COMMAND_ACQUIRE,
                         .pair = {.term = 1, .boot_id = 1, .counter = 1},
                         .key = {.owner = lm_bytes_of("a"), .request_id = lm_bytes_of("1")},
                         .name = lm_bytes_of("x"),
                         .mode = LM_MODE_EXCLUSIVE,
                         .ttl_ms = 2000};
    append_takeover(1, 1);
    rig_append(rig, 1, &hold, 1);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 1, "n1");
    rig_settle(rig);
    cr_assert(lm_lock_room_serves(rig->room));
    lm_test_advance(rig->host, 2000000);
    only_command(LM_COMMAND_EXPIRE);
    rig_settle(rig);
    rig_take(rig, "b", "x", 1000);
}

Test(lock_room, s8_a_refused_takeover_is_tried_again)
{
    start_anew(1);
    rig_attach(rig, false, 0);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 1, "n1");
    cr_assert_eq(rig_refuse(rig, LM_RC_NOT_READY), 1);
    cr_assert_not(lm_lock_room_serves(rig->room));
    lm_test_advance(rig->host, 60000);
    rig_settle(rig);
    cr_assert(lm_lock_room_serves(rig->room));
}

Test(lock_room, s8_commands_carry_the_pair_under_which_they_are_proposed)
{
    RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(
        lm_pair_compare(commands.items[0].pair, lm_table_pair(lm_lock_room_table(rig->room))), 0);
    cr_assert_eq(lm_pair_compare(commands.pair, commands.items[0].pair), 0);
}

/* ---- S9 -------------------------------------------------------------------------------------- */

Test(lock_room, s9_a_renewal_that_waited_in_the_inbox_beats_the_late_timer)
{
    uint64_t a = rig_take(rig, "a", "x", 2000);
    rig_take(rig, "b", "y", 2000);
    lm_test_freeze(rig->host, 5000000);
    uint64_t renew =
        rig_renew(rig, (rig_call_t){.owner = "a", .name = "x", .hold_id = rig_hold_id(rig, a)});
    lm_test_advance(rig->host, 1000);
    rig_commands_t first = rig_proposed(rig);
    cr_assert_eq(first.items[0].kind, LM_COMMAND_RENEW);
    rig_settle(rig);
    SAID(renew, "renewed");
    cr_assert_not_null(lm_table_lock(lm_lock_room_table(rig->room), lm_bytes_of("x")));
    cr_assert_null(lm_table_lock(lm_lock_room_table(rig->room), lm_bytes_of("y")));
    lm_test_advance(rig->host, 1998000);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 2000);
    only_command(LM_COMMAND_EXPIRE);
}

Test(lock_room, s9_a_renewal_of_somebody_else_keeps_nothing_alive)
{
    uint64_t a = rig_take(rig, "a", "x", 2000);
    lm_test_advance(rig->host, 1999000);
    rig_renew(rig, (rig_call_t){.owner = "b", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_accept(rig);
    lm_test_advance(rig->host, 1000);
    only_command(LM_COMMAND_EXPIRE);
}

Test(lock_room, s2_an_expire_that_meets_a_renewal_is_void)
{
    uint64_t a = rig_take(rig, "a", "x", 2000);
    lm_test_advance(rig->host, 2000000);
    only_command(LM_COMMAND_EXPIRE);
    uint64_t renew =
        rig_renew(rig, (rig_call_t){.owner = "a", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_settle(rig); /* Expire first: the hold ends, the renewal is refused */
    SAID(renew, "error STALE_HOLD");
    uint64_t b = rig_take(rig, "b", "y", 2000);
    renew = rig_renew(rig, (rig_call_t){.owner = "b", .name = "y", .hold_id = rig_hold_id(rig, b)});
    rig_accept(rig);
    lm_test_advance(rig->host, 2000000); /* the lease is over while the renewal is on its way */
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_deliver(rig, 1);
    SAID(renew, "renewed");
    cr_assert_eq(rig_answer(rig, renew)->renew->lease_remaining_ms, 2000);
}

Test(lock_room, a_refused_expire_is_proposed_again)
{
    rig_take(rig, "a", "x", 1000);
    lm_test_advance(rig->host, 1000000);
    only_command(LM_COMMAND_EXPIRE);
    rig_refuse(rig, LM_RC_OVERLOADED);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 150000);
    only_command(LM_COMMAND_EXPIRE);
    rig_settle(rig);
    rig_take(rig, "b", "x", 1000);
}

/* ---- reads ----------------------------------------------------------------------------------- */

Test(lock_room, s22_a_turn_shares_a_round_and_a_later_read_begins_its_own)
{
    lm_api_get_request_t request = {.name = lm_bytes_of("x")};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &request};
    uint64_t a = lm_test_feed(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body, 0);
    uint64_t b = lm_test_feed(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body, 0);
    lm_test_turn(rig->host);
    cr_assert_eq(lm_test_count(rig->host, LM_MSG_READ_INDEX), 1);
    uint64_t c = rig_get(rig, (rig_call_t){.name = "x"});
    cr_assert_eq(lm_test_count(rig->host, LM_MSG_READ_INDEX), 2);
    const lm_test_sent_t *first = lm_test_take(rig->host, LM_MSG_READ_INDEX);
    lm_bus_read_index_done_t done = {.index = 1};
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_READ_INDEX_DONE, first->correlation, &done);
    SAID(a, "shown");
    SAID(b, "shown");
    SAID(c, "none");
    rig_reads(rig);
    SAID(c, "shown");
}

Test(lock_room, a_refused_round_is_asked_for_again)
{
    uint64_t call = rig_get(rig, (rig_call_t){.name = "x"});
    const lm_test_sent_t *sent = lm_test_take(rig->host, LM_MSG_READ_INDEX);
    lm_bus_read_index_done_t no = {.code = LM_RC_NOT_READY};
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_READ_INDEX_DONE, sent->correlation, &no);
    cr_assert_eq(lm_test_count(rig->host, LM_MSG_READ_INDEX), 0);
    lm_test_advance(rig->host, 20000);
    cr_assert_eq(rig_reads(rig), 1);
    SAID(call, "shown");
}

Test(lock_room, reads_without_a_quorum_end_in_time_as_not_applied)
{
    uint64_t call = rig_get(rig, (rig_call_t){.name = "x", .remaining_ms = 800});
    lm_test_advance(rig->host, 790000);
    SAID(call, "none");
    lm_test_advance(rig->host, 10000);
    SAID(call, "error NO_LEADER");
}

Test(lock_room, shows_holders_and_waiters)
{
    rig_take(rig, "a", "x", 10000);
    RIG_ACQUIRE(rig, .owner = "b", .id = "7", .name = "x", .wait_ms = -1,
                .mode = LM_API_LOCK_MODE_SHARED);
    rig_settle(rig);
    lm_test_advance(rig->host, 4000000);
    uint64_t call = rig_get(rig, (rig_call_t){.name = "x"});
    rig_reads(rig);
    const lm_api_lock_info_t *lock = rig_answer(rig, call)->get->lock;
    cr_assert_eq(lock->holder_count, 1);
    cr_assert_eq(lock->waiter_count, 1);
    cr_assert_eq(lock->holders[0].lease_remaining_ms, 6000);
    cr_assert_eq(lock->holders[0].mode, LM_API_LOCK_MODE_EXCLUSIVE);
    cr_assert_eq(lock->waiters[0].mode, LM_API_LOCK_MODE_SHARED);
    cr_assert(lm_bytes_equal(lock->waiters[0].request_id, lm_bytes_of("7")));
    call = rig_get(rig, (rig_call_t){.name = "nobody/has/it"});
    rig_reads(rig);
    cr_assert_eq(rig_answer(rig, call)->get->lock->holder_count, 0);
}

Test(lock_room, lists_page_by_page)
{
    const char *const names[] = {"a/1", "a/2", "a/3", "b/1"};
    for (size_t i = 0; i < 4; i++) rig_take(rig, "o", names[i], 0);
    uint64_t call = rig_list(rig, "a/", 2, (lm_bytes_t){0});
    rig_reads(rig);
    const lm_api_list_response_t *page = rig_answer(rig, call)->list;
    cr_assert_eq(page->n_locks, 2);
    cr_assert(page->next_page_token.size > 0);
    call = rig_list(rig, "a/", 2, page->next_page_token);
    rig_reads(rig);
    page = rig_answer(rig, call)->list;
    cr_assert_eq(page->n_locks, 1);
    cr_assert(lm_bytes_equal(page->locks[0].name, lm_bytes_of("a/3")));
    cr_assert_eq(page->next_page_token.size, 0);
    call = rig_list(rig, "", 0, (lm_bytes_t){0});
    rig_reads(rig);
    cr_assert_eq(rig_answer(rig, call)->list->n_locks, 4);
}

/* ---- no quorum ------------------------------------------------------------------------------- */

Test(lock_room, changes_that_do_not_commit_end_in_time_as_unknown)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .remaining_ms = 800);
    uint64_t b =
        RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1, .remaining_ms = 800);
    rig_accept(rig);
    lm_test_advance(rig->host, 800000);
    SAID(a, "error OUTCOME_UNKNOWN");
    SAID(b, "error OUTCOME_UNKNOWN");
    cr_assert_eq(lm_lock_room_calls(rig->room), 0);
}

Test(lock_room, what_raft_refuses_is_certainly_not_applied)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    cr_assert_eq(rig_refuse(rig, LM_RC_NOT_LEADER), 1);
    SAID(a, "forward");
    a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_refuse(rig, LM_RC_OVERLOADED);
    SAID(a, "error OVERLOADED");
    a = rig_take(rig, "a", "x", 0);
    uint64_t r = rig_release(
        rig, (rig_call_t){.owner = "a", .id = "r", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_refuse(rig, LM_RC_NOT_LEADER);
    SAID(r, "forward");
}

Test(lock_room, calls_that_come_before_the_node_knows_where_it_stands_wait)
{
    start_anew(1);
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .remaining_ms = 500);
    rig_attach(rig, false, 1);
    append_takeover(1, 7);
    SAID(a, "none");
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, 1, "n2");
    SAID(a, "none"); /* one entry is missing yet */
    rig_deliver(rig, 1);
    SAID(a, "forward n2");
    cr_assert_eq(rig_answer(rig, a)->stamp, 1);
    SAID(b, "forward n2");
    start_anew(1);
    b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .remaining_ms = 500);
    lm_test_advance(rig->host, 500000);
    SAID(b, "error NO_LEADER");
}

/* ---- status ---------------------------------------------------------------------------------- */

Test(lock_room, says_how_it_stands)
{
    rig_take(rig, "a", "x", 10000);
    lm_bus_region_peer_status_t west = {.region = lm_bytes_of("west"), .reachable = true};
    lm_bus_region_table_t regions = {.n_regions = 1, .regions = &west};
    lm_test_deliver(rig->host, LM_GATEWAY, LM_MSG_REGION_TABLE, &regions, 0);
    lm_bus_raft_member_t member = {
        .server_id = 0xabc, .name = lm_bytes_of("n1"), .address = lm_bytes_of("h:1")};
    lm_bus_raft_role_event_t role = {.role = LM_API_RAFT_ROLE_LEADER,
                                     .term = 1,
                                     .leader = lm_bytes_of("n1"),
                                     .n_members = 1,
                                     .members = &member,
                                     .last_index = 77};
    lm_test_deliver(rig->host, LM_RAFT, LM_MSG_RAFT_ROLE, &role, 0);
    lm_bus_status_query_t query = {0};
    lm_test_deliver(rig->host, LM_CLIENTS, LM_MSG_STATUS_QUERY, &query, 0);
    const lm_api_get_status_response_t *status =
        lm_test_take(rig->host, LM_MSG_STATUS_ANSWER)->body;
    cr_assert_eq(status->role, LM_API_RAFT_ROLE_LEADER);
    cr_assert_eq(status->n_members, 1);
    cr_assert(status->members[0].leader);
    cr_assert(lm_bytes_equal(status->members[0].server_id, lm_bytes_of("0000000000000abc")));
    cr_assert_eq(status->n_regions, 1);
    cr_assert_eq(status->state_hash.size, 16);
    cr_assert_eq(status->holds, 1);
    cr_assert_eq(status->last_index, 77);
    cr_assert_eq(status->applied_index, rig->delivered);
    cr_assert_eq(status->ttl_default_ms, 30000);
    cr_assert_eq(status->problem.size, 0);
    lm_test_restart_peer(rig->host, LM_RAFT);
    lm_test_deliver(rig->host, LM_CLIENTS, LM_MSG_STATUS_QUERY, &query, 0);
    status = lm_test_take(rig->host, LM_MSG_STATUS_ANSWER)->body;
    cr_assert_eq(status->role, LM_API_RAFT_ROLE_AWAY);
    cr_assert(status->problem.size > 0);
}

static double reported(const char *name)
{
    const lm_test_sent_t *sent, *last = NULL;
    while ((sent = lm_test_take(rig->host, LM_MSG_STATUS_REPORT))) last = sent;
    cr_assert(last);
    const lm_bus_status_report_t *report = last->body;
    for (size_t i = 0; i < report->n_metrics; i++)
        if (lm_bytes_equal(report->metrics[i].name, lm_bytes_of(name)))
            return report->metrics[i].value;
    cr_assert(false, "no metric %s", name);
    return 0;
}

Test(lock_room, reports_how_long_locks_were_held)
{
    uint64_t held = rig_take(rig, "a", "x", 10000);
    lm_test_advance(rig->host, 3000000);
    const char *hold_id = rig_hold_id(rig, held);
    rig_release(rig, (rig_call_t){.owner = "a", .id = "a-2", .name = "x", .hold_id = hold_id});
    rig_settle(rig);
    rig_take(rig, "b", "y", 1000);
    lm_test_advance(rig->host, 1000000);
    rig_settle(rig);
    lm_test_advance(rig->host, 600000);
    double seconds = reported("lockmgr_lock_hold_seconds");
    cr_assert(seconds > 3.98 && seconds < 4.05, "%g s", seconds);
    lm_test_advance(rig->host, 600000);
    cr_assert_eq(reported("lockmgr_raft_proposals_applied_total"), 5, "with the Takeover");
}

Test(lock_room, reports_to_health)
{
    rig_take(rig, "a", "x", 1000);
    lm_test_advance(rig->host, 1000000);
    rig_settle(rig);
    lm_test_advance(rig->host, 600000);
    cr_assert_eq(reported("lockmgr_lock_expirations_total"), 1);
    lm_test_advance(rig->host, 1000000);
    cr_assert_gt(reported("lockmgr_bus_received_total"), 0);
    lm_test_advance(rig->host, 600000);
    cr_assert_eq(reported("lockmgr_locks_held"), 0);
    cr_assert(lm_test_is_ready(rig->host));
}

Test(lock_room, a_new_health_actor_hears_the_status_at_once)
{
    cr_assert_eq(lm_test_told_to_new_health(rig->host), 1);
}
