/* The clients room against a driver without gRPC: what is refused, who is asked, who is answered.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "frontend_limits.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_health.h"
#include "wire_peer.h"

enum {
    OK = 0,
    CANCELLED = 1,
    INVALID = 3,
    NOT_FOUND = 5,
    EXHAUSTED = 8,
    PRECONDITION = 9,
    ABORTED = 10,
    UNAVAILABLE = 14,
};

static fake_driver_t *driver;
static lm_frontend_clients_t *room;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static lm_bytes_t repeated(size_t n)
{
    uint8_t *bytes = lm_arena_alloc(driver->arena, n + 1);
    memset(bytes, 'x', n);
    return lm_bytes(bytes, n);
}

static void start(void)
{
    lm_bus_node_config_t config = fake_config();
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
}

static void set_mode(int32_t mode)
{
    lm_bus_node_mode_t body = {.mode = mode};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_NODE_MODE, &body, 0);
}

/* The newest question about lock; asked by the room or by a client. */
static const lm_test_sent_t *status_query(void)
{
    const lm_test_sent_t *newest = NULL, *sent;
    while ((sent = lm_test_take(host, LM_MSG_STATUS_QUERY))) newest = sent;
    return newest;
}

static void tell_status(int32_t role, const char *leader)
{
    const lm_test_sent_t *query = status_query();
    if (!query) {
        lm_test_advance(host, 1000000);
        query = status_query();
    }
    cr_assert(query);
    lm_api_response_header_t header = {.cluster_id = b("cluster")};
    lm_api_get_status_response_t status = {.header = &header, .role = role, .leader = b(leader)};
    lm_test_reply(host, LM_LOCK, LM_MSG_STATUS_ANSWER, query->correlation, &status);
    cr_assert_eq(lm_test_refused(host), LM_RC_OK);
}

static void set_up(void)
{
    uint64_t seed[2] = {1, 2};
    driver = fake_driver_new();
    room = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(room, &driver->face);
    host = lm_test_host_new(&lm_frontend_clients_room, room);
    start();
    lm_test_restart_peer(host, LM_LOCK);
    tell_status(LM_API_RAFT_ROLE_FOLLOWER, "n2");
    set_mode(LM_BUS_NODE_MODE_MODE_SERVING);
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&room);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_clients_room, .init = set_up, .fini = tear_down);

static lm_api_acquire_request_t good_acquire(void)
{
    return (lm_api_acquire_request_t){.name = b("a/b"), .owner = b("me"), .request_id = b("id")};
}

static uint64_t in_ms(uint64_t ms) { return lm_test_now(host) + ms * 1000; }

static fake_handle_t *acquire(uint64_t ms)
{
    lm_api_acquire_request_t request = good_acquire();
    return fake_call(driver, host, LM_METHOD_ACQUIRE, &request, ms ? in_ms(ms) : 0);
}

static const lm_test_sent_t *lock_call(void)
{
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(sent, "lock was not asked");
    return sent;
}

static void lock_answers(const lm_test_sent_t *call, const lm_peer_lock_answer_t *answer)
{
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, call->correlation, answer);
}

static lm_peer_lock_answer_t granted(void)
{
    static lm_api_acquire_response_t response;
    response = (lm_api_acquire_response_t){.result = LM_API_ACQUIRE_RESULT_GRANTED,
                                           .token = 42,
                                           .hold_id = b("7-1"),
                                           .request_id = b("id")};
    return (lm_peer_lock_answer_t){.kind = LM_PEER_ANSWER_KIND_RESULT,
                                   .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_ACQUIRE,
                                   .acquire = &response};
}

static lm_peer_lock_answer_t sent_back(const char *leader, uint64_t stamp, lm_rc_t code)
{
    return (lm_peer_lock_answer_t){.kind = LM_PEER_ANSWER_KIND_FORWARD,
                                   .code = (uint32_t)code,
                                   .leader = b(leader),
                                   .stamp = stamp};
}

static lm_peer_lock_answer_t refused(lm_rc_t code)
{
    return (lm_peer_lock_answer_t){.kind = LM_PEER_ANSWER_KIND_ERROR, .code = (uint32_t)code};
}

static void forward_answers(fake_handle_t *forward, const lm_peer_lock_answer_t *answer)
{
    lm_peer_forward_response_t response = {.answer = (lm_peer_lock_answer_t *)(uintptr_t)answer};
    fake_answer(driver, host, forward, OK, &lm_peer_forward_response_type, &response);
}

/* An Acquire that the own lock has sent on to n2. */
static fake_handle_t *forwarded(fake_handle_t **call, uint64_t ms)
{
    *call = acquire(ms);
    lm_peer_lock_answer_t back = sent_back("n2", 17, LM_RC_OK);
    lock_answers(lock_call(), &back);
    fake_handle_t *forward = fake_outgoing(driver, LM_METHOD_FORWARD);
    cr_assert(forward);
    return forward;
}

static const lm_peer_lock_call_t *in_forward(fake_handle_t *forward)
{
    lm_peer_forward_request_t *request =
        fake_decode(driver, &lm_peer_forward_request_type, forward->payload);
    cr_assert(lm_bytes_equal(request->from, b("n1")));
    return request->call;
}

/* ---- plain calls ----------------------------------------------------------------------------- */

Test(frontend_clients_room, ready_when_ports_are_open)
{
    cr_assert(lm_test_is_ready(host));
    cr_assert_eq(driver->how.grpc_port, 9090);
    cr_assert_eq(driver->how.region_port, 9091);
}

Test(frontend_clients_room, busy_port_ends_the_actor_to_be_tried_later)
{
    fake_event(host, LM_FRONTEND_NOT_BOUND, NULL);
    lm_exit_t code;
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_TRY_LATER);
}

