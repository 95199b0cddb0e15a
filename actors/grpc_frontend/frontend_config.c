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
                                .streams_max = config->concurrent_streams_max,
                                .request_bytes_max = config->request_bytes_max};
    snprintf(how.address, sizeof how.address, "%.*s", LM_BYTES_ARG(config->listen));
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
                                               uint32_t port)
{
    lm_frontend_target_t target = {.kind = kind, .port = port};
    snprintf(target.host, sizeof target.host, "%.*s", LM_BYTES_ARG(host));
    return target;
}
