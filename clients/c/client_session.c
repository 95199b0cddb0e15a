#include "client_session.h"

#include <grpc/support/time.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base_check.h"
#include "client_session_state.h"

enum {
    OPEN_TIMEOUT_MS = 5000,
    WINDOW = 16,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_DENIED = 7,
    GRPC_EXHAUSTED = 8,
    POLL_MS = 50
};

const char *lm_session_state_name(lm_session_state_t state)
{
    static const char *const names[] = {"safe", "jeopardy", "lost"};
    return names[state];
}

/* ---- file descriptors ------------------------------------------------------------------------ */

static void ring(int fd)
{
    uint64_t one = 1;
    LM_CHECK(write(fd, &one, sizeof one) == (ssize_t)sizeof one, "an eventfd that is full");
}

static void drain(int fd)
{
    uint64_t count;
    /* Nothing to read is fine: somebody else was faster. */
    if (read(fd, &count, sizeof count) < 0) return;
}

static void close_fds(lm_session_fds_t *fds)
{
    int all[] = {fds->epoll, fds->timer, fds->change, fds->bell};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] >= 0) close(all[i]);
}

/** False: the process has no file descriptor left. */
static bool open_fds(lm_session_fds_t *fds)
{
    struct epoll_event event = {.events = EPOLLIN};
    fds->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fds->change = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fds->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    fds->epoll = epoll_create1(EPOLL_CLOEXEC);
    bool good = fds->bell >= 0 && fds->change >= 0 && fds->timer >= 0 && fds->epoll >= 0 &&
                epoll_ctl(fds->epoll, EPOLL_CTL_ADD, fds->bell, &event) == 0 &&
                epoll_ctl(fds->epoll, EPOLL_CTL_ADD, fds->timer, &event) == 0;
    if (!good) close_fds(fds);
    return good;
}

/** The timer counts on while the machine sleeps, so a deadline that passed then is seen at once. */
static void arm(lm_session_t *s, uint64_t now_us)
{
    uint64_t wake_us = lm_lease_wake_us(&s->lease, now_us);
    const uint64_t others[] = {lm_job_wake_us(s), lm_keep_wake_us(s)};
    for (size_t i = 0; i < 2; i++)
        if (others[i] < wake_us) wake_us = others[i];
    struct itimerspec at = {0};
    if (wake_us != UINT64_MAX) {
        at.it_value.tv_sec = (time_t)(wake_us / 1000000);
        at.it_value.tv_nsec = (long)(wake_us % 1000000 * 1000 + 1); /* 0 would disarm it */
    }
    timerfd_settime(s->fds.timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- running --------------------------------------------------------------------------------- */

static lm_session_state_t state_of(lm_session_t *s, uint64_t now_us)
{
    lm_keep_collect(s, now_us);
    return (lm_session_state_t)lm_lease_state(&s->lease, now_us);
}

static lm_session_state_t turn(lm_session_t *s)
{
    pthread_mutex_lock(&s->telling);
    pthread_mutex_lock(&s->mutex);
    drain(s->fds.bell);
    drain(s->fds.timer);
    uint64_t now_us = lm_client_clock_us();
    lm_job_turn(s, now_us);
    arm(s, now_us);
    lm_session_state_t state = state_of(s, now_us);
    bool changed = state != s->told && !s->stopping;
    s->told = state;
    if (changed) ring(s->fds.change);
    pthread_mutex_unlock(&s->mutex);
    if (changed && s->on_change) s->on_change(s->arg, state);
    pthread_mutex_unlock(&s->telling);
    return state;
}

static bool is_stopping(lm_session_t *s)
{
    pthread_mutex_lock(&s->mutex);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return stopping;
}

/** What the loop of a caller would do. */
static void *loop(void *arg)
{
    lm_session_t *s = arg;
    struct pollfd fd = {.fd = s->fds.epoll, .events = POLLIN};
    while (!is_stopping(s)) {
        turn(s);
        poll(&fd, 1, -1);
    }
    return NULL;
}

/** Waits for what gRPC has to say; gRPC reads its sockets in threads that do so. */
static void *carry(void *arg)
{
    lm_session_t *s = arg;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type != GRPC_OP_COMPLETE) return NULL;
        pthread_mutex_lock(&s->mutex);
        lm_job_arrived(s, (lm_job_t *)event.tag);
        pthread_cond_broadcast(&s->job_done);
        ring(s->fds.bell);
        pthread_mutex_unlock(&s->mutex);
    }
}

