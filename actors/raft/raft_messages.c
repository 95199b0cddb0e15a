/* Nothing is believed of what comes in but that it passed the wire's own checks. */
#include "raft_messages.h"

#include <stdlib.h>
#include <string.h>

#include "base_check.h"
#include "base_fault.h"
#include "raft_limits.h"

typedef unsigned long long ull_t;

/* Message versions of the engine, as it numbers them. */
enum { REQUEST_VOTE_VERSION = 2, RESULT_VERSION = 2, ENTRIES_VERSION = 0, INSTALL_VERSION = 0 };

static bool is_term(uint64_t term) { return term > 0 && term <= LM_RAFT_TERM_MAX; }

/* ---- coming in ------------------------------------------------------------------------------- */

static bool in_request_vote(const lm_peer_frame_t *frame, lm_raft_received_t *received)
{
    const lm_peer_request_vote_t *body = frame->request_vote;
    struct raft_message *message = &received->message;
    message->type = RAFT_REQUEST_VOTE;
    message->request_vote = (struct raft_request_vote){
        .version = (unsigned char)body->version,
        .term = body->term,
        .candidate_id = body->candidate_id,
        .last_log_index = body->last_log_index,
        .last_log_term = body->last_log_term,
        .disrupt_leader = body->disrupt_leader,
        .pre_vote = body->pre_vote,
    };
    return is_term(body->term) && body->candidate_id == message->server_id &&
           body->last_log_term <= body->term && !(body->pre_vote && body->disrupt_leader);
}

static bool in_request_vote_result(const lm_peer_frame_t *frame, lm_raft_received_t *received)
{
    const lm_peer_request_vote_result_t *body = frame->request_vote_result;
    received->message.type = RAFT_REQUEST_VOTE_RESULT;
    received->message.request_vote_result = (struct raft_request_vote_result){
        .version = (unsigned char)body->version,
        .term = body->term,
        .vote_granted = body->vote_granted,
        .pre_vote = body->pre_vote,
        .features = (unsigned short)body->features,
        .capacity = (unsigned short)body->capacity,
    };
    return is_term(body->term);
}

/* Sums up the entries' bytes; false if one of them cannot be. */
static bool check_entries(const lm_peer_append_entries_t *body, size_t *bytes)
{
    uint64_t term = body->prev_log_term;
    *bytes = 0;
    for (size_t i = 0; i < body->n_entries; i++) {
        const lm_peer_entry_t *entry = &body->entries[i];
        if (entry->term < term || entry->term > body->term || !is_term(entry->term)) return false;
        if (entry->type < LM_RAFT_COMMAND || entry->type > LM_RAFT_CHANGE) return false;
        if (entry->data.size == 0 || entry->data.size % 8) return false;
        term = entry->term;
        *bytes += entry->data.size;
    }
    return true;
}

/* The engine's decoder trusts the counts it reads; this follows them with care. */
static bool is_framed(lm_bytes_t data)
{
    if (data.size < 9 || data.data[0] != 1) return false;
    uint64_t count = 0;
    for (int i = 8; i >= 1; i--) count = count << 8 | data.data[i];
    size_t at = 9;
    if (count == 0 || count > LM_RAFT_SERVERS_MAX) return false;
    for (uint64_t i = 0; i < count; i++) {
        if (data.size - at < 8) return false;
        at += 8;
        const uint8_t *end = memchr(data.data + at, 0, data.size - at);
        if (!end) return false;
        at = (size_t)(end - data.data) + 1;
        if (data.size == at) return false;
        at++;
    }
    return true;
}

bool lm_raft_messages_is_configuration(lm_bytes_t data)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes = {.base = (void *)(uintptr_t)data.data, .len = data.size};
    if (!is_framed(data) || raft_configuration_decode(&bytes, &configuration) != 0) return false;
    raft_configuration_close(&configuration);
    return true;
}

static void copy_entries(const lm_peer_append_entries_t *body, size_t bytes,
                         lm_raft_received_t *received)
{
    struct raft_append_entries *into = &received->message.append_entries;
    uint8_t *at = received->batch = raft_malloc(bytes);
    LM_CHECK(at, "out of memory, %zu bytes wanted", bytes);
    into->entries = received->entries = lm_alloc(body->n_entries * sizeof *into->entries);
    into->n_entries = (unsigned)body->n_entries;
    for (size_t i = 0; i < body->n_entries; i++) {
        lm_bytes_t data = body->entries[i].data;
        memcpy(at, data.data, data.size);
        into->entries[i] = (struct raft_entry){
            .term = body->entries[i].term,
            .type = (enum raft_entry_type)body->entries[i].type,
            .buf = {.base = at, .len = data.size},
            .batch = received->batch,
        };
        at += data.size;
    }
}

