/* A disk in memory, with virtual time: a command is durable when its time has come, in order. A
 * crash keeps what is durable and, by chance, a beginning of what is under way. */
#ifndef LM_RAFT_FAKE_DISK_H
#define LM_RAFT_FAKE_DISK_H

#include "raft_disk.h"

typedef struct lm_fake_disk lm_fake_disk_t;

lm_fake_disk_t *lm_fake_disk_new(void);
void lm_fake_disk_destroy(lm_fake_disk_t **disk);
lm_raft_disk_t *lm_fake_disk_raft(lm_fake_disk_t *disk);

/** What commands given from now on take at most, and the chance they are drawn with. */
void lm_fake_disk_delay(lm_fake_disk_t *disk, uint64_t us_max, uint64_t *chance);
/** Takes the next report that is due, NULL if there is none. */
lm_raft_done_t *lm_fake_disk_take(lm_fake_disk_t *disk, uint64_t now_us);
void lm_fake_disk_time(lm_fake_disk_t *disk, uint64_t now_us);
/** The process dies. */
void lm_fake_disk_crash(lm_fake_disk_t *disk);
/** The volume is lost: as new. */
void lm_fake_disk_wipe(lm_fake_disk_t *disk);
/** The next command fails. */
void lm_fake_disk_break(lm_fake_disk_t *disk);

const lm_raft_identity_t *lm_fake_disk_identity(const lm_fake_disk_t *disk);
uint64_t lm_fake_disk_entries(const lm_fake_disk_t *disk);
uint64_t lm_fake_disk_term(const lm_fake_disk_t *disk);

/** A number below bound, from a state that moves on. */
uint64_t lm_fake_chance(uint64_t *state, uint64_t bound);

#endif
