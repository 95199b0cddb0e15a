/* The heap of times. */
#include "frontend_timers.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N = 500 };

Test(frontend_timers, what_is_due_comes_in_order_whatever_was_moved_or_stopped)
{
    lm_frontend_timers_t timers = {0};
    static lm_frontend_timer_t all[N];
    srand(1);
    for (int i = 0; i < N; i++) lm_frontend_timers_set(&timers, &all[i], (uint64_t)rand() % 1000);
    for (int i = 0; i < N; i += 3)
        lm_frontend_timers_set(&timers, &all[i], (uint64_t)rand() % 1000);
    size_t stopped = 0;
    for (int i = 0; i < N; i += 7) {
        lm_frontend_timers_stop(&timers, &all[i]);
        lm_frontend_timers_stop(&timers, &all[i]);
        stopped++;
    }
    uint64_t last = 0;
    size_t taken = 0;
    lm_frontend_timer_t *timer;
    while ((timer = lm_frontend_timers_take(&timers, 1000))) {
        cr_assert_geq(timer->at_us, last);
        cr_assert_eq(timer->place, 0);
        last = timer->at_us;
        taken++;
    }
    cr_assert_eq(taken, N - stopped);
    cr_assert_eq(lm_frontend_timers_next(&timers), UINT64_MAX);
    lm_frontend_timers_clear(&timers);
}
