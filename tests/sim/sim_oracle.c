/* What the region must have done, by rules that are written down here a second time.
 *
 * Every entry is applied here once, at the moment of its first commit, to a table of its own; every
 * lock room must have the same hash at the same entry. What that table says it did is held against
 * rules of its own making: who may hold beside whom, which token is next, what may end a hold. And
 * both are held against what clients were told and still believe.
 *
 * Invariants
 *   O1  A hold in which its owner believes does not end but by his own Release (S2, S6, S7, S8,
 *       S10, S11b).
 *   O2  Beliefs of two owners in one name overlap only if both are shared (S6).
 *   O3  Tokens of one name grow with every change of ownership (S1, S3).
 *   O4  A request that has ended is not executed again by a copy that was stamped before (S12a).
 *   O6  A numbered request that has ended, or that its session was done with, is not executed
 * again, whatever its stamp says (S12b); nothing is executed in a session that has ended (S12c). O5
 * What was acknowledged is in the log; what is read is not older than what was acknowledged (S22).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "lock_state.h"
#include "sim.h"
#include "wire_command.h"

enum { HOLDERS_MAX = 32, GENERIC = -1 };

typedef unsigned long long ull_t;

typedef struct {
    uint64_t number; /* of the hold, or of the wait */
    uint64_t claim, basis;
    uint64_t renewed_us; /* when its last Renew was committed */
    int64_t token;
    lm_mode_t mode;
    char owner[16];
} seat_t;

typedef struct {
    seat_t holders[HOLDERS_MAX], waiters[HOLDERS_MAX];
    size_t n_holders, n_waiters;
    int64_t best_token;
    /* what clients were told */
    int64_t told_token;
    uint64_t told_hold;
    lm_mode_t told_mode;
} name_t;

typedef struct {
    uint64_t arrived;  /* op_seq when the last copy was stamped; UINT64_MAX: not known. A copy that
                          waits at a lock that is not current is stamped when that has caught up:
                          until then it is as good as not arrived (S12b) */
    uint64_t finished; /* op_seq of its end; 0: it has not ended */
    bool cancelled;    /* while it held: its end leaves it retired */
    bool applied;      /* something has come of it */
    bool disowned;     /* its client was told that nothing has, and has not asked again */
} op_t;

typedef struct {
    uint64_t hash, op_seq;
    lm_pair_t pair;
} state_t;

typedef struct {
    uint64_t number, basis, done_below;
    int client;
    bool lives;
} session_t;

struct sim_oracle {
    lm_table_t *table;
    lm_arena_t *arena;
    state_t *states; /* by index */
    uint64_t n, room;
    lm_pair_t pair, announced; /* in force; of the last Takeover in the log */
    name_t names[SIM_NAMES_MAX];
    sim_belief_t beliefs[SIM_CLIENTS_MAX];
    op_t *ops[SIM_CLIENTS_MAX];
    uint64_t ops_room[SIM_CLIENTS_MAX];
    uint64_t heard;      /* highest op_seq in any answer */
    session_t *sessions; /* all there ever were */
    size_t n_sessions;
    uint64_t *ends; /* op_seq at which a hold ended, by hold */
    uint64_t ends_room;
    uint64_t looked[SIM_NODES_MAX];
    uint32_t looked_counter[SIM_NODES_MAX];
    uint64_t restores[SIM_NODES_MAX];
};

/* ---- who and what ---------------------------------------------------------------------------- */

static name_t *name_of(sim_t *sim, lm_bytes_t name)
{
    int i = name.size == 1 ? name.data[0] - 'x' : -1;
    if (i < 0 || i >= SIM_NAMES_MAX) sim_fail(sim, "ORACLE", "a lock that nobody asked for");
    return &sim->oracle->names[i];
}

static session_t *session_at(const sim_oracle_t *oracle, uint64_t number)
{
    for (size_t i = 0; i < oracle->n_sessions; i++)
        if (oracle->sessions[i].number == number) return &oracle->sessions[i];
    return NULL;
}

/* An owner is a client, or a session of one. */
static int client_of(const sim_oracle_t *oracle, lm_bytes_t owner)
{
    uint64_t number = lm_number_of_text(owner);
    const session_t *session = number ? session_at(oracle, number) : NULL;
    if (session) return session->client;
    return owner.size == 2 && owner.data[0] == 'c' ? owner.data[1] - '0' : GENERIC;
}

static op_t *op_at(sim_oracle_t *oracle, int client, uint64_t op)
{
    uint64_t *room = &oracle->ops_room[client];
    if (op >= *room) {
        uint64_t bigger = 2 * op + 64;
        oracle->ops[client] = lm_realloc(oracle->ops[client], bigger * sizeof(op_t));
        memset(oracle->ops[client] + *room, 0, (bigger - *room) * sizeof(op_t));
        *room = bigger;
    }
    return &oracle->ops[client][op];
}

