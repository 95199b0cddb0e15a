/* Walks over all locks by name: some thousands in each turn, so that a million of them keep nobody
 * waiting.
 *
 * Invariants
 *   Y1  A lock that is there from the beginning of a walk to its end is visited once; one that
 *       comes or goes meanwhile at most once.
 *   Y2  A visit does not change the table.
 *   Y3  The sweep begins when the arming is over: until then holds may lack their leases. */
#include "base_check.h"
#include "lock_state.h"

static void begin(lm_lock_walk_t *walk)
{
    walk->on = true;
    walk->begun = false;
    walk->name_size = 0;
}

void lm_lock_walk_arm(lm_lock_room_t *room) { begin(&room->arming); }

void lm_lock_walk_sweep(lm_lock_room_t *room) { begin(&room->sweep); }

void lm_lock_walk_end(lm_lock_room_t *room)
{
    room->arming.on = false;
    room->sweep.on = false;
}

static lm_bytes_t name_of(const lm_lock_walk_t *walk)
{
    return lm_bytes(walk->name, walk->name_size);
}

bool lm_lock_walk_is_before(const lm_lock_walk_t *walk, const lm_entry_t *lock)
{
    if (!walk->on) return false;
    return !walk->begun || lm_bytes_compare(lm_entry_name(lock), name_of(walk)) > 0;
}

static void remember(lm_lock_walk_t *walk, lm_bytes_t name)
{
    LM_CHECK(name.size <= sizeof walk->name, "a name of %zu bytes", name.size);
    memcpy(walk->name, name.data, name.size);
    walk->name_size = name.size;
    walk->begun = true;
}

void lm_lock_walk_visit(lm_lock_room_t *room, lm_lock_visit_t *visit)
{
    room->count = visit;
    begin(&room->counting);
}

static void step(lm_lock_room_t *room, lm_lock_walk_t *walk, lm_lock_visit_t *visit)
{
    const lm_bytes_t all = {0};
    lm_bytes_t name = name_of(walk);
    for (int i = 0; i < LM_LOCK_WALK_LOCKS_PER_TURN; i++) {
        const lm_entry_t *lock = lm_table_seek(room->table, all, name, walk->begun || i > 0);
        if (!lock) {
            walk->on = false;
            return;
        }
        visit(room, lock);
        name = lm_entry_name(lock);
    }
    remember(walk, name);
}

void lm_lock_walk_step(lm_lock_room_t *room)
{
    if (room->arming.on)
        step(room, &room->arming, lm_lock_lease_arm);
    else if (room->sweep.on)
        step(room, &room->sweep, lm_lock_party_sweep);
    if (room->counting.on) step(room, &room->counting, room->count);
    if (room->arming.on || room->sweep.on || room->counting.on)
        lm_outbox_wake(room->out, room->now_us);
}
