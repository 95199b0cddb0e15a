/* Process host of the health actor. */
#include "health_actor.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "health");
    return code == LM_EXIT_OK ? lm_health_actor_run(&process) : code;
}
