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
    LM_SUP_CONNECTION_AGE_MIN_MS = 1000, /* unless it is 0 */
    LM_SUP_ROWS_MAX = 50,                /* keys that are not in a list of groups */
    LM_SUP_NAMES_MAX = 128,              /* bytes of a list of names */
};

typedef struct {
    char name[64];
    char host[256];
    uint32_t grpc_port;
    uint32_t raft_port;           /* where its nodes reach it; may be grpc_port */
    char where[LM_SUP_WHERE_MAX]; /* "file:line" */
} lm_sup_peer_t;

typedef struct {
    char region_id[64];
    char host[256];
    uint32_t port;
    char where[LM_SUP_WHERE_MAX];
} lm_sup_region_peer_t;

/** What the file says of a key, and whether a variable says otherwise: its value is in config. */
typedef struct {
    char file_where[LM_SUP_WHERE_MAX]; /* empty: nothing */
    char file_value[256];
    bool in_environment;
} lm_sup_origin_t;

typedef struct {
    char node[64];
    char data_dir[256];
    char run_dir[LM_SUP_RUN_DIR_MAX + 1];
    char listen[64];
    char peer_auth[16];        /* "trusted"; empty: by certificates or by the key */
    char peer_key[256];        /* file of keys; empty: none */
    char region_peer_auth[16]; /* "trusted"; empty: as nodes do, or by region_peer_key */
    char region_peer_key[256]; /* file of keys that regions share; empty: none of their own */
    char tls_ca[256], tls_cert[256], tls_key[256]; /* all or none */
    char tls_peer_ca[256];                         /* empty: tls_ca signs nodes as well */
    char tls_client_auth[8];
    char access[256]; /* file of tokens and grants; empty: none */
    uint32_t stop_timeout_ms;
    uint32_t stop_delay_ms;
    uint32_t replica_count; /* 0: not given */
    lm_sup_peer_t peers[LM_SUP_PEERS_MAX];
    size_t n_peers;
    char region_id[64];
    lm_sup_region_peer_t region_peers[LM_SUP_REGION_PEERS_MAX];
    size_t n_region_peers;
    uint32_t election_timeout_ms;
    uint32_t heartbeat_interval_ms;
    uint32_t snapshot_bytes;
    uint32_t trailing_entries;
    uint32_t lock_default_timeout_ms;
    uint32_t lock_max_timeout_ms;
    uint32_t lock_min_timeout_ms;
    uint32_t grpc_port;
    uint32_t region_port;
    uint32_t raft_port; /* 0: nodes share grpc_port */
    uint32_t actuator_port;
    uint32_t connection_age_ms; /* 0: never */
    uint32_t connection_grace_ms;
    uint32_t keepalive_time_ms;
    uint32_t keepalive_timeout_ms;
    uint32_t keepalive_min_interval_ms;
    char reflection[4];                      /* on or off */
    char actuator_include[LM_SUP_NAMES_MAX]; /* endpoints, with commas between them */
    char actuator_health_details[8];         /* always or never */
    char actuator_lock_names[8];             /* hidden or shown */
    char actuator_token[256];                /* file of tokens; empty: none is asked for */
    char log_level[8];
    char log_format[8];
    uint32_t waiters_per_lock_max;
    uint32_t locks_max;
    uint32_t holds_per_owner_max;
    uint32_t record_ring_size;
    uint32_t sessions_max;
    uint32_t session_window;
    uint32_t concurrent_streams_max;
    uint32_t request_bytes_max;
    uint32_t connections_per_address_max;
    lm_sup_origin_t origins[LM_SUP_ROWS_MAX]; /* in the order of lm_sup_rows */
} lm_sup_config_t;

/** Reads file and environment ("NAME=value", ending with NULL) and checks every rule. Fills
 *  *config; it may be used only if no problem was added. A node in peers without a raft_port has
 *  the own service.raft_port, or its grpc_port if that is 0. warnings gets what is odd but
 *  allowed. */
void lm_sup_config_load(const char *file, const char *const *environment, lm_sup_config_t *config,
                        lm_sup_problems_t *problems, lm_sup_problems_t *warnings);

#endif
