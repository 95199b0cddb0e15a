/* The lock actor reads the log through this: it says what it has, and gets the rest (S15).
 *
 * Two cursors run through the log. The engine's own applies everything from the start, for it must
 * hear of configurations; this one begins where the lock is.
 *
 * Invariants
 *   L1  The entry behind `delivered` is the next to be delivered; never one at or below it, never
 *       beyond the commit index or the credit.
 *   L2  Nothing is delivered to another generation than the one that attached last.
 *   L3  A lock that is ahead of this node's log waits for it; when the log has caught up, the entry
 *       it stopped at must have the term that it said. */
#include "base_check.h"
#include "base_log.h"
#include "raft_state.h"

typedef unsigned long long ull_t;

bool lm_raft_attach_is_from(const lm_raft_room_t *room, const lm_caller_t *from)
{
    return room->lock.attached &&
           lm_generation_compare(room->lock.generation, from->generation) == 0;
}

/* ---- attaching ------------------------------------------------------------------------------- */

static void note_restart(lm_raft_lock_t *lock, lm_generation_t generation, uint64_t now_us)
{
    bool first = lock->generation.boot_id == 0;
    if (lm_generation_compare(generation, lock->generation) == 0) return;
    lock->takeover_accepted = false;
    if (first) return;
    for (int i = 1; i < LM_RAFT_RESTARTS; i++) lock->restarts_us[i - 1] = lock->restarts_us[i];
    lock->restarts_us[LM_RAFT_RESTARTS - 1] = now_us;
}

/* Whether what the lock says it has is a beginning of this log; as far as that can be told yet. */
static bool is_ours(const lm_raft_room_t *room, const lm_bus_attach_t *body)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    if (!lm_bytes_equal(body->cluster_id, lm_bytes_of(identity->cluster_id)) ||
        !lm_bytes_equal(body->history_id, lm_bytes_of(identity->history_id)))
        return false;
    if (body->applied_index > lm_raft_engine_commit(room->engine)) return true;
    return lm_raft_log_term(lm_raft_engine_log(room->engine), body->applied_index) ==
           body->applied_term;
}

void lm_raft_attach_on_attach(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_attach_t *body = message->body;
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    lm_raft_lock_t *lock = &room->lock;
    bool reset = !is_ours(room, body);
    uint64_t commit = lm_raft_engine_commit(room->engine);
    note_restart(lock, message->from.generation, room->now_us);
    lock->attached = true;
    lock->generation = message->from.generation;
    lock->heard_us = room->now_us;
    lock->delivered = lock->applied_index = reset ? 0 : body->applied_index;
    lock->check_term = !reset && body->applied_index > commit ? body->applied_term : 0;
    lock->state_hash = body->state_hash;
    lock->credit = 0;
    lock->blocked = lock->ready = lock->give_up = false;
    lock->attach_commit = commit;
    lm_info("the lock attaches at %llu%s", (ull_t)body->applied_index,
            reset && body->applied_index ? ", which is not of this log: it begins anew" : "");
    lm_bus_attached_t answer = {
        .reset = reset,
        .cluster_id = lm_bytes_of(identity->cluster_id),
        .history_id = lm_bytes_of(identity->history_id),
        .commit_index = commit,
    };
    lm_outbox_reply(out, &message->from, LM_MSG_ATTACHED, &answer);
    lm_raft_report_role(room, LM_LOCK);
}

void lm_raft_attach_gone(lm_raft_room_t *room)
{
    room->lock.attached = room->lock.ready = room->lock.give_up = false;
}

void lm_raft_attach_on_credit(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_credit_t *body = message->body;
    if (!lm_raft_attach_is_from(room, &message->from)) return;
    room->lock.heard_us = room->now_us;
    room->lock.credit = body->up_to_index;
}

void lm_raft_attach_on_state(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_lock_state_t *body = message->body;
    if (!lm_raft_attach_is_from(room, &message->from)) return;
    room->lock.heard_us = room->now_us;
    room->lock.ready = body->ready;
    room->lock.give_up = body->give_up;
    room->lock.applied_index = body->applied_index;
    room->lock.state_hash = body->state_hash;
}

