/* lockmgr-cycles: how many times per second a region lets locks be taken and given back.
 *
 * Every worker is a thread with an owner of its own. It takes a lock, gives it back, and begins
 * again; a cycle lasts from sending the Acquire to the answer of the Release.
 *
 * Invariants
 *   L1  Only whole cycles that lie inside the measured time count.
 *   L2  A worker holds at most one lock, and none when the program ends, as far as answers say.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base_arena.h"
#include "base_exit.h"
#include "client.h"
#include "cycles_histogram.h"

enum {
    WORKERS_MAX = 4096,
    NAMES_MAX = 1000000,
    SECONDS_MAX = 86400,
    CALL_TIMEOUT_MS = 10000,
    TTL_MS = 30000,
    PAUSE_AFTER_ERROR_MS = 50,
};

typedef struct {
    const char *endpoints;
    uint64_t workers;
    uint64_t seconds;
    uint64_t warmup_seconds;
    uint64_t names; /* 0: as many as workers, so that nobody waits for anybody */
    bool json;
} options_t;

typedef struct {
    const options_t *options;
    lm_client_t *client;
    unsigned number;
    char owner[33];
    uint64_t chance;
    cycles_histogram_t latencies;
    uint64_t errors;
    char error[288];
    pthread_t thread;
} worker_t;

static atomic_bool measuring, stopping;

/* ---- one worker ------------------------------------------------------------------------------ */

static void pause_ms(long ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

static uint64_t next_chance(worker_t *w)
{
    w->chance ^= w->chance << 13;
    w->chance ^= w->chance >> 7;
    w->chance ^= w->chance << 17;
    return w->chance;
}

/** With a name per worker each keeps its own; otherwise any of them. */
static lm_bytes_t choose_name(worker_t *w, lm_arena_t *arena)
{
    uint64_t names = w->options->names;
    uint64_t n = names == 0 ? w->number : next_chance(w) % names;
    return lm_arena_print(arena, "cycles/%llu", (unsigned long long)n);
}

static void count_error(worker_t *w, const char *what, const char *text)
{
    w->errors++;
    snprintf(w->error, sizeof w->error, "%s: %s", what, text);
    if (!atomic_load(&stopping)) pause_ms(PAUSE_AFTER_ERROR_MS);
}

/** Takes the lock, waiting for it if it must. Returns NULL after counting an error. */
static const lm_api_acquire_response_t *take(worker_t *w, lm_bytes_t name, lm_arena_t *arena)
{
    lm_api_acquire_request_t request = {
        .name = name, .owner = lm_bytes_of(w->owner), .ttl_ms = TTL_MS, .wait_ms = -1};
    const void *message = NULL;
    lm_client_result_t result =
        lm_client_call(w->client, LM_CLIENT_ACQUIRE, &request, CALL_TIMEOUT_MS, arena, &message);
    if (result.grpc_status != 0) {
        count_error(w, "acquire", result.text);
        return NULL;
    }
    const lm_api_acquire_response_t *response = message;
    if (response->result == LM_API_ACQUIRE_RESULT_GRANTED) return response;
    count_error(w, "acquire", "not granted");
    return NULL;
}

static bool give_back(worker_t *w, lm_bytes_t name, lm_bytes_t hold_id, lm_arena_t *arena)
{
    lm_api_release_request_t request = {
        .name = name, .owner = lm_bytes_of(w->owner), .hold_id = hold_id};
    const void *message = NULL;
    lm_client_result_t result =
        lm_client_call(w->client, LM_CLIENT_RELEASE, &request, CALL_TIMEOUT_MS, arena, &message);
    if (result.grpc_status != 0) count_error(w, "release", result.text);
    return result.grpc_status == 0;
}

static void run_cycle(worker_t *w, lm_arena_t *arena)
{
    bool counts = atomic_load(&measuring);
    uint64_t begin_us = lm_client_clock_us();
    lm_bytes_t name = choose_name(w, arena);
    const lm_api_acquire_response_t *grant = take(w, name, arena);
    if (!grant || !give_back(w, name, grant->hold_id, arena)) return;
    if (counts && atomic_load(&measuring))
        cycles_histogram_add(&w->latencies, lm_client_clock_us() - begin_us);
}

static void *run_worker(void *arg)
{
    worker_t *w = arg;
    lm_arena_t *arena = lm_arena_new();
    while (!atomic_load(&stopping)) {
        run_cycle(w, arena);
        lm_arena_reset(arena);
    }
    lm_arena_destroy(&arena);
    return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/** Runs all workers; returns for how many seconds cycles were counted. */
static double run_all(worker_t *workers, const options_t *options)
{
    for (uint64_t i = 0; i < options->workers; i++) {
        if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) != 0) {
            fprintf(stderr, "lockmgr-cycles: only %llu threads could be started\n",
                    (unsigned long long)i);
            exit(LM_EXIT_SYSTEM);
        }
    }
    pause_ms((long)options->warmup_seconds * 1000);
    uint64_t begin_us = lm_client_clock_us();
    atomic_store(&measuring, true);
    pause_ms((long)options->seconds * 1000);
    atomic_store(&measuring, false);
    uint64_t end_us = lm_client_clock_us();
    atomic_store(&stopping, true);
    for (uint64_t i = 0; i < options->workers; i++) pthread_join(workers[i].thread, NULL);
    return (double)(end_us - begin_us) / 1e6;
}

