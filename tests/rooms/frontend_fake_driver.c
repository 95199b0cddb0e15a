#include "frontend_fake_driver.h"

#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "wire_rpc.h"

static fake_driver_t *fake_of(lm_frontend_driver_t *face) { return (fake_driver_t *)(void *)face; }

static fake_handle_t *handle_of(lm_frontend_handle_t *handle)
{
    return (fake_handle_t *)(void *)handle;
}

static fake_handle_t *add(fake_driver_t *driver, lm_frontend_method_id_t method, bool incoming)
{
    LM_CHECK(driver->n_handles < FAKE_HANDLES_MAX, "%d handles", FAKE_HANDLES_MAX);
    fake_handle_t *handle = lm_alloc(sizeof *handle);
    handle->handle = (lm_frontend_handle_t){.method = lm_frontend_method(method),
                                            .incoming = incoming,
                                            .party = incoming ? driver->party : NULL,
                                            .bearer = incoming ? driver->bearer : NULL};
    driver->handles[driver->n_handles++] = handle;
    if (incoming) lm_frontend_figures_begin(&driver->figures, handle->handle.method);
    return handle;
}

static void fake_listen(lm_frontend_driver_t *face, lm_participant_t room,
                        const lm_frontend_listen_t *how)
{
    fake_of(face)->how = *how;
    fake_of(face)->listening |= 1U << room;
}

static bool fake_send(lm_frontend_driver_t *face, lm_frontend_handle_t *handle, lm_bytes_t message,
                      size_t queue_bytes_max)
{
    (void)queue_bytes_max;
    fake_handle_t *fake = handle_of(handle);
    LM_CHECK(!fake->dropped, "send on %s after its end", handle->method->path);
    if (fake_of(face)->queue_full || fake->finished || fake->cancelled) return false;
    LM_CHECK(fake->n_sent < FAKE_SENT_MAX, "%d messages", FAKE_SENT_MAX);
    fake->sent[fake->n_sent++] = lm_arena_copy(fake_of(face)->arena, message);
    return true;
}

static void fake_consumed(lm_frontend_driver_t *face, lm_frontend_handle_t *handle, size_t size)
{
    (void)face;
    (void)size;
    LM_CHECK(!handle_of(handle)->dropped, "%s after its end", handle->method->path);
}

static void fake_finish(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                        const lm_frontend_finish_t *how)
{
    fake_handle_t *fake = handle_of(handle);
    LM_CHECK(!fake->finished && !fake->dropped, "%s finished twice", handle->method->path);
    fake->finished = true;
    fake->status = how->status;
    fake->pushback_ms = how->pushback_ms;
    snprintf(fake->text, sizeof fake->text, "%s", how->text ? how->text : "");
    fake->message = lm_arena_copy(fake_of(face)->arena, how->message);
    fake->details = lm_arena_copy(fake_of(face)->arena, how->details);
    lm_frontend_figures_end(&fake_of(face)->figures, handle->method, how->status, 0);
}

static lm_frontend_handle_t *fake_start(lm_frontend_driver_t *face,
                                        const lm_frontend_target_t *target,
                                        lm_frontend_method_id_t method, lm_bytes_t payload,
                                        uint64_t deadline_us, void *owner)
{
    fake_driver_t *driver = fake_of(face);
    if (target->kind == LM_CHANNEL_FORWARD && !driver->connected) return NULL;
    fake_handle_t *fake = add(driver, method, false);
    fake->handle.owner = owner;
    fake->target = *target;
    fake->payload = lm_arena_copy(driver->arena, payload);
    fake->deadline_us = deadline_us;
    return &fake->handle;
}

static lm_frontend_handle_t *fake_open_out(lm_frontend_driver_t *face,
                                           const lm_frontend_target_t *target,
                                           lm_frontend_method_id_t method, void *owner)
{
    return fake_start(face, target, method, lm_bytes(NULL, 0), 0, owner);
}

static void fake_cancel(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    LM_CHECK(!handle_of(handle)->dropped, "%s cancelled after its end", handle->method->path);
    handle_of(handle)->cancelled = true;
}

static bool fake_stalled(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                         uint64_t since_us)
{
    (void)since_us;
    return handle_of(handle)->stalled || fake_of(face)->unconnected;
}

static void fake_drop(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    LM_CHECK(!handle_of(handle)->dropped, "%s dropped twice", handle->method->path);
    handle_of(handle)->dropped = true;
}

static void fake_shut(lm_frontend_driver_t *face, uint64_t grace_us)
{
    (void)grace_us;
    fake_of(face)->shut = true;
}

