#include "base_pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base_arena.h"
#include "base_check.h"
#include "base_poison.h"

#define SLAB_BYTES ((size_t)64 * 1024)
#define SLABS_MAX ((uint32_t)(LM_POOL_SPAN / SLAB_BYTES))
/* How much of the range is made usable at a time. */
#define STEP_BYTES ((size_t)4 * 1024 * 1024)

enum { CLASSES = LM_POOL_OBJECT_MAX / LM_POOL_GRAIN + 1, NO_SLAB = UINT32_MAX };

/** At the beginning of a slab. Places count from there in grains; 0 is none. */
typedef struct {
    uint32_t next, previous; /* slabs of the same size that have room */
    uint16_t grains;         /* of an object */
    uint16_t used;           /* objects */
    uint16_t freed;          /* place of the first freed object; it holds the place of the next */
    uint16_t fresh;          /* place of the first object that was never used */
} slab_t;

enum { FIRST_PLACE = (sizeof(slab_t) + LM_POOL_GRAIN - 1) / LM_POOL_GRAIN };

struct lm_pool {
    uint8_t *base;
    size_t usable;               /* bytes from base on */
    uint32_t n_slabs;            /* that were ever used */
    uint32_t with_room[CLASSES]; /* first slab of that size that has room, or NO_SLAB */
    uint32_t *idle;              /* slabs without objects */
    uint32_t n_idle, idle_capacity;
};

/* ---- the range ------------------------------------------------------------------------------- */

