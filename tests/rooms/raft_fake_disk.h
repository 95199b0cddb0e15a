/* A disk in memory, with virtual time: a command is durable when its time has come, in order; those
 * of images have an order of their own. A crash keeps what is durable and, by chance, a beginning
 * of what is under way, down to single steps and torn writes. */
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
/** When the next report is due; UINT64_MAX: nothing is under way. */
uint64_t lm_fake_disk_next_us(const lm_fake_disk_t *disk);
/** The process dies. */
void lm_fake_disk_crash(lm_fake_disk_t *disk);
/** The process dies when exactly that many elementary steps of what is under way have been done.
 *  False if there are fewer: all of them have been done. */
bool lm_fake_disk_crash_after(lm_fake_disk_t *disk, unsigned steps);
/** The last n entries are gone, as after bit rot: the watermark remembers them. Only while nobody
 *  uses the disk. */
void lm_fake_disk_lose(lm_fake_disk_t *disk, uint64_t n);
/** True from a loss until it is made good. */
bool lm_fake_disk_has_loss(const lm_fake_disk_t *disk);
/** One bit of the newest image flips. */
void lm_fake_disk_damage_image(lm_fake_disk_t *disk);
/** The volume is lost: as new. */
void lm_fake_disk_wipe(lm_fake_disk_t *disk);
/** The next command fails. */
void lm_fake_disk_break(lm_fake_disk_t *disk);

const lm_raft_identity_t *lm_fake_disk_identity(const lm_fake_disk_t *disk);
/** Number of stored entries, and index of the last one. */
uint64_t lm_fake_disk_entries(const lm_fake_disk_t *disk);
uint64_t lm_fake_disk_last_index(const lm_fake_disk_t *disk);
uint64_t lm_fake_disk_watermark(const lm_fake_disk_t *disk);
/** The newest snapshot; index 0: none. */
const lm_raft_image_t *lm_fake_disk_image(const lm_fake_disk_t *disk);
/** Bytes of an image that is not complete. */
uint64_t lm_fake_disk_part(const lm_fake_disk_t *disk);
uint64_t lm_fake_disk_term(const lm_fake_disk_t *disk);
/** Whether that entry is on stable storage, in the log or in a snapshot. */
bool lm_fake_disk_has(const lm_fake_disk_t *disk, uint64_t index, uint64_t term);

/** A number below bound, from a state that moves on. */
uint64_t lm_fake_chance(uint64_t *state, uint64_t bound);

#endif
