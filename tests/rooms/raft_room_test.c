/* Regions of raft rooms: what must hold while nodes, links, disks and locks fail. */
#include <criterion/criterion.h>

#include "raft_framed.h"
#include "raft_schedule.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

TestSuite(raft_room, .init = lm_schedule_quiet);

static lm_cluster_t *region(uint32_t nodes, uint64_t seed)
{
    lm_cluster_options_t options = {
        .nodes = nodes, .seed = seed, .latency_us_max = 2000, .disk_us_max = 1500};
    return lm_cluster_new(&options);
}

static int other(const lm_cluster_t *c, int node)
{
    (void)c;
    return (node + 1) % 3;
}

Test(raft_room, forms_elects_and_commits)
{
    lm_cluster_t *c = region(3, 1);
    cr_assert_geq(lm_cluster_elect(c, 2000), 0);
    lm_cluster_load(c, 3);
    lm_cluster_run(c, 500);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 300);
    cr_assert_gt(lm_cluster_acknowledged(c), 100);
    cr_assert_gt(lm_cluster_reads(c), 20);
    lm_schedule_expect_agreement(c, 3, 0);
    lm_cluster_destroy(&c);
}

Test(raft_room, a_new_leader_follows_a_dead_one)
{
    lm_cluster_t *c = region(3, 2);
    int first = lm_cluster_elect(c, 2000);
    lm_cluster_load(c, 2);
    lm_cluster_run(c, 200);
    uint64_t before = lm_cluster_acknowledged(c);
    lm_cluster_kill(c, (uint32_t)first, false);
    int second = lm_cluster_elect(c, 1500);
    cr_assert_geq(second, 0);
    cr_assert_neq(second, first);
    lm_cluster_run(c, 200);
    cr_assert_gt(lm_cluster_acknowledged(c), before);
    lm_cluster_start(c, (uint32_t)first);
    lm_cluster_run(c, 500);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 300);
    lm_schedule_expect_agreement(c, 3, 0);
    lm_cluster_destroy(&c);
}

Test(raft_room, all_nodes_at_once_keep_what_was_acknowledged)
{
    lm_cluster_t *c = region(3, 3);
    lm_cluster_elect(c, 2000);
    lm_cluster_load(c, 2);
    lm_cluster_run(c, 300);
    for (uint32_t i = 0; i < 3; i++) lm_cluster_kill(c, i, i == 1);
    lm_cluster_load(c, 0);
    for (uint32_t i = 0; i < 3; i++) lm_cluster_start(c, i);
    cr_assert_geq(lm_cluster_elect(c, 3000), 0);
    lm_cluster_run(c, 500);
    lm_schedule_expect_agreement(c, 3, 0);
    lm_cluster_destroy(&c);
}

Test(raft_room, a_follower_catches_up_with_large_entries)
{
    lm_cluster_t *c = region(3, 4);
    int leader = lm_cluster_elect(c, 2000);
    uint32_t follower = (uint32_t)other(c, leader);
    lm_cluster_kill(c, follower, false);
    lm_cluster_payload(c, 700 * 1024);
    lm_cluster_load(c, 10);
    lm_cluster_run(c, 300);
    lm_cluster_load(c, 0);
    lm_cluster_start(c, follower);
    lm_cluster_run(c, 2000);
    lm_schedule_expect_agreement(c, 3, 0);
    cr_assert_gt(lm_cluster_acknowledged(c), 20);
    lm_cluster_destroy(&c);
}

/* ---- one node -------------------------------------------------------------------------------- */

