#include "raft_schedule.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base_log.h"

void lm_schedule_quiet(void)
{
    lm_log_setup("test", "raft", getenv("LM_INFO") ? LM_LOG_INFO : LM_LOG_ERROR, false);
}

void lm_schedule_fault(lm_cluster_t *c, uint32_t nodes)
{
    uint32_t a = (uint32_t)lm_cluster_chance(c, nodes);
    uint32_t b = (a + 1 + (uint32_t)lm_cluster_chance(c, nodes - 1)) % nodes;
    switch (lm_cluster_chance(c, 8)) {
    case 0: lm_cluster_kill(c, a, lm_cluster_chance(c, 2)); break;
    case 1:
    case 2: lm_cluster_start(c, a); break;
    case 3: lm_cluster_cut(c, a, b, true); break;
    case 4: lm_cluster_cut(c, a, b, false); break;
    case 5: lm_cluster_restart_lock(c, a); break;
    case 6: lm_cluster_reconnect(c, a, b); break;
    default: lm_cluster_pause(c, a, lm_cluster_chance(c, 3) == 0); break;
    }
}

void lm_schedule_heal(lm_cluster_t *c, uint32_t nodes)
{
    lm_cluster_loss(c, 0);
    for (uint32_t i = 0; i < nodes; i++) {
        for (uint32_t j = 0; j < i; j++) lm_cluster_cut(c, i, j, false);
        lm_cluster_pause(c, i, false);
        lm_cluster_silence_lock(c, i, false);
        lm_cluster_start(c, i);
    }
}

void lm_schedule_expect_agreement(lm_cluster_t *c, uint32_t nodes, uint64_t seed)
{
    for (uint32_t i = 1; i < nodes; i++) {
        cr_assert_eq(lm_cluster_applied(c, i), lm_cluster_applied(c, 0),
                     "seed %llu, node %u: %llu, %llu", (ull_t)seed, i,
                     (ull_t)lm_cluster_applied(c, i), (ull_t)lm_cluster_applied(c, 0));
        cr_assert_eq(lm_cluster_hash(c, i), lm_cluster_hash(c, 0), "seed %llu, node %u",
                     (ull_t)seed, i);
    }
    cr_assert(lm_cluster_keeps_promises(c), "seed %llu", (ull_t)seed);
}
