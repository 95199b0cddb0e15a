#include "client_flight.h"

#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "client_internal.h"
#include "client_stream.h"

typedef struct place {
    lm_attempt_t attempt; /* its address is the tag, and leads back to the place */
    lm_client_method_t method;
    size_t endpoint;
    bool busy;
    bool streams;           /* its keep-alive is on a stream */
    struct place *unheeded; /* of those whose stream broke: the next one */
} place_t;

/** The way of keep-alives to an endpoint. */
typedef struct {
    lm_stream_t *stream; /* NULL: there is none that takes requests */
    bool unknown;        /* the node does not know such a thing */
    uint64_t flush_us;   /* when what was taken is sent; UINT64_MAX: there is nothing */
} way_t;

struct lm_flight {
    lm_client_t *client;
    grpc_completion_queue *queue;
    lm_arena_t *requests;
    way_t *ways;      /* by endpoint */
    size_t n_streams; /* that are not destroyed */
    place_t *broken;  /* those whose stream broke */
    size_t n_places;
    place_t places[];
};

lm_flight_t *lm_flight_open(lm_client_t *client, size_t places)
{
    size_t n_ways = lm_client_endpoints(client);
    lm_flight_t *flight = lm_alloc(sizeof *flight + places * sizeof flight->places[0]);
    *flight = (lm_flight_t){.client = client, .n_places = places};
    flight->queue = grpc_completion_queue_create_for_next(NULL);
    flight->requests = lm_arena_new();
    flight->ways = lm_alloc(n_ways * sizeof *flight->ways);
    for (size_t i = 0; i < n_ways; i++) flight->ways[i] = (way_t){.flush_us = UINT64_MAX};
    for (size_t i = 0; i < places; i++) flight->places[i].busy = false;
    return flight;
}

static void cancel_all(lm_flight_t *f)
{
    for (size_t i = 0; i < f->n_places; i++)
        if (f->places[i].busy && !f->places[i].streams)
            grpc_call_cancel(f->places[i].attempt.call, NULL);
    for (size_t i = 0; i < lm_client_endpoints(f->client); i++)
        if (f->ways[i].stream) lm_stream_cancel(f->ways[i].stream);
}

static bool is_busy(const lm_flight_t *f)
{
    bool busy = f->n_streams > 0;
    for (size_t i = 0; i < f->n_places; i++) busy = busy || f->places[i].busy;
    return busy;
}

