/* A node: a machine with a clock, a disk and the processes of its actors. Each process is born by
 * the wish of the supervision policy (sim_supervisor.c) and ends by itself, by a fault, or by the
 * supervisor's hand. */
#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "frontend_clients.h"
#include "frontend_peers.h"
#include "lock_room.h"
#include "raft_room.h"
#include "sim.h"
#include "sim_supervisor.h"

static const char *const actor_names[SIM_ACTORS] = {"raft", "lock", "frontend"};

sim_actor_t sim_node_actor_of(lm_participant_t who)
{
    return who == LM_RAFT ? SIM_RAFT : who == LM_LOCK ? SIM_LOCK : SIM_FRONTEND;
}

uint64_t sim_node_clock(const sim_node_t *node)
{
    return (uint64_t)((int64_t)node->sim->now_us + node->skew_us);
}

bool sim_node_runs(const sim_node_t *node, sim_actor_t actor)
{
    return node->up && !node->paused && node->process[actor].alive && !node->process[actor].paused;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void on_disk(sim_t *sim, void *what, uint64_t ticket)
{
    sim_node_t *node = what;
    if (ticket != node->disk_ticket || !node->process[SIM_RAFT].alive) return;
    if (!sim_node_runs(node, SIM_RAFT)) return; /* its reports wait until it runs again */
    lm_raft_done_t *done;
    lm_fake_disk_time(node->disk, sim->now_us);
    while ((done = lm_fake_disk_take(node->disk, sim->now_us))) {
        sim_note(sim, node->number, LM_RAFT, "disk reports %llu, number %llu", done->kind,
                 done->number, 0, 0);
        if (done->kind == LM_RAFT_DONE_LOADED && done->lost_index)
            sim_probe(sim, SIM_PROBE_LOG_LOST);
        if (done->kind == LM_RAFT_DONE_IMAGE_BEGUN && done->number)
            sim_probe(sim, SIM_PROBE_IMAGE_RESUMED);
        sim_room_put(&node->rooms[LM_RAFT], done);
    }
    sim_node_look_at_disk(node);
}

void sim_node_look_at_disk(sim_node_t *node)
{
    uint64_t at_us = lm_fake_disk_next_us(node->disk);
    if (at_us != UINT64_MAX) sim_at(node->sim, at_us, on_disk, node, ++node->disk_ticket);
}

/* ---- birth ----------------------------------------------------------------------------------- */

static void start_raft(sim_node_t *node, uint32_t counter)
{
    lm_raft_room_t *room = lm_raft_room_new(sim_draw_bytes, node->sim);
    lm_raft_room_set_disk(room, lm_fake_disk_raft(node->disk));
    if (node->sim->piece_bytes)
        lm_raft_room_set_small(room, node->sim->piece_bytes, node->sim->small_bounds);
    lm_fake_disk_time(node->disk, node->sim->now_us);
    sim_room_start(&node->rooms[LM_RAFT], &lm_raft_room, room, counter);
}

static void start_lock(sim_node_t *node, uint32_t counter)
{
    lm_generation_t generation = {.boot_id = node->boot_id, .counter = counter};
    lm_lock_room_t *room = lm_lock_room_new(generation, sim_draw_bytes, node->sim);
    if (node->sim->piece_bytes) lm_lock_room_set_piece(room, node->sim->piece_bytes);
    lm_lock_room_set_crowd(room, node->sim->crowd);
    sim_room_start(&node->rooms[LM_LOCK], lm_lock_room_definition(), room, counter);
}

static void start_frontend(sim_node_t *node, uint32_t counter)
{
    uint64_t seeds[3];
    sim_draw_bytes(node->sim, seeds, sizeof seeds);
    lm_frontend_clients_t *clients = lm_frontend_clients_new(seeds);
    lm_frontend_peers_t *peers = lm_frontend_peers_new(counter, seeds[2]);
    node->front = sim_front_new(node, counter);
    lm_frontend_clients_set_driver(clients, sim_front_driver(node->front));
    lm_frontend_peers_set_driver(peers, sim_front_driver(node->front));
    sim_room_start(&node->rooms[LM_CLIENTS], &lm_frontend_clients_room, clients, counter);
    sim_room_start(&node->rooms[LM_PEERS], &lm_frontend_peers_room, peers, counter);
}

void sim_process_start(sim_node_t *node, sim_actor_t actor, uint32_t counter)
{
    static void (*const starts[])(sim_node_t *, uint32_t) = {
        [SIM_RAFT] = start_raft, [SIM_LOCK] = start_lock, [SIM_FRONTEND] = start_frontend};
    sim_process_t *process = &node->process[actor];
    node->counters[actor] = counter;
    *process =
        (sim_process_t){.alive = true, .counter = counter, .ran_since_us = node->sim->now_us};
    sim_note_text(node->sim, node->number, LM_NOBODY, "%s starts, number %llu", actor_names[actor],
                  counter, 0);
    starts[actor](node, counter);
}

/* ---- death ----------------------------------------------------------------------------------- */

static void stop_raft(sim_node_t *node)
{
    lm_raft_room_t *room = node->rooms[LM_RAFT].room;
    sim_log_check_gone(node->sim, node->number);
    sim_watch_raft_gone(node->sim, node->number);
    sim_room_stop(&node->rooms[LM_RAFT]);
    lm_raft_room_destroy(&room);
    lm_fake_disk_crash(node->disk);
    node->disk_ticket++;
}

static void stop_lock(sim_node_t *node)
{
    lm_lock_room_t *room = node->rooms[LM_LOCK].room;
    sim_room_stop(&node->rooms[LM_LOCK]);
    lm_lock_room_destroy(&room);
}

static void stop_frontend(sim_node_t *node, bool machine)
{
    lm_frontend_clients_t *clients = node->rooms[LM_CLIENTS].room;
    lm_frontend_peers_t *peers = node->rooms[LM_PEERS].room;
    sim_room_stop(&node->rooms[LM_CLIENTS]);
    sim_room_stop(&node->rooms[LM_PEERS]);
    sim_front_die(&node->front, machine);
    lm_frontend_clients_destroy(&clients);
    lm_frontend_peers_destroy(&peers);
}

static void stop_process(sim_node_t *node, sim_actor_t actor, bool machine)
{
    sim_process_t *process = &node->process[actor];
    if (!process->alive) return;
    process->alive = process->paused = false;
    process->died_us = node->sim->now_us;
    if (actor == SIM_RAFT)
        stop_raft(node);
    else if (actor == SIM_LOCK)
        stop_lock(node);
    else
        stop_frontend(node, machine);
}

void sim_node_kill(sim_node_t *node, sim_actor_t actor, const char *why)
{
    if (!node->up || !node->process[actor].alive) return;
    sim_note_text(node->sim, node->number, LM_NOBODY, "%s is killed", actor_names[actor], 0, 0);
    sim_note_text(node->sim, node->number, LM_NOBODY, "because %s", why, 0, 0);
    stop_process(node, actor, false);
    sim_supervisor_reap(node, actor, 0, 9);
}

static bool is_expected(const sim_node_t *node, lm_exit_t code)
{
    if (code == LM_EXIT_OK || code == LM_EXIT_TRY_LATER) return true;
    return code == LM_EXIT_SYSTEM && node->disk_broken;
}

void sim_node_exit(sim_node_t *node, sim_actor_t actor, lm_exit_t code, const char *words)
{
    if (!is_expected(node, code))
        sim_fail(node->sim, "ACTOR-ENDS", "%s of %s ended with %d: %s", actor_names[actor],
                 node->name, (int)code, words);
    if (code == LM_EXIT_SYSTEM) node->disk_broken = false;
    sim_note_text(node->sim, node->number, LM_NOBODY, "%s ends with %llu", actor_names[actor],
                  (uint64_t)code, 0);
    stop_process(node, actor, false);
    sim_supervisor_reap(node, actor, (int)code, 0);
}

/* ---- pauses ---------------------------------------------------------------------------------- */

static void wake_rooms(sim_node_t *node, sim_actor_t actor)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        sim_room_t *room = &node->rooms[p];
        if (!room->alive || sim_node_actor_of(room->who) != actor) continue;
        room->turn_at_us = UINT64_MAX;
        sim_room_poke(room, node->sim->now_us + sim_draw(node->sim, 100));
    }
    node->process[actor].ran_since_us = node->sim->now_us;
    if (actor == SIM_RAFT) sim_node_look_at_disk(node);
}

