/* Linearizable reads without a log entry (S22).
 *
 * A read notes the commit index as soon as this leadership knows everything that was committed
 * before it. Then a round asks the others for their terms: a majority that still has the leader's
 * own proves that nobody else could have committed anything by the time the round began.
 *
 *   arrived --(everything older is committed)--> noted --(next round begins)--> asked --> answered
 *
 * Invariants
 *   Q1  A round confirms only reads that had noted their index before it began.
 *   Q2  An answer to round n confirms all rounds up to n: its question was sent after theirs.
 *   Q3  When leadership ends, every read is refused.
 *   Q4  The time of a round trip is that from one question to the answer to it: of those that are
 *       on their way to a node, one is timed. */
#include <stdlib.h>

#include "base_fault.h"
#include "raft_state.h"

static void answer(lm_raft_room_t *room, const lm_caller_t *caller, lm_rc_t code, uint64_t index)
{
    lm_bus_read_index_done_t body = {.code = code, .index = index};
    lm_outbox_reply(room->out, caller, LM_MSG_READ_INDEX_DONE, &body);
}

void lm_raft_reads_on_read_index(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    if (!lm_raft_room_leads(room) || room->n_reads >= LM_RAFT_READS_MAX) {
        answer(room, &message->from, lm_raft_room_leads(room) ? LM_RC_OVERLOADED : LM_RC_NOT_LEADER,
               0);
        return;
    }
    lm_raft_read_t *read = lm_alloc(sizeof *read);
    read->caller = message->from;
    *room->last_read = read;
    room->last_read = &read->next;
    room->n_reads++;
    room->figures.reads++;
}

/* ---- the other side -------------------------------------------------------------------------- */

void lm_raft_reads_probe(lm_raft_room_t *room, uint32_t node, const lm_peer_read_probe_t *probe)
{
    lm_peer_read_probe_result_t result = {.term = lm_raft_engine_term(room->engine),
                                          .round = probe->round};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_READ_PROBE_RESULT,
                             .read_probe_result = &result};
    lm_raft_peers_send(room, node, &frame);
}

/* A later answer means that the one to the timed question is lost. */
static void time_answer(lm_raft_node_t *peer, uint64_t round, uint64_t now_us)
{
    if (!peer->timed_round || round < peer->timed_round) return;
    if (round == peer->timed_round) {
        lm_histogram_note(&peer->round_trips, now_us - peer->timed_since_us);
        peer->was_timed = true;
    }
    peer->timed_round = 0;
}

void lm_raft_reads_result(lm_raft_room_t *room, uint32_t node,
                          const lm_peer_read_probe_result_t *result)
{
    lm_raft_node_t *peer = &room->nodes[node];
    if (!lm_raft_room_leads(room) || result->term != lm_raft_engine_term(room->engine)) return;
    if (result->round > room->read_round || result->round <= peer->read_round) return;
    peer->read_round = result->round;
    time_answer(peer, result->round, room->now_us);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* The last round that a majority has confirmed. */
static uint64_t confirmed_round(const lm_raft_room_t *room)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < room->n_nodes; i++) {
        uint64_t round = i == room->self ? room->read_round : room->nodes[i].read_round;
        uint32_t as_far = 0;
        for (uint32_t j = 0; j < room->n_nodes; j++)
            as_far += j == room->self || room->nodes[j].read_round >= round;
        if (as_far > room->n_nodes / 2 && round > best) best = round;
    }
    return best;
}

static void refuse_all(lm_raft_room_t *room)
{
    while (room->reads) {
        lm_raft_read_t *read = room->reads;
        room->reads = read->next;
        answer(room, &read->caller, LM_RC_NOT_LEADER, 0);
        free(read);
    }
    room->last_read = &room->reads;
    room->n_reads = 0;
}

/* Reads are in order: what is confirmed is at the front. */
static void answer_confirmed(lm_raft_room_t *room)
{
    uint64_t round = confirmed_round(room);
    while (room->reads) {
        lm_raft_read_t *read = room->reads;
        bool over = read->caller.deadline_us && read->caller.deadline_us <= room->now_us;
        bool confirmed = read->round && read->round <= round;
        if (!confirmed && !over) return;
        room->reads = read->next;
        if (!room->reads) room->last_read = &room->reads;
        room->n_reads--;
        if (confirmed) answer(room, &read->caller, LM_RC_OK, read->index);
        free(read);
    }
}

static void ask(lm_raft_room_t *room)
{
    uint64_t term = lm_raft_engine_term(room->engine);
    room->probed_us = room->now_us;
    room->figures.read_rounds++;
    for (uint32_t i = 0; i < room->n_nodes; i++) {
        if (i == room->self) continue;
        lm_peer_read_probe_t probe = {.term = term, .round = room->read_round};
        lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_READ_PROBE, .read_probe = &probe};
        lm_raft_peers_send(room, i, &frame);
        if (room->nodes[i].timed_round) continue;
        room->nodes[i].timed_round = room->read_round;
        room->nodes[i].timed_since_us = room->now_us;
    }
}

/* Gives reads that are new their index and a round that begins now; asks again if nobody answers.
 */
static void begin_round(lm_raft_room_t *room)
{
    uint64_t commit = lm_raft_engine_commit(room->engine);
    bool complete = commit >= lm_raft_engine_leader_start(room->engine);
    bool fresh = false, waiting = false;
    for (lm_raft_read_t *read = room->reads; read; read = read->next) {
        if (read->round) {
            waiting = true;
        } else if (complete) {
            read->index = commit;
            read->round = room->read_round + !LM_FAULT(ROUND_SHARED);
            fresh = true;
        }
    }
    bool again = waiting && room->now_us >= room->probed_us + room->heartbeat_ms * 1000ull;
    if (!fresh && !again) return;
    room->read_round++;
    ask(room);
}

void lm_raft_reads_settle(lm_raft_room_t *room)
{
    if (!room->reads) return;
    if (!lm_raft_room_leads(room) || lm_raft_engine_term(room->engine) != room->said_term) {
        refuse_all(room);
        return;
    }
    answer_confirmed(room);
    begin_round(room);
    if (room->n_nodes == 1) answer_confirmed(room);
}

void lm_raft_reads_free(lm_raft_room_t *room)
{
    while (room->reads) {
        lm_raft_read_t *read = room->reads;
        room->reads = read->next;
        free(read);
    }
}
