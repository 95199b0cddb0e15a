/* Inputs wait in a queue while term and vote are being written; drive() works it off one by one. */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "base_log.h"
#include "raft_accept.h"
#include "raft_engine_parts.h"

#define LATE_IN_A_ROW_MAX 3
/* A peer that has lost its mind must not fill the log. */
#define COMPLAIN_EVERY_US UINT64_C(1000000)
#define OFFER_AGAIN_MS 1000
/* A heartbeat may be late by this part of the time between two. */
#define HEARTBEAT_PATIENCE 8
#define FORGETS_MIN 10
#define FORGETS_US UINT64_C(1000000)

typedef unsigned long long ull_t;
typedef lm_raft_event_t event_t;
typedef lm_raft_write_t write_t;

/* ---- life ------------------------------------------------------------------------------------ */

lm_raft_engine_t *lm_raft_engine_new(const lm_raft_engine_options_t *options,
                                     const lm_raft_identity_t *identity)
{
    lm_raft_engine_t *e = lm_alloc(sizeof *e);
    e->options = *options;
    e->identity = *identity;
    e->log = lm_raft_log_new();
    e->arena = lm_arena_new();
    e->last = &e->first;
    e->last_write = &e->writes;
    e->next_write = 1;
    for (size_t i = 0; i < LM_RAFT_SERVERS_MAX; i++) e->peers[i].link_up = true;
    int rv = raft_init(&e->raft, NULL, NULL, lm_raft_identity_id(identity, identity->node),
                       identity->node);
    LM_CHECK(rv == 0, "raft_init: %s", raft_strerror(rv));
    e->raft.tracer = NULL;
    raft_seed(&e->raft, options->seed);
    raft_set_election_timeout(&e->raft, options->election_timeout_ms);
    raft_set_heartbeat_timeout(&e->raft, options->heartbeat_ms);
    raft_set_pre_vote(&e->raft, true);
    raft_set_max_inflight_entries(&e->raft, LM_RAFT_INFLIGHT_ENTRIES);
    /* An offer that is repeated does no harm, and one of an image that is gone must not stand. */
    raft_set_install_snapshot_timeout(&e->raft, OFFER_AGAIN_MS);
    return e;
}

static void event_free(event_t *event)
{
    if (event->kind == LM_RAFT_EVENT_FRAME) lm_raft_messages_free(&event->received, true);
    free(event->image);
    free(event);
}

void lm_raft_engine_destroy(lm_raft_engine_t **engine)
{
    lm_raft_engine_t *e = *engine;
    if (!e) return;
    while (e->first) {
        event_t *event = e->first;
        e->first = event->next;
        event_free(event);
    }
    while (e->writes) {
        write_t *write = e->writes;
        e->writes = write->next;
        lm_raft_buffer_drop(&write->buffer);
        free(write);
    }
    raft_close(&e->raft, NULL);
    lm_raft_log_destroy(&e->log);
    lm_arena_destroy(&e->arena);
    free(e);
    *engine = NULL;
}

static int peer_index(const lm_raft_engine_t *e, uint64_t id)
{
    for (uint32_t i = 0; i < e->identity.n_servers; i++)
        if (e->identity.servers[i].id == id) return (int)i;
    return -1;
}

/* ---- duties: entries ------------------------------------------------------------------------- */

/* The engine hands over one batch of memory for all entries of an update. */
static void take_entries(lm_raft_engine_t *e, const struct raft_update *update)
{
    const struct raft_entry *entries = update->entries.batch;
    uint64_t first = update->entries.index;
    unsigned n = update->entries.n;
    lm_raft_entry_t *list = lm_arena_alloc(e->arena, n * sizeof *list);
    write_t *write = lm_alloc(sizeof *write);
    *write = (write_t){.number = e->next_write++, .first = first, .n = n};
    write->buffer = lm_raft_buffer_adopt(entries[0].batch, raft_free);
    LM_CHECK(first > e->commit, "entry %llu is to be replaced, but %llu is committed", (ull_t)first,
             (ull_t)e->commit);
    LM_CHECK(first <= lm_raft_log_last_index(e->log) + 1, "entry %llu after %llu", (ull_t)first,
             (ull_t)lm_raft_log_last_index(e->log));
    bool truncate = first <= lm_raft_log_last_index(e->log);
    if (truncate) lm_raft_log_truncate(e->log, first);
    for (unsigned i = 0; i < n; i++) {
        lm_bytes_t data = lm_bytes(entries[i].buf.base, entries[i].buf.len);
        lm_raft_log_append(e->log, entries[i].term, entries[i].type, data, write->buffer);
        list[i] = (lm_raft_entry_t){.term = entries[i].term,
                                    .type = entries[i].type,
                                    .data = data,
                                    .buffer = write->buffer};
    }
    write->first_serial = lm_raft_log_get(e->log, first)->serial;
    *e->last_write = write;
    e->last_write = &write->next;
    if (truncate) e->options.disk->truncate(e->options.disk, first);
    e->options.disk->append(e->options.disk, write->number, list, n);
}

