/* What clients ask for: Acquire, Release, Renew, Cancel. */
#include "base_check.h"
#include "base_fault.h"
#include "core_state.h"

/* ---- answers --------------------------------------------------------------------------------- */

/** The answer to an Acquire whose record waits or holds. */
static void answer_living(lm_table_t *table, const lm_command_t *command, const lm_record_t *record)
{
    bool holds = record->state == LM_RECORD_HOLDING;
    lm_effect_t effect = {.kind = holds ? LM_EFFECT_ACQUIRED : LM_EFFECT_QUEUED,
                          .record = record,
                          .key = command->key,
                          .name = lm_entry_name(lm_record_entry(record))};
    if (holds)
        effect.hold = record->seat.number;
    else
        effect.wait_number = record->wait_number;
    lm_apply_emit(table, effect);
}

/** The answer of a finished record; hold: of a Release that has just ended it. */
static void answer_finished(lm_table_t *table, const lm_command_t *command,
                            const lm_record_t *record, uint64_t hold)
{
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_FINISHED,
                                       .code = record->code,
                                       .end = record->end,
                                       .hold = hold,
                                       .record = record,
                                       .key = command->key,
                                       .name = command->name});
}

static void finish_now(lm_table_t *table, const lm_command_t *command, lm_end_t end, lm_rc_t code)
{
    const lm_record_t *record = lm_record_new_finished(table, command, LM_RECORD_ENDED, end, code);
    answer_finished(table, command, record, 0);
}

bool lm_request_answer_repeat(lm_table_t *table, const lm_command_t *command)
{
    const lm_record_t *record;
    lm_rc_t rc = lm_table_lookup(table, command->kind, &command->key, command->body_hash, &record);
    if (rc != LM_RC_OK) {
        lm_apply_refuse(table, command, rc);
        return true;
    }
    if (record && !(LM_FAULT(BEHIND_CANCEL) && record->state == LM_RECORD_RETIRED)) {
        bool living = record->state == LM_RECORD_WAITING || record->state == LM_RECORD_HOLDING;
        if (living)
            answer_living(table, command, record);
        else
            answer_finished(table, command, record, 0);
        return true;
    }
    if (table->session && command->request_number) return false; /* S12b: the numbers say it all */
    bool late = command->seen || table->evicted > command->stamp;
    if (late && !LM_FAULT(RUN_AGAIN)) {
        lm_apply_refuse(table, command, LM_RC_OUTCOME_UNKNOWN);
        return true;
    }
    return false;
}

/* ---- acquire --------------------------------------------------------------------------------- */

/** Another id of the owner that waits or holds already (S11b). */
static void attach(lm_table_t *table, const lm_command_t *command, lm_record_t *record)
{
    bool holds = record->state == LM_RECORD_HOLDING;
    if (lm_seat_mode(&record->seat) != command->mode) {
        finish_now(table, command, LM_END_REFUSED, LM_RC_MODE_MISMATCH);
        return;
    }
    if (!holds && !command->wait) {
        finish_now(table, command, LM_END_HELD, LM_RC_OK);
        return;
    }
    if (holds && record->claim == UINT32_MAX) {
        lm_apply_refuse_over(table, command, LM_LIMIT_CLAIMS);
        return;
    }
    lm_image_changing(table, record);
    lm_record_join(table, record, command);
    if (holds && !LM_FAULT(CLAIM_KEPT)) record->claim++;
    answer_living(table, command, record);
    if (!holds) return;
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_REATTACHED,
                                       .hold = record->seat.number,
                                       .record = record,
                                       .key = lm_record_key(record),
                                       .name = lm_entry_name(lm_record_entry(record))});
}

/** The limit that forbids this owner to wait for that lock (entry may be NULL) or to hold it. */
static lm_limit_t limit_reached(const lm_table_t *table, const lm_entry_t *entry,
                                const lm_owner_t *owner, bool must_wait)
{
    const lm_settings_t *settings = &table->settings;
    if (!entry && table->names.count >= settings->locks_max) return LM_LIMIT_LOCKS;
    if (owner && owner->n_living >= settings->holds_per_owner_max) return LM_LIMIT_HOLDS;
    bool full = must_wait && entry->value.n_waiters >= settings->waiters_per_lock_max;
    return full ? LM_LIMIT_WAITERS : LM_LIMIT_NONE;
}

/** Somebody new at the lock: granted or queued. */
static void arrive(lm_table_t *table, const lm_command_t *command, lm_entry_t *entry)
{
    if (!entry) entry = lm_entry_new(table, command->name);
    lm_record_t *record = lm_record_new(table, command);
    record->internal_lock = lm_pool_ref(entry);
    if (lm_lock_admits(&entry->value, command->mode)) {
        lm_apply_grant(table, record);
    } else {
        lm_lock_enqueue(&entry->value, &record->seat, record->wait_number);
        lm_index_insert(&table->numbers, record);
        table->n_waiters++;
    }
    lm_entry_joined(table, entry, record);
    answer_living(table, command, record);
}

