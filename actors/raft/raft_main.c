/* Process host of the raft actor. */
#include "raft_actor.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "raft");
    return code == LM_EXIT_OK ? lm_raft_actor_run(&process) : code;
}
