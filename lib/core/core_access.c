#include "core_access.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_arena.h"
#include "base_limits.h"

enum { WORDS_MAX = 4, FAULT_BYTES = 160 };

typedef struct {
    lm_bytes_t name;
    uint8_t digest[LM_ACCESS_DIGEST_BYTES];
} token_t;

typedef struct {
    lm_bytes_t identity; /* "*": everybody who has proven a name */
    unsigned rights;     /* bits 1 << lm_right_t */
    bool has_prefix;
    lm_bytes_t prefix;
} grant_t;

struct lm_access {
    lm_arena_t *arena;
    token_t tokens[LM_ACCESS_TOKENS_MAX];
    size_t n_tokens;
    grant_t *grants; /* sorted by identity */
    size_t n_grants, n_grants_max;
};

/* ---- roles ----------------------------------------------------------------------------------- */

#define BIT(right) (1U << LM_RIGHT_##right)

/* A role that is not about names takes no prefix. */
static const struct {
    const char *name;
    unsigned rights;
    bool takes_prefix;
} roles[] = {
    {"reader", BIT(ANY) | BIT(LOOK) | BIT(STATUS), true},
    {"locker", BIT(ANY) | BIT(LOOK) | BIT(LOCK), true},
    {"operator", BIT(ANY) | BIT(STATUS), false},
    {"admin", BIT(ANY) | BIT(LOOK) | BIT(LOCK) | BIT(STATUS), true},
};
enum { ROLES = sizeof roles / sizeof *roles };

const char *const lm_access_roles[] = {"reader", "locker", "operator", "admin", NULL};

static int find_role(lm_bytes_t name)
{
    for (int i = 0; i < ROLES; i++)
        if (lm_bytes_equal(name, lm_bytes_of(roles[i].name))) return i;
    return -1;
}

