/* How often each child was started, kept in RUN/tally so that generations go on when the supervisor
 * itself is started again.
 *
 * The file has one line per child, NAME=COUNT, and boot_id=NANOSECONDS. A supervisor's boot id is
 * greater than that of any earlier one in the same run directory, so that a lost tally does no
 * harm.
 */
#ifndef LM_SUP_TALLY_H
#define LM_SUP_TALLY_H

#include "sup_children.h"
#include "sup_rundir.h"

typedef struct {
    uint64_t boot_id;
    uint32_t counters[LM_SUP_CHILDREN];
} lm_sup_tally_t;

/** Reads the tally and gives this supervisor its boot id: now_ns, CLOCK_BOOTTIME in nanoseconds, or
 *  one more than the last one if that was greater (the machine has been booted since). */
void lm_sup_tally_load(lm_sup_tally_t *tally, const lm_sup_rundir_t *rundir, uint64_t now_ns);
bool lm_sup_tally_save(const lm_sup_tally_t *tally, const lm_sup_rundir_t *rundir);

#endif
