/* Which path is which page; discovery and health. Paths are rows of a table. */
#include "health_pages.h"

#include <stdlib.h>
#include <string.h>

#include "health_json.h"

/* Whoever asks for no type of JSON in particular, or for something else, gets the newest. */
static const char *content_type_of(const char *accept)
{
    static const char *const types[] = {"application/vnd.spring-boot.actuator.v3+json",
                                        "application/vnd.spring-boot.actuator.v2+json",
                                        "application/json"};
    for (size_t i = 0; accept && i < sizeof types / sizeof *types; i++)
        if (strstr(accept, types[i])) return types[i];
    return types[0];
}

health_answer_t health_json_answer(const health_request_t *request, unsigned code, json_t *json)
{
    health_answer_t answer = {.code = code, .content_type = content_type_of(request->accept)};
    answer.body = json_dumps(json, JSON_COMPACT);
    answer.size = strlen(answer.body);
    json_decref(json);
    return answer;
}

json_t *health_json_text(lm_bytes_t bytes)
{
    return json_stringn(bytes.size ? (const char *)bytes.data : "", bytes.size);
}

/* A path is whatever a client has percent-encoded; JSON takes no other text than UTF-8. */
health_answer_t health_json_error(const health_request_t *request, unsigned code, const char *words)
{
    const char *shown = lm_bytes_are_utf8(lm_bytes_of(request->path)) ? request->path : "";
    return health_json_answer(
        request, code,
        json_pack("{s:i,s:s,s:s}", "status", (int)code, "error", words, "path", shown));
}

/* ---- components ------------------------------------------------------------------------------ */

/** A component's JSON; its status goes to *status. */
typedef json_t *component_fn(const health_t *health, health_status_t *status);

static json_t *component(health_status_t status, json_t *details)
{
    json_t *json = json_pack("{s:s}", "status", health_status_name(status));
    if (details && json_object_size(details) > 0)
        json_object_set_new(json, "details", details);
    else
        json_decref(details);
    return json;
}

static json_t *state_component(health_status_t status, const char *reason)
{
    json_t *details = json_object();
    if (reason) json_object_set_new(details, "reason", json_string(reason));
    return component(status, details);
}

static json_t *liveness_component(const health_t *health, health_status_t *status)
{
    const char *reason;
    *status = health_liveness(health, &reason);
    return state_component(*status, reason);
}

static json_t *readiness_component(const health_t *health, health_status_t *status)
{
    const char *reason;
    *status = health_readiness(health, &reason);
    return state_component(*status, reason);
}

static json_t *detail_value(const lm_bus_detail_t *detail)
{
    json_t *value = NULL;
    if (detail->plain)
        value =
            json_loadb((const char *)detail->value.data, detail->value.size, JSON_DECODE_ANY, NULL);
    return value ? value : health_json_text(detail->value);
}

json_t *health_json_details(const health_t *health, lm_participant_t participant)
{
    const lm_bus_status_report_t *report = health_voice(health, participant)->report;
    json_t *details = json_object();
    if (!report) return details;
    for (size_t i = 0; i < report->n_details; i++) {
        lm_bytes_t name = report->details[i].key;
        char *key = strndup(name.size ? (const char *)name.data : "", name.size);
        json_object_set_new(details, key, detail_value(&report->details[i]));
        free(key);
    }
    if (report->reason.size)
        json_object_set_new(details, "reason", health_json_text(report->reason));
    return details;
}

static json_t *disk_component(const health_t *health, health_status_t *status)
{
    const health_system_t *system = health_system(health);
    *status = health_disk(health);
    json_t *details = json_object();
    if (system->has_disk) {
        json_object_set_new(details, "total", json_integer((json_int_t)system->disk_bytes));
        json_object_set_new(details, "free", json_integer((json_int_t)system->disk_free_bytes));
        json_object_set_new(details, "threshold", json_integer((json_int_t)HEALTH_DISK_THRESHOLD));
        json_object_set_new(details, "path", health_json_text(health_config(health)->data_dir));
    }
    return component(*status, details);
}

/** One component per peer, from the links as the frontend reports them: UP or UNKNOWN, for a peer
 *  that cannot be reached is not this node's illness. NULL if there are none. */
static json_t *peers_component(const health_t *health)
{
    const lm_bus_status_report_t *report = health_voice(health, LM_PEERS)->report;
    json_t *inner = json_object();
    bool all = true;
    for (size_t i = 0; report && i < report->n_metrics; i++) {
        const lm_bus_metric_t *m = &report->metrics[i];
        if (!lm_bytes_equal(m->name, lm_bytes_of("lockmgr_peer_link_up")) || m->n_labels != 1)
            continue;
        lm_bytes_t name = m->labels[0].value;
        char *peer = strndup(name.size ? (const char *)name.data : "", name.size);
        all = all && m->value > 0;
        json_object_set_new(inner, peer,
                            component(m->value > 0 ? HEALTH_UP : HEALTH_UNKNOWN, NULL));
        free(peer);
    }
    if (json_object_size(inner) == 0) {
        json_decref(inner);
        return NULL;
    }
    json_t *json = component(all ? HEALTH_UP : HEALTH_UNKNOWN, NULL);
    json_object_set_new(json, "components", inner);
    return json;
}

