#include "act_status.h"

#include <string.h>

#include "act_outbox.h"

lm_bus_status_report_t lm_status_with_counters(const lm_outbox_t *out,
                                               const lm_bus_status_report_t *report,
                                               lm_arena_t *arena)
{
    const lm_host_counter_t *counters;
    size_t n = lm_outbox_counters(out, &counters);
    lm_bus_detail_t *label = lm_arena_alloc(arena, sizeof *label);
    *label = (lm_bus_detail_t){.key = lm_bytes_of("actor"),
                               .value = lm_bytes_of(lm_participant_name(out->self))};
    lm_bus_metric_t *all = lm_arena_alloc(arena, (report->n_metrics + n) * sizeof *all);
    if (report->n_metrics) memcpy(all, report->metrics, report->n_metrics * sizeof *all);
    for (size_t i = 0; i < n; i++)
        all[report->n_metrics + i] = (lm_bus_metric_t){.name = lm_bytes_of(counters[i].name),
                                                       .help = lm_bytes_of(counters[i].help),
                                                       .kind = LM_BUS_METRIC_KIND_COUNTER,
                                                       .value = (double)counters[i].value,
                                                       .n_labels = 1,
                                                       .labels = label};
    lm_bus_status_report_t with = *report;
    with.n_metrics = report->n_metrics + n;
    with.metrics = all;
    return with;
}

void lm_status_send(lm_outbox_t *out, const lm_bus_status_report_t *report)
{
    lm_bus_status_report_t with = lm_status_with_counters(out, report, out->arena);
    lm_outbox_send(out, LM_HEALTH, LM_MSG_STATUS_REPORT, &with);
}

lm_bus_metric_t lm_status_histogram(const char *name, const char *help,
                                    const lm_histogram_t *histogram, lm_arena_t *arena)
{
    uint64_t *counts = lm_arena_alloc(arena, LM_HISTOGRAM_BUCKETS * sizeof *counts);
    uint64_t sum_us = lm_histogram_read(histogram, counts);
    return (lm_bus_metric_t){.name = lm_bytes_of(name),
                             .help = lm_bytes_of(help),
                             .kind = LM_BUS_METRIC_KIND_HISTOGRAM,
                             .value = (double)sum_us / 1e6,
                             .n_buckets = LM_HISTOGRAM_BUCKETS,
                             .buckets = counts};
}
