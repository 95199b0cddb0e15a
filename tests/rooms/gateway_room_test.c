/* The region-gateway by messages in and out. */
#include "gateway_room.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "act_test_host.h"
#include "wire_bus.h"

static gateway_t *gateway;
static lm_test_host_t *host;

static void set_up(void)
{
    gateway = gateway_room_new();
    host = lm_test_host_new(gateway_room_definition(), gateway);
    lm_bus_region_peer_config_t west = {
        .region = lm_bytes_of("west"), .host = lm_bytes_of("127.0.0.1"), .port = 9091};
    lm_bus_node_config_t config = {.node = lm_bytes_of("n1"),
                                   .region = lm_bytes_of("east"),
                                   .version = lm_bytes_of("9.9"),
                                   .n_region_peers = 1,
                                   .region_peers = &west};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    gateway_room_destroy(&gateway);
}

TestSuite(gateway_room, .init = set_up, .fini = tear_down);

static void answer(bool reachable, const char *region, const char *cluster)
{
    lm_bus_region_self_t peer = {.region = lm_bytes_of(region),
                                 .cluster_id = lm_bytes_of(cluster),
                                 .version = lm_bytes_of("1")};
    lm_bus_region_hello_result_t result = {.region = lm_bytes_of("west"),
                                           .reachable = reachable,
                                           .round_trip_us = 250,
                                           .peer = reachable ? &peer : NULL,
                                           .problem = lm_bytes_of(reachable ? "" : "refused")};
    lm_test_deliver(host, LM_PEERS, LM_MSG_REGION_HELLO_RESULT, &result, 0);
}

/** State of the last report to health; older ones are taken too. */
static const char *reported_state(void)
{
    static char state[16];
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(host, LM_MSG_STATUS_REPORT))) {
        const lm_bus_status_report_t *report = sent->body;
        snprintf(state, sizeof state, "%.*s", LM_BYTES_ARG(report->state));
        const lm_bus_metric_t *last = &report->metrics[report->n_metrics - 1];
        cr_assert(lm_bytes_equal(last->labels[0].value, lm_bytes_of("gateway")));
    }
    return state;
}

Test(gateway_room, is_ready_at_once_and_says_hello_every_second)
{
    cr_assert(lm_test_is_ready(host));
    lm_test_advance(host, 1);
    const lm_test_sent_t *hello = lm_test_take(host, LM_MSG_REGION_HELLO_OUT);
    cr_assert_not_null(hello);
    const lm_bus_region_hello_out_t *body = hello->body;
    cr_assert_eq(body->port, 9091);
    cr_assert(lm_bytes_equal(body->self->region, lm_bytes_of("east")));
    lm_test_advance(host, 2000000);
    cr_assert_eq(lm_test_count(host, LM_MSG_REGION_HELLO_OUT), 0, "one at a time");
    answer(true, "west", "c1");
    lm_test_advance(host, 1000000);
    cr_assert_eq(lm_test_count(host, LM_MSG_REGION_HELLO_OUT), 1);
}

Test(gateway_room, a_lost_hello_is_sent_again)
{
    lm_test_advance(host, 6000000);
    cr_assert_geq(lm_test_count(host, LM_MSG_REGION_HELLO_OUT), 2);
}

Test(gateway_room, an_unreachable_region_is_unknown_and_a_reachable_one_up)
{
    lm_test_advance(host, 1);
    cr_assert_str_eq(reported_state(), "UNKNOWN");
    answer(true, "west", "c1");
    cr_assert_str_eq(reported_state(), "UP");
    const lm_test_sent_t *sent, *last = NULL;
    while ((sent = lm_test_take(host, LM_MSG_REGION_TABLE))) last = sent;
    const lm_bus_region_table_t *table = last->body;
    cr_assert_eq(table->n_regions, 1);
    cr_assert(table->regions[0].reachable);
    cr_assert_eq(table->regions[0].round_trip_us, 250);
    answer(false, "", "");
    cr_assert_str_eq(reported_state(), "UNKNOWN");
}

Test(gateway_room, silence_makes_a_region_unreachable)
{
    lm_test_advance(host, 1);
    answer(true, "west", "c1");
    lm_test_advance(host, 8000000);
    cr_assert_str_eq(reported_state(), "UNKNOWN");
}

Test(gateway_room, another_region_or_cluster_behind_the_address_is_not_reachable)
{
    lm_test_advance(host, 1);
    answer(true, "north", "c1");
    cr_assert_str_eq(reported_state(), "UNKNOWN");
    answer(true, "west", "c1");
    cr_assert_str_eq(reported_state(), "UP");
    answer(true, "west", "c2");
    cr_assert_str_eq(reported_state(), "UNKNOWN");
}

static lm_rc_t hello_from(const char *region, const char *cluster)
{
    lm_bus_region_self_t peer = {.region = lm_bytes_of(region), .cluster_id = lm_bytes_of(cluster)};
    lm_bus_region_hello_in_t hello = {.peer = &peer};
    lm_test_deliver(host, LM_PEERS, LM_MSG_REGION_HELLO_IN, &hello, 0);
    const lm_bus_region_hello_answer_t *reply =
        lm_test_take(host, LM_MSG_REGION_HELLO_ANSWER)->body;
    return (lm_rc_t)reply->code;
}

Test(gateway_room, only_configured_regions_of_the_known_cluster_are_answered)
{
    cr_assert_eq(hello_from("west", "c1"), LM_RC_OK);
    cr_assert_eq(hello_from("south", "c1"), LM_RC_UNKNOWN_PEER);
    cr_assert_eq(hello_from("west", "c2"), LM_RC_WRONG_CLUSTER);
    cr_assert_eq(hello_from("west", ""), LM_RC_OK, "a region that is not formed yet has no id");
}

Test(gateway_room, a_new_health_actor_hears_the_status_at_once)
{
    cr_assert_eq(lm_test_told_to_new_health(host), 1);
}
