/* The gRPC thread, and the table of functions through which rooms reach it. */
#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_host.h"
#include "base_check.h"
#include "base_log.h"
#include "frontend_driver_internal.h"
#include "frontend_errors.h"

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

/* ---- the thread ------------------------------------------------------------------------------ */

/* Again and again, since a call may arrive while the last ones are cancelled. */
static void maybe_cancel_all(lm_driver_t *driver)
{
    uint64_t at_us = atomic_load(&driver->shut_at_us);
    if (at_us && lm_clock_us() >= at_us && driver->serving) lm_server_cancel_all(driver);
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
    while (take_events(driver)) {
        handle_later(driver);
        maybe_cancel_all(driver);
    }
    return NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void driver_listen(lm_frontend_driver_t *face, lm_participant_t room,
                          const lm_frontend_listen_t *how)
{
    lm_driver_t *driver = driver_of(face);
    pthread_mutex_lock(&driver->lock);
    driver->how = *how;
    driver->rooms_listening |= 1U << room;
    bool both = driver->rooms_listening == (1U << LM_CLIENTS | 1U << LM_PEERS);
    pthread_mutex_unlock(&driver->lock);
    if (!both) return;
    char text[120];
    driver->serving = true;
    const char *why = lm_server_open_all(driver, text, sizeof text);
    if (why)
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

static void driver_shut(lm_frontend_driver_t *face, uint64_t grace_us)
{
    lm_driver_t *driver = driver_of(face);
    uint64_t at_us = lm_clock_us() + grace_us;
    uint64_t before_us = atomic_load(&driver->shut_at_us);
    if (before_us == 0 || at_us < before_us) atomic_store(&driver->shut_at_us, at_us);
    if (before_us != 0) return;
    if (driver->serving)
        lm_server_shut_all(driver);
    else
        lm_driver_tell_both(driver, LM_FRONTEND_CLOSED, "");
}

static lm_frontend_refused_t driver_refused(lm_frontend_driver_t *face)
{
    lm_driver_t *driver = driver_of(face);
    return (lm_frontend_refused_t){.overloaded = atomic_load(&driver->overloaded),
                                   .unknown_method = atomic_load(&driver->unknown_method)};
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
    .shut = driver_shut,
    .refused = driver_refused,
};

/* gRPC complains on standard error about whatever a client sends; that is for whoever searches. */
static void on_grpc_log(gpr_log_func_args *args) { lm_debug("grpc: %s", args->message); }

/* ---- life ------------------------------------------------------------------------------------ */

lm_frontend_driver_t *lm_frontend_driver_new(lm_frontend_inlet_t clients, lm_frontend_inlet_t peers)
{
    gpr_set_log_function(on_grpc_log);
    grpc_init();
    lm_driver_t *driver = lm_alloc(sizeof *driver);
    driver->face.ops = &ops;
    driver->clients = clients;
    driver->peers = peers;
    driver->queue = grpc_completion_queue_create_for_next(NULL);
    pthread_mutex_init(&driver->lock, NULL);
    pthread_cond_init(&driver->changed, NULL);
    lm_arena_t *arena = lm_arena_new();
    lm_bytes_t details =
        lm_frontend_error_details(&(lm_frontend_error_t){.code = LM_RC_OVERLOADED}, arena);
    driver->overloaded_details =
        lm_bytes(memcpy(lm_alloc(details.size), details.data, details.size), details.size);
    lm_arena_destroy(&arena);
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
    for (lm_exchange_t *e = driver->exchanges; e; e = e->next) grpc_call_cancel(e->call, NULL);
    pthread_mutex_unlock(&driver->lock);
    drop_all_told(driver);
    driver_shut(&driver->face, 0);
    pthread_mutex_lock(&driver->lock);
    while (driver->exchanges || (driver->serving && driver->servers_open > 0))
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
    grpc_shutdown_blocking();
    pthread_cond_destroy(&driver->changed);
    pthread_mutex_destroy(&driver->lock);
    free((void *)(uintptr_t)driver->overloaded_details.data);
    free(driver->later.events);
    free(driver);
}
