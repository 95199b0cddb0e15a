/* Runs case files: stories of the lock table, each a text that says what must follow from what.
 *
 *   # words for the reader
 *   command lines (case_script.h)
 *   ----
 *   what follows from them, line by line
 *   (an empty line, and the next block)
 *
 * A file passes if running its commands gives its text again, and if the same commands, packed into
 * log entries block by block and decoded from them, give the same state hash on a second table.
 *
 * usage: case_runner [--rewrite] DIRECTORY|FILE...
 * --rewrite puts what follows now into the files; read the difference before you keep it. */
#include <dirent.h>
#include <stdlib.h>

#include "case_script.h"
#include "wire_command.h"

typedef struct {
    lm_case_script_t script;
    lm_table_t *packed; /* gets the commands of a block as one entry */
    size_t n_packed;
    char *follows; /* what the block's commands have shown so far */
    size_t follows_size;
    bool expecting; /* behind the dashes: lines of the file to be replaced */
    int line_number;
    char problem[200];
} case_t;

/* ---- files ----------------------------------------------------------------------------------- */

/** The whole file, NUL-terminated; NULL if it cannot be read. The caller frees it. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (int c; (c = fgetc(file)) != EOF;) fputc(c, out);
    fclose(out);
    fclose(file);
    return text;
}

static bool write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool written = fputs(text, file) >= 0;
    return fclose(file) == 0 && written;
}

/* ---- one file -------------------------------------------------------------------------------- */

static void note(case_t *one, const char *problem)
{
    if (!one->problem[0])
        snprintf(one->problem, sizeof one->problem, "line %d: %s", one->line_number, problem);
}

static void begin(case_t *one, uint16_t epoch)
{
    if (one->script.table) {
        note(one, "an epoch must come before all commands");
        return;
    }
    one->script.table = lm_table_new(epoch);
    one->script.arena = lm_arena_new();
    one->packed = lm_table_new(epoch);
}

/** The other table gets what the block has applied, through the log's bytes. */
static void pack(case_t *one)
{
    lm_case_script_t *script = &one->script;
    lm_arena_t *arena = lm_arena_new();
    while (one->n_packed < script->n_commands) {
        size_t n = script->n_commands - one->n_packed;
        if (n > 500) n = 500;
        lm_command_t *decoded;
        lm_bytes_t entry = lm_wire_command_encode(script->commands + one->n_packed, n, arena);
        one->n_packed += n;
        if (lm_wire_command_decode(entry, arena, &decoded, &n, NULL) != LM_RC_OK) {
            note(one, "the block cannot be decoded");
            break;
        }
        for (size_t i = 0; i < n; i++) lm_table_apply(one->packed, &decoded[i]);
    }
    if (lm_table_hash(one->packed) != lm_table_hash(script->table))
        note(one, "packed into one entry, the block gives another state");
    lm_arena_destroy(&arena);
}

static void run_command(case_t *one, const char *line)
{
    if (strncmp(line, "epoch ", 6) == 0) {
        begin(one, (uint16_t)atoi(line + 6));
        return;
    }
    if (!one->script.table) begin(one, 0);
    if (!one->script.out) one->script.out = open_memstream(&one->follows, &one->follows_size);
    const char *problem = lm_case_script_run(&one->script, line);
    if (problem) note(one, problem);
}

/** The dashes: what the commands have shown goes to out. */
static void end_block(case_t *one, FILE *out)
{
    one->expecting = true;
    if (!one->script.out) {
        note(one, "nothing was done before the dashes");
        return;
    }
    fclose(one->script.out);
    one->script.out = NULL;
    fputs(one->follows, out);
    free(one->follows);
    pack(one);
}

static void run_line(case_t *one, const char *line, FILE *out)
{
    one->line_number++;
    if (one->expecting && line[0]) return;
    one->expecting = false;
    fprintf(out, "%s\n", line);
    if (strcmp(line, "----") == 0)
        end_block(one, out);
    else if (line[0] && line[0] != '#')
        run_command(one, line);
}

static void finish(case_t *one)
{
    if (one->script.out) {
        note(one, "the last block has no dashes");
        fclose(one->script.out);
        free(one->follows);
    }
    lm_table_destroy(&one->script.table);
    lm_table_destroy(&one->packed);
    if (one->script.arena) lm_arena_destroy(&one->script.arena);
    free(one->script.commands);
}

/** What the file should be; problem gets the first thing that is wrong with it. The caller frees.
 */
static char *render(const char *text, char problem[200])
{
    case_t one = {0};
    char *copy = strdup(text), *result = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&result, &size);
    for (char *line = copy, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = '\0';
        run_line(&one, line, out);
    }
    finish(&one);
    fclose(out);
    free(copy);
    memcpy(problem, one.problem, sizeof one.problem);
    return result;
}

/** Shows the first line in which two texts differ. */
static void show_difference(const char *path, const char *expected, const char *actual)
{
    int line = 1;
    while (*expected && *actual) {
        size_t e = strcspn(expected, "\n"), a = strcspn(actual, "\n");
        if (e != a || memcmp(expected, actual, e) != 0) break;
        expected += e + (expected[e] != 0);
        actual += a + (actual[a] != 0);
        line++;
    }
    printf("%s:%d:\n  expected %.*s\n  but got  %.*s\n", path, line, (int)strcspn(expected, "\n"),
           expected, (int)strcspn(actual, "\n"), actual);
}

static bool run_file(const char *path, bool rewrite)
{
    char problem[200];
    char *text = read_file(path);
    if (!text) {
        printf("%s: cannot be read\n", path);
        return false;
    }
    char *result = render(text, problem);
    bool same = strcmp(text, result) == 0, good = !problem[0] && same;
    if (problem[0])
        printf("%s: %s\n", path, problem);
    else if (!same && !rewrite)
        show_difference(path, text, result);
    else if (!same)
        good = write_file(path, result) && printf("%s: rewritten\n", path) > 0;
    free(text);
    free(result);
    return good;
}

/* ---- all files ------------------------------------------------------------------------------- */

typedef struct {
    bool rewrite;
    int passed, failed;
} summary_t;

static void count_file(summary_t *summary, const char *path)
{
    if (run_file(path, summary->rewrite))
        summary->passed++;
    else
        summary->failed++;
}

static int is_case(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 5 && strcmp(entry->d_name + size - 5, ".case") == 0;
}

static void count_path(summary_t *summary, const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_case, alphasort);
    if (n < 0) {
        count_file(summary, path);
        return;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        count_file(summary, file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    summary_t summary = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rewrite") == 0)
            summary.rewrite = true;
        else
            count_path(&summary, argv[i]);
    }
    printf("%d cases passed, %d failed\n", summary.passed, summary.failed);
    return summary.failed || !summary.passed;
}