Test(raft_room, one_node_serves_at_once_and_each_start_is_a_new_term)
{
    lm_cluster_t *c = region(1, 5);
    cr_assert_eq(lm_cluster_elect(c, 100), 0);
    uint64_t term = lm_cluster_term(c, 0);
    lm_cluster_load(c, 1);
    lm_cluster_run(c, 100);
    cr_assert_gt(lm_cluster_acknowledged(c), 20);
    cr_assert_gt(lm_cluster_reads(c), 20);
    lm_cluster_kill(c, 0, true);
    lm_cluster_start(c, 0);
    cr_assert_eq(lm_cluster_elect(c, 200), 0);
    cr_assert_gt(lm_cluster_term(c, 0), term);
    lm_cluster_run(c, 100);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 50);
    cr_assert(lm_cluster_keeps_promises(c));
    cr_assert_eq(lm_cluster_resets(c), 0);
    lm_cluster_destroy(&c);
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static void one_seed(uint64_t seed, uint64_t *acknowledged, uint64_t *reads)
{
    lm_cluster_options_t options = {.nodes = 3,
                                    .seed = seed,
                                    .loss_percent = seed % 3 ? 2 : 0,
                                    .latency_us_max = seed % 2 ? 2000 : 12000,
                                    .disk_us_max = seed % 5 ? 2000 : 30000};
    lm_cluster_t *c = lm_cluster_new(&options);
    lm_cluster_run(c, 600);
    lm_cluster_load(c, 4);
    for (int i = 0; i < 40; i++) {
        lm_schedule_fault(c, 3);
        lm_cluster_run(c, 10 + lm_cluster_chance(c, 120));
    }
    lm_schedule_heal(c, 3);
    lm_cluster_run(c, 500); /* a leader of before may not know yet that it leads no more */
    cr_assert_geq(lm_cluster_elect(c, 4000), 0, "seed %llu: nobody is elected", (ull_t)seed);
    uint64_t before = lm_cluster_acknowledged(c);
    lm_cluster_run(c, 400);
    cr_assert_gt(lm_cluster_acknowledged(c), before, "seed %llu: nothing is committed",
                 (ull_t)seed);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 600);
    lm_schedule_expect_agreement(c, 3, seed);
    cr_assert_eq(lm_cluster_resets(c), 0, "seed %llu", (ull_t)seed);
    cr_assert_eq(lm_cluster_ids(c), 1);
    *acknowledged += lm_cluster_acknowledged(c);
    *reads += lm_cluster_reads(c);
    lm_cluster_destroy(&c);
}

static void seeds(uint64_t from, uint64_t to)
{
    uint64_t acknowledged = 0, reads = 0;
    for (uint64_t seed = from; seed < to; seed++) one_seed(seed, &acknowledged, &reads);
    cr_assert_gt(acknowledged, 100 * (to - from));
    cr_assert_gt(reads, 10 * (to - from));
}

Test(raft_room, s15_s22_s23_s24_seeds_a) { seeds(1000, 1075); }
Test(raft_room, s15_s22_s23_s24_seeds_b) { seeds(2000, 2075); }
Test(raft_room, s15_s22_s23_s24_seeds_c) { seeds(3000, 3075); }
Test(raft_room, s15_s22_s23_s24_seeds_d) { seeds(4000, 4075); }

/* ---- forming (S18) --------------------------------------------------------------------------- */

/* Every subset of volumes is lost while all nodes are down; they start in every order. */
Test(raft_room, s18_lost_volumes_never_make_a_second_region)
{
    static const uint32_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                          {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (uint32_t lost = 1; lost < 8; lost++) {
        for (uint32_t o = 0; o < 6; o++) {
            lm_cluster_t *c = region(3, 100 + lost * 10 + o);
            cr_assert_geq(lm_cluster_elect(c, 2000), 0);
            lm_cluster_load(c, 5);
            lm_cluster_run(c, 100);
            lm_cluster_load(c, 0);
            for (uint32_t i = 0; i < 3; i++) {
                lm_cluster_kill(c, i, false);
                if (lost & 1u << i) lm_fake_disk_wipe(lm_cluster_disk(c, i));
            }
            if (lost == 7) lm_cluster_forget(c);
            for (uint32_t i = 0; i < 3; i++) {
                lm_cluster_start(c, orders[o][i]);
                lm_cluster_run(c, 700);
            }
            bool majority_left = lost == 1 || lost == 2 || lost == 4;
            if (lost == 7) {
                cr_assert_geq(lm_cluster_elect(c, 1500), 0, "all are empty again");
            } else {
                cr_assert_eq(lm_cluster_ids(c), 1, "lost %u, order %u", lost, o);
                cr_assert_eq(lm_cluster_elect(c, 1500) >= 0, majority_left, "lost %u order %u",
                             lost, o);
                for (uint32_t i = 0; i < 3; i++)
                    if (lost & 1u << i)
                        cr_assert(strstr(lm_cluster_problem(c, i), "its data is missing"),
                                  "lost %u order %u node %u: %s", lost, o, i,
                                  lm_cluster_problem(c, i));
                cr_assert(lm_cluster_keeps_promises(c));
            }
            lm_cluster_destroy(&c);
        }
    }
}

Test(raft_room, s18_two_of_three_never_form_a_region)
{
    lm_cluster_t *c = region(3, 7);
    lm_cluster_kill(c, 2, false);
    cr_assert_eq(lm_cluster_elect(c, 3000), -1);
    cr_assert(strstr(lm_cluster_problem(c, 0), "node n3 has not been heard of"), "%s",
              lm_cluster_problem(c, 0));
    lm_cluster_start(c, 2);
    cr_assert_geq(lm_cluster_elect(c, 2000), 0);
    lm_cluster_destroy(&c);
}

/* ---- the lock (S8, S21) ---------------------------------------------------------------------- */

Test(raft_room, s21_a_leader_without_a_lock_gives_leadership_away)
{
    lm_cluster_t *c = region(3, 8);
    int first = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 1000);
    lm_cluster_silence_lock(c, (uint32_t)first, true);
    lm_cluster_run(c, 2500);
    cr_assert(lm_cluster_leads(c, (uint32_t)first), "too early");
    lm_cluster_run(c, 2500);
    cr_assert_not(lm_cluster_leads(c, (uint32_t)first));
    int second = lm_cluster_elect(c, 1000);
    cr_assert(second >= 0 && second != first);
    lm_cluster_destroy(&c);
}

