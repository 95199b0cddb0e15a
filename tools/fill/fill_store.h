/* The locks of a fill: their names and owners, and which of them are held under which hold_id.
 *
 * Invariants
 *   T1  Name, owner and request id of a lock follow from its number alone, so that a second run
 *       means the same locks. They have 32, 16 and 16 bytes.
 *   T2  A place of the file is written when the grant has been answered, not before. */
#ifndef LM_FILL_STORE_H
#define LM_FILL_STORE_H

#include "base_arena.h"

enum { FILL_HOLD_ID_MAX = 47 };

typedef struct fill_store fill_store_t;

/** A store for so many locks: in the file of that path, which is made or, if it is there, taken up;
 *  in memory if path is NULL. Returns NULL after saying why not. */
fill_store_t *fill_store_open(const char *path, uint64_t locks);
void fill_store_close(fill_store_t **store);
uint64_t fill_store_locks(const fill_store_t *store);

/** hold_id of a lock; empty if it is not held. Valid until it is set again. */
lm_bytes_t fill_store_hold(const fill_store_t *store, uint64_t number);
/** False if the id is too long for the store. An empty one says that the lock is not held. */
bool fill_store_set(fill_store_t *store, uint64_t number, lm_bytes_t hold_id);

lm_bytes_t fill_store_name(lm_arena_t *arena, uint64_t number);
lm_bytes_t fill_store_owner(lm_arena_t *arena, uint64_t number);
lm_bytes_t fill_store_request(lm_arena_t *arena, uint64_t number);

#endif
