/* The calls of a session: what callers wait for, and the settling of what they gave up.
 *
 *   due --> under way --answered--> done
 *    ^         |   \----late-----> done, or given up
 *    +--pause--+ no answer, or none that says anything
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_check.h"
#include "client_session_state.h"

enum {
    SETTLING_MAX = 4,
    SETTLE_TIMEOUT_MS = 5000,
    SETTLE_PAUSE_MS = 100,
    EARN_PAUSE_MS = 200,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_FAILED_PRECONDITION = 9,
};

/* ---- what is sent ---------------------------------------------------------------------------- */

static lm_api_session_part_t part_of(const lm_session_t *s, const lm_hold_t *hold)
{
    return (lm_api_session_part_t){
        .session_id = lm_bytes_of(s->id),
        .secret = lm_bytes_of(s->secret),
        .request_number = hold->number,
        .done_below = lm_holds_done_below(s->holds),
    };
}

static lm_bytes_t encode_acquire(lm_session_t *s, const lm_job_t *job)
{
    lm_api_session_part_t part = part_of(s, job->hold);
    lm_api_acquire_request_t request = {
        .name = lm_bytes_of(job->hold->name),
        .request_id = lm_bytes_of(job->hold->request_id),
        .mode = job->mode,
        .wait_ms = job->wait_ms,
        .session = &part,
    };
    return lm_client_encode(LM_CLIENT_ACQUIRE, &request, s->scratch);
}

static lm_bytes_t encode_release(lm_session_t *s, const lm_job_t *job)
{
    lm_api_session_part_t part = part_of(s, job->hold);
    lm_api_release_request_t request = {
        .name = lm_bytes_of(job->hold->name),
        .hold_id = lm_bytes_of(job->hold->hold_id),
        .request_id = lm_bytes_of(job->hold->request_id),
        .session = &part,
    };
    return lm_client_encode(LM_CLIENT_RELEASE, &request, s->scratch);
}

static lm_bytes_t encode_cancel(lm_session_t *s, const lm_job_t *job)
{
    lm_api_session_part_t part = part_of(s, job->hold);
    lm_api_cancel_request_t request = {
        .request_id = lm_bytes_of(job->hold->request_id),
        .session = &part,
    };
    return lm_client_encode(LM_CLIENT_CANCEL, &request, s->scratch);
}

static lm_bytes_t encode(lm_session_t *s, lm_job_t *job)
{
    lm_arena_reset(s->scratch);
    if (job->method == LM_CLIENT_ACQUIRE) return encode_acquire(s, job);
    if (job->method == LM_CLIENT_RELEASE) return encode_release(s, job);
    return encode_cancel(s, job);
}

void lm_job_start(lm_session_t *s, lm_job_t *job, lm_bytes_t request, uint64_t timeout_ms)
{
    job->endpoint = lm_client_current(s->client);
    job->under_way = true;
    job->result = (lm_client_result_t){.attempts = job->result.attempts + 1};
    snprintf(job->result.endpoint, sizeof job->result.endpoint, "%s",
             lm_client_endpoint(s->client, job->endpoint));
    bool started = lm_attempt_begin(&job->attempt, lm_client_channels(s->client), job->endpoint,
                                    lm_client_row(job->method), request, timeout_ms, s->queue);
    LM_CHECK(started, "gRPC refuses a batch to %s", job->result.endpoint);
}

/* ---- the list -------------------------------------------------------------------------------- */

void lm_job_add(lm_session_t *s, lm_job_t *job)
{
    LM_CHECK(!job->hold->busy, "two jobs about %s", job->hold->name);
    job->hold->busy = true;
    job->next = s->jobs;
    s->jobs = job;
    lm_client_count_call(s->client);
    if (!job->waited_for) s->n_settling++;
}

void lm_job_remove(lm_session_t *s, lm_job_t *job)
{
    lm_job_t **at = &s->jobs;
    LM_CHECK(!job->under_way, "a job is under way");
    while (*at != job) at = &(*at)->next;
    *at = job->next;
    if (job->waited_for) return;
    s->n_settling--;
    lm_arena_destroy(&job->arena);
    free(job);
}

void lm_job_cancel_all(lm_session_t *s)
{
    lm_keep_cancel(s);
    for (lm_job_t *job = s->jobs; job; job = job->next)
        if (job->under_way) grpc_call_cancel(job->attempt.call, NULL);
}

bool lm_job_any(const lm_session_t *s)
{
    bool any = s->keeper.under_way;
    for (const lm_job_t *job = s->jobs; job; job = job->next) any = any || job->under_way;
    return any;
}

