/* grpc.health.v1 and the two reflection services. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "frontend_clients_state.h"
#include "frontend_reflection.h"
#include "wire_health.h"

#define STATUS(name) LM_HEALTH_HEALTH_CHECK_RESPONSE_SERVING_STATUS_##name

static bool is_service(lm_bytes_t name)
{
    if (name.size == 0) return true;
    for (size_t i = 0; lm_frontend_services[i]; i++)
        if (lm_bytes_equal(name, lm_bytes_of(lm_frontend_services[i]))) return true;
    return false;
}

static int32_t status_of(const lm_frontend_clients_t *room, lm_bytes_t service)
{
    if (!is_service(service)) return STATUS(SERVICE_UNKNOWN);
    return room->serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static lm_bytes_t encode(lm_frontend_clients_t *room, int32_t status)
{
    lm_health_health_check_response_t response = {.status = status};
    return lm_wire_encode(&lm_health_health_check_response_type, &response, room->scratch);
}

static const lm_health_health_check_request_t *decode(lm_frontend_clients_t *room,
                                                      const lm_frontend_event_t *event)
{
    void *request = NULL;
    bool readable =
        !event->missing && !event->oversized &&
        lm_wire_decode(&lm_health_health_check_request_type, lm_frontend_event_payload(event),
                       room->scratch, &request, NULL) == LM_RC_OK;
    return readable ? request : NULL;
}

void lm_frontend_health_check(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    const lm_health_health_check_request_t *request = decode(room, event);
    lm_frontend_handle_t *handle = event->handle;
    handle->owner = NULL;
    if (!request) {
        room->undecodable++;
        lm_frontend_clients_fail(room, handle, &(lm_frontend_error_t){.code = LM_RC_MALFORMED});
    } else if (!is_service(request->service)) {
        lm_frontend_clients_fail(
            room, handle,
            &(lm_frontend_error_t){.code = LM_RC_NOT_FOUND,
                                   .text = lm_arena_print(room->scratch, "there is no service %.*s",
                                                          LM_BYTES_ARG(request->service))});
    } else {
        lm_frontend_clients_finish(room, handle, encode(room, status_of(room, request->service)));
    }
    lm_frontend_event_free(event);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void end_with(lm_frontend_clients_t *room, lm_frontend_stream_t *stream, lm_rc_t code,
                     const char *text)
{
    if (stream->finished) return;
    stream->finished = true;
    stream->watching = false;
    if (code == LM_RC_OK)
        lm_frontend_clients_finish(room, stream->handle, lm_bytes(NULL, 0));
    else
        lm_frontend_clients_fail(room, stream->handle,
                                 &(lm_frontend_error_t){.code = code, .text = lm_bytes_of(text)});
}

static void end_stream(lm_frontend_clients_t *room, lm_frontend_stream_t *stream, lm_rc_t code)
{
    end_with(room, stream, code, NULL);
}

static void send(lm_frontend_clients_t *room, lm_frontend_stream_t *stream, lm_bytes_t message)
{
    bool sent =
        room->driver->ops->send(room->driver, stream->handle, message, LM_CLIENT_QUEUE_BYTES_MAX);
    if (!sent) end_with(room, stream, LM_RC_QUOTA_EXCEEDED, "the answers are not read");
}

static void tell(lm_frontend_clients_t *room, lm_frontend_stream_t *stream)
{
    int32_t status = status_of(room, lm_bytes_of(stream->service));
    if (status == stream->status) return;
    stream->status = status;
    send(room, stream, encode(room, status));
}

void lm_frontend_health_look(lm_frontend_clients_t *room)
{
    room->serving = room->mode == LM_BUS_NODE_MODE_MODE_SERVING && !room->stopping &&
                    lm_frontend_status_is_whole(room);
    lm_frontend_stream_t *stream;
    DL_FOREACH(room->streams, stream)
    {
        if (stream->watching && !stream->finished) tell(room, stream);
    }
}

void lm_frontend_stream_opened(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_stream_t *stream = lm_alloc(sizeof *stream);
    stream->handle = handle;
    stream->status = -1;
    handle->owner = stream;
    DL_APPEND(room->streams, stream);
    if (room->stopping) end_stream(room, stream, LM_RC_DRAINING);
}

static void watch(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                  const lm_frontend_event_t *event)
{
    const lm_health_health_check_request_t *request = decode(room, event);
    if (!request || stream->watching) {
        room->undecodable++;
        end_stream(room, stream, LM_RC_MALFORMED);
        return;
    }
    /* A longer name is none of ours, and stays so when it is cut. */
    snprintf(stream->service, sizeof stream->service, "%.*s", LM_BYTES_ARG(request->service));
    stream->watching = true;
    tell(room, stream);
}

static void reflect(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                    const lm_frontend_event_t *event)
{
    lm_bytes_t answer = lm_bytes(NULL, 0);
    bool readable =
        !event->oversized &&
        lm_frontend_reflection_answer(lm_frontend_event_payload(event), room->scratch, &answer);
    if (readable) {
        send(room, stream, answer);
        return;
    }
    room->undecodable++;
    end_stream(room, stream, LM_RC_MALFORMED);
}

void lm_frontend_stream_received(lm_frontend_clients_t *room, const lm_frontend_event_t *event)
{
    lm_frontend_stream_t *stream = event->handle->owner;
    room->driver->ops->consumed(room->driver, event->handle, event->size);
    if (stream->finished) return;
    if (event->handle->method->id == LM_METHOD_HEALTH_WATCH)
        watch(room, stream, event);
    else
        reflect(room, stream, event);
}

void lm_frontend_stream_half_closed(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_stream_t *stream = handle->owner;
    /* A watcher has nothing more to ask and goes on listening. */
    if (handle->method->id != LM_METHOD_HEALTH_WATCH)
        end_stream(room, stream, LM_RC_OK);
    else if (!stream->watching)
        end_stream(room, stream, LM_RC_MALFORMED);
}

void lm_frontend_stream_over(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_stream_t *stream = handle->owner;
    if (!stream->finished)
        lm_frontend_figures_handled(&room->figures, handle->method,
                                    lm_rc_grpc_status(LM_RC_CANCELLED));
    DL_DELETE(room->streams, stream);
    free(stream);
    room->driver->ops->drop(room->driver, handle);
}
