/* Clients. Each has one owner name and does one thing after the other: it takes a lock, keeps it
 * for a while, renews it, gives it back, or looks at one. Whatever it does not hear in time it asks
 * again, with the same request id and through any node; the copies of before may still be on their
 * way. A generic client names no request ids. Some work in sessions: they number their requests,
 * renew by KeepAlive, and release what a KeepAlive lists and they do not want (S12c).
 *
 *   idle --> acquiring --> holding <--> renewing
 *    ^  \        |            |            |
 *    |   reading +--> cancelling           |    in sessions also, out of idle: opening,
 *    +------+----+------------+-- releasing+    keeping (then maybe releasing), closing
 *
 * Invariants
 *   I1  A client believes in a hold from the answer that told it until the end of the lease that
 *       this answer named, counted from the sending of what was answered (S6), or until it sends a
 *       Release.
 *   I2  done_below never passes the number of what it does: it is not too old (S12b). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_check.h"
#include "lock_hold_id.h"
#include "sim.h"
#include "wire_api.h"

enum { ATTEMPTS_MAX = 4 };

typedef enum {
    IDLE,
    ACQUIRING,
    HOLDING,
    RENEWING,
    RELEASING,
    CANCELLING,
    READING,
    OPENING,
    KEEPING,
    CLOSING,
} state_t;

typedef struct {
    sim_call_t *call; /* NULL: free */
    uint64_t tag, sent_us;
    int64_t token_floor;
    uint64_t op_seq_floor;
    bool cancels;
} attempt_t;

struct sim_client {
    sim_t *sim;
    int number;
    char owner[16];
    bool generic;
    state_t state;
    int name;
    lm_mode_t mode;
    int64_t ttl_ms, wait_ms;
    uint64_t op;         /* number of what it does; names its request id */
    uint64_t acquire_op; /* that of the Acquire it is about */
    uint64_t give_up_us;
    uint64_t n_attempts, n_of_op, n_promised; /* in all; of this operation, and of those that
                                                 were answered: certainly not applied */
    bool patient;  /* it asks again only when it is answered that it may */
    bool nameless; /* it asks without an owner, and must be refused (S11a) */
    uint64_t ticket;
    attempt_t attempts[ATTEMPTS_MAX];
    sim_belief_t belief;
    char hold_id[64];
    bool ending;
    bool in_sessions;
    char session[17], secret[33]; /* of the present one; empty: there is none */
    uint64_t done_below;
    uint64_t session_until_us; /* as it was last told */
    bool keeps_next;           /* it keeps its session alive in the last moment */
    uint8_t last[512];         /* its last Acquire, of which a copy may come late (S12b) */
    size_t last_size;
    uint64_t last_op;
};

static const char *const names[SIM_NAMES_MAX] = {"x", "y", "z"};

static void next(sim_t *sim, void *what, uint64_t ticket);

static void plan(sim_client_t *c, uint64_t in_us)
{
    sim_at(c->sim, c->sim->now_us + in_us, next, c, ++c->ticket);
}

