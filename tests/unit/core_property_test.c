/* What must hold for any commands: packing does not matter, replicas agree, nothing is overtaken or
 * lost, the table stays whole. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core_random.h"
#include "core_state.h"
#include "wire_command.h"

/* Rounds of a loop; more under LM_TEST_LONG. */
static uint64_t rounds(uint64_t usual)
{
    const char *factor = getenv("LM_TEST_LONG");
    return factor ? usual * (uint64_t)strtoul(factor, NULL, 10) : usual;
}

/** Commands made for one table, encoded by ones into entries, so that others can replay them. */
typedef struct {
    lm_bytes_t *entries;
    uint64_t *hashes; /* after each */
    size_t n;
    lm_arena_t *arena;
} history_t;

static lm_command_t command_at(const history_t *h, size_t i, lm_arena_t *arena)
{
    lm_command_t *commands;
    size_t n;
    cr_assert_eq(lm_wire_command_decode(h->entries[i], arena, &commands, &n, NULL), LM_RC_OK);
    return commands[0];
}

static history_t record_history(uint64_t seed, size_t n)
{
    history_t h = {.arena = lm_arena_new(), .n = n};
    h.entries = calloc(n, sizeof *h.entries);
    h.hashes = calloc(n, sizeof *h.hashes);
    lm_table_t *table = lm_table_new(0);
    lm_core_random_t random = lm_core_random_new(seed);
    for (size_t i = 0; i < n; i++) {
        lm_command_t command = lm_core_random_command(&random, table);
        h.entries[i] = lm_wire_command_encode(&command, 1, h.arena);
        command = command_at(&h, i, h.arena); /* without what its kind does not use */
        lm_table_apply(table, &command);
        h.hashes[i] = lm_table_hash(table);
    }
    lm_table_destroy(&table);
    return h;
}

static void history_free(history_t *h)
{
    free(h->entries);
    free(h->hashes);
    lm_arena_destroy(&h->arena);
}

/** Applies commands first..first+n-1 as one entry. */
static void apply_packed(lm_table_t *table, const history_t *h, size_t first, size_t n)
{
    lm_arena_t *arena = lm_arena_new();
    lm_command_t *list = lm_arena_alloc(arena, n * sizeof *list), *decoded;
    for (size_t i = 0; i < n; i++) list[i] = command_at(h, first + i, arena);
    size_t n_decoded;
    lm_bytes_t entry = lm_wire_command_encode(list, n, arena);
    cr_assert_eq(lm_wire_command_decode(entry, arena, &decoded, &n_decoded, NULL), LM_RC_OK);
    for (size_t i = 0; i < n_decoded; i++) lm_table_apply(table, &decoded[i]);
    lm_arena_destroy(&arena);
}

Test(core_property, s1_results_do_not_depend_on_how_commands_are_packed)
{
    for (uint64_t seed = 1; seed <= rounds(20); seed++) {
        history_t h = record_history(seed, 1000);
        lm_core_random_t random = lm_core_random_new(seed * 77);
        lm_table_t *table = lm_table_new(0);
        for (size_t i = 0, n; i < h.n; i += n) {
            n = 1 + lm_core_random_below(&random, 40);
            if (n > h.n - i) n = h.n - i;
            apply_packed(table, &h, i, n);
            cr_assert_eq(lm_table_hash(table), h.hashes[i + n - 1], "seed %lu",
                         (unsigned long)seed);
        }
        lm_table_destroy(&table);
        history_free(&h);
    }
}

Test(core_property, s4_replicas_and_replays_agree_at_every_command)
{
    for (uint64_t seed = 100; seed < 100 + rounds(10); seed++) {
        history_t h = record_history(seed, 1000);
        lm_table_t *replicas[3];
        for (int r = 0; r < 3; r++) replicas[r] = lm_table_new(0);
        for (size_t i = 0; i < h.n; i++)
            for (int r = 0; r < 3; r++) {
                apply_packed(replicas[r], &h, i, 1);
                cr_assert_eq(lm_table_hash(replicas[r]), h.hashes[i]);
            }
        for (int r = 0; r < 3; r++) lm_table_destroy(&replicas[r]);
        history_free(&h);
    }
}

