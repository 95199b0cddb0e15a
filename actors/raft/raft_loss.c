/* Real loss (S19): the log was found to end before an entry that this node has acknowledged.
 *
 *   found at the start --> neither votes nor campaigns --> all of it is here again --> as before
 *
 * With the others it may have made a majority for what it has lost: a vote of its short log could
 * elect somebody who never had it. Whatever a leader of this node's term or a later one sends is
 * complete, so it takes entries and snapshots as always.
 *
 * A leader that this node has acknowledged the lost entries to does not believe that they are gone,
 * and cannot send them again. It gives leadership away when it notices (raft_handover.c); where
 * nobody else could lead, a snapshot that goes beyond what was lost helps. */
#include <stdio.h>

#include "base_fault.h"
#include "base_log.h"
#include "raft_state.h"

typedef unsigned long long ull_t;

#define QUERY_US UINT64_C(3000000)

bool lm_raft_loss_begin(lm_raft_room_t *room, const lm_raft_done_t *loaded)
{
    room->lost_index = loaded->lost_index;
    room->lost_end = loaded->first_index + loaded->n_entries - 1;
    if (loaded->lost_index == 0) return true;
    if (room->n_nodes > 1) {
        lm_error(
            "%s: the log ends at %llu, but this node has acknowledged entries up to %llu: it does "
            "not vote until it has them again",
            room->data_dir, (ull_t)room->lost_end, (ull_t)room->lost_index);
        return true;
    }
    lm_raft_fault_t fault;
    lm_raft_fault_set(
        &fault, LM_EXIT_DAMAGED,
        "%s: the log ends at %llu, but entries up to %llu were acknowledged, and there "
        "is no other node that could have them: restore the directory from a copy, or "
        "move it away to begin anew without any locks",
        room->data_dir, (ull_t)room->lost_end, (ull_t)room->lost_index);
    lm_raft_room_fail(room, &fault);
    return false;
}

bool lm_raft_loss_is(const lm_raft_room_t *room)
{
    return room->lost_index != 0 && !LM_FAULT(LOSS_IGNORED);
}

void lm_raft_loss_problem(const lm_raft_room_t *room, char *text, size_t size)
{
    snprintf(text, size,
             "a part of this node's log is lost: it ended at %llu at the start, but entries up to "
             "%llu had been acknowledged. It does not vote until the other nodes have sent it what "
             "is missing: keep them running. If no majority without it is left, start the others "
             "with their own data directories, or with copies of them",
             (ull_t)room->lost_end, (ull_t)room->lost_index);
}

void lm_raft_loss_settle(lm_raft_room_t *room)
{
    if (room->lost_index == 0) return;
    uint64_t stored = lm_raft_engine_stored(room->engine);
    uint64_t leader = lm_raft_engine_leader(room->engine);
    if (stored >= room->lost_index && lm_raft_engine_commit(room->engine) >= room->lost_index) {
        lm_info("has all entries up to %llu again and votes from now on", (ull_t)room->lost_index);
        room->lost_index = 0;
        room->disk->forget_loss(room->disk);
        return;
    }
    bool waits = leader != 0 && !room->fetch.on && stored < room->lost_index;
    if (!waits || room->queried_us == 0) room->queried_us = room->now_us;
    if (room->now_us < room->queried_us + QUERY_US) return;
    lm_raft_fetch_ask_for(room, leader, room->lost_index - 1);
}
