/* What is refused when a node has more to do than it can, and how soon that ends. */
#include "frontend_admission.h"

#include <criterion/criterion.h>

#include "frontend_limits.h"

enum { WINDOW_US = 100000, STEP_US = 1000 };

static lm_frontend_admission_t a;
static uint64_t now_us;

static void set_up(void)
{
    a = (lm_frontend_admission_t){0};
    now_us = 1000000;
}

TestSuite(frontend_admission, .init = set_up, .timeout = 60);

/* So many calls are under way all the time, and each takes that long. */
static void pass(uint64_t duration_us, size_t under_way, uint64_t took_us)
{
    while (a.under_way < under_way) lm_frontend_admission_begins(&a, false);
    while (a.under_way > under_way) lm_frontend_admission_ends(&a, now_us, now_us - took_us, false);
    for (uint64_t end_us = now_us + duration_us; now_us < end_us; now_us += STEP_US) {
        if (under_way == 0) continue;
        lm_frontend_admission_ends(&a, now_us, now_us - took_us, true);
        lm_frontend_admission_begins(&a, false);
    }
}

static unsigned refused_of(unsigned n, lm_frontend_admission_class_t class)
{
    unsigned refused = 0;
    for (unsigned i = 0; i < n; i++) refused += lm_frontend_admission_refuses(&a, now_us, class);
    return refused;
}

Test(frontend_admission, nothing_is_refused_while_calls_are_fast_or_few)
{
    cr_assert_eq(refused_of(100, LM_ADMISSION_ACQUIRE), 0);
    pass(3000000, LM_CROWD_MIN + 100, 20000);
    cr_assert_eq(refused_of(100, LM_ADMISSION_ACQUIRE), 0);
    pass(3000000, LM_CROWD_MIN, 400000); /* a slow disk */
    cr_assert_eq(refused_of(100, LM_ADMISSION_ACQUIRE), 0);
}

Test(frontend_admission, slow_calls_between_fast_ones_are_no_queue)
{
    for (int i = 0; i < 30; i++) {
        pass(WINDOW_US / 2, LM_CROWD_MIN * 2, 300000);
        pass(WINDOW_US / 2, LM_CROWD_MIN * 2, 5000);
    }
    cr_assert_eq(refused_of(100, LM_ADMISSION_ACQUIRE), 0);
}

Test(frontend_admission, a_queue_sheds_acquires_then_reads_and_nothing_else)
{
    pass(1000000, LM_CROWD_MIN * 2, 60000);
    unsigned some = refused_of(1000, LM_ADMISSION_ACQUIRE);
    cr_assert(some > 300 && some < 900, "%u of 1000", some);
    cr_assert_eq(refused_of(1000, LM_ADMISSION_READ), 0);
    pass(3000000, LM_CROWD_MIN * 2, 300000);
    cr_assert_eq(refused_of(1000, LM_ADMISSION_ACQUIRE), 1000);
    cr_assert_eq(refused_of(1000, LM_ADMISSION_READ), 1000);
    cr_assert_eq(refused_of(1000, LM_ADMISSION_VITAL), 0);
    cr_assert_eq(a.refused[1], some + 1000);
    cr_assert_eq(a.refused[0], 1000);
}

Test(frontend_admission, recovers_within_seconds_of_the_last_slow_call)
{
    pass(2000000, LM_CROWD_MIN * 2, 70000);
    cr_assert_gt(refused_of(100, LM_ADMISSION_ACQUIRE), 90);
    pass(5000000, LM_CROWD_MIN * 2, 10000);
    cr_assert_eq(refused_of(100, LM_ADMISSION_ACQUIRE), 0);
}

Test(frontend_admission, recovers_also_when_nobody_calls_any_more)
{
    pass(5000000, LM_CROWD_MIN * 2, 300000);
    pass(WINDOW_US, 0, 0);
    now_us += 9000000;
    cr_assert_eq(refused_of(100, LM_ADMISSION_ACQUIRE), 0);
    cr_assert_eq(refused_of(100, LM_ADMISSION_READ), 0);
}

Test(frontend_admission, acquires_that_may_wait_belong_to_the_crowd)
{
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 1200; k++) lm_frontend_admission_begins(&a, true);
        pass(WINDOW_US, 100, 60000);
    }
    cr_assert_gt(refused_of(100, LM_ADMISSION_ACQUIRE), 50);
}

Test(frontend_admission, a_lock_that_says_nothing_gets_no_more_acquires_than_that)
{
    while (a.under_way < LM_UNDER_WAY_MAX) lm_frontend_admission_begins(&a, false);
    cr_assert_eq(refused_of(10, LM_ADMISSION_ACQUIRE), 10);
    cr_assert_eq(refused_of(10, LM_ADMISSION_READ), 0);
    cr_assert_eq(refused_of(10, LM_ADMISSION_VITAL), 0);
    lm_frontend_admission_ends(&a, now_us, now_us, false);
    cr_assert_eq(refused_of(10, LM_ADMISSION_ACQUIRE), 0);
}
