/* Images on disk, as the room uses them: one writer at a time, and readers.
 *
 * The disk's reports about an image carry no name. They come in the order of the commands, so that
 * what is told of an image that was given up meanwhile is counted off.
 *
 * Invariants
 *   I1  One image is being written at a time: of the lock here, or one that is fetched.
 *   I2  What has been told to become the snapshot is no more given up: it may be one already. */
#include "base_check.h"
#include "base_log.h"
#include "crc.h"
#include "raft_state.h"

/* ---- writing --------------------------------------------------------------------------------- */

void lm_raft_image_begin(lm_raft_room_t *room, lm_raft_writes_t what, const lm_raft_image_t *image)
{
    lm_raft_writer_t *writer = &room->writer;
    LM_CHECK(writer->what == LM_RAFT_WRITES_NOTHING && what != LM_RAFT_WRITES_NOTHING,
             "an image is being written already");
    writer->what = what;
    writer->image = *image;
    writer->awaited = 1;
    room->disk->image_begin(room->disk, image->index, image->term, image->crc32c,
                            what == LM_RAFT_WRITES_FETCHED);
}

void lm_raft_image_write(lm_raft_room_t *room, uint64_t offset, lm_bytes_t data)
{
    LM_CHECK(room->writer.what != LM_RAFT_WRITES_NOTHING && !room->writer.finishing,
             "bytes of an image that nobody writes");
    room->writer.awaited++;
    room->disk->image_write(room->disk, offset, data);
}

void lm_raft_image_finish(lm_raft_room_t *room, const lm_raft_image_t *image, bool install)
{
    lm_raft_writer_t *writer = &room->writer;
    LM_CHECK(writer->what != LM_RAFT_WRITES_NOTHING && !writer->finishing,
             "an image that nobody writes is to become the snapshot");
    writer->awaited++;
    writer->finishing = true;
    writer->image = *image;
    writer->trailing = install ? 0 : lm_raft_engine_trailing(room->engine, image->index);
    room->disk->image_finish(room->disk, image, writer->trailing);
}

void lm_raft_image_drop(lm_raft_room_t *room, bool keep)
{
    lm_raft_writer_t *writer = &room->writer;
    LM_CHECK(writer->what != LM_RAFT_WRITES_NOTHING && !writer->finishing,
             "an image that nobody writes is to be dropped");
    writer->stale += writer->awaited;
    writer->awaited = 0;
    writer->what = LM_RAFT_WRITES_NOTHING;
    room->disk->image_drop(room->disk, keep);
}

static void take_finished(lm_raft_room_t *room)
{
    lm_raft_writer_t *writer = &room->writer;
    if (writer->trailing == 0) {
        lm_raft_engine_installed(room->engine, room->now_us);
        lm_info("has installed the snapshot of entry %llu",
                (unsigned long long)writer->image.index);
        return;
    }
    lm_raft_engine_snapshot(room->engine, &writer->image, writer->trailing, room->now_us);
    lm_info("has a snapshot of entry %llu, %llu bytes", (unsigned long long)writer->image.index,
            (unsigned long long)writer->image.length);
}

