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

lm_owner_t *lm_record_find_owner(const lm_table_t *table, lm_bytes_t identity, lm_bytes_t owner)
{
    uint32_t hash = (uint32_t)lm_index_mix(owner_hash(identity, owner));
    lm_owner_t *one = lm_index_first(&table->owners, hash);
    while (one && (one->hash != hash || !owner_is(one, identity, owner))) one = one->next;
    return one;
}

static lm_owner_t *owner_of_key(lm_table_t *table, const lm_request_key_t *key)
{
    lm_owner_t *one = lm_record_find_owner(table, key->identity, key->owner);
    if (one) return one;
    size_t identity = key->identity.size, owner = key->owner.size;
    LM_CHECK(identity <= LM_IDENTITY_BYTES_MAX && owner <= LM_OWNER_BYTES_MAX,
             "identity of %zu bytes, owner of %zu", identity, owner);
    one = lm_alloc(offsetof(lm_owner_t, text) + identity + owner);
    one->hash = (uint32_t)lm_index_mix(owner_hash(key->identity, key->owner));
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
    lm_record_bury(table, owner);
}

/* ---- keys ------------------------------------------------------------------------------------ */

uint64_t lm_record_hash(const lm_request_key_t *key)
{
    uint64_t seed = lm_index_mix(owner_hash(key->identity, key->owner) + key->owner.size);
    return lm_index_mix(lm_bytes_hash(key->request_id, seed));
}

static bool is_living(const lm_record_t *record)
{
    return !record->internal_joined &&
           (record->state == LM_RECORD_WAITING || record->state == LM_RECORD_HOLDING);
}

/** Where the request id lies: behind what the record has in its state. */
static uint8_t *id_of(lm_record_t *record)
{
    return is_living(record) ? record->internal_text : (uint8_t *)record + LM_RECORD_FINISHED_BYTES;
}

lm_request_key_t lm_record_key(const lm_record_t *record)
{
    const lm_owner_t *owner = record->internal_owner;
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
    for (; record; record = record->internal_key_next) {
        if (record->internal_key_hash != hash) continue;
        lm_request_key_t other = lm_record_key(record);
        if (lm_bytes_equal(other.request_id, key->request_id) &&
            owner_is(record->internal_owner, key->identity, key->owner))
            return record;
    }
    return NULL;
}

lm_record_t *lm_record_origin(lm_record_t *record)
{
    return record->internal_joined ? record->internal_origin : record;
}

/* ---- making ---------------------------------------------------------------------------------- */

/** A record of so many bytes before the id, in that state, in keys. */
static lm_record_t *make(lm_table_t *table, const lm_command_t *command, size_t bytes,
                         lm_record_state_t state, bool joined)
{
    lm_bytes_t id = command->key.request_id;
    LM_CHECK(id.size <= LM_REQUEST_ID_BYTES_MAX, "request id of %zu bytes", id.size);
    lm_record_t *record = lm_alloc(bytes + id.size);
    record->state = state;
    record->internal_joined = joined;
    record->internal_release = command->kind == LM_COMMAND_RELEASE;
    record->internal_any_body = command->kind == LM_COMMAND_CANCEL;
    record->internal_body_hash = command->body_hash;
    record->internal_id_size = (uint8_t)id.size;
    if (id.size) memcpy(id_of(record), id.data, id.size);
    record->internal_owner = owner_of_key(table, &command->key);
    record->internal_owner->n_records++;
    record->internal_key_hash = (uint32_t)lm_record_hash(&command->key);
    lm_index_insert(&table->keys, record);
    return record;
}

lm_record_t *lm_record_new(lm_table_t *table, const lm_command_t *command)
{
    size_t bytes = offsetof(lm_record_t, internal_text);
    lm_record_t *record = make(table, command, bytes, LM_RECORD_WAITING, false);
    record->internal_owner->n_living++;
    record->wait_number = table->command_seq;
    record->seat.mode = command->mode;
    record->ttl_ms = (uint32_t)(command->ttl_ms < UINT32_MAX ? command->ttl_ms : UINT32_MAX);
    return record;
}

/* ---- the ring -------------------------------------------------------------------------------- */

/** Takes a record out of everything that knows it. */
static void forget(lm_table_t *table, lm_record_t *record)
{
    lm_index_remove(&table->keys, record);
    owner_release(table, record->internal_owner);
    lm_record_bury(table, record);
}

