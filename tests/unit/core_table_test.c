/* The rules of the replicated state machine, one by one. Longer stories are in tests/cases. */
#include "core_table.h"

#include <criterion/criterion.h>
#include <stdio.h>

static lm_table_t *table;
static const lm_pair_t leader = {.term = 5, .boot_id = 100, .counter = 2};

static void set_up(void) { table = lm_table_new(0); }

static void tear_down(void)
{
    lm_table_verify(table);
    lm_table_destroy(&table);
}

TestSuite(core_table, .init = set_up, .fini = tear_down);

/* ---- words ----------------------------------------------------------------------------------- */

static lm_effects_t apply(lm_command_t command)
{
    lm_effects_t effects = lm_table_apply(table, &command);
    cr_assert_geq(effects.n, 1);
    return effects;
}

static lm_request_key_t key_of(const char *owner, const char *id)
{
    return (lm_request_key_t){.owner = lm_bytes_of(owner), .request_id = lm_bytes_of(id)};
}

static lm_command_t acquire_command(const char *name, const char *owner, const char *id)
{
    return (lm_command_t){.kind = LM_COMMAND_ACQUIRE,
                          .key = key_of(owner, id),
                          .name = lm_bytes_of(name),
                          .mode = LM_MODE_EXCLUSIVE,
                          .ttl_ms = 30000,
                          .wait = true,
                          .stamp = lm_table_op_seq(table)};
}

static lm_effect_t acquire(const char *name, const char *owner, const char *id)
{
    return apply(acquire_command(name, owner, id)).items[0];
}

static lm_effect_t acquire_shared(const char *name, const char *owner, const char *id)
{
    lm_command_t command = acquire_command(name, owner, id);
    command.mode = LM_MODE_SHARED;
    return apply(command).items[0];
}

static lm_effects_t release(const char *name, const char *owner, const char *id, uint64_t hold,
                            uint64_t claim)
{
    return apply((lm_command_t){.kind = LM_COMMAND_RELEASE,
                                .key = key_of(owner, id),
                                .name = lm_bytes_of(name),
                                .hold = hold,
                                .claim = claim,
                                .stamp = lm_table_op_seq(table)});
}

static lm_effect_t renew(const char *name, const char *owner, uint64_t hold, uint64_t claim)
{
    return apply((lm_command_t){.kind = LM_COMMAND_RENEW,
                                .key.owner = lm_bytes_of(owner),
                                .name = lm_bytes_of(name),
                                .hold = hold,
                                .claim = claim})
        .items[0];
}

static lm_effects_t cancel(const char *owner, const char *id)
{
    return apply((lm_command_t){.kind = LM_COMMAND_CANCEL, .key = key_of(owner, id)});
}

static lm_effect_t take_over(lm_pair_t pair, lm_settings_t settings)
{
    return apply((lm_command_t){.kind = LM_COMMAND_TAKEOVER, .pair = pair, .settings = settings})
        .items[0];
}

static void lead(void) { take_over(leader, lm_settings_default()); }

static void lead_with_ring(uint32_t size)
{
    lm_settings_t settings = lm_settings_default();
    settings.record_ring_size = size;
    take_over(leader, settings);
}

/** A verdict of the leader: number is of a hold, or of a wait. */
static lm_effects_t verdict(lm_command_kind_t kind, const char *name, uint64_t number,
                            uint64_t basis)
{
    return apply((lm_command_t){.kind = kind,
                                .pair = leader,
                                .name = lm_bytes_of(name),
                                .hold = number,
                                .wait_number = number,
                                .basis = basis});
}

static const lm_record_t *find(const char *owner, const char *id)
{
    lm_request_key_t key = key_of(owner, id);
    return lm_table_find(table, &key);
}

static void assert_refused(lm_effect_t effect, lm_rc_t code)
{
    cr_assert_eq(effect.kind, LM_EFFECT_REFUSED);
    cr_assert_eq(effect.code, code, "%s", lm_rc_name(effect.code));
    cr_assert_null(effect.record);
}

