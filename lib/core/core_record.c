/* Records of requests: owners, keys, ids that join a wait or hold, and the ring of finished ones.
 *
 *                 +---------+  grant   +---------+
 *   unknown ----> | waiting | -------> | holding |
 *      ^  ^       +---------+          +---------+
 *      |  |  Leave |    | timed out,      |    | released, expired     +---------+
 *      |  +--------+    | cancelled       |    +---------------------> |  ended  |
 *      |                +-----------------|-------------------------> | retired | ---> evicted
 *      +----------------------------------+ abandoned                  +---------+
 *
 * A record that was cancelled while it held is retired by whatever ends it. */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "base_limits.h"
#include "core_state.h"

/* ---- owners ---------------------------------------------------------------------------------- */

static uint64_t owner_hash(lm_bytes_t identity, lm_bytes_t owner)
{
    /* The size first, or "ab","c" would be "a","bc". */
    uint64_t seed = lm_index_mix(LM_HASH_START + identity.size);
    return lm_bytes_hash(owner, lm_bytes_hash(identity, seed));
}

static bool owner_is(const lm_owner_t *one, lm_bytes_t identity, lm_bytes_t owner)
{
    return lm_bytes_equal(lm_bytes(one->text, one->identity_size), identity) &&
           lm_bytes_equal(lm_bytes(one->text + one->identity_size, one->owner_size), owner);
}

uint32_t lm_record_owner_hash_of(lm_bytes_t identity, lm_bytes_t owner)
{
    return (uint32_t)lm_index_mix(owner_hash(identity, owner));
}

uint32_t lm_record_owner_hash(const void *object)
{
    const lm_owner_t *one = object;
    return lm_record_owner_hash_of(lm_bytes(one->text, one->identity_size),
                                   lm_bytes(one->text + one->identity_size, one->owner_size));
}

lm_owner_t *lm_record_find_owner(const lm_table_t *table, lm_bytes_t identity, lm_bytes_t owner)
{
    lm_owner_t *one = lm_index_first(&table->owners, lm_record_owner_hash_of(identity, owner));
    while (one && !owner_is(one, identity, owner)) one = lm_index_next(&table->owners, one);
    return one;
}

static size_t owner_bytes(size_t identity, size_t owner)
{
    return offsetof(lm_owner_t, text) + identity + owner;
}

static lm_owner_t *owner_of_key(lm_table_t *table, const lm_request_key_t *key)
{
    lm_owner_t *one = lm_record_find_owner(table, key->identity, key->owner);
    if (one) return one;
    size_t identity = key->identity.size, owner = key->owner.size;
    LM_CHECK(identity <= LM_IDENTITY_BYTES_MAX && owner <= LM_OWNER_BYTES_MAX,
             "identity of %zu bytes, owner of %zu", identity, owner);
    one = lm_pool_alloc(table->pool, owner_bytes(identity, owner));
    one->identity_size = (uint16_t)identity;
    one->owner_size = (uint16_t)owner;
    if (identity) memcpy(one->text, key->identity.data, identity);
    if (owner) memcpy(one->text + identity, key->owner.data, owner);
    lm_index_insert(&table->owners, one);
    return one;
}

static void owner_release(lm_table_t *table, lm_owner_t *owner)
{
    LM_CHECK(owner->n_records > 0, "owner without records");
    if (--owner->n_records > 0) return;
    LM_CHECK(owner->n_living == 0, "owner with %u waits and holds but no records", owner->n_living);
    lm_index_remove(&table->owners, owner);
    lm_record_bury(table, owner, owner_bytes(owner->identity_size, owner->owner_size));
}

/* ---- keys ------------------------------------------------------------------------------------ */

uint64_t lm_record_hash(const lm_request_key_t *key)
{
    uint64_t seed = lm_index_mix(owner_hash(key->identity, key->owner) + key->owner.size);
    if (LM_FAULT(KEY_WITHOUT_OWNER)) seed = LM_HASH_START;
    return lm_index_mix(lm_bytes_hash(key->request_id, seed));
}

static bool is_living(const lm_record_t *record)
{
    return !record->internal_joined &&
           (record->state == LM_RECORD_WAITING || record->state == LM_RECORD_HOLDING);
}

