/* S18: configured nodes that have no vote, on both sides. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_test_host.h"
#include "base_log.h"
#include "raft_room.h"
#include "raft_state.h"

#define S UINT64_C(1000000)

static lm_raft_room_t room;
static lm_peer_bootstrap_server_t voters[4];
static lm_peer_region_formed_t formed;
static lm_peer_frame_t frame;

/* Node n4 of a configuration of five, without data. */
static void setup(void)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};
    lm_log_setup("n4", "raft", LM_LOG_ERROR, false);
    memset(&room, 0, sizeof room);
    room.phase = LM_RAFT_FORMING;
    room.n_nodes = room.n_known = 5;
    room.self = 3;
    room.now_us = 100 * S;
    for (size_t i = 0; i < 5; i++) snprintf(room.nodes[i].name, LM_RAFT_NAME_SIZE, "%s", names[i]);
}

TestSuite(raft_outside, .init = setup, .timeout = 30);

static void hear(uint32_t from, const char *cluster, uint64_t term, const char *leader)
{
    static const char *const names[] = {"n1", "n2", "n3"};
    for (size_t i = 0; i < 3; i++)
        voters[i] = (lm_peer_bootstrap_server_t){.id = i + 1, .name = lm_bytes_of(names[i])};
    formed = (lm_peer_region_formed_t){
        .term = term, .leader = lm_bytes_of(leader), .n_voters = 3, .voters = voters};
    frame = (lm_peer_frame_t){.cluster_id = lm_bytes_of(cluster),
                              .body_case = LM_PEER_FRAME_BODY_REGION_FORMED,
                              .region_formed = &formed};
    lm_raft_outside_heard(&room, from, &frame);
}

static void expect_leader(const char *name)
{
    cr_assert_str_eq(lm_raft_outside_leader(&room), name);
}

Test(raft_outside, s18_a_surplus_node_knows_whom_to_call)
{
    char problem[512];
    lm_raft_outside_problem(&room, problem, sizeof problem);
    cr_assert_str_eq(problem, "");
    expect_leader("");
    cr_assert(lm_raft_outside_counts(&room, "n5"));
    hear(1, "c", 7, "n3");
    cr_assert(lm_raft_outside_is_surplus(&room));
    expect_leader("n3");
    cr_assert(lm_raft_outside_counts(&room, "n1"));
    cr_assert_not(lm_raft_outside_counts(&room, "n5"));
    lm_raft_outside_problem(&room, problem, sizeof problem);
    cr_assert(strstr(problem, "formed of n1, n2, n3, without this node"), "%s", problem);
}

Test(raft_outside, s18_a_voter_without_data_is_not_surplus)
{
    char problem[512];
    room.self = 1;
    hear(0, "c", 7, "n3");
    cr_assert_not(lm_raft_outside_is_surplus(&room));
    expect_leader("n3");
    lm_raft_outside_problem(&room, problem, sizeof problem);
    cr_assert(strstr(problem, "its data is missing"), "%s", problem);
}

Test(raft_outside, the_later_term_counts_and_words_get_old)
{
    hear(0, "c", 7, "n3");
    hear(1, "c", 6, "n2");
    expect_leader("n3");
    hear(1, "c", 7, "");
    expect_leader("n3");
    hear(1, "c", 8, "");
    expect_leader("");
    hear(0, "c", 8, "n1");
    expect_leader("n1");
    room.now_us += 2 * S;
    expect_leader("");
    hear(1, "c", 3, "n2");
    expect_leader("n2");
}

Test(raft_outside, what_makes_no_sense_is_not_believed)
{
    hear(4, "c", 7, "n3"); /* it does not name itself */
    hear(0, "c", 7, "n5"); /* whom it names has no vote */
    hear(0, "", 7, "n1");
    char longer[LM_RAFT_ID_SIZE + 1];
    memset(longer, 'c', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    hear(0, longer, 7, "n1");
    cr_assert_eq(room.figures.refused[LM_RAFT_REFUSED_INVALID], 4);
    cr_assert_not(room.outside.known);
    hear(0, "c", 7, "n1");
    hear(1, "other", 9, "n2");
    expect_leader("n1");
    cr_assert_eq(room.figures.refused[LM_RAFT_REFUSED_CLUSTER], 1);
}

Test(raft_outside, s18_who_has_data_does_not_listen)
{
    room.forming.identity.stage = LM_RAFT_ACCEPTED;
    hear(0, "c", 7, "n1");
    cr_assert_not(room.outside.known);
}

static lm_raft_identity_t identity_of(const char *const *names, uint32_t n, const char *self)
{
    lm_raft_identity_t identity = {.stage = LM_RAFT_STARTED, .n_servers = n};
    snprintf(identity.node, sizeof identity.node, "%s", self);
    for (uint32_t i = 0; i < n; i++) {
        identity.servers[i].id = i + 1;
        snprintf(identity.servers[i].name, LM_RAFT_NAME_SIZE, "%s", names[i]);
    }
    return identity;
}

Test(raft_outside, s18_durable_voters_win_over_the_list)
{
    static const char *const names[] = {"n2", "n4", "n5"};
    lm_raft_identity_t identity = identity_of(names, 3, "n4");
    cr_assert(lm_raft_outside_part(&room, &identity));
    cr_assert_eq(room.n_nodes, 3);
    cr_assert_eq(room.self, 1);
    static const char *const order[] = {"n2", "n4", "n5", "n1", "n3"};
    for (size_t i = 0; i < 5; i++) cr_assert_str_eq(room.nodes[i].name, order[i]);
}
