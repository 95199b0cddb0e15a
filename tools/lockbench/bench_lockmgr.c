/* lockmgr as a target. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_route.h"
#include "bench_targets.h"
#include "client_flight.h"

enum {
    CALL_TIMEOUT_MS = 30000,
    ASK_TIMEOUT_MS = 2000,
    TTL_MS = 60000,
    SESSION_TTL_MS = 30000,
};

typedef struct {
    char id[33], secret[65];
} session_t;

typedef struct {
    char owner[33];
    char name[96];
    char hold_id[160]; /* of the last grant */
    uint64_t chance;
    size_t session; /* the one that it opens or closes */
} worker_t;

typedef struct {
    const bench_aim_t *aim;
    const bench_plan_t *plan;
    lm_client_t *client;
    lm_flight_t *flight;
    lm_arena_t *arena;
    size_t n_connections;
    char title[33];      /* new for every run: no name is used twice */
    session_t *sessions; /* worker w opens and closes w, w + workers, w + 2 workers, ... */
    size_t n_sessions;
    size_t next_session; /* keep-alives go round all of them, whichever worker is free */
    worker_t workers[];
} lockmgr_t;

/* A status, so that connections are there before the first cycle. */
static const bench_plan_t plans[] = {
    {"cycles", {[BENCH_PREPARE] = "status", [BENCH_FIRST] = "acquire", [BENCH_SECOND] = "release"}},
    {"hot", {[BENCH_PREPARE] = "status", [BENCH_FIRST] = "acquire", [BENCH_SECOND] = "release"}},
    {"sessions", {[BENCH_PREPARE] = "open", [BENCH_FIRST] = "keep-alive", [BENCH_CLEAN] = "close"}},
    {"session-calls",
     {[BENCH_PREPARE] = "open", [BENCH_FIRST] = "keep-alive", [BENCH_CLEAN] = "close"}},
    {"renew", {[BENCH_PREPARE] = "acquire", [BENCH_FIRST] = "renew", [BENCH_CLEAN] = "release"}},
    {0},
};

/* ---- opening --------------------------------------------------------------------------------- */

/** Index of the endpoint that leads; -1 if none says so. */
static int find_leader(const char *endpoints)
{
    int leader = -1;
    lm_client_t *client = lm_client_open(endpoints);
    lm_arena_t *arena = lm_arena_new();
    for (size_t i = 0; client && i < lm_client_endpoints(client); i++) {
        lm_api_get_status_request_t request = {0};
        const void *message = NULL;
        lm_client_result_t result =
            lm_client_ask(client, i, LM_CLIENT_STATUS, &request, ASK_TIMEOUT_MS, arena, &message);
        const lm_api_get_status_response_t *status = message;
        if (result.grpc_status == 0 && status->role == LM_API_RAFT_ROLE_LEADER) leader = (int)i;
    }
    lm_arena_destroy(&arena);
    lm_client_close(&client);
    return leader;
}

static lm_client_t *open_client(const bench_aim_t *aim, size_t *n)
{
    int leader = aim->leader ? find_leader(aim->endpoints) : -1;
    if (aim->leader && leader < 0) {
        fprintf(stderr, "lockbench: none of %s leads\n", aim->endpoints);
        return NULL;
    }
    char *list = bench_route_make(aim->endpoints, leader, aim->workers, n);
    lm_client_t *client = list ? lm_client_open(list) : NULL;
    free(list);
    if (!client) fprintf(stderr, "lockbench: --endpoints needs 1 to 32 addresses\n");
    return client;
}

static void name_worker(lockmgr_t *l, size_t at)
{
    worker_t *w = &l->workers[at];
    lm_client_make_id(w->owner);
    w->chance = lm_bytes_hash(lm_bytes_of(w->owner), LM_HASH_START) | 1;
    snprintf(w->name, sizeof w->name, "lockbench/%s/%zu", l->title, at);
    w->session = at;
}

static bool has_sessions(const bench_plan_t *plan)
{
    return strncmp(plan->workload, "session", 7) == 0;
}

static void *open_target(const bench_aim_t *aim, const bench_plan_t *plan)
{
    size_t n = 0;
    lm_client_t *client = open_client(aim, &n);
    if (!client) return NULL;
    size_t size = sizeof(lockmgr_t) + aim->workers * sizeof(worker_t);
    lockmgr_t *l = lm_alloc(size);
    memset(l, 0, size);
    l->aim = aim;
    l->plan = plan;
    l->client = client;
    l->n_connections = n;
    l->flight = lm_flight_open(client, aim->workers);
    l->arena = lm_arena_new();
    lm_client_make_id(l->title);
    if (has_sessions(plan)) {
        l->n_sessions = aim->sessions > aim->workers ? aim->sessions : aim->workers;
        l->sessions = lm_alloc(l->n_sessions * sizeof *l->sessions);
    }
    for (size_t i = 0; i < aim->workers; i++) name_worker(l, i);
    return l;
}