void lm_raft_image_reported(lm_raft_room_t *room, const lm_raft_done_t *done)
{
    lm_raft_writer_t *writer = &room->writer;
    if (writer->stale > 0) {
        writer->stale--;
        return;
    }
    LM_CHECK(writer->awaited > 0, "the disk tells of an image that nobody writes");
    writer->awaited--;
    lm_raft_writes_t what = writer->what;
    bool ends = done->kind == LM_RAFT_DONE_IMAGE_FINISHED || done->kind == LM_RAFT_DONE_IMAGE_BAD;
    if (ends) {
        LM_CHECK(writer->finishing && writer->awaited == 0, "an image has ended too early");
        writer->what = LM_RAFT_WRITES_NOTHING;
        writer->finishing = false;
    }
    if (done->kind == LM_RAFT_DONE_IMAGE_FINISHED) take_finished(room);
    if (what == LM_RAFT_WRITES_TAKEN)
        lm_raft_snapshot_written(room, done);
    else
        lm_raft_fetch_written(room, done);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A place for a reader that has fewer than so many already; NULL if there is none. */
static lm_raft_reader_t *place_for(lm_raft_room_t *room, int node, unsigned places)
{
    lm_raft_reader_t *found = NULL;
    for (unsigned i = 0; i < LM_RAFT_READERS; i++) {
        lm_raft_reader_t *reader = &room->readers[i];
        if (!reader->number && !found) found = reader;
        if (reader->number && reader->node == node && --places == 0) return NULL;
    }
    return found;
}

static void read_for(lm_raft_room_t *room, lm_raft_reader_t *reader, int node, uint64_t index,
                     uint64_t term, uint64_t offset)
{
    reader->number = ++room->reader_number;
    reader->node = node;
    reader->index = index;
    reader->term = term;
    reader->offset = offset;
    room->disk->image_read(room->disk, reader->number, index, term, offset, room->piece_bytes);
}

static void answer_lock(lm_raft_room_t *room, const lm_caller_t *caller, lm_rc_t code,
                        uint64_t offset, const lm_raft_done_t *done)
{
    lm_bus_image_data_t body = {.code = code, .offset = offset};
    if (done && code == LM_RC_OK) {
        body.data = lm_bytes(done->data, done->data_size);
        body.last = done->last;
    }
    lm_outbox_reply(room->out, caller, LM_MSG_IMAGE_DATA, &body);
}

void lm_raft_image_on_read(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_image_read_t *body = message->body;
    bool attached = lm_raft_attach_is_from(room, &message->from);
    lm_raft_reader_t *reader =
        attached ? place_for(room, LM_RAFT_READER_LOCK, LM_RAFT_READERS_LOCK) : NULL;
    if (!reader) {
        answer_lock(room, &message->from, attached ? LM_RC_OVERLOADED : LM_RC_NOT_READY,
                    body->offset, NULL);
        return;
    }
    room->lock.heard_us = room->lock.loads_us = room->now_us;
    reader->caller = message->from;
    read_for(room, reader, LM_RAFT_READER_LOCK, body->index, body->term, body->offset);
}

void lm_raft_image_serve(lm_raft_room_t *room, uint32_t node, const lm_peer_snapshot_read_t *read)
{
    lm_raft_reader_t *reader = place_for(room, (int)node, LM_RAFT_READERS_NODE);
    lm_raft_fetch_note_served(room);
    if (!reader) return; /* it will ask again */
    read_for(room, reader, (int)node, read->last_index, read->last_term, read->offset);
}

static void send_piece(lm_raft_room_t *room, const lm_raft_reader_t *reader,
                       const lm_raft_done_t *done)
{
    lm_peer_snapshot_data_t body = {.last_index = reader->index,
                                    .last_term = reader->term,
                                    .offset = reader->offset,
                                    .data = lm_bytes(done->data, done->data_size)};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_SNAPSHOT_DATA, .snapshot_data = &body};
    body.crc32c = lm_crc32c(0, body.data);
    room->figures.pieces_served++;
    if (done->last) room->served_us = 0; /* whoever lacks a piece will ask again */
    lm_raft_peers_send(room, (uint32_t)reader->node, &frame);
}

void lm_raft_image_was_read(lm_raft_room_t *room, const lm_raft_done_t *done)
{
    for (unsigned i = 0; i < LM_RAFT_READERS; i++) {
        lm_raft_reader_t *reader = &room->readers[i];
        if (reader->number != done->number) continue;
        if (reader->node == LM_RAFT_READER_LOCK)
            answer_lock(room, &reader->caller, done->data ? LM_RC_OK : LM_RC_NOT_FOUND,
                        reader->offset, done);
        else
            send_piece(room, reader, done);
        reader->number = 0;
        return;
    }
    LM_CHECK(false, "the disk has read what nobody asked for");
}
