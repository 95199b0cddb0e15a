/* S18: how a region comes into being, with lost, repeated and late messages and lost volumes. */
#include "raft_bootstrap.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { NODES = 3, QUEUE_MAX = 4096 };

typedef struct {
    uint32_t from, to;
    lm_bytes_t bytes;
    unsigned copies;
} packet_t;

typedef struct {
    lm_raft_bootstrap_t machine;
    lm_raft_identity_t disk;
    bool up;
    bool votes; /* the engine runs: this identity has a vote */
} node_t;

typedef struct {
    uint64_t chance;
    node_t nodes[NODES];
    packet_t queue[QUEUE_MAX];
    size_t n;
    lm_arena_t *arena;
    /* who has ever voted under which cluster and server id */
    char voted_cluster[NODES][LM_RAFT_ID_SIZE];
    bool voted[NODES];
    bool lost_after_vote[NODES];
    unsigned wiped;
} world_t;

static const char *const names[NODES] = {"a", "b", "c"};

static uint64_t chance(world_t *w, uint64_t bound)
{
    uint64_t z = w->chance += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % bound;
}

static void draw(void *arg, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)chance(arg, 256);
}

static void begin_to_vote(world_t *w, uint32_t i)
{
    node_t *node = &w->nodes[i];
    node->votes = true;
    cr_assert_eq(node->disk.stage, LM_RAFT_STARTED);
    /* A vote once given under an id must not be forgotten under the same id. */
    bool same = w->voted[i] && strcmp(w->voted_cluster[i], node->disk.cluster_id) == 0;
    cr_assert_not(same && w->lost_after_vote[i], "node %u votes again with a lost log", i);
    w->voted[i] = true;
    w->lost_after_vote[i] = false;
    strcpy(w->voted_cluster[i], node->disk.cluster_id);
}

static void post(world_t *w, uint32_t from, uint32_t to, unsigned what)
{
    lm_peer_frame_t frame = {0};
    lm_raft_bootstrap_frame(&w->nodes[from].machine, to, what, &frame, w->arena);
    if (w->n == QUEUE_MAX || chance(w, 8) == 0) return;
    w->queue[w->n++] = (packet_t){.from = from,
                                  .to = to,
                                  .bytes = lm_wire_encode(&lm_peer_frame_type, &frame, w->arena),
                                  .copies = chance(w, 6) == 0 ? 3 : 1};
}

static void serve(world_t *w, uint32_t i)
{
    node_t *node = &w->nodes[i];
    while (node->up) {
        lm_raft_bootstrap_wish_t wish = node->machine.wish;
        node->machine.wish = (lm_raft_bootstrap_wish_t){0};
        for (uint32_t to = 0; to < NODES; to++)
            for (unsigned what = 1; what <= LM_RAFT_SAY_START; what <<= 1)
                if (wish.say[to] & what) post(w, i, to, what);
        if (wish.save) {
            if (chance(w, 30) == 0) { /* dies before it is durable */
                node->up = false;
                return;
            }
            node->disk = node->machine.draft;
            lm_raft_bootstrap_saved(&node->machine);
            if (node->disk.stage == LM_RAFT_STARTED) begin_to_vote(w, i);
        } else if (wish.run) {
            lm_raft_bootstrap_written(&node->machine);
        } else {
            return;
        }
    }
}

static void start(world_t *w, uint32_t i)
{
    node_t *node = &w->nodes[i];
    if (node->up) return;
    node->up = true;
    node->votes = false;
    lm_raft_identity_t identity = node->disk;
    strcpy(identity.region, "r");
    strcpy(identity.node, names[i]);
    lm_raft_bootstrap_begin(&node->machine, names, NODES, i, &identity, draw, w);
    if (node->disk.stage == LM_RAFT_STARTED) begin_to_vote(w, i);
    serve(w, i);
}

static void wipe(world_t *w, uint32_t i)
{
    w->nodes[i].up = w->nodes[i].votes = false;
    w->nodes[i].disk = (lm_raft_identity_t){0};
    if (w->voted[i]) w->lost_after_vote[i] = true;
    w->wiped |= 1u << i;
}

