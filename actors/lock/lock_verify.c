/* The invariants of lock_state.h, as a walk over everything; for tests. */
#include "base_check.h"
#include "lock_state.h"

typedef struct {
    const lm_lock_room_t *room;
    size_t holds, unarmed;
} lm_walk_t;

static void verify_hold(void *arg, const lm_record_t *record)
{
    lm_walk_t *walk = arg;
    if (record->state != LM_RECORD_HOLDING) return;
    walk->holds++;
    const lm_lock_lease_t *lease = lm_lock_lease_find(walk->room, record->seat.number);
    if (!lease && lm_lock_walk_is_before(&walk->room->arming, lm_record_lock(record))) {
        walk->unarmed++;
        return;
    }
    LM_CHECK(lease, "hold %llu has no lease", (unsigned long long)record->seat.number);
    if (lm_record_session(record)) {
        LM_CHECK(!lease->spot.place && !lease->expiring, "hold %llu may end before its session",
                 (unsigned long long)record->seat.number);
        return;
    }
    LM_CHECK(lease->spot.place || lease->expiring || lease->renewals, "nothing will end hold %llu",
             (unsigned long long)record->seat.number);
}

static void verify_sessions(const lm_lock_room_t *room)
{
    size_t with_clock = 0;
    const lm_session_t *session = lm_table_sessions(room->table);
    for (; session; session = lm_session_newer(session)) {
        uint64_t number = lm_session_info(session).number;
        LM_CHECK(lm_lock_session_has_clock(room, number), "nothing will end session %llu",
                 (unsigned long long)number);
        with_clock += lm_lock_map_first(&room->sessions, number) != NULL;
    }
    LM_CHECK(with_clock == room->sessions.n, "%zu clocks for %zu sessions", room->sessions.n,
             with_clock);
}

static bool is_end(const lm_lock_proposal_t *proposal)
{
    lm_command_kind_t kind = proposal->command.kind;
    return kind == LM_COMMAND_LEAVE || kind == LM_COMMAND_ABANDON ||
           kind == LM_COMMAND_WAIT_TIMEOUT;
}

static size_t ends_in(const struct lm_lock_proposals *list)
{
    size_t n = 0;
    const lm_lock_proposal_t *proposal;
    TAILQ_FOREACH(proposal, list, in_list)
    {
        if (!is_end(proposal)) continue;
        LM_CHECK(proposal->party->parks > 0, "an end is on its way of a party that is not parked");
        n++;
    }
    return n;
}

static void verify_party(const lm_lock_party_t *party)
{
    const lm_lock_call_t *call;
    TAILQ_FOREACH(call, &party->calls, in_party)
    {
        LM_CHECK(call->party == party, "a call is in another party");
        LM_CHECK(party->parks || call->stage != LM_STAGE_PARKED, "a call is parked for nothing");
        bool pending =
            call->stage == LM_STAGE_LISTENING &&
            lm_lock_party_acquire_of((lm_lock_party_t *)(uintptr_t)party, call->key.request_id);
        LM_CHECK(call->stage != LM_STAGE_LISTENING || call->pending == pending,
                 "a listener is mistaken about its Acquire");
    }
    LM_CHECK(!TAILQ_EMPTY(&party->calls) || !TAILQ_EMPTY(&party->acquires) || party->parks ||
                 lm_lock_timer_is_set(&party->retry),
             "a party is kept that nobody needs");
}

static void verify_call(const lm_lock_room_t *room, const lm_lock_call_t *call)
{
    LM_CHECK(lm_lock_timer_is_set(&call->timer), "nothing will end a call");
    LM_CHECK(room->serving || call->stage == LM_STAGE_EARLY,
             "a call waits for a lock that follows");
    LM_CHECK(call->stage == LM_STAGE_EARLY || call->stamped, "a call is not stamped");
    LM_CHECK(call->stage != LM_STAGE_PROPOSED || call->proposal, "a call waits for no command");
}

void lm_lock_room_verify(const lm_lock_room_t *room)
{
    const lm_lock_call_t *call;
    TAILQ_FOREACH(call, &room->all, in_all)
    verify_call(room, call);
    lm_lock_queues_verify(room);
    if (!room->serving) {
        LM_CHECK(!room->leases.n && !room->sessions.n && !room->parties.n && !room->n_queue,
                 "K1 does not hold");
        return;
    }
    verify_sessions(room);
    lm_walk_t walk = {.room = room};
    lm_table_each(room->table, verify_hold, &walk);
    LM_CHECK(walk.holds == room->leases.n + walk.unarmed, "%zu leases for %zu holds",
             room->leases.n, walk.holds - walk.unarmed);
    size_t told = 0;
    const lm_lock_told_t *one;
    TAILQ_FOREACH(one, &room->all_tolds, in_order)
    told++;
    LM_CHECK(told == room->tolds.n && told <= LM_LOCK_ANSWERS_MAX, "%zu answers, %zu in order",
             room->tolds.n, told);
    size_t parks = 0, ends = ends_in(&room->queue);
    for (size_t i = 0; i < room->n_flight; i++) ends += ends_in(&room->flight[i]->proposals);
    const lm_lock_party_t *party;
    TAILQ_FOREACH(party, &room->all_parties, in_all)
    {
        verify_party(party);
        parks += party->parks;
    }
    LM_CHECK(parks == ends, "parties count %zu ends of %zu", parks, ends);
}
