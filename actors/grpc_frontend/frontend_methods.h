/* The methods this node serves: one row per gRPC method, which drives everything.
 *
 * Invariants
 *   FM1  What has no row does not exist: the driver answers it UNIMPLEMENTED.
 *   FM2  A row belongs to one room, the other one never hears of it, and to one port; elsewhere its
 *        calls are refused as WRONG_PORT. Only health checks are answered on two ports.
 *   FM3  A row says what its caller needs (needs, names). One that does not is denied to everybody,
 *        and a test fails.
 *
 * A new row for clients: needs is the right that fits (core_access.h), and where the request bears
 * a name or prefix, NAMED or BELOW says which member that is. A call of several names needs a kind
 * of its own in lm_frontend_names_t. The clients room has asked lm_frontend_access_admit before any
 * unary call or stream is seen by the code of its method, and that code asks
 * lm_frontend_access_permit once it has decoded a request, on a stream for each.
 */
#ifndef LM_FRONTEND_METHODS_H
#define LM_FRONTEND_METHODS_H

#include <stdbool.h>
#include <stddef.h>

#include "act_register.h"
#include "core_access.h"
#include "wire.h"

typedef enum {
    LM_METHOD_ACQUIRE,
    LM_METHOD_RELEASE,
    LM_METHOD_RENEW,
    LM_METHOD_CANCEL,
    LM_METHOD_GET,
    LM_METHOD_LIST,
    LM_METHOD_OPEN_SESSION,
    LM_METHOD_KEEP_ALIVE,
    LM_METHOD_KEEP_ALIVE_STREAM,
    LM_METHOD_CLOSE_SESSION,
    LM_METHOD_GET_SESSION,
    LM_METHOD_LIST_SESSIONS,
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

/** Where the servers listen. */
typedef enum {
    LM_PORT_GRPC,   /* clients; and the region's nodes, unless they have a port of their own */
    LM_PORT_REGION, /* other regions */
    LM_PORT_RAFT,   /* the region's nodes, if they have one */
    LM_PORTS
} lm_frontend_port_t;

/** What a request says of the lock names that it is about. */
typedef enum {
    LM_NAMES_NONE,  /* nothing: prefixes of roles do not count */
    LM_NAMES_ONE,   /* a lm_bytes_t with a name */
    LM_NAMES_BELOW, /* a lm_bytes_t with the prefix of all names that it asks for */
    LM_NAMES_ALL,   /* nothing, but the answer shows names of any kind */
} lm_frontend_names_t;

typedef struct {
    lm_frontend_method_id_t id;
    const char *path;    /* "/package.Service/Method" */
    const char *service; /* full name, for metrics, health and reflection */
    const char *name;
    bool stream; /* messages may come and go at any time; otherwise one in, one out */
    lm_frontend_port_t port;
    bool raft_port_too; /* and on that of nodes, which are watched there */
    bool admitted;      /* counts against the bound for client calls, and may be refused by it */
    bool between_nodes; /* nodes make it, no clients */
    bool vital;         /* has places of its own beyond that bound: keeps or frees what is held */
    bool sheds;         /* asks for more: refused first when there is too much to do */
    lm_participant_t room;
    const lm_wire_type_t *request;
    const char *type; /* as metrics name it: unary, server_stream, bidi_stream */
    lm_right_t needs; /* of the caller */
    lm_frontend_names_t names;
    size_t names_at; /* offset of that text in the struct of the request */
} lm_frontend_method_t;

/** Row of a method; id is one of them. */
const lm_frontend_method_t *lm_frontend_method(lm_frontend_method_id_t id);
/** Row of a path of any length, not terminated; NULL: there is none. */
const lm_frontend_method_t *lm_frontend_method_of(lm_bytes_t path);
/** Whether a port serves it. raft_apart: nodes have a port of their own. */
bool lm_frontend_method_is_on(const lm_frontend_method_t *method, lm_frontend_port_t port,
                              bool raft_apart);

/** Names of the services that clients see in reflection and health, NULL at the end. */
extern const char *const lm_frontend_services[];

#endif
