/* Which locks have the most waiters, and whose first waiter has waited longest: for people who look
 * at this node. Nothing that is agreed on depends on it.
 *
 * Invariants
 *   Q1  While no count is under way, every lock of the table that has waiters is here, in both
 *       heaps, and no other.
 *   Q2  A change of one queue costs the logarithm of how many queues there are; a report costs the
 *       few queues that it shows, however many there are. */
#include <stdlib.h>

#include "base_check.h"
#include "lock_state.h"

typedef struct {
    lm_lock_link_t link; /* by name */
    lm_lock_spot_t by_waiters, by_age;
    uint16_t name_size;
    uint8_t name[];
} queue_t;

static lm_bytes_t name_of(const queue_t *queue) { return lm_bytes(queue->name, queue->name_size); }

static uint64_t hash_of(lm_bytes_t name) { return lm_bytes_hash(name, LM_HASH_START); }

static queue_t *find(const lm_lock_queues_t *queues, lm_bytes_t name)
{
    lm_lock_link_t *link = lm_lock_map_first(&queues->names, hash_of(name));
    for (; link; link = lm_lock_map_next(link)) {
        queue_t *queue = LM_LOCK_OF(link, queue_t, link);
        if (lm_bytes_equal(name_of(queue), name)) return queue;
    }
    return NULL;
}

static queue_t *add(lm_lock_queues_t *queues, lm_bytes_t name)
{
    LM_CHECK(name.size <= LM_NAME_BYTES_MAX, "a name of %zu bytes", name.size);
    queue_t *queue = lm_alloc(sizeof *queue + name.size);
    queue->name_size = (uint16_t)name.size;
    memcpy(queue->name, name.data, name.size);
    lm_lock_map_put(&queues->names, &queue->link, hash_of(name));
    return queue;
}

static void take_out(lm_lock_queues_t *queues, queue_t *queue)
{
    lm_lock_heap_stop(&queues->by_waiters, &queue->by_waiters);
    lm_lock_heap_stop(&queues->by_age, &queue->by_age);
    lm_lock_map_take(&queues->names, &queue->link);
    free(queue);
}

void lm_lock_queues_look(lm_lock_room_t *room, lm_bytes_t name)
{
    lm_lock_queues_t *queues = &room->queues;
    const lm_entry_t *lock = name.size ? lm_table_lock(room->table, name) : NULL;
    const lm_seat_t *first = lock ? lm_entry_waiters(lock) : NULL;
    queue_t *queue = find(queues, name);
    if (!first) {
        if (queue) take_out(queues, queue);
        return;
    }
    if (!queue) queue = add(queues, name);
    uint32_t n = lm_entry_value(lock)->n_waiters;
    lm_lock_heap_set(&queues->by_waiters, &queue->by_waiters, UINT32_MAX - n);
    lm_lock_heap_set(&queues->by_age, &queue->by_age, first->number);
}

static void visit(lm_lock_room_t *room, const lm_entry_t *lock)
{
    if (lm_entry_waiters(lock)) lm_lock_queues_look(room, lm_entry_name(lock));
}

void lm_lock_queues_count(lm_lock_room_t *room)
{
    if (lm_table_counts(room->table).waiters) lm_lock_walk_visit(room, visit);
}

void lm_lock_queues_forget(lm_lock_room_t *room)
{
    lm_lock_queues_t *queues = &room->queues;
    lm_lock_spot_t *spot;
    room->counting.on = false;
    while (lm_lock_heap_first(&queues->by_age, &spot, 1))
        take_out(queues, LM_LOCK_OF(spot, queue_t, by_age));
    lm_lock_heap_clear(&queues->by_waiters);
    lm_lock_heap_clear(&queues->by_age);
    lm_lock_map_clear(&queues->names);
}

/* ---- for tests ------------------------------------------------------------------------------- */

typedef struct {
    const lm_lock_room_t *room;
    size_t n;
} tally_t;

static void verify_wait(void *arg, const lm_record_t *record)
{
    tally_t *tally = arg;
    const lm_lock_queues_t *queues = &tally->room->queues;
    if (record->state != LM_RECORD_WAITING) return;
    const lm_entry_t *lock = lm_record_lock(record);
    if (lm_entry_waiters(lock) != &record->seat) return;
    const queue_t *queue = find(queues, lm_entry_name(lock));
    LM_CHECK(queue, "wait %llu is in a queue that is not known",
             (unsigned long long)record->seat.number);
    uint64_t n = lm_entry_value(lock)->n_waiters;
    LM_CHECK(lm_lock_heap_time(&queues->by_waiters, &queue->by_waiters) == UINT32_MAX - n &&
                 lm_lock_heap_time(&queues->by_age, &queue->by_age) == record->seat.number,
             "the queue of wait %llu is another one", (unsigned long long)record->seat.number);
    tally->n++;
}

void lm_lock_queues_verify(const lm_lock_room_t *room)
{
    const lm_lock_queues_t *queues = &room->queues;
    tally_t tally = {.room = room};
    if (room->counting.on) return;
    lm_table_each(room->table, verify_wait, &tally);
    LM_CHECK(queues->names.n == tally.n && queues->by_waiters.n == tally.n &&
                 queues->by_age.n == tally.n,
             "%zu queues are known of %zu", queues->names.n, tally.n);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static lm_bus_lock_queue_t tell(const lm_lock_room_t *room, const queue_t *queue)
{
    const lm_entry_t *lock = lm_table_lock(room->table, name_of(queue));
    LM_CHECK(lock && lm_entry_waiters(lock), "a queue that nobody is in");
    const lm_lock_value_t *value = lm_entry_value(lock);
    lm_bus_lock_queue_t told = {.waiters = value->n_waiters, .holders = value->n_holders};
    uint64_t age_us;
    told.age_known =
        lm_lock_ages_of(&room->ages, lm_entry_waiters(lock)->number, room->now_us, &age_us);
    if (told.age_known) told.longest_wait_ms = age_us / 1000;
    if (room->config->actuator_lock_names) told.name = lm_arena_copy(room->scratch, name_of(queue));
    return told;
}

lm_bus_lock_queues_t *lm_lock_queues_report(const lm_lock_room_t *room)
{
    lm_lock_spot_t *spots[LM_LOCK_QUEUES_TOLD_MAX];
    if (room->counting.on || !room->attached) return NULL;
    lm_bus_lock_queues_t *told = lm_arena_alloc(room->scratch, sizeof *told);
    lm_bus_lock_queue_t *items =
        lm_arena_alloc(room->scratch, sizeof(lm_bus_lock_queue_t[2 * LM_LOCK_QUEUES_TOLD_MAX]));
    told->most_waiters = items;
    told->n_most_waiters =
        lm_lock_heap_first(&room->queues.by_waiters, spots, LM_LOCK_QUEUES_TOLD_MAX);
    for (size_t i = 0; i < told->n_most_waiters; i++)
        *items++ = tell(room, LM_LOCK_OF(spots[i], queue_t, by_waiters));
    told->longest_waits = items;
    told->n_longest_waits =
        lm_lock_heap_first(&room->queues.by_age, spots, LM_LOCK_QUEUES_TOLD_MAX);
    for (size_t i = 0; i < told->n_longest_waits; i++)
        *items++ = tell(room, LM_LOCK_OF(spots[i], queue_t, by_age));
    return told;
}
