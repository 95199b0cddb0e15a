/* One lock as a value. */
#include "core_lock.h"

#include <criterion/criterion.h>

typedef struct {
    lm_lock_value_t lock;
    lm_seat_t seats[8];
    uint64_t number;
} fixture_t;

static lm_pool_t *pool;
static fixture_t *f;

static void set_up(void)
{
    pool = lm_pool_new();
    f = lm_pool_alloc(pool, sizeof *f);
}

static void tear_down(void) { lm_pool_destroy(&pool); }

TestSuite(core_lock, .init = set_up, .fini = tear_down);

static lm_seat_t *arrive(int i, lm_mode_t mode)
{
    lm_seat_t *seat = &f->seats[i];
    seat->internal_mode = mode;
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
static int settle(void)
{
    int n = 0;
    for (lm_seat_t *seat; (seat = lm_lock_next(&f->lock)) != NULL; n++) {
        uint64_t number = ++f->number;
        int64_t token =
            lm_lock_mints(&f->lock, lm_seat_mode(seat)) ? (int64_t)number : lm_lock_token(&f->lock);
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
    arrive(0, LM_MODE_EXCLUSIVE);
    cr_assert_not(lm_lock_admits(&f->lock, LM_MODE_EXCLUSIVE));
    cr_assert_not(lm_lock_admits(&f->lock, LM_MODE_SHARED));
    cr_assert_eq(f->lock.n_holders, 1);
    cr_assert_eq(lm_lock_token(&f->lock), 1);
}

Test(core_lock, s3_shared_holders_share_the_token_of_the_first)
{
    lm_seat_t *first = arrive(0, LM_MODE_SHARED);
    lm_seat_t *second = arrive(1, LM_MODE_SHARED);
    cr_assert_eq(first->token, second->token);
    cr_assert_neq(first->number, second->number);
    cr_assert(lm_lock_mints(&f->lock, LM_MODE_EXCLUSIVE), "stronger than all that is held");
    lm_lock_remove_holder(&f->lock, first);
    cr_assert_not(lm_lock_mints(&f->lock, LM_MODE_SHARED), "the group lives on");
    lm_lock_remove_holder(&f->lock, second);
    cr_assert(lm_lock_mints(&f->lock, LM_MODE_SHARED), "nothing is held any more");
    cr_assert_eq(lm_lock_token(&f->lock), 0);
}

Test(core_lock, nobody_overtakes_an_earlier_waiter)
{
    lm_seat_t *reader = arrive(0, LM_MODE_SHARED);
    lm_seat_t *writer = arrive(1, LM_MODE_EXCLUSIVE);
    lm_seat_t *late = arrive(2, LM_MODE_SHARED);
    cr_assert_eq(f->lock.n_waiters, 2, "the late reader queues behind the writer");
    cr_assert_eq(settle(), 0);
    lm_lock_remove_holder(&f->lock, reader);
    cr_assert_eq(settle(), 1);
    cr_assert_eq(lm_lock_holders(&f->lock), writer);
    lm_lock_remove_holder(&f->lock, writer);
    cr_assert_eq(settle(), 1);
    cr_assert_eq(lm_lock_holders(&f->lock), late);
}

Test(core_lock, readers_are_granted_as_a_batch)
{
    lm_seat_t *writer = arrive(0, LM_MODE_EXCLUSIVE);
    for (int i = 1; i <= 3; i++) arrive(i, LM_MODE_SHARED);
    arrive(4, LM_MODE_EXCLUSIVE);
    arrive(5, LM_MODE_SHARED);
    lm_lock_remove_holder(&f->lock, writer);
    cr_assert_eq(settle(), 3);
    cr_assert_eq(f->lock.n_waiters, 2);
    cr_assert_eq(f->seats[1].token, f->seats[3].token);
}

Test(core_lock, s10_a_waiter_that_leaves_lets_others_in)
{
    arrive(0, LM_MODE_SHARED);
    lm_seat_t *writer = arrive(1, LM_MODE_EXCLUSIVE);
    arrive(2, LM_MODE_SHARED);
    lm_lock_remove_waiter(&f->lock, writer);
    cr_assert_eq(settle(), 1);
    cr_assert_eq(f->lock.n_holders, 2);
}

Test(core_lock, both_ends_and_the_middle_of_the_queue_can_leave)
{
    lm_seat_t *holder = arrive(0, LM_MODE_EXCLUSIVE);
    for (int i = 1; i <= 5; i++) arrive(i, LM_MODE_EXCLUSIVE);
    lm_lock_remove_waiter(&f->lock, &f->seats[3]);
    lm_lock_remove_waiter(&f->lock, &f->seats[5]);
    lm_lock_remove_waiter(&f->lock, &f->seats[1]);
    arrive(6, LM_MODE_EXCLUSIVE);
    const int expected[] = {2, 4, 6};
    for (int i = 0; i < 3; i++) {
        lm_lock_remove_holder(&f->lock, holder);
        cr_assert_eq(settle(), 1);
        holder = lm_lock_holders(&f->lock);
        cr_assert_eq(holder, &f->seats[expected[i]], "step %d", i);
    }
}

Test(core_lock, restored_in_any_order_and_sorted_by_number)
{
    const uint64_t numbers[] = {7, 3, 9, 5, 12, 11};
    for (int i = 0; i < 6; i++) {
        f->seats[i].internal_mode = i < 4 ? LM_MODE_SHARED : LM_MODE_EXCLUSIVE;
        lm_lock_restore(&f->lock, &f->seats[i], numbers[i], i < 4 ? 3 : 0);
    }
    lm_lock_sort(&f->lock);
    const int holders[] = {1, 3, 0, 2}, waiters[] = {5, 4};
    lm_seat_t *seat = lm_lock_holders(&f->lock);
    for (int i = 0; i < 4; i++, seat = lm_seat_next(seat))
        cr_assert_eq(seat, &f->seats[holders[i]]);
    cr_assert_null(seat);
    seat = lm_lock_waiters(&f->lock);
    for (int i = 0; i < 2; i++, seat = lm_seat_next(seat))
        cr_assert_eq(seat, &f->seats[waiters[i]]);
    for (int i = 0; i < 4; i++) lm_lock_remove_holder(&f->lock, &f->seats[holders[3 - i]]);
    cr_assert_eq(settle(), 1);
    cr_assert_eq(lm_lock_holders(&f->lock), &f->seats[5], "the earlier of the waiters");
}
