/* Leases: the leader's clock of every hold, and who knows of it.
 *
 * Invariants
 *   E1  A lease starts at its full length when its grant or renewal is applied, or when the own
 *       Takeover is; so it may end late, never early.
 *   E2  Nothing happens at its end but an Expire in the log, which names the hold and what it is
 *       based on (S2); it is not proposed while a Renew of the hold is on its way (S9).
 *   E3  Only the lock that has applied a grant as leader, after its own Takeover, may find it
 * unheard (S10a): nobody was answered, or every answer was reported as undelivered (S13), and the
 * owner has not renewed it. */
#include <stdlib.h>

#include "base_check.h"
#include "lock_state.h"

static uint64_t hash_of(uint64_t hold) { return lm_lock_map_mix(hold); }

lm_lock_lease_t *lm_lock_lease_find(lm_lock_room_t *room, uint64_t hold)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->leases, hash_of(hold));
    for (; link; link = lm_lock_map_next(link)) {
        lm_lock_lease_t *lease = LM_LOCK_OF(link, lm_lock_lease_t, link);
        if (lease->hold == hold) return lease;
    }
    return NULL;
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void expire(lm_lock_room_t *room, lm_lock_lease_t *lease)
{
    const lm_record_t *record = lm_table_hold(room->table, lease->hold);
    LM_CHECK(record, "lease of hold %llu outlives it", (unsigned long long)lease->hold);
    lm_command_t command = {.kind = LM_COMMAND_EXPIRE,
                            .name = lm_entry_name(record->lock),
                            .hold = lease->hold,
                            .basis = record->basis};
    lease->expiring = true;
    lm_lock_propose_add(room, &command, NULL, NULL);
}

static void on_end(void *self, lm_lock_timer_t *timer)
{
    lm_lock_lease_t *lease = LM_LOCK_OF(timer, lm_lock_lease_t, timer);
    if (!lease->renewals && !lease->expiring) expire(self, lease);
}

lm_lock_lease_t *lm_lock_lease_start(lm_lock_room_t *room, const lm_record_t *record, bool mine)
{
    LM_CHECK(record->state == LM_RECORD_HOLDING, "a lease for state %d", record->state);
    lm_lock_lease_t *lease = lm_lock_lease_find(room, record->seat.number);
    if (!lease) {
        lease = lm_alloc(sizeof *lease);
        *lease = (lm_lock_lease_t){.hold = record->seat.number, .mine = mine};
        TAILQ_INIT(&lease->told);
        lm_lock_map_put(&room->leases, &lease->link, hash_of(lease->hold));
    }
    lease->ends_us = room->now_us + (uint64_t)record->ttl_ms * 1000;
    lm_lock_timer_set(&room->timers, &lease->timer, lease->ends_us, on_end);
    return lease;
}

int64_t lm_lock_lease_remaining_ms(const lm_lock_room_t *room, const lm_lock_lease_t *lease)
{
    return lease->ends_us > room->now_us ? (int64_t)((lease->ends_us - room->now_us) / 1000) : 0;
}

/* Looks again at a lease whose timer has fired and that is still there. */
static void look_again(lm_lock_room_t *room, lm_lock_lease_t *lease, uint64_t at_least_us)
{
    if (lm_lock_timer_is_set(&lease->timer)) return;
    uint64_t at_us = lease->ends_us > at_least_us ? lease->ends_us : at_least_us;
    lm_lock_timer_set(&room->timers, &lease->timer, at_us, on_end);
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
    lm_lock_lease_find(room, renew->hold)->renewals++;
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

/* ---- who knows of it ------------------------------------------------------------------------- */

static void free_told(lm_lock_room_t *room, lm_lock_lease_t *lease, lm_lock_told_t *told)
{
    TAILQ_REMOVE(&lease->told, told, in_lease);
    lease->n_told--;
    lm_lock_map_take(&room->tolds, &told->link);
    free(told);
}

void lm_lock_lease_tell(lm_lock_room_t *room, lm_lock_lease_t *lease, const lm_caller_t *to)
{
    if (lease->n_told == LM_LOCK_ANSWERS_PER_HOLD_MAX) {
        lease->known = true;
        free_told(room, lease, TAILQ_FIRST(&lease->told));
    }
    lm_lock_told_t *told = lm_alloc(sizeof *told);
    *told = (lm_lock_told_t){
        .lease = lease, .correlation = to->correlation, .generation = to->generation};
    TAILQ_INSERT_TAIL(&lease->told, told, in_lease);
    lease->n_told++;
    lm_lock_map_put(&room->tolds, &told->link, hash_of(to->correlation));
}

bool lm_lock_lease_is_unheard(const lm_lock_lease_t *lease)
{
    return lease->mine && !lease->known && !lease->n_told;
}

static lm_lock_told_t *find_told(const lm_lock_room_t *room, lm_generation_t generation,
                                 uint64_t correlation)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->tolds, hash_of(correlation));
    for (; link; link = lm_lock_map_next(link)) {
        lm_lock_told_t *told = LM_LOCK_OF(link, lm_lock_told_t, link);
        if (told->correlation == correlation &&
            lm_generation_compare(told->generation, generation) == 0)
            return told;
    }
    return NULL;
}

void lm_lock_lease_on_undelivered(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_answer_undelivered_t *body = message->body;
    lm_lock_told_t *told = find_told(room, message->from.generation, body->correlation);
    room->figures.undelivered++;
    if (!told) return;
    lm_lock_lease_t *lease = told->lease;
    free_told(room, lease, told);
    if (!lm_lock_lease_is_unheard(lease)) return;
    const lm_record_t *record = lm_table_hold(room->table, lease->hold);
    LM_CHECK(record, "lease of hold %llu outlives it", (unsigned long long)lease->hold);
    lm_request_key_t key = lm_record_key(record);
    lm_lock_party_t *party =
        lm_lock_party_get(room, lm_entry_name(record->lock), key.identity, key.owner);
    party->attached = true;
    lm_lock_party_settle(room, party);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void free_lease(lm_lock_room_t *room, lm_lock_lease_t *lease)
{
    lm_lock_timer_stop(&room->timers, &lease->timer);
    for (lm_lock_told_t *told = TAILQ_FIRST(&lease->told), *next; told; told = next) {
        next = TAILQ_NEXT(told, in_lease);
        lm_lock_map_take(&room->tolds, &told->link);
        free(told);
    }
    free(lease);
}

void lm_lock_lease_end(lm_lock_room_t *room, uint64_t hold)
{
    lm_lock_lease_t *lease = lm_lock_lease_find(room, hold);
    LM_CHECK(lease, "hold %llu ends without a lease", (unsigned long long)hold);
    lm_lock_map_take(&room->leases, &lease->link);
    free_lease(room, lease);
}

static void forget_one(void *arg, lm_lock_link_t *link)
{
    free_lease(arg, LM_LOCK_OF(link, lm_lock_lease_t, link));
}

void lm_lock_lease_forget_all(lm_lock_room_t *room)
{
    lm_lock_map_drain(&room->leases, forget_one, room);
}
