/* Fetching a snapshot from another node, and answering those who do.
 *
 *   offered --> begun (what is there already is kept) --> pieces --> whole --> the node's snapshot
 *
 * Two ways lead here: a leader no longer has the entries that this node lacks (InstallSnapshot), or
 * this node's lock takes nothing and its log grows (SnapshotQuery, S20). What has been fetched is
 * made of committed entries in both, so it does not matter who sent it, nor which of the ways it
 * came: if the log has its entry, it is a snapshot of this log, else it is installed in its place.
 *
 * Invariants
 *   D1  Pieces are written in order, each checked by itself; the whole is checked before the engine
 *       hears of it.
 *   D2  No more is asked for than the disk has taken, and a few pieces ahead.
 *   D3  While one is fetched none is taken of the lock here; an attempt that is under way yields.
 */
#include "base_check.h"
#include "base_log.h"
#include "crc.h"
#include "raft_messages.h"
#include "raft_state.h"

typedef unsigned long long ull_t;

#define ASK_AGAIN_US UINT64_C(500000)
/* An offer of a newer image wins over one that stands still this long. */
#define STILL_US UINT64_C(2000000)
#define STUCK_US UINT64_C(30000000)
#define QUERY_US UINT64_C(1000000)
/* Whoever asked for a piece this lately is fetching; nobody is waited for longer than the second.
 */
#define SERVED_US UINT64_C(3000000)
#define POSTPONE_US UINT64_C(60000000)

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask(lm_raft_room_t *room)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    const lm_raft_image_t *image = &fetch->image;
    uint64_t ahead = LM_RAFT_IMAGE_PIECES_AHEAD * room->piece_bytes;
    while (fetch->asked < image->length && fetch->asked < fetch->written + ahead) {
        lm_peer_snapshot_read_t read = {
            .last_index = image->index, .last_term = image->term, .offset = fetch->asked};
        lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_SNAPSHOT_READ,
                                 .snapshot_read = &read};
        lm_raft_peers_send(room, fetch->node, &frame);
        fetch->asked += room->piece_bytes;
        fetch->asked_us = room->now_us;
    }
}

static void ask_again(lm_raft_room_t *room)
{
    if (!room->fetch.begun) return;
    room->fetch.asked = room->fetch.next;
    ask(room);
}

static void end(lm_raft_room_t *room) { room->fetch = (lm_raft_fetch_t){0}; }

static void drop(lm_raft_room_t *room, bool keep, const char *why)
{
    lm_info("gives up fetching the snapshot of entry %llu at %llu of %llu bytes: %s",
            (ull_t)room->fetch.image.index, (ull_t)room->fetch.next,
            (ull_t)room->fetch.image.length, why);
    lm_raft_image_drop(room, keep);
    room->figures.fetches_dropped++;
    end(room);
}

/* ---- offers ---------------------------------------------------------------------------------- */

static bool same_image(const lm_raft_image_t *a, const lm_raft_image_t *b)
{
    return a->index == b->index && a->term == b->term && a->length == b->length &&
           a->crc32c == b->crc32c;
}

/* Something is being fetched already: is the offer about that, or worth more? */
static void compare(lm_raft_room_t *room, uint32_t node, const lm_raft_image_t *image)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    bool still = room->now_us >= fetch->progress_us + STILL_US;
    if (fetch->whole || !still) return;
    if (same_image(&fetch->image, image)) {
        if (fetch->node == node) return;
        fetch->node = node;
        ask_again(room);
    } else if (image->index > fetch->image.index) {
        drop(room, false, "a newer one is offered");
    }
}

static void consider(lm_raft_room_t *room, uint32_t node, const lm_raft_image_t *image)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    if (lm_raft_engine_objection(room->engine, image)) {
        room->figures.refused[LM_RAFT_REFUSED_INVALID]++;
        return;
    }
    if (fetch->on) compare(room, node, image);
    if (fetch->on || lm_raft_engine_is_installing(room->engine) ||
        image->index <= lm_raft_engine_image(room->engine)->index)
        return;
    lm_raft_snapshot_drop(room, "another node's is to be fetched");
    if (room->writer.what != LM_RAFT_WRITES_NOTHING) return; /* it will be offered again */
    *fetch =
        (lm_raft_fetch_t){.on = true, .image = *image, .node = node, .progress_us = room->now_us};
    lm_info("fetches the snapshot of entry %llu, %llu bytes, from %s", (ull_t)image->index,
            (ull_t)image->length, room->nodes[node].name);
    lm_raft_image_begin(room, LM_RAFT_WRITES_FETCHED, image);
}

