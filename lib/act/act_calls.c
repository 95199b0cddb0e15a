#include "act_calls.h"

#include <stdlib.h>
#include <utlist.h>

#include "base_check.h"

/* ---- heap of deadlines ----------------------------------------------------------------------- */

static void heap_put(lm_calls_t *calls, size_t at, lm_call_t *call)
{
    calls->heap[at] = call;
    call->heap_at = at;
}

static void heap_rise(lm_calls_t *calls, size_t at, lm_call_t *call)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (calls->heap[parent]->deadline_us <= call->deadline_us) break;
        heap_put(calls, at, calls->heap[parent]);
        at = parent;
    }
    heap_put(calls, at, call);
}

static void heap_sink(lm_calls_t *calls, size_t at, lm_call_t *call)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= calls->n_heap) break;
        if (child + 1 < calls->n_heap &&
            calls->heap[child + 1]->deadline_us < calls->heap[child]->deadline_us)
            child++;
        if (calls->heap[child]->deadline_us >= call->deadline_us) break;
        heap_put(calls, at, calls->heap[child]);
        at = child;
    }
    heap_put(calls, at, call);
}

static void heap_add(lm_calls_t *calls, lm_call_t *call)
{
    if (calls->n_heap == calls->heap_room) {
        calls->heap_room = calls->heap_room ? 2 * calls->heap_room : 64;
        calls->heap = lm_realloc(calls->heap, calls->heap_room * sizeof(lm_call_t *));
    }
    heap_rise(calls, calls->n_heap++, call);
}

static void heap_remove(lm_calls_t *calls, lm_call_t *call)
{
    size_t at = call->heap_at;
    LM_CHECK(at < calls->n_heap && calls->heap[at] == call, "call %lu is not at %zu of %zu",
             (unsigned long)call->correlation, at, calls->n_heap);
    lm_call_t *last = calls->heap[--calls->n_heap];
    if (last == call) return;
    if (at > 0 && calls->heap[(at - 1) / 2]->deadline_us > last->deadline_us)
        heap_rise(calls, at, last);
    else
        heap_sink(calls, at, last);
}

/* ---- the table ------------------------------------------------------------------------------- */

lm_call_t *lm_calls_add(lm_calls_t *calls, const lm_register_row_t *row, lm_participant_t to,
                        uint64_t deadline_us, uint64_t trace_id, lm_bytes_t body, bool keep)
{
    LM_CHECK(deadline_us > 0, "%s has no deadline", row->name);
    lm_call_t *call = lm_alloc(sizeof *call);
    call->correlation = ++calls->last_correlation;
    call->row = row;
    call->to = to;
    call->deadline_us = deadline_us;
    call->trace_id = trace_id;
    if (keep && body.size) {
        uint8_t *copy = lm_alloc(body.size);
        memcpy(copy, body.data, body.size);
        call->body = lm_bytes(copy, body.size);
        calls->kept_bytes += body.size;
    }
    HASH_ADD(hh, calls->by_correlation, correlation, sizeof call->correlation, call);
    heap_add(calls, call);
    return call;
}

static lm_call_t *find_any(lm_calls_t *calls, uint64_t correlation)
{
    lm_call_t *call = NULL;
    HASH_FIND(hh, calls->by_correlation, &correlation, sizeof correlation, call);
    return call;
}

lm_call_t *lm_calls_find(lm_calls_t *calls, uint64_t correlation)
{
    lm_call_t *call = find_any(calls, correlation);
    return call && call->why == LM_RC_OK ? call : NULL;
}

void lm_calls_end(lm_calls_t *calls, lm_call_t **call)
{
    lm_call_t *gone = *call;
    *call = NULL;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
    HASH_DEL(calls->by_correlation, gone);
    if (gone->why == LM_RC_OK)
        heap_remove(calls, gone);
    else
        DL_DELETE(calls->failed, gone);
    calls->kept_bytes -= gone->body.size;
    free((void *)(uintptr_t)gone->body.data);
    free(gone);
}

void lm_calls_forget(lm_calls_t *calls, uint64_t correlation)
{
    lm_call_t *call = find_any(calls, correlation);
    if (call) lm_calls_end(calls, &call);
}

void lm_calls_fail(lm_calls_t *calls, lm_call_t *call, lm_rc_t why)
{
    LM_CHECK(why != LM_RC_OK, "call %lu cannot fail with OK", (unsigned long)call->correlation);
    if (call->why != LM_RC_OK) return;
    heap_remove(calls, call);
    call->why = why;
    DL_APPEND(calls->failed, call);
}

void lm_calls_expire(lm_calls_t *calls, uint64_t now_us)
{
    while (calls->n_heap && calls->heap[0]->deadline_us <= now_us)
        lm_calls_fail(calls, calls->heap[0], LM_RC_DEADLINE_EXCEEDED);
}

uint64_t lm_calls_next_deadline(const lm_calls_t *calls)
{
    return calls->n_heap ? calls->heap[0]->deadline_us : UINT64_MAX;
}

void lm_calls_destroy(lm_calls_t *calls)
{
    lm_call_t *call, *next;
    HASH_ITER(hh, calls->by_correlation, call, next) lm_calls_end(calls, &call);
    free(calls->heap);
    *calls = (lm_calls_t){0};
}
