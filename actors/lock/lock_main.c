/* Process host of the lock actor. */
#include "act_host.h"
#include "lock_room.h"

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "lock");
    if (code != LM_EXIT_OK) return code;
    lm_lock_room_t *room = lm_lock_room_new(process.generation);
    lm_host_t *host = lm_host_new(&process, lm_lock_room_definition(), room);
    code = lm_host_run(host);
    lm_host_destroy(&host);
    lm_lock_room_destroy(&room);
    return code;
}
