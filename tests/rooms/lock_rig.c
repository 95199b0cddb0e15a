#include "lock_rig.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_log.h"
#include "crc.h"
#include "lock_limits.h"
#include "wire_command.h"

static lm_bytes_t text(const char *t) { return lm_bytes_of(t); }

/* Secrets of this test: 1, 2, 3 ... in all their bytes. */
static void draw(void *arg, void *bytes, size_t size)
{
    static uint8_t n;
    (void)arg;
    memset(bytes, ++n, size);
}

static rig_t *start(uint32_t counter, bool names)
{
    rig_t *rig = lm_alloc(sizeof *rig);
    memset(rig, 0, sizeof *rig);
    rig->arena = lm_arena_new();
    lm_log_setup("n1", "lock", LM_LOG_ERROR, false);
    rig->room = lm_lock_room_new((lm_generation_t){.boot_id = 1, .counter = counter}, draw, NULL);
    rig->host = lm_test_host_new(lm_lock_room_definition(), rig->room);
    lm_bus_node_config_t config = {.node = text("n1"),
                                   .region = text("east"),
                                   .version = text("9.9"),
                                   .lock_default_timeout_ms = 30000,
                                   .lock_min_timeout_ms = 1000,
                                   .lock_max_timeout_ms = 300000,
                                   .waiters_per_lock_max = 1000,
                                   .locks_max = 10000,
                                   .holds_per_owner_max = 10000,
                                   .record_ring_size = 64,
                                   .sessions_max = 100,
                                   .session_window = 4,
                                   .actuator_lock_names = names};
    lm_test_deliver(rig->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    return rig;
}

rig_t *rig_new(uint32_t counter) { return start(counter, false); }

rig_t *rig_new_named(uint32_t counter) { return start(counter, true); }

void rig_destroy(rig_t **self)
{
    rig_t *rig = *self;
    if (!rig) return;
    lm_test_host_destroy(&rig->host);
    lm_lock_room_destroy(&rig->room);
    for (uint64_t i = 1; i <= rig->n_log; i++) free((void *)rig->log[i].data.data);
    rig_image_free(&rig->taking);
    lm_arena_destroy(&rig->arena);
    free(rig);
    *self = NULL;
}

rig_t *rig_leading(void)
{
    rig_t *rig = rig_new(1);
    rig_attach(rig, false, 0);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 1, "n1");
    rig_settle(rig);
    cr_assert(lm_lock_room_serves(rig->room));
    return rig;
}

/* ---- raft ------------------------------------------------------------------------------------ */

const lm_bus_attach_t *rig_attach(rig_t *rig, bool reset, uint64_t commit_index)
{
    const lm_test_sent_t *sent = lm_test_take(rig->host, LM_MSG_ATTACH);
    cr_assert(sent, "no ATTACH");
    const lm_bus_attach_t *attach = sent->body;
    if (!reset) rig->delivered = attach->applied_index;
    lm_bus_attached_t body = {.reset = reset,
                              .cluster_id = text("c1"),
                              .history_id = text("h1"),
                              .commit_index = commit_index};
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_ATTACHED, sent->correlation, &body);
    return attach;
}

void rig_role(rig_t *rig, lm_api_raft_role_t role, uint64_t term, const char *leader)
{
    lm_bus_raft_role_event_t body = {.role = role,
                                     .term = term,
                                     .leader = text(leader),
                                     .commit_index = rig->delivered,
                                     .last_index = rig->n_log,
                                     .cluster_id = text("c1"),
                                     .history_id = text("h1")};
    rig->term = term;
    lm_test_deliver(rig->host, LM_RAFT, LM_MSG_RAFT_ROLE, &body, 0);
}

static void append(rig_t *rig, uint64_t term, lm_bytes_t data)
{
    cr_assert(rig->n_log + 1 < RIG_LOG_MAX);
    uint8_t *copy = lm_alloc(data.size);
    memcpy(copy, data.data, data.size);
    rig->log[++rig->n_log] =
        (rig_entry_t){.term = term, .type = 1, .data = lm_bytes(copy, data.size)};
}

static const lm_test_sent_t *first_proposal(rig_t *rig)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(rig->host, LM_MSG_PROPOSE))) {
        cr_assert(rig->n_pending < RIG_PENDING_MAX);
        rig->pending[rig->n_pending++] = sent;
    }
    return rig->n_pending ? rig->pending[0] : NULL;
}

