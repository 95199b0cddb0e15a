/* lockctl run NAME -- COMMAND: holds a lock while a command runs, in a session of its own or in the
 * one that --session names.
 *
 *   open --> acquire --> spawn child --> wait --child ends--> give back, exit with its status
 *               |                         \--session lost--> TERM, then KILL the child, exit 4
 *               \--signal--> close, exit 128 + its number
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_session.h"
#include "ctl.h"

extern char **environ;

enum { WAIT_FOREVER_MS = 86400000, CLOSE_TIMEOUT_MS = 5000, LEAVE_TIMEOUT_MS = 1000 };

typedef struct {
    const ctl_options_t *options;
    lm_client_t *client;
    lm_session_t *session;
    pid_t child;
    int signals_fd;
    bool patient; /* waits as long as it takes, through an outage of the region too */
    bool opened;  /* once at least */
    bool lost;
    uint64_t kill_at_us; /* 0: not yet asked to end */
} run_t;

/** An Acquire in a thread of its own, so that signals are seen meanwhile. */
typedef struct {
    run_t *run;
    int64_t wait_ms;
    uint64_t timeout_ms;
    lm_arena_t *arena;
    const lm_api_acquire_response_t *grant;
    lm_client_result_t result;
    int done_fd;
} acquiring_t;

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

void ctl_block_signals(void)
{
    sigset_t set = watched_signals();
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGCHLD, SIG_DFL); /* where a parent ignores it, nobody is told of a child's end */
}

int ctl_signals_fd(void)
{
    sigset_t set = watched_signals();
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void drain(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0) perror("lockctl: eventfd");
}

/* ---- getting the lock ------------------------------------------------------------------------ */

static int open_session(run_t *run)
{
    const ctl_options_t *o = run->options;
    lm_client_result_t result;
    lm_session_options_t how = {.client = o->owner ? o->owner : ctl_make_owner(),
                                .ttl_ms = o->ttl_ms > 0 ? o->ttl_ms : 0,
                                .timeout_ms = run->opened ? WAIT_FOREVER_MS : ctl_timeout_ms(o, 0),
                                .own_thread = true};
    if (o->session_id) {
        how.session_id = o->session_id;
        how.secret = ctl_secret(o);
        if (!how.secret) return CTL_USAGE;
    }
    run->session = lm_session_open(run->client, &how, &result);
    run->opened = run->session != NULL;
    return run->session ? CTL_OK : ctl_fail(o, &result);
}

static void *acquire(void *arg)
{
    acquiring_t *a = arg;
    const ctl_options_t *o = a->run->options;
    uint64_t one = 1;
    a->result = lm_session_acquire(a->run->session, o->words[1], ctl_mode(o), a->wait_ms,
                                   a->timeout_ms, a->arena, &a->grant);
    if (write(a->done_fd, &one, sizeof one) != (ssize_t)sizeof one) perror("lockctl: eventfd");
    return NULL;
}

/** The wait ends with the session, or with this process: either way nobody stands in the queue. */
__attribute__((noreturn)) static void leave(run_t *run, int signal_number)
{
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_api_close_session_request_t request = {
        .session_id = lm_bytes_of(lm_session_id(run->session)),
        .secret = lm_bytes_of(lm_session_secret(run->session))};
    if (!run->options->session_id)
        lm_client_call(run->client, LM_CLIENT_CLOSE_SESSION, &request, LEAVE_TIMEOUT_MS, arena,
                       &message);
    _exit(CTL_SIGNAL + signal_number);
}

static void wait_acquired(acquiring_t *a)
{
    struct signalfd_siginfo info;
    struct pollfd fds[] = {{.fd = a->run->signals_fd, .events = POLLIN},
                           {.fd = a->done_fd, .events = POLLIN}};
    pthread_t thread;
    if (pthread_create(&thread, NULL, acquire, a) != 0) {
        acquire(a);
        return;
    }
    while (!(fds[1].revents & POLLIN)) {
        poll(fds, 2, -1);
        if (fds[1].revents & POLLIN) break;
        if (read(a->run->signals_fd, &info, sizeof info) == (ssize_t)sizeof info &&
            info.ssi_signo != SIGCHLD) {
            pthread_detach(thread); /* it ends with the process */
            leave(a->run, (int)info.ssi_signo);
        }
    }
    pthread_join(thread, NULL);
}

