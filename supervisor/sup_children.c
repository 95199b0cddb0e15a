#include "sup_children.h"

#include "base_check.h"

#define MS UINT64_C(1000)
#define S UINT64_C(1000000)

/* Ready means that an actor answers, not that the region has a leader; what it reads from disk on
 * its way there it announces as blocking I/O. A stuck one is found by its pings long before, and is
 * to be replaced within 1.5 s. They come as seldom as that allows, since they are much of what an
 * idle node costs: who stands still for 0.8 s misses at most two of them, and is left alone. */
#define LIFE                                                                         \
    .hello_within_us = 10 * S, .ready_within_us = 60 * S, .ping_every_us = 400 * MS, \
    .hang_us = 1200 * MS, .hang_blocking_us = 30 * S

/* The stop of all, if it may take LM_RESTART_STOP_US: 2 s for handing over leadership, then the
 * stages one after the other, each with half a second for the burial: 2 + 3 + 1.5 + 2.5 s. Edge
 * first, so that nobody brings new work. */
enum { STAGE_EDGE, STAGE_LOCK, STAGE_RAFT };

const lm_restart_spec_t lm_sup_children[LM_SUP_CHILDREN] = {
    [LM_SUP_RAFT] = {.name = "raft",
                     .rooms = {LM_RAFT},
                     .n_rooms = 1,
                     .stop_stage = STAGE_RAFT,
                     .drains = true,
                     LIFE,
                     .stop_us = 2000 * MS},
    [LM_SUP_LOCK] = {.name = "lock",
                     .rooms = {LM_LOCK},
                     .n_rooms = 1,
                     .stop_stage = STAGE_LOCK,
                     LIFE,
                     .stop_us = 1000 * MS},
    [LM_SUP_GATEWAY] = {.name = "gateway",
                        .rooms = {LM_GATEWAY},
                        .n_rooms = 1,
                        .stop_stage = STAGE_EDGE,
                        LIFE,
                        .stop_us = 1000 * MS},
    [LM_SUP_FRONTEND] = {.name = "frontend",
                         .rooms = {LM_CLIENTS, LM_PEERS},
                         .n_rooms = 2,
                         .stop_stage = STAGE_EDGE,
                         LIFE,
                         .stop_us = 2500 * MS},
    [LM_SUP_HEALTH] = {.name = "health",
                       .rooms = {LM_HEALTH},
                       .n_rooms = 1,
                       .stop_stage = STAGE_EDGE,
                       LIFE,
                       .stop_us = 1000 * MS},
};

const char *lm_sup_children_program(size_t child)
{
    static const char *const programs[LM_SUP_CHILDREN] = {
        [LM_SUP_RAFT] = "lockmgr-raft",       [LM_SUP_LOCK] = "lockmgr-lock",
        [LM_SUP_GATEWAY] = "lockmgr-gateway", [LM_SUP_FRONTEND] = "lockmgr-frontend",
        [LM_SUP_HEALTH] = "lockmgr-health",
    };
    LM_CHECK(child < LM_SUP_CHILDREN, "child %zu", child);
    return programs[child];
}
