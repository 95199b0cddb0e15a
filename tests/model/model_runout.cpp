#include "model_runout.h"

#include "model_client.h"
#include "model_leader.h"
#include "model_moves.h"
#include "model_reply.h"
#include "model_settings.h"
#include "model_tell.h"

namespace wm {

namespace {

using Story = std::vector<std::string>;

// First the machinery, then the clients, then what the leader does about those who are gone. A
// client that holds releases at once; one with an open stream waits as long as it takes.
const MoveId fair_order[] = {
    MoveId::LockApplies,      MoveId::DeposedApplies, MoveId::EdgeReceives,
    MoveId::AnswerArrives,    MoveId::EdgeNoticesEnd, MoveId::LockTakesCopy,
    MoveId::ReleaseArrives,   MoveId::RenewalArrives, MoveId::CancelArrives,
    MoveId::CloseArrives,     MoveId::ClientRetries,  MoveId::ClientGivesUp,
    MoveId::CancelAnswered,   MoveId::CancelGivenUp,  MoveId::ClientReleases,
    MoveId::UnknownHoldReleased, MoveId::LockAbandonsLate, MoveId::LockSweeps,
};

void add_to_story(Story *story, const State &s, const std::string &sentence)
{
    if (story)
        story->push_back("fair: " + sentence + "\n         [" + tell_state(s) + "]");
}

bool take(State &s, MoveId id, Story *story)
{
    const Move &m = move(id);
    for (int choice = 0; choice < m.choices; choice++) {
        if (!m.possible(s, choice))
            continue;
        const std::string sentence = story ? m.tell(s, choice) : std::string();
        if (!m.act(s, choice))
            continue;
        add_to_story(story, s, sentence);
        return true;
    }
    return false;
}

// A live session renews its holds; only one that nobody keeps alive runs out.
bool keep_session_alive(State &s, Story *story)
{
    if (!setting.session || !s.holder || !s.serving || s.grace || leader_node(s).lease_left)
        return false;
    const int client = client_of(holder_of(s));
    const Client &c = s.clients[client];
    if (!c.alive || c.phase == Phase::Gone || c.session_closed)
        return false;
    weaken_basis(s);
    leader_node(s).lease_left = static_cast<u8>(setting.ttl);
    add_to_story(story, s, "KeepAlive of " + tell_client(client) + " renews the hold");
    return true;
}

bool take_any(State &s, Story *story)
{
    for (MoveId id : fair_order)
        if (take(s, id, story))
            return true;
    keep_session_alive(s, story);
    return take(s, MoveId::LockExpires, story);
}

bool has_live_waiter_behind(const State &s)
{
    for (int i = 0; i < kClients; i++) {
        const Client &c = s.clients[i];
        if (c.alive && c.phase == Phase::Waiting && c.slot && client_of(holder_of(s)) != i)
            return true;
    }
    return false;
}

// Only time can pass now: nobody works on a ghost that is still there.
Violation find_ghost(const State &s)
{
    if (!s.serving || s.grace)
        return Violation::None;
    const bool unknown_hold = s.holder && !s.inherited && !s.told && leader_node(s).lease_left;
    if (unknown_hold && has_live_waiter_behind(s))
        return Violation::GhostHoldInFront;
    for (int i = 0; i < s.queue_count; i++)
        if (!has_listener(s, s.queue[i]))
            return Violation::GhostWaiterStays;
    return Violation::None;
}

Violation judge_end(const State &s)
{
    for (const Client &c : s.clients)
        if (c.alive && (c.phase == Phase::Waiting || c.phase == Phase::Cancelling))
            return s.holder || !s.queue_count ? Violation::NeverAnswered : Violation::LostWakeUp;
    if (s.holder)
        return Violation::OrphanHold;
    return s.queue_count ? Violation::OrphanWaiter : Violation::None;
}

} // namespace

Violation run_out(State s, Story *story)
{
    const int steps_max = 400; // far above what any setting needs; a longer run goes in circles
    int idle_left = 4 * setting.ttl + 6;
    for (int step = 0; step < steps_max && idle_left > 0; step++) {
        s.minted_in_entry = 0;
        const bool worked = take_any(s, story);
        check_beliefs(s);
        if (s.violation != Violation::None)
            return s.violation;
        if (worked)
            continue;
        const Violation ghost = find_ghost(s);
        if (ghost != Violation::None)
            return ghost;
        pass_time(s);
        add_to_story(story, s, "one tick passes");
        idle_left--;
    }
    return judge_end(s);
}

} // namespace wm
