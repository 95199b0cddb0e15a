#include "act_outbox.h"

#include <stdio.h>

#include "act_limits.h"
#include "base_check.h"
#include "base_log.h"
#include "wire_bus.h"

enum { CALL_TIMEOUT_US = 5 * 1000 * 1000 };

static inline bool is_none(lm_generation_t generation) { return generation.boot_id == 0; }

int lm_generation_compare(lm_generation_t a, lm_generation_t b)
{
    if (a.boot_id != b.boot_id) return a.boot_id < b.boot_id ? -1 : 1;
    return a.counter < b.counter ? -1 : a.counter > b.counter;
}

void lm_outbox_init(lm_outbox_t *out, lm_participant_t self, lm_generation_t generation,
                    lm_arena_t *arena, lm_calls_t *calls, lm_counters_t *counters)
{
    *out = (lm_outbox_t){.self = self,
                         .generation = generation,
                         .arena = arena,
                         .calls = calls,
                         .counters = counters,
                         .wake_at_us = UINT64_MAX};
    for (int p = 0; p < LM_PARTICIPANTS; p++) out->peers[p].last = &out->peers[p].first;
}

/* ---- wishes ---------------------------------------------------------------------------------- */

static lm_wish_t *put(lm_outbox_t *out, const lm_register_row_t *row, lm_participant_t to,
                      lm_generation_t to_generation, lm_bytes_t body)
{
    lm_peer_t *peer = &out->peers[to];
    lm_wish_t *wish = lm_arena_alloc(out->arena, sizeof *wish);
    *wish = (lm_wish_t){
        .order = ++out->order, .row = row, .to = to, .to_generation = to_generation, .body = body};
    *peer->last = wish;
    peer->last = &wish->next;
    return wish;
}

lm_wish_t *lm_outbox_take(lm_outbox_t *out, lm_participant_t to)
{
    lm_peer_t *peer = &out->peers[to];
    lm_wish_t *wish = peer->first;
    if (!wish) return NULL;
    peer->first = wish->next;
    if (!peer->first) peer->last = &peer->first;
    wish->next = NULL;
    return wish;
}

/** The row of a message that this room may send there; anything else is a fault of the room. */
static const lm_register_row_t *row_for(const lm_outbox_t *out, lm_participant_t to,
                                        lm_message_number_t number)
{
    const lm_register_row_t *row = lm_register_find(number);
    LM_CHECK(row, "there is no message %d", (int)number);
    LM_CHECK((unsigned)to < LM_PARTICIPANTS, "there is no participant %d", (int)to);
    LM_CHECK(row->senders & 1u << out->self, "%s does not send %s", lm_participant_name(out->self),
             row->name);
    LM_CHECK(row->receivers & 1u << to, "%s does not receive %s", lm_participant_name(to),
             row->name);
    return row;
}

static bool fits(lm_outbox_t *out, const lm_register_row_t *row, lm_bytes_t body)
{
    if (body.size <= row->limit_bytes) return true;
    lm_error("%s of %zu bytes is not sent: its limit is %zu", row->name, body.size,
             row->limit_bytes);
    lm_count(out->counters, LM_COUNT_OVERSIZED);
    return false;
}

/* ---- calls and replies ----------------------------------------------------------------------- */

void lm_outbox_put_call(lm_outbox_t *out, lm_call_t *call, lm_bytes_t body)
{
    lm_wish_t *wish = put(out, call->row, call->to, out->peers[call->to].generation, body);
    wish->correlation = call->correlation;
    wish->deadline_us = call->deadline_us;
    wish->trace_id = call->trace_id;
    call->sent = true;
}

uint64_t lm_outbox_call(lm_outbox_t *out, lm_participant_t to, lm_message_number_t number,
                        const void *body, uint64_t deadline_us, uint64_t trace_id)
{
    const lm_register_row_t *row = row_for(out, to, number);
    LM_CHECK(row->kind == LM_CALL, "%s is not a call", row->name);
    lm_bytes_t bytes = lm_wire_encode(row->body, body, out->arena);
    if (deadline_us == 0) deadline_us = out->now_us + CALL_TIMEOUT_US;
    bool fit = fits(out, row, bytes);
    bool room = out->calls->kept_bytes + bytes.size <= LM_CALL_BYTES_MAX;
    bool there = out->peers[to].there;
    bool keep = fit && room && (row->repeated || !there);
    lm_call_t *call = lm_calls_add(out->calls, row, to, deadline_us, trace_id, bytes, keep);
    uint64_t correlation = call->correlation;
    if (!fit)
        lm_calls_fail(out->calls, call, LM_RC_TOO_LARGE);
    else if (!room)
        lm_calls_fail(out->calls, call, LM_RC_OVERLOADED);
    else if (there && deadline_us > out->now_us)
        lm_outbox_put_call(out, call, bytes);
    return correlation;
}

