/* What is counted over all seeds: faults that were injected, and probes, rare places that were
 * reached. sim_marks.def has a row for each. */
#ifndef LM_SIM_MARKS_H
#define LM_SIM_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontend_driver.h"

typedef enum {
#define SIM_FAULT(name, text) SIM_FAULT_##name,
#define SIM_PROBE(name, text)
#include "sim_marks.def"
#undef SIM_FAULT
#undef SIM_PROBE
    SIM_FAULTS
} sim_fault_t;

typedef enum {
#define SIM_FAULT(name, text)
#define SIM_PROBE(name, text) SIM_PROBE_##name,
#include "sim_marks.def"
#undef SIM_FAULT
#undef SIM_PROBE
    SIM_PROBES
} sim_probe_t;

typedef struct {
    const char *name, *text;
} sim_mark_t;

extern const sim_mark_t sim_fault_marks[SIM_FAULTS];
extern const sim_mark_t sim_probe_marks[SIM_PROBES];

#endif
