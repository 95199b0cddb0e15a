/* Durations, counted by size: what becomes a histogram with fixed bounds on the metrics page.
 *
 * Invariants
 *   HG1  One thread notes, any thread may read meanwhile. A reader may find a duration in a bucket
 *        and not yet in the sum, never a torn number.
 *   HG2  The bounds are the same for all histograms, so that a report carries counts alone.
 */
#ifndef LM_BASE_HISTOGRAM_H
#define LM_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { LM_HISTOGRAM_BOUNDS = 16, LM_HISTOGRAM_BUCKETS = LM_HISTOGRAM_BOUNDS + 1 };

/** Upper bounds in microseconds, growing, each within its bucket. */
extern const uint64_t lm_histogram_bounds_us[LM_HISTOGRAM_BOUNDS];

/** All zero is an empty one. */
typedef struct {
    _Atomic uint64_t buckets[LM_HISTOGRAM_BUCKETS]; /* the last: beyond all bounds */
    _Atomic uint64_t sum_us;
} lm_histogram_t;

/** Counts a duration in microseconds. One thread only (HG1). */
void lm_histogram_note(lm_histogram_t *histogram, uint64_t duration_us);
/** Copies the counts of the buckets to counts; returns the sum in microseconds. Any thread. */
uint64_t lm_histogram_read(const lm_histogram_t *histogram, uint64_t counts[LM_HISTOGRAM_BUCKETS]);

#endif
