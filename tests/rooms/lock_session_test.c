/* Sessions by messages in and out: opening, keeping alive, requests in them, their ends. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "lock_limits.h"
#include "lock_rig.h"
#include "wire_command.h"

#define SAID(call, words) cr_assert_str_eq(rig_said(rig, call), words)

static rig_t *rig;

static void set_up(void) { rig = rig_leading(); }

static void tear_down(void) { rig_destroy(&rig); }

TestSuite(lock_session, .init = set_up, .fini = tear_down, .timeout = 20);

/* An Acquire in that session by number, without waiting unless wait_ms says so. */
static uint64_t acquire(rig_call_t in, const char *name, uint64_t number, int64_t wait_ms)
{
    in.name = name;
    in.number = number;
    in.wait_ms = wait_ms;
    return rig_acquire(rig, in);
}

static uint64_t take(rig_call_t in, const char *name, uint64_t number)
{
    uint64_t call = acquire(in, name, number, 0);
    rig_settle(rig);
    SAID(call, "granted");
    return call;
}

static const lm_api_keep_alive_response_t *keep(rig_call_t in)
{
    uint64_t call = rig_keep_alive(rig, in);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    rig_settle(rig);
    SAID(call, "alive");
    return rig_answer(rig, call)->keep_alive;
}

static void advance_ms(uint64_t ms)
{
    lm_test_advance(rig->host, ms * 1000);
    rig_settle(rig);
}

static bool is_held(const char *name)
{
    return lm_table_lock(lm_lock_room_table(rig->room), lm_bytes_of(name)) != NULL;
}

/* ---- opening --------------------------------------------------------------------------------- */

Test(lock_session, a_repeat_of_the_opening_gets_the_secret_of_the_table)
{
    rig_call_t open = {.owner = "c", .id = "7", .ttl_ms = 5000};
    uint64_t first = rig_open_session(rig, open), second = rig_open_session(rig, open);
    rig_settle(rig);
    lm_test_advance(rig->host, 2000000);
    uint64_t third = rig_open_session(rig, open);
    rig_settle(rig);
    const lm_api_open_session_response_t *said = rig_answer(rig, first)->open_session;
    cr_assert_eq(said->session_id.size, 16);
    cr_assert_eq(said->secret.size, 32);
    cr_assert_eq(said->ttl_ms, 5000);
    cr_assert_eq(said->lease_remaining_ms, 5000);
    const uint64_t calls[] = {second, third};
    for (int i = 0; i < 2; i++) {
        const lm_api_open_session_response_t *again = rig_answer(rig, calls[i])->open_session;
        cr_assert(lm_bytes_equal(said->session_id, again->session_id));
        cr_assert(lm_bytes_equal(said->secret, again->secret));
        cr_assert_eq(again->lease_remaining_ms, i == 0 ? 5000 : 3000, "a repeat is no keep-alive");
    }
    open.identity = "somebody else";
    uint64_t other = rig_open_session(rig, open);
    rig_settle(rig);
    cr_assert_not(lm_bytes_equal(said->secret, rig_answer(rig, other)->open_session->secret));
}

