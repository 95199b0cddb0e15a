#include "case_script.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base_limits.h"

enum { WORDS_MAX = 16, WORD_BYTES = 600 };

typedef struct {
    char words[WORDS_MAX][WORD_BYTES];
    size_t n;
} line_t;

/* ---- reading a line -------------------------------------------------------------------------- */

/** Splits at blanks; a % becomes the number of the round. */
static bool split(line_t *line, const char *text, unsigned round)
{
    char copy[4096];
    if (strlen(text) >= sizeof copy) return false;
    strcpy(copy, text);
    line->n = 0;
    for (char *save, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *percent = strchr(word, '%');
        if (line->n == WORDS_MAX || strlen(word) + 12 > WORD_BYTES) return false;
        if (percent)
            snprintf(line->words[line->n], WORD_BYTES, "%.*s%u%s", (int)(percent - word), word,
                     round, percent + 1);
        else
            snprintf(line->words[line->n], WORD_BYTES, "%s", word);
        line->n++;
    }
    return line->n > 0;
}

/** Value of word=value; NULL if there is none. */
static const char *value_of(const line_t *line, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 1; i < line->n; i++)
        if (strncmp(line->words[i], word, size) == 0 && line->words[i][size] == '=')
            return line->words[i] + size + 1;
    return NULL;
}

static uint64_t number_of(const line_t *line, const char *word, uint64_t otherwise)
{
    const char *value = value_of(line, word);
    return value ? strtoull(value, NULL, 10) : otherwise;
}

static bool has(const line_t *line, const char *word)
{
    for (size_t i = 1; i < line->n; i++)
        if (strcmp(line->words[i], word) == 0) return true;
    return false;
}

static lm_bytes_t text_of(lm_case_script_t *script, const line_t *line, const char *word)
{
    return lm_arena_copy(script->arena, lm_bytes_of(value_of(line, word)));
}

static const char *const known_words[] = {
    "term",     "boot", "counter", "waiters", "locks",  "holds",    "ring",  "owner", "id",
    "identity", "ttl",  "body",    "stamp",   "hold",   "claim",    "basis", "wait",  "times",
    "prefix",   "in",   "number",  "done",    "secret", "sessions", "window"};
static const char *const known_flags[] = {"shared", "nowait", "seen", "quiet"};

static bool is_known(const char *word)
{
    size_t size = strcspn(word, "=");
    if (word[size] == '=') {
        for (size_t i = 0; i < sizeof known_words / sizeof *known_words; i++)
            if (strlen(known_words[i]) == size && strncmp(word, known_words[i], size) == 0)
                return true;
        return false;
    }
    for (size_t i = 0; i < sizeof known_flags / sizeof *known_flags; i++)
        if (strcmp(word, known_flags[i]) == 0) return true;
    return false;
}

static const struct {
    const char *verb;
    lm_command_kind_t kind;
    bool name;
} verbs[] = {
    {"takeover", LM_COMMAND_TAKEOVER, false},
    {"acquire", LM_COMMAND_ACQUIRE, true},
    {"release", LM_COMMAND_RELEASE, true},
    {"renew", LM_COMMAND_RENEW, true},
    {"expire", LM_COMMAND_EXPIRE, true},
    {"leave", LM_COMMAND_LEAVE, true},
    {"abandon", LM_COMMAND_ABANDON, true},
    {"timeout", LM_COMMAND_WAIT_TIMEOUT, true},
    {"cancel", LM_COMMAND_CANCEL, false},
    {"open", LM_COMMAND_OPEN_SESSION, false},
    {"keep", LM_COMMAND_KEEP_ALIVE, false},
    {"close", LM_COMMAND_CLOSE_SESSION, false},
    {"expire-session", LM_COMMAND_EXPIRE_SESSION, false},
};

static lm_request_key_t key_of(lm_case_script_t *script, const line_t *line)
{
    return (lm_request_key_t){.identity = text_of(script, line, "identity"),
                              .owner = text_of(script, line, "owner"),
                              .request_id = text_of(script, line, "id")};
}

static lm_pair_t pair_of(const lm_table_t *table, const line_t *line, uint64_t term)
{
    lm_pair_t pair = lm_table_pair(table);
    pair.term = number_of(line, "term", term);
    pair.boot_id = number_of(line, "boot", pair.boot_id);
    pair.counter = (uint32_t)number_of(line, "counter", pair.counter);
    return pair;
}

