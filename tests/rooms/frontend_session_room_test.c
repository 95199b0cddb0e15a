/* Sessions in the clients room: what is refused, who gets an id, and streams of KeepAlives. */
#include <criterion/criterion.h>

#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { OK = 0, INVALID = 3, UNAVAILABLE = 14 };

static fake_driver_t *driver;
static lm_frontend_clients_t *room;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

#define ID "0000000000000007"
#define SECRET "000102030405060708090a0b0c0d0e0f"

static void set_up(void)
{
    uint64_t seed[2] = {1, 2};
    driver = fake_driver_new();
    room = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(room, &driver->face);
    host = lm_test_host_new(&lm_frontend_clients_room, room);
    lm_bus_node_config_t config = fake_config();
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
    lm_test_restart_peer(host, LM_LOCK);
}

static void tear_down(void)
{
    fake_end_all(driver, host);
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&room);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_session, .init = set_up, .fini = tear_down, .timeout = 20);

static const lm_test_sent_t *lock_call(void)
{
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(sent, "lock was not asked");
    return sent;
}

static uint64_t in_ms(uint64_t ms) { return lm_test_now(host) + ms * 1000; }

/* ---- fields ---------------------------------------------------------------------------------- */

/* field NULL: lock is asked. */
static void expect(lm_frontend_method_id_t method, const void *request, const char *field)
{
    fake_handle_t *call = fake_call(driver, host, method, request, in_ms(500));
    if (!field) {
        cr_assert(!call->finished, "%s", call->text);
        lock_call();
        return;
    }
    cr_assert(call->finished);
    cr_assert_eq(call->status, INVALID);
    cr_assert_str_eq(fake_field(driver, call), field);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_CALL), 0);
}

Test(frontend_session, requests_in_a_session_have_no_owner_of_their_own)
{
    lm_api_session_part_t part = {.session_id = b(ID), .secret = b(SECRET), .request_number = 1};
    lm_api_acquire_request_t acquire = {.name = b("x"), .session = &part};
    expect(LM_METHOD_ACQUIRE, &acquire, NULL);
    acquire.owner = b("me");
    expect(LM_METHOD_ACQUIRE, &acquire, "owner");
    acquire.owner = b("");
    acquire.ttl_ms = 1;
    expect(LM_METHOD_ACQUIRE, &acquire, "ttl_ms");
    acquire.ttl_ms = 0;
    acquire.request_id = b("id");
    expect(LM_METHOD_ACQUIRE, &acquire, "request_id");
    part.request_number = 0;
    expect(LM_METHOD_ACQUIRE, &acquire, NULL);
    part.session_id = b("0");
    expect(LM_METHOD_ACQUIRE, &acquire, "session.session_id");
    part.session_id = b("000000000000000G");
    expect(LM_METHOD_ACQUIRE, &acquire, "session.session_id");
    part.session_id = b(ID);
    part.secret = b(ID);
    expect(LM_METHOD_ACQUIRE, &acquire, "session.secret");
    part.secret = b(SECRET);
    lm_api_release_request_t release = {
        .name = b("x"), .owner = b("me"), .hold_id = b("1-1"), .session = &part};
    expect(LM_METHOD_RELEASE, &release, "owner");
    release.owner = b("");
    expect(LM_METHOD_RELEASE, &release, NULL);
    lm_api_cancel_request_t cancel = {.session = &part};
    expect(LM_METHOD_CANCEL, &cancel, "request_id");
    part.request_number = 1;
    expect(LM_METHOD_CANCEL, &cancel, NULL);
}

Test(frontend_session, fields_of_calls_about_sessions)
{
    lm_api_open_session_request_t open = {.ttl_ms = 1000};
    expect(LM_METHOD_OPEN_SESSION, &open, "client");
    open.client = b("me");
    expect(LM_METHOD_OPEN_SESSION, &open, NULL);
    const int64_t lengths[] = {-1, 1, 999, 86400001};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        open.ttl_ms = lengths[i];
        expect(LM_METHOD_OPEN_SESSION, &open, "ttl_ms");
    }
    open.ttl_ms = 86400000;
    expect(LM_METHOD_OPEN_SESSION, &open, NULL);
    open.ttl_ms = 0;
    expect(LM_METHOD_OPEN_SESSION, &open, NULL);
    lm_api_keep_alive_request_t keep = {.session_id = b(ID)};
    expect(LM_METHOD_KEEP_ALIVE, &keep, "secret");
    keep.secret = b(SECRET);
    expect(LM_METHOD_KEEP_ALIVE, &keep, NULL);
    lm_api_close_session_request_t close = {.secret = b(SECRET)};
    expect(LM_METHOD_CLOSE_SESSION, &close, "session_id");
    lm_api_get_session_request_t get = {.session_id = b("x")};
    expect(LM_METHOD_GET_SESSION, &get, "session_id");
    lm_api_list_sessions_request_t list = {.page_size = 1001};
    expect(LM_METHOD_LIST_SESSIONS, &list, "page_size");
    list.page_size = 1000;
    expect(LM_METHOD_LIST_SESSIONS, &list, NULL);
}