Test(frontend_clients_room, grant_of_own_lock_reaches_the_client)
{
    fake_handle_t *call = acquire(1000);
    const lm_test_sent_t *asked = lock_call();
    const lm_peer_lock_call_t *body = asked->body;
    cr_assert_eq(body->request_case, LM_PEER_LOCK_CALL_REQUEST_ACQUIRE);
    cr_assert(lm_bytes_equal(body->acquire->name, b("a/b")));
    cr_assert(!body->context->stamped && !body->context->forwarded);
    cr_assert(body->context->remaining_ms > 800 && body->context->remaining_ms < 1000);
    lm_peer_lock_answer_t answer = granted();
    lock_answers(asked, &answer);
    cr_assert(call->finished);
    cr_assert_eq(call->status, OK);
    lm_api_acquire_response_t *response =
        fake_decode(driver, &lm_api_acquire_response_type, call->message);
    cr_assert_eq(response->token, 42);
    fake_over(host, call, true);
    cr_assert(call->dropped);
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 0);
}

Test(frontend_clients_room, missing_request_ids_are_made_and_differ)
{
    lm_api_acquire_request_t request = good_acquire();
    request.request_id = b("");
    lm_bytes_t ids[2];
    for (int i = 0; i < 2; i++) {
        fake_call(driver, host, LM_METHOD_ACQUIRE, &request, 0);
        ids[i] = ((const lm_peer_lock_call_t *)lock_call()->body)->acquire->request_id;
        cr_assert_eq(ids[i].size, 32);
    }
    cr_assert(!lm_bytes_equal(ids[0], ids[1]));
}

Test(frontend_clients_room, calls_without_a_deadline_get_one)
{
    acquire(0);
    uint64_t now_us = lm_test_now(host);
    cr_assert_eq(lock_call()->deadline_us, now_us + 30000000);
    lm_api_acquire_request_t request = good_acquire();
    request.wait_ms = 5000;
    fake_call(driver, host, LM_METHOD_ACQUIRE, &request, 0);
    cr_assert_eq(lock_call()->deadline_us, now_us + 35000000);
    request.wait_ms = -1;
    fake_call(driver, host, LM_METHOD_ACQUIRE, &request, 0);
    cr_assert_eq(lock_call()->deadline_us, now_us + UINT64_C(86430) * 1000000);
}

Test(frontend_clients_room, errors_of_lock_carry_status_reason_and_field)
{
    fake_handle_t *call = acquire(1000);
    lm_peer_lock_answer_t answer = refused(LM_RC_STALE_HOLD);
    answer.field = b("hold_id");
    answer.text = b("gone");
    lock_answers(lock_call(), &answer);
    cr_assert_eq(call->status, PRECONDITION);
    cr_assert_str_eq(call->text, "gone");
    cr_assert_str_eq(fake_reason(driver, call), "STALE_HOLD");
    cr_assert_str_eq(fake_field(driver, call), "hold_id");
    cr_assert(!fake_has_retry_info(driver, call));
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void expect_field(lm_frontend_method_id_t method, const void *request, const char *field)
{
    fake_handle_t *call = fake_call(driver, host, method, request, in_ms(500));
    if (!field) {
        cr_assert(!call->finished, "%s", call->text);
        lock_call();
        return;
    }
    cr_assert(call->finished);
    cr_assert_eq(call->status, INVALID);
    cr_assert_str_eq(fake_reason(driver, call), "INVALID_ARGUMENT");
    cr_assert_str_eq(fake_field(driver, call), field);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_CALL), 0);
    fake_over(host, call, true);
    cr_assert(call->dropped);
}

#define ACQUIRE_WITH(member, value, field)                 \
    do {                                                   \
        lm_api_acquire_request_t changed = good_acquire(); \
        changed.member = (value);                          \
        expect_field(LM_METHOD_ACQUIRE, &changed, field);  \
    } while (0)

Test(frontend_clients_room, acquire_fields_at_their_limits_and_beyond)
{
    ACQUIRE_WITH(name, b(""), "name");
    ACQUIRE_WITH(name, b("n"), NULL);
    ACQUIRE_WITH(name, repeated(LM_NAME_BYTES_MAX), NULL);
    ACQUIRE_WITH(name, repeated(LM_NAME_BYTES_MAX + 1), "name");
    ACQUIRE_WITH(name, lm_bytes("a\0b", 3), "name");
    ACQUIRE_WITH(name, b("\xff"), "name");
    ACQUIRE_WITH(owner, repeated(LM_OWNER_BYTES_MAX), NULL);
    ACQUIRE_WITH(owner, repeated(LM_OWNER_BYTES_MAX + 1), "owner");
    ACQUIRE_WITH(request_id, repeated(LM_REQUEST_ID_BYTES_MAX), NULL);
    ACQUIRE_WITH(request_id, repeated(LM_REQUEST_ID_BYTES_MAX + 1), "request_id");
    ACQUIRE_WITH(mode, LM_API_LOCK_MODE_SHARED, NULL);
    ACQUIRE_WITH(mode, 3, "mode");
    ACQUIRE_WITH(mode, -1, "mode");
    ACQUIRE_WITH(ttl_ms, 0, NULL);
    ACQUIRE_WITH(ttl_ms, INT64_MAX, NULL);
    ACQUIRE_WITH(ttl_ms, -1, "ttl_ms");
    ACQUIRE_WITH(wait_ms, -1, NULL);
    ACQUIRE_WITH(wait_ms, -2, "wait_ms");
    ACQUIRE_WITH(wait_ms, LM_WAIT_MS_MAX, NULL);
    ACQUIRE_WITH(wait_ms, LM_WAIT_MS_MAX + 1, "wait_ms");
}

