/* The log in memory and its shared buffers. */
#include "raft_log.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base_arena.h"

static int released;

static void release(void *memory)
{
    released++;
    free(memory);
}

static lm_raft_buffer_t *buffer(const char *text)
{
    return lm_raft_buffer_adopt(strdup(text), release);
}

Test(raft_log, entries_are_found_by_index)
{
    lm_raft_log_t *log = lm_raft_log_new();
    lm_raft_buffer_t *shared = buffer("abcdefgh");
    cr_assert_eq(lm_raft_log_last_index(log), 0);
    cr_assert_null(lm_raft_log_get(log, 0));
    for (uint64_t i = 1; i <= 10000; i++)
        cr_assert_eq(lm_raft_log_append(log, i / 1000 + 1, LM_RAFT_COMMAND,
                                        lm_bytes("abcdefgh", i % 2 ? 8 : 4), shared),
                     i);
    cr_assert_eq(lm_raft_log_last_index(log), 10000);
    cr_assert_eq(lm_raft_log_term(log, 5500), 6);
    cr_assert_eq(lm_raft_log_term(log, 0), 0);
    cr_assert_eq(lm_raft_log_term(log, 10001), 0);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 10000), 60000);
    cr_assert_eq(lm_raft_log_bytes(log, 4096, 4097), 12);
    cr_assert_eq(lm_raft_log_bytes(log, 7, 6), 0);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 0), 0);
    lm_raft_buffer_drop(&shared);
    cr_assert_eq(released, 0);
    lm_raft_log_destroy(&log);
    cr_assert_eq(released, 1);
}

Test(raft_log, a_write_in_flight_keeps_its_memory_through_a_truncation)
{
    lm_raft_log_t *log = lm_raft_log_new();
    lm_raft_buffer_t *a = buffer("aaaaaaaa"), *b = buffer("bbbbbbbb");
    lm_raft_log_append(log, 1, LM_RAFT_COMMAND, lm_bytes("aaaaaaaa", 8), a);
    lm_raft_log_append(log, 1, LM_RAFT_COMMAND, lm_bytes("bbbbbbbb", 8), b);
    lm_raft_buffer_drop(&a);
    lm_raft_log_truncate(log, 1);
    cr_assert_eq(lm_raft_log_last_index(log), 0);
    cr_assert_eq(released, 1, "a was only the log's");
    lm_raft_buffer_drop(&b);
    cr_assert_eq(released, 2);
    lm_raft_log_destroy(&log);
}

Test(raft_log, the_same_index_and_term_again_has_another_serial)
{
    lm_raft_log_t *log = lm_raft_log_new();
    lm_raft_buffer_t *a = buffer("aaaaaaaa");
    lm_raft_log_append(log, 3, LM_RAFT_COMMAND, lm_bytes("aaaaaaaa", 8), a);
    uint64_t serial = lm_raft_log_get(log, 1)->serial;
    lm_raft_log_truncate(log, 1);
    lm_raft_log_append(log, 3, LM_RAFT_COMMAND, lm_bytes("aaaaaaaa", 8), a);
    cr_assert_neq(lm_raft_log_get(log, 1)->serial, serial);
    lm_raft_buffer_drop(&a);
    lm_raft_log_destroy(&log);
}

static lm_raft_log_t *filled(uint64_t n)
{
    lm_raft_log_t *log = lm_raft_log_new();
    for (uint64_t i = 1; i <= n; i++) {
        lm_raft_buffer_t *one = buffer("abcdefgh");
        lm_raft_log_append(log, i, LM_RAFT_COMMAND, lm_bytes("abcdefgh", 8), one);
        lm_raft_buffer_drop(&one);
    }
    return log;
}

Test(raft_log, a_trimmed_log_keeps_its_end_and_the_term_before_it)
{
    lm_raft_log_t *log = filled(20000);
    uint64_t whole = lm_raft_log_memory(log);
    lm_raft_log_trim(log, 12345);
    cr_assert_eq(released, 12345);
    cr_assert_eq(lm_raft_log_first_index(log), 12346);
    cr_assert_eq(lm_raft_log_last_index(log), 20000);
    cr_assert_null(lm_raft_log_get(log, 12345));
    cr_assert_eq(lm_raft_log_get(log, 12346)->term, 12346);
    cr_assert_eq(lm_raft_log_term(log, 12345), 12345);
    cr_assert_eq(lm_raft_log_term(log, 12344), 0);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 20000), 8 * (20000 - 12345), "only what is there");
    cr_assert_eq(lm_raft_log_bytes(log, 19999, 20000), 16);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 12000), 0);
    cr_assert_lt(lm_raft_log_memory(log), whole);
    lm_raft_log_trim(log, 100);
    cr_assert_eq(lm_raft_log_first_index(log), 12346, "it never gets its beginning back");
    lm_raft_log_destroy(&log);
    cr_assert_eq(released, 20000);
}

Test(raft_log, a_log_without_entries_goes_on_behind_its_last)
{
    lm_raft_log_t *log = filled(5000);
    for (uint64_t i = 4000; i <= 5000; i++) lm_raft_log_trim(log, i);
    cr_assert_eq(lm_raft_log_first_index(log), 5001);
    cr_assert_eq(lm_raft_log_last_index(log), 5000);
    cr_assert_eq(lm_raft_log_term(log, 5000), 5000);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 5000), 0);
    lm_raft_buffer_t *one = buffer("abcdefgh");
    cr_assert_eq(lm_raft_log_append(log, 5000, LM_RAFT_COMMAND, lm_bytes("abcdefgh", 8), one),
                 5001);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 5001), 8);
    lm_raft_log_truncate(log, 5001);
    cr_assert_eq(lm_raft_log_last_index(log), 5000);
    lm_raft_log_begin(log, 1000000, 9000);
    cr_assert_eq(lm_raft_log_last_index(log), 1000000);
    cr_assert_eq(lm_raft_log_term(log, 1000000), 9000);
    cr_assert_eq(lm_raft_log_append(log, 9001, LM_RAFT_COMMAND, lm_bytes("abcdefgh", 8), one),
                 1000001);
    cr_assert_eq(lm_raft_log_get(log, 1000001)->term, 9001);
    cr_assert_eq(lm_raft_log_bytes(log, 1, 1000001), 8);
    lm_raft_log_begin(log, 7, 0);
    cr_assert_eq(lm_raft_log_term(log, 7), 0);
    cr_assert_eq(lm_raft_log_append(log, 1, LM_RAFT_COMMAND, lm_bytes("abcdefgh", 8), one), 8);
    cr_assert_eq(lm_raft_log_term(log, 8), 1);
    lm_raft_buffer_drop(&one);
    lm_raft_log_destroy(&log);
    cr_assert_eq(released, 5001);
}
