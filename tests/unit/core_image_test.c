/* Images of a table: what is loaded is what was, whatever happened while it was taken; and no bytes
 * can do harm. */
#include "core_image.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_limits.h"
#include "core_image_item.h"
#include "core_random.h"
#include "core_state.h"

/* Rounds of a loop; more under LM_TEST_LONG. */
static uint64_t rounds(uint64_t usual)
{
    const char *factor = getenv("LM_TEST_LONG");
    return factor ? usual * (uint64_t)strtoul(factor, NULL, 10) : usual;
}

/* ---- a text of everything that is in a table ------------------------------------------------- */

static void dump_text(FILE *out, lm_bytes_t text) { fprintf(out, " '%.*s'", LM_BYTES_ARG(text)); }

static void dump_record(FILE *out, const lm_table_t *table, const lm_record_t *record)
{
    lm_request_key_t key = lm_record_key(record);
    dump_text(out, key.identity);
    dump_text(out, key.owner);
    dump_text(out, key.request_id);
    fprintf(out, " session=%" PRIu64 " opening=%d", lm_record_session(record),
            record->internal_opening);
    fprintf(out, " state=%d end=%d code=%d cancelled=%d release=%d any=%d body=%" PRIx64,
            record->state, record->end, record->code, record->cancelled, record->internal_release,
            record->internal_any_body, record->internal_body_hash);
    fprintf(out, " token=%" PRId64 " wait=%" PRIu64, record->seat.token, record->wait_number);
    if (record->state == LM_RECORD_WAITING || record->state == LM_RECORD_HOLDING) {
        fprintf(out, " number=%" PRIu64 " mode=%d basis=%" PRIu64 " ttl=%u claim=%u",
                (uint64_t)record->seat.number, (int)lm_seat_mode(&record->seat),
                (uint64_t)record->basis, record->ttl_ms, record->claim);
        fprintf(out, " living=%u", lm_record_owner(record)->n_living);
    }
    fprintf(out, "\n");
    const lm_circle_t *circle = lm_record_circle(table, record);
    for (uint32_t i = 0; circle && i < circle->n; i++) {
        const lm_record_t *joined = circle->joined[i];
        fprintf(out, "    joined");
        dump_text(out, lm_record_key(joined).request_id);
        fprintf(out, " body=%" PRIx64 " cancelled=%d\n", joined->internal_body_hash,
                joined->cancelled);
    }
}

static void dump_seats(FILE *out, const lm_table_t *table, const lm_seat_t *seat)
{
    for (; seat; seat = lm_seat_next(seat)) dump_record(out, table, lm_record_of(seat));
}

static void dump_head(FILE *out, const lm_table_t *table)
{
    const lm_settings_t *settings = &table->settings;
    fprintf(out, "epoch %u op_seq %" PRIu64 " hash %" PRIx64 " evicted %" PRIu64, table->epoch,
            table->op_seq, table->hash, table->evicted);
    fprintf(out, " pair %" PRIu64 " %" PRIu64 " %u settings %u %u %u %u %u %u %u\n",
            table->pair.term, table->pair.boot_id, table->pair.counter, settings->semantics,
            settings->waiters_per_lock_max, settings->locks_max, settings->holds_per_owner_max,
            settings->record_ring_size, settings->sessions_max, settings->session_window);
    lm_table_counts_t counts = lm_table_counts(table);
    fprintf(out, "locks %" PRIu64 " holds %" PRIu64 " waiters %" PRIu64 " records %" PRIu64 "\n",
            counts.locks, counts.holds, counts.waiters, counts.records);
}

static void dump_living(void *arg, const lm_record_t *record)
{
    fprintf(arg, " %" PRIu64, (uint64_t)record->seat.number);
}

