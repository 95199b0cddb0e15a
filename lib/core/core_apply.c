/* Applying one command: numbers, effects, the rolling hash, and the steps that several commands
 * share.
 *
 * Invariants
 *   A1  The first effect of a command is its answer; every effect is folded into the hash.
 *   A2  The first grant of a command takes the command's op_seq, each further one the next (S1). A
 *       command that begins a wait grants nobody, so no hold has the number of a wait that
 *       lasts. */
#include "base_check.h"
#include "base_fault.h"
#include "core_state.h"

int64_t lm_fence_token(uint16_t epoch, uint64_t op_seq)
{
    LM_CHECK(epoch <= INT16_MAX, "epoch %u", epoch);
    LM_CHECK(op_seq >= 1 && op_seq <= LM_OP_SEQ_MAX, "op_seq %llu", (unsigned long long)op_seq);
    return (int64_t)((uint64_t)epoch << LM_OP_SEQ_BITS | op_seq);
}

/* ---- the rolling hash ------------------------------------------------------------------------ */

static void fold(lm_table_t *table, uint64_t word)
{
    uint64_t hash = (table->hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    table->hash = hash ^ (hash >> 29);
}

static void fold_command(lm_table_t *table, const lm_command_t *command)
{
    fold(table, (uint64_t)command->kind << 32 | (uint64_t)command->mode << 8 |
                    (uint64_t)command->wait << 1 | (uint64_t)command->seen);
    const uint64_t words[] = {
        command->pair.term,
        command->pair.boot_id,
        command->pair.counter,
        command->body_hash,
        command->ttl_ms,
        command->stamp,
        command->hold,
        command->claim,
        command->basis,
        command->wait_number,
        lm_entry_hash(command->name),
        lm_record_hash(&command->key),
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) fold(table, words[i]);
    if (command->session || command->secret.size) {
        fold(table, command->session);
        fold(table, lm_bytes_hash(command->secret, LM_HASH_START));
        fold(table, command->request_number);
        fold(table, command->done_below);
    }
    if (command->kind != LM_COMMAND_TAKEOVER) return;
    const lm_settings_t *settings = &command->settings;
    fold(table, (uint64_t)settings->semantics << 32 | settings->waiters_per_lock_max);
    fold(table, (uint64_t)settings->locks_max << 32 | settings->holds_per_owner_max);
    fold(table, settings->record_ring_size);
    fold(table, (uint64_t)settings->sessions_max << 32 | settings->session_window);
}

static void fold_session(lm_table_t *table, uint64_t number)
{
    const lm_session_t *session = lm_session_find(table, number);
    fold(table, number);
    if (!session) return;
    fold(table, session->basis);
    fold(table, session->done_below);
    fold(table, (uint64_t)session->n_living << 32 | session->n_open);
}

static void fold_effect(lm_table_t *table, const lm_effect_t *effect)
{
    fold(table, (uint64_t)effect->kind << 32 | (uint64_t)effect->code << 16 | effect->end);
    fold(table, effect->op_seq);
    fold(table, effect->hold ^ effect->wait_number << 32);
    if (effect->session) fold_session(table, effect->session);
    const lm_record_t *record = effect->record;
    if (!record) return;
    fold(table, (uint64_t)record->internal_key_hash << 16 | (uint64_t)record->cancelled << 8 |
                    record->state);
    fold(table, (uint64_t)record->seat.token);
    fold(table, record->wait_number); /* of a finished one: when it finished */
    if (record->state != LM_RECORD_WAITING && record->state != LM_RECORD_HOLDING) return;
    fold(table, record->basis);
    fold(table, (uint64_t)record->claim << 32 | record->ttl_ms);
}

/* ---- effects --------------------------------------------------------------------------------- */

void lm_apply_emit(lm_table_t *table, lm_effect_t effect)
{
    if (effect.op_seq == 0) effect.op_seq = table->command_seq;
    if (table->n_effects == table->effects_capacity) {
        table->effects_capacity = table->effects_capacity ? table->effects_capacity * 2 : 16;
        table->effects =
            lm_realloc(table->effects, table->effects_capacity * sizeof *table->effects);
    }
    table->effects[table->n_effects++] = effect;
    fold_effect(table, &effect);
}

void lm_apply_refuse(lm_table_t *table, const lm_command_t *command, lm_rc_t code)
{
    lm_apply_emit(
        table,
        (lm_effect_t){
            .kind = LM_EFFECT_REFUSED, .code = code, .key = command->key, .name = command->name});
}

void lm_apply_refuse_over(lm_table_t *table, const lm_command_t *command, lm_limit_t limit)
{
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_REFUSED,
                                       .code = LM_RC_QUOTA_EXCEEDED,
                                       .limit = limit,
                                       .key = command->key,
                                       .name = command->name});
}

void lm_apply_void(lm_table_t *table, const lm_command_t *command)
{
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_VOID, .name = command->name});
}

/* ---- steps that several commands share ------------------------------------------------------- */

static uint64_t grant_number(lm_table_t *table)
{
    if (table->granted && !LM_FAULT(GRANT_UNCOUNTED)) table->op_seq++;
    table->granted = true;
    return table->op_seq;
}

void lm_apply_grant(lm_table_t *table, lm_record_t *record)
{
    lm_lock_value_t *value = &lm_record_entry(record)->value;
    uint64_t number = grant_number(table);
    bool mints = lm_lock_mints(value, lm_seat_mode(&record->seat));
    int64_t token = mints ? lm_fence_token(table->epoch, number) : lm_lock_token(value);
    lm_lock_grant(value, &record->seat, number, token);
    record->state = LM_RECORD_HOLDING;
    record->basis = number;
    lm_index_insert(&table->numbers, record);
    table->n_holds++;
}

