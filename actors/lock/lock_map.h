/* A hash table of things that carry their own link.
 *
 * The table stores no keys: a search walks the links of one hash, and the caller compares. It grows
 * and shrinks by one bucket at a time, so that no single put or take is long, however much is in
 * it.
 *
 * Invariants
 *   M1  low <= n_buckets < 2 * low, both 0 or at least the first 64; low is a power of two.
 *   M2  A link is in the bucket that its mixed hash names modulo 2 * low, or, if there is none yet,
 *       modulo low.
 */
#ifndef LM_LOCK_MAP_H
#define LM_LOCK_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "lock_chunks.h"

typedef struct lm_lock_link {
    struct lm_lock_link *next;
    uint64_t hash;
} lm_lock_link_t;

/** All zero is an empty table. */
typedef struct {
    lm_lock_chunks_t buckets;
    size_t n_buckets, low;
    size_t n;
} lm_lock_map_t;

/** Puts link in under that hash, which needs not be spread; the link must not be in any table. */
void lm_lock_map_put(lm_lock_map_t *map, lm_lock_link_t *link, uint64_t hash);

/** Takes link out; it must be in this table. */
void lm_lock_map_take(lm_lock_map_t *map, lm_lock_link_t *link);

/** The first link with that hash; NULL if there is none. */
lm_lock_link_t *lm_lock_map_first(const lm_lock_map_t *map, uint64_t hash);
/** The next link with the same hash as this one; NULL if there is none. */
lm_lock_link_t *lm_lock_map_next(const lm_lock_link_t *link);

/** Forgets everything that is in it, without a look at it, and frees the table's own memory. */
void lm_lock_map_clear(lm_lock_map_t *map);

/** A number spread over 64 bits. */
uint64_t lm_lock_map_mix(uint64_t number);

/** The struct that contains a link or a timer. */
#define LM_LOCK_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
