/* Acquire: who is read, who listens, who is proposed; and what apply says to those who listen.
 *
 * Invariants
 *   U1  A repeat of a request that is known here, or on its way, is told nothing before a round of
 *       ReadIndex that began after it arrived (S6): a lock that lags may not know that its node has
 *       ceased to lead, and that the hold it is about to tell of is over. Its own Acquire serves
 *       a call as such a round: raft takes it only as leader.
 *   U2  Whether an Acquire of an owner who holds or waits already gets that hold or joins that wait
 *       is decided in apply (S11b), so it is proposed like any other.
 *   U3  A grant, and the end of a wait, are told to every listener of the party except those whose
 *       own Acquire is still on its way: that one will bring them an answer of their own.
 *   U4  Nobody is told of a hold while an Abandon of it is on its way (S10c): repeats are parked,
 *       and an Acquire that was on its way before had its listener counted then. */
#include "base_check.h"
#include "base_fault.h"
#include "lock_state.h"

static void listen(lm_lock_call_t *call, bool pending)
{
    call->pending = pending;
    lm_lock_calls_enlist(call, LM_STAGE_LISTENING, NULL);
}

static void propose(lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (lm_lock_propose_is_full(room)) {
        lm_lock_answer_error(room, call, LM_RC_OVERLOADED, "", "too many commands are waiting");
        return;
    }
    lm_command_t command = lm_lock_calls_command(call, LM_COMMAND_ACQUIRE);
    lm_lock_propose_add(room, &command, call->party, NULL);
    lm_lock_party_set_maybe(call->party, call->key.request_id, true);
    listen(call, true);
}

/* A request that the table knows, or that is on its way: then record is NULL. */
static void repeat(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record)
{
    if (!call->read && !LM_FAULT(REPEAT_UNREAD))
        lm_lock_read_add(room, call);
    else if (!record || record->state == LM_RECORD_WAITING)
        listen(call, !record);
    else if (record->state == LM_RECORD_HOLDING)
        lm_lock_answer_granted(room, call, record, 0);
    else
        lm_lock_answer_finished(room, call, record, 0);
}

/* What the table knows of the request, and by that whether it is refused, as apply would. What a
 * table that lags may not know - a session that was opened since, numbers that were done since - is
 * left to apply. */
static lm_rc_t look_up(const lm_lock_room_t *room, const lm_lock_call_t *call,
                       const lm_record_t **record)
{
    const lm_table_t *table = room->table;
    *record = NULL;
    if (call->session) {
        const lm_session_t *session;
        lm_rc_t rc = lm_table_enter(table, call->session, call->key.identity,
                                    lm_bytes(call->secret, sizeof call->secret), &session);
        bool unsure = call->session > lm_table_op_seq(table) || LM_FAULT(ENDED_ADMITS);
        if (rc == LM_RC_SESSION_ENDED && unsure) return LM_RC_OK;
        if (rc == LM_RC_OK) rc = lm_session_admits(table, session, call->request_number);
        if (rc == LM_RC_WINDOW_FULL) return LM_RC_OK;
        if (rc != LM_RC_OK) return rc;
    }
    return lm_table_lookup(table, LM_COMMAND_ACQUIRE, &call->key, call->body_hash, record);
}

void lm_lock_acquire_decide(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_lock_party_t *party = call->party;
    const lm_record_t *record;
    lm_rc_t rc = look_up(room, call, &record);
    const lm_lock_proposal_t *same = lm_lock_party_acquire_of(party, call->key.request_id);
    if (rc == LM_RC_OK && !record && same && same->command.body_hash != call->body_hash)
        rc = LM_RC_REQUEST_REUSED;
    if (record || same) call->maybe_applied = true;
    if (rc != LM_RC_OK)
        lm_lock_change_answer_code(room, call, rc);
    else if (party->parks && !LM_FAULT(NO_PARKING))
        lm_lock_calls_enlist(call, LM_STAGE_PARKED, NULL);
    else if (record || same)
        repeat(room, call, record);
    else
        propose(room, call);
}

void lm_lock_acquire_handle(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_lock_party_t *party = call->party;
    if (!party) {
        party = lm_lock_party_get(room, call->name, call->key.identity, call->key.owner);
        lm_lock_party_add(party, call);
    }
    lm_lock_acquire_decide(room, call);
    lm_lock_party_settle(room, party);
}

/* ---- what apply says ------------------------------------------------------------------------- */

/* Calls each for every listener of the party that apply now speaks to: those with that request id,
 * or, with none given, those who wait for nothing of their own (U3). each may end the call. */
typedef void lm_tell_t(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect);

static void tell(lm_lock_room_t *room, lm_lock_party_t *party, const lm_bytes_t *request_id,
                 const lm_effect_t *effect, lm_tell_t *each)
{
    for (lm_lock_call_t *call = TAILQ_FIRST(&party->calls), *next; call; call = next) {
        next = TAILQ_NEXT(call, in_party);
        if (call->stage != LM_STAGE_LISTENING) continue;
        if (request_id && !lm_bytes_equal(*request_id, call->key.request_id)) continue;
        if (!request_id && call->pending) continue;
        each(room, call, effect);
    }
}

