/* The runtime's promises to a room, seen from a toy room on the test host. The toy takes the part
 * of the lock actor: clients call it, it calls raft, raft streams to it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "act_limits.h"
#include "act_test_host.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { CLOSED = 1, OPEN = 2 };

typedef struct {
    uint32_t state;
    lm_caller_t caller; /* of the last LOCK_CALL */
    uint64_t wake_late_us;
    bool answer_at_once, forget_in_handler;
    size_t calls, gone, committed, turns, wakes, proposed, read_done;
    lm_participant_t up;
    lm_generation_t up_generation;
    uint64_t call_at_peer_up; /* not 0: makes a call in on_peer_up, and here is its number */
    lm_message_number_t failed_number;
    uint64_t failed_correlation;
    lm_rc_t failed_why;
    size_t failures;
    uint64_t stop_grace_us;
    size_t items;
} toy_t;

static void on_start(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    toy_t *toy = room;
    (void)message;
    toy->state = OPEN;
    lm_outbox_ready(out);
}

static void on_lock_call(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    toy_t *toy = room;
    toy->calls++;
    toy->caller = message->from;
    lm_peer_lock_answer_t answer = {0};
    if (toy->answer_at_once) lm_outbox_reply(out, &message->from, LM_MSG_LOCK_ANSWER, &answer);
}

static void on_listener_gone(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)message;
    (void)out;
    ((toy_t *)room)->gone++;
}

static void on_committed(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    const lm_bus_committed_t *committed = message->body;
    (void)out;
    ((toy_t *)room)->committed += committed->n_entries;
}

static void on_proposed(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)message;
    (void)out;
    ((toy_t *)room)->proposed++;
}

static void on_read_done(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)message;
    (void)out;
    ((toy_t *)room)->read_done++;
}

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, CLOSED},
    {LM_MSG_LOCK_CALL, on_lock_call, OPEN},
    {LM_MSG_LISTENER_GONE, on_listener_gone, OPEN},
    {LM_MSG_COMMITTED, on_committed, LM_ANY_STATE},
    {LM_MSG_PROPOSED, on_proposed, LM_ANY_STATE},
    {LM_MSG_READ_INDEX_DONE, on_read_done, OPEN},
};

static uint32_t state(const void *room) { return ((const toy_t *)room)->state; }

static void on_wake(void *room, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    toy_t *toy = room;
    (void)now_us;
    (void)out;
    toy->wakes++;
    toy->wake_late_us = late_us;
}

static void on_turn_end(void *room, uint64_t now_us, lm_outbox_t *out)
{
    (void)now_us;
    (void)out;
    ((toy_t *)room)->turns++;
}

static void on_peer_up(void *room, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    toy_t *toy = room;
    lm_bus_read_index_t read = {0};
    (void)now_us;
    toy->up = peer;
    toy->up_generation = generation;
    if (toy->call_at_peer_up)
        toy->call_at_peer_up = lm_outbox_call(out, LM_RAFT, LM_MSG_READ_INDEX, &read, 0, 0);
}

static void on_call_failed(void *room, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    toy_t *toy = room;
    (void)now_us;
    (void)out;
    toy->failures++;
    toy->failed_number = number;
    toy->failed_correlation = correlation;
    toy->failed_why = why;
}

/* An item is a function: what the test wants the room to do, with the outbox at hand. */
typedef struct {
    void (*act)(toy_t *toy, uint64_t now_us, lm_outbox_t *out);
} item_t;

static void on_inlet(void *room, void *item, uint64_t now_us, lm_outbox_t *out)
{
    toy_t *toy = room;
    toy->items++;
    ((item_t *)item)->act(toy, now_us, out);
}

static void on_stop(void *room, uint64_t now_us, uint64_t grace_us, lm_outbox_t *out)
{
    (void)now_us;
    (void)out;
    ((toy_t *)room)->stop_grace_us = grace_us;
}

static const lm_room_t toy_room = {
    .self = LM_LOCK,
    .binds = true,
    .connects = 1u << LM_RAFT,
    .rows = rows,
    .n_rows = sizeof rows / sizeof rows[0],
    .state = state,
    .on_wake = on_wake,
    .on_turn_end = on_turn_end,
    .on_peer_up = on_peer_up,
    .on_call_failed = on_call_failed,
    .on_inlet = on_inlet,
    .on_stop = on_stop,
};

