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
    while (entry && (entry->hash != hash || !lm_bytes_equal(lm_entry_name(entry), name)))
        entry = entry->next;
    return entry;
}

lm_entry_t *lm_entry_new(lm_table_t *table, lm_bytes_t name)
{
    LM_CHECK(name.size > 0 && name.size <= LM_NAME_BYTES_MAX, "name of %zu bytes", name.size);
    lm_entry_t *entry = lm_alloc(offsetof(lm_entry_t, name) + name.size);
    entry->hash = (uint32_t)lm_entry_hash(name);
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
    lm_entry_free_crowd(entry);
    lm_record_bury(table, entry);
}

/* ---- who is there ---------------------------------------------------------------------------- */

static void add_face(lm_entry_t *entry, lm_record_t *record)
{
    lm_face_t *face = lm_alloc(sizeof *face);
    face->owner = record->internal_owner;
    face->record = record;
    HASH_ADD_PTR(entry->crowd, owner, face);
}

static void add_faces(lm_entry_t *entry, lm_seat_t *seats)
{
    for (lm_seat_t *seat = seats; seat; seat = seat->next) add_face(entry, lm_record_of_seat(seat));
}

void lm_entry_free_crowd(lm_entry_t *entry)
{
    lm_face_t *face = entry->crowd;
    HASH_CLEAR(hh, entry->crowd);
    while (face) {
        lm_face_t *next = face->hh.next;
        free(face);
        face = next;
    }
}

void lm_entry_joined(lm_entry_t *entry, lm_record_t *record)
{
    if (entry->crowd) {
        add_face(entry, record);
    } else if (entry->value.n_holders + entry->value.n_waiters > CROWD_ABOVE) {
        add_faces(entry, entry->value.holders);
        add_faces(entry, entry->value.waiters);
    }
}

void lm_entry_leaving(lm_entry_t *entry, lm_record_t *record)
{
    if (!entry->crowd) return;
    if (entry->value.n_holders + entry->value.n_waiters <= CROWD_BELOW) {
        lm_entry_free_crowd(entry);
        return;
    }
    lm_face_t *face;
    HASH_FIND_PTR(entry->crowd, &record->internal_owner, face);
    LM_CHECK(face && face->record == record, "the owner of a seat is not in the crowd");
    HASH_DEL(entry->crowd, face);
    free(face);
}

static lm_record_t *among(lm_seat_t *seats, const lm_owner_t *owner)
{
    for (lm_seat_t *seat = seats; seat; seat = seat->next)
        if (lm_record_of_seat(seat)->internal_owner == owner) return lm_record_of_seat(seat);
    return NULL;
}

lm_record_t *lm_entry_of_owner(const lm_entry_t *entry, const lm_owner_t *owner)
{
    if (owner->n_living == 0) return NULL;
    if (entry->crowd) {
        lm_face_t *face;
        HASH_FIND_PTR(entry->crowd, &owner, face);
        return face ? face->record : NULL;
    }
    lm_record_t *record = among(entry->value.holders, owner);
    return record ? record : among(entry->value.waiters, owner);
}
