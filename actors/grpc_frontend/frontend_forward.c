/* Calls between nodes: passing one on to the leader, and taking one from another node.
 *
 * A call has at most one forward whose answer it waits for. When leadership moves meanwhile, that
 * forward is cancelled and becomes the stale one: should its answer be on the wire already, it
 * still counts as the first (S13). What a forward may have granted without anybody to take it is
 * reported to that node. */
#include <stdlib.h>
#include <utlist.h>

#include "base_fault.h"
#include "frontend_clients_state.h"
#include "frontend_fields.h"
#include "frontend_proof.h"

enum { WAY_BACK_US = 30000 };

static uint64_t way_back_us(uint64_t left_us)
{
    return left_us / 8 < WAY_BACK_US ? left_us / 8 : WAY_BACK_US;
}

static lm_bytes_t forward_request(lm_frontend_call_t *call, uint64_t forward_id)
{
    lm_frontend_clients_t *room = call->room;
    uint64_t left_us = call->give_up_us - room->frame.now_us;
    lm_peer_lock_call_t body = *lm_frontend_call_request(call);
    lm_peer_call_context_t context = {.stamped = call->stamped,
                                      .stamp = call->stamp,
                                      .seen = call->seen,
                                      .forwarded = true,
                                      .identity = call->identity,
                                      .remaining_ms = (left_us - way_back_us(left_us)) / 1000};
    body.context = &context;
    lm_peer_forward_request_t request = {.cluster_id = lm_bytes_of(room->cluster_id),
                                         .from = room->frame.config->node,
                                         .call = &body,
                                         .forward_id = forward_id};
    return lm_wire_encode(&lm_peer_forward_request_type, &request, room->frame.scratch);
}

lm_bytes_t lm_frontend_forward_seal(lm_frontend_clients_t *room, lm_bytes_t node,
                                    lm_bytes_t message)
{
    if (!lm_frontend_frame_is_keyed(&room->frame)) return message;
    return lm_frontend_keys_seal(room->frame.keys, node, message, room->frame.scratch);
}

void lm_frontend_forward_to(lm_frontend_call_t *call, lm_bytes_t node)
{
    lm_frontend_clients_t *room = call->room;
    const lm_bus_peer_config_t *peer = lm_frontend_config_peer(room->frame.config, node);
    /* Its time may have run out in this very turn; then its timer is about to fire. */
    if (!peer || room->frame.now_us >= call->give_up_us) {
        lm_frontend_call_retry(call, LM_RC_NO_LEADER);
        return;
    }
    lm_frontend_target_t target =
        lm_frontend_config_target(LM_CHANNEL_FORWARD, peer->host, peer->raft_port, peer->name);
    lm_frontend_forward_t *forward = lm_alloc(sizeof *forward);
    forward->call = call;
    /* Each start of the room counts from somewhere else. */
    forward->hop = (lm_frontend_hop_t){.peer = peer, .id = room->seed[0] + ++room->n_hops};
    forward->acquires = call->method->id == LM_METHOD_ACQUIRE;
    lm_bytes_t request =
        lm_frontend_forward_seal(room, peer->name, forward_request(call, forward->hop.id));
    if (request.size)
        forward->handle = room->frame.driver->ops->call(
            room->frame.driver, &target, LM_METHOD_FORWARD, request, call->give_up_us, forward);
    if (!forward->handle) {
        free(forward);
        lm_frontend_call_retry(call, LM_RC_NO_LEADER);
        return;
    }
    DL_APPEND(room->on_their_way, forward);
    call->forward = forward;
    call->retry_at_us = 0;
    room->forwards++;
    /* A leader that falls silent is noticed by asking the own lock more often. */
    if (room->n_forwards++ == 0) lm_frontend_status_ask(room);
}

static void leave(lm_frontend_clients_t *room, lm_frontend_forward_t **forward)
{
    if (!*forward) return;
    (*forward)->call = NULL;
    room->frame.driver->ops->cancel(room->frame.driver, (*forward)->handle);
    *forward = NULL;
}

void lm_frontend_forward_leave(lm_frontend_call_t *call)
{
    leave(call->room, &call->forward);
    leave(call->room, &call->stale);
}