void lm_record_trim(lm_table_t *table)
{
    lm_ring_t *ring = &table->ring;
    while (ring->count > table->settings.record_ring_size) {
        lm_record_t *oldest = ring->items[ring->first];
        ring->first = (ring->first + 1) & (ring->capacity - 1);
        ring->count--;
        table->evicted = oldest->internal_finished;
        forget(table, oldest);
    }
}

static void ring_grow(lm_ring_t *ring)
{
    uint32_t capacity = ring->capacity ? ring->capacity * 2 : 64;
    lm_record_t **items = lm_alloc(capacity * sizeof(lm_record_t *));
    for (uint32_t i = 0; i < ring->count; i++)
        items[i] = ring->items[(ring->first + i) & (ring->capacity - 1)];
    free(ring->items);
    *ring = (lm_ring_t){.items = items, .capacity = capacity, .count = ring->count};
}

/** Finishes a record of the finished form. */
static void finish(lm_table_t *table, lm_record_t *record, lm_record_state_t state, lm_end_t end,
                   lm_rc_t code)
{
    record->state = state;
    record->end = end;
    record->code = code;
    record->internal_joined = false;
    record->internal_finished = table->command_seq;
    lm_ring_t *ring = &table->ring;
    if (ring->count == ring->capacity) ring_grow(ring);
    ring->items[(ring->first + ring->count) & (ring->capacity - 1)] = record;
    ring->count++;
    lm_record_trim(table);
}

lm_record_t *lm_record_new_finished(lm_table_t *table, const lm_command_t *command,
                                    lm_record_state_t state, lm_end_t end, lm_rc_t code)
{
    lm_record_t *record = make(table, command, LM_RECORD_FINISHED_BYTES, state, false);
    finish(table, record, state, end, code);
    return record;
}

/** A living record cut off to its finished form; the old one is buried. */
static lm_record_t *shrink(lm_table_t *table, lm_record_t *record)
{
    size_t id_bytes = record->internal_id_size;
    lm_record_t *small = lm_alloc(LM_RECORD_FINISHED_BYTES + id_bytes);
    lm_index_remove(&table->keys, record);
    memcpy(small, record, LM_RECORD_FINISHED_BYTES);
    memcpy((uint8_t *)small + LM_RECORD_FINISHED_BYTES, record->internal_text, id_bytes);
    small->internal_has_joined = false;
    lm_index_insert(&table->keys, small);
    lm_record_bury(table, record);
    return small;
}

/* ---- ids that join --------------------------------------------------------------------------- */

static lm_circle_t *circle_of(const lm_table_t *table, const lm_record_t *origin)
{
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

void lm_record_join(lm_table_t *table, lm_record_t *origin, const lm_command_t *command)
{
    lm_circle_t *circle = circle_of(table, origin);
    if (!circle) circle = circle_new(table, origin);
    if (circle->n == LM_JOINED_IDS_MAX) retire_oldest(table, circle);
    lm_record_t *record = make(table, command, LM_RECORD_FINISHED_BYTES, origin->state, true);
    record->internal_origin = origin;
    circle->joined[circle->n++] = record;
}

/* ---- ending ---------------------------------------------------------------------------------- */

typedef struct {
    lm_end_t end;
    bool forget, retire;
} fate_t;

/** Settles one id, whose record has the finished form already; false if it is unknown now. */
static bool settle(lm_table_t *table, lm_record_t *record, int64_t token, fate_t fate)
{
    if (fate.forget && !record->cancelled) {
        forget(table, record);
        return false;
    }
    bool retire = fate.retire || record->cancelled;
    record->token = token;
    finish(table, record, retire ? LM_RECORD_RETIRED : LM_RECORD_ENDED, fate.end, LM_RC_OK);
    return true;
}

lm_record_t *lm_record_end(lm_table_t *table, lm_record_t *record, lm_end_t end, bool forget_it,
                           bool retire)
{
    fate_t fate = {.end = end, .forget = forget_it, .retire = retire};
    int64_t token = record->token;
    lm_circle_t *circle = record->internal_has_joined ? circle_of(table, record) : NULL;
    LM_CHECK(record->internal_owner->n_living > 0, "owner without waits and holds");
    record->internal_owner->n_living--;
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

void lm_record_bury(lm_table_t *table, void *memory)
{
    if (table->n_buried == table->buried_capacity) {
        table->buried_capacity = table->buried_capacity ? table->buried_capacity * 2 : 16;
        table->buried = lm_realloc(table->buried, table->buried_capacity * sizeof(void *));
    }
    table->buried[table->n_buried++] = memory;
}

void lm_record_free_buried(lm_table_t *table)
{
    for (size_t i = 0; i < table->n_buried; i++) free(table->buried[i]);
    table->n_buried = 0;
}