static void dump_session(FILE *out, const lm_table_t *table, const lm_session_t *session)
{
    lm_session_info_t info = lm_session_info(session);
    fprintf(out, "session %" PRIu64 " ttl %u basis %" PRIu64 " below %" PRIu64 " secret %" PRIx64,
            info.number, info.ttl_ms, info.basis, info.done_below, lm_bytes_hash(info.secret, 1));
    dump_text(out, info.key.identity);
    dump_text(out, info.key.owner);
    dump_text(out, info.key.request_id);
    fprintf(out, " living %u:", info.n_living);
    lm_session_each(session, dump_living, out);
    fprintf(out, "\n");
    for (uint32_t place = 0; place < session->n_open; place++) {
        fprintf(out, "  open %" PRIu64, lm_session_open(session)[place]);
        const lm_record_t *finished = lm_session_finished(table, session, place);
        if (finished)
            dump_record(out, table, finished);
        else
            fprintf(out, "\n");
    }
}

/** The caller frees it. */
static char *dump(const lm_table_t *table)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    dump_head(out, table);
    lm_bytes_t none = lm_bytes(NULL, 0), from = none;
    const lm_entry_t *lock;
    while ((lock = lm_table_seek(table, none, from, from.size > 0)) != NULL) {
        from = lm_entry_name(lock);
        dump_text(out, from);
        fprintf(out, "\n");
        dump_seats(out, table, lm_entry_holders(lock));
        dump_seats(out, table, lm_entry_waiters(lock));
    }
    for (const lm_session_t *one = lm_table_sessions(table); one; one = lm_session_newer(one))
        dump_session(out, table, one);
    for (uint64_t place = table->ring.first; place < table->ring.end; place++)
        dump_record(out, table, lm_ring_at(&table->ring, place));
    fclose(out);
    return text;
}

static void assert_same(const lm_table_t *a, const lm_table_t *b, uint64_t seed)
{
    char *one = dump(a), *other = dump(b);
    if (strcmp(one, other) != 0) {
        size_t i = 0;
        while (one[i] == other[i]) i++;
        i = i > 200 ? i - 200 : 0;
        cr_assert_fail("seed %" PRIu64 ":\n%.600s\n---- but\n%.600s", seed, one + i, other + i);
    }
    free(one);
    free(other);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *data;
    size_t size, capacity;
} body_t;

static void body_add(body_t *body, lm_bytes_t bytes)
{
    if (body->size + bytes.size > body->capacity) {
        body->capacity = (body->size + bytes.size) * 2;
        body->data = realloc(body->data, body->capacity);
    }
    if (bytes.size) memcpy(body->data + body->size, bytes.data, bytes.size);
    body->size += bytes.size;
}

static bool body_take(body_t *body, lm_table_t *table, size_t bytes_max)
{
    lm_bytes_t piece;
    bool more = lm_image_take(table, bytes_max, &piece);
    cr_assert_lt(piece.size, bytes_max + LM_IMAGE_ITEM_MAX);
    body_add(body, piece);
    return more;
}

/** Takes an image while nothing changes. */
static body_t quiet_image(lm_table_t *table)
{
    body_t body = {0};
    lm_image_begin(table);
    while (body_take(&body, table, 1000)) {
    }
    return body;
}

/** Loads in random cuts. */
static const char *load_from(const body_t *body, lm_core_random_t *random, lm_table_t **table)
{
    lm_image_loader_t *loader = lm_image_loader_new();
    uint32_t most = 1 + lm_core_random_below(random, 3000);
    const char *problem = NULL;
    for (size_t at = 0, n; at < body->size; at += n) {
        n = 1 + lm_core_random_below(random, most);
        if (n > body->size - at) n = body->size - at;
        const char *now = lm_image_loader_feed(loader, lm_bytes(body->data + at, n));
        cr_assert(!problem || now == problem, "a problem does not go away");
        problem = now;
    }
    const char *end = lm_image_loader_end(&loader, table);
    cr_assert_null(loader);
    cr_assert(!problem || end == problem);
    cr_assert_eq(!end, *table != NULL);
    return end;
}

/* ---- commands that can be applied again ------------------------------------------------------ */

typedef struct {
    lm_command_t items[4096];
    size_t n;
    lm_arena_t *arena;
} script_t;

