/* The two servers: their settings, their ports, and how a new call becomes an event.
 *
 * For each method one request for its next call is always open; another one takes the calls of
 * methods that do not exist. Reflection, health and clients share the gRPC port with the peers, but
 * not their limits: what is too large for a client is found when its bytes are here. */
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_host.h"
#include "base_check.h"
#include "frontend_driver_internal.h"
#include "frontend_errors.h"
#include "frontend_limits.h"

/* An open request for the next call of a method; method NULL: of any that has no row. */
typedef struct {
    lm_tag_t tag;
    lm_server_t *server;
    const lm_frontend_method_t *method;
    void *registered;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    grpc_call_details details; /* without a row */
} asker_t;

static void ask(asker_t *asker)
{
    lm_driver_t *driver = asker->server->driver;
    grpc_metadata_array_init(&asker->metadata);
    grpc_call_error error;
    if (asker->method) {
        bool unary = !asker->method->stream;
        error = grpc_server_request_registered_call(
            asker->server->grpc, asker->registered, &asker->call, &asker->deadline,
            &asker->metadata, unary ? &asker->payload : NULL, driver->queue, driver->queue,
            &asker->tag);
    } else {
        grpc_call_details_init(&asker->details);
        error =
            grpc_server_request_call(asker->server->grpc, &asker->call, &asker->details,
                                     &asker->metadata, driver->queue, driver->queue, &asker->tag);
    }
    LM_CHECK(error == GRPC_CALL_OK, "request for calls refused: %s",
             grpc_call_error_to_string(error));
}

/* The caller's deadline on our clock; 0: none. */
static uint64_t deadline_us(gpr_timespec deadline)
{
    gpr_timespec mine = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(mine, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0) return 0;
    gpr_timespec left = gpr_time_sub(mine, gpr_now(GPR_CLOCK_MONOTONIC));
    int64_t left_us = left.tv_sec >= INT64_C(86400) * 365
                          ? INT64_C(86400) * 365 * 1000000
                          : (int64_t)left.tv_sec * 1000000 + left.tv_nsec / 1000;
    uint64_t now_us = lm_clock_us();
    return left_us < 0 ? now_us : now_us + (uint64_t)left_us;
}

static void refuse(lm_exchange_t *exchange, const lm_frontend_finish_t *how)
{
    exchange->refused = true;
    lm_exchange_accept(exchange);
    lm_exchange_finish(NULL, &exchange->handle, how);
}

static bool is_too_much(lm_driver_t *driver, const lm_frontend_method_t *method)
{
    return method->admitted && (atomic_load(&driver->client_calls) >= LM_CLIENT_CALLS_MAX ||
                                atomic_load(&driver->client_backlog) >= LM_CLIENT_BACKLOG_MAX);
}

static void take_call(asker_t *asker)
{
    lm_driver_t *driver = asker->server->driver;
    const lm_frontend_method_t *method = asker->method;
    lm_exchange_t *exchange = lm_exchange_new(driver, method, asker->call, true);
    if (is_too_much(driver, method)) {
        atomic_fetch_add(&driver->overloaded, 1);
        refuse(exchange, &(lm_frontend_finish_t){.status = lm_rc_grpc_status(LM_RC_OVERLOADED),
                                                 .text = lm_rc_text(LM_RC_OVERLOADED),
                                                 .details = driver->overloaded_details,
                                                 .pushback_ms = LM_PUSHBACK_MS});
        return;
    }
    if (method->admitted) atomic_fetch_add(&driver->client_calls, 1);
    lm_frontend_event_t *event;
    if (method->stream) {
        event = lm_frontend_event_new(LM_FRONTEND_OPENED, &exchange->handle, 0);
    } else {
        size_t bytes_max = method->id == LM_METHOD_FORWARD || method->region_port
                               ? LM_FORWARD_BYTES_MAX
                               : driver->how.request_bytes_max;
        event = lm_exchange_event_of(LM_FRONTEND_CALLED, exchange, asker->payload, bytes_max);
        event->deadline_us = deadline_us(asker->deadline);
        exchange->in_backlog = true;
        atomic_fetch_add(&driver->client_backlog, 1);
    }
    lm_driver_tell(driver, method->room, event);
    lm_exchange_accept(exchange);
}

static void take_unknown(asker_t *asker)
{
    lm_driver_t *driver = asker->server->driver;
    atomic_fetch_add(&driver->unknown_method, 1);
    lm_exchange_t *exchange = lm_exchange_new(driver, NULL, asker->call, true);
    refuse(exchange, &(lm_frontend_finish_t){.status = lm_rc_grpc_status(LM_RC_UNIMPLEMENTED),
                                             .text = lm_rc_text(LM_RC_UNIMPLEMENTED)});
}

static void on_asked(lm_tag_t *tag, bool ok)
{
    asker_t *asker = LM_TAG_OWNER(tag, asker_t, tag);
    if (ok && asker->method) take_call(asker);
    if (ok && !asker->method) take_unknown(asker);
    if (asker->payload) grpc_byte_buffer_destroy(asker->payload);
    asker->payload = NULL;
    grpc_metadata_array_destroy(&asker->metadata);
    if (!asker->method) grpc_call_details_destroy(&asker->details);
    if (ok)
        ask(asker);
    else
        free(asker); /* the server is shutting down */
}

