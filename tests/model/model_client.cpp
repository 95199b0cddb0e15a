#include "model_client.h"

#include "model_leader.h"
#include "model_machine.h"
#include "model_settings.h"

#include <cstring>

namespace wm {

namespace {

int free_slot(const State &s)
{
    for (int slot = 0; slot < kSlots; slot++)
        if (s.attempts[slot].place == Place::Nowhere)
            return slot;
    return -1;
}

void close_stream(State &s, int client)
{
    Client &c = s.clients[client];
    if (c.slot)
        s.attempts[c.slot - 1].stream_open = 0;
    c.slot = 0;
}

// The client believes from now on for `ticks`; then the hold must be there.
void check_belief(State &s, const Client &c)
{
    if (c.belief && !names_hold(c.hold))
        note(s, Violation::ToldTooLate);
}

void fill_release(Client &c, HoldRef hold, int duplicates)
{
    c.release = {1, hold, static_cast<u8>(duplicates)};
}

} // namespace

// ---- Acquire

bool can_start(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Idle && c.operation < setting.operations
        && c.close == CallPhase::None;
}

bool send_attempt(State &s, int client)
{
    const int slot = free_slot(s);
    if (slot < 0)
        return false;
    Client &c = s.clients[client];
    c.attempt++;
    c.phase = Phase::Waiting;
    c.slot = static_cast<u8>(slot + 1);
    Attempt &a = s.attempts[slot];
    a.place = Place::BeforeEdge;
    a.request = static_cast<u8>(current_request(s, client));
    a.stream_open = 1;
    if (!setting.early_delay)
        reach_edge(s, slot);
    return true;
}

bool can_break_attempt(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Waiting && c.slot;
}

void break_attempt(State &s, int client) { close_stream(s, client); }

bool can_retry(const State &s, int client)
{
    return can_give_up(s, client) && s.clients[client].attempt < setting.attempts_of(client);
}

bool can_give_up(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Waiting && !c.slot;
}

void end_operation(State &s, int client)
{
    close_stream(s, client);
    Client &c = s.clients[client];
    c.phase = Phase::Idle;
    c.operation++;
    c.attempt = 0;
    c.hold = HoldRef::None;
    c.belief = 0;
    const u8 left = c.renewal.left;
    c.renewal = {};
    c.renewal.left = left;
}

void reach_edge(State &s, int slot)
{
    Attempt &a = s.attempts[slot];
    a.place = Place::AtEdge;
    a.stamp = stamp_copy(s, a.request);
}

bool can_receive_answer(const State &s, int slot)
{
    const Attempt &a = s.attempts[slot];
    return a.place == Place::AtEdge && a.stream_open && a.answer != Answer::None;
}

namespace {

void begin_to_hold(State &s, Client &c, const Attempt &a)
{
    const int age = setting.rule.belief_from_send_time ? a.age : 0;
    c.phase = Phase::Holding;
    c.hold = a.answer_hold;
    c.belief = static_cast<u8>(a.remaining > age ? a.remaining - age : 0);
    check_belief(s, c);
    const bool foreign = s.holder
        && owner_of(client_of(holder_of(s))) != owner_of(client_of(a.request));
    if (c.belief && names_hold(c.hold) && foreign)
        note(s, Violation::ForeignAnswer);
}

} // namespace

void receive_answer(State &s, int slot)
{
    const Attempt a = s.attempts[slot];
    const int client = client_of(a.request);
    Client &c = s.clients[client];
    const bool late_belief = !setting.rule.canceller_ignores_grants
        && c.phase == Phase::Cancelling && a.answer == Answer::Granted;
    const bool listened = c.slot == slot + 1 && (c.phase == Phase::Waiting || late_belief);
    edge_drops_copy(s, slot);
    if (!listened)
        return;
    if (a.answer == Answer::Granted) {
        begin_to_hold(s, c, a);
        return;
    }
    const bool was_over = s.once_finished >> a.request & 1;
    if (a.answer == Answer::Ended && !c.session_closed && !was_over)
        note(s, Violation::EndedWithoutHold);
    end_operation(s, client);
}

bool can_notice_end(const State &s, int slot)
{
    return s.attempts[slot].place == Place::AtEdge && !s.attempts[slot].stream_open;
}

// ---- Release

bool can_release(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Holding && !c.release.sent;
}

void send_release(State &s, int client)
{
    Client &c = s.clients[client];
    fill_release(c, c.hold, setting.duplicates);
    end_operation(s, client);
}

bool deliver_release(State &s, int client)
{
    Client &c = s.clients[client];
    if (!c.release.sent || !s.serving)
        return false;
    Entry e = make_entry(s, Command::Release, client);
    e.hold = c.release.hold;
    if (!propose(s, e))
        return false;
    if (c.release.duplicates)
        c.release.duplicates--;
    else
        c.release = {};
    return true;
}

void lose_release(State &s, int client) { s.clients[client].release = {}; }

bool can_drop_lapsed(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Holding && !c.belief;
}

// ---- Renew

bool can_renew(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Holding && c.renewal.phase == RenewPhase::None
        && c.renewal.left;
}

void send_renewal(State &s, int client)
{
    Renewal &r = s.clients[client].renewal;
    r.phase = RenewPhase::Sent;
    r.age = 0;
    r.left--;
}

bool deliver_renewal(State &s, int client)
{
    Client &c = s.clients[client];
    if (c.renewal.phase != RenewPhase::Sent || !s.serving)
        return false;
    Entry e = make_entry(s, Command::Renew, client);
    e.hold = c.hold;
    if (!propose(s, e))
        return false;
    c.renewal.phase = RenewPhase::Proposed;
    return true;
}

bool can_renew_locally(const State &s, int client)
{
    const Client &c = s.clients[client];
    const HoldRef table = s.nodes[deposed(s)].table_hold;
    return !setting.rule.renew_through_log && c.renewal.phase == RenewPhase::Sent
        && table != HoldRef::None && table == c.hold;
}

void renew_locally(State &s, int client)
{
    Renewal &r = s.clients[client].renewal;
    r.phase = RenewPhase::Granted;
    r.remaining = static_cast<u8>(setting.ttl);
}

bool can_take_renewal(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Holding && c.renewal.phase >= RenewPhase::Granted;
}

void take_renewal_answer(State &s, int client)
{
    Client &c = s.clients[client];
    if (c.renewal.phase == RenewPhase::Denied) {
        end_operation(s, client);
        return;
    }
    const int rest = c.renewal.remaining - c.renewal.age;
    if (rest > c.belief)
        c.belief = static_cast<u8>(rest);
    check_belief(s, c);
    const u8 left = c.renewal.left;
    c.renewal = {};
    c.renewal.left = left;
}

// ---- Cancel

bool can_cancel(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Waiting && c.cancel.left && !setting.is_generic(client)
        && c.cancel.phase == CallPhase::None;
}

void send_cancel(State &s, int client)
{
    Client &c = s.clients[client];
    c.cancel.request = static_cast<u8>(current_request(s, client));
    c.cancel.phase = CallPhase::Sent;
    c.cancel.left--;
    c.cancel.duplicates = static_cast<u8>(setting.duplicates);
    c.cancel.granted = HoldRef::None;
    c.phase = Phase::Cancelling;
    if (setting.rule.canceller_ignores_grants)
        close_stream(s, client);
}

namespace {

void clear_cancel(CancelCall &cancel)
{
    const u8 left = cancel.left;
    cancel = {};
    cancel.left = left;
}

} // namespace

bool deliver_cancel(State &s, int client)
{
    Client &c = s.clients[client];
    if (c.cancel.phase != CallPhase::Sent || !s.serving)
        return false;
    const int request = c.cancel.request;
    if (!propose(s, make_entry(s, Command::Cancel, request)))
        return false;
    const bool still_asked = c.phase == Phase::Cancelling && current_request(s, client) == request;
    if (c.cancel.duplicates)
        c.cancel.duplicates--; // and another copy of the call is still on its way
    else if (still_asked)
        c.cancel.phase = CallPhase::Proposed;
    else
        clear_cancel(c.cancel);
    return true;
}

void lose_cancel(State &s, int client) { clear_cancel(s.clients[client].cancel); }

void take_cancel_answer(State &s, int client)
{
    Client &c = s.clients[client];
    const HoldRef granted = c.cancel.granted;
    clear_cancel(c.cancel);
    end_operation(s, client);
    if (granted != HoldRef::None && !c.release.sent)
        fill_release(c, granted, 0);
}

bool can_drop_cancel_answer(const State &s, int client)
{
    const Client &c = s.clients[client];
    return c.cancel.phase >= CallPhase::Proposed && c.phase != Phase::Cancelling;
}

void drop_cancel_answer(State &s, int client) { clear_cancel(s.clients[client].cancel); }

// ---- sessions

bool can_close_session(const State &s, int client)
{
    const Client &c = s.clients[client];
    return setting.session && client == 0 && c.alive && c.close == CallPhase::None
        && c.phase != Phase::Gone;
}

void close_session(State &s, int client)
{
    end_operation(s, client);
    s.clients[client].phase = Phase::Gone;
    s.clients[client].close = CallPhase::Sent;
}

bool deliver_close(State &s, int client)
{
    Client &c = s.clients[client];
    if (c.close != CallPhase::Sent || !s.serving)
        return false;
    if (!propose(s, make_entry(s, Command::Close, client)))
        return false;
    c.close = CallPhase::Proposed;
    return true;
}

bool can_learn_of_hold(const State &s, int client)
{
    const Client &c = s.clients[client];
    if (!setting.session || !setting.rule.keepalive_lists_holds || !s.serving || !s.holder)
        return false;
    if (client_of(holder_of(s)) != client || !c.alive || c.release.sent || c.session_closed)
        return false;
    const bool waits_for_it = c.phase == Phase::Waiting
        && current_request(s, client) == holder_of(s);
    return c.phase == Phase::Idle || (c.phase == Phase::Waiting && !waits_for_it);
}

void release_unknown_hold(State &s, int client)
{
    fill_release(s.clients[client], HoldRef::Current, 0);
}

// ---- death and time

void die(State &s, int client)
{
    end_operation(s, client);
    s.clients[client].alive = 0;
    s.clients[client].phase = Phase::Gone;
}

namespace {

void count_down(u8 &counter)
{
    if (counter)
        counter--;
}

void count_up_to_ttl(u8 &counter)
{
    if (counter < setting.ttl)
        counter++;
}

} // namespace

void pass_time(State &s)
{
    for (Attempt &a : s.attempts)
        if (a.place != Place::Nowhere)
            count_up_to_ttl(a.age);
    for (Client &c : s.clients) {
        count_down(c.belief);
        if (c.renewal.phase != RenewPhase::None)
            count_up_to_ttl(c.renewal.age);
    }
    for (Node &n : s.nodes)
        count_down(n.lease_left);
    count_down(s.grace);
}

} // namespace wm
