/* Medians, tables, JSON and pictures of lockbench. */
#include "bench_table.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bench_chart.h"
#include "bench_report.h"

static bench_figures_t *figures;

static void set_up(void) { figures = calloc(1, sizeof *figures); }

static void tear_down(void) { free(figures); }

TestSuite(bench_table, .init = set_up, .fini = tear_down);

/* ---- statistics ------------------------------------------------------------------------------ */

Test(bench_table, median)
{
    cr_assert_eq(bench_table_median(NULL, 0), 0);
    cr_assert_eq(bench_table_median((double[]){7}, 1), 7);
    cr_assert_eq(bench_table_median((double[]){9, 1, 4}, 3), 4);
    cr_assert_eq(bench_table_median((double[]){9, 1, 4, 2}, 4), 3);
}

Test(bench_table, percentiles_are_at_most_1_6_percent_too_high)
{
    bench_histogram_t *h = &figures->cycle;
    cr_assert_eq(bench_histogram_at(h, 0.5), 0);
    for (uint64_t us = 1; us <= 100000; us++) bench_histogram_add(h, us);
    for (double part = 0.001; part < 1; part += 0.001) {
        double exact = part * 100000, found = (double)bench_histogram_at(h, part);
        cr_assert(found >= exact - 1 && found <= exact * 1.016 + 1, "%g: %g", part, found);
    }
    cr_assert_eq(bench_histogram_at(h, 1), 100000);
    cr_assert_eq(bench_histogram_mean(h), 50000.5);
}

Test(bench_table, no_latency_is_too_long)
{
    bench_histogram_add(&figures->cycle, UINT64_MAX / 2);
    cr_assert_eq(figures->cycle.n, 1);
    cr_assert_gt(bench_histogram_at(&figures->cycle, 0.5), UINT64_C(1) << 31);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static const bench_plan_t plan = {"cycles",
                                  {[BENCH_FIRST] = "acquire", [BENCH_SECOND] = "release"}};

/** A run of so many cycles in 2 s, each acquire of so many us. */
static json_t *make_run(const char *target, uint64_t n, uint64_t us, double rate)
{
    memset(figures, 0, sizeof *figures);
    figures->seconds = 2;
    figures->n = n;
    for (uint64_t i = 0; i < n; i++) {
        bench_histogram_add(&figures->cycle, 2 * us);
        bench_histogram_add(&figures->steps[BENCH_FIRST], us);
        bench_histogram_add(&figures->steps[BENCH_SECOND], us);
    }
    bench_report_t report = {.target = target,
                             .plan = &plan,
                             .leader = true,
                             .workers = 16,
                             .rate = rate,
                             .figures = figures};
    return bench_report_json(&report);
}

Test(bench_table, json_of_a_run)
{
    const char *target, *workload, *to;
    json_int_t n, workers, p50, p99;
    double per_second;
    json_t *run = make_run("etcd", 1000, 3000, 0);
    cr_assert_not_null(run);
    cr_assert_eq(
        json_unpack(run, "{s:s, s:s, s:s, s:I, s:I, s:F, s:{s:{s:I, s:I}}}", "target", &target,
                    "workload", &workload, "to", &to, "n", &n, "workers", &workers, "per_second",
                    &per_second, "latency_us", "acquire", "p50", &p50, "p99", &p99),
        0);
    cr_assert_str_eq(target, "etcd");
    cr_assert_str_eq(workload, "cycles");
    cr_assert_str_eq(to, "leader");
    cr_assert(n == 1000 && workers == 16 && per_second == 500 && p50 == 3000 && p99 == 3000);
    json_decref(run);
}

Test(bench_table, text_of_a_run)
{
    json_decref(make_run("lockmgr", 10, 1500, 0));
    bench_report_t report = {.target = "lockmgr", .plan = &plan, .workers = 4, .figures = figures};
    char *text = bench_report_text(&report);
    cr_assert(strstr(text, "lockmgr cycles, 4 workers: 5 per second, 10 in 2.0 s, 0 errors\n"));
    cr_assert(strstr(text, "  acquire  p50 1.50 p90 1.50"), "%s", text);
    cr_assert(strstr(text, "  cycle    p50 3.00"), "%s", text);
    free(text);
}

static void take(bench_table_t *table, json_t *line)
{
    cr_assert(bench_table_take(table, line));
    json_decref(line);
}

static char *print(bench_table_t *table)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bench_table_print(table, out);
    fclose(out);
    return text;
}

Test(bench_table, medians_of_rounds_and_their_ratio)
{
    bench_table_t *table = bench_table_new();
    take(table, make_run("lockmgr", 3000, 1000, 0));
    take(table, make_run("etcd", 1000, 2000, 0));
    take(table, make_run("lockmgr", 5000, 1500, 0));
    take(table, make_run("etcd", 1400, 3000, 0));
    take(table, make_run("lockmgr", 4000, 9000, 0));
    char *text = print(table);
    cr_assert_str_eq(
        text,
        "| figure | lockmgr | etcd | echo | lockmgr : etcd |\n"
        "|---|---:|---:|---:|---:|\n"
        "| cycles/s, 16 workers to leader | 2000 (1500-2500) | 600 (500-700) | | 3.33 |\n"
        "| acquire p50 ms, 16 workers to leader | 1.50 (1.00-9.00) | 2.50 (2.00-3.00) | | "
        "0.60 |\n"
        "| acquire p99 ms, 16 workers to leader | 1.50 (1.00-9.00) | 2.50 (2.00-3.00) | | "
        "0.60 |\n");
    free(text);
    bench_table_destroy(&table);
    cr_assert_null(table);
}

