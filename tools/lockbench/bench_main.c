/* lockbench: puts load on a lock service and says what came of it. scripts/bench runs it against
 * lockmgr, etcd and its own echo server in turn. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_exit.h"
#include "bench_chart.h"
#include "bench_report.h"
#include "bench_route.h"
#include "bench_table.h"
#include "bench_targets.h"
#include "client.h"

typedef struct {
    const char *target, *workload, *svg, *title;
    bench_aim_t aim;
    double rate;
    double seconds, warmup_s;
    bool json;
} options_t;

static volatile int stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static const bench_target_t *const targets[] = {&bench_lockmgr, &bench_etcd, &bench_echo};

enum { N_TARGETS = sizeof targets / sizeof *targets };

/* ---- run ------------------------------------------------------------------------------------- */

static bool write_svg(const options_t *o, const json_t *run)
{
    json_t *runs = json_pack("[O]", run);
    FILE *out = fopen(o->svg, "we");
    if (!out) perror(o->svg);
    bool good = out && bench_chart_draw(runs, o->title, out);
    if (out) good = fclose(out) == 0 && good;
    json_decref(runs);
    return good;
}

static int report(const options_t *o, const bench_report_t *r)
{
    json_t *json = bench_report_json(r);
    char *text =
        o->json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : bench_report_text(r);
    printf("%s%s", text, o->json ? "\n" : "");
    free(text);
    if (r->figures->errors > 0)
        fprintf(stderr, "lockbench: the last error: %s\n", r->figures->error);
    bool drawn = !o->svg || write_svg(o, json);
    json_decref(json);
    if (!drawn) return LM_EXIT_SYSTEM;
    return r->figures->n > 0 ? LM_EXIT_OK : LM_EXIT_TRY_LATER;
}

static const bench_target_t *find_target(const char *name)
{
    for (size_t i = 0; i < N_TARGETS; i++)
        if (strcmp(targets[i]->name, name) == 0) return targets[i];
    fprintf(stderr, "lockbench: no such target: %s (lockmgr, etcd or echo)\n", name);
    return NULL;
}

static int run_load(const options_t *o, const bench_target_t *target, const bench_plan_t *plan)
{
    void *self = target->open(&o->aim, plan);
    if (!self) return LM_EXIT_TRY_LATER;
    bench_figures_t *figures = lm_alloc(sizeof *figures);
    memset(figures, 0, sizeof *figures);
    bench_load_t load = {.target = target,
                         .plan = plan,
                         .self = self,
                         .workers = o->aim.workers,
                         .rate = o->rate,
                         .warmup_us = (uint64_t)(o->warmup_s * 1e6),
                         .measure_us = (uint64_t)(o->seconds * 1e6),
                         .clock_us = lm_client_clock_us};
    bool ready = bench_load_run(&load, figures);
    target->close(self);
    bench_report_t r = {.target = target->name,
                        .plan = plan,
                        .leader = o->aim.leader,
                        .workers = o->aim.workers,
                        .rate = o->rate,
                        .figures = figures};
    if (!ready) fprintf(stderr, "lockbench: cannot begin: %s\n", figures->error);
    int code = ready ? report(o, &r) : LM_EXIT_TRY_LATER;
    free(figures);
    return code;
}

static int run(const options_t *o)
{
    const bench_target_t *target = find_target(o->target);
    if (!target) return LM_EXIT_USAGE;
    const bench_plan_t *plan = o->workload ? bench_plan_of(target, o->workload) : &target->plans[0];
    if (!plan) {
        fprintf(stderr, "lockbench: %s has no workload \"%s\"; it has:", o->target, o->workload);
        for (plan = target->plans; plan->workload; plan++) fprintf(stderr, " %s", plan->workload);
        fputc('\n', stderr);
        return LM_EXIT_USAGE;
    }
    if (o->aim.names > 0 && target != &bench_lockmgr) {
        fprintf(stderr, "lockbench: --names is for lockmgr alone\n");
        return LM_EXIT_USAGE;
    }
    if (o->aim.sessions > 0 && strncmp(plan->workload, "session", 7) != 0) {
        fprintf(stderr, "lockbench: --sessions is for keep-alives of sessions\n");
        return LM_EXIT_USAGE;
    }
    return run_load(o, target, plan);
}

