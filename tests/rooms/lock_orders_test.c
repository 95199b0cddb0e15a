/* S10c: what happens to one wait or hold in every order of a few things.
 *
 * A run is a text, one letter per step:
 *   1 2 3  owner b asks for x; 1 and 2 with the same id, 3 with another one; all want to wait
 *   g h i  their callers leave, in that order
 *   u      the answer to 1, if it was granted, found nobody
 *   x      b cancels the id of 1 and 2
 *   R      a, who may hold x, releases it
 *   C      raft takes what is proposed, and one entry is applied
 *   F      raft refuses what is proposed
 *   Q      raft answers rounds of reads
 *   T      two seconds pass: the time to wait is over
 *
 * After every step: whoever was told "granted" and has it holds the lock. After the last one, with
 * everything run out: everybody who still listens was answered, and nothing is held or waits on
 * behalf of somebody who has gone. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "lock_rig.h"

typedef struct {
    rig_t *rig;
    const char *steps;
    uint64_t holder; /* a's call; 0: it never held */
    int releases;
    uint64_t calls[3];
    bool left[3]; /* before it was answered */
    bool undelivered;
    bool cancelled;
    uint64_t cancel; /* the call; 0: none */
} run_t;

static const lm_lock_value_t *lock_of(run_t *run)
{
    const lm_entry_t *lock = lm_table_lock(lm_lock_room_table(run->rig->room), lm_bytes_of("x"));
    return lock ? lm_entry_value(lock) : NULL;
}

/* Token that the owner has been told and believes in; 0: none. */
static int64_t belief(run_t *run)
{
    int64_t token = 0;
    for (int i = 0; i < 3; i++) {
        if (!run->calls[i] || run->left[i] || (i == 0 && run->undelivered)) continue;
        const lm_peer_lock_answer_t *answer = rig_answer(run->rig, run->calls[i]);
        if (answer && answer->acquire && answer->acquire->result == LM_API_ACQUIRE_RESULT_GRANTED)
            token = answer->acquire->token;
    }
    const lm_peer_lock_answer_t *answer = run->cancel ? rig_answer(run->rig, run->cancel) : NULL;
    if (answer && answer->cancel && answer->cancel->result == LM_API_CANCEL_RESULT_GRANTED)
        token = answer->cancel->token;
    return token;
}

static void check_belief(run_t *run, size_t at)
{
    int64_t token = belief(run);
    if (!token) return;
    const lm_lock_value_t *lock = lock_of(run);
    cr_assert(lock && lm_lock_token(lock) == token,
              "step %zu of %s: b was told that it holds x, and does not", at, run->steps);
}

static void ask(run_t *run, int i)
{
    cr_assert(!run->calls[i]);
    run->calls[i] = RIG_ACQUIRE(run->rig, .owner = "b", .id = i == 2 ? "3" : "1", .name = "x",
                                .ttl_ms = 100000, .wait_ms = 2000);
}

static void leave(run_t *run, int i)
{
    if (!run->calls[i] || rig_answer(run->rig, run->calls[i])) return;
    run->left[i] = true;
    rig_gone(run->rig, run->calls[i]);
}

static void release(run_t *run)
{
    if (!run->holder) return;
    const char *id =
        lm_arena_text(run->rig->arena, lm_arena_print(run->rig->arena, "r%d", ++run->releases));
    rig_release(
        run->rig,
        (rig_call_t){
            .owner = "a", .id = id, .name = "x", .hold_id = rig_hold_id(run->rig, run->holder)});
}

static void step(run_t *run, char what)
{
    switch (what) {
    case '1':
    case '2':
    case '3': ask(run, what - '1'); break;
    case 'g':
    case 'h':
    case 'i': leave(run, what - 'g'); break;
    case 'u':
        if (run->calls[0] && strcmp(rig_said(run->rig, run->calls[0]), "granted") == 0 &&
            !run->left[0]) {
            run->undelivered = true;
            rig_undelivered(run->rig, run->calls[0]);
        }
        break;
    case 'x':
        run->cancelled = true;
        run->cancel = rig_cancel(run->rig, (rig_call_t){.owner = "b", .id = "1"});
        break;
    case 'R': release(run); break;
    case 'C':
        rig_accept(run->rig);
        rig_deliver(run->rig, 1);
        break;
    case 'F': rig_refuse(run->rig, LM_RC_OVERLOADED); break;
    case 'Q': rig_reads(run->rig); break;
    case 'T': lm_test_advance(run->rig->host, 2000000); break;
    default: cr_assert(false);
    }
    lm_lock_room_verify(run->rig->room);
}

static void run_out(run_t *run)
{
    for (int i = 0; i < 6; i++) {
        rig_settle(run->rig);
        rig_reads(run->rig);
        lm_test_advance(run->rig->host, 150000);
    }
}

