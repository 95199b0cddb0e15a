/* The echo target: unary calls of the size of a small request. */
#include <stdio.h>
#include <stdlib.h>

#include "base_arena.h"
#include "bench_route.h"
#include "bench_rpc.h"
#include "bench_targets.h"

typedef struct {
    bench_rpc_t *rpc;
} echo_t;

/* About as long as an Acquire. */
static const char request[] =
    "lockbench/0123456789abcdef0123456789abcdef/1 0123456789abcdef0123456789abcdef 30000";

static const bench_plan_t plans[] = {
    {"calls", {[BENCH_PREPARE] = "call", [BENCH_FIRST] = "call"}},
    {0},
};

static void *open_target(const bench_aim_t *aim, const bench_plan_t *plan)
{
    size_t n = 0;
    (void)plan;
    char *list = bench_route_make(aim->endpoints, -1, aim->workers, &n);
    if (!list) {
        fprintf(stderr, "lockbench: --endpoints needs 1 to 32 addresses\n");
        return NULL;
    }
    echo_t *e = lm_alloc(sizeof *e);
    e->rpc = bench_rpc_open(list, aim->workers);
    free(list);
    return e;
}

static void begin(void *self, size_t at, bench_step_t step)
{
    echo_t *e = self;
    (void)step;
    bench_rpc_call(e->rpc, at, BENCH_ECHO_PATH, lm_bytes_of(request));
}

static bool next(void *self, uint64_t wait_us, bench_end_t *end)
{
    echo_t *e = self;
    bench_rpc_end_t over;
    if (!bench_rpc_next(e->rpc, wait_us, &over)) return false;
    bool same = lm_bytes_equal(over.response, lm_bytes_of(request));
    end->worker = over.place;
    end->good = over.status == 0 && same;
    snprintf(end->error, sizeof end->error, "%s", over.status ? over.text : "another answer");
    return true;
}

static void close_target(void *self)
{
    echo_t *e = self;
    bench_rpc_close(e->rpc);
    free(e);
}

const bench_target_t bench_echo = {"echo", plans, open_target, begin, next, close_target};