static size_t answer_proposals(rig_t *rig, lm_rc_t code)
{
    size_t n = 0;
    const lm_test_sent_t *sent;
    while ((sent = first_proposal(rig))) {
        rig->n_pending--;
        memmove(rig->pending, rig->pending + 1, rig->n_pending * sizeof *rig->pending);
        const lm_bus_propose_t *propose = sent->body;
        if (code == LM_RC_OK) append(rig, propose->term, propose->entry);
        lm_bus_proposed_t body = {.code = code, .index = rig->n_log, .term = propose->term};
        lm_test_reply(rig->host, LM_RAFT, LM_MSG_PROPOSED, sent->correlation, &body);
        n++;
    }
    return n;
}

size_t rig_accept(rig_t *rig) { return answer_proposals(rig, LM_RC_OK); }

size_t rig_refuse(rig_t *rig, lm_rc_t code) { return answer_proposals(rig, code); }

void rig_append(rig_t *rig, uint64_t term, const lm_command_t *commands, size_t n)
{
    append(rig, term, lm_wire_command_encode(commands, n, rig->arena));
}

void rig_append_raw(rig_t *rig, uint64_t term, lm_bytes_t data) { append(rig, term, data); }

void rig_deliver(rig_t *rig, size_t n)
{
    for (; n && rig->delivered < rig->n_log; n--) {
        uint64_t at = rig->delivered + 1;
        lm_bus_committed_entry_t entry = {.index = at,
                                          .term = rig->log[at].term,
                                          .type = rig->log[at].type,
                                          .data = rig->log[at].data};
        lm_bus_committed_t body = {.prev_index = at - 1,
                                   .prev_term = rig->log[at - 1].term,
                                   .n_entries = 1,
                                   .entries = &entry,
                                   .commit_index = at};
        rig->delivered = at;
        lm_test_deliver(rig->host, LM_RAFT, LM_MSG_COMMITTED, &body, 0);
        if (!rig->unverified) lm_lock_room_verify(rig->room);
    }
}

/* Lets the time go by for which the room waits for more commands. */
static bool gathered(rig_t *rig)
{
    if (!lm_lock_room_gathers(rig->room)) return false;
    lm_test_advance(rig->host, LM_LOCK_GATHER_US);
    return true;
}

void rig_settle(rig_t *rig)
{
    do rig_deliver(rig, SIZE_MAX);
    while (rig_accept(rig) || gathered(rig));
}

size_t rig_reads(rig_t *rig)
{
    size_t n = 0;
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(rig->host, LM_MSG_READ_INDEX))) {
        lm_bus_read_index_done_t body = {.index = rig->n_log};
        lm_test_reply(rig->host, LM_RAFT, LM_MSG_READ_INDEX_DONE, sent->correlation, &body);
        n++;
    }
    return n;
}

rig_commands_t rig_proposed(rig_t *rig)
{
    rig_commands_t found = {0};
    const lm_test_sent_t *sent = first_proposal(rig);
    if (!sent) return found;
    const lm_bus_propose_t *propose = sent->body;
    lm_rc_t rc = lm_wire_command_decode(propose->entry, rig->arena, &found.items, &found.n, NULL);
    cr_assert_eq(rc, LM_RC_OK);
    found.takeover = propose->takeover;
    found.pair =
        (lm_pair_t){propose->term, propose->incarnation->boot_id, propose->incarnation->counter};
    return found;
}

/* ---- images ---------------------------------------------------------------------------------- */

void rig_image_free(rig_image_t *image)
{
    free(image->data);
    *image = (rig_image_t){0};
}

static size_t gather(rig_t *rig, lm_message_number_t number, const lm_test_sent_t **list, size_t n)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(rig->host, number))) {
        cr_assert(n < RIG_PENDING_MAX);
        list[n++] = sent;
    }
    return n;
}

static const lm_test_sent_t *take_out(const lm_test_sent_t **list, size_t *n, size_t at)
{
    cr_assert(at < *n);
    const lm_test_sent_t *sent = list[at];
    --*n;
    memmove(list + at, list + at + 1, (*n - at) * sizeof *list);
    return sent;
}

size_t rig_parts(rig_t *rig)
{
    rig->n_parts = gather(rig, LM_MSG_SNAPSHOT_PART, rig->parts, rig->n_parts);
    return rig->n_parts;
}

void rig_mark(rig_t *rig, uint64_t index, uint64_t term)
{
    lm_bus_snapshot_mark_t body = {.index = index, .term = term};
    rig_image_free(&rig->taking);
    rig_parts(rig);
    rig->n_parts = 0;
    rig->taking.index = index;
    rig->taking.term = term;
    lm_test_deliver(rig->host, LM_RAFT, LM_MSG_SNAPSHOT_TAKE, &body, 0);
}

void rig_mark_here(rig_t *rig) { rig_mark(rig, rig->delivered, rig->log[rig->delivered].term); }

