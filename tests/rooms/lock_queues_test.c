/* Which locks are waited for, as the reports say it. That it is what the table has is verified
 * after each delivery of each test of the lock room (lm_lock_room_verify). */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "lock_lot.h"

static rig_t *rig, *other;

static void tear_down(void)
{
    rig_destroy(&rig);
    rig_destroy(&other);
}

TestSuite(lock_queues, .fini = tear_down);

static const lm_bus_lock_queues_t *told(rig_t *r)
{
    const lm_test_sent_t *sent, *last = NULL;
    lot_advance(r, 500);
    while ((sent = lm_test_take(r->host, LM_MSG_STATUS_REPORT))) last = sent;
    cr_assert(last);
    return ((const lm_bus_status_report_t *)last->body)->queues;
}

static const char *print(rig_t *r, const char *prefix, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%s%" PRIu64, prefix, number);
    return lm_arena_text(r->arena, lm_arena_copy(r->arena, lm_bytes_of(text)));
}

/* The lock of number i is held, and waited for by i. */
static void fill(rig_t *r, uint64_t n_locks)
{
    for (uint64_t i = 0; i < n_locks; i++) {
        const char *name = print(r, "lock-", i);
        for (uint64_t k = 0; k <= i; k++)
            RIG_ACQUIRE(r, .owner = print(r, "o", k), .id = print(r, "i", i), .name = name,
                        .wait_ms = -1);
        rig_settle(r);
        lot_advance(r, 100);
    }
}

static rig_t *led_by(rig_t *r)
{
    rig_attach(r, false, 0);
    rig_role(r, LM_API_RAFT_ROLE_LEADER, 1, "n1");
    rig_settle(r);
    return r;
}

static void assert_lists(const lm_bus_lock_queues_t *queues, uint64_t n_locks)
{
    cr_assert(queues);
    cr_assert_eq(queues->n_most_waiters, 10);
    cr_assert_eq(queues->n_longest_waits, 10);
    for (uint64_t i = 0; i < 10; i++) {
        cr_assert_eq(queues->most_waiters[i].waiters, n_locks - 1 - i);
        cr_assert_eq(queues->longest_waits[i].waiters, i + 1);
        cr_assert_eq(queues->most_waiters[i].holders, 1);
        cr_assert_eq(queues->most_waiters[i].name.size, 0);
        cr_assert_eq(queues->longest_waits[i].name.size, 0);
    }
}

Test(lock_queues, the_longest_of_each_kind_without_names)
{
    rig = led_by(rig_new(1));
    fill(rig, 15);
    const lm_bus_lock_queues_t *queues = told(rig);
    assert_lists(queues, 15);
    for (size_t i = 0; i < 10; i++) cr_assert(queues->longest_waits[i].age_known);
    /* Lock 1 has been waited for since before those from 2 to 14 were filled, 100 ms for each. */
    uint64_t ms = queues->longest_waits[0].longest_wait_ms;
    cr_assert(ms >= 1400 && ms <= 2200, "%" PRIu64 " ms", ms);
    cr_assert_lt(queues->longest_waits[9].longest_wait_ms, ms);
}

Test(lock_queues, nobody_waits)
{
    rig = led_by(rig_new(1));
    rig_take(rig, "a", "x", 0);
    const lm_bus_lock_queues_t *queues = told(rig);
    cr_assert(queues && queues->n_most_waiters == 0 && queues->n_longest_waits == 0);
}

Test(lock_queues, names_are_told_only_when_they_are_wanted)
{
    rig = led_by(rig_new_named(1));
    fill(rig, 3);
    const lm_bus_lock_queues_t *queues = told(rig);
    cr_assert_eq(queues->n_most_waiters, 2);
    cr_assert(lm_bytes_equal(queues->most_waiters[0].name, lm_bytes_of("lock-2")));
    cr_assert(lm_bytes_equal(queues->longest_waits[0].name, lm_bytes_of("lock-1")));
}

/* Every end of a wait: a grant by release and by expiry, a cancel, a time that is over. */
Test(lock_queues, they_follow_every_end_of_a_wait)
{
    rig = led_by(rig_new(1));
    uint64_t a = rig_take(rig, "a", "x", 0);
    rig_take(rig, "a", "y", 1000);
    RIG_ACQUIRE(rig, .owner = "b", .id = "1", .name = "x", .wait_ms = -1);
    RIG_ACQUIRE(rig, .owner = "c", .id = "2", .name = "x", .wait_ms = -1);
    RIG_ACQUIRE(rig, .owner = "d", .id = "3", .name = "x", .wait_ms = 700);
    RIG_ACQUIRE(rig, .owner = "e", .id = "4", .name = "y", .wait_ms = -1);
    rig_settle(rig);
    cr_assert_eq(told(rig)->most_waiters[0].waiters, 3);
    rig_cancel(rig, (rig_call_t){.owner = "c", .id = "2"});
    rig_settle(rig);
    cr_assert_eq(told(rig)->most_waiters[0].waiters, 2);
    rig_settle(rig); /* d has waited long enough, and the hold on y is over */
    const lm_bus_lock_queues_t *queues = told(rig);
    cr_assert_eq(queues->n_most_waiters, 1);
    cr_assert_eq(queues->most_waiters[0].waiters, 1);
    rig_release(rig,
                (rig_call_t){.owner = "a", .id = "r", .name = "x", .hold_id = rig_hold_id(rig, a)});
    rig_settle(rig);
    cr_assert_eq(told(rig)->n_most_waiters, 0);
}

/* A follower that begins with an image knows the queues, and not how old they are. */
Test(lock_queues, those_of_an_image_are_found)
{
    rig = led_by(rig_new(1));
    fill(rig, 15);
    rig_image_t image = lot_image_of(rig);
    other = lot_restored(rig, &image, 2);
    rig_role(other, LM_API_RAFT_ROLE_FOLLOWER, 1, "n2");
    rig_deliver(other, SIZE_MAX);
    const lm_bus_lock_queues_t *queues = told(other);
    assert_lists(queues, 15);
    cr_assert_not(queues->longest_waits[0].age_known);
    lm_lock_room_verify(other->room);
    rig_image_free(&image);
}

/* More locks than one turn looks at. */
Test(lock_queues, all_are_found_however_many_locks_there_are)
{
    enum { LOCKS = 9000 };
    rig = lot_following();
    rig->unverified = true;
    lot_fill(rig, 0, LOCKS);
    lm_command_t last = lot_acquire(rig, LOCKS - 1);
    last.key = (lm_request_key_t){.owner = lm_bytes_of("w"), .request_id = lm_bytes_of("w")};
    last.wait = true;
    rig_append(rig, 1, &last, 1);
    rig_deliver(rig, SIZE_MAX);
    rig_image_t image = lot_image_of(rig);
    other = rig_new(2);
    other->unverified = true;
    lot_share_log(other, rig);
    rig_attach_image(other, &image, rig->n_log);
    while (lm_test_take(other->host, LM_MSG_STATUS_REPORT)) continue;
    rig_load(other, &image);
    for (int i = 0; i < 4; i++) lot_advance(other, 1); /* turns */
    const lm_bus_lock_queues_t *queues = told(other);
    cr_assert(queues);
    cr_assert_eq(queues->n_most_waiters, 1);
    lm_lock_room_verify(other->room);
    rig_image_free(&image);
}
