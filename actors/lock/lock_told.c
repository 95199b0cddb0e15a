/* Who was told of a hold in the last seconds, in case an answer found nobody (S13).
 *
 * Invariants
 *   O1  Only answers about holds that may be found unheard are remembered, and only for so long:
 *       what is forgotten counts as delivered, and its hold as known.
 *   O2  The answers are in the order of their telling. A hold that ends leaves its answers here;
 *       holds are numbered for ever, so they mean nothing then. */
#include "base_check.h"
#include "lock_state.h"

static void drop(lm_lock_room_t *room, lm_lock_told_t *told)
{
    TAILQ_REMOVE(&room->all_tolds, told, in_order);
    lm_lock_map_take(&room->tolds, &told->link);
    lm_lock_pool_give(&room->told_pool, told);
}

static void forget_oldest(lm_lock_room_t *room)
{
    lm_lock_told_t *told = TAILQ_FIRST(&room->all_tolds);
    lm_lock_lease_t *lease = lm_lock_lease_find(room, told->hold);
    if (lease) lease->known = true;
    drop(room, told);
}

static void on_old(void *self, lm_lock_timer_t *timer);

static void watch_oldest(lm_lock_room_t *room)
{
    const lm_lock_told_t *told = TAILQ_FIRST(&room->all_tolds);
    if (told && !lm_lock_timer_is_set(&room->forget_told))
        lm_lock_timer_set(&room->timers, &room->forget_told, told->told_us + LM_LOCK_TOLD_US,
                          on_old);
}

static void on_old(void *self, lm_lock_timer_t *timer)
{
    (void)timer;
    lm_lock_room_t *room = self;
    const lm_lock_told_t *told;
    for (int i = 0; i < LM_LOCK_ANSWERS_PER_WAKE_MAX; i++) {
        told = TAILQ_FIRST(&room->all_tolds);
        if (!told || told->told_us + LM_LOCK_TOLD_US > room->now_us) break;
        forget_oldest(room);
    }
    watch_oldest(room);
}

void lm_lock_told_add(lm_lock_room_t *room, lm_lock_lease_t *lease, const lm_caller_t *to)
{
    if (!lease->mine || lease->known) return;
    if (lease->n_told == LM_LOCK_ANSWERS_PER_HOLD_MAX) {
        lease->known = true;
        return;
    }
    if (room->tolds.n == LM_LOCK_ANSWERS_MAX) forget_oldest(room);
    lm_lock_told_t *told = lm_lock_pool_take(&room->told_pool, sizeof *told);
    told->hold = lease->link.hash;
    told->generation = to->generation;
    told->told_us = room->now_us;
    lease->n_told++;
    TAILQ_INSERT_TAIL(&room->all_tolds, told, in_order);
    lm_lock_map_put(&room->tolds, &told->link, to->correlation);
    watch_oldest(room);
}

static lm_lock_told_t *find(const lm_lock_room_t *room, lm_generation_t generation,
                            uint64_t correlation)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->tolds, correlation);
    for (; link; link = lm_lock_map_next(link)) {
        lm_lock_told_t *told = LM_LOCK_OF(link, lm_lock_told_t, link);
        if (lm_generation_compare(told->generation, generation) == 0) return told;
    }
    return NULL;
}

void lm_lock_told_on_undelivered(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_answer_undelivered_t *body = message->body;
    lm_lock_told_t *told = find(room, message->from.generation, body->correlation);
    room->figures.undelivered++;
    if (!told) return;
    lm_lock_lease_t *lease = lm_lock_lease_find(room, told->hold);
    drop(room, told);
    if (!lease) return;
    LM_CHECK(lease->n_told > 0, "more answers come back than were given");
    lease->n_told--;
    if (!lm_lock_lease_is_unheard(lease)) return;
    const lm_record_t *record = lm_table_hold(room->table, lease->link.hash);
    LM_CHECK(record, "lease of hold %llu outlives it", (unsigned long long)lease->link.hash);
    lm_request_key_t key = lm_record_key(record);
    lm_lock_party_t *party =
        lm_lock_party_get(room, lm_entry_name(lm_record_lock(record)), key.identity, key.owner);
    party->attached = true;
    lm_lock_party_settle(room, party);
}

void lm_lock_told_forget_all(lm_lock_room_t *room)
{
    lm_lock_timer_stop(&room->timers, &room->forget_told);
    lm_lock_map_clear(&room->tolds);
    lm_lock_pool_clear(&room->told_pool);
    TAILQ_INIT(&room->all_tolds);
}
