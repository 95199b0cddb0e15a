/* Counters of incoming calls and streams, and the report of a room to the health actor.
 *
 * The driver counts, for both rooms and for what it refuses by itself; rooms report.
 *
 * Invariants
 *   FF1  One thread counts, any thread may read meanwhile.
 *   FF2  Whatever has begun ends once, refused or not: what has begun and not ended is open.
 *   FF3  Labels come from the rows of methods; a method without a row is "unknown", whatever its
 *        caller named it. So their number is bounded.
 */
#ifndef LM_FRONTEND_FIGURES_H
#define LM_FRONTEND_FIGURES_H

#include "act_room.h"
#include "base_histogram.h"
#include "frontend_methods.h"
#include "wire_bus.h"

enum {
    LM_GRPC_STATUSES = 17,
    LM_METHOD_ROWS = LM_METHODS + 1, /* the last one: methods that do not exist */
    LM_FIGURES_MAX = LM_METHOD_ROWS * (LM_GRPC_STATUSES + 2) + 64, /* the rest of a room's report */
};

typedef struct {
    _Atomic uint64_t started[LM_METHOD_ROWS];
    _Atomic uint64_t handled[LM_METHOD_ROWS][LM_GRPC_STATUSES];
    lm_histogram_t took[LM_METHOD_ROWS];
} lm_frontend_figures_t;

/** Counts an incoming call or stream. method NULL: of one that does not exist. One thread (FF1). */
void lm_frontend_figures_begin(lm_frontend_figures_t *figures, const lm_frontend_method_t *method);
/** Counts its end with that gRPC status, any other than those of gRPC as UNKNOWN, so long after its
 *  arrival. */
void lm_frontend_figures_end(lm_frontend_figures_t *figures, const lm_frontend_method_t *method,
                             int status, uint64_t duration_us);

/** Metrics of one report, growing in an arena; those beyond LM_FIGURES_MAX are left out. */
typedef struct {
    lm_arena_t *arena;
    size_t n;
    lm_bus_metric_t metrics[LM_FIGURES_MAX];
} lm_frontend_report_t;

/** Adds one metric. label NULL: none. name and help are static, value of the label is copied. */
void lm_frontend_report_add(lm_frontend_report_t *report, const char *name, const char *help,
                            lm_bus_metric_kind_t kind, const char *label, lm_bytes_t label_value,
                            double value);
/** Adds grpc_server_started_total, grpc_server_handled_total and grpc_server_handling_seconds for
 *  all methods of that room; those that do not exist belong to the clients. */
void lm_frontend_report_figures(lm_frontend_report_t *report, const lm_frontend_figures_t *figures,
                                lm_participant_t room);
/** Sends it to health. */
void lm_frontend_report_send(lm_frontend_report_t *report, const char *state, const char *reason,
                             bool ready, lm_outbox_t *out);

#endif