static lm_command_t copy_of(const lm_command_t *command, lm_arena_t *arena)
{
    lm_command_t copy = *command;
    copy.name = lm_arena_copy(arena, command->name);
    copy.key.identity = lm_arena_copy(arena, command->key.identity);
    copy.key.owner = lm_arena_copy(arena, command->key.owner);
    copy.key.request_id = lm_arena_copy(arena, command->key.request_id);
    copy.secret = lm_arena_copy(arena, command->secret);
    return copy;
}

/** Applies a random command to table, and notes it. */
static void step(lm_table_t *table, lm_core_random_t *random, script_t *script)
{
    cr_assert_lt(script->n, sizeof script->items / sizeof *script->items);
    lm_command_t made = lm_core_random_command(random, table);
    lm_command_t *command = &script->items[script->n++];
    *command = copy_of(&made, script->arena);
    lm_table_apply(table, command);
}

static void assert_same_keys(lm_request_key_t a, lm_request_key_t b)
{
    cr_assert(lm_bytes_equal(a.identity, b.identity) && lm_bytes_equal(a.owner, b.owner) &&
              lm_bytes_equal(a.request_id, b.request_id));
}

static void assert_same_effects(lm_effects_t a, lm_effects_t b)
{
    cr_assert_eq(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        const lm_effect_t *one = &a.items[i], *other = &b.items[i];
        cr_assert(one->kind == other->kind && one->code == other->code && one->end == other->end);
        cr_assert_eq(one->op_seq, other->op_seq);
        cr_assert(one->hold == other->hold && one->wait_number == other->wait_number);
        cr_assert(lm_bytes_equal(one->name, other->name));
        assert_same_keys(one->key, other->key);
        cr_assert_eq(!one->record, !other->record);
        if (!one->record) continue;
        assert_same_keys(lm_record_key(one->record), lm_record_key(other->record));
        cr_assert_eq(one->record->state, other->record->state);
        cr_assert_eq(lm_record_token(one->record), lm_record_token(other->record));
    }
}

static void apply_to_both(lm_table_t *a, lm_table_t *b, const script_t *script)
{
    for (size_t i = 0; i < script->n; i++) {
        lm_effects_t one = lm_table_apply(a, &script->items[i]);
        assert_same_effects(one, lm_table_apply(b, &script->items[i]));
        cr_assert_eq(lm_table_hash(a), lm_table_hash(b), "command %zu", i);
    }
}

/* ---- the property ---------------------------------------------------------------------------- */

typedef struct {
    uint64_t seed;
    uint32_t names, owners, ring_max;
    size_t before;       /* commands before the first image, at most */
    uint32_t commands;   /* between two pieces, at most */
    uint32_t piece_size; /* at most */
    int images;
} shape_t;

typedef struct {
    const shape_t *shape;
    lm_core_random_t random, cuts;
    lm_table_t *table, *reference; /* the reference stands where the image began */
    script_t *script;              /* what was applied to table alone */
    uint64_t ahead;                /* greatest */
} run_t;

static void some_commands(run_t *run, uint32_t most)
{
    uint32_t n = lm_core_random_below(&run->cuts, most + 1);
    for (uint32_t i = 0; i < n && run->script->n < 4096; i++)
        step(run->table, &run->random, run->script);
}

/** Brings the reference to where table is. */
static void catch_up(run_t *run)
{
    for (size_t i = 0; i < run->script->n; i++)
        lm_table_apply(run->reference, &run->script->items[i]);
    run->script->n = 0;
    lm_arena_reset(run->script->arena);
    cr_assert_eq(lm_table_hash(run->reference), lm_table_hash(run->table));
}

