/* lockmgr-node: a whole node in one process, with its five actors as threads.
 *
 * The supervisor's room runs in the main thread, as in lockmgrd, and its policy is the same, but
 * for what a thread cannot have: nobody can kill it, and nobody can tell what it left behind in the
 * memory of the others.
 *
 * Invariants
 *   N1  One actor's failure ends the node with that actor's exit class, after the others have
 *       been stopped in order. Nothing is restarted.
 *   N2  An actor that does not answer ends the process at once, so that no second raft is ever at
 *       work beside a stuck one (S17). When the node stops anyway, it is left behind instead.
 *   N3  What belongs to a process and not to an actor is set up and taken down here: gRPC,
 *       ZeroMQ's context, signals. libuv's pool of threads is one for all who use it.
 *   N4  A death is told once, though one that was left behind may still come to its end.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act_thread.h"
#include "base_check.h"
#include "base_log.h"
#include "frontend_actor.h"
#include "gateway_actor.h"
#include "health_actor.h"
#include "lock_actor.h"
#include "raft_actor.h"
#include "sup_children.h"
#include "sup_node.h"

typedef struct threads threads_t;

typedef struct {
    threads_t *all;
    size_t child;
    lm_thread_t *thread; /* NULL: was never started */
    uint32_t counter;
    uint64_t started_us;
    const char *left_why; /* NULL: not left behind */
    _Atomic bool ended, failed;
    _Atomic bool told; /* its death, by whoever set this */
} place_t;

struct threads {
    lm_sup_node_t *node;
    place_t places[LM_SUP_CHILDREN];
};

static lm_actor_run_t *const runs[LM_SUP_CHILDREN] = {
    [LM_SUP_RAFT] = lm_raft_actor_run,       [LM_SUP_LOCK] = lm_lock_actor_run,
    [LM_SUP_GATEWAY] = lm_gateway_actor_run, [LM_SUP_FRONTEND] = lm_frontend_actor_run,
    [LM_SUP_HEALTH] = lm_health_actor_run,
};

static bool lives(const place_t *place)
{
    return place->thread && !place->left_why && !atomic_load(&place->ended);
}

/* ---- the end of one -------------------------------------------------------------------------- */

static void tell_death(const place_t *place, int code, int signal, const lm_page_t *page)
{
    lm_sup_death_t death = {.child = place->child,
                            .pid = getpid(),
                            .counter = place->counter,
                            .code = code,
                            .signal = signal,
                            .lived_us = lm_clock_us() - place->started_us,
                            .killed_why = signal ? place->left_why : NULL};
    if (page) memcpy(death.last_words, page->last_words, sizeof death.last_words - 1);
    lm_sup_node_tell_death(place->all->node, &death);
}

/* In the actor's thread. */
static void on_ended(void *arg, lm_exit_t code)
{
    place_t *place = arg;
    atomic_store(&place->failed, code != LM_EXIT_OK);
    atomic_store(&place->ended, true);
    if (atomic_exchange(&place->told, true)) return;
    tell_death(place, (int)code, 0, lm_page_mine());
}

static void kill_child(void *arg, size_t child, const char *why)
{
    threads_t *all = arg;
    place_t *place = &all->places[child];
    if (!lives(place)) return;
    lm_error("%s: %s, and a thread cannot be killed", lm_sup_children[child].name, why);
    if (!lm_sup_node_is_stopping(all->node)) lm_sup_node_leave(all->node, LM_EXIT_TRY_LATER);
    if (atomic_exchange(&place->told, true)) return;
    place->left_why = why;
    tell_death(place, 0, SIGKILL, NULL);
}

/* ---- life ------------------------------------------------------------------------------------ */

static lm_exit_t prepare(void *arg, lm_sup_node_t *node)
{
    ((threads_t *)arg)->node = node;
    lm_thread_prepare_process();
    lm_frontend_actor_begin_process();
    return LM_EXIT_OK;
}

static bool start(void *arg, size_t child, uint32_t counter)
{
    threads_t *all = arg;
    place_t *place = &all->places[child];
    const char *name = lm_sup_children[child].name;
    LM_CHECK(!place->thread, "%s is started a second time", name);
    place->all = all;
    place->child = child;
    place->counter = counter;
    place->started_us = lm_clock_us();
    lm_process_t process = *lm_sup_node_self(all->node);
    process.generation.counter = counter;
    process.parent_pid = 0;
    snprintf(process.actor, sizeof process.actor, "%s", name);
    place->thread = lm_thread_new(&process, runs[child], on_ended, place);
    if (place->thread) lm_info("%s started: a thread of this process, start %u", name, counter);
    return place->thread != NULL;
}

static bool is_blocking(void *arg, size_t child)
{
    const place_t *place = &((threads_t *)arg)->places[child];
    return lives(place) && atomic_load(&lm_thread_page(place->thread)->blocking_since_us) != 0;
}

static uint32_t pid_of(void *arg, size_t child)
{
    return lives(&((threads_t *)arg)->places[child]) ? (uint32_t)getpid() : 0;
}

/* Threads of an actor's own, as that of raft's disk, may still be at work after a failure. */
static void finish(void *arg, lm_exit_t code)
{
    threads_t *all = arg;
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) {
        if (all->places[i].left_why || atomic_load(&all->places[i].failed)) _exit(code);
    }
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) lm_thread_destroy(&all->places[i].thread);
    lm_frontend_actor_end_process();
}

int main(int argc, char **argv)
{
    static threads_t all;
    const lm_sup_ways_t ways = {.arg = &all,
                                .threads = true,
                                .prepare = prepare,
                                .start = start,
                                .kill = kill_child,
                                .is_blocking = is_blocking,
                                .pid = pid_of,
                                .finish = finish};
    return lm_sup_node_main(&ways, argc, argv);
}
