/* Log entries: what decodes is applied to a table, which must keep its invariants.
 *
 * A program: a block that is an entry as it stands in a log, or, if it is empty, a command of a few
 * bytes, which goes through the wire too. */
#include "fuzz_story.h"
#include "wire_command.h"

enum { STEPS_MAX = 200 };

static bool alike(const lm_command_t *a, const lm_command_t *b)
{
    return a->kind == b->kind && lm_pair_compare(a->pair, b->pair) == 0 &&
           lm_bytes_equal(a->key.identity, b->key.identity) &&
           lm_bytes_equal(a->key.owner, b->key.owner) &&
           lm_bytes_equal(a->key.request_id, b->key.request_id) &&
           lm_bytes_equal(a->name, b->name) && a->body_hash == b->body_hash && a->mode == b->mode &&
           a->ttl_ms == b->ttl_ms && a->wait == b->wait && a->stamp == b->stamp &&
           a->seen == b->seen && a->hold == b->hold && a->claim == b->claim &&
           a->basis == b->basis && a->wait_number == b->wait_number &&
           memcmp(&a->settings, &b->settings, sizeof a->settings) == 0;
}

/* What decode let through, encode takes, and gives back equal (C1, C2). */
static void check_round(const lm_command_t *commands, size_t n, lm_arena_t *arena)
{
    lm_command_t *again;
    size_t n_again;
    lm_bytes_t entry = lm_wire_command_encode(commands, n, arena);
    lm_rc_t rc = lm_wire_command_decode(entry, arena, &again, &n_again, NULL);
    LM_CHECK(rc == LM_RC_OK && n_again == n, "%zu commands come back as %s", n, lm_rc_name(rc));
    for (size_t i = 0; i < n; i++)
        LM_CHECK(alike(&commands[i], &again[i]), "command %zu has changed", i);
}

static void apply_entry(lm_table_t *table, lm_bytes_t bytes)
{
    lm_arena_t *arena = lm_arena_new();
    lm_command_t *commands;
    lm_wire_error_t error = {0};
    size_t n;
    uint8_t *own = fuzz_own(bytes);
    lm_rc_t rc = lm_wire_command_decode(lm_bytes(own, bytes.size), arena, &commands, &n, &error);
    LM_CHECK(rc == LM_RC_OK || (error.field && error.rule), "refused without a reason");
    if (rc == LM_RC_OK) {
        check_round(commands, n, arena);
        for (size_t i = 0; i < n; i++) fuzz_story_apply(table, &commands[i]);
    }
    free(own);
    lm_arena_destroy(&arena);
}

static void apply_made(lm_table_t *table, fuzz_input_t *in)
{
    lm_arena_t *arena = lm_arena_new();
    lm_command_t command = fuzz_story_command(in, table);
    lm_wire_error_t error;
    LM_CHECK(lm_wire_command_check(&command, &error) == LM_RC_OK, "%s %s", error.field, error.rule);
    apply_entry(table, lm_wire_command_encode(&command, 1, arena));
    lm_arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t in = {lm_bytes(data, size)};
    lm_table_t *table = lm_table_new(fuzz_u8(&in));
    for (int i = 0; i < STEPS_MAX && in.left.size; i++) {
        lm_bytes_t entry = fuzz_take(&in, 0);
        if (fuzz_u8(&in) == 255) entry = fuzz_block(&in);
        if (entry.size)
            apply_entry(table, entry);
        else
            apply_made(table, &in);
        if (i % 64 == 0) lm_table_verify(table);
    }
    lm_table_verify(table);
    lm_table_destroy(&table);
    return 0;
}