Test(lock_session, lengths_and_broken_requests_are_refused_by_field)
{
    uint64_t none = rig_open_session(rig, (rig_call_t){.owner = "c", .id = "1"});
    rig_settle(rig);
    cr_assert_eq(rig_answer(rig, none)->open_session->ttl_ms, 30000);
    rig_call_t in = rig_open(rig, "d", 1000);
    const struct {
        uint64_t call;
        const char *field;
    } rows[] = {
        {rig_open_session(rig, (rig_call_t){.id = "1"}), "client"},
        {rig_open_session(rig, (rig_call_t){.owner = "c"}), "request_id"},
        {rig_open_session(rig, (rig_call_t){.owner = "c", .id = "2", .ttl_ms = 999}), "ttl_ms"},
        {rig_open_session(rig, (rig_call_t){.owner = "c", .id = "2", .ttl_ms = 86400001}),
         "ttl_ms"},
        {rig_keep_alive(rig, (rig_call_t){.session = "00", .secret = in.secret}), "session_id"},
        {rig_keep_alive(rig, (rig_call_t){.session = "0000000000000000", .secret = in.secret}),
         "session_id"},
        {rig_keep_alive(rig, (rig_call_t){.session = in.session, .secret = "x"}), "secret"},
        {rig_keep_alive(
             rig, (rig_call_t){.session = in.session, .secret = in.secret, .holds_after = "1-"}),
         "holds_after"},
        {rig_get_session(rig, "nothing"), "session_id"},
        {rig_list_sessions(rig, 1001, lm_bytes_of("")), "page_size"},
        {rig_list_sessions(rig, 1, lm_bytes_of("x")), "page_token"},
        {rig_acquire(rig, (rig_call_t){.session = in.session,
                                       .secret = in.secret,
                                       .owner = "a",
                                       .name = "x",
                                       .number = 1}),
         "owner"},
        {rig_acquire(rig, (rig_call_t){.session = in.session,
                                       .secret = in.secret,
                                       .name = "x",
                                       .ttl_ms = 5,
                                       .number = 1}),
         "ttl_ms"},
        {rig_acquire(
             rig,
             (rig_call_t){
                 .session = in.session, .secret = in.secret, .name = "x", .id = "1", .number = 1}),
         "request_id"},
        {rig_cancel(rig, (rig_call_t){.session = in.session, .secret = in.secret}), "request_id"},
        {rig_acquire(rig, (rig_call_t){.session = "1", .secret = in.secret, .name = "x"}),
         "session.session_id"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        SAID(rows[i].call, "error INVALID_ARGUMENT");
        cr_assert(lm_bytes_equal(rig_answer(rig, rows[i].call)->field, lm_bytes_of(rows[i].field)),
                  "row %zu", i);
    }
    cr_assert_eq(rig_proposed(rig).n, 0);
}

/* ---- the lease ------------------------------------------------------------------------------- */

Test(lock_session, s7_a_keep_alive_starts_the_lease_of_everything_when_it_is_applied)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    take(in, "x", 1);
    advance_ms(6000);
    uint64_t call = rig_keep_alive(rig, in);
    SAID(call, "none");
    lm_test_advance(rig->host, 1000000);
    rig_settle(rig);
    SAID(call, "alive");
    cr_assert_eq(rig_answer(rig, call)->keep_alive->lease_remaining_ms, 10000);
    advance_ms(9000);
    cr_assert(is_held("x"));
    uint64_t repeat = acquire(in, "x", 1, 0);
    rig_reads(rig);
    rig_settle(rig);
    SAID(repeat, "granted");
    cr_assert_eq(rig_answer(rig, repeat)->acquire->lease_remaining_ms, 1000);
    cr_assert_eq(rig_answer(rig, repeat)->acquire->ttl_ms, 10000);
    advance_ms(1001);
    cr_assert_not(is_held("x"));
    cr_assert_eq(lm_table_counts(lm_lock_room_table(rig->room)).sessions, 0);
}

Test(lock_session, s2_an_expiry_names_what_it_is_based_on)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t basis = lm_session_info(lm_table_sessions(lm_lock_room_table(rig->room))).basis;
    lm_test_advance(rig->host, 10001000);
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 1);
    cr_assert_eq(commands.items[0].kind, LM_COMMAND_EXPIRE_SESSION);
    cr_assert_eq(commands.items[0].basis, basis);
    rig_settle(rig);
    uint64_t late = rig_keep_alive(rig, in);
    rig_settle(rig);
    SAID(late, "not alive");
}

Test(lock_session, s9_nothing_expires_while_a_keep_alive_is_on_its_way)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    take(in, "x", 1);
    lm_test_advance(rig->host, 9999000);
    uint64_t call = rig_keep_alive(rig, in);
    lm_test_advance(rig->host, 5000000);
    rig_settle(rig);
    SAID(call, "alive");
    cr_assert(is_held("x"));
    rig_call_t wrong = in;
    wrong.secret = "000000000000000000000000000000ff";
    lm_test_advance(rig->host, 9999000);
    call = rig_keep_alive(rig, wrong);
    lm_test_advance(rig->host, 2000);
    rig_settle(rig);
    SAID(call, "denied");
    cr_assert_not(is_held("x"), "a stranger's keep-alive keeps nothing");
}

