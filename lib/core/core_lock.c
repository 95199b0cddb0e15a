#include "core_lock.h"

#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"
#include "base_fault.h"

/* Strength of a mode, and which modes may be held together. */
static const struct {
    uint8_t strength;
    bool with[3]; /* by lm_mode_t */
} modes[] = {
    [LM_MODE_NONE] = {0, {true, true, true}},
    [LM_MODE_EXCLUSIVE] = {2, {true, false, false}},
    [LM_MODE_SHARED] = {1, {true, false, true}},
};

static void check_mode(lm_mode_t mode)
{
    LM_CHECK(mode == LM_MODE_EXCLUSIVE || mode == LM_MODE_SHARED, "mode %d", (int)mode);
}

bool lm_mode_compatible(lm_mode_t a, lm_mode_t b)
{
    check_mode(a);
    check_mode(b);
    return modes[a].with[b];
}

/** True if no holder conflicts. One holder speaks for all: they are compatible with each other, so
 *  with two modes either there is one holder or all are shared. */
static bool fits(const lm_lock_value_t *lock, lm_mode_t mode)
{
    return !lock->holders || lm_mode_compatible(lm_seat_mode(lm_lock_holders(lock)), mode);
}

bool lm_lock_admits(const lm_lock_value_t *lock, lm_mode_t mode)
{
    return (!lock->waiters || LM_FAULT(OVERTAKING)) && fits(lock, mode);
}

bool lm_lock_mints(const lm_lock_value_t *lock, lm_mode_t mode)
{
    check_mode(mode);
    /* All present holders have the same mode, see fits. */
    return !lock->holders || LM_FAULT(SHARED_MINTS) ||
           modes[mode].strength > modes[lm_seat_mode(lm_lock_holders(lock))].strength;
}

int64_t lm_lock_token(const lm_lock_value_t *lock)
{
    return lock->holders ? lm_lock_holders(lock)->token : 0;
}

/* ---- lists: the first one's previous is the last, so that both ends are at hand -------------- */

static lm_seat_t *previous_of(const lm_seat_t *seat)
{
    return lm_pool_at(seat, seat->internal_previous);
}

static void append(lm_ref_t *list, lm_seat_t *seat)
{
    lm_seat_t *first = lm_pool_at(seat, *list);
    seat->internal_next = 0;
    if (first) {
        previous_of(first)->internal_next = lm_pool_ref(seat);
        seat->internal_previous = first->internal_previous;
        first->internal_previous = lm_pool_ref(seat);
    } else {
        seat->internal_previous = *list = lm_pool_ref(seat);
    }
}

static void unlink_seat(lm_ref_t *list, lm_seat_t *seat)
{
    LM_CHECK(*list, "no seat to take out");
    lm_seat_t *first = lm_pool_at(seat, *list), *next = lm_seat_next(seat);
    if (next)
        next->internal_previous = seat->internal_previous;
    else
        first->internal_previous = seat->internal_previous;
    if (first == seat)
        *list = seat->internal_next;
    else
        previous_of(seat)->internal_next = seat->internal_next;
    seat->internal_next = seat->internal_previous = 0;
}

void lm_lock_grant(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number, int64_t token)
{
    LM_CHECK(fits(lock, lm_seat_mode(seat)), "grant of mode %d beside others",
             (int)lm_seat_mode(seat));
    LM_CHECK(token > 0 && (!lock->holders || token == lm_lock_token(lock)), "token %lld",
             (long long)token);
    seat->number = number;
    seat->token = token;
    append(&lock->holders, seat);
    lock->n_holders++;
}

void lm_lock_enqueue(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number)
{
    LM_CHECK(!lm_lock_admits(lock, lm_seat_mode(seat)), "queued although it could be granted");
    seat->number = number;
    seat->token = 0;
    append(&lock->waiters, seat);
    lock->n_waiters++;
}

void lm_lock_remove_holder(lm_lock_value_t *lock, lm_seat_t *seat)
{
    LM_CHECK(lock->n_holders > 0 && seat->token > 0, "not a holder");
    unlink_seat(&lock->holders, seat);
    lock->n_holders--;
}

void lm_lock_remove_waiter(lm_lock_value_t *lock, lm_seat_t *seat)
{
    LM_CHECK(lock->n_waiters > 0 && seat->token == 0, "not a waiter");
    unlink_seat(&lock->waiters, seat);
    lock->n_waiters--;
}

lm_seat_t *lm_lock_next(lm_lock_value_t *lock)
{
    lm_seat_t *head = lm_lock_waiters(lock);
    if (!head || !fits(lock, lm_seat_mode(head))) return NULL;
    lm_lock_remove_waiter(lock, head);
    return head;
}

/* ---- images ---------------------------------------------------------------------------------- */

void lm_lock_restore(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number, int64_t token)
{
    seat->number = number;
    seat->token = token;
    append(token ? &lock->holders : &lock->waiters, seat);
    if (token)
        lock->n_holders++;
    else
        lock->n_waiters++;
}

static int by_number(const void *a, const void *b)
{
    uint64_t one = (*(lm_seat_t *const *)a)->number, other = (*(lm_seat_t *const *)b)->number;
    return (one > other) - (one < other);
}

static bool is_sorted(const lm_seat_t *seat)
{
    const lm_seat_t *next = seat ? lm_seat_next(seat) : NULL;
    for (; next && seat->number < next->number; next = lm_seat_next(seat)) seat = next;
    return !next;
}

static void sort(lm_ref_t *list, lm_seat_t *first, uint32_t n)
{
    if (is_sorted(first)) return;
    lm_seat_t **seats = lm_alloc(n * sizeof(lm_seat_t *));
    uint32_t i = 0;
    for (lm_seat_t *seat = first; seat; seat = lm_seat_next(seat)) seats[i++] = seat;
    LM_CHECK(i == n, "%u seats of %u", i, n);
    qsort(seats, n, sizeof(lm_seat_t *), by_number);
    *list = 0;
    for (i = 0; i < n; i++) append(list, seats[i]);
    free(seats);
}

void lm_lock_sort(lm_lock_value_t *lock)
{
    sort(&lock->holders, lm_lock_holders(lock), lock->n_holders);
    sort(&lock->waiters, lm_lock_waiters(lock), lock->n_waiters);
}
