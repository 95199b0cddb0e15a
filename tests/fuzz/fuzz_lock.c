/* A lock actor that leads and serves, between an honest raft and frontends that hand on whatever
 * other nodes have sent: calls of any bytes, and calls made of a few. */
#include <stdio.h>

#include "fuzz_raw.h"
#include "fuzz_target.h"
#include "lock_room.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { STEPS_MAX = 64 };

typedef struct {
    fuzz_input_t in;
    lm_lock_room_t *room;
    lm_test_host_t *host;
    uint64_t index, term, correlation;
    uint32_t clients;
    bool refuses;
} story_t;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

/* ---- an honest raft -------------------------------------------------------------------------- */

static void commit(story_t *s, const lm_test_sent_t *sent)
{
    const lm_bus_propose_t *propose = sent->body;
    lm_bus_proposed_t proposed = {.code = s->refuses ? LM_RC_OVERLOADED : LM_RC_OK};
    proposed.index = s->refuses ? 0 : s->index + 1;
    proposed.term = s->refuses ? 0 : s->term;
    lm_test_reply(s->host, LM_RAFT, LM_MSG_PROPOSED, sent->correlation, &proposed);
    if (s->refuses && !propose->takeover) return;
    if (s->refuses) return;
    lm_bus_committed_entry_t entry = {
        .index = s->index + 1, .term = s->term, .type = 1, .data = propose->entry};
    lm_bus_committed_t body = {.prev_index = s->index,
                               .prev_term = s->index ? s->term : 0,
                               .n_entries = 1,
                               .entries = &entry,
                               .commit_index = s->index + 1};
    s->index++;
    lm_test_deliver(s->host, LM_RAFT, LM_MSG_COMMITTED, &body, 0);
}

static void serve(story_t *s)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(s->host, LM_MSG_NONE))) {
        if (sent->number == LM_MSG_PROPOSE) commit(s, sent);
        if (sent->number == LM_MSG_READ_INDEX) {
            lm_bus_read_index_done_t done = {.index = s->index};
            lm_test_reply(s->host, LM_RAFT, LM_MSG_READ_INDEX_DONE, sent->correlation, &done);
        }
    }
    LM_CHECK(!lm_test_has_ended(s->host, NULL), "the actor has ended");
}

static void draw(void *arg, void *bytes, size_t size)
{
    (void)arg;
    memset(bytes, 7, size);
}

