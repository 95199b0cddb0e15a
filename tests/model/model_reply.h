// Listeners of a node's lock, and the answers that they get.
#pragma once

#include "model_state.h"

namespace wm {

struct Reply {
    Answer answer;
    HoldRef hold = HoldRef::None;
    int remaining = 0;
};

bool listens(const State &s, int node, int slot);
void stop_listening(State &s, int node, int slot);
void start_listening(State &s, int slot);
// Somebody listens at the leader for this wait.
bool has_listener(const State &s, int request);

// The present hold, with what is left on the leader's timer.
Reply granted_with_rest(const State &s);

// Answers one listener. The edge passes on the first answer only; a later one finds the call
// finished, and the edge reports it as undelivered: false.
bool reply(State &s, int node, int slot, Reply r);
// Answers the leader's listeners of this very id.
void reply_to_id(State &s, int request, Reply r);
// Answers a node's listeners of the wait, whatever their ids. True: somebody was told.
bool reply_to_wait(State &s, int node, int request, Reply r);

} // namespace wm
