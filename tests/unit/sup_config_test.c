/* Configurations, good and bad: every mistake is told with file and line, all in one go. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sup_config_rows.h"

static char dir[] = "/tmp/lm-config-XXXXXX";
static char file[64];
static lm_sup_config_t config;
static lm_sup_problems_t problems, warnings;
static const char *no_environment[] = {NULL};

static void setup(void)
{
    cr_assert(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/node.cfg", dir);
}

static void teardown(void)
{
    lm_sup_problems_clear(&problems);
    lm_sup_problems_clear(&warnings);
    unlink(file);
    rmdir(dir);
}

TestSuite(sup_config, .init = setup, .fini = teardown);

/** What a file needs at least: seven lines, so that what a test adds is on line 8. */
static const char base[] =
    "node = \"n1\";\n"
    "peer_auth = \"trusted\";\n"
    "peers = (\n"
    "  { name = \"n1\"; host = \"127.0.0.1\"; grpc_port = 9090; },\n"
    "  { name = \"n2\"; host = \"node-2.example\"; grpc_port = 9090; }\n"
    ");\n"
    "\n";

static void load_text(const char *text, const char *const *environment)
{
    FILE *stream = fopen(file, "w");
    cr_assert(stream);
    fputs(text, stream);
    fclose(stream);
    lm_sup_config_load(file, environment, &config, &problems, &warnings);
}

/** Loads the base and what is added to it; data and run directory lie below the test's own. */
static void load_with(const char *added, const char *const *environment)
{
    char text[8192];
    snprintf(text, sizeof text, "%s%s%s%s\n", base, added,
             strstr(added, "data_dir") ? "" : "\ndata_dir = \"/tmp\";",
             strstr(added, "run_dir") ? "" : "\nrun_dir = \"/tmp/lm-run\";");
    load_text(text, environment);
}

static bool has(const lm_sup_problems_t *list, const char *where, const char *text)
{
    char begin[160];
    snprintf(begin, sizeof begin, "%s%s%s", *where == ':' ? file : where,
             *where == ':' ? where : "", *where ? ": " : "");
    for (size_t i = 0; i < list->n; i++) {
        if (strncmp(list->items[i], begin, strlen(begin)) == 0 && strstr(list->items[i], text))
            return true;
    }
    for (size_t i = 0; i < list->n; i++) fprintf(stderr, "told: %s\n", list->items[i]);
    return false;
}

static void expect_fine(void)
{
    for (size_t i = 0; i < problems.n; i++) fprintf(stderr, "told: %s\n", problems.items[i]);
    cr_assert_eq(problems.n, 0);
}

/** One thing is wrong, on line 8 unless where says otherwise. */
static void expect_one(const char *added, const char *where, const char *text)
{
    load_with(added, no_environment);
    cr_assert(has(&problems, where, text), "%s", added);
    if (problems.n != 1) has(&problems, "-", "-");
    cr_assert_eq(problems.n, 1, "%s: %zu problems", added, problems.n);
    lm_sup_problems_clear(&problems);
}

/* ---- good ones ---- */

