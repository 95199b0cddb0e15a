/* The configuration of a node: one libconfig file, overridden by environment variables.
 *
 * Invariants
 *   C1  Everything wrong is found in one go and told with file and line, or with the name of the
 *       environment variable; only a syntax error hides what comes after it.
 *   C2  A configuration without problems has a value in every field that keeps its rule.
 *   C3  Reading a configuration changes nothing on disk.
 */
#ifndef LM_SUP_CONFIG_H
#define LM_SUP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "sup_problems.h"

enum {
    LM_SUP_PEERS_MAX = 9,
    LM_SUP_REGION_PEERS_MAX = 32,
    LM_SUP_RUN_DIR_MAX = 80, /* a socket path below it must fit sun_path, 108 bytes */
    LM_SUP_WHERE_MAX = 384,
};

typedef struct {
    char name[64];
    char host[256];
    uint32_t grpc_port;
    char where[LM_SUP_WHERE_MAX]; /* "file:line" */
} lm_sup_peer_t;

typedef struct {
    char region_id[64];
    char host[256];
    uint32_t port;
    char where[LM_SUP_WHERE_MAX];
} lm_sup_region_peer_t;

typedef struct {
    char node[64];
    char data_dir[256];
    char run_dir[LM_SUP_RUN_DIR_MAX + 1];
    char listen[64];
    char peer_auth[16];
    uint32_t replica_count; /* 0: not given */
    lm_sup_peer_t peers[LM_SUP_PEERS_MAX];
    size_t n_peers;
    char region_id[64];
    lm_sup_region_peer_t region_peers[LM_SUP_REGION_PEERS_MAX];
    size_t n_region_peers;
    uint32_t election_timeout_ms;
    uint32_t heartbeat_interval_ms;
    uint32_t lock_default_timeout_ms;
    uint32_t lock_max_timeout_ms;
    uint32_t lock_min_timeout_ms;
    uint32_t grpc_port;
    uint32_t region_port;
    uint32_t actuator_port;
    char log_level[8];
    char log_format[8];
    uint32_t waiters_per_lock_max;
    uint32_t locks_max;
    uint32_t holds_per_owner_max;
    uint32_t record_ring_size;
    uint32_t concurrent_streams_max;
    uint32_t request_bytes_max;
} lm_sup_config_t;

/** Reads file and environment ("NAME=value", ending with NULL) and checks every rule. Fills
 * *config; it may be used only if no problem was added. warnings gets what is odd but allowed. */
void lm_sup_config_load(const char *file, const char *const *environment, lm_sup_config_t *config,
                        lm_sup_problems_t *problems, lm_sup_problems_t *warnings);

#endif
