#include "frontend_proof.h"

static bool is(const lm_bus_node_config_t *config, const char *client_auth)
{
    return lm_bytes_equal(config->client_auth, lm_bytes_of(client_auth));
}

bool lm_frontend_proof_of(const lm_bus_node_config_t *config, const lm_frontend_handle_t *handle,
                          lm_bytes_t name)
{
    if (config->tls_cert.size == 0) return true;
    const lm_frontend_party_t *party = handle->party;
    if (!party || party->is_client) return false;
    for (size_t i = 0; i < party->n_names; i++)
        if (lm_bytes_equal(party->names[i], name)) return true;
    return false;
}

lm_bytes_t lm_frontend_proof_identity(const lm_bus_node_config_t *config,
                                      const lm_frontend_handle_t *handle)
{
    bool asked = config->tls_cert.size > 0 && !is(config, "none");
    return asked && handle->party ? handle->party->identity : lm_bytes(NULL, 0);
}

bool lm_frontend_proof_needed(const lm_bus_node_config_t *config)
{
    return config->tls_cert.size > 0 && is(config, "require");
}