static lm_settings_t settings_of(const line_t *line)
{
    lm_settings_t s = lm_settings_default();
    s.waiters_per_lock_max = (uint32_t)number_of(line, "waiters", s.waiters_per_lock_max);
    s.locks_max = (uint32_t)number_of(line, "locks", s.locks_max);
    s.holds_per_owner_max = (uint32_t)number_of(line, "holds", s.holds_per_owner_max);
    s.record_ring_size = (uint32_t)number_of(line, "ring", s.record_ring_size);
    s.sessions_max = (uint32_t)number_of(line, "sessions", s.sessions_max);
    s.session_window = (uint32_t)number_of(line, "window", s.session_window);
    return s;
}

/** The secret is the word, and blanks. */
static lm_bytes_t secret_of(lm_case_script_t *script, const line_t *line)
{
    char text[LM_SESSION_SECRET_BYTES + 1];
    const char *word = value_of(line, "secret");
    snprintf(text, sizeof text, "%-16s", word ? word : "s");
    return lm_arena_copy(script->arena, lm_bytes(text, LM_SESSION_SECRET_BYTES));
}

static void fill_session(lm_case_script_t *script, const line_t *line, lm_command_t *command)
{
    command->session = number_of(line, "in", 0);
    command->done_below = number_of(line, "done", 0);
    bool secret = command->session && command->kind != LM_COMMAND_EXPIRE_SESSION;
    if (secret || command->kind == LM_COMMAND_OPEN_SESSION)
        command->secret = secret_of(script, line);
    if (command->kind == LM_COMMAND_ACQUIRE && command->session) command->ttl_ms = 0;
    if (command->kind < LM_COMMAND_OPEN_SESSION)
        command->request_number = number_of(line, "number", 0);
}

/** Fills what the kind uses and nothing else: the rest does not travel in the log. */
static void fill(lm_case_script_t *script, const line_t *line, lm_command_t *command)
{
    uint64_t term = lm_table_pair(script->table).term;
    if (value_of(line, "in") || command->kind >= LM_COMMAND_OPEN_SESSION)
        fill_session(script, line, command);
    switch (command->kind) {
    case LM_COMMAND_TAKEOVER:
        command->pair = pair_of(script->table, line, term + 1);
        command->settings = settings_of(line);
        break;
    case LM_COMMAND_ACQUIRE:
        command->mode = has(line, "shared") ? LM_MODE_SHARED : LM_MODE_EXCLUSIVE;
        command->ttl_ms = command->session ? 0 : number_of(line, "ttl", 30000);
        command->wait = !has(line, "nowait");
        __attribute__((fallthrough));
    case LM_COMMAND_OPEN_SESSION:
        if (command->kind == LM_COMMAND_OPEN_SESSION)
            command->ttl_ms = number_of(line, "ttl", 30000);
        __attribute__((fallthrough));
    case LM_COMMAND_RELEASE:
        command->body_hash = number_of(line, "body", 0);
        command->stamp = number_of(line, "stamp", lm_table_op_seq(script->table));
        command->seen = has(line, "seen");
        __attribute__((fallthrough));
    case LM_COMMAND_RENEW:
        if (command->kind == LM_COMMAND_RENEW) command->ttl_ms = number_of(line, "ttl", 0);
        __attribute__((fallthrough));
    case LM_COMMAND_CANCEL:
    case LM_COMMAND_KEEP_ALIVE:
    case LM_COMMAND_CLOSE_SESSION: command->key = key_of(script, line); break;
    default: command->pair = pair_of(script->table, line, term ? term : 1); break;
    }
    if (command->kind == LM_COMMAND_ACQUIRE) return;
    command->hold = number_of(line, "hold", 0);
    command->claim = number_of(line, "claim", 0);
    command->basis = number_of(line, "basis", 0);
    command->wait_number = number_of(line, "wait", 0);
}

/* ---- showing --------------------------------------------------------------------------------- */

static const char *const modes[] = {"none", "exclusive", "shared"};
static const char *const states[] = {"unknown", "waiting", "holding", "ended", "retired", "open"};
static const char *const ends[] = {"none", "released",  "expired", "abandoned",     "timed-out",
                                   "held", "cancelled", "refused", "session-closed"};
static const char *const effects[] = {
    [LM_EFFECT_ACQUIRED] = "acquired",
    [LM_EFFECT_QUEUED] = "queued",
    [LM_EFFECT_FINISHED] = "finished",
    [LM_EFFECT_RENEWED] = "renewed",
    [LM_EFFECT_REFUSED] = "refused",
    [LM_EFFECT_CANCELLED] = "cancelled",
    [LM_EFFECT_TAKEN_OVER] = "taken-over",
    [LM_EFFECT_VOID] = "void",
    [LM_EFFECT_DONE] = "done",
    [LM_EFFECT_GRANTED] = "granted",
    [LM_EFFECT_HOLD_ENDED] = "hold-ended",
    [LM_EFFECT_WAIT_ENDED] = "wait-ended",
    [LM_EFFECT_REATTACHED] = "reattached",
    [LM_EFFECT_SESSION_OPENED] = "session-opened",
    [LM_EFFECT_SESSION_KEPT] = "session-kept",
    [LM_EFFECT_SESSION_ENDED] = "session-ended",
};

