/* What the leader finds about time and listeners: Expire, Leave, Abandon, WaitTimeout.
 *
 * Each is void under another pair than the current one (S8), and when its object is not there any
 * more under the number that it names (S2, S10). */
#include "base_fault.h"
#include "core_state.h"

bool lm_verdict_has_authority(const lm_table_t *table, const lm_command_t *command)
{
    static const lm_pair_t none = {0};
    return LM_FAULT(ANY_PAIR) || (lm_pair_compare(table->pair, none) != 0 &&
                                  lm_pair_compare(table->pair, command->pair) == 0);
}

static bool is_at(const lm_record_t *record, lm_bytes_t name)
{
    return lm_bytes_equal(lm_entry_name(lm_record_entry(record)), name);
}

static lm_record_t *named_hold(const lm_table_t *table, const lm_command_t *command)
{
    if (!lm_verdict_has_authority(table, command)) return NULL;
    const lm_record_t *record = lm_table_hold(table, command->hold);
    if (!record || !is_at(record, command->name)) return NULL;
    return (lm_record_t *)(uintptr_t)record;
}

static lm_record_t *named_wait(const lm_table_t *table, const lm_command_t *command)
{
    if (!lm_verdict_has_authority(table, command)) return NULL;
    const lm_record_t *record = lm_table_wait(table, command->wait_number);
    if (!record || !is_at(record, command->name)) return NULL;
    return (lm_record_t *)(uintptr_t)record;
}

static void done(lm_table_t *table, lm_bytes_t name)
{
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_DONE, .name = name});
}

static void end_hold(lm_table_t *table, lm_record_t *record, lm_end_t end)
{
    lm_entry_t *entry = lm_record_entry(record);
    done(table, lm_entry_name(entry));
    lm_apply_end_hold(table, record, end);
    lm_apply_promote(table, entry);
}

static void end_wait(lm_table_t *table, lm_record_t *record, lm_end_t end)
{
    lm_entry_t *entry = lm_record_entry(record);
    done(table, lm_entry_name(entry));
    lm_apply_end_wait(table, record, end);
    lm_apply_promote(table, entry);
}

/* What S2 forbids: the command ends whoever holds the name by now. */
static lm_record_t *whoever_holds(lm_table_t *table, const lm_command_t *command)
{
    lm_entry_t *entry = lm_entry_find(table, command->name);
    lm_seat_t *seat = entry ? lm_lock_holders(&entry->value) : NULL;
    return seat ? lm_record_of_seat(seat) : NULL;
}

/** The lease of a session's hold is the session's. */
static bool has_lease(const lm_record_t *record) { return lm_record_session(record) == 0; }

void lm_verdict_expire(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *record = named_hold(table, command);
    bool based =
        record && has_lease(record) && (record->basis == command->basis || LM_FAULT(ANY_BASIS));
    if (LM_FAULT(EXPIRE_BY_NAME) && !record) based = (record = whoever_holds(table, command));
    if (based)
        end_hold(table, record, LM_END_EXPIRED);
    else
        lm_apply_void(table, command);
}

void lm_verdict_abandon(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *record = named_hold(table, command);
    if (record)
        end_hold(table, record, LM_END_ABANDONED);
    else
        lm_apply_void(table, command);
}

void lm_verdict_leave(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *record = named_wait(table, command);
    if (record)
        end_wait(table, record, LM_END_ABANDONED);
    else
        lm_apply_void(table, command);
}

void lm_verdict_wait_timeout(lm_table_t *table, const lm_command_t *command)
{
    lm_record_t *record = named_wait(table, command);
    if (record)
        end_wait(table, record, LM_END_TIMED_OUT);
    else
        lm_apply_void(table, command);
}
