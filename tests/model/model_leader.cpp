#include "model_leader.h"

#include "model_machine.h"
#include "model_reply.h"
#include "model_settings.h"

#include <cstring>

namespace wm {

namespace {

// ---- parking

bool parks_for(Command command)
{
    switch (command) {
    case Command::Leave: return setting.rule.park_during_leave;
    case Command::Abandon: return setting.rule.park_during_abandon;
    case Command::WaitTimeout: return setting.rule.park_during_timeout;
    default: return false;
    }
}

void park(State &s, Entry &e)
{
    u8 &count = leader_node(s).parked[e.subject];
    if (!parks_for(e.command) || (count && !setting.rule.parks_are_counted))
        return;
    e.parks = 1;
    count++;
}

void unpark(State &s, const Entry &e)
{
    u8 &count = leader_node(s).parked[e.subject];
    if (e.pair != s.leading_pair || !count)
        return;
    if (!setting.rule.parks_are_counted)
        count = 0;
    else if (e.parks)
        count--;
}

bool is_parked(const State &s, int request)
{
    for (int id = 0; id < kRequests; id++)
        if (leader_node(s).parked[id] && same_wait(id, request))
            return true;
    return false;
}

bool is_parking_command(Command command)
{
    return command == Command::Leave || command == Command::Abandon
        || command == Command::WaitTimeout;
}

// Leave or WaitTimeout of a wait in the queue.
bool propose_end_of_wait(State &s, Command command, int request)
{
    if (s.pipe_count >= kPipe)
        return false;
    Entry e = make_entry(s, command, request);
    e.wait_current = 1;
    park(s, e);
    return propose(s, e);
}

bool propose_abandon(State &s)
{
    if (s.pipe_count >= kPipe)
        return false;
    Entry e = make_entry(s, Command::Abandon, holder_of(s));
    e.hold = HoldRef::Current;
    park(s, e);
    s.unheard = 0;
    return propose(s, e);
}

// ---- the deposed lock has missed something that its listeners may care about

void let_deposed_know(State &s, LagKind kind, int request)
{
    Node &old = s.nodes[deposed(s)];
    if (!deposed_cares(s))
        return;
    if (old.lag_count == kLag) {
        // No room: of the last events only a Takeover must not be missed.
        if (kind == LagKind::Takeover)
            old.lag[kLag - 1] = {kind, 0, HoldRef::None};
        return;
    }
    // What comes after a Takeover has no listener left to tell.
    const bool takeover_is_the_end =
        setting.rule.takeover_ends_listeners && setting.rule.deposed_sends_back;
    for (int i = 0; i < old.lag_count && takeover_is_the_end; i++)
        if (old.lag[i].kind == LagKind::Takeover)
            return;
    const HoldRef hold = kind == LagKind::Takeover ? HoldRef::None : HoldRef::Current;
    old.lag[old.lag_count++] = {kind, static_cast<u8>(request), hold};
}

// ---- reactions to what was applied

void on_granted(State &s, int request)
{
    leader_node(s).lease_left = static_cast<u8>(setting.ttl);
    s.told = s.unheard = 0;
    s.inherited = !s.serving;
    let_deposed_know(s, LagKind::Grant, request);
    if (!s.serving)
        return;
    if (reply_to_wait(s, s.leader, request, granted_with_rest(s)))
        return;
    s.unheard = setting.rule.abandon_unheard_grants;
    if (s.unheard && !(s.grace && setting.rule.grace_before_abandon))
        propose_abandon(s);
}

void on_returned(State &s, int request)
{
    s.unheard = 0;
    let_deposed_know(s, LagKind::Return, request);
    reply_to_id(s, request, granted_with_rest(s));
}

// The last listener may have left while the Acquire was in the pipe. Only now the wait has the
// number that a Leave must name.
void on_queued(State &s, int request)
{
    if (s.serving && !has_listener(s, request))
        propose_end_of_wait(s, Command::Leave, request);
}

void on_timed_out(State &s, int request)
{
    if (s.serving)
        reply_to_wait(s, s.leader, request, {Answer::TimedOut});
}

void on_renew_answer(State &s, const Entry &e, bool valid)
{
    if (valid)
        leader_node(s).lease_left = static_cast<u8>(setting.ttl);
    Renewal &r = s.clients[e.subject].renewal;
    if (r.phase != RenewPhase::Proposed || e.pair != s.leading_pair || !s.serving)
        return;
    r.phase = valid ? RenewPhase::Granted : RenewPhase::Denied;
    r.remaining = static_cast<u8>(setting.ttl);
}

void on_cancelled(State &s, const Entry &e, bool retired)
{
    CancelCall &c = s.clients[client_of(e.subject)].cancel;
    if (c.phase == CallPhase::Proposed && c.request == e.subject && s.serving
        && e.pair == s.leading_pair) {
        c.phase = CallPhase::Answered;
        c.granted = retired ? HoldRef::None : HoldRef::Current;
    }
    if (retired)
        reply_to_id(s, e.subject, {Answer::Ended});
}

void on_takeover(State &s, const Entry &e)
{
    if (e.pair != s.leading_pair)
        return;
    Node &node = leader_node(s);
    s.serving = 1;
    s.grace = 1;
    s.unheard = 0;
    s.inherited = s.holder != 0;
    node.lease_left = static_cast<u8>(s.holder && setting.rule.arm_at_takeover ? setting.ttl : 0);
    node.listeners = 0;
    if (setting.rule.takeover_unparks)
        std::memset(node.parked, 0, sizeof node.parked);
    let_deposed_know(s, LagKind::Takeover, 0);
    if (s.holder && !setting.rule.abandon_own_grants_only)
        propose_abandon(s);
}

void react(State &s, const Entry &e, const NewsItem &item)
{
    const int subject = item.subject;
    switch (item.kind) {
    case News::Granted: return on_granted(s, subject);
    case News::Returned: return on_returned(s, subject);
    case News::Queued: return on_queued(s, subject);
    case News::StillHolding: return reply_to_id(s, subject, granted_with_rest(s));
    case News::HasEnded: return reply_to_id(s, subject, {Answer::Ended});
    case News::TimedOut: return on_timed_out(s, subject);
    case News::CannotTell: return reply_to_id(s, subject, {Answer::CannotTell});
    case News::HoldEnded: leader_node(s).lease_left = 0; return;
    case News::Renewed: return on_renew_answer(s, e, true);
    case News::NotRenewed: return on_renew_answer(s, e, false);
    case News::CancelRetired: return on_cancelled(s, e, true);
    case News::CancelKeptHold: return on_cancelled(s, e, false);
    case News::TookOver: return on_takeover(s, e);
    }
}

} // namespace

void lock_applies_next(State &s)
{
    const Entry e = take_entry(s, 0);
    const NewsList news = apply_command(s, e);
    if (is_parking_command(e.command))
        unpark(s, e);
    for (int i = 0; i < news.count; i++)
        react(s, e, news.items[i]);
}

// ---- copies and listeners

namespace {

// Without the client in the key, another client's hold looks like the answer to this id.
bool answer_from_shared_key(State &s, int slot)
{
    const int request = s.attempts[slot].request;
    if (setting.rule.key_has_client || !s.holder || s.record[request] != Record::Unknown)
        return false;
    if (holder_of(s) == request || number_of(holder_of(s)) != number_of(request))
        return false;
    reply(s, s.leader, slot, granted_with_rest(s));
    return true;
}

bool answer_repeat(State &s, int slot)
{
    const int request = s.attempts[slot].request;
    if (answer_from_shared_key(s, slot))
        return true;
    if (s.record[request] >= Record::Ended) {
        reply(s, s.leader, slot, {Answer::Ended});
        return true;
    }
    if (holder_of(s) != request)
        return false;
    Reply r = granted_with_rest(s);
    if (!setting.rule.remaining_from_timer || !s.serving)
        r.remaining = setting.ttl;
    s.unheard = 0;
    reply(s, s.leader, slot, r);
    return true;
}

bool is_under_way(const State &s, int request)
{
    return s.record[request] == Record::Waiting || in_pipe(s, Command::Acquire, request)
        || (is_attaching(request) && wait_of(s, request) >= 0);
}

} // namespace

bool lock_takes_copy(State &s, int slot)
{
    Attempt &a = s.attempts[slot];
    const bool ready = s.serving || !setting.rule.serve_after_takeover;
    if (!ready || a.answer != Answer::None || listens(s, s.leader, slot))
        return false;
    if (a.forwarded || is_parked(s, a.request) || s.nodes[deposed(s)].kept >> slot & 1)
        return false;
    if (answer_repeat(s, slot))
        return true;
    if (!is_under_way(s, a.request)) {
        Entry e = make_entry(s, Command::Acquire, a.request);
        e.stamp = a.stamp;
        if (!propose(s, e))
            return false;
    }
    a.forwarded = !setting.rule.forward_again;
    start_listening(s, slot);
    return true;
}

namespace {

void listener_left(State &s, int request)
{
    if (setting.rule.leave_when_last_left) {
        for (int slot = 0; slot < kSlots; slot++) {
            if (!listens(s, s.leader, slot))
                continue;
            const int other = s.attempts[slot].request;
            if (setting.rule.listeners_of_the_wait ? same_wait(other, request) : other == request)
                return;
        }
    }
    const int wait = wait_of(s, request);
    if (wait >= 0)
        propose_end_of_wait(s, Command::Leave, wait);
}

} // namespace

void edge_drops_copy(State &s, int slot)
{
    const Attempt gone = s.attempts[slot];
    const bool was_listening = listens(s, s.leader, slot);
    for (int node = 0; node < kNodes; node++)
        stop_listening(s, node, slot);
    s.nodes[deposed(s)].kept &= static_cast<u8>(~(1u << slot));
    std::memset(static_cast<void *>(&s.attempts[slot]), 0, sizeof(Attempt));
    Client &client = s.clients[client_of(gone.request)];
    if (client.slot == slot + 1)
        client.slot = 0;
    if (!s.serving)
        return;
    const bool told = gone.answer == Answer::Granted && names_hold(gone.answer_hold);
    if (told && s.holder && !setting.rule.abandon_untold_only)
        propose_abandon(s);
    if (was_listening)
        listener_left(s, gone.request);
}

// ---- what the leader proposes by itself

bool can_expire(const State &s)
{
    if (!s.serving || !s.holder || leader_node(s).lease_left)
        return false;
    for (int i = 0; i < s.pipe_count; i++) {
        const Entry &e = s.pipe[i];
        if (e.command == Command::Expire && e.pair == s.leading_pair && names_hold(e.hold))
            return false;
    }
    return true;
}

bool lock_expires(State &s)
{
    Entry e = make_entry(s, Command::Expire, holder_of(s));
    e.hold = HoldRef::Current;
    e.basis_current = 1;
    return propose(s, e);
}

bool lock_sweeps_ghosts(State &s)
{
    if (!s.serving || s.grace || !setting.rule.sweep_ghosts)
        return false;
    bool any = false;
    for (int i = 0; i < s.queue_count; i++) {
        const int wait = s.queue[i];
        if (in_pipe(s, Command::Leave, wait) || has_listener(s, wait))
            continue;
        any |= propose_end_of_wait(s, Command::Leave, wait);
    }
    return any;
}

bool can_abandon_late(const State &s) { return s.unheard && s.serving && !s.grace && s.holder; }

bool lock_abandons_late(State &s) { return propose_abandon(s); }

bool can_time_out_wait(const State &s, int place)
{
    return s.wait_timeouts_left && s.serving && place < s.queue_count
        && !in_pipe(s, Command::WaitTimeout, s.queue[place]);
}

bool lock_times_out_wait(State &s, int place)
{
    if (!propose_end_of_wait(s, Command::WaitTimeout, s.queue[place]))
        return false;
    s.wait_timeouts_left--;
    return true;
}

bool can_refuse(const State &s)
{
    if (!s.refusals_left || !s.pipe_count)
        return false;
    const Entry &newest = s.pipe[s.pipe_count - 1];
    return newest.pair == s.leading_pair && is_parking_command(newest.command);
}

void raft_refuses(State &s)
{
    s.refusals_left--;
    const Entry e = take_entry(s, s.pipe_count - 1);
    if (setting.rule.refusal_unparks)
        unpark(s, e);
    if (e.command == Command::Abandon && names_hold(e.hold) && !s.told)
        s.unheard = 1;
}

} // namespace wm
