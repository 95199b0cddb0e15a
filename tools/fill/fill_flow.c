#include "fill_flow.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PAUSE_US = 20000,       /* before a repeat */
    WAIT_US = 2000,         /* how long the loop sleeps at most */
    PROGRESS_US = 10000000, /* between two lines of progress */
    SECONDS_MAX = 86400,
};

typedef struct {
    fill_call_t call;
    size_t endpoint;
    uint64_t again_us; /* when a failed call is to be made again */
} place_t;

typedef struct {
    const fill_flow_t *flow;
    const fill_job_t *job;
    fill_figures_t *figures;
    lm_flight_t *flight;
    lm_arena_t *arena;
    place_t *places;
    size_t *idle; /* a stack */
    size_t n_idle;
    size_t *failed; /* a ring: all wait for the same time, so that the oldest is due first */
    size_t failed_begin, n_failed;
    uint64_t begin_us, told_us;
} loop_t;

static void send(loop_t *l, size_t at)
{
    place_t *place = &l->places[at];
    lm_arena_reset(l->arena);
    const void *request = l->job->request(l->job->self, &place->call, l->arena);
    lm_flight_start(l->flight, at, place->endpoint, place->call.method, request,
                    l->flow->timeout_ms);
}

/** Sends what is new. Returns false when there will be nothing new any more. */
static bool send_new(loop_t *l)
{
    while (l->n_idle > 0) {
        size_t at = l->idle[l->n_idle - 1];
        fill_next_t next = l->job->next(l->job->self, lm_client_clock_us(), &l->places[at].call);
        if (next != FILL_CALL) return next != FILL_OVER;
        l->n_idle--;
        send(l, at);
    }
    return true;
}

static void send_again(loop_t *l, uint64_t now_us)
{
    while (l->n_failed > 0 && l->places[l->failed[l->failed_begin]].again_us <= now_us) {
        size_t at = l->failed[l->failed_begin];
        l->failed_begin = (l->failed_begin + 1) % l->flow->outstanding;
        l->n_failed--;
        l->figures->repeats++;
        send(l, at);
    }
}

static void fail(loop_t *l, size_t at, uint64_t now_us)
{
    place_t *place = &l->places[at];
    place->again_us = now_us + PAUSE_US;
    place->endpoint = (place->endpoint + 1) % lm_client_endpoints(l->flow->client);
    l->failed[(l->failed_begin + l->n_failed++) % l->flow->outstanding] = at;
}

static void count(loop_t *l, const fill_call_t *call, uint64_t now_us)
{
    size_t second = (size_t)((now_us - l->begin_us) / 1000000);
    l->figures->done++;
    bench_histogram_add(&l->figures->latencies, now_us - call->begin_us);
    if (second >= SECONDS_MAX) return;
    l->figures->per_second[second]++;
    l->figures->n_seconds = second + 1;
}

static void note(loop_t *l, const lm_client_result_t *result, const char *text)
{
    snprintf(l->figures->error, sizeof l->figures->error, "%.150s: %.300s", result->endpoint, text);
}

static void take(loop_t *l, const lm_flight_end_t *end)
{
    const place_t *place = &l->places[end->place];
    uint64_t now_us = lm_client_clock_us();
    bool good = end->result.grpc_status == 0;
    if (!good) note(l, &end->result, end->result.text);
    if (!good && lm_flight_is_passing(&end->result)) {
        fail(l, end->place, now_us);
        return;
    }
    if (good && !l->job->answered(l->job->self, &place->call, end->response, now_us)) {
        note(l, &end->result, "not the answer that was wanted");
        good = false;
    }
    if (good) {
        count(l, &place->call, now_us);
    } else {
        l->figures->refused++;
        l->job->refused(l->job->self, &place->call);
    }
    l->idle[l->n_idle++] = end->place;
}

static void tell(loop_t *l, uint64_t now_us)
{
    if (!l->flow->progress || now_us < l->told_us + PROGRESS_US) return;
    l->told_us = now_us;
    fprintf(stderr, "%4.0f s: %llu done, %llu repeats, %llu refused\n",
            (double)(now_us - l->begin_us) / 1e6, (unsigned long long)l->figures->done,
            (unsigned long long)l->figures->repeats, (unsigned long long)l->figures->refused);
}

/** Who is asked to stop waits for what is under way, and repeats nothing any more. */
static bool is_done(const loop_t *l, bool more, bool stopping)
{
    if (stopping) return l->n_idle + l->n_failed == l->flow->outstanding;
    return !more && l->n_idle == l->flow->outstanding;
}

static void run(loop_t *l, const volatile sig_atomic_t *stop)
{
    bool more = true;
    lm_flight_end_t end;
    while (!is_done(l, more, *stop)) {
        if (more && !*stop) more = send_new(l);
        if (!*stop) send_again(l, lm_client_clock_us());
        lm_arena_reset(l->arena);
        uint64_t wait_us = WAIT_US;
        while (lm_flight_next(l->flight, wait_us, l->arena, &end)) {
            take(l, &end);
            lm_arena_reset(l->arena);
            wait_us = 0;
        }
        tell(l, lm_client_clock_us());
        if (*stop && *stop != 1) break; /* asked twice */
    }
}

void fill_flow_run(const fill_flow_t *flow, const fill_job_t *job,
                   const volatile sig_atomic_t *stop, fill_figures_t *figures)
{
    loop_t l = {.flow = flow, .job = job, .figures = figures};
    l.flight = lm_flight_open(flow->client, flow->outstanding);
    l.arena = lm_arena_new();
    l.places = lm_alloc(flow->outstanding * sizeof *l.places);
    l.idle = lm_alloc(flow->outstanding * sizeof *l.idle);
    l.failed = lm_alloc(flow->outstanding * sizeof *l.failed);
    figures->per_second = lm_alloc(SECONDS_MAX * sizeof *figures->per_second);
    memset(figures->per_second, 0, SECONDS_MAX * sizeof *figures->per_second);
    for (size_t i = 0; i < flow->outstanding; i++) {
        l.places[i] = (place_t){.endpoint = i % flow->first_endpoints};
        l.idle[l.n_idle++] = i;
    }
    l.begin_us = l.told_us = lm_client_clock_us();
    run(&l, stop);
    figures->seconds = (double)(lm_client_clock_us() - l.begin_us) / 1e6;
    lm_flight_close(&l.flight);
    lm_arena_destroy(&l.arena);
    free(l.places);
    free(l.idle);
    free(l.failed);
}
