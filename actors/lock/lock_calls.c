/* The life of a call: taken in, stamped, given to its kind, ended by an answer or by its caller.
 *
 * Invariants
 *   Q1  A call ends once, by an answer; only those of a start of the clients room that has ended
 *       go without one. Whose caller has gone is told so: until then the runtime over there keeps
 *       the call, and would make it again to the next start of this actor.
 *   Q2  A call is stamped when it arrives, with what this lock has applied then, unless the node
 *       that took it has done so before (S12a). As long as this lock does not know how far it
 *       should be, calls wait unstamped: a stamp from the middle of a rebuilding would be honest
 *       but useless.
 *   Q3  An error that promises "certainly not applied" is given only if nothing was proposed for
 *       the call, or raft has refused it.
 *   Q4  A call is answered before its deadline; what happens to its wait then is the party's
 *       matter. */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "base_limits.h"
#include "lock_hold_id.h"
#include "lock_session_id.h"
#include "lock_state.h"

/* ---- reading a request ----------------------------------------------------------------------- */

/* The first field of a request that breaks a rule; field is NULL if none does. The frontend has
 * checked all this for its callers; a call may come from another node's frontend. */
typedef struct {
    const char *field, *rule;
} lm_fault_t;

static void hash_number(uint64_t *hash, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(number >> (8 * i));
    *hash = lm_bytes_hash(lm_bytes(bytes, sizeof bytes), *hash);
}

static lm_fault_t need_text(lm_bytes_t text, size_t most, const char *field)
{
    if (text.size == 0) return (lm_fault_t){field, "must not be empty"};
    if (text.size > most) return (lm_fault_t){field, "is too long"};
    return (lm_fault_t){0};
}

static lm_fault_t need_session(lm_lock_call_t *call, lm_bytes_t id)
{
    if (lm_lock_session_id_parse(id, &call->session)) return (lm_fault_t){0};
    return (lm_fault_t){"session_id", "is not one that lockmgr has given"};
}

static lm_fault_t need_secret(lm_lock_call_t *call, lm_bytes_t secret)
{
    if (lm_lock_session_secret_parse(secret, call->secret)) return (lm_fault_t){0};
    return (lm_fault_t){"secret", "is not one that lockmgr has given"};
}

/* A session is an owner; it has a key of its own. */
static lm_fault_t enter_session(lm_lock_call_t *call, lm_bytes_t owner,
                                const lm_api_session_part_t *part)
{
    if (owner.size) return (lm_fault_t){"owner", "must be empty in a session"};
    if (!lm_lock_session_id_parse(part->session_id, &call->session))
        return (lm_fault_t){"session.session_id", "is not one that lockmgr has given"};
    if (!lm_lock_session_secret_parse(part->secret, call->secret))
        return (lm_fault_t){"session.secret", "is not one that lockmgr has given"};
    call->request_number = part->request_number;
    call->done_below = part->done_below;
    call->key.owner = lm_number_text(call->session, call->key_texts.owner);
    return (lm_fault_t){0};
}

static lm_fault_t need_owner(lm_lock_call_t *call, lm_bytes_t owner,
                             const lm_api_session_part_t *part)
{
    call->key.owner = owner;
    if (part) return enter_session(call, owner, part);
    if (LM_FAULT(NAMELESS)) return (lm_fault_t){0};
    return need_text(owner, LM_OWNER_BYTES_MAX, "owner");
}

static lm_fault_t need_request_id(lm_lock_call_t *call, lm_bytes_t request_id)
{
    if (call->request_number) {
        call->key.request_id = lm_number_text(call->request_number, call->key_texts.id);
        if (!request_id.size) return (lm_fault_t){0};
        return (lm_fault_t){"request_id", "must be empty if there is a request number"};
    }
    call->key.request_id = request_id;
    return need_text(request_id, LM_REQUEST_ID_BYTES_MAX, "request_id");
}

/* Who asks for which lock, and by what id. */
static lm_fault_t need_request(lm_lock_call_t *call, lm_bytes_t name, lm_bytes_t owner,
                               const lm_api_session_part_t *part, lm_bytes_t request_id)
{
    call->name = name;
    lm_fault_t fault = need_text(name, LM_NAME_BYTES_MAX, "name");
    if (!fault.field) fault = need_owner(call, owner, part);
    return fault.field ? fault : need_request_id(call, request_id);
}

