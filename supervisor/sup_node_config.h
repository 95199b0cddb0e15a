/* The configuration as START carries it to the actors. */
#ifndef LM_SUP_NODE_CONFIG_H
#define LM_SUP_NODE_CONFIG_H

#include "sup_config_rows.h"
#include "wire_bus.h"

enum {
    LM_SUP_SETTINGS_MAX = 3 * LM_SUP_ROWS_MAX + LM_SUP_PEER_ROWS * LM_SUP_PEERS_MAX +
                          LM_SUP_REGION_PEER_ROWS * LM_SUP_REGION_PEERS_MAX,
    LM_SUP_SETTING_TEXT_MAX = 64,
};

/** Where every setting has its value from. */
typedef struct {
    lm_bus_setting_t items[LM_SUP_SETTINGS_MAX];
    size_t n;
    char texts[2 * LM_SUP_SETTINGS_MAX][LM_SUP_SETTING_TEXT_MAX]; /* that are no views */
    size_t n_texts;
} lm_sup_settings_t;

/** The message and the arrays it points to; its texts are views of the configuration. */
typedef struct {
    lm_bus_node_config_t message;
    lm_bus_peer_config_t peers[LM_SUP_PEERS_MAX]; /* sorted by name: the same order on every node */
    lm_bus_region_peer_config_t region_peers[LM_SUP_REGION_PEERS_MAX];
    lm_sup_settings_t settings;
} lm_sup_node_config_t;

/** Fills *node from *config, which must outlive it. *node must not be moved afterwards. */
void lm_sup_node_config_fill(lm_sup_node_config_t *node, const lm_sup_config_t *config);

/** Fills *settings, which is zeroed, from *config, which must outlive it; it must not be moved
 *  afterwards. Values of the lists of nodes and regions are all of the file. */
void lm_sup_settings_fill(lm_sup_settings_t *settings, const lm_sup_config_t *config);

#endif
