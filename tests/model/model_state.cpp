#include "model_state.h"

#include "model_settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace wm {

const char *describe(Violation what)
{
    static const char *const texts[] = {
        "none",
        "two clients believe at the same time",
        "a hold that its client believes in was ended by Expire",
        "a hold that its client believes in was ended by Leave",
        "a hold that its client believes in was ended by Abandon",
        "a hold that its client believes in was ended by Cancel",
        "a hold that its client believes in was ended by WaitTimeout",
        "a hold that its client believes in was ended by a Release",
        "a client begins to believe in a hold that is gone",
        "a token in use was made invalid",
        "the token of a new owner is not greater",
        "a client is told of another client's hold",
        "a request that nobody wants executed again",
        "an Acquire executed in a closed session",
        "a live request is told that it has ended, though it never held",
        "a live call is never answered",
        "the lock is free and a waiter stays queued (lost wake-up)",
        "an orphan hold is kept for ever",
        "a waiter is kept for ever",
        "a live waiter stands behind a hold that nobody was told of",
        "a waiter without listener stays after the grace time",
    };
    static_assert(sizeof texts / sizeof texts[0] == static_cast<int>(Violation::Count));
    return texts[static_cast<int>(what)];
}

void out_of_room(const char *what)
{
    std::fprintf(stderr, "the model has no room for this setting: %s\n", what);
    std::exit(3);
}

// ---- requests, clients, owners

int owner_of(int client)
{
    const int default_owner = 7;
    if (!setting.rule.owner_is_explicit && setting.is_generic(client))
        return default_owner;
    return client;
}

int current_request(const State &s, int client)
{
    const Client &c = s.clients[client];
    const int base = client * kRequestsPerClient;
    if (!setting.is_generic(client))
        return base + c.operation;
    return base + c.operation * setting.attempts + c.attempt - 1;
}

bool wanted(const State &s, int request)
{
    const int client = client_of(request);
    const Client &c = s.clients[client];
    return c.alive && c.phase == Phase::Waiting && current_request(s, client) == request;
}

bool is_attaching(int request)
{
    return setting.rule.attach_by_owner && setting.is_generic(client_of(request));
}

bool same_owner(int one, int other)
{
    return is_attaching(one) && is_attaching(other)
        && owner_of(client_of(one)) == owner_of(client_of(other));
}

bool same_wait(int one, int other) { return one == other || same_owner(one, other); }

int wait_of(const State &s, int request)
{
    for (int i = 0; i < s.queue_count; i++)
        if (same_wait(s.queue[i], request))
            return s.queue[i];
    return -1;
}

bool deposed_cares(const State &s)
{
    const Node &old = s.nodes[deposed(s)];
    const bool takes_copies = old.unaware || !setting.rule.deposed_sends_back;
    return old.listeners || old.kept || (s.late_copies_left && takes_copies);
}

// ---- violations

void note(State &s, Violation what)
{
    if (s.violation == Violation::None)
        s.violation = what;
}

void check_beliefs(State &s)
{
    int believers = 0;
    for (const Client &c : s.clients)
        believers += c.alive && c.belief > 0;
    if (believers > 1)
        note(s, Violation::TwoBelievers);
}

State first_state()
{
    State s;
    std::memset(static_cast<void *>(&s), 0, sizeof s);
    s.serving = 1;
    s.applied_pair = s.leading_pair = 1;
    s.leader_changes_left = static_cast<u8>(setting.leader_changes);
    s.lock_restarts_left = static_cast<u8>(setting.lock_restarts);
    s.wait_timeouts_left = static_cast<u8>(setting.wait_timeouts);
    s.refusals_left = static_cast<u8>(setting.refusals);
    s.late_copies_left = static_cast<u8>(setting.late_copies);
    for (int i = 0; i < setting.clients; i++) {
        Client &c = s.clients[i];
        c.alive = 1;
        c.renewal.left = static_cast<u8>(setting.renewals);
        c.cancel.left = static_cast<u8>(setting.cancels);
    }
    return s;
}

// ---- the pipe of proposed entries

bool propose(State &s, const Entry &entry)
{
    if (s.pipe_count >= kPipe)
        return false;
    s.pipe[s.pipe_count++] = entry;
    return true;
}

