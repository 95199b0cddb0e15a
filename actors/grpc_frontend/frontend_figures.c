#include "frontend_figures.h"

#include "act_status.h"

enum { UNKNOWN_STATUS = 2 };

/* As metrics of gRPC name the status codes. */
static const char *const status_names[LM_GRPC_STATUSES] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

/* One thread counts: no locked instruction is needed. */
static void add_one(_Atomic uint64_t *number)
{
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, now + 1, memory_order_relaxed);
}

static size_t row_of(const lm_frontend_method_t *method)
{
    return method ? (size_t)method->id : LM_METHODS;
}

void lm_frontend_figures_begin(lm_frontend_figures_t *figures, const lm_frontend_method_t *method)
{
    add_one(&figures->started[row_of(method)]);
}

void lm_frontend_figures_end(lm_frontend_figures_t *figures, const lm_frontend_method_t *method,
                             int status, uint64_t duration_us)
{
    size_t row = row_of(method);
    if (status < 0 || status >= LM_GRPC_STATUSES) status = UNKNOWN_STATUS;
    add_one(&figures->handled[row][status]);
    lm_histogram_note(&figures->took[row], duration_us);
}

/* ---- the report ------------------------------------------------------------------------------ */

static const lm_frontend_method_t unknown_method = {
    .service = "unknown", .name = "unknown", .type = "unknown", .room = LM_CLIENTS};

/* Of the methods of that room; NULL: the row belongs to the other one. */
static const lm_frontend_method_t *method_of(int row, lm_participant_t room)
{
    const lm_frontend_method_t *method = &unknown_method;
    if (row < LM_METHODS) method = lm_frontend_method((lm_frontend_method_id_t)row);
    return method->room == room ? method : NULL;
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

static bool has_taken_some(const lm_histogram_t *histogram)
{
    uint64_t counts[LM_HISTOGRAM_BUCKETS], all = 0;
    lm_histogram_read(histogram, counts);
    for (int i = 0; i < LM_HISTOGRAM_BUCKETS; i++) all += counts[i];
    return all > 0;
}

static void add_started(lm_frontend_report_t *report, const lm_frontend_figures_t *figures,
                        lm_participant_t room)
{
    for (int row = 0; row < LM_METHOD_ROWS; row++) {
        const lm_frontend_method_t *method = method_of(row, room);
        if (!method) continue;
        lm_bus_metric_t *metric =
            add(report, "grpc_server_started_total", "Calls and streams that came in.",
                LM_BUS_METRIC_KIND_COUNTER, (double)figures->started[row]);
        if (metric) metric->labels = labels_of(report->arena, method, NULL, &metric->n_labels);
    }
}

static void add_times(lm_frontend_report_t *report, const lm_frontend_figures_t *figures,
                      lm_participant_t room)
{
    for (int row = 0; row < LM_METHOD_ROWS && report->n < LM_FIGURES_MAX; row++) {
        const lm_frontend_method_t *method = method_of(row, room);
        if (!method || !has_taken_some(&figures->took[row])) continue;
        lm_bus_metric_t *metric = &report->metrics[report->n++];
        *metric = lm_status_histogram(
            "grpc_server_handling_seconds",
            "From the arrival of a call or stream to its end, waiting and refusals included.",
            &figures->took[row], report->arena);
        metric->labels = labels_of(report->arena, method, NULL, &metric->n_labels);
    }
}

static void add_handled(lm_frontend_report_t *report, const lm_frontend_method_t *method,
                        const _Atomic uint64_t counts[LM_GRPC_STATUSES])
{
    for (int status = 0; status < LM_GRPC_STATUSES; status++) {
        if (counts[status] == 0) continue;
        lm_bus_metric_t *metric = add(report, "grpc_server_handled_total",
                                      "Calls and streams that have ended, by status.",
                                      LM_BUS_METRIC_KIND_COUNTER, (double)counts[status]);
        if (!metric) return;
        metric->labels = labels_of(report->arena, method, status_names[status], &metric->n_labels);
    }
}

void lm_frontend_report_figures(lm_frontend_report_t *report, const lm_frontend_figures_t *figures,
                                lm_participant_t room)
{
    add_started(report, figures, room);
    add_times(report, figures, room);
    for (int row = 0; row < LM_METHOD_ROWS; row++) {
        const lm_frontend_method_t *method = method_of(row, room);
        if (method) add_handled(report, method, figures->handled[row]);
    }
}

void lm_frontend_report_send(lm_frontend_report_t *report, const char *state, const char *reason,
                             bool ready, lm_outbox_t *out)
{
    lm_bus_status_report_t body = {.state = lm_bytes_of(state),
                                   .reason = lm_bytes_of(reason),
                                   .n_metrics = report->n,
                                   .metrics = report->metrics,
                                   .ready = ready};
    lm_status_send(out, &body);
}