static lm_fault_t need_hold(lm_lock_call_t *call, lm_bytes_t hold_id)
{
    if (lm_lock_hold_id_parse(hold_id, &call->hold, &call->claim)) return (lm_fault_t){0};
    return (lm_fault_t){"hold_id", "is not one that lockmgr has given"};
}

/* Where a list goes on; empty is its begin. */
static lm_fault_t read_holds_after(lm_lock_call_t *call, lm_bytes_t hold_id)
{
    uint64_t claim;
    if (hold_id.size == 0 || lm_lock_hold_id_parse(hold_id, &call->holds_after, &claim))
        return (lm_fault_t){0};
    return (lm_fault_t){"holds_after", "is not one that lockmgr has given"};
}

static uint64_t clamp_ttl(const lm_bus_node_config_t *config, int64_t ttl_ms)
{
    uint64_t ttl = ttl_ms ? (uint64_t)ttl_ms : config->lock_default_timeout_ms;
    if (ttl < config->lock_min_timeout_ms) ttl = config->lock_min_timeout_ms;
    if (ttl > config->lock_max_timeout_ms) ttl = config->lock_max_timeout_ms;
    return ttl;
}

/* The hash is over what the caller asked for: limits of a node must not make a repeat through
 * another node look like another request. */
static lm_fault_t read_acquire(const lm_lock_room_t *room, lm_lock_call_t *call,
                               const lm_peer_lock_call_t *body)
{
    const lm_api_acquire_request_t *request = body->acquire;
    lm_fault_t fault =
        need_request(call, request->name, request->owner, request->session, request->request_id);
    if (fault.field) return fault;
    if (request->ttl_ms < 0) return (lm_fault_t){"ttl_ms", "must not be negative"};
    if (request->ttl_ms && call->session)
        return (lm_fault_t){"ttl_ms", "must be 0 in a session, whose lease counts"};
    if (request->wait_ms < -1 || request->wait_ms > 86400000)
        return (lm_fault_t){"wait_ms", "must be -1 to 86400000"};
    if (request->mode < 0 || request->mode > LM_API_LOCK_MODE_SHARED)
        return (lm_fault_t){"mode", "is not known"};
    call->mode = request->mode == LM_API_LOCK_MODE_SHARED ? LM_MODE_SHARED : LM_MODE_EXCLUSIVE;
    call->wait = request->wait_ms != 0;
    call->wait_until_us =
        request->wait_ms < 0 ? UINT64_MAX : room->now_us + (uint64_t)request->wait_ms * 1000;
    call->ttl_ms = call->session ? 0 : clamp_ttl(room->config, request->ttl_ms);
    call->body_hash = lm_bytes_hash(call->name, LM_HASH_START);
    hash_number(&call->body_hash, call->mode);
    hash_number(&call->body_hash, (uint64_t)request->ttl_ms);
    hash_number(&call->body_hash, call->wait);
    return fault;
}

static lm_fault_t read_release(const lm_lock_room_t *room, lm_lock_call_t *call,
                               const lm_peer_lock_call_t *body)
{
    (void)room;
    const lm_api_release_request_t *request = body->release;
    lm_fault_t fault =
        need_request(call, request->name, request->owner, request->session, request->request_id);
    if (!fault.field) fault = need_hold(call, request->hold_id);
    call->body_hash = lm_bytes_hash(call->name, LM_HASH_START);
    hash_number(&call->body_hash, call->hold);
    hash_number(&call->body_hash, call->claim);
    return fault;
}

static lm_fault_t read_renew(const lm_lock_room_t *room, lm_lock_call_t *call,
                             const lm_peer_lock_call_t *body)
{
    const lm_api_renew_request_t *request = body->renew;
    call->name = request->name;
    lm_fault_t fault = need_text(call->name, LM_NAME_BYTES_MAX, "name");
    if (!fault.field) fault = need_owner(call, request->owner, NULL);
    if (!fault.field) fault = need_hold(call, request->hold_id);
    if (fault.field) return fault;
    if (request->ttl_ms < 0) return (lm_fault_t){"ttl_ms", "must not be negative"};
    call->ttl_ms = request->ttl_ms ? clamp_ttl(room->config, request->ttl_ms) : 0;
    return fault;
}

