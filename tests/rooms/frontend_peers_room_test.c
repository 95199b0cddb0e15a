/* The peers room against a driver without gRPC: who may speak, in which order, and what is said of
 * links, regions and the own listener. */
#include <criterion/criterion.h>

#include "frontend_fake_driver.h"
#include "frontend_limits.h"
#include "frontend_peers.h"
#include "wire_bus.h"
#include "wire_peer.h"
#include "wire_region.h"

enum { OK = 0, PERMISSION = 7, PRECONDITION = 9, UNAVAILABLE = 14, COUNTER = 6 };

static fake_driver_t *driver;
static lm_frontend_peers_t *room;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static void begin(uint32_t raft_port)
{
    driver = fake_driver_new();
    room = lm_frontend_peers_new(COUNTER, 1);
    lm_frontend_peers_set_driver(room, &driver->face);
    host = lm_test_host_new(&lm_frontend_peers_room, room);
    lm_bus_node_config_t config = fake_config();
    config.listen = b("0.0.0.0");
    config.grpc_port = 9001;
    config.raft_port = raft_port;
    config.n_peers = 2;
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
    lm_test_advance(host, 100000);
}

static void set_up(void) { begin(0); }

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_peers_destroy(&room);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_peers_room, .init = set_up, .fini = tear_down);

static void identify(const char *cluster)
{
    lm_bus_raft_member_t members[] = {{11, b("n1"), b("")}, {22, b("n2"), b("")}};
    lm_bus_raft_identity_t identity = {
        .cluster_id = b(cluster), .server_id = 11, .n_members = 2, .members = members};
    lm_test_deliver(host, LM_RAFT, LM_MSG_RAFT_IDENTITY, &identity, 0);
}

static lm_peer_link_hello_t good_hello(void)
{
    return (lm_peer_link_hello_t){.version = 1,
                                  .region = b("r"),
                                  .from = b("n2"),
                                  .to = b("n1"),
                                  .cluster_id = b("c"),
                                  .server_id = 22};
}

static void say(fake_handle_t *stream, lm_peer_link_hello_t hello)
{
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                      .hello = &hello};
    fake_receive(driver, host, stream, &lm_peer_link_request_type, &request);
}

static void say_frame(fake_handle_t *stream, lm_bytes_t frame)
{
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_FRAME, .frame = frame};
    fake_receive(driver, host, stream, &lm_peer_link_request_type, &request);
}

static fake_handle_t *linked(void)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say(stream, good_hello());
    cr_assert(!stream->finished, "%s", stream->text);
    cr_assert_eq(stream->n_sent, 1);
    return stream;
}

static const lm_bus_peer_receive_t *received(void)
{
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PEER_RECEIVE);
    return sent ? sent->body : NULL;
}

/* ---- links from peers ------------------------------------------------------------------------ */

Test(frontend_peers_room, hello_is_answered_and_frames_are_handed_on_in_order)
{
    identify("c");
    fake_handle_t *stream = linked();
    lm_peer_link_response_t *response =
        fake_decode(driver, &lm_peer_link_response_type, stream->sent[0]);
    cr_assert(lm_bytes_equal(response->hello->from, b("n1")));
    cr_assert(lm_bytes_equal(response->hello->to, b("n2")));
    cr_assert(lm_bytes_equal(response->hello->cluster_id, b("c")));
    cr_assert_eq(response->hello->server_id, 11);
    say_frame(stream, b("first"));
    say_frame(stream, b("second"));
    const lm_bus_peer_receive_t *one = received(), *two = received();
    cr_assert(lm_bytes_equal(one->node, b("n2")) && lm_bytes_equal(one->frame, b("first")));
    cr_assert(lm_bytes_equal(two->frame, b("second")));
    cr_assert_eq(one->epoch, two->epoch);
}

