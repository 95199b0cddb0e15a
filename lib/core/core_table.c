/* A table's birth, death and everything that is read from it. */
#include "core_table.h"

#include <stdlib.h>

#include "base_check.h"
#include "core_state.h"

/* ---- birth and death ------------------------------------------------------------------------- */

/* Names and owners are short: their hashes are computed again rather than kept. */
static uint32_t hash_of_entry(const void *entry)
{
    return (uint32_t)lm_entry_hash(lm_entry_name(entry));
}

static uint32_t hash_of_key(const void *record)
{
    return ((const lm_record_t *)record)->internal_key_hash;
}

static uint32_t hash_of_number(const void *record)
{
    return lm_number_hash(((const lm_record_t *)record)->seat.number);
}

static uint32_t hash_of_session(const void *session)
{
    return lm_number_hash(((const lm_session_t *)session)->number);
}

lm_table_t *lm_table_new(uint16_t epoch)
{
    LM_CHECK(epoch <= INT16_MAX, "epoch %u", epoch);
    lm_table_t *table = lm_alloc(sizeof *table);
    table->epoch = epoch;
    table->hash = LM_HASH_START + epoch;
    table->settings = lm_settings_default();
    lm_pool_t *pool = table->pool = lm_pool_new();
    lm_index_init(&table->names, pool, offsetof(lm_entry_t, next), hash_of_entry);
    lm_index_init(&table->owners, pool, offsetof(lm_owner_t, next), lm_record_owner_hash);
    lm_index_init(&table->keys, pool, offsetof(lm_record_t, internal_key_next), hash_of_key);
    lm_index_init(&table->numbers, pool, offsetof(lm_record_t, internal_number_next),
                  hash_of_number);
    lm_index_init(&table->sessions, pool, offsetof(lm_session_t, next), hash_of_session);
    return table;
}

static void free_circles(lm_table_t *table)
{
    lm_circle_t *circle = table->circles;
    HASH_CLEAR(hh, table->circles);
    while (circle) {
        lm_circle_t *next = circle->hh.next;
        free(circle);
        circle = next;
    }
}

