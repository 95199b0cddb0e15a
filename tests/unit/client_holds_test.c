/* What a session's client knows of its requests and holds, against a region that is a list here. */
#include "client_holds.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static lm_holds_t *holds;
static lm_api_session_hold_t told[8];

static void set_up(void) { holds = lm_holds_new(16); }
static void tear_down(void) { lm_holds_destroy(&holds); }

TestSuite(client_holds, .init = set_up, .fini = tear_down, .timeout = 20);

static lm_hold_t *want(const char *name)
{
    lm_hold_t *hold = lm_holds_want(holds, lm_bytes_of(name), "an-id");
    cr_assert(hold, "%s is known", name);
    return hold;
}

static void grant(lm_hold_t *hold, const char *hold_id)
{
    lm_holds_granted(holds, hold, lm_bytes_of(hold_id), 7);
}

static lm_hold_t *have(const char *name)
{
    lm_hold_t *hold = want(name);
    grant(hold, name);
    return hold;
}

static uint64_t ask(void)
{
    lm_api_keep_alive_request_t request = {0};
    return lm_holds_ask(holds, &request);
}

static uint64_t known_version(void)
{
    lm_api_keep_alive_request_t request = {0};
    lm_holds_ask(holds, &request);
    return request.known_holds_version;
}

/** The answer to that keep-alive: names, and nothing behind the last. Returns the orphans. */
static size_t tell(uint64_t sequence, uint64_t version, const char *const names[])
{
    lm_api_keep_alive_response_t answer = {.holds_version = version, .holds = told};
    size_t orphans;
    for (; names[answer.n_holds]; answer.n_holds++, answer.hold_count++)
        told[answer.n_holds] = (lm_api_session_hold_t){
            .name = lm_bytes_of(names[answer.n_holds]), .hold_id = lm_bytes_of("told"), .token = 5};
    lm_holds_told(holds, sequence, &answer, &orphans);
    return orphans;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_NAMES ((const char *const[]){NULL})

/* ---- S12b ------------------------------------------------------------------------------------ */

Test(client_holds, s12b_done_below_moves_when_everything_below_is_known)
{
    cr_assert_eq(lm_holds_done_below(holds), 1);
    lm_hold_t *a = want("a"), *b = want("b"), *c = want("c");
    cr_assert_eq(a->number, 1);
    cr_assert_eq(c->number, 3);
    cr_assert_eq(lm_holds_done_below(holds), 1);
    grant(b, "hb");
    cr_assert_eq(lm_holds_done_below(holds), 1, "1 is under way");
    lm_holds_over(holds, a);
    cr_assert_eq(lm_holds_done_below(holds), 3);
    lm_holds_give_up(holds, c);
    cr_assert_eq(lm_holds_done_below(holds), 3, "nobody knows what became of 3");
    lm_holds_return(holds, b, "id");
    cr_assert_eq(b->number, 4);
    lm_holds_over(holds, b);
    cr_assert_eq(lm_holds_done_below(holds), 3);
    lm_holds_over(holds, c);
    cr_assert_eq(lm_holds_done_below(holds), 5);
    cr_assert_eq(lm_holds_count(holds), 0);
}

Test(client_holds, s12b_a_long_wait_does_not_stop_the_others)
{
    char name[8];
    lm_hold_t *slow = want("slow");
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "n%d", i);
        lm_hold_t *hold = want(name);
        cr_assert_eq(hold->number, i < 15 ? (uint64_t)i + 2 : 0);
        cr_assert_str_eq(hold->request_id, i < 15 ? "" : "an-id");
        lm_holds_over(holds, hold);
    }
    cr_assert_eq(lm_holds_done_below(holds), 1);
    lm_holds_over(holds, slow);
    cr_assert_eq(lm_holds_done_below(holds), 17);
    cr_assert_eq(want("next")->number, 17);
}

Test(client_holds, s12b_a_number_that_was_refused_is_settled)
{
    lm_hold_t *a = want("a");
    lm_holds_renumber(holds, a, "other");
    cr_assert_eq(a->number, 0);
    cr_assert_str_eq(a->request_id, "other");
    cr_assert_eq(lm_holds_done_below(holds), 2);
}

/* ---- one request per name -------------------------------------------------------------------- */

Test(client_holds, a_name_is_wanted_once)
{
    lm_hold_t *a = want("a");
    cr_assert_null(lm_holds_want(holds, lm_bytes_of("a"), "id"));
    grant(a, "h");
    cr_assert_null(lm_holds_want(holds, lm_bytes_of("a"), "id"));
    lm_holds_return(holds, a, "id");
    cr_assert_null(lm_holds_want(holds, lm_bytes_of("a"), "id"));
    lm_holds_over(holds, a);
    cr_assert_null(lm_holds_find(holds, lm_bytes_of("a")));
    cr_assert_eq(want("a")->number, 3);
}

