/* Calls over several endpoints, repeated where that is safe. */
#include "client.h"

#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base_check.h"
#include "client_budget.h"
#include "client_channels.h"
#include "client_internal.h"
#include "client_keeps.h"

enum {
    LOOK_MS = 5,
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 1000,
    /* When a node that has too much to do is asked again, it or another one. */
    OVERLOADED_MIN_MS = 200,
    DRIFT_FIXED_US = 50000,
    DRIFT_PERCENT = 1,
};

struct lm_client {
    lm_channels_t *channels;
    pthread_mutex_t mutex;
    size_t current;              /* the endpoint that answered last */
    lm_budget_t budget;          /* of repeats, guarded by mutex */
    lm_keeps_t *keeps;           /* made with the first session, guarded by mutex */
    grpc_completion_queue *idle; /* never has an event: see let_connect */
};

static const lm_client_row_t rows[] = {
#define ROW(key, service, method, type)                                                    \
    [LM_CLIENT_##key] = {"/lockmgr.v1." service "/" method, &lm_api_##type##_request_type, \
                         &lm_api_##type##_response_type}
    ROW(ACQUIRE, "LockService", "Acquire", acquire),
    ROW(RELEASE, "LockService", "Release", release),
    ROW(RENEW, "LockService", "Renew", renew),
    ROW(CANCEL, "LockService", "Cancel", cancel),
    ROW(GET, "LockService", "Get", get),
    ROW(LIST, "LockService", "List", list),
    ROW(STATUS, "AdminService", "GetStatus", get_status),
    ROW(OPEN_SESSION, "LockService", "OpenSession", open_session),
    ROW(KEEP_ALIVE, "LockService", "KeepAlive", keep_alive),
    ROW(CLOSE_SESSION, "LockService", "CloseSession", close_session),
    ROW(GET_SESSION, "LockService", "GetSession", get_session),
    ROW(LIST_SESSIONS, "LockService", "ListSessions", list_sessions),
#undef ROW
};

const lm_client_row_t *lm_client_row(lm_client_method_t method) { return &rows[method]; }

const lm_wire_type_t *lm_client_response_type(lm_client_method_t method)
{
    return rows[method].response;
}

/* ---- clock and chance ------------------------------------------------------------------------ */

uint64_t lm_client_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t lm_client_deadline_us(uint64_t sent_us, int64_t lease_remaining_ms)
{
    if (lease_remaining_ms <= 0) return sent_us;
    uint64_t lease_us = (uint64_t)lease_remaining_ms * 1000;
    uint64_t drift_us = lease_us / 100 * DRIFT_PERCENT + DRIFT_FIXED_US;
    return lease_us > drift_us ? sent_us + lease_us - drift_us : sent_us;
}

static void random_bytes(void *out, size_t size)
{
    LM_CHECK(getrandom(out, size, 0) == (ssize_t)size, "getrandom gave less than %zu bytes", size);
}

void lm_client_make_id(char id[33])
{
    uint8_t bytes[16];
    random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- endpoints ------------------------------------------------------------------------------- */

static void drop(gpr_log_func_args *args) { (void)args; }

void lm_client_silence(void)
{
    if (!getenv("GRPC_VERBOSITY")) gpr_set_log_function(drop);
}

lm_client_t *lm_client_open(const char *endpoints)
{
    return lm_client_open_tls(endpoints, NULL, NULL);
}

lm_client_t *lm_client_open_tls(const char *endpoints, const lm_client_tls_t *tls,
                                char problem[256])
{
    grpc_init();
    lm_channels_t *channels = lm_channels_new(endpoints, tls, problem);
    if (!channels) {
        grpc_shutdown();
        return NULL;
    }
    lm_client_t *client = lm_alloc(sizeof *client);
    client->channels = channels;
    pthread_mutex_init(&client->mutex, NULL);
    lm_budget_begin(&client->budget, lm_client_clock_us());
    client->idle = grpc_completion_queue_create_for_next(NULL);
    return client;
}

void lm_client_close(lm_client_t **client)
{
    lm_client_t *c = *client;
    if (!c) return;
    if (c->keeps) lm_keeps_destroy(&c->keeps);
    lm_channels_destroy(&c->channels);
    grpc_completion_queue_shutdown(c->idle);
    grpc_completion_queue_next(c->idle, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(c->idle);
    grpc_shutdown();
    pthread_mutex_destroy(&c->mutex);
    free(c);
    *client = NULL;
}

size_t lm_client_endpoints(const lm_client_t *client)
{
    return lm_channels_count(client->channels);
}

const char *lm_client_endpoint(const lm_client_t *client, size_t n)
{
    return lm_channels_endpoint(client->channels, n);
}

lm_channels_t *lm_client_channels(const lm_client_t *client) { return client->channels; }

size_t lm_client_current(lm_client_t *client)
{
    pthread_mutex_lock(&client->mutex);
    size_t n = client->current;
    pthread_mutex_unlock(&client->mutex);
    return n;
}

void lm_client_leave(lm_client_t *client, size_t n)
{
    pthread_mutex_lock(&client->mutex);
    if (client->current == n) client->current = (n + 1) % lm_client_endpoints(client);
    pthread_mutex_unlock(&client->mutex);
}

/** Waits and lets connections come into being meanwhile: gRPC reads sockets only in threads that
 *  wait for it, and otherwise looks at them every five seconds. */
static void let_connect(lm_client_t *client, uint64_t ms)
{
    gpr_timespec end =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)ms, GPR_TIMESPAN));
    grpc_completion_queue_next(client->idle, end, NULL);
}

