/* The supervisor's room on the test host: its hands only take notes. */
#include "sup_room.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "act_test_host.h"
#include "base_arena.h"
#include "sup_config_rows.h"
#include "wire_bus.h"

static struct {
    uint32_t spawned[LM_SUP_CHILDREN]; /* times */
    uint32_t counter[LM_SUP_CHILDREN]; /* of the last start */
    uint32_t killed[LM_SUP_CHILDREN];
    uint32_t shown;
    bool refuse; /* no process to be had */
} notes;

static bool note_spawn(void *arg, size_t child, uint32_t counter)
{
    (void)arg;
    notes.spawned[child]++;
    notes.counter[child] = counter;
    return !notes.refuse;
}

static void note_kill(void *arg, size_t child, const char *why)
{
    (void)arg;
    cr_assert(why);
    notes.killed[child]++;
}

static bool never_blocking(void *arg, size_t child)
{
    (void)arg, (void)child;
    return false;
}

static uint32_t some_pid(void *arg, size_t child)
{
    (void)arg;
    return 100 + (uint32_t)child;
}

static void note_show(void *arg, const lm_sup_room_t *room, uint64_t now_us)
{
    (void)arg, (void)room, (void)now_us;
    notes.shown++;
}

static const lm_sup_hands_t hands = {.spawn = note_spawn,
                                     .kill = note_kill,
                                     .is_blocking = never_blocking,
                                     .pid = some_pid,
                                     .show = note_show};

static lm_sup_config_t config;
static lm_sup_room_t *room;
static lm_test_host_t *host;

static void make_node(uint64_t boot_id)
{
    static const uint32_t counters[LM_SUP_CHILDREN] = {0};
    lm_generation_t self = {.boot_id = boot_id, .counter = 1};
    room = lm_sup_room_new(&config, &hands, self, counters);
    host = lm_test_host_new(&lm_sup_room_definition, room);
}

static void setup(void)
{
    memset(&notes, 0, sizeof notes);
    config = (lm_sup_config_t){.node = "n2",
                               .region_id = "eu",
                               .data_dir = "/data",
                               .run_dir = "/run/x",
                               .listen = "127.0.0.1",
                               .stop_timeout_ms = 10000,
                               .peer_auth = "trusted",
                               .log_level = "info",
                               .log_format = "text",
                               .grpc_port = 9190,
                               .election_timeout_ms = 150,
                               .n_peers = 2,
                               .peers = {{.name = "n2", .host = "b", .grpc_port = 9190},
                                         {.name = "n1", .host = "a", .grpc_port = 9090}}};
    make_node(1);
}

static void teardown(void)
{
    lm_test_host_destroy(&host);
    lm_sup_room_destroy(&room);
}

TestSuite(sup_room, .init = setup, .fini = teardown);

/* ---- a node whose children are well ---- */

static void begin(void) { lm_test_inlet(host, lm_sup_news_new(LM_SUP_BEGIN, NULL)); }

static void hello(lm_participant_t who)
{
    lm_bus_actor_hello_t body = {.pid = 7};
    lm_test_deliver(host, who, LM_MSG_ACTOR_HELLO, &body, 0);
}

static void ready(lm_participant_t who, const char *endpoint)
{
    lm_bus_actor_ready_t body = {.endpoint = lm_bytes_of(endpoint)};
    lm_test_deliver(host, who, LM_MSG_ACTOR_READY, &body, 0);
}

static void forget_sent(void)
{
    while (lm_test_take(host, LM_MSG_NONE)) continue;
}

static void serve(void)
{
    begin();
    for (lm_participant_t who = LM_RAFT; who < LM_PARTICIPANTS; who++) hello(who);
    for (lm_participant_t who = LM_RAFT; who < LM_PARTICIPANTS; who++) ready(who, "ipc:///x");
    cr_assert_eq(lm_restart_mode(lm_sup_room_machine(room)), LM_NODE_SERVING);
    forget_sent();
}

static void die(size_t child, int code, int signal)
{
    lm_sup_death_t death = {.child = child, .code = code, .signal = signal};
    lm_test_inlet(host, lm_sup_news_new(LM_SUP_DEATH, &death));
}

/** Lets time pass in which everybody answers pings. */
static void pass_in_health(uint64_t us)
{
    for (uint64_t end = lm_test_now(host) + us; lm_test_now(host) < end;) {
        lm_test_advance(host, 50000);
        for (const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PING); sent;
             sent = lm_test_take(host, LM_MSG_PING)) {
            const lm_bus_ping_t *ping = sent->body;
            lm_bus_pong_t pong = {.sequence = ping->sequence};
            lm_test_deliver(host, sent->to, LM_MSG_PONG, &pong, 0);
        }
    }
}

/* ---- start ---- */

Test(sup_room, begin_spawns_five)
{
    begin();
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) {
        cr_assert_eq(notes.spawned[i], 1);
        cr_assert_eq(notes.counter[i], 1);
    }
    cr_assert_eq(notes.shown, 1);
}

