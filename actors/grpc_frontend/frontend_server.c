/* The servers: their settings, their ports, and how a new call becomes an event.
 *
 * For each method one request for its next call is always open; another one takes the calls of
 * methods that do not exist there. Reflection, health and clients may share the gRPC port with the
 * peers, but not their limits: what is too large for a client is found when its bytes are here. */
#include <grpc/grpc_security.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_host.h"
#include "base_check.h"
#include "base_door.h"
#include "frontend_admission.h"
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

/* The gRPC thread may have the asker back, and free it, before the call of gRPC is over: nothing of
 * it is read behind the door. */
static void ask(asker_t *asker)
{
    grpc_server *server = asker->server->grpc;
    grpc_completion_queue *queue = asker->server->driver->queue;
    const lm_frontend_method_t *method = asker->method;
    void *registered = asker->registered;
    grpc_byte_buffer **payload = method && !method->stream ? &asker->payload : NULL;
    grpc_call_error error;
    grpc_metadata_array_init(&asker->metadata);
    if (!method) grpc_call_details_init(&asker->details);
    LM_DOOR_LEAVE(&asker->tag);
    if (method)
        error = grpc_server_request_registered_call(server, registered, &asker->call,
                                                    &asker->deadline, &asker->metadata, payload,
                                                    queue, queue, &asker->tag);
    else
        error = grpc_server_request_call(server, &asker->call, &asker->details, &asker->metadata,
                                         queue, queue, &asker->tag);
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
    uint32_t calls_max = method->vital ? LM_VITAL_CALLS_MAX : LM_CLIENT_CALLS_MAX;
    uint32_t backlog_max = method->vital ? LM_VITAL_BACKLOG_MAX : LM_CLIENT_BACKLOG_MAX;
    return method->admitted && (atomic_load(&driver->client_calls) >= calls_max ||
                                atomic_load(&driver->client_backlog) >= backlog_max);
}

static bool is_shed(lm_driver_t *driver, const lm_frontend_method_t *method)
{
    if (!method->sheds) return false;
    driver->shed_owed += atomic_load(&driver->shed_share);
    if (driver->shed_owed < LM_ADMISSION_ALL) return false;
    driver->shed_owed -= LM_ADMISSION_ALL;
    atomic_fetch_add(&driver->shed, 1);
    return true;
}

/* About what it was on the wire. */
static size_t bytes_of(const asker_t *asker)
{
    size_t bytes = LM_CALL_BYTES_EXTRA;
    if (asker->payload) bytes += grpc_byte_buffer_length(asker->payload);
    for (size_t i = 0; i < asker->metadata.count; i++)
        bytes += GRPC_SLICE_LENGTH(asker->metadata.metadata[i].key) +
                 GRPC_SLICE_LENGTH(asker->metadata.metadata[i].value);
    return bytes;
}

static void take_call(asker_t *asker)
{
    lm_driver_t *driver = asker->server->driver;
    const lm_frontend_method_t *method = asker->method;
    lm_exchange_t *exchange = lm_exchange_new(driver, method, asker->call, true);
    lm_exchange_weigh(exchange, asker->server->port, bytes_of(asker));
    if (method->room == LM_CLIENTS)
        exchange->handle.bearer = lm_frontend_bearer_of(&asker->metadata);
    bool shed = is_shed(driver, method);
    if (shed || is_too_much(driver, method)) {
        if (!shed) atomic_fetch_add(&driver->overloaded, 1);
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
        size_t bytes_max = method->id == LM_METHOD_FORWARD || method->port == LM_PORT_REGION
                               ? LM_FORWARD_BYTES_MAX
                               : driver->how.request_bytes_max;
        event = lm_exchange_event_of(LM_FRONTEND_CALLED, exchange, asker->payload, bytes_max);
        event->arrived_us = exchange->arrived_us;
        event->sifted = method->sheds;
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
    grpc_slice *path = &asker->details.method;
    bool elsewhere =
        lm_frontend_method_of(lm_bytes(GRPC_SLICE_START_PTR(*path), GRPC_SLICE_LENGTH(*path)));
    lm_rc_t why = elsewhere ? LM_RC_WRONG_PORT : LM_RC_UNIMPLEMENTED;
    lm_exchange_t *exchange = lm_exchange_new(driver, NULL, asker->call, true);
    lm_exchange_weigh(exchange, asker->server->port, bytes_of(asker));
    refuse(exchange, &(lm_frontend_finish_t){
                         .status = lm_rc_grpc_status(why),
                         .text = lm_rc_text(why),
                         .details = elsewhere ? driver->wrong_port_details : lm_bytes(NULL, 0)});
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

/* Nodes have long streams among clients on the gRPC port, and gRPC knows no difference. So it only
 * tells a connection of that age to go, and new calls come on another one; the sentry ends those of
 * clients that are still there when their grace is over. No link ever breaks by age. */
static int age_ms(const lm_frontend_listen_t *how, lm_frontend_port_t port)
{
    bool ages = port == LM_PORT_GRPC && how->connection_age_ms != 0;
    return ages ? (int)how->connection_age_ms : INT_MAX;
}

/* What clients keep to is measured with some patience. */
static int ping_interval_ms(const lm_frontend_listen_t *how)
{
    return (int)(how->keepalive_min_interval_ms - how->keepalive_min_interval_ms / 10);
}

static grpc_server *make_server(const lm_frontend_listen_t *how, lm_frontend_port_t port)
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
        /* Else one read takes up to 4 MiB of a flood, and all of it is carried out before anybody
         * else is heard. */
        integer(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, LM_READ_BYTES_MAX),
        integer(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000),
        integer(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 300000),
        integer(GRPC_ARG_MAX_CONNECTION_AGE_MS, age_ms(how, port)),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, (int)how->keepalive_time_ms),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, (int)how->keepalive_timeout_ms),
        integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, ping_interval_ms(how)),
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