static lm_frontend_refused_t fake_refused(lm_frontend_driver_t *face)
{
    (void)face;
    return (lm_frontend_refused_t){0};
}

static const lm_frontend_figures_t *fake_figures(lm_frontend_driver_t *face)
{
    return &fake_of(face)->figures;
}

static void fake_vouch(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    handle_of(handle)->vouched = true;
}

static void fake_address(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                         char address[LM_ADDRESS_BYTES])
{
    (void)face;
    LM_CHECK(!handle_of(handle)->dropped, "%s after its end", handle->method->path);
    snprintf(address, LM_ADDRESS_BYTES, "ipv4:192.0.2.1:7");
}

static void fake_shed(lm_frontend_driver_t *face, uint32_t share) { fake_of(face)->shed = share; }

static const lm_frontend_driver_ops_t ops = {
    .listen = fake_listen,
    .send = fake_send,
    .consumed = fake_consumed,
    .finish = fake_finish,
    .call = fake_start,
    .open = fake_open_out,
    .cancel = fake_cancel,
    .stalled = fake_stalled,
    .drop = fake_drop,
    .shed = fake_shed,
    .shut = fake_shut,
    .refused = fake_refused,
    .figures = fake_figures,
    .address = fake_address,
    .vouch = fake_vouch,
};

lm_bus_node_config_t fake_config(void)
{
    static lm_bus_peer_config_t peers[3];
    static const char *const names[] = {"n1", "n2", "n3"}, *const hosts[] = {"one", "two", "three"};
    for (uint32_t i = 0; i < 3; i++)
        peers[i] = (lm_bus_peer_config_t){lm_bytes_of(names[i]), lm_bytes_of(hosts[i]), 9001 + i,
                                          9101 + i};
    return (lm_bus_node_config_t){.node = peers[0].name,
                                  .region = lm_bytes_of("r"),
                                  .listen = lm_bytes_of("127.0.0.1"),
                                  .grpc_port = 9090,
                                  .region_port = 9091,
                                  .n_peers = 3,
                                  .peers = peers,
                                  .version = lm_bytes_of("1"),
                                  .concurrent_streams_max = 100,
                                  .request_bytes_max = 65536,
                                  .reflection = true};
}

fake_driver_t *fake_driver_new(void)
{
    fake_driver_t *driver = lm_alloc(sizeof *driver);
    driver->face.ops = &ops;
    driver->arena = lm_arena_new();
    driver->connected = true;
    return driver;
}

void fake_driver_destroy(fake_driver_t **driver)
{
    for (size_t i = 0; i < (*driver)->n_handles; i++) free((*driver)->handles[i]);
    lm_arena_destroy(&(*driver)->arena);
    free(*driver);
    *driver = NULL;
}

/* ---- the other side -------------------------------------------------------------------------- */

fake_handle_t *fake_incoming(fake_driver_t *driver, lm_frontend_method_id_t method)
{
    return add(driver, method, true);
}

fake_handle_t *fake_outgoing(fake_driver_t *driver, lm_frontend_method_id_t method)
{
    for (size_t i = driver->n_handles; i > 0; i--) {
        fake_handle_t *fake = driver->handles[i - 1];
        if (!fake->handle.incoming && !fake->dropped && fake->handle.method->id == method)
            return fake;
    }
    return NULL;
}

size_t fake_count(fake_driver_t *driver, lm_frontend_method_id_t method)
{
    size_t n = 0;
    for (size_t i = 0; i < driver->n_handles; i++) {
        fake_handle_t *fake = driver->handles[i];
        n += !fake->handle.incoming && !fake->dropped && fake->handle.method->id == method;
    }
    return n;
}

static lm_frontend_event_t *event_with(lm_frontend_event_kind_t kind, fake_handle_t *handle,
                                       lm_bytes_t payload)
{
    lm_frontend_event_t *event =
        lm_frontend_event_new(kind, handle ? &handle->handle : NULL, payload.size);
    if (payload.size) memcpy(event->payload, payload.data, payload.size);
    return event;
}

fake_handle_t *fake_call(fake_driver_t *driver, lm_test_host_t *host,
                         lm_frontend_method_id_t method, const void *request, uint64_t deadline_us)
{
    fake_handle_t *handle = fake_incoming(driver, method);
    lm_bytes_t payload = lm_bytes(NULL, 0);
    if (request)
        payload = lm_wire_encode(lm_frontend_method(method)->request, request, driver->arena);
    lm_frontend_event_t *event = event_with(LM_FRONTEND_CALLED, handle, payload);
    event->deadline_us = deadline_us;
    lm_test_inlet(host, event);
    return handle;
}

