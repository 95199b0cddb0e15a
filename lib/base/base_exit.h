/* Exit classes: how a process ended, for whoever started it.
 *
 * 64, 78 and 79 are never retried by the supervisor: they end the node with that code. */
#ifndef LM_BASE_EXIT_H
#define LM_BASE_EXIT_H

typedef enum {
    LM_EXIT_OK = 0,
    LM_EXIT_USAGE = 64,     /* wrong command line */
    LM_EXIT_ASSERTION = 70, /* an invariant does not hold */
    LM_EXIT_SYSTEM = 71,    /* the operating system refused something */
    LM_EXIT_TRY_LATER = 75, /* something else is in the way for the moment */
    LM_EXIT_CONFIG = 78,    /* the configuration is wrong */
    LM_EXIT_DAMAGED = 79,   /* durable state is damaged or foreign */
} lm_exit_t;

#endif
