/* Commands on their way into the log: a queue, and up to eight entries in flight.
 *
 * Invariants
 *   P1  Commands are proposed in the order in which they were queued, and applied in that order.
 *   P2  An entry is ours if raft gave it the index and term it has, or, as long as raft has not
 *       answered, if it is byte for byte the oldest such batch. raft answers PROPOSE before it
 *       delivers the entry, and refuses in order.
 *   P3  A refusal by raft is certain: nothing of the batch will ever be applied. No answer, or the
 *       death of raft, is not.
 *   P4  KeepAlives that are alone in the queue wait for others of their kind, for 25 ms or until
 *       they are 64, so that one entry renews many sessions; whatever else is queued takes them
 *       along at once. None waits whose session is near its end. A lease begins when its KeepAlive
 *       is applied, and its client counts from the sending (S6), so only the client loses those
 *       milliseconds.
 *   P5  Where eight commands and more were under way lately, an entry waits until as many are
 *       again, for 2 ms at most: who was answered comes back soon, and one entry for all of them
 *       costs every node what one for the first of them does. Whoever is alone never waits. The
 *       same thought is behind PostgreSQL's commit_delay and commit_siblings. */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "lock_state.h"
#include "wire_command.h"

static lm_bytes_t keep(uint8_t **at, lm_bytes_t text)
{
    if (text.size) memcpy(*at, text.data, text.size);
    lm_bytes_t kept = lm_bytes(*at, text.size);
    *at += text.size;
    return kept;
}

/* P4 */
static bool is_prompt(const lm_lock_room_t *room, const lm_command_t *command)
{
    return command->kind != LM_COMMAND_KEEP_ALIVE ||
           !lm_lock_session_may_linger(room, command->session);
}

static void set_linger(lm_lock_room_t *room, const lm_lock_proposal_t *proposal)
{
    if (proposal->prompt)
        room->linger_until_us = 0;
    else if (TAILQ_EMPTY(&room->queue))
        room->linger_until_us = room->now_us + LM_LOCK_LINGER_US;
}

lm_lock_proposal_t *lm_lock_propose_add(lm_lock_room_t *room, const lm_command_t *command,
                                        lm_lock_party_t *party, lm_lock_call_t *call)
{
    const lm_request_key_t *key = &command->key;
    size_t texts = key->identity.size + key->owner.size + key->request_id.size +
                   command->name.size + command->secret.size;
    lm_lock_proposal_t *proposal = lm_alloc(sizeof *proposal + texts);
    memset(proposal, 0, sizeof *proposal);
    uint8_t *at = proposal->text;
    proposal->command = *command;
    proposal->command.pair = room->pair;
    proposal->command.key.identity = keep(&at, key->identity);
    proposal->command.key.owner = keep(&at, key->owner);
    proposal->command.key.request_id = keep(&at, key->request_id);
    proposal->command.name = keep(&at, command->name);
    proposal->command.secret = keep(&at, command->secret);
    proposal->key = lm_command_key(&proposal->command, &proposal->texts);
    proposal->bytes = lm_wire_command_bytes_max(&proposal->command);
    proposal->party = party;
    proposal->call = call;
    proposal->prompt = is_prompt(room, command);
    set_linger(room, proposal);
    TAILQ_INSERT_TAIL(&room->queue, proposal, in_list);
    room->n_queue++;
    room->n_prompt += proposal->prompt;
    if (call) call->proposal = proposal;
    if (command->kind == LM_COMMAND_ACQUIRE)
        TAILQ_INSERT_TAIL(&party->acquires, proposal, in_party);
    return proposal;
}

bool lm_lock_propose_is_full(const lm_lock_room_t *room)
{
    return room->n_queue >= LM_LOCK_QUEUE_MAX;
}

/* ---- sending --------------------------------------------------------------------------------- */

static lm_lock_batch_t *batch_new(void)
{
    lm_lock_batch_t *batch = lm_alloc(sizeof *batch);
    memset(batch, 0, sizeof *batch);
    TAILQ_INIT(&batch->proposals);
    return batch;
}

static lm_lock_batch_t *batch_from_queue(lm_lock_room_t *room, size_t *n)
{
    lm_lock_batch_t *batch = batch_new();
    size_t bytes = 0;
    *n = 0;
    lm_lock_proposal_t *next;
    while ((next = TAILQ_FIRST(&room->queue)) && *n < LM_LOCK_BATCH_COMMANDS_MAX &&
           bytes + next->bytes <= LM_LOCK_BATCH_BYTES_MAX) {
        TAILQ_REMOVE(&room->queue, next, in_list);
        TAILQ_INSERT_TAIL(&batch->proposals, next, in_list);
        bytes += next->bytes;
        room->n_queue--;
        room->n_prompt -= next->prompt;
        batch->n_prompt += next->prompt;
        ++*n;
    }
    return batch;
}