static bool bind_port(lm_server_t *server, const char *host, uint32_t port,
                      lm_frontend_port_t which)
{
    lm_frontend_tls_t *tls = atomic_load(&server->driver->tls);
    char address[96];
    bool six = strchr(host, ':') != NULL;
    snprintf(address, sizeof address, "%s%s%s:%u", six ? "[" : "", host, six ? "]" : "", port);
    grpc_server_credentials *credentials =
        tls ? lm_frontend_tls_server(tls, which) : grpc_insecure_server_credentials_create();
    int bound = grpc_server_add_http2_port(server->grpc, address, credentials);
    grpc_server_credentials_release(credentials);
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

static void *register_method(const lm_server_t *server, const lm_frontend_method_t *method)
{
    void *registered = grpc_server_register_method(
        server->grpc, method->path, NULL,
        method->stream ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    LM_CHECK(registered, "%s not registered", method->path);
    return registered;
}

static size_t askers_of(const lm_frontend_method_t *method)
{
    return !method || (method->room == LM_CLIENTS && !method->stream) ? LM_ASKERS : 1;
}

/* Of that method, or of all that have no row. */
static size_t add_askers(lm_server_t *server, const lm_frontend_method_t *method, asker_t **askers)
{
    void *registered = method ? register_method(server, method) : NULL;
    size_t n = askers_of(method);
    for (size_t i = 0; i < n; i++) {
        askers[i] = new_asker(server, method);
        askers[i]->registered = registered;
    }
    return n;
}

static bool is_served(const lm_driver_t *driver, const lm_frontend_method_t *method,
                      lm_frontend_port_t port)
{
    bool reflects = method->id == LM_METHOD_REFLECTION || method->id == LM_METHOD_REFLECTION_ALPHA;
    return lm_frontend_method_is_on(method, port, driver->how.raft_port != 0) &&
           (driver->how.reflection || !reflects);
}

/* One server with its methods; adds their askers to the list. */
static size_t prepare(lm_driver_t *driver, lm_frontend_port_t port, uint32_t number,
                      asker_t **askers)
{
    lm_server_t *server = &driver->servers[port];
    *server = (lm_server_t){.driver = driver,
                            .grpc = make_server(&driver->how, port),
                            .port = (uint16_t)number,
                            .shut_tag = {.done = on_shut}};
    driver->servers_open++;
    grpc_server_register_completion_queue(server->grpc, driver->queue, NULL);
    size_t n = 0;
    for (int id = 0; id < LM_METHODS; id++) {
        const lm_frontend_method_t *method = lm_frontend_method((lm_frontend_method_id_t)id);
        if (is_served(driver, method, port)) n += add_askers(server, method, askers + n);
    }
    return n + add_askers(server, NULL, askers + n);
}

const char *lm_server_open_all(lm_driver_t *driver, char *text, size_t size)
{
    const lm_frontend_listen_t *how = &driver->how;
    if (*how->tls_cert) {
        atomic_store(&driver->tls, lm_frontend_tls_new(how, text, size));
        if (!atomic_load(&driver->tls)) return text;
    }
    const uint32_t ports[LM_PORTS] = {how->grpc_port, how->region_port, how->raft_port};
    asker_t *askers[(LM_METHODS + 1 + LM_PORTS) * LM_ASKERS];
    size_t n = 0;
    for (int i = 0; i < LM_PORTS; i++)
        if (ports[i]) n += prepare(driver, (lm_frontend_port_t)i, ports[i], askers + n);
    const char *why = NULL;
    for (int i = 0; i < LM_PORTS && !why; i++) {
        lm_server_t *server = &driver->servers[i];
        if (!server->grpc) continue;
        if (bind_port(server, how->address, ports[i], (lm_frontend_port_t)i)) continue;
        snprintf(text, size, "%s:%u cannot be listened on: is the port in use?", how->address,
                 ports[i]);
        why = text;
    }
    if (!why)
        atomic_store(&driver->sentry,
                     lm_frontend_sentry_new(how, driver->alone, &driver->client_calls));
    for (int i = 0; i < LM_PORTS && !why; i++)
        if (driver->servers[i].grpc) grpc_server_start(driver->servers[i].grpc);
    for (size_t i = 0; i < n; i++) {
        if (why)
            free(askers[i]);
        else
            ask(askers[i]);
    }
    return why;
}

/* Under the lock, so that on_shut destroys nothing before this call is back from it. */
void lm_server_shut_all(lm_driver_t *driver)
{
    pthread_mutex_lock(&driver->lock);
    for (int i = 0; i < LM_PORTS; i++) {
        lm_server_t *server = &driver->servers[i];
        if (server->shutting || !server->grpc) continue;
        server->shutting = true;
        LM_DOOR_LEAVE(&server->shut_tag);
        grpc_server_shutdown_and_notify(server->grpc, driver->queue, &server->shut_tag);
    }
    pthread_mutex_unlock(&driver->lock);
}

/* Called by the gRPC thread, which alone destroys servers. */
void lm_server_cancel_all(lm_driver_t *driver)
{
    for (int i = 0; i < LM_PORTS; i++) {
        lm_server_t *server = &driver->servers[i];
        pthread_mutex_lock(&driver->lock);
        bool mine = driver->phase == LM_DRIVER_SHUT && server->shutting;
        grpc_server *grpc = mine ? server->grpc : NULL;
        pthread_mutex_unlock(&driver->lock);
        if (grpc) grpc_server_cancel_all_calls(grpc);
    }
}
