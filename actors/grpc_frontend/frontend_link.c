/* The links to the peers: one stream to each, which carries frames from here to there.
 *
 *   WAITING --time--> OPENING --hello answered--> UP
 *      ^                 |                         |
 *      +------over-------+--stuck, not listened----+--> ENDING --over--> WAITING
 *
 * A peer that comes back opens its link to here first: then it is there, with whatever address it
 * has now, and WAITING is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_log.h"
#include "frontend_peers_state.h"

enum {
    HELLO_WITHIN_US = 2000000,
    CONNECT_FIRST_US = 3000000, /* a query that was lost is repeated soon, */
    CONNECT_LAST_US = 32000000, /* and a slow name server gets more time */
    STALLED_US = 2000000,
    BACKOFF_FIRST_US = 100000,
    BACKOFF_LAST_US = 500000,
    IN_VAIN_US = 100000,  /* on a network in order a link is up within a few milliseconds, */
    LOOKING_US = 1000000, /* and what has not failed after this waits for a name server */
    HELLO_VERSION = 1,
};

static void set_state(lm_frontend_peers_t *room, lm_frontend_peer_t *peer,
                      lm_frontend_link_state_t state)
{
    peer->state = state;
    peer->since_us = room->frame.now_us;
}

static void tell(lm_frontend_peers_t *room, lm_frontend_peer_t *peer, bool up)
{
    peer->told_up = up;
    lm_bus_peer_link_t body = {.node = peer->config->name, .up = up};
    if (up) {
        body.server_id = peer->server_id;
        body.cluster_id = lm_bytes_of(peer->cluster_id);
    }
    lm_outbox_send(room->frame.out, LM_RAFT, LM_MSG_PEER_LINK, &body);
}

void lm_frontend_link_tell_all(lm_frontend_peers_t *room)
{
    for (size_t i = 0; i < room->n_peers; i++)
        if (room->peers[i].state == LM_LINK_UP) tell(room, &room->peers[i], true);
}

/* ---- hello ----------------------------------------------------------------------------------- */

lm_peer_link_hello_t lm_frontend_link_self(const lm_frontend_peers_t *room, lm_bytes_t to)
{
    return (lm_peer_link_hello_t){
        .version = HELLO_VERSION,
        .region = room->frame.config->region,
        .from = room->frame.config->node,
        .to = to,
        .cluster_id = room->identity ? room->identity->cluster_id : lm_bytes(NULL, 0),
        .server_id = room->identity ? room->identity->server_id : 0};
}

/* A node that the group knows under another number is not that node. */
static bool has_wrong_id(const lm_frontend_peers_t *room, const lm_peer_link_hello_t *hello)
{
    if (!room->identity || hello->server_id == 0) return false;
    for (size_t i = 0; i < room->identity->n_members; i++) {
        const lm_bus_raft_member_t *member = &room->identity->members[i];
        if (lm_bytes_equal(member->name, hello->from) && member->server_id != 0)
            return member->server_id != hello->server_id;
    }
    return false;
}

lm_rc_t lm_frontend_link_check(lm_frontend_peers_t *room, const lm_peer_link_hello_t *hello)
{
    if (!hello || hello->version != HELLO_VERSION) {
        room->undecodable++;
        return LM_RC_MALFORMED;
    }
    if (!lm_bytes_equal(hello->region, room->frame.config->region)) {
        room->wrong_region++;
        return LM_RC_WRONG_CLUSTER;
    }
    lm_bytes_t own = room->identity ? room->identity->cluster_id : lm_bytes(NULL, 0);
    if (own.size && hello->cluster_id.size && !lm_bytes_equal(own, hello->cluster_id)) {
        room->wrong_cluster++;
        return LM_RC_WRONG_CLUSTER;
    }
    bool known = lm_bytes_equal(hello->to, room->frame.config->node) &&
                 lm_frontend_peers_find(room, hello->from) && !has_wrong_id(room, hello);
    if (known) return LM_RC_OK;
    room->unknown_peers++;
    return LM_RC_UNKNOWN_PEER;
}

lm_frontend_agreed_t lm_frontend_link_agreed(const lm_frontend_peers_t *room, lm_bytes_t calling,
                                             lm_bytes_t called, const char *calling_cluster,
                                             const char *called_cluster,
                                             const uint8_t calling_nonce[LM_NONCE_BYTES],
                                             const uint8_t called_nonce[LM_NONCE_BYTES])
{
    return (lm_frontend_agreed_t){
        8,
        {lm_bytes_of("link"), room->frame.config->region, calling, called,
         lm_bytes_of(calling_cluster), lm_bytes_of(called_cluster),
         lm_bytes(calling_nonce, LM_NONCE_BYTES), lm_bytes(called_nonce, LM_NONCE_BYTES)}};
}

