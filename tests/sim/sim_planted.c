#include "sim_planted.h"

#include <stdio.h>
#include <string.h>

#include "base_fault.h"

const sim_plant_t sim_plants[] = {
#ifdef LM_FAULTS
#define LM_PLANTED(name, rule, text) {#name, rule, text},
#include "base_faults.def"
#undef LM_PLANTED
#endif
    {NULL, NULL, NULL},
};

#ifdef LM_FAULTS
int lm_fault_planted = LM_FAULT_NONE;

bool sim_planted_choose(const char *name)
{
    for (int i = 0; sim_plants[i].name; i++) {
        if (strcmp(sim_plants[i].name, name) != 0) continue;
        lm_fault_planted = i + 1;
        return true;
    }
    fprintf(stderr, "there is no fault %s\n", name);
    return false;
}
#else
bool sim_planted_choose(const char *name)
{
    fprintf(stderr, "%s: faults are planted in lockmgr-sim-faults only\n", name);
    return false;
}
#endif
