/* Configured nodes that have no vote. Who votes was settled when the region was formed, and is
 * durable; peers only says where nodes are reached. Nodes that peers lists besides are surplus.
 *
 *   no data --a voter says that the region is there--> outside: surplus, or its data is missing
 *
 * Invariants
 *   O1  A node outside takes part in nothing: it forms no region, votes for nobody, stores nothing.
 *   O2  What it is told of a leader is used only to pass calls on, and is believed for two seconds;
 *       within these it never goes back to an earlier term. Whoever is called decides whether it
 *       leads. */
#include <stdio.h>
#include <string.h>

#include "base_log.h"
#include "raft_state.h"

/* ---- parting --------------------------------------------------------------------------------- */

static void refuse(lm_raft_room_t *room, const char *name)
{
    lm_raft_fault_t fault;
    lm_raft_fault_set(&fault, LM_EXIT_CONFIG,
                      "%s/identity is that of a region of other nodes than are configured: %s has "
                      "a vote, and peers does not list it",
                      room->data_dir, name);
    lm_raft_room_fail(room, &fault);
}

static bool is_listed(const lm_raft_room_t *room, const char *name)
{
    for (uint32_t i = 0; i < room->n_known; i++)
        if (strcmp(room->nodes[i].name, name) == 0) return true;
    return false;
}

/* Moves those that the identity has, or has not, behind the n that have been moved already. */
static uint32_t move(lm_raft_node_t *into, uint32_t n, const lm_raft_room_t *room,
                     const lm_raft_identity_t *found, bool voters)
{
    for (uint32_t i = 0; i < room->n_known; i++)
        if ((lm_raft_identity_id(found, room->nodes[i].name) != 0) == voters)
            into[n++] = room->nodes[i];
    return n;
}

bool lm_raft_outside_part(lm_raft_room_t *room, const lm_raft_identity_t *found)
{
    lm_raft_node_t parted[LM_RAFT_SERVERS_MAX];
    if (found->stage == LM_RAFT_EMPTY) return true;
    for (uint32_t i = 0; i < found->n_servers; i++) {
        if (is_listed(room, found->servers[i].name)) continue;
        refuse(room, found->servers[i].name);
        return false;
    }
    const char *self = room->nodes[room->self].name;
    if (lm_raft_identity_id(found, self) == 0) {
        lm_raft_fault_t fault;
        lm_raft_fault_set(&fault, LM_EXIT_DAMAGED, "%s/identity does not name its own node %s",
                          room->data_dir, self);
        lm_raft_room_fail(room, &fault);
        return false;
    }
    room->n_nodes = move(parted, 0, room, found, true);
    move(parted, room->n_nodes, room, found, false);
    memcpy(room->nodes, parted, room->n_known * sizeof *parted);
    for (uint32_t i = 0; i < room->n_nodes; i++)
        if (strcmp(room->nodes[i].name, found->node) == 0) room->self = i;
    for (uint32_t i = room->n_nodes; i < room->n_known; i++)
        lm_warn("peers lists %s, but the region was formed without it: it has no vote",
                room->nodes[i].name);
    return true;
}

/* ---- the side of a voter --------------------------------------------------------------------- */

void lm_raft_outside_tell(lm_raft_room_t *room, uint32_t node)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    uint64_t leader = lm_raft_engine_leader(room->engine);
    lm_peer_bootstrap_server_t voters[LM_RAFT_SERVERS_MAX];
    lm_peer_region_formed_t body = {.term = lm_raft_engine_term(room->engine),
                                    .n_voters = identity->n_servers,
                                    .voters = voters};
    for (uint32_t i = 0; i < identity->n_servers; i++) {
        const lm_raft_server_t *server = &identity->servers[i];
        voters[i] =
            (lm_peer_bootstrap_server_t){.id = server->id, .name = lm_bytes_of(server->name)};
        if (leader && server->id == leader) body.leader = lm_bytes_of(server->name);
    }
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_REGION_FORMED, .region_formed = &body};
    lm_raft_peers_send(room, node, &frame);
}

/* ---- the side of the node outside ------------------------------------------------------------ */

static bool copy_name(char into[LM_RAFT_NAME_SIZE], lm_bytes_t name)
{
    if (name.size == 0 || name.size >= LM_RAFT_NAME_SIZE) return false;
    memcpy(into, name.data, name.size);
    into[name.size] = 0;
    return true;
}

