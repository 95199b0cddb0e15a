/* Events in the order of virtual time, and chance. Events of the same time come in the order in
 * which they were asked for. */
#include <stdlib.h>

#include "base_check.h"
#include "sim.h"

static bool before(const sim_event_t *a, const sim_event_t *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

void sim_at(sim_t *sim, uint64_t at_us, sim_act_t *act, void *what, uint64_t number)
{
    sim_queue_t *queue = &sim->queue;
    if (at_us < sim->now_us) at_us = sim->now_us;
    if (queue->n == queue->room) {
        queue->room = queue->room ? 2 * queue->room : 256;
        queue->heap = lm_realloc(queue->heap, queue->room * sizeof *queue->heap);
    }
    sim_event_t event = {
        .at_us = at_us, .order = ++queue->order, .act = act, .what = what, .number = number};
    size_t at = queue->n++;
    while (at > 0 && before(&event, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = event;
}

bool sim_queue_take(sim_queue_t *queue, sim_event_t *event)
{
    if (queue->n == 0) return false;
    *event = queue->heap[0];
    sim_event_t last = queue->heap[--queue->n];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= queue->n) break;
        if (child + 1 < queue->n && before(&queue->heap[child + 1], &queue->heap[child])) child++;
        if (!before(&queue->heap[child], &last)) break;
        queue->heap[at] = queue->heap[child];
        at = child;
    }
    if (queue->n) queue->heap[at] = last;
    return true;
}

void sim_queue_free(sim_queue_t *queue)
{
    free(queue->heap);
    *queue = (sim_queue_t){0};
}

/* ---- chance ---------------------------------------------------------------------------------- */

uint64_t sim_draw(sim_t *sim, uint64_t bound)
{
    LM_CHECK(bound > 0, "a number below nothing");
    return lm_fake_chance(&sim->chance, bound);
}

uint64_t sim_between(sim_t *sim, uint64_t low, uint64_t high)
{
    return low + sim_draw(sim, high - low + 1);
}

bool sim_one_in(sim_t *sim, uint64_t n) { return n && sim_draw(sim, n) == 0; }

void sim_draw_bytes(void *arg, void *bytes, size_t size)
{
    sim_t *sim = arg;
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) at[i] = (uint8_t)sim_draw(sim, 256);
}
