/* Regions of raft rooms in schedules that were looked for because they might break something. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "raft_framed.h"
#include "raft_limits.h"
#include "raft_schedule.h"
#include "wire_bus.h"
#include "wire_peer.h"

TestSuite(raft_review, .init = lm_schedule_quiet);

static lm_cluster_t *region(uint32_t nodes, uint64_t seed)
{
    lm_cluster_options_t options = {
        .nodes = nodes, .seed = seed, .latency_us_max = 2000, .disk_us_max = 1500};
    return lm_cluster_new(&options);
}

/* ---- giving leadership away ------------------------------------------------------------------ */

/* Every node has the same reason to give leadership away: then it stays where it is. */
Test(raft_review, s8_leadership_does_not_go_round_where_all_locks_restart_too_often)
{
    lm_cluster_t *c = region(3, 1);
    cr_assert_geq(lm_cluster_elect(c, 2000), 0);
    for (int i = 0; i < 3; i++) {
        lm_cluster_run(c, 1000);
        for (uint32_t n = 0; n < 3; n++) lm_cluster_restart_lock(c, n);
    }
    lm_cluster_run(c, 2000);
    int leader = lm_cluster_elect(c, 1000);
    cr_assert_geq(leader, 0);
    uint64_t term = lm_cluster_term(c, (uint32_t)leader);
    lm_cluster_run(c, 3000);
    cr_assert_eq(lm_cluster_term(c, (uint32_t)leader), term, "from term %llu to %llu", (ull_t)term,
                 (ull_t)lm_cluster_term(c, (uint32_t)leader));
    lm_cluster_destroy(&c);
}

