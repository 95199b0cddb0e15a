/* Checks a whole table against its invariants, for tests. */
#include "base_check.h"
#include "core_state.h"

typedef struct {
    const lm_table_t *table;
    uint64_t holds, waiters, joined, finished, living;
    uint64_t unwritten; /* living records that the image being taken has not got yet */
    uint64_t owner_records, owner_living, crowds;
    uint64_t opening, numbered; /* records of OpenSessions; finished ones of sessions */
    uint64_t of_sessions;       /* living records of sessions */
    uint64_t unwritten_sessions;
} tally_t;

/** A seat's record must be where a holder or waiter of this lock has to be. */
static void verify_seat(tally_t *tally, const lm_entry_t *entry, const lm_seat_t *seat,
                        lm_record_state_t state)
{
    const lm_record_t *record = lm_record_of(seat);
    LM_CHECK(record->state == state && lm_record_lock(record) == entry,
             "record of another state or lock");
    bool holds = state == LM_RECORD_HOLDING;
    const lm_record_t *numbered = holds ? lm_table_hold(tally->table, seat->number)
                                        : lm_table_wait(tally->table, seat->number);
    LM_CHECK(numbered == record, "seat %llu is not in numbers", (unsigned long long)seat->number);
    lm_request_key_t key = lm_record_key(record);
    LM_CHECK(lm_table_find(tally->table, &key) == record, "record is not in keys");
    LM_CHECK(lm_entry_of_owner(tally->table, entry, lm_record_owner(record)) == record,
             "an owner has two seats at one lock");
    LM_CHECK(record->wait_number <= seat->number && seat->number <= tally->table->op_seq,
             "seat number %llu", (unsigned long long)seat->number);
    if (holds) {
        LM_CHECK(record->basis >= seat->number && seat->token > 0, "basis or token");
    } else {
        LM_CHECK(record->wait_number == seat->number && seat->token == 0 && record->claim == 0,
                 "waiter's numbers");
    }
}

static uint32_t verify_list(tally_t *tally, const lm_entry_t *entry, const lm_seat_t *first,
                            lm_record_state_t state)
{
    uint32_t n = 0;
    const lm_seat_t *last = first;
    for (const lm_seat_t *seat = first, *next; seat; seat = next) {
        next = lm_seat_next(seat);
        verify_seat(tally, entry, seat, state);
        LM_CHECK(
            !next || (next->internal_previous == lm_pool_ref(seat) && next->number > seat->number),
            "order of seats");
        last = seat;
        n++;
    }
    LM_CHECK(!first || first->internal_previous == lm_pool_ref(last), "end of seats");
    return n;
}

static void verify_entry(void *arg, void *object)
{
    tally_t *tally = arg;
    const lm_entry_t *entry = object;
    const lm_lock_value_t *value = &entry->value;
    LM_CHECK(value->holders, "a lock that nobody holds");
    const lm_seat_t *holders = lm_lock_holders(value), *waiters = lm_lock_waiters(value);
    LM_CHECK(value->n_holders == verify_list(tally, entry, holders, LM_RECORD_HOLDING),
             "count of holders");
    LM_CHECK(value->n_waiters == verify_list(tally, entry, waiters, LM_RECORD_WAITING),
             "count of waiters");
    for (const lm_seat_t *seat = holders; seat; seat = lm_seat_next(seat))
        LM_CHECK(value->n_holders == 1 ||
                     (lm_seat_mode(seat) == LM_MODE_SHARED && seat->token == holders->token),
                 "holders that are not together");
    LM_CHECK(!waiters || !lm_mode_compatible(lm_seat_mode(waiters), lm_seat_mode(holders)),
             "a waiter that could be granted");
    const lm_crowd_t *crowd = lm_entry_crowd(tally->table, entry);
    LM_CHECK(!crowd || HASH_COUNT(crowd->faces) == value->n_holders + value->n_waiters,
             "crowd of another size");
    tally->crowds += crowd != NULL;
    tally->holds += value->n_holders;
    tally->waiters += value->n_waiters;
}

