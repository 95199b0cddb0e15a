/* What a certificate proves of a caller, as the node's configuration asks for it.
 *
 * Invariants
 *   FP1  With TLS, nobody speaks for a node or region but who bears its name in a certificate of
 *        the authority that signs them.
 */
#ifndef LM_FRONTEND_PROOF_H
#define LM_FRONTEND_PROOF_H

#include "frontend_driver.h"
#include "wire_bus.h"

/** Whether the caller may speak for the node or region of that name, as far as certificates go: in
 *  plaintext always. Where there is a key, frontend_keys.h has the rest. */
bool lm_frontend_proof_of(const lm_bus_node_config_t *config, const lm_frontend_handle_t *handle,
                          lm_bytes_t name);
/** Who a client is by its certificate; empty while clients are not asked for one. Lives as long as
 *  the handle. */
lm_bytes_t lm_frontend_proof_identity(const lm_bus_node_config_t *config,
                                      const lm_frontend_handle_t *handle);
/** Whether a client must have a name even where there is no file of access. */
bool lm_frontend_proof_needed(const lm_bus_node_config_t *config);

#endif
