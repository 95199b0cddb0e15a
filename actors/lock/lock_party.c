/* Parties: who asks for a lock on behalf of one owner, and what is done when nobody does any more.
 *
 *                       calls > 0                       calls = 0
 *   owner waits         all due: WaitTimeout            Leave
 *   owner holds         -                               unheard: Abandon
 *   neither             -                               the party is freed
 *
 * Invariants
 *   V1  lm_lock_party_settle looks at what is and does what the drawing says; it is called after
 *       every change of what it looks at, so that nothing is left waiting for a listener that has
 *       gone, in whatever order things happen.
 *   V2  While a Leave, Abandon or WaitTimeout is on its way (parks), it does nothing: what apply or
 *       raft's refusal makes of it is the next change.
 *   V3  Waits and grants that no call of this leadership has ever asked for are spared until the
 *       time of grace after the Takeover is over (S11). */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "lock_state.h"

static uint64_t hash_of(lm_bytes_t name, lm_bytes_t identity, lm_bytes_t owner)
{
    uint64_t hash = lm_bytes_hash(name, LM_HASH_START);
    hash = lm_bytes_hash(identity, hash ^ name.size);
    return lm_bytes_hash(owner, hash ^ identity.size);
}

lm_lock_party_t *lm_lock_party_find(lm_lock_room_t *room, lm_bytes_t name, lm_bytes_t identity,
                                    lm_bytes_t owner)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->parties, hash_of(name, identity, owner));
    for (; link; link = lm_lock_map_next(link)) {
        lm_lock_party_t *party = LM_LOCK_OF(link, lm_lock_party_t, link);
        if (lm_bytes_equal(party->name, name) && lm_bytes_equal(party->owner, owner) &&
            lm_bytes_equal(party->identity, identity))
            return party;
    }
    return NULL;
}

static lm_bytes_t keep(uint8_t **at, lm_bytes_t text)
{
    if (text.size) memcpy(*at, text.data, text.size);
    lm_bytes_t kept = lm_bytes(*at, text.size);
    *at += text.size;
    return kept;
}

lm_lock_party_t *lm_lock_party_get(lm_lock_room_t *room, lm_bytes_t name, lm_bytes_t identity,
                                   lm_bytes_t owner)
{
    lm_lock_party_t *party = lm_lock_party_find(room, name, identity, owner);
    if (party) return party;
    party = lm_alloc(sizeof *party + name.size + identity.size + owner.size);
    memset(party, 0, sizeof *party);
    uint8_t *at = party->text;
    party->name = keep(&at, name);
    party->identity = keep(&at, identity);
    party->owner = keep(&at, owner);
    TAILQ_INIT(&party->calls);
    TAILQ_INIT(&party->acquires);
    TAILQ_INSERT_TAIL(&room->all_parties, party, in_all);
    lm_lock_map_put(&room->parties, &party->link, hash_of(name, identity, owner));
    return party;
}

void lm_lock_party_add(lm_lock_party_t *party, lm_lock_call_t *call)
{
    call->party = party;
    party->attached = true;
    TAILQ_INSERT_TAIL(&party->calls, call, in_party);
}

void lm_lock_party_set_maybe(lm_lock_party_t *party, lm_bytes_t request_id, bool maybe)
{
    lm_lock_call_t *call;
    TAILQ_FOREACH(call, &party->calls, in_party)
    if (lm_bytes_equal(call->key.request_id, request_id)) call->maybe_applied = maybe;
}

lm_lock_proposal_t *lm_lock_party_acquire_of(lm_lock_party_t *party, lm_bytes_t request_id)
{
    lm_lock_proposal_t *proposal;
    TAILQ_FOREACH(proposal, &party->acquires, in_party)
    if (lm_bytes_equal(proposal->key.request_id, request_id)) return proposal;
    return NULL;
}

static void free_party(lm_lock_room_t *room, lm_lock_party_t *party)
{
    lm_lock_timer_stop(&room->timers, &party->retry);
    TAILQ_REMOVE(&room->all_parties, party, in_all);
    lm_lock_map_take(&room->parties, &party->link);
    free(party);
}

void lm_lock_party_forget_all(lm_lock_room_t *room)
{
    lm_lock_party_t *party;
    while ((party = TAILQ_FIRST(&room->all_parties))) {
        LM_CHECK(TAILQ_EMPTY(&party->calls) && TAILQ_EMPTY(&party->acquires),
                 "a party is forgotten that is in use");
        free_party(room, party);
    }
}

/* ---- settling -------------------------------------------------------------------------------- */

static void propose_end(lm_lock_room_t *room, lm_lock_party_t *party, lm_command_kind_t kind,
                        uint64_t number)
{
    lm_command_t command = {.kind = kind, .name = party->name};
    if (kind == LM_COMMAND_ABANDON)
        command.hold = number;
    else
        command.wait_number = number;
    lm_lock_propose_add(room, &command, party, NULL);
    party->parks++;
}

