#include "bench_histogram.h"

#include <math.h>

/* The least latency of a bucket. Bucket b below 128 is b us; above, there are 64 for each power of
 * two. */
static double bottom_of(unsigned bucket)
{
    if (bucket < 2U << BENCH_STEP_BITS) return bucket;
    unsigned power = (bucket >> BENCH_STEP_BITS) - 1;
    return ldexp(bucket - (power << BENCH_STEP_BITS), (int)power);
}

static void begin(bench_histogram_t *histogram)
{
    histogram->gsl =
        (gsl_histogram){.n = BENCH_BUCKETS, .range = histogram->ranges, .bin = histogram->bins};
    for (unsigned b = 0; b <= BENCH_BUCKETS; b++) histogram->ranges[b] = bottom_of(b);
    gsl_histogram_reset(&histogram->gsl);
}

void bench_histogram_add(bench_histogram_t *histogram, uint64_t us)
{
    const double longest = bottom_of(BENCH_BUCKETS - 1);
    if (histogram->n == 0) begin(histogram);
    histogram->n++;
    histogram->sum_us += us;
    if (us > histogram->max_us) histogram->max_us = us;
    gsl_histogram_increment(&histogram->gsl, (double)us < longest ? (double)us : longest);
}

uint64_t bench_histogram_at(const bench_histogram_t *histogram, double part)
{
    double wanted = fmax(1, ceil(part * (double)histogram->n)), seen = 0, bottom, top;
    for (size_t b = 0; histogram->n > 0 && b < BENCH_BUCKETS; b++) {
        seen += gsl_histogram_get(&histogram->gsl, b);
        if (seen < wanted) continue;
        gsl_histogram_get_range(&histogram->gsl, b, &bottom, &top);
        return top - 1 < (double)histogram->max_us ? (uint64_t)top - 1 : histogram->max_us;
    }
    return histogram->max_us;
}

double bench_histogram_mean(const bench_histogram_t *histogram)
{
    return histogram->n > 0 ? (double)histogram->sum_us / (double)histogram->n : 0;
}
