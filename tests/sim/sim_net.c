/* Streams and calls between frontends, and from clients to frontends: what gRPC does in the
 * product, by virtual time.
 *
 * A call has two ends and, in each direction, a queue: what is sent on one call arrives in order,
 * if it arrives. Nothing is lost inside of a connection; it is late, as long as the way is cut or
 * the receiver stands still, or the connection breaks and takes along what is on its way. Every end
 * hears exactly one last word. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base_check.h"
#include "sim.h"
#include "wire_peer.h"

enum { CALLER, CALLEE };
enum { STATUS_CANCELLED = 1, STATUS_DEADLINE = 4, STATUS_UNAVAILABLE = 14 };

typedef enum { REQUEST, DATA, FINISH, CANCEL, RESET } kind_t;

typedef struct message {
    struct message *next;
    kind_t kind;
    uint64_t at_us, sent_us;
    int status;
    char text[40];
    size_t size;
    uint8_t bytes[];
} message_t;

typedef struct {
    lm_frontend_handle_t handle; /* first */
    sim_call_t *call;
    sim_front_t *front; /* NULL: a client's, not there yet, or gone */
    bool open;          /* the room has the handle */
    bool last;          /* its last event has been put */
} end_t;

struct sim_call {
    struct sim_call *prev, *next;
    sim_t *sim;
    uint64_t number;
    const lm_frontend_method_t *method;
    int client, from, to; /* client and from are -1 if it is not theirs */
    uint64_t tag, deadline_us, begun_us;
    end_t ends[2];
    message_t *queue[2], **queue_end[2]; /* towards that end */
    uint64_t last_us[2], blocked_since_us[2];
    uint32_t pending; /* events that will name it */
    bool opened;      /* the callee has had the request */
    bool answered, finished, left;
    uint64_t lag_us; /* its way is longer than that of others */
};

struct sim_front {
    lm_frontend_driver_t face; /* first */
    sim_node_t *node;
    uint64_t start;
    uint32_t listening;
    bool shut;
};

/* ---- ways ------------------------------------------------------------------------------------ */

static bool is_listening(const sim_front_t *front)
{
    return front && !front->shut && front->listening == (1u << LM_CLIENTS | 1u << LM_PEERS);
}

/* The way of a call towards one of its ends carries nothing now. */
static bool is_blocked(const sim_call_t *call, int end)
{
    const sim_t *sim = call->sim;
    int src = end == CALLEE ? call->from : call->to, dst = end == CALLEE ? call->to : call->from;
    if (call->from < 0) {
        if (sim->net.client_cut[call->to]) return true;
    } else if (sim->net.cut[src][dst]) {
        return true;
    }
    if (dst < 0) return false;
    const sim_node_t *node = &sim->nodes[dst];
    if (!node->up || node->paused) return true;
    return node->process[SIM_FRONTEND].alive && node->process[SIM_FRONTEND].paused;
}

static uint64_t latency(const sim_call_t *call)
{
    sim_t *sim = call->sim;
    const sim_net_t *net = &sim->net;
    uint64_t us = sim_between(sim, net->latency_min_us, net->latency_max_us);
    if (call->from >= 0) us += net->slow_us[call->from][call->to] + call->lag_us;
    return us;
}

/* ---- life of a call -------------------------------------------------------------------------- */

static void try_free(sim_call_t *call)
{
    bool busy = call->pending || call->queue[0] || call->queue[1];
    bool caller = call->ends[CALLER].open || (call->client >= 0 && !call->answered && !call->left);
    if (busy || caller || call->ends[CALLEE].open) return;
    DL_DELETE(call->sim->net.calls, call);
    call->sim->net.n_calls--;
    free(call);
}

static void arrive(sim_t *sim, void *what, uint64_t end);

static void plan(sim_call_t *call, uint64_t at_us, sim_act_t *act, uint64_t number)
{
    call->pending++;
    sim_at(call->sim, at_us, act, call, number);
}

