/* Images that are loaded from raft, whatever ends that early, and leading behind them. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_log.h"
#include "crc.h"
#include "lock_lot.h"

enum { DAMAGES = 40 };

static rig_t *rig, *other;

static void tear_down(void)
{
    rig_destroy(&rig);
    rig_destroy(&other);
}

TestSuite(lock_restore, .fini = tear_down);

/* ---- loading --------------------------------------------------------------------------------- */

static size_t count(rig_t *r, lm_message_number_t number)
{
    size_t n = 0;
    while (lm_test_take(r->host, number)) n++;
    return n;
}

Test(lock_restore, s15_nothing_begins_before_the_image_is_loaded)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    lot_fill(rig, LOT_LOCKS, 100);
    other = rig_new(2);
    lot_share_log(other, rig);
    const lm_bus_attach_t *attach = rig_attach_image(other, &image, rig->n_log);
    cr_assert_eq(attach->applied_index, 0);
    rig_role(other, LM_API_RAFT_ROLE_LEADER, 2, "n1");
    rig_image_reads(other);
    count(other, LM_MSG_LOCK_STATE);
    while (rig_image_reads(other) > 0 && lm_lock_room_is_restoring(other->room)) {
        lot_advance(other, 300);
        cr_assert_eq(count(other, LM_MSG_CREDIT), 0);
        cr_assert_eq(count(other, LM_MSG_LOCK_STATE), 0);
        cr_assert_eq(count(other, LM_MSG_PROPOSE), 0);
        cr_assert_eq(lot_holds_of(other), 0);
        rig_image_data(other, &image, 0, LOT_PIECE, LM_RC_OK);
    }
    const lm_test_sent_t *credit = lm_test_take(other->host, LM_MSG_CREDIT);
    cr_assert_eq(((const lm_bus_credit_t *)credit->body)->up_to_index, image.index + 1024);
    const lm_test_sent_t *state = lm_test_take(other->host, LM_MSG_LOCK_STATE);
    cr_assert_not(((const lm_bus_lock_state_t *)state->body)->ready);
    cr_assert_eq(((const lm_bus_lock_state_t *)state->body)->applied_index, image.index);
    cr_assert_eq(((const lm_bus_lock_state_t *)state->body)->state_hash, image.state_hash);
    cr_assert_eq(lm_test_count(other->host, LM_MSG_PROPOSE), 1, "it leads, and takes over");
    rig_deliver(other, SIZE_MAX);
    cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
    rig_image_free(&image);
}

Test(lock_restore, s15_entries_that_come_while_it_loads_are_not_taken)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    lot_fill(rig, LOT_LOCKS, 100);
    other = rig_new(2);
    lot_share_log(other, rig);
    rig_attach_image(other, &image, rig->n_log);
    rig_deliver(other, 1);
    other->delivered = image.index;
    rig_load(other, &image);
    rig_deliver(other, SIZE_MAX);
    cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
    rig_image_free(&image);
}

Test(lock_restore, s15_pieces_may_come_in_any_order_and_length)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    const size_t lengths[] = {LOT_PIECE, 1000, LOT_PIECE - 1, 777777, 100000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        other = rig_new(2);
        rig_attach_image(other, &image, image.index);
        cr_assert_leq(rig_image_reads(other), 4);
        for (size_t k = 0; rig_image_reads(other); k++)
            rig_image_data(other, &image, k % rig_image_reads(other), lengths[i], LM_RC_OK);
        cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
        lm_table_verify(lm_lock_room_table(other->room));
        rig_destroy(&other);
    }
    rig_image_free(&image);
}

/* Runs end after every number of pieces; afterwards the lock attaches with nothing, and loads. */
static void at_every_piece(void (*end)(rig_t *r, const rig_image_t *image))
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    for (size_t pieces = 0; pieces < image.size / LOT_PIECE; pieces++) {
        other = rig_new(2);
        rig_attach_image(other, &image, image.index);
        for (size_t i = 0; i < pieces; i++) rig_image_data(other, &image, 0, LOT_PIECE, LM_RC_OK);
        end(other, &image);
        cr_assert_not(lm_lock_room_is_restoring(other->room));
        cr_assert_eq(lot_holds_of(other), 0);
        const lm_bus_attach_t *attach = rig_attach_image(other, &image, image.index);
        cr_assert_eq(attach->applied_index, 0);
        rig_image_reads(other);
        while (other->n_reads > 4) /* those of before are forgotten */
            memmove(other->reads, other->reads + 1, --other->n_reads * sizeof *other->reads);
        rig_load(other, &image);
        cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
        rig_destroy(&other);
    }
    rig_image_free(&image);
}

