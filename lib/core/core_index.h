/* A hash index whose links lie in the indexed objects themselves.
 *
 * A lock that is held stands in four indexes, a million times; a handle of uthash costs 56 bytes in
 * each, a link here 8. Nothing ever walks an index in the order of its buckets except to count, to
 * free or to sort.
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

typedef struct {
    void **buckets;
    uint32_t n_buckets; /* a power of two */
    uint32_t count;
    size_t link; /* offset in the object of the pointer to the next of its bucket */
    uint32_t (*hash_of)(const void *object);
} lm_index_t;

void lm_index_init(lm_index_t *index, size_t link, uint32_t (*hash_of)(const void *object));
/** Gives back the buckets; the objects are the caller's. */
void lm_index_free(lm_index_t *index);

void lm_index_insert(lm_index_t *index, void *object);
/** Stops the actor if object is not there. */
void lm_index_remove(lm_index_t *index, void *object);

/** First object that may have that hash, and the next one; NULL behind the last. The caller
 *  compares keys. */
void *lm_index_first(const lm_index_t *index, uint32_t hash);
void *lm_index_next(const lm_index_t *index, const void *object);

/** Calls each for every object, in no useful order; each must not change the index but may free the
 *  object. */
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
