/* Latencies in a histogram of the GNU Scientific Library, in a fixed space: 64 steps per power of
 * two, so that a percentile is at most 1.6 percent too high. One thread writes. */
#ifndef LM_BENCH_HISTOGRAM_H
#define LM_BENCH_HISTOGRAM_H

#include <gsl/gsl_histogram.h>
#include <stdint.h>

enum {
    BENCH_STEP_BITS = 6,
    BENCH_POWERS = 26, /* up to 2^32 us, more than an hour */
    BENCH_BUCKETS = (BENCH_POWERS + 1) << BENCH_STEP_BITS,
};

/** Begins zeroed, and may be copied as long as it has no samples. */
typedef struct {
    uint64_t n;
    uint64_t sum_us;
    uint64_t max_us;
    gsl_histogram gsl; /* of the arrays below */
    double ranges[BENCH_BUCKETS + 1];
    double bins[BENCH_BUCKETS];
} bench_histogram_t;

void bench_histogram_add(bench_histogram_t *histogram, uint64_t us);
/** Latency in microseconds that the given part (0 to 1) of all samples does not exceed; 0 without
 *  samples. */
uint64_t bench_histogram_at(const bench_histogram_t *histogram, double part);
/** Arithmetic mean in microseconds; 0 without samples. */
double bench_histogram_mean(const bench_histogram_t *histogram);

#endif
