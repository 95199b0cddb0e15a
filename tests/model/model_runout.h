// The fair run-out: from a state on, no further faults, every message arrives, every actor works.
//
// It shows that nothing is stuck: each live call is answered, no hold and no waiter stays for ever.
// It is one fair schedule per state; that does not prove that no schedule could go on without end.
#pragma once

#include "model_state.h"

#include <string>
#include <vector>

namespace wm {

// Returns what goes wrong, or None. With `story`, adds a sentence for each step.
Violation run_out(State s, std::vector<std::string> *story);

} // namespace wm
