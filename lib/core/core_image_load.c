/* Reading an image: items are cut out of whatever pieces come, checked, and put in a new table.
 *
 * Records of one lock may come in any order; their numbers say how they stood, so the lists are put
 * in order at the end. What needs the whole of a lock is checked there too.
 *
 * Invariants
 *   JL1 Nothing is put in the table that lm_table_verify would not accept, but for the order and
 *       the company of a lock's seats, which the end puts right or refuses.
 *   JL2 Memory grows with the bytes that have been read, never with a number that they hold. Empty
 *       buckets, which are reserved for what is announced, take addresses but no memory, and of
 *       those no more than RESERVED_MAX records want.
 *   JL3 Living records wait in a batch while the memory that they need is fetched; the batch is
 *       empty before anything else is loaded, and before the bytes that it refers to go away. */
#include <stdlib.h>

#include "base_check.h"
#include "base_limits.h"
#include "core_image.h"
#include "core_image_item.h"

enum { BATCH = 16, RESERVED_MAX = 4000000 };

struct lm_image_loader {
    lm_table_t *table;
    const char *problem; /* the first one */
    bool has_state, has_end;
    lm_entry_t *lock; /* of the last living record */
    lm_image_end_t read;
    lm_image_living_t batch[BATCH];
    uint32_t n_batch;
    lm_image_session_t session; /* the last one */
    size_t carried;             /* bytes of an item whose rest has not come yet */
    uint8_t carry[LM_IMAGE_ITEM_MAX];
};

lm_image_loader_t *lm_image_loader_new(void)
{
    lm_image_loader_t *loader = lm_alloc(sizeof *loader);
    loader->table = lm_table_new(0);
    return loader;
}

void lm_image_loader_destroy(lm_image_loader_t **loader)
{
    if (!*loader) return;
    lm_table_destroy(&(*loader)->table);
    free(*loader);
    *loader = NULL;
}

/* ---- state and end --------------------------------------------------------------------------- */

static uint32_t reserved(uint64_t announced)
{
    return (uint32_t)(announced < RESERVED_MAX ? announced : RESERVED_MAX);
}

static void reserve(lm_table_t *table, const lm_image_state_t *state)
{
    lm_index_reserve(&table->names, reserved(state->locks));
    lm_index_reserve(&table->keys, reserved(state->records));
    lm_index_reserve(&table->numbers, reserved(state->living));
    lm_index_reserve(&table->owners, reserved(state->owners));
    lm_index_reserve(&table->sessions, reserved(state->sessions));
}

static const char *load_state(lm_image_loader_t *loader, lm_bytes_t content)
{
    lm_image_state_t state;
    if (loader->has_state) return "the image has two state items";
    if (!lm_image_get_state(content, &state)) return "the image's state is malformed";
    if (state.schema != LM_IMAGE_SCHEMA) return "the image has another schema than this build";
    const lm_settings_t *settings = &state.settings;
    if (settings->semantics != LM_SEMANTICS_LEVEL)
        return "the image has other semantics than this build";
    if (!settings->waiters_per_lock_max || !settings->locks_max || !settings->holds_per_owner_max ||
        !settings->record_ring_size || !settings->sessions_max || !settings->session_window)
        return "the image's settings have a limit of zero";
    /* Far from where the numbers end: whatever follows it can be applied. */
    if (state.op_seq > LM_OP_SEQ_MAX / 2) return "the image's op_seq is too large";
    lm_table_t *table = loader->table;
    table->epoch = state.epoch;
    table->op_seq = state.op_seq;
    table->hash = state.hash;
    table->evicted = state.evicted;
    table->pair = state.pair;
    table->settings = state.settings;
    reserve(table, &state);
    loader->has_state = true;
    return NULL;
}

