/* A session that holds many locks while its region is being hurt; and a judge of its library.
 *
 * usage: session_holder ENDPOINTS PREFIX LOCKS TTL_MS thread|loop [TIMEOUT_MS]
 *
 * Takes PREFIX0, PREFIX1 ..., says "ready" and the session's id, and takes and gives back further
 * locks until its input ends; TIMEOUT_MS is that of these calls. Meanwhile a line for each change
 * of the state. Then it says what it saw as one line of JSON and closes the session. Exit code 0:
 * nothing was lost.
 *
 * With "loop" there is one thread, and the session has none of its own but that of its calls.
 */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_check.h"
#include "client_session.h"

enum { CHURNERS = 4, CALL_TIMEOUT_MS = 20000, PAUSE_MS = 20 };

typedef struct {
    const char *prefix;
    unsigned locks;
    int64_t *tokens;
    bool own_thread;
    uint64_t timeout_ms;
    lm_session_t *session;
    _Atomic bool over;
    _Atomic uint64_t cycles, failures;
    _Atomic uint64_t jeopardies, losses;
    uint64_t last_deadline_us, gap_us; /* between acknowledged keep-alives */
} judge_t;

static void on_change(void *arg, lm_session_state_t state)
{
    judge_t *j = arg;
    j->jeopardies += state == LM_SESSION_JEOPARDY;
    j->losses += state == LM_SESSION_LOST;
    printf("%s\n", lm_session_state_name(state));
    fflush(stdout);
}

static int64_t take(judge_t *j, const char *name, uint64_t timeout_ms, lm_arena_t *arena)
{
    const lm_api_acquire_response_t *grant = NULL;
    lm_client_result_t result = lm_session_acquire(j->session, name, LM_API_LOCK_MODE_EXCLUSIVE, -1,
                                                   timeout_ms, arena, &grant);
    if (result.grpc_status == 0 && grant->result == LM_API_ACQUIRE_RESULT_GRANTED)
        return grant->token;
    fprintf(stderr, "%s: %d %s %s\n", name, result.grpc_status, result.text,
            lm_rc_name(result.code));
    return 0;
}

static void cycle(judge_t *j, unsigned who, lm_arena_t *arena)
{
    char name[64];
    snprintf(name, sizeof name, "%schurn%u", j->prefix, who);
    bool taken = take(j, name, j->timeout_ms, arena) > 0;
    bool given = taken && lm_session_release(j->session, name, j->timeout_ms).grpc_status == 0;
    atomic_fetch_add(given ? &j->cycles : &j->failures, 1);
    lm_arena_reset(arena);
}

typedef struct {
    judge_t *judge;
    unsigned number;
    pthread_t thread;
} churner_t;

static void *churn(void *arg)
{
    churner_t *c = arg;
    lm_arena_t *arena = lm_arena_new();
    while (!atomic_load(&c->judge->over)) {
        cycle(c->judge, c->number, arena);
        poll(NULL, 0, PAUSE_MS);
    }
    lm_arena_destroy(&arena);
    return NULL;
}

static void watch_deadline(judge_t *j)
{
    uint64_t deadline_us = lm_session_deadline_us(j->session);
    uint64_t gap_us = deadline_us - j->last_deadline_us;
    if (j->last_deadline_us && gap_us > j->gap_us) j->gap_us = gap_us;
    j->last_deadline_us = deadline_us;
}

/** Until the input ends. */
static void hold(judge_t *j)
{
    lm_arena_t *arena = lm_arena_new();
    struct pollfd fds[] = {{.fd = 0, .events = POLLIN},
                           {.fd = lm_session_fd(j->session), .events = POLLIN}};
    while (!(fds[0].revents & (POLLIN | POLLHUP))) {
        poll(fds, 2, PAUSE_MS);
        lm_session_step(j->session);
        watch_deadline(j);
        if (!j->own_thread) cycle(j, 0, arena);
    }
    lm_arena_destroy(&arena);
}

static unsigned count_held(judge_t *j)
{
    char name[64];
    unsigned held = 0;
    for (unsigned i = 0; i < j->locks; i++) {
        snprintf(name, sizeof name, "%s%u", j->prefix, i);
        held += lm_session_holds(j->session, name);
    }
    return held;
}

static bool take_all(judge_t *j)
{
    char name[64];
    lm_arena_t *arena = lm_arena_new();
    bool all = true;
    for (unsigned i = 0; i < j->locks && all; i++) {
        snprintf(name, sizeof name, "%s%u", j->prefix, i);
        j->tokens[i] = take(j, name, CALL_TIMEOUT_MS, arena);
        all = j->tokens[i] > 0;
        lm_arena_reset(arena);
    }
    lm_arena_destroy(&arena);
    return all;
}

static bool report(judge_t *j)
{
    unsigned held = count_held(j);
    lm_session_state_t state = lm_session_state(j->session);
    printf("{\"held\": %u, \"state\": \"%s\", \"cause\": \"%s\", \"jeopardies\": %" PRIu64
           ", \"losses\": %" PRIu64 ", \"gap_ms\": %" PRIu64 ", \"cycles\": %" PRIu64
           ", \"failures\": %" PRIu64 ", \"orphans\": %" PRIu64 "}\n",
           held, lm_session_state_name(state), lm_session_cause(j->session),
           atomic_load(&j->jeopardies), atomic_load(&j->losses), j->gap_us / 1000,
           atomic_load(&j->cycles), atomic_load(&j->failures), lm_session_orphans(j->session));
    fflush(stdout);
    return held == j->locks && state != LM_SESSION_LOST;
}

static bool run(judge_t *j)
{
    churner_t churners[CHURNERS];
    if (!take_all(j)) return false;
    printf("ready %s\n", lm_session_id(j->session));
    fflush(stdout);
    unsigned n = j->own_thread ? CHURNERS : 0;
    for (unsigned i = 0; i < n; i++) {
        churners[i] = (churner_t){.judge = j, .number = i};
        LM_CHECK(pthread_create(&churners[i].thread, NULL, churn, &churners[i]) == 0, "no thread");
    }
    hold(j);
    atomic_store(&j->over, true);
    for (unsigned i = 0; i < n; i++) pthread_join(churners[i].thread, NULL);
    return report(j);
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 7) {
        fprintf(stderr,
                "usage: session_holder ENDPOINTS PREFIX LOCKS TTL_MS thread|loop [TIMEOUT_MS]\n");
        return 2;
    }
    judge_t judge = {.prefix = argv[2],
                     .locks = (unsigned)strtoul(argv[3], NULL, 10),
                     .timeout_ms = argc == 7 ? strtoull(argv[6], NULL, 10) : CALL_TIMEOUT_MS,
                     .own_thread = strcmp(argv[5], "thread") == 0};
    lm_session_options_t options = {.ttl_ms = strtoll(argv[4], NULL, 10),
                                    .timeout_ms = CALL_TIMEOUT_MS,
                                    .own_thread = judge.own_thread,
                                    .on_change = on_change,
                                    .arg = &judge};
    judge.tokens = calloc(judge.locks + 1U, sizeof *judge.tokens);
    lm_client_result_t result;
    lm_client_t *client = lm_client_open(argv[1]);
    judge.session = lm_session_open(client, &options, &result);
    if (!judge.session) {
        fprintf(stderr, "no session: %d %s\n", result.grpc_status, result.text);
        return 3;
    }
    bool good = run(&judge);
    good = lm_session_close(&judge.session, 5000) && good;
    lm_client_close(&client);
    free(judge.tokens);
    return good ? 0 : 1;
}