Test(frontend_clients_room, s11a_a_call_without_an_owner_is_refused)
{
    ACQUIRE_WITH(owner, b(""), "owner");
    lm_api_release_request_t release = {.name = b("a"), .hold_id = b("1-1")};
    expect_field(LM_METHOD_RELEASE, &release, "owner");
    lm_api_renew_request_t renew = {.name = b("a"), .hold_id = b("1-1")};
    expect_field(LM_METHOD_RENEW, &renew, "owner");
    lm_api_cancel_request_t cancel = {.request_id = b("id")};
    expect_field(LM_METHOD_CANCEL, &cancel, "owner");
}

Test(frontend_clients_room, fields_of_the_other_methods)
{
    lm_api_release_request_t release = {.name = b("a"), .owner = b("o")};
    expect_field(LM_METHOD_RELEASE, &release, "hold_id");
    release.hold_id = repeated(LM_HOLD_ID_BYTES_MAX + 1);
    expect_field(LM_METHOD_RELEASE, &release, "hold_id");
    release.hold_id = repeated(LM_HOLD_ID_BYTES_MAX);
    expect_field(LM_METHOD_RELEASE, &release, NULL);
    lm_api_renew_request_t renew = {
        .name = b("a"), .owner = b("o"), .hold_id = b("1-1"), .ttl_ms = -5};
    expect_field(LM_METHOD_RENEW, &renew, "ttl_ms");
    lm_api_cancel_request_t cancel = {.owner = b("o")};
    expect_field(LM_METHOD_CANCEL, &cancel, "request_id");
    lm_api_get_request_t get = {.name = b("")};
    expect_field(LM_METHOD_GET, &get, "name");
    lm_api_list_request_t list = {.page_size = LM_PAGE_SIZE_MAX};
    expect_field(LM_METHOD_LIST, &list, NULL);
    list.page_size++;
    expect_field(LM_METHOD_LIST, &list, "page_size");
    list.page_size = -1;
    expect_field(LM_METHOD_LIST, &list, "page_size");
    list.page_size = 0;
    list.page_token = repeated(LM_PAGE_TOKEN_BYTES_MAX + 1);
    expect_field(LM_METHOD_LIST, &list, "page_token");
}

static fake_handle_t *call_with_flags(bool oversized, bool missing, lm_bytes_t bytes)
{
    fake_handle_t *handle = fake_incoming(driver, LM_METHOD_ACQUIRE);
    lm_frontend_event_t *event =
        lm_frontend_event_new(LM_FRONTEND_CALLED, &handle->handle, bytes.size);
    if (bytes.size) memcpy(event->payload, bytes.data, bytes.size);
    event->oversized = oversized;
    event->missing = missing;
    lm_test_inlet(host, event);
    return handle;
}

Test(frontend_clients_room, undecodable_oversized_and_missing_requests)
{
    fake_handle_t *call = call_with_flags(false, false, lm_bytes("\xff\xff\xff", 3));
    cr_assert_eq(call->status, INVALID);
    cr_assert_str_eq(fake_reason(driver, call), "MALFORMED");
    call = call_with_flags(true, false, lm_bytes(NULL, 0));
    cr_assert_eq(call->status, EXHAUSTED);
    cr_assert_str_eq(fake_reason(driver, call), "TOO_LARGE");
    call = call_with_flags(false, true, lm_bytes(NULL, 0));
    cr_assert_eq(call->status, INVALID);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_CALL), 0);
}

Test(frontend_clients_room, overload_of_lock_is_told_with_a_time_to_come_again)
{
    lm_test_fill_pipe(host, LM_LOCK, true);
    fake_handle_t *call = acquire(1000);
    cr_assert(call->finished);
    cr_assert_eq(call->status, UNAVAILABLE);
    cr_assert_str_eq(fake_reason(driver, call), "OVERLOADED");
    cr_assert(fake_has_retry_info(driver, call));
    cr_assert(call->pushback_ms > 0);
}

/* ---- passing on ------------------------------------------------------------------------------ */

Test(frontend_clients_room, s13_a_call_is_passed_on_to_the_leader_with_less_time)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 1000);
    cr_assert_str_eq(forward->target.host, "two");
    cr_assert_eq(forward->target.port, 9102);
    const lm_peer_lock_call_t *body = in_forward(forward);
    cr_assert(body->context->forwarded);
    cr_assert(body->context->remaining_ms < 925);
    cr_assert(body->context->remaining_ms > 700);
    lm_peer_lock_answer_t answer = granted();
    forward_answers(forward, &answer);
    cr_assert(call->finished && forward->dropped);
    cr_assert_eq(call->status, OK);
}

Test(frontend_clients_room, s12a_all_attempts_carry_the_first_stamp_and_the_same_id)
{
    lm_api_acquire_request_t request = good_acquire();
    request.request_id = b("");
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_ACQUIRE, &request, in_ms(2000));
    const lm_test_sent_t *first = lock_call();
    lm_bytes_t id = ((const lm_peer_lock_call_t *)first->body)->acquire->request_id;
    lm_peer_lock_answer_t back = sent_back("n2", 17, LM_RC_OK);
    lock_answers(first, &back);
    fake_handle_t *forward = fake_outgoing(driver, LM_METHOD_FORWARD);
    const lm_peer_lock_call_t *body = in_forward(forward);
    cr_assert(body->context->stamped);
    cr_assert_eq(body->context->stamp, 17);
    cr_assert(lm_bytes_equal(body->acquire->request_id, id));
    fake_answer(driver, host, forward, UNAVAILABLE, NULL, NULL);
    lm_test_advance(host, 20000);
    const lm_test_sent_t *second = lock_call();
    body = second->body;
    cr_assert(body->context->stamped);
    cr_assert_eq(body->context->stamp, 17);
    cr_assert(lm_bytes_equal(body->acquire->request_id, id));
    lm_peer_lock_answer_t later = sent_back("n3", 99, LM_RC_OK);
    later.seen = true;
    lock_answers(second, &later);
    body = in_forward(fake_outgoing(driver, LM_METHOD_FORWARD));
    cr_assert_eq(body->context->stamp, 17, "not the later one");
    cr_assert(body->context->seen);
    cr_assert(!call->finished);
}

