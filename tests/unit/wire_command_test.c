/* Commands as log entries: round trips, limits, damage. */
#include "wire_command.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_limits.h"
#include "core_random.h"

static lm_arena_t *arena;

static void set_up(void) { arena = lm_arena_new(); }
static void tear_down(void) { lm_arena_destroy(&arena); }

TestSuite(wire_command, .init = set_up, .fini = tear_down);

static lm_command_t acquire(void)
{
    return (lm_command_t){
        .kind = LM_COMMAND_ACQUIRE,
        .pair = {.term = 3, .boot_id = UINT64_MAX, .counter = 7},
        .key = {lm_bytes_of("cn=client"), lm_bytes_of("owner\xc3\xa9"), lm_bytes_of("r-1")},
        .body_hash = UINT64_C(0x8877665544332211),
        .name = lm_bytes_of("a/b"),
        .mode = LM_MODE_SHARED,
        .ttl_ms = 30000,
        .wait = true,
        .stamp = UINT64_C(1) << 47,
        .seen = true,
    };
}

static lm_command_t takeover(void)
{
    lm_command_t command = {.kind = LM_COMMAND_TAKEOVER, .pair = {.term = 1}};
    command.settings = lm_settings_default();
    return command;
}

/** A text of so many bytes. */
static lm_bytes_t text_of(size_t size)
{
    uint8_t *text = lm_arena_alloc(arena, size);
    memset(text, 'x', size);
    return lm_bytes(text, size);
}

static lm_rc_t decode(lm_bytes_t entry, lm_wire_error_t *error)
{
    lm_command_t *commands;
    size_t n;
    return lm_wire_command_decode(entry, arena, &commands, &n, error);
}

static const uint8_t secret_bytes[LM_SESSION_SECRET_BYTES] = {0, 255, 7};

/** That command, made in a session. */
static lm_command_t in_session(lm_command_t command)
{
    command.session = UINT64_C(1) << 47;
    command.secret = lm_bytes(secret_bytes, sizeof secret_bytes);
    command.request_number = 9;
    command.done_below = 8;
    command.key.owner = command.key.request_id = lm_bytes(NULL, 0);
    if (command.kind == LM_COMMAND_ACQUIRE) command.ttl_ms = 0;
    return command;
}

static void assert_equal(const lm_command_t *a, const lm_command_t *b)
{
    cr_assert_eq(a->kind, b->kind);
    cr_assert_eq(lm_pair_compare(a->pair, b->pair), 0);
    cr_assert(lm_bytes_equal(a->key.identity, b->key.identity));
    cr_assert(lm_bytes_equal(a->key.owner, b->key.owner));
    cr_assert(lm_bytes_equal(a->key.request_id, b->key.request_id));
    cr_assert(lm_bytes_equal(a->name, b->name));
    cr_assert_eq(a->body_hash, b->body_hash);
    cr_assert_eq(a->mode, b->mode);
    cr_assert_eq(a->ttl_ms, b->ttl_ms);
    cr_assert_eq(a->wait, b->wait);
    cr_assert_eq(a->stamp, b->stamp);
    cr_assert_eq(a->seen, b->seen);
    cr_assert_eq(a->hold, b->hold);
    cr_assert_eq(a->claim, b->claim);
    cr_assert_eq(a->basis, b->basis);
    cr_assert_eq(a->wait_number, b->wait_number);
    cr_assert_eq(a->session, b->session);
    cr_assert(lm_bytes_equal(a->secret, b->secret));
    cr_assert_eq(a->request_number, b->request_number);
    cr_assert_eq(a->done_below, b->done_below);
    cr_assert_eq(memcmp(&a->settings, &b->settings, sizeof a->settings), 0);
}

static void assert_round_trip(const lm_command_t *list, size_t n)
{
    lm_bytes_t entry = lm_wire_command_encode(list, n, arena);
    cr_assert_eq(entry.size % 8, 0);
    lm_command_t *decoded;
    size_t n_decoded;
    cr_assert_eq(lm_wire_command_decode(entry, arena, &decoded, &n_decoded, NULL), LM_RC_OK);
    cr_assert_eq(n_decoded, n);
    for (size_t i = 0; i < n; i++) assert_equal(&list[i], &decoded[i]);
}

