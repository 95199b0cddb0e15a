/* The raft actor's room: consensus between the nodes of a region, for the lock actor of this one.
 *
 *    new --START--> opening --+--> forming --> loading --> running
 *                             +----------------^   (data directory of a node that has voted)
 *
 * Messages: README.md. The room owns no thread and reads no clock; the disk is given to it. */
#ifndef LM_RAFT_ROOM_H
#define LM_RAFT_ROOM_H

#include "act_room.h"
#include "raft_bootstrap.h"
#include "raft_disk.h"

typedef struct lm_raft_room lm_raft_room_t;

extern const lm_room_t lm_raft_room;

/** A room that draws its chances from random. */
lm_raft_room_t *lm_raft_room_new(lm_raft_random_t *random, void *random_arg);
void lm_raft_room_destroy(lm_raft_room_t **room);

/** Gives it its disk, whose reports (lm_raft_done_t) come through the room's inlet. Before START;
 * the disk stays the caller's. */
void lm_raft_room_set_disk(lm_raft_room_t *room, lm_raft_disk_t *disk);

/** Lets the room ask how many writes of the log there were and how long they took together. */
void lm_raft_room_set_writes(lm_raft_room_t *room,
                             void (*writes)(const lm_raft_disk_t *disk, uint64_t *count,
                                            uint64_t *microseconds));

#endif