Test(frontend_peers_room, s24_epochs_grow_with_every_stream_and_every_restart)
{
    fake_handle_t *old = linked();
    say_frame(old, b("x"));
    uint64_t first = received()->epoch;
    cr_assert_eq(first >> 32, COUNTER, "a later start of the actor has a greater counter");
    fake_handle_t *next = linked();
    cr_assert(old->finished, "the later stream replaces the earlier one");
    say_frame(old, b("late"));
    cr_assert_null(received(), "nothing of the earlier stream is handed on");
    say_frame(next, b("y"));
    cr_assert_gt(received()->epoch, first);
    fake_over(host, old, false);
    say_frame(next, b("z"));
    cr_assert(received(), "the end of the earlier stream does not touch the later");
    fake_over(host, next, false);
    cr_assert(old->dropped && next->dropped);
    say_frame(linked(), b("again"));
    cr_assert_gt(received()->epoch, first + 1);
}

static void expect_refusal(lm_peer_link_hello_t hello, const char *reason)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say(stream, hello);
    cr_assert(stream->finished);
    cr_assert_str_eq(fake_reason(driver, stream), reason);
    cr_assert_eq(stream->n_sent, 0);
    say_frame(stream, b("x"));
    cr_assert_null(received());
    fake_over(host, stream, true);
    cr_assert(stream->dropped);
}

Test(frontend_peers_room, strangers_and_other_clusters_are_refused)
{
    identify("c");
    lm_peer_link_hello_t hello = good_hello();
    hello.version = 2;
    expect_refusal(hello, "MALFORMED");
    hello = good_hello();
    hello.region = b("elsewhere");
    expect_refusal(hello, "WRONG_CLUSTER");
    hello = good_hello();
    hello.from = b("n3");
    expect_refusal(hello, "UNKNOWN_PEER");
    hello.from = b("n1");
    expect_refusal(hello, "UNKNOWN_PEER");
    hello = good_hello();
    hello.to = b("n2");
    expect_refusal(hello, "UNKNOWN_PEER");
    hello = good_hello();
    hello.cluster_id = b("d");
    expect_refusal(hello, "WRONG_CLUSTER");
    hello = good_hello();
    hello.server_id = 23;
    expect_refusal(hello, "UNKNOWN_PEER");
}

Test(frontend_peers_room, a_node_without_data_may_speak)
{
    lm_peer_link_hello_t hello = good_hello();
    hello.cluster_id = b("");
    hello.server_id = 0;
    identify("c");
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say(stream, hello);
    cr_assert(!stream->finished);
}

Test(frontend_peers_room, links_of_another_cluster_end_when_the_own_one_is_known)
{
    fake_handle_t *stream = linked();
    identify("c");
    cr_assert(!stream->finished);
    identify("d");
    cr_assert(stream->finished);
    cr_assert_str_eq(fake_reason(driver, stream), "WRONG_CLUSTER");
}

Test(frontend_peers_room, frames_before_the_hello_and_garbage_end_a_link)
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say_frame(stream, b("x"));
    cr_assert_str_eq(fake_reason(driver, stream), "MALFORMED");
    stream = fake_open(driver, host, LM_METHOD_LINK);
    fake_receive_bytes(host, stream, lm_bytes("\xff\xff", 2));
    cr_assert_str_eq(fake_reason(driver, stream), "MALFORMED");
    stream = linked();
    say(stream, good_hello());
    cr_assert_str_eq(fake_reason(driver, stream), "MALFORMED");
    stream = fake_open(driver, host, LM_METHOD_LINK);
    lm_test_advance(host, 6000000);
    cr_assert_str_eq(fake_reason(driver, stream), "UNKNOWN_PEER");
    cr_assert_null(received());
}

Test(frontend_peers_room, frames_at_the_limit_pass_and_beyond_it_end_the_link)
{
    fake_handle_t *stream = linked();
    lm_bytes_t frame =
        lm_bytes(lm_arena_alloc(driver->arena, LM_FRAME_BYTES_MAX + 1), LM_FRAME_BYTES_MAX);
    say_frame(stream, frame);
    cr_assert_eq(received()->frame.size, LM_FRAME_BYTES_MAX);
    frame.size++;
    say_frame(stream, frame);
    cr_assert(stream->finished);
    cr_assert_str_eq(fake_reason(driver, stream), "TOO_LARGE");
    cr_assert_null(received());
}

