/* Arrays that grow without moving, and pools of small objects in them.
 *
 * A million leases in arrays that double would be copied in one turn, and half of the memory would
 * be air; in memory of their own each would cost a header.
 *
 * Invariants
 *   C1  An item stays where it is as long as it exists; new memory is zeroed.
 *   C2  No call takes longer than the allocation of one chunk.
 */
#ifndef LM_LOCK_CHUNKS_H
#define LM_LOCK_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

enum { LM_LOCK_CHUNK_SHIFT = 11, LM_LOCK_CHUNK_ITEMS = 1 << LM_LOCK_CHUNK_SHIFT };

/** All zero is an empty array. */
typedef struct {
    uint8_t **items; /* by chunk */
    size_t n, room;  /* chunks */
} lm_lock_chunks_t;

/** Makes sure that the first n items of that size exist. */
void lm_lock_chunks_grow(lm_lock_chunks_t *chunks, size_t n, size_t item_size);
/** Frees what lies more than a chunk behind the first n items. */
void lm_lock_chunks_shrink(lm_lock_chunks_t *chunks, size_t n);
void lm_lock_chunks_clear(lm_lock_chunks_t *chunks);

static inline void *lm_lock_chunks_at(const lm_lock_chunks_t *chunks, size_t i, size_t item_size)
{
    return chunks->items[i >> LM_LOCK_CHUNK_SHIFT] + (i & (LM_LOCK_CHUNK_ITEMS - 1)) * item_size;
}

/** Objects of one size, at least that of a pointer. All zero is an empty pool. Its memory is given
 *  back, but for one chunk, when the last object is. */
typedef struct {
    lm_lock_chunks_t chunks;
    size_t used; /* items that were ever given out */
    size_t n;    /* objects that exist */
    void *free;  /* first of those given back, each beginning with a pointer to the next */
} lm_lock_pool_t;

/** A zeroed object. size is the same in all calls. */
void *lm_lock_pool_take(lm_lock_pool_t *pool, size_t size);
void lm_lock_pool_give(lm_lock_pool_t *pool, void *object);
/** All objects of the pool are gone. */
void lm_lock_pool_clear(lm_lock_pool_t *pool);

#endif