static const char *load_end(lm_image_loader_t *loader, lm_bytes_t content)
{
    lm_image_end_t total;
    if (!lm_image_get_end(content, &total)) return "the image's end is malformed";
    if (total.living != loader->read.living || total.finished != loader->read.finished ||
        total.sessions != loader->read.sessions)
        return "the image's counts are wrong";
    loader->has_end = true;
    return NULL;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static const char *load_numbered(lm_table_t *table, const lm_image_session_t *session,
                                 const lm_image_numbered_t *one)
{
    if (one->finished < session->number || one->finished > table->op_seq)
        return "the image has a numbered request that finished outside of its session";
    lm_command_t command = {.kind = LM_COMMAND_ACQUIRE,
                            .key.identity = session->key.identity,
                            .session = session->number,
                            .request_number = one->number,
                            .body_hash = one->body_hash};
    if (one->any_body) command.kind = LM_COMMAND_CANCEL;
    if (one->release) command.kind = LM_COMMAND_RELEASE;
    lm_key_texts_t texts;
    command.key = lm_command_key(&command, &texts);
    if (lm_record_find(table, &command.key)) return "the image has two records of one request";
    table->command_seq = one->finished;
    lm_record_t *record = lm_record_new_finished(table, &command, one->state, one->end, one->code);
    record->cancelled = one->cancelled;
    record->seat.token = one->token;
    return NULL;
}

static const char *check_session(const lm_table_t *table, const lm_image_session_t *session)
{
    if (session->number < 1 || session->basis > table->op_seq || !session->ttl_ms)
        return "the image has a session with impossible numbers";
    if (lm_session_find(table, session->number)) return "the image has two sessions of one number";
    if (lm_record_find(table, &session->key)) return "the image has two records of one request";
    uint64_t above = session->done_below;
    for (uint32_t i = 0; i < session->n_finished; i++) {
        uint64_t number = session->finished[i].number;
        if (!number || number < above || (i > 0 && number == above))
            return "the image has a session whose request numbers are not in order";
        above = number;
    }
    return NULL;
}

static const char *load_session(lm_image_loader_t *loader, lm_bytes_t content)
{
    lm_table_t *table = loader->table;
    lm_image_session_t *session = &loader->session;
    if (!lm_image_get_session(content, session)) return "the image has a malformed session";
    const char *problem = check_session(table, session);
    if (problem) return problem;
    lm_command_t command = {.kind = LM_COMMAND_OPEN_SESSION,
                            .key = session->key,
                            .body_hash = session->body_hash,
                            .ttl_ms = session->ttl_ms,
                            .secret = session->secret};
    table->command_seq = session->number;
    lm_session_t *made = lm_session_new(table, &command);
    made->basis = session->basis;
    made->done_below = session->done_below;
    loader->read.sessions++;
    for (uint32_t i = 0; i < session->n_finished && !problem; i++)
        problem = load_numbered(table, session, &session->finished[i]);
    return problem;
}

/** How many of the ids of a wait or hold would be open numbers of its session. */
static uint32_t open_numbers(const lm_session_t *session, const lm_image_living_t *living)
{
    uint64_t number = lm_number_of_text(living->key.request_id);
    uint32_t n = number && number >= session->done_below;
    for (uint32_t i = 0; i < living->n_joined; i++) {
        number = lm_number_of_text(living->joined[i].request_id);
        n += number && number >= session->done_below;
    }
    return n;
}

static bool is_of_session(const lm_session_t *session, lm_bytes_t identity)
{
    return lm_bytes_equal(lm_session_info(session).key.identity, identity);
}

/** What a wait or hold must have if it is a session's. */
static const char *check_in_session(const lm_table_t *table, const lm_image_living_t *living)
{
    uint64_t number = lm_number_of_text(living->key.owner);
    if (!number) return NULL;
    const lm_session_t *session = lm_session_find(table, number);
    if (!session || !is_of_session(session, living->key.identity))
        return "the image has a wait or hold of a session that is not there";
    if (living->ttl_ms || living->wait_number <= number)
        return "the image has a wait or hold that its session cannot have";
    if (session->n_open + open_numbers(session, living) > LM_SESSION_WINDOW_MAX)
        return "the image has a session with too many request numbers";
    return NULL;
}

/* ---- living records -------------------------------------------------------------------------- */

static const char *check_numbers(const lm_table_t *table, const lm_image_living_t *living)
{
    if (living->wait_number < 1 || living->number > table->op_seq)
        return "the image has a wait or hold beyond its op_seq";
    if (lm_record_by_number(table, living->number))
        return "the image has two waits or holds of one number";
    if (!living->holds) return living->cancelled ? "the image has a cancelled wait" : NULL;
    if (living->basis > table->op_seq) return "the image has a renewal beyond its op_seq";
    uint64_t minted = (uint64_t)living->token & LM_OP_SEQ_MAX;
    if (minted < 1 || minted > living->number || living->token >> LM_OP_SEQ_BITS > table->epoch)
        return "the image has a token that its hold cannot have";
    return NULL;
}

static lm_command_t command_of(const lm_image_living_t *living)
{
    return (lm_command_t){.kind = LM_COMMAND_ACQUIRE,
                          .key = living->key,
                          .body_hash = living->body_hash,
                          .mode = living->mode,
                          .ttl_ms = living->ttl_ms};
}

static const char *load_joined(lm_table_t *table, lm_record_t *record,
                               const lm_image_living_t *living)
{
    lm_command_t command = command_of(living);
    for (uint32_t i = 0; i < living->n_joined; i++) {
        const lm_image_joined_t *joined = &living->joined[i];
        command.key.request_id = joined->request_id;
        command.body_hash = joined->body_hash;
        if (lm_record_find(table, &command.key)) return "the image has two records of one request";
        if (joined->cancelled && !living->holds) return "the image has a cancelled wait";
        lm_record_join(table, record, &command)->cancelled = joined->cancelled;
    }
    return NULL;
}

static lm_record_t *make_living(lm_table_t *table, lm_entry_t *entry,
                                const lm_image_living_t *living)
{
    lm_command_t command = command_of(living);
    table->command_seq = living->wait_number;
    lm_record_t *record = lm_record_new(table, &command);
    record->internal_lock = lm_pool_ref(entry);
    record->cancelled = living->cancelled;
    if (living->holds) {
        record->state = LM_RECORD_HOLDING;
        record->basis = living->basis;
        record->claim = living->claim;
    }
    lm_lock_restore(&entry->value, &record->seat, living->number, living->token);
    lm_index_insert(&table->numbers, record);
    lm_entry_joined(table, entry, record);
    if (living->holds)
        table->n_holds++;
    else
        table->n_waiters++;
    return record;
}

static const char *load_living(lm_image_loader_t *loader, const lm_image_living_t *living)
{
    lm_table_t *table = loader->table;
    const char *problem = check_numbers(table, living);
    if (!problem) problem = check_in_session(table, living);
    if (problem) return problem;
    if (lm_record_find(table, &living->key)) return "the image has two records of one request";
    if (living->same_name && !loader->lock) return "the image has a wait or hold without a name";
    if (!living->same_name) loader->lock = lm_entry_find(table, living->name);
    const lm_owner_t *owner = lm_record_find_owner(table, living->key.identity, living->key.owner);
    if (loader->lock && owner && lm_entry_of_owner(table, loader->lock, owner))
        return "the image has two waits or holds of one owner at one lock";
    if (!loader->lock) loader->lock = lm_entry_new(table, living->name);
    loader->read.living++;
    return load_joined(table, make_living(table, loader->lock, living), living);
}

static void fetch_batch(const lm_image_loader_t *loader,
                        void (*fetch)(const lm_index_t *index, uint32_t hash))
{
    const lm_table_t *table = loader->table;
    for (uint32_t i = 0; i < loader->n_batch; i++) {
        const lm_image_living_t *living = &loader->batch[i];
        fetch(&table->names, (uint32_t)lm_entry_hash(living->name));
        fetch(&table->keys, (uint32_t)lm_record_hash(&living->key));
        fetch(&table->numbers, lm_number_hash(living->number));
        fetch(&table->owners, lm_record_owner_hash_of(living->key.identity, living->key.owner));
    }
}

static const char *load_batch(lm_image_loader_t *loader)
{
    const char *problem = NULL;
    fetch_batch(loader, lm_index_fetch);
    fetch_batch(loader, lm_index_fetch_first);
    for (uint32_t i = 0; i < loader->n_batch && !problem; i++)
        problem = load_living(loader, &loader->batch[i]);
    loader->n_batch = 0;
    return problem;
}

static const char *add_to_batch(lm_image_loader_t *loader, lm_bytes_t content)
{
    if (!lm_image_get_living(content, &loader->batch[loader->n_batch]))
        return "the image has a malformed wait or hold";
    return ++loader->n_batch == BATCH ? load_batch(loader) : NULL;
}

/* ---- finished records ------------------------------------------------------------------------ */

static lm_command_kind_t kind_of(const lm_image_finished_t *finished)
{
    if (finished->opening) return LM_COMMAND_OPEN_SESSION;
    if (finished->any_body) return LM_COMMAND_CANCEL;
    return finished->release ? LM_COMMAND_RELEASE : LM_COMMAND_ACQUIRE;
}

static const char *load_finished(lm_image_loader_t *loader, lm_bytes_t content)
{
    lm_table_t *table = loader->table;
    lm_image_finished_t finished;
    if (!lm_image_get_finished(content, &finished)) return "the image has a malformed record";
    if (lm_record_find(table, &finished.key)) return "the image has two records of one request";
    if (lm_ring_count(&table->ring) >= table->settings.record_ring_size)
        return "the image has more finished records than its settings allow";
    uint64_t before = table->ring.end
                          ? lm_ring_at(&table->ring, table->ring.end - 1)->internal_finished
                          : table->evicted;
    if (finished.finished < before || finished.finished > table->op_seq)
        return "the image's finished records are not in order";
    if (lm_number_of_text(finished.key.request_id))
        return "the image has a numbered request outside of its session";
    lm_command_t command = {
        .kind = kind_of(&finished), .key = finished.key, .body_hash = finished.body_hash};
    table->command_seq = finished.finished;
    lm_record_t *record =
        lm_record_new_finished(table, &command, finished.state, finished.end, finished.code);
    record->cancelled = finished.cancelled;
    record->seat.token = finished.token;
    loader->read.finished++;
    return NULL;
}

/* ---- items ----------------------------------------------------------------------------------- */

static const char *load_item(lm_image_loader_t *loader, uint8_t kind, lm_bytes_t content)
{
    if (loader->has_end) return "the image goes on behind its end";
    if (kind == LM_IMAGE_STATE) return load_state(loader, content);
    if (!loader->has_state) return "the image does not begin with its state";
    if (kind == LM_IMAGE_LIVING) return add_to_batch(loader, content);
    const char *problem = load_batch(loader);
    if (problem) return problem;
    switch (kind) {
    case LM_IMAGE_FINISHED: return load_finished(loader, content);
    case LM_IMAGE_SESSION: return load_session(loader, content);
    case LM_IMAGE_END: return load_end(loader, content);
    default: return "the image has an item of unknown kind";
    }
}

/** Size of the item that begins there, as far as the bytes tell: with its frame, or of the
 *  frame. */
static size_t item_size(lm_bytes_t bytes)
{
    if (bytes.size < LM_IMAGE_FRAME_BYTES) return LM_IMAGE_FRAME_BYTES;
    return LM_IMAGE_FRAME_BYTES + (bytes.data[1] | (size_t)bytes.data[2] << 8);
}

/** Takes bytes until the carried item is whole, or until there are none; then loads it. */
static const char *feed_carry(lm_image_loader_t *loader, lm_bytes_t *bytes)
{
    size_t size = item_size(lm_bytes(loader->carry, loader->carried));
    if (size > LM_IMAGE_ITEM_MAX) return "the image has an item that is too large";
    size_t lacks = size - loader->carried, n = bytes->size < lacks ? bytes->size : lacks;
    memcpy(loader->carry + loader->carried, bytes->data, n);
    loader->carried += n;
    *bytes = lm_bytes(bytes->data + n, bytes->size - n);
    if (item_size(lm_bytes(loader->carry, loader->carried)) > loader->carried) return NULL;
    lm_bytes_t content =
        lm_bytes(loader->carry + LM_IMAGE_FRAME_BYTES, loader->carried - LM_IMAGE_FRAME_BYTES);
    loader->carried = 0;
    const char *problem = load_item(loader, loader->carry[0], content);
    return problem ? problem : load_batch(loader);
}

/** Loads the item at the beginning of bytes, or carries what there is of it. */
static const char *feed_item(lm_image_loader_t *loader, lm_bytes_t *bytes)
{
    size_t size = item_size(*bytes);
    if (loader->carried || size > bytes->size) return feed_carry(loader, bytes);
    if (size > LM_IMAGE_ITEM_MAX) return "the image has an item that is too large";
    lm_bytes_t item = lm_bytes(bytes->data, size);
    *bytes = lm_bytes(bytes->data + size, bytes->size - size);
    return load_item(loader, item.data[0],
                     lm_bytes(item.data + LM_IMAGE_FRAME_BYTES, item.size - LM_IMAGE_FRAME_BYTES));
}

const char *lm_image_loader_feed(lm_image_loader_t *loader, lm_bytes_t bytes)
{
    while (bytes.size && !loader->problem) loader->problem = feed_item(loader, &bytes);
    if (!loader->problem) loader->problem = load_batch(loader);
    return loader->problem;
}

/* ---- the end --------------------------------------------------------------------------------- */

static const char *check_seats(const lm_lock_value_t *value)
{
    const lm_seat_t *first = lm_lock_holders(value), *waiter = lm_lock_waiters(value);
    if (!first) return "the image has a lock that nobody holds";
    for (const lm_seat_t *seat = first; seat && value->n_holders > 1; seat = lm_seat_next(seat))
        if (lm_seat_mode(seat) != LM_MODE_SHARED || seat->token != first->token)
            return "the image has holders that cannot be together";
    if (waiter && lm_mode_compatible(lm_seat_mode(waiter), lm_seat_mode(first)))
        return "the image has a waiter that should have been granted";
    return NULL;
}

static void check_lock(void *arg, void *object)
{
    const char **problem = arg;
    lm_entry_t *entry = object;
    if (*problem) return;
    lm_lock_sort(&entry->value);
    *problem = check_seats(&entry->value);
}

static const char *check_whole(lm_image_loader_t *loader)
{
    if (loader->problem) return loader->problem;
    if (loader->carried || !loader->has_end) return "the image is cut off";
    const char *problem = NULL;
    lm_index_each(&loader->table->names, check_lock, &problem);
    lm_session_sort(loader->table);
    return problem;
}

const char *lm_image_loader_end(lm_image_loader_t **loader, lm_table_t **table)
{
    const char *problem = check_whole(*loader);
    *table = NULL;
    if (!problem) {
        *table = (*loader)->table;
        (*loader)->table = NULL;
    }
    lm_image_loader_destroy(loader);
    return problem;
}