/* ---- links to peers -------------------------------------------------------------------------- */

static fake_handle_t *own_link(void)
{
    fake_handle_t *stream = fake_outgoing(driver, LM_METHOD_LINK);
    for (int i = 0; i < 20 && !stream; i++) {
        lm_test_advance(host, 50000);
        stream = fake_outgoing(driver, LM_METHOD_LINK);
    }
    cr_assert(stream);
    return stream;
}

static void answer_hello(fake_handle_t *stream, lm_peer_link_hello_t hello)
{
    lm_peer_link_response_t response = {.hello = &hello};
    fake_receive(driver, host, stream, &lm_peer_link_response_type, &response);
}

static const lm_bus_peer_link_t *link_event(void)
{
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PEER_LINK);
    return sent ? sent->body : NULL;
}

static void send_frame(const char *node, const char *text)
{
    lm_bus_peer_send_t body = {.node = b(node), .frame = b(text)};
    lm_test_deliver(host, LM_RAFT, LM_MSG_PEER_SEND, &body, 0);
}

static fake_handle_t *link_up(void)
{
    fake_handle_t *stream = own_link();
    answer_hello(stream, good_hello());
    const lm_bus_peer_link_t *link = link_event();
    cr_assert(link && link->up);
    return stream;
}

Test(frontend_peers_room, a_link_is_opened_to_each_peer_but_not_to_itself)
{
    cr_assert_eq(fake_count(driver, LM_METHOD_LINK), 1);
    fake_handle_t *stream = own_link();
    cr_assert_str_eq(stream->target.host, "two");
    cr_assert_eq(stream->target.port, 9102, "its raft_port");
    lm_peer_link_request_t *request =
        fake_decode(driver, &lm_peer_link_request_type, stream->sent[0]);
    cr_assert(lm_bytes_equal(request->hello->from, b("n1")));
    cr_assert(lm_bytes_equal(request->hello->to, b("n2")));
    send_frame("n2", "too early");
    cr_assert_eq(stream->n_sent, 1, "nothing before the hello is answered");
    answer_hello(stream, good_hello());
    const lm_bus_peer_link_t *link = link_event();
    cr_assert(link->up && lm_bytes_equal(link->node, b("n2")));
    cr_assert_eq(link->server_id, 22);
    cr_assert(lm_bytes_equal(link->cluster_id, b("c")));
    send_frame("n2", "one");
    send_frame("n2", "two");
    send_frame("n7", "nobody");
    cr_assert_eq(stream->n_sent, 3);
    request = fake_decode(driver, &lm_peer_link_request_type, stream->sent[2]);
    cr_assert(lm_bytes_equal(request->frame, b("two")));
}

Test(frontend_peers_room, a_broken_link_is_told_and_opened_anew)
{
    fake_handle_t *stream = link_up();
    fake_answer(driver, host, stream, UNAVAILABLE, NULL, NULL);
    cr_assert(stream->dropped);
    const lm_bus_peer_link_t *link = link_event();
    cr_assert(link && !link->up);
    cr_assert_eq(fake_count(driver, LM_METHOD_LINK), 0, "not at once");
    lm_test_advance(host, 600000);
    cr_assert_eq(fake_count(driver, LM_METHOD_LINK), 1);
    link_up();
}

Test(frontend_peers_room, a_peer_that_is_back_is_not_waited_for)
{
    for (int i = 0; i < 4; i++) fake_answer(driver, host, own_link(), UNAVAILABLE, NULL, NULL);
    cr_assert_eq(fake_count(driver, LM_METHOD_LINK), 0, "by now it waits for half a second");
    linked();
    cr_assert_eq(fake_count(driver, LM_METHOD_LINK), 1, "at once");
}

