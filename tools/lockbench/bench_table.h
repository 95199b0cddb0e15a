/* Figures of several rounds and targets, side by side.
 *
 * Invariants
 *   T1  A figure of a target is the median of its rounds; least and greatest stand beside it.
 *   T2  A ratio is that of two medians, lockmgr's to etcd's, and is given only if both are there.
 */
#ifndef LM_BENCH_TABLE_H
#define LM_BENCH_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/** The median: of an even number of values the mean of the two in the middle; 0 of none. Sorts the
 *  values. */
double bench_table_median(double *values, size_t n);

typedef struct bench_table bench_table_t;

bench_table_t *bench_table_new(void);
void bench_table_destroy(bench_table_t **table);

/** Adds a value; rows keep the order in which they came first. */
void bench_table_add(bench_table_t *table, const char *figure, const char *target, double value);
/** Adds a line of JSON: that of a run (bench_report_json), or {"figure", "target", "value"}.
 *  Returns false if it is neither. */
bool bench_table_take(bench_table_t *table, const json_t *line);

/** Prints it as a table of Markdown. */
void bench_table_print(bench_table_t *table, FILE *out);
/** The same as JSON, with all values. The caller gives it back. */
json_t *bench_table_json(bench_table_t *table);

#endif
