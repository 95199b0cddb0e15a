#include "model_machine.h"

#include "model_settings.h"

namespace wm {

void NewsList::add(News kind, int subject)
{
    if (count == static_cast<int>(sizeof items / sizeof items[0]))
        out_of_room("news of one entry");
    items[count++] = {kind, static_cast<u8>(subject)};
}

namespace {

u16 bit(int request) { return static_cast<u16>(1u << request); }

// ---- the window of finished records

void forget_newer(Stamp &stamp, int request) { stamp.newer &= static_cast<u16>(~bit(request)); }

// Calls `change` with each stamp that still decides about a copy, and the request of that copy.
template <class Change> void change_stamps(State &s, Change change)
{
    for (Attempt &a : s.attempts)
        if (a.place == Place::AtEdge)
            change(a.stamp, a.request);
    for (int i = 0; i < s.pipe_count; i++)
        if (s.pipe[i].command == Command::Acquire)
            change(s.pipe[i].stamp, s.pipe[i].subject);
}

void mark_newer(State &s, int request)
{
    if (setting.ring)
        change_stamps(s, [&](Stamp &stamp, int) { stamp.newer |= bit(request); });
}

void evict_oldest(State &s)
{
    const int victim = s.ring[0];
    for (int i = 1; i < s.ring_count; i++)
        s.ring[i - 1] = s.ring[i];
    s.ring[--s.ring_count] = 0;
    s.record[victim] = Record::Unknown;
    change_stamps(s, [&](Stamp &stamp, int request) {
        if (request == victim)
            stamp.record_evicted = 1;
        if (stamp.newer & bit(victim))
            stamp.too_old = 1;
        forget_newer(stamp, victim);
    });
}

void enter_window(State &s, int request)
{
    if (!setting.ring)
        return;
    for (int i = 0; i < s.ring_count; i++)
        if (s.ring[i] == request)
            return;
    if (s.ring_count == setting.ring)
        evict_oldest(s);
    s.ring[s.ring_count++] = static_cast<u8>(request);
}

void record_created(State &s, int request)
{
    if (!setting.rule.window_by_finish)
        mark_newer(s, request);
    if (!setting.rule.living_never_evicted)
        enter_window(s, request);
}

// The wait or hold of this id is over; `as` says what remains of it.
void settle(State &s, int request, Record as)
{
    weaken_wait(s, request);
    s.record[request] = as;
    if (as == Record::Unknown) {
        change_stamps(s, [&](Stamp &stamp, int) { forget_newer(stamp, request); });
        return;
    }
    s.once_finished |= bit(request);
    if (setting.rule.window_by_finish)
        mark_newer(s, request);
    enter_window(s, request);
}

// ---- grants and ends

void grant(State &s, int request, NewsList &news)
{
    // A token taken from the log index is the same for two grants of one entry.
    if (!setting.rule.token_per_command && s.minted_in_entry)
        note(s, Violation::TokenNotGreater);
    s.minted_in_entry = 1;
    s.holder = static_cast<u8>(request + 1);
    s.record[request] = Record::Holding;
    news.add(News::Granted, request);
}

void blame_if_believed(State &s, Violation cause)
{
    for (const Client &c : s.clients)
        if (c.alive && c.phase == Phase::Holding && c.belief && names_hold(c.hold))
            note(s, cause);
}

int leave_queue(State &s, int place)
{
    const int request = s.queue[place];
    for (int i = place + 1; i < s.queue_count; i++)
        s.queue[i - 1] = s.queue[i];
    s.queue[--s.queue_count] = 0;
    return request;
}

bool remove_waiter(State &s, int request)
{
    for (int i = 0; i < s.queue_count; i++) {
        if (s.queue[i] != request)
            continue;
        leave_queue(s, i);
        return true;
    }
    return false;
}

void end_hold(State &s, Violation if_believed, Record as, NewsList &news)
{
    const int request = holder_of(s);
    blame_if_believed(s, if_believed);
    weaken_hold(s);
    s.holder = 0;
    if (as == Record::Unknown && (s.cancelled & bit(request)) && setting.rule.cancel_marks_hold)
        as = Record::Retired;
    settle(s, request, as);
    news.add(News::HoldEnded, request);
    if (s.queue_count)
        grant(s, leave_queue(s, 0), news);
}

// ---- Acquire

bool answer_from_record(State &s, int request, NewsList &news)
{
    if (s.record[request] == Record::Unknown)
        return false;
    if (holder_of(s) == request)
        news.add(News::StillHolding, request);
    else if (s.record[request] >= Record::Ended)
        news.add(News::HasEnded, request);
    return true;
}

void return_hold(State &s, int request, NewsList &news)
{
    if (!setting.rule.return_keeps_token) {
        blame_if_believed(s, Violation::TokenInvalidated);
        weaken_hold(s);
    } else if (setting.rule.claim_per_return) {
        weaken_claim(s);
    }
    news.add(News::Returned, request);
}

// A new id of an owner that holds or waits already is no second claim to the lock.
bool attach_to_own(State &s, int request, NewsList &news)
{
    if (!is_attaching(request))
        return false;
    if (s.holder && same_owner(holder_of(s), request)) {
        return_hold(s, request, news);
        return true;
    }
    return wait_of(s, request) >= 0;
}

bool closed_session_refuses(State &s, int request, NewsList &news)
{
    if (!setting.session || !s.clients[client_of(request)].session_closed)
        return false;
    if (!setting.rule.closed_session_refused) {
        note(s, Violation::ClosedSessionHolds);
        return false;
    }
    news.add(News::HasEnded, request);
    return true;
}

bool window_refuses(State &s, const Entry &e, NewsList &news)
{
    const int request = e.subject;
    bool refuse = setting.done_below && number_of(request) < s.done_below[client_of(request)];
    refuse |= setting.rule.stamp_checks_window && e.stamp.too_old;
    refuse |= setting.rule.stamp_sees_finished && e.stamp.seen;
    if (refuse)
        news.add(News::CannotTell, request);
    return refuse;
}

// The checker knows more than apply: whether this id was over once, and whether its client waits.
void check_execution(State &s, const Entry &e)
{
    const int request = e.subject;
    const bool over_once = s.once_finished & bit(request);
    const bool copy_of_past = e.stamp.record_evicted || e.stamp.unwanted;
    if (over_once && (copy_of_past || (s.cancelled & bit(request))) && !wanted(s, request))
        note(s, Violation::ExecutedUnwanted);
    bool lives = holder_of(s) == request;
    for (int i = 0; i < s.queue_count; i++)
        lives |= s.queue[i] == request;
    if (lives)
        note(s, Violation::ExecutedUnwanted);
}

void apply_acquire(State &s, const Entry &e, NewsList &news)
{
    const int request = e.subject;
    if (answer_from_record(s, request, news) || attach_to_own(s, request, news)
        || closed_session_refuses(s, request, news) || window_refuses(s, e, news))
        return;
    check_execution(s, e);
    record_created(s, request);
    u8 &below = s.done_below[client_of(request)];
    if (setting.done_below && number_of(request) > below)
        below = static_cast<u8>(number_of(request));
    if (!s.holder && !s.queue_count) {
        grant(s, request, news);
        return;
    }
    if (s.queue_count == kQueue)
        out_of_room("waiters");
    s.queue[s.queue_count++] = static_cast<u8>(request);
    s.record[request] = Record::Waiting;
    news.add(News::Queued, request);
}

// ---- the other commands

void apply_release(State &s, const Entry &e, NewsList &news)
{
    if (!s.holder)
        return;
    const bool by_owner = client_of(holder_of(s)) == e.subject;
    if (setting.rule.release_names_hold ? names_claim(e.hold) : by_owner)
        end_hold(s, Violation::BelievedReleased, Record::Ended, news);
}

void apply_renew(State &s, const Entry &e, NewsList &news)
{
    const bool by_session = setting.session && client_of(holder_of(s)) == e.subject;
    const bool valid = s.holder && (by_session || names_claim(e.hold));
    if (valid)
        weaken_basis(s);
    news.add(valid ? News::Renewed : News::NotRenewed, e.subject);
}

bool is_void(const State &s, const Entry &e)
{
    return setting.rule.stale_pair_is_void && e.pair != s.applied_pair;
}

void apply_expire(State &s, const Entry &e, NewsList &news)
{
    if (is_void(s, e) || !s.holder)
        return;
    const bool basis = e.basis_current || !setting.rule.expire_names_basis;
    if (!setting.rule.expire_names_hold || (names_hold(e.hold) && basis))
        end_hold(s, Violation::BelievedExpired, Record::Ended, news);
}

void apply_leave(State &s, const Entry &e, NewsList &news)
{
    if (is_void(s, e) || (!e.wait_current && setting.rule.leave_names_wait))
        return;
    if (remove_waiter(s, e.subject)) {
        settle(s, e.subject, Record::Unknown);
        if (!setting.rule.leave_forgets_id)
            s.record[e.subject] = Record::Retired;
    } else if (!setting.rule.leave_spares_holds && holder_of(s) == e.subject) {
        end_hold(s, Violation::BelievedLeft, Record::Unknown, news);
    }
}

void apply_wait_timeout(State &s, const Entry &e, NewsList &news)
{
    if (is_void(s, e) || (!e.wait_current && setting.rule.leave_names_wait))
        return;
    if (remove_waiter(s, e.subject)) {
        settle(s, e.subject, Record::Ended);
        news.add(News::TimedOut, e.subject);
    } else if (!setting.rule.timeout_spares_holds && holder_of(s) == e.subject) {
        end_hold(s, Violation::BelievedTimedOut, Record::Ended, news);
    }
}

void apply_abandon(State &s, const Entry &e, NewsList &news)
{
    if (!is_void(s, e) && s.holder && names_hold(e.hold))
        end_hold(s, Violation::BelievedAbandoned, Record::Unknown, news);
}

void apply_cancel(State &s, const Entry &e, NewsList &news)
{
    const int request = e.subject;
    const Record before = s.record[request];
    s.cancelled |= bit(request);
    s.once_finished |= bit(request);
    if (before == Record::Holding && setting.rule.cancel_spares_holds) {
        news.add(News::CancelKeptHold, request);
        return;
    }
    if (before == Record::Holding) {
        end_hold(s, Violation::BelievedCancelled, Record::Retired, news);
    } else if (before == Record::Waiting) {
        remove_waiter(s, request);
        settle(s, request, Record::Retired);
    } else if (before == Record::Unknown && setting.rule.cancel_retires_unknown) {
        record_created(s, request);
        settle(s, request, Record::Retired);
    }
    news.add(News::CancelRetired, request);
}

void apply_takeover(State &s, const Entry &e, NewsList &news)
{
    if (e.pair <= s.applied_pair && setting.rule.takeover_must_grow)
        return;
    s.applied_pair = e.pair;
    news.add(News::TookOver, 0);
}

void apply_close(State &s, const Entry &e, NewsList &news)
{
    const int client = e.subject;
    s.clients[client].session_closed = 1;
    s.clients[client].close = CallPhase::None;
    for (int i = s.queue_count - 1; i >= 0; i--)
        if (client_of(s.queue[i]) == client)
            settle(s, leave_queue(s, i), Record::Ended);
    if (s.holder && client_of(holder_of(s)) == client)
        end_hold(s, Violation::BelievedReleased, Record::Ended, news);
}

} // namespace

NewsList apply_command(State &s, const Entry &e)
{
    using Apply = void (*)(State &, const Entry &, NewsList &);
    static const Apply table[] = {
        nullptr,       apply_acquire,      apply_release, apply_renew,    apply_expire, apply_leave,
        apply_abandon, apply_wait_timeout, apply_cancel,  apply_takeover, apply_close,
    };
    NewsList news;
    table[static_cast<int>(e.command)](s, e, news);
    return news;
}

Stamp stamp_copy(const State &s, int request)
{
    Stamp stamp = {};
    if (setting.ring) {
        stamp.seen = s.record[request] >= Record::Ended;
        stamp.unwanted = !wanted(s, request);
    }
    return stamp;
}

} // namespace wm