static lm_raft_election_t cause_of(const struct raft_event *event)
{
    bool asked = event->type == RAFT_RECEIVE && event->receive.message->type == RAFT_TIMEOUT_NOW;
    return asked ? LM_RAFT_ELECTION_TRANSFER : LM_RAFT_ELECTION_TIMEOUT;
}

/* Starts writing term and vote if that event has changed them. Returns false if there was nothing
 * to write. */
static bool write_metadata(lm_raft_engine_t *e, const struct raft_event *event)
{
    uint64_t term = raft_current_term(&e->raft), vote = raft_voted_for(&e->raft);
    if (term == e->durable_term && vote == e->durable_vote) return false;
    LM_CHECK(term >= e->durable_term, "term %llu after %llu", (ull_t)term, (ull_t)e->durable_term);
    if (term > e->durable_term && vote == e->raft.id) e->elections[cause_of(event)]++;
    e->durable_term = term;
    e->durable_vote = vote;
    if (LM_FAULT(VOTE_UNSAVED)) return false;
    e->options.disk->set_metadata(e->options.disk, term, vote);
    return true;
}

/* ---- duties: messages ------------------------------------------------------------------------ */

static void send_entries(lm_raft_engine_t *e, const lm_raft_outgoing_t *from, int which,
                         const struct raft_message *message)
{
    const struct raft_append_entries *append = &message->append_entries;
    lm_raft_peer_t *peer = &e->peers[which];
    uint64_t last = append->prev_log_index + append->n_entries, index = append->prev_log_index;
    /* The same entries again without a word in between: the peer may be away, so only a few. */
    bool again = peer->unanswered && peer->sent_behind == append->prev_log_index;
    peer->sent_ms = e->raft.now;
    size_t left = again ? LM_RAFT_FRAME_BYTES : LM_RAFT_SEND_BYTES;
    if (!peer->link_up) last = append->prev_log_index;
    LM_CHECK(lm_raft_log_term(e->log, index) == append->prev_log_term,
             "entry %llu has term %llu here, %llu in the engine", (ull_t)index,
             (ull_t)lm_raft_log_term(e->log, index), (ull_t)append->prev_log_term);
    do {
        lm_peer_append_entries_t body;
        lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES,
                                 .append_entries = &body};
        size_t size = left < LM_RAFT_FRAME_BYTES ? left : LM_RAFT_FRAME_BYTES;
        uint64_t from_index = index + 1;
        index = lm_raft_messages_append(from, append, from_index, last, size, &body, e->arena);
        e->options.send(e->options.arg, message->server_id, &frame);
        size_t sent = lm_raft_log_bytes(e->log, from_index, index);
        left = sent < left ? left - sent : 0;
    } while (index < last && left > 0);
    if (index == append->prev_log_index) return;
    peer->unanswered = true;
    peer->sent_behind = append->prev_log_index;
}