Test(client_holds, what_is_given_up_is_cancelled_then_released)
{
    lm_hold_t *a = want("a");
    cr_assert_null(lm_holds_given_up(holds));
    lm_holds_give_up(holds, a);
    cr_assert_eq(lm_holds_given_up(holds), a);
    cr_assert_eq(a->state, LM_HOLD_CANCELLING);
    a->busy = true;
    cr_assert_null(lm_holds_given_up(holds), "somebody makes a call about it");
    a->busy = false;
    grant(a, "h"); /* the Cancel says that it was granted */
    cr_assert_eq(a->state, LM_HOLD_RELEASING);
    cr_assert_eq(lm_holds_count(holds), 0);
    cr_assert_eq(lm_holds_done_below(holds), 2);
    lm_holds_over(holds, a);
    cr_assert_null(lm_holds_given_up(holds));
}

Test(client_holds, a_release_that_is_given_up_keeps_its_number)
{
    lm_hold_t *a = have("a");
    lm_holds_return(holds, a, "id");
    lm_holds_give_up(holds, a);
    cr_assert_eq(a->state, LM_HOLD_RELEASING);
    cr_assert_eq(a->number, 2);
    cr_assert_str_eq(a->hold_id, "a");
}

/* ---- S12c ------------------------------------------------------------------------------------ */

Test(client_holds, s12c_a_hold_that_nobody_has_is_given_up)
{
    have("kept");
    want("wanted");
    cr_assert_eq(tell(ask(), 9, NAMES("kept", "wanted", "orphan")), 1);
    lm_hold_t *orphan = lm_holds_given_up(holds);
    cr_assert_str_eq(orphan->name, "orphan");
    cr_assert_eq(orphan->state, LM_HOLD_RELEASING);
    cr_assert_str_eq(orphan->hold_id, "told");
    cr_assert_eq(lm_holds_count(holds), 1);
    lm_holds_over(holds, orphan);
    cr_assert_null(lm_holds_given_up(holds));
}

Test(client_holds, s12c_an_answer_to_a_dead_stream)
{
    /* Wanted, broken, cancelled; a copy of the request is executed all the same. */
    lm_hold_t *a = want("a");
    lm_holds_give_up(holds, a);
    cr_assert_eq(tell(ask(), 3, NAMES("a")), 0, "its Cancel sees to it");
    lm_holds_over(holds, a);
    cr_assert_eq(tell(ask(), 4, NAMES("a")), 1);
}

Test(client_holds, s12c_a_list_that_is_older_than_a_release_says_nothing)
{
    lm_hold_t *a = have("a");
    uint64_t before = ask();
    lm_holds_return(holds, a, "id");
    lm_holds_over(holds, a);
    cr_assert_eq(tell(before, 5, NAMES("a")), 0);
    cr_assert_eq(known_version(), 0, "the next list is told as a whole");
    cr_assert_eq(tell(ask(), 6, NO_NAMES), 0);
    cr_assert_eq(known_version(), 6);
}

Test(client_holds, s12c_a_list_that_is_older_than_a_new_request_says_nothing)
{
    lm_hold_t *a = have("a");
    uint64_t before = ask();
    lm_holds_return(holds, a, "id");
    lm_holds_over(holds, a);
    have("a");
    cr_assert_eq(tell(before, 5, NAMES("a")), 0);
    cr_assert_null(lm_holds_given_up(holds));
}

Test(client_holds, s12c_equal_versions_have_no_list)
{
    have("a");
    cr_assert_eq(tell(ask(), 5, NAMES("a")), 0);
    cr_assert_eq(known_version(), 5);
    cr_assert_eq(tell(ask(), 5, NO_NAMES), 0);
    cr_assert_eq(lm_holds_count(holds), 1);
}

/* One page of a list: a hold of that name, and more behind it. Returns the orphans. */
static size_t tell_page(uint64_t version, const char *one, const char *hold_id, bool more)
{
    lm_api_session_hold_t hold = {.name = lm_bytes_of(one), .hold_id = lm_bytes_of(hold_id)};
    lm_api_keep_alive_response_t answer = {.holds_version = version,
                                           .holds = &hold,
                                           .n_holds = 1,
                                           .hold_count = 3,
                                           .more_holds = more};
    size_t orphans;
    lm_holds_told(holds, ask(), &answer, &orphans);
    return orphans;
}

static const char *asks_behind(void)
{
    static char text[32];
    lm_api_keep_alive_request_t request = {0};
    lm_holds_ask(holds, &request);
    snprintf(text, sizeof text, "%.*s", LM_BYTES_ARG(request.holds_after));
    return text;
}

