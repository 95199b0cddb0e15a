/* Who has to go, who may stay, and how often it is worth a look. */
#include "frontend_guard.h"

#include <criterion/criterion.h>

#include "frontend_limits.h"

enum {
    CONNECTIONS_MAX = 64,
    PER_ADDRESS_MAX = 40,
    CALLS_MAX = 1600,
    LOOK_US = 100000,
    SECOND_US = 1000000,
    KEY = 100,
    HOST = 7
};

static lm_frontend_guard_t *guard;
static lm_guard_facts_t facts;
static lm_guard_seen_t seen[CONNECTIONS_MAX];
static size_t n_seen;
static uint64_t now_us;

static void set_up(void)
{
    now_us = SECOND_US;
    facts = (lm_guard_facts_t){.descriptors = 20, .descriptors_max = 65536};
    n_seen = 0;
    lm_guard_rules_t rules = {.per_address_max = PER_ADDRESS_MAX, .calls_max = CALLS_MAX};
    guard = lm_frontend_guard_new(now_us, &rules);
}

static void tear_down(void) { lm_frontend_guard_destroy(&guard); }

TestSuite(frontend_guard, .init = set_up, .fini = tear_down, .timeout = 60);

/* Number n comes in; its key is KEY + n. */
static lm_guard_seen_t *come(uint64_t host)
{
    cr_assert_lt(n_seen, CONNECTIONS_MAX);
    seen[n_seen] = (lm_guard_seen_t){.key = KEY + n_seen, .host = host, .fd = 10 + (int)n_seen};
    return &seen[n_seen++];
}

static size_t look(void)
{
    const lm_guard_verdict_t *verdicts;
    now_us += LOOK_US;
    return lm_frontend_guard_look(guard, now_us, &facts, seen, n_seen, &verdicts);
}

/* Looks, and expects that just these have to go, by their numbers in this order; -1 ends them. */
static void expect_verdicts(lm_guard_reason_t reason, const int *numbers)
{
    const lm_guard_verdict_t *verdicts;
    now_us += LOOK_US;
    size_t n = lm_frontend_guard_look(guard, now_us, &facts, seen, n_seen, &verdicts);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(verdicts[i].key, KEY + (uint64_t)numbers[i], "%zu: %d", i, verdicts[i].fd);
        cr_assert_eq(verdicts[i].fd, 10 + numbers[i]);
        cr_assert_eq(verdicts[i].reason, reason);
    }
    cr_assert_eq(numbers[n], -1, "%zu have to go", n);
}

static uint64_t ended(lm_guard_reason_t reason)
{
    return lm_frontend_guard_figures(guard).ended[reason];
}

static uint64_t pause_us(void) { return lm_frontend_guard_next_us(guard, now_us, &facts) - now_us; }

static void rest(void)
{
    for (int i = 0; i < 20; i++) look();
}

/* ---- waste ----------------------------------------------------------------------------------- */

Test(frontend_guard, waste_at_once_is_ended_beyond_its_limit)
{
    int64_t forgiven = (int64_t)LM_WASTE_BYTES_PER_SECOND * LOOK_US / SECOND_US;
    lm_guard_seen_t *one = come(1), *other = come(2);
    look();
    one->bytes = LM_WASTE_BYTES + (uint64_t)forgiven;
    other->bytes = LM_WASTE_BYTES + (uint64_t)forgiven + 1;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){1, -1});
    cr_assert_eq(ended(LM_GUARD_WASTEFUL), 1);
}

Test(frontend_guard, waste_in_time_is_ended_beyond_its_rate)
{
    lm_guard_seen_t *good = come(1), *bad = come(2);
    int looks = 0;
    for (size_t n = 0; n == 0; looks++) {
        good->bytes += LM_WASTE_BYTES_PER_SECOND / 10;
        bad->bytes += LM_WASTE_BYTES_PER_SECOND / 10 + 40000;
        n = look();
    }
    cr_assert_eq(looks, 1 + LM_WASTE_BYTES / 40000);
    good->bytes = LM_GUARD_BYTES_UNKNOWN;
    now_us += SECOND_US;
    bad->bytes += 2 * LM_WASTE_BYTES;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){1, -1});
}

Test(frontend_guard, whatever_leads_to_an_answer_is_free)
{
    lm_guard_seen_t *one = come(1);
    for (int i = 0; i < 100; i++) {
        one->bytes += 10 * LM_WASTE_BYTES;
        lm_frontend_guard_credit(guard, KEY, 10 * LM_WASTE_BYTES);
        cr_assert_eq(look(), 0);
    }
}

