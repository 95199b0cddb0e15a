// How leadership moves, and what the lock that lost it may still do.
#include "model_leader.h"
#include "model_reply.h"
#include "model_settings.h"

#include <cstring>

namespace wm {

// ---- changes of the leading pair

namespace {

void restart_node(State &s)
{
    Node &node = leader_node(s);
    node.listeners = 0;
    std::memset(node.parked, 0, sizeof node.parked);
}

void move_leadership(State &s)
{
    Node &old = leader_node(s);
    old.table_hold = s.holder ? HoldRef::Current : HoldRef::None;
    old.table_request = s.holder;
    old.unaware = setting.late_copies > 0;
    if (setting.rule.takeover_unparks && !old.unaware)
        std::memset(old.parked, 0, sizeof old.parked);
    Node &next = s.nodes[deposed(s)];
    next.listeners = next.unaware = next.kept = next.table_request = 0;
    next.known = 0;
    next.lag_count = 0;
    std::memset(static_cast<void *>(next.lag), 0, sizeof next.lag);
    next.table_hold = HoldRef::None;
    s.leader = static_cast<u8>(deposed(s));
}

// Calls that were proposed by the old pair are sent again by the edge.
void send_calls_again(State &s)
{
    for (Client &c : s.clients) {
        if (c.renewal.phase == RenewPhase::Proposed)
            c.renewal.phase = RenewPhase::Sent;
        if (c.cancel.phase == CallPhase::Proposed)
            c.cancel.phase = CallPhase::Sent;
        if (c.close == CallPhase::Proposed)
            c.close = CallPhase::Sent;
    }
}

} // namespace

namespace {

// What the lock at the leader has in its table or on its way into the log.
u16 known_requests(const State &s)
{
    u16 known = 0;
    for (int request = 0; request < kRequests; request++)
        if (s.record[request] != Record::Unknown || in_pipe(s, Command::Acquire, request))
            known |= static_cast<u16>(1u << request);
    return known;
}

} // namespace

bool change_leader(State &s, Change change, int keep, bool late)
{
    const u16 known = known_requests(s);
    Entry tail[kPipe];
    const int tail_count = s.pipe_count - keep;
    for (int i = 0; i < tail_count; i++)
        tail[i] = take_entry(s, keep);
    if (s.pipe_count + 1 + (late ? tail_count : 0) > kPipe)
        return false;
    if (change == Change::LockRestart)
        restart_node(s);
    else {
        move_leadership(s);
        s.nodes[deposed(s)].known = setting.late_copies ? known : 0;
    }
    s.leading_pair++;
    s.serving = s.unheard = 0;
    leader_node(s).lease_left = 0;
    propose(s, make_entry(s, Command::Takeover, 0));
    for (int i = 0; i < tail_count && late; i++)
        propose(s, tail[i]);
    send_calls_again(s);
    return true;
}

// ---- the deposed lock

void deposed_lock_applies(State &s)
{
    const int node = deposed(s);
    Node &old = s.nodes[node];
    const LagEvent event = old.lag[0];
    for (int i = 1; i < old.lag_count; i++)
        old.lag[i - 1] = old.lag[i];
    old.lag_count--;
    std::memset(static_cast<void *>(&old.lag[old.lag_count]), 0, sizeof(LagEvent));
    if (event.kind == LagKind::Takeover) {
        if (setting.rule.takeover_ends_listeners)
            old.listeners = 0;
        if (setting.rule.takeover_returns_copies)
            old.kept = 0;
        if (setting.rule.takeover_unparks)
            std::memset(old.parked, 0, sizeof old.parked);
        old.unaware = 0;
        return;
    }
    if (event.kind == LagKind::Grant)
        old.lease_left = static_cast<u8>(setting.ttl);
    const Reply r = {Answer::Granted, event.hold, old.lease_left};
    const bool told = reply_to_wait(s, node, event.request, r);
    if (!told && !deposed_cares(s))
        return;
    old.table_hold = event.hold;
    old.table_request = static_cast<u8>(event.request + 1);
}

bool deposed_lock_answers_repeat(State &s, int slot)
{
    const int node = deposed(s);
    const Attempt &a = s.attempts[slot];
    if (s.nodes[node].table_hold == HoldRef::None || a.answer != Answer::None || !s.serving)
        return false;
    if (s.record[a.request] < Record::Holding)
        return false;
    reply(s, node, slot, {Answer::Granted, s.nodes[node].table_hold, setting.ttl});
    return true;
}

// ---- copies that reach it

bool can_reach_deposed(const State &s, int slot)
{
    const Attempt &a = s.attempts[slot];
    const Node &old = s.nodes[deposed(s)];
    if (!s.late_copies_left || a.place != Place::AtEdge || a.answer != Answer::None || a.forwarded)
        return false;
    if (!old.unaware && setting.rule.deposed_sends_back)
        return false; // it says at once who leads, and the copy is back at the edge
    return !(old.kept >> slot & 1) && !listens(s, deposed(s), slot) && !listens(s, s.leader, slot);
}

// A request that is new to it is proposed, in vain: no majority takes the entry, so the copy waits
// for nothing. (Should this node lead again before the other one's Takeover is applied, its entries
// may survive. That is the same as if the copy had come before both changes.) A known one is a
// repeat, and waits for a round of reads, in vain too; or it is parked.
void deposed_lock_takes_copy(State &s, int slot)
{
    const int node = deposed(s);
    Node &old = s.nodes[node];
    const int request = s.attempts[slot].request;
    s.late_copies_left--;
    if (!old.unaware)
        old.listeners |= static_cast<u8>(1u << slot);
    else if (setting.rule.repeat_needs_round || !(old.known >> request & 1) || old.parked[request])
        old.kept |= static_cast<u8>(1u << slot);
    else if (old.table_request == request + 1)
        reply(s, node, slot, {Answer::Granted, old.table_hold, old.lease_left});
    else
        old.listeners |= static_cast<u8>(1u << slot);
}

} // namespace wm
