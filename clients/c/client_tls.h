/* What a client proves itself with, and whom it trusts: credentials out of the files of an
 * lm_client_tls_t. */
#ifndef LM_CLIENT_TLS_H
#define LM_CLIENT_TLS_H

#include <grpc/grpc_security.h>

#include "client.h"

typedef struct lm_client_secrets lm_client_secrets_t;

/** Copies the texts; reads no file. tls may be NULL. */
lm_client_secrets_t *lm_client_secrets_new(const lm_client_tls_t *tls);
void lm_client_secrets_destroy(lm_client_secrets_t **secrets);

/** The copy; no text in it is NULL. Lives as long as the secrets. */
const lm_client_tls_t *lm_client_secrets_tls(const lm_client_secrets_t *secrets);

/** Credentials for channels, without TLS if none is wished. NULL: *problem, if that is not NULL,
 *  says what is wrong, for people. */
grpc_channel_credentials *lm_client_secrets_read(lm_client_secrets_t *secrets, char problem[256]);

/** The same if a file has changed since they were read last; NULL if none has, or if what is there
 *  cannot be used. Then it is tried again whenever this is called, changed or not. */
grpc_channel_credentials *lm_client_secrets_renewed(lm_client_secrets_t *secrets);

#endif
