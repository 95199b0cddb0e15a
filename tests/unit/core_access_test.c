/* Files of access: what they may say, what they may not, and what is decided by them. */
#include "core_access.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base_arena.h"

TestSuite(core_access, .timeout = 60);

static unsigned first_line, n_faults;
static char first_text[200];

static void on_fault(void *arg, unsigned line, const char *text)
{
    (void)arg;
    if (n_faults++) return;
    first_line = line;
    snprintf(first_text, sizeof first_text, "%s", text);
}

static lm_access_t *parse(const char *text)
{
    n_faults = 0;
    return lm_access_parse(lm_bytes_of(text), on_fault, NULL);
}

#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define AAS "aAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaA"

static lm_access_verdict_t judge(const lm_access_t *access, const char *who, lm_right_t right,
                                 const char *name)
{
    lm_bytes_t bytes = lm_bytes_of(name);
    return lm_access_judge(access, lm_bytes_of(who), right, name ? &bytes : NULL);
}

Test(core_access, comments_blanks_and_quotes)
{
    lm_access_t *access = parse("# first\n\n  token\tci " ONES
                                "   # behind\r\n"
                                "grant \"Ann \\\"A\\\" \\\\ #1\" reader \"\"\n"
                                "grant b#c locker a\\b\n");
    cr_assert(access, "%u %s", first_line, first_text);
    cr_assert_eq(lm_access_tokens(access), 1);
    cr_assert_eq(lm_access_grants(access), 2);
    cr_assert_eq(judge(access, "Ann \"A\" \\ #1", LM_RIGHT_LOOK, "x"), LM_ACCESS_ALLOWED);
    cr_assert_eq(judge(access, "b#c", LM_RIGHT_LOCK, "a\\bc"), LM_ACCESS_ALLOWED);
    lm_access_destroy(&access);
}

Test(core_access, every_mistake_is_told_with_its_line)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *words;
    } rows[] = {
        {"", 0, "nobody has been granted"},
        {"# nothing\n", 1, "nobody has been granted"},
        {"token a " ONES "\n", 1, "nobody has been granted"},
        {"grant a reader x", 1, "does not end"},
        {"\ngive a reader x\n", 2, "must begin with"},
        {"grant a\n", 1, "must be: grant"},
        {"grant a reader\n", 1, "needs a prefix"},
        {"grant a operator x\n", 1, "must have no prefix"},
        {"grant a root x\n", 1, "one of the roles"},
        {"grant a reader x y\n", 1, "more words"},
        {"grant \"a reader x\n", 1, "quote"},
        {"grant \"\" reader x\n", 1, "has a name"},
        {"grant a\x01 reader x\n", 1, "has a name"},
        {"grant \xff reader x\n", 1, "has a name"},
        {"grant a reader \xff\n", 1, "has a prefix"},
        {"token a\n", 1, "must be: token"},
        {"token a secret\n", 1, "not the token"},
        {"token a " ONES "1\n", 1, "not the token"},
        {"token * " ONES "\n", 1, "everybody"},
        {"token a " ONES "\ntoken b " ONES "\n", 2, "there already"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_null(parse(rows[i].text), "%s", rows[i].text);
        cr_assert_eq(first_line, rows[i].line, "%s: line %u", rows[i].text, first_line);
        cr_assert(strstr(first_text, rows[i].words), "%s: %s", rows[i].text, first_text);
    }
    cr_assert_null(parse("x\ngrant a reader x\ny\n"));
    cr_assert_eq(n_faults, 2);
}

Test(core_access, several_tokens_of_a_name_so_that_they_can_be_changed)
{
    lm_access_t *access = parse("token a " ONES "\ntoken a " AAS "\ngrant a reader \"\"\n");
    cr_assert(access);
    uint8_t digest[LM_ACCESS_DIGEST_BYTES];
    static const struct {
        int byte;
        const char *name;
    } rows[] = {{0x11, "a"}, {0xaa, "a"}, {0x12, ""}};
    for (size_t i = 0; i < 3; i++) {
        memset(digest, rows[i].byte, sizeof digest);
        cr_assert(lm_bytes_equal(lm_access_name_of(access, digest), lm_bytes_of(rows[i].name)));
    }
    lm_access_destroy(&access);
}

Test(core_access, grants_of_a_name_and_of_everybody_add_up)
{
    lm_access_t *access = parse(
        "grant b locker x/\ngrant b reader y/\ngrant * reader public/\n"
        "grant ba operator\n");
    cr_assert(access);
    static const struct {
        const char *who;
        lm_right_t right;
        const char *name;
        lm_access_verdict_t verdict;
    } rows[] = {
        {"b", LM_RIGHT_LOCK, "x/1", LM_ACCESS_ALLOWED},
        {"b", LM_RIGHT_LOCK, "y/1", LM_ACCESS_OUTSIDE},
        {"b", LM_RIGHT_LOOK, "y/1", LM_ACCESS_ALLOWED},
        {"b", LM_RIGHT_LOOK, "public/1", LM_ACCESS_ALLOWED},
        {"b", LM_RIGHT_LOOK, "z", LM_ACCESS_OUTSIDE},
        {"b", LM_RIGHT_LOCK, NULL, LM_ACCESS_ALLOWED},
        {"ba", LM_RIGHT_LOCK, "x/1", LM_ACCESS_NO_RIGHT},
        {"ba", LM_RIGHT_STATUS, NULL, LM_ACCESS_ALLOWED},
        {"a", LM_RIGHT_LOOK, "public/", LM_ACCESS_ALLOWED},
        {"a", LM_RIGHT_LOOK, "publi", LM_ACCESS_OUTSIDE},
        {"a", LM_RIGHT_UNSAID, NULL, LM_ACCESS_NO_RIGHT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq(judge(access, rows[i].who, rows[i].right, rows[i].name), rows[i].verdict,
                     "row %zu", i);
    lm_access_destroy(&access);
    access = parse("grant b reader \"\"\n");
    cr_assert_eq(judge(access, "a", LM_RIGHT_LOOK, "x"), LM_ACCESS_NO_ROLE);
    lm_access_destroy(&access);
}

Test(core_access, limits_at_and_beyond)
{
    static char text[LM_ACCESS_GRANTS_MAX * 32];
    for (size_t more = 0; more < 2; more++) {
        size_t n = 0;
        for (size_t i = 0; i < LM_ACCESS_GRANTS_MAX + more; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "grant u%zu reader \"\"\n", i);
        lm_access_t *access = parse(text);
        cr_assert_eq(access != NULL, more == 0);
        if (access) cr_assert_eq(judge(access, "u4095", LM_RIGHT_LOOK, "x"), LM_ACCESS_ALLOWED);
        lm_access_destroy(&access);
        n = (size_t)snprintf(text, sizeof text, "grant a reader x\n");
        for (size_t i = 0; i < LM_ACCESS_TOKENS_MAX + more; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "token a %064zx\n", i);
        access = parse(text);
        cr_assert_eq(access != NULL, more == 0, "%s", first_text);
        lm_access_destroy(&access);
    }
}