/** A session that is lost while it waits, because the region was away, has a successor. */
static bool tries_again(const acquiring_t *a)
{
    return a->run->patient && !a->run->options->session_id && a->result.grpc_status != 0 &&
           a->result.code == LM_RC_SESSION_ENDED;
}

/** Waits for the lock. Without --timeout it waits as long as it takes: that somebody is there to
 *  wait at has been seen when the session was opened. */
static int get_lock(run_t *run, acquiring_t *a)
{
    const ctl_options_t *o = run->options;
    a->wait_ms = ctl_wait_ms(o, -1);
    a->timeout_ms = run->patient ? WAIT_FOREVER_MS : ctl_timeout_ms(o, a->wait_ms);
    for (;;) {
        wait_acquired(a);
        if (!tries_again(a)) break;
        lm_session_close(&run->session, 0);
        int code = open_session(run);
        if (code != CTL_OK) return code;
        drain(a->done_fd);
    }
    if (a->result.grpc_status != 0) return ctl_fail(o, &a->result);
    if (a->grant->result == LM_API_ACQUIRE_RESULT_GRANTED) return CTL_OK;
    if (!o->quiet) fprintf(stderr, "lockctl: %s is held by another\n", o->words[1]);
    return (int)o->conflict_code;
}

static void export_grant(const run_t *run, const lm_api_acquire_response_t *grant)
{
    char token[32], hold[128];
    snprintf(token, sizeof token, "%" PRId64, grant->token);
    snprintf(hold, sizeof hold, "%.*s", LM_BYTES_ARG(grant->hold_id));
    setenv("LOCK_NAME", run->options->words[1], 1);
    setenv("LOCK_OWNER", lm_session_client(run->session), 1);
    setenv("LOCK_SESSION", lm_session_id(run->session), 1);
    setenv("LOCK_TOKEN", token, 1);
    setenv("LOCK_HOLD_ID", hold, 1);
    unsetenv("LOCKCTL_SECRET");
}

/* ---- the child ------------------------------------------------------------------------------- */

static int spawn_child(run_t *run)
{
    posix_spawnattr_t attributes;
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE); /* ignored here, which a child would inherit */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ours);
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
            lm_session_cause(run->session));
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
                           {.fd = lm_session_fd(run->session), .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, 2, poll_timeout_ms(run));
        if (ready == 0 && run->kill_at_us && lm_client_clock_us() >= run->kill_at_us)
            kill(run->child, SIGKILL);
        if (read_signals(run, &status)) break;
        if (lm_session_step(run->session) == LM_SESSION_LOST) lose(run);
    }
    return WIFSIGNALED(status) ? CTL_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/** Gives back what was held. Returns false if it was not held until now. */
static bool give_back(run_t *run)
{
    bool held = lm_session_holds(run->session, run->options->words[1]);
    bool own = !run->options->session_id;
    if (held && !own) lm_session_release(run->session, run->options->words[1], CLOSE_TIMEOUT_MS);
    return lm_session_close(&run->session, own ? CLOSE_TIMEOUT_MS : 0) && held;
}

static int hold_and_run(run_t *run, acquiring_t *acquiring)
{
    int code = open_session(run);
    if (code != CTL_OK) return code;
    code = get_lock(run, acquiring);
    if (code != CTL_OK) {
        lm_session_close(&run->session, run->options->session_id ? 0 : CLOSE_TIMEOUT_MS);
        return code;
    }
    export_grant(run, acquiring->grant);
    code = spawn_child(run);
    if (code == CTL_OK) code = wait_child(run);
    bool held = give_back(run);
    return run->lost || !held ? CTL_LOST : code;
}

int ctl_run(lm_client_t *client, const ctl_options_t *options)
{
    if (options->n_words != 2 || !options->command || !options->command[0]) {
        fprintf(stderr, "lockctl: run takes the name of a lock and, behind --, a command\n");
        return CTL_USAGE;
    }
    run_t run = {.options = options,
                 .client = client,
                 .signals_fd = ctl_signals_fd(),
                 .patient = options->timeout_ms < 0 && !options->no_wait && options->wait_ms < 0};
    acquiring_t acquiring = {
        .run = &run, .arena = lm_arena_new(), .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int code = hold_and_run(&run, &acquiring);
    lm_arena_destroy(&acquiring.arena);
    close(acquiring.done_fd);
    close(run.signals_fd);
    return code;
}