/** Commands and pieces in turn; false if the image is given up on the way. */
static bool take_image(run_t *run, body_t *body)
{
    bool gives_up = lm_core_random_below(&run->cuts, 4) == 0, more = true;
    while (more) {
        some_commands(run, run->shape->commands);
        if (lm_core_random_below(&run->cuts, 20) == 0) lm_table_verify(run->table);
        if (lm_image_ahead(run->table) > run->ahead) run->ahead = lm_image_ahead(run->table);
        if (gives_up && lm_core_random_below(&run->cuts, 6) == 0) return false;
        more = body_take(body, run->table,
                         1 + lm_core_random_below(&run->cuts, run->shape->piece_size));
        cr_assert_eq(lm_image_is_taken(run->table), more);
        cr_assert_eq(lm_image_hash(run->table), lm_table_hash(run->reference));
    }
    return true;
}

static void check_image(run_t *run, const body_t *body)
{
    lm_table_t *loaded;
    const char *problem = load_from(body, &run->cuts, &loaded);
    cr_assert_null(problem, "seed %" PRIu64 ": %s", run->shape->seed, problem);
    lm_table_verify(loaded);
    assert_same(run->reference, loaded, run->shape->seed);
    body_t one = quiet_image(run->reference), other = quiet_image(loaded);
    cr_assert(lm_bytes_equal(lm_bytes(one.data, one.size), lm_bytes(other.data, other.size)));
    apply_to_both(run->reference, loaded, run->script);
    lm_table_verify(loaded);
    assert_same(run->table, loaded, run->shape->seed);
    run->script->n = 0;
    free(one.data);
    free(other.data);
    lm_table_destroy(&loaded);
}

/** Returns the most that was ever written ahead. */
static uint64_t run_shape(const shape_t *shape)
{
    run_t run = {.shape = shape,
                 .random = lm_core_random_new(shape->seed),
                 .cuts = lm_core_random_new(shape->seed * 31 + 7),
                 .table = lm_table_new(3),
                 .reference = lm_table_new(3),
                 .script = calloc(1, sizeof *run.script)};
    run.script->arena = lm_arena_new();
    run.random.names = shape->names;
    run.random.owners = shape->owners;
    run.random.ring_max = shape->ring_max;
    for (int i = 0; i < shape->images; i++) {
        some_commands(&run, (uint32_t)shape->before);
        catch_up(&run);
        lm_image_begin(run.table);
        body_t body = {0};
        if (take_image(&run, &body))
            check_image(&run, &body);
        else
            lm_image_drop(run.table);
        free(body.data);
        catch_up(&run);
    }
    lm_table_verify(run.table);
    lm_table_destroy(&run.table);
    lm_table_destroy(&run.reference);
    lm_arena_destroy(&run.script->arena);
    free(run.script);
    return run.ahead;
}

Test(core_image, s16_is_the_state_of_its_beginning_whatever_is_applied_meanwhile)
{
    uint64_t ahead = 0;
    for (uint64_t seed = 1; seed <= rounds(120); seed++) {
        shape_t shape = {.seed = seed,
                         .names = 1 + (uint32_t)(seed % 9) * 5,
                         .owners = seed % 3 ? 6 : 50,
                         .ring_max = seed % 2 ? 60 : 600,
                         .before = 600,
                         .commands = 1 + (uint32_t)(seed % 7) * (seed % 7) * 4,
                         .piece_size = seed % 5 ? 4000 : 60,
                         .images = 6};
        uint64_t now = run_shape(&shape);
        if (now > ahead) ahead = now;
    }
    printf("at most %" PRIu64 " bytes were written ahead\n", ahead);
}

Test(core_image, one_lock_with_a_crowd_or_with_many_ids)
{
    for (uint64_t seed = 500; seed < 500 + rounds(40); seed++) {
        shape_t shape = {.seed = seed,
                         .names = 1,
                         .owners = seed % 2 ? 2 : 80,
                         .ring_max = 300,
                         .before = 400,
                         .commands = 20,
                         .piece_size = 300,
                         .images = 6};
        run_shape(&shape);
    }
}

Test(core_image, numbers_of_images_come_round)
{
    shape_t shape = {.seed = 77,
                     .names = 20,
                     .owners = 20,
                     .ring_max = 50,
                     .before = 10,
                     .commands = 2,
                     .piece_size = 3000,
                     .images = 700};
    run_shape(&shape);
}