Test(frontend_session, an_id_is_made_for_openings_and_not_for_numbers)
{
    lm_api_open_session_request_t open = {.client = b("me")};
    fake_call(driver, host, LM_METHOD_OPEN_SESSION, &open, 0);
    const lm_peer_lock_call_t *body = lock_call()->body;
    cr_assert_eq(body->open_session->request_id.size, 32);
    lm_api_session_part_t part = {.session_id = b(ID), .secret = b(SECRET), .request_number = 1};
    lm_api_acquire_request_t acquire = {.name = b("x"), .session = &part};
    fake_call(driver, host, LM_METHOD_ACQUIRE, &acquire, 0);
    body = lock_call()->body;
    cr_assert_eq(body->acquire->request_id.size, 0);
    cr_assert_eq(body->acquire->session->request_number, 1);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void send(fake_handle_t *stream, const char *id)
{
    lm_api_keep_alive_request_t request = {.session_id = b(id), .secret = b(SECRET)};
    fake_receive(driver, host, stream, &lm_api_keep_alive_request_type, &request);
}

static void answer(const lm_test_sent_t *call, const char *id)
{
    lm_api_keep_alive_response_t kept = {.session_id = b(id),
                                         .result = LM_API_KEEP_ALIVE_RESULT_ALIVE};
    lm_peer_lock_answer_t body = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                  .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_KEEP_ALIVE,
                                  .keep_alive = &kept};
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, call->correlation, &body);
}

static void expect_sent(fake_handle_t *stream, size_t at, const char *id)
{
    lm_api_keep_alive_response_t *response =
        fake_decode(driver, &lm_api_keep_alive_response_type, stream->sent[at]);
    cr_assert(lm_bytes_equal(response->session_id, b(id)));
}

Test(frontend_session, a_stream_answers_each_request_in_any_order)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    send(stream, "0000000000000001");
    send(stream, "0000000000000002");
    const lm_test_sent_t *first = lock_call(), *second = lock_call();
    answer(second, "0000000000000002");
    cr_assert_eq(stream->n_sent, 1);
    expect_sent(stream, 0, "0000000000000002");
    fake_event(host, LM_FRONTEND_HALF_CLOSED, stream);
    cr_assert(!stream->finished, "a request is not answered yet");
    answer(first, "0000000000000001");
    expect_sent(stream, 1, "0000000000000001");
    cr_assert(stream->finished);
    cr_assert_eq(stream->status, OK);
}

Test(frontend_session, a_stream_passes_its_requests_on_to_the_leader)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    send(stream, ID);
    lm_peer_lock_answer_t back = {.kind = LM_PEER_ANSWER_KIND_FORWARD, .leader = b("n2")};
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, lock_call()->correlation, &back);
    fake_handle_t *forward = fake_outgoing(driver, LM_METHOD_FORWARD);
    cr_assert(forward);
    lm_api_keep_alive_response_t kept = {.session_id = b(ID)};
    lm_peer_lock_answer_t body = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                  .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_KEEP_ALIVE,
                                  .keep_alive = &kept};
    lm_peer_forward_response_t response = {.answer = &body};
    fake_answer(driver, host, forward, OK, &lm_peer_forward_response_type, &response);
    cr_assert_eq(stream->n_sent, 1);
    expect_sent(stream, 0, ID);
}

Test(frontend_session, a_broken_request_ends_its_stream_and_the_others_are_left)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    send(stream, ID);
    const lm_test_sent_t *call = lock_call();
    send(stream, "x");
    cr_assert(stream->finished);
    cr_assert_eq(stream->status, INVALID);
    cr_assert_str_eq(fake_field(driver, stream), "session_id");
    answer(call, ID);
    cr_assert_eq(stream->n_sent, 0);
    send(stream, ID);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_CALL), 0);
}

Test(frontend_session, an_error_for_one_request_ends_its_stream)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    send(stream, ID);
    lm_peer_lock_answer_t full = {.kind = LM_PEER_ANSWER_KIND_ERROR, .code = LM_RC_OVERLOADED};
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, lock_call()->correlation, &full);
    cr_assert(stream->finished);
    cr_assert_eq(stream->status, UNAVAILABLE);
    cr_assert_str_eq(fake_reason(driver, stream), "OVERLOADED");
}

Test(frontend_session, a_stream_that_ends_leaves_its_requests)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    send(stream, ID);
    send(stream, ID);
    const lm_test_sent_t *first = lock_call(), *second = lock_call();
    fake_over(host, stream, false);
    cr_assert(stream->dropped);
    cr_assert_eq(lm_test_count(host, LM_MSG_LISTENER_GONE), 2);
    answer(first, ID);
    answer(second, ID);
}

Test(frontend_session, a_client_that_does_not_read_is_let_go)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    send(stream, ID);
    driver->queue_full = true;
    answer(lock_call(), ID);
    cr_assert(stream->finished);
    cr_assert_str_eq(fake_reason(driver, stream), "QUOTA_EXCEEDED");
}
