/* Repeats, stamps, undelivered answers and restarts: rules S12 to S13 and S23. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "lock_rig.h"
#include "wire_command.h"

#define SAID(call, words) cr_assert_str_eq(rig_said(rig, call), words)

static rig_t *rig;

static void set_up(void) { rig = rig_leading(); }

static void tear_down(void) { rig_destroy(&rig); }

TestSuite(lock_repeat, .init = set_up, .fini = tear_down);

static const lm_table_t *table(void) { return lm_lock_room_table(rig->room); }

static uint32_t holders(const char *name)
{
    const lm_entry_t *lock = lm_table_lock(table(), lm_bytes_of(name));
    return lock ? lm_entry_value(lock)->n_holders : 0;
}

static const lm_command_t *only_command(lm_command_kind_t kind)
{
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 1, "%zu commands", commands.n);
    cr_assert_eq(commands.items[0].kind, kind, "command %d", commands.items[0].kind);
    return &commands.items[0];
}

static void follow(void) { rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, rig->term + 1, "n2"); }

static uint64_t give_back(uint64_t call, const char *owner, const char *id, const char *name)
{
    return rig_release(
        rig,
        (rig_call_t){.owner = owner, .id = id, .name = name, .hold_id = rig_hold_id(rig, call)});
}

/* ---- S12 ------------------------------------------------------------------------------------- */

Test(lock_repeat, s12_two_clients_may_use_one_id)
{
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    uint64_t b = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x");
    uint64_t other = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .identity = "somebody");
    rig_settle(rig);
    SAID(a, "granted");
    SAID(b, "held");
    SAID(other, "held");
}

Test(lock_repeat, s12_an_id_is_for_one_request)
{
    const rig_call_t other[] = {
        {.owner = "a", .id = "1", .name = "y", .ttl_ms = 5000},
        {.owner = "a", .id = "1", .name = "x", .ttl_ms = 6000},
        {.owner = "a", .id = "1", .name = "x", .ttl_ms = 5000, .wait_ms = 5},
        {.owner = "a", .id = "1", .name = "x", .ttl_ms = 5000, .mode = LM_API_LOCK_MODE_SHARED},
    };
    RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .ttl_ms = 5000);
    for (size_t i = 1; i < 4; i++) /* while the first is on its way */
        SAID(rig_acquire(rig, other[i]), "error REQUEST_REUSED");
    rig_settle(rig);
    for (size_t i = 0; i < 4; i++) {
        uint64_t call = rig_acquire(rig, other[i]);
        SAID(call, "error REQUEST_REUSED");
        cr_assert(lm_bytes_equal(rig_answer(rig, call)->field, lm_bytes_of("request_id")));
    }
}

Test(lock_repeat, s12_an_id_on_its_way_for_another_name_is_refused_by_apply)
{
    uint64_t x = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    uint64_t y = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "y");
    rig_settle(rig);
    SAID(x, "granted");
    SAID(y, "error REQUEST_REUSED");
}

Test(lock_repeat, s12_a_repeated_release_gets_the_same_answer)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t first = give_back(a, "a", "r", "x");
    rig_settle(rig);
    rig_take(rig, "b", "x", 0);
    uint64_t again = give_back(a, "a", "r", "x");
    rig_settle(rig);
    SAID(first, "released");
    SAID(again, "released");
    cr_assert_eq(rig_answer(rig, again)->release->token, rig_answer(rig, first)->release->token);
    cr_assert_eq(holders("x"), 1);
}

/* ---- S12a ------------------------------------------------------------------------------------ */

Test(lock_repeat, s12a_the_first_edge_stamps_and_a_stamp_is_kept)
{
    rig_take(rig, "a", "x", 0);
    uint64_t op_seq = lm_table_op_seq(table());
    follow();
    uint64_t call = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x");
    SAID(call, "forward n2");
    cr_assert_eq(rig_answer(rig, call)->stamp, op_seq);
    cr_assert_not(rig_answer(rig, call)->seen);
    call = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .stamped = true, .stamp = 1,
                       .seen = true, .forwarded = true);
    SAID(call, "forward n2");
    cr_assert_eq(rig_answer(rig, call)->stamp, 1);
    cr_assert(rig_answer(rig, call)->seen);
}

