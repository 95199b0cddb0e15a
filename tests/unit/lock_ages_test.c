/* How old holds are, by marks of numbers and times. */
#include "lock_ages.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define SECOND UINT64_C(1000000)

TestSuite(lock_ages, .timeout = 60);

static lm_lock_ages_t ages;

static void expect_age(uint64_t number, uint64_t now_us, uint64_t expected_us)
{
    uint64_t age_us;
    cr_assert(lm_lock_ages_of(&ages, number, now_us, &age_us), "hold %d", (int)number);
    uint64_t off = age_us > expected_us ? age_us - expected_us : expected_us - age_us;
    uint64_t most = expected_us / 16 > 20000 ? expected_us / 16 : 20000;
    cr_assert_leq(off, most, "hold %d: %llu instead of %llu us", (int)number,
                  (unsigned long long)age_us, (unsigned long long)expected_us);
}

Test(lock_ages, a_hold_is_as_old_as_its_mark)
{
    uint64_t age_us;
    lm_lock_ages_begin(&ages, 10, SECOND);
    lm_lock_ages_mark(&ages, 20, 2 * SECOND);
    lm_lock_ages_mark(&ages, 21, 5 * SECOND);
    expect_age(11, 6 * SECOND, 4 * SECOND);
    expect_age(20, 6 * SECOND, 4 * SECOND);
    expect_age(21, 6 * SECOND, SECOND);
    expect_age(22, 6 * SECOND, 0); /* given out in this very turn */
    cr_assert_not(lm_lock_ages_of(&ages, 10, 6 * SECOND, &age_us), "before the beginning");
    lm_lock_ages_begin(&ages, 40, 7 * SECOND);
    cr_assert_not(lm_lock_ages_of(&ages, 21, 8 * SECOND, &age_us), "begun anew");
}

Test(lock_ages, those_that_share_a_mark_are_not_taken_for_later_ones)
{
    lm_lock_ages_begin(&ages, 0, SECOND);
    lm_lock_ages_mark(&ages, 1, 2 * SECOND);
    lm_lock_ages_mark(&ages, 2, 2 * SECOND + 5000);
    lm_lock_ages_mark(&ages, 3, 60 * SECOND);
    expect_age(2, 62 * SECOND, 60 * SECOND - 5000);
}

/* A grant every 3 ms, then long pauses too: no hold is taken for much older or younger
 * than it is, however often marks had to go. */
Test(lock_ages, a1_a2_ages_stay_true_for_ever)
{
    enum { HOLDS = 1200000 };
    static uint64_t begun[HOLDS + 1];
    uint64_t now_us = SECOND, chance = 1;
    lm_lock_ages_begin(&ages, 0, now_us);
    for (uint64_t number = 1; number <= HOLDS; number++) {
        chance = chance * UINT64_C(6364136223846793005) + 1442695040888963407;
        bool pause = number > HOLDS / 2 && (chance >> 33) % 1000 == 0;
        now_us += pause ? 30 * SECOND : 1 + (chance >> 40) % 6000;
        begun[number] = now_us;
        lm_lock_ages_mark(&ages, number, now_us);
        cr_assert_leq(ages.n, LM_LOCK_AGES_MARKS);
        if (number % 1999 != 0) continue;
        for (uint64_t one = number; one > 0; one -= one / 3 + 1)
            expect_age(one, now_us, now_us - begun[one]);
    }
}
