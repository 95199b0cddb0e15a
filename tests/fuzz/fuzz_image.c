/* Images of the lock table.
 *
 * Even first byte: the rest is an image, fed in cuts of a size the second byte says: a table that
 * keeps its invariants, or a refusal (J3).
 * Odd: a story of commands, in the middle of which an image is taken, with a byte of it changed if
 * the story says so; the loaded table must do what the imaged one does (J1). */
#include "core_image.h"
#include "fuzz_story.h"

enum { STEPS_MAX = 200, BODY_MAX = 1 << 20 };

static lm_table_t *load(lm_bytes_t body, size_t cut)
{
    lm_image_loader_t *loader = lm_image_loader_new();
    lm_table_t *table = NULL;
    const char *wrong = NULL;
    fuzz_input_t in = {body};
    while (in.left.size && !wrong) {
        lm_bytes_t piece = fuzz_take(&in, cut);
        uint8_t *own = fuzz_own(piece);
        wrong = lm_image_loader_feed(loader, lm_bytes(own, piece.size));
        free(own);
    }
    if (wrong)
        lm_image_loader_destroy(&loader);
    else
        wrong = lm_image_loader_end(&loader, &table);
    LM_CHECK(!loader && !wrong == !!table, "neither a table nor a refusal");
    return table;
}

/* ---- any bytes ------------------------------------------------------------------------------- */

static void go_on(lm_table_t *table)
{
    fuzz_input_t in = {lm_bytes("\0\1\2\3\4\5\6\7\0\21\42\63\104\125\146\167\1\1\1\1\2\2\2\2", 24)};
    lm_table_verify(table);
    while (in.left.size) {
        lm_command_t command = fuzz_story_command(&in, table);
        fuzz_story_apply(table, &command);
    }
    lm_table_verify(table);
}

static void load_any(fuzz_input_t *in)
{
    size_t cut = 1u + fuzz_u8(in);
    if (cut > 250) cut = SIZE_MAX;
    lm_table_t *table = load(in->left, cut);
    if (!table) return;
    go_on(table);
    lm_table_destroy(&table);
}

/* ---- a story --------------------------------------------------------------------------------- */

typedef struct {
    fuzz_input_t in;
    lm_table_t *table;
    uint8_t *body;
    size_t size;
    bool whole;
    uint64_t hash;
    unsigned n_behind; /* commands applied since the image was begun */
} story_t;

static void take_piece(story_t *s, size_t bytes_max)
{
    lm_bytes_t piece;
    bool more = lm_image_take(s->table, bytes_max, &piece);
    LM_CHECK(s->size + piece.size < BODY_MAX, "an image of %zu bytes", s->size);
    memcpy(s->body + s->size, piece.data, piece.size);
    s->size += piece.size;
    s->whole = !more;
}

/* Both tables hear the same and must say the same. */
static void go_on_alike(const story_t *s, lm_table_t *loaded, fuzz_input_t from)
{
    for (unsigned i = 0; i < s->n_behind; i++) {
        lm_command_t command = fuzz_story_command(&from, loaded);
        fuzz_story_apply(loaded, &command);
    }
    lm_table_verify(loaded);
    lm_table_counts_t a = lm_table_counts(s->table), b = lm_table_counts(loaded);
    LM_CHECK(a.locks == b.locks && a.holds == b.holds && a.waiters == b.waiters &&
                 a.records == b.records,
             "the tables hold different numbers");
    LM_CHECK(lm_table_hash(loaded) == lm_table_hash(s->table), "the tables part");
}

static void play(story_t *s, uint8_t how)
{
    unsigned begin = fuzz_u8(&s->in) % 64, flip = how & 2 ? fuzz_u8(&s->in) : 0;
    fuzz_input_t behind = {0};
    for (unsigned i = 0; i < STEPS_MAX && s->in.left.size; i++) {
        if (i == begin) {
            s->hash = lm_table_hash(s->table);
            lm_image_begin(s->table);
            LM_CHECK(lm_image_hash(s->table) == s->hash, "the image has another hash");
            behind = s->in;
        }
        lm_command_t command = fuzz_story_command(&s->in, s->table);
        fuzz_story_apply(s->table, &command);
        s->n_behind += i >= begin;
        if (i >= begin && !s->whole && i % 4 == 0) take_piece(s, 1 + (how >> 2) * 8u);
    }
    if (!lm_image_is_taken(s->table) && !s->whole) return;
    while (!s->whole) take_piece(s, 4096);
    LM_CHECK(!lm_image_is_taken(s->table), "an image without end");
    if (flip && s->size) s->body[(flip * 7919u) % s->size] ^= (uint8_t)(1u << flip % 8);
    lm_table_t *loaded = load(lm_bytes(s->body, s->size), 1 + flip % 16 * 100u);
    LM_CHECK(loaded || flip, "a good image is refused");
    if (!loaded) return;
    lm_table_verify(loaded);
    if (!flip) {
        LM_CHECK(lm_table_hash(loaded) == s->hash, "the loaded table has another hash");
        go_on_alike(s, loaded, behind);
    }
    lm_table_destroy(&loaded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    story_t s = {.in = {lm_bytes(data, size)}};
    uint8_t how = fuzz_u8(&s.in);
    if (how % 2 == 0) {
        load_any(&s.in);
        return 0;
    }
    s.table = lm_table_new(how >> 6);
    s.body = malloc(BODY_MAX);
    LM_CHECK(s.body, "no memory");
    play(&s, how);
    lm_table_verify(s.table);
    lm_table_destroy(&s.table);
    free(s.body);
    return 0;
}