static void send_batch(lm_lock_room_t *room, lm_lock_batch_t *batch, size_t n, bool takeover)
{
    lm_command_t *commands = lm_arena_alloc(room->scratch, n * sizeof *commands);
    size_t i = 0;
    lm_lock_proposal_t *proposal;
    TAILQ_FOREACH(proposal, &batch->proposals, in_list)
    commands[i++] = proposal->command;
    LM_CHECK(i == n, "a batch of %zu commands has %zu", n, i);
    lm_bytes_t entry = lm_wire_command_encode(commands, n, room->scratch);
    batch->entry = lm_alloc(entry.size);
    batch->entry_size = entry.size;
    memcpy(batch->entry, entry.data, entry.size);
    lm_bus_generation_t incarnation = {.boot_id = room->generation.boot_id,
                                       .counter = room->generation.counter};
    lm_bus_propose_t body = {
        .term = room->pair.term, .incarnation = &incarnation, .takeover = takeover, .entry = entry};
    batch->correlation = lm_outbox_call(room->out, LM_RAFT, LM_MSG_PROPOSE, &body,
                                        room->now_us + LM_LOCK_PROPOSE_US, 0);
    room->flight[room->n_flight++] = batch;
}

static bool lingers(lm_lock_room_t *room)
{
    if (room->n_queue >= LM_LOCK_LINGER_COMMANDS_MAX) return false;
    if (room->now_us >= room->linger_until_us) return false;
    lm_outbox_wake(room->out, room->linger_until_us);
    return true;
}

static size_t n_under_way(const lm_lock_room_t *room)
{
    size_t n = room->n_prompt;
    for (size_t i = 0; i < room->n_flight; i++) n += room->flight[i]->n_prompt;
    return n;
}

/* P5 */
static bool gathers(lm_lock_room_t *room)
{
    if (room->n_prompt == 0 || room->n_queue >= LM_LOCK_BATCH_COMMANDS_MAX) return false;
    if (room->crowd < room->crowd_min || n_under_way(room) >= room->crowd) return false;
    if (room->gather_until_us == 0) room->gather_until_us = room->now_us + LM_LOCK_GATHER_US;
    if (room->now_us >= room->gather_until_us) return false;
    lm_outbox_wake(room->out, room->gather_until_us);
    return true;
}

/* Who was here lately is expected again; who stays away is forgotten by and by. */
static void note_crowd(lm_lock_room_t *room)
{
    size_t n = n_under_way(room), left = room->crowd * 7 / 8;
    room->crowd = n > left ? n : left;
    room->gather_until_us = 0;
}

static bool may_send(const lm_lock_room_t *room)
{
    return room->serving && room->n_flight < LM_LOCK_IN_FLIGHT_MAX && !TAILQ_EMPTY(&room->queue);
}

void lm_lock_propose_flush(lm_lock_room_t *room)
{
    if (!may_send(room) || lingers(room) || gathers(room)) return;
    if (room->n_prompt) note_crowd(room);
    while (may_send(room)) {
        size_t n;
        lm_lock_batch_t *batch = batch_from_queue(room, &n);
        send_batch(room, batch, n, false);
    }
}

void lm_lock_propose_takeover(lm_lock_room_t *room)
{
    LM_CHECK(room->n_flight == 0 && TAILQ_EMPTY(&room->queue), "a Takeover is not the first");
    const lm_bus_node_config_t *config = room->config;
    const lm_settings_t built_in = lm_settings_default();
    lm_command_t command = {
        .kind = LM_COMMAND_TAKEOVER,
        .settings = {.semantics = built_in.semantics,
                     .waiters_per_lock_max = config->waiters_per_lock_max,
                     .locks_max = config->locks_max,
                     .holds_per_owner_max = config->holds_per_owner_max,
                     .record_ring_size = config->record_ring_size,
                     .sessions_max = config->sessions_max,
                     .session_window = config->session_window},
    };
    lm_lock_propose_add(room, &command, NULL, NULL);
    size_t n;
    lm_lock_batch_t *batch = batch_from_queue(room, &n);
    send_batch(room, batch, n, true);
}

/* ---- what becomes of them -------------------------------------------------------------------- */

static lm_lock_batch_t *take_batch(lm_lock_room_t *room, size_t at)
{
    lm_lock_batch_t *batch = room->flight[at];
    room->n_flight--;
    for (size_t i = at; i < room->n_flight; i++) room->flight[i] = room->flight[i + 1];
    return batch;
}

lm_lock_proposal_t *lm_lock_propose_take(lm_lock_batch_t *batch)
{
    lm_lock_proposal_t *proposal = TAILQ_FIRST(&batch->proposals);
    if (!proposal) return NULL;
    TAILQ_REMOVE(&batch->proposals, proposal, in_list);
    if (proposal->command.kind == LM_COMMAND_ACQUIRE)
        TAILQ_REMOVE(&proposal->party->acquires, proposal, in_party);
    return proposal;
}

