/* Chunks of LM_LOCK_CHUNK_ITEMS items behind a directory; a pool keeps a list of what is free. */
#include "lock_chunks.h"

#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"

enum { LM_FIRST_CHUNKS = 8 };

void lm_lock_chunks_grow(lm_lock_chunks_t *chunks, size_t n, size_t item_size)
{
    while (chunks->n * LM_LOCK_CHUNK_ITEMS < n) {
        if (chunks->n == chunks->room) {
            chunks->room = chunks->room ? chunks->room * 2 : LM_FIRST_CHUNKS;
            chunks->items = lm_realloc(chunks->items, chunks->room * sizeof *chunks->items);
        }
        chunks->items[chunks->n++] = lm_alloc(LM_LOCK_CHUNK_ITEMS * item_size);
    }
}

void lm_lock_chunks_shrink(lm_lock_chunks_t *chunks, size_t n)
{
    while (chunks->n && (chunks->n - 1) * LM_LOCK_CHUNK_ITEMS >= n + LM_LOCK_CHUNK_ITEMS)
        free(chunks->items[--chunks->n]);
}

void lm_lock_chunks_clear(lm_lock_chunks_t *chunks)
{
    while (chunks->n) free(chunks->items[--chunks->n]);
    free(chunks->items);
    *chunks = (lm_lock_chunks_t){0};
}

/* ---- pools ----------------------------------------------------------------------------------- */

void *lm_lock_pool_take(lm_lock_pool_t *pool, size_t size)
{
    void *object = pool->free;
    pool->n++;
    if (object) {
        memcpy(&pool->free, object, sizeof pool->free);
    } else {
        lm_lock_chunks_grow(&pool->chunks, pool->used + 1, size);
        object = lm_lock_chunks_at(&pool->chunks, pool->used++, size);
    }
    memset(object, 0, size);
    return object;
}

void lm_lock_pool_give(lm_lock_pool_t *pool, void *object)
{
    LM_CHECK(pool->n > 0, "an object is given back to an empty pool");
    memcpy(object, &pool->free, sizeof pool->free);
    pool->free = object;
    if (--pool->n > 0) return;
    lm_lock_chunks_shrink(&pool->chunks, 0);
    pool->used = 0;
    pool->free = NULL;
}

void lm_lock_pool_clear(lm_lock_pool_t *pool)
{
    lm_lock_chunks_clear(&pool->chunks);
    *pool = (lm_lock_pool_t){0};
}