Test(frontend_peers_room, a_peer_that_is_back_is_looked_up_anew)
{
    fake_answer(driver, host, own_link(), UNAVAILABLE, NULL, NULL);
    fake_handle_t *old = own_link();
    lm_test_advance(host, 90000);
    fake_handle_t *stream = linked();
    cr_assert(!old->cancelled, "this one may be about to succeed");
    lm_test_advance(host, 20000);
    old->stalled = true;
    linked();
    cr_assert(stream->finished, "the newer one counts");
    cr_assert(old->cancelled, "this one leads nowhere");
    fake_answer(driver, host, old, UNAVAILABLE, NULL, NULL);
    lm_test_advance(host, 50000);
    link_up();
}

/* Two nodes far from each other knock while the other's hello is on its way. */
Test(frontend_peers_room, a_link_that_has_said_its_hello_is_waited_for)
{
    fake_answer(driver, host, own_link(), UNAVAILABLE, NULL, NULL);
    fake_handle_t *old = own_link();
    lm_test_advance(host, 110000);
    linked();
    cr_assert(!old->cancelled, "it has a connection");
}

Test(frontend_peers_room, a_peer_that_is_back_does_not_hurry_a_name_server)
{
    fake_answer(driver, host, own_link(), UNAVAILABLE, NULL, NULL);
    fake_handle_t *old = own_link();
    lm_test_advance(host, 1100000);
    linked();
    cr_assert(!old->cancelled);
}

Test(frontend_peers_room, a_new_raft_actor_hears_which_links_are_up)
{
    link_up();
    cr_assert_null(link_event());
    lm_test_restart_peer(host, LM_RAFT);
    const lm_bus_peer_link_t *link = link_event();
    cr_assert(link && link->up);
}

Test(frontend_peers_room, wrong_or_missing_answers_end_a_link)
{
    fake_handle_t *stream = own_link();
    lm_peer_link_hello_t hello = good_hello();
    hello.from = b("n1");
    answer_hello(stream, hello);
    cr_assert(stream->cancelled);
    cr_assert_null(link_event());
    fake_answer(driver, host, stream, 1, NULL, NULL);
    stream = own_link();
    lm_test_advance(host, 3000000);
    cr_assert(stream->cancelled, "no answer in time");
}

/* How long a link that gets no connection is waited for; then another one is under way. */
static uint64_t waits_ms(fake_handle_t *stream)
{
    uint64_t ms = 0;
    for (; !stream->cancelled && ms < 60000; ms += 50) lm_test_advance(host, 50000);
    fake_answer(driver, host, stream, 1, NULL, NULL);
    for (int i = 0; i < 40 && !fake_outgoing(driver, LM_METHOD_LINK); i++)
        lm_test_advance(host, 50000);
    return ms;
}

static bool about(uint64_t ms, uint64_t wanted_ms)
{
    return ms + 150 >= wanted_ms && ms <= wanted_ms + 150;
}

Test(frontend_peers_room, a_slow_name_server_gets_more_time_with_each_attempt)
{
    static const uint64_t wanted_ms[] = {3000, 12000, 32000, 32000};
    fake_answer(driver, host, own_link(), 14, NULL, NULL);
    driver->unconnected = true;
    for (size_t i = 0; i < sizeof wanted_ms / sizeof *wanted_ms; i++) {
        uint64_t ms = waits_ms(own_link());
        cr_assert(about(ms, wanted_ms[i]), "%lu instead of %lu", ms, wanted_ms[i]);
    }
    driver->unconnected = false;
    cr_assert(about(waits_ms(own_link()), 2000), "a hello that has been said is answered soon");
    answer_hello(own_link(), good_hello());
    const lm_bus_peer_link_t *link = link_event();
    cr_assert(link && link->up);
}

Test(frontend_peers_room, s20_what_a_peer_does_not_take_is_bounded_and_the_link_restarted)
{
    fake_handle_t *stream = link_up();
    driver->queue_full = true;
    send_frame("n2", "dropped");
    cr_assert_eq(stream->n_sent, 1);
    driver->queue_full = false;
    stream->stalled = true;
    lm_test_advance(host, 3000000);
    cr_assert(stream->cancelled);
    const lm_bus_peer_link_t *link = link_event();
    cr_assert(link && !link->up);
    send_frame("n2", "while ending");
    cr_assert_eq(stream->n_sent, 1);
}

