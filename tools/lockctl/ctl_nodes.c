/* Verbs about nodes: status, health, regions. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

/** What one node says of itself, or why it says nothing; the caller owns it. */
static json_t *ask_node(lm_client_t *client, const ctl_options_t *options, size_t n, bool *answered)
{
    lm_api_get_status_request_t request = {0};
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_client_result_t result = lm_client_ask(client, n, LM_CLIENT_STATUS, &request,
                                              ctl_timeout_ms(options, 0), arena, &message);
    *answered = result.grpc_status == 0;
    json_t *json =
        *answered ? ctl_json_of(lm_client_response_type(LM_CLIENT_STATUS), message) : json_object();
    json_object_set_new(json, "endpoint", json_string(lm_client_endpoint(client, n)));
    if (!*answered) json_object_set_new(json, "error", json_string(result.text));
    lm_arena_destroy(&arena);
    return json;
}

/** Asks the given endpoints, or, if there is one that knows the others, all members it names. */
static lm_client_t *client_of_members(lm_client_t *client, const ctl_options_t *options)
{
    bool answered = false;
    if (lm_client_endpoints(client) > 1) return NULL;
    json_t *one = ask_node(client, options, 0, &answered);
    char list[4096] = "";
    size_t i, used = 0;
    json_t *member;
    json_array_foreach(json_object_get(one, "members"), i, member)
    {
        const char *address = json_string_value(json_object_get(member, "address"));
        if (!address || !*address || used + strlen(address) + 2 > sizeof list) continue;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? "," : "", address);
    }
    json_decref(one);
    return used ? lm_client_open_tls(list, &options->tls, NULL) : NULL;
}

int ctl_status(lm_client_t *client, const ctl_options_t *options)
{
    static const ctl_column_t columns[] = {{"ENDPOINT", "endpoint"},
                                           {"NODE", "header.node"},
                                           {"ROLE", "role"},
                                           {"TERM", "header.term"},
                                           {"LEADER", "leader"},
                                           {"COMMIT", "commitIndex"},
                                           {"APPLIED", "appliedIndex"},
                                           {"LAST", "lastIndex"},
                                           {"LOCKS", "locks"},
                                           {"HOLDS", "holds"},
                                           {"WAITERS", "waiters"},
                                           {"SESSIONS", "sessions"},
                                           {"STATE HASH", "stateHash"},
                                           {"VERSION", "version"},
                                           {"PROBLEM", "problem"},
                                           {"ERROR", "error"},
                                           {NULL, NULL}};
    lm_client_t *members = client_of_members(client, options);
    lm_client_t *asked = members ? members : client;
    json_t *list = json_array();
    size_t n_answered = 0;
    for (size_t i = 0; i < lm_client_endpoints(asked); i++) {
        bool answered = false;
        json_array_append_new(list, ask_node(asked, options, i, &answered));
        n_answered += answered;
    }
    ctl_print(options, list, columns, "role");
    json_decref(list);
    lm_client_close(&members);
    return n_answered > 0 ? CTL_OK : CTL_UNAVAILABLE;
}

int ctl_health(lm_client_t *client, const ctl_options_t *options)
{
    /* A linearizable read proves a leader with a quorum behind it. */
    lm_api_get_request_t request = {.name = lm_bytes_of("lockmgr/health")};
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_GET, &request,
                                               ctl_timeout_ms(options, 0), arena, &message);
    bool healthy = result.grpc_status == 0;
    json_t *json = json_object();
    json_object_set_new(json, "status", json_string(healthy ? "HEALTHY" : "UNHEALTHY"));
    json_object_set_new(json, "endpoint", json_string(result.endpoint));
    if (healthy) {
        const lm_api_get_response_t *r = message;
        json_object_set_new(json, "leader",
                            json_stringn((const char *)r->header->node.data, r->header->node.size));
    } else {
        json_object_set_new(json, "problem", json_string(result.text));
    }
    ctl_print(options, json, NULL, "status");
    json_decref(json);
    lm_arena_destroy(&arena);
    if (healthy) return CTL_OK;
    return result.code == LM_RC_PERMISSION_DENIED || result.code == LM_RC_UNAUTHENTICATED
               ? CTL_DENIED
               : CTL_UNAVAILABLE;
}

int ctl_regions(lm_client_t *client, const ctl_options_t *options)
{
    static const ctl_column_t columns[] = {{"REGION", "region"},
                                           {"ADDRESS", "address"},
                                           {"REACHABLE", "reachable"},
                                           {"ROUND TRIP US", "roundTripUs"},
                                           {"CLUSTER", "clusterId"},
                                           {"VERSION", "version"},
                                           {NULL, NULL}};
    lm_api_get_status_request_t request = {0};
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_STATUS, &request,
                                               ctl_timeout_ms(options, 0), arena, &message);
    int code = CTL_OK;
    if (result.grpc_status != 0) {
        code = ctl_fail(options, &result);
    } else {
        json_t *json = ctl_json_of(lm_client_response_type(LM_CLIENT_STATUS), message);
        ctl_print(options, json_object_get(json, "regions"), columns, "region");
        json_decref(json);
    }
    lm_arena_destroy(&arena);
    return code;
}