/* ---- S1-S5: numbers, tokens, settings -------------------------------------------------------- */

Test(core_table, s1_every_command_counts_whatever_it_does)
{
    apply((lm_command_t){.kind = LM_COMMAND_LEAVE, .name = lm_bytes_of("none")});
    cr_assert_eq(lm_table_op_seq(table), 1);
    cr_assert_eq(acquire("a", "A", "1").op_seq, 2);
    cr_assert_eq(acquire("a", "A", "1").op_seq, 3, "a repeat counts too");
}

Test(core_table, s1_further_grants_of_one_command_count_too)
{
    uint64_t hold = acquire("a", "W", "1").hold;
    acquire_shared("a", "R1", "1");
    acquire_shared("a", "R2", "1");
    acquire_shared("a", "R3", "1");
    lm_effects_t effects = release("a", "W", "2", hold, 0);
    cr_assert_eq(effects.n, 5, "answer, end, three grants");
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(effects.items[2 + i].kind, LM_EFFECT_GRANTED);
        cr_assert_eq(effects.items[2 + i].hold, 5 + i);
        cr_assert_eq(effects.items[2 + i].wait_number, 2 + i);
    }
    cr_assert_eq(lm_table_op_seq(table), 7);
}

Test(core_table, s2_expire_needs_the_hold_and_its_basis)
{
    lead();
    uint64_t hold = acquire("a", "A", "1").hold;
    uint64_t basis = renew("a", "A", hold, 0).op_seq;
    cr_assert_eq(verdict(LM_COMMAND_EXPIRE, "a", hold, hold).items[0].kind, LM_EFFECT_VOID,
                 "renewed since");
    cr_assert_eq(verdict(LM_COMMAND_EXPIRE, "a", hold + 1, basis).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(verdict(LM_COMMAND_EXPIRE, "b", hold, basis).items[0].kind, LM_EFFECT_VOID);
    lm_effects_t effects = verdict(LM_COMMAND_EXPIRE, "a", hold, basis);
    cr_assert_eq(effects.items[0].kind, LM_EFFECT_DONE);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_HOLD_ENDED);
    cr_assert_eq(effects.items[1].end, LM_END_EXPIRED);
}

Test(core_table, s2_expire_after_release_spares_the_next_owner)
{
    lead();
    uint64_t hold = acquire("a", "A", "1").hold;
    acquire("a", "B", "1");
    release("a", "A", "2", hold, 0);
    cr_assert_eq(verdict(LM_COMMAND_EXPIRE, "a", hold, hold).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(find("B", "1")->state, LM_RECORD_HOLDING);
}

Test(core_table, s3_group_shares_a_token_that_the_next_owner_exceeds)
{
    int64_t first = lm_record_token(acquire_shared("a", "R1", "1").record);
    lm_effect_t second = acquire_shared("a", "R2", "1");
    cr_assert_eq(lm_record_token(second.record), first);
    uint64_t two = second.hold, one = find("R1", "1")->seat.number;
    acquire("a", "W", "1");
    release("a", "R1", "2", one, 0);
    release("a", "R2", "2", two, 0);
    cr_assert_gt(lm_record_token(find("W", "1")), first);
}

Test(core_table, s4_built_in_settings_until_a_takeover_brings_others)
{
    cr_assert_eq(lm_table_settings(table)->waiters_per_lock_max, 10000);
    lm_settings_t settings = lm_settings_default();
    settings.locks_max = 1;
    take_over(leader, settings);
    acquire("a", "A", "1");
    assert_refused(acquire("b", "A", "2"), LM_RC_QUOTA_EXCEEDED);
    cr_assert_null(find("A", "2"), "free to be tried again");
}

Test(core_table, s5_epoch_stands_above_op_seq_in_tokens)
{
    lm_table_t *restored = lm_table_new(2);
    lm_command_t command = acquire_command("a", "A", "1");
    lm_effects_t effects = lm_table_apply(restored, &command);
    cr_assert_eq(lm_record_token(effects.items[0].record), (INT64_C(2) << 48) + 1);
    cr_assert_gt(lm_record_token(effects.items[0].record),
                 lm_fence_token(1, (UINT64_C(1) << 48) - 1));
    lm_table_destroy(&restored);
}

/* ---- S8: authority --------------------------------------------------------------------------- */

Test(core_table, s8_pairs_are_ordered_by_term_boot_counter)
{
    const lm_pair_t ascending[] = {{1, 9, 9}, {2, 1, 9}, {2, 2, 1}, {2, 2, 2}};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            int order = lm_pair_compare(ascending[i], ascending[k]);
            cr_assert_eq((order > 0) - (order < 0), (i > k) - (i < k));
        }
}