bool lm_access_role_has(const char *role, lm_right_t right)
{
    int i = find_role(lm_bytes_of(role));
    return i >= 0 && (roles[i].rights >> right & 1U) != 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

typedef struct {
    lm_access_t *access;
    lm_access_fault_t *tell;
    void *arg;
    unsigned line, n_faults;
} parser_t;

__attribute__((format(printf, 2, 3))) static void fault(parser_t *parser, const char *format, ...)
{
    char text[FAULT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    parser->n_faults++;
    parser->tell(parser->arg, parser->line, text);
}

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

/* The word in quotes that begins at *at, which is moved behind it; false: it does not end. */
static bool read_quoted(parser_t *parser, lm_bytes_t line, size_t *at, lm_bytes_t *word)
{
    uint8_t *text = lm_arena_alloc(parser->access->arena, line.size);
    size_t n = 0;
    for (size_t i = *at + 1; i < line.size; i++) {
        if (line.data[i] == '"') {
            *at = i + 1;
            *word = lm_bytes(text, n);
            return true;
        }
        bool escapes = line.data[i] == '\\' && i + 1 < line.size &&
                       (line.data[i + 1] == '"' || line.data[i + 1] == '\\');
        if (escapes) i++;
        text[n++] = line.data[i];
    }
    return false;
}

static lm_bytes_t read_plain(parser_t *parser, lm_bytes_t line, size_t *at)
{
    size_t begin = *at;
    while (*at < line.size && !is_blank(line.data[*at])) (*at)++;
    return lm_arena_copy(parser->access->arena, lm_bytes(line.data + begin, *at - begin));
}

/* Splits a line; the number of its words, or -1 after a fault has been told. */
static int read_words(parser_t *parser, lm_bytes_t line, lm_bytes_t words[WORDS_MAX])
{
    int n = 0;
    for (size_t at = 0;;) {
        while (at < line.size && is_blank(line.data[at])) at++;
        if (at == line.size || line.data[at] == '#') return n;
        if (n == WORDS_MAX) {
            fault(parser, "has more words than a statement takes");
            return -1;
        }
        if (line.data[at] != '"') {
            words[n++] = read_plain(parser, line, &at);
        } else if (!read_quoted(parser, line, &at, &words[n++])) {
            fault(parser, "has a quote that does not end");
            return -1;
        }
    }
}

static bool is_text(lm_bytes_t text, size_t min, size_t max)
{
    if (text.size < min || text.size > max || !lm_bytes_are_utf8(text)) return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) return false;
    return true;
}

static bool is_identity(parser_t *parser, lm_bytes_t name)
{
    if (is_text(name, 1, LM_IDENTITY_BYTES_MAX)) return true;
    fault(parser, "has a name that is not 1 to %d bytes of UTF-8 without control characters",
          LM_IDENTITY_BYTES_MAX);
    return false;
}

/* ---- statements ------------------------------------------------------------------------------ */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool read_digest(lm_bytes_t text, uint8_t digest[LM_ACCESS_DIGEST_BYTES])
{
    if (text.size != 2 * (size_t)LM_ACCESS_DIGEST_BYTES) return false;
    for (size_t i = 0; i < LM_ACCESS_DIGEST_BYTES; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void read_token(parser_t *parser, const lm_bytes_t *words, int n)
{
    lm_access_t *access = parser->access;
    token_t token;
    if (n != 3) {
        fault(parser, "must be: token NAME SHA256");
        return;
    }
    token.name = words[1];
    if (!is_identity(parser, token.name)) return;
    if (lm_bytes_equal(token.name, lm_bytes_of("*"))) {
        fault(parser, "has the name *, which stands for everybody");
    } else if (!read_digest(words[2], token.digest)) {
        fault(parser, "must have the 64 hex digits of the token's SHA-256, not the token");
    } else if (lm_access_name_of(access, token.digest).size) {
        fault(parser, "has a token that is there already");
    } else if (access->n_tokens == LM_ACCESS_TOKENS_MAX) {
        fault(parser, "is one token too many: there may be %d", LM_ACCESS_TOKENS_MAX);
    } else {
        access->tokens[access->n_tokens++] = token;
    }
}

static void add_grant(parser_t *parser, const grant_t *grant)
{
    lm_access_t *access = parser->access;
    if (access->n_grants == LM_ACCESS_GRANTS_MAX) {
        fault(parser, "is one grant too many: there may be %d", LM_ACCESS_GRANTS_MAX);
        return;
    }
    if (access->n_grants == access->n_grants_max) {
        access->n_grants_max = access->n_grants_max ? 2 * access->n_grants_max : 16;
        access->grants = lm_realloc(access->grants, access->n_grants_max * sizeof *access->grants);
    }
    access->grants[access->n_grants++] = *grant;
}

static void read_grant(parser_t *parser, const lm_bytes_t *words, int n)
{
    int role = n >= 3 ? find_role(words[2]) : -1;
    if (n < 3) {
        fault(parser, "must be: grant NAME ROLE PREFIX, or grant NAME operator");
    } else if (role < 0) {
        fault(parser, "must have one of the roles reader, locker, operator and admin");
    } else if (roles[role].takes_prefix != (n == 4)) {
        fault(parser,
              n == 4 ? "must have no prefix: %s is not about locks"
                     : "needs a prefix of lock names for %s; \"\" means all",
              roles[role].name);
    } else if (n == 4 && !is_text(words[3], 0, LM_NAME_BYTES_MAX)) {
        fault(parser, "has a prefix that is not UTF-8 of at most %d bytes", LM_NAME_BYTES_MAX);
    } else if (is_identity(parser, words[1])) {
        add_grant(parser, &(grant_t){.identity = words[1],
                                     .rights = roles[role].rights,
                                     .has_prefix = n == 4,
                                     .prefix = n == 4 ? words[3] : lm_bytes(NULL, 0)});
    }
}

static void read_line(parser_t *parser, lm_bytes_t line)
{
    lm_bytes_t words[WORDS_MAX];
    int n = read_words(parser, line, words);
    if (n <= 0) return;
    if (lm_bytes_equal(words[0], lm_bytes_of("token")))
        read_token(parser, words, n);
    else if (lm_bytes_equal(words[0], lm_bytes_of("grant")))
        read_grant(parser, words, n);
    else
        fault(parser, "must begin with token or grant");
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int by_identity(const void *a, const void *b)
{
    const grant_t *one = a, *other = b;
    return lm_bytes_compare(one->identity, other->identity);
}

static void read_lines(parser_t *parser, lm_bytes_t text)
{
    for (size_t at = 0; at < text.size;) {
        size_t end = at;
        while (end < text.size && text.data[end] != '\n') end++;
        parser->line++;
        read_line(parser, lm_bytes(text.data + at, end - at));
        at = end + 1;
    }
    /* What is being written has neither a last line that ends nor, at first, anything at all. */
    if (text.size && text.data[text.size - 1] != '\n')
        fault(parser, "does not end");
    else if (parser->n_faults == 0 && parser->access->n_grants == 0)
        fault(parser, "is the end, and nobody has been granted anything");
}

lm_access_t *lm_access_parse(lm_bytes_t text, lm_access_fault_t *tell, void *arg)
{
    lm_access_t *access = lm_alloc(sizeof *access);
    parser_t parser = {.access = access, .tell = tell, .arg = arg};
    access->arena = lm_arena_new();
    if (text.size > LM_ACCESS_TEXT_BYTES_MAX)
        fault(&parser, "is more than %d bytes long", LM_ACCESS_TEXT_BYTES_MAX);
    else
        read_lines(&parser, text);
    if (access->n_grants)
        qsort(access->grants, access->n_grants, sizeof *access->grants, by_identity);
    if (parser.n_faults) lm_access_destroy(&access);
    return access;
}

void lm_access_destroy(lm_access_t **access)
{
    if (!*access) return;
    lm_arena_destroy(&(*access)->arena);
    free((*access)->grants);
    free(*access);
    *access = NULL;
}

size_t lm_access_tokens(const lm_access_t *access) { return access->n_tokens; }
size_t lm_access_grants(const lm_access_t *access) { return access->n_grants; }

/* ---- decisions ------------------------------------------------------------------------------- */

lm_bytes_t lm_access_name_of(const lm_access_t *access,
                             const uint8_t digest[LM_ACCESS_DIGEST_BYTES])
{
    lm_bytes_t name = lm_bytes(NULL, 0);
    for (size_t i = 0; i < access->n_tokens; i++) {
        unsigned difference = 0;
        for (size_t k = 0; k < LM_ACCESS_DIGEST_BYTES; k++)
            difference |= (unsigned)(access->tokens[i].digest[k] ^ digest[k]);
        if (difference == 0) name = access->tokens[i].name;
    }
    return name;
}

/* The first grant of an identity, or where it would be. */
static size_t first_of(const lm_access_t *access, lm_bytes_t identity)
{
    size_t low = 0, high = access->n_grants;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lm_bytes_compare(access->grants[middle].identity, identity) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static lm_access_verdict_t judge_grant(const grant_t *grant, lm_right_t right,
                                       const lm_bytes_t *name)
{
    if ((grant->rights >> right & 1U) == 0) return LM_ACCESS_NO_RIGHT;
    bool covers = !name || (grant->has_prefix && lm_bytes_begin_with(*name, grant->prefix));
    return covers ? LM_ACCESS_ALLOWED : LM_ACCESS_OUTSIDE;
}

/* The best of what the grants of exactly that identity say. */
static lm_access_verdict_t judge_as(const lm_access_t *access, lm_bytes_t identity,
                                    lm_right_t right, const lm_bytes_t *name)
{
    lm_access_verdict_t best = LM_ACCESS_NO_ROLE;
    for (size_t i = first_of(access, identity); i < access->n_grants; i++) {
        if (!lm_bytes_equal(access->grants[i].identity, identity)) break;
        lm_access_verdict_t verdict = judge_grant(&access->grants[i], right, name);
        if (verdict == LM_ACCESS_ALLOWED) return verdict;
        if (verdict > best) best = verdict;
    }
    return best;
}

lm_access_verdict_t lm_access_judge(const lm_access_t *access, lm_bytes_t identity,
                                    lm_right_t right, const lm_bytes_t *name)
{
    if (right == LM_RIGHT_UNSAID) return LM_ACCESS_NO_RIGHT;
    lm_access_verdict_t own = judge_as(access, identity, right, name);
    if (own == LM_ACCESS_ALLOWED) return own;
    lm_access_verdict_t all = judge_as(access, lm_bytes_of("*"), right, name);
    if (all == LM_ACCESS_ALLOWED) return all;
    return own > all ? own : all;
}
