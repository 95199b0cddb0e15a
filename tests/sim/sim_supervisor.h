/* The supervisor of a virtual node: the real policy machine, and hands that start, kill and bury
 * virtual processes. */
#ifndef LM_SIM_SUPERVISOR_H
#define LM_SIM_SUPERVISOR_H

#include "sim.h"

void sim_supervisor_begin(sim_node_t *node);
void sim_supervisor_end(sim_node_t *node);
/** It runs again after a pause. */
void sim_supervisor_thaw(sim_node_t *node);
/** A process has ended: it will hear of that. */
void sim_supervisor_reap(sim_node_t *node, sim_actor_t actor, int code, int signal);
/** Somebody asks the node to stop. */
void sim_supervisor_stop(sim_node_t *node);
/** All actors of the node are ready. */
bool sim_supervisor_content(const sim_node_t *node);

/** In sim_node.c: the process begins. */
void sim_process_start(sim_node_t *node, sim_actor_t actor, uint32_t counter);

#endif
