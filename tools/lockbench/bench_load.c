#include "bench_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"

enum {
    PAUSE_US = 50000,    /* after an error */
    WAIT_US = 2000,      /* how long the loop sleeps at most */
    GRACE_US = 40000000, /* for what is under way at the end; longer than any call may take */
    PREPARE_TRIES = 100,
};

typedef struct {
    uint64_t due_us;   /* when the cycle should have begun */
    uint64_t begin_us; /* when the step under way began */
    uint64_t again_us; /* 0, or until when it pauses */
    bench_step_t step;
    unsigned tries;
} worker_t;

typedef struct {
    const bench_load_t *load;
    bench_figures_t *figures;
    worker_t *workers;
    size_t *idle; /* a stack */
    size_t n_idle, n_paused;
    uint64_t begin_us, measure_us, end_us;
    uint64_t n_due; /* open loop: so many cycles have begun */
} run_t;

const bench_plan_t *bench_plan_of(const bench_target_t *target, const char *workload)
{
    for (const bench_plan_t *plan = target->plans; plan->workload; plan++)
        if (strcmp(plan->workload, workload) == 0) return plan;
    return NULL;
}

static uint64_t now_us(const run_t *r) { return r->load->clock_us(); }

static bool is_open_loop(const run_t *r) { return r->load->rate > 0; }

static void begin_step(run_t *r, size_t at, bench_step_t step)
{
    r->workers[at].step = step;
    r->workers[at].begin_us = now_us(r);
    r->load->target->begin(r->load->self, at, step);
}

/* ---- what counts ----------------------------------------------------------------------------- */

/** B1 */
static bool counts(const run_t *r, const worker_t *w, uint64_t now)
{
    uint64_t at = is_open_loop(r) ? w->due_us : now;
    return at >= r->measure_us && at < r->end_us;
}

static void note_error(run_t *r, const worker_t *w, const bench_end_t *end)
{
    r->figures->errors++;
    snprintf(r->figures->error, sizeof r->figures->error, "%s: %.250s",
             r->load->plan->steps[w->step], end->error);
}

static void note_step(run_t *r, const worker_t *w, uint64_t now)
{
    uint64_t since = w->step == BENCH_FIRST ? w->due_us : w->begin_us;
    if (counts(r, w, now)) bench_histogram_add(&r->figures->steps[w->step], now - since);
}

static void note_cycle(run_t *r, const worker_t *w, uint64_t now)
{
    if (!counts(r, w, now)) return;
    r->figures->n++;
    bench_histogram_add(&r->figures->cycle, now - w->due_us);
}

/* ---- cycles ---------------------------------------------------------------------------------- */

/** Ends a pause, or the pauses of all when nothing new begins any more. */
static void wake_paused(run_t *r, uint64_t now)
{
    for (size_t i = 0; r->n_paused > 0 && i < r->load->workers; i++) {
        worker_t *w = &r->workers[i];
        if (w->again_us == 0 || (w->again_us > now && now < r->end_us)) continue;
        w->again_us = 0;
        r->n_paused--;
        r->idle[r->n_idle++] = i;
    }
}

/** When the next cycle is due. */
static uint64_t next_due(const run_t *r, uint64_t now)
{
    if (!is_open_loop(r)) return now;
    return r->begin_us + (uint64_t)((double)r->n_due * 1e6 / r->load->rate);
}

static void begin_cycles(run_t *r, uint64_t now)
{
    wake_paused(r, now);
    while (r->n_idle > 0) {
        uint64_t due = next_due(r, now);
        if (due > now || due >= r->end_us) return;
        size_t at = r->idle[--r->n_idle];
        r->n_due++;
        r->workers[at].due_us = due;
        begin_step(r, at, BENCH_FIRST);
    }
}

static void rest(run_t *r, size_t at, bool pause)
{
    if (!pause) {
        r->idle[r->n_idle++] = at;
        return;
    }
    r->workers[at].again_us = now_us(r) + PAUSE_US;
    r->n_paused++;
}

static void on_end(run_t *r, const bench_end_t *end)
{
    worker_t *w = &r->workers[end->worker];
    uint64_t now = now_us(r);
    if (!end->good) {
        if (counts(r, w, now)) note_error(r, w, end);
        rest(r, end->worker, true);
        return;
    }
    note_step(r, w, now);
    if (w->step == BENCH_FIRST && r->load->plan->steps[BENCH_SECOND]) {
        begin_step(r, end->worker, BENCH_SECOND);
        return;
    }
    note_cycle(r, w, now);
    rest(r, end->worker, false);
}

