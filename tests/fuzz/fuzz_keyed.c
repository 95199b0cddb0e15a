/* The peers room where nodes and regions share a key (peer_key): challenges, proofs and seals, as
 * any bytes and as they should be. The story has the key as well, so that what lies behind a proof
 * is reached too.
 *
 * Invariants
 *   FK1  No frame is handed to raft but from a link on which this story has sent a good proof, no
 *        link is up but one that it has answered with a good proof, and the same holds for
 *        greetings of regions in both directions.
 *   FK2  A sealed message is accepted once and as it was sealed; any other bytes never. */
#include <string.h>

#include "frontend_fake_driver.h"
#include "frontend_keys.h"
#include "frontend_peers.h"
#include "fuzz_target.h"
#include "wire_bus.h"
#include "wire_peer.h"
#include "wire_region.h"

enum { STEPS_MAX = 40, PROOF_BYTES = LM_TLS_DIGEST_BYTES };

typedef struct {
    fuzz_input_t in;
    fake_driver_t *driver;
    lm_frontend_peers_t *room;
    lm_test_host_t *host;
    lm_frontend_keys_t *mine, *theirs;
    const fake_handle_t *proven[STEPS_MAX]; /* links that have sent a good proof */
    size_t n_proven;
    const fake_handle_t *spoke;            /* the link that has sent something in this step */
    bool link_answered, greeted, answered; /* well, in this step */
    bool region_proven;                    /* by the last first answer */
} story_t;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static lm_tls_keys_t key_list(void)
{
    lm_tls_keys_t all = {.n = 1, .key = {{.size = 32}}};
    memset(all.key[0].bytes, 'k', all.key[0].size);
    return all;
}

static void start(story_t *s)
{
    uint8_t seeds[2][32] = {{1}, {2}};
    lm_tls_keys_t all = key_list();
    lm_bus_node_config_t config = fake_config();
    config.peer_key = b("/key");
    s->driver = fake_driver_new();
    s->mine = lm_frontend_keys_new(seeds[0]);
    s->theirs = lm_frontend_keys_new(seeds[1]);
    lm_frontend_keys_set(s->theirs, &all);
    s->room = lm_frontend_peers_new(6, 1);
    lm_frontend_peers_set_driver(s->room, &s->driver->face);
    lm_frontend_peers_set_keys(s->room, s->mine);
    s->host = lm_test_host_new(&lm_frontend_peers_room, s->room);
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event_bytes(s->host, LM_FRONTEND_PEER_KEYS, NULL, lm_bytes(&all, sizeof all), 0);
    fake_event(s->host, LM_FRONTEND_LISTENING, NULL);
    lm_test_advance(s->host, 100000);
}

static fake_handle_t *some(story_t *s, lm_frontend_method_id_t method, bool incoming)
{
    size_t from = fuzz_u8(&s->in);
    for (size_t i = 0; i < s->driver->n_handles; i++) {
        fake_handle_t *fake = s->driver->handles[(from + i) % s->driver->n_handles];
        bool open = !fake->dropped && !fake->finished && !fake->cancelled;
        if (open && fake->handle.incoming == incoming && fake->handle.method->id == method)
            return fake;
    }
    return NULL;
}

/* 32 bytes of the input. */
static lm_bytes_t nonce_from(story_t *s)
{
    uint8_t *nonce = lm_arena_alloc(s->driver->arena, LM_NONCE_BYTES);
    lm_bytes_t taken = fuzz_take(&s->in, LM_NONCE_BYTES);
    if (taken.size) memcpy(nonce, taken.data, taken.size);
    return lm_bytes(nonce, LM_NONCE_BYTES);
}

