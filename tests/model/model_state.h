// The state of the small world: one exclusive lock, up to three clients, two nodes.
//
// A state is plain bytes without padding: it is compared, copied and hashed as memory. Numbers that
// would only grow (tokens, claims, op_seq values) do not appear. Whoever would store such a number
// stores a *reference* instead - "the hold of now", "a hold of the past" - and all references are
// weakened at the moment when the thing they name ends. So there are finitely many states, and two
// states that differ only in how many holds came before are one.
#pragma once

#include <cstdint>
#include <type_traits>

namespace wm {

using u8 = std::uint8_t;
using u16 = std::uint16_t;

constexpr int kClients = 3;
constexpr int kRequestsPerClient = 4;
constexpr int kRequests = kClients * kRequestsPerClient;
constexpr int kSlots = 5; // attempts under way at one time, of all clients
constexpr int kPipe = 7;  // entries that are proposed and not applied
constexpr int kQueue = 5;
constexpr int kRing = 3;
constexpr int kLag = 4; // entries of interest that a deposed lock has still to apply
constexpr int kNodes = 2;

// What somebody's hold_id means now. OldClaim: the right hold, but it was returned since.
enum class HoldRef : u8 { None, Former, OldClaim, Current };

inline bool names_hold(HoldRef ref) { return ref >= HoldRef::OldClaim; }
inline bool names_claim(HoldRef ref) { return ref == HoldRef::Current; }

enum class Command : u8 {
    None, Acquire, Release, Renew, Expire, Leave, Abandon, WaitTimeout, Cancel, Takeover, Close
};

// The dedup entry of a request id.
enum class Record : u8 { Unknown, Waiting, Holding, Ended, Retired };

enum class Answer : u8 { None, Granted, Ended, CannotTell, TimedOut };

enum class Violation : u8 {
    None,
    TwoBelievers,
    BelievedExpired,
    BelievedLeft,
    BelievedAbandoned,
    BelievedCancelled,
    BelievedTimedOut,
    BelievedReleased,
    ToldTooLate,
    TokenInvalidated,
    TokenNotGreater,
    ForeignAnswer,
    ExecutedUnwanted,
    ClosedSessionHolds,
    EndedWithoutHold,
    NeverAnswered,
    LostWakeUp,
    OrphanHold,
    OrphanWaiter,
    GhostHoldInFront,
    GhostWaiterStays,
    Count
};

const char *describe(Violation what);

// What the first edge notes on a copy of an Acquire, and two marks that only the checker reads.
struct Stamp {
    u16 newer;          // requests whose records entered the window after the stamp
    u8 too_old;         // one of those has been evicted
    u8 seen;            // a finished record of this id was there
    u8 record_evicted;  // checker: the record of this very id was evicted since
    u8 unwanted;        // checker: at the stamp its client did not want it any more
};

enum class Place : u8 { Nowhere, BeforeEdge, AtEdge };

// One attempt of a call: a copy of the request and the stream on which its answer travels.
struct Attempt {
    Stamp stamp;
    Place place;
    u8 request;
    u8 stream_open;
    u8 age; // ticks since it was sent, no higher than the ttl
    Answer answer;
    HoldRef answer_hold;
    u8 remaining; // lease_remaining of the answer
    u8 forwarded; // only without the rule forward_again
};

struct Entry {
    Stamp stamp; // of an Acquire
    Command command;
    u8 subject; // the request; for Release, Renew, Close the client
    HoldRef hold;
    u8 wait_current;  // Leave, WaitTimeout: the wait it names is still that of this id
    u8 basis_current; // Expire: the hold was not renewed since
    u8 pair;
    u8 parks; // repeats are parked for it
    u8 unused;
};

enum class Phase : u8 { Idle, Waiting, Holding, Cancelling, Gone };

enum class RenewPhase : u8 { None, Sent, Proposed, Granted, Denied };

struct Renewal {
    RenewPhase phase;
    u8 age;
    u8 remaining;
    u8 left;
};

struct ReleaseCall {
    u8 sent;
    HoldRef hold;
    u8 duplicates;
};

enum class CallPhase : u8 { None, Sent, Proposed, Answered };

struct CancelCall {
    CallPhase phase;
    u8 request;
    u8 duplicates;
    u8 left;
    HoldRef granted; // the answer: Current and so on, or None when the request is retired
};

struct Client {
    Phase phase;
    u8 operation;
    u8 attempt; // attempts made in this operation
    u8 slot;    // 1 + slot of the attempt whose stream is open; 0: none
    HoldRef hold;
    u8 belief; // ticks for which the client still believes that it holds
    u8 alive;
    Renewal renewal;
    ReleaseCall release;
    CancelCall cancel;
    CallPhase close;
    u8 session_closed;
};

enum class LagKind : u8 { Nothing, Grant, Return, Takeover };

struct LagEvent {
    LagKind kind;
    u8 request;
    HoldRef hold;
};

// One node's lock. Parking and lease timer matter while it leads; the rest while it is deposed: the
// lag as long as it has listeners of its own time, or may get late copies.
struct Node {
    u8 listeners; // set of slots
    u8 lease_left;
    HoldRef table_hold; // deposed: the hold in its old table (only for mutants that trust it)
    u8 table_request;   // deposed: 1 + request of that hold
    u8 unaware;         // deposed: it has not applied the Takeover that deposed it
    u8 kept;            // deposed: set of slots whose copies it keeps until it knows better
    u8 lag_count;
    u8 unused;
    u16 known; // deposed: set of requests in its table, or that it had proposed
    LagEvent lag[kLag];
    u8 parked[kRequests];
};

struct State {
    Attempt attempts[kSlots];
    Entry pipe[kPipe];
    u16 once_finished; // checker: requests that held, were retired or timed out at some time
    u16 cancelled;     // the mark of a Cancel on a record

