// Breadth-first search over all schedules of a setting.
#pragma once

namespace wm {

// Explores, prints the result, and the schedule of a violation. Returns 0 clean and complete,
// 1 violation, 4 clean up to max_states.
int explore();

} // namespace wm
