/* Answers to calls. Each function here makes one answer, sends it and ends its call.
 *
 * Invariants
 *   N1  Whoever is told that a hold is his is noted in its lease, and hears what is left of it now,
 *       by the leader's clock (S6).
 *   N2  hold_id and token are those of the record at this moment. */
#include "base_check.h"
#include "lock_hold_id.h"
#include "lock_session_id.h"
#include "lock_state.h"

lm_api_response_header_t *lm_lock_answer_header(lm_lock_room_t *room, uint64_t op_seq)
{
    lm_api_response_header_t *header = lm_arena_alloc(room->scratch, sizeof *header);
    header->cluster_id = room->cluster_id;
    header->region = room->config->region;
    header->node = room->config->node;
    header->term = room->term;
    header->raft_index = room->applied_index;
    header->op_seq = op_seq ? op_seq : lm_table_op_seq(room->table);
    return header;
}

static void send(lm_lock_room_t *room, lm_lock_call_t *call, const lm_peer_lock_answer_t *answer)
{
    lm_outbox_reply(room->out, &call->from, LM_MSG_LOCK_ANSWER, answer);
    lm_lock_calls_free(room, call);
}

void lm_lock_answer_result(lm_lock_room_t *room, lm_lock_call_t *call,
                           const lm_peer_lock_answer_t *answer)
{
    send(room, call, answer);
}

/* A numbered request has no id. */
static lm_bytes_t request_id_of(const lm_lock_call_t *call)
{
    return call->request_number ? (lm_bytes_t){0} : call->key.request_id;
}

static void count_acquire(lm_lock_room_t *room, const lm_lock_call_t *call, int result)
{
    if (call->kind != LM_PEER_LOCK_CALL_REQUEST_ACQUIRE || !call->mode) return;
    room->figures.acquires[call->mode][result]++;
}

void lm_lock_answer_error(lm_lock_room_t *room, lm_lock_call_t *call, lm_rc_t code,
                          const char *field, const char *text)
{
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_ERROR,
                                    .code = code,
                                    .field = lm_bytes_of(field),
                                    .text = lm_bytes_of(text)};
    count_acquire(room, call, 0);
    if (code == LM_RC_STALE_HOLD) room->figures.stale_holds++;
    send(room, call, &answer);
}

void lm_lock_answer_left(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_ERROR, .code = LM_RC_CANCELLED};
    send(room, call, &answer);
}

void lm_lock_answer_forward(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_FORWARD,
                                    .code = call->maybe_applied ? LM_RC_OUTCOME_UNKNOWN : LM_RC_OK,
                                    .leader = lm_lock_lead_name(room),
                                    .stamp = call->stamp,
                                    .seen = call->seen,
                                    .unstamped = !call->stamped};
    send(room, call, &answer);
}

/* ---- Acquire --------------------------------------------------------------------------------- */

static void send_acquire(lm_lock_room_t *room, lm_lock_call_t *call,
                         lm_api_acquire_response_t *response, uint64_t op_seq)
{
    response->header = lm_lock_answer_header(room, op_seq);
    response->request_id = request_id_of(call);
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_ACQUIRE,
                                    .acquire = response};
    count_acquire(room, call, response->result);
    send(room, call, &answer);
}

void lm_lock_answer_granted(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                            uint64_t op_seq)
{
    LM_CHECK(record->state == LM_RECORD_HOLDING, "granted in state %d", record->state);
    lm_lock_lease_t *lease = lm_lock_lease_of(room, record);
    lm_api_acquire_response_t response = {
        .result = LM_API_ACQUIRE_RESULT_GRANTED,
        .hold_id = lm_lock_hold_id_make(room->scratch, record->seat.number, record->claim),
        .token = lm_record_token(record),
        .lease_remaining_ms = lm_lock_lease_remaining_ms(room, record),
        .ttl_ms = lm_lock_lease_ttl_ms(room, record)};
    lm_lock_told_add(room, lease, &call->from);
    lm_histogram_note(&room->figures.waits, room->now_us - call->arrived_us);
    send_acquire(room, call, &response, op_seq);
}

lm_api_lock_mode_t lm_lock_answer_mode(lm_mode_t mode)
{
    return mode == LM_MODE_SHARED ? LM_API_LOCK_MODE_SHARED : LM_API_LOCK_MODE_EXCLUSIVE;
}