static uint8_t *reserve(void)
{
    uint8_t *range =
        mmap(NULL, 2 * LM_POOL_SPAN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LM_CHECK(range != MAP_FAILED, "no %zu bytes of addresses", (size_t)(2 * LM_POOL_SPAN));
    size_t before = (LM_POOL_SPAN - ((uintptr_t)range & (LM_POOL_SPAN - 1))) & (LM_POOL_SPAN - 1);
    if (before) munmap(range, before);
    if (before < LM_POOL_SPAN) munmap(range + before + LM_POOL_SPAN, LM_POOL_SPAN - before);
    return range + before;
}

lm_pool_t *lm_pool_new(void)
{
    lm_pool_t *pool = lm_alloc(sizeof *pool);
    pool->base = reserve();
    for (int i = 0; i < CLASSES; i++) pool->with_room[i] = NO_SLAB;
    return pool;
}

void lm_pool_destroy(lm_pool_t **pool_ref)
{
    lm_pool_t *pool = *pool_ref;
    if (!pool) return;
    LM_UNPOISON(pool->base, pool->usable);
    munmap(pool->base, LM_POOL_SPAN);
    free(pool->idle);
    free(pool);
    *pool_ref = NULL;
}

const void *lm_pool_base(const lm_pool_t *pool) { return pool->base; }

size_t lm_pool_bytes(const lm_pool_t *pool)
{
    return (size_t)(pool->n_slabs - pool->n_idle) * SLAB_BYTES;
}

/* ---- slabs ----------------------------------------------------------------------------------- */

static slab_t *slab_at(const lm_pool_t *pool, uint32_t number)
{
    return (slab_t *)(void *)(pool->base + number * SLAB_BYTES);
}

static uint32_t number_of(const lm_pool_t *pool, const void *address)
{
    return (uint32_t)((size_t)((const uint8_t *)address - pool->base) / SLAB_BYTES);
}

static void make_usable(lm_pool_t *pool, size_t bytes)
{
    if (bytes <= pool->usable) return;
    LM_CHECK(mprotect(pool->base + pool->usable, STEP_BYTES, PROT_READ | PROT_WRITE) == 0,
             "out of memory, %zu bytes in use", pool->usable);
    /* Objects that belong together lie anywhere: with small pages half of the time goes into
     * finding them. Small pools stay small; and where the system has no huge pages, nothing is
     * lost. */
    if (pool->usable) madvise(pool->base + pool->usable, STEP_BYTES, MADV_HUGEPAGE);
    pool->usable += STEP_BYTES;
}

/** A slab of zeroed memory. */
static uint32_t take_slab(lm_pool_t *pool)
{
    if (pool->n_idle) return pool->idle[--pool->n_idle];
    LM_CHECK(pool->n_slabs < SLABS_MAX, "a pool is full");
    make_usable(pool, (pool->n_slabs + 1) * SLAB_BYTES);
    return pool->n_slabs++;
}

static void link_slab(lm_pool_t *pool, uint32_t number)
{
    slab_t *slab = slab_at(pool, number);
    uint32_t *first = &pool->with_room[slab->grains];
    slab->previous = NO_SLAB;
    slab->next = *first;
    if (*first != NO_SLAB) slab_at(pool, *first)->previous = number;
    *first = number;
}

static void unlink_slab(lm_pool_t *pool, uint32_t number)
{
    slab_t *slab = slab_at(pool, number);
    if (slab->next != NO_SLAB) slab_at(pool, slab->next)->previous = slab->previous;
    if (slab->previous != NO_SLAB)
        slab_at(pool, slab->previous)->next = slab->next;
    else
        pool->with_room[slab->grains] = slab->next;
}

static void new_slab(lm_pool_t *pool, uint16_t grains)
{
    uint32_t number = take_slab(pool);
    slab_t *slab = slab_at(pool, number);
    LM_UNPOISON(slab, sizeof *slab);
    *slab = (slab_t){.grains = grains, .fresh = FIRST_PLACE};
    LM_POISON(slab + 1, SLAB_BYTES - sizeof *slab);
    link_slab(pool, number);
}

static void retire_slab(lm_pool_t *pool, uint32_t number)
{
    unlink_slab(pool, number);
    uint8_t *slab = (uint8_t *)slab_at(pool, number);
    /* Gives the pages back; they read as zero when they are used again. */
    LM_CHECK(madvise(slab, SLAB_BYTES, MADV_DONTNEED) == 0, "madvise");
    LM_POISON(slab, SLAB_BYTES);
    if (pool->n_idle == pool->idle_capacity) {
        pool->idle_capacity = pool->idle_capacity ? pool->idle_capacity * 2 : 16;
        pool->idle = lm_realloc(pool->idle, pool->idle_capacity * sizeof *pool->idle);
    }
    pool->idle[pool->n_idle++] = number;
}

static bool has_room(const slab_t *slab)
{
    return slab->freed || (slab->fresh + (size_t)slab->grains) * LM_POOL_GRAIN <= SLAB_BYTES;
}

/* ---- objects --------------------------------------------------------------------------------- */

static uint16_t grains_of(size_t size)
{
    LM_CHECK(size >= 1 && size <= LM_POOL_OBJECT_MAX, "object of %zu bytes", size);
    return (uint16_t)((size + LM_POOL_GRAIN - 1) / LM_POOL_GRAIN);
}

static void *place_at(slab_t *slab, uint16_t place)
{
    return (uint8_t *)slab + (size_t)place * LM_POOL_GRAIN;
}

static void *take_object(slab_t *slab, size_t size)
{
    size_t whole = (size_t)slab->grains * LM_POOL_GRAIN;
    void *object = place_at(slab, slab->freed ? slab->freed : slab->fresh);
    LM_UNPOISON(object, whole);
    if (slab->freed) {
        memcpy(&slab->freed, object, sizeof slab->freed);
        memset(object, 0, whole);
    } else {
        slab->fresh = (uint16_t)(slab->fresh + slab->grains); /* zeroed: never used */
    }
    LM_POISON((uint8_t *)object + size, whole - size);
    slab->used++;
    return object;
}

void *lm_pool_alloc(lm_pool_t *pool, size_t size)
{
    uint16_t grains = grains_of(size);
    if (pool->with_room[grains] == NO_SLAB) new_slab(pool, grains);
    uint32_t number = pool->with_room[grains];
    slab_t *slab = slab_at(pool, number);
    void *object = take_object(slab, size);
    if (!has_room(slab)) unlink_slab(pool, number);
    return object;
}

void lm_pool_free(lm_pool_t *pool, void *object, size_t size)
{
    uint32_t number = number_of(pool, object);
    LM_CHECK(number < pool->n_slabs, "object %p is in another pool", object);
    slab_t *slab = slab_at(pool, number);
    LM_CHECK(slab->grains == grains_of(size) && slab->used > 0, "object of %zu bytes", size);
    bool had_room = has_room(slab);
    LM_UNPOISON(object, sizeof slab->freed);
    memcpy(object, &slab->freed, sizeof slab->freed);
    slab->freed = (uint16_t)((size_t)((uint8_t *)object - (uint8_t *)slab) / LM_POOL_GRAIN);
    LM_POISON(object, (size_t)slab->grains * LM_POOL_GRAIN);
    slab->used--;
    if (!had_room) link_slab(pool, number);
    /* The last one of its size with room stays, or one object could drive it to and fro. */
    if (!slab->used && (slab->next != NO_SLAB || slab->previous != NO_SLAB))
        retire_slab(pool, number);
}
