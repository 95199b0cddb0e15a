/* Both rooms of the frontend with TLS: what a certificate proves, and what nobody may say without
 * one. */
#include <criterion/criterion.h>

#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "frontend_peers.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"
#include "wire_region.h"

static fake_driver_t *driver;
static lm_frontend_clients_t *clients;
static lm_frontend_peers_t *peers;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

/* Who comes in from now on: the first name is the identity; NULL: somebody without a certificate.
 */
static void come(const char *first, const char *second)
{
    lm_frontend_party_t *party =
        lm_arena_alloc(driver->arena, sizeof *party + 2 * sizeof(lm_bytes_t));
    driver->party = first ? party : NULL;
    if (!first) return;
    party->identity = b(first);
    if (*first) party->names[party->n_names++] = b(first);
    if (second) party->names[party->n_names++] = b(second);
}

static void start(const lm_room_t *room, void *self, const char *client_auth)
{
    host = lm_test_host_new(room, self);
    lm_bus_node_config_t config = fake_config();
    config.tls_ca = b("/ca");
    config.tls_cert = b("/cert");
    config.tls_key = b("/key");
    config.client_auth = b(client_auth);
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
}

static void start_clients(const char *client_auth)
{
    uint64_t seed[2] = {1, 2};
    driver = fake_driver_new();
    clients = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(clients, &driver->face);
    start(&lm_frontend_clients_room, clients, client_auth);
    lm_test_restart_peer(host, LM_LOCK);
    lm_bus_node_mode_t mode = {.mode = LM_BUS_NODE_MODE_MODE_SERVING};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_NODE_MODE, &mode, 0);
}

static void start_peers(void)
{
    driver = fake_driver_new();
    peers = lm_frontend_peers_new(1, 1);
    lm_frontend_peers_set_driver(peers, &driver->face);
    start(&lm_frontend_peers_room, peers, "none");
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&clients);
    lm_frontend_peers_destroy(&peers);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_proof, .fini = tear_down);

static fake_handle_t *acquire(void)
{
    lm_api_acquire_request_t request = {.name = b("a"), .owner = b("me"), .request_id = b("id")};
    return fake_call(driver, host, LM_METHOD_ACQUIRE, &request, lm_test_now(host) + 1000000);
}

/* The identity under which the own lock is asked. */
static void expect_identity(const char *wanted)
{
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(sent);
    lm_bytes_t identity = ((const lm_peer_lock_call_t *)sent->body)->context->identity;
    cr_assert(lm_bytes_equal(identity, b(wanted)), "%.*s", LM_BYTES_ARG(identity));
}

Test(frontend_proof, s11a_the_name_of_the_certificate_is_the_identity)
{
    start_clients("require");
    come("alice", "alice.example");
    acquire();
    expect_identity("alice");
}

Test(frontend_proof, who_bears_no_name_is_refused_where_one_is_required)
{
    start_clients("require");
    come("", NULL);
    fake_handle_t *call = acquire();
    cr_assert(call->finished);
    cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED");
    cr_assert_null(lm_test_take(host, LM_MSG_LOCK_CALL));
}

Test(frontend_proof, a_certificate_may_be_left_out_where_it_is_only_requested)
{
    start_clients("request");
    come(NULL, NULL);
    acquire();
    expect_identity("");
    come("alice", NULL);
    acquire();
    expect_identity("alice");
}

Test(frontend_proof, nobody_asks_who_it_is_where_clients_are_not_authenticated)
{
    start_clients("none");
    come("alice", NULL);
    acquire();
    expect_identity("");
}

static fake_handle_t *forward(const char *from)
{
    lm_api_get_request_t get = {.name = b("a")};
    lm_peer_call_context_t context = {
        .forwarded = true, .remaining_ms = 1000, .identity = b("alice")};
    lm_peer_lock_call_t call = {
        .request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &get, .context = &context};
    lm_peer_forward_request_t request = {.from = b(from), .call = &call, .forward_id = 7};
    return fake_call(driver, host, LM_METHOD_FORWARD, &request, lm_test_now(host) + 1000000);
}

Test(frontend_proof, s12_an_identity_is_passed_on_by_nodes_only)
{
    start_clients("require");
    come("n2", "r");
    cr_assert(forward("n2")->vouched);
    expect_identity("alice");
    const char *const others[] = {"alice", "n3", "", NULL};
    for (size_t i = 0; i < 4; i++) {
        come(others[i], NULL);
        fake_handle_t *call = forward("n2");
        cr_assert(call->finished && !call->vouched);
        cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED");
    }
    cr_assert_null(lm_test_take(host, LM_MSG_LOCK_CALL));
}

static fake_handle_t *link_from(const char *node)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    lm_peer_link_hello_t hello = {
        .version = 1, .region = b("r"), .from = b(node), .to = b("n1"), .cluster_id = b("c")};
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                      .hello = &hello};
    fake_receive(driver, host, stream, &lm_peer_link_request_type, &request);
    return stream;
}

Test(frontend_proof, a_link_belongs_to_the_node_whose_name_the_certificate_bears)
{
    start_peers();
    come("node-2.example", "n2");
    cr_assert(!link_from("n2")->finished);
    const char *const others[] = {"n3", "N2", "n2.example", "", NULL};
    for (size_t i = 0; i < 5; i++) {
        come(others[i], NULL);
        fake_handle_t *stream = link_from("n2");
        cr_assert(stream->finished);
        cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
    }
}

/* Every name of a node is in it, but the authority of nodes has not signed it. */
Test(frontend_proof, a_certificate_of_a_client_speaks_for_no_node_whatever_names_it_bears)
{
    start_peers();
    come("n2", "r");
    ((lm_frontend_party_t *)(uintptr_t)driver->party)->is_client = true;
    fake_handle_t *stream = link_from("n2");
    cr_assert(stream->finished);
    cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
    lm_region_region_identity_t from = {.region = b("r"), .node = b("n2"), .protocol = 1};
    lm_region_hello_request_t request = {.from = &from};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_REGION_HELLO, &request, 0);
    cr_assert(call->finished);
    cr_assert_null(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    tear_down();
    start_clients("require");
    come("n2", "r");
    ((lm_frontend_party_t *)(uintptr_t)driver->party)->is_client = true;
    call = forward("n2");
    cr_assert(call->finished);
    cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED");
    acquire();
    expect_identity("n2");
}

Test(frontend_proof, a_region_is_greeted_only_by_who_bears_its_name)
{
    start_peers();
    lm_region_region_identity_t from = {.region = b("west"), .node = b("n1"), .protocol = 1};
    lm_region_hello_request_t request = {.from = &from};
    come("n1", "south");
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_REGION_HELLO, &request, 0);
    cr_assert(call->finished);
    cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED");
    cr_assert_null(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    come("n1", "west");
    fake_call(driver, host, LM_METHOD_REGION_HELLO, &request, 0);
    cr_assert(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
}

Test(frontend_proof, a_peer_is_called_by_its_name_whatever_its_address)
{
    start_peers();
    lm_test_advance(host, 100000);
    fake_handle_t *link = fake_outgoing(driver, LM_METHOD_LINK);
    cr_assert(link);
    cr_assert(strcmp(link->target.name, "n2") == 0 || strcmp(link->target.name, "n3") == 0);
}
