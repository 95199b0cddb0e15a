/* Sessions of the state machine: leases, secrets, request numbers, the end of all they have. */
#include <criterion/criterion.h>

#include "base_limits.h"
#include "core_image.h"
#include "core_state.h"

static lm_table_t *table;
static const lm_pair_t leader = {.term = 5, .boot_id = 100, .counter = 2};
static const uint8_t right[LM_SESSION_SECRET_BYTES] = "right";
static const uint8_t wrong[LM_SESSION_SECRET_BYTES] = "wrong";

static lm_effects_t apply(lm_command_t command)
{
    lm_effects_t effects = lm_table_apply(table, &command);
    cr_assert_geq(effects.n, 1);
    return effects;
}

static void lead(lm_settings_t settings, uint64_t term)
{
    lm_pair_t pair = leader;
    pair.term = term;
    apply((lm_command_t){.kind = LM_COMMAND_TAKEOVER, .pair = pair, .settings = settings});
}

static void set_up(void)
{
    table = lm_table_new(0);
    lead(lm_settings_default(), leader.term);
}

static void tear_down(void)
{
    lm_table_verify(table);
    lm_table_destroy(&table);
}

TestSuite(core_session, .init = set_up, .fini = tear_down);

/* ---- words ----------------------------------------------------------------------------------- */

static lm_bytes_t secret_of(const uint8_t *bytes)
{
    return lm_bytes(bytes, LM_SESSION_SECRET_BYTES);
}

static lm_command_t open_command(const char *client, const char *id)
{
    return (lm_command_t){.kind = LM_COMMAND_OPEN_SESSION,
                          .key = {lm_bytes_of("me"), lm_bytes_of(client), lm_bytes_of(id)},
                          .ttl_ms = 30000,
                          .secret = secret_of(right),
                          .stamp = lm_table_op_seq(table)};
}

static uint64_t open_session(const char *client)
{
    lm_effect_t effect = apply(open_command(client, "open")).items[0];
    cr_assert_eq(effect.kind, LM_EFFECT_SESSION_OPENED);
    return effect.session;
}

/** A command in a session; number 0: with the id "x". */
static lm_command_t in(lm_command_kind_t kind, uint64_t session, uint64_t number, const char *name)
{
    lm_command_t command = {.kind = kind,
                            .key.identity = lm_bytes_of("me"),
                            .name = lm_bytes_of(name),
                            .session = session,
                            .secret = secret_of(right),
                            .request_number = number};
    if (!number) command.key.request_id = lm_bytes_of("x");
    return command;
}

static lm_effect_t acquire(uint64_t session, uint64_t number, const char *name)
{
    lm_command_t command = in(LM_COMMAND_ACQUIRE, session, number, name);
    command.mode = LM_MODE_EXCLUSIVE;
    command.wait = true;
    return apply(command).items[0];
}

static lm_effect_t release(uint64_t session, uint64_t number, const char *name, uint64_t hold)
{
    lm_command_t command = in(LM_COMMAND_RELEASE, session, number, name);
    command.hold = hold;
    return apply(command).items[0];
}

static lm_effect_t keep_alive(uint64_t session, uint64_t done_below)
{
    lm_command_t command = in(LM_COMMAND_KEEP_ALIVE, session, 0, "");
    command.done_below = done_below;
    return apply(command).items[0];
}

static lm_effects_t expire(lm_pair_t pair, uint64_t session, uint64_t basis)
{
    return apply((lm_command_t){
        .kind = LM_COMMAND_EXPIRE_SESSION, .pair = pair, .session = session, .basis = basis});
}

static lm_effects_t close_session(uint64_t session)
{
    return apply(in(LM_COMMAND_CLOSE_SESSION, session, 0, ""));
}

static void assert_refused(lm_effect_t effect, lm_rc_t code)
{
    cr_assert_eq(effect.kind, LM_EFFECT_REFUSED, "effect %d", (int)effect.kind);
    cr_assert_eq(effect.code, code, "%s", lm_rc_name(effect.code));
}

