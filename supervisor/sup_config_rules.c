#include "sup_config_rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const lm_sup_config_t *config;
    lm_sup_where_t *where;
    const void *arg;
    lm_sup_problems_t *problems;
    lm_sup_problems_t *warnings;
} check_t;

static bool is_variable(const char *where) { return strncmp(where, "LOCKMGR_", 8) == 0; }

/** Where to point for a rule between two keys: at a variable if one was set there, for it
 *  overrides; else at the file. */
static const char *where_of(const check_t *check, const char *a, const char *b)
{
    const char *first = check->where(check->arg, a);
    const char *second = check->where(check->arg, b);
    if (*first == '\0') return second;
    if (*second == '\0') return first;
    return is_variable(second) && !is_variable(first) ? second : first;
}

/* ---- numbers ---- */

static void check_times(const check_t *check)
{
    const lm_sup_config_t *c = check->config;
    if (2 * (uint64_t)c->stop_delay_ms > c->stop_timeout_ms)
        lm_sup_problems_add(check->problems, where_of(check, "stop_delay_ms", "stop_timeout_ms"),
                            "stop_delay_ms (%u) must be at most half of stop_timeout_ms (%u)",
                            c->stop_delay_ms, c->stop_timeout_ms);
    if (2 * (uint64_t)c->heartbeat_interval_ms > c->election_timeout_ms)
        lm_sup_problems_add(
            check->problems,
            where_of(check, "raft.heartbeat_interval_ms", "raft.election_timeout_ms"),
            "raft.heartbeat_interval_ms (%u) must be at most half of raft.election_timeout_ms (%u)",
            c->heartbeat_interval_ms, c->election_timeout_ms);
    if (c->lock_min_timeout_ms > c->lock_default_timeout_ms)
        lm_sup_problems_add(
            check->problems, where_of(check, "lock.min_timeout_ms", "lock.default_timeout_ms"),
            "lock.min_timeout_ms (%u) must not be above lock.default_timeout_ms (%u)",
            c->lock_min_timeout_ms, c->lock_default_timeout_ms);
    if (c->lock_default_timeout_ms > c->lock_max_timeout_ms)
        lm_sup_problems_add(
            check->problems, where_of(check, "lock.default_timeout_ms", "lock.max_timeout_ms"),
            "lock.default_timeout_ms (%u) must not be above lock.max_timeout_ms (%u)",
            c->lock_default_timeout_ms, c->lock_max_timeout_ms);
}

static void check_age(const check_t *check)
{
    uint32_t age_ms = check->config->connection_age_ms;
    if (age_ms == 0 || age_ms >= LM_SUP_CONNECTION_AGE_MIN_MS) return;
    lm_sup_problems_add(check->problems, check->where(check->arg, "grpc.max_connection_age_ms"),
                        "grpc.max_connection_age_ms must be 0 (never) or at least %d, not %u",
                        LM_SUP_CONNECTION_AGE_MIN_MS, age_ms);
}

static void check_ports(const check_t *check)
{
    const struct {
        const char *path;
        uint32_t port;
    } ports[] = {{"service.grpc_port", check->config->grpc_port},
                 {"service.region_port", check->config->region_port},
                 {"service.raft_port", check->config->raft_port},
                 {"service.actuator_port", check->config->actuator_port}};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = i + 1; j < 4; j++) {
            if (ports[i].port != ports[j].port) continue;
            lm_sup_problems_add(check->problems, where_of(check, ports[j].path, ports[i].path),
                                "%s and %s must not both be %u", ports[i].path, ports[j].path,
                                ports[i].port);
        }
    }
}

static void check_exposure(const check_t *check)
{
    if (strstr(check->config->actuator_include, "health")) return;
    lm_sup_problems_add(check->warnings, check->where(check->arg, "actuator.exposure.include"),
                        "actuator.exposure.include is without health: /livez and /readyz are not "
                        "there either, and who probes the node gets 404");
}

/* ---- nodes ---- */

/** True if the peer could be read; what could not has been told already. */
static bool is_whole(const lm_sup_peer_t *peer) { return *peer->name && *peer->host; }

/* Of two nodes on one host; 0: there is none. */
static uint32_t common_port(const lm_sup_peer_t *a, const lm_sup_peer_t *b)
{
    if (a->grpc_port == b->grpc_port || a->grpc_port == b->raft_port) return a->grpc_port;
    return a->raft_port == b->raft_port || a->raft_port == b->grpc_port ? a->raft_port : 0;
}

/* Names of nodes and regions are those of their certificates, and there n1 and N1 are one name. */
static void check_peer_pair(const check_t *check, const lm_sup_peer_t *a, const lm_sup_peer_t *b)
{
    if (!is_whole(a) || !is_whole(b)) return;
    if (strcmp(a->name, b->name) == 0)
        lm_sup_problems_add(check->problems, b->where, "peers: the name \"%s\" is there twice",
                            b->name);
    else if (strcasecmp(a->name, b->name) == 0)
        lm_sup_problems_add(
            check->problems, b->where,
            "peers: \"%s\" and \"%s\" must differ in more than upper and lower case", a->name,
            b->name);
    uint32_t port = strcmp(a->host, b->host) == 0 ? common_port(a, b) : 0;
    if (port)
        lm_sup_problems_add(check->problems, b->where,
                            "peers: \"%s\" and \"%s\" must not both be %s port %u", a->name,
                            b->name, b->host, port);
}

