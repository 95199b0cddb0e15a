/* The pages of the actuator, made from what the health room knows. */
#ifndef LM_HEALTH_PAGES_H
#define LM_HEALTH_PAGES_H

#include "health_room.h"

/** A request as far as pages care. Texts live until the answer has been sent. */
typedef struct {
    const char *path;           /* decoded, begins with a slash, without a query */
    const char *accept;         /* header; NULL if there is none */
    const char *included_names; /* query parameter includedNames; NULL if there is none */
} health_request_t;

/** An answer. body is malloc'ed and belongs to the receiver. */
typedef struct {
    unsigned code;
    const char *content_type;
    char *body;
    size_t size;
} health_answer_t;

/** Answers a GET. Unknown paths get 404 with a JSON body. */
health_answer_t health_pages_get(const health_t *health, const health_request_t *request);
/** True if there is such a page, so that another method on it is 405 rather than 404. */
bool health_pages_known(const health_t *health, const char *path);

/** The Prometheus text of everything reported. openmetrics: version 1.0.0 with # EOF. */
health_answer_t health_metrics_page(const health_t *health, const health_request_t *request);

#endif
