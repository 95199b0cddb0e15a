/* The start of an actor's process.
 *
 * Invariant
 *   P1  No actor outlives its supervisor: the kernel kills it with its parent, and a parent that
 *       was gone before that was asked for is noticed by its number. The number is compared with
 *       the one handed over, never with 1: the supervisor may be process 1. */
#include "act_process.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "act_host.h"
#include "act_stacks.h"
#include "base_check.h"
#include "base_log.h"

uint64_t lm_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- the command line ------------------------------------------------------------------------ */

static bool copy_text(char *to, size_t size, const char *text)
{
    if (*text == 0 || strlen(text) >= size) return false;
    memcpy(to, text, strlen(text) + 1);
    return true;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value == 0 || value > max) return false;
    *number = value;
    return true;
}

static bool set_supervisor(lm_process_t *p, const char *text)
{
    return strncmp(text, "ipc://", 6) == 0 && copy_text(p->supervisor, sizeof p->supervisor, text);
}

static bool set_run_dir(lm_process_t *p, const char *text)
{
    return copy_text(p->run_dir, sizeof p->run_dir, text);
}

static bool set_boot(lm_process_t *p, const char *text)
{
    return parse_number(text, UINT64_MAX, &p->generation.boot_id);
}

static bool set_counter(lm_process_t *p, const char *text)
{
    uint64_t number;
    if (!parse_number(text, UINT32_MAX, &number)) return false;
    p->generation.counter = (uint32_t)number;
    return true;
}

static bool set_parent(lm_process_t *p, const char *text)
{
    uint64_t number;
    if (!parse_number(text, INT_MAX, &number)) return false;
    p->parent_pid = (int)number;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(lm_process_t *process, const char *text);
    const char *rule;
} options[] = {
    {"--supervisor", set_supervisor, "an ipc:// endpoint"},
    {"--run-dir", set_run_dir, "a directory of at most 95 bytes"},
    {"--boot", set_boot, "a positive number of 64 bits"},
    {"--counter", set_counter, "a positive number of 32 bits"},
    {"--parent", set_parent, "a process id"},
};
enum { N_OPTIONS = sizeof options / sizeof options[0] };

static int option_of(const char *argument)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (strcmp(argument, options[i].name) == 0) return i;
    return -1;
}

static lm_exit_t usage(const char *name, const char *what, const char *rule)
{
    fprintf(stderr, "%s: %s %s\n", name, what, rule);
    fprintf(stderr,
            "%s is started by lockmgrd with --supervisor ENDPOINT --run-dir DIR --boot BOOT_ID "
            "--counter N --parent PID\n",
            name);
    return LM_EXIT_USAGE;
}

static lm_exit_t read_command_line(lm_process_t *process, int argc, char **argv, const char *name)
{
    bool seen[N_OPTIONS] = {false};
    for (int i = 1; i < argc; i += 2) {
        int option = option_of(argv[i]);
        if (option < 0) return usage(name, argv[i], "is no option");
        if (seen[option]) return usage(name, argv[i], "is given twice");
        if (i + 1 == argc || !options[option].set(process, argv[i + 1])) {
            char rule[96];
            snprintf(rule, sizeof rule, "must be %s", options[option].rule);
            return usage(name, argv[i], rule);
        }
        seen[option] = true;
    }
    for (int i = 0; i < N_OPTIONS; i++)
        if (!seen[i]) return usage(name, options[i].name, "is missing");
    return LM_EXIT_OK;
}

/* ---- the process ----------------------------------------------------------------------------- */

void lm_process_last_words(const char *words)
{
    lm_page_t *page = lm_page_mine();
    if (!page || atomic_exchange(&page->spoken, 1)) return;
    size_t size = strnlen(words, sizeof page->last_words - 1);
    memcpy(page->last_words, words, size);
    page->last_words[size] = 0;
}

void lm_process_endpoint(const lm_process_t *process, const char *address, char *endpoint,
                         size_t size)
{
    if (strncmp(process->supervisor, "inproc://", 9) == 0)
        snprintf(endpoint, size, "inproc://%s/%" PRIu64 "/%s", process->run_dir,
                 process->generation.boot_id, address);
    else
        snprintf(endpoint, size, "ipc://%s/%s", process->run_dir, address);
}

static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
    sigset_t none;
    sigemptyset(&none); /* a supervisor that reads signals from a descriptor blocks them */
    sigprocmask(SIG_SETMASK, &none, NULL);
}

lm_exit_t lm_process_start(lm_process_t *process, int argc, char **argv, const char *name)
{
    *process = (lm_process_t){0};
    lm_log_setup("", name, LM_LOG_INFO, false);
    snprintf(process->actor, sizeof process->actor, "%s", name);
    lm_exit_t exit = read_command_line(process, argc, argv, name);
    if (exit != LM_EXIT_OK) return exit;
    ignore_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        lm_error("the parent-death signal was refused: %s", strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    if (getppid() != process->parent_pid) {
        lm_error("process %d, the supervisor, is gone", process->parent_pid);
        return LM_EXIT_TRY_LATER;
    }
    lm_page_t *page = lm_page_create(process->run_dir, name);
    if (!page) {
        lm_error("no page for last words in %s: %s", process->run_dir, strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    lm_page_set_mine(page);
    lm_stacks_begin(process->run_dir, name);
    lm_check_on_last_words(lm_process_last_words);
    return LM_EXIT_OK;
}