/* A proof: a good one if the input says so, else one with a bit turned, or any bytes. */
static lm_bytes_t proof_from(story_t *s, lm_frontend_part_t part,
                             const lm_frontend_agreed_t *agreed, bool *good)
{
    uint8_t how = fuzz_u8(&s->in), *proof = lm_arena_alloc(s->driver->arena, PROOF_BYTES);
    *good = how % 4 < 2;
    if (how % 4 == 3) return fuzz_block(&s->in);
    lm_frontend_keys_prove(s->theirs, part, agreed, proof);
    if (how % 4 == 2) proof[how / 8] ^= (uint8_t)(1U << how % 8);
    return lm_bytes(proof, PROOF_BYTES);
}

/* ---- links that come in ---------------------------------------------------------------------- */

static void on_hello(story_t *s)
{
    lm_bytes_t nonce = nonce_from(s);
    lm_peer_link_hello_t hello = {.version = 1,
                                  .region = b("r"),
                                  .from = b("n2"),
                                  .to = b("n1"),
                                  .cluster_id = b("c"),
                                  .nonce = lm_bytes(nonce.data, fuzz_u8(&s->in) ? nonce.size : 7)};
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                      .hello = &hello};
    fake_handle_t *link = fake_open(s->driver, s->host, LM_METHOD_LINK);
    link->payload = lm_arena_copy(s->driver->arena, nonce);
    fake_receive(s->driver, s->host, link, &lm_peer_link_request_type, &request);
}

static void on_proof(story_t *s)
{
    fake_handle_t *link = some(s, LM_METHOD_LINK, true);
    if (!link || link->n_sent == 0 || link->payload.size == 0) return;
    const lm_peer_link_response_t *said =
        fake_decode(s->driver, &lm_peer_link_response_type, link->sent[0]);
    lm_frontend_agreed_t agreed = {
        8, {b("link"), b("r"), b("n2"), b("n1"), b("c"), b(""), link->payload, said->hello->nonce}};
    bool good;
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_PROOF,
                                      .proof = proof_from(s, LM_PROOF_OF_CALLING, &agreed, &good)};
    if (good) s->proven[s->n_proven++] = link;
    fake_receive(s->driver, s->host, link, &lm_peer_link_request_type, &request);
    LM_CHECK(good || link->finished, "a wrong proof is not refused");
}

static void on_said(story_t *s)
{
    fake_handle_t *link = some(s, LM_METHOD_LINK, true);
    lm_bytes_t bytes = fuzz_block(&s->in);
    if (!link) link = fake_open(s->driver, s->host, LM_METHOD_LINK);
    s->spoke = link;
    if (!link->finished) fake_receive_bytes(s->host, link, bytes);
}

static void on_frame(story_t *s)
{
    fake_handle_t *link = some(s, LM_METHOD_LINK, true);
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_FRAME,
                                      .frame = fuzz_block(&s->in)};
    s->spoke = link;
    if (link) fake_receive(s->driver, s->host, link, &lm_peer_link_request_type, &request);
}

/* ---- links to others ------------------------------------------------------------------------- */

static void on_answer(story_t *s)
{
    fake_handle_t *link = some(s, LM_METHOD_LINK, false);
    if (!link || link->n_sent == 0) return;
    const lm_peer_link_request_t *said =
        fake_decode(s->driver, &lm_peer_link_request_type, link->sent[0]);
    lm_bytes_t nonce = nonce_from(s);
    lm_frontend_agreed_t agreed = {
        8, {b("link"), b("r"), b("n1"), said->hello->to, b(""), b("c"), said->hello->nonce, nonce}};
    lm_peer_link_hello_t hello = {
        .version = 1,
        .region = b("r"),
        .from = said->hello->to,
        .to = b("n1"),
        .cluster_id = b("c"),
        .nonce = nonce,
        .proof = proof_from(s, LM_PROOF_OF_CALLED, &agreed, &s->link_answered)};
    lm_peer_link_response_t response = {.hello = &hello};
    fake_receive(s->driver, s->host, link, &lm_peer_link_response_type, &response);
}

static void on_heard(story_t *s)
{
    fake_handle_t *link = some(s, LM_METHOD_LINK, false);
    lm_bytes_t bytes = fuzz_block(&s->in);
    if (link) fake_receive_bytes(s->host, link, bytes);
}