static asker_t *new_asker(lm_server_t *server, const lm_frontend_method_t *method)
{
    asker_t *asker = lm_alloc(sizeof *asker);
    asker->tag = (lm_tag_t){on_asked, method && method->room == LM_PEERS};
    asker->server = server;
    asker->method = method;
    return asker;
}

/* ---- opening --------------------------------------------------------------------------------- */

static grpc_arg integer(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static grpc_server *make_server(const lm_frontend_listen_t *how)
{
    grpc_resource_quota *quota = grpc_resource_quota_create("frontend");
    grpc_resource_quota_resize(quota, LM_GRPC_BYTES_MAX);
    grpc_arg list[] = {
        integer(GRPC_ARG_ENABLE_CHANNELZ, 0),
        /* Otherwise two servers share a port in silence. */
        integer(GRPC_ARG_ALLOW_REUSEPORT, 0),
        integer(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)how->streams_max),
        integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, LM_MESSAGE_BYTES_MAX),
        integer(GRPC_ARG_MAX_METADATA_SIZE, LM_METADATA_BYTES_MAX),
        integer(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 9000),
        /* Identity only: a small compressed message could grow without bound in memory. */
        integer(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
        {.type = GRPC_ARG_POINTER,
         .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
    };
    grpc_channel_args args = {sizeof list / sizeof *list, list};
    grpc_server *server = grpc_server_create(&args, NULL);
    grpc_resource_quota_unref(quota);
    return server;
}

static bool bind_port(lm_server_t *server, const char *host, uint32_t port)
{
    char address[96];
    bool six = strchr(host, ':') != NULL;
    snprintf(address, sizeof address, "%s%s%s:%u", six ? "[" : "", host, six ? "]" : "", port);
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    int bound = grpc_server_add_http2_port(server->grpc, address, plain);
    grpc_server_credentials_release(plain);
    return bound == (int)port;
}

static void on_shut(lm_tag_t *tag, bool ok)
{
    (void)ok;
    lm_server_t *server = LM_TAG_OWNER(tag, lm_server_t, shut_tag);
    lm_driver_t *driver = server->driver;
    pthread_mutex_lock(&driver->lock);
    grpc_server *grpc = server->grpc;
    server->grpc = NULL;
    pthread_mutex_unlock(&driver->lock);
    grpc_server_destroy(grpc);
    pthread_mutex_lock(&driver->lock);
    bool last = --driver->servers_open == 0;
    pthread_cond_broadcast(&driver->changed);
    pthread_mutex_unlock(&driver->lock);
    if (last) lm_driver_tell_both(driver, LM_FRONTEND_CLOSED, "");
}

static asker_t *register_method(lm_server_t *server, const lm_frontend_method_t *method)
{
    asker_t *asker = new_asker(server, method);
    asker->registered = grpc_server_register_method(
        server->grpc, method->path, NULL,
        method->stream ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    LM_CHECK(asker->registered, "%s not registered", method->path);
    return asker;
}

/* One server with its methods; adds their askers to the list. */
static size_t prepare(lm_driver_t *driver, bool region, asker_t **askers)
{
    lm_server_t *server = &driver->servers[region];
    *server = (lm_server_t){
        .driver = driver, .grpc = make_server(&driver->how), .shut_tag = {.done = on_shut}};
    driver->servers_open++;
    grpc_server_register_completion_queue(server->grpc, driver->queue, NULL);
    size_t n = 0;
    for (int id = 0; id < LM_METHODS; id++) {
        const lm_frontend_method_t *method = lm_frontend_method((lm_frontend_method_id_t)id);
        if (method->region_port == region) askers[n++] = register_method(server, method);
    }
    askers[n++] = new_asker(server, NULL);
    return n;
}

const char *lm_server_open_all(lm_driver_t *driver, char *text, size_t size)
{
    const lm_frontend_listen_t *how = &driver->how;
    const uint32_t ports[2] = {how->grpc_port, how->region_port};
    asker_t *askers[LM_METHODS + 2];
    size_t n = prepare(driver, false, askers);
    n += prepare(driver, true, askers + n);
    const char *why = NULL;
    for (int i = 0; i < 2 && !why; i++) {
        if (bind_port(&driver->servers[i], how->address, ports[i])) continue;
        snprintf(text, size, "%s:%u cannot be listened on: is the port in use?", how->address,
                 ports[i]);
        why = text;
    }
    for (int i = 0; i < 2 && !why; i++) grpc_server_start(driver->servers[i].grpc);
    for (size_t i = 0; i < n; i++) {
        if (why)
            free(askers[i]);
        else
            ask(askers[i]);
    }
    return why;
}

void lm_server_shut_all(lm_driver_t *driver)
{
    for (int i = 0; i < 2; i++) {
        lm_server_t *server = &driver->servers[i];
        pthread_mutex_lock(&driver->lock);
        bool begin = server->grpc && !server->shutting;
        server->shutting = true;
        pthread_mutex_unlock(&driver->lock);
        if (begin) grpc_server_shutdown_and_notify(server->grpc, driver->queue, &server->shut_tag);
    }
}

/* Called by the gRPC thread, which alone destroys servers. */
void lm_server_cancel_all(lm_driver_t *driver)
{
    for (int i = 0; i < 2; i++) {
        lm_server_t *server = &driver->servers[i];
        pthread_mutex_lock(&driver->lock);
        grpc_server *grpc = server->shutting ? server->grpc : NULL;
        pthread_mutex_unlock(&driver->lock);
        if (grpc) grpc_server_cancel_all_calls(grpc);
    }
}
