/* Taking an image of the state for raft: begun at its mark, sent piece by piece.
 *
 *   SNAPSHOT_TAKE -> image begun -> pieces at an even pace, one a turn, -> last one answered
 *                         |         at most four unanswered
 *                         |                       |
 *                         +--- anything else -----+--> given up, by both sides
 *
 * Invariants
 *   A1  An image is begun only if the applied entry is exactly the mark's; everybody hears at once
 *       of a mark for which none is begun (S16).
 *   A2  One image is taken at a time. A second mark ends the first, and one for the same entry ends
 *       both: nobody can tell any more which of its pieces raft has.
 *   A3  Whatever ends it early - raft, a piece that fails, another raft, a new attach, too much
 *       that had to be written ahead - leaves nothing of it here, and raft hears of it unless it
 *       has said so itself or has gone.
 *   A4  An image goes as slowly as it may: its pieces are spread over seconds, and sooner only as
 *       far as the log behind the mark grows. */
#include "base_check.h"
#include "base_fault.h"
#include "base_log.h"
#include "core_image.h"
#include "lock_state.h"

static void tell_dropped(lm_lock_room_t *room, lm_bus_snapshot_mark_t mark)
{
    room->figures.snapshots_dropped++;
    lm_outbox_send(room->out, LM_RAFT, LM_MSG_SNAPSHOT_DROP, &mark);
}

static bool is_mark(const lm_lock_room_t *room, const lm_bus_snapshot_mark_t *mark)
{
    return room->snapshot.mark.index == mark->index && room->snapshot.mark.term == mark->term;
}

/* Nothing of it remains; raft is not told. */
static void forget(lm_lock_room_t *room)
{
    lm_lock_snapshot_t *snapshot = &room->snapshot;
    for (size_t i = 0; i < snapshot->n_parts; i++) lm_outbox_forget(room->out, snapshot->parts[i]);
    lm_image_drop(room->table);
    *snapshot = (lm_lock_snapshot_t){0};
}

static void give_up(lm_lock_room_t *room, const char *why)
{
    lm_bus_snapshot_mark_t mark = room->snapshot.mark;
    lm_info("gives up the snapshot of entry %llu: %s", (unsigned long long)mark.index, why);
    forget(room);
    tell_dropped(room, mark);
}

/* The same, where raft has said so itself or has gone. */
static void end_unsaid(lm_lock_room_t *room, const char *why)
{
    lm_info("the snapshot of entry %llu ends: %s", (unsigned long long)room->snapshot.mark.index,
            why);
    room->figures.snapshots_dropped++;
    forget(room);
}

void lm_lock_snapshot_end(lm_lock_room_t *room)
{
    if (room->snapshot.mark.index) end_unsaid(room, "raft has begun anew");
}

/* ---- what raft says -------------------------------------------------------------------------- */

void lm_lock_snapshot_on_take(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_snapshot_mark_t *mark = message->body;
    lm_lock_snapshot_t *snapshot = &room->snapshot;
    bool fits = room->attached && mark->index && mark->index == room->applied_index &&
                mark->term == room->applied_term;
    if (LM_FAULT(MARK_BEFORE)) fits = room->attached;
    if (snapshot->mark.index) {
        fits = fits && !is_mark(room, mark);
        give_up(room, "another mark was placed");
    }
    if (!fits) {
        tell_dropped(room, *mark);
        return;
    }
    lm_image_begin(room->table);
    snapshot->mark = *mark;
    snapshot->hash = lm_image_hash(room->table);
    snapshot->began_us = snapshot->next_us = room->now_us;
}

void lm_lock_snapshot_on_drop(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    if (room->snapshot.mark.index && is_mark(room, message->body))
        end_unsaid(room, "raft does not want it any more");
}

static bool take_part(lm_lock_snapshot_t *snapshot, uint64_t correlation)
{
    size_t at = 0;
    while (at < snapshot->n_parts && snapshot->parts[at] != correlation) at++;
    if (at == snapshot->n_parts) return false;
    snapshot->n_parts--;
    for (; at < snapshot->n_parts; at++) snapshot->parts[at] = snapshot->parts[at + 1];
    return true;
}

static void finish(lm_lock_room_t *room)
{
    const lm_lock_snapshot_t *snapshot = &room->snapshot;
    lm_info("the snapshot of entry %llu is taken: %llu bytes in %llu ms",
            (unsigned long long)snapshot->mark.index, (unsigned long long)snapshot->offset,
            (unsigned long long)((room->now_us - snapshot->began_us) / 1000));
    room->figures.snapshots_taken++;
    forget(room);
}

