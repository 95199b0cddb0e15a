/* JSON pages: discovery, health, info. Paths are rows of a table. */
#include "health_pages.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base_arena.h"

static const char actuator_json[] = "application/vnd.spring-boot.actuator.v3+json";

static health_answer_t answer_json(unsigned code, json_t *json)
{
    health_answer_t answer = {.code = code, .content_type = actuator_json};
    answer.body = json_dumps(json, JSON_COMPACT);
    answer.size = strlen(answer.body);
    json_decref(json);
    return answer;
}

static json_t *text(lm_bytes_t bytes)
{
    return json_stringn(bytes.size ? (const char *)bytes.data : "", bytes.size);
}

static health_answer_t not_found(const char *path)
{
    return answer_json(
        404, json_pack("{s:i,s:s,s:s}", "status", 404, "error", "Not Found", "path", path));
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
    return value ? value : text(detail->value);
}

static json_t *details_of(const health_t *health, lm_participant_t participant)
{
    const lm_bus_status_report_t *report = health_voice(health, participant)->report;
    json_t *details = json_object();
    if (!report) return details;
    for (size_t i = 0; i < report->n_details; i++) {
        char *key = strndup((const char *)report->details[i].key.data, report->details[i].key.size);
        json_object_set_new(details, key, detail_value(&report->details[i]));
        free(key);
    }
    if (report->reason.size) json_object_set_new(details, "reason", text(report->reason));
    return details;
}

static json_t *raft_component(const health_t *health, health_status_t *status)
{
    *status = health_component(health, LM_RAFT);
    return component(*status, details_of(health, LM_RAFT));
}

/** One component per other region below the region component. */
static json_t *region_component(const health_t *health, health_status_t *status)
{
    *status = health_component(health, LM_GATEWAY);
    json_t *json = component(*status, NULL), *details = details_of(health, LM_GATEWAY);
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
 * is not ready is not ill. */
static const struct {
    const char *name;
    component_fn *make;
    unsigned shown_in, counts_in;
} components[] = {
    {"livenessState", liveness_component, IN_ROOT | IN_LIVENESS, IN_ROOT | IN_LIVENESS},
    {"raft", raft_component, IN_ROOT | IN_READINESS, IN_ROOT | IN_READINESS},
    {"readinessState", readiness_component, IN_ROOT | IN_READINESS, IN_READINESS},
    {"region", region_component, IN_ROOT, IN_ROOT},
};

enum { N_COMPONENTS = sizeof components / sizeof *components };

static health_answer_t health_group(const health_t *health, unsigned group)
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
    json_object_set_new(json, "components", shown);
    if (group == IN_ROOT)
        json_object_set_new(json, "groups", json_pack("[s,s]", "liveness", "readiness"));
    return answer_json(health_http_code(all), json);
}

static health_answer_t page_root(const health_t *h, const health_request_t *r)
{
    (void)r;
    return health_group(h, IN_ROOT);
}

static health_answer_t page_liveness(const health_t *h, const health_request_t *r)
{
    (void)r;
    return health_group(h, IN_LIVENESS);
}

static health_answer_t page_readiness(const health_t *h, const health_request_t *r)
{
    (void)r;
    return health_group(h, IN_READINESS);
}

/** The component at name or name/sub; NULL if there is none. The caller owns it. */
static json_t *find_component(const health_t *health, const char *path, health_status_t *status)
{
    const char *slash = strchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : strlen(path);
    for (size_t i = 0; i < N_COMPONENTS; i++) {
        if (strlen(components[i].name) != length || strncmp(components[i].name, path, length) != 0)
            continue;
        json_t *json = components[i].make(health, status);
        if (!slash) return json;
        json_t *inner =
            json_incref(json_object_get(json_object_get(json, "components"), slash + 1));
        json_decref(json);
        if (inner)
            *status = strcmp(json_string_value(json_object_get(inner, "status")), "UP") == 0
                          ? HEALTH_UP
                          : HEALTH_UNKNOWN;
        return inner;
    }
    return NULL;
}

/* ---- other pages ----------------------------------------------------------------------------- */

static json_t *link_to(const char *href, bool templated)
{
    return json_pack("{s:s,s:b}", "href", href, "templated", templated);
}

static health_answer_t page_links(const health_t *h, const health_request_t *r)
{
    (void)h;
    (void)r;
    json_t *links = json_object();
    json_object_set_new(links, "self", link_to("/actuator", false));
    json_object_set_new(links, "health", link_to("/actuator/health", false));
    json_object_set_new(links, "health-path", link_to("/actuator/health/{*path}", true));
    json_object_set_new(links, "info", link_to("/actuator/info", false));
    json_object_set_new(links, "prometheus", link_to("/actuator/prometheus", false));
    return answer_json(200, json_pack("{s:o}", "_links", links));
}

static health_answer_t page_info(const health_t *h, const health_request_t *r)
{
    (void)r;
    const lm_bus_node_config_t *config = health_config(h);
    const lm_bus_raft_role_event_t *role = health_role(h);
    struct utsname os;
    uname(&os);
    json_t *lockmgr = json_object();
    json_object_set_new(lockmgr, "region", text(config->region));
    json_object_set_new(lockmgr, "nodeId", text(config->node));
    json_object_set_new(lockmgr, "clusterId", text(role ? role->cluster_id : lm_bytes(NULL, 0)));
    json_object_set_new(lockmgr, "protocolVersion", json_integer(1));
    json_t *json = json_object();
    json_object_set_new(json, "build",
                        json_pack("{s:s,s:s}", "name", "lockmgr", "version", LM_VERSION));
    json_object_set_new(
        json, "os",
        json_pack("{s:s,s:s,s:s}", "name", os.sysname, "version", os.release, "arch", os.machine));
    json_object_set_new(
        json, "process",
        json_pack("{s:i,s:i,s:I}", "pid", (int)getpid(), "parentPid", (int)getppid(), "cpus",
                  (json_int_t)sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(json, "lockmgr", lockmgr);
    return answer_json(200, json);
}

/* ---- routing --------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    health_answer_t (*get)(const health_t *health, const health_request_t *request);
} pages[] = {
    {"/actuator", page_links},
    {"/actuator/health", page_root},
    {"/actuator/health/liveness", page_liveness},
    {"/actuator/health/readiness", page_readiness},
    {"/actuator/info", page_info},
    {"/actuator/prometheus", health_metrics_page},
    {"/livez", page_liveness},
    {"/readyz", page_readiness},
};

static const char component_prefix[] = "/actuator/health/";

health_answer_t health_pages_get(const health_t *health, const health_request_t *request)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(request->path, pages[i].path) == 0) return pages[i].get(health, request);
    size_t prefix = sizeof component_prefix - 1;
    if (strncmp(request->path, component_prefix, prefix) == 0) {
        health_status_t status;
        json_t *json = find_component(health, request->path + prefix, &status);
        if (json) return answer_json(health_http_code(status), json);
    }
    return not_found(request->path);
}

bool health_pages_known(const health_t *health, const char *path)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(path, pages[i].path) == 0) return true;
    size_t prefix = sizeof component_prefix - 1;
    if (strncmp(path, component_prefix, prefix) != 0) return false;
    health_status_t status;
    json_t *json = find_component(health, path + prefix, &status);
    json_decref(json);
    return json != NULL;
}