Test(core_table, s8_takeover_that_is_not_greater_is_void)
{
    lead();
    lm_settings_t other = lm_settings_default();
    other.locks_max = 1;
    const lm_pair_t late[] = {{5, 100, 2}, {5, 100, 1}, {5, 99, 9}, {4, 200, 9}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof late / sizeof *late; i++)
        cr_assert_eq(take_over(late[i], other).kind, LM_EFFECT_VOID);
    cr_assert_eq(lm_table_settings(table)->locks_max, lm_settings_default().locks_max);
    cr_assert_eq(take_over((lm_pair_t){5, 100, 3}, other).kind, LM_EFFECT_TAKEN_OVER);
}

Test(core_table, s8_verdicts_under_another_pair_are_void)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    uint64_t wait = acquire("a", "B", "1").wait_number;
    lm_command_t before = {.kind = LM_COMMAND_EXPIRE, .name = lm_bytes_of("a"), .hold = hold};
    before.basis = hold;
    cr_assert_eq(apply(before).items[0].kind, LM_EFFECT_VOID, "there is no leader yet");
    take_over((lm_pair_t){5, 100, 3}, lm_settings_default());
    const lm_command_kind_t kinds[] = {LM_COMMAND_EXPIRE, LM_COMMAND_ABANDON};
    for (int i = 0; i < 2; i++)
        cr_assert_eq(verdict(kinds[i], "a", hold, hold).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(verdict(LM_COMMAND_LEAVE, "a", wait, 0).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(verdict(LM_COMMAND_WAIT_TIMEOUT, "a", wait, 0).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(lm_table_counts(table).holds, 1);
    cr_assert_eq(lm_table_counts(table).waiters, 1);
}

/* ---- S10: leaving ---------------------------------------------------------------------------- */

Test(core_table, s10_leave_takes_a_waiter_and_makes_its_id_unknown)
{
    lead();
    acquire("a", "A", "1");
    uint64_t wait = acquire("a", "B", "1").wait_number;
    lm_effects_t effects = verdict(LM_COMMAND_LEAVE, "a", wait, 0);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_WAIT_ENDED);
    cr_assert_eq(effects.items[1].wait_number, wait);
    cr_assert_null(effects.items[1].record);
    cr_assert(lm_bytes_equal(effects.items[1].key.owner, lm_bytes_of("B")));
    cr_assert_null(find("B", "1"));
    cr_assert_eq(acquire("a", "B", "1").kind, LM_EFFECT_QUEUED, "may come again");
}

Test(core_table, s10_leave_never_takes_a_hold)
{
    lead();
    uint64_t hold = acquire("a", "A", "1").hold;
    uint64_t wait = acquire("a", "B", "1").wait_number;
    release("a", "A", "2", hold, 0);
    cr_assert_eq(verdict(LM_COMMAND_LEAVE, "a", wait, 0).items[0].kind, LM_EFFECT_VOID);
    cr_assert_eq(verdict(LM_COMMAND_LEAVE, "a", find("B", "1")->seat.number, 0).items[0].kind,
                 LM_EFFECT_VOID);
    cr_assert_eq(find("B", "1")->state, LM_RECORD_HOLDING);
}

Test(core_table, s10_wait_timeout_is_an_answer_that_stays)
{
    lead();
    acquire("a", "A", "1");
    uint64_t wait = acquire("a", "B", "1").wait_number;
    verdict(LM_COMMAND_WAIT_TIMEOUT, "a", wait, 0);
    lm_effect_t repeat = acquire("a", "B", "1");
    cr_assert_eq(repeat.kind, LM_EFFECT_FINISHED);
    cr_assert_eq(repeat.end, LM_END_TIMED_OUT);
}

Test(core_table, s10_abandon_undoes_a_hold_and_makes_its_id_unknown)
{
    lead();
    uint64_t hold = acquire("a", "A", "1").hold;
    lm_effects_t effects = verdict(LM_COMMAND_ABANDON, "a", hold, 0);
    cr_assert_eq(effects.items[1].end, LM_END_ABANDONED);
    cr_assert_null(effects.items[1].record);
    cr_assert_null(find("A", "1"));
    cr_assert_null(lm_table_lock(table, lm_bytes_of("a")));
}

Test(core_table, s10d_cancel_of_an_unknown_id_retires_it)
{
    lm_effects_t effects = cancel("A", "1");
    cr_assert_eq(effects.items[0].kind, LM_EFFECT_CANCELLED);
    cr_assert_eq(effects.items[0].record->state, LM_RECORD_RETIRED);
    lm_command_t late = acquire_command("a", "A", "1");
    late.body_hash = 77;
    lm_effect_t answer = apply(late).items[0];
    cr_assert_eq(answer.kind, LM_EFFECT_FINISHED, "whatever its body is");
    cr_assert_eq(answer.end, LM_END_CANCELLED);
    cr_assert_null(lm_table_lock(table, lm_bytes_of("a")));
}

Test(core_table, s10d_cancel_of_a_waiter_retires_it_and_lets_others_in)
{
    acquire_shared("a", "R1", "1");
    acquire("a", "W", "1");
    acquire_shared("a", "R2", "1");
    lm_effects_t effects = cancel("W", "1");
    cr_assert_eq(effects.n, 3);
    cr_assert_eq(effects.items[0].record->state, LM_RECORD_RETIRED);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_WAIT_ENDED);
    cr_assert_eq(effects.items[1].end, LM_END_CANCELLED);
    cr_assert_eq(effects.items[2].kind, LM_EFFECT_GRANTED);
}

