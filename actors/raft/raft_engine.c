/* Inputs wait in a queue while term and vote are being written; drive() works it off one by one. */
#include "raft_engine.h"

#include <stdlib.h>

#include "base_check.h"
#include "base_log.h"
#include "raft_messages.h"

#define LATE_IN_A_ROW_MAX 3

typedef unsigned long long ull_t;

typedef struct event {
    struct event *next;
    bool is_done;
    uint64_t number;             /* of the append that is done */
    lm_raft_received_t received; /* else */
} event_t;

/* A write in flight: entries first..first+n-1 as they were then. */
typedef struct write {
    struct write *next;
    uint64_t number, first, n, first_serial;
    lm_raft_buffer_t *buffer;
} write_t;

typedef struct {
    bool link_up;
    bool unanswered;      /* entries were sent and nothing has come back */
    uint64_t sent_behind; /* index before the entries sent last */
} peer_t;

struct lm_raft_engine {
    struct raft raft;
    lm_raft_engine_options_t options;
    lm_raft_identity_t identity;
    lm_raft_log_t *log;
    lm_arena_t *arena;
    peer_t peers[LM_RAFT_SERVERS_MAX]; /* as identity.servers */
    bool started;
    bool may_campaign;
    unsigned late_in_row;
    uint64_t durable_term, durable_vote;
    bool holding; /* a report of term and vote is awaited */
    uint64_t held_since_us;
    struct raft_update held;
    event_t *first, **last;
    size_t held_frames, held_bytes;
    write_t *writes, **last_write;
    uint64_t next_write;
    uint64_t commit, applied, leader_start, elections;
    struct {
        lm_raft_role_t role;
        uint64_t term, leader;
    } shown;
    lm_raft_fault_t fault;
};

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
    return e;
}

