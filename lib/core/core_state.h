/* What is inside of a table; for the core_*.c files of the table alone.
 *
 *   names ----> entry (a lock) <---- order (sorted by name)
 *                 | value: holders, waiters (seats)
 *                 v
 *   keys -----> record  <---- numbers (by hold number, or by wait number while it waits)
 *   (all of        | ^
 *    them)         | +------- joined record (further id of the same wait or hold; see circles)
 *                  v
 *   owners ---> owner        ring: finished records, oldest first
 *
 * Invariants
 *   I1  An entry exists while somebody holds or waits; an owner while a record refers to it.
 *   I2  A living record (waiting or holding) is in keys and numbers; a joined one in keys and in
 *       the circle of its origin; a finished one in keys and in the ring.
 *   I3  What is taken away by a command is buried and freed when the next command begins, so that
 *       effects may show it.
 *   I4  An entry with more than CROWD_ABOVE seats has a crowd: its records by owner.
 */
#ifndef LM_CORE_STATE_H
#define LM_CORE_STATE_H

#include <uthash.h>

#include "core_index.h"
#include "core_table.h"

struct lm_owner {
    lm_owner_t *next;
    uint32_t hash;
    uint32_t n_records; /* of any state */
    uint32_t n_living;  /* waits and holds */
    uint16_t identity_size, owner_size;
    uint8_t text[]; /* identity, owner */
};

/** A record of a crowded lock, by its owner. */
typedef struct {
    UT_hash_handle hh;
    lm_owner_t *owner;
    lm_record_t *record;
} lm_face_t;

struct lm_entry {
    lm_entry_t *next;
    uint32_t hash;
    uint16_t name_size;
    uint8_t height; /* of the subtree */
    lm_entry_t *left, *right;
    lm_lock_value_t value;
    lm_face_t *crowd; /* NULL while there are few seats */
    uint8_t name[];
};

/** Further ids of one wait or hold. */
typedef struct {
    UT_hash_handle hh;
    lm_record_t *origin;
    uint32_t n;
    lm_record_t *joined[LM_JOINED_IDS_MAX]; /* oldest first */
} lm_circle_t;

/** Finished records, oldest first. */
typedef struct {
    lm_record_t **items;
    uint32_t capacity, first, count;
} lm_ring_t;

struct lm_table {
    uint16_t epoch;
    uint64_t op_seq;
    uint64_t hash;
    lm_pair_t pair; /* all zero before the first Takeover */
    lm_settings_t settings;

    lm_index_t names, keys, numbers, owners;
    lm_entry_t *order;
    lm_circle_t *circles;
    lm_ring_t ring;
    uint64_t evicted; /* greatest op_seq at which an evicted record had finished */
    uint64_t n_holds, n_waiters;

    /* of the command that is being applied */
    uint64_t command_seq;
    bool granted; /* a grant has taken the command's own op_seq */
    lm_effect_t *effects;
    size_t n_effects, effects_capacity;
    void **buried;
    size_t n_buried, buried_capacity;
};

/* ---- core_record.c: owners, records, ids ----------------------------------------------------- */

/** Bytes of a record before `seat`. */
#define LM_RECORD_FINISHED_BYTES offsetof(lm_record_t, seat)

/** Hash of a key; the same on every machine. */
uint64_t lm_record_hash(const lm_request_key_t *key);
/** The record of exactly that id, also one that joined; NULL if there is none. */
lm_record_t *lm_record_find(const lm_table_t *table, const lm_request_key_t *key);
/** The record whose wait or hold it shares; itself unless it joined. */
lm_record_t *lm_record_origin(lm_record_t *record);
lm_owner_t *lm_record_find_owner(const lm_table_t *table, lm_bytes_t identity, lm_bytes_t owner);
/** A record that will wait or hold: in keys, not yet in numbers; counts as living. */
lm_record_t *lm_record_new(lm_table_t *table, const lm_command_t *command);
/** One more id for a wait or hold. */
void lm_record_join(lm_table_t *table, lm_record_t *origin, const lm_command_t *command);
/** A record that is finished from the start: in keys and ring. */
lm_record_t *lm_record_new_finished(lm_table_t *table, const lm_command_t *command,
                                    lm_record_state_t state, lm_end_t end, lm_rc_t code);