Test(sup_config, defaults_are_those_of_the_document)
{
    load_with("", no_environment);
    expect_fine();
    cr_assert_eq(warnings.n, 0);
    cr_assert_str_eq(config.region_id, "us-east");
    cr_assert_str_eq(config.listen, "127.0.0.1");
    cr_assert_eq(config.election_timeout_ms, 150);
    cr_assert_eq(config.heartbeat_interval_ms, 50);
    cr_assert_eq(config.snapshot_bytes, 16777216);
    cr_assert_eq(config.trailing_entries, 8192);
    cr_assert_eq(config.lock_default_timeout_ms, 30000);
    cr_assert_eq(config.lock_max_timeout_ms, 300000);
    cr_assert_eq(config.lock_min_timeout_ms, 1000);
    cr_assert_eq(config.grpc_port, 9090);
    cr_assert_eq(config.region_port, 9091);
    cr_assert_eq(config.raft_port, 0);
    cr_assert_eq(config.peers[1].raft_port, 9090, "that of gRPC");
    cr_assert_eq(config.actuator_port, 8080);
    cr_assert_eq(config.connection_age_ms, 600000);
    cr_assert_eq(config.connection_grace_ms, 30000);
    cr_assert_eq(config.keepalive_time_ms, 30000);
    cr_assert_eq(config.keepalive_timeout_ms, 10000);
    cr_assert_eq(config.keepalive_min_interval_ms, 10000);
    cr_assert_str_eq(config.reflection, "on");
    cr_assert_str_eq(config.actuator_include, "health,info,prometheus,metrics,loggers");
    cr_assert_str_eq(config.actuator_health_details, "always");
    cr_assert_str_eq(config.actuator_lock_names, "hidden");
    cr_assert_eq(config.waiters_per_lock_max, 10000);
    cr_assert_eq(config.locks_max, 1000000);
    cr_assert_eq(config.holds_per_owner_max, 10000);
    cr_assert_eq(config.record_ring_size, 262144);
    cr_assert_eq(config.sessions_max, 100000);
    cr_assert_eq(config.session_window, 16);
    cr_assert_eq(config.concurrent_streams_max, 100);
    cr_assert_eq(config.request_bytes_max, 65536);
    cr_assert_eq(config.connections_per_address_max, 1000);
    cr_assert_eq(config.n_peers, 2);
    cr_assert_str_eq(config.peers[1].name, "n2");
    cr_assert_str_eq(config.peers[1].host, "node-2.example");
    cr_assert_eq(config.n_region_peers, 0);
}

Test(sup_config, every_value_of_a_full_file_arrives)
{
    load_with(
        "replica_count = 2; listen = \"::\"; log = { level = \"debug\"; format = \"json\"; };\n"
        "region = { id = \"eu\"; peers = ( { region_id = \"us\"; host = \"h\"; port = 99; },\n"
        "  { region_id = \"ap\"; host = \"fd00::1\"; } ); };\n"
        "raft = { election_timeout_ms = 1000; heartbeat_interval_ms = 500;\n"
        "  snapshot_bytes = 4096; trailing_entries = 16; };\n"
        "lock = { min_timeout_ms = 50; default_timeout_ms = 50; max_timeout_ms = 50; };\n"
        "service = { grpc_port = 9190; region_port = 9191; actuator_port = 8180; };\n"
        "grpc = { max_connection_age_ms = 0; max_connection_age_grace_ms = 1000;\n"
        "  keepalive_time_ms = 2000; keepalive_timeout_ms = 3000;\n"
        "  keepalive_min_interval_ms = 4000; reflection = \"off\"; };\n"
        "limits = { waiters_per_lock_max = 1; locks_max = 2; holds_per_owner_max = 3;\n"
        "  record_ring_size = 16; sessions_max = 4; session_window = 6;\n"
        "  concurrent_streams_max = 5; request_bytes_max = 1024;\n"
        "  connections_per_address_max = 0; };",
        no_environment);
    expect_fine();
    cr_assert_str_eq(config.region_id, "eu");
    cr_assert_eq(config.n_region_peers, 2);
    cr_assert_str_eq(config.region_peers[0].region_id, "us");
    cr_assert_eq(config.region_peers[0].port, 99);
    cr_assert_eq(config.region_peers[1].port, 9091, "the default");
    cr_assert_eq(config.heartbeat_interval_ms, 500);
    cr_assert_eq(config.snapshot_bytes, 4096);
    cr_assert_eq(config.trailing_entries, 16);
    cr_assert_eq(config.lock_max_timeout_ms, 50);
    cr_assert_eq(config.actuator_port, 8180);
    cr_assert_eq(config.connection_age_ms, 0);
    cr_assert_eq(config.connection_grace_ms, 1000);
    cr_assert_eq(config.keepalive_time_ms, 2000);
    cr_assert_eq(config.keepalive_timeout_ms, 3000);
    cr_assert_eq(config.keepalive_min_interval_ms, 4000);
    cr_assert_str_eq(config.reflection, "off");
    cr_assert_eq(config.record_ring_size, 16);
    cr_assert_eq(config.connections_per_address_max, 0);
    cr_assert_eq(config.sessions_max, 4);
    cr_assert_eq(config.session_window, 6);
    cr_assert_str_eq(config.log_format, "json");
    cr_assert(has(&warnings, ":4", "port 9090, but it listens on port 9190"));
}

