/* Linearizable reads: a round of ReadIndex for all reads of a turn.
 *
 *   read arrives -> reads -> READ_INDEX at the end of the turn -> index known -> applied that far
 *
 * Invariants
 *   D1  A read is answered from a table that has applied the index of a round which began after the
 *       read arrived (S22).
 *   D2  A round that raft refuses is asked for again; its reads give up at their own times. */
#include <stdlib.h>

#include "lock_state.h"

void lm_lock_read_add(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_lock_calls_enlist(call, LM_STAGE_READING, &room->reads);
}

static void on_retry(void *self, lm_lock_timer_t *timer)
{
    (void)self;
    (void)timer; /* that the timer is not set any more lets the turn's end ask again */
}

void lm_lock_read_flush(lm_lock_room_t *room)
{
    if (!room->serving || TAILQ_EMPTY(&room->reads) || room->n_rounds == LM_LOCK_READ_ROUNDS_MAX ||
        lm_lock_timer_is_set(&room->retry_read))
        return;
    lm_lock_round_t *round = lm_alloc(sizeof *round);
    *round = (lm_lock_round_t){0};
    TAILQ_INIT(&round->calls);
    lm_lock_call_t *call;
    while ((call = TAILQ_FIRST(&room->reads)))
        lm_lock_calls_enlist(call, LM_STAGE_READING, &round->calls);
    lm_bus_read_index_t body = {0};
    round->correlation = lm_outbox_call(room->out, LM_RAFT, LM_MSG_READ_INDEX, &body,
                                        room->now_us + LM_LOCK_READ_INDEX_US, 0);
    room->rounds[room->n_rounds++] = round;
}

static size_t round_of(const lm_lock_room_t *room, uint64_t correlation)
{
    size_t at = 0;
    while (at < room->n_rounds && room->rounds[at]->correlation != correlation) at++;
    return at;
}

static lm_lock_round_t *take_round(lm_lock_room_t *room, size_t at)
{
    lm_lock_round_t *round = room->rounds[at];
    room->n_rounds--;
    for (size_t i = at; i < room->n_rounds; i++) room->rounds[i] = room->rounds[i + 1];
    return round;
}

/* Its reads wait for another round. */
static void give_back(lm_lock_room_t *room, lm_lock_round_t *round)
{
    lm_lock_call_t *call;
    while ((call = TAILQ_FIRST(&round->calls)))
        lm_lock_calls_enlist(call, LM_STAGE_READING, &room->reads);
    free(round);
    lm_lock_timer_set(&room->timers, &room->retry_read, room->now_us + LM_LOCK_RETRY_READ_US,
                      on_retry);
}

static void answer(lm_lock_room_t *room, lm_lock_call_t *call)
{
    call->read = true;
    if (call->kind == LM_PEER_LOCK_CALL_REQUEST_GET)
        lm_lock_answer_get(room, call);
    else if (call->kind == LM_PEER_LOCK_CALL_REQUEST_LIST)
        lm_lock_answer_list(room, call);
    else if (call->kind == LM_PEER_LOCK_CALL_REQUEST_GET_SESSION)
        lm_lock_session_call_get(room, call);
    else if (call->kind == LM_PEER_LOCK_CALL_REQUEST_LIST_SESSIONS)
        lm_lock_session_call_list(room, call);
    else
        lm_lock_calls_handle(room, call);
}

void lm_lock_read_applied(lm_lock_room_t *room)
{
    for (size_t at = 0; at < room->n_rounds;) {
        if (room->rounds[at]->correlation || room->rounds[at]->index > room->applied_index) {
            at++;
            continue;
        }
        lm_lock_round_t *round = take_round(room, at);
        lm_lock_call_t *call;
        while ((call = TAILQ_FIRST(&round->calls))) {
            lm_lock_calls_enlist(call, LM_STAGE_READING, NULL);
            answer(room, call);
        }
        free(round);
    }
}

void lm_lock_read_on_done(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_read_index_done_t *body = message->body;
    size_t at = round_of(room, message->from.correlation);
    if (at == room->n_rounds) return;
    if (body->code != LM_RC_OK) {
        give_back(room, take_round(room, at));
        return;
    }
    room->rounds[at]->correlation = 0;
    room->rounds[at]->index = body->index;
    lm_lock_read_applied(room);
}

bool lm_lock_read_call_failed(lm_lock_room_t *room, uint64_t correlation)
{
    size_t at = round_of(room, correlation);
    if (at == room->n_rounds) return false;
    give_back(room, take_round(room, at));
    return true;
}

void lm_lock_read_forget_all(lm_lock_room_t *room)
{
    while (room->n_rounds) {
        lm_lock_round_t *round = take_round(room, 0);
        if (round->correlation && room->out) lm_outbox_forget(room->out, round->correlation);
        free(round);
    }
    lm_lock_timer_stop(&room->timers, &room->retry_read);
}