static lm_session_info_t info(uint64_t session)
{
    cr_assert_not_null(lm_table_session(table, session));
    return lm_session_info(lm_table_session(table, session));
}

/* ---- opening --------------------------------------------------------------------------------- */

Test(core_session, s1_a_session_has_the_number_of_its_opening)
{
    uint64_t first = open_session("a"), second = open_session("b");
    cr_assert_eq(first, 2);
    cr_assert_eq(second, 3);
    cr_assert_eq(info(first).basis, first);
    cr_assert_eq(lm_session_info(lm_table_sessions(table)).number, first);
    cr_assert_eq(lm_session_info(lm_session_newer(lm_table_sessions(table))).number, second);
}

Test(core_session, s12_a_copy_of_the_opening_finds_the_session_and_its_first_secret)
{
    uint64_t session = open_session("a");
    lm_command_t copy = open_command("a", "open");
    copy.secret = secret_of(wrong);
    lm_effect_t effect = apply(copy).items[0];
    cr_assert_eq(effect.kind, LM_EFFECT_SESSION_OPENED);
    cr_assert_eq(effect.session, session);
    cr_assert(lm_bytes_equal(info(session).secret, secret_of(right)));
    copy.body_hash = 1;
    assert_refused(apply(copy).items[0], LM_RC_REQUEST_REUSED);
    copy = open_command("a", "open");
    copy.key.identity = lm_bytes_of("other");
    cr_assert_neq(apply(copy).items[0].session, session, "another identity");
    cr_assert_eq(lm_table_counts(table).sessions, 2);
}

Test(core_session, s12a_the_opening_is_remembered_behind_the_end)
{
    uint64_t session = open_session("a");
    close_session(session);
    lm_effect_t effect = apply(open_command("a", "open")).items[0];
    cr_assert_eq(effect.kind, LM_EFFECT_FINISHED);
    cr_assert_eq(effect.code, LM_RC_SESSION_ENDED);
    cr_assert_eq(effect.end, LM_END_SESSION_CLOSED);
    lm_command_t late = open_command("a", "other");
    late.seen = true;
    assert_refused(apply(late).items[0], LM_RC_OUTCOME_UNKNOWN);
}

Test(core_session, s12_the_id_of_an_opening_is_no_id_of_an_acquire_or_cancel)
{
    open_session("a");
    lm_command_t command = open_command("a", "open");
    command.kind = LM_COMMAND_ACQUIRE;
    command.mode = LM_MODE_SHARED;
    command.name = lm_bytes_of("x");
    command.secret = lm_bytes(NULL, 0);
    assert_refused(apply(command).items[0], LM_RC_REQUEST_REUSED);
    command.kind = LM_COMMAND_CANCEL;
    assert_refused(apply(command).items[0], LM_RC_REQUEST_REUSED);
}

Test(core_session, s4_no_more_sessions_than_the_settings_allow)
{
    lm_settings_t settings = lm_settings_default();
    settings.sessions_max = 2;
    lead(settings, 6);
    uint64_t first = open_session("a");
    open_session("b");
    assert_refused(apply(open_command("c", "open")).items[0], LM_RC_QUOTA_EXCEEDED);
    close_session(first);
    open_session("c");
}

/* ---- who may use it -------------------------------------------------------------------------- */

Test(core_session, s12c_nothing_is_done_without_secret_and_identity)
{
    uint64_t session = open_session("a");
    const lm_command_kind_t kinds[] = {LM_COMMAND_ACQUIRE, LM_COMMAND_RELEASE, LM_COMMAND_CANCEL,
                                       LM_COMMAND_KEEP_ALIVE, LM_COMMAND_CLOSE_SESSION};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        lm_command_t command = in(kinds[i], session, 1, "x");
        command.mode = LM_MODE_SHARED;
        command.done_below = 7;
        command.secret = secret_of(wrong);
        assert_refused(apply(command).items[0], LM_RC_SESSION_DENIED);
        command.secret = secret_of(right);
        command.key.identity = lm_bytes_of("other");
        assert_refused(apply(command).items[0], LM_RC_SESSION_DENIED);
        command.key.identity = lm_bytes_of("me");
        command.session = session + 1;
        assert_refused(apply(command).items[0], LM_RC_SESSION_ENDED);
    }
    cr_assert_eq(info(session).done_below, 0);
    cr_assert_eq(lm_table_counts(table).records, 1);
}

