#include "model_reply.h"

namespace wm {

bool listens(const State &s, int node, int slot) { return s.nodes[node].listeners >> slot & 1; }

void stop_listening(State &s, int node, int slot)
{
    s.nodes[node].listeners &= static_cast<u8>(~(1u << slot));
}

void start_listening(State &s, int slot)
{
    leader_node(s).listeners |= static_cast<u8>(1u << slot);
}

bool reply(State &s, int node, int slot, Reply r)
{
    Attempt &a = s.attempts[slot];
    stop_listening(s, node, slot);
    if (a.answer != Answer::None)
        return false;
    if (r.answer == Answer::Granted) {
        if (node == s.leader)
            s.told = 1;
        const bool foreign = s.holder
            && owner_of(client_of(holder_of(s))) != owner_of(client_of(a.request));
        if (foreign && names_hold(r.hold))
            note(s, Violation::ForeignAnswer);
    }
    a.answer = r.answer;
    a.answer_hold = r.hold;
    a.remaining = static_cast<u8>(r.remaining);
    return true;
}

void reply_to_id(State &s, int request, Reply r)
{
    for (int slot = 0; slot < kSlots && s.serving; slot++)
        if (listens(s, s.leader, slot) && s.attempts[slot].request == request)
            reply(s, s.leader, slot, r);
}

bool reply_to_wait(State &s, int node, int request, Reply r)
{
    bool told = false;
    for (int slot = 0; slot < kSlots; slot++)
        if (listens(s, node, slot) && same_wait(s.attempts[slot].request, request))
            told |= reply(s, node, slot, r);
    return told;
}

bool has_listener(const State &s, int request)
{
    for (int slot = 0; slot < kSlots; slot++)
        if (listens(s, s.leader, slot) && same_wait(s.attempts[slot].request, request))
            return true;
    return false;
}

Reply granted_with_rest(const State &s)
{
    return {Answer::Granted, HoldRef::Current, leader_node(s).lease_left};
}

} // namespace wm
