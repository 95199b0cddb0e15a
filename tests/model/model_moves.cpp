#include "model_moves.h"

#include "model_client.h"
#include "model_leader.h"
#include "model_settings.h"
#include "model_tell.h"

#include <cstring>

namespace wm {

namespace {

using Text = std::string;

// ---- shapes that many rows share

template <void (*change)(State &, int)> bool always(State &s, int choice)
{
    change(s, choice);
    return true;
}

bool yes(const State &, int) { return true; }

Text by_client(int client, const Text &does) { return tell_client(client) + does; }

Text slot_request(const State &s, int slot) { return tell_request(s.attempts[slot].request); }

// ---- the locks

bool has_entry(const State &s, int) { return s.pipe_count > 0; }

bool apply_one(State &s, int)
{
    lock_applies_next(s);
    return true;
}

Text tell_apply(const State &s, int)
{
    return "lock at leader " + tell_node(s.leader) + " applies " + tell_entry(s, s.pipe[0]);
}

bool may_pack_two(const State &s, int)
{
    return !setting.rule.token_per_command && s.pipe_count > 1;
}

bool apply_two(State &s, int)
{
    lock_applies_next(s);
    lock_applies_next(s);
    return true;
}

Text tell_apply_two(const State &s, int)
{
    return "lock at leader applies one log entry with two commands: " + tell_entry(s, s.pipe[0])
        + " and " + tell_entry(s, s.pipe[1]);
}

bool deposed_lags(const State &s, int) { return s.nodes[deposed(s)].lag_count > 0; }

bool deposed_applies(State &s, int)
{
    deposed_lock_applies(s);
    return true;
}

Text tell_deposed(const State &s, int)
{
    const LagEvent &e = s.nodes[deposed(s)].lag[0];
    const Text who = "deposed lock at " + tell_node(deposed(s)) + " applies, late, ";
    switch (e.kind) {
    case LagKind::Grant: return who + "the grant to " + tell_request(e.request);
    case LagKind::Return: return who + "the return of the hold to " + tell_request(e.request);
    default: return who + "the Takeover of the new leader";
    }
}

bool expire_possible(const State &s, int) { return can_expire(s); }
bool expire(State &s, int) { return lock_expires(s); }
Text tell_expire(const State &, int) { return "the lease ends: leader proposes Expire"; }

bool late_abandon_possible(const State &s, int) { return can_abandon_late(s); }
bool abandon_late(State &s, int) { return lock_abandons_late(s); }
Text tell_abandon_late(const State &s, int)
{
    return "leader proposes Abandon of the hold of " + tell_request(holder_of(s))
        + ": nobody has been told of it";
}

bool sweep(State &s, int) { return lock_sweeps_ghosts(s); }
Text tell_sweep(const State &, int) { return "leader sweeps: Leave for each unattached waiter"; }

Text tell_wait_timeout(const State &s, int place)
{
    return "wait time of " + tell_request(s.queue[place]) + " ends: leader proposes WaitTimeout";
}

bool refusal_possible(const State &s, int) { return can_refuse(s); }

bool refuse(State &s, int)
{
    raft_refuses(s);
    return true;
}

Text tell_refuse(const State &s, int)
{
    return "raft refuses the proposal " + tell_entry(s, s.pipe[s.pipe_count - 1]);
}

// ---- copies and the edge

bool before_edge(const State &s, int slot) { return s.attempts[slot].place == Place::BeforeEdge; }

Text tell_edge_receives(const State &s, int slot)
{
    return "edge receives and stamps a copy of " + slot_request(s, slot);
}

bool at_edge(const State &s, int slot) { return s.attempts[slot].place == Place::AtEdge; }

Text tell_takes_copy(const State &s, int slot)
{
    return "lock at leader " + tell_node(s.leader) + " receives a copy of " + slot_request(s, slot);
}

Text tell_answer_arrives(const State &s, int slot)
{
    return tell_client(client_of(s.attempts[slot].request)) + " is told of " + slot_request(s, slot)
        + ": " + tell_answer(s.attempts[slot]);
}

Text tell_notices_end(const State &s, int slot)
{
    return "edge notices the end of a stream of " + slot_request(s, slot);
}

bool trusts_old_table(const State &s, int slot)
{
    return !setting.rule.repeats_from_leader && at_edge(s, slot);
}

Text tell_old_table(const State &s, int slot)
{
    return "deposed lock answers a repeat of " + slot_request(s, slot) + " from its old table";
}

Text tell_late_copy(const State &s, int slot)
{
    return "a copy of " + slot_request(s, slot) + " reaches the deposed lock at "
        + tell_node(deposed(s)) + (s.nodes[deposed(s)].unaware ? ", which does not know it yet" : "");
}

// ---- clients

Text tell_starts(const State &s, int client)
{
    return by_client(client, " begins round " + std::to_string(s.clients[client].operation)
                                 + " with a first attempt");
}

Text tell_breaks(const State &s, int client)
{
    return "the attempt of " + tell_client(client) + " breaks ("
        + slot_request(s, s.clients[client].slot - 1) + ")";
}

Text tell_retries(const State &, int client) { return by_client(client, " tries again"); }
Text tell_gives_up(const State &, int client) { return by_client(client, " gives up its request"); }
Text tell_cancels(const State &s, int client)
{
    return by_client(client, " sends Cancel of " + tell_request(current_request(s, client)));
}

bool cancel_answered(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Cancelling && c.cancel.phase == CallPhase::Answered;
}

Text tell_cancel_answered(const State &s, int client)
{
    const bool granted = s.clients[client].cancel.granted != HoldRef::None;
    return by_client(client, granted ? " is told that its Cancel met a hold, and will release it"
                                     : " is told that its request is retired");
}

bool is_cancelling(const State &s, int client)
{
    return s.clients[client].alive && s.clients[client].phase == Phase::Cancelling;
}

Text tell_cancel_given_up(const State &, int client)
{
    return by_client(client, " gives up its Cancel");
}

Text tell_releases(const State &, int client) { return by_client(client, " sends Release"); }
Text tell_renews(const State &, int client) { return by_client(client, " sends Renew"); }
Text tell_lapsed(const State &, int client) { return by_client(client, " drops its lapsed hold"); }
Text tell_renewal_answered(const State &s, int client)
{
    const bool granted = s.clients[client].renewal.phase == RenewPhase::Granted;
    return by_client(client, granted ? " is told: renewed" : " is told: no such hold");
}

bool may_die(const State &s, int client)
{
    return setting.crash && client == 0 && s.clients[0].alive && s.clients[0].phase != Phase::Gone;
}

Text tell_dies(const State &, int client) { return by_client(client, " dies"); }
Text tell_closes(const State &, int client) { return by_client(client, " closes its session"); }
Text tell_learns(const State &, int client)
{
    return by_client(client, " learns from KeepAlive of a hold it does not know, and releases it");
}

// ---- calls on their way

bool release_sent(const State &s, int client) { return s.clients[client].release.sent; }
Text tell_release(const State &, int client)
{
    return "Release of " + tell_client(client) + " reaches the leader";
}
Text tell_release_lost(const State &, int client)
{
    return "Release of " + tell_client(client) + " is lost";
}
bool renewal_sent(const State &s, int client)
{
    return s.clients[client].renewal.phase == RenewPhase::Sent;
}
Text tell_renewal(const State &, int client)
{
    return "Renew of " + tell_client(client) + " reaches the leader";
}
Text tell_renewed_locally(const State &, int client)
{
    return "deposed leader acknowledges Renew of " + tell_client(client) + " from its table";
}
bool cancel_sent(const State &s, int client)
{
    return s.clients[client].cancel.phase == CallPhase::Sent;
}
Text tell_cancel(const State &s, int client)
{
    return "Cancel of " + tell_request(s.clients[client].cancel.request) + " reaches the leader";
}
Text tell_cancel_lost(const State &, int client)
{
    return "Cancel of " + tell_client(client) + " is lost";
}
Text tell_cancel_dropped(const State &, int client)
{
    return "nobody waits for the Cancel of " + tell_client(client) + " any more";
}
bool close_sent(const State &s, int client)
{
    return s.clients[client].close == CallPhase::Sent;
}
Text tell_close(const State &, int client)
{
    return "Close of " + tell_client(client) + " reaches the leader";
}

// ---- time and faults

// A tick that changes nothing anybody counts leads nowhere new.
bool tick(State &s, int)
{
    State later = s;
    pass_time(later);
    make_canonical(later);
    if (!std::memcmp(&later, &s, sizeof s))
        return false;
    s = later;
    return true;
}

Text tell_tick(const State &, int) { return "one tick passes"; }

bool may_elect(const State &s, int keep)
{
    return s.leader_changes_left && keep <= s.pipe_count && keep < kPipe;
}

bool elect(State &s, int keep)
{
    s.leader_changes_left--;
    return change_leader(s, Change::Election, keep, false);
}

Text tell_kept(const State &s, int keep)
{
    return std::to_string(keep) + " of " + std::to_string(s.pipe_count) + " proposals survive";
}

Text tell_elect(const State &s, int keep)
{
    return "leader change: " + tell_node(deposed(s)) + " leads, " + tell_kept(s, keep);
}

bool may_restart(const State &s, int keep)
{
    return s.lock_restarts_left && keep <= s.pipe_count && keep < kPipe;
}

bool restart(State &s, int keep)
{
    s.lock_restarts_left--;
    return change_leader(s, Change::LockRestart, keep, false);
}

Text tell_restart(const State &s, int keep)
{
    return "lock restarts at leader " + tell_node(s.leader) + ", " + tell_kept(s, keep);
}

bool may_restart_late(const State &s, int keep)
{
    return !setting.rule.raft_refuses_old_pair && may_restart(s, keep) && keep < s.pipe_count;
}

bool restart_late(State &s, int keep)
{
    s.lock_restarts_left--;
    return change_leader(s, Change::LockRestart, keep, true);
}

Text tell_restart_late(const State &s, int keep)
{
    return tell_restart(s, keep) + " in place, the others come after the Takeover";
}

bool end_stream(State &s, int slot)
{
    edge_drops_copy(s, slot);
    return true;
}

const Move table[] = {
    {1, has_entry, apply_one, tell_apply},
    {1, may_pack_two, apply_two, tell_apply_two},
    {1, deposed_lags, deposed_applies, tell_deposed},
    {kClients, can_start, send_attempt, tell_starts},
    {kClients, can_break_attempt, always<break_attempt>, tell_breaks},
    {kClients, can_retry, send_attempt, tell_retries},
    {kClients, can_give_up, always<end_operation>, tell_gives_up},
    {kClients, can_cancel, always<send_cancel>, tell_cancels},
    {kClients, cancel_answered, always<take_cancel_answer>, tell_cancel_answered},
    {kClients, is_cancelling, always<end_operation>, tell_cancel_given_up},
    {kClients, can_release, always<send_release>, tell_releases},
    {kClients, can_renew, always<send_renewal>, tell_renews},
    {kClients, can_drop_lapsed, always<end_operation>, tell_lapsed},
    {kClients, can_take_renewal, always<take_renewal_answer>, tell_renewal_answered},
    {kClients, may_die, always<die>, tell_dies},
    {kClients, can_close_session, always<close_session>, tell_closes},
    {kClients, release_sent, deliver_release, tell_release},
    {kClients, release_sent, always<lose_release>, tell_release_lost},
    {kClients, renewal_sent, deliver_renewal, tell_renewal},
    {kClients, can_renew_locally, always<renew_locally>, tell_renewed_locally},
    {kClients, cancel_sent, deliver_cancel, tell_cancel},
    {kClients, cancel_sent, always<lose_cancel>, tell_cancel_lost},
    {kClients, can_drop_cancel_answer, always<drop_cancel_answer>, tell_cancel_dropped},
    {kClients, close_sent, deliver_close, tell_close},
    {kSlots, before_edge, always<reach_edge>, tell_edge_receives},
    {kSlots, at_edge, lock_takes_copy, tell_takes_copy},
    {kSlots, can_receive_answer, always<receive_answer>, tell_answer_arrives},
    {kSlots, can_notice_end, end_stream, tell_notices_end},
    {kSlots, trusts_old_table, deposed_lock_answers_repeat, tell_old_table},
    {kSlots, can_reach_deposed, always<deposed_lock_takes_copy>, tell_late_copy},
    {kClients, can_learn_of_hold, always<release_unknown_hold>, tell_learns},
    {1, expire_possible, expire, tell_expire},
    {1, late_abandon_possible, abandon_late, tell_abandon_late},
    {1, yes, sweep, tell_sweep},
    {kQueue, can_time_out_wait, lock_times_out_wait, tell_wait_timeout},
    {1, refusal_possible, refuse, tell_refuse},
    {1, yes, tick, tell_tick},
    {kPipe, may_elect, elect, tell_elect},
    {kPipe, may_restart, restart, tell_restart},
    {kPipe, may_restart_late, restart_late, tell_restart_late},
};
static_assert(sizeof table / sizeof table[0] == static_cast<int>(MoveId::Count));

} // namespace

const Move &move(MoveId id) { return table[static_cast<int>(id)]; }

} // namespace wm