/* Every single bit turned, any other bytes, another identity with the right ones. */
Test(core_session, a_million_guesses_of_a_secret_or_an_identity_open_no_session)
{
    uint64_t session = open_session("a"), state = 88172645463325252;
    uint8_t guess[LM_SESSION_SECRET_BYTES];
    for (size_t bit = 0; bit < 8 * sizeof guess; bit++) {
        memcpy(guess, right, sizeof guess);
        guess[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_assert_eq(lm_table_enter(table, session, lm_bytes_of("me"), secret_of(guess), NULL),
                     LM_RC_SESSION_DENIED);
    }
    for (int i = 0; i < 1000000; i++) {
        for (size_t k = 0; k < sizeof guess; k++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            guess[k] = (uint8_t)(state >> 56);
        }
        lm_bytes_t secret = secret_of(guess), other = lm_bytes(guess, 3 + (size_t)i % 14);
        cr_assert_neq(lm_table_enter(table, session, lm_bytes_of("me"), secret, NULL), LM_RC_OK);
        cr_assert_neq(lm_table_enter(table, session, other, secret_of(right), NULL), LM_RC_OK);
    }
    lm_bytes_t me = lm_bytes_of("me");
    for (size_t size = 0; size < sizeof right; size++)
        cr_assert_neq(lm_table_enter(table, session, me, lm_bytes(right, size), NULL), LM_RC_OK);
    cr_assert_eq(lm_table_enter(table, session, me, secret_of(right), NULL), LM_RC_OK);
}

Test(core_session, s12c_an_acquire_in_a_closed_session_is_refused)
{
    uint64_t session = open_session("a");
    uint64_t hold = acquire(session, 1, "x").hold;
    cr_assert_eq(lm_record_session(lm_table_hold(table, hold)), session);
    close_session(session);
    cr_assert_null(lm_table_lock(table, lm_bytes_of("x")));
    assert_refused(acquire(session, 1, "x"), LM_RC_SESSION_ENDED);
    assert_refused(acquire(session, 2, "x"), LM_RC_SESSION_ENDED);
    assert_refused(acquire(session, 0, "x"), LM_RC_SESSION_ENDED);
    assert_refused(close_session(session).items[0], LM_RC_SESSION_ENDED);
    assert_refused(keep_alive(session, 0), LM_RC_SESSION_ENDED);
}

/* ---- leases ---------------------------------------------------------------------------------- */

Test(core_session, s2_an_expiry_that_crosses_a_keep_alive_is_void)
{
    uint64_t session = open_session("a");
    acquire(session, 1, "x");
    uint64_t basis = keep_alive(session, 0).op_seq;
    cr_assert_eq(info(session).basis, basis);
    cr_assert_eq(expire(leader, session, session).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(expire(leader, session + 1, basis).items[0].kind, LM_EFFECT_VOID);
    lm_effects_t effects = expire(leader, session, basis);
    cr_assert_eq(effects.n, 3);
    cr_assert_eq(effects.items[0].kind, LM_EFFECT_DONE);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_SESSION_ENDED);
    cr_assert_eq(effects.items[1].end, LM_END_EXPIRED);
    cr_assert_eq(effects.items[2].kind, LM_EFFECT_HOLD_ENDED);
    cr_assert_eq(effects.items[2].end, LM_END_EXPIRED);
    cr_assert_eq(expire(leader, session, basis).items[0].kind, LM_EFFECT_VOID);
}

Test(core_session, s8_an_expiry_under_another_pair_is_void)
{
    uint64_t session = open_session("a");
    lm_pair_t other = leader;
    other.counter++;
    cr_assert_eq(expire(other, session, session).items[0].kind, LM_EFFECT_VOID);
    lead(lm_settings_default(), leader.term + 1);
    cr_assert_eq(expire(leader, session, session).items[0].kind, LM_EFFECT_VOID);
    cr_assert_not_null(lm_table_session(table, session));
}

Test(core_session, s2_a_hold_of_a_session_has_no_lease_of_its_own)
{
    uint64_t session = open_session("a");
    uint64_t hold = acquire(session, 1, "x").hold;
    cr_assert_eq(lm_table_hold(table, hold)->ttl_ms, 0);
    lm_command_t command = {.kind = LM_COMMAND_EXPIRE,
                            .pair = leader,
                            .name = lm_bytes_of("x"),
                            .hold = hold,
                            .basis = hold};
    cr_assert_eq(apply(command).items[0].kind, LM_EFFECT_VOID);
    command = (lm_command_t){.kind = LM_COMMAND_RENEW,
                             .key.owner = lm_bytes_of("a"),
                             .name = lm_bytes_of("x"),
                             .hold = hold};
    assert_refused(apply(command).items[0], LM_RC_STALE_HOLD);
}

/* ---- the end --------------------------------------------------------------------------------- */

Test(core_session, s12c_waits_end_before_holds_and_then_others_are_granted)
{
    uint64_t session = open_session("a"), other = open_session("b");
    acquire(other, 1, "w");
    uint64_t x = acquire(session, 1, "x").hold, y = acquire(session, 2, "y").hold;
    acquire(session, 3, "w");
    acquire(other, 2, "y");
    acquire(other, 3, "x");
    lm_effects_t effects = close_session(session);
    cr_assert_eq(effects.n, 7);
    const lm_effect_kind_t kinds[] = {
        LM_EFFECT_DONE,       LM_EFFECT_SESSION_ENDED, LM_EFFECT_WAIT_ENDED, LM_EFFECT_HOLD_ENDED,
        LM_EFFECT_HOLD_ENDED, LM_EFFECT_GRANTED,       LM_EFFECT_GRANTED};
    for (size_t i = 0; i < effects.n; i++) {
        cr_assert_eq(effects.items[i].kind, kinds[i], "effect %zu", i);
        if (i < 5 && i) cr_assert_eq(effects.items[i].end, LM_END_SESSION_CLOSED);
    }
    cr_assert_eq(effects.items[3].hold, x);
    cr_assert_eq(effects.items[4].hold, y);
    cr_assert(lm_bytes_equal(effects.items[5].name, lm_bytes_of("x")));
    cr_assert_eq(effects.items[6].op_seq, effects.items[5].op_seq + 1, "S1");
}

Test(core_session, s12a_the_end_of_a_session_evicts_nobody_elses_records)
{
    lm_settings_t settings = lm_settings_default();
    settings.record_ring_size = 4;
    lead(settings, 6);
    uint64_t session = open_session("a");
    char name[] = "lock-a";
    for (; name[5] < 'p'; name[5]++) acquire(session, (uint64_t)name[5], name);
    close_session(session);
    cr_assert_eq(lm_ring_count(&table->ring), 1, "its OpenSession alone");
    cr_assert_eq(table->evicted, 0);
}

Test(core_session, s11b_the_session_is_the_owner)
{
    uint64_t session = open_session("a");
    uint64_t hold = acquire(session, 1, "x").hold;
    cr_assert_eq(acquire(session, 2, "x").hold, hold);
    lm_key_texts_t texts;
    lm_command_t command = in(LM_COMMAND_ACQUIRE, session, 2, "x");
    lm_request_key_t key = lm_command_key(&command, &texts);
    cr_assert_eq(lm_table_find(table, &key)->claim, 1);
    cr_assert_null(lm_table_of_owner(table, lm_bytes_of("x"), lm_bytes_of("me"), lm_bytes_of("a")),
                   "the client's name is not");
}

/* ---- request numbers ------------------------------------------------------------------------- */

Test(core_session, s12b_a_number_below_done_below_is_never_executed)
{
    uint64_t session = open_session("a");
    keep_alive(session, 5);
    assert_refused(acquire(session, 4, "x"), LM_RC_REQUEST_TOO_OLD);
    keep_alive(session, 3);
    cr_assert_eq(info(session).done_below, 5, "it only grows");
    assert_refused(acquire(session, 4, "x"), LM_RC_REQUEST_TOO_OLD);
    cr_assert_eq(acquire(session, 5, "x").kind, LM_EFFECT_ACQUIRED);
}

Test(core_session, s12b_a_finished_number_is_remembered_whatever_the_ring_evicts)
{
    lm_settings_t settings = lm_settings_default();
    settings.record_ring_size = 1;
    lead(settings, 6);
    uint64_t session = open_session("a");
    uint64_t hold = acquire(session, 1, "x").hold;
    release(session, 2, "x", hold);
    for (uint64_t i = 0; i < 20; i++) close_session(open_session(i % 2 ? "b" : "c"));
    lm_effect_t again = acquire(session, 1, "x");
    cr_assert_eq(again.kind, LM_EFFECT_FINISHED);
    cr_assert_eq(again.end, LM_END_RELEASED);
    cr_assert_eq(release(session, 2, "x", hold).end, LM_END_RELEASED);
    keep_alive(session, 3);
    cr_assert_eq(info(session).n_open, 0);
    assert_refused(acquire(session, 1, "x"), LM_RC_REQUEST_TOO_OLD);
}

Test(core_session, s12b_stamps_do_not_count_for_numbers)
{
    uint64_t session = open_session("a");
    lm_command_t late = in(LM_COMMAND_ACQUIRE, session, 1, "x");
    late.mode = LM_MODE_EXCLUSIVE;
    late.seen = true;
    cr_assert_eq(apply(late).items[0].kind, LM_EFFECT_ACQUIRED);
    late.request_number = 0;
    late.key.request_id = lm_bytes_of("id");
    assert_refused(apply(late).items[0], LM_RC_OUTCOME_UNKNOWN);
}

Test(core_session, s12b_a_full_window_refuses_new_numbers_and_no_old_ones)
{
    uint64_t session = open_session("a");
    char name[] = "lock-a";
    for (uint64_t n = 1; n <= LM_SESSION_WINDOW_DEFAULT; n++, name[5]++)
        cr_assert_eq(acquire(session, n, name).kind, LM_EFFECT_ACQUIRED);
    assert_refused(acquire(session, 100, "more"), LM_RC_WINDOW_FULL);
    cr_assert_eq(acquire(session, 1, "lock-a").kind, LM_EFFECT_ACQUIRED, "a repeat");
    lm_command_t command = in(LM_COMMAND_ACQUIRE, session, 100, "more");
    command.mode = LM_MODE_EXCLUSIVE;
    command.done_below = 3;
    cr_assert_eq(apply(command).items[0].kind, LM_EFFECT_ACQUIRED);
    cr_assert_eq(info(session).n_living, LM_SESSION_WINDOW_DEFAULT + 1);
    cr_assert_eq(info(session).n_open, LM_SESSION_WINDOW_DEFAULT - 1);
}

Test(core_session, s12b_a_hold_that_is_done_leaves_no_record)
{
    uint64_t session = open_session("a");
    uint64_t hold = acquire(session, 1, "x").hold, before = lm_table_counts(table).records;
    keep_alive(session, 2);
    cr_assert_not_null(lm_table_hold(table, hold));
    lm_command_t command = in(LM_COMMAND_RELEASE, session, 2, "x");
    command.hold = hold;
    lm_effects_t effects = apply(command);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_HOLD_ENDED);
    cr_assert_null(effects.items[1].record);
    cr_assert_eq(lm_table_counts(table).records, before, "the Release alone");
}

