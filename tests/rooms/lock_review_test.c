/* Schedules in which a lock actor that lags, or a log that stands still, could tell somebody what
 * is not so any more, or keep what nobody needs. */
#include <criterion/criterion.h>

#include "lock_limits.h"
#include "lock_rig.h"

#define SAID(call, words) cr_assert_str_eq(rig_said(rig, call), words)

static rig_t *rig;

static void set_up(void) { rig = rig_leading(); }

static void tear_down(void) { rig_destroy(&rig); }

TestSuite(lock_review, .init = set_up, .fini = tear_down);

static uint64_t ask(const char *owner, const char *id)
{
    return RIG_ACQUIRE(rig, .owner = owner, .id = id, .name = "x", .wait_ms = -1);
}

static void give_back(uint64_t call, const char *owner)
{
    rig_release(
        rig,
        (rig_call_t){.owner = owner, .id = "back", .name = "x", .hold_id = rig_hold_id(rig, call)});
}

/* ---- S6: whoever is told of a hold asked a leader for it ------------------------------------- */

/* This lock was away for longer than a lease. Meanwhile another node took over, let the lease of b
 * run out and granted the lock to somebody else; b's repeat, sent then, is read before the grant
 * that waits in raft's pipe. Its answer would count from a time at which the hold was over. */
Test(lock_review, s6_a_repeat_of_a_waiter_is_told_after_a_round_of_its_own)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t first = ask("b", "1");
    rig_settle(rig);
    give_back(a, "a");
    cr_assert_eq(rig_accept(rig), 1);
    uint64_t repeat = ask("b", "1");
    rig_settle(rig);
    SAID(first, "granted");
    SAID(repeat, "none");
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, rig->term + 1, "n2");
    SAID(repeat, "forward n2 maybe");
}

Test(lock_review, s6_a_repeat_of_what_is_on_its_way_is_told_after_a_round_of_its_own)
{
    uint64_t first = ask("b", "1");
    cr_assert_eq(rig_accept(rig), 1);
    uint64_t repeat = ask("b", "1");
    rig_settle(rig);
    SAID(first, "granted");
    SAID(repeat, "none");
    cr_assert_eq(rig_reads(rig), 1);
    SAID(repeat, "granted");
}

Test(lock_review, s6_a_repeat_that_has_been_confirmed_listens)
{
    uint64_t a = rig_take(rig, "a", "x", 0);
    uint64_t first = ask("b", "1");
    rig_settle(rig);
    uint64_t repeat = ask("b", "1");
    cr_assert_eq(rig_reads(rig), 1);
    rig_gone(rig, first);
    rig_settle(rig);
    SAID(repeat, "none");
    give_back(a, "a");
    rig_settle(rig);
    SAID(repeat, "granted");
}

/* ---- S14: what may be applied is not said to be certainly not -------------------------------- */

Test(lock_review, s14_a_parked_repeat_of_a_hold_does_not_end_as_not_applied)
{
    uint64_t first = ask("c", "1");
    rig_accept(rig);
    rig_gone(rig, first);
    rig_deliver(rig, 1); /* c holds, and nobody has heard of it: an Abandon is on its way */
    uint64_t parked =
        RIG_ACQUIRE(rig, .owner = "c", .id = "1", .name = "x", .wait_ms = -1, .remaining_ms = 500);
    SAID(parked, "none");
    lm_test_advance(rig->host, 600000);
    SAID(parked, "error OUTCOME_UNKNOWN");
}

/* ---- S23: what one copy of a request has proposed may be applied for all of them ------------- */

/* Whoever hears that his request is certainly not applied may act on it at once; that another copy
 * of it stands in the log he cannot know. This copy waits for its round of reads. */
Test(lock_review, s23_a_waiting_copy_is_not_denied_what_another_has_proposed)
{
    uint64_t first = ask("b", "1");
    uint64_t waiting = ask("b", "1");
    cr_assert_eq(rig_refuse(rig, LM_RC_OVERLOADED), 1);
    SAID(first, "error OVERLOADED");
    SAID(waiting, "none");
    uint64_t last = ask("b", "1");
    cr_assert_eq(rig_accept(rig), 1);
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, rig->term + 1, "n2");
    SAID(last, "forward n2 maybe");
    SAID(waiting, "forward n2 maybe");
}

/* But a refusal is certain, for all of them. */
Test(lock_review, s23_a_waiting_copy_of_a_refused_request_is_certainly_not_applied)
{
    uint64_t first = ask("b", "1");
    uint64_t waiting = ask("b", "1");
    cr_assert_eq(rig_refuse(rig, LM_RC_OVERLOADED), 1);
    SAID(first, "error OVERLOADED");
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, rig->term + 1, "n2");
    SAID(waiting, "forward n2");
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The runtime of the caller keeps a call, with its body, until it has ended. */
Test(lock_review, s10_a_call_that_was_left_is_ended)
{
    rig_take(rig, "a", "x", 0);
    uint64_t b = ask("b", "1");
    rig_settle(rig);
    rig_gone(rig, b);
    SAID(b, "error CANCELLED");
    rig_gone(rig, b);
    SAID(b, "error CANCELLED");
}

/* While nothing is agreed on, callers give up and come again; what they asked for stays. */
Test(lock_review, commands_of_callers_that_left_do_not_pile_up)
{
    rig_call_t renew = {.owner = "a", .name = "x", .hold_id = "7-0"};
    uint64_t last = 0;
    for (size_t i = 0; i < LM_LOCK_CHANGES_MAX + LM_LOCK_IN_FLIGHT_MAX; i++) {
        last = rig_renew(rig, renew);
        lm_bus_listener_gone_t gone = {.correlation = last};
        lm_test_deliver(rig->host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &gone, 0);
        if (i % 1024 == 0)
            while (lm_test_take(rig->host, LM_MSG_LOCK_ANSWER)) continue;
    }
    while (lm_test_take(rig->host, LM_MSG_LOCK_ANSWER)) continue;
    uint64_t refused = rig_renew(rig, renew);
    SAID(refused, "error OVERLOADED");
}

/* ---- time ------------------------------------------------------------------------------------ */

/* One owner with many threads that all ask for the lock it holds: each is one more id of its hold,
 * and none may cost a walk over all the others' commands. */
Test(lock_review, many_acquires_of_one_owner_are_answered_in_time)
{
    rig_take(rig, "a", "x", 0);
    uint64_t last = 0;
    for (int i = 0; i < 6000; i++) {
        lm_bytes_t id = lm_arena_print(rig->arena, "id%d", i);
        last = ask("a", lm_arena_text(rig->arena, id));
    }
    rig_settle(rig);
    cr_assert(rig_answer(rig, last)); /* what it says depends on the size of the ring */
}