static uint32_t port_of_peer(const char *name)
{
    for (size_t i = 0; i < config.n_peers; i++)
        if (strcmp(config.peers[i].name, name) == 0) return config.peers[i].raft_port;
    return 0;
}

#define DIRS "data_dir = \"/tmp\"; run_dir = \"/tmp/lm-run\"; "
#define THREE_NODES(own, other)                          \
    DIRS "node = \"n1\"; peer_auth = \"trusted\";\n"     \
         "peers = ( { name = \"n1\"; host = \"a\"; " own \
         "},\n{ name = \"n2\"; host = \"b\"; },\n{ name = \"n3\"; host = \"c\"; " other "} );\n"

Test(sup_config, a_port_for_nodes)
{
    static const char *const variable[] = {"LOCKMGR_SERVICE_RAFT_PORT=9092", NULL};
    load_text(THREE_NODES("", "raft_port = 9090;"), variable);
    expect_fine();
    cr_assert_eq(warnings.n, 0);
    cr_assert_eq(config.raft_port, 9092);
    cr_assert_eq(port_of_peer("n1"), 9092);
    cr_assert_eq(port_of_peer("n2"), 9092, "as the own one");
    cr_assert_eq(port_of_peer("n3"), 9090, "it shares its gRPC port");
    load_text(THREE_NODES("grpc_port = 9090;", "grpc_port = 7; raft_port = 8;"), no_environment);
    expect_fine();
    cr_assert_eq(warnings.n, 0);
    cr_assert_eq(port_of_peer("n2"), 9090);
    cr_assert_eq(port_of_peer("n3"), 8);
    load_text(THREE_NODES("raft_port = 9093;", ""), variable);
    expect_fine();
    cr_assert(has(&warnings, ":2", "at port 9093, but service.raft_port is 9092"));
    load_text(THREE_NODES("raft_port = 9093;", ""), no_environment);
    expect_fine();
    cr_assert(has(&warnings, ":2", "service.raft_port is 0: it shares the gRPC port"));
}

/* ---- bad ones ---- */

Test(sup_config, unknown_keys)
{
    expect_one("colour = 1;", ":8", "colour is not a known key");
    expect_one("raft = { electon_timeout_ms = 1; };", ":8",
               "raft.electon_timeout_ms is not a known key");
    expect_one("raft = {\n\n x = { y = 1; }; };", ":10", "raft.x is not a known key");
    expect_one("region = { peers = ( { region_id = \"a\"; host = \"b\";\n prt = 1; } ); };", ":9",
               "region.peers: prt is not a known key");
}

Test(sup_config, wrong_types)
{
    expect_one("raft = 5;", ":8", "raft must be a group");
    expect_one("raft = { election_timeout_ms = \"150\"; };", ":8",
               "raft.election_timeout_ms must be a whole number");
    expect_one("raft = { election_timeout_ms = 150.0; };", ":8", "must be a whole number");
    expect_one("listen = 127;", ":8", "listen must be a \"text\"");
    expect_one("listen = true;", ":8", "listen must be a \"text\"");
    expect_one("region = { peers = { }; };", ":8", "region.peers must be a list");
    expect_one("region = { peers = ( 1 ); };", ":8", "each element must be a { group }");
}

