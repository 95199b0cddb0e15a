#include "frontend_methods.h"

#include "base_check.h"
#include "wire_api.h"
#include "wire_health.h"
#include "wire_peer.h"
#include "wire_reflection.h"
#include "wire_region.h"

#define SERVED(service_name, method_name) \
    .path = "/" service_name "/" method_name, .service = service_name, .name = method_name

#define UNARY .type = "unary"
#define LOCKS "lockmgr.v1.LockService"

static const lm_frontend_method_t methods[LM_METHODS] = {
    [LM_METHOD_ACQUIRE] = {.id = LM_METHOD_ACQUIRE,
                           SERVED(LOCKS, "Acquire"),
                           UNARY,
                           .admitted = true,
                           .room = LM_CLIENTS,
                           .request = &lm_api_acquire_request_type},
    [LM_METHOD_RELEASE] = {.id = LM_METHOD_RELEASE,
                           SERVED(LOCKS, "Release"),
                           UNARY,
                           .admitted = true,
                           .room = LM_CLIENTS,
                           .request = &lm_api_release_request_type},
    [LM_METHOD_RENEW] = {.id = LM_METHOD_RENEW,
                         SERVED(LOCKS, "Renew"),
                         UNARY,
                         .admitted = true,
                         .room = LM_CLIENTS,
                         .request = &lm_api_renew_request_type},
    [LM_METHOD_CANCEL] = {.id = LM_METHOD_CANCEL,
                          SERVED(LOCKS, "Cancel"),
                          UNARY,
                          .admitted = true,
                          .room = LM_CLIENTS,
                          .request = &lm_api_cancel_request_type},
    [LM_METHOD_GET] = {.id = LM_METHOD_GET,
                       SERVED(LOCKS, "Get"),
                       UNARY,
                       .admitted = true,
                       .room = LM_CLIENTS,
                       .request = &lm_api_get_request_type},
    [LM_METHOD_LIST] = {.id = LM_METHOD_LIST,
                        SERVED(LOCKS, "List"),
                        UNARY,
                        .admitted = true,
                        .room = LM_CLIENTS,
                        .request = &lm_api_list_request_type},
    [LM_METHOD_GET_STATUS] = {.id = LM_METHOD_GET_STATUS,
                              SERVED("lockmgr.v1.AdminService", "GetStatus"),
                              UNARY,
                              .admitted = true,
                              .room = LM_CLIENTS,
                              .request = &lm_api_get_status_request_type},
    [LM_METHOD_FORWARD] = {.id = LM_METHOD_FORWARD,
                           SERVED("lockmgr.peer.v1.RaftService", "Forward"),
                           UNARY,
                           .admitted = true,
                           .room = LM_CLIENTS,
                           .request = &lm_peer_forward_request_type},
    [LM_METHOD_UNDELIVERED] = {.id = LM_METHOD_UNDELIVERED,
                               SERVED("lockmgr.peer.v1.RaftService", "Undelivered"),
                               UNARY,
                               .admitted = true,
                               .room = LM_CLIENTS,
                               .request = &lm_peer_undelivered_request_type},
    [LM_METHOD_HEALTH_CHECK] = {.id = LM_METHOD_HEALTH_CHECK,
                                SERVED("grpc.health.v1.Health", "Check"),
                                UNARY,
                                .room = LM_CLIENTS,
                                .request = &lm_health_health_check_request_type},
    [LM_METHOD_HEALTH_WATCH] = {.id = LM_METHOD_HEALTH_WATCH,
                                SERVED("grpc.health.v1.Health", "Watch"),
                                .type = "server_stream",
                                .stream = true,
                                .admitted = true,
                                .room = LM_CLIENTS,
                                .request = &lm_health_health_check_request_type},
    [LM_METHOD_REFLECTION] = {.id = LM_METHOD_REFLECTION,
                              SERVED("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo"),
                              .type = "bidi_stream",
                              .stream = true,
                              .admitted = true,
                              .room = LM_CLIENTS,
                              .request = &lm_reflection_server_reflection_request_type},
    [LM_METHOD_REFLECTION_ALPHA] = {.id = LM_METHOD_REFLECTION_ALPHA,
                                    SERVED("grpc.reflection.v1alpha.ServerReflection",
                                           "ServerReflectionInfo"),
                                    .type = "bidi_stream",
                                    .stream = true,
                                    .admitted = true,
                                    .room = LM_CLIENTS,
                                    .request = &lm_reflection_server_reflection_request_type},
    [LM_METHOD_LINK] = {.id = LM_METHOD_LINK,
                        SERVED("lockmgr.peer.v1.RaftService", "Link"),
                        .type = "bidi_stream",
                        .stream = true,
                        .room = LM_PEERS,
                        .request = &lm_peer_link_request_type},
    [LM_METHOD_REGION_HELLO] = {.id = LM_METHOD_REGION_HELLO,
                                SERVED("lockmgr.region.v1.RegionService", "Hello"),
                                UNARY,
                                .region_port = true,
                                .room = LM_PEERS,
                                .request = &lm_region_hello_request_type},
};

const char *const lm_frontend_services[] = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "lockmgr.v1.AdminService",
    LOCKS,
    NULL,
};

const lm_frontend_method_t *lm_frontend_method(lm_frontend_method_id_t id)
{
    LM_CHECK(id < LM_METHODS, "method %d", (int)id);
    return &methods[id];
}