void lm_flight_close(lm_flight_t **flight)
{
    lm_flight_t *f = *flight;
    lm_flight_end_t end;
    if (!f) return;
    cancel_all(f);
    while (is_busy(f)) lm_flight_next(f, 100000, f->requests, &end);
    grpc_completion_queue_shutdown(f->queue);
    grpc_completion_queue_next(f->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(f->queue);
    lm_arena_destroy(&f->requests);
    free(f->ways);
    free(f);
    *flight = NULL;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static place_t *take_place(lm_flight_t *flight, size_t place, size_t endpoint,
                           lm_client_method_t method)
{
    LM_CHECK(place < flight->n_places, "place %zu of %zu", place, flight->n_places);
    place_t *p = &flight->places[place];
    LM_CHECK(!p->busy, "place %zu is busy", place);
    p->busy = true;
    p->streams = false;
    p->method = method;
    p->endpoint = endpoint;
    lm_arena_reset(flight->requests);
    return p;
}

static void start(lm_flight_t *flight, place_t *p, lm_bytes_t request, uint64_t timeout_ms)
{
    bool started = lm_attempt_begin(&p->attempt, lm_client_channels(flight->client), p->endpoint,
                                    lm_client_row(p->method), request, timeout_ms, flight->queue);
    LM_CHECK(started, "gRPC refuses a batch to %s",
             lm_client_endpoint(flight->client, p->endpoint));
}

void lm_flight_start(lm_flight_t *flight, size_t place, size_t endpoint, lm_client_method_t method,
                     const void *request, uint64_t timeout_ms)
{
    place_t *p = take_place(flight, place, endpoint, method);
    start(flight, p, lm_client_encode(method, request, flight->requests), timeout_ms);
}

void lm_flight_keep(lm_flight_t *flight, size_t place, size_t endpoint,
                    const lm_api_keep_alive_request_t *request, uint64_t timeout_ms)
{
    place_t *p = take_place(flight, place, endpoint, LM_CLIENT_KEEP_ALIVE);
    way_t *way = &flight->ways[endpoint];
    lm_bytes_t bytes = lm_client_encode(LM_CLIENT_KEEP_ALIVE, request, flight->requests);
    if (!way->stream && !way->unknown) {
        way->stream = lm_stream_open(lm_client_channels(flight->client), endpoint, flight->queue);
        flight->n_streams++;
    }
    p->streams = way->stream && lm_stream_add(way->stream, request->session_id, bytes, p);
    if (!p->streams) start(flight, p, bytes, timeout_ms);
    uint64_t now_us = lm_client_clock_us();
    if (p->streams && way->flush_us == UINT64_MAX)
        way->flush_us = now_us - now_us % LM_FLIGHT_PACK_US + LM_FLIGHT_PACK_US;
}

/* ---- ending ---------------------------------------------------------------------------------- */

/** Everything but what the way of the call knows. */
static void end_place(lm_flight_t *flight, place_t *p, lm_flight_end_t *end)
{
    const char *endpoint = lm_client_endpoint(flight->client, p->endpoint);
    end->place = (size_t)(p - flight->places);
    end->method = p->method;
    end->response = NULL;
    end->result = (lm_client_result_t){.attempts = 1};
    snprintf(end->result.endpoint, sizeof end->result.endpoint, "%s", endpoint);
    p->busy = false;
}

static void break_stream(lm_flight_t *flight, const lm_stream_news_t *news)
{
    place_t *p;
    for (size_t i = 0; i < lm_client_endpoints(flight->client); i++) {
        if (flight->ways[i].stream != news->stream) continue;
        flight->ways[i] =
            (way_t){.unknown = news->status == GRPC_STATUS_UNIMPLEMENTED, .flush_us = UINT64_MAX};
    }
    while ((p = lm_stream_take(news->stream))) {
        p->unheeded = flight->broken;
        flight->broken = p;
    }
}

static bool next_broken(lm_flight_t *flight, lm_flight_end_t *end)
{
    place_t *p = flight->broken;
    if (!p) return false;
    flight->broken = p->unheeded;
    end_place(flight, p, end);
    end->result.grpc_status = GRPC_STATUS_UNAVAILABLE;
    end->result.code = LM_RC_INTERNAL;
    snprintf(end->result.text, sizeof end->result.text, "the stream of keep-alives has ended");
    return true;
}

/** True if a place has ended. */
static bool stream_event(lm_flight_t *flight, const grpc_event *event, lm_arena_t *arena,
                         lm_flight_end_t *end)
{
    void *response = NULL;
    lm_stream_news_t news = lm_stream_event(event->tag, event->success, arena);
    place_t *p = news.owner;
    if (news.over) break_stream(flight, &news);
    if (news.last) {
        lm_stream_destroy(&news.stream);
        flight->n_streams--;
    }
    if (!p) return next_broken(flight, end);
    end_place(flight, p, end);
    end->result.sent_us = news.sent_us;
    end->result.own = true;
    lm_rc_t code =
        lm_wire_decode(&lm_api_keep_alive_response_type, news.answer, arena, &response, NULL);
    LM_CHECK(code == LM_RC_OK, "an answer that could be read cannot: %s", lm_rc_name(code));
    end->response = response;
    return true;
}

static bool is_place(const lm_flight_t *flight, const void *tag)
{
    uintptr_t first = (uintptr_t)flight->places,
              end = (uintptr_t)(flight->places + flight->n_places);
    return (uintptr_t)tag >= first && (uintptr_t)tag < end;
}

static void call_ended(lm_flight_t *flight, place_t *p, lm_arena_t *arena, lm_flight_end_t *end)
{
    end_place(flight, p, end);
    lm_attempt_end(&p->attempt, lm_client_row(p->method), arena, &end->response, &end->result);
}

/** Sends what is due. Returns when there is more of that. */
static uint64_t flush(lm_flight_t *flight, uint64_t now_us)
{
    uint64_t next_us = UINT64_MAX;
    for (size_t i = 0; i < lm_client_endpoints(flight->client); i++) {
        way_t *way = &flight->ways[i];
        if (way->flush_us <= now_us) {
            way->flush_us = UINT64_MAX;
            lm_stream_flush(way->stream);
        }
        if (way->flush_us < next_us) next_us = way->flush_us;
    }
    return next_us;
}

/** False: nothing happened before that time, or it is time to flush. */
static bool next_event(lm_flight_t *flight, uint64_t now_us, uint64_t until_us, grpc_event *event)
{
    uint64_t flush_us = flush(flight, now_us);
    if (flush_us < until_us) until_us = flush_us;
    int64_t wait_us = until_us > now_us ? (int64_t)(until_us - now_us) : 0;
    gpr_timespec until =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(wait_us, GPR_TIMESPAN));
    *event = grpc_completion_queue_next(flight->queue, until, NULL);
    return event->type == GRPC_OP_COMPLETE;
}

bool lm_flight_next(lm_flight_t *flight, uint64_t wait_us, lm_arena_t *arena, lm_flight_end_t *end)
{
    grpc_event event;
    uint64_t now_us = lm_client_clock_us(), until_us = now_us + wait_us;
    for (;; now_us = lm_client_clock_us()) {
        if (next_broken(flight, end)) return true;
        if (!next_event(flight, now_us, until_us, &event)) {
            if (lm_client_clock_us() >= until_us) return false;
        } else if (is_place(flight, event.tag)) {
            call_ended(flight, (place_t *)event.tag, arena, end);
            return true;
        } else if (stream_event(flight, &event, arena, end)) {
            return true;
        }
    }
}

bool lm_flight_is_passing(const lm_client_result_t *result)
{
    bool is_ours = result->code == LM_RC_OUTCOME_UNKNOWN || result->code == LM_RC_OVERLOADED;
    return result->grpc_status == GRPC_STATUS_UNAVAILABLE ||
           result->grpc_status == GRPC_STATUS_DEADLINE_EXCEEDED || (result->own && is_ours);
}
