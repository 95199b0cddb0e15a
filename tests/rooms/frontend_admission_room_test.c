/* The clients room under more load than its lock can take: what it refuses, and what it never does.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "frontend_limits.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { OK = 0, UNAVAILABLE = 14, CROWD = LM_CROWD_MIN + 100, CROWD_MS = 1500 };

static fake_driver_t *driver;
static lm_frontend_clients_t *room;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static void set_up(void)
{
    uint64_t seed[2] = {1, 2};
    lm_bus_node_config_t config = fake_config();
    driver = fake_driver_new();
    room = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(room, &driver->face);
    host = lm_test_host_new(&lm_frontend_clients_room, room);
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&room);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_admission_room, .init = set_up, .fini = tear_down, .timeout = 60);

static uint64_t in_10_s(void) { return lm_test_now(host) + 10000000; }

static void renew(void)
{
    lm_api_renew_request_t request = {.name = b("a"), .owner = b("me"), .hold_id = b("7-1")};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_RENEW, &request, in_10_s());
    cr_assert_not(call->finished, "a renewal was refused");
}

static void lock_answers_one(void)
{
    const lm_test_sent_t *asked = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(asked);
    lm_api_renew_response_t response = {.lease_remaining_ms = 1000};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_RENEW,
                                    .renew = &response};
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, asked->correlation, &answer);
}

/* Renewals come as fast as lock answers them, and each waits behind CROWD others. */
static void crowd(void)
{
    for (int i = 0; i < CROWD; i++) renew();
    for (int ms = 0; ms < CROWD_MS; ms++) {
        lm_test_advance(host, 1000);
        lock_answers_one();
        renew();
    }
}

static lm_api_acquire_request_t acquire_request(void)
{
    return (lm_api_acquire_request_t){.name = b("a"), .owner = b("me"), .request_id = b("id")};
}

Test(frontend_admission_room, acquires_are_refused_with_a_time_to_come_again)
{
    crowd();
    lm_api_acquire_request_t request = acquire_request();
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_ACQUIRE, &request, in_10_s());
    cr_assert(call->finished);
    cr_assert_eq(call->status, UNAVAILABLE);
    cr_assert_str_eq(fake_reason(driver, call), "OVERLOADED");
    cr_assert(fake_has_retry_info(driver, call));
    cr_assert_gt(call->pushback_ms, 0);
}

Test(frontend_admission_room, acquires_of_other_nodes_are_refused_by_an_answer)
{
    crowd();
    lm_api_acquire_request_t request = acquire_request();
    lm_peer_call_context_t context = {.forwarded = true, .remaining_ms = 400};
    lm_peer_lock_call_t body = {.context = &context,
                                .request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                .acquire = &request};
    lm_peer_forward_request_t forward = {.from = b("n3"), .call = &body};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_FORWARD, &forward, in_10_s());
    cr_assert(call->finished);
    cr_assert_eq(call->status, OK);
    lm_peer_forward_response_t *response =
        fake_decode(driver, &lm_peer_forward_response_type, call->message);
    cr_assert_eq(response->answer->kind, LM_PEER_ANSWER_KIND_ERROR);
    cr_assert_eq(response->answer->code, LM_RC_OVERLOADED);
}

Test(frontend_admission_room, releases_and_cancels_are_not)
{
    crowd();
    lm_api_release_request_t release = {.name = b("a"), .owner = b("me"), .hold_id = b("7-1")};
    cr_assert_not(fake_call(driver, host, LM_METHOD_RELEASE, &release, in_10_s())->finished);
    lm_api_cancel_request_t cancel = {.owner = b("me"), .request_id = b("id")};
    cr_assert_not(fake_call(driver, host, LM_METHOD_CANCEL, &cancel, in_10_s())->finished);
}

Test(frontend_admission_room, acquires_are_let_in_again_within_5_s)
{
    crowd();
    cr_assert_eq(driver->shed, 1024, "the driver refuses most of them by itself");
    while (lm_test_count(host, LM_MSG_LOCK_CALL) > 0) lock_answers_one();
    lm_test_advance(host, 5000000);
    cr_assert_eq(driver->shed, 0);
    lm_api_acquire_request_t request = acquire_request();
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_ACQUIRE, &request, in_10_s());
    cr_assert_not(call->finished);
}

Test(frontend_admission_room, calls_that_end_without_an_answer_are_not_under_way_any_more)
{
    fake_handle_t *calls[8];
    lm_api_get_request_t request = {.name = b("a")};
    for (int i = 0; i < 8; i++)
        calls[i] = fake_call(driver, host, LM_METHOD_GET, &request, lm_test_now(host) + 100000);
    for (int i = 0; i < 4; i++) fake_over(host, calls[i], false);
    lm_test_advance(host, 200000);
    for (int i = 4; i < 8; i++) cr_assert(calls[i]->finished);
}
