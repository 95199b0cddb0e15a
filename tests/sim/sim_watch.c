/* What rooms say to each other, and how they stand after a turn, against rules that neither logs
 * nor clients would show broken before a rare chance comes by.
 *
 * Invariants
 *   H1  A round of ReadIndex answers with an index that is not below what was committed anywhere
 *       when its question came (S22).
 *   H2  Nobody is told of a hold that had ended before his call came to the lock (S6).
 *   H3  A frame of an older stream than one that was heard before is refused (S24).
 *   H4  After the time of grace every wait has somebody who asks for it, or is being left, and
 *       every hold that nobody heard of is being abandoned (S10, S11).
 *   H5  A refused pre-vote says the term of who refuses it: else the longest log of the lowest
 *       term may never be elected, nor anybody else.
 *   H6  A leader that too much waits behind takes nothing but a Takeover (S20).
 *   H7  Nobody is told that his Acquire changes nothing if it was proposed after he had come and
 *       raft has read it and not refused it (S23).
 *   H8  A node that knows that it lost entries gives nobody its vote, and it sounds out no
 * election, nor does one whose lock could not serve (S19, S21). */
#include <stdlib.h>

#include "base_check.h"
#include "lock_hold_id.h"
#include "lock_session_id.h"
#include "lock_state.h"
#include "raft_state.h"
#include "sim.h"
#include "wire_bus.h"
#include "wire_command.h"

enum { QUESTIONS = 512, FLIGHT = 256 };

typedef unsigned long long ull_t;

/* What was known when a question came; a later one may take its place. */
typedef struct {
    uint64_t correlation, known;
    uint32_t counter; /* of who asks */
} question_t;

/* An Acquire, in the order in which calls come and proposals go. */
typedef struct {
    uint64_t correlation, boots, key, order;
    uint32_t counter; /* of who asks */
    enum { MADE, READ, REFUSED } fate;
    uint64_t who, at_us; /* owner and name; a call's */
} acquire_t;

typedef struct {
    question_t reads[QUESTIONS], calls[QUESTIONS], proposals[QUESTIONS];
    acquire_t asked[QUESTIONS], flight[FLIGHT]; /* by correlation; a ring */
    uint64_t n_acquires;
    uint64_t serves_since_us;        /* 0: the lock does not serve */
    bool unfit;                      /* its lock could not serve when raft was last seen */
    uint32_t raft, frontend;         /* the starts that the streams are of */
    uint64_t streams[SIM_NODES_MAX]; /* newest heard, by sender */
    uint64_t old_frames, refused;
    uint64_t term;
    bool choked; /* it leads, and too much waits for its lock or its disk */
} node_watch_t;

struct sim_watch {
    node_watch_t nodes[SIM_NODES_MAX];
};

static void *decode(sim_t *sim, const lm_wire_type_t *type, lm_bytes_t bytes)
{
    void *message = NULL;
    lm_rc_t rc = lm_wire_decode(type, bytes, sim->scratch, &message, NULL);
    return rc == LM_RC_OK ? message : NULL;
}

/* ---- questions and answers ------------------------------------------------------------------- */

static void ask(question_t *questions, const sim_said_t *said, uint64_t known)
{
    questions[said->correlation % QUESTIONS] = (question_t){
        .correlation = said->correlation, .known = known, .counter = said->from_counter};
}

static const question_t *asked(const question_t *questions, const sim_said_t *said,
                               uint32_t counter)
{
    const question_t *question = &questions[said->correlation % QUESTIONS];
    bool same = question->correlation == said->correlation && question->counter == counter;
    return said->correlation && same ? question : NULL;
}

/* ---- what is in flight ----------------------------------------------------------------------- */

static uint64_t key_of(lm_bytes_t owner, lm_bytes_t request_id)
{
    return lm_bytes_hash(request_id, lm_bytes_hash(owner, LM_HASH_START));
}

/* The key by which the table knows an Acquire that a call asks for. */
static lm_request_key_t called_key(const lm_api_acquire_request_t *acquire, lm_key_texts_t *texts)
{
    lm_command_t command = {.key = {.owner = acquire->owner, .request_id = acquire->request_id}};
    if (acquire->session &&
        lm_lock_session_id_parse(acquire->session->session_id, &command.session))
        command.request_number = acquire->session->request_number;
    return lm_command_key(&command, texts);
}

