/* What every actor says to health, in one way: its own report and, behind its metrics, what the
 * runtime counted for it (lockmgr_bus_*, with the room's name as label "actor"). */
#ifndef LM_ACT_STATUS_H
#define LM_ACT_STATUS_H

#include "act_room.h"
#include "base_histogram.h"
#include "wire_bus.h"

/** Sends report to health, the counters added. Nothing of it is kept or changed. */
void lm_status_send(lm_outbox_t *out, const lm_bus_status_report_t *report);

/** report with the counters behind its metrics; the new metrics live as long as the arena. */
lm_bus_status_report_t lm_status_with_counters(const lm_outbox_t *out,
                                               const lm_bus_status_report_t *report,
                                               lm_arena_t *arena);

/** A histogram as a metric, without labels; what it carries lives as long as the arena. name and
 *  help are not copied. */
lm_bus_metric_t lm_status_histogram(const char *name, const char *help,
                                    const lm_histogram_t *histogram, lm_arena_t *arena);

#endif
