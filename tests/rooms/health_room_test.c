/* The health actor: what was reported, and the pages made from it. */
#include "health_room.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_test_host.h"
#include "base_histogram.h"
#include "health_pages.h"

static health_t *health;
static lm_test_host_t *host;

static void set_up_as(const char *included, const char *details)
{
    health = health_room_new();
    host = lm_test_host_new(health_room_definition(), health);
    lm_bus_peer_config_t peers[] = {{.name = lm_bytes_of("n1")}, {.name = lm_bytes_of("n2")}};
    lm_bus_setting_t settings[] = {
        {lm_bytes_of("log.level"), lm_bytes_of("info"), LM_BUS_SETTING_SOURCE_DEFAULT,
         lm_bytes_of("")},
        {lm_bytes_of("log.level"), lm_bytes_of("warn"), LM_BUS_SETTING_SOURCE_FILE,
         lm_bytes_of("/a.cfg:3")},
        {lm_bytes_of("log.level"), lm_bytes_of("trace"), LM_BUS_SETTING_SOURCE_ENVIRONMENT,
         lm_bytes_of("LOCKMGR_LOG_LEVEL")},
        {lm_bytes_of("peer_key"), lm_bytes_of("/a.key"), LM_BUS_SETTING_SOURCE_FILE,
         lm_bytes_of("/a.cfg:4")},
        {lm_bytes_of("a.token"), lm_bytes_of("hush"), LM_BUS_SETTING_SOURCE_FILE,
         lm_bytes_of("/a.cfg:5")},
    };
    lm_bus_node_config_t config = {
        .n_settings = 5,
        .settings = settings,
        .node = lm_bytes_of("n1"),
        .region = lm_bytes_of("east"),
        .actuator_include = lm_bytes_of(included),
        .actuator_health_details = lm_bytes_of(details),
        .n_peers = 2,
        .peers = peers,
    };
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
}

static void set_up_with(const char *included) { set_up_as(included, "always"); }

static void set_up(void) { set_up_with("health,info,prometheus,metrics,loggers"); }

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

static void report_metrics(lm_participant_t from, lm_bus_metric_t *metrics, size_t n)
{
    lm_bus_status_report_t body = {
        .state = lm_bytes_of("UP"), .ready = true, .n_metrics = n, .metrics = metrics};
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
    static const char *const absent[] = {
        "/actuator/env",          "/actuator/health/",
        "/actuator/health/raft/", "/actuator/health//",
        "/actuator/metrics/",     "/actuator/metrics/none",
        "/actuator/loggers/",     "/actuator/loggers/none",
        "/actuator/shutdown",     "/actuator/health/raft/peers/n2/x"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        json_decref(get(absent[i], &code));
        cr_assert_eq(code, 404, "%s", absent[i]);
    }
}

static unsigned refused(const char *path)
{
    health_request_t request = {.path = path};
    health_answer_t answer = health_pages_refuse(health, &request);
    free(answer.body);
    return answer.code;
}

Test(health_room, other_methods_are_405_where_there_is_a_page)
{
    cr_assert_eq(refused("/actuator/health/raft"), 405);
    cr_assert_eq(refused("/actuator/loggers/ROOT"), 405, "loggers are read only");
    cr_assert_eq(refused("/actuator/shutdown"), 404);
}

