/* Release, Renew, Cancel: each call is one command, answered by what apply makes of that command.
 *
 * Invariants
 *   H1  A Renew is acknowledged by apply only (S7), and its answer counts from there.
 *   H2  What a repeat of a Release gets is for apply to know: its record is in the table. */
#include "base_check.h"
#include "lock_state.h"

void lm_lock_change_handle(lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (room->n_queue >= LM_LOCK_CHANGES_MAX) {
        lm_lock_answer_error(room, call, LM_RC_OVERLOADED, "", "too many commands are waiting");
        return;
    }
    static const lm_command_kind_t kinds[] = {
        [LM_PEER_LOCK_CALL_REQUEST_RELEASE] = LM_COMMAND_RELEASE,
        [LM_PEER_LOCK_CALL_REQUEST_RENEW] = LM_COMMAND_RENEW,
        [LM_PEER_LOCK_CALL_REQUEST_CANCEL] = LM_COMMAND_CANCEL,
    };
    lm_command_t command = {.kind = kinds[call->kind],
                            .key = call->key,
                            .body_hash = call->body_hash,
                            .name = call->name,
                            .ttl_ms = call->ttl_ms,
                            .stamp = call->stamp,
                            .seen = call->seen,
                            .hold = call->hold,
                            .claim = call->claim};
    lm_lock_proposal_t *proposal = lm_lock_propose_add(room, &command, NULL, call);
    if (command.kind == LM_COMMAND_RENEW) lm_lock_lease_renewal_begins(room, proposal);
    call->maybe_applied = true;
    lm_lock_calls_enlist(call, LM_STAGE_PROPOSED, NULL);
}

static void answer_code(lm_lock_room_t *room, lm_lock_call_t *call, lm_rc_t code)
{
    const char *field = code == LM_RC_REQUEST_REUSED ? "request_id" : "";
    lm_lock_answer_error(room, call, code, field, lm_rc_text(code));
}

static void release_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_REFUSED || effect->code != LM_RC_OK)
        answer_code(room, call, effect->code);
    else if (effect->end == LM_END_RELEASED)
        lm_lock_answer_released(room, call, effect->record->token, effect->op_seq);
    else
        answer_code(room, call, LM_RC_REQUEST_REUSED);
}

static void renew_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_RENEWED)
        lm_lock_answer_renewed(room, call, effect->record, effect->op_seq);
    else
        answer_code(room, call, effect->code);
}

static void cancel_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_CANCELLED)
        lm_lock_answer_cancel(room, call, effect->record, effect->op_seq);
    else
        answer_code(room, call, effect->code);
}

void lm_lock_change_applied(lm_lock_room_t *room, lm_lock_proposal_t *proposal,
                            const lm_effect_t *effect)
{
    lm_command_kind_t kind = proposal->command.kind;
    if (kind == LM_COMMAND_RENEW) {
        if (effect->kind == LM_EFFECT_RENEWED)
            lm_lock_lease_start(room, effect->record, false)->known = true;
        lm_lock_lease_renewal_done(room, proposal);
    }
    lm_lock_call_t *call = proposal->call;
    if (!call) return;
    if (kind == LM_COMMAND_RELEASE)
        release_applied(room, call, effect);
    else if (kind == LM_COMMAND_RENEW)
        renew_applied(room, call, effect);
    else
        cancel_applied(room, call, effect);
}

void lm_lock_change_refused(lm_lock_room_t *room, lm_lock_proposal_t *proposal, lm_rc_t code)
{
    if (proposal->command.kind == LM_COMMAND_RENEW) lm_lock_lease_renewal_done(room, proposal);
    lm_lock_call_t *call = proposal->call;
    if (!call) return;
    if (code == LM_RC_NOT_LEADER || code == LM_RC_NO_LEADER)
        lm_lock_answer_forward(room, call);
    else
        answer_code(room, call, code);
}
