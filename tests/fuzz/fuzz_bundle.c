/* A bundle from the bus: sound as a whole or refused as a whole, and what is in it decodes or is
 * refused. */
#include "act_frames.h"
#include "act_limits.h"
#include "fuzz_target.h"
#include "wire_bus.h"

static void look_into(lm_bytes_t envelope, lm_bytes_t body, lm_arena_t *arena)
{
    if (envelope.size > LM_ENVELOPE_BYTES_MAX) return;
    const lm_bus_envelope_t *head = fuzz_wire_round(&lm_bus_envelope_type, envelope, arena);
    const lm_register_row_t *row = head ? lm_register_find(head->number) : NULL;
    if (row && body.size <= row->limit_bytes) fuzz_wire_round(row->body, body, arena);
}

/* A bundle says nothing that is not in its messages and its head: made anew it is the same. */
static void make_again(lm_bytes_t bytes, lm_frames_reader_t reader)
{
    lm_frames_t frames = {0};
    lm_bytes_t envelope, body;
    lm_frames_begin(&frames, reader.from, reader.generation);
    while (lm_frames_next(&reader, &envelope, &body))
        LM_CHECK(lm_frames_add(&frames, envelope, body), "a message does not fit again");
    LM_CHECK(lm_bytes_equal(lm_frames_bytes(&frames), bytes), "the bundle is another one");
    lm_frames_destroy(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lm_bytes_t bytes = lm_bytes(data, size), envelope, body;
    lm_frames_reader_t reader;
    if (lm_frames_open(&reader, bytes) != LM_RC_OK) return 0;
    make_again(bytes, reader);
    lm_arena_t *arena = lm_arena_new();
    while (lm_frames_next(&reader, &envelope, &body)) look_into(envelope, body, arena);
    lm_arena_destroy(&arena);
    return 0;
}
