#include "sim_supervisor.h"

#include <stdlib.h>

#include "base_check.h"
#include "sup_children.h"
#include "wire_bus.h"

/* The three processes of the child table that live in this world. */
static const size_t children[SIM_ACTORS] = {
    [SIM_RAFT] = LM_SUP_RAFT, [SIM_LOCK] = LM_SUP_LOCK, [SIM_FRONTEND] = LM_SUP_FRONTEND};
static lm_restart_spec_t specs[SIM_ACTORS];

/* A message on its way from the supervisor or back takes no longer; nor does a turn. */
#define SLACK_US (250 * SIM_MS)

static void fulfil(sim_node_t *node);

static bool runs(const sim_node_t *node) { return node->up && !node->paused && !node->sup_paused; }

/* ---- spawn, kill, bury ----------------------------------------------------------------------- */

/* Numbers of events carry the boot they belong to: those of an earlier one mean nothing. */
static uint64_t number_of(const sim_node_t *node, uint64_t value)
{
    return node->boots << 48 | value;
}

static bool is_of_now(const sim_node_t *node, uint64_t number)
{
    return node->up && number >> 48 == node->boots;
}

static void born(sim_t *sim, void *what, uint64_t number)
{
    sim_node_t *node = what;
    if (!is_of_now(node, number)) return;
    sim_actor_t actor = (sim_actor_t)(number & 15);
    uint32_t counter = (uint32_t)(number >> 4 & UINT32_MAX);
    sim_process_t *process = &node->process[actor];
    if (!process->spawning || process->counter != counter) return;
    if (node->paused) {
        sim_at(sim, sim->now_us + 50 * SIM_MS, born, node, number);
        return;
    }
    sim_process_start(node, actor, counter);
}

static void do_spawn(sim_node_t *node, const lm_restart_wish_t *wish)
{
    sim_t *sim = node->sim;
    sim_process_t *process = &node->process[wish->child];
    LM_CHECK(!process->alive && !process->spawning, "a second process of one actor (S17)");
    *process =
        (sim_process_t){.spawning = true, .counter = wish->counter, .died_us = process->died_us};
    uint64_t value = (uint64_t)wish->counter << 4 | wish->child;
    sim_at(sim, sim->now_us + sim_between(sim, 2 * SIM_MS, 30 * SIM_MS), born, node,
           number_of(node, value));
}

/* How long one must have stood still by itself to be killed: what else its supervisor may count is
 * the time since its last answer, and a pause of its own that is too short to be noticed. */
static uint64_t least_stood_us(const lm_restart_spec_t *spec)
{
    return spec->hang_us - spec->ping_every_us - LM_RESTART_LATE_US - LM_RESTART_TICK_US;
}

/* Silence is a reason to kill only for one that could have spoken (S9). */
static void check_kill(const sim_node_t *node, const lm_restart_wish_t *wish)
{
    const sim_process_t *process = &node->process[wish->child];
    const lm_restart_spec_t *spec = &specs[wish->child];
    if (lm_restart_is_stopping(node->policy) || !process->alive || process->paused) return;
    uint64_t ran_us = node->sim->now_us - process->ran_since_us;
    if (ran_us > spec->hang_us + SLACK_US)
        sim_fail(node->sim, "S9", "%s of %s was killed (%s), but it has answered for %llu us",
                 spec->name, node->name, wish->why, (unsigned long long)ran_us);
    if (ran_us < spec->hang_us - SLACK_US && process->stood_us < least_stood_us(spec))
        sim_fail(node->sim, "S9", "%s of %s was killed (%s), but it stood still until %llu us ago",
                 spec->name, node->name, wish->why, (unsigned long long)ran_us);
}

static void do_kill(sim_node_t *node, const lm_restart_wish_t *wish)
{
    sim_process_t *process = &node->process[wish->child];
    check_kill(node, wish);
    sim_probe(node->sim, SIM_PROBE_SUPERVISOR_KILLS);
    if (process->alive) {
        sim_node_kill(node, (sim_actor_t)wish->child, wish->why);
    } else if (process->spawning) {
        process->spawning = false;
        sim_supervisor_reap(node, (sim_actor_t)wish->child, 0, 9);
    }
}

static void reaped(sim_t *sim, void *what, uint64_t number)
{
    sim_node_t *node = what;
    if (!is_of_now(node, number)) return;
    if (!runs(node)) {
        sim_at(sim, sim->now_us + 20 * SIM_MS, reaped, node, number);
        return;
    }
    lm_restart_exited(node->policy, number & 15, (int)(number >> 4 & 255), (int)(number >> 12 & 63),
                      sim_node_clock(node), &node->wishes);
    fulfil(node);
}

void sim_supervisor_reap(sim_node_t *node, sim_actor_t actor, int code, int signal)
{
    uint64_t value = (uint64_t)actor | (uint64_t)code << 4 | (uint64_t)signal << 12;
    sim_at(node->sim, node->sim->now_us + 200 + sim_draw(node->sim, 2000), reaped, node,
           number_of(node, value));
}

