/* The test host: bytes go through the same serializing and the same checks as between processes,
 * only the pipes are lists.
 *
 * Invariant
 *   T1  What a test was given stays valid until the host is destroyed: sent messages are decoded
 *       into an arena that is never emptied. */
#include "act_test_host.h"

#include <stdlib.h>
#include <utlist.h>

#include "act_dispatch.h"
#include "act_limits.h"
#include "base_check.h"
#include "wire_bus.h"

enum { START_US = 1000 * 1000, DELIVERY_TIMEOUT_US = 5 * 1000 * 1000 };

typedef struct sent {
    lm_test_sent_t public;
    struct sent *prev, *next;
} sent_t;

struct lm_test_host {
    lm_dispatch_t d;
    uint64_t now_us;
    uint64_t last_correlation; /* of calls the test makes */
    lm_rc_t refused;
    bool full[LM_PARTICIPANTS];
    lm_arena_t *forever;
    sent_t *sent;
};

static void begin(lm_test_host_t *host) { lm_dispatch_begin(&host->d, host->now_us); }

lm_test_host_t *lm_test_host_new(const lm_room_t *definition, void *room)
{
    lm_test_host_t *host = lm_alloc(sizeof *host);
    lm_generation_t first = {.boot_id = 1, .counter = 1};
    host->now_us = START_US;
    host->forever = lm_arena_new();
    lm_dispatch_init(&host->d, definition, room, first, NULL, NULL);
    begin(host);
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        host->d.out.peers[p].generation = first;
        host->d.out.peers[p].there = true;
    }
    return host;
}

void lm_test_host_destroy(lm_test_host_t **host)
{
    if (!*host) return;
    lm_dispatch_destroy(&(*host)->d);
    lm_arena_destroy(&(*host)->forever);
    free(*host);
    *host = NULL;
}

uint64_t lm_test_now(const lm_test_host_t *host) { return host->now_us; }

/* ---- what the room sends --------------------------------------------------------------------- */

/** The oldest wish of the outbox, whoever it is for. */
static lm_wish_t *take_oldest(lm_outbox_t *out)
{
    lm_participant_t oldest = LM_NOBODY;
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        const lm_wish_t *first = out->peers[p].first;
        if (first && (oldest == LM_NOBODY || first->order < out->peers[oldest].first->order))
            oldest = (lm_participant_t)p;
    }
    return oldest == LM_NOBODY ? NULL : lm_outbox_take(out, oldest);
}

static void note_sent(lm_test_host_t *host, const lm_wish_t *wish)
{
    sent_t *sent = lm_arena_alloc(host->forever, sizeof *sent);
    lm_bytes_t bytes = lm_arena_copy(host->forever, wish->body);
    void *body = NULL;
    lm_rc_t rc = lm_wire_decode(wish->row->body, bytes, host->forever, &body, NULL);
    LM_CHECK(rc == LM_RC_OK, "%s that was sent cannot be decoded: %s", wish->row->name,
             lm_rc_name(rc));
    sent->public = (lm_test_sent_t){.number = wish->row->number,
                                    .to = wish->to,
                                    .correlation = wish->correlation,
                                    .deadline_us = wish->deadline_us,
                                    .body = body};
    DL_APPEND(host->sent, sent);
}

/** What a full pipe does to a message, as the process host does it. */
static void meet_full_pipe(lm_test_host_t *host, const lm_wish_t *wish)
{
    lm_peer_t *peer = &host->d.out.peers[wish->to];
    peer->full = true;
    switch (wish->row->when_full) {
    case LM_FULL_REFUSE: {
        lm_call_t *call = lm_calls_find(&host->d.calls, wish->correlation);
        if (call) lm_calls_fail(&host->d.calls, call, LM_RC_OVERLOADED);
        break;
    }
    case LM_FULL_MERGE: lm_count(&host->d.counters, LM_COUNT_MERGED); break;
    case LM_FULL_KEEP:
    case LM_FULL_STOP: note_sent(host, wish); break;
    }
}

static void flush(lm_test_host_t *host)
{
    lm_outbox_t *out = &host->d.out;
    lm_wish_t *wish;
    while ((wish = take_oldest(out))) {
        const lm_peer_t *peer = &out->peers[wish->to];
        lm_bytes_t envelope = lm_outbox_envelope(out, wish, peer->generation, host->d.arena);
        LM_CHECK(envelope.size <= LM_ENVELOPE_BYTES_MAX, "envelope of %zu bytes", envelope.size);
        if (lm_generation_compare(wish->to_generation, peer->generation) != 0)
            lm_count(&host->d.counters, LM_COUNT_STALE);
        else if (wish->refused != LM_RC_OK)
            continue;
        else if (host->full[wish->to])
            meet_full_pipe(host, wish);
        else
            note_sent(host, wish);
    }
}

void lm_test_turn(lm_test_host_t *host)
{
    do {
        begin(host);
        lm_dispatch_end(&host->d);
        flush(host);
    } while (host->d.calls.failed);
    lm_dispatch_clear(&host->d);
}

/* ---- what comes in --------------------------------------------------------------------------- */

static void feed(lm_test_host_t *host, lm_participant_t from, const lm_register_row_t *row,
                 lm_bus_envelope_t envelope, const void *body)
{
    lm_generation_t generation = host->d.out.peers[from].generation;
    lm_bus_generation_t theirs = {.boot_id = generation.boot_id, .counter = generation.counter};
    lm_bus_generation_t ours = {.boot_id = 1, .counter = 1};
    envelope.version = 1;
    envelope.number = row->number;
    envelope.from = from;
    envelope.to = host->d.definition->self;
    envelope.from_generation = &theirs;
    envelope.to_generation = &ours;
    lm_arena_t *arena = host->d.arena;
    lm_bytes_t bytes = body ? lm_wire_encode(row->body, body, arena) : lm_bytes(NULL, 0);
    begin(host);
    host->refused = lm_dispatch_message(
        &host->d, from, lm_wire_encode(&lm_bus_envelope_type, &envelope, arena), bytes);
}