/* The own entry says something else than the node listens on: only what lies between can make
 * that right. */
static void check_own_ports(const check_t *check, const lm_sup_peer_t *own)
{
    const lm_sup_config_t *c = check->config;
    if (own->grpc_port != c->grpc_port)
        lm_sup_problems_add(check->warnings, own->where,
                            "peers reach this node at port %u, but it listens on port %u",
                            own->grpc_port, c->grpc_port);
    uint32_t expected = c->raft_port ? c->raft_port : own->grpc_port;
    if (own->raft_port != expected)
        lm_sup_problems_add(check->warnings, own->where,
                            "peers reach the Raft of this node at port %u, but service.raft_port "
                            "is %u%s",
                            own->raft_port, c->raft_port,
                            c->raft_port ? "" : ": it shares the gRPC port");
}

static void check_own_peer(const check_t *check)
{
    const lm_sup_config_t *c = check->config;
    if (*c->node == '\0') return; /* told already */
    for (size_t i = 0; i < c->n_peers; i++) {
        if (!is_whole(&c->peers[i])) return;
        if (strcmp(c->peers[i].name, c->node) != 0) continue;
        check_own_ports(check, &c->peers[i]);
        return;
    }
    lm_sup_problems_add(check->problems, check->where(check->arg, "node"),
                        "node \"%s\" must be one of peers, which lists all nodes of the region",
                        c->node);
}

static void check_peers(const check_t *check)
{
    const lm_sup_config_t *c = check->config;
    for (size_t i = 0; i < c->n_peers; i++) {
        for (size_t j = i + 1; j < c->n_peers; j++)
            check_peer_pair(check, &c->peers[i], &c->peers[j]);
    }
    if (c->n_peers == 0) return; /* told already */
    check_own_peer(check);
    if (c->replica_count != 0 && c->replica_count != c->n_peers)
        lm_sup_problems_add(check->problems, check->where(check->arg, "replica_count"),
                            "replica_count is %u, but peers lists %zu", c->replica_count,
                            c->n_peers);
}

static void check_region_peers(const check_t *check)
{
    const lm_sup_config_t *c = check->config;
    for (size_t i = 0; i < c->n_region_peers; i++) {
        const lm_sup_region_peer_t *peer = &c->region_peers[i];
        if (*peer->region_id == '\0') continue;
        if (strcasecmp(peer->region_id, c->region_id) == 0)
            lm_sup_problems_add(check->problems, peer->where,
                                "region.peers: \"%s\" is this region itself", peer->region_id);
        for (size_t j = 0; j < i; j++) {
            if (strcasecmp(peer->region_id, c->region_peers[j].region_id) != 0) continue;
            lm_sup_problems_add(check->problems, peer->where,
                                "region.peers: the region \"%s\" is there twice", peer->region_id);
        }
    }
}

void lm_sup_config_check_rules(const lm_sup_config_t *config, lm_sup_where_t *where,
                               const void *arg, lm_sup_problems_t *problems,
                               lm_sup_problems_t *warnings)
{
    check_t check = {config, where, arg, problems, warnings};
    check_times(&check);
    check_age(&check);
    check_ports(&check);
    check_exposure(&check);
    check_peers(&check);
    check_region_peers(&check);
}

/* ---- directories ---- */

/** Cuts the last part off a path; "/a" becomes "/". */
static void to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
}

/** Why a directory cannot be used or made; NULL if it can. Looks only. */
static const char *find_dir_fault(const char *dir, char *at, size_t at_size)
{
    struct stat found;
    snprintf(at, at_size, "%s", dir);
    while (stat(at, &found) != 0) {
        if (errno != ENOENT || strcmp(at, "/") == 0) return strerror(errno);
        to_parent(at);
    }
    if (!S_ISDIR(found.st_mode)) return "it is not a directory";
    if (access(at, R_OK | W_OK | X_OK) != 0) return strerror(errno);
    return NULL;
}

static void check_dir(const check_t *check, const char *path, const char *dir)
{
    char at[LM_SUP_WHERE_MAX];
    const char *fault = find_dir_fault(dir, at, sizeof at);
    if (!fault) return;
    lm_sup_problems_add(check->problems, check->where(check->arg, path),
                        "%s must be a directory that can be read and written, but %s: %s", path, at,
                        fault);
}

void lm_sup_config_check_dirs(const lm_sup_config_t *config, lm_sup_where_t *where, const void *arg,
                              lm_sup_problems_t *problems)
{
    check_t check = {.config = config, .where = where, .arg = arg, .problems = problems};
    check_dir(&check, "data_dir", config->data_dir);
    check_dir(&check, "run_dir", config->run_dir);
}
