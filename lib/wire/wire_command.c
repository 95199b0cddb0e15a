/* Between lm_command_t and log entries: the frame, the conversion by kind, and the rules that make
 * apply total. */
#include "wire_command.h"

#include "base_check.h"
#include "base_limits.h"
#include "wire_log.h"

enum { FRAME_BYTES = 8, ALIGN = 8, BATCH_VERSION = 1 };
static const uint8_t frame_mark[4] = {'L', 'M', 'L', 1};

static lm_rc_t refuse(lm_wire_error_t *error, lm_rc_t code, const char *field, const char *rule)
{
    *error = (lm_wire_error_t){.field = field, .rule = rule};
    return code;
}

/* ---- the rules ------------------------------------------------------------------------------- */

/** What a kind must have; everything else of a command is not looked at. */
static const struct {
    bool known, pair, name, key, owner, mode;
    bool may_session, session, secret; /* may be in a session; is about one; has a secret */
    uint64_t ttl_ms_min, ttl_ms_max;
} rules[] = {
    [LM_COMMAND_TAKEOVER] = {.known = true, .pair = true},
    [LM_COMMAND_ACQUIRE] = {.known = true,
                            .may_session = true,
                            .name = true,
                            .key = true,
                            .mode = true,
                            .ttl_ms_min = 1,
                            .ttl_ms_max = LM_TTL_MS_MAX},
    [LM_COMMAND_RELEASE] = {.known = true, .may_session = true, .name = true, .key = true},
    [LM_COMMAND_RENEW] = {.known = true, .owner = true, .name = true, .ttl_ms_max = LM_TTL_MS_MAX},
    [LM_COMMAND_EXPIRE] = {.known = true, .pair = true, .name = true},
    [LM_COMMAND_LEAVE] = {.known = true, .pair = true, .name = true},
    [LM_COMMAND_ABANDON] = {.known = true, .pair = true, .name = true},
    [LM_COMMAND_WAIT_TIMEOUT] = {.known = true, .pair = true, .name = true},
    [LM_COMMAND_CANCEL] = {.known = true, .may_session = true, .key = true},
    [LM_COMMAND_OPEN_SESSION] =
        {.known = true, .key = true, .secret = true, .ttl_ms_min = 1, .ttl_ms_max = LM_TTL_MS_MAX},
    [LM_COMMAND_KEEP_ALIVE] = {.known = true, .session = true, .secret = true},
    [LM_COMMAND_CLOSE_SESSION] = {.known = true, .session = true, .secret = true},
    [LM_COMMAND_EXPIRE_SESSION] = {.known = true, .pair = true, .session = true},
};
enum { KINDS = sizeof rules / sizeof *rules };

static bool is_text(lm_bytes_t text, size_t min, size_t max)
{
    return text.size >= min && text.size <= max && lm_bytes_are_utf8(text) &&
           !(text.size && memchr(text.data, 0, text.size));
}

static bool within(uint64_t value, uint64_t min, uint64_t max)
{
    return value >= min && value <= max;
}

static lm_rc_t check_key(const lm_command_t *command, lm_wire_error_t *error)
{
    const lm_request_key_t *key = &command->key;
    const lm_rc_t broken = LM_RC_INVALID_ARGUMENT;
    bool needs_id = rules[command->kind].key;
    bool needs_owner = needs_id || rules[command->kind].owner;
    bool in = rules[command->kind].may_session && command->session;
    if (!needs_owner && !rules[command->kind].secret) return LM_RC_OK;
    if (!is_text(key->identity, 0, LM_IDENTITY_BYTES_MAX))
        return refuse(error, broken, "identity", "must be at most 256 bytes of UTF-8 without NUL");
    if (!needs_owner) return LM_RC_OK;
    if (in && key->owner.size) return refuse(error, broken, "owner", "must be empty in a session");
    if (in && command->request_number) {
        if (!key->request_id.size) return LM_RC_OK;
        return refuse(error, broken, "request_id", "must be empty if there is a request number");
    }
    if (!in && !is_text(key->owner, 1, LM_OWNER_BYTES_MAX))
        return refuse(error, broken, "owner", "must be 1 to 256 bytes of UTF-8 without NUL");
    if (needs_id && !is_text(key->request_id, 1, LM_REQUEST_ID_BYTES_MAX))
        return refuse(error, broken, "request_id", "must be 1 to 128 bytes of UTF-8 without NUL");
    return LM_RC_OK;
}