/* ---- regions --------------------------------------------------------------------------------- */

static fake_handle_t *greet(story_t *s, const lm_region_hello_request_t *request)
{
    return fake_call(s->driver, s->host, LM_METHOD_REGION_HELLO, request, 0);
}

static void on_region(story_t *s)
{
    lm_bytes_t none = lm_bytes(NULL, 0), nonce = nonce_from(s);
    lm_region_region_identity_t from = {
        .region = b("west"), .cluster_id = b("w"), .node = b("w1"), .protocol = 1};
    lm_region_hello_request_t request = {&from, nonce, none, none};
    fake_handle_t *first = greet(s, &request);
    LM_CHECK(first->finished && first->status == 0, "no challenge");
    const lm_region_hello_response_t *challenge =
        fake_decode(s->driver, &lm_region_hello_response_type, first->message);
    lm_frontend_agreed_t agreed = {
        7, {b("region"), b("west"), b("r"), b("w"), b("w1"), nonce, challenge->nonce}};
    request.answered = challenge->nonce;
    request.proof = proof_from(s, LM_PROOF_OF_CALLING, &agreed, &s->greeted);
    if (request.proof.size == 0) return; /* that is a first call again */
    greet(s, &request);
    LM_CHECK(lm_test_count(s->host, LM_MSG_REGION_HELLO_IN) == s->greeted, "a greeting");
    greet(s, &request); /* a second time it is nobody's */
    LM_CHECK(lm_test_count(s->host, LM_MSG_REGION_HELLO_IN) == s->greeted, "a replay");
}

static void on_any_region(story_t *s)
{
    lm_bytes_t payload = fuzz_block(&s->in);
    fake_handle_t *call = fake_incoming(s->driver, LM_METHOD_REGION_HELLO);
    fake_event_bytes(s->host, LM_FRONTEND_CALLED, call, payload, 0);
}

static void on_greet(story_t *s)
{
    lm_bus_region_self_t self = {.region = b("r"), .cluster_id = b("c"), .node = b("n1")};
    lm_bus_region_hello_out_t out = {.region = b("west"), .host = b("h"), .port = 1, .self = &self};
    lm_test_deliver(s->host, LM_GATEWAY, LM_MSG_REGION_HELLO_OUT, &out, 0);
}

/* Whether it is a second call, which is made to a region that has proven itself. */
static bool note_call(const story_t *s, const lm_region_hello_request_t *said)
{
    LM_CHECK(said->proof.size == 0 || s->region_proven, "a proof for a stranger");
    return said->proof.size > 0;
}

/* The first answer proves the other region; the second is believed then. */
static void on_greeted(story_t *s)
{
    fake_handle_t *call = some(s, LM_METHOD_REGION_HELLO, false);
    if (!call) return;
    const lm_region_hello_request_t *said =
        fake_decode(s->driver, &lm_region_hello_request_type, call->payload);
    lm_bytes_t nonce = nonce_from(s);
    lm_frontend_agreed_t agreed = {
        7, {b("region"), b("r"), b("west"), b("c"), b("n1"), said->nonce, nonce}};
    lm_region_region_identity_t from = {.region = b("west"), .cluster_id = b("w")};
    bool good;
    lm_region_hello_response_t response = {
        .nonce = nonce, .proof = proof_from(s, LM_PROOF_OF_CALLED, &agreed, &good)};
    s->answered = note_call(s, said);
    if (s->answered) response.from = &from;
    s->region_proven = !s->answered && good;
    fake_answer(s->driver, s->host, call, 0, &lm_region_hello_response_type, &response);
}

static void on_any_answer(story_t *s)
{
    fake_handle_t *call = some(s, LM_METHOD_REGION_HELLO, false);
    lm_bytes_t payload = fuzz_block(&s->in);
    if (!call) return;
    const lm_region_hello_request_t *said =
        fake_decode(s->driver, &lm_region_hello_request_type, call->payload);
    s->answered = note_call(s, said);
    s->region_proven = false;
    fake_event_bytes(s->host, LM_FRONTEND_ANSWERED, call, payload, 0);
}