/* The operation that a request id names; NULL: a generic client's. */
static op_t *op_of(sim_oracle_t *oracle, const lm_request_key_t *key)
{
    int client = client_of(oracle, key->owner);
    if (client < 0 || client >= SIM_CLIENTS_MAX) return NULL;
    uint64_t number = lm_number_of_text(key->request_id);
    if (number) return op_at(oracle, client, number);
    if (key->request_id.size < 2 || key->request_id.size > 10 || key->request_id.data[0] != 'r')
        return NULL;
    uint64_t op = 0;
    for (size_t i = 1; i < key->request_id.size; i++)
        op = op * 10 + (uint64_t)(key->request_id.data[i] - '0');
    return op_at(oracle, client, op);
}

static seat_t *find(seat_t *seats, size_t n, uint64_t number)
{
    for (size_t i = 0; i < n; i++)
        if (seats[i].number == number) return &seats[i];
    return NULL;
}

static void take_out(seat_t *seats, size_t *n, seat_t *seat)
{
    memmove(seat, seat + 1, (size_t)(&seats[*n] - seat - 1) * sizeof *seat);
    --*n;
}

static void name_owner(const sim_oracle_t *oracle, lm_bytes_t owner, char name[16])
{
    if (lm_number_of_text(owner))
        snprintf(name, 16, "c%d", client_of(oracle, owner));
    else
        snprintf(name, 16, "%.*s", LM_BYTES_ARG(owner));
}

static seat_t *put_in(sim_t *sim, seat_t *seats, size_t *n, uint64_t number, lm_mode_t mode,
                      lm_bytes_t owner)
{
    if (*n == HOLDERS_MAX) sim_fail(sim, "ORACLE", "too many at one lock");
    seat_t *seat = &seats[(*n)++];
    *seat = (seat_t){.number = number, .mode = mode};
    name_owner(sim->oracle, owner, seat->owner);
    return seat;
}

/* ---- rules of what is applied ---------------------------------------------------------------- */

static void begin_hold(sim_t *sim, name_t *name, uint64_t hold, const lm_record_t *record)
{
    lm_request_key_t key = lm_record_key(record);
    lm_mode_t mode = lm_seat_mode(&record->seat);
    bool alone = name->n_holders == 0;
    if (!alone && (mode == LM_MODE_EXCLUSIVE || name->holders[0].mode == LM_MODE_EXCLUSIVE))
        sim_fail(sim, "DOUBLE-HOLD", "%.*s is granted beside %s", LM_BYTES_ARG(key.owner),
                 name->holders[0].owner);
    if (alone ? lm_record_token(record) <= name->best_token
              : lm_record_token(record) != name->best_token)
        sim_fail(sim, alone ? "S1" : "S3", "hold %llu has token %lld, the last one was %lld",
                 (ull_t)hold, (long long)lm_record_token(record), (long long)name->best_token);
    name->best_token = lm_record_token(record);
    seat_t *seat = put_in(sim, name->holders, &name->n_holders, hold, mode, key.owner);
    seat->token = lm_record_token(record);
    seat->claim = record->claim;
    seat->basis = hold;
}

/* O6 */
static void check_session(sim_t *sim, const lm_command_t *command, const op_t *op)
{
    const session_t *session = session_at(sim->oracle, command->session);
    if (!session || !session->lives)
        sim_fail(sim, "S12c", "session %llu has ended, and a request in it is executed",
                 (ull_t)command->session);
    uint64_t number = command->request_number;
    if (number && number < session->done_below)
        sim_fail(sim, "S12b", "number %llu of session %llu is executed, which is done below %llu",
                 (ull_t)number, (ull_t)session->number, (ull_t)session->done_below);
    if (number && op && op->finished)
        sim_fail(sim, "S12b", "number %llu of session %llu ended at %llu and is executed again",
                 (ull_t)number, (ull_t)session->number, (ull_t)op->finished);
}

static void check_copy(sim_t *sim, const lm_command_t *command)
{
    const op_t *op = op_of(sim->oracle, &command->key);
    if (command->session) check_session(sim, command, op);
    if (!op || !op->finished || command->request_number) return;
    if (command->seen || command->stamp < op->finished)
        sim_fail(sim, "S12a", "%.*s of %.*s ended at %llu and is executed again, stamped %llu",
                 LM_BYTES_ARG(command->key.request_id), LM_BYTES_ARG(command->key.owner),
                 (ull_t)op->finished, (ull_t)command->stamp);
    if (op->arrived < op->finished)
        sim_fail(sim, "S12a", "%.*s of %.*s ended at %llu, its last copy was stamped at %llu",
                 LM_BYTES_ARG(command->key.request_id), LM_BYTES_ARG(command->key.owner),
                 (ull_t)op->finished, (ull_t)op->arrived);
}

