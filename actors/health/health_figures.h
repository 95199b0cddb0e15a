/* What the health actor itself reports: the node's processes, its share of processors, its disk,
 * and the actors as the supervisor sees them. */
#ifndef LM_HEALTH_FIGURES_H
#define LM_HEALTH_FIGURES_H

#include "health_room.h"

enum { HEALTH_FIGURES_MAX = 96 };

/** Fills metrics, at most HEALTH_FIGURES_MAX; returns how many. Labels live as long as the arena,
 *  texts as long as health. */
size_t health_figures_fill(const health_t *health, lm_bus_metric_t *metrics, lm_arena_t *arena);

#endif