/** Its hold is free for others; whoever waits is told. */
static void finish(lm_session_t *s, lm_job_t *job)
{
    uint64_t one = 1;
    job->done = true;
    job->hold->busy = false;
    if (job->done_fd >= 0 && write(job->done_fd, &one, sizeof one) != (ssize_t)sizeof one)
        perror("lockmgr session: eventfd");
    pthread_cond_broadcast(&s->job_done);
}

/* ---- what it means --------------------------------------------------------------------------- */

static bool is_code(const lm_job_t *job, lm_rc_t code)
{
    return job->result.grpc_status != 0 && job->result.own && job->result.code == code;
}

void lm_job_note_end(lm_session_t *s, const lm_job_t *job)
{
    char cause[300];
    if (!is_code(job, LM_RC_SESSION_ENDED) && !is_code(job, LM_RC_SESSION_DENIED)) return;
    snprintf(cause, sizeof cause, "ended: %s", job->result.text);
    lm_lease_lose(&s->lease, cause);
}

static void acquired(lm_session_t *s, lm_job_t *job)
{
    const lm_api_acquire_response_t *r = job->response;
    if (job->result.grpc_status == 0 && r->result == LM_API_ACQUIRE_RESULT_GRANTED)
        lm_holds_granted(s->holds, job->hold, r->hold_id, r->token);
    else if (job->result.grpc_status == 0 || job->result.not_applied)
        lm_holds_over(s->holds, job->hold);
    else
        lm_holds_give_up(s->holds, job->hold);
}

static void released(lm_session_t *s, lm_job_t *job)
{
    if (job->result.grpc_status == 0 || is_code(job, LM_RC_STALE_HOLD))
        lm_holds_over(s->holds, job->hold);
    else if (job->hold->state == LM_HOLD_RETURNING)
        lm_holds_give_up(s->holds, job->hold);
}

static void cancelled(lm_session_t *s, lm_job_t *job)
{
    const lm_api_cancel_response_t *r = job->response;
    if (r->result == LM_API_CANCEL_RESULT_GRANTED)
        lm_holds_granted(s->holds, job->hold, r->hold_id, r->token);
    else
        lm_holds_over(s->holds, job->hold);
}

/** No more attempts: what is known now counts. */
static void conclude(lm_session_t *s, lm_job_t *job)
{
    job->result.not_applied = job->result.grpc_status != 0 && !job->unknown;
    if (job->method == LM_CLIENT_ACQUIRE)
        acquired(s, job);
    else if (job->method == LM_CLIENT_RELEASE)
        released(s, job);
    else
        cancelled(s, job);
    finish(s, job);
    if (!job->waited_for) lm_job_remove(s, job);
}

/** The region has no room for another number: this one will not be used (H2). */
static bool takes_an_id(lm_session_t *s, lm_job_t *job)
{
    char id[33];
    if (!is_code(job, LM_RC_WINDOW_FULL) || job->hold->number == 0) return false;
    if (job->method == LM_CLIENT_CANCEL || job->unknown) return false;
    lm_client_make_id(id);
    lm_holds_renumber(s->holds, job->hold, id);
    return true;
}

static bool goes_on(lm_session_t *s, lm_job_t *job)
{
    bool moves = job->moves;
    job->moves = false;
    if (s->lease.lost || s->stopping) return false;
    if (job->result.grpc_status == 0) return false;
    if (moves) return true;
    if (takes_an_id(s, job)) return true;
    if (!job->waited_for) return !is_code(job, LM_RC_STALE_HOLD);
    return lm_client_repeats(&job->result);
}

static void end_lost(lm_session_t *s, lm_job_t *job)
{
    if (job->waited_for) {
        bool answered = job->result.attempts > 0 && job->result.grpc_status == 0;
        job->result.grpc_status = GRPC_FAILED_PRECONDITION;
        job->result.code = LM_RC_SESSION_ENDED;
        job->result.own = true;
        job->result.not_applied = !job->unknown && !answered;
        snprintf(job->result.text, sizeof job->result.text, "the session is lost: %.200s",
                 s->lease.cause);
        if (job->hold->state != LM_HOLD_HELD) lm_holds_over(s->holds, job->hold);
    }
    finish(s, job);
    if (!job->waited_for) lm_job_remove(s, job);
}