Test(raft_room, s21_one_restart_of_the_lock_changes_nothing)
{
    lm_cluster_t *c = region(3, 9);
    int first = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 1000);
    uint64_t term = lm_cluster_term(c, (uint32_t)first);
    lm_cluster_restart_lock(c, (uint32_t)first);
    cr_assert_eq(lm_cluster_elect(c, 1000), first);
    lm_cluster_run(c, 3000);
    cr_assert(lm_cluster_leads(c, (uint32_t)first));
    cr_assert_eq(lm_cluster_term(c, (uint32_t)first), term);
    lm_cluster_destroy(&c);
}

Test(raft_room, s8_three_restarts_of_the_lock_give_leadership_away)
{
    lm_cluster_t *c = region(3, 10);
    int first = lm_cluster_elect(c, 2000);
    for (int i = 0; i < 3; i++) {
        lm_cluster_run(c, 1000);
        cr_assert(lm_cluster_leads(c, (uint32_t)first));
        lm_cluster_restart_lock(c, (uint32_t)first);
    }
    lm_cluster_run(c, 1500);
    int second = lm_cluster_elect(c, 1000);
    cr_assert(second >= 0 && second != first, "%d after %d", second, first);
    lm_cluster_destroy(&c);
}

Test(raft_room, s21_nobody_campaigns_without_a_lock_but_others_are_elected)
{
    lm_cluster_t *c = region(3, 11);
    int first = lm_cluster_elect(c, 2000);
    uint32_t mute = (uint32_t)other(c, first);
    lm_cluster_silence_lock(c, mute, true);
    lm_cluster_run(c, 3500);
    lm_cluster_kill(c, (uint32_t)first, false);
    int second = lm_cluster_elect(c, 2000);
    cr_assert(second >= 0 && second != first && second != (int)mute);
    lm_cluster_start(c, (uint32_t)first);
    lm_cluster_run(c, 1500);
    lm_cluster_kill(c, (uint32_t)second, false);
    cr_assert_eq(lm_cluster_elect(c, 3000), first, "the one with a lock");
    lm_cluster_destroy(&c);
}

static lm_rc_t propose(lm_cluster_t *c, uint32_t node, uint64_t term, uint32_t counter,
                       bool takeover)
{
    lm_bus_generation_t generation = {.boot_id = 1, .counter = counter};
    lm_bus_propose_t body = {.term = term,
                             .incarnation = &generation,
                             .takeover = takeover,
                             .entry = lm_bytes(RAFT_FRAMED, RAFT_FRAMED_HEAD)};
    lm_test_host_t *host = lm_cluster_host(c, node);
    lm_test_deliver(host, LM_LOCK, LM_MSG_PROPOSE, &body, 0);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PROPOSED);
    cr_assert(sent);
    const lm_bus_proposed_t *answer = sent->body;
    return (lm_rc_t)answer->code;
}

