/* What a held lock costs the leader's lock actor beyond the table, and how long its longest turns
 * are: measured and printed. LM_LOCK_SIZE_HOLDS chooses how many holds there are. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "act_test_host.h"
#include "base_log.h"
#include "lock_room.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_command.h"
#include "wire_peer.h"

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1, HOLDS = 20000 };
#else
enum { SANITIZED = 0, HOLDS = 200000 };
#endif

enum { BATCH = 1000, BATCHES_MAX = 10000 };

typedef struct {
    lm_lock_room_t *room;
    lm_test_host_t *host;
    lm_arena_t *arena;
    uint64_t index, term;
    double longest_s;
} size_rig_t;

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint32_t n_holds(void)
{
    const char *text = getenv("LM_LOCK_SIZE_HOLDS");
    return text ? (uint32_t)strtoul(text, NULL, 10) : HOLDS;
}

/* One message, and how long its turn took. */
static void deliver(size_rig_t *rig, lm_message_number_t number, const void *body)
{
    double start = now_s();
    lm_test_deliver(rig->host, LM_RAFT, number, body, 0);
    double seconds = now_s() - start;
    if (seconds > rig->longest_s) rig->longest_s = seconds;
}

/* Turns in which nothing comes: what goes on by itself goes on in them, each for a while. */
static void idle(size_rig_t *rig, int turns)
{
    for (int i = 0; i < turns; i++) {
        double start = now_s();
        lm_test_turn(rig->host);
        double seconds = now_s() - start;
        if (seconds > rig->longest_s) rig->longest_s = seconds;
    }
}

static void pass(size_rig_t *rig, uint64_t us)
{
    for (uint64_t step = 1000; us >= step; us -= step) {
        double start = now_s();
        lm_test_advance(rig->host, step);
        double seconds = now_s() - start;
        if (seconds > rig->longest_s) rig->longest_s = seconds;
    }
}

static void say_role(size_rig_t *rig, lm_api_raft_role_t role)
{
    lm_bus_raft_role_event_t body = {.role = role,
                                     .term = ++rig->term,
                                     .leader = lm_bytes_of("n1"),
                                     .cluster_id = lm_bytes_of("c1"),
                                     .history_id = lm_bytes_of("h1")};
    deliver(rig, LM_MSG_RAFT_ROLE, &body);
}

static void commit(size_rig_t *rig, lm_bytes_t data)
{
    lm_bus_committed_entry_t entry = {
        .index = rig->index + 1, .term = rig->term, .type = 1, .data = data};
    static uint64_t prev_term;
    lm_bus_committed_t body = {.prev_index = rig->index,
                               .prev_term = rig->index ? prev_term : 0,
                               .n_entries = 1,
                               .entries = &entry,
                               .commit_index = rig->index + 1};
    rig->index++;
    prev_term = rig->term;
    deliver(rig, LM_MSG_COMMITTED, &body);
}

/* Commits what is proposed. */
static void settle(size_rig_t *rig)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(rig->host, LM_MSG_PROPOSE))) {
        const lm_bus_propose_t *propose = sent->body;
        lm_bus_proposed_t body = {.index = rig->index + 1, .term = rig->term};
        lm_test_reply(rig->host, LM_RAFT, LM_MSG_PROPOSED, sent->correlation, &body);
        commit(rig, propose->entry);
    }
    while (lm_test_take(rig->host, LM_MSG_LOCK_ANSWER)) {
    }
}

static void draw(void *arg, void *bytes, size_t size)
{
    (void)arg;
    memset(bytes, 7, size);
}