/** Ends the hold of A under "a" in each way there is. */
static void end_in_each_way(int way, uint64_t hold)
{
    if (way == 0) release("a", "A", "r", hold, 0);
    if (way == 1) verdict(LM_COMMAND_EXPIRE, "a", hold, hold);
    if (way == 2) verdict(LM_COMMAND_ABANDON, "a", hold, 0);
}

Test(core_table, s10d_a_cancelled_hold_stays_and_is_retired_by_any_end)
{
    const lm_end_t ends[] = {LM_END_RELEASED, LM_END_EXPIRED, LM_END_ABANDONED};
    for (int way = 0; way < 3; way++) {
        tear_down();
        set_up();
        lead();
        uint64_t hold = acquire("a", "A", "1").hold;
        lm_effects_t effects = cancel("A", "1");
        cr_assert_eq(effects.n, 1);
        cr_assert_eq(effects.items[0].hold, hold);
        cr_assert_eq(acquire("a", "A", "1").kind, LM_EFFECT_ACQUIRED, "the hold stays");
        end_in_each_way(way, hold);
        cr_assert_eq(find("A", "1")->state, LM_RECORD_RETIRED);
        cr_assert_eq(find("A", "1")->end, ends[way]);
        cr_assert_eq(acquire("a", "A", "1").kind, LM_EFFECT_FINISHED, "never executed again");
    }
}

Test(core_table, s10d_cancel_of_an_ended_id_reports_it)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    release("a", "A", "2", hold, 0);
    lm_effect_t answer = cancel("A", "1").items[0];
    cr_assert_eq(answer.end, LM_END_RELEASED);
    cr_assert_eq(answer.record->state, LM_RECORD_ENDED);
}

/* ---- S11: owners ----------------------------------------------------------------------------- */