/* ---- set-up ---------------------------------------------------------------------------------- */

static toy_t toy;
static lm_test_host_t *host;
static uint64_t last_call;

static void set_up(void)
{
    toy = (toy_t){.state = OPEN};
    host = lm_test_host_new(&toy_room, &toy);
}

static void tear_down(void) { lm_test_host_destroy(&host); }

TestSuite(act_room, .init = set_up, .fini = tear_down);

static void act(void (*what)(toy_t *, uint64_t, lm_outbox_t *))
{
    item_t item = {.act = what};
    lm_test_inlet(host, &item);
}

static void propose(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    lm_bus_propose_t body = {.term = 7};
    (void)t;
    (void)now_us;
    last_call = lm_outbox_call(out, LM_RAFT, LM_MSG_PROPOSE, &body, 0, 99);
}

static lm_rc_t call_toy(uint64_t deadline_us)
{
    lm_peer_lock_call_t call = {0};
    lm_test_deliver(host, LM_CLIENTS, LM_MSG_LOCK_CALL, &call, deadline_us);
    return lm_test_refused(host);
}

#define COUNTER(name) lm_test_counter(host, "lockmgr_bus_" name "_total")

/* ---- messages that arrive -------------------------------------------------------------------- */

Test(act_room, a_call_is_handled_and_answered)
{
    toy.answer_at_once = true;
    lm_peer_lock_call_t call = {0};
    uint64_t id = lm_test_deliver(host, LM_CLIENTS, LM_MSG_LOCK_CALL, &call, 0);
    cr_assert_eq(lm_test_refused(host), LM_RC_OK);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_ANSWER);
    cr_assert(sent && sent->to == LM_CLIENTS && sent->correlation == id);
    cr_assert_null(lm_test_take(host, LM_MSG_NONE));
}

static void answer_later(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    lm_peer_lock_answer_t answer = {0};
    (void)now_us;
    lm_outbox_reply(out, &t->caller, LM_MSG_LOCK_ANSWER, &answer);
}

Test(act_room, a_call_may_be_answered_turns_later)
{
    cr_assert_eq(call_toy(0), LM_RC_OK);
    lm_test_advance(host, 1000 * 1000);
    act(answer_later);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_ANSWER), 1);
    lm_test_advance(host, 4 * 1000 * 1000);
    act(answer_later);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_ANSWER), 1, "the deadline has passed");
    cr_assert_eq(COUNTER("reply_to_nobody"), 1);
}

Test(act_room, no_reply_goes_to_a_caller_that_was_replaced)
{
    cr_assert_eq(call_toy(0), LM_RC_OK);
    lm_test_restart_peer(host, LM_CLIENTS);
    cr_assert_eq(toy.up, LM_CLIENTS);
    cr_assert_eq(toy.up_generation.counter, 2);
    act(answer_later);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_ANSWER), 0);
    cr_assert_eq(COUNTER("reply_to_nobody"), 1);
}

Test(act_room, a_wrong_sender_is_refused)
{
    lm_peer_lock_call_t call = {0};
    lm_test_deliver(host, LM_RAFT, LM_MSG_LOCK_CALL, &call, 0);
    cr_assert_eq(lm_test_refused(host), LM_RC_UNKNOWN_PEER);
    lm_bus_credit_t credit = {0};
    lm_test_deliver(host, LM_LOCK, LM_MSG_CREDIT, &credit, 0);
    cr_assert_eq(lm_test_refused(host), LM_RC_UNKNOWN_PEER, "CREDIT is not for lock");
    cr_assert_eq(COUNTER("wrong_sender"), 2);
    cr_assert_eq(toy.calls, 0);
}

