/* Images that are taken for raft, and whatever ends them early. */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "base_limits.h"
#include "core_image.h"
#include "lock_lot.h"

static rig_t *rig, *other;

static void tear_down(void)
{
    rig_destroy(&rig);
    rig_destroy(&other);
}

TestSuite(lock_snapshot, .fini = tear_down, .timeout = 120);

static void check_dropped(rig_t *r, uint64_t index, uint64_t term)
{
    const lm_bus_snapshot_mark_t *mark = rig_dropped(r);
    cr_assert(mark, "no SNAPSHOT_DROP");
    cr_assert_eq(mark->index, index);
    cr_assert_eq(mark->term, term);
    cr_assert_null(rig_dropped(r));
}

/* Whatever ended the one before: the next one is whole. */
static void check_next(rig_t *r)
{
    cr_assert_not(lm_lock_room_is_taking_snapshot(r->room));
    r->n_parts = 0;
    rig_image_t image = lot_image_of(r);
    cr_assert_eq(image.state_hash, lot_hash_of(r));
    rig_image_free(&image);
}

/* ---- taking ---------------------------------------------------------------------------------- */

Test(lock_snapshot, s16_an_image_is_the_state_at_its_mark)
{
    rig = lot_filled();
    rig_mark_here(rig);
    uint64_t index = rig->delivered, hash = lot_hash_of(rig);
    /* The state goes on while the image is on its way. */
    for (uint64_t i = 0; rig_part_done(rig, LM_RC_OK); i++) {
        lot_fill(rig, LOT_LOCKS + i * 20, 20);
        lot_renew(rig, LOT_LOCKS - 1 - i * 300, 20);
        lot_renew(rig, i * 30, 20);
        lot_advance(rig, RIG_PIECE_MS);
    }
    cr_assert(rig->taking.whole);
    cr_assert_gt(rig->taking.size, 3 * LOT_PIECE);
    cr_assert_eq(rig->taking.index, index);
    cr_assert_eq(rig->taking.state_hash, hash);
    cr_assert_neq(lot_hash_of(rig), hash);
    other = lot_restored(rig, &rig->taking, 7);
    cr_assert_eq(lot_hash_of(other), hash);
    cr_assert_eq(lot_holds_of(other), LOT_LOCKS);
    rig_deliver(other, SIZE_MAX);
    cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
    lm_table_verify(lm_lock_room_table(other->room));
}

Test(lock_snapshot, s16_at_most_four_pieces_are_unanswered_and_one_is_made_a_turn)
{
    rig = lot_filled();
    rig_mark_here(rig);
    cr_assert_eq(rig_parts(rig), 1);
    lot_advance(rig, 1000);
    cr_assert_eq(rig_parts(rig), 4);
    lot_advance(rig, 1000);
    cr_assert_eq(rig_parts(rig), 4);
    rig_part_done(rig, LM_RC_OK);
    cr_assert_eq(rig_parts(rig), 4);
    rig_image_t image = rig_snapshot(rig);
    rig_image_free(&image);
}

Test(lock_snapshot, pieces_come_at_an_even_pace)
{
    rig = lot_filled();
    rig_mark_here(rig);
    uint64_t ms = 0, pieces = 0;
    for (; !rig->taking.whole; ms++) {
        bool done = rig_part_done(rig, LM_RC_OK);
        cr_assert_not(rig_part_done(rig, LM_RC_OK), "two pieces at once");
        pieces += done;
        lot_advance(rig, 1);
    }
    cr_assert_gt(pieces, 3);
    cr_assert_gt(ms, (pieces - 2) * 25, "%" PRIu64 " pieces in %" PRIu64 " ms", pieces, ms);
    cr_assert_lt(ms, pieces * RIG_PIECE_MS);
}

