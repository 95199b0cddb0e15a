/* A heap of times. What a time is for carries a spot, which knows its place; the time itself is in
 * the heap, so that a million of them cost 20 bytes each and sorting them touches nothing else.
 *
 * Invariants
 *   W1  A spot is in the heap at most once; setting it again moves it.
 *   W2  Places count from 1, so that a zeroed spot is in no heap.
 */
#ifndef LM_LOCK_HEAP_H
#define LM_LOCK_HEAP_H

#include <stdbool.h>

#include "lock_chunks.h"

enum { LM_LOCK_HEAP_FIRST_MAX = 32 };

typedef struct {
    uint32_t place; /* 0: not in the heap */
} lm_lock_spot_t;

/** All zero is an empty heap. */
typedef struct {
    lm_lock_chunks_t items;
    size_t n;
} lm_lock_heap_t;

/** Frees the heap's own memory; its spots are forgotten without a look at them. */
void lm_lock_heap_clear(lm_lock_heap_t *heap);

/** Puts a spot in for that time, or moves it there. */
void lm_lock_heap_set(lm_lock_heap_t *heap, lm_lock_spot_t *spot, uint64_t at_us);
/** Takes a spot out; nothing happens if it is not there. */
void lm_lock_heap_stop(lm_lock_heap_t *heap, lm_lock_spot_t *spot);

/** The time of a spot that is in the heap. */
uint64_t lm_lock_heap_time(const lm_lock_heap_t *heap, const lm_lock_spot_t *spot);
/** The earliest time; UINT64_MAX if there is none. */
uint64_t lm_lock_heap_next(const lm_lock_heap_t *heap);
/** Finds the earliest spots, in order, at most max of them and LM_LOCK_HEAP_FIRST_MAX; returns how
 *  many there are. Costs the square of max, whatever is in the heap. */
size_t lm_lock_heap_first(const lm_lock_heap_t *heap, lm_lock_spot_t **spots, size_t max);
/** Takes out the earliest spot if its time has come; NULL if there is none. */
lm_lock_spot_t *lm_lock_heap_take(lm_lock_heap_t *heap, uint64_t now_us);

#endif
