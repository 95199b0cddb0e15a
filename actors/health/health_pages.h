/* The pages of the actuator, made from what the health room knows. */
#ifndef LM_HEALTH_PAGES_H
#define LM_HEALTH_PAGES_H

#include "health_room.h"

enum { HEALTH_TAGS_MAX = 8 };

/** A request as far as pages care. Texts live until the answer has been sent. */
typedef struct {
    const char *path;                  /* decoded, begins with a slash, without a query */
    const char *accept;                /* header; NULL if there is none */
    const char *included_names;        /* query parameter includedNames; NULL if there is none */
    const char *tags[HEALTH_TAGS_MAX]; /* query parameters tag, KEY:VALUE if they are right */
    size_t n_tags;
    bool too_many_tags;
    bool stranger; /* a token is asked for, and the request has none that counts */
} health_request_t;

/** An answer. body is malloc'ed and belongs to the receiver. */
typedef struct {
    unsigned code;
    const char *content_type;
    char *body;
    size_t size;
} health_answer_t;

/** Answers a GET. Unknown paths get 404 with a JSON body; a stranger gets 401 but for what an
 *  orchestrator asks: health, and its groups. */
health_answer_t health_pages_get(const health_t *health, const health_request_t *request);
/** Answers another method: 405 if there is such a page, otherwise as a GET. */
health_answer_t health_pages_refuse(const health_t *health, const health_request_t *request);

/** The Prometheus text of everything reported. openmetrics: version 1.0.0 with # EOF. */
health_answer_t health_prometheus_page(const health_t *health, const health_request_t *request);

#endif