/** Signals are for the threads of the program. */
static void begin_threads(lm_session_t *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    LM_CHECK(pthread_create(&s->courier, NULL, carry, s) == 0, "no thread");
    if (s->own_thread) LM_CHECK(pthread_create(&s->loop, NULL, loop, s) == 0, "no thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int lm_session_fd(const lm_session_t *s) { return s->own_thread ? s->fds.change : s->fds.epoll; }

lm_session_state_t lm_session_step(lm_session_t *s)
{
    if (!s->own_thread) return turn(s);
    drain(s->fds.change);
    return lm_session_state(s);
}

/* ---- opening --------------------------------------------------------------------------------- */

static lm_client_result_t refusal(lm_rc_t code, int grpc_status, const char *text)
{
    lm_client_result_t result = {
        .grpc_status = grpc_status, .code = code, .own = true, .not_applied = true};
    snprintf(result.text, sizeof result.text, "%.255s", text);
    return result;
}

typedef struct {
    char *id, *secret;
    int64_t ttl_ms, remaining_ms;
    uint64_t sent_us;
} opened_t;

static char *text_of(lm_bytes_t bytes) { return strndup((const char *)bytes.data, bytes.size); }

static bool open_new(lm_client_t *client, const lm_session_options_t *o, const char *name,
                     lm_arena_t *arena, lm_client_result_t *result, opened_t *opened)
{
    const void *message = NULL;
    lm_api_open_session_request_t request = {.client = lm_bytes_of(name), .ttl_ms = o->ttl_ms};
    *result = lm_client_call(client, LM_CLIENT_OPEN_SESSION, &request,
                             o->timeout_ms ? o->timeout_ms : OPEN_TIMEOUT_MS, arena, &message);
    if (result->grpc_status != 0) return false;
    const lm_api_open_session_response_t *r = message;
    *opened = (opened_t){text_of(r->session_id), text_of(r->secret), r->ttl_ms,
                         r->lease_remaining_ms, result->sent_us};
    return true;
}

static bool join(lm_client_t *client, const lm_session_options_t *o, lm_arena_t *arena,
                 lm_client_result_t *result, opened_t *opened)
{
    const void *message = NULL;
    lm_api_keep_alive_request_t request = {.session_id = lm_bytes_of(o->session_id),
                                           .secret = lm_bytes_of(o->secret)};
    *result = lm_client_call(client, LM_CLIENT_KEEP_ALIVE, &request,
                             o->timeout_ms ? o->timeout_ms : OPEN_TIMEOUT_MS, arena, &message);
    if (result->grpc_status != 0) return false;
    const lm_api_keep_alive_response_t *r = message;
    if (r->result != LM_API_KEEP_ALIVE_RESULT_ALIVE) {
        bool denied = r->result == LM_API_KEEP_ALIVE_RESULT_DENIED;
        result->grpc_status = denied ? GRPC_DENIED : GRPC_FAILED_PRECONDITION;
        result->code = denied ? LM_RC_SESSION_DENIED : LM_RC_SESSION_ENDED;
        result->not_applied = true;
        snprintf(result->text, sizeof result->text, "%s", lm_rc_text(result->code));
        return false;
    }
    *opened = (opened_t){strdup(o->session_id), strdup(o->secret), r->ttl_ms, r->lease_remaining_ms,
                         result->sent_us};
    return true;
}

static lm_session_t *make(lm_client_t *client, const lm_session_options_t *o, const char *name,
                          const lm_session_fds_t *fds, const opened_t *opened)
{
    lm_session_t *s = lm_alloc(sizeof *s);
    *s = (lm_session_t){.client = client,
                        .name = strdup(name),
                        .id = opened->id,
                        .secret = opened->secret,
                        .own_thread = o->own_thread,
                        .on_change = o->on_change,
                        .arg = o->arg,
                        .fds = *fds,
                        .keeper = {.method = LM_CLIENT_KEEP_ALIVE, .done_fd = -1}};
    pthread_mutex_init(&s->telling, NULL);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->job_done, NULL);
    lm_lease_begin(&s->lease, opened->sent_us, opened->ttl_ms, opened->remaining_ms);
    s->holds = lm_holds_new(o->session_id ? 0 : WINDOW);
    s->keeper.arena = lm_arena_new();
    s->keep.arena = s->keeper.arena;
    s->keep.bell = fds->bell;
    s->scratch = lm_arena_new();
    s->queue = grpc_completion_queue_create_for_next(NULL);
    arm(s, lm_client_clock_us());
    begin_threads(s);
    return s;
}

static void make_name(char name[160])
{
    char host[64] = "host";
    gethostname(host, sizeof host - 1);
    snprintf(name, 160, "%s-%d", host, (int)getpid());
}

static bool open_or_join(lm_client_t *client, const lm_session_options_t *o, const char *name,
                         lm_client_result_t *result, opened_t *opened)
{
    lm_arena_t *arena = lm_arena_new();
    bool there = o->session_id ? join(client, o, arena, result, opened)
                               : open_new(client, o, name, arena, result, opened);
    lm_arena_destroy(&arena);
    return there;
}

lm_session_t *lm_session_open(lm_client_t *client, const lm_session_options_t *options,
                              lm_client_result_t *result)
{
    char made[160];
    opened_t opened;
    lm_session_fds_t fds;
    lm_client_result_t unwanted;
    if (!result) result = &unwanted;
    if (!options->client) make_name(made);
    const char *name = options->client ? options->client : made;
    if (!open_fds(&fds)) {
        *result = refusal(LM_RC_QUOTA_EXCEEDED, GRPC_EXHAUSTED, "no file descriptor is left");
        return NULL;
    }
    if (open_or_join(client, options, name, result, &opened))
        return make(client, options, name, &fds, &opened);
    close_fds(&fds);
    return NULL;
}

/* ---- closing --------------------------------------------------------------------------------- */

/** Nothing is begun any more, and what is under way ends. */
static void stop(lm_session_t *s)
{
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    ring(s->fds.bell);
    pthread_mutex_unlock(&s->mutex);
    if (s->own_thread) pthread_join(s->loop, NULL);
    pthread_mutex_lock(&s->mutex);
    lm_job_cancel_all(s);
    while (lm_job_any(s)) pthread_cond_wait(&s->job_done, &s->mutex);
    while (s->jobs) lm_job_remove(s, s->jobs);
    pthread_mutex_unlock(&s->mutex);
    grpc_completion_queue_shutdown(s->queue);
    pthread_join(s->courier, NULL);
    grpc_completion_queue_destroy(s->queue);
}

static void tell_end(lm_session_t *s, uint64_t timeout_ms)
{
    const void *message = NULL;
    lm_arena_t *arena = lm_arena_new();
    lm_api_close_session_request_t request = {.session_id = lm_bytes_of(s->id),
                                              .secret = lm_bytes_of(s->secret)};
    lm_client_call(s->client, LM_CLIENT_CLOSE_SESSION, &request, timeout_ms, arena, &message);
    lm_arena_destroy(&arena);
}

bool lm_session_close(lm_session_t **session, uint64_t timeout_ms)
{
    lm_session_t *s = *session;
    if (!s) return false;
    stop(s);
    bool kept = lm_session_state(s) != LM_SESSION_LOST;
    if (kept && timeout_ms) tell_end(s, timeout_ms);
    close_fds(&s->fds);
    lm_holds_destroy(&s->holds);
    lm_arena_destroy(&s->keeper.arena);
    lm_arena_destroy(&s->scratch);
    pthread_cond_destroy(&s->job_done);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->telling);
    free(s->name);
    free(s->id);
    explicit_bzero(s->secret, strlen(s->secret));
    free(s->secret);
    free(s);
    *session = NULL;
    return kept;
}

