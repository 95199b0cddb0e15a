/* One call that lock decides: attempts at the own lock, at the leader, and the one answer.
 *
 *   begin --> own lock --RESULT, ERROR--------------------------> answered
 *               ^   |                                              ^   ^
 *               |   FORWARD, leader known --> forward --answer-----+   |
 *               |   FORWARD, no leader           |                     |
 *               +---after a while----------------+    time is up ------+
 *
 * Invariants
 *   FA1  While a call waits for its answer, exactly one of these holds: an attempt at the own
 *        lock runs, a forward runs, or a retry is planned.
 *   FA2  An attempt that the call has left is remembered until its reply has come or cannot come:
 *        it may be a grant, which has to be reported (S10, S13).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base_check.h"
#include "base_fault.h"
#include "frontend_clients_state.h"
#include "frontend_fields.h"

enum {
    MARGIN_US = 75000,  /* an answer on its way back to the client takes at most this */
    HOP_US = 20000,     /* and from node to node */
    ROUNDED_PART = 100, /* gRPC rounds timeouts up on the wire, by up to 1 percent */
    DEFAULT_US = 30000000,
    BACKOFF_FIRST_US = 10000,
    BACKOFF_LAST_US = 100000,
    BACKOFF_LAST_MANY_US = 500000,
    MANY_CALLS = 1000,
};

