/* The ring of finished records: a queue in chunks, so that its growth never copies more than a list
 * of chunks, and what has been evicted gives its memory back.
 *
 * A record's place counts from the first record that ever finished here; it never changes. */
#include <stdlib.h>

#include "base_check.h"
#include "core_state.h"

enum { CHUNK = 4096, CHUNKS_MIN = 4 };

static lm_record_t ***chunk_at(const lm_ring_t *ring, uint64_t place)
{
    return &ring->chunks[place / CHUNK & (ring->n_chunks - 1)];
}

uint32_t lm_ring_count(const lm_ring_t *ring) { return (uint32_t)(ring->end - ring->first); }

lm_record_t *lm_ring_at(const lm_ring_t *ring, uint64_t place)
{
    LM_CHECK(place >= ring->first && place < ring->end, "place %llu of the ring",
             (unsigned long long)place);
    return (*chunk_at(ring, place))[place % CHUNK];
}

/** Doubles the list of chunks. */
static void grow(lm_ring_t *ring)
{
    lm_ring_t old = *ring;
    ring->n_chunks = old.n_chunks ? old.n_chunks * 2 : CHUNKS_MIN;
    ring->chunks = lm_alloc(ring->n_chunks * sizeof *ring->chunks);
    for (uint32_t i = 0; i < old.n_chunks; i++) {
        uint64_t place = old.first + (uint64_t)i * CHUNK;
        *chunk_at(ring, place) = *chunk_at(&old, place);
    }
    free(old.chunks);
}

void lm_ring_add(lm_ring_t *ring, lm_record_t *record)
{
    if (ring->end % CHUNK == 0 || !ring->n_chunks) {
        uint64_t used = ring->end / CHUNK - ring->first / CHUNK;
        if (used >= ring->n_chunks) grow(ring);
        lm_record_t ***chunk = chunk_at(ring, ring->end);
        if (!*chunk) *chunk = lm_alloc(CHUNK * sizeof(lm_record_t *));
    }
    (*chunk_at(ring, ring->end))[ring->end % CHUNK] = record;
    ring->end++;
}

lm_record_t *lm_ring_take_oldest(lm_ring_t *ring)
{
    lm_record_t *oldest = lm_ring_at(ring, ring->first);
    lm_record_t ***chunk = chunk_at(ring, ring->first++);
    if (ring->first % CHUNK == 0) {
        free(*chunk);
        *chunk = NULL;
    }
    return oldest;
}

void lm_ring_free(lm_ring_t *ring)
{
    for (uint32_t i = 0; i < ring->n_chunks; i++) free(ring->chunks[i]);
    free(ring->chunks);
    *ring = (lm_ring_t){0};
}