/** A text, or # and the number of a session or request. */
static void show_name(FILE *out, lm_bytes_t text)
{
    uint64_t number = lm_number_of_text(text);
    if (number)
        fprintf(out, "#%" PRIu64, number);
    else
        fprintf(out, "%.*s", LM_BYTES_ARG(text));
}

static void show_key(FILE *out, lm_request_key_t key)
{
    if (key.owner.size == 0) return;
    fprintf(out, " ");
    if (key.identity.size) fprintf(out, "%.*s:", LM_BYTES_ARG(key.identity));
    show_name(out, key.owner);
    if (!key.request_id.size) return;
    fprintf(out, "/");
    show_name(out, key.request_id);
}

static void show_token(FILE *out, int64_t token)
{
    uint64_t epoch = (uint64_t)token >> LM_OP_SEQ_BITS;
    uint64_t seq = (uint64_t)token & ((UINT64_C(1) << LM_OP_SEQ_BITS) - 1);
    if (epoch)
        fprintf(out, " token=%" PRIu64 ":%" PRIu64, epoch, seq);
    else
        fprintf(out, " token=%" PRIu64, seq);
}

static void show_hold(FILE *out, const lm_record_t *record)
{
    fprintf(out, " claim=%u", record->claim);
    show_token(out, lm_record_token(record));
    fprintf(out, " ttl=%u basis=%" PRIu64 "%s", record->ttl_ms, (uint64_t)record->basis,
            record->cancelled ? " cancelled" : "");
}

static void show_record(FILE *out, const lm_record_t *record)
{
    fprintf(out, " -> %s", states[record ? record->state : 0]);
    if (!record) return;
    if (record->state == LM_RECORD_HOLDING) {
        show_hold(out, record);
    } else if (record->state != LM_RECORD_WAITING) {
        fprintf(out, " %s", ends[record->end]);
        if (record->code != LM_RC_OK) fprintf(out, " %s", lm_rc_name(record->code));
        if (lm_record_token(record)) show_token(out, lm_record_token(record));
    }
}

static void show_effect(FILE *out, const lm_effect_t *effect)
{
    fprintf(out, "%4" PRIu64 " %s", effect->op_seq, effects[effect->kind]);
    if (effect->kind == LM_EFFECT_REFUSED) fprintf(out, " %s", lm_rc_name(effect->code));
    if (effect->name.size) fprintf(out, " %.*s", LM_BYTES_ARG(effect->name));
    show_key(out, effect->key);
    if (effect->wait_number) fprintf(out, " wait=%" PRIu64, effect->wait_number);
    if (effect->hold) fprintf(out, " hold=%" PRIu64, effect->hold);
    if (effect->session) fprintf(out, " session=%" PRIu64, effect->session);
    if (effect->kind == LM_EFFECT_SESSION_ENDED) fprintf(out, " %s", ends[effect->end]);
    bool ended = effect->kind == LM_EFFECT_HOLD_ENDED || effect->kind == LM_EFFECT_WAIT_ENDED;
    if (ended) fprintf(out, " %s", ends[effect->end]);
    if (effect->record || ended) show_record(out, effect->record);
    fprintf(out, "\n");
}

/* ---- what is not a command ------------------------------------------------------------------- */

static void show_seats(FILE *out, const lm_seat_t *seats, const char *word, const char *number)
{
    for (const lm_seat_t *seat = seats; seat; seat = lm_seat_next(seat)) {
        const lm_record_t *record = lm_record_of(seat);
        fprintf(out, "  %s", word);
        show_key(out, lm_record_key(record));
        fprintf(out, " %s %s=%" PRIu64, modes[lm_seat_mode(seat)], number, (uint64_t)seat->number);
        if (record->state == LM_RECORD_HOLDING) show_hold(out, record);
        fprintf(out, "\n");
    }
}

static const char *run_dump(lm_case_script_t *script, const line_t *line)
{
    (void)line;
    lm_bytes_t none = lm_bytes(NULL, 0), from = none;
    const lm_entry_t *lock;
    for (; (lock = lm_table_seek(script->table, none, from, from.size > 0)) != NULL;
         from = lm_entry_name(lock)) {
        fprintf(script->out, "%.*s\n", LM_BYTES_ARG(lm_entry_name(lock)));
        show_seats(script->out, lm_entry_holders(lock), "holder", "hold");
        show_seats(script->out, lm_entry_waiters(lock), "waiter", "wait");
    }
    lm_table_counts_t counts = lm_table_counts(script->table);
    fprintf(script->out, "locks=%" PRIu64 " holds=%" PRIu64 " waiters=%" PRIu64, counts.locks,
            counts.holds, counts.waiters);
    fprintf(script->out, " records=%" PRIu64 " op_seq=%" PRIu64 "\n", counts.records,
            lm_table_op_seq(script->table));
    return NULL;
}

