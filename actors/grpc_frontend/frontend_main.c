/* Process host of the frontend. */
#include <stdint.h>
#include <sys/resource.h>

#include "base_log.h"
#include "frontend_actor.h"

enum { FILES_WANTED = 65536 };

/* A listener that runs out of descriptors may never accept again. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FILES_WANTED) return;
    limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < FILES_WANTED)
        lm_warn("only %ju open files are allowed, %d are wanted", (uintmax_t)limit.rlim_cur,
                FILES_WANTED);
}

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "frontend");
    if (code != LM_EXIT_OK) return code;
    raise_file_limit();
    lm_frontend_actor_begin_process();
    code = lm_frontend_actor_run(&process);
    lm_frontend_actor_end_process();
    return code;
}
