#include "frontend_errors.h"

#include "frontend_limits.h"
#include "wire_rpc.h"

enum { UNAVAILABLE = 14, RETRY_MS = 100 };

static lm_bytes_t sentence(const lm_frontend_error_t *error, lm_arena_t *arena)
{
    if (error->text.size) return error->text;
    if (error->field.size)
        return lm_arena_print(arena, "%.*s %.*s", LM_BYTES_ARG(error->field),
                              LM_BYTES_ARG(error->rule));
    return lm_bytes_of(lm_rc_text(error->code));
}

static lm_pb_any_t pack(const lm_wire_type_t *type, const void *message, lm_arena_t *arena)
{
    return (lm_pb_any_t){
        .type_url = lm_arena_print(arena, "type.googleapis.com/%s", lm_wire_name(type)),
        .value = lm_wire_encode(type, message, arena)};
}

lm_bytes_t lm_frontend_error_details(const lm_frontend_error_t *error, lm_arena_t *arena)
{
    lm_pb_any_t details[3];
    size_t n_details = 0;
    lm_rpc_error_info_t info = {.reason = lm_bytes_of(lm_rc_name(error->code)),
                                .domain = lm_bytes_of("lockmgr")};
    details[n_details++] = pack(&lm_rpc_error_info_type, &info, arena);
    if (lm_rc_grpc_status(error->code) == UNAVAILABLE) {
        int32_t delay_ms = error->code == LM_RC_OVERLOADED ? LM_PUSHBACK_MS : RETRY_MS;
        lm_pb_duration_t delay = {.nanos = delay_ms * 1000000};
        lm_rpc_retry_info_t retry = {.retry_delay = &delay};
        details[n_details++] = pack(&lm_rpc_retry_info_type, &retry, arena);
    }
    if (error->field.size) {
        lm_rpc_bad_request_field_violation_t violation = {
            .field = error->field,
            .description = error->rule.size ? error->rule : sentence(error, arena)};
        lm_rpc_bad_request_t bad = {.n_field_violations = 1, .field_violations = &violation};
        details[n_details++] = pack(&lm_rpc_bad_request_type, &bad, arena);
    }
    lm_rpc_status_t status = {.code = lm_rc_grpc_status(error->code),
                              .message = sentence(error, arena),
                              .n_details = n_details,
                              .details = details};
    return lm_wire_encode(&lm_rpc_status_type, &status, arena);
}

void lm_frontend_error_finish(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle,
                              const lm_frontend_error_t *error, lm_arena_t *arena)
{
    lm_frontend_finish_t how = {
        .status = lm_rc_grpc_status(error->code),
        .text = lm_arena_text(arena, sentence(error, arena)),
        .details = lm_frontend_error_details(error, arena),
        .pushback_ms = error->code == LM_RC_OVERLOADED ? LM_PUSHBACK_MS : 0};
    driver->ops->finish(driver, handle, &how);
}