static void keep_part(rig_image_t *image, const lm_bus_snapshot_part_t *part)
{
    cr_assert(part->data.size <= 256 * 1024);
    cr_assert_not(image->whole, "a piece behind the last");
    cr_assert_eq(part->index, image->index);
    cr_assert_eq(part->term, image->term);
    cr_assert_eq(part->offset, image->size);
    image->data = lm_realloc(image->data, image->size + part->data.size + 1);
    memcpy(image->data + image->size, part->data.data, part->data.size);
    image->size += part->data.size;
    image->whole = part->last;
    image->state_hash = part->state_hash;
    image->crc32c = lm_crc32c(image->crc32c, part->data);
}

bool rig_part_done(rig_t *rig, lm_rc_t code)
{
    if (!rig_parts(rig)) return false;
    const lm_test_sent_t *sent = take_out(rig->parts, &rig->n_parts, 0);
    if (code == LM_RC_OK) keep_part(&rig->taking, sent->body);
    lm_bus_snapshot_part_done_t body = {.code = code};
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_SNAPSHOT_PART_DONE, sent->correlation, &body);
    return true;
}

rig_image_t rig_snapshot(rig_t *rig)
{
    do lm_test_advance(rig->host, RIG_PIECE_MS * 1000);
    while (rig_part_done(rig, LM_RC_OK));
    cr_assert(rig->taking.whole);
    cr_assert_not(lm_lock_room_is_taking_snapshot(rig->room));
    rig_image_t image = rig->taking;
    rig->taking = (rig_image_t){0};
    return image;
}

const lm_bus_snapshot_mark_t *rig_dropped(rig_t *rig)
{
    const lm_test_sent_t *sent = lm_test_take(rig->host, LM_MSG_SNAPSHOT_DROP);
    return sent ? sent->body : NULL;
}

void rig_drop(rig_t *rig, uint64_t index, uint64_t term)
{
    lm_bus_snapshot_mark_t body = {.index = index, .term = term};
    rig->n_parts = 0;
    lm_test_deliver(rig->host, LM_RAFT, LM_MSG_SNAPSHOT_DROP, &body, 0);
}

const lm_bus_attach_t *rig_attach_image(rig_t *rig, const rig_image_t *image, uint64_t commit_index)
{
    const lm_test_sent_t *sent = lm_test_take(rig->host, LM_MSG_ATTACH);
    cr_assert(sent, "no ATTACH");
    lm_bus_image_t stated = {.index = image->index,
                             .term = image->term,
                             .length = image->size,
                             .crc32c = image->crc32c,
                             .state_hash = image->state_hash};
    lm_bus_attached_t body = {.reset = true,
                              .cluster_id = text("c1"),
                              .history_id = text("h1"),
                              .commit_index = commit_index,
                              .image = &stated};
    rig->delivered = image->index;
    rig->n_reads = 0;
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_ATTACHED, sent->correlation, &body);
    return sent->body;
}

size_t rig_image_reads(rig_t *rig)
{
    rig->n_reads = gather(rig, LM_MSG_IMAGE_READ, rig->reads, rig->n_reads);
    return rig->n_reads;
}

void rig_image_data(rig_t *rig, const rig_image_t *image, size_t at, size_t bytes_max, lm_rc_t code)
{
    rig_image_reads(rig);
    const lm_test_sent_t *sent = take_out(rig->reads, &rig->n_reads, at);
    const lm_bus_image_read_t *read = sent->body;
    cr_assert_eq(read->index, image->index);
    cr_assert_eq(read->term, image->term);
    cr_assert_lt(read->offset, image->size);
    size_t size = image->size - read->offset;
    if (size > bytes_max) size = bytes_max;
    lm_bus_image_data_t body = {.code = code, .offset = read->offset};
    if (code == LM_RC_OK) body.data = lm_bytes(image->data + read->offset, size);
    body.last = code == LM_RC_OK && read->offset + size == image->size;
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_IMAGE_DATA, sent->correlation, &body);
}

void rig_load(rig_t *rig, const rig_image_t *image)
{
    while (rig_image_reads(rig)) rig_image_data(rig, image, 0, 256 * 1024, LM_RC_OK);
    cr_assert_not(lm_lock_room_is_restoring(rig->room));
    lm_table_verify(lm_lock_room_table(rig->room));
}

/* ---- callers --------------------------------------------------------------------------------- */

