/* The clients room: requests, streams, calls passed on by other nodes and answers of the lock and
 * of leaders, as any bytes; every call must be finished once, and no step may hurt.
 *
 * A program of steps; the fake driver checks that no handle is finished, sent to or dropped out of
 * turn. */
#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "fuzz_raw.h"
#include "fuzz_target.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { STEPS_MAX = 56 };

typedef struct {
    fuzz_input_t in;
    fake_driver_t *driver;
    lm_frontend_clients_t *room;
    lm_test_host_t *host;
    uint32_t lock_counter;
    bool stopped;
} story_t;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static void start(story_t *s)
{
    lm_bus_node_config_t config = fake_config();
    uint64_t seed[2] = {1, 2};
    s->driver = fake_driver_new();
    s->room = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(s->room, &s->driver->face);
    s->host = lm_test_host_new(&lm_frontend_clients_room, s->room);
    s->lock_counter = 1;
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(s->host, LM_FRONTEND_LISTENING, NULL);
    lm_bus_node_mode_t mode = {.mode = LM_BUS_NODE_MODE_MODE_SERVING};
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_NODE_MODE, &mode, 0);
}

/* ---- handles --------------------------------------------------------------------------------- */

/* Some handle that is not over; NULL if there is none. */
static fake_handle_t *some(story_t *s, bool incoming, bool stream)
{
    size_t from = fuzz_u8(&s->in);
    for (size_t i = 0; i < s->driver->n_handles; i++) {
        fake_handle_t *fake = s->driver->handles[(from + i) % s->driver->n_handles];
        if (fake->handle.incoming == incoming && !fake->dropped &&
            fake->handle.method->stream == stream)
            return fake;
    }
    return NULL;
}

static void on_call(story_t *s)
{
    static const lm_frontend_method_id_t methods[] = {
        LM_METHOD_ACQUIRE,     LM_METHOD_RELEASE,      LM_METHOD_RENEW,      LM_METHOD_CANCEL,
        LM_METHOD_GET,         LM_METHOD_LIST,         LM_METHOD_GET_STATUS, LM_METHOD_FORWARD,
        LM_METHOD_UNDELIVERED, LM_METHOD_HEALTH_CHECK,
    };
    uint8_t which = fuzz_u8(&s->in), odd = fuzz_u8(&s->in);
    lm_bytes_t payload = fuzz_block(&s->in);
    fake_handle_t *handle = fake_incoming(s->driver, methods[which % 10]);
    lm_frontend_event_t *e =
        lm_frontend_event_new(LM_FRONTEND_CALLED, &handle->handle, payload.size);
    if (payload.size) memcpy(e->payload, payload.data, payload.size);
    if (odd & 1) e->deadline_us = lm_test_now(s->host) + fuzz_number(&s->in, 3);
    e->oversized = (odd & 6) == 6;
    e->missing = (odd & 24) == 24;
    lm_test_inlet(s->host, e);
}

static void on_open(story_t *s)
{
    static const lm_frontend_method_id_t methods[] = {LM_METHOD_HEALTH_WATCH, LM_METHOD_REFLECTION,
                                                      LM_METHOD_REFLECTION_ALPHA};
    fake_handle_t *handle = fake_open(s->driver, s->host, methods[fuzz_u8(&s->in) % 3]);
    fake_receive_bytes(s->host, handle, fuzz_block(&s->in));
}

static void on_receive(story_t *s)
{
    fake_handle_t *handle = some(s, true, true);
    lm_bytes_t payload = fuzz_block(&s->in);
    if (handle) fake_receive_bytes(s->host, handle, payload);
}

static void on_half_close(story_t *s)
{
    fake_handle_t *handle = some(s, true, true);
    if (handle) fake_event(s->host, LM_FRONTEND_HALF_CLOSED, handle);
}

static void on_over(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in);
    fake_handle_t *handle = some(s, true, how & 1);
    if (handle) fake_over(s->host, handle, handle->finished && (how & 2));
}

static void on_answered(story_t *s)
{
    int status = fuzz_u8(&s->in) % 20;
    fake_handle_t *handle = some(s, false, false);
    lm_bytes_t payload = fuzz_block(&s->in);
    if (handle) fake_event_bytes(s->host, LM_FRONTEND_ANSWERED, handle, payload, status);
}