static size_t n_open(const sim_client_t *c)
{
    size_t n = 0;
    for (int i = 0; i < ATTEMPTS_MAX; i++) n += c->attempts[i].call != NULL;
    return n;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int method_of(const sim_client_t *c)
{
    static const int methods[] = {
        [ACQUIRING] = LM_METHOD_ACQUIRE,  [RENEWING] = LM_METHOD_RENEW,
        [RELEASING] = LM_METHOD_RELEASE,  [CANCELLING] = LM_METHOD_CANCEL,
        [READING] = LM_METHOD_GET,        [OPENING] = LM_METHOD_OPEN_SESSION,
        [KEEPING] = LM_METHOD_KEEP_ALIVE, [CLOSING] = LM_METHOD_CLOSE_SESSION};
    if (c->state == RENEWING && c->session[0]) return LM_METHOD_KEEP_ALIVE;
    return methods[c->state];
}

static lm_bytes_t id_of(const sim_client_t *c, uint64_t op)
{
    if (c->generic) return (lm_bytes_t){0};
    return lm_arena_print(c->sim->scratch, "r%llu", (unsigned long long)op);
}

/* NULL outside of a session. */
static lm_api_session_part_t *part_of(const sim_client_t *c, uint64_t number)
{
    if (!c->session[0]) return NULL;
    lm_api_session_part_t *part = lm_arena_alloc(c->sim->scratch, sizeof *part);
    *part = (lm_api_session_part_t){.session_id = lm_bytes_of(c->session),
                                    .secret = lm_bytes_of(c->secret),
                                    .request_number = number,
                                    .done_below = c->done_below};
    return part;
}

static lm_bytes_t about_session(const sim_client_t *c)
{
    lm_arena_t *arena = c->sim->scratch;
    if (c->state == OPENING) {
        lm_api_open_session_request_t request = {
            .client = lm_bytes_of(c->owner), .request_id = id_of(c, c->op), .ttl_ms = c->ttl_ms};
        return lm_wire_encode(&lm_api_open_session_request_type, &request, arena);
    }
    if (c->state == CLOSING) {
        lm_api_close_session_request_t request = {.session_id = lm_bytes_of(c->session),
                                                  .secret = lm_bytes_of(c->secret)};
        return lm_wire_encode(&lm_api_close_session_request_type, &request, arena);
    }
    lm_api_keep_alive_request_t request = {.session_id = lm_bytes_of(c->session),
                                           .secret = lm_bytes_of(c->secret),
                                           .done_below = c->done_below};
    return lm_wire_encode(&lm_api_keep_alive_request_type, &request, arena);
}

static lm_bytes_t request_of(const sim_client_t *c)
{
    lm_arena_t *arena = c->sim->scratch;
    lm_bytes_t name = lm_bytes_of(names[c->name]);
    lm_bytes_t owner = lm_bytes_of(c->nameless || c->session[0] ? "" : c->owner);
    lm_bytes_t hold_id = lm_bytes_of(c->hold_id);
    lm_bytes_t id = c->session[0] ? (lm_bytes_t){0} : id_of(c, c->op);
    if (c->state >= OPENING || (c->state == RENEWING && c->session[0])) return about_session(c);
    if (c->state == ACQUIRING) {
        lm_api_acquire_request_t request = {.name = name,
                                            .owner = owner,
                                            .request_id = id,
                                            .mode = c->mode == LM_MODE_SHARED
                                                        ? LM_API_LOCK_MODE_SHARED
                                                        : LM_API_LOCK_MODE_EXCLUSIVE,
                                            .ttl_ms = c->session[0] ? 0 : c->ttl_ms,
                                            .wait_ms = c->wait_ms,
                                            .session = part_of(c, c->op)};
        return lm_wire_encode(&lm_api_acquire_request_type, &request, arena);
    }
    if (c->state == RELEASING) {
        lm_api_release_request_t request = {.name = name,
                                            .owner = owner,
                                            .hold_id = hold_id,
                                            .request_id = id,
                                            .session = part_of(c, c->op)};
        return lm_wire_encode(&lm_api_release_request_type, &request, arena);
    }
    if (c->state == RENEWING) {
        lm_api_renew_request_t request = {.name = name, .owner = owner, .hold_id = hold_id};
        return lm_wire_encode(&lm_api_renew_request_type, &request, arena);
    }
    if (c->state == CANCELLING) {
        if (!c->session[0]) id = id_of(c, c->acquire_op);
        lm_api_cancel_request_t request = {
            .owner = owner, .request_id = id, .session = part_of(c, c->acquire_op)};
        return lm_wire_encode(&lm_api_cancel_request_type, &request, arena);
    }
    lm_api_get_request_t request = {.name = name};
    return lm_wire_encode(&lm_api_get_request_type, &request, arena);
}

static void send_attempt(sim_client_t *c)
{
    sim_t *sim = c->sim;
    attempt_t *attempt = NULL;
    for (int i = 0; i < ATTEMPTS_MAX && !attempt; i++)
        if (!c->attempts[i].call) attempt = &c->attempts[i];
    if (!attempt) return;
    int node = (int)sim_draw(sim, (uint64_t)sim->n_nodes);
    uint64_t deadline_us = sim->now_us + sim_between(sim, 120, 1800) * SIM_MS;
    *attempt = (attempt_t){.tag = c->op << 32 | ++c->n_attempts,
                           .sent_us = sim->now_us,
                           .token_floor = sim_oracle_token_floor(sim, c->name),
                           .op_seq_floor = sim_oracle_op_seq_floor(sim),
                           .cancels = c->state == CANCELLING};
    sim_note(sim, -1, LM_NOBODY, "client %llu asks node %llu: method %llu of operation %llu",
             (uint64_t)c->number, (uint64_t)node + 1, (uint64_t)method_of(c), c->op);
    c->n_of_op++;
    sim_oracle_asked(sim, c->number, c->op);
    attempt->call =
        sim_net_call(sim, c->number, node, method_of(c), request_of(c), deadline_us, attempt->tag);
}

/* Something on the way delivers a copy of its last Acquire only now; nobody waits for the answer.
 */
static void deliver_late_copy(sim_client_t *c)
{
    sim_t *sim = c->sim;
    if (!c->last_size || !sim_one_in(sim, c->session[0] ? 3 : 5)) return;
    int node = (int)sim_draw(sim, (uint64_t)sim->n_nodes);
    sim_oracle_asked(sim, c->number, c->last_op);
    sim_call_t *call = sim_net_call(sim, c->number, node, LM_METHOD_ACQUIRE,
                                    lm_bytes(c->last, c->last_size), sim->now_us + SIM_S, 0);
    if (call) sim_net_leave(sim, call, false);
    c->last_size = 0;
}

static void keep_copy(sim_client_t *c)
{
    lm_bytes_t request = request_of(c);
    c->last_size = request.size <= sizeof c->last ? request.size : 0;
    memcpy(c->last, request.data, c->last_size);
    c->last_op = c->op;
}

/* Asks again, and may go away from what it asked before. */
static void send_again(sim_client_t *c)
{
    sim_t *sim = c->sim;
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        if (!c->attempts[i].call || sim_draw(sim, 3) == 0) continue;
        sim_probe(sim, SIM_PROBE_CLIENT_LEFT);
        sim_net_leave(sim, c->attempts[i].call, sim_draw(sim, 3) != 0);
        c->attempts[i].call = NULL;
    }
    if (n_open(c) == ATTEMPTS_MAX) return;
    if (c->n_attempts && n_open(c)) sim_probe(sim, SIM_PROBE_CLIENT_COPY);
    send_attempt(c);
}

