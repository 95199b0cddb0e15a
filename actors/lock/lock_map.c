/* Linear hashing: whenever there is more than one link per bucket, the next bucket in turn is split
 * in two; when there is less than one in four, the last is merged into its half. */
#include "lock_map.h"

#include <string.h>

#include "base_check.h"

enum { LM_FIRST_BUCKETS = 64, LM_AIR = 4 };

static lm_lock_link_t **bucket_at(const lm_lock_map_t *map, size_t at)
{
    return lm_lock_chunks_at(&map->buckets, at, sizeof(lm_lock_link_t *));
}

static lm_lock_link_t **bucket_of(const lm_lock_map_t *map, uint64_t hash)
{
    uint64_t mixed = lm_lock_map_mix(hash);
    size_t at = mixed & (map->low * 2 - 1);
    return bucket_at(map, at < map->n_buckets ? at : at - map->low);
}

static void push(lm_lock_link_t **bucket, lm_lock_link_t *link)
{
    link->next = *bucket;
    *bucket = link;
}

static void begin(lm_lock_map_t *map)
{
    lm_lock_chunks_grow(&map->buckets, LM_FIRST_BUCKETS, sizeof(lm_lock_link_t *));
    map->n_buckets = map->low = LM_FIRST_BUCKETS;
}

/* What belongs to the new bucket is in the one whose number lacks the new highest bit. */
static void split(lm_lock_map_t *map)
{
    lm_lock_chunks_grow(&map->buckets, map->n_buckets + 1, sizeof(lm_lock_link_t *));
    lm_lock_link_t **from = bucket_at(map, map->n_buckets - map->low);
    lm_lock_link_t *link = *from;
    *from = *bucket_at(map, map->n_buckets) = NULL;
    map->n_buckets++;
    for (lm_lock_link_t *next; link; link = next) {
        next = link->next;
        push(bucket_of(map, link->hash), link);
    }
    if (map->n_buckets == map->low * 2) map->low *= 2;
}

static void merge(lm_lock_map_t *map)
{
    if (map->n_buckets == map->low) map->low /= 2;
    map->n_buckets--;
    lm_lock_link_t *link = *bucket_at(map, map->n_buckets);
    lm_lock_link_t **to = bucket_at(map, map->n_buckets - map->low);
    for (lm_lock_link_t *next; link; link = next) {
        next = link->next;
        push(to, link);
    }
    lm_lock_chunks_shrink(&map->buckets, map->n_buckets);
}

void lm_lock_map_put(lm_lock_map_t *map, lm_lock_link_t *link, uint64_t hash)
{
    if (!map->n_buckets) begin(map);
    if (map->n >= map->n_buckets) split(map);
    link->hash = hash;
    push(bucket_of(map, hash), link);
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
    if (map->n_buckets > LM_FIRST_BUCKETS && map->n < map->n_buckets / LM_AIR) merge(map);
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

void lm_lock_map_clear(lm_lock_map_t *map)
{
    lm_lock_chunks_clear(&map->buckets);
    *map = (lm_lock_map_t){0};
}

uint64_t lm_lock_map_mix(uint64_t number)
{
    number ^= number >> 32;
    number *= UINT64_C(0x9e3779b97f4a7c15);
    return number ^ number >> 29;
}