static void handle(world_t *w, const packet_t *packet)
{
    void *decoded = NULL;
    lm_raft_bootstrap_t *m = &w->nodes[packet->to].machine;
    if (!w->nodes[packet->to].up) return;
    cr_assert_eq(lm_wire_decode(&lm_peer_frame_type, packet->bytes, w->arena, &decoded, NULL),
                 LM_RC_OK);
    const lm_peer_frame_t *frame = decoded;
    if (frame->bootstrap_state) lm_raft_bootstrap_state(m, packet->from, frame->bootstrap_state);
    if (frame->bootstrap_offer) lm_raft_bootstrap_offer(m, packet->from, frame->bootstrap_offer);
    if (frame->bootstrap_accept) lm_raft_bootstrap_accept(m, packet->from, frame->bootstrap_accept);
    if (frame->bootstrap_start) lm_raft_bootstrap_start(m, packet->from, frame->bootstrap_start);
    serve(w, packet->to);
}

/* Delivers some packet, not the oldest: streams of dead connections are late. */
static void deliver_any(world_t *w)
{
    if (w->n == 0) return;
    size_t at = chance(w, 4) ? 0 : chance(w, w->n);
    packet_t packet = w->queue[at];
    if (--w->queue[at].copies == 0) {
        w->n--;
        memmove(&w->queue[at], &w->queue[at + 1], (w->n - at) * sizeof *w->queue);
    }
    handle(w, &packet);
}

static void tick_all(world_t *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        if (!w->nodes[i].up) continue;
        lm_raft_bootstrap_tick(&w->nodes[i].machine);
        serve(w, i);
    }
}

static void settle(world_t *w)
{
    for (int round = 0; round < 60; round++) {
        tick_all(w);
        for (int i = 0; i < 60 && w->n > 0; i++) deliver_any(w);
        if (w->n > QUEUE_MAX / 2) w->n = 0;
        for (uint32_t i = 0; i < NODES; i++) start(w, i);
    }
}

static world_t *world(uint64_t seed)
{
    world_t *w = lm_alloc(sizeof *w);
    w->chance = seed;
    w->arena = lm_arena_new();
    return w;
}

static void end(world_t *w)
{
    lm_arena_destroy(&w->arena);
    free(w);
}

static uint32_t clusters(const world_t *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        bool known = !w->nodes[i].votes;
        for (uint32_t j = 0; j < i; j++)
            known |= w->nodes[j].votes &&
                     strcmp(w->nodes[i].disk.cluster_id, w->nodes[j].disk.cluster_id) == 0;
        n += !known;
    }
    return n;
}

Test(raft_bootstrap, s18_three_empty_nodes_form_one_region_whatever_is_lost_or_repeated)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        world_t *w = world(seed);
        settle(w);
        for (uint32_t i = 0; i < NODES; i++)
            cr_assert(w->nodes[i].votes, "seed %llu: node %u", (unsigned long long)seed, i);
        cr_assert_eq(clusters(w), 1);
        cr_assert_eq(lm_raft_identity_id(&w->nodes[0].disk, "b"),
                     lm_raft_identity_id(&w->nodes[2].disk, "b"));
        end(w);
    }
}

/* Volumes are lost at any moment, also in the middle of forming, with old messages still under way.
 */
Test(raft_bootstrap, s18_lost_volumes_never_give_a_vote_back)
{
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        world_t *w = world(seed);
        for (uint32_t i = 0; i < NODES; i++) start(w, i);
        for (int step = 0; step < 400; step++) {
            uint32_t i = (uint32_t)chance(w, NODES);
            uint64_t what = chance(w, 60);
            if (what == 0)
                w->nodes[i].up = w->nodes[i].votes = false;
            else if (what == 1 && chance(w, 3) == 0)
                wipe(w, i);
            else if (what < 6)
                start(w, i);
            else if (what < 16)
                tick_all(w);
            else
                deliver_any(w);
            bool all_lost = w->wiped == (1u << NODES) - 1;
            cr_assert(all_lost || clusters(w) <= 1, "seed %llu: two regions",
                      (unsigned long long)seed);
        }
        end(w);
    }
}