Test(core_image, hundreds_that_were_given_up_do_not_spoil_the_next)
{
    lm_core_random_t random = lm_core_random_new(5);
    random.names = random.owners = 40;
    lm_table_t *table = lm_table_new(0);
    for (int i = 0; i < 1000; i++) {
        lm_command_t command = lm_core_random_command(&random, table);
        lm_table_apply(table, &command);
    }
    for (int n = 250; n < 262; n++) {
        for (int i = 0; i < n; i++) {
            lm_image_begin(table);
            lm_bytes_t piece;
            if (i % 3 == 0) lm_image_take(table, 200, &piece);
            lm_image_drop(table);
            lm_image_drop(table);
            cr_assert_not(lm_image_is_taken(table));
        }
        body_t body = quiet_image(table);
        lm_table_t *loaded;
        cr_assert_null(load_from(&body, &random, &loaded));
        assert_same(table, loaded, (uint64_t)n);
        lm_table_destroy(&loaded);
        free(body.data);
    }
    lm_image_begin(table); /* destroyed while it is taken */
    lm_table_destroy(&table);
}

Test(core_image, of_an_empty_table)
{
    lm_table_t *table = lm_table_new(7), *loaded;
    body_t body = quiet_image(table);
    lm_core_random_t random = lm_core_random_new(1);
    cr_assert_null(load_from(&body, &random, &loaded));
    assert_same(table, loaded, 0);
    cr_assert_eq(lm_image_ahead(table), 0);
    lm_table_destroy(&table);
    lm_table_destroy(&loaded);
    free(body.data);
}

/* ---- longest texts --------------------------------------------------------------------------- */

/** So many bytes; first tells them apart. */
static lm_bytes_t long_text(lm_arena_t *arena, size_t size, int first)
{
    uint8_t *text = lm_arena_alloc(arena, size);
    memset(text, 'x', size);
    text[0] = (uint8_t)first;
    return lm_bytes(text, size);
}

Test(core_image, items_with_the_longest_texts_and_most_ids)
{
    lm_arena_t *arena = lm_arena_new();
    lm_table_t *table = lm_table_new(INT16_MAX), *loaded;
    for (int i = 0; i < 1 + LM_JOINED_IDS_MAX; i++) {
        lm_command_t command = {.kind = LM_COMMAND_ACQUIRE,
                                .key = {long_text(arena, LM_IDENTITY_BYTES_MAX, 'i'),
                                        long_text(arena, LM_OWNER_BYTES_MAX, 'o'),
                                        long_text(arena, LM_REQUEST_ID_BYTES_MAX, 'a' + i)},
                                .name = long_text(arena, LM_NAME_BYTES_MAX, 'n'),
                                .mode = LM_MODE_EXCLUSIVE,
                                .body_hash = UINT64_MAX,
                                .ttl_ms = LM_TTL_MS_MAX};
        lm_table_apply(table, &command);
    }
    body_t body = quiet_image(table);
    lm_core_random_t random = lm_core_random_new(1);
    cr_assert_null(load_from(&body, &random, &loaded));
    assert_same(table, loaded, 0);
    lm_table_destroy(&table);
    lm_table_destroy(&loaded);
    lm_arena_destroy(&arena);
    free(body.data);
}

/* ---- hostile bytes --------------------------------------------------------------------------- */

/** Loads what is no honest image: it is refused, or the table is whole and can be used. */
static bool survive(const body_t *body, lm_core_random_t *random)
{
    lm_table_t *table;
    if (load_from(body, random, &table)) return false;
    lm_table_verify(table);
    for (int i = 0; i < 60; i++) {
        lm_command_t command = lm_core_random_command(random, table);
        lm_table_apply(table, &command);
    }
    lm_table_verify(table);
    body_t again = quiet_image(table);
    free(again.data);
    lm_table_destroy(&table);
    return true;
}

