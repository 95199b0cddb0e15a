/* Taking an image: a walk over the names and then over the ring, and what is written ahead of it.
 *
 *                   written ahead, in chunks                      pieces
 *   commands ---> [ state | records about to change ] ----.
 *                                                          >----> taken by the caller
 *   walk -------> sessions, oldest first             -----'
 *                 holders and waiters, name by name
 *                 finished records, oldest first
 *
 * Every living record carries the number of an image. If it is the number of the one that is being
 * taken, it has been written, or came later and does not belong to it. A walk to the end leaves all
 * records with one number; so numbers can be used again after 256 images, unless too many in a row
 * were given up, and then all records are set to one number first.
 *
 * Invariants
 *   JT1 Whatever is written ahead is taken before the walk goes on; so finished records are in the
 *       body in their order.
 *   JT2 The walk stands at a record that is in its list, or between two names.
 *   JT3 One step writes at most one item, one hook at most two: a session, and what it holds.
 *   JT4 A session is in the body before its waits and holds. */
#include "core_image.h"

#include <stdlib.h>

#include "base_check.h"
#include "base_limits.h"
#include "core_image_item.h"

enum { CHUNK_BYTES = 64 * 1024, DROPPED_MAX = 255 };

typedef struct chunk {
    struct chunk *next;
    size_t size;
    uint8_t bytes[CHUNK_BYTES];
} chunk_t;

struct lm_image {
    uint64_t hash;
    lm_image_end_t total, written;

    const lm_session_t *session; /* the walk over the sessions: the next */

    /* the walk over the names: the next seat, or the name after which to go on */
    const lm_seat_t *seat;
    size_t name_size;
    uint8_t name[LM_NAME_BYTES_MAX];
    bool names_done;
    uint64_t place, end; /* in the ring: the next, and behind the last that belongs to the image */

    chunk_t *first, *last; /* written ahead */
    size_t taken;          /* of the first chunk */
    size_t ahead;

    uint8_t *piece;
    size_t piece_room, piece_size;
    const lm_entry_t *piece_lock; /* of the last record that the walk has put in the piece */
};

/* ---- items of this table --------------------------------------------------------------------- */

static lm_image_state_t state_of(const lm_table_t *table)
{
    return (lm_image_state_t){.schema = LM_IMAGE_SCHEMA,
                              .epoch = table->epoch,
                              .op_seq = table->op_seq,
                              .hash = table->hash,
                              .evicted = table->evicted,
                              .pair = table->pair,
                              .settings = table->settings,
                              .locks = table->names.count,
                              .records = table->keys.count,
                              .living = table->numbers.count,
                              .owners = table->owners.count,
                              .sessions = table->sessions.count};
}

static void add_joined(const lm_table_t *table, const lm_record_t *record,
                       lm_image_living_t *living)
{
    const lm_circle_t *circle = lm_record_circle(table, record);
    for (uint32_t i = 0; circle && i < circle->n; i++) {
        const lm_record_t *joined = circle->joined[i];
        living->joined[living->n_joined++] =
            (lm_image_joined_t){.request_id = lm_record_key(joined).request_id,
                                .body_hash = joined->internal_body_hash,
                                .cancelled = joined->cancelled};
    }
}

static lm_image_living_t living_of(const lm_table_t *table, const lm_record_t *record)
{
    bool holds = record->state == LM_RECORD_HOLDING;
    lm_image_living_t living = {.holds = holds,
                                .cancelled = record->cancelled,
                                .mode = lm_seat_mode(&record->seat),
                                .name = lm_entry_name(lm_record_lock(record)),
                                .key = lm_record_key(record),
                                .body_hash = record->internal_body_hash,
                                .wait_number = record->wait_number,
                                .number = record->seat.number,
                                .basis = record->basis,
                                .token = record->seat.token,
                                .ttl_ms = record->ttl_ms,
                                .claim = record->claim};
    if (record->internal_has_joined) add_joined(table, record, &living);
    return living;
}