Test(health_room, discovery_names_every_page_and_details_keep_their_types)
{
    all_is_well();
    unsigned code;
    json_t *links = get("/actuator", &code);
    json_t *all = json_object_get(links, "_links");
    cr_assert_eq(json_object_size(all), 9);
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

Test(health_room, what_is_not_exposed_is_404_and_has_no_link)
{
    tear_down();
    set_up_with("info,metrics");
    all_is_well();
    unsigned code;
    json_t *page = get("/actuator", &code), *links = json_object_get(page, "_links");
    cr_assert_eq(code, 200);
    cr_assert_eq(json_object_size(links), 4);
    cr_assert_not_null(json_object_get(links, "metrics-requiredMetricName"));
    json_decref(page);
    static const char *const hidden[] = {"/actuator/health",
                                         "/actuator/health/raft",
                                         "/actuator/health/liveness",
                                         "/livez",
                                         "/readyz",
                                         "/actuator/prometheus",
                                         "/actuator/loggers",
                                         "/actuator/loggers/ROOT"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        json_decref(get(hidden[i], &code));
        cr_assert_eq(code, 404, "%s", hidden[i]);
        cr_assert_eq(refused(hidden[i]), 404, "%s", hidden[i]);
    }
    json_decref(get("/actuator/info", &code));
    cr_assert_eq(code, 200);
    json_decref(get("/actuator/metrics/lockmgr.raft.term", &code));
    cr_assert_eq(code, 200);
    cr_assert_eq(refused("/actuator/info"), 405);
}

static unsigned asked_by_a_stranger(const char *path, bool reads)
{
    health_request_t request = {.path = path, .stranger = true};
    health_answer_t answer =
        reads ? health_pages_get(health, &request) : health_pages_refuse(health, &request);
    free(answer.body);
    return answer.code;
}

Test(health_room, a_stranger_sees_health_alone)
{
    all_is_well();
    static const char *const open[] = {"/actuator/health", "/actuator/health/liveness",
                                       "/actuator/health/readiness", "/livez", "/readyz"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        cr_assert_eq(asked_by_a_stranger(open[i], true), 200, "%s", open[i]);
        cr_assert_eq(asked_by_a_stranger(open[i], false), 405, "%s", open[i]);
    }
    static const char *const closed[] = {"/actuator",         "/actuator/health/raft",
                                         "/actuator/info",    "/actuator/prometheus",
                                         "/actuator/nothing", "/"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        cr_assert_eq(asked_by_a_stranger(closed[i], true), 401, "%s", closed[i]);
        cr_assert_eq(asked_by_a_stranger(closed[i], false), 401, "%s", closed[i]);
    }
}

Test(health_room, without_details_there_is_a_status_and_no_component)
{
    tear_down();
    set_up_as("health", "never");
    all_is_well();
    unsigned code;
    json_t *root = get("/actuator/health", &code);
    cr_assert_eq(code, 200);
    cr_assert_eq(json_object_size(root), 2, "status and groups");
    cr_assert_eq(json_array_size(json_object_get(root, "groups")), 2);
    json_decref(root);
    static const char *const groups[] = {"/actuator/health/liveness", "/actuator/health/readiness",
                                         "/livez", "/readyz"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        json_t *group = get(groups[i], &code);
        cr_assert_eq(code, 200, "%s", groups[i]);
        cr_assert_eq(json_object_size(group), 1, "%s", groups[i]);
        json_decref(group);
    }
    static const char *const hidden[] = {"/actuator/health/raft", "/actuator/health/raft/peers",
                                         "/actuator/health/diskSpace", "/actuator/health/nothing"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        cr_assert_str_eq(page(hidden[i]), "404 -", "%s", hidden[i]);
        cr_assert_eq(refused(hidden[i]), 404, "%s", hidden[i]);
    }
    mode(LM_BUS_NODE_MODE_MODE_DRAINING);
    cr_assert_str_eq(page("/readyz"), "503 OUT_OF_SERVICE", "hidden components still count");
    report(LM_RAFT, "DOWN", true);
    cr_assert_str_eq(page("/actuator/health"), "503 DOWN");
}

static const char *value_of_env(const char *path, const char *a, const char *b)
{
    static char value[64];
    unsigned code;
    json_t *page = get(path, &code);
    const char *text = json_string_value(json_object_get(json_object_get(page, a), b));
    snprintf(value, sizeof value, "%u %s", code, text ? text : "-");
    json_decref(page);
    return value;
}

Test(health_room, settings_are_shown_with_their_sources)
{
    unsigned code;
    json_decref(get("/actuator/env", &code));
    cr_assert_eq(code, 404, "not by default");
    tear_down();
    set_up_with("env");
    json_t *page = get("/actuator/env", &code), *all = json_object_get(page, "propertySources");
    cr_assert_eq(json_array_size(json_object_get(page, "activeProfiles")), 0);
    cr_assert_eq(json_array_size(all), 3);
    static const char *const names[] = {"environment", "file", "defaults"};
    for (size_t i = 0; i < 3; i++)
        cr_assert_str_eq(json_string_value(json_object_get(json_array_get(all, i), "name")),
                         names[i]);
    json_t *of_file = json_object_get(json_array_get(all, 1), "properties");
    cr_assert_eq(json_object_size(of_file), 3);
    cr_assert_str_eq(
        json_string_value(json_object_get(json_object_get(of_file, "log.level"), "origin")),
        "/a.cfg:3");
    json_decref(page);
    cr_assert_str_eq(value_of_env("/actuator/env/log.level", "property", "value"), "200 trace");
    cr_assert_str_eq(value_of_env("/actuator/env/log.level", "property", "source"),
                     "200 environment");
    cr_assert_str_eq(value_of_env("/actuator/env/peer_key", "property", "value"), "200 /a.key");
    cr_assert_str_eq(value_of_env("/actuator/env/a.token", "property", "value"), "200 ******");
    cr_assert_str_eq(value_of_env("/actuator/env/none", "property", "value"), "404 -");
    cr_assert_str_eq(value_of_env("/actuator/env/", "property", "value"), "404 -");
    cr_assert_eq(refused("/actuator/env"), 405);
}

Test(health_room, consensus_and_counts_have_pages_of_their_own)
{
    unsigned code;
    json_decref(get("/actuator/raft", &code));
    cr_assert_eq(code, 404, "not by default");
    json_decref(get("/actuator/locks", &code));
    cr_assert_eq(code, 404, "not by default");
    tear_down();
    set_up_with("raft,locks");
    json_t *locks = get("/actuator/locks", &code);
    cr_assert_eq(code, 200);
    cr_assert_eq(json_object_size(locks), 0, "lock has said nothing");
    json_decref(locks);
    lm_bus_metric_t counts[] = {{.name = lm_bytes_of("lockmgr_locks_held"), .value = 12},
                                {.name = lm_bytes_of("lockmgr_lock_records"), .value = 34},
                                {.name = lm_bytes_of("lockmgr_sessions"), .value = -1}};
    report(LM_RAFT, "UP", true);
    report_metrics(LM_LOCK, counts, 3);
    locks = get("/actuator/locks", &code);
    cr_assert_eq(json_object_size(locks), 2);
    cr_assert_eq(json_integer_value(json_object_get(locks, "held")), 12);
    cr_assert_eq(json_integer_value(json_object_get(locks, "records")), 34);
    json_decref(locks);
    json_t *raft = get("/actuator/raft", &code), *voters = json_object_get(raft, "voters");
    cr_assert_eq(code, 200);
    cr_assert_eq(json_integer_value(json_object_get(raft, "term")), 7);
    cr_assert_str_eq(json_string_value(json_object_get(raft, "node")), "n1");
    cr_assert_eq(json_array_size(voters), 2);
    cr_assert_str_eq(json_string_value(json_array_get(voters, 1)), "n2");
    json_decref(raft);
    cr_assert_eq(refused("/actuator/raft"), 405);
    cr_assert_eq(refused("/actuator/raft/transfer"), 404);
    cr_assert_eq(refused("/actuator/locks/some"), 404);
}

static void report_queues(lm_bus_lock_queues_t *queues)
{
    lm_bus_status_report_t body = {.state = lm_bytes_of("UP"), .ready = true, .queues = queues};
    lm_test_deliver(host, LM_LOCK, LM_MSG_STATUS_REPORT, &body, 0);
}

Test(health_room, the_longest_queues_are_shown_as_lock_tells_them)
{
    unsigned code;
    tear_down();
    set_up_with("locks");
    lm_bus_lock_queue_t most[] = {{.name = lm_bytes_of("a/b"),
                                   .waiters = 3,
                                   .holders = 1,
                                   .longest_wait_ms = 1500,
                                   .age_known = true},
                                  {.waiters = 2, .holders = 7}};
    lm_bus_lock_queues_t queues = {.n_most_waiters = 2, .most_waiters = most};
    report_queues(&queues);
    json_t *locks = get("/actuator/locks", &code);
    char *text = json_dumps(json_object_get(locks, "contention"), JSON_SORT_KEYS | JSON_COMPACT);
    cr_assert_str_eq(text,
                     "{\"longestWaits\":[],\"mostWaiters\":["
                     "{\"holders\":1,\"longestWaitMs\":1500,\"name\":\"a/b\",\"waiters\":3},"
                     "{\"holders\":7,\"waiters\":2}]}");
    free(text);
    json_decref(locks);
    report_queues(NULL);
    locks = get("/actuator/locks", &code);
    cr_assert_null(json_object_get(locks, "contention"), "lock is looking for them");
    json_decref(locks);
}

static const health_threads_t *dump(void *arg, const lm_bus_child_table_t *children)
{
    static health_frame_t frames[] = {
        {.address = 4711, .file = "libx.so", .offset = 0x1a, .function = "f\"\\"},
        {.address = 0x2b, .file = "libx.so", .offset = 0x2c},
        {.address = 0x3d}};
    static health_thread_t threads[] = {{.process = "raft",
                                         .pid = 7,
                                         .tid = 7,
                                         .name = "main",
                                         .state = 'S',
                                         .priority = 20,
                                         .frames = frames,
                                         .n_frames = 3},
                                        {.process = "raft",
                                         .pid = 7,
                                         .tid = 8,
                                         .name = "disk",
                                         .state = 'D',
                                         .missing = "it takes no signals"}};
    static const health_threads_t all = {threads, 2};
    cr_assert_eq(children->n_children, 0);
    ++*(int *)arg;
    return &all;
}

static char *get_dump(const char *accept, const char **type)
{
    health_request_t request = {.path = "/actuator/threaddump", .accept = accept};
    health_answer_t answer = health_pages_get(health, &request);
    *type = answer.content_type;
    cr_assert_eq(answer.code, 200);
    cr_assert_eq(strlen(answer.body), answer.size);
    return answer.body;
}

Test(health_room, threads_as_json_or_as_text_by_accept)
{
    unsigned code;
    int n_taken = 0;
    const char *type;
    json_decref(get("/actuator/threaddump", &code));
    cr_assert_eq(code, 404, "not by default");
    tear_down();
    set_up_with("threaddump");
    json_decref(get("/actuator/threaddump", &code));
    cr_assert_eq(code, 503, "without a driver");
    health_room_on_dump(health, dump, &n_taken);
    json_decref(get("/actuator/threaddump", &code));
    cr_assert_eq(code, 503, "without processes");
    lm_bus_child_table_t table = {0};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_CHILD_TABLE, &table, 0);
    char *text = get_dump("application/json", &type);
    cr_assert_str_eq(type, "application/json");
    cr_assert_str_eq(
        text,
        "{\"threads\":[{\"threadName\":\"main\",\"threadId\":7,\"threadState\":\"WAITING\","
        "\"daemon\":false,\"priority\":20,\"process\":\"raft\",\"processId\":7,\"stackTrace\":["
        "{\"methodName\":\"f\\\"\\\\\",\"fileName\":\"libx.so\",\"lineNumber\":-2,"
        "\"nativeMethod\":true,\"offset\":\"0x1a\"},"
        "{\"methodName\":\"0x2c\",\"fileName\":\"libx.so\",\"lineNumber\":-2,"
        "\"nativeMethod\":true,\"offset\":\"0x2c\"},"
        "{\"methodName\":\"0x3d\",\"fileName\":\"\",\"lineNumber\":-2,"
        "\"nativeMethod\":true,\"offset\":\"0x3d\"}]},"
        "{\"threadName\":\"disk\",\"threadId\":8,\"threadState\":\"BLOCKED\",\"daemon\":true,"
        "\"priority\":0,\"process\":\"raft\",\"processId\":7,\"stackTrace\":[],"
        "\"stackMissing\":\"it takes no signals\"}]}");
    free(text);
    text = get_dump("text/plain", &type);
    cr_assert_str_eq(type, "text/plain;charset=UTF-8");
    cr_assert_str_eq(text,
                     "\"main\" #7 prio=20 process=raft pid=7\n   state: WAITING\n"
                     "\tat f\"\\(libx.so+0x1a)\n\tat (libx.so+0x2c)\n\tat (0x3d)\n\n"
                     "\"disk\" #8 daemon prio=0 process=raft pid=7\n   state: BLOCKED\n"
                     "\t- no stack: it takes no signals\n\n");
    free(text);
    cr_assert_eq(n_taken, 2);
    cr_assert_eq(refused("/actuator/threaddump"), 405);
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

Test(health_room, its_own_bus_is_told_of_like_that_of_the_others)
{
    report(LM_LOCK, "UP", true);
    lm_test_advance(host, 1000000);
    char *text = metrics(NULL, "lockmgr_bus_received_total");
    cr_assert_not_null(strstr(text, "lockmgr_bus_received_total{actor=\"health\"} "), "%s", text);
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

Test(health_room, a_path_that_is_no_text_is_not_found_either)
{
    health_request_t request = {.path = "/\xff\xfe"};
    health_answer_t answer = health_pages_get(health, &request);
    cr_assert_eq(answer.code, 404);
    cr_assert(answer.body && answer.size > 0);
    free(answer.body);
}

/* ---- metrics as JSON ------------------------------------------------------------------------- */

static void report_links(void)
{
    lm_bus_detail_t n2 = {.key = lm_bytes_of("peer"), .value = lm_bytes_of("n2")};
    lm_bus_detail_t n3 = {.key = lm_bytes_of("peer"), .value = lm_bytes_of("n3")};
    lm_bus_metric_t links[] = {
        {.name = lm_bytes_of("lockmgr_peer_link_up"), .n_labels = 1, .labels = &n2, .value = 1},
        {.name = lm_bytes_of("lockmgr_peer_link_up"), .n_labels = 1, .labels = &n3, .value = 0}};
    report_metrics(LM_PEERS, links, 2);
}

static json_t *get_tagged(const char *path, const char *tag, unsigned *code)
{
    health_request_t request = {.path = path, .tags = {tag}, .n_tags = 1};
    health_answer_t answer = health_pages_get(health, &request);
    json_t *json = json_loads(answer.body, 0, NULL);
    *code = answer.code;
    free(answer.body);
    return json;
}

static double value_of(const json_t *metric, size_t i)
{
    const json_t *all = json_object_get(metric, "measurements");
    return json_number_value(json_object_get(json_array_get(all, i), "value"));
}

Test(health_room, a_metric_by_name_is_summed_over_what_was_asked_for)
{
    report_links();
    unsigned code;
    json_t *all = get("/actuator/metrics/lockmgr.peer.link.up", &code);
    cr_assert_eq(value_of(all, 0), 1);
    const json_t *tags = json_object_get(all, "availableTags");
    cr_assert_eq(json_array_size(json_object_get(json_array_get(tags, 0), "values")), 2);
    json_decref(all);
    json_t *one = get_tagged("/actuator/metrics/lockmgr.peer.link.up", "peer:n3", &code);
    cr_assert_eq(code, 200);
    cr_assert_eq(value_of(one, 0), 0);
    cr_assert_eq(json_array_size(json_object_get(one, "availableTags")), 0);
    json_decref(one);
    json_decref(get_tagged("/actuator/metrics/lockmgr.peer.link.up", "peer:n9", &code));
    cr_assert_eq(code, 404);
    json_decref(get_tagged("/actuator/metrics/lockmgr.peer.link.up", "peer", &code));
    cr_assert_eq(code, 400);
}

Test(health_room, a_histogram_has_cumulative_buckets_and_a_count)
{
    uint64_t buckets[LM_HISTOGRAM_BUCKETS] = {[0] = 2, [3] = 1, [LM_HISTOGRAM_BOUNDS] = 4};
    lm_bus_metric_t metric = {.name = lm_bytes_of("lockmgr_x_seconds"),
                              .kind = LM_BUS_METRIC_KIND_HISTOGRAM,
                              .value = 1.5,
                              .n_buckets = LM_HISTOGRAM_BUCKETS,
                              .buckets = buckets};
    report_metrics(LM_LOCK, &metric, 1);
    char *text = metrics(NULL, "lockmgr_x_seconds");
    cr_assert_not_null(strstr(text, "# TYPE lockmgr_x_seconds histogram\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_x_seconds_bucket{le=\"0.0005\"} 2\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_x_seconds_bucket{le=\"0.005\"} 3\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_x_seconds_bucket{le=\"60.0\"} 3\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_x_seconds_bucket{le=\"+Inf\"} 7\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_x_seconds_sum 1.5\nlockmgr_x_seconds_count 7\n"));
    free(text);
    unsigned code;
    json_t *json = get("/actuator/metrics/lockmgr.x.seconds", &code);
    cr_assert_eq(value_of(json, 0), 7);
    cr_assert_eq(value_of(json, 1), 1.5);
    cr_assert_str_eq(json_string_value(json_object_get(json, "baseUnit")), "seconds");
    json_decref(json);
}

Test(health_room, peers_are_components_of_raft_and_hurt_nothing)
{
    all_is_well();
    report_links();
    cr_assert_str_eq(page("/actuator/health/raft/peers"), "200 UNKNOWN");
    cr_assert_str_eq(page("/actuator/health/raft/peers/n2"), "200 UP");
    cr_assert_str_eq(page("/actuator/health/raft/peers/n3"), "200 UNKNOWN");
    cr_assert_str_eq(page("/actuator/health/raft"), "200 UP");
    cr_assert_str_eq(page("/actuator/health"), "200 UP");
}

/* ---- what the kernel says -------------------------------------------------------------------- */

static uint64_t disk_free;

static void look(void *arg, const lm_bus_child_table_t *table, health_system_t *system)
{
    (void)arg;
    (void)table;
    system->has_disk = true;
    system->disk_bytes = 1 << 30;
    system->disk_free_bytes = disk_free;
}

static void tick(void *arg) { (void)arg; }

static void children(void)
{
    lm_bus_child_t rows[] = {
        {.name = lm_bytes_of("raft"), .state = lm_bytes_of("ready"), .pid = 11, .restarts = 3},
        {.name = lm_bytes_of("lock"), .state = lm_bytes_of("waiting"), .pid = 12}};
    lm_bus_child_table_t table = {.n_children = 2, .children = rows};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_CHILD_TABLE, &table, 0);
}

Test(health_room, a_full_disk_is_down_by_itself_and_nowhere_else)
{
    all_is_well();
    cr_assert_str_eq(page("/actuator/health/diskSpace"), "200 UNKNOWN");
    health_room_on_tick(health, tick, look, NULL);
    children();
    disk_free = HEALTH_DISK_THRESHOLD - 1;
    lm_test_advance(host, 1000000);
    cr_assert_str_eq(page("/actuator/health/diskSpace"), "503 DOWN");
    cr_assert_str_eq(page("/actuator/health"), "200 UP", "no restart makes room");
    disk_free = HEALTH_DISK_THRESHOLD;
    lm_test_advance(host, 5000000);
    cr_assert_str_eq(page("/actuator/health/diskSpace"), "200 UP");
}

Test(health_room, actors_are_told_of_as_the_supervisor_sees_them)
{
    children();
    lm_test_advance(host, 1000000);
    char *text = metrics(NULL, "lockmgr_actor_up,lockmgr_actor_restarts_total");
    cr_assert_not_null(strstr(text, "lockmgr_actor_up{actor=\"raft\"} 1\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_actor_up{actor=\"lock\"} 0\n"), "%s", text);
    cr_assert_not_null(strstr(text, "lockmgr_actor_restarts_total{actor=\"raft\"} 3\n"));
    free(text);
    unsigned code;
    json_t *loggers = get("/actuator/loggers", &code);
    cr_assert_not_null(json_object_get(json_object_get(loggers, "loggers"), "raft"));
    json_decref(loggers);
}
