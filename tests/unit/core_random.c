#include "core_random.h"

#include <stdio.h>

lm_core_random_t lm_core_random_new(uint64_t seed)
{
    return (lm_core_random_t){
        .state = seed, .names = 6, .owners = 6, .requests = 40, .ring_max = 60, .term = 0};
}

uint64_t lm_core_random_next(lm_core_random_t *random)
{
    uint64_t x = random->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint32_t lm_core_random_below(lm_core_random_t *random, uint32_t bound)
{
    return (uint32_t)((lm_core_random_next(random) >> 32) * bound >> 32);
}

static bool one_in(lm_core_random_t *random, uint32_t n)
{
    return lm_core_random_below(random, n) == 0;
}

static lm_bytes_t text(lm_core_random_t *random, int slot, const char *word, uint32_t bound)
{
    char *at = random->texts[slot];
    snprintf(at, sizeof random->texts[slot], "%s%u", word, lm_core_random_below(random, bound));
    return lm_bytes_of(at);
}

static void pick_name(lm_core_random_t *random, lm_command_t *command)
{
    command->name = text(random, 0, "lock/", random->names);
}

static void pick_key(lm_core_random_t *random, lm_command_t *command)
{
    command->key.owner = text(random, 1, "owner-", random->owners);
    if (one_in(random, 5)) command->key.identity = text(random, 2, "id-", 2);
    command->key.request_id = text(random, 3, "", random->requests);
}

/** A seat of the command's lock, of its holders or of its waiters; NULL if there is none. */
static const lm_record_t *pick_seat(lm_core_random_t *random, const lm_table_t *table,
                                    const lm_command_t *command, bool holder)
{
    const lm_entry_t *lock = lm_table_lock(table, command->name);
    if (!lock) return NULL;
    const lm_seat_t *seat = holder ? lm_entry_holders(lock) : lm_entry_waiters(lock);
    uint32_t skip = lm_core_random_below(random, 3);
    while (seat && skip-- && lm_seat_next(seat)) seat = lm_seat_next(seat);
    return seat ? lm_record_of(seat) : NULL;
}

static void pick_hold(lm_core_random_t *random, const lm_table_t *table, lm_command_t *command)
{
    const lm_record_t *record = pick_seat(random, table, command, true);
    if (!record) return;
    command->hold = record->seat.number - (one_in(random, 12) ? 1 : 0);
    command->claim = record->claim + (one_in(random, 12) ? 1 : 0);
    command->basis = record->basis - (one_in(random, 12) ? 1 : 0);
    if (one_in(random, 12) || lm_record_session(record)) return;
    lm_request_key_t key = lm_record_key(record);
    command->key.identity = key.identity;
    command->key.owner = key.owner;
}

static void pick_wait(lm_core_random_t *random, const lm_table_t *table, lm_command_t *command)
{
    const lm_record_t *record = pick_seat(random, table, command, false);
    if (record) command->wait_number = record->wait_number + (one_in(random, 12) ? 1 : 0);
}

static void pick_takeover(lm_core_random_t *random, lm_command_t *command)
{
    command->pair.term = ++random->term;
    if (one_in(random, 4)) command->pair.term = 1 + lm_core_random_below(random, 3);
    command->settings = (lm_settings_t){
        .semantics = 1,
        .waiters_per_lock_max = 1 + lm_core_random_below(random, 30),
        .locks_max = 1 + lm_core_random_below(random, random->names * 2),
        .holds_per_owner_max = 1 + lm_core_random_below(random, random->names * 2),
        .record_ring_size = 1 + lm_core_random_below(random, random->ring_max),
        .sessions_max = 1 + lm_core_random_below(random, 8),
        .session_window = 1 + lm_core_random_below(random, 8),
    };
}

static void pick_copy(lm_core_random_t *random, const lm_table_t *table, lm_command_t *command)
{
    uint64_t now = lm_table_op_seq(table);
    uint64_t age = lm_core_random_below(random, one_in(random, 4) ? 300 : 5);
    command->stamp = now > age ? now - age : 0;
    command->body_hash = one_in(random, 10);
    command->seen = one_in(random, 30);
}

/* ---- sessions -------------------------------------------------------------------------------- */

/** One of the sessions; NULL if there is none. */
static const lm_session_t *pick_session(lm_core_random_t *random, const lm_table_t *table,
                                        const lm_command_t *command)
{
    const lm_record_t *hold = lm_table_hold(table, command->hold);
    if (hold && lm_record_session(hold) && !one_in(random, 12))
        return lm_table_session(table, lm_record_session(hold));
    const lm_session_t *session = lm_table_sessions(table);
    uint32_t skip = lm_core_random_below(random, 6);
    while (session && skip-- && lm_session_newer(session)) session = lm_session_newer(session);
    return session;
}

/** Names a session and what it takes to use it, spoiled now and then. */
static void name_session(lm_core_random_t *random, const lm_table_t *table, lm_command_t *command)
{
    for (size_t i = 0; i < sizeof random->secret; i++)
        random->secret[i] = (uint8_t)lm_core_random_next(random);
    command->secret = lm_bytes(random->secret, sizeof random->secret);
    if (command->kind == LM_COMMAND_OPEN_SESSION) return;
    const lm_session_t *session = pick_session(random, table, command);
    command->session = 1 + lm_core_random_below(random, 1000);
    if (!session) return;
    lm_session_info_t info = lm_session_info(session);
    command->session = info.number;
    command->key.identity = info.key.identity;
    command->basis = info.basis - (one_in(random, 12) ? 1 : 0);
    uint64_t below = info.done_below;
    command->done_below = one_in(random, 3) ? below + lm_core_random_below(random, 4) : 0;
    command->request_number = 1 + below + lm_core_random_below(random, 12);
    if (one_in(random, 12)) command->request_number = 1 + lm_core_random_below(random, 20);
    if (!one_in(random, 20)) memcpy(random->secret, info.secret.data, info.secret.size);
}

static bool is_about_session(const lm_command_t *command)
{
    return command->kind >= LM_COMMAND_OPEN_SESSION;
}

static void pick_in_session(lm_core_random_t *random, const lm_table_t *table,
                            lm_command_t *command)
{
    bool may = command->kind == LM_COMMAND_ACQUIRE || command->kind == LM_COMMAND_RELEASE ||
               command->kind == LM_COMMAND_CANCEL;
    if (!is_about_session(command) && (!may || one_in(random, 2))) return;
    name_session(random, table, command);
    if (is_about_session(command)) return;
    command->key.owner = lm_bytes(NULL, 0);
    if (!command->request_number || one_in(random, 4))
        command->request_number = 0;
    else
        command->key.request_id = lm_bytes(NULL, 0);
    if (command->kind == LM_COMMAND_ACQUIRE) command->ttl_ms = 0;
}

/* How often each kind comes, of 100. */
static const struct {
    lm_command_kind_t kind;
    uint32_t until;
} kinds[] = {
    {LM_COMMAND_ACQUIRE, 43},    {LM_COMMAND_RELEASE, 60},       {LM_COMMAND_RENEW, 64},
    {LM_COMMAND_EXPIRE, 71},     {LM_COMMAND_LEAVE, 75},         {LM_COMMAND_ABANDON, 79},
    {LM_COMMAND_CANCEL, 84},     {LM_COMMAND_WAIT_TIMEOUT, 88},  {LM_COMMAND_OPEN_SESSION, 93},
    {LM_COMMAND_KEEP_ALIVE, 96}, {LM_COMMAND_CLOSE_SESSION, 97}, {LM_COMMAND_EXPIRE_SESSION, 98},
    {LM_COMMAND_TAKEOVER, 100},
};

lm_command_t lm_core_random_command(lm_core_random_t *random, const lm_table_t *table)
{
    uint32_t draw = lm_core_random_below(random, 100), row = 0;
    while (draw >= kinds[row].until) row++;
    lm_command_t command = {.kind = kinds[row].kind, .pair = lm_table_pair(table)};
    if (command.pair.term == 0 || one_in(random, 20)) command.pair.term++;
    pick_name(random, &command);
    pick_key(random, &command);
    pick_copy(random, table, &command);
    command.mode = one_in(random, 2) ? LM_MODE_SHARED : LM_MODE_EXCLUSIVE;
    command.ttl_ms = 1 + lm_core_random_below(random, 60000);
    command.wait = !one_in(random, 4);
    pick_hold(random, table, &command);
    pick_wait(random, table, &command);
    pick_in_session(random, table, &command);
    if (command.kind == LM_COMMAND_TAKEOVER) pick_takeover(random, &command);
    return command;
}
