/* Hash table with links inside of what it holds: chains, doubled when there is one per bucket. */
#include "lock_map.h"

#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"

enum { LM_FIRST_BUCKETS = 64 };

static lm_lock_link_t **bucket_of(const lm_lock_map_t *map, uint64_t hash)
{
    return &map->buckets[lm_lock_map_mix(hash) & (map->n_buckets - 1)];
}

static void grow(lm_lock_map_t *map)
{
    lm_lock_map_t old = *map;
    map->n_buckets = old.n_buckets ? old.n_buckets * 2 : LM_FIRST_BUCKETS;
    map->buckets = lm_alloc(map->n_buckets * sizeof(lm_lock_link_t *));
    memset(map->buckets, 0, map->n_buckets * sizeof(lm_lock_link_t *));
    for (size_t i = 0; i < old.n_buckets; i++) {
        for (lm_lock_link_t *link = old.buckets[i], *next; link; link = next) {
            next = link->next;
            lm_lock_link_t **bucket = bucket_of(map, link->hash);
            link->next = *bucket;
            *bucket = link;
        }
    }
    free(old.buckets);
}

void lm_lock_map_put(lm_lock_map_t *map, lm_lock_link_t *link, uint64_t hash)
{
    if (map->n >= map->n_buckets) grow(map);
    lm_lock_link_t **bucket = bucket_of(map, hash);
    link->hash = hash;
    link->next = *bucket;
    *bucket = link;
    map->n++;
}

void lm_lock_map_take(lm_lock_map_t *map, lm_lock_link_t *link)
{
    LM_CHECK(map->n > 0, "a link is taken out of an empty table");
    lm_lock_link_t **at = bucket_of(map, link->hash);
    while (*at && *at != link) at = &(*at)->next;
    LM_CHECK(*at == link, "a link is taken out of a table that does not hold it");
    *at = link->next;
    link->next = NULL;
    map->n--;
}

static lm_lock_link_t *with_hash(lm_lock_link_t *link, uint64_t hash)
{
    while (link && link->hash != hash) link = link->next;
    return link;
}

lm_lock_link_t *lm_lock_map_first(const lm_lock_map_t *map, uint64_t hash)
{
    return map->n ? with_hash(*bucket_of(map, hash), hash) : NULL;
}

lm_lock_link_t *lm_lock_map_next(const lm_lock_link_t *link)
{
    return with_hash(link->next, link->hash);
}

void lm_lock_map_drain(lm_lock_map_t *map, void (*free_one)(void *arg, lm_lock_link_t *link),
                       void *arg)
{
    lm_lock_map_t old = *map;
    *map = (lm_lock_map_t){0};
    for (size_t i = 0; i < old.n_buckets; i++) {
        for (lm_lock_link_t *link = old.buckets[i], *next; link; link = next) {
            next = link->next;
            free_one(arg, link);
        }
    }
    free(old.buckets);
}

uint64_t lm_lock_map_mix(uint64_t number)
{
    number ^= number >> 32;
    number *= UINT64_C(0x9e3779b97f4a7c15);
    return number ^ number >> 29;
}
