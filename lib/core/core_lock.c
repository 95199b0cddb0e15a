#include "core_lock.h"

#include "base_check.h"

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
    return !lock->holders || lm_mode_compatible(lock->holders->mode, mode);
}

bool lm_lock_admits(const lm_lock_value_t *lock, lm_mode_t mode)
{
    return !lock->waiters && fits(lock, mode);
}

bool lm_lock_mints(const lm_lock_value_t *lock, lm_mode_t mode)
{
    check_mode(mode);
    /* All present holders have the same mode, see fits. */
    return !lock->holders || modes[mode].strength > modes[lock->holders->mode].strength;
}

int64_t lm_lock_token(const lm_lock_value_t *lock)
{
    return lock->holders ? lock->holders->token : 0;
}

/* ---- lists: the first one's previous is the last, so that both ends are at hand -------------- */

static void append(lm_seat_t **list, lm_seat_t *seat)
{
    seat->next = NULL;
    if (*list) {
        seat->previous = (*list)->previous;
        seat->previous->next = seat;
        (*list)->previous = seat;
    } else {
        seat->previous = seat;
        *list = seat;
    }
}

static void unlink_seat(lm_seat_t **list, lm_seat_t *seat)
{
    LM_CHECK(*list, "no seat to take out");
    if (seat->next)
        seat->next->previous = seat->previous;
    else
        (*list)->previous = seat->previous;
    if (*list == seat)
        *list = seat->next;
    else
        seat->previous->next = seat->next;
    seat->next = seat->previous = NULL;
}

void lm_lock_grant(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number, int64_t token)
{
    LM_CHECK(fits(lock, seat->mode), "grant of mode %d beside %d", (int)seat->mode,
             (int)lock->holders->mode);
    LM_CHECK(token > 0 && (!lock->holders || token == lock->holders->token), "token %lld",
             (long long)token);
    seat->number = number;
    seat->token = token;
    append(&lock->holders, seat);
    lock->n_holders++;
    lock->version++;
}

void lm_lock_enqueue(lm_lock_value_t *lock, lm_seat_t *seat, uint64_t number)
{
    LM_CHECK(!lm_lock_admits(lock, seat->mode), "queued although it could be granted");
    seat->number = number;
    seat->token = 0;
    append(&lock->waiters, seat);
    lock->n_waiters++;
    lock->version++;
}

void lm_lock_remove_holder(lm_lock_value_t *lock, lm_seat_t *seat)
{
    LM_CHECK(lock->n_holders > 0 && seat->token > 0, "not a holder");
    unlink_seat(&lock->holders, seat);
    lock->n_holders--;
    lock->version++;
}

void lm_lock_remove_waiter(lm_lock_value_t *lock, lm_seat_t *seat)
{
    LM_CHECK(lock->n_waiters > 0 && seat->token == 0, "not a waiter");
    unlink_seat(&lock->waiters, seat);
    lock->n_waiters--;
    lock->version++;
}

lm_seat_t *lm_lock_next(lm_lock_value_t *lock)
{
    lm_seat_t *head = lock->waiters;
    if (!head || !fits(lock, head->mode)) return NULL;
    lm_lock_remove_waiter(lock, head);
    return head;
}