Test(frontend_guard, a_call_that_is_taken_back_counts_after_all)
{
    lm_guard_seen_t *one = come(1);
    one->bytes = 2 * LM_WASTE_BYTES;
    lm_frontend_guard_credit(guard, KEY, 2 * LM_WASTE_BYTES);
    cr_assert_eq(look(), 0);
    lm_frontend_guard_credit(guard, KEY, -2 * LM_WASTE_BYTES);
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){0, -1});
}

Test(frontend_guard, a_node_may_have_more_on_its_way)
{
    lm_guard_seen_t *one = come(1);
    lm_frontend_guard_vouch(guard, KEY);
    one->bytes = LM_WASTE_NODE_BYTES;
    cr_assert_eq(look(), 0);
    one->bytes *= 3;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){0, -1});
}

Test(frontend_guard, an_address_that_goes_on_has_less_for_a_minute)
{
    for (int i = 0; i < 3; i++) {
        come(HOST)->bytes = 2 * LM_WASTE_BYTES;
        cr_assert_eq(look(), 1);
    }
    n_seen = 3;
    lm_guard_seen_t *again = come(HOST), *other = come(HOST + 1);
    cr_assert_eq(look(), 0);
    again->bytes = other->bytes = LM_WASTE_BYTES / 2;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){3, -1});
    now_us += 61 * SECOND_US;
    lm_guard_seen_t *late = come(HOST);
    late->bytes = LM_WASTE_BYTES / 2;
    cr_assert_eq(look(), 0);
}

Test(frontend_guard, who_has_to_go_is_told_once_a_second)
{
    lm_guard_seen_t *one = come(1);
    one->bytes = 2 * LM_WASTE_BYTES;
    cr_assert_eq(look(), 1);
    one->bytes += 2 * LM_WASTE_BYTES;
    cr_assert_eq(look(), 0, "it is on its way");
    now_us += SECOND_US;
    one->bytes += 2 * LM_WASTE_BYTES;
    cr_assert_eq(look(), 1, "it is still there");
    cr_assert_eq(ended(LM_GUARD_WASTEFUL), 2);
}

/* ---- streams --------------------------------------------------------------------------------- */

Test(frontend_guard, who_has_more_calls_open_than_many_times_the_limit_goes)
{
    come(1);
    come(2);
    lm_frontend_guard_count(guard, KEY, CALLS_MAX, false);
    lm_frontend_guard_count(guard, KEY + 1, CALLS_MAX + 1, false);
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){1, -1});
    lm_frontend_guard_count(guard, KEY, 2, false);
    lm_frontend_guard_count(guard, KEY, -2, false);
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){-1});
}

/* ---- memory ---------------------------------------------------------------------------------- */

Test(frontend_guard, memory_that_calls_explain_ends_nobody)
{
    come(1)->bytes = LM_GREED_BYTES * 4;
    facts.calls = 100;
    facts.used_bytes = LM_MEMORY_BYTES + 100 * LM_MEMORY_BYTES_PER_CALL;
    cr_assert_eq(look(), 0);
    facts.calls = 99;
    seen[0].bytes += LM_GREED_BYTES * 4;
    cr_assert_eq(look(), 1);
}

Test(frontend_guard, memory_that_nothing_explains_ends_the_greediest_one_by_one)
{
    for (int i = 0; i < 4; i++) come((uint64_t)i)->bytes = (uint64_t)(i + 1) * LM_GREED_BYTES;
    lm_frontend_guard_credit(guard, KEY + 3, 4 * LM_GREED_BYTES);
    facts.used_bytes = 2 * LM_MEMORY_BYTES;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){2, -1});
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){-1});
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){1, -1});
    for (int i = 0; i < 8; i++) expect_verdicts(LM_GUARD_WASTEFUL, (int[]){-1});
    cr_assert_eq(ended(LM_GUARD_WASTEFUL), 2, "the first has sent no more than everybody may");
}

/* Calls that come faster than they are taken: each that is answered speaks for its connection. */
Test(frontend_guard, memory_that_nobody_greedy_explains_ends_the_one_that_sends_most)
{
    facts.alone = true;
    for (int i = 0; i < 3; i++) come((uint64_t)i);
    for (uint64_t round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) { /* the last is a node's */
            seen[i].bytes += (uint64_t)(i + 2) * LM_GREED_BYTES;
            lm_frontend_guard_credit(guard, KEY + (uint64_t)i, 8 * LM_GREED_BYTES);
        }
        lm_frontend_guard_vouch(guard, KEY + 2);
        facts.used_bytes = 2 * LM_MEMORY_BYTES + round;
        expect_verdicts(LM_GUARD_WASTEFUL, round ? (int[]){1, -1} : (int[]){-1});
        now_us += SECOND_US;
    }
}