static json_t *raft_component(const health_t *health, health_status_t *status)
{
    *status = health_component(health, LM_RAFT);
    json_t *json = component(*status, health_json_details(health, LM_RAFT)),
           *peers = peers_component(health);
    if (peers) json_object_set_new(json, "components", json_pack("{s:o}", "peers", peers));
    return json;
}

/** One component per other region below the region component. */
static json_t *region_component(const health_t *health, health_status_t *status)
{
    *status = health_component(health, LM_GATEWAY);
    json_t *json = component(*status, NULL), *details = health_json_details(health, LM_GATEWAY);
    json_t *inner = json_object();
    const char *region;
    json_t *value;
    json_object_del(details, "reason");
    json_object_foreach(details, region, value)
    {
        bool up =
            strcmp(json_string_value(value) ? json_string_value(value) : "", "reachable") == 0;
        json_object_set_new(inner, region, json_pack("{s:s}", "status", up ? "UP" : "UNKNOWN"));
    }
    json_decref(details);
    if (json_object_size(inner) > 0)
        json_object_set_new(json, "components", inner);
    else
        json_decref(inner);
    return json;
}

enum { IN_ROOT = 1, IN_LIVENESS = 2, IN_READINESS = 4 };

/* Sorted by name, as the pages show them. Readiness does not count for the root (H1): a node that
 * is not ready is not ill. Nor does the disk (H3). */
static const struct {
    const char *name;
    component_fn *make;
    unsigned shown_in, counts_in;
} components[] = {
    {"diskSpace", disk_component, IN_ROOT, 0},
    {"livenessState", liveness_component, IN_ROOT | IN_LIVENESS, IN_ROOT | IN_LIVENESS},
    {"raft", raft_component, IN_ROOT | IN_READINESS, IN_ROOT | IN_READINESS},
    {"readinessState", readiness_component, IN_ROOT | IN_READINESS, IN_READINESS},
    {"region", region_component, IN_ROOT, IN_ROOT},
};

enum { N_COMPONENTS = sizeof components / sizeof *components };

/** Whether components are shown; what their states mean for a group is, in any case. */
static bool shows_components(const health_t *health)
{
    return !lm_bytes_equal(health_config(health)->actuator_health_details, lm_bytes_of("never"));
}

static health_answer_t health_group(const health_t *health, const health_request_t *request,
                                    unsigned group)
{
    json_t *shown = json_object(), *json = json_object();
    health_status_t all = HEALTH_UNKNOWN;
    for (size_t i = 0; i < N_COMPONENTS; i++) {
        if (!(components[i].shown_in & group)) continue;
        health_status_t status;
        json_object_set_new(shown, components[i].name, components[i].make(health, &status));
        if (components[i].counts_in & group) all = health_worse(all, status);
    }
    json_object_set_new(json, "status", json_string(health_status_name(all)));
    if (shows_components(health)) json_object_set(json, "components", shown);
    json_decref(shown);
    if (group == IN_ROOT)
        json_object_set_new(json, "groups", json_pack("[s,s]", "liveness", "readiness"));
    return health_json_answer(request, health_http_code(all), json);
}

static health_answer_t page_root(const health_t *h, const health_request_t *r)
{
    return health_group(h, r, IN_ROOT);
}

static health_answer_t page_liveness(const health_t *h, const health_request_t *r)
{
    return health_group(h, r, IN_LIVENESS);
}

static health_answer_t page_readiness(const health_t *h, const health_request_t *r)
{
    return health_group(h, r, IN_READINESS);
}

static health_status_t status_of(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "status"));
    for (int i = HEALTH_DOWN; name && i <= HEALTH_UNKNOWN; i++)
        if (strcmp(name, health_status_name((health_status_t)i)) == 0) return (health_status_t)i;
    return HEALTH_UNKNOWN;
}

/** The component at a path like raft or raft/peers/n2 below json; NULL if there is none. */
static json_t *descend(json_t *json, const char *path)
{
    while (json && *path) {
        size_t length = strcspn(path, "/");
        char *name = strndup(path, length);
        json = json_object_get(json_object_get(json, "components"), name);
        free(name);
        path += length;
        if (*path == '/' && *++path == 0) return NULL; /* a slash at the end */
    }
    return json;
}

/** A component by itself; there is none where components are not shown. */
static health_answer_t page_component(const health_t *h, const health_request_t *r,
                                      const char *path)
{
    size_t length = strcspn(path, "/");
    for (size_t i = 0; shows_components(h) && i < N_COMPONENTS; i++) {
        if (strlen(components[i].name) != length || strncmp(components[i].name, path, length) != 0)
            continue;
        health_status_t status;
        json_t *json = components[i].make(h, &status);
        json_t *found = json_incref(path[length] ? descend(json, path + length + 1) : json);
        json_decref(json);
        if (found && (!path[length] || path[length + 1]))
            return health_json_answer(r, health_http_code(status_of(found)), found);
        json_decref(found);
    }
    return health_json_error(r, 404, "Not Found");
}

