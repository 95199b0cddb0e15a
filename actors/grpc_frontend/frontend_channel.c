/* Channels to other nodes and regions.
 *
 * Invariants
 *   FC1  A forward is sent only on a connection that is open at that moment. When none is, the room
 *        knows that nothing was sent, and asks again a little later.
 *   FC2  No connection carries more calls than its server allows streams. gRPC would queue the rest
 *        behind calls that may wait for hours, so the pool grows instead, and it grows before the
 *        last connection is full.
 *   FC3  A channel that has not been connected for a while is made anew when nothing runs on it:
 *        gRPC waits up to two minutes after a name that did not resolve.
 *   FC4  After a renewal of certificates a channel of before is used only while there is no new
 *        one that is open, and goes when nothing runs on it.
 *   FC5  A name server gets its time. Nothing comes of a new channel until its name is known; when
 *        that takes longer than the driver's patience, the patience grows, so that a lost query is
 *        repeated soon and a slow answer is heard. What has failed, or was connected once, has FC3.
 */
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_host.h"
#include "base_check.h"
#include "frontend_driver_internal.h"
#include "frontend_limits.h"

enum { STALE_US = 3000000, PATIENCE_MAX_US = 32000000, POOL_MAX = LM_CLIENT_CALLS_MAX / 50 };

