#include "fuzz_story.h"

#include "base_limits.h"

/* ---- making ---------------------------------------------------------------------------------- */

static lm_bytes_t one_of(uint8_t which, const char *const *list, size_t n)
{
    return lm_bytes_of(list[which % n]);
}

static lm_bytes_t a_name(uint8_t which)
{
    static const char *const names[] = {"a", "a/b", "b", "a/b/c", "\xc3\xa9", "ab", "z", "a0"};
    return one_of(which, names, 8);
}

static lm_bytes_t an_owner(uint8_t which)
{
    static const char *const owners[] = {"o", "p", "q", "r"};
    return one_of(which, owners, 4);
}

static lm_bytes_t a_request(uint8_t which)
{
    static const char *const requests[] = {"1", "2", "3", "4", "5", "6", "7", "8",
                                           "9", "a", "b", "c", "d", "e", "f", "g"};
    return one_of(which, requests, 16);
}

/* A number near one that a grant or a wait may have. */
static uint64_t a_number(fuzz_input_t *in, const lm_table_t *table)
{
    uint8_t how = fuzz_u8(in);
    uint64_t now = lm_table_op_seq(table);
    if (how < 64) return how <= now ? now - how : how;
    if (how < 248) return how - 64u;
    return fuzz_number(in, 8);
}

/* The hold or wait of somebody on that lock, as often as there is one. */
static uint64_t a_seat(fuzz_input_t *in, const lm_table_t *table, lm_bytes_t name, bool wait)
{
    uint8_t how = fuzz_u8(in);
    const lm_record_t *record =
        lm_table_of_owner(table, name, lm_bytes("", 0), an_owner(how >> 4 & 3));
    if (how < 192 && record) return wait ? record->wait_number : record->seat.number;
    return a_number(in, table);
}

static lm_pair_t a_pair(fuzz_input_t *in, const lm_table_t *table)
{
    uint8_t how = fuzz_u8(in);
    lm_pair_t pair = lm_table_pair(table);
    if (how >= 192) pair.counter += how & 3;
    if (how >= 224) pair.boot_id += how & 4;
    if (how >= 240) pair.term += how & 8;
    if (pair.term == 0) pair.term = 1;
    return pair;
}

/* A session as often as there is one, and what it takes to use it. */
static void a_session(fuzz_input_t *in, const lm_table_t *table, lm_command_t *c)
{
    static const uint8_t drawn[LM_SESSION_SECRET_BYTES] = "0123456789abcde";
    uint8_t how = fuzz_u8(in);
    c->secret = lm_bytes(drawn, sizeof drawn);
    c->key.identity = lm_bytes("", 0);
    if (c->kind == LM_COMMAND_OPEN_SESSION) return;
    const lm_session_t *one = lm_table_sessions(table);
    for (uint8_t skip = how & 3; skip && one && lm_session_newer(one); skip--)
        one = lm_session_newer(one);
    c->session = 1 + (how & 15);
    if (!one) return;
    lm_session_info_t info = lm_session_info(one);
    c->session = info.number + (how == 255);
    c->basis = info.basis - (how == 254);
    c->key.identity = lm_bytes(info.key.identity.data, how == 253 ? 0 : info.key.identity.size);
    c->done_below = how & 64 ? info.done_below + (how >> 4 & 3) : 0;
    c->request_number = 1 + info.done_below + (how >> 2 & 3) - (how & 32 ? 1 : 0);
}

/* Makes it a command in a session. */
static void go_in(fuzz_input_t *in, const lm_table_t *table, lm_command_t *c)
{
    a_session(in, table, c);
    c->key.owner = lm_bytes("", 0);
    if (c->body_hash || !c->request_number)
        c->request_number = 0;
    else
        c->key.request_id = lm_bytes("", 0);
    if (c->kind == LM_COMMAND_ACQUIRE) c->ttl_ms = 0;
}

static lm_settings_t some_settings(fuzz_input_t *in)
{
    lm_settings_t settings = lm_settings_default();
    uint8_t how = fuzz_u8(in);
    if (how & 1) settings.waiters_per_lock_max = 1 + fuzz_u8(in) % 4;
    if (how & 2) settings.locks_max = 1 + fuzz_u8(in) % 4;
    if (how & 4) settings.holds_per_owner_max = 1 + fuzz_u8(in) % 4;
    if (how & 8) settings.record_ring_size = 1 + fuzz_u8(in) % 16;
    if (how & 16) settings.sessions_max = 1 + fuzz_u8(in) % 4;
    if (how & 32) settings.session_window = 1 + fuzz_u8(in) % 4;
    return settings;
}