static void send(sim_call_t *call, int end, kind_t kind, int status, const char *text,
                 lm_bytes_t bytes)
{
    sim_t *sim = call->sim;
    message_t *message = lm_alloc(sizeof *message + bytes.size);
    message->kind = kind;
    message->status = status;
    message->sent_us = sim->now_us;
    message->at_us = sim->now_us + latency(call);
    if (message->at_us < call->last_us[end]) message->at_us = call->last_us[end];
    call->last_us[end] = message->at_us;
    snprintf(message->text, sizeof message->text, "%s", text ? text : "");
    message->size = bytes.size;
    if (bytes.size) memcpy(message->bytes, bytes.data, bytes.size);
    if (sim->record) sim_record_bytes(sim->record, bytes);
    *call->queue_end[end] = message;
    call->queue_end[end] = &message->next;
    plan(call, message->at_us, arrive, (uint64_t)end);
}

static void send_word(sim_call_t *call, int end, kind_t kind, int status)
{
    send(call, end, kind, status, "", lm_bytes(NULL, 0));
}

static void drop_queue(sim_call_t *call, int end)
{
    while (call->queue[end]) {
        message_t *message = call->queue[end];
        call->queue[end] = message->next;
        free(message);
    }
    call->queue_end[end] = &call->queue[end];
}

static void delay(sim_call_t *call, int end, uint64_t us)
{
    for (message_t *message = call->queue[end]; message; message = message->next) {
        message->at_us += us;
        plan(call, message->at_us, arrive, (uint64_t)end);
    }
    call->last_us[end] += us;
}

/* ---- events of rooms ------------------------------------------------------------------------- */

/* The watch over the own listener asks from the peers room what the clients room answers. */
static sim_room_t *room_of(const end_t *end)
{
    const lm_frontend_method_t *method = end->call->method;
    bool watch = !end->handle.incoming && method->id == LM_METHOD_HEALTH_CHECK;
    return &end->front->node->rooms[watch ? LM_PEERS : method->room];
}

static lm_frontend_event_t *event_of(lm_frontend_event_kind_t kind, end_t *end, lm_bytes_t bytes)
{
    lm_frontend_event_t *event = lm_frontend_event_new(kind, &end->handle, bytes.size);
    if (bytes.size) memcpy(event->payload, bytes.data, bytes.size);
    return event;
}

static void answer(sim_call_t *call, int status, const char *text, lm_bytes_t bytes)
{
    end_t *end = &call->ends[CALLER];
    if (call->answered) return;
    call->answered = true;
    if (call->client >= 0) {
        lm_bytes_t none = {0};
        if (!call->left)
            sim_client_answered(call->sim, call->client, call->tag, status, status ? none : bytes,
                                status ? bytes : none);
        return;
    }
    if (!end->front) return;
    lm_frontend_event_t *event = event_of(LM_FRONTEND_ANSWERED, end, bytes);
    event->status = status;
    event->round_trip_us = call->sim->now_us - call->begun_us;
    snprintf(event->text, sizeof event->text, "%s", text);
    end->last = true;
    sim_room_put(room_of(end), event);
}

static void over(sim_call_t *call)
{
    end_t *end = &call->ends[CALLEE];
    if (!end->front || !end->open || end->last) return;
    end->last = true;
    lm_frontend_event_t *event = event_of(LM_FRONTEND_OVER, end, lm_bytes(NULL, 0));
    event->undelivered = !call->finished;
    sim_room_put(room_of(end), event);
}

/* Both ends learn that their connection is broken; what was on its way is lost. Or the caller
 * learns it first, and what it had sent still arrives. */
static void break_call(sim_call_t *call)
{
    sim_probe(call->sim, SIM_PROBE_CONNECTION_BROKEN);
    bool late = call->from >= 0 && call->opened && !call->answered && sim_one_in(call->sim, 2);
    drop_queue(call, CALLER);
    if (late)
        delay(call, CALLEE, sim_draw(call->sim, 600 * SIM_MS));
    else
        drop_queue(call, CALLEE);
    answer(call, STATUS_UNAVAILABLE, "the connection is broken", lm_bytes(NULL, 0));
    if (late)
        send_word(call, CALLEE, CANCEL, STATUS_CANCELLED);
    else
        over(call);
}

/* ---- arriving -------------------------------------------------------------------------------- */

