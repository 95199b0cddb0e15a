/* Taking a snapshot of this node's lock (S16).
 *
 *   idle --(enough log; what was delivered is stored here)--> mark placed, SNAPSHOT_TAKE
 *        --SNAPSHOT_PART...--> written --last part--> checked, synced, the snapshot --> idle
 *
 * Invariants
 *   W1  A mark is placed only at the entry delivered last, and only if it is stored here; index,
 *       term and configuration are those of that moment, and bytes for any other are refused.
 *   W2  Whatever ends the attempt ends it on both sides: the lock is told, each part is answered.
 *   W3  A part is answered when it is written, the last one when the snapshot stands. */
#include "base_fault.h"
#include "base_log.h"
#include "crc.h"
#include "raft_state.h"

typedef unsigned long long ull_t;

#define STUCK_US UINT64_C(30000000)
#define TRY_AGAIN_US UINT64_C(1000000)
/* What an entry costs on disk and in memory besides its data. */
#define ENTRY_BYTES 64
#define WANTED_US UINT64_C(5000000)

/* ---- when ------------------------------------------------------------------------------------ */

/* A node that cannot be helped otherwise has asked for one behind what there is. */
static bool is_wanted(const lm_raft_room_t *room)
{
    return room->wanted_us != 0 && room->now_us < room->wanted_us + WANTED_US;
}

static bool has_enough_log(const lm_raft_room_t *room)
{
    uint64_t from = lm_raft_engine_image(room->engine)->index + 1, to = room->lock.delivered;
    if (to <= from) return false;
    if (is_wanted(room)) return true;
    uint64_t bytes = lm_raft_log_bytes(lm_raft_engine_log(room->engine), from, to);
    return bytes + (to - from + 1) * ENTRY_BYTES >= room->snapshot_bytes;
}

bool lm_raft_snapshot_is_due(const lm_raft_room_t *room)
{
    const lm_raft_lock_t *lock = &room->lock;
    return room->writer.what == LM_RAFT_WRITES_NOTHING && lock->attached && !lock->blocked &&
           lock->check_term == 0 && room->now_us >= room->taking.next_try_us &&
           !lm_raft_engine_is_installing(room->engine) && has_enough_log(room) &&
           (is_wanted(room) || !lm_raft_fetch_postpones(room));
}

static void place_mark(lm_raft_room_t *room)
{
    lm_raft_taking_t *taking = &room->taking;
    lm_raft_image_t image;
    uint64_t index = room->lock.delivered - LM_FAULT(MARK_BEFORE);
    if (!lm_raft_engine_mark(room->engine, index, &image)) return;
    *taking = (lm_raft_taking_t){.progress_us = room->now_us};
    lm_raft_image_begin(room, LM_RAFT_WRITES_TAKEN, &image);
    lm_bus_snapshot_mark_t body = {.index = image.index, .term = image.term};
    lm_outbox_send(room->out, LM_LOCK, LM_MSG_SNAPSHOT_TAKE, &body);
    lm_debug("takes a snapshot of entry %llu", (ull_t)image.index);
}

void lm_raft_snapshot_settle(lm_raft_room_t *room)
{
    lm_raft_taking_t *taking = &room->taking;
    if (room->writer.what == LM_RAFT_WRITES_TAKEN) {
        if (room->now_us >= taking->progress_us + STUCK_US)
            lm_raft_snapshot_drop(room, "it made no progress");
    } else if (lm_raft_snapshot_is_due(room)) {
        place_mark(room);
    }
}

/* ---- giving up ------------------------------------------------------------------------------- */

static void answer_part(lm_raft_room_t *room, const lm_caller_t *caller, lm_rc_t code)
{
    lm_bus_snapshot_part_done_t body = {.code = code};
    lm_outbox_reply(room->out, caller, LM_MSG_SNAPSHOT_PART_DONE, &body);
}

static void answer_all(lm_raft_room_t *room, lm_rc_t code)
{
    lm_raft_taking_t *taking = &room->taking;
    for (unsigned i = 0; i < taking->n_parts; i++)
        answer_part(room, &taking->parts[i].caller, code);
    taking->n_parts = 0;
}