bool lm_frontend_call_grants(const lm_peer_lock_answer_t *answer)
{
    return answer->kind == LM_PEER_ANSWER_KIND_RESULT && answer->acquire &&
           answer->acquire->result == LM_API_ACQUIRE_RESULT_GRANTED;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Which member of LOCK_CALL and LOCK_ANSWER belongs to a method. */
static const struct {
    int32_t request_case;
    size_t request, response;
    const lm_wire_type_t *response_type;
} members[LM_METHODS] = {
#define MEMBER(METHOD, name)                                     \
    [LM_METHOD_##METHOD] = {LM_PEER_LOCK_CALL_REQUEST_##METHOD,  \
                            offsetof(lm_peer_lock_call_t, name), \
                            offsetof(lm_peer_lock_answer_t, name), &lm_api_##name##_response_type}
    MEMBER(ACQUIRE, acquire),
    MEMBER(RELEASE, release),
    MEMBER(RENEW, renew),
    MEMBER(CANCEL, cancel),
    MEMBER(GET, get),
    MEMBER(LIST, list),
    MEMBER(OPEN_SESSION, open_session),
    MEMBER(KEEP_ALIVE, keep_alive),
    MEMBER(CLOSE_SESSION, close_session),
    MEMBER(GET_SESSION, get_session),
    MEMBER(LIST_SESSIONS, list_sessions),
#undef MEMBER
    [LM_METHOD_KEEP_ALIVE_STREAM] = {LM_PEER_LOCK_CALL_REQUEST_KEEP_ALIVE,
                                     offsetof(lm_peer_lock_call_t, keep_alive),
                                     offsetof(lm_peer_lock_answer_t, keep_alive),
                                     &lm_api_keep_alive_response_type},
};

static void set_request_id(const lm_frontend_call_t *call, lm_peer_lock_call_t *request)
{
    if (!call->request_id[0]) return;
    lm_bytes_t id = lm_bytes_of(call->request_id);
    if (request->acquire) request->acquire->request_id = id;
    if (request->release) request->release->request_id = id;
    if (request->open_session) request->open_session->request_id = id;
}

/* What earlier attempts have used of a wait is not waited again (S13). A wait stays one: whether a
 * request waits at all belongs to what it is. */
static void shorten_wait(const lm_frontend_call_t *call, lm_api_acquire_request_t *acquire)
{
    if (!acquire || acquire->wait_ms <= 0) return;
    int64_t used_ms = (int64_t)((call->room->frame.now_us - call->begun_us) / 1000);
    acquire->wait_ms = used_ms < acquire->wait_ms ? acquire->wait_ms - used_ms : 1;
}

/* The request as it came, where LOCK_CALL has it. */
static lm_peer_lock_call_t *as_lock_call(const lm_frontend_call_t *call, void *decoded)
{
    if (call->method->id == LM_METHOD_FORWARD) return ((lm_peer_forward_request_t *)decoded)->call;
    lm_peer_lock_call_t *request = lm_arena_alloc(call->room->frame.scratch, sizeof *request);
    request->request_case = members[call->method->id].request_case;
    *(void **)(void *)((char *)request + members[call->method->id].request) = decoded;
    set_request_id(call, request);
    return request;
}

const lm_peer_lock_call_t *lm_frontend_call_request(lm_frontend_call_t *call)
{
    void *decoded = NULL;
    lm_bytes_t payload = lm_frontend_event_payload(call->event);
    lm_rc_t code =
        lm_wire_decode(call->method->request, payload, call->room->frame.scratch, &decoded, NULL);
    LM_CHECK(code == LM_RC_OK, "a request that was decoded before: %s", lm_rc_name(code));
    lm_peer_lock_call_t *request = as_lock_call(call, decoded);
    shorten_wait(call, request->acquire);
    return request;
}

/* 128 bits that no other call has: the seed tells starts of nodes apart, the count their calls. */
static uint64_t mix(uint64_t value)
{
    value ^= value >> 30;
    value *= UINT64_C(0xbf58476d1ce4e5b9);
    value ^= value >> 27;
    value *= UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static void make_request_id(lm_frontend_call_t *call)
{
    lm_frontend_clients_t *room = call->room;
    uint64_t number = ++room->n_ids;
    snprintf(call->request_id, sizeof call->request_id, "%016" PRIx64 "%016" PRIx64,
             mix(room->seed[0] + number * UINT64_C(0x9e3779b97f4a7c15)),
             mix(room->seed[1] ^ mix(number)));
}

/* ---- beginning ------------------------------------------------------------------------------- */

static uint64_t own_limit_us(const lm_peer_lock_call_t *request)
{
    if (!request->acquire || request->acquire->wait_ms == 0) return DEFAULT_US;
    int64_t wait_ms = request->acquire->wait_ms;
    if (wait_ms < 0) wait_ms = LM_WAIT_MS_MAX;
    return (uint64_t)wait_ms * 1000 + DEFAULT_US;
}

static void set_times(lm_frontend_call_t *call, const lm_peer_lock_call_t *request)
{
    uint64_t now_us = call->room->frame.now_us;
    uint64_t limit_us = own_limit_us(request);
    if (call->event->deadline_us) {
        uint64_t deadline_us = call->event->deadline_us;
        uint64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
        uint64_t margin_us = MARGIN_US + left_us / ROUNDED_PART;
        if (margin_us > left_us / 2) margin_us = left_us / 2;
        /* Another node has taken its own margin off already. */
        if (call->method->id == LM_METHOD_FORWARD && margin_us > HOP_US) margin_us = HOP_US;
        if (left_us - margin_us < limit_us) limit_us = left_us - margin_us;
    }
    if (call->method->id == LM_METHOD_FORWARD && request->context) {
        uint64_t told_us = request->context->remaining_ms < LM_WAIT_MS_MAX * UINT64_C(2)
                               ? request->context->remaining_ms * 1000
                               : LM_WAIT_MS_MAX * UINT64_C(2000);
        if (told_us < limit_us) limit_us = told_us;
    }
    call->give_up_us = now_us + limit_us;
}

/* The end of a call that has not begun; of a stream's request it is that of the stream. */
static void refuse(lm_frontend_clients_t *room, lm_frontend_event_t *event,
                   const lm_frontend_error_t *error)
{
    if (!event->handle->method->stream) {
        lm_frontend_frame_fail(&room->frame, event->handle, error);
        return;
    }
    room->frame.driver->ops->consumed(room->frame.driver, event->handle, event->size);
    lm_frontend_stream_fail(room, event->handle->owner, error);
}

/* The request in the event, checked; NULL: refused and finished. */
static const lm_peer_lock_call_t *check(lm_frontend_clients_t *room, lm_frontend_event_t *event,
                                        lm_frontend_hop_t *from)
{
    lm_frontend_handle_t *handle = event->handle;
    if (handle->method->id == LM_METHOD_FORWARD)
        return lm_frontend_forward_accept(room, event, from);
    lm_frontend_error_t error = {0};
    if (event->missing) {
        error = (lm_frontend_error_t){.code = LM_RC_MALFORMED,
                                      .text = lm_bytes_of("the call carries no message")};
    } else if (event->oversized) {
        room->oversized++;
        error = (lm_frontend_error_t){
            .code = LM_RC_TOO_LARGE,
            .text = lm_arena_print(room->frame.scratch, "a request has at most %u bytes",
                                   room->frame.config->request_bytes_max)};
    } else {
        void *decoded;
        lm_frontend_fields_decode(handle->method, lm_frontend_event_payload(event),
                                  room->frame.scratch, &decoded, &error);
        if (error.code == LM_RC_MALFORMED)
            room->undecodable++;
        else if (error.code)
            room->invalid++;
        if (error.code == LM_RC_OK && lm_frontend_access_permit(room, handle, decoded, &error)) {
            lm_peer_lock_call_t *request = lm_arena_alloc(room->frame.scratch, sizeof *request);
            *(void **)(void *)((char *)request + members[handle->method->id].request) = decoded;
            return request;
        }
    }
    refuse(room, event, &error);
    return NULL;
}

static bool is_numbered(const lm_api_session_part_t *session)
{
    return session && session->request_number;
}

static bool needs_request_id(const lm_peer_lock_call_t *request)
{
    const lm_api_acquire_request_t *acquire = request->acquire;
    const lm_api_release_request_t *release = request->release;
    if (acquire) return acquire->request_id.size == 0 && !is_numbered(acquire->session);
    if (release) return release->request_id.size == 0 && !is_numbered(release->session);
    return request->open_session && request->open_session->request_id.size == 0;
}

/* Who makes the call, as it has been proven here or to the node that passes it on (S11a). A copy:
 * tokens come and go while a call waits. */
static lm_bytes_t identity_of(lm_frontend_clients_t *room, const lm_frontend_handle_t *handle,
                              const lm_peer_lock_call_t *request)
{
    lm_bytes_t identity = lm_bytes(NULL, 0);
    if (handle->method->id != LM_METHOD_FORWARD)
        identity = lm_frontend_access_identity(room, handle);
    else if (request->context)
        identity = request->context->identity;
    if (identity.size == 0) return lm_bytes(NULL, 0);
    return lm_bytes(memcpy(lm_alloc(identity.size), identity.data, identity.size), identity.size);
}

static void attempt_own(lm_frontend_call_t *call);

/* ---- admission ------------------------------------------------------------------------------- */

static bool is_question(const lm_peer_lock_call_t *request)
{
    return request->get || request->list || request->get_session || request->list_sessions;
}

static bool is_refused_for_load(lm_frontend_clients_t *room, const lm_frontend_event_t *event,
                                const lm_peer_lock_call_t *request)
{
    if (event->sifted) return lm_frontend_admission_is_full(&room->admission);
    lm_frontend_admission_class_t class = LM_ADMISSION_VITAL;
    if (request->acquire || request->open_session) class = LM_ADMISSION_ACQUIRE;
    if (is_question(request)) class = LM_ADMISSION_READ;
    return lm_frontend_admission_refuses(&room->admission, room->frame.now_us, class);
}

static void refuse_for_load(lm_frontend_clients_t *room, lm_frontend_handle_t *handle)
{
    if (handle->method->id == LM_METHOD_FORWARD) {
        lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_ERROR,
                                        .code = LM_RC_OVERLOADED};
        lm_peer_forward_response_t response = {.answer = &answer};
        lm_frontend_frame_finish(
            &room->frame, handle,
            lm_wire_encode(&lm_peer_forward_response_type, &response, room->frame.scratch));
    } else {
        lm_frontend_frame_fail(&room->frame, handle,
                               &(lm_frontend_error_t){.code = LM_RC_OVERLOADED});
    }
}

static void weigh(lm_frontend_call_t *call, const lm_peer_lock_call_t *request)
{
    call->weighed = !request->acquire || request->acquire->wait_ms == 0;
    lm_frontend_admission_begins(&call->room->admission, !call->weighed);
}

static void weigh_no_more(lm_frontend_call_t *call)
{
    if (!call->weighed) return;
    call->weighed = false;
    uint64_t arrived_us = call->event->arrived_us ? call->event->arrived_us : call->begun_us;
    lm_frontend_admission_ends(&call->room->admission, call->room->frame.now_us, arrived_us,
                               call->decided);
}

void lm_frontend_call_begin(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_hop_t from = {0};
    const lm_peer_lock_call_t *request = check(room, event, &from);
    if (!request) {
        lm_frontend_event_free(event);
        return;
    }
    if (room->frame.stopping) {
        refuse(room, event, &(lm_frontend_error_t){.code = LM_RC_DRAINING});
        lm_frontend_event_free(event);
        return;
    }
    if (is_refused_for_load(room, event, request)) {
        refuse_for_load(room, event->handle);
        lm_frontend_event_free(event);
        return;
    }
    lm_frontend_call_t *call = lm_alloc(sizeof *call);
    call->room = room;
    call->handle = event->handle;
    if (event->handle->method->stream) {
        call->stream = call->handle->owner;
        DL_APPEND2(call->stream->calls, call, prev_of_stream, next_of_stream);
    } else {
        call->handle->owner = call;
    }
    call->method = event->handle->method;
    call->event = event;
    call->from = from;
    call->identity = identity_of(room, event->handle, request);
    call->last_refusal = LM_RC_NOT_READY;
    call->backoff_us = BACKOFF_FIRST_US;
    call->begun_us = room->frame.now_us;
    call->changes = !is_question(request);
    if (call->method->id == LM_METHOD_FORWARD) {
        call->stamped = request->context && request->context->stamped;
        call->stamp = request->context ? request->context->stamp : 0;
        call->seen = request->context && request->context->seen;
    } else if (needs_request_id(request)) {
        make_request_id(call);
    }
    set_times(call, request);
    weigh(call, request);
    DL_APPEND(room->calls, call);
    room->n_calls++;
    lm_frontend_timers_set(&room->timers, &call->timer, call->give_up_us);
    if (call->give_up_us > room->frame.now_us) attempt_own(call);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void attempt_own(lm_frontend_call_t *call)
{
    lm_frontend_clients_t *room = call->room;
    const lm_peer_lock_call_t *request = lm_frontend_call_request(call);
    lm_peer_lock_call_t body = *request;
    bool forwarded = call->method->id == LM_METHOD_FORWARD;
    lm_peer_call_context_t context = {
        .stamped = call->stamped,
        .stamp = call->stamp,
        .seen = call->seen,
        .forwarded = forwarded,
        .identity = call->identity,
        .remaining_ms = (call->give_up_us - room->frame.now_us) / 1000};
    body.context = &context;
    call->retry_at_us = 0;
    call->attempt = lm_frontend_clients_ask(room, LM_MSG_LOCK_CALL, &body, call->give_up_us, call);
}

void lm_frontend_call_retry(lm_frontend_call_t *call, lm_rc_t why)
{
    lm_frontend_clients_t *room = call->room;
    call->last_refusal = why;
    room->retries++;
    uint64_t last_us = room->n_calls > MANY_CALLS ? BACKOFF_LAST_MANY_US : BACKOFF_LAST_US;
    call->retry_at_us = room->frame.now_us + call->backoff_us;
    call->backoff_us = 2 * call->backoff_us < last_us ? 2 * call->backoff_us : last_us;
    uint64_t at_us = call->retry_at_us < call->give_up_us ? call->retry_at_us : call->give_up_us;
    lm_frontend_timers_set(&room->timers, &call->timer, at_us);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Nobody waits for the attempts of this call any more. */
static void leave_attempts(lm_frontend_call_t *call)
{
    if (call->attempt) {
        lm_bus_listener_gone_t gone = {.correlation = call->attempt->correlation};
        lm_outbox_send(call->room->frame.out, LM_LOCK, LM_MSG_LISTENER_GONE, &gone);
        call->attempt->call = NULL;
        call->attempt = NULL;
    }
    lm_frontend_forward_leave(call);
    lm_frontend_undelivered_report(call->room,
                                   LM_FAULT(GRANT_DISOWNED) ? call->granted_at : call->in_doubt);
}

static void finish(lm_frontend_call_t *call)
{
    call->finished = true;
    weigh_no_more(call);
    call->retry_at_us = 0;
    lm_frontend_timers_stop(&call->room->timers, &call->timer);
    leave_attempts(call);
}

/* A finished request of a stream is over: the call is gone then. */
static void leave_stream(lm_frontend_call_t *call)
{
    lm_frontend_clients_t *room = call->room;
    lm_frontend_stream_t *stream = call->stream;
    size_t size = call->event->size;
    DL_DELETE2(stream->calls, call, prev_of_stream, next_of_stream);
    DL_DELETE(room->calls, call);
    room->n_calls--;
    lm_frontend_call_free(call);
    lm_frontend_stream_dealt(room, stream, size);
}

static void send_error(lm_frontend_call_t *call, const lm_frontend_error_t *error)
{
    if (!call->stream) {
        lm_frontend_frame_fail(&call->room->frame, call->handle, error);
        return;
    }
    lm_frontend_stream_fail(call->room, call->stream, error);
    leave_stream(call);
}

static void send_response(lm_frontend_call_t *call, lm_bytes_t bytes)
{
    if (!call->stream) {
        lm_frontend_frame_finish(&call->room->frame, call->handle, bytes);
        return;
    }
    lm_frontend_stream_answer(call->room, call->stream, bytes);
    leave_stream(call);
}

static void pass_back(lm_frontend_call_t *call, const lm_peer_lock_answer_t *answer)
{
    lm_peer_forward_response_t response = {.answer = (lm_peer_lock_answer_t *)(uintptr_t)answer};
    lm_bytes_t bytes =
        lm_wire_encode(&lm_peer_forward_response_type, &response, call->room->frame.scratch);
    lm_frontend_frame_finish(&call->room->frame, call->handle, bytes);
}

static void fail(lm_frontend_call_t *call, lm_rc_t code, lm_bytes_t field, lm_bytes_t text)
{
    finish(call);
    if (call->method->id == LM_METHOD_FORWARD) {
        pass_back(call, &(lm_peer_lock_answer_t){.kind = LM_PEER_ANSWER_KIND_ERROR,
                                                 .code = (uint32_t)code,
                                                 .field = field,
                                                 .text = text});
        return;
    }
    send_error(call, &(lm_frontend_error_t){.code = code, .field = field, .text = text});
}

/* UNAVAILABLE would promise that nothing was applied (S14). */
static lm_rc_t honest(const lm_frontend_call_t *call, lm_rc_t code)
{
    bool promises = lm_rc_grpc_status(code) == lm_rc_grpc_status(LM_RC_NO_LEADER);
    bool broken = promises && call->maybe_applied && !LM_FAULT(EMPTY_PROMISE);
    return broken ? LM_RC_OUTCOME_UNKNOWN : code;
}

static void succeed(lm_frontend_call_t *call, const lm_peer_lock_answer_t *answer)
{
    finish(call);
    if (call->method->id == LM_METHOD_FORWARD) {
        pass_back(call, answer);
        return;
    }
    const void *response =
        *(void *const *)(const void *)((const char *)answer + members[call->method->id].response);
    if (!response) {
        send_error(call, &(lm_frontend_error_t){.code = LM_RC_INTERNAL});
        return;
    }
    const lm_wire_type_t *type = members[call->method->id].response_type;
    send_response(call, lm_wire_encode(type, response, call->room->frame.scratch));
}

static void sent_back(lm_frontend_call_t *call, const lm_peer_lock_answer_t *answer, bool from_own)
{
    lm_frontend_clients_t *room = call->room;
    if (answer->code == LM_RC_OUTCOME_UNKNOWN && call->changes) call->maybe_applied = true;
    if (from_own && !answer->unstamped) {
        /* The stamp of the first attempt stands for all (S12a). */
        if (!call->stamped) call->stamp = answer->stamp;
        call->stamped = true;
        call->seen = call->seen || answer->seen;
    }
    bool named = answer->leader.size && !lm_bytes_equal(answer->leader, room->frame.config->node);
    if (from_own && named)
        lm_frontend_forward_to(call, answer->leader);
    else
        lm_frontend_call_retry(call, LM_RC_NO_LEADER);
}

static bool is_passing(lm_rc_t code)
{
    return code == LM_RC_NO_LEADER || code == LM_RC_NOT_LEADER || code == LM_RC_NOT_READY;
}

static void refused(lm_frontend_call_t *call, const lm_peer_lock_answer_t *answer)
{
    lm_rc_t code = (lm_rc_t)answer->code;
    if (code == LM_RC_OUTCOME_UNKNOWN && !call->changes) code = LM_RC_NOT_READY;
    if (is_passing(code) && call->method->id != LM_METHOD_FORWARD)
        lm_frontend_call_retry(call, code);
    else
        fail(call, honest(call, code), answer->field, answer->text);
}

void lm_frontend_call_answer(lm_frontend_call_t *call, const lm_peer_lock_answer_t *answer,
                             uint64_t correlation)
{
    /* A later attempt was made to wait; reads and refusals do not stand where changes queue. */
    call->decided = call->changes && call->backoff_us == BACKOFF_FIRST_US &&
                    answer->kind == LM_PEER_ANSWER_KIND_RESULT;
    switch ((lm_peer_answer_kind_t)answer->kind) {
    case LM_PEER_ANSWER_KIND_RESULT:
        if (correlation && lm_frontend_call_grants(answer)) {
            call->granted_by = correlation;
            lm_frontend_undelivered_remember(call->room, call->from, correlation);
        }
        succeed(call, answer);
        break;
    case LM_PEER_ANSWER_KIND_ERROR: refused(call, answer); break;
    case LM_PEER_ANSWER_KIND_FORWARD:
        if (call->method->id == LM_METHOD_FORWARD && !LM_FAULT(TWO_HOPS)) {
            lm_peer_lock_answer_t back = *answer;
            if (call->maybe_applied) back.code = LM_RC_OUTCOME_UNKNOWN;
            finish(call);
            pass_back(call, &back);
        } else {
            sent_back(call, answer, correlation != 0);
        }
        break;
    default: fail(call, LM_RC_INTERNAL, lm_bytes(NULL, 0), lm_bytes(NULL, 0));
    }
}

void lm_frontend_call_on_answer(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = self;
    room->frame.out = out;
    room->frame.now_us = message->now_us;
    lm_frontend_attempt_t *attempt;
    HASH_FIND(hh, room->attempts, &message->from.correlation, sizeof(uint64_t), attempt);
    if (!attempt) return;
    lm_frontend_call_t *call = attempt->call;
    HASH_DEL(room->attempts, attempt);
    free(attempt);
    const lm_peer_lock_answer_t *answer = message->body;
    if (call) {
        call->attempt = NULL;
        lm_frontend_call_answer(call, answer, message->from.correlation);
    } else if (lm_frontend_call_grants(answer)) {
        lm_frontend_undelivered_own(room, message->from.correlation);
    }
}

void lm_frontend_call_failed(lm_frontend_clients_t *room, lm_frontend_attempt_t *attempt,
                             lm_rc_t why)
{
    lm_frontend_call_t *call = attempt->call;
    HASH_DEL(room->attempts, attempt);
    free(attempt);
    if (!call) return;
    call->attempt = NULL;
    bool unknown = !lm_rc_not_applied(why) && room->lock_present;
    if (unknown && call->changes && !LM_FAULT(DEATH_DENIED)) call->maybe_applied = true;
    bool again = is_passing(why) || !lm_rc_not_applied(why);
    /* What came from another node goes back there: it may know a better leader by now. */
    if (is_passing(why) && call->method->id == LM_METHOD_FORWARD) again = false;
    if (again)
        lm_frontend_call_retry(call, LM_RC_NOT_READY);
    else
        fail(call, honest(call, why), lm_bytes(NULL, 0), lm_bytes(NULL, 0));
}

void lm_frontend_call_lock_replaced(lm_frontend_clients_t *room)
{
    lm_frontend_attempt_t *attempt, *next;
    HASH_ITER(hh, room->attempts, attempt, next)
    {
        if (attempt == room->question) continue;
        if (attempt->call) {
            if (attempt->call->changes && !LM_FAULT(DEATH_DENIED))
                attempt->call->maybe_applied = true;
            continue;
        }
        lm_outbox_forget(room->frame.out, attempt->correlation);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
        HASH_DEL(room->attempts, attempt);
        free(attempt);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/* An attempt that still runs may yet be applied. */
static void leave_in_doubt(lm_frontend_call_t *call)
{
    bool may_run = call->forward || (call->attempt && call->room->lock_present);
    if (may_run && call->changes) call->maybe_applied = true;
}

void lm_frontend_call_due(lm_frontend_call_t *call)
{
    uint64_t now_us = call->room->frame.now_us;
    if (now_us < call->give_up_us) {
        lm_frontend_timers_set(&call->room->timers, &call->timer, call->give_up_us);
        if (call->retry_at_us && now_us >= call->retry_at_us) attempt_own(call);
        return;
    }
    leave_in_doubt(call);
    bool unknown = call->maybe_applied && !LM_FAULT(EMPTY_PROMISE);
    lm_rc_t code = unknown ? LM_RC_OUTCOME_UNKNOWN : call->last_refusal;
    fail(call, code, lm_bytes(NULL, 0), lm_bytes(NULL, 0));
}

void lm_frontend_call_stop_all(lm_frontend_clients_t *room)
{
    for (lm_frontend_call_t *call = room->calls; call; call = call->next) {
        if (call->finished || call->stream) continue; /* streams are ended as a whole */
        leave_in_doubt(call);
        lm_rc_t code = call->maybe_applied ? LM_RC_OUTCOME_UNKNOWN : LM_RC_DRAINING;
        fail(call, code, lm_bytes(NULL, 0), lm_bytes(NULL, 0));
    }
}

void lm_frontend_call_over(lm_frontend_call_t *call, bool undelivered)
{
    lm_frontend_clients_t *room = call->room;
    if (!call->finished) {
        finish(call);
    } else if (undelivered) {
        if (call->granted_by) lm_frontend_undelivered_own(room, call->granted_by);
        lm_frontend_undelivered_report(room, call->granted_at);
    }
    DL_DELETE(room->calls, call);
    room->n_calls--;
    room->frame.driver->ops->drop(room->frame.driver, call->handle);
    lm_frontend_call_free(call);
}

void lm_frontend_call_leave(lm_frontend_call_t *call)
{
    finish(call);
    leave_stream(call);
}

void lm_frontend_call_free(lm_frontend_call_t *call)
{
    lm_frontend_event_free(call->event);
    free((void *)(uintptr_t)call->identity.data);
    free(call);
}
