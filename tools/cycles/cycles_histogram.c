#include "cycles_histogram.h"

#include <math.h>

/* Bucket b below 64 is b us. Above, the six bits behind the leading one are kept. */
static unsigned bucket_of(uint64_t us)
{
    unsigned power = 0;
    while (us >> power >= 2U << CYCLES_STEP_BITS) power++;
    unsigned bucket = (unsigned)(us >> power) + (power << CYCLES_STEP_BITS);
    return bucket < CYCLES_BUCKETS ? bucket : CYCLES_BUCKETS - 1;
}

/** The greatest latency that falls into a bucket. */
static uint64_t top_of(unsigned bucket)
{
    if (bucket < 2U << CYCLES_STEP_BITS) return bucket;
    unsigned power = (bucket >> CYCLES_STEP_BITS) - 1;
    uint64_t step = bucket - (power << CYCLES_STEP_BITS);
    return ((step + 1) << power) - 1;
}

void cycles_histogram_add(cycles_histogram_t *histogram, uint64_t us)
{
    histogram->n++;
    if (us > histogram->max_us) histogram->max_us = us;
    histogram->buckets[bucket_of(us)]++;
}

void cycles_histogram_merge(cycles_histogram_t *into, const cycles_histogram_t *from)
{
    into->n += from->n;
    if (from->max_us > into->max_us) into->max_us = from->max_us;
    for (unsigned b = 0; b < CYCLES_BUCKETS; b++) into->buckets[b] += from->buckets[b];
}

uint64_t cycles_histogram_at(const cycles_histogram_t *histogram, double part)
{
    uint64_t wanted = (uint64_t)ceil(part * (double)histogram->n), seen = 0;
    if (histogram->n == 0) return 0;
    if (wanted == 0) wanted = 1;
    for (unsigned b = 0; b < CYCLES_BUCKETS; b++) {
        seen += histogram->buckets[b];
        if (seen < wanted) continue;
        return top_of(b) < histogram->max_us ? top_of(b) : histogram->max_us;
    }
    return histogram->max_us;
}