static void on_acquire(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    name_t *name = name_of(sim, command->name);
    uint64_t hold = effect->hold, wait = effect->wait_number;
    if (effect->kind == LM_EFFECT_ACQUIRED && !find(name->holders, name->n_holders, hold)) {
        check_copy(sim, command);
        if (name->n_waiters) sim_fail(sim, "FIFO", "hold %llu overtakes the queue", (ull_t)hold);
        begin_hold(sim, name, hold, effect->record);
    } else if (effect->kind == LM_EFFECT_QUEUED && !find(name->waiters, name->n_waiters, wait)) {
        check_copy(sim, command);
        put_in(sim, name->waiters, &name->n_waiters, wait, command->mode, command->key.owner);
    } else if (effect->kind == LM_EFFECT_ACQUIRED || effect->kind == LM_EFFECT_QUEUED) {
        seat_t *seat = effect->kind == LM_EFFECT_ACQUIRED
                           ? find(name->holders, name->n_holders, hold)
                           : find(name->waiters, name->n_waiters, wait);
        char owner[16];
        name_owner(sim->oracle, command->key.owner, owner);
        if (strcmp(owner, seat->owner) != 0)
            sim_fail(sim, "S12", "%s is given what %s has", owner, seat->owner);
    } else if (effect->kind == LM_EFFECT_FINISHED && effect->code == LM_RC_OK && effect->record) {
        op_t *op = op_of(sim->oracle, &command->key);
        if (op && !op->finished) op->finished = effect->op_seq;
    }
}

static void on_release(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    name_t *name = name_of(sim, command->name);
    const seat_t *seat = effect->hold ? find(name->holders, name->n_holders, effect->hold) : NULL;
    if (!effect->hold) return;
    if (!seat || seat->claim != command->claim)
        sim_fail(sim, "S11b", "hold %llu is released by claim %llu, its claim is %llu",
                 (ull_t)effect->hold, (ull_t)command->claim, (ull_t)(seat ? seat->claim : 0));
}

static void on_renew(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    name_t *name = name_of(sim, command->name);
    if (effect->kind != LM_EFFECT_RENEWED) return;
    seat_t *seat = find(name->holders, name->n_holders, effect->hold);
    if (!seat || seat->claim != command->claim)
        sim_fail(sim, "S11b", "hold %llu is renewed by claim %llu", (ull_t)effect->hold,
                 (ull_t)command->claim);
    seat->basis = effect->op_seq;
    seat->renewed_us = sim->now_us;
}

/* Expire, Leave, Abandon, WaitTimeout. */
static void on_verdict(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    sim_oracle_t *oracle = sim->oracle;
    if (effect->kind == LM_EFFECT_VOID) {
        sim_probe(sim, SIM_PROBE_VERDICT_VOID);
        return;
    }
    if (lm_pair_compare(command->pair, oracle->pair) != 0)
        sim_fail(sim, "S8", "command %d of another leadership counts", (int)command->kind);
    if (command->kind == LM_COMMAND_EXPIRE_SESSION) {
        const session_t *session = session_at(oracle, command->session);
        sim_probe(sim, SIM_PROBE_SESSION_EXPIRED);
        if (!session || !session->lives || session->basis != command->basis)
            sim_fail(sim, "S2", "session %llu expires on the ground of %llu, kept alive at %llu",
                     (ull_t)command->session, (ull_t)command->basis,
                     (ull_t)(session ? session->basis : 0));
    }
    if (command->kind != LM_COMMAND_EXPIRE) return;
    name_t *name = name_of(sim, command->name);
    const seat_t *seat = find(name->holders, name->n_holders, command->hold);
    if (!seat || seat->basis != command->basis)
        sim_fail(sim, "S2", "hold %llu expires on the ground of %llu, renewed at %llu",
                 (ull_t)command->hold, (ull_t)command->basis, (ull_t)(seat ? seat->basis : 0));
}

/* One that is not greater is void, but nothing puts one into the log behind a greater one: terms
 * grow, within a term raft takes them of the lock that attached last, and that lock tries again
 * only if the one before is certainly not there. */
