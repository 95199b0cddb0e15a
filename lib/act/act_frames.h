/* A bundle: what travels as one ZeroMQ message, all that is ready for one peer in one turn.
 *
 *   byte 0       format, 1
 *   byte 1       participant that sends
 *   bytes 2-9    boot id of its generation
 *   bytes 10-13  counter of its generation
 *   bytes 14-17  number of messages, 0 in the first bundle of a connection
 *   then, per message: 4 bytes size of the envelope, 4 bytes size of the body, envelope, body
 *
 * Numbers are little-endian.
 *
 * Invariants
 *   F1  A bundle is sound as a whole or refused as a whole: no message of a torn one is seen.
 *   F2  At most LM_BUNDLE_MESSAGES_MAX messages and LM_BUNDLE_BYTES_MAX bytes; a message of any
 *       row's limit fits into an empty bundle.
 */
#ifndef LM_ACT_FRAMES_H
#define LM_ACT_FRAMES_H

#include "act_room.h"

/** A bundle being made. Zeroed it is ready for lm_frames_begin. */
typedef struct {
    uint8_t *data;
    size_t size, room;
    uint32_t n;
} lm_frames_t;

/** Begins an empty bundle; memory of the one before is used again. */
void lm_frames_begin(lm_frames_t *frames, lm_participant_t from, lm_generation_t generation);

/** Adds a message. Returns false if it would break F2; the bundle is then as before. */
bool lm_frames_add(lm_frames_t *frames, lm_bytes_t envelope, lm_bytes_t body);

/** The bundle as it is now, until the next call. */
lm_bytes_t lm_frames_bytes(lm_frames_t *frames);

void lm_frames_destroy(lm_frames_t *frames);

/** A bundle being read; views of bytes that belong to the caller. */
typedef struct {
    lm_participant_t from;
    lm_generation_t generation;
    uint32_t n; /* messages not yet taken */
    lm_bytes_t rest;
} lm_frames_reader_t;

/** Checks a whole bundle. Returns LM_RC_OK, LM_RC_TOO_LARGE (F2) or LM_RC_MALFORMED. */
lm_rc_t lm_frames_open(lm_frames_reader_t *reader, lm_bytes_t bytes);

/** The next message of a checked bundle; false at its end. */
bool lm_frames_next(lm_frames_reader_t *reader, lm_bytes_t *envelope, lm_bytes_t *body);

#endif
