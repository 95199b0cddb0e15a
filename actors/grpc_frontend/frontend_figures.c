#include "frontend_figures.h"

/* As metrics of gRPC name the status codes. */
static const char *const status_names[LM_GRPC_STATUSES] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

void lm_frontend_figures_started(lm_frontend_figures_t *figures, const lm_frontend_method_t *method)
{
    figures->started[method->id]++;
}

void lm_frontend_figures_handled(lm_frontend_figures_t *figures, const lm_frontend_method_t *method,
                                 int status)
{
    if (status >= 0 && status < LM_GRPC_STATUSES) figures->handled[method->id][status]++;
}

static lm_bus_detail_t *labels_of(lm_arena_t *arena, const lm_frontend_method_t *method,
                                  const char *code, size_t *n)
{
    lm_bus_detail_t *labels = lm_arena_alloc(arena, 4 * sizeof *labels);
    labels[0] = (lm_bus_detail_t){lm_bytes_of("grpc_type"), lm_bytes_of(method->type), false};
    labels[1] = (lm_bus_detail_t){lm_bytes_of("grpc_service"), lm_bytes_of(method->service), false};
    labels[2] = (lm_bus_detail_t){lm_bytes_of("grpc_method"), lm_bytes_of(method->name), false};
    labels[3] = (lm_bus_detail_t){lm_bytes_of("grpc_code"), lm_bytes_of(code), false};
    *n = code ? 4 : 3;
    return labels;
}

static lm_bus_metric_t *add(lm_frontend_report_t *report, const char *name, const char *help,
                            lm_bus_metric_kind_t kind, double value)
{
    if (report->n == LM_FIGURES_MAX) return NULL;
    lm_bus_metric_t *metric = &report->metrics[report->n++];
    *metric = (lm_bus_metric_t){.name = lm_bytes_of(name),
                                .help = lm_bytes_of(help),
                                .kind = (int32_t)kind,
                                .value = value};
    return metric;
}

void lm_frontend_report_add(lm_frontend_report_t *report, const char *name, const char *help,
                            lm_bus_metric_kind_t kind, const char *label, lm_bytes_t label_value,
                            double value)
{
    lm_bus_metric_t *metric = add(report, name, help, kind, value);
    if (!metric || !label) return;
    metric->labels = lm_arena_alloc(report->arena, sizeof *metric->labels);
    *metric->labels =
        (lm_bus_detail_t){lm_bytes_of(label), lm_arena_copy(report->arena, label_value), false};
    metric->n_labels = 1;
}

void lm_frontend_report_figures(lm_frontend_report_t *report, const lm_frontend_figures_t *figures,
                                lm_participant_t room)
{
    for (int id = 0; id < LM_METHODS; id++) {
        const lm_frontend_method_t *method = lm_frontend_method((lm_frontend_method_id_t)id);
        if (method->room != room) continue;
        lm_bus_metric_t *metric = add(report, "grpc_server_started_total", "Calls that came in.",
                                      LM_BUS_METRIC_KIND_COUNTER, (double)figures->started[id]);
        if (metric) metric->labels = labels_of(report->arena, method, NULL, &metric->n_labels);
    }
    for (int id = 0; id < LM_METHODS; id++) {
        const lm_frontend_method_t *method = lm_frontend_method((lm_frontend_method_id_t)id);
        for (int status = 0; status < LM_GRPC_STATUSES && method->room == room; status++) {
            uint64_t value = figures->handled[id][status];
            if (value == 0) continue;
            lm_bus_metric_t *metric =
                add(report, "grpc_server_handled_total", "Calls that were answered, by status.",
                    LM_BUS_METRIC_KIND_COUNTER, (double)value);
            if (!metric) return;
            metric->labels =
                labels_of(report->arena, method, status_names[status], &metric->n_labels);
        }
    }
}

void lm_frontend_report_runtime(lm_frontend_report_t *report, const lm_outbox_t *out,
                                lm_participant_t room)
{
    lm_bytes_t self = lm_bytes_of(lm_participant_name(room));
    const lm_host_counter_t *counters;
    size_t n = lm_outbox_counters(out, &counters);
    for (size_t i = 0; i < n; i++)
        lm_frontend_report_add(report, counters[i].name, counters[i].help,
                               LM_BUS_METRIC_KIND_COUNTER, "actor", self,
                               (double)counters[i].value);
}

void lm_frontend_report_send(lm_frontend_report_t *report, const char *state, const char *reason,
                             bool ready, lm_outbox_t *out)
{
    lm_bus_status_report_t body = {.state = lm_bytes_of(state),
                                   .reason = lm_bytes_of(reason),
                                   .n_metrics = report->n,
                                   .metrics = report->metrics,
                                   .ready = ready};
    lm_outbox_send(out, LM_HEALTH, LM_MSG_STATUS_REPORT, &body);
}