Test(core_table, s11a_owners_of_two_identities_are_two)
{
    lm_command_t one = acquire_command("a", "A", "1"), other = one;
    one.key.identity = lm_bytes_of("cn=x");
    other.key.identity = lm_bytes_of("cn=y");
    cr_assert_eq(apply(one).items[0].kind, LM_EFFECT_ACQUIRED);
    cr_assert_eq(apply(other).items[0].kind, LM_EFFECT_QUEUED);
    other.key.identity = lm_bytes_of("cn=");
    other.key.owner = lm_bytes_of("xA");
    cr_assert_eq(apply(other).items[0].kind, LM_EFFECT_QUEUED, "where one ends the other begins");
}

Test(core_table, s11b_second_acquire_returns_the_hold_with_the_next_claim)
{
    lm_effect_t first = acquire("a", "A", "1");
    uint64_t hold = first.hold;
    int64_t token = lm_record_token(first.record);
    lm_effects_t effects = apply(acquire_command("a", "A", "2"));
    cr_assert_eq(effects.n, 2);
    cr_assert_eq(effects.items[0].kind, LM_EFFECT_ACQUIRED);
    cr_assert_eq(effects.items[1].kind, LM_EFFECT_REATTACHED);
    const lm_record_t *record = effects.items[0].record;
    cr_assert_eq(record->claim, 1);
    cr_assert_eq(lm_record_token(record), token);
    cr_assert_eq(record->basis, hold, "its TTL is not restarted");
    cr_assert_eq(record->seat.number, hold);
}

Test(core_table, s11b_late_release_of_an_older_claim_is_stale)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    acquire("a", "A", "2");
    lm_effect_t late = release("a", "A", "3", hold, 0).items[0];
    cr_assert_eq(late.kind, LM_EFFECT_FINISHED);
    cr_assert_eq(late.code, LM_RC_STALE_HOLD);
    cr_assert_eq(late.end, LM_END_REFUSED);
    assert_refused(renew("a", "A", hold, 0), LM_RC_STALE_HOLD);
    cr_assert_eq(renew("a", "A", hold, 1).kind, LM_EFFECT_RENEWED);
    cr_assert_eq(release("a", "A", "4", hold, 1).items[0].end, LM_END_RELEASED);
}

Test(core_table, s11b_repeats_of_either_id_find_the_same_hold_and_the_same_end)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    acquire("a", "A", "2");
    const char *ids[] = {"1", "2", "2", "1"};
    for (int i = 0; i < 4; i++) {
        lm_effects_t repeat = apply(acquire_command("a", "A", ids[i]));
        cr_assert_eq(repeat.n, 1, "a repeat claims nothing");
        cr_assert_eq(repeat.items[0].hold, hold);
        cr_assert_eq(repeat.items[0].record->claim, 1);
    }
    release("a", "A", "3", hold, 1);
    for (int i = 0; i < 2; i++) {
        lm_effect_t repeat = acquire("a", "A", ids[i]);
        cr_assert_eq(repeat.kind, LM_EFFECT_FINISHED);
        cr_assert_eq(repeat.end, LM_END_RELEASED);
    }
}

Test(core_table, s11b_an_id_that_joined_a_wait_finds_the_hold_later)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    uint64_t wait = acquire("a", "B", "1").wait_number;
    lm_effect_t joined = acquire("a", "B", "2");
    cr_assert_eq(joined.kind, LM_EFFECT_QUEUED);
    cr_assert_eq(joined.wait_number, wait);
    cr_assert_eq(lm_table_counts(table).waiters, 1);
    release("a", "A", "2", hold, 0);
    cr_assert_eq(find("B", "2"), find("B", "1"));
    cr_assert_eq(acquire("a", "B", "2").kind, LM_EFFECT_ACQUIRED);
    cr_assert_eq(find("B", "2")->claim, 0);
}

