/* lockctl run NAME -- COMMAND: holds a lock while a command runs.
 *
 *   acquire --> spawn child --> wait --child ends--> release, exit with its status
 *                                \--hold lost--> TERM, then KILL the child, exit 4
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"

extern char **environ;

enum { WAIT_FOREVER_MS = 86400000 };

typedef struct {
    const ctl_options_t *options;
    lm_client_t *client;
    const char *owner;
    lm_keeper_t *keeper;
    pid_t child;
    int signals_fd, lost_fd;
    bool lost;
    uint64_t kill_at_us; /* 0: not yet asked to end */
} run_t;

static sigset_t watched_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

void ctl_run_prepare(void)
{
    sigset_t set = watched_signals();
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static int watch_signals(void)
{
    sigset_t set = watched_signals();
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/** Waits for the lock. Without --timeout it waits as long as it takes, but only if somebody is
 *  there to wait at. */
static int acquire(run_t *run, lm_arena_t *arena, const lm_api_acquire_response_t **grant,
                   lm_client_result_t *result)
{
    const ctl_options_t *o = run->options;
    const void *message = NULL;
    bool patient = o->timeout_ms < 0 && !o->no_wait && o->wait_ms < 0;
    if (patient) {
        lm_api_get_status_request_t status = {0};
        *result = lm_client_call(run->client, LM_CLIENT_STATUS, &status, ctl_timeout_ms(o, 0),
                                 arena, &message);
        if (result->grpc_status != 0) return ctl_fail(o, result);
    }
    int64_t wait_ms = ctl_wait_ms(o, -1);
    uint64_t timeout_ms = patient ? WAIT_FOREVER_MS : ctl_timeout_ms(o, wait_ms);
    lm_api_acquire_request_t request = ctl_acquire_request(o, wait_ms, run->owner);
    *result = lm_client_call(run->client, LM_CLIENT_ACQUIRE, &request, timeout_ms, arena, &message);
    if (result->grpc_status != 0) return ctl_fail(o, result);
    *grant = message;
    if ((*grant)->result == LM_API_ACQUIRE_RESULT_GRANTED) return CTL_OK;
    if (!o->quiet) fprintf(stderr, "lockctl: %s is held by another\n", o->words[1]);
    return (int)o->conflict_code;
}

static void export_grant(const run_t *run, const lm_api_acquire_response_t *grant)
{
    char token[32], hold[128];
    snprintf(token, sizeof token, "%" PRId64, grant->token);
    snprintf(hold, sizeof hold, "%.*s", LM_BYTES_ARG(grant->hold_id));
    setenv("LOCK_NAME", run->options->words[1], 1);
    setenv("LOCK_OWNER", run->owner, 1);
    setenv("LOCK_TOKEN", token, 1);
    setenv("LOCK_HOLD_ID", hold, 1);
}

static int spawn_child(run_t *run)
{
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int rc = posix_spawnp(&run->child, run->options->command[0], NULL, &attributes,
                          run->options->command, environ);
    posix_spawnattr_destroy(&attributes);
    if (rc == 0) return CTL_OK;
    fprintf(stderr, "lockctl: %s: %s\n", run->options->command[0], strerror(rc));
    return rc == ENOENT ? CTL_NOT_FOUND : CTL_CANNOT_RUN;
}

static void end_child(run_t *run)
{
    if (run->kill_at_us) return;
    run->kill_at_us = lm_client_clock_us() + (uint64_t)run->options->kill_after_ms * 1000;
    kill(run->child, SIGTERM);
}

static void lose(run_t *run)
{
    if (run->lost) return;
    run->lost = true;
    fprintf(stderr, "lockctl: the lock %s is lost: %s\n", run->options->words[1],
            lm_keeper_cause(run->keeper));
    end_child(run);
}

/** Passes signals on to the child; true when the child has ended, with its status. */
static bool read_signals(run_t *run, int *status)
{
    struct signalfd_siginfo info;
    while (read(run->signals_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            kill(run->child, (int)info.ssi_signo);
        else if (waitpid(run->child, status, WNOHANG) == run->child)
            return true;
    }
    return false;
}

static int poll_timeout_ms(const run_t *run)
{
    if (!run->kill_at_us) return -1;
    uint64_t now = lm_client_clock_us();
    return now >= run->kill_at_us ? 0 : (int)((run->kill_at_us - now) / 1000) + 1;
}

static int wait_child(run_t *run)
{
    int status = 0;
    struct pollfd fds[] = {{.fd = run->signals_fd, .events = POLLIN},
                           {.fd = run->lost_fd, .events = POLLIN}};
    for (;;) {
        fds[1].fd = run->lost ? -1 : run->lost_fd;
        int ready = poll(fds, 2, poll_timeout_ms(run));
        if (ready == 0 && run->kill_at_us && lm_client_clock_us() >= run->kill_at_us)
            kill(run->child, SIGKILL);
        if (read_signals(run, &status)) break;
        if (ready > 0 && (fds[1].revents & POLLIN)) lose(run);
    }
    return WIFSIGNALED(status) ? CTL_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int hold_and_run(run_t *run, lm_arena_t *arena)
{
    const lm_api_acquire_response_t *grant = NULL;
    lm_client_result_t result;
    int code = acquire(run, arena, &grant, &result);
    if (code != CTL_OK || !grant || grant->result != LM_API_ACQUIRE_RESULT_GRANTED) return code;
    run->keeper = lm_keeper_start(run->client, run->options->words[1], run->owner, grant, &result,
                                  run->lost_fd);
    export_grant(run, grant);
    code = spawn_child(run);
    if (code == CTL_OK) code = wait_child(run);
    bool held = lm_keeper_stop(&run->keeper, true);
    return run->lost || !held ? CTL_LOST : code;
}

int ctl_run(lm_client_t *client, const ctl_options_t *options)
{
    if (options->n_words != 2 || !options->command || !options->command[0]) {
        fprintf(stderr, "lockctl: run takes the name of a lock and, behind --, a command\n");
        return CTL_USAGE;
    }
    run_t run = {
        .options = options,
        .client = client,
        .owner = options->owner ? options->owner : ctl_make_owner(),
        .signals_fd = watch_signals(),
        .lost_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    lm_arena_t *arena = lm_arena_new();
    int code = hold_and_run(&run, arena);
    lm_arena_destroy(&arena);
    close(run.signals_fd);
    close(run.lost_fd);
    return code;
}