Test(frontend_clients_room, s13_what_was_passed_on_to_this_node_is_never_passed_on_again)
{
    lm_api_acquire_request_t acquire_request = good_acquire();
    lm_peer_call_context_t context = {
        .forwarded = true, .stamped = true, .stamp = 5, .remaining_ms = 400};
    lm_peer_lock_call_t body = {.context = &context,
                                .request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                .acquire = &acquire_request};
    lm_peer_forward_request_t request = {
        .cluster_id = b("cluster"), .from = b("n3"), .call = &body};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_FORWARD, &request, in_ms(450));
    const lm_test_sent_t *asked = lock_call();
    const lm_peer_lock_call_t *passed = asked->body;
    cr_assert(passed->context->forwarded && passed->context->stamped);
    cr_assert_eq(passed->context->stamp, 5);
    cr_assert(passed->context->remaining_ms <= 400);
    lm_peer_lock_answer_t back = sent_back("n2", 5, LM_RC_OK);
    lock_answers(asked, &back);
    cr_assert_eq(fake_count(driver, LM_METHOD_FORWARD), 0);
    cr_assert(call->finished);
    cr_assert_eq(call->status, OK);
    lm_peer_forward_response_t *response =
        fake_decode(driver, &lm_peer_forward_response_type, call->message);
    cr_assert_eq(response->answer->kind, LM_PEER_ANSWER_KIND_FORWARD);
}

static fake_handle_t *forward_from(const char *from, const char *cluster)
{
    lm_api_get_request_t get = {.name = b("a")};
    lm_peer_call_context_t context = {.forwarded = true, .remaining_ms = 400};
    lm_peer_lock_call_t body = {
        .context = &context, .request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &get};
    lm_peer_forward_request_t request = {.cluster_id = b(cluster), .from = b(from), .call = &body};
    return fake_call(driver, host, LM_METHOD_FORWARD, &request, in_ms(500));
}

Test(frontend_clients_room, calls_of_strangers_and_other_clusters_are_refused)
{
    cr_assert_str_eq(fake_reason(driver, forward_from("n9", "cluster")), "UNKNOWN_PEER");
    cr_assert_str_eq(fake_reason(driver, forward_from("n1", "cluster")), "UNKNOWN_PEER");
    cr_assert_str_eq(fake_reason(driver, forward_from("n3", "other")), "WRONG_CLUSTER");
    cr_assert(!forward_from("n3", "")->finished, "a node without data yet");
    cr_assert(!forward_from("n3", "cluster")->finished);
    lm_peer_forward_request_t empty = {.from = b("n3"), .cluster_id = b("cluster")};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_FORWARD, &empty, 0);
    cr_assert_str_eq(fake_reason(driver, call), "MALFORMED");
}

Test(frontend_clients_room, s13_the_same_call_goes_to_the_next_leader)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 3000);
    lm_peer_lock_answer_t back = sent_back("", 0, LM_RC_OK);
    forward_answers(forward, &back);
    cr_assert(!call->finished);
    lm_test_advance(host, 20000);
    back = sent_back("n3", 17, LM_RC_OK);
    lock_answers(lock_call(), &back);
    fake_handle_t *next = fake_outgoing(driver, LM_METHOD_FORWARD);
    cr_assert_str_eq(next->target.host, "three");
    lm_peer_lock_answer_t answer = granted();
    forward_answers(next, &answer);
    cr_assert_eq(call->status, OK);
}

Test(frontend_clients_room, s13_a_silent_former_leader_does_not_hold_a_call)
{
    fake_handle_t *call;
    fake_handle_t *old = forwarded(&call, 5000);
    tell_status(LM_API_RAFT_ROLE_FOLLOWER, "n3");
    cr_assert(old->cancelled && !old->dropped);
    lm_test_advance(host, 20000);
    lm_peer_lock_answer_t back = sent_back("n3", 17, LM_RC_OK);
    lock_answers(lock_call(), &back);
    fake_handle_t *next = fake_outgoing(driver, LM_METHOD_FORWARD);
    cr_assert_neq(next, old);
    lm_peer_lock_answer_t answer = granted();
    forward_answers(next, &answer);
    cr_assert_eq(call->status, OK);
    fake_answer(driver, host, old, CANCELLED, NULL, NULL);
    cr_assert(old->dropped);
}

Test(frontend_clients_room, s13_the_first_answer_counts_also_that_of_the_former_leader)
{
    fake_handle_t *call;
    fake_handle_t *old = forwarded(&call, 5000);
    tell_status(LM_API_RAFT_ROLE_FOLLOWER, "n3");
    lm_test_advance(host, 20000);
    const lm_test_sent_t *asked = lock_call();
    lm_peer_lock_answer_t answer = granted();
    forward_answers(old, &answer);
    cr_assert(call->finished);
    cr_assert_eq(call->status, OK);
    const lm_test_sent_t *gone = lm_test_take(host, LM_MSG_LISTENER_GONE);
    cr_assert_eq(((const lm_bus_listener_gone_t *)gone->body)->correlation, asked->correlation);
    lock_answers(asked, &answer);
    const lm_test_sent_t *undelivered = lm_test_take(host, LM_MSG_ANSWER_UNDELIVERED);
    cr_assert(undelivered, "a second grant on a finished call is reported");
    cr_assert_eq(((const lm_bus_answer_undelivered_t *)undelivered->body)->correlation,
                 asked->correlation);
}

/* ---- grants of other nodes that find nobody -------------------------------------------------- */

static uint64_t forward_id_of(fake_handle_t *forward)
{
    lm_peer_forward_request_t *request =
        fake_decode(driver, &lm_peer_forward_request_type, forward->payload);
    cr_assert_neq(request->forward_id, 0);
    return request->forward_id;
}