Test(core_table, s11b_ids_of_one_wait_share_leave_and_abandon)
{
    lead();
    uint64_t hold = acquire("a", "A", "1").hold;
    uint64_t wait = acquire("a", "B", "1").wait_number;
    acquire("a", "B", "2");
    verdict(LM_COMMAND_LEAVE, "a", wait, 0);
    cr_assert(!find("B", "1") && !find("B", "2"));
    acquire("a", "A", "2");
    verdict(LM_COMMAND_ABANDON, "a", hold, 0);
    cr_assert(!find("A", "1") && !find("A", "2"));
}

Test(core_table, s11b_cancel_of_any_id_ends_the_wait_but_marks_only_its_own_hold)
{
    lead();
    uint64_t hold = acquire("a", "A", "1").hold;
    acquire("a", "A", "2");
    acquire("a", "B", "1");
    acquire("a", "B", "2");
    cancel("B", "2");
    cr_assert_eq(find("B", "1")->state, LM_RECORD_RETIRED);
    cr_assert_eq(find("B", "2")->state, LM_RECORD_RETIRED);
    cancel("A", "2");
    verdict(LM_COMMAND_ABANDON, "a", hold, 0);
    cr_assert_null(find("A", "1"), "was not cancelled");
    cr_assert_eq(find("A", "2")->state, LM_RECORD_RETIRED);
}

Test(core_table, s11b_ids_that_join_are_limited_and_the_oldest_is_retired)
{
    uint64_t hold = acquire("a", "A", "0").hold;
    char id[16];
    for (int i = 1; i <= LM_JOINED_IDS_MAX + 2; i++) {
        snprintf(id, sizeof id, "%d", i);
        cr_assert_eq(acquire("a", "A", id).hold, hold);
    }
    cr_assert_eq(find("A", "1")->state, LM_RECORD_RETIRED);
    cr_assert_eq(find("A", "2")->state, LM_RECORD_RETIRED);
    cr_assert_eq(find("A", "3")->state, LM_RECORD_HOLDING);
    cr_assert_eq(find("A", "0")->state, LM_RECORD_HOLDING, "the first one stays");
}

Test(core_table, s11b_another_mode_is_refused_once_and_for_all)
{
    acquire("a", "A", "1");
    lm_effect_t answer = acquire_shared("a", "A", "2");
    cr_assert_eq(answer.kind, LM_EFFECT_FINISHED);
    cr_assert_eq(answer.code, LM_RC_MODE_MISMATCH);
    acquire_shared("a", "B", "1");
    cr_assert_eq(acquire("a", "B", "2").code, LM_RC_MODE_MISMATCH, "waits in another mode");
}

/* ---- S12: repeats ---------------------------------------------------------------------------- */

Test(core_table, s12_same_id_of_two_owners_are_two_requests)
{
    acquire("a", "A", "1");
    cr_assert_eq(acquire("a", "B", "1").kind, LM_EFFECT_QUEUED);
}

Test(core_table, s12_same_key_with_another_body_is_refused)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    lm_command_t other = acquire_command("b", "A", "1");
    other.body_hash = 99;
    assert_refused(apply(other).items[0], LM_RC_REQUEST_REUSED);
    assert_refused(release("a", "A", "1", hold, 0).items[0], LM_RC_REQUEST_REUSED);
    const lm_record_t *record;
    lm_request_key_t key = key_of("A", "1");
    cr_assert_eq(lm_table_lookup(table, LM_COMMAND_ACQUIRE, &key, 99, &record),
                 LM_RC_REQUEST_REUSED);
    cr_assert_null(record);
    cr_assert_eq(lm_table_lookup(table, LM_COMMAND_ACQUIRE, &key, 0, &record), LM_RC_OK);
    cr_assert_eq(record->seat.number, hold);
}

Test(core_table, s12_repeated_release_gets_the_recorded_result)
{
    lm_effect_t granted = acquire("a", "A", "1");
    uint64_t hold = granted.hold;
    int64_t token = lm_record_token(granted.record);
    release("a", "A", "2", hold, 0);
    acquire("a", "B", "1");
    lm_effects_t repeat = release("a", "A", "2", hold, 0);
    cr_assert_eq(repeat.n, 1);
    cr_assert_eq(repeat.items[0].kind, LM_EFFECT_FINISHED);
    cr_assert_eq(repeat.items[0].end, LM_END_RELEASED);
    cr_assert_eq(lm_record_token(repeat.items[0].record), token);
    cr_assert_eq(find("B", "1")->state, LM_RECORD_HOLDING);
}