static void leave_all(sim_client_t *c)
{
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        if (!c->attempts[i].call) continue;
        sim_net_leave(c->sim, c->attempts[i].call, sim_draw(c->sim, 3) != 0);
        c->attempts[i].call = NULL;
    }
}

/* ---- what it does ---------------------------------------------------------------------------- */

/* True if it waits until its session is about to expire. */
static bool waits_for_session(sim_client_t *c)
{
    const sim_t *sim = c->sim;
    if (!c->session[0] || c->session_until_us <= sim->now_us || !sim_one_in(c->sim, 6))
        return false;
    c->keeps_next = true;
    plan(c, c->session_until_us - sim->now_us + sim_draw(c->sim, 8 * SIM_MS));
    return true;
}

static void go_idle(sim_client_t *c)
{
    leave_all(c);
    c->state = IDLE;
    c->nameless = false;
    c->keeps_next = false;
    if (!waits_for_session(c)) plan(c, sim_between(c->sim, 500, 80 * SIM_MS));
}

static void begin(sim_client_t *c, state_t state, uint64_t patience_us)
{
    leave_all(c);
    c->state = state;
    c->give_up_us = c->sim->now_us + patience_us;
    if (state == ACQUIRING || state == RELEASING || state == OPENING) {
        c->op++;
        uint64_t kept = sim_draw(c->sim, 7); /* numbers that it is not done with */
        if (c->op - kept > c->done_below && kept < c->op) c->done_below = c->op - kept;
    }
    if (state == ACQUIRING) c->acquire_op = c->op;
    c->n_of_op = c->n_promised = 0;
    c->patient = sim_one_in(c->sim, 6);
    deliver_late_copy(c);
    if (!c->generic && state == ACQUIRING) keep_copy(c);
    send_attempt(c);
    if (!c->patient && sim_one_in(c->sim, 8)) send_attempt(c);
    plan(c, sim_between(c->sim, 20, 600) * SIM_MS);
}