void lm_raft_fetch_installs(lm_raft_room_t *room, uint32_t node,
                            const lm_peer_install_snapshot_t *install)
{
    lm_raft_image_t image;
    if (!lm_raft_messages_offered(install->offer, &image)) {
        room->figures.refused[LM_RAFT_REFUSED_INVALID]++;
        return;
    }
    /* A leader that offers what is here learns from the next heartbeat that it is; one that is new
     * here is believed when its own heartbeat has come, and offers it again. */
    if (install->term != lm_raft_engine_term(room->engine) || lm_raft_room_leads(room) ||
        lm_raft_engine_reaches(room->engine, image.index, image.term))
        return;
    consider(room, node, &image);
}

void lm_raft_fetch_offered(lm_raft_room_t *room, uint32_t node,
                           const lm_peer_snapshot_offer_t *offer)
{
    lm_raft_image_t image;
    if (!lm_raft_messages_offered(offer, &image))
        room->figures.refused[LM_RAFT_REFUSED_INVALID]++;
    else if (lm_raft_fetch_is_wanted(room) ||
             (lm_raft_loss_is(room) && image.index >= room->lost_index))
        consider(room, node, &image);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

void lm_raft_fetch_piece(lm_raft_room_t *room, uint32_t node, const lm_peer_snapshot_data_t *piece)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    if (!fetch->on || !fetch->begun || fetch->whole || node != fetch->node ||
        piece->last_index != fetch->image.index || piece->last_term != fetch->image.term)
        return;
    if (piece->data.size == 0) {
        drop(room, true, "it is gone there");
        return;
    }
    if (piece->offset != fetch->next) {
        /* One before it was lost; what follows will be sent again too. */
        bool gap = piece->offset > fetch->next && fetch->gap_at != fetch->next + 1;
        fetch->gap_at = fetch->next + 1;
        if (gap) ask_again(room);
        return;
    }
    if (piece->data.size > fetch->image.length - fetch->next ||
        lm_crc32c(0, piece->data) != piece->crc32c) {
        room->figures.refused[LM_RAFT_REFUSED_INVALID]++;
        return;
    }
    lm_raft_image_write(room, fetch->next, piece->data);
    fetch->crc32c = lm_crc32c(fetch->crc32c, piece->data);
    fetch->next += piece->data.size;
    fetch->progress_us = room->now_us;
    room->figures.bytes_fetched += piece->data.size;
}

static void note_written(lm_raft_room_t *room, uint64_t written)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    fetch->written = written;
    fetch->progress_us = room->now_us;
    if (written < fetch->image.length) {
        ask(room);
    } else if (fetch->crc32c != fetch->image.crc32c) {
        lm_error("the snapshot of entry %llu that %s has is damaged there, or on its way here",
                 (ull_t)fetch->image.index, room->nodes[fetch->node].name);
        lm_raft_fetch_ask_for(room, room->nodes[fetch->node].id, fetch->image.index);
        drop(room, false, "it is damaged");
    } else {
        fetch->whole = true;
    }
}

static void note_begun(lm_raft_room_t *room, const lm_raft_done_t *done)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    if (done->number > fetch->image.length) {
        drop(room, false, "there is too much of it");
        return;
    }
    if (done->number > 0) lm_info("%llu bytes of it are here", (ull_t)done->number);
    fetch->begun = true;
    fetch->next = fetch->asked = done->number;
    fetch->crc32c = done->image.crc32c;
    note_written(room, done->number);
}

static void note_bad(lm_raft_room_t *room)
{
    lm_raft_fault_t fault;
    uint64_t index = room->fetch.image.index;
    bool installs = lm_raft_engine_is_installing(room->engine);
    end(room);
    room->figures.fetches_dropped++;
    lm_error("the snapshot of entry %llu was not written as it was fetched", (ull_t)index);
    if (!installs) return;
    /* On disk the old log is still there; only a new start goes back to it. */
    lm_raft_fault_set(&fault, LM_EXIT_SYSTEM,
                      "the snapshot of entry %llu could not be installed: it was not written as "
                      "it was fetched",
                      (ull_t)index);
    lm_raft_room_fail(room, &fault);
}

