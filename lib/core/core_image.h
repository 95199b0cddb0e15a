/* Images of the state machine: written piece by piece while commands go on, and read back.
 *
 * An image is the state as it was when lm_image_begin was called. A wait or a hold, with all ids it
 * goes by, is written when the walk over the names comes to it, or just before a command first
 * changes it; what came into being later is left out. Finished requests never change: they are
 * written from the oldest on, those about to be evicted first. A session is written, with the
 * finished ones of its numbered requests, before it changes and before any wait or hold of it. So
 * nothing is copied that does not change, no process is forked, and no moment of the work is long:
 * a command writes ahead what it changes and nothing else, however crowded the lock is.
 *
 * The body is a sequence of items, each with its kind and its length (core_image_item.h). Pieces
 * may be fed in any cut. The order of items depends on what happened meanwhile; the table that is
 * loaded does not.
 *
 * Invariants
 *   J1  A loaded table and the one that was imaged give the same effects, the same hash and the
 *       same reads for every sequence of further commands.
 *   J2  Each session, wait, hold and finished request of the moment of the beginning is in the body
 *       exactly once; the last item carries their counts.
 *   J3  Loading any bytes ends with a table that satisfies lm_table_verify, or with a refusal.
 */
#ifndef LM_CORE_IMAGE_H
#define LM_CORE_IMAGE_H

#include "core_table.h"

/* Layout of the body; others are refused. */
#define LM_IMAGE_SCHEMA 2

/** Begins an image of the table as it is now. Stops the actor if one is being taken already. */
void lm_image_begin(lm_table_t *table);
/** True between lm_image_begin and the end: the last piece taken, or lm_image_drop. */
bool lm_image_is_taken(const lm_table_t *table);
/** Takes the next piece, of about bytes_max bytes and at most bytes_max plus one item (< 4 KiB).
 *  *piece is valid until the next call for this table. Returns false with the last one. */
bool lm_image_take(lm_table_t *table, size_t bytes_max, lm_bytes_t *piece);
/** Bytes that were written ahead, because commands were about to change them, and wait to be
 *  taken. */
size_t lm_image_ahead(const lm_table_t *table);
/** How many records and sessions have been written, ahead or by the walk, of all that the image
 * that is being taken will have. */
typedef struct {
    uint64_t written, total;
} lm_image_progress_t;
lm_image_progress_t lm_image_progress(const lm_table_t *table);
/** Rolling hash of the state at the beginning of the image that is being taken, or whose last piece
 *  was taken last. */
uint64_t lm_image_hash(const lm_table_t *table);
/** Gives the image up; does nothing if none is being taken. Also gives back the memory of the last
 *  piece, and should therefore be called when that is not needed any more. */
void lm_image_drop(lm_table_t *table);

/* ---- loading --------------------------------------------------------------------------------- */

typedef struct lm_image_loader lm_image_loader_t;

lm_image_loader_t *lm_image_loader_new(void);
void lm_image_loader_destroy(lm_image_loader_t **loader);
/** Reads the next bytes. NULL, or a sentence about what is wrong with them (static). */
const char *lm_image_loader_feed(lm_image_loader_t *loader, lm_bytes_t bytes);
/** After the last bytes: sets *table, which is the caller's, and returns NULL; or sets it to NULL
 *  and returns the sentence. Destroys the loader in both cases. */
const char *lm_image_loader_end(lm_image_loader_t **loader, lm_table_t **table);

#endif
