/* Counters of served calls, and the report of a room to the health actor. */
#ifndef LM_FRONTEND_FIGURES_H
#define LM_FRONTEND_FIGURES_H

#include "act_room.h"
#include "frontend_methods.h"
#include "wire_bus.h"

enum { LM_GRPC_STATUSES = 17, LM_FIGURES_MAX = 160 };

typedef struct {
    uint64_t started[LM_METHODS];
    uint64_t handled[LM_METHODS][LM_GRPC_STATUSES];
} lm_frontend_figures_t;

void lm_frontend_figures_started(lm_frontend_figures_t *figures,
                                 const lm_frontend_method_t *method);
void lm_frontend_figures_handled(lm_frontend_figures_t *figures, const lm_frontend_method_t *method,
                                 int status);

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
/** Adds grpc_server_started_total and grpc_server_handled_total for all methods of that room. */
void lm_frontend_report_figures(lm_frontend_report_t *report, const lm_frontend_figures_t *figures,
                                lm_participant_t room);
/** Adds the counters of the room's runtime. */
void lm_frontend_report_runtime(lm_frontend_report_t *report, const lm_outbox_t *out,
                                lm_participant_t room);
/** Sends it to health. */
void lm_frontend_report_send(lm_frontend_report_t *report, const char *state, const char *reason,
                             bool ready, lm_outbox_t *out);

#endif