/* A transfer must not fail because the follower that is to lead has a little to catch up with. */
Test(raft_review, a_leader_under_load_hands_over_soon)
{
    for (uint64_t seed = 10; seed < 30; seed++) {
        lm_cluster_t *c = region(3, seed);
        int first = lm_cluster_elect(c, 2000);
        lm_cluster_run(c, 500);
        lm_cluster_load(c, 1);
        lm_cluster_run(c, 300);
        lm_bus_drain_t body = {.grace_ms = 2000};
        lm_test_feed(lm_cluster_host(c, (uint32_t)first), LM_SUPERVISOR, LM_MSG_DRAIN, &body, 0);
        uint64_t ms = 0;
        while (lm_cluster_leads(c, (uint32_t)first) && ms < 2000) ms++, lm_cluster_run(c, 1);
        cr_assert_lt(ms, 150, "seed %llu: %llu ms", (ull_t)seed, (ull_t)ms);
        lm_cluster_destroy(&c);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Longer than a lock may be silent, and than a node's word about its lock counts. */
Test(raft_review, s9_a_long_freeze_of_all_is_not_the_silence_of_a_lock)
{
    for (uint64_t seed = 40; seed < 50; seed++) {
        lm_cluster_t *c = region(3, seed);
        int leader = lm_cluster_elect(c, 2000);
        lm_cluster_run(c, 500);
        uint64_t term = lm_cluster_term(c, (uint32_t)leader);
        for (uint32_t i = 0; i < 3; i++) lm_cluster_pause(c, i, true);
        lm_cluster_run(c, 6000);
        for (uint32_t i = 0; i < 3; i++) {
            lm_cluster_pause(c, (uint32_t)(leader + 1 + (int)i) % 3, false);
            lm_cluster_run(c, lm_cluster_chance(c, 20));
        }
        lm_cluster_run(c, 1500);
        cr_assert(lm_cluster_leads(c, (uint32_t)leader), "seed %llu", (ull_t)seed);
        cr_assert_eq(lm_cluster_term(c, (uint32_t)leader), term, "seed %llu", (ull_t)seed);
        lm_cluster_destroy(&c);
    }
}

/* ---- hostile frames -------------------------------------------------------------------------- */

typedef struct {
    lm_cluster_t *cluster;
    lm_test_host_t *host;
    lm_arena_t *arena;
    lm_peer_frame_t frame;
    const char *from;
    uint64_t term, epoch; /* epoch: of the streams; by a later one the node itself is not heard */
} attack_t;

static attack_t attack_new(uint64_t seed, bool follower)
{
    lm_cluster_t *c = region(3, seed);
    int leader = lm_cluster_elect(c, 2000);
    lm_cluster_load(c, 5);
    lm_cluster_run(c, 200);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 200);
    uint32_t to = (uint32_t)(follower ? (leader + 1) % 3 : leader);
    uint32_t from = (uint32_t)(follower ? leader : (leader + 1) % 3);
    const lm_raft_identity_t *identity = lm_fake_disk_identity(lm_cluster_disk(c, to));
    attack_t a = {.cluster = c,
                  .host = lm_cluster_host(c, to),
                  .arena = lm_arena_new(),
                  .from = lm_cluster_name(c, from),
                  .term = lm_cluster_term(c, to),
                  .epoch = 1000};
    a.frame = (lm_peer_frame_t){
        .version = 1,
        .cluster_id = lm_bytes_of(identity->cluster_id),
        .from_id = lm_raft_identity_id(identity, a.from),
        .to_id = lm_raft_identity_id(identity, lm_cluster_name(c, to)),
    };
    return a;
}

static void attack(attack_t *a)
{
    lm_bus_peer_receive_t body = {
        .node = lm_bytes_of(a->from),
        .epoch = a->epoch,
        .frame = lm_wire_encode(&lm_peer_frame_type, &a->frame, a->arena)};
    lm_test_deliver(a->host, LM_PEERS, LM_MSG_PEER_RECEIVE, &body, 0);
}

static void attack_end(attack_t *a)
{
    lm_exit_t code = LM_EXIT_OK;
    lm_test_has_ended(a->host, &code);
    cr_assert_neq(code, LM_EXIT_ASSERTION);
    lm_arena_destroy(&a->arena);
    lm_cluster_destroy(&a->cluster);
}

/* Numbers at their limits, in every field of every message, to a follower and to a leader. */
Test(raft_review, numbers_at_their_limits_do_no_harm)
{
    static const uint64_t numbers[] = {0, 1, 2, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    enum { N = sizeof numbers / sizeof *numbers };
    for (int follower = 0; follower < 2; follower++) {
        attack_t a = attack_new(60 + (uint64_t)follower, follower);
        for (size_t i = 0; i < N * N * N; i++) {
            uint64_t x = numbers[i % N], y = numbers[i / N % N], z = numbers[i / N / N];
            lm_peer_entry_t entries[2] = {{.term = 1, .type = 1, .data = lm_bytes(RAFT_FRAMED, 8)},
                                          {.term = 1, .type = 1, .data = lm_bytes(RAFT_FRAMED, 8)}};
            lm_peer_append_entries_t append = {.term = i % 3 ? a.term : a.term - 1,
                                               .prev_log_index = x,
                                               .prev_log_term = y,
                                               .leader_commit = z,
                                               .n_entries = i % 3,
                                               .entries = entries};
            if (x > 0 && x < 3) append.prev_log_term = 0; /* else it denies what is committed */
            a.frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES;
            a.frame.append_entries = &append;
            if (x != 0 || append.term < a.term) attack(&a);
            lm_peer_append_entries_result_t result = {
                .version = 2, .term = a.term, .rejected = x, .last_log_index = y};
            a.frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT;
            a.frame.append_entries_result = &result;
            if (x != 0 || y < 3) attack(&a);
            lm_peer_request_vote_t vote = {.version = 2,
                                           .term = a.term,
                                           .candidate_id = a.frame.from_id,
                                           .last_log_index = x,
                                           .last_log_term = y,
                                           .pre_vote = i % 2,
                                           .disrupt_leader = i % 3 == 0};
            a.frame.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE;
            a.frame.request_vote = &vote;
            attack(&a);
            lm_peer_timeout_now_t timeout = {
                .term = a.term, .last_log_index = x, .last_log_term = y};
            a.frame.body_case = LM_PEER_FRAME_BODY_TIMEOUT_NOW;
            a.frame.timeout_now = &timeout;
            attack(&a);
        }
        attack_end(&a);
    }
}

static void attack_with_terms(attack_t *a, uint64_t term)
{
    lm_peer_append_entries_t append = {.term = term, .prev_log_index = 1, .prev_log_term = 1};
    lm_peer_append_entries_result_t result = {.version = 2, .term = term, .last_log_index = 1};
    lm_peer_request_vote_t vote = {
        .version = 2, .term = term, .candidate_id = a->frame.from_id, .disrupt_leader = true};
    lm_peer_request_vote_result_t voted = {.version = 2, .term = term};
    lm_peer_timeout_now_t timeout = {.term = term, .last_log_index = 1, .last_log_term = 1};
    a->frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES;
    a->frame.append_entries = &append;
    attack(a);
    a->frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT;
    a->frame.append_entries_result = &result;
    attack(a);
    a->frame.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE;
    a->frame.request_vote = &vote;
    attack(a);
    a->frame.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT;
    a->frame.request_vote_result = &voted;
    attack(a);
    a->frame.body_case = LM_PEER_FRAME_BODY_TIMEOUT_NOW;
    a->frame.timeout_now = &timeout;
    attack(a);
}

/* One message must not use up the terms that all elections to come need. */
Test(raft_review, a_broken_node_cannot_use_up_the_terms)
{
    const uint64_t far[] = {LM_RAFT_TERM_STEP_MAX * 2, LM_RAFT_TERM_MAX, LM_RAFT_TERM_MAX + 1,
                            UINT64_MAX};
    for (int follower = 0; follower < 2; follower++) {
        attack_t a = attack_new(80 + (uint64_t)follower, follower);
        uint32_t to = lm_cluster_host(a.cluster, 0) == a.host   ? 0
                      : lm_cluster_host(a.cluster, 1) == a.host ? 1
                                                                : 2;
        a.epoch = 2; /* that of nodes which have all been started once */
        uint64_t applied = lm_cluster_applied(a.cluster, to);
        for (size_t i = 0; i < sizeof far / sizeof *far; i++) attack_with_terms(&a, far[i]);
        lm_cluster_load(a.cluster, 5);
        lm_cluster_run(a.cluster, 2000);
        cr_assert_eq(lm_cluster_term(a.cluster, to), a.term, "nobody has believed it");
        cr_assert_gt(lm_cluster_applied(a.cluster, to), applied, "and work goes on");
        attack_end(&a);
    }
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static void random_fault(lm_cluster_t *c, uint32_t nodes)
{
    uint32_t a = (uint32_t)lm_cluster_chance(c, nodes);
    uint32_t b = (a + 1 + (uint32_t)lm_cluster_chance(c, nodes - 1)) % nodes;
    switch (lm_cluster_chance(c, 12)) {
    case 0: lm_cluster_kill(c, a, lm_cluster_chance(c, 2)); break;
    case 1:
    case 2:
    case 3: lm_cluster_start(c, a); break;
    case 4: lm_cluster_cut(c, a, b, true); break;
    case 5: lm_cluster_cut(c, a, b, false); break;
    case 6: lm_cluster_restart_lock(c, a); break;
    case 7: lm_cluster_reconnect(c, a, b); break;
    case 8: lm_cluster_silence_lock(c, a, lm_cluster_chance(c, 2)); break;
    case 9: lm_cluster_payload(c, lm_cluster_chance(c, 4) ? 0 : 16 * 1024); break;
    default: lm_cluster_pause(c, a, lm_cluster_chance(c, 3) == 0); break;
    }
}

static void one_seed(uint64_t seed)
{
    uint32_t nodes = seed % 4 == 0 ? 5 : seed % 7 == 0 ? 2 : 3;
    lm_cluster_options_t options = {.nodes = nodes,
                                    .seed = seed,
                                    .loss_percent = (uint32_t)(seed % 3),
                                    .latency_us_max = seed % 2 ? 2000 : 12000,
                                    .disk_us_max = seed % 5 ? 2000 : 60000};
    lm_cluster_t *c = lm_cluster_new(&options);
    lm_cluster_run(c, seed % 11 ? 800 : lm_cluster_chance(c, 800));
    lm_cluster_load(c, 3);
    for (int i = 0; i < 50; i++) {
        random_fault(c, nodes);
        lm_cluster_run(c, 5 + lm_cluster_chance(c, lm_cluster_chance(c, 10) ? 120 : 1500));
    }
    lm_schedule_heal(c, nodes);
    lm_cluster_run(c, 4000);
    cr_assert_geq(lm_cluster_elect(c, 4000), 0, "seed %llu: nobody is elected", (ull_t)seed);
    uint64_t before = lm_cluster_acknowledged(c);
    lm_cluster_run(c, 1000);
    cr_assert_gt(lm_cluster_acknowledged(c), before, "seed %llu: nothing", (ull_t)seed);
    lm_cluster_load(c, 0);
    lm_cluster_run(c, 2000);
    lm_schedule_expect_agreement(c, nodes, seed);
    cr_assert_eq(lm_cluster_resets(c), 0, "seed %llu", (ull_t)seed);
    cr_assert_eq(lm_cluster_ids(c), 1, "seed %llu", (ull_t)seed);
    lm_cluster_destroy(&c);
}

/* LM_RAFT_seedS is how many, LM_RAFT_FIRST_seed where they begin. */
Test(raft_review, s15_s21_s22_s24_seeds_with_five_nodes_silent_locks_and_large_entries)
{
    const char *count = getenv("LM_RAFT_seedS"), *first = getenv("LM_RAFT_FIRST_seed");
    uint64_t n = count ? strtoull(count, NULL, 10) : 6;
    uint64_t from = first ? strtoull(first, NULL, 10) : 100;
    for (uint64_t seed = from; seed < from + n; seed++) one_seed(seed);
}
