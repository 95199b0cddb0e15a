/* The region-gateway from hand-over to end, the same in every host. */
#ifndef LM_GATEWAY_ACTOR_H
#define LM_GATEWAY_ACTOR_H

#include "act_host.h"

/** Runs the region-gateway until it ends; an lm_actor_run_t. */
lm_exit_t lm_gateway_actor_run(const lm_process_t *process);

#endif