static void close_target(void *self)
{
    lockmgr_t *l = self;
    lm_flight_close(&l->flight);
    lm_client_close(&l->client);
    lm_arena_destroy(&l->arena);
    free(l->sessions);
    free(l);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void choose_name(lockmgr_t *l, worker_t *w)
{
    size_t names = strcmp(l->plan->workload, "hot") == 0 ? 1 : l->aim->names;
    if (names == 0) return;
    w->chance ^= w->chance << 13;
    w->chance ^= w->chance >> 7;
    w->chance ^= w->chance << 17;
    snprintf(w->name, sizeof w->name, "lockbench/%s/%llu", l->title,
             (unsigned long long)(w->chance % names));
}

static void start(lockmgr_t *l, size_t at, lm_client_method_t method, const void *request)
{
    lm_flight_start(l->flight, at, at % l->n_connections, method, request, CALL_TIMEOUT_MS);
}

static void keep(lockmgr_t *l, size_t at, const lm_api_keep_alive_request_t *request)
{
    size_t endpoint = at % l->n_connections;
    if (strcmp(l->plan->workload, "session-calls") == 0)
        lm_flight_start(l->flight, at, endpoint, LM_CLIENT_KEEP_ALIVE, request, CALL_TIMEOUT_MS);
    else
        lm_flight_keep(l->flight, at, endpoint, request, CALL_TIMEOUT_MS);
}

static void begin_session(lockmgr_t *l, size_t at, bench_step_t step)
{
    size_t which = step == BENCH_FIRST ? l->next_session++ % l->n_sessions : l->workers[at].session;
    const session_t *s = &l->sessions[which];
    if (step == BENCH_PREPARE) {
        lm_api_open_session_request_t request = {.client = lm_bytes_of(l->title),
                                                 .ttl_ms = SESSION_TTL_MS};
        start(l, at, LM_CLIENT_OPEN_SESSION, &request);
    } else if (step == BENCH_FIRST) {
        lm_api_keep_alive_request_t request = {.session_id = lm_bytes_of(s->id),
                                               .secret = lm_bytes_of(s->secret)};
        keep(l, at, &request);
    } else {
        lm_api_close_session_request_t request = {.session_id = lm_bytes_of(s->id),
                                                  .secret = lm_bytes_of(s->secret)};
        start(l, at, LM_CLIENT_CLOSE_SESSION, &request);
    }
}

static void begin(void *self, size_t at, bench_step_t step)
{
    lockmgr_t *l = self;
    worker_t *w = &l->workers[at];
    const char *what = l->plan->steps[step];
    if (l->sessions) {
        begin_session(l, at, step);
        return;
    }
    if (strcmp(what, "acquire") == 0) {
        choose_name(l, w);
        lm_api_acquire_request_t request = {.name = lm_bytes_of(w->name),
                                            .owner = lm_bytes_of(w->owner),
                                            .ttl_ms = TTL_MS,
                                            .wait_ms = -1};
        start(l, at, LM_CLIENT_ACQUIRE, &request);
        return;
    }
    if (strcmp(what, "status") == 0) {
        lm_api_get_status_request_t request = {0};
        start(l, at, LM_CLIENT_STATUS, &request);
        return;
    }
    if (strcmp(what, "renew") == 0) {
        lm_api_renew_request_t request = {.name = lm_bytes_of(w->name),
                                          .owner = lm_bytes_of(w->owner),
                                          .hold_id = lm_bytes_of(w->hold_id)};
        start(l, at, LM_CLIENT_RENEW, &request);
        return;
    }
    lm_api_release_request_t request = {.name = lm_bytes_of(w->name),
                                        .owner = lm_bytes_of(w->owner),
                                        .hold_id = lm_bytes_of(w->hold_id)};
    start(l, at, LM_CLIENT_RELEASE, &request);
}

/** Keeps what names the hold. */
static void take_grant(worker_t *w, const lm_api_acquire_response_t *response, bench_end_t *end)
{
    end->good = response->result == LM_API_ACQUIRE_RESULT_GRANTED &&
                response->hold_id.size < sizeof w->hold_id;
    if (end->good)
        snprintf(w->hold_id, sizeof w->hold_id, "%.*s", LM_BYTES_ARG(response->hold_id));
    else
        snprintf(end->error, sizeof end->error, "not granted");
}

static void keep_session(session_t *s, const lm_api_open_session_response_t *r)
{
    snprintf(s->id, sizeof s->id, "%.*s", LM_BYTES_ARG(r->session_id));
    snprintf(s->secret, sizeof s->secret, "%.*s", LM_BYTES_ARG(r->secret));
}

/** True if the worker's step is not over, because it has one more session to open or to close. */
static bool has_more_sessions(lockmgr_t *l, const lm_flight_end_t *over, bench_end_t *end)
{
    worker_t *w = &l->workers[over->place];
    bool opens = over->method == LM_CLIENT_OPEN_SESSION;
    if (over->method == LM_CLIENT_KEEP_ALIVE) {
        const lm_api_keep_alive_response_t *r = over->response;
        if (!end->good || r->result == LM_API_KEEP_ALIVE_RESULT_ALIVE) return false;
        end->good = false;
        snprintf(end->error, sizeof end->error, "the session has ended");
        return false;
    }
    if (opens && !end->good) return false; /* it is tried again */
    if (opens) keep_session(&l->sessions[w->session], over->response);
    w->session += l->aim->workers;
    bool more = w->session < l->n_sessions;
    if (!more) w->session = over->place; /* from the first again when they are closed */
    if (more) begin_session(l, over->place, opens ? BENCH_PREPARE : BENCH_CLEAN);
    return more;
}

static bool next(void *self, uint64_t wait_us, bench_end_t *end)
{
    lockmgr_t *l = self;
    lm_flight_end_t over;
    lm_arena_reset(l->arena);
    if (!lm_flight_next(l->flight, wait_us, l->arena, &over)) return false;
    end->worker = over.place;
    end->good = over.result.grpc_status == 0;
    snprintf(end->error, sizeof end->error, "%s", over.result.text);
    if (end->good && over.method == LM_CLIENT_ACQUIRE)
        take_grant(&l->workers[over.place], over.response, end);
    return !l->sessions || !has_more_sessions(l, &over, end);
}

const bench_target_t bench_lockmgr = {"lockmgr", plans, open_target, begin, next, close_target};