void sim_node_pause(sim_node_t *node, sim_actor_t actor, bool paused)
{
    sim_process_t *process = &node->process[actor];
    if (!process->alive || process->paused == paused) return;
    process->paused = paused;
    if (paused) process->stopped_us = node->sim->now_us;
    process->stood_us = node->sim->now_us - process->stopped_us;
    sim_note_text(node->sim, node->number, LM_NOBODY, paused ? "%s stands still" : "%s goes on",
                  actor_names[actor], 0, 0);
    if (!paused && !node->paused) wake_rooms(node, actor);
}

void sim_node_pause_supervisor(sim_node_t *node, bool paused)
{
    if (!node->up || node->sup_paused == paused) return;
    node->sup_paused = paused;
    sim_note(node->sim, node->number, LM_SUPERVISOR, "stands still: %llu", paused, 0, 0, 0);
    if (!paused) sim_supervisor_thaw(node);
}

void sim_node_pause_all(sim_node_t *node, bool paused, bool with_clock)
{
    uint64_t now_us = node->sim->now_us;
    if (!node->up || node->paused == paused) return;
    node->paused = paused;
    sim_note(node->sim, node->number, LM_NOBODY,
             "the machine stands still: %llu, and its clock: %llu", paused, with_clock, 0, 0);
    if (paused) {
        node->clock_stands = with_clock;
        node->paused_us = now_us;
        return;
    }
    if (node->clock_stands) node->skew_us -= (int64_t)(now_us - node->paused_us);
    for (int i = 0; i < SIM_ACTORS; i++)
        if (node->process[i].alive && !node->process[i].paused) wake_rooms(node, (sim_actor_t)i);
    if (!node->sup_paused) sim_supervisor_thaw(node);
}