static void begin_acquire(sim_client_t *c)
{
    sim_t *sim = c->sim;
    c->name = (int)sim_draw(sim, (uint64_t)sim->n_names);
    c->mode = sim_draw(sim, 3) ? LM_MODE_EXCLUSIVE : LM_MODE_SHARED;
    c->ttl_ms = (int64_t)sim_between(sim, sim->ttl_min_ms, sim->ttl_max_ms);
    c->nameless = c->generic && sim_one_in(sim, 30);
    uint64_t how = sim_draw(sim, 4);
    c->wait_ms = how == 0 ? 0 : how == 1 ? -1 : (int64_t)sim_between(sim, 20, 1500);
    begin(c, ACQUIRING, sim_between(sim, 300, 4000) * SIM_MS);
}

static void begin_release(sim_client_t *c)
{
    sim_oracle_forgets(c->sim, c->number);
    begin(c, RELEASING, sim_between(c->sim, 300, 4000) * SIM_MS);
}

static void begin_session_call(sim_client_t *c, state_t state)
{
    /* What it has forgotten and still holds ends with its session, or is released. */
    if (state == CLOSING) sim_oracle_forgets(c->sim, c->number);
    if (state == OPENING) c->ttl_ms = (int64_t)sim_between(c->sim, 1000, 2500);
    begin(c, state, sim_between(c->sim, 300, 3000) * SIM_MS);
}

static void session_is_over(sim_client_t *c)
{
    c->session[0] = 0;
    sim_oracle_forgets(c->sim, c->number);
    go_idle(c);
}

/* What to do next with a hold. */
static void hold_on(sim_client_t *c)
{
    sim_t *sim = c->sim;
    leave_all(c);
    c->state = HOLDING;
    if (waits_for_session(c)) return;
    uint64_t left_us = c->belief.until_us > sim->now_us ? c->belief.until_us - sim->now_us : 0;
    plan(c, left_us ? sim_draw(sim, left_us + left_us / 4 + 1) / (1 + sim_draw(sim, 6)) : 0);
}

static void decide_hold(sim_client_t *c)
{
    sim_t *sim = c->sim;
    uint64_t how = sim_draw(sim, 10);
    bool over = sim->now_us >= c->belief.until_us;
    bool last_moment = c->keeps_next;
    c->keeps_next = false;
    if (last_moment && !c->ending)
        begin(c, RENEWING, 500 * SIM_MS);
    else if (how == 0 && !c->ending) /* it forgets its lock */
        go_idle(c);
    else if (how < 4 && !over && !c->ending)
        begin(c, RENEWING, c->belief.until_us - sim->now_us + 100 * SIM_MS);
    else
        begin_release(c);
}

static void give_up(sim_client_t *c)
{
    sim_probe(c->sim, SIM_PROBE_CLIENT_GAVE_UP);
    if (c->state == ACQUIRING && !c->generic && sim_draw(c->sim, 2))
        begin(c, CANCELLING, sim_between(c->sim, 300, 2000) * SIM_MS);
    else if (c->state == RENEWING)
        hold_on(c);
    else if (c->state == CLOSING) /* a late copy may end it at any time */
        session_is_over(c);
    else
        go_idle(c);
}

/* True if that is what a client in sessions does next. */
static bool goes_on_with_session(sim_client_t *c)
{
    sim_t *sim = c->sim;
    if (!c->in_sessions) return false;
    if (!c->session[0])
        begin_session_call(c, OPENING);
    else if (c->keeps_next || sim_one_in(sim, 3))
        begin_session_call(c, KEEPING);
    else if (sim_one_in(sim, 12))
        begin_session_call(c, CLOSING);
    else
        return false;
    return true;
}

