/* Nodes and regions that share a key in plaintext: what proves somebody, and what does not. The
 * tests play the other side with keys of their own. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "frontend_keys.h"
#include "frontend_peers.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"
#include "wire_region.h"

#define KEY "0123456789abcdef0123456789abcdef"
#define OTHER "another key of more than 32 bytes"

static fake_driver_t *driver;
static lm_frontend_clients_t *clients;
static lm_frontend_peers_t *peers;
static lm_frontend_keys_t *mine, *theirs;
static lm_test_host_t *host;
static const char *region_auth, *region_key; /* what the configuration says of regions */

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static lm_tls_keys_t key_list(const char *first, const char *second)
{
    lm_tls_keys_t all = {0};
    const char *const texts[] = {first, second};
    for (size_t i = 0; i < 2 && texts[i]; i++) {
        all.key[i].size = strlen(texts[i]);
        memcpy(all.key[i].bytes, texts[i], all.key[i].size);
        all.n++;
    }
    return all;
}

static lm_frontend_keys_t *make_keys(int seed, const char *first, const char *second)
{
    uint8_t bytes[32];
    memset(bytes, seed, sizeof bytes);
    lm_frontend_keys_t *keys = lm_frontend_keys_new(bytes);
    lm_tls_keys_t all = key_list(first, second);
    lm_frontend_keys_set(keys, &all);
    return keys;
}

static void start(const lm_room_t *room, void *self)
{
    host = lm_test_host_new(room, self);
    lm_bus_node_config_t config = fake_config();
    config.peer_key = b("/key");
    if (region_auth) config.region_peer_auth = b(region_auth);
    if (region_key) config.region_peer_key = b("/region.key");
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
}

static void start_peers(const char *first, const char *second)
{
    driver = fake_driver_new();
    uint8_t seed[32] = {7};
    mine = lm_frontend_keys_new(seed);
    theirs = make_keys(2, KEY, NULL);
    peers = lm_frontend_peers_new(1, 1);
    lm_frontend_peers_set_driver(peers, &driver->face);
    lm_frontend_peers_set_keys(peers, mine);
    start(&lm_frontend_peers_room, peers);
    lm_tls_keys_t all = key_list(first, second);
    fake_event_bytes(host, LM_FRONTEND_PEER_KEYS, NULL, lm_bytes(&all, sizeof all), 0);
    if (region_key) {
        all = key_list(region_key, NULL);
        fake_event_bytes(host, LM_FRONTEND_REGION_KEYS, NULL, lm_bytes(&all, sizeof all), 0);
    }
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
}

static void start_clients(void)
{
    uint64_t seed[2] = {1, 2};
    driver = fake_driver_new();
    mine = make_keys(1, KEY, NULL);
    theirs = make_keys(2, KEY, NULL);
    clients = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(clients, &driver->face);
    lm_frontend_clients_set_keys(clients, mine);
    start(&lm_frontend_clients_room, clients);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
    lm_test_restart_peer(host, LM_LOCK);
}

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&clients);
    lm_frontend_peers_destroy(&peers);
    lm_frontend_keys_destroy(&mine);
    lm_frontend_keys_destroy(&theirs);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_keys, .fini = tear_down, .timeout = 60);

/* ---- links ----------------------------------------------------------------------------------- */

static lm_frontend_agreed_t agreed_of(const char *calling, const char *called, lm_bytes_t one,
                                      lm_bytes_t other)
{
    return (lm_frontend_agreed_t){
        8, {b("link"), b("r"), b(calling), b(called), b("c"), b(""), one, other}};
}

static const uint8_t nonce_bytes[LM_NONCE_BYTES] = {9, 8, 7};
static lm_bytes_t nonce(void) { return lm_bytes(nonce_bytes, sizeof nonce_bytes); }

static void say_hello(fake_handle_t *stream, lm_bytes_t with)
{
    lm_peer_link_hello_t hello = {.version = 1,
                                  .region = b("r"),
                                  .from = b("n2"),
                                  .to = b("n1"),
                                  .cluster_id = b("c"),
                                  .nonce = with};
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                      .hello = &hello};
    fake_receive(driver, host, stream, &lm_peer_link_request_type, &request);
}