void lm_outbox_forget(lm_outbox_t *out, uint64_t correlation)
{
    lm_calls_forget(out->calls, correlation);
}

/** True if somebody still waits for a reply to this call. */
static bool is_waited_for(lm_outbox_t *out, const lm_caller_t *to)
{
    const lm_peer_t *peer = &out->peers[to->participant];
    bool gone = lm_generation_compare(peer->generation, to->generation) != 0;
    bool late = to->deadline_us != 0 && to->deadline_us <= out->now_us;
    if (gone || late) lm_count(out->counters, LM_COUNT_REPLY_TO_NOBODY);
    return !gone && !late;
}

static void put_reply(lm_outbox_t *out, const lm_caller_t *to, const lm_register_row_t *row,
                      lm_bytes_t body, lm_rc_t refused)
{
    lm_wish_t *wish = put(out, row, to->participant, to->generation, body);
    wish->correlation = to->correlation;
    wish->trace_id = to->trace_id;
    wish->refused = refused;
}

void lm_outbox_reply(lm_outbox_t *out, const lm_caller_t *to, lm_message_number_t number,
                     const void *body)
{
    const lm_register_row_t *row = row_for(out, to->participant, number);
    LM_CHECK(row->kind == LM_REPLY, "%s is not a reply", row->name);
    LM_CHECK(to->correlation != 0, "%s answers no call", row->name);
    if (!is_waited_for(out, to)) return;
    lm_bytes_t bytes = lm_wire_encode(row->body, body, out->arena);
    if (fits(out, row, bytes))
        put_reply(out, to, row, bytes, LM_RC_OK);
    else
        put_reply(out, to, row, lm_bytes(NULL, 0), LM_RC_TOO_LARGE);
}

void lm_outbox_refuse(lm_outbox_t *out, const lm_caller_t *to, const lm_register_row_t *row,
                      lm_rc_t why)
{
    const lm_register_row_t *reply = lm_register_find(row->number + 1u);
    LM_CHECK(row->kind == LM_CALL && reply && reply->kind == LM_REPLY, "%s has no reply",
             row->name);
    if ((unsigned)to->participant < LM_PARTICIPANTS)
        put_reply(out, to, reply, lm_bytes(NULL, 0), why);
}

/* ---- casts, events and the rest -------------------------------------------------------------- */

bool lm_outbox_send(lm_outbox_t *out, lm_participant_t to, lm_message_number_t number,
                    const void *body)
{
    const lm_register_row_t *row = row_for(out, to, number);
    LM_CHECK(row->kind == LM_CAST || row->kind == LM_EVENT, "%s is not a cast or event", row->name);
    lm_peer_t *peer = &out->peers[to];
    if (row->when_full == LM_FULL_STOP && (!peer->there || peer->full)) {
        peer->stopped = true;
        return false;
    }
    lm_bytes_t bytes = lm_wire_encode(row->body, body, out->arena);
    if (fits(out, row, bytes)) put(out, row, to, peer->generation, bytes);
    return true;
}

void lm_outbox_wake(lm_outbox_t *out, uint64_t at_us)
{
    if (at_us < out->wake_at_us) out->wake_at_us = at_us;
}

void lm_outbox_ready(lm_outbox_t *out) { out->ready = true; }

void lm_outbox_exit(lm_outbox_t *out, lm_exit_t code, const char *words)
{
    if (out->ended) return;
    out->ended = true;
    out->exit_code = code;
    snprintf(out->words, sizeof out->words, "%s", words ? words : "");
}

size_t lm_outbox_counters(const lm_outbox_t *out, const lm_host_counter_t **counters)
{
    *counters = out->counters->rows;
    return LM_COUNTERS_N;
}

/* ---- envelopes ------------------------------------------------------------------------------- */

lm_bytes_t lm_outbox_envelope(const lm_outbox_t *out, const lm_wish_t *wish,
                              lm_generation_t to_generation, lm_arena_t *arena)
{
    lm_bus_generation_t from = {.boot_id = out->generation.boot_id,
                                .counter = out->generation.counter};
    lm_bus_generation_t to = {.boot_id = to_generation.boot_id, .counter = to_generation.counter};
    lm_bus_envelope_t envelope = {.version = 1,
                                  .number = wish->row->number,
                                  .from = out->self,
                                  .to = wish->to,
                                  .from_generation = &from,
                                  .to_generation = is_none(to_generation) ? NULL : &to,
                                  .correlation = wish->correlation,
                                  .deadline_us = wish->deadline_us,
                                  .trace_id = wish->trace_id,
                                  .refused = wish->refused};
    return lm_wire_encode(&lm_bus_envelope_type, &envelope, arena);
}