static const struct {
    const char *name;
    double part;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

enum { N_PERCENTILES = sizeof percentiles / sizeof *percentiles };

static void print_text(const options_t *o, const cycles_histogram_t *all, double rate,
                       uint64_t errors)
{
    printf("%llu workers: %.0f cycles/s", (unsigned long long)o->workers, rate);
    for (int i = 0; i < N_PERCENTILES; i++)
        printf(", %s %.2f ms", percentiles[i].name,
               (double)cycles_histogram_at(all, percentiles[i].part) / 1e3);
    printf(", max %.2f ms, %llu errors\n", (double)all->max_us / 1e3, (unsigned long long)errors);
}

static void print_json(const options_t *o, const cycles_histogram_t *all, double rate,
                       double seconds, uint64_t errors)
{
    printf("{\"workers\":%llu,\"seconds\":%.3f,\"cycles\":%llu,\"cycles_per_second\":%.1f",
           (unsigned long long)o->workers, seconds, (unsigned long long)all->n, rate);
    for (int i = 0; i < N_PERCENTILES; i++)
        printf(",\"%s_us\":%llu", percentiles[i].name,
               (unsigned long long)cycles_histogram_at(all, percentiles[i].part));
    printf(",\"max_us\":%llu,\"errors\":%llu}\n", (unsigned long long)all->max_us,
           (unsigned long long)errors);
}

static int report(worker_t *workers, const options_t *options, double seconds)
{
    cycles_histogram_t *all = lm_alloc(sizeof *all);
    uint64_t errors = 0, n;
    const char *error = NULL;
    for (uint64_t i = 0; i < options->workers; i++) {
        cycles_histogram_merge(all, &workers[i].latencies);
        errors += workers[i].errors;
        if (workers[i].errors) error = workers[i].error;
    }
    double rate = (double)all->n / seconds;
    if (options->json)
        print_json(options, all, rate, seconds, errors);
    else
        print_text(options, all, rate, errors);
    if (error) fprintf(stderr, "lockmgr-cycles: one of the errors: %s\n", error);
    n = all->n;
    free(all);
    return n > 0 ? LM_EXIT_OK : LM_EXIT_TRY_LATER;
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char help[] =
    "usage: lockmgr-cycles [OPTIONS]\n\n"
    "Takes and gives back locks as fast as it can and says how often that went.\n\n"
    "  --endpoints A,B,...   host:port of nodes (127.0.0.1:9090)\n"
    "  --workers N           threads, each with one lock at a time (1)\n"
    "  --seconds N           how long is measured (10)\n"
    "  --warmup N            seconds before that (1)\n"
    "  --names N             locks to choose from; 0: one of its own for every worker (0)\n"
    "  --json                one JSON object instead of a line\n";

static bool read_number(const char *option, const char *text, uint64_t min, uint64_t max,
                        uint64_t *number)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && value >= min && value <= max) {
        *number = value;
        return true;
    }
    fprintf(stderr, "lockmgr-cycles: --%s takes a number from %llu to %llu, not \"%s\"\n", option,
            (unsigned long long)min, (unsigned long long)max, text);
    return false;
}

static bool read_options(int argc, char **argv, options_t *o)
{
    static const struct option known[] = {{"endpoints", required_argument, NULL, 'e'},
                                          {"workers", required_argument, NULL, 'w'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"warmup", required_argument, NULL, 'u'},
                                          {"names", required_argument, NULL, 'n'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        if (c == 'e')
            o->endpoints = optarg;
        else if (c == 'w')
            good = read_number("workers", optarg, 1, WORKERS_MAX, &o->workers);
        else if (c == 's')
            good = read_number("seconds", optarg, 1, SECONDS_MAX, &o->seconds);
        else if (c == 'u')
            good = read_number("warmup", optarg, 0, SECONDS_MAX, &o->warmup_seconds);
        else if (c == 'n')
            good = read_number("names", optarg, 0, NAMES_MAX, &o->names);
        else if (c == 'j')
            o->json = true;
        else if (c == 'h') {
            fputs(help, stdout);
            exit(LM_EXIT_OK);
        } else
            good = false; /* getopt has said why */
    }
    if (!good || optind == argc) return good;
    fprintf(stderr, "lockmgr-cycles: unknown argument: %s\n", argv[optind]);
    return false;
}

int main(int argc, char **argv)
{
    options_t options = {
        .endpoints = "127.0.0.1:9090", .workers = 1, .seconds = 10, .warmup_seconds = 1};
    if (!read_options(argc, argv, &options)) return LM_EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    lm_client_t *client = lm_client_open(options.endpoints);
    if (!client) {
        fprintf(stderr, "lockmgr-cycles: --endpoints takes 1 to 32 addresses\n");
        return LM_EXIT_USAGE;
    }
    worker_t *workers = lm_alloc(options.workers * sizeof *workers);
    for (uint64_t i = 0; i < options.workers; i++) {
        worker_t *w = &workers[i];
        w->options = &options;
        w->client = client;
        w->number = (unsigned)i;
        lm_client_make_id(w->owner);
        w->chance = lm_bytes_hash(lm_bytes_of(w->owner), LM_HASH_START) | 1;
    }
    double seconds = run_all(workers, &options);
    int code = report(workers, &options, seconds);
    lm_client_close(&client);
    free(workers);
    return code;
}