Test(core_session, s12b_a_cancel_of_a_second_number_of_a_wait)
{
    uint64_t session = open_session("a"), other = open_session("b");
    acquire(other, 1, "x");
    acquire(session, 1, "x");
    acquire(session, 2, "x");
    keep_alive(session, 2);
    lm_effects_t effects = apply(in(LM_COMMAND_CANCEL, session, 2, ""));
    cr_assert_eq(effects.items[0].kind, LM_EFFECT_CANCELLED);
    cr_assert_eq(effects.items[0].record->state, LM_RECORD_RETIRED);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_WAIT_ENDED);
    cr_assert_null(effects.items[1].record);
    cr_assert_eq(acquire(session, 2, "x").kind, LM_EFFECT_FINISHED, "S10d");
}

/* ---- images ---------------------------------------------------------------------------------- */

/** Loads what is left to be taken, behind a copy of the table's present hash. */
static lm_table_t *take_and_load(void)
{
    lm_image_loader_t *loader = lm_image_loader_new();
    lm_table_t *loaded;
    bool more = true;
    while (more) {
        lm_bytes_t piece;
        more = lm_image_take(table, 64, &piece);
        cr_assert_null(lm_image_loader_feed(loader, piece));
    }
    cr_assert_null(lm_image_loader_end(&loader, &loaded));
    lm_table_verify(loaded);
    return loaded;
}