static void send_message(lm_raft_engine_t *e, const struct raft_message *message)
{
    lm_raft_outgoing_t from = {
        .raft = &e->raft, .log = e->log, .image = &e->image, .commit = e->commit};
    int which = peer_index(e, message->server_id);
    if (which < 0) return;
    if (message->type == RAFT_APPEND_ENTRIES) {
        send_entries(e, &from, which, message);
        return;
    }
    /* Sounding out an election without a lock that could serve would only disturb. */
    if (message->type == RAFT_REQUEST_VOTE && message->request_vote.pre_vote && !e->may_campaign)
        return;
    if (message->type == RAFT_REQUEST_VOTE_RESULT && message->request_vote_result.pre_vote &&
        !message->request_vote_result.vote_granted)
        e->prevotes_rejected++;
    lm_raft_body_t body;
    lm_peer_frame_t frame = {0};
    lm_raft_messages_out(&from, message, &body, &frame);
    e->options.send(e->options.arg, message->server_id, &frame);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static lm_raft_role_t role_now(lm_raft_engine_t *e)
{
    int state = raft_state(&e->raft);
    return state == RAFT_LEADER      ? LM_RAFT_LEADER_ROLE
           : state == RAFT_CANDIDATE ? LM_RAFT_CANDIDATE_ROLE
                                     : LM_RAFT_FOLLOWER_ROLE;
}

static void show(lm_raft_engine_t *e)
{
    const char *address;
    raft_id leader;
    lm_raft_role_t role = role_now(e);
    uint64_t term = raft_current_term(&e->raft);
    bool begins = role == LM_RAFT_LEADER_ROLE &&
                  (e->shown.role != LM_RAFT_LEADER_ROLE || e->shown.term != term);
    if (begins) {
        e->leader_start = lm_raft_log_last_index(e->log);
        for (uint32_t i = 0; i < e->identity.n_servers; i++) e->peers[i].forgets = 0;
    }
    raft_leader(&e->raft, &leader, &address);
    e->shown.role = role;
    e->shown.term = term;
    e->shown.leader = leader;
}

static void finish(lm_raft_engine_t *e, const struct raft_update *update)
{
    uint64_t commit = raft_commit_index(&e->raft);
    /* During an installation the engine may take the snapshot's index for committed here. */
    if (commit > e->commit && !e->installing) e->commit = commit;
    LM_CHECK(e->commit <= lm_raft_log_last_index(e->log), "commit index %llu of a log of %llu",
             (ull_t)e->commit, (ull_t)lm_raft_log_last_index(e->log));
    show(e);
    if (update->flags & RAFT_UPDATE_MESSAGES)
        for (unsigned i = 0; i < update->messages.n; i++)
            send_message(e, &update->messages.batch[i]);
    lm_arena_reset(e->arena);
}

void lm_raft_engine_set_fault(lm_raft_engine_t *e, const char *what, int rv)
{
    if (e->fault.code != LM_EXIT_OK) return;
    lm_exit_t code = rv == RAFT_SHUTDOWN || rv == RAFT_NOMEM ? LM_EXIT_ASSERTION : LM_EXIT_SYSTEM;
    lm_raft_fault_set(&e->fault, code, "the consensus engine failed at %s: %s", what,
                      raft_strerror(rv));
}

static void check_logs(lm_raft_engine_t *e)
{
    LM_CHECK(raft_last_index(&e->raft) == lm_raft_log_last_index(e->log) &&
                 e->raft.trail.offset + 1 == lm_raft_log_first_index(e->log),
             "the engine's log is %llu..%llu, this one %llu..%llu", (ull_t)e->raft.trail.offset + 1,
             (ull_t)raft_last_index(&e->raft), (ull_t)lm_raft_log_first_index(e->log),
             (ull_t)lm_raft_log_last_index(e->log));
}

/* A term beyond the maximum would be called damaged at the next start: it is never written. */
static bool is_out_of_terms(lm_raft_engine_t *e, uint64_t term)
{
    if (term <= LM_RAFT_TERM_MAX) return false;
    if (e->fault.code == LM_EXIT_OK)
        lm_raft_fault_set(&e->fault, LM_EXIT_DAMAGED,
                          "term %llu is the last one that there can be, and an election needs a "
                          "further one: a broken node has used them up; nothing is lost, but this "
                          "region cannot elect a leader again",
                          (ull_t)LM_RAFT_TERM_MAX);
    return true;
}

int lm_raft_engine_step(lm_raft_engine_t *e, struct raft_event *event, uint64_t now_us)
{
    struct raft_update update;
    event->time = now_us / 1000;
    event->capacity = 0;
    int rv = raft_step(&e->raft, event, &update);
    if (rv != 0) return rv;
    if (is_out_of_terms(e, raft_current_term(&e->raft))) return 0;
    bool writes = write_metadata(e, event);
    if (update.flags & RAFT_UPDATE_ENTRIES) take_entries(e, &update);
    if (update.flags & RAFT_UPDATE_SNAPSHOT) lm_raft_engine_drop_log(e, &update);
    check_logs(e);
    if (!writes) {
        finish(e, &update);
        return 0;
    }
    e->holding = true;
    e->held_since_us = now_us;
    e->held = update; /* its messages stay valid until the next step */
    return 0;
}

/* Applies the next committed entry: the engine wants to hear of configurations. */
static void apply_next(lm_raft_engine_t *e, uint64_t now_us)
{
    const lm_raft_record_t *record = lm_raft_log_get(e->log, ++e->applied);
    if (record->type != LM_RAFT_CHANGE) return;
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    struct raft_buffer bytes = {.base = (void *)(uintptr_t)record->data.data,
                                .len = record->data.size};
    event.configuration.index = e->applied;
    int rv = raft_configuration_decode(&bytes, &event.configuration.conf);
    if (rv == 0) rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) lm_raft_engine_set_fault(e, "a configuration", rv);
}

