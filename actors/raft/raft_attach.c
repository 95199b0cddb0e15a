/* The lock actor reads the log through this: it says what it has, and gets the rest (S15).
 *
 * Two cursors run through the log. The engine's own applies everything from the start, for it must
 * hear of configurations; this one begins where the lock is, or where the snapshot is that it
 * loads.
 *
 * Invariants
 *   L1  The entry behind `delivered` is the next to be delivered; never one at or below it, never
 *       beyond the commit index or the credit.
 *   L2  Nothing is delivered to another generation than the one that attached last.
 *   L3  A lock that is ahead of this node's log waits for it; when the log has caught up, the entry
 *       it stopped at must have the term that it said.
 *   L4  A lock whose next entry has been trimmed, or whose last one is not of this log, begins anew
 *       from the node's snapshot; during an installation its question waits. */
#include "base_check.h"
#include "base_fault.h"
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

/* Whether what the lock says it has is a beginning of this log, from where it can go on; as far as
 * that can be told yet. */
static bool is_ours(const lm_raft_room_t *room, const lm_raft_attach_t *attach)
{
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    if (!attach->of_this_region || attach->applied_index + 1 < lm_raft_log_first_index(log))
        return false;
    if (attach->applied_index > lm_raft_engine_commit(room->engine)) return true;
    return lm_raft_log_term(log, attach->applied_index) == attach->applied_term;
}

static void answer(lm_raft_room_t *room, const lm_caller_t *caller, lm_bus_image_t *image,
                   bool reset)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    lm_bus_attached_t body = {
        .reset = reset,
        .cluster_id = lm_bytes_of(identity->cluster_id),
        .history_id = lm_bytes_of(identity->history_id),
        .commit_index = lm_raft_engine_commit(room->engine),
        .image = image,
    };
    lm_outbox_reply(room->out, caller, LM_MSG_ATTACHED, &body);
    lm_raft_report_role(room, LM_LOCK);
}

/* What a lock begins anew with; false: with nothing, at entry 1. */
static bool describe_image(const lm_raft_room_t *room, lm_bus_image_t *body)
{
    const lm_raft_image_t *image = lm_raft_engine_image(room->engine);
    *body = (lm_bus_image_t){.index = image->index,
                             .term = image->term,
                             .length = image->length,
                             .crc32c = image->crc32c,
                             .state_hash = image->state_hash};
    return image->index > 0;
}

static void attach(lm_raft_room_t *room, const lm_caller_t *caller,
                   const lm_raft_attach_t *attach_with)
{
    lm_raft_lock_t *lock = &room->lock;
    lm_bus_image_t image;
    bool reset = !is_ours(room, attach_with);
    bool has_image = describe_image(room, &image) && reset;
    uint64_t commit = lm_raft_engine_commit(room->engine), index = attach_with->applied_index;
    lm_raft_snapshot_drop(room, "the lock attaches anew");
    note_restart(lock, caller->generation, room->now_us);
    lock->attached = true;
    lock->generation = caller->generation;
    lock->heard_us = room->now_us;
    lock->delivered = reset ? (has_image ? image.index : 0) : index;
    lock->applied_index = reset ? 0 : index;
    if (LM_FAULT(CURSOR_BACK) && !reset && index > 0) lock->delivered--;
    if (LM_FAULT(DELIVER_BELOW) && !reset && index > commit) lock->delivered = commit;
    lock->check_term =
        !reset && index > commit && !LM_FAULT(DELIVER_BELOW) ? attach_with->applied_term : 0;
    lock->state_hash = attach_with->state_hash;
    lock->credit = 0;
    if (has_image) lock->loads++;
    lock->blocked = lock->ready = lock->give_up = false;
    lock->attach_commit = commit;
    lm_info("the lock attaches at %llu%s", (ull_t)index,
            !reset || index == 0          ? ""
            : attach_with->of_this_region ? ", from where the log does not go on: it begins anew"
                                          : ", which is not of this log: it begins anew");
    answer(room, caller, has_image ? &image : NULL, reset);
}

