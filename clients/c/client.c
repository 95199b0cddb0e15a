/* Calls over several endpoints, repeated where that is safe. */
#include "client.h"

#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base_check.h"
#include "client_internal.h"

enum {
    ENDPOINTS_MAX = 32,
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 1000,
    DRIFT_FIXED_US = 50000,
    DRIFT_PERCENT = 1,
};

struct lm_client {
    size_t n_endpoints;
    char *endpoints[ENDPOINTS_MAX];
    grpc_channel *channels[ENDPOINTS_MAX];
    pthread_mutex_t mutex;
    size_t current;              /* the endpoint that answered last */
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

#define INTEGER_ARG(name, number)                                                             \
    {                                                                                         \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(name), .value.integer = (number) \
    }

static grpc_channel *open_channel(const char *endpoint)
{
    grpc_arg args[] = {
        INTEGER_ARG("grpc.initial_reconnect_backoff_ms", 100),
        INTEGER_ARG("grpc.min_reconnect_backoff_ms", 100),
        INTEGER_ARG("grpc.max_reconnect_backoff_ms", 500),
        /* Repeats are made here, where it is known which calls may be repeated (K1). */
        INTEGER_ARG("grpc.enable_retries", 0),
        INTEGER_ARG("grpc.use_local_subchannel_pool", 1),
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(endpoint, plain, &all);
    grpc_channel_credentials_release(plain);
    return channel;
}

lm_client_t *lm_client_open(const char *endpoints)
{
    lm_client_t *client = lm_alloc(sizeof *client);
    pthread_mutex_init(&client->mutex, NULL);
    grpc_init();
    client->idle = grpc_completion_queue_create_for_next(NULL);
    char *list = strdup(endpoints), *rest = list, *one;
    bool fits = true;
    while ((one = strsep(&rest, ",")) != NULL) {
        if (*one == '\0') continue;
        fits = client->n_endpoints < ENDPOINTS_MAX;
        if (!fits) break;
        client->endpoints[client->n_endpoints] = strdup(one);
        client->channels[client->n_endpoints++] = open_channel(one);
    }
    free(list);
    if (!fits || client->n_endpoints == 0) lm_client_close(&client);
    return client;
}

void lm_client_close(lm_client_t **client)
{
    lm_client_t *c = *client;
    if (!c) return;
    for (size_t i = 0; i < c->n_endpoints; i++) {
        grpc_channel_destroy(c->channels[i]);
        free(c->endpoints[i]);
    }
    grpc_completion_queue_shutdown(c->idle);
    grpc_completion_queue_next(c->idle, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(c->idle);
    grpc_shutdown();
    pthread_mutex_destroy(&c->mutex);
    free(c);
    *client = NULL;
}

size_t lm_client_endpoints(const lm_client_t *client) { return client->n_endpoints; }

const char *lm_client_endpoint(const lm_client_t *client, size_t n)
{
    LM_CHECK(n < client->n_endpoints, "endpoint %zu of %zu", n, client->n_endpoints);
    return client->endpoints[n];
}

static size_t current_endpoint(lm_client_t *client)
{
    pthread_mutex_lock(&client->mutex);
    size_t n = client->current;
    pthread_mutex_unlock(&client->mutex);
    return n;
}

/** Others go on with the next endpoint, unless somebody has moved on already. */
static void leave_endpoint(lm_client_t *client, size_t n)
{
    pthread_mutex_lock(&client->mutex);
    if (client->current == n) client->current = (n + 1) % client->n_endpoints;
    pthread_mutex_unlock(&client->mutex);
}

/** Waits and lets connections come into being meanwhile: gRPC reads sockets only in threads that
 * wait for it, and otherwise looks at them every five seconds. */
static void let_connect(lm_client_t *client, uint64_t ms)
{
    gpr_timespec end =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)ms, GPR_TIMESPAN));
    grpc_completion_queue_next(client->idle, end, NULL);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/** Gives an Acquire or Release without a request id one, in a copy (K1). */
static const void *with_id(lm_client_method_t method, const void *request, lm_arena_t *arena)
{
    char id[33];
    lm_bytes_t *slot;
    void *copy =
        lm_arena_alloc(arena, method == LM_CLIENT_ACQUIRE ? sizeof(lm_api_acquire_request_t)
                                                          : sizeof(lm_api_release_request_t));
    if (method == LM_CLIENT_ACQUIRE) {
        *(lm_api_acquire_request_t *)copy = *(const lm_api_acquire_request_t *)request;
        slot = &((lm_api_acquire_request_t *)copy)->request_id;
    } else {
        *(lm_api_release_request_t *)copy = *(const lm_api_release_request_t *)request;
        slot = &((lm_api_release_request_t *)copy)->request_id;
    }
    if (slot->size > 0) return request;
    lm_client_make_id(id);
    *slot = lm_arena_copy(arena, lm_bytes(id, 32));
    return copy;
}

static lm_bytes_t encode(lm_client_method_t method, const void *request, lm_arena_t *arena)
{
    if (method == LM_CLIENT_ACQUIRE || method == LM_CLIENT_RELEASE)
        request = with_id(method, request, arena);
    return lm_wire_encode(rows[method].request, request, arena);
}

/** UNAVAILABLE, whoever says it, and an outcome that lockmgr does not know: another attempt with
 *  the same id gets the one true answer. */
static bool worth_repeating(const lm_client_result_t *result)
{
    return result->grpc_status == GRPC_STATUS_UNAVAILABLE ||
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

lm_client_result_t lm_client_call(lm_client_t *client, lm_client_method_t method,
                                  const void *request, uint64_t timeout_ms, lm_arena_t *arena,
                                  const void **response)
{
    lm_client_result_t result = {0};
    lm_bytes_t bytes = encode(method, request, arena);
    uint64_t end_us = lm_client_clock_us() + timeout_ms * 1000;
    bool unknown = false;
    for (unsigned attempt = 1;; attempt++) {
        uint64_t now_us = lm_client_clock_us();
        uint64_t left_ms = now_us < end_us ? (end_us - now_us + 999) / 1000 : 1;
        size_t n = current_endpoint(client);
        result = (lm_client_result_t){.attempts = attempt};
        snprintf(result.endpoint, sizeof result.endpoint, "%s", client->endpoints[n]);
        lm_attempt_make(client->channels[n], &rows[method], bytes, left_ms, arena, response,
                        &result);
        if (result.grpc_status == GRPC_STATUS_OK) return result;
        unknown = unknown || !result.not_applied;
        result.not_applied = !unknown;
        if (!worth_repeating(&result)) return result;
        leave_endpoint(client, n);
        uint64_t pause_ms = attempt < client->n_endpoints ? 1 : backoff_ms(attempt);
        if (lm_client_clock_us() + pause_ms * 1000 >= end_us) return result;
        let_connect(client, pause_ms);
    }
}

lm_client_result_t lm_client_ask(lm_client_t *client, size_t endpoint, lm_client_method_t method,
                                 const void *request, uint64_t timeout_ms, lm_arena_t *arena,
                                 const void **response)
{
    lm_client_result_t result = {.attempts = 1};
    lm_bytes_t bytes = encode(method, request, arena);
    snprintf(result.endpoint, sizeof result.endpoint, "%s", lm_client_endpoint(client, endpoint));
    lm_attempt_make(client->channels[endpoint], &rows[method], bytes, timeout_ms, arena, response,
                    &result);
    return result;
}
