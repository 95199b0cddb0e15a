/* What raft delivers: attaching, committed entries in order, credit.
 *
 * Invariants
 *   J1  Entries are applied one by one, exactly once, in the order of their indices; each batch
 *       begins right behind what is applied, in index and in term (S15). Anything else stops the
 *       actor: its successor attaches with an empty table.
 *   J2  Entries of other types than commands only move the applied index (S22).
 *   J3  While there is no ATTACHED, or its image is still being loaded, nothing that raft
 *       delivers is taken: it may come from before.
 *   J4  Apply looks at the entry and the table only; what the leader does about the effects comes
 *       afterwards, command by command.
 *   J5  A committed entry that cannot be read is the end, on every replica at the same place, and
 *       no start of the same version gets further. */
#include <stdio.h>

#include "base_check.h"
#include "base_fault.h"
#include "base_log.h"
#include "lock_state.h"
#include "wire_command.h"

enum { LM_ENTRY_COMMANDS = 1 };

/* ---- attaching ------------------------------------------------------------------------------- */

void lm_lock_deliver_attach(lm_lock_room_t *room)
{
    if (!room->started) return;
    if (room->attach_call) lm_outbox_forget(room->out, room->attach_call);
    lm_lock_timer_stop(&room->timers, &room->retry_attach);
    lm_bus_attach_t body = {.cluster_id = room->cluster_id,
                            .history_id = room->history_id,
                            .applied_index = room->applied_index,
                            .applied_term = room->applied_term,
                            .state_hash = lm_table_hash(room->table)};
    room->attach_call = lm_outbox_call(room->out, LM_RAFT, LM_MSG_ATTACH, &body, 0, 0);
}

void lm_lock_deliver_detach(lm_lock_room_t *room)
{
    room->attached = room->ready = false;
    room->role = LM_API_RAFT_ROLE_AWAY;
    lm_lock_snapshot_end(room);
    lm_lock_restore_end(room);
    lm_lock_lead_check(room);
}

void lm_lock_deliver_end(lm_lock_room_t *room, const char *words)
{
    lm_error("%s", words);
    room->unreadable = true;
    lm_lock_deliver_detach(room);
    lm_outbox_exit(room->out, LM_EXIT_DAMAGED, words);
}

void lm_lock_deliver_on_again(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    lm_info("raft asks to attach again at %llu", (unsigned long long)room->applied_index);
    lm_lock_deliver_detach(room);
    lm_lock_deliver_attach(room);
}

static void on_retry(void *self, lm_lock_timer_t *timer)
{
    (void)timer;
    lm_lock_deliver_attach(self);
}

void lm_lock_deliver_attach_later(lm_lock_room_t *room)
{
    lm_lock_timer_set(&room->timers, &room->retry_attach, room->now_us + LM_LOCK_RETRY_ATTACH_US,
                      on_retry);
}

bool lm_lock_deliver_call_failed(lm_lock_room_t *room, uint64_t correlation)
{
    if (!room->attach_call || correlation != room->attach_call) return false;
    room->attach_call = 0;
    lm_lock_deliver_attach_later(room);
    return true;
}

static void reset(lm_lock_room_t *room)
{
    if (room->applied_index > 0)
        lm_info("begins anew: raft's log does not go on behind the %llu entries applied here",
                (unsigned long long)room->applied_index);
    lm_lock_lead_end(room);
    lm_lock_queues_forget(room);
    lm_table_destroy(&room->table);
    room->table = lm_table_new(0);
    room->applied_index = room->applied_term = 0;
    room->commit_index = 0;
    room->current = false;
}

void lm_lock_deliver_tell_cluster(lm_lock_room_t *room)
{
    if (!room->cluster_id.size) return;
    lm_bus_attached_t body = {.cluster_id = room->cluster_id,
                              .history_id = room->history_id,
                              .commit_index = room->commit_index};
    lm_outbox_send(room->out, LM_GATEWAY, LM_MSG_CLUSTER_ID, &body);
}

void lm_lock_deliver_cluster(lm_lock_room_t *room, lm_bytes_t cluster_id, lm_bytes_t history_id)
{
    if (!cluster_id.size || (lm_bytes_equal(cluster_id, room->cluster_id) &&
                             lm_bytes_equal(history_id, room->history_id)))
        return;
    lm_arena_reset(room->cluster_texts);
    room->cluster_id = lm_arena_copy(room->cluster_texts, cluster_id);
    room->history_id = lm_arena_copy(room->cluster_texts, history_id);
    lm_lock_deliver_tell_cluster(room);
}

void lm_lock_deliver_on_attached(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_attached_t *body = message->body;
    if (message->from.correlation != room->attach_call) return;
    room->attach_call = 0;
    if (body->reset) reset(room);
    room->attach_commit = body->commit_index;
    if (body->commit_index > room->commit_index) room->commit_index = body->commit_index;
    lm_lock_deliver_cluster(room, body->cluster_id, body->history_id);
    if (body->reset && body->image)
        lm_lock_restore_begin(room, body->image);
    else
        lm_lock_deliver_begin(room);
}