/* ---- messages -------------------------------------------------------------------------------- */

static void do_start(sim_node_t *node, const lm_restart_wish_t *wish)
{
    sim_t *sim = node->sim;
    lm_bus_peer_config_t peers[SIM_NODES_MAX];
    for (int i = 0; i < sim->n_nodes; i++)
        peers[i] = (lm_bus_peer_config_t){.name = lm_bytes_of(sim->nodes[i].name),
                                          .host = lm_bytes_of(sim->nodes[i].name),
                                          .grpc_port = 9090};
    lm_bus_node_config_t config = {
        .node = lm_bytes_of(node->name),
        .region = lm_bytes_of("east"),
        .data_dir = lm_bytes_of("virtual"),
        .run_dir = lm_bytes_of("virtual"),
        .listen = lm_bytes_of("127.0.0.1"),
        .grpc_port = 9090,
        .region_port = 9091,
        .peers = peers,
        .n_peers = (size_t)sim->n_nodes,
        .election_timeout_ms = sim->election_ms,
        .heartbeat_interval_ms = sim->heartbeat_ms,
        .lock_default_timeout_ms = sim->ttl_max_ms,
        .lock_min_timeout_ms = sim->ttl_min_ms,
        .lock_max_timeout_ms = sim->ttl_max_ms,
        .peer_auth = lm_bytes_of("trusted"),
        .log_level = lm_bytes_of("error"),
        .log_format = lm_bytes_of("text"),
        .version = lm_bytes_of("virtual"),
        .waiters_per_lock_max = 100,
        .locks_max = 100,
        .holds_per_owner_max = 100,
        .record_ring_size = sim->ring_size + (uint32_t)node->number, /* the leader's counts (S4) */
        .sessions_max = 20,
        .session_window = 4,
        .concurrent_streams_max = 100,
        .request_bytes_max = 65536,
        .snapshot_bytes = sim->snapshot_bytes,
        .trailing_entries = sim->trailing,
    };
    sim_room_tell(&node->rooms[wish->room], LM_MSG_START, &config, 0, 0);
}

static void do_ping(sim_node_t *node, const lm_restart_wish_t *wish)
{
    lm_bus_ping_t ping = {.sequence = wish->sequence};
    sim_room_tell(&node->rooms[wish->room], LM_MSG_PING, &ping, 0, 0);
}

static void do_peer_up(sim_node_t *node, const lm_restart_wish_t *wish)
{
    sim_actor_t about = sim_node_actor_of((lm_participant_t)wish->about);
    lm_bus_generation_t generation = {.boot_id = node->boot_id,
                                      .counter = lm_restart_view(node->policy, about).counter};
    lm_bus_peer_up_t up = {
        .participant = wish->about, .generation = &generation, .endpoint = lm_bytes_of("virtual")};
    sim_room_tell(&node->rooms[wish->room], LM_MSG_PEER_UP, &up, 0, 0);
}

static void do_mode(sim_node_t *node, const lm_restart_wish_t *wish)
{
    lm_bus_node_mode_t mode = {.mode = (int32_t)wish->mode};
    sim_room_tell(&node->rooms[wish->room], LM_MSG_NODE_MODE, &mode, 0, 0);
}

static void do_stop(sim_node_t *node, const lm_restart_wish_t *wish)
{
    lm_bus_stop_t stop = {.grace_ms = (uint32_t)(wish->grace_us / 1000)};
    sim_room_tell(&node->rooms[wish->room], LM_MSG_STOP, &stop, 0, 0);
}

static void drain_over(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    sim_node_t *node = what;
    if (!is_of_now(node, number) || !runs(node)) return;
    lm_restart_drained(node->policy, sim_node_clock(node), &node->wishes);
    fulfil(node);
}

static void do_drain(sim_node_t *node, const lm_restart_wish_t *wish)
{
    lm_bus_drain_t drain = {.grace_ms = (uint32_t)(wish->grace_us / 1000)};
    sim_room_tell(&node->rooms[wish->room], LM_MSG_DRAIN, &drain, 1,
                  sim_node_clock(node) + wish->grace_us);
    sim_at(node->sim, node->sim->now_us + wish->grace_us, drain_over, node, number_of(node, 0));
}

static void boot_again(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    (void)number;
    sim_node_boot(what);
}

static void do_end(sim_node_t *node, const lm_restart_wish_t *wish)
{
    sim_t *sim = node->sim;
    if (wish->code != LM_EXIT_OK)
        sim_fail(sim, "NODE-ENDS", "%s ended with %d", node->name, (int)wish->code);
    sim_note(sim, node->number, LM_SUPERVISOR, "has stopped everything", 0, 0, 0, 0);
    sim_probe(sim, SIM_PROBE_NODE_STOPPED);
    sim_node_crash(node);
    sim_at(sim, sim->now_us + sim_between(sim, 100 * SIM_MS, SIM_S), boot_again, node, 0);
}

