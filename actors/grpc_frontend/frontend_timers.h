/* Times at which something of a room is due: a binary heap, the earliest on top. */
#ifndef LM_FRONTEND_TIMERS_H
#define LM_FRONTEND_TIMERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t at_us;
    size_t place; /* 1 and up while it is set, 0 while not */
} lm_frontend_timer_t;

typedef struct {
    lm_frontend_timer_t **heap;
    size_t n, n_max;
} lm_frontend_timers_t;

/** Sets a timer, or moves one that is set. */
void lm_frontend_timers_set(lm_frontend_timers_t *timers, lm_frontend_timer_t *timer,
                            uint64_t at_us);
void lm_frontend_timers_stop(lm_frontend_timers_t *timers, lm_frontend_timer_t *timer);
/** The earliest that is due at now_us, taken out; NULL if none is. */
lm_frontend_timer_t *lm_frontend_timers_take(lm_frontend_timers_t *timers, uint64_t now_us);
/** When the earliest is due; UINT64_MAX: none is set. */
uint64_t lm_frontend_timers_next(const lm_frontend_timers_t *timers);
/** Frees the heap; the timers in it belong to others. */
void lm_frontend_timers_clear(lm_frontend_timers_t *timers);

#endif