static const lm_peer_link_hello_t *hello_of(const fake_handle_t *stream)
{
    cr_assert_eq(stream->n_sent, 1);
    const lm_peer_link_response_t *response =
        fake_decode(driver, &lm_peer_link_response_type, stream->sent[0]);
    return response->hello;
}

static void send_proof(fake_handle_t *stream, lm_bytes_t proof)
{
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_PROOF, .proof = proof};
    fake_receive(driver, host, stream, &lm_peer_link_request_type, &request);
}

/* A link of n2 that has proven itself, and how. */
static fake_handle_t *open_proven(uint8_t proof[LM_TLS_DIGEST_BYTES])
{
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(stream, nonce());
    lm_frontend_agreed_t agreed = agreed_of("n2", "n1", nonce(), hello_of(stream)->nonce);
    lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &agreed, proof);
    send_proof(stream, lm_bytes(proof, LM_TLS_DIGEST_BYTES));
    return stream;
}

static bool frame_arrives(fake_handle_t *stream)
{
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_FRAME,
                                      .frame = b("frame")};
    fake_receive(driver, host, stream, &lm_peer_link_request_type, &request);
    return lm_test_take(host, LM_MSG_PEER_RECEIVE) != NULL;
}

Test(frontend_keys, a_node_proves_itself_and_sees_the_proof_of_the_other)
{
    start_peers(KEY, NULL);
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(stream, nonce());
    const lm_peer_link_hello_t *hello = hello_of(stream);
    lm_frontend_agreed_t agreed = agreed_of("n2", "n1", nonce(), hello->nonce);
    cr_assert_eq(lm_frontend_keys_check(theirs, LM_PROOF_OF_CALLED, &agreed, hello->proof), 0);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &agreed, proof);
    send_proof(stream, lm_bytes(proof, sizeof proof));
    cr_assert(frame_arrives(stream));
}

Test(frontend_keys, a_frame_without_a_proof_is_refused)
{
    start_peers(KEY, NULL);
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(stream, nonce());
    cr_assert(!frame_arrives(stream));
    cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
    stream = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(stream, lm_bytes(NULL, 0));
    cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
    stream = fake_open(driver, host, LM_METHOD_LINK);
    send_proof(stream, nonce());
    cr_assert(stream->finished);
}

/* What a stranger can have: proofs of other streams, of the other side, of other names, and by
 * another key. */
Test(frontend_keys, a_proof_cannot_be_replayed_or_sent_back_or_made_without_the_key)
{
    start_peers(KEY, NULL);
    lm_frontend_keys_t *stranger = make_keys(3, OTHER, NULL);
    fake_handle_t *earlier = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(earlier, nonce());
    lm_frontend_agreed_t before = agreed_of("n2", "n1", nonce(), hello_of(earlier)->nonce);
    for (int way = 0; way < 6; way++) {
        fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
        say_hello(stream, nonce());
        const lm_peer_link_hello_t *hello = hello_of(stream);
        lm_frontend_agreed_t right = agreed_of("n2", "n1", nonce(), hello->nonce);
        lm_frontend_agreed_t wrong = agreed_of("n3", "n1", nonce(), hello->nonce);
        lm_frontend_agreed_t turned = agreed_of("n1", "n2", nonce(), hello->nonce);
        uint8_t proof[LM_TLS_DIGEST_BYTES] = {0};
        lm_bytes_t sent = lm_bytes(proof, sizeof proof);
        if (way == 0) lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &before, proof);
        if (way == 1) sent = hello->proof;
        if (way == 2) lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &wrong, proof);
        if (way == 3) lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &turned, proof);
        if (way == 4) lm_frontend_keys_prove(stranger, LM_PROOF_OF_CALLING, &right, proof);
        if (way == 5) sent = lm_bytes(NULL, 0);
        send_proof(stream, sent);
        cr_assert(stream->finished, "way %d", way);
        cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
        cr_assert(!frame_arrives(stream), "way %d", way);
    }
    lm_frontend_keys_destroy(&stranger);
}