static void end_attempt(lm_raft_room_t *room, const char *why)
{
    lm_bus_snapshot_mark_t body = {.index = room->writer.image.index,
                                   .term = room->writer.image.term};
    lm_info("gives up the snapshot of entry %llu: %s", (ull_t)body.index, why);
    answer_all(room, LM_RC_CANCELLED);
    lm_outbox_send(room->out, LM_LOCK, LM_MSG_SNAPSHOT_DROP, &body);
    room->figures.snapshots_dropped++;
    room->taking.next_try_us = room->now_us + TRY_AGAIN_US;
}

void lm_raft_snapshot_drop(lm_raft_room_t *room, const char *why)
{
    if (room->writer.what != LM_RAFT_WRITES_TAKEN || room->writer.finishing) return;
    end_attempt(room, why);
    lm_raft_image_drop(room, false);
}

void lm_raft_snapshot_on_drop(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_snapshot_mark_t *body = message->body;
    if (lm_raft_attach_is_from(room, &message->from) && body->index == room->writer.image.index &&
        body->term == room->writer.image.term)
        lm_raft_snapshot_drop(room, "the lock gives it up");
}

/* ---- parts ----------------------------------------------------------------------------------- */

static bool is_awaited(const lm_raft_room_t *room, const lm_message_t *message)
{
    const lm_bus_snapshot_part_t *body = message->body;
    const lm_raft_writer_t *writer = &room->writer;
    return writer->what == LM_RAFT_WRITES_TAKEN && !writer->finishing &&
           lm_raft_attach_is_from(room, &message->from) && body->index == writer->image.index &&
           body->term == writer->image.term;
}

static void finish(lm_raft_room_t *room, uint64_t state_hash)
{
    lm_raft_image_t image = room->writer.image;
    image.length = room->taking.received;
    image.crc32c = room->taking.crc32c;
    image.state_hash = state_hash;
    lm_raft_image_finish(room, &image, false);
}

void lm_raft_snapshot_on_part(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_snapshot_part_t *body = message->body;
    lm_raft_taking_t *taking = &room->taking;
    if (!is_awaited(room, message)) {
        answer_part(room, &message->from, LM_RC_CANCELLED);
        return;
    }
    bool fits = body->offset == taking->received && taking->n_parts < LM_RAFT_PARTS &&
                (body->data.size > 0 || (body->last && taking->received > 0));
    if (!fits) {
        answer_part(room, &message->from, LM_RC_INVALID_ARGUMENT);
        lm_raft_snapshot_drop(room, "the lock's parts do not follow each other");
        return;
    }
    room->lock.heard_us = taking->progress_us = room->now_us;
    taking->crc32c = lm_crc32c(taking->crc32c, body->data);
    if (body->data.size > 0) lm_raft_image_write(room, taking->received, body->data);
    taking->received += body->data.size;
    taking->parts[taking->n_parts++] =
        (lm_raft_part_t){.caller = message->from, .end = taking->received, .last = body->last};
    if (body->last) finish(room, body->state_hash);
}

/* Parts are in order: what is written is at the front. */
static void answer_written(lm_raft_room_t *room, uint64_t written)
{
    lm_raft_taking_t *taking = &room->taking;
    unsigned n = 0;
    for (; n < taking->n_parts && taking->parts[n].end <= written && !taking->parts[n].last; n++)
        answer_part(room, &taking->parts[n].caller, LM_RC_OK);
    for (unsigned i = n; i < taking->n_parts; i++) taking->parts[i - n] = taking->parts[i];
    taking->n_parts -= n;
}

void lm_raft_snapshot_written(lm_raft_room_t *room, const lm_raft_done_t *done)
{
    room->taking.progress_us = room->now_us;
    switch (done->kind) {
    case LM_RAFT_DONE_IMAGE_WRITTEN: answer_written(room, done->number); break;
    case LM_RAFT_DONE_IMAGE_FINISHED:
        answer_all(room, LM_RC_OK);
        room->figures.snapshots_taken++;
        room->served_since_us = room->now_us;
        room->wanted_us = 0;
        break;
    case LM_RAFT_DONE_IMAGE_BAD:
        lm_error("the image of entry %llu was not written as it was meant to be",
                 (ull_t)room->writer.image.index);
        end_attempt(room, "it is not what it should be");
        break;
    default: break; /* begun */
    }
}
