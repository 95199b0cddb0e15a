/* What a held lock costs, and how long a command takes: measured and printed. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core_image.h"
#include "core_state.h"

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { LOCKS = 200000, UUID_BYTES = 36 };

/** Of malloc, and of the table's pool. */
static size_t heap_bytes(const lm_table_t *table)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd + lm_pool_bytes(table->pool);
}

/** Memory that this process occupies. */
static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    cr_assert(file && fscanf(file, "%*u %zu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/** Acquires (or releases) lock i; a name of 32 bytes, an owner of 16 and an id of 16 or more. */
static void request(lm_table_t *table, lm_command_kind_t kind, uint32_t i, uint32_t owners,
                    int id_bytes, uint64_t hold)
{
    char name[48], owner[32], id[64];
    snprintf(name, sizeof name, "service/accounts/shard/%09u", i % 1000000000);
    snprintf(owner, sizeof owner, "worker-%09u", i % owners);
    snprintf(id, sizeof id, "request-%07u%0*d", i % 10000000, id_bytes - 15,
             kind == LM_COMMAND_RELEASE);
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

static double bytes_per_lock(uint32_t owners, int id_bytes)
{
    lm_table_t *table = lm_table_new(0);
    size_t before = heap_bytes(table), resident = resident_bytes();
    double start = now_s();
    for (uint32_t i = 0; i < LOCKS; i++) request(table, LM_COMMAND_ACQUIRE, i, owners, id_bytes, 0);
    double seconds = now_s() - start;
    double bytes = (double)(heap_bytes(table) - before) / LOCKS;
    printf(
        "%u owners, ids of %d bytes: %.0f bytes per held lock (%.0f resident), %.2f us per "
        "acquire\n",
        owners, id_bytes, bytes, ((double)resident_bytes() - (double)resident) / LOCKS,
        seconds / LOCKS * 1e6);
    lm_table_destroy(&table);
    return bytes;
}

Test(core_size, a_held_lock_is_small)
{
    double bytes = bytes_per_lock(LOCKS / 100, 16);
    if (!SANITIZED) cr_assert_leq(bytes, 180.0, "%.0f bytes", bytes);
}

Test(core_size, a_held_lock_with_an_owner_of_its_own)
{
    double bytes = bytes_per_lock(LOCKS, 16);
    if (!SANITIZED) cr_assert_leq(bytes, 210.0, "%.0f bytes", bytes);
    bytes = bytes_per_lock(LOCKS, UUID_BYTES);
    if (!SANITIZED) cr_assert_leq(bytes, 230.0, "%.0f bytes", bytes);
}

Test(core_size, a_finished_request_is_smaller_still)
{
    lm_table_t *table = lm_table_new(0);
    size_t before = heap_bytes(table);
    for (uint32_t i = 0; i < LOCKS / 2; i++) {
        request(table, LM_COMMAND_ACQUIRE, i, LOCKS / 100, 16, 0);
        request(table, LM_COMMAND_RELEASE, i, LOCKS / 100, 16, lm_table_op_seq(table));
    }
    double bytes = (double)(heap_bytes(table) - before) / LOCKS;
    printf("%.0f bytes per finished request\n", bytes);
    if (!SANITIZED) cr_assert_leq(bytes, 90.0, "%.0f bytes", bytes);
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
        request(table, LM_COMMAND_ACQUIRE, i, 64, 16, 0);
        request(table, LM_COMMAND_RELEASE, i, 64, 16, lm_table_op_seq(table));
    }
    double us = (now_s() - start) / N * 1e6;
    printf("%.2f us per command, formatting its texts included\n", us);
    /* A machine that is busy with other things must not fail the test. */
    if (!SANITIZED) cr_assert_leq(us, 50.0);
    lm_table_destroy(&table);
}

/* ---- images ---------------------------------------------------------------------------------- */

enum { IMAGE_LOCKS = SANITIZED ? 50000 : 1000000, PIECE_BYTES = 256 * 1024 };

typedef struct {
    uint8_t *data;
    size_t size, pieces;
    double begin_ms, longest_ms, whole_s; /* time of the processor */
} taken_t;

static taken_t take_image(lm_table_t *table)
{
    taken_t taken = {.data = malloc((size_t)IMAGE_LOCKS * 200)};
    double start = now_s();
    lm_image_begin(table);
    taken.begin_ms = (now_s() - start) * 1e3;
    bool more = true;
    while (more) {
        lm_bytes_t piece;
        double before = now_s();
        more = lm_image_take(table, PIECE_BYTES, &piece);
        double took = now_s() - before;
        if (took * 1e3 > taken.longest_ms) taken.longest_ms = took * 1e3;
        taken.whole_s += took;
        cr_assert_leq(taken.size + piece.size, (size_t)IMAGE_LOCKS * 200);
        memcpy(taken.data + taken.size, piece.data, piece.size);
        taken.size += piece.size;
        taken.pieces++;
    }
    lm_image_drop(table);
    return taken;
}

Test(core_size, an_image_of_a_million_locks)
{
    lm_table_t *table = lm_table_new(0), *loaded;
    for (uint32_t i = 0; i < IMAGE_LOCKS; i++)
        request(table, LM_COMMAND_ACQUIRE, (uint32_t)((uint64_t)i * 7919 % IMAGE_LOCKS),
                IMAGE_LOCKS, UUID_BYTES, 0);
    taken_t taken = take_image(table);
    printf(
        "image of %d locks: %zu bytes in %zu pieces, begun in %.3f ms, the longest piece took "
        "%.1f ms, all %.2f s\n",
        IMAGE_LOCKS, taken.size, taken.pieces, taken.begin_ms, taken.longest_ms, taken.whole_s);
    lm_image_loader_t *loader = lm_image_loader_new();
    double start = now_s();
    for (size_t at = 0; at < taken.size; at += PIECE_BYTES) {
        size_t left = taken.size - at;
        lm_bytes_t piece = lm_bytes(taken.data + at, left < PIECE_BYTES ? left : PIECE_BYTES);
        cr_assert_null(lm_image_loader_feed(loader, piece));
    }
    double fed = now_s();
    cr_assert_null(lm_image_loader_end(&loader, &loaded));
    printf("loaded in %.2f s, of which the end took %.2f s\n", now_s() - start, now_s() - fed);
    cr_assert_eq(lm_table_hash(loaded), lm_table_hash(table));
    cr_assert_eq(lm_table_counts(loaded).holds, IMAGE_LOCKS);
    start = now_s();
    lm_table_destroy(&table);
    printf("a table destroyed in %.3f s\n", now_s() - start);
    lm_table_destroy(&loaded);
    free(taken.data);
}
