/* What goes wrong. Each seed has a choice of faults that it plays with, drawn at its beginning, and
 * a pace; each fault mends itself after a while, and at the end of the time of faults all do. */
#include <stdlib.h>

#include "base_check.h"
#include "sim.h"
#include "sim_supervisor.h"
#include "wire_bus.h"

typedef struct {
    sim_fault_t fault;
    uint32_t weight;
    void (*strike)(sim_t *sim);
} row_t;

struct sim_nemesis {
    uint64_t pace_us, ticket;
    uint32_t enabled; /* bits of rows */
    uint64_t pause_us_max;
    int crashes_left;
    int wipes_left;
    bool may_lose;
};

static sim_node_t *some_node(sim_t *sim)
{
    return &sim->nodes[sim_draw(sim, (uint64_t)sim->n_nodes)];
}

static uint64_t a_while(sim_t *sim, uint64_t max_ms)
{
    uint64_t most = sim_draw(sim, 3) ? max_ms / 4 : max_ms;
    return sim->now_us + sim_between(sim, 5, most + 5) * SIM_MS;
}

/* As often as not the one that leads. */
static sim_node_t *some_leader(sim_t *sim)
{
    int leader = sim_log_check_leader(sim);
    return leader >= 0 && sim_one_in(sim, 2) ? &sim->nodes[leader] : some_node(sim);
}

/* ---- machines -------------------------------------------------------------------------------- */

static void boot(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    sim_node_t *node = what;
    if (node->boots == number) sim_node_boot(node);
}

static void crash(sim_t *sim, sim_node_t *node, uint64_t max_ms)
{
    if (!node->up) return;
    sim_node_crash(node);
    sim_at(sim, a_while(sim, max_ms), boot, node, node->boots);
}

static void strike_node_crash(sim_t *sim) { crash(sim, some_node(sim), 2500); }

static void strike_all_crash(sim_t *sim)
{
    for (int i = 0; i < sim->n_nodes; i++) crash(sim, &sim->nodes[i], 800);
}

/* Who waited at it leaves a ghost in the queue (S11). */
static void strike_leader_crash(sim_t *sim)
{
    int leader = sim_log_check_leader(sim);
    if (leader < 0) return;
    crash(sim, &sim->nodes[leader], 800);
    sim_clients_die(sim);
}

static void strike_node_stop(sim_t *sim)
{
    sim_node_t *node = some_node(sim);
    if (node->up) sim_supervisor_stop(node);
}

static int n_wiped(const sim_t *sim)
{
    int n = 0;
    for (int i = 0; i < sim->n_nodes; i++) n += sim->nodes[i].wiped;
    return n;
}

/* A region that is being formed has its first entry before the others know that it begins: if its
 * founder is lost then, it waits for the operator, as S18 wants it. An entry behind that one is of
 * a leader, whom a majority has elected. */
static bool is_begun(const sim_t *sim) { return sim_log_check_committed(sim) > 1; }

static void strike_volume(sim_t *sim)
{
    sim_node_t *node = some_node(sim);
    if (sim->nemesis->wipes_left == 0 || node->wiped || !is_begun(sim)) return;
    sim->nemesis->wipes_left--;
    sim_log_check_loses(sim, node);
    node->wiped = true;
    sim_node_crash(node);
    lm_fake_disk_wipe(node->disk);
    sim_note(sim, node->number, LM_NOBODY, "loses its volume", 0, 0, 0, 0);
    sim_at(sim, a_while(sim, 800), boot, node, node->boots);
    /* The next soon: only nodes that are empty together could be taken in by each other (S18). */
    if (sim->nemesis->wipes_left && sim_draw(sim, 2)) strike_volume(sim);
}

bool sim_nemesis_has_lost_region(const sim_t *sim) { return 2 * n_wiped(sim) > sim->n_nodes; }

