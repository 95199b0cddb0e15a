/* The configuration as START carries it to the actors. */
#ifndef LM_SUP_NODE_CONFIG_H
#define LM_SUP_NODE_CONFIG_H

#include "sup_config.h"
#include "wire_bus.h"

/** The message and the arrays it points to; its texts are views of the configuration. */
typedef struct {
    lm_bus_node_config_t message;
    lm_bus_peer_config_t peers[LM_SUP_PEERS_MAX]; /* sorted by name: the same order on every node */
    lm_bus_region_peer_config_t region_peers[LM_SUP_REGION_PEERS_MAX];
} lm_sup_node_config_t;

/** Fills *node from *config, which must outlive it. *node must not be moved afterwards. */
void lm_sup_node_config_fill(lm_sup_node_config_t *node, const lm_sup_config_t *config);

#endif
