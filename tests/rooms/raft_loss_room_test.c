/* Entries that were acknowledged and are gone (S19), and memory that must not grow (S20). */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "raft_framed.h"
#include "raft_schedule.h"
#include "wire_bus.h"

TestSuite(raft_loss_room, .init = lm_schedule_quiet);

static lm_cluster_t *region(uint64_t seed, uint32_t snapshot_bytes)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .latency_us_max = 2000,
                                    .disk_us_max = 1500,
                                    .snapshot_bytes = snapshot_bytes,
                                    .trailing_entries = 16};
    return lm_cluster_new(&options);
}

static uint32_t next_to(int node, uint32_t by) { return ((uint32_t)node + by) % 3; }

static bool says_loss(const lm_cluster_t *c, uint32_t node)
{
    return strstr(lm_cluster_problem(c, node), "a part of this node's log is lost") != NULL;
}

/* A leader with some log; no snapshots unless they are wanted. */
static int grown(lm_cluster_t *c, uint64_t ms)
{
    int leader = lm_cluster_elect(c, 2000);
    cr_assert_geq(leader, 0);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, ms);
    return leader;
}

/* ---- S19 ------------------------------------------------------------------------------------- */

/* A deposed leader's tail is truncated; its process dies after every step of that. */
Test(raft_loss_room, s19_no_step_of_a_truncation_looks_like_a_loss)
{
    unsigned truncated = 0;
    for (uint32_t ms = 0; ms < 40; ms += 2) {
        for (unsigned steps = 0; steps < 4; steps++) {
            lm_cluster_options_t options = {
                .nodes = 3, .seed = 7, .latency_us_max = 2000, .disk_us_max = 12000};
            lm_cluster_t *c = lm_cluster_new(&options);
            uint32_t old = (uint32_t)grown(c, 300);
            lm_cluster_cut(c, old, next_to((int)old, 1), true);
            lm_cluster_cut(c, old, next_to((int)old, 2), true);
            lm_cluster_run(c, 1000);
            uint64_t before = lm_fake_disk_last_index(lm_cluster_disk(c, old));
            lm_cluster_cut(c, old, next_to((int)old, 1), false);
            lm_cluster_cut(c, old, next_to((int)old, 2), false);
            lm_cluster_run(c, 20 + ms);
            lm_cluster_kill_at(c, old, true, steps);
            truncated += lm_fake_disk_watermark(lm_cluster_disk(c, old)) < before;
            lm_cluster_start(c, old);
            lm_cluster_run(c, 300);
            cr_assert_not(says_loss(c, old), "after %u ms and %u steps", ms, steps);
            cr_assert_eq(lm_cluster_metric(c, old, "lockmgr_raft_log_lost"), 0);
            lm_cluster_load(c, 0);
            lm_cluster_run(c, 1500);
            lm_schedule_expect_agreement(c, 3, 0);
            lm_cluster_destroy(&c);
        }
    }
    cr_assert_gt(truncated, 3, "%u", truncated);
}

static void lose(lm_cluster_t *c, uint32_t node, uint64_t entries)
{
    lm_cluster_kill(c, node, false);
    lm_fake_disk_lose(lm_cluster_disk(c, node), entries);
    lm_cluster_start(c, node);
}

Test(raft_loss_room, s19_a_node_that_lost_its_tail_is_sent_it_again)
{
    for (uint64_t seed = 20; seed < 30; seed++) {
        lm_cluster_t *c = region(seed, seed % 2 ? 4096 : 0);
        int leader = grown(c, 600);
        uint32_t node = next_to(leader, 1 + (uint32_t)seed % 2);
        lose(c, node, 3);
        lm_cluster_run(c, 20);
        cr_assert(says_loss(c, node), "%s", lm_cluster_problem(c, node));
        lm_cluster_run(c, 9000);
        cr_assert_eq(lm_cluster_metric(c, node, "lockmgr_raft_log_lost"), 0, "seed %llu",
                     (ull_t)seed);
        cr_assert_not(says_loss(c, node));
        lm_cluster_load(c, 0);
        lm_cluster_run(c, 1000);
        lm_schedule_expect_agreement(c, 3, seed);
        /* It votes again. */
        lm_cluster_kill(c, (node + 1) % 3, false);
        lm_cluster_run(c, 500);
        cr_assert_geq(lm_cluster_elect(c, 2000), 0);
        lm_cluster_destroy(&c);
    }
}