void lm_lock_propose_free(lm_lock_proposal_t *proposal)
{
    if (proposal->call) proposal->call->proposal = NULL;
    free(proposal);
}

void lm_lock_propose_done(lm_lock_batch_t *batch)
{
    LM_CHECK(TAILQ_EMPTY(&batch->proposals), "a batch ends before its commands");
    free(batch->entry);
    free(batch);
}

/* Whoever asked for the command has changed nothing by it. */
static void certainly_not_applied(const lm_lock_proposal_t *proposal)
{
    if (proposal->call) proposal->call->maybe_applied = false;
    if (proposal->command.kind == LM_COMMAND_ACQUIRE)
        lm_lock_party_set_maybe(proposal->party, proposal->key.request_id, false);
}

static void refuse(lm_lock_room_t *room, lm_lock_proposal_t *proposal, lm_rc_t code)
{
    certainly_not_applied(proposal);
    switch (proposal->command.kind) {
    case LM_COMMAND_TAKEOVER: lm_lock_lead_takeover_failed(room); break;
    case LM_COMMAND_ACQUIRE: lm_lock_acquire_refused(room, proposal, code); break;
    case LM_COMMAND_EXPIRE: lm_lock_lease_expire_done(room, proposal->command.hold); break;
    case LM_COMMAND_EXPIRE_SESSION:
        lm_lock_session_expire_done(room, proposal->command.session);
        break;
    case LM_COMMAND_LEAVE:
    case LM_COMMAND_ABANDON:
    case LM_COMMAND_WAIT_TIMEOUT: lm_lock_party_unpark(room, proposal->party, true); break;
    default: lm_lock_change_refused(room, proposal, code); break;
    }
    lm_lock_propose_free(proposal);
}

static void refuse_batch(lm_lock_room_t *room, size_t at, lm_rc_t code)
{
    lm_lock_batch_t *batch = take_batch(room, at);
    room->figures.proposals_refused++;
    lm_lock_proposal_t *proposal;
    while ((proposal = lm_lock_propose_take(batch))) refuse(room, proposal, code);
    lm_lock_propose_done(batch);
}

static size_t flight_of(const lm_lock_room_t *room, uint64_t correlation)
{
    size_t at = 0;
    while (at < room->n_flight && room->flight[at]->correlation != correlation) at++;
    return at;
}

void lm_lock_propose_on_proposed(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_proposed_t *body = message->body;
    size_t at = flight_of(room, message->from.correlation);
    if (at == room->n_flight) return; /* applied before the answer came */
    if (body->code != LM_RC_OK) {
        refuse_batch(room, at, body->code);
        return;
    }
    room->flight[at]->correlation = 0;
    room->flight[at]->index = body->index;
    room->flight[at]->term = body->term;
}

bool lm_lock_propose_call_failed(lm_lock_room_t *room, uint64_t correlation, lm_rc_t why)
{
    size_t at = flight_of(room, correlation);
    if (at == room->n_flight) return false;
    if (lm_rc_not_applied(why)) {
        refuse_batch(room, at, why);
    } else {
        room->flight[at]->correlation = 0; /* P2: found by its bytes, if it is ever applied */
    }
    return true;
}

static bool is_entry(const lm_lock_batch_t *batch, const lm_bus_committed_entry_t *entry)
{
    if (batch->index) return batch->index == entry->index && batch->term == entry->term;
    return lm_bytes_equal(lm_bytes(batch->entry, batch->entry_size), entry->data);
}

lm_lock_batch_t *lm_lock_propose_match(lm_lock_room_t *room, const lm_bus_committed_entry_t *entry)
{
    for (size_t at = 0; at < room->n_flight; at++) {
        if (!is_entry(room->flight[at], entry)) continue;
        lm_lock_batch_t *batch = take_batch(room, at);
        if (batch->correlation) lm_outbox_forget(room->out, batch->correlation);
        return batch;
    }
    return NULL;
}

void lm_lock_propose_forget_all(lm_lock_room_t *room)
{
    lm_lock_batch_t unsent = {0};
    TAILQ_INIT(&unsent.proposals);
    TAILQ_CONCAT(&unsent.proposals, &room->queue, in_list);
    room->n_queue = room->n_prompt = room->crowd = 0;
    room->gather_until_us = 0;
    lm_lock_proposal_t *proposal;
    while ((proposal = lm_lock_propose_take(&unsent))) {
        certainly_not_applied(proposal);
        lm_lock_propose_free(proposal);
    }
    while (room->n_flight) {
        lm_lock_batch_t *batch = take_batch(room, 0);
        if (batch->correlation && room->out) lm_outbox_forget(room->out, batch->correlation);
        while ((proposal = lm_lock_propose_take(batch))) {
            if (LM_FAULT(FLIGHT_DENIED)) certainly_not_applied(proposal);
            lm_lock_propose_free(proposal);
        }
        lm_lock_propose_done(batch);
    }
}