void lm_lock_snapshot_on_part_done(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_snapshot_part_done_t *body = message->body;
    if (!take_part(&room->snapshot, message->from.correlation)) return;
    if (body->code != LM_RC_OK)
        end_unsaid(room, lm_rc_text(body->code));
    else if (room->snapshot.all && !room->snapshot.n_parts)
        finish(room);
}

bool lm_lock_snapshot_call_failed(lm_lock_room_t *room, uint64_t correlation, lm_rc_t why)
{
    if (!take_part(&room->snapshot, correlation)) return false;
    give_up(room, lm_rc_text(why));
    return true;
}

/* ---- pace ------------------------------------------------------------------------------------ */

void lm_lock_snapshot_applied(lm_lock_room_t *room, size_t bytes)
{
    if (room->snapshot.mark.index) room->snapshot.log_bytes += bytes;
}

/* True if so much log has followed the mark that more of the image should be there. */
static bool is_late(const lm_lock_room_t *room)
{
    lm_image_progress_t progress = lm_image_progress(room->table);
    uint64_t configured = room->config->snapshot_bytes;
    uint64_t most =
        (configured ? configured : LM_LOCK_SNAPSHOT_LOG_BYTES) / LM_LOCK_SNAPSHOT_LOG_SHARE;
    return lm_image_ahead(room->table) > LM_LOCK_SNAPSHOT_HASTE_BYTES ||
           (double)progress.written * (double)most <
               (double)progress.total * (double)room->snapshot.log_bytes;
}

/* When the piece behind one of so many bytes is due. */
static void pace(lm_lock_room_t *room, lm_image_progress_t progress, size_t bytes)
{
    lm_lock_snapshot_t *snapshot = &room->snapshot;
    uint64_t records = progress.written - snapshot->written;
    uint64_t share_us = LM_LOCK_SNAPSHOT_US * records / (progress.total + 1);
    uint64_t most_us = bytes * 1000000 / LM_LOCK_SNAPSHOT_RATE_MIN;
    if (snapshot->next_us + LM_LOCK_SNAPSHOT_DEBT_US < room->now_us)
        snapshot->next_us = room->now_us - LM_LOCK_SNAPSHOT_DEBT_US;
    snapshot->next_us += share_us < most_us ? share_us : most_us;
    snapshot->written = progress.written;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void send_piece(lm_lock_room_t *room)
{
    lm_lock_snapshot_t *snapshot = &room->snapshot;
    lm_bytes_t piece;
    snapshot->all = !lm_image_take(room->table, room->piece_bytes_max, &piece);
    if (!snapshot->all) pace(room, lm_image_progress(room->table), piece.size);
    lm_bus_snapshot_part_t body = {.index = snapshot->mark.index,
                                   .term = snapshot->mark.term,
                                   .offset = snapshot->offset,
                                   .data = piece,
                                   .last = snapshot->all,
                                   .state_hash = snapshot->all ? snapshot->hash : 0};
    snapshot->offset += piece.size;
    room->figures.snapshot_bytes += piece.size;
    snapshot->parts[snapshot->n_parts++] =
        lm_outbox_call(room->out, LM_RAFT, LM_MSG_SNAPSHOT_PART, &body,
                       room->now_us + LM_LOCK_SNAPSHOT_PART_US, 0);
}

static bool may_send(const lm_lock_room_t *room)
{
    const lm_lock_snapshot_t *snapshot = &room->snapshot;
    return snapshot->mark.index && !snapshot->all && snapshot->n_parts < LM_LOCK_SNAPSHOT_PARTS_MAX;
}

static bool is_due(const lm_lock_room_t *room)
{
    return room->now_us >= room->snapshot.next_us || is_late(room);
}

void lm_lock_snapshot_step(lm_lock_room_t *room)
{
    if (!room->snapshot.mark.index) return;
    if (lm_image_ahead(room->table) > LM_LOCK_SNAPSHOT_AHEAD_BYTES) {
        give_up(room, "too much has changed meanwhile");
        return;
    }
    if (may_send(room) && is_due(room)) send_piece(room);
    if (may_send(room))
        lm_outbox_wake(room->out, is_due(room) ? room->now_us : room->snapshot.next_us);
}
