#include "health_actor.h"

#include "health_http.h"
#include "health_room.h"

lm_exit_t lm_health_actor_run(const lm_process_t *process)
{
    health_t *health = health_room_new();
    lm_host_t *host = lm_host_new(process, health_room_definition(), health);
    health_http_t *http = health_http_new(health, host);
    lm_exit_t code = lm_host_run(host);
    health_http_destroy(&http);
    lm_host_destroy(&host);
    health_room_destroy(&health);
    return code;
}