/** Bytes of a record before its id. */
static size_t head_bytes(const lm_record_t *record)
{
    return is_living(record) ? offsetof(lm_record_t, internal_text) : LM_RECORD_FINISHED_BYTES;
}

static bool is_of_session(const lm_record_t *record)
{
    const lm_owner_t *owner = lm_record_owner(record);
    return owner->owner_size == LM_NUMBER_TEXT_BYTES && owner->text[owner->identity_size] == 0;
}

/** Bytes of a wait or hold, with its bond. */
static size_t living_bytes(size_t id_bytes, bool of_session)
{
    size_t size = offsetof(lm_record_t, internal_text) + id_bytes;
    if (!of_session) return size;
    return (size + sizeof(lm_ref_t) - 1) / sizeof(lm_ref_t) * sizeof(lm_ref_t) + sizeof(lm_bond_t);
}

lm_bond_t *lm_record_bond(lm_record_t *record)
{
    size_t size = living_bytes(record->internal_id_size, true);
    return (lm_bond_t *)(void *)((uint8_t *)record + size - sizeof(lm_bond_t));
}

/** Where the request id lies: behind what the record has in its state. */
static uint8_t *id_of(lm_record_t *record) { return (uint8_t *)record + head_bytes(record); }

static void bury_record(lm_table_t *table, lm_record_t *record)
{
    size_t id_bytes = record->internal_id_size;
    lm_record_bury(table, record,
                   is_living(record) ? living_bytes(id_bytes, is_of_session(record))
                                     : LM_RECORD_FINISHED_BYTES + id_bytes);
}

bool lm_record_is_finished(const lm_record_t *record)
{
    return !record->internal_joined &&
           (record->state == LM_RECORD_ENDED || record->state == LM_RECORD_RETIRED);
}

uint64_t lm_record_session(const lm_record_t *record)
{
    return is_of_session(record) ? lm_number_of_text(lm_record_key(record).owner) : 0;
}

lm_request_key_t lm_record_key(const lm_record_t *record)
{
    const lm_owner_t *owner = lm_record_owner(record);
    const uint8_t *id = id_of((lm_record_t *)(uintptr_t)record);
    return (lm_request_key_t){
        .identity = lm_bytes(owner->text, owner->identity_size),
        .owner = lm_bytes(owner->text + owner->identity_size, owner->owner_size),
        .request_id = lm_bytes(id, record->internal_id_size),
    };
}

lm_record_t *lm_record_find(const lm_table_t *table, const lm_request_key_t *key)
{
    uint32_t hash = (uint32_t)lm_record_hash(key);
    lm_record_t *record = lm_index_first(&table->keys, hash);
    for (; record; record = lm_index_next(&table->keys, record)) {
        if (record->internal_key_hash != hash) continue;
        lm_request_key_t other = lm_record_key(record);
        if (lm_bytes_equal(other.request_id, key->request_id) &&
            (owner_is(lm_record_owner(record), key->identity, key->owner) ||
             LM_FAULT(KEY_WITHOUT_OWNER)))
            return record;
    }
    return NULL;
}

lm_record_t *lm_record_origin(lm_record_t *record)
{
    return record->internal_joined ? lm_pool_at(record, record->internal_origin) : record;
}

/* ---- making ---------------------------------------------------------------------------------- */

/** A record of so many bytes, in that state, in keys. */
static lm_record_t *make(lm_table_t *table, const lm_command_t *command, size_t bytes,
                         lm_record_state_t state, bool joined)
{
    lm_bytes_t id = command->key.request_id;
    LM_CHECK(id.size <= LM_REQUEST_ID_BYTES_MAX, "request id of %zu bytes", id.size);
    lm_record_t *record = lm_pool_alloc(table->pool, bytes);
    record->state = state;
    record->internal_joined = joined;
    record->internal_release = command->kind == LM_COMMAND_RELEASE;
    record->internal_any_body = command->kind == LM_COMMAND_CANCEL;
    record->internal_opening = command->kind == LM_COMMAND_OPEN_SESSION;
    record->internal_body_hash = command->body_hash;
    record->internal_id_size = (uint8_t)id.size;
    if (id.size) memcpy(id_of(record), id.data, id.size);
    lm_owner_t *owner = owner_of_key(table, &command->key);
    owner->n_records++;
    record->internal_owner = lm_pool_ref(owner);
    record->internal_key_hash = (uint32_t)lm_record_hash(&command->key);
    lm_index_insert(&table->keys, record);
    if (is_of_session(record)) lm_session_record_made(table, record, is_living(record));
    return record;
}