static void next(sim_t *sim, void *what, uint64_t ticket)
{
    sim_client_t *c = what;
    if (ticket != c->ticket) return;
    if (c->state == IDLE) {
        if (c->ending || goes_on_with_session(c)) return;
        if (sim_one_in(sim, 6)) {
            c->name = (int)sim_draw(sim, (uint64_t)sim->n_names);
            begin(c, READING, sim_between(sim, 300, 2000) * SIM_MS);
        } else {
            begin_acquire(c);
        }
    } else if (c->state == HOLDING) {
        decide_hold(c);
    } else if (sim->now_us >= c->give_up_us) {
        give_up(c);
    } else {
        if (!c->patient || n_open(c) == 0) send_again(c);
        plan(c, sim_between(sim, 20, 900) * SIM_MS);
    }
}

/* ---- what it hears --------------------------------------------------------------------------- */

static void *decode(sim_t *sim, const lm_wire_type_t *type, lm_bytes_t bytes)
{
    void *message = NULL;
    lm_rc_t rc = lm_wire_decode(type, bytes, sim->scratch, &message, NULL);
    if (rc != LM_RC_OK) sim_fail(sim, "ANSWER", "an answer cannot be read: %s", lm_rc_name(rc));
    return message;
}

static void heard(sim_client_t *c, const attempt_t *attempt, const lm_api_response_header_t *header)
{
    if (!header) sim_fail(c->sim, "ANSWER", "an answer without a header");
    sim_oracle_heard(c->sim, header->op_seq, attempt->op_seq_floor, c->state == READING);
}

static void told(sim_client_t *c, const attempt_t *attempt, lm_bytes_t hold_id, int64_t token,
                 int64_t remaining_ms)
{
    uint64_t hold, claim;
    if (!lm_lock_hold_id_parse(hold_id, &hold, &claim) || token <= 0 || remaining_ms < 0)
        sim_fail(c->sim, "ANSWER", "a grant with token %lld and %lld ms", (long long)token,
                 (long long)remaining_ms);
    c->belief = (sim_belief_t){.from_us = c->sim->now_us,
                               .until_us = attempt->sent_us + (uint64_t)remaining_ms * 1000,
                               .hold = hold,
                               .claim = claim,
                               .token = token,
                               .name = c->name,
                               .mode = c->mode};
    snprintf(c->hold_id, sizeof c->hold_id, "%.*s", LM_BYTES_ARG(hold_id));
    sim_note(c->sim, -1, LM_NOBODY, "client %llu believes in hold %llu, claim %llu, until %llu",
             (uint64_t)c->number, hold, claim, c->belief.until_us);
    sim_oracle_told(c->sim, c->number, &c->belief, attempt->token_floor);
    hold_on(c);
}

static void on_acquired(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_acquire_response_t *r = decode(c->sim, &lm_api_acquire_response_type, message);
    heard(c, attempt, r->header);
    if (c->nameless) sim_fail(c->sim, "S11a", "an Acquire without an owner was taken");
    if (r->result == LM_API_ACQUIRE_RESULT_GRANTED)
        told(c, attempt, r->hold_id, r->token, r->lease_remaining_ms);
    else
        go_idle(c);
}

static void on_renewed(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_renew_response_t *r = decode(c->sim, &lm_api_renew_response_type, message);
    heard(c, attempt, r->header);
    sim_probe(c->sim, SIM_PROBE_RENEWED);
    sim_oracle_renewed(c->sim, c->number, c->belief.hold, c->name, attempt->sent_us);
    lm_bytes_t same = lm_arena_copy(c->sim->scratch, lm_bytes_of(c->hold_id));
    told(c, attempt, same, r->token, r->lease_remaining_ms);
}

static void on_released(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_release_response_t *r = decode(c->sim, &lm_api_release_response_type, message);
    heard(c, attempt, r->header);
    sim_oracle_released(c->sim, c->number, c->belief.hold, c->name);
    go_idle(c);
}

static void on_cancelled(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_cancel_response_t *r = decode(c->sim, &lm_api_cancel_response_type, message);
    heard(c, attempt, r->header);
    if (r->result == LM_API_CANCEL_RESULT_GRANTED) {
        sim_probe(c->sim, SIM_PROBE_CANCEL_FOUND_HOLD);
        told(c, attempt, r->hold_id, r->token, r->lease_remaining_ms);
        return;
    }
    if (r->result == LM_API_CANCEL_RESULT_CANCELLED)
        sim_oracle_cancelled(c->sim, c->number, c->acquire_op);
    go_idle(c);
}