static void take_request(sim_call_t *call, const message_t *message)
{
    sim_front_t *front = call->sim->nodes[call->to].front;
    end_t *end = &call->ends[CALLEE];
    call->opened = true;
    if (!is_listening(front)) {
        send_word(call, CALLER, RESET, STATUS_UNAVAILABLE);
        return;
    }
    *end = (end_t){.handle = {.method = call->method, .incoming = true},
                   .call = call,
                   .front = front,
                   .open = true};
    lm_bytes_t bytes = lm_bytes(message->bytes, message->size);
    lm_frontend_event_t *event =
        event_of(call->method->stream ? LM_FRONTEND_OPENED : LM_FRONTEND_CALLED, end, bytes);
    if (call->deadline_us) {
        uint64_t left_us =
            call->deadline_us > call->sim->now_us ? call->deadline_us - call->sim->now_us : 1;
        event->deadline_us = sim_node_clock(front->node) + left_us;
    }
    sim_room_put(room_of(end), event);
}

static void take_at_callee(sim_call_t *call, const message_t *message)
{
    end_t *end = &call->ends[CALLEE];
    if (message->kind == REQUEST) {
        take_request(call, message);
    } else if (!end->front) {
        if (!call->answered) send_word(call, CALLER, RESET, STATUS_UNAVAILABLE);
    } else if (message->kind == DATA) {
        if (call->finished) sim_probe(call->sim, SIM_PROBE_OLD_STREAM);
        if (!end->last)
            sim_room_put(room_of(end), event_of(LM_FRONTEND_RECEIVED, end,
                                                lm_bytes(message->bytes, message->size)));
    } else {
        over(call);
    }
}

static void take_at_caller(sim_call_t *call, const message_t *message)
{
    end_t *end = &call->ends[CALLER];
    lm_bytes_t bytes = lm_bytes(message->bytes, message->size);
    if (message->kind != DATA)
        answer(call, message->status, message->text, bytes);
    else if (end->front && !end->last)
        sim_room_put(room_of(end), event_of(LM_FRONTEND_RECEIVED, end, bytes));
}

static void wait_for_way(sim_call_t *call, int end)
{
    sim_t *sim = call->sim;
    uint64_t *since = &call->blocked_since_us[end];
    if (*since == 0) *since = sim->now_us;
    if (sim->now_us - *since > sim->net.keepalive_us)
        break_call(call);
    else
        plan(call, sim->now_us + 20 * SIM_MS, arrive, (uint64_t)end);
}

static void arrive(sim_t *sim, void *what, uint64_t which)
{
    sim_call_t *call = what;
    int end = (int)which;
    message_t *message = call->queue[end];
    call->pending--;
    if (message && message->at_us <= sim->now_us) {
        if (is_blocked(call, end)) {
            wait_for_way(call, end);
        } else if (sim_one_in(sim, sim->net.resets)) {
            sim_count_fault(sim, SIM_FAULT_CONNECTION_RESET);
            break_call(call);
        } else {
            call->blocked_since_us[end] = 0;
            call->queue[end] = message->next;
            if (!call->queue[end]) call->queue_end[end] = &call->queue[end];
            if (end == CALLEE)
                take_at_callee(call, message);
            else
                take_at_caller(call, message);
            free(message);
        }
    }
    try_free(call);
}

/* ---- calling --------------------------------------------------------------------------------- */

static void on_deadline(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    (void)number;
    sim_call_t *call = what;
    call->pending--;
    if (!call->answered) {
        answer(call, STATUS_DEADLINE, "the deadline has passed", lm_bytes(NULL, 0));
        send_word(call, CALLEE, CANCEL, STATUS_CANCELLED);
    }
    try_free(call);
}

static sim_call_t *begin(sim_t *sim, const lm_frontend_method_t *method, int from, int client,
                         int to, lm_bytes_t request, uint64_t deadline_us)
{
    sim_call_t *call = lm_alloc(sizeof *call);
    *call = (sim_call_t){.sim = sim,
                         .number = ++sim->net.next_number,
                         .method = method,
                         .client = client,
                         .from = from,
                         .to = to,
                         .deadline_us = deadline_us,
                         .begun_us = sim->now_us};
    if (from >= 0 && sim->net.lags && sim_one_in(sim, 4)) call->lag_us = sim_draw(sim, 90 * SIM_MS);
    call->queue_end[0] = &call->queue[0];
    call->queue_end[1] = &call->queue[1];
    DL_APPEND(sim->net.calls, call);
    sim->net.n_calls++;
    if (deadline_us) plan(call, deadline_us, on_deadline, 0);
    send(call, CALLEE, REQUEST, 0, "", request);
    return call;
}

