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
 *   sessions -> session: its waits and holds (bonds), its request numbers that are not done,
 *               its OpenSession's record; all sessions in a list, oldest first
 *
 * Invariants
 *   I1  An entry exists while somebody holds or waits; an owner while a record refers to it.
 *   I2  A living record (waiting or holding) is in keys and numbers; a joined one in keys and in
 *       the circle of its origin; a finished one in keys and in the ring, or, if it is numbered,
 *       among the numbers of its session; one of an OpenSession in keys and known to its session.
 *   I3  What is taken away by a command is buried and freed when the next command begins, so that
 *       effects may show it.
 *   I4  An entry with more than CROWD_ABOVE seats has a crowd: its records by owner.
 *   I5  Whatever changes or takes away a living record, or evicts a finished one, has told the
 *       image before (lm_image_changing, lm_image_leaving, lm_image_evicting); so has whatever
 *       changes or ends a session (lm_image_session_changing).
 *   I6  Open numbers of a session are those from done_below on that have a record; ascending.
 */
#ifndef LM_CORE_STATE_H
#define LM_CORE_STATE_H

#include <uthash.h>

#include "base_limits.h"
#include "core_index.h"
#include "core_table.h"

/** An identity and an owner, kept once. */
typedef struct {
    lm_ref_t next;
    uint32_t n_records; /* of any state */
    uint32_t n_living;  /* waits and holds */
    uint16_t identity_size, owner_size;
    uint8_t text[]; /* identity, owner */
} lm_owner_t;

struct lm_entry {
    lm_ref_t next;
    lm_ref_t left, right;
    uint16_t name_size;
    uint8_t height; /* of the subtree */
    bool crowded;
    lm_lock_value_t value;
    uint8_t name[];
};

/** At the end of a living record of a session: the others of it. */
typedef struct {
    lm_ref_t next, previous; /* records */
} lm_bond_t;

struct lm_session {
    lm_ref_t next;         /* of the index */
    lm_ref_t older, newer; /* in order of number */
    lm_ref_t opening;      /* record of its OpenSession */
    lm_ref_t living;       /* the last of its waits and holds */
    lm_ref_t open;         /* numbers, uint64_t */
    uint16_t n_open, open_room;
    uint32_t n_living;
    uint32_t ttl_ms;
    bool ending;   /* everything of it is to be forgotten */
    uint8_t image; /* as a record's internal_image */
    uint64_t number;
    uint64_t basis;
    uint64_t done_below;
    uint8_t secret[LM_SESSION_SECRET_BYTES];
};
_Static_assert(sizeof(lm_session_t) == 80, "a session without its texts and numbers");
_Static_assert(sizeof(lm_bond_t) == 8, "what a wait or hold costs more in a session");

/* What a million locks have each. */
_Static_assert(sizeof(lm_owner_t) == 16, "an owner without its text");
_Static_assert(sizeof(lm_entry_t) == 32, "a lock without its name");
_Static_assert(offsetof(lm_record_t, internal_text) == 80, "a wait or hold without its id");

/** A record of a crowded lock, by its owner. */
typedef struct {
    UT_hash_handle hh;
    const lm_owner_t *owner;
    lm_record_t *record;
} lm_face_t;

/** The records of a crowded lock. */
typedef struct {
    UT_hash_handle hh;
    const lm_entry_t *entry;
    lm_face_t *faces;
} lm_crowd_t;

/** Further ids of one wait or hold. */
typedef struct {
    UT_hash_handle hh;
    lm_record_t *origin;
    uint32_t n;
    lm_record_t *joined[LM_JOINED_IDS_MAX]; /* oldest first */
} lm_circle_t;

/** Finished records, oldest first: those at the places first..end-1. */
typedef struct {
    lm_record_t ***chunks; /* a circle of them */
    uint32_t n_chunks;     /* a power of two */
    uint64_t first, end;
} lm_ring_t;

/** Memory of the pool that is freed when the next command begins. */
typedef struct {
    void *object;
    size_t size;
} lm_buried_t;

typedef struct lm_image lm_image_t;

struct lm_table {
    uint16_t epoch;
    uint64_t op_seq;
    uint64_t hash;
    lm_pair_t pair; /* all zero before the first Takeover */
    lm_settings_t settings;

    lm_pool_t *pool; /* has all entries, owners and records */
    lm_index_t names, keys, numbers, owners, sessions;
    lm_entry_t *order;
    lm_crowd_t *crowds;
    lm_circle_t *circles;
    lm_ring_t ring;
    uint64_t evicted; /* greatest op_seq at which an evicted record had finished */
    uint64_t n_holds, n_waiters;
    lm_session_t *oldest_session, *newest_session;