/* After forming: every subset of volumes, every order of start. */
Test(raft_bootstrap, s18_every_subset_of_lost_volumes_in_every_order)
{
    static const uint32_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                          {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (uint32_t lost = 1; lost < 8; lost++) {
        for (uint32_t o = 0; o < 6; o++) {
            world_t *w = world(lost * 100 + o);
            settle(w);
            char before[LM_RAFT_ID_SIZE];
            strcpy(before, w->nodes[0].disk.cluster_id);
            for (uint32_t i = 0; i < NODES; i++) {
                w->nodes[i].up = w->nodes[i].votes = false;
                if (lost & 1u << i) wipe(w, i);
            }
            for (int k = 0; k < 3; k++) {
                start(w, orders[o][k]);
                for (int i = 0; i < 20; i++) deliver_any(w), tick_all(w);
            }
            settle(w);
            for (uint32_t i = 0; i < NODES; i++) {
                bool votes = lost == 7 || !(lost & 1u << i);
                char problem[512];
                lm_raft_bootstrap_problem(&w->nodes[i].machine, problem, sizeof problem);
                cr_assert_eq(w->nodes[i].votes, votes, "lost %u order %u node %u", lost, o, i);
                cr_assert_eq(*problem == 0, votes, "%s", problem);
                cr_assert(votes || w->nodes[i].disk.stage == LM_RAFT_EMPTY, "it only waits");
            }
            cr_assert_eq(strcmp(before, w->nodes[0].disk.cluster_id) == 0, !(lost & 1));
            end(w);
        }
    }
}

Test(raft_bootstrap, s18_a_node_with_another_configuration_is_named)
{
    world_t *w = world(5);
    start(w, 0);
    start(w, 1);
    w->nodes[2].up = true;
    lm_raft_identity_t identity = {.region = "another", .node = "c"};
    lm_raft_bootstrap_begin(&w->nodes[2].machine, names, NODES, 2, &identity, draw, w);
    for (int round = 0; round < 30; round++) {
        tick_all(w);
        for (int i = 0; i < 30; i++) deliver_any(w);
    }
    char problem[512];
    lm_raft_bootstrap_problem(&w->nodes[0].machine, problem, sizeof problem);
    cr_assert(strstr(problem, "node c has another region"), "%s", problem);
    cr_assert_eq(clusters(w), 0);
    end(w);
}

Test(raft_bootstrap, one_node_needs_nobody)
{
    static const char *const alone[] = {"a"};
    world_t *w = world(6);
    lm_raft_bootstrap_t m;
    lm_raft_identity_t identity = {.region = "r", .node = "a"};
    lm_raft_bootstrap_begin(&m, alone, 1, 0, &identity, draw, w);
    cr_assert(m.wish.save);
    lm_raft_bootstrap_saved(&m);
    lm_raft_bootstrap_saved(&m);
    cr_assert(m.wish.run);
    cr_assert_eq(m.identity.stage, LM_RAFT_FORMED);
    end(w);
}

/* A peer that is out of its mind says that the region runs while the first node still collects. */
Test(raft_bootstrap, s18_nobody_tells_the_first_node_to_start_before_all_have_accepted)
{
    world_t w = {.chance = 5, .arena = lm_arena_new()};
    lm_raft_bootstrap_t m;
    lm_raft_identity_t identity = {.region = "r", .node = "a"};
    lm_raft_bootstrap_begin(&m, names, NODES, 0, &identity, draw, &w);
    lm_peer_bootstrap_state_t state = {.config_hash = m.config_hash, .empty = true, .nonce = 7};
    state.echo = m.nonce;
    for (uint32_t i = 1; i < NODES; i++) lm_raft_bootstrap_state(&m, i, &state);
    cr_assert(m.wish.save);
    lm_raft_bootstrap_saved(&m);
    lm_peer_bootstrap_start_t go = {.cluster_id = lm_bytes_of(m.identity.cluster_id)};
    m.wish = (lm_raft_bootstrap_wish_t){0};
    lm_raft_bootstrap_start(&m, 1, &go);
    lm_raft_bootstrap_member(&m);
    cr_assert(!m.wish.run && !m.running);
    cr_assert_eq(m.identity.stage, LM_RAFT_ACCEPTED);
    lm_arena_destroy(&w.arena);
}
