#include "act_dispatch.h"

#include <utlist.h>

#include "act_limits.h"
#include "base_check.h"
#include "base_log.h"
#include "wire_bus.h"

/* ---- making and ending ----------------------------------------------------------------------- */

static void index_rows(lm_dispatch_t *d)
{
    const lm_room_t *definition = d->definition;
    for (size_t i = 0; i < definition->n_rows; i++) {
        const lm_room_row_t *row = &definition->rows[i];
        const lm_register_row_t *in_register = lm_register_find(row->number);
        LM_CHECK(in_register && row->on, "row %zu has no message or no handler", i);
        LM_CHECK(in_register->receivers & 1u << definition->self, "%s does not receive %s",
                 lm_participant_name(definition->self), in_register->name);
        LM_CHECK(!d->rows[row->number], "%s has two rows", in_register->name);
        d->rows[row->number] = row;
    }
}

void lm_dispatch_init(lm_dispatch_t *d, const lm_room_t *definition, void *room,
                      lm_generation_t generation, const lm_dispatch_host_t *functions, void *host)
{
    static const lm_dispatch_host_t nothing;
    *d = (lm_dispatch_t){.definition = definition,
                         .room = room,
                         .functions = functions ? functions : &nothing,
                         .host = host,
                         .arena = lm_arena_new(),
                         .counters = lm_counters_new()};
    LM_CHECK(generation.boot_id != 0, "%s has no generation",
             lm_participant_name(definition->self));
    index_rows(d);
    lm_outbox_init(&d->out, definition->self, generation, d->arena, &d->calls, &d->counters);
}