/* Who holds or waits: an owner, or a session and who opened that. */
static void name_party(lm_lock_room_t *room, const lm_record_t *record, lm_bytes_t *owner,
                       lm_bytes_t *session_id, lm_bytes_t *client)
{
    uint64_t number = lm_record_session(record);
    if (!number) {
        *owner = lm_record_key(record).owner;
        return;
    }
    *session_id = lm_lock_session_id_make(room->scratch, number);
    *client = lm_session_info(lm_table_session(room->table, number)).key.owner;
}

static void fill_holder(lm_lock_room_t *room, const lm_seat_t *seat, lm_api_holder_t *holder)
{
    const lm_record_t *record = lm_record_of(seat);
    name_party(room, record, &holder->owner, &holder->session_id, &holder->client);
    holder->mode = lm_lock_answer_mode(lm_seat_mode(seat));
    holder->token = seat->token;
    holder->lease_remaining_ms = lm_lock_lease_remaining_ms(room, record);
    holder->ttl_ms = lm_lock_lease_ttl_ms(room, record);
}

static lm_api_holder_t *holders_of(lm_lock_room_t *room, const lm_lock_value_t *value, size_t most,
                                   size_t *n)
{
    *n = value->n_holders < most ? value->n_holders : most;
    lm_api_holder_t *holders = lm_arena_alloc(room->scratch, *n * sizeof *holders);
    const lm_seat_t *seat = lm_lock_holders(value);
    for (size_t i = 0; i < *n; i++, seat = lm_seat_next(seat)) fill_holder(room, seat, &holders[i]);
    return holders;
}

void lm_lock_answer_not_granted(lm_lock_room_t *room, lm_lock_call_t *call,
                                lm_api_acquire_result_t result, uint64_t op_seq)
{
    lm_api_acquire_response_t response = {.result = result};
    const lm_entry_t *lock = lm_table_lock(room->table, call->name);
    if (result == LM_API_ACQUIRE_RESULT_HELD && lock) {
        const lm_lock_value_t *value = lm_entry_value(lock);
        response.holders = holders_of(room, value, LM_LOCK_HELD_HOLDERS_MAX, &response.n_holders);
        response.waiters = value->n_waiters;
    }
    send_acquire(room, call, &response, op_seq);
}

static void answer_ended(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                         lm_api_end_cause_t cause, uint64_t op_seq)
{
    lm_api_acquire_response_t response = {.result = LM_API_ACQUIRE_RESULT_ENDED,
                                          .token = lm_record_token(record),
                                          .end_cause = cause};
    send_acquire(room, call, &response, op_seq);
}

void lm_lock_answer_finished(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                             uint64_t op_seq)
{
    static const struct {
        lm_api_acquire_result_t result;
        lm_api_end_cause_t cause;
    } of_end[] = {
        [LM_END_NONE] = {LM_API_ACQUIRE_RESULT_CANCELLED, 0},
        [LM_END_RELEASED] = {LM_API_ACQUIRE_RESULT_ENDED, LM_API_END_CAUSE_RELEASED},
        [LM_END_EXPIRED] = {LM_API_ACQUIRE_RESULT_ENDED, LM_API_END_CAUSE_EXPIRED},
        [LM_END_ABANDONED] = {LM_API_ACQUIRE_RESULT_ENDED, LM_API_END_CAUSE_ABANDONED},
        [LM_END_TIMED_OUT] = {LM_API_ACQUIRE_RESULT_TIMED_OUT, 0},
        [LM_END_HELD] = {LM_API_ACQUIRE_RESULT_HELD, 0},
        [LM_END_CANCELLED] = {LM_API_ACQUIRE_RESULT_CANCELLED, 0},
    };
    LM_CHECK(record->state == LM_RECORD_ENDED || record->state == LM_RECORD_RETIRED,
             "finished in state %d", record->state);
    if (record->code != LM_RC_OK) {
        lm_lock_answer_error(room, call, record->code, "", lm_rc_text(record->code));
        return;
    }
    LM_CHECK(record->end < sizeof of_end / sizeof *of_end, "a record ended by %d", record->end);
    if (of_end[record->end].result == LM_API_ACQUIRE_RESULT_ENDED)
        answer_ended(room, call, record, of_end[record->end].cause, op_seq);
    else
        lm_lock_answer_not_granted(room, call, of_end[record->end].result, op_seq);
}

/* ---- Release, Renew, Cancel ------------------------------------------------------------------ */

