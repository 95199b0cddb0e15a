#include "sup_config_rows.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base_bytes.h"
#include "base_check.h"
#include "base_log.h"

/* ---- what texts must be ---- */

static bool is_name(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= 63 && text[n] == '\0' && isalnum((unsigned char)text[0]);
}

/** A host name or an address; a colon only in the latter. */
static bool is_host(const char *text)
{
    struct in6_addr address;
    if (inet_pton(AF_INET6, text, &address) == 1) return true;
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= 253 && text[n] == '\0';
}

static bool is_address(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_data_dir(const char *text) { return text[0] == '/'; }

static bool is_run_dir(const char *text)
{
    return text[0] == '/' && strlen(text) <= LM_SUP_RUN_DIR_MAX;
}

static bool is_trusted(const char *text) { return strcmp(text, "trusted") == 0; }

static bool is_file(const char *text) { return text[0] == '/'; }

static bool is_client_auth(const char *text)
{
    return strcmp(text, "none") == 0 || strcmp(text, "request") == 0 ||
           strcmp(text, "require") == 0;
}

static const char *const endpoints[] = {"env",     "health",     "info", "locks",     "loggers",
                                        "metrics", "prometheus", "raft", "threaddump"};

static bool is_endpoint(const char *text)
{
    bool known = false;
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        known |= strcmp(text, endpoints[i]) == 0;
    return known;
}

static bool is_shown_or_hidden(const char *text)
{
    return strcmp(text, "shown") == 0 || strcmp(text, "hidden") == 0;
}

static bool is_on_or_off(const char *text)
{
    return strcmp(text, "on") == 0 || strcmp(text, "off") == 0;
}

static bool is_detail_rule(const char *text)
{
    return strcmp(text, "always") == 0 || strcmp(text, "never") == 0;
}

static bool is_log_level(const char *text)
{
    lm_log_level_t level;
    return lm_log_level_parse(text, &level);
}

static bool is_log_format(const char *text)
{
    return strcmp(text, "text") == 0 || strcmp(text, "json") == 0;
}

/* ---- the table ---- */

#define NAME_RULE "must be 1-63 letters, digits, '.', '_' or '-', the first a letter or digit"
#define FILE_RULE "must be an absolute path of at most 255 bytes"
#define HOST_RULE "must be a host name or an IP address"

#define NUMBER(key, field, low, high, value)                                              \
    {                                                                                     \
        .path = (key), .type = LM_SUP_NUMBER, .offset = offsetof(lm_sup_config_t, field), \
        .min = (low), .max = (high), .number = (value)                                    \
    }
#define TEXT_OF(type_t, key, field, value, check, sentence)                                        \
    {                                                                                              \
        .path = (key), .type = LM_SUP_TEXT, .offset = offsetof(type_t, field),                     \
        .size = sizeof(((type_t *)0)->field), .text = (value), .fits = (check), .rule = (sentence) \
    }
#define TEXT(key, field, value, check, sentence) \
    TEXT_OF(lm_sup_config_t, key, field, value, check, sentence)
#define NAMES(key, field, value, check, sentence)                                        \
    {                                                                                    \
        .path = (key), .type = LM_SUP_NAMES, .offset = offsetof(lm_sup_config_t, field), \
        .size = sizeof(((lm_sup_config_t *)0)->field), .text = (value), .fits = (check), \
        .rule = (sentence)                                                               \
    }

enum { DAY_MS = 86400000 };

const lm_sup_row_t lm_sup_rows[] = {
    TEXT("node", node, NULL, is_name, NAME_RULE),
    TEXT("data_dir", data_dir, "/var/lib/lockmgr", is_data_dir,
         "must be an absolute path of at most 255 bytes"),
    TEXT("run_dir", run_dir, "/run/lockmgr", is_run_dir,
         "must be an absolute path of at most 80 bytes (socket paths below it are limited)"),
    TEXT("listen", listen, "127.0.0.1", is_address, "must be an IPv4 or IPv6 address"),
    TEXT("peer_auth", peer_auth, "", is_trusted,
         "must be \"trusted\": whoever reaches the ports may act as a node of this region"),
    TEXT("peer_key", peer_key, "", is_file, FILE_RULE),
    TEXT("tls.ca", tls_ca, "", is_file, FILE_RULE),
    TEXT("tls.peer_ca", tls_peer_ca, "", is_file, FILE_RULE),
    TEXT("tls.cert", tls_cert, "", is_file, FILE_RULE),
    TEXT("tls.key", tls_key, "", is_file, FILE_RULE),
    TEXT("tls.client_auth", tls_client_auth, "require", is_client_auth,
         "must be \"none\", \"request\" or \"require\""),
    TEXT("access", access, "", is_file, FILE_RULE),
    NUMBER("stop_timeout_ms", stop_timeout_ms, 1000, 600000, 10000),
    NUMBER("stop_delay_ms", stop_delay_ms, 0, 300000, 0),
    NUMBER("replica_count", replica_count, 1, LM_SUP_PEERS_MAX, 0),
    TEXT("region.id", region_id, "us-east", is_name, NAME_RULE),
    TEXT("region.peer_auth", region_peer_auth, "", is_trusted,
         "must be \"trusted\": whoever reaches the region port may act as a region"),
    TEXT("region.peer_key", region_peer_key, "", is_file, FILE_RULE),
    NUMBER("raft.election_timeout_ms", election_timeout_ms, 20, 60000, 150),
    NUMBER("raft.heartbeat_interval_ms", heartbeat_interval_ms, 5, 30000, 50),
    NUMBER("raft.snapshot_bytes", snapshot_bytes, 4096, 33554432, 16777216),
    NUMBER("raft.trailing_entries", trailing_entries, 1, 1000000, 8192),
    NUMBER("lock.default_timeout_ms", lock_default_timeout_ms, 10, DAY_MS, 30000),
    NUMBER("lock.max_timeout_ms", lock_max_timeout_ms, 10, DAY_MS, 300000),
    NUMBER("lock.min_timeout_ms", lock_min_timeout_ms, 10, DAY_MS, 1000),
    NUMBER("service.grpc_port", grpc_port, 1, 65535, 9090),
    NUMBER("service.region_port", region_port, 1, 65535, 9091),
    NUMBER("service.raft_port", raft_port, 0, 65535, 0),
    NUMBER("service.actuator_port", actuator_port, 1, 65535, 8080),
    NUMBER("grpc.max_connection_age_ms", connection_age_ms, 0, DAY_MS, 600000),
    NUMBER("grpc.max_connection_age_grace_ms", connection_grace_ms, 1000, 3600000, 30000),
    NUMBER("grpc.keepalive_time_ms", keepalive_time_ms, 1000, 3600000, 30000),
    NUMBER("grpc.keepalive_timeout_ms", keepalive_timeout_ms, 1000, 600000, 10000),
    NUMBER("grpc.keepalive_min_interval_ms", keepalive_min_interval_ms, 1000, 3600000, 10000),
    TEXT("grpc.reflection", reflection, "on", is_on_or_off, "must be \"on\" or \"off\""),
    NAMES(
        "actuator.exposure.include", actuator_include, "health,info,prometheus,metrics,loggers",
        is_endpoint,
        "must list one or more of env, health, info, locks, loggers, metrics, prometheus, raft and "
        "threaddump"),
    TEXT("actuator.health_details", actuator_health_details, "always", is_detail_rule,
         "must be \"always\" or \"never\""),
    TEXT("actuator.token", actuator_token, "", is_file, FILE_RULE),
    TEXT("actuator.lock_names", actuator_lock_names, "hidden", is_shown_or_hidden,
         "must be \"hidden\" or \"shown\""),
    TEXT("log.level", log_level, "info", is_log_level,
         "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\""),
    TEXT("log.format", log_format, "text", is_log_format, "must be \"text\" or \"json\""),
    NUMBER("limits.waiters_per_lock_max", waiters_per_lock_max, 1, 1000000, 10000),
    NUMBER("limits.locks_max", locks_max, 1, 100000000, 1000000),
    NUMBER("limits.holds_per_owner_max", holds_per_owner_max, 1, 1000000, 10000),
    NUMBER("limits.record_ring_size", record_ring_size, 16, 16777216, 262144),
    NUMBER("limits.sessions_max", sessions_max, 1, 10000000, 100000),
    NUMBER("limits.session_window", session_window, 1, 64, 16),
    NUMBER("limits.concurrent_streams_max", concurrent_streams_max, 1, 100000, 100),
    NUMBER("limits.request_bytes_max", request_bytes_max, 1024, 122880, 65536),
    NUMBER("limits.connections_per_address_max", connections_per_address_max, 0, 1000000, 1000),
};
const size_t lm_sup_n_rows = sizeof lm_sup_rows / sizeof *lm_sup_rows;
_Static_assert(sizeof lm_sup_rows / sizeof *lm_sup_rows <= LM_SUP_ROWS_MAX, "raise the maximum");

const lm_sup_row_t lm_sup_peer_rows[LM_SUP_PEER_ROWS] = {
    TEXT_OF(lm_sup_peer_t, "name", name, NULL, is_name, NAME_RULE),
    TEXT_OF(lm_sup_peer_t, "host", host, NULL, is_host, HOST_RULE),
    {.path = "grpc_port",
     .type = LM_SUP_NUMBER,
     .offset = offsetof(lm_sup_peer_t, grpc_port),
     .min = 1,
     .max = 65535,
     .number = 9090},
    {.path = "raft_port", /* without it: as lm_sup_config_load says */
     .type = LM_SUP_NUMBER,
     .offset = offsetof(lm_sup_peer_t, raft_port),
     .min = 1,
     .max = 65535},
};

const lm_sup_row_t lm_sup_region_peer_rows[LM_SUP_REGION_PEER_ROWS] = {
    TEXT_OF(lm_sup_region_peer_t, "region_id", region_id, NULL, is_name, NAME_RULE),
    TEXT_OF(lm_sup_region_peer_t, "host", host, NULL, is_host, HOST_RULE),
    {.path = "port",
     .type = LM_SUP_NUMBER,
     .offset = offsetof(lm_sup_region_peer_t, port),
     .min = 1,
     .max = 65535,
     .number = 9091},
};

/* ---- what is done with a row ---- */

const lm_sup_row_t *lm_sup_rows_find(const lm_sup_row_t *rows, size_t n, const char *path,
                                     size_t path_size)
{
    for (size_t i = 0; i < n; i++) {
        if (lm_bytes_equal(lm_bytes_of(rows[i].path), lm_bytes(path, path_size))) return &rows[i];
    }
    return NULL;
}

void lm_sup_rows_env_name(const lm_sup_row_t *row, char name[LM_SUP_ENV_NAME_MAX])
{
    int n = snprintf(name, LM_SUP_ENV_NAME_MAX, "LOCKMGR_%s", row->path);
    LM_CHECK(n < LM_SUP_ENV_NAME_MAX, "%s is too long for a variable", row->path);
    for (char *c = name; *c; c++) *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

static uint32_t *number_of(const lm_sup_row_t *row, void *target)
{
    return (uint32_t *)(void *)((char *)target + row->offset);
}

static char *text_of(const lm_sup_row_t *row, void *target) { return (char *)target + row->offset; }

void lm_sup_rows_default(const lm_sup_row_t *row, void *target)
{
    if (row->type == LM_SUP_NUMBER)
        *number_of(row, target) = row->number;
    else
        snprintf(text_of(row, target), row->size, "%s", row->text ? row->text : "");
}

void lm_sup_rows_set_number(const lm_sup_row_t *row, void *target, long long value,
                            const char *path, const char *where, lm_sup_problems_t *problems)
{
    if (value < (long long)row->min || value > (long long)row->max) {
        lm_sup_problems_add(problems, where, "%s must be between %u and %u, not %lld", path,
                            row->min, row->max, value);
        return;
    }
    *number_of(row, target) = (uint32_t)value;
}

static bool is_printable_utf8(const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    }
    return lm_bytes_are_utf8(lm_bytes_of(text));
}

void lm_sup_rows_set_text(const lm_sup_row_t *row, void *target, const char *value,
                          const char *path, const char *where, lm_sup_problems_t *problems)
{
    if (!is_printable_utf8(value)) {
        lm_sup_problems_add(problems, where, "%s must be UTF-8 without control characters", path);
        return;
    }
    if (strlen(value) >= row->size || !row->fits(value)) {
        lm_sup_problems_add(problems, where, "%s %s, not \"%s\"", path, row->rule, value);
        return;
    }
    memcpy(text_of(row, target), value, strlen(value) + 1);
}

void lm_sup_rows_print(const lm_sup_row_t *row, const void *target, char *text, size_t size)
{
    const char *field = (const char *)target + row->offset;
    uint32_t number;
    if (row->type != LM_SUP_NUMBER) {
        snprintf(text, size, "%s", field);
        return;
    }
    memcpy(&number, field, sizeof number);
    snprintf(text, size, "%u", number);
}

void lm_sup_rows_clear_names(const lm_sup_row_t *row, void *target)
{
    *text_of(row, target) = '\0';
}

static bool has_name(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        if (n == size && memcmp(p, name, n) == 0) return true;
        p += n + (p[n] == ',');
    }
    return false;
}

void lm_sup_rows_add_name(const lm_sup_row_t *row, void *target, const char *name, size_t name_size,
                          const char *path, const char *where, lm_sup_problems_t *problems)
{
    char word[LM_SUP_NAMES_MAX];
    snprintf(word, sizeof word, "%.*s", (int)(name_size < sizeof word ? name_size : sizeof word),
             name);
    if (!is_printable_utf8(word) || !row->fits(word)) {
        lm_sup_problems_add(problems, where, "%s %s, not \"%s\"", path, row->rule,
                            is_printable_utf8(word) ? word : "?");
        return;
    }
    char *list = text_of(row, target);
    size_t used = strlen(list);
    if (has_name(list, word)) return;
    int n = snprintf(list + used, row->size - used, "%s%s", used ? "," : "", word);
    LM_CHECK((size_t)n < row->size - used, "%s: all names do not fit", path);
}