static void send_hello(lm_frontend_peers_t *room, lm_frontend_peer_t *peer)
{
    lm_peer_link_hello_t hello = lm_frontend_link_self(room, peer->config->name);
    if (lm_frontend_frame_is_keyed(&room->frame)) {
        snprintf(peer->own_cluster_id, sizeof peer->own_cluster_id, "%.*s",
                 LM_BYTES_ARG(hello.cluster_id));
        lm_frontend_keys_nonce(room->frame.keys, peer->own_nonce);
        hello.nonce = lm_bytes(peer->own_nonce, sizeof peer->own_nonce);
    }
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                      .hello = &hello};
    lm_bytes_t bytes = lm_wire_encode(&lm_peer_link_request_type, &request, room->frame.scratch);
    room->frame.driver->ops->send(room->frame.driver, peer->handle, bytes, LM_LINK_QUEUE_BYTES_MAX);
}

static void open_link(lm_frontend_peers_t *room, lm_frontend_peer_t *peer)
{
    lm_frontend_target_t target = lm_frontend_config_target(
        LM_CHANNEL_FRESH, peer->config->host, peer->config->raft_port, peer->config->name);
    peer->handle = room->frame.driver->ops->open(room->frame.driver, &target, LM_METHOD_LINK, peer);
    set_state(room, peer, LM_LINK_OPENING);
    peer->said_us = 0;
    peer->connect_within_us = room->connect_within_us ? room->connect_within_us : CONNECT_FIRST_US;
    peer->opened++;
    send_hello(room, peer);
}

static void end_link(lm_frontend_peers_t *room, lm_frontend_peer_t *peer, const char *why)
{
    if (peer->state != LM_LINK_OPENING && peer->state != LM_LINK_UP) return;
    if (peer->told_up) tell(room, peer, false);
    snprintf(peer->problem, sizeof peer->problem, "%s", why);
    lm_warn("link to %.*s ended: %s", LM_BYTES_ARG(peer->config->name), why);
    set_state(room, peer, LM_LINK_ENDING);
    room->frame.driver->ops->cancel(room->frame.driver, peer->handle);
}

/* Checks the other's proof and sends the own one. */
static bool prove(lm_frontend_peers_t *room, lm_frontend_peer_t *peer,
                  const lm_peer_link_hello_t *hello)
{
    if (hello->nonce.size != LM_NONCE_BYTES) return false;
    lm_frontend_agreed_t agreed = lm_frontend_link_agreed(
        room, room->frame.config->node, peer->config->name, peer->own_cluster_id, peer->cluster_id,
        peer->own_nonce, hello->nonce.data);
    if (lm_frontend_keys_check(room->frame.keys, LM_PROOF_OF_CALLED, &agreed, hello->proof) < 0)
        return false;
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(room->frame.keys, LM_PROOF_OF_CALLING, &agreed, proof);
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_PROOF,
                                      .proof = lm_bytes(proof, sizeof proof)};
    lm_bytes_t bytes = lm_wire_encode(&lm_peer_link_request_type, &request, room->frame.scratch);
    room->frame.driver->ops->send(room->frame.driver, peer->handle, bytes, LM_LINK_QUEUE_BYTES_MAX);
    lm_frontend_keys_open(room->frame.keys, peer->config->name, true, 0, &agreed);
    return true;
}

static void answered(lm_frontend_peers_t *room, lm_frontend_peer_t *peer,
                     const lm_peer_link_hello_t *hello)
{
    lm_rc_t code = lm_frontend_link_check(room, hello);
    if (code == LM_RC_OK && !lm_bytes_equal(hello->from, peer->config->name))
        code = LM_RC_UNKNOWN_PEER;
    if (code != LM_RC_OK) {
        end_link(room, peer, lm_rc_text(code));
        return;
    }
    peer->server_id = hello->server_id;
    snprintf(peer->cluster_id, sizeof peer->cluster_id, "%.*s", LM_BYTES_ARG(hello->cluster_id));
    if (lm_frontend_frame_is_keyed(&room->frame) && !prove(room, peer, hello)) {
        room->unproven++;
        end_link(room, peer, "it has not proven that it has the key");
        return;
    }
    peer->backoff_us = BACKOFF_FIRST_US;
    peer->problem[0] = 0;
    set_state(room, peer, LM_LINK_UP);
    lm_info("link to %.*s is up", LM_BYTES_ARG(peer->config->name));
    tell(room, peer, true);
}

void lm_frontend_link_received(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_peer_t *peer = event->handle->owner;
    room->frame.driver->ops->consumed(room->frame.driver, event->handle, event->size);
    if (peer->state != LM_LINK_OPENING) return;
    void *decoded = NULL;
    lm_rc_t code = lm_wire_decode(&lm_peer_link_response_type, lm_frontend_event_payload(event),
                                  room->frame.scratch, &decoded, NULL);
    lm_peer_link_response_t *response = decoded;
    answered(room, peer, code == LM_RC_OK ? response->hello : NULL);
}

/* ---- the end of a link, and the next one ----------------------------------------------------- */

/* Spread over a quarter of the time, so that peers do not knock in step. */
static uint64_t spread(lm_frontend_peers_t *room, uint64_t us)
{
    room->seed = room->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return us - us / 4 + (room->seed >> 33) % (us / 4 + 1);
}

