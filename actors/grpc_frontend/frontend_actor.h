/* The frontend from hand-over to end, the same in every host: the peers room in the calling thread,
 * the clients room in a second one, gRPC in a third. */
#ifndef LM_FRONTEND_ACTOR_H
#define LM_FRONTEND_ACTOR_H

#include "act_host.h"

/** Runs the frontend until it ends; an lm_actor_run_t. gRPC must be set up. */
lm_exit_t lm_frontend_actor_run(const lm_process_t *process);

/** Sets gRPC up for this process, whose host's business that is; its own threads begin. Not before
 *  signals are blocked or ignored. */
void lm_frontend_actor_begin_process(void);
/** Takes it down when no frontend runs any more; its own threads have ended then. */
void lm_frontend_actor_end_process(void);

#endif
