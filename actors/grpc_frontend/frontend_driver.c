/* The gRPC thread, and the table of functions through which rooms reach it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_host.h"
#include "base_check.h"
#include "base_door.h"
#include "frontend_driver_internal.h"
#include "frontend_errors.h"
#include "tls_key_file.h"

/* TAKEN_MAX: how many completions are taken at once, to find those of the peers among them.
 * TURN_MAX: how many of the others are handled before gRPC is asked again. */
enum { TAKEN_MAX = 256, TURN_MAX = 32, TICK_MS = 100 };

static lm_driver_t *driver_of(lm_frontend_driver_t *face) { return (lm_driver_t *)(void *)face; }

/* ---- events ---------------------------------------------------------------------------------- */

static bool is_last(const lm_frontend_event_t *event)
{
    return event->kind == LM_FRONTEND_OVER || event->kind == LM_FRONTEND_ANSWERED;
}

void lm_driver_tell(lm_driver_t *driver, lm_participant_t room, lm_frontend_event_t *event)
{
    lm_exchange_t *exchange = (lm_exchange_t *)(void *)event->handle;
    bool last = is_last(event);
    const lm_frontend_inlet_t *inlet = room == LM_CLIENTS ? &driver->clients : &driver->peers;
    pthread_mutex_lock(&driver->lock);
    bool dying = driver->dying;
    if (!dying && last) exchange->told = true;
    if (!dying) inlet->put(inlet->inlet, event);
    pthread_mutex_unlock(&driver->lock);
    if (!dying) return;
    /* The rooms are gone: nobody takes the event, nobody drops the handle. */
    lm_frontend_event_free(event);
    if (last) lm_exchange_free(exchange);
}

void lm_driver_tell_both(lm_driver_t *driver, lm_frontend_event_kind_t kind, const char *text)
{
    static const lm_participant_t rooms[] = {LM_CLIENTS, LM_PEERS};
    for (int i = 0; i < 2; i++) {
        lm_frontend_event_t *event = lm_frontend_event_new(kind, NULL, 0);
        snprintf(event->text, sizeof event->text, "%s", text);
        lm_driver_tell(driver, rooms[i], event);
    }
}