Test(act_room, an_unwelcome_message_is_refused)
{
    toy.state = CLOSED;
    cr_assert_eq(call_toy(0), LM_RC_NOT_READY);
    lm_bus_listener_gone_t gone = {.correlation = 5};
    lm_test_deliver(host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &gone, 0);
    cr_assert_eq(lm_test_refused(host), LM_RC_NOT_READY);
    cr_assert_eq(COUNTER("unwelcome"), 2);
    cr_assert_eq(toy.calls + toy.gone, 0);
    lm_bus_node_config_t config = {0};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    cr_assert(lm_test_is_ready(host));
    cr_assert_eq(call_toy(0), LM_RC_OK);
}

Test(act_room, a_message_without_a_row_is_refused)
{
    lm_bus_status_query_t query = {0};
    lm_test_deliver(host, LM_CLIENTS, LM_MSG_STATUS_QUERY, &query, 0);
    cr_assert_eq(lm_test_refused(host), LM_RC_UNIMPLEMENTED);
    cr_assert_eq(COUNTER("unhandled"), 1);
}

Test(act_room, a_call_past_its_deadline_is_refused)
{
    cr_assert_eq(call_toy(lm_test_now(host)), LM_RC_DEADLINE_EXCEEDED);
    cr_assert_eq(call_toy(lm_test_now(host) + 1), LM_RC_OK);
    cr_assert_eq(COUNTER("expired"), 1);
    cr_assert_eq(toy.calls, 1);
}

/* ---- raw bytes ------------------------------------------------------------------------------- */

static lm_bus_generation_t first = {.boot_id = 1, .counter = 1};
static lm_bus_generation_t second = {.boot_id = 1, .counter = 2};

static lm_bus_envelope_t good(lm_message_number_t number, lm_participant_t from)
{
    return (lm_bus_envelope_t){.version = 1,
                               .number = number,
                               .from = from,
                               .to = LM_LOCK,
                               .from_generation = &first,
                               .to_generation = &first};
}

static lm_rc_t raw(const lm_bus_envelope_t *envelope, lm_bytes_t body)
{
    lm_arena_t *arena = lm_arena_new();
    lm_test_raw(host, lm_wire_encode(&lm_bus_envelope_type, envelope, arena), body);
    lm_arena_destroy(&arena);
    return lm_test_refused(host);
}

Test(act_room, sizes_at_the_limit_and_one_beyond)
{
    static uint8_t body[33] = {0x08, 0x05}; /* correlation 5, then an unknown field of zeros */
    lm_bus_envelope_t envelope = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    body[2] = 0x7a;
    body[3] = 28;
    cr_assert_eq(raw(&envelope, lm_bytes(body, 32)), LM_RC_OK);
    body[3] = 29;
    cr_assert_eq(raw(&envelope, lm_bytes(body, 33)), LM_RC_TOO_LARGE);
    cr_assert_eq(toy.gone, 1);
    cr_assert_eq(COUNTER("oversized"), 1);
    static const uint8_t junk[LM_ENVELOPE_BYTES_MAX + 1];
    lm_test_raw(host, lm_bytes(junk, sizeof junk), lm_bytes(NULL, 0));
    cr_assert_eq(lm_test_refused(host), LM_RC_TOO_LARGE);
}

Test(act_room, envelopes_that_break_a_rule)
{
    lm_bus_envelope_t e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    e.version = 2;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_MALFORMED);
    e = good((lm_message_number_t)127, LM_CLIENTS);
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_UNIMPLEMENTED);
    e = good(LM_MSG_LISTENER_GONE, (lm_participant_t)4000000);
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_UNKNOWN_PEER);
    e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    e.to = LM_RAFT;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_UNKNOWN_PEER);
    e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    e.from_generation = NULL;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_MALFORMED);
    e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    e.to_generation = NULL;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_CANCELLED);
    e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    e.correlation = 3;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_MALFORMED, "a cast has no correlation");
    e = good(LM_MSG_LOCK_CALL, LM_CLIENTS);
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_MALFORMED, "a call has one");
    e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    cr_assert_eq(raw(&e, lm_bytes("\xff\xff", 2)), LM_RC_MALFORMED);
    cr_assert_eq(toy.gone + toy.calls, 0);
}

