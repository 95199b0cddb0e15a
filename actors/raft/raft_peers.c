/* The other nodes: what comes from them and goes to them.
 *
 * Invariants
 *   R1  A frame is handled only if it came over a link of the node it claims to be from, on the
 *       newest stream of that node (S24), for this server, in this cluster. Every other is counted.
 *   R2  Frames go out in the order they were made. */
#include <stdio.h>

#include "base_fault.h"
#include "base_log.h"
#include "raft_state.h"

static void refuse(lm_raft_room_t *room, lm_raft_refused_t why) { room->figures.refused[why]++; }

static int node_by_name(const lm_raft_room_t *room, lm_bytes_t name)
{
    for (uint32_t i = 0; i < room->n_known; i++)
        if (lm_bytes_equal(lm_bytes_of(room->nodes[i].name), name)) return (int)i;
    return -1;
}

/* ---- going out ------------------------------------------------------------------------------- */

void lm_raft_peers_send(lm_raft_room_t *room, uint32_t node, lm_peer_frame_t *frame)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    frame->version = 1;
    frame->cluster_id = lm_bytes_of(identity->cluster_id);
    frame->from_id = room->nodes[room->self].id;
    frame->to_id = room->nodes[node].id;
    lm_bus_peer_send_t body = {
        .node = lm_bytes_of(room->nodes[node].name),
        .frame = lm_wire_encode(&lm_peer_frame_type, frame, room->scratch),
    };
    lm_outbox_send(room->out, LM_PEERS, LM_MSG_PEER_SEND, &body);
    lm_arena_reset(room->scratch);
}

void lm_raft_peers_send_to(void *self, uint64_t server_id, lm_peer_frame_t *frame)
{
    lm_raft_room_t *room = self;
    if (frame->body_case == LM_PEER_FRAME_BODY_INSTALL_SNAPSHOT) lm_raft_fetch_note_served(room);
    for (uint32_t i = 0; i < room->n_nodes; i++)
        if (room->nodes[i].id == server_id) lm_raft_peers_send(room, i, frame);
}

void lm_raft_peers_tell_identity(lm_raft_room_t *room)
{
    lm_bus_raft_member_t members[LM_RAFT_SERVERS_MAX] = {0};
    for (uint32_t i = 0; i < room->n_nodes; i++)
        members[i] = (lm_bus_raft_member_t){.server_id = room->nodes[i].id,
                                            .name = lm_bytes_of(room->nodes[i].name),
                                            .address = lm_bytes_of(room->nodes[i].address)};
    lm_bus_raft_identity_t body = {
        .cluster_id = lm_bytes_of(lm_raft_room_identity(room)->cluster_id),
        .server_id = room->nodes[room->self].id,
        .n_members = room->n_nodes,
        .members = members,
    };
    lm_outbox_send(room->out, LM_PEERS, LM_MSG_RAFT_IDENTITY, &body);
}

void lm_raft_peers_tell_state(lm_raft_room_t *room)
{
    uint64_t leader = lm_raft_engine_leader(room->engine);
    bool fit = lm_raft_attach_is_fit(room) && !lm_raft_handover_would(room);
    bool news = leader != room->node_state_leader || fit != room->said_fit;
    if (!news && room->now_us < room->node_state_us + LM_RAFT_NODE_STATE_US) return;
    room->node_state_us = room->now_us;
    room->node_state_leader = leader;
    room->said_fit = fit;
    if (leader == 0 || leader == room->nodes[room->self].id) return;
    lm_peer_node_state_t state = {.lock_ready = fit,
                                  .applied_index = room->lock.applied_index,
                                  .state_hash = room->lock.state_hash};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_NODE_STATE, .node_state = &state};
    lm_raft_peers_send_to(room, leader, &frame);
}

/* ---- coming in ------------------------------------------------------------------------------- */

static bool is_about_forming(const lm_peer_frame_t *frame)
{
    return frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_STATE ||
           frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_OFFER ||
           frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_ACCEPT ||
           frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_START ||
           frame->body_case == LM_PEER_FRAME_BODY_REGION_FORMED;
}

/* Words about forming are exchanged before there is a common cluster; what they claim is judged
 * where they are used. Those of another cluster are counted all the same. */
static void take_about_forming(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame)
{
    const char *mine = lm_raft_room_identity(room)->cluster_id;
    if (*mine && frame->cluster_id.size && !lm_bytes_equal(frame->cluster_id, lm_bytes_of(mine)))
        refuse(room, LM_RAFT_REFUSED_CLUSTER);
    bool asks = frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_STATE &&
                frame->bootstrap_state->empty && room->phase == LM_RAFT_RUNNING;
    if (frame->body_case == LM_PEER_FRAME_BODY_REGION_FORMED)
        lm_raft_outside_heard(room, node, frame);
    else if (node < room->n_nodes)
        lm_raft_forming_receive(room, node, frame);
    if (asks) lm_raft_outside_tell(room, node);
}