Test(sup_config, out_of_range)
{
    expect_one("raft = { election_timeout_ms = 60001; };", ":8", "between 20 and 60000, not 60001");
    expect_one("service = { region_port = 0; };", ":8", "between 1 and 65535, not 0");
    expect_one("service = { raft_port = 65536; };", ":8", "between 0 and 65535, not 65536");
    expect_one("service = { region_port = -1; };", ":8", "not -1");
    expect_one("service = { region_port = 70000; };", ":8", "not 70000");
    expect_one("limits = { locks_max = 99999999999L; };", ":8", "not 99999999999");
    expect_one("grpc = { max_connection_age_ms = 999; };", ":8",
               "grpc.max_connection_age_ms must be 0 (never) or at least 1000, not 999");
    expect_one("grpc = { max_connection_age_ms = 86400001; };", ":8", "between 0 and 86400000");
    expect_one("grpc = { max_connection_age_grace_ms = 999; };", ":8", "between 1000 and 3600000");
    expect_one("grpc = { keepalive_time_ms = 999; };", ":8", "between 1000 and 3600000");
    expect_one("grpc = { keepalive_timeout_ms = 600001; };", ":8", "between 1000 and 600000");
    expect_one("grpc = { keepalive_min_interval_ms = 0; };", ":8", "between 1000 and 3600000");
    expect_one("grpc = { reflection = \"yes\"; };", ":8",
               "grpc.reflection must be \"on\" or \"off\"");
    expect_one("log = { level = \"loud\"; };", ":8", "log.level must be \"error\"");
    expect_one("actuator = { lock_names = \"all\"; };", ":8",
               "actuator.lock_names must be \"hidden\" or \"shown\"");
    expect_one("actuator = { token = \"/nowhere/token\"; };", ":8",
               "actuator.token: /nowhere/token cannot be read");
    expect_one("actuator = { token = \"0123456789abcdef0123456789abcdef\"; };", ":8",
               "must be an absolute path");
    expect_one("actuator = { health_details = \"sometimes\"; };", ":8",
               "actuator.health_details must be \"always\" or \"never\"");
    expect_one("log = { format = \"xml\"; };", ":8", "log.format must be \"text\" or \"json\"");
    expect_one("listen = \"localhost\";", ":8", "listen must be an IPv4 or IPv6 address");
    expect_one("region = { id = \"\"; };", ":8", "region.id must be 1-63 letters");
    expect_one("region = { id = \"a b\"; };", ":8", "region.id must be 1-63 letters");
    expect_one("region = { id = \"a\\x01\"; };", ":8", "without control characters");
    expect_one("region = { id = \"\\xff\"; };", ":8", "must be UTF-8");
}

Test(sup_config, numbers_that_the_parser_would_cut)
{
    expect_one("raft = { election_timeout_ms =\n 4294967446; };", ":9",
               "the number 4294967446 is too large");
    lm_sup_problems_clear(&warnings);
    load_with("/* 4294967446 */ # 4294967446\n// 4294967446\nregion = { id = \"4294967446\"; };",
              no_environment);
    expect_fine();
}

