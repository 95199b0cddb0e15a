/* Bytes, arenas, result codes, checks and logging. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_check.h"
#include "base_exit.h"
#include "base_histogram.h"
#include "base_log.h"
#include "base_result.h"
#include "base_voice.h"

Test(base_bytes, order_puts_a_prefix_before_what_it_begins)
{
    cr_assert_lt(lm_bytes_compare(lm_bytes_of("a"), lm_bytes_of("ab")), 0);
    cr_assert_gt(lm_bytes_compare(lm_bytes_of("b"), lm_bytes_of("ab")), 0);
    cr_assert_eq(lm_bytes_compare(lm_bytes_of(""), lm_bytes(NULL, 0)), 0);
    cr_assert(lm_bytes_begin_with(lm_bytes_of("ab"), lm_bytes(NULL, 0)));
    cr_assert_not(lm_bytes_begin_with(lm_bytes_of("a"), lm_bytes_of("ab")));
}

Test(base_bytes, utf8_takes_only_shortest_forms_without_surrogates)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x94\x92", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},             /* continuation alone */
        {"\xc3", false},             /* cut */
        {"\xe2\x82", false},         /* cut */
        {"\xc0\xaf", false},         /* longer than needed */
        {"\xe0\x80\xaf", false},     /* longer than needed */
        {"\xf0\x80\x80\xaf", false}, /* longer than needed */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* beyond the last character */
        {"\xff", false},
        {"a\xc3(", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq(lm_bytes_are_utf8(lm_bytes_of(rows[i].text)), rows[i].valid, "row %zu", i);
}

Test(base_bytes, hash_is_the_same_in_every_version)
{
    cr_assert_eq(lm_bytes_hash(lm_bytes_of(""), LM_HASH_START), UINT64_C(0xcbf29ce484222325));
    cr_assert_eq(lm_bytes_hash(lm_bytes_of("a"), LM_HASH_START), UINT64_C(0xaf63dc4c8601ec8c));
}

Test(base_arena, blocks_of_any_size_are_zeroed_and_aligned_also_after_a_reset)
{
    lm_arena_t *arena = lm_arena_new();
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 200000; size = size * 3 + 1) {
            uint8_t *memory = lm_arena_alloc(arena, size);
            cr_assert_eq((uintptr_t)memory % 16, 0);
            for (size_t i = 0; i < size; i++) cr_assert_eq(memory[i], 0);
            memset(memory, 0xff, size);
        }
        lm_arena_reset(arena);
    }
    lm_bytes_t text = lm_arena_print(arena, "%d-%s", 7, "x");
    cr_assert(lm_bytes_equal(text, lm_bytes_of("7-x")));
    cr_assert_str_eq(lm_arena_text(arena, lm_bytes("abc", 2)), "ab");
    lm_arena_destroy(&arena);
    cr_assert_null(arena);
}

Test(base_result, every_code_has_a_name_that_leads_back_to_it)
{
    for (int code = LM_RC_OK; code <= LM_RC_LAST; code++) {
        lm_rc_t found;
        cr_assert(lm_rc_parse(lm_bytes_of(lm_rc_name(code)), &found), "code %d", code);
        cr_assert_eq((int)found, code);
        cr_assert_gt(strlen(lm_rc_text(code)), 0);
    }
    lm_rc_t unused;
    cr_assert_not(lm_rc_parse(lm_bytes_of("NO_SUCH_CODE"), &unused));
    cr_assert_str_eq(lm_rc_name((lm_rc_t)9999), "UNKNOWN_CODE");
    cr_assert_eq(lm_rc_grpc_status((lm_rc_t)9999), 2);
}

Test(base_result, only_what_is_certain_is_called_not_applied)
{
    cr_assert(lm_rc_not_applied(LM_RC_NO_LEADER));
    cr_assert(lm_rc_not_applied(LM_RC_INVALID_ARGUMENT));
    cr_assert_not(lm_rc_not_applied(LM_RC_OUTCOME_UNKNOWN));
    cr_assert_not(lm_rc_not_applied(LM_RC_DEADLINE_EXCEEDED));
    cr_assert_not(lm_rc_not_applied(LM_RC_INTERNAL));
}

