/* Hellos between regions: carried here, decided by the gateway. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "frontend_peers_state.h"
#include "wire_region.h"

enum { HELLO_WITHIN_US = 2000000 };

static lm_frontend_peers_t *enter(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = self;
    room->now_us = message->now_us;
    room->out = out;
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

void lm_frontend_region_on_out(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_peers_t *room = enter(self, message, out);
    const lm_bus_region_hello_out_t *wanted = message->body;
    if (room->stopping || !wanted->self || is_under_way(room, wanted->region)) return;
    lm_region_region_identity_t identity = to_wire(wanted->self);
    lm_region_hello_request_t request = {.from = &identity};
    lm_bytes_t payload = lm_wire_encode(&lm_region_hello_request_type, &request, room->scratch);
    lm_frontend_target_t target =
        lm_frontend_config_target(LM_CHANNEL_REGION, wanted->host, wanted->port);
    lm_frontend_hello_t *hello = lm_alloc(sizeof *hello);
    snprintf(hello->region, sizeof hello->region, "%.*s", LM_BYTES_ARG(wanted->region));
    hello->handle = room->driver->ops->call(room->driver, &target, LM_METHOD_REGION_HELLO, payload,
                                            room->now_us + HELLO_WITHIN_US, hello);
    DL_APPEND(room->hellos, hello);
}

static const lm_region_region_identity_t *read_identity(lm_frontend_peers_t *room,
                                                        const lm_frontend_event_t *event)
{
    if (event->status != 0) return NULL;
    void *response;
    lm_rc_t code = lm_wire_decode(&lm_region_hello_response_type, lm_frontend_event_payload(event),
                                  room->scratch, &response, NULL);
    return code == LM_RC_OK ? ((lm_region_hello_response_t *)response)->from : NULL;
}

void lm_frontend_region_answered(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_hello_t *hello = event->handle->owner;
    const lm_region_region_identity_t *identity = read_identity(room, event);
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
        result.problem = usable ? text : lm_bytes_of("its answer cannot be read");
    }
    lm_outbox_send(room->out, LM_GATEWAY, LM_MSG_REGION_HELLO_RESULT, &result);
    DL_DELETE(room->hellos, hello);
    free(hello);
    room->driver->ops->drop(room->driver, event->handle);
}

/* ---- from other regions ---------------------------------------------------------------------- */

static const lm_region_region_identity_t *read_request(lm_frontend_peers_t *room,
                                                       const lm_frontend_event_t *event)
{
    void *request;
    bool readable = !event->missing && !event->oversized &&
                    lm_wire_decode(&lm_region_hello_request_type, lm_frontend_event_payload(event),
                                   room->scratch, &request, NULL) == LM_RC_OK;
    return readable ? ((lm_region_hello_request_t *)request)->from : NULL;
}

void lm_frontend_region_called(lm_frontend_peers_t *room, lm_frontend_event_t *event)
{
    lm_frontend_handle_t *handle = event->handle;
    const lm_region_region_identity_t *identity = read_request(room, event);
    handle->owner = NULL;
    if (!identity) {
        room->undecodable++;
        lm_frontend_peers_fail(room, handle, &(lm_frontend_error_t){.code = LM_RC_MALFORMED});
        return;
    }
    lm_bus_region_self_t peer = from_wire(identity);
    lm_bus_region_hello_in_t body = {.peer = &peer};
    lm_frontend_greeting_t *greeting = lm_alloc(sizeof *greeting);
    greeting->handle = handle;
    handle->owner = greeting;
    greeting->correlation = lm_outbox_call(room->out, LM_GATEWAY, LM_MSG_REGION_HELLO_IN, &body,
                                           room->now_us + HELLO_WITHIN_US, 0);
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
        lm_frontend_peers_fail(room, handle, &(lm_frontend_error_t){.code = code});
        return;
    }
    lm_region_region_identity_t identity = to_wire(answer->self);
    lm_region_hello_response_t response = {.from = &identity};
    lm_frontend_peers_finish(
        room, handle, lm_wire_encode(&lm_region_hello_response_type, &response, room->scratch));
}

void lm_frontend_region_failed(lm_frontend_peers_t *room, uint64_t correlation, lm_rc_t why)
{
    (void)why;
    lm_frontend_handle_t *handle = take(room, correlation);
    if (handle)
        lm_frontend_peers_fail(room, handle, &(lm_frontend_error_t){.code = LM_RC_NOT_READY});
}

void lm_frontend_region_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_greeting_t *greeting = handle->owner;
    if (greeting) {
        lm_frontend_figures_handled(&room->figures, handle->method,
                                    lm_rc_grpc_status(LM_RC_CANCELLED));
        greeting->handle = NULL;
    }
    room->driver->ops->drop(room->driver, handle);
}