Test(sup_room, hello_is_answered_with_the_configuration)
{
    begin();
    hello(LM_LOCK);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_START);
    cr_assert(sent && sent->to == LM_LOCK);
    const lm_bus_node_config_t *start = sent->body;
    cr_assert(lm_bytes_equal(start->node, lm_bytes_of("n2")));
    cr_assert(lm_bytes_equal(start->version, lm_bytes_of(LM_VERSION)));
    cr_assert_eq(start->grpc_port, 9190);
    cr_assert_eq(start->election_timeout_ms, 150);
    cr_assert_eq(start->n_peers, 2);
    cr_assert(lm_bytes_equal(start->peers[0].name, lm_bytes_of("n1")), "sorted by name");
    cr_assert_eq(start->n_settings, 0, "for health alone");
    sent = lm_test_take(host, LM_MSG_NODE_MODE);
    cr_assert(sent && sent->to == LM_LOCK);
}

static bool has_setting(const lm_bus_node_config_t *start, const char *name, int32_t source,
                        const char *value, const char *origin)
{
    for (size_t i = 0; i < start->n_settings; i++) {
        const lm_bus_setting_t *one = &start->settings[i];
        if (one->source == source && lm_bytes_equal(one->name, lm_bytes_of(name)))
            return lm_bytes_equal(one->value, lm_bytes_of(value)) &&
                   lm_bytes_equal(one->origin, lm_bytes_of(origin));
    }
    return false;
}

Test(sup_room, health_hears_where_settings_come_from)
{
    teardown();
    size_t port = 0;
    while (strcmp(lm_sup_rows[port].path, "service.grpc_port") != 0) port++;
    config.origins[port] =
        (lm_sup_origin_t){.file_where = "/a.cfg:7", .file_value = "9999", .in_environment = true};
    snprintf(config.peers[1].where, sizeof config.peers[1].where, "/a.cfg:9");
    make_node(1);
    begin();
    hello(LM_HEALTH);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_START);
    cr_assert(sent && sent->to == LM_HEALTH);
    const lm_bus_node_config_t *start = sent->body;
    cr_assert(has_setting(start, "service.grpc_port", LM_BUS_SETTING_SOURCE_DEFAULT, "9090", ""));
    cr_assert(
        has_setting(start, "service.grpc_port", LM_BUS_SETTING_SOURCE_FILE, "9999", "/a.cfg:7"));
    cr_assert(has_setting(start, "service.grpc_port", LM_BUS_SETTING_SOURCE_ENVIRONMENT, "9190",
                          "LOCKMGR_SERVICE_GRPC_PORT"));
    cr_assert(has_setting(start, "peers[1].name", LM_BUS_SETTING_SOURCE_FILE, "n1", "/a.cfg:9"));
    cr_assert(!has_setting(start, "node", LM_BUS_SETTING_SOURCE_DEFAULT, "", ""), "has none");
}

static void fill_text(char *text, size_t size)
{
    memset(text, 'x', size - 1);
    text[size - 1] = '\0';
}

static void fill_origins(void)
{
    for (size_t i = 0; i < lm_sup_n_rows; i++) {
        lm_sup_origin_t *origin = &config.origins[i];
        fill_text(origin->file_where, sizeof origin->file_where);
        fill_text(origin->file_value, sizeof origin->file_value);
        origin->in_environment = true;
        if (lm_sup_rows[i].type != LM_SUP_NUMBER)
            fill_text((char *)&config + lm_sup_rows[i].offset, lm_sup_rows[i].size);
    }
}

Test(sup_room, the_longest_configuration_fits_into_its_message)
{
    teardown();
    fill_origins();
    config.n_peers = LM_SUP_PEERS_MAX;
    for (size_t i = 0; i < LM_SUP_PEERS_MAX; i++) {
        lm_sup_peer_t *peer = &config.peers[i];
        fill_text(peer->name, sizeof peer->name);
        fill_text(peer->host, sizeof peer->host);
        fill_text(peer->where, sizeof peer->where);
    }
    config.n_region_peers = LM_SUP_REGION_PEERS_MAX;
    for (size_t i = 0; i < LM_SUP_REGION_PEERS_MAX; i++) {
        lm_sup_region_peer_t *peer = &config.region_peers[i];
        fill_text(peer->region_id, sizeof peer->region_id);
        fill_text(peer->host, sizeof peer->host);
        fill_text(peer->where, sizeof peer->where);
    }
    make_node(1);
    begin();
    hello(LM_HEALTH);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_START);
    cr_assert(sent);
    lm_arena_t *arena = lm_arena_new();
    lm_bytes_t bytes = lm_wire_encode(&lm_bus_node_config_type, sent->body, arena);
    cr_assert_lt(bytes.size, 131072);
    cr_assert_gt(bytes.size, 65536);
    lm_arena_destroy(&arena);
}