void lm_request_acquire(lm_table_t *table, const lm_command_t *command)
{
    LM_CHECK(command->mode == LM_MODE_EXCLUSIVE || command->mode == LM_MODE_SHARED, "mode %d",
             (int)command->mode);
    if (lm_request_answer_repeat(table, command)) return;
    lm_entry_t *entry = lm_entry_find(table, command->name);
    const lm_owner_t *owner =
        lm_record_find_owner(table, command->key.identity, command->key.owner);
    lm_record_t *mine = entry && owner ? lm_entry_of_owner(table, entry, owner) : NULL;
    bool must_wait = entry && !lm_lock_admits(&entry->value, command->mode);
    lm_limit_t limit = limit_reached(table, entry, owner, must_wait);
    if (mine)
        attach(table, command, mine);
    else if (must_wait && !command->wait)
        finish_now(table, command, LM_END_HELD, LM_RC_OK);
    else if (limit != LM_LIMIT_NONE)
        lm_apply_refuse_over(table, command, limit);
    else
        arrive(table, command, entry);
}

/* ---- release, renew -------------------------------------------------------------------------- */

/** The hold that a Release or Renew means; NULL if it has ended, is another owner's, has another
 *  name or has been handed out again since. */
static lm_record_t *held_by_caller(const lm_table_t *table, const lm_command_t *command)
{
    const lm_record_t *hold = lm_table_hold(table, command->hold);
    if (!hold || (hold->claim != command->claim && !LM_FAULT(ANY_CLAIM))) return NULL;
    if (!lm_bytes_equal(lm_entry_name(lm_record_entry(hold)), command->name)) return NULL;
    lm_request_key_t key = lm_record_key(hold);
    if (!lm_bytes_equal(key.identity, command->key.identity)) return NULL;
    if (!lm_bytes_equal(key.owner, command->key.owner)) return NULL;
    return (lm_record_t *)(uintptr_t)hold;
}

void lm_request_release(lm_table_t *table, const lm_command_t *command)
{
    if (lm_request_answer_repeat(table, command)) return;
    lm_record_t *hold = held_by_caller(table, command);
    if (!hold) {
        finish_now(table, command, LM_END_REFUSED, LM_RC_STALE_HOLD);
        return;
    }
    lm_entry_t *entry = lm_record_entry(hold);
    lm_record_t *record =
        lm_record_new_finished(table, command, LM_RECORD_ENDED, LM_END_RELEASED, LM_RC_OK);
    record->seat.token = hold->seat.token;
    answer_finished(table, command, record, hold->seat.number);
    lm_apply_end_hold(table, hold, LM_END_RELEASED);
    lm_apply_promote(table, entry);
}

void lm_request_renew(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *hold = held_by_caller(table, command);
    if (!hold) {
        lm_apply_refuse(table, command, LM_RC_STALE_HOLD);
        return;
    }
    lm_image_changing(table, hold);
    hold->basis = table->command_seq;
    if (command->ttl_ms)
        hold->ttl_ms = (uint32_t)(command->ttl_ms < UINT32_MAX ? command->ttl_ms : UINT32_MAX);
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_RENEWED,
                                       .hold = hold->seat.number,
                                       .record = hold,
                                       .key = command->key,
                                       .name = lm_entry_name(lm_record_entry(hold))});
}

/* ---- cancel ---------------------------------------------------------------------------------- */

static void answer_cancel(lm_table_t *table, const lm_command_t *command, const lm_record_t *record)
{
    bool holds = record && record->state == LM_RECORD_HOLDING;
    bool finished = record && !holds;
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_CANCELLED,
                                       .code = finished ? record->code : LM_RC_OK,
                                       .end = holds      ? LM_END_NONE
                                              : finished ? record->end
                                                         : LM_END_CANCELLED,
                                       .hold = holds ? record->seat.number : 0,
                                       .record = record,
                                       .key = command->key});
}

/** Ends the wait for all its ids. If the session is done with the first of them, the answer is the
 *  record of the one that the Cancel names. */
static void cancel_wait(lm_table_t *table, const lm_command_t *command, lm_record_t *record)
{
    lm_entry_t *entry = lm_record_entry(record);
    lm_effect_t effect = {.kind = LM_EFFECT_WAIT_ENDED,
                          .end = LM_END_CANCELLED,
                          .wait_number = record->wait_number,
                          .key = lm_record_key(record),
                          .name = lm_entry_name(entry)};
    lm_apply_unseat(table, record);
    effect.record = lm_record_end(table, record, LM_END_CANCELLED, false, true);
    const lm_record_t *named = lm_record_find(table, &command->key);
    answer_cancel(table, command, effect.record ? effect.record : named);
    lm_apply_emit(table, effect);
    lm_apply_promote(table, entry);
}

void lm_request_cancel(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *record = lm_record_find(table, &command->key);
    if (!record) {
        record =
            lm_record_new_finished(table, command, LM_RECORD_RETIRED, LM_END_CANCELLED, LM_RC_OK);
        answer_cancel(table, command, record);
        return;
    }
    if (record->internal_opening) {
        lm_apply_refuse(table, command, LM_RC_REQUEST_REUSED);
        return;
    }
    lm_record_t *origin = lm_record_origin(record);
    if (origin->state == LM_RECORD_WAITING) {
        cancel_wait(table, command, origin);
        return;
    }
    if (origin->state == LM_RECORD_HOLDING) {
        lm_image_changing(table, origin);
        record->cancelled = true;
    }
    answer_cancel(table, command, origin);
}
