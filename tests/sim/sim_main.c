/* lockmgr-sim: runs seeds, counts what was injected and reached, and shows how a seed failed.
 *
 * Workers are processes of their own that take one seed after the other from a shared counter: a
 * seed that brings the product down by a signal is a failure like any other. */
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base_check.h"
#include "base_log.h"
#include "sim.h"
#include "sim_planted.h"

enum { WORKERS_MAX = 16, FAILURES_MAX = 64, SHOWN_MAX = 3, NOTES_SHOWN = 300 };

typedef struct {
    uint64_t seed;
    char rule[32];
    char words[1024];
} failure_t;

/* What workers and their parent share. */
typedef struct {
    _Atomic uint64_t next, done, n_failures;
    uint64_t last;
    _Atomic uint64_t current[WORKERS_MAX]; /* seed + 1; 0: none */
    _Atomic uint64_t events, virtual_ms;
    _Atomic uint64_t faults[SIM_FAULTS], probes[SIM_PROBES];
    failure_t failures[FAILURES_MAX];
} board_t;

typedef struct {
    uint64_t first, count;
    int jobs;
    bool check_probes, hash, twice, find_all, stop_at_first;
    const char *ledger, *plant;
    const char *program;
    sim_options_t options;
} order_t;

/* ---- one seed -------------------------------------------------------------------------------- */

static void run_seed(const order_t *order, uint64_t seed, sim_result_t *result, bool show)
{
    sim_options_t options = order->options;
    options.seed = seed;
    if (order->twice && !show) {
        sim_play_twice(&options, result);
        return;
    }
    sim_t *sim = sim_new(&options, result);
    sim_run(sim);
    if (show && result->failed && !options.trace) {
        fflush(stdout);
        sim_print_notes(sim, NOTES_SHOWN, STDOUT_FILENO);
    }
    sim_destroy(&sim);
}

static void note_failure(board_t *board, uint64_t seed, const char *rule, const char *words)
{
    uint64_t at = atomic_fetch_add(&board->n_failures, 1);
    if (at >= FAILURES_MAX) return;
    failure_t *failure = &board->failures[at];
    failure->seed = seed;
    snprintf(failure->rule, sizeof failure->rule, "%s", rule);
    snprintf(failure->words, sizeof failure->words, "%s", words);
}

/* ---- workers --------------------------------------------------------------------------------- */

static void add_up(board_t *board, const sim_result_t *result)
{
    board->events += result->events;
    board->virtual_ms += result->virtual_us / 1000;
    for (int i = 0; i < SIM_FAULTS; i++) board->faults[i] += result->faults[i];
    for (int i = 0; i < SIM_PROBES; i++) board->probes[i] += result->probes[i];
    board->done++;
}

static void work(const order_t *order, board_t *board, int worker)
{
    static sim_result_t result;
    for (;;) {
        if (order->stop_at_first && board->n_failures) return;
        uint64_t seed = atomic_fetch_add(&board->next, 1);
        if (seed >= board->last) return;
        board->current[worker] = seed + 1;
        run_seed(order, seed, &result, false);
        board->current[worker] = 0;
        add_up(board, &result);
        if (result.failed) note_failure(board, seed, result.rule, result.words);
    }
}

static pid_t start_worker(const order_t *order, board_t *board, int worker)
{
    fflush(stdout);
    pid_t pid = fork();
    LM_CHECK(pid >= 0, "no worker");
    if (pid) return pid;
    work(order, board, worker);
    _exit(0);
}

static void bury(board_t *board, int worker, int status)
{
    char words[80];
    uint64_t current = board->current[worker];
    board->current[worker] = 0;
    if (!current) return;
    board->done++;
    snprintf(words, sizeof words, "the process ended with status %d, signal %d",
             WIFEXITED(status) ? WEXITSTATUS(status) : 0,
             WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    note_failure(board, current - 1, "CRASH", words);
}

static void run_all(const order_t *order, board_t *board)
{
    pid_t workers[WORKERS_MAX];
    int alive = order->jobs;
    for (int i = 0; i < order->jobs; i++) workers[i] = start_worker(order, board, i);
    while (alive > 0) {
        int status;
        pid_t pid = wait(&status);
        int i = 0;
        while (i < order->jobs && workers[i] != pid) i++;
        if (i == order->jobs) continue;
        bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!well) bury(board, i, status);
        if (!well && board->next < board->last)
            workers[i] = start_worker(order, board, i);
        else
            alive--;
    }
}