Test(raft_room, s8_only_the_current_pair_proposes_and_the_takeover_comes_first)
{
    lm_cluster_t *c = region(3, 12);
    int leader = lm_cluster_elect(c, 2000);
    uint32_t l = (uint32_t)leader;
    uint64_t term = lm_cluster_term(c, l);
    lm_test_host_t *host = lm_cluster_host(c, l);
    cr_assert_eq(propose(c, l, term, 1, false), LM_RC_OK);
    cr_assert_eq(propose(c, l, term - 1, 1, false), LM_RC_NOT_LEADER);
    cr_assert_eq(propose(c, l, term, 2, false), LM_RC_NOT_READY);
    cr_assert_eq(propose(c, (uint32_t)other(c, leader), term, 1, false), LM_RC_NOT_LEADER);
    /* A new generation attaches: nothing before its own Takeover. */
    lm_test_restart_peer(host, LM_LOCK);
    cr_assert_eq(propose(c, l, term, 2, true), LM_RC_NOT_READY, "not attached");
    lm_bus_attach_t attach = {0};
    lm_test_deliver(host, LM_LOCK, LM_MSG_ATTACH, &attach, 0);
    cr_assert_eq(propose(c, l, term, 2, false), LM_RC_NOT_READY, "before its Takeover");
    cr_assert_eq(propose(c, l, term, 1, true), LM_RC_NOT_READY, "the pair of its predecessor");
    cr_assert_eq(propose(c, l, term, 2, true), LM_RC_OK);
    cr_assert_eq(propose(c, l, term, 2, false), LM_RC_OK);
    lm_cluster_destroy(&c);
}

/* The other nodes would not take it, and the log would stand still. */
Test(raft_room, what_no_lock_can_read_is_not_proposed)
{
    lm_cluster_t *c = region(3, 26);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 200);
    uint64_t term = lm_cluster_term(c, (uint32_t)leader);
    lm_bus_generation_t generation = {.boot_id = 1, .counter = 1};
    lm_bus_propose_t body = {
        .term = term, .incarnation = &generation, .entry = lm_bytes("12345678", 8)};
    lm_test_host_t *host = lm_cluster_host(c, (uint32_t)leader);
    lm_test_deliver(host, LM_LOCK, LM_MSG_PROPOSE, &body, 0);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_PROPOSED);
    cr_assert_eq(((const lm_bus_proposed_t *)sent->body)->code, LM_RC_INVALID_ARGUMENT);
    cr_assert_eq(propose(c, (uint32_t)leader, term, 1, false), LM_RC_OK);
    lm_cluster_destroy(&c);
}

Test(raft_room, s20_proposals_are_bounded)
{
    lm_cluster_t *c = region(3, 13);
    int leader = lm_cluster_elect(c, 2000);
    uint64_t term = lm_cluster_term(c, (uint32_t)leader);
    lm_rc_t rc = LM_RC_OK;
    int n = 0;
    /* Time stands still: nothing is committed. */
    for (; n < 5000 && rc == LM_RC_OK; n++) rc = propose(c, (uint32_t)leader, term, 1, false);
    cr_assert_eq(rc, LM_RC_OVERLOADED);
    lm_cluster_run(c, 500);
    cr_assert_eq(propose(c, (uint32_t)leader, term, 1, false), LM_RC_OK);
    lm_cluster_destroy(&c);
}

/* ---- attaching (S15) ------------------------------------------------------------------------- */

static const lm_bus_attached_t *attach(lm_cluster_t *c, uint32_t node, const lm_bus_attach_t *body)
{
    lm_test_deliver(lm_cluster_host(c, node), LM_LOCK, LM_MSG_ATTACH, body, 0);
    const lm_test_sent_t *sent = lm_test_take(lm_cluster_host(c, node), LM_MSG_ATTACHED);
    cr_assert(sent);
    return sent->body;
}

