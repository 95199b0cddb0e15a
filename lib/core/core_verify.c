/* Checks a whole table against its invariants, for tests. */
#include "base_check.h"
#include "core_state.h"

typedef struct {
    const lm_table_t *table;
    uint64_t holds, waiters, joined, finished, living;
    uint64_t owner_records, owner_living;
} tally_t;

/** A seat's record must be where a holder or waiter of this lock has to be. */
static void verify_seat(tally_t *tally, const lm_entry_t *entry, const lm_seat_t *seat,
                        lm_record_state_t state)
{
    const lm_record_t *record = lm_record_of(seat);
    LM_CHECK(record->state == state && record->lock == entry, "record of another state or lock");
    bool holds = state == LM_RECORD_HOLDING;
    const lm_record_t *numbered = holds ? lm_table_hold(tally->table, seat->number)
                                        : lm_table_wait(tally->table, seat->number);
    LM_CHECK(numbered == record, "seat %llu is not in numbers", (unsigned long long)seat->number);
    lm_request_key_t key = lm_record_key(record);
    LM_CHECK(lm_table_find(tally->table, &key) == record, "record is not in keys");
    LM_CHECK(lm_entry_of_owner(entry, record->internal_owner) == record,
             "an owner has two seats at one lock");
    LM_CHECK(record->wait_number <= seat->number && seat->number <= tally->table->op_seq,
             "seat number %llu", (unsigned long long)seat->number);
    if (holds) {
        LM_CHECK(record->basis >= seat->number && record->token == seat->token, "basis or token");
    } else {
        LM_CHECK(record->wait_number == seat->number && record->claim == 0, "waiter's numbers");
    }
}

static uint32_t verify_list(tally_t *tally, const lm_entry_t *entry, const lm_seat_t *first,
                            lm_record_state_t state)
{
    uint32_t n = 0;
    const lm_seat_t *last = first;
    for (const lm_seat_t *seat = first; seat; seat = seat->next) {
        verify_seat(tally, entry, seat, state);
        LM_CHECK(!seat->next || (seat->next->previous == seat && seat->next->number > seat->number),
                 "order of seats");
        last = seat;
        n++;
    }
    LM_CHECK(!first || first->previous == last, "end of seats");
    return n;
}

static void verify_entry(void *arg, void *object)
{
    tally_t *tally = arg;
    const lm_entry_t *entry = object;
    const lm_lock_value_t *value = &entry->value;
    LM_CHECK(value->holders, "a lock that nobody holds");
    LM_CHECK(value->n_holders == verify_list(tally, entry, value->holders, LM_RECORD_HOLDING),
             "count of holders");
    LM_CHECK(value->n_waiters == verify_list(tally, entry, value->waiters, LM_RECORD_WAITING),
             "count of waiters");
    for (const lm_seat_t *seat = value->holders; seat; seat = seat->next)
        LM_CHECK(value->n_holders == 1 ||
                     (seat->mode == LM_MODE_SHARED && seat->token == value->holders->token),
                 "holders that are not together");
    LM_CHECK(!value->waiters || !lm_mode_compatible(value->waiters->mode, value->holders->mode),
             "a waiter that could be granted");
    uint32_t seats = value->n_holders + value->n_waiters;
    LM_CHECK(!entry->crowd || HASH_COUNT(entry->crowd) == seats, "crowd of another size");
    tally->holds += value->n_holders;
    tally->waiters += value->n_waiters;
}

static void verify_record(void *arg, void *object)
{
    tally_t *tally = arg;
    const lm_record_t *record = object;
    if (record->internal_joined) {
        LM_CHECK(record->internal_origin->internal_has_joined, "joined, but its origin is alone");
        tally->joined++;
    } else if (record->state == LM_RECORD_ENDED || record->state == LM_RECORD_RETIRED) {
        LM_CHECK(record->end != LM_END_NONE, "finished without an end");
        tally->finished++;
    } else {
        tally->living++;
    }
}

static void verify_owner(void *arg, void *object)
{
    tally_t *tally = arg;
    const lm_owner_t *owner = object;
    LM_CHECK(owner->n_records > 0 && owner->n_living <= owner->n_records, "counts of an owner");
    tally->owner_records += owner->n_records;
    tally->owner_living += owner->n_living;
}

static void verify_ring(const lm_table_t *table)
{
    const lm_ring_t *ring = &table->ring;
    LM_CHECK(ring->count <= table->settings.record_ring_size, "ring of %u", ring->count);
    uint64_t previous = table->evicted;
    for (uint32_t i = 0; i < ring->count; i++) {
        const lm_record_t *record = ring->items[(ring->first + i) & (ring->capacity - 1)];
        LM_CHECK(record->internal_finished >= previous, "ring is not in order");
        previous = record->internal_finished;
    }
}

static uint64_t verify_circles(const lm_table_t *table)
{
    uint64_t joined = 0;
    for (const lm_circle_t *circle = table->circles; circle; circle = circle->hh.next) {
        LM_CHECK(circle->n >= 1 && circle->n <= LM_JOINED_IDS_MAX, "circle of %u", circle->n);
        for (uint32_t i = 0; i < circle->n; i++)
            LM_CHECK(circle->joined[i]->internal_origin == circle->origin,
                     "foreign id in a circle");
        joined += circle->n;
    }
    return joined;
}

void lm_table_verify(const lm_table_t *table)
{
    tally_t tally = {.table = table};
    lm_index_each(&table->names, verify_entry, &tally);
    lm_index_each(&table->keys, verify_record, &tally);
    lm_index_each(&table->owners, verify_owner, &tally);
    verify_ring(table);
    LM_CHECK(lm_order_verify(table->order) == table->names.count, "locks in the tree");
    LM_CHECK(tally.holds == table->n_holds && tally.waiters == table->n_waiters, "counts");
    LM_CHECK(tally.living == table->numbers.count && tally.living == tally.holds + tally.waiters,
             "living records");
    LM_CHECK(tally.joined == verify_circles(table), "joined records");
    LM_CHECK(tally.finished == table->ring.count, "finished records");
    LM_CHECK(tally.owner_records == table->keys.count && tally.owner_living == tally.living,
             "records of owners");
}
