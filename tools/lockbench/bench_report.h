/* What one run found, as a line for people and as a line of JSON. */
#ifndef LM_BENCH_REPORT_H
#define LM_BENCH_REPORT_H

#include <jansson.h>

#include "bench_load.h"

/** What was run, and what came out. */
typedef struct {
    const char *target;
    const bench_plan_t *plan;
    bool leader; /* the load went to the leader alone */
    size_t workers;
    double rate; /* 0: closed loop */
    const bench_figures_t *figures;
} bench_report_t;

/** The caller gives it back. Latencies are in microseconds; "curve" has pairs of a part of all
 *  samples and the latency that this part does not exceed. */
json_t *bench_report_json(const bench_report_t *report);
/** A line for the cycles, and one for each kind of call. The caller frees it. */
char *bench_report_text(const bench_report_t *report);

#endif
