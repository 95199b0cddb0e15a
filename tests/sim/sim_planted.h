/* Faults that are planted in a build of their own (lib/base/base_fault.h). */
#ifndef LM_SIM_PLANTED_H
#define LM_SIM_PLANTED_H

#include <stdbool.h>

#ifdef LM_FAULTS
#define SIM_PLANTED_USAGE " [--fault NAME] [--find-all]"
#else
#define SIM_PLANTED_USAGE ""
#endif

typedef struct {
    const char *name, *rule, *text;
} sim_plant_t;

/** All that can be planted here; the last one has no name. */
extern const sim_plant_t sim_plants[];

/** Makes the product break that rule from now on; false if there is no such fault here. */
bool sim_planted_choose(const char *name);

#endif
