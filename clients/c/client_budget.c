#include "client_budget.h"

/* MOST: enough for all calls of a busy program to be repeated once after a change of leader. */
enum { REPEAT = 1000, PER_CALL = REPEAT / 10, PER_SECOND = REPEAT, MOST = 100 * REPEAT };

static void fill(lm_budget_t *budget, uint64_t now_us, uint64_t thousandths)
{
    uint64_t passed_us = now_us > budget->at_us ? now_us - budget->at_us : 0;
    uint64_t whole_us = UINT64_C(1000000) * MOST / PER_SECOND;
    if (passed_us > whole_us) passed_us = whole_us;
    uint64_t earned = passed_us * PER_SECOND / 1000000;
    /* What was too little for a thousandth counts the next time. */
    if (earned > 0) budget->at_us = now_us;
    budget->thousandths += earned + thousandths;
    if (budget->thousandths > MOST) budget->thousandths = MOST;
}

void lm_budget_begin(lm_budget_t *budget, uint64_t now_us)
{
    *budget = (lm_budget_t){.thousandths = MOST, .at_us = now_us};
}

void lm_budget_call(lm_budget_t *budget, uint64_t now_us) { fill(budget, now_us, PER_CALL); }

bool lm_budget_take(lm_budget_t *budget, uint64_t now_us)
{
    fill(budget, now_us, 0);
    if (budget->thousandths < REPEAT) return false;
    budget->thousandths -= REPEAT;
    return true;
}
