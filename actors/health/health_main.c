/* Process host of the health actor. */
#include "act_host.h"
#include "health_http.h"
#include "health_room.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "health");
    if (code != LM_EXIT_OK) return code;
    health_t *health = health_room_new();
    lm_host_t *host = lm_host_new(&process, health_room_definition(), health);
    health_http_t *http = health_http_new(health, host);
    code = lm_host_run(host);
    health_http_destroy(&http);
    lm_host_destroy(&host);
    health_room_destroy(&health);
    return code;
}
