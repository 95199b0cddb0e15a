/* A hash index whose links lie in the indexed objects themselves, all in one pool.
 *
 * A lock that is held stands in four indexes, a million times; a handle of uthash costs 56 bytes in
 * each, a link here 4. It grows by one bucket at a time (linear hashing), whose objects come from
 * one other bucket, and the buckets are in segments that are never moved: no insertion takes long,
 * however many objects there are. Nothing ever walks an index in the order of its buckets except to
 * count, to free or to sort.
 *
 *   hash & (2 * low - 1) -> bucket; those that do not exist yet share the bucket of
 *   hash & (low - 1), where low <= n_buckets < 2 * low is a power of two
 *
 * Invariants
 *   X1  An object is in an index at most once, and its hash does not change while it is.
 *   X2  There are at most two objects per bucket on average.
 */
#ifndef LM_CORE_INDEX_H
#define LM_CORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base_pool.h"

/* The first has LM_INDEX_BUCKETS_MIN buckets, each further one as many as all before it. */
#define LM_INDEX_SEGMENTS 26
#define LM_INDEX_BUCKETS_MIN 64U

typedef struct {
    lm_ref_t *segments[LM_INDEX_SEGMENTS];
    uint32_t n_buckets, low;
    uint32_t count;
    size_t link; /* offset in the object of the reference to the next of its bucket */
    const void *base;
    uint32_t (*hash_of)(const void *object);
} lm_index_t;

/** For objects of that pool. */
void lm_index_init(lm_index_t *index, const lm_pool_t *pool, size_t link,
                   uint32_t (*hash_of)(const void *object));
/** Gives back the buckets; the objects are the caller's. */
void lm_index_free(lm_index_t *index);

/** Makes an empty index as large as it will be with about that many objects; further ones are
 *  welcome. */
void lm_index_reserve(lm_index_t *index, uint32_t objects);

/** Adds an object that is not there yet. */
void lm_index_insert(lm_index_t *index, void *object);
/** Stops the actor if object is not there. */
void lm_index_remove(lm_index_t *index, void *object);

/** First object that may have that hash, and the next one; NULL behind the last. The caller
 *  compares keys. */
void *lm_index_first(const lm_index_t *index, uint32_t hash);
void *lm_index_next(const lm_index_t *index, const void *object);

/** For many searches at a time: first lm_index_fetch for all, then lm_index_fetch_first for all,
 *  then the searches themselves; so the memory that they need comes meanwhile. */
void lm_index_fetch(const lm_index_t *index, uint32_t hash);
void lm_index_fetch_first(const lm_index_t *index, uint32_t hash);

/** Calls each for every object, in no useful order; each must not change the index. */
void lm_index_each(const lm_index_t *index, void (*each)(void *arg, void *object), void *arg);

/** Spreads 64 bits over all bits of the result. */
static inline uint64_t lm_index_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

#endif