Test(wire_command, every_kind_comes_back_as_it_was)
{
    lm_request_key_t key = acquire().key;
    lm_bytes_t name = lm_bytes_of("a");
    lm_pair_t pair = {.term = 9, .boot_id = 8, .counter = 7};
    lm_bytes_t secret = lm_bytes(secret_bytes, sizeof secret_bytes);
    const lm_command_t all[] = {
        takeover(),
        acquire(),
        {.kind = LM_COMMAND_RELEASE,
         .key = key,
         .name = name,
         .body_hash = 5,
         .hold = UINT64_MAX,
         .claim = 2,
         .stamp = 4,
         .seen = true},
        {.kind = LM_COMMAND_RENEW,
         .key = {key.identity, key.owner, {0}},
         .name = name,
         .hold = 1,
         .claim = 2,
         .ttl_ms = LM_TTL_MS_MAX},
        {.kind = LM_COMMAND_EXPIRE, .pair = pair, .name = name, .hold = 1, .basis = 2},
        {.kind = LM_COMMAND_LEAVE, .pair = pair, .name = name, .wait_number = 3},
        {.kind = LM_COMMAND_ABANDON, .pair = pair, .name = name, .hold = 4},
        {.kind = LM_COMMAND_WAIT_TIMEOUT, .pair = pair, .name = name, .wait_number = 5},
        {.kind = LM_COMMAND_CANCEL, .key = key},
        in_session(acquire()),
        in_session((lm_command_t){.kind = LM_COMMAND_RELEASE, .name = name, .hold = 3}),
        in_session((lm_command_t){.kind = LM_COMMAND_CANCEL}),
        {.kind = LM_COMMAND_OPEN_SESSION,
         .key = key,
         .body_hash = 5,
         .ttl_ms = LM_TTL_MS_MAX,
         .secret = secret,
         .stamp = 4,
         .seen = true},
        {.kind = LM_COMMAND_KEEP_ALIVE,
         .key.identity = key.identity,
         .session = 1,
         .secret = secret,
         .done_below = UINT64_MAX},
        {.kind = LM_COMMAND_CLOSE_SESSION,
         .key.identity = key.identity,
         .session = UINT64_MAX,
         .secret = secret},
        {.kind = LM_COMMAND_EXPIRE_SESSION, .pair = pair, .session = 2, .basis = 3},
    };
    size_t n = sizeof all / sizeof *all;
    for (size_t i = 0; i < n; i++) assert_round_trip(&all[i], 1);
    assert_round_trip(all, n);
}

