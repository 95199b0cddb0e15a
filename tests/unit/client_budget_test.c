/* Repeats are a tenth of the calls, and one a second. */
#include "client_budget.h"

#include <criterion/criterion.h>

static lm_budget_t budget;

static unsigned take_all(uint64_t now_us)
{
    unsigned n = 0;
    while (lm_budget_take(&budget, now_us)) n++;
    return n;
}

static void set_up(void) { lm_budget_begin(&budget, 5000000); }

TestSuite(client_budget, .init = set_up, .timeout = 60);

Test(client_budget, is_full_at_the_start_and_then_used_up)
{
    cr_assert_eq(take_all(5000000), 100);
    cr_assert_not(lm_budget_take(&budget, 5000000));
}

Test(client_budget, grows_by_a_tenth_of_the_calls)
{
    take_all(5000000);
    for (int i = 0; i < 255; i++) lm_budget_call(&budget, 5000000);
    cr_assert_eq(take_all(5000000), 25);
}

Test(client_budget, grows_by_one_a_second_and_never_beyond_its_bound)
{
    take_all(5000000);
    for (uint64_t ms = 1; ms <= 10000; ms++) lm_budget_call(&budget, 5000000 + ms * 7);
    cr_assert_eq(take_all(5070000), 100);
    cr_assert_eq(take_all(5070000 + 3000000), 3);
    cr_assert_eq(take_all(UINT64_MAX), 100);
}

Test(client_budget, small_steps_of_time_are_not_lost)
{
    take_all(5000000);
    unsigned n = 0;
    for (uint64_t us = 0; us <= 10000000; us += 700) n += lm_budget_take(&budget, 5000000 + us);
    cr_assert_geq(n, 6);
    cr_assert_leq(n, 10);
}

Test(client_budget, an_outage_of_30_s_adds_at_most_a_fifth)
{
    /* 100 calls a second, all of them refused for 30 s and repeated as often as they may be. */
    unsigned repeats = 0;
    for (uint64_t ms = 0; ms < 30000; ms += 10) {
        uint64_t now_us = 5000000 + ms * 1000;
        lm_budget_call(&budget, now_us);
        repeats += take_all(now_us);
    }
    cr_assert_leq(repeats, 3000 / 5);
}