sim_call_t *sim_net_call(sim_t *sim, int client, int node, int method, lm_bytes_t request,
                         uint64_t deadline_us, uint64_t tag)
{
    const lm_frontend_method_t *row = lm_frontend_method((lm_frontend_method_id_t)method);
    sim_call_t *call = begin(sim, row, -1, client, node, request, deadline_us);
    call->tag = tag;
    return call;
}

void sim_net_leave(sim_t *sim, sim_call_t *call, bool tell)
{
    (void)sim;
    call->left = true;
    if (tell && !call->answered) send_word(call, CALLEE, CANCEL, STATUS_CANCELLED);
}

void sim_net_reset(sim_t *sim, int from, int to)
{
    sim_call_t *call, *next;
    DL_FOREACH_SAFE(sim->net.calls, call, next)
    {
        bool between = (call->from == from && call->to == to) ||
                       (call->from == to && call->to == from && from >= 0);
        bool of_clients = to < 0 && call->client >= 0 && call->to == from;
        if (!between && !of_clients) continue;
        break_call(call);
        try_free(call);
    }
}

/* ---- the driver's face ----------------------------------------------------------------------- */

static sim_front_t *front_of(lm_frontend_driver_t *face) { return (sim_front_t *)(void *)face; }
static end_t *end_of(lm_frontend_handle_t *handle) { return (end_t *)(void *)handle; }

static void front_listen(lm_frontend_driver_t *face, lm_participant_t room,
                         const lm_frontend_listen_t *how)
{
    (void)how;
    sim_front_t *front = front_of(face);
    front->listening |= 1u << room;
    if (!is_listening(front)) return;
    sim_room_put(&front->node->rooms[LM_CLIENTS],
                 lm_frontend_event_new(LM_FRONTEND_LISTENING, NULL, 0));
    sim_room_put(&front->node->rooms[LM_PEERS],
                 lm_frontend_event_new(LM_FRONTEND_LISTENING, NULL, 0));
}

static size_t queued_bytes(const sim_call_t *call, int end)
{
    size_t bytes = 0;
    for (const message_t *m = call->queue[end]; m; m = m->next) bytes += m->size;
    return bytes;
}

static bool front_send(lm_frontend_driver_t *face, lm_frontend_handle_t *handle, lm_bytes_t message,
                       size_t queue_bytes_max)
{
    (void)face;
    end_t *end = end_of(handle);
    sim_call_t *call = end->call;
    int to = handle->incoming ? CALLER : CALLEE;
    if (end->last || call->finished || (to == CALLEE && call->answered)) return false;
    if (call->queue[to] && queued_bytes(call, to) + message.size > queue_bytes_max) return false;
    send(call, to, DATA, 0, "", message);
    return true;
}

static void front_consumed(lm_frontend_driver_t *face, lm_frontend_handle_t *handle, size_t size)
{
    (void)face;
    (void)handle;
    (void)size;
}

static void over_later(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    (void)number;
    sim_call_t *call = what;
    call->pending--;
    over(call);
    try_free(call);
}

static void front_finish(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                         const lm_frontend_finish_t *how)
{
    (void)face;
    end_t *end = end_of(handle);
    sim_call_t *call = end->call;
    sim_t *sim = call->sim;
    LM_CHECK(!call->finished, "%s is finished twice", call->method->path);
    if (end->last) return;
    call->finished = true;
    bool lost = !call->method->stream && sim_one_in(sim, sim->net.lost_answers);
    if (lost) {
        sim_count_fault(sim, SIM_FAULT_LOST_ANSWER);
        send_word(call, CALLER, RESET, STATUS_UNAVAILABLE);
    } else {
        send(call, CALLER, FINISH, how->status, how->text,
             how->status ? how->details : how->message);
    }
    plan(call, sim->now_us + 20 + sim_draw(sim, 200), over_later, 0);
}

static int node_of(const sim_front_t *front, const char *host)
{
    const sim_t *sim = front->node->sim;
    for (int i = 0; i < sim->n_nodes; i++)
        if (strcmp(sim->nodes[i].name, host) == 0) return i;
    return front->node->number;
}

