#include "fill_report.h"

#include <stdio.h>

static const struct {
    const char *name;
    double part;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

enum { N_PERCENTILES = sizeof percentiles / sizeof *percentiles };

static double rate_of(const fill_figures_t *figures)
{
    return figures->seconds > 0 ? (double)figures->done / figures->seconds : 0;
}

void fill_report_text(const char *job, const fill_figures_t *f)
{
    printf("%s: %llu calls in %.1f s, %.0f/s", job, (unsigned long long)f->done, f->seconds,
           rate_of(f));
    for (int i = 0; i < N_PERCENTILES; i++)
        printf(", %s %.2f ms", percentiles[i].name,
               (double)bench_histogram_at(&f->latencies, percentiles[i].part) / 1e3);
    printf(", max %.2f ms, %llu repeats, %llu refused\n", (double)f->latencies.max_us / 1e3,
           (unsigned long long)f->repeats, (unsigned long long)f->refused);
}

void fill_report_json(const char *job, const fill_figures_t *f)
{
    printf("{\"job\":\"%s\",\"calls\":%llu,\"seconds\":%.3f,\"calls_per_second\":%.1f", job,
           (unsigned long long)f->done, f->seconds, rate_of(f));
    for (int i = 0; i < N_PERCENTILES; i++)
        printf(",\"%s_us\":%llu", percentiles[i].name,
               (unsigned long long)bench_histogram_at(&f->latencies, percentiles[i].part));
    printf(",\"max_us\":%llu,\"repeats\":%llu,\"refused\":%llu,\"per_second\":[",
           (unsigned long long)f->latencies.max_us, (unsigned long long)f->repeats,
           (unsigned long long)f->refused);
    for (size_t i = 0; i < f->n_seconds; i++)
        printf("%s%llu", i ? "," : "", (unsigned long long)f->per_second[i]);
    printf("]}\n");
}