static void image_is_gone(rig_t *r, const rig_image_t *image)
{
    rig_image_data(r, image, rig_image_reads(r) - 1, LOT_PIECE, LM_RC_NOT_FOUND);
    cr_assert_eq(lm_test_count(r->host, LM_MSG_ATTACH), 0);
    lot_advance(r, 200);
}

Test(lock_restore, s15_the_image_is_gone) { at_every_piece(image_is_gone); }

static void read_fails(rig_t *r, const rig_image_t *image)
{
    (void)image;
    rig_image_reads(r);
    lm_test_refuse(r->host, LM_RAFT, LM_MSG_IMAGE_READ, r->reads[0]->correlation, LM_RC_OVERLOADED);
    lot_advance(r, 200);
}

Test(lock_restore, s15_a_read_is_refused) { at_every_piece(read_fails); }

static void read_is_lost(rig_t *r, const rig_image_t *image)
{
    (void)image;
    rig_image_reads(r);
    lot_advance(r, 60300);
}

Test(lock_restore, s15_a_read_is_never_answered) { at_every_piece(read_is_lost); }

static void raft_restarts(rig_t *r, const rig_image_t *image)
{
    (void)image;
    rig_image_reads(r);
    lm_test_restart_peer(r->host, LM_RAFT);
}

Test(lock_restore, s15_raft_restarts_while_it_loads) { at_every_piece(raft_restarts); }

static void raft_asks_again(rig_t *r, const rig_image_t *image)
{
    (void)image;
    rig_image_reads(r);
    lm_bus_attach_again_t body = {0};
    lm_test_deliver(r->host, LM_RAFT, LM_MSG_ATTACH_AGAIN, &body, 0);
}

Test(lock_restore, s15_raft_asks_to_attach_again_while_it_loads)
{
    at_every_piece(raft_asks_again);
}

Test(lock_restore, s15_the_lock_dies_while_it_loads)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    for (size_t pieces = 0; pieces < image.size / LOT_PIECE; pieces++) {
        other = rig_new(2);
        rig_attach_image(other, &image, image.index);
        rig_image_reads(other);
        for (size_t i = 0; i < pieces; i++) /* the later ones first: they wait for the others */
            rig_image_data(other, &image, other->n_reads - 1, LOT_PIECE, LM_RC_OK);
        rig_destroy(&other);
        if (pieces == 3) break; /* then all that were asked for are there but the first */
    }
    rig_image_free(&image);
}

Test(lock_restore, s15_a_lock_that_is_behind_attaches_again_and_begins_with_an_image)
{
    rig = lot_filled();
    other = rig_new(2);
    lot_share_log(other, rig);
    rig_attach(other, false, rig->n_log);
    rig_role(other, LM_API_RAFT_ROLE_FOLLOWER, 1, "n2");
    other->unverified = true;
    rig_deliver(other, 3);
    uint64_t before = lot_holds_of(other);
    rig_image_t image = lot_image_of(rig);
    lm_bus_attach_again_t body = {0};
    lm_test_deliver(other->host, LM_RAFT, LM_MSG_ATTACH_AGAIN, &body, 0);
    cr_assert_eq(lot_holds_of(other), before, "what it has may still be of use");
    const lm_bus_attach_t *attach = rig_attach_image(other, &image, rig->n_log);
    cr_assert_eq(attach->applied_index, 3);
    cr_assert_eq(lot_holds_of(other), 0, "the old table goes before the new one comes");
    rig_load(other, &image);
    cr_assert_eq(lot_hash_of(other), lot_hash_of(rig));
    rig_image_free(&image);
}

Test(lock_restore, s15_attaching_again_keeps_what_still_fits)
{
    rig = rig_leading();
    uint64_t call = RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
    lm_bus_attach_again_t body = {0};
    lm_test_deliver(rig->host, LM_RAFT, LM_MSG_ATTACH_AGAIN, &body, 0);
    cr_assert_str_eq(rig_said(rig, call), "forward maybe", "%s", rig_said(rig, call));
    cr_assert_not(lm_lock_room_serves(rig->room));
    uint64_t hash = lot_hash_of(rig);
    rig_attach(rig, false, rig->n_log);
    cr_assert_eq(lot_hash_of(rig), hash);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 1, "n1");
    rig_settle(rig);
    cr_assert_not(lm_lock_room_serves(rig->room), "its pair is not greater than its own");
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 2, "n1");
    rig_settle(rig);
    cr_assert(lm_lock_room_serves(rig->room));
}

