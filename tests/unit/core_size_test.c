/* What a held lock costs, and how long a command takes: measured and printed. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "core_table.h"

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { LOCKS = 200000 };

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/** Acquires (or releases) lock i; texts of 32, 16 and 16 bytes. */
static void request(lm_table_t *table, lm_command_kind_t kind, uint32_t i, uint32_t owners,
                    uint64_t hold)
{
    char name[48], owner[32], id[32];
    snprintf(name, sizeof name, "service/accounts/shard/%09u", i % 1000000000);
    snprintf(owner, sizeof owner, "worker-%09u", i % owners);
    snprintf(id, sizeof id, "request-%07u%d", i % 10000000, kind == LM_COMMAND_RELEASE);
    lm_command_t command = {
        .kind = kind,
        .key = {.owner = lm_bytes_of(owner), .request_id = lm_bytes_of(id)},
        .name = lm_bytes_of(name),
        .mode = LM_MODE_EXCLUSIVE,
        .ttl_ms = 30000,
        .stamp = UINT64_MAX,
        .hold = hold,
    };
    lm_effects_t effects = lm_table_apply(table, &command);
    cr_assert_eq(effects.items[0].code, LM_RC_OK);
}

static double bytes_per_lock(uint32_t owners, lm_table_t *table)
{
    size_t before = heap_bytes();
    double start = now_s();
    for (uint32_t i = 0; i < LOCKS; i++) request(table, LM_COMMAND_ACQUIRE, i, owners, 0);
    double seconds = now_s() - start;
    double bytes = (double)(heap_bytes() - before) / LOCKS;
    printf("%u owners: %.0f bytes per held lock, %.2f us per acquire\n", owners, bytes,
           seconds / LOCKS * 1e6);
    return bytes;
}

Test(core_size, a_held_lock_is_small)
{
    lm_table_t *table = lm_table_new(0);
    double bytes = bytes_per_lock(LOCKS / 100, table);
    if (!SANITIZED) cr_assert_leq(bytes, 300.0, "%.0f bytes", bytes);
    lm_table_destroy(&table);
}

Test(core_size, a_held_lock_with_an_owner_of_its_own)
{
    lm_table_t *table = lm_table_new(0);
    double bytes = bytes_per_lock(LOCKS, table);
    if (!SANITIZED) cr_assert_leq(bytes, 360.0, "%.0f bytes", bytes);
    lm_table_destroy(&table);
}

Test(core_size, a_finished_request_is_smaller_still)
{
    lm_table_t *table = lm_table_new(0);
    size_t before = heap_bytes();
    for (uint32_t i = 0; i < LOCKS / 2; i++) {
        request(table, LM_COMMAND_ACQUIRE, i, LOCKS / 100, 0);
        request(table, LM_COMMAND_RELEASE, i, LOCKS / 100, lm_table_op_seq(table));
    }
    double bytes = (double)(heap_bytes() - before) / LOCKS;
    printf("%.0f bytes per finished request\n", bytes);
    if (!SANITIZED) cr_assert_leq(bytes, 120.0, "%.0f bytes", bytes);
    cr_assert_eq(lm_table_counts(table).locks, 0);
    cr_assert_eq(lm_table_counts(table).records, LOCKS);
    lm_table_destroy(&table);
}

Test(core_size, a_command_takes_about_a_microsecond)
{
    lm_table_t *table = lm_table_new(0);
    enum { N = 400000 };
    double start = now_s();
    for (uint32_t i = 0; i < N / 2; i++) {
        request(table, LM_COMMAND_ACQUIRE, i, 64, 0);
        request(table, LM_COMMAND_RELEASE, i, 64, lm_table_op_seq(table));
    }
    double us = (now_s() - start) / N * 1e6;
    printf("%.2f us per command, formatting its texts included\n", us);
    /* A machine that is busy with other things must not fail the test. */
    if (!SANITIZED) cr_assert_leq(us, 50.0);
    lm_table_destroy(&table);
}