/* ---- the machine ----------------------------------------------------------------------------- */

void sim_node_init(sim_t *sim, int number)
{
    sim_node_t *node = &sim->nodes[number];
    *node = (sim_node_t){.sim = sim, .number = number};
    snprintf(node->name, sizeof node->name, "n%d", number + 1);
    node->disk = lm_fake_disk_new();
    for (int p = 0; p < LM_PARTICIPANTS; p++)
        node->rooms[p] = (sim_room_t){.sim = sim, .node = node, .who = (lm_participant_t)p};
}

void sim_node_boot(sim_node_t *node)
{
    if (node->up) return;
    node->up = true;
    node->paused = node->sup_paused = false;
    node->boots++;
    node->boot_id = 1000 + node->boots;
    sim_note(node->sim, node->number, LM_NOBODY, "boots for the %lluth time", node->boots, 0, 0, 0);
    sim_supervisor_begin(node);
}

void sim_node_crash(sim_node_t *node)
{
    if (!node->up) return;
    sim_note(node->sim, node->number, LM_NOBODY, "loses its power", 0, 0, 0, 0);
    node->up = false;
    for (int i = 0; i < SIM_ACTORS; i++) {
        stop_process(node, (sim_actor_t)i, true);
        node->process[i].spawning = false;
    }
    sim_supervisor_end(node);
}

void sim_node_free(sim_node_t *node)
{
    if (!node->sim) return;
    node->up = false;
    for (int i = 0; i < SIM_ACTORS; i++) stop_process(node, (sim_actor_t)i, true);
    sim_supervisor_end(node);
    lm_fake_disk_destroy(&node->disk);
}
