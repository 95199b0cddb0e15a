/* OpenSession, KeepAlive, CloseSession, GetSession, ListSessions.
 *
 * Invariants
 *   SA1  A KeepAlive is acknowledged by apply only (S7), and its answer counts from there.
 *   SA2  The secret that an OpenSession is told is the one in the table, whichever copy drew it.
 *   SA3  A KeepAlive tells of no hold while an end of it is on its way, and every hold that it
 *        tells of counts as known from then on (S10a, S10c): nobody abandons it any more. What
 *        does not fit into its list does not.
 *   SA4  holds_version is made of all that can be listed and of nothing else, so all leaders make
 *        the same of it, and all parts of a list have the same. */
#include "base_check.h"
#include "lock_hold_id.h"
#include "lock_session_id.h"
#include "lock_state.h"

void lm_lock_session_call_prepare(lm_lock_room_t *room, lm_lock_call_t *call)
{
    if (call->kind == LM_PEER_LOCK_CALL_REQUEST_OPEN_SESSION)
        room->draw(room->draw_arg, call->secret, sizeof call->secret);
}

void lm_lock_session_call_ended(lm_lock_room_t *room, lm_lock_call_t *call, lm_end_t end)
{
    const char *text = end == LM_END_EXPIRED          ? "the lease of the session ran out"
                       : end == LM_END_SESSION_CLOSED ? "the session was closed"
                                                      : lm_rc_text(LM_RC_SESSION_ENDED);
    lm_lock_answer_error(room, call, LM_RC_SESSION_ENDED, "", text);
}

/* ---- holds ----------------------------------------------------------------------------------- */

typedef struct {
    lm_lock_room_t *room;
    lm_api_session_hold_t *holds; /* NULL: they are only counted */
    size_t n, n_max;
    uint32_t all, waits;
    uint64_t version;
    uint64_t after, last; /* numbers: the list begins behind the one, and ends with the other */
    bool more;            /* behind the last */
    bool tells;           /* to the session's own client */
} lm_gathering_t;

static void fill_hold(lm_lock_room_t *room, const lm_record_t *record, lm_api_session_hold_t *hold)
{
    lm_bytes_t id = lm_record_key(record).request_id;
    hold->name = lm_entry_name(lm_record_lock(record));
    hold->hold_id = lm_lock_hold_id_make(room->scratch, record->seat.number, record->claim);
    hold->token = lm_record_token(record);
    hold->mode = lm_lock_answer_mode(lm_seat_mode(&record->seat));
    hold->request_number = lm_number_of_text(id);
    if (!hold->request_number) hold->request_id = id;
}

static void gather_one(void *arg, const lm_record_t *record)
{
    lm_gathering_t *gathering = arg;
    lm_lock_room_t *room = gathering->room;
    if (record->state == LM_RECORD_WAITING) {
        gathering->waits++;
        return;
    }
    if (gathering->tells && lm_lock_change_is_ending(room, record)) return;
    gathering->all++;
    gathering->version +=
        lm_lock_map_mix(record->seat.number * UINT64_C(0x9e3779b97f4a7c15) + record->claim);
    if (record->seat.number <= gathering->after) return;
    gathering->more = gathering->n == gathering->n_max;
    if (gathering->more) return;
    gathering->last = record->seat.number;
    fill_hold(room, record, &gathering->holds[gathering->n++]);
}

static void gather(lm_gathering_t *gathering, const lm_session_t *session, size_t most)
{
    uint32_t living = lm_session_info(session).n_living;
    gathering->n_max = living < most ? living : most;
    gathering->holds =
        lm_arena_alloc(gathering->room->scratch, (gathering->n_max + 1) * sizeof *gathering->holds);
    lm_session_each(session, gather_one, gathering);
    if (gathering->all && !gathering->version) gathering->version = 1;
}

static void now_known(void *arg, const lm_record_t *record)
{
    const lm_gathering_t *gathering = arg;
    lm_lock_room_t *room = gathering->room;
    bool listed = record->seat.number > gathering->after && record->seat.number <= gathering->last;
    if (listed && record->state == LM_RECORD_HOLDING && !lm_lock_change_is_ending(room, record))
        lm_lock_lease_of(room, record)->known = true;
}