static lm_fault_t read_cancel(const lm_lock_room_t *room, lm_lock_call_t *call,
                              const lm_peer_lock_call_t *body)
{
    (void)room;
    const lm_api_cancel_request_t *request = body->cancel;
    lm_fault_t fault = need_owner(call, request->owner, request->session);
    return fault.field ? fault : need_request_id(call, request->request_id);
}

static lm_fault_t read_get(const lm_lock_room_t *room, lm_lock_call_t *call,
                           const lm_peer_lock_call_t *body)
{
    (void)room;
    call->name = body->get->name;
    return need_text(call->name, LM_NAME_BYTES_MAX, "name");
}

static lm_fault_t read_list(const lm_lock_room_t *room, lm_lock_call_t *call,
                            const lm_peer_lock_call_t *body)
{
    (void)room;
    const lm_api_list_request_t *request = body->list;
    call->name = request->prefix;
    call->page_token = request->page_token;
    if (request->page_size < 0 || request->page_size > LM_LOCK_SHOWN_MAX)
        return (lm_fault_t){"page_size", "must be 0 to 1000"};
    call->page_size = request->page_size ? (uint32_t)request->page_size : LM_LOCK_PAGE_DEFAULT;
    return (lm_fault_t){0};
}

static lm_fault_t read_open_session(const lm_lock_room_t *room, lm_lock_call_t *call,
                                    const lm_peer_lock_call_t *body)
{
    const lm_api_open_session_request_t *request = body->open_session;
    call->key.owner = request->client;
    lm_fault_t fault = need_text(request->client, LM_OWNER_BYTES_MAX, "client");
    if (!fault.field) fault = need_request_id(call, request->request_id);
    if (fault.field) return fault;
    if (request->ttl_ms &&
        (request->ttl_ms < LM_SESSION_TTL_MS_MIN || request->ttl_ms > (int64_t)LM_TTL_MS_MAX))
        return (lm_fault_t){"ttl_ms", "must be 0, or 1000 to 86400000"};
    call->ttl_ms =
        request->ttl_ms ? (uint64_t)request->ttl_ms : room->config->lock_default_timeout_ms;
    if (call->ttl_ms < LM_SESSION_TTL_MS_MIN) call->ttl_ms = LM_SESSION_TTL_MS_MIN;
    if (call->ttl_ms > LM_TTL_MS_MAX) call->ttl_ms = LM_TTL_MS_MAX;
    call->body_hash = LM_HASH_START;
    hash_number(&call->body_hash, (uint64_t)request->ttl_ms);
    return fault;
}

static lm_fault_t read_keep_alive(const lm_lock_room_t *room, lm_lock_call_t *call,
                                  const lm_peer_lock_call_t *body)
{
    (void)room;
    const lm_api_keep_alive_request_t *request = body->keep_alive;
    call->done_below = request->done_below;
    call->known_version = request->known_holds_version;
    lm_fault_t fault = need_session(call, request->session_id);
    if (!fault.field) fault = need_secret(call, request->secret);
    return fault.field ? fault : read_holds_after(call, request->holds_after);
}

static lm_fault_t read_close_session(const lm_lock_room_t *room, lm_lock_call_t *call,
                                     const lm_peer_lock_call_t *body)
{
    (void)room;
    lm_fault_t fault = need_session(call, body->close_session->session_id);
    return fault.field ? fault : need_secret(call, body->close_session->secret);
}

static lm_fault_t read_get_session(const lm_lock_room_t *room, lm_lock_call_t *call,
                                   const lm_peer_lock_call_t *body)
{
    (void)room;
    return need_session(call, body->get_session->session_id);
}