    lm_image_t *image;      /* that is being taken; NULL if none is */
    lm_image_t *image_done; /* whose last piece may still be read */
    uint8_t image_number;   /* of the last image that was begun */
    uint8_t images_dropped; /* since the last one that was completed */

    /* of the command that is being applied */
    uint64_t command_seq;
    bool granted;            /* a grant has taken the command's own op_seq */
    lm_session_t *session;   /* in which it is; NULL if in none */
    lm_command_t in_session; /* the command with the key that the table knows it by */
    lm_key_texts_t texts;
    lm_effect_t *effects;
    size_t n_effects, effects_capacity;
    lm_buried_t *buried;
    size_t n_buried, buried_capacity;
};

/* ---- core_record.c: owners, records, ids ----------------------------------------------------- */

/** Bytes of a finished record, or of one that joined, before its id. */
#define LM_RECORD_FINISHED_BYTES (offsetof(lm_record_t, seat) + sizeof(int64_t))
_Static_assert(offsetof(lm_seat_t, token) == 0, "the token is what a finished record keeps");

/** Hash of a key; the same on every machine. */
uint64_t lm_record_hash(const lm_request_key_t *key);
/** The record of exactly that id, also one that joined; NULL if there is none. */
lm_record_t *lm_record_find(const lm_table_t *table, const lm_request_key_t *key);
/** The record whose wait or hold it shares; itself unless it joined. */
lm_record_t *lm_record_origin(lm_record_t *record);
/** Hash by which owners are indexed; of an owner, and of one that may not exist. */
uint32_t lm_record_owner_hash(const void *owner);
uint32_t lm_record_owner_hash_of(lm_bytes_t identity, lm_bytes_t owner);
lm_owner_t *lm_record_find_owner(const lm_table_t *table, lm_bytes_t identity, lm_bytes_t owner);
/** A record that will wait or hold: in keys, not yet in numbers; counts as living. */
lm_record_t *lm_record_new(lm_table_t *table, const lm_command_t *command);
/** The record of an OpenSession: in keys, LM_RECORD_OPEN. */
lm_record_t *lm_record_new_opening(lm_table_t *table, const lm_command_t *command);
/** Ends it, when its session has ended: into the ring. */
void lm_record_end_opening(lm_table_t *table, lm_record_t *record, lm_end_t end);
/** One more id for a wait or hold; returns its record. */
lm_record_t *lm_record_join(lm_table_t *table, lm_record_t *origin, const lm_command_t *command);
/** A record that is finished from the start: in keys and in the ring or its session's numbers. */
lm_record_t *lm_record_new_finished(lm_table_t *table, const lm_command_t *command,
                                    lm_record_state_t state, lm_end_t end, lm_rc_t code);
/** Ends a living record, which has left its lock and numbers, and all ids that joined it: each is
 *  finished (retired if it was cancelled or retire is true), or forgotten if forget is true and it
 *  was not cancelled, or if its session ends or is done with it. Returns what is left of the record
 *  itself; NULL if it is unknown now. */
lm_record_t *lm_record_end(lm_table_t *table, lm_record_t *record, lm_end_t end, bool forget,
                           bool retire);
/** Further ids of a living record; NULL if it has none. */
lm_circle_t *lm_record_circle(const lm_table_t *table, const lm_record_t *origin);
/** The living record with that number of a hold or wait; NULL if there is none. */
lm_record_t *lm_record_by_number(const lm_table_t *table, uint64_t number);
/** Takes a finished record that is not in the ring out of keys. */
void lm_record_forget(lm_table_t *table, lm_record_t *record);
bool lm_record_is_finished(const lm_record_t *record);
/** The bond of a living record of a session. */
lm_bond_t *lm_record_bond(lm_record_t *record);
/** Evicts finished records until the ring has its size. */
void lm_record_trim(lm_table_t *table);
/** Sets aside an object of so many bytes until the next command. */
void lm_record_bury(lm_table_t *table, void *object, size_t size);
void lm_record_free_buried(lm_table_t *table);

/* ---- core_session.c -------------------------------------------------------------------------- */

/** The session of that number; NULL if there is none. */
lm_session_t *lm_session_find(const lm_table_t *table, uint64_t number);
/** That of a request; NULL if it is in none, or that has ended. */
lm_session_t *lm_session_of(const lm_table_t *table, const lm_record_t *record);
/** A session of the number command_seq, with the record of the OpenSession. */
lm_session_t *lm_session_new(lm_table_t *table, const lm_command_t *command);
/** Takes a session out of the table, which has no waits and holds any more, and forgets its
 *  requests. */
