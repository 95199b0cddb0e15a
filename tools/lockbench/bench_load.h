/* The generator: workers that repeat a cycle of calls against a target, closed or open loop.
 *
 * Closed loop (rate 0): every worker begins its next cycle when the last one has ended. That finds
 * out how much goes through; its latencies leave out those who would have come meanwhile.
 * Open loop: cycles are due at even times, whatever became of those before. One that finds every
 * worker busy waits, and its latency counts from when it was due.
 *
 * Invariants
 *   B1  Closed loop: what ended inside the measured time counts. Open loop: what was due inside it
 *       counts, however late it ended; what could not even be begun is an error.
 *   B2  A cycle that has begun is brought to its end, and every worker cleans up behind itself.
 */
#ifndef LM_BENCH_LOAD_H
#define LM_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "bench_histogram.h"

/** What a worker does: PREPARE once, then FIRST and SECOND again and again, CLEAN at the end. */
typedef enum {
    BENCH_PREPARE,
    BENCH_FIRST,
    BENCH_SECOND,
    BENCH_CLEAN,
    BENCH_STEPS,
} bench_step_t;

/** A workload as one target does it; a step without a name is left out, FIRST always has one. */
typedef struct {
    const char *workload;
    const char *steps[BENCH_STEPS];
} bench_plan_t;

/** What a target needs to know. */
typedef struct {
    const char *endpoints; /* host:port, comma-separated */
    bool leader;           /* everything goes to the node that leads; otherwise to all in turn */
    size_t workers;
    size_t names;    /* locks to choose from; 0: each worker has one of its own */
    size_t sessions; /* to be kept alive, at least as many as workers; 0: as many */
} bench_aim_t;

typedef struct {
    size_t worker;
    bool good;
    char error[288]; /* for people, if it is not good */
} bench_end_t;

/** Whom the load is put on. Every step that was begun ends once in next. */
typedef struct {
    const char *name;
    const bench_plan_t *plans; /* the last one has no workload */
    /** Returns NULL after saying why on standard error. */
    void *(*open)(const bench_aim_t *aim, const bench_plan_t *plan);
    void (*begin)(void *self, size_t worker, bench_step_t step);
    /** False if nothing ended for wait_us. */
    bool (*next)(void *self, uint64_t wait_us, bench_end_t *end);
    void (*close)(void *self);
} bench_target_t;

typedef struct {
    const bench_target_t *target;
    const bench_plan_t *plan;
    void *self; /* as the target's open gave it */
    size_t workers;
    double rate; /* cycles per second; 0: closed loop */
    uint64_t warmup_us, measure_us;
    uint64_t (*clock_us)(void);
} bench_load_t;

typedef struct {
    double seconds;
    uint64_t n; /* whole cycles */
    uint64_t errors;
    char error[288]; /* the last one */
    bench_histogram_t cycle;
    bench_histogram_t steps[BENCH_STEPS]; /* of FIRST and SECOND */
} bench_figures_t;

/** The plan of a workload, or NULL if the target has no such thing. */
const bench_plan_t *bench_plan_of(const bench_target_t *target, const char *workload);

/** Runs the load. figures must be zeroed. Returns false if the workers could not be prepared;
 *  figures->error says why. */
bool bench_load_run(const bench_load_t *load, bench_figures_t *figures);

#endif
