#include "lock_heap.h"

#include "base_check.h"

typedef struct {
    uint64_t at_us;
    lm_lock_spot_t *spot;
} lm_item_t;

static lm_item_t *item_at(const lm_lock_heap_t *heap, size_t place)
{
    return lm_lock_chunks_at(&heap->items, place - 1, sizeof(lm_item_t));
}

static void put_at(lm_lock_heap_t *heap, size_t place, lm_item_t item)
{
    *item_at(heap, place) = item;
    item.spot->place = (uint32_t)place;
}

static void sift_up(lm_lock_heap_t *heap, size_t place, lm_item_t item)
{
    while (place > 1 && item_at(heap, place / 2)->at_us > item.at_us) {
        put_at(heap, place, *item_at(heap, place / 2));
        place /= 2;
    }
    put_at(heap, place, item);
}

static void sift_down(lm_lock_heap_t *heap, size_t place, lm_item_t item)
{
    for (size_t child; (child = place * 2) <= heap->n; place = child) {
        if (child < heap->n && item_at(heap, child + 1)->at_us < item_at(heap, child)->at_us)
            child++;
        if (item_at(heap, child)->at_us >= item.at_us) break;
        put_at(heap, place, *item_at(heap, child));
    }
    put_at(heap, place, item);
}

/* Puts an item where another one was, or at the end. */
static void settle(lm_lock_heap_t *heap, size_t place, lm_item_t item)
{
    if (place > 1 && item_at(heap, place / 2)->at_us > item.at_us)
        sift_up(heap, place, item);
    else
        sift_down(heap, place, item);
}

void lm_lock_heap_clear(lm_lock_heap_t *heap)
{
    lm_lock_chunks_clear(&heap->items);
    *heap = (lm_lock_heap_t){0};
}

static void check_place(const lm_lock_heap_t *heap, const lm_lock_spot_t *spot)
{
    LM_CHECK(spot->place <= heap->n && item_at(heap, spot->place)->spot == spot,
             "a timer is out of place");
}

void lm_lock_heap_set(lm_lock_heap_t *heap, lm_lock_spot_t *spot, uint64_t at_us)
{
    lm_item_t item = {.at_us = at_us, .spot = spot};
    if (spot->place) {
        check_place(heap, spot);
        settle(heap, spot->place, item);
        return;
    }
    LM_CHECK(heap->n < UINT32_MAX, "%zu timers", heap->n);
    lm_lock_chunks_grow(&heap->items, heap->n + 1, sizeof(lm_item_t));
    heap->n++;
    sift_up(heap, heap->n, item);
}

void lm_lock_heap_stop(lm_lock_heap_t *heap, lm_lock_spot_t *spot)
{
    if (!spot->place) return;
    check_place(heap, spot);
    size_t place = spot->place;
    spot->place = 0;
    lm_item_t last = *item_at(heap, heap->n--);
    if (last.spot != spot) settle(heap, place, last);
    lm_lock_chunks_shrink(&heap->items, heap->n);
}

uint64_t lm_lock_heap_time(const lm_lock_heap_t *heap, const lm_lock_spot_t *spot)
{
    LM_CHECK(spot->place, "no time is set");
    check_place(heap, spot);
    return item_at(heap, spot->place)->at_us;
}

uint64_t lm_lock_heap_next(const lm_lock_heap_t *heap)
{
    return heap->n ? item_at(heap, 1)->at_us : UINT64_MAX;
}

/* The next one is always a child of one that was found already, or the top. */
size_t lm_lock_heap_first(const lm_lock_heap_t *heap, lm_lock_spot_t **spots, size_t max)
{
    size_t places[LM_LOCK_HEAP_FIRST_MAX + 1] = {1}, n_places = heap->n > 0, n = 0;
    LM_CHECK(max <= LM_LOCK_HEAP_FIRST_MAX, "the first %zu", max);
    while (n < max && n_places > 0) {
        size_t best = 0;
        for (size_t i = 1; i < n_places; i++)
            if (item_at(heap, places[i])->at_us < item_at(heap, places[best])->at_us) best = i;
        size_t place = places[best];
        spots[n++] = item_at(heap, place)->spot;
        places[best] = places[--n_places];
        for (size_t child = place * 2; child <= place * 2 + 1 && child <= heap->n; child++)
            places[n_places++] = child;
    }
    return n;
}

lm_lock_spot_t *lm_lock_heap_take(lm_lock_heap_t *heap, uint64_t now_us)
{
    if (lm_lock_heap_next(heap) > now_us || !heap->n) return NULL;
    lm_lock_spot_t *spot = item_at(heap, 1)->spot;
    lm_lock_heap_stop(heap, spot);
    return spot;
}
