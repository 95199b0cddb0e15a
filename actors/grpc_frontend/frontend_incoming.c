/* The links from the peers: who may speak, and the epochs of their streams (S24). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base_fault.h"
#include "base_log.h"
#include "frontend_peers_state.h"
#include "frontend_proof.h"

enum { HELLO_WITHIN_US = 5000000 };

static void end(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming, lm_rc_t why)
{
    if (incoming->peer && incoming->peer->incoming == incoming) incoming->peer->incoming = NULL;
    incoming->peer = NULL;
    if (incoming->finished) return;
    incoming->finished = true;
    if (why == LM_RC_OK)
        lm_frontend_frame_finish(&room->frame, incoming->handle, lm_bytes(NULL, 0));
    else
        lm_frontend_frame_fail(&room->frame, incoming->handle, &(lm_frontend_error_t){.code = why});
}

void lm_frontend_incoming_opened(lm_frontend_peers_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_incoming_t *incoming = lm_alloc(sizeof *incoming);
    incoming->handle = handle;
    incoming->opened_us = room->frame.now_us;
    handle->owner = incoming;
    DL_APPEND(room->incoming, incoming);
    if (room->frame.stopping) end(room, incoming, LM_RC_DRAINING);
}

/* From now on it is that peer's link, and its frames are handed on. */
static void join(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming,
                 lm_frontend_peer_t *peer)
{
    if (peer->incoming && !LM_FAULT(OLD_STREAMS)) {
        room->replaced++;
        end(room, peer->incoming, LM_RC_CANCELLED);
    }
    incoming->peer = peer;
    peer->incoming = incoming;
    room->frame.driver->ops->vouch(room->frame.driver, incoming->handle);
    incoming->epoch = (uint64_t)room->counter << 32 | ++peer->n_epochs;
    lm_frontend_link_knocked(room, peer);
}

static lm_frontend_agreed_t agreed_of(const lm_frontend_peers_t *room,
                                      const lm_frontend_incoming_t *incoming)
{
    return lm_frontend_link_agreed(room, incoming->claims->config->name, room->frame.config->node,
                                   incoming->cluster_id, incoming->own_cluster_id, incoming->nonce,
                                   incoming->own_nonce);
}

/* Adds nonce and proof to the own hello; who calls has to prove itself next. */
static void challenge(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming,
                      lm_frontend_peer_t *claims, const lm_peer_link_hello_t *hello,
                      lm_peer_link_hello_t *self, uint8_t proof[LM_TLS_DIGEST_BYTES])
{
    incoming->claims = claims;
    memcpy(incoming->nonce, hello->nonce.data, LM_NONCE_BYTES);
    lm_frontend_keys_nonce(room->frame.keys, incoming->own_nonce);
    snprintf(incoming->own_cluster_id, sizeof incoming->own_cluster_id, "%.*s",
             LM_BYTES_ARG(self->cluster_id));
    lm_frontend_agreed_t agreed = agreed_of(room, incoming);
    lm_frontend_keys_prove(room->frame.keys, LM_PROOF_OF_CALLED, &agreed, proof);
    self->nonce = lm_bytes(incoming->own_nonce, LM_NONCE_BYTES);
    self->proof = lm_bytes(proof, LM_TLS_DIGEST_BYTES);
}

static void accept_proof(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming,
                         lm_bytes_t proof)
{
    lm_frontend_agreed_t agreed = agreed_of(room, incoming);
    lm_bytes_t name = incoming->claims->config->name;
    int key = lm_frontend_keys_check(room->frame.keys, LM_PROOF_OF_CALLING, &agreed, proof);
    if (key < 0) {
        room->unproven++;
        lm_frontend_peers_refused(room, incoming->handle, name, LM_RC_UNAUTHENTICATED);
        end(room, incoming, LM_RC_UNAUTHENTICATED);
        return;
    }
    lm_frontend_keys_open(room->frame.keys, name, false, (size_t)key, &agreed);
    join(room, incoming, incoming->claims);
}

static bool has_proof(const lm_frontend_peers_t *room, const lm_frontend_incoming_t *incoming,
                      const lm_peer_link_hello_t *hello)
{
    if (lm_frontend_frame_is_keyed(&room->frame)) return hello->nonce.size == LM_NONCE_BYTES;
    return lm_frontend_proof_of(room->frame.config, incoming->handle, hello->from);
}