/* ---- queued events --------------------------------------------------------------------------- */

static void handle_append_done(lm_raft_engine_t *e, uint64_t number, uint64_t now_us)
{
    write_t *write = e->writes;
    LM_CHECK(write && write->number == number, "write %llu is done, but %llu is awaited",
             (ull_t)number, (ull_t)(write ? write->number : 0));
    e->writes = write->next;
    if (!e->writes) e->last_write = &e->writes;
    uint64_t stored = 0;
    for (uint64_t i = 0; i < write->n; i++) {
        const lm_raft_record_t *record = lm_raft_log_get(e->log, write->first + i);
        if (!record || record->serial != write->first_serial + i) break;
        stored = write->first + i;
    }
    lm_raft_buffer_drop(&write->buffer);
    free(write);
    if (stored <= e->raft.last_stored) return;
    LM_CHECK(raft_state(&e->raft) != RAFT_CANDIDATE, "a candidate has a write in flight");
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    event.persisted_entries.index = stored;
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) lm_raft_engine_set_fault(e, "a finished write", rv);
}

static bool is_acceptable(lm_raft_engine_t *e, const struct raft_message *message, uint64_t now_us)
{
    if (message->type == RAFT_TIMEOUT_NOW && !e->may_campaign) return false;
    /* Of a word that comes too late the engine asks first whether it is sounding out, which only
     * candidates know: of others it reads a byte of an address, and may give up their term. */
    if (message->type == RAFT_REQUEST_VOTE_RESULT && raft_state(&e->raft) != RAFT_CANDIDATE)
        return false;
    const char *wrong = lm_raft_accept(&e->raft, e->log, e->commit, message);
    if (!wrong) return true;
    e->unacceptable++;
    if (e->complained_us && now_us < e->complained_us + COMPLAIN_EVERY_US) return false;
    e->complained_us = now_us;
    lm_error("server %llu %s", (ull_t)message->server_id, wrong);
    return false;
}

/* The engine asks the server that leadership goes to only once, and often before that server has
 * stored everything: then it may not, and the transfer would end without effect. */
static void urge_transferee(lm_raft_engine_t *e, uint64_t server_id)
{
    if (e->holding || raft_transferee(&e->raft) != server_id ||
        lm_raft_engine_match(e, server_id) != lm_raft_log_last_index(e->log))
        return;
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW, .server_id = server_id};
    message.timeout_now.term = raft_current_term(&e->raft);
    message.timeout_now.last_log_index = raft_last_index(&e->raft);
    message.timeout_now.last_log_term = lm_raft_log_term(e->log, raft_last_index(&e->raft));
    send_message(e, &message);
}

uint64_t lm_raft_engine_unstored(const lm_raft_engine_t *e)
{
    return e->installing
               ? 0
               : lm_raft_log_bytes(e->log, e->raft.last_stored + 1, lm_raft_log_last_index(e->log));
}

static bool is_full(const lm_raft_engine_t *e)
{
    return lm_raft_engine_unstored(e) > LM_RAFT_UNSTORED_BYTES ||
           lm_raft_log_memory(e->log) > e->options.log_bytes_max;
}

/* A server never lacks what it has acknowledged, unless its disk lost it; results that say so are
 * passed over by the engine. Only during an installation it says that it has nothing. */