void lm_lock_deliver_begin(lm_lock_room_t *room)
{
    room->attached = true;
    lm_lock_deliver_credit(room, true);
    lm_lock_deliver_look(room);
    lm_lock_lead_check(room);
}

void lm_lock_deliver_credit(lm_lock_room_t *room, bool always)
{
    uint64_t half = room->applied_index + LM_LOCK_CREDIT_ENTRIES / 2;
    if (!room->attached || (!always && room->credit >= half)) return;
    room->credit = room->applied_index + LM_LOCK_CREDIT_ENTRIES;
    lm_bus_credit_t body = {.up_to_index = room->credit};
    lm_outbox_send(room->out, LM_RAFT, LM_MSG_CREDIT, &body);
    room->state_changed = true; /* raft must not think this lock late, nor hear of every entry */
}

void lm_lock_deliver_state(lm_lock_room_t *room)
{
    room->state_changed = false;
    if (!room->attached) return;
    lm_bus_lock_state_t body = {.ready = room->ready,
                                .applied_index = room->applied_index,
                                .state_hash = lm_table_hash(room->table),
                                .give_up = room->draining};
    lm_outbox_send(room->out, LM_RAFT, LM_MSG_LOCK_STATE, &body);
}

void lm_lock_deliver_look(lm_lock_room_t *room)
{
    if (!room->attached) return;
    if (!room->ready && room->applied_index >= room->attach_commit)
        room->ready = room->state_changed = true;
    bool led =
        room->role_event && room->role != LM_API_RAFT_ROLE_AWAY && room->role_event->leader.size;
    if (!room->current && led && room->applied_index >= room->commit_index) {
        room->current = true;
        /* What was caught up with happened at another time than now. */
        lm_lock_ages_begin(&room->ages, lm_table_op_seq(room->table), room->now_us);
    }
    lm_lock_calls_take_early(room);
}

/* ---- effects, for the leader ----------------------------------------------------------------- */

static void on_consequence(lm_lock_room_t *room, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_GRANTED)
        lm_lock_acquire_granted(room, effect);
    else if (effect->kind == LM_EFFECT_HOLD_ENDED)
        lm_lock_lease_end(room, effect->hold);
    else if (effect->kind == LM_EFFECT_WAIT_ENDED)
        lm_lock_acquire_wait_ended(room, effect);
    else if (effect->kind == LM_EFFECT_SESSION_ENDED)
        lm_lock_session_ended(room, effect->session);
}

/* The answer to a command of ours. */
static void on_answer(lm_lock_room_t *room, lm_lock_proposal_t *proposal, const lm_effect_t *effect)
{
    switch (proposal->command.kind) {
    case LM_COMMAND_TAKEOVER:
        if (effect->kind == LM_EFFECT_VOID) lm_lock_lead_takeover_void(room);
        break;
    case LM_COMMAND_ACQUIRE: lm_lock_acquire_applied(room, proposal, effect); break;
    case LM_COMMAND_RELEASE:
    case LM_COMMAND_RENEW:
    case LM_COMMAND_CANCEL: lm_lock_change_applied(room, proposal, effect); break;
    case LM_COMMAND_OPEN_SESSION:
    case LM_COMMAND_KEEP_ALIVE:
    case LM_COMMAND_CLOSE_SESSION: lm_lock_session_call_applied(room, proposal, effect); break;
    default: break; /* what follows from it comes after its consequences */
    }
}

static void on_done(lm_lock_room_t *room, lm_lock_proposal_t *proposal)
{
    lm_command_kind_t kind = proposal->command.kind;
    if (kind == LM_COMMAND_EXPIRE)
        lm_lock_lease_expire_done(room, proposal->command.hold);
    else if (kind == LM_COMMAND_EXPIRE_SESSION)
        lm_lock_session_expire_done(room, proposal->command.session);
    else if (kind == LM_COMMAND_LEAVE || kind == LM_COMMAND_ABANDON ||
             kind == LM_COMMAND_WAIT_TIMEOUT)
        lm_lock_party_unpark(room, proposal->party, false);
}

static bool moves_queue(const lm_effect_t *effect)
{
    return effect->kind == LM_EFFECT_QUEUED || effect->kind == LM_EFFECT_GRANTED ||
           effect->kind == LM_EFFECT_WAIT_ENDED;
}

