/* Faults that are planted in a build of its own, to see whether the tests find them.
 *
 * LM_FAULT(NAME) is constant false in every build but that of the simulator's second program
 * (tests/sim), which is compiled with LM_FAULTS and plays one fault of base_faults.def at a time.
 */
#ifndef LM_BASE_FAULT_H
#define LM_BASE_FAULT_H

#ifdef LM_FAULTS
enum {
    LM_FAULT_NONE,
#define LM_PLANTED(name, rule, text) LM_FAULT_##name,
#include "base_faults.def"
#undef LM_PLANTED
    LM_FAULTS_N
};
extern int lm_fault_planted;
#define LM_FAULT(name) (lm_fault_planted == LM_FAULT_##name)
#else
#define LM_FAULT(name) 0
#endif

#endif