Test(lock_session, s8_a_takeover_starts_all_leases_again)
{
    rig_call_t in = rig_open(rig, "c", 10000), other = rig_open(rig, "d", 20000);
    take(in, "x", 1);
    take(other, "y", 1);
    advance_ms(9000);
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, 2, "n2");
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 3, "n1");
    rig_settle(rig);
    advance_ms(9990);
    cr_assert(is_held("x"));
    advance_ms(20);
    cr_assert_not(is_held("x"));
    cr_assert(is_held("y"));
    advance_ms(10000);
    cr_assert_not(is_held("y"));
}

/* ---- keep-alives that share an entry --------------------------------------------------------- */

Test(lock_session, s7_keep_alives_wait_a_moment_for_others_and_share_an_entry)
{
    rig_call_t a = rig_open(rig, "a", 10000), b = rig_open(rig, "b", 10000);
    advance_ms(3000);
    uint64_t first = rig_keep_alive(rig, a);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US - 1);
    uint64_t second = rig_keep_alive(rig, b);
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, 1);
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 2, "the first says when they go");
    cr_assert_eq(commands.items[0].kind, LM_COMMAND_KEEP_ALIVE);
    cr_assert_eq(commands.items[1].kind, LM_COMMAND_KEEP_ALIVE);
    lm_test_advance(rig->host, 1000000);
    SAID(first, "none");
    rig_settle(rig);
    SAID(first, "alive");
    SAID(second, "alive");
    cr_assert_eq(rig_answer(rig, first)->keep_alive->lease_remaining_ms, 10000);
    rig_keep_alive(rig, a);
    cr_assert_eq(rig_proposed(rig).n, 0, "the next one waits anew");
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    cr_assert_eq(rig_proposed(rig).n, 1);
}

Test(lock_session, whatever_else_is_proposed_takes_waiting_keep_alives_along)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t kept = rig_keep_alive(rig, in);
    cr_assert_eq(rig_proposed(rig).n, 0);
    acquire(in, "x", 1, 0);
    rig_commands_t commands = rig_proposed(rig);
    cr_assert_eq(commands.n, 2);
    cr_assert_eq(commands.items[0].kind, LM_COMMAND_KEEP_ALIVE);
    cr_assert_eq(commands.items[1].kind, LM_COMMAND_ACQUIRE);
    rig_settle(rig);
    SAID(kept, "alive");
}

Test(lock_session, s6_a_keep_alive_of_a_session_that_is_near_its_end_goes_at_once)
{
    rig_call_t in = rig_open(rig, "c", 10000), other = rig_open(rig, "d", 20000);
    advance_ms(9000);
    uint64_t lasting = rig_keep_alive(rig, in); /* a second is left */
    cr_assert_eq(rig_proposed(rig).n, 0);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    rig_settle(rig);
    SAID(lasting, "alive");
    advance_ms(9001);
    rig_keep_alive(rig, other);
    cr_assert_eq(rig_proposed(rig).n, 0);
    uint64_t near = rig_keep_alive(rig, in);
    cr_assert_eq(rig_proposed(rig).n, 2, "and takes the others along");
    rig_settle(rig);
    SAID(near, "alive");
    rig_call_t gone = {.session = "00000000000fffff", .secret = in.secret};
    uint64_t ended = rig_keep_alive(rig, gone);
    rig_settle(rig);
    SAID(ended, "not alive");
}

Test(lock_session, enough_keep_alives_do_not_wait_for_more)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    for (int i = 1; i < LM_LOCK_LINGER_COMMANDS_MAX; i++) rig_keep_alive(rig, in);
    cr_assert_eq(rig_proposed(rig).n, 0);
    rig_keep_alive(rig, in);
    cr_assert_eq(rig_proposed(rig).n, LM_LOCK_LINGER_COMMANDS_MAX);
}

Test(lock_session, s8_keep_alives_that_wait_when_leadership_ends_are_sent_back)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t kept = rig_keep_alive(rig, in);
    rig_role(rig, LM_API_RAFT_ROLE_FOLLOWER, 2, "n2");
    SAID(kept, "forward n2");
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 3, "n1");
    rig_settle(rig);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    cr_assert_eq(rig_proposed(rig).n, 0, "nothing is left of it");
    kept = rig_keep_alive(rig, in);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    rig_settle(rig);
    SAID(kept, "alive");
}