static void call_arrived(lm_session_t *s, lm_job_t *job, uint64_t now_us)
{
    bool failed = job->result.grpc_status != 0;
    lm_job_note_end(s, job);
    job->unknown = job->unknown || (failed && !job->result.not_applied);
    if (lm_lease_state(&s->lease, now_us) == LM_LEASE_LOST &&
        (failed || job->method == LM_CLIENT_ACQUIRE)) {
        end_lost(s, job);
        return;
    }
    if (!goes_on(s, job)) {
        /* A job that nobody waits for and that has no answer ends with its session. */
        if (failed && !job->waited_for && !is_code(job, LM_RC_STALE_HOLD)) {
            finish(s, job);
            lm_job_remove(s, job);
        } else {
            conclude(s, job);
        }
        return;
    }
    lm_client_leave(s->client, job->endpoint);
    uint64_t pause_ms = lm_client_pause_ms(s->client, &job->result);
    bool patient = !job->waited_for && pause_ms < SETTLE_PAUSE_MS;
    job->due_us = now_us + 1000 * (patient ? SETTLE_PAUSE_MS : pause_ms);
    if (job->due_us >= job->end_us) conclude(s, job);
}

void lm_job_move_from(lm_session_t *s, size_t endpoint)
{
    for (lm_job_t *job = s->jobs; job; job = job->next) {
        if (!job->under_way || job->endpoint != endpoint) continue;
        job->moves = true;
        grpc_call_cancel(job->attempt.call, NULL);
    }
}

void lm_job_arrived(lm_session_t *s, lm_job_t *job)
{
    uint64_t now_us = lm_client_clock_us();
    lm_attempt_end(&job->attempt, lm_client_row(job->method), job->arena, &job->response,
                   &job->result);
    job->under_way = false;
    if (job == &s->keeper)
        lm_keep_arrived(s, now_us);
    else
        call_arrived(s, job, now_us);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/** Its time was over before it could be sent. */
static void too_late(lm_job_t *job)
{
    job->result = (lm_client_result_t){
        .grpc_status = GRPC_DEADLINE_EXCEEDED, .code = LM_RC_DEADLINE_EXCEEDED, .own = true};
    snprintf(job->result.text, sizeof job->result.text, "%s", lm_rc_text(job->result.code));
}

static void attend(lm_session_t *s, lm_job_t *job, uint64_t now_us)
{
    if (job->under_way || job->done) return;
    if (s->lease.lost) {
        end_lost(s, job);
        return;
    }
    if (now_us < job->due_us) return;
    if (job->end_us <= now_us) {
        if (job->result.attempts == 0) too_late(job);
        conclude(s, job);
        return;
    }
    if (job->result.attempts && !lm_client_may_repeat(s->client, &job->result)) {
        uint64_t due_us = now_us + UINT64_C(1000) * EARN_PAUSE_MS;
        job->due_us = due_us < job->end_us ? due_us : job->end_us;
        return;
    }
    uint64_t left_ms =
        job->end_us == UINT64_MAX ? SETTLE_TIMEOUT_MS : (job->end_us - now_us + 999) / 1000;
    lm_job_start(s, job, encode(s, job), left_ms);
}

static void settle(lm_session_t *s, lm_hold_t *hold, uint64_t now_us)
{
    bool cancels = hold->state == LM_HOLD_CANCELLING;
    lm_job_t *job = lm_alloc(sizeof *job);
    *job = (lm_job_t){.method = cancels ? LM_CLIENT_CANCEL : LM_CLIENT_RELEASE,
                      .hold = hold,
                      .end_us = UINT64_MAX,
                      .arena = lm_arena_new(),
                      .done_fd = -1};
    lm_job_add(s, job);
    attend(s, job, now_us);
}

void lm_job_turn(lm_session_t *s, uint64_t now_us)
{
    lm_hold_t *hold;
    if (s->stopping) return;
    lm_keep_turn(s, now_us);
    if (s->lease.lost) lm_job_cancel_all(s);
    for (lm_job_t *job = s->jobs, *next; job; job = next) {
        next = job->next;
        attend(s, job, now_us);
    }
    while (!s->lease.lost && s->n_settling < SETTLING_MAX &&
           (hold = lm_holds_given_up(s->holds)) != NULL)
        settle(s, hold, now_us);
}

uint64_t lm_job_wake_us(const lm_session_t *s)
{
    uint64_t wake_us = UINT64_MAX;
    for (const lm_job_t *job = s->jobs; job; job = job->next)
        if (!job->under_way && !job->done && job->due_us < wake_us) wake_us = job->due_us;
    return wake_us;
}