/* Nothing was applied here, so there is nothing to stamp with: whoever leads gives the first. */
Test(lock_repeat, s12b_a_node_outside_of_the_region_passes_calls_on_without_a_stamp)
{
    rig_t *outside = rig_new(1);
    uint64_t early = RIG_ACQUIRE(outside, .owner = "a", .id = "1", .name = "x");
    rig_role(outside, LM_API_RAFT_ROLE_UNFORMED, 0, "");
    cr_assert_str_eq(rig_said(outside, early), "none", "no leader is known: the call waits");
    rig_role(outside, LM_API_RAFT_ROLE_SURPLUS, 4, "n2");
    cr_assert_str_eq(rig_said(outside, early), "forward n2");
    cr_assert(rig_answer(outside, early)->unstamped);
    uint64_t later = RIG_ACQUIRE(outside, .owner = "b", .id = "1", .name = "x");
    cr_assert_str_eq(rig_said(outside, later), "forward n2");
    cr_assert(rig_answer(outside, later)->unstamped);
    rig_role(outside, LM_API_RAFT_ROLE_UNFORMED, 4, "n3");
    later = RIG_ACQUIRE(outside, .owner = "c", .id = "1", .name = "x");
    cr_assert_str_eq(rig_said(outside, later), "forward n3", "its data is missing");
    rig_destroy(&outside);
    /* The leader is the edge of such a call. */
    rig_take(rig, "a", "x", 0);
    RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "y", .forwarded = true);
    cr_assert_eq(only_command(LM_COMMAND_ACQUIRE)->stamp, lm_table_op_seq(table()));
}

Test(lock_repeat, s12a_seen_is_a_finished_record)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    follow();
    uint64_t call = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x");
    cr_assert_not(rig_answer(rig, call)->seen); /* it holds */
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, rig->term + 1, "n1");
    rig_settle(rig);
    give_back(a, "a", "r", "x");
    rig_settle(rig);
    follow();
    call = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x");
    cr_assert(rig_answer(rig, call)->seen);
}

Test(lock_repeat, s12a_stamp_and_seen_go_into_the_log)
{
    RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .stamped = true, .stamp = 1,
                .seen = true);
    const lm_command_t *command = only_command(LM_COMMAND_ACQUIRE);
    cr_assert_eq(command->stamp, 1);
    cr_assert(command->seen);
    rig_accept(rig);
    RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x");
    cr_assert_eq(only_command(LM_COMMAND_ACQUIRE)->stamp, lm_table_op_seq(table()));
}

/* The client gives up, the hold ends, its record is evicted; then the frozen copy thaws. */
Test(lock_repeat, s12a_a_copy_that_is_older_than_what_was_forgotten_is_not_executed)
{
    uint64_t stamp = lm_table_op_seq(table());
    uint64_t a = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    rig_settle(rig);
    give_back(a, "a", "r", "x");
    rig_settle(rig);
    for (int i = 0; i < 200; i++) { /* the ring has 64 places */
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        rig_cancel(rig, (rig_call_t){.owner = "z", .id = id});
    }
    rig_settle(rig);
    uint64_t frozen =
        RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x", .stamped = true, .stamp = stamp);
    rig_settle(rig);
    SAID(frozen, "error OUTCOME_UNKNOWN");
    cr_assert_eq(holders("x"), 0);
    uint64_t fresh = RIG_ACQUIRE(rig, .owner = "a", .id = "2", .name = "x");
    rig_settle(rig);
    SAID(fresh, "granted");
}

/* ---- S13 ------------------------------------------------------------------------------------- */

Test(lock_repeat, s13_an_undelivered_grant_counts_as_unanswered)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    rig_undelivered(rig, a);
    only_command(LM_COMMAND_ABANDON);
    rig_settle(rig);
    cr_assert_eq(holders("x"), 0);
}

Test(lock_repeat, s13_another_answer_keeps_the_grant)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x");
    rig_reads(rig);
    SAID(again, "granted");
    rig_undelivered(rig, a);
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_undelivered(rig, again);
    only_command(LM_COMMAND_ABANDON);
}

Test(lock_repeat, s13_a_repeat_that_is_being_read_keeps_the_grant)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x");
    rig_undelivered(rig, a);
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_reads(rig);
    SAID(again, "granted");
    cr_assert_eq(rig_proposed(rig).n, 0);
}