/* A stranger has seen a link come up, and says all of it again, a thousand times. */
Test(frontend_keys, a_recorded_link_is_never_believed_again)
{
    start_peers(KEY, NULL);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    fake_handle_t *good = open_proven(proof);
    cr_assert(frame_arrives(good));
    for (int i = 0; i < 1000; i++) {
        fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
        say_hello(stream, nonce());
        send_proof(stream, lm_bytes(proof, sizeof proof));
        cr_assert(stream->finished, "%d", i);
        cr_assert(!frame_arrives(stream), "%d", i);
        fake_over(host, stream, true);
    }
    cr_assert(frame_arrives(good));
}

/* A stranger's hello ends no link of the node whose name it uses. */
Test(frontend_keys, s24_an_unproven_stream_replaces_no_proven_one)
{
    start_peers(KEY, NULL);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    fake_handle_t *good = open_proven(proof);
    fake_handle_t *forged = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(forged, nonce());
    cr_assert(frame_arrives(good));
    send_proof(forged, lm_bytes(proof, sizeof proof));
    cr_assert(forged->finished);
    cr_assert(frame_arrives(good));
    cr_assert(good->vouched && !forged->vouched);
}

Test(frontend_keys, a_second_key_is_accepted_while_keys_are_changed)
{
    start_peers(OTHER, KEY);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    fake_handle_t *stream = open_proven(proof);
    cr_assert(frame_arrives(stream));
}

/* ---- links to others ------------------------------------------------------------------------- */

/* Answers the newest link that the room has opened, with a proof by these keys. */
static fake_handle_t *answer_link(lm_frontend_keys_t *by)
{
    lm_test_advance(host, 100000);
    fake_handle_t *link = fake_outgoing(driver, LM_METHOD_LINK);
    cr_assert(link && link->n_sent == 1);
    const lm_peer_link_request_t *said =
        fake_decode(driver, &lm_peer_link_request_type, link->sent[0]);
    cr_assert_eq(said->hello->nonce.size, LM_NONCE_BYTES);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_agreed_t agreed = {
        8,
        {b("link"), b("r"), b("n1"), said->hello->to, b(""), b("c"), said->hello->nonce, nonce()}};
    lm_frontend_keys_prove(by, LM_PROOF_OF_CALLED, &agreed, proof);
    lm_peer_link_hello_t hello = {.version = 1,
                                  .region = b("r"),
                                  .from = said->hello->to,
                                  .to = b("n1"),
                                  .cluster_id = b("c"),
                                  .nonce = nonce(),
                                  .proof = lm_bytes(proof, sizeof proof)};
    lm_peer_link_response_t response = {.hello = &hello};
    fake_receive(driver, host, link, &lm_peer_link_response_type, &response);
    return link;
}

Test(frontend_keys, a_link_is_up_when_the_other_has_proven_itself_and_the_own_proof_is_sent)
{
    start_peers(KEY, NULL);
    fake_handle_t *link = answer_link(theirs);
    cr_assert(!link->cancelled);
    cr_assert(lm_test_take(host, LM_MSG_PEER_LINK));
    const lm_peer_link_request_t *sent =
        fake_decode(driver, &lm_peer_link_request_type, link->sent[1]);
    cr_assert_eq((int)sent->body_case, LM_PEER_LINK_REQUEST_BODY_PROOF);
    cr_assert_eq(sent->proof.size, LM_TLS_DIGEST_BYTES);
}

Test(frontend_keys, nothing_is_proven_to_somebody_without_the_key)
{
    start_peers(KEY, NULL);
    lm_frontend_keys_t *stranger = make_keys(3, OTHER, NULL);
    fake_handle_t *link = answer_link(stranger);
    cr_assert(link->cancelled);
    cr_assert_eq(link->n_sent, 1);
    cr_assert_null(lm_test_take(host, LM_MSG_PEER_LINK));
    lm_frontend_keys_destroy(&stranger);
}