static bool is_connected(lm_client_t *client)
{
    grpc_channel *channel = lm_channels_borrow(client->channels, lm_client_current(client));
    bool connected = grpc_channel_check_connectivity_state(channel, 1) == GRPC_CHANNEL_READY;
    lm_channels_give_back(client->channels);
    return connected;
}

/** The same, but no longer than until there is a connection where there was none: what failed for
 *  want of one has been received by nobody, and another node may have taken its place. */
static void await_connection(lm_client_t *client, uint64_t ms)
{
    uint64_t end_us = lm_client_clock_us() + ms * 1000, now_us;
    bool was_connected = is_connected(client);
    while ((now_us = lm_client_clock_us()) < end_us) {
        uint64_t left_ms = (end_us - now_us + 999) / 1000;
        let_connect(client, was_connected || left_ms < LOOK_MS ? left_ms : LOOK_MS);
        if (!was_connected && is_connected(client)) return;
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

/** A method whose requests have ids: the size of its struct and where the id is in it. */
typedef struct {
    size_t size, at;
} id_row_t;

static const id_row_t id_rows[] = {
#define ROW(key, type)                                      \
    [LM_CLIENT_##key] = {sizeof(lm_api_##type##_request_t), \
                         offsetof(lm_api_##type##_request_t, request_id)}
    ROW(ACQUIRE, acquire),
    ROW(RELEASE, release),
    ROW(OPEN_SESSION, open_session),
#undef ROW
};

static const lm_api_session_part_t *session_of(lm_client_method_t method, const void *request)
{
    if (method == LM_CLIENT_ACQUIRE) return ((const lm_api_acquire_request_t *)request)->session;
    if (method == LM_CLIENT_RELEASE) return ((const lm_api_release_request_t *)request)->session;
    return NULL;
}

/** Gives a request that has neither an id nor a number one, in a copy (K1). */
static const void *with_id(lm_client_method_t method, const void *request, lm_arena_t *arena)
{
    char id[33];
    if (method >= sizeof id_rows / sizeof *id_rows || !id_rows[method].size) return request;
    const lm_api_session_part_t *session = session_of(method, request);
    if (session && session->request_number) return request;
    uint8_t *copy = lm_arena_alloc(arena, id_rows[method].size);
    memcpy(copy, request, id_rows[method].size);
    lm_bytes_t *slot = (lm_bytes_t *)(void *)(copy + id_rows[method].at);
    if (slot->size > 0) return request;
    lm_client_make_id(id);
    *slot = lm_arena_copy(arena, lm_bytes(id, 32));
    return copy;
}

lm_bytes_t lm_client_encode(lm_client_method_t method, const void *request, lm_arena_t *arena)
{
    return lm_wire_encode(rows[method].request, with_id(method, request, arena), arena);
}

bool lm_client_repeats(const lm_client_result_t *result)
{
    /* A node that stops cancels what comes while it closes its ports. */
    bool cancelled = !result->own && result->grpc_status == GRPC_STATUS_CANCELLED;
    return result->grpc_status == GRPC_STATUS_UNAVAILABLE || cancelled ||
           (result->own && result->code == LM_RC_OUTCOME_UNKNOWN && result->attempts < 3);
}

static uint64_t backoff_ms(unsigned attempt)
{
    uint32_t chance;
    uint64_t bound = BACKOFF_MIN_MS;
    for (unsigned i = 1; i < attempt && bound < BACKOFF_MAX_MS; i++) bound *= 2;
    random_bytes(&chance, sizeof chance);
    return 1 + chance % (bound < BACKOFF_MAX_MS ? bound : BACKOFF_MAX_MS);
}

void lm_client_count_call(lm_client_t *client)
{
    pthread_mutex_lock(&client->mutex);
    lm_budget_call(&client->budget, lm_client_clock_us());
    pthread_mutex_unlock(&client->mutex);
}

lm_keeps_t *lm_client_keeps(lm_client_t *client)
{
    pthread_mutex_lock(&client->mutex);
    if (!client->keeps) client->keeps = lm_keeps_new(client);
    pthread_mutex_unlock(&client->mutex);
    return client->keeps;
}

bool lm_client_may_repeat(lm_client_t *client, const lm_client_result_t *result)
{
    /* A repeat of what nobody has received costs nobody anything. */
    if (!result->own) return true;
    pthread_mutex_lock(&client->mutex);
    bool may = lm_budget_take(&client->budget, lm_client_clock_us());
    pthread_mutex_unlock(&client->mutex);
    return may;
}

uint64_t lm_client_pause_ms(const lm_client_t *client, const lm_client_result_t *result)
{
    if (result->own && result->code == LM_RC_OVERLOADED)
        return OVERLOADED_MIN_MS + backoff_ms(result->attempts);
    return result->attempts < lm_client_endpoints(client) ? 1 : backoff_ms(result->attempts);
}

/** Waits until the next attempt may be made. False: that is not before end_us. */
static bool wait_for_turn(lm_client_t *client, const lm_client_result_t *result, uint64_t end_us)
{
    for (uint64_t pause_ms = lm_client_pause_ms(client, result);; pause_ms = OVERLOADED_MIN_MS) {
        if (lm_client_clock_us() + pause_ms * 1000 >= end_us) return false;
        await_connection(client, pause_ms);
        if (lm_client_may_repeat(client, result)) return true;
    }
}

lm_client_result_t lm_client_call(lm_client_t *client, lm_client_method_t method,
                                  const void *request, uint64_t timeout_ms, lm_arena_t *arena,
                                  const void **response)
{
    lm_client_result_t result = {0};
    lm_bytes_t bytes = lm_client_encode(method, request, arena);
    uint64_t end_us = lm_client_clock_us() + timeout_ms * 1000;
    bool unknown = false;
    lm_client_count_call(client);
    for (unsigned attempt = 1;; attempt++) {
        uint64_t now_us = lm_client_clock_us();
        uint64_t left_ms = now_us < end_us ? (end_us - now_us + 999) / 1000 : 1;
        size_t n = lm_client_current(client);
        result = (lm_client_result_t){.attempts = attempt};
        snprintf(result.endpoint, sizeof result.endpoint, "%s", lm_client_endpoint(client, n));
        lm_attempt_make(client->channels, n, &rows[method], bytes, left_ms, arena, response,
                        &result);
        if (result.grpc_status == GRPC_STATUS_OK) return result;
        unknown = unknown || !result.not_applied;
        result.not_applied = !unknown;
        bool silent = !result.own && result.grpc_status == GRPC_STATUS_DEADLINE_EXCEEDED;
        bool again = lm_client_repeats(&result);
        if (again || silent) lm_client_leave(client, n);
        if (!again) return result;
        if (!wait_for_turn(client, &result, end_us)) return result;
    }
}

lm_client_result_t lm_client_ask(lm_client_t *client, size_t endpoint, lm_client_method_t method,
                                 const void *request, uint64_t timeout_ms, lm_arena_t *arena,
                                 const void **response)
{
    lm_client_result_t result = {.attempts = 1};
    lm_bytes_t bytes = lm_client_encode(method, request, arena);
    snprintf(result.endpoint, sizeof result.endpoint, "%s", lm_client_endpoint(client, endpoint));
    lm_attempt_make(client->channels, endpoint, &rows[method], bytes, timeout_ms, arena, response,
                    &result);
    return result;
}