static void tell_access(lm_driver_t *driver, lm_frontend_event_t *event)
{
    if (event) lm_driver_tell(driver, LM_CLIENTS, event);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Again and again, since a call may arrive while the last ones are cancelled. */
static void maybe_cancel_all(lm_driver_t *driver)
{
    uint64_t at_us = atomic_load(&driver->shut_at_us);
    if (at_us && lm_clock_us() >= at_us) lm_server_cancel_all(driver);
}

static gpr_timespec in_ms(int64_t ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static void put_off(lm_driver_t *driver, grpc_event event)
{
    lm_later_t *later = &driver->later;
    if (later->n == later->n_max) {
        size_t n_max = later->n_max ? 2 * later->n_max : 1024;
        grpc_event *events = lm_alloc(n_max * sizeof *events);
        for (size_t i = 0; i < later->n; i++)
            events[i] = later->events[(later->first + i) % later->n_max];
        free(later->events);
        *later = (lm_later_t){.events = events, .n = later->n, .n_max = n_max};
    }
    later->events[(later->first + later->n++) % later->n_max] = event;
}

static void handle(grpc_event event)
{
    lm_tag_t *tag = event.tag;
    tag->done(tag, event.success != 0);
}

/* Takes what is ready, handles what belongs to the peers and puts the rest off; waits if nothing
 * was put off before. Returns false when the queue is shut and empty. */
static bool take_events(lm_driver_t *driver)
{
    gpr_timespec at_once = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    gpr_timespec until = driver->later.n ? at_once : in_ms(TICK_MS);
    for (int i = 0; i < TAKEN_MAX; i++) {
        grpc_event event = grpc_completion_queue_next(driver->queue, until, NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) return driver->later.n > 0;
        if (event.type == GRPC_QUEUE_TIMEOUT) return true;
        LM_DOOR_ARRIVE(event.tag);
        if (((lm_tag_t *)event.tag)->first)
            handle(event);
        else
            put_off(driver, event);
        until = at_once;
    }
    return true;
}

static void handle_later(lm_driver_t *driver)
{
    lm_later_t *later = &driver->later;
    for (int i = 0; i < TURN_MAX && later->n > 0; i++) {
        grpc_event event = later->events[later->first];
        later->first = (later->first + 1) % later->n_max;
        later->n--;
        handle(event);
    }
}

/* Clients may have thousands of completions waiting; those of the peers overtake them here. */
static void *run(void *arg)
{
    lm_driver_t *driver = arg;
    lm_voice_take(driver->voice);
    while (take_events(driver)) {
        handle_later(driver);
        lm_frontend_tls_t *tls = atomic_load(&driver->tls);
        if (tls) lm_frontend_tls_poll(tls, lm_clock_us());
        lm_frontend_access_file_t *access = atomic_load(&driver->access);
        if (access) tell_access(driver, lm_frontend_access_file_poll(access, lm_clock_us()));
        maybe_cancel_all(driver);
    }
    return NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Whether it is this call that opens the servers. */
static bool begin_opening(lm_driver_t *driver, lm_participant_t room,
                          const lm_frontend_listen_t *how)
{
    pthread_mutex_lock(&driver->lock);
    driver->how = *how;
    driver->rooms_listening |= 1U << room;
    bool both = driver->rooms_listening == (1U << LM_CLIENTS | 1U << LM_PEERS);
    bool mine = both && driver->phase == LM_DRIVER_NEW;
    if (mine) driver->phase = LM_DRIVER_OPENING;
    pthread_mutex_unlock(&driver->lock);
    return mine;
}

/* False if the other room has shut the driver meanwhile. */
static bool end_opening(lm_driver_t *driver)
{
    pthread_mutex_lock(&driver->lock);
    bool wanted = atomic_load(&driver->shut_at_us) == 0;
    driver->phase = wanted ? LM_DRIVER_OPEN : LM_DRIVER_SHUT;
    pthread_mutex_unlock(&driver->lock);
    return wanted;
}

/* Before the servers, so that no call overtakes it. */
static const char *open_access(lm_driver_t *driver, char text[120])
{
    if (!*driver->how.access) return NULL;
    lm_frontend_event_t *event = NULL;
    lm_frontend_access_file_t *access =
        lm_frontend_access_file_new(driver->how.access, &event, text);
    if (!access) return text;
    tell_access(driver, event);
    atomic_store(&driver->access, access);
    return NULL;
}

static const char *open_keys(lm_driver_t *driver, lm_frontend_event_kind_t kind, const char *path,
                             char text[120])
{
    char why[120];
    if (!*path) return NULL;
    lm_frontend_event_t *event = lm_frontend_event_new(kind, NULL, sizeof(lm_tls_keys_t));
    if (lm_tls_key_file_read(path, (lm_tls_keys_t *)(void *)event->payload, why)) {
        lm_driver_tell(driver, LM_PEERS, event);
        return NULL;
    }
    lm_frontend_event_free(event);
    snprintf(text, 120, "the file of %s %.*s",
             kind == LM_FRONTEND_PEER_KEYS ? "peer_key" : "region.peer_key", 90, why);
    return text;
}

static void driver_listen(lm_frontend_driver_t *face, lm_participant_t room,
                          const lm_frontend_listen_t *how)
{
    lm_driver_t *driver = driver_of(face);
    char text[120];
    if (!begin_opening(driver, room, how)) return;
    const char *why = open_access(driver, text);
    if (!why) why = open_keys(driver, LM_FRONTEND_PEER_KEYS, driver->how.peer_key, text);
    if (!why) why = open_keys(driver, LM_FRONTEND_REGION_KEYS, driver->how.region_key, text);
    if (!why) why = lm_server_open_all(driver, text, sizeof text);
    if (!end_opening(driver))
        lm_server_shut_all(driver);
    else if (why)
        lm_driver_tell_both(driver, LM_FRONTEND_NOT_BOUND, why);
    else
        lm_driver_tell_both(driver, LM_FRONTEND_LISTENING, "");
}

static lm_exchange_t *new_outgoing(lm_driver_t *driver, const lm_frontend_target_t *target,
                                   lm_frontend_method_id_t id, uint64_t deadline_us, void *owner,
                                   bool *connected)
{
    lm_channel_t *channel = lm_channel_acquire(driver, target, connected);
    if (!channel) return NULL;
    const lm_frontend_method_t *method = lm_frontend_method(id);
    uint64_t now_us = lm_clock_us();
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (deadline_us) {
        int64_t left_us = deadline_us > now_us ? (int64_t)(deadline_us - now_us) : 0;
        deadline =
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(left_us, GPR_TIMESPAN));
    }
    grpc_slice path = grpc_slice_from_static_string(method->path);
    grpc_call *call = grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS,
                                               driver->queue, path, NULL, deadline, NULL);
    lm_exchange_t *exchange = lm_exchange_new(driver, method, call, false);
    exchange->channel = channel;
    exchange->handle.owner = owner;
    return exchange;
}

static lm_frontend_handle_t *driver_call(lm_frontend_driver_t *face,
                                         const lm_frontend_target_t *target,
                                         lm_frontend_method_id_t method, lm_bytes_t payload,
                                         uint64_t deadline_us, void *owner)
{
    lm_driver_t *driver = driver_of(face);
    bool connected;
    lm_exchange_t *exchange = new_outgoing(driver, target, method, deadline_us, owner, &connected);
    if (!exchange) return NULL;
    lm_exchange_call(exchange, payload, connected);
    return &exchange->handle;
}

static lm_frontend_handle_t *driver_open(lm_frontend_driver_t *face,
                                         const lm_frontend_target_t *target,
                                         lm_frontend_method_id_t method, void *owner)
{
    lm_driver_t *driver = driver_of(face);
    bool connected;
    lm_exchange_t *exchange = new_outgoing(driver, target, method, 0, owner, &connected);
    if (!exchange) return NULL;
    lm_exchange_open(exchange);
    return &exchange->handle;
}

/* The phase before; servers that are being opened are shut by the room that opens them. */
static lm_driver_phase_t begin_shutting(lm_driver_t *driver, uint64_t at_us)
{
    pthread_mutex_lock(&driver->lock);
    lm_driver_phase_t before = driver->phase;
    uint64_t before_us = atomic_load(&driver->shut_at_us);
    if (before_us == 0 || at_us < before_us) atomic_store(&driver->shut_at_us, at_us);
    if (before != LM_DRIVER_OPENING) driver->phase = LM_DRIVER_SHUT;
    pthread_mutex_unlock(&driver->lock);
    return before;
}

static void driver_shut(lm_frontend_driver_t *face, uint64_t grace_us)
{
    lm_driver_t *driver = driver_of(face);
    lm_driver_phase_t before = begin_shutting(driver, lm_clock_us() + grace_us);
    if (before == LM_DRIVER_OPEN) lm_server_shut_all(driver);
    if (before == LM_DRIVER_NEW) lm_driver_tell_both(driver, LM_FRONTEND_CLOSED, "");
}

static void driver_shed(lm_frontend_driver_t *face, uint32_t share)
{
    atomic_store(&driver_of(face)->shed_share, share);
}

static lm_frontend_refused_t driver_refused(lm_frontend_driver_t *face)
{
    lm_driver_t *driver = driver_of(face);
    lm_guard_figures_t guard = lm_frontend_sentry_figures(atomic_load(&driver->sentry));
    lm_frontend_tls_t *tls = atomic_load(&driver->tls);
    return (lm_frontend_refused_t){
        .overloaded = atomic_load(&driver->overloaded),
        .shed = atomic_load(&driver->shed),
        .unknown_method = atomic_load(&driver->unknown_method),
        .wasteful = guard.ended[LM_GUARD_WASTEFUL],
        .crowded = guard.ended[LM_GUARD_CROWDED],
        .beyond_address = guard.ended[LM_GUARD_ADDRESS],
        .aged = guard.ended[LM_GUARD_AGED],
        .connections = guard.open,
        .handshakes = lm_frontend_tls_failed_handshakes(),
        .certificate_expires_s = tls ? lm_frontend_tls_expires_s(tls) : 0};
}

static const lm_frontend_figures_t *driver_figures(lm_frontend_driver_t *face)
{
    return &driver_of(face)->figures;
}

static const lm_frontend_driver_ops_t ops = {
    .listen = driver_listen,
    .send = lm_exchange_send,
    .consumed = lm_exchange_consumed,
    .finish = lm_exchange_finish,
    .call = driver_call,
    .open = driver_open,
    .cancel = lm_exchange_cancel,
    .stalled = lm_exchange_stalled,
    .drop = lm_exchange_drop,
    .shed = driver_shed,
    .shut = driver_shut,
    .refused = driver_refused,
    .figures = driver_figures,
    .address = lm_exchange_address,
    .vouch = lm_exchange_vouch,
};

/* ---- life ------------------------------------------------------------------------------------ */

/* Of a refusal that the driver makes by itself. */
static lm_bytes_t details_of(lm_rc_t code)
{
    lm_arena_t *arena = lm_arena_new();
    lm_bytes_t details = lm_frontend_error_details(&(lm_frontend_error_t){.code = code}, arena);
    void *copy = memcpy(lm_alloc(details.size), details.data, details.size);
    lm_arena_destroy(&arena);
    return lm_bytes(copy, details.size);
}

lm_frontend_driver_t *lm_frontend_driver_new(lm_frontend_inlet_t clients, lm_frontend_inlet_t peers,
                                             bool alone)
{
    lm_driver_t *driver = lm_alloc(sizeof *driver);
    driver->alone = alone;
    driver->face.ops = &ops;
    driver->voice = lm_voice_mine();
    driver->clients = clients;
    driver->peers = peers;
    driver->queue = grpc_completion_queue_create_for_next(NULL);
    pthread_mutex_init(&driver->lock, NULL);
    pthread_cond_init(&driver->changed, NULL);
    driver->overloaded_details = details_of(LM_RC_OVERLOADED);
    driver->wrong_port_details = details_of(LM_RC_WRONG_PORT);
    int error = pthread_create(&driver->thread, NULL, run, driver);
    LM_CHECK(error == 0, "no thread for gRPC: %s", strerror(error));
    pthread_setname_np(driver->thread, "grpc");
    return &driver->face;
}

/* Handles whose last event has been told were the rooms' to drop; the rooms are gone. */
static void drop_all_told(lm_driver_t *driver)
{
    for (;;) {
        pthread_mutex_lock(&driver->lock);
        lm_exchange_t *exchange = driver->exchanges;
        while (exchange && !exchange->told) exchange = exchange->next;
        pthread_mutex_unlock(&driver->lock);
        if (!exchange) return;
        lm_exchange_free(exchange);
    }
}

static void end_all(lm_driver_t *driver)
{
    pthread_mutex_lock(&driver->lock);
    driver->dying = true;
    for (lm_exchange_t *e = driver->exchanges; e; e = e->next)
        if (e->call) grpc_call_cancel(e->call, NULL);
    pthread_mutex_unlock(&driver->lock);
    drop_all_told(driver);
    driver_shut(&driver->face, 0);
    pthread_mutex_lock(&driver->lock);
    while (driver->exchanges || driver->servers_open > 0)
        pthread_cond_wait(&driver->changed, &driver->lock);
    pthread_mutex_unlock(&driver->lock);
}

void lm_frontend_driver_destroy(lm_frontend_driver_t **face)
{
    if (!*face) return;
    lm_driver_t *driver = driver_of(*face);
    *face = NULL;
    end_all(driver);
    lm_channel_destroy_all(driver);
    grpc_completion_queue_shutdown(driver->queue);
    pthread_join(driver->thread, NULL);
    grpc_completion_queue_destroy(driver->queue);
    lm_frontend_tls_t *tls = atomic_load(&driver->tls);
    lm_frontend_tls_destroy(&tls);
    lm_frontend_sentry_t *sentry = atomic_load(&driver->sentry);
    lm_frontend_sentry_destroy(&sentry);
    lm_frontend_access_file_t *access = atomic_load(&driver->access);
    lm_frontend_access_file_destroy(&access);
    pthread_cond_destroy(&driver->changed);
    pthread_mutex_destroy(&driver->lock);
    free((void *)(uintptr_t)driver->overloaded_details.data);
    free((void *)(uintptr_t)driver->wrong_port_details.data);
    free(driver->later.events);
    free(driver);
}
