// What one run of the model looks at: the bounds of the small world, and the rules in force.
//
// Every rule is on by default. A mutant is a run with one or more rules taken away; the model is
// only worth something while such runs find a schedule that goes wrong.
#pragma once

#include <cstdint>
#include <string>

namespace wm {

// X(name, safety number, what the rule says)
#define WM_RULES(X)                                                                                \
    X(token_per_command, "S1", "each command that grants mints its own token, however packed")     \
    X(expire_names_hold, "S2", "Expire ends only the hold it names")                               \
    X(expire_names_basis, "S2", "Expire is void once the hold was renewed after it")               \
    X(release_names_hold, "S2", "Release ends only the hold it names, not any hold of the owner")  \
    X(belief_from_send_time, "S6", "a client counts its lease from the sending of the attempt")    \
    X(remaining_from_timer, "S6", "a repeat is told what is left, not the full time to live")      \
    X(repeats_from_leader, "S6", "only the leader answers a repeat")                               \
    X(repeat_needs_round, "S6", "a repeat joins or is told after a round of reads of its own")     \
    X(renew_through_log, "S7", "a renewal is acknowledged from apply, never from a table")         \
    X(arm_at_takeover, "S8", "a Takeover arms the lease of every hold at its full length")         \
    X(stale_pair_is_void, "S8", "Expire, Leave, Abandon, WaitTimeout of another pair are void")    \
    X(serve_after_takeover, "S8", "nothing is served before the own Takeover is applied")          \
    X(takeover_must_grow, "S8", "a Takeover that is not greater than the last one is void")        \
    X(raft_refuses_old_pair, "S8", "no entry of a predecessor comes after the Takeover")           \
    X(leave_when_last_left, "S10", "Leave is proposed only when no listener of the wait is left")  \
    X(leave_spares_holds, "S10", "Leave removes a waiter, never a hold")                           \
    X(leave_forgets_id, "S10", "after Leave the request id is unknown again")                      \
    X(leave_names_wait, "S10", "Leave and WaitTimeout are void for a later wait of the same id")   \
    X(timeout_spares_holds, "S10", "WaitTimeout removes a waiter, never a hold")                   \
    X(abandon_own_grants_only, "S10a", "an inherited grant is never abandoned")                    \
    X(abandon_untold_only, "S10a", "a grant that somebody was told of is never abandoned")         \
    X(takeover_ends_listeners, "S10b", "a foreign Takeover ends every listener of a deposed lock") \
    X(deposed_sends_back, "S10b", "a lock that applied a foreign Takeover listens for nobody")     \
    X(takeover_returns_copies, "S10b", "a foreign Takeover sends back whatever waits at the lock") \
    X(park_during_leave, "S10c", "repeats are parked while a Leave is in flight")                  \
    X(park_during_abandon, "S10c", "repeats are parked while an Abandon is in flight")             \
    X(park_during_timeout, "S10c", "repeats are parked while a WaitTimeout is in flight")          \
    X(parks_are_counted, "S10c", "parking ends with the last of several proposals")                \
    X(takeover_unparks, "S10c", "every Takeover ends parking")                                     \
    X(refusal_unparks, "S10c", "a proposal that raft refuses ends its parking")                    \
    X(cancel_spares_holds, "S10d", "Cancel of a granted request leaves the hold alone")            \
    X(canceller_ignores_grants, "S10d", "who cancels no longer believes answers of the call")      \
    X(cancel_retires_unknown, "S10d", "Cancel of an unknown id leaves a retired record")           \
    X(cancel_marks_hold, "S10d", "a cancelled hold ends as retired, never as unknown")             \
    X(abandon_unheard_grants, "S11", "a grant that nobody listens for is abandoned")               \
    X(grace_before_abandon, "S11", "after a Takeover such a grant first waits for the grace time") \
    X(sweep_ghosts, "S11", "after the grace time unattached waiters leave")                        \
    X(listeners_of_the_wait, "S10", "listeners count for the wait, whatever their request id")     \
    X(attach_by_owner, "S11b", "a new id of the same owner joins the owner's wait or hold")        \
    X(owner_is_explicit, "S11a", "two anonymous clients are two owners")                           \
    X(claim_per_return, "S11b", "a hold that is returned gets a new claim number")                 \
    X(return_keeps_token, "S11b", "a hold that is returned keeps its token")                       \
    X(key_has_client, "S12", "the dedup key holds the client, not only the request id")            \
    X(stamp_checks_window, "S12a", "a copy older than an evicted record is refused")               \
    X(stamp_sees_finished, "S12a", "a copy stamped beside a finished record needs that record")    \
    X(window_by_finish, "S12a", "a record enters the window when it finishes, not when created")   \
    X(living_never_evicted, "S12a", "waits and living holds are never evicted")                    \
    X(closed_session_refused, "S12c", "apply refuses Acquire in a closed session")                 \
    X(keepalive_lists_holds, "S12c", "KeepAlive answers list the session's holds")                 \
    X(forward_again, "S13", "the edge forwards again after a leader change")

struct Rules {
#define WM_FIELD(name, number, text) bool name = true;
    WM_RULES(WM_FIELD)
#undef WM_FIELD
};

// The keys of a settings row; X(name, default, what it means).
#define WM_BOUNDS(X)                                                                               \
    X(clients, 2, "number of clients, 1..3")                                                       \
    X(operations, 1, "lock-and-release rounds of each client, 1..2")                               \
    X(attempts, 2, "attempts per round of client 0")                                               \
    X(others_attempts, 0, "attempts per round of the other clients; 0: as client 0")               \
    X(generic, 0, "the first so many clients take a new request id for every attempt")             \
    X(ttl, 2, "length of a lease in ticks")                                                        \
    X(leader_changes, 1, "how often leadership moves to the other node")                           \
    X(lock_restarts, 0, "how often the leader's lock restarts without a new term")                 \
    X(late_copies, 0, "how often a copy reaches a deposed lock, 0..3")                             \
    X(renewals, 0, "renewals each client may send")                                                \
    X(cancels, 0, "Cancel calls each client may make")                                             \
    X(duplicates, 0, "extra deliveries of each Release and Cancel")                                \
    X(wait_timeouts, 0, "how often a waiter's own wait time ends")                                 \
    X(refusals, 0, "how often raft refuses a Leave, Abandon or WaitTimeout")                       \
    X(crash, 0, "1: client 0 may die")                                                             \
    X(ring, 0, "finished records that are kept, 1..3; 0: none is ever evicted")                    \
    X(early_delay, 0, "1: copies are also delayed before the edge stamps them")                    \
    X(session, 0, "1: explicit sessions with KeepAlive and Close")                                 \
    X(done_below, 0, "1: sessions move a lowest request number")                                   \
    X(run_out, 1, "0: safety only, no fair run-out from each state")                               \
    X(schedule, 1, "0: do not print the schedule of a violation")                                  \
    X(max_states, 60000000, "stop after so many states")

struct Settings {
    Rules rule;
#define WM_FIELD(name, preset, text) int name = preset;
    WM_BOUNDS(WM_FIELD)
#undef WM_FIELD

    int attempts_of(int client) const
    {
        return client > 0 && others_attempts > 0 ? others_attempts : attempts;
    }
    bool is_generic(int client) const { return client < generic; }
};

// One process examines one setting, so this is a plain global that nobody writes after the start.
extern Settings setting;

// Reads `key=value` and `-rule`. Returns an empty string, or what is wrong.
std::string read_setting(int count, char **words, Settings &into);

// The list of rules and keys, for the help text.
std::string describe_settings();

} // namespace wm