/* Whether a kept connection to that node would be open. */
static bool has_channel(const sim_front_t *front, int to)
{
    const sim_t *sim = front->node->sim;
    int from = front->node->number;
    const sim_node_t *there = &sim->nodes[to];
    return there->up && is_listening(there->front) && !sim->net.cut[from][to] &&
           !sim->net.cut[to][from];
}

static lm_bytes_t owner_of(const lm_peer_lock_call_t *call)
{
    return call->acquire   ? call->acquire->owner
           : call->release ? call->release->owner
           : call->renew   ? call->renew->owner
           : call->cancel  ? call->cancel->owner
                           : lm_bytes(NULL, 0);
}

/* A call goes one hop (S13): it is passed on by a node that its client has called. */
static void check_hop(sim_t *sim, const sim_node_t *node, lm_bytes_t payload)
{
    void *decoded = NULL;
    lm_rc_t rc =
        lm_wire_decode(&lm_peer_forward_request_type, payload, sim->scratch, &decoded, NULL);
    const lm_peer_forward_request_t *request = decoded;
    lm_bytes_t owner = rc == LM_RC_OK ? owner_of(request->call) : lm_bytes(NULL, 0);
    if (owner.size != 2) return;
    int client = owner.data[1] - '0';
    const sim_call_t *call;
    DL_FOREACH(sim->net.calls, call)
    if (call->client == client && call->to == node->number && call->ends[CALLEE].open) return;
    sim_fail(sim, "S13", "%s passes on a call of client %d, who has not called it", node->name,
             client);
}

static lm_frontend_handle_t *start(sim_front_t *front, const lm_frontend_target_t *target,
                                   lm_frontend_method_id_t method, lm_bytes_t payload,
                                   uint64_t deadline_us, void *owner)
{
    sim_t *sim = front->node->sim;
    int to = node_of(front, target->host), from = front->node->number;
    /* Of a way that was cut a moment ago nobody knows yet. */
    if (method == LM_METHOD_FORWARD) check_hop(sim, front->node, payload);
    bool known = target->kind == LM_CHANNEL_FORWARD && sim_draw(sim, 4) != 0;
    if (known && !has_channel(front, to)) return NULL;
    if (deadline_us) deadline_us = (uint64_t)((int64_t)deadline_us - front->node->skew_us);
    sim_call_t *call = begin(sim, lm_frontend_method(method), from, -1, to, payload, deadline_us);
    call->ends[CALLER] = (end_t){.handle = {.method = call->method, .owner = owner},
                                 .call = call,
                                 .front = front,
                                 .open = true};
    return &call->ends[CALLER].handle;
}

static lm_frontend_handle_t *front_call(lm_frontend_driver_t *face,
                                        const lm_frontend_target_t *target,
                                        lm_frontend_method_id_t method, lm_bytes_t payload,
                                        uint64_t deadline_us, void *owner)
{
    return start(front_of(face), target, method, payload, deadline_us, owner);
}

static lm_frontend_handle_t *front_open(lm_frontend_driver_t *face,
                                        const lm_frontend_target_t *target,
                                        lm_frontend_method_id_t method, void *owner)
{
    return start(front_of(face), target, method, lm_bytes(NULL, 0), 0, owner);
}

static void cancelled(sim_t *sim, void *what, uint64_t number)
{
    (void)sim;
    (void)number;
    sim_call_t *call = what;
    call->pending--;
    answer(call, STATUS_CANCELLED, "cancelled", lm_bytes(NULL, 0));
    try_free(call);
}

static void front_cancel(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    sim_call_t *call = end_of(handle)->call;
    if (call->answered) return;
    /* What has not been written yet may be lost, or reach the other side all the same. */
    if (call->queue[CALLEE] && call->opened && sim_draw(call->sim, 2)) drop_queue(call, CALLEE);
    send_word(call, CALLEE, CANCEL, STATUS_CANCELLED);
    plan(call, call->sim->now_us + 20 + sim_draw(call->sim, 500), cancelled, 0);
}

static bool front_stalled(lm_frontend_driver_t *face, lm_frontend_handle_t *handle,
                          uint64_t since_us)
{
    const sim_front_t *front = front_of(face);
    const sim_call_t *call = end_of(handle)->call;
    const message_t *first = call->queue[CALLEE];
    if (!first || !call->sim->net.stalls || !is_blocked(call, CALLEE)) return false;
    return (int64_t)first->sent_us + front->node->skew_us < (int64_t)since_us;
}

