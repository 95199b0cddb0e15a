/* One seed: the region is born, clients come, things go wrong for some seconds; then everything is
 * mended, and within a bounded time all calls must have ended, all leases run out, and all replicas
 * be alike. */
#include <stdlib.h>

#include "base_check.h"
#include "base_log.h"
#include "lock_state.h"
#include "sim.h"
#include "sim_supervisor.h"

#define LOOK_EVERY_US (50 * SIM_MS)
#define SETTLED_WITHIN_US (40 * SIM_S)
#define RESTS_US (10 * SIM_S)

static sim_t *running; /* whom a failed check of the product belongs to */

static void on_last_words(const char *words)
{
    if (running) sim_fail(running, "CHECK", "%s", words);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void boot(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    sim_node_t *node = what;
    if (node->boots == number) sim_node_boot(node);
}

static void draw_settings(sim_t *sim)
{
    static const struct {
        uint32_t election_ms, heartbeat_ms;
    } paces[] = {{300, 100}, {400, 100}, {600, 150}, {250, 80}};
    size_t pace = sim_draw(sim, sizeof paces / sizeof *paces);
    sim->election_ms = paces[pace].election_ms;
    sim->heartbeat_ms = paces[pace].heartbeat_ms;
    sim->n_nodes = sim->options.nodes ? sim->options.nodes : sim_one_in(sim, 4) ? 5 : 3;
    sim->n_clients = (int)sim_between(sim, 3, SIM_CLIENTS_MAX - 1);
    sim->n_names = (int)sim_between(sim, 1, SIM_NAMES_MAX);
    sim->crowd = 1 + (uint32_t)(sim->options.seed % SIM_CLIENTS_MAX);
    sim->ring_size = (uint32_t)(sim_one_in(sim, 2) ? sim_between(sim, 2, 12) : 200);
    sim->ttl_min_ms = (uint32_t)sim_between(sim, 100, 500);
    /* Long ones let a wait outlive the time of grace after a Takeover. */
    bool lasting = sim_one_in(sim, 8);
    sim->ttl_max_ms =
        (uint32_t)(lasting ? sim_between(sim, 4000, 9000) : sim_between(sim, 600, 2000));
    sim->bus_us_max = sim_one_in(sim, 4) ? 2000 : 120;
    sim->turn_us_max = sim_one_in(sim, 4) ? 2000 : 60;
    sim->disk_us_max = sim_one_in(sim, 3) ? 20000 : 2500;
    bool snapshots = sim_draw(sim, 3) != 0;
    sim->snapshot_bytes = snapshots ? (uint32_t)sim_between(sim, 200, 4000) : 0;
    sim->trailing = snapshots ? (uint32_t)sim_between(sim, 1, 40) : 0;
    sim->piece_bytes = sim_draw(sim, 4) ? (uint32_t)sim_between(sim, 40, 900) : 0;
    sim->small_bounds = snapshots && sim_one_in(sim, 3);
    if (sim->small_bounds) sim->snapshot_bytes = (uint32_t)sim_between(sim, 20, 200);
    sim->stale_bus = sim_one_in(sim, 3);
    sim->net.latency_min_us = 50;
    sim->net.latency_max_us = sim_one_in(sim, 3) ? 15000 : 600;
    sim->net.keepalive_us = sim_between(sim, 400, 4000) * SIM_MS;
    sim->net.stalls = sim_draw(sim, 2) != 0;
    sim->net.lags = sim_one_in(sim, 2);
}

static void begin(sim_t *sim)
{
    draw_settings(sim);
    sim->oracle = sim_oracle_new(sim);
    sim->logs = sim_log_check_new(sim);
    sim->watch = sim_watch_new();
    sim->nemesis = sim_nemesis_new(sim);
    for (int i = 0; i < sim->n_nodes; i++) {
        sim_node_init(sim, i);
        sim->nodes[i].skew_us = (int64_t)sim_draw(sim, 1000 * SIM_S) + (int64_t)SIM_S;
        lm_fake_disk_delay(sim->nodes[i].disk, sim->disk_us_max, &sim->chance);
        sim_at(sim, sim_draw(sim, 300 * SIM_MS), boot, &sim->nodes[i], 0);
    }
    sim_clients_begin(sim);
    sim_nemesis_begin(sim);
}

/* ---- the end --------------------------------------------------------------------------------- */

static const char *node_is_unsettled(sim_t *sim, const sim_node_t *node)
{
    if (!node->up || !sim_supervisor_content(node)) return "not all actors are ready";
    if (node->wiped) return NULL; /* it waits for somebody to take it in again */
    const lm_lock_room_t *lock = node->rooms[LM_LOCK].room;
    if (lock->applied_index != sim_log_check_committed(sim)) return "a lock lags behind";
    if (lm_lock_room_calls(lock)) return "a lock has calls that do not end";
    if (lm_lock_room_commands(lock)) return "a lock has commands that do not end";
    return NULL;
}

/* S18: the rest of a region is less than a majority. It waits for its operator, and those who have
 * nothing wait with it. */
static const char *is_not_at_rest(sim_t *sim)
{
    if (sim_log_check_leader(sim) >= 0) return "a minority leads";
    for (int i = 0; i < sim->n_nodes; i++)
        if (!sim->nodes[i].up || !sim_supervisor_content(&sim->nodes[i]))
            return "not all actors are ready";
    return NULL;
}

static const char *is_unsettled(sim_t *sim)
{
    if (!sim_clients_idle(sim)) return "a client's calls do not end";
    if (sim_nemesis_has_lost_region(sim)) return is_not_at_rest(sim);
    int leader = sim_log_check_leader(sim);
    if (leader < 0) return "nobody leads";
    if (!sim->nodes[leader].process[SIM_LOCK].alive ||
        !lm_lock_room_serves(sim->nodes[leader].rooms[LM_LOCK].room))
        return "the leader does not serve";
    for (int i = 0; i < sim->n_nodes; i++) {
        const char *why = node_is_unsettled(sim, &sim->nodes[i]);
        if (why) return why;
    }
    if (!sim_oracle_is_empty(sim)) return "somebody holds or waits for a lock for ever";
    return NULL;
}

static void verify_all(sim_t *sim)
{
    for (int i = 0; i < sim->n_nodes; i++) {
        if (!sim->nodes[i].process[SIM_LOCK].alive) continue;
        const lm_lock_room_t *room = sim->nodes[i].rooms[LM_LOCK].room;
        lm_lock_room_verify(room);
        lm_table_verify(lm_lock_room_table(room));
    }
}

static bool step(sim_t *sim)
{
    sim_event_t event;
    if (!sim_queue_take(&sim->queue, &event)) return false;
    LM_CHECK(event.at_us >= sim->now_us, "time runs backwards");
    sim->now_us = event.at_us;
    event.act(sim, event.what, event.number);
    lm_arena_reset(sim->scratch);
    sim->result->events++;
    if (sim->record) sim_record_event(sim->record, sim);
    return !sim->options.steps || sim->result->events < sim->options.steps;
}

static void run_until(sim_t *sim, uint64_t until_us)
{
    while (sim->queue.n && sim->queue.heap[0].at_us <= until_us)
        if (!step(sim)) return;
    sim->now_us = until_us;
}

/* Nothing may come of it either if all are up and time goes by. */
static void rest(sim_t *sim)
{
    uint64_t committed = sim_log_check_committed(sim);
    run_until(sim, sim->now_us + RESTS_US);
    if (sim_log_check_committed(sim) != committed || sim_log_check_leader(sim) >= 0)
        sim_fail(sim, "S18", "a region goes on although a majority has lost everything");
    sim_probe(sim, SIM_PROBE_REGION_LOST);
}

static void settle(sim_t *sim)
{
    uint64_t limit_us = sim->now_us + SETTLED_WITHIN_US;
    const char *why;
    while ((why = is_unsettled(sim)) && sim->now_us < limit_us)
        run_until(sim, sim->now_us + LOOK_EVERY_US);
    if (why) sim_fail(sim, "LIVENESS", "%s", why);
    if (sim_nemesis_has_lost_region(sim)) rest(sim);
    verify_all(sim);
}

static void live(sim_t *sim)
{
    begin(sim);
    run_until(sim, sim_between(sim, 3000, 7000) * SIM_MS);
    sim_nemesis_end(sim);
    run_until(sim, sim->now_us + sim_between(sim, 200, 900) * SIM_MS);
    sim_clients_end(sim);
    settle(sim);
}

static void clean_up(sim_t *sim)
{
    for (int i = 0; i < sim->n_nodes; i++) sim_node_free(&sim->nodes[i]);
    sim_net_free(sim);
    sim_clients_free(sim);
    sim_oracle_free(&sim->oracle);
    sim_log_check_free(&sim->logs);
    sim_nemesis_free(&sim->nemesis);
    sim_watch_free(&sim->watch);
    sim_event_t event;
    while (sim_queue_take(&sim->queue, &event)) sim_room_forget(&event);
    sim_queue_free(&sim->queue);
    lm_arena_destroy(&sim->scratch);
}

sim_t *sim_new(const sim_options_t *options, sim_result_t *result)
{
    sim_t *sim = lm_alloc(sizeof *sim);
    memset(result, 0, sizeof *result);
    sim->options = *options;
    sim->result = result;
    sim->chance = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->scratch = lm_arena_new();
    return sim;
}

void sim_run(sim_t *sim)
{
    lm_check_on_last_words(on_last_words);
    running = sim;
    if (setjmp(sim->end) == 0) {
        live(sim);
        running = NULL;
        clean_up(sim);
        sim->scratch = NULL;
    }
    running = NULL;
    sim->result->virtual_us = sim->now_us;
}

void sim_destroy(sim_t **sim)
{
    free(*sim);
    *sim = NULL;
}