/* ---- regions --------------------------------------------------------------------------------- */

static lm_bus_region_self_t self_of(const char *region)
{
    return (lm_bus_region_self_t){.region = b(region),
                                  .cluster_id = b("k"),
                                  .version = b("1"),
                                  .protocol = 1,
                                  .node = b("x")};
}

static void hello_out(void)
{
    lm_bus_region_self_t self = self_of("r");
    lm_bus_region_hello_out_t body = {
        .region = b("west"), .host = b("west.example"), .port = 9091, .self = &self};
    lm_test_deliver(host, LM_GATEWAY, LM_MSG_REGION_HELLO_OUT, &body, 0);
}

Test(frontend_peers_room, a_region_that_answers_is_reported_with_its_round_trip)
{
    hello_out();
    hello_out();
    cr_assert_eq(fake_count(driver, LM_METHOD_REGION_HELLO), 1, "one at a time");
    fake_handle_t *call = fake_outgoing(driver, LM_METHOD_REGION_HELLO);
    cr_assert_str_eq(call->target.host, "west.example");
    lm_region_region_identity_t identity = {.region = b("west"), .cluster_id = b("w")};
    lm_region_hello_response_t response = {.from = &identity};
    fake_answer(driver, host, call, OK, &lm_region_hello_response_type, &response);
    const lm_bus_region_hello_result_t *result =
        lm_test_take(host, LM_MSG_REGION_HELLO_RESULT)->body;
    cr_assert(result->reachable && lm_bytes_equal(result->region, b("west")));
    cr_assert_eq(result->round_trip_us, 777);
    cr_assert(lm_bytes_equal(result->peer->cluster_id, b("w")));
}

Test(frontend_peers_room, a_region_that_does_not_answer_is_reported_with_the_reason)
{
    hello_out();
    fake_answer(driver, host, fake_outgoing(driver, LM_METHOD_REGION_HELLO), UNAVAILABLE, NULL,
                NULL);
    const lm_bus_region_hello_result_t *result =
        lm_test_take(host, LM_MSG_REGION_HELLO_RESULT)->body;
    cr_assert(!result->reachable && !result->peer);
    cr_assert(lm_bytes_equal(result->problem, b("status 14")));
    hello_out();
    lm_region_hello_response_t empty = {0};
    fake_answer(driver, host, fake_outgoing(driver, LM_METHOD_REGION_HELLO), OK,
                &lm_region_hello_response_type, &empty);
    result = lm_test_take(host, LM_MSG_REGION_HELLO_RESULT)->body;
    cr_assert(!result->reachable && result->problem.size > 0);
}

static fake_handle_t *hello_in(const lm_test_sent_t **asked)
{
    lm_region_region_identity_t identity = {.region = b("west")};
    lm_region_hello_request_t request = {.from = &identity};
    fake_handle_t *call = fake_call(driver, host, LM_METHOD_REGION_HELLO, &request, 0);
    *asked = lm_test_take(host, LM_MSG_REGION_HELLO_IN);
    cr_assert(*asked);
    return call;
}

Test(frontend_peers_room, a_hello_of_a_region_is_the_gateways_to_answer)
{
    const lm_test_sent_t *asked;
    fake_handle_t *call = hello_in(&asked);
    lm_bus_region_self_t self = self_of("r");
    lm_bus_region_hello_answer_t answer = {.self = &self};
    lm_test_reply(host, LM_GATEWAY, LM_MSG_REGION_HELLO_ANSWER, asked->correlation, &answer);
    cr_assert(call->finished);
    cr_assert_eq(call->status, OK);
    lm_region_hello_response_t *response =
        fake_decode(driver, &lm_region_hello_response_type, call->message);
    cr_assert(lm_bytes_equal(response->from->region, b("r")));
    call = hello_in(&asked);
    lm_bus_region_hello_answer_t no = {.code = LM_RC_UNKNOWN_PEER};
    lm_test_reply(host, LM_GATEWAY, LM_MSG_REGION_HELLO_ANSWER, asked->correlation, &no);
    cr_assert_eq(call->status, PERMISSION);
}