/* Exactly one report is on its way, to n2 and about that forward. Ends it. */
static void expect_report(fake_handle_t *forward)
{
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 1);
    fake_handle_t *report = fake_outgoing(driver, LM_METHOD_UNDELIVERED);
    cr_assert_str_eq(report->target.host, "two");
    cr_assert_eq(report->deadline_us, in_ms(2000));
    lm_peer_undelivered_request_t *request =
        fake_decode(driver, &lm_peer_undelivered_request_type, report->payload);
    cr_assert(lm_bytes_equal(request->cluster_id, b("cluster")));
    cr_assert(lm_bytes_equal(request->from, b("n1")));
    cr_assert_eq(request->forward_id, forward_id_of(forward));
    fake_answer(driver, host, report, UNAVAILABLE, NULL, NULL);
    cr_assert(report->dropped, "one attempt");
    lm_test_advance(host, 5000000);
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 0);
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 0);
}

Test(frontend_clients_room, s13_a_late_grant_is_reported_to_the_node_that_gave_it)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 5000);
    fake_over(host, call, false);
    cr_assert(forward->cancelled);
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 0, "not before it has ended");
    lm_peer_lock_answer_t answer = granted();
    forward_answers(forward, &answer);
    expect_report(forward);
}

Test(frontend_clients_room, s13_a_cancelled_forward_is_reported_its_grant_may_have_crossed)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 5000);
    fake_over(host, call, false);
    fake_answer(driver, host, forward, CANCELLED, NULL, NULL);
    expect_report(forward);
}

Test(frontend_clients_room, s13_a_second_grant_of_a_former_leader_is_reported)
{
    fake_handle_t *call;
    fake_handle_t *old = forwarded(&call, 5000);
    tell_status(LM_API_RAFT_ROLE_FOLLOWER, "n3");
    lm_test_advance(host, 20000);
    lm_peer_lock_answer_t back = sent_back("n3", 17, LM_RC_OK);
    lock_answers(lock_call(), &back);
    lm_peer_lock_answer_t answer = granted();
    forward_answers(fake_outgoing(driver, LM_METHOD_FORWARD), &answer);
    cr_assert_eq(call->status, OK);
    fake_over(host, call, true);
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 0, "the client has this grant");
    forward_answers(old, &answer);
    expect_report(old);
}

Test(frontend_clients_room, s13_a_forwarded_grant_that_does_not_reach_the_client_is_reported)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 5000);
    lm_peer_lock_answer_t answer = granted();
    forward_answers(forward, &answer);
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 0);
    fake_over(host, call, false);
    expect_report(forward);
}

Test(frontend_clients_room, s13_a_forward_without_an_answer_is_reported_when_its_call_ends)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 300);
    fake_answer(driver, host, forward, UNAVAILABLE, NULL, NULL);
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 0, "the call still wants it");
    lm_test_advance(host, 20000);
    lm_peer_lock_answer_t answer = refused(LM_RC_OVERLOADED);
    lock_answers(lock_call(), &answer);
    cr_assert(call->finished);
    expect_report(forward);
}

Test(frontend_clients_room, s13_only_what_may_be_a_grant_is_reported)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 5000);
    fake_over(host, call, false);
    lm_peer_lock_answer_t answer = sent_back("", 0, LM_RC_OK);
    forward_answers(forward, &answer);
    forward = forwarded(&call, 5000);
    fake_over(host, call, false);
    lm_api_get_request_t details = {.name = b("details")};
    fake_answer(driver, host, forward, UNAVAILABLE, &lm_api_get_request_type, &details);
    lm_api_get_request_t get = {.name = b("a")};
    call = fake_call(driver, host, LM_METHOD_GET, &get, in_ms(300));
    answer = sent_back("n2", 1, LM_RC_OK);
    lock_answers(lock_call(), &answer);
    fake_over(host, call, false);
    fake_answer(driver, host, fake_outgoing(driver, LM_METHOD_FORWARD), CANCELLED, NULL, NULL);
    cr_assert_eq(fake_count(driver, LM_METHOD_UNDELIVERED), 0);
}

/* An Acquire of n3's client, granted here; returns the correlation at the own lock. */
static uint64_t grant_for_n3(uint64_t forward_id)
{
    lm_api_acquire_request_t acquire_request = good_acquire();
    lm_peer_call_context_t context = {.forwarded = true, .remaining_ms = 400};
    lm_peer_lock_call_t body = {.context = &context,
                                .request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                .acquire = &acquire_request};
    lm_peer_forward_request_t request = {
        .cluster_id = b("cluster"), .from = b("n3"), .call = &body, .forward_id = forward_id};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_FORWARD, &request, in_ms(450));
    const lm_test_sent_t *asked = lock_call();
    uint64_t correlation = asked->correlation;
    lm_peer_lock_answer_t answer = granted();
    lock_answers(asked, &answer);
    fake_over(host, call, true);
    cr_assert(call->dropped);
    return correlation;
}

static fake_handle_t *report_from(const char *from, const char *cluster, uint64_t forward_id)
{
    lm_peer_undelivered_request_t request = {
        .cluster_id = b(cluster), .from = b(from), .forward_id = forward_id};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_UNDELIVERED, &request, in_ms(2000));
    cr_assert(call->finished);
    fake_over(host, call, true);
    cr_assert(call->dropped);
    return call;
}

Test(frontend_clients_room, s13_a_reported_grant_is_told_to_the_lock_that_gave_it)
{
    uint64_t first = grant_for_n3(7), second = grant_for_n3(8);
    cr_assert_neq(first, second);
    cr_assert_eq(report_from("n3", "cluster", 7)->status, OK);
    const lm_test_sent_t *told = lm_test_take(host, LM_MSG_ANSWER_UNDELIVERED);
    cr_assert(told);
    cr_assert_eq(((const lm_bus_answer_undelivered_t *)told->body)->correlation, first);
    report_from("n3", "cluster", 7);
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 0, "it was told");
}

