/* What the post office does with messages for somebody who is not there. No sockets: the peer has
 * never been seen, or is known to be gone. */
#include "act_post.h"

#include <criterion/criterion.h>

#include "act_limits.h"
#include "wire_bus.h"

static int failures;
static lm_rc_t last_failure;

static void on_pong(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)room, (void)message, (void)out;
}

static void on_call_failed(void *room, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    (void)room, (void)number, (void)correlation, (void)now_us, (void)out;
    failures++;
    last_failure = why;
}

static const lm_room_row_t rows[] = {{LM_MSG_PONG, on_pong, LM_ANY_STATE}};
static const lm_room_t room = {.self = LM_SUPERVISOR,
                               .binds = true,
                               .rows = rows,
                               .n_rows = 1,
                               .on_call_failed = on_call_failed};

static lm_dispatch_t d;
static lm_post_t post;

static void set_up(void)
{
    lm_dispatch_init(&d, &room, NULL, (lm_generation_t){7, 1}, NULL, NULL);
    post = (lm_post_t){.d = &d};
    lm_dispatch_begin(&d, 1000);
}

static void tear_down(void)
{
    lm_post_destroy(&post, 0);
    lm_dispatch_destroy(&d);
}

TestSuite(act_post, .init = set_up, .fini = tear_down);

static void end_turn(void)
{
    lm_dispatch_end(&d);
    lm_post_flush(&post);
    lm_dispatch_clear(&d);
}

static void raft_was_there_and_is_gone(uint32_t counter)
{
    lm_dispatch_peer_up(&d, LM_RAFT, (lm_generation_t){7, counter});
    d.out.peers[LM_RAFT].there = false;
}

static void send_mode(void)
{
    lm_bus_node_mode_t mode = {.mode = 1};
    cr_assert(lm_outbox_send(&d.out, LM_RAFT, LM_MSG_NODE_MODE, &mode));
    end_turn();
}

#define COUNT(which) d.counters.rows[LM_COUNT_##which].value

Test(act_post, what_is_kept_for_a_stranger_waits_for_the_first_generation)
{
    send_mode();
    send_mode();
    cr_assert_eq(COUNT(KEPT), 2);
    cr_assert_not(lm_post_waits(&post), "there is nobody to try");
    cr_assert_eq(lm_post_next_us(&post, 1000), UINT64_MAX);
    d.out.peers[LM_RAFT].generation = (lm_generation_t){7, 1};
    d.out.peers[LM_RAFT].there = true;
    cr_assert(lm_post_waits(&post));
    cr_assert_gt(lm_post_next_us(&post, 1000), 1000);
    cr_assert_eq(COUNT(STALE), 0);
}

Test(act_post, what_is_kept_for_the_dead_is_dropped)
{
    raft_was_there_and_is_gone(1);
    send_mode();
    cr_assert_eq(COUNT(KEPT), 0);
    cr_assert_eq(COUNT(STALE), 1);
    lm_bus_ping_t ping = {.sequence = 1};
    lm_outbox_send(&d.out, LM_RAFT, LM_MSG_PING, &ping);
    end_turn();
    cr_assert_eq(COUNT(MERGED), 1);
}

Test(act_post, a_message_of_the_turn_in_which_its_receiver_was_replaced_is_dropped)
{
    raft_was_there_and_is_gone(1);
    lm_bus_node_mode_t mode = {.mode = 1};
    lm_outbox_send(&d.out, LM_RAFT, LM_MSG_NODE_MODE, &mode);
    raft_was_there_and_is_gone(2);
    end_turn();
    cr_assert_eq(COUNT(STALE), 1);
    cr_assert_eq(COUNT(KEPT), 0);
}

Test(act_post, a_call_to_the_dead_that_may_not_be_repeated_was_certainly_not_handled)
{
    lm_bus_drain_t drain = {.grace_ms = 10};
    lm_dispatch_peer_up(&d, LM_RAFT, (lm_generation_t){7, 1});
    lm_outbox_call(&d.out, LM_RAFT, LM_MSG_DRAIN, &drain, 0, 0);
    end_turn(); /* no socket: nobody there */
    end_turn();
    cr_assert_eq(failures, 1);
    cr_assert_eq(last_failure, LM_RC_NOT_READY);
    cr_assert_not(d.out.peers[LM_RAFT].there);
}

Test(act_post, a_call_to_a_stranger_waits_until_its_deadline)
{
    lm_bus_drain_t drain = {.grace_ms = 10};
    lm_outbox_call(&d.out, LM_RAFT, LM_MSG_DRAIN, &drain, 2000, 0);
    end_turn();
    cr_assert_eq(failures, 0);
    cr_assert_eq(lm_dispatch_next_us(&d), 2000);
    lm_dispatch_begin(&d, 2000);
    end_turn();
    cr_assert_eq(failures, 1);
    cr_assert_eq(last_failure, LM_RC_DEADLINE_EXCEEDED);
}

Test(act_post, s20_what_is_kept_is_bounded_and_the_actor_ends_beyond_it)
{
    static uint8_t text[60000];
    memset(text, 'a', sizeof text);
    lm_bus_node_config_t config = {.version = lm_bytes(text, sizeof text)};
    size_t size = lm_wire_encode(&lm_bus_node_config_type, &config, d.arena).size;
    for (size_t bytes = size; bytes <= LM_KEEP_BYTES_MAX; bytes += size) {
        lm_outbox_send(&d.out, LM_RAFT, LM_MSG_START, &config);
        end_turn();
        cr_assert_not(d.out.ended);
    }
    lm_outbox_send(&d.out, LM_RAFT, LM_MSG_START, &config);
    end_turn();
    cr_assert(d.out.ended);
    cr_assert_eq(d.out.exit_code, LM_EXIT_TRY_LATER);
    cr_assert_not_null(strstr(d.out.words, "wait for raft"), "%s", d.out.words);
}
