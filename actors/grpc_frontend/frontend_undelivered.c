/* Grants that found nobody: to whom that is told, and what other nodes tell (S10, S13).
 *
 * Invariants
 *   FU1  A forward is reported only if its answer was not passed on, or came when the client's call
 *        was over: a grant that somebody has, or may have, must never count as unanswered (S10a).
 *        What was handed to a connection that broke may have arrived.
 *   FU2  A report is one attempt with a short deadline. Where it is lost, the hold lives at most
 *        one TTL.
 *   FU3  The edge alone numbers its forwards, so it can report also one whose answer it never
 *        saw. The node that granted remembers what the number stands for, and forgets it when it
 *        restarts. */
#include "frontend_clients_state.h"

enum { REPORT_WITHIN_US = 2000000 };

void lm_frontend_undelivered_own(lm_frontend_clients_t *room, uint64_t correlation)
{
    room->undelivered++;
    lm_bus_answer_undelivered_t body = {.correlation = correlation};
    lm_outbox_send(room->frame.out, LM_LOCK, LM_MSG_ANSWER_UNDELIVERED, &body);
}

/* ---- to other nodes -------------------------------------------------------------------------- */

void lm_frontend_undelivered_report(lm_frontend_clients_t *room, lm_frontend_hop_t hop)
{
    if (!hop.peer || room->n_reports == LM_REPORTS_MAX) return;
    lm_peer_undelivered_request_t request = {.cluster_id = lm_bytes_of(room->cluster_id),
                                             .from = room->frame.config->node,
                                             .forward_id = hop.id};
    lm_frontend_target_t target = lm_frontend_config_target(LM_CHANNEL_FORWARD, hop.peer->host,
                                                            hop.peer->raft_port, hop.peer->name);
    lm_bytes_t bytes =
        lm_wire_encode(&lm_peer_undelivered_request_type, &request, room->frame.scratch);
    bytes = lm_frontend_forward_seal(room, hop.peer->name, bytes);
    bool sent = bytes.size > 0 &&
                room->frame.driver->ops->call(room->frame.driver, &target, LM_METHOD_UNDELIVERED,
                                              bytes, room->frame.now_us + REPORT_WITHIN_US, NULL);
    if (!sent) return;
    room->n_reports++;
    room->reports++;
}

void lm_frontend_undelivered_reported(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    room->n_reports--;
    room->frame.driver->ops->drop(room->frame.driver, handle);
}

/* ---- from other nodes ------------------------------------------------------------------------ */

/* A node numbers its forwards one by one, so its newer ones take the slots of its oldest. */
static lm_frontend_given_t *slot_of(lm_frontend_clients_t *room, lm_frontend_hop_t hop)
{
    return &room->given[hop.id % LM_GIVEN_MAX];
}

void lm_frontend_undelivered_remember(lm_frontend_clients_t *room, lm_frontend_hop_t hop,
                                      uint64_t correlation)
{
    if (!hop.peer || !hop.id) return;
    *slot_of(room, hop) = (lm_frontend_given_t){.hop = hop, .correlation = correlation};
}

static void take_report(lm_frontend_clients_t *room, lm_frontend_hop_t hop)
{
    lm_frontend_given_t *given = slot_of(room, hop);
    if (given->hop.peer != hop.peer || given->hop.id != hop.id) {
        room->reports_unknown++;
        return;
    }
    lm_frontend_undelivered_own(room, given->correlation);
    *given = (lm_frontend_given_t){0};
}

void lm_frontend_undelivered_begin(lm_frontend_clients_t *room, const lm_frontend_event_t *event)
{
    void *decoded = NULL;
    lm_frontend_hop_t hop = {0};
    lm_frontend_error_t error = {.code = LM_RC_TOO_LARGE};
    if (event->oversized) {
        room->oversized++;
    } else {
        error.code =
            lm_wire_decode(&lm_peer_undelivered_request_type, lm_frontend_event_payload(event),
                           room->frame.scratch, &decoded, NULL);
        if (error.code != LM_RC_OK) room->undecodable++;
    }
    const lm_peer_undelivered_request_t *request = decoded;
    if (error.code == LM_RC_OK) {
        hop.id = request->forward_id;
        hop.peer = lm_frontend_forward_sender(room, event, request->cluster_id, request->from,
                                              &error.code);
    }
    if (error.code != LM_RC_OK) {
        lm_frontend_frame_fail(&room->frame, event->handle, &error);
        return;
    }
    take_report(room, hop);
    static const lm_peer_undelivered_response_t done;
    lm_frontend_frame_finish(
        &room->frame, event->handle,
        lm_wire_encode(&lm_peer_undelivered_response_type, &done, room->frame.scratch));
}