Test(sup_config, rules_between_keys)
{
    expect_one("stop_delay_ms = 5001;", ":8", "stop_delay_ms (5001) must be at most half of");
    expect_one("raft = { heartbeat_interval_ms = 76; };", ":8", "at most half of");
    expect_one("raft = {\n election_timeout_ms = 99; };", ":9", "at most half of");
    expect_one("lock = { min_timeout_ms = 30001; };", ":8",
               "lock.min_timeout_ms (30001) must not be above lock.default_timeout_ms (30000)");
    expect_one("lock = { default_timeout_ms = 300001; };", ":8", "lock.max_timeout_ms (300000)");
    expect_one("service = { actuator_port = 9091; };", ":8",
               "service.region_port and service.actuator_port must not both be 9091");
    expect_one("service = { raft_port = 9090; };", ":8",
               "service.grpc_port and service.raft_port must not both be 9090");
    expect_one("service = {\n raft_port = 8080; };", ":9",
               "service.raft_port and service.actuator_port must not both be 8080");
    expect_one("replica_count = 3;", ":8", "replica_count is 3, but peers lists 2");
    expect_one("region = { peers = ( { region_id = \"us-east\"; host = \"h\"; } ); };", ":8",
               "\"us-east\" is this region itself");
    expect_one(
        "region = { peers = ( { region_id = \"a\"; host = \"h\"; },\n"
        "{ region_id = \"a\"; host = \"i\"; } ); };",
        ":9", "the region \"a\" is there twice");
    expect_one("region = { peers = ( { region_id = \"US-east\"; host = \"h\"; } ); };", ":8",
               "\"US-east\" is this region itself");
    expect_one("region = { peers = ( { host = \"h\"; } ); };", ":8", "region_id is missing");
}

static void expect_in(const char *text, const char *where, const char *told)
{
    load_text(text, no_environment);
    cr_assert(has(&problems, where, told));
    lm_sup_problems_clear(&problems);
}

Test(sup_config, mistakes_in_the_list_of_nodes)
{
    expect_in(DIRS
              "node = \"n1\"; peer_auth = \"trusted\";\n"
              "peers = ( { name = \"n1\"; host = \"a\"; },\n { name = \"n1\"; host = \"b\"; });",
              ":3", "the name \"n1\" is there twice");
    expect_in(DIRS
              "node = \"n1\"; peer_auth = \"trusted\";\n"
              "peers = ( { name = \"n1\"; host = \"a\"; },\n { name = \"N1\"; host = \"b\"; });",
              ":3", "\"n1\" and \"N1\" must differ in more than upper and lower case");
    expect_in(DIRS
              "node = \"n1\"; peer_auth = \"trusted\";\n"
              "peers = ( { name = \"n1\"; host = \"a\"; },\n { name = \"n2\"; host = \"a\"; });",
              ":3", "must not both be a port 9090");
    expect_in(DIRS
              "node = \"n1\"; peer_auth = \"trusted\"; service = { raft_port = 9092; };\n"
              "peers = ( { name = \"n1\"; host = \"a\"; },\n"
              "{ name = \"n2\"; host = \"a\"; grpc_port = 9190; });",
              ":3", "must not both be a port 9092");
    expect_in(DIRS
              "node = \"n1\"; peer_auth = \"trusted\"; service = { raft_port = 9092; };\n"
              "peers = ( { name = \"n1\"; host = \"a\"; },\n"
              "{ name = \"n2\"; host = \"a\"; grpc_port = 9092; raft_port = 9094; });",
              ":3", "must not both be a port 9092");
    expect_in(THREE_NODES("raft_port = 0;", ""), ":2",
              "peers: raft_port must be between 1 and 65535, not 0");
    expect_in(DIRS
              "peer_auth = \"trusted\";\npeers = ( { name = \"n1\"; host = \"a\"; } );\n"
              "node = \"n9\";",
              ":3", "node \"n9\" must be one of peers");
    expect_in(DIRS "node = \"n1\"; peer_auth = \"trusted\";\npeers = ( );", ":2",
              "between 1 and 9 elements");
    expect_in(DIRS
              "node = \"n1\"; peer_auth = \"trusted\";\npeers = ( { name = \"n1\";\n"
              "host = \"not a host\"; } );",
              ":3", "peers: host must be a host name");
    expect_in(DIRS "node = \"n1\"; peer_auth = \"trusted\";\npeers = [ 1, 2 ];", ":2",
              "peers must be a list");
}

Test(sup_config, what_must_be_written_is_missing)
{
    load_text(DIRS, no_environment);
    cr_assert(has(&problems, file, "node is missing"));
    cr_assert(has(&problems, file, "peers is missing"));
    cr_assert(has(&problems, file, "peer_auth is missing; it must be \"trusted\""));
    cr_assert_eq(problems.n, 3);
}

