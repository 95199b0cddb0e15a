#include "core_index.h"

#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"

#define BUCKETS_MIN 64

static void **link_of(const lm_index_t *index, const void *object)
{
    return (void **)(void *)((char *)(uintptr_t)object + index->link);
}

static void **bucket_of(const lm_index_t *index, uint32_t hash)
{
    return &index->buckets[hash & (index->n_buckets - 1)];
}

static void allocate(lm_index_t *index, uint32_t n_buckets)
{
    index->n_buckets = n_buckets;
    index->buckets = lm_alloc(n_buckets * sizeof(void *));
}

void lm_index_init(lm_index_t *index, size_t link, uint32_t (*hash_of)(const void *object))
{
    *index = (lm_index_t){.link = link, .hash_of = hash_of};
    allocate(index, BUCKETS_MIN);
}

void lm_index_free(lm_index_t *index)
{
    free(index->buckets);
    *index = (lm_index_t){0};
}

static void put(lm_index_t *index, void *object)
{
    void **bucket = bucket_of(index, index->hash_of(object));
    *link_of(index, object) = *bucket;
    *bucket = object;
}

static void grow(lm_index_t *index)
{
    void **old = index->buckets;
    uint32_t n_old = index->n_buckets;
    allocate(index, n_old * 2);
    for (uint32_t i = 0; i < n_old; i++) {
        void *next;
        for (void *object = old[i]; object; object = next) {
            next = *link_of(index, object);
            put(index, object);
        }
    }
    free(old);
}

void lm_index_insert(lm_index_t *index, void *object)
{
    if (index->count / 2 >= index->n_buckets && index->n_buckets <= UINT32_MAX / 4) grow(index);
    put(index, object);
    index->count++;
}

void lm_index_remove(lm_index_t *index, void *object)
{
    void **at = bucket_of(index, index->hash_of(object));
    while (*at && *at != object) at = link_of(index, *at);
    LM_CHECK(*at == object, "object is not in the index");
    *at = *link_of(index, object);
    index->count--;
}

void *lm_index_first(const lm_index_t *index, uint32_t hash) { return *bucket_of(index, hash); }

void *lm_index_next(const lm_index_t *index, const void *object) { return *link_of(index, object); }

void lm_index_each(const lm_index_t *index, void (*each)(void *arg, void *object), void *arg)
{
    for (uint32_t i = 0; i < index->n_buckets; i++) {
        void *next;
        for (void *object = index->buckets[i]; object; object = next) {
            next = *link_of(index, object);
            each(arg, object);
        }
    }
}