Test(raft_loss_room, s19_a_short_log_elects_nobody)
{
    lm_cluster_t *c = region(31, 0);
    int leader = grown(c, 600);
    uint32_t lost = next_to(leader, 1), behind = next_to(leader, 2);
    /* The third node misses what the other two acknowledge. */
    lm_cluster_cut(c, behind, (uint32_t)leader, true);
    lm_cluster_cut(c, behind, lost, true);
    lm_cluster_run(c, 300);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 100);
    lm_cluster_kill(c, (uint32_t)leader, false);
    lm_cluster_kill(c, lost, false);
    uint64_t short_end = lm_fake_disk_last_index(lm_cluster_disk(c, behind));
    uint64_t n = lm_fake_disk_last_index(lm_cluster_disk(c, lost)) - short_end;
    cr_assert_gt(n, 5);
    lm_fake_disk_lose(lm_cluster_disk(c, lost), n);
    lm_cluster_cut(c, behind, lost, false);
    lm_cluster_start(c, lost);
    cr_assert_eq(lm_cluster_elect(c, 5000), -1, "acknowledged entries would be lost");
    cr_assert(says_loss(c, lost));
    /* With the one that has everything, all is well again. */
    lm_cluster_cut(c, behind, (uint32_t)leader, false);
    lm_cluster_start(c, (uint32_t)leader);
    cr_assert_geq(lm_cluster_elect(c, 3000), 0);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 3000);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 1000);
    lm_schedule_expect_agreement(c, 3, 0);
    cr_assert_not(says_loss(c, lost));
    lm_cluster_destroy(&c);
}

Test(raft_loss_room, s19_loss_on_two_nodes_is_said_and_nobody_is_elected)
{
    lm_cluster_t *c = region(32, 4096);
    int leader = grown(c, 600);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 200);
    for (uint32_t i = 0; i < 3; i++) lm_cluster_kill(c, i, false);
    for (uint32_t i = 1; i < 3; i++) lm_fake_disk_lose(lm_cluster_disk(c, next_to(leader, i)), 2);
    for (uint32_t i = 0; i < 3; i++) lm_cluster_start(c, i);
    cr_assert_eq(lm_cluster_elect(c, 5000), -1);
    cr_assert(says_loss(c, next_to(leader, 1)) && says_loss(c, next_to(leader, 2)));
    cr_assert_not(says_loss(c, (uint32_t)leader));
    cr_assert(strstr(lm_cluster_problem(c, next_to(leader, 1)), "keep them running"));
    lm_cluster_destroy(&c);
}

/* Nobody else can lead: a snapshot that goes further than the loss helps. */
Test(raft_loss_room, s19_a_leader_that_cannot_hand_over_helps_with_a_snapshot)
{
    lm_cluster_t *c = region(33, 0);
    int leader = grown(c, 600);
    lm_cluster_kill(c, next_to(leader, 2), false);
    lm_cluster_run(c, 100);
    lose(c, next_to(leader, 1), 4);
    lm_cluster_run(c, 12000);
    cr_assert_not(says_loss(c, next_to(leader, 1)));
    cr_assert_eq(lm_cluster_metric(c, next_to(leader, 1), "lockmgr_raft_log_lost"), 0);
    uint64_t before = lm_cluster_acknowledged(c);
    lm_cluster_run(c, 500);
    cr_assert_gt(lm_cluster_acknowledged(c), before + 20);
    lm_cluster_start(c, next_to(leader, 2));
    lm_cluster_run(c, 1000);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 1000);
    lm_schedule_expect_agreement(c, 3, 0);
    lm_cluster_destroy(&c);
}

Test(raft_loss_room, s19_the_only_node_refuses_to_start_without_what_it_acknowledged)
{
    lm_cluster_options_t options = {.nodes = 1, .seed = 34, .may_end = true};
    lm_cluster_t *c = lm_cluster_new(&options);
    cr_assert_geq(lm_cluster_elect(c, 500), 0);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 300);
    lose(c, 0, 2);
    lm_cluster_run(c, 20);
    cr_assert_eq(lm_cluster_exit(c, 0), LM_EXIT_DAMAGED);
    cr_assert_not(lm_cluster_is_up(c, 0));
    lm_cluster_destroy(&c);
}