static void front_drop(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    end_t *end = end_of(handle);
    LM_CHECK(end->open && end->last, "%s is given back before its end", handle->method->path);
    end->open = false;
    try_free(end->call);
}

static void closed(sim_t *sim, void *what, uint64_t begun)
{
    sim_node_t *node = what;
    sim_front_t *front = node->front;
    if (!front || front->start != begun) return;
    sim_call_t *call, *next;
    DL_FOREACH_SAFE(sim->net.calls, call, next)
    {
        if (call->ends[CALLEE].front == front) break_call(call);
        try_free(call);
    }
    sim_room_put(&node->rooms[LM_CLIENTS], lm_frontend_event_new(LM_FRONTEND_CLOSED, NULL, 0));
    sim_room_put(&node->rooms[LM_PEERS], lm_frontend_event_new(LM_FRONTEND_CLOSED, NULL, 0));
}

static void front_shut(lm_frontend_driver_t *face, uint64_t grace_us)
{
    sim_front_t *front = front_of(face);
    if (front->shut) return;
    front->shut = true;
    sim_at(front->node->sim, front->node->sim->now_us + grace_us, closed, front->node,
           front->start);
}

static lm_frontend_refused_t front_refused(lm_frontend_driver_t *face)
{
    (void)face;
    return (lm_frontend_refused_t){0};
}

/* Nothing is counted here. */
static const lm_frontend_figures_t *front_figures(lm_frontend_driver_t *face)
{
    static const lm_frontend_figures_t none;
    (void)face;
    return &none;
}

/* So many calls are never under way here. */
static void front_shed(lm_frontend_driver_t *face, uint32_t share)
{
    (void)face;
    (void)share;
}

/* Nobody floods here. */
static void front_vouch(lm_frontend_driver_t *face, lm_frontend_handle_t *handle)
{
    (void)face;
    (void)handle;
}

/* ---- frontends ------------------------------------------------------------------------------- */

sim_front_t *sim_front_new(sim_node_t *node, uint64_t begun)
{
    static const lm_frontend_driver_ops_t ops = {
        .listen = front_listen,
        .send = front_send,
        .consumed = front_consumed,
        .finish = front_finish,
        .call = front_call,
        .open = front_open,
        .cancel = front_cancel,
        .stalled = front_stalled,
        .drop = front_drop,
        .shed = front_shed,
        .shut = front_shut,
        .refused = front_refused,
        .figures = front_figures,
        .vouch = front_vouch,
    };
    sim_front_t *front = lm_alloc(sizeof *front);
    *front = (sim_front_t){.face.ops = &ops, .node = node, .start = begun};
    return front;
}

lm_frontend_driver_t *sim_front_driver(sim_front_t *front) { return &front->face; }

static void lose_end(sim_call_t *call, int which, bool machine)
{
    end_t *end = &call->ends[which];
    int other = which == CALLER ? CALLEE : CALLER;
    end->front = NULL;
    end->open = false;
    if (which == CALLER) call->answered = true;
    drop_queue(call, which);
    if (machine) drop_queue(call, other);
    bool tells = !machine && (other == CALLER ? !call->answered : call->ends[CALLEE].open);
    if (tells) send_word(call, other, RESET, STATUS_UNAVAILABLE);
    if (machine && other == CALLER && !call->answered)
        plan(call, call->sim->now_us + call->sim->net.keepalive_us, cancelled, 0);
}

void sim_front_die(sim_front_t **front, bool machine)
{
    sim_call_t *call, *next;
    sim_net_t *net = &(*front)->node->sim->net;
    DL_FOREACH_SAFE(net->calls, call, next)
    {
        if (call->ends[CALLER].front == *front) lose_end(call, CALLER, machine);
        if (call->ends[CALLEE].front == *front) lose_end(call, CALLEE, machine);
        try_free(call);
    }
    free(*front);
    *front = NULL;
}

void sim_net_free(sim_t *sim)
{
    sim_call_t *call, *next;
    DL_FOREACH_SAFE(sim->net.calls, call, next)
    {
        drop_queue(call, CALLER);
        drop_queue(call, CALLEE);
        DL_DELETE(sim->net.calls, call);
        free(call);
    }
}
