/* Snapshots in regions of raft rooms: taken, given up, fetched, installed, while everything fails.
 *
 * More seeds: LM_RAFT_0S is how many, LM_RAFT_FIRST_0 where they begin. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "raft_schedule.h"

TestSuite(raft_image_room, .init = lm_schedule_quiet);

/* Images after every few entries, and hardly any log kept before them. */
static lm_cluster_t *region(uint64_t seed)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .latency_us_max = 2000,
                                    .disk_us_max = 1500,
                                    .snapshot_bytes = 4096,
                                    .trailing_entries = 16};
    return lm_cluster_new(&options);
}

static void settle(lm_cluster_t *c)
{
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 1000);
    lm_schedule_expect_agreement(c, 3, 0);
}

static uint32_t follower_of(int leader) { return ((uint32_t)leader + 1) % 3; }

Test(raft_image_room, s16_snapshots_are_taken_and_the_log_loses_its_beginning)
{
    lm_cluster_t *c = region(1);
    cr_assert_geq(lm_cluster_elect(c, 2000), 0);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 3000);
    settle(c);
    cr_assert_gt(lm_cluster_images(c), 10);
    for (uint32_t i = 0; i < 3; i++) {
        const lm_raft_image_t *image = lm_fake_disk_image(lm_cluster_disk(c, i));
        cr_assert_gt(image->index, 100);
        cr_assert_leq(image->index, lm_cluster_applied(c, i));
        cr_assert_lt(lm_fake_disk_entries(lm_cluster_disk(c, i)), 150, "node %u: %llu", i,
                     (ull_t)lm_fake_disk_entries(lm_cluster_disk(c, i)));
        cr_assert_gt(lm_cluster_metric(c, i, "lockmgr_raft_first_index"), 100);
        cr_assert_gt(lm_cluster_metric(c, i, "lockmgr_raft_snapshots_taken_total"), 3);
    }
    lm_cluster_destroy(&c);
}

Test(raft_image_room, s15_a_new_lock_begins_with_the_image_of_its_node)
{
    lm_cluster_t *c = region(2);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 1500);
    lm_cluster_restart_lock(c, (uint32_t)leader);
    lm_cluster_restart_lock(c, follower_of(leader));
    lm_cluster_run(c, 1500);
    settle(c);
    cr_assert_eq(lm_cluster_restores(c), 2);
    cr_assert_eq(lm_cluster_resets(c), 0);
    lm_cluster_destroy(&c);
}

/* Its lock ends again and again while it loads what is here: the image may have been damaged since
 * the start, when it was checked. Another node's takes its place. */
Test(raft_image_room, an_image_that_no_lock_can_load_is_replaced_by_another_nodes)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = 12,
                                    .latency_us_max = 2000,
                                    .disk_us_max = 1500,
                                    .snapshot_bytes = 4096,
                                    .trailing_entries = 16,
                                    .image_padding = 1300000};
    lm_cluster_t *c = lm_cluster_new(&options);
    int leader = lm_cluster_elect(c, 2000);
    uint32_t follower = follower_of(leader);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 1500);
    uint64_t bad = lm_fake_disk_image(lm_cluster_disk(c, follower))->index;
    cr_assert_gt(bad, 0);
    for (int i = 0; i < 3; i++) {
        lm_cluster_silence_lock(c, follower, false);
        lm_cluster_restart_lock(c, follower);
        lm_cluster_run(c, 1);
        lm_cluster_silence_lock(c, follower, true); /* amid the first pieces */
    }
    lm_cluster_run(c, 3000);
    cr_assert_geq(lm_cluster_metric(c, follower, "lockmgr_raft_snapshots_fetched_total"), 1);
    cr_assert_gt(lm_fake_disk_image(lm_cluster_disk(c, follower))->index, bad);
    lm_cluster_silence_lock(c, follower, false);
    lm_cluster_restart_lock(c, follower);
    settle(c);
    lm_cluster_destroy(&c);
}