Test(act_room, random_bytes_are_counted)
{
    uint64_t seed = 88172645463325252u;
    uint8_t bytes[2][96];
    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            bytes[i / 96][i % 96] = (uint8_t)seed;
        }
        lm_test_raw(host, lm_bytes(bytes[0], seed % 97), lm_bytes(bytes[1], seed / 97 % 97));
        cr_assert_neq(lm_test_refused(host), LM_RC_OK);
    }
    cr_assert_eq(COUNTER("received"), 0);
}

/* ---- generations ----------------------------------------------------------------------------- */

Test(act_room, older_generations_are_dropped_and_newer_ones_adopted)
{
    lm_bus_envelope_t e = good(LM_MSG_LISTENER_GONE, LM_CLIENTS);
    e.from_generation = &second;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_OK);
    cr_assert_eq(toy.up, LM_CLIENTS);
    e.from_generation = &first;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_CANCELLED);
    e.from_generation = &second;
    e.to_generation = &second;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_CANCELLED, "for another start of this room");
    lm_bus_generation_t none = {0};
    e.from_generation = &none;
    cr_assert_eq(raw(&e, lm_bytes(NULL, 0)), LM_RC_CANCELLED);
    cr_assert_eq(COUNTER("stale_generation"), 3);
    cr_assert_eq(toy.gone, 1);
}

Test(act_room, generations_are_ordered_by_boot_then_counter)
{
    lm_generation_t a = {1, 9}, b = {2, 1}, c = {2, 2};
    cr_assert_lt(lm_generation_compare(a, b), 0);
    cr_assert_lt(lm_generation_compare(b, c), 0);
    cr_assert_gt(lm_generation_compare(c, a), 0);
    cr_assert_eq(lm_generation_compare(b, b), 0);
}

/* ---- calls the room makes -------------------------------------------------------------------- */

Test(act_room, a_call_ends_with_its_reply)
{
    act(propose);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PROPOSE);
    cr_assert(sent && sent->to == LM_RAFT && sent->correlation == last_call);
    cr_assert_eq(((const lm_bus_propose_t *)sent->body)->term, 7);
    cr_assert_eq(sent->deadline_us, lm_test_now(host) + 5000000);
    lm_bus_proposed_t proposed = {.index = 3};
    lm_test_reply(host, LM_RAFT, LM_MSG_PROPOSED, last_call, &proposed);
    cr_assert_eq(lm_test_refused(host), LM_RC_OK);
    cr_assert_eq(toy.proposed, 1);
    lm_test_reply(host, LM_RAFT, LM_MSG_PROPOSED, last_call, &proposed);
    cr_assert_eq(lm_test_refused(host), LM_RC_NOT_FOUND, "once only");
    lm_test_advance(host, 10000000);
    cr_assert_eq(toy.proposed, 1);
    cr_assert_eq(toy.failures, 0);
    cr_assert_eq(COUNTER("unexpected_reply"), 1);
}

Test(act_room, replies_to_other_calls_are_dropped)
{
    act(propose);
    lm_bus_read_index_done_t done = {0};
    lm_test_reply(host, LM_RAFT, LM_MSG_READ_INDEX_DONE, last_call, &done);
    cr_assert_eq(lm_test_refused(host), LM_RC_NOT_FOUND);
    lm_bus_proposed_t proposed = {0};
    lm_test_reply(host, LM_RAFT, LM_MSG_PROPOSED, last_call + 1, &proposed);
    cr_assert_eq(lm_test_refused(host), LM_RC_NOT_FOUND);
    cr_assert_eq(toy.failures, 0);
}

Test(act_room, a_call_ends_at_its_deadline)
{
    act(propose);
    lm_test_advance(host, 4999999);
    cr_assert_eq(toy.failures, 0);
    lm_test_advance(host, 1);
    cr_assert_eq(toy.failures, 1);
    cr_assert_eq(toy.failed_why, LM_RC_DEADLINE_EXCEEDED);
    cr_assert_eq(toy.failed_correlation, last_call);
    cr_assert_eq(toy.failed_number, LM_MSG_PROPOSE);
    lm_bus_proposed_t proposed = {0};
    lm_test_reply(host, LM_RAFT, LM_MSG_PROPOSED, last_call, &proposed);
    cr_assert_eq(toy.proposed, 0);
}

