/* The room of the lock actor: the region's state machine on this node, and, on the leader,
 * everything around it that counts time and talks to callers. README.md tells what comes in and
 * goes out. */
#ifndef LM_LOCK_ROOM_H
#define LM_LOCK_ROOM_H

#include "act_room.h"
#include "core_table.h"

typedef struct lm_lock_room lm_lock_room_t;

/** Fills bytes with what nobody can guess: the secrets of sessions. */
typedef void (*lm_lock_draw_t)(void *arg, void *bytes, size_t size);

/** A room with an empty table. generation is this start of the actor: half of the authority under
 *  which it leads. draw is called with arg, which has to outlive the room. */
lm_lock_room_t *lm_lock_room_new(lm_generation_t generation, lm_lock_draw_t draw, void *arg);
void lm_lock_room_destroy(lm_lock_room_t **room);

/** Its description for a host. */
const lm_room_t *lm_lock_room_definition(void);

/* ---- for tests ------------------------------------------------------------------------------- */

const lm_table_t *lm_lock_room_table(const lm_lock_room_t *room);
/** True while it leads and its Takeover has been applied. */
bool lm_lock_room_serves(const lm_lock_room_t *room);
/** True while commands wait for others, so that they share an entry. */
bool lm_lock_room_gathers(const lm_lock_room_t *room);
/** True while an image is taken for raft, and while one of raft's is loaded. */
bool lm_lock_room_is_taking_snapshot(const lm_lock_room_t *room);
bool lm_lock_room_is_restoring(const lm_lock_room_t *room);
/** Calls without an answer, and commands that wait or are on their way. */
size_t lm_lock_room_calls(const lm_lock_room_t *room);
size_t lm_lock_room_commands(const lm_lock_room_t *room);
/** Makes the pieces of images that small. */
void lm_lock_room_set_piece(lm_lock_room_t *room, size_t bytes_max);
/** So many commands under way are a crowd. */
void lm_lock_room_set_crowd(lm_lock_room_t *room, size_t n);
/** Stops the process if an invariant of lock_state.h does not hold; slow. */
void lm_lock_room_verify(const lm_lock_room_t *room);

#endif