static grpc_arg integer(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

/* The other side must bear the name of the node or region that is meant, whatever its address. */
static grpc_arg name_of(const lm_frontend_target_t *target)
{
    return (grpc_arg){.type = GRPC_ARG_STRING,
                      .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
                      .value.string = (char *)(uintptr_t)target->name};
}

static bool is_for_one_call(const lm_frontend_target_t *target)
{
    return target->kind == LM_CHANNEL_FRESH || target->kind == LM_CHANNEL_OWN;
}

/* How long gRPC waits for a connection, handshake and all, before it begins a new one. */
static int patience_ms(const lm_frontend_target_t *target, bool tls)
{
    /* The own listener may be busy; what gives up too early would take it for dead. */
    if (target->kind == LM_CHANNEL_OWN) return 5000;
    if (!tls) return 500;
    return target->kind == LM_CHANNEL_REGION ? 3000 : 1000;
}

/* How often a connection is asked whether it lives. Heartbeats ask all the time on links. */
static int alone_ms(const lm_frontend_target_t *target)
{
    return target->kind == LM_CHANNEL_FRESH || target->kind == LM_CHANNEL_OWN ? 30000 : 12000;
}

/* How long what was sent, or an answer to such a question, may be missing. A node that has gone
 * without a word comes back with another address, looked up only for a new connection; but one that
 * merely has too much to do must not lose its connections too. */
static int silence_ms(const lm_frontend_target_t *target)
{
    if (target->kind == LM_CHANNEL_OWN) return 10000;
    return target->kind == LM_CHANNEL_FRESH ? 3000 : 5000;
}

static grpc_channel *connect_to(lm_driver_t *driver, const lm_frontend_target_t *target,
                                uint64_t *version)
{
    lm_frontend_tls_t *tls = atomic_load(&driver->tls);
    grpc_arg list[] = {
        integer(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
        integer(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, patience_ms(target, tls != NULL)),
        integer(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500),
        integer(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500),
        integer(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, alone_ms(target)),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, silence_ms(target)),
        integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        integer(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT32_MAX),
        integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, LM_MESSAGE_BYTES_MAX),
        integer(GRPC_ARG_MAX_METADATA_SIZE, LM_METADATA_BYTES_MAX),
        /* A repeat of a forward is ours to decide (S13). */
        integer(GRPC_ARG_ENABLE_RETRIES, 0), integer(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        integer(GRPC_ARG_ENABLE_CHANNELZ, 0),
        integer(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        name_of(target), /* last: not without TLS */
    };
    grpc_channel_args args = {sizeof list / sizeof *list - (tls ? 0 : 1), list};
    char address[300];
    const char *form = strchr(target->host, ':') ? "[%s]:%u" : "%s:%u";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(address, sizeof address, form, target->host, target->port);
#pragma GCC diagnostic pop
    grpc_channel_credentials *credentials =
        tls ? lm_frontend_tls_channel(tls, version) : grpc_insecure_credentials_create();
    /* gRPC sends the address as :authority, the name it was given and not what it resolves to. */
    grpc_channel *channel = grpc_channel_create(address, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return channel;
}

/* With the driver's lock held. */
static lm_channel_t *add_channel(lm_driver_t *driver, const lm_frontend_target_t *target)
{
    lm_channel_t *channel = lm_alloc(sizeof *channel);
    channel->target = *target;
    channel->grpc = connect_to(driver, target, &channel->version);
    channel->untried = true;
    channel->since_us = lm_clock_us();
    channel->patience_us = driver->patience_us ? driver->patience_us : STALE_US;
    channel->next = driver->channels;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
    if (channel->next) channel->next->prev = channel;
    driver->channels = channel;
    return channel;
}

static void remove_channel(lm_driver_t *driver, lm_channel_t *channel)
{
    if (channel->prev)
        channel->prev->next = channel->next;
    else
        driver->channels = channel->next;
    if (channel->next) channel->next->prev = channel->prev;
    grpc_channel_destroy(channel->grpc);
    free(channel);
}

/* Asks for a connection at the same time. */
static bool is_connected(lm_channel_t *channel)
{
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(channel->grpc, 1);
    bool ready = state == GRPC_CHANNEL_READY;
    bool fails = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
    if (ready || (fails && channel->untried)) {
        channel->untried = false;
        channel->since_us = lm_clock_us();
    }
    return ready;
}

static bool is_stale(const lm_channel_t *channel)
{
    uint64_t within_us = channel->untried ? channel->patience_us : STALE_US;
    return channel->in_flight == 0 && channel->since_us + within_us < lm_clock_us();
}

static void remove_stale(lm_driver_t *driver, lm_channel_t *channel)
{
    uint64_t more_us = 4 * channel->patience_us;
    if (more_us > PATIENCE_MAX_US) more_us = PATIENCE_MAX_US;
    if (channel->untried && driver->patience_us < more_us) driver->patience_us = more_us;
    remove_channel(driver, channel);
}

static bool leads_to(const lm_channel_t *channel, const lm_frontend_target_t *target)
{
    return channel->target.kind == target->kind && channel->target.port == target->port &&
           strcmp(channel->target.host, target->host) == 0 &&
           strcmp(channel->target.name, target->name) == 0;
}

static bool is_of_before(lm_driver_t *driver, const lm_channel_t *channel)
{
    lm_frontend_tls_t *tls = atomic_load(&driver->tls);
    return tls && channel->version != lm_frontend_tls_version(tls);
}

typedef struct {
    lm_channel_t *open;  /* the fullest open one that has room */
    unsigned n, n_spare; /* all; those less than half full, open or not yet */
} pool_t;

static pool_t look_at_pool(lm_driver_t *driver, const lm_frontend_target_t *target)
{
    unsigned streams_max = driver->how.streams_max ? driver->how.streams_max : 1;
    pool_t pool = {0};
    lm_channel_t *next;
    for (lm_channel_t *channel = driver->channels; channel; channel = next) {
        next = channel->next;
        if (!leads_to(channel, target)) continue;
        bool connected = is_connected(channel), old = is_of_before(driver, channel);
        /* New ones stand before old ones in the list. */
        bool stale = !connected && is_stale(channel);
        if (stale || (old && pool.open && channel->in_flight == 0)) {
            if (stale)
                remove_stale(driver, channel);
            else
                remove_channel(driver, channel);
            continue;
        }
        if (!old) pool.n++;
        if (!old && channel->in_flight <= streams_max / 2) pool.n_spare++;
        if (!connected || channel->in_flight >= streams_max) continue;
        if (!pool.open || (!old && channel->in_flight > pool.open->in_flight)) pool.open = channel;
    }
    return pool;
}

static lm_channel_t *from_pool(lm_driver_t *driver, const lm_frontend_target_t *target)
{
    pool_t pool = look_at_pool(driver, target);
    if (pool.n_spare == 0 && pool.n < POOL_MAX) is_connected(add_channel(driver, target));
    return pool.open;
}

static lm_channel_t *kept(lm_driver_t *driver, const lm_frontend_target_t *target)
{
    for (lm_channel_t *channel = driver->channels; channel; channel = channel->next) {
        if (!leads_to(channel, target)) continue;
        bool old = is_of_before(driver, channel) && channel->in_flight == 0;
        if (!old && (is_connected(channel) || !is_stale(channel))) return channel;
        if (old)
            remove_channel(driver, channel);
        else
            remove_stale(driver, channel);
        break;
    }
    return add_channel(driver, target);
}

lm_channel_t *lm_channel_acquire(lm_driver_t *driver, const lm_frontend_target_t *target,
                                 bool *connected)
{
    pthread_mutex_lock(&driver->lock);
    lm_channel_t *channel = NULL;
    switch (target->kind) {
    case LM_CHANNEL_FORWARD: channel = from_pool(driver, target); break;
    case LM_CHANNEL_REGION: channel = kept(driver, target); break;
    case LM_CHANNEL_FRESH:
    case LM_CHANNEL_OWN: channel = add_channel(driver, target); break;
    }
    *connected = channel && !is_for_one_call(target) && is_connected(channel);
    if (channel) channel->in_flight++;
    pthread_mutex_unlock(&driver->lock);
    return channel;
}

void lm_channel_release(lm_driver_t *driver, lm_channel_t *channel)
{
    pthread_mutex_lock(&driver->lock);
    LM_CHECK(channel->in_flight > 0, "channel to %s", channel->target.host);
    channel->in_flight--;
    if (is_for_one_call(&channel->target)) remove_channel(driver, channel);
    pthread_mutex_unlock(&driver->lock);
}

void lm_channel_destroy_all(lm_driver_t *driver)
{
    pthread_mutex_lock(&driver->lock);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
    while (driver->channels) remove_channel(driver, driver->channels);
    pthread_mutex_unlock(&driver->lock);
}