/* Runs a lock that is given a broken image in a process of its own; it must end. */
static void must_end(const rig_image_t *image)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        rig_t *r = rig_new(2);
        lm_log_setup("n1", "lock", LM_LOG_ERROR + 1, false);
        rig_attach_image(r, image, image->index);
        while (rig_image_reads(r)) rig_image_data(r, image, 0, LOT_PIECE, LM_RC_OK);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) == LM_EXIT_ASSERTION,
              "it went on with a broken image: status %d", status);
}

Test(lock_restore, a_whole_image_that_cannot_be_is_the_end)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    image.state_hash ^= 1;
    must_end(&image);
    rig_image_t torn = {.index = image.index,
                        .term = image.term,
                        .data = image.data,
                        .size = 40000,
                        .crc32c = lm_crc32c(0, lm_bytes(image.data, 40000))};
    must_end(&torn);
    rig_image_free(&image);
}

/* Most of an image are texts and numbers: a table with other ones could be loaded as well. */
Test(lock_restore, a_damaged_image_begins_nothing_wherever_the_damage_is)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    for (size_t place = 0; place < DAMAGES; place++) {
        uint8_t *at = image.data + image.size / DAMAGES * place + place % 61;
        *at ^= (uint8_t)(1U << place % 8);
        other = rig_new(2);
        rig_attach_image(other, &image, image.index);
        while (rig_image_reads(other)) rig_image_data(other, &image, 0, LOT_PIECE, LM_RC_OK);
        lm_exit_t code = LM_EXIT_OK;
        cr_assert(lm_test_has_ended(other->host, &code), "byte %zu", (size_t)(at - image.data));
        cr_assert_eq(code, LM_EXIT_DAMAGED);
        cr_assert_eq(lot_holds_of(other), 0);
        cr_assert_eq(count(other, LM_MSG_CREDIT), 0);
        rig_destroy(&other);
        *at ^= (uint8_t)(1U << place % 8);
    }
    rig_image_free(&image);
}

/* ---- entries that nobody can read ------------------------------------------------------------ */

/* A batch whose frame is whole; what is in it is of another version, or a wire that breaks off. */
static lm_bytes_t unreadable(size_t which)
{
    static const uint8_t batches[][16] = {
        {'L', 'M', 'L', 1, 2, 0, 0, 0, 0x08, 2},                   /* version 2 */
        {'L', 'M', 'L', 1, 2, 0, 0, 0, 0x08, 1},                   /* no command */
        {'L', 'M', 'L', 1, 6, 0, 0, 0, 0x08, 1, 0x12, 2, 0x7a, 0}, /* a command of kind 15 */
        {'L', 'M', 'L', 1, 3, 0, 0, 0, 0x08, 1, 0x12},             /* breaks off */
    };
    return lm_bytes(batches[which], sizeof batches[which]);
}
enum { UNREADABLE = 4 };

/* Every replica stops at the same entry, with what was before it, and so does whoever starts anew:
 * nothing is passed over (S4). */
Test(lock_restore, s4_a_committed_entry_that_cannot_be_read_is_the_end)
{
    for (size_t which = 0; which < UNREADABLE; which++) {
        rig = rig_leading();
        RIG_ACQUIRE(rig, .owner = "a", .id = "1", .name = "x");
        uint64_t waits = RIG_ACQUIRE(rig, .owner = "b", .id = "2", .name = "x", .wait_ms = -1);
        rig_settle(rig);
        uint64_t hash = lot_hash_of(rig), at = rig->n_log + 1;
        rig_append_raw(rig, rig->term, unreadable(which));
        rig_append(
            rig, rig->term,
            &(lm_command_t){.kind = LM_COMMAND_CANCEL,
                            .key = {.owner = lm_bytes_of("a"), .request_id = lm_bytes_of("9")}},
            1);
        other = rig_new(2);
        lot_share_log(other, rig);
        rig_attach(other, false, rig->n_log);
        rig_t *both[] = {rig, other};
        for (size_t i = 0; i < 2; i++) {
            lm_exit_t code = LM_EXIT_OK;
            rig_deliver(both[i], SIZE_MAX);
            cr_assert(lm_test_has_ended(both[i]->host, &code));
            cr_assert_eq(code, LM_EXIT_DAMAGED);
            cr_assert_eq(lot_hash_of(both[i]), hash, "entry %" PRIu64 " and %zu", at, which);
        }
        cr_assert_str_eq(rig_said(rig, waits), "forward maybe", "%s", rig_said(rig, waits));
        rig_destroy(&rig);
        rig_destroy(&other);
    }
}

/* ---- leading with a table that was loaded ---------------------------------------------------- */