Test(raft_image_room, s15_a_lock_that_outlives_raft_goes_on_where_it_was)
{
    lm_cluster_t *c = region(3);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_load(c, 3);
    for (uint32_t i = 0; i < 8; i++) {
        lm_cluster_run(c, 400);
        uint32_t n = i % 3;
        lm_cluster_kill(c, n, true);
        lm_cluster_start(c, n);
    }
    (void)leader;
    lm_cluster_run(c, 1500);
    settle(c);
    cr_assert_eq(lm_cluster_resets(c), 0);
    lm_cluster_destroy(&c);
}

Test(raft_image_room, a_follower_that_was_away_too_long_gets_the_leaders_image)
{
    lm_cluster_t *c = region(4);
    int leader = lm_cluster_elect(c, 2000);
    uint32_t away = follower_of(leader);
    lm_cluster_kill(c, away, false);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 3000);
    lm_cluster_start(c, away);
    lm_cluster_run(c, 3000);
    cr_assert_geq(lm_cluster_metric(c, away, "lockmgr_raft_snapshots_installed_total"), 1);
    settle(c);
    lm_cluster_destroy(&c);
}

/* ---- either side dies ------------------------------------------------------------------------ */

/* A region in which the lock of one node is writing an image of several parts. */
static lm_cluster_t *taking(uint64_t seed, uint32_t *node)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .latency_us_max = 2000,
                                    .disk_us_max = 8000,
                                    .snapshot_bytes = 4096,
                                    .trailing_entries = 16,
                                    .image_padding = 500000};
    lm_cluster_t *c = lm_cluster_new(&options);
    int leader = lm_cluster_elect(c, 2000);
    cr_assert_geq(leader, 0);
    *node = ((uint32_t)leader + (uint32_t)seed) % 3;
    lm_cluster_load(c, 3);
    for (int ms = 0; ms < 2000 && !lm_cluster_is_taking(c, *node); ms++) lm_cluster_run(c, 1);
    cr_assert(lm_cluster_is_taking(c, *node));
    return c;
}

Test(raft_image_room, s16_raft_dies_at_each_step_of_a_snapshot)
{
    unsigned finished = 0;
    for (unsigned ms = 0; ms < 60; ms += 4) {
        for (unsigned steps = 0; steps < 6; steps++) {
            uint32_t node;
            lm_cluster_t *c = taking(100 + ms + steps, &node);
            lm_cluster_run(c, ms);
            lm_cluster_kill_at(c, node, steps % 2, steps);
            finished += lm_fake_disk_image(lm_cluster_disk(c, node))->index > 0;
            lm_cluster_run(c, 50);
            lm_cluster_start(c, node);
            lm_cluster_run(c, 1200);
            settle(c);
            lm_cluster_destroy(&c);
        }
    }
    cr_assert(finished > 5 && finished < 85, "%u", finished);
}

Test(raft_image_room, s16_the_lock_dies_at_each_step_of_a_snapshot)
{
    for (unsigned ms = 0; ms < 60; ms += 2) {
        uint32_t node;
        lm_cluster_t *c = taking(300 + ms, &node);
        lm_cluster_run(c, ms);
        lm_cluster_restart_lock(c, node);
        lm_cluster_run(c, 1500);
        settle(c);
        cr_assert_gt(lm_cluster_metric(c, node, "lockmgr_raft_snapshots_taken_total"), 1,
                     "the next one is taken");
        lm_cluster_destroy(&c);
    }
}

