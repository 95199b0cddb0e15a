/* Bundles: what goes in comes out, bounds hold at the limit and one beyond, hostile bytes are
 * refused as a whole. */
#include "act_frames.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "act_limits.h"

enum { HEAD_BYTES = 18, PAIR_BYTES = 8 };

static const lm_generation_t generation = {.boot_id = 0x1122334455667788, .counter = 0x99aabbcc};
static lm_frames_t frames;

static void set_up(void)
{
    frames = (lm_frames_t){0};
    lm_frames_begin(&frames, LM_LOCK, generation);
}

static void tear_down(void) { lm_frames_destroy(&frames); }

TestSuite(act_frames, .init = set_up, .fini = tear_down);

Test(act_frames, what_goes_in_comes_out)
{
    lm_frames_reader_t reader;
    lm_bytes_t envelope, body;
    cr_assert(lm_frames_add(&frames, lm_bytes_of("first"), lm_bytes_of("body of it")));
    cr_assert(lm_frames_add(&frames, lm_bytes_of(""), lm_bytes_of("")));
    cr_assert(lm_frames_add(&frames, lm_bytes_of("third"), lm_bytes_of("")));
    cr_assert_eq(lm_frames_open(&reader, lm_frames_bytes(&frames)), LM_RC_OK);
    cr_assert_eq(reader.from, LM_LOCK);
    cr_assert_eq(lm_generation_compare(reader.generation, generation), 0);
    cr_assert(lm_frames_next(&reader, &envelope, &body));
    cr_assert(lm_bytes_equal(envelope, lm_bytes_of("first")));
    cr_assert(lm_bytes_equal(body, lm_bytes_of("body of it")));
    cr_assert(lm_frames_next(&reader, &envelope, &body));
    cr_assert_eq(envelope.size + body.size, 0);
    cr_assert(lm_frames_next(&reader, &envelope, &body));
    cr_assert(lm_bytes_equal(envelope, lm_bytes_of("third")));
    cr_assert_not(lm_frames_next(&reader, &envelope, &body));
}

Test(act_frames, an_empty_bundle_is_a_greeting)
{
    lm_frames_reader_t reader;
    lm_bytes_t envelope, body, bytes = lm_frames_bytes(&frames);
    cr_assert_eq(bytes.size, HEAD_BYTES);
    cr_assert_eq(lm_frames_open(&reader, bytes), LM_RC_OK);
    cr_assert_not(lm_frames_next(&reader, &envelope, &body));
}

Test(act_frames, bytes_at_the_limit_and_one_beyond)
{
    static uint8_t body[LM_BUNDLE_BYTES_MAX];
    size_t most = LM_BUNDLE_BYTES_MAX - HEAD_BYTES - PAIR_BYTES - 5;
    cr_assert_not(lm_frames_add(&frames, lm_bytes_of("12345"), lm_bytes(body, most + 1)));
    cr_assert_eq(frames.n, 0);
    cr_assert(lm_frames_add(&frames, lm_bytes_of("12345"), lm_bytes(body, most)));
    cr_assert_not(lm_frames_add(&frames, lm_bytes_of(""), lm_bytes_of("")));
    lm_bytes_t bytes = lm_frames_bytes(&frames);
    lm_frames_reader_t reader;
    cr_assert_eq(bytes.size, LM_BUNDLE_BYTES_MAX);
    cr_assert_eq(lm_frames_open(&reader, bytes), LM_RC_OK);
    uint8_t *larger = calloc(1, LM_BUNDLE_BYTES_MAX + 1);
    memcpy(larger, bytes.data, bytes.size);
    cr_assert_eq(lm_frames_open(&reader, lm_bytes(larger, LM_BUNDLE_BYTES_MAX + 1)),
                 LM_RC_TOO_LARGE);
    free(larger);
}

Test(act_frames, messages_at_the_limit_and_one_beyond)
{
    for (int i = 0; i < LM_BUNDLE_MESSAGES_MAX; i++)
        cr_assert(lm_frames_add(&frames, lm_bytes_of("e"), lm_bytes_of("b")));
    cr_assert_not(lm_frames_add(&frames, lm_bytes_of("e"), lm_bytes_of("b")));
    lm_frames_reader_t reader;
    lm_bytes_t bytes = lm_frames_bytes(&frames);
    cr_assert_eq(lm_frames_open(&reader, bytes), LM_RC_OK);
    uint8_t *more = calloc(1, bytes.size + PAIR_BYTES);
    memcpy(more, bytes.data, bytes.size);
    more[14]++;
    cr_assert_eq(lm_frames_open(&reader, lm_bytes(more, bytes.size + PAIR_BYTES)), LM_RC_TOO_LARGE);
    free(more);
}