static void start(story_t *s)
{
    lm_bus_node_config_t config = {.node = b("n1"),
                                   .region = b("east"),
                                   .version = b("9.9"),
                                   .lock_default_timeout_ms = 30000,
                                   .lock_min_timeout_ms = 1000,
                                   .lock_max_timeout_ms = 300000,
                                   .waiters_per_lock_max = 8,
                                   .locks_max = 16,
                                   .holds_per_owner_max = 8,
                                   .record_ring_size = 8,
                                   .sessions_max = 100,
                                   .session_window = 4};
    lm_bus_attached_t attached = {.cluster_id = b("c1"), .history_id = b("h1")};
    lm_bus_raft_role_event_t role = {.role = LM_API_RAFT_ROLE_LEADER,
                                     .term = s->term = 1,
                                     .leader = b("n1"),
                                     .cluster_id = b("c1"),
                                     .history_id = b("h1")};
    s->room = lm_lock_room_new((lm_generation_t){.boot_id = 1, .counter = 1}, draw, NULL);
    s->host = lm_test_host_new(lm_lock_room_definition(), s->room);
    s->clients = 1;
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    const lm_test_sent_t *sent = lm_test_take(s->host, LM_MSG_ATTACH);
    LM_CHECK(sent, "no ATTACH");
    lm_test_reply(s->host, LM_RAFT, LM_MSG_ATTACHED, sent->correlation, &attached);
    lm_test_deliver(s->host, LM_RAFT, LM_MSG_RAFT_ROLE, &role, 0);
    serve(s);
    LM_CHECK(lm_lock_room_serves(s->room), "it does not serve");
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void on_raw_call(story_t *s)
{
    fuzz_raw(s->host, lm_lock_room_definition(), LM_CLIENTS, s->clients, LM_MSG_LOCK_CALL,
             ++s->correlation, fuzz_block(&s->in));
}

static void on_call(story_t *s)
{
    static const char *const words[] = {"a", "b", "a/b", "", "1-1", "2-1", "3-2", "x"};
    uint8_t kind = fuzz_u8(&s->in), who = fuzz_u8(&s->in), odd = fuzz_u8(&s->in);
    lm_bytes_t name = b(words[who & 3]), owner = b(words[who >> 2 & 3]),
               id = b(words[who >> 4 & 7]);
    lm_bytes_t hold = odd & 128 ? fuzz_block(&s->in) : b(words[4 + (odd >> 5 & 3)]);
    if (hold.size && !lm_bytes_are_utf8(hold)) hold = b("1-1");
    if (hold.size && memchr(hold.data, 0, hold.size)) hold = b("1-1");
    lm_peer_call_context_t context = {.identity = b(odd & 1 ? "me" : ""),
                                      .stamped = odd & 2,
                                      .stamp = odd & 2 ? fuzz_number(&s->in, odd & 16 ? 8 : 1) : 0,
                                      .seen = odd & 4,
                                      .forwarded = odd & 8,
                                      .remaining_ms = odd & 16 ? fuzz_number(&s->in, 2) : 0};
    lm_api_acquire_request_t acquire = {
        .name = name,
        .owner = owner,
        .request_id = id,
        .mode = odd >> 5 & 3,
        .ttl_ms = odd & 128 ? (int64_t)fuzz_number(&s->in, 8) : 5000,
        .wait_ms = who & 128 ? -1 : odd >> 6};
    lm_api_release_request_t release = {
        .name = name, .owner = owner, .hold_id = hold, .request_id = id};
    lm_api_renew_request_t renew = {name, owner, hold, odd};
    lm_api_cancel_request_t cancel = {.owner = owner, .request_id = id};
    lm_api_get_request_t get = {.name = name};
    lm_api_list_request_t list = {.prefix = name, .page_size = odd, .page_token = hold};
    lm_peer_lock_call_t body = {.context = &context, .request_case = 2 + kind % 6};
    body.acquire = kind % 6 == 0 ? &acquire : NULL;
    body.release = kind % 6 == 1 ? &release : NULL;
    body.renew = kind % 6 == 2 ? &renew : NULL;
    body.cancel = kind % 6 == 3 ? &cancel : NULL;
    body.get = kind % 6 == 4 ? &get : NULL;
    body.list = kind % 6 == 5 ? &list : NULL;
    lm_arena_t *arena = lm_arena_new();
    fuzz_raw(s->host, lm_lock_room_definition(), LM_CLIENTS, s->clients, LM_MSG_LOCK_CALL,
             ++s->correlation, lm_wire_encode(&lm_peer_lock_call_type, &body, arena));
    lm_arena_destroy(&arena);
}

/* Calls about sessions, and calls in them; numbers of sessions are small here, and all secrets are
 * alike. */
static void on_session_call(story_t *s)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    uint8_t kind = fuzz_u8(&s->in), who = fuzz_u8(&s->in), odd = fuzz_u8(&s->in);
    char digits[17], secret[33];
    snprintf(digits, sizeof digits, "%016x", fuzz_u8(&s->in));
    for (int i = 0; i < 32; i++) secret[i] = i % 2 ? '7' : '0';
    secret[32] = 0;
    if (odd & 1) secret[0] = '1';
    lm_bytes_t id = b(digits), name = b(names[who & 3]);
    lm_api_session_part_t part = {
        .session_id = id, .secret = b(secret), .request_number = who >> 4, .done_below = odd >> 4};
    lm_bytes_t request_id = b(part.request_number ? "" : "1");
    lm_bytes_t hold = lm_bytes_of(odd & 2 ? "2-1" : "3-0");
    lm_api_acquire_request_t acquire = {.name = name,
                                        .request_id = request_id,
                                        .mode = odd >> 5 & 1,
                                        .wait_ms = who & 8 ? -1 : odd >> 6,
                                        .session = &part};
    lm_api_release_request_t release = {
        .name = name, .hold_id = hold, .request_id = request_id, .session = &part};
    lm_api_cancel_request_t cancel = {.request_id = request_id, .session = &part};
    lm_api_open_session_request_t open = {
        .client = name, .request_id = b("1"), .ttl_ms = odd & 128 ? 1000 * odd : 1000};
    lm_api_keep_alive_request_t keep = {
        .session_id = id, .secret = b(secret), .done_below = odd >> 4};
    lm_api_close_session_request_t close = {.session_id = id, .secret = b(secret)};
    lm_api_get_session_request_t get = {.session_id = id};
    lm_api_list_sessions_request_t list = {.page_size = who & 3,
                                           .page_token = odd & 4 ? id : b("")};
    static const int32_t cases[] = {8, 9, 10, 11, 12, 2, 3, 5};
    lm_peer_call_context_t context = {.remaining_ms = odd & 16 ? 500 : 0};
    lm_peer_lock_call_t body = {.context = &context, .request_case = cases[kind & 7]};
    body.open_session = (kind & 7) == 0 ? &open : NULL;
    body.keep_alive = (kind & 7) == 1 ? &keep : NULL;
    body.close_session = (kind & 7) == 2 ? &close : NULL;
    body.get_session = (kind & 7) == 3 ? &get : NULL;
    body.list_sessions = (kind & 7) == 4 ? &list : NULL;
    body.acquire = (kind & 7) == 5 ? &acquire : NULL;
    body.release = (kind & 7) == 6 ? &release : NULL;
    body.cancel = (kind & 7) == 7 ? &cancel : NULL;
    lm_arena_t *arena = lm_arena_new();
    fuzz_raw(s->host, lm_lock_room_definition(), LM_CLIENTS, s->clients, LM_MSG_LOCK_CALL,
             ++s->correlation, lm_wire_encode(&lm_peer_lock_call_type, &body, arena));
    lm_arena_destroy(&arena);
}