Test(core_property, hash_tells_histories_apart)
{
    history_t h = record_history(5, 400);
    lm_table_t *table = lm_table_new(0), *shorter = lm_table_new(0), *later = lm_table_new(1);
    for (size_t i = 0; i < h.n; i++) {
        apply_packed(table, &h, i, 1);
        apply_packed(later, &h, i, 1);
        if (i != 200) apply_packed(shorter, &h, i, 1);
    }
    cr_assert_neq(lm_table_hash(table), lm_table_hash(shorter));
    cr_assert_neq(lm_table_hash(table), lm_table_hash(later), "another epoch");
    lm_table_destroy(&table);
    lm_table_destroy(&shorter);
    lm_table_destroy(&later);
    history_free(&h);
}

/* ---- fuzz ------------------------------------------------------------------------------------ */

/** What must hold between the effects of one command and all before. */
typedef struct {
    int64_t token[64]; /* greatest token seen, by name */
    int held[64];      /* holds now, by name */
    uint64_t op_seq;
    uint64_t granted, ended;
} watch_t;

/** Number at the end of the lock's name. */
static unsigned number_of(lm_bytes_t name)
{
    unsigned number = 0;
    for (size_t i = strlen("lock/"); i < name.size; i++) number = number * 10 + name.data[i] - '0';
    cr_assert_lt(number, 64);
    return number;
}

static void watch_grant(watch_t *watch, const lm_effect_t *effect)
{
    unsigned name = number_of(effect->name);
    watch->granted++;
    cr_assert_gt(effect->hold, watch->op_seq, "S1: no number is given twice");
    watch->op_seq = effect->hold;
    if (watch->held[name]++ == 0) {
        cr_assert_gt(lm_record_token(effect->record), watch->token[name],
                     "S3: a new group, a new token");
        cr_assert_eq(lm_record_token(effect->record), lm_fence_token(3, effect->hold));
    } else {
        cr_assert_eq(lm_record_token(effect->record), watch->token[name],
                     "S3: one token for the group");
    }
    watch->token[name] = lm_record_token(effect->record);
}

static void watch_effect(watch_t *watch, const lm_effect_t *effect, bool first)
{
    bool is_answer = effect->kind <= LM_EFFECT_DONE;
    cr_assert_eq(is_answer, first, "answer first, consequences after it");
    bool at_once = effect->kind == LM_EFFECT_ACQUIRED && effect->hold == effect->op_seq;
    if (effect->kind == LM_EFFECT_GRANTED || at_once) watch_grant(watch, effect);
    if (effect->kind == LM_EFFECT_HOLD_ENDED) {
        watch->ended++;
        watch->held[number_of(effect->name)]--;
    }
}

static void fuzz(uint64_t seed, size_t steps, uint32_t names, uint32_t owners, size_t verify_every)
{
    lm_table_t *table = lm_table_new(3);
    lm_core_random_t random = lm_core_random_new(seed);
    random.names = names;
    random.owners = owners;
    watch_t watch = {0};
    for (size_t i = 0; i < steps; i++) {
        lm_command_t command = lm_core_random_command(&random, table);
        uint64_t before = lm_table_op_seq(table);
        lm_effects_t effects = lm_table_apply(table, &command);
        for (size_t k = 0; k < effects.n; k++) watch_effect(&watch, &effects.items[k], k == 0);
        cr_assert_eq(effects.items[0].op_seq, before + 1);
        watch.op_seq = lm_table_op_seq(table);
        if (i % verify_every == 0) lm_table_verify(table);
    }
    lm_table_verify(table);
    cr_assert_eq(watch.granted - watch.ended, lm_table_counts(table).holds);
    lm_table_destroy(&table);
}

Test(core_property, s3_fuzz_few_locks_many_owners)
{
    for (uint64_t seed = 0; seed < rounds(8); seed++) fuzz(seed, 25000, 3, 40, 50);
}

Test(core_property, s11b_fuzz_few_owners_on_one_lock)
{
    for (uint64_t seed = 50; seed < 50 + rounds(8); seed++) fuzz(seed, 25000, 1, 3, 50);
}

Test(core_property, fuzz_many_locks)
{
    for (uint64_t seed = 90; seed < 90 + rounds(8); seed++) fuzz(seed, 25000, 60, 12, 200);
}

Test(core_property, fuzz_fast) { fuzz(4711, rounds(600000), 20, 20, 100000); }
