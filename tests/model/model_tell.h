// Words for schedules: names of requests, entries and answers, and one line about a whole state.
#pragma once

#include "model_state.h"

#include <string>

namespace wm {

std::string tell_client(int client);
std::string tell_request(int request);
std::string tell_entry(const State &s, const Entry &e);
std::string tell_answer(const Attempt &a);
std::string tell_node(int node);
std::string tell_state(const State &s);

} // namespace wm