/* ---- the lock -------------------------------------------------------------------------------- */

static void answer(story_t *s, lm_message_number_t call, lm_bytes_t body)
{
    const lm_test_sent_t *sent = lm_test_take(s->host, call);
    if (sent)
        fuzz_raw(s->host, &lm_frontend_clients_room, LM_LOCK, s->lock_counter,
                 (lm_message_number_t)(call + 1), sent->correlation, body);
}

static void on_lock_answer(story_t *s) { answer(s, LM_MSG_LOCK_CALL, fuzz_block(&s->in)); }

static void on_status_answer(story_t *s) { answer(s, LM_MSG_STATUS_QUERY, fuzz_block(&s->in)); }

/* An answer that a lock could give: of the kind that fits, or to be passed on. */
static void on_likely_answer(story_t *s)
{
    static const char *const leaders[] = {"", "n1", "n2", "n3", "n9"};
    const lm_test_sent_t *sent = lm_test_take(s->host, LM_MSG_LOCK_CALL);
    uint8_t kind = fuzz_u8(&s->in), code = fuzz_u8(&s->in), who = fuzz_u8(&s->in);
    if (!sent) return;
    lm_api_response_header_t header = {.cluster_id = b("c")};
    lm_api_acquire_response_t acquired = {
        .header = &header, .result = code, .hold_id = b("1-1"), .token = 5};
    lm_peer_lock_answer_t body = {.kind = kind % 5,
                                  .code = code,
                                  .leader = b(leaders[who % 5]),
                                  .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_ACQUIRE,
                                  .acquire = &acquired};
    lm_test_reply(s->host, LM_LOCK, LM_MSG_LOCK_ANSWER, sent->correlation, &body);
}

static void on_likely_status(story_t *s)
{
    const lm_test_sent_t *sent = lm_test_take(s->host, LM_MSG_STATUS_QUERY);
    uint8_t role = fuzz_u8(&s->in);
    if (!sent) return;
    lm_api_response_header_t header = {.cluster_id = b("c")};
    lm_api_get_status_response_t status = {
        .header = &header, .role = role % 8, .leader = b(role & 8 ? "n2" : "n1")};
    lm_test_reply(s->host, LM_LOCK, LM_MSG_STATUS_ANSWER, sent->correlation, &status);
}

static void on_lock_restart(story_t *s)
{
    lm_test_restart_peer(s->host, LM_LOCK);
    s->lock_counter++;
}

/* ---- the node -------------------------------------------------------------------------------- */

static void on_advance(story_t *s) { lm_test_advance(s->host, fuzz_number(&s->in, 3)); }

static void on_mode(story_t *s)
{
    lm_bus_node_mode_t mode = {.mode = fuzz_u8(&s->in)};
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_NODE_MODE, &mode, 0);
}

static void on_driver(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in);
    s->driver->connected = how & 1;
    s->driver->queue_full = how & 2;
}

static void on_stop(story_t *s)
{
    lm_bus_stop_t stop = {.grace_ms = 1000};
    if (!s->stopped) lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_STOP, &stop, 0);
    s->stopped = true;
}

static void (*const steps[])(story_t *) = {
    on_call,          on_open,          on_receive,      on_half_close,
    on_over,          on_answered,      on_lock_answer,  on_status_answer,
    on_likely_answer, on_likely_status, on_lock_restart, on_advance,
    on_mode,          on_driver,        on_stop,         on_call,
};

/* Everything ends, as the driver promises it. */
static void end(story_t *s)
{
    fake_end_all(s->driver, s->host);
    lm_test_host_destroy(&s->host);
    lm_frontend_clients_destroy(&s->room);
    fake_driver_destroy(&s->driver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    story_t s = {.in = {lm_bytes(data, size)}};
    start(&s);
    for (int i = 0; i < STEPS_MAX && s.in.left.size; i++)
        steps[fuzz_u8(&s.in) % (sizeof steps / sizeof *steps)](&s);
    end(&s);
    return 0;
}
