/* The part of a supervisor that makes rooms known to each other, for tests of hosts. */
#ifndef LM_ACT_INTRODUCER_H
#define LM_ACT_INTRODUCER_H

#include "act_room.h"

typedef struct {
    struct {
        bool here, ready;
        lm_generation_t generation;
        char endpoint[160];
    } known[LM_PARTICIPANTS]; /* what the supervisor has been told */
} introducer_t;

/** ACTOR_HELLO: sends the actor a START with that log level ("": the default), and a PEER_UP for
 *  each that is ready. */
void introducer_hello(introducer_t *introducer, const lm_message_t *message, const char *log_level,
                      lm_outbox_t *out);
/** ACTOR_READY: sends everybody else who is here a PEER_UP. */
void introducer_ready(introducer_t *introducer, const lm_message_t *message, lm_outbox_t *out);

#endif