static lm_rc_t check_settings(const lm_settings_t *settings, lm_wire_error_t *error)
{
    const lm_rc_t broken = LM_RC_INVALID_ARGUMENT;
    if (settings->semantics != LM_SEMANTICS_LEVEL)
        return refuse(error, broken, "semantics", "must be a level that this build applies");
    if (!within(settings->waiters_per_lock_max, 1, LM_WAITERS_PER_LOCK_MAX))
        return refuse(error, broken, "waiters_per_lock_max", "must be 1 to 1000000");
    if (!within(settings->locks_max, 1, LM_LOCKS_MAX))
        return refuse(error, broken, "locks_max", "must be 1 to 100000000");
    if (!within(settings->holds_per_owner_max, 1, LM_HOLDS_PER_OWNER_MAX))
        return refuse(error, broken, "holds_per_owner_max", "must be 1 to 1000000");
    if (!within(settings->record_ring_size, 1, LM_RECORD_RING_MAX))
        return refuse(error, broken, "record_ring_size", "must be 1 to 16777216");
    if (!within(settings->sessions_max, 1, LM_SESSIONS_MAX))
        return refuse(error, broken, "sessions_max", "must be 1 to 10000000");
    if (!within(settings->session_window, 1, LM_SESSION_WINDOW_MAX))
        return refuse(error, broken, "session_window", "must be 1 to 64");
    return LM_RC_OK;
}

static lm_rc_t check_session(const lm_command_t *command, lm_wire_error_t *error)
{
    const lm_rc_t broken = LM_RC_INVALID_ARGUMENT;
    uint32_t kind = command->kind;
    bool in = rules[kind].may_session && command->session;
    if (rules[kind].session && !command->session)
        return refuse(error, broken, "session", "must be the number of a session");
    if ((rules[kind].secret || in) && command->secret.size != LM_SESSION_SECRET_BYTES)
        return refuse(error, broken, "secret", "must be 16 bytes");
    if (rules[kind].may_session && !in &&
        (command->secret.size || command->request_number || command->done_below))
        return refuse(error, broken, "session", "must be there if a part of it is");
    return LM_RC_OK;
}

static lm_rc_t check_ttl(const lm_command_t *command, lm_wire_error_t *error)
{
    uint32_t kind = command->kind;
    uint64_t min = rules[kind].ttl_ms_min, max = rules[kind].ttl_ms_max;
    if (kind == LM_COMMAND_ACQUIRE && command->session) min = max = 0;
    if (!rules[kind].ttl_ms_max || within(command->ttl_ms, min, max)) return LM_RC_OK;
    return refuse(error, LM_RC_INVALID_ARGUMENT, "ttl_ms",
                  "must be at most 86400000 ms; at least 1 in an acquire or open_session, and 0 in "
                  "an acquire in a session");
}

lm_rc_t lm_wire_command_check(const lm_command_t *command, lm_wire_error_t *error)
{
    const lm_rc_t broken = LM_RC_INVALID_ARGUMENT;
    uint32_t kind = command->kind;
    if (kind >= KINDS || !rules[kind].known)
        return refuse(error, broken, "kind", "must be one that this build knows");
    if (rules[kind].pair && command->pair.term == 0)
        return refuse(error, broken, "pair", "must be set, with a term");
    if (rules[kind].name && !is_text(command->name, 1, LM_NAME_BYTES_MAX))
        return refuse(error, broken, "name", "must be 1 to 512 bytes of UTF-8 without NUL");
    if (rules[kind].mode && !within(command->mode, LM_MODE_EXCLUSIVE, LM_MODE_SHARED))
        return refuse(error, broken, "mode", "must be 1 (exclusive) or 2 (shared)");
    lm_rc_t rc = check_session(command, error);
    if (rc == LM_RC_OK) rc = check_ttl(command, error);
    if (rc != LM_RC_OK) return rc;
    if (kind == LM_COMMAND_TAKEOVER) return check_settings(&command->settings, error);
    return check_key(command, error);
}

/* ---- to the wire ----------------------------------------------------------------------------- */

static lm_log_request_key_t *key_to_log(const lm_command_t *command, lm_arena_t *arena)
{
    lm_log_request_key_t *key = lm_arena_alloc(arena, sizeof *key);
    *key = (lm_log_request_key_t){.identity = command->key.identity,
                                  .owner = command->key.owner,
                                  .request_id = command->key.request_id};
    return key;
}

/** NULL outside of a session. */
static lm_log_session_part_t *part_to_log(const lm_command_t *in, lm_arena_t *arena)
{
    if (!in->session) return NULL;
    lm_log_session_part_t *part = lm_arena_alloc(arena, sizeof *part);
    *part = (lm_log_session_part_t){.session = in->session,
                                    .secret = in->secret,
                                    .request_number = in->request_number,
                                    .done_below = in->done_below};
    return part;
}

