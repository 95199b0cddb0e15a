#include "fill_jobs.h"

#include <time.h>

static void ignore(void *self, const fill_call_t *call)
{
    (void)self;
    (void)call;
}

/* ---- taking ---------------------------------------------------------------------------------- */

static fill_next_t take_next(void *self, uint64_t now_us, fill_call_t *call)
{
    fill_taking_t *t = self;
    uint64_t locks = fill_store_locks(t->store);
    while (t->at < locks && fill_store_hold(t->store, t->at).size > 0) t->at++;
    if (t->at == locks) return FILL_OVER;
    *call = (fill_call_t){.number = t->at++, .method = LM_CLIENT_ACQUIRE, .begin_us = now_us};
    return FILL_CALL;
}

static const void *take_request(void *self, const fill_call_t *call, lm_arena_t *arena)
{
    const fill_taking_t *t = self;
    lm_api_acquire_request_t *request = lm_arena_alloc(arena, sizeof *request);
    request->name = fill_store_name(arena, call->number);
    request->owner = fill_store_owner(arena, call->number);
    request->request_id = fill_store_request(arena, call->number);
    request->ttl_ms = (int64_t)t->ttl_ms;
    return request;
}

static bool take_answered(void *self, const fill_call_t *call, const void *response,
                          uint64_t now_us)
{
    (void)now_us;
    const fill_taking_t *t = self;
    const lm_api_acquire_response_t *r = response;
    return r->result == LM_API_ACQUIRE_RESULT_GRANTED &&
           fill_store_set(t->store, call->number, r->hold_id);
}

fill_job_t fill_jobs_take(fill_taking_t *self)
{
    return (fill_job_t){self, take_next, take_request, take_answered, ignore};
}

/* ---- renewing -------------------------------------------------------------------------------- */

static uint64_t next_chance(uint64_t *chance)
{
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    return *chance;
}

static fill_next_t renew_next(void *self, uint64_t now_us, fill_call_t *call)
{
    fill_renewing_t *r = self;
    uint64_t locks = fill_store_locks(r->store);
    if (r->left == 0) return FILL_OVER;
    uint64_t number = next_chance(&r->chance) % locks, begin = number;
    while (fill_store_hold(r->store, number).size == 0) {
        number = (number + 1) % locks;
        if (number == begin) return FILL_OVER; /* nothing is held */
    }
    r->left--;
    *call = (fill_call_t){.number = number, .method = LM_CLIENT_RENEW, .begin_us = now_us};
    return FILL_CALL;
}

static const void *renew_request(void *self, const fill_call_t *call, lm_arena_t *arena)
{
    const fill_renewing_t *r = self;
    lm_api_renew_request_t *request = lm_arena_alloc(arena, sizeof *request);
    request->name = fill_store_name(arena, call->number);
    request->owner = fill_store_owner(arena, call->number);
    request->hold_id = fill_store_hold(r->store, call->number);
    return request;
}

static bool renew_answered(void *self, const fill_call_t *call, const void *response,
                           uint64_t now_us)
{
    (void)self;
    (void)call;
    (void)response;
    (void)now_us;
    return true;
}

/** It may have expired: it is not asked for again. */
static void renew_refused(void *self, const fill_call_t *call)
{
    const fill_renewing_t *r = self;
    fill_store_set(r->store, call->number, (lm_bytes_t){0});
}

fill_job_t fill_jobs_renew(fill_renewing_t *self)
{
    return (fill_job_t){self, renew_next, renew_request, renew_answered, renew_refused};
}

/* ---- probing --------------------------------------------------------------------------------- */

static fill_next_t probe_next(void *self, uint64_t now_us, fill_call_t *call)
{
    fill_probing_t *p = self;
    uint64_t due_us = p->begin_us + (uint64_t)((double)p->sent * 1e6 / p->per_second);
    if (due_us >= p->end_us) return FILL_OVER;
    if (due_us > now_us) return FILL_LATER;
    for (uint64_t tried = 0; tried < FILL_PROBES; tried++) {
        uint64_t number = (p->sent + tried) % FILL_PROBES;
        if (p->busy[number]) continue;
        bool held = p->hold_sizes[number] > 0;
        p->busy[number] = true;
        p->sent++;
        *call = (fill_call_t){.number = number,
                              .method = held ? LM_CLIENT_RELEASE : LM_CLIENT_ACQUIRE,
                              .begin_us = due_us};
        return FILL_CALL;
    }
    return FILL_LATER; /* its latency counts from when it was due all the same */
}

static const void *probe_request(void *self, const fill_call_t *call, lm_arena_t *arena)
{
    const fill_probing_t *p = self;
    lm_bytes_t owner = lm_bytes_of(p->title);
    lm_bytes_t name =
        lm_arena_print(arena, "probe/%s/%03llu", p->title, (unsigned long long)call->number);
    /* A repeat has the same beginning, so it has the same id. */
    lm_bytes_t id = lm_arena_print(arena, "%llx-%llu", (unsigned long long)call->begin_us,
                                   (unsigned long long)call->number);
    if (call->method == LM_CLIENT_RELEASE) {
        lm_api_release_request_t *release = lm_arena_alloc(arena, sizeof *release);
        *release = (lm_api_release_request_t){
            .name = name,
            .owner = owner,
            .request_id = id,
            .hold_id = lm_bytes(p->holds[call->number], p->hold_sizes[call->number])};
        return release;
    }
    lm_api_acquire_request_t *acquire = lm_arena_alloc(arena, sizeof *acquire);
    *acquire = (lm_api_acquire_request_t){
        .name = name, .owner = owner, .request_id = id, .ttl_ms = (int64_t)p->ttl_ms};
    return acquire;
}

static void write_sample(const fill_probing_t *p, const fill_call_t *call, uint64_t now_us)
{
    struct timespec now;
    if (!p->samples) return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(p->samples, "%lld.%06ld %.3f %s\n", (long long)now.tv_sec, now.tv_nsec / 1000,
            (double)(now_us - call->begin_us) / 1e3,
            call->method == LM_CLIENT_RELEASE ? "release" : "acquire");
}

static bool probe_answered(void *self, const fill_call_t *call, const void *response,
                           uint64_t now_us)
{
    fill_probing_t *p = self;
    write_sample(p, call, now_us);
    if (call->method == LM_CLIENT_ACQUIRE) {
        const lm_api_acquire_response_t *r = response;
        if (r->result != LM_API_ACQUIRE_RESULT_GRANTED || r->hold_id.size > FILL_HOLD_ID_MAX)
            return false;
        memcpy(p->holds[call->number], r->hold_id.data, r->hold_id.size);
        p->hold_sizes[call->number] = (uint8_t)r->hold_id.size;
    } else {
        p->hold_sizes[call->number] = 0;
    }
    p->busy[call->number] = false;
    return true;
}

static void probe_refused(void *self, const fill_call_t *call)
{
    fill_probing_t *p = self;
    p->hold_sizes[call->number] = 0;
    p->busy[call->number] = false;
}

fill_job_t fill_jobs_probe(fill_probing_t *self)
{
    return (fill_job_t){self, probe_next, probe_request, probe_answered, probe_refused};
}