static bool in_append_entries(const lm_peer_frame_t *frame, lm_raft_received_t *received)
{
    const lm_peer_append_entries_t *body = frame->append_entries;
    size_t bytes;
    received->message.type = RAFT_APPEND_ENTRIES;
    received->message.append_entries = (struct raft_append_entries){
        .version = (unsigned char)body->version,
        .term = body->term,
        .prev_log_index = body->prev_log_index,
        .prev_log_term = body->prev_log_term,
        .leader_commit = body->leader_commit,
    };
    /* Entry 1 is on every server from its start. The engine answers an old leader that sends it
     * with what looks like an acknowledgement of an index that was never set. */
    if (!is_term(body->term) || body->prev_log_index == 0 || body->prev_log_term == 0 ||
        body->prev_log_term > body->term || body->n_entries > LM_RAFT_INFLIGHT_ENTRIES ||
        !check_entries(body, &bytes))
        return false;
    for (size_t i = 0; i < body->n_entries; i++)
        if (body->entries[i].type == LM_RAFT_CHANGE &&
            !lm_raft_messages_is_configuration(body->entries[i].data))
            return false;
    if (body->n_entries > 0) copy_entries(body, bytes, received);
    return true;
}

static bool in_append_entries_result(const lm_peer_frame_t *frame, lm_raft_received_t *received)
{
    const lm_peer_append_entries_result_t *body = frame->append_entries_result;
    received->message.type = RAFT_APPEND_ENTRIES_RESULT;
    received->message.append_entries_result = (struct raft_append_entries_result){
        .version = (unsigned char)body->version,
        .term = body->term,
        .rejected = body->rejected,
        .last_log_index = body->last_log_index,
        .features = (unsigned short)body->features,
        .capacity = (unsigned short)body->capacity,
    };
    return is_term(body->term) && (body->rejected == 0 || body->last_log_index < body->rejected);
}

static bool in_timeout_now(const lm_peer_frame_t *frame, lm_raft_received_t *received)
{
    const lm_peer_timeout_now_t *body = frame->timeout_now;
    received->message.type = RAFT_TIMEOUT_NOW;
    received->message.timeout_now = (struct raft_timeout_now){
        .version = (unsigned char)body->version,
        .term = body->term,
        .last_log_index = body->last_log_index,
        .last_log_term = body->last_log_term,
    };
    return is_term(body->term);
}

bool lm_raft_messages_in(uint64_t from_id, const char *from_name, const lm_peer_frame_t *frame,
                         lm_raft_received_t *received)
{
    *received = (lm_raft_received_t){0};
    received->message.server_id = from_id;
    received->message.server_address = from_name;
    switch (frame->body_case) {
    case LM_PEER_FRAME_BODY_REQUEST_VOTE: return in_request_vote(frame, received);
    case LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT: return in_request_vote_result(frame, received);
    case LM_PEER_FRAME_BODY_APPEND_ENTRIES: return in_append_entries(frame, received);
    case LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT: return in_append_entries_result(frame, received);
    case LM_PEER_FRAME_BODY_TIMEOUT_NOW: return in_timeout_now(frame, received);
    default: return false;
    }
}

void lm_raft_messages_free(lm_raft_received_t *received, bool batch_too)
{
    free(received->entries);
    if (batch_too) raft_free(received->batch);
    *received = (lm_raft_received_t){0};
}

size_t lm_raft_messages_size(const lm_raft_received_t *received)
{
    size_t size = sizeof *received;
    if (received->message.type != RAFT_APPEND_ENTRIES) return size;
    const struct raft_append_entries *append = &received->message.append_entries;
    for (unsigned i = 0; i < append->n_entries; i++)
        size += sizeof append->entries[i] + append->entries[i].buf.len;
    return size;
}

void lm_raft_messages_strip(lm_raft_received_t *received)
{
    struct raft_append_entries *append = &received->message.append_entries;
    append->n_entries = 0;
    append->entries = NULL;
    raft_free(received->batch);
    received->batch = NULL;
}

