/* What targets share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_log.h"
#include "fuzz_target.h"

static int words_fd = STDERR_FILENO;

/* libFuzzer is told to close standard error, where rooms log what they refuse. */
static void on_last_words(const char *words) { dprintf(words_fd, "last words: %s\n", words); }

__attribute__((constructor)) static void set_up(void)
{
    int copy = dup(STDERR_FILENO);
    if (copy >= 0) words_fd = copy;
    lm_check_on_last_words(on_last_words);
    lm_log_setup("n1", "fuzz", LM_LOG_ERROR, false);
}

void *fuzz_own(lm_bytes_t bytes)
{
    void *copy = lm_alloc(bytes.size);
    if (bytes.size) memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void on_text(void *arg, const char *name, lm_bytes_t value)
{
    (void)arg;
    LM_CHECK(lm_bytes_are_utf8(value), "%s is not UTF-8", name ? name : "an element");
    LM_CHECK(!value.size || !memchr(value.data, 0, value.size), "%s has a NUL",
             name ? name : "an element");
}

static void on_bytes(void *arg, const char *name, lm_bytes_t value)
{
    (void)name;
    *(uint64_t *)arg = lm_bytes_hash(value, *(uint64_t *)arg);
}

static lm_bytes_t encode(const lm_wire_type_t *type, const void *message, lm_arena_t *arena)
{
    return lm_wire_encode(type, message, arena);
}

void *fuzz_wire_round(const lm_wire_type_t *type, lm_bytes_t bytes, lm_arena_t *arena)
{
    static const lm_wire_visitor_t visitor = {.text = on_text, .bytes = on_bytes};
    void *message = NULL, *again = NULL;
    lm_wire_error_t error = {0};
    lm_rc_t rc = lm_wire_decode(type, bytes, arena, &message, &error);
    LM_CHECK(rc == LM_RC_OK || (error.field && error.rule), "%s is refused without a reason",
             lm_wire_name(type));
    if (rc != LM_RC_OK) return NULL;
    uint64_t hash = LM_HASH_START;
    lm_wire_visit(type, message, true, &visitor, &hash);
    lm_bytes_t first = encode(type, message, arena);
    rc = lm_wire_decode(type, first, arena, &again, NULL);
    LM_CHECK(rc == LM_RC_OK, "%s does not read what it wrote", lm_wire_name(type));
    lm_bytes_t second = encode(type, again, arena);
    LM_CHECK(lm_bytes_equal(first, second), "%s writes %zu, then %zu bytes", lm_wire_name(type),
             first.size, second.size);
    return message;
}