Test(sup_room, who_is_ready_is_announced_with_generation_and_endpoint)
{
    begin();
    hello(LM_RAFT);
    hello(LM_LOCK);
    ready(LM_RAFT, "ipc:///run/x/raft.1");
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PEER_UP);
    cr_assert(sent && sent->to == LM_LOCK);
    const lm_bus_peer_up_t *up = sent->body;
    cr_assert_eq(up->participant, LM_RAFT);
    cr_assert_eq(up->generation->boot_id, 1);
    cr_assert_eq(up->generation->counter, 1);
    cr_assert(lm_bytes_equal(up->endpoint, lm_bytes_of("ipc:///run/x/raft.1")));
    cr_assert_null(lm_test_take(host, LM_MSG_PEER_UP));
}

Test(sup_room, words_of_another_supervisors_children_change_nothing)
{
    teardown();
    make_node(2); /* the test host's participants have boot id 1 */
    begin();
    hello(LM_LOCK);
    ready(LM_LOCK, "ipc:///x");
    cr_assert_null(lm_test_take(host, LM_MSG_START));
    cr_assert_eq(lm_restart_view(lm_sup_room_machine(room), LM_SUP_LOCK).state, LM_CHILD_SPAWNING);
}

Test(sup_room, a_process_that_cannot_be_had_is_asked_for_again)
{
    notes.refuse = true;
    begin();
    notes.refuse = false;
    lm_test_advance(host, 200000);
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) cr_assert_eq(notes.spawned[i], 2);
}

/* ---- life ---- */

Test(sup_room, one_death_restarts_one)
{
    serve();
    uint32_t shown = notes.shown;
    die(LM_SUP_LOCK, 0, 9);
    cr_assert_gt(notes.shown, shown);
    pass_in_health(200000);
    cr_assert_eq(notes.spawned[LM_SUP_LOCK], 2);
    cr_assert_eq(notes.counter[LM_SUP_LOCK], 2);
    cr_assert_eq(notes.spawned[LM_SUP_RAFT], 1);
    cr_assert_eq(lm_test_count(host, LM_MSG_NODE_MODE), 0);
}

Test(sup_room, who_does_not_answer_pings_is_killed)
{
    serve();
    pass_in_health(3000000);
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) cr_assert_eq(notes.killed[i], 0);
    lm_test_advance(host, 1200000);
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) cr_assert_eq(notes.killed[i], 1);
}

Test(sup_room, health_hears_of_the_children_every_second_and_at_changes)
{
    serve();
    pass_in_health(3000000);
    size_t n = lm_test_count(host, LM_MSG_CHILD_TABLE);
    cr_assert(n >= 2 && n <= 4, "%zu", n);
    forget_sent();
    die(LM_SUP_RAFT, 0, 11);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_CHILD_TABLE);
    cr_assert(sent && sent->to == LM_HEALTH);
    const lm_bus_child_table_t *table = sent->body;
    cr_assert_eq(table->n_children, 5);
    cr_assert(lm_bytes_equal(table->children[0].name, lm_bytes_of("raft")));
    cr_assert(lm_bytes_equal(table->children[0].state, lm_bytes_of("waiting")));
    cr_assert_eq(table->children[0].restarts, 1);
    cr_assert_eq(table->children[1].pid, 101);
}

/* ---- the end ---- */

static void ask_to_stop(void) { lm_test_inlet(host, lm_sup_news_new(LM_SUP_STOP, NULL)); }

static void expect_orderly_end(int code)
{
    lm_exit_t told;
    cr_assert_eq(lm_test_count(host, LM_MSG_STOP), 4);
    die(LM_SUP_GATEWAY, 0, 0);
    die(LM_SUP_FRONTEND, 0, 0);
    die(LM_SUP_HEALTH, 0, 0);
    cr_assert_eq(lm_test_count(host, LM_MSG_STOP), 5);
    die(LM_SUP_LOCK, 0, 0);
    if (code == LM_EXIT_OK) die(LM_SUP_RAFT, 0, 0);
    cr_assert(lm_test_has_ended(host, &told));
    cr_assert_eq((int)told, code);
}

Test(sup_room, stop_drains_and_ends_in_order)
{
    serve();
    ask_to_stop();
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_DRAIN);
    cr_assert(sent && sent->to == LM_RAFT);
    cr_assert_eq(((const lm_bus_drain_t *)sent->body)->grace_ms, 2000);
    cr_assert_eq(lm_test_count(host, LM_MSG_NODE_MODE), 6);
    cr_assert_eq(lm_test_count(host, LM_MSG_STOP), 0);
    lm_bus_drained_t drained = {.done = true};
    lm_test_reply(host, LM_RAFT, LM_MSG_DRAINED, sent->correlation, &drained);
    expect_orderly_end(LM_EXIT_OK);
}

Test(sup_room, raft_that_does_not_answer_delays_the_stop_by_two_seconds)
{
    serve();
    ask_to_stop();
    pass_in_health(1900000);
    cr_assert_eq(lm_test_count(host, LM_MSG_STOP), 0);
    pass_in_health(200000);
    expect_orderly_end(LM_EXIT_OK);
}

Test(sup_room, s17_damaged_state_ends_the_node_with_its_code)
{
    serve();
    die(LM_SUP_RAFT, LM_EXIT_DAMAGED, 0);
    expect_orderly_end(LM_EXIT_DAMAGED);
    cr_assert_eq(notes.spawned[LM_SUP_RAFT], 1);
}