/* ---- requests in a session ------------------------------------------------------------------- */

Test(lock_session, a_session_needs_its_secret_and_its_identity)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    rig_call_t guessed = in, other = in;
    guessed.secret = "000000000000000000000000000000ff";
    other.identity = "somebody else";
    const uint64_t denied[] = {acquire(guessed, "x", 1, 0), acquire(other, "x", 1, 0),
                               rig_close_session(rig, guessed), rig_close_session(rig, other)};
    rig_settle(rig);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        SAID(denied[i], "error SESSION_DENIED");
    uint64_t kept = rig_keep_alive(rig, other);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    rig_settle(rig);
    SAID(kept, "denied");
    cr_assert_not(is_held("x"));
}

Test(lock_session, s12b_a_number_is_executed_once_and_refused_when_it_is_done)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t first = take(in, "x", 1);
    rig_call_t release = in;
    release.name = "x";
    release.number = 2;
    release.hold_id = rig_hold_id(rig, first);
    uint64_t released = rig_release(rig, release);
    rig_settle(rig);
    SAID(released, "released");
    uint64_t again = acquire(in, "x", 1, 0);
    rig_reads(rig);
    rig_settle(rig);
    SAID(again, "ended RELEASED");
    rig_call_t later = in;
    later.done_below = 3;
    take(later, "y", 3);
    uint64_t old = acquire(in, "x", 1, 0);
    rig_settle(rig);
    SAID(old, "error REQUEST_TOO_OLD");
    cr_assert_not(is_held("x"));
}

Test(lock_session, s12b_a_full_window_is_refused_until_numbers_are_done)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    rig_call_t in = rig_open(rig, "c", 10000);
    for (uint64_t i = 1; i <= 4; i++) take(in, names[i - 1], i);
    uint64_t full = acquire(in, "e", 5, 0);
    rig_settle(rig);
    SAID(full, "error WINDOW_FULL");
    in.done_below = 3;
    take(in, "e", 5);
    cr_assert(is_held("a"), "being done with a number is not giving its hold back");
}

Test(lock_session, s12c_a_keep_alive_lists_what_is_held)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    cr_assert_eq(keep(in)->holds_version, 0);
    uint64_t x = take(in, "x", 1);
    rig_call_t named = in;
    named.id = "by name";
    take(named, "y", 0);
    const lm_api_keep_alive_response_t *kept = keep(in);
    cr_assert_eq(kept->hold_count, 2);
    cr_assert_eq(kept->n_holds, 2);
    cr_assert(lm_bytes_equal(kept->holds[0].name, lm_bytes_of("x")));
    cr_assert(lm_bytes_equal(kept->holds[0].hold_id, lm_bytes_of(rig_hold_id(rig, x))));
    cr_assert_eq(kept->holds[0].token, rig_answer(rig, x)->acquire->token);
    cr_assert_eq(kept->holds[0].request_number, 1);
    cr_assert_eq(kept->holds[0].request_id.size, 0);
    cr_assert(lm_bytes_equal(kept->holds[1].request_id, lm_bytes_of("by name")));
    in.known_version = kept->holds_version;
    cr_assert_eq(keep(in)->n_holds, 0);
    cr_assert_eq(keep(in)->hold_count, 2);
    rig_call_t release = in;
    release.name = "x";
    release.number = 2;
    release.hold_id = rig_hold_id(rig, x);
    rig_release(rig, release);
    rig_settle(rig);
    cr_assert_eq(keep(in)->n_holds, 1);
    cr_assert_neq(keep(in)->holds_version, in.known_version);
}

static const char *text_of(lm_bytes_t bytes)
{
    static char text[64];
    snprintf(text, sizeof text, "%.*s", LM_BYTES_ARG(bytes));
    return text;
}

/* The newest hold is the one that nobody may have heard of: it must be told of, however many there
 * are, and only what has been told of counts as known. */