/* ---- OpenSession, KeepAlive, CloseSession ---------------------------------------------------- */

static void answer_opened(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    lm_session_info_t info = lm_session_info(lm_table_session(room->table, effect->session));
    lm_api_open_session_response_t response = {
        .header = lm_lock_answer_header(room, effect->op_seq),
        .session_id = lm_lock_session_id_make(room->scratch, info.number),
        .secret = lm_lock_session_secret_make(room->scratch, info.secret),
        .ttl_ms = info.ttl_ms,
        .lease_remaining_ms = lm_lock_session_remaining_ms(room, info.number),
        .request_id = call->key.request_id};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_OPEN_SESSION,
                                    .open_session = &response};
    lm_lock_answer_result(room, call, &answer);
}

static void opening_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_SESSION_OPENED)
        answer_opened(room, call, effect);
    else if (effect->code == LM_RC_SESSION_ENDED)
        lm_lock_session_call_ended(room, call, effect->end);
    else if (effect->kind == LM_EFFECT_REFUSED)
        lm_lock_change_answer_refused(room, call, effect);
    else /* without a code it was taken back by a Cancel, which is another request */
        lm_lock_change_answer_code(room, call, effect->code ? effect->code : LM_RC_REQUEST_REUSED);
}

static void answer_kept(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect,
                        lm_api_keep_alive_result_t result)
{
    lm_api_keep_alive_response_t response = {
        .header = lm_lock_answer_header(room, effect->op_seq),
        .session_id = lm_lock_session_id_make(room->scratch, call->session),
        .result = result};
    if (result == LM_API_KEEP_ALIVE_RESULT_ALIVE) {
        const lm_session_t *session = lm_table_session(room->table, call->session);
        lm_gathering_t gathering = {.room = room, .tells = true, .after = call->holds_after};
        gather(&gathering, session, LM_LOCK_SESSION_HOLDS_MAX);
        response.lease_remaining_ms = lm_lock_session_remaining_ms(room, call->session);
        response.ttl_ms = lm_session_info(session).ttl_ms;
        response.holds_version = gathering.version;
        response.hold_count = gathering.all;
        response.holds = gathering.holds;
        if (gathering.version != call->known_version) {
            response.n_holds = gathering.n;
            response.more_holds = gathering.more;
        }
        if (response.n_holds) lm_session_each(session, now_known, &gathering);
    }
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_KEEP_ALIVE,
                                    .keep_alive = &response};
    lm_lock_answer_result(room, call, &answer);
}

static void keeping_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_SESSION_KEPT)
        answer_kept(room, call, effect, LM_API_KEEP_ALIVE_RESULT_ALIVE);
    else if (effect->code == LM_RC_SESSION_ENDED)
        answer_kept(room, call, effect, LM_API_KEEP_ALIVE_RESULT_ENDED);
    else if (effect->code == LM_RC_SESSION_DENIED)
        answer_kept(room, call, effect, LM_API_KEEP_ALIVE_RESULT_DENIED);
    else
        lm_lock_change_answer_code(room, call, effect->code);
}

bool lm_lock_session_call_keep_locally(lm_lock_room_t *room, lm_lock_call_t *call)
{
    bool there = lm_table_enter(room->table, call->session, call->key.identity,
                                lm_bytes(call->secret, sizeof call->secret), NULL) == LM_RC_OK;
    if (call->kind != LM_PEER_LOCK_CALL_REQUEST_KEEP_ALIVE || !there) return false;
    lm_lock_session_start(room, call->session);
    answer_kept(room, call, &(lm_effect_t){0}, LM_API_KEEP_ALIVE_RESULT_ALIVE);
    return true;
}

static void closing_applied(lm_lock_room_t *room, lm_lock_call_t *call, const lm_effect_t *effect)
{
    if (effect->kind != LM_EFFECT_DONE) {
        lm_lock_change_answer_code(room, call, effect->code);
        return;
    }
    lm_api_close_session_response_t response = {.header =
                                                    lm_lock_answer_header(room, effect->op_seq)};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_CLOSE_SESSION,
                                    .close_session = &response};
    lm_lock_answer_result(room, call, &answer);
}