Test(frontend_peers_room, a_hello_without_a_gateway_or_a_sender_gets_its_refusal)
{
    const lm_test_sent_t *asked;
    fake_handle_t *call = hello_in(&asked);
    lm_test_advance(host, 2500000);
    cr_assert_eq(call->status, UNAVAILABLE);
    call = fake_call(driver, host, LM_METHOD_REGION_HELLO, NULL, 0);
    cr_assert_str_eq(fake_reason(driver, call), "MALFORMED");
    call = hello_in(&asked);
    fake_over(host, call, false);
    lm_bus_region_hello_answer_t answer = {.code = LM_RC_UNKNOWN_PEER};
    lm_test_reply(host, LM_GATEWAY, LM_MSG_REGION_HELLO_ANSWER, asked->correlation, &answer);
    cr_assert(call->dropped && !call->finished);
}

/* ---- the own listener ------------------------------------------------------------------------ */

static fake_handle_t *check(void)
{
    fake_handle_t *call = fake_outgoing(driver, LM_METHOD_HEALTH_CHECK);
    for (int i = 0; i < 200 && !call; i++) {
        lm_test_advance(host, 50000);
        call = fake_outgoing(driver, LM_METHOD_HEALTH_CHECK);
    }
    cr_assert(call);
    return call;
}

Test(frontend_peers_room, two_failures_in_a_row_of_the_own_listener_end_the_actor)
{
    cr_assert_str_eq(check()->target.host, "127.0.0.1");
    cr_assert_eq(check()->target.port, 9001);
    fake_answer(driver, host, check(), 4, NULL, NULL);
    fake_answer(driver, host, check(), OK, NULL, NULL);
    fake_answer(driver, host, check(), 4, NULL, NULL);
    cr_assert(!lm_test_has_ended(host, NULL));
    fake_answer(driver, host, check(), 4, NULL, NULL);
    lm_exit_t code;
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_TRY_LATER);
}

/* One answers all the time, which is no excuse for the other. */
Test(frontend_peers_room, the_own_listener_of_the_nodes_is_watched_by_itself)
{
    tear_down();
    begin(9092);
    unsigned n_asked = 0;
    for (int i = 0; i < 400 && !lm_test_has_ended(host, NULL); i++) {
        lm_test_advance(host, 50000);
        fake_handle_t *call = fake_outgoing(driver, LM_METHOD_HEALTH_CHECK);
        if (!call) continue;
        bool raft = call->target.port == 9092;
        cr_assert(raft || call->target.port == 9001, "port %u", call->target.port);
        n_asked += raft;
        fake_answer(driver, host, call, raft ? 4 : OK, NULL, NULL);
    }
    lm_exit_t code;
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_TRY_LATER);
    cr_assert_eq(n_asked, 2);
}

Test(frontend_peers_room, s9_who_stood_still_himself_does_not_judge)
{
    fake_answer(driver, host, check(), 4, NULL, NULL);
    lm_test_freeze(host, 3000000);
    lm_test_advance(host, 100000);
    fake_answer(driver, host, check(), 4, NULL, NULL);
    cr_assert(!lm_test_has_ended(host, NULL));
}

Test(frontend_peers_room, stop_ends_all_links_and_waits_for_the_driver)
{
    fake_handle_t *out = link_up();
    fake_handle_t *in = linked();
    lm_bus_stop_t stop = {.grace_ms = 1000};
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_STOP, &stop, 0);
    cr_assert(out->cancelled && in->finished && driver->shut);
    fake_answer(driver, host, out, 1, NULL, NULL);
    lm_test_advance(host, 2000000);
    cr_assert_eq(fake_count(driver, LM_METHOD_LINK), 0, "no new ones");
    fake_event(host, LM_FRONTEND_CLOSED, NULL);
    lm_exit_t code;
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_OK);
}

Test(frontend_peers_room, a_new_health_actor_hears_the_status_at_once)
{
    cr_assert_eq(lm_test_told_to_new_health(host), 1);
}
