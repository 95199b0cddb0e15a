/* Loading an image that raft keeps, where its log does not reach back far enough.
 *
 *   ATTACHED{reset, image} -> pieces are read in order -> the table is complete -> delivery begins
 *                                       |
 *                                       +-- one cannot be had --> attach again, after a while
 *
 * Invariants
 *   B1  The table that was there is gone before the first piece is read: two never lie in memory.
 *   B2  Until the image is complete and its hash is the stated one, this lock has applied nothing,
 *       is not attached and gives no credit: nothing is delivered, proposed or answered from a
 *       part of a table.
 *   B3  Pieces are loaded in the order of the body, whatever order their answers come in.
 *   B4  raft has read the image through when it started, but disks forget later, too: the body is
 *       checked against its checksum again, as it is loaded. A damaged one ends the node, whose
 *       next start names the file. What is whole and cannot be loaded nevertheless was not written
 *       by this program, or by a broken one, and ends the actor. */
#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "base_log.h"
#include "core_image.h"
#include "crc.h"
#include "lock_state.h"

bool lm_lock_restore_is_on(const lm_lock_room_t *room) { return room->restore.loader != NULL; }

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask_one(lm_lock_room_t *room)
{
    lm_lock_restore_t *restore = &room->restore;
    lm_bus_image_read_t body = {
        .index = restore->index, .term = restore->term, .offset = restore->asked};
    restore->pieces[restore->n_pieces++] = (lm_lock_piece_t){
        .correlation = lm_outbox_call(room->out, LM_RAFT, LM_MSG_IMAGE_READ, &body,
                                      room->now_us + LM_LOCK_IMAGE_READ_US, 0),
        .offset = restore->asked};
    restore->asked += restore->piece_bytes;
}

static void ask(lm_lock_room_t *room)
{
    lm_lock_restore_t *restore = &room->restore;
    while (restore->n_pieces < LM_LOCK_IMAGE_READS_MAX && restore->asked < restore->length)
        ask_one(room);
}

static void forget_piece(lm_lock_room_t *room, lm_lock_piece_t *piece)
{
    if (piece->correlation && room->out) lm_outbox_forget(room->out, piece->correlation);
    free(piece->data);
    *piece = (lm_lock_piece_t){0};
}

static void forget_pieces(lm_lock_room_t *room)
{
    lm_lock_restore_t *restore = &room->restore;
    while (restore->n_pieces) forget_piece(room, &restore->pieces[--restore->n_pieces]);
}

void lm_lock_restore_begin(lm_lock_room_t *room, const lm_bus_image_t *image)
{
    LM_CHECK(!lm_lock_restore_is_on(room), "a second image is loaded");
    LM_CHECK(image->length, "the image of entry %llu is empty", (unsigned long long)image->index);
    room->restore = (lm_lock_restore_t){.loader = lm_image_loader_new(),
                                        .index = image->index,
                                        .term = image->term,
                                        .length = image->length,
                                        .state_hash = image->state_hash,
                                        .stated_crc32c = image->crc32c,
                                        .piece_bytes = LM_LOCK_IMAGE_PIECE_BYTES,
                                        .began_us = room->now_us};
    ask(room);
}

void lm_lock_restore_end(lm_lock_room_t *room)
{
    forget_pieces(room);
    lm_image_loader_destroy(&room->restore.loader);
    room->restore = (lm_lock_restore_t){0};
}

/* ---- loading --------------------------------------------------------------------------------- */

/* True unless something is wrong, which is the end then. */
static bool is_sound(lm_lock_room_t *room, const char *wrong)
{
    const lm_lock_restore_t *restore = &room->restore;
    char words[256];
    if (!wrong) return true;
    snprintf(words, sizeof words,
             "the image of entry %llu is damaged before byte %llu of %llu: %s; nothing begins with "
             "it, and this node's next start names the file",
             (unsigned long long)restore->index, (unsigned long long)restore->loaded,
             (unsigned long long)restore->length, wrong);
    lm_lock_deliver_end(room, words);
    return false;
}