/* ---- telling --------------------------------------------------------------------------------- */

static void print_command(const order_t *order, uint64_t seed)
{
    printf("  again: %s", order->program);
    if (order->plant) printf(" --fault %s", order->plant);
    if (order->options.nodes) printf(" --nodes %d", order->options.nodes);
    printf(" --first %" PRIu64 " --count 1 --trace\n", seed);
}

static void show_failure(const order_t *order, const failure_t *failure, bool notes)
{
    printf("seed %" PRIu64 " breaks %s: %s\n", failure->seed, failure->rule, failure->words);
    print_command(order, failure->seed);
    if (!notes) return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        static sim_result_t result;
        run_seed(order, failure->seed, &result, true);
        _exit(0);
    }
    if (pid > 0) waitpid(pid, NULL, 0);
}

static void print_marks(const char *title, const sim_mark_t *marks, const _Atomic uint64_t *counts,
                        size_t n)
{
    printf("%s\n", title);
    for (size_t i = 0; i < n; i++)
        printf("  %12" PRIu64 "  %-20s %s\n", counts[i], marks[i].name, marks[i].text);
}

static size_t unreached(const board_t *board)
{
    size_t n = 0;
    for (int i = 0; i < SIM_PROBES; i++) {
        if (board->probes[i]) continue;
        printf("never reached: %s (%s)\n", sim_probe_marks[i].name, sim_probe_marks[i].text);
        n++;
    }
    return n;
}

static void write_counts(FILE *file, const sim_mark_t *marks, const _Atomic uint64_t *counts,
                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        fprintf(file, "%s%s=%" PRIu64, i ? " " : "", marks[i].name, counts[i]);
}

static void write_ledger(const order_t *order, const board_t *board, double seconds)
{
    char commit[64] = "unknown";
    FILE *git = popen("git describe --always --dirty --abbrev=12 2>/dev/null", "r");
    if (git) {
        if (fgets(commit, sizeof commit, git)) commit[strcspn(commit, "\n")] = 0;
        pclose(git);
    }
    FILE *file = fopen(order->ledger, "a");
    LM_CHECK(file, "%s cannot be opened", order->ledger);
    fprintf(file, "%s\t%" PRIu64 "\t%" PRIu64 "\t%.0f\t%" PRIu64 "\t", commit, order->first,
            order->count, seconds, board->done - board->n_failures);
    write_counts(file, sim_fault_marks, board->faults, SIM_FAULTS);
    fprintf(file, "\t");
    write_counts(file, sim_probe_marks, board->probes, SIM_PROBES);
    fprintf(file, "\n");
    fclose(file);
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void usage(const char *program)
{
    printf(
        "usage: %s [--first N] [--count N] [--nodes 3|5] [--steps N] [--jobs N] [--trace]\n"
        "       [--hash] [--twice] [--check-probes] [--ledger FILE] [--log LEVEL]%s\n",
        program, SIM_PLANTED_USAGE);
}

static bool take_order(order_t *order, int argc, char **argv)
{
    static const struct option options[] = {
        {"first", required_argument, NULL, 'f'},  {"count", required_argument, NULL, 'c'},
        {"nodes", required_argument, NULL, 'n'},  {"steps", required_argument, NULL, 's'},
        {"jobs", required_argument, NULL, 'j'},   {"trace", no_argument, NULL, 't'},
        {"hash", no_argument, NULL, 'h'},         {"twice", no_argument, NULL, 'w'},
        {"check-probes", no_argument, NULL, 'p'}, {"ledger", required_argument, NULL, 'l'},
        {"log", required_argument, NULL, 'L'},    {"fault", required_argument, NULL, 'F'},
        {"find-all", no_argument, NULL, 'A'},     {NULL, 0, NULL, 0}};
    int c;
    lm_log_level_t level = LM_LOG_ERROR;
    lm_log_setup("sim", "sim", level, false);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'f': order->first = strtoull(optarg, NULL, 10); break;
        case 'c': order->count = strtoull(optarg, NULL, 10); break;
        case 'n': order->options.nodes = atoi(optarg); break;
        case 's': order->options.steps = strtoull(optarg, NULL, 10); break;
        case 'j': order->jobs = atoi(optarg); break;
        case 't': order->options.trace = true; break;
        case 'h': order->hash = true; break;
        case 'w': order->twice = true; break;
        case 'p': order->check_probes = true; break;
        case 'l': order->ledger = optarg; break;
        case 'L':
            if (!lm_log_level_parse(optarg, &level)) return false;
            lm_log_setup("sim", "sim", level, false);
            break;
        case 'F':
            order->plant = optarg;
            if (!sim_planted_choose(optarg)) return false;
            break;
        case 'A': order->find_all = true; break;
        default: return false;
        }
    }
    if (order->options.trace || order->hash) order->jobs = 1;
    bool nodes =
        order->options.nodes == 0 || order->options.nodes == 3 || order->options.nodes == 5;
    return nodes && order->count > 0 && order->jobs > 0 && order->jobs <= WORKERS_MAX;
}