static uint64_t wait_for(const run_t *r, uint64_t now)
{
    uint64_t due = next_due(r, now);
    return due > now && due - now < WAIT_US ? due - now : WAIT_US;
}

/** Whether nothing is under way and nothing is due any more. */
static bool is_over(const run_t *r, uint64_t now)
{
    if (now < r->end_us) return false;
    bool all_rest = r->n_idle + r->n_paused == r->load->workers;
    return now >= r->end_us + GRACE_US || (all_rest && next_due(r, now) >= r->end_us);
}

/** Open loop: cycles that were due in the measured time and could not begin. */
static void note_left_out(run_t *r)
{
    uint64_t left = 0;
    for (; is_open_loop(r) && next_due(r, 0) < r->end_us; r->n_due++) left++;
    if (left == 0) return;
    r->figures->errors += left;
    snprintf(r->figures->error, sizeof r->figures->error,
             "%llu cycles were due and could not begin: the rate is too high",
             (unsigned long long)left);
}

static void run_cycles(run_t *r)
{
    bench_end_t end;
    r->begin_us = now_us(r);
    r->measure_us = r->begin_us + r->load->warmup_us;
    r->end_us = r->measure_us + r->load->measure_us;
    for (uint64_t now = r->begin_us; !is_over(r, now); now = now_us(r)) {
        begin_cycles(r, now);
        if (r->load->target->next(r->load->self, wait_for(r, now), &end)) on_end(r, &end);
    }
    note_left_out(r);
    r->figures->seconds = (double)r->load->measure_us / 1e6;
}

/* ---- before and after ------------------------------------------------------------------------ */

/** Begins again what failed a while ago. */
static void begin_again(run_t *r, bench_step_t step)
{
    uint64_t now = now_us(r);
    for (size_t i = 0; r->n_paused > 0 && i < r->load->workers; i++) {
        worker_t *w = &r->workers[i];
        if (w->again_us == 0 || w->again_us > now) continue;
        w->again_us = 0;
        r->n_paused--;
        begin_step(r, i, step);
    }
}

/** Whether a worker whose step failed may try again; it pauses then. */
static bool may_repeat(run_t *r, size_t at)
{
    worker_t *w = &r->workers[at];
    if (++w->tries >= PREPARE_TRIES) return false;
    w->again_us = now_us(r) + PAUSE_US;
    r->n_paused++;
    return true;
}

/** Does one step of every worker, several times if it is to be repeated. Returns whether all were
 *  good in the end. */
static bool do_by_all(run_t *r, bench_step_t step, bool repeat)
{
    size_t n_left = r->load->workers, n_bad = 0;
    uint64_t until = now_us(r) + GRACE_US;
    bench_end_t end;
    if (!r->load->plan->steps[step]) return true;
    for (size_t i = 0; i < r->load->workers; i++) begin_step(r, i, step);
    while (n_left > 0 && now_us(r) < until) {
        begin_again(r, step);
        if (!r->load->target->next(r->load->self, WAIT_US, &end)) continue;
        if (!end.good) snprintf(r->figures->error, sizeof r->figures->error, "%s", end.error);
        if (!end.good && repeat && may_repeat(r, end.worker)) continue;
        n_left--;
        n_bad += !end.good;
    }
    return n_left == 0 && n_bad == 0;
}

/** B2. What fails ends by itself when its lease does. */
static void clean_up(run_t *r)
{
    for (size_t i = 0; i < r->load->workers; i++) r->workers[i].again_us = 0;
    r->n_paused = 0;
    do_by_all(r, BENCH_CLEAN, false);
}

bool bench_load_run(const bench_load_t *load, bench_figures_t *figures)
{
    run_t r = {.load = load, .figures = figures};
    r.workers = lm_alloc(load->workers * sizeof *r.workers);
    r.idle = lm_alloc(load->workers * sizeof *r.idle);
    memset(r.workers, 0, load->workers * sizeof *r.workers);
    bool ready = do_by_all(&r, BENCH_PREPARE, true);
    if (ready) {
        *figures->error = '\0';
        for (size_t i = load->workers; i > 0; i--) r.idle[r.n_idle++] = i - 1;
        run_cycles(&r);
        /* Who never came back has nothing that could be cleaned up. */
        if (r.n_idle + r.n_paused == load->workers) clean_up(&r);
    }
    free(r.idle);
    free(r.workers);
    return ready;
}
