/* A node from its command line to its exit status, whichever way its children live.
 *
 * Reads the configuration, takes the run directory, and runs the supervisor's room on a host in the
 * calling thread. Signals come in through a descriptor and become news for the room. Whether a
 * child is a process or a thread is known only to the ways that the program hands over.
 */
#ifndef LM_SUP_NODE_H
#define LM_SUP_NODE_H

#include <stdnoreturn.h>

#include "act_host.h"
#include "sup_obituary.h"

typedef struct lm_sup_node lm_sup_node_t;

/** How the children of a node live and die. All are called by the supervisor's thread. */
typedef struct {
    void *arg;
    /** Children are threads of this process: the bus is within it, and the first death ends it. */
    bool threads;
    /** --threads is asked for and this program has none: becomes the one that has, or returns why
     *  not. NULL in that one. */
    lm_exit_t (*hand_over)(char **argv);
    /** The run directory is ours and signals are blocked; nothing runs yet. */
    lm_exit_t (*prepare)(void *arg, lm_sup_node_t *node);
    bool (*start)(void *arg, size_t child, uint32_t counter);
    void (*kill)(void *arg, size_t child, const char *why);
    bool (*is_blocking)(void *arg, size_t child);
    uint32_t (*pid)(void *arg, size_t child); /* 0: there is no such child now */
    /** Processes may have ended. NULL: there are none. */
    void (*reap)(void *arg);
    /** The room has ended; code is the node's. NULL: nothing is left to do. */
    void (*finish)(void *arg, lm_exit_t code);
} lm_sup_ways_t;

/** The whole of main. One node per process. */
lm_exit_t lm_sup_node_main(const lm_sup_ways_t *ways, int argc, char **argv);

/* ---- for the ways ---- */

/** What the supervisor is on the bus: where it is bound, its run directory and generation. */
const lm_process_t *lm_sup_node_self(const lm_sup_node_t *node);
/** A child has ended. Any thread. */
void lm_sup_node_tell_death(lm_sup_node_t *node, const lm_sup_death_t *death);
/** True from the first request to stop on. */
bool lm_sup_node_is_stopping(const lm_sup_node_t *node);
/** Ends the process as it stands, after the status file has been written. */
noreturn void lm_sup_node_leave(const lm_sup_node_t *node, lm_exit_t code);

#endif
