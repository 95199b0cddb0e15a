/* lockmgrd: the supervisor of a node whose children are processes. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "act_stacks.h"
#include "base_log.h"
#include "sup_node.h"
#include "sup_spawn.h"

typedef struct {
    lm_sup_node_t *node;
    lm_sup_spawn_t spawn;
} processes_t;

static lm_exit_t prepare(void *arg, lm_sup_node_t *node)
{
    processes_t *processes = arg;
    processes->node = node;
    lm_stacks_begin(lm_sup_node_self(node)->run_dir, "supervisor");
    return lm_sup_spawn_init(&processes->spawn, lm_sup_node_self(node));
}

static bool start(void *arg, size_t child, uint32_t counter)
{
    return lm_sup_spawn_start(&((processes_t *)arg)->spawn, child, counter);
}

static void kill_child(void *arg, size_t child, const char *why)
{
    lm_sup_spawn_kill(&((processes_t *)arg)->spawn, child, why);
}

static bool is_blocking(void *arg, size_t child)
{
    return lm_sup_spawn_is_blocking(&((processes_t *)arg)->spawn, child);
}

static uint32_t pid_of(void *arg, size_t child)
{
    return (uint32_t)((const processes_t *)arg)->spawn.processes[child].pid;
}

/* One SIGCHLD may stand for several deaths. */
static void reap(void *arg)
{
    processes_t *processes = arg;
    lm_sup_death_t death;
    while (lm_sup_spawn_reap(&processes->spawn, &death))
        lm_sup_node_tell_death(processes->node, &death);
}

/** Becomes lockmgr-node, which links all five actors; nothing has been opened or started yet. */
static lm_exit_t become_node(char **argv)
{
    char dir[LM_SUP_BIN_DIR_BYTES], path[PATH_MAX];
    if (!lm_sup_spawn_find_bin_dir(dir)) return LM_EXIT_SYSTEM;
    snprintf(path, sizeof path, "%s/lockmgr-node", dir);
    argv[0] = path;
    execv(path, argv);
    lm_error("%s: %s; it must lie beside lockmgrd", path, strerror(errno));
    return LM_EXIT_SYSTEM;
}

int main(int argc, char **argv)
{
    static processes_t processes;
    const lm_sup_ways_t ways = {.arg = &processes,
                                .hand_over = become_node,
                                .prepare = prepare,
                                .start = start,
                                .kill = kill_child,
                                .is_blocking = is_blocking,
                                .pid = pid_of,
                                .reap = reap};
    return lm_sup_node_main(&ways, argc, argv);
}
