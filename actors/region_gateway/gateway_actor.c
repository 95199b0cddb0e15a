#include "gateway_actor.h"

#include "gateway_room.h"

lm_exit_t lm_gateway_actor_run(const lm_process_t *process)
{
    gateway_t *gateway = gateway_room_new();
    lm_host_t *host = lm_host_new(process, gateway_room_definition(), gateway);
    lm_exit_t code = lm_host_run(host);
    lm_host_destroy(&host);
    gateway_room_destroy(&gateway);
    return code;
}