/** Ends a living record, which has left its lock and numbers, and all ids that joined it: each is
 *  finished (retired if it was cancelled or retire is true), or forgotten if forget is true and it
 *  was not cancelled. Returns what is left of the record itself; NULL if it is unknown now. */
lm_record_t *lm_record_end(lm_table_t *table, lm_record_t *record, lm_end_t end, bool forget,
                           bool retire);
/** Evicts finished records until the ring has its size. */
void lm_record_trim(lm_table_t *table);
/** Sets aside memory until the next command. */
void lm_record_bury(lm_table_t *table, void *memory);
void lm_record_free_buried(lm_table_t *table);

/* ---- core_entry.c: locks by name ------------------------------------------------------------- */

uint64_t lm_entry_hash(lm_bytes_t name);
lm_entry_t *lm_entry_find(const lm_table_t *table, lm_bytes_t name);
lm_entry_t *lm_entry_new(lm_table_t *table, lm_bytes_t name);
/** Removes the entry if nobody holds or waits. */
void lm_entry_drop_if_empty(lm_table_t *table, lm_entry_t *entry);
/** The owner's record on that lock; NULL if there is none. */
lm_record_t *lm_entry_of_owner(const lm_entry_t *entry, const lm_owner_t *owner);
/** To be called when a record has taken its seat, and before it leaves it. */
void lm_entry_joined(lm_entry_t *entry, lm_record_t *record);
void lm_entry_leaving(lm_entry_t *entry, lm_record_t *record);
void lm_entry_free_crowd(lm_entry_t *entry);

/* ---- core_order.c: locks in order of their names, a balanced tree ---------------------------- */

/** Both return the new root. */
lm_entry_t *lm_order_insert(lm_entry_t *root, lm_entry_t *entry);
lm_entry_t *lm_order_remove(lm_entry_t *root, lm_entry_t *entry);
/** First entry whose name is >= from, or > from if after is true. */
lm_entry_t *lm_order_seek(lm_entry_t *root, lm_bytes_t from, bool after);
/** Stops the actor unless the tree is sorted and balanced; returns its number of entries. */
uint64_t lm_order_verify(const lm_entry_t *root);

/* ---- core_apply*.c --------------------------------------------------------------------------- */

/** Adds an effect with op_seq of the command, and folds it into the hash. */
void lm_apply_emit(lm_table_t *table, lm_effect_t effect);
/** Answer to the command itself: REFUSED with a code, or VOID. */
void lm_apply_refuse(lm_table_t *table, const lm_command_t *command, lm_rc_t code);
void lm_apply_void(lm_table_t *table, const lm_command_t *command);
/** Makes record, which is in no lock's list, a holder of its lock. */
void lm_apply_grant(lm_table_t *table, lm_record_t *record);
/** Takes a living record out of its lock and out of numbers. */
void lm_apply_unseat(lm_table_t *table, lm_record_t *record);
/** Grants what can be granted now, and drops the entry if it is empty. */
void lm_apply_promote(lm_table_t *table, lm_entry_t *entry);

/** A hold ends: unseat, lm_record_end, HOLD_ENDED. What waits is not yet promoted. */
void lm_apply_end_hold(lm_table_t *table, lm_record_t *record, lm_end_t end);

void lm_request_acquire(lm_table_t *table, const lm_command_t *command);
void lm_request_release(lm_table_t *table, const lm_command_t *command);
void lm_request_renew(lm_table_t *table, const lm_command_t *command);
void lm_request_cancel(lm_table_t *table, const lm_command_t *command);

void lm_verdict_expire(lm_table_t *table, const lm_command_t *command);
void lm_verdict_leave(lm_table_t *table, const lm_command_t *command);
void lm_verdict_abandon(lm_table_t *table, const lm_command_t *command);
void lm_verdict_wait_timeout(lm_table_t *table, const lm_command_t *command);

static inline lm_record_t *lm_record_of_seat(lm_seat_t *seat)
{
    return (lm_record_t *)(void *)((char *)seat - offsetof(lm_record_t, seat));
}

static inline uint32_t lm_number_hash(uint64_t number) { return (uint32_t)lm_index_mix(number); }

#endif
