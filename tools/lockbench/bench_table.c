#include "bench_table.h"

#include <stdlib.h>
#include <string.h>

#include "base_arena.h"

enum { ROUNDS_MAX = 100, FIGURE_MAX = 96 };

static const char *const targets[] = {"lockmgr", "etcd", "echo"};

enum { LOCKMGR, ETCD, N_TARGETS = sizeof targets / sizeof *targets };

typedef struct {
    size_t n;
    double values[ROUNDS_MAX];
} cell_t;

typedef struct {
    char figure[FIGURE_MAX];
    cell_t cells[N_TARGETS];
} row_t;

struct bench_table {
    size_t n_rows;
    row_t *rows;
    unsigned long long errors[N_TARGETS];
};

/* ---- statistics ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_table_median(double *values, size_t n)
{
    if (n == 0) return 0;
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- filling --------------------------------------------------------------------------------- */

bench_table_t *bench_table_new(void)
{
    bench_table_t *table = lm_alloc(sizeof *table);
    memset(table, 0, sizeof *table);
    return table;
}

void bench_table_destroy(bench_table_t **table)
{
    if (!*table) return;
    free((*table)->rows);
    free(*table);
    *table = NULL;
}

static row_t *row_of(bench_table_t *table, const char *figure)
{
    for (size_t i = 0; i < table->n_rows; i++)
        if (strcmp(table->rows[i].figure, figure) == 0) return &table->rows[i];
    table->rows = lm_realloc(table->rows, (table->n_rows + 1) * sizeof *table->rows);
    row_t *row = &table->rows[table->n_rows++];
    memset(row, 0, sizeof *row);
    snprintf(row->figure, sizeof row->figure, "%s", figure);
    return row;
}

static size_t target_of(const char *name)
{
    size_t i = 0;
    while (i < N_TARGETS && strcmp(targets[i], name) != 0) i++;
    return i;
}

void bench_table_add(bench_table_t *table, const char *figure, const char *target, double value)
{
    size_t t = target_of(target);
    if (t == N_TARGETS) return;
    cell_t *cell = &row_of(table, figure)->cells[t];
    if (cell->n < ROUNDS_MAX) cell->values[cell->n++] = value;
}

static const struct {
    const char *workload, *unit;
} units[] = {
    {"cycles", "cycles/s"},        {"hot", "hand-overs/s of one lock"},
    {"sessions", "keep-alives/s"}, {"renew", "renewals/s"},
    {"calls", "calls/s"},          {"session-calls", "keep-alives/s by call"},
};

static const char *unit_of(const char *workload)
{
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(units[i].workload, workload) == 0) return units[i].unit;
    return workload;
}

/** Percentiles of the first call of the cycles. Those of one lock for all stand apart. */
static void add_latency(bench_table_t *table, const char *workload, const char *where,
                        const json_t *line)
{
    static const char *const percentiles[] = {"p50", "p99"};
    const char *first = json_string_value(json_object_get(line, "first"));
    const char *target = json_string_value(json_object_get(line, "target"));
    const char *of = strcmp(workload, "hot") == 0 ? " of one lock" : "";
    const json_t *latency = json_object_get(json_object_get(line, "latency_us"), first);
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++) {
        char figure[FIGURE_MAX];
        const json_t *value = json_object_get(latency, percentiles[i]);
        snprintf(figure, sizeof figure, "%.20s%s %s ms, %s", first, of, percentiles[i], where);
        if (json_is_number(value))
            bench_table_add(table, figure, target, json_number_value(value) / 1e3);
    }
}

/** What was asked of the target, so that runs alike have the same name. */
static void name_run(char *name, size_t size, const char *workload, const char *to,
                     json_int_t workers, double rate)
{
    if (rate > 0)
        snprintf(name, size, "%.0f %s due, to %s", rate, unit_of(workload), to);
    else
        snprintf(name, size, "%lld worker%s to %s", (long long)workers, workers == 1 ? "" : "s",
                 to);
}

