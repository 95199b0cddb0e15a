/* The health actor: what was reported, and the pages made from it. */
#include "health_room.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_test_host.h"
#include "health_pages.h"

static health_t *health;
static lm_test_host_t *host;

static void set_up(void)
{
    health = health_room_new();
    host = lm_test_host_new(health_room_definition(), health);
    lm_bus_node_config_t config = {.node = lm_bytes_of("n1"), .region = lm_bytes_of("east")};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    health_room_destroy(&health);
}

TestSuite(health_room, .init = set_up, .fini = tear_down);

static void report(lm_participant_t from, const char *state, bool ready)
{
    lm_bus_detail_t details[] = {{.key = lm_bytes_of(from == LM_GATEWAY ? "west" : "term"),
                                  .value = lm_bytes_of(from == LM_GATEWAY ? "unreachable" : "7"),
                                  .plain = from != LM_GATEWAY}};
    lm_bus_detail_t label = {.key = lm_bytes_of("peer"), .value = lm_bytes_of("a\"b\\c\nd")};
    lm_bus_metric_t metrics[] = {
        {.name = lm_bytes_of(from == LM_RAFT ? "lockmgr_raft_term" : "lockmgr_x_total"),
         .help = lm_bytes_of("Help."),
         .kind = from == LM_RAFT ? LM_BUS_METRIC_KIND_GAUGE : LM_BUS_METRIC_KIND_COUNTER,
         .n_labels = from == LM_RAFT ? 0 : 1,
         .labels = &label,
         .value = 2.5}};
    lm_bus_status_report_t body = {.state = lm_bytes_of(state),
                                   .ready = ready,
                                   .n_details = 1,
                                   .details = details,
                                   .n_metrics = 1,
                                   .metrics = metrics};
    lm_test_deliver(host, from, LM_MSG_STATUS_REPORT, &body, 0);
}

static void role(const char *leader)
{
    lm_bus_raft_role_event_t body = {.leader = lm_bytes_of(leader)};
    lm_test_deliver(host, LM_RAFT, LM_MSG_RAFT_ROLE, &body, 0);
}

static void mode(int32_t wanted)
{
    lm_bus_node_mode_t body = {.mode = wanted};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_NODE_MODE, &body, 0);
}

static json_t *get(const char *path, unsigned *code)
{
    health_request_t request = {.path = path};
    health_answer_t answer = health_pages_get(health, &request);
    json_t *json = json_loads(answer.body, 0, NULL);
    cr_assert_not_null(json, "%s: %s", path, answer.body);
    *code = answer.code;
    free(answer.body);
    return json;
}

/** Code and status of a page, for example "200 UP". */
static const char *page(const char *path)
{
    static char words[64];
    unsigned code;
    json_t *json = get(path, &code);
    const char *status = json_string_value(json_object_get(json, "status"));
    snprintf(words, sizeof words, "%u %s", code, status ? status : "-");
    json_decref(json);
    return words;
}

static void all_is_well(void)
{
    report(LM_RAFT, "UP", true);
    report(LM_LOCK, "UP", true);
    report(LM_GATEWAY, "UP", true);
    role("n1");
    mode(LM_BUS_NODE_MODE_MODE_SERVING);
}

Test(health_room, everything_is_up_when_everybody_says_so)
{
    all_is_well();
    cr_assert_str_eq(page("/actuator/health"), "200 UP");
    cr_assert_str_eq(page("/actuator/health/liveness"), "200 UP");
    cr_assert_str_eq(page("/actuator/health/readiness"), "200 UP");
    cr_assert_str_eq(page("/livez"), "200 UP");
    cr_assert_str_eq(page("/readyz"), "200 UP");
    cr_assert_str_eq(page("/actuator/health/raft"), "200 UP");
}

Test(health_room, readiness_is_out_of_service_before_the_first_leader)
{
    report(LM_RAFT, "UNKNOWN", true);
    report(LM_LOCK, "UP", true);
    cr_assert_str_eq(page("/actuator/health/readiness"), "503 OUT_OF_SERVICE");
    cr_assert_str_eq(page("/actuator/health"), "200 UP", "a node that is not ready is not ill");
}

Test(health_room, loss_of_quorum_never_turns_liveness_or_the_root_down)
{
    all_is_well();
    report(LM_RAFT, "UNKNOWN", true);
    role("");
    cr_assert_str_eq(page("/actuator/health/liveness"), "200 UP");
    cr_assert_str_eq(page("/actuator/health"), "200 UP");
    cr_assert_str_eq(page("/actuator/health/raft"), "200 UNKNOWN");
}

