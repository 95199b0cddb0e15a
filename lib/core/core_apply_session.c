/* Sessions: OpenSession, KeepAlive, CloseSession, ExpireSession, and the way of other commands into
 * the session that they name.
 *
 * A session ends in this order: the session itself, its waits, its holds, each by number, and then
 * the queues of all locks that it had been at, in the same order. It is at each lock once. */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "core_state.h"

/* ---- into a session -------------------------------------------------------------------------- */

/** The session that the command names, if it may use it; the command was refused otherwise. */
static lm_session_t *enter(lm_table_t *table, const lm_command_t *command)
{
    const lm_session_t *session;
    lm_rc_t rc =
        lm_table_enter(table, command->session, command->key.identity, command->secret, &session);
    if (rc != LM_RC_OK) {
        lm_apply_refuse(table, command, rc);
        return NULL;
    }
    return (lm_session_t *)(uintptr_t)session;
}

static bool is_request(lm_command_kind_t kind)
{
    return kind == LM_COMMAND_ACQUIRE || kind == LM_COMMAND_RELEASE || kind == LM_COMMAND_CANCEL;
}

const lm_command_t *lm_request_enter(lm_table_t *table, const lm_command_t *command)
{
    table->session = NULL;
    if (!command->session || !is_request(command->kind)) return command;
    table->in_session = *command;
    table->in_session.key = lm_command_key(command, &table->texts);
    command = &table->in_session;
    if (LM_FAULT(ENDED_ADMITS) && !lm_session_find(table, command->session)) return command;
    lm_session_t *session = enter(table, command);
    if (!session) return NULL;
    lm_image_session_changing(table, session);
    lm_session_done_below(table, session, command->done_below);
    lm_rc_t rc = lm_session_admits(table, session, command->request_number);
    if (rc != LM_RC_OK) {
        lm_apply_refuse(table, command, rc);
        return NULL;
    }
    table->session = session;
    return command;
}

/* ---- opening, keeping ------------------------------------------------------------------------ */

static void answer(lm_table_t *table, const lm_command_t *command, lm_effect_kind_t kind,
                   const lm_record_t *record, uint64_t session)
{
    lm_apply_emit(
        table,
        (lm_effect_t){.kind = kind, .session = session, .record = record, .key = command->key});
}

void lm_request_open_session(lm_table_t *table, const lm_command_t *command)
{
    const lm_record_t *record;
    lm_rc_t rc = lm_table_lookup(table, command->kind, &command->key, command->body_hash, &record);
    if (rc == LM_RC_OK && record && record->state == LM_RECORD_OPEN) {
        answer(table, command, LM_EFFECT_SESSION_OPENED, record, record->wait_number);
        return;
    }
    if (lm_request_answer_repeat(table, command)) return;
    if (table->sessions.count >= table->settings.sessions_max) {
        lm_apply_refuse_over(table, command, LM_LIMIT_SESSIONS);
        return;
    }
    const lm_session_t *session = lm_session_new(table, command);
    answer(table, command, LM_EFFECT_SESSION_OPENED, lm_pool_at(session, session->opening),
           session->number);
}

void lm_request_keep_alive(lm_table_t *table, const lm_command_t *command)
{
    lm_session_t *session = enter(table, command);
    if (!session) return;
    lm_image_session_changing(table, session);
    session->basis = table->command_seq;
    lm_session_done_below(table, session, command->done_below);
    answer(table, command, LM_EFFECT_SESSION_KEPT, NULL, session->number);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void end_seats(lm_table_t *table, lm_session_t *session, lm_end_t end)
{
    uint32_t n = session->n_living;
    lm_record_t **list = lm_session_gather(session, true);
    lm_entry_t **touched = lm_alloc((n + 1U) * sizeof(lm_entry_t *));
    for (uint32_t i = 0; i < n; i++) {
        touched[i] = lm_record_entry(list[i]);
        if (list[i]->state == LM_RECORD_WAITING)
            lm_apply_end_wait(table, list[i], end);
        else
            lm_apply_end_hold(table, list[i], end);
    }
    for (uint32_t i = 0; i < n; i++) lm_apply_promote(table, touched[i]);
    free(list);
    free(touched);
}

static void end_session(lm_table_t *table, lm_session_t *session, lm_end_t end)
{
    lm_record_t *opening = lm_pool_at(session, session->opening);
    lm_image_session_leaving(table, session);
    session->ending = true;
    lm_apply_emit(table, (lm_effect_t){.kind = LM_EFFECT_SESSION_ENDED,
                                       .end = end,
                                       .session = session->number,
                                       .key = lm_record_key(opening)});
    end_seats(table, session, end);
    lm_session_drop(table, session);
    lm_record_end_opening(table, opening, end);
}

void lm_request_close_session(lm_table_t *table, const lm_command_t *command)
{
    lm_session_t *session = enter(table, command);
    if (!session) return;
    answer(table, command, LM_EFFECT_DONE, NULL, session->number);
    end_session(table, session, LM_END_SESSION_CLOSED);
}

void lm_verdict_expire_session(lm_table_t *table, const lm_command_t *command)
{
    lm_session_t *session =
        lm_verdict_has_authority(table, command) ? lm_session_find(table, command->session) : NULL;
    if (!session || (session->basis != command->basis && !LM_FAULT(SESSION_ANY_BASIS))) {
        lm_apply_void(table, command);
        return;
    }
    answer(table, command, LM_EFFECT_DONE, NULL, session->number);
    end_session(table, session, LM_END_EXPIRED);
}