/* ---- forwards -------------------------------------------------------------------------------- */

static const lm_frontend_agreed_t session = {1, {{(const uint8_t *)"session", 7}}};

static lm_bytes_t get_forward(const char *identity)
{
    lm_api_get_request_t get = {.name = b("a")};
    lm_peer_call_context_t context = {
        .forwarded = true, .remaining_ms = 1000, .identity = b(identity)};
    lm_peer_lock_call_t call = {
        .request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &get, .context = &context};
    lm_peer_forward_request_t request = {.from = b("n2"), .call = &call, .forward_id = 7};
    return lm_wire_encode(&lm_peer_forward_request_type, &request, driver->arena);
}

static fake_handle_t *come(lm_bytes_t payload)
{
    fake_handle_t *handle = fake_incoming(driver, LM_METHOD_FORWARD);
    fake_event_bytes(host, LM_FRONTEND_CALLED, handle, payload, 0);
    return handle;
}

static void expect_refused(lm_bytes_t payload, const char *what)
{
    fake_handle_t *call = come(payload);
    cr_assert(call->finished && !call->vouched, "%s", what);
    cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED", "%s", what);
    cr_assert_null(lm_test_take(host, LM_MSG_LOCK_CALL), "%s", what);
}

Test(frontend_keys, s12_a_forward_is_taken_once_and_as_it_was_sealed)
{
    start_clients();
    expect_refused(get_forward("alice"), "no seal");
    lm_frontend_keys_open(theirs, b("n1"), true, 0, &session);
    lm_bytes_t early = lm_frontend_keys_seal(theirs, b("n1"), get_forward("alice"), driver->arena);
    expect_refused(early, "no link");
    lm_frontend_keys_open(mine, b("n2"), false, 0, &session);
    lm_bytes_t sealed = lm_frontend_keys_seal(theirs, b("n1"), get_forward("alice"), driver->arena);
    cr_assert(!come(sealed)->finished);
    cr_assert(lm_test_take(host, LM_MSG_LOCK_CALL));
    expect_refused(sealed, "replayed");
    for (size_t i = 0; i < sealed.size; i++) {
        lm_bytes_t fresh =
            lm_frontend_keys_seal(theirs, b("n1"), get_forward("alice"), driver->arena);
        ((uint8_t *)(uintptr_t)fresh.data)[i] ^= 1;
        fake_handle_t *call = come(fresh);
        cr_assert(call->finished, "byte %zu", i);
        cr_assert_null(lm_test_take(host, LM_MSG_LOCK_CALL), "byte %zu", i);
    }
}

Test(frontend_keys, a_call_is_passed_on_only_where_a_link_is_proven)
{
    start_clients();
    lm_api_get_request_t get = {.name = b("a")};
    fake_call(driver, host, LM_METHOD_GET, &get, lm_test_now(host) + 5000000);
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_FORWARD, .leader = b("n2")};
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, sent->correlation, &answer);
    cr_assert_null(fake_outgoing(driver, LM_METHOD_FORWARD));
    lm_frontend_keys_open(mine, b("n2"), true, 0, &session);
    lm_frontend_keys_open(theirs, b("n1"), false, 0, &session);
    lm_test_advance(host, 200000);
    sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(sent);
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, sent->correlation, &answer);
    fake_handle_t *forward = fake_outgoing(driver, LM_METHOD_FORWARD);
    cr_assert(forward);
    cr_assert(lm_frontend_keys_accept(theirs, b("n1"), forward->payload));
}

