/* The inlet from inside: see act_host.h for what foreign threads do with it.
 *
 * Invariant
 *   N1  The eventfd is written by whoever puts an item into an empty inlet, after it; it is read
 *       before items are taken. So an inlet with items in it always has a readable eventfd, or one
 *       that is about to be written. */
#ifndef LM_ACT_INLET_H
#define LM_ACT_INLET_H

#include <stddef.h>

#include "act_host.h"

lm_inlet_t *lm_inlet_new(void);
/** No thread may put anything any more. Items that are still in it belong to whoever made them. */
void lm_inlet_destroy(lm_inlet_t **inlet);

/** Whether there is nothing to take. Any thread. */
bool lm_inlet_is_empty(lm_inlet_t *inlet);
/** Readable when there is something to take. */
int lm_inlet_fd(const lm_inlet_t *inlet);

/** Takes all items, in order; *items is valid until the next call. */
size_t lm_inlet_take(lm_inlet_t *inlet, void ***items);

#endif
