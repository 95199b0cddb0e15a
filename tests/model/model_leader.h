// The lock actor: what the leader's lock does beside applying (answers, listeners, parking,
// timers), and the deposed lock on the other node, which applies late and may still answer
// listeners of its time.
#pragma once

#include "model_state.h"

namespace wm {

// The leader's lock applies the next entry, and reacts.
void lock_applies_next(State &s);

// A copy reaches the leader's lock from an edge. False: parked, or nothing to do.
bool lock_takes_copy(State &s, int slot);

// The edge ends a call: the copy is gone, and with it a listener.
void edge_drops_copy(State &s, int slot);

// The proposals that the leader's lock makes by itself. False: nothing to propose.
bool can_expire(const State &s);
bool lock_expires(State &s);
bool lock_sweeps_ghosts(State &s);
bool can_abandon_late(const State &s);
bool lock_abandons_late(State &s);
bool can_time_out_wait(const State &s, int place);
bool lock_times_out_wait(State &s, int place);

// raft refuses the newest entry of the pipe.
bool can_refuse(const State &s);
void raft_refuses(State &s);

// A new pair leads: on the other node after an election, on the same node after a restart of the
// lock. The first `keep` entries of the pipe survive; with `late`, the rest follow the Takeover.
enum class Change : u8 { Election, LockRestart };
bool change_leader(State &s, Change change, int keep, bool late);

// The deposed lock applies the next entry it missed.
void deposed_lock_applies(State &s);
bool deposed_lock_answers_repeat(State &s, int slot);
// A copy reaches the deposed lock, which may not know yet that it is.
bool can_reach_deposed(const State &s, int slot);
void deposed_lock_takes_copy(State &s, int slot);

} // namespace wm
