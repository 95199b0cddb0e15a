/* Process host of the lock actor. */
#include "lock_actor.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "lock");
    return code == LM_EXIT_OK ? lm_lock_actor_run(&process) : code;
}
