#include "sup_config_scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX_BYTES = 128 };

typedef struct {
    FILE *stream;
    const char *file;
    unsigned line;
    lm_sup_problems_t *problems;
} scan_t;

static int next_char(scan_t *scan)
{
    int c = getc(scan->stream);
    if (c == '\n') scan->line++;
    return c;
}

static int peek_char(scan_t *scan)
{
    int c = getc(scan->stream);
    if (c != EOF) ungetc(c, scan->stream);
    return c;
}

static void skip_line(scan_t *scan)
{
    for (int c = peek_char(scan); c != EOF && c != '\n'; c = peek_char(scan)) next_char(scan);
}

static void skip_block_comment(scan_t *scan)
{
    next_char(scan); /* its star */
    for (int c = next_char(scan); c != EOF; c = next_char(scan)) {
        if (c != '*' || peek_char(scan) != '/') continue;
        next_char(scan);
        return;
    }
}

static void skip_text(scan_t *scan)
{
    for (int c = next_char(scan); c != EOF && c != '"'; c = next_char(scan)) {
        if (c == '\\') next_char(scan);
    }
}

static bool is_word_char(int c)
{
    return isalnum(c) || c == '_' || c == '-' || c == '*' || c == '.';
}

static void check_word(scan_t *scan, const char *word)
{
    char *end;
    errno = 0;
    bool hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
    unsigned long long value = strtoull(word, &end, hex ? 16 : 10);
    bool whole = end != word && (*end == '\0' || *end == 'L');
    bool fits = errno == 0 && value <= (*end == 'L' ? (uint64_t)INT64_MAX : (uint64_t)INT32_MAX);
    if (!whole || fits) return;
    char where[512];
    snprintf(where, sizeof where, "%s:%u", scan->file, scan->line);
    lm_sup_problems_add(scan->problems, where, "the number %s is too large", word);
}

static void scan_word(scan_t *scan, int first)
{
    char word[WORD_MAX_BYTES] = {(char)first};
    size_t n = 1;
    for (int c = peek_char(scan); c != EOF && is_word_char(c); c = peek_char(scan)) {
        if (n < sizeof word - 1) word[n++] = (char)c;
        next_char(scan);
    }
    if (isdigit(first)) check_word(scan, word);
}

void lm_sup_config_scan_numbers(const char *file, lm_sup_problems_t *problems)
{
    scan_t scan = {.stream = fopen(file, "re"), .file = file, .line = 1, .problems = problems};
    if (!scan.stream) return;
    for (int c = next_char(&scan); c != EOF; c = next_char(&scan)) {
        int after = peek_char(&scan);
        if (c == '#' || (c == '/' && after == '/'))
            skip_line(&scan);
        else if (c == '/' && after == '*')
            skip_block_comment(&scan);
        else if (c == '"')
            skip_text(&scan);
        else if (isalnum(c) || c == '*')
            scan_word(&scan, c);
    }
    fclose(scan.stream);
}