static void event_free(event_t *event)
{
    if (!event->is_done) lm_raft_messages_free(&event->received, true);
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

/* Starts writing term and vote if they have changed. Returns false if there was nothing to write.
 */
static bool write_metadata(lm_raft_engine_t *e)
{
    uint64_t term = raft_current_term(&e->raft), vote = raft_voted_for(&e->raft);
    if (term == e->durable_term && vote == e->durable_vote) return false;
    LM_CHECK(term >= e->durable_term, "term %llu after %llu", (ull_t)term, (ull_t)e->durable_term);
    if (term > e->durable_term && vote == e->raft.id) e->elections++;
    e->durable_term = term;
    e->durable_vote = vote;
    e->options.disk->set_metadata(e->options.disk, term, vote);
    return true;
}

/* ---- duties: messages ------------------------------------------------------------------------ */

static void send_entries(lm_raft_engine_t *e, const lm_raft_outgoing_t *from, int which,
                         const struct raft_message *message)
{
    const struct raft_append_entries *append = &message->append_entries;
    peer_t *peer = &e->peers[which];
    uint64_t last = append->prev_log_index + append->n_entries, index = append->prev_log_index;
    /* The same entries again without a word in between: the peer may be away, so only a few. */
    bool again = peer->unanswered && peer->sent_behind == append->prev_log_index;
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
    lm_raft_outgoing_t from = {.raft = &e->raft, .log = e->log, .commit = e->commit};
    int which = peer_index(e, message->server_id);
    if (which < 0) return;
    if (message->type == RAFT_APPEND_ENTRIES) {
        send_entries(e, &from, which, message);
        return;
    }
    /* Sounding out an election without a lock that could serve would only disturb. */
    if (message->type == RAFT_REQUEST_VOTE && message->request_vote.pre_vote && !e->may_campaign)
        return;
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
    if (begins) e->leader_start = lm_raft_log_last_index(e->log);
    raft_leader(&e->raft, &leader, &address);
    e->shown.role = role;
    e->shown.term = term;
    e->shown.leader = leader;
}

static void finish(lm_raft_engine_t *e, const struct raft_update *update)
{
    uint64_t commit = raft_commit_index(&e->raft);
    if (commit > e->commit) e->commit = commit;
    LM_CHECK(e->commit <= lm_raft_log_last_index(e->log), "commit index %llu of a log of %llu",
             (ull_t)e->commit, (ull_t)lm_raft_log_last_index(e->log));
    show(e);
    if (update->flags & RAFT_UPDATE_MESSAGES)
        for (unsigned i = 0; i < update->messages.n; i++)
            send_message(e, &update->messages.batch[i]);
    lm_arena_reset(e->arena);
}

static void set_fault(lm_raft_engine_t *e, const char *what, int rv)
{
    if (e->fault.code != LM_EXIT_OK) return;
    lm_exit_t code = rv == RAFT_SHUTDOWN || rv == RAFT_NOMEM ? LM_EXIT_ASSERTION : LM_EXIT_SYSTEM;
    lm_raft_fault_set(&e->fault, code, "the consensus engine failed at %s: %s", what,
                      raft_strerror(rv));
}

/* One event and its duties. Returns what the engine returned. */
static int step(lm_raft_engine_t *e, struct raft_event *event, uint64_t now_us)
{
    struct raft_update update;
    event->time = now_us / 1000;
    event->capacity = 0;
    int rv = raft_step(&e->raft, event, &update);
    if (rv != 0) return rv;
    LM_CHECK(!(update.flags & RAFT_UPDATE_SNAPSHOT), "a snapshot is to be installed");
    bool writes = write_metadata(e);
    if (update.flags & RAFT_UPDATE_ENTRIES) take_entries(e, &update);
    LM_CHECK(raft_last_index(&e->raft) == lm_raft_log_last_index(e->log),
             "the engine's log ends at %llu, this one at %llu", (ull_t)raft_last_index(&e->raft),
             (ull_t)lm_raft_log_last_index(e->log));
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
    if (rv == 0) rv = step(e, &event, now_us);
    if (rv != 0) set_fault(e, "a configuration", rv);
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
    int rv = step(e, &event, now_us);
    if (rv != 0) set_fault(e, "a finished write", rv);
}

static bool is_acceptable(lm_raft_engine_t *e, const struct raft_message *message)
{
    if (message->type == RAFT_TIMEOUT_NOW) return e->may_campaign;
    if (message->type != RAFT_APPEND_ENTRIES || raft_state(&e->raft) != RAFT_LEADER) return true;
    if (message->append_entries.term != raft_current_term(&e->raft)) return true;
    lm_error("server %llu sends entries as leader of term %llu, which is this node's own",
             (ull_t)message->server_id, (ull_t)message->append_entries.term);
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

static void handle_message(lm_raft_engine_t *e, lm_raft_received_t *received, uint64_t now_us)
{
    struct raft_message *message = &received->message;
    if (!is_acceptable(e, message)) {
        lm_raft_messages_free(received, true);
        return;
    }
    if (message->type == RAFT_APPEND_ENTRIES_RESULT)
        e->peers[peer_index(e, message->server_id)].unanswered = false;
    lm_raft_messages_clamp(message, e->commit);
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = message;
    bool is_result = message->type == RAFT_APPEND_ENTRIES_RESULT;
    uint64_t from = message->server_id;
    int rv = step(e, &event, now_us);
    /* The entries' bytes belong to the engine now, whatever it did with them. */
    lm_raft_messages_free(received, false);
    if (rv != 0)
        set_fault(e, "a message", rv);
    else if (is_result)
        urge_transferee(e, from);
}

static void drive(lm_raft_engine_t *e, uint64_t now_us)
{
    while (!e->holding && e->started && e->fault.code == LM_EXIT_OK) {
        if (e->applied < e->commit) {
            apply_next(e, now_us);
            continue;
        }
        event_t *event = e->first;
        if (!event) return;
        e->first = event->next;
        if (!e->first) e->last = &e->first;
        if (event->is_done) {
            handle_append_done(e, event->number, now_us);
        } else {
            e->held_frames--;
            e->held_bytes -= lm_raft_messages_size(&event->received);
            handle_message(e, &event->received, now_us);
        }
        free(event);
    }
}

static void put_event(lm_raft_engine_t *e, event_t *event)
{
    *e->last = event;
    e->last = &event->next;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

void lm_raft_engine_start(lm_raft_engine_t *e, const lm_raft_done_t *loaded, uint64_t now_us)
{
    struct raft_event event = {.type = RAFT_START};
    bool single = e->identity.n_servers == 1;
    struct raft_entry *entries = lm_alloc((loaded->n_entries + 1) * sizeof *entries);
    for (size_t i = 0; i < loaded->n_entries; i++) {
        const lm_raft_entry_t *entry = &loaded->entries[i];
        lm_raft_log_append(e->log, entry->term, entry->type, entry->data, entry->buffer);
        entries[i] = (struct raft_entry){
            .term = entry->term,
            .type = (enum raft_entry_type)entry->type,
            .buf = {.base = (void *)(uintptr_t)entry->data.data, .len = entry->data.size},
        };
    }
    e->durable_term = loaded->term;
    e->durable_vote = loaded->voted_for;
    e->started = true;
    event.start.term = single ? loaded->term + 1 : loaded->term;
    event.start.voted_for = single ? 0 : loaded->voted_for;
    event.start.start_index = 1;
    event.start.entries = entries;
    event.start.n_entries = (unsigned)loaded->n_entries;
    int rv = step(e, &event, now_us);
    free(entries);
    if (rv != 0) set_fault(e, "its start", rv);
    drive(e, now_us);
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
    put_event(e, event);
    drive(e, now_us);
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
        event->is_done = true;
        event->number = done->number;
        put_event(e, event);
    }
    drive(e, now_us);
}

lm_rc_t lm_raft_engine_submit(lm_raft_engine_t *e, lm_bytes_t data, uint64_t now_us,
                              uint64_t *index)
{
    if (e->holding || !e->started || raft_state(&e->raft) != RAFT_LEADER ||
        raft_transferee(&e->raft) != 0)
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
    int rv = step(e, &event, now_us);
    if (rv != 0) {
        raft_free(entry.batch);
        return rv == RAFT_NOTLEADER ? LM_RC_NOT_LEADER : LM_RC_OVERLOADED;
    }
    drive(e, now_us);
    return LM_RC_OK;
}

bool lm_raft_engine_transfer(lm_raft_engine_t *e, uint64_t server_id, uint64_t now_us)
{
    if (e->holding || !e->started || raft_state(&e->raft) != RAFT_LEADER ||
        raft_transferee(&e->raft) != 0)
        return false;
    struct raft_event event = {.type = RAFT_TRANSFER};
    event.transfer.server_id = server_id;
    int rv = step(e, &event, now_us);
    if (rv == RAFT_NOMEM) set_fault(e, "a transfer", rv);
    drive(e, now_us);
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
    if (!e->may_campaign && raft_state(&e->raft) == RAFT_CANDIDATE) {
        /* Its next election would be a real one; without leave it goes back to sounding out. */
        e->raft.candidate_state.in_pre_vote = true;
        e->raft.candidate_state.disrupt_leader = false;
    }
    struct raft_event event = {.type = RAFT_TIMEOUT};
    int rv = step(e, &event, now_us);
    if (rv != 0) set_fault(e, "a timeout", rv);
    drive(e, now_us);
}

uint64_t lm_raft_engine_wake_us(const lm_raft_engine_t *e)
{
    return !e->started || e->holding ? UINT64_MAX : raft_timeout(&e->raft) * 1000;
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
uint64_t lm_raft_engine_elections(const lm_raft_engine_t *e) { return e->elections; }
const lm_raft_fault_t *lm_raft_engine_fault(const lm_raft_engine_t *e) { return &e->fault; }

uint64_t lm_raft_engine_transferee(const lm_raft_engine_t *e)
{
    return e->holding ? 0 : raft_transferee(&e->raft);
}

uint64_t lm_raft_engine_match(const lm_raft_engine_t *e, uint64_t server_id)
{
    raft_index index;
    return raft_match_index(&e->raft, server_id, &index) == 0 ? index : 0;
}
