/* grpc.health.v1 and the two reflection services; and what all streams of clients have in common.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "frontend_clients_state.h"
#include "frontend_reflection.h"
#include "wire_health.h"

#define STATUS(name) LM_HEALTH_HEALTH_CHECK_RESPONSE_SERVING_STATUS_##name

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_service(const lm_frontend_clients_t *room, lm_bytes_t name)
{
    if (name.size == 0) return true;
    for (size_t i = 0; lm_frontend_services[i]; i++) {
        if (!lm_bytes_equal(name, lm_bytes_of(lm_frontend_services[i]))) continue;
        return room->frame.config->reflection ||
               !starts(lm_frontend_services[i], "grpc.reflection.");
    }
    return false;
}

static int32_t status_of(const lm_frontend_clients_t *room, lm_bytes_t service)
{
    if (!is_service(room, service)) return STATUS(SERVICE_UNKNOWN);
    return room->serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static lm_bytes_t encode(lm_frontend_clients_t *room, int32_t status)
{
    lm_health_health_check_response_t response = {.status = status};
    return lm_wire_encode(&lm_health_health_check_response_type, &response, room->frame.scratch);
}

static const lm_health_health_check_request_t *decode(lm_frontend_clients_t *room,
                                                      const lm_frontend_event_t *event)
{
    void *request = NULL;
    bool readable =
        !event->missing && !event->oversized &&
        lm_wire_decode(&lm_health_health_check_request_type, lm_frontend_event_payload(event),
                       room->frame.scratch, &request, NULL) == LM_RC_OK;
    return readable ? request : NULL;
}

void lm_frontend_health_check(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    const lm_health_health_check_request_t *request = decode(room, event);
    lm_frontend_handle_t *handle = event->handle;
    handle->owner = NULL;
    if (!request) {
        room->undecodable++;
        lm_frontend_frame_fail(&room->frame, handle,
                               &(lm_frontend_error_t){.code = LM_RC_MALFORMED});
    } else if (!is_service(room, request->service)) {
        lm_frontend_frame_fail(
            &room->frame, handle,
            &(lm_frontend_error_t){
                .code = LM_RC_NOT_FOUND,
                .text = lm_arena_print(room->frame.scratch, "there is no service %.*s",
                                       LM_BYTES_ARG(request->service))});
    } else {
        lm_frontend_frame_finish(&room->frame, handle,
                                 encode(room, status_of(room, request->service)));
    }
    lm_frontend_event_free(event);
}

/* ---- streams --------------------------------------------------------------------------------- */

void lm_frontend_stream_fail(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                             const lm_frontend_error_t *error)
{
    if (stream->finished) return;
    stream->finished = true;
    stream->watching = false;
    if (error->code == LM_RC_OK)
        lm_frontend_frame_finish(&room->frame, stream->handle, lm_bytes(NULL, 0));
    else
        lm_frontend_frame_fail(&room->frame, stream->handle, error);
}

static void end_with(lm_frontend_clients_t *room, lm_frontend_stream_t *stream, lm_rc_t code,
                     const char *text)
{
    lm_frontend_stream_fail(room, stream,
                            &(lm_frontend_error_t){.code = code, .text = lm_bytes_of(text)});
}

static void end_stream(lm_frontend_clients_t *room, lm_frontend_stream_t *stream, lm_rc_t code)
{
    end_with(room, stream, code, NULL);
}

static void send(lm_frontend_clients_t *room, lm_frontend_stream_t *stream, lm_bytes_t message)
{
    bool sent = room->frame.driver->ops->send(room->frame.driver, stream->handle, message,
                                              LM_CLIENT_QUEUE_BYTES_MAX);
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
    room->serving = room->mode == LM_BUS_NODE_MODE_MODE_SERVING && !room->frame.stopping &&
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
    lm_frontend_error_t error;
    if (room->frame.stopping)
        end_stream(room, stream, LM_RC_DRAINING);
    else if (!lm_frontend_access_admit(room, handle, &error) ||
             !lm_frontend_access_permit(room, handle, NULL, &error))
        end_with(room, stream, error.code, lm_arena_text(room->frame.scratch, error.text));
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
        !event->oversized && lm_frontend_reflection_answer(lm_frontend_event_payload(event),
                                                           room->frame.scratch, &answer);
    if (readable) {
        send(room, stream, answer);
        return;
    }
    room->undecodable++;
    end_stream(room, stream, LM_RC_MALFORMED);
}

void lm_frontend_stream_received(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_stream_t *stream = event->handle->owner;
    lm_frontend_method_id_t method = event->handle->method->id;
    if (method == LM_METHOD_KEEP_ALIVE_STREAM && !stream->finished) {
        lm_frontend_call_begin(room, event); /* consumed when it is answered */
        return;
    }
    room->frame.driver->ops->consumed(room->frame.driver, event->handle, event->size);
    if (!stream->finished && method == LM_METHOD_HEALTH_WATCH)
        watch(room, stream, event);
    else if (!stream->finished)
        reflect(room, stream, event);
    lm_frontend_event_free(event);
}

void lm_frontend_stream_answer(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                               lm_bytes_t message)
{
    if (!stream->finished) send(room, stream, message);
}

static bool is_done(const lm_frontend_stream_t *stream)
{
    return stream->half_closed && !stream->calls;
}

void lm_frontend_stream_dealt(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                              size_t size)
{
    room->frame.driver->ops->consumed(room->frame.driver, stream->handle, size);
    if (is_done(stream)) end_stream(room, stream, LM_RC_OK);
}

void lm_frontend_stream_half_closed(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_stream_t *stream = handle->owner;
    stream->half_closed = true;
    /* A watcher has nothing more to ask and goes on listening. */
    if (handle->method->id == LM_METHOD_KEEP_ALIVE_STREAM) {
        if (is_done(stream)) end_stream(room, stream, LM_RC_OK);
    } else if (handle->method->id != LM_METHOD_HEALTH_WATCH)
        end_stream(room, stream, LM_RC_OK);
    else if (!stream->watching)
        end_stream(room, stream, LM_RC_MALFORMED);
}

void lm_frontend_stream_over(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    lm_frontend_stream_t *stream = handle->owner;
    stream->finished = true;
    lm_frontend_call_t *call, *next;
    DL_FOREACH_SAFE2(stream->calls, call, next, next_of_stream) lm_frontend_call_leave(call);
    DL_DELETE(room->streams, stream);
    free(stream);
    room->frame.driver->ops->drop(room->frame.driver, handle);
}