static void note_result(lm_raft_engine_t *e, const struct raft_message *message, uint64_t now_us)
{
    const struct raft_append_entries_result *result = &message->append_entries_result;
    lm_raft_peer_t *peer = &e->peers[peer_index(e, message->server_id)];
    uint64_t match = lm_raft_engine_match(e, message->server_id);
    peer->unanswered = false;
    if (raft_state(&e->raft) != RAFT_LEADER || result->term != raft_current_term(&e->raft) ||
        (!result->rejected && result->last_log_index >= match)) {
        peer->forgets = 0;
    } else if (result->rejected ? result->rejected <= match : result->last_log_index > 0) {
        if (peer->forgets++ == 0) peer->forgets_since_us = now_us;
    }
}

uint64_t lm_raft_engine_forgetful(const lm_raft_engine_t *e, uint64_t now_us)
{
    for (uint32_t i = 0; i < e->identity.n_servers; i++)
        if (e->peers[i].forgets >= FORGETS_MIN &&
            now_us >= e->peers[i].forgets_since_us + FORGETS_US)
            return e->identity.servers[i].id;
    return 0;
}

/* A leader that has written nothing in its term may not know how far the log of its successor goes;
 * the engine would let the hint pass, time and again. Who is elected, the votes decide. */
static void take_hint(lm_raft_engine_t *e, struct raft_timeout_now *hint)
{
    uint64_t index = raft_last_index(&e->raft), term = lm_raft_log_term(e->log, index);
    if (term < hint->last_log_term) return;
    if (term == hint->last_log_term && index < hint->last_log_index) return;
    hint->last_log_index = index;
    hint->last_log_term = term;
}

static void handle_message(lm_raft_engine_t *e, lm_raft_received_t *received, uint64_t now_us)
{
    struct raft_message *message = &received->message;
    if (!is_acceptable(e, message, now_us)) {
        lm_raft_messages_free(received, true);
        return;
    }
    if (message->type == RAFT_APPEND_ENTRIES_RESULT) note_result(e, message, now_us);
    lm_raft_messages_skip(received, e->commit, lm_raft_log_term(e->log, e->commit));
    lm_raft_messages_clamp(message, e->commit);
    if (message->type == RAFT_TIMEOUT_NOW) take_hint(e, &message->timeout_now);
    if (message->type == RAFT_APPEND_ENTRIES && is_full(e)) {
        if (message->append_entries.n_entries > 0) e->stripped++;
        lm_raft_messages_strip(received);
    }
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = message;
    bool is_result = message->type == RAFT_APPEND_ENTRIES_RESULT;
    uint64_t from = message->server_id;
    int rv = lm_raft_engine_step(e, &event, now_us);
    /* The entries' bytes belong to the engine now, whatever it did with them. */
    lm_raft_messages_free(received, false);
    if (rv != 0)
        lm_raft_engine_set_fault(e, "a message", rv);
    else if (is_result)
        urge_transferee(e, from);
}

static void handle(lm_raft_engine_t *e, event_t *event, uint64_t now_us)
{
    switch (event->kind) {
    case LM_RAFT_EVENT_FRAME:
        e->held_frames--;
        e->held_bytes -= lm_raft_messages_size(&event->received);
        handle_message(e, &event->received, now_us);
        break;
    case LM_RAFT_EVENT_APPENDED: handle_append_done(e, event->number, now_us); break;
    case LM_RAFT_EVENT_SNAPSHOT:
        lm_raft_engine_handle_snapshot(e, event->image, event->number, now_us);
        break;
    case LM_RAFT_EVENT_INSTALLED: lm_raft_engine_handle_installed(e, now_us); break;
    }
}

void lm_raft_engine_drive(lm_raft_engine_t *e, uint64_t now_us)
{
    while (!e->holding && e->started && e->fault.code == LM_EXIT_OK) {
        if (e->applied < e->commit && !e->installing) {
            apply_next(e, now_us);
            continue;
        }
        event_t *event = e->first;
        if (!event) return;
        e->first = event->next;
        if (!e->first) e->last = &e->first;
        handle(e, event, now_us);
        event_free(event);
    }
}

void lm_raft_engine_put(lm_raft_engine_t *e, event_t *event)
{
    *e->last = event;
    e->last = &event->next;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

void lm_raft_engine_start(lm_raft_engine_t *e, const lm_raft_done_t *loaded, uint64_t now_us)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata;
    bool single = e->identity.n_servers == 1;
    struct raft_entry *entries = lm_raft_engine_load(e, loaded, &event, &metadata);
    e->durable_term = loaded->term;
    e->durable_vote = loaded->voted_for;
    e->started = true;
    event.start.term = single ? loaded->term + 1 : loaded->term;
    event.start.voted_for = single ? 0 : loaded->voted_for;
    int rv = lm_raft_engine_step(e, &event, now_us);
    free(entries);
    if (rv != 0) lm_raft_engine_set_fault(e, "its start", rv);
    lm_raft_engine_drive(e, now_us);
}