Test(frontend_guard, memory_of_other_actors_is_nobodys_fault)
{
    come(1)->bytes = 8 * LM_GREED_BYTES;
    lm_frontend_guard_credit(guard, KEY, 8 * LM_GREED_BYTES);
    facts.used_bytes = 20 * (uint64_t)LM_MEMORY_BYTES;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){-1});
}

/* ---- too many -------------------------------------------------------------------------------- */

Test(frontend_guard, descriptors_are_given_back_beyond_the_reserve)
{
    for (int i = 0; i < 10; i++) come(1);
    facts.descriptors_max = 800;
    facts.descriptors = 700;
    cr_assert_eq(look(), 0);
    cr_assert_not(lm_frontend_guard_is_due(guard, now_us, &facts));
    facts.descriptors = 701;
    cr_assert(lm_frontend_guard_is_due(guard, now_us, &facts));
    cr_assert_eq(look(), 1);
    cr_assert_eq(look(), 0, "the one that goes is counted");
    facts.descriptors = 703;
    cr_assert_eq(look(), 2);
    cr_assert_eq(ended(LM_GUARD_CROWDED), 3);
}

Test(frontend_guard, who_never_called_goes_first_then_the_newest_and_itself_never)
{
    for (int i = 0; i < 6; i++) come(1);
    seen[5].own = true;
    lm_frontend_guard_credit(guard, KEY + 1, 10);
    lm_frontend_guard_credit(guard, KEY + 4, 10);
    lm_frontend_guard_vouch(guard, KEY + 3);
    look();
    facts.descriptors_max = 80;
    facts.descriptors = 74;
    expect_verdicts(LM_GUARD_CROWDED, (int[]){2, 0, 4, 1, -1});
    facts.descriptors = 100;
    expect_verdicts(LM_GUARD_CROWDED, (int[]){3, -1});
}

Test(frontend_guard, an_address_may_have_as_many_as_its_limit_and_no_more)
{
    for (int i = 0; i < PER_ADDRESS_MAX; i++) come(HOST);
    for (int i = 0; i < 10; i++) come(HOST + 1);
    cr_assert_eq(look(), 0);
    come(HOST);
    expect_verdicts(LM_GUARD_ADDRESS, (int[]){PER_ADDRESS_MAX + 10, -1});
    cr_assert_eq(look(), 0, "it is on its way");
    n_seen--;
    now_us += 2 * SECOND_US;
    cr_assert_eq(look(), 0);
    cr_assert_eq(ended(LM_GUARD_ADDRESS), 1);
    cr_assert_not(lm_frontend_guard_is_attacked(guard, now_us), "it has done no harm");
}

Test(frontend_guard, beyond_the_limit_of_an_address_who_called_stays_and_a_node_most_of_all)
{
    for (int i = 0; i < PER_ADDRESS_MAX + 3; i++) come(HOST);
    for (int i = 0; i < PER_ADDRESS_MAX + 3; i++)
        if (i != 7) lm_frontend_guard_credit(guard, KEY + (uint64_t)i, 1);
    for (int i = PER_ADDRESS_MAX + 1; i < PER_ADDRESS_MAX + 3; i++)
        lm_frontend_guard_vouch(guard, KEY + (uint64_t)i);
    seen[PER_ADDRESS_MAX].own = true;
    expect_verdicts(LM_GUARD_ADDRESS, (int[]){7, PER_ADDRESS_MAX - 1, PER_ADDRESS_MAX - 2, -1});
}

Test(frontend_guard, an_address_without_a_limit_may_have_all)
{
    lm_frontend_guard_destroy(&guard);
    guard = lm_frontend_guard_new(now_us, &(lm_guard_rules_t){0});
    for (int i = 0; i < CONNECTIONS_MAX; i++) come(HOST);
    cr_assert_eq(look(), 0);
}

/* ---- age ------------------------------------------------------------------------------------- */

static void rule_age(uint64_t age_us, uint64_t grace_us)
{
    lm_guard_rules_t rules = {.age_us = age_us, .grace_us = grace_us};
    lm_frontend_guard_destroy(&guard);
    guard = lm_frontend_guard_new(now_us, &rules);
}