Test(sup_config, peer_auth_has_one_value)
{
    expect_in(DIRS
              "node = \"n1\"; peers = ( { name = \"n1\"; host = \"a\"; } );\n"
              "peer_auth = \"none\";",
              ":2", "peer_auth must be \"trusted\"");
}

Test(sup_config, directories)
{
    char text[512];
    expect_one("data_dir = \"relative\";", ":8", "data_dir must be an absolute path");
    snprintf(text, sizeof text, "data_dir = \"%s\";", file);
    expect_one(text, ":8", "it is not a directory");
    snprintf(text, sizeof text, "data_dir = \"%s/below\";", file);
    expect_one(text, ":8", "Not a directory");
    load_with("data_dir = \"/tmp/lm-not-there/nor-here\";", no_environment);
    expect_fine();
    struct stat found;
    cr_assert(stat("/tmp/lm-not-there", &found) != 0, "looking makes nothing");
}

Test(sup_config, run_dir_of_80_bytes_and_of_81)
{
    char text[256], path[128];
    memset(path, 'r', sizeof path);
    memcpy(path, "/tmp/", 5);
    path[80] = '\0';
    snprintf(text, sizeof text, "run_dir = \"%s\";", path);
    load_with(text, no_environment);
    expect_fine();
    cr_assert_str_eq(config.run_dir, path);
    path[80] = 'r';
    path[81] = '\0';
    snprintf(text, sizeof text, "run_dir = \"%s\";", path);
    expect_one(text, ":8", "run_dir must be an absolute path of at most 80 bytes");
}

Test(sup_config, many_mistakes_are_told_at_once)
{
    load_with(
        "colour = 1;\n"
        "raft = { heartbeat_interval_ms = 100; election_timeout_ms = \"x\"; };\n"
        "lock = { min_timeout_ms = 5; max_timeout_ms = 20; };\n"
        "service = { region_port = 8080; grpc_port = 70000; };\n"
        "replica_count = 7;",
        no_environment);
    cr_assert(has(&problems, ":8", "colour is not a known key"));
    cr_assert(has(&problems, ":9", "raft.election_timeout_ms must be a whole number"));
    cr_assert(has(&problems, ":9", "at most half of"));
    cr_assert(has(&problems, ":10", "lock.min_timeout_ms must be between"));
    cr_assert(has(&problems, ":10", "must not be above lock.max_timeout_ms (20)"));
    cr_assert(has(&problems, ":11", "service.grpc_port must be between"));
    cr_assert(has(&problems, ":11", "must not both be 8080"));
    cr_assert(has(&problems, ":12", "replica_count is 7"));
    cr_assert_eq(problems.n, 8);
}

Test(sup_config, syntax_errors_hide_the_rest)
{
    load_with("colour = 1;\nraft = {", no_environment);
    cr_assert_eq(problems.n, 1);
    cr_assert(has(&problems, ":12", "syntax error"));
}

Test(sup_config, a_key_that_is_there_twice)
{
    load_with("raft = { };\nraft = { };", no_environment);
    cr_assert(has(&problems, ":9", "duplicate setting name"));
}

Test(sup_config, a_file_that_is_not_there)
{
    lm_sup_config_load("/nowhere/node.cfg", no_environment, &config, &problems, &warnings);
    cr_assert_eq(problems.n, 1);
    cr_assert(has(&problems, "/nowhere/node.cfg", "No such file or directory"));
    lm_sup_problems_clear(&problems);
    lm_sup_config_load("/tmp", no_environment, &config, &problems, &warnings);
    cr_assert(has(&problems, "/tmp", "Is a directory"));
}

/* ---- the environment ---- */

