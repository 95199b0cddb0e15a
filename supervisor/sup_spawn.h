/* The processes of the children: fork and exec, kill, burial.
 *
 * Invariants
 *   P1  Forks happen in the thread that started the supervisor: the kernel ties a child's
 *       parent-death signal to the thread that forked it.
 *   P2  A child inherits standard output and error and nothing else that is open.
 *   P3  Only a process that has not been reaped is killed, so that its number is still its own.
 */
#ifndef LM_SUP_SPAWN_H
#define LM_SUP_SPAWN_H

#include <sys/types.h>

#include "act_host.h"
#include "act_page.h"
#include "sup_children.h"
#include "sup_obituary.h"

typedef struct {
    pid_t pid; /* 0: there is none */
    uint32_t counter;
    uint64_t spawned_us;
    const char *killed_why; /* NULL: not killed by us */
    const lm_page_t *page;  /* NULL until the child has made it */
} lm_sup_process_t;

enum { LM_SUP_BIN_DIR_BYTES = 256 };

typedef struct {
    char bin_dir[LM_SUP_BIN_DIR_BYTES]; /* where the executables lie: beside our own */
    const lm_process_t *self;
    lm_sup_process_t processes[LM_SUP_CHILDREN];
} lm_sup_spawn_t;

/** Finds the directory in which our own executable lies. False if it cannot be told; the reason is
 *  logged. */
bool lm_sup_spawn_find_bin_dir(char dir[LM_SUP_BIN_DIR_BYTES]);

/** Finds the executables. Returns LM_EXIT_SYSTEM if one is missing; the reason is logged. */
lm_exit_t lm_sup_spawn_init(lm_sup_spawn_t *spawn, const lm_process_t *self);

/** Starts a child. False if there was no process to be had; the reason is logged. */
bool lm_sup_spawn_start(lm_sup_spawn_t *spawn, size_t child, uint32_t counter);

/** Kills a child; why is a static text for its obituary. */
void lm_sup_spawn_kill(lm_sup_spawn_t *spawn, size_t child, const char *why);

/** True if the child says that it is in blocking I/O, and is not merely stopped by a signal: who is
 *  stopped does not work on the disk, whatever its page still says. */
bool lm_sup_spawn_is_blocking(lm_sup_spawn_t *spawn, size_t child);

/** Reaps one process. True: *death describes a child of ours. False: nobody is left to be reaped;
 *  strangers that became ours (we may be process 1) are reaped on the way. */
bool lm_sup_spawn_reap(lm_sup_spawn_t *spawn, lm_sup_death_t *death);

#endif
