/* The keep-alives of a session: over the stream that its client's sessions share, or as calls.
 *
 *   due --> on the stream --answer--> noted
 *    |         |     \---silence----> failed; the next ones are calls
 *    |         v broke, or no stream
 *    +------> call --answer, or none-> noted, or failed
 *
 * Invariants
 *   V1  At most one keep-alive is under way: on the stream or as a call.
 *   V2  The lease counts from when the one that was answered was sent (S6), whichever way it took.
 *   V3  A stream that breaks is no failure of the node: a call follows at once, within the time
 *       that the keep-alive has. */
#include <stdio.h>

#include "client_session_state.h"

enum {
    GRPC_DEADLINE_EXCEEDED = 4,
    CALLS_AFTER_BREAK = 1,
    /* Whatever keeps a stream silent may do so again, and each time costs a part of the lease. */
    CALLS_AFTER_SILENCE = 20,
};

/* ---- what comes of it ------------------------------------------------------------------------ */

static void end_by_answer(lm_session_t *s, lm_api_keep_alive_result_t result)
{
    lm_lease_lose(&s->lease, result == LM_API_KEEP_ALIVE_RESULT_DENIED
                                 ? "denied: it is not this caller's, or the secret is wrong"
                                 : "ended: the region does not have it any more");
}

static void failed(lm_session_t *s, uint64_t now_us)
{
    const lm_job_t *job = &s->keeper;
    uint32_t chance = (uint32_t)(now_us * 2654435761U >> 8);
    lm_client_leave(s->client, job->endpoint);
    lm_lease_failed(&s->lease, now_us, chance);
    bool silent = !job->result.own && job->result.grpc_status == GRPC_DEADLINE_EXCEEDED;
    if (silent && lm_client_endpoints(s->client) > 1) lm_job_move_from(s, job->endpoint);
}

static void noted(lm_session_t *s, uint64_t now_us)
{
    lm_job_t *job = &s->keeper;
    const lm_api_keep_alive_response_t *r = job->response;
    size_t orphans = 0;
    lm_job_note_end(s, job);
    if (job->result.grpc_status != 0) {
        failed(s, now_us);
        return;
    }
    if (r->result != LM_API_KEEP_ALIVE_RESULT_ALIVE) {
        end_by_answer(s, r->result);
        return;
    }
    lm_lease_kept(&s->lease, now_us, job->result.sent_us, r->ttl_ms, r->lease_remaining_ms);
    if (!s->lease.lost) lm_holds_told(s->holds, job->sequence, r, &orphans);
    s->orphans += orphans;
}

void lm_keep_arrived(lm_session_t *s, uint64_t now_us)
{
    if (s->keeper.result.grpc_status == 0 && s->calls_due > 0) s->calls_due--;
    noted(s, now_us);
    lm_arena_reset(s->keeper.arena);
}

/* ---- over the stream ------------------------------------------------------------------------- */

static void answered(lm_session_t *s, uint64_t now_us)
{
    s->keeper.endpoint = s->keep.endpoint;
    s->keeper.result =
        (lm_client_result_t){.code = LM_RC_OK, .own = true, .sent_us = s->keep.sent_us};
    s->keeper.response = s->keep.response;
    noted(s, now_us);
    lm_arena_reset(s->keeper.arena);
}

void lm_keep_collect(lm_session_t *s, uint64_t now_us)
{
    if (!s->keep.under_way || !lm_keeps_collect(lm_client_keeps(s->client), &s->keep)) return;
    if (s->keep.response) {
        answered(s, now_us);
        return;
    }
    s->keep_broke = true;
    s->calls_due = CALLS_AFTER_BREAK;
}

static void give_up(lm_session_t *s, uint64_t now_us)
{
    lm_keeps_forget(lm_client_keeps(s->client), &s->keep, true);
    s->calls_due = CALLS_AFTER_SILENCE;
    s->keeper.endpoint = s->keep.endpoint;
    s->keeper.result = (lm_client_result_t){.grpc_status = GRPC_DEADLINE_EXCEEDED,
                                            .code = LM_RC_DEADLINE_EXCEEDED};
    snprintf(s->keeper.result.text, sizeof s->keeper.result.text, "no answer on the stream");
    noted(s, now_us);
}

uint64_t lm_keep_wake_us(const lm_session_t *s)
{
    return s->keep.under_way ? s->keep_until_us : UINT64_MAX;
}

/* ---- sending --------------------------------------------------------------------------------- */

static lm_bytes_t encode(lm_session_t *s)
{
    lm_api_keep_alive_request_t request = {.session_id = lm_bytes_of(s->id),
                                           .secret = lm_bytes_of(s->secret)};
    s->keeper.sequence = lm_holds_ask(s->holds, &request);
    lm_arena_reset(s->scratch);
    return lm_client_encode(LM_CLIENT_KEEP_ALIVE, &request, s->scratch);
}

static void send(lm_session_t *s, uint64_t timeout_ms)
{
    lm_bytes_t request = encode(s);
    if (s->calls_due == 0 && lm_keeps_send(lm_client_keeps(s->client), lm_client_current(s->client),
                                           lm_bytes_of(s->id), request, &s->keep))
        return;
    lm_job_start(s, &s->keeper, request, timeout_ms);
}

void lm_keep_turn(lm_session_t *s, uint64_t now_us)
{
    uint64_t timeout_ms;
    lm_keep_collect(s, now_us);
    if (s->keep.under_way && now_us >= s->keep_until_us) give_up(s, now_us);
    if (s->keep_broke) {
        s->keep_broke = false;
        uint64_t left_us = s->keep_until_us > now_us ? s->keep_until_us - now_us : 0;
        if (!s->lease.lost) lm_job_start(s, &s->keeper, encode(s), left_us / 1000 + 1);
    }
    if (!lm_lease_send(&s->lease, now_us, &timeout_ms)) return;
    s->keep_until_us = now_us + timeout_ms * 1000;
    send(s, timeout_ms);
}

void lm_keep_cancel(lm_session_t *s)
{
    if (s->keeper.under_way) grpc_call_cancel(s->keeper.attempt.call, NULL);
    if (s->keep.under_way) lm_keeps_forget(lm_client_keeps(s->client), &s->keep, false);
}