void lm_session_drop(lm_table_t *table, lm_session_t *session);
/** Forgets finished requests below that number; does nothing if done_below is that far. */
void lm_session_done_below(lm_table_t *table, lm_session_t *session, uint64_t below);
/** To be called when a record of a session was made, and before it is out of keys. */
void lm_session_record_made(lm_table_t *table, lm_record_t *record, bool living);
void lm_session_record_left(lm_table_t *table, lm_record_t *record);
/** Before a living one ends; tells the image of the session. */
void lm_session_seat_left(lm_table_t *table, lm_record_t *record);
/** The record of the open number at that place if it is finished; otherwise NULL. */
lm_record_t *lm_session_finished(const lm_table_t *table, const lm_session_t *session,
                                 uint32_t place);
/** True if the number is one of its open ones. */
bool lm_session_is_open(const lm_session_t *session, uint64_t number);
/** Waits and holds, in order of their numbers, waits before holds if waits_first is true; in memory
 *  that is the caller's. */
lm_record_t **lm_session_gather(const lm_session_t *session, bool waits_first);
/** Puts the list in order, after all were loaded. */
void lm_session_sort(lm_table_t *table);

static inline uint64_t *lm_session_open(const lm_session_t *session)
{
    return lm_pool_at(session, session->open);
}

/* ---- core_ring.c ----------------------------------------------------------------------------- */

/** How many records are in it. */
uint32_t lm_ring_count(const lm_ring_t *ring);
/** Stops the actor unless first <= place < end. */
lm_record_t *lm_ring_at(const lm_ring_t *ring, uint64_t place);
void lm_ring_add(lm_ring_t *ring, lm_record_t *record);
/** Takes out the record at first. */
lm_record_t *lm_ring_take_oldest(lm_ring_t *ring);
/** Gives back the memory of the ring; the records are the caller's. */
void lm_ring_free(lm_ring_t *ring);

/* ---- core_image.c: what everything that changes a table owes to an image that is being taken - */

/** Writes a living record to the image if it is still to be written. To be called before anything
 *  of it changes: its fields, its ids, their marks. */
static inline void lm_image_changing(lm_table_t *table, lm_record_t *record);
/** The same, before it leaves its list of holders or waiters. */
static inline void lm_image_leaving(lm_table_t *table, lm_record_t *record);
/** Before the oldest record of the ring is taken out. */
static inline void lm_image_evicting(lm_table_t *table);
/** The same as lm_image_changing, of a session, before anything of it changes that an image has:
 *  all but its waits and holds. */
static inline void lm_image_session_changing(lm_table_t *table, lm_session_t *session);
/** Before it leaves the list of sessions. */
static inline void lm_image_session_leaving(lm_table_t *table, lm_session_t *session);
/** How many living records are still to be written to the image that is being taken. */
uint64_t lm_image_waits_for(const lm_table_t *table);
uint64_t lm_image_waits_for_sessions(const lm_table_t *table);
/** When the table is destroyed. */
void lm_image_free(lm_table_t *table);

/* Behind those above, when an image is being taken. */
void lm_image_session_ahead(lm_table_t *table, lm_session_t *session);
void lm_image_session_step_over(lm_table_t *table, const lm_session_t *session);
void lm_image_write_ahead(lm_table_t *table, lm_record_t *record);
void lm_image_step_over(lm_table_t *table, const lm_seat_t *seat);
void lm_image_evict_ahead(lm_table_t *table);

/* ---- core_entry.c: locks by name ------------------------------------------------------------- */

/** Of a name, for the index; the lock of that name, NULL if there is none; a new one. */
uint64_t lm_entry_hash(lm_bytes_t name);
lm_entry_t *lm_entry_find(const lm_table_t *table, lm_bytes_t name);
lm_entry_t *lm_entry_new(lm_table_t *table, lm_bytes_t name);
/** Removes the entry if nobody holds or waits. */
void lm_entry_drop_if_empty(lm_table_t *table, lm_entry_t *entry);
/** The owner's record on that lock; NULL if there is none. */
lm_record_t *lm_entry_of_owner(const lm_table_t *table, const lm_entry_t *entry,
                               const lm_owner_t *owner);
