/* The raft actor from hand-over to end, the same in every host. */
#ifndef LM_RAFT_ACTOR_H
#define LM_RAFT_ACTOR_H

#include "act_host.h"

/** Runs the raft actor until it ends; an lm_actor_run_t. */
lm_exit_t lm_raft_actor_run(const lm_process_t *process);

#endif
