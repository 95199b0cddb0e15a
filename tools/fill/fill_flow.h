/* Keeps many calls under way and measures them.
 *
 * Invariants
 *   L1  A call that could not be served (no leader, overload, a lost connection) is made again
 *       after a pause, with the same request, until it is answered; its latency counts from its
 *       beginning.
 *   L2  A job with a rate is an open loop: a call begins when it is due, and its latency counts
 *       from then, also if it could be sent only later. */
#ifndef LM_FILL_FLOW_H
#define LM_FILL_FLOW_H

#include <signal.h>

#include "bench_histogram.h"
#include "client_flight.h"

/** A call of a job: what it is about, and since when. */
typedef struct {
    uint64_t number;
    lm_client_method_t method;
    uint64_t begin_us; /* CLOCK_BOOTTIME */
} fill_call_t;

typedef enum { FILL_CALL, FILL_LATER, FILL_OVER } fill_next_t;

typedef struct fill_job fill_job_t;
struct fill_job {
    void *self;
    /** What is next: fills call, or says that nothing is due for the moment, or ever. */
    fill_next_t (*next)(void *self, uint64_t now_us, fill_call_t *call);
    const void *(*request)(void *self, const fill_call_t *call, lm_arena_t *arena);
    /** A good answer. False: it is not what was wanted. */
    bool (*answered)(void *self, const fill_call_t *call, const void *response, uint64_t now_us);
    /** A refusal that a repeat would not change; also after answered returned false. */
    void (*refused)(void *self, const fill_call_t *call);
};

typedef struct {
    double seconds;
    uint64_t done, refused, repeats;
    bench_histogram_t latencies;
    uint64_t *per_second; /* calls answered in each second; seconds of them */
    size_t n_seconds;
    char error[512]; /* the last refusal or failure, for people */
} fill_figures_t;

typedef struct {
    lm_client_t *client;
    size_t first_endpoints; /* calls go to so many endpoints, the others are for repeats */
    size_t outstanding;
    uint64_t timeout_ms;
    bool progress; /* a line to stderr every ten seconds */
} fill_flow_t;

/** Runs a job to its end, or until *stop is set. The figures are the caller's to clear. */
void fill_flow_run(const fill_flow_t *flow, const fill_job_t *job,
                   const volatile sig_atomic_t *stop, fill_figures_t *figures);

#endif