/** The records of a crowded lock; NULL if it is none. */
lm_crowd_t *lm_entry_crowd(const lm_table_t *table, const lm_entry_t *entry);
/** To be called when a record has taken its seat, and before it leaves it. */
void lm_entry_joined(lm_table_t *table, lm_entry_t *entry, lm_record_t *record);
void lm_entry_leaving(lm_table_t *table, lm_entry_t *entry, lm_record_t *record);
/** Of all locks. */
void lm_entry_free_crowds(lm_table_t *table);

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
/** Answer to the command itself: REFUSED with a code, or with QUOTA_EXCEEDED, or VOID. */
void lm_apply_refuse(lm_table_t *table, const lm_command_t *command, lm_rc_t code);
void lm_apply_refuse_over(lm_table_t *table, const lm_command_t *command, lm_limit_t limit);
void lm_apply_void(lm_table_t *table, const lm_command_t *command);
/** Makes record, which is in no lock's list, a holder of its lock. */
void lm_apply_grant(lm_table_t *table, lm_record_t *record);
/** Takes a living record out of its lock and out of numbers. */
void lm_apply_unseat(lm_table_t *table, lm_record_t *record);
/** Grants what can be granted now, and drops the entry if it is empty. */
void lm_apply_promote(lm_table_t *table, lm_entry_t *entry);

/** A hold ends: unseat, lm_record_end, HOLD_ENDED. What waits is not yet promoted. */
void lm_apply_end_hold(lm_table_t *table, lm_record_t *record, lm_end_t end);

/** A wait ends, as a hold does. */
void lm_apply_end_wait(lm_table_t *table, lm_record_t *record, lm_end_t end);
/** True if the command was proposed under the current leadership; before the first Takeover there
 *  is none. */
bool lm_verdict_has_authority(const lm_table_t *table, const lm_command_t *command);

/** Lets a command into the session that it names: the command as the table knows it, NULL if it
 *  was refused. Commands outside of sessions come back as they are. */
const lm_command_t *lm_request_enter(lm_table_t *table, const lm_command_t *command);

/* What each kind of command does; the effects are added to the table's. */
void lm_request_acquire(lm_table_t *table, const lm_command_t *command);
void lm_request_release(lm_table_t *table, const lm_command_t *command);
void lm_request_renew(lm_table_t *table, const lm_command_t *command);
void lm_request_cancel(lm_table_t *table, const lm_command_t *command);

void lm_request_open_session(lm_table_t *table, const lm_command_t *command);
void lm_request_keep_alive(lm_table_t *table, const lm_command_t *command);
void lm_request_close_session(lm_table_t *table, const lm_command_t *command);
void lm_verdict_expire_session(lm_table_t *table, const lm_command_t *command);
/** Answers a copy whose request is known, or that must not be executed any more (S12, S12a); false
 *  if it is to be executed. */
bool lm_request_answer_repeat(lm_table_t *table, const lm_command_t *command);

void lm_verdict_expire(lm_table_t *table, const lm_command_t *command);
void lm_verdict_leave(lm_table_t *table, const lm_command_t *command);
void lm_verdict_abandon(lm_table_t *table, const lm_command_t *command);
void lm_verdict_wait_timeout(lm_table_t *table, const lm_command_t *command);

static inline lm_record_t *lm_record_of_seat(const lm_seat_t *seat)
{
    return (lm_record_t *)(uintptr_t)((const char *)seat - offsetof(lm_record_t, seat));
}

static inline lm_owner_t *lm_record_owner(const lm_record_t *record)
{
    return lm_pool_at(record, record->internal_owner);
}

/** Lock of a record that waits or holds. */
static inline lm_entry_t *lm_record_entry(const lm_record_t *record)
{
    return lm_pool_at(record, record->internal_lock);
}

static inline void lm_image_changing(lm_table_t *table, lm_record_t *record)
{
    if (table->image && record->internal_image != table->image_number)
        lm_image_write_ahead(table, record);
}

static inline void lm_image_leaving(lm_table_t *table, lm_record_t *record)
{
    lm_image_changing(table, record);
    if (table->image) lm_image_step_over(table, &record->seat);
}

static inline void lm_image_session_changing(lm_table_t *table, lm_session_t *session)
{
    if (table->image && session->image != table->image_number)
        lm_image_session_ahead(table, session);
}

static inline void lm_image_session_leaving(lm_table_t *table, lm_session_t *session)
{
    lm_image_session_changing(table, session);
    if (table->image) lm_image_session_step_over(table, session);
}

static inline void lm_image_evicting(lm_table_t *table)
{
    if (table->image) lm_image_evict_ahead(table);
}

static inline uint32_t lm_number_hash(uint64_t number) { return (uint32_t)lm_index_mix(number); }

#endif