/* Gives out->field a body of its type, whose values follow. */
#define BODY(field, ...)                                        \
    do {                                                        \
        out->field = lm_arena_alloc(arena, sizeof *out->field); \
        *out->field = (__typeof__(*out->field)){__VA_ARGS__};   \
    } while (0)

static void takeover_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    lm_log_settings_t *settings = lm_arena_alloc(arena, sizeof *settings);
    *settings = (lm_log_settings_t){.semantics = in->settings.semantics,
                                    .waiters_per_lock_max = in->settings.waiters_per_lock_max,
                                    .locks_max = in->settings.locks_max,
                                    .holds_per_owner_max = in->settings.holds_per_owner_max,
                                    .record_ring_size = in->settings.record_ring_size,
                                    .sessions_max = in->settings.sessions_max,
                                    .session_window = in->settings.session_window};
    BODY(takeover, .settings = settings);
}

static void acquire_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(acquire, .key = key_to_log(in, arena), .body_hash = in->body_hash, .name = in->name,
         .mode = in->mode, .ttl_ms = in->ttl_ms, .wait = in->wait, .stamp = in->stamp,
         .seen = in->seen, .in = part_to_log(in, arena));
}

static void release_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(release, .key = key_to_log(in, arena), .body_hash = in->body_hash, .name = in->name,
         .hold = in->hold, .claim = in->claim, .stamp = in->stamp, .seen = in->seen,
         .in = part_to_log(in, arena));
}

static void renew_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(renew, .identity = in->key.identity, .owner = in->key.owner, .name = in->name,
         .hold = in->hold, .claim = in->claim, .ttl_ms = in->ttl_ms);
}

static void expire_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(expire, .name = in->name, .hold = in->hold, .basis = in->basis);
}

static void leave_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(leave, .name = in->name, .wait = in->wait_number);
}

static void abandon_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(abandon, .name = in->name, .hold = in->hold);
}

static void wait_timeout_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(wait_timeout, .name = in->name, .wait = in->wait_number);
}

static void cancel_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(cancel, .key = key_to_log(in, arena), .in = part_to_log(in, arena));
}

static void open_session_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(open_session, .key = key_to_log(in, arena), .body_hash = in->body_hash,
         .ttl_ms = in->ttl_ms, .secret = in->secret, .stamp = in->stamp, .seen = in->seen);
}

static void keep_alive_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(keep_alive, .identity = in->key.identity, .session = in->session, .secret = in->secret,
         .done_below = in->done_below);
}

static void close_session_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(close_session, .identity = in->key.identity, .session = in->session, .secret = in->secret);
}

static void expire_session_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    BODY(expire_session, .session = in->session, .basis = in->basis);
}

/* ---- from the wire --------------------------------------------------------------------------- */

/* A submessage that is missing leaves its fields empty, and the rules refuse what they need. */
static void key_from_log(const lm_log_request_key_t *key, lm_command_t *out)
{
    if (!key) return;
    out->key = (lm_request_key_t){
        .identity = key->identity, .owner = key->owner, .request_id = key->request_id};
}

static void part_from_log(const lm_log_session_part_t *part, lm_command_t *out)
{
    if (!part) return;
    out->session = part->session;
    out->secret = part->secret;
    out->request_number = part->request_number;
    out->done_below = part->done_below;
}

static void takeover_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    const lm_log_settings_t *settings = in->takeover->settings;
    if (!settings) return;
    out->settings = (lm_settings_t){.semantics = settings->semantics,
                                    .waiters_per_lock_max = settings->waiters_per_lock_max,
                                    .locks_max = settings->locks_max,
                                    .holds_per_owner_max = settings->holds_per_owner_max,
                                    .record_ring_size = settings->record_ring_size,
                                    .sessions_max = settings->sessions_max,
                                    .session_window = settings->session_window};
}

static void acquire_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    const lm_log_acquire_t *body = in->acquire;
    key_from_log(body->key, out);
    out->body_hash = body->body_hash;
    out->name = body->name;
    out->mode = (lm_mode_t)body->mode;
    out->ttl_ms = body->ttl_ms;
    out->wait = body->wait;
    out->stamp = body->stamp;
    out->seen = body->seen;
    part_from_log(body->in, out);
}

