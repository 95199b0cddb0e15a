/* Each timer is a spot in the heap, and the function to be called. */
#include "lock_timer.h"

#include "lock_map.h"

void lm_lock_timer_clear(lm_lock_timers_t *timers) { lm_lock_heap_clear(&timers->heap); }

void lm_lock_timer_set(lm_lock_timers_t *timers, lm_lock_timer_t *timer, uint64_t at_us,
                       void (*fire)(void *room, lm_lock_timer_t *timer))
{
    timer->fire = fire;
    lm_lock_heap_set(&timers->heap, &timer->spot, at_us);
}

void lm_lock_timer_stop(lm_lock_timers_t *timers, lm_lock_timer_t *timer)
{
    lm_lock_heap_stop(&timers->heap, &timer->spot);
}

bool lm_lock_timer_is_set(const lm_lock_timer_t *timer) { return timer->spot.place != 0; }

uint64_t lm_lock_timer_next(const lm_lock_timers_t *timers)
{
    return lm_lock_heap_next(&timers->heap);
}

size_t lm_lock_timer_run(lm_lock_timers_t *timers, uint64_t now_us, size_t at_most, void *room)
{
    size_t fired = 0;
    lm_lock_spot_t *spot;
    while (fired < at_most && (spot = lm_lock_heap_take(&timers->heap, now_us))) {
        lm_lock_timer_t *timer = LM_LOCK_OF(spot, lm_lock_timer_t, spot);
        timer->fire(room, timer);
        fired++;
    }
    return fired;
}
