/* The clocks of sessions: one for each, whatever it holds.
 *
 * Invariants
 *   SC1  A clock starts at its full length when the session is opened, when a KeepAlive is applied,
 *        or when the own Takeover is, or in a turn soon after that; so it may end late, never
 *        early.
 *   SC2  Nothing happens at its end but an ExpireSession in the log, which names what it is based
 *        on (S2); it is not proposed while a KeepAlive of the session is on its way (S9).
 *   SC3  After a Takeover clocks are given in order of the sessions' opening: arming_session is the
 *        oldest that has none, and nothing ends it before the walk has stepped over it. */
#include "base_check.h"
#include "base_fault.h"
#include "lock_state.h"

static lm_lock_session_t *find(const lm_lock_room_t *room, uint64_t number)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->sessions, number);
    return link ? LM_LOCK_OF(link, lm_lock_session_t, link) : NULL;
}

static bool is_unarmed(const lm_lock_room_t *room, uint64_t number)
{
    return room->arming_session && number >= room->arming_session;
}

bool lm_lock_session_has_clock(const lm_lock_room_t *room, uint64_t number)
{
    const lm_lock_session_t *session = find(room, number);
    if (!session) return is_unarmed(room, number);
    return session->spot.place || session->expiring || session->keeps;
}

void lm_lock_session_start(lm_lock_room_t *room, uint64_t number)
{
    const lm_session_t *known = lm_table_session(room->table, number);
    LM_CHECK(known, "a clock for session %llu, which is not there", (unsigned long long)number);
    lm_lock_session_t *session = find(room, number);
    if (!session) {
        session = lm_lock_pool_take(&room->session_pool, sizeof *session);
        lm_lock_map_put(&room->sessions, &session->link, number);
    }
    uint64_t ttl_ms = lm_session_info(known).ttl_ms;
    session->ends_us = room->now_us + ttl_ms * 1000;
    uint64_t early_us = LM_FAULT(EXPIRE_EARLY) ? ttl_ms * 500 : 0;
    lm_lock_heap_set(&room->session_clock, &session->spot, session->ends_us - early_us);
}

/* The clock of a session of the table, which the walk may not have come to. */
static lm_lock_session_t *clock_of(lm_lock_room_t *room, uint64_t number)
{
    if (!find(room, number)) {
        LM_CHECK(is_unarmed(room, number), "session %llu has no clock", (unsigned long long)number);
        lm_lock_session_start(room, number);
    }
    return find(room, number);
}

int64_t lm_lock_session_remaining_ms(lm_lock_room_t *room, uint64_t number)
{
    uint64_t ends_us = clock_of(room, number)->ends_us + (LM_FAULT(REMAINING_MORE) ? 500000 : 0);
    return ends_us > room->now_us ? (int64_t)((ends_us - room->now_us) / 1000) : 0;
}

/* ---- after a Takeover ------------------------------------------------------------------------ */

static uint64_t number_of(const lm_session_t *session)
{
    return session ? lm_session_info(session).number : 0;
}

static void arm_one(lm_lock_room_t *room)
{
    const lm_session_t *session = lm_table_session(room->table, room->arming_session);
    LM_CHECK(session, "session %llu ended before it had a clock",
             (unsigned long long)room->arming_session);
    if (!find(room, room->arming_session)) lm_lock_session_start(room, room->arming_session);
    room->arming_session = number_of(lm_session_newer(session));
}

void lm_lock_session_arm(lm_lock_room_t *room)
{
    room->arming_session = number_of(lm_table_sessions(room->table));
}

void lm_lock_session_step(lm_lock_room_t *room)
{
    for (int i = 0; i < LM_LOCK_WALK_LOCKS_PER_TURN && room->arming_session; i++) arm_one(room);
    if (room->arming_session) lm_outbox_wake(room->out, room->now_us);
}

