/* Many locks in a rig, from its log; and locks that begin with an image of them. */
#ifndef LOCK_LOT_H
#define LOCK_LOT_H

#include "lock_rig.h"

/* Enough for several pieces of image. */
enum { LOT_LOCKS = 6000, LOT_PIECE = 256 * 1024 };

/** A started lock that follows in term 1, with an empty log. */
rig_t *lot_following(void);
/** The same with LOT_LOCKS holds, numbered from 1 on. */
rig_t *lot_filled(void);
/** Acquire of the lock with that number, by an owner of 500 of them; TTL 20 s and number ms. */
lm_command_t lot_acquire(rig_t *rig, uint64_t number);
/** Appends and delivers Acquires of n locks. */
void lot_fill(rig_t *rig, uint64_t from, uint64_t n);
/** Renews holds that lot_fill made, where nothing else was before them. */
void lot_renew(rig_t *rig, uint64_t from, uint64_t n);

/** The image at the last entry delivered; the caller's. */
rig_image_t lot_image_of(rig_t *rig);
/** Copies the log of one rig to another. */
void lot_share_log(rig_t *to, const rig_t *from);
/** A lock that has begun with an image, before the rest of the log. */
rig_t *lot_restored(const rig_t *from, const rig_image_t *image, uint32_t counter);

uint64_t lot_hash_of(const rig_t *rig);
uint64_t lot_holds_of(const rig_t *rig);
void lot_advance(rig_t *rig, uint64_t ms);

#endif