void lm_table_destroy(lm_table_t **table_ref)
{
    lm_table_t *table = *table_ref;
    if (!table) return;
    free_circles(table);
    lm_entry_free_crowds(table);
    lm_index_free(&table->names);
    lm_index_free(&table->keys);
    lm_index_free(&table->numbers);
    lm_index_free(&table->owners);
    lm_index_free(&table->sessions);
    lm_ring_free(&table->ring);
    lm_image_free(table);
    free(table->effects);
    free(table->buried);
    lm_pool_destroy(&table->pool);
    free(table);
    *table_ref = NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

uint64_t lm_table_op_seq(const lm_table_t *table) { return table->op_seq; }

uint64_t lm_table_hash(const lm_table_t *table) { return table->hash; }

lm_pair_t lm_table_pair(const lm_table_t *table) { return table->pair; }

const lm_settings_t *lm_table_settings(const lm_table_t *table) { return &table->settings; }

const lm_record_t *lm_table_find(const lm_table_t *table, const lm_request_key_t *key)
{
    lm_record_t *record = lm_record_find(table, key);
    return record ? lm_record_origin(record) : NULL;
}

lm_rc_t lm_table_lookup(const lm_table_t *table, lm_command_kind_t kind,
                        const lm_request_key_t *key, uint64_t body_hash, const lm_record_t **record)
{
    *record = NULL;
    lm_record_t *found = lm_record_find(table, key);
    if (!found) return LM_RC_OK;
    bool same = found->internal_release == (kind == LM_COMMAND_RELEASE) &&
                found->internal_opening == (kind == LM_COMMAND_OPEN_SESSION) &&
                found->internal_body_hash == body_hash;
    if (!same && !found->internal_any_body) return LM_RC_REQUEST_REUSED;
    *record = lm_record_origin(found);
    return LM_RC_OK;
}

bool lm_table_seen(const lm_table_t *table, const lm_request_key_t *key)
{
    const lm_record_t *record = lm_table_find(table, key);
    return record && (record->state == LM_RECORD_ENDED || record->state == LM_RECORD_RETIRED);
}

const lm_entry_t *lm_table_lock(const lm_table_t *table, lm_bytes_t name)
{
    return lm_entry_find(table, name);
}

lm_bytes_t lm_entry_name(const lm_entry_t *lock) { return lm_bytes(lock->name, lock->name_size); }

const lm_lock_value_t *lm_entry_value(const lm_entry_t *lock) { return &lock->value; }

const lm_seat_t *lm_entry_holders(const lm_entry_t *lock) { return lm_lock_holders(&lock->value); }

const lm_seat_t *lm_entry_waiters(const lm_entry_t *lock) { return lm_lock_waiters(&lock->value); }

const lm_entry_t *lm_record_lock(const lm_record_t *record) { return lm_record_entry(record); }

int64_t lm_record_token(const lm_record_t *record) { return record->seat.token; }

const lm_record_t *lm_record_of(const lm_seat_t *seat) { return lm_record_of_seat(seat); }

const lm_record_t *lm_table_of_owner(const lm_table_t *table, lm_bytes_t name, lm_bytes_t identity,
                                     lm_bytes_t owner)
{
    const lm_entry_t *entry = lm_entry_find(table, name);
    const lm_owner_t *one = lm_record_find_owner(table, identity, owner);
    return entry && one ? lm_entry_of_owner(table, entry, one) : NULL;
}

lm_record_t *lm_record_by_number(const lm_table_t *table, uint64_t number)
{
    lm_record_t *record = lm_index_first(&table->numbers, lm_number_hash(number));
    while (record && record->seat.number != number) record = lm_index_next(&table->numbers, record);
    return record;
}

static const lm_record_t *by_number(const lm_table_t *table, uint64_t number,
                                    lm_record_state_t state)
{
    const lm_record_t *record = lm_record_by_number(table, number);
    return record && record->state == state ? record : NULL;
}

const lm_record_t *lm_table_hold(const lm_table_t *table, uint64_t hold)
{
    return by_number(table, hold, LM_RECORD_HOLDING);
}

const lm_record_t *lm_table_wait(const lm_table_t *table, uint64_t wait_number)
{
    return by_number(table, wait_number, LM_RECORD_WAITING);
}

/* ---- walking --------------------------------------------------------------------------------- */

typedef struct {
    const lm_record_t **items;
    size_t n;
} gathered_t;

static void gather(void *arg, void *object)
{
    gathered_t *gathered = arg;
    gathered->items[gathered->n++] = object;
}

static int by_creation(const void *a, const void *b)
{
    const lm_record_t *one = *(const lm_record_t *const *)a;
    const lm_record_t *other = *(const lm_record_t *const *)b;
    return (one->wait_number > other->wait_number) - (one->wait_number < other->wait_number);
}

void lm_table_each(const lm_table_t *table, void (*each)(void *arg, const lm_record_t *record),
                   void *arg)
{
    gathered_t gathered = {.items = lm_alloc(table->numbers.count * sizeof(void *))};
    lm_index_each(&table->numbers, gather, &gathered);
    qsort(gathered.items, gathered.n, sizeof(void *), by_creation);
    for (size_t i = 0; i < gathered.n; i++) each(arg, gathered.items[i]);
    free(gathered.items);
}

const lm_entry_t *lm_table_seek(const lm_table_t *table, lm_bytes_t prefix, lm_bytes_t from,
                                bool after)
{
    bool inside = lm_bytes_compare(from, prefix) >= 0;
    const lm_entry_t *entry = lm_order_seek(table->order, inside ? from : prefix, inside && after);
    return entry && lm_bytes_begin_with(lm_entry_name(entry), prefix) ? entry : NULL;
}

lm_table_counts_t lm_table_counts(const lm_table_t *table)
{
    return (lm_table_counts_t){.locks = table->names.count,
                               .holds = table->n_holds,
                               .waiters = table->n_waiters,
                               .records = table->keys.count,
                               .sessions = table->sessions.count};
}