static void on_acquire(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    node_watch_t *watch = &sim->watch->nodes[node->number];
    const lm_peer_lock_call_t *call = decode(sim, &lm_peer_lock_call_type, said->body);
    bool acquires = call && call->request_case == LM_PEER_LOCK_CALL_REQUEST_ACQUIRE;
    lm_key_texts_t texts;
    lm_request_key_t key = {0};
    if (acquires) key = called_key(call->acquire, &texts);
    watch->asked[said->correlation % QUESTIONS] =
        (acquire_t){.correlation = acquires ? said->correlation : 0,
                    .boots = node->boots,
                    .counter = said->from_counter,
                    .key = acquires ? key_of(key.owner, key.request_id) : 0,
                    .who = acquires ? key_of(key.owner, call->acquire->name) : 0,
                    .at_us = sim->now_us,
                    .order = ++watch->n_acquires};
}

static void on_proposal_made(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    node_watch_t *watch = &sim->watch->nodes[node->number];
    const lm_bus_propose_t *propose = decode(sim, &lm_bus_propose_type, said->body);
    lm_command_t *commands;
    size_t n;
    if (!propose || lm_wire_command_decode(propose->entry, sim->scratch, &commands, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        if (commands[i].kind != LM_COMMAND_ACQUIRE) continue;
        uint64_t order = ++watch->n_acquires;
        lm_key_texts_t texts;
        lm_request_key_t key = lm_command_key(&commands[i], &texts);
        watch->flight[order % FLIGHT] = (acquire_t){.correlation = said->correlation,
                                                    .boots = node->boots,
                                                    .counter = said->from_counter,
                                                    .key = key_of(key.owner, key.request_id),
                                                    .order = order};
    }
}

static void set_fate(const sim_t *sim, const sim_node_t *node, uint64_t correlation,
                     uint32_t counter, int fate)
{
    acquire_t *flight = sim->watch->nodes[node->number].flight;
    for (int i = 0; i < FLIGHT; i++)
        if (flight[i].correlation == correlation && flight[i].counter == counter &&
            flight[i].boots == node->boots)
            flight[i].fate = fate;
}

static bool denies(const lm_peer_lock_answer_t *answer)
{
    if (answer->kind == LM_PEER_ANSWER_KIND_FORWARD) return answer->code != LM_RC_OUTCOME_UNKNOWN;
    return answer->kind == LM_PEER_ANSWER_KIND_ERROR && answer->code == LM_RC_NO_LEADER;
}

/* H7 */
static void on_answer_made(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    const node_watch_t *watch = &sim->watch->nodes[node->number];
    const lm_peer_lock_answer_t *answer = decode(sim, &lm_peer_lock_answer_type, said->body);
    if (answer && answer->code == LM_RC_REQUEST_TOO_OLD) sim_probe(sim, SIM_PROBE_NUMBER_TOO_OLD);
    if (answer && answer->code == LM_RC_SESSION_ENDED) sim_probe(sim, SIM_PROBE_SESSION_OVER);
    if (!answer || !denies(answer)) return;
    const acquire_t *asked = &watch->asked[said->correlation % QUESTIONS];
    if (!asked->correlation || asked->correlation != said->correlation ||
        asked->counter != said->to_counter || asked->boots != node->boots)
        return;
    for (int i = 0; i < FLIGHT; i++) {
        const acquire_t *made = &watch->flight[i];
        if (made->fate == READ && made->key == asked->key && made->order > asked->order &&
            made->counter == said->from_counter && made->boots == node->boots)
            sim_fail(sim, "S23", "the lock of %s denies an Acquire that raft has taken or may take",
                     node->name);
    }
}

/* ---- questions of one message ---------------------------------------------------------------- */

static void on_read_index(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    ask(sim->watch->nodes[node->number].reads, said, sim_log_check_committed(sim));
}

static void on_read_index_done(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    const lm_bus_read_index_done_t *done = decode(sim, &lm_bus_read_index_done_type, said->body);
    const question_t *question =
        asked(sim->watch->nodes[node->number].reads, said, said->to_counter);
    if (!done || done->code != LM_RC_OK || !question || done->index >= question->known) return;
    sim_fail(sim, "S22", "%s confirms a read at entry %llu, %llu was committed when it was asked",
             node->name, (ull_t)done->index, (ull_t)question->known);
}

static void on_lock_call(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    ask(sim->watch->nodes[node->number].calls, said, sim_oracle_op_seq(sim));
    on_acquire(sim, node, said);
}

static void on_lock_answer(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    const lm_peer_lock_answer_t *answer = decode(sim, &lm_peer_lock_answer_type, said->body);
    const question_t *question =
        asked(sim->watch->nodes[node->number].calls, said, said->to_counter);
    uint64_t hold, claim;
    if (!answer || !question || answer->kind != LM_PEER_ANSWER_KIND_RESULT || !answer->acquire ||
        !lm_lock_hold_id_parse(answer->acquire->hold_id, &hold, &claim))
        return;
    uint64_t ended = sim_oracle_end_of(sim, hold);
    if (ended && ended <= question->known)
        sim_fail(sim, "S6", "the lock of %s tells of hold %llu, which had ended when it was asked",
                 node->name, (ull_t)hold);
}

static void on_propose(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    const lm_bus_propose_t *propose = decode(sim, &lm_bus_propose_type, said->body);
    if (propose) ask(sim->watch->nodes[node->number].proposals, said, propose->takeover);
    set_fate(sim, node, said->correlation, said->from_counter, READ);
}

static void on_proposed(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    const node_watch_t *watch = &sim->watch->nodes[node->number];
    const lm_bus_proposed_t *proposed = decode(sim, &lm_bus_proposed_type, said->body);
    const question_t *question = asked(watch->proposals, said, said->to_counter);
    if (proposed && proposed->code != LM_RC_OK)
        set_fate(sim, node, said->correlation, said->to_counter, REFUSED);
    if (!proposed || proposed->code != LM_RC_OK || !question || question->known || !watch->choked)
        return;
    sim_fail(sim, "S20", "%s takes entry %llu although too much waits already", node->name,
             (ull_t)proposed->index);
}

/* ---- streams --------------------------------------------------------------------------------- */

static int node_by_name(const sim_t *sim, lm_bytes_t name)
{
    for (int i = 0; i < sim->n_nodes; i++)
        if (lm_bytes_equal(name, lm_bytes_of(sim->nodes[i].name))) return i;
    return -1;
}

static void on_peer_receive(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    node_watch_t *watch = &sim->watch->nodes[node->number];
    const lm_raft_room_t *raft = node->rooms[LM_RAFT].room;
    const lm_bus_peer_receive_t *frame = decode(sim, &lm_bus_peer_receive_type, said->body);
    int from = frame ? node_by_name(sim, frame->node) : -1;
    bool hears = raft->phase & (LM_RAFT_FORMING | LM_RAFT_LOADING | LM_RAFT_RUNNING);
    if (from < 0 || !hears) return;
    if (watch->raft != said->to_counter || watch->frontend != said->from_counter) {
        memset(watch->streams, 0, sizeof watch->streams);
        watch->raft = said->to_counter;
        watch->frontend = said->from_counter;
    }
    if (frame->epoch < watch->streams[from])
        watch->old_frames++;
    else
        watch->streams[from] = frame->epoch;
}

/* H8. What a turn heard before it spoke may have changed either, so both ends of it count. */
static void check_election(sim_t *sim, const sim_node_t *node, const lm_peer_frame_t *frame)
{
    const lm_raft_room_t *room = node->rooms[LM_RAFT].room;
    bool votes = frame->body_case == LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT &&
                 !frame->request_vote_result->pre_vote && frame->request_vote_result->vote_granted;
    bool sounds =
        frame->body_case == LM_PEER_FRAME_BODY_REQUEST_VOTE && frame->request_vote->pre_vote;
    if (room->lost_index != 0 && (votes || sounds))
        sim_fail(sim, "S19", "%s has lost entries up to %llu and takes part in an election",
                 node->name, (ull_t)room->lost_index);
    if (sounds && sim->watch->nodes[node->number].unfit && !lm_raft_attach_is_fit(room))
        sim_fail(sim, "S21", "%s sounds out an election without a lock", node->name);
}

static void on_peer_send(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    const lm_bus_peer_send_t *send = decode(sim, &lm_bus_peer_send_type, said->body);
    const lm_peer_frame_t *frame = send ? decode(sim, &lm_peer_frame_type, send->frame) : NULL;
    if (frame) check_election(sim, node, frame);
    if (!frame || frame->body_case != LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT) return;
    const lm_peer_request_vote_result_t *vote = frame->request_vote_result;
    if (vote->pre_vote && !vote->vote_granted && vote->term < sim->watch->nodes[node->number].term)
        sim_fail(sim, "PRE-VOTE", "%s refuses a pre-vote in term %llu, its own is %llu", node->name,
                 (ull_t)vote->term, (ull_t)sim->watch->nodes[node->number].term);
}

/* ---- messages -------------------------------------------------------------------------------- */

void sim_watch_said(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    switch (said->number) {
    case LM_MSG_READ_INDEX: on_read_index(sim, node, said); break;
    case LM_MSG_READ_INDEX_DONE: on_read_index_done(sim, node, said); break;
    case LM_MSG_LOCK_CALL: on_lock_call(sim, node, said); break;
    case LM_MSG_LOCK_ANSWER: on_lock_answer(sim, node, said); break;
    case LM_MSG_PROPOSE: on_propose(sim, node, said); break;
    case LM_MSG_PEER_RECEIVE: on_peer_receive(sim, node, said); break;
    default: break;
    }
}

void sim_watch_says(sim_t *sim, sim_node_t *node, const sim_said_t *said)
{
    if (said->number == LM_MSG_PEER_SEND) on_peer_send(sim, node, said);
    if (said->number == LM_MSG_PROPOSED) on_proposed(sim, node, said);
    if (said->number == LM_MSG_PROPOSE) on_proposal_made(sim, node, said);
    if (said->number == LM_MSG_LOCK_ANSWER) on_answer_made(sim, node, said);
}

/* ---- rooms ----------------------------------------------------------------------------------- */

typedef struct {
    sim_t *sim;
    const sim_node_t *node;
    lm_lock_room_t *room;
} look_t;

static const lm_lock_party_t *party_of(lm_lock_room_t *room, const lm_record_t *record)
{
    lm_request_key_t key = lm_record_key(record);
    return lm_lock_party_find(room, lm_entry_name(lm_record_lock(record)), key.identity, key.owner);
}

/* H4: nobody asks for it and nobody ends it. */
static bool is_forsaken(const lm_lock_party_t *party)
{
    return !party || (TAILQ_EMPTY(&party->calls) && TAILQ_EMPTY(&party->acquires) &&
                      !party->parks && !lm_lock_timer_is_set(&party->retry));
}

/* Nobody has asked for it since the Takeover. */
static bool is_ghost(const look_t *look, const lm_record_t *record)
{
    const node_watch_t *watch = &look->sim->watch->nodes[look->node->number];
    uint64_t who = key_of(lm_record_key(record).owner, lm_entry_name(lm_record_lock(record)));
    for (int i = 0; i < QUESTIONS; i++)
        if (watch->asked[i].who == who && watch->asked[i].at_us >= watch->serves_since_us)
            return false;
    return true;
}

static void look_at_record(void *arg, const lm_record_t *record)
{
    const look_t *look = arg;
    bool waits = record->state == LM_RECORD_WAITING;
    if (!waits && record->state != LM_RECORD_HOLDING) return;
    if (!waits) {
        const lm_lock_lease_t *lease = lm_lock_lease_find(look->room, record->seat.number);
        if (!lease || !lease->mine || lease->known || lease->n_told) return;
    }
    const lm_lock_party_t *party = party_of(look->room, record);
    if (is_forsaken(party))
        sim_fail(look->sim, is_ghost(look, record) ? "S11" : "S10",
                 "%s %llu is spared by the lock of %s", waits ? "wait" : "hold",
                 (ull_t)record->seat.number, look->node->name);
}

static void look_at_lock(sim_t *sim, sim_node_t *node)
{
    lm_lock_room_t *room = node->rooms[LM_LOCK].room;
    look_t look = {.sim = sim, .node = node, .room = room};
    uint64_t *since_us = &sim->watch->nodes[node->number].serves_since_us;
    if (lm_lock_room_gathers(room)) sim_probe(sim, SIM_PROBE_CROWD_WAITED);
    if (!room->serving || *since_us == 0) *since_us = room->serving ? sim->now_us : 0;
    if (room->serving && !room->grace_until_us && !room->arming.on && !room->sweep.on)
        lm_table_each(room->table, look_at_record, &look);
}

static void look_at_raft(sim_t *sim, sim_node_t *node)
{
    node_watch_t *watch = &sim->watch->nodes[node->number];
    const lm_raft_room_t *room = node->rooms[LM_RAFT].room;
    uint64_t refused = room->figures.refused[LM_RAFT_REFUSED_OLD_EPOCH];
    uint64_t before = refused < watch->refused ? 0 : watch->refused;
    if (refused - before < watch->old_frames)
        sim_fail(sim, "S24", "%s takes a frame of an older stream", node->name);
    watch->refused = refused;
    watch->old_frames = 0;
    watch->term = room->engine ? lm_raft_engine_term(room->engine) : 0;
    watch->unfit = room->engine && !lm_raft_attach_is_fit(room);
    watch->choked = lm_raft_room_leads(room) && lm_raft_propose_is_choked(room);
}

void sim_watch_look(sim_t *sim, sim_room_t *room)
{
    if (room->who == LM_LOCK) look_at_lock(sim, room->node);
    if (room->who == LM_RAFT) look_at_raft(sim, room->node);
}

void sim_watch_raft_gone(sim_t *sim, int node)
{
    sim->watch->nodes[node].term = sim->watch->nodes[node].refused = 0;
    sim->watch->nodes[node].choked = sim->watch->nodes[node].unfit = false;
}

sim_watch_t *sim_watch_new(void) { return lm_alloc(sizeof(sim_watch_t)); }

void sim_watch_free(sim_watch_t **watch)
{
    free(*watch);
    *watch = NULL;
}
