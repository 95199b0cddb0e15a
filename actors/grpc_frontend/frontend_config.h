/* What both rooms take from the node's configuration. */
#ifndef LM_FRONTEND_CONFIG_H
#define LM_FRONTEND_CONFIG_H

#include "frontend_driver.h"
#include "wire_bus.h"

/** A deep copy in the arena. */
const lm_bus_node_config_t *lm_frontend_config_copy(const lm_bus_node_config_t *config,
                                                    lm_arena_t *arena);
lm_frontend_listen_t lm_frontend_config_listen(const lm_bus_node_config_t *config);
/** The configured voter of that name; NULL: there is none. The node itself is one of them. */
const lm_bus_peer_config_t *lm_frontend_config_peer(const lm_bus_node_config_t *config,
                                                    lm_bytes_t name);
/** name: of the node or region that is to answer there. */
lm_frontend_target_t lm_frontend_config_target(lm_frontend_channel_kind_t kind, lm_bytes_t host,
                                               uint32_t port, lm_bytes_t name);

#endif
