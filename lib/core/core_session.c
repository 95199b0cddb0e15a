/* Sessions: their list, the waits and holds of each, and the request numbers that it remembers.
 *
 *   number   refused          open: one record each, waiting, holding or finished     new
 *   --------------------- done_below ------------------------------------------------------->
 *
 * An index finds a session by number; whatever reaches an image, the hash or an effect goes by the
 * list, which is in order of numbers. The bonds of a session's waits and holds are in no useful
 * order: they are sorted when they are read. */
#include <stdlib.h>

#include "base_check.h"
#include "base_fault.h"
#include "core_state.h"

enum { OPEN_ROOM_MIN = 4 };

/* ---- finding --------------------------------------------------------------------------------- */

lm_session_t *lm_session_find(const lm_table_t *table, uint64_t number)
{
    lm_session_t *session = lm_index_first(&table->sessions, lm_number_hash(number));
    while (session && session->number != number) session = lm_index_next(&table->sessions, session);
    return session;
}

lm_session_t *lm_session_of(const lm_table_t *table, const lm_record_t *record)
{
    uint64_t number = lm_record_session(record);
    return number ? lm_session_find(table, number) : NULL;
}

const lm_session_t *lm_table_session(const lm_table_t *table, uint64_t number)
{
    return lm_session_find(table, number);
}

const lm_session_t *lm_table_sessions(const lm_table_t *table) { return table->oldest_session; }

const lm_session_t *lm_session_newer(const lm_session_t *session)
{
    return lm_pool_at(session, session->newer);
}

lm_session_info_t lm_session_info(const lm_session_t *session)
{
    const lm_record_t *opening = lm_pool_at(session, session->opening);
    return (lm_session_info_t){.number = session->number,
                               .key = lm_record_key(opening),
                               .secret = lm_bytes(session->secret, LM_SESSION_SECRET_BYTES),
                               .ttl_ms = session->ttl_ms,
                               .n_living = session->n_living,
                               .n_open = session->n_open,
                               .basis = session->basis,
                               .done_below = session->done_below};
}

/* ---- who may use it -------------------------------------------------------------------------- */

/** Looks at all bytes, wherever the first difference is. */
static bool is_secret(const lm_session_t *session, lm_bytes_t secret)
{
    if (secret.size != LM_SESSION_SECRET_BYTES) return false;
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < LM_SESSION_SECRET_BYTES; i++)
        difference = (uint8_t)(difference | (session->secret[i] ^ secret.data[i]));
    return difference == 0;
}

lm_rc_t lm_table_enter(const lm_table_t *table, uint64_t number, lm_bytes_t identity,
                       lm_bytes_t secret, const lm_session_t **session)
{
    const lm_session_t *found = lm_session_find(table, number);
    if (session) *session = NULL;
    if (!found) return LM_RC_SESSION_ENDED;
    const lm_record_t *opening = lm_pool_at(found, found->opening);
    bool same = lm_bytes_equal(lm_record_key(opening).identity, identity);
    if (!is_secret(found, secret) || !same) return LM_RC_SESSION_DENIED;
    if (session) *session = found;
    return LM_RC_OK;
}

/* ---- open numbers ---------------------------------------------------------------------------- */

/** Where that number is among the open ones, or would be. */
static uint32_t place_of(const lm_session_t *session, uint64_t number)
{
    const uint64_t *open = lm_session_open(session);
    uint32_t place = session->n_open;
    while (place > 0 && open[place - 1] >= number) place--;
    return place;
}

bool lm_session_is_open(const lm_session_t *session, uint64_t number)
{
    uint32_t place = place_of(session, number);
    return place < session->n_open && lm_session_open(session)[place] == number;
}

lm_rc_t lm_session_admits(const lm_table_t *table, const lm_session_t *session, uint64_t number)
{
    if (!number || lm_session_is_open(session, number)) return LM_RC_OK;
    if (number < session->done_below && !LM_FAULT(DONE_IGNORED)) return LM_RC_REQUEST_TOO_OLD;
    bool full = session->n_open >= table->settings.session_window;
    return full ? LM_RC_WINDOW_FULL : LM_RC_OK;
}