static void forget_call(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    (void)t;
    (void)now_us;
    lm_outbox_forget(out, last_call);
    lm_outbox_forget(out, 12345);
}

Test(act_room, a_forgotten_call_is_never_heard_of)
{
    act(propose);
    act(forget_call);
    lm_bus_proposed_t proposed = {0};
    lm_test_reply(host, LM_RAFT, LM_MSG_PROPOSED, last_call, &proposed);
    lm_test_restart_peer(host, LM_RAFT);
    lm_test_advance(host, 10000000);
    cr_assert_eq(toy.proposed + toy.failures, 0);
}

Test(act_room, a_refusal_fails_the_call)
{
    act(propose);
    lm_test_refuse(host, LM_RAFT, LM_MSG_PROPOSE, last_call, LM_RC_NOT_READY);
    cr_assert_eq(toy.failures, 1);
    cr_assert_eq(toy.failed_why, LM_RC_NOT_READY);
    act(propose);
    lm_test_refuse(host, LM_RAFT, LM_MSG_PROPOSE, last_call, (lm_rc_t)77777);
    cr_assert_eq(toy.failed_why, LM_RC_OUTCOME_UNKNOWN);
}

static void read_index(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    lm_bus_read_index_t body = {0};
    (void)t;
    (void)now_us;
    last_call = lm_outbox_call(out, LM_RAFT, LM_MSG_READ_INDEX, &body, 0, 0);
}

Test(act_room, a_reply_that_cannot_be_used_leaves_the_outcome_unknown)
{
    act(read_index);
    toy.state = CLOSED;
    lm_bus_read_index_done_t done = {0};
    lm_test_reply(host, LM_RAFT, LM_MSG_READ_INDEX_DONE, last_call, &done);
    cr_assert_eq(lm_test_refused(host), LM_RC_NOT_READY);
    cr_assert_eq(toy.failed_why, LM_RC_OUTCOME_UNKNOWN);
    cr_assert_eq(toy.read_done, 0);
}

Test(act_room, s23_an_unrepeatable_call_to_a_replaced_peer_has_an_unknown_outcome)
{
    act(propose);
    toy.call_at_peer_up = 1;
    lm_test_take(host, LM_MSG_PROPOSE);
    lm_test_restart_peer(host, LM_RAFT);
    cr_assert_eq(toy.failures, 1);
    cr_assert_eq(toy.failed_why, LM_RC_OUTCOME_UNKNOWN);
    cr_assert_eq(toy.failed_correlation, last_call);
    cr_assert_eq(lm_test_count(host, LM_MSG_PROPOSE), 0);
    cr_assert_eq(lm_test_count(host, LM_MSG_READ_INDEX), 1, "made in on_peer_up, sent once");
}

Test(act_room, a_full_pipe_refuses_calls)
{
    lm_test_fill_pipe(host, LM_RAFT, true);
    act(propose);
    cr_assert_eq(toy.failures, 1);
    cr_assert_eq(toy.failed_why, LM_RC_OVERLOADED);
    cr_assert_eq(lm_test_count(host, LM_MSG_PROPOSE), 0);
    lm_test_fill_pipe(host, LM_RAFT, false);
    act(propose);
    cr_assert_eq(lm_test_count(host, LM_MSG_PROPOSE), 1);
}

static void propose_too_much(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    static uint8_t entry[2097152];
    lm_bus_propose_t body = {.entry = lm_bytes(entry, sizeof entry)};
    (void)now_us;
    last_call = lm_outbox_call(out, LM_RAFT, LM_MSG_PROPOSE, &body, 0, 0);
    cr_assert_eq(t->failures, 0, "not from inside the call");
}

Test(act_room, an_oversized_call_fails_with_too_large)
{
    act(propose_too_much);
    cr_assert_eq(toy.failed_why, LM_RC_TOO_LARGE);
    cr_assert_eq(lm_test_count(host, LM_MSG_NONE), 0);
}

static void call_often(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    lm_bus_read_index_t body = {0};
    (void)t;
    for (uint64_t i = 0; i < 1000; i++)
        lm_outbox_call(out, LM_RAFT, LM_MSG_READ_INDEX, &body, now_us + 1 + i * 7919 % 1000, 0);
    for (uint64_t i = 1; i <= 1000; i += 3) lm_outbox_forget(out, i);
}