static void count(lm_lock_room_t *room, const lm_effect_t *effect)
{
    lm_lock_figures_t *figures = &room->figures;
    if (effect->kind == LM_EFFECT_RENEWED) figures->renewals++;
    if (effect->kind == LM_EFFECT_SESSION_ENDED && effect->end == LM_END_EXPIRED)
        figures->sessions_expired++;
    else if (effect->kind == LM_EFFECT_SESSION_ENDED)
        figures->sessions_closed++;
    if (effect->kind == LM_EFFECT_WAIT_ENDED && effect->end == LM_END_TIMED_OUT)
        figures->timed_out++;
    if (effect->kind == LM_EFFECT_WAIT_ENDED && effect->end == LM_END_ABANDONED) figures->left++;
    if (effect->kind != LM_EFFECT_HOLD_ENDED) return;
    uint64_t age_us;
    if (room->current && lm_lock_ages_of(&room->ages, effect->hold, room->now_us, &age_us))
        lm_histogram_note(&figures->holds, age_us);
    if (effect->end == LM_END_RELEASED) figures->releases++;
    if (effect->end == LM_END_EXPIRED) figures->expirations++;
    if (effect->end == LM_END_ABANDONED) figures->abandoned++;
}

/* proposal is ours if this command is; it is the callee's then. */
static void apply_command(lm_lock_room_t *room, const lm_command_t *command,
                          lm_lock_proposal_t *proposal)
{
    lm_lock_session_before(room, command);
    lm_effects_t effects = lm_table_apply(room->table, command);
    for (size_t i = 0; i < effects.n; i++) {
        const lm_effect_t *effect = &effects.items[i];
        count(room, effect);
        if (moves_queue(effect)) lm_lock_queues_look(room, effect->name);
        if (effect->kind == LM_EFFECT_TAKEN_OVER) lm_lock_lead_taken_over(room, command->pair);
        if (i == 0 && proposal) on_answer(room, proposal, effect);
        if (i > 0 && room->serving) on_consequence(room, effect);
    }
    if (!proposal) return;
    on_done(room, proposal);
    lm_lock_propose_free(proposal);
}

/* ---- entries --------------------------------------------------------------------------------- */

/* Passing it over would be a guess about what other versions make of it, and a wrong guess makes
 * this replica another one: nothing of it is applied, and no further entry. */
static void end_at(lm_lock_room_t *room, const lm_bus_committed_entry_t *entry,
                   const lm_wire_error_t *error)
{
    char words[512];
    snprintf(words, sizeof words,
             "entry %llu of the log, of term %llu, is committed and cannot be read by this version "
             "(%s %s): nothing of it was applied; a newer lockmgr may have written it, then this "
             "node has to be updated; else a broken node has",
             (unsigned long long)entry->index, (unsigned long long)entry->term,
             *error->field ? error->field : "entry", error->rule);
    lm_lock_deliver_end(room, words);
}

static bool apply_batch(lm_lock_room_t *room, const lm_bus_committed_entry_t *entry)
{
    lm_command_t *commands;
    size_t n;
    lm_wire_error_t error = {"", ""};
    if (lm_wire_command_decode(entry->data, room->scratch, &commands, &n, &error) != LM_RC_OK) {
        end_at(room, entry, &error);
        return false;
    }
    room->applied_index = entry->index;
    room->applied_term = entry->term;
    lm_lock_batch_t *batch = lm_lock_propose_match(room, entry);
    for (size_t i = 0; i < n; i++) {
        if (LM_FAULT(OWN_LIMITS))
            commands[i].settings.record_ring_size = room->config->record_ring_size;
        apply_command(room, &commands[i], batch ? lm_lock_propose_take(batch) : NULL);
    }
    if (batch) room->figures.proposals_applied++;
    if (batch) lm_lock_propose_done(batch);
    return true;
}

/* False if that was the end. */
static bool apply_entry(lm_lock_room_t *room, const lm_bus_committed_entry_t *entry)
{
    LM_CHECK(entry->index == room->applied_index + 1, "entry %llu follows %llu",
             (unsigned long long)entry->index, (unsigned long long)room->applied_index);
    LM_CHECK(entry->term >= room->applied_term, "entry %llu goes back from term %llu to %llu",
             (unsigned long long)entry->index, (unsigned long long)room->applied_term,
             (unsigned long long)entry->term);
    lm_lock_snapshot_applied(room, entry->data.size);
    if (entry->type == LM_ENTRY_COMMANDS) return apply_batch(room, entry);
    room->applied_index = entry->index;
    room->applied_term = entry->term;
    return true;
}

void lm_lock_deliver_on_committed(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_committed_t *body = message->body;
    if (!room->attached) return;
    LM_CHECK(body->prev_index == room->applied_index && body->prev_term == room->applied_term,
             "entries behind %llu of term %llu come to %llu of term %llu",
             (unsigned long long)body->prev_index, (unsigned long long)body->prev_term,
             (unsigned long long)room->applied_index, (unsigned long long)room->applied_term);
    for (size_t i = 0; i < body->n_entries; i++)
        if (!apply_entry(room, &body->entries[i])) return;
    if (room->current) lm_lock_ages_mark(&room->ages, lm_table_op_seq(room->table), room->now_us);
    if (body->commit_index > room->commit_index) room->commit_index = body->commit_index;
    lm_lock_deliver_credit(room, false);
    lm_lock_deliver_look(room);
    lm_lock_read_applied(room);
}
