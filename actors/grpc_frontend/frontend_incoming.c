/* The links from the peers: who may speak, and the epochs of their streams (S24). */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base_log.h"
#include "frontend_peers_state.h"

enum { HELLO_WITHIN_US = 5000000, WARN_EVERY_US = 1000000 };

static void end(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming, lm_rc_t why)
{
    if (incoming->peer && incoming->peer->incoming == incoming) incoming->peer->incoming = NULL;
    incoming->peer = NULL;
    if (incoming->finished) return;
    incoming->finished = true;
    if (why == LM_RC_OK)
        lm_frontend_peers_finish(room, incoming->handle, lm_bytes(NULL, 0));
    else
        lm_frontend_peers_fail(room, incoming->handle, &(lm_frontend_error_t){.code = why});
}

void lm_frontend_incoming_opened(lm_frontend_peers_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_incoming_t *incoming = lm_alloc(sizeof *incoming);
    incoming->handle = handle;
    incoming->opened_us = room->now_us;
    handle->owner = incoming;
    DL_APPEND(room->incoming, incoming);
    if (room->stopping) end(room, incoming, LM_RC_DRAINING);
}

/* At most once a second: strangers must not fill the log. */
static void warn_refused(lm_frontend_peers_t *room, const lm_peer_link_hello_t *hello, lm_rc_t code)
{
    if (room->warned_at_us && room->now_us - room->warned_at_us < WARN_EVERY_US) return;
    room->warned_at_us = room->now_us;
    lm_warn("link from %.*s refused: %s", LM_BYTES_ARG(hello ? hello->from : lm_bytes_of("?")),
            lm_rc_text(code));
}

static void accept_hello(lm_frontend_peers_t *room, lm_frontend_incoming_t *incoming,
                         const lm_peer_link_hello_t *hello)
{
    lm_rc_t code = lm_frontend_link_check(room, hello);
    if (code == LM_RC_OK && hello->cluster_id.size >= sizeof incoming->cluster_id)
        code = LM_RC_WRONG_CLUSTER;
    if (code != LM_RC_OK) {
        warn_refused(room, hello, code);
        end(room, incoming, code);
        return;
    }
    lm_frontend_peer_t *peer = lm_frontend_peers_find(room, hello->from);
    if (peer->incoming) {
        room->replaced++;
        end(room, peer->incoming, LM_RC_CANCELLED);
    }
    incoming->peer = peer;
    peer->incoming = incoming;
    incoming->epoch = (uint64_t)room->counter << 32 | ++peer->n_epochs;
    snprintf(incoming->cluster_id, sizeof incoming->cluster_id, "%.*s",
             LM_BYTES_ARG(hello->cluster_id));
    lm_peer_link_hello_t self = lm_frontend_link_self(room, hello->from);
    lm_peer_link_response_t response = {.hello = &self};
    room->driver->ops->send(room->driver, incoming->handle,
                            lm_wire_encode(&lm_peer_link_response_type, &response, room->scratch),
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
    lm_outbox_send(room->out, LM_RAFT, LM_MSG_PEER_RECEIVE, &body);
}

void lm_frontend_incoming_received(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_incoming_t *incoming = event->handle->owner;
    room->driver->ops->consumed(room->driver, event->handle, event->size);
    if (incoming->finished) return;
    void *decoded = NULL;
    lm_rc_t code = LM_RC_TOO_LARGE;
    if (!event->oversized)
        code = lm_wire_decode(&lm_peer_link_request_type, lm_frontend_event_payload(event),
                              room->scratch, &decoded, NULL);
    lm_peer_link_request_t *request = decoded;
    bool is_hello = code == LM_RC_OK && request->body_case == LM_PEER_LINK_REQUEST_BODY_HELLO;
    bool is_frame = code == LM_RC_OK && request->body_case == LM_PEER_LINK_REQUEST_BODY_FRAME;
    if (is_hello && !incoming->peer) {
        accept_hello(room, incoming, request->hello);
    } else if (is_frame && incoming->peer) {
        hand_on(room, incoming, request->frame);
    } else {
        /* Nothing readable, a frame before the hello, or a second hello. */
        if (code == LM_RC_TOO_LARGE)
            room->oversized++;
        else
            room->undecodable++;
        end(room, incoming, code == LM_RC_TOO_LARGE ? code : LM_RC_MALFORMED);
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
    if (!incoming->finished)
        lm_frontend_figures_handled(&room->figures, handle->method,
                                    lm_rc_grpc_status(LM_RC_CANCELLED));
    DL_DELETE(room->incoming, incoming);
    free(incoming);
    room->driver->ops->drop(room->driver, handle);
}

void lm_frontend_incoming_tick(lm_frontend_peers_t *room)
{
    lm_frontend_incoming_t *incoming;
    DL_FOREACH(room->incoming, incoming)
    {
        bool silent = !incoming->peer && !incoming->finished &&
                      room->now_us - incoming->opened_us > HELLO_WITHIN_US;
        if (!silent) continue;
        room->unknown_peers++;
        end(room, incoming, LM_RC_UNKNOWN_PEER);
    }
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