static size_rig_t *rig_new(void)
{
    size_rig_t *rig = lm_alloc(sizeof *rig);
    lm_log_setup("n1", "lock", LM_LOG_ERROR, false);
    rig->arena = lm_arena_new();
    rig->room = lm_lock_room_new((lm_generation_t){.boot_id = 1, .counter = 1}, draw, NULL);
    rig->host = lm_test_host_new(lm_lock_room_definition(), rig->room);
    lm_bus_node_config_t config = {.node = lm_bytes_of("n1"),
                                   .region = lm_bytes_of("east"),
                                   .lock_default_timeout_ms = 3600000,
                                   .lock_min_timeout_ms = 1000,
                                   .lock_max_timeout_ms = 86400000,
                                   .waiters_per_lock_max = 1000,
                                   .locks_max = 2000000,
                                   .holds_per_owner_max = 1000,
                                   .record_ring_size = 1024,
                                   .sessions_max = 100,
                                   .session_window = 4};
    lm_test_deliver(rig->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    const lm_test_sent_t *sent = lm_test_take(rig->host, LM_MSG_ATTACH);
    lm_bus_attached_t attached = {.cluster_id = lm_bytes_of("c1"), .history_id = lm_bytes_of("h1")};
    lm_test_reply(rig->host, LM_RAFT, LM_MSG_ATTACHED, sent->correlation, &attached);
    return rig;
}

static void rig_destroy(size_rig_t **rig)
{
    lm_test_host_destroy(&(*rig)->host);
    lm_lock_room_destroy(&(*rig)->room);
    lm_arena_destroy(&(*rig)->arena);
    free(*rig);
    *rig = NULL;
}

static lm_command_t acquire(lm_arena_t *arena, uint32_t i)
{
    return (lm_command_t){
        .kind = LM_COMMAND_ACQUIRE,
        .key = {.owner = lm_arena_print(arena, "worker-%09u", i / 100),
                .request_id = lm_arena_print(arena, "request-%08u", i)},
        .name = lm_arena_print(arena, "service/accounts/shard/%09u", i),
        .mode = LM_MODE_EXCLUSIVE,
        .ttl_ms = 3600000 + i % 1000,
        .stamp = UINT64_MAX,
    };
}

/* Holds that come from the log, as to a follower, and somebody who waits. */
static void fill_as_follower(size_rig_t *rig, uint32_t n)
{
    lm_command_t commands[BATCH];
    for (uint32_t i = 0; i < n; i += BATCH) {
        for (uint32_t k = 0; k < BATCH; k++) commands[k] = acquire(rig->arena, i + k);
        commit(rig, lm_wire_command_encode(commands, BATCH, rig->arena));
        lm_arena_reset(rig->arena);
    }
    commands[0] = acquire(rig->arena, 0);
    commands[0].key.owner = commands[0].key.request_id = lm_bytes_of("waits");
    commands[0].wait = true;
    commit(rig, lm_wire_command_encode(commands, 1, rig->arena));
}

static void call(size_rig_t *rig, uint32_t i)
{
    lm_command_t command = acquire(rig->arena, i);
    lm_api_acquire_request_t request = {.name = command.name,
                                        .owner = command.key.owner,
                                        .request_id = command.key.request_id,
                                        .ttl_ms = 3600000};
    lm_peer_call_context_t context = {0};
    lm_peer_lock_call_t body = {.context = &context,
                                .request_case = LM_PEER_LOCK_CALL_REQUEST_ACQUIRE,
                                .acquire = &request};
    lm_test_feed(rig->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body, lm_test_now(rig->host) + 5000000);
}

/* Holds that callers ask this leader for. */
static void fill_as_leader(size_rig_t *rig, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += BATCH) {
        for (uint32_t k = 0; k < BATCH; k++) call(rig, i + k);
        lm_test_turn(rig->host);
        settle(rig);
        lm_arena_reset(rig->arena);
    }
}

static void say_longest(size_rig_t *rig, const char *what)
{
    printf("%s: longest turn %.1f ms\n", what, rig->longest_s * 1e3);
    if (!SANITIZED) cr_assert_leq(rig->longest_s, 1.0, "%s takes %.3f s", what, rig->longest_s);
    rig->longest_s = 0;
}

/* What goes with leadership is what it costs; the memory of the test is in no difference. */
static double cost_of_leading(size_rig_t *rig, uint32_t n)
{
    size_t before = heap_bytes();
    say_role(rig, LM_API_RAFT_ROLE_FOLLOWER);
    return ((double)before - (double)heap_bytes()) / n;
}

Test(lock_size, a_hold_that_was_taken_over_is_small, .timeout = 300)
{
    uint32_t n = n_holds();
    size_rig_t *rig = rig_new();
    say_role(rig, LM_API_RAFT_ROLE_FOLLOWER);
    fill_as_follower(rig, n);
    say_longest(rig, "following");
    say_role(rig, LM_API_RAFT_ROLE_LEADER);
    settle(rig);
    say_longest(rig, "taking over");
    idle(rig, (int)(n / 1000));
    say_longest(rig, "arming");
    pass(rig, 2500000);
    say_longest(rig, "the time of grace");
    double start = now_s();
    lm_test_advance(rig->host, 1000000);
    printf("the sweep behind it: %.1f ms in all its turns\n", (now_s() - start) * 1e3);
    settle(rig);
    double bytes = cost_of_leading(rig, n);
    say_longest(rig, "ceasing to lead");
    printf("%u holds taken over: %.1f bytes each for their leases\n", n, bytes);
    rig_destroy(&rig);
}

Test(lock_size, a_hold_that_was_granted_here_is_small, .timeout = 300)
{
    uint32_t n = n_holds();
    size_rig_t *rig = rig_new();
    say_role(rig, LM_API_RAFT_ROLE_LEADER);
    settle(rig);
    fill_as_leader(rig, n);
    say_longest(rig, "granting");
    pass(rig, 30000000);
    settle(rig);
    say_longest(rig, "resting");
    double bytes = cost_of_leading(rig, n);
    say_longest(rig, "ceasing to lead");
    printf("%u holds granted: %.1f bytes each for their leases\n", n, bytes);
    rig_destroy(&rig);
}
