#include "sup_node_config.h"

#include <stdlib.h>

static int by_name(const void *a, const void *b)
{
    const lm_bus_peer_config_t *one = a, *other = b;
    return lm_bytes_compare(one->name, other->name);
}

static void fill_lists(lm_sup_node_config_t *node, const lm_sup_config_t *c)
{
    for (size_t i = 0; i < c->n_peers; i++)
        node->peers[i] = (lm_bus_peer_config_t){.name = lm_bytes_of(c->peers[i].name),
                                                .host = lm_bytes_of(c->peers[i].host),
                                                .grpc_port = c->peers[i].grpc_port};
    qsort(node->peers, c->n_peers, sizeof node->peers[0], by_name);
    for (size_t i = 0; i < c->n_region_peers; i++)
        node->region_peers[i] =
            (lm_bus_region_peer_config_t){.region = lm_bytes_of(c->region_peers[i].region_id),
                                          .host = lm_bytes_of(c->region_peers[i].host),
                                          .port = c->region_peers[i].port};
}

void lm_sup_node_config_fill(lm_sup_node_config_t *node, const lm_sup_config_t *c)
{
    fill_lists(node, c);
    node->message = (lm_bus_node_config_t){
        .node = lm_bytes_of(c->node),
        .region = lm_bytes_of(c->region_id),
        .data_dir = lm_bytes_of(c->data_dir),
        .run_dir = lm_bytes_of(c->run_dir),
        .listen = lm_bytes_of(c->listen),
        .grpc_port = c->grpc_port,
        .region_port = c->region_port,
        .actuator_port = c->actuator_port,
        .n_peers = c->n_peers,
        .peers = node->peers,
        .n_region_peers = c->n_region_peers,
        .region_peers = node->region_peers,
        .election_timeout_ms = c->election_timeout_ms,
        .heartbeat_interval_ms = c->heartbeat_interval_ms,
        .lock_default_timeout_ms = c->lock_default_timeout_ms,
        .lock_min_timeout_ms = c->lock_min_timeout_ms,
        .lock_max_timeout_ms = c->lock_max_timeout_ms,
        .peer_auth = lm_bytes_of(c->peer_auth),
        .log_level = lm_bytes_of(c->log_level),
        .log_format = lm_bytes_of(c->log_format),
        .version = lm_bytes_of(LM_VERSION),
        .waiters_per_lock_max = c->waiters_per_lock_max,
        .locks_max = c->locks_max,
        .holds_per_owner_max = c->holds_per_owner_max,
        .record_ring_size = c->record_ring_size,
        .concurrent_streams_max = c->concurrent_streams_max,
        .request_bytes_max = c->request_bytes_max,
    };
}