static size_t finished_bytes(const lm_command_t *command)
{
    return LM_RECORD_FINISHED_BYTES + command->key.request_id.size;
}

lm_record_t *lm_record_new_opening(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *record = make(table, command, finished_bytes(command), LM_RECORD_OPEN, false);
    record->wait_number = table->command_seq;
    return record;
}

lm_record_t *lm_record_new(lm_table_t *table, const lm_command_t *command)
{
    bool of_session = lm_number_of_text(command->key.owner) != 0;
    size_t bytes = living_bytes(command->key.request_id.size, of_session);
    lm_record_t *record = make(table, command, bytes, LM_RECORD_WAITING, false);
    lm_record_owner(record)->n_living++;
    record->internal_image = table->image_number; /* none that is being taken knows it */
    record->wait_number = table->command_seq;
    record->seat.internal_mode = command->mode;
    record->ttl_ms = (uint32_t)(command->ttl_ms < UINT32_MAX ? command->ttl_ms : UINT32_MAX);
    return record;
}

/* ---- the ring -------------------------------------------------------------------------------- */

void lm_record_forget(lm_table_t *table, lm_record_t *record)
{
    if (is_of_session(record)) lm_session_record_left(table, record);
    lm_index_remove(&table->keys, record);
    owner_release(table, lm_record_owner(record));
    bury_record(table, record);
}

void lm_record_trim(lm_table_t *table)
{
    while (lm_ring_count(&table->ring) > table->settings.record_ring_size) {
        lm_image_evicting(table);
        lm_record_t *oldest = lm_ring_take_oldest(&table->ring);
        table->evicted = oldest->internal_finished;
        lm_record_forget(table, oldest);
    }
}

/** Finishes a record of the finished form: into the ring, or, if it is numbered, among the numbers
 *  of its session, which has told the image before. False if it was forgotten, because its session
 *  ends or is done with it. */
static bool finish(lm_table_t *table, lm_record_t *record, lm_record_state_t state, lm_end_t end,
                   lm_rc_t code)
{
    lm_session_t *session = lm_session_of(table, record);
    uint64_t number = session ? lm_number_of_text(lm_record_key(record).request_id) : 0;
    bool done = number && (LM_FAULT(NUMBER_FORGOTTEN) || !lm_session_is_open(session, number));
    if (session && (session->ending || done)) {
        lm_record_forget(table, record);
        return false;
    }
    record->state = state;
    record->end = end;
    record->code = code;
    record->internal_joined = false;
    record->internal_finished = table->command_seq;
    if (number) return true;
    lm_ring_add(&table->ring, record);
    lm_record_trim(table);
    return true;
}

lm_record_t *lm_record_new_finished(lm_table_t *table, const lm_command_t *command,
                                    lm_record_state_t state, lm_end_t end, lm_rc_t code)
{
    lm_record_t *record = make(table, command, finished_bytes(command), state, false);
    finish(table, record, state, end, code);
    return record;
}

void lm_record_end_opening(lm_table_t *table, lm_record_t *record, lm_end_t end)
{
    finish(table, record, LM_RECORD_ENDED, end, LM_RC_SESSION_ENDED);
}

/** A living record cut off to its finished form; the old one is buried. */
static lm_record_t *shrink(lm_table_t *table, lm_record_t *record)
{
    size_t id_bytes = record->internal_id_size;
    lm_record_t *small = lm_pool_alloc(table->pool, LM_RECORD_FINISHED_BYTES + id_bytes);
    lm_index_remove(&table->keys, record);
    memcpy(small, record, LM_RECORD_FINISHED_BYTES);
    memcpy((uint8_t *)small + LM_RECORD_FINISHED_BYTES, record->internal_text, id_bytes);
    small->internal_has_joined = false;
    small->state = LM_RECORD_ENDED; /* of that form; how it ends is settled next */
    lm_index_insert(&table->keys, small);
    bury_record(table, record);
    return small;
}