static void verify_record(void *arg, void *object)
{
    tally_t *tally = arg;
    const lm_record_t *record = object;
    if (record->internal_joined) {
        const lm_record_t *origin = lm_pool_at(record, record->internal_origin);
        LM_CHECK(origin->internal_has_joined, "joined, but its origin is alone");
        tally->joined++;
    } else if (record->state == LM_RECORD_OPEN) {
        const lm_session_t *session = lm_session_find(tally->table, record->wait_number);
        LM_CHECK(session && session->opening == lm_pool_ref(record), "an opening without session");
        tally->opening++;
    } else if (record->state == LM_RECORD_ENDED || record->state == LM_RECORD_RETIRED) {
        LM_CHECK(record->end != LM_END_NONE, "finished without an end");
        tally->finished++;
    } else {
        tally->living++;
        if (lm_record_session(record)) tally->of_sessions++;
        if (record->internal_image != tally->table->image_number) tally->unwritten++;
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
    uint32_t count = lm_ring_count(ring);
    LM_CHECK(count <= table->settings.record_ring_size, "ring of %u", count);
    uint64_t previous = table->evicted;
    for (uint64_t place = ring->first; place < ring->end; place++) {
        const lm_record_t *record = lm_ring_at(ring, place);
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
            LM_CHECK(lm_record_origin(circle->joined[i]) == circle->origin,
                     "foreign id in a circle");
        joined += circle->n;
    }
    return joined;
}

static void verify_bonds(tally_t *tally, const lm_session_t *session)
{
    lm_ref_t next = 0;
    uint32_t n = 0;
    for (lm_record_t *record = lm_pool_at(session, session->living); record; n++) {
        LM_CHECK(lm_record_session(record) == session->number && record->ttl_ms == 0 &&
                     lm_bytes_equal(lm_record_key(record).identity,
                                    lm_session_info(session).key.identity),
                 "a bond with another session");
        LM_CHECK(lm_record_bond(record)->next == next, "bonds of a session");
        next = lm_pool_ref(record);
        record = lm_pool_at(record, lm_record_bond(record)->previous);
    }
    LM_CHECK(n == session->n_living, "waits and holds of a session");
    tally->of_sessions -= n;
}

static void verify_numbers(tally_t *tally, const lm_session_t *session)
{
    const uint64_t *open = lm_session_open(session);
    LM_CHECK(session->n_open <= session->open_room, "room for open numbers");
    for (uint32_t place = 0; place < session->n_open; place++) {
        LM_CHECK(open[place] && open[place] >= session->done_below, "a number that is done");
        LM_CHECK(place == 0 || open[place] > open[place - 1], "order of open numbers");
        if (lm_session_finished(tally->table, session, place)) tally->numbered++;
    }
}

static void verify_sessions(tally_t *tally)
{
    const lm_table_t *table = tally->table;
    uint32_t n = 0;
    const lm_session_t *older = NULL;
    for (const lm_session_t *one = table->oldest_session; one; one = lm_session_newer(one)) {
        LM_CHECK(lm_pool_at(one, one->older) == older && (!older || older->number < one->number),
                 "order of sessions");
        LM_CHECK(lm_session_find(table, one->number) == one && !one->ending, "a lost session");
        LM_CHECK(one->number <= one->basis && one->basis <= table->op_seq, "basis of a session");
        verify_bonds(tally, one);
        verify_numbers(tally, one);
        if (one->image != table->image_number) tally->unwritten_sessions++;
        older = one;
        n++;
    }
    LM_CHECK(older == table->newest_session && n == table->sessions.count && n == tally->opening,
             "%u sessions", n);
    LM_CHECK(tally->of_sessions == 0, "waits and holds without a session");
}

void lm_table_verify(const lm_table_t *table)
{
    tally_t tally = {.table = table};
    lm_index_each(&table->names, verify_entry, &tally);
    lm_index_each(&table->keys, verify_record, &tally);
    lm_index_each(&table->owners, verify_owner, &tally);
    verify_sessions(&tally);
    verify_ring(table);
    LM_CHECK(lm_order_verify(table->order) == table->names.count, "locks in the tree");
    LM_CHECK(tally.holds == table->n_holds && tally.waiters == table->n_waiters, "counts");
    LM_CHECK(tally.living == table->numbers.count && tally.living == tally.holds + tally.waiters,
             "living records");
    LM_CHECK(tally.crowds == HASH_COUNT(table->crowds), "crowds");
    LM_CHECK(tally.joined == verify_circles(table), "joined records");
    LM_CHECK(tally.finished == lm_ring_count(&table->ring) + tally.numbered, "finished records");
    LM_CHECK(tally.owner_records == table->keys.count && tally.owner_living == tally.living,
             "records of owners");
    LM_CHECK(!table->image || lm_image_waits_for(table) == tally.unwritten, "records of the image");
    LM_CHECK(!table->image || lm_image_waits_for_sessions(table) == tally.unwritten_sessions,
             "sessions of the image");
}
