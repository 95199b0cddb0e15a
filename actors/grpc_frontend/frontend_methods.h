/* The methods this node serves: one row per gRPC method, which drives everything.
 *
 * Invariants
 *   FM1  What has no row does not exist: the driver answers it UNIMPLEMENTED.
 *   FM2  A row belongs to one port and to one room; the other room never hears of it.
 */
#ifndef LM_FRONTEND_METHODS_H
#define LM_FRONTEND_METHODS_H

#include <stdbool.h>
#include <stddef.h>

#include "act_register.h"
#include "wire.h"

typedef enum {
    LM_METHOD_ACQUIRE,
    LM_METHOD_RELEASE,
    LM_METHOD_RENEW,
    LM_METHOD_CANCEL,
    LM_METHOD_GET,
    LM_METHOD_LIST,
    LM_METHOD_GET_STATUS,
    LM_METHOD_FORWARD,
    LM_METHOD_UNDELIVERED,
    LM_METHOD_HEALTH_CHECK,
    LM_METHOD_HEALTH_WATCH,
    LM_METHOD_REFLECTION,
    LM_METHOD_REFLECTION_ALPHA,
    LM_METHOD_LINK,
    LM_METHOD_REGION_HELLO,
    LM_METHODS
} lm_frontend_method_id_t;

typedef struct {
    lm_frontend_method_id_t id;
    const char *path;    /* "/package.Service/Method" */
    const char *service; /* full name, for metrics, health and reflection */
    const char *name;
    bool stream;      /* messages may come and go at any time; otherwise one in, one out */
    bool region_port; /* served on the region port only; otherwise on the gRPC port only */
    bool admitted;    /* counts against the bound for client calls, and may be refused by it */
    lm_participant_t room;
    const lm_wire_type_t *request;
    const char *type; /* as metrics name it: unary, server_stream, bidi_stream */
} lm_frontend_method_t;

/** Row of a method; id is one of them. */
const lm_frontend_method_t *lm_frontend_method(lm_frontend_method_id_t id);

/** Names of the services that clients see in reflection and health, NULL at the end. */
extern const char *const lm_frontend_services[];

#endif