/* Nothing was written for a while; what was missed then does not come at once. */
Test(lock_snapshot, a_pause_is_not_made_up)
{
    rig = lot_filled();
    rig_mark_here(rig);
    while (rig_parts(rig) < 4) lot_advance(rig, RIG_PIECE_MS);
    lot_advance(rig, 10000);
    for (int i = 0; i < 4; i++) rig_part_done(rig, LM_RC_OK);
    lot_advance(rig, 1);
    cr_assert_leq(rig_parts(rig), 2);
}

Test(lock_snapshot, s16_a_mark_that_is_not_what_is_applied_is_refused)
{
    rig = lot_filled();
    uint64_t at = rig->delivered, term = rig->log[at].term;
    const struct {
        uint64_t index, term;
    } wrong[] = {{at - 1, term}, {at + 1, term}, {at, term + 1}, {at, term - 1}, {0, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rig_mark(rig, wrong[i].index, wrong[i].term);
        cr_assert_eq(rig_parts(rig), 0);
        check_dropped(rig, wrong[i].index, wrong[i].term);
    }
    check_next(rig);
}

Test(lock_snapshot, s16_a_mark_before_the_attach_is_refused)
{
    rig = rig_new(1);
    rig_mark(rig, 5, 1);
    check_dropped(rig, 5, 1);
    cr_assert_eq(rig_parts(rig), 0);
}

Test(lock_snapshot, s16_an_empty_state_has_an_image_too)
{
    rig = rig_leading();
    rig_image_t image = lot_image_of(rig);
    cr_assert_gt(image.size, 0);
    other = lot_restored(rig, &image, 2);
    cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
    rig_image_free(&image);
}

Test(lock_snapshot, s16_a_second_mark_ends_the_first)
{
    rig = lot_filled();
    for (size_t answered = 0; answered < 4; answered++) {
        rig_mark_here(rig);
        uint64_t index = rig->taking.index;
        for (size_t i = 0; i < answered; i++) rig_part_done(rig, LM_RC_OK);
        lot_advance(rig, RIG_PIECE_MS);
        rig_parts(rig);
        size_t n_late = rig->n_parts;
        const lm_test_sent_t *late[RIG_PENDING_MAX];
        memcpy(late, rig->parts, sizeof late);
        lot_fill(rig, LOT_LOCKS + answered, 1);
        rig_mark_here(rig);
        check_dropped(rig, index, 1);
        cr_assert_eq(rig_parts(rig), 1);
        /* Answers to pieces of the first mean nothing. */
        for (size_t i = 0; i < n_late; i++) {
            lm_bus_snapshot_part_done_t body = {.code = LM_RC_CANCELLED};
            lm_test_reply(rig->host, LM_RAFT, LM_MSG_SNAPSHOT_PART_DONE, late[i]->correlation,
                          &body);
        }
        rig_image_t image = rig_snapshot(rig);
        cr_assert_eq(image.state_hash, lot_hash_of(rig));
        rig_image_free(&image);
    }
}

Test(lock_snapshot, s16_the_same_mark_twice_ends_both)
{
    rig = lot_filled();
    rig_mark_here(rig);
    uint64_t index = rig->delivered;
    rig_mark_here(rig);
    cr_assert_not(lm_lock_room_is_taking_snapshot(rig->room));
    for (int i = 0; i < 2; i++) {
        const lm_bus_snapshot_mark_t *mark = rig_dropped(rig);
        cr_assert(mark && mark->index == index);
    }
    check_next(rig);
}

Test(lock_snapshot, s16_a_mark_that_does_not_fit_ends_the_one_before_it)
{
    rig = lot_filled();
    rig_mark_here(rig);
    uint64_t index = rig->delivered;
    rig_mark(rig, index + 9, 1);
    cr_assert_not(lm_lock_room_is_taking_snapshot(rig->room));
    cr_assert_eq(rig_dropped(rig)->index, index);
    cr_assert_eq(rig_dropped(rig)->index, index + 9);
    check_next(rig);
}

/* ---- taking: every end, at every step -------------------------------------------------------- */

/* Steps of one image: how many pieces were answered; the last is the one before its end. */
static size_t count_steps(void)
{
    rig_t *r = lot_filled();
    size_t steps = 0;
    rig_mark_here(r);
    do lot_advance(r, RIG_PIECE_MS);
    while (rig_part_done(r, LM_RC_OK) && ++steps);
    rig_destroy(&r);
    cr_assert_gt(steps, 4);
    return steps;
}

/* Runs end at every step of an image; afterwards nothing is left of it and the next one works. */
static void at_every_step(void (*end)(rig_t *r, uint64_t index))
{
    size_t steps = count_steps();
    rig = lot_filled();
    for (size_t step = 0; step < steps; step++) {
        rig_mark_here(rig);
        for (size_t i = 0; i < step; i++) {
            lot_advance(rig, RIG_PIECE_MS);
            cr_assert(rig_part_done(rig, LM_RC_OK));
        }
        lot_advance(rig, step % 2 * RIG_PIECE_MS);
        cr_assert(lm_lock_room_is_taking_snapshot(rig->room));
        end(rig, rig->delivered);
        cr_assert_not(lm_lock_room_is_taking_snapshot(rig->room), "at step %zu", step);
        lot_advance(rig, 5);
        cr_assert_not(lm_image_is_taken(lm_lock_room_table(rig->room)));
        rig_parts(rig);
        check_next(rig);
    }
}

static void by_raft(rig_t *r, uint64_t index)
{
    rig_drop(r, index + 1, 1); /* of another one: nothing happens */
    cr_assert(lm_lock_room_is_taking_snapshot(r->room));
    rig_drop(r, index, 1);
    cr_assert_null(rig_dropped(r));
}

Test(lock_snapshot, s16_raft_gives_it_up) { at_every_step(by_raft); }

static void by_refusal(rig_t *r, uint64_t index)
{
    (void)index;
    rig_part_done(r, LM_RC_OVERLOADED);
    cr_assert_null(rig_dropped(r));
}

Test(lock_snapshot, s16_raft_cannot_write_a_piece) { at_every_step(by_refusal); }

static void by_failed_call(rig_t *r, uint64_t index)
{
    rig_parts(r);
    lm_test_refuse(r->host, LM_RAFT, LM_MSG_SNAPSHOT_PART, r->parts[0]->correlation,
                   LM_RC_NOT_READY);
    check_dropped(r, index, 1);
}

Test(lock_snapshot, s16_a_piece_does_not_arrive) { at_every_step(by_failed_call); }

static void by_silence(rig_t *r, uint64_t index)
{
    lot_advance(r, 121000);
    check_dropped(r, index, 1);
}

Test(lock_snapshot, s16_a_piece_is_never_answered)
{
    /* Nothing may expire meanwhile: the rig's raft would not take it. */
    rig = rig_leading();
    rig_mark_here(rig);
    by_silence(rig, rig->delivered);
    cr_assert_not(lm_lock_room_is_taking_snapshot(rig->room));
    check_next(rig);
}

static void by_restart_of_raft(rig_t *r, uint64_t index)
{
    (void)index;
    lm_test_restart_peer(r->host, LM_RAFT);
    cr_assert_not(lm_lock_room_is_taking_snapshot(r->room));
    cr_assert_null(rig_dropped(r));
    rig_attach(r, false, r->delivered);
    rig_role(r, LM_API_RAFT_ROLE_FOLLOWER, 1, "n2");
}

Test(lock_snapshot, s16_raft_restarts) { at_every_step(by_restart_of_raft); }

static void by_attaching_again(rig_t *r, uint64_t index)
{
    (void)index;
    lm_bus_attach_again_t body = {0};
    lm_test_deliver(r->host, LM_RAFT, LM_MSG_ATTACH_AGAIN, &body, 0);
    cr_assert_not(lm_lock_room_is_taking_snapshot(r->room));
    cr_assert_null(rig_dropped(r));
    rig_attach(r, false, r->delivered);
    rig_role(r, LM_API_RAFT_ROLE_FOLLOWER, 1, "n2");
}

Test(lock_snapshot, s16_the_lock_attaches_again) { at_every_step(by_attaching_again); }

Test(lock_snapshot, s16_the_lock_dies)
{
    size_t steps = count_steps();
    for (size_t step = 0; step < steps; step++) {
        rig = lot_filled();
        rig_mark_here(rig);
        for (size_t i = 0; i < step; i++) {
            lot_advance(rig, RIG_PIECE_MS);
            rig_part_done(rig, LM_RC_OK);
        }
        rig_destroy(&rig); /* the sanitizer sees what it leaves behind */
    }
}

/* A lock whose next raft says that its state is of another log. */
Test(lock_snapshot, s16_a_reset_meets_an_image_that_is_being_taken)
{
    rig = lot_filled();
    rig_mark_here(rig);
    lm_test_restart_peer(rig->host, LM_RAFT);
    rig_attach(rig, true, 0);
    rig->delivered = 0;
    rig->unverified = true;
    rig_deliver(rig, SIZE_MAX);
    rig_parts(rig);
    check_next(rig);
}

static lm_command_t large(rig_t *r, uint64_t i)
{
    lm_command_t command = lot_acquire(r, i);
    command.key.identity = lm_arena_print(r->arena, "%0250" PRIu64, i / 500);
    command.key.owner = lm_arena_print(r->arena, "%0250" PRIu64, i / 500);
    command.key.request_id = lm_arena_print(r->arena, "%0128" PRIu64, i);
    command.name = lm_arena_print(r->arena, "%0*" PRIu64, LM_NAME_BYTES_MAX, i);
    return command;
}

static void append_large(rig_t *r, uint64_t n, bool renewals)
{
    enum { BATCH = 500 };
    lm_command_t commands[BATCH];
    for (uint64_t i = 0; i < n; i++) {
        commands[i % BATCH] = large(r, i);
        commands[i % BATCH].wait = true;
        if (renewals) {
            commands[i % BATCH].kind = LM_COMMAND_RENEW;
            commands[i % BATCH].hold = i + 3;
        }
        if (i % BATCH == BATCH - 1) rig_append(r, 1, commands, BATCH);
    }
    rig_deliver(r, SIZE_MAX);
}

/* A following lock whose table has room for as many as that. */
static rig_t *large_table(void)
{
    rig_t *r = lot_following();
    r->unverified = true;
    lm_pair_t pair = {1, 1, 1};
    lm_command_t takeover = {.kind = LM_COMMAND_TAKEOVER,
                             .pair = pair,
                             .settings = {.semantics = 1,
                                          .waiters_per_lock_max = 1000,
                                          .locks_max = 1000000,
                                          .holds_per_owner_max = 100000,
                                          .record_ring_size = 64,
                                          .sessions_max = 100,
                                          .session_window = 16}};
    rig_append(r, 1, &takeover, 1);
    lm_command_t first = lot_acquire(r, 0);
    rig_append(r, 1, &first, 1);
    return r;
}

/* The faster the log grows, the faster the image: it is complete before half of what makes it time
 * for the next one has followed it. */
Test(lock_snapshot, the_log_hastens_an_image)
{
    const uint64_t n = 9000; /* of more than 1000 bytes */
    rig = large_table();
    append_large(rig, n, false);
    rig_mark_here(rig);
    append_large(rig, n, true);
    do lm_test_advance(rig->host, 0);
    while (rig_part_done(rig, LM_RC_OK));
    cr_assert(rig->taking.whole, "only %zu bytes", rig->taking.size);
}

Test(lock_snapshot, s16_an_image_that_cannot_keep_up_is_given_up)
{
    const uint64_t n = 75000;
    rig = large_table();
    append_large(rig, n, false);
    cr_assert_eq(lot_holds_of(rig), n + 1);
    rig_mark_here(rig);
    uint64_t index = rig->delivered;
    append_large(rig, n, true); /* each of them is changed */
    check_dropped(rig, index, 1);
    cr_assert_not(lm_lock_room_is_taking_snapshot(rig->room));
    rig_parts(rig);
    check_next(rig);
}