static rig_t *leading_on_image(const rig_image_t *image)
{
    rig_t *r = lot_restored(rig, image, 2);
    rig_role(r, LM_API_RAFT_ROLE_LEADER, 2, "n1");
    rig_settle(r);
    cr_assert(lm_lock_room_serves(r->room));
    return r;
}

Test(lock_restore, s8_a_loaded_table_is_taken_over_and_every_lease_runs_its_full_length)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    other = leading_on_image(&image);
    other->unverified = true;
    lot_advance(other, 19000);
    rig_settle(other);
    cr_assert_eq(lot_holds_of(other), LOT_LOCKS);
    lot_advance(other,
                1500); /* leases are 20,000 ms and as many more as the number of their hold */
    rig_settle(other);
    uint64_t left = lot_holds_of(other);
    cr_assert(left < LOT_LOCKS - 300 && left > LOT_LOCKS - 700, "%" PRIu64, left);
    for (int i = 0; i < 25; i++) {
        lot_advance(other, 300);
        rig_settle(other);
    }
    cr_assert_eq(lot_holds_of(other), 0);
    rig_image_free(&image);
}

Test(lock_restore, s6_requests_of_before_the_image_are_known_behind_it)
{
    rig = rig_leading();
    uint64_t hold = rig_take(rig, "a", "x", 30000);
    const char *hold_id = rig_hold_id(rig, hold);
    uint64_t waits = RIG_ACQUIRE(rig, .owner = "b", .id = "b-1", .name = "x", .wait_ms = -1);
    rig_take(rig, "c", "y", 30000);
    rig_settle(rig);
    rig_image_t image = lot_image_of(rig);
    cr_assert_str_eq(rig_said(rig, waits), "none");
    other = leading_on_image(&image);
    uint64_t again = RIG_ACQUIRE(other, .owner = "a", .id = "a-x", .name = "x", .ttl_ms = 30000);
    uint64_t waits_again =
        RIG_ACQUIRE(other, .owner = "b", .id = "b-1", .name = "x", .wait_ms = -1);
    rig_reads(other);
    rig_settle(other);
    cr_assert_str_eq(rig_said(other, again), "granted");
    cr_assert_str_eq(rig_hold_id(other, again), hold_id);
    uint64_t renew = rig_renew(other, (rig_call_t){.owner = "a", .name = "x", .hold_id = hold_id});
    rig_settle(other);
    cr_assert_str_eq(rig_said(other, renew), "renewed");
    cr_assert_str_eq(rig_said(other, waits_again), "none");
    uint64_t release =
        rig_release(other, (rig_call_t){.owner = "a", .id = "r", .name = "x", .hold_id = hold_id});
    rig_settle(other);
    cr_assert_str_eq(rig_said(other, release), "released");
    cr_assert_str_eq(rig_said(other, waits_again), "granted");
    rig_image_free(&image);
}

Test(lock_restore, s11_waits_of_an_image_that_nobody_asks_for_leave)
{
    rig = rig_leading();
    rig_take(rig, "a", "x", 30000);
    RIG_ACQUIRE(rig, .owner = "b", .id = "b-1", .name = "x", .wait_ms = -1);
    rig_settle(rig);
    rig_image_t image = lot_image_of(rig);
    other = leading_on_image(&image);
    cr_assert_eq(lm_table_counts(lm_lock_room_table(other->room)).waiters, 1);
    lot_advance(other, 2900);
    rig_settle(other);
    cr_assert_eq(lm_table_counts(lm_lock_room_table(other->room)).waiters, 1);
    lot_advance(other, 200);
    rig_settle(other);
    cr_assert_eq(lm_table_counts(lm_lock_room_table(other->room)).waiters, 0);
    rig_image_free(&image);
}

Test(lock_restore, s12a_stamps_are_judged_alike_behind_an_image)
{
    rig = rig_leading();
    uint64_t old = lm_table_op_seq(lm_lock_room_table(rig->room));
    /* More finished requests than the ring of the rig remembers. */
    for (int i = 0; i < 80; i++) {
        const char *id =
            lm_arena_text(rig->arena, lm_arena_print(rig->arena, "q%" PRIu64, (uint64_t)i));
        uint64_t call = RIG_ACQUIRE(rig, .owner = "a", .id = id, .name = "x");
        rig_settle(rig);
        const char *hold_id = rig_hold_id(rig, call);
        const char *release =
            lm_arena_text(rig->arena, lm_arena_print(rig->arena, "r%" PRIu64, (uint64_t)i));
        rig_release(rig,
                    (rig_call_t){.owner = "a", .id = release, .name = "x", .hold_id = hold_id});
        rig_settle(rig);
    }
    rig_image_t image = lot_image_of(rig);
    other = leading_on_image(&image);
    uint64_t late =
        RIG_ACQUIRE(other, .owner = "a", .id = "q0", .name = "x", .stamped = true, .stamp = old);
    uint64_t new = RIG_ACQUIRE(other, .owner = "a", .id = "new", .name = "x");
    rig_settle(other);
    cr_assert_str_eq(rig_said(other, late), "error OUTCOME_UNKNOWN", "%s", rig_said(other, late));
    cr_assert_str_eq(rig_said(other, new), "granted");
    rig_image_free(&image);
}

