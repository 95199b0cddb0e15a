/* A thread that keeps one hold alive and knows when it is lost.
 *
 *   holding --renewed--> holding
 *           --refused by lockmgr, or deadline passed--> lost (final)
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { LOOK_EVERY_US = 1000000 };

struct lm_keeper {
    lm_client_t *client;
    char *name, *owner, *hold_id;
    uint64_t ttl_us;
    int lost_fd;
    _Atomic uint64_t deadline_us; /* CLOCK_BOOTTIME */
    _Atomic bool lost;
    char cause[320];
    pthread_mutex_t mutex;
    pthread_cond_t stop_wanted;
    bool stopping;
    pthread_t thread;
};

static char *text_of(lm_bytes_t bytes) { return strndup((const char *)bytes.data, bytes.size); }

static void lose(lm_keeper_t *k, const char *cause)
{
    snprintf(k->cause, sizeof k->cause, "%s", cause);
    atomic_store(&k->lost, true);
    uint64_t one = 1;
    if (k->lost_fd >= 0 && write(k->lost_fd, &one, sizeof one) != sizeof one)
        perror("lockmgr keeper: eventfd");
}

static lm_client_result_t ask_for_more(lm_keeper_t *k, uint64_t timeout_ms, lm_arena_t *arena,
                                       uint64_t *deadline_us)
{
    lm_api_renew_request_t request = {.name = lm_bytes_of(k->name),
                                      .owner = lm_bytes_of(k->owner),
                                      .hold_id = lm_bytes_of(k->hold_id)};
    const void *message = NULL;
    lm_client_result_t result =
        lm_client_call(k->client, LM_CLIENT_RENEW, &request, timeout_ms, arena, &message);
    if (result.grpc_status == 0) {
        const lm_api_renew_response_t *r = message;
        *deadline_us = lm_client_deadline_us(result.sent_us, r->lease_remaining_ms);
    }
    return result;
}

static bool is_over(lm_keeper_t *k)
{
    if (lm_client_clock_us() < atomic_load(&k->deadline_us)) return false;
    lose(k, "the lease ran out before it could be renewed");
    return true;
}

/** Renews once; false when the hold is lost for good. */
static bool renew(lm_keeper_t *k, lm_arena_t *arena)
{
    if (is_over(k)) return false;
    uint64_t deadline = atomic_load(&k->deadline_us), now = lm_client_clock_us();
    /* An answer after the deadline is of no use, and one slow node must not use the time up. */
    uint64_t left_ms = deadline > now ? (deadline - now) / 1000 + 1 : 1;
    uint64_t timeout_ms = left_ms > 4 ? left_ms / 2 : left_ms;
    lm_client_result_t result = ask_for_more(k, timeout_ms, arena, &deadline);
    if (is_over(k)) return false; /* somebody may have been told so while the answer came */
    if (result.own && result.code == LM_RC_STALE_HOLD && result.grpc_status != 0) {
        lose(k, result.text);
        return false;
    }
    atomic_store(&k->deadline_us, deadline); /* the same if there is no answer: again until then */
    return true;
}

/* A hold that was waited for may have been granted long after its Acquire was sent, from which its
 * time counts (S6): one that has almost none left is renewed before anybody uses it. */
static void begin_time(lm_keeper_t *k, const lm_api_acquire_response_t *grant,
                       const lm_client_result_t *result)
{
    uint64_t deadline = lm_client_deadline_us(result->sent_us, grant->lease_remaining_ms);
    if (lm_client_clock_us() + k->ttl_us / 3 >= deadline) {
        lm_arena_t *arena = lm_arena_new();
        ask_for_more(k, (uint64_t)grant->ttl_ms, arena, &deadline);
        lm_arena_destroy(&arena);
    }
    atomic_store(&k->deadline_us, deadline);
}

