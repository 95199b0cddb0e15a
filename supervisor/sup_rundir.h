/* The run directory: one supervisor's own place for sockets, pages and small files.
 *
 * Invariants
 *   D1  At most one supervisor uses it: whoever holds the lock on RUN/lock. Children do not inherit
 *       that lock.
 *   D2  It belongs to the user of the supervisor and nobody else can enter it.
 *   D3  A file in it is replaced as a whole; readers never see half of one.
 */
#ifndef LM_SUP_RUNDIR_H
#define LM_SUP_RUNDIR_H

#include <stdbool.h>

#include "base_exit.h"
#include "sup_config.h"

typedef struct {
    char path[LM_SUP_RUN_DIR_MAX + 1];
    int lock_fd; /* -1: not open */
} lm_sup_rundir_t;

/** Makes the directory if it is missing, checks whose it is, takes the lock, and removes sockets
 *  and pages of earlier supervisors. Returns LM_EXIT_OK; or LM_EXIT_CONFIG (not a private
 *  directory of ours), LM_EXIT_TRY_LATER (another supervisor is there), LM_EXIT_SYSTEM; the
 *  reason is logged. */
lm_exit_t lm_sup_rundir_open(lm_sup_rundir_t *rundir, const char *path);
void lm_sup_rundir_close(lm_sup_rundir_t *rundir);

/** Replaces the file of that name. A failure is logged; the files are for readers, not for us. */
bool lm_sup_rundir_write(const lm_sup_rundir_t *rundir, const char *name, const char *text);

/** Makes a directory with that mode, and its missing parents with 0755. False with errno. */
bool lm_sup_rundir_make(const char *path, unsigned mode);

#endif