static lm_fault_t read_list_sessions(const lm_lock_room_t *room, lm_lock_call_t *call,
                                     const lm_peer_lock_call_t *body)
{
    (void)room;
    const lm_api_list_sessions_request_t *request = body->list_sessions;
    if (request->page_size < 0 || request->page_size > LM_LOCK_SHOWN_MAX)
        return (lm_fault_t){"page_size", "must be 0 to 1000"};
    if (request->page_token.size && !lm_lock_session_id_parse(request->page_token, &call->session))
        return (lm_fault_t){"page_token", "is not one that lockmgr has given"};
    call->page_size = request->page_size ? (uint32_t)request->page_size : LM_LOCK_PAGE_DEFAULT;
    return (lm_fault_t){0};
}

typedef struct {
    lm_fault_t (*read)(const lm_lock_room_t *room, lm_lock_call_t *call,
                       const lm_peer_lock_call_t *body);
    void (*handle)(lm_lock_room_t *room, lm_lock_call_t *call);
} lm_call_kind_t;

static const lm_call_kind_t kinds[] = {
    [LM_PEER_LOCK_CALL_REQUEST_ACQUIRE] = {read_acquire, lm_lock_acquire_handle},
    [LM_PEER_LOCK_CALL_REQUEST_RELEASE] = {read_release, lm_lock_change_handle},
    [LM_PEER_LOCK_CALL_REQUEST_RENEW] = {read_renew, lm_lock_change_handle},
    [LM_PEER_LOCK_CALL_REQUEST_CANCEL] = {read_cancel, lm_lock_change_handle},
    [LM_PEER_LOCK_CALL_REQUEST_GET] = {read_get, lm_lock_read_add},
    [LM_PEER_LOCK_CALL_REQUEST_LIST] = {read_list, lm_lock_read_add},
    [LM_PEER_LOCK_CALL_REQUEST_OPEN_SESSION] = {read_open_session, lm_lock_change_handle},
    [LM_PEER_LOCK_CALL_REQUEST_KEEP_ALIVE] = {read_keep_alive, lm_lock_change_handle},
    [LM_PEER_LOCK_CALL_REQUEST_CLOSE_SESSION] = {read_close_session, lm_lock_change_handle},
    [LM_PEER_LOCK_CALL_REQUEST_GET_SESSION] = {read_get_session, lm_lock_read_add},
    [LM_PEER_LOCK_CALL_REQUEST_LIST_SESSIONS] = {read_list_sessions, lm_lock_read_add},
};

lm_command_t lm_lock_calls_command(const lm_lock_call_t *call, lm_command_kind_t kind)
{
    lm_command_t command = {.kind = kind,
                            .key = call->key,
                            .body_hash = call->body_hash,
                            .name = call->name,
                            .mode = call->mode,
                            .ttl_ms = call->ttl_ms,
                            .wait = call->wait,
                            .stamp = call->stamp,
                            .seen = call->seen,
                            .hold = call->hold,
                            .claim = call->claim,
                            .session = call->session,
                            .request_number = call->request_number,
                            .done_below = call->done_below};
    if (call->session || kind == LM_COMMAND_OPEN_SESSION)
        command.secret = lm_bytes(call->secret, sizeof call->secret);
    if (call->session) command.key.owner = (lm_bytes_t){0};
    if (call->request_number) command.key.request_id = (lm_bytes_t){0};
    return command;
}

/* ---- making and ending ----------------------------------------------------------------------- */

static uint64_t hash_of(lm_generation_t generation, uint64_t correlation)
{
    return lm_lock_map_mix(generation.boot_id) ^ lm_lock_map_mix(generation.counter) ^
           lm_lock_map_mix(correlation + 1);
}

static lm_lock_call_t *find(const lm_lock_room_t *room, lm_generation_t generation,
                            uint64_t correlation)
{
    lm_lock_link_t *link = lm_lock_map_first(&room->calls, hash_of(generation, correlation));
    for (; link; link = lm_lock_map_next(link)) {
        lm_lock_call_t *call = LM_LOCK_OF(link, lm_lock_call_t, link);
        if (call->from.correlation == correlation &&
            lm_generation_compare(call->from.generation, generation) == 0)
            return call;
    }
    return NULL;
}