static void complete(lm_lock_room_t *room)
{
    lm_lock_restore_t *restore = &room->restore;
    lm_table_t *table = NULL;
    bool same = restore->crc32c == restore->stated_crc32c;
    if (!is_sound(room, same ? NULL : "its checksum is another one")) return;
    const char *wrong = lm_image_loader_end(&restore->loader, &table);
    LM_CHECK(!wrong, "the image of entry %llu is whole and cannot be loaded: %s",
             (unsigned long long)restore->index, wrong);
    LM_CHECK(lm_table_hash(table) == restore->state_hash,
             "the image of entry %llu has hash %016llx and not %016llx",
             (unsigned long long)restore->index, (unsigned long long)lm_table_hash(table),
             (unsigned long long)restore->state_hash);
    lm_info("begins with the state of entry %llu: %llu bytes in %llu ms",
            (unsigned long long)restore->index, (unsigned long long)restore->length,
            (unsigned long long)((room->now_us - restore->began_us) / 1000));
    lm_lock_queues_forget(room);
    lm_table_destroy(&room->table);
    room->table = table;
    lm_lock_queues_count(room);
    room->applied_index = restore->index;
    room->applied_term = restore->term;
    room->figures.restores++;
    lm_lock_restore_end(room);
    lm_lock_deliver_begin(room);
}

static bool load(lm_lock_room_t *room, lm_bytes_t data)
{
    lm_lock_restore_t *restore = &room->restore;
    bool longer = data.size > restore->length - restore->loaded;
    restore->crc32c = lm_crc32c(restore->crc32c, data);
    restore->loaded += data.size;
    room->figures.restored_bytes += data.size;
    return is_sound(room, longer ? "it is longer than stated" : NULL) &&
           is_sound(room, lm_image_loader_feed(restore->loader, data));
}

/* Loads what has come and is next. A piece that is shorter than was expected moves all that were
 * asked for behind it: they are asked for again, where it ends. */
static void load_next(lm_lock_room_t *room)
{
    lm_lock_restore_t *restore = &room->restore;
    while (restore->n_pieces && restore->pieces[0].data) {
        lm_lock_piece_t piece = restore->pieces[0];
        restore->n_pieces--;
        for (size_t i = 0; i < restore->n_pieces; i++) restore->pieces[i] = restore->pieces[i + 1];
        bool good = load(room, lm_bytes(piece.data, piece.size));
        free(piece.data);
        if (!good) return;
        if (restore->n_pieces && restore->pieces[0].offset != restore->loaded) forget_pieces(room);
        if (!restore->n_pieces && restore->loaded < restore->length) {
            restore->asked = restore->loaded;
            restore->piece_bytes = piece.size;
        }
    }
    if (restore->loaded == restore->length)
        complete(room);
    else
        ask(room);
}

/* ---- what raft says -------------------------------------------------------------------------- */

static lm_lock_piece_t *find(lm_lock_room_t *room, uint64_t correlation)
{
    lm_lock_restore_t *restore = &room->restore;
    for (size_t i = 0; i < restore->n_pieces; i++)
        if (restore->pieces[i].correlation == correlation) return &restore->pieces[i];
    return NULL;
}

/* The image has gone, or raft cannot read it now. */
static void fail(lm_lock_room_t *room, const char *why)
{
    lm_warn("the image of entry %llu cannot be had: %s", (unsigned long long)room->restore.index,
            why);
    lm_lock_restore_end(room);
    lm_lock_deliver_attach_later(room);
}

void lm_lock_restore_on_data(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_image_data_t *body = message->body;
    lm_lock_piece_t *piece = find(room, message->from.correlation);
    if (!piece) return;
    if (body->code != LM_RC_OK || !body->data.size) {
        fail(room, body->code ? lm_rc_text(body->code) : "a piece of it is empty");
        return;
    }
    LM_CHECK(body->offset == piece->offset, "bytes from %llu are an answer for %llu",
             (unsigned long long)body->offset, (unsigned long long)piece->offset);
    piece->correlation = 0;
    piece->size = body->data.size;
    piece->data = lm_alloc(piece->size);
    memcpy(piece->data, body->data.data, piece->size);
    load_next(room);
}

bool lm_lock_restore_call_failed(lm_lock_room_t *room, uint64_t correlation, lm_rc_t why)
{
    if (!find(room, correlation)) return false;
    fail(room, lm_rc_text(why));
    return true;
}
