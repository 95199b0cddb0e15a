/* Locks by name, and who is at a lock. */
#include <stdlib.h>

#include "base_check.h"
#include "base_limits.h"
#include "core_state.h"

/* From so many seats on, looking for an owner's seat goes by hash instead of by list; the gap
 * keeps a lock at the border from building and dropping its crowd all the time. */
enum { CROWD_ABOVE = 16, CROWD_BELOW = 8 };

uint64_t lm_entry_hash(lm_bytes_t name) { return lm_index_mix(lm_bytes_hash(name, LM_HASH_START)); }

lm_entry_t *lm_entry_find(const lm_table_t *table, lm_bytes_t name)
{
    uint32_t hash = (uint32_t)lm_entry_hash(name);
    lm_entry_t *entry = lm_index_first(&table->names, hash);
    while (entry && !lm_bytes_equal(lm_entry_name(entry), name))
        entry = lm_index_next(&table->names, entry);
    return entry;
}

lm_entry_t *lm_entry_new(lm_table_t *table, lm_bytes_t name)
{
    LM_CHECK(name.size > 0 && name.size <= LM_NAME_BYTES_MAX, "name of %zu bytes", name.size);
    lm_entry_t *entry = lm_pool_alloc(table->pool, offsetof(lm_entry_t, name) + name.size);
    entry->name_size = (uint16_t)name.size;
    memcpy(entry->name, name.data, name.size);
    lm_index_insert(&table->names, entry);
    table->order = lm_order_insert(table->order, entry);
    return entry;
}

void lm_entry_drop_if_empty(lm_table_t *table, lm_entry_t *entry)
{
    if (entry->value.holders || entry->value.waiters) return;
    lm_index_remove(&table->names, entry);
    table->order = lm_order_remove(table->order, entry);
    lm_record_bury(table, entry, offsetof(lm_entry_t, name) + entry->name_size);
}

/* ---- who is there ---------------------------------------------------------------------------- */

lm_crowd_t *lm_entry_crowd(const lm_table_t *table, const lm_entry_t *entry)
{
    if (!entry->crowded) return NULL;
    lm_crowd_t *crowd;
    HASH_FIND_PTR(table->crowds, &entry, crowd);
    return crowd;
}

static void add_face(lm_crowd_t *crowd, lm_record_t *record)
{
    lm_face_t *face = lm_alloc(sizeof *face);
    face->owner = lm_record_owner(record);
    face->record = record;
    HASH_ADD_PTR(crowd->faces, owner, face);
}

static void add_faces(lm_crowd_t *crowd, const lm_seat_t *seat)
{
    for (; seat; seat = lm_seat_next(seat)) add_face(crowd, lm_record_of_seat(seat));
}

static void add_crowd(lm_table_t *table, lm_entry_t *entry)
{
    lm_crowd_t *crowd = lm_alloc(sizeof *crowd);
    crowd->entry = entry;
    HASH_ADD_PTR(table->crowds, entry, crowd);
    entry->crowded = true;
    add_faces(crowd, lm_lock_holders(&entry->value));
    add_faces(crowd, lm_lock_waiters(&entry->value));
}

/** The faces of a crowd that is in no table any more. */
static void free_crowd(lm_crowd_t *crowd)
{
    lm_face_t *face = crowd->faces;
    HASH_CLEAR(hh, crowd->faces);
    while (face) {
        lm_face_t *next = face->hh.next;
        free(face);
        face = next;
    }
    free(crowd);
}

void lm_entry_free_crowds(lm_table_t *table)
{
    lm_crowd_t *crowd = table->crowds;
    HASH_CLEAR(hh, table->crowds);
    while (crowd) {
        lm_crowd_t *next = crowd->hh.next;
        free_crowd(crowd);
        crowd = next;
    }
}

void lm_entry_joined(lm_table_t *table, lm_entry_t *entry, lm_record_t *record)
{
    if (entry->crowded)
        add_face(lm_entry_crowd(table, entry), record);
    else if (entry->value.n_holders + entry->value.n_waiters > CROWD_ABOVE)
        add_crowd(table, entry);
}

void lm_entry_leaving(lm_table_t *table, lm_entry_t *entry, lm_record_t *record)
{
    lm_crowd_t *crowd = lm_entry_crowd(table, entry);
    if (!crowd) return;
    if (entry->value.n_holders + entry->value.n_waiters <= CROWD_BELOW) {
        HASH_DEL(table->crowds, crowd);
        free_crowd(crowd);
        entry->crowded = false;
        return;
    }
    const lm_owner_t *owner = lm_record_owner(record);
    lm_face_t *face;
    HASH_FIND_PTR(crowd->faces, &owner, face);
    LM_CHECK(face && face->record == record, "the owner of a seat is not in the crowd");
    HASH_DEL(crowd->faces, face);
    free(face);
}

static lm_record_t *among(const lm_seat_t *seat, const lm_owner_t *owner)
{
    lm_ref_t ref = lm_pool_ref(owner);
    for (; seat; seat = lm_seat_next(seat))
        if (lm_record_of_seat(seat)->internal_owner == ref) return lm_record_of_seat(seat);
    return NULL;
}

lm_record_t *lm_entry_of_owner(const lm_table_t *table, const lm_entry_t *entry,
                               const lm_owner_t *owner)
{
    if (owner->n_living == 0) return NULL;
    const lm_crowd_t *crowd = lm_entry_crowd(table, entry);
    if (crowd) {
        lm_face_t *face;
        HASH_FIND_PTR(crowd->faces, &owner, face);
        return face ? face->record : NULL;
    }
    lm_record_t *record = among(lm_lock_holders(&entry->value), owner);
    return record ? record : among(lm_lock_waiters(&entry->value), owner);
}