static void on_shown(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_get_response_t *r = decode(c->sim, &lm_api_get_response_type, message);
    heard(c, attempt, r->header);
    sim_probe(c->sim, SIM_PROBE_READ);
    go_idle(c);
}

/* ---- what it hears of its session ------------------------------------------------------------ */

static void on_opened(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_open_session_response_t *r =
        decode(c->sim, &lm_api_open_session_response_type, message);
    heard(c, attempt, r->header);
    if (r->session_id.size != 16 || r->secret.size != 32 || r->ttl_ms != c->ttl_ms)
        sim_fail(c->sim, "ANSWER", "a session of %lld ms", (long long)r->ttl_ms);
    snprintf(c->session, sizeof c->session, "%.*s", LM_BYTES_ARG(r->session_id));
    snprintf(c->secret, sizeof c->secret, "%.*s", LM_BYTES_ARG(r->secret));
    c->session_until_us = attempt->sent_us + (uint64_t)r->lease_remaining_ms * 1000;
    go_idle(c);
}

/* What it holds is listed: it may go on. Otherwise a late copy of its own has taken the next claim,
 * or the hold is being taken for unheard of. */
static void go_on_holding(sim_client_t *c, const attempt_t *attempt,
                          const lm_api_keep_alive_response_t *r)
{
    for (size_t i = 0; i < r->n_holds; i++) {
        if (!lm_bytes_equal(r->holds[i].hold_id, lm_bytes_of(c->hold_id))) continue;
        told(c, attempt, r->holds[i].hold_id, r->holds[i].token, r->lease_remaining_ms);
        return;
    }
    sim_oracle_stale(c->sim, c->number, attempt->sent_us);
    c->belief.until_us = 0;
    go_idle(c);
}

/* It holds nothing that it knows of: what is listed are orphans (S12c). */
static void release_orphan(sim_client_t *c, const lm_api_session_hold_t *hold)
{
    sim_probe(c->sim, SIM_PROBE_ORPHAN_FOUND);
    c->name = hold->name.data[0] - 'x';
    snprintf(c->hold_id, sizeof c->hold_id, "%.*s", LM_BYTES_ARG(hold->hold_id));
    uint64_t claim;
    lm_lock_hold_id_parse(hold->hold_id, &c->belief.hold, &claim);
    begin_release(c);
}

static void on_kept(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_keep_alive_response_t *r =
        decode(c->sim, &lm_api_keep_alive_response_type, message);
    heard(c, attempt, r->header);
    if (r->result == LM_API_KEEP_ALIVE_RESULT_DENIED || r->result == 0)
        sim_fail(c->sim, "ANSWER", "client %d is denied its session", c->number);
    c->session_until_us = attempt->sent_us + (uint64_t)r->lease_remaining_ms * 1000;
    if (r->result == LM_API_KEEP_ALIVE_RESULT_ENDED)
        session_is_over(c);
    else if (c->state == RENEWING)
        go_on_holding(c, attempt, r);
    else if (r->n_holds)
        release_orphan(c, &r->holds[0]);
    else
        go_idle(c);
}

static void on_closed(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    const lm_api_close_session_response_t *r =
        decode(c->sim, &lm_api_close_session_response_type, message);
    heard(c, attempt, r->header);
    session_is_over(c);
}

static void on_renewed_or_kept(sim_client_t *c, const attempt_t *attempt, lm_bytes_t message)
{
    (c->session[0] ? on_kept : on_renewed)(c, attempt, message);
}

/* gRPC statuses after which the same thing may be asked again. */
static bool may_repeat(int status)
{
    return status == 14 || status == 4 || status == 1 || status == 10;
}

/* What an error says of itself; the texts stand readable in what carries it. */
static const char *text_of(sim_t *sim, lm_bytes_t details)
{
    char *text = lm_arena_text(sim->scratch, details);
    for (size_t i = 0; i < details.size; i++)
        if (text[i] < ' ' || text[i] > '~') text[i] = ' ';
    return text;
}