/* ---- seals ----------------------------------------------------------------------------------- */

static void on_seal(story_t *s)
{
    static const lm_frontend_agreed_t session = {1, {{(const uint8_t *)"session", 7}}};
    lm_frontend_keys_open(s->theirs, b("n1"), true, 0, &session);
    lm_frontend_keys_open(s->mine, b("n2"), false, 0, &session);
    lm_bytes_t sealed =
        lm_frontend_keys_seal(s->theirs, b("n1"), fuzz_block(&s->in), s->driver->arena);
    size_t at = (size_t)fuzz_number(&s->in, 2);
    uint8_t turned = fuzz_u8(&s->in);
    lm_bytes_t any = fuzz_block(&s->in);
    LM_CHECK(!lm_frontend_keys_accept(s->mine, b("n2"), any), "any bytes are a seal");
    ((uint8_t *)(uintptr_t)sealed.data)[at % sealed.size] ^= turned;
    bool accepted = lm_frontend_keys_accept(s->mine, b("n2"), sealed);
    LM_CHECK(accepted == (turned == 0), "byte %zu of %zu", at % sealed.size, sealed.size);
    LM_CHECK(!lm_frontend_keys_accept(s->mine, b("n2"), sealed), "twice");
}

static void on_advance(story_t *s) { lm_test_advance(s->host, fuzz_number(&s->in, 3)); }

static void on_over(story_t *s)
{
    fake_handle_t *handle = some(s, LM_METHOD_LINK, fuzz_u8(&s->in) & 1);
    if (!handle) return;
    if (handle->handle.incoming)
        fake_over(s->host, handle, false);
    else
        fake_event_bytes(s->host, LM_FRONTEND_ANSWERED, handle, lm_bytes(NULL, 0), 14);
}

static void (*const steps[])(story_t *) = {
    on_hello,      on_proof, on_frame,   on_said,       on_answer, on_heard,   on_region,
    on_any_region, on_greet, on_greeted, on_any_answer, on_seal,   on_advance, on_over,
};

static bool is_proven(const story_t *s, const fake_handle_t *link)
{
    for (size_t i = 0; i < s->n_proven; i++)
        if (s->proven[i] == link) return true;
    return false;
}

static void check(story_t *s)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(s->host, LM_MSG_NONE)) != NULL) {
        if (sent->number == LM_MSG_PEER_RECEIVE)
            LM_CHECK(is_proven(s, s->spoke), "a frame of a stranger");
        if (sent->number == LM_MSG_PEER_LINK)
            LM_CHECK(!((const lm_bus_peer_link_t *)sent->body)->up || s->link_answered,
                     "a link to a stranger");
        if (sent->number == LM_MSG_REGION_HELLO_IN)
            LM_CHECK(s->greeted, "a greeting of a stranger");
        if (sent->number == LM_MSG_REGION_HELLO_RESULT)
            LM_CHECK(!((const lm_bus_region_hello_result_t *)sent->body)->reachable || s->answered,
                     "a stranger is a region");
    }
}

static void end(story_t *s)
{
    fake_end_all(s->driver, s->host);
    lm_test_host_destroy(&s->host);
    lm_frontend_peers_destroy(&s->room);
    lm_frontend_keys_destroy(&s->mine);
    lm_frontend_keys_destroy(&s->theirs);
    fake_driver_destroy(&s->driver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    story_t s = {.in = {lm_bytes(data, size)}};
    start(&s);
    check(&s);
    for (int i = 0; i < STEPS_MAX && s.in.left.size; i++) {
        s.spoke = NULL;
        s.link_answered = s.greeted = s.answered = false;
        steps[fuzz_u8(&s.in) % (sizeof steps / sizeof *steps)](&s);
        check(&s);
    }
    end(&s);
    return 0;
}