void lm_dispatch_destroy(lm_dispatch_t *d)
{
    lm_calls_destroy(&d->calls);
    lm_arena_destroy(&d->arena);
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* A message on its way through the checks. */
typedef struct {
    lm_participant_t connection;
    const lm_bus_envelope_t *envelope;
    lm_bytes_t bytes;
    const lm_register_row_t *row;
    lm_caller_t from;
    lm_call_t *call; /* that a REPLY answers */
} incoming_t;

static lm_rc_t counted(lm_dispatch_t *d, lm_counter_t counter, lm_rc_t rc)
{
    lm_count(&d->counters, counter);
    return rc;
}

static lm_rc_t dropped(const incoming_t *in, lm_rc_t rc)
{
    if (lm_log_enabled(LM_LOG_DEBUG))
        lm_debug("%s from %s is not handled: %s", in->row ? in->row->name : "a message",
                 lm_participant_name(in->from.participant ? in->from.participant : in->connection),
                 lm_rc_name(rc));
    return rc;
}

static lm_rc_t read_envelope(lm_dispatch_t *d, incoming_t *in, lm_bytes_t envelope)
{
    void *decoded = NULL;
    if (envelope.size > LM_ENVELOPE_BYTES_MAX)
        return counted(d, LM_COUNT_OVERSIZED, LM_RC_TOO_LARGE);
    if (lm_wire_decode(&lm_bus_envelope_type, envelope, d->arena, &decoded, NULL) != LM_RC_OK)
        return counted(d, LM_COUNT_UNDECODABLE, LM_RC_MALFORMED);
    in->envelope = decoded;
    if (in->envelope->version != 1 || !in->envelope->from_generation)
        return counted(d, LM_COUNT_UNDECODABLE, LM_RC_MALFORMED);
    in->row = lm_register_find(in->envelope->number);
    if (!in->row) return counted(d, LM_COUNT_UNKNOWN_NUMBER, LM_RC_UNIMPLEMENTED);
    return LM_RC_OK;
}

static lm_rc_t check_ends(lm_dispatch_t *d, incoming_t *in)
{
    const lm_bus_envelope_t *envelope = in->envelope;
    bool known = envelope->from > LM_NOBODY && envelope->from < LM_PARTICIPANTS &&
                 (in->row->senders & 1u << envelope->from);
    bool theirs = in->connection == LM_NOBODY || in->connection == envelope->from;
    bool ours =
        envelope->to == d->definition->self && (in->row->receivers & 1u << d->definition->self);
    if (!known || !theirs || !ours) return counted(d, LM_COUNT_WRONG_SENDER, LM_RC_UNKNOWN_PEER);
    in->from = (lm_caller_t){
        .participant = (lm_participant_t)envelope->from,
        .generation = {.boot_id = envelope->from_generation->boot_id,
                       .counter = envelope->from_generation->counter},
        .correlation = envelope->correlation,
        .deadline_us = envelope->deadline_us,
        .trace_id = envelope->trace_id,
    };
    return LM_RC_OK;
}

/** Whether the envelope is for this start of this room. Only the supervisor may be spoken to by
 *  somebody who does not know its generation yet. */
static bool is_for_me(const lm_dispatch_t *d, const lm_bus_generation_t *to)
{
    if (!to) return d->definition->self == LM_SUPERVISOR;
    lm_generation_t generation = {.boot_id = to->boot_id, .counter = to->counter};
    return lm_generation_compare(generation, d->out.generation) == 0;
}

static lm_rc_t check_generations(lm_dispatch_t *d, incoming_t *in)
{
    lm_generation_t from = in->from.generation;
    lm_peer_t *peer = &d->out.peers[in->from.participant];
    int order = lm_generation_compare(from, peer->generation);
    bool newer_than_connection = in->connection != LM_NOBODY && order > 0;
    if (from.boot_id == 0 || order < 0 || newer_than_connection ||
        !is_for_me(d, in->envelope->to_generation))
        return counted(d, LM_COUNT_STALE, LM_RC_CANCELLED);
    lm_dispatch_peer_up(d, in->from.participant, from);
    return LM_RC_OK;
}

static lm_rc_t check_kind(lm_dispatch_t *d, incoming_t *in)
{
    bool numbered = in->row->kind == LM_CALL || in->row->kind == LM_REPLY;
    if (numbered != (in->from.correlation != 0) ||
        (in->row->kind != LM_REPLY && in->envelope->refused))
        return counted(d, LM_COUNT_UNDECODABLE, LM_RC_MALFORMED);
    if (in->row->kind != LM_REPLY) return LM_RC_OK;
    in->call = lm_calls_find(&d->calls, in->from.correlation);
    if (!in->call || in->call->to != in->from.participant ||
        in->call->row->number + 1u != in->row->number) {
        in->call = NULL;
        return counted(d, LM_COUNT_UNEXPECTED_REPLY, LM_RC_NOT_FOUND);
    }
    in->from.trace_id = in->call->trace_id;
    return LM_RC_OK;
}

static lm_rc_t check_content(lm_dispatch_t *d, const incoming_t *in, void **body)
{
    uint64_t deadline = in->from.deadline_us;
    const lm_room_row_t *row = d->rows[in->row->number];
    uint32_t state = d->definition->state ? d->definition->state(d->room) : LM_ANY_STATE;
    if (in->bytes.size > in->row->limit_bytes)
        return counted(d, LM_COUNT_OVERSIZED, LM_RC_TOO_LARGE);
    if (deadline != 0 && deadline <= d->out.now_us)
        return counted(d, LM_COUNT_EXPIRED, LM_RC_DEADLINE_EXCEEDED);
    if (!row) return counted(d, LM_COUNT_UNHANDLED, LM_RC_UNIMPLEMENTED);
    if (!(row->welcome & state)) return counted(d, LM_COUNT_UNWELCOME, LM_RC_NOT_READY);
    lm_rc_t rc = lm_wire_decode(in->row->body, in->bytes, d->arena, body, NULL);
    return rc == LM_RC_OK ? rc : counted(d, LM_COUNT_UNDECODABLE, rc);
}

/* ---- the runtime's own messages -------------------------------------------------------------- */

static void on_ping(lm_dispatch_t *d, const void *body)
{
    const lm_bus_ping_t *ping = body;
    lm_bus_pong_t pong = {.sequence = ping->sequence};
    lm_outbox_send(&d->out, LM_SUPERVISOR, LM_MSG_PONG, &pong);
}

static void on_stop(lm_dispatch_t *d, const void *body)
{
    const lm_bus_stop_t *stop = body;
    uint64_t grace_us = (uint64_t)stop->grace_ms * 1000;
    if (!d->definition->on_stop) {
        lm_outbox_exit(&d->out, LM_EXIT_OK, "");
        return;
    }
    d->stop_at_us = d->out.now_us + grace_us;
    d->definition->on_stop(d->room, d->out.now_us, grace_us, &d->out);
}

static bool is_connected_to(const lm_room_t *definition, uint32_t participant)
{
    uint32_t connects = definition->connects | 1u << LM_HEALTH;
    if (participant == definition->self || participant == LM_SUPERVISOR) return false;
    return participant < LM_PARTICIPANTS && (connects & 1u << participant);
}

static void on_peer_up(lm_dispatch_t *d, const void *body)
{
    const lm_bus_peer_up_t *up = body;
    if (!is_connected_to(d->definition, up->participant) || !up->generation) return;
    lm_participant_t peer = (lm_participant_t)up->participant;
    lm_generation_t generation = {.boot_id = up->generation->boot_id,
                                  .counter = up->generation->counter};
    if (lm_generation_compare(generation, d->out.peers[peer].generation) <= 0) return;
    if (d->functions->connect) d->functions->connect(d->host, peer, generation, up->endpoint);
    lm_dispatch_peer_up(d, peer, generation);
}

/** NULL if the message is not the runtime's own. */
static void (*own_handler(lm_message_number_t number))(lm_dispatch_t *, const void *)
{
    switch (number) {
    case LM_MSG_PING: return on_ping;
    case LM_MSG_STOP: return on_stop;
    case LM_MSG_PEER_UP: return on_peer_up;
    default: return NULL;
    }
}

static lm_rc_t handle_own(lm_dispatch_t *d, const incoming_t *in,
                          void (*on)(lm_dispatch_t *, const void *))
{
    void *body = NULL;
    if (in->bytes.size > in->row->limit_bytes)
        return counted(d, LM_COUNT_OVERSIZED, LM_RC_TOO_LARGE);
    lm_rc_t rc = lm_wire_decode(in->row->body, in->bytes, d->arena, &body, NULL);
    if (rc != LM_RC_OK) return counted(d, LM_COUNT_UNDECODABLE, rc);
    on(d, body);
    return counted(d, LM_COUNT_RECEIVED, LM_RC_OK);
}

/* ---- messages -------------------------------------------------------------------------------- */

/** A message that was not handed to the room: its sender, or this room itself, must hear of it. */
static void answer_refused(lm_dispatch_t *d, incoming_t *in, lm_rc_t why)
{
    if (in->row->kind == LM_CALL)
        lm_outbox_refuse(&d->out, &in->from, in->row, why);
    else if (in->call) /* it was handled over there, but nobody can tell how */
        lm_calls_fail(&d->calls, in->call, LM_RC_OUTCOME_UNKNOWN);
}

static lm_rc_t take_refusal(lm_dispatch_t *d, const incoming_t *in)
{
    lm_rc_t why = (lm_rc_t)in->envelope->refused;
    bool known = strcmp(lm_rc_name(why), "UNKNOWN_CODE") != 0;
    lm_calls_fail(&d->calls, in->call, known ? why : LM_RC_OUTCOME_UNKNOWN);
    return counted(d, LM_COUNT_RECEIVED, LM_RC_OK);
}

static lm_rc_t handle(lm_dispatch_t *d, incoming_t *in)
{
    void *body = NULL;
    lm_rc_t rc = check_content(d, in, &body);
    if (rc != LM_RC_OK) {
        answer_refused(d, in, rc);
        return dropped(in, rc);
    }
    if (in->row->number == LM_MSG_START && d->functions->on_start)
        d->functions->on_start(d->host, body);
    lm_message_t message = {.number = in->row->number,
                            .from = in->from,
                            .now_us = d->out.now_us,
                            .body = body,
                            .scratch = d->arena};
    if (in->call) lm_calls_end(&d->calls, &in->call);
    lm_count(&d->counters, LM_COUNT_RECEIVED);
    d->rows[in->row->number]->on(d->room, &message, &d->out);
    return LM_RC_OK;
}

lm_rc_t lm_dispatch_message(lm_dispatch_t *d, lm_participant_t connection, lm_bytes_t envelope,
                            lm_bytes_t body)
{
    incoming_t in = {.connection = connection, .bytes = body};
    if (d->out.ended) return LM_RC_DRAINING;
    lm_rc_t rc = read_envelope(d, &in, envelope);
    if (rc == LM_RC_OK) rc = check_ends(d, &in);
    if (rc == LM_RC_OK) rc = check_generations(d, &in);
    if (rc == LM_RC_OK) rc = check_kind(d, &in);
    if (rc != LM_RC_OK) return dropped(&in, rc);
    if (in.call && in.envelope->refused) return take_refusal(d, &in);
    void (*own)(lm_dispatch_t *, const void *) = own_handler(in.row->number);
    return own ? handle_own(d, &in, own) : handle(d, &in);
}

/* ---- peers ----------------------------------------------------------------------------------- */

/** Calls to a generation that is gone and that may not be made twice have an unknown outcome. */
static void fail_unrepeatable(lm_dispatch_t *d, lm_participant_t peer)
{
    for (lm_call_t *call = d->calls.by_correlation; call; call = call->hh.next)
        if (call->to == peer && call->sent && !call->row->repeated)
            lm_calls_fail(&d->calls, call, LM_RC_OUTCOME_UNKNOWN);
}

static void repeat_calls(lm_dispatch_t *d, lm_participant_t peer, uint64_t last)
{
    for (lm_call_t *call = d->calls.by_correlation; call; call = call->hh.next) {
        if (call->to != peer || call->why != LM_RC_OK || call->correlation > last) continue;
        if (call->deadline_us <= d->out.now_us) continue;
        if (call->sent) lm_count(&d->counters, LM_COUNT_REPEATED);
        lm_outbox_put_call(&d->out, call, call->body);
    }
}

void lm_dispatch_peer_up(lm_dispatch_t *d, lm_participant_t peer, lm_generation_t generation)
{
    lm_peer_t *p = &d->out.peers[peer];
    if (lm_generation_compare(generation, p->generation) <= 0) return;
    uint64_t last = d->calls.last_correlation;
    fail_unrepeatable(d, peer);
    p->generation = generation;
    p->there = true;
    p->full = false;
    if (d->definition->on_peer_up)
        d->definition->on_peer_up(d->room, peer, generation, d->out.now_us, &d->out);
    repeat_calls(d, peer, last);
    lm_dispatch_room_again(d, peer);
}

void lm_dispatch_room_again(lm_dispatch_t *d, lm_participant_t peer)
{
    lm_peer_t *p = &d->out.peers[peer];
    p->full = false;
    if (!p->stopped || !p->there) return;
    p->stopped = false;
    if (d->definition->on_room_again)
        d->definition->on_room_again(d->room, peer, d->out.now_us, &d->out);
}

/* ---- turns ----------------------------------------------------------------------------------- */

void lm_dispatch_begin(lm_dispatch_t *d, uint64_t now_us) { d->out.now_us = now_us; }

void lm_dispatch_inlet(lm_dispatch_t *d, void *item)
{
    LM_CHECK(d->definition->on_inlet, "%s has no inlet", lm_participant_name(d->definition->self));
    d->definition->on_inlet(d->room, item, d->out.now_us, &d->out);
}

void lm_dispatch_wake(lm_dispatch_t *d)
{
    if (d->out.ended || d->out.wake_at_us > d->out.now_us) return;
    uint64_t late_us = d->out.now_us - d->out.wake_at_us;
    if (late_us > LM_LATE_US) lm_count(&d->counters, LM_COUNT_LATE);
    d->out.wake_at_us = UINT64_MAX;
    if (d->definition->on_wake) d->definition->on_wake(d->room, d->out.now_us, late_us, &d->out);
}

/** Tells the room of the calls that have failed up to now; those that fail meanwhile have their
 *  turn in the next one. */
static void tell_failures(lm_dispatch_t *d)
{
    size_t n = 0;
    lm_call_t *call;
    DL_COUNT(d->calls.failed, call, n);
    while (n-- > 0 && (call = d->calls.failed)) {
        lm_message_number_t number = call->row->number;
        uint64_t correlation = call->correlation;
        lm_rc_t why = call->why;
        lm_calls_end(&d->calls, &call);
        lm_count(&d->counters, LM_COUNT_FAILED);
        if (d->definition->on_call_failed)
            d->definition->on_call_failed(d->room, number, correlation, why, d->out.now_us,
                                          &d->out);
    }
}

void lm_dispatch_end(lm_dispatch_t *d)
{
    lm_calls_expire(&d->calls, d->out.now_us);
    tell_failures(d);
    if (d->definition->on_turn_end) d->definition->on_turn_end(d->room, d->out.now_us, &d->out);
    if (d->stop_at_us != 0 && d->stop_at_us <= d->out.now_us)
        lm_outbox_exit(&d->out, LM_EXIT_OK, "");
}

void lm_dispatch_clear(lm_dispatch_t *d)
{
    for (int p = 0; p < LM_PARTICIPANTS; p++)
        LM_CHECK(!d->out.peers[p].first, "wishes for %s were left in the outbox",
                 lm_participant_name((lm_participant_t)p));
    lm_arena_reset(d->arena);
}

uint64_t lm_dispatch_next_us(const lm_dispatch_t *d)
{
    if (d->calls.failed) return 0;
    uint64_t next = lm_calls_next_deadline(&d->calls);
    if (d->out.wake_at_us < next) next = d->out.wake_at_us;
    if (d->stop_at_us != 0 && d->stop_at_us < next) next = d->stop_at_us;
    return next;
}