static void on_error(sim_client_t *c, const attempt_t *attempt, int status, lm_bytes_t details)
{
    sim_t *sim = c->sim;
    const char *text = text_of(sim, details);
    if (c->in_sessions && strstr(text, "REQUEST_TOO_OLD"))
        sim_fail(sim, "S12b", "client %d is told that %llu is too old, and is not done with it",
                 c->number, (unsigned long long)c->op);
    if (c->in_sessions && strstr(text, "SESSION_ENDED")) {
        session_is_over(c);
        return;
    }
    if ((status == 3 && !c->nameless) || status == 13 || status == 12 || status == 7)
        sim_fail(sim, "ANSWER", "client %d was answered status %d: %s", c->number, status, text);
    /* Ours, not the network's: nothing was applied. */
    c->n_promised += status == 14 && details.size;
    bool all = c->n_promised == c->n_of_op && !c->generic;
    if (all && (c->state == ACQUIRING || c->state == RELEASING))
        sim_oracle_promised(sim, c->number, c->op);
    bool content = all && c->state == ACQUIRING && sim_one_in(sim, 3);
    if (may_repeat(status) && !content) {
        if (n_open(c) == 0) plan(c, sim_between(sim, 2, 120) * SIM_MS);
        return;
    }
    if (c->state == RENEWING && status == 9) {
        sim_oracle_stale(sim, c->number, attempt->sent_us);
        c->belief.until_us = 0;
    }
    (c->state == CLOSING ? session_is_over : go_idle)(c);
}

void sim_client_answered(sim_t *sim, int client, uint64_t tag, int status, lm_bytes_t message,
                         lm_bytes_t details)
{
    static void (*const heard_by[])(sim_client_t *, const attempt_t *, lm_bytes_t) = {
        [ACQUIRING] = on_acquired, [RENEWING] = on_renewed_or_kept,
        [RELEASING] = on_released, [CANCELLING] = on_cancelled,
        [READING] = on_shown,      [OPENING] = on_opened,
        [KEEPING] = on_kept,       [CLOSING] = on_closed,
    };
    sim_client_t *c = &sim->clients[client];
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        if (!c->attempts[i].call || c->attempts[i].tag != tag) continue;
        attempt_t attempt = c->attempts[i];
        c->attempts[i].call = NULL;
        sim_note(sim, -1, LM_NOBODY, "client %llu is answered status %llu, operation %llu",
                 (uint64_t)client, (uint64_t)status, tag >> 32, 0);
        if (status)
            on_error(c, &attempt, status, details);
        else
            heard_by[c->state](c, &attempt, message);
        return;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

void sim_clients_begin(sim_t *sim)
{
    sim->clients = lm_alloc((size_t)sim->n_clients * sizeof *sim->clients);
    for (int i = 0; i < sim->n_clients; i++) {
        sim_client_t *c = &sim->clients[i];
        c->sim = sim;
        c->number = i;
        snprintf(c->owner, sizeof c->owner, "c%d", i);
        c->generic = sim_one_in(sim, 4);
        c->in_sessions = !c->generic && sim_one_in(sim, 3);
        c->state = IDLE;
        plan(c, sim_draw(sim, 500 * SIM_MS));
    }
}

/* Their machines are gone: whatever they hold or wait for has nobody any more. */
void sim_clients_die(sim_t *sim)
{
    for (int i = 0; i < sim->n_clients; i++) {
        sim_client_t *c = &sim->clients[i];
        if (sim_draw(sim, 4) == 0) continue;
        sim_note(sim, -1, LM_NOBODY, "client %llu dies", (uint64_t)i, 0, 0, 0);
        go_idle(c);
        c->session[0] = 0; /* it lives as long as its lease */
        plan(c, sim_between(sim, 3000, 9000) * SIM_MS);
    }
}

void sim_clients_end(sim_t *sim)
{
    for (int i = 0; i < sim->n_clients; i++) sim->clients[i].ending = true;
}

bool sim_clients_idle(const sim_t *sim)
{
    for (int i = 0; i < sim->n_clients; i++)
        if (sim->clients[i].state != IDLE) return false;
    return true;
}

void sim_clients_free(sim_t *sim)
{
    free(sim->clients);
    sim->clients = NULL;
}
