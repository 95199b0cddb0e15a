/* Binary heap of timers by time; places count from 1, so that a zeroed timer is not set. */
#include "lock_timer.h"

#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"

static void put_at(lm_lock_timers_t *timers, size_t place, lm_lock_timer_t *timer)
{
    timers->items[place - 1] = timer;
    timer->place = place;
}

static uint64_t time_at(const lm_lock_timers_t *timers, size_t place)
{
    return timers->items[place - 1]->at_us;
}

static void sift_up(lm_lock_timers_t *timers, size_t place)
{
    lm_lock_timer_t *timer = timers->items[place - 1];
    while (place > 1 && time_at(timers, place / 2) > timer->at_us) {
        put_at(timers, place, timers->items[place / 2 - 1]);
        place /= 2;
    }
    put_at(timers, place, timer);
}

static void sift_down(lm_lock_timers_t *timers, size_t place)
{
    lm_lock_timer_t *timer = timers->items[place - 1];
    for (size_t child; (child = place * 2) <= timers->n; place = child) {
        if (child < timers->n && time_at(timers, child + 1) < time_at(timers, child)) child++;
        if (time_at(timers, child) >= timer->at_us) break;
        put_at(timers, place, timers->items[child - 1]);
    }
    put_at(timers, place, timer);
}

void lm_lock_timer_clear(lm_lock_timers_t *timers)
{
    free(timers->items);
    *timers = (lm_lock_timers_t){0};
}

void lm_lock_timer_set(lm_lock_timers_t *timers, lm_lock_timer_t *timer, uint64_t at_us,
                       void (*fire)(void *room, lm_lock_timer_t *timer))
{
    lm_lock_timer_stop(timers, timer);
    if (timers->n == timers->room) {
        timers->room = timers->room ? timers->room * 2 : 64;
        timers->items = lm_realloc(timers->items, timers->room * sizeof(lm_lock_timer_t *));
    }
    timer->at_us = at_us;
    timer->fire = fire;
    put_at(timers, ++timers->n, timer);
    sift_up(timers, timer->place);
}

void lm_lock_timer_stop(lm_lock_timers_t *timers, lm_lock_timer_t *timer)
{
    if (!timer->place) return;
    size_t place = timer->place;
    LM_CHECK(place <= timers->n && timers->items[place - 1] == timer, "a timer is out of place");
    timer->place = 0;
    lm_lock_timer_t *last = timers->items[--timers->n];
    if (last == timer) return;
    put_at(timers, place, last);
    sift_up(timers, place);
    sift_down(timers, last->place);
}

bool lm_lock_timer_is_set(const lm_lock_timer_t *timer) { return timer->place != 0; }

uint64_t lm_lock_timer_next(const lm_lock_timers_t *timers)
{
    return timers->n ? time_at(timers, 1) : UINT64_MAX;
}

size_t lm_lock_timer_run(lm_lock_timers_t *timers, uint64_t now_us, size_t at_most, void *room)
{
    size_t fired = 0;
    while (fired < at_most && lm_lock_timer_next(timers) <= now_us) {
        lm_lock_timer_t *timer = timers->items[0];
        lm_lock_timer_stop(timers, timer);
        timer->fire(room, timer);
        fired++;
    }
    return fired;
}