static void accept_hello(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming,
                         const lm_peer_link_hello_t *hello)
{
    lm_rc_t code = lm_frontend_link_check(room, hello);
    if (code == LM_RC_OK && !has_proof(room, incoming, hello)) {
        room->unproven++;
        code = LM_RC_UNAUTHENTICATED;
    }
    if (code == LM_RC_OK && hello->cluster_id.size >= sizeof incoming->cluster_id)
        code = LM_RC_WRONG_CLUSTER;
    if (code != LM_RC_OK) {
        lm_frontend_peers_refused(room, incoming->handle, hello ? hello->from : lm_bytes(NULL, 0),
                                  code);
        end(room, incoming, code);
        return;
    }
    lm_frontend_peer_t *peer = lm_frontend_peers_find(room, hello->from);
    snprintf(incoming->cluster_id, sizeof incoming->cluster_id, "%.*s",
             LM_BYTES_ARG(hello->cluster_id));
    lm_peer_link_hello_t self = lm_frontend_link_self(room, hello->from);
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    if (lm_frontend_frame_is_keyed(&room->frame))
        challenge(room, incoming, peer, hello, &self, proof);
    else
        join(room, incoming, peer);
    lm_peer_link_response_t response = {.hello = &self};
    room->frame.driver->ops->send(
        room->frame.driver, incoming->handle,
        lm_wire_encode(&lm_peer_link_response_type, &response, room->frame.scratch),
        LM_CLIENT_QUEUE_BYTES_MAX);
}

static void hand_on(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming, lm_bytes_t frame)
{
    if (frame.size == 0 || frame.size > LM_FRAME_BYTES_MAX) {
        room->oversized++;
        end(room, incoming, LM_RC_TOO_LARGE);
        return;
    }
    incoming->peer->frames_in++;
    lm_bus_peer_receive_t body = {
        .node = incoming->peer->config->name, .epoch = incoming->epoch, .frame = frame};
    lm_outbox_send(room->frame.out, LM_RAFT, LM_MSG_PEER_RECEIVE, &body);
}

void lm_frontend_incoming_received(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_incoming_t *incoming = event->handle->owner;
    room->frame.driver->ops->consumed(room->frame.driver, event->handle, event->size);
    if (incoming->finished) return;
    void *decoded = NULL;
    lm_rc_t code = LM_RC_TOO_LARGE;
    if (!event->oversized)
        code = lm_wire_decode(&lm_peer_link_request_type, lm_frontend_event_payload(event),
                              room->frame.scratch, &decoded, NULL);
    lm_peer_link_request_t *request = decoded;
    bool is_hello = code == LM_RC_OK && request->body_case == LM_PEER_LINK_REQUEST_BODY_HELLO;
    bool is_frame = code == LM_RC_OK && request->body_case == LM_PEER_LINK_REQUEST_BODY_FRAME;
    bool is_proof = code == LM_RC_OK && request->body_case == LM_PEER_LINK_REQUEST_BODY_PROOF;
    if (is_hello && !incoming->peer && !incoming->claims) {
        accept_hello(room, incoming, request->hello);
    } else if (is_proof && incoming->claims && !incoming->peer) {
        accept_proof(room, incoming, request->proof);
    } else if (is_frame && incoming->peer) {
        hand_on(room, incoming, request->frame);
    } else {
        /* Nothing readable, a frame before hello and proof, or a second one of these. */
        if (is_frame && incoming->claims) {
            room->unproven++;
            code = LM_RC_UNAUTHENTICATED;
            lm_frontend_peers_refused(room, incoming->handle, incoming->claims->config->name, code);
        } else if (code == LM_RC_TOO_LARGE) {
            room->oversized++;
        } else {
            room->undecodable++;
            code = LM_RC_MALFORMED;
        }
        end(room, incoming, code);
    }
}

void lm_frontend_incoming_half_closed(lm_frontend_peers_t *room, lm_frontend_handle_t *handle)
{
    end(room, handle->owner, LM_RC_OK);
}

void lm_frontend_incoming_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_incoming_t *incoming = handle->owner;
    if (incoming->peer && incoming->peer->incoming == incoming) incoming->peer->incoming = NULL;
    DL_DELETE(room->incoming, incoming);
    free(incoming);
    room->frame.driver->ops->drop(room->frame.driver, handle);
}

void lm_frontend_incoming_tick(lm_frontend_peers_t *room)
{
    lm_frontend_incoming_t *incoming;
    DL_FOREACH(room->incoming, incoming)
    {
        bool silent = !incoming->peer && !incoming->finished &&
                      room->frame.now_us - incoming->opened_us > HELLO_WITHIN_US;
        if (!silent) continue;
        room->unknown_peers++;
        end(room, incoming, LM_RC_UNKNOWN_PEER);
    }
}

bool lm_frontend_incoming_is_settled(const lm_frontend_peers_t *room)
{
    const lm_frontend_incoming_t *incoming;
    DL_FOREACH(room->incoming, incoming)
    if (!incoming->peer && !incoming->finished) return false;
    return true;
}

void lm_frontend_incoming_recheck(lm_frontend_peers_t *room)
{
    lm_bytes_t own = room->identity->cluster_id;
    lm_frontend_incoming_t *incoming;
    DL_FOREACH(room->incoming, incoming)
    {
        lm_bytes_t theirs = lm_bytes_of(incoming->cluster_id);
        if (!incoming->peer || !own.size || !theirs.size || lm_bytes_equal(own, theirs)) continue;
        room->wrong_cluster++;
        end(room, incoming, LM_RC_WRONG_CLUSTER);
    }
}

void lm_frontend_incoming_end_all(lm_frontend_peers_t *room, lm_rc_t why)
{
    lm_frontend_incoming_t *incoming;
    DL_FOREACH(room->incoming, incoming) end(room, incoming, why);
}
