#include "client_channels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_check.h"
#include "client_tls.h"

enum { RECEIVE_BYTES_MAX = 16 * 1024 * 1024, LOOK_EVERY_US = 1000000 };

struct lm_channels {
    lm_client_secrets_t *secrets;
    size_t n;
    char *endpoints[LM_ENDPOINTS_MAX];
    pthread_rwlock_t lock; /* guards the channels, not what happens on them */
    grpc_channel *channels[LM_ENDPOINTS_MAX];
    _Atomic uint64_t look_at_us; /* CLOCK_BOOTTIME */
    pthread_mutex_t looking;     /* who has it looks at the files */
};

#define INTEGER_ARG(name, number)                                                             \
    {                                                                                         \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(name), .value.integer = (number) \
    }

static grpc_channel *open_one(const char *endpoint, grpc_channel_credentials *credentials,
                              const lm_client_tls_t *tls)
{
    grpc_arg args[] = {
        INTEGER_ARG("grpc.initial_reconnect_backoff_ms", 100),
        /* So long a connection may take, handshake and all. */
        INTEGER_ARG("grpc.min_reconnect_backoff_ms", *tls->ca ? 2000 : 100),
        INTEGER_ARG("grpc.max_reconnect_backoff_ms", 500),
        /* Nodes come back with other addresses; gRPC looks them up every 30 s otherwise. */
        INTEGER_ARG("grpc.dns_min_time_between_resolutions_ms", 500),
        /* Repeats are made here, where it is known which calls may be repeated (K1). */
        INTEGER_ARG("grpc.enable_retries", 0),
        INTEGER_ARG("grpc.use_local_subchannel_pool", 1),
        /* The answer to a keep-alive lists up to 10,000 holds with their names. */
        INTEGER_ARG("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        /* Last: only where a name is wanted. */
        {.type = GRPC_ARG_STRING,
         .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
         .value.string = (char *)(uintptr_t)tls->server_name},
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args - (*tls->server_name ? 0 : 1),
                             .args = args};
    return grpc_channel_create(endpoint, credentials, &all);
}

static void open_all(lm_channels_t *channels, grpc_channel_credentials *credentials)
{
    const lm_client_tls_t *tls = lm_client_secrets_tls(channels->secrets);
    for (size_t i = 0; i < channels->n; i++)
        channels->channels[i] = open_one(channels->endpoints[i], credentials, tls);
    grpc_channel_credentials_release(credentials);
}

static void close_all(grpc_channel *const *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (all[i]) grpc_channel_destroy(all[i]);
}

/* ---- renewal --------------------------------------------------------------------------------- */

static void replace(lm_channels_t *channels, grpc_channel_credentials *credentials)
{
    grpc_channel *old[LM_ENDPOINTS_MAX];
    pthread_rwlock_wrlock(&channels->lock);
    memcpy(old, channels->channels, sizeof old);
    open_all(channels, credentials);
    pthread_rwlock_unlock(&channels->lock);
    close_all(old, channels->n);
}

static void look(lm_channels_t *channels)
{
    uint64_t now_us = lm_client_clock_us();
    if (now_us < atomic_load(&channels->look_at_us)) return;
    if (pthread_mutex_trylock(&channels->looking) != 0) return;
    atomic_store(&channels->look_at_us, now_us + LOOK_EVERY_US);
    grpc_channel_credentials *credentials = lm_client_secrets_renewed(channels->secrets);
    if (credentials) replace(channels, credentials);
    pthread_mutex_unlock(&channels->looking);
}

grpc_channel *lm_channels_borrow(lm_channels_t *channels, size_t n)
{
    LM_CHECK(n < channels->n, "endpoint %zu of %zu", n, channels->n);
    look(channels);
    pthread_rwlock_rdlock(&channels->lock);
    return channels->channels[n];
}

void lm_channels_give_back(lm_channels_t *channels) { pthread_rwlock_unlock(&channels->lock); }

/* ---- life ------------------------------------------------------------------------------------ */

/* False: there are too many, or none. */
static bool split(lm_channels_t *channels, const char *endpoints)
{
    char *list = strdup(endpoints), *rest = list, *one;
    bool fits = true;
    while (fits && (one = strsep(&rest, ",")) != NULL) {
        if (*one == '\0') continue;
        fits = channels->n < LM_ENDPOINTS_MAX;
        if (fits) channels->endpoints[channels->n++] = strdup(one);
    }
    free(list);
    return fits && channels->n > 0;
}

lm_channels_t *lm_channels_new(const char *endpoints, const lm_client_tls_t *tls, char problem[256])
{
    lm_channels_t *channels = lm_alloc(sizeof *channels);
    grpc_channel_credentials *credentials = NULL;
    pthread_rwlock_init(&channels->lock, NULL);
    pthread_mutex_init(&channels->looking, NULL);
    channels->secrets = lm_client_secrets_new(tls);
    bool good = split(channels, endpoints);
    if (!good && problem) snprintf(problem, 256, "there must be 1 to 32 endpoints");
    if (good) credentials = lm_client_secrets_read(channels->secrets, problem);
    if (credentials)
        open_all(channels, credentials);
    else
        lm_channels_destroy(&channels);
    return channels;
}

void lm_channels_destroy(lm_channels_t **self)
{
    lm_channels_t *channels = *self;
    if (!channels) return;
    close_all(channels->channels, channels->n);
    for (size_t i = 0; i < channels->n; i++) free(channels->endpoints[i]);
    lm_client_secrets_destroy(&channels->secrets);
    pthread_rwlock_destroy(&channels->lock);
    pthread_mutex_destroy(&channels->looking);
    free(channels);
    *self = NULL;
}

size_t lm_channels_count(const lm_channels_t *channels) { return channels->n; }

const char *lm_channels_endpoint(const lm_channels_t *channels, size_t n)
{
    LM_CHECK(n < channels->n, "endpoint %zu of %zu", n, channels->n);
    return channels->endpoints[n];
}
