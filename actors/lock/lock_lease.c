/* Leases: the leader's clock of every hold, and whether its owner knows of it.
 *
 * Invariants
 *   E1  A lease starts at its full length when its grant or renewal is applied, or when the own
 *       Takeover is, or in a turn soon after that; so it may end late, never early.
 *   E2  Nothing happens at its end but an Expire in the log, which names the hold and what it is
 *       based on (S2); it is not proposed while a Renew of the hold is on its way (S9).
 *   E3  Only the lock that has applied a grant as leader, after its own Takeover, may find it
 *       unheard (S10a): nobody was answered, or every answer was reported as undelivered (S13), and
 *       the owner has not renewed it.
 *   E4  The lease of a session's hold has no end of its own: it only knows who was told. */
#include "base_check.h"
#include "base_fault.h"
#include "lock_state.h"

_Static_assert(sizeof(lm_lock_lease_t) == 32, "a million leases are 32 MB");

lm_lock_lease_t *lm_lock_lease_find(const lm_lock_room_t *room, uint64_t hold)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->leases, hold);
    return link ? LM_LOCK_OF(link, lm_lock_lease_t, link) : NULL;
}

lm_lock_lease_t *lm_lock_lease_of(lm_lock_room_t *room, const lm_record_t *record)
{
    lm_lock_lease_t *lease = lm_lock_lease_find(room, record->seat.number);
    if (lease) return lease;
    LM_CHECK(lm_lock_walk_is_before(&room->arming, lm_record_lock(record)),
             "hold %llu has no lease", (unsigned long long)record->seat.number);
    return lm_lock_lease_start(room, record, false);
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void expire(lm_lock_room_t *room, lm_lock_lease_t *lease)
{
    const lm_record_t *record = lm_table_hold(room->table, lease->link.hash);
    LM_CHECK(record, "lease of hold %llu outlives it", (unsigned long long)lease->link.hash);
    lm_command_t command = {.kind = LM_COMMAND_EXPIRE,
                            .name = lm_entry_name(lm_record_lock(record)),
                            .hold = record->seat.number,
                            .basis = record->basis};
    lease->expiring = true;
    lm_lock_propose_add(room, &command, NULL, NULL);
}

void lm_lock_lease_run(lm_lock_room_t *room)
{
    lm_lock_spot_t *spot;
    for (int i = 0; i < LM_LOCK_TIMERS_PER_WAKE_MAX; i++) {
        spot = lm_lock_heap_take(&room->lease_clock, room->now_us);
        if (!spot) return;
        lm_lock_lease_t *lease = LM_LOCK_OF(spot, lm_lock_lease_t, spot);
        if ((!lease->renewals || LM_FAULT(ANY_BASIS)) && !lease->expiring) expire(room, lease);
    }
}

lm_lock_lease_t *lm_lock_lease_start(lm_lock_room_t *room, const lm_record_t *record, bool mine)
{
    LM_CHECK(record->state == LM_RECORD_HOLDING, "a lease for state %d", record->state);
    lm_lock_lease_t *lease = lm_lock_lease_find(room, record->seat.number);
    if (!lease) {
        lease = lm_lock_pool_take(&room->lease_pool, sizeof *lease);
        lease->mine = mine;
        lm_lock_map_put(&room->leases, &lease->link, record->seat.number);
    }
    if (lm_record_session(record)) return lease;
    uint64_t part = !mine && LM_FAULT(SHORT_LEASES) ? 10 : 1;
    lease->ends_us = room->now_us + (uint64_t)record->ttl_ms * 1000 / part;
    uint64_t early_us = LM_FAULT(EXPIRE_EARLY) ? (uint64_t)record->ttl_ms * 500 : 0;
    lm_lock_heap_set(&room->lease_clock, &lease->spot, lease->ends_us - early_us);
    return lease;
}

void lm_lock_lease_arm(lm_lock_room_t *room, const lm_entry_t *lock)
{
    for (const lm_seat_t *seat = lm_entry_holders(lock); seat; seat = lm_seat_next(seat))
        if (!lm_lock_lease_find(room, seat->number))
            lm_lock_lease_start(room, lm_record_of(seat), false);
}

int64_t lm_lock_lease_remaining_ms(lm_lock_room_t *room, const lm_record_t *record)
{
    uint64_t session = lm_record_session(record);
    if (session) return lm_lock_session_remaining_ms(room, session);
    const lm_lock_lease_t *lease = lm_lock_lease_of(room, record);
    uint64_t ends_us = lease->ends_us + (LM_FAULT(REMAINING_MORE) ? 500000 : 0);
    return ends_us > room->now_us ? (int64_t)((ends_us - room->now_us) / 1000) : 0;
}

int64_t lm_lock_lease_ttl_ms(const lm_lock_room_t *room, const lm_record_t *record)
{
    uint64_t session = lm_record_session(record);
    if (!session) return record->ttl_ms;
    return lm_session_info(lm_table_session(room->table, session)).ttl_ms;
}

/* Looks again at a lease whose time has come and that is still there. */
static void look_again(lm_lock_room_t *room, lm_lock_lease_t *lease, uint64_t at_least_us)
{
    if (lease->spot.place) return;
    uint64_t at_us = lease->ends_us > at_least_us ? lease->ends_us : at_least_us;
    lm_lock_heap_set(&room->lease_clock, &lease->spot, at_us);
}

/* Renews of others must not keep a hold alive. */
void lm_lock_lease_renewal_begins(lm_lock_room_t *room, lm_lock_proposal_t *proposal)
{
    const lm_command_t *renew = &proposal->command;
    const lm_record_t *record = lm_table_hold(room->table, renew->hold);
    if (!record || record->claim != renew->claim) return;
    lm_request_key_t key = lm_record_key(record);
    if (!lm_bytes_equal(key.owner, renew->key.owner) ||
        !lm_bytes_equal(key.identity, renew->key.identity))
        return;
    lm_lock_lease_of(room, record)->renewals++;
    proposal->holds_lease = true;
}

void lm_lock_lease_renewal_done(lm_lock_room_t *room, lm_lock_proposal_t *proposal)
{
    lm_lock_lease_t *lease = lm_lock_lease_find(room, proposal->command.hold);
    if (!lease || !proposal->holds_lease) return;
    LM_CHECK(lease->renewals > 0, "more renewals end than began");
    lease->renewals--;
    if (!lease->renewals) look_again(room, lease, room->now_us);
}

void lm_lock_lease_expire_done(lm_lock_room_t *room, uint64_t hold)
{
    lm_lock_lease_t *lease = lm_lock_lease_find(room, hold);
    if (!lease) return;
    lease->expiring = false;
    look_again(room, lease, room->now_us + LM_LOCK_RETRY_US);
}

bool lm_lock_lease_is_unheard(const lm_lock_lease_t *lease)
{
    return (lease->mine || LM_FAULT(FOREIGN_GRANTS)) && !lease->known &&
           (!lease->n_told || LM_FAULT(TOLD_IS_UNHEARD));
}

/* ---- ends ------------------------------------------------------------------------------------ */

void lm_lock_lease_end(lm_lock_room_t *room, uint64_t hold)
{
    lm_lock_lease_t *lease = lm_lock_lease_find(room, hold);
    LM_CHECK(lease || room->arming.on, "hold %llu ends without a lease", (unsigned long long)hold);
    if (!lease) return;
    lm_lock_heap_stop(&room->lease_clock, &lease->spot);
    lm_lock_map_take(&room->leases, &lease->link);
    lm_lock_pool_give(&room->lease_pool, lease);
}

void lm_lock_lease_forget_all(lm_lock_room_t *room)
{
    lm_lock_heap_clear(&room->lease_clock);
    lm_lock_map_clear(&room->leases);
    lm_lock_pool_clear(&room->lease_pool);
}