Test(bench_table, open_loops_have_latencies_only)
{
    bench_table_t *table = bench_table_new();
    take(table, make_run("lockmgr", 600, 1000, 300));
    char *text = print(table);
    cr_assert(!strstr(text, "| cycles/s"), "%s", text);
    cr_assert(strstr(text, "| acquire p99 ms, 300 cycles/s due, to leader | 1.00 | | | |"), "%s",
              text);
    free(text);
    bench_table_destroy(&table);
}

Test(bench_table, waits_for_one_lock_are_not_mixed_with_others)
{
    bench_table_t *table = bench_table_new();
    json_t *hot = make_run("lockmgr", 100, 50000, 0);
    json_object_set_new(hot, "workload", json_string("hot"));
    take(table, hot);
    take(table, make_run("lockmgr", 100, 1000, 0));
    char *text = print(table);
    cr_assert(strstr(text, "| hand-overs/s of one lock, 16 workers to leader | 50.0 |"), "%s",
              text);
    cr_assert(strstr(text, "| acquire of one lock p50 ms, 16 workers to leader | 50.0 |"), "%s",
              text);
    cr_assert(strstr(text, "| acquire p50 ms, 16 workers to leader | 1.00 |"), "%s", text);
    free(text);
    bench_table_destroy(&table);
}

Test(bench_table, single_figures_and_errors)
{
    bench_table_t *table = bench_table_new();
    json_t *run = make_run("echo", 10, 10, 0);
    take(table, json_pack("{s:s, s:s, s:f}", "figure", "idle", "target", "etcd", "value", 1.25));
    take(table, json_pack("{s:s, s:s, s:i}", "figure", "idle", "target", "lockmgr", "value", 5));
    json_object_set_new(run, "errors", json_integer(7));
    take(table, run);
    char *text = print(table);
    cr_assert(strstr(text, "| idle | 5.00 | 1.25 | | 4.00 |\n"), "%s", text);
    cr_assert(strstr(text, "\nErrors of echo: 7\n"), "%s", text);
    free(text);
    json_t *json = bench_table_json(table);
    double ratio, median;
    cr_assert_eq(json_unpack(json, "[{s:F, s:{s:F}}]", "ratio", &ratio, "etcd", "median", &median),
                 0);
    cr_assert(ratio == 4 && median == 1.25);
    json_decref(json);
    bench_table_destroy(&table);
}

Test(bench_table, what_is_no_figure_is_refused)
{
    static const char *const lines[] = {"{}", "[]", "3", "{\"figure\":\"x\",\"target\":\"etcd\"}",
                                        "{\"target\":\"etcd\",\"workload\":\"cycles\"}"};
    bench_table_t *table = bench_table_new();
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        json_t *line = json_loads(lines[i], JSON_DECODE_ANY, NULL);
        cr_assert(!bench_table_take(table, line), "%s", lines[i]);
        json_decref(line);
    }
    bench_table_destroy(&table);
}

/* ---- pictures -------------------------------------------------------------------------------- */

static bool draw(const json_t *runs, char **text)
{
    size_t size;
    FILE *out = open_memstream(text, &size);
    bool drawn = bench_chart_draw(runs, "a < b & c", out);
    fclose(out);
    return drawn;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text++) n++;
    return n;
}

Test(bench_table, a_line_per_target)
{
    char *text;
    json_t *runs = json_pack("[o, o, o]", make_run("lockmgr", 2000, 1000, 0),
                             make_run("etcd", 2000, 8000, 0), make_run("etcd", 2000, 9000, 0));
    cr_assert(draw(runs, &text));
    cr_assert_eq(count(text, "<polyline"), 2);
    cr_assert(strstr(text, ">a &lt; b &amp; c</text>"), "%s", text);
    cr_assert(strstr(text, ">99.9%</text>") && strstr(text, ">10 ms</text>"), "%s", text);
    cr_assert_eq(count(text, "nan") + count(text, "inf"), 0);
    cr_assert_eq(count(text, "<svg "), count(text, "</svg>\n"));
    free(text);
    json_decref(runs);
}

Test(bench_table, nothing_is_drawn_of_nothing)
{
    char *text;
    json_t *runs = json_pack("[{s:s}]", "target", "etcd");
    cr_assert(!draw(runs, &text));
    cr_assert_str_eq(text, "");
    free(text);
    json_decref(runs);
}

Test(bench_table, one_sample_can_be_drawn)
{
    char *text;
    json_t *runs = json_pack("[o]", make_run("lockmgr", 1, 0, 0));
    cr_assert(draw(runs, &text));
    cr_assert_eq(count(text, "nan") + count(text, "inf"), 0);
    free(text);
    json_decref(runs);
}