static lm_image_finished_t finished_of(const lm_record_t *record)
{
    return (lm_image_finished_t){.state = record->state,
                                 .end = record->end,
                                 .code = record->code,
                                 .cancelled = record->cancelled,
                                 .release = record->internal_release,
                                 .any_body = record->internal_any_body,
                                 .opening = record->internal_opening,
                                 .key = lm_record_key(record),
                                 .body_hash = record->internal_body_hash,
                                 .finished = record->internal_finished,
                                 .token = record->seat.token};
}

static lm_image_numbered_t numbered_of(const lm_record_t *record)
{
    return (lm_image_numbered_t){
        .state = record->state,
        .end = record->end,
        .code = record->code,
        .cancelled = record->cancelled,
        .release = record->internal_release,
        .any_body = record->internal_any_body,
        .number = lm_number_of_text(lm_record_key(record).request_id),
        .body_hash = record->internal_body_hash,
        .finished = record->internal_finished,
        .token = record->seat.token,
    };
}

/** Puts the item of a session there; returns its size. */
static size_t put_session(lm_table_t *table, lm_session_t *session, uint8_t *at)
{
    const lm_record_t *opening = lm_pool_at(session, session->opening);
    lm_image_session_t item;
    item.number = session->number;
    item.basis = session->basis;
    item.done_below = session->done_below;
    item.key = lm_record_key(opening);
    item.body_hash = opening->internal_body_hash;
    item.ttl_ms = session->ttl_ms;
    item.secret = lm_bytes(session->secret, LM_SESSION_SECRET_BYTES);
    item.n_finished = 0;
    for (uint32_t place = 0; place < session->n_open; place++) {
        const lm_record_t *finished = lm_session_finished(table, session, place);
        if (finished) item.finished[item.n_finished++] = numbered_of(finished);
    }
    session->image = table->image_number;
    table->image->written.sessions++;
    return lm_image_put_session(at, &item);
}

/* ---- written ahead --------------------------------------------------------------------------- */

/** Where LM_IMAGE_ITEM_MAX bytes are free; told what has been used of them by used. */
static uint8_t *ahead_room(lm_image_t *image)
{
    if (!image->last || CHUNK_BYTES - image->last->size < LM_IMAGE_ITEM_MAX) {
        chunk_t *chunk = malloc(sizeof *chunk); /* not zeroed: it is large */
        LM_CHECK(chunk, "out of memory");
        chunk->next = NULL;
        chunk->size = 0;
        if (image->last)
            image->last->next = chunk;
        else
            image->first = chunk;
        image->last = chunk;
    }
    return image->last->bytes + image->last->size;
}

static void ahead_used(lm_image_t *image, size_t size)
{
    image->last->size += size;
    image->ahead += size;
}

static void drop_first_chunk(lm_image_t *image)
{
    chunk_t *chunk = image->first;
    image->first = chunk->next;
    if (!image->first) image->last = NULL;
    image->taken = 0;
    free(chunk);
}

void lm_image_write_ahead(lm_table_t *table, lm_record_t *record)
{
    lm_image_t *image = table->image;
    lm_session_t *session = lm_session_of(table, record);
    if (session) lm_image_session_changing(table, session);
    lm_image_living_t living = living_of(table, record);
    ahead_used(image, lm_image_put_living(ahead_room(image), &living));
    record->internal_image = table->image_number;
    image->written.living++;
}

void lm_image_session_ahead(lm_table_t *table, lm_session_t *session)
{
    ahead_used(table->image, put_session(table, session, ahead_room(table->image)));
}

void lm_image_evict_ahead(lm_table_t *table)
{
    lm_image_t *image = table->image;
    if (image->place != table->ring.first || image->place >= image->end) return;
    lm_image_finished_t finished = finished_of(lm_ring_at(&table->ring, image->place));
    ahead_used(image, lm_image_put_finished(ahead_room(image), &finished));
    image->place++;
    image->written.finished++;
}

