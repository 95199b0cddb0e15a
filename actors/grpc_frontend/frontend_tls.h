/* TLS of the frontend: credentials for gRPC out of files, and renewed ones when the files change.
 *
 * Invariants
 *   FT1  Connections are TLS 1.3 or there are none.
 *   FT2  Files that are not whole (tls_files.h) change nothing: what was read before stays in
 *        force, and the log says why.
 *   FT3  A new connection uses the newest files that were read; open ones go on as they are.
 *   FT4  Where nodes and regions have an authority of their own, the region port and outgoing
 *        channels trust nobody else, and a caller is asked for its signature before it speaks for
 *        a node or region.
 */
#ifndef LM_FRONTEND_TLS_H
#define LM_FRONTEND_TLS_H

#include <grpc/grpc_security.h>

#include "frontend_driver.h"

typedef struct lm_frontend_tls lm_frontend_tls_t;

/** To be called before gRPC is set up in this process: leaves it no older version of TLS, and hears
 *  what gRPC has to say. */
void lm_frontend_tls_begin_process(void);

/** Reads the files that how names. NULL: they cannot be used; text says why. */
lm_frontend_tls_t *lm_frontend_tls_new(const lm_frontend_listen_t *how, char *text, size_t size);
/** All servers and channels made from it must be gone. */
void lm_frontend_tls_destroy(lm_frontend_tls_t **tls);

/** Looks, at most once a second, whether the files have changed. */
void lm_frontend_tls_poll(lm_frontend_tls_t *tls, uint64_t now_us);
/** Counts the versions of the files, from 1. */
uint64_t lm_frontend_tls_version(lm_frontend_tls_t *tls);
/** When the own certificate in force expires, seconds since 1970. */
int64_t lm_frontend_tls_expires_s(lm_frontend_tls_t *tls);
/** How many connections of this process, in and out, have failed before they were one. */
uint64_t lm_frontend_tls_failed_handshakes(void);

/** Credentials of the server of a port, which asks for the newest files at every connection. */
grpc_server_credentials *lm_frontend_tls_server(lm_frontend_tls_t *tls, lm_frontend_port_t port);
/** Credentials of a channel, and the version of the files that they hold. */
grpc_channel_credentials *lm_frontend_tls_channel(lm_frontend_tls_t *tls, uint64_t *version);

/** Who is at the other end of an incoming call; NULL: it has shown no certificate. as_node: finds
 *  out who has signed that. To be freed. */
lm_frontend_party_t *lm_frontend_tls_party(lm_frontend_tls_t *tls, grpc_call *call, bool as_node);

#endif
