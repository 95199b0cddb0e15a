/* Hellos between regions: carried here, decided by the gateway. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base_check.h"
#include "frontend_peers_state.h"
#include "frontend_proof.h"
#include "wire_region.h"

enum { HELLO_WITHIN_US = 2000000 };

static lm_frontend_peers_t *enter(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = self;
    room->frame.now_us = message->now_us;
    room->frame.out = out;
    return room;
}

static lm_region_region_identity_t to_wire(const lm_bus_region_self_t *self)
{
    return (lm_region_region_identity_t){.region = self->region,
                                         .cluster_id = self->cluster_id,
                                         .version = self->version,
                                         .protocol = self->protocol,
                                         .node = self->node};
}

static lm_bus_region_self_t from_wire(const lm_region_region_identity_t *identity)
{
    return (lm_bus_region_self_t){.region = identity->region,
                                  .cluster_id = identity->cluster_id,
                                  .version = identity->version,
                                  .protocol = identity->protocol,
                                  .node = identity->node};
}

/* The keys by which regions prove themselves; NULL: by none. */
static lm_frontend_keys_t *keys_of(const lm_frontend_peers_t *room)
{
    const lm_bus_node_config_t *config = room->frame.config;
    if (config->region_peer_key.size > 0) {
        LM_CHECK(room->region_keys, "served before the file of region.peer_key was read");
        return room->region_keys;
    }
    bool as_nodes = config->region_peer_auth.size == 0;
    return as_nodes && lm_frontend_frame_is_keyed(&room->frame) ? room->frame.keys : NULL;
}

/* ---- to other regions ------------------------------------------------------------------------ */

static bool is_under_way(lm_frontend_peers_t *room, lm_bytes_t region)
{
    lm_frontend_hello_t *hello;
    DL_FOREACH(room->hellos, hello)
    {
        if (lm_bytes_equal(lm_bytes_of(hello->region), region)) return true;
    }
    return false;
}

static lm_bytes_t keep(lm_bytes_t bytes)
{
    return lm_bytes(memcpy(lm_alloc(bytes.size + 1), bytes.data, bytes.size), bytes.size);
}

static void send(lm_frontend_peers_t *room, lm_frontend_hello_t *hello,
                 const lm_region_hello_request_t *request)
{
    lm_bytes_t payload =
        lm_wire_encode(&lm_region_hello_request_type, request, room->frame.scratch);
    hello->handle =
        room->frame.driver->ops->call(room->frame.driver, &hello->target, LM_METHOD_REGION_HELLO,
                                      payload, room->frame.now_us + HELLO_WITHIN_US, hello);
}

/* What both sides know of a hello, for proofs; a view of its arguments. */
static lm_frontend_agreed_t agreed_of(const lm_region_region_identity_t *calling, lm_bytes_t called,
                                      const uint8_t calling_nonce[LM_NONCE_BYTES],
                                      const uint8_t called_nonce[LM_NONCE_BYTES])
{
    return (lm_frontend_agreed_t){
        7,
        {lm_bytes_of("region"), calling->region, called, calling->cluster_id, calling->node,
         lm_bytes(calling_nonce, LM_NONCE_BYTES), lm_bytes(called_nonce, LM_NONCE_BYTES)}};
}

void lm_frontend_region_on_out(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message, out);
    const lm_bus_region_hello_out_t *wanted = message->body;
    if (room->frame.stopping || !wanted->self || is_under_way(room, wanted->region)) return;
    lm_region_region_identity_t identity = to_wire(wanted->self);
    lm_frontend_hello_t *hello = lm_alloc(sizeof *hello);
    hello->target =
        lm_frontend_config_target(LM_CHANNEL_REGION, wanted->host, wanted->port, wanted->region);
    snprintf(hello->region, sizeof hello->region, "%.*s", LM_BYTES_ARG(wanted->region));
    lm_region_hello_request_t request = {.from = &identity};
    if (keys_of(room)) {
        hello->identity =
            keep(lm_wire_encode(&lm_region_region_identity_type, &identity, room->frame.scratch));
        lm_frontend_keys_nonce(keys_of(room), hello->nonce);
        request.nonce = lm_bytes(hello->nonce, LM_NONCE_BYTES);
    }
    send(room, hello, &request);
    DL_APPEND(room->hellos, hello);
}

void lm_frontend_region_free(lm_frontend_hello_t *hello)
{
    free((void *)(uintptr_t)hello->identity.data);
    free(hello);
}

static const lm_region_hello_response_t *read_response(lm_frontend_peers_t *room,
                                                       const lm_frontend_event_t *event)
{
    if (event->status != 0) return NULL;
    void *response;
    lm_rc_t code = lm_wire_decode(&lm_region_hello_response_type, lm_frontend_event_payload(event),
                                  room->frame.scratch, &response, NULL);
    return code == LM_RC_OK ? response : NULL;
}