static void make_room(lm_table_t *table, lm_session_t *session)
{
    if (session->n_open < session->open_room) return;
    uint32_t room = session->open_room ? session->open_room * 2U : OPEN_ROOM_MIN;
    LM_CHECK(room <= LM_SESSION_WINDOW_MAX, "a session with %u open numbers", session->n_open);
    uint64_t *open = lm_pool_alloc(table->pool, room * sizeof(uint64_t));
    if (session->open_room) {
        uint64_t *old = lm_session_open(session);
        memcpy(open, old, session->n_open * sizeof(uint64_t));
        lm_pool_free(table->pool, old, session->open_room * sizeof(uint64_t));
    }
    session->open = lm_pool_ref(open);
    session->open_room = (uint16_t)room;
}

static void add_open(lm_table_t *table, lm_session_t *session, uint64_t number)
{
    make_room(table, session);
    uint64_t *open = lm_session_open(session);
    uint32_t place = place_of(session, number);
    memmove(open + place + 1, open + place, (session->n_open - place) * sizeof(uint64_t));
    open[place] = number;
    session->n_open++;
}

static void remove_open(lm_session_t *session, uint32_t place)
{
    uint64_t *open = lm_session_open(session);
    session->n_open--;
    memmove(open + place, open + place + 1, (session->n_open - place) * sizeof(uint64_t));
}

static lm_record_t *record_of(const lm_table_t *table, const lm_session_t *session, uint64_t number)
{
    const lm_record_t *opening = lm_pool_at(session, session->opening);
    lm_key_texts_t texts;
    lm_request_key_t key = {.identity = lm_record_key(opening).identity,
                            .owner = lm_number_text(session->number, texts.owner),
                            .request_id = lm_number_text(number, texts.id)};
    return lm_record_find(table, &key);
}

lm_record_t *lm_session_finished(const lm_table_t *table, const lm_session_t *session,
                                 uint32_t place)
{
    lm_record_t *record = record_of(table, session, lm_session_open(session)[place]);
    LM_CHECK(record, "an open number without a record");
    return lm_record_is_finished(record) ? record : NULL;
}