Test(lock_restore, calls_that_come_while_it_loads_wait_for_what_it_knows_then)
{
    rig = lot_filled();
    rig_image_t image = lot_image_of(rig);
    other = rig_new(2);
    lot_share_log(other, rig);
    rig_attach_image(other, &image, rig->n_log);
    rig_role(other, LM_API_RAFT_ROLE_FOLLOWER, 2, "n2");
    uint64_t call = RIG_ACQUIRE(other, .owner = "a", .id = "1", .name = "x");
    cr_assert_str_eq(rig_said(other, call), "none");
    rig_load(other, &image);
    cr_assert_str_eq(rig_said(other, call), "forward n2", "%s", rig_said(other, call));
    cr_assert_eq(rig_answer(other, call)->stamp, lm_table_op_seq(lm_lock_room_table(rig->room)));
    rig_image_free(&image);
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* More holds than a turn gives leases to: those that it has not come to are served all the same. */
Test(lock_restore, s8_holds_that_have_no_lease_yet_are_served)
{
    rig = lot_following();
    rig->unverified = true;
    const uint64_t n = 9000; /* 4,096 in a turn */
    lot_fill(rig, 0, n);
    lm_command_t last = lot_acquire(rig, n - 1), before = lot_acquire(rig, n - 2);
    const char *owner = lm_arena_text(rig->arena, last.key.owner);
    const char *name = lm_arena_text(rig->arena, last.name);
    const char *name_before = lm_arena_text(rig->arena, before.name);
    char last_id[32], before_id[32];
    snprintf(last_id, sizeof last_id, "%" PRIu64 "-0", n);
    snprintf(before_id, sizeof before_id, "%" PRIu64 "-0", n - 1);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 2, "n1");
    rig_accept(rig);
    rig->unverified = false;
    rig_deliver(rig, 1);
    cr_assert(lm_lock_room_serves(rig->room));
    uint64_t renew = rig_renew(rig, (rig_call_t){.owner = owner, .name = name, .hold_id = last_id});
    uint64_t release = rig_release(
        rig, (rig_call_t){.owner = owner, .id = "r", .name = name_before, .hold_id = before_id});
    rig_accept(rig);
    rig_deliver(rig, 1);
    lm_lock_room_verify(rig->room);
    rig_settle(rig);
    cr_assert_str_eq(rig_said(rig, renew), "renewed");
    cr_assert_str_eq(rig_said(rig, release), "released");
    rig->unverified = true;
    for (int i = 0; i < 40; i++) {
        lot_advance(rig, 1000);
        rig_settle(rig);
    }
    lm_lock_room_verify(rig->room);
    cr_assert_eq(lot_holds_of(rig), 0, "%" PRIu64 " are left", lot_holds_of(rig));
}

Test(lock_restore, s11_all_waits_are_swept_however_many_locks_there_are)
{
    rig = lot_following();
    rig->unverified = true;
    const uint64_t n = 9000;
    lot_fill(rig, 0, n);
    const uint64_t waited[] = {0, 1, 4094, 4095, 4096, 4097, 8191, 8192, 8193, 8999};
    for (size_t i = 0; i < sizeof waited / sizeof *waited; i++) {
        lm_command_t command = lot_acquire(rig, waited[i]);
        command.key.owner = command.key.request_id =
            lm_arena_print(rig->arena, "w%" PRIu64, waited[i]);
        command.wait = true;
        rig_append(rig, 1, &command, 1);
    }
    rig_deliver(rig, SIZE_MAX);
    cr_assert_eq(lm_table_counts(lm_lock_room_table(rig->room)).waiters, 10);
    rig_role(rig, LM_API_RAFT_ROLE_LEADER, 2, "n1");
    rig_settle(rig);
    lot_advance(rig, 3100);
    rig_settle(rig);
    lm_lock_room_verify(rig->room);
    cr_assert_eq(lm_table_counts(lm_lock_room_table(rig->room)).waiters, 0);
    cr_assert_eq(lot_holds_of(rig), n);
}
