/* One lock as a value, and every change of it as a pure function.
 *
 * The functions here know nothing of sessions, requests, logs or time: who holds and who waits, in
 * which order, and what follows from an arrival or a departure. The same functions can therefore
 * decide for a lock whose value is agreed on by something other than this region's log. Numbers and
 * tokens come in as arguments.
 *
 * Invariants
 *   L1  Exclusive holders are alone; shared holders share one token.
 *   L2  The queue is first-in first-out; nobody is granted before an earlier waiter that conflicts.
 *   L3  After every change the head of the queue conflicts with the holders (or there is no queue).
 */
#ifndef LM_CORE_LOCK_H
#define LM_CORE_LOCK_H

#include "base_pool.h"
#include "core_command.h"

/** A place among the holders or in the queue; one pool has all seats of a lock and its value. */
typedef struct lm_seat {
    int64_t token;              /* of a holder; 0 of a waiter */
    uint64_t number : 48;       /* of a holder: its hold number; of a waiter: its wait number */
    uint64_t internal_mode : 2; /* lm_mode_t */
    lm_ref_t internal_next;     /* in order of grant, or of the queue; 0 behind the last */
    lm_ref_t internal_previous; /* of the first: the last */
} lm_seat_t;

typedef struct {
    lm_ref_t holders, waiters; /* the first of each */
    uint32_t n_holders, n_waiters;
} lm_lock_value_t;

static inline lm_mode_t lm_seat_mode(const lm_seat_t *seat)
{
    return (lm_mode_t)seat->internal_mode;
}

/** First holder, first waiter; NULL if there is none. */
static inline lm_seat_t *lm_lock_holders(const lm_lock_value_t *lock)
{
    return lm_pool_at(lock, lock->holders);
}

static inline lm_seat_t *lm_lock_waiters(const lm_lock_value_t *lock)
{
    return lm_pool_at(lock, lock->waiters);
}

/** The next of the same list; NULL behind the last. */
static inline lm_seat_t *lm_seat_next(const lm_seat_t *seat)
{
    return lm_pool_at(seat, seat->internal_next);
}

/** True if a holder of mode a may be there beside one of mode b. */
bool lm_mode_compatible(lm_mode_t a, lm_mode_t b);

/** True if a new arrival of that mode would be granted now: nobody waits and no holder
 *  conflicts. */
bool lm_lock_admits(const lm_lock_value_t *lock, lm_mode_t mode);

/** True if a grant of that mode needs a token of its own: nothing is held, or the mode is stronger
 *  than every mode now held (S3). Otherwise it takes lm_lock_token. */
bool lm_lock_mints(const lm_lock_value_t *lock, lm_mode_t mode);
/** The token of the present holders; 0 if nothing is held. */
int64_t lm_lock_token(const lm_lock_value_t *lock);

/** Makes seat a holder with that number and token. The caller has asked lm_lock_admits, or took it
 *  from lm_lock_next. */
void lm_lock_grant(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number, int64_t token);
/** Puts seat at the end of the queue. */
void lm_lock_enqueue(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number);
/** Takes a holder out. Call lm_lock_next until it says nobody. */
void lm_lock_remove_holder(lm_lock_value_t *lock, lm_seat_t *seat);
/** Takes a waiter out. Call lm_lock_next until it says nobody: its leaving may let others in. */
void lm_lock_remove_waiter(lm_lock_value_t *lock, lm_seat_t *seat);
/** The waiter to be granted next, taken out of the queue; NULL if the head must go on waiting. */
lm_seat_t *lm_lock_next(lm_lock_value_t *lock);

/* ---- for a lock that is read from an image --------------------------------------------------- */

/** Puts seat behind the holders, or behind the waiters if token is 0, whoever else is there. */
void lm_lock_restore(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number, int64_t token);
/** Puts holders and waiters in the order of their numbers, which is how they came. */
void lm_lock_sort(lm_lock_value_t *lock);

#endif
