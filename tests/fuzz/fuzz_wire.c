/* Every message type: the first byte says which, the rest is the message. Up to 127 it is the
 * number of a bus message, from 128 on a place in the list below, which only grows. */
#include "act_register.h"
#include "fuzz_target.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_health.h"
#include "wire_log.h"
#include "wire_peer.h"
#include "wire_reflection.h"
#include "wire_region.h"
#include "wire_rpc.h"

static const lm_wire_type_t *const others[] = {
    &lm_api_acquire_request_type,
    &lm_api_acquire_response_type,
    &lm_api_release_request_type,
    &lm_api_release_response_type,
    &lm_api_renew_request_type,
    &lm_api_renew_response_type,
    &lm_api_cancel_request_type,
    &lm_api_cancel_response_type,
    &lm_api_get_request_type,
    &lm_api_get_response_type,
    &lm_api_list_request_type,
    &lm_api_list_response_type,
    &lm_api_get_status_request_type,
    &lm_api_get_status_response_type,
    &lm_health_health_check_request_type,
    &lm_health_health_check_response_type,
    &lm_reflection_server_reflection_request_type,
    &lm_reflection_server_reflection_response_type,
    &lm_rpc_status_type,
    &lm_rpc_error_info_type,
    &lm_rpc_retry_info_type,
    &lm_rpc_bad_request_type,
    &lm_peer_link_request_type,
    &lm_peer_link_response_type,
    &lm_peer_forward_request_type,
    &lm_peer_forward_response_type,
    &lm_peer_undelivered_request_type,
    &lm_peer_undelivered_response_type,
    &lm_peer_frame_type,
    &lm_region_hello_request_type,
    &lm_region_hello_response_type,
    &lm_log_batch_type,
    &lm_bus_envelope_type,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t in = {lm_bytes(data, size)};
    uint8_t which = fuzz_u8(&in);
    const lm_register_row_t *row = lm_register_find(which);
    const lm_wire_type_t *type = row ? row->body : NULL;
    if (which >= 128 && which - 128u < sizeof others / sizeof *others) type = others[which - 128];
    if (!type) return 0;
    lm_arena_t *arena = lm_arena_new();
    uint8_t *own = fuzz_own(in.left);
    fuzz_wire_round(type, lm_bytes(own, in.left.size), arena);
    free(own);
    lm_arena_destroy(&arena);
    return 0;
}
