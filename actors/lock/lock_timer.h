/* Times at which something has to be done: timers that lie inside of what they are for.
 *
 * Invariants
 *   R1  A timer is set at most once; setting it again moves it.
 *   R2  A timer that fires is not set any more when its function is called.
 */
#ifndef LM_LOCK_TIMER_H
#define LM_LOCK_TIMER_H

#include "lock_heap.h"

typedef struct lm_lock_timer lm_lock_timer_t;

/** All zero is a timer that is not set. */
struct lm_lock_timer {
    lm_lock_spot_t spot;
    void (*fire)(void *room, lm_lock_timer_t *timer);
};

/** All zero is an empty set of timers. */
typedef struct {
    lm_lock_heap_t heap;
} lm_lock_timers_t;

/** Frees the set's own memory. */
void lm_lock_timer_clear(lm_lock_timers_t *timers);

/** Lets fire be called at that time. */
void lm_lock_timer_set(lm_lock_timers_t *timers, lm_lock_timer_t *timer, uint64_t at_us,
                       void (*fire)(void *room, lm_lock_timer_t *timer));
/** Takes a timer out; nothing happens if it is not set. */
void lm_lock_timer_stop(lm_lock_timers_t *timers, lm_lock_timer_t *timer);
bool lm_lock_timer_is_set(const lm_lock_timer_t *timer);

/** The earliest time; UINT64_MAX if there is none. */
uint64_t lm_lock_timer_next(const lm_lock_timers_t *timers);

/** Fires what is due, earliest first, at most that many. Returns how many. */
size_t lm_lock_timer_run(lm_lock_timers_t *timers, uint64_t now_us, size_t at_most, void *room);

#endif
