#include "frontend_timers.h"

#include <stdlib.h>

#include "base_arena.h"

static void put(lm_frontend_timers_t *timers, size_t place, lm_frontend_timer_t *timer)
{
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static lm_frontend_timer_t *at(const lm_frontend_timers_t *timers, size_t place)
{
    return timers->heap[place - 1];
}

static void rise(lm_frontend_timers_t *timers, lm_frontend_timer_t *timer)
{
    size_t place = timer->place;
    while (place > 1 && at(timers, place / 2)->at_us > timer->at_us) {
        put(timers, place, at(timers, place / 2));
        place /= 2;
    }
    put(timers, place, timer);
}

static void sink(lm_frontend_timers_t *timers, lm_frontend_timer_t *timer)
{
    size_t place = timer->place;
    while (2 * place <= timers->n) {
        size_t child = 2 * place;
        if (child < timers->n && at(timers, child + 1)->at_us < at(timers, child)->at_us) child++;
        if (at(timers, child)->at_us >= timer->at_us) break;
        put(timers, place, at(timers, child));
        place = child;
    }
    put(timers, place, timer);
}

void lm_frontend_timers_set(lm_frontend_timers_t *timers, lm_frontend_timer_t *timer,
                            uint64_t at_us)
{
    timer->at_us = at_us;
    if (timer->place == 0) {
        if (timers->n == timers->n_max) {
            timers->n_max = timers->n_max ? 2 * timers->n_max : 64;
            timers->heap = lm_realloc(timers->heap, timers->n_max * sizeof(lm_frontend_timer_t *));
        }
        put(timers, ++timers->n, timer);
    }
    rise(timers, timer);
    sink(timers, timer);
}

void lm_frontend_timers_stop(lm_frontend_timers_t *timers, lm_frontend_timer_t *timer)
{
    if (timer->place == 0) return;
    lm_frontend_timer_t *last = at(timers, timers->n--);
    size_t place = timer->place;
    timer->place = 0;
    if (last == timer) return;
    put(timers, place, last);
    rise(timers, last);
    sink(timers, last);
}

lm_frontend_timer_t *lm_frontend_timers_take(lm_frontend_timers_t *timers, uint64_t now_us)
{
    if (timers->n == 0 || at(timers, 1)->at_us > now_us) return NULL;
    lm_frontend_timer_t *first = at(timers, 1);
    lm_frontend_timers_stop(timers, first);
    return first;
}

uint64_t lm_frontend_timers_next(const lm_frontend_timers_t *timers)
{
    return timers->n ? at(timers, 1)->at_us : UINT64_MAX;
}

void lm_frontend_timers_clear(lm_frontend_timers_t *timers)
{
    free(timers->heap);
    *timers = (lm_frontend_timers_t){0};
}
