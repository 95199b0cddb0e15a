/* The generator against a target that lives in a clock of its own. */
#include "bench_load.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bench_route.h"

enum { WORKERS_MAX = 8 };

/** Every call takes call_us; a stall in which nothing ends lies between two times. */
static struct {
    uint64_t now_us, call_us, stall_begin_us, stall_end_us;
    uint64_t ends_us[WORKERS_MAX]; /* 0: nothing under way */
    bench_step_t steps[WORKERS_MAX];
    unsigned n_steps[BENCH_STEPS];
    unsigned bad_every; /* of the FIRST steps; 0: none is bad */
} world;

static uint64_t clock_us(void) { return world.now_us; }

static void begin(void *self, size_t worker, bench_step_t step)
{
    (void)self;
    uint64_t end = world.now_us + world.call_us;
    if (end >= world.stall_begin_us && end < world.stall_end_us) end = world.stall_end_us;
    cr_assert_eq(world.ends_us[worker], 0, "worker %zu has something under way", worker);
    world.ends_us[worker] = end;
    world.steps[worker] = step;
    world.n_steps[step]++;
}

static bool next(void *self, uint64_t wait_us, bench_end_t *end)
{
    (void)self;
    size_t first = WORKERS_MAX;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (world.ends_us[i] && (first == WORKERS_MAX || world.ends_us[i] < world.ends_us[first]))
            first = i;
    if (first == WORKERS_MAX || world.ends_us[first] > world.now_us + wait_us) {
        world.now_us += wait_us;
        return false;
    }
    if (world.ends_us[first] > world.now_us) world.now_us = world.ends_us[first];
    world.ends_us[first] = 0;
    unsigned n = world.n_steps[BENCH_FIRST];
    bool bad = world.bad_every && world.steps[first] == BENCH_FIRST && n % world.bad_every == 0;
    *end = (bench_end_t){.worker = first, .good = !bad, .error = "planted"};
    return true;
}

static const bench_plan_t plans[] = {
    {"cycles", {"prepare", "first", "second", "clean"}},
    {"calls", {[BENCH_FIRST] = "first"}},
    {0},
};

static const bench_target_t target = {.name = "fake", .plans = plans, .begin = begin, .next = next};

static bench_figures_t *figures;

static void set_up(void)
{
    memset(&world, 0, sizeof world);
    world.now_us = 1000000;
    world.call_us = 1000;
    figures = calloc(1, sizeof *figures);
}

static void tear_down(void) { free(figures); }

TestSuite(bench_load, .init = set_up, .fini = tear_down);

static void run(const char *workload, size_t workers, double rate)
{
    bench_load_t load = {.target = &target,
                         .plan = bench_plan_of(&target, workload),
                         .workers = workers,
                         .rate = rate,
                         .warmup_us = 1000000,
                         .measure_us = 10000000,
                         .clock_us = clock_us};
    cr_assert(bench_load_run(&load, figures));
    for (size_t i = 0; i < WORKERS_MAX; i++) cr_assert_eq(world.ends_us[i], 0);
}

Test(bench_load, closed_loop_counts_what_ended_in_the_measured_time)
{
    run("cycles", 4, 0);
    /* 4 workers, 2 ms a cycle, 10 s. */
    cr_assert(figures->n >= 19990 && figures->n <= 20000, "%lu", (unsigned long)figures->n);
    cr_assert_eq(figures->seconds, 10);
    cr_assert_eq(figures->errors, 0);
    cr_assert_eq(bench_histogram_at(&figures->cycle, 1), 2000);
    cr_assert_eq(bench_histogram_at(&figures->steps[BENCH_FIRST], 1), 1000);
    cr_assert_eq(bench_histogram_at(&figures->steps[BENCH_SECOND], 1), 1000);
}

Test(bench_load, every_worker_prepares_and_cleans_up_once)
{
    run("cycles", 5, 0);
    cr_assert_eq(world.n_steps[BENCH_PREPARE], 5);
    cr_assert_eq(world.n_steps[BENCH_CLEAN], 5);
    cr_assert_eq(world.n_steps[BENCH_FIRST], world.n_steps[BENCH_SECOND]);
}

Test(bench_load, open_loop_keeps_its_rate)
{
    run("calls", 4, 100);
    cr_assert_eq(figures->n, 1000);
    cr_assert_eq(figures->errors, 0);
    cr_assert_leq(bench_histogram_at(&figures->cycle, 1), 1100);
}

Test(bench_load, open_loop_leaves_out_nobody_who_came_during_a_stall)
{
    world.stall_begin_us = 5000000;
    world.stall_end_us = 6000000;
    run("calls", 2, 100);
    cr_assert_eq(figures->n, 1000);
    /* 100 of 1000 were due in the second of the stall; half of them waited for half of it. */
    uint64_t p95 = bench_histogram_at(&figures->cycle, 0.95);
    cr_assert(p95 > 400000 && p95 < 600000, "%lu us", (unsigned long)p95);
    cr_assert_geq(figures->cycle.max_us, 990000);
}

Test(bench_load, a_closed_loop_hardly_sees_the_same_stall)
{
    world.stall_begin_us = 5000000;
    world.stall_end_us = 6000000;
    run("calls", 2, 0);
    cr_assert_leq(bench_histogram_at(&figures->cycle, 0.99), 1100);
}

Test(bench_load, a_rate_that_is_too_high_is_no_secret)
{
    run("calls", 1, 10000); /* 1 worker can do 1000 */
    cr_assert_gt(figures->errors, 0);
    cr_assert_eq(figures->n + figures->errors, 100000);
    cr_assert(strstr(figures->error, "too high"), "%s", figures->error);
}

Test(bench_load, errors_are_counted_and_do_not_end_the_load)
{
    world.bad_every = 10;
    run("cycles", 4, 0);
    cr_assert_gt(figures->errors, 100);
    cr_assert_gt(figures->n, 1000);
    cr_assert_str_eq(figures->error, "first: planted");
}

Test(bench_load, an_unknown_workload_is_none)
{
    cr_assert_null(bench_plan_of(&target, "dances"));
    cr_assert_str_eq(bench_plan_of(&target, "calls")->workload, "calls");
}

/* ---- connections ----------------------------------------------------------------------------- */

static void expect_route(const char *endpoints, int leader, size_t workers, const char *list)
{
    size_t n = 0, commas = 0;
    char *made = bench_route_make(endpoints, leader, workers, &n);
    cr_assert_str_eq(made, list);
    for (const char *c = made; *c; c++) commas += *c == ',';
    cr_assert_eq(n, commas + 1);
    free(made);
}

Test(bench_load, connections_are_enough_for_the_streams)
{
    expect_route("a:1", -1, 1, "a:1");
    expect_route("a:1,b:2,c:3", -1, 1, "a:1,b:2,c:3");
    expect_route("a:1,b:2,c:3", -1, 270, "a:1,b:2,c:3");
    expect_route("a:1,b:2,c:3", -1, 271, "a:1,b:2,c:3,a:1,b:2,c:3");
    expect_route("a:1,b:2,c:3", 1, 90, "b:2");
    expect_route("a:1,b:2,c:3", 1, 256, "b:2,b:2,b:2");
}

Test(bench_load, impossible_connections_are_refused)
{
    size_t n;
    cr_assert_null(bench_route_make("", -1, 1, &n));
    cr_assert_null(bench_route_make("a:1,b:2", 2, 1, &n));
    cr_assert_null(bench_route_make("a:1", -1, 90 * 32 + 1, &n));
}