Test(lock_session, s12c_a_list_goes_on_where_the_last_one_ended)
{
    rig_call_t in = rig_open(rig, "c", 60000);
    uint64_t last = 0;
    for (int i = 0; i <= LM_LOCK_SESSION_HOLDS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        in.done_below = (uint64_t)i + 1;
        last = take(in, name, (uint64_t)i + 1);
    }
    const lm_api_keep_alive_response_t *kept = keep(in);
    cr_assert_eq(kept->hold_count, LM_LOCK_SESSION_HOLDS_MAX + 1);
    cr_assert_eq(kept->n_holds, LM_LOCK_SESSION_HOLDS_MAX);
    cr_assert(kept->more_holds);
    rig_undelivered(rig, last);
    rig_settle(rig);
    cr_assert_not(is_held("n4096"), "it was not in the list, so nobody knows of it");
    last = take(in, "newest", LM_LOCK_SESSION_HOLDS_MAX + 2);
    uint64_t version = kept->holds_version;
    in.holds_after = text_of(kept->holds[kept->n_holds - 1].hold_id);
    kept = keep(in);
    cr_assert_neq(kept->holds_version, version);
    cr_assert_eq(kept->hold_count, LM_LOCK_SESSION_HOLDS_MAX + 1);
    cr_assert_eq(kept->n_holds, 1);
    cr_assert(lm_bytes_equal(kept->holds[0].name, lm_bytes_of("newest")));
    cr_assert_not(kept->more_holds);
    rig_undelivered(rig, last);
    rig_settle(rig);
    cr_assert(is_held("newest"), "it was in the list");
}

/* The answer found nobody, but the client has read of the hold in a KeepAlive: it may use it. */
Test(lock_session, s10a_a_hold_that_was_listed_is_not_abandoned)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t told = take(in, "x", 1), untold = take(in, "y", 2);
    rig_undelivered(rig, untold);
    rig_settle(rig);
    cr_assert_not(is_held("y"));
    cr_assert_eq(keep(in)->n_holds, 1);
    rig_undelivered(rig, told);
    rig_settle(rig);
    cr_assert(is_held("x"));
}

Test(lock_session, s10c_a_keep_alive_does_not_tell_of_a_hold_that_is_being_abandoned)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t x = take(in, "x", 1);
    uint64_t kept = rig_keep_alive(rig, in);
    lm_test_advance(rig->host, LM_LOCK_LINGER_US);
    rig_accept(rig);
    rig_undelivered(rig, x);
    rig_accept(rig);
    rig_deliver(rig, 1);
    SAID(kept, "alive");
    cr_assert_eq(rig_answer(rig, kept)->keep_alive->n_holds, 0);
    rig_settle(rig);
    cr_assert_not(is_held("x"));
}

Test(lock_session, get_shows_sessions_and_not_their_keys)
{
    rig_call_t in = rig_open(rig, "c", 10000), other = rig_open(rig, "d", 10000);
    take(in, "x", 1);
    acquire(other, "x", 1, -1);
    rig_settle(rig);
    uint64_t get = rig_get(rig, (rig_call_t){.name = "x"});
    rig_reads(rig);
    const lm_api_lock_info_t *lock = rig_answer(rig, get)->get->lock;
    cr_assert_eq(lock->holders[0].owner.size, 0);
    cr_assert(lm_bytes_equal(lock->holders[0].session_id, lm_bytes_of(in.session)));
    cr_assert(lm_bytes_equal(lock->holders[0].client, lm_bytes_of("c")));
    cr_assert_eq(lock->holders[0].ttl_ms, 10000);
    cr_assert(lm_bytes_equal(lock->waiters[0].session_id, lm_bytes_of(other.session)));
    cr_assert_eq(lock->waiters[0].request_id.size, 0);
    uint64_t held = rig_acquire(rig, (rig_call_t){.owner = "a", .id = "1", .name = "x"});
    rig_settle(rig);
    SAID(held, "held");
    cr_assert(lm_bytes_equal(rig_answer(rig, held)->acquire->holders[0].client, lm_bytes_of("c")));
}

/* ---- ends ------------------------------------------------------------------------------------ */