/* In which of so many looks number n was told to go for its age; 0: in none. */
static int aged_in(size_t n, int looks)
{
    const lm_guard_verdict_t *verdicts;
    for (int i = 1; i <= looks; i++) {
        now_us += LOOK_US;
        size_t n_verdicts = lm_frontend_guard_look(guard, now_us, &facts, seen, n_seen, &verdicts);
        for (size_t k = 0; k < n_verdicts; k++) {
            cr_assert_eq(verdicts[k].reason, LM_GUARD_AGED);
            if (verdicts[k].key == KEY + n) return i;
        }
    }
    return 0;
}

Test(frontend_guard, an_old_connection_goes_when_its_grace_is_over_and_not_all_at_once)
{
    rule_age(2 * SECOND_US, SECOND_US);
    come(1)->ages = true;
    look();
    int first = aged_in(0, 100);
    cr_assert(first >= 32 && first <= 35, "%d: 2 s, a tenth of them, 1 s, a tenth of 2 s", first);
    cr_assert_eq(aged_in(0, 5), 0, "told once a second");
    cr_assert_eq(ended(LM_GUARD_AGED), 1);
    uint64_t came_us = now_us;
    for (uint64_t i = 1; i < 10; i++) {
        *come(1) = (lm_guard_seen_t){.key = KEY + i * 20011, .fd = 10 + (int)i, .ages = true};
    }
    size_t most = 0;
    const lm_guard_verdict_t *verdicts;
    while (now_us < came_us + 4 * SECOND_US) {
        now_us += LOOK_US / 10;
        size_t n = lm_frontend_guard_look(guard, now_us, &facts, seen + 1, 9, &verdicts);
        if (n > most) most = n;
    }
    cr_assert(most >= 1 && most < 5, "%zu at once", most);
    cr_assert_geq(ended(LM_GUARD_AGED), 10);
}

Test(frontend_guard, who_is_no_client_on_that_port_has_no_age)
{
    rule_age(SECOND_US, SECOND_US);
    come(1)->ages = false;
    lm_guard_seen_t *itself = come(1), *node = come(1);
    itself->ages = itself->own = node->ages = true;
    lm_frontend_guard_vouch(guard, node->key);
    for (int i = 0; i < 100; i++) cr_assert_eq(look(), 0);
}

Test(frontend_guard, who_waits_for_a_lock_is_not_ended_for_its_age)
{
    rule_age(2 * SECOND_US, SECOND_US);
    come(1)->ages = true;
    lm_frontend_guard_count(guard, KEY, 1, true);
    lm_frontend_guard_count(guard, KEY, 1, false);
    cr_assert_eq(aged_in(0, 100), 0, "it would lose its place in the queue");
    lm_frontend_guard_count(guard, KEY, -1, true);
    cr_assert_eq(aged_in(0, 5), 1, "whatever else goes on");
}

Test(frontend_guard, without_an_age_nobody_goes_for_it)
{
    come(1)->ages = true;
    for (int i = 0; i < 100; i++) cr_assert_eq(look(), 0);
}

Test(frontend_guard, another_connection_from_the_same_port_has_an_age_of_its_own)
{
    rule_age(2 * SECOND_US, SECOND_US);
    come(1)->ages = true;
    for (int i = 0; i < 30; i++) look();
    n_seen = 0;
    look();
    look();
    n_seen = 1;
    cr_assert_geq(aged_in(0, 100), 32);
}

Test(frontend_guard, what_one_was_told_does_not_spare_the_next_from_the_same_port)
{
    lm_guard_seen_t *one = come(1);
    one->socket = 1;
    look();
    one->bytes = 2 * LM_WASTE_BYTES;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){0, -1});
    one->socket = 2;
    expect_verdicts(LM_GUARD_WASTEFUL, (int[]){0, -1});
}

Test(frontend_guard, the_second_of_two_from_the_same_port_is_judged_too)
{
    lm_guard_seen_t *one = come(1), *other = come(2);
    other->key = one->key;
    one->socket = 1;
    other->socket = 2;
    look();
    lm_frontend_guard_credit(guard, one->key, 4 * LM_WASTE_BYTES);
    one->bytes = 4 * LM_WASTE_BYTES;
    look();
    cr_assert_eq(ended(LM_GUARD_WASTEFUL), 0);
    other->bytes = 2 * LM_WASTE_BYTES;
    const lm_guard_verdict_t *verdicts;
    now_us += LOOK_US;
    cr_assert_eq(lm_frontend_guard_look(guard, now_us, &facts, seen, n_seen, &verdicts), 1);
    cr_assert_eq(verdicts[0].fd, other->fd);
}