void lm_apply_unseat(lm_table_t *table, lm_record_t *record)
{
    lm_entry_t *entry = lm_record_entry(record);
    lm_image_leaving(table, record);
    lm_index_remove(&table->numbers, record);
    lm_entry_leaving(table, entry, record);
    if (record->state == LM_RECORD_HOLDING) {
        lm_lock_remove_holder(&entry->value, &record->seat);
        table->n_holds--;
    } else {
        lm_lock_remove_waiter(&entry->value, &record->seat);
        table->n_waiters--;
    }
}

static void promote_one(lm_table_t *table, lm_record_t *record)
{
    table->n_waiters--;
    lm_apply_grant(table, record);
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_GRANTED,
                                       .op_seq = record->seat.number,
                                       .hold = record->seat.number,
                                       .wait_number = record->wait_number,
                                       .record = record,
                                       .key = lm_record_key(record),
                                       .name = lm_entry_name(lm_record_entry(record))});
}

void lm_apply_promote(lm_table_t *table, lm_entry_t *entry)
{
    lm_seat_t *head;
    /* The head is looked at before it leaves the queue: numbers knows it by its wait number. */
    while ((head = lm_lock_waiters(&entry->value)) != NULL) {
        lm_record_t *record = lm_record_of_seat(head);
        lm_image_leaving(table, record);
        lm_seat_t *seat = lm_lock_next(&entry->value);
        if (!seat) break;
        lm_index_remove(&table->numbers, record);
        promote_one(table, record);
    }
    lm_entry_drop_if_empty(table, entry);
}

void lm_apply_end_hold(lm_table_t *table, lm_record_t *record, lm_end_t end)
{
    lm_effect_t effect = {.kind = LM_EFFECT_HOLD_ENDED,
                          .end = end,
                          .hold = record->seat.number,
                          .key = lm_record_key(record),
                          .name = lm_entry_name(lm_record_entry(record))};
    lm_apply_unseat(table, record);
    effect.record = lm_record_end(table, record, end, end == LM_END_ABANDONED, false);
    lm_apply_emit(table, effect);
}

void lm_apply_end_wait(lm_table_t *table, lm_record_t *record, lm_end_t end)
{
    lm_effect_t effect = {.kind = LM_EFFECT_WAIT_ENDED,
                          .end = end,
                          .wait_number = record->wait_number,
                          .key = lm_record_key(record),
                          .name = lm_entry_name(lm_record_entry(record))};
    lm_apply_unseat(table, record);
    effect.record = lm_record_end(table, record, end, end == LM_END_ABANDONED, false);
    lm_apply_emit(table, effect);
}

/* ---- the command ----------------------------------------------------------------------------- */

static void apply_takeover(lm_table_t *table, const lm_command_t *command)
{
    if (lm_pair_compare(command->pair, table->pair) <= 0) {
        lm_apply_void(table, command);
        return;
    }
    table->pair = command->pair;
    table->settings = command->settings;
    lm_record_trim(table);
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_TAKEN_OVER});
}

/** Commands of clients; false if it is none. No table of functions: in position-independent code it
 *  would be a variable, and lib/core has none. */
static bool apply_request(lm_table_t *table, const lm_command_t *command)
{
    switch (command->kind) {
    case LM_COMMAND_ACQUIRE: lm_request_acquire(table, command); return true;
    case LM_COMMAND_RELEASE: lm_request_release(table, command); return true;
    case LM_COMMAND_RENEW: lm_request_renew(table, command); return true;
    case LM_COMMAND_CANCEL: lm_request_cancel(table, command); return true;
    default: return false;
    }
}

/** Commands about sessions; false if it is none. */
static bool apply_session(lm_table_t *table, const lm_command_t *command)
{
    switch (command->kind) {
    case LM_COMMAND_OPEN_SESSION: lm_request_open_session(table, command); return true;
    case LM_COMMAND_KEEP_ALIVE: lm_request_keep_alive(table, command); return true;
    case LM_COMMAND_CLOSE_SESSION: lm_request_close_session(table, command); return true;
    case LM_COMMAND_EXPIRE_SESSION: lm_verdict_expire_session(table, command); return true;
    default: return false;
    }
}

/** Commands of the leader about time and listeners; false if it is none. */
static bool apply_verdict(lm_table_t *table, const lm_command_t *command)
{
    switch (command->kind) {
    case LM_COMMAND_EXPIRE: lm_verdict_expire(table, command); return true;
    case LM_COMMAND_LEAVE: lm_verdict_leave(table, command); return true;
    case LM_COMMAND_ABANDON: lm_verdict_abandon(table, command); return true;
    case LM_COMMAND_WAIT_TIMEOUT: lm_verdict_wait_timeout(table, command); return true;
    default: return false;
    }
}

lm_effects_t lm_table_apply(lm_table_t *table, const lm_command_t *command)
{
    lm_record_free_buried(table);
    table->n_effects = 0;
    table->granted = false;
    table->command_seq = ++table->op_seq;
    fold_command(table, command);
    lm_command_kind_t kind = command->kind;
    command = lm_request_enter(table, command);
    if (command && kind == LM_COMMAND_TAKEOVER)
        apply_takeover(table, command);
    else if (command && !apply_request(table, command) && !apply_verdict(table, command) &&
             !apply_session(table, command))
        LM_CHECK(false, "command of unknown kind %d", (int)kind);
    LM_CHECK(table->n_effects > 0, "a command of kind %d without an answer", (int)kind);
    fold(table, table->op_seq);
    return (lm_effects_t){.n = table->n_effects, .items = table->effects};
}
