/* One lock as a value. */
#include "core_lock.h"

#include <criterion/criterion.h>

typedef struct {
    lm_lock_value_t lock;
    lm_seat_t seats[8];
    uint64_t number;
} fixture_t;

static lm_seat_t *arrive(fixture_t *f, int i, lm_mode_t mode)
{
    lm_seat_t *seat = &f->seats[i];
    seat->mode = mode;
    uint64_t number = ++f->number;
    if (!lm_lock_admits(&f->lock, mode)) {
        lm_lock_enqueue(&f->lock, seat, number);
    } else {
        int64_t token = lm_lock_mints(&f->lock, mode) ? (int64_t)number : lm_lock_token(&f->lock);
        lm_lock_grant(&f->lock, seat, number, token);
    }
    return seat;
}

/** Grants whoever can be granted; returns how many. */
static int settle(fixture_t *f)
{
    int n = 0;
    for (lm_seat_t *seat; (seat = lm_lock_next(&f->lock)) != NULL; n++) {
        uint64_t number = ++f->number;
        int64_t token =
            lm_lock_mints(&f->lock, seat->mode) ? (int64_t)number : lm_lock_token(&f->lock);
        lm_lock_grant(&f->lock, seat, number, token);
    }
    return n;
}

Test(core_lock, compatibility_is_symmetric)
{
    cr_assert(lm_mode_compatible(LM_MODE_SHARED, LM_MODE_SHARED));
    cr_assert_not(lm_mode_compatible(LM_MODE_SHARED, LM_MODE_EXCLUSIVE));
    cr_assert_not(lm_mode_compatible(LM_MODE_EXCLUSIVE, LM_MODE_SHARED));
    cr_assert_not(lm_mode_compatible(LM_MODE_EXCLUSIVE, LM_MODE_EXCLUSIVE));
}

Test(core_lock, exclusive_holder_is_alone)
{
    fixture_t f = {0};
    arrive(&f, 0, LM_MODE_EXCLUSIVE);
    cr_assert_not(lm_lock_admits(&f.lock, LM_MODE_EXCLUSIVE));
    cr_assert_not(lm_lock_admits(&f.lock, LM_MODE_SHARED));
    cr_assert_eq(f.lock.n_holders, 1);
    cr_assert_eq(lm_lock_token(&f.lock), 1);
}

Test(core_lock, s3_shared_holders_share_the_token_of_the_first)
{
    fixture_t f = {0};
    lm_seat_t *first = arrive(&f, 0, LM_MODE_SHARED);
    lm_seat_t *second = arrive(&f, 1, LM_MODE_SHARED);
    cr_assert_eq(first->token, second->token);
    cr_assert_neq(first->number, second->number);
    cr_assert(lm_lock_mints(&f.lock, LM_MODE_EXCLUSIVE), "stronger than all that is held");
    lm_lock_remove_holder(&f.lock, first);
    cr_assert_not(lm_lock_mints(&f.lock, LM_MODE_SHARED), "the group lives on");
    lm_lock_remove_holder(&f.lock, second);
    cr_assert(lm_lock_mints(&f.lock, LM_MODE_SHARED), "nothing is held any more");
    cr_assert_eq(lm_lock_token(&f.lock), 0);
}

Test(core_lock, nobody_overtakes_an_earlier_waiter)
{
    fixture_t f = {0};
    lm_seat_t *reader = arrive(&f, 0, LM_MODE_SHARED);
    lm_seat_t *writer = arrive(&f, 1, LM_MODE_EXCLUSIVE);
    lm_seat_t *late = arrive(&f, 2, LM_MODE_SHARED);
    cr_assert_eq(f.lock.n_waiters, 2, "the late reader queues behind the writer");
    cr_assert_eq(settle(&f), 0);
    lm_lock_remove_holder(&f.lock, reader);
    cr_assert_eq(settle(&f), 1);
    cr_assert_eq(f.lock.holders, writer);
    lm_lock_remove_holder(&f.lock, writer);
    cr_assert_eq(settle(&f), 1);
    cr_assert_eq(f.lock.holders, late);
}

Test(core_lock, readers_are_granted_as_a_batch)
{
    fixture_t f = {0};
    lm_seat_t *writer = arrive(&f, 0, LM_MODE_EXCLUSIVE);
    for (int i = 1; i <= 3; i++) arrive(&f, i, LM_MODE_SHARED);
    arrive(&f, 4, LM_MODE_EXCLUSIVE);
    arrive(&f, 5, LM_MODE_SHARED);
    lm_lock_remove_holder(&f.lock, writer);
    cr_assert_eq(settle(&f), 3);
    cr_assert_eq(f.lock.n_waiters, 2);
    cr_assert_eq(f.seats[1].token, f.seats[3].token);
}

Test(core_lock, s10_a_waiter_that_leaves_lets_others_in)
{
    fixture_t f = {0};
    arrive(&f, 0, LM_MODE_SHARED);
    lm_seat_t *writer = arrive(&f, 1, LM_MODE_EXCLUSIVE);
    arrive(&f, 2, LM_MODE_SHARED);
    lm_lock_remove_waiter(&f.lock, writer);
    cr_assert_eq(settle(&f), 1);
    cr_assert_eq(f.lock.n_holders, 2);
}

Test(core_lock, both_ends_and_the_middle_of_the_queue_can_leave)
{
    fixture_t f = {0};
    lm_seat_t *holder = arrive(&f, 0, LM_MODE_EXCLUSIVE);
    for (int i = 1; i <= 5; i++) arrive(&f, i, LM_MODE_EXCLUSIVE);
    lm_lock_remove_waiter(&f.lock, &f.seats[3]);
    lm_lock_remove_waiter(&f.lock, &f.seats[5]);
    lm_lock_remove_waiter(&f.lock, &f.seats[1]);
    arrive(&f, 6, LM_MODE_EXCLUSIVE);
    const int expected[] = {2, 4, 6};
    for (int i = 0; i < 3; i++) {
        lm_lock_remove_holder(&f.lock, holder);
        cr_assert_eq(settle(&f), 1);
        holder = f.lock.holders;
        cr_assert_eq(holder, &f.seats[expected[i]], "step %d", i);
    }
}

Test(core_lock, every_change_counts_a_version)
{
    fixture_t f = {0};
    lm_seat_t *holder = arrive(&f, 0, LM_MODE_EXCLUSIVE);
    lm_seat_t *waiter = arrive(&f, 1, LM_MODE_EXCLUSIVE);
    cr_assert_eq(f.lock.version, 2);
    lm_lock_remove_waiter(&f.lock, waiter);
    lm_lock_remove_holder(&f.lock, holder);
    cr_assert_eq(f.lock.version, 4);
}