Test(act_frames, the_largest_message_of_the_register_fits)
{
    static uint8_t body[4 * 1024 * 1024], envelope[LM_ENVELOPE_BYTES_MAX];
    cr_assert(
        lm_frames_add(&frames, lm_bytes(envelope, sizeof envelope), lm_bytes(body, sizeof body)));
}

Test(act_frames, every_cut_is_refused_as_a_whole)
{
    lm_frames_reader_t reader;
    lm_frames_add(&frames, lm_bytes_of("one"), lm_bytes_of("body"));
    lm_frames_add(&frames, lm_bytes_of("two"), lm_bytes_of("body"));
    lm_bytes_t bytes = lm_frames_bytes(&frames);
    for (size_t size = 0; size < bytes.size; size++) {
        uint8_t *cut = malloc(size + 1); /* no room to step beyond unseen */
        memcpy(cut, bytes.data, size);
        cr_assert_eq(lm_frames_open(&reader, lm_bytes(cut, size)), LM_RC_MALFORMED, "%zu", size);
        free(cut);
    }
}

Test(act_frames, heads_that_break_a_rule)
{
    lm_frames_reader_t reader;
    uint8_t head[HEAD_BYTES + 1];
    lm_bytes_t bytes = lm_frames_bytes(&frames);
    static const struct {
        size_t at;
        uint8_t value;
    } faults[] = {{0, 0}, {0, 2}, {1, LM_NOBODY}, {1, LM_PARTICIPANTS}, {1, 255}, {14, 1}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        memcpy(head, bytes.data, HEAD_BYTES);
        head[faults[i].at] = faults[i].value;
        cr_assert_eq(lm_frames_open(&reader, lm_bytes(head, HEAD_BYTES)), LM_RC_MALFORMED, "%zu",
                     i);
    }
    memcpy(head, bytes.data, HEAD_BYTES);
    cr_assert_eq(lm_frames_open(&reader, lm_bytes(head, HEAD_BYTES + 1)), LM_RC_MALFORMED,
                 "a byte too many");
    memset(head + 2, 0, 8);
    cr_assert_eq(lm_frames_open(&reader, lm_bytes(head, HEAD_BYTES)), LM_RC_MALFORMED,
                 "no generation");
}

Test(act_frames, sizes_that_overflow_are_refused)
{
    lm_frames_reader_t reader;
    lm_frames_add(&frames, lm_bytes_of("one"), lm_bytes_of("body"));
    lm_bytes_t bytes = lm_frames_bytes(&frames);
    for (size_t at = HEAD_BYTES; at < HEAD_BYTES + PAIR_BYTES; at += 4) {
        uint8_t copy[64];
        memcpy(copy, bytes.data, bytes.size);
        memset(copy + at, 0xff, 4);
        cr_assert_eq(lm_frames_open(&reader, lm_bytes(copy, bytes.size)), LM_RC_MALFORMED);
    }
}

Test(act_frames, random_bytes_never_lead_out_of_bounds)
{
    uint64_t seed = 2463534242u;
    size_t opened = 0;
    for (int round = 0; round < 200000; round++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        size_t size = seed % 80;
        uint8_t *bytes = calloc(1, size + 1);
        for (size_t i = 0; i < size; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            /* mostly small numbers, so that some of it is taken for sizes and counts */
            bytes[i] = (uint8_t)(seed % 4 ? seed / 4 % 3 : seed >> 32);
        }
        if (size) bytes[0] = 1;
        lm_frames_reader_t reader;
        lm_bytes_t envelope, body;
        if (lm_frames_open(&reader, lm_bytes(bytes, size)) == LM_RC_OK) {
            opened++;
            while (lm_frames_next(&reader, &envelope, &body))
                cr_assert(body.data + body.size <= bytes + size);
        }
        free(bytes);
    }
    cr_log_info("%zu of the random bundles were sound", opened);
}
