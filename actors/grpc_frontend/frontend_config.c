#include "frontend_config.h"

#include <stdio.h>

#include "base_check.h"

const lm_bus_node_config_t *lm_frontend_config_copy(const lm_bus_node_config_t *config,
                                                    lm_arena_t *arena)
{
    lm_bytes_t bytes = lm_wire_encode(&lm_bus_node_config_type, config, arena);
    void *copy = NULL;
    lm_rc_t code = lm_wire_decode(&lm_bus_node_config_type, bytes, arena, &copy, NULL);
    LM_CHECK(code == LM_RC_OK, "configuration does not survive its copy: %s", lm_rc_name(code));
    return copy;
}

lm_frontend_listen_t lm_frontend_config_listen(const lm_bus_node_config_t *config)
{
    lm_frontend_listen_t how = {.grpc_port = config->grpc_port,
                                .region_port = config->region_port,
                                .raft_port = config->raft_port,
                                .streams_max = config->concurrent_streams_max,
                                .request_bytes_max = config->request_bytes_max,
                                .connections_per_address_max = config->connections_per_address_max,
                                .connection_age_ms = config->connection_age_ms,
                                .connection_grace_ms = config->connection_grace_ms,
                                .keepalive_time_ms = config->keepalive_time_ms,
                                .keepalive_timeout_ms = config->keepalive_timeout_ms,
                                .keepalive_min_interval_ms = config->keepalive_min_interval_ms,
                                .reflection = config->reflection};
    snprintf(how.address, sizeof how.address, "%.*s", LM_BYTES_ARG(config->listen));
    snprintf(how.tls_ca, sizeof how.tls_ca, "%.*s", LM_BYTES_ARG(config->tls_ca));
    snprintf(how.tls_peer_ca, sizeof how.tls_peer_ca, "%.*s", LM_BYTES_ARG(config->tls_peer_ca));
    snprintf(how.tls_cert, sizeof how.tls_cert, "%.*s", LM_BYTES_ARG(config->tls_cert));
    snprintf(how.tls_key, sizeof how.tls_key, "%.*s", LM_BYTES_ARG(config->tls_key));
    snprintf(how.access, sizeof how.access, "%.*s", LM_BYTES_ARG(config->access));
    snprintf(how.peer_key, sizeof how.peer_key, "%.*s", LM_BYTES_ARG(config->peer_key));
    snprintf(how.region_key, sizeof how.region_key, "%.*s", LM_BYTES_ARG(config->region_peer_key));
    how.clients_certified = lm_bytes_equal(config->client_auth, lm_bytes_of("require"));
    return how;
}

const lm_bus_peer_config_t *lm_frontend_config_peer(const lm_bus_node_config_t *config,
                                                    lm_bytes_t name)
{
    for (size_t i = 0; i < config->n_peers; i++)
        if (lm_bytes_equal(config->peers[i].name, name)) return &config->peers[i];
    return NULL;
}

lm_frontend_target_t lm_frontend_config_target(lm_frontend_channel_kind_t kind, lm_bytes_t host,
                                               uint32_t port, lm_bytes_t name)
{
    lm_frontend_target_t target = {.kind = kind, .port = port};
    snprintf(target.host, sizeof target.host, "%.*s", LM_BYTES_ARG(host));
    snprintf(target.name, sizeof target.name, "%.*s", LM_BYTES_ARG(name));
    return target;
}