Test(raft_image_room, s16_a_lock_that_never_finishes_is_given_up)
{
    uint32_t node;
    lm_cluster_t *c = taking(400, &node);
    lm_cluster_stop_parts(c, node, true);
    lm_cluster_load(c, 50);
    lm_cluster_run(c, 33000);
    cr_assert_gt(lm_cluster_metric(c, node, "lockmgr_raft_snapshots_dropped_total"), 0);
    lm_cluster_stop_parts(c, node, false);
    lm_cluster_run(c, 3000);
    cr_assert_gt(lm_cluster_metric(c, node, "lockmgr_raft_snapshots_taken_total"), 0);
    settle(c);
    lm_cluster_destroy(&c);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Many large entries are to stay before a small snapshot: they must not fill the log for ever. */
Test(raft_image_room, s20_what_trails_a_snapshot_leaves_room_for_more)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = 20,
                                    .latency_us_max = 500,
                                    .disk_us_max = 500,
                                    .snapshot_bytes = 4096,
                                    .trailing_entries = 1000000};
    lm_cluster_t *c = lm_cluster_new(&options);
    cr_assert_geq(lm_cluster_elect(c, 2000), 0);
    lm_cluster_payload(c, 16384);
    lm_cluster_load(c, 4);
    lm_cluster_run(c, 2000);
    uint64_t before = lm_cluster_acknowledged(c);
    lm_cluster_run(c, 2000);
    cr_assert_gt(lm_cluster_acknowledged(c), before + 100, "%lu, %lu", before,
                 lm_cluster_acknowledged(c));
    lm_cluster_load(c, 0);
    settle(c);
    lm_cluster_destroy(&c);
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* A node that was away and has just begun to fetch an image of many pieces. */
static lm_cluster_t *fetching(uint64_t seed, uint32_t *leader, uint32_t *away)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .latency_us_max = 2000,
                                    .disk_us_max = 3000,
                                    .snapshot_bytes = 32768,
                                    .trailing_entries = 16,
                                    .may_end = true,
                                    .image_padding = 1300000};
    lm_cluster_t *c = lm_cluster_new(&options);
    *leader = (uint32_t)lm_cluster_elect(c, 2000);
    *away = follower_of((int)*leader);
    lm_cluster_kill(c, *away, false);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 2500);
    lm_cluster_start(c, *away);
    for (int i = 0; i < 1000 && lm_fake_disk_part(lm_cluster_disk(c, *away)) == 0; i++)
        lm_cluster_run(c, 1);
    cr_assert_gt(lm_fake_disk_part(lm_cluster_disk(c, *away)), 0);
    return c;
}

static void expect_installed(lm_cluster_t *c, uint32_t node)
{
    lm_cluster_run(c, 2500);
    cr_assert_gt(lm_fake_disk_image(lm_cluster_disk(c, node))->index, 50);
    settle(c);
    lm_cluster_destroy(&c);
}

Test(raft_image_room, s16_the_receiver_dies_at_each_step_and_goes_on_where_it_was)
{
    unsigned resumed = 0;
    for (unsigned ms = 0; ms < 60; ms += 4) {
        for (unsigned steps = 0; steps < 4; steps++) {
            uint32_t leader, node;
            lm_cluster_t *c = fetching(500 + ms + steps, &leader, &node);
            lm_cluster_load(c, 0); /* else the next image is offered */
            lm_cluster_run(c, ms);
            lm_cluster_kill_at(c, node, false, steps);
            uint64_t there = lm_fake_disk_part(lm_cluster_disk(c, node));
            uint64_t length = lm_fake_disk_image(lm_cluster_disk(c, leader))->length;
            lm_cluster_start(c, node);
            lm_cluster_run(c, 3000);
            double fetched = lm_cluster_metric(c, node, "lockmgr_raft_fetched_bytes_total");
            resumed += there > 0 && fetched > 0 && fetched < (double)length;
            lm_cluster_load(c, 3);
            expect_installed(c, node);
        }
    }
    cr_assert_gt(resumed, 5, "%u", resumed);
}

Test(raft_image_room, s16_the_sender_dies_or_is_cut_off_while_it_sends)
{
    for (unsigned ms = 0; ms < 40; ms += 2) {
        uint32_t leader, node;
        lm_cluster_t *c = fetching(600 + ms, &leader, &node);
        lm_cluster_run(c, ms);
        if (ms % 4) {
            lm_cluster_kill(c, leader, false);
            lm_cluster_run(c, 1500);
            lm_cluster_start(c, leader);
        } else {
            lm_cluster_cut(c, leader, node, true);
            lm_cluster_run(c, 300);
            lm_cluster_cut(c, leader, node, false);
        }
        expect_installed(c, node);
    }
}

Test(raft_image_room, an_image_that_is_damaged_at_its_sender_is_not_installed)
{
    uint32_t leader, node;
    lm_cluster_t *c = fetching(700, &leader, &node);
    lm_cluster_kill(c, node, false);
    lm_cluster_run(c, 500);
    lm_fake_disk_damage_image(lm_cluster_disk(c, leader));
    lm_cluster_start(c, node);
    expect_installed(c, node);
}