fake_handle_t *fake_open(fake_driver_t *driver, lm_test_host_t *host,
                         lm_frontend_method_id_t method)
{
    fake_handle_t *handle = fake_incoming(driver, method);
    fake_event(host, LM_FRONTEND_OPENED, handle);
    return handle;
}

void fake_receive_bytes(lm_test_host_t *host, fake_handle_t *handle, lm_bytes_t bytes)
{
    lm_test_inlet(host, event_with(LM_FRONTEND_RECEIVED, handle, bytes));
}

void fake_receive(fake_driver_t *driver, lm_test_host_t *host, fake_handle_t *handle,
                  const lm_wire_type_t *type, const void *message)
{
    fake_receive_bytes(host, handle, lm_wire_encode(type, message, driver->arena));
}

void fake_event(lm_test_host_t *host, lm_frontend_event_kind_t kind, fake_handle_t *handle)
{
    lm_test_inlet(host, event_with(kind, handle, lm_bytes(NULL, 0)));
}

void fake_event_bytes(lm_test_host_t *host, lm_frontend_event_kind_t kind, fake_handle_t *handle,
                      lm_bytes_t payload, int status)
{
    lm_frontend_event_t *event = event_with(kind, handle, payload);
    event->status = status;
    lm_test_inlet(host, event);
}

void fake_over(lm_test_host_t *host, fake_handle_t *handle, bool delivered)
{
    lm_frontend_event_t *event = event_with(LM_FRONTEND_OVER, handle, lm_bytes(NULL, 0));
    event->undelivered = !delivered;
    lm_test_inlet(host, event);
}

void fake_answer(fake_driver_t *driver, lm_test_host_t *host, fake_handle_t *handle, int status,
                 const lm_wire_type_t *type, const void *message)
{
    lm_bytes_t payload = lm_bytes(NULL, 0);
    if (type) payload = lm_wire_encode(type, message, driver->arena);
    lm_frontend_event_t *event = event_with(LM_FRONTEND_ANSWERED, handle, payload);
    event->status = status;
    event->round_trip_us = 777;
    if (status) snprintf(event->text, sizeof event->text, "status %d", status);
    lm_test_inlet(host, event);
}

void fake_end_all(fake_driver_t *driver, lm_test_host_t *host)
{
    for (size_t i = 0; i < driver->n_handles; i++) {
        fake_handle_t *fake = driver->handles[i];
        if (fake->dropped) continue;
        if (fake->handle.incoming)
            fake_over(host, fake, fake->finished);
        else
            fake_event_bytes(host, LM_FRONTEND_ANSWERED, fake, lm_bytes(NULL, 0), 14);
        LM_CHECK(fake->dropped || lm_test_has_ended(host, NULL), "%s is kept after its end",
                 fake->handle.method->path);
    }
}

/* ---- looking --------------------------------------------------------------------------------- */

void *fake_decode(fake_driver_t *driver, const lm_wire_type_t *type, lm_bytes_t bytes)
{
    void *message = NULL;
    lm_rc_t code = lm_wire_decode(type, bytes, driver->arena, &message, NULL);
    LM_CHECK(code == LM_RC_OK, "%s: %s", lm_wire_name(type), lm_rc_name(code));
    return message;
}

static const void *detail(fake_driver_t *driver, const fake_handle_t *handle,
                          const lm_wire_type_t *type)
{
    const lm_rpc_status_t *status = fake_decode(driver, &lm_rpc_status_type, handle->details);
    for (size_t i = 0; i < status->n_details; i++) {
        lm_bytes_t url =
            lm_arena_print(driver->arena, "type.googleapis.com/%s", lm_wire_name(type));
        if (lm_bytes_equal(status->details[i].type_url, url))
            return fake_decode(driver, type, status->details[i].value);
    }
    return NULL;
}

const char *fake_reason(fake_driver_t *driver, const fake_handle_t *handle)
{
    const lm_rpc_error_info_t *info = detail(driver, handle, &lm_rpc_error_info_type);
    if (!info || !lm_bytes_equal(info->domain, lm_bytes_of("lockmgr"))) return "";
    return lm_arena_text(driver->arena, info->reason);
}

const char *fake_field(fake_driver_t *driver, const fake_handle_t *handle)
{
    const lm_rpc_bad_request_t *bad = detail(driver, handle, &lm_rpc_bad_request_type);
    if (!bad || bad->n_field_violations == 0) return "";
    return lm_arena_text(driver->arena, bad->field_violations[0].field);
}

bool fake_has_retry_info(fake_driver_t *driver, const fake_handle_t *handle)
{
    return detail(driver, handle, &lm_rpc_retry_info_type) != NULL;
}