static const char *run_find(lm_case_script_t *script, const line_t *line)
{
    lm_request_key_t key = key_of(script, line);
    fprintf(script->out, "find");
    show_key(script->out, key);
    show_record(script->out, lm_table_find(script->table, &key));
    fprintf(script->out, "%s\n", lm_table_seen(script->table, &key) ? " seen" : "");
    return NULL;
}

static void show_one(void *arg, const lm_record_t *record)
{
    FILE *out = arg;
    fprintf(out, "%.*s", LM_BYTES_ARG(lm_entry_name(lm_record_lock(record))));
    show_key(out, lm_record_key(record));
    fprintf(out, " %s\n", states[record->state]);
}

static const char *run_each(lm_case_script_t *script, const line_t *line)
{
    (void)line;
    lm_table_each(script->table, show_one, script->out);
    return NULL;
}

static const char *run_list(lm_case_script_t *script, const line_t *line)
{
    lm_bytes_t prefix = text_of(script, line, "prefix"), from = lm_bytes(NULL, 0);
    const lm_entry_t *lock = lm_table_seek(script->table, prefix, from, false);
    for (; lock; lock = lm_table_seek(script->table, prefix, lm_entry_name(lock), true))
        fprintf(script->out, "%.*s\n", LM_BYTES_ARG(lm_entry_name(lock)));
    return NULL;
}

static const char *run_sessions(lm_case_script_t *script, const line_t *line)
{
    (void)line;
    FILE *out = script->out;
    const lm_session_t *one = lm_table_sessions(script->table);
    for (; one; one = lm_session_newer(one)) {
        lm_session_info_t info = lm_session_info(one);
        fprintf(out, "session %" PRIu64, info.number);
        show_key(out, info.key);
        fprintf(out, " ttl=%u basis=%" PRIu64 " done=%" PRIu64, info.ttl_ms, info.basis,
                info.done_below);
        fprintf(out, " open=%u secret=%.*s\n", info.n_open,
                (int)strcspn((const char *)info.secret.data, " "), (const char *)info.secret.data);
        lm_session_each(one, show_one, out);
    }
    return NULL;
}

static const struct {
    const char *verb;
    const char *(*run)(lm_case_script_t *script, const line_t *line);
} views[] = {{"dump", run_dump},
             {"find", run_find},
             {"each", run_each},
             {"list", run_list},
             {"sessions", run_sessions}};

/* ---- running --------------------------------------------------------------------------------- */

static void apply(lm_case_script_t *script, const lm_command_t *command, bool quiet)
{
    script->commands =
        lm_realloc(script->commands, (script->n_commands + 1) * sizeof *script->commands);
    script->commands[script->n_commands++] = *command;
    lm_effects_t done = lm_table_apply(script->table, command);
    for (size_t i = 0; i < done.n && !quiet; i++) show_effect(script->out, &done.items[i]);
    lm_table_verify(script->table);
}

static const char *run_command(lm_case_script_t *script, const line_t *line, size_t verb)
{
    lm_command_t command = {.kind = verbs[verb].kind};
    size_t first = 1;
    if (verbs[verb].name) {
        if (line->n < 2 || strchr(line->words[1], '=')) return "a name must follow";
        command.name = lm_arena_copy(script->arena, lm_bytes_of(line->words[1]));
        first = 2;
    }
    for (size_t i = first; i < line->n; i++)
        if (!is_known(line->words[i])) return "there is a word that means nothing";
    fill(script, line, &command);
    apply(script, &command, has(line, "quiet"));
    return NULL;
}

static const char *run_once(lm_case_script_t *script, const line_t *line)
{
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (strcmp(line->words[0], views[i].verb) == 0) return views[i].run(script, line);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(line->words[0], verbs[i].verb) == 0) return run_command(script, line, i);
    return "there is no such command";
}

const char *lm_case_script_run(lm_case_script_t *script, const char *text)
{
    line_t line;
    uint64_t times = 1;
    for (uint64_t round = 1; round <= times; round++) {
        if (!split(&line, text, (unsigned)round)) return "the line cannot be split";
        times = number_of(&line, "times", 1);
        const char *problem = run_once(script, &line);
        if (problem) return problem;
    }
    return NULL;
}
