#include "base_histogram.h"

/* From half a millisecond, the write of a good disk, to the long waits for a lock. */
const uint64_t lm_histogram_bounds_us[LM_HISTOGRAM_BOUNDS] = {
    500,    1000,   2500,    5000,    10000,   25000,    50000,    100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000};

/* With one writer a load and a store do, without the price of a locked instruction. */
static void add(_Atomic uint64_t *number, uint64_t more)
{
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, now + more, memory_order_relaxed);
}

void lm_histogram_note(lm_histogram_t *histogram, uint64_t duration_us)
{
    int i = 0;
    while (i < LM_HISTOGRAM_BOUNDS && duration_us > lm_histogram_bounds_us[i]) i++;
    add(&histogram->buckets[i], 1);
    add(&histogram->sum_us, duration_us);
}

uint64_t lm_histogram_read(const lm_histogram_t *histogram, uint64_t counts[LM_HISTOGRAM_BUCKETS])
{
    for (int i = 0; i < LM_HISTOGRAM_BUCKETS; i++)
        counts[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    return atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
}