/* Of a metric of the newest report of this room. */
static double figure(const char *name)
{
    while (lm_test_take(host, LM_MSG_STATUS_REPORT)) continue;
    lm_test_advance(host, 1000000);
    const lm_bus_status_report_t *report = lm_test_take(host, LM_MSG_STATUS_REPORT)->body;
    for (size_t i = 0; i < report->n_metrics; i++)
        if (lm_bytes_equal(report->metrics[i].name, b(name))) return report->metrics[i].value;
    return -1;
}

Test(frontend_clients_room, s13_reports_of_unknown_grants_are_counted_and_change_nothing)
{
    grant_for_n3(7);
    grant_for_n3(7 + LM_GIVEN_MAX);
    cr_assert_eq(report_from("n3", "cluster", 7)->status, OK, "a newer one has its slot");
    cr_assert_eq(report_from("n2", "cluster", 7 + LM_GIVEN_MAX)->status, OK, "not given to it");
    report_from("n3", "cluster", 0);
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 0);
    cr_assert_eq(figure("lockmgr_frontend_reports_unknown_total"), 3);
}

Test(frontend_clients_room, s13_reports_of_strangers_and_other_clusters_are_refused)
{
    grant_for_n3(7);
    cr_assert_str_eq(fake_reason(driver, report_from("n9", "cluster", 7)), "UNKNOWN_PEER");
    cr_assert_str_eq(fake_reason(driver, report_from("n1", "cluster", 7)), "UNKNOWN_PEER");
    cr_assert_str_eq(fake_reason(driver, report_from("n3", "other", 7)), "WRONG_CLUSTER");
    fake_handle_t *call = fake_incoming(driver, LM_METHOD_UNDELIVERED);
    lm_frontend_event_t *event = lm_frontend_event_new(LM_FRONTEND_CALLED, &call->handle, 2);
    memcpy(event->payload, "\xff\xff", 2);
    lm_test_inlet(host, event);
    cr_assert_str_eq(fake_reason(driver, call), "MALFORMED");
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 0);
}

Test(frontend_clients_room, without_an_open_connection_nothing_was_sent)
{
    driver->connected = false;
    fake_handle_t *call = acquire(300);
    for (int i = 0; i < 40 && !call->finished; i++) {
        const lm_test_sent_t *asked = lm_test_take(host, LM_MSG_LOCK_CALL);
        lm_peer_lock_answer_t back = sent_back("n2", 1, LM_RC_OK);
        if (asked) lock_answers(asked, &back);
        lm_test_advance(host, 10000);
    }
    cr_assert(call->finished);
    cr_assert_eq(call->status, UNAVAILABLE);
    cr_assert_str_eq(fake_reason(driver, call), "NO_LEADER");
}

/* ---- nobody leads ---------------------------------------------------------------------------- */

static void without_leader(fake_handle_t *call, uint64_t deadline_us)
{
    while (!call->finished) {
        const lm_test_sent_t *asked = lm_test_take(host, LM_MSG_LOCK_CALL);
        lm_peer_lock_answer_t back = sent_back("", 1, LM_RC_OK);
        if (asked) lock_answers(asked, &back);
        lm_test_advance(host, 5000);
        cr_assert(lm_test_now(host) < deadline_us, "no answer within the deadline");
    }
}

Test(frontend_clients_room, s14_no_leader_is_unavailable_within_the_deadline)
{
    static const uint64_t deadlines_ms[] = {20, 100, 1000, 5000};
    for (size_t i = 0; i < 4; i++) {
        uint64_t deadline_us = in_ms(deadlines_ms[i]);
        fake_handle_t *call = acquire(deadlines_ms[i]);
        without_leader(call, deadline_us);
        cr_assert_eq(call->status, UNAVAILABLE);
        cr_assert_str_eq(fake_reason(driver, call), "NO_LEADER");
        cr_assert(fake_has_retry_info(driver, call));
        cr_assert_eq(lm_test_count(host, LM_MSG_LISTENER_GONE), 0);
    }
}

Test(frontend_clients_room, a_call_whose_deadline_has_passed_is_answered_and_asks_nobody)
{
    lm_api_acquire_request_t request = good_acquire();
    fake_handle_t *call =
        fake_call(driver, host, LM_METHOD_ACQUIRE, &request, lm_test_now(host) - 1);
    lm_test_advance(host, 1000);
    cr_assert(call->finished);
    cr_assert_eq(call->status, UNAVAILABLE);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_CALL), 0);
}

Test(frontend_clients_room, s14_a_change_that_may_have_been_applied_is_never_unavailable)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 300);
    fake_answer(driver, host, forward, UNAVAILABLE, NULL, NULL);
    without_leader(call, in_ms(300));
    cr_assert_eq(call->status, ABORTED);
    cr_assert_str_eq(fake_reason(driver, call), "OUTCOME_UNKNOWN");
}

Test(frontend_clients_room, s14_a_lock_that_proposed_and_lost_leaves_the_outcome_open)
{
    fake_handle_t *call = acquire(300);
    lm_peer_lock_answer_t back = sent_back("", 1, LM_RC_OUTCOME_UNKNOWN);
    lock_answers(lock_call(), &back);
    without_leader(call, in_ms(300));
    cr_assert_str_eq(fake_reason(driver, call), "OUTCOME_UNKNOWN");
}

Test(frontend_clients_room, s14_a_refusal_after_an_attempt_in_doubt_stays_in_doubt)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 1000);
    fake_answer(driver, host, forward, UNAVAILABLE, NULL, NULL);
    lm_test_advance(host, 20000);
    lm_peer_lock_answer_t answer = refused(LM_RC_OVERLOADED);
    lock_answers(lock_call(), &answer);
    cr_assert_str_eq(fake_reason(driver, call), "OUTCOME_UNKNOWN");
}

