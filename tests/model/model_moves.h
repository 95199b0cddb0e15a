// Everything that can happen next, as one table. The exploration tries every row with every choice;
// the fair run-out takes rows from it in a fixed order.
#pragma once

#include "model_state.h"

#include <string>

namespace wm {

enum class MoveId : u8 {
    LockApplies,
    LockAppliesTwo,
    DeposedApplies,
    ClientStarts,
    AttemptBreaks,
    ClientRetries,
    ClientGivesUp,
    ClientCancels,
    CancelAnswered,
    CancelGivenUp,
    ClientReleases,
    ClientRenews,
    LapsedHoldDropped,
    RenewalAnswered,
    ClientDies,
    SessionCloses,
    ReleaseArrives,
    ReleaseLost,
    RenewalArrives,
    RenewedLocally,
    CancelArrives,
    CancelLost,
    CancelAnswerDropped,
    CloseArrives,
    EdgeReceives,
    LockTakesCopy,
    AnswerArrives,
    EdgeNoticesEnd,
    DeposedAnswersRepeat,
    DeposedTakesCopy,
    UnknownHoldReleased,
    LockExpires,
    LockAbandonsLate,
    LockSweeps,
    WaitTimesOut,
    RaftRefuses,
    TimePasses,
    Election,
    LockRestart,
    LockRestartLatePipe,
    Count
};

struct Move {
    int choices; // a move is tried with 0 .. choices-1
    bool (*possible)(const State &, int choice);
    bool (*act)(State &, int choice); // false: not now, and nothing has changed
    std::string (*tell)(const State &, int choice); // a sentence, from the state before
};

const Move &move(MoveId id);

// Calls `visit(state after, id, choice)` for each possible next state; stops when it returns false.
template <class Visit> void for_each_successor(const State &before, Visit visit)
{
    for (int i = 0; i < static_cast<int>(MoveId::Count); i++) {
        const Move &m = move(static_cast<MoveId>(i));
        for (int choice = 0; choice < m.choices; choice++) {
            if (!m.possible(before, choice))
                continue;
            State after = before;
            if (!m.act(after, choice))
                continue;
            check_beliefs(after);
            make_canonical(after);
            if (!visit(after, static_cast<MoveId>(i), choice))
                return;
        }
    }
}

} // namespace wm