Test(frontend_keys, numbers_come_in_any_order_within_the_window_and_once)
{
    start_clients();
    enum { N = 3000 };
    static lm_bytes_t all[N];
    lm_frontend_keys_open(theirs, b("n1"), true, 0, &session);
    lm_frontend_keys_open(mine, b("n2"), false, 0, &session);
    for (int i = 0; i < N; i++)
        all[i] = lm_frontend_keys_seal(theirs, b("n1"), b("x"), driver->arena);
    for (int i = 0; i < N; i++)
        cr_assert(lm_frontend_keys_accept(mine, b("n2"), all[(i * 7) % N]), "%d", i);
    for (int i = 0; i < N; i++) cr_assert(!lm_frontend_keys_accept(mine, b("n2"), all[i]), "%d", i);
    for (int i = 0; i < 70000; i++) {
        lm_bytes_t next = lm_frontend_keys_seal(theirs, b("n1"), b("x"), driver->arena);
        if (i == 0) all[0] = next;
        if (i > 0 && i % 1000 == 0) cr_assert(lm_frontend_keys_accept(mine, b("n2"), next));
    }
    cr_assert(!lm_frontend_keys_accept(mine, b("n2"), all[0]), "too old to be known");
}

/* ---- regions --------------------------------------------------------------------------------- */

static lm_region_region_identity_t west(void)
{
    return (lm_region_region_identity_t){
        .region = b("west"), .cluster_id = b("w"), .node = b("w1"), .protocol = 1};
}

static lm_frontend_agreed_t agreed_between(lm_bytes_t other)
{
    return (lm_frontend_agreed_t){
        7, {b("region"), b("west"), b("r"), b("w"), b("w1"), nonce(), other}};
}

static fake_handle_t *greet(lm_bytes_t answered, lm_bytes_t proof)
{
    lm_region_region_identity_t from = west();
    lm_region_hello_request_t request = {
        .from = &from, .nonce = nonce(), .answered = answered, .proof = proof};
    return fake_call(driver, host, LM_METHOD_REGION_HELLO, &request, 0);
}

Test(frontend_keys, a_region_is_greeted_when_it_has_answered_a_challenge_and_once)
{
    start_peers(KEY, NULL);
    lm_bytes_t none = lm_bytes(NULL, 0);
    fake_handle_t *first = greet(none, none);
    cr_assert(first->finished && first->status == 0);
    cr_assert_null(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    const lm_region_hello_response_t *response =
        fake_decode(driver, &lm_region_hello_response_type, first->message);
    cr_assert(!response->from);
    lm_frontend_agreed_t agreed = agreed_between(response->nonce);
    cr_assert_eq(lm_frontend_keys_check(theirs, LM_PROOF_OF_CALLED, &agreed, response->proof), 0);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &agreed, proof);
    fake_handle_t *proven = greet(response->nonce, lm_bytes(proof, sizeof proof));
    cr_assert(!proven->finished && proven->vouched && !first->vouched);
    cr_assert(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    const lm_bytes_t wrong[][2] = {{response->nonce, lm_bytes(proof, sizeof proof)}, /* replayed */
                                   {nonce(), lm_bytes(proof, sizeof proof)},
                                   {response->nonce, response->proof}};
    for (size_t i = 0; i < 3; i++) {
        fake_handle_t *call = greet(wrong[i][0], wrong[i][1]);
        cr_assert(call->finished && !call->vouched);
        cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED", "%zu", i);
        cr_assert_null(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    }
}

/* The room greets a region, which is played with these keys. */
static const lm_bus_region_hello_result_t *greeted(lm_frontend_keys_t *by)
{
    lm_bus_region_self_t self = {.region = b("r"), .cluster_id = b("c"), .node = b("n1")};
    lm_bus_region_hello_out_t out = {.region = b("west"), .host = b("h"), .port = 1, .self = &self};
    lm_test_deliver(host, LM_GATEWAY, LM_MSG_REGION_HELLO_OUT, &out, 0);
    fake_handle_t *call = fake_outgoing(driver, LM_METHOD_REGION_HELLO);
    const lm_region_hello_request_t *said =
        fake_decode(driver, &lm_region_hello_request_type, call->payload);
    lm_frontend_agreed_t agreed = {
        7, {b("region"), b("r"), b("west"), b("c"), b("n1"), said->nonce, nonce()}};
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(by, LM_PROOF_OF_CALLED, &agreed, proof);
    lm_region_hello_response_t challenge = {.nonce = nonce(),
                                            .proof = lm_bytes(proof, sizeof proof)};
    fake_answer(driver, host, call, 0, &lm_region_hello_response_type, &challenge);
    fake_handle_t *second = fake_outgoing(driver, LM_METHOD_REGION_HELLO);
    if (second) {
        said = fake_decode(driver, &lm_region_hello_request_type, second->payload);
        cr_assert_eq(lm_frontend_keys_check(by, LM_PROOF_OF_CALLING, &agreed, said->proof), 0);
        lm_region_region_identity_t from = west();
        lm_region_hello_response_t response = {.from = &from};
        fake_answer(driver, host, second, 0, &lm_region_hello_response_type, &response);
    }
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_REGION_HELLO_RESULT);
    cr_assert(sent);
    return sent->body;
}

Test(frontend_keys, a_region_is_believed_when_it_has_proven_itself)
{
    start_peers(KEY, NULL);
    cr_assert(greeted(theirs)->reachable);
    lm_frontend_keys_t *stranger = make_keys(3, OTHER, NULL);
    cr_assert(!greeted(stranger)->reachable);
    lm_frontend_keys_destroy(&stranger);
}

/* The challenge that the own region gets, as the nonce of the other side. */
static lm_bytes_t challenge_of(void)
{
    lm_bytes_t none = lm_bytes(NULL, 0);
    fake_handle_t *first = greet(none, none);
    const lm_region_hello_response_t *response =
        fake_decode(driver, &lm_region_hello_response_type, first->message);
    return lm_arena_copy(driver->arena, response->nonce);
}

/* Whether the gateway hears of who answers that challenge by the key. */
static bool answer_counts(lm_bytes_t challenge)
{
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_agreed_t agreed = agreed_between(challenge);
    lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &agreed, proof);
    fake_handle_t *call = greet(challenge, lm_bytes(proof, sizeof proof));
    bool heard = lm_test_take(host, LM_MSG_REGION_HELLO_IN) != NULL;
    cr_assert_eq(heard, !call->finished);
    if (!heard) cr_assert_str_eq(fake_reason(driver, call), "UNAUTHENTICATED");
    return heard;
}