Test(sup_config, variables_override_the_file)
{
    const char *environment[] = {"LOCKMGR_NODE=n2",
                                 "LOCKMGR_RAFT_ELECTION_TIMEOUT_MS=400",
                                 "LOCKMGR_REGION_ID=eu",
                                 "LOCKMGR_LISTEN=",
                                 "PATH=/bin",
                                 NULL};
    load_with("raft = { election_timeout_ms = 300; };", environment);
    expect_fine();
    cr_assert_str_eq(config.node, "n2");
    cr_assert_str_eq(config.region_id, "eu");
    cr_assert_eq(config.election_timeout_ms, 400);
    cr_assert_str_eq(config.listen, "127.0.0.1", "an empty variable is none");
    cr_assert_eq(warnings.n, 0);
}

Test(sup_config, what_a_variable_hides_is_still_known)
{
    const char *environment[] = {"LOCKMGR_RAFT_ELECTION_TIMEOUT_MS=400", "LOCKMGR_REGION_ID=eu",
                                 NULL};
    load_with("raft = { election_timeout_ms = 300; heartbeat_interval_ms = 40; };", environment);
    expect_fine();
    for (size_t i = 0; i < lm_sup_n_rows; i++) {
        const char *path = lm_sup_rows[i].path;
        const lm_sup_origin_t *origin = &config.origins[i];
        bool timeout = strcmp(path, "raft.election_timeout_ms") == 0;
        bool interval = strcmp(path, "raft.heartbeat_interval_ms") == 0;
        cr_assert_eq(origin->in_environment, timeout || strcmp(path, "region.id") == 0, "%s", path);
        if (timeout) cr_assert_str_eq(origin->file_value, "300");
        if (interval) cr_assert_str_eq(origin->file_value, "40");
        if (timeout || interval)
            cr_assert_str_eq(strrchr(origin->file_where, ':'), ":8", "%s", origin->file_where);
        if (strncmp(path, "limits.", 7) == 0) cr_assert_eq(*origin->file_where, 0, "%s", path);
    }
}

Test(sup_config, what_is_missing_in_the_file_may_be_a_variable)
{
    const char *environment[] = {"LOCKMGR_NODE=n1", "LOCKMGR_PEER_AUTH=trusted", NULL};
    load_text(DIRS "peers = ( { name = \"n1\"; host = \"a\"; } );", environment);
    expect_fine();
}

Test(sup_config, mistakes_of_variables_name_them)
{
    const char *environment[] = {"LOCKMGR_RAFT_ELECTION_TIMEOUT_MS=1e3",
                                 "LOCKMGR_RAFT_HEARTBEAT_INTERVAL_MS=80",
                                 "LOCKMGR_SERVICE_GRPC_PORT=99999",
                                 "LOCKMGR_SERVICE_REGION_PORT=99999999999999999999",
                                 "LOCKMGR_LISTEN=everywhere",
                                 "LOCKMGR_LOCK_MIN_TIMEOUT_MS=-5",
                                 NULL};
    load_with("", environment);
    cr_assert(has(&problems, "LOCKMGR_RAFT_ELECTION_TIMEOUT_MS", "not \"1e3\""));
    cr_assert(has(&problems, "LOCKMGR_RAFT_HEARTBEAT_INTERVAL_MS", "at most half of"));
    cr_assert(has(&problems, "LOCKMGR_SERVICE_GRPC_PORT", "between 1 and 65535, not 99999"));
    cr_assert(has(&problems, "LOCKMGR_SERVICE_REGION_PORT", "must be a whole number"));
    cr_assert(has(&problems, "LOCKMGR_LISTEN", "must be an IPv4 or IPv6 address"));
    cr_assert(has(&problems, "LOCKMGR_LOCK_MIN_TIMEOUT_MS", "must be a whole number"));
    cr_assert_eq(problems.n, 6);
}

Test(sup_config, a_rule_between_file_and_variable_names_the_variable)
{
    const char *environment[] = {"LOCKMGR_RAFT_ELECTION_TIMEOUT_MS=60", NULL};
    load_with("raft = { heartbeat_interval_ms = 50; };", environment);
    cr_assert(has(&problems, "LOCKMGR_RAFT_ELECTION_TIMEOUT_MS", "at most half of"));
}