Test(lock_session, s12c_closing_ends_waits_and_holds_and_whoever_comes_later_is_refused)
{
    rig_call_t in = rig_open(rig, "c", 10000), other = rig_open(rig, "d", 10000);
    take(in, "x", 1);
    take(other, "y", 1);
    uint64_t waits = acquire(in, "y", 2, -1), next = acquire(other, "x", 2, -1);
    rig_settle(rig);
    uint64_t closed = rig_close_session(rig, in);
    rig_settle(rig);
    SAID(closed, "closed");
    SAID(waits, "error SESSION_ENDED");
    SAID(next, "granted");
    uint64_t late = acquire(in, "z", 3, 0), again = rig_close_session(rig, in);
    rig_settle(rig);
    SAID(late, "error SESSION_ENDED");
    SAID(again, "error SESSION_ENDED");
    cr_assert_not(is_held("z"));
    uint64_t opening =
        rig_open_session(rig, (rig_call_t){.owner = "c", .id = "1", .ttl_ms = 10000});
    rig_settle(rig);
    SAID(opening, "error SESSION_ENDED");
}

Test(lock_session, an_acquire_behind_the_close_is_refused_by_apply)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    uint64_t closed = rig_close_session(rig, in), late = acquire(in, "x", 1, -1);
    rig_settle(rig);
    SAID(closed, "closed");
    SAID(late, "error SESSION_ENDED");
    cr_assert_not(is_held("x"));
}

Test(lock_session, a_lagging_leader_does_not_call_a_session_ended_that_it_does_not_know)
{
    uint64_t call = acquire(
        (rig_call_t){.session = "00000000000fffff", .secret = "000102030405060708090a0b0c0d0e0f"},
        "x", 1, 0);
    SAID(call, "none");
    rig_refuse(rig, LM_RC_NOT_LEADER);
    SAID(call, "forward");
}

Test(lock_session, a_waiter_of_a_session_leaves_with_its_last_listener)
{
    rig_call_t in = rig_open(rig, "c", 10000);
    rig_take(rig, "a", "x", 0);
    uint64_t waits = acquire(in, "x", 1, -1);
    rig_settle(rig);
    rig_gone(rig, waits);
    rig_settle(rig);
    cr_assert_eq(lm_table_counts(lm_lock_room_table(rig->room)).waiters, 0);
    uint64_t again = acquire(in, "x", 1, -1);
    rig_settle(rig);
    SAID(again, "none");
    rig_call_t cancel = in;
    cancel.number = 1;
    uint64_t cancelled = rig_cancel(rig, cancel);
    rig_settle(rig);
    SAID(cancelled, "cancel cancelled");
    SAID(again, "cancelled");
}

/* ---- reading --------------------------------------------------------------------------------- */

Test(lock_session, sessions_are_shown_one_by_one_and_page_by_page)
{
    rig_call_t in[5];
    static const char *const clients[] = {"c0", "c1", "c2", "c3", "c4"};
    for (int i = 0; i < 5; i++) in[i] = rig_open(rig, clients[i], 10000 + i * 1000);
    take(in[1], "x", 1);
    acquire(in[1], "y", 2, 0);
    rig_settle(rig);
    uint64_t get = rig_get_session(rig, in[1].session);
    rig_reads(rig);
    const lm_api_session_info_t *info = rig_answer(rig, get)->get_session->session;
    cr_assert(lm_bytes_equal(info->client, lm_bytes_of("c1")));
    cr_assert_eq(info->hold_count, 2);
    cr_assert_eq(info->n_holds, 2);
    cr_assert_eq(info->ttl_ms, 11000);
    uint64_t unknown = rig_get_session(rig, "00000000000fffff");
    rig_reads(rig);
    SAID(unknown, "error NOT_FOUND");
    uint64_t page = rig_list_sessions(rig, 2, lm_bytes_of(""));
    rig_reads(rig);
    const lm_api_list_sessions_response_t *list = rig_answer(rig, page)->list_sessions;
    cr_assert_eq(list->n_sessions, 2);
    cr_assert(lm_bytes_equal(list->sessions[1].session_id, lm_bytes_of(in[1].session)));
    cr_assert_eq(list->sessions[1].hold_count, 2);
    cr_assert_eq(list->sessions[1].n_holds, 0);
    rig_close_session(rig, in[1]);
    rig_settle(rig);
    page = rig_list_sessions(rig, 5, list->next_page_token);
    rig_reads(rig);
    list = rig_answer(rig, page)->list_sessions;
    cr_assert_eq(list->n_sessions, 3);
    cr_assert(lm_bytes_equal(list->sessions[0].session_id, lm_bytes_of(in[2].session)));
    cr_assert_eq(list->next_page_token.size, 0);
}