/* ---- ids that join --------------------------------------------------------------------------- */

lm_circle_t *lm_record_circle(const lm_table_t *table, const lm_record_t *origin)
{
    if (!origin->internal_has_joined) return NULL;
    lm_circle_t *circle;
    HASH_FIND_PTR(table->circles, &origin, circle);
    return circle;
}

static lm_circle_t *circle_new(lm_table_t *table, lm_record_t *origin)
{
    lm_circle_t *circle = lm_alloc(sizeof *circle);
    circle->origin = origin;
    HASH_ADD_PTR(table->circles, origin, circle);
    origin->internal_has_joined = true;
    return circle;
}

/** The oldest one goes its own way: whoever sent it has long sent others. */
static void retire_oldest(lm_table_t *table, lm_circle_t *circle)
{
    finish(table, circle->joined[0], LM_RECORD_RETIRED, LM_END_CANCELLED, LM_RC_OK);
    circle->n--;
    memmove(circle->joined, circle->joined + 1, circle->n * sizeof(lm_record_t *));
}

lm_record_t *lm_record_join(lm_table_t *table, lm_record_t *origin, const lm_command_t *command)
{
    lm_circle_t *circle = lm_record_circle(table, origin);
    if (!circle) circle = circle_new(table, origin);
    if (circle->n == LM_JOINED_IDS_MAX) retire_oldest(table, circle);
    lm_record_t *record = make(table, command, finished_bytes(command), origin->state, true);
    record->internal_origin = lm_pool_ref(origin);
    circle->joined[circle->n++] = record;
    return record;
}

/* ---- ending ---------------------------------------------------------------------------------- */

typedef struct {
    lm_end_t end;
    bool forget, retire;
} fate_t;

/** Settles one id, whose record has the finished form already; false if it is unknown now. */
static bool settle(lm_table_t *table, lm_record_t *record, int64_t token, fate_t fate)
{
    if (fate.forget && (!record->cancelled || LM_FAULT(CANCEL_FORGOTTEN))) {
        lm_record_forget(table, record);
        return false;
    }
    bool retire = fate.retire || record->cancelled;
    record->seat.token = token;
    return finish(table, record, retire ? LM_RECORD_RETIRED : LM_RECORD_ENDED, fate.end, LM_RC_OK);
}

lm_record_t *lm_record_end(lm_table_t *table, lm_record_t *record, lm_end_t end, bool forget_it,
                           bool retire)
{
    fate_t fate = {.end = end, .forget = forget_it, .retire = retire};
    int64_t token = record->seat.token;
    lm_circle_t *circle = lm_record_circle(table, record);
    lm_owner_t *owner = lm_record_owner(record);
    LM_CHECK(owner->n_living > 0, "owner without waits and holds");
    owner->n_living--;
    if (is_of_session(record)) lm_session_seat_left(table, record);
    lm_record_t *small = shrink(table, record);
    if (!settle(table, small, token, fate)) small = NULL;
    if (circle) {
        for (uint32_t i = 0; i < circle->n; i++) settle(table, circle->joined[i], token, fate);
        HASH_DEL(table->circles, circle);
        free(circle);
    }
    return small;
}

/* ---- burial ---------------------------------------------------------------------------------- */

void lm_record_bury(lm_table_t *table, void *object, size_t size)
{
    if (table->n_buried == table->buried_capacity) {
        table->buried_capacity = table->buried_capacity ? table->buried_capacity * 2 : 16;
        table->buried = lm_realloc(table->buried, table->buried_capacity * sizeof(lm_buried_t));
    }
    table->buried[table->n_buried++] = (lm_buried_t){.object = object, .size = size};
}

void lm_record_free_buried(lm_table_t *table)
{
    for (size_t i = 0; i < table->n_buried; i++)
        lm_pool_free(table->pool, table->buried[i].object, table->buried[i].size);
    table->n_buried = 0;
}