Test(raft_room, s15_a_lock_goes_on_where_it_was_or_begins_anew)
{
    lm_cluster_t *c = region(3, 14);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_load(c, 5);
    lm_cluster_run(c, 200);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 100);
    uint32_t n = (uint32_t)leader;
    lm_test_host_t *host = lm_cluster_host(c, n);
    const lm_raft_identity_t *identity = lm_fake_disk_identity(lm_cluster_disk(c, n));
    lm_bus_attach_t body = {.cluster_id = lm_bytes_of(identity->cluster_id),
                            .history_id = lm_bytes_of(identity->history_id),
                            .applied_index = lm_cluster_applied(c, n) - 3,
                            .applied_term = lm_cluster_term(c, n)};
    const lm_bus_attached_t *answer = attach(c, n, &body);
    cr_assert_not(answer->reset);
    cr_assert_eq(lm_test_count(host, LM_MSG_COMMITTED), 0, "no credit yet");
    lm_bus_credit_t credit = {.up_to_index = lm_cluster_applied(c, n) - 1};
    lm_test_deliver(host, LM_LOCK, LM_MSG_CREDIT, &credit, 0);
    const lm_bus_committed_t *committed = lm_test_take(host, LM_MSG_COMMITTED)->body;
    cr_assert_eq(committed->prev_index, body.applied_index);
    cr_assert_eq(committed->n_entries, 2);
    cr_assert_eq(committed->entries[0].index, body.applied_index + 1);
    body.applied_term--;
    cr_assert(attach(c, n, &body)->reset, "another term there");
    credit.up_to_index = 2;
    lm_test_deliver(host, LM_LOCK, LM_MSG_CREDIT, &credit, 0);
    committed = lm_test_take(host, LM_MSG_COMMITTED)->body;
    cr_assert_eq(committed->prev_index, 0);
    cr_assert_eq(committed->entries[0].index, 1);
    cr_assert_eq(committed->entries[0].type, LM_RAFT_CHANGE, "configurations too");
    body.applied_term++;
    body.history_id = lm_bytes_of("another history");
    cr_assert(attach(c, n, &body)->reset);
    lm_cluster_destroy(&c);
}

/* The leader's lock hears of each entry at once; whoever becomes leader has heard of all. */
Test(raft_room, locks_of_followers_are_woken_a_hundred_times_a_second_at_most)
{
    lm_cluster_t *c = region(3, 31);
    uint32_t leader = (uint32_t)lm_cluster_elect(c, 2000);
    uint64_t before[3], applied = lm_cluster_applied(c, leader);
    lm_cluster_load(c, 2);
    lm_cluster_run(c, 200);
    for (uint32_t n = 0; n < 3; n++) before[n] = lm_cluster_deliveries(c, n);
    lm_cluster_run(c, 2000);
    for (uint32_t n = 0; n < 3; n++) {
        uint64_t taken = lm_cluster_deliveries(c, n) - before[n];
        if (n == leader) cr_assert_gt(taken, 600, "%llu", (unsigned long long)taken);
        if (n != leader) cr_assert_lt(taken, 210, "%llu", (unsigned long long)taken);
    }
    cr_assert_gt(lm_cluster_applied(c, leader), applied + 600);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 100);
    for (uint32_t n = 0; n < 3; n++)
        cr_assert_eq(lm_cluster_applied(c, n), lm_cluster_applied(c, leader));
    lm_cluster_destroy(&c);
}

Test(raft_room, s15_a_full_pipe_stops_delivery_and_room_resumes_it)
{
    lm_cluster_t *c = region(1, 15);
    lm_cluster_elect(c, 500);
    lm_cluster_load(c, 1);
    lm_cluster_run(c, 50);
    lm_test_host_t *host = lm_cluster_host(c, 0);
    lm_bus_attach_t body = {0};
    attach(c, 0, &body);
    lm_test_fill_pipe(host, LM_LOCK, true);
    lm_bus_credit_t credit = {.up_to_index = 10};
    lm_test_deliver(host, LM_LOCK, LM_MSG_CREDIT, &credit, 0);
    cr_assert_eq(lm_test_count(host, LM_MSG_COMMITTED), 0);
    lm_test_fill_pipe(host, LM_LOCK, false);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_COMMITTED);
    cr_assert(sent);
    cr_assert_eq(((const lm_bus_committed_t *)sent->body)->n_entries, 10);
    lm_cluster_destroy(&c);
}

/* ---- draining -------------------------------------------------------------------------------- */

static int drain_answer(lm_cluster_t *c, uint32_t node)
{
    const lm_test_sent_t *sent = lm_test_take(lm_cluster_host(c, node), LM_MSG_DRAINED);
    return sent ? ((const lm_bus_drained_t *)sent->body)->done : -1;
}