static void keep(uint8_t **at, lm_bytes_t *text)
{
    if (text->size) memcpy(*at, text->data, text->size);
    text->data = *at;
    *at += text->size;
}

/* Copies what was read, with its texts, to where it may stay. */
static lm_lock_call_t *settle_down(lm_lock_room_t *room, const lm_lock_call_t *read)
{
    size_t texts = read->key.identity.size + read->key.owner.size + read->key.request_id.size +
                   read->name.size + read->page_token.size;
    lm_lock_call_t *call = lm_alloc(sizeof *call + texts);
    memcpy(call, read, sizeof *call);
    call->arrived_us = room->now_us;
    uint8_t *at = call->text;
    keep(&at, &call->key.identity);
    keep(&at, &call->key.owner);
    keep(&at, &call->key.request_id);
    keep(&at, &call->name);
    keep(&at, &call->page_token);
    lm_lock_map_put(&room->calls, &call->link,
                    hash_of(call->from.generation, call->from.correlation));
    TAILQ_INSERT_TAIL(&room->all, call, in_all);
    return call;
}

void lm_lock_calls_enlist(lm_lock_call_t *call, lm_lock_stage_t stage, struct lm_lock_calls *list)
{
    if (call->stage_list) TAILQ_REMOVE(call->stage_list, call, in_stage);
    call->stage = stage;
    call->stage_list = list;
    if (list) TAILQ_INSERT_TAIL(list, call, in_stage);
}

void lm_lock_calls_free(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_lock_map_take(&room->calls, &call->link);
    TAILQ_REMOVE(&room->all, call, in_all);
    lm_lock_timer_stop(&room->timers, &call->timer);
    lm_lock_calls_enlist(call, call->stage, NULL);
    if (call->party) TAILQ_REMOVE(&call->party->calls, call, in_party);
    if (call->proposal) call->proposal->call = NULL;
    free(call);
}

/* Ends a call whose caller has gone; its party may then have nobody left. */
static void caller_left(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_lock_party_t *party = call->party;
    lm_lock_answer_left(room, call);
    if (party) lm_lock_party_settle(room, party);
}

/* ---- times ----------------------------------------------------------------------------------- */

static void answer_late(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_lock_party_t *party = call->party;
    if (call->maybe_applied)
        lm_lock_answer_error(room, call, LM_RC_OUTCOME_UNKNOWN, "",
                             "the region did not agree on it in time");
    else
        lm_lock_answer_error(room, call, LM_RC_NO_LEADER, "",
                             "no leader could take the call in time");
    if (party) lm_lock_party_settle(room, party);
}

