/* Leading: from the news that this node leads to the first call that is served, and the end of it.
 *
 *               leads, attached            own Takeover applied
 *   following -----------------> taking ------------------------> serving
 *       ^                          |                                 |
 *       +--------------------------+---------------------------------+
 *         lost the term, raft away, a Takeover of another pair applied
 *
 * Invariants
 *   G1  Every attach to a leading raft, and every new term that it leads, begins with a Takeover
 *       of this lock's own pair; before it is applied nothing is served (S8).
 *   G2  At its end nothing of the leadership remains: leases, parties, parks, proposals and
 *       rounds go, and every call is sent back (S10b). What was on its way is decided by the log
 *       alone.
 *   G3  When it begins, every hold and every session gets a lease of full length, at once or in
 *       the turns that follow, and waits and grants that nobody asks for are spared for three
 *       seconds (S11). */
#include "base_fault.h"
#include "base_log.h"
#include "lock_state.h"

lm_bytes_t lm_lock_lead_name(const lm_lock_room_t *room)
{
    if (!room->role_event || room->role == LM_API_RAFT_ROLE_AWAY) return (lm_bytes_t){0};
    lm_bytes_t leader = room->role_event->leader;
    /* This node itself: it will serve in a moment, or has just ceased to. */
    return lm_bytes_equal(leader, room->config->node) ? (lm_bytes_t){0} : leader;
}

bool lm_lock_lead_is_outside(const lm_lock_room_t *room)
{
    return room->role == LM_API_RAFT_ROLE_SURPLUS || room->role == LM_API_RAFT_ROLE_UNFORMED;
}

void lm_lock_lead_end(lm_lock_room_t *room)
{
    if (room->serving) lm_info("ceases to lead in term %llu", (unsigned long long)room->pair.term);
    room->serving = room->taking = false;
    room->grace_until_us = 0;
    lm_lock_walk_end(room);
    lm_lock_timer_stop(&room->timers, &room->grace);
    lm_lock_timer_stop(&room->timers, &room->retry_takeover);
    lm_lock_propose_forget_all(room);
    lm_lock_calls_forward_all(room);
    lm_lock_read_forget_all(room);
    lm_lock_party_forget_all(room);
    lm_lock_told_forget_all(room);
    lm_lock_lease_forget_all(room);
    lm_lock_session_forget_all(room);
}

static lm_pair_t own_pair(const lm_lock_room_t *room)
{
    return (lm_pair_t){.term = room->term,
                       .boot_id = room->generation.boot_id,
                       .counter = room->generation.counter};
}

static void take_over(lm_lock_room_t *room)
{
    if (!LM_FAULT(ANY_PAIR) || room->pair.term == 0) room->pair = own_pair(room);
    room->taking = true;
    lm_lock_propose_takeover(room);
}

static void on_retry(void *self, lm_lock_timer_t *timer)
{
    (void)timer;
    lm_lock_lead_check(self);
}

void lm_lock_lead_takeover_failed(lm_lock_room_t *room)
{
    room->taking = false;
    lm_lock_timer_set(&room->timers, &room->retry_takeover,
                      room->now_us + LM_LOCK_RETRY_TAKEOVER_US, on_retry);
}

void lm_lock_lead_takeover_void(lm_lock_room_t *room)
{
    lm_warn("the takeover of term %llu is void: a later one is in force",
            (unsigned long long)room->pair.term);
    room->taking = false;
}

void lm_lock_lead_check(lm_lock_room_t *room)
{
    bool leads = room->attached && room->role == LM_API_RAFT_ROLE_LEADER;
    bool busy = room->serving || room->taking;
    if (busy && !LM_FAULT(KEEP_SERVING) && (!leads || room->pair.term != room->term))
        lm_lock_lead_end(room);
    if (!leads || room->serving || room->taking || lm_lock_timer_is_set(&room->retry_takeover))
        return;
    /* A pair that is not greater than the one in force would be void: a greater term will come. */
    if (lm_pair_compare(own_pair(room), lm_table_pair(room->table)) > 0) take_over(room);
}

/* ---- serving --------------------------------------------------------------------------------- */

static void on_grace_over(void *self, lm_lock_timer_t *timer)
{
    (void)timer;
    lm_lock_room_t *room = self;
    room->grace_until_us = 0;
    /* Who was not waiting then has had a call of this leadership, which settles it at its end. */
    if (room->had_waiters && !LM_FAULT(GHOSTS_STAY)) lm_lock_walk_sweep(room);
}

static void serve(lm_lock_room_t *room)
{
    room->taking = false;
    room->serving = true;
    room->figures.takeovers++;
    lm_table_counts_t counts = lm_table_counts(room->table);
    room->had_waiters = counts.waiters > 0;
    lm_lock_walk_arm(room);
    lm_lock_session_arm(room);
    room->grace_until_us = room->now_us + LM_LOCK_GRACE_US;
    lm_lock_timer_set(&room->timers, &room->grace, room->grace_until_us, on_grace_over);
    lm_info("leads in term %llu with %llu holds", (unsigned long long)room->term,
            (unsigned long long)counts.holds);
}

void lm_lock_lead_taken_over(lm_lock_room_t *room, lm_pair_t pair)
{
    bool own = room->taking && (LM_FAULT(SERVE_BEFORE) || lm_pair_compare(pair, room->pair) == 0);
    if (own) {
        serve(room);
    } else if (room->serving && !LM_FAULT(KEEP_SERVING)) {
        lm_lock_lead_end(room);
    }
}

/* ---- what raft says -------------------------------------------------------------------------- */

void lm_lock_lead_on_role(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_raft_role_event_t *body = message->body;
    room->role_event =
        lm_lock_room_keep(room, &lm_bus_raft_role_event_type, body, room->role_texts);
    room->role = body->role;
    room->term = body->term;
    if (body->commit_index > room->commit_index) room->commit_index = body->commit_index;
    lm_lock_deliver_cluster(room, body->cluster_id, body->history_id);
    lm_lock_lead_check(room);
    lm_lock_deliver_look(room);
    lm_lock_calls_pass_early(room);
}
