/* The clients room when the lock actor of its node is replaced: what may have been applied, and who
 * is gone, is not forgotten. */
#include <criterion/criterion.h>

#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

static fake_driver_t *driver;
static lm_frontend_clients_t *room;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static void set_up(void)
{
    uint64_t seed[2] = {1, 2};
    driver = fake_driver_new();
    room = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(room, &driver->face);
    host = lm_test_host_new(&lm_frontend_clients_room, room);
    lm_bus_node_config_t config = fake_config();
    config.n_peers = 2;
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
    lm_test_restart_peer(host, LM_LOCK);
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&room);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_review, .init = set_up, .fini = tear_down);

static lm_api_acquire_request_t request = {.wait_ms = -1};

static lm_api_acquire_request_t *acquire(void)
{
    request.name = b("x");
    request.owner = b("me");
    request.request_id = b("id");
    return &request;
}

static const lm_test_sent_t *lock_call(void)
{
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(sent, "lock was not asked");
    return sent;
}

/* That of a lock actor that has just started and knows of nothing. */
static void send_back(const lm_test_sent_t *call)
{
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_FORWARD};
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, call->correlation, &answer);
}

/* Lock proposes the call and dies; raft commits it. Its successor gets the call again, and sends it
 * back as one that it has never proposed. */
Test(frontend_review, s14_a_call_that_a_dead_lock_may_have_proposed_is_unknown)
{
    fake_handle_t *handle =
        fake_call(driver, host, LM_METHOD_ACQUIRE, acquire(), lm_test_now(host) + 1000000);
    lock_call();
    lm_test_restart_peer(host, LM_LOCK);
    send_back(lock_call());
    for (int i = 0; i < 200 && !handle->finished; i++) {
        lm_test_advance(host, 10000);
        const lm_test_sent_t *again = lm_test_take(host, LM_MSG_LOCK_CALL);
        if (again) send_back(again);
    }
    cr_assert(handle->finished);
    cr_assert_str_eq(fake_reason(driver, handle), "OUTCOME_UNKNOWN");
}

Test(frontend_review, s14_a_call_of_another_node_goes_back_as_maybe_applied)
{
    lm_peer_call_context_t context = {.forwarded = true, .remaining_ms = 1000};
    lm_peer_lock_call_t call = {.context = &context,
                                .request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                .acquire = acquire()};
    lm_peer_forward_request_t forward = {.from = b("n2"), .call = &call};
    fake_handle_t *handle =
        fake_call(driver, host, LM_METHOD_FORWARD, &forward, lm_test_now(host) + 2000000);
    lock_call();
    lm_test_restart_peer(host, LM_LOCK);
    send_back(lock_call());
    cr_assert(handle->finished);
    lm_peer_forward_response_t *response =
        fake_decode(driver, &lm_peer_forward_response_type, handle->message);
    cr_assert_eq(response->answer->kind, LM_PEER_ANSWER_KIND_FORWARD);
    cr_assert_eq(response->answer->code, LM_RC_OUTCOME_UNKNOWN);
}

/* Nobody would tell the new lock that the caller has gone. */
Test(frontend_review, s12_a_call_whose_caller_has_gone_is_not_made_again)
{
    fake_handle_t *handle = fake_call(driver, host, LM_METHOD_ACQUIRE, acquire(), 0);
    lock_call();
    fake_over(host, handle, false);
    cr_assert(lm_test_take(host, LM_MSG_LISTENER_GONE));
    lm_test_restart_peer(host, LM_LOCK);
    cr_assert_eq(lm_test_count(host, LM_MSG_LOCK_CALL), 0);
}

/* A wait is not begun anew with every attempt. */
Test(frontend_review, s13_what_is_left_of_a_wait_goes_with_the_next_attempt)
{
    lm_api_acquire_request_t waiting = *acquire();
    waiting.wait_ms = 5000;
    fake_call(driver, host, LM_METHOD_ACQUIRE, &waiting, lm_test_now(host) + 20000000);
    const lm_test_sent_t *first = lock_call();
    cr_assert_eq(((const lm_peer_lock_call_t *)first->body)->acquire->wait_ms, 5000);
    lm_test_advance(host, 2000000);
    send_back(first);
    lm_test_advance(host, 20000);
    const lm_test_sent_t *second = lock_call();
    int64_t left_ms = ((const lm_peer_lock_call_t *)second->body)->acquire->wait_ms;
    cr_assert(left_ms <= 3000 && left_ms >= 2900, "%ld ms", (long)left_ms);
    lm_test_advance(host, 4000000);
    send_back(second);
    lm_test_advance(host, 100000);
    cr_assert_eq(((const lm_peer_lock_call_t *)lock_call()->body)->acquire->wait_ms, 1);
}