static void on_time(void *self, lm_lock_timer_t *timer)
{
    lm_lock_room_t *room = self;
    lm_lock_call_t *call = LM_LOCK_OF(timer, lm_lock_call_t, timer);
    if (room->now_us >= call->answer_by_us) {
        answer_late(room, call);
        return;
    }
    call->due = true;
    lm_lock_timer_set(&room->timers, &call->timer, call->answer_by_us, on_time);
    if (call->party) lm_lock_party_settle(room, call->party);
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void set_times(lm_lock_room_t *room, lm_lock_call_t *call,
                      const lm_peer_call_context_t *context)
{
    const uint64_t longest_us = UINT64_C(10) * 86400 * 1000000;
    uint64_t left_us = longest_us;
    if (call->from.deadline_us)
        left_us = call->from.deadline_us > room->now_us ? call->from.deadline_us - room->now_us : 0;
    if (context->remaining_ms)
        left_us = least(left_us, least(context->remaining_ms, longest_us / 1000) * 1000);
    if (!call->from.deadline_us && !context->remaining_ms) left_us = LM_LOCK_CALL_US;
    call->answer_by_us = room->now_us + left_us - least(LM_LOCK_ANSWER_MARGIN_US, left_us / 10);
    uint64_t wait_margin = least(LM_LOCK_WAIT_MARGIN_US, left_us / 2);
    call->wait_until_us = least(call->wait_until_us, room->now_us + left_us - wait_margin);
    bool waits = call->kind == LM_PEER_LOCK_CALL_REQUEST_ACQUIRE && call->wait;
    lm_lock_timer_set(&room->timers, &call->timer,
                      waits ? least(call->wait_until_us, call->answer_by_us) : call->answer_by_us,
                      on_time);
}

/* ---- handling -------------------------------------------------------------------------------- */

static void stamp(const lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (call->stamped) return;
    call->stamped = true;
    call->stamp = lm_table_op_seq(room->table);
    call->seen = call->key.request_id.size && lm_table_seen(room->table, &call->key);
}

/* A node outside of the region has nothing to stamp with: it is a proxy before the edge, which is
 * the leader then (S12b). */
static bool passes(const lm_lock_room_t *room)
{
    return lm_lock_lead_is_outside(room) && lm_lock_lead_name(room).size;
}

void lm_lock_calls_pass_early(lm_lock_room_t *room)
{
    lm_lock_call_t *call;
    while (!room->current && passes(room) && (call = TAILQ_FIRST(&room->early)))
        lm_lock_answer_forward(room, call);
}

void lm_lock_calls_handle(lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (!call->stamped && !room->current) {
        if (passes(room)) {
            lm_lock_answer_forward(room, call);
            return;
        }
        lm_lock_calls_enlist(call, LM_STAGE_EARLY, &room->early);
        return;
    }
    stamp(room, call);
    if (room->serving)
        kinds[call->kind].handle(room, call);
    else
        lm_lock_answer_forward(room, call);
}

void lm_lock_calls_on_lock_call(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    static const lm_peer_call_context_t no_context;
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_peer_lock_call_t *body = message->body;
    const lm_peer_call_context_t *context = body->context ? body->context : &no_context;
    lm_lock_call_t read = {.from = message->from,
                           .kind = body->request_case,
                           .stage = LM_STAGE_EARLY,
                           .key.identity = context->identity,
                           .stamped = context->stamped,
                           .stamp = context->stamp,
                           .seen = context->seen,
                           .wait_until_us = UINT64_MAX};
    lm_fault_t fault = {.field = "request", .rule = "is missing"};
    if (context->identity.size > LM_IDENTITY_BYTES_MAX)
        fault = (lm_fault_t){"identity", "is too long"};
    bool known =
        body->request_case > 0 && (size_t)body->request_case < sizeof kinds / sizeof *kinds;
    if (known && kinds[body->request_case].read && context->identity.size <= LM_IDENTITY_BYTES_MAX)
        fault = kinds[body->request_case].read(room, &read, body);
    lm_lock_call_t *call = settle_down(room, &read);
    if (fault.field)
        lm_lock_answer_error(room, call, LM_RC_INVALID_ARGUMENT, fault.field, fault.rule);
    else if (room->calls.n > LM_LOCK_CALLS_MAX)
        lm_lock_answer_error(room, call, LM_RC_OVERLOADED, "", "too many calls are open");
    else {
        set_times(room, call, context);
        lm_lock_calls_handle(room, call);
    }
}

void lm_lock_calls_on_listener_gone(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_listener_gone_t *body = message->body;
    lm_lock_call_t *call = find(room, message->from.generation, body->correlation);
    if (call) caller_left(room, call);
}

void lm_lock_calls_take_early(lm_lock_room_t *room)
{
    lm_lock_call_t *call;
    while (room->current && (call = TAILQ_FIRST(&room->early))) {
        lm_lock_calls_enlist(call, call->stage, NULL);
        lm_lock_calls_handle(room, call);
    }
}

void lm_lock_calls_forward_all(lm_lock_room_t *room)
{
    for (lm_lock_call_t *call = TAILQ_FIRST(&room->all), *next; call; call = next) {
        next = TAILQ_NEXT(call, in_all);
        if (call->stage_list != &room->early) lm_lock_answer_forward(room, call);
    }
}

void lm_lock_calls_drop_older(lm_lock_room_t *room, lm_generation_t generation)
{
    for (lm_lock_call_t *call = TAILQ_FIRST(&room->all), *next; call; call = next) {
        next = TAILQ_NEXT(call, in_all);
        if (lm_generation_compare(call->from.generation, generation) < 0)
            lm_lock_calls_free(room, call);
    }
    lm_lock_party_settle_all(room);
}