static const lm_register_row_t *row_of(lm_participant_t from, lm_message_number_t number)
{
    const lm_register_row_t *row = lm_register_find(number);
    LM_CHECK(row && from > LM_NOBODY && from < LM_PARTICIPANTS, "message %d from %d", (int)number,
             (int)from);
    return row;
}

uint64_t lm_test_feed(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                      const void *body, uint64_t deadline_us)
{
    const lm_register_row_t *row = row_of(from, number);
    lm_bus_envelope_t envelope = {.deadline_us = deadline_us};
    if (row->kind == LM_CALL) {
        envelope.correlation = ++host->last_correlation;
        if (!deadline_us) envelope.deadline_us = host->now_us + DELIVERY_TIMEOUT_US;
    }
    feed(host, from, row, envelope, body);
    return envelope.correlation;
}

uint64_t lm_test_deliver(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                         const void *body, uint64_t deadline_us)
{
    uint64_t correlation = lm_test_feed(host, from, number, body, deadline_us);
    lm_test_turn(host);
    return correlation;
}

void lm_test_reply(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                   uint64_t correlation, const void *body)
{
    lm_bus_envelope_t envelope = {.correlation = correlation};
    feed(host, from, row_of(from, number), envelope, body);
    lm_test_turn(host);
}

void lm_test_refuse(lm_test_host_t *host, lm_participant_t from, lm_message_number_t number,
                    uint64_t correlation, lm_rc_t why)
{
    const lm_register_row_t *row = row_of(from, number);
    LM_CHECK(row->kind == LM_CALL, "%s is not a call", row->name);
    lm_bus_envelope_t envelope = {.correlation = correlation, .refused = why};
    feed(host, from, row_of(from, (lm_message_number_t)(number + 1)), envelope, NULL);
    lm_test_turn(host);
}

void lm_test_raw(lm_test_host_t *host, lm_bytes_t envelope, lm_bytes_t body)
{
    begin(host);
    host->refused = lm_dispatch_message(&host->d, LM_NOBODY, envelope, body);
    lm_test_turn(host);
}

lm_rc_t lm_test_refused(const lm_test_host_t *host) { return host->refused; }

void lm_test_inlet(lm_test_host_t *host, void *item)
{
    begin(host);
    lm_dispatch_inlet(&host->d, item);
    lm_test_turn(host);
}

void lm_test_restart_peer(lm_test_host_t *host, lm_participant_t peer)
{
    lm_generation_t next = host->d.out.peers[peer].generation;
    next.counter++;
    begin(host);
    lm_dispatch_peer_up(&host->d, peer, next);
    lm_test_turn(host);
}

void lm_test_fill_pipe(lm_test_host_t *host, lm_participant_t peer, bool full)
{
    bool was_full = host->full[peer];
    host->full[peer] = full;
    host->d.out.peers[peer].full = full;
    if (full || !was_full) return;
    begin(host);
    lm_dispatch_room_again(&host->d, peer);
    lm_test_turn(host);
}

/* ---- time ------------------------------------------------------------------------------------ */

void lm_test_advance(lm_test_host_t *host, uint64_t us)
{
    uint64_t end_us = host->now_us + us;
    for (;;) {
        uint64_t next_us = lm_dispatch_next_us(&host->d);
        if (host->d.out.ended || next_us > end_us) break;
        if (next_us > host->now_us) host->now_us = next_us;
        begin(host);
        lm_dispatch_wake(&host->d);
        lm_test_turn(host);
    }
    host->now_us = end_us;
    begin(host);
}

void lm_test_freeze(lm_test_host_t *host, uint64_t us)
{
    host->now_us += us;
    begin(host);
}

/* ---- looking --------------------------------------------------------------------------------- */

const lm_test_sent_t *lm_test_take(lm_test_host_t *host, lm_message_number_t number)
{
    sent_t *sent;
    DL_FOREACH(host->sent, sent)
    {
        if (number != LM_MSG_NONE && sent->public.number != number) continue;
        DL_DELETE(host->sent, sent);
        return &sent->public;
    }
    return NULL;
}

size_t lm_test_count(const lm_test_host_t *host, lm_message_number_t number)
{
    size_t n = 0;
    const sent_t *sent;
    DL_FOREACH(host->sent, sent)
    n += number == LM_MSG_NONE || sent->public.number == number;
    return n;
}

bool lm_test_is_ready(const lm_test_host_t *host) { return host->d.out.ready; }

bool lm_test_has_ended(const lm_test_host_t *host, lm_exit_t *code)
{
    if (host->d.out.ended && code) *code = host->d.out.exit_code;
    return host->d.out.ended;
}

size_t lm_test_told_to_new_health(lm_test_host_t *host)
{
    while (lm_test_take(host, LM_MSG_STATUS_REPORT)) continue;
    lm_test_restart_peer(host, LM_HEALTH);
    return lm_test_count(host, LM_MSG_STATUS_REPORT);
}

uint64_t lm_test_counter(const lm_test_host_t *host, const char *name)
{
    const lm_host_counter_t *counters;
    size_t n = lm_outbox_counters(&host->d.out, &counters);
    for (size_t i = 0; i < n; i++)
        if (strcmp(counters[i].name, name) == 0) return counters[i].value;
    LM_CHECK(false, "there is no counter %s", name);
    return 0;
}