static body_t busy_image(uint64_t seed)
{
    lm_core_random_t random = lm_core_random_new(seed);
    lm_table_t *table = lm_table_new(1);
    for (int i = 0; i < 300; i++) {
        lm_command_t command = lm_core_random_command(&random, table);
        lm_table_apply(table, &command);
    }
    body_t body = quiet_image(table);
    lm_table_destroy(&table);
    return body;
}

Test(core_image, every_cut_is_refused)
{
    lm_core_random_t random = lm_core_random_new(3);
    body_t whole = busy_image(3);
    for (size_t size = 0; size < whole.size; size++) {
        body_t body = {.data = whole.data, .size = size};
        cr_assert_not(survive(&body, &random), "%zu bytes of %zu", size, whole.size);
    }
    body_t more = {0};
    body_add(&more, lm_bytes(whole.data, whole.size));
    body_add(&more, lm_bytes(whole.data, 1));
    cr_assert_not(survive(&more, &random), "one byte too many");
    free(whole.data);
    free(more.data);
}

Test(core_image, changed_bytes_are_refused_or_harmless)
{
    lm_core_random_t random = lm_core_random_new(4);
    body_t whole = busy_image(4);
    uint64_t accepted = 0, n = rounds(20000);
    for (uint64_t i = 0; i < n; i++) {
        body_t body = {0};
        body_add(&body, lm_bytes(whole.data, whole.size));
        uint32_t changes = 1 + lm_core_random_below(&random, 3);
        while (changes--)
            body.data[lm_core_random_below(&random, (uint32_t)body.size)] ^=
                (uint8_t)(1 << lm_core_random_below(&random, 8));
        accepted += survive(&body, &random);
        free(body.data);
    }
    printf("%" PRIu64 " of %" PRIu64 " changed images were accepted\n", accepted, n);
    free(whole.data);
}

typedef struct {
    lm_bytes_t items[4000];
    uint32_t n;
} items_t;

static void split(const body_t *body, items_t *items)
{
    for (size_t at = 0; at < body->size;) {
        size_t size = LM_IMAGE_FRAME_BYTES + (body->data[at + 1] | body->data[at + 2] << 8);
        items->items[items->n++] = lm_bytes(body->data + at, size);
        at += size;
    }
}

/** Counts of an end item that fits the items before it. */
static void add_fitting_end(body_t *body)
{
    items_t *items = calloc(1, sizeof *items);
    split(body, items);
    lm_image_end_t total = {0};
    for (uint32_t i = 0; i < items->n; i++) {
        total.living += items->items[i].data[0] == LM_IMAGE_LIVING;
        total.finished += items->items[i].data[0] == LM_IMAGE_FINISHED;
    }
    uint8_t end[LM_IMAGE_ITEM_MAX];
    body_add(body, lm_bytes(end, lm_image_put_end(end, &total)));
    free(items);
}

Test(core_image, items_of_several_images_mixed_are_refused_or_harmless)
{
    lm_core_random_t random = lm_core_random_new(6);
    static items_t items;
    body_t bodies[3];
    for (uint64_t i = 0; i < 3; i++) {
        bodies[i] = busy_image(6 + i % 2);
        split(&bodies[i], &items);
    }
    uint64_t accepted = 0, n = rounds(20000);
    for (uint64_t i = 0; i < n; i++) {
        body_t body = {0};
        body_add(&body, items.items[0]);
        uint32_t most = 1 + lm_core_random_below(&random, 12);
        for (uint32_t k = 0; k < most; k++) {
            lm_bytes_t item = items.items[lm_core_random_below(&random, items.n)];
            if (item.data[0] != LM_IMAGE_END) body_add(&body, item);
        }
        add_fitting_end(&body);
        accepted += survive(&body, &random);
        free(body.data);
    }
    printf("%" PRIu64 " of %" PRIu64 " mixed images were accepted\n", accepted, n);
    cr_assert_gt(accepted, 0);
    for (int i = 0; i < 3; i++) free(bodies[i].data);
}