/* ---- fitness --------------------------------------------------------------------------------- */

bool lm_raft_attach_is_fit(const lm_raft_room_t *room)
{
    const lm_raft_lock_t *lock = &room->lock;
    uint64_t commit = lm_raft_engine_commit(room->engine);
    return lock->attached && lock->ready && lock->applied_index >= lock->attach_commit &&
           lock->applied_index + LM_RAFT_LAG_ENTRIES >= commit &&
           room->now_us < lock->heard_us + LM_RAFT_LOCK_AWAY_US;
}

void lm_raft_attach_late(lm_raft_room_t *room)
{
    room->lock.heard_us = room->now_us;
    room->lock.away_since_us = 0;
}

void lm_raft_attach_watch(lm_raft_room_t *room)
{
    lm_raft_lock_t *lock = &room->lock;
    if (lm_raft_attach_is_fit(room))
        lock->away_since_us = 0;
    else if (lock->away_since_us == 0) /* silent ones have been away since their last word */
        lock->away_since_us = lock->attached && lock->ready ? lock->heard_us : room->now_us;
}

/* ---- delivering ------------------------------------------------------------------------------ */

/* Compares what a lock that was ahead said with what the log says now. */
static bool check_waiting(lm_raft_room_t *room)
{
    lm_raft_lock_t *lock = &room->lock;
    if (lock->check_term == 0) return true;
    uint64_t term = lm_raft_log_term(lm_raft_engine_log(room->engine), lock->delivered);
    lm_raft_fault_t fault;
    if (term == lock->check_term) {
        lock->check_term = 0;
        return true;
    }
    lm_raft_fault_set(&fault, LM_EXIT_ASSERTION,
                      "the lock has applied entry %llu of term %llu, but term %llu was committed",
                      (ull_t)lock->delivered, (ull_t)lock->check_term, (ull_t)term);
    lm_raft_room_fail(room, &fault);
    return false;
}

/* Sends one COMMITTED with entries up to last. Returns false if the pipe is full. */
static bool deliver_some(lm_raft_room_t *room, uint64_t last)
{
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    lm_raft_lock_t *lock = &room->lock;
    uint64_t first = lock->delivered + 1, index = first;
    size_t bytes = 0, n = last - lock->delivered;
    if (n > LM_RAFT_COMMITTED_ENTRIES) n = LM_RAFT_COMMITTED_ENTRIES;
    lm_bus_committed_entry_t *entries = lm_arena_alloc(room->scratch, n * sizeof *entries);
    for (; index < first + n; index++) {
        const lm_raft_record_t *record = lm_raft_log_get(log, index);
        if (index > first && bytes + record->data.size > LM_RAFT_COMMITTED_BYTES) break;
        bytes += record->data.size;
        entries[index - first] = (lm_bus_committed_entry_t){
            .index = index, .term = record->term, .type = record->type, .data = record->data};
    }
    lm_bus_committed_t body = {
        .prev_index = lock->delivered,
        .prev_term = lm_raft_log_term(log, lock->delivered),
        .n_entries = index - first,
        .entries = entries,
        .commit_index = lm_raft_engine_commit(room->engine),
    };
    bool sent = lm_outbox_send(room->out, LM_LOCK, LM_MSG_COMMITTED, &body);
    if (sent) lock->delivered = index - 1;
    lm_arena_reset(room->scratch);
    return sent;
}

void lm_raft_attach_deliver(lm_raft_room_t *room)
{
    lm_raft_lock_t *lock = &room->lock;
    uint64_t last = lm_raft_engine_commit(room->engine);
    if (!lock->attached || lock->blocked || last < lock->delivered || !check_waiting(room)) return;
    if (last > lock->credit) last = lock->credit;
    for (int i = 0; i < LM_RAFT_COMMITTED_PER_TURN && lock->delivered < last; i++) {
        if (deliver_some(room, last)) continue;
        lock->blocked = true;
        return;
    }
    if (lock->delivered < last) lm_outbox_wake(room->out, room->now_us);
}