Entry make_entry(const State &s, Command command, int subject)
{
    Entry e;
    std::memset(static_cast<void *>(&e), 0, sizeof e);
    e.command = command;
    e.subject = static_cast<u8>(subject);
    e.pair = s.leading_pair;
    return e;
}

Entry take_entry(State &s, int index)
{
    const Entry taken = s.pipe[index];
    for (int i = index + 1; i < s.pipe_count; i++)
        s.pipe[i - 1] = s.pipe[i];
    s.pipe_count--;
    std::memset(static_cast<void *>(&s.pipe[s.pipe_count]), 0, sizeof(Entry));
    return taken;
}

bool in_pipe(const State &s, Command command, int subject)
{
    for (int i = 0; i < s.pipe_count; i++) {
        const Entry &e = s.pipe[i];
        if (e.command == command && e.subject == subject && e.pair == s.leading_pair)
            return true;
    }
    return false;
}

// ---- references

namespace {

template <class Change> void change_hold_references(State &s, Change change)
{
    for (Attempt &a : s.attempts)
        change(a.answer_hold);
    for (int i = 0; i < s.pipe_count; i++)
        change(s.pipe[i].hold);
    for (Client &c : s.clients) {
        change(c.hold);
        change(c.release.hold);
        change(c.cancel.granted);
    }
    for (Node &n : s.nodes) {
        change(n.table_hold);
        for (int i = 0; i < n.lag_count; i++)
            change(n.lag[i].hold);
    }
}

} // namespace

void weaken_hold(State &s)
{
    change_hold_references(s, [](HoldRef &ref) {
        if (ref != HoldRef::None)
            ref = HoldRef::Former;
    });
}

void weaken_claim(State &s)
{
    change_hold_references(s, [](HoldRef &ref) {
        if (ref == HoldRef::Current)
            ref = HoldRef::OldClaim;
    });
}

void weaken_basis(State &s)
{
    for (int i = 0; i < s.pipe_count; i++)
        s.pipe[i].basis_current = 0;
}

void weaken_wait(State &s, int request)
{
    for (int i = 0; i < s.pipe_count; i++)
        if (s.pipe[i].subject == request)
            s.pipe[i].wait_current = 0;
}

// ---- canonical form and fingerprint

void make_canonical(State &s)
{
    if (!s.holder)
        s.inherited = s.told = s.unheard = 0;
    Node &old = s.nodes[deposed(s)];
    if (!deposed_cares(s)) {
        if (old.unaware && setting.rule.takeover_unparks)
            std::memset(old.parked, 0, sizeof old.parked);
        old.lease_left = old.unaware = 0;
        old.known = 0;
        old.lag_count = 0;
        std::memset(static_cast<void *>(old.lag), 0, sizeof old.lag);
    }
    if (setting.rule.renew_through_log && setting.rule.repeats_from_leader
        && (setting.rule.repeat_needs_round || !deposed_cares(s))) {
        old.table_hold = HoldRef::None;
        old.table_request = 0;
    }
    s.minted_in_entry = 0;
    for (Attempt &a : s.attempts)
        if (!a.stream_open)
            a.age = 0;
}

std::uint64_t fingerprint(const State &s)
{
    // Two lanes of multiply-and-fold, joined at the end; any good 64-bit mixer would do.
    unsigned char bytes[(sizeof(State) + 15) / 16 * 16] = {};
    std::memcpy(bytes, &s, sizeof s);
    std::uint64_t even = 0x243f6a8885a308d3ull, odd = 0x13198a2e03707344ull;
    for (std::size_t at = 0; at < sizeof bytes; at += 16) {
        std::uint64_t word[2];
        std::memcpy(word, bytes + at, sizeof word);
        even = (even ^ word[0]) * 0x9fb21c651e98df25ull;
        odd = (odd ^ word[1]) * 0xd6e8feb86659fd93ull;
        even ^= even >> 29;
        odd ^= odd >> 32;
    }
    std::uint64_t sum = even * 0xff51afd7ed558ccdull + (odd ^ (odd >> 31)) * 0x8cb92ba72f3d8dd7ull;
    sum ^= sum >> 33;
    sum *= 0xc4ceb9fe1a85ec53ull;
    sum ^= sum >> 29;
    return sum ? sum : 1; // 0 marks an empty place in the table
}

} // namespace wm