Test(core_table, s12_held_is_an_answer_that_stays)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    lm_command_t command = acquire_command("a", "B", "1");
    command.wait = false;
    cr_assert_eq(apply(command).items[0].end, LM_END_HELD);
    release("a", "A", "2", hold, 0);
    lm_effect_t repeat = apply(command).items[0];
    cr_assert_eq(repeat.kind, LM_EFFECT_FINISHED);
    cr_assert_eq(repeat.end, LM_END_HELD);
}

Test(core_table, s12a_a_copy_that_was_seen_finished_is_not_executed)
{
    lm_command_t copy = acquire_command("a", "A", "1");
    copy.seen = true;
    assert_refused(apply(copy).items[0], LM_RC_OUTCOME_UNKNOWN);
    cr_assert_null(find("A", "1"));
}

Test(core_table, s12a_a_copy_from_before_an_evicted_end_is_not_executed)
{
    lead_with_ring(1);
    uint64_t hold = acquire("a", "A", "1").hold;
    lm_command_t frozen = acquire_command("a", "A", "1"); /* stamped while A holds */
    release("a", "A", "2", hold, 0); /* two records finish, the ring keeps one */
    cancel("B", "1");
    cr_assert_null(find("A", "1"));
    cr_assert_null(find("A", "2"));
    assert_refused(apply(frozen).items[0], LM_RC_OUTCOME_UNKNOWN);
    cr_assert_null(lm_table_lock(table, lm_bytes_of("a")));
    cr_assert_eq(acquire("a", "A", "3").kind, LM_EFFECT_ACQUIRED, "a fresh one is");
}

Test(core_table, s12a_waits_and_holds_are_never_evicted)
{
    lead_with_ring(1);
    acquire("a", "A", "1");
    acquire("a", "B", "1");
    char id[16];
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        cancel("C", id);
    }
    cr_assert_eq(find("A", "1")->state, LM_RECORD_HOLDING);
    cr_assert_eq(find("B", "1")->state, LM_RECORD_WAITING);
    cr_assert_eq(lm_table_counts(table).records, 3);
}

Test(core_table, s12a_a_smaller_ring_evicts_at_once)
{
    char id[16];
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "%d", i);
        cancel("C", id);
    }
    lead_with_ring(3);
    cr_assert_eq(lm_table_counts(table).records, 3);
    cr_assert_null(find("C", "6"));
    cr_assert_not_null(find("C", "7"));
}

Test(core_table, s12a_seen_says_that_a_finished_record_is_present)
{
    lm_request_key_t key = key_of("A", "1");
    cr_assert_not(lm_table_seen(table, &key));
    uint64_t hold = acquire("a", "A", "1").hold;
    cr_assert_not(lm_table_seen(table, &key));
    release("a", "A", "2", hold, 0);
    cr_assert(lm_table_seen(table, &key));
}

/* ---- quotas ---------------------------------------------------------------------------------- */

Test(core_table, quotas_at_the_limit_and_one_beyond)
{
    lm_settings_t settings = lm_settings_default();
    settings.waiters_per_lock_max = 2;
    settings.holds_per_owner_max = 2;
    settings.locks_max = 3;
    take_over(leader, settings);
    acquire("a", "A", "1");
    cr_assert_eq(acquire("a", "B", "1").kind, LM_EFFECT_QUEUED);
    cr_assert_eq(acquire("a", "C", "1").kind, LM_EFFECT_QUEUED);
    assert_refused(acquire("a", "D", "1"), LM_RC_QUOTA_EXCEEDED);
    cr_assert_eq(acquire("b", "A", "2").kind, LM_EFFECT_ACQUIRED);
    assert_refused(acquire("c", "A", "3"), LM_RC_QUOTA_EXCEEDED);
    cr_assert_eq(acquire("c", "B", "2").kind, LM_EFFECT_ACQUIRED, "a wait and a hold");
    assert_refused(acquire("d", "D", "2"), LM_RC_QUOTA_EXCEEDED);
    cr_assert_eq(acquire("a", "A", "4").kind, LM_EFFECT_ACQUIRED, "returning a hold takes nothing");
}