/* ---- seeds ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t acknowledged, images, restores, installed;
} totals_t;

static lm_cluster_t *region_of_seed(uint64_t seed)
{
    static const uint32_t bytes[] = {1024, 4096, 4096, 16384};
    static const uint32_t trailing[] = {1, 8, 16, 64};
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .loss_percent = seed % 3 ? 2 : 0,
                                    .latency_us_max = seed % 2 ? 2000 : 12000,
                                    .disk_us_max = seed % 5 ? 2000 : 30000,
                                    .snapshot_bytes = bytes[seed / 2 % 4],
                                    .trailing_entries = trailing[seed / 3 % 4],
                                    .image_padding = seed % 7 ? 0 : 700000,
                                    .lock_drops_percent = seed % 4 ? 0 : 10};
    return lm_cluster_new(&options);
}

static void one_seed(uint64_t seed, totals_t *totals)
{
    lm_cluster_t *c = region_of_seed(seed);
    lm_cluster_run(c, 600);
    lm_cluster_load(c, 4);
    for (int i = 0; i < 40; i++) {
        lm_schedule_fault(c, 3);
        lm_cluster_run(c, 10 + lm_cluster_chance(c, 150));
    }
    lm_schedule_heal(c, 3);
    lm_cluster_run(c, 800); /* a leader of before may not know yet that it leads no more */
    cr_assert_geq(lm_cluster_elect(c, 5000), 0, "seed %llu: nobody is elected", (ull_t)seed);
    uint64_t before = lm_cluster_acknowledged(c);
    lm_cluster_run(c, 400);
    cr_assert_gt(lm_cluster_acknowledged(c), before, "seed %llu: nothing is committed",
                 (ull_t)seed);
    lm_cluster_load(c, 0);
    for (int i = 0; i < 60; i++) {
        lm_cluster_run(c, 100);
        if (i > 5 && lm_cluster_applied(c, 0) == lm_cluster_applied(c, 1) &&
            lm_cluster_applied(c, 1) == lm_cluster_applied(c, 2))
            break;
    }
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(lm_cluster_applied(c, i), lm_cluster_applied(c, 0), "seed %llu: %llu, %llu",
                     (ull_t)seed, (ull_t)lm_cluster_applied(c, i), (ull_t)lm_cluster_applied(c, 0));
        totals->installed +=
            (uint64_t)lm_cluster_metric(c, i, "lockmgr_raft_snapshots_installed_total");
    }
    lm_schedule_expect_agreement(c, 3, seed);
    cr_assert_eq(lm_cluster_resets(c), 0, "seed %llu", (ull_t)seed);
    totals->acknowledged += lm_cluster_acknowledged(c);
    totals->images += lm_cluster_images(c);
    totals->restores += lm_cluster_restores(c);
    lm_cluster_destroy(&c);
}

static void seeds(uint64_t from, uint64_t n)
{
    const char *count = getenv("LM_RAFT_seedS"), *first = getenv("LM_RAFT_FIRST_seed");
    totals_t totals = {0};
    if (count) n = strtoull(count, NULL, 10) / 4;
    if (first) from += strtoull(first, NULL, 10);
    for (uint64_t seed = from; seed < from + n; seed++) one_seed(seed, &totals);
    if (count)
        printf("seeds %llu..%llu: %llu acknowledged, %llu images, %llu restored, %llu installed\n",
               (ull_t)from, (ull_t)(from + n - 1), (ull_t)totals.acknowledged, (ull_t)totals.images,
               (ull_t)totals.restores, (ull_t)totals.installed);
    cr_assert_gt(totals.acknowledged, 100 * n);
    cr_assert_gt(totals.images, 5 * n);
    cr_assert_gt(totals.restores, n);
    cr_assert_gt(totals.installed, n / 8);
}

Test(raft_image_room, s15_s16_s20_s24_seeds_a) { seeds(1000000, 60); }
Test(raft_image_room, s15_s16_s20_s24_seeds_b) { seeds(2000000, 60); }
Test(raft_image_room, s15_s16_s20_s24_seeds_c) { seeds(3000000, 60); }
Test(raft_image_room, s15_s16_s20_s24_seeds_d) { seeds(4000000, 60); }