Test(frontend_clients_room, s14_a_refusal_with_our_details_leaves_no_doubt)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 300);
    lm_api_get_request_t any = {.name = b("details")};
    fake_answer(driver, host, forward, UNAVAILABLE, &lm_api_get_request_type, &any);
    without_leader(call, in_ms(300));
    cr_assert_str_eq(fake_reason(driver, call), "NO_LEADER");
}

Test(frontend_clients_room, s14_a_read_is_unavailable_whatever_happened_to_it)
{
    lm_api_get_request_t get = {.name = b("a")};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_GET, &get, in_ms(300));
    lm_peer_lock_answer_t back = sent_back("n2", 1, LM_RC_OK);
    lock_answers(lock_call(), &back);
    fake_handle_t *forward = fake_outgoing(driver, LM_METHOD_FORWARD);
    lm_test_advance(host, 300000);
    cr_assert(call->finished && forward->cancelled);
    cr_assert_eq(call->status, UNAVAILABLE);
}

Test(frontend_clients_room, a_lock_that_never_answers_leaves_a_change_in_doubt)
{
    fake_handle_t *call = acquire(300);
    const lm_test_sent_t *asked = lock_call();
    lm_test_advance(host, 290000);
    cr_assert(call->finished);
    cr_assert_str_eq(fake_reason(driver, call), "OUTCOME_UNKNOWN");
    (void)asked;
}

Test(frontend_clients_room, a_call_whose_time_runs_out_before_it_is_passed_on_is_not_passed_on)
{
    fake_handle_t *call = acquire(300);
    const lm_test_sent_t *asked = lock_call();
    lm_test_freeze(host, 400000);
    lm_peer_lock_answer_t back = sent_back("n2", 1, LM_RC_OK);
    lock_answers(asked, &back);
    lm_test_advance(host, 1000);
    cr_assert_eq(fake_count(driver, LM_METHOD_FORWARD), 0);
    cr_assert(call->finished);
    cr_assert_eq(call->status, UNAVAILABLE);
}

/* ---- callers that go ------------------------------------------------------------------------- */

Test(frontend_clients_room, s10_a_client_that_goes_leaves_the_own_lock)
{
    fake_handle_t *call = acquire(5000);
    const lm_test_sent_t *asked = lock_call();
    fake_over(host, call, false);
    cr_assert(call->dropped && !call->finished);
    const lm_test_sent_t *gone = lm_test_take(host, LM_MSG_LISTENER_GONE);
    cr_assert_eq(((const lm_bus_listener_gone_t *)gone->body)->correlation, asked->correlation);
    lm_peer_lock_answer_t answer = granted();
    lock_answers(asked, &answer);
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 1);
}

Test(frontend_clients_room, s10_a_client_that_goes_takes_its_forward_along)
{
    fake_handle_t *call;
    fake_handle_t *forward = forwarded(&call, 5000);
    fake_over(host, call, false);
    cr_assert(forward->cancelled && call->dropped);
    cr_assert_eq(lm_test_count(host, LM_MSG_LISTENER_GONE), 0);
    fake_answer(driver, host, forward, CANCELLED, NULL, NULL);
    cr_assert(forward->dropped);
}

Test(frontend_clients_room, s10_a_grant_that_does_not_reach_the_client_is_reported)
{
    fake_handle_t *call = acquire(5000);
    const lm_test_sent_t *asked = lock_call();
    lm_peer_lock_answer_t answer = granted();
    lock_answers(asked, &answer);
    fake_over(host, call, false);
    const lm_test_sent_t *undelivered = lm_test_take(host, LM_MSG_ANSWER_UNDELIVERED);
    cr_assert(undelivered);
    cr_assert_eq(((const lm_bus_answer_undelivered_t *)undelivered->body)->correlation,
                 asked->correlation);
}

Test(frontend_clients_room, s10_only_grants_are_reported_as_undelivered)
{
    fake_handle_t *call = acquire(5000);
    lm_api_acquire_response_t held = {.result = LM_API_ACQUIRE_RESULT_HELD};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_ACQUIRE,
                                    .acquire = &held};
    lock_answers(lock_call(), &answer);
    fake_over(host, call, false);
    cr_assert_eq(lm_test_count(host, LM_MSG_ANSWER_UNDELIVERED), 0);
}

Test(frontend_clients_room, calls_in_flight_are_asked_again_when_lock_is_replaced)
{
    fake_handle_t *call = acquire(5000);
    lock_call();
    lm_test_restart_peer(host, LM_LOCK);
    lm_peer_lock_answer_t answer = granted();
    lock_answers(lock_call(), &answer);
    cr_assert_eq(call->status, OK);
}

/* ---- GetStatus, health, reflection ----------------------------------------------------------- */

Test(frontend_clients_room, status_is_what_lock_says)
{
    lm_test_advance(host, 10);
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_GET_STATUS, NULL, in_ms(1000));
    tell_status(LM_API_RAFT_ROLE_LEADER, "n1");
    cr_assert(call->finished);
    lm_api_get_status_response_t *status =
        fake_decode(driver, &lm_api_get_status_response_type, call->message);
    cr_assert_eq(status->role, LM_API_RAFT_ROLE_LEADER);
}

Test(frontend_clients_room, status_without_lock_is_what_this_node_knows)
{
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_GET_STATUS, NULL, in_ms(1000));
    lm_test_advance(host, 600000);
    cr_assert(call->finished);
    cr_assert_eq(call->status, OK);
    lm_api_get_status_response_t *status =
        fake_decode(driver, &lm_api_get_status_response_type, call->message);
    cr_assert_eq(status->role, LM_API_RAFT_ROLE_AWAY);
    cr_assert_eq(status->n_members, 3);
    cr_assert(lm_bytes_equal(status->members[1].address, b("two:9002")));
    cr_assert(status->problem.size > 0);
}