static void release_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    const lm_log_release_t *body = in->release;
    key_from_log(body->key, out);
    out->body_hash = body->body_hash;
    out->name = body->name;
    out->hold = body->hold;
    out->claim = body->claim;
    out->stamp = body->stamp;
    out->seen = body->seen;
    part_from_log(body->in, out);
}

static void renew_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->key.identity = in->renew->identity;
    out->key.owner = in->renew->owner;
    out->name = in->renew->name;
    out->hold = in->renew->hold;
    out->claim = in->renew->claim;
    out->ttl_ms = in->renew->ttl_ms;
}

static void expire_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->name = in->expire->name;
    out->hold = in->expire->hold;
    out->basis = in->expire->basis;
}

static void leave_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->name = in->leave->name;
    out->wait_number = in->leave->wait;
}

static void abandon_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->name = in->abandon->name;
    out->hold = in->abandon->hold;
}

static void wait_timeout_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->name = in->wait_timeout->name;
    out->wait_number = in->wait_timeout->wait;
}

static void cancel_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    key_from_log(in->cancel->key, out);
    part_from_log(in->cancel->in, out);
}

static void open_session_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    const lm_log_open_session_t *body = in->open_session;
    key_from_log(body->key, out);
    out->body_hash = body->body_hash;
    out->ttl_ms = body->ttl_ms;
    out->secret = body->secret;
    out->stamp = body->stamp;
    out->seen = body->seen;
}

static void keep_alive_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->key.identity = in->keep_alive->identity;
    out->session = in->keep_alive->session;
    out->secret = in->keep_alive->secret;
    out->done_below = in->keep_alive->done_below;
}

static void close_session_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->key.identity = in->close_session->identity;
    out->session = in->close_session->session;
    out->secret = in->close_session->secret;
}

static void expire_session_from_log(const lm_log_command_t *in, lm_command_t *out)
{
    out->session = in->expire_session->session;
    out->basis = in->expire_session->basis;
}

/* The numbers of the kinds are those of the oneof. */
static const struct {
    void (*to_log)(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena);
    void (*from_log)(const lm_log_command_t *in, lm_command_t *out);
} bodies[KINDS] = {
    [LM_COMMAND_TAKEOVER] = {takeover_to_log, takeover_from_log},
    [LM_COMMAND_ACQUIRE] = {acquire_to_log, acquire_from_log},
    [LM_COMMAND_RELEASE] = {release_to_log, release_from_log},
    [LM_COMMAND_RENEW] = {renew_to_log, renew_from_log},
    [LM_COMMAND_EXPIRE] = {expire_to_log, expire_from_log},
    [LM_COMMAND_LEAVE] = {leave_to_log, leave_from_log},
    [LM_COMMAND_ABANDON] = {abandon_to_log, abandon_from_log},
    [LM_COMMAND_WAIT_TIMEOUT] = {wait_timeout_to_log, wait_timeout_from_log},
    [LM_COMMAND_CANCEL] = {cancel_to_log, cancel_from_log},
    [LM_COMMAND_OPEN_SESSION] = {open_session_to_log, open_session_from_log},
    [LM_COMMAND_KEEP_ALIVE] = {keep_alive_to_log, keep_alive_from_log},
    [LM_COMMAND_CLOSE_SESSION] = {close_session_to_log, close_session_from_log},
    [LM_COMMAND_EXPIRE_SESSION] = {expire_session_to_log, expire_session_from_log},
};

/* ---- the frame ------------------------------------------------------------------------------- */

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static lm_bytes_t frame(lm_bytes_t batch, lm_arena_t *arena)
{
    size_t size = (FRAME_BYTES + batch.size + ALIGN - 1) / ALIGN * ALIGN;
    LM_CHECK(size <= LM_BATCH_BYTES_MAX, "entry of %zu bytes", size);
    uint8_t *entry = lm_arena_alloc(arena, size); /* zeroed: the padding too */
    memcpy(entry, frame_mark, sizeof frame_mark);
    put_u32(entry + 4, (uint32_t)batch.size);
    memcpy(entry + FRAME_BYTES, batch.data, batch.size);
    return lm_bytes(entry, size);
}