static bool check_member(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    if (node >= room->n_nodes)
        refuse(room, LM_RAFT_REFUSED_UNKNOWN_NODE);
    else if (identity->stage == LM_RAFT_EMPTY)
        refuse(room, LM_RAFT_REFUSED_STAGE);
    else if (!lm_bytes_equal(frame->cluster_id, lm_bytes_of(identity->cluster_id)))
        refuse(room, LM_RAFT_REFUSED_CLUSTER);
    else if (frame->from_id != room->nodes[node].id || node == room->self)
        refuse(room, LM_RAFT_REFUSED_SENDER);
    else if (frame->to_id != room->nodes[room->self].id)
        refuse(room, LM_RAFT_REFUSED_RECEIVER);
    else
        return true;
    return false;
}

static void take_node_state(lm_raft_room_t *room, uint32_t node, const lm_peer_node_state_t *state)
{
    room->nodes[node].lock_ready = state->lock_ready;
    room->nodes[node].applied_index = state->applied_index;
    room->nodes[node].state_hash = state->state_hash;
    room->nodes[node].state_at_us = room->now_us;
}

static void take_from_member(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame)
{
    if (room->phase != LM_RAFT_RUNNING) {
        /* Whoever speaks as a voter of this region proves that it has been formed. */
        lm_raft_bootstrap_member(&room->forming);
        lm_raft_forming_serve(room);
        refuse(room, LM_RAFT_REFUSED_STAGE);
        return;
    }
    if (frame->body_case == LM_PEER_FRAME_BODY_READ_PROBE)
        lm_raft_reads_probe(room, node, frame->read_probe);
    else if (frame->body_case == LM_PEER_FRAME_BODY_READ_PROBE_RESULT)
        lm_raft_reads_result(room, node, frame->read_probe_result);
    else if (frame->body_case == LM_PEER_FRAME_BODY_NODE_STATE)
        take_node_state(room, node, frame->node_state);
    else if (frame->body_case == LM_PEER_FRAME_BODY_INSTALL_SNAPSHOT)
        lm_raft_fetch_installs(room, node, frame->install_snapshot);
    else if (frame->body_case == LM_PEER_FRAME_BODY_SNAPSHOT_QUERY)
        lm_raft_fetch_queried(room, node, frame->snapshot_query);
    else if (frame->body_case == LM_PEER_FRAME_BODY_SNAPSHOT_OFFER)
        lm_raft_fetch_offered(room, node, frame->snapshot_offer);
    else if (frame->body_case == LM_PEER_FRAME_BODY_SNAPSHOT_READ)
        lm_raft_image_serve(room, node, frame->snapshot_read);
    else if (frame->body_case == LM_PEER_FRAME_BODY_SNAPSHOT_DATA)
        lm_raft_fetch_piece(room, node, frame->snapshot_data);
    else if (frame->body_case == LM_PEER_FRAME_BODY_REQUEST_VOTE && lm_raft_loss_is(room))
        refuse(room, LM_RAFT_REFUSED_LOSS);
    else if (!lm_raft_engine_receive(room->engine, frame->from_id, frame, room->now_us))
        refuse(room, LM_RAFT_REFUSED_INVALID);
}

void lm_raft_peers_on_receive(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_peer_receive_t *body = message->body;
    void *decoded = NULL;
    int node = node_by_name(room, body->node);
    if (node < 0 || (uint32_t)node == room->self) {
        refuse(room, LM_RAFT_REFUSED_UNKNOWN_NODE);
        return;
    }
    if (body->epoch < room->nodes[node].epoch && !LM_FAULT(OLD_STREAMS)) {
        refuse(room, LM_RAFT_REFUSED_OLD_EPOCH);
        return;
    }
    room->nodes[node].epoch = body->epoch;
    if (lm_wire_decode(&lm_peer_frame_type, body->frame, message->scratch, &decoded, NULL) !=
        LM_RC_OK) {
        refuse(room, LM_RAFT_REFUSED_UNDECODABLE);
        return;
    }
    const lm_peer_frame_t *frame = decoded;
    if (frame->version != 1 || frame->body_case == LM_PEER_FRAME_BODY_NONE)
        refuse(room, LM_RAFT_REFUSED_UNDECODABLE);
    else if (is_about_forming(frame))
        take_about_forming(room, (uint32_t)node, frame);
    else if (check_member(room, (uint32_t)node, frame))
        take_from_member(room, (uint32_t)node, frame);
}

void lm_raft_peers_on_link(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_peer_link_t *body = message->body;
    int node = node_by_name(room, body->node);
    if (node < 0) return;
    room->nodes[node].link_up = body->up;
    if (!room->engine || (uint32_t)node >= room->n_nodes) return;
    lm_raft_engine_link(room->engine, room->nodes[node].id, body->up);
    lm_raft_fetch_link(room, (uint32_t)node, body->up);
}

void lm_raft_peers_forget_epochs(lm_raft_room_t *room)
{
    for (uint32_t i = 0; i < room->n_known; i++) room->nodes[i].epoch = 0;
}