/* ---- reading --------------------------------------------------------------------------------- */

static void append_name(void *arg, const lm_record_t *record)
{
    lm_request_key_t key = lm_record_key(record);
    strncat(arg, (const char *)key.owner.data, 1);
}

Test(core_table, each_goes_by_creation)
{
    uint64_t hold = acquire("b", "A", "1").hold;
    acquire("b", "B", "1");
    acquire("a", "C", "1");
    acquire("c", "D", "1");
    release("b", "A", "2", hold, 0); /* B holds now, under a later number */
    acquire("a", "E", "1");
    char order[16] = "";
    lm_table_each(table, append_name, order);
    cr_assert_str_eq(order, "BCDE");
}

static void assert_seek(const char *prefix, const char *from, bool after, const char *expected)
{
    const lm_entry_t *lock = lm_table_seek(table, lm_bytes_of(prefix), lm_bytes_of(from), after);
    if (!expected) {
        cr_assert_null(lock);
    } else {
        cr_assert_not_null(lock);
        cr_assert(lm_bytes_equal(lm_entry_name(lock), lm_bytes_of(expected)));
    }
}

Test(core_table, seek_walks_a_prefix_by_name)
{
    const char *names[] = {"b/2", "a/1", "b/1", "b", "c", "b/10"};
    char id[8];
    for (int i = 0; i < 6; i++) {
        snprintf(id, sizeof id, "%d", i);
        acquire(names[i], "A", id);
    }
    assert_seek("", "", false, "a/1");
    assert_seek("b/", "", false, "b/1");
    assert_seek("b/", "b/1", true, "b/10");
    assert_seek("b/", "b/10", true, "b/2");
    assert_seek("b/", "b/2", true, NULL);
    assert_seek("b/", "b/2", false, "b/2");
    assert_seek("b", "b", true, "b/1");
    assert_seek("b", "a", true, "b");
    assert_seek("c", "z", false, NULL);
    assert_seek("d", "", false, NULL);
}

Test(core_table, holds_and_waits_are_found_by_owner_and_by_number)
{
    uint64_t hold = acquire("a", "A", "1").hold;
    char owner[16];
    for (int i = 0; i < 40; i++) { /* enough for a crowd */
        snprintf(owner, sizeof owner, "B%d", i);
        cr_assert_eq(acquire("a", owner, "1").wait_number, hold + 1 + (uint64_t)i);
    }
    lm_bytes_t name = lm_bytes_of("a"), none = lm_bytes_of("");
    const lm_record_t *found = lm_table_of_owner(table, name, none, lm_bytes_of("B33"));
    cr_assert_eq(found, find("B33", "1"));
    cr_assert_eq(lm_table_wait(table, hold + 34), found);
    cr_assert_null(lm_table_hold(table, hold + 34));
    cr_assert_eq(lm_table_hold(table, hold), find("A", "1"));
    cr_assert_null(lm_table_of_owner(table, name, none, lm_bytes_of("C")));
    cr_assert_null(lm_table_of_owner(table, lm_bytes_of("b"), none, lm_bytes_of("A")));
    for (int i = 0; i < 40; i++) {
        snprintf(owner, sizeof owner, "B%d", i);
        cancel(owner, "1");
        lm_table_verify(table);
    }
    lm_table_counts_t counts = lm_table_counts(table);
    cr_assert_eq(counts.locks, 1);
    cr_assert_eq(counts.waiters, 0);
    cr_assert_eq(counts.records, 41);
}

Test(core_table, fence_token_at_its_limits)
{
    cr_assert_eq(lm_fence_token(0, 1), 1);
    cr_assert_eq(lm_fence_token(INT16_MAX, (UINT64_C(1) << 48) - 1), INT64_MAX);
}