Test(raft_room, a_draining_leader_hands_over_and_does_not_come_back)
{
    lm_cluster_t *c = region(3, 16);
    int first = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 1000);
    lm_bus_drain_t body = {.grace_ms = 2000};
    lm_test_feed(lm_cluster_host(c, (uint32_t)first), LM_SUPERVISOR, LM_MSG_DRAIN, &body, 0);
    uint64_t ms = 0;
    while (lm_cluster_leads(c, (uint32_t)first) && ms++ < 2000) lm_cluster_run(c, 1);
    cr_assert_lt(ms, 500, "%llu ms", (ull_t)ms);
    int second = lm_cluster_elect(c, 1000);
    cr_assert(second >= 0 && second != first);
    cr_assert_eq(lm_cluster_drained(c, (uint32_t)first), 1);
    lm_cluster_kill(c, (uint32_t)second, false);
    lm_cluster_run(c, 1500);
    cr_assert_not(lm_cluster_leads(c, (uint32_t)first));
    lm_cluster_destroy(&c);
}

Test(raft_room, a_drain_is_answered_at_once_where_nobody_could_lead)
{
    lm_cluster_t *c = region(1, 17);
    lm_cluster_elect(c, 500);
    lm_bus_drain_t body = {.grace_ms = 2000};
    lm_test_deliver(lm_cluster_host(c, 0), LM_SUPERVISOR, LM_MSG_DRAIN, &body, 0);
    cr_assert_eq(drain_answer(c, 0), 0);
    lm_cluster_destroy(&c);
    c = region(3, 18);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 1000);
    uint32_t follower = (uint32_t)other(c, leader);
    lm_test_deliver(lm_cluster_host(c, follower), LM_SUPERVISOR, LM_MSG_DRAIN, &body, 0);
    cr_assert_eq(drain_answer(c, follower), 1, "does not lead");
    lm_cluster_destroy(&c);
}

/* ---- figures --------------------------------------------------------------------------------- */

static double elections(const lm_cluster_t *c, int node, const char *reason)
{
    const lm_bus_metric_t *metric =
        lm_cluster_sample(c, (uint32_t)node, "lockmgr_raft_elections_started_total", reason);
    cr_assert(metric, "%s", reason);
    return metric->value;
}

Test(raft_room, elections_are_counted_by_what_began_them)
{
    lm_cluster_t *c = region(3, 40);
    int first = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 1500);
    cr_assert_geq(elections(c, first, "timeout"), 1);
    cr_assert_eq(elections(c, first, "transfer"), 0);
    lm_bus_drain_t body = {.grace_ms = 2000};
    lm_test_feed(lm_cluster_host(c, (uint32_t)first), LM_SUPERVISOR, LM_MSG_DRAIN, &body, 0);
    lm_cluster_run(c, 1500);
    int second = lm_cluster_elect(c, 1000);
    cr_assert(second >= 0 && second != first);
    lm_cluster_run(c, 1500);
    cr_assert_eq(elections(c, second, "transfer"), 1);
    lm_cluster_destroy(&c);
    c = region(1, 41);
    lm_cluster_elect(c, 500);
    lm_cluster_run(c, 1500);
    cr_assert_eq(elections(c, 0, "timeout") + elections(c, 0, "transfer"), 0, "needs none");
    lm_cluster_destroy(&c);
}

Test(raft_room, who_sounds_while_there_is_a_leader_is_told_no)
{
    static const char name[] = "lockmgr_raft_prevotes_rejected_total";
    lm_cluster_t *c = region(3, 42);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 1500);
    uint32_t deaf = (uint32_t)other(c, leader), third = 3 - deaf - (uint32_t)leader;
    double before = lm_cluster_metric(c, third, name);
    lm_cluster_cut(c, (uint32_t)leader, deaf, true);
    lm_cluster_run(c, 3000);
    cr_assert(lm_cluster_leads(c, (uint32_t)leader));
    cr_assert_gt(lm_cluster_metric(c, third, name), before);
    cr_assert_eq(elections(c, (int)deaf, "timeout"), 0, "only soundings");
    lm_cluster_destroy(&c);
}

static uint64_t round_trips(const lm_cluster_t *c, uint32_t node, uint32_t peer, double *sum)
{
    const lm_bus_metric_t *metric =
        lm_cluster_sample(c, node, "lockmgr_raft_peer_rtt_seconds", lm_cluster_name(c, peer));
    uint64_t n = 0;
    for (size_t i = 0; metric && i < metric->n_buckets; i++) n += metric->buckets[i];
    *sum = metric ? metric->value : 0;
    return n;
}