/* The first answer: if the other region has proven itself, this one does so with the second call.
 */
static bool prove(lm_frontend_peers_t *room, lm_frontend_hello_t *hello,
                  const lm_region_hello_response_t *response)
{
    void *decoded = NULL;
    lm_rc_t code = lm_wire_decode(&lm_region_region_identity_type, hello->identity,
                                  room->frame.scratch, &decoded, NULL);
    LM_CHECK(code == LM_RC_OK, "the own identity does not survive: %s", lm_rc_name(code));
    if (!response || response->nonce.size != LM_NONCE_BYTES) return false;
    lm_frontend_agreed_t agreed =
        agreed_of(decoded, lm_bytes_of(hello->region), hello->nonce, response->nonce.data);
    if (lm_frontend_keys_check(keys_of(room), LM_PROOF_OF_CALLED, &agreed, response->proof) < 0)
        return false;
    uint8_t proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_keys_prove(keys_of(room), LM_PROOF_OF_CALLING, &agreed, proof);
    lm_region_hello_request_t request = {.from = decoded,
                                         .nonce = lm_bytes(hello->nonce, LM_NONCE_BYTES),
                                         .answered = response->nonce,
                                         .proof = lm_bytes(proof, sizeof proof)};
    hello->proven = true;
    send(room, hello, &request);
    return true;
}

void lm_frontend_region_answered(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_hello_t *hello = event->handle->owner;
    const lm_region_hello_response_t *response = read_response(room, event);
    bool first = keys_of(room) && !hello->proven;
    if (first && prove(room, hello, response)) {
        room->frame.driver->ops->drop(room->frame.driver, event->handle);
        return;
    }
    if (first && response) room->unproven++;
    const lm_region_region_identity_t *identity = response && !first ? response->from : NULL;
    lm_bus_region_hello_result_t result = {.region = lm_bytes_of(hello->region),
                                           .reachable = identity != NULL};
    lm_bus_region_self_t peer;
    if (identity) {
        peer = from_wire(identity);
        result.peer = &peer;
        result.round_trip_us = event->round_trip_us;
    } else {
        /* What another program says need not be text. */
        lm_bytes_t text = lm_bytes_of(event->text);
        bool usable = event->status != 0 && text.size && lm_bytes_are_utf8(text);
        result.problem = usable              ? text
                         : response && first ? lm_bytes_of("it has not proven that it has the key")
                                             : lm_bytes_of("its answer cannot be read");
    }
    lm_outbox_send(room->frame.out, LM_GATEWAY, LM_MSG_REGION_HELLO_RESULT, &result);
    DL_DELETE(room->hellos, hello);
    lm_frontend_region_free(hello);
    room->frame.driver->ops->drop(room->frame.driver, event->handle);
}

/* ---- from other regions ---------------------------------------------------------------------- */

static const lm_region_hello_request_t *read_request(lm_frontend_peers_t *room,
                                                     const lm_frontend_event_t *event)
{
    void *request;
    bool readable = !event->missing && !event->oversized &&
                    lm_wire_decode(&lm_region_hello_request_type, lm_frontend_event_payload(event),
                                   room->frame.scratch, &request, NULL) == LM_RC_OK;
    return readable && ((lm_region_hello_request_t *)request)->from ? request : NULL;
}

/* What the caller has said of itself in both of its calls; a view of the request. */
static lm_frontend_agreed_t said_of(const lm_region_hello_request_t *request)
{
    const lm_region_region_identity_t *from = request->from;
    return (lm_frontend_agreed_t){4, {from->region, from->cluster_id, from->node, request->nonce}};
}

/* The challenges of this room, whose secret is drawn and never sent. */
static lm_frontend_challenges_t *challenges_of(lm_frontend_peers_t *room)
{
    uint8_t secret[LM_NONCE_BYTES];
    if (!room->challenges) {
        lm_frontend_keys_nonce(keys_of(room), secret);
        room->challenges = lm_frontend_challenges_new(secret);
        explicit_bzero(secret, sizeof secret);
    }
    return room->challenges;
}

static void challenge(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                      const lm_region_hello_request_t *request)
{
    uint8_t drawn[LM_NONCE_BYTES], own_nonce[LM_NONCE_BYTES], proof[LM_TLS_DIGEST_BYTES];
    lm_frontend_agreed_t said = said_of(request);
    lm_frontend_keys_nonce(keys_of(room), drawn);
    lm_frontend_challenges_make(challenges_of(room), room->frame.now_us, &said, drawn, own_nonce);
    lm_frontend_agreed_t agreed =
        agreed_of(request->from, room->frame.config->region, request->nonce.data, own_nonce);
    lm_frontend_keys_prove(keys_of(room), LM_PROOF_OF_CALLED, &agreed, proof);
    lm_region_hello_response_t response = {.nonce = lm_bytes(own_nonce, LM_NONCE_BYTES),
                                           .proof = lm_bytes(proof, sizeof proof)};
    lm_frontend_frame_finish(
        &room->frame, handle,
        lm_wire_encode(&lm_region_hello_response_type, &response, room->frame.scratch));
}

