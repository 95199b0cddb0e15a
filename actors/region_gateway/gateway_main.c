/* Process host of the region-gateway. */
#include "gateway_actor.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "gateway");
    return code == LM_EXIT_OK ? lm_gateway_actor_run(&process) : code;
}