void lm_raft_fetch_written(lm_raft_room_t *room, const lm_raft_done_t *done)
{
    switch (done->kind) {
    case LM_RAFT_DONE_IMAGE_BEGUN: note_begun(room, done); break;
    case LM_RAFT_DONE_IMAGE_WRITTEN: note_written(room, done->number); break;
    case LM_RAFT_DONE_IMAGE_BAD: note_bad(room); break;
    default: /* finished */
        if (room->writer.trailing == 0) room->figures.snapshots_installed++;
        room->figures.snapshots_fetched++;
        end(room);
        break;
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void use(lm_raft_room_t *room)
{
    const lm_raft_image_t *image = &room->fetch.image;
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    bool committed = image->index <= lm_raft_engine_commit(room->engine);
    if (image->index <= lm_raft_engine_image(room->engine)->index) {
        drop(room, false, "it is older than what is here by now");
    } else if (committed && lm_raft_log_term(log, image->index) != image->term) {
        lm_error("%s has a snapshot of entry %llu of term %llu, but here it is of term %llu",
                 room->nodes[room->fetch.node].name, (ull_t)image->index, (ull_t)image->term,
                 (ull_t)lm_raft_log_term(log, image->index));
        drop(room, false, "it contradicts the log");
    } else if (committed) {
        if (image->index <= lm_raft_engine_stored(room->engine))
            lm_raft_image_finish(room, image, false);
    } else if (!lm_raft_engine_reaches(room->engine, image->index, image->term) &&
               lm_raft_engine_install(room->engine, image, room->now_us)) {
        lm_raft_image_finish(room, image, true);
    }
}

/* ---- a lock that is behind (S20) ------------------------------------------------------------- */

bool lm_raft_fetch_is_wanted(const lm_raft_room_t *room)
{
    const lm_raft_lock_t *lock = &room->lock;
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    uint64_t commit = lm_raft_engine_commit(room->engine);
    uint64_t image = lm_raft_engine_image(room->engine)->index;
    if (lm_raft_room_leads(room) || image >= commit || lm_raft_engine_is_installing(room->engine))
        return false;
    /* It cannot load what is here, or all its own attempts fail. */
    if (lock->loads >= LM_RAFT_LOADS_MAX || lm_raft_log_memory(log) > room->log_bytes_max / 4 * 3)
        return true;
    if (lock->delivered >= commit) return false;
    /* What is in the snapshot need not be delivered any more. A lock that is loading the one that
     * is here should not have to begin again. */
    uint64_t has = lock->delivered > image ? lock->delivered : image;
    bool loads = lock->attached && room->now_us < lock->loads_us + STILL_US;
    return lm_raft_log_bytes(log, has + 1, commit) >
           (loads ? room->undelivered_bytes_max : room->fetch_bytes);
}

void lm_raft_fetch_ask_for(lm_raft_room_t *room, uint64_t server_id, uint64_t above_index)
{
    lm_peer_snapshot_query_t body = {.above_index = above_index};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_SNAPSHOT_QUERY,
                             .snapshot_query = &body};
    room->queried_us = room->now_us;
    lm_raft_peers_send_to(room, server_id, &frame);
}

static void query(lm_raft_room_t *room)
{
    uint64_t leader = lm_raft_engine_leader(room->engine);
    if (leader == 0 || room->now_us < room->queried_us + QUERY_US) return;
    lm_raft_fetch_ask_for(room, leader, lm_raft_engine_image(room->engine)->index);
}

/* ---- the other side -------------------------------------------------------------------------- */

void lm_raft_fetch_queried(lm_raft_room_t *room, uint32_t node,
                           const lm_peer_snapshot_query_t *question)
{
    const lm_raft_image_t *image = lm_raft_engine_image(room->engine);
    lm_peer_snapshot_offer_t offer;
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_SNAPSHOT_OFFER,
                             .snapshot_offer = &offer};
    if (image->index <= question->above_index) {
        room->wanted_us = room->now_us;
        return;
    }
    lm_raft_messages_offer(image, &offer);
    lm_raft_peers_send(room, node, &frame);
}

void lm_raft_fetch_note_served(lm_raft_room_t *room)
{
    if (room->now_us >= room->served_us + SERVED_US) room->served_since_us = room->now_us;
    room->served_us = room->now_us;
}

bool lm_raft_fetch_postpones(const lm_raft_room_t *room)
{
    if (room->fetch.on) return true;
    return room->served_us != 0 && room->now_us < room->served_us + SERVED_US &&
           room->now_us < room->served_since_us + POSTPONE_US;
}

/* ---- when ------------------------------------------------------------------------------------ */

void lm_raft_fetch_link(lm_raft_room_t *room, uint32_t node, bool up)
{
    if (up && room->fetch.on && !room->fetch.whole && room->fetch.node == node) ask_again(room);
}

void lm_raft_fetch_settle(lm_raft_room_t *room)
{
    lm_raft_fetch_t *fetch = &room->fetch;
    if (!fetch->on) {
        if (!lm_raft_loss_is(room) && lm_raft_fetch_is_wanted(room)) query(room);
        return;
    }
    if (room->writer.finishing) return;
    if (fetch->whole) {
        use(room);
    } else if (room->now_us >= fetch->progress_us + STUCK_US) {
        drop(room, true, "nothing more comes");
    } else if (room->now_us >= fetch->progress_us + ASK_AGAIN_US &&
               room->now_us >= fetch->asked_us + ASK_AGAIN_US) {
        ask_again(room);
    }
}