/* An Acquire of that request id is not on its way any more. */
static void no_longer_pending(lm_lock_party_t *party, const lm_bytes_t *request_id)
{
    lm_lock_call_t *call;
    TAILQ_FOREACH(call, &party->calls, in_party)
    {
        if (call->pending && lm_bytes_equal(*request_id, call->key.request_id))
            call->pending = false;
    }
}

static void tell_granted(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    lm_lock_answer_granted(room, call, effect->record, effect->op_seq);
}

static void tell_finished(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    lm_lock_answer_finished(room, call, effect->record, effect->op_seq);
}

static void tell_refused(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    lm_lock_change_answer_refused(room, call, effect);
}

/* An owner who waits for the lock asked again without wanting to wait. */
static void tell_queued(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (!call->wait)
        lm_lock_answer_not_granted(room, call, LM_API_ACQUIRE_RESULT_HELD, effect->op_seq);
}

void lm_lock_acquire_applied(lm_lock_room_t *room, lm_lock_proposal_t *proposal,
                             const lm_effect_t *effect)
{
    lm_lock_party_t *party = proposal->party;
    const lm_bytes_t *id = &proposal->key.request_id;
    no_longer_pending(party, id);
    switch (effect->kind) {
    case LM_EFFECT_ACQUIRED:
        if (effect->hold == effect->op_seq) lm_lock_lease_start(room, effect->record, true);
        tell(room, party, id, effect, tell_granted);
        tell(room, party, NULL, effect, tell_granted);
        break;
    case LM_EFFECT_QUEUED: tell(room, party, id, effect, tell_queued); break;
    case LM_EFFECT_FINISHED: tell(room, party, id, effect, tell_finished); break;
    case LM_EFFECT_REFUSED: tell(room, party, id, effect, tell_refused); break;
    default: LM_CHECK(false, "an Acquire was answered by effect %d", effect->kind);
    }
    lm_lock_party_settle(room, party);
}

void lm_lock_acquire_granted(lm_lock_room_t *room, const lm_effect_t *effect)
{
    lm_request_key_t key = lm_record_key(effect->record);
    lm_lock_lease_start(room, effect->record, true);
    lm_lock_party_t *party = lm_lock_party_get(room, effect->name, key.identity, key.owner);
    tell(room, party, NULL, effect, tell_granted);
    lm_lock_party_settle(room, party);
}

/* ---- ends of waits --------------------------------------------------------------------------- */

static void tell_timed_out(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    lm_lock_answer_not_granted(room, call, LM_API_ACQUIRE_RESULT_TIMED_OUT, effect->op_seq);
}

static void tell_cancelled(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    lm_lock_answer_not_granted(room, call, LM_API_ACQUIRE_RESULT_CANCELLED, effect->op_seq);
}

static void tell_session_ended(lm_lock_room_t *room, lm_lock_call_t *call,
                               const lm_effect_t *effect)
{
    lm_lock_session_call_ended(room, call, effect->end);
}

/* The wait was taken for unheard of. Whoever listens nevertheless begins anew. */
static void tell_left(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    (void)effect;
    lm_lock_acquire_decide(room, call);
}

void lm_lock_acquire_wait_ended(lm_lock_room_t *room, const lm_effect_t *effect)
{
    lm_lock_party_t *party =
        lm_lock_party_find(room, effect->name, effect->key.identity, effect->key.owner);
    if (!party) return;
    static lm_tell_t *const of_end[] = {
        [LM_END_ABANDONED] = tell_left,
        [LM_END_TIMED_OUT] = tell_timed_out,
        [LM_END_CANCELLED] = tell_cancelled,
        [LM_END_EXPIRED] = tell_session_ended,
        [LM_END_SESSION_CLOSED] = tell_session_ended,
    };
    lm_tell_t *each = effect->end < sizeof of_end / sizeof *of_end ? of_end[effect->end] : NULL;
    LM_CHECK(each, "a wait ended by %d", effect->end);
    tell(room, party, NULL, effect, each);
    lm_lock_party_settle(room, party);
}

/* ---- refused by raft ------------------------------------------------------------------------- */

void lm_lock_acquire_refused(lm_lock_room_t *room, lm_lock_proposal_t *proposal, lm_rc_t code)
{
    lm_lock_party_t *party = proposal->party;
    const lm_bytes_t *id = &proposal->key.request_id;
    for (lm_lock_call_t *call = TAILQ_FIRST(&party->calls), *next; call; call = next) {
        next = TAILQ_NEXT(call, in_party);
        if (call->stage != LM_STAGE_LISTENING || !lm_bytes_equal(*id, call->key.request_id))
            continue;
        if (code == LM_RC_NOT_LEADER || code == LM_RC_NO_LEADER)
            lm_lock_answer_forward(room, call);
        else
            lm_lock_answer_error(room, call, code, "", lm_rc_text(code));
    }
    lm_lock_party_settle(room, party);
}