Test(client_holds, s12c_a_long_list_is_read_part_by_part)
{
    have("a");
    have("b");
    cr_assert_eq(tell_page(5, "a", "1-0", true), 0);
    cr_assert_eq(known_version(), 0);
    cr_assert_str_eq(asks_behind(), "1-0");
    cr_assert_eq(tell_page(5, "b", "2-0", true), 0);
    cr_assert_str_eq(asks_behind(), "2-0");
    cr_assert_eq(tell_page(5, "orphan", "3-0", false), 1, "also what comes last");
    cr_assert_eq(known_version(), 5);
    cr_assert_str_eq(asks_behind(), "");
}

Test(client_holds, s12c_a_list_that_changed_while_it_was_read_is_read_again)
{
    have("a");
    have("b");
    tell_page(5, "a", "1-0", true);
    tell_page(6, "b", "2-0", false);
    cr_assert_eq(known_version(), 0);
    cr_assert_str_eq(asks_behind(), "");
    tell_page(6, "a", "1-0", true);
    tell_page(6, "b", "2-0", false);
    cr_assert_eq(known_version(), 6);
}

Test(client_holds, s12c_a_part_that_is_older_than_a_release_makes_nothing_known)
{
    lm_hold_t *a = have("a");
    uint64_t before = ask();
    lm_holds_return(holds, a, "id");
    lm_holds_over(holds, a);
    lm_api_session_hold_t hold = {.name = lm_bytes_of("a"), .hold_id = lm_bytes_of("1-0")};
    lm_api_keep_alive_response_t first = {
        .holds_version = 5, .holds = &hold, .n_holds = 1, .hold_count = 2, .more_holds = true};
    size_t orphans;
    lm_holds_told(holds, before, &first, &orphans);
    cr_assert_eq(orphans, 0);
    have("b");
    tell_page(5, "b", "2-0", false);
    cr_assert_eq(known_version(), 0);
}

Test(client_holds, s12c_a_session_that_others_use_too_leaves_them_alone)
{
    lm_holds_destroy(&holds);
    holds = lm_holds_new(0);
    lm_hold_t *a = want("a");
    cr_assert_eq(a->number, 0);
    cr_assert_eq(lm_holds_done_below(holds), 0);
    cr_assert_eq(tell(ask(), 5, NAMES("theirs")), 0);
    cr_assert_null(lm_holds_given_up(holds));
}

/* A random walk: the region executes requests late, twice or never, and lists are late. At the end
 * it has exactly what the client believes to have. */
enum { WALK_NAMES = 6, WALK_STEPS = 3000 };

static unsigned chance(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525U + 1013904223U;
    return (*seed >> 10) % below;
}

static void walk_list(const bool *region, uint64_t sequence, uint64_t version)
{
    static const char *const all[] = {"a", "b", "c", "d", "e", "f"};
    const char *names[WALK_NAMES + 1];
    size_t n = 0;
    for (int i = 0; i < WALK_NAMES; i++)
        if (region[i]) names[n++] = all[i];
    names[n] = NULL;
    tell(sequence, version, names);
}

static void settle_all(bool *region, uint64_t *version)
{
    lm_hold_t *hold;
    while ((hold = lm_holds_given_up(holds)) != NULL) {
        int i = hold->name[0] - 'a';
        if (hold->state == LM_HOLD_CANCELLING && region[i]) {
            grant(hold, "late");
            continue;
        }
        region[i] = false;
        ++*version;
        lm_holds_over(holds, hold);
    }
}

Test(client_holds, s12c_random_walk)
{
    bool region[WALK_NAMES] = {false};
    unsigned seed = 1;
    uint64_t version = 1;
    for (int step = 0; step < WALK_STEPS; step++) {
        char name[2] = {(char)('a' + chance(&seed, WALK_NAMES)), '\0'};
        int i = name[0] - 'a';
        lm_hold_t *hold = lm_holds_find(holds, lm_bytes_of(name));
        bool executed = chance(&seed, 2), answered = executed && chance(&seed, 2);
        if (chance(&seed, 8) == 0) {
            settle_all(region, &version);
        } else if (!hold) {
            hold = want(name);
            if (executed) region[i] = true, version++;
            answered ? grant(hold, "h") : lm_holds_give_up(holds, hold);
        } else if (hold->state == LM_HOLD_HELD) {
            lm_holds_return(holds, hold, "id");
            if (executed) region[i] = false, version++;
            answered ? lm_holds_over(holds, hold) : lm_holds_give_up(holds, hold);
        } else if (chance(&seed, 4) == 0) {
            uint64_t sequence = ask();
            walk_list(region, sequence, version);
        }
        /* A copy from long ago. */
        if (chance(&seed, 10) == 0 && !region[i] && !lm_holds_find(holds, lm_bytes_of(name)))
            region[i] = true, version++;
    }
    for (int round = 0; round < 2; round++) {
        settle_all(region, &version);
        walk_list(region, ask(), version);
    }
    settle_all(region, &version);
    for (int i = 0; i < WALK_NAMES; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        cr_assert_eq(region[i], lm_holds_find(holds, lm_bytes_of(name)) != NULL, "%s", name);
    }
}
