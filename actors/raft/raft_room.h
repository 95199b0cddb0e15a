/* The raft actor's room: consensus between the nodes of a region, for the lock actor of this one.
 *
 *    new --START--> opening --+--> forming --> loading --> running
 *                             +----------------^   (data directory of a node that has voted)
 *
 * Messages: README.md. The room owns no thread and reads no clock; the disk is given to it. */
#ifndef LM_RAFT_ROOM_H
#define LM_RAFT_ROOM_H

#include "act_room.h"
#include "base_histogram.h"
#include "raft_bootstrap.h"
#include "raft_disk.h"

typedef struct lm_raft_room lm_raft_room_t;

extern const lm_room_t lm_raft_room;

/** A room that draws its chances from random. */
lm_raft_room_t *lm_raft_room_new(lm_raft_random_t *random, void *random_arg);
void lm_raft_room_destroy(lm_raft_room_t **room);

/** Gives it its disk, whose reports (lm_raft_done_t) come through the room's inlet. Before
 *  START; the disk stays the caller's. */
void lm_raft_room_set_disk(lm_raft_room_t *room, lm_raft_disk_t *disk);

/** Lets the room ask how long the writes of the log took. */
void lm_raft_room_set_writes(lm_raft_room_t *room,
                             const lm_histogram_t *(*writes)(const lm_raft_disk_t *disk));

/** Pieces of images of that size, and bounds on what waits for the lock (S20) that are no more than
 *  their multiple of raft.snapshot_bytes, however little that is: a test has little to fill them
 *  with. Before START; all nodes of a region alike. */
void lm_raft_room_set_small(lm_raft_room_t *room, size_t piece_bytes, bool small_bounds);

#endif