/* ---- echo, table, chart ---------------------------------------------------------------------- */

static int echo(const options_t *o)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return bench_echo_serve(o->aim.endpoints, &stop);
}

/** Standard input: one value of JSON per line. NULL after saying what is wrong. */
static json_t *read_lines(void)
{
    json_t *all = json_array();
    json_error_t error;
    char *line = NULL;
    size_t size = 0;
    for (unsigned n = 1; getline(&line, &size, stdin) > 0; n++) {
        if (*line == '\n') continue;
        json_t *one = json_loads(line, 0, &error);
        if (one) {
            json_array_append_new(all, one);
            continue;
        }
        fprintf(stderr, "lockbench: line %u is no JSON: %s\n", n, error.text);
        json_decref(all);
        all = NULL;
        break;
    }
    free(line);
    return all;
}

static int table(const options_t *o)
{
    json_t *all = read_lines(), *line;
    size_t i;
    int code = LM_EXIT_OK;
    if (!all) return LM_EXIT_USAGE;
    bench_table_t *t = bench_table_new();
    json_array_foreach(all, i, line)
    {
        if (bench_table_take(t, line)) continue;
        fprintf(stderr, "lockbench: value %zu is no figure\n", i + 1);
        code = LM_EXIT_USAGE;
    }
    json_t *json = bench_table_json(t);
    if (code == LM_EXIT_OK && o->json)
        json_dumpf(json, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    else if (code == LM_EXIT_OK)
        bench_table_print(t, stdout);
    json_decref(json);
    json_decref(all);
    bench_table_destroy(&t);
    return code;
}

/** Runs that the options speak of: same workload, workers, rate and way. */
static bool is_meant(const options_t *o, const json_t *run)
{
    const char *workload = json_string_value(json_object_get(run, "workload"));
    const char *to = json_string_value(json_object_get(run, "to"));
    bool echoes = workload && strcmp(workload, "calls") == 0;
    bool same = workload && strcmp(workload, o->workload ? o->workload : "cycles") == 0;
    bool way = to && strcmp(to, o->aim.leader ? "leader" : "any") == 0;
    double rate = json_number_value(json_object_get(run, "rate"));
    json_int_t workers = json_integer_value(json_object_get(run, "workers"));
    return (echoes || (same && way)) && rate == o->rate && workers == (json_int_t)o->aim.workers;
}

static int chart(const options_t *o)
{
    json_t *all = read_lines(), *meant = json_array(), *line;
    size_t i;
    json_array_foreach(all, i, line) if (is_meant(o, line)) json_array_append(meant, line);
    bool drawn = all && bench_chart_draw(meant, o->title, stdout);
    if (all && !drawn) fprintf(stderr, "lockbench: no run is like that\n");
    json_decref(meant);
    json_decref(all);
    return drawn ? LM_EXIT_OK : LM_EXIT_USAGE;
}

static const struct {
    const char *name;
    int (*run)(const options_t *options);
} jobs[] = {{"run", run}, {"echo", echo}, {"table", table}, {"chart", chart}};

enum { N_JOBS = sizeof jobs / sizeof *jobs };

/* ---- command line ---------------------------------------------------------------------------- */

static const char help[] =
    "usage: lockbench run|echo|table|chart [OPTIONS]\n\n"
    "  run     puts load on a service and says how it went\n"
    "  echo    serves calls by giving back what they bring, at the address of --endpoints\n"
    "  table   reads lines of \"run --json\" and compares the targets, medians of all runs alike\n"
    "  chart   reads the same and draws latency by percentile as SVG, of the runs with the\n"
    "          given --workload, --workers, --rate and --leader\n\n"
    "  --target NAME         lockmgr, etcd or echo (lockmgr)\n"
    "  --workload NAME       cycles: take a lock and give it back; renew: renew a held lock, or\n"
    "                        lease; hot: cycles of all workers on one lock, of lockmgr alone;\n"
    "                        sessions: keep-alives of sessions with a lease of 30 s, on a stream\n"
    "                        per connection; session-calls: the same, a call each;\n"
    "                        calls: of the echo server (the first that the target has)\n"
    "  --endpoints A,B,...   host:port (127.0.0.1:9090)\n"
    "  --leader              send everything to the node that leads, not to all in turn\n"
    "  --workers N           cycles under way at one time, at most (1)\n"
    "  --rate N              open loop: so many cycles per second are due, at even times, and\n"
    "                        latencies count from then; 0: closed loop (0)\n"
    "  --seconds N           how long is measured (10)\n"
    "  --warmup N            seconds before that (2)\n"
    "  --names N             locks to choose from, of lockmgr; 0: one for every worker (0)\n"
    "  --sessions N          of these workloads, in turn; a rate of a tenth of them keeps\n"
    "                        each alive at a third of its lease (as many as workers)\n"
    "  --svg FILE            draw the latencies of the run\n"
    "  --title TEXT          stands above the picture\n"
    "  --json                JSON instead of text\n";

/** Options with a number: letter, name, least, greatest. */
static const struct {
    int letter;
    const char *name;
    double min, max;
} numbers[] = {
    {'w', "workers", 1, BENCH_WORKERS_MAX},
    {'r', "rate", 0, 1e6},
    {'s', "seconds", 0.1, 300},
    {'u', "warmup", 0, 60},
    {'n', "names", 0, 1e6},
    {'S', "sessions", 1, 1e5},
};

static bool read_number(int letter, const char *text, double *number)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].letter != letter) continue;
        char *end;
        *number = strtod(text, &end);
        if (*text >= '0' && *text <= '9' && *end == '\0' && *number >= numbers[i].min &&
            *number <= numbers[i].max)
            return true;
        fprintf(stderr, "lockbench: --%s takes a number from %g to %g, not \"%s\"\n",
                numbers[i].name, numbers[i].min, numbers[i].max, text);
    }
    return false;
}

