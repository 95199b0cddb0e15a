#include "act_frames.h"

#include <stdlib.h>

#include "act_limits.h"
#include "base_check.h"

enum { FORMAT = 1, HEAD_BYTES = 18, COUNT_AT = 14, PAIR_BYTES = 8 };

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) value |= (uint32_t)at[i] << 8 * i;
    return value;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void reserve(lm_frames_t *frames, size_t size)
{
    if (frames->room >= size) return;
    size_t room = frames->room ? frames->room : 4096;
    while (room < size) room *= 2;
    frames->data = lm_realloc(frames->data, room);
    frames->room = room;
}

void lm_frames_begin(lm_frames_t *frames, lm_participant_t from, lm_generation_t generation)
{
    reserve(frames, HEAD_BYTES);
    frames->data[0] = FORMAT;
    frames->data[1] = (uint8_t)from;
    put_u32(frames->data + 2, (uint32_t)generation.boot_id);
    put_u32(frames->data + 6, (uint32_t)(generation.boot_id >> 32));
    put_u32(frames->data + 10, generation.counter);
    frames->size = HEAD_BYTES;
    frames->n = 0;
}

static void append(lm_frames_t *frames, lm_bytes_t bytes)
{
    if (bytes.size) memcpy(frames->data + frames->size, bytes.data, bytes.size);
    frames->size += bytes.size;
}

bool lm_frames_add(lm_frames_t *frames, lm_bytes_t envelope, lm_bytes_t body)
{
    size_t left = LM_BUNDLE_BYTES_MAX - frames->size;
    if (frames->n == LM_BUNDLE_MESSAGES_MAX || left < PAIR_BYTES) return false;
    left -= PAIR_BYTES;
    if (envelope.size > left || body.size > left - envelope.size) return false;
    reserve(frames, frames->size + PAIR_BYTES + envelope.size + body.size);
    put_u32(frames->data + frames->size, (uint32_t)envelope.size);
    put_u32(frames->data + frames->size + 4, (uint32_t)body.size);
    frames->size += PAIR_BYTES;
    append(frames, envelope);
    append(frames, body);
    frames->n++;
    return true;
}

lm_bytes_t lm_frames_bytes(lm_frames_t *frames)
{
    LM_CHECK(frames->size >= HEAD_BYTES, "the bundle was not begun");
    put_u32(frames->data + COUNT_AT, frames->n);
    return lm_bytes(frames->data, frames->size);
}

void lm_frames_destroy(lm_frames_t *frames)
{
    free(frames->data);
    *frames = (lm_frames_t){0};
}

/* ---- reading --------------------------------------------------------------------------------- */

/** Takes one message off rest; false if it does not hold one whole. */
static bool take(lm_bytes_t *rest, lm_bytes_t *envelope, lm_bytes_t *body)
{
    if (rest->size < PAIR_BYTES) return false;
    size_t left = rest->size - PAIR_BYTES;
    size_t envelope_size = get_u32(rest->data);
    size_t body_size = get_u32(rest->data + 4);
    if (envelope_size > left || body_size > left - envelope_size) return false;
    *envelope = lm_bytes(rest->data + PAIR_BYTES, envelope_size);
    *body = lm_bytes(envelope->data + envelope_size, body_size);
    *rest = lm_bytes(body->data + body_size, left - envelope_size - body_size);
    return true;
}

lm_rc_t lm_frames_open(lm_frames_reader_t *reader, lm_bytes_t bytes)
{
    if (bytes.size > LM_BUNDLE_BYTES_MAX) return LM_RC_TOO_LARGE;
    if (bytes.size < HEAD_BYTES || bytes.data[0] != FORMAT) return LM_RC_MALFORMED;
    uint64_t low = get_u32(bytes.data + 2), high = get_u32(bytes.data + 6);
    *reader = (lm_frames_reader_t){
        .from = (lm_participant_t)bytes.data[1],
        .generation = {.boot_id = high << 32 | low, .counter = get_u32(bytes.data + 10)},
        .n = get_u32(bytes.data + COUNT_AT),
        .rest = lm_bytes(bytes.data + HEAD_BYTES, bytes.size - HEAD_BYTES),
    };
    if (reader->from == LM_NOBODY || (unsigned)reader->from >= LM_PARTICIPANTS ||
        reader->generation.boot_id == 0)
        return LM_RC_MALFORMED;
    if (reader->n > LM_BUNDLE_MESSAGES_MAX) return LM_RC_TOO_LARGE;
    lm_bytes_t rest = reader->rest, envelope, body;
    for (uint32_t i = 0; i < reader->n; i++)
        if (!take(&rest, &envelope, &body)) return LM_RC_MALFORMED;
    return rest.size == 0 ? LM_RC_OK : LM_RC_MALFORMED;
}

bool lm_frames_next(lm_frames_reader_t *reader, lm_bytes_t *envelope, lm_bytes_t *body)
{
    if (reader->n == 0) return false;
    reader->n--;
    bool taken = take(&reader->rest, envelope, body);
    LM_CHECK(taken, "a checked bundle ends %u messages early", reader->n + 1);
    return true;
}
