/* Latencies in a fixed space: 64 steps per power of two, so that a percentile is at most 1.6
 * percent too high. One thread writes; merge after it has ended. */
#ifndef LM_CYCLES_HISTOGRAM_H
#define LM_CYCLES_HISTOGRAM_H

#include <stdint.h>

enum {
    CYCLES_STEP_BITS = 6,
    CYCLES_POWERS = 26, /* up to 2^32 us, more than an hour */
    CYCLES_BUCKETS = (CYCLES_POWERS + 1) << CYCLES_STEP_BITS,
};

typedef struct {
    uint64_t n;
    uint64_t max_us;
    uint64_t buckets[CYCLES_BUCKETS];
} cycles_histogram_t;

void cycles_histogram_add(cycles_histogram_t *histogram, uint64_t us);
void cycles_histogram_merge(cycles_histogram_t *into, const cycles_histogram_t *from);
/** Latency in microseconds that the given part (0 to 1) of all samples does not exceed; 0 without
 *  samples. */
uint64_t cycles_histogram_at(const cycles_histogram_t *histogram, double part);

#endif