static bool set_number(int letter, options_t *o)
{
    double number;
    if (!read_number(letter, optarg, &number)) return false;
    if (letter == 'w') o->aim.workers = (size_t)number;
    if (letter == 'n') o->aim.names = (size_t)number;
    if (letter == 'S') o->aim.sessions = (size_t)number;
    if (letter == 'r') o->rate = number;
    if (letter == 's') o->seconds = number;
    if (letter == 'u') o->warmup_s = number;
    return true;
}

static bool set_text(int letter, options_t *o)
{
    const struct {
        int letter;
        const char **at;
    } texts[] = {{'t', &o->target},
                 {'k', &o->workload},
                 {'e', &o->aim.endpoints},
                 {'g', &o->svg},
                 {'i', &o->title}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].letter != letter) continue;
        *texts[i].at = optarg;
        return true;
    }
    return false;
}

static bool set_option(int letter, options_t *o)
{
    if (letter == '?') return false; /* getopt has said why */
    if (letter == 'L') return o->aim.leader = true;
    if (letter == 'j') return o->json = true;
    return set_text(letter, o) || set_number(letter, o);
}

static bool read_options(int argc, char **argv, options_t *o)
{
    static const struct option known[] = {{"target", required_argument, NULL, 't'},
                                          {"workload", required_argument, NULL, 'k'},
                                          {"endpoints", required_argument, NULL, 'e'},
                                          {"leader", no_argument, NULL, 'L'},
                                          {"workers", required_argument, NULL, 'w'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"warmup", required_argument, NULL, 'u'},
                                          {"names", required_argument, NULL, 'n'},
                                          {"sessions", required_argument, NULL, 'S'},
                                          {"svg", required_argument, NULL, 'g'},
                                          {"title", required_argument, NULL, 'i'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            exit(LM_EXIT_OK);
        }
        if (!set_option(c, o)) return false;
    }
    if (optind + 1 == argc) return true;
    fputs(help, stderr);
    return false;
}

int main(int argc, char **argv)
{
    options_t options = {.target = "lockmgr",
                         .title = "Latency by percentile",
                         .aim = {.endpoints = "127.0.0.1:9090", .workers = 1},
                         .seconds = 10,
                         .warmup_s = 2};
    if (!read_options(argc, argv, &options)) return LM_EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < N_JOBS; i++)
        if (strcmp(jobs[i].name, argv[optind]) == 0) return jobs[i].run(&options);
    fprintf(stderr, "lockbench: no such job: %s (see --help)\n", argv[optind]);
    return LM_EXIT_USAGE;
}
