#include "core_index.h"

#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"

#define BUCKETS_MAX (LM_INDEX_BUCKETS_MIN << (LM_INDEX_SEGMENTS - 1))

static lm_ref_t *link_of(const lm_index_t *index, const void *object)
{
    return (lm_ref_t *)(void *)((char *)(uintptr_t)object + index->link);
}

static void *object_at(const lm_index_t *index, lm_ref_t ref)
{
    return lm_pool_at(index->base, ref);
}

/** Number of the segment in which a bucket lies. */
static uint32_t segment_of(uint32_t bucket)
{
    if (bucket < LM_INDEX_BUCKETS_MIN) return 0;
    return 32U - (uint32_t)__builtin_clz(bucket / LM_INDEX_BUCKETS_MIN);
}

static lm_ref_t *bucket_at(const lm_index_t *index, uint32_t bucket)
{
    uint32_t segment = segment_of(bucket);
    uint32_t before = segment ? LM_INDEX_BUCKETS_MIN << (segment - 1) : 0;
    return &index->segments[segment][bucket - before];
}

static lm_ref_t *bucket_of(const lm_index_t *index, uint32_t hash)
{
    uint32_t bucket = hash & (2 * index->low - 1);
    return bucket_at(index, bucket < index->n_buckets ? bucket : hash & (index->low - 1));
}

void lm_index_init(lm_index_t *index, const lm_pool_t *pool, size_t link,
                   uint32_t (*hash_of)(const void *object))
{
    *index = (lm_index_t){.link = link,
                          .base = lm_pool_base(pool),
                          .hash_of = hash_of,
                          .low = LM_INDEX_BUCKETS_MIN,
                          .n_buckets = LM_INDEX_BUCKETS_MIN};
    index->segments[0] = lm_alloc(LM_INDEX_BUCKETS_MIN * sizeof(lm_ref_t));
}

void lm_index_free(lm_index_t *index)
{
    for (int i = 0; i < LM_INDEX_SEGMENTS; i++) free(index->segments[i]);
    *index = (lm_index_t){0};
}

static void add_segment(lm_index_t *index, uint32_t segment)
{
    if (!index->segments[segment])
        index->segments[segment] =
            lm_alloc((LM_INDEX_BUCKETS_MIN << (segment - 1)) * sizeof(lm_ref_t));
}

void lm_index_reserve(lm_index_t *index, uint32_t objects)
{
    LM_CHECK(index->count == 0, "an index with %u objects", index->count);
    while (index->n_buckets < objects / 2) {
        add_segment(index, segment_of(index->n_buckets));
        index->n_buckets *= 2;
    }
    index->low = index->n_buckets;
}

/** Adds a bucket, and moves to it what belongs there from the one that stood in for it. */
static void grow(lm_index_t *index)
{
    uint32_t added = index->n_buckets++;
    add_segment(index, segment_of(added));
    lm_ref_t *to = bucket_at(index, added), *from = bucket_at(index, added - index->low);
    uint32_t mask = 2 * index->low - 1;
    while (*from) {
        lm_ref_t ref = *from;
        void *object = object_at(index, ref);
        lm_ref_t *link = link_of(index, object);
        if ((index->hash_of(object) & mask) != added) {
            from = link;
            continue;
        }
        *from = *link;
        *link = *to;
        *to = ref;
    }
    if (index->n_buckets == 2 * index->low) index->low *= 2;
}

void lm_index_insert(lm_index_t *index, void *object)
{
    if (index->count / 2 >= index->n_buckets && index->n_buckets < BUCKETS_MAX) grow(index);
    lm_ref_t *bucket = bucket_of(index, index->hash_of(object));
    *link_of(index, object) = *bucket;
    *bucket = lm_pool_ref(object);
    index->count++;
}

void lm_index_remove(lm_index_t *index, void *object)
{
    lm_ref_t *at = bucket_of(index, index->hash_of(object)), ref = lm_pool_ref(object);
    while (*at && *at != ref) at = link_of(index, object_at(index, *at));
    LM_CHECK(*at == ref, "object is not in the index");
    *at = *link_of(index, object);
    index->count--;
}

void *lm_index_first(const lm_index_t *index, uint32_t hash)
{
    return object_at(index, *bucket_of(index, hash));
}

void *lm_index_next(const lm_index_t *index, const void *object)
{
    return object_at(index, *link_of(index, object));
}

void lm_index_fetch(const lm_index_t *index, uint32_t hash)
{
    __builtin_prefetch(bucket_of(index, hash), 1);
}

void lm_index_fetch_first(const lm_index_t *index, uint32_t hash)
{
    __builtin_prefetch(lm_index_first(index, hash), 1);
}

void lm_index_each(const lm_index_t *index, void (*each)(void *arg, void *object), void *arg)
{
    for (uint32_t i = 0; i < index->n_buckets; i++)
        for (void *object = object_at(index, *bucket_at(index, i)); object;
             object = lm_index_next(index, object))
            each(arg, object);
}