Test(act_room, many_calls_with_many_deadlines_end_in_order)
{
    act(call_often);
    size_t expected = 0;
    uint64_t start = lm_test_now(host);
    for (uint64_t at = 1; at <= 1000; at++) {
        lm_test_advance(host, 1);
        for (uint64_t i = 0; i < 1000; i++)
            if (1 + i * 7919 % 1000 == at && i % 3 != 0) expected++;
        cr_assert_eq(toy.failures, expected, "%lu us", (unsigned long)(lm_test_now(host) - start));
    }
    cr_assert_eq(toy.failures, 666);
}

/* ---- turns, time and the end ----------------------------------------------------------------- */

Test(act_room, what_is_fed_together_is_one_turn)
{
    lm_bus_listener_gone_t gone = {.correlation = 5};
    for (int i = 0; i < 10; i++) lm_test_feed(host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &gone, 0);
    cr_assert_eq(toy.turns, 0);
    lm_test_turn(host);
    cr_assert_eq(toy.turns, 1);
    cr_assert_eq(toy.gone, 10);
}

static void wake_thrice(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    (void)t;
    lm_outbox_wake(out, now_us + 500);
    lm_outbox_wake(out, now_us + 100);
    lm_outbox_wake(out, now_us + 900);
}

Test(act_room, the_earliest_wake_counts_and_waking_clears_it)
{
    act(wake_thrice);
    lm_test_advance(host, 99);
    cr_assert_eq(toy.wakes, 0);
    lm_test_advance(host, 1);
    cr_assert_eq(toy.wakes, 1);
    lm_test_advance(host, 10000);
    cr_assert_eq(toy.wakes, 1);
}

static void wake_once(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    (void)t;
    lm_outbox_wake(out, now_us + 1000);
}

Test(act_room, s9_after_a_freeze_messages_come_before_the_late_wake)
{
    act(wake_once);
    lm_test_freeze(host, 301000);
    lm_bus_listener_gone_t gone = {.correlation = 5};
    lm_test_deliver(host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &gone, 0);
    cr_assert_eq(toy.gone, 1);
    cr_assert_eq(toy.wakes, 0);
    lm_test_advance(host, 0);
    cr_assert_eq(toy.wakes, 1);
    cr_assert_eq(toy.wake_late_us, 300000);
    cr_assert_eq(COUNTER("late_ticks"), 1);
}

Test(act_room, a_ping_is_answered_in_every_state)
{
    toy.state = CLOSED;
    lm_bus_ping_t ping = {.sequence = 42};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_PING, &ping, 0);
    const lm_test_sent_t *pong = lm_test_take(host, LM_MSG_PONG);
    cr_assert(pong && pong->to == LM_SUPERVISOR);
    cr_assert_eq(((const lm_bus_pong_t *)pong->body)->sequence, 42);
}

Test(act_room, a_stop_ends_the_actor_after_its_grace)
{
    lm_exit_t code = LM_EXIT_DAMAGED;
    lm_bus_stop_t stop = {.grace_ms = 100};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_STOP, &stop, 0);
    cr_assert_eq(toy.stop_grace_us, 100000);
    cr_assert_not(lm_test_has_ended(host, NULL));
    lm_test_advance(host, 100000);
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_OK);
}

static void leave(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    (void)t;
    (void)now_us;
    lm_outbox_exit(out, LM_EXIT_DAMAGED, "the log is torn");
    lm_outbox_exit(out, LM_EXIT_OK, "never mind");
}

Test(act_room, nothing_is_handled_after_the_end)
{
    lm_exit_t code;
    act(leave);
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_DAMAGED, "the first reason counts");
    cr_assert_eq(call_toy(0), LM_RC_DRAINING);
    cr_assert_eq(toy.calls, 0);
}

/* ---- a room whose calls are repeated: the clients room --------------------------------------- */

static const lm_room_row_t client_rows[] = {
    {LM_MSG_START, on_start, LM_ANY_STATE},
    {LM_MSG_LOCK_ANSWER, on_proposed, LM_ANY_STATE},
};