bool lm_raft_engine_receive(lm_raft_engine_t *e, uint64_t from_id, const lm_peer_frame_t *frame,
                            uint64_t now_us)
{
    int which = peer_index(e, from_id);
    event_t *event = lm_alloc(sizeof *event);
    bool good = which >= 0 && lm_raft_messages_in(from_id, e->identity.servers[which].name, frame,
                                                  &event->received);
    size_t size = lm_raft_messages_size(&event->received);
    if (!good || e->held_frames >= LM_RAFT_HELD_FRAMES ||
        e->held_bytes + size > LM_RAFT_HELD_BYTES) {
        event_free(event);
        return false;
    }
    e->held_frames++;
    e->held_bytes += size;
    lm_raft_engine_put(e, event);
    lm_raft_engine_drive(e, now_us);
    return true;
}

static void end_hold(lm_raft_engine_t *e, uint64_t now_us)
{
    LM_CHECK(e->holding, "term and vote were written without being asked for");
    struct raft_update update = e->held;
    e->holding = false;
    /* The time of a slow disk is nobody's silence. */
    e->raft.election_timer_start += now_us / 1000 - e->held_since_us / 1000;
    finish(e, &update);
}

void lm_raft_engine_done(lm_raft_engine_t *e, const lm_raft_done_t *done, uint64_t now_us)
{
    if (done->kind == LM_RAFT_DONE_METADATA) {
        end_hold(e, now_us);
    } else {
        event_t *event = lm_alloc(sizeof *event);
        event->kind = LM_RAFT_EVENT_APPENDED;
        event->number = done->number;
        lm_raft_engine_put(e, event);
    }
    lm_raft_engine_drive(e, now_us);
}

lm_rc_t lm_raft_engine_submit(lm_raft_engine_t *e, lm_bytes_t data, uint64_t now_us,
                              uint64_t *index)
{
    if (e->holding || !e->started || e->fault.code != LM_EXIT_OK ||
        raft_state(&e->raft) != RAFT_LEADER || raft_transferee(&e->raft) != 0)
        return LM_RC_NOT_LEADER;
    LM_CHECK(data.size > 0 && data.size % 8 == 0, "an entry of %zu bytes", data.size);
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct raft_entry entry = {.term = raft_current_term(&e->raft), .type = RAFT_COMMAND};
    entry.buf = (struct raft_buffer){.base = raft_malloc(data.size), .len = data.size};
    LM_CHECK(entry.buf.base, "out of memory, %zu bytes wanted", data.size);
    memcpy(entry.buf.base, data.data, data.size);
    entry.batch = entry.buf.base;
    event.submit.entries = &entry;
    event.submit.n = 1;
    *index = lm_raft_log_last_index(e->log) + 1;
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) {
        raft_free(entry.batch);
        return rv == RAFT_NOTLEADER ? LM_RC_NOT_LEADER : LM_RC_OVERLOADED;
    }
    lm_raft_engine_drive(e, now_us);
    return LM_RC_OK;
}

bool lm_raft_engine_transfer(lm_raft_engine_t *e, uint64_t server_id, uint64_t now_us)
{
    if (e->holding || !e->started || raft_state(&e->raft) != RAFT_LEADER ||
        raft_transferee(&e->raft) != 0)
        return false;
    struct raft_event event = {.type = RAFT_TRANSFER};
    event.transfer.server_id = server_id;
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv == RAFT_NOMEM) lm_raft_engine_set_fault(e, "a transfer", rv);
    lm_raft_engine_drive(e, now_us);
    return rv == 0;
}