Test(raft_room, round_trips_of_reads_are_timed)
{
    lm_cluster_t *c = region(3, 43);
    uint32_t leader = (uint32_t)lm_cluster_elect(c, 2000);
    double sum;
    lm_cluster_run(c, 1500);
    lm_cluster_load(c, 5);
    lm_cluster_run(c, 3000);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t n = round_trips(c, leader, i, &sum);
        if (i == leader) {
            cr_assert_eq(n, 0, "of itself");
            continue;
        }
        cr_assert_gt(n, 50);
        cr_assert(sum > 0 && sum < (double)n * 0.006, "%f s for %llu: 2 ms each way at most", sum,
                  (ull_t)n);
        cr_assert_eq(round_trips(c, i, leader, &sum), 0, "does not lead");
    }
    lm_cluster_destroy(&c);
}

Test(raft_room, a_lost_answer_is_not_timed)
{
    lm_cluster_t *c = region(3, 44);
    uint32_t leader = (uint32_t)lm_cluster_elect(c, 2000);
    uint32_t away = (uint32_t)other(c, (int)leader);
    double sum, then;
    lm_cluster_load(c, 5);
    lm_cluster_run(c, 2500);
    uint64_t before = round_trips(c, leader, away, &sum);
    lm_cluster_cut(c, leader, away, true);
    lm_cluster_run(c, 5000);
    lm_cluster_cut(c, leader, away, false);
    lm_cluster_run(c, 2500);
    uint64_t n = round_trips(c, leader, away, &then) - before;
    cr_assert_gt(n, 20);
    cr_assert(then - sum < (double)n * 0.006, "%f s for %llu", then - sum, (ull_t)n);
    lm_cluster_destroy(&c);
}

/* ---- time (S9) ------------------------------------------------------------------------------- */

Test(raft_room, s9_a_frozen_region_thaws_without_an_election)
{
    lm_cluster_t *c = region(3, 19);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 500);
    uint64_t term = lm_cluster_term(c, (uint32_t)leader);
    for (uint32_t i = 0; i < 3; i++) lm_cluster_pause(c, i, true);
    lm_cluster_run(c, 1500);
    for (uint32_t i = 0; i < 3; i++) lm_cluster_pause(c, i, false);
    lm_cluster_run(c, 1500);
    cr_assert(lm_cluster_leads(c, (uint32_t)leader));
    for (uint32_t i = 0; i < 3; i++) cr_assert_eq(lm_cluster_term(c, i), term);
    lm_cluster_destroy(&c);
}

/* ---- faults and foreign frames --------------------------------------------------------------- */

Test(raft_room, a_broken_disk_ends_the_actor)
{
    lm_cluster_t *c = region(1, 20);
    lm_cluster_elect(c, 500);
    lm_test_host_t *host = lm_cluster_host(c, 0);
    lm_raft_done_t *done = lm_alloc(sizeof *done);
    done->kind = LM_RAFT_DONE_FAILED;
    lm_raft_fault_set(&done->fault, LM_EXIT_SYSTEM, "no space left");
    lm_test_inlet(host, done);
    lm_exit_t code = LM_EXIT_OK;
    cr_assert(lm_test_has_ended(host, &code));
    cr_assert_eq(code, LM_EXIT_SYSTEM);
    lm_cluster_destroy(&c);
}

static double metric(lm_test_host_t *host, const char *reason)
{
    const lm_bus_status_report_t *report = NULL;
    lm_test_advance(host, 1100 * 1000);
    for (const lm_test_sent_t *sent; (sent = lm_test_take(host, LM_MSG_STATUS_REPORT));)
        report = sent->body;
    cr_assert(report);
    for (size_t i = 0; i < report->n_metrics; i++) {
        const lm_bus_metric_t *m = &report->metrics[i];
        if (lm_bytes_equal(m->name, lm_bytes_of("lockmgr_raft_frames_refused_total")) &&
            lm_bytes_equal(m->labels->value, lm_bytes_of(reason)))
            return m->value;
    }
    return -1;
}

static void send_frame(lm_test_host_t *host, const char *from, uint64_t epoch, lm_bytes_t bytes)
{
    lm_bus_peer_receive_t body = {.node = lm_bytes_of(from), .epoch = epoch, .frame = bytes};
    lm_test_deliver(host, LM_PEERS, LM_MSG_PEER_RECEIVE, &body, 0);
}

static lm_bytes_t encode(const lm_peer_frame_t *frame, lm_arena_t *arena)
{
    return lm_wire_encode(&lm_peer_frame_type, frame, arena);
}