static uint64_t send_call(rig_t *rig, const rig_call_t *call, lm_peer_lock_call_t *body)
{
    lm_peer_call_context_t context = {.identity = text(call->identity),
                                      .stamped = call->stamped,
                                      .stamp = call->stamp,
                                      .seen = call->seen,
                                      .forwarded = call->forwarded,
                                      .remaining_ms = call->remaining_ms};
    body->context = &context;
    uint64_t left_ms = call->remaining_ms ? call->remaining_ms : 600000;
    return lm_test_deliver(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, body,
                           lm_test_now(rig->host) + left_ms * 1000);
}

static lm_api_session_part_t *session_of(rig_t *rig, const rig_call_t *call)
{
    if (!call->session) return NULL;
    lm_api_session_part_t *part = lm_arena_alloc(rig->arena, sizeof *part);
    *part = (lm_api_session_part_t){.session_id = text(call->session),
                                    .secret = text(call->secret),
                                    .request_number = call->number,
                                    .done_below = call->done_below};
    return part;
}

uint64_t rig_acquire(rig_t *rig, rig_call_t call)
{
    lm_api_acquire_request_t request = {.session = session_of(rig, &call),
                                        .name = text(call.name),
                                        .owner = text(call.owner),
                                        .request_id = text(call.id),
                                        .mode = call.mode,
                                        .ttl_ms = call.ttl_ms,
                                        .wait_ms = call.wait_ms};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                .acquire = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_release(rig_t *rig, rig_call_t call)
{
    lm_api_release_request_t request = {.session = session_of(rig, &call),
                                        .name = text(call.name),
                                        .owner = text(call.owner),
                                        .hold_id = text(call.hold_id),
                                        .request_id = text(call.id)};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_RELEASE,
                                .release = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_renew(rig_t *rig, rig_call_t call)
{
    lm_api_renew_request_t request = {.name = text(call.name),
                                      .owner = text(call.owner),
                                      .hold_id = text(call.hold_id),
                                      .ttl_ms = call.ttl_ms};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_RENEW, .renew = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_cancel(rig_t *rig, rig_call_t call)
{
    lm_api_cancel_request_t request = {
        .session = session_of(rig, &call), .owner = text(call.owner), .request_id = text(call.id)};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_CANCEL,
                                .cancel = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_get(rig_t *rig, rig_call_t call)
{
    lm_api_get_request_t request = {.name = text(call.name)};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_list(rig_t *rig, const char *prefix, int32_t page_size, lm_bytes_t page_token)
{
    lm_api_list_request_t request = {
        .prefix = text(prefix), .page_size = page_size, .page_token = page_token};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_LIST, .list = &request};
    return send_call(rig, &(rig_call_t){0}, &body);
}

uint64_t rig_open_session(rig_t *rig, rig_call_t call)
{
    lm_api_open_session_request_t request = {
        .client = text(call.owner), .request_id = text(call.id), .ttl_ms = call.ttl_ms};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_OPEN_SESSION,
                                .open_session = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_keep_alive(rig_t *rig, rig_call_t call)
{
    lm_api_keep_alive_request_t request = {.session_id = text(call.session),
                                           .secret = text(call.secret),
                                           .done_below = call.done_below,
                                           .known_holds_version = call.known_version,
                                           .holds_after = text(call.holds_after)};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_KEEP_ALIVE,
                                .keep_alive = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_close_session(rig_t *rig, rig_call_t call)
{
    lm_api_close_session_request_t request = {.session_id = text(call.session),
                                              .secret = text(call.secret)};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_CLOSE_SESSION,
                                .close_session = &request};
    return send_call(rig, &call, &body);
}

uint64_t rig_get_session(rig_t *rig, const char *session)
{
    lm_api_get_session_request_t request = {.session_id = text(session)};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_GET_SESSION,
                                .get_session = &request};
    return send_call(rig, &(rig_call_t){0}, &body);
}

uint64_t rig_list_sessions(rig_t *rig, int32_t page_size, lm_bytes_t page_token)
{
    lm_api_list_sessions_request_t request = {.page_size = page_size, .page_token = page_token};
    lm_peer_lock_call_t body = {.request_case = LM_PEER_LOCK_CALL_REQUEST_LIST_SESSIONS,
                                .list_sessions = &request};
    return send_call(rig, &(rig_call_t){0}, &body);
}

rig_call_t rig_open(rig_t *rig, const char *client, int64_t ttl_ms)
{
    uint64_t call =
        rig_open_session(rig, (rig_call_t){.owner = client, .id = "1", .ttl_ms = ttl_ms});
    rig_settle(rig);
    cr_assert_str_eq(rig_said(rig, call), "opened");
    const lm_api_open_session_response_t *opened = rig_answer(rig, call)->open_session;
    return (rig_call_t){.session = lm_arena_text(rig->arena, opened->session_id),
                        .secret = lm_arena_text(rig->arena, opened->secret)};
}

void rig_gone(rig_t *rig, uint64_t correlation)
{
    lm_bus_listener_gone_t body = {.correlation = correlation};
    lm_test_deliver(rig->host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &body, 0);
    lm_lock_room_verify(rig->room);
}

void rig_undelivered(rig_t *rig, uint64_t correlation)
{
    lm_bus_answer_undelivered_t body = {.correlation = correlation};
    lm_test_deliver(rig->host, LM_CLIENTS, LM_MSG_ANSWER_UNDELIVERED, &body, 0);
    lm_lock_room_verify(rig->room);
}

const lm_peer_lock_answer_t *rig_answer(rig_t *rig, uint64_t correlation)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(rig->host, LM_MSG_LOCK_ANSWER))) {
        cr_assert(rig->n_answers < RIG_ANSWERS_MAX);
        rig->answers[rig->n_answers].correlation = sent->correlation;
        rig->answers[rig->n_answers++].answer = sent->body;
    }
    const lm_peer_lock_answer_t *found = NULL;
    for (size_t i = 0; i < rig->n_answers; i++) {
        if (rig->answers[i].correlation != correlation) continue;
        cr_assert(!found, "call %" PRIu64 " was answered twice", correlation);
        found = rig->answers[i].answer;
    }
    return found;
}

static const char *say_result(const lm_peer_lock_answer_t *answer)
{
    static const char *const acquire[] = {"?",         "granted", "held",
                                          "timed out", "ended",   "cancelled"};
    static const char *const ended[] = {"ended ?", "ended RELEASED", "ended EXPIRED",
                                        "ended ABANDONED"};
    static const char *const kept[] = {"?", "alive", "not alive", "denied"};
    static const char *const cancel[] = {"?", "cancel cancelled", "cancel granted", "cancel ended"};
    switch (answer->response_case) {
    case LM_PEER_LOCK_ANSWER_RESPONSE_ACQUIRE:
        if (answer->acquire->result == LM_API_ACQUIRE_RESULT_ENDED)
            return ended[answer->acquire->end_cause];
        return acquire[answer->acquire->result];
    case LM_PEER_LOCK_ANSWER_RESPONSE_RELEASE: return "released";
    case LM_PEER_LOCK_ANSWER_RESPONSE_RENEW: return "renewed";
    case LM_PEER_LOCK_ANSWER_RESPONSE_CANCEL: return cancel[answer->cancel->result];
    case LM_PEER_LOCK_ANSWER_RESPONSE_OPEN_SESSION: return "opened";
    case LM_PEER_LOCK_ANSWER_RESPONSE_KEEP_ALIVE: return kept[answer->keep_alive->result];
    case LM_PEER_LOCK_ANSWER_RESPONSE_CLOSE_SESSION: return "closed";
    case LM_PEER_LOCK_ANSWER_RESPONSE_GET_SESSION:
    case LM_PEER_LOCK_ANSWER_RESPONSE_GET: return "shown";
    default: return "listed";
    }
}

const char *rig_said(rig_t *rig, uint64_t correlation)
{
    const lm_peer_lock_answer_t *answer = rig_answer(rig, correlation);
    if (!answer) return "none";
    if (answer->kind == LM_PEER_ANSWER_KIND_RESULT) return say_result(answer);
    if (answer->kind == LM_PEER_ANSWER_KIND_ERROR)
        return lm_arena_text(rig->arena,
                             lm_arena_print(rig->arena, "error %s", lm_rc_name(answer->code)));
    lm_bytes_t said = lm_arena_print(rig->arena, "forward%s%.*s%s", answer->leader.size ? " " : "",
                                     LM_BYTES_ARG(answer->leader), answer->code ? " maybe" : "");
    return lm_arena_text(rig->arena, said);
}

const char *rig_hold_id(rig_t *rig, uint64_t correlation)
{
    const lm_peer_lock_answer_t *answer = rig_answer(rig, correlation);
    cr_assert(answer && answer->acquire, "not granted");
    return lm_arena_text(rig->arena, answer->acquire->hold_id);
}

uint64_t rig_take(rig_t *rig, const char *owner, const char *name, int64_t ttl_ms)
{
    const char *id = lm_arena_text(rig->arena, lm_arena_print(rig->arena, "%s-%s", owner, name));
    uint64_t call = RIG_ACQUIRE(rig, .owner = owner, .id = id, .name = name, .ttl_ms = ttl_ms);
    rig_settle(rig);
    cr_assert_str_eq(rig_said(rig, call), "granted");
    return call;
}
