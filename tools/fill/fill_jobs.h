/* What can be done to the locks of a store. */
#ifndef LM_FILL_JOBS_H
#define LM_FILL_JOBS_H

#include <stdio.h>

#include "fill_flow.h"
#include "fill_store.h"

/** Takes every lock of the store that is not held. */
typedef struct {
    fill_store_t *store;
    uint64_t ttl_ms;
    uint64_t at;
} fill_taking_t;
fill_job_t fill_jobs_take(fill_taking_t *self);

/** Renews so many times one of the held locks, whichever chance says. */
typedef struct {
    fill_store_t *store;
    uint64_t left;
    uint64_t chance; /* not 0 */
} fill_renewing_t;
fill_job_t fill_jobs_renew(fill_renewing_t *self);

/** Takes and gives back locks of its own at an even rate, and writes when each answer came and how
 *  long it took: CLOCK_MONOTONIC in seconds, milliseconds, and which call it was. */
enum { FILL_PROBES = 256 };
typedef struct {
    double per_second;
    uint64_t ttl_ms;
    uint64_t begin_us, end_us; /* CLOCK_BOOTTIME */
    FILE *samples;             /* may be NULL */
    char title[17];            /* owner, and part of the names */
    uint64_t sent;
    bool busy[FILL_PROBES];
    uint8_t hold_sizes[FILL_PROBES];
    char holds[FILL_PROBES][FILL_HOLD_ID_MAX];
} fill_probing_t;
fill_job_t fill_jobs_probe(fill_probing_t *self);

#endif