static lm_rc_t unframe(lm_bytes_t entry, lm_bytes_t *batch, lm_wire_error_t *error)
{
    if (entry.size > LM_BATCH_BYTES_MAX)
        return refuse(error, LM_RC_TOO_LARGE, "entry", "must be at most 1 MiB long");
    if (entry.size < FRAME_BYTES || entry.size % ALIGN != 0)
        return refuse(error, LM_RC_MALFORMED, "entry", "must be a multiple of 8 bytes long");
    if (memcmp(entry.data, frame_mark, sizeof frame_mark) != 0)
        return refuse(error, LM_RC_MALFORMED, "entry", "must begin with the mark of this format");
    size_t size = get_u32(entry.data + 4), room = entry.size - FRAME_BYTES;
    if (size > room || room - size >= ALIGN)
        return refuse(error, LM_RC_MALFORMED, "entry", "must be as long as its head says");
    for (size_t i = FRAME_BYTES + size; i < entry.size; i++)
        if (entry.data[i] != 0)
            return refuse(error, LM_RC_MALFORMED, "entry", "must end with zeros");
    *batch = lm_bytes(entry.data + FRAME_BYTES, size);
    return LM_RC_OK;
}

bool lm_wire_command_is_framed(lm_bytes_t entry)
{
    lm_bytes_t batch;
    lm_wire_error_t unwanted;
    return unframe(entry, &batch, &unwanted) == LM_RC_OK;
}

/* ---- both ways ------------------------------------------------------------------------------- */

static void command_to_log(const lm_command_t *in, lm_log_command_t *out, lm_arena_t *arena)
{
    lm_wire_error_t error;
    LM_CHECK(lm_wire_command_check(in, &error) == LM_RC_OK, "%s %s", error.field, error.rule);
    out->body_case = (int32_t)in->kind;
    BODY(pair, .term = in->pair.term, .boot_id = in->pair.boot_id, .counter = in->pair.counter);
    bodies[in->kind].to_log(in, out, arena);
}

size_t lm_wire_command_bytes_max(const lm_command_t *command)
{
    const lm_request_key_t *key = &command->key;
    return command->name.size + key->identity.size + key->owner.size + key->request_id.size +
           LM_COMMAND_BYTES_EXTRA;
}

lm_bytes_t lm_wire_command_encode(const lm_command_t *commands, size_t n, lm_arena_t *arena)
{
    LM_CHECK(n >= 1 && n <= LM_BATCH_COMMANDS_MAX, "%zu commands", n);
    lm_log_batch_t batch = {.version = BATCH_VERSION, .n_commands = n};
    batch.commands = lm_arena_alloc(arena, n * sizeof *batch.commands);
    for (size_t i = 0; i < n; i++) command_to_log(&commands[i], &batch.commands[i], arena);
    return frame(lm_wire_encode(&lm_log_batch_type, &batch, arena), arena);
}

static lm_rc_t command_from_log(const lm_log_command_t *in, lm_command_t *out,
                                lm_wire_error_t *error)
{
    if (in->body_case <= 0 || in->body_case >= KINDS || !bodies[in->body_case].from_log)
        return refuse(error, LM_RC_INVALID_ARGUMENT, "kind", "must be one that this build knows");
    out->kind = (lm_command_kind_t)in->body_case;
    if (in->pair)
        out->pair = (lm_pair_t){
            .term = in->pair->term, .boot_id = in->pair->boot_id, .counter = in->pair->counter};
    bodies[in->body_case].from_log(in, out);
    return lm_wire_command_check(out, error);
}

static lm_rc_t decode_batch(const lm_log_batch_t *batch, lm_arena_t *arena, lm_command_t **commands,
                            size_t *n, lm_wire_error_t *error)
{
    if (batch->version != BATCH_VERSION)
        return refuse(error, LM_RC_INVALID_ARGUMENT, "version", "must be 1");
    if (!within(batch->n_commands, 1, LM_BATCH_COMMANDS_MAX))
        return refuse(error, LM_RC_INVALID_ARGUMENT, "commands", "must be 1 to 4096");
    lm_command_t *list = lm_arena_alloc(arena, batch->n_commands * sizeof *list);
    for (size_t i = 0; i < batch->n_commands; i++) {
        lm_rc_t rc = command_from_log(&batch->commands[i], &list[i], error);
        if (rc != LM_RC_OK) return rc;
    }
    *commands = list;
    *n = batch->n_commands;
    return LM_RC_OK;
}

lm_rc_t lm_wire_command_decode(lm_bytes_t entry, lm_arena_t *arena, lm_command_t **commands,
                               size_t *n, lm_wire_error_t *error)
{
    lm_wire_error_t unwanted;
    if (!error) error = &unwanted;
    lm_bytes_t bytes;
    void *batch;
    lm_rc_t rc = unframe(entry, &bytes, error);
    if (rc == LM_RC_OK) rc = lm_wire_decode(&lm_log_batch_type, bytes, arena, &batch, error);
    if (rc == LM_RC_OK) rc = decode_batch(batch, arena, commands, n, error);
    return rc;
}