lm_command_t fuzz_story_command(fuzz_input_t *in, const lm_table_t *table)
{
    static const lm_command_kind_t kinds[] = {
        LM_COMMAND_ACQUIRE, LM_COMMAND_RELEASE, LM_COMMAND_RENEW,   LM_COMMAND_EXPIRE,
        LM_COMMAND_LEAVE,   LM_COMMAND_ABANDON, LM_COMMAND_CANCEL,  LM_COMMAND_WAIT_TIMEOUT,
        LM_COMMAND_ACQUIRE, LM_COMMAND_ACQUIRE, LM_COMMAND_RELEASE, LM_COMMAND_TAKEOVER,
    };
    static const lm_command_kind_t about_sessions[] = {
        LM_COMMAND_OPEN_SESSION, LM_COMMAND_KEEP_ALIVE, LM_COMMAND_CLOSE_SESSION,
        LM_COMMAND_EXPIRE_SESSION};
    uint8_t kind = fuzz_u8(in), what = fuzz_u8(in), who = fuzz_u8(in);
    bool about = kind >= 240, in_one = kind >= 192 && !about;
    lm_command_t c = {.kind = about ? about_sessions[kind % 4] : kinds[kind % 12],
                      .key.owner = an_owner(who),
                      .key.request_id = a_request(who >> 2),
                      .name = a_name(what)};
    bool keyed = c.kind == LM_COMMAND_ACQUIRE || c.kind == LM_COMMAND_RELEASE ||
                 c.kind == LM_COMMAND_OPEN_SESSION;
    bool may = c.kind == LM_COMMAND_CANCEL || (keyed && !about);
    c.mode = what & 8 ? LM_MODE_SHARED : LM_MODE_EXCLUSIVE;
    c.wait = what & 16;
    c.body_hash = what >> 7;
    c.ttl_ms = 1 + (what >> 5 & 3) * 1000;
    if (keyed) c.stamp = lm_table_op_seq(table);
    if (keyed && what & 128) c.stamp = a_number(in, table);
    if (keyed && (who & 192) == 192) c.seen = true;
    if (c.kind == LM_COMMAND_TAKEOVER) c.settings = some_settings(in);
    if (c.kind != LM_COMMAND_ACQUIRE && c.kind != LM_COMMAND_CANCEL) {
        c.pair = a_pair(in, table);
        c.hold = a_seat(in, table, c.name, false);
        c.wait_number = a_seat(in, table, c.name, true);
        c.claim = fuzz_u8(in) % 4;
        c.basis = c.claim & 1 ? a_number(in, table) : c.hold;
    }
    if (about) a_session(in, table, &c);
    if (in_one && may) go_in(in, table, &c);
    return c;
}

/* ---- applying -------------------------------------------------------------------------------- */

static void read_record(const lm_record_t *record)
{
    lm_request_key_t key = lm_record_key(record);
    LM_CHECK(key.owner.size && key.owner.size <= LM_OWNER_BYTES_MAX, "owner of %zu bytes",
             key.owner.size);
    LM_CHECK(record->state >= LM_RECORD_WAITING && record->state <= LM_RECORD_OPEN, "state %d",
             (int)record->state);
}

static void read_effect(const lm_effect_t *effect)
{
    LM_CHECK(lm_bytes_hash(effect->name, 1) != 0, "a hash of 0");
    lm_bytes_hash(effect->key.owner, lm_bytes_hash(effect->key.request_id, 1));
    if (effect->record) read_record(effect->record);
}

void fuzz_story_apply(lm_table_t *table, const lm_command_t *command)
{
    uint64_t before = lm_table_op_seq(table);
    lm_effects_t effects = lm_table_apply(table, command);
    LM_CHECK(effects.n > 0 && effects.items[0].kind <= LM_EFFECT_DONE, "no answer");
    LM_CHECK(lm_table_op_seq(table) > before, "op_seq stands still");
    for (size_t i = 0; i < effects.n; i++) {
        LM_CHECK(i == 0 || effects.items[i].kind > LM_EFFECT_DONE, "two answers");
        read_effect(&effects.items[i]);
    }
    const lm_record_t *record = lm_table_find(table, &command->key);
    if (record) read_record(record);
    if (command->name.size) lm_table_lock(table, command->name);
}