static void fulfil(sim_node_t *node)
{
    static void (*const acts[])(sim_node_t *, const lm_restart_wish_t *) = {
        [LM_WISH_SPAWN] = do_spawn, [LM_WISH_KILL] = do_kill,       [LM_WISH_START] = do_start,
        [LM_WISH_PING] = do_ping,   [LM_WISH_PEER_UP] = do_peer_up, [LM_WISH_MODE] = do_mode,
        [LM_WISH_STOP] = do_stop,   [LM_WISH_DRAIN] = do_drain,     [LM_WISH_END] = do_end,
    };
    for (size_t i = 0; i < node->wishes.n; i++) {
        lm_restart_wish_t wish = node->wishes.items[i];
        acts[wish.kind](node, &wish); /* the end of the node empties the list */
    }
    node->wishes.n = 0;
}

/* ---- what the rooms say ---------------------------------------------------------------------- */

static void hear(sim_node_t *node, const sim_bundle_t *bundle, uint32_t number)
{
    uint64_t now_us = sim_node_clock(node);
    uint32_t counter = bundle->from_generation.counter;
    if (number == LM_MSG_ACTOR_HELLO)
        lm_restart_hello(node->policy, bundle->from, counter, now_us, &node->wishes);
    else if (number == LM_MSG_ACTOR_READY)
        lm_restart_ready(node->policy, bundle->from, counter, now_us, &node->wishes);
    else if (number == LM_MSG_PONG)
        lm_restart_pong(node->policy, bundle->from, counter, now_us);
    else if (number == LM_MSG_DRAINED)
        lm_restart_drained(node->policy, now_us, &node->wishes);
}

static void read_bundle(sim_node_t *node, const sim_bundle_t *bundle)
{
    const uint8_t *at = bundle->bytes;
    if (bundle->from_generation.boot_id != node->boot_id) return;
    for (uint32_t i = 0; i < bundle->n && node->up; i++) {
        uint32_t sizes[2];
        memcpy(sizes, at, sizeof sizes);
        /* The number of the message is the second field of its envelope. */
        hear(node, bundle, at[sizeof sizes + 3]);
        at += sizeof sizes + sizes[0] + sizes[1];
        fulfil(node);
    }
}

void sim_node_to_supervisor(sim_node_t *node, sim_bundle_t *bundle)
{
    if (!node->up) {
        free(bundle);
        return;
    }
    if (!runs(node)) {
        bundle->next = NULL;
        *node->sup_inbox_end = bundle;
        node->sup_inbox_end = &bundle->next;
        return;
    }
    read_bundle(node, bundle);
    free(bundle);
}

static void read_inbox(sim_node_t *node)
{
    while (node->up && node->sup_inbox) {
        sim_bundle_t *bundle = node->sup_inbox;
        node->sup_inbox = bundle->next;
        if (!node->sup_inbox) node->sup_inbox_end = &node->sup_inbox;
        read_bundle(node, bundle);
        free(bundle);
    }
}

/* ---- time and life --------------------------------------------------------------------------- */

static void tick(sim_t *sim, void *what, uint64_t ticket)
{
    sim_node_t *node = what;
    if (ticket != node->sup_ticket || !runs(node)) return;
    read_inbox(node);
    if (!node->up) return;
    bool blocking[SIM_ACTORS] = {false};
    lm_restart_tick(node->policy, blocking, sim_node_clock(node), &node->wishes);
    fulfil(node);
    if (node->up) sim_at(sim, sim->now_us + LM_RESTART_TICK_US, tick, node, ++node->sup_ticket);
}

void sim_supervisor_thaw(sim_node_t *node)
{
    sim_at(node->sim, node->sim->now_us + 20, tick, node, ++node->sup_ticket);
}

void sim_supervisor_begin(sim_node_t *node)
{
    for (size_t i = 0; i < SIM_ACTORS; i++) specs[i] = lm_sup_children[children[i]];
    node->policy = lm_restart_new(specs, SIM_ACTORS, node->counters);
    node->wishes.n = 0;
    node->sup_inbox = NULL;
    node->sup_inbox_end = &node->sup_inbox;
    lm_restart_begin(node->policy, sim_node_clock(node), &node->wishes);
    fulfil(node);
    sim_supervisor_thaw(node);
}

void sim_supervisor_end(sim_node_t *node)
{
    node->sup_ticket++;
    while (node->sup_inbox) {
        sim_bundle_t *bundle = node->sup_inbox;
        node->sup_inbox = bundle->next;
        free(bundle);
    }
    lm_restart_destroy(&node->policy);
    node->wishes.n = 0;
}

void sim_supervisor_stop(sim_node_t *node)
{
    if (!runs(node)) return;
    lm_restart_stop(node->policy, sim_node_clock(node), &node->wishes);
    fulfil(node);
}

bool sim_supervisor_content(const sim_node_t *node)
{
    for (size_t i = 0; i < SIM_ACTORS; i++)
        if (lm_restart_view(node->policy, i).state != LM_CHILD_READY) return false;
    return true;
}