/* NULL: the other node gave no answer that can be read. */
static const lm_peer_lock_answer_t *read_answer(lm_frontend_clients_t *room,
                                                const lm_frontend_event_t *event)
{
    if (event->status != 0) return NULL;
    void *response;
    lm_rc_t code = lm_wire_decode(&lm_peer_forward_response_type, lm_frontend_event_payload(event),
                                  room->frame.scratch, &response, NULL);
    return code == LM_RC_OK ? ((lm_peer_forward_response_t *)response)->answer : NULL;
}

/* A refusal that carries our details was made before anything was done (S14). */
static bool is_refusal(const lm_frontend_event_t *event)
{
    return event->status != 0 && event->size > 0;
}

static void without_answer(lm_frontend_clients_t *room, lm_frontend_call_t *call,
                           const lm_frontend_event_t *event)
{
    room->forwards_failed++;
    if (!is_refusal(event) && call->changes) call->maybe_applied = true;
    lm_frontend_call_retry(call, LM_RC_NO_LEADER);
}

/* The answer of a forward that its call has left, or that has none, and may be a grant. A cancelled
 * forward does not tell: the answer may have crossed the cancellation. */
static bool may_grant(const lm_frontend_forward_t *forward, const lm_peer_lock_answer_t *answer,
                      const lm_frontend_event_t *event)
{
    if (answer) return lm_frontend_call_grants(answer);
    return forward->acquires && !is_refusal(event);
}

void lm_frontend_forward_answered(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_forward_t *forward = event->handle->owner;
    lm_frontend_call_t *call = forward->call;
    const lm_peer_lock_answer_t *answer = read_answer(room, event);
    bool is_stale = call && call->stale == forward;
    if (is_stale)
        call->stale = NULL;
    else if (call)
        call->forward = NULL;
    room->n_forwards--;
    room->frame.driver->ops->drop(room->frame.driver, event->handle);
    DL_DELETE(room->on_their_way, forward);
    lm_frontend_hop_t hop = forward->hop;
    bool grant = may_grant(forward, answer, event);
    free(forward);
    if (call && grant && answer) call->granted_at = hop;
    if (call && grant && !answer) call->in_doubt = hop;
    if (!call) {
        if (answer && grant) room->late_grants++;
        if (grant) lm_frontend_undelivered_report(room, hop);
    } else if (is_stale) {
        if (answer && answer->kind == LM_PEER_ANSWER_KIND_RESULT)
            lm_frontend_call_answer(call, answer, 0);
    } else if (answer) {
        lm_frontend_call_answer(call, answer, 0);
    } else {
        without_answer(room, call, event);
    }
}

void lm_frontend_forward_leader_changed(lm_frontend_clients_t *room)
{
    lm_bytes_t leader = lm_bytes_of(room->leader);
    for (lm_frontend_call_t *call = room->calls; call; call = call->next) {
        lm_frontend_forward_t *forward = call->forward;
        if (!forward || lm_bytes_equal(forward->hop.peer->name, leader)) continue;
        leave(room, &call->stale);
        room->frame.driver->ops->cancel(room->frame.driver, forward->handle);
        call->stale = forward;
        call->forward = NULL;
        if (call->changes) call->maybe_applied = true;
        lm_frontend_call_retry(call, LM_RC_NO_LEADER);
    }
}

/* ---- taking calls of other nodes ------------------------------------------------------------- */

static const struct {
    lm_frontend_method_id_t method;
    size_t request;
} requests[] = {
    [LM_PEER_LOCK_CALL_REQUEST_ACQUIRE] = {LM_METHOD_ACQUIRE,
                                           offsetof(lm_peer_lock_call_t, acquire)},
    [LM_PEER_LOCK_CALL_REQUEST_RELEASE] = {LM_METHOD_RELEASE,
                                           offsetof(lm_peer_lock_call_t, release)},
    [LM_PEER_LOCK_CALL_REQUEST_RENEW] = {LM_METHOD_RENEW, offsetof(lm_peer_lock_call_t, renew)},
    [LM_PEER_LOCK_CALL_REQUEST_CANCEL] = {LM_METHOD_CANCEL, offsetof(lm_peer_lock_call_t, cancel)},
    [LM_PEER_LOCK_CALL_REQUEST_GET] = {LM_METHOD_GET, offsetof(lm_peer_lock_call_t, get)},
    [LM_PEER_LOCK_CALL_REQUEST_LIST] = {LM_METHOD_LIST, offsetof(lm_peer_lock_call_t, list)},
    [LM_PEER_LOCK_CALL_REQUEST_OPEN_SESSION] = {LM_METHOD_OPEN_SESSION,
                                                offsetof(lm_peer_lock_call_t, open_session)},
    [LM_PEER_LOCK_CALL_REQUEST_KEEP_ALIVE] = {LM_METHOD_KEEP_ALIVE,
                                              offsetof(lm_peer_lock_call_t, keep_alive)},
    [LM_PEER_LOCK_CALL_REQUEST_CLOSE_SESSION] = {LM_METHOD_CLOSE_SESSION,
                                                 offsetof(lm_peer_lock_call_t, close_session)},
    [LM_PEER_LOCK_CALL_REQUEST_GET_SESSION] = {LM_METHOD_GET_SESSION,
                                               offsetof(lm_peer_lock_call_t, get_session)},
    [LM_PEER_LOCK_CALL_REQUEST_LIST_SESSIONS] = {LM_METHOD_LIST_SESSIONS,
                                                 offsetof(lm_peer_lock_call_t, list_sessions)},
};