void lm_lock_answer_released(lm_lock_room_t *room, lm_lock_call_t *call, int64_t token,
                             uint64_t op_seq)
{
    lm_api_release_response_t response = {.header = lm_lock_answer_header(room, op_seq),
                                          .token = token,
                                          .request_id = request_id_of(call)};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_RELEASE,
                                    .release = &response};
    send(room, call, &answer);
}

void lm_lock_answer_renewed(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                            uint64_t op_seq)
{
    lm_api_renew_response_t response = {
        .header = lm_lock_answer_header(room, op_seq),
        .token = lm_record_token(record),
        .lease_remaining_ms = lm_lock_lease_remaining_ms(room, record),
        .ttl_ms = record->ttl_ms};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_RENEW,
                                    .renew = &response};
    send(room, call, &answer);
}

void lm_lock_answer_cancel(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                           uint64_t op_seq)
{
    lm_api_cancel_response_t response = {.header = lm_lock_answer_header(room, op_seq)};
    if (record->state == LM_RECORD_HOLDING) {
        lm_lock_lease_t *lease = lm_lock_lease_of(room, record);
        response.result = LM_API_CANCEL_RESULT_GRANTED;
        response.hold_id = lm_lock_hold_id_make(room->scratch, record->seat.number, record->claim);
        response.token = lm_record_token(record);
        response.lease_remaining_ms = lm_lock_lease_remaining_ms(room, record);
        lm_lock_told_add(room, lease, &call->from);
    } else if (record->state == LM_RECORD_RETIRED) {
        response.result = LM_API_CANCEL_RESULT_CANCELLED;
    } else {
        response.result = LM_API_CANCEL_RESULT_ENDED;
    }
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_CANCEL,
                                    .cancel = &response};
    send(room, call, &answer);
}

/* ---- Get, List ------------------------------------------------------------------------------- */

static lm_api_waiter_t *waiters_of(lm_lock_room_t *room, const lm_lock_value_t *value, size_t most,
                                   size_t *n)
{
    *n = value->n_waiters < most ? value->n_waiters : most;
    lm_api_waiter_t *waiters = lm_arena_alloc(room->scratch, *n * sizeof *waiters);
    const lm_seat_t *seat = lm_lock_waiters(value);
    for (size_t i = 0; i < *n; i++, seat = lm_seat_next(seat)) {
        const lm_record_t *record = lm_record_of(seat);
        lm_bytes_t id = lm_record_key(record).request_id;
        waiters[i].mode = lm_lock_answer_mode(lm_seat_mode(seat));
        name_party(room, record, &waiters[i].owner, &waiters[i].session_id, &waiters[i].client);
        if (!lm_number_of_text(id)) waiters[i].request_id = id;
    }
    return waiters;
}

static void fill_lock(lm_lock_room_t *room, const lm_entry_t *lock, size_t most,
                      lm_api_lock_info_t *info)
{
    const lm_lock_value_t *value = lm_entry_value(lock);
    info->name = lm_entry_name(lock);
    info->holders = holders_of(room, value, most, &info->n_holders);
    info->waiters = waiters_of(room, value, most, &info->n_waiters);
    info->holder_count = value->n_holders;
    info->waiter_count = value->n_waiters;
}

void lm_lock_answer_get(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_api_lock_info_t info = {.name = call->name};
    const lm_entry_t *lock = lm_table_lock(room->table, call->name);
    if (lock) fill_lock(room, lock, LM_LOCK_SHOWN_MAX, &info);
    lm_api_get_response_t response = {.header = lm_lock_answer_header(room, 0), .lock = &info};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_GET,
                                    .get = &response};
    send(room, call, &answer);
}

/* The token of a page is the last name of the page before: names are texts already. */
void lm_lock_answer_list(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_api_list_response_t response = {.header = lm_lock_answer_header(room, 0)};
    response.locks = lm_arena_alloc(room->scratch, call->page_size * sizeof *response.locks);
    bool after = call->page_token.size != 0;
    lm_bytes_t from = after ? call->page_token : call->name;
    const lm_entry_t *lock = lm_table_seek(room->table, call->name, from, after);
    while (lock && response.n_locks < call->page_size) {
        lm_api_lock_info_t *info = &response.locks[response.n_locks++];
        fill_lock(room, lock, 1, info);
        lock = lm_table_seek(room->table, call->name, info->name, true);
        if (lock) response.next_page_token = info->name;
    }
    if (!lock) response.next_page_token = (lm_bytes_t){0};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_LIST,
                                    .list = &response};
    send(room, call, &answer);
}