/* ---- seeds ---- */

/* Bit rot takes the ends of logs, of one node at a time, besides everything else. */
static void random_fault(lm_cluster_t *c, unsigned *losses)
{
    uint32_t a = (uint32_t)lm_cluster_chance(c, 3), b = (a + 1) % 3;
    bool lost = false;
    for (uint32_t i = 0; i < 3; i++) lost |= lm_fake_disk_has_loss(lm_cluster_disk(c, i));
    switch (lm_cluster_chance(c, 9)) {
    case 0: lm_cluster_kill(c, a, lm_cluster_chance(c, 2)); break;
    case 1:
    case 2: lm_cluster_start(c, a); break;
    case 3: lm_cluster_cut(c, a, b, true); break;
    case 4: lm_cluster_cut(c, a, b, false); break;
    case 5: lm_cluster_restart_lock(c, a); break;
    case 6: lm_cluster_pause(c, a, lm_cluster_chance(c, 3) == 0); break;
    default:
        lm_cluster_kill(c, a, lm_cluster_chance(c, 2));
        if (!lost && lm_fake_disk_entries(lm_cluster_disk(c, a)) > 9) {
            lm_fake_disk_lose(lm_cluster_disk(c, a), 1 + lm_cluster_chance(c, 8));
            ++*losses;
        }
        lm_cluster_start(c, a);
        break;
    }
}

static void one_seed(uint64_t seed, unsigned *losses)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .loss_percent = seed % 3 ? 2 : 0,
                                    .latency_us_max = seed % 2 ? 2000 : 12000,
                                    .disk_us_max = seed % 5 ? 2000 : 30000,
                                    .snapshot_bytes = seed % 4 ? 4096 : 0,
                                    .trailing_entries = 16};
    lm_cluster_t *c = lm_cluster_new(&options);
    lm_cluster_run(c, 600);
    lm_cluster_load(c, 4);
    for (int i = 0; i < 30; i++) {
        random_fault(c, losses);
        lm_cluster_run(c, 10 + lm_cluster_chance(c, 300));
    }
    lm_cluster_loss(c, 0);
    for (uint32_t i = 0; i < 3; i++) {
        lm_cluster_cut(c, i, (i + 1) % 3, false);
        lm_cluster_pause(c, i, false);
        lm_cluster_start(c, i);
    }
    lm_cluster_run(c, 15000);
    cr_assert_geq(lm_cluster_elect(c, 5000), 0, "seed %llu: nobody is elected", (ull_t)seed);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_not(lm_fake_disk_has_loss(lm_cluster_disk(c, i)), "seed %llu: node %u",
                      (ull_t)seed, i);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 1500);
    lm_schedule_expect_agreement(c, 3, seed);
    lm_cluster_destroy(&c);
}

static void seeds(uint64_t from, uint64_t n)
{
    const char *count = getenv("LM_RAFT_seedS"), *first = getenv("LM_RAFT_FIRST_seed");
    unsigned losses = 0;
    if (count) n = strtoull(count, NULL, 10) / 2;
    if (first) from += strtoull(first, NULL, 10);
    for (uint64_t seed = from; seed < from + n; seed++) one_seed(seed, &losses);
    if (count) printf("seeds %llu..%llu: %u losses\n", (ull_t)from, (ull_t)(from + n - 1), losses);
    cr_assert_gt(losses, n);
}

Test(raft_loss_room, s19_seeds_a) { seeds(5000000, 12); }
Test(raft_loss_room, s19_seeds_b) { seeds(6000000, 12); }

/* ---- S20 ------------------------------------------------------------------------------------- */

#define LOG_MAX (2.0 * 1024 * 1024)

static void watch_memory(lm_cluster_t *c, uint32_t node, unsigned seconds)
{
    double most = 0;
    for (unsigned i = 0; i < 10 * seconds; i++) {
        lm_cluster_run(c, 100);
        double now = lm_cluster_metric(c, node, "lockmgr_raft_log_memory_bytes");
        if (now > most) most = now;
    }
    cr_assert_lt(most, LOG_MAX, "%.0f bytes", most);
    cr_assert_gt(most, LOG_MAX / 4, "nothing has been proved: %.0f bytes", most);
}