/* ---- lists of names ---- */

Test(sup_config, endpoints_are_a_list_of_names)
{
    load_with("actuator = { exposure = { include = [ \"info\", \"health\", \"info\" ]; }; };",
              no_environment);
    expect_fine();
    cr_assert_str_eq(config.actuator_include, "info,health");
    cr_assert_eq(warnings.n, 0);
    load_with("actuator = { exposure = { include = ( \"loggers\" ); }; };", no_environment);
    expect_fine();
    cr_assert_str_eq(config.actuator_include, "loggers");
    cr_assert(has(&warnings, ":8", "without health: /livez"));
}

Test(sup_config, endpoints_that_are_not_there_are_told_by_line)
{
    load_with(
        "actuator = { exposure = { include = [ \"health\",\n  \"heapdump\",\n  \"Info\" ]; };\n"
        "  expose = 1; };",
        no_environment);
    cr_assert(has(&problems, ":9", "include must list one or more of env, health"));
    cr_assert(has(&problems, ":9", "not \"heapdump\""));
    cr_assert(has(&problems, ":10", "not \"Info\""));
    cr_assert(has(&problems, ":11", "actuator.expose is not a known key"));
    cr_assert_eq(problems.n, 3);
}

Test(sup_config, what_is_no_list_of_names)
{
    static const char *const wrong[] = {"\"health\"",     "[ ]", "( )",       "[ 1, 2 ]",
                                        "( { a = 1; } )", "7",   "{ a = 1; }"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[128];
        snprintf(text, sizeof text, "actuator = { exposure = { include = %s; }; };", wrong[i]);
        load_with(text, no_environment);
        cr_assert(has(&problems, ":8", "actuator.exposure.include must be ["), "%s", wrong[i]);
        lm_sup_problems_clear(&problems);
    }
    load_with("actuator = { exposure = [ \"health\" ]; };", no_environment);
    cr_assert(has(&problems, ":8", "actuator.exposure must be a group"));
}

Test(sup_config, a_variable_has_names_with_commas)
{
    const char *good[] = {"LOCKMGR_ACTUATOR_EXPOSURE_INCLUDE=metrics, health ", NULL};
    load_with("actuator = { exposure = { include = [ \"info\" ]; }; };", good);
    expect_fine();
    cr_assert_str_eq(config.actuator_include, "metrics,health");
    const char *bad[] = {"LOCKMGR_ACTUATOR_EXPOSURE_INCLUDE=health,,env\n, ",
                         "LOCKMGR_ACTUATOR_EXPOSURE_EXCLUDE=info", NULL};
    load_with("", bad);
    cr_assert(has(&problems, "LOCKMGR_ACTUATOR_EXPOSURE_INCLUDE", "not \"\""));
    cr_assert(has(&problems, "LOCKMGR_ACTUATOR_EXPOSURE_INCLUDE", "not \"?\""));
    cr_assert_eq(problems.n, 3);
    cr_assert(has(&warnings, "LOCKMGR_ACTUATOR_EXPOSURE_EXCLUDE", "no such setting"));
}

Test(sup_config, variables_that_look_meant_are_warned_of)
{
    const char *environment[] = {"LOCKMGR_RAFT_ELECTON_TIMEOUT_MS=5",
                                 "LOCKMGR_PORT=tcp://10.0.0.1:9090",
                                 "LOCKMGR_SERVICE_HOST=10.0.0.1", "LOCKMGR_ENDPOINTS=a:1", NULL};
    load_with("", environment);
    expect_fine();
    cr_assert_eq(warnings.n, 1);
    cr_assert(has(&warnings, "LOCKMGR_RAFT_ELECTON_TIMEOUT_MS", "no such setting"));
}