/** Runs what in a child whose standard error is returned; *status is how it ended. */
static void run_child(void (*what)(void), char *out, size_t size, int *status)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        what();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < size - 1 && (got = read(ends[0], out + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    out[n] = '\0';
    close(ends[0]);
    waitpid(pid, status, 0);
}

static void last_words(const char *words) { fprintf(stderr, "[%s]", words); }

static void break_invariant(void)
{
    lm_check_on_last_words(last_words);
    int n = 3;
    LM_CHECK(n == 4, "n is %d", n);
}

Test(base_check, a_broken_invariant_ends_the_process_with_its_last_words)
{
    char out[2048];
    int status;
    run_child(break_invariant, out, sizeof out, &status);
#ifdef LM_CHECK_ABORTS
    cr_assert(WIFSIGNALED(status));
#else
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), LM_EXIT_ASSERTION);
#endif
    cr_assert_not_null(strstr(out, "(n == 4) does not hold: n is 3"));
    cr_assert_not_null(strstr(out, "[base_test.c:"));
}

static void log_json(void)
{
    lm_log_setup("n1", "lock", LM_LOG_INFO, true);
    lm_debug("not wanted");
    lm_info("a \"quoted\"\nline");
}

Test(base_log, json_lines_are_escaped_and_levels_are_kept)
{
    char out[2048];
    int status;
    run_child(log_json, out, sizeof out, &status);
    cr_assert_null(strstr(out, "not wanted"));
    cr_assert_not_null(strstr(out, "\"message\":\"a \\\"quoted\\\"\\u000aline\""), "%s", out);
    cr_assert_not_null(strstr(out, "\"level\":\"info\",\"node\":\"n1\",\"actor\":\"lock\""));
    cr_assert_eq(out[strlen(out) - 1], '\n');
}

static void log_with_two_voices(void)
{
    lm_log_setup("n1", "supervisor", LM_LOG_WARN, false);
    lm_voice_t *voice = lm_voice_new();
    lm_voice_take(voice);
    lm_log_setup("n1", "lock", LM_LOG_INFO, false);
    lm_voice_set_page(voice, voice);
    lm_info("of the lock");
    lm_voice_take(NULL);
    lm_info("not wanted");
    lm_warn("%s", lm_voice_page(lm_voice_mine()) ? "a strange page" : "of the supervisor");
    lm_voice_destroy(&voice);
}

Test(base_log, a_thread_speaks_with_the_voice_it_took)
{
    char out[2048];
    int status;
    run_child(log_with_two_voices, out, sizeof out, &status);
    cr_assert_not_null(strstr(out, " n1 lock: of the lock\n"), "%s", out);
    cr_assert_null(strstr(out, "not wanted"));
    cr_assert_not_null(strstr(out, " n1 supervisor: of the supervisor\n"), "%s", out);
}

/* ---- base_histogram -------------------------------------------------------------------------- */

Test(base_histogram, a_bound_belongs_to_the_bucket_below_it)
{
    lm_histogram_t histogram = {0};
    uint64_t counts[LM_HISTOGRAM_BUCKETS], sum = 0;
    for (int i = 0; i < LM_HISTOGRAM_BOUNDS; i++) {
        lm_histogram_note(&histogram, lm_histogram_bounds_us[i]);
        lm_histogram_note(&histogram, lm_histogram_bounds_us[i] + 1);
        sum += 2 * lm_histogram_bounds_us[i] + 1;
    }
    lm_histogram_note(&histogram, 0);
    cr_assert_eq(lm_histogram_read(&histogram, counts), sum);
    cr_assert_eq(counts[LM_HISTOGRAM_BOUNDS], 1);
    for (int i = 0; i < LM_HISTOGRAM_BOUNDS; i++) cr_assert_eq(counts[i], 2);
}
