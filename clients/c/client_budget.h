/* How often a client repeats what nodes have refused: at most a tenth of its calls, and one a
 * second besides. Without that every refusal of a node that has too much to do would bring it
 * another call.
 *
 * A pure machine: the clock is an argument, and whoever uses it keeps threads apart. */
#ifndef LM_CLIENT_BUDGET_H
#define LM_CLIENT_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t thousandths; /* of a repeat */
    uint64_t at_us;       /* when that was so */
} lm_budget_t;

/** A full budget: what a client may do before it has made any calls. */
void lm_budget_begin(lm_budget_t *budget, uint64_t now_us);
/** A new call adds a tenth of a repeat. */
void lm_budget_call(lm_budget_t *budget, uint64_t now_us);
/** Whether a repeat may be made now; it is paid for then. */
bool lm_budget_take(lm_budget_t *budget, uint64_t now_us);

#endif
