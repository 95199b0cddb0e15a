// The clients, the network between them and the edge, and the calls other than Acquire.
//
// Each act returns false when it cannot be done now; then it has changed nothing.
#pragma once

#include "model_state.h"

namespace wm {

// ---- Acquire
bool can_start(const State &s, int client);
bool send_attempt(State &s, int client);
bool can_break_attempt(const State &s, int client);
void break_attempt(State &s, int client);
bool can_retry(const State &s, int client);
bool can_give_up(const State &s, int client);
void end_operation(State &s, int client);
void reach_edge(State &s, int slot);
bool can_receive_answer(const State &s, int slot);
void receive_answer(State &s, int slot);
bool can_notice_end(const State &s, int slot);

// ---- Release
bool can_release(const State &s, int client);
void send_release(State &s, int client);
bool deliver_release(State &s, int client);
void lose_release(State &s, int client);
bool can_drop_lapsed(const State &s, int client);

// ---- Renew
bool can_renew(const State &s, int client);
void send_renewal(State &s, int client);
bool deliver_renewal(State &s, int client);
bool can_renew_locally(const State &s, int client);
void renew_locally(State &s, int client);
bool can_take_renewal(const State &s, int client);
void take_renewal_answer(State &s, int client);

// ---- Cancel
bool can_cancel(const State &s, int client);
void send_cancel(State &s, int client);
bool deliver_cancel(State &s, int client);
void lose_cancel(State &s, int client);
void take_cancel_answer(State &s, int client);
bool can_drop_cancel_answer(const State &s, int client);
void drop_cancel_answer(State &s, int client);

// ---- sessions
bool can_close_session(const State &s, int client);
void close_session(State &s, int client);
bool deliver_close(State &s, int client);
bool can_learn_of_hold(const State &s, int client);
void release_unknown_hold(State &s, int client);

// ---- death and time
void die(State &s, int client);
void pass_time(State &s);

} // namespace wm