Test(wire_command, random_batches_decode_and_encode_to_the_same_bytes)
{
    lm_table_t *table = lm_table_new(0);
    lm_core_random_t random = lm_core_random_new(1);
    for (int i = 0; i < 5000; i++) {
        lm_command_t command = lm_core_random_command(&random, table), *decoded;
        size_t n;
        lm_bytes_t entry = lm_wire_command_encode(&command, 1, arena);
        cr_assert_eq(lm_wire_command_decode(entry, arena, &decoded, &n, NULL), LM_RC_OK);
        cr_assert(lm_bytes_equal(lm_wire_command_encode(decoded, n, arena), entry));
        cr_assert_leq(entry.size, lm_wire_command_bytes_max(decoded));
        lm_table_apply(table, decoded);
        if (i % 256 == 0) lm_arena_reset(arena);
    }
    lm_table_destroy(&table);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void assert_rule(const lm_command_t *command, const char *field)
{
    lm_wire_error_t error = {.field = "", .rule = ""};
    lm_rc_t rc = lm_wire_command_check(command, &error);
    cr_assert_eq(rc, field ? LM_RC_INVALID_ARGUMENT : LM_RC_OK, "%s %s", error.field, error.rule);
    if (field) cr_assert_str_eq(error.field, field);
}

Test(wire_command, texts_at_their_limits_and_one_beyond)
{
    lm_command_t command = acquire();
    const struct {
        lm_bytes_t *text;
        const char *field;
        size_t min, max;
    } rows[] = {
        {&command.name, "name", 1, LM_NAME_BYTES_MAX},
        {&command.key.owner, "owner", 1, LM_OWNER_BYTES_MAX},
        {&command.key.request_id, "request_id", 1, LM_REQUEST_ID_BYTES_MAX},
        {&command.key.identity, "identity", 0, LM_IDENTITY_BYTES_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lm_bytes_t good = *rows[i].text;
        *rows[i].text = text_of(rows[i].max);
        assert_rule(&command, NULL);
        assert_round_trip(&command, 1);
        *rows[i].text = text_of(rows[i].max + 1);
        assert_rule(&command, rows[i].field);
        *rows[i].text = lm_bytes(NULL, 0);
        assert_rule(&command, rows[i].min ? rows[i].field : NULL);
        *rows[i].text = lm_bytes("a\0b", 3);
        assert_rule(&command, rows[i].field);
        *rows[i].text = lm_bytes_of("\xc0\x80");
        assert_rule(&command, rows[i].field);
        *rows[i].text = good;
    }
}

Test(wire_command, numbers_at_their_limits_and_one_beyond)
{
    lm_command_t command = acquire();
    command.mode = (lm_mode_t)3;
    assert_rule(&command, "mode");
    command.mode = LM_MODE_NONE;
    assert_rule(&command, "mode");
    command = acquire();
    command.ttl_ms = 0;
    assert_rule(&command, "ttl_ms");
    command.ttl_ms = LM_TTL_MS_MAX;
    assert_rule(&command, NULL);
    command.ttl_ms++;
    assert_rule(&command, "ttl_ms");
    command.kind = LM_COMMAND_RENEW;
    assert_rule(&command, "ttl_ms");
    command.ttl_ms = 0;
    assert_rule(&command, NULL);
}

Test(wire_command, kinds_and_pairs)
{
    const uint32_t unknown[] = {0, 1, 15, 16, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        lm_command_t command = acquire();
        command.kind = (lm_command_kind_t)unknown[i];
        assert_rule(&command, "kind");
    }
    const lm_command_kind_t verdicts[] = {LM_COMMAND_TAKEOVER,     LM_COMMAND_EXPIRE,
                                          LM_COMMAND_LEAVE,        LM_COMMAND_ABANDON,
                                          LM_COMMAND_WAIT_TIMEOUT, LM_COMMAND_EXPIRE_SESSION};
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        lm_command_t command = acquire();
        command.kind = verdicts[i];
        command.pair.term = 0;
        assert_rule(&command, "pair");
    }
}

Test(wire_command, s4_settings_of_a_takeover)
{
    lm_command_t command = takeover();
    struct {
        uint32_t *value;
        const char *field;
        uint32_t max;
    } rows[] = {
        {&command.settings.semantics, "semantics", LM_SEMANTICS_LEVEL},
        {&command.settings.waiters_per_lock_max, "waiters_per_lock_max", LM_WAITERS_PER_LOCK_MAX},
        {&command.settings.locks_max, "locks_max", LM_LOCKS_MAX},
        {&command.settings.holds_per_owner_max, "holds_per_owner_max", LM_HOLDS_PER_OWNER_MAX},
        {&command.settings.record_ring_size, "record_ring_size", LM_RECORD_RING_MAX},
        {&command.settings.sessions_max, "sessions_max", LM_SESSIONS_MAX},
        {&command.settings.session_window, "session_window", LM_SESSION_WINDOW_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t good = *rows[i].value;
        *rows[i].value = rows[i].max;
        assert_rule(&command, NULL);
        *rows[i].value = rows[i].max + 1;
        assert_rule(&command, rows[i].field);
        *rows[i].value = 0;
        assert_rule(&command, rows[i].field);
        *rows[i].value = good;
    }
}

Test(wire_command, the_largest_batch_fits_and_one_command_more_is_refused)
{
    lm_command_t *list = calloc(LM_BATCH_COMMANDS_MAX, sizeof *list);
    for (size_t i = 0; i < LM_BATCH_COMMANDS_MAX; i++) list[i] = acquire();
    lm_bytes_t entry = lm_wire_command_encode(list, LM_BATCH_COMMANDS_MAX, arena);
    cr_assert_eq(decode(entry, NULL), LM_RC_OK);
    free(list);
    /* The batch of two is the batch of one twice: so is one of 4097. */
    lm_command_t one = {.kind = LM_COMMAND_CANCEL,
                        .key = {{0}, lm_bytes_of("o"), lm_bytes_of("1")}};
    lm_bytes_t small = lm_wire_command_encode(&one, 1, arena);
    size_t version = 2, command = small.data[4] - version, n = LM_BATCH_COMMANDS_MAX + 1;
    size_t size = (8 + version + n * command + 7) / 8 * 8;
    uint8_t *bytes = lm_arena_alloc(arena, size);
    memcpy(bytes, small.data, 8 + version);
    for (size_t i = 0; i < n; i++)
        memcpy(bytes + 8 + version + i * command, small.data + 8 + version, command);
    size_t batch = version + n * command;
    for (int i = 0; i < 4; i++) bytes[4 + i] = (uint8_t)(batch >> (8 * i));
    lm_wire_error_t error;
    cr_assert_eq(decode(lm_bytes(bytes, size), &error), LM_RC_INVALID_ARGUMENT);
    cr_assert_str_eq(error.field, "commands");
}

enum { KINDS = LM_COMMAND_EXPIRE_SESSION - LM_COMMAND_TAKEOVER + 1 };

Test(wire_command, s12c_what_a_command_in_a_session_must_have)
{
    lm_command_t good = in_session(acquire()), command = good;
    assert_rule(&command, NULL);
    command.ttl_ms = 1;
    assert_rule(&command, "ttl_ms");
    command = good;
    command.key.owner = lm_bytes_of("o");
    assert_rule(&command, "owner");
    command = good;
    command.key.request_id = lm_bytes_of("1");
    assert_rule(&command, "request_id");
    command.request_number = 0;
    assert_rule(&command, NULL);
    command.key.request_id.size = 0;
    assert_rule(&command, "request_id");
    command = good;
    command.secret.size--;
    assert_rule(&command, "secret");
    command = good;
    command.session = 0;
    assert_rule(&command, "session");
    command.kind = LM_COMMAND_KEEP_ALIVE;
    assert_rule(&command, "session");
    command.session = 1;
    assert_rule(&command, NULL);
    command.secret.size = 0;
    assert_rule(&command, "secret");
    command.kind = LM_COMMAND_OPEN_SESSION;
    command.key = acquire().key;
    assert_rule(&command, "secret");
    command.secret = good.secret;
    assert_rule(&command, "ttl_ms");
    command.ttl_ms = 1;
    assert_rule(&command, NULL);
}

Test(wire_command, worst_commands_stay_within_their_bound)
{
    lm_command_t command = acquire();
    command.name = text_of(LM_NAME_BYTES_MAX);
    command.key = (lm_request_key_t){text_of(LM_IDENTITY_BYTES_MAX), text_of(LM_OWNER_BYTES_MAX),
                                     text_of(LM_REQUEST_ID_BYTES_MAX)};
    command.pair = (lm_pair_t){UINT64_MAX, UINT64_MAX, UINT32_MAX};
    command.ttl_ms = LM_TTL_MS_MAX;
    command.stamp = command.hold = command.claim = command.basis = UINT64_MAX;
    command.wait_number = UINT64_MAX;
    command.settings = (lm_settings_t){
        LM_SEMANTICS_LEVEL, LM_WAITERS_PER_LOCK_MAX, LM_LOCKS_MAX,         LM_HOLDS_PER_OWNER_MAX,
        LM_RECORD_RING_MAX, LM_SESSIONS_MAX,         LM_SESSION_WINDOW_MAX};
    for (uint32_t i = 0; i < 2 * KINDS; i++) {
        command.kind = (lm_command_kind_t)(LM_COMMAND_TAKEOVER + i % KINDS);
        if (i >= KINDS) command.key.owner = lm_bytes(NULL, 0);
        bool in = i >= KINDS || command.kind >= LM_COMMAND_OPEN_SESSION;
        command.session = command.done_below = in ? UINT64_MAX : 0;
        command.secret = lm_bytes(secret_bytes, in ? sizeof secret_bytes : 0);
        command.ttl_ms = i == KINDS + LM_COMMAND_ACQUIRE - LM_COMMAND_TAKEOVER ? 0 : LM_TTL_MS_MAX;
        bool needs_owner =
            command.kind == LM_COMMAND_OPEN_SESSION || command.kind == LM_COMMAND_RENEW;
        if (i >= KINDS && needs_owner) continue;
        lm_bytes_t entry = lm_wire_command_encode(&command, 1, arena);
        cr_assert_leq(entry.size, lm_wire_command_bytes_max(&command));
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void assert_refused(lm_bytes_t entry, lm_rc_t expected)
{
    lm_wire_error_t error = {0};
    cr_assert_eq(decode(entry, &error), expected);
    cr_assert(error.field && error.rule && error.rule[0]);
}

Test(wire_command, damaged_frames_are_refused)
{
    lm_command_t command = acquire();
    lm_bytes_t good = lm_wire_command_encode(&command, 1, arena);
    assert_refused(lm_bytes(NULL, 0), LM_RC_MALFORMED);
    assert_refused(lm_bytes(good.data, 7), LM_RC_MALFORMED);
    assert_refused(lm_bytes(good.data, good.size - 8), LM_RC_MALFORMED);
    assert_refused(lm_bytes(good.data, good.size - 1), LM_RC_MALFORMED);
    uint8_t *bad = lm_arena_alloc(arena, good.size + 8);
    memcpy(bad, good.data, good.size);
    assert_refused(lm_bytes(bad, good.size + 8), LM_RC_MALFORMED);
    for (size_t i = 0; i < 8; i++) { /* the mark, the format and the size */
        bad[i] ^= 0x40;
        assert_refused(lm_bytes(bad, good.size), LM_RC_MALFORMED);
        bad[i] ^= 0x40;
    }
    size_t big = LM_BATCH_BYTES_MAX + 8;
    assert_refused(lm_bytes(lm_arena_alloc(arena, big), big), LM_RC_TOO_LARGE);
}

Test(wire_command, padding_must_be_zeros)
{
    lm_command_t command = {.kind = LM_COMMAND_CANCEL, .key = acquire().key};
    for (size_t extra = 1; extra <= 8; extra++) { /* one of these lengths leaves padding */
        command.key.request_id = text_of(extra);
        lm_bytes_t good = lm_wire_command_encode(&command, 1, arena);
        if (8U + good.data[4] == good.size) continue;
        uint8_t *bad = (uint8_t *)(uintptr_t)lm_arena_copy(arena, good).data;
        bad[good.size - 1] = 1;
        assert_refused(lm_bytes(bad, good.size), LM_RC_MALFORMED);
    }
}

Test(wire_command, an_empty_entry_and_an_unknown_version_are_refused)
{
    const uint8_t empty[8] = {'L', 'M', 'L', 1};
    assert_refused(lm_bytes(empty, 8), LM_RC_INVALID_ARGUMENT);
    lm_command_t command = acquire();
    uint8_t *bytes = (uint8_t *)(uintptr_t)lm_wire_command_encode(&command, 1, arena).data;
    cr_assert_eq(bytes[8], 0x08, "the batch begins with its version");
    bytes[9] = 2;
    assert_refused(lm_bytes(bytes, (8U + bytes[4] + 7) / 8 * 8), LM_RC_INVALID_ARGUMENT);
}

/* Whatever bytes come: a refusal with a reason, or commands that can be applied and encoded
 * again. */
static void survive(lm_bytes_t entry, lm_table_t *table)
{
    lm_command_t *commands;
    size_t n;
    lm_wire_error_t error = {0};
    lm_rc_t rc = lm_wire_command_decode(entry, arena, &commands, &n, &error);
    if (rc != LM_RC_OK) {
        cr_assert(error.rule != NULL);
        return;
    }
    for (size_t i = 0; i < n; i++) lm_table_apply(table, &commands[i]);
    cr_assert_gt(lm_wire_command_encode(commands, n, arena).size, 0);
}

Test(wire_command, random_damage_never_gets_through_as_something_that_cannot_be_applied)
{
    lm_table_t *table = lm_table_new(0);
    lm_core_random_t random = lm_core_random_new(2);
    for (int i = 0; i < 20000; i++) {
        lm_command_t list[3];
        lm_core_random_t texts[3];
        size_t n = 1 + lm_core_random_below(&random, 3);
        for (size_t k = 0; k < n; k++) {
            texts[k] = lm_core_random_new(lm_core_random_next(&random));
            list[k] = lm_core_random_command(&texts[k], table);
        }
        lm_bytes_t entry = lm_wire_command_encode(list, n, arena);
        uint8_t *bytes = (uint8_t *)(uintptr_t)entry.data;
        for (uint32_t flips = 1 + lm_core_random_below(&random, 4); flips > 0; flips--) {
            size_t at = 8 + lm_core_random_below(&random, (uint32_t)entry.size - 8);
            bytes[at] ^= (uint8_t)(1 << lm_core_random_below(&random, 8));
        }
        survive(entry, table);
        if (i % 256 == 0) lm_arena_reset(arena);
    }
    lm_table_verify(table);
    lm_table_destroy(&table);
}
