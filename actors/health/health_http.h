/* The HTTP side of the health actor: libmicrohttpd, driven by the actor's own loop through one
 * epoll descriptor, without threads. */
#ifndef LM_HEALTH_HTTP_H
#define LM_HEALTH_HTTP_H

#include "act_host.h"
#include "health_room.h"

typedef struct health_http health_http_t;

/** Makes a driver that will answer from health and be run by host. It listens when START has come.
 */
health_http_t *health_http_new(health_t *health, lm_host_t *host);
void health_http_destroy(health_http_t **http);

#endif
