/* The data directory: whose it is, and that nobody else uses it.
 *
 * Invariants
 *   D1  The directory is locked from before the first read until the process ends; the lock is not
 *       inherited by children.
 *   D2  The identity file is replaced as a whole or not at all, and what was replaced is durable
 *       before anybody hears of it.
 */
#ifndef LM_RAFT_DATADIR_H
#define LM_RAFT_DATADIR_H

#include "raft_fault.h"
#include "raft_identity.h"

#define LM_RAFT_IDENTITY_FILE "identity"
#define LM_RAFT_IDENTITY_TEMPORARY "identity.new"
#define LM_RAFT_LOCK_FILE "lock"
/* An empty file of this name and the index behind it: entries from there on are being removed. */
#define LM_RAFT_TRUNCATION_PREFIX "truncating-"
/* One of this name, a term, a dash and an index: the log gives way to the snapshot of that entry.
 */
#define LM_RAFT_INSTALLATION_PREFIX "installing-"

typedef struct lm_raft_datadir lm_raft_datadir_t;

/** A directory that somebody else keeps open. */
typedef struct {
    const char *path;
    int fd;
} lm_raft_folder_t;

/** Makes the directory if it is missing, and locks it. NULL with a fault: CONFIG if the directory
 *  cannot be used, TRY_LATER if another process has it, SYSTEM otherwise. */
lm_raft_datadir_t *lm_raft_datadir_open(const char *path, lm_raft_fault_t *fault);
/** Gives the lock back. */
void lm_raft_datadir_close(lm_raft_datadir_t **dir);
const char *lm_raft_datadir_path(const lm_raft_datadir_t *dir);
lm_raft_folder_t lm_raft_datadir_folder(const lm_raft_datadir_t *dir);

/** Reads the identity; stage LM_RAFT_EMPTY if there is none. False with a fault: DAMAGED, or CONFIG
 *  if it is that of another region or node. */
bool lm_raft_datadir_load(const lm_raft_datadir_t *dir, const char *region, const char *node,
                          lm_raft_identity_t *identity, lm_raft_fault_t *fault);
/** Makes the identity durable. */
bool lm_raft_datadir_save(const lm_raft_datadir_t *dir, const lm_raft_identity_t *identity,
                          lm_raft_fault_t *fault);

/** Notes durably what is about to be done to the log: an empty file of that name. */
bool lm_raft_datadir_note(const lm_raft_datadir_t *dir, const char *name, lm_raft_fault_t *fault);
/** Takes the note away again. */
bool lm_raft_datadir_unnote(const lm_raft_datadir_t *dir, const char *name, lm_raft_fault_t *fault);

/** Removes what a start of the engine that was never completed has left of its log. Only for a node
 *  that has not voted yet: its stage is below LM_RAFT_STARTED. */
bool lm_raft_datadir_clear_log(const lm_raft_datadir_t *dir, lm_raft_fault_t *fault);

#endif