static bool is_proven(const lm_frontend_clients_t *room, const lm_frontend_event_t *event,
                      lm_bytes_t from)
{
    if (lm_frontend_frame_is_keyed(&room->frame))
        return lm_frontend_keys_accept(room->frame.keys, from, lm_frontend_event_payload(event));
    return lm_frontend_proof_of(room->frame.config, event->handle, from);
}

const lm_bus_peer_config_t *lm_frontend_forward_sender(lm_frontend_clients_t *room,
                                                       const lm_frontend_event_t *event,
                                                       lm_bytes_t cluster_id, lm_bytes_t from,
                                                       lm_rc_t *why)
{
    if (!is_proven(room, event, from)) {
        lm_frontend_access_not_a_node(room, event->handle, from);
        *why = LM_RC_UNAUTHENTICATED;
        return NULL;
    }
    bool other = cluster_id.size && room->cluster_id[0] &&
                 !lm_bytes_equal(cluster_id, lm_bytes_of(room->cluster_id));
    if (other) {
        room->wrong_cluster++;
        *why = LM_RC_WRONG_CLUSTER;
        return NULL;
    }
    const lm_bus_peer_config_t *peer = lm_frontend_config_peer(room->frame.config, from);
    *why = LM_RC_OK;
    if (peer && !lm_bytes_equal(from, room->frame.config->node)) {
        room->frame.driver->ops->vouch(room->frame.driver, event->handle);
        return peer;
    }
    room->unknown_peers++;
    *why = LM_RC_UNKNOWN_PEER;
    return NULL;
}

static lm_rc_t check_call(lm_frontend_clients_t *room, const lm_peer_lock_call_t *call,
                          lm_frontend_error_t *error)
{
    *error = (lm_frontend_error_t){.code = LM_RC_MALFORMED};
    if (!call || call->request_case < LM_PEER_LOCK_CALL_REQUEST_ACQUIRE) return LM_RC_MALFORMED;
    const void *request =
        *(void *const *)(const void *)((const char *)call + requests[call->request_case].request);
    if (!request) return LM_RC_MALFORMED;
    *error = (lm_frontend_error_t){0};
    return lm_frontend_fields_check(requests[call->request_case].method, request,
                                    room->frame.scratch, error);
}

const lm_peer_lock_call_t *lm_frontend_forward_accept(lm_frontend_clients_t *room,
                                                      lm_frontend_event_t *event,
                                                      lm_frontend_hop_t *from)
{
    void *decoded = NULL;
    lm_frontend_error_t error = {.code = LM_RC_TOO_LARGE};
    if (event->oversized) {
        room->oversized++;
    } else {
        error.code = lm_wire_decode(&lm_peer_forward_request_type, lm_frontend_event_payload(event),
                                    room->frame.scratch, &decoded, NULL);
        if (error.code != LM_RC_OK) room->undecodable++;
    }
    lm_peer_forward_request_t *request = decoded;
    if (error.code == LM_RC_OK) {
        from->id = request->forward_id;
        from->peer = lm_frontend_forward_sender(room, event, request->cluster_id, request->from,
                                                &error.code);
    }
    if (error.code == LM_RC_OK) check_call(room, request->call, &error);
    if (error.code == LM_RC_OK) return request->call;
    lm_frontend_frame_fail(&room->frame, event->handle, &error);
    return NULL;
}