void lm_raft_messages_skip(lm_raft_received_t *received, uint64_t commit, uint64_t term)
{
    struct raft_append_entries *append = &received->message.append_entries;
    if (received->message.type != RAFT_APPEND_ENTRIES || term == 0 ||
        append->prev_log_index >= commit)
        return;
    uint64_t known = commit - append->prev_log_index;
    append->prev_log_index = commit;
    append->prev_log_term = term;
    if (append->n_entries > known) {
        append->entries += known;
        append->n_entries -= (unsigned)known;
    } else if (append->n_entries > 0) {
        lm_raft_messages_strip(received);
    }
}

void lm_raft_messages_clamp(struct raft_message *message, uint64_t commit)
{
    struct raft_append_entries *append = &message->append_entries;
    if (message->type == RAFT_APPEND_ENTRIES && append->leader_commit > commit &&
        append->prev_log_index + append->n_entries < commit)
        append->leader_commit = commit;
}

/* ---- going out ------------------------------------------------------------------------------- */

static void out_request_vote(const struct raft_message *message, lm_peer_request_vote_t *body)
{
    const struct raft_request_vote *vote = &message->request_vote;
    *body = (lm_peer_request_vote_t){
        .version = REQUEST_VOTE_VERSION,
        .term = vote->term,
        .candidate_id = vote->candidate_id,
        .last_log_index = vote->last_log_index,
        .last_log_term = vote->last_log_term,
        .disrupt_leader = vote->disrupt_leader,
        .pre_vote = vote->pre_vote,
    };
}

static void out_request_vote_result(const lm_raft_outgoing_t *from,
                                    const struct raft_message *message,
                                    lm_peer_request_vote_result_t *body)
{
    const struct raft_request_vote_result *vote = &message->request_vote_result;
    *body = (lm_peer_request_vote_result_t){
        .version = RESULT_VERSION,
        .term = vote->term,
        .vote_granted = vote->vote_granted,
        .pre_vote = vote->pre_vote,
        .features = vote->features,
        .capacity = vote->capacity,
    };
    /* Else a server of a lower term with the longest log never learns the term, and nobody is ever
     * elected. */
    if (vote->pre_vote && !vote->vote_granted && !LM_FAULT(PRE_VOTE_TERM))
        body->term = raft_current_term(from->raft);
}

/* The highest index below rejected that is known to be like the leader's, or the end of the log. */
static uint64_t reject_hint(const lm_raft_outgoing_t *from, uint64_t rejected)
{
    uint64_t hint = lm_raft_log_last_index(from->log);
    if (hint < rejected) return hint;
    hint = from->commit;
    if (from->raft->state == RAFT_FOLLOWER && from->raft->follower_state.match > hint)
        hint = from->raft->follower_state.match;
    return hint < rejected ? hint : rejected - 1;
}

static void out_append_entries_result(const lm_raft_outgoing_t *from,
                                      const struct raft_message *message,
                                      lm_peer_append_entries_result_t *body)
{
    const struct raft_append_entries_result *result = &message->append_entries_result;
    *body = (lm_peer_append_entries_result_t){
        .version = RESULT_VERSION,
        .term = result->term,
        .rejected = result->rejected,
        .features = result->features,
    };
    body->last_log_index =
        result->rejected ? reject_hint(from, result->rejected) : result->last_log_index;
    if (LM_FAULT(ACK_UNSTORED) && !result->rejected)
        body->last_log_index = lm_raft_log_last_index(from->log);
    LM_CHECK(result->rejected || body->last_log_index <= lm_raft_log_last_index(from->log),
             "an acknowledgement of %llu, but the log ends at %llu", (ull_t)body->last_log_index,
             (ull_t)lm_raft_log_last_index(from->log));
}

static void out_timeout_now(const struct raft_message *message, lm_peer_timeout_now_t *body)
{
    const struct raft_timeout_now *timeout = &message->timeout_now;
    *body = (lm_peer_timeout_now_t){
        .version = timeout->version,
        .term = timeout->term,
        .last_log_index = timeout->last_log_index,
        .last_log_term = timeout->last_log_term,
    };
}

void lm_raft_messages_offer(const lm_raft_image_t *image, lm_peer_snapshot_offer_t *offer)
{
    *offer = (lm_peer_snapshot_offer_t){
        .last_index = image->index,
        .last_term = image->term,
        .configuration = lm_bytes(image->configuration, image->configuration_size),
        .configuration_index = image->configuration_index,
        .length = image->length,
        .crc32c = image->crc32c,
        .state_hash = image->state_hash,
    };
}

