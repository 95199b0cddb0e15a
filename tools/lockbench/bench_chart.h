/* Latency by percentile as an SVG picture: a line per target, median over the rounds. */
#ifndef LM_BENCH_CHART_H
#define LM_BENCH_CHART_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/** Draws what the runs say of one workload at one number of workers, or of one rate.
 *
 *  runs   array of lines of bench_report_json; those of another kind are passed over
 *  title  stands above it
 *  Returns false, with nothing written, if no run has a latency.
 */
bool bench_chart_draw(const json_t *runs, const char *title, FILE *out);

#endif
