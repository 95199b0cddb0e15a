#include "sup_node_config.h"

#include <stdlib.h>
#include <string.h>

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
                                                .grpc_port = c->peers[i].grpc_port,
                                                .raft_port = c->peers[i].raft_port};
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
    lm_sup_settings_fill(&node->settings, c);
    node->message = (lm_bus_node_config_t){
        .node = lm_bytes_of(c->node),
        .region = lm_bytes_of(c->region_id),
        .data_dir = lm_bytes_of(c->data_dir),
        .run_dir = lm_bytes_of(c->run_dir),
        .listen = lm_bytes_of(c->listen),
        .grpc_port = c->grpc_port,
        .region_port = c->region_port,
        .raft_port = c->raft_port,
        .actuator_port = c->actuator_port,
        .connection_age_ms = c->connection_age_ms,
        .connection_grace_ms = c->connection_grace_ms,
        .keepalive_time_ms = c->keepalive_time_ms,
        .keepalive_timeout_ms = c->keepalive_timeout_ms,
        .keepalive_min_interval_ms = c->keepalive_min_interval_ms,
        .reflection = strcmp(c->reflection, "on") == 0,
        .actuator_include = lm_bytes_of(c->actuator_include),
        .actuator_health_details = lm_bytes_of(c->actuator_health_details),
        .actuator_token = lm_bytes_of(c->actuator_token),
        .actuator_lock_names = strcmp(c->actuator_lock_names, "shown") == 0,
        .n_peers = c->n_peers,
        .peers = node->peers,
        .n_region_peers = c->n_region_peers,
        .region_peers = node->region_peers,
        .election_timeout_ms = c->election_timeout_ms,
        .heartbeat_interval_ms = c->heartbeat_interval_ms,
        .snapshot_bytes = c->snapshot_bytes,
        .trailing_entries = c->trailing_entries,
        .lock_default_timeout_ms = c->lock_default_timeout_ms,
        .lock_min_timeout_ms = c->lock_min_timeout_ms,
        .lock_max_timeout_ms = c->lock_max_timeout_ms,
        .peer_auth = lm_bytes_of(c->peer_auth),
        .peer_key = lm_bytes_of(c->peer_key),
        .region_peer_auth = lm_bytes_of(c->region_peer_auth),
        .region_peer_key = lm_bytes_of(c->region_peer_key),
        .tls_ca = lm_bytes_of(c->tls_ca),
        .tls_peer_ca = lm_bytes_of(c->tls_peer_ca),
        .tls_cert = lm_bytes_of(c->tls_cert),
        .tls_key = lm_bytes_of(c->tls_key),
        .client_auth = lm_bytes_of(c->tls_client_auth),
        .access = lm_bytes_of(c->access),
        .log_level = lm_bytes_of(c->log_level),
        .log_format = lm_bytes_of(c->log_format),
        .version = lm_bytes_of(LM_VERSION),
        .waiters_per_lock_max = c->waiters_per_lock_max,
        .locks_max = c->locks_max,
        .holds_per_owner_max = c->holds_per_owner_max,
        .record_ring_size = c->record_ring_size,
        .sessions_max = c->sessions_max,
        .session_window = c->session_window,
        .concurrent_streams_max = c->concurrent_streams_max,
        .request_bytes_max = c->request_bytes_max,
        .connections_per_address_max = c->connections_per_address_max,
        .n_settings = node->settings.n,
        .settings = node->settings.items,
    };
}