static int32_t health_of(const char *service, int *status)
{
    lm_health_health_check_request_t request = {.service = b(service)};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_HEALTH_CHECK, &request, 0);
    cr_assert(call->finished);
    if (status) *status = call->status;
    if (call->status) return -1;
    lm_health_health_check_response_t *response =
        fake_decode(driver, &lm_health_health_check_response_type, call->message);
    fake_over(host, call, true);
    cr_assert(call->dropped);
    return response->status;
}

#define HEALTH(name) LM_HEALTH_HEALTH_CHECK_RESPONSE_SERVING_STATUS_##name

Test(frontend_clients_room, health_of_known_and_unknown_services)
{
    cr_assert_eq(health_of("", NULL), HEALTH(SERVING));
    cr_assert_eq(health_of("lockmgr.v1.LockService", NULL), HEALTH(SERVING));
    int status;
    health_of("lockmgr.v1.Nothing", &status);
    cr_assert_eq(status, NOT_FOUND);
}

Test(frontend_clients_room, health_goes_down_with_draining_first_thing)
{
    set_mode(LM_BUS_NODE_MODE_MODE_DRAINING);
    cr_assert_eq(health_of("", NULL), HEALTH(NOT_SERVING));
    fake_handle_t *call = acquire(1000);
    cr_assert(!call->finished, "a draining node still answers");
    lock_call();
}

Test(frontend_clients_room, health_goes_down_when_raft_or_lock_is_away)
{
    tell_status(LM_API_RAFT_ROLE_AWAY, "");
    cr_assert_eq(health_of("", NULL), HEALTH(NOT_SERVING));
    tell_status(LM_API_RAFT_ROLE_LEADER, "n1");
    cr_assert_eq(health_of("", NULL), HEALTH(SERVING));
    lm_test_advance(host, 5000000);
    cr_assert_eq(health_of("", NULL), HEALTH(NOT_SERVING), "lock has been silent");
}

static int32_t told(fake_handle_t *watch, size_t i)
{
    cr_assert(watch->n_sent > i);
    return ((lm_health_health_check_response_t *)fake_decode(
                driver, &lm_health_health_check_response_type, watch->sent[i]))
        ->status;
}

Test(frontend_clients_room, watchers_hear_the_state_and_every_change)
{
    fake_handle_t *watch = fake_open(driver, host, LM_METHOD_HEALTH_WATCH);
    fake_handle_t *unknown = fake_open(driver, host, LM_METHOD_HEALTH_WATCH);
    lm_health_health_check_request_t request = {.service = b("")};
    fake_receive(driver, host, watch, &lm_health_health_check_request_type, &request);
    fake_event(host, LM_FRONTEND_HALF_CLOSED, watch);
    request.service = b("nothing");
    fake_receive(driver, host, unknown, &lm_health_health_check_request_type, &request);
    cr_assert_eq(told(watch, 0), HEALTH(SERVING));
    cr_assert_eq(told(unknown, 0), HEALTH(SERVICE_UNKNOWN));
    set_mode(LM_BUS_NODE_MODE_MODE_DRAINING);
    cr_assert_eq(told(watch, 1), HEALTH(NOT_SERVING));
    cr_assert_eq(unknown->n_sent, 1);
    cr_assert(!watch->finished && !unknown->finished, "both stay open");
    fake_over(host, watch, false);
    cr_assert(watch->dropped);
}

/* ---- the end --------------------------------------------------------------------------------- */

Test(frontend_clients_room, stop_answers_every_call_and_then_ends)
{
    fake_handle_t *asked = acquire(5000);
    lock_call();
    fake_handle_t *idle = acquire(5000);
    lm_peer_lock_answer_t back = sent_back("", 1, LM_RC_OK);
    lock_answers(lock_call(), &back);
    lm_bus_stop_t stop = {.grace_ms = 1000};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_STOP, &stop, 0);
    cr_assert(asked->finished && idle->finished && driver->shut);
    cr_assert_str_eq(fake_reason(driver, asked), "OUTCOME_UNKNOWN");
    cr_assert_str_eq(fake_reason(driver, idle), "DRAINING");
    cr_assert_str_eq(fake_reason(driver, acquire(1000)), "DRAINING");
    cr_assert(!lm_test_has_ended(host, NULL));
    fake_event(host, LM_FRONTEND_CLOSED, NULL);
    lm_exit_t code;
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_OK);
}

Test(frontend_clients_room, the_report_counts_calls_by_method_and_status)
{
    acquire(100);
    lm_api_get_request_t get = {.name = b("")};
    fake_call(driver, host, LM_METHOD_GET, &get, 0);
    while (lm_test_take(host, LM_MSG_STATUS_REPORT)) continue;
    lm_test_advance(host, 1000000);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_STATUS_REPORT);
    cr_assert(sent);
    const lm_bus_status_report_t *report = sent->body;
    size_t n_started = 0, n_handled = 0;
    for (size_t i = 0; i < report->n_metrics; i++) {
        const lm_bus_metric_t *metric = &report->metrics[i];
        n_started +=
            lm_bytes_equal(metric->name, b("grpc_server_started_total")) && metric->value > 0;
        n_handled += lm_bytes_equal(metric->name, b("grpc_server_handled_total")) &&
                     lm_bytes_equal(metric->labels[3].value, b("InvalidArgument"));
    }
    cr_assert_eq(n_started, 2);
    cr_assert_eq(n_handled, 1);
    cr_assert(report->ready);
}

Test(frontend_clients_room, a_new_health_actor_hears_the_status_at_once)
{
    cr_assert_eq(lm_test_told_to_new_health(host), 1);
}