bool lm_raft_messages_offered(const lm_peer_snapshot_offer_t *offer, lm_raft_image_t *image)
{
    if (!offer || offer->last_index < 2 || !is_term(offer->last_term) || offer->length == 0 ||
        offer->configuration.size > sizeof image->configuration ||
        offer->configuration_index == 0 || offer->configuration_index > offer->last_index ||
        !lm_raft_messages_is_configuration(offer->configuration))
        return false;
    *image = (lm_raft_image_t){
        .index = offer->last_index,
        .term = offer->last_term,
        .length = offer->length,
        .crc32c = offer->crc32c,
        .state_hash = offer->state_hash,
        .configuration_index = offer->configuration_index,
        .configuration_size = (uint32_t)offer->configuration.size,
    };
    memcpy(image->configuration, offer->configuration.data, offer->configuration.size);
    return true;
}

/* What the engine says of the snapshot is not used: everything comes from the one that is there. */
static void out_install_snapshot(const lm_raft_outgoing_t *from, const struct raft_message *message,
                                 lm_raft_body_t *body)
{
    const struct raft_install_snapshot *install = &message->install_snapshot;
    LM_CHECK(from->image->index == install->last_index && from->image->term == install->last_term,
             "snapshot %llu^%llu is to be sent, but there is %llu^%llu", (ull_t)install->last_index,
             (ull_t)install->last_term, (ull_t)from->image->index, (ull_t)from->image->term);
    lm_raft_messages_offer(from->image, &body->snapshot.offer);
    body->snapshot.install = (lm_peer_install_snapshot_t){
        .version = INSTALL_VERSION, .term = install->term, .offer = &body->snapshot.offer};
}

void lm_raft_messages_out(const lm_raft_outgoing_t *from, const struct raft_message *message,
                          lm_raft_body_t *body, lm_peer_frame_t *frame)
{
    switch (message->type) {
    case RAFT_REQUEST_VOTE:
        out_request_vote(message, &body->request_vote);
        frame->body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE;
        frame->request_vote = &body->request_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        out_request_vote_result(from, message, &body->request_vote_result);
        frame->body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT;
        frame->request_vote_result = &body->request_vote_result;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        out_append_entries_result(from, message, &body->append_entries_result);
        frame->body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT;
        frame->append_entries_result = &body->append_entries_result;
        break;
    case RAFT_TIMEOUT_NOW:
        out_timeout_now(message, &body->timeout_now);
        frame->body_case = LM_PEER_FRAME_BODY_TIMEOUT_NOW;
        frame->timeout_now = &body->timeout_now;
        break;
    case RAFT_INSTALL_SNAPSHOT:
        out_install_snapshot(from, message, body);
        frame->body_case = LM_PEER_FRAME_BODY_INSTALL_SNAPSHOT;
        frame->install_snapshot = &body->snapshot.install;
        break;
    default: LM_CHECK(false, "a message of type %d", (int)message->type);
    }
}

uint64_t lm_raft_messages_append(const lm_raft_outgoing_t *from,
                                 const struct raft_append_entries *message, uint64_t from_index,
                                 uint64_t last_index, size_t bytes_max,
                                 lm_peer_append_entries_t *body, lm_arena_t *arena)
{
    uint64_t index = from_index, prev = from_index - 1;
    size_t bytes = 0;
    *body = (lm_peer_append_entries_t){
        .version = ENTRIES_VERSION,
        .term = message->term,
        .prev_log_index = prev,
        .prev_log_term = lm_raft_log_term(from->log, prev),
        .leader_commit = message->leader_commit,
    };
    if (last_index >= from_index)
        body->entries = lm_arena_alloc(arena, (last_index - prev) * sizeof *body->entries);
    for (; index <= last_index; index++) {
        const lm_raft_record_t *record = lm_raft_log_get(from->log, index);
        LM_CHECK(record, "entry %llu is to be sent, but the log ends at %llu", (ull_t)index,
                 (ull_t)lm_raft_log_last_index(from->log));
        if (bytes > 0 && bytes + record->data.size > bytes_max) break;
        bytes += record->data.size;
        body->entries[body->n_entries++] =
            (lm_peer_entry_t){.term = record->term, .type = record->type, .data = record->data};
    }
    return index - 1;
}