/* ---- the walk -------------------------------------------------------------------------------- */

void lm_image_session_step_over(lm_table_t *table, const lm_session_t *session)
{
    if (table->image->session == session) table->image->session = lm_session_newer(session);
}

/** One step over the sessions; false if all have been written. */
static bool walk_sessions(lm_table_t *table)
{
    lm_image_t *image = table->image;
    lm_session_t *session = (lm_session_t *)(uintptr_t)image->session;
    if (!session) return false;
    image->session = lm_session_newer(session);
    if (session->image != table->image_number)
        image->piece_size += put_session(table, session, image->piece + image->piece_size);
    return true;
}

/** The seat behind it: holders, then waiters; NULL behind the last. */
static const lm_seat_t *behind(const lm_seat_t *seat)
{
    const lm_record_t *record = lm_record_of(seat);
    const lm_seat_t *next = lm_seat_next(seat);
    if (next || record->state == LM_RECORD_WAITING) return next;
    return lm_entry_waiters(lm_record_lock(record));
}

void lm_image_step_over(lm_table_t *table, const lm_seat_t *seat)
{
    if (table->image->seat == seat) table->image->seat = behind(seat);
}

/** Goes on to the next lock; false if there is none. */
static bool next_lock(lm_table_t *table)
{
    lm_image_t *image = table->image;
    const lm_entry_t *entry =
        lm_order_seek(table->order, lm_bytes(image->name, image->name_size), true);
    image->names_done = !entry;
    if (!entry) return false;
    image->name_size = entry->name_size;
    memcpy(image->name, entry->name, entry->name_size);
    image->seat = lm_entry_holders(entry);
    LM_CHECK(image->seat, "a lock that nobody holds");
    return true;
}

static void put_in_piece(lm_table_t *table, lm_record_t *record)
{
    lm_image_t *image = table->image;
    lm_image_living_t living = living_of(table, record);
    living.same_name = image->piece_lock == lm_record_lock(record);
    image->piece_lock = lm_record_lock(record);
    image->piece_size += lm_image_put_living(image->piece + image->piece_size, &living);
    record->internal_image = table->image_number;
    image->written.living++;
}

/** One step over the living records; false if all have been written. */
static bool walk_names(lm_table_t *table)
{
    lm_image_t *image = table->image;
    if (image->names_done || (!image->seat && !next_lock(table))) return false;
    lm_record_t *record = lm_record_of_seat(image->seat);
    image->seat = behind(image->seat);
    if (record->internal_image != table->image_number) put_in_piece(table, record);
    return true;
}

