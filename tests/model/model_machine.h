// The replicated state machine: what one applied command does on every replica alike.
//
// It reads the entry and the replicated state only. What the leader's lock has to do about the
// result (answer, abandon, arm a timer) is reported as news, in the order in which it happened.
#pragma once

#include "model_state.h"

namespace wm {

enum class News : u8 {
    Granted,      // subject holds now
    Returned,     // subject joined its owner's hold, under the next claim
    Queued,       // subject waits now
    StillHolding, // subject was a repeat of the request that holds
    HasEnded,     // subject is over
    TimedOut,     // the wait of subject is over, whatever id listens
    CannotTell,   // the copy is too old to decide whether it executed before
    HoldEnded,
    Renewed,      // subject: the client
    NotRenewed,
    CancelRetired,
    CancelKeptHold,
    TookOver
};

struct NewsItem {
    News kind;
    u8 subject;
};

struct NewsList {
    NewsItem items[8];
    int count = 0;
    void add(News kind, int subject);
};

// Applies an entry that has left the pipe.
NewsList apply_command(State &s, const Entry &entry);

// The edge stamps a copy of an Acquire.
Stamp stamp_copy(const State &s, int request);

} // namespace wm