static const lm_room_t client_room = {
    .self = LM_CLIENTS,
    .connects = 1u << LM_LOCK,
    .rows = client_rows,
    .n_rows = 2,
    .on_call_failed = on_call_failed,
    .on_inlet = on_inlet,
};

static void call_lock(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    lm_peer_call_context_t context = {.stamp = 17};
    lm_peer_lock_call_t body = {.context = &context};
    (void)t;
    (void)now_us;
    last_call = lm_outbox_call(out, LM_LOCK, LM_MSG_LOCK_CALL, &body, 0, 0);
}

Test(act_room, unanswered_calls_are_sent_again_in_order)
{
    lm_test_host_t *clients = lm_test_host_new(&client_room, &toy);
    item_t item = {.act = call_lock};
    for (int i = 0; i < 3; i++) lm_test_inlet(clients, &item);
    lm_peer_lock_answer_t answer = {0};
    lm_test_reply(clients, LM_LOCK, LM_MSG_LOCK_ANSWER, 2, &answer);
    while (lm_test_take(clients, LM_MSG_NONE)) continue;
    lm_test_restart_peer(clients, LM_LOCK);
    const lm_test_sent_t *again = lm_test_take(clients, LM_MSG_LOCK_CALL);
    cr_assert(again && again->correlation == 1);
    cr_assert_eq(((const lm_peer_lock_call_t *)again->body)->context->stamp, 17);
    cr_assert_eq(lm_test_take(clients, LM_MSG_LOCK_CALL)->correlation, 3);
    cr_assert_null(lm_test_take(clients, LM_MSG_LOCK_CALL));
    lm_test_reply(clients, LM_LOCK, LM_MSG_LOCK_ANSWER, 1, &answer);
    cr_assert_eq(lm_test_refused(clients), LM_RC_OK);
    cr_assert_eq(toy.failures, 0);
    cr_assert_eq(lm_test_counter(clients, "lockmgr_bus_repeated_total"), 2);
    lm_test_host_destroy(&clients);
}

/* ---- a room whose source can be stopped: raft ------------------------------------------------ */

static bool sent_ok;
static size_t room_again;

static void on_room_again(void *room, lm_participant_t peer, uint64_t now_us, lm_outbox_t *out)
{
    (void)room;
    (void)now_us;
    (void)out;
    room_again += peer == LM_LOCK;
}

static void send_committed(toy_t *t, uint64_t now_us, lm_outbox_t *out)
{
    lm_bus_committed_t body = {.commit_index = 4};
    lm_bus_raft_role_event_t role = {.term = 1};
    (void)t;
    (void)now_us;
    sent_ok = lm_outbox_send(out, LM_LOCK, LM_MSG_COMMITTED, &body);
    cr_assert(lm_outbox_send(out, LM_LOCK, LM_MSG_RAFT_ROLE, &role));
}

Test(act_room, a_full_pipe_stops_the_source_and_keeps_the_rest)
{
    static const lm_room_row_t start[] = {{LM_MSG_START, on_start, LM_ANY_STATE}};
    static const lm_room_t raft_room = {.self = LM_RAFT,
                                        .binds = true,
                                        .rows = start,
                                        .n_rows = 1,
                                        .on_inlet = on_inlet,
                                        .on_room_again = on_room_again};
    lm_test_host_t *raft = lm_test_host_new(&raft_room, &toy);
    item_t item = {.act = send_committed};
    lm_test_fill_pipe(raft, LM_LOCK, true);
    lm_test_inlet(raft, &item);
    cr_assert_not(sent_ok);
    cr_assert_eq(lm_test_count(raft, LM_MSG_COMMITTED), 0);
    cr_assert_eq(lm_test_count(raft, LM_MSG_RAFT_ROLE), 1);
    cr_assert_eq(room_again, 0);
    lm_test_fill_pipe(raft, LM_LOCK, false);
    cr_assert_eq(room_again, 1);
    lm_test_inlet(raft, &item);
    cr_assert(sent_ok);
    cr_assert_eq(lm_test_count(raft, LM_MSG_COMMITTED), 1);
    lm_test_host_destroy(&raft);
}