Test(frontend_guard, connections_that_have_gone_are_forgotten)
{
    come(1)->bytes = LM_WASTE_BYTES / 2;
    look();
    n_seen = 0;
    for (int i = 0; i < 6; i++) look();
    cr_assert_eq(lm_frontend_guard_figures(guard).open, 0);
    come(1)->bytes = LM_WASTE_BYTES / 2;
    cr_assert_eq(look(), 0, "it is another one of the same address and port");
    cr_assert_eq(lm_frontend_guard_figures(guard).open, 1);
}

/* ---- when ------------------------------------------------------------------------------------ */

Test(frontend_guard, rests_while_all_that_comes_leads_to_something)
{
    lm_guard_seen_t *one = come(1);
    look();
    cr_assert_eq(pause_us(), LOOK_US, "somebody is new");
    for (int i = 0; i < 20; i++) {
        one->bytes += 100000;
        facts.cpu_us += LOOK_US / 10;
        lm_frontend_guard_credit(guard, KEY, 100000);
        look();
    }
    cr_assert_eq(pause_us(), SECOND_US);
    one->bytes += 10000;
    look();
    cr_assert_eq(pause_us(), LOOK_US, "it sends without use");
    look();
    cr_assert_eq(pause_us(), SECOND_US);
    facts.cpu_us += LOOK_US / 2;
    look();
    cr_assert_eq(pause_us(), LOOK_US, "the processor is busy");
}

Test(frontend_guard, what_stirs_it_is_seen_within_a_tenth_of_a_second)
{
    rest();
    cr_assert_eq(pause_us(), SECOND_US);
    cr_assert_not(lm_frontend_guard_is_due(guard, now_us + SECOND_US - 1, &facts));
    cr_assert(lm_frontend_guard_is_due(guard, now_us + SECOND_US, &facts));
    lm_frontend_guard_stir(guard, now_us + 1);
    cr_assert_eq(pause_us(), LOOK_US);
    now_us += 200000;
    rest();
    lm_frontend_guard_stir(guard, now_us + 300000);
    cr_assert(lm_frontend_guard_is_due(guard, now_us + 300000, &facts), "at once after a while");
}

Test(frontend_guard, an_attack_is_watched_closely_until_it_is_over)
{
    come(1)->bytes = 2 * LM_WASTE_BYTES;
    look();
    n_seen = 0;
    cr_assert_eq(pause_us(), 20000);
    cr_assert(lm_frontend_guard_is_attacked(guard, now_us + 9999999));
    cr_assert_not(lm_frontend_guard_is_attacked(guard, now_us + 10000000));
    now_us += 10000000;
    look();
    cr_assert_eq(pause_us(), SECOND_US);
}

Test(frontend_guard, few_descriptors_are_looked_at_more_often)
{
    rest();
    facts.descriptors_max = 256;
    cr_assert_eq(pause_us(), 20000);
    facts.descriptors_max = 4096;
    facts.descriptors = 584;
    cr_assert_eq(pause_us(), 150000, "3000 are left, and 20 may come each millisecond");
    facts.descriptors_max = 0;
    cr_assert_eq(pause_us(), 20000, "they cannot be counted");
}

Test(frontend_guard, what_is_logged_has_a_bounded_rate)
{
    come(1)->bytes = 2 * LM_WASTE_BYTES;
    look();
    cr_assert_eq(lm_frontend_guard_unsaid(guard, now_us, LM_GUARD_WASTEFUL), 1);
    cr_assert_eq(lm_frontend_guard_unsaid(guard, now_us, LM_GUARD_WASTEFUL), 0);
    for (int i = 0; i < 5; i++) {
        come(1)->bytes = 2 * LM_WASTE_BYTES;
        look();
        cr_assert_eq(lm_frontend_guard_unsaid(guard, now_us, LM_GUARD_WASTEFUL), 0);
    }
    now_us += SECOND_US;
    cr_assert_eq(lm_frontend_guard_unsaid(guard, now_us, LM_GUARD_WASTEFUL), 5);
    cr_assert_eq(lm_frontend_guard_unsaid(guard, now_us, LM_GUARD_CROWDED), 0);
}