/* ---- other pages ----------------------------------------------------------------------------- */

/** endpoint: NULL for what is always there. */
static bool is_exposed(const health_t *health, const char *endpoint)
{
    lm_bytes_t list = health_config(health)->actuator_include;
    bool found = !endpoint;
    for (size_t at = 0, end; !found && at < list.size; at = end + 1) {
        for (end = at; end < list.size && list.data[end] != ',';) end++;
        found = lm_bytes_equal(lm_bytes(list.data + at, end - at), lm_bytes_of(endpoint));
    }
    return found;
}

static json_t *link_to(const char *href, bool templated)
{
    return json_pack("{s:s,s:b}", "href", href, "templated", templated);
}

static health_answer_t page_links(const health_t *h, const health_request_t *r)
{
    static const struct {
        const char *name, *href, *endpoint;
    } rows[] = {
        {"self", "/actuator", NULL},
        {"env", "/actuator/env", "env"},
        {"env-toMatch", "/actuator/env/{toMatch}", "env"},
        {"health", "/actuator/health", "health"},
        {"health-path", "/actuator/health/{*path}", "health"},
        {"info", "/actuator/info", "info"},
        {"loggers", "/actuator/loggers", "loggers"},
        {"loggers-name", "/actuator/loggers/{name}", "loggers"},
        {"locks", "/actuator/locks", "locks"},
        {"metrics", "/actuator/metrics", "metrics"},
        {"metrics-requiredMetricName", "/actuator/metrics/{requiredMetricName}", "metrics"},
        {"prometheus", "/actuator/prometheus", "prometheus"},
        {"raft", "/actuator/raft", "raft"},
        {"threaddump", "/actuator/threaddump", "threaddump"},
    };
    json_t *links = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (is_exposed(h, rows[i].endpoint))
            json_object_set_new(links, rows[i].name,
                                link_to(rows[i].href, strchr(rows[i].href, '{') != NULL));
    return health_json_answer(r, 200, json_pack("{s:o}", "_links", links));
}

/* ---- routing --------------------------------------------------------------------------------- */

static const struct {
    const char *path, *endpoint;
    health_answer_t (*get)(const health_t *health, const health_request_t *request);
} pages[] = {
    {"/actuator", NULL, page_links},
    {"/actuator/env", "env", health_env_page},
    {"/actuator/health", "health", page_root},
    {"/actuator/health/liveness", "health", page_liveness},
    {"/actuator/health/readiness", "health", page_readiness},
    {"/actuator/info", "info", health_info_page},
    {"/actuator/loggers", "loggers", health_info_loggers},
    {"/actuator/locks", "locks", health_state_locks},
    {"/actuator/metrics", "metrics", health_metrics_names},
    {"/actuator/prometheus", "prometheus", health_prometheus_page},
    {"/actuator/raft", "raft", health_state_raft},
    {"/actuator/threaddump", "threaddump", health_dump_page},
    {"/livez", "health", page_liveness},
    {"/readyz", "health", page_readiness},
};

/* Pages whose path goes on with a name. */
static const struct {
    const char *prefix, *endpoint;
    health_answer_t (*get)(const health_t *health, const health_request_t *request,
                           const char *name);
} families[] = {
    {"/actuator/env/", "env", health_env_one},
    {"/actuator/health/", "health", page_component},
    {"/actuator/loggers/", "loggers", health_info_logger},
    {"/actuator/metrics/", "metrics", health_metrics_one},
};

/* What an orchestrator asks, which has no token. */
static bool is_open(const char *path)
{
    static const char *const open[] = {"/actuator/health", "/actuator/health/liveness",
                                       "/actuator/health/readiness", "/livez", "/readyz"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (strcmp(path, open[i]) == 0) return true;
    return false;
}

health_answer_t health_pages_get(const health_t *health, const health_request_t *request)
{
    if (request->stranger && !is_open(request->path))
        return health_json_error(request, 401, "Unauthorized: a bearer token is needed");
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(request->path, pages[i].path) == 0 && is_exposed(health, pages[i].endpoint))
            return pages[i].get(health, request);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t length = strlen(families[i].prefix);
        if (strncmp(request->path, families[i].prefix, length) == 0 &&
            is_exposed(health, families[i].endpoint))
            return families[i].get(health, request, request->path + length);
    }
    return health_json_error(request, 404, "Not Found");
}

health_answer_t health_pages_refuse(const health_t *health, const health_request_t *request)
{
    health_answer_t answer = health_pages_get(health, request);
    if (answer.code == 404 || answer.code == 401) return answer;
    free(answer.body);
    return health_json_error(request, 405, "Method Not Allowed: GET and HEAD only");
}