Test(raft_loss_room, s20_memory_is_bounded_where_a_lock_takes_nothing)
{
    for (int silent = 0; silent < 2; silent++) {
        lm_cluster_t *c = region(40 + (uint64_t)silent, 65536);
        lm_cluster_payload(c, 1024);
        int leader = grown(c, 300);
        uint32_t node = next_to(leader, 1);
        if (silent)
            lm_cluster_silence_lock(c, node, true);
        else
            lm_cluster_stall_lock(c, node, true);
        uint64_t before = lm_cluster_acknowledged(c), applied = lm_cluster_applied(c, node);
        watch_memory(c, node, 10);
        cr_assert_gt(lm_cluster_acknowledged(c) - before, 2500, "the others go on");
        if (silent) cr_assert_leq(lm_cluster_applied(c, node), applied + 128);
        cr_assert_gt(lm_cluster_metric(c, node, "lockmgr_raft_snapshots_fetched_total"), 3);
        lm_cluster_silence_lock(c, node, false);
        lm_cluster_stall_lock(c, node, false);
        lm_cluster_load(c, 0);
        lm_cluster_run(c, 3000);
        lm_schedule_expect_agreement(c, 3, 0);
        cr_assert_gt(lm_cluster_restores(c), 0);
        lm_cluster_destroy(&c);
    }
}

/* Its own snapshots never come to an end: it gets those of its leader. */
Test(raft_loss_room, s20_memory_is_bounded_where_a_lock_finishes_no_image)
{
    lm_cluster_t *c = region(43, 65536);
    lm_cluster_payload(c, 1024);
    int leader = grown(c, 300);
    uint32_t node = next_to(leader, 1);
    lm_cluster_stop_parts(c, node, true);
    lm_cluster_run(c, 1100);
    double taken = lm_cluster_metric(c, node, "lockmgr_raft_snapshots_taken_total");
    watch_memory(c, node, 10);
    cr_assert_gt(lm_cluster_metric(c, node, "lockmgr_raft_snapshots_fetched_total"), 3);
    cr_assert_eq(lm_cluster_metric(c, node, "lockmgr_raft_snapshots_taken_total"), taken);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 1000);
    lm_schedule_expect_agreement(c, 3, 0);
    lm_cluster_destroy(&c);
}

static lm_rc_t propose(lm_cluster_t *c, uint32_t node, uint64_t term, size_t size)
{
    static uint8_t bytes[65536];
    lm_bus_generation_t generation = {.boot_id = 1, .counter = 1};
    lm_bus_propose_t body = {.term = term,
                             .incarnation = &generation,
                             .entry = lm_bytes(raft_framed(bytes, size), size)};
    lm_test_host_t *host = lm_cluster_host(c, node);
    lm_test_deliver(host, LM_LOCK, LM_MSG_PROPOSE, &body, 0);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PROPOSED);
    cr_assert(sent);
    return (lm_rc_t)((const lm_bus_proposed_t *)sent->body)->code;
}

Test(raft_loss_room, s20_a_leader_whose_lock_takes_nothing_refuses_and_gives_leadership_away)
{
    lm_cluster_t *c = region(42, 65536);
    int leader = grown(c, 300);
    uint64_t term = lm_cluster_term(c, (uint32_t)leader);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 100);
    lm_cluster_stall_lock(c, (uint32_t)leader, true);
    lm_rc_t rc = LM_RC_OK;
    for (int i = 0; i < 200 && rc == LM_RC_OK; i++) {
        rc = propose(c, (uint32_t)leader, term, 32768);
        lm_cluster_run(c, 5);
    }
    cr_assert_eq(rc, LM_RC_OVERLOADED);
    cr_assert_lt(lm_cluster_metric(c, (uint32_t)leader, "lockmgr_raft_log_memory_bytes"), LOG_MAX);
    cr_assert(lm_cluster_leads(c, (uint32_t)leader), "not at once");
    lm_cluster_run(c, 4500);
    int second = lm_cluster_elect(c, 1000);
    cr_assert(second >= 0 && second != leader, "%d after %d", second, leader);
    lm_cluster_destroy(&c);
}