/* ---- looking --------------------------------------------------------------------------------- */

lm_session_state_t lm_session_state(lm_session_t *s)
{
    pthread_mutex_lock(&s->mutex);
    lm_session_state_t state = state_of(s, lm_client_clock_us());
    pthread_mutex_unlock(&s->mutex);
    return state;
}

const char *lm_session_cause(lm_session_t *s)
{
    return lm_session_state(s) == LM_SESSION_LOST ? s->lease.cause : "";
}

uint64_t lm_session_deadline_us(lm_session_t *s)
{
    pthread_mutex_lock(&s->mutex);
    lm_keep_collect(s, lm_client_clock_us());
    uint64_t end_us = s->lease.end_us;
    pthread_mutex_unlock(&s->mutex);
    return end_us;
}

const char *lm_session_id(const lm_session_t *s) { return s->id; }
const char *lm_session_secret(const lm_session_t *s) { return s->secret; }
const char *lm_session_client(const lm_session_t *s) { return s->name; }

int64_t lm_session_ttl_ms(lm_session_t *s)
{
    pthread_mutex_lock(&s->mutex);
    int64_t ttl_ms = (int64_t)(s->lease.ttl_us / 1000);
    pthread_mutex_unlock(&s->mutex);
    return ttl_ms;
}

bool lm_session_holds(lm_session_t *s, const char *name)
{
    pthread_mutex_lock(&s->mutex);
    const lm_hold_t *hold = lm_holds_find(s->holds, lm_bytes_of(name));
    bool held =
        hold && hold->state == LM_HOLD_HELD && state_of(s, lm_client_clock_us()) != LM_SESSION_LOST;
    pthread_mutex_unlock(&s->mutex);
    return held;
}

uint64_t lm_session_orphans(lm_session_t *s)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t orphans = s->orphans;
    pthread_mutex_unlock(&s->mutex);
    return orphans;
}

/* ---- locks ----------------------------------------------------------------------------------- */

