/* What the files that make JSON pages share. */
#ifndef LM_HEALTH_JSON_H
#define LM_HEALTH_JSON_H

#include <jansson.h>

#include "health_pages.h"

/** An answer with that body, which it takes over; its content type is what the request accepts. */
health_answer_t health_json_answer(const health_request_t *request, unsigned code, json_t *json);
/** An error with that text, and the path of the request. */
health_answer_t health_json_error(const health_request_t *request, unsigned code,
                                  const char *words);
/** NULL if it is not UTF-8. */
json_t *health_json_text(lm_bytes_t bytes);
/** The details that a participant last reported, and its reason; empty if it has said nothing. */
json_t *health_json_details(const health_t *health, lm_participant_t participant);

/* ---- health_info.c --------------------------------------------------------------------------- */

health_answer_t health_info_page(const health_t *health, const health_request_t *request);
health_answer_t health_info_loggers(const health_t *health, const health_request_t *request);
/** The logger of that name: ROOT or an actor. */
health_answer_t health_info_logger(const health_t *health, const health_request_t *request,
                                   const char *name);

/* ---- health_env.c ---------------------------------------------------------------------------- */

health_answer_t health_env_page(const health_t *health, const health_request_t *request);
/** The setting of that name, with all sources that know it. */
health_answer_t health_env_one(const health_t *health, const health_request_t *request,
                               const char *name);

/* ---- health_state.c -------------------------------------------------------------------------- */

/** Role, term, leader and indexes of this node, and who votes. */
health_answer_t health_state_raft(const health_t *health, const health_request_t *request);
/** How many holds, waiters, sessions and remembered requests there are, and the longest queues. */
health_answer_t health_state_locks(const health_t *health, const health_request_t *request);

/* ---- health_dump.c --------------------------------------------------------------------------- */

/** The threads of all processes, as JSON, or as text for who accepts that. */
health_answer_t health_dump_page(const health_t *health, const health_request_t *request);

/* ---- health_metrics.c ------------------------------------------------------------------------ */

health_answer_t health_metrics_names(const health_t *health, const health_request_t *request);
/** The metric of that dotted name, of the samples that have all tags of the request. */
health_answer_t health_metrics_one(const health_t *health, const health_request_t *request,
                                   const char *name);

#endif