void lm_session_done_below(lm_table_t *table, lm_session_t *session, uint64_t below)
{
    if (below <= session->done_below) return;
    lm_image_session_changing(table, session);
    session->done_below = below;
    while (session->n_open && lm_session_open(session)[0] < below) {
        lm_record_t *finished = lm_session_finished(table, session, 0);
        remove_open(session, 0);
        if (finished) lm_record_forget(table, finished);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static void bind(lm_session_t *session, lm_record_t *record)
{
    lm_record_t *last = lm_pool_at(session, session->living);
    lm_record_bond(record)->next = 0;
    lm_record_bond(record)->previous = session->living;
    if (last) lm_record_bond(last)->next = lm_pool_ref(record);
    session->living = lm_pool_ref(record);
    session->n_living++;
}

void lm_session_record_made(lm_table_t *table, lm_record_t *record, bool living)
{
    lm_session_t *session = lm_session_of(table, record);
    if (!session) return;
    uint64_t number = lm_number_of_text(lm_record_key(record).request_id);
    if (number && number >= session->done_below) add_open(table, session, number);
    if (living) bind(session, record);
}

void lm_session_record_left(lm_table_t *table, lm_record_t *record)
{
    lm_session_t *session = lm_session_of(table, record);
    if (!session || session->ending) return;
    uint64_t number = lm_number_of_text(lm_record_key(record).request_id);
    if (number && lm_session_is_open(session, number))
        remove_open(session, place_of(session, number));
}

void lm_session_seat_left(lm_table_t *table, lm_record_t *record)
{
    lm_session_t *session = lm_session_of(table, record);
    LM_CHECK(session, "a wait or hold of a session that is not there");
    lm_image_session_changing(table, session);
    const lm_bond_t *bond = lm_record_bond(record);
    lm_record_t *previous = lm_pool_at(record, bond->previous);
    lm_record_t *next = lm_pool_at(record, bond->next);
    if (previous) lm_record_bond(previous)->next = bond->next;
    if (next)
        lm_record_bond(next)->previous = bond->previous;
    else
        session->living = bond->previous;
    session->n_living--;
}

static int by_creation(const void *a, const void *b)
{
    const lm_record_t *one = *(lm_record_t *const *)a, *other = *(lm_record_t *const *)b;
    return (one->wait_number > other->wait_number) - (one->wait_number < other->wait_number);
}

static int by_end(const void *a, const void *b)
{
    const lm_record_t *one = *(lm_record_t *const *)a, *other = *(lm_record_t *const *)b;
    if (one->state != other->state) return one->state == LM_RECORD_WAITING ? -1 : 1;
    return (one->seat.number > other->seat.number) - (one->seat.number < other->seat.number);
}

lm_record_t **lm_session_gather(const lm_session_t *session, bool waits_first)
{
    lm_record_t **list = lm_alloc((session->n_living + 1U) * sizeof(lm_record_t *));
    uint32_t n = 0;
    for (lm_record_t *record = lm_pool_at(session, session->living); record;
         record = lm_pool_at(session, lm_record_bond(record)->previous))
        list[n++] = record;
    LM_CHECK(n == session->n_living, "%u waits and holds of %u", n, session->n_living);
    qsort(list, n, sizeof(lm_record_t *), waits_first ? by_end : by_creation);
    return list;
}

void lm_session_each(const lm_session_t *session,
                     void (*each)(void *arg, const lm_record_t *record), void *arg)
{
    lm_record_t **list = lm_session_gather(session, false);
    for (uint32_t i = 0; i < session->n_living; i++) each(arg, list[i]);
    free(list);
}

/* ---- birth and death ------------------------------------------------------------------------- */

static void append(lm_table_t *table, lm_session_t *session)
{
    session->older = lm_pool_ref(table->newest_session);
    session->newer = 0;
    if (table->newest_session)
        table->newest_session->newer = lm_pool_ref(session);
    else
        table->oldest_session = session;
    table->newest_session = session;
}

lm_session_t *lm_session_new(lm_table_t *table, const lm_command_t *command)
{
    LM_CHECK(command->secret.size == LM_SESSION_SECRET_BYTES, "secret of %zu bytes",
             command->secret.size);
    lm_session_t *session = lm_pool_alloc(table->pool, sizeof *session);
    session->opening = lm_pool_ref(lm_record_new_opening(table, command));
    session->number = session->basis = table->command_seq;
    session->ttl_ms = (uint32_t)(command->ttl_ms < UINT32_MAX ? command->ttl_ms : UINT32_MAX);
    session->image = table->image_number; /* none that is being taken knows it */
    memcpy(session->secret, command->secret.data, LM_SESSION_SECRET_BYTES);
    lm_index_insert(&table->sessions, session);
    append(table, session);
    return session;
}

static void unlink_session(lm_table_t *table, lm_session_t *session)
{
    lm_session_t *older = lm_pool_at(session, session->older);
    lm_session_t *newer = lm_pool_at(session, session->newer);
    if (older)
        older->newer = session->newer;
    else
        table->oldest_session = newer;
    if (newer)
        newer->older = session->older;
    else
        table->newest_session = older;
}

void lm_session_drop(lm_table_t *table, lm_session_t *session)
{
    LM_CHECK(session->n_living == 0 && session->ending, "a session that goes on");
    for (uint32_t place = 0; place < session->n_open; place++) {
        lm_record_t *record = record_of(table, session, lm_session_open(session)[place]);
        if (record) lm_record_forget(table, record);
    }
    if (session->open_room)
        lm_record_bury(table, lm_session_open(session), session->open_room * sizeof(uint64_t));
    unlink_session(table, session);
    lm_index_remove(&table->sessions, session);
    lm_record_bury(table, session, sizeof *session);
}

/* ---- after an image was loaded --------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const lm_session_t *one = *(lm_session_t *const *)a, *other = *(lm_session_t *const *)b;
    return (one->number > other->number) - (one->number < other->number);
}

void lm_session_sort(lm_table_t *table)
{
    uint32_t n = 0, all = table->sessions.count;
    lm_session_t **list = lm_alloc((all + 1U) * sizeof(lm_session_t *));
    for (lm_session_t *one = table->oldest_session; one; one = lm_pool_at(one, one->newer))
        list[n++] = one;
    LM_CHECK(n == all, "%u sessions of %u", n, all);
    qsort(list, n, sizeof(lm_session_t *), by_number);
    table->oldest_session = table->newest_session = NULL;
    for (uint32_t i = 0; i < n; i++) append(table, list[i]);
    free(list);
}