void lm_raft_engine_tick(lm_raft_engine_t *e, uint64_t now_us, bool late)
{
    if (!e->started || e->holding || e->fault.code != LM_EXIT_OK) return;
    if (!late)
        e->late_in_row = 0;
    else if (e->late_in_row++ < LATE_IN_A_ROW_MAX)
        e->raft.election_timer_start = now_us / 1000;
    if (now_us / 1000 < raft_timeout(&e->raft)) return;
    /* Nobody would answer its sounding for the term behind the last. */
    if (e->may_campaign && raft_state(&e->raft) != RAFT_LEADER &&
        is_out_of_terms(e, raft_current_term(&e->raft) + 1))
        return;
    if (!e->may_campaign && raft_state(&e->raft) == RAFT_CANDIDATE) {
        /* Its next election would be a real one; without leave it goes back to sounding out. */
        e->raft.candidate_state.in_pre_vote = true;
        e->raft.candidate_state.disrupt_leader = false;
    }
    struct raft_event event = {.type = RAFT_TIMEOUT};
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) lm_raft_engine_set_fault(e, "a timeout", rv);
    lm_raft_engine_drive(e, now_us);
}

/* When a leader's heartbeat is sent that is due then. Those of several peers go out together, or
 * each would cost all threads on its way a run of its own: one waits a little for another that is
 * due soon after it, a few times in a row until they are in step. */
static uint64_t in_step_ms(const lm_raft_engine_t *e, uint64_t due_ms)
{
    uint64_t every_ms = e->options.heartbeat_ms, together_ms = due_ms;
    uint64_t patience_ms = every_ms / HEARTBEAT_PATIENCE;
    for (uint32_t i = 0; i < e->identity.n_servers; i++) {
        uint64_t next_ms = e->peers[i].sent_ms + every_ms;
        if (next_ms > together_ms && next_ms <= due_ms + every_ms / 2) together_ms = next_ms;
    }
    return together_ms < due_ms + patience_ms ? together_ms : due_ms + patience_ms;
}

uint64_t lm_raft_engine_wake_us(const lm_raft_engine_t *e)
{
    if (!e->started || e->holding) return UINT64_MAX;
    uint64_t due_ms = raft_timeout(&e->raft);
    return 1000 * (e->shown.role == LM_RAFT_LEADER_ROLE ? in_step_ms(e, due_ms) : due_ms);
}

void lm_raft_engine_may_campaign(lm_raft_engine_t *e, bool may) { e->may_campaign = may; }

void lm_raft_engine_link(lm_raft_engine_t *e, uint64_t server_id, bool up)
{
    int which = peer_index(e, server_id);
    if (which >= 0) e->peers[which].link_up = up;
}

/* ---- what it is ------------------------------------------------------------------------------ */

lm_raft_role_t lm_raft_engine_role(const lm_raft_engine_t *e) { return e->shown.role; }
uint64_t lm_raft_engine_term(const lm_raft_engine_t *e) { return e->shown.term; }
uint64_t lm_raft_engine_leader(const lm_raft_engine_t *e) { return e->shown.leader; }
uint64_t lm_raft_engine_commit(const lm_raft_engine_t *e) { return e->commit; }
uint64_t lm_raft_engine_leader_start(const lm_raft_engine_t *e) { return e->leader_start; }
const lm_raft_log_t *lm_raft_engine_log(const lm_raft_engine_t *e) { return e->log; }
uint64_t lm_raft_engine_stored(const lm_raft_engine_t *e) { return e->raft.last_stored; }
uint64_t lm_raft_engine_stripped(const lm_raft_engine_t *e) { return e->stripped; }
uint64_t lm_raft_engine_unacceptable(const lm_raft_engine_t *e) { return e->unacceptable; }
const lm_raft_fault_t *lm_raft_engine_fault(const lm_raft_engine_t *e) { return &e->fault; }

uint64_t lm_raft_engine_elections_of(const lm_raft_engine_t *e, lm_raft_election_t cause)
{
    return e->elections[cause];
}

uint64_t lm_raft_engine_elections(const lm_raft_engine_t *e)
{
    uint64_t all = 0;
    for (int i = 0; i < LM_RAFT_ELECTIONS_N; i++) all += e->elections[i];
    return all;
}

uint64_t lm_raft_engine_prevotes_rejected(const lm_raft_engine_t *e)
{
    return e->prevotes_rejected;
}

uint64_t lm_raft_engine_transferee(const lm_raft_engine_t *e)
{
    return e->holding ? 0 : raft_transferee(&e->raft);
}

uint64_t lm_raft_engine_match(const lm_raft_engine_t *e, uint64_t server_id)
{
    raft_index index;
    return raft_match_index(&e->raft, server_id, &index) == 0 ? index : 0;
}
