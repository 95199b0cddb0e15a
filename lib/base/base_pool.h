/* Memory for many small objects that refer to each other.
 *
 * A million locks are a few million objects with a dozen links each: with pointers of 8 bytes and
 * with malloc's heads and rounding the links would cost more than what is stored. In a pool an
 * object has no head, and a reference to it 4 bytes. A pool reserves a range of addresses, aligned
 * to its size, so that the address of any object in it tells where the pool lies.
 *
 * Objects of one size lie together in slabs of 64 KiB; a slab without objects is given back to the
 * system. Freed and unused memory is poisoned for AddressSanitizer. Running out of memory, or of
 * the range, ends the process. Not for several threads at once.
 *
 * Invariants
 *   P1  An object's address is a multiple of LM_POOL_GRAIN and never changes.
 *   P2  Reference 0 is none; no object has it.
 *   P3  A reference may be copied to wherever it likes, but is resolved beside an object of its own
 *       pool. */
#ifndef LM_BASE_POOL_H
#define LM_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

/* Unit of sizes and references. */
#define LM_POOL_GRAIN 8U
/* Range of addresses of a pool: what 32 bits of references reach. */
#define LM_POOL_SPAN ((uintptr_t)LM_POOL_GRAIN << 32)
/* Largest object. */
#define LM_POOL_OBJECT_MAX 1024U

typedef struct lm_pool lm_pool_t;
typedef uint32_t lm_ref_t;

/** An empty pool; it takes memory with the first object. */
lm_pool_t *lm_pool_new(void);
/** Gives back everything at once, whatever has not been freed. */
void lm_pool_destroy(lm_pool_t **pool);

/** A zeroed object of 1..LM_POOL_OBJECT_MAX bytes. */
void *lm_pool_alloc(lm_pool_t *pool, size_t size);
/** size: as it was allocated. */
void lm_pool_free(lm_pool_t *pool, void *object, size_t size);

/** An address to resolve references by where no object is at hand; it must not be read. */
const void *lm_pool_base(const lm_pool_t *pool);
/** Bytes in slabs that have objects. */
size_t lm_pool_bytes(const lm_pool_t *pool);

/** Reference to an object of a pool; 0 for NULL. */
static inline lm_ref_t lm_pool_ref(const void *object)
{
    return (lm_ref_t)(((uintptr_t)object & (LM_POOL_SPAN - 1)) / LM_POOL_GRAIN);
}

/** The object of that reference, in the pool in which beside lies; NULL for 0. */
static inline void *lm_pool_at(const void *beside, lm_ref_t ref)
{
    if (!ref) return NULL;
    uintptr_t base = (uintptr_t)beside & ~(LM_POOL_SPAN - 1);
    return (void *)(base + (uintptr_t)ref * LM_POOL_GRAIN);
}

#endif
