/* What the region's consensus and its locks are like right now, as this node has it. Counts and
 * names of nodes; names of locks only if the configuration wants them: otherwise lock tells none.
 * No name of an owner or session comes here. */
#include <jansson.h>

#include "health_json.h"

/* Nodes that vote are those that raft knows; until it has said so, those of the configuration. */
static json_t *voters_of(const health_t *health)
{
    const lm_bus_node_config_t *config = health_config(health);
    const lm_bus_raft_role_event_t *role = health_role(health);
    json_t *voters = json_array();
    size_t n = role && role->n_members ? role->n_members : 0;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(voters, health_json_text(role->members[i].name));
    for (size_t i = 0; n == 0 && i < config->n_peers; i++)
        json_array_append_new(voters, health_json_text(config->peers[i].name));
    return voters;
}

health_answer_t health_state_raft(const health_t *health, const health_request_t *request)
{
    const lm_bus_node_config_t *config = health_config(health);
    json_t *json = health_json_details(health, LM_RAFT);
    json_object_set_new(json, "node", health_json_text(config->node));
    json_object_set_new(json, "voters", voters_of(health));
    return health_json_answer(request, 200, json);
}

static const lm_bus_metric_t *find(const lm_bus_status_report_t *report, const char *name)
{
    for (size_t i = 0; report && i < report->n_metrics; i++)
        if (lm_bytes_equal(report->metrics[i].name, lm_bytes_of(name)) &&
            report->metrics[i].n_labels == 0)
            return &report->metrics[i];
    return NULL;
}

/* A count past this is no count; it is left out like one that was not reported. */
#define COUNT_MAX 9007199254740992.0

static json_t *queue_of(const lm_bus_lock_queue_t *queue)
{
    json_t *json = json_object();
    if (queue->name.size) json_object_set_new(json, "name", health_json_text(queue->name));
    json_object_set_new(json, "waiters", json_integer(queue->waiters));
    json_object_set_new(json, "holders", json_integer(queue->holders));
    if (queue->age_known && queue->longest_wait_ms <= COUNT_MAX)
        json_object_set_new(json, "longestWaitMs",
                            json_integer((json_int_t)queue->longest_wait_ms));
    return json;
}

static json_t *list_of(const lm_bus_lock_queue_t *queues, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, queue_of(&queues[i]));
    return list;
}

static json_t *contention_of(const lm_bus_lock_queues_t *queues)
{
    json_t *json = json_object();
    json_object_set_new(json, "mostWaiters", list_of(queues->most_waiters, queues->n_most_waiters));
    json_object_set_new(json, "longestWaits",
                        list_of(queues->longest_waits, queues->n_longest_waits));
    return json;
}

health_answer_t health_state_locks(const health_t *health, const health_request_t *request)
{
    static const struct {
        const char *key, *metric;
    } rows[] = {
        {"held", "lockmgr_locks_held"},
        {"waiters", "lockmgr_lock_waiters"},
        {"sessions", "lockmgr_sessions"},
        {"records", "lockmgr_lock_records"},
    };
    json_t *json = json_object();
    const lm_bus_status_report_t *report = health_voice(health, LM_LOCK)->report;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lm_bus_metric_t *metric = find(report, rows[i].metric);
        if (metric && metric->value >= 0 && metric->value <= COUNT_MAX)
            json_object_set_new(json, rows[i].key, json_integer((json_int_t)metric->value));
    }
    if (report && report->queues)
        json_object_set_new(json, "contention", contention_of(report->queues));
    return health_json_answer(request, 200, json);
}
