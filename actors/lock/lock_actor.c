#include "lock_actor.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base_check.h"
#include "lock_room.h"

static void draw(void *arg, void *bytes, size_t size)
{
    (void)arg;
    ssize_t drawn = getrandom(bytes, size, 0);
    LM_CHECK(drawn == (ssize_t)size, "no random numbers: %s", strerror(errno));
}

lm_exit_t lm_lock_actor_run(const lm_process_t *process)
{
    lm_lock_room_t *room = lm_lock_room_new(process->generation, draw, NULL);
    lm_host_t *host = lm_host_new(process, lm_lock_room_definition(), room);
    lm_exit_t code = lm_host_run(host);
    lm_host_destroy(&host);
    lm_lock_room_destroy(&room);
    return code;
}