Test(lock_repeat, s13_a_repeat_that_is_being_read_and_leaves_does_not)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t again = RIG_ACQUIRE(rig, .owner = "a", .id = "a-x", .name = "x");
    rig_undelivered(rig, a);
    rig_gone(rig, again);
    only_command(LM_COMMAND_ABANDON);
}

Test(lock_repeat, s13_an_owner_who_has_renewed_knows)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    rig_renew(rig, (rig_call_t){.owner = "a", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_settle(rig);
    rig_undelivered(rig, a);
    cr_assert_eq(rig_proposed(rig).n, 0);
}

Test(lock_repeat, s13_a_report_about_another_leadership_changes_nothing)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    follow();
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, rig->term + 1, "n1");
    rig_settle(rig);
    rig_undelivered(rig, a);
    cr_assert_eq(rig_proposed(rig).n, 0);
}

/* ---- S23 ------------------------------------------------------------------------------------- */

Test(lock_repeat, s23_calls_in_flight_when_raft_dies_are_unknown_and_resolved_by_their_ids)
{
    uint64_t a = rig_take(rig, "a", "h", 100000);
    uint64_t committed = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x");
    uint64_t release = give_back(a, "a", "r", "h");
    rig_accept(rig);
    uint64_t lost = RIG_ACQUIRE(rig, .owner = "c", .id = "1", .name = "y");
    uint64_t read = rig_get(rig, (rig_call_t){.name = "x"});
    lm_test_restart_peer(rig->host, LM_RAFT);
    SAID(committed, "forward maybe");
    SAID(release, "forward maybe");
    SAID(lost, "forward maybe");
    SAID(read, "forward");
    rig->n_pending = 0; /* what the dead raft had not looked at */
    while (lm_test_take(rig->host, LM_MSG_PROPOSE)) {
    }
    rig_attach(rig, false, rig->n_log);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 2, "n1");
    rig_settle(rig);
    /* The edge sends the same ids again. */
    committed = RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .stamped = true, .stamp = 2);
    lost = RIG_ACQUIRE(rig, .owner = "c", .id = "1", .name = "y", .stamped = true, .stamp = 2);
    release = give_back(a, "a", "r", "h");
    rig_settle(rig);
    rig_reads(rig);
    SAID(committed, "granted");
    SAID(lost, "granted");
    SAID(release, "released");
    cr_assert_eq(holders("x"), 1);
}

Test(lock_repeat, s23_a_thousand_calls_in_flight_all_hear)
{
    uint64_t calls[1000];
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i % 300);
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        calls[i] = RIG_ACQUIRE(rig, .owner = id, .id = id, .name = name, .wait_ms = i % 2 ? -1 : 0);
        if (i == 500) rig_settle(rig);
    }
    lm_test_restart_peer(rig->host, LM_RAFT);
    size_t forwarded = 0;
    for (int i = 0; i < 1000; i++) forwarded += strncmp(rig_said(rig, calls[i]), "forward", 7) == 0;
    cr_assert(forwarded > 500);
    for (int i = 0; i < 1000; i++) cr_assert_str_neq(rig_said(rig, calls[i]), "none");
    cr_assert_eq(lm_lock_room_calls(rig->room), 0);
    cr_assert_eq(lm_lock_room_commands(rig->room), 0);
}

/* ---- overload -------------------------------------------------------------------------------- */

Test(lock_repeat, beyond_the_queue_acquires_are_refused_and_releases_are_not)
{
    uint64_t a = rig_take(rig, "a", "h", 100000);
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE};
    for (int i = 0; i < 16384; i++) {
        char id[16];
        int n = snprintf(id, sizeof id, "%d", i);
        lm_api_acquire_request_t request = {.name = lm_bytes(id, (size_t)n),
                                            .owner = lm_bytes_of("o"),
                                            .request_id = lm_bytes(id, (size_t)n)};
        body.acquire = &request;
        lm_test_feed(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body, 0);
    }
    uint64_t over = RIG_ACQUIRE(rig, .owner = "p", .id = "1", .name = "q");
    SAID(over, "error OVERLOADED");
    uint64_t release = give_back(a, "a", "r", "h");
    rig_settle(rig);
    SAID(release, "released");
}
