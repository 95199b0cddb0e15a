/* Seeds of lock_world.h. LM_WORLD_SEEDS and LM_WORLD_FIRST choose more of them. */
#include "lock_world.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void add(world_figures_t *sum, const world_figures_t *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) to[i] += from[i];
}

Test(lock_world, random_faults_by_seed)
{
    uint64_t first = from_environment("LM_WORLD_FIRST", 1);
    uint64_t seeds = from_environment("LM_WORLD_SEEDS", 25);
    world_figures_t sum = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        world_figures_t one = world_run(seed, 10000);
        add(&sum, &one);
    }
    fprintf(stderr,
            "%" PRIu64 " steps, %" PRIu64 " grants, %" PRIu64 " renewals, %" PRIu64
            " forwards, "
            "%" PRIu64 " undelivered, %" PRIu64 " ended, %" PRIu64 " unknown, %" PRIu64
            " timed out, %" PRIu64 " held; %" PRIu64 " leaders, %" PRIu64 " locks, %" PRIu64
            " rafts restarted; %" PRIu64 " snapshots, %" PRIu64 " given up, %" PRIu64 " loaded\n",
            sum.steps, sum.grants, sum.renewals, sum.forwards, sum.undelivered, sum.ended,
            sum.unknown, sum.timed_out, sum.held, sum.leader_changes, sum.lock_restarts,
            sum.raft_restarts, sum.snapshots, sum.drops, sum.restores);
    /* Every rare thing must have happened. */
    const uint64_t rare[] = {
        sum.grants,    sum.renewals, sum.forwards,       sum.undelivered,   sum.ended,
        sum.timed_out, sum.held,     sum.leader_changes, sum.lock_restarts, sum.raft_restarts,
        sum.snapshots, sum.drops,    sum.restores};
    for (size_t i = 0; i < sizeof rare / sizeof *rare; i++)
        cr_assert(rare[i] > 0, "nothing of kind %zu has happened", i);
}