Test(health_room, an_unreachable_region_is_unknown_and_hurts_nothing)
{
    all_is_well();
    report(LM_GATEWAY, "UNKNOWN", true);
    cr_assert_str_eq(page("/actuator/health/region"), "200 UNKNOWN");
    cr_assert_str_eq(page("/actuator/health/region/west"), "200 UNKNOWN");
    cr_assert_str_eq(page("/actuator/health"), "200 UP");
}

Test(health_room, draining_and_lagging_are_not_ready)
{
    all_is_well();
    report(LM_LOCK, "UP", false);
    cr_assert_str_eq(page("/actuator/health/readiness"), "503 OUT_OF_SERVICE");
    report(LM_LOCK, "UP", true);
    mode(LM_BUS_NODE_MODE_MODE_DRAINING);
    cr_assert_str_eq(page("/actuator/health/readiness"), "503 OUT_OF_SERVICE");
    cr_assert_str_eq(page("/actuator/health/liveness"), "200 UP");
}

Test(health_room, a_failing_disk_is_down)
{
    all_is_well();
    report(LM_RAFT, "DOWN", true);
    cr_assert_str_eq(page("/actuator/health"), "503 DOWN");
    cr_assert_str_eq(page("/actuator/health/liveness"), "503 DOWN");
}

Test(health_room, long_silence_of_lock_is_down)
{
    all_is_well();
    for (int i = 0; i < 12; i++) {
        lm_test_advance(host, 1000000);
        report(LM_RAFT, "UP", true);
    }
    cr_assert_str_eq(page("/actuator/health/liveness"), "503 DOWN");
}

Test(health_room, pages_that_are_not_there_are_404)
{
    cr_assert_str_eq(page("/actuator/health/nothing"), "404 -");
    cr_assert_str_eq(page("/actuator/health/raft/nothing"), "404 -");
    unsigned code;
    json_decref(get("/actuator/env", &code));
    cr_assert_eq(code, 404);
    cr_assert(health_pages_known(health, "/actuator/health/raft"));
    cr_assert_not(health_pages_known(health, "/actuator/env"));
}

Test(health_room, discovery_names_every_page_and_details_keep_their_types)
{
    all_is_well();
    unsigned code;
    json_t *links = get("/actuator", &code);
    json_t *all = json_object_get(links, "_links");
    cr_assert_eq(json_object_size(all), 5);
    cr_assert(json_is_true(json_object_get(json_object_get(all, "health-path"), "templated")));
    json_decref(links);
    json_t *root = get("/actuator/health", &code);
    json_t *raft = json_object_get(json_object_get(root, "components"), "raft");
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(raft, "details"), "term")), 7);
    cr_assert_eq(json_array_size(json_object_get(root, "groups")), 2);
    json_decref(root);
    json_t *info = get("/actuator/info", &code);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(info, "lockmgr"), "nodeId")),
                     "n1");
    json_decref(info);
}

static char *metrics(const char *accept, const char *names)
{
    health_request_t request = {
        .path = "/actuator/prometheus", .accept = accept, .included_names = names};
    return health_pages_get(health, &request).body;
}

Test(health_room, metrics_are_escaped_and_families_stand_together)
{
    report(LM_RAFT, "UP", true);
    report(LM_LOCK, "UP", true);
    report(LM_GATEWAY, "UP", true);
    char *text = metrics(NULL, NULL);
    cr_assert_not_null(strstr(text, "# TYPE lockmgr_raft_term gauge\nlockmgr_raft_term 2.5\n"));
    const char *head = strstr(text, "# TYPE lockmgr_x_total counter\n");
    cr_assert_not_null(head);
    cr_assert_null(strstr(head + 1, "# TYPE lockmgr_x_total"), "one head per family");
    cr_assert_not_null(strstr(text, "lockmgr_x_total{peer=\"a\\\"b\\\\c\\nd\"} 2.5\n"));
    free(text);
    text = metrics(NULL, "lockmgr_raft_term");
    cr_assert_null(strstr(text, "lockmgr_x_total"));
    cr_assert_null(strstr(text, "lockmgr_build_info"));
    free(text);
}

Test(health_room, openmetrics_by_accept)
{
    report(LM_LOCK, "UP", true);
    char *text = metrics("application/openmetrics-text; version=1.0.0", NULL);
    cr_assert_not_null(strstr(text, "# TYPE lockmgr_x counter\nlockmgr_x_total{"));
    cr_assert_str_eq(text + strlen(text) - 6, "# EOF\n");
    free(text);
}
