/* Process host of the region-gateway. */
#include "act_host.h"
#include "gateway_room.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "gateway");
    if (code != LM_EXIT_OK) return code;
    gateway_t *gateway = gateway_room_new();
    lm_host_t *host = lm_host_new(&process, gateway_room_definition(), gateway);
    code = lm_host_run(host);
    lm_host_destroy(&host);
    gateway_room_destroy(&gateway);
    return code;
}
