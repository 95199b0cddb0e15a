/* All metrics that were last reported, family by family: what the metrics pages are made from. */
#ifndef LM_HEALTH_FAMILIES_H
#define LM_HEALTH_FAMILIES_H

#include "health_room.h"

/** More than all actors of a node report together; what is beyond is left out. */
enum { HEALTH_SAMPLES_MAX = 8192 };

typedef struct {
    const lm_bus_metric_t *items[HEALTH_SAMPLES_MAX];
    size_t n;
} health_families_t;

/** Samples of one name stand together, in the order in which they were reported. included: names
 *  with commas between them; NULL or empty: all. The samples belong to health and live until the
 *  next message. free() it. */
health_families_t *health_families_collect(const health_t *health, const char *included);
/** Index behind the last sample of the family that begins at first. */
size_t health_families_end(const health_families_t *all, size_t first);
/** A counter's name without the _total of its samples; other names as they are. */
lm_bytes_t health_families_stem(const lm_bus_metric_t *metric);
/** How many durations a histogram has seen. */
double health_families_count(const lm_bus_metric_t *metric);

#endif
