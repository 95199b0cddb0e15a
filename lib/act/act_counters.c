#include "act_counters.h"

lm_counters_t lm_counters_new(void)
{
    return (lm_counters_t){.rows = {
#define X(which, metric, text) \
    [LM_COUNT_##which] = {.name = "lockmgr_bus_" metric "_total", .help = text},
                               LM_COUNTERS(X)
#undef X
                           }};
}