    // replicated
    Record record[kRequests];
    u8 holder; // 1 + request that holds; 0: free
    u8 queue[kQueue], queue_count;
    u8 ring[kRing], ring_count; // finished records, oldest first
    u8 done_below[kClients];
    u8 applied_pair;

    // the leader's lock
    u8 leader;
    u8 leading_pair;
    u8 serving;   // its own Takeover is applied
    u8 grace;     // ticks until unattached waiters are swept
    u8 inherited; // the hold was granted before its Takeover
    u8 told;      // it has answered somebody about this hold
    u8 unheard;   // it granted this hold, nobody listened, and nothing has been done about it yet

    Node nodes[kNodes];
    Client clients[kClients];
    u8 pipe_count;
    u8 leader_changes_left, lock_restarts_left, wait_timeouts_left, refusals_left;
    u8 late_copies_left, unused;
    u8 minted_in_entry; // within one step only
    Violation violation;
};

static_assert(std::has_unique_object_representations_v<State>, "a state is hashed as memory");

// ---- words about requests and clients

inline int client_of(int request) { return request / kRequestsPerClient; }
inline int number_of(int request) { return request % kRequestsPerClient; }
inline int holder_of(const State &s) { return s.holder - 1; }
inline Node &leader_node(State &s) { return s.nodes[s.leader]; }
inline const Node &leader_node(const State &s) { return s.nodes[s.leader]; }
inline int deposed(const State &s) { return 1 - s.leader; }
// What is applied now matters to the lock that is deposed: it has somebody to tell, or may get
// somebody.
bool deposed_cares(const State &s);

int owner_of(int client);
int current_request(const State &s, int client);
// The client still waits for this very request.
bool wanted(const State &s, int request);
// Two ids of one owner share waits and holds, if their calls attach by owner.
bool same_owner(int one, int other);
bool same_wait(int one, int other);
bool is_attaching(int request);
// The wait in the queue that belongs to this request, or -1.
int wait_of(const State &s, int request);

// ---- changes that every part of the model needs

void note(State &s, Violation what);
// Two clients believe at the same time?
void check_beliefs(State &s);
State first_state();

// Appends to the pipe. False: raft's window is full.
bool propose(State &s, const Entry &entry);
Entry make_entry(const State &s, Command command, int subject);
// Takes an entry out of the pipe.
Entry take_entry(State &s, int index);
bool in_pipe(const State &s, Command command, int subject);

// The hold has ended, or got another number: every reference to it is one to the past.
void weaken_hold(State &s);
// The hold was returned under its next claim number.
void weaken_claim(State &s);
// The hold was renewed.
void weaken_basis(State &s);
// The wait of this id has ended (by grant of a later hold, or by leaving).
void weaken_wait(State &s, int request);

// Clears what nobody can see any more, so that equal futures are equal states.
void make_canonical(State &s);
std::uint64_t fingerprint(const State &s);

// The room of the model is too small for the setting: stops the program.
[[noreturn]] void out_of_room(const char *what);

} // namespace wm