void lm_frontend_link_over(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_peer_t *peer = event->handle->owner;
    if (peer->told_up) tell(room, peer, false);
    bool ended_here = peer->state == LM_LINK_ENDING || room->frame.stopping;
    if (!ended_here && strcmp(peer->problem, event->text) != 0) {
        snprintf(peer->problem, sizeof peer->problem, "%s", event->text);
        lm_warn("no link to %.*s: %s", LM_BYTES_ARG(peer->config->name), event->text);
    }
    room->frame.driver->ops->drop(room->frame.driver, event->handle);
    peer->handle = NULL;
    set_state(room, peer, LM_LINK_WAITING);
    peer->retry_at_us = room->frame.now_us + spread(room, peer->backoff_us);
    peer->backoff_us =
        2 * peer->backoff_us < BACKOFF_LAST_US ? 2 * peer->backoff_us : BACKOFF_LAST_US;
}

/* As long as the hello waits there is no connection. gRPC ends attempts to make one in time, but it
 * waits for the name server. */
static void wait_for_hello(lm_frontend_peers_t *room, lm_frontend_peer_t *peer)
{
    uint64_t now_us = room->frame.now_us;
    if (!peer->said_us &&
        !room->frame.driver->ops->stalled(room->frame.driver, peer->handle, now_us))
        peer->said_us = now_us;
    if (peer->said_us) {
        if (now_us - peer->said_us > HELLO_WITHIN_US) end_link(room, peer, "it does not answer");
        return;
    }
    if (now_us - peer->since_us <= peer->connect_within_us) return;
    end_link(room, peer, "no connection, and its name may not be known yet");
    uint64_t more_us = 4 * peer->connect_within_us;
    if (more_us > CONNECT_LAST_US) more_us = CONNECT_LAST_US;
    if (room->connect_within_us < more_us) room->connect_within_us = more_us;
}

static void look_after(lm_frontend_peers_t *room, lm_frontend_peer_t *peer)
{
    switch (peer->state) {
    case LM_LINK_WAITING:
        if (peer->backoff_us == 0) peer->backoff_us = BACKOFF_FIRST_US;
        if (room->frame.now_us >= peer->retry_at_us && !room->frame.stopping) open_link(room, peer);
        break;
    case LM_LINK_OPENING: wait_for_hello(room, peer); break;
    case LM_LINK_UP:
        if (room->frame.now_us > STALLED_US &&
            room->frame.driver->ops->stalled(room->frame.driver, peer->handle,
                                             room->frame.now_us - STALLED_US))
            end_link(room, peer, "it does not take what is written");
        break;
    case LM_LINK_ENDING: break;
    }
}

/* An attempt that may still be on its way to an address that the other has no more. One whose hello
 * has been written has a connection: two nodes far from each other, both of which open their links,
 * would end them for each other's knocks time and again. */
static bool is_in_vain(const lm_frontend_peers_t *room, const lm_frontend_peer_t *peer)
{
    uint64_t now_us = room->frame.now_us, for_us = now_us - peer->since_us;
    return peer->state == LM_LINK_OPENING && for_us > IN_VAIN_US && for_us < LOOKING_US &&
           room->frame.driver->ops->stalled(room->frame.driver, peer->handle, now_us);
}

void lm_frontend_link_knocked(lm_frontend_peers_t *room, lm_frontend_peer_t *peer)
{
    if (is_in_vain(room, peer)) end_link(room, peer, "it is back, and is looked up anew");
    if (peer->state == LM_LINK_UP || peer->state == LM_LINK_OPENING) return;
    peer->backoff_us = 0;
    peer->retry_at_us = room->frame.now_us;
    if (peer->state == LM_LINK_WAITING) look_after(room, peer);
}

void lm_frontend_link_tick(lm_frontend_peers_t *room)
{
    for (size_t i = 0; i < room->n_peers; i++) look_after(room, &room->peers[i]);
}

bool lm_frontend_link_is_settled(const lm_frontend_peers_t *room)
{
    for (size_t i = 0; i < room->n_peers; i++)
        if (room->peers[i].state != LM_LINK_UP) return false;
    return true;
}

/* ---- frames ---------------------------------------------------------------------------------- */

void lm_frontend_link_on_send(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = self;
    room->frame.out = out;
    room->frame.now_us = message->now_us;
    const lm_bus_peer_send_t *send = message->body;
    lm_frontend_peer_t *peer = lm_frontend_peers_find(room, send->node);
    if (!peer) {
        room->unknown_peers++;
        return;
    }
    bool sent = false;
    if (peer->state == LM_LINK_UP && send->frame.size <= LM_FRAME_BYTES_MAX) {
        lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_FRAME,
                                          .frame = send->frame};
        lm_bytes_t bytes =
            lm_wire_encode(&lm_peer_link_request_type, &request, room->frame.scratch);
        sent = room->frame.driver->ops->send(room->frame.driver, peer->handle, bytes,
                                             LM_LINK_QUEUE_BYTES_MAX);
    }
    if (sent)
        peer->frames_out++;
    else
        peer->dropped++;
}