/** Waits until it is time for the next renewal; false when the keeper shall stop. */
static bool wait_turn(lm_keeper_t *k, uint64_t pause_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + pause_us % 1000000 * 1000;
    until.tv_sec += (time_t)(pause_us / 1000000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&k->mutex);
    int rc = 0;
    while (!k->stopping && rc == 0) rc = pthread_cond_timedwait(&k->stop_wanted, &k->mutex, &until);
    bool go_on = !k->stopping;
    pthread_mutex_unlock(&k->mutex);
    return go_on;
}

static uint64_t next_pause_us(const lm_keeper_t *k)
{
    uint64_t now = lm_client_clock_us(), deadline = atomic_load(&k->deadline_us);
    uint64_t left = deadline > now ? deadline - now : 0;
    uint64_t third = k->ttl_us / 3;
    if (left > 2 * third) return left - 2 * third; /* fresh: at a third of the length */
    uint64_t retry = third / 10 < 20000 ? 20000 : third / 10;
    return left < retry ? left : retry; /* late: soon again, at the latest at its end */
}

/* The clock of the waits stands still while the machine sleeps: after each second it is looked at
 * how much time is left. */
static void *keep(void *arg)
{
    lm_keeper_t *k = arg;
    lm_arena_t *arena = lm_arena_new();
    for (;;) {
        uint64_t pause_us = next_pause_us(k);
        bool due = pause_us <= LOOK_EVERY_US;
        if (!wait_turn(k, due ? pause_us : LOOK_EVERY_US)) break;
        if (due && !renew(k, arena)) break;
        lm_arena_reset(arena);
    }
    lm_arena_destroy(&arena);
    return NULL;
}

lm_keeper_t *lm_keeper_start(lm_client_t *client, const char *name, const char *owner,
                             const lm_api_acquire_response_t *grant,
                             const lm_client_result_t *result, int lost_fd)
{
    lm_keeper_t *k = lm_alloc(sizeof *k);
    pthread_condattr_t monotonic;
    k->client = client;
    k->name = strdup(name);
    k->owner = strdup(owner);
    k->hold_id = text_of(grant->hold_id);
    k->ttl_us = (uint64_t)grant->ttl_ms * 1000;
    k->lost_fd = lost_fd;
    begin_time(k, grant, result);
    pthread_mutex_init(&k->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->stop_wanted, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_create(&k->thread, NULL, keep, k);
    return k;
}

bool lm_keeper_holds(const lm_keeper_t *k)
{
    return !atomic_load(&k->lost) && lm_client_clock_us() < atomic_load(&k->deadline_us);
}

const char *lm_keeper_cause(const lm_keeper_t *k) { return atomic_load(&k->lost) ? k->cause : ""; }

static void release_hold(lm_keeper_t *k)
{
    lm_arena_t *arena = lm_arena_new();
    lm_api_release_request_t request = {.name = lm_bytes_of(k->name),
                                        .owner = lm_bytes_of(k->owner),
                                        .hold_id = lm_bytes_of(k->hold_id)};
    const void *message = NULL;
    uint64_t now = lm_client_clock_us(), deadline = atomic_load(&k->deadline_us);
    /* Beyond the deadline the lease ends by itself. */
    uint64_t timeout_ms = deadline > now ? (deadline - now) / 1000 + 1 : 1;
    lm_client_call(k->client, LM_CLIENT_RELEASE, &request, timeout_ms, arena, &message);
    lm_arena_destroy(&arena);
}

bool lm_keeper_stop(lm_keeper_t **keeper, bool release)
{
    lm_keeper_t *k = *keeper;
    if (!k) return false;
    pthread_mutex_lock(&k->mutex);
    k->stopping = true;
    pthread_cond_signal(&k->stop_wanted);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    bool held = lm_keeper_holds(k);
    if (held && release) release_hold(k);
    pthread_cond_destroy(&k->stop_wanted);
    pthread_mutex_destroy(&k->mutex);
    free(k->name);
    free(k->owner);
    free(k->hold_id);
    free(k);
    *keeper = NULL;
    return held;
}