void lm_raft_attach_on_attach(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_attach_t *body = message->body;
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    lm_raft_attach_t attach_with = {
        .of_this_region = lm_bytes_equal(body->cluster_id, lm_bytes_of(identity->cluster_id)) &&
                          lm_bytes_equal(body->history_id, lm_bytes_of(identity->history_id)),
        .applied_index = body->applied_index,
        .applied_term = body->applied_term,
        .state_hash = body->state_hash,
    };
    room->lock.parked = lm_raft_engine_is_installing(room->engine);
    if (!room->lock.parked) {
        attach(room, &message->from, &attach_with);
        return;
    }
    room->lock.attached = false;
    room->lock.parked_caller = message->from;
    room->lock.parked_attach = attach_with;
}

void lm_raft_attach_unpark(lm_raft_room_t *room)
{
    if (!room->lock.parked || lm_raft_engine_is_installing(room->engine)) return;
    room->lock.parked = false;
    attach(room, &room->lock.parked_caller, &room->lock.parked_attach);
}

/* The log has moved past what the lock has: it must begin anew, from the image. */
static void send_away(lm_raft_room_t *room)
{
    lm_bus_attach_again_t body = {0};
    lm_info(
        "the lock at %llu cannot go on from the log, which begins at %llu: it is to attach again",
        (ull_t)room->lock.delivered,
        (ull_t)lm_raft_log_first_index(lm_raft_engine_log(room->engine)));
    lm_raft_snapshot_drop(room, "the lock has to attach again");
    lm_raft_attach_gone(room);
    lm_outbox_send(room->out, LM_LOCK, LM_MSG_ATTACH_AGAIN, &body);
}

void lm_raft_attach_gone(lm_raft_room_t *room)
{
    lm_raft_snapshot_drop(room, "the lock is gone");
    room->lock.attached = room->lock.ready = room->lock.give_up = room->lock.parked = false;
}

void lm_raft_attach_on_credit(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_credit_t *body = message->body;
    if (!lm_raft_attach_is_from(room, &message->from)) return;
    room->lock.heard_us = room->now_us;
    room->lock.credit = body->up_to_index;
    room->lock.loads = 0;
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
    if (sent) lock->delivered_us = room->now_us;
    lm_arena_reset(room->scratch);
    return sent;
}

/* The lock of a follower answers nobody: what comes closely behind goes along with it. */
static bool lingers(lm_raft_room_t *room, uint64_t last)
{
    const lm_raft_lock_t *lock = &room->lock;
    uint64_t until_us = lock->delivered_us + LM_RAFT_LINGER_US;
    if (lm_raft_room_leads(room) || room->now_us >= until_us ||
        last - lock->delivered >= LM_RAFT_LINGER_ENTRIES)
        return false;
    if (lock->delivered < last) lm_outbox_wake(room->out, until_us);
    return true;
}

void lm_raft_attach_deliver(lm_raft_room_t *room)
{
    lm_raft_lock_t *lock = &room->lock;
    uint64_t last = lm_raft_engine_commit(room->engine);
    if (LM_FAULT(UNCOMMITTED)) last = lm_raft_log_last_index(lm_raft_engine_log(room->engine));
    if (!lock->attached) return;
    if (lock->delivered + 1 < lm_raft_log_first_index(lm_raft_engine_log(room->engine))) {
        send_away(room);
        return;
    }
    if (lock->blocked || last < lock->delivered || !check_waiting(room)) return;
    if (last > lock->credit) last = lock->credit;
    /* A mark stands only where the log is stored: under load the leader's own disk is behind. */
    uint64_t stored = lm_raft_engine_stored(room->engine);
    if (last > stored && lm_raft_snapshot_is_due(room)) last = stored;
    if (last >= lock->delivered && lingers(room, last)) return;
    for (int i = 0; i < LM_RAFT_COMMITTED_PER_TURN && lock->delivered < last; i++) {
        if (deliver_some(room, last)) continue;
        lock->blocked = true;
        return;
    }
    if (lock->delivered < last) lm_outbox_wake(room->out, room->now_us);
}
