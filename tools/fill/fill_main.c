/* lockmgr-fill: puts a great many held locks into a region, renews them, and probes what that does
 * to others. tests/cluster/measure_million.py uses it.
 *
 * Invariants
 *   M1  A lock counts as held when its grant was answered; the file of --holds remembers it, so
 *       that a later run goes on where this one ended. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_exit.h"
#include "fill_jobs.h"
#include "fill_report.h"

enum {
    LOCKS_MAX = 100000000,
    RENEWALS_MAX = 1000000000,
    OUTSTANDING_MAX = 2048,
    CONNECTION_CALLS = 90, /* below the number of streams that a node allows by default */
    ENDPOINTS_MAX = 32,
    CALL_TIMEOUT_MS = 10000,
    ASK_TIMEOUT_MS = 2000,
    PROBE_TTL_MS = 60000,
};

typedef struct {
    const char *job;
    const char *endpoints;
    const char *holds;
    const char *samples;
    uint64_t locks, outstanding, ttl_ms, renewals, rate, seconds, seed;
    bool leader, json, quiet;
} options_t;

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop++;
}

/* ---- where calls go -------------------------------------------------------------------------- */

/** Index of the endpoint that leads, or that of the first if none says so. */
static size_t find_leader(lm_client_t *client)
{
    size_t leader = 0;
    lm_arena_t *arena = lm_arena_new();
    for (size_t i = 0; i < lm_client_endpoints(client); i++) {
        lm_api_get_status_request_t request = {0};
        const void *message = NULL;
        lm_client_result_t result =
            lm_client_ask(client, i, LM_CLIENT_STATUS, &request, ASK_TIMEOUT_MS, arena, &message);
        const lm_api_get_status_response_t *status = message;
        if (result.grpc_status == 0 && status->role == LM_API_RAFT_ROLE_LEADER) leader = i;
    }
    lm_arena_destroy(&arena);
    return leader;
}

/** The endpoints that calls go to first, each as often as it needs connections; then the rest. */
static lm_client_t *open_connections(const options_t *o, lm_client_t *plain, size_t *first)
{
    char list[4096] = "";
    size_t n = lm_client_endpoints(plain), leader = o->leader ? find_leader(plain) : 0, used = 0;
    size_t connections =
        (o->outstanding / (o->leader ? 1 : n) + CONNECTION_CALLS) / CONNECTION_CALLS;
    *first = 0;
    for (size_t k = 0; k < connections; k++) {
        for (size_t i = 0; i < n && *first < ENDPOINTS_MAX - n; i++) {
            if (o->leader && i != leader) continue;
            used += (size_t)snprintf(list + used, sizeof list - used, "%s,",
                                     lm_client_endpoint(plain, i));
            ++*first;
        }
    }
    for (size_t i = 0; i < n && o->leader && used < sizeof list; i++)
        if (i != leader)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s,",
                                     lm_client_endpoint(plain, i));
    return used < sizeof list ? lm_client_open(list) : NULL;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static int finish(const options_t *o, fill_figures_t *figures)
{
    if (o->json)
        fill_report_json(o->job, figures);
    else
        fill_report_text(o->job, figures);
    if (*figures->error) fprintf(stderr, "lockmgr-fill: the last failure: %s\n", figures->error);
    int code = figures->done > 0 && figures->refused == 0 ? LM_EXIT_OK : LM_EXIT_TRY_LATER;
    free(figures->per_second);
    free(figures);
    return code;
}

