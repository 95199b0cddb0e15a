/* P5: commands of a crowd wait for each other, and nobody else's do (lock_propose.c). */
#include <criterion/criterion.h>

#include "lock_limits.h"
#include "lock_rig.h"

enum { CROWD = 20 };

static rig_t *rig;
static int n_asked;

static void set_up(void)
{
    rig = rig_leading();
    n_asked = 0;
}

static void tear_down(void) { rig_destroy(&rig); }

TestSuite(lock_crowd, .init = set_up, .fini = tear_down, .timeout = 60);

static uint64_t ask(void)
{
    const char *name = lm_arena_text(rig->arena, lm_arena_print(rig->arena, "x%d", n_asked++));
    return RIG_ACQUIRE(rig, .owner = "a", .id = name, .name = name);
}

static void ask_all(int n)
{
    for (int i = 0; i < n; i++) ask();
}

/* Twenty in one turn, who are all answered. */
static void come_and_go(void)
{
    for (int i = 0; i < CROWD; i++) {
        lm_bytes_t name = lm_arena_print(rig->arena, "x%d", n_asked++);
        lm_api_acquire_request_t request = {
            .name = name, .owner = lm_bytes_of("a"), .request_id = name};
        lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                    .acquire = &request};
        lm_test_feed(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body, 0);
    }
    lm_test_turn(rig->host);
    cr_assert_eq(rig_proposed(rig).n, CROWD);
    rig_settle(rig);
    cr_assert_eq(lm_lock_room_commands(rig->room), 0);
}

Test(lock_crowd, whoever_is_alone_goes_at_once)
{
    for (int i = 0; i < 50; i++) {
        ask();
        cr_assert_eq(rig_proposed(rig).n, 1);
        rig_settle(rig);
    }
}

Test(lock_crowd, few_do_not_wait_for_each_other)
{
    for (int i = 0; i < 10; i++) {
        ask_all(LM_LOCK_CROWD_MIN - 1);
        cr_assert_eq(rig_accept(rig), LM_LOCK_CROWD_MIN - 1);
        rig_settle(rig);
    }
}

Test(lock_crowd, those_of_a_crowd_share_an_entry_when_all_have_come_again)
{
    come_and_go();
    ask_all(CROWD - 1);
    cr_assert_eq(rig_proposed(rig).n, 0);
    ask();
    cr_assert_eq(rig_proposed(rig).n, CROWD);
    cr_assert_eq(rig_accept(rig), 1);
}

Test(lock_crowd, who_is_under_way_already_is_not_waited_for)
{
    come_and_go();
    ask_all(CROWD);
    ask_all(3); /* twenty are in an entry, so nobody else is expected */
    cr_assert_eq(rig_accept(rig), 4);
}

Test(lock_crowd, those_who_have_come_wait_two_milliseconds_at_most)
{
    come_and_go();
    ask();
    lm_test_advance(rig->host, LM_LOCK_GATHER_US - 1);
    ask();
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1);
    cr_assert_eq(rig_proposed(rig).n, 2, "the first says when they go");
}

Test(lock_crowd, a_crowd_that_stays_away_is_forgotten)
{
    come_and_go();
    int waited = 0;
    for (int i = 0; i < CROWD; i++) {
        uint64_t call = ask();
        waited += lm_lock_room_gathers(rig->room);
        rig_settle(rig);
        cr_assert_str_eq(rig_said(rig, call), "granted");
    }
    cr_assert_gt(waited, 0);
    cr_assert_lt(waited, CROWD);
    ask();
    cr_assert_eq(rig_proposed(rig).n, 1);
}

Test(lock_crowd, s8_those_who_wait_when_leadership_ends_are_sent_back)
{
    come_and_go();
    uint64_t call = ask();
    cr_assert(lm_lock_room_gathers(rig->room));
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, 2, "n2");
    cr_assert_str_eq(rig_said(rig, call), "forward n2");
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 3, "n1");
    rig_settle(rig);
    lm_test_advance(rig->host, LM_LOCK_GATHER_US);
    cr_assert_eq(rig_proposed(rig).n, 0, "nothing is left of it");
    call = ask();
    cr_assert_eq(rig_proposed(rig).n, 1, "a new leader knows of no crowd");
}

Test(lock_crowd, keep_alives_make_no_crowd)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    for (int i = 0; i < 4 * CROWD; i++) rig_keep_alive(rig, in);
    rig_settle(rig);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    rig_settle(rig);
    ask();
    cr_assert_eq(rig_proposed(rig).n, 1);
}