/** Until the job is done; called and left with the mutex held. */
static void wait_for(lm_session_t *s, lm_job_t *job)
{
    struct pollfd fds[] = {{.fd = s->fds.epoll, .events = POLLIN},
                           {.fd = job->done_fd, .events = POLLIN}};
    ring(s->fds.bell);
    while (!job->done) {
        if (s->own_thread) {
            pthread_cond_wait(&s->job_done, &s->mutex);
            continue;
        }
        pthread_mutex_unlock(&s->mutex);
        turn(s);
        poll(fds, 2, job->done_fd >= 0 ? -1 : POLL_MS);
        pthread_mutex_lock(&s->mutex);
    }
}

/** Makes a call about a hold and waits for its end; called and left with the mutex held. */
static void make_call(lm_session_t *s, lm_job_t *job, uint64_t end_us)
{
    job->waited_for = true;
    job->end_us = end_us;
    job->done_fd = s->own_thread ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lm_job_add(s, job);
    wait_for(s, job);
    lm_job_remove(s, job);
    if (job->done_fd >= 0) close(job->done_fd);
}

/** Waits for something to happen, but not long; called and left with the mutex held. */
static void wait_a_bit(lm_session_t *s)
{
    struct pollfd fd = {.fd = s->fds.epoll, .events = POLLIN};
    struct timespec until;
    if (s->own_thread) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)POLL_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_clockwait(&s->job_done, &s->mutex, CLOCK_MONOTONIC, &until);
        return;
    }
    pthread_mutex_unlock(&s->mutex);
    turn(s);
    poll(&fd, 1, POLL_MS);
    pthread_mutex_lock(&s->mutex);
}

/** Until nothing that was given up under this name is unsettled any more: what becomes of it would
 *  be taken for what becomes of the new request. Returns false at end_us. */
static bool wait_settled(lm_session_t *s, lm_bytes_t name, uint64_t end_us)
{
    for (;;) {
        const lm_hold_t *hold = lm_holds_find(s->holds, name);
        uint64_t now_us = lm_client_clock_us();
        if (!hold || !lm_holds_is_given_up(hold)) return true;
        if (state_of(s, now_us) == LM_SESSION_LOST) return true;
        if (now_us >= end_us) return false;
        wait_a_bit(s);
    }
}

lm_client_result_t lm_session_acquire(lm_session_t *s, const char *name, lm_api_lock_mode_t mode,
                                      int64_t wait_ms, uint64_t timeout_ms, lm_arena_t *arena,
                                      const lm_api_acquire_response_t **response)
{
    char id[33];
    lm_job_t job = {.method = LM_CLIENT_ACQUIRE, .mode = mode, .wait_ms = wait_ms, .arena = arena};
    lm_client_make_id(id);
    uint64_t end_us = lm_client_clock_us() + timeout_ms * 1000;
    pthread_mutex_lock(&s->mutex);
    bool settled = wait_settled(s, lm_bytes_of(name), end_us);
    if (state_of(s, lm_client_clock_us()) == LM_SESSION_LOST) {
        job.result = refusal(LM_RC_SESSION_ENDED, GRPC_FAILED_PRECONDITION, s->lease.cause);
    } else if (!settled) {
        job.result = refusal(LM_RC_DEADLINE_EXCEEDED, 4, "an earlier request is not settled yet");
    } else if (!(job.hold = lm_holds_want(s->holds, lm_bytes_of(name), id))) {
        job.result = refusal(LM_RC_INVALID_ARGUMENT, 3, "the session has it, or waits for it");
    } else {
        make_call(s, &job, end_us);
    }
    pthread_mutex_unlock(&s->mutex);
    if (job.result.grpc_status == 0) *response = job.response;
    return job.result;
}

lm_client_result_t lm_session_release(lm_session_t *s, const char *name, uint64_t timeout_ms)
{
    char id[33];
    lm_job_t job = {.method = LM_CLIENT_RELEASE, .arena = lm_arena_new()};
    lm_client_make_id(id);
    pthread_mutex_lock(&s->mutex);
    job.hold = lm_holds_find(s->holds, lm_bytes_of(name));
    if (state_of(s, lm_client_clock_us()) == LM_SESSION_LOST) {
        job.result = refusal(LM_RC_SESSION_ENDED, GRPC_FAILED_PRECONDITION, s->lease.cause);
    } else if (!job.hold || job.hold->state != LM_HOLD_HELD) {
        job.result = refusal(LM_RC_STALE_HOLD, GRPC_FAILED_PRECONDITION, "it is not held");
    } else {
        lm_holds_return(s->holds, job.hold, id);
        make_call(s, &job, lm_client_clock_us() + timeout_ms * 1000);
    }
    pthread_mutex_unlock(&s->mutex);
    lm_arena_destroy(&job.arena);
    return job.result;
}