static bool is_due(const lm_lock_call_t *call)
{
    return call->stage == LM_STAGE_LISTENING && call->due && !call->pending;
}

/* Ends the wait if the time of all its listeners is over; until then those whose time is over are
 * told so one by one. */
static void settle_times(lm_lock_room_t *room, lm_lock_party_t *party, uint64_t wait_number)
{
    bool some = false, all = true;
    lm_lock_call_t *call, *next;
    TAILQ_FOREACH(call, &party->calls, in_party)
    {
        bool due = is_due(call);
        some = some || due;
        all = all && due;
    }
    if (all) {
        propose_end(room, party, LM_COMMAND_WAIT_TIMEOUT, wait_number);
        return;
    }
    for (call = some ? TAILQ_FIRST(&party->calls) : NULL; call; call = next) {
        next = TAILQ_NEXT(call, in_party);
        if (is_due(call))
            lm_lock_answer_not_granted(room, call, LM_API_ACQUIRE_RESULT_TIMED_OUT, 0);
    }
}

static bool is_spared(const lm_lock_room_t *room, const lm_lock_party_t *party)
{
    return room->grace_until_us && !party->attached;
}

static void settle_record(lm_lock_room_t *room, lm_lock_party_t *party)
{
    const lm_record_t *record =
        lm_table_of_owner(room->table, party->name, party->identity, party->owner);
    if (!record) return;
    bool heard = !TAILQ_EMPTY(&party->calls);
    if (record->state == LM_RECORD_WAITING) {
        if (heard)
            settle_times(room, party, record->wait_number);
        else if (!is_spared(room, party))
            propose_end(room, party, LM_COMMAND_LEAVE, record->wait_number);
        return;
    }
    if (!heard && lm_lock_lease_is_unheard(lm_lock_lease_of(room, record)) &&
        !is_spared(room, party) && (party->attached || !LM_FAULT(GHOSTS_KEEP)))
        propose_end(room, party, LM_COMMAND_ABANDON, record->seat.number);
}

void lm_lock_party_settle(lm_lock_room_t *room, lm_lock_party_t *party)
{
    if (!room->serving) return;
    bool retrying = lm_lock_timer_is_set(&party->retry);
    if (!party->parks && !retrying) settle_record(room, party);
    if (TAILQ_EMPTY(&party->calls) && TAILQ_EMPTY(&party->acquires) && !party->parks && !retrying)
        free_party(room, party);
}

static void on_retry(void *self, lm_lock_timer_t *timer)
{
    lm_lock_party_settle(self, LM_LOCK_OF(timer, lm_lock_party_t, retry));
}

void lm_lock_party_unpark(lm_lock_room_t *room, lm_lock_party_t *party, bool refused)
{
    LM_CHECK(party->parks > 0, "a party is unparked that is not parked");
    party->parks--;
    if (refused)
        lm_lock_timer_set(&room->timers, &party->retry, room->now_us + LM_LOCK_RETRY_US, on_retry);
    /* A call that is taken up may park the party again; those behind it then stay where they are.
     */
    for (lm_lock_call_t *call = TAILQ_FIRST(&party->calls), *next; call; call = next) {
        next = TAILQ_NEXT(call, in_party);
        if (!party->parks && call->stage == LM_STAGE_PARKED) lm_lock_acquire_decide(room, call);
    }
    lm_lock_party_settle(room, party);
}

void lm_lock_party_settle_all(lm_lock_room_t *room)
{
    for (lm_lock_party_t *party = TAILQ_FIRST(&room->all_parties), *next; party; party = next) {
        next = TAILQ_NEXT(party, in_all);
        lm_lock_party_settle(room, party);
    }
}

static void sweep_one(lm_lock_room_t *room, const lm_entry_t *lock, const lm_seat_t *seat)
{
    lm_request_key_t key = lm_record_key(lm_record_of(seat));
    lm_lock_party_settle(room,
                         lm_lock_party_get(room, lm_entry_name(lock), key.identity, key.owner));
}

void lm_lock_party_sweep(lm_lock_room_t *room, const lm_entry_t *lock)
{
    const lm_lock_value_t *value = lm_entry_value(lock);
    for (const lm_seat_t *seat = lm_lock_holders(value); seat; seat = lm_seat_next(seat)) {
        const lm_lock_lease_t *lease = lm_lock_lease_of(room, lm_record_of(seat));
        if (lm_lock_lease_is_unheard(lease)) sweep_one(room, lock, seat);
    }
    for (const lm_seat_t *seat = lm_lock_waiters(value); seat; seat = lm_seat_next(seat))
        sweep_one(room, lock, seat);
}