static bool take_run(bench_table_t *table, json_t *line)
{
    const char *target, *workload, *to, *first;
    double rate, per_second;
    json_int_t workers, errors;
    char where[FIGURE_MAX / 2], figure[FIGURE_MAX];
    if (json_unpack(line, "{s:s, s:s, s:s, s:s, s:F, s:F, s:I, s:I}", "target", &target, "workload",
                    &workload, "to", &to, "first", &first, "rate", &rate, "per_second", &per_second,
                    "workers", &workers, "errors", &errors) != 0)
        return false;
    name_run(where, sizeof where, workload, to, workers, rate);
    snprintf(figure, sizeof figure, "%s, %s", unit_of(workload), where);
    if (rate == 0) bench_table_add(table, figure, target, per_second);
    add_latency(table, workload, where, line);
    if (target_of(target) < N_TARGETS)
        table->errors[target_of(target)] += (unsigned long long)errors;
    return true;
}

bool bench_table_take(bench_table_t *table, const json_t *line)
{
    const char *figure, *target;
    double value;
    json_t *all = (json_t *)(uintptr_t)line; /* json_unpack only reads it */
    if (json_unpack(all, "{s:s, s:s, s:F}", "figure", &figure, "target", &target, "value",
                    &value) != 0)
        return take_run(table, all);
    bench_table_add(table, figure, target, value);
    return true;
}

/* ---- showing --------------------------------------------------------------------------------- */

static int digits_of(double value) { return value >= 100 ? 0 : value >= 10 ? 1 : 2; }

static void print_cell(cell_t *cell, FILE *out)
{
    if (cell->n == 0) {
        fputs(" |", out);
        return;
    }
    double median = bench_table_median(cell->values, cell->n);
    int digits = digits_of(median);
    fprintf(out, " %.*f", digits, median);
    if (cell->n > 1)
        fprintf(out, " (%.*f-%.*f)", digits, cell->values[0], digits, cell->values[cell->n - 1]);
    fputs(" |", out);
}

/** T2. Returns 0 if there is none. */
static double ratio_of(row_t *row)
{
    double etcd = bench_table_median(row->cells[ETCD].values, row->cells[ETCD].n);
    double lockmgr = bench_table_median(row->cells[LOCKMGR].values, row->cells[LOCKMGR].n);
    return etcd > 0 ? lockmgr / etcd : 0;
}

void bench_table_print(bench_table_t *table, FILE *out)
{
    fputs("| figure |", out);
    for (size_t t = 0; t < N_TARGETS; t++) fprintf(out, " %s |", targets[t]);
    fputs(" lockmgr : etcd |\n|---|", out);
    for (size_t t = 0; t <= N_TARGETS; t++) fputs("---:|", out);
    fputc('\n', out);
    for (size_t i = 0; i < table->n_rows; i++) {
        row_t *row = &table->rows[i];
        fprintf(out, "| %s |", row->figure);
        for (size_t t = 0; t < N_TARGETS; t++) print_cell(&row->cells[t], out);
        if (ratio_of(row) > 0)
            fprintf(out, " %.2f |\n", ratio_of(row));
        else
            fputs(" |\n", out);
    }
    for (size_t t = 0; t < N_TARGETS; t++)
        if (table->errors[t] > 0)
            fprintf(out, "\nErrors of %s: %llu\n", targets[t], table->errors[t]);
}

static json_t *json_of_cell(cell_t *cell)
{
    double median = bench_table_median(cell->values, cell->n);
    json_t *values = json_array();
    for (size_t i = 0; i < cell->n; i++) json_array_append_new(values, json_real(cell->values[i]));
    return json_pack("{s:f, s:o}", "median", median, "values", values);
}

json_t *bench_table_json(bench_table_t *table)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < table->n_rows; i++) {
        row_t *row = &table->rows[i];
        json_t *one = json_pack("{s:s}", "figure", row->figure);
        for (size_t t = 0; t < N_TARGETS; t++)
            if (row->cells[t].n > 0)
                json_object_set_new(one, targets[t], json_of_cell(&row->cells[t]));
        if (ratio_of(row) > 0) json_object_set_new(one, "ratio", json_real(ratio_of(row)));
        json_array_append_new(rows, one);
    }
    return rows;
}