void lm_lock_session_before(lm_lock_room_t *room, const lm_command_t *command)
{
    bool may_end =
        command->kind == LM_COMMAND_CLOSE_SESSION || command->kind == LM_COMMAND_EXPIRE_SESSION;
    if (may_end && room->arming_session && command->session == room->arming_session) arm_one(room);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void expire(lm_lock_room_t *room, lm_lock_session_t *session)
{
    const lm_session_t *known = lm_table_session(room->table, session->link.hash);
    LM_CHECK(known, "the clock of session %llu outlives it",
             (unsigned long long)session->link.hash);
    lm_session_info_t info = lm_session_info(known);
    lm_command_t command = {
        .kind = LM_COMMAND_EXPIRE_SESSION, .session = info.number, .basis = info.basis};
    session->expiring = true;
    lm_lock_propose_add(room, &command, NULL, NULL);
}

void lm_lock_session_run(lm_lock_room_t *room)
{
    lm_lock_spot_t *spot;
    for (int i = 0; i < LM_LOCK_TIMERS_PER_WAKE_MAX; i++) {
        spot = lm_lock_heap_take(&room->session_clock, room->now_us);
        if (!spot) return;
        lm_lock_session_t *session = LM_LOCK_OF(spot, lm_lock_session_t, spot);
        if ((!session->keeps || LM_FAULT(SESSION_ANY_BASIS)) && !session->expiring)
            expire(room, session);
    }
}

void lm_lock_session_ended(lm_lock_room_t *room, uint64_t number)
{
    lm_lock_session_t *session = find(room, number);
    LM_CHECK(session || is_unarmed(room, number), "session %llu ends without a clock",
             (unsigned long long)number);
    if (!session) return;
    lm_lock_heap_stop(&room->session_clock, &session->spot);
    lm_lock_map_take(&room->sessions, &session->link);
    lm_lock_pool_give(&room->session_pool, session);
}

void lm_lock_session_forget_all(lm_lock_room_t *room)
{
    lm_lock_heap_clear(&room->session_clock);
    lm_lock_map_clear(&room->sessions);
    lm_lock_pool_clear(&room->session_pool);
    room->arming_session = 0;
}

/* ---- what is on its way ---------------------------------------------------------------------- */

bool lm_lock_session_may_linger(const lm_lock_room_t *room, uint64_t number)
{
    const lm_lock_session_t *session = find(room, number);
    return session && session->ends_us >= room->now_us + LM_LOCK_LINGER_LEFT_US;
}

/* Looks again at a clock whose time has come and that is still there. */
static void look_again(lm_lock_room_t *room, lm_lock_session_t *session, uint64_t at_least_us)
{
    if (session->spot.place) return;
    uint64_t at_us = session->ends_us > at_least_us ? session->ends_us : at_least_us;
    lm_lock_heap_set(&room->session_clock, &session->spot, at_us);
}

/* KeepAlives of others must not keep a session. */
void lm_lock_session_keep_begins(lm_lock_room_t *room, lm_lock_proposal_t *proposal)
{
    const lm_command_t *keep = &proposal->command;
    const lm_session_t *session;
    lm_rc_t rc =
        lm_table_enter(room->table, keep->session, keep->key.identity, keep->secret, &session);
    if (rc != LM_RC_OK) return;
    clock_of(room, keep->session)->keeps++;
    proposal->holds_lease = true;
}

void lm_lock_session_keep_done(lm_lock_room_t *room, lm_lock_proposal_t *proposal)
{
    lm_lock_session_t *session = find(room, proposal->command.session);
    if (!session || !proposal->holds_lease) return;
    LM_CHECK(session->keeps > 0, "more KeepAlives end than began");
    session->keeps--;
    if (!session->keeps) look_again(room, session, room->now_us);
}

void lm_lock_session_expire_done(lm_lock_room_t *room, uint64_t number)
{
    lm_lock_session_t *session = find(room, number);
    if (!session) return;
    session->expiring = false;
    look_again(room, session, room->now_us + LM_LOCK_RETRY_US);
}