/* Bit rot takes the end of a log, while the machine is down. */
static void strike_log(sim_t *sim)
{
    sim_node_t *node = some_node(sim);
    uint64_t n = lm_fake_disk_entries(node->disk);
    if (!sim->nemesis->may_lose || n < 3) return;
    sim->nemesis->may_lose = false;
    sim_log_check_loses(sim, node);
    sim_node_crash(node);
    n = lm_fake_disk_entries(node->disk);
    uint64_t lost = sim_between(sim, 1, n > 12 ? 10 : n > 1 ? n - 1 : 1);
    if (n > 1) lm_fake_disk_lose(node->disk, lost);
    sim_note(sim, node->number, LM_NOBODY, "loses the last %llu entries", lost, 0, 0, 0);
    sim_at(sim, a_while(sim, 800), boot, node, node->boots);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void kill(sim_t *sim, sim_actor_t actor)
{
    if (sim->nemesis->crashes_left-- <= 0) return;
    sim_node_kill(some_leader(sim), actor, "a fault");
}

static void strike_raft_kill(sim_t *sim) { kill(sim, SIM_RAFT); }
static void strike_lock_kill(sim_t *sim) { kill(sim, SIM_LOCK); }
static void strike_frontend_kill(sim_t *sim) { kill(sim, SIM_FRONTEND); }

static void go_on(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    sim_node_t *node = what;
    sim_actor_t actor = (sim_actor_t)(number & 3);
    if (node->process[actor].counter == number >> 2) sim_node_pause(node, actor, false);
}

static void stop(sim_t *sim, sim_actor_t actor)
{
    sim_node_t *node = some_leader(sim);
    if (!node->up || !node->process[actor].alive) return;
    sim_node_pause(node, actor, true);
    uint64_t number = (uint64_t)node->process[actor].counter << 2 | actor;
    sim_at(sim, a_while(sim, sim->nemesis->pause_us_max / SIM_MS), go_on, node, number);
}

static void strike_raft_pause(sim_t *sim) { stop(sim, SIM_RAFT); }
static void strike_lock_pause(sim_t *sim) { stop(sim, SIM_LOCK); }
static void strike_frontend_pause(sim_t *sim) { stop(sim, SIM_FRONTEND); }

static void supervisor_goes_on(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    sim_node_t *node = what;
    if (node->boots == number) sim_node_pause_supervisor(node, false);
}

static void strike_supervisor_pause(sim_t *sim)
{
    sim_node_t *node = some_node(sim);
    sim_node_pause_supervisor(node, true);
    sim_at(sim, a_while(sim, 3000), supervisor_goes_on, node, node->boots);
}

static void machine_goes_on(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    sim_node_t *node = what;
    if (node->boots == number) sim_node_pause_all(node, false, false);
}

static void freeze(sim_t *sim, sim_node_t *node, uint64_t until_us, bool with_clock)
{
    if (!node->up || node->paused) return;
    sim_node_pause_all(node, true, with_clock);
    sim_at(sim, until_us, machine_goes_on, node, node->boots);
}

static void strike_node_pause(sim_t *sim)
{
    freeze(sim, some_node(sim), a_while(sim, sim->nemesis->pause_us_max / SIM_MS), false);
}

static void strike_all_pause(sim_t *sim)
{
    uint64_t until_us = a_while(sim, sim->nemesis->pause_us_max / SIM_MS);
    for (int i = 0; i < sim->n_nodes; i++)
        freeze(sim, &sim->nodes[i], until_us + sim_draw(sim, 20 * SIM_MS), false);
}

static void strike_clock_stop(sim_t *sim)
{
    freeze(sim, some_node(sim), a_while(sim, sim->nemesis->pause_us_max / SIM_MS), true);
}

/* ---- the network ----------------------------------------------------------------------------- */

static void mend_net(sim_t *sim, void *what, uint64_t number)
{
    (void)what;
    int from = (int)(number & 15), to = (int)(number >> 4 & 15);
    sim->net.cut[from][to] = false;
    sim->net.slow_us[from][to] = 0;
    sim_note(sim, -1, LM_NOBODY, "the way from node %llu to node %llu is mended",
             (uint64_t)from + 1, (uint64_t)to + 1, 0, 0);
}

static void cut(sim_t *sim, int from, int to, uint64_t until_us)
{
    sim->net.cut[from][to] = true;
    sim_note(sim, -1, LM_NOBODY, "the way from node %llu to node %llu is cut", (uint64_t)from + 1,
             (uint64_t)to + 1, 0, 0);
    sim_at(sim, until_us, mend_net, NULL, (uint64_t)from | (uint64_t)to << 4);
}

/* A group of nodes that is not all of them. */
static void strike_partition(sim_t *sim)
{
    uint64_t group = 1 + sim_draw(sim, (1u << sim->n_nodes) - 2);
    uint64_t until_us = a_while(sim, 3000);
    for (int i = 0; i < sim->n_nodes; i++)
        for (int j = 0; j < sim->n_nodes; j++)
            if ((group >> i & 1) != (group >> j & 1)) cut(sim, i, j, until_us);
}

static bool two_nodes(sim_t *sim, int *from, int *to)
{
    *from = (int)sim_draw(sim, (uint64_t)sim->n_nodes);
    *to = (int)sim_draw(sim, (uint64_t)sim->n_nodes);
    return *from != *to;
}

static void strike_one_way(sim_t *sim)
{
    int from, to;
    if (two_nodes(sim, &from, &to)) cut(sim, from, to, a_while(sim, 3000));
}

static void mend_clients(sim_t *sim, void *what, uint64_t number)
{
    (void)what;
    sim->net.client_cut[number] = false;
}

static void strike_clients_cut(sim_t *sim)
{
    uint64_t node = sim_draw(sim, (uint64_t)sim->n_nodes);
    sim->net.client_cut[node] = true;
    sim_at(sim, a_while(sim, 1500), mend_clients, NULL, node);
}

static void strike_slow_link(sim_t *sim)
{
    int from, to;
    if (!two_nodes(sim, &from, &to)) return;
    sim->net.slow_us[from][to] = sim_between(sim, 5, 150) * SIM_MS;
    sim_at(sim, a_while(sim, 3000), mend_net, NULL, (uint64_t)from | (uint64_t)to << 4);
}

static void strike_reconnect(sim_t *sim)
{
    int from, to;
    if (two_nodes(sim, &from, &to)) sim_net_reset(sim, from, sim_one_in(sim, 4) ? -1 : to);
}

/* ---- bus and disk ---------------------------------------------------------------------------- */

static void strike_pipe(sim_t *sim)
{
    static const struct {
        lm_participant_t from, to;
    } pipes[] = {{LM_RAFT, LM_LOCK},  {LM_LOCK, LM_RAFT},    {LM_RAFT, LM_PEERS},
                 {LM_PEERS, LM_RAFT}, {LM_CLIENTS, LM_LOCK}, {LM_LOCK, LM_CLIENTS}};
    size_t which = sim_draw(sim, sizeof pipes / sizeof *pipes);
    sim_node_t *node = some_node(sim);
    int leader = sim_log_check_leader(sim);
    /* What fills up behind the lock of a leader has bounds of its own (S20). */
    if (sim->small_bounds && leader >= 0 && sim_draw(sim, 2)) {
        node = &sim->nodes[leader];
        which = 0;
    }
    sim_room_t *room = &node->rooms[pipes[which].from];
    uint64_t until_us = a_while(sim, sim->small_bounds ? 2500 : 400);
    room->full_until_us[pipes[which].to] = until_us;
    sim_note(sim, room->node->number, room->who, "its pipe to %llu is full", pipes[which].to, 0, 0,
             0);
}

static void mend_disk(sim_t *sim, void *what, uint64_t number)
{
    (void)number;
    sim_node_t *node = what;
    lm_fake_disk_delay(node->disk, sim->disk_us_max, &sim->chance);
}

static void strike_slow_disk(sim_t *sim)
{
    sim_node_t *node = some_node(sim);
    lm_fake_disk_delay(node->disk, sim_between(sim, 20, 900) * SIM_MS, &sim->chance);
    sim_note(sim, node->number, LM_RAFT, "has a slow disk", 0, 0, 0, 0);
    sim_at(sim, a_while(sim, 1500), mend_disk, node, 0);
}

static void strike_disk_failure(sim_t *sim)
{
    sim_node_t *node = some_node(sim);
    if (!node->process[SIM_RAFT].alive || sim->nemesis->crashes_left-- <= 0) return;
    node->disk_broken = true;
    lm_fake_disk_break(node->disk);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const row_t rows[] = {
    {SIM_FAULT_NODE_CRASH, 6, strike_node_crash},
    {SIM_FAULT_ALL_CRASH, 1, strike_all_crash},
    {SIM_FAULT_LEADER_CRASH, 1, strike_leader_crash},
    {SIM_FAULT_NODE_STOP, 1, strike_node_stop},
    {SIM_FAULT_RAFT_KILL, 4, strike_raft_kill},
    {SIM_FAULT_LOCK_KILL, 4, strike_lock_kill},
    {SIM_FAULT_FRONTEND_KILL, 3, strike_frontend_kill},
    {SIM_FAULT_RAFT_PAUSE, 4, strike_raft_pause},
    {SIM_FAULT_LOCK_PAUSE, 4, strike_lock_pause},
    {SIM_FAULT_FRONTEND_PAUSE, 3, strike_frontend_pause},
    {SIM_FAULT_SUPERVISOR_PAUSE, 2, strike_supervisor_pause},
    {SIM_FAULT_NODE_PAUSE, 3, strike_node_pause},
    {SIM_FAULT_ALL_PAUSE, 1, strike_all_pause},
    {SIM_FAULT_CLOCK_STOP, 2, strike_clock_stop},
    {SIM_FAULT_PARTITION, 6, strike_partition},
    {SIM_FAULT_ONE_WAY, 4, strike_one_way},
    {SIM_FAULT_CLIENTS_CUT, 2, strike_clients_cut},
    {SIM_FAULT_SLOW_LINK, 3, strike_slow_link},
    {SIM_FAULT_RECONNECT, 4, strike_reconnect},
    {SIM_FAULT_PIPE_FULL, 4, strike_pipe},
    {SIM_FAULT_SLOW_DISK, 3, strike_slow_disk},
    {SIM_FAULT_DISK_FAILURE, 1, strike_disk_failure},
    {SIM_FAULT_VOLUME_LOST, 1, strike_volume},
    {SIM_FAULT_LOG_LOST, 2, strike_log},
};
enum { ROWS = sizeof rows / sizeof *rows };

static const row_t *choose(sim_t *sim)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (sim->nemesis->enabled >> i & 1) sum += rows[i].weight;
    uint64_t at = sum ? sim_draw(sim, sum) : 0;
    for (size_t i = 0; i < ROWS && sum; i++) {
        if (!(sim->nemesis->enabled >> i & 1)) continue;
        if (at < rows[i].weight) return &rows[i];
        at -= rows[i].weight;
    }
    return NULL;
}

static void strike(sim_t *sim, void *what, uint64_t ticket)
{
    (void)what;
    if (ticket != sim->nemesis->ticket) return;
    const row_t *row = choose(sim);
    if (row) {
        sim_count_fault(sim, row->fault);
        sim_note_text(sim, -1, LM_NOBODY, "fault: %s", sim_fault_marks[row->fault].name, 0, 0);
        row->strike(sim);
    }
    uint64_t in_us = sim_between(sim, sim->nemesis->pace_us / 8, 2 * sim->nemesis->pace_us);
    sim_at(sim, sim->now_us + in_us, strike, NULL, ++sim->nemesis->ticket);
}

sim_nemesis_t *sim_nemesis_new(sim_t *sim)
{
    sim_nemesis_t *nemesis = lm_alloc(sizeof *nemesis);
    nemesis->pace_us = sim_between(sim, 60, 500) * SIM_MS;
    nemesis->enabled = (uint32_t)(sim_draw(sim, 1u << ROWS) | sim_draw(sim, 1u << ROWS));
    if (sim_one_in(sim, 3)) nemesis->enabled &= (uint32_t)sim_draw(sim, 1u << ROWS);
    nemesis->pause_us_max = sim_between(sim, 100, 2500) * SIM_MS;
    nemesis->crashes_left = 14;
    if (sim_one_in(sim, 8)) nemesis->wipes_left = 1;
    if (nemesis->wipes_left && sim_one_in(sim, 2))
        nemesis->wipes_left = (int)sim_between(sim, 2, (uint64_t)sim->n_nodes - 1);
    nemesis->may_lose = nemesis->wipes_left == 0 && sim_draw(sim, 2);
    return nemesis;
}

void sim_nemesis_free(sim_nemesis_t **nemesis)
{
    free(*nemesis);
    *nemesis = NULL;
}

void sim_nemesis_begin(sim_t *sim)
{
    uint64_t from_us = sim_one_in(sim, 3) ? 0 : sim_between(sim, 400, 1200) * SIM_MS;
    sim_at(sim, sim->now_us + from_us, strike, NULL, ++sim->nemesis->ticket);
    if (sim_one_in(sim, 2)) sim->net.lost_answers = sim_between(sim, 4, 40);
    if (sim_one_in(sim, 2)) sim->net.resets = sim_between(sim, 40, 2000);
}

static void mend_node(sim_t *sim, sim_node_t *node)
{
    sim_node_pause_all(node, false, false);
    sim_node_pause_supervisor(node, false);
    for (int i = 0; i < SIM_ACTORS; i++) sim_node_pause(node, (sim_actor_t)i, false);
    for (int p = 0; p < LM_PARTICIPANTS; p++)
        memset(node->rooms[p].full_until_us, 0, sizeof node->rooms[p].full_until_us);
    mend_disk(sim, node, 0);
    sim_node_boot(node);
}

void sim_nemesis_end(sim_t *sim)
{
    sim->nemesis->ticket++;
    if (sim_one_in(sim, 4)) {
        sim_count_fault(sim, SIM_FAULT_LEADER_CRASH);
        strike_leader_crash(sim);
    }
    sim->calm = true;
    memset(sim->net.cut, 0, sizeof sim->net.cut);
    memset(sim->net.slow_us, 0, sizeof sim->net.slow_us);
    memset(sim->net.client_cut, 0, sizeof sim->net.client_cut);
    sim->net.lost_answers = sim->net.resets = 0;
    for (int i = 0; i < sim->n_nodes; i++) mend_node(sim, &sim->nodes[i]);
    sim_note(sim, -1, LM_NOBODY, "everything is mended", 0, 0, 0, 0);
}