Test(raft_room, foreign_frames_are_refused_and_counted)
{
    lm_cluster_t *c = region(3, 21);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_run(c, 200);
    uint32_t n = (uint32_t)other(c, leader);
    lm_test_host_t *host = lm_cluster_host(c, n);
    const lm_raft_identity_t *identity = lm_fake_disk_identity(lm_cluster_disk(c, n));
    const char *from = lm_cluster_name(c, (uint32_t)leader);
    uint64_t term = lm_cluster_term(c, n);
    lm_arena_t *arena = lm_arena_new();
    lm_peer_request_vote_t vote = {.version = 2,
                                   .term = term + 10,
                                   .candidate_id = lm_raft_identity_id(identity, from),
                                   .disrupt_leader = true};
    lm_peer_frame_t good = {.version = 1,
                            .cluster_id = lm_bytes_of(identity->cluster_id),
                            .from_id = vote.candidate_id,
                            .to_id = lm_raft_identity_id(identity, lm_cluster_name(c, n)),
                            .body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE,
                            .request_vote = &vote};
    lm_peer_frame_t frame = good;
    frame.cluster_id = lm_bytes_of("another cluster");
    send_frame(host, from, 1000, encode(&frame, arena));
    cr_assert_eq(metric(host, "other_cluster"), 1);
    frame = good;
    frame.from_id++;
    send_frame(host, from, 1000, encode(&frame, arena));
    cr_assert_eq(metric(host, "wrong_sender"), 1);
    frame = good;
    frame.to_id++;
    send_frame(host, from, 1000, encode(&frame, arena));
    cr_assert_eq(metric(host, "wrong_receiver"), 1);
    send_frame(host, from, 1000, lm_bytes("\xff\xff\xff", 3));
    cr_assert_eq(metric(host, "undecodable"), 1);
    send_frame(host, "stranger", 1000, encode(&good, arena));
    cr_assert_eq(metric(host, "unknown_node"), 1);
    send_frame(host, from, 999, encode(&good, arena));
    cr_assert_eq(metric(host, "old_epoch"), 1);
    vote.term = UINT64_MAX - 15;
    send_frame(host, from, 1000, encode(&good, arena));
    cr_assert_eq(metric(host, "invalid"), 1);
    cr_assert_eq(lm_fake_disk_term(lm_cluster_disk(c, n)), term, "none of them had an effect");
    lm_arena_destroy(&arena);
    lm_cluster_destroy(&c);
}

Test(raft_room, s23_reads_and_proposals_of_a_lost_leadership_are_refused)
{
    lm_cluster_t *c = region(3, 22);
    int leader = lm_cluster_elect(c, 2000);
    uint32_t n = (uint32_t)leader;
    lm_cluster_cut(c, n, (n + 1) % 3, true);
    lm_cluster_cut(c, n, (n + 2) % 3, true);
    lm_test_host_t *host = lm_cluster_host(c, n);
    lm_bus_read_index_t read = {0};
    lm_test_deliver(host, LM_LOCK, LM_MSG_READ_INDEX, &read, 0);
    cr_assert_eq(lm_test_count(host, LM_MSG_READ_INDEX_DONE), 0, "nobody confirms it");
    lm_test_advance(host, 600 * 1000);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_READ_INDEX_DONE);
    cr_assert(sent);
    cr_assert_eq(((const lm_bus_read_index_done_t *)sent->body)->code, LM_RC_NOT_LEADER);
    lm_test_deliver(host, LM_LOCK, LM_MSG_READ_INDEX, &read, 0);
    sent = lm_test_take(host, LM_MSG_READ_INDEX_DONE);
    cr_assert_eq(((const lm_bus_read_index_done_t *)sent->body)->code, LM_RC_NOT_LEADER);
    lm_cluster_destroy(&c);
}

Test(raft_room, a_new_health_actor_hears_the_status_at_once)
{
    lm_cluster_t *c = region(1, 23);
    lm_cluster_elect(c, 500);
    lm_test_host_t *host = lm_cluster_host(c, 0);
    while (lm_test_take(host, LM_MSG_RAFT_ROLE)) continue;
    cr_assert_eq(lm_test_told_to_new_health(host), 1);
    cr_assert_eq(lm_test_count(host, LM_MSG_RAFT_ROLE), 1);
    lm_cluster_destroy(&c);
}