/* Without further faults everybody is answered, and what nobody has heard of is gone. */
static void check_end(run_t *run)
{
    release(run); /* again: raft may have refused it */
    run_out(run);
    check_belief(run, strlen(run->steps));
    for (int i = 0; i < 3; i++) {
        if (!run->calls[i] || run->left[i]) continue;
        cr_assert_str_neq(rig_said(run->rig, run->calls[i]), "none", "call %d of %s hears nothing",
                          i + 1, run->steps);
    }
    lm_test_advance(run->rig->host, 4000000);
    run_out(run);
    const lm_lock_value_t *lock = lock_of(run);
    bool may_hold = belief(run) || run->cancelled;
    cr_assert(may_hold || !lock, "%s: x is held or waited for on behalf of nobody", run->steps);
    cr_assert_eq(lm_lock_room_calls(run->rig->room), 0);
    cr_assert_eq(lm_lock_room_commands(run->rig->room), 0);
}

static void run_steps(const char *steps, bool held)
{
    run_t run = {.rig = rig_leading(), .steps = steps};
    lm_test_advance(run.rig->host, 3100000); /* the time of grace is a matter of other tests */
    if (held) run.holder = rig_take(run.rig, "a", "x", 300000);
    for (size_t at = 0; steps[at]; at++) {
        step(&run, steps[at]);
        check_belief(&run, at);
    }
    check_end(&run);
    rig_destroy(&run.rig);
}

/* ---- all orders ------------------------------------------------------------------------------ */

static bool before(const char *text, size_t end, char a)
{
    for (size_t i = 0; i < end; i++)
        if (text[i] == a) return true;
    return false;
}

/* A caller leaves only after it has asked. */
static bool makes_sense(const char *text, size_t at)
{
    static const char needs[][2] = {{'g', '1'}, {'h', '2'}, {'i', '3'}, {'u', '1'}};
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (text[at] == needs[i][0] && !before(text, at, needs[i][1])) return false;
    return true;
}

typedef struct {
    char text[16];
    size_t begin, end;
    bool held;
    size_t runs;
} orders_t;

static void permute(orders_t *orders, size_t at)
{
    if (at == orders->end) {
        run_steps(orders->text, orders->held);
        orders->runs++;
        return;
    }
    bool tried[128] = {false};
    for (size_t i = at; i < orders->end; i++) {
        char c = orders->text[i];
        if (tried[(int)c]) continue;
        tried[(int)c] = true;
        orders->text[i] = orders->text[at];
        orders->text[at] = c;
        if (makes_sense(orders->text, at)) permute(orders, at + 1);
        orders->text[at] = orders->text[i];
        orders->text[i] = c;
    }
}

/* Runs first, then every order of rest. */
static void all_orders(bool held, const char *first, const char *rest)
{
    orders_t orders = {.begin = strlen(first), .held = held};
    snprintf(orders.text, sizeof orders.text, "%s%s", first, rest);
    orders.end = strlen(orders.text);
    permute(&orders, orders.begin);
    cr_assert(orders.runs > 10, "%zu runs", orders.runs);
}

Test(lock_orders, s10c_leave_and_grant_and_repeat) { all_orders(true, "1C", "Rg2CCC"); }

Test(lock_orders, s10c_leave_and_two_repeats) { all_orders(true, "1C", "Rg2hCCC"); }

Test(lock_orders, s10c_leave_and_another_id) { all_orders(true, "1C", "Rg3iCC"); }

Test(lock_orders, s10c_another_id_in_flight) { all_orders(true, "", "13gRCCC"); }

Test(lock_orders, s10c_timeout_and_grant_and_repeat) { all_orders(true, "1C", "TR2CCC"); }

Test(lock_orders, s10c_timeout_and_leave) { all_orders(true, "1C", "Tg3RCCC"); }

Test(lock_orders, s10c_abandon_and_repeat) { all_orders(false, "1", "g2hCCC"); }

Test(lock_orders, s10c_abandon_and_another_id) { all_orders(false, "1", "g3iCCC"); }

Test(lock_orders, s10c_undelivered_and_repeat) { all_orders(false, "1C", "u2Q3iCC"); }

Test(lock_orders, s10c_refusals_unpark) { all_orders(true, "1C", "gF2RCC"); }

Test(lock_orders, s10c_refused_abandon) { all_orders(false, "1", "gCF2CF"); }

Test(lock_orders, s10d_cancel_acquire_and_its_copies) { all_orders(false, "", "1x2CCC"); }

Test(lock_orders, s10d_cancel_and_abandon) { all_orders(false, "1", "gx2CCC"); }

Test(lock_orders, s10c_cancel_in_flight_and_abandon) { all_orders(false, "1", "xgCCC2"); }

Test(lock_orders, s10d_cancel_and_leave) { all_orders(true, "1C", "gx2RCCC"); }

Test(lock_orders, s10d_cancel_and_another_id) { all_orders(true, "1C", "x3RCCg"); }