void lm_lock_session_call_applied(lm_lock_room_t *room, lm_lock_proposal_t *proposal,
                                  const lm_effect_t *effect)
{
    if (effect->kind == LM_EFFECT_SESSION_OPENED && effect->session == effect->op_seq) {
        lm_lock_session_start(room, effect->session);
        room->figures.sessions_opened++;
    }
    if (effect->kind == LM_EFFECT_SESSION_KEPT) {
        lm_lock_session_start(room, effect->session);
        room->figures.keep_alives++;
    }
    lm_command_kind_t kind = proposal->command.kind;
    if (kind == LM_COMMAND_KEEP_ALIVE) lm_lock_session_keep_done(room, proposal);
    lm_lock_call_t *call = proposal->call;
    if (!call) return;
    if (kind == LM_COMMAND_OPEN_SESSION)
        opening_applied(room, call, effect);
    else if (kind == LM_COMMAND_KEEP_ALIVE)
        keeping_applied(room, call, effect);
    else
        closing_applied(room, call, effect);
}

/* ---- GetSession, ListSessions ---------------------------------------------------------------- */

static void fill_info(lm_lock_room_t *room, const lm_session_t *session, size_t most,
                      lm_api_session_info_t *info)
{
    lm_session_info_t known = lm_session_info(session);
    lm_gathering_t gathering = {.room = room};
    gather(&gathering, session, most);
    info->session_id = lm_lock_session_id_make(room->scratch, known.number);
    info->client = known.key.owner;
    info->ttl_ms = known.ttl_ms;
    info->lease_remaining_ms = lm_lock_session_remaining_ms(room, known.number);
    info->hold_count = gathering.all;
    info->wait_count = gathering.waits;
    info->holds = gathering.holds;
    info->n_holds = gathering.n;
}

void lm_lock_session_call_get(lm_lock_room_t *room, lm_lock_call_t *call)
{
    const lm_session_t *session = lm_table_session(room->table, call->session);
    if (!session) {
        lm_lock_answer_error(room, call, LM_RC_NOT_FOUND, "",
                             "there is no such session: it has ended, or never was");
        return;
    }
    lm_api_session_info_t info = {0};
    fill_info(room, session, LM_LOCK_SHOWN_MAX, &info);
    lm_api_get_session_response_t response = {.header = lm_lock_answer_header(room, 0),
                                              .session = &info};
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_GET_SESSION,
                                    .get_session = &response};
    lm_lock_answer_result(room, call, &answer);
}

/* The first session behind that number, which may have ended; 0: the oldest. */
static const lm_session_t *behind(const lm_table_t *table, uint64_t number)
{
    const lm_session_t *known = number ? lm_table_session(table, number) : NULL;
    if (known) return lm_session_newer(known);
    const lm_session_t *session = lm_table_sessions(table);
    while (session && lm_session_info(session).number <= number)
        session = lm_session_newer(session);
    return session;
}

/* The token of a page is the last session of the page before. */
void lm_lock_session_call_list(lm_lock_room_t *room, lm_lock_call_t *call)
{
    lm_api_list_sessions_response_t response = {.header = lm_lock_answer_header(room, 0)};
    response.sessions = lm_arena_alloc(room->scratch, call->page_size * sizeof *response.sessions);
    const lm_session_t *session = behind(room->table, call->session);
    size_t looked_at = 0;
    while (session && response.n_sessions < call->page_size && looked_at < LM_LOCK_PAGE_HOLDS_MAX) {
        fill_info(room, session, 0, &response.sessions[response.n_sessions++]);
        looked_at += lm_session_info(session).n_living;
        session = lm_session_newer(session);
    }
    if (session) response.next_page_token = response.sessions[response.n_sessions - 1].session_id;
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_RESULT,
                                    .response_case = LM_PEER_LOCK_ANSWER_RESPONSE_LIST_SESSIONS,
                                    .list_sessions = &response};
    lm_lock_answer_result(room, call, &answer);
}
