#include "bench_report.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    double part;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

static const double curve_parts[] = {0,    0.25, 0.5,   0.75,  0.9,    0.95,
                                     0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999};

#define N_OF(array) (sizeof(array) / sizeof *(array))

static double per_second(const bench_figures_t *f)
{
    return f->seconds > 0 ? (double)f->n / f->seconds : 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *curve_of(const bench_histogram_t *h)
{
    json_t *curve = json_array();
    for (size_t i = 0; i < N_OF(curve_parts); i++) {
        /* A part that leaves less than one sample out says nothing. */
        if ((double)h->n * (1 - curve_parts[i]) < 1) break;
        json_array_append_new(curve, json_pack("[f,I]", curve_parts[i],
                                               (json_int_t)bench_histogram_at(h, curve_parts[i])));
    }
    return curve;
}

static json_t *latencies_of(const bench_histogram_t *h)
{
    json_t *all = json_object();
    json_object_set_new(all, "n", json_integer((json_int_t)h->n));
    for (size_t i = 0; i < N_OF(percentiles); i++)
        json_object_set_new(all, percentiles[i].name,
                            json_integer((json_int_t)bench_histogram_at(h, percentiles[i].part)));
    json_object_set_new(all, "max", json_integer((json_int_t)h->max_us));
    json_object_set_new(all, "mean", json_real(bench_histogram_mean(h)));
    json_object_set_new(all, "curve", curve_of(h));
    return all;
}

json_t *bench_report_json(const bench_report_t *r)
{
    const bench_figures_t *f = r->figures;
    json_t *latencies = json_object();
    json_object_set_new(latencies, "cycle", latencies_of(&f->cycle));
    for (int step = BENCH_FIRST; step <= BENCH_SECOND; step++)
        if (r->plan->steps[step])
            json_object_set_new(latencies, r->plan->steps[step], latencies_of(&f->steps[step]));
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:I, s:f, s:I, s:s, s:s, s:o}", "target",
                     r->target, "workload", r->plan->workload, "to", r->leader ? "leader" : "any",
                     "workers", (json_int_t)r->workers, "rate", r->rate, "seconds", f->seconds, "n",
                     (json_int_t)f->n, "per_second", per_second(f), "errors", (json_int_t)f->errors,
                     "error", f->error, "first", r->plan->steps[BENCH_FIRST], "latency_us",
                     latencies);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_latencies(FILE *out, const char *name, const bench_histogram_t *h)
{
    fprintf(out, "  %-8s", name);
    for (size_t i = 0; i < N_OF(percentiles); i++)
        fprintf(out, " %s %.2f", percentiles[i].name,
                (double)bench_histogram_at(h, percentiles[i].part) / 1e3);
    fprintf(out, " max %.2f mean %.2f ms\n", (double)h->max_us / 1e3,
            bench_histogram_mean(h) / 1e3);
}

char *bench_report_text(const bench_report_t *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    fprintf(out, "%s %s, %zu workers", r->target, r->plan->workload, r->workers);
    if (r->rate > 0) fprintf(out, ", %g per second due", r->rate);
    fprintf(out, ": %.0f per second, %llu in %.1f s, %llu errors\n", per_second(r->figures),
            (unsigned long long)r->figures->n, r->figures->seconds,
            (unsigned long long)r->figures->errors);
    if (r->plan->steps[BENCH_SECOND]) print_latencies(out, "cycle", &r->figures->cycle);
    for (int step = BENCH_FIRST; step <= BENCH_SECOND; step++)
        if (r->plan->steps[step])
            print_latencies(out, r->plan->steps[step], &r->figures->steps[step]);
    fclose(out);
    return text;
}