Test(core_session, s16_an_image_has_the_sessions_of_its_beginning)
{
    uint64_t session = open_session("a"), other = open_session("b");
    uint64_t hold = acquire(session, 1, "x").hold;
    release(session, 2, "x", hold);
    acquire(session, 3, "y");
    uint64_t hash = lm_table_hash(table);
    lm_image_begin(table);
    close_session(other);
    keep_alive(session, 3);
    acquire(open_session("c"), 1, "z");
    close_session(session);
    lm_table_verify(table);
    lm_table_t *loaded = take_and_load();
    cr_assert_eq(lm_table_hash(loaded), hash);
    cr_assert_eq(lm_table_counts(loaded).sessions, 2);
    lm_session_info_t was = lm_session_info(lm_table_session(loaded, session));
    cr_assert_eq(was.n_open, 3);
    cr_assert_eq(was.n_living, 1);
    cr_assert_eq(was.done_below, 0);
    cr_assert(lm_bytes_equal(was.secret, secret_of(right)));
    lm_table_destroy(&loaded);
}

Test(core_session, s16_the_largest_session_fits_an_item)
{
    lm_settings_t settings = lm_settings_default();
    settings.session_window = LM_SESSION_WINDOW_MAX;
    lead(settings, 6);
    static char text[LM_IDENTITY_BYTES_MAX];
    memset(text, 'x', sizeof text);
    lm_command_t command = open_command("a", "open");
    command.key = (lm_request_key_t){lm_bytes(text, LM_IDENTITY_BYTES_MAX),
                                     lm_bytes(text, LM_OWNER_BYTES_MAX),
                                     lm_bytes(text, LM_REQUEST_ID_BYTES_MAX)};
    command.ttl_ms = LM_TTL_MS_MAX;
    uint64_t session = apply(command).items[0].session;
    command = in(LM_COMMAND_CANCEL, session, 1, "");
    command.key.identity = lm_bytes(text, LM_IDENTITY_BYTES_MAX);
    for (uint64_t i = 0; i < LM_SESSION_WINDOW_MAX; i++) {
        command.request_number = UINT64_MAX - i;
        apply(command);
    }
    cr_assert_eq(info(session).n_open, LM_SESSION_WINDOW_MAX);
    lm_image_begin(table);
    lm_table_t *loaded = take_and_load();
    cr_assert_eq(lm_session_info(lm_table_session(loaded, session)).n_open, LM_SESSION_WINDOW_MAX);
    lm_table_destroy(&loaded);
}