/* --hash and --trace: seed by seed, in this process. */
static int run_here(const order_t *order)
{
    static sim_result_t result;
    int failed = 0;
    for (uint64_t seed = order->first; seed < order->first + order->count; seed++) {
        run_seed(order, seed, &result, false);
        printf("seed %" PRIu64 " trace %016" PRIx64 " events %" PRIu64 " virtual %" PRIu64 " ms\n",
               seed, result.trace_hash, result.events, result.virtual_us / 1000);
        if (!result.failed) continue;
        printf("seed %" PRIu64 " breaks %s: %s\n", seed, result.rule, result.words);
        failed = 1;
    }
    return failed;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static board_t *new_board(const order_t *order)
{
    board_t *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LM_CHECK(board != MAP_FAILED, "no memory to share");
    board->next = order->first;
    board->last = order->first + order->count;
    return board;
}

static int run_order(const order_t *order)
{
    board_t *board = new_board(order);
    double begun = now_s();
    run_all(order, board);
    double seconds = now_s() - begun;
    uint64_t failures = board->n_failures < FAILURES_MAX ? board->n_failures : FAILURES_MAX;
    for (uint64_t i = 0; i < failures; i++) show_failure(order, &board->failures[i], i < SHOWN_MAX);
    print_marks("faults", sim_fault_marks, board->faults, SIM_FAULTS);
    print_marks("probes", sim_probe_marks, board->probes, SIM_PROBES);
    printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " clean, %" PRIu64 " failed; %" PRIu64
           " events, %" PRIu64 " s of virtual time in %.1f s\n",
           board->done, order->first, board->done - board->n_failures, board->n_failures,
           board->events, board->virtual_ms / 1000, seconds);
    if (order->ledger) write_ledger(order, board, seconds);
    bool missing = order->check_probes && unreached(board);
    return board->n_failures || missing ? 1 : 0;
}

/* --find-all: each planted fault, or that of --fault, and the first seed that finds it. */
static int find_all(order_t *order)
{
    int missed = 0;
    order->stop_at_first = true;
    printf("| fault | rule | what it does | seed | found as |\n|---|---|---|---|---|\n");
    for (const sim_plant_t *plant = sim_plants; plant->name; plant++) {
        if (order->plant && strcmp(order->plant, plant->name) != 0) continue;
        board_t *board = new_board(order);
        sim_planted_choose(plant->name);
        run_all(order, board);
        const failure_t *best = NULL;
        for (uint64_t i = 0; i < board->n_failures && i < FAILURES_MAX; i++)
            if (!best || board->failures[i].seed < best->seed) best = &board->failures[i];
        missed += !best;
        printf("| %s | %s | %s | ", plant->name, plant->rule, plant->text);
        if (best)
            printf("%" PRIu64 " | %s |\n", best->seed, best->rule);
        else
            printf("not found | |\n");
        munmap(board, sizeof *board);
    }
    return missed ? 1 : 0;
}

int main(int argc, char **argv)
{
    order_t order = {.first = 1, .count = 100, .jobs = 2, .program = argv[0]};
    if (!take_order(&order, argc, argv)) {
        usage(argv[0]);
        return LM_EXIT_USAGE;
    }
    if (order.find_all) return find_all(&order);
    return order.options.trace || order.hash ? run_here(&order) : run_order(&order);
}