/* Whoever reaches the port can ask for challenges without end. */
Test(frontend_keys, a_flood_of_hellos_of_strangers_takes_no_challenge_from_a_region)
{
    start_peers(KEY, NULL);
    lm_bytes_t challenge = challenge_of();
    lm_region_region_identity_t stranger = {.region = b("nowhere")};
    for (uint32_t i = 0; i < 5000; i++) {
        uint8_t bytes[LM_NONCE_BYTES] = {1};
        memcpy(bytes + 1, &i, sizeof i);
        lm_region_hello_request_t hello = {.from = &stranger,
                                           .nonce = lm_bytes(bytes, sizeof bytes)};
        fake_handle_t *call = fake_call(driver, host, LM_METHOD_REGION_HELLO, &hello, 0);
        cr_assert(call->finished && call->status == 0, "%u", i);
        fake_over(host, call, false);
    }
    cr_assert(answer_counts(challenge));
    cr_assert(!answer_counts(challenge), "twice");
}

/* A wrong answer, which anybody can give who has read the challenge on the wire, does not use it
 * up. */
Test(frontend_keys, a_challenge_is_for_its_region_and_nonce_and_outlives_wrong_answers)
{
    start_peers(KEY, NULL);
    lm_bytes_t challenge = challenge_of();
    cr_assert_eq(challenge.size, LM_NONCE_BYTES);
    for (size_t i = 0; i < challenge.size; i++) {
        uint8_t turned[LM_NONCE_BYTES];
        memcpy(turned, challenge.data, sizeof turned);
        turned[i] ^= 1;
        cr_assert(!answer_counts(lm_bytes(turned, sizeof turned)), "byte %zu", i);
    }
    lm_region_region_identity_t other = west();
    other.node = b("w2");
    lm_frontend_agreed_t agreed = agreed_between(challenge);
    agreed.part[4] = other.node;
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(theirs, LM_PROOF_OF_CALLING, &agreed, proof);
    lm_region_hello_request_t hello = {.from = &other,
                                       .nonce = nonce(),
                                       .answered = challenge,
                                       .proof = lm_bytes(proof, sizeof proof)};
    cr_assert(fake_call(driver, host, LM_METHOD_REGION_HELLO, &hello, 0)->finished);
    cr_assert_null(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    cr_assert(answer_counts(challenge));
}

Test(frontend_keys, a_challenge_is_answered_within_some_seconds_or_never)
{
    start_peers(KEY, NULL);
    for (uint64_t second = 0; second < 6; second++) {
        lm_bytes_t early = challenge_of(), late = challenge_of();
        lm_test_advance(host, 4000000);
        cr_assert(answer_counts(early), "%zu", (size_t)second);
        cr_assert(!answer_counts(early), "%zu: twice", (size_t)second);
        lm_test_advance(host, 7000000);
        cr_assert(!answer_counts(early), "%zu: twice, later", (size_t)second);
        cr_assert(!answer_counts(late), "%zu", (size_t)second);
        lm_test_advance(host, 1000000);
    }
}

/* Who has the key can use up its own places only for as long as they are remembered, and no proof
 * counts twice for that. */
Test(frontend_keys, used_challenges_are_not_forgotten_when_there_are_many)
{
    start_peers(KEY, NULL);
    lm_bytes_t first = challenge_of();
    cr_assert(answer_counts(first));
    size_t n = 1;
    while (n < 5000 && answer_counts(challenge_of())) n++;
    cr_assert(n >= 1000 && n < 5000, "%zu", n);
    cr_assert(!answer_counts(first));
    lm_test_advance(host, 10000000);
    cr_assert(!answer_counts(first));
    cr_assert(answer_counts(challenge_of()));
}

/* How a greeting ends whose sender proves itself by these keys: whether the gateway hears of it. */
static bool is_let_in(lm_frontend_keys_t *by)
{
    lm_bytes_t none = lm_bytes(NULL, 0);
    fake_handle_t *first = greet(none, none);
    const lm_region_hello_response_t *response =
        fake_decode(driver, &lm_region_hello_response_type, first->message);
    lm_frontend_agreed_t agreed = agreed_between(response->nonce);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(by, LM_PROOF_OF_CALLING, &agreed, proof);
    greet(response->nonce, lm_bytes(proof, sizeof proof));
    return lm_test_take(host, LM_MSG_REGION_HELLO_IN) != NULL;
}

Test(frontend_keys, regions_with_a_key_of_their_own_prove_that_and_nodes_theirs)
{
    region_key = OTHER;
    start_peers(KEY, NULL);
    lm_frontend_keys_t *region = make_keys(3, OTHER, NULL);
    cr_assert(is_let_in(region));
    cr_assert(!is_let_in(theirs), "the key of nodes is not that of regions");
    cr_assert(greeted(region)->reachable);
    cr_assert(!greeted(theirs)->reachable);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    cr_assert(frame_arrives(open_proven(proof)));
    lm_frontend_keys_t *nodes = theirs;
    theirs = region;
    fake_handle_t *stream = open_proven(proof);
    cr_assert(stream->finished, "the key of regions is not that of nodes");
    theirs = nodes;
    lm_frontend_keys_destroy(&region);
}

Test(frontend_keys, regions_that_are_trusted_prove_nothing_and_nodes_still_do)
{
    region_auth = "trusted";
    start_peers(KEY, NULL);
    lm_bytes_t none = lm_bytes(NULL, 0);
    cr_assert(!greet(none, none)->finished);
    cr_assert(lm_test_take(host, LM_MSG_REGION_HELLO_IN));
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(stream, lm_bytes(NULL, 0));
    cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
    stream = fake_open(driver, host, LM_METHOD_LINK);
    say_hello(stream, nonce());
    cr_assert(!frame_arrives(stream));
}