/* The speaking node must be one of those that it says have a vote, and so must the leader. */
static bool read_formed(const lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame,
                        lm_raft_outside_t *read)
{
    const lm_peer_region_formed_t *body = frame->region_formed;
    *read = (lm_raft_outside_t){.known = true, .term = body->term, .heard_us = room->now_us};
    bool speaker = false, leader = body->leader.size == 0;
    if (body->n_voters == 0 || body->n_voters > LM_RAFT_SERVERS_MAX) return false;
    if (frame->cluster_id.size == 0 || frame->cluster_id.size >= sizeof read->cluster_id)
        return false;
    memcpy(read->cluster_id, frame->cluster_id.data, frame->cluster_id.size);
    for (size_t i = 0; i < body->n_voters; i++) {
        char *name = read->voters[read->n_voters++];
        if (!copy_name(name, body->voters[i].name)) return false;
        speaker = speaker || strcmp(name, room->nodes[node].name) == 0;
        leader = leader || lm_bytes_equal(lm_bytes_of(name), body->leader);
        read->votes = read->votes || strcmp(name, room->nodes[room->self].name) == 0;
    }
    if (body->leader.size && leader) copy_name(read->leader, body->leader);
    return speaker && leader;
}

static bool is_fresh(const lm_raft_room_t *room)
{
    return room->now_us < room->outside.leader_us + LM_RAFT_OUTSIDE_US;
}

/* Of two words the one of the later term counts; in one term there is one leader at most. */
static void merge(lm_raft_room_t *room, lm_raft_outside_t *read)
{
    const lm_raft_outside_t *old = &room->outside;
    bool later = read->term > old->term || !is_fresh(room);
    read->leader_us = *read->leader ? room->now_us : 0;
    if (old->known && !later && (read->term < old->term || !*read->leader)) {
        read->term = old->term;
        read->leader_us = old->leader_us;
        memcpy(read->leader, old->leader, sizeof read->leader);
    }
    read->news = old->news || !old->known || strcmp(read->leader, old->leader) != 0;
    room->outside = *read;
}

void lm_raft_outside_heard(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame)
{
    lm_raft_outside_t read;
    if (room->phase != LM_RAFT_FORMING || lm_raft_room_identity(room)->stage != LM_RAFT_EMPTY)
        return;
    if (!read_formed(room, node, frame, &read)) {
        room->figures.refused[LM_RAFT_REFUSED_INVALID]++;
        return;
    }
    bool first = !room->outside.known;
    bool other = !first && strcmp(read.cluster_id, room->outside.cluster_id) != 0;
    if (other && is_fresh(room)) {
        room->figures.refused[LM_RAFT_REFUSED_CLUSTER]++;
        return;
    }
    merge(room, &read);
    if (!first) return;
    char problem[512];
    lm_raft_outside_problem(room, problem, sizeof problem);
    lm_warn("%s", problem);
}

/* ---- looking --------------------------------------------------------------------------------- */

const char *lm_raft_outside_leader(const lm_raft_room_t *room)
{
    return room->outside.known && is_fresh(room) ? room->outside.leader : "";
}

bool lm_raft_outside_is_surplus(const lm_raft_room_t *room)
{
    return room->outside.known && !room->outside.votes;
}

bool lm_raft_outside_counts(const lm_raft_room_t *room, const char *name)
{
    if (!room->outside.known) return true;
    for (uint32_t i = 0; i < room->outside.n_voters; i++)
        if (strcmp(room->outside.voters[i], name) == 0) return true;
    return false;
}

void lm_raft_outside_problem(const lm_raft_room_t *room, char *text, size_t size)
{
    const lm_raft_outside_t *outside = &room->outside;
    text[0] = 0;
    if (!outside->known) return;
    int used = snprintf(text, size, "the region is formed of");
    for (uint32_t i = 0; i < outside->n_voters && (size_t)used < size; i++)
        used +=
            snprintf(text + used, size - (size_t)used, "%s %s", i ? "," : "", outside->voters[i]);
    if ((size_t)used >= size) return;
    snprintf(text + used, size - (size_t)used, "%s",
             outside->votes ? ": this node has a vote in it, but its data is missing. It does not "
                              "vote, and passes calls on to the leader"
                            : ", without this node: it is surplus, has no vote, and passes calls "
                              "on to the leader");
}
