/* Release, Renew, Cancel, and the changes of sessions: each call is one command, answered by what
 * apply makes of that command.
 *
 * Invariants
 *   H1  A Renew is acknowledged by apply only (S7), and its answer counts from there.
 *   H2  What a repeat of a Release gets is for apply to know: its record is in the table.
 *   H3  A Cancel that finds a hold is not told of it while an Abandon of that hold is on its way
 *       (S10c): it is sent back, and its repeat finds what has become of the hold. */
#include <inttypes.h>

#include "base_check.h"
#include "base_fault.h"
#include "lock_state.h"

/* What S7 forbids. */
static bool renew_locally(lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (call->kind != LM_PEER_LOCK_CALL_REQUEST_RENEW) return false;
    const lm_record_t *record = lm_table_hold(room->table, call->hold);
    if (!record || record->claim != call->claim) return false;
    lm_lock_lease_start(room, record, false);
    lm_lock_answer_renewed(room, call, record, 0);
    return true;
}

void lm_lock_change_handle(lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (LM_FAULT(RENEW_LOCALLY) && renew_locally(room, call)) return;
    if (LM_FAULT(KEEP_LOCALLY) && lm_lock_session_call_keep_locally(room, call)) return;
    if (room->n_queue >= LM_LOCK_CHANGES_MAX) {
        lm_lock_answer_error(room, call, LM_RC_OVERLOADED, "", "too many commands are waiting");
        return;
    }
    static const lm_command_kind_t kinds[] = {
        [LM_PEER_LOCK_CALL_REQUEST_RELEASE] = LM_COMMAND_RELEASE,
        [LM_PEER_LOCK_CALL_REQUEST_RENEW] = LM_COMMAND_RENEW,
        [LM_PEER_LOCK_CALL_REQUEST_CANCEL] = LM_COMMAND_CANCEL,
        [LM_PEER_LOCK_CALL_REQUEST_OPEN_SESSION] = LM_COMMAND_OPEN_SESSION,
        [LM_PEER_LOCK_CALL_REQUEST_KEEP_ALIVE] = LM_COMMAND_KEEP_ALIVE,
        [LM_PEER_LOCK_CALL_REQUEST_CLOSE_SESSION] = LM_COMMAND_CLOSE_SESSION,
    };
    lm_lock_session_call_prepare(room, call);
    lm_command_t command = lm_lock_calls_command(call, kinds[call->kind]);
    lm_lock_proposal_t *proposal = lm_lock_propose_add(room, &command, NULL, call);
    if (command.kind == LM_COMMAND_RENEW) lm_lock_lease_renewal_begins(room, proposal);
    if (command.kind == LM_COMMAND_KEEP_ALIVE) lm_lock_session_keep_begins(room, proposal);
    call->maybe_applied = true;
    lm_lock_calls_enlist(call, LM_STAGE_PROPOSED, NULL);
}

void lm_lock_change_answer_code(lm_lock_room_t *room, lm_lock_call_t *call, lm_rc_t code)
{
    const char *field = code == LM_RC_REQUEST_REUSED ? "request_id" : "";
    lm_lock_answer_error(room, call, code, field, lm_rc_text(code));
}

void lm_lock_change_answer_refused(lm_lock_room_t *room, lm_lock_call_t *call,
                                   const lm_effect_t *effect)
{
    const lm_settings_t *settings = lm_table_settings(room->table);
    const char *owner = call->session ? "session" : "owner";
    const struct {
        const char *field, *key, *what;
        uint64_t most;
    } limits[] = {
        [LM_LIMIT_LOCKS] = {"name", "locks_max", "locks of the region", settings->locks_max},
        [LM_LIMIT_HOLDS] = {owner, "holds_per_owner_max", "holds and waits of one owner or session",
                            settings->holds_per_owner_max},
        [LM_LIMIT_WAITERS] = {"name", "waiters_per_lock_max", "calls that wait for one lock",
                              settings->waiters_per_lock_max},
        [LM_LIMIT_SESSIONS] = {"client", "sessions_max", "sessions of the region",
                               settings->sessions_max},
    };
    bool told = effect->limit < sizeof limits / sizeof *limits && limits[effect->limit].key;
    if (!told) {
        lm_lock_change_answer_code(room, call, effect->code);
        return;
    }
    lm_bytes_t text = lm_arena_print(room->scratch, "limits.%s is reached: %" PRIu64 " %s",
                                     limits[effect->limit].key, limits[effect->limit].most,
                                     limits[effect->limit].what);
    lm_lock_answer_error(room, call, effect->code, limits[effect->limit].field,
                         lm_arena_text(room->scratch, text));
}

static void release_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_REFUSED || effect->code != LM_RC_OK)
        lm_lock_change_answer_code(room, call, effect->code);
    else if (effect->end == LM_END_RELEASED)
        lm_lock_answer_released(room, call, lm_record_token(effect->record), effect->op_seq);
    else
        lm_lock_change_answer_code(room, call, LM_RC_REQUEST_REUSED);
}

static void renew_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_RENEWED)
        lm_lock_answer_renewed(room, call, effect->record, effect->op_seq);
    else
        lm_lock_change_answer_code(room, call, effect->code);
}

/* Whoever listened for it has left before the Cancel came, or while it was on its way. */
bool lm_lock_change_is_ending(lm_lock_room_t *room, const lm_record_t *record)
{
    if (record->state != LM_RECORD_HOLDING || LM_FAULT(CANCEL_UNPARKED)) return false;
    lm_request_key_t key = lm_record_key(record);
    const lm_lock_party_t *party =
        lm_lock_party_find(room, lm_entry_name(lm_record_lock(record)), key.identity, key.owner);
    return party && party->parks;
}

static void cancel_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_CANCELLED && lm_lock_change_is_ending(room, effect->record))
        lm_lock_answer_forward(room, call);
    else if (effect->kind == LM_EFFECT_CANCELLED)
        lm_lock_answer_cancel(room, call, effect->record, effect->op_seq);
    else
        lm_lock_change_answer_code(room, call, effect->code);
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
    if (proposal->command.kind == LM_COMMAND_KEEP_ALIVE) lm_lock_session_keep_done(room, proposal);
    lm_lock_call_t *call = proposal->call;
    if (!call) return;
    if (code == LM_RC_NOT_LEADER || code == LM_RC_NO_LEADER)
        lm_lock_answer_forward(room, call);
    else
        lm_lock_change_answer_code(room, call, code);
}