static void on_takeover(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    sim_oracle_t *oracle = sim->oracle;
    bool greater = lm_pair_compare(command->pair, oracle->pair) > 0;
    if (effect->kind != LM_EFFECT_TAKEN_OVER || !greater)
        sim_fail(sim, "S8", "a Takeover of term %llu after one of term %llu",
                 (ull_t)command->pair.term, (ull_t)oracle->pair.term);
    oracle->pair = command->pair;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void on_open_session(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    sim_oracle_t *oracle = sim->oracle;
    if (effect->kind != LM_EFFECT_SESSION_OPENED) return;
    const session_t *known = session_at(oracle, effect->session);
    int client = client_of(oracle, command->key.owner);
    if (known && (!known->lives || known->client != client))
        sim_fail(sim, "S12", "client %d is given session %llu", client, (ull_t)effect->session);
    if (known) return;
    check_copy(sim, command);
    sim_probe(sim, SIM_PROBE_SESSION_OPENED);
    oracle->sessions =
        lm_realloc(oracle->sessions, (oracle->n_sessions + 1) * sizeof *oracle->sessions);
    oracle->sessions[oracle->n_sessions++] = (session_t){
        .number = effect->session, .basis = effect->op_seq, .client = client, .lives = true};
}

static void on_keep_alive(sim_t *sim, const lm_effect_t *effect)
{
    session_t *session = session_at(sim->oracle, effect->session);
    if (effect->kind != LM_EFFECT_SESSION_KEPT) return;
    sim_probe(sim, SIM_PROBE_SESSION_KEPT);
    if (!session || !session->lives)
        sim_fail(sim, "S12c", "session %llu has ended and is kept alive", (ull_t)effect->session);
    session->basis = effect->op_seq;
}

static void on_session_ended(sim_t *sim, const lm_effect_t *effect)
{
    session_t *session = session_at(sim->oracle, effect->session);
    if (!session || !session->lives)
        sim_fail(sim, "ORACLE", "session %llu ends, which nobody has", (ull_t)effect->session);
    if (effect->end == LM_END_SESSION_CLOSED) sim_probe(sim, SIM_PROBE_SESSION_CLOSED);
    session->lives = false;
    op_t *op = op_of(sim->oracle, &effect->key);
    if (op) op->finished = effect->op_seq;
}

/* Before what the command itself does is judged, but not before it is let in. */
static void note_done(sim_t *sim, const lm_command_t *command)
{
    session_t *session = command->session ? session_at(sim->oracle, command->session) : NULL;
    if (session && session->lives && command->done_below > session->done_below)
        session->done_below = command->done_below;
}

static void count_refusal(sim_t *sim, lm_rc_t code)
{
    if (code == LM_RC_OUTCOME_UNKNOWN) sim_probe(sim, SIM_PROBE_COPY_REFUSED);
    if (code == LM_RC_WINDOW_FULL) sim_probe(sim, SIM_PROBE_WINDOW_FULL);
}

/* ---- consequences ---------------------------------------------------------------------------- */

/* O1: nobody may believe in it any more. */
static void check_believers(sim_t *sim, uint64_t hold, lm_end_t end)
{
    for (int i = 0; i < sim->n_clients; i++) {
        const sim_belief_t *belief = &sim->oracle->beliefs[i];
        if (belief->hold != hold || belief->until_us <= sim->now_us) continue;
        static const char *const rules[] = {
            [LM_END_RELEASED] = "S11b", [LM_END_EXPIRED] = "S6", [LM_END_ABANDONED] = "S10a"};
        sim_fail(sim, end <= LM_END_ABANDONED && rules[end] ? rules[end] : "S6",
                 "hold %llu has ended (%d), client %d believes in it for %llu us more", (ull_t)hold,
                 (int)end, i, (ull_t)(belief->until_us - sim->now_us));
    }
}

static void finish_op(sim_t *sim, const lm_effect_t *effect)
{
    op_t *op = op_of(sim->oracle, &effect->key);
    bool forgotten = !effect->record && effect->end == LM_END_ABANDONED;
    if (op && op->cancelled && forgotten)
        sim_fail(sim, "S10d", "%.*s of %.*s was cancelled and is unknown after its end",
                 LM_BYTES_ARG(effect->key.request_id), LM_BYTES_ARG(effect->key.owner));
    if (forgotten) return;
    if (op && !op->finished) op->finished = effect->op_seq;
}

static void note_end(sim_oracle_t *oracle, const lm_effect_t *effect)
{
    if (effect->hold >= oracle->ends_room) {
        uint64_t bigger = 2 * effect->hold + 64;
        oracle->ends = lm_realloc(oracle->ends, bigger * sizeof *oracle->ends);
        memset(oracle->ends + oracle->ends_room, 0,
               (bigger - oracle->ends_room) * sizeof *oracle->ends);
        oracle->ends_room = bigger;
    }
    oracle->ends[effect->hold] = effect->op_seq;
}

static void on_hold_ended(sim_t *sim, const lm_effect_t *effect)
{
    static const sim_probe_t probes[] = {[LM_END_RELEASED] = SIM_PROBE_RELEASED,
                                         [LM_END_EXPIRED] = SIM_PROBE_EXPIRED,
                                         [LM_END_ABANDONED] = SIM_PROBE_ABANDONED};
    name_t *name = name_of(sim, effect->name);
    seat_t *seat = find(name->holders, name->n_holders, effect->hold);
    if (!seat) sim_fail(sim, "ORACLE", "hold %llu ends, which nobody has", (ull_t)effect->hold);
    check_believers(sim, effect->hold, effect->end);
    if (effect->end <= LM_END_ABANDONED) sim_probe(sim, probes[effect->end]);
    if (!effect->record && effect->end != LM_END_ABANDONED)
        sim_probe(sim, SIM_PROBE_HOLD_WITH_SESSION);
    take_out(name->holders, &name->n_holders, seat);
    note_end(sim->oracle, effect);
    finish_op(sim, effect);
}

static void on_wait_ended(sim_t *sim, const lm_effect_t *effect)
{
    name_t *name = name_of(sim, effect->name);
    seat_t *seat = find(name->waiters, name->n_waiters, effect->wait_number);
    if (!seat) sim_fail(sim, "ORACLE", "wait %llu is unknown", (ull_t)effect->wait_number);
    sim_probe(sim, effect->end == LM_END_TIMED_OUT   ? SIM_PROBE_WAIT_TIMED_OUT
                   : effect->end == LM_END_CANCELLED ? SIM_PROBE_WAIT_CANCELLED
                                                     : SIM_PROBE_LEFT);
    take_out(name->waiters, &name->n_waiters, seat);
    finish_op(sim, effect);
}

static void on_granted(sim_t *sim, const lm_effect_t *effect)
{
    name_t *name = name_of(sim, effect->name);
    seat_t *seat = find(name->waiters, name->n_waiters, effect->wait_number);
    if (!seat || seat != name->waiters)
        sim_fail(sim, "FIFO", "wait %llu is granted and is not the first",
                 (ull_t)effect->wait_number);
    take_out(name->waiters, &name->n_waiters, seat);
    begin_hold(sim, name, effect->hold, effect->record);
    sim_probe(sim, SIM_PROBE_WAITER_GRANTED);
}

static void on_reattached(sim_t *sim, const lm_effect_t *effect)
{
    name_t *name = name_of(sim, effect->name);
    seat_t *seat = find(name->holders, name->n_holders, effect->hold);
    if (!seat || effect->record->claim != seat->claim + 1 ||
        lm_record_token(effect->record) != seat->token)
        sim_fail(sim, "S11b", "hold %llu is handed back as claim %llu", (ull_t)effect->hold,
                 (ull_t)effect->record->claim);
    seat->claim++;
    sim_probe(sim, SIM_PROBE_REATTACHED);
}

static void take_effect(sim_t *sim, const lm_effect_t *effect)
{
    switch (effect->kind) {
    case LM_EFFECT_HOLD_ENDED: on_hold_ended(sim, effect); break;
    case LM_EFFECT_WAIT_ENDED: on_wait_ended(sim, effect); break;
    case LM_EFFECT_GRANTED: on_granted(sim, effect); break;
    case LM_EFFECT_REATTACHED: on_reattached(sim, effect); break;
    case LM_EFFECT_SESSION_ENDED: on_session_ended(sim, effect); break;
    default: break;
    }
}

static void note_applied(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    bool counts = command->kind == LM_COMMAND_ACQUIRE || command->kind == LM_COMMAND_RELEASE;
    op_t *op =
        counts && effect->kind != LM_EFFECT_REFUSED ? op_of(sim->oracle, &command->key) : NULL;
    if (!op) return;
    if (op->disowned)
        sim_fail(sim, "S14", "%.*s of %.*s is applied, its client was told that it never will be",
                 LM_BYTES_ARG(command->key.request_id), LM_BYTES_ARG(command->key.owner));
    op->applied = true;
    bool begins = effect->kind == LM_EFFECT_QUEUED || effect->hold == effect->op_seq;
    if (begins) op->cancelled = false;
}

static void take_answer(sim_t *sim, const lm_command_t *command, const lm_effect_t *effect)
{
    note_done(sim, command);
    note_applied(sim, command, effect);
    switch (command->kind) {
    case LM_COMMAND_TAKEOVER: on_takeover(sim, command, effect); break;
    case LM_COMMAND_ACQUIRE: on_acquire(sim, command, effect); break;
    case LM_COMMAND_RELEASE: on_release(sim, command, effect); break;
    case LM_COMMAND_RENEW: on_renew(sim, command, effect); break;
    case LM_COMMAND_OPEN_SESSION: on_open_session(sim, command, effect); break;
    case LM_COMMAND_KEEP_ALIVE: on_keep_alive(sim, effect); break;
    case LM_COMMAND_CLOSE_SESSION: break; /* see on_session_ended */
    case LM_COMMAND_CANCEL: {
        op_t *op = op_of(sim->oracle, &command->key);
        bool over = effect->kind == LM_EFFECT_CANCELLED && !effect->hold;
        if (op && over && !op->finished) op->finished = effect->op_seq;
        if (op && effect->kind == LM_EFFECT_CANCELLED && effect->hold) op->cancelled = true;
        break;
    }
    default: on_verdict(sim, command, effect);
    }
    if (effect->kind == LM_EFFECT_REFUSED) count_refusal(sim, effect->code);
}

/* ---- entries --------------------------------------------------------------------------------- */

static void check_authority(sim_t *sim, const lm_command_t *command, uint64_t term)
{
    sim_oracle_t *oracle = sim->oracle;
    if (command->pair.term != term)
        sim_fail(sim, "S8", "command %d of term %llu is in an entry of term %llu",
                 (int)command->kind, (ull_t)command->pair.term, (ull_t)term);
    if (command->kind == LM_COMMAND_TAKEOVER) oracle->announced = command->pair;
    if (lm_pair_compare(command->pair, oracle->announced) != 0)
        sim_fail(sim, "S8",
                 "command %d of term %llu, start %u, stands behind a Takeover of %llu, %u",
                 (int)command->kind, (ull_t)command->pair.term, command->pair.counter,
                 (ull_t)oracle->announced.term, oracle->announced.counter);
}

static void apply_entry(sim_t *sim, uint64_t term, lm_bytes_t data)
{
    sim_oracle_t *oracle = sim->oracle;
    lm_command_t *commands;
    size_t n;
    lm_arena_reset(oracle->arena);
    lm_rc_t rc = lm_wire_command_decode(data, oracle->arena, &commands, &n, NULL);
    if (rc != LM_RC_OK) sim_fail(sim, "ORACLE", "an entry cannot be read: %s", lm_rc_name(rc));
    for (size_t i = 0; i < n; i++) {
        check_authority(sim, &commands[i], term);
        lm_effects_t effects = lm_table_apply(oracle->table, &commands[i]);
        lm_key_texts_t texts;
        commands[i].key = lm_command_key(&commands[i], &texts);
        for (size_t j = 0; j < effects.n; j++) {
            if (j == 0)
                take_answer(sim, &commands[i], &effects.items[j]);
            else
                take_effect(sim, &effects.items[j]);
        }
    }
}

void sim_oracle_committed(sim_t *sim, uint64_t index, uint64_t term, uint32_t type, lm_bytes_t data)
{
    sim_oracle_t *oracle = sim->oracle;
    LM_CHECK(index == oracle->n + 1, "entry %llu after %llu", (ull_t)index, (ull_t)oracle->n);
    if (type == 1) apply_entry(sim, term, data);
    if (index >= oracle->room) {
        oracle->room = 2 * index + 64;
        oracle->states = lm_realloc(oracle->states, oracle->room * sizeof *oracle->states);
    }
    oracle->n = index;
    oracle->states[index] = (state_t){.hash = lm_table_hash(oracle->table),
                                      .op_seq = lm_table_op_seq(oracle->table),
                                      .pair = oracle->pair};
}

static void check_serving(sim_t *sim, const sim_node_t *node, const lm_lock_room_t *room)
{
    const state_t *state = &sim->oracle->states[room->applied_index];
    int order = lm_pair_compare(room->pair, state->pair);
    if (room->serving && order != 0)
        sim_fail(sim, order > 0 ? "S8" : "S10b",
                 "the lock of %s serves in term %llu and has applied a Takeover of %llu",
                 node->name, (ull_t)room->pair.term, (ull_t)state->pair.term);
}

void sim_oracle_look(sim_t *sim, sim_node_t *node)
{
    sim_oracle_t *oracle = sim->oracle;
    const lm_lock_room_t *room = node->rooms[LM_LOCK].room;
    uint64_t applied = room->applied_index;
    uint32_t counter = node->process[SIM_LOCK].counter;
    if (room->figures.restores > oracle->restores[node->number])
        sim_probe(sim, SIM_PROBE_LOCK_RESTORED);
    oracle->restores[node->number] = room->figures.restores;
    bool same =
        oracle->looked[node->number] == applied && oracle->looked_counter[node->number] == counter;
    if (same || applied == 0) return;
    oracle->looked[node->number] = applied;
    oracle->looked_counter[node->number] = counter;
    if (applied > oracle->n)
        sim_fail(sim, "STATE-MACHINE-SAFETY", "%s has applied %llu, committed is %llu", node->name,
                 (ull_t)applied, (ull_t)oracle->n);
    if (lm_table_hash(room->table) != oracle->states[applied].hash)
        sim_fail(sim, "EQUAL-HASHES", "%s has another state at entry %llu", node->name,
                 (ull_t)applied);
    if (lm_table_op_seq(room->table) != oracle->states[applied].op_seq)
        sim_fail(sim, "S1", "%s counts %llu commands at entry %llu", node->name,
                 (ull_t)lm_table_op_seq(room->table), (ull_t)applied);
    check_serving(sim, node, room);
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Of the requests whose copies are stamped: those that begin something outside of a session. */
static lm_request_key_t key_of(const lm_peer_lock_call_t *call)
{
    const lm_api_open_session_request_t *open = call->open_session;
    const lm_api_acquire_request_t *acquire = call->acquire;
    lm_request_key_t key = {0};
    if (open) key = (lm_request_key_t){.owner = open->client, .request_id = open->request_id};
    if (acquire && !acquire->session)
        key = (lm_request_key_t){.owner = acquire->owner, .request_id = acquire->request_id};
    return key;
}

void sim_oracle_lock_call(sim_t *sim, const sim_node_t *node, lm_bytes_t body)
{
    void *decoded = NULL;
    const lm_lock_room_t *room = node->rooms[LM_LOCK].room;
    lm_rc_t rc = lm_wire_decode(&lm_peer_lock_call_type, body, sim->scratch, &decoded, NULL);
    const lm_peer_lock_call_t *call = decoded;
    if (rc != LM_RC_OK || (call->context && call->context->stamped)) return;
    lm_request_key_t key = key_of(call);
    op_t *op = key.request_id.size ? op_of(sim->oracle, &key) : NULL;
    uint64_t arrived = room->current ? lm_table_op_seq(sim->oracle->table) : UINT64_MAX;
    if (op && arrived > op->arrived) op->arrived = arrived;
}

/* ---- what clients are told ------------------------------------------------------------------- */

static void check_overlap(sim_t *sim, int client, const sim_belief_t *belief)
{
    if (belief->until_us <= sim->now_us) return;
    for (int i = 0; i < sim->n_clients; i++) {
        const sim_belief_t *other = &sim->oracle->beliefs[i];
        if (i == client || other->until_us <= sim->now_us || other->name != belief->name) continue;
        if (other->mode == LM_MODE_SHARED && belief->mode == LM_MODE_SHARED) continue;
        sim_fail(sim, "S6", "client %d believes in %lld, client %d in %lld, of the same lock",
                 client, (long long)belief->token, i, (long long)other->token);
    }
}

static void check_token(sim_t *sim, const sim_belief_t *belief, int64_t floor)
{
    name_t *name = &sim->oracle->names[belief->name];
    if (belief->token < floor)
        sim_fail(sim, "TOKENS", "token %lld is told after %lld had been told",
                 (long long)belief->token, (long long)floor);
    bool shared = belief->mode == LM_MODE_SHARED && name->told_mode == LM_MODE_SHARED;
    if (belief->token == name->told_token && belief->hold != name->told_hold && !shared)
        sim_fail(sim, "TOKENS", "token %lld stands for two holds", (long long)belief->token);
    if (belief->token <= name->told_token) return;
    name->told_token = belief->token;
    name->told_hold = belief->hold;
    name->told_mode = belief->mode;
}

void sim_oracle_told(sim_t *sim, int client, const sim_belief_t *belief, int64_t token_floor)
{
    sim_oracle_t *oracle = sim->oracle;
    name_t *name = &oracle->names[belief->name];
    const seat_t *seat = find(name->holders, name->n_holders, belief->hold);
    char owner[16];
    snprintf(owner, sizeof owner, "c%d", client);
    if (belief->hold > lm_table_op_seq(oracle->table))
        sim_fail(sim, "ACK-LOST", "client %d was told of hold %llu, which is not committed", client,
                 (ull_t)belief->hold);
    if (seat && (strcmp(seat->owner, owner) != 0 || seat->token != belief->token))
        sim_fail(sim, "ACK-LOST", "client %d was told of hold %llu with token %lld, which is %s's",
                 client, (ull_t)belief->hold, (long long)belief->token, seat->owner);
    if (!seat && belief->until_us > sim->now_us)
        sim_fail(sim, "S6", "client %d was told of hold %llu, which has ended, for %llu us more",
                 client, (ull_t)belief->hold, (ull_t)(belief->until_us - sim->now_us));
    check_overlap(sim, client, belief);
    check_token(sim, belief, token_floor);
    oracle->beliefs[client] = *belief;
}

void sim_oracle_forgets(sim_t *sim, int client) { sim->oracle->beliefs[client].until_us = 0; }

void sim_oracle_released(sim_t *sim, int client, uint64_t hold, int name)
{
    name_t *at = &sim->oracle->names[name];
    if (find(at->holders, at->n_holders, hold))
        sim_fail(sim, "ACK-LOST", "client %d was told that hold %llu is released, but it is held",
                 client, (ull_t)hold);
}

void sim_oracle_renewed(sim_t *sim, int client, uint64_t hold, int name, uint64_t sent_us)
{
    name_t *at = &sim->oracle->names[name];
    const seat_t *seat = find(at->holders, at->n_holders, hold);
    if (seat && seat->renewed_us < sent_us)
        sim_fail(sim, "S7", "client %d was told that hold %llu is renewed, but the log has nothing",
                 client, (ull_t)hold);
}

/* A late copy of what it asked for before may have taken the next claim of the hold. */
void sim_oracle_stale(sim_t *sim, int client, uint64_t sent_us)
{
    (void)sent_us;
    if (sim->oracle->beliefs[client].until_us > sim->now_us) sim_probe(sim, SIM_PROBE_CLAIM_TAKEN);
    sim_oracle_forgets(sim, client);
}

void sim_oracle_cancelled(sim_t *sim, int client, uint64_t op)
{
    const op_t *at = op_at(sim->oracle, client, op);
    if (!at->finished)
        sim_fail(sim, "S10d", "client %d was told that r%llu is cancelled, and it has not ended",
                 client, (ull_t)op);
}

void sim_oracle_heard(sim_t *sim, uint64_t op_seq, uint64_t floor, bool is_read)
{
    sim_oracle_t *oracle = sim->oracle;
    if (op_seq > lm_table_op_seq(oracle->table))
        sim_fail(sim, "ACK-LOST", "an answer is of op_seq %llu, committed is %llu", (ull_t)op_seq,
                 (ull_t)lm_table_op_seq(oracle->table));
    if (is_read && op_seq < floor)
        sim_fail(sim, "S22", "a read shows op_seq %llu, %llu was known before it began",
                 (ull_t)op_seq, (ull_t)floor);
    if (op_seq > oracle->heard) oracle->heard = op_seq;
}

int64_t sim_oracle_token_floor(const sim_t *sim, int name)
{
    return sim->oracle->names[name].told_token;
}

uint64_t sim_oracle_op_seq_floor(const sim_t *sim) { return sim->oracle->heard; }

uint64_t sim_oracle_op_seq(const sim_t *sim) { return lm_table_op_seq(sim->oracle->table); }

uint64_t sim_oracle_end_of(const sim_t *sim, uint64_t hold)
{
    return hold < sim->oracle->ends_room ? sim->oracle->ends[hold] : 0;
}

void sim_oracle_asked(sim_t *sim, int client, uint64_t op)
{
    op_at(sim->oracle, client, op)->disowned = false;
}

void sim_oracle_promised(sim_t *sim, int client, uint64_t op)
{
    op_t *at = op_at(sim->oracle, client, op);
    if (at->applied)
        sim_fail(sim, "S14", "client %d was told that r%llu is not applied, and it is", client,
                 (ull_t)op);
    at->disowned = true;
}

bool sim_oracle_is_empty(const sim_t *sim)
{
    for (int i = 0; i < SIM_NAMES_MAX; i++)
        if (sim->oracle->names[i].n_holders || sim->oracle->names[i].n_waiters) return false;
    return lm_table_counts(sim->oracle->table).sessions == 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

sim_oracle_t *sim_oracle_new(sim_t *sim)
{
    (void)sim;
    sim_oracle_t *oracle = lm_alloc(sizeof *oracle);
    oracle->table = lm_table_new(0);
    oracle->arena = lm_arena_new();
    return oracle;
}

void sim_oracle_free(sim_oracle_t **oracle)
{
    if (!*oracle) return;
    lm_table_destroy(&(*oracle)->table);
    lm_arena_destroy(&(*oracle)->arena);
    for (int i = 0; i < SIM_CLIENTS_MAX; i++) free((*oracle)->ops[i]);
    free((*oracle)->states);
    free((*oracle)->ends);
    free((*oracle)->sessions);
    free(*oracle);
    *oracle = NULL;
}