static void on_gone(story_t *s)
{
    lm_bus_listener_gone_t gone = {.correlation = fuzz_u8(&s->in)};
    lm_test_deliver(s->host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &gone, 0);
}

static void on_undelivered(story_t *s)
{
    lm_bus_answer_undelivered_t body = {.correlation = fuzz_u8(&s->in)};
    lm_test_deliver(s->host, LM_CLIENTS, LM_MSG_ANSWER_UNDELIVERED, &body, 0);
}

static void on_advance(story_t *s) { lm_test_advance(s->host, fuzz_number(&s->in, 3)); }

static void on_clients_restart(story_t *s)
{
    lm_test_restart_peer(s->host, LM_CLIENTS);
    s->clients++;
}

static void on_refuse(story_t *s) { s->refuses = fuzz_u8(&s->in) & 1; }

static void on_status(story_t *s)
{
    fuzz_raw(s->host, lm_lock_room_definition(), LM_CLIENTS, s->clients, LM_MSG_STATUS_QUERY,
             ++s->correlation, fuzz_block(&s->in));
}

static void (*const steps[])(story_t *) = {
    on_raw_call,        on_call,   on_gone,   on_undelivered, on_advance,
    on_clients_restart, on_refuse, on_status, on_call,        on_session_call};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    story_t s = {.in = {lm_bytes(data, size)}};
    start(&s);
    for (int i = 0; i < STEPS_MAX && s.in.left.size; i++) {
        steps[fuzz_u8(&s.in) % (sizeof steps / sizeof *steps)](&s);
        serve(&s);
        if (i % 8 == 0) lm_lock_room_verify(s.room);
    }
    lm_lock_room_verify(s.room);
    lm_test_host_destroy(&s.host);
    lm_lock_room_destroy(&s.room);
    return 0;
}