/* Only a right answer uses a challenge up: what strangers send is never remembered. */
static bool answers_challenge(lm_frontend_peers_t *room, const lm_region_hello_request_t *request)
{
    if (request->answered.size != LM_NONCE_BYTES) return false;
    const uint8_t *own_nonce = request->answered.data;
    lm_frontend_agreed_t said = said_of(request);
    if (!lm_frontend_challenges_is_own(challenges_of(room), room->frame.now_us, &said, own_nonce))
        return false;
    lm_frontend_agreed_t agreed =
        agreed_of(request->from, room->frame.config->region, request->nonce.data, own_nonce);
    return lm_frontend_keys_check(keys_of(room), LM_PROOF_OF_CALLING, &agreed, request->proof) >=
               0 &&
           lm_frontend_challenges_use(challenges_of(room), room->frame.now_us, own_nonce);
}

static bool is_proven(lm_frontend_peers_t *room, const lm_frontend_handle_t *handle,
                      const lm_region_hello_request_t *request)
{
    if (!keys_of(room))
        return lm_frontend_proof_of(room->frame.config, handle, request->from->region);
    return request->nonce.size == LM_NONCE_BYTES && answers_challenge(room, request);
}

void lm_frontend_region_called(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_handle_t *handle = event->handle;
    const lm_region_hello_request_t *request = read_request(room, event);
    handle->owner = NULL;
    if (!request) {
        room->undecodable++;
        lm_frontend_frame_fail(&room->frame, handle,
                               &(lm_frontend_error_t){.code = LM_RC_MALFORMED});
        return;
    }
    const lm_region_region_identity_t *identity = request->from;
    bool first = keys_of(room) && request->proof.size == 0 && request->nonce.size == LM_NONCE_BYTES;
    if (first) {
        challenge(room, handle, request);
        return;
    }
    if (!is_proven(room, handle, request)) {
        room->unproven++;
        lm_frontend_peers_refused(room, handle, identity->region, LM_RC_UNAUTHENTICATED);
        lm_frontend_frame_fail(&room->frame, handle,
                               &(lm_frontend_error_t){.code = LM_RC_UNAUTHENTICATED});
        return;
    }
    room->frame.driver->ops->vouch(room->frame.driver, handle);
    lm_bus_region_self_t peer = from_wire(identity);
    lm_bus_region_hello_in_t body = {.peer = &peer};
    lm_frontend_greeting_t *greeting = lm_alloc(sizeof *greeting);
    greeting->handle = handle;
    handle->owner = greeting;
    greeting->correlation = lm_outbox_call(room->frame.out, LM_GATEWAY, LM_MSG_REGION_HELLO_IN,
                                           &body, room->frame.now_us + HELLO_WITHIN_US, 0);
    HASH_ADD(hh, room->greetings, correlation, sizeof greeting->correlation, greeting);
}

/* The call behind a correlation; NULL if it has gone. */
static lm_frontend_handle_t *take(lm_frontend_peers_t *room, uint64_t correlation)
{
    lm_frontend_greeting_t *greeting;
    HASH_FIND(hh, room->greetings, &correlation, sizeof correlation, greeting);
    if (!greeting) return NULL;
    lm_frontend_handle_t *handle = greeting->handle;
    if (handle) handle->owner = NULL;
    HASH_DEL(room->greetings, greeting);
    free(greeting);
    return handle;
}

void lm_frontend_region_on_answer(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message, out);
    const lm_bus_region_hello_answer_t *answer = message->body;
    lm_frontend_handle_t *handle = take(room, message->from.correlation);
    if (!handle) return;
    if (answer->code != LM_RC_OK || !answer->self) {
        lm_rc_t code = answer->code ? (lm_rc_t)answer->code : LM_RC_INTERNAL;
        lm_frontend_frame_fail(&room->frame, handle, &(lm_frontend_error_t){.code = code});
        return;
    }
    lm_region_region_identity_t identity = to_wire(answer->self);
    lm_region_hello_response_t response = {.from = &identity};
    lm_frontend_frame_finish(
        &room->frame, handle,
        lm_wire_encode(&lm_region_hello_response_type, &response, room->frame.scratch));
}

void lm_frontend_region_failed(lm_frontend_peers_t *room, uint64_t correlation, lm_rc_t why)
{
    (void)why;
    lm_frontend_handle_t *handle = take(room, correlation);
    if (handle)
        lm_frontend_frame_fail(&room->frame, handle,
                               &(lm_frontend_error_t){.code = LM_RC_NOT_READY});
}

void lm_frontend_region_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_greeting_t *greeting = handle->owner;
    if (greeting) greeting->handle = NULL;
    room->frame.driver->ops->drop(room->frame.driver, handle);
}