static int run_on_store(const options_t *o, const fill_flow_t *flow, bool take)
{
    fill_figures_t *figures = lm_alloc(sizeof *figures);
    memset(figures, 0, sizeof *figures);
    fill_store_t *store = fill_store_open(o->holds, o->locks);
    if (!store) {
        free(figures);
        return LM_EXIT_SYSTEM;
    }
    fill_taking_t taking = {.store = store, .ttl_ms = o->ttl_ms};
    fill_renewing_t renewing = {
        .store = store, .left = o->renewals, .chance = o->seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
    fill_job_t job = take ? fill_jobs_take(&taking) : fill_jobs_renew(&renewing);
    fill_flow_run(flow, &job, &stop, figures);
    fill_store_close(&store);
    return finish(o, figures);
}

static int run_take(const options_t *o, const fill_flow_t *flow)
{
    return run_on_store(o, flow, true);
}

static int run_renew(const options_t *o, const fill_flow_t *flow)
{
    return run_on_store(o, flow, false);
}

static int run_probe(const options_t *o, const fill_flow_t *flow)
{
    fill_figures_t *figures = lm_alloc(sizeof *figures);
    fill_probing_t *probing = lm_alloc(sizeof *probing);
    char id[33];
    memset(figures, 0, sizeof *figures);
    memset(probing, 0, sizeof *probing);
    lm_client_make_id(id);
    memcpy(probing->title, id, sizeof probing->title - 1);
    probing->per_second = (double)o->rate;
    probing->ttl_ms = PROBE_TTL_MS;
    probing->samples = o->samples ? fopen(o->samples, "we") : NULL;
    if (o->samples && !probing->samples) {
        perror(o->samples);
        return LM_EXIT_SYSTEM;
    }
    probing->begin_us = lm_client_clock_us();
    probing->end_us = probing->begin_us + o->seconds * 1000000;
    fill_job_t job = fill_jobs_probe(probing);
    fill_flow_run(flow, &job, &stop, figures);
    if (probing->samples) fclose(probing->samples);
    free(probing);
    return finish(o, figures);
}

static const struct {
    const char *name;
    int (*run)(const options_t *options, const fill_flow_t *flow);
} jobs[] = {{"take", run_take}, {"renew", run_renew}, {"probe", run_probe}};

enum { N_JOBS = sizeof jobs / sizeof *jobs };

/* ---- command line ---------------------------------------------------------------------------- */

static const char help[] =
    "usage: lockmgr-fill take|renew|probe [OPTIONS]\n\n"
    "  take    takes every lock that is not held yet\n"
    "  renew   renews held locks, whichever chance says\n"
    "  probe   takes and gives back locks of its own at an even rate\n\n"
    "  --endpoints A,B,...   host:port of nodes (127.0.0.1:9090)\n"
    "  --leader              send everything to the node that leads at the beginning\n"
    "  --outstanding N       calls under way at one time, at most 2048 (256)\n"
    "  --holds FILE          where the locks are noted that are held; needed by renew\n"
    "  --locks N             locks to take; for renew, as it was for take (1000)\n"
    "  --ttl N               milliseconds that they are to be held (300000)\n"
    "  --renewals N          how many (100000)\n"
    "  --seed N              for the choice of locks to renew (1)\n"
    "  --rate N              calls per second of the probe (100)\n"
    "  --seconds N           how long it probes (10)\n"
    "  --samples FILE        where the probe writes a line for each answer: time in seconds on\n"
    "                        CLOCK_MONOTONIC, milliseconds it took, call\n"
    "  --quiet               no lines of progress\n"
    "  --json                one JSON object instead of a line\n";

/** Options with a number: letter, name, smallest, greatest, where it goes. */
static const struct {
    int letter;
    const char *name;
    uint64_t min, max;
    size_t at;
} numbers[] = {
    {'l', "locks", 1, LOCKS_MAX, offsetof(options_t, locks)},
    {'o', "outstanding", 1, OUTSTANDING_MAX, offsetof(options_t, outstanding)},
    {'t', "ttl", 1, INT64_MAX, offsetof(options_t, ttl_ms)},
    {'r', "renewals", 1, RENEWALS_MAX, offsetof(options_t, renewals)},
    {'d', "seed", 0, UINT64_MAX, offsetof(options_t, seed)},
    {'a', "rate", 1, 100000, offsetof(options_t, rate)},
    {'s', "seconds", 1, 86400, offsetof(options_t, seconds)},
};

static bool read_number(int letter, const char *text, options_t *o)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].letter != letter) continue;
        char *end;
        unsigned long long value = strtoull(text, &end, 10);
        *(uint64_t *)(void *)((char *)o + numbers[i].at) = value;
        if (*text >= '0' && *text <= '9' && *end == '\0' && value >= numbers[i].min &&
            value <= numbers[i].max)
            return true;
        fprintf(stderr, "lockmgr-fill: --%s takes a number from %llu to %llu, not \"%s\"\n",
                numbers[i].name, (unsigned long long)numbers[i].min,
                (unsigned long long)numbers[i].max, text);
    }
    return false;
}

static bool read_option(int letter, options_t *o)
{
    switch (letter) {
    case 'e': o->endpoints = optarg; return true;
    case 'f': o->holds = optarg; return true;
    case 'p': o->samples = optarg; return true;
    case 'L': o->leader = true; return true;
    case 'j': o->json = true; return true;
    case 'q': o->quiet = true; return true;
    default: return letter != '?' && read_number(letter, optarg, o);
    }
}

static bool read_options(int argc, char **argv, options_t *o)
{
    static const struct option known[] = {{"endpoints", required_argument, NULL, 'e'},
                                          {"holds", required_argument, NULL, 'f'},
                                          {"samples", required_argument, NULL, 'p'},
                                          {"leader", no_argument, NULL, 'L'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"locks", required_argument, NULL, 'l'},
                                          {"outstanding", required_argument, NULL, 'o'},
                                          {"ttl", required_argument, NULL, 't'},
                                          {"renewals", required_argument, NULL, 'r'},
                                          {"seed", required_argument, NULL, 'd'},
                                          {"rate", required_argument, NULL, 'a'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            exit(LM_EXIT_OK);
        }
        if (!read_option(c, o)) return false;
    }
    if (optind + 1 == argc) {
        o->job = argv[optind];
        return true;
    }
    fputs(help, stderr);
    return false;
}

static int run_job(const options_t *o)
{
    size_t job = 0, first = 0;
    while (job < N_JOBS && strcmp(jobs[job].name, o->job) != 0) job++;
    if (job == N_JOBS) {
        fprintf(stderr, "lockmgr-fill: no such job: %s (see --help)\n", o->job);
        return LM_EXIT_USAGE;
    }
    lm_client_t *plain = lm_client_open(o->endpoints);
    lm_client_t *client = plain ? open_connections(o, plain, &first) : NULL;
    lm_client_close(&plain);
    if (!client) {
        fprintf(stderr, "lockmgr-fill: --endpoints takes 1 to 31 addresses\n");
        return LM_EXIT_USAGE;
    }
    fill_flow_t flow = {.client = client,
                        .first_endpoints = first,
                        .outstanding = o->outstanding,
                        .timeout_ms = CALL_TIMEOUT_MS,
                        .progress = !o->quiet};
    int code = jobs[job].run(o, &flow);
    lm_client_close(&client);
    return code;
}

int main(int argc, char **argv)
{
    options_t options = {.endpoints = "127.0.0.1:9090",
                         .locks = 1000,
                         .outstanding = 256,
                         .ttl_ms = 300000,
                         .renewals = 100000,
                         .seed = 1,
                         .rate = 100,
                         .seconds = 10};
    if (!read_options(argc, argv, &options)) return LM_EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return run_job(&options);
}
