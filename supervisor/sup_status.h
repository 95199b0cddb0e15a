/* RUN/status: what the node is about, as JSON, for people and scripts; readable without asking the
 * supervisor, and also after its end. */
#ifndef LM_SUP_STATUS_H
#define LM_SUP_STATUS_H

#include "act_room.h"
#include "sup_room.h"
#include "sup_rundir.h"

/** Replaces the file. now_us is the clock of the room's views. running is false after the last
 *  child is gone and the supervisor is about to end. */
void lm_sup_status_write(const lm_sup_rundir_t *rundir, const lm_sup_config_t *config,
                         lm_generation_t self, const lm_sup_room_t *room, uint64_t now_us,
                         bool running);

#endif