/** One step over the ring; false if all have been written. */
static bool walk_ring(lm_table_t *table)
{
    lm_image_t *image = table->image;
    if (image->place == image->end) return false;
    lm_image_finished_t finished = finished_of(lm_ring_at(&table->ring, image->place++));
    image->piece_size += lm_image_put_finished(image->piece + image->piece_size, &finished);
    image->written.finished++;
    return true;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void start_piece(lm_image_t *image, size_t bytes_max)
{
    size_t room = bytes_max + LM_IMAGE_ITEM_MAX;
    if (image->piece_room < room) {
        image->piece = lm_realloc(image->piece, room);
        image->piece_room = room;
    }
    image->piece_size = 0;
    image->piece_lock = NULL;
}

static void take_ahead(lm_image_t *image, size_t bytes_max)
{
    while (image->first && image->piece_size < bytes_max) {
        size_t left = image->first->size - image->taken, room = bytes_max - image->piece_size;
        size_t size = left < room ? left : room;
        memcpy(image->piece + image->piece_size, image->first->bytes + image->taken, size);
        image->piece_size += size;
        image->taken += size;
        image->ahead -= size;
        if (size == left) drop_first_chunk(image);
    }
}

static void free_image(lm_image_t **image_ref)
{
    lm_image_t *image = *image_ref;
    if (!image) return;
    while (image->first) drop_first_chunk(image);
    free(image->piece);
    free(image);
    *image_ref = NULL;
}

static void finish(lm_table_t *table)
{
    lm_image_t *image = table->image;
    LM_CHECK(image->written.sessions == image->total.sessions, "image of %llu sessions has %llu",
             (unsigned long long)image->total.sessions,
             (unsigned long long)image->written.sessions);
    LM_CHECK(image->written.living == image->total.living &&
                 image->written.finished == image->total.finished,
             "image of %llu living and %llu finished records has %llu and %llu",
             (unsigned long long)image->total.living, (unsigned long long)image->total.finished,
             (unsigned long long)image->written.living,
             (unsigned long long)image->written.finished);
    image->piece_size += lm_image_put_end(image->piece + image->piece_size, &image->total);
    table->image_done = image;
    table->image = NULL;
    table->images_dropped = 0;
}

bool lm_image_take(lm_table_t *table, size_t bytes_max, lm_bytes_t *piece)
{
    lm_image_t *image = table->image;
    LM_CHECK(image && bytes_max > 0, "no image is being taken");
    start_piece(image, bytes_max);
    take_ahead(image, bytes_max);
    bool more = true;
    while (more && image->piece_size < bytes_max)
        more = walk_sessions(table) || walk_names(table) || walk_ring(table);
    if (!more) finish(table);
    *piece = lm_bytes(image->piece, image->piece_size);
    return more;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static void renumber_session(void *arg, void *object)
{
    ((lm_session_t *)object)->image = *(const uint8_t *)arg;
}

static void renumber(void *arg, void *object)
{
    ((lm_record_t *)object)->internal_image = *(const uint8_t *)arg;
}

void lm_image_begin(lm_table_t *table)
{
    LM_CHECK(!table->image, "an image is being taken already");
    free_image(&table->image_done);
    if (table->images_dropped == DROPPED_MAX) {
        lm_index_each(&table->numbers, renumber, &table->image_number);
        lm_index_each(&table->sessions, renumber_session, &table->image_number);
        table->images_dropped = 0;
    }
    table->image_number++;
    lm_image_t *image = table->image = lm_alloc(sizeof *image);
    image->hash = table->hash;
    image->total = (lm_image_end_t){.living = table->n_holds + table->n_waiters,
                                    .finished = lm_ring_count(&table->ring),
                                    .sessions = table->sessions.count};
    image->session = table->oldest_session;
    image->place = table->ring.first;
    image->end = table->ring.end;
    lm_image_state_t state = state_of(table);
    ahead_used(image, lm_image_put_state(ahead_room(image), &state));
}

bool lm_image_is_taken(const lm_table_t *table) { return table->image != NULL; }

size_t lm_image_ahead(const lm_table_t *table) { return table->image ? table->image->ahead : 0; }

uint64_t lm_image_waits_for(const lm_table_t *table)
{
    return table->image->total.living - table->image->written.living;
}

uint64_t lm_image_waits_for_sessions(const lm_table_t *table)
{
    return table->image->total.sessions - table->image->written.sessions;
}

static uint64_t sum(const lm_image_end_t *counts)
{
    return counts->living + counts->finished + counts->sessions;
}

lm_image_progress_t lm_image_progress(const lm_table_t *table)
{
    const lm_image_t *image = table->image;
    LM_CHECK(image, "no image is being taken");
    return (lm_image_progress_t){.written = sum(&image->written), .total = sum(&image->total)};
}

uint64_t lm_image_hash(const lm_table_t *table)
{
    const lm_image_t *image = table->image ? table->image : table->image_done;
    LM_CHECK(image, "no image");
    return image->hash;
}

void lm_image_drop(lm_table_t *table)
{
    if (table->image) table->images_dropped++;
    free_image(&table->image);
    free_image(&table->image_done);
}

void lm_image_free(lm_table_t *table)
{
    free_image(&table->image);
    free_image(&table->image_done);
}
